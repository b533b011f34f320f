"""Finding archive sets by name: folders, zips, aeon's own sets, earlier downloads, the archive."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from greenup import data
from greenup.recipe import DataSpec
from greenup_runtime.errors import DataFault

HEADER = "@problemName Toy\n@timeStamps false\n@univariate true\n@equalLength true\n@classLabel true a b\n@data\n"


def toy(cases: int, seed: int, label: str = "ab") -> str:
    rows = np.random.default_rng(seed).normal(size=(cases, 12))
    lines = [",".join(f"{value:.5f}" for value in row) + f":{label[case % 2]}" for case, row in enumerate(rows)]
    return HEADER + "\n".join(lines) + "\n"


def zipped(folder: Path, **members: str) -> Path:
    path = folder / "Toy.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(f"{name}.ts", text)
    return path


@pytest.fixture(autouse=True)
def _own_places(tmp_path, monkeypatch):
    """No test sees the user's data folder or cache, and none reaches the network."""
    monkeypatch.delenv("GREENUP_DATA", raising=False)
    monkeypatch.setenv("GREENUP_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")


@pytest.mark.parametrize("layout", ["zip", "folder", "plain"])
def test_a_set_is_found_in_each_layout_of_the_data_folder(tmp_path, layout):
    folder = tmp_path / "sets"
    inner = folder / "Toy" if layout == "folder" else folder
    inner.mkdir(parents=True)
    if layout == "zip":
        zipped(folder, Toy_TRAIN=toy(20, 1), Toy_TEST=toy(8, 2))
    else:
        (inner / "Toy_TRAIN.ts").write_text(toy(20, 1))
        (inner / "Toy_TEST.ts").write_text(toy(8, 2))
    found = data.load(DataSpec(dataset="Toy"), name="toy", seed=0, data_dir=folder)
    assert (len(found.train), len(found.validation), len(found.test)) == (16, 4, 8)
    assert found.classes == ("a", "b")
    assert [entry["name"] for entry in found.files] == ["Toy_TRAIN.ts", "Toy_TEST.ts"]
    assert found.split_id.startswith("default-train/test+val20-seed0-")


def test_the_same_bytes_have_the_same_key_wherever_they_lie(tmp_path, monkeypatch):
    packed, plain = tmp_path / "packed", tmp_path / "plain"
    packed.mkdir()
    plain.mkdir()
    zipped(packed, Toy_TRAIN=toy(20, 1), Toy_TEST=toy(8, 2))
    (plain / "Toy_TRAIN.ts").write_text(toy(20, 1))
    (plain / "Toy_TEST.ts").write_text(toy(8, 2))
    spec = DataSpec(dataset="Toy")
    key = data.fingerprint(spec, packed, 0)
    monkeypatch.setenv("GREENUP_DATA", str(plain))
    assert data.fingerprint(spec, None, 0) == key
    assert data.fingerprint(spec, None, 1) != key
    assert data.fingerprint(DataSpec(dataset="Toy", length=6), None, 0) != key
    (plain / "Toy_TEST.ts").write_text(toy(8, 3))
    assert data.fingerprint(spec, None, 0) != key


def test_training_and_test_are_never_mixed(tmp_path):
    zipped(tmp_path, Toy_TRAIN=toy(20, 1), Toy_TEST=toy(8, 2))
    found = data.load(DataSpec(dataset="Toy"), name="toy", seed=3, data_dir=tmp_path)
    rows = np.random.default_rng(1).normal(size=(20, 12)).round(5).astype(np.float32)
    learnt = np.concatenate([found.train.x, found.validation.x])[:, 0]
    np.testing.assert_array_equal(np.sort(learnt, axis=0), np.sort(rows, axis=0))
    rows = np.random.default_rng(2).normal(size=(8, 12)).round(5).astype(np.float32)
    np.testing.assert_array_equal(found.test.x[:, 0], rows)


def test_seed_decides_the_validation_part(tmp_path):
    zipped(tmp_path, Toy_TRAIN=toy(20, 1), Toy_TEST=toy(8, 2))
    first, again, other = (
        data.load(DataSpec(dataset="Toy"), name="toy", seed=seed, data_dir=tmp_path) for seed in (0, 0, 1)
    )
    assert first.digest() == again.digest() != other.digest()
    assert first.split_id == again.split_id
    assert first.split_id.rpartition("-")[2] != other.split_id.rpartition("-")[2]


def test_a_set_inside_aeon_needs_no_folder():
    found = data.load(DataSpec(dataset="BasicMotions"), name="motions", seed=0)
    assert found.train.x.shape == (32, 6, 100)
    assert found.classes == ("Badminton", "Running", "Standing", "Walking")
    assert np.bincount(found.test.y).tolist() == [10, 10, 10, 10]


def test_a_folder_without_the_set_falls_through_to_aeon(tmp_path):
    located = data.locate(DataSpec(dataset="ACSF1"), tmp_path)
    assert tmp_path not in located.train[0].path.parents


