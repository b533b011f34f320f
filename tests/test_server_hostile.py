"""Whatever a client sends: an error in the protocol's form or a closed connection, and the next one is served."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_server import INFER, Live, binary, head, live, post, read, tensor, windows
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import positive_data_acceptance

from greenup_runtime.server import routes

load_all_checks()
SCHEMA = schemathesis.openapi.from_path(str(Path(routes.__file__).with_name("openapi.json")))
FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
PROTOCOL_ERRORS = {200, 204, 400, 401, 404, 405, 408, 413, 415, 417, 429, 431, 501, 503}


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("device"), folder, max_body_bytes=200_000, max_head_bytes=4096) as running:
        yield running


def alive(server: Live) -> None:
    assert server.infer(tensor(windows())).status == 200


def status_of_all(server: Live, data: bytes) -> list[int]:
    """Send bytes and no more; the status of whatever comes back before the connection ends."""
    with server.connect() as link:
        link.sendall(data)
        link.shutdown(socket.SHUT_WR)
        content = b""
        try:
            while piece := link.recv(65536):
                content += piece
        except ConnectionResetError:
            pass
    return [int(line.split()[1]) for line in content.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


@SCHEMA.parametrize()
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_schemathesis_finds_nothing(case: Any, server: Live) -> None:
    # Names of models are drawn too, so a request of the right form may well be answered with 404.
    case.call_and_validate(
        base_url=f"http://127.0.0.1:{server.port}", excluded_checks=[positive_data_acceptance], timeout=20
    )


@FEW
@given(data=st.binary(max_size=2000))
def test_any_bytes(server: Live, data: bytes) -> None:
    assert set(status_of_all(server, data)) <= PROTOCOL_ERRORS


@FEW
@given(data=st.data())
def test_a_damaged_request(server: Live, data: st.DataObject) -> None:
    body, header = binary(windows())
    request = bytearray(post(INFER, body, header))
    for _ in range(data.draw(st.integers(1, 4))):
        request[data.draw(st.integers(0, len(request) - 1))] = data.draw(st.integers(0, 255))
    assert set(status_of_all(server, bytes(request))) <= PROTOCOL_ERRORS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@FEW
@given(data=st.data())
def test_any_json_in_any_place_of_a_request(server: Live, data: st.DataObject) -> None:
    request = tensor(windows(), id="x", parameters={}, outputs=[{"name": "label", "parameters": {}}])
    place: Any = data.draw(st.sampled_from([request, request["inputs"][0], request["outputs"][0]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    reply = server.infer(request)
    assert reply.status in {200, 400, 413}
    assert reply.status == 200 or reply.error


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (head("POST", INFER, "Connection: upgrade", "Upgrade: h2c", "Content-Length: 2") + b"\r\n{}", 501),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 501),
        (head("GET", "/" + "a" * 5000) + b"\r\n", 431),
        (head("GET", "/", "X: " + "a" * 5000) + b"\r\n", 431),
        (head("GET", "/", *[f"X{i}: 1" for i in range(100)]) + b"\r\n", 431),
        (head("GET", "/v2", "Host: again") + b"\r\n", 400),
        (head("POST", INFER, "Content-Length: 99999999") + b"\r\n", 413),
        (head("POST", INFER, "Content-Length: " + "9" * 40) + b"\r\n", 400),
        (head("POST", INFER, "Content-Length: -5") + b"\r\n", 400),
        (head("POST", INFER, "Content-Length: 5", "Content-Length: 6") + b"\r\n", 400),
        (head("POST", INFER, "Content-Length: 5", "Transfer-Encoding: chunked") + b"\r\n", 400),
        (head("POST", INFER, "Transfer-Encoding: gzip") + b"\r\n", 400),
        (head("POST", INFER, "Transfer-Encoding: chunked") + b"\r\nZZ\r\n", 400),
        (head("POST", INFER, "Expect: a pony", "Content-Length: 1") + b"\r\n", 417),
        (head("POST", INFER, "Expect: 100-continue", "Content-Length: 99999999") + b"\r\n", 413),
        (head("POST", INFER, "Content-Length: 300000") + b"\r\n" + b"x" * 300_000, 413),
        (
            head("POST", INFER, "Transfer-Encoding: chunked")
            + b"\r\n"
            + (b"7fff\r\n" + b"x" * 0x7FFF + b"\r\n") * 8,
            413,
        ),
        (head("GET", "/v2", "Bad Name: x") + b"\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: x\r\nA: b\r\n folded\r\n\r\n", 400),
        (head("TRACE", "/v2") + b"\r\n", 405),
        (head("OPTIONS", "*") + b"\r\n", 204),
    ],
)
def test_broken_http_is_answered_and_the_connection_ends(server: Live, request_: bytes, status: int) -> None:
    reply = server.ask(request_)
    assert reply.status == status
    assert status == 204 or reply.error
    alive(server)


def test_the_answer_arrives_although_the_body_was_not_read(server: Live) -> None:
    with server.connect() as link:
        link.sendall(head("POST", INFER, "Content-Length: 900000") + b"\r\n" + b"x" * 900_000)
        assert read(link).status == 413
        assert link.recv(1) == b""


def test_an_endless_trailer_ends(server: Live) -> None:
    with server.connect() as link:
        start = head("POST", INFER, "Transfer-Encoding: chunked") + b"\r\n2\r\n{}\r\n0\r\nX: "
        drip(link, start, b"a" * 3000, b"431")


def test_a_bomb_is_refused_small(server: Live) -> None:
    reply = server.post(INFER, gzip.compress(b" " * 20_000_000), "Content-Encoding: gzip")
    assert (reply.status, "inflated" in reply.error) == (413, True)
    for damaged in (gzip.compress(b"{}")[:-4], gzip.compress(b"{}") + b"x", b"no gzip"):
        assert server.post(INFER, damaged, "Content-Encoding: gzip").status == 400


def test_few_bytes_cannot_ask_for_much(server: Live) -> None:
    request = tensor(windows())
    request["inputs"][0].update(shape=[40_000, 1, 1], data=[0] * 40_000)
    reply = server.infer(request)
    assert (reply.status, "becomes more" in reply.error) == (413, True)
    request["inputs"][0].update(shape=[1 << 30, 1 << 30, 1 << 30])
    assert server.infer(request).status == 413


def test_slow_clients_are_sent_away_and_others_served(folder: Path, tmp_path: Path) -> None:
    limits = {"head_timeout_s": 0.3, "body_timeout_s": 0.3, "idle_timeout_s": 0.3}
    with live(tmp_path, folder, **limits) as server, server.connect() as loris, server.connect() as half:
        with server.connect() as silent, server.connect() as idle:
            half.sendall(head("POST", INFER, "Content-Length: 100") + b"\r\n{")
            idle.sendall(head("GET", "/v2") + b"\r\n")
            assert read(idle).status == 200
            drip(loris, b"GET /v2 HTTP/1.1\r\nX: ", b"a", b"408")
            assert read(half).status == 408
            assert silent.recv(1) == b""
            assert idle.recv(1) == b""
        alive(server)


def drip(link: socket.socket, start: bytes, piece: bytes, status: bytes) -> None:
    """A piece now and then, until an answer comes: it must, since no piece prolongs the time for a request."""
    link.sendall(start)
    link.settimeout(0.05)
    for _ in range(400):
        link.sendall(piece)
        try:
            answer = link.recv(65536)
        except TimeoutError:
            continue
        assert answer.startswith(b"HTTP/1.1 " + status)
        return
    pytest.fail("a request may take for ever")


def test_a_client_that_never_reads_is_cut_off(folder: Path, tmp_path: Path) -> None:
    with live(tmp_path, folder, body_timeout_s=0.3) as server, server.connect() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = json.dumps(tensor(windows())).encode()
        link.settimeout(20)
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            link.sendall(post(INFER, body) * 100_000)
        alive(server)


def test_one_connection_too_many_is_told_so(folder: Path, tmp_path: Path) -> None:
    with live(tmp_path, folder, max_connections=2) as server:
        with server.connect() as first, server.connect() as second:
            for link in (first, second):
                link.sendall(head("GET", "/v2") + b"\r\n")
                assert read(link).status == 200
            reply = server.get("/v2")
            assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        until = time.monotonic() + 10
        while server.get("/v2").status != 200:
            assert time.monotonic() < until


def test_too_many_a_second_are_told_when_to_come_back(folder: Path, tmp_path: Path) -> None:
    with live(tmp_path, folder, max_rate_hz=0.01) as server:
        alive(server)
        reply = server.infer(tensor(windows()))
        assert reply.status == 429
        assert 1 <= int(reply.headers["retry-after"]) <= 101
        assert server.get("/v2/health/ready").status == 200


def test_bodies_together_are_bounded(folder: Path, tmp_path: Path) -> None:
    with live(tmp_path, folder, max_held_bytes=1000) as server, server.connect() as link:
        link.sendall(head("POST", INFER, "Content-Length: 900") + b"\r\n" + b" " * 899)
        time.sleep(0.1)
        assert server.infer(tensor(windows())).status in (200, 503)
        link.sendall(b" ")
        assert read(link).status == 400
        alive(server)


def test_what_nobody_foresaw_is_a_500_without_a_trace(
    server: Live, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any) -> None:
        raise ZeroDivisionError("secret")

    for count in (1, 600):
        monkeypatch.setattr("greenup_runtime.loaded.Loaded.run", fails)
        reply = server.infer(tensor(windows(count, 1)))
        assert (reply.status, "secret" in reply.error) == (500, False)
        monkeypatch.undo()
        alive(server)
    assert "ZeroDivisionError" in capfd.readouterr().err
