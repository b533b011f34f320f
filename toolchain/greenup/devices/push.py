"""Bring a bundle to a device: install, prove, commit; any failure keeps what served before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenup import bundle as packing
from greenup.devices.inventory import Device
from greenup.signing import SigningKey
from greenup_runtime.bundle import BASELINE, Bundle, open_folder
from greenup_runtime.errors import IntegrityFault
from greenup_runtime.selection import SELECTION_SCHEMA, selection_bytes


@dataclass(frozen=True)
class Pushed:
    """What a push did: the device's id, who signed, which variants are usable, and how much travelled."""

    bundle: str
    device_id: str
    signer: str | None
    usable: tuple[str, ...]
    left_out: dict[str, str]
    sent_blobs: int
    sent_bytes: int


def push(folder: Path, device: Device, key: SigningKey | None, *, allow_unsigned: bool = False) -> Pushed:
    """Install and prove a bundle's folder on a device; what serves there changes only by `select`.

    Only blobs that the device lacks travel. Raises IntegrityFault for altered bytes or an unsigned bundle.
    """
    bundle = open_folder(folder)
    signature = packing.signature_of(folder)
    if signature is None and not allow_unsigned:
        raise IntegrityFault(
            f"the bundle in {folder} is not signed", "build it again, or allow it: --allow-unsigned"
        )
    runner = device.runner
    device_id = runner.hello()["device"]
    if key is not None:
        runner.trust(key.allowed_signers_line())
    missing = runner.wanted(list(bundle.blob_names()))
    archive = packing.to_tar(bundle, signature, missing)
    runner.install(archive)
    proof = runner.prove(bundle.digest, allow_unsigned=allow_unsigned)
    return _pushed(bundle, device_id, proof, len(missing), len(archive))


def select(
    device: Device,
    bundle: str,
    variant: str,
    key: SigningKey | None,
    *,
    trial: str | None = None,
    budget: dict[str, Any] | None = None,
    allow_unsigned: bool = False,
) -> dict[str, Any] | None:
    """Let a variant of an installed bundle serve; returns the new selection, or None where it serves already."""
    status = device.runner.status()
    current = status["current"]["selection"] if status["current"] else {}
    wanted = {"bundle": bundle, "variant": variant, "trial": trial, "budget": budget or {}}
    if all(current.get(name) == value for name, value in wanted.items()):
        return None
    selection = {
        "schema": SELECTION_SCHEMA,
        "device": status["device"],
        "sequence": int(status["highest_sequence"]) + 1,
        **wanted,
    }
    signature = key.sign(selection_bytes(selection)) if key else None
    device.runner.commit(selection, signature, allow_unsigned=allow_unsigned)
    return selection


def serve_first(device: Device, bundle: str, key: SigningKey | None, *, allow_unsigned: bool) -> None:
    """Let the baseline of a bundle serve on a device where nothing serves so far; a choice is left alone."""
    if device.runner.status()["current"] is None:
        select(device, bundle, BASELINE, key, allow_unsigned=allow_unsigned)


def _pushed(bundle: Bundle, device_id: str, proof: dict[str, Any], blobs: int, size_bytes: int) -> Pushed:
    rows = proof["variants"]
    return Pushed(
        bundle=bundle.digest,
        device_id=device_id,
        signer=proof["signer"],
        usable=tuple(row["name"] for row in rows if row["usable"]),
        left_out={row["name"]: row["reason"] for row in rows if not row["usable"]},
        sent_blobs=blobs,
        sent_bytes=size_bytes,
    )
