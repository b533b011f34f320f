"""Windows of a stream: whatever the chunks, those of the whole; and what cuts a stream into series."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from greenup_runtime.errors import DataFault
from greenup_runtime.preprocess import InputPolicy, to_windows
from greenup_runtime.streams.windows import StreamWindows

VALUES = st.floats(-1e6, 1e6, width=32)
EVER = 1e12


@st.composite
def streams(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray | None, InputPolicy, list[int]]:
    """A series with gaps, its timestamps if it has them, a policy, and where the chunks are cut."""
    channels, samples = draw(st.integers(1, 3)), draw(st.integers(1, 70))
    values = draw(arrays(np.float64, (channels, samples), elements=VALUES))
    gaps = draw(arrays(np.bool_, (channels, samples), elements=st.booleans()))
    if draw(st.booleans()):
        gaps[:, draw(st.integers(0, samples - 1))] = False
        values = np.where(gaps, np.nan, values)
    times_s = None
    if draw(st.booleans()):
        steps = draw(arrays(np.float64, samples, elements=st.sampled_from([0.01, 0.1, 0.1, 0.3, 1.7])))
        times_s = draw(st.sampled_from([0.0, 1_700_000_000.0])) + np.cumsum(steps)
    rate_hz = draw(st.sampled_from([None, 3.0, 10.0, 17.0]))
    policy = InputPolicy(
        channels,
        draw(st.integers(1, 20)),
        draw(st.sampled_from(["resample", "pad"])),
        rate_hz=rate_hz,
        source_rate_hz=draw(st.sampled_from([7.0, 10.0])) if rate_hz and times_s is None else None,
        window=draw(st.integers(1, 20)),
        stride=draw(st.sampled_from([None, 1, 2, 5, 30])),
    )
    return values, times_s, policy, draw(st.lists(st.integers(0, samples), max_size=8).map(sorted))


def streamed(
    values: np.ndarray,
    times_s: np.ndarray | None,
    policy: InputPolicy,
    cuts: list[int],
    longest_gap_s: float = EVER,
) -> tuple[list[Any], StreamWindows]:
    stream = StreamWindows(policy, timed=times_s is not None, longest_gap_s=longest_gap_s)
    found = []
    for begin, end in itertools.pairwise([0, *cuts, values.shape[1]]):
        found += stream.push(values[:, begin:end], None if times_s is None else times_s[begin:end])
    return [*found, *stream.finish()], stream


def batch(values: np.ndarray, policy: InputPolicy, times_s: np.ndarray | None) -> list[np.ndarray]:
    """The batch's windows; none where the recording is shorter than one."""
    try:
        return list(to_windows(values, policy, times_s))
    except DataFault as fault:
        if "a window takes" not in fault.message:
            raise
        return []


def by_samples_alone(policy: InputPolicy, times_s: np.ndarray | None) -> bool:
    return policy.rate_hz is None and times_s is None


@given(streams())
@settings(max_examples=80, deadline=None)
def test_a_stream_in_any_chunks_gives_the_windows_of_the_whole(case):
    values, times_s, policy, cuts = case
    if by_samples_alone(policy, times_s):
        # Nothing tells seconds: gaps are counted in samples, so let the source's rate be known.
        policy = InputPolicy(**{**policy.to_json(), "source_rate_hz": 10.0})
    found, stream = streamed(values, times_s, policy, cuts)
    expected = batch(values, policy, times_s)
    assert len(found) == len(expected)
    for window, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(window.values, wanted)
    assert stream.counts.series == 1
    assert stream.counts.missing_values == np.isnan(values).sum()


@given(streams(), st.sampled_from([0.0, 0.25, 1.0]))
@settings(max_examples=50, deadline=None)
def test_where_a_stream_is_cut_does_not_depend_on_the_chunks(case, longest_gap_s):
    values, times_s, policy, cuts = case
    whole, first = streamed(values, times_s, policy, [], longest_gap_s)
    single, second = streamed(values, times_s, policy, [*range(values.shape[1])], longest_gap_s)
    chunked, third = streamed(values, times_s, policy, cuts, longest_gap_s)
    assert first.counts == second.counts == third.counts
    for other in (single, chunked):
        assert [(w.start_s, w.end_s, w.filled) for w in other] == [(w.start_s, w.end_s, w.filled) for w in whole]
        for window, wanted in zip(other, whole, strict=True):
            np.testing.assert_array_equal(window.values, wanted.values)
    assert all(np.isfinite(window.values).all() for window in whole)


