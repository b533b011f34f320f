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
from greenup_runtime.plan import Plan

VariantName = Literal["fp32", "int8", "pruned", "pruned-int8"]
Change = Literal["crop", "roll", "scale", "mask", "jitter"]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]


class _Section(BaseModel):
    """A table of the recipe: unknown keys are faults; docs/recipe.md is made from the texts below the keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class DataSpec(_Section):
    """Where the cases come from and how they become windows of one length.

    `dataset` is a name in the UCR/UEA archive; `path` (a file or a folder, relative to the recipe) is data of
    one's own; one of the two is given.
    """

    dataset: str | None = None
    """Name in the UCR/UEA archive; looked for in `--data-dir`, in what aeon ships, then downloaded."""
    path: Path | None = None
    """A `.ts` or `.npz` file, a CSV file or a folder of CSV files; relative to the recipe."""
    label: str = "label"
    """Column of a CSV file that holds the class."""
    group: str | None = None
    """Column that names the household or device; with `split = "group"` none of them is on two sides."""
    channels: tuple[str, ...] | None = None
    """Columns of a CSV file to use, in this order; all but label, group and time if left out."""
    time: str | None = None
    """Column of a CSV file with the time, in seconds or as ISO dates."""
    normalize: Literal["zscore", "minmax", "none"] = "zscore"
    """Per window and channel, inside the ONNX graph, so that clients send raw values."""
    length: Annotated[int, Field(ge=2)] | None = None
    """Samples in a window. If left out: `window`, else the series' own length, else by `equalize`."""
    equalize: Literal["resample", "pad", "crop"] = "resample"
    """What makes windows of other lengths equal."""
    rate_hz: Annotated[float, Field(gt=0)] | None = None
    """Resample recordings to this rate first; needs `time` or `source_rate_hz`."""
    source_rate_hz: Annotated[float, Field(gt=0)] | None = None
    """Rate of series without timestamps, here and at the runner; if left out, the usual one by `time`."""
    window: Annotated[int, Field(ge=2)] | None = None
    """Cut long recordings into windows of this many samples."""
    stride: Annotated[int, Field(ge=1)] | None = None
    """Samples from one window's start to the next one's: `window` if left out, less to let them overlap."""
    missing: Literal["interpolate", "refuse"] = "interpolate"
    """What to do with missing values."""
    split: Literal["stratified", "group"] = "stratified"
    """How validation cases (and test cases, where the data has no test part) are drawn."""
    validation: Annotated[float, Field(gt=0.0, lt=0.9)] = 0.2
    """Share of the training cases kept for choices."""
    test: Annotated[float, Field(gt=0.0, lt=0.9)] = 0.2
    """Share of all cases kept for the final figure, where the data has no test part of its own."""

    @model_validator(mode="after")
    def _one_source(self) -> DataSpec:
        if (self.dataset is None) == (self.path is None):
            raise ValueError("give either dataset (a name in the archive) or path (a file or folder)")
        if self.split == "group" and self.group is None:
            raise ValueError('split = "group" needs group, the column that names the household or device')
        if self.rate_hz is not None and self.source_rate_hz is None and self.time is None:
            raise ValueError("rate_hz needs source_rate_hz, or time, the column with the timestamps")
        return self


class ModelSpec(_Section):
    """A preset (`t1`, `t2` after the paper's forerunner, `base` for accuracy) and what overrides it."""

    preset: Literal["t1", "t2", "base"] = "base"
    """The model that the other keys start from."""
    layers: Annotated[int, Field(ge=1, le=64)] | None = None
    """Encoder layers."""
    heads: Annotated[int, Field(ge=1, le=64)] | None = None
    """Attention heads per layer."""
    d_model: Annotated[int, Field(ge=4, le=2048)] | None = None
    """Width of a token."""
    d_ff: Annotated[int, Field(ge=4, le=8192)] | None = None
    """Neurons of a feed-forward block."""
    patch: Annotated[int, Field(ge=1)] | None = None
    """Samples in a patch."""
    stride: Annotated[int, Field(ge=1)] | None = None
    """Samples from one patch's start to the next one's."""
    filters: Literal["share", "relu", "peak"] | None = None
    """What `base`'s filters tell: how long a shape is there, how strongly too, or the largest answer alone."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    """Share of activations dropped in training."""


class TrainSpec(_Section):
    """How the model is trained; the best epoch is chosen on validation data."""

    epochs: Annotated[int, Field(ge=1)] = 60
    """Passes over the training cases, at most."""
    patience: Annotated[int, Field(ge=1)] = 15
    """Stop after this many epochs without a better validation figure."""
    batch: Annotated[int, Field(ge=1)] = 32
    """Windows per step."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """AdamW's highest learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """AdamW's weight decay."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of a label given to the other classes."""
    augment: bool | tuple[Change, ...] = True
    """Train on randomly changed windows too; `true` is crop, scale, mask and jitter, a list is just those."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The model is a moving average of the weights, each step's share being 1 minus this; 0 is no average."""
    choose: Literal["best", "last"] = "best"
    """Which epoch's weights are taken: the best on validation data, or the last, where few cases would mislead."""
    balance: Literal["none", "loss"] = "loss"
    """Weigh classes by how rare they are."""
    threads: Annotated[int, Field(ge=1)] = 2
    """CPU threads of training; another number gives other bits."""


