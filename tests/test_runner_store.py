"""Install, prove, commit and rollback on a device's store: what may serve, and what never does."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import small_bundle

from greenup import bundle as packing
from greenup.signing import SigningKey, find_key
from greenup_runtime import installing
from greenup_runtime.bundle import BLOBS, MANIFEST_NAME, Bundle, open_folder
from greenup_runtime.errors import DeviceFault, IntegrityFault, UsageFault
from greenup_runtime.proof import prove
from greenup_runtime.proving import prove_installed
from greenup_runtime.store import Store, selection_bytes


def signed_bundle(folder: Path, key: SigningKey, **options: Any) -> tuple[Bundle, str]:
    bundle = small_bundle.make(folder, **options)
    packing.sign(folder, key)
    signature = packing.signature_of(folder)
    assert signature
    return bundle, signature


def push(store: Store, bundle: Bundle, signature: str | None) -> Bundle:
    archive = packing.to_tar(bundle, signature, bundle.blob_names())
    return store.install(io.BytesIO(archive))


def install(store: Store, bundle: Bundle, signature: str | None) -> Bundle:
    """Install and prove, as a host's push does, but without a process of its own for the proof."""
    installed = push(store, bundle, signature)
    unsigned = signature is None
    store.keep_proof(prove(installed, signature, store.allowed_signers, allow_unsigned=unsigned))
    return installed


def selection(store: Store, bundle: Bundle, sequence: int, variant: str = "fp32") -> dict[str, Any]:
    return {
        "schema": "greenup.selection/1",
        "device": store.device_id,
        "bundle": bundle.digest,
        "variant": variant,
        "trial": None,
        "budget": {},
        "sequence": sequence,
    }


def commit(store: Store, key: SigningKey, chosen: dict[str, Any]) -> None:
    store.commit(chosen, key.sign(selection_bytes(chosen)))


def test_install_prove_commit_serves(tmp_path: Path, store: Store, key: SigningKey) -> None:
    bundle, signature = signed_bundle(tmp_path / "b", key)
    installed = push(store, bundle, signature)
    proof = prove_installed(store, installed.digest)
    assert proof.usable() == ("fp32", "pruned")
    assert proof.signer == "greenup-project"
    assert all(row.memory_bytes is not None for row in proof.variants)
    commit(store, key, selection(store, bundle, 1, "pruned"))
    serving, variant = store.serving()
    assert (serving.digest, variant) == (bundle.digest, "pruned")


def test_a_second_push_of_the_same_blobs_needs_none(tmp_path: Path, store: Store, key: SigningKey) -> None:
    bundle, signature = signed_bundle(tmp_path / "b", key)
    assert set(store.missing(list(bundle.blob_names()))) == set(bundle.blob_names())
    install(store, bundle, signature)
    assert store.missing(list(bundle.blob_names())) == []


def test_rollback_brings_the_former_selection_back_with_its_cause(
    tmp_path: Path, store: Store, key: SigningKey
) -> None:
    bundle, signature = signed_bundle(tmp_path / "b", key)
    install(store, bundle, signature)
    commit(store, key, selection(store, bundle, 1, "fp32"))
    commit(store, key, selection(store, bundle, 2, "pruned"))
    store.rollback("labels looked wrong")
    assert store.serving()[1] == "fp32"
    assert store.state()["cause"] == "labels looked wrong"
    with pytest.raises(DeviceFault, match="nothing to roll back"):
        store.rollback("again")


def test_an_older_selection_is_refused_after_a_rollback_too(tmp_path: Path, store: Store, key: SigningKey) -> None:
    bundle, signature = signed_bundle(tmp_path / "b", key)
    install(store, bundle, signature)
    for sequence in (1, 2):
        commit(store, key, selection(store, bundle, sequence))
    store.rollback("test")
    with pytest.raises(IntegrityFault, match="the selection is old"):
        commit(store, key, selection(store, bundle, 2))


def test_a_selection_for_another_device_or_with_changed_content_is_refused(
    tmp_path: Path, store: Store, key: SigningKey
) -> None:
    bundle, signature = signed_bundle(tmp_path / "b", key)
    install(store, bundle, signature)
    with pytest.raises(IntegrityFault, match="another device"):
        commit(store, key, {**selection(store, bundle, 1), "device": "other"})
    chosen = selection(store, bundle, 1)
    with pytest.raises(IntegrityFault, match="does not match"):
        store.commit({**chosen, "variant": "pruned"}, key.sign(selection_bytes(chosen)))
    with pytest.raises(IntegrityFault, match="no signature"):
        store.commit(chosen, None)
    with pytest.raises(UsageFault, match="no variant 'int8'"):
        commit(store, key, selection(store, bundle, 1, "int8"))
    assert store.state()["current"] is None


