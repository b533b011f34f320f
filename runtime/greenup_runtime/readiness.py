"""Whether a server is ready: asked over its Unix socket or its address."""

from __future__ import annotations

import http.client
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from greenup_runtime.errors import UsageFault
from greenup_runtime.settings import ServerSettings

_READY = "/v2/health/ready"


def place_of(server: ServerSettings) -> tuple[Path | None, str]:
    """Where a server with these settings is asked from its own machine: its socket, if it has one, and its URL."""
    scheme = "https" if server.tls_certificate_file else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)
    shown = f"[{host}]" if ":" in host else host
    return server.socket, f"{scheme}://{shown}:{server.port}"


def ask(path: Path | None, url: str | None, timeout_s: float) -> tuple[str, str | None]:
    """Who was asked, and None if it is ready, else the reason. Raises UsageFault for what is no address."""
    where, link = (
        (str(path), _SocketConnection(path, timeout_s)) if path is not None else _of_url(url or "", timeout_s)
    )
    try:
        link.request("GET", _READY)
        status = link.getresponse().status
        return where, None if status == 200 else f"it answers {status}"
    except (OSError, http.client.HTTPException) as error:
        return where, getattr(error, "strerror", None) or str(error) or type(error).__name__
    finally:
        link.close()


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
