"""SIGKILL on the way to the host, at every call that changes a file: on the device, and on the host."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from crash import ship_steps
from crash.points import killed_runs, killer
from receiver import Receiver

from greenup_runtime.errors import DeviceFault
from greenup_runtime.settings import ShipSettings
from greenup_runtime.shipping import Shipper
from greenup_runtime.store import Store

COUNT = 10
RECEIVER = Path(__file__).with_name("receiver.py")


def filled(home: Path) -> Store:
    store = Store(home)
    with store.spool() as spool:
        for number in range(COUNT):
            spool.append([{"id": f"r{number}"}])
    return store


def check(receiver: Receiver, home: Path) -> None:
    """What was not yet there comes now; all is there, and once."""
    store = Store(home)
    Shipper(ShipSettings(url=receiver.url), store).ship()
    mine = [row["id"] for row in receiver.rows() if row["spool"] == name_of(store)]
    assert Counter(mine) == Counter(f"r{number}" for number in range(COUNT))
    with store.spool() as spool:
        assert spool.depth() == 0


def name_of(store: Store) -> str:
    with store.spool() as spool:
        return spool.uuid


def ship_and_die(memory: Path, every: int) -> int:
    """The device's process dies at each of its points."""
    receiver, visited = Receiver(memory).start(), 0
    ready = memory / "ready"
    filled(ready)
    command = [sys.executable, Path(ship_steps.__file__)]
    try:
        for folder, _, _ in killed_runs(
            lambda folder: shutil.copytree(ready, folder, dirs_exist_ok=True),
            lambda folder: [*command, folder, str(receiver.port)],
            memory,
            every=every,
        ):
            check(receiver, folder)
            with contextlib.closing(receiver._db()) as db:
                db.execute("DELETE FROM records")
            visited += 1
    finally:
        receiver.close()
    return visited


def store_and_die(memory: Path, every: int) -> int:
    """The host's process dies at each of its points, and comes back."""
    number = visited = 0
    while True:
        number += every
        folder = memory / str(number)
        (folder / "host").mkdir(parents=True)
        store = filled(folder / "device")
        died = _ship_to_dying_host(store, folder / "host", number)
        receiver = Receiver(folder / "host").start()
        try:
            check(receiver, store.home)
        finally:
            receiver.close()
        if not died:
            return visited
        visited += 1
        shutil.rmtree(folder)


def _ship_to_dying_host(store: Store, folder: Path, number: int) -> bool:
    environment = {"LD_PRELOAD": str(killer()), "CRASH_FOLDER": str(folder), "CRASH_AT": str(number)}
    process = subprocess.Popen(
        [sys.executable, RECEIVER, folder],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    if port:
        with contextlib.suppress(DeviceFault):
            Shipper(ShipSettings(url=f"http://127.0.0.1:{port}", batch_records=4), store).ship()
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_a_device_killed_while_it_ships_loses_and_doubles_nothing(memory: Path) -> None:
    assert ship_and_die(memory, every=40) >= 4


def test_a_host_killed_while_it_stores_loses_and_doubles_nothing(memory: Path) -> None:
    assert store_and_die(memory, every=16) >= 3


@pytest.mark.slow
def test_a_device_killed_at_any_point_loses_and_doubles_nothing(memory: Path) -> None:
    assert ship_and_die(memory, every=1) >= 20


@pytest.mark.slow
def test_a_host_killed_at_any_point_loses_and_doubles_nothing(memory: Path) -> None:
    assert store_and_die(memory, every=1) >= 20
