"""Requests and answers of HTTP/1.1 as values, and every way to refuse one, in the protocol's form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from greenup_runtime.errors import GreenupError

JSON = b"application/json"
REASONS = {
    200: b"OK",
    204: b"No Content",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    417: b"Expectation Failed",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    503: b"Service Unavailable",
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Refusal(GreenupError):
    """A request that is not answered as asked: an HTTP status, the cause, and headers that go with it."""

    def __init__(self, status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class Request(NamedTuple):
    """One request. Names of headers are lower case; `path` is as it was sent, without the query."""

    method: str
    path: bytes
    headers: dict[bytes, bytes]
    keep_alive: bool
    body: bytes = b""


@dataclass
class Answer:
    """One response; `body` is sent as it is, its length is added."""

    status: int = 200
    body: bytes = b""
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    labels: tuple[str, float] | None = None
    """For the metrics: which variant answered, and in how many seconds."""


def json_answer(value: Any, status: int = 200) -> Answer:
    """A value as JSON."""
    return Answer(status, json.dumps(value, separators=(",", ":")).encode())


def refused(refusal: Refusal) -> Answer:
    """A refusal in the protocol's form."""
    answer = json_answer({"error": refusal.message}, refusal.status)
    answer.headers = refusal.headers
    return answer


def encode(answer: Answer, *, keep_alive: bool, head_only: bool = False) -> bytes:
    """The bytes of a response; `head_only` answers HEAD."""
    parts = [b"HTTP/1.1 %d %s\r\n" % (answer.status, REASONS[answer.status])]
    if answer.status != 204:
        parts.append(b"Content-Type: %s\r\nContent-Length: %d\r\n" % (answer.content_type, len(answer.body)))
    for name, value in answer.headers:
        parts.append(b"%s: %s\r\n" % (name, value))
    parts.append(b"\r\n" if keep_alive else b"Connection: close\r\n\r\n")
    if not head_only:
        parts.append(answer.body)
    return b"".join(parts)
