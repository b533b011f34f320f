"""The runner as a service: its files, what systemd says of them, signs of life, and the health check."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from stream_bench import Running, committed, until

from greenup import permissions
from greenup_runtime import systemd
from greenup_runtime.cli import run
from greenup_runtime.configuration import load
from greenup_runtime.errors import UsageFault
from greenup_runtime.service import files

RUNNER = "/opt/greenup-runner/current/bin/greenup-runner"
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed: apt-get install systemd"
)


@pytest.fixture
def link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket on which systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "notify"))
        link.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield link


def test_notify_tells_systemd(link: socket.socket) -> None:
    assert systemd.notify("READY=1")
    assert link.recv(100) == b"READY=1"


def test_notify_speaks_to_abstract_sockets_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(f"\0greenup-test-{os.getpid()}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@greenup-test-{os.getpid()}")
        assert systemd.notify("STOPPING=1")
        assert link.recv(100) == b"STOPPING=1"


def test_without_systemd_nothing_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not systemd.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not systemd.notify("READY=1")


@pytest.mark.parametrize(
    ("limit", "process", "expected"),
    [("30000000", "", 15.0), ("30000000", "own", 15.0), ("30000000", "1", None), ("", "", None), ("x", "", None)],
)
def test_signs_of_life_come_at_half_the_limit_and_only_from_the_process_asked(
    limit: str, process: str, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", limit)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if process == "own" else process)
    assert systemd.watchdog_s() == expected


def test_the_command_of_the_unit_says_ready_alive_and_stopping(tmp_path: Path, link: socket.socket) -> None:
    """The stream unit's own command and environment, with this Python's runner in its place."""
    unit = files.service_files(PurePosixPath(RUNNER))[
        PurePosixPath("/etc/systemd/system/greenup-runner-stream.service")
    ]
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert command == f"{RUNNER} stream"
    assert "Type=notify" in unit
    committed(tmp_path / "home")
    settings = tmp_path / "runner.toml"
    settings.write_text("log_format = 'json'\n[stream]\nfollow = true\nsource = 'samples'\n")
    environment = {"WATCHDOG_USEC": "200000", "GREENUP_RUNNER_CONFIG": str(settings)}
    with Running(tmp_path / "home", environment=environment) as running:
        said = [link.recv(100).decode() for _ in range(4)]
        assert said[0] == "READY=1"
        assert said[1:] == ["WATCHDOG=1\nSTATUS=0 windows classified, 0 dropped"] * 3
        running.end(signal.SIGTERM)
    assert until(lambda: link.recv(100) == b"STOPPING=1", "the goodbye")


def test_install_writes_what_print_shows_and_a_file_of_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], own_folders: Path
) -> None:
    arguments = ["--root", str(tmp_path), "--runner", RUNNER]
    assert run(["--json", "service", "print", *arguments]) == 0
    shown = json.loads(capsys.readouterr().out)["files"]
    assert run(["service", "install", *arguments]) == 0
    assert "systemctl enable --now greenup-runner" in capsys.readouterr().out
    for path, text in shown.items():
        assert (tmp_path / path[1:]).read_text() == text
        assert (tmp_path / path[1:]).stat().st_mode & 0o777 == 0o644
        assert "@" not in text.replace("@system-service", "").replace("@privileged", "").replace(
            "(@resources,", ""
        )
    assert set(load(tmp_path / "etc/greenup-runner/runner.toml", {}).origin.values()) == {"default"}
    assert not (own_folders / "greenup_runner_home").exists()


def test_install_keeps_settings_and_remove_keeps_what_somebody_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--root", str(tmp_path), "--runner", RUNNER]
    run(["service", "install", *arguments])
    settings = tmp_path / "etc/greenup-runner/runner.toml"
    settings.write_text("[server]\nport = 9\n")
    unit = tmp_path / "etc/systemd/system/greenup-runner.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    assert run(["service", "remove", *arguments]) == 0
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"runner.toml", "greenup-runner.service"}
    assert str(settings) in capsys.readouterr().out
    run(["service", "install", *arguments])
    assert settings.read_text() == "[server]\nport = 9\n"


def test_untouched_settings_go_with_the_rest(tmp_path: Path) -> None:
    for verb in ("install", "remove"):
        assert run(["service", verb, "--root", str(tmp_path), "--runner", RUNNER]) == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "runner", ["/home/me/venv/bin/greenup-runner", "/root/x/greenup-runner", "bin/greenup-runner"]
)
def test_a_runner_that_the_service_cannot_see_is_refused(runner: str) -> None:
    with pytest.raises(UsageFault) as caught:
        files.service_files(PurePosixPath(runner))
    assert "/opt" in str(caught.value.hint)


def test_a_path_with_blanks_and_percents_is_one_argument() -> None:
    units = files.service_files(PurePosixPath("/opt/my 100% runner/greenup-runner"))
    assert any('ExecStart="/opt/my 100%% runner/greenup-runner" serve\n' in text for text in units.values())


def test_the_rule_for_rapl_is_the_one_that_doctor_writes() -> None:
    found = files.service_files(PurePosixPath(RUNNER))[PurePosixPath(permissions.UDEV_RULE_FILE)]
    assert found.splitlines()[-1] == permissions.RULE.splitlines()[-1]
    assert all(path.is_absolute() for path in files.service_files(PurePosixPath(RUNNER)))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A root with the units, a runner, and the machine's own targets."""
    files.install(tmp_path, PurePosixPath(RUNNER))
    runner = tmp_path / RUNNER[1:]
    runner.parent.mkdir(parents=True)
    runner.write_text("#!/bin/sh\n")
    runner.chmod(0o755)
    (tmp_path / "bin").mkdir()
    shutil.copy("/bin/sh", tmp_path / "bin/sh")
    targets = tmp_path / "usr/lib/systemd/system"
    targets.mkdir(parents=True)
    for target in Path("/lib/systemd/system").glob("*.target"):
        shutil.copy(target, targets / target.name)
    return tmp_path


