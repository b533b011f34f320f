"""Data of one's own: CSV in its layouts, `.npz`, `.ts`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from greenup import data, recipe
from greenup.recipe import DataSpec
from greenup_runtime.preprocess import to_windows

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "own-data.toml"


def load(path: Path, seed: int = 0, **keys) -> data.DataSet:
    return data.load(DataSpec(path=path, **keys), name="own", seed=seed)


def by_class(folder: Path, files: int = 5, samples: int = 40) -> Path:
    """`folder/<class>/<n>.csv`, with the class in the first digit of every value."""
    for code, label in enumerate(("fridge", "kettle")):
        (folder / label).mkdir(parents=True)
        for number in range(files):
            values = 100 * code + np.arange(samples) + 1000 * number
            text = "power\n" + "\n".join(map(str, values)) + "\n"
            (folder / label / f"{number}.csv").write_text(text)
    return folder


def test_a_folder_per_class(tmp_path):
    found = load(by_class(tmp_path / "my-data"))
    assert found.classes == ("fridge", "kettle")
    assert [len(part) for part in (found.train, found.validation, found.test)] == [6, 2, 2]
    assert found.train.x.shape == (6, 1, 40)
    np.testing.assert_array_equal(found.train.x[:, 0, 0] % 1000 // 100, found.train.y)
    assert found.split_id.startswith("stratified-test20+val20-seed0-")
    assert {entry["name"] for entry in found.files} >= {"fridge/0.csv", "kettle/4.csv"}


def test_no_recording_is_on_two_sides_when_windows_overlap(tmp_path):
    found = load(by_class(tmp_path / "my-data"), window=10, stride=3)
    assert found.train.x.shape == (6 * 11, 1, 10)
    sides = [set((part.x[:, 0, 0] // 100).tolist()) for part in (found.train, found.validation, found.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 10
    assert found.notes == ("recordings are cut into windows of 10 samples, one every 3",)


def test_a_served_recording_becomes_the_windows_that_were_learnt(tmp_path):
    """The file as a client would send it, through the policy of the manifest."""
    folder = by_class(tmp_path / "my-data", samples=50)
    found = load(folder, window=10, stride=5, rate_hz=0.5, source_rate_hz=1.0, length=7)
    every = np.concatenate([found.train.x, found.validation.x, found.test.x])
    served = to_windows(np.loadtxt(folder / "kettle" / "3.csv", skiprows=1), found.policy)
    assert served.shape == (4, 1, 7)
    for window in served:
        assert (every == window).all(axis=(1, 2)).sum() == 1


def test_one_file_with_a_label_column_semicolons_and_a_byte_order_mark(tmp_path):
    rows = []
    for run in range(8):
        word = "kettle" if run % 2 else "fridge"
        rows += [f"{run},{sample % 10};{word}" for sample in range(12 if run else 3)]
    path = tmp_path / "meter.csv"
    path.write_bytes(("power;label\r\n" + "\r\n".join(rows) + "\r\n").encode("utf-8-sig"))
    found = load(path, window=5, stride=2)
    assert found.classes == ("fridge", "kettle")
    whole = np.concatenate([found.train.x, found.validation.x, found.test.x])[:, 0]
    labels = np.concatenate([found.train.y, found.validation.y, found.test.y])
    runs = np.floor(whole).astype(int)
    assert (runs == runs[:, :1]).all()
    np.testing.assert_array_equal(runs[:, 0] % 2, labels)
    assert whole.min() >= 1.0
    assert "1 recordings shorter than a window of 5 were left out" in found.notes


def test_gaps_and_rows_without_a_label(tmp_path):
    path = tmp_path / "meter.csv"
    stretches = ["1,a\n,a\n3,a\n", "5,b\n?,b\nNaN,b\n8,b\n", "9,\n"]
    path.write_text("power,label\n" + "".join(stretches) * 4)
    found = load(path, length=4, equalize="pad")
    assert "4 rows without a label were left out" in found.notes
    assert "12 missing values were filled by linear interpolation" in found.notes
    by_label = {label: found.train.x[found.train.y == index] for index, label in enumerate(found.classes)}
    np.testing.assert_array_equal(by_label["a"][0], [[1, 2, 3, 3]])
    np.testing.assert_array_equal(by_label["b"][0], [[5, 6, 7, 8]])


def test_a_blank_line_in_a_single_column_is_a_missing_value(tmp_path):
    folder = by_class(tmp_path / "my-data", samples=3)
    for path in folder.rglob("*.csv"):
        path.write_text('"power, W"\n1\n\n3\n\n')
    found = load(folder)
    np.testing.assert_array_equal(found.train.x[0], [[1, 2, 3]])
    assert found.notes[0] == "10 missing values were filled by linear interpolation"


def test_channels_time_and_group_are_chosen_by_name(tmp_path):
    path = tmp_path / "meter.csv"
    rows = ["when,home,power,volt,note,label"]
    for home in range(6):
        for label in "ab":
            rows += [f"2026-01-31T12:00:{2 * step:02d},h{home},{10 * home},{step},x,{label}" for step in range(11)]
    path.write_text("\n".join(rows))
    found = load(path, channels=("volt", "power"), time="when", group="home", split="group", rate_hz=1.0)
    assert found.train.x.shape[1:] == (2, 21)
    np.testing.assert_allclose(found.train.x[0, 0], np.arange(21) / 2)
    assert found.policy.source_rate_hz == 0.5  # by the times, for series that come to the runner without
    assert any("0.5 Hz" in note for note in found.notes)
    homes = [set(part.x[:, 1, 0].tolist()) for part in (found.train, found.validation, found.test)]
    assert sum(map(len, homes)) == len(set.union(*homes)) == 6
    assert found.split_id.startswith("group-test20+val20-seed0-")


def test_a_decimal_comma_far_down_and_in_times(tmp_path):
    rows = [f"{step / 2:.1f};{step % 7};{label}".replace(".", ",") for label in "abab" * 3 for step in range(900)]
    rows[-1] = "449,5;0,5;b"  # the only value with a fraction
    path = tmp_path / "meter.csv"
    path.write_text("when;power;label\n" + "\n".join(rows))
    found = load(path, time="when", rate_hz=1.0, window=400)
    assert found.policy.source_rate_hz == 2.0
    assert found.train.x.shape[1:] == (1, 400)


def test_many_files_have_one_hash(tmp_path):
    folder = by_class(tmp_path / "my-data", files=9)
    first = load(folder).files
    assert [entry["name"] for entry in first] == ["my-data/ (18 files)"]
    (folder / "fridge" / "0.csv").write_text("power\n1\n2\n3\n")
    assert load(folder).files[0]["sha256"] != first[0]["sha256"]


def test_npz_with_words_and_padding(tmp_path):
    x = np.arange(240.0).reshape(12, 20)
    x[::2, 15:] = np.nan
    x[1, 3] = np.nan
    np.savez(tmp_path / "own.npz", x=x, y=np.array(["on", "off"] * 6))
    found = load(tmp_path / "own.npz")
    assert found.classes == ("off", "on")
    assert "6 cases of x end in NaN: taken as padding and left out" in found.notes
    assert any(note.startswith("series of 15 to 20 samples become") for note in found.notes)


def test_npz_with_its_own_test_part_and_groups(tmp_path):
    generator = np.random.default_rng(0)
    np.savez(
        tmp_path / "own.npz",
        x_train=generator.normal(size=(12, 2, 8)),
        y_train=np.tile([10, 9], 6),
        home_train=np.repeat([1, 2, 3], 4),
        x_test=generator.normal(size=(5, 2, 8)),
        y_test=np.full(5, 9),
    )
    found = load(tmp_path / "own.npz", group="home", split="group")
    assert found.classes == ("9", "10")
    assert [len(part) for part in (found.train, found.validation, found.test)] == [8, 4, 5]
    assert found.test.y.tolist() == [0] * 5
    assert found.split_id.startswith("own-train/test+group-val20-seed0-")


def test_ts_labels_keep_their_case_and_blank_lines_do_no_harm(tmp_path):
    head = "﻿#comment\n@problemName X\n@univariate false\n@equalLength false\n@classLabel true Banana Nan\n@data\n"
    cases = "1,2,?:4,5,6:Banana\n1,2:3,nan:Nan\n" * 4
    (tmp_path / "own.ts").write_text(head + cases + "\n\n", encoding="utf-8")
    found = load(tmp_path / "own.ts", length=3, equalize="pad")
    assert found.classes == ("Banana", "Nan")
    np.testing.assert_array_equal(found.train.x[found.train.y == 0][0], [[1, 2, 2], [4, 5, 6]])
    np.testing.assert_array_equal(found.train.x[found.train.y == 1][0], [[1, 2, 2], [3, 3, 3]])


@pytest.mark.parametrize("named", ["Own_TRAIN.ts", "Own_TEST.ts", "."])
def test_a_ts_pair_is_taken_together(tmp_path, named):
    head = "@problemName X\n@classLabel true a b\n@data\n"
    (tmp_path / "Own_TRAIN.ts").write_text(head + "1,2,3:a\n4,5,6:b\n" * 3)
    (tmp_path / "Own_TEST.ts").write_text(head + "7,8,9:a\n")
    found = load(tmp_path / named)
    assert [len(part) for part in (found.train, found.validation, found.test)] == [4, 2, 1]
    np.testing.assert_array_equal(found.test.x, [[[7, 8, 9]]])


@pytest.mark.parametrize(("equalize", "length"), [("resample", 12), ("pad", 22), ("crop", 2)])
def test_a_length_left_open_comes_from_the_training_series_only(tmp_path, equalize, length):
    head = "@problemName X\n@equalLength false\n@classLabel true a b\n@data\n"
    series = [",".join(["1"] * size) for size in (2, 12, 22)]
    (tmp_path / "Own_TRAIN.ts").write_text(head + "".join(f"{one}:a\n{one}:b\n" for one in series * 5))
    (tmp_path / "Own_TEST.ts").write_text(head + ",".join(["1"] * 90) + ":a\n")
    found = load(tmp_path / "Own_TRAIN.ts", equalize=equalize)
    assert found.policy.length == found.test.x.shape[2] == length


def test_nearly_constant_windows_are_counted(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 16))
    x[:3] *= 1e-6
    np.savez(tmp_path / "own.npz", x=x, y=np.tile([0, 1], 10))
    assert load(tmp_path / "own.npz").notes == (
        "3 of 20 windows have a channel with a standard deviation below 0.001",
    )


def test_the_digest_follows_the_values_and_the_classes(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(20, 16)), np.tile(["a", "b"], 10)
    digests = set()
    for number, (values, labels) in enumerate([(x, y), (x, y), (x + 1, y), (x, np.char.add(y, "!"))]):
        np.savez(tmp_path / f"{number}.npz", x=values, y=labels)
        digests.add(load(tmp_path / f"{number}.npz").digest())
    assert len(digests) == 3


def test_the_example_recipe_reads_the_layout_that_it_shows(tmp_path):
    shutil.copy(EXAMPLE, tmp_path)
    generator = np.random.default_rng(0)
    for label, level in (("fridge", 80.0), ("kettle", 2000.0)):
        (tmp_path / "my-data" / label).mkdir(parents=True)
        for day in range(3):
            rows = [f"{step}.0,house-{day},{level + generator.normal():.1f}" for step in range(180)]
            path = tmp_path / "my-data" / label / f"day-{day + 1}.csv"
            path.write_text("time,home,power\n" + "\n".join(rows))
    asked = recipe.load(tmp_path / EXAMPLE.name)
    found = data.load(asked.data, name=asked.name, seed=asked.seed)
    assert found.train.x.shape == (10, 1, 60)
    assert found.classes == ("fridge", "kettle")
