"""MQTT: samples of a topic, labels to a topic, by paho-mqtt; a broker that is away is tried again with back-off.

    mqtt://host[:1883]/topic/with/levels     mqtts:// with TLS, by default port 8883
    + and # are allowed in a source's topic

Passwords and keys are in files. paho reconnects by itself, also where the first connection fails; labels wait in
a bounded queue of ours meanwhile, so that what is lost is the oldest, and counted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from greenup_runtime import extras, logs
from greenup_runtime.errors import UsageFault
from greenup_runtime.settings import StreamSettings
from greenup_runtime.streams.source import IDLE_S

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_MOST_MESSAGES = 10_000
_FORM = "write mqtt://host/topic or mqtts://host:8883/topic"


@dataclass(frozen=True)
class Address:
    """A broker and a topic."""

    host: str
    port: int
    topic: str
    tls: bool

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}/{self.topic}"


def address_of(url: str, *, publishes: bool = False) -> Address:
    """The address that a URL names. Raises UsageFault for another form, or a password inside of it."""
    try:
        # In a topic # is a wildcard, not the beginning of a fragment.
        parts = urlsplit(url.replace("#", "%23"))
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError) as error:
        raise UsageFault(f"{logs.redacted('url', url)} is no address of a broker", _FORM) from error
    topic = unquote(parts.path[1:])
    if parts.password or parts.username:
        raise UsageFault("a broker's URL holds neither user nor password", "set mqtt_user and mqtt_password_file")
    if not parts.hostname or not topic:
        raise UsageFault(f"{url} names no {'topic' if parts.hostname else 'broker'}", _FORM)
    if publishes and set("+#") & set(topic):
        raise UsageFault(f"labels cannot go to the pattern {topic}", "name one topic without + and #")
    return Address(parts.hostname, port, topic, parts.scheme == "mqtts")


class Link:
    """One connection to a broker that comes back by itself; `on_connected` is called on paho's thread."""

    def __init__(self, address: Address, settings: StreamSettings, client_id: str) -> None:
        paho = extras.load("paho.mqtt.client", "paho-mqtt", "mqtt")
        self.address = address
        self.connections = 0
        self.failures = 0
        # Only a broker that knows us by name can keep samples for us.
        clean = not settings.mqtt_client_id or settings.mqtt_qos == 0
        self.client: Any = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean)
        self.ok: int = paho.MQTT_ERR_SUCCESS
        self.client.reconnect_delay_set(1, max(1, int(settings.longest_back_off_s)))
        _authenticate(self.client, settings)
        if address.tls:
            self._use_tls(settings)
        self.client.on_connect = self._connected
        self.client.on_disconnect = self._lost
        self.client.on_connect_fail = self._failed

    def start(self) -> None:
        """Connect, now or as soon as the broker is there."""
        self.client.connect_async(self.address.host, self.address.port, keepalive=30)
        self.client.loop_start()

    def stop(self) -> None:
        """Say goodbye and end the thread."""
        self.client.disconnect()
        self.client.loop_stop()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us."""
        return bool(self.client.is_connected())

    def on_connected(self) -> None:
        """What to do each time the broker has accepted us."""

    def _connected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.failures += 1
            logs.event("error", "stream.broker_refused", broker=str(self.address), cause=str(reason))
            return
        self.connections += 1
        logs.event("info", "stream.broker_connected", broker=str(self.address))
        self.on_connected()

    def _lost(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            logs.event("warning", "stream.broker_lost", broker=str(self.address), cause=str(reason))

    def _failed(self, _client: Any, _data: Any) -> None:
        self.failures += 1
        # Said when the trouble begins; later tries are only counted.
        level = "warning" if self.failures == 1 else "debug"
        logs.event(level, "stream.broker_awaited", broker=str(self.address), failures=self.failures)

    def _use_tls(self, settings: StreamSettings) -> None:
        try:
            self.client.tls_set(
                ca_certs=_name(settings.mqtt_ca_file),
                certfile=_name(settings.mqtt_certificate_file),
                keyfile=_name(settings.mqtt_key_file),
            )
        except (OSError, ValueError) as error:
            raise UsageFault(f"TLS to {self.address} cannot be set up: {error}", "mqtt_ca_file …") from error


class MqttSource:
    """Messages of a topic as lines; a message may hold several. When too many wait, the oldest go, counted."""

    live = True

    def __init__(self, settings: StreamSettings, client_id: str) -> None:
        self._link = Link(address_of(settings.source), settings, settings.mqtt_client_id or client_id + "-samples")
        self._qos = settings.mqtt_qos
        self._messages: deque[bytes] = deque(maxlen=_MOST_MESSAGES)
        self._arrived = threading.Condition()
        self._dropped = 0
        self._link.on_connected = self._subscribe  # type: ignore[method-assign]
        self._link.client.on_message = self._take
        self._link.client.on_subscribe = self._subscribed

    def read(self, stop: threading.Event) -> Iterator[bytes]:
        """Lines as they come; while the broker is away none."""
        self._link.start()
        try:
            while not stop.is_set():
                with self._arrived:
                    if not self._messages:
                        self._arrived.wait(IDLE_S)
                    data = b"".join(message + b"\n" for message in self._messages)
                    self._messages.clear()
                yield data
        finally:
            self._link.stop()

    def facts(self) -> dict[str, int]:
        """Connections made, failed tries, messages that nobody took."""
        return {
            "broker_connections": self._link.connections,
            "broker_failures": self._link.failures,
            "messages_dropped": self._dropped,
        }

    def _subscribe(self) -> None:
        self._link.client.subscribe(self._link.address.topic, self._qos)

    def _subscribed(self, _client: Any, _data: Any, _number: Any, reasons: Any, _properties: Any) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            logs.event("error", "stream.topic_refused", topic=self._link.address.topic, cause=refused[0])
        else:
            logs.event("info", "stream.subscribed", topic=self._link.address.topic)

    def _take(self, _client: Any, _data: Any, message: Any) -> None:
        with self._arrived:
            if len(self._messages) == _MOST_MESSAGES:
                self._dropped += 1
            self._messages.append(message.payload)
            self._arrived.notify()


class MqttOutput:
    """Labels as messages of a topic; while the broker is away they are held, and of too many the oldest go."""

    def __init__(self, settings: StreamSettings, client_id: str) -> None:
        address = address_of(settings.output, publishes=True)
        self._link = Link(address, settings, f"{settings.mqtt_client_id or client_id}-labels")
        self._qos = settings.mqtt_qos
        self._held: deque[str] = deque(maxlen=settings.held_labels)
        self._under_way: deque[Any] = deque()
        self._dropped = 0
        self._sent = 0
        self._link.start()

    def write(self, line: str) -> None:
        """Send a label, or hold it until the broker is there."""
        if len(self._held) == self._held.maxlen:
            if not self._dropped:
                logs.event("warning", "stream.labels_dropped", held=len(self._held))
            self._dropped += 1
        self._held.append(line)
        self.idle()

    def idle(self) -> None:
        """Send what is held, if the broker is there."""
        while self._under_way and self._under_way[0].is_published():
            self._under_way.popleft()
        # paho keeps what is under way through a lost connection; more than this waits here, where it is bounded.
        while self._held and self._link.connected and len(self._under_way) < _MOST_MESSAGES:
            message = self._link.client.publish(self._link.address.topic, self._held[0], self._qos)
            if message.rc != self._link.ok:
                return
            self._held.popleft()
            self._sent += 1
            self._under_way.append(message)

    def close(self, drain_s: float) -> None:
        """Send what is held, within so many seconds."""
        end_s = time.monotonic() + drain_s
        self.idle()
        while (self._held or self._under_way) and time.monotonic() < end_s:
            time.sleep(0.02)
            self.idle()
        self._dropped += len(self._held)
        self._link.stop()

    def facts(self) -> dict[str, int]:
        """Labels sent and dropped, connections made."""
        return {
            "labels_sent": self._sent,
            "labels_dropped": self._dropped,
            "output_connections": self._link.connections,
        }


def _authenticate(client: Any, settings: StreamSettings) -> None:
    if not settings.mqtt_user:
        return
    password = None
    if settings.mqtt_password_file is not None:
        try:
            password = settings.mqtt_password_file.read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            raise UsageFault(
                f"mqtt_password_file {settings.mqtt_password_file} cannot be read: {error.strerror}"
            ) from error
    client.username_pw_set(settings.mqtt_user, password)


def _name(path: Path | None) -> str | None:
    return None if path is None else str(path)
