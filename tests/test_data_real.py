"""The archive sets themselves, where GREENUP_DATA names a folder that holds them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from greenup import data
from greenup.recipe import DataSpec

pytestmark = pytest.mark.data


def load(name: str, **keys) -> data.DataSet:
    folder = os.environ.get("GREENUP_DATA")
    if not folder or not (Path(folder) / f"{name}.zip").is_file():
        pytest.skip(f"GREENUP_DATA names no folder with {name}.zip")
    return data.load(DataSpec(dataset=name, **keys), name=name.lower(), seed=0)


def test_plaid():
    found = load("PLAID")
    assert found.policy.length == 300
    assert found.classes == tuple(map(str, range(11)))
    learnt = np.concatenate([found.train.y, found.validation.y])
    assert np.bincount(learnt).tolist() == [33, 88, 57, 19, 78, 18, 57, 86, 69, 19, 13]
    assert np.bincount(found.test.y).tolist() == [33, 87, 58, 19, 78, 17, 57, 86, 70, 19, 13]
    assert any(note.startswith("series of 100 to 1344 samples become 300") for note in found.notes)
    assert any(note.startswith("5 of 537 test windows equal") for note in found.notes)
    assert all(np.isfinite(part.x).all() for part in (found.train, found.validation, found.test))


@pytest.mark.parametrize("equalize", ["pad", "crop"])
def test_plaid_padded_and_cropped(equalize):
    found = load("PLAID", equalize=equalize, length=128 if equalize == "pad" else 100)
    assert found.test.x.shape == (537, 1, 128 if equalize == "pad" else 100)


@pytest.mark.parametrize("name", ["RefrigerationDevices", "SmallKitchenAppliances"])
def test_sets_of_equal_length_keep_their_values(name):
    found = load(name)
    assert found.train.x.shape == (300, 1, 720)
    assert np.bincount(found.validation.y).tolist() == [25, 25, 25]
    assert np.bincount(found.test.y).tolist() == [125, 125, 125]
    # The files are z-normalised per series with the sample's standard deviation.
    np.testing.assert_allclose(found.test.x.std(axis=2, ddof=1, dtype=np.float64), 1.0, atol=1e-4)
    assert found.notes == ()


def test_the_hashes_are_those_of_the_archives_files():
    found = load("RefrigerationDevices")
    assert [entry["sha256"][:16] for entry in found.files] == ["3ff00c800357cb7a", "7c950f1112112e92"]
