"""Which variant of which bundle one device serves: a small signed document with a rising number."""

from __future__ import annotations

import json
from typing import Any

from greenup_runtime import manifest as fields
from greenup_runtime.errors import IntegrityFault

SELECTION_SCHEMA = "greenup.selection/1"
MAX_SEQUENCE = 1 << 53


def selection_bytes(selection: dict[str, Any]) -> bytes:
    """The bytes of a selection that are signed: canonical JSON."""
    return json.dumps(selection, sort_keys=True, separators=(",", ":")).encode()


def make(device: str, bundle: str, variant: str, sequence: int) -> dict[str, Any]:
    """A selection that no trial stands behind."""
    return {
        "schema": SELECTION_SCHEMA,
        "device": device,
        "bundle": bundle,
        "variant": variant,
        "trial": None,
        "budget": {},
        "sequence": sequence,
    }


def check(selection: Any, device: str, highest: int) -> None:
    """Raise IntegrityFault for a selection that is damaged, for another device, or not newer than `highest`."""
    if not isinstance(selection, dict) or selection.get("schema") != SELECTION_SCHEMA:
        schema = ascii(selection.get("schema"))[:60] if isinstance(selection, dict) else "none"
        raise IntegrityFault(f"not a selection: schema {schema}", "update greenup-runtime")
    try:
        sequence = fields.integer(selection["sequence"], 1, MAX_SEQUENCE)
        fields.hex_digest(selection["bundle"])
        fields.name(selection["variant"])
        made_for = fields.text(selection["device"])
    except (KeyError, ValueError) as error:
        raise IntegrityFault(f"the selection is damaged: {error}", "push again") from error
    if made_for != device:
        raise IntegrityFault("the selection was made for another device", "push to this device again")
    if sequence <= highest:
        raise IntegrityFault(
            f"the selection is old: its number is {sequence}, {highest} was seen here",
            "push again, which makes a new one",
        )


def is_entry(entry: Any) -> bool:
    """Whether a value is what the state keeps of a committed selection."""
    chosen = entry.get("selection") if isinstance(entry, dict) else None
    if not isinstance(chosen, dict) or not isinstance(entry.get("signature"), (str, type(None))):
        return False
    return all(isinstance(chosen.get(name), str) for name in ("bundle", "variant"))
