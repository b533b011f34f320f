"""A trained model on disk: its configuration as JSON and its weights as .npz, which load without pickle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from greenup.model import ModelConfig
from greenup_runtime.files import write_json

State = dict[str, torch.Tensor]


def save(folder: Path, config: ModelConfig, state: State) -> None:
    """Write `model.json` and `weights.npz` into a folder."""
    write_json(folder / "model.json", config.to_json())
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}
    np.savez(folder / "weights.npz", **arrays)  # type: ignore[arg-type]


def load(folder: Path) -> tuple[ModelConfig, State]:
    """Read what `save` wrote."""
    config = ModelConfig.from_json(json.loads((folder / "model.json").read_text()))
    with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
        state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    return config, state
