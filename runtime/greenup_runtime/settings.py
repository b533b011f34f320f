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
    """Address to listen at; beyond loopback it takes a token or client certificates."""
    port: int = 8080
    """TCP port; 0 takes a free one."""
    socket: Path | None = None
    """Unix socket to listen at as well (mode 0660)."""
    token_file: Path | None = None
    """File with the token that requests must carry."""
    tls_certificate_file: Path | None = None
    """PEM certificate: speak TLS."""
    tls_key_file: Path | None = None
    """PEM key of the certificate."""
    client_ca_file: Path | None = None
    """PEM certificates of those who may issue clients theirs."""
    max_head_bytes: int = 16 << 10
    """Longest head of a request."""
    max_headers: int = 64
    """Most headers of a request."""
    max_body_bytes: int = 16 << 20
    """Of one request; also bounds what a compressed body may become."""
    max_held_bytes: int = 64 << 20
    """Bodies of all requests that wait or are being received."""
    max_connections: int = 256
    """Most connections at once."""
    max_rate_hz: float = 0.0
    """Requests per second that are answered; 0 is no limit."""
    head_timeout_s: float = 10.0
    """Longest time for a request's head."""
    body_timeout_s: float = 30.0
    """Longest time for a request's body."""
    idle_timeout_s: float = 75.0
    """Longest pause between requests of a connection."""
    drain_s: float = 10.0
    """Longest time for what runs at SIGTERM."""
    threads: int = 1
    """Threads of one inference."""
    allow_unsigned: bool = False
    """Serve what nobody signed; status and report show it."""


@dataclass(frozen=True)
class RecordSettings:
    """Which inferences leave a record, and how much waits on the device for a host that is away."""

    mode: Literal["each", "every", "minute", "off"] = "each"
    """`each`, `every` (every n-th stands for n), `minute` (one aggregate per minute and variant), `off`."""
    every: int = 1
    """The n of `every`."""
    meter: str = "auto"
    """`auto`, `none`, or a meter by name."""
    period_s: float = 1.0
    """Energy is shared out among the requests of one period. It is stored a period later, when those that ran
    across its end are known: a crash of the process loses the records of the last two or three."""
    max_records: int = 1_000_000
    """Most records that wait for a host; then the oldest go, and are counted."""
    max_bytes: int = 64 << 20
    """Most bytes that they take."""
    max_age_days: float = 30.0
    """Counted while the device runs: neither a clock that is set nor a month in a drawer costs a record."""


@dataclass(frozen=True)
class ShipSettings:
    """Where records go: the host's `POST /v1/records`. Without `url` they wait for `greenup-runner records`."""

    url: str = ""
    """The host's address, https://host[:port][/path]."""
    token_file: Path | None = None
    """File with the token that the host wants."""
    ca_file: Path | None = None
    """PEM certificates of those whom the host's certificate must come from."""
    batch_records: int = 5_000
    """Records in one request."""
    every_s: float = 10.0
    """Pause between two times."""
    longest_back_off_s: float = 600.0
    """Longest pause after failures."""


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
    """Threads of one inference."""
    serial_baud: int = 115_200
    """Bits per second of the serial line."""
    mqtt_qos: int = 1
    """Quality of service of topics that are read and written."""
    mqtt_client_id: str = ""
    """With an id the broker keeps samples of quality of service 1 and 2 while the runner is away."""
    mqtt_user: str = ""
    """Name that the broker wants."""
    mqtt_password_file: Path | None = None
    """File with the password that the broker wants."""
    mqtt_ca_file: Path | None = None
    """PEM certificates of those whom the broker's certificate must come from."""
    mqtt_certificate_file: Path | None = None
    """PEM certificate that the broker wants."""
    mqtt_key_file: Path | None = None
    """PEM key of that certificate."""
    held_labels: int = 10_000
    """How many labels wait for a broker that is away; then the oldest go."""
    longest_back_off_s: float = 60.0
    """Longest pause before the next try to reach a broker or a line."""
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