def test_doubles_between_training_and_test_are_counted_and_left(tmp_path):
    train, test = toy(20, 1), toy(8, 2)
    doubled = test + "\n".join(train.splitlines()[6:9]) + "\n"
    zipped(tmp_path, Toy_TRAIN=train, Toy_TEST=doubled)
    found = data.load(DataSpec(dataset="Toy"), name="toy", seed=0, data_dir=tmp_path)
    assert len(found.test) == 11
    assert any(note.startswith("3 of 11 test windows equal") for note in found.notes)


def test_a_set_that_lies_nowhere_is_downloaded_once(tmp_path, monkeypatch):
    """The network is the only stand-in here: aeon's own download reads these answers."""
    name = "ElectricDevices"
    texts = {f"{name}_TRAIN.ts": toy(20, 1), f"{name}_TEST.ts": toy(8, 2)}
    record = {"files": [{"key": key, "links": {"self": f"https://localhost/{key}"}} for key in texts]}
    asked = []

    def answer(request, **_options):
        asked.append(request.full_url)
        text = texts.get(request.full_url.rpartition("/")[2], json.dumps(record))
        return io.BytesIO(text.encode())

    monkeypatch.setattr("aeon.datasets._data_loaders.urlopen", answer)
    for _ in range(2):
        found = data.load(DataSpec(dataset=name), name="ed", seed=0)
        assert len(asked) == 3
    assert len(found.test) == 8
    folder = tmp_path / "cache" / "data"
    assert [path.name for path in folder.iterdir()] == [name]


def test_what_cannot_be_downloaded_is_a_fault_that_lists_what_is_there(tmp_path):
    zipped(tmp_path, Toy_TRAIN=toy(20, 1), Toy_TEST=toy(8, 2))
    with pytest.raises(DataFault) as caught:
        data.load(DataSpec(dataset="ElectricDevices"), name="ed", seed=0, data_dir=tmp_path)
    assert f"{tmp_path} holds Toy" in caught.value.message
    assert "aeon ships ACSF1" in caught.value.message
    assert "ElectricDevices could not be downloaded from the archive" in caught.value.message
    assert "ElectricDevices.zip" in str(caught.value.hint)
    assert "GREENUP_DATA" in str(caught.value.hint)
    assert not list((tmp_path / "cache" / "data").iterdir())


def test_a_mistyped_name_finds_the_near_one():
    with pytest.raises(DataFault, match="knows no classification set of that name, did you mean 'PLAID'"):
        data.load(DataSpec(dataset="plaidd"), name="plaid", seed=0)


def test_an_earlier_download_is_used(tmp_path):
    folder = tmp_path / "cache" / "data" / "Toy"
    folder.mkdir(parents=True)
    (folder / "Toy_TRAIN.ts").write_text(toy(20, 1))
    (folder / "Toy_TEST.ts").write_text(toy(8, 2))
    assert data.locate(DataSpec(dataset="Toy")).train[0].path.parent == folder


def test_a_name_cannot_leave_the_data_folder(tmp_path):
    (tmp_path / "Toy_TRAIN.ts").write_text(toy(20, 1))
    (tmp_path / "Toy_TEST.ts").write_text(toy(8, 2))
    (tmp_path / "inner").mkdir()
    with pytest.raises(DataFault, match="was not found"):
        data.locate(DataSpec(dataset="../Toy"), tmp_path / "inner")


def test_a_data_folder_that_is_none(tmp_path):
    with pytest.raises(DataFault, match="nowhere, which is no folder"):
        data.locate(DataSpec(dataset="Toy"), tmp_path / "nowhere")


def test_a_cut_zip(tmp_path):
    path = zipped(tmp_path, Toy_TRAIN=toy(20, 1), Toy_TEST=toy(8, 2))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataFault, match=r"Toy\.zip is damaged or was cut short"):
        data.load(DataSpec(dataset="Toy"), name="toy", seed=0, data_dir=tmp_path)


def test_a_zip_with_altered_bytes(tmp_path):
    path = zipped(tmp_path, Toy_TRAIN=toy(20, 1), Toy_TEST=toy(8, 2))
    damaged = bytearray(path.read_bytes())
    damaged[200:210] = b"0000000000"
    path.write_bytes(bytes(damaged))
    with pytest.raises(DataFault, match=r"Toy\.zip is damaged"):
        data.load(DataSpec(dataset="Toy"), name="toy", seed=0, data_dir=tmp_path)


def test_a_zip_without_the_test_part(tmp_path):
    zipped(tmp_path, Toy_TRAIN=toy(20, 1))
    with pytest.raises(DataFault, match=r"Toy\.zip holds no Toy_TEST\.ts"):
        data.locate(DataSpec(dataset="Toy"), tmp_path)


def test_locating_imports_nothing_heavy(tmp_path):
    """A build that is cached asks for the key only, so aeon (numba, pandas, scikit-learn) must stay out."""
    zipped(tmp_path, Toy_TRAIN=toy(20, 1), Toy_TEST=toy(8, 2))
    code = (
        "import sys; from pathlib import Path; from greenup import data; from greenup.recipe import DataSpec;"
        f"data.fingerprint(DataSpec(dataset='Toy'), Path({str(tmp_path)!r}), 0);"
        "data.fingerprint(DataSpec(dataset='ACSF1'), None, 0);"
        "sys.exit(', '.join({'aeon', 'pandas', 'numba', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
