"""A client that asks again sends the same head again: what was parsed and checked once is remembered.

Between two requests the processor does other things, and code that runs after such a pause is slow: the parser
with its callbacks, one for each header, costs several times what it costs in a loop. Only the very same bytes are
taken for the same, and only where the head alone says how long the request is.
"""

from __future__ import annotations

from greenup_runtime.server.http import Request

# What one connection may keep in memory.
_LONGEST_BYTES = 1024
_END = b"\r\n\r\n"


class Repeat:
    """The head of a connection's last request, if the next one may be compared with it."""

    def __init__(self) -> None:
        self._head: bytes | None = None
        self._size = 0
        self._request: Request

    def learn(self, data: bytes, request: Request) -> None:
        """Remember a request that was checked; `data` is all that came, and held nothing else."""
        size, headers = len(request.body), request.headers
        head = data[: len(data) - size]
        simple = b"transfer-encoding" not in headers and b"expect" not in headers and request.keep_alive
        if not simple or not size or len(head) > _LONGEST_BYTES or not head.endswith(_END):
            return
        # With leading zeros or spaces it is as right, but not worth a thought.
        if headers.get(b"content-length") == b"%d" % size:
            self._head, self._size, self._request = head, size, request._replace(body=b"")

    def again(self, data: bytes) -> Request | None:
        """The request in `data` if it is whole, alone, and has the remembered head."""
        head = self._head
        if head is None or len(data) != len(head) + self._size or not data.startswith(head):
            return None
        method, path, headers, keep_alive, _ = self._request
        return Request(method, path, headers, keep_alive, data[len(head) :])
