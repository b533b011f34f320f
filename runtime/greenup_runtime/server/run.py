"""The server's life: load, listen, tell systemd, follow signals and commits, drain, end.

SIGHUP   load what is committed, the token and the certificates again
SIGTERM  take no new connection, answer what was asked, end (SIGINT too)
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from greenup_runtime import logs, systemd
from greenup_runtime.errors import GreenupError
from greenup_runtime.loaded import Wanted
from greenup_runtime.recorder import Recorder
from greenup_runtime.server import listen
from greenup_runtime.server.connection import Connection
from greenup_runtime.server.hub import Hub
from greenup_runtime.server.service import Service, Told
from greenup_runtime.server.switch import Switch
from greenup_runtime.settings import ServerSettings
from greenup_runtime.store import Store
from greenup_runtime.thermal import BoardProbe

# How often commits are looked for and deadlines enforced; less where a deadline is shorter.
_TICK_S = 0.5


@dataclass
class Running:
    """A server that listens: its TCP addresses, and what its life needs."""

    addresses: list[tuple[str, int]]
    _hub: Hub
    _service: Service
    _switch: Switch
    _settings: ServerSettings
    _servers: list[asyncio.Server]
    _context: ssl.SSLContext | None
    _end: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def stop(self) -> None:
        """Begin to end."""
        self._end.set()

    def reload(self) -> None:
        """Read again what may have changed; what cannot be used is told, and the old one is kept."""
        self._spawn(self._reload())

    async def until_stopped(self) -> None:
        """Serve until `stop`, then drain."""
        self._spawn(self._tick())
        systemd.notify("READY=1")
        await self._end.wait()
        systemd.notify("STOPPING=1")
        logs.event("info", "server.drain", longest_s=self._settings.drain_s)
        for server in self._servers:
            server.close()
        if not await self._hub.drain(self._settings.drain_s):
            logs.event("warning", "server.drain_cut", reason="not every connection ended in time")
        for task in self._tasks:
            task.cancel()
        if self._settings.socket:
            listen.remove_socket(self._settings.socket)
        self._service.close()

    async def _reload(self) -> None:
        systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self._hub.token = listen.read_token(self._settings)
            if self._context is not None:
                listen.load_certificates(self._context, self._settings)
        except GreenupError as fault:
            logs.event("error", "server.secrets_kept", reason="they stay as they were", fault=fault)
        await self._switch.reload()
        systemd.notify("READY=1")

    async def _tick(self) -> None:
        limits = (self._settings.head_timeout_s, self._settings.body_timeout_s, self._settings.idle_timeout_s)
        beat_s = max(0.05, min(_TICK_S, *(limit / 4 for limit in limits), (systemd.watchdog_s() or 1.0) / 2))
        watched = systemd.watchdog_s() is not None
        while True:
            await asyncio.sleep(beat_s)
            if watched:
                systemd.notify("WATCHDOG=1")
            self._hub.sweep()
            self._spawn(self._switch.check())

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def start(
    settings: ServerSettings, wanted: Wanted, store: Store, recorder: Recorder, told: Told = dict
) -> Running:
    """Load, then listen. Raises UsageFault for settings that do not fit, and as `Switch.first` and `listen` do."""
    listen.check(settings)
    token, context = listen.read_token(settings), listen.tls_context(settings)
    if token and context is None and not listen.is_loopback(settings.host):
        logs.event(
            "warning",
            "server.token_in_clear",
            reason="everybody on the way can read the token: set tls_certificate_file and tls_key_file",
        )
    service = Service(settings, recorder, told)
    switch = Switch(service, wanted, store)
    switch.first()
    hub = Hub(settings, service, BoardProbe(wanted.root), token)
    tcp = listen.tcp_sockets(settings)
    servers = [await _server(hub, link, context=context) for link in tcp]
    if settings.socket:
        servers.append(await _server(hub, listen.unix_socket(settings.socket), trusted=True))
    addresses = [link.getsockname()[:2] for link in tcp]
    for host, port in addresses:
        logs.event("info", "server.listening", url=f"http{'s' if context else ''}://{host}:{port}")
    return Running(addresses, hub, service, switch, settings, servers, context)


def serve(
    settings: ServerSettings,
    wanted: Wanted,
    store: Store,
    recorder: Recorder,
    ready: Callable[[Running], None] | None = None,
    told: Told = dict,
) -> None:
    """Serve until SIGTERM. `ready` is called once it listens, `told` at `/metrics`; raises as `start` does."""
    asyncio.run(_life(settings, wanted, store, recorder, ready, told))


async def _life(
    settings: ServerSettings,
    wanted: Wanted,
    store: Store,
    recorder: Recorder,
    ready: Callable[[Running], None] | None,
    told: Told,
) -> None:
    running = await start(settings, wanted, store, recorder, told)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.stop)
    loop.add_signal_handler(signal.SIGHUP, running.reload)
    if ready is not None:
        ready(running)
    await running.until_stopped()


async def _server(
    hub: Hub, link: socket.socket, *, trusted: bool = False, context: ssl.SSLContext | None = None
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    link.setblocking(False)
    timeout_s = hub.settings.head_timeout_s if context else None
    kind = loop.create_unix_server if link.family == socket.AF_UNIX else loop.create_server
    made: asyncio.Server = await kind(
        lambda: Connection(hub, trusted=trusted),
        sock=link,
        backlog=listen.BACKLOG,
        ssl=context,
        ssl_handshake_timeout=timeout_s,
    )
    return made
