"""A small model that was really trained: two channels, three classes told apart by frequency."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from greenup.model import ModelConfig
from greenup.presets import config_for
from greenup.recipe import ModelSpec, TrainSpec
from greenup.train import train
from greenup.weights import State

LENGTH = 48


@dataclass(frozen=True)
class Some:
    """Windows [n, c, l] and classes [n]."""

    x: np.ndarray
    y: np.ndarray


def cases(count: int, seed: int) -> Some:
    random = np.random.default_rng(seed)
    y = np.arange(count) % 3
    at = np.arange(LENGTH) / LENGTH
    phase = random.uniform(0, 2 * np.pi, (count, 1))
    wave = np.sin(2 * np.pi * (2 + 3 * y[:, None]) * at + phase)
    x = np.stack([wave, -wave], axis=1) + random.normal(0, 0.4, (count, 2, LENGTH))
    return Some(x.astype(np.float32), y.astype(np.int64))


TRAIN, VALIDATION = cases(90, 1), cases(60, 2)
SPEC = TrainSpec(epochs=12, learning_rate=3e-3, augment=False, threads=1)


def small(preset: str = "base") -> ModelConfig:
    spec = ModelSpec(preset=preset, layers=2, heads=4, d_model=16, d_ff=32, patch=8)  # type: ignore[arg-type]
    return config_for(spec, 2, LENGTH, 3, "zscore")


def trained(preset: str = "base") -> tuple[ModelConfig, State]:
    """Configuration and weights after a second of training; the weights are the caller's own."""
    config, state = _trained(preset)
    return config, {name: value.clone() for name, value in state.items()}


@cache
def _trained(preset: str) -> tuple[ModelConfig, State]:
    config = small(preset)
    with tempfile.TemporaryDirectory() as folder:
        return config, train(config, SPEC, TRAIN, VALIDATION, seed=0, folder=Path(folder)).state
