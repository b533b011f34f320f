"""What all connections share: limits over all of them, the token, the way to the answers."""

from __future__ import annotations

import asyncio
import hmac
import time

from greenup_runtime.server.connection import Connection
from greenup_runtime.server.http import Answer, Refusal
from greenup_runtime.server.routes import Routes
from greenup_runtime.server.service import Service
from greenup_runtime.settings import ServerSettings
from greenup_runtime.thermal import BoardProbe

_BEARER = b"bearer "
_CHALLENGE = ((b"WWW-Authenticate", b'Bearer realm="greenup-runner"'),)


class Hub:
    """The connections and their common limits; `token` None means that none is asked for."""

    def __init__(self, settings: ServerSettings, service: Service, probe: BoardProbe, token: bytes | None) -> None:
        self.settings = settings
        self.token = token
        self.draining = False
        self._service = service
        self._connections: set[Connection] = set()
        self._held_bytes = 0
        self.answer = Routes(service, probe, lambda: len(self._connections)).answer
        self.now = time.monotonic

    def enter(self, connection: Connection) -> bool:
        """Register a connection; False where there are too many, and it is to be sent away."""
        self._connections.add(connection)
        return len(self._connections) <= self.settings.max_connections

    def leave(self, connection: Connection, held_bytes: int) -> None:
        """A connection is gone, and with it bodies of so many bytes."""
        self._connections.discard(connection)
        self._held_bytes -= held_bytes

    def hold(self, size_bytes: int) -> bool:
        """Count bytes of a body that is being received; False where all bodies together are too much."""
        self._held_bytes += size_bytes
        return self._held_bytes <= self.settings.max_held_bytes

    def release(self, size_bytes: int) -> None:
        """A body was answered."""
        self._held_bytes -= size_bytes

    def authorize(self, headers: dict[bytes, bytes]) -> None:
        """Raise Refusal 401 without the right token, 403 for a web page where none is asked for."""
        if self.token is None:
            if b"origin" in headers:
                raise Refusal(403, "web pages may not ask here; give the server a token")
            return
        sent = headers.get(b"authorization", b"")
        # Compared as a whole and in constant time, so that its time tells nothing about the token.
        if sent[: len(_BEARER)].lower() != _BEARER or not hmac.compare_digest(sent[len(_BEARER) :], self.token):
            raise Refusal(401, "the token is missing or wrong: send Authorization: Bearer …", _CHALLENGE)

    def count(self, answer: Answer) -> None:
        """For the metrics."""
        variant, latency_s = answer.labels or ("", None)
        self._service.metrics.count(answer.status, variant, latency_s)

    def sweep(self) -> None:
        """End what has lasted too long."""
        now_s = self.now()
        for connection in list(self._connections):
            connection.sweep(now_s)

    async def drain(self, longest_s: float) -> bool:
        """Let what was asked be answered; whether all was within the time."""
        self.draining = self._service.draining = True
        until_s = self.now() + longest_s
        while self._connections and self.now() < until_s:
            for connection in list(self._connections):
                connection.drain()
            await asyncio.sleep(0.01)
        return not self._connections
