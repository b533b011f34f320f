"""`greenup-runner gc` and `resume`: what is not needed goes, what was cut goes on."""

from __future__ import annotations

import argparse
from typing import Any

from greenup_runtime import garbage, installing
from greenup_runtime.commands import Answer
from greenup_runtime.store import Store


def add(verbs: Any, verb: Any) -> None:
    """Add both verbs to the command line."""
    gc = verb(verbs, "gc", collect, "remove old bundles, blobs that none needs, and what killed commands left")
    gc.add_argument("--keep", type=int, default=garbage.KEEP, help="former bundles to keep for a rollback")
    hours = "keep what was pushed within so many hours and not committed yet"
    gc.add_argument("--grace-h", type=float, default=garbage.GRACE_H, help=hours)
    gc.add_argument("--dry-run", action="store_true", help="only say what would go")
    verb(verbs, "resume", resume, "clean up after a push that was cut, and say what it lacks")


def collect(arguments: argparse.Namespace, store: Store) -> Answer:
    """Remove what no bundle needs that may serve again."""
    done = garbage.collect(store, arguments.keep, arguments.grace_h, dry_run=arguments.dry_run)
    return done.to_json()


def resume(_arguments: argparse.Namespace, store: Store) -> Answer:
    """Finish or report pushes that were cut."""
    return installing.resume(store)
