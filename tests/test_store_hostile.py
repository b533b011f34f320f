"""Bundles that mean harm: each is refused with one message and the right exit code, and nothing of it stays."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import hostile_bundles
import pytest
import store_parts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_parts import Parts, runner, tree

from greenup_runtime import golden_samples, onnx_file
from greenup_runtime.bundle import parse
from greenup_runtime.errors import GreenupError, IntegrityFault
from greenup_runtime.proof import prove
from greenup_runtime.selection import make as make_selection
from greenup_runtime.selection import selection_bytes
from greenup_runtime.store import Store


@pytest.fixture
def home(serving_home: Path, tmp_path: Path) -> Path:
    """Here the new bundle is not known yet: what is left of it shows."""
    return Path(shutil.copytree(serving_home, tmp_path / "home"))


def refused(done: store_parts.Done, why: str, code: int = 4) -> None:
    assert done.code == code, done.err
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    assert done.err.isascii() or "…" in done.err
    assert re.search(why, done.err), done.err


@pytest.mark.parametrize("name", hostile_bundles.ARCHIVES)
def test_a_hostile_archive_leaves_nothing(name: str, parts: Parts, home: Path) -> None:
    make, why = hostile_bundles.ARCHIVES[name]
    before = tree(home)
    refused(runner(home, "install", stdin=make(parts)), why)
    assert runner(home, "resume").code == 0
    waiting = {path for path in tree(home) if path.startswith("incoming/")}
    cut = name == "cut-header"
    assert {path: data for path, data in tree(home).items() if path not in waiting or not cut} == before
    assert list(home.parent.iterdir()) == [home]


@pytest.mark.parametrize("name", hostile_bundles.MANIFESTS)
def test_a_hostile_manifest_is_refused_though_it_is_signed(name: str, parts: Parts, home: Path) -> None:
    manifest = hostile_bundles.MANIFESTS[name](parts)
    signed = hostile_bundles.heads(parts, manifest, parts.key.sign(manifest))
    before = tree(home)
    refused(runner(home, "install", stdin=hostile_bundles.tar(*signed, *hostile_bundles.blobs(parts))), "manifest")
    assert tree(home) == before


@pytest.mark.parametrize("name", hostile_bundles.GOLDEN)
def test_golden_samples_that_do_not_fit_fail_the_proof(
    name: str, parts: Parts, home: Path, tmp_path: Path
) -> None:
    made = hostile_bundles.packed(parts, tmp_path / "bad", golden=hostile_bundles.GOLDEN[name]())
    with pytest.raises(GreenupError, match="golden samples cannot be read") as caught:
        prove(made.bundle, made.signature, Store(home).allowed_signers)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", [name for name in hostile_bundles.MODELS if name != "memory-bomb"])
def test_a_hostile_model_fails_the_proof(name: str, parts: Parts, home: Path, tmp_path: Path) -> None:
    make, code, why = hostile_bundles.MODELS[name]
    made = hostile_bundles.packed(parts, tmp_path / "bad", fp32=make())
    with pytest.raises(GreenupError, match=why) as caught:
        prove(made.bundle, made.signature, Store(home).allowed_signers)
    assert caught.value.exit_code == code


def test_a_model_that_eats_memory_kills_only_its_proof(parts: Parts, home: Path, tmp_path: Path) -> None:
    make, code, why = hostile_bundles.MODELS["memory-bomb"]
    made = hostile_bundles.packed(parts, tmp_path / "bad", fp32=make())
    assert runner(home, "install", stdin=made.tar).code == 0
    before = runner(home, "status").json()
    refused(runner(home, "prove", made.bundle.digest), why, code)
    after = runner(home, "status").json()
    assert (after["current"], after["bundles"]) == (before["current"], before["bundles"])
    committed = runner(home, "commit", stdin=parts.envelope(Store(home), made.bundle, 2))
    refused(committed, "was not proven on this device")


def test_a_proof_that_does_not_end_is_stopped(parts: Parts, home: Path) -> None:
    refused(runner(home, "prove", parts.old.bundle.digest, "--limit-s", "0.01"), "did not end within 0.01 s", 3)
    assert Store(home).proof_lacks(parts.old.bundle.digest) is None


SELECTIONS: dict[str, dict[str, Any]] = {
    "older": {"sequence": 1},
    "another-device": {"device": "f" * 32},
    "no-number": {"sequence": "2"},
    "not-a-number": {"sequence": True},
    "bundle-path": {"bundle": "../../etc"},
    "variant-list": {"variant": []},
    "other-schema": {"schema": "evil"},
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_hostile_selection_changes_nothing_though_it_is_signed(name: str, parts: Parts, home: Path) -> None:
    store = Store(home)
    chosen = {**make_selection(store.device_id, parts.old.bundle.digest, "pruned", 2), **SELECTIONS[name]}
    envelope = {"selection": chosen, "signature": parts.key.sign(selection_bytes(chosen))}
    before = tree(home)
    refused(runner(home, "commit", stdin=json.dumps(envelope).encode()), "selection")
    assert tree(home) == before


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        (b"", 2),
        (b"[" * 100_000, 2),
        (b"[]", 2),
        (b"\xff", 2),
        (b"{}", 4),
        (b'{"selection": [], "signature": {}}', 4),
        (b'{"selection": "x", "signature": "x"}', 4),
        (b'{"selection": {"sequence": NaN}, "signature": "x"}', 2),
    ],
)
def test_what_is_no_selection_is_one_message(envelope: bytes, code: int, home: Path) -> None:
    before = tree(home)
    refused(runner(home, "commit", stdin=envelope), "", code)
    assert tree(home) == before


@pytest.mark.parametrize("digest", ["../../etc", "x", "A" * 64, "0" * 64])
def test_a_bundle_is_asked_for_by_its_digest_only(digest: str, home: Path) -> None:
    refused(runner(home, "prove", digest), "digest|not installed", 2)


def test_wanted_tells_nothing_of_other_files(home: Path) -> None:
    refused(runner(home, "wanted", stdin=b'["../../device.json"]'), "by their sha256", 2)
    refused(runner(home, "wanted", stdin=b"[1]"), "by their sha256", 2)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    edits=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 3),
)
def test_a_good_archive_with_changed_bytes_is_refused_or_the_same(
    edits: list[tuple[int, int]], cut: int, parts: Parts, serving_home: Path, tmp_path: Path
) -> None:
    home = tmp_path / "fuzzed"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(serving_home, home)
    archive = bytearray(parts.new.tar)
    for at, value in edits:
        archive[at % len(archive)] = value
    done = runner(home, "install", stdin=bytes(archive[: len(archive) - cut * 1000]))
    assert done.code in (0, 4), done.err
    assert "Traceback" not in done.err
    store = Store(home)
    assert store.serving()[0].digest == parts.old.bundle.digest
    whole = store.missing(list(parts.new.bundle.blob_names())) == []
    # Whatever is installed is whole; the change can only have been in the archive's padding.
    assert (parts.new.bundle.digest in store.installed()) == (done.code == 0)
    assert whole or done.code == 4
    assert not list(home.rglob(".*"))


EDITS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=8)


def changed(content: bytes, edits: list[tuple[int, int]]) -> bytes:
    edited = bytearray(content)
    for at, value in edits:
        edited[at % len(edited)] = value
    return bytes(edited)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(edits=EDITS)
def test_changed_bytes_of_any_part_are_one_fault_of_its_reader(edits: list[tuple[int, int]], parts: Parts) -> None:
    bundle = parts.new.bundle
    with contextlib.suppress(IntegrityFault):
        parse(changed(bundle.manifest_bytes, edits), bundle.blobs)
    for name in (bundle.variants[1].blob, bundle.golden_blob):
        content = changed(bundle.path(name).read_bytes(), edits)
        with contextlib.suppress(ValueError):
            onnx_file.read(content)
        with contextlib.suppress(ValueError):
            golden_samples.read(content, ("fp32", "pruned"), (1, 32), 2)
