"""Samples from a topic and labels to one, by a real Mosquitto that may be late, go away and come back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stream_bench import LENGTH, Running, committed, lines, until

from greenup_runtime.errors import UsageFault
from greenup_runtime.streams.mqtt import address_of

paho = pytest.importorskip("paho.mqtt.client")
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason="no mosquitto: apt-get install mosquitto")


class Broker:
    """Mosquitto on a port of its own, started and stopped by the test."""

    def __init__(self, folder: Path, settings: str = "allow_anonymous true\n") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._file = folder / "mosquitto.conf"
        self._file.write_text(f"user root\nlistener {self.port} 127.0.0.1\n{settings}")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._file)], stderr=subprocess.DEVNULL)
        until(self._answers, "the broker")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with socket.socket() as link:
            return link.connect_ex(("127.0.0.1", self.port)) == 0


class Peer:
    """Another client of the broker: the sensor, or whoever reads labels."""

    def __init__(self, broker: Broker, listens_to: str | None = None) -> None:
        self.heard: list[dict[str, Any]] = []
        self._topic = listens_to
        self._ready = False
        self.client: Any = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.on_connect = self._connected
        self.client.on_subscribe = lambda *_: setattr(self, "_ready", True)
        self.client.on_message = lambda _c, _d, message: self.heard.append(json.loads(message.payload))
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        until(lambda: self._ready, "the peer")

    def _connected(self, client: Any, *_: Any) -> None:
        if self._topic:
            client.subscribe(self._topic, 1)
        else:
            self._ready = True

    def publish(self, topic: str, text: str) -> None:
        self.client.publish(topic, text, qos=1).wait_for_publish(60)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("device") / "home"
    committed(folder)
    return folder


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    yield broker
    broker.stop()


@pytest.fixture
def peer(broker: Broker) -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(listens_to: str | None = None) -> Peer:
        made.append(Peer(broker, listens_to))
        return made[-1]

    yield make
    for each in made:
        each.close()


def subscribed(running: Running, count: int = 1) -> None:
    until(lambda: len(running.events("stream.subscribed")) >= count, "the subscription")


@needs_broker
def test_samples_of_a_topic_become_labels_on_another(home: Path, broker: Broker, peer: Any) -> None:
    broker.start()
    listener = peer("house/labels")
    with Running(home, f"{broker.url}/house/+/volts", "--output", f"{broker.url}/house/labels") as running:
        subscribed(running)
        sensor = peer()
        sensor.publish("house/kitchen/volts", lines(LENGTH - 1))
        sensor.publish("house/kitchen/volts", json.dumps({"value": 7}))
        sensor.publish("house/kitchen/volts", "no number")
        until(lambda: listener.heard, "a label")
        summary = running.end(signal.SIGTERM)
    assert listener.heard[0]["window"] == 1
    assert (summary["samples"], summary["garbage_lines"], summary["labels_sent"]) == (LENGTH, 1, 1)


@needs_broker
def test_a_broker_that_is_late_or_lost_is_tried_again(home: Path, broker: Broker, peer: Any) -> None:
    with Running(home, f"{broker.url}/volts") as running:
        running.await_event("stream.broker_awaited")
        broker.start()
        subscribed(running)
        peer().publish("volts", lines(LENGTH))
        running.await_labels(1)
        broker.stop()
        running.await_event("stream.broker_lost")
        broker.start()
        subscribed(running, 2)
        peer().publish("volts", lines(LENGTH))
        running.await_labels(2)
        summary = running.end(signal.SIGTERM)
    assert summary["broker_connections"] == 2


@needs_broker
def test_labels_wait_for_a_broker_and_of_too_many_the_oldest_go(home: Path, broker: Broker, peer: Any) -> None:
    with Running(home, "--output", f"{broker.url}/labels", "--held-labels", 3) as running:
        running.say(lines(LENGTH * 5))
        running.await_event("stream.labels_dropped")
        broker.start()
        listener = peer("labels")
        until(lambda: len(listener.heard) >= 3, "the labels that were held")
        summary = running.end()
    assert [label["window"] for label in listener.heard] == [3, 4, 5]
    assert (summary["labels_sent"], summary["labels_dropped"]) == (3, 2)


@needs_broker
def test_a_user_and_a_password_out_of_a_file(home: Path, tmp_path: Path) -> None:
    passwords, secret = tmp_path / "passwords", tmp_path / "secret"
    secret.write_text("hunter2hunter2\n")
    command = ["mosquitto_passwd", "-b", "-c", str(passwords), "sensor", "hunter2hunter2"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    passwords.chmod(0o644)
    broker = Broker(tmp_path, f"allow_anonymous false\npassword_file {passwords}\n")
    broker.start()
    try:
        with Running(home, f"{broker.url}/volts", "--mqtt-user", "nobody") as refused:
            assert "uthori" in refused.await_event("stream.broker_refused")["cause"]
        flags = ("--mqtt-user", "sensor", "--mqtt-password-file", secret)
        with Running(home, f"{broker.url}/volts", *flags) as running:
            subscribed(running)
            running.end(signal.SIGTERM)
            assert "hunter2" not in running.error()
    finally:
        broker.stop()


@needs_broker
def test_with_a_name_the_broker_keeps_samples_while_the_runner_is_away(
    home: Path, broker: Broker, peer: Any
) -> None:
    broker.start()
    flags = ("--mqtt-client-id", "kitchen-pi")
    with Running(home, f"{broker.url}/volts", *flags) as running:
        subscribed(running)
        running.end(signal.SIGTERM)
    peer().publish("volts", lines(LENGTH))
    with Running(home, f"{broker.url}/volts", *flags) as running:
        running.await_labels(1)


def test_addresses() -> None:
    assert address_of("mqtt://host/a/b#c".replace("#c", "/#")).topic == "a/b/#"
    assert address_of("mqtts://host/a").port == 8883
    assert address_of("mqtt://[::1]:7/a").host == "::1"
    assert str(address_of("mqtt://host/a%20b")) == "mqtt://host:1883/a b"
    with pytest.raises(UsageFault, match="no address of a broker"):
        address_of("mqtt://host:port/a")


def test_without_paho_it_says_how_to_install_it(home: Path, tmp_path: Path) -> None:
    (tmp_path / "paho").mkdir()
    (tmp_path / "paho/__init__.py").write_text("raise ImportError('left out by a test')\n")
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    with Running(home, "mqtt://127.0.0.1/volts", environment={"PYTHONPATH": path}) as running:
        assert running.process.wait(60) == 3
        assert "hint: pip install 'greenup-runtime[mqtt]'" in running.error()
