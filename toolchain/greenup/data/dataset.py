"""What the data stage hands to training: raw windows in three parts, and the facts that stand beside figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from greenup.data import identity
from greenup_runtime.preprocess import InputPolicy


@dataclass(frozen=True)
class Windows:
    """Raw windows `x` [cases, channels, length], not normalised, and their classes `y` [cases] as indices.

    `unit` [cases] names what no further division may tear apart: the recording, or its group.
    """

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    unit: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class DataSet:
    """A data set ready for training; `policy` makes served windows as these were made.

    `files` are `{"name", "sha256"}`; `split_id` names the division; `notes` say what was done to the data.
    """

    name: str
    classes: tuple[str, ...]
    train: Windows
    validation: Windows
    test: Windows
    files: tuple[dict[str, str], ...]
    split_id: str
    policy: InputPolicy
    notes: tuple[str, ...]

    def digest(self) -> str:
        """Hex digest of the arrays, the classes and the policy: equal for equal data."""
        parts = (self.train, self.validation, self.test)
        arrays = [array for part in parts for array in (part.x, part.y)]
        return identity.digest(arrays, {"classes": self.classes, "policy": self.policy.to_json()})
