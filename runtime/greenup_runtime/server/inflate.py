"""Compressed bodies, never larger than allowed once they are inflated."""

from __future__ import annotations

import zlib

from greenup_runtime.server.http import Refusal

# zlib's window bits: with a gzip header, with a zlib header (what HTTP calls deflate).
_WINDOW_BITS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
IDENTITY = b"identity"


def check_encoding(encoding: bytes) -> None:
    """Raise Refusal 415 for a content encoding that is not understood."""
    if encoding not in _WINDOW_BITS and encoding != IDENTITY:
        raise Refusal(
            415, "the content encoding is gzip, deflate or identity", ((b"Accept-Encoding", b"gzip, deflate"),)
        )


def inflate(body: bytes, encoding: bytes, limit_bytes: int) -> bytes:
    """The body as it was before compression. Raises Refusal for broken data and for more than `limit_bytes`."""
    if encoding == IDENTITY:
        return body
    engine = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        plain = engine.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise Refusal(400, f"the compressed body is damaged: {error}") from error
    if len(plain) > limit_bytes:
        raise Refusal(413, f"the inflated body is larger than the {limit_bytes} bytes that are taken")
    if not engine.eof or engine.unused_data:
        raise Refusal(400, "the compressed body is cut off, or goes on after its end")
    return plain
