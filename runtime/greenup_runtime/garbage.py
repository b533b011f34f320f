"""Remove what no bundle needs that may serve again: old bundles, their blobs, what killed commands left.

Kept are what serves, the bundles of the last few selections before it, those that a running measurement uses, and
those that were pushed lately and may be committed yet. First the state forgets the old selections, then their
bundles go, last the blobs that nothing names: a crash in between leaves too much, never too little.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from greenup_runtime import installing, jobs
from greenup_runtime.bundle import MANIFEST_NAME
from greenup_runtime.errors import GreenupError, UsageFault
from greenup_runtime.store import Store

KEEP = 2
GRACE_H = 24.0
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Collected:
    """What went, or would go: bundles by digest, blobs by name, left-overs by path; and what room that makes."""

    bundles: tuple[str, ...]
    blobs: tuple[str, ...]
    leftovers: tuple[str, ...]
    freed_bytes: int
    dry_run: bool

    def to_json(self) -> dict[str, Any]:
        """As the verb answers it."""
        lists = {name: list(value) for name, value in vars(self).items() if isinstance(value, tuple)}
        return {**vars(self), **lists}


def collect(store: Store, keep: int = KEEP, grace_h: float = GRACE_H, *, dry_run: bool = False) -> Collected:
    """Keep the serving bundle, `keep` that served before it, and what was pushed within `grace_h` hours.

    Raises DeviceFault where another command changes the store, UsageFault for less than one former bundle.
    """
    if keep < 1 or grace_h < 0:
        raise UsageFault(
            "gc keeps one former bundle at least, for a rollback", "--keep 1 or more, --grace-h 0 or more"
        )
    with store.lock():
        leftovers = [] if dry_run else installing.sweep(store)
        state = store.state()
        former = _distinct(state)[: keep + 1]
        kept = {*former, *_measured(store), *_young(store, "bundles", grace_h)}
        gone = [digest for digest in store.installed() if digest not in kept]
        blobs = _unnamed(store, kept | _young(store, "incoming", grace_h))
        freed_bytes = sum((store.blobs / name).stat().st_size for name in blobs)
        if not dry_run:
            _remove(store, state, gone, blobs, grace_h)
    return Collected(tuple(gone), tuple(blobs), tuple(leftovers), freed_bytes, dry_run)


def _remove(store: Store, state: dict[str, Any], gone: list[str], blobs: list[str], grace_h: float) -> None:
    history = [entry for entry in state["history"] if entry["selection"]["bundle"] not in gone]
    if history != state["history"]:
        store.write_state({**state, "history": history})
    for digest in gone:
        installing.drop_folder(store.home / "bundles" / digest)
    young = _young(store, "incoming", grace_h)
    for folder in sorted((store.home / "incoming").iterdir()):
        if folder.name not in young:
            installing.drop_folder(folder)
    for name in blobs:
        (store.blobs / name).unlink()


def _distinct(state: dict[str, Any]) -> list[str]:
    """Bundles that serve or served, the latest first, each once."""
    entries = [state["current"], *state["history"]] if state["current"] else state["history"]
    return list(dict.fromkeys(str(entry["selection"]["bundle"]) for entry in entries))


def _measured(store: Store) -> set[str]:
    """Bundles of measurements that have not ended."""
    found = set()
    for folder in (store.home / "jobs").glob("*/"):
        try:
            job = jobs.Job(folder)
            if job.status()["state"] not in jobs.FINAL:
                found.add(str(job.request()["bundle"]))
        except (OSError, ValueError, KeyError):
            continue
    return found


def _young(store: Store, where: str, grace_h: float) -> set[str]:
    """Bundles whose manifest came within the last hours; after a step of the clock more count, never all go."""
    now_s = time.time()
    paths = list((store.home / where).glob(f"*/{MANIFEST_NAME}"))
    return {path.parent.name for path in paths if now_s - path.stat().st_mtime <= grace_h * _HOUR_S}


def _unnamed(store: Store, kept: set[str]) -> list[str]:
    """Blobs that no kept bundle names. A kept bundle that cannot be read keeps every blob."""
    named: set[str] = set()
    for digest in kept:
        for where in ("bundles", "incoming"):
            if (store.home / where / digest).exists():
                try:
                    named.update(installing.names_of(store, where, digest))
                except (OSError, GreenupError):
                    return []
    return sorted(path.name for path in store.blobs.iterdir() if path.name not in named and path.name[0] != ".")
