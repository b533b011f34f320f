"""What serves follows what is committed, without a lost request; signals and systemd are heeded."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live_server import INFER, Kept, Live, head, live, post, read, tensor, windows
from test_runner_store import commit, install, selection, signed_bundle

from greenup.signing import SigningKey
from greenup_runtime import loaded
from greenup_runtime.bundle import Bundle
from greenup_runtime.store import Store

RUNTIME = Path(__file__).parent.parent / "runtime"
BODY = json.dumps(tensor(windows())).encode()


@pytest.fixture
def bundle(tmp_path: Path, store: Store, key: SigningKey) -> Bundle:
    made, signature = signed_bundle(tmp_path / "b", key)
    return install(store, made, signature)


def until(said: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not said():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def serves(server: Live) -> str:
    return str(server.infer(tensor(windows())).json().get("model_version"))


class Load:
    """Clients that ask all the time, each on its kept connection; every answer is looked at."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.versions: list[list[str]] = [[] for _ in range(clients)]
        self.faults: list[str] = []
        self._port = port
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(seen,)) for seen in self.versions]

    def _ask(self, seen: list[str]) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=20) as link:
            while not self._end.is_set():
                link.sendall(post(INFER, BODY))
                try:
                    reply = read(link)
                except (OSError, AssertionError) as error:
                    self.faults.append(repr(error))
                    return
                if reply.status != 200:
                    self.faults.append(str(reply.status))
                seen.append(reply.json().get("model_version", ""))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def until_all_saw(self, version: str) -> None:
        until(lambda: all(seen and seen[-1] == version for seen in self.versions))


def test_a_commit_switches_under_load_and_no_request_is_lost(
    store: Store, key: SigningKey, bundle: Bundle
) -> None:
    commit(store, key, selection(store, bundle, 1, "fp32"))
    with live(store.home, None, unsigned=False) as server, Load(server.port) as load:
        load.until_all_saw("fp32")
        for sequence, variant in enumerate(["pruned", "fp32", "pruned", "fp32"], start=2):
            commit(store, key, selection(store, bundle, sequence, variant))
            load.until_all_saw(variant)
        store.rollback("a test")
        load.until_all_saw("pruned")
        families = server.get("/metrics").body.decode()
    assert load.faults == []
    assert all(set(seen) == {"fp32", "pruned"} for seen in load.versions)
    assert "greenup_switches_total 5" in families


def test_a_request_in_flight_ends_on_the_old_one(
    store: Store, key: SigningKey, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()
    plain = loaded.Loaded.run

    def slow(self: loaded.Loaded, cases: Any) -> Any:
        if len(cases) == 700:
            began.set()
            go_on.wait(20)
        return plain(self, cases)

    monkeypatch.setattr(loaded.Loaded, "run", slow)
    commit(store, key, selection(store, bundle, 1, "fp32"))
    with live(store.home, None, unsigned=False) as server, server.connect() as link:
        link.sendall(post(INFER, json.dumps(tensor(windows(700))).encode()))
        assert began.wait(20)
        # While the worker is busy, health and quick requests still answer, and the switch happens.
        assert server.get("/v2/health/live").status == 200
        commit(store, key, selection(store, bundle, 2, "pruned"))
        until(lambda: serves(server) == "pruned")
        assert "greenup_in_flight_requests 1" in server.get("/metrics").body.decode()
        go_on.set()
        assert read(link).json()["model_version"] == "fp32"


def test_what_cannot_be_loaded_leaves_the_old_one_and_says_so(
    store: Store, key: SigningKey, bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    commit(store, key, selection(store, bundle, 1, "fp32"))
    with live(store.home, None, unsigned=False) as server:
        commit(store, key, selection(store, bundle, 2, "pruned"))
        blob = bundle.path(bundle.variant("pruned").blob)
        content = blob.read_bytes()
        blob.write_bytes(content[:-1])
        # Whichever came first: a load before the damage is undone by one more commit.
        commit(store, key, selection(store, bundle, 3, "pruned"))
        shown = ""

        def said(times: int) -> bool:
            nonlocal shown
            shown += capfd.readouterr().err
            return shown.count("server.switch_failed") >= times

        until(lambda: said(1))
        assert server.infer(tensor(windows())).status == 200
        assert "was altered" in shown
        (store.home / "state.json").write_text("{")
        until(lambda: said(2))
        assert server.infer(tensor(windows())).status == 200
        assert "greenup_failed_loads_total" in server.get("/metrics").body.decode()


def test_a_device_without_a_commit_waits_for_one(store: Store, key: SigningKey, bundle: Bundle) -> None:
    with live(store.home, None, unsigned=False) as server:
        assert server.get("/v2/health/live").status == 200
        assert server.get("/v2/health/ready").status == 503
        assert server.get("/v2/models/small").status == 404
        assert server.get("/v2/repository/index").json() == []
        reply = server.infer(tensor(windows()))
        assert (reply.status, "push one" in reply.error) == (404, True)
        commit(store, key, selection(store, bundle, 1))
        until(lambda: server.get("/v2/health/ready").status == 200)
        assert serves(server) == "fp32"


def test_draining_answers_what_was_asked_and_takes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import small_bundle

    small_bundle.make(tmp_path / "b")
    go_on, plain, recorder = threading.Event(), loaded.Loaded.run, Kept()

    def slow(self: loaded.Loaded, cases: Any) -> Any:
        go_on.wait(20)
        return plain(self, cases)

    with live(tmp_path / "d", tmp_path / "b", recorder=recorder) as server, server.connect() as link:
        monkeypatch.setattr(loaded.Loaded, "run", slow)
        with server.connect() as idle:
            idle.sendall(head("GET", "/v2") + b"\r\n")
            assert read(idle).status == 200
            link.sendall(post(INFER, json.dumps(tensor(windows(600))).encode()))
            until(lambda: server.running._service.in_flight == 1)
            server.loop.call_soon_threadsafe(server.running.stop)
            assert idle.recv(1) == b""
            with pytest.raises(ConnectionRefusedError):
                until(lambda: server.connect().close() is not None)
            go_on.set()
            reply = read(link)
            assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert recorder.closed


@pytest.fixture
def notices(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "notify"))
        link.settimeout(30)
        yield link


def wait_for(notices: socket.socket, state: str) -> None:
    while notices.recv(100).decode().splitlines()[0] != state:
        pass


def test_the_service_tells_systemd_reloads_at_hup_and_drains_at_term(
    store: Store, key: SigningKey, bundle: Bundle, notices: socket.socket, tmp_path: Path
) -> None:
    commit(store, key, selection(store, bundle, 1))
    environment = {
        **os.environ,
        "PYTHONPATH": str(RUNTIME),
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "200000",
    }
    command = [sys.executable, "-m", "greenup_runtime.cli", "--home", str(store.home), "serve", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().split()[2])
        wait_for(notices, "READY=1")
        wait_for(notices, "WATCHDOG=1")
        process.send_signal(signal.SIGHUP)
        wait_for(notices, "RELOADING=1")
        wait_for(notices, "READY=1")
        with socket.create_connection(("127.0.0.1", port), timeout=20) as link:
            link.sendall(post(INFER, BODY))
            assert read(link).status == 200
        process.send_signal(signal.SIGTERM)
        wait_for(notices, "STOPPING=1")
        _, shown = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "Traceback" not in shown
    assert "server.serving model=small" in shown
