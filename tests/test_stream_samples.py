"""Lines become samples, whatever a sensor or a person writes; the rest is counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenup_runtime.streams.samples import Lines, SampleReader


def read(
    channels: int, *lines: str, form: str = "auto", unit: str = "s"
) -> tuple[np.ndarray, object, SampleReader]:
    reader = SampleReader(channels, form, unit)
    values, times_s = reader.read([line.encode() for line in lines])
    return values.T, None if times_s is None else list(times_s), reader


@pytest.mark.parametrize(
    "line",
    [
        "1,2",
        "1;2",
        "1\t2",
        "1 2",
        " 1.0 , 2.0\r",
        "[1, 2]",
        '{"values": [1, 2]}',
        '{"other": 0, "values": [1.0, 2]}',
    ],
)
def test_two_channels_in_any_form(line: str) -> None:
    values, times_s, reader = read(2, line)
    np.testing.assert_array_equal(values, [[1, 2]])
    assert times_s is None
    assert reader.garbage == 0


@pytest.mark.parametrize(
    "line",
    [
        "1700000000.5,7",
        "2023-11-14T22:13:20.5Z,7",
        "2023-11-14 22:13:20.5,7",
        "2023-11-14T23:13:20.500000+01:00 7",
        '{"time": 1700000000.5, "value": 7}',
        '{"t": "2023-11-14T22:13:20.5Z", "values": [7]}',
    ],
)
def test_a_time_may_lead(line: str) -> None:
    values, times_s, _ = read(1, line)
    assert values == [[7]]
    assert times_s == [1_700_000_000.5]


@pytest.mark.parametrize(("unit", "time"), [("ms", "1500"), ("us", "1500000"), ("ns", "1500000000")])
def test_units_of_time(unit: str, time: str) -> None:
    _, times_s, _ = read(1, f"{time},7", unit=unit)
    assert times_s == pytest.approx([1.5])


@pytest.mark.parametrize("line", ["1,", "1,nan", "1,NaN", "1,NA", "[1, null]", '{"values": [1, null]}'])
def test_missing_values(line: str) -> None:
    values, _, reader = read(2, line)
    assert values[0, 0] == 1
    assert math.isnan(values[0, 1])
    assert reader.garbage == 0


@pytest.mark.parametrize(
    "line",
    [
        "value",
        "1,2,3,4",
        "1,inf",
        "1e39,1",
        "[1]",
        '{"values": "x"}',
        "{",
        "\x00\x01",
        "[1, true]",
        '{"a": 1}',
        "[[1,2]]",
    ],
)
def test_garbage_is_counted_and_an_example_kept(line: str) -> None:
    values, _, reader = read(2, "1,2", line, "", "3,4")
    np.testing.assert_array_equal(values, [[1, 2], [3, 4]])
    assert reader.garbage == 1
    assert reader.example


def test_a_stream_has_times_or_has_none_as_its_first_line_says() -> None:
    values, times_s, reader = read(1, "5,1", "2", "6,3")
    np.testing.assert_array_equal(values, [[1], [3]])
    assert times_s == [5, 6]
    assert reader.garbage == 1


def test_a_form_that_was_named_is_the_only_one() -> None:
    assert read(1, "[1]", form="csv")[2].garbage == 1
    assert read(1, "1;0", "1", form="json")[0].tolist() == [[1]]


@given(st.lists(st.binary(max_size=40)), st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_no_bytes_break_the_reader(lines: list[bytes], channels: int) -> None:
    reader = SampleReader(channels)
    values, times_s = reader.read(lines)
    assert values.shape == (channels, reader.samples)
    assert times_s is None or times_s.shape == (reader.samples,)
    assert not np.isinf(values).any()


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6).map(sorted))
@settings(max_examples=100, deadline=None)
def test_lines_are_the_same_in_any_chunks(data: bytes, cuts: list[int]) -> None:
    lines = Lines()
    found = [line for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) for line in lines.feed(data[a:b])]
    assert b"\n".join([*found, *(lines.end() or [b""])]) == data


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    lines = Lines()
    for _ in range(40):
        lines.feed(b"x" * 100_000)
    assert lines.too_long > 0
    assert len(lines.end()[0]) <= 1 << 20
