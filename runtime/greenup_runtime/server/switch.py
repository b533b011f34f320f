"""Follow what is committed: notice a change, load and warm the new one aside, then switch.

Until the new one is ready the old one serves; if it cannot be loaded the old one goes on, and the log and
`greenup_failed_loads_total` say so.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from greenup_runtime import logs
from greenup_runtime.errors import GreenupError
from greenup_runtime.loaded import Serving, Wanted, committed, open_serving
from greenup_runtime.server import memory
from greenup_runtime.server.service import Service
from greenup_runtime.store import Store


class Switch:
    """Keeps a service serving what is wanted; `check` is called now and then, `reload` by a signal."""

    def __init__(self, service: Service, wanted: Wanted, store: Store) -> None:
        self._service = service
        self._wanted = wanted
        self._store = store
        self._loading = False
        self._again = False
        self._seen = self._mark()

    def first(self) -> None:
        """Load what serves from the start; on a device where nothing is committed yet, wait for a commit.

        Raises as `open_serving` does where there is something, and it cannot serve.
        """
        if self._wanted.folder is None and committed(self._store) is None:
            logs.event("warning", "server.waiting", reason="nothing is committed yet: waiting for a push")
            return
        self._take(open_serving(self._wanted, self._store))

    async def check(self) -> None:
        """Reload if another selection was committed since the last look."""
        if self._wanted.folder is None and (mark := self._mark()) != self._seen:
            self._seen = mark
            await self.reload()

    async def reload(self) -> None:
        """Load what is wanted now, beside what serves, and switch; one load at a time, the last wish counts."""
        self._again = True
        if self._loading:
            return
        self._loading = True
        try:
            while self._again:
                self._again = False
                await self._reload_once()
        finally:
            self._loading = False

    async def _reload_once(self) -> None:
        loop = asyncio.get_running_loop()
        # A thread of its own: loading must not wait behind inferences, nor they behind it.
        with ThreadPoolExecutor(1, "greenup-load") as aside:
            try:
                self._take(await loop.run_in_executor(aside, open_serving, self._wanted, self._store))
            except (GreenupError, OSError) as fault:
                self._service.metrics.failed_loads += 1
                logs.event("error", "server.switch_failed", reason="the old one serves on", fault=fault)

    def _take(self, serving: Serving) -> None:
        before = self._service.current
        self._service.serve(serving)
        if before is not None:
            self._service.metrics.switches += 1
        source = serving.source
        logs.event(
            "info",
            "server.serving",
            model=source.bundle.name,
            bundle=source.bundle.digest[:12],
            variant=serving.default.variant,
            signer=source.signer or "UNSIGNED",
        )
        del before
        memory.release()

    def _mark(self) -> tuple[int, int, int] | None:
        return mark(self._store.home / "state.json")


def mark(path: Path) -> tuple[int, int, int] | None:
    """What changes whenever a file is replaced, or None where it is missing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
