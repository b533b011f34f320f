"""What a serving runner can be told, one class per table of `runner.toml`; units stand in the names.

Defaults are what a device on a desk needs: loopback only, every inference recorded, nothing shipped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class ServerSettings:
    """Where and how the server listens. Beyond loopback it wants `token_file`, or `client_ca_file` with TLS."""

    host: str = "127.0.0.1"
    port: int = 8080
    socket: Path | None = None
    token_file: Path | None = None
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    client_ca_file: Path | None = None
    max_head_bytes: int = 16 << 10
    max_headers: int = 64
    max_body_bytes: int = 16 << 20
    """Of one request; also bounds what a compressed body may become."""
    max_held_bytes: int = 64 << 20
    """Bodies of all requests that wait or are being received."""
    max_connections: int = 256
    max_rate_hz: float = 0.0
    """Requests per second that are answered; 0 is no limit."""
    head_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    idle_timeout_s: float = 75.0
    drain_s: float = 10.0
    threads: int = 1
    allow_unsigned: bool = False


@dataclass(frozen=True)
class RecordSettings:
    """Which inferences leave a record, and how much waits on the device for a host that is away."""

    mode: Literal["each", "every", "minute", "off"] = "each"
    """`each`, `every` (every n-th stands for n), `minute` (one aggregate per minute and variant), `off`."""
    every: int = 1
    meter: str = "auto"
    period_s: float = 1.0
    """Energy is shared out among the requests of one period. It is stored a period later, when those that ran
    across its end are known: a crash of the process loses the records of the last two or three."""
    max_records: int = 1_000_000
    max_bytes: int = 64 << 20
    max_age_days: float = 30.0
    """Counted while the device runs: neither a clock that is set nor a month in a drawer costs a record."""


@dataclass(frozen=True)
class ShipSettings:
    """Where records go: the host's `POST /v1/records`. Without `url` they wait for `greenup-runner records`."""

    url: str = ""
    token_file: Path | None = None
    ca_file: Path | None = None
    batch_records: int = 5_000
    every_s: float = 10.0
    longest_back_off_s: float = 600.0


@dataclass(frozen=True)
class StreamSettings:
    """What `greenup-runner stream` reads, how it cuts windows, where labels go."""

    source: str = "-"
    """`-` (stdin), a file, `serial:/dev/ttyUSB0`, or `mqtt://host:1883/topic` (`mqtts://` with TLS)."""
    output: str = "-"
    """`-` (stdout), a file that is appended to, or `mqtt://host:1883/topic`."""
    samples: Literal["auto", "csv", "json"] = "auto"
    """The form of a sample's line; `auto` looks at each line."""
    labels: Literal["json", "text"] = "json"
    """The form of a label's line."""
    probabilities: bool = False
    """Whether a label in JSON carries the probability of every class."""
    time_unit: Literal["s", "ms", "us", "ns"] = "s"
    """What a numeric timestamp counts."""
    follow: bool = False
    """Whether a file is followed as it grows, through rotation and truncation, as `tail -F` does."""
    from_start: bool = False
    """Whether following begins with what the file holds already."""
    rate_hz: float = 0.0
    """Samples per second at which a file or stdin is replayed; 0 is as fast as it comes."""
    window: int = 0
    """Samples per window after resampling; 0 is the manifest's, else the model's own length."""
    stride: int = 0
    """Samples between the starts of windows; 0 is the manifest's, else no overlap."""
    longest_gap_s: float = 0.0
    """A longer gap begins the series anew; 0 is the length of one window."""
    queue_windows: int = 64
    """How many windows may wait for the model."""
    overflow: Literal["auto", "wait", "drop"] = "auto"
    """When the queue is full: let the source wait, or drop the oldest; `auto` waits for files and stdin."""
    threads: int = 1
    serial_baud: int = 115_200
    mqtt_qos: int = 1
    mqtt_client_id: str = ""
    """With an id the broker keeps samples of quality of service 1 and 2 while the runner is away."""
    mqtt_user: str = ""
    mqtt_password_file: Path | None = None
    mqtt_ca_file: Path | None = None
    mqtt_certificate_file: Path | None = None
    mqtt_key_file: Path | None = None
    held_labels: int = 10_000
    """How many labels wait for a broker that is away; then the oldest go."""
    longest_back_off_s: float = 60.0
    drain_s: float = 10.0
    """How long the end waits for what is under way."""


@dataclass(frozen=True)
class RunnerSettings:
    """All tables of `runner.toml`."""

    server: ServerSettings = field(default_factory=ServerSettings)
    records: RecordSettings = field(default_factory=RecordSettings)
    ship: ShipSettings = field(default_factory=ShipSettings)
    stream: StreamSettings = field(default_factory=StreamSettings)
    log_format: Literal["text", "json"] = "text"
    """`text` for people and journald, `json` for collectors of logs."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
