"""Kinds of boards: one TOML each in `targets/`, checked here."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any, Literal

import tomllib
from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

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
    """Types of int8 quantization that the board's kernels like; `isa`, if any, is what they need to be exact."""

    activations: Literal["uint8", "int8"]
    weights: Literal["uint8", "int8"]
    isa: str | None = None
    reduce_range_without_isa: bool = False


class Widths(_Table):
    """Width of which the board's matrix kernels like multiples: `source` says whether that was measured."""

    multiple: PositiveInt
    source: Literal["measured", "documentation"]


class InaTable(_Table):
    """The INA chip wired to such a board: which, where, and the shunt beside it (see docs/meters.md)."""

    way: Literal["hwmon", "iio", "i2c"] | None = None
    devices: tuple[str, ...] | None = None
    rails: tuple[str, ...] | None = None
    shunt_ohm: PositiveFloat | None = None
    bus: NonNegativeInt | None = None
    address: NonNegativeInt | None = None
    chip: str | None = None


class JetsonTable(_Table):
    """Rails to sum, by label, and their shunt."""

    rails: tuple[str, ...] | None = None
    shunt_ohm: PositiveFloat | None = None


class RaplTable(_Table):
    """Which RAPL zones are summed."""

    sum: Literal["packages", "psys"] | None = None


class Meters(_Table):
    """Meters to try, best first, and what they need to know of the board."""

    order: tuple[str, ...]
    ina: InaTable | None = None
    jetson: JetsonTable | None = None
    rapl: RaplTable | None = None


class Estimate(_Table):
    """Power coefficients for where no meter works, with where they are from; never without a source."""

    active_w_per_core: NonNegativeFloat
    idle_w: NonNegativeFloat
    source: str


class Target(_Table):
    """A kind of board; `models` are parts of the device tree's model by which one is recognised."""

    name: str
    describes: str
    architecture: str
    runtime: RuntimeFloor
    quantization: Scheme
    widths: Widths = Widths(multiple=8, source="documentation")
    meters: Meters
    estimate: Estimate | None = None
    models: tuple[str, ...] = ()

    def meter_settings(self) -> dict[str, Any]:
        """What a runner is told of the board's meters: `estimate` and `meter_settings`, as in a request."""
        return {
            "estimate": self.estimate.model_dump() if self.estimate else {},
            "meter_settings": self.meters.model_dump(mode="json", exclude={"order"}, exclude_none=True),
        }

    def reduce_range(self, features: tuple[str, ...]) -> bool:
        """Whether weights keep 7 bits: 8-bit products saturate on CPUs without the scheme's feature."""
        return self.quantization.reduce_range_without_isa and self.quantization.isa not in features

    def needed_isa(self, features: tuple[str, ...]) -> tuple[str, ...]:
        """What the int8 variants need of a CPU: nothing where they were built with reduced range."""
        isa = self.quantization.isa
        return () if isa is None or self.reduce_range(features) else (isa,)


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


def detect_local(root: Path = Path("/")) -> Target:
    """The target that fits this machine. Raises UsageFault where none does."""
    return detect(platform.machine(), cpu.board_model(root))


def detect(architecture: str, model: str) -> Target:
    """The target of an architecture whose models the device tree's model names, else one that names none.

    Raises UsageFault where none fits.
    """
    fitting = [target for target in map(load, names()) if target.architecture == architecture]
    for target in fitting:
        if any(part in model for part in target.models):
            return target
    for target in fitting:
        if not target.models:
            return target
    what = f"{architecture}, {model}" if model else architecture
    raise UsageFault(f"no target fits this machine ({what})", f"there are: {', '.join(names())}")
