"""The head of a request: collected, bounded, and everything in it that is refused before a body is read."""

from __future__ import annotations

from greenup_runtime.server.http import Refusal
from greenup_runtime.server.inflate import check_encoding
from greenup_runtime.settings import ServerSettings

# Twice the same of these is an attempt to be understood differently by two programs.
_SINGLE = frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"authorization",
        b"content-encoding",
        b"content-type",
        b"expect",
        b"inference-header-content-length",
    )
)
# Beside names and values: colon, space and line end.
_SEPARATORS_BYTES = 4


class Head:
    """Method, path and headers (lower case) of one request; the steps raise Refusal."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self.clear()

    def clear(self) -> None:
        """Begin with the next request."""
        self.method = ""
        self.path = b""
        self.headers: dict[bytes, bytes] = {}
        self.keep_alive = True
        self.expects_continue = False
        self._bytes = 0
        self._count = 0
        self._complete = False

    def add_target(self, piece: bytes) -> None:
        """A piece of the request's target."""
        self._bytes += len(piece)
        if self._bytes > self._settings.max_head_bytes:
            raise self.too_large()
        self.path += piece

    def add(self, name: bytes, value: bytes) -> None:
        """A header; trailers are counted, and left out."""
        self._bytes += len(name) + len(value) + _SEPARATORS_BYTES
        self._count += 1
        if self._bytes > self._settings.max_head_bytes or self._count > self._settings.max_headers:
            raise self.too_large()
        if self._complete:
            return
        key = name.lower()
        known = self.headers.get(key)
        if known is None:
            self.headers[key] = value
        elif key in _SINGLE:
            raise Refusal(400, f"the header {key.decode('latin-1')} was sent twice")
        else:
            self.headers[key] = known + b", " + value

    def complete(self, method: str, needs_host: bool) -> None:
        """All headers are there."""
        self._complete = True
        self.method = method
        self.path = self.path.partition(b"?")[0]
        headers = self.headers
        if needs_host and b"host" not in headers:
            raise Refusal(400, "the header host is missing")
        self._check_body(headers)
        expected = headers.get(b"expect")
        if expected is not None:
            if expected.lower() != b"100-continue":
                raise Refusal(417, "100-continue is all that can be expected here")
            self.expects_continue = True

    def _check_body(self, headers: dict[bytes, bytes]) -> None:
        length = headers.get(b"content-length")
        # The parser let digits pass only; many of them would still be slow to read as a number.
        if length is not None and (len(length) > 18 or int(length) > self._settings.max_body_bytes):
            raise self.body_too_large()
        encoding = headers.get(b"content-encoding")
        if encoding is not None:
            check_encoding(encoding.lower())

    def too_large(self) -> Refusal:
        """The refusal of a head that is too large."""
        limits = f"{self._settings.max_head_bytes} bytes and {self._settings.max_headers} headers"
        return Refusal(431, f"the request's head is larger than the {limits} that are taken")

    def body_too_large(self) -> Refusal:
        """The refusal of a body that is too large."""
        return Refusal(413, f"the body is larger than the {self._settings.max_body_bytes} bytes that are taken")
