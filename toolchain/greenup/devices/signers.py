"""Change whose bundles run on a device: an order that a signer it trusts has signed for it, good for once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from greenup.devices.client import RunnerClient
from greenup.signing import SigningKey
from greenup_runtime.errors import UsageFault
from greenup_runtime.signers import CHANGE_SCHEMA, change_bytes


def listed(runner: RunnerClient) -> list[dict[str, Any]]:
    """The device's signers: name, kind, fingerprint, whether revoked."""
    rows: list[dict[str, Any]] = runner.signers()["signers"]
    return rows


def change(runner: RunnerClient, key: SigningKey, action: str, who: str | None) -> list[dict[str, Any]]:
    """Add, remove or revoke a signer, and return those there are then.

    `who` is a public key's file to add, else a name or fingerprint. Raises UsageFault for a file that is no public
    key, IntegrityFault where the device does not trust `key`.
    """
    if who is None:
        raise UsageFault(
            f"signers {action} needs to know whom", "name a public key's file, a signer or a fingerprint"
        )
    now = runner.signers()
    order = {
        "schema": CHANGE_SCHEMA,
        "device": now["device"],
        "action": action,
        "signer": _line(Path(who).expanduser()) if action == "add" else who,
        "sequence": int(now["sequence"]) + 1,
    }
    rows: list[dict[str, Any]] = runner.change_signers(order, key.sign(change_bytes(order)))["signers"]
    return rows


def _line(path: Path) -> str:
    try:
        return SigningKey(path, path.read_text().strip()).allowed_signers_line()
    except (OSError, ValueError) as error:
        raise UsageFault(f"{path} is no public key: {error}", "give the file that ends in .pub") from error