@needs_systemd
def test_systemd_finds_no_fault_in_the_units(image: Path) -> None:
    command = ["systemd-analyze", "verify", f"--root={image}", "--man=no", "--generators=no", *files.UNITS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "greenup" in line]
    assert ours == []
    assert done.returncode == 0, done.stderr


@needs_systemd
@pytest.mark.parametrize("unit", files.UNITS)
def test_systemd_rates_the_units_as_little_exposed(image: Path, unit: str) -> None:
    command = [
        "systemd-analyze",
        "security",
        "--offline=yes",
        f"--root={image}",
        "--threshold=20",
        "--no-pager",
        unit,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:]


class Answering(http.server.BaseHTTPRequestHandler):
    """Ready or not."""

    def do_GET(self) -> None:
        ready = self.path == "/v2/health/ready" and getattr(self.server, "ready", False)
        self.send_response(200 if ready else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...

    def address_string(self) -> str:
        return "a client"


class SocketServer(socketserver.UnixStreamServer):
    ready = True


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_health_is_0_where_the_server_is_ready_and_1_where_it_is_not(
    server: http.server.HTTPServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{server.server_port}"
    assert run(["health", "--url", url]) == 1
    assert "it answers 503" in capsys.readouterr().err
    server.ready = True  # type: ignore[attr-defined]
    assert run(["--json", "health", "--url", url]) == 0
    assert json.loads(capsys.readouterr().out)["ready"] is True
    monkeypatch.setenv("GREENUP_RUNNER_SERVER_PORT", str(server.server_port))
    monkeypatch.setenv("GREENUP_RUNNER_SERVER_HOST", "0.0.0.0")
    assert run(["health"]) == 0


def test_health_by_a_unix_socket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "socket"
    assert run(["health", "--socket", str(path)]) == 1
    assert "No such file" in capsys.readouterr().err
    with SocketServer(str(path), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert run(["health", "--socket", str(path)]) == 0
        server.shutdown()


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8080"])
def test_an_address_that_is_none_is_a_fault_of_usage(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["health", "--url", url]) == 2
    assert "is no server's address" in capsys.readouterr().err
