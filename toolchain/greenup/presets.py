"""From a recipe's `[model]` table and the shape of the data to a `ModelConfig`.

`t1` and `t2` follow the configurations of the paper's public forerunner as far as it is known: class token,
fixed sinusoid positions, norms after the sums, two-layer head. `base` is our own and made for accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from greenup.model import ModelConfig
from greenup.recipe import ModelSpec
from greenup_runtime.errors import UsageFault

Normalize = Literal["zscore", "minmax", "none"]
_BASE_TOKENS = 64
_BASE_STEM: dict[str, Any] = {
    "stem": 64,
    "stem_dilations": (1, 2, 4, 8),
    "stem_pool": "max+mean",
    "shortcut": True,
    "head_dropout": 0.3,
}
# The largest answer of plain filters and nothing else: better where the signal repeats within a patch.
_PEAK_STEM: dict[str, Any] = {"stem": 64, "stem_pool": "max", "stem_answer": "relu"}
_BASE_SHORTEST_PATCH = 4


@dataclass(frozen=True)
class _Preset:
    """Widths before a recipe's overrides."""

    layers: int
    heads: int
    d_model: int
    d_ff: int
    dropout: float


_PRESETS = {
    "t1": _Preset(layers=8, heads=8, d_model=32, d_ff=256, dropout=0.2),
    "t2": _Preset(layers=12, heads=16, d_model=32, d_ff=256, dropout=0.2),
    "base": _Preset(layers=4, heads=8, d_model=128, d_ff=256, dropout=0.1),
}


def config_for(spec: ModelSpec, channels: int, length: int, classes: int, normalize: Normalize) -> ModelConfig:
    """The model for windows [channels, length] and a number of classes.

    Raises UsageFault where the widths do not fit together or a window is shorter than a patch.
    """
    preset = _PRESETS[spec.preset]
    heads, d_model = spec.heads or preset.heads, spec.d_model or preset.d_model
    layers, d_ff = spec.layers or preset.layers, spec.d_ff or preset.d_ff
    dropout = preset.dropout if spec.dropout is None else spec.dropout
    _check_heads(heads, d_model)
    patch, stride = _patch(spec, length)
    _check_patch(patch, stride, length)
    base = spec.preset == "base"
    return ModelConfig(
        channels=channels,
        length=length,
        classes=classes,
        normalize=normalize,
        patch=patch,
        stride=stride,
        d_model=d_model,
        d_head=d_model // heads,
        heads=(heads,) * layers,
        d_ff=(d_ff,) * layers,
        dropout=dropout,
        norm="pre" if base else "post",
        pooling=_pooling(spec),
        positions="learned" if base else "sinusoid",
        amplitude=base and normalize != "none",
        head_hidden=0 if base else d_ff,
        **_stem(spec),
    )


def _pooling(spec: ModelSpec) -> Literal["cls", "mean", "mean+max"]:
    if spec.preset != "base":
        return "cls"
    return "mean" if spec.filters == "peak" else "mean+max"


def _stem(spec: ModelSpec) -> dict[str, Any]:
    if spec.preset != "base":
        return {}
    return _PEAK_STEM if spec.filters == "peak" else {**_BASE_STEM, "stem_answer": spec.filters or "share"}


def _patch(spec: ModelSpec, length: int) -> tuple[int, int]:
    """Patch and stride in samples: given, or for `base` so that about 64 overlapping patches cover a window."""
    if spec.preset != "base":
        patch = spec.patch or 8
        return patch, spec.stride or patch
    if spec.patch:
        return spec.patch, spec.stride or max(1, spec.patch // 2)
    stride = spec.stride or -(-length // _BASE_TOKENS)
    return min(length, max(_BASE_SHORTEST_PATCH, 2 * stride)), stride


def _check_heads(heads: int, d_model: int) -> None:
    if d_model % heads:
        fitting = ", ".join(str(n) for n in range(1, min(d_model, 64) + 1) if d_model % n == 0)
        raise UsageFault(
            f"model.heads = {heads} does not divide model.d_model = {d_model}: heads share the width equally",
            f"heads may be {fitting}, or choose d_model as a multiple of {heads}",
        )


def _check_patch(patch: int, stride: int, length: int) -> None:
    if patch > length:
        raise UsageFault(
            f"a window has {length} samples, fewer than one patch of {patch}",
            f"set model.patch to {length} or less, or data.length to {patch} or more",
        )
    if stride > patch:
        raise UsageFault(
            f"model.stride = {stride} is larger than model.patch = {patch}: samples between patches would be lost",
            f"set stride to {patch} or less",
        )
