"""The local device, through the real runner in a process of its own, exactly as any other device is reached."""

from __future__ import annotations

import io
import json
import tarfile
import time
from pathlib import Path

import pytest
import small_bundle
import store_parts

from greenup import bundle as packing
from greenup import loop
from greenup.collect.store import RecordStore, collect
from greenup.devices import inventory, signers
from greenup.devices import push as pushing
from greenup.devices.client import RunnerClient
from greenup.devices.link import LocalLink
from greenup.devices.unpack import unpack_files
from greenup.loop import Session
from greenup.recipe import MeasureSpec
from greenup.report import sentences
from greenup.signing import find_key
from greenup_runtime import commands
from greenup_runtime import trial as trials
from greenup_runtime.errors import DeviceFault, IntegrityFault, UsageFault

QUICK = MeasureSpec(burst_s=0.02, warmup_s=0.02, pilot_rounds=3, max_rounds=3)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    session = Session(inventory.find("local"), tmp_path / "out", find_key(), lambda *_: None)
    small_bundle.make(session.bundle_folder)
    packing.sign(session.bundle_folder, find_key())
    return session


def test_push_installs_proves_and_serves_the_baseline(session: Session) -> None:
    done = loop.push(session)
    assert done.usable == ("fp32", "pruned")
    assert done.signer == "greenup-project"
    current = session.device.runner.status()["current"]["selection"]
    assert (current["bundle"], current["variant"], current["sequence"]) == (done.bundle, "fp32", 1)


def test_a_second_push_sends_no_blob_and_changes_nothing(session: Session) -> None:
    first = loop.push(session)
    before = session.device.runner.status()
    second = loop.push(session)
    assert (first.sent_blobs, second.sent_blobs) == (3, 0)
    # What else is on this machine's disk changes at any time.
    assert {**session.device.runner.status(), "disk": None} == {**before, "disk": None}


def test_an_unsigned_bundle_is_pushed_only_if_allowed(session: Session, tmp_path: Path) -> None:
    packing.sign(session.bundle_folder, None)
    with pytest.raises(IntegrityFault, match="is not signed"):
        loop.push(session)
    unsigned = Session(session.device, session.out, None, session.progress, allow_unsigned=True)
    assert loop.push(unsigned).signer is None
    status = session.device.runner.status()
    assert status["current"]["signature"] is None
    assert status["unsigned"]
    result = loop.assembled(unsigned, loop.measure(unsigned, QUICK, "none", seed=0, again=False))
    assert sentences.bundle(result).endswith("unsigned (--allow-unsigned)")


def another(session: Session, folder: Path) -> Session:
    """A session with another bundle, small and signed, for the same device."""
    other = Session(session.device, folder, session.key, session.progress)
    small_bundle.make(other.bundle_folder, widths={"fp32": 64, "pruned": 16})
    packing.sign(other.bundle_folder, other.key)
    return other


def test_a_push_leaves_what_serves_alone_and_a_rollback_returns_to_it(session: Session, tmp_path: Path) -> None:
    chosen = loop.conclude(session, loop.measure(session, QUICK, "estimate", seed=3, again=False))
    other = another(session, tmp_path / "other")
    loop.push(other)
    status = session.device.runner.status
    assert status()["current"]["selection"]["bundle"] == chosen.bundle
    loop.conclude(other, loop.measure(other, QUICK, "estimate", seed=3, again=False))
    assert status()["current"]["selection"]["bundle"] != chosen.bundle
    LocalLink().call(["rollback"]).json()
    back = status()["current"]["selection"]
    assert (back["bundle"], back["variant"]) == (chosen.bundle, chosen.chosen)


def test_simulated_energy_chooses_nothing(session: Session) -> None:
    loop.push(session)
    before = session.device.runner.status()["current"]
    result = loop.conclude(session, loop.measure(session, QUICK, "fake", seed=3, again=False))
    assert session.device.runner.status()["current"] == before
    assert "simulated energy chooses nothing" in result.notes[0]


def test_a_failed_proof_keeps_what_served(session: Session, tmp_path: Path) -> None:
    good = loop.push(session)
    bad = Session(session.device, tmp_path / "bad", session.key, session.progress)
    small_bundle.make(bad.bundle_folder, spoil_golden="fp32")
    packing.sign(bad.bundle_folder, bad.key)
    with pytest.raises(IntegrityFault, match="golden samples"):
        loop.push(bad)
    assert session.device.runner.status()["current"]["selection"]["bundle"] == good.bundle


