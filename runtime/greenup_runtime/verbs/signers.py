"""`greenup-runner signers`: whose bundles run here. Free at the device's command line, signed only over a link."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from greenup_runtime import signers
from greenup_runtime.commands import Answer
from greenup_runtime.errors import IntegrityFault, UsageFault
from greenup_runtime.store import Store


def add(verbs: Any, verb: Any) -> None:
    """Add the verb and its actions to the command line."""
    text = "whose bundles run here"
    actions = verbs.add_parser("signers", help=text, description="Whose bundles run here.")
    actions = actions.add_subparsers(required=True, metavar="ACTION")
    verb(actions, "list", listing, "list the trusted signers with their fingerprints")
    adding = verb(actions, "add", change, "trust one more signer")
    adding.add_argument("signer", nargs="?", default="-", help="file with NAME KIND KEY in one line, or -")
    for name, what in (
        ("remove", "trust a signer no more"),
        ("revoke", "remove a signer, refuse its key for good"),
    ):
        verb(actions, name, change, what).add_argument("signer", help="name or fingerprint")
    verb(actions, "apply", apply, "make the change on stdin, which a trusted signer signed for this device")
    for name in ("add", "remove", "revoke"):
        actions.choices[name].set_defaults(action=name)


def listing(_arguments: argparse.Namespace, store: Store) -> Answer:
    """The trusted signers; `sequence` is the number of the last signed change."""
    rows = signers.listed(store.allowed_signers)
    return {"signers": rows, "device": store.device_id, "sequence": _sequence(store)}


def change(arguments: argparse.Namespace, store: Store) -> Answer:
    """Add, remove or revoke, asked for at the device's own command line."""
    if arguments.framed:
        raise IntegrityFault(
            "over a link the signers change only by a signed order", "use `signers apply`, or log in to the device"
        )
    signer = _line(arguments.signer) if arguments.action == "add" else arguments.signer
    with store.lock():
        return _changed(store, arguments.action, signer)


def apply(_arguments: argparse.Namespace, store: Store) -> Answer:
    """Make a signed change: JSON with `change` (schema, device, action, signer, sequence) and `signature`."""
    try:
        envelope = json.load(sys.stdin)
        order, signature = envelope["change"], envelope["signature"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageFault("stdin holds no signed change of the signers") from error
    with store.lock():
        signers.check_change(order, signature, store.device_id, _sequence(store), store.allowed_signers)
        # The number first: a crash in between costs a change, and a change asked for again has a new number.
        store.write_state({**store.state(), "signers_sequence": order["sequence"]})
        return _changed(store, order["action"], order["signer"])


def _changed(store: Store, action: str, signer: str) -> Answer:
    path = store.allowed_signers
    if action == "add":
        return {"changed": signers.add(path, signer), "signers": signers.listed(path)}
    act = signers.remove if action == "remove" else signers.revoke
    return {"gone": act(path, signer), "signers": signers.listed(path)}


def _line(file: str) -> str:
    try:
        return sys.stdin.read(10_000) if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageFault(f"{file} holds no signer: {error}") from error


def _sequence(store: Store) -> int:
    return int(store.state().get("signers_sequence", 0))
