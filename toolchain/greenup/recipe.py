"""The recipe: one TOML file that says what to train, how to compress it, and what must hold.

All faults of a file are reported at once, each with its key's path and, for a mistyped key, the nearest
known one. `docs/recipe.md` explains every key by example.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import tomllib
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from greenup_runtime.errors import RecipeFault

VariantName = Literal["fp32", "int8", "pruned", "pruned-int8"]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]


class _Section(BaseModel):
    """A table of the recipe: unknown keys are faults, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSpec(_Section):
    """Where the cases come from and how they become windows of one length.

    `dataset` is a name in the UCR/UEA archive; `path` (a file or a folder, relative to the recipe) is data of
    one's own; one of the two is given.
    """

    dataset: str | None = None
    path: Path | None = None
    label: str = "label"
    group: str | None = None
    channels: tuple[str, ...] | None = None
    time: str | None = None
    normalize: Literal["zscore", "minmax", "none"] = "zscore"
    length: Annotated[int, Field(ge=2)] | None = None
    equalize: Literal["resample", "pad", "crop"] = "resample"
    rate_hz: Annotated[float, Field(gt=0)] | None = None
    source_rate_hz: Annotated[float, Field(gt=0)] | None = None
    window: Annotated[int, Field(ge=2)] | None = None
    stride: Annotated[int, Field(ge=1)] | None = None
    missing: Literal["interpolate", "refuse"] = "interpolate"
    split: Literal["stratified", "group"] = "stratified"
    validation: Annotated[float, Field(gt=0.0, lt=0.9)] = 0.2
    test: Annotated[float, Field(gt=0.0, lt=0.9)] = 0.2

    @model_validator(mode="after")
    def _one_source(self) -> DataSpec:
        if (self.dataset is None) == (self.path is None):
            raise ValueError("give either dataset (a name in the archive) or path (a file or folder)")
        if self.split == "group" and self.group is None:
            raise ValueError('split = "group" needs group, the column that names the household or device')
        if (self.rate_hz is None) != (self.source_rate_hz is None) and self.time is None:
            raise ValueError("rate_hz needs source_rate_hz, or time, the column with the timestamps")
        return self


class ModelSpec(_Section):
    """A preset (`t1`, `t2` after the paper's forerunner, `base` for accuracy) and what overrides it."""

    preset: Literal["t1", "t2", "base"] = "base"
    layers: Annotated[int, Field(ge=1, le=64)] | None = None
    heads: Annotated[int, Field(ge=1, le=64)] | None = None
    d_model: Annotated[int, Field(ge=4, le=2048)] | None = None
    d_ff: Annotated[int, Field(ge=4, le=8192)] | None = None
    patch: Annotated[int, Field(ge=1)] | None = None
    stride: Annotated[int, Field(ge=1)] | None = None
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None