def test_a_measurement_brings_trial_and_records_home(session: Session) -> None:
    folder = loop.measure(session, QUICK, "fake:idle_w=1,active_w=2", seed=3, again=False)
    bundle, trial = loop.open_trial(folder)
    assert trial.bundle == bundle.digest == packing.runtime_bundle.open_folder(session.bundle_folder).digest
    assert trial.variants == ("fp32", "pruned")
    assert trial.meter is not None
    assert trial.meter.simulated
    assert trial.facts["plan"]["seed"] == 3
    inferences = sum(burst.inferences for burst in trial.bursts)
    assert inferences > 0
    stored = RecordStore()
    assert stored.count(trial.id) > 0
    assert session.device.runner.status()["records"] == 0


def test_an_equal_measurement_is_used_again_and_another_plan_is_not(session: Session) -> None:
    first = loop.measure(session, QUICK, "none", seed=0, again=False)
    assert loop.measure(session, QUICK, "none", seed=0, again=False) == first
    assert loop.measure(session, QUICK, "none", seed=0, again=True) != first
    assert loop.measure(session, QUICK, "none", seed=1, again=False) != first


def test_a_meter_that_the_device_lacks_fails_with_its_reason(session: Session) -> None:
    with pytest.raises(DeviceFault, match="there is no meter 'ina9'"):
        loop.measure(session, QUICK, "ina9", seed=0, again=False)


def test_records_that_arrive_twice_are_kept_once(session: Session) -> None:
    loop.measure(session, QUICK, "none", seed=0, again=False)
    store = RecordStore()
    count = store.count()
    spool = {"device": "d", "spool": "s"}
    rows = [{"seq": 1, "latency_s": 0.1}, {"seq": 2, "latency_s": 0.1}]
    assert store.add(**spool, records=rows) == 2
    assert store.add(**spool, records=[*rows, {"seq": 3, "latency_s": 0.1}]) == 1
    assert store.count() == count + 3


def test_records_not_yet_acknowledged_are_collected_later(session: Session) -> None:
    loop.push(session)
    LocalLink().call(["infer", "-"], b"[" + b",".join([b"0.5"] * small_bundle.LENGTH) + b"]").json()
    store = RecordStore()
    assert collect(session.device.runner, store) == 1
    assert collect(session.device.runner, store) == 0
    assert store.count() == 1


def test_an_inference_outside_a_trial_has_energy_or_the_reason_why_not(session: Session) -> None:
    loop.push(session)
    series = json.dumps([0.5] * small_bundle.LENGTH).encode()
    metered = LocalLink().call(["infer", "-", "--meter", "fake:idle_w=2,active_w=3"], series).json()
    (energy,) = metered["energy"]
    assert energy["method"] in {"counter", "apportioned"}
    assert 0 < energy["energy_low_j"] <= energy["energy_j"] <= energy["energy_high_j"]
    assert energy["simulated"]
    (bare,) = LocalLink().call(["infer", "-", "--meter", "none"], series).json()["energy"]
    assert (bare["energy_j"], bare["method"]) == (None, "none")
    assert "none was asked for" in bare["reason"]
    first, second = session.device.runner.records(0)["records"]
    assert (first["energy_j"], first["coverage"]) == (energy["energy_j"], energy["coverage"])
    assert second["reason"] == bare["reason"]


def test_infer_answers_with_a_label_of_the_bundle(session: Session) -> None:
    loop.push(session)
    series = b"[" + b",".join(str(index % 5).encode() for index in range(50)) + b"]"
    answer = LocalLink().call(["infer", "-"], series).json()
    assert answer["labels"][0] in small_bundle.CLASSES
    assert sum(answer["probabilities"][0].values()) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(UsageFault, match="does not hold a recording"):
        LocalLink().call(["infer", "-"], b"not json").json()


@pytest.mark.parametrize(
    ("recording", "why"),
    [
        ('{"a": 1}', "it holds a JSON dict, not a list"),
        ("3", "it holds a JSON int, not a list"),
        ("[[1, 2], [3]]", "channels differ in length"),
        ('[{"a": 1}]', "float"),
        ('["x"]', "could not convert"),
        (f"[1{'0' * 400}]", "too large"),
        ("[[[1]]]", "more than two deep"),
    ],
)
def test_what_is_no_recording_is_one_usage_fault(
    monkeypatch: pytest.MonkeyPatch, recording: str, why: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(recording))
    with pytest.raises(UsageFault, match=f"^- does not hold a recording: .*{why}") as caught:
        commands._series("-")
    assert "one list per channel" in str(caught.value.hint)


