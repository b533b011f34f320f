"""`greenup-runner records`, `acknowledge` and `ship`: the ways by which records leave the device."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from greenup_runtime.commands import Answer
from greenup_runtime.errors import UsageFault
from greenup_runtime.settings import ShipSettings
from greenup_runtime.store import Store
from greenup_runtime.verbs import flags

_TABLE = "ship"


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
    flags.add(shipping, _TABLE)


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
    """The table `ship`. Raises UsageFault where no address is known."""
    settings = flags.settings_of(arguments, _TABLE).settings.ship
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
