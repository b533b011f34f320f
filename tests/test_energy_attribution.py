"""Joules of single requests: how they are found, and that records and idle are what the meter saw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenup_runtime.attribution import attribute, busy_seconds
from greenup_runtime.trial import FloatArray, MeterFacts

COUNTER = MeterFacts("c", "counter", "package", "a test", update_s=0.001)
POWER = MeterFacts("p", "power", "board", "a test", update_s=0.01)
IDLE_W, WORK_W = 2.0, 3.0
Spans = list[tuple[float, float]]


def energy_j(spans: Spans, at_s: FloatArray) -> FloatArray:
    """True joules up to some instants: idle always, and work while at least one request runs."""
    edges = np.unique(np.array([0.0, *np.ravel(spans), float(at_s.max())]))
    busy = [any(a <= m < b for a, b in spans) for m in (edges[1:] + edges[:-1]) / 2]
    joules = np.concatenate([[0.0], np.cumsum((IDLE_W + WORK_W * np.array(busy)) * np.diff(edges))])
    return np.interp(at_s, edges, joules)


def traced(meter: MeterFacts, spans: Spans, end_s: float, every_s: float | None = None) -> FloatArray:
    """What a meter shows: mean power since its last update, or the joules so far."""
    times = np.arange(0.0, end_s, every_s or meter.update_s)
    joules = energy_j(spans, times)
    if meter.kind == "counter":
        return np.column_stack([times, joules])
    return np.column_stack([times[1:], np.diff(joules) / np.diff(times)])


def test_a_long_request_is_measured_by_itself() -> None:
    spans = [(1.0, 1.5)]
    for meter, method in ((COUNTER, "counter"), (POWER, "trace")):
        found = attribute(traced(meter, spans, 3.0), meter, spans, (0.2, 2.8))
        assert found.requests[0].method == method
        assert found.requests[0].energy_j == pytest.approx(0.5 * (IDLE_W + WORK_W), rel=0.01)
        assert found.idle.energy_j == pytest.approx(2.1 * IDLE_W, rel=0.02)


def test_short_requests_share_what_is_not_idle_by_time() -> None:
    spans = [(1.0, 1.02), (1.3, 1.34), (1.7, 1.75)]
    found = attribute(traced(POWER, spans, 4.0), POWER, spans, (0.2, 3.8))
    assert [share.method for share in found.requests] == ["apportioned"] * 3
    for share, (start_s, end_s) in zip(found.requests, spans, strict=True):
        assert share.energy_j == pytest.approx((end_s - start_s) * (IDLE_W + WORK_W), rel=0.1)
        assert share.low_j is not None
        assert share.high_j is not None
        assert share.low_j <= share.energy_j <= share.high_j


def test_a_counter_read_only_at_the_ends_apportions() -> None:
    spans = [(1.0, 1.5), (2.0, 2.25)]
    found = attribute(traced(COUNTER, spans, 4.0, every_s=3.9), COUNTER, spans, (0.0, 3.9))
    assert {share.method for share in found.requests} == {"apportioned"}
    assert found.requests[0].energy_j == pytest.approx(2 * (found.requests[1].energy_j or 0))


def test_without_a_meter_or_readings_there_is_a_reason_and_no_joule() -> None:
    spans = [(1.0, 1.5)]
    nothing = attribute(np.empty((0, 2)), None, spans, (0.0, 2.0), "rapl: no right to read")
    assert (nothing.requests[0].energy_j, nothing.requests[0].reason) == (None, "rapl: no right to read")
    late = traced(POWER, spans, 3.0)
    assert attribute(late[late[:, 0] > 1.8], POWER, spans, (0.0, 2.0)).idle.method == "none"
    record = nothing.requests[0].to_record(None)
    assert record == {"energy_j": None, "method": "none", "reason": "rapl: no right to read"}


def test_requests_that_run_at_once_share_the_time() -> None:
    shared = busy_seconds([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0)], (0.0, 10.0))
    assert shared == pytest.approx([1.5, 1.5, 1.0])


@st.composite
def requests(draw: st.DrawFn) -> Spans:
    starts = draw(st.lists(st.floats(0.3, 4.0), min_size=1, max_size=12))
    lengths = draw(st.lists(st.floats(0.001, 0.8), min_size=len(starts), max_size=len(starts)))
    return [(start, start + length) for start, length in zip(starts, lengths, strict=True)]


@settings(max_examples=150, deadline=None)
@given(spans=requests(), meter=st.sampled_from([COUNTER, POWER]), noise=st.floats(0, 0.3), seed=st.integers(0, 99))
def test_records_and_idle_are_the_metered_energy(spans: Spans, meter: MeterFacts, noise: float, seed: int) -> None:
    trace = traced(meter, spans, 6.0)
    if meter.kind == "power":
        trace[:, 1] += np.random.default_rng(seed).normal(0, noise, len(trace))
    found = attribute(trace, meter, spans, (0.1, 5.5))
    whole = found.period
    assert whole.energy_j is not None
    assert whole.low_j is not None
    assert whole.high_j is not None
    parts = [*found.requests, found.idle]
    total_j = sum(share.energy_j for share in parts if share.energy_j is not None)
    assert total_j == pytest.approx(whole.energy_j, rel=1e-9)
    true_j = float(np.diff(energy_j(spans, np.array([0.1, 5.5])))[0])
    # The interval is meant to hold in 95 of 100 cases, twice its width in all that are ever drawn here.
    assert abs(true_j - whole.energy_j) <= whole.high_j - whole.low_j + 1e-6 * true_j
    for share in parts:
        assert (share.energy_j is None) == (share.method == "none")
        assert share.energy_j is None or share.energy_j > 0
        assert share.energy_j is not None or share.reason
