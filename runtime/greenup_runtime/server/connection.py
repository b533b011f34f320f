"""One connection: bytes → requests → answers, in order, within limits of size and time.

    idle ── first byte ──▶ head ── headers complete ──▶ body ── complete ──▶ queue ──▶ answered ──▶ idle
            head_timeout_s          body_timeout_s                                      idle_timeout_s

Deadlines are fixed when a state begins, so a client that sends a byte now and then does not prolong them; a sweep
over all connections enforces them, since a timer for each request would cost more than the request. What breaks
HTTP or a limit is answered, the rest that comes is thrown away for a moment (else the client's kernel would drop
our answer), and the connection ends.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import httptools

from greenup_runtime.server.head import Head
from greenup_runtime.server.http import CONTINUE, Answer, Refusal, Request, encode, refused
from greenup_runtime.server.repeat import Repeat
from greenup_runtime.server.service import answer_to

if TYPE_CHECKING:
    from greenup_runtime.server.hub import Hub

_LINGER_S = 1.0
_LINGER_BYTES = 1 << 20
_MAX_QUEUE = 64


class Connection(asyncio.Protocol):
    """Speaks HTTP/1.1 with one client; `trusted` needs no token (the Unix socket has its file's permissions)."""

    def __init__(self, hub: Hub, *, trusted: bool) -> None:
        self._hub = hub
        self._trusted = trusted
        self._parser = httptools.HttpRequestParser(self)
        self._head = Head(hub.settings)
        self._repeat = Repeat()
        self._body: list[bytes] = []
        self._size = 0
        self._held = 0
        self._quiet = 0
        self._queue: deque[Request | Refusal] = deque()
        self._refusal: Refusal | None = None
        self._busy: Request | None = None
        self._receiving = False
        self._full = False
        self._ended = False
        self._owes_continue = False
        self._lingered = -1
        self._transport: asyncio.Transport
        self.deadline = math.inf

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there; one too many is told so."""
        self._transport = cast(asyncio.Transport, transport)
        self.deadline = self._hub.now() + self._hub.settings.head_timeout_s
        if not self._hub.enter(self):
            self._refuse(Refusal(503, "too many connections; come back later", ((b"Retry-After", b"1"),)))
            self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; what still runs for it runs to its end."""
        self._hub.leave(self, self._held)
        self._held = 0

    def data_received(self, data: bytes) -> None:
        """Parse what came and answer each request that is whole."""
        if self._lingered >= 0:
            self._lingered += len(data)
            if self._lingered > _LINGER_BYTES:
                self._transport.abort()
            return
        if self._refusal is not None:
            return
        between, waiting = not self._receiving, len(self._queue)
        if between and (again := self._repeat.again(data)):
            self._take(again)
        else:
            self._parse(data)
            if between and self._refusal is None and not self._receiving and len(self._queue) == waiting + 1:
                self._repeat.learn(data, cast(Request, self._queue[-1]))
        self._pump()

    def _parse(self, data: bytes) -> None:
        # Bytes that yield neither a body nor a request: an endless head, or an endless trailer.
        self._quiet += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # `on_headers_complete` saw to it; the parser reads no further.
            pass
        except httptools.HttpParserInvalidMethodError:
            self._refuse(Refusal(501, "there is no such method"))
        except httptools.HttpParserError:
            self._refuse(Refusal(400, "this is not HTTP/1.1"))
        if self._quiet > self._hub.settings.max_head_bytes:
            self._refuse(self._head.too_large())

    def _take(self, request: Request) -> None:
        """A request whose head was checked before; who may ask, and how much is held, may have changed."""
        self._quiet = 0
        if not self._trusted:
            self._check(self._hub.authorize, request.headers)
        if self._refusal is None and self._hold(len(request.body)):
            self._queue.append(request)

    def _hold(self, size: int) -> bool:
        self._held += size
        if self._hub.hold(size):
            return True
        self._refuse(Refusal(503, "too many bodies are waiting; come back later", ((b"Retry-After", b"1"),)))
        return False

    def eof_received(self) -> bool:
        """The client sends no more; what it asked for is still answered."""
        self._ended = True
        return bool(self._busy or self._queue) and self._lingered < 0 and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        """The client does not read its answers: no further request of its is begun until it does."""
        self._full = True
        self.deadline = self._hub.now() + self._hub.settings.body_timeout_s
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._full = False
        self._rest()
        self._pump()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._head.clear()
        self._body, self._size = [], 0
        self._receiving = True
        if not self._full:
            self.deadline = self._hub.now() + self._hub.settings.head_timeout_s

    def on_url(self, url: bytes) -> None:
        """The request's target, or a piece of it."""
        if self._refusal is None:
            self._check(self._head.add_target, url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        if self._refusal is None:
            self._check(self._head.add, name, value)

    def on_headers_complete(self) -> None:
        """Everything that can be refused before the body is refused now."""
        if self._refusal is not None:
            return
        parser, head = self._parser, self._head
        self._check(head.complete, parser.get_method().decode(), parser.get_http_version() != "1.0")
        if self._refusal is None and not self._trusted:
            self._check(self._hub.authorize, head.headers)
        if self._refusal is None:
            head.keep_alive = parser.should_keep_alive()
            if parser.should_upgrade():
                self._decline_upgrade()
            if not self._full:
                self.deadline = self._hub.now() + self._hub.settings.body_timeout_s
            self._owes_continue = head.expects_continue

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._quiet = 0
        if self._refusal is not None:
            return
        self._size += len(data)
        self._body.append(data)
        if self._hold(len(data)) and self._size > self._hub.settings.max_body_bytes:
            self._refuse(self._head.body_too_large())

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._quiet = 0
        self._receiving = self._owes_continue = False
        if self._refusal is None:
            head, body = self._head, self._body
            content = body[0] if len(body) == 1 else b"".join(body)
            self._queue.append(Request(head.method, head.path, head.headers, head.keep_alive, content))
            self._body = []

    # Our own steps.

    def sweep(self, now_s: float) -> None:
        """End what has lasted too long."""
        if now_s < self.deadline:
            return
        if self._full or self._lingered >= 0:
            self._reset()
        elif self._receiving:
            self._refuse(Refusal(408, "the request took too long to arrive"))
            self._pump()
        elif self._busy is None:
            self._transport.close()

    def drain(self) -> None:
        """Take no further request: close if nothing is asked, else after the answer."""
        if self._busy is None and not self._receiving and not self._queue:
            self._transport.close()

    def _check(self, step: Any, *values: Any) -> None:
        """Run a step; its Refusal is kept, since it must not travel through the parser's C code."""
        try:
            step(*values)
        except Refusal as refusal:
            self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        if self._refusal is None:
            self._refusal = refusal
            self._receiving = False
            self._queue.append(refusal)

    def _pump(self) -> None:
        """Answer what is queued, in order, one at a time."""
        while self._queue and self._busy is None and not self._full and self._lingered < 0:
            item = self._queue.popleft()
            if isinstance(item, Refusal):
                self._hub.count(refused(item))
                self._transport.write(encode(refused(item), keep_alive=False))
                self._linger()
                return
            handled = self._hub.answer(item)
            if isinstance(handled, Answer):
                self._respond(item, handled)
            else:
                self._busy, self.deadline = item, math.inf
                handled.add_done_callback(self._done)
        if self._owes_continue and self._busy is None and not self._queue:
            self._owes_continue = False
            self._transport.write(CONTINUE)
        if len(self._queue) > _MAX_QUEUE:
            self._transport.pause_reading()
        elif not self._full and self._lingered < 0 and not self._transport.is_closing():
            self._transport.resume_reading()

    def _done(self, task: asyncio.Task[Answer]) -> None:
        request, self._busy = self._busy, None
        assert request is not None
        fault = task.exception()
        answer = task.result() if fault is None else answer_to(cast(Exception, fault))
        self._respond(request, answer)
        self._pump()

    def _respond(self, request: Request, answer: Answer) -> None:
        keep_alive = request.keep_alive and not self._hub.draining
        self._hub.count(answer)
        # Nothing is held any more once the connection was lost.
        size = min(self._held, len(request.body))
        self._hub.release(size)
        self._held -= size
        if self._transport.is_closing():
            return
        self._transport.write(encode(answer, keep_alive=keep_alive, head_only=request.method == "HEAD"))
        if not keep_alive or (self._ended and not self._queue):
            self._queue.clear()
            self._transport.close()
        elif not self._receiving and not self._full:
            self._rest()

    def _reset(self) -> None:
        """End at once, and have the kernel forget the answers that the client never read."""
        link = self._transport.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _decline_upgrade(self) -> None:
        """An offer of another protocol may be ignored; but the parser gives no body with it, and ends there."""
        self._head.keep_alive = False
        if self._head.method not in ("GET", "HEAD", "OPTIONS"):
            self._refuse(Refusal(501, "no other protocol than HTTP/1.1 is spoken here"))

    def _rest(self) -> None:
        if not self._receiving:
            self.deadline = self._hub.now() + self._hub.settings.idle_timeout_s

    def _linger(self) -> None:
        """Say that nothing more comes, and throw away what still arrives, for a moment."""
        self._lingered = 0
        self._queue.clear()
        self._body = []
        self._hub.release(self._held)
        self._held = 0
        if not self._transport.can_write_eof() or self._ended:
            self._transport.close()
            return
        self.deadline = self._hub.now() + _LINGER_S
        self._transport.write_eof()
        self._transport.resume_reading()
