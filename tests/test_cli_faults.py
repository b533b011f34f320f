"""Bad input at the command line: one message with its cause and a hint, the right exit code, nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_bundle
import small_recipe
from boards import rapl

from greenup.cli import run
from greenup_runtime.bundle import MANIFEST_NAME


def told(capsys: pytest.CaptureFixture[str], argv: list[str], code: int) -> str:
    assert run(argv) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("error: ") == 1
    assert captured.err.count("hint: ") == 1
    assert "Traceback" not in captured.err
    return captured.err


def arrays(folder: Path, **changed: np.ndarray) -> Path:
    """The small recipe with other arrays in its `cases.npz`."""
    recipe = small_recipe.write(folder)
    with np.load(folder / "cases.npz") as found:
        values = {name: found[name] for name in found.files}
    np.savez(folder / "cases.npz", **{**values, **changed})
    return recipe


def with_data(folder: Path, table: str) -> Path:
    """The small recipe with another `[data]` table."""
    recipe = small_recipe.write(folder)
    text = recipe.read_text()
    recipe.write_text(text.replace('path = "cases.npz"', table))
    return recipe


def lonely_class(folder: Path) -> Path:
    y = np.repeat(np.array(small_recipe.CLASSES), 20)
    y[-1] = "sauna"
    return arrays(folder, y=y)


def series_of_nan(folder: Path) -> Path:
    x = np.ones((60, small_recipe.LENGTH))
    x[7] = np.nan
    return arrays(folder, x=x)


def empty_series(folder: Path) -> Path:
    return arrays(folder, x=np.empty((60, 0)))


def missing_column(folder: Path) -> Path:
    recipe = with_data(folder, 'path = "meter.csv"\nchannels = ["power"]')
    (folder / "meter.csv").write_text("watt,label\n1,fridge\n2,kettle\n")
    return recipe


def shorter_than_a_patch(folder: Path) -> Path:
    return arrays(folder, x=np.random.default_rng(0).normal(size=(60, 5)))


def unknown_dataset(folder: Path) -> Path:
    return with_data(folder, 'dataset = "FridgeDoors"')


CASES: list[tuple[Callable[[Path], Path], int, str]] = [
    (lonely_class, 1, "class 'sauna' has 1"),
    (series_of_nan, 1, "x[7]"),
    (empty_series, 1, "empty"),
    (missing_column, 1, "power"),
    (shorter_than_a_patch, 2, "a window has 5 samples, fewer than one patch of 8"),
    (unknown_dataset, 1, "data set 'FridgeDoors' was not found"),
]


@pytest.mark.parametrize(("make", "code", "message"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_bad_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, make: Callable[[Path], Path], code: int, message: str
) -> None:
    argv = ["build", str(make(tmp_path / "r")), "--quiet", "--out", str(tmp_path / "out")]
    assert message in told(capsys, argv, code)
    assert not (tmp_path / "out").exists()


def test_a_missing_data_set_lists_what_the_folder_holds(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/Kettles.zip").write_bytes(b"")
    recipe = unknown_dataset(tmp_path / "r")
    message = told(capsys, ["build", str(recipe), "--quiet", "--data-dir", str(tmp_path / "data")], 1)
    assert "holds Kettles" in message
    assert "FridgeDoors_TRAIN.ts" in message


def test_a_stale_data_folder_matters_only_to_the_archives_sets(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENUP_DATA", str(tmp_path / "gone"))
    argv = ["build", str(unknown_dataset(tmp_path / "a")), "--quiet"]
    assert f"GREENUP_DATA names {tmp_path / 'gone'}, which is no folder" in told(capsys, argv, 1)
    argv = ["build", str(series_of_nan(tmp_path / "r")), "--quiet"]
    assert "x[7]" in told(capsys, argv, 1)  # the data itself was read
    assert run([*argv, "--data-dir", str(tmp_path / "gone")]) == 2
    assert "does not exist" in capsys.readouterr().err


NUMBERS = ["--burst-s", "--rate-hz", "--precision", "--external-hz"]


@pytest.mark.parametrize("option", NUMBERS)
@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_number_that_is_not_finite(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str, number: str
) -> None:
    assert run(["measure", str(tmp_path), option, number]) == 2
    message = capsys.readouterr().err
    assert f"Invalid value for '{option}': {number} is not " in message


def test_a_precision_of_one_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["measure", str(tmp_path), "--precision", "1"]) == 2
    assert "not in the range 0<x<1" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["push", "inspect", "measure"])
def test_a_manifest_of_a_newer_schema(capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: str) -> None:
    small_bundle.make(tmp_path / "out/bundle")
    path = tmp_path / "out/bundle" / MANIFEST_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))
    assert "schema version 99" in told(capsys, [verb, str(tmp_path / "out")], 4)


def test_an_unknown_verb_suggests_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["biuld"]) == 2
    assert "No such command 'biuld'" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["build-and-push", "tune", "measure"])
@pytest.mark.parametrize("meter", ["foo", "ina:bus=99"])
def test_a_meter_that_the_device_lacks_is_found_before_anything_is_built(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, meter: str
) -> None:
    rapl.amd(tmp_path / "board")
    monkeypatch.setenv("GREENUP_RUNNER_ROOT", str(tmp_path / "board"))
    out = tmp_path / "out"
    recipe = [str(small_recipe.write(tmp_path / "r")), "--out", str(out)]
    argv = [verb, *([str(out)] if verb == "measure" else recipe), "--meter", meter, "--quiet"]
    message = told(capsys, argv, 2)
    assert f"--meter {meter}: " in message
    assert "local has: rapl" in message
    assert not out.exists()