@given(streams(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_each_series_between_jumps_is_a_recording_of_its_own(case, refuse):
    values, times_s, policy, cuts = case
    if times_s is None:
        times_s = np.cumsum(np.resize([0.1, 0.1, 0.9], values.shape[1]))
    whole = np.nan_to_num(values)
    policy = InputPolicy(**{**policy.to_json(), "missing": "refuse" if refuse else "interpolate"})
    found, stream = streamed(whole, times_s, policy, cuts, 0.5)
    jumps = [int(jump) + 1 for jump in np.flatnonzero(np.diff(times_s) > 0.5)]
    expected = []
    for begin, end in itertools.pairwise([0, *jumps, whole.shape[1]]):
        expected += batch(whole[:, begin:end], policy, times_s[begin:end])
    np.testing.assert_array_equal(np.array([w.values for w in found]), np.array(expected))
    assert stream.counts.series == len(jumps) + 1
    assert stream.counts.cut_by_jump == len(jumps)


def ramp(count: int) -> np.ndarray:
    return np.arange(float(count))[None]


def test_a_refusing_policy_makes_no_window_that_holds_a_missing_value():
    values = ramp(10)
    values[0, 4] = np.nan
    policy = InputPolicy(1, 3, missing="refuse", window=3, stride=1)
    found, stream = streamed(values, None, policy, [5])
    assert [window.values[0, 0] for window in found] == [0, 1, 5, 6, 7]
    assert stream.counts.cut_by_missing == 1
    assert stream.counts.left_out_samples == 1


def test_a_gap_longer_than_a_window_is_left_out_and_a_shorter_one_filled():
    values = ramp(30)
    values[0, 5:7] = np.nan
    values[0, 12:20] = np.nan
    policy = InputPolicy(1, 4, window=4, source_rate_hz=1.0)
    found, stream = streamed(values, None, policy, [3, 6, 14], 0.0)
    assert [list(window.values[0]) for window in found] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
        [20, 21, 22, 23],
        [24, 25, 26, 27],
    ]
    assert [window.filled for window in found] == [0, 2, 0, 0, 0]
    assert (stream.counts.cut_by_missing, stream.counts.left_out_samples) == (1, 8)


def test_a_channel_that_never_speaks_makes_no_window_and_holds_no_memory():
    values = np.vstack([ramp(5000), np.full((1, 5000), np.nan)])
    found, stream = streamed(values, None, InputPolicy(2, 4, window=4), [*range(0, 5000, 7)], 0.0)
    assert found == []
    assert stream.counts.left_out_samples == 5000
    assert stream.counts.cut_by_missing == 1


def test_late_samples_are_left_out_and_a_clock_that_was_set_begins_anew():
    times_s = np.array([100.0, 101, 102, 101.5, 103, 20, 21, 22, 23])
    found, stream = streamed(ramp(9), times_s, InputPolicy(1, 4, window=4), [2, 6], longest_gap_s=10.0)
    assert [list(window.values[0]) for window in found] == [[0, 1, 2, 4], [5, 6, 7, 8]]
    assert [(window.start_s, window.end_s) for window in found] == [(100, 103), (20, 23)]
    assert (stream.counts.late_samples, stream.counts.cut_by_clock) == (1, 1)


def test_a_jump_of_years_costs_nothing():
    times_s = np.array([0.0, 1, 1e9, 1e9 + 1])
    found, stream = streamed(ramp(4), times_s, InputPolicy(1, 2, rate_hz=50.0, window=51), [], EVER)
    assert len(found) == 2
    assert stream.counts.cut_by_jump == 1


def test_windows_wait_no_longer_than_they_must():
    stream = StreamWindows(InputPolicy(1, 4, window=4, stride=2), timed=False)
    counts = [len([*stream.push(ramp(10)[:, at : at + 1])]) for at in range(10)]
    assert counts == [0, 0, 0, 1, 0, 1, 0, 1, 0, 1]


def test_what_cannot_be_cut_is_said_before_the_first_sample():
    with pytest.raises(DataFault, match="neither timestamps nor the rate"):
        StreamWindows(InputPolicy(1, 4, rate_hz=1.0, window=4), timed=False)
    with pytest.raises(DataFault, match='equalize = "crop"'):
        StreamWindows(InputPolicy(1, 8, "crop", window=4), timed=False)
    with pytest.raises(ValueError, match="a policy with a window"):
        StreamWindows(InputPolicy(1, 4), timed=False)
