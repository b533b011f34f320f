"""Data that cannot be used: each case says what is wrong, where, and what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from greenup import data
from greenup.recipe import DataSpec
from greenup_runtime.errors import DataFault

TS_HEAD = "@problemName X\n@classLabel true a b\n@data\n"
WAVES = np.random.default_rng(0).normal(size=(12, 16))
TWO_CLASSES = np.tile(["a", "b"], 6)


def fault(path: Path, **keys) -> DataFault:
    with pytest.raises(DataFault) as caught:
        data.load(DataSpec(path=path, **keys), name="own", seed=0)
    assert caught.value.hint
    return caught.value


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def npz(path: Path, **arrays) -> Path:
    np.savez(path / "own.npz", **{"x": WAVES, "y": TWO_CLASSES, **arrays})
    return path / "own.npz"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3:a\n4,5,6:b\n", "own.ts has no header: there is no @data line"),
        (TS_HEAD, "own.ts has no case after its @data line"),
        (TS_HEAD + "1,2,3:a\n1,2,3:\n", "own.ts: case 2 has no label"),
        (TS_HEAD + "1,2,3:a\n1,2,3:1,2,3:b\n", "Inconsistent number of dimensions in case 2"),
        (TS_HEAD + "1,2,3:a\n1,x,3:b\n", "could not convert string to float: 'x'"),
        ("@targetLabel true\n@data\n1,2:0.5\n", "own.ts is a regression set"),
        ("@classLabel false\n@data\n1,2\n", "own.ts has no labels"),
        ("@timestamps true\n" + TS_HEAD + "(0,1),(1,2):a\n", "own.ts holds timestamps"),
    ],
)
def test_ts(tmp_path, text, message):
    found = fault(write(tmp_path / "own.ts", text))
    assert message in found.message
    assert "own.ts" in found.message


@pytest.mark.parametrize(
    ("text", "keys", "message", "hint"),
    [
        ("power,lable\n1,a\n", {}, "has no column 'label', did you mean 'lable'?", "columns are: power, lable"),
        ("power,label\n1,a\n", {"channels": ("Pwer",)}, "no column 'Pwer', did you mean 'power'?", "power, label"),
        ("power,label\n1,a\n", {"time": "when"}, "no column 'when'", "columns are: power, label"),
        ("power,label\n1,a\n", {"group": "home"}, "no column 'home'", "columns are: power, label"),
        ("power,label\n1,a\nlow,a\n", {}, "'low' in column 'power', line 3, is no number", "channels = "),
        ("1.5,2\n1,a\n", {}, "has no header line", "first line names the columns"),
        ("power,power,label\n1,2,a\n", {}, "names a column twice", "own name"),
        ("power,label\n1,a\n1,a,3\n", {}, "cannot be read as CSV", "as many fields as the header"),
        ("power,label\n1,a,3\n", {}, "cannot be read as CSV", "as many fields as the header"),
        ("label\na\n", {}, "has no column with values", "columns are: label"),
        ("power,label\n", {}, "has a header but no samples", "write its samples"),
        ("", {}, "is empty", "header line"),
        ("time,power,label\n0,1,a\n", {}, "column 'time' looks like time", 'time = "time"'),
        ("t,power,label\nnoon,1,a\n", {"time": "t"}, "'noon' in column 't', line 2, is no time", "seconds"),
        ("power,label\n1,\n", {}, "holds no recording at all", "docs/data.md"),
        ("power,label\n" + "1,a\n1,b\n" * 4, {}, "too short: 1 samples", "one row per sample"),
    ],
)
def test_csv(tmp_path, text, keys, message, hint):
    found = fault(write(tmp_path / "own.csv", text), **keys)
    assert message in found.message
    assert hint in str(found.hint)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": TWO_CLASSES[:5]}, "y has shape [5] for 12 cases"),
        ({"y": np.array([{}] * 12)}, "cannot be read as .npz"),
        ({"y": np.linspace(0, 1, 12)}, "y holds fractions or NaN"),
        ({"y": np.array(["a"] * 12)}, "needs 2 classes or more, the data has a"),
        ({"y": np.array(["a"] * 11 + ["b"])}, "class 'b' has 1"),
        ({"x": WAVES[:, None, None]}, "x is float64 of shape [12, 1, 1, 16]"),
        ({"x": np.full((12, 16), np.nan)}, "channel 0 has no value at all"),
        ({"x": np.full((12, 16), np.inf)}, "the series holds infinite values"),
        ({"x": np.empty((12, 0))}, "too short: 0 samples"),
    ],
)
def test_npz(tmp_path, arrays, message):
    assert message in fault(npz(tmp_path, **arrays)).message


def test_a_bad_series_is_named(tmp_path):
    x = WAVES.copy()
    x[6] = np.nan
    assert "own.npz: x[6]: channel 0 has no value" in fault(npz(tmp_path, x=x)).message


def test_npz_without_x_lists_what_it_holds(tmp_path):
    np.savez(tmp_path / "own.npz", data=WAVES)
    found = fault(tmp_path / "own.npz")
    assert "has no array x or x_train" in found.message
    assert found.hint == "it holds: data"


def test_npz_that_was_cut_short(tmp_path):
    path = npz(tmp_path)
    path.write_bytes(path.read_bytes()[:300])
    assert "own.npz cannot be read as .npz" in fault(path).message


def test_a_class_that_only_the_test_part_has(tmp_path):
    write(tmp_path / "Own_TRAIN.ts", TS_HEAD + "1,2,3:a\n4,5,6:b\n" * 3)
    write(tmp_path / "Own_TEST.ts", TS_HEAD + "1,2,3:c\n")
    found = fault(tmp_path / "Own_TRAIN.ts")
    assert "classes that the training part has not: c" in found.message
    assert found.hint == "training knows: a, b"


def test_a_window_longer_than_every_recording(tmp_path):
    assert (
        "window = 99 is longer than every recording: the longest has 16" in fault(npz(tmp_path), window=99).message
    )


def test_recordings_of_different_channels(tmp_path):
    write(tmp_path / "own" / "a" / "1.csv", "power\n1\n")
    write(tmp_path / "own" / "b" / "1.csv", "power,volt\n1,2\n")
    assert "a/1.csv has power, b/1.csv has power, volt" in fault(tmp_path / "own").message
    np.savez(
        tmp_path / "own.npz",
        x_train=WAVES,
        y_train=TWO_CLASSES,
        x_test=np.zeros((2, 3, 16)),
        y_test=np.array(["a", "b"]),
    )
    assert "own.npz: x_train[0] has 1, own.npz: x_test[0] has 3" in fault(tmp_path / "own.npz").message


def test_too_few_groups(tmp_path):
    path = npz(tmp_path, home=np.repeat(["h1", "h2"], 6))
    found = fault(path, split="group", group="home")
    assert "needs 3 groups or more for training, validation and test, there are 2: h1, h2" in found.message


def test_a_class_that_lives_in_one_group(tmp_path):
    """Each class has one home, so whichever home is taken for the test, its class is lost for training."""
    labels = np.repeat(["a", "b", "c"], 4)
    found = fault(npz(tmp_path, y=labels, home=labels), split="group", group="home")
    assert "in none of 64 divisions by group a training case is left of class" in found.message


def test_groups_where_there_are_none(tmp_path):
    write(tmp_path / "own.ts", TS_HEAD + "1,2,3:a\n4,5,6:b\n" * 3)
    found = fault(tmp_path / "own.ts", split="group", group="home")
    assert "6 recordings have no home, the first is case 1 of own.ts" in found.message


def test_missing_values_where_they_are_refused(tmp_path):
    x = WAVES.copy()
    x[2, 5] = np.nan
    assert "own.npz: x[2]: 1 values are missing" in fault(npz(tmp_path, x=x), missing="refuse").message


def test_times_that_do_not_rise(tmp_path):
    rows = "".join(f"{time},{time},{label}\n" for label in "ab" * 3 for time in (0, 2, 1))
    path = write(tmp_path / "own.csv", "t,power,label\n" + rows)
    assert "of own.csv: the timestamps do not rise at sample 2" in fault(path, time="t", rate_hz=1.0).message


@pytest.mark.parametrize("key", ["channels", "time"])
def test_keys_for_csv_only(tmp_path, key):
    value = ("power",) if key == "channels" else "when"
    assert f"{key} names columns of CSV files" in fault(npz(tmp_path), **{key: value}).message


def test_paths(tmp_path):
    write(tmp_path / "my-data" / "notes.txt", "x")
    assert "does not exist, did you mean 'my-data'?" in fault(tmp_path / "mydata").message
    assert "has no .csv files that can be read; it holds notes.txt" in fault(tmp_path / "my-data").message
    assert "notes.txt is no .ts, .csv or .npz file" in fault(tmp_path / "my-data" / "notes.txt").message
    write(tmp_path / "my-data" / "one.csv", "x")
    write(tmp_path / "my-data" / "a" / "one.csv", "x")
    assert "both beside and inside sub-folders" in fault(tmp_path / "my-data").message
    write(tmp_path / "my-data" / "a" / "b" / "one.csv", "x")
    assert "has sub-folders of sub-folders" in fault(tmp_path / "my-data").message


def test_text_that_is_not_utf8(tmp_path):
    for name in ("own.csv", "own.ts"):
        (tmp_path / name).write_bytes("power,label\n1,Kühlschrank\n".encode("latin-1"))
        assert "is not UTF-8 text" in fault(tmp_path / name).message
