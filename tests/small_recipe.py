"""A recipe on data made here that trains in seconds, for tests of the whole loop."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

GREENUP = [sys.executable, "-c", "import sys; from greenup.cli import main; main()"]
CLASSES = ("kettle", "toaster", "fridge")
LENGTH = 48

TEXT = """\
name = "small"
seed = 1

[data]
path = "cases.npz"
validation = 0.3

[model]
preset = "base"
layers = 1
heads = 2
d_model = 16
d_ff = 32
patch = 8

[train]
epochs = {epochs}
batch = 16
threads = 1

[prune]
epochs = 1

[quantize]
calibration_windows = 16

[budget]
accuracy_drop_points = 5

[measure]
burst_s = 0.02
warmup_s = 0.05
pilot_rounds = 3
max_rounds = 3
"""


def write(folder: Path, *, epochs: int = 2, cases: int = 20) -> Path:
    """Write `cases.npz` (sines, squares and ramps with noise) and the recipe; returns the recipe's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    at = np.linspace(0, 4 * np.pi, LENGTH)
    shapes = [np.sin(at), np.sign(np.sin(at)), (at % np.pi) - 1.5]
    x = np.concatenate([shape + 0.2 * rng.normal(size=(cases, LENGTH)) for shape in shapes]).astype(np.float32)
    y = np.repeat(np.array(CLASSES), cases)
    np.savez(folder / "cases.npz", x=x, y=y)
    recipe = folder / "small.toml"
    recipe.write_text(TEXT.format(epochs=epochs))
    return recipe
