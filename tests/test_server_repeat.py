"""A kept connection whose requests begin with the same bytes: each gets its own answer, under the rules of now."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from live_server import INFER, Live, Reply, binary, live, post, read, tensor, windows

TOKEN = "0123456789abcdef-secret"


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("device"), folder) as running:
        yield running


def asked(link: socket.socket, request: bytes) -> Reply:
    link.sendall(request)
    return read(link)


def probabilities(reply: Reply) -> list[float]:
    assert reply.status == 200, reply.body
    return list(json.loads(reply.body)["outputs"][0]["data"])


def request_of(seed: int, *headers: str) -> bytes:
    body, header = binary(windows(seed=seed))
    return post(INFER, body, header, *headers)


def test_each_body_has_its_own_answer_however_it_arrives(server: Live) -> None:
    alone = [probabilities(server.ask(request_of(seed, "Connection: close"))) for seed in range(4)]
    assert len({tuple(each) for each in alone}) == 4
    with server.connect() as link:
        for seed in (0, 1, 2, 1, 3):
            assert probabilities(asked(link, request_of(seed))) == alone[seed]
        request = request_of(2)
        for piece in (request[:9], request[9:-7], request[-7:]):
            link.sendall(piece)
            time.sleep(0.02)
        assert probabilities(read(link)) == alone[2]
        assert probabilities(asked(link, b"\r\n" + request_of(3))) == alone[3]
        assert probabilities(asked(link, request_of(0))) == alone[0]


def test_two_at_once_and_another_kind_between(server: Live) -> None:
    with server.connect() as link:
        first = asked(link, request_of(0))
        link.sendall(request_of(0) + request_of(0))
        one = read(link)
        length = int(one.headers["content-length"])
        two = read(link, one.body[length:])
        assert [probabilities(Reply(200, {}, one.body[:length])), probabilities(two)] == 2 * [probabilities(first)]
        text = json.dumps(tensor(windows(seed=0))).encode()
        assert np.allclose(probabilities(asked(link, post(INFER, text))), probabilities(first))
        assert probabilities(asked(link, request_of(0))) == probabilities(first)


def test_the_same_json_with_other_bytes_behind_it_is_refused(server: Live) -> None:
    body, header = binary(windows(seed=0))
    assert server.post(INFER, body, header).status == 200
    for wrong in (body[:-4], body + b"1234"):
        reply = server.post(INFER, wrong, header)
        assert (reply.status, "binary_data_size" in reply.error) == (400, True)
    bad = windows(seed=0)
    bad[0, 0, 0] = np.nan
    assert server.post(INFER, *binary(bad)).status == 400


def test_a_token_that_was_taken_back_no_longer_helps(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o640)
    request = request_of(0, f"Authorization: Bearer {TOKEN}")
    with live(tmp_path / "device", folder, token_file=path) as server, server.connect() as link:
        assert [asked(link, request).status for _ in range(3)] == [200, 200, 200]
        path.write_text("another-token-of-some-length")
        server.loop.call_soon_threadsafe(server.running.reload)
        for _ in range(1000):
            if server.get("/v2", "GET", "Authorization: Bearer another-token-of-some-length").status == 200:
                break
        assert asked(link, request).status == 401


def test_bodies_are_still_counted(folder: Path, tmp_path: Path) -> None:
    request = request_of(0)
    with live(tmp_path, folder, max_held_bytes=2 * len(request)) as server, server.connect() as link:
        for _ in range(20):
            assert asked(link, request).status == 200
