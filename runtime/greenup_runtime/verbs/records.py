"""`greenup-runner records`, `acknowledge` and `ship`: the ways by which records leave the device."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from greenup_runtime.commands import Answer
from greenup_runtime.errors import UsageFault
from greenup_runtime.settings import ShipSettings
from greenup_runtime.store import Store

_FLAGS: tuple[tuple[str, type, str], ...] = (
    ("url", str, "the host's address: https://host[:port][/path]"),
    ("token-file", Path, "file with the token that the host wants"),
    ("ca-file", Path, "PEM certificates of those whom the host's certificate must come from"),
    ("batch-records", int, "records in one request"),
    ("every-s", float, "pause between two times, in seconds"),
    ("longest-back-off-s", float, "longest pause after failures, in seconds"),
)


def add(verbs: Any, verb: Any) -> None:
    """Add the verbs to the command line."""
    listing = verb(verbs, "records", since, "list the records that no host has taken yet")
    listing.add_argument("--since", type=int, default=0, help="only those after this sequence number")
    listing.add_argument("--limit", type=int, default=5_000, help="at most so many")
    ack = verb(verbs, "acknowledge", acknowledge, "forget records that the host has stored")
    ack.add_argument("spool", help="uuid of the spool")
    ack.add_argument("seq", type=int, help="highest sequence number stored")
    shipping = verb(verbs, "ship", ship, "send records to the host until stopped")
    shipping.add_argument("--once", action="store_true", help="send what waits, and end")
    for name, kind, meaning in _FLAGS:
        shipping.add_argument(f"--{name}", type=kind, help=meaning)


def since(arguments: argparse.Namespace, store: Store) -> Answer:
    """Records after a sequence number, oldest first."""
    with store.spool() as spool:
        uuid, lines = spool.lines(arguments.since, max(1, arguments.limit))
    return {"spool": uuid, "device": store.device_id, "records": [json.loads(line) for line in lines]}


def acknowledge(arguments: argparse.Namespace, store: Store) -> Answer:
    """Forget records that the host has stored durably."""
    with store.spool() as spool:
        if spool.uuid != arguments.spool:
            raise UsageFault("the acknowledgement is for another spool than this device's")
        return {"forgotten": spool.acknowledge(arguments.seq, arguments.spool)}


def ship(arguments: argparse.Namespace, store: Store) -> Answer:
    """Send records; with `--once` all that wait, else on and on until a signal."""
    from greenup_runtime.shipping import Shipper

    shipper = Shipper(settings_of(arguments), store)
    if arguments.once:
        return {"shipped": shipper.ship()}
    try:
        shipper.run(_telling(shipper))
    except KeyboardInterrupt:
        shipper.close()
    return {"shipped": shipper.facts()["records_shipped_total"]}


def settings_of(arguments: argparse.Namespace) -> ShipSettings:
    """Settings with what the command line says put over them. Raises UsageFault where no address is known."""
    names = [name.replace("-", "_") for name, _, _ in _FLAGS]
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    settings = replace(ShipSettings(), **given)
    if not settings.url:
        raise UsageFault(
            "nobody said where records go", "write --url https://HOST, or url in [ship] of runner.toml"
        )
    return settings


def _telling(shipper: Any) -> Any:
    """Wait, and say on stderr what changed: that it fails, or works again."""
    import time

    told: list[str | None] = [None]

    def wait(seconds: float) -> bool:
        fault = shipper.facts()["ship_fault"]
        if fault != told[0]:
            print(f"ship: {fault or 'works again'}", file=sys.stderr, flush=True)
            told[0] = fault
        time.sleep(seconds)
        return False

    return wait