class TrainSpec(_Section):
    """How the model is trained; the best epoch is chosen on validation data."""

    epochs: Annotated[int, Field(ge=1)] = 60
    patience: Annotated[int, Field(ge=1)] = 15
    batch: Annotated[int, Field(ge=1)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augment: bool = True
    balance: Literal["none", "loss"] = "loss"
    threads: Annotated[int, Field(ge=1)] = 2


class PruneSpec(_Section):
    """Share of attention heads and feed-forward neurons removed in each layer, then fine-tuning."""

    heads: Share = 0.5
    ffn: Share = 0.5
    epochs: Annotated[int, Field(ge=0)] = 15
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4


class QuantizeSpec(_Section):
    """Static int8 QDQ of the weight MatMul/Gemm nodes, calibrated on training windows."""

    calibration_windows: Annotated[int, Field(ge=1)] = 64
    method: Literal["minmax", "percentile", "entropy"] = "minmax"
    per_channel: bool = True


class BudgetSpec(_Section):
    """What the chosen variant must hold, judged on validation data against fp32."""

    accuracy_drop_points: Annotated[float, Field(ge=0)] = 1.0


class MeasureSpec(_Section):
    """The trial: bursts per round, precision asked for, and its bounds.

    `precision` is the half-width of the 95 % interval of a ratio, as a share (0.02 is ± 2 %).
    """

    burst_s: Annotated[float, Field(gt=0)] = 0.3
    warmup_s: Annotated[float, Field(ge=0)] = 1.0
    pilot_rounds: Annotated[int, Field(ge=3)] = 8
    max_rounds: Annotated[int, Field(ge=3)] = 40
    precision: Annotated[float, Field(gt=0, lt=1)] = 0.02
    threads: Annotated[int, Field(ge=1)] = 1


class Recipe(_Section):
    """A whole recipe. Every table but `data` may be left out; its defaults stand then."""

    name: Name
    seed: int = 0
    variants: tuple[VariantName, ...] = ("fp32", "int8", "pruned", "pruned-int8")
    opset: Annotated[int, Field(ge=20, le=23)] = 20
    data: DataSpec
    model: ModelSpec = ModelSpec()
    train: TrainSpec = TrainSpec()
    prune: PruneSpec = PruneSpec()
    quantize: QuantizeSpec = QuantizeSpec()
    budget: BudgetSpec = BudgetSpec()
    measure: MeasureSpec = MeasureSpec()

    @model_validator(mode="after")
    def _variants(self) -> Recipe:
        if "fp32" not in self.variants:
            raise ValueError('variants must hold "fp32", the baseline of every comparison')
        if len(set(self.variants)) != len(self.variants):
            raise ValueError("variants holds a name twice")
        return self

    def digest(self) -> str:
        """Hex digest of what the recipe asks for; the file's layout and the place of the data do not count."""
        table = self.model_dump(mode="json")
        if self.data.path is not None:
            table["data"]["path"] = self.data.path.name
        text = json.dumps(table, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def load(path: Path, seed: int | None = None) -> Recipe:
    """Read and check a recipe; a relative `data.path` is taken from the recipe's own folder.

    Raises RecipeFault with every fault at once.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise RecipeFault(f"recipe {path} does not exist", hint=_nearby_recipes(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeFault(f"recipe {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeFault(f"recipe {path} is not valid TOML: {error}") from error
    if seed is not None:
        table["seed"] = seed
    recipe = parse(table, str(path))
    if recipe.data.path is not None and not recipe.data.path.is_absolute():
        located = recipe.data.model_copy(update={"path": path.parent / recipe.data.path})
        recipe = recipe.model_copy(update={"data": located})
    return recipe


def parse(table: dict[str, Any], source: str = "recipe") -> Recipe:
    """Check a recipe given as a table. Raises RecipeFault listing all its faults."""
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        faults = tuple(_describe(fault) for fault in error.errors())
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise RecipeFault(f"{source} has {count}:", faults, "docs/recipe.md explains every key") from error


def _describe(fault: Any) -> str:
    path = [str(part) for part in fault["loc"]]
    where = ".".join(path) or "recipe"
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(path[-1], _known_keys(path[:-1]), n=1)
        return f"{where}: unknown key" + (f", did you mean {near[0]!r}?" if near else "")
    if fault["type"] == "missing":
        return f"{where}: missing"
    message = str(fault["msg"]).removeprefix("Value error, ")
    shown = "" if isinstance(fault["input"], dict) else f" (got {fault['input']!r})"
    return f"{where}: {message[:1].lower()}{message[1:]}{shown}"


def _known_keys(parents: list[str]) -> list[str]:
    model: Any = Recipe
    for parent in parents:
        model = model.model_fields[parent].annotation
    return list(model.model_fields)


def _nearby_recipes(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else Path.cwd()
    names = sorted(item.name for item in folder.glob("*.toml"))
    return f"{folder} holds: {', '.join(names)}" if names else f"{folder} holds no .toml file"
