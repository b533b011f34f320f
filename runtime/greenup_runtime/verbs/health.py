"""`greenup-runner health`: whether the server on this machine is ready; the check of containers and scripts."""

from __future__ import annotations

import argparse
import http.client
import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from greenup_runtime import configuration
from greenup_runtime.commands import Finished
from greenup_runtime.errors import UsageFault

_READY = "/v2/health/ready"


def add(verbs: Any, verb: Any) -> None:
    """Add `health` to the command line."""
    parser = verb(verbs, "health", health, "ask the server whether it is ready; exit code 0 or 1")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", help="the server's address; default: as the settings say")
    where.add_argument("--socket", type=Path, help="the server's Unix socket")
    parser.add_argument("--timeout-s", type=float, default=3.0, help="how long to wait for the answer")
    parser.add_argument("--config", type=Path, help="read this file of settings instead of the usual one")
    parser.set_defaults(homeless=True)


def health(arguments: argparse.Namespace, _store: object) -> Finished:
    """Exit code 0 where the server says that it is ready, else 1 with the reason."""
    where, link = _link(arguments)
    try:
        link.request("GET", _READY)
        status = link.getresponse().status
        reason = None if status == 200 else f"it answers {status}"
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    finally:
        link.close()
    line = f"ready: {where}" if reason is None else f"not ready: {where}: {reason}"
    return Finished({"ready": reason is None, "server": where, "reason": reason}, 0 if reason is None else 1, line)


def _link(arguments: argparse.Namespace) -> tuple[str, http.client.HTTPConnection]:
    if arguments.socket is not None:
        return str(arguments.socket), _SocketConnection(arguments.socket, arguments.timeout_s)
    if arguments.url is not None:
        return _of_url(arguments.url, arguments.timeout_s)
    server = configuration.load(arguments.config).settings.server
    if server.socket is not None:
        return str(server.socket), _SocketConnection(server.socket, arguments.timeout_s)
    scheme = "https" if server.tls_certificate_file else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)
    shown = f"[{host}]" if ":" in host else host
    return _of_url(f"{scheme}://{shown}:{server.port}", arguments.timeout_s)


def _of_url(url: str, timeout_s: float) -> tuple[str, http.client.HTTPConnection]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageFault(f"{url} is no server's address", "write http://127.0.0.1:8080")
    if parts.scheme == "http":
        return url, http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    # On the machine itself the question is whether it answers, not who it is; no secret is sent.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return url, http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout_s, context=context)


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's file."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
