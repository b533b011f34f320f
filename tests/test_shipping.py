"""Records reach the host by POST /v1/records: acknowledged, once, after any fault; forgotten here only then."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from receiver import Receiver

from greenup_runtime import cli, shipping
from greenup_runtime.errors import DeviceFault, UsageFault
from greenup_runtime.settings import ShipSettings
from greenup_runtime.shipping import Shipper
from greenup_runtime.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "device")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Receiver]:
    receiver = Receiver(tmp_path).start()
    yield receiver
    receiver.close()


def fill(store: Store, count: int, first: int = 0) -> None:
    with store.spool() as spool:
        spool.append([{"id": f"r{number}", "n": number} for number in range(first, first + count)])


def shipper(store: Store, url: str, **settings: Any) -> Shipper:
    return Shipper(ShipSettings(url=url, **settings), store)


def waiting(store: Store) -> int:
    with store.spool() as spool:
        return spool.depth()


def test_what_waits_is_shipped_in_batches_and_then_forgotten(store: Store, host: Receiver) -> None:
    fill(store, 250)
    assert shipper(store, host.url, batch_records=100).ship() == 250
    assert waiting(store) == 0
    rows = host.rows()
    assert [row["n"] for row in rows] == list(range(250))
    assert [row["seq"] for row in rows] == list(range(1, 251))
    assert len(host.requests) == 3
    head = host.requests[0]
    assert (head["Content-Type"], head["Content-Encoding"]) == ("application/x-ndjson", "gzip")
    assert head["Greenup-Device"] == store.device_id
    assert head["Greenup-Spool"] == rows[0]["spool"]
    assert shipper(store, host.url).ship() == 0


@pytest.mark.parametrize("wrong", [500, 404, 301, "garbage", "nothing"])
def test_what_is_not_acknowledged_stays(store: Store, host: Receiver, wrong: object) -> None:
    fill(store, 5)
    host.plan = [wrong]
    with pytest.raises(DeviceFault, match=f"host {host.url}|stored nothing"):
        shipper(store, host.url).ship()
    assert waiting(store) == 5
    assert shipper(store, host.url).ship() == 5
    assert len(host.rows()) == 5


def test_an_answer_that_was_lost_stores_nothing_twice(store: Store, host: Receiver) -> None:
    fill(store, 5)
    host.plan = ["silent"]
    with pytest.raises(DeviceFault, match="cannot be reached"):
        shipper(store, host.url).ship()
    assert (waiting(store), len(host.rows())) == (5, 5)
    fill(store, 5, 5)
    assert shipper(store, host.url).ship() == 10
    assert [row["n"] for row in host.rows()] == list(range(10))


def test_a_part_that_is_acknowledged_is_forgotten_and_the_rest_comes_again(store: Store, host: Receiver) -> None:
    fill(store, 10)
    host.plan = ["half"]
    assert shipper(store, host.url).ship() == 10
    assert len(host.requests) == 2
    assert [row["n"] for row in host.rows()] == list(range(10))


def test_a_host_that_takes_smaller_batches_gets_them(store: Store, host: Receiver) -> None:
    host.most_lines = 7
    fill(store, 50)
    assert shipper(store, host.url).ship() == 50
    assert host.answers[:3] == [413] * 3
    assert len(host.rows()) == 50


def test_waits_grow_with_jitter_up_to_the_longest_and_end_with_the_outage(
    store: Store, host: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 3)
    host.plan = [500] * 60
    spans: list[tuple[float, float]] = []
    monkeypatch.setattr(shipping.random, "uniform", lambda low, high: spans.append((low, high)) or 0.75)
    waits: list[float] = []
    running = shipper(store, host.url, every_s=10.0, longest_back_off_s=600.0)
    running.run(lambda seconds: bool(waits.append(seconds)) or waiting(store) == 0)
    assert waits[:4] == [7.5, 15.0, 30.0, 60.0]
    assert max(waits[:-1]) == waits[-2] == 450.0
    assert waits[-1] == 10.0
    assert set(spans) == {(0.5, 1.0)}
    assert running.facts() == {"records_shipped_total": 3, "ship_failures": 0, "ship_fault": None}


def test_a_host_that_asks_for_patience_gets_it(store: Store, host: Receiver) -> None:
    fill(store, 1)
    host.plan = [503]
    waits: list[float] = []
    shipper(store, host.url, every_s=0.5).run(lambda seconds: bool(waits.append(seconds)) or len(waits) == 2)
    assert waits == [7.0, 0.5]


def test_after_days_offline_all_that_gathered_arrives(store: Store, host: Receiver) -> None:
    url, dead = host.url, socket.socket()
    dead.bind(("127.0.0.1", 0))
    away = shipper(store, f"http://127.0.0.1:{dead.getsockname()[1]}")
    for day in range(4):
        fill(store, 300, 300 * day)
        with pytest.raises(DeviceFault, match="cannot be reached"):
            away.ship()
    dead.close()
    assert shipper(store, url, batch_records=500).ship() == 1200
    assert [row["n"] for row in host.rows()] == list(range(1200))


def test_in_its_thread_it_ships_what_comes(store: Store, host: Receiver) -> None:
    running = shipper(store, host.url, every_s=0.02).start()
    for first in range(0, 30, 10):
        fill(store, 10, first)
    for _ in range(500):
        if waiting(store) == 0:
            break
        running._stop.wait(0.01)
    running.close()
    assert running.facts()["records_shipped_total"] == 30
    assert len(host.rows()) == 30


def test_a_host_that_knows_later_numbers_than_were_ever_given_meets_a_new_spool(
    store: Store, host: Receiver
) -> None:
    fill(store, 8)
    with store.spool() as spool:
        before = spool.uuid
        shutil.copy(store.home / "spool.sqlite", store.home / "image")
    fill(store, 8, 8)
    assert shipper(store, host.url).ship() == 16
    # The device's disk is restored from an image: it gives the same numbers out again.
    for file in store.home.glob("spool.sqlite*"):
        file.unlink()
    (store.home / "image").rename(store.home / "spool.sqlite")
    with store.spool() as spool:
        spool.append([{"id": f"new{number}"} for number in range(4)])
        assert spool.uuid == before
    shipper(store, host.url).ship()
    ids = {row["id"] for row in host.rows()}
    assert {f"new{number}" for number in range(4)} <= ids
    assert waiting(store) == 0


def test_tokens_are_read_anew_and_never_shown(store: Store, host: Receiver, tmp_path: Path) -> None:
    host.token = "s3cret"
    token = tmp_path / "token"
    token.write_text("wrong-one\n")
    running = shipper(store, host.url, token_file=token)
    fill(store, 2)
    with pytest.raises(DeviceFault, match="401") as refused:
        running.ship()
    assert "wrong-one" not in str(refused.value)
    token.write_text("bad\x00token")
    with pytest.raises(DeviceFault, match="holds no token") as unusable:
        running.ship()
    assert "bad" not in str(unusable.value)
    token.write_text("s3cret\n")
    assert running.ship() == 2


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "cannot be shipped"),
        ("ftp://host", "cannot be shipped"),
        ("http://", "cannot be shipped"),
        ("http://host:99999999", "cannot be shipped"),
        ("https://user:pass@host", "holds a user"),
        ("https://user:pass@host:none", "cannot be shipped"),
        ("http://192.0.2.1", "in the clear"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(store: Store, tmp_path: Path, url: str, said: str) -> None:
    (tmp_path / "token").write_text("t")
    with pytest.raises(UsageFault, match=said) as fault:
        shipper(store, url, token_file=tmp_path / "token")
    assert "pass" not in fault.value.message.replace("password", "")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run(command, check=True, capture_output=True)
    return files


def test_tls_with_a_ca_file_and_nothing_without(
    store: Store, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    receiver = Receiver(tmp_path, token="t")
    url = receiver.encrypted(*certificate)
    receiver.start()
    (tmp_path / "token").write_text("t")
    fill(store, 3)
    try:
        with pytest.raises(DeviceFault, match="certificate verify failed"):
            shipper(store, url, token_file=tmp_path / "token").ship()
        assert shipper(store, url, token_file=tmp_path / "token", ca_file=certificate[0]).ship() == 3
        elsewhere = url.replace("localhost", "127.0.0.1")
        fill(store, 1)
        with pytest.raises(DeviceFault, match="certificate verify failed"):
            shipper(store, elsewhere, ca_file=certificate[0]).ship()
    finally:
        receiver.close()


def test_the_verbs_ship_once_and_list(store: Store, host: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    fill(store, 4)
    runner = ["--home", str(store.home), "--json"]
    assert cli.run([*runner, "records", "--since", "1", "--limit", "2"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["seq"] for row in listed["records"]] == [2, 3]
    assert cli.run([*runner, "ship", "--once", "--url", host.url]) == 0
    assert json.loads(capsys.readouterr().out)["shipped"] == 4
    assert cli.run([*runner, "ship", "--once"]) == 2
    assert "url" in capsys.readouterr().err
    fill(store, 1)
    host.plan = [500]
    assert cli.run([*runner, "ship", "--once", "--url", host.url]) == 3


def test_the_verb_ships_until_it_is_stopped(store: Store, host: Receiver) -> None:
    fill(store, 4)
    command = [sys.executable, "-m", "greenup_runtime.cli", "--home", str(store.home), "ship", "--url", host.url]
    process = subprocess.Popen([*command, "--every-s", "0.05"], stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(1000):
            if waiting(store) == 0:
                break
            time.sleep(0.02)
    finally:
        process.send_signal(2)
    assert "shipped: 4" in process.communicate(timeout=60)[0]
