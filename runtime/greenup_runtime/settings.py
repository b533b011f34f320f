"""What a serving runner can be told, one class per table of `runner.toml`; units stand in the names.

Defaults are what a device on a desk needs: loopback only, every inference recorded, nothing shipped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


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

    mode: str = "each"
    """`each`, `every` (every n-th stands for n), `minute` (one aggregate per minute and variant), `off`."""
    every: int = 1
    meter: str = "auto"
    period_s: float = 1.0
    """Energy is shared out among the requests of one period; a crash loses at most its records."""
    max_records: int = 200_000
    max_age_days: float = 30.0


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
class RunnerSettings:
    """All tables of `runner.toml`."""

    server: ServerSettings = field(default_factory=ServerSettings)
    records: RecordSettings = field(default_factory=RecordSettings)
    ship: ShipSettings = field(default_factory=ShipSettings)
    log_format: str = "text"
    """`text` for people and journald, `json` for collectors of logs."""
    log_level: str = "info"
