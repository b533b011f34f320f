"""Goals of serving.py: what was reached, and whether that meets them."""

from __future__ import annotations

from typing import Any

_MB = 1e6
# Growth below one page group is the allocator's own; a leak of a byte per inference would be a megabyte.
_GROWTH_BYTES = 1e6
_DRIFT_SHARE = 0.02
# Way, of the median, of the 99th percentile, in seconds.
OVERHEADS = (
    ("in process", 20e-6, None),
    ("Unix socket, binary", 120e-6, None),
    ("TCP, binary", 250e-6, 1e-3),
    ("tritonclient, binary", 600e-6, None),
)
OVER_MLSERVER, BEYOND_BARE_BYTES, START_RATIO = 4.0, 20e6, 1.5


def goals(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Every goal: text, what was reached, met (None where it was not measured)."""
    rows: list[tuple[str, str, bool | None]] = []
    for way, median_s, p99_s in OVERHEADS:
        rows += _overhead(way, found["latency"].get(way), median_s, p99_s)
    over = found["throughput"]["TCP, binary"]["over_mlserver"]
    text = f"throughput of 8 connections ≥ {OVER_MLSERVER:g}× MLServer"
    rows.append((text, _ratio(over), over and over["value"] >= OVER_MLSERVER))
    start = found["starts"]["greenup"]
    beyond = start["beyond_bare_bytes"]["value"]
    rows.append((f"memory beyond bare ≤ {BEYOND_BARE_BYTES / _MB:g} MB", _mb(beyond), beyond <= BEYOND_BARE_BYTES))
    ratio = start["over_bare"]
    rows.append((f"start to first answer ≤ {START_RATIO:g}× bare", _ratio(ratio), ratio["value"] <= START_RATIO))
    rows.append(_soak(found["soak"]))
    return [{"goal": goal, "reached": reached, "met": met} for goal, reached, met in rows]


def _overhead(
    way: str, own: dict[str, Any] | None, median_s: float, p99_s: float | None
) -> list[tuple[str, str, bool | None]]:
    goal = f"{way}: overhead's median ≤ {median_s * 1e6:.0f} µs"
    if own is None:
        return [(goal, "not measured", None)]
    reached = own["median_s"]["value"]
    rows: list[tuple[str, str, bool | None]] = [(goal, f"{reached * 1e6:.0f} µs", reached <= median_s)]
    if p99_s:
        goal = f"{way}: overhead's 99th percentile ≤ {p99_s * 1e6:.0f} µs"
        rows.append((goal, f"{own['p99_s'] * 1e6:.0f} µs", own["p99_s"] <= p99_s))
    return rows


def _soak(found: dict[str, Any]) -> tuple[str, str, bool]:
    drift = found["latency_drift"]
    # Slower by more than the machine's own noise, and by more than matters.
    slower = drift["low"] > 0 and drift["value"] > _DRIFT_SHARE
    met = found["grown_bytes"] <= _GROWTH_BYTES and found["grown_descriptors"] <= 0 and not slower
    return f"soak of {found['inferences']:,} inferences: nothing grows", soak_text(found), met


def soak_text(found: dict[str, Any]) -> str:
    """What grew, in words."""
    drift = found["latency_drift"]
    return (
        f"memory {found['grown_bytes'] / _MB:+.2f} MB, descriptors {found['grown_descriptors']:+d}, "
        f"latency {100 * drift['value']:+.1f} % ({100 * drift['low']:+.1f} – {100 * drift['high']:+.1f})"
    )


def others(found: dict[str, Any]) -> list[dict[str, str]]:
    """Memory, start and soak as rows."""
    rows = []
    for name, own in found["starts"].items():
        text = f"{own['first_s']:.2f} s"
        if own["over_bare"]:
            text += f", {_ratio(own['over_bare'])} bare"
        rows.append({"what": f"{name}: start to first answer", "reached": text})
        memory = _mb(own["resident_bytes"])
        if name != "bare":
            memory += f", {_mb(own['beyond_bare_bytes']['value'])} beyond bare"
        rows.append({"what": f"{name}: resident memory after it", "reached": memory})
    rows.append({"what": f"soak, {found['soak']['inferences']:,} inferences", "reached": soak_text(found["soak"])})
    return rows


def _ratio(figure: dict[str, float] | None) -> str:
    return f"{figure['value']:.2f}× ({figure['low']:.2f} – {figure['high']:.2f})" if figure else "not measured"


def _mb(size: float) -> str:
    return f"{size / _MB:.1f} MB"
