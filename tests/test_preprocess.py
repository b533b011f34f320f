"""Gaps, time base, length and segmentation, as properties and as sums worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from greenup_runtime.errors import DataFault
from greenup_runtime.preprocess import InputPolicy, resampled_length, segment, to_window, to_windows

WIDE = st.floats(-(2.0**100), 2.0**100, width=32)


@st.composite
def series_with_gaps(draw: st.DrawFn) -> np.ndarray:
    channels, samples = draw(st.integers(1, 3)), draw(st.integers(1, 60))
    values = draw(arrays(np.float64, (channels, samples), elements=WIDE))
    gaps = draw(arrays(np.bool_, (channels, samples)))
    gaps[:, draw(st.integers(0, samples - 1))] = False
    return np.where(gaps, np.nan, values)


@given(
    series_with_gaps(),
    st.integers(1, 80),
    st.sampled_from(["resample", "pad"]),
    st.sampled_from([None, 3.0, 10.0, 17.0]),
)
@settings(max_examples=150, deadline=None)
def test_any_series_becomes_a_finite_window_of_the_policys_shape(series, length, equalize, rate_hz):
    policy = InputPolicy(len(series), length, equalize, rate_hz=rate_hz, source_rate_hz=rate_hz and 10.0)
    window = to_window(series, policy)
    assert window.shape == (len(series), length)
    assert window.dtype == np.float32
    assert window.flags["C_CONTIGUOUS"]
    assert np.isfinite(window).all()
    # Linear interpolation and holding never leave the range of what was measured.
    assert (window.max(axis=1) <= np.nanmax(series, axis=1).astype(np.float32)).all()
    assert (window.min(axis=1) >= np.nanmin(series, axis=1).astype(np.float32)).all()


@given(series_with_gaps(), st.integers(1, 80), st.sampled_from(["resample", "pad"]))
@settings(max_examples=100, deadline=None)
def test_a_window_made_twice_is_the_window_made_once(series, length, equalize):
    policy = InputPolicy(len(series), length, equalize)
    once = to_window(series, policy)
    np.testing.assert_array_equal(to_window(once, policy), once)


@given(arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 40)), elements=WIDE))
@settings(max_examples=100, deadline=None)
def test_what_is_right_already_is_not_changed(series):
    policy = InputPolicy(*series.shape, rate_hz=50.0, source_rate_hz=50.0)
    np.testing.assert_array_equal(to_window(series, policy), series)


@given(series_with_gaps(), st.integers(1, 20), st.integers(1, 20), st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_served_window_equals_training_window(series, window, stride, length):
    """A client that cuts its gap-free stream as the training did, gets the windows of the training."""
    policy = InputPolicy(len(series), length, window=window, stride=stride)
    series = to_window(series, InputPolicy(len(series), series.shape[1]))
    if series.shape[1] < window:
        with pytest.raises(DataFault, match="a window takes"):
            to_windows(series, policy)
        return
    trained = to_windows(series, policy)
    starts = range(0, series.shape[1] - window + 1, stride)
    served = [to_window(series[:, start : start + window], policy) for start in starts]
    np.testing.assert_array_equal(trained, np.stack(served))


@given(series_with_gaps(), st.sampled_from([None, 4.0, 25.0]))
@settings(max_examples=60, deadline=None)
def test_the_policy_of_the_manifest_makes_the_same_window(series, rate_hz):
    policy = InputPolicy(len(series), 32, "pad", rate_hz=rate_hz, source_rate_hz=10.0)
    carried = InputPolicy.from_json(json.loads(json.dumps(policy.to_json())))
    assert carried == policy
    np.testing.assert_array_equal(to_window(series, carried), to_window(series, policy))


@given(st.integers(1, 200), st.floats(0.5, 40.0), st.floats(0.5, 40.0))
@settings(max_examples=100, deadline=None)
def test_resampled_length_is_the_length_that_comes_out(samples, rate_hz, source_rate_hz):
    count = resampled_length(samples, rate_hz, source_rate_hz)
    policy = InputPolicy(1, 1, "crop", rate_hz=rate_hz, source_rate_hz=source_rate_hz, window=1)
    expected = samples if rate_hz == source_rate_hz else len(to_windows(np.zeros((1, samples)), policy))
    assert count == expected


def test_gaps_are_interpolated_and_edges_held():
    window = to_window([np.nan, 1.0, np.nan, 3.0, np.nan], InputPolicy(1, 5))
    np.testing.assert_array_equal(window, [[1.0, 1.0, 2.0, 3.0, 3.0]])


def test_gaps_are_interpolated_over_time_where_timestamps_are_known():
    window = to_window([0.0, np.nan, 10.0], InputPolicy(1, 3), times_s=[0.0, 1.0, 10.0])
    np.testing.assert_allclose(window, [[0.0, 1.0, 10.0]])


def test_halving_and_doubling_the_rate():
    ramp = np.arange(9.0)
    down = InputPolicy(1, 5, "crop", rate_hz=5.0, source_rate_hz=10.0)
    np.testing.assert_allclose(to_window(ramp, down), [[0, 2, 4, 6, 8]])
    up = InputPolicy(1, 17, "crop", rate_hz=20.0, source_rate_hz=10.0)
    np.testing.assert_allclose(to_window(ramp, up), [np.arange(0, 8.5, 0.5)])


def test_uneven_timestamps_come_onto_an_even_time_base():
    times_s = np.array([0.0, 0.5, 2.0, 2.5, 4.0]) + 1_700_000_000
    values = (times_s - times_s[0]) * 3
    window = to_window(values, InputPolicy(1, 5, "crop", rate_hz=1.0), times_s)
    np.testing.assert_allclose(window, [[0, 3, 6, 9, 12]])


@pytest.mark.parametrize(
    ("equalize", "expected"),
    [("resample", [0.0, 1.5, 3.0]), ("pad", [0.0, 1.0, 2.0]), ("crop", [0.0, 1.0, 2.0])],
)
def test_a_longer_series(equalize, expected):
    np.testing.assert_allclose(to_window(np.arange(4.0), InputPolicy(1, 3, equalize)), [expected])


def test_a_shorter_series_is_stretched_padded_or_refused():
    np.testing.assert_allclose(to_window([0.0, 2.0], InputPolicy(1, 3)), [[0, 1, 2]])
    np.testing.assert_allclose(to_window([0.0, 2.0], InputPolicy(1, 3, "pad")), [[0, 2, 2]])
    with pytest.raises(DataFault, match='2 samples, equalize = "crop" takes the first 3'):
        to_window([0.0, 2.0], InputPolicy(1, 3, "crop"))


def test_overlapping_segments_and_a_dropped_tail():
    pieces = segment(np.arange(10.0)[None], window=4, stride=3)
    np.testing.assert_array_equal(pieces[:, 0], [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]])
    assert segment(np.arange(9.0)[None], window=4, stride=4).shape == (2, 1, 4)


def test_windows_do_not_overlap_unless_asked_to():
    assert to_windows(np.arange(10.0), InputPolicy(1, 4, window=4)).shape == (2, 1, 4)


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (np.empty((1, 0)), "the series is empty"),
        (np.array([[1.0, np.inf]]), "infinite"),
        (np.array([[1e39, 0.0]]), "too large for 32-bit"),
        (np.full((1, 4), np.nan), "channel 0 has no value at all"),
        (np.zeros((2, 4)), r"shape \[2, 4\], a shape of \[1, samples\]"),
        ([[1.0], [1.0, 2.0]], "no table of numbers"),
    ],
)
def test_a_bad_series_is_a_fault_that_says_why(series, message):
    with pytest.raises(DataFault, match=message):
        to_window(series, InputPolicy(1, 4))


def test_missing_values_can_be_refused():
    with pytest.raises(DataFault, match="1 values are missing"):
        to_window([1.0, np.nan], InputPolicy(1, 2, missing="refuse"))


@pytest.mark.parametrize(
    ("times_s", "message"),
    [
        ([0.0, 1.0], "2 timestamps for 3 samples"),
        ([0.0, 2.0, 1.0], "do not rise at sample 2"),
        ([0.0, np.nan, 1.0], "missing or infinite"),
        ([0.0, 1.0, 1e12], "more than 50000000 samples"),
    ],
)
def test_bad_timestamps_are_a_fault_that_says_why(times_s, message):
    with pytest.raises(DataFault, match=message):
        to_window([1.0, 2.0, 3.0], InputPolicy(1, 4, rate_hz=1.0), times_s)


def test_a_rate_needs_to_know_the_source():
    with pytest.raises(DataFault, match="neither timestamps nor the rate"):
        to_window([1.0, 2.0], InputPolicy(1, 2, rate_hz=1.0))


@pytest.mark.parametrize(
    "raw",
    [
        {"channels": 1},
        {"channels": 1, "length": 0},
        {"channels": 1, "length": 8, "equalize": "stretch"},
        {"channels": 1, "length": 8, "missing": "drop"},
        {"channels": 1, "length": 8, "rate_hz": -1.0},
        {"channels": 1, "length": 8, "unknown": 1},
    ],
)
def test_a_damaged_policy_is_not_accepted(raw):
    with pytest.raises((TypeError, ValueError)):
        InputPolicy.from_json(raw)
