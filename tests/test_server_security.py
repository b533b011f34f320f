"""Who may ask: loopback, tokens, certificates, the socket's permissions; and which bundles serve at all."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_bundle
from live_server import INFER, head, live, post, read, tensor, windows
from test_runner_store import commit, install, selection, signed_bundle

from greenup import bundle as packing
from greenup.signing import find_key
from greenup_runtime import logs
from greenup_runtime.cli import run
from greenup_runtime.errors import DeviceFault, IntegrityFault, UsageFault
from greenup_runtime.server import listen
from greenup_runtime.settings import ServerSettings
from greenup_runtime.store import Store

TOKEN = "0123456789abcdef-secret"
BODY = b'{"inputs": []}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_bundle.make(tmp_path / "b")
    return tmp_path / "b"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o640)
    return path


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_nothing_listens_beyond_loopback_without_a_secret(host: str, token_file: Path) -> None:
    with pytest.raises(UsageFault, match="beyond loopback") as raised:
        listen.check(ServerSettings(host=host))
    assert "token_file" in str(raised.value.hint)
    listen.check(ServerSettings(host=host, token_file=token_file))


def test_the_command_refuses_before_it_loads_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", str(tmp_path), "serve", "--host", "0.0.0.0", "--port", "0"]) == 2
    shown = capsys.readouterr().err
    assert "beyond loopback" in shown
    assert "hint: set token_file" in shown


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"tls_key_file": Path("k")}, "certificate and its key"),
        ({"client_ca_file": Path("c")}, "needs TLS"),
        ({"host": "no.such.host.invalid"}, "no host"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], part: str) -> None:
    with pytest.raises(UsageFault, match=part):
        listen.check(ServerSettings(**settings))


def test_a_token_that_others_can_read_or_guess_is_refused(token_file: Path) -> None:
    settings = ServerSettings(token_file=token_file)
    assert listen.read_token(settings) == TOKEN.encode()
    token_file.chmod(0o644)
    with pytest.raises(UsageFault, match="everybody on this machine") as raised:
        listen.read_token(settings)
    assert TOKEN not in str(raised.value)
    token_file.chmod(0o600)
    token_file.write_text("short")
    with pytest.raises(UsageFault, match="shorter than 16"):
        listen.read_token(settings)
    token_file.unlink()
    with pytest.raises(UsageFault, match="cannot be read"):
        listen.read_token(settings)


@pytest.fixture
def every_event() -> Iterator[None]:
    logs.configure("text", "debug")
    yield
    logs.configure()


def test_every_request_carries_the_token_except_on_the_socket(
    folder: Path, token_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], every_event: None
) -> None:
    path = tmp_path / "s.sock"
    with live(tmp_path / "device", folder, token_file=token_file, socket=path) as server:
        for wrong in (
            (),
            ("Authorization: Bearer wrong",),
            (f"Authorization: Basic {TOKEN}",),
            ("Authorization: é",),
        ):
            reply = server.get("/v2/health/live", "GET", *wrong)
            assert (reply.status, reply.headers["www-authenticate"][:6]) == (401, "Bearer")
        # Without the token not even the body is waited for.
        assert server.ask(head("POST", INFER, "Content-Length: 1000") + b"\r\n").status == 401
        assert server.get("/v2/health/live", "GET", f"Authorization: Bearer {TOKEN}").status == 200
        assert server.infer(tensor(windows()), f"authorization: bearer {TOKEN}").status == 200
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(path))
            link.sendall(head("GET", "/v2") + b"\r\n")
            assert read(link).status == 200
        token_file.write_text("another-token-of-some-length")
        server.loop.call_soon_threadsafe(server.running.reload)
        for _ in range(1000):
            if server.get("/v2", "GET", "Authorization: Bearer another-token-of-some-length").status == 200:
                break
        assert server.get("/v2", "GET", f"Authorization: Bearer {TOKEN}").status == 401
    told = capfd.readouterr().err
    assert "server.serving" in told
    assert TOKEN not in told
    assert "another-token" not in told


def test_web_pages_may_not_ask_a_server_without_a_token(folder: Path, tmp_path: Path) -> None:
    with live(tmp_path / "device", folder) as server:
        assert server.post(INFER, BODY, "Origin: https://example.org").status == 403


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    make = tmp_path / "tls"
    make.mkdir()
    for name in ("server", "client", "stranger"):
        subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ]
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "1"]
        subprocess.run([*command, *subject, *files], cwd=make, check=True, capture_output=True)
        (make / f"{name}.key").chmod(0o600)
    return make


def test_mutual_tls_serves_those_with_a_certificate(folder: Path, certificates: Path, tmp_path: Path) -> None:
    tls = {
        "tls_certificate_file": certificates / "server.pem",
        "tls_key_file": certificates / "server.key",
        "client_ca_file": certificates / "client.pem",
    }
    listen.check(ServerSettings(host="0.0.0.0", **tls))
    with live(tmp_path / "device", folder, **tls) as server:
        assert ask_tls(server.port, certificates, "client") == 200
        for who in ("stranger", None):
            with pytest.raises(OSError):  # noqa: PT011 (an alert or a reset, as the kernel has it)
                ask_tls(server.port, certificates, who)
        assert ask_tls(server.port, certificates, "client") == 200


def ask_tls(port: int, certificates: Path, who: str | None) -> int:
    context = ssl.create_default_context(cafile=str(certificates / "server.pem"))
    if who:
        context.load_cert_chain(certificates / f"{who}.pem", certificates / f"{who}.key")
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as link,
    ):
        body = b"x" * 300_000
        link.sendall(post("/v2/models/small/nope", body))
        try:
            return 200 if read(link).status == 404 else 0
        except AssertionError as error:
            raise OSError(str(error)) from error


def test_a_key_that_others_can_read_is_refused(folder: Path, certificates: Path, tmp_path: Path) -> None:
    (certificates / "server.key").chmod(0o644)
    tls = {"tls_certificate_file": certificates / "server.pem", "tls_key_file": certificates / "server.key"}
    with pytest.raises(UsageFault, match="everybody"), live(tmp_path / "device", folder, **tls):
        pass
    (certificates / "server.key").chmod(0o600)
    (certificates / "server.pem").write_text("no certificate")
    with pytest.raises(UsageFault, match="TLS cannot be set up"), live(tmp_path / "device", folder, **tls):
        pass


def test_the_socket_replaces_what_a_crash_left_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    with live(tmp_path / "device", folder, socket=path):
        assert path.stat().st_mode & 0o777 == 0o660
        with (
            pytest.raises(DeviceFault, match="another program listens"),
            live(tmp_path / "d2", folder, socket=path),
        ):
            pass
    assert not path.exists()
    path.write_text("a file of somebody")
    with pytest.raises(DeviceFault, match="no socket"), live(tmp_path / "d3", folder, socket=path):
        pass
    assert path.read_text() == "a file of somebody"


def test_a_taken_port_is_told(folder: Path, tmp_path: Path) -> None:
    with live(tmp_path / "device", folder) as server, pytest.raises(DeviceFault, match="cannot listen"):
        listen.tcp_sockets(ServerSettings(port=server.port))


def test_an_unsigned_bundle_serves_only_where_that_is_allowed(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(IntegrityFault, match="no signature"), live(tmp_path / "device", folder, unsigned=False):
        pass
    with live(tmp_path / "device", folder, unsigned=True) as server:
        assert b'signer=""' in server.get("/metrics").body


def test_a_signed_bundle_serves_and_a_changed_one_does_not(tmp_path: Path) -> None:
    key = find_key()
    signed_bundle(tmp_path / "b", key)
    store = Store(tmp_path / "device")
    store.trust(key.allowed_signers_line())
    with live(store.home, tmp_path / "b", unsigned=False) as server:
        assert server.infer(tensor(windows())).status == 200
    (tmp_path / "b" / "manifest.json.sig").write_text(key.sign(b"something else"))
    for unsigned in (False, True):
        with (
            pytest.raises(IntegrityFault, match="does not match"),
            live(store.home, tmp_path / "b", unsigned=unsigned),
        ):
            pass


def test_what_was_altered_since_the_commit_does_not_serve(tmp_path: Path) -> None:
    key = find_key()
    bundle, signature = signed_bundle(tmp_path / "b", key)
    store = Store(tmp_path / "device")
    store.trust(key.allowed_signers_line())
    installed = install(store, bundle, signature)
    commit(store, key, selection(store, bundle, 1))
    blob = installed.path(installed.variant("fp32").blob)
    content = blob.read_bytes()
    blob.write_bytes(packing.golden_bytes(windows(), {"fp32": windows()[0]}))
    with pytest.raises(IntegrityFault, match="was altered"), live(store.home, None, unsigned=False):
        pass
    blob.write_bytes(content)
    state = store.home / "state.json"
    state.write_text(state.read_text().replace('"variant": "fp32"', '"variant": "pruned"'))
    with pytest.raises(IntegrityFault, match="does not match"), live(store.home, None, unsigned=False):
        pass


def test_a_damaged_record_of_what_serves_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    for content in ("{", '{"current": 5}', '{"current": {"selection": {}, "signature": null}}'):
        (store.home / "state.json").write_text(content)
        assert run(["--home", str(tmp_path), "serve", "--port", "0"]) == 4
        shown = capsys.readouterr().err
        assert "state.json is damaged" in shown
        assert "hint:" in shown


def test_a_variant_with_wrong_golden_samples_does_not_serve(tmp_path: Path) -> None:
    small_bundle.make(tmp_path / "b", spoil_golden="fp32")
    with pytest.raises(IntegrityFault, match="golden samples"), live(tmp_path / "device", tmp_path / "b"):
        pass


def test_a_variant_that_this_cpu_cannot_run_is_unavailable_and_the_others_serve(tmp_path: Path) -> None:
    small_bundle.make(tmp_path / "b", isa={"pruned": ["abacus"]})
    with live(tmp_path / "device", tmp_path / "b") as server:
        assert server.get("/v2/models/small/versions/pruned/ready").status == 503
        states = {entry["version"]: entry["state"] for entry in server.get("/v2/repository/index").json()}
        assert states == {"fp32": "READY", "pruned": "UNAVAILABLE"}
        reply = server.infer(tensor(windows()), path="/v2/models/small/versions/pruned/infer")
        assert (reply.status, "lacks abacus" in reply.error) == (503, True)
        assert server.infer(tensor(windows())).status == 200