def test_one_flipped_byte_in_any_file_is_found(tmp_path: Path, key: SigningKey) -> None:
    bundle, _ = signed_bundle(tmp_path / "b", key)
    files = [tmp_path / "b" / BLOBS / name for name in bundle.blob_names()]
    for path in files:
        original = path.read_bytes()
        path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        with pytest.raises(IntegrityFault, match="was altered") as caught:
            open_folder(tmp_path / "b")
        assert caught.value.exit_code == 4
        path.write_bytes(original)


def test_a_changed_manifest_fails_its_signature(tmp_path: Path, store: Store, key: SigningKey) -> None:
    _, signature = signed_bundle(tmp_path / "b", key)
    manifest = tmp_path / "b" / MANIFEST_NAME
    manifest.write_text(manifest.read_text().replace('"small"', '"sma1l"'))
    changed = open_folder(tmp_path / "b")
    with pytest.raises(IntegrityFault, match="altered after signing"):
        prove(changed, signature, store.allowed_signers)


def test_unsigned_runs_only_where_allowed(tmp_path: Path, store: Store) -> None:
    bundle = small_bundle.make(tmp_path / "b")
    with pytest.raises(IntegrityFault, match="no signature"):
        prove(bundle, None, store.allowed_signers)
    assert prove(bundle, None, store.allowed_signers, allow_unsigned=True).signer is None


def test_a_strangers_signature_is_refused(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENUP_CONFIG", str(tmp_path / "stranger"))
    stranger = find_key()
    bundle, signature = signed_bundle(tmp_path / "b", stranger)
    with pytest.raises(IntegrityFault, match="not among those this device trusts"):
        prove(bundle, signature, store.allowed_signers)
    with pytest.raises(IntegrityFault, match="already trusts another signer"):
        store.trust(stranger.allowed_signers_line())


def test_a_failed_golden_sample_is_refused(tmp_path: Path, store: Store, key: SigningKey) -> None:
    bundle, signature = signed_bundle(tmp_path / "b", key, spoil_golden="pruned")
    with pytest.raises(IntegrityFault, match="golden samples: pruned differs"):
        prove(bundle, signature, store.allowed_signers)


def test_a_variant_for_another_cpu_is_left_out(tmp_path: Path, store: Store, key: SigningKey) -> None:
    bundle, signature = signed_bundle(tmp_path / "b", key, isa={"pruned": ["i8mm-of-the-future"]})
    proof = prove(bundle, signature, store.allowed_signers)
    assert proof.usable() == ("fp32",)
    assert proof.variants[1].reason == "this CPU lacks i8mm-of-the-future"


def test_a_device_without_memory_says_so(tmp_path: Path, store: Store, key: SigningKey) -> None:
    (tmp_path / "root/proc").mkdir(parents=True)
    (tmp_path / "root/proc/meminfo").write_text("MemTotal: 900 kB\nMemAvailable: 9 kB\n")
    bundle, signature = signed_bundle(tmp_path / "b", key)
    with pytest.raises(DeviceFault, match="MB of memory"):
        prove(bundle, signature, store.allowed_signers, root=tmp_path / "root")


def test_a_manifest_of_a_newer_schema_is_refused(tmp_path: Path) -> None:
    small_bundle.make(tmp_path / "b")
    manifest = tmp_path / "b" / MANIFEST_NAME
    raw = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**raw, "version": 99}))
    with pytest.raises(IntegrityFault, match="schema version 99, this program reads up to 1") as caught:
        open_folder(tmp_path / "b")
    assert "update" in str(caught.value.hint)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "greenup.manifest", "version": 1}', "\x00"])
def test_a_damaged_manifest_is_one_fault(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(text)
    with pytest.raises(IntegrityFault):
        open_folder(tmp_path)


def test_a_cut_archive_keeps_its_whole_blobs(tmp_path: Path, store: Store, key: SigningKey) -> None:
    bundle, signature = signed_bundle(tmp_path / "b", key)
    archive = packing.to_tar(bundle, signature, bundle.blob_names())
    last = bundle.blob_names()[-1]
    with pytest.raises(IntegrityFault, match="cut short"):
        store.install(io.BytesIO(archive[: archive.rindex(last.encode()) + 1_000]))
    missing = store.missing(list(bundle.blob_names()))
    assert missing == [last]
    assert installing.resume(store)["waiting"][0]["missing"] == [last]
    again = packing.to_tar(bundle, signature, missing)
    assert store.install(io.BytesIO(again)).digest == bundle.digest


def test_a_newer_layout_is_left_alone(tmp_path: Path) -> None:
    Store(tmp_path)
    (tmp_path / "layout.json").write_text('{"version": 7}')
    with pytest.raises(DeviceFault, match="layout version 7"):
        Store(tmp_path)