def test_select_is_numbered_and_does_nothing_twice(session: Session) -> None:
    bundle = loop.push(session).bundle
    chosen = pushing.select(session.device, bundle, "pruned", session.key)
    assert chosen is not None
    assert chosen["sequence"] == 2
    assert pushing.select(session.device, bundle, "pruned", session.key) is None


def test_a_variant_is_served_by_name(session: Session) -> None:
    loop.serve(session, loop.push(session), "pruned")
    assert session.device.runner.status()["current"]["selection"]["variant"] == "pruned"
    assert json.loads((session.out / "selection.json").read_text())["trial"] is None
    with pytest.raises(UsageFault, match="no variant 'int8'"):
        loop.serve(session, loop.push(session), "int8")


def test_signers_change_by_an_order_of_one_that_is_trusted(session: Session, tmp_path: Path) -> None:
    loop.push(session)
    assert session.key is not None
    stranger = store_parts.new_key(tmp_path / "keys/stranger", "stranger")
    runner, public = session.device.runner, str(tmp_path / "keys/stranger.pub")
    with pytest.raises(IntegrityFault, match="not among those this device trusts"):
        signers.change(runner, stranger, "add", public)
    added = signers.change(runner, session.key, "add", public)
    assert [row["name"] for row in added] == ["greenup-project", "stranger"]
    revoked = signers.change(runner, stranger, "revoke", "greenup-project")
    assert [row["name"] for row in revoked] == ["stranger"]
    with pytest.raises(IntegrityFault):
        signers.change(runner, session.key, "add", public)
    with pytest.raises(UsageFault, match="is no public key"):
        signers.change(runner, stranger, "add", str(tmp_path / "nothing.pub"))


def test_a_running_job_can_be_cancelled_and_another_measurement_waits_its_turn(session: Session) -> None:
    bundle = loop.push(session).bundle
    link, runner = LocalLink(), session.device.runner
    plan = {"variants": ["fp32"], "burst_s": 5.0, "warmup_s": 0.0, "meter": "none"}
    request = {"bundle": bundle, "plan": plan}
    job = runner._json(["job", "start"], _json_bytes(request))["job"]
    _wait_for(lambda: link.call(["job", "status", job]).json()["state"] == "running")
    quick = {"bundle": bundle, "plan": {**plan, "burst_s": 0.01}}
    with pytest.raises(DeviceFault, match="another measurement runs"):
        runner.measure(quick, session.out, lambda *_: None)
    runner._json(["job", "cancel", job])
    assert link.call(["job", "status", job]).json()["state"] == "cancelled"
    _wait_for(lambda: _measures(runner, quick, session.out))


def test_a_killed_job_has_failed_and_says_so(session: Session) -> None:
    import os
    import signal

    bundle = loop.push(session).bundle
    link, runner = LocalLink(), session.device.runner
    plan = {"variants": ["fp32"], "burst_s": 5.0, "warmup_s": 0.0, "meter": "none"}
    job = runner._json(["job", "start"], _json_bytes({"bundle": bundle, "plan": plan}))["job"]
    _wait_for(lambda: link.call(["job", "status", job]).json()["state"] == "running")
    os.kill(link.call(["job", "status", job]).json()["pid"], signal.SIGKILL)
    _wait_for(lambda: link.call(["job", "status", job]).json()["state"] == "failed")
    assert "ended without a result" in link.call(["job", "status", job]).json()["message"]


def test_an_unknown_device_and_a_missing_runner_are_device_faults() -> None:
    with pytest.raises(DeviceFault, match="no device 'locl'") as caught:
        inventory.find("locl")
    assert "did you mean 'local'" in str(caught.value.hint)
    with pytest.raises(DeviceFault, match="cannot be started"):
        RunnerClient(LocalLink(runner="/nowhere/greenup-runner")).hello()


def test_files_of_an_answer_cannot_leave_their_folder(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../evil"), io.BytesIO())
    with pytest.raises(IntegrityFault, match="not a plain file"):
        unpack_files(buffer.getvalue(), tmp_path / "in")
    assert not (tmp_path / "evil").exists()


def test_no_telemetry_is_written_by_host_or_runner(session: Session, own_folders: Path) -> None:
    loop.push(session)
    written = [path for path in own_folders.rglob("*") if "onnxruntime" in path.name.lower()]
    assert written == []


def _json_bytes(value: object) -> bytes:
    import json

    return json.dumps(value).encode()


def _wait_for(condition: object, limit_s: float = 20.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def _measures(runner: RunnerClient, request: dict[str, object], folder: Path) -> bool:
    try:
        runner.measure(request, folder / "fetched", lambda *_: None)
    except DeviceFault:
        return False
    return trials.load(folder / "fetched").rounds > 0
