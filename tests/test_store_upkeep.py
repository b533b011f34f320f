"""A store that is kept for years: proofs, history, garbage, cut pushes, one command at a time, layouts, memory."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import store_parts
from store_parts import RUNNER, Parts, runner

from greenup_runtime import garbage, layout, memory, signers
from greenup_runtime.errors import DeviceFault, UsageFault
from greenup_runtime.store import Store

# --- commit and proof


def test_commit_asks_for_a_proof_made_here_with_this_runtime(parts: Parts, home: Path) -> None:
    path = home / "bundles" / parts.new.bundle.digest / "proof.json"
    kept = json.loads(path.read_text())
    envelope = parts.envelope(Store(home), parts.new.bundle, 2)
    for what, value in (("onnxruntime", "1.0"), ("device", "other"), ("isa", ["vnni-of-old"]), ("runtime", "0")):
        path.write_text(json.dumps({**kept, what: value}))
        done = runner(home, "commit", stdin=envelope)
        assert (done.code, f"proven with another {what}" in done.err) == (4, True), done.err
        assert f"greenup-runner prove {parts.new.bundle.digest}" in done.err
    path.write_text('{"schema": "greenup.proof/1"}')
    assert "was not proven on this device" in runner(home, "commit", stdin=envelope).err
    assert Store(home).serving()[0].digest == parts.old.bundle.digest
    assert runner(home, "prove", parts.new.bundle.digest).code == 0
    assert runner(home, "commit", stdin=envelope).code == 0
    assert Store(home).serving()[0].digest == parts.new.bundle.digest


def test_a_commit_that_was_made_can_be_made_again(parts: Parts, home: Path) -> None:
    envelope = parts.envelope(Store(home), parts.new.bundle, 2)
    assert [runner(home, "commit", stdin=envelope).code for _ in range(2)] == [0, 0]
    assert len(Store(home).state()["history"]) == 1


def test_a_variant_that_this_cpu_cannot_run_is_not_committed(parts: Parts, home: Path, tmp_path: Path) -> None:
    made = store_parts.made(tmp_path / "isa", parts.key, isa={"pruned": ["i8mm-of-the-future"]})
    store_parts.install_proven(Store(home), made)
    done = runner(home, "commit", stdin=parts.envelope(Store(home), made.bundle, 2, "pruned"))
    assert (done.code, "lacks i8mm-of-the-future" in done.err) == (3, True)


def test_what_is_unsigned_is_shown_as_such(parts: Parts, home: Path, tmp_path: Path) -> None:
    from greenup import bundle as packing

    bundle = store_parts.made(tmp_path / "u", parts.key, widths={"fp32": 40}).bundle
    assert runner(home, "install", stdin=packing.to_tar(bundle, None, bundle.blob_names())).code == 0
    assert "no signature" in runner(home, "prove", bundle.digest).err
    assert runner(home, "prove", bundle.digest, "--allow-unsigned").code == 0
    assert "is not signed" in runner(home, "commit", stdin=parts.envelope(Store(home), bundle, 2)).err
    assert not runner(home, "status").json()["unsigned"]
    envelope = parts.envelope(Store(home), bundle, 2)
    assert runner(home, "commit", "--allow-unsigned", stdin=envelope).code == 0
    status = runner(home, "status").json()
    assert status["unsigned"]
    assert [row["unsigned"] for row in status["bundles"] if row["is"] == "serving"] == [True]


def test_a_variant_is_selected_on_the_device_only_unsigned(parts: Parts, home: Path) -> None:
    assert "--allow-unsigned" in runner(home, "commit", "--variant", "pruned").err
    assert runner(home, "commit", "--variant", "pruned", "--allow-unsigned").code == 0
    assert Store(home).serving()[1] == "pruned"
    assert runner(home, "status").json()["unsigned"]


def test_a_pushed_bundle_keeps_its_signature(parts: Parts, home: Path) -> None:
    from greenup import bundle as packing

    assert runner(home, "install", stdin=packing.to_tar(parts.new.bundle, None, [])).code == 0
    assert Store(home).bundle(parts.new.bundle.digest)[1] == parts.new.signature


def test_a_blob_that_the_disk_spoiled_is_sent_again(parts: Parts, home: Path) -> None:
    name = parts.new.bundle.blob_names()[0]
    (home / "blobs/sha256" / name).write_bytes(b"rot")
    done = runner(home, "prove", parts.new.bundle.digest)
    assert (done.code, "altered on this device's disk" in done.err) == (4, True)
    assert json.loads(runner(home, "wanted", stdin=json.dumps([name]).encode()).out)["missing"] == [name]
    assert runner(home, "install", stdin=parts.new.tar).code == 0


def test_status_does_not_load_onnxruntime(home: Path) -> None:
    code = (
        "import sys; from greenup_runtime import cli; assert cli.run(sys.argv[1:]) == 0;"
        "sys.exit('onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, "--home", home, "status"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"is: serving" in done.stdout


# --- rollback


def test_rollback_goes_several_steps_back_and_says_how_many_there_are(parts: Parts, home: Path) -> None:
    store = Store(home)
    for sequence, (bundle, variant) in enumerate(
        [(parts.new.bundle, "fp32"), (parts.new.bundle, "pruned"), (parts.old.bundle, "pruned")], start=2
    ):
        store_parts.commit(parts, store, bundle, sequence, variant)
    assert "3 steps are kept" in runner(home, "rollback", "--steps", "4").err
    assert runner(home, "rollback", "--steps", "3", "--cause", "all were worse").code == 0
    state = store.state()
    assert (store.serving()[0].digest, store.serving()[1]) == (parts.old.bundle.digest, "fp32")
    assert (state["history"], state["cause"], state["highest_sequence"]) == ([], "all were worse", 4)


def test_what_a_revoked_key_signed_does_not_come_back(parts: Parts, home: Path) -> None:
    store = Store(home)
    store_parts.commit(parts, store, parts.new.bundle, 2)
    signers.add(store.allowed_signers, parts.stranger.allowed_signers_line())
    signers.revoke(store.allowed_signers, "owner")
    done = runner(home, "rollback")
    assert (done.code, "not among those" in done.err or "revoked" in done.err) == (4, True), done.err
    assert store.serving()[0].digest == parts.new.bundle.digest


# --- garbage


def test_gc_keeps_what_serves_and_served_and_removes_the_rest(parts: Parts, home: Path, tmp_path: Path) -> None:
    store = Store(home)
    store_parts.commit(parts, store, parts.new.bundle, 2)
    third = store_parts.made(tmp_path / "third", parts.key, widths={"fp32": 24, "pruned": 8})
    store_parts.install_proven(store, third)
    shared = set(third.bundle.blob_names()) & set(parts.new.bundle.blob_names())
    assert shared, "the pruned variant is the same file"
    wanted = {third.bundle.digest}
    would = runner(home, "gc", "--grace-h", "0", "--keep", "1", "--dry-run").json()
    assert set(would["bundles"]) == wanted
    assert set(store.installed()) == {parts.old.bundle.digest, parts.new.bundle.digest, third.bundle.digest}
    assert garbage.collect(store).bundles == (), "it was pushed a moment ago"
    done = runner(home, "gc", "--grace-h", "0", "--keep", "1").json()
    assert {**done, "dry_run": True} == would
    assert set(store.installed()) == {parts.old.bundle.digest, parts.new.bundle.digest}
    assert shared <= {path.name for path in store.blobs.iterdir()}
    assert set(done["blobs"]) == set(third.bundle.blob_names()) - shared - set(parts.old.bundle.blob_names())
    assert store.rollback("test")["bundle"] == parts.old.bundle.digest


def test_gc_forgets_selections_whose_bundle_goes(parts: Parts, home: Path, tmp_path: Path) -> None:
    store = Store(home)
    third = store_parts.made(tmp_path / "third", parts.key, widths={"fp32": 24, "pruned": 8})
    store_parts.install_proven(store, third)
    store_parts.commit(parts, store, parts.new.bundle, 2)
    store_parts.commit(parts, store, third.bundle, 3)
    assert garbage.collect(store, keep=1, grace_h=0).bundles == (parts.old.bundle.digest,)
    assert [entry["selection"]["bundle"] for entry in store.state()["history"]] == [parts.new.bundle.digest]
    with pytest.raises(UsageFault, match="one former bundle at least"):
        garbage.collect(store, keep=0)


def test_gc_leaves_the_bundle_of_a_running_measurement(parts: Parts, home: Path) -> None:
    job = home / "jobs/0123456789abcdef"
    job.mkdir(parents=True)
    (job / "request.json").write_text(json.dumps({"bundle": parts.new.bundle.digest}))
    (job / "progress.json").write_text(json.dumps({"state": "running", "pid": os.getpid()}))
    assert garbage.collect(Store(home), grace_h=0).bundles == ()
    (job / "progress.json").write_text(json.dumps({"state": "done"}))
    assert garbage.collect(Store(home), grace_h=0).bundles == (parts.new.bundle.digest,)


# --- a cut push


def test_a_cut_push_goes_on_where_it_was_cut(parts: Parts, home: Path, tmp_path: Path) -> None:
    from greenup import bundle as packing

    made = store_parts.made(tmp_path / "cut", parts.key, widths={"fp32": 20, "pruned": 12})
    last = made.bundle.blob_names()[-1]
    done = runner(home, "install", stdin=made.tar[: made.tar.rindex(last.encode()) + 700])
    assert (done.code, "what arrived is kept" in done.err) == (4, True)
    (home / "blobs/sha256/.killed.tmp").write_bytes(b"half")
    answer = runner(home, "resume").json()
    assert answer["cleaned"] == ["blobs/sha256/.killed.tmp"]
    assert [(row["bundle"], row["missing"]) for row in answer["waiting"]] == [(made.bundle.digest, [last])]
    assert runner(home, "status").json()["incoming"][0]["missing"] == 1
    assert runner(home, "install", stdin=packing.to_tar(made.bundle, made.signature, [last])).code == 0
    assert runner(home, "status").json()["incoming"] == []
    assert made.bundle.digest in Store(home).installed()


# --- one at a time


def _hold(home: Path, ready: multiprocessing.synchronize.Event, done: multiprocessing.synchronize.Event) -> None:
    with Store(home).lock():
        ready.set()
        done.wait(60)


@contextlib.contextmanager
def held(home: Path) -> Iterator[None]:
    """Another process holds the store."""
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(home, ready, done))
    process.start()
    assert ready.wait(60)
    try:
        yield
    finally:
        done.set()
        process.join()


def test_a_held_store_is_waited_for_and_then_reported(parts: Parts, home: Path) -> None:
    store = Store(home, lock_wait_s=0.1)
    with held(home):
        for change in (
            lambda: store.install(io.BytesIO(parts.new.tar)),
            lambda: store.rollback("test"),
            lambda: garbage.collect(store),
            lambda: store.trust(parts.key.allowed_signers_line()),
            lambda: store_parts.commit(parts, store, parts.new.bundle, 2),
        ):
            with pytest.raises(DeviceFault, match=r"another install.* runs on this device; waited 0\.1 s"):
                change()
        assert store.serving()[0].digest == parts.old.bundle.digest
    store_parts.commit(parts, store, parts.new.bundle, 2)


def test_commands_of_two_processes_come_one_after_the_other(parts: Parts, home: Path) -> None:
    store = Store(home)
    envelopes = [parts.envelope(store, parts.new.bundle, number) for number in range(2, 6)]
    running = [
        subprocess.Popen(
            [*RUNNER, "--home", home, "commit"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=-3
        )
        for _ in envelopes
    ]
    for process, envelope in zip(running, envelopes, strict=True):
        assert process.stdin is not None
        process.stdin.write(envelope)
        process.stdin.close()
    codes = []
    for process in running:
        assert process.stderr is not None
        said = process.stderr.read().decode()
        codes.append(process.wait())
        assert codes[-1] == 0 or "the selection is old" in said
    assert store.state()["highest_sequence"] == 5
    assert len(store.state()["history"]) == codes.count(0)


# --- layouts and memory


def test_a_store_of_layout_1_is_brought_up_to_date(parts: Parts, home: Path) -> None:
    store = Store(home)
    store_parts.commit(parts, store, parts.new.bundle, 2)
    state = store.state()
    previous = {name: state["previous"][name] for name in ("selection", "signature")}
    current = {name: state["current"][name] for name in ("selection", "signature")}
    first = {"current": current, "previous": previous, "highest_sequence": 2, "cause": None}
    (home / "state.json").write_text(json.dumps(first))
    (home / "layout.json").write_text('{"version": 1}')
    shutil.rmtree(home / "incoming")
    again = Store(home)
    assert again.device_id == store.device_id
    assert json.loads((home / "layout.json").read_text()) == {"version": layout.VERSION}
    assert again.serving()[0].digest == parts.new.bundle.digest
    assert not runner(home, "status").json()["unsigned"]
    assert again.rollback("test")["bundle"] == parts.old.bundle.digest


@pytest.mark.parametrize("name", ["state.json", "layout.json", "device.json"])
@pytest.mark.parametrize("content", ["", "[]", "{", "\x00\x00"])
def test_a_damaged_file_of_the_store_is_one_message(name: str, content: str, home: Path) -> None:
    (home / name).write_text(content)
    done = runner(home, "status")
    assert (done.code, f"{name} is damaged" in done.err) == (4, True), done.err


@pytest.mark.parametrize(
    "state", [{"current": 5}, {"current": {"selection": {}, "signature": None}}, {"history": 1}, {"history": [[]]}]
)
def test_a_state_of_another_form_is_one_message(state: dict[str, object], home: Path) -> None:
    (home / "state.json").write_text(json.dumps(state))
    done = runner(home, "status")
    assert (done.code, "state.json is damaged" in done.err) == (4, True), done.err


def test_memory_is_what_the_control_group_leaves(tmp_path: Path) -> None:
    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    assert memory.available_bytes(tmp_path) is None
    write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert memory.available_bytes(tmp_path) == 8_000 << 10
    write("proc/self/cgroup", "0::/system.slice/greenup.service\n")
    write("sys/fs/cgroup/system.slice/memory.max", "5000000\n")
    write("sys/fs/cgroup/system.slice/memory.current", "4000000\n")
    write("sys/fs/cgroup/system.slice/greenup.service/memory.max", "max\n")
    assert memory.available_bytes(tmp_path) == 1_000_000
    write("sys/fs/cgroup/system.slice/memory.stat", "anon 5\ninactive_file 500000\n")
    assert memory.available_bytes(tmp_path) == 1_500_000
    write("proc/self/cgroup", "4:cpu,memory:/\n")
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "3000000\n")
    write("sys/fs/cgroup/memory/memory.usage_in_bytes", "2900000\n")
    assert memory.available_bytes(tmp_path) == 100_000
