"""One batch of records to the host: `POST /v1/records`, JSON lines in, `{"acknowledged": seq}` out.

The wire format is in docs/records.md. Nothing here knows the spool; shipping.py does.
"""

from __future__ import annotations

import gzip
import http.client
import ipaddress
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from greenup_runtime import __version__
from greenup_runtime.errors import DeviceFault, UsageFault
from greenup_runtime.settings import ShipSettings

PATH = "/v1/records"
TIMEOUT_S = 30.0
# Smaller bodies gain nothing from being packed.
_PACK_BYTES = 1_400
_MOST_ANSWER_BYTES = 1 << 16
_TOO_LARGE = 413


class TooLarge(DeviceFault):
    """The host takes no batch of this size; a smaller one may pass."""


class Busy(DeviceFault):
    """The host asks for patience: not before `wait_s` seconds."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Batch:
    """Records of one spool as JSON lines, numbers `first` to `last`."""

    device: str
    spool: str
    lines: Sequence[str]
    first: int
    last: int

    @classmethod
    def of(cls, device: str, spool: str, lines: Sequence[str]) -> Batch:
        """From lines as the spool gives them."""
        first, last = (int(json.loads(line)["seq"]) for line in (lines[0], lines[-1]))
        return cls(device, spool, lines, first, last)


class Host:
    """The host's end, by URL. Raises UsageFault for an address that cannot be meant."""

    def __init__(self, settings: ShipSettings) -> None:
        self._settings = settings
        self._url = _checked(settings)
        self._link: http.client.HTTPConnection | None = None

    def __str__(self) -> str:
        return f"{self._url.scheme}://{self._url.netloc}{self._path}"

    @property
    def _path(self) -> str:
        path = self._url.path if self._url.path not in {"", "/"} else PATH
        return f"{path}?{self._url.query}" if self._url.query else path

    def send(self, batch: Batch) -> int:
        """The highest number that the host has stored durably. Raises DeviceFault; the connection is gone then."""
        try:
            return self._acknowledged(*self._exchange(batch))
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise DeviceFault(f"the host {self} cannot be reached: {error or type(error).__name__}") from error
        except DeviceFault:
            self.close()
            raise

    def close(self) -> None:
        """End the connection."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _exchange(self, batch: Batch) -> tuple[http.client.HTTPResponse, bytes]:
        body = ("\n".join(batch.lines) + "\n").encode()
        headers = {
            "Content-Type": "application/x-ndjson",
            "User-Agent": f"greenup-runner/{__version__}",
            "Greenup-Device": batch.device,
            "Greenup-Spool": batch.spool,
            **_authorization(self._settings.token_file),
        }
        if len(body) > _PACK_BYTES:
            body, headers["Content-Encoding"] = gzip.compress(body, 1, mtime=0), "gzip"
        if self._link is None:
            self._link = self._connect()
        self._link.request("POST", self._path, body, headers)
        answer = self._link.getresponse()
        return answer, answer.read(_MOST_ANSWER_BYTES)

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        context = ssl.create_default_context(cafile=self._settings.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)

    def _acknowledged(self, answer: http.client.HTTPResponse, body: bytes) -> int:
        if answer.status == _TOO_LARGE:
            raise TooLarge(f"the host {self} takes no batch of this size")
        if answer.status != 200:
            said = body[:200].decode(errors="replace").strip()
            message = f"the host {self} answered {answer.status} {answer.reason}" + (f": {said}" if said else "")
            after = answer.getheader("Retry-After", "")
            if after.isdigit():
                raise Busy(message, float(after))
            raise DeviceFault(message, _HINTS.get(answer.status))
        try:
            value = json.loads(body)["acknowledged"]
        except (ValueError, KeyError, TypeError):
            value = None
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise DeviceFault(f"the host {self} acknowledged nothing", "does another service listen there?")
        return value


_HINTS = {
    401: "see ship.token_file",
    403: "see ship.token_file",
    404: f"the address's path is {PATH} unless it names another one",
}


def _authorization(file: Path | None) -> dict[str, str]:
    """Read anew for each batch, so that a token may be changed while the runner runs."""
    if file is None:
        return {}
    try:
        token = file.read_text().strip()
    except (OSError, ValueError) as error:
        raise DeviceFault(f"the token cannot be read: {file}", "see ship.token_file") from error
    # http.client would repeat a token with a line break in its error.
    if not token or not token.isascii() or not token.isprintable():
        raise DeviceFault(f"{file} holds no token", "write one line of printable characters")
    return {"Authorization": f"Bearer {token}"}


def _checked(settings: ShipSettings) -> SplitResult:
    hint = "write ship.url as https://host[:port][/path]"
    # What stands before an @ may be a password.
    shown = settings.url.rpartition("@")[2]
    try:
        url = urlsplit(settings.url)
        known = url.scheme in {"http", "https"} and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError as error:
        raise UsageFault(f"records cannot be shipped to {shown!r}: {error}", hint) from error
    if url.username or url.password:
        raise UsageFault("ship.url holds a user or a password", "write the token into ship.token_file")
    if not known:
        raise UsageFault(f"records cannot be shipped to {shown!r}", hint)
    if settings.token_file and url.scheme == "http" and not _loopback(url.hostname or ""):
        raise UsageFault("a token would go over the network in the clear", "use https in ship.url")
    return url


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
