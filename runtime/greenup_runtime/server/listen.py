"""Where the server listens, and what it wants before it listens beyond this machine.

Loopback and the Unix socket are this machine's own: its users and their permissions decide. Anything else needs a
token that every request carries, or TLS with certificates on both sides.
"""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from greenup_runtime.errors import DeviceFault, UsageFault
from greenup_runtime.settings import ServerSettings

if TYPE_CHECKING:
    import ssl

BACKLOG = 512
_OTHERS = 0o007
_SHORTEST_TOKEN = 16
_SOCKET_UMASK = 0o117
_HINT = "set token_file (--token-file), or client_ca_file with tls_certificate_file and tls_key_file"


def check(settings: ServerSettings) -> None:
    """Raise UsageFault where the settings do not fit together, or would open this machine to everybody."""
    pair = (settings.tls_certificate_file, settings.tls_key_file)
    if (pair[0] is None) != (pair[1] is None):
        raise UsageFault("TLS takes a certificate and its key, one of them is missing", "set both, or neither")
    if settings.client_ca_file and not pair[0]:
        raise UsageFault("client_ca_file asks clients for certificates, which needs TLS", _HINT)
    if settings.token_file or settings.client_ca_file or is_loopback(settings.host):
        return
    raise UsageFault(f"{settings.host} is beyond loopback: everybody there could ask this runner", _HINT)


def is_loopback(host: str) -> bool:
    """Whether all addresses of a host are this machine's own. Raises UsageFault for an unknown host."""
    return all(address.startswith("127.") or address == "::1" for address in _addresses(host))


def read_token(settings: ServerSettings) -> bytes | None:
    """The token that requests must carry, or None. Raises UsageFault for a file that others can read."""
    path = settings.token_file
    if path is None:
        return None
    token = _secret(path, "token").strip()
    if len(token) < _SHORTEST_TOKEN:
        hint = f"openssl rand -hex 32 > {path} makes a good one"
        raise UsageFault(f"the token in {path} is shorter than {_SHORTEST_TOKEN} characters", hint)
    return token


def tls_context(settings: ServerSettings) -> ssl.SSLContext | None:
    """TLS as the settings want it, or None."""
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if settings.client_ca_file:
        context.verify_mode = ssl.CERT_REQUIRED
    load_certificates(context, settings)
    return context


def load_certificates(context: ssl.SSLContext, settings: ServerSettings) -> None:
    """Read certificate, key and the clients' CA (again). Raises UsageFault for what cannot be used."""
    import ssl

    certificate, key = settings.tls_certificate_file, settings.tls_key_file
    assert certificate is not None
    assert key is not None
    _secret(key, "private key")
    try:
        context.load_cert_chain(certificate, key)
        if settings.client_ca_file:
            context.load_verify_locations(settings.client_ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UsageFault(
            f"TLS cannot be set up: {error}", "the files are PEM; the key belongs to the certificate"
        ) from error


def tcp_sockets(settings: ServerSettings) -> list[socket.socket]:
    """Bound sockets for all addresses of the host, listening. Raises DeviceFault where a port is taken."""
    sockets: list[socket.socket] = []
    try:
        for address in dict.fromkeys(_addresses(settings.host)):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            sockets.append(socket.create_server((address, settings.port), family=family, backlog=BACKLOG))
    except OSError as error:
        for opened in sockets:
            opened.close()
        hint = "another program listens there; choose another --port"
        raise DeviceFault(f"cannot listen at {settings.host}:{settings.port}: {error.strerror}", hint) from error
    return sockets


def unix_socket(path: Path) -> socket.socket:
    """A bound Unix socket of mode 0660, listening; what a crash left behind is replaced.

    Raises DeviceFault where another program listens there, or the path is something else.
    """
    _remove_stale(path)
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Never wider, not even between bind and chmod.
    before = os.umask(_SOCKET_UMASK)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        link.bind(str(path))
        link.listen(BACKLOG)
    except OSError as error:
        link.close()
        raise DeviceFault(
            f"cannot listen at {path}: {error.strerror or error}", "choose another --socket"
        ) from error
    finally:
        os.umask(before)
    return link


def remove_socket(path: Path) -> None:
    """Remove our socket's file at the end."""
    path.unlink(missing_ok=True)


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageFault(f"there is no host {host!r}: {error}", "127.0.0.1 is this machine alone") from error
    return [str(address[4][0]) for address in found]


def _secret(path: Path, what: str) -> bytes:
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except OSError as error:
        raise UsageFault(
            f"the {what} {path} cannot be read: {error.strerror}", "does the runner's user own it?"
        ) from error
    if stat.S_IMODE(mode) & _OTHERS:
        raise UsageFault(f"everybody on this machine can read the {what} {path}", f"chmod o= {path}")
    return content


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise DeviceFault(f"{path} is there and no socket", "choose another --socket, or remove it")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        try:
            link.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            raise DeviceFault(f"{path} cannot be used: {error.strerror}", "choose another --socket") from error
    raise DeviceFault(f"another program listens at {path}", "stop it, or choose another --socket")
