"""The split: nothing on two sides, every class in training, the same for the same seed."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from greenup.data.recordings import Recording, class_names, did_you_mean
from greenup.data.split import Parts, divide
from greenup.recipe import DataSpec


def recordings(labels: list[str], groups: list[str] | None = None) -> list[Recording]:
    owners = groups or [None] * len(labels)
    return [Recording(np.zeros((1, 2)), label, "", owner) for label, owner in zip(labels, owners, strict=True)]


def spec(**keys) -> DataSpec:
    return DataSpec(path="any", **keys)


def sides(parts: Parts) -> list[np.ndarray]:
    return [parts.train, parts.validation, parts.test]


@given(st.lists(st.integers(3, 20), min_size=2, max_size=5), st.integers(0, 99), st.floats(0.05, 0.8))
@settings(max_examples=60, deadline=None)
def test_stratified_divides_every_class_over_all_parts(counts, seed, share):
    labels = [f"c{code}" for code, count in enumerate(counts) for _ in range(count)]
    parts = divide(recordings(labels), spec(validation=share, test=share), seed, own_test=None)
    np.testing.assert_array_equal(np.sort(np.concatenate(sides(parts))), np.arange(len(labels)))
    for side in sides(parts):
        assert {labels[index] for index in side} == set(labels)


@given(st.integers(4, 12), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_no_group_is_on_two_sides(homes, seed):
    labels = ["a", "b", "b"] * homes
    groups = [f"h{home}" for home in range(homes) for _ in range(3)]
    parts = divide(recordings(labels, groups), spec(split="group", group="home"), seed, own_test=None)
    seen = [{groups[index] for index in side} for side in sides(parts)]
    assert all(seen)
    assert sum(map(len, seen)) == len(set.union(*seen)) == homes


def test_a_class_in_few_groups_stays_in_training():
    """Of class c there are two homes of ten: taking one of them is fine, taking both is not."""
    groups = [f"h{home}" for home in range(10) for _ in range(4)]
    labels = ["a", "b", "a", "b"] * 8 + ["a", "b", "c", "c"] * 2
    for seed in range(20):
        parts = divide(recordings(labels, groups), spec(split="group", group="home"), seed, own_test=None)
        assert "c" in {labels[index] for index in parts.train}


def test_the_shares_are_those_asked_for():
    parts = divide(recordings(["a", "b"] * 100), spec(test=0.25, validation=0.2), 0, own_test=None)
    assert [len(side) for side in sides(parts)] == [120, 30, 50]


def test_a_test_part_that_came_with_the_data_is_taken_whole():
    parts = divide(recordings(["a", "b"] * 5), spec(), 0, own_test=7)
    np.testing.assert_array_equal(parts.test, np.arange(7))
    assert len(parts.train) + len(parts.validation) == 10


def test_numbers_as_labels_are_sorted_as_numbers():
    assert class_names(recordings(["10", "9", "-1"])) == ("-1", "9", "10")
    assert class_names(recordings(["10", "9", "x"])) == ("10", "9", "x")


def test_near_names():
    assert did_you_mean("Pover", ["power", "label"]) == ", did you mean 'power'?"
    assert did_you_mean("xyz", ["power", "label"]) == ""
