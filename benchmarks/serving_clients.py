"""Clients of serving.py: one request after the other on a kept connection, and eight connections at once."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
_CHUNK = 1 << 16
_END = b"\r\n\r\n"


def binary_request(path: str, window: Float32) -> bytes:
    """A request for the probabilities of one window, both tensors in binary."""
    tensor: dict[str, Any] = {"name": "input", "datatype": "FP32", "shape": list(window.shape)}
    tensor["parameters"] = {"binary_data_size": window.nbytes}
    wanted = {"name": "probabilities", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    more = f"Content-Type: application/octet-stream\r\nInference-Header-Content-Length: {len(head)}\r\n"
    return _request(path, head + window.tobytes(), more)


def json_request(path: str, window: Float32) -> bytes:
    """The same request in JSON alone."""
    tensor = {"name": "input", "datatype": "FP32", "shape": list(window.shape), "data": window.ravel().tolist()}
    body = json.dumps({"inputs": [tensor], "outputs": [{"name": "probabilities"}]}).encode()
    return _request(path, body, "Content-Type: application/json\r\n")


def _request(path: str, body: bytes, more: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def connected(address: Any) -> socket.socket:
    """A connection to (host, port), or to a Unix socket's path."""
    link = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    link.connect(address)
    if not isinstance(address, str):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


class Kept:
    """One kept connection that sends the same request again and again."""

    def __init__(self, address: Any, request: bytes) -> None:
        self._link, self._request = connected(address), request

    def __call__(self) -> bytes:
        """The body of the answer. Raises OSError where it is not 200."""
        self._link.sendall(self._request)
        data = self._link.recv(_CHUNK)
        while (size := whole(data)) is None or len(data) < size:
            more = self._link.recv(_CHUNK)
            if not more:
                raise OSError("the server closed the connection")
            data += more
        if not data.startswith(b"HTTP/1.1 200"):
            raise OSError(f"the server answered {data[:300]!r}")
        return data[data.index(_END) + len(_END) :]

    def close(self) -> None:
        """Close the connection."""
        self._link.close()


def whole(data: bytes) -> int | None:
    """How long the answer is whose beginning this is, or None where its head is not complete."""
    end = data.find(_END)
    if end < 0:
        return None
    for line in data[:end].split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return end + len(_END) + int(value)
    raise OSError(f"an answer without its length: {data[:200]!r}")


@dataclass
class _Line:
    link: socket.socket
    sent_s: float = 0.0
    data: bytes = b""


def load(
    address: Any, request: bytes, connections: int, until: Callable[[int], bool]
) -> tuple[list[float], float]:
    """Keep so many connections busy until `until(answers so far)`; latencies [s] and how long it took [s]."""
    lines = [_Line(connected(address)) for _ in range(connections)]
    latencies: list[float] = []
    with selectors.DefaultSelector() as ready:
        for line in lines:
            ready.register(line.link, selectors.EVENT_READ, line)
        began_s = time.perf_counter()
        for line in lines:
            _send(line, request)
        while not until(len(latencies)):
            for key, _ in ready.select(5.0):
                if (took_s := _received(key.data)) is not None:
                    latencies.append(took_s)
                    _send(key.data, request)
        lasted_s = time.perf_counter() - began_s
    for line in lines:
        line.link.close()
    return latencies, lasted_s


def _send(line: _Line, request: bytes) -> None:
    line.sent_s, line.data = time.perf_counter(), b""
    line.link.sendall(request)


def _received(line: _Line) -> float | None:
    more = line.link.recv(_CHUNK)
    if not more:
        raise OSError("the server closed the connection")
    line.data += more
    size = whole(line.data)
    if size is None or len(line.data) < size:
        return None
    if not line.data.startswith(b"HTTP/1.1 200"):
        raise OSError(f"the server answered {line.data[:300]!r}")
    return time.perf_counter() - line.sent_s
