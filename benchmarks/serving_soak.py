"""A long run in short: very many inferences, and whether memory, descriptors or latency grow."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats
from serving_clients import load
from serving_processes import Served

BLOCKS = 20
# The first blocks fill caches and pools; growth is looked for after them.
_SETTLED = 4


def soak(served: Served, request: bytes, inferences: int, connections: int) -> dict[str, Any]:
    """Ask so often, in blocks; each block's median latency, and what the process holds after it."""
    per_block = inferences // BLOCKS
    blocks = []
    for _ in range(BLOCKS):
        latencies, lasted_s = load(served.tcp, request, connections, lambda done: done >= per_block)
        held = {"resident_bytes": served.resident_bytes, "descriptors": served.descriptors}
        medians = {"median_s": float(np.median(latencies)), "p99_s": float(np.quantile(latencies, 0.99))}
        blocks.append({**held, **medians, "inferences": len(latencies), "lasted_s": lasted_s})
    settled = blocks[_SETTLED:]
    return {
        "inferences": sum(block["inferences"] for block in blocks),
        "grown_bytes": settled[-1]["resident_bytes"] - settled[0]["resident_bytes"],
        "grown_descriptors": settled[-1]["descriptors"] - settled[0]["descriptors"],
        "latency_drift": drift([block["median_s"] for block in settled]),
        "blocks": blocks,
    }


def drift(medians: list[float]) -> dict[str, float]:
    """Change of latency from the first to the last block, as a share, by the line through the logarithms."""
    line = stats.linregress(np.arange(len(medians)), np.log(medians))
    steps = len(medians) - 1
    half = float(stats.t.ppf(0.975, len(medians) - 2)) * float(line.stderr) * steps
    value = float(line.slope) * steps
    return {"value": value, "low": value - half, "high": value + half}