class PruneSpec(_Section):
    """Shares of attention heads, feed-forward neurons, layers and width that are removed, then fine-tuning."""

    heads: Share = 0.5
    """Share of heads removed in each layer."""
    ffn: Share = 0.5
    """Share of feed-forward neurons removed in each layer."""
    layers: Share = 0.0
    """Share of whole layers removed."""
    width: Share = 0.0
    """Share of a token's width removed."""
    importance: Literal["l1", "taylor"] = "l1"
    """What decides: the size of weights, or the size of weight times gradient on training windows."""
    scope: Literal["layer", "global"] = "layer"
    """Rank heads and neurons within each layer, or over all layers together, which then differ in width."""
    steps: Annotated[int, Field(ge=1)] = 1
    """Cuts, with training after each; the shares rise from cut to cut."""
    epochs: Annotated[int, Field(ge=0)] = 15
    """Epochs of training after each cut."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    """Highest learning rate after each cut."""


class DistillSpec(_Section):
    """How smaller forms of the model learn from the trained one while they are trained on."""

    weight: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Share of the loss that follows the trained model's probabilities; 0 is labels alone."""
    temperature: Annotated[float, Field(gt=0)] = 2.0
    """Divides logits on both sides, so that the unlikely classes speak too."""


class QuantizeSpec(_Section):
    """Static int8 QDQ of the weight MatMul/Gemm nodes, calibrated on training windows."""

    calibration_windows: Annotated[int, Field(ge=1)] = 64
    """Training windows from which the ranges of activations are taken."""
    method: Literal["minmax", "percentile", "entropy"] = "minmax"
    """How a range is taken from what was seen."""
    per_channel: bool = True
    """One scale per output channel of a weight instead of one per weight."""


class BudgetSpec(_Section):
    """What the chosen variant must hold, judged on validation data against fp32."""

    accuracy_drop_points: Annotated[float, Field(ge=0)] = 1.0
    """Percentage points of validation accuracy that the chosen variant may lose against `fp32`."""


class MeasureSpec(_Section):
    """The trial: bursts per round, precision asked for, and its bounds."""

    # Each key is a field of the runner's plan, whose defaults are the only ones.

    burst_s: Annotated[float, Field(gt=0)] = Plan.burst_s
    """Seconds of back-to-back inferences of one variant."""
    warmup_s: Annotated[float, Field(ge=0)] = Plan.warmup_s
    """Seconds of work before the first round."""
    pilot_rounds: Annotated[int, Field(ge=3)] = Plan.pilot_rounds
    """Rounds from whose spread the number of rounds is fixed."""
    max_rounds: Annotated[int, Field(ge=3)] = Plan.max_rounds
    """No more rounds than this, whatever the spread."""
    precision: Annotated[float, Field(gt=0, lt=1)] = Plan.precision
    """Half-width wanted of the 95 % interval of a ratio, as a share (0.02 is ± 2 %)."""
    threads: Annotated[int, Field(ge=1)] = Plan.threads
    """Threads of ONNX Runtime on the device."""
    max_burst_s: Annotated[float, Field(gt=0)] = Plan.max_burst_s
    """Bursts grow until they hold 100 of the meter's updates, but not beyond this."""
    max_warmup_s: Annotated[float, Field(ge=0)] = Plan.max_warmup_s
    """The warm-up goes on until the board's temperature is steady, but not beyond this."""
    pace_hz: Annotated[float, Field(gt=0)] | None = Plan.pace_hz
    """Also run windows at this rate with idle between; `serve.rate_hz` if left out."""


class ServeSpec(_Section):
    """How the chosen variant will be used."""

    rate_hz: Annotated[float, Field(gt=0)] | None = None
    """Windows per second that will really come; savings per day are given for this rate."""


class Recipe(_Section):
    """A whole recipe. Every table but `data` may be left out; its defaults stand then."""

    name: Name
    """Name of the bundle, in lower case; its model is served under it."""
    seed: int = 0
    """Seed of the split, the training, the calibration and the order of the trial."""
    variants: tuple[VariantName, ...] = ("fp32", "int8", "pruned", "pruned-int8")
    """Forms of the model to build and measure; `fp32` is the baseline."""
    opset: Annotated[int, Field(ge=20, le=23)] = 20
    """Newest ONNX opset to export; the target must load it. 23 brings a node for whole attention."""
    data: DataSpec
    """Where the cases come from."""
    model: ModelSpec = ModelSpec()
    """The transformer."""
    train: TrainSpec = TrainSpec()
    """Its training."""
    prune: PruneSpec = PruneSpec()
    """What is removed."""
    distill: DistillSpec = DistillSpec()
    """What smaller forms learn from the trained one."""
    quantize: QuantizeSpec = QuantizeSpec()
    """How int8 variants are made."""
    budget: BudgetSpec = BudgetSpec()
    """What must hold."""
    measure: MeasureSpec = MeasureSpec()
    """The trial."""
    serve: ServeSpec = ServeSpec()
    """How it will be used."""

    @model_validator(mode="after")
    def _variants(self) -> Recipe:
        if "fp32" not in self.variants:
            raise ValueError('variants must hold "fp32", the baseline of every comparison')
        if len(set(self.variants)) != len(self.variants):
            raise ValueError("variants holds a name twice")
        return self

    @property
    def trial(self) -> MeasureSpec:
        """The trial to run: at the served rate too, where one is given."""
        return self.measure.model_copy(update={"pace_hz": self.measure.pace_hz or self.serve.rate_hz})

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
