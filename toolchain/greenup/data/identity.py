"""What a data set is known by: the split's id, the digest of its arrays, and the quick key of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from greenup.data.files import Located
from greenup.data.split import Parts
from greenup.recipe import DataSpec


def split_id(located: Located, own_test: bool, parts: Parts, spec: DataSpec, seed: int) -> str:
    """Readable and short, as `default-train/test+val20-seed0-1f3a5c7e`; the hex is over each part's indices."""
    validation = f"val{100 * spec.validation:g}-seed{seed}"
    indices = (parts.train, parts.validation, parts.test)
    digest = hashlib.sha256(json.dumps([part.tolist() for part in indices]).encode()).hexdigest()[:8]
    if not own_test:
        return f"{spec.split}-test{100 * spec.test:g}+{validation}-{digest}"
    whose = "default" if located.archive else "own"
    by_group = "group-" if spec.split == "group" else ""
    return f"{whose}-train/test+{by_group}{validation}-{digest}"


def fingerprint(located: Located, spec: DataSpec, seed: int) -> str:
    """Hex key over the files' bytes, the recipe's `data` table and the seed; where files lie does not count."""
    table = spec.model_dump(mode="json", exclude={"path"})
    whole = {"files": located.hashes(), "kind": located.kind, "data": table, "seed": seed}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def digest(arrays: Iterable[npt.NDArray[Any]], facts: Any) -> str:
    """Hex digest over arrays (type, shape, bytes) and facts that JSON can hold."""
    running = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for array in arrays:
        running.update(f"{array.dtype.str}{array.shape}".encode())
        running.update(np.ascontiguousarray(array).data)
    return running.hexdigest()
