"""Kinds of boards: one TOML each in `targets/`, checked here."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any, Literal

import tomllib
from pydantic import BaseModel, ConfigDict, ValidationError

from greenup.folders import shipped
from greenup_runtime import cpu
from greenup_runtime.errors import UsageFault


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RuntimeFloor(_Table):
    """The oldest Python and onnxruntime on such a board, and the newest opset these load."""

    python: str
    onnxruntime: str
    opset_max: int


class Scheme(_Table):
    """Types of int8 quantization that the board's kernels like; `isa` is the feature they need to be exact."""

    activations: Literal["uint8", "int8"]
    weights: Literal["uint8", "int8"]
    isa: str
    reduce_range_without_isa: bool


class MeterOrder(_Table):
    """Meters to try, best first."""

    order: tuple[str, ...]


class Target(_Table):
    """A kind of board."""

    name: str
    describes: str
    architecture: str
    runtime: RuntimeFloor
    quantization: Scheme
    meters: MeterOrder
    estimate: dict[str, Any]

    def reduce_range(self, features: tuple[str, ...]) -> bool:
        """Whether weights keep 7 bits: 8-bit products saturate on CPUs without the scheme's feature."""
        return self.quantization.reduce_range_without_isa and self.quantization.isa not in features

    def needed_isa(self, features: tuple[str, ...]) -> tuple[str, ...]:
        """What the int8 variants need of a CPU: nothing where they were built with reduced range."""
        return () if self.reduce_range(features) else (self.quantization.isa,)


def names() -> list[str]:
    """Names of the targets that ship with greenup."""
    return sorted(path.stem for path in shipped("targets").glob("*.toml"))


def load(name: str) -> Target:
    """A target by its name. Raises UsageFault for an unknown one or a file with faults."""
    path = shipped("targets") / f"{name}.toml"
    if not path.is_file():
        raise UsageFault(f"there is no target {name!r}", f"there are: {', '.join(names())}")
    return read(path)


def read(path: Path) -> Target:
    """Check a target's TOML. Raises UsageFault, listing its faults."""
    try:
        return Target.model_validate(tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise UsageFault(f"target {path.name} has faults: {error}") from error


def detect_local() -> Target:
    """The target that fits this machine. Raises UsageFault where none does."""
    machine = platform.machine()
    for name in names():
        target = load(name)
        if target.architecture == machine:
            return target
    raise UsageFault(f"no target fits this machine ({machine})", f"there are: {', '.join(names())}")


def local_features() -> tuple[str, ...]:
    """Features of this machine's CPU that matter to int8 kernels."""
    return cpu.isa_features()
