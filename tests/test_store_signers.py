"""Whose bundles run on a device: added and removed there, over a link by signed orders only, revoked for good."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import store_parts
from store_parts import RUNNER, Parts, runner

from greenup.signing import SigningKey
from greenup_runtime import signers
from greenup_runtime.errors import IntegrityFault
from greenup_runtime.store import Store


def order(parts: Parts, store: Store, key: SigningKey, number: int, **changes: object) -> bytes:
    """A signed change of the signers, as a host sends it."""
    change = {
        "schema": signers.CHANGE_SCHEMA,
        "device": store.device_id,
        "action": "add",
        "signer": parts.stranger.allowed_signers_line(),
        "sequence": number,
        **changes,
    }
    return json.dumps({"change": change, "signature": key.sign(signers.change_bytes(change))}).encode()


def test_signers_are_added_and_removed_at_the_device(parts: Parts, home: Path) -> None:
    line = parts.stranger.allowed_signers_line().encode()
    assert runner(home, "signers", "add", stdin=line).json()["changed"]
    assert not runner(home, "signers", "add", stdin=line).json()["changed"]
    listed = runner(home, "signers", "list").json()["signers"]
    assert [row["name"] for row in listed] == ["owner", "stranger"]
    shown = subprocess.run(
        ["ssh-keygen", "-lf", parts.key.path.with_suffix(".pub")], capture_output=True, text=True, check=True
    )
    assert listed[0]["fingerprint"] in shown.stdout
    assert runner(home, "signers", "remove", listed[1]["fingerprint"]).code == 0
    assert "the last signer" in runner(home, "signers", "remove", "owner").err
    assert "no signer 'nobody'" in runner(home, "signers", "remove", "nobody").err


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA"


@pytest.mark.parametrize(
    "line", ["", "x", "a ssh-ed25519", f"* {KEY}", f"a cert-authority {KEY}", f"a {KEY}\nb {KEY}", f"a {KEY}="]
)
def test_what_is_no_signer_is_not_trusted(line: str, tmp_path: Path) -> None:
    for argv in (["trust"], ["signers", "add"]):
        done = runner(tmp_path / "new", *argv, stdin=line.encode())
        assert (done.code, "this is no signer" in done.err) == (2, True), done.err
    assert not (tmp_path / "new/allowed_signers").exists()


def test_signers_that_were_written_by_hand_are_understood(parts: Parts, home: Path) -> None:
    path = home / "allowed_signers"
    kind, key = parts.stranger.public.split()[:2]
    path.write_text(f'# ours\n{path.read_text()}a@b,c@d valid-after="20200101" {kind} {key} at home\nbroken\n')
    rows = runner(home, "status").json()["signers"]
    assert [(row["name"], row["kind"]) for row in rows] == [
        ("owner", "ssh-ed25519"),
        ("a@b,c@d", "ssh-ed25519"),
        ("broken", "unknown"),
    ]
    assert not runner(home, "trust", stdin=parts.stranger.allowed_signers_line().encode()).json()["changed"]
    assert runner(home, "signers", "remove", "a@b,c@d").code == 0


def test_over_a_link_signers_change_only_by_a_signed_order(parts: Parts, home: Path) -> None:
    store = Store(home)
    framed = subprocess.run(
        [*RUNNER, "--home", home, "--framed", "signers", "remove", "owner"], capture_output=True, check=False
    )
    assert (framed.returncode, b"signed order" in framed.stdout) == (4, True)
    done = runner(home, "signers", "apply", stdin=order(parts, store, parts.stranger, 1))
    assert (done.code, "not among those" in done.err) == (4, True)
    for wrong in ({"device": "f" * 32}, {"action": "own"}, {"sequence": "1"}, {"schema": "evil"}):
        done = runner(home, "signers", "apply", stdin=order(parts, store, parts.key, 1, **wrong))
        assert done.code == 4, (wrong, done.err)
    add = order(parts, store, parts.key, 1)
    assert runner(home, "signers", "apply", stdin=add).json()["changed"]
    removed = order(parts, store, parts.key, 2, action="revoke", signer="stranger")
    assert runner(home, "signers", "apply", stdin=removed).code == 0
    again = runner(home, "signers", "apply", stdin=add)
    assert (again.code, "is old" in again.err) == (4, True)
    assert [row["name"] for row in runner(home, "signers", "list").json()["signers"]] == ["owner"]


def test_a_revoked_key_counts_no_more_even_if_it_is_listed(parts: Parts, home: Path, tmp_path: Path) -> None:
    store = Store(home)
    line = parts.stranger.allowed_signers_line()
    signers.add(store.allowed_signers, line)
    made = store_parts.made(tmp_path / "s", parts.stranger, widths={"fp32": 20})
    store_parts.install_proven(store, made)
    assert runner(home, "signers", "revoke", "stranger").code == 0
    with pytest.raises(IntegrityFault, match="is revoked on this device"):
        signers.add(store.allowed_signers, line)
    with store.allowed_signers.open("a") as file:
        file.write(line + "\n")
    done = runner(home, "prove", made.bundle.digest)
    assert (done.code, "that stranger signed with is revoked" in done.err) == (4, True), done.err
    done = runner(home, "commit", stdin=parts.envelope(store, made.bundle, 2))
    assert (done.code, "is revoked" in done.err) == (4, True), done.err
    assert "is revoked" in runner(home, "install", stdin=made.tar).err


def test_a_key_is_rotated_without_a_gap(parts: Parts, home: Path) -> None:
    store = Store(home)
    assert runner(home, "signers", "apply", stdin=order(parts, store, parts.key, 1)).code == 0
    successor = Parts(parts.stranger, parts.key, parts.old, parts.new)
    away = order(parts, store, parts.stranger, 2, action="revoke", signer="owner")
    assert runner(home, "signers", "apply", stdin=away).code == 0
    assert store.serving()[0].digest == parts.old.bundle.digest, "what serves goes on"
    done = runner(home, "commit", stdin=parts.envelope(store, parts.new.bundle, 2))
    assert "not among those this device trusts" in done.err
    from greenup import bundle as packing

    resigned = parts.stranger.sign(parts.new.bundle.manifest_bytes)
    assert runner(home, "install", stdin=packing.to_tar(parts.new.bundle, resigned, [])).code == 0
    assert runner(home, "commit", stdin=successor.envelope(store, parts.new.bundle, 2)).code == 0
