"""What fills a window of a trial: back-to-back inferences, inferences at a rate, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from greenup_runtime.clock import Clock

Infer = Callable[[], object]
EMPTY_CALLS = 2000
# A maximum-length sequence of 31 chips (x⁵ + x² + 1): its autocorrelation has one peak.
CHIPS = (1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 0)


def busy(infer: Infer, length_s: float, clock: Clock, most: int | None = None) -> list[float]:
    """Latencies of back-to-back inferences for at least so many seconds, or of so many at most."""
    latencies: list[float] = []
    begin = before = clock.now()
    while before - begin < length_s and (most is None or len(latencies) < most):
        infer()
        after = clock.now()
        latencies.append(after - before)
        before = after
    return latencies


def paced(infer: Infer, length_s: float, rate_hz: float, clock: Clock) -> list[float]:
    """Latencies of inferences at absolute times 1 / rate apart, with idle between, for so many seconds."""
    latencies: list[float] = []
    begin = clock.now()
    for turn in range(round(length_s * rate_hz)):
        wait_s = begin + turn / rate_hz - clock.now()
        if wait_s > 0:
            clock.sleep(wait_s)
        elif clock.now() - begin >= length_s:
            break
        before = clock.now()
        infer()
        latencies.append(clock.now() - before)
    clock.sleep(max(0.0, begin + length_s - clock.now()))
    return latencies


def overhead_s(clock: Clock) -> float:
    """Seconds that the loop itself takes per inference: the mean of an empty variant's calls."""
    return float(np.mean(busy(lambda: None, float("inf"), clock, most=EMPTY_CALLS)))


def empty(length_s: float, clock: Clock) -> int:
    """Call nothing for so many seconds through the loop of inferences; returns how often.

    On a clock that stands still without work it ends after the first piece.
    """
    calls, begin, before = 0, clock.now(), -1.0
    # In pieces, so that millions of latencies are not kept.
    while before < clock.now() < begin + length_s:
        before = clock.now()
        calls += len(busy(lambda: None, begin + length_s - before, clock, most=EMPTY_CALLS))
    return calls


def play(infer: Infer, chip_s: float, clock: Clock, chips: Sequence[int] = CHIPS) -> list[list[float]]:
    """Play the load pattern; returns [start, end] in seconds of each stretch of work, as it really was."""
    begin = clock.now()
    played: list[list[float]] = []
    for turn, chip in enumerate(chips):
        end_s = begin + (turn + 1) * chip_s
        start_s = clock.now()
        if chip:
            busy(infer, end_s - start_s, clock)
            played.append([start_s, clock.now()])
        else:
            clock.sleep(max(0.0, end_s - start_s))
    return played
