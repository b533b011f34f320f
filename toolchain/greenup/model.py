"""The classifier: a transformer over patches of a time series, raw windows in, logits out.

Normalisation of each window is part of the model, so it ends up in the ONNX file and no client can do it
wrongly. Every width stands in `ModelConfig`, per layer where pruning may change it: a pruned model is an
ordinary, smaller model that loads from its configuration and its weights.

Shapes in the comments: b windows, c channels, l samples, t tokens, d model width, h heads, e head width,
f feed-forward neurons, k classes.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_TINY = 1e-6  # spreads below this are rounding noise, not a signal


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed, beside the weights, to build a model.

    `heads` and `d_ff` hold one number per layer. `stem` is the number of short filters whose answers are pooled
    into patches, 0 for a linear map of the samples. `amplitude` tells the tokens each channel's mean and spread,
    which normalisation takes away. `head_hidden` is the width of a hidden layer before the classes, 0 for none.
    """

    channels: int
    length: int
    classes: int
    normalize: Literal["zscore", "minmax", "none"]
    patch: int
    stride: int
    d_model: int
    d_head: int
    heads: tuple[int, ...]
    d_ff: tuple[int, ...]
    dropout: float = 0.1
    norm: Literal["pre", "post"] = "pre"
    pooling: Literal["mean", "cls"] = "mean"
    positions: Literal["learned", "sinusoid"] = "learned"
    stem: int = 0
    stem_kernel: int = 9
    amplitude: bool = False
    head_hidden: int = 0

    @property
    def padding(self) -> int:
        """Samples of zeros on both sides, so that the last patch is whole and no sample is left out."""
        return math.ceil((-(self.length - self.patch) % self.stride) / 2)

    @property
    def tokens(self) -> int:
        """How many patches a window has, without the class token."""
        return (self.length + 2 * self.padding - self.patch) // self.stride + 1

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> Self:
        """From what `to_json` gave."""
        return cls(**{**table, "heads": tuple(table["heads"]), "d_ff": tuple(table["d_ff"])})


class Classifier(nn.Module):
    """Logits [b, k] of raw windows [b, c, l]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = Embedding(config)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(len(config.heads)))
        self.norm = nn.LayerNorm(config.d_model) if config.norm == "pre" else nn.Identity()
        self.head = _head(config)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [b, k] of x [b, c, l], float32."""
        x = self.embed(x)  # [b, t, d]
        batch, tokens, width = x.shape
        x = x.reshape(batch * tokens, width)  # two axes: each linear layer exports to one Gemm
        for layer in self.layers:
            x = layer(x, tokens)
        x = self.norm(x).reshape(batch, tokens, width)
        pooled = x[:, 0] if self.config.pooling == "cls" else x.mean(dim=1)  # [b, d]
        return self.head(pooled)


class Embedding(nn.Module):
    """Tokens [b, t, d] of raw windows [b, c, l]: normalise, make patches, add amplitude and positions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.patches = PooledPatches(config) if config.stem else LinearPatches(config)
        self.amplitude = nn.Linear(2 * config.channels, config.d_model) if config.amplitude else None
        cls = config.pooling == "cls"
        self.cls = nn.Parameter(torch.zeros(1, 1, config.d_model)) if cls else None
        self.positions = _positions(config, config.tokens + cls)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [b, t, d] of x [b, c, l]."""
        x, features = normalize(x, self.config.normalize)
        x = self.patches(x)  # [b, t, d]
        if self.amplitude is not None:
            x = x + self.amplitude(features).unsqueeze(1)
        if self.cls is None:
            return self.dropout(x + self.positions)
        # The class token is summed into its position, which the exporter folds to one constant.
        cls = F.pad(self.cls, (0, 0, 0, x.shape[1]))  # [1, 1 + t, d]
        return self.dropout(F.pad(x, (0, 0, 1, 0)) + (self.positions + cls))  # [b, 1 + t, d]


class LinearPatches(nn.Module):
    """Each patch through one linear map, as in a Vision Transformer: [b, c, l] → [b, t, d]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.map = nn.Conv1d(config.channels, config.d_model, config.patch, config.stride, config.padding)

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, l] → [b, t, d]."""
        return self.map(x).transpose(1, 2)


class PooledPatches(nn.Module):
    """Short filters, then the largest answer of each within a patch: [b, c, l] → [b, t, d].

    Where in its patch a shape lies does not matter then, which small training sets cannot teach. The filters
    end in ReLU because ONNX Runtime fuses it into the convolution, the widest step of all.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pool = (config.patch, config.stride, config.padding)
        self.filters = nn.Conv1d(config.channels, config.stem, config.stem_kernel, padding=config.stem_kernel // 2)
        self.mix = nn.Linear(config.stem, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, l] → [b, t, d]."""
        x = F.max_pool1d(F.relu(self.filters(x)), *self.pool)  # [b, stem, t]
        batch, width, tokens = x.shape
        x = x.transpose(1, 2).reshape(batch * tokens, width)  # two axes, as in Classifier
        return self.mix(x).reshape(batch, tokens, -1)


class Layer(nn.Module):
    """One encoder layer, with its norms before (pre) or after (post) the two sums."""

    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        d, f = config.d_model, config.d_ff[index]
        self.pre = config.norm == "pre"
        self.attention = Attention(d, config.heads[index], config.d_head)
        self.up = nn.Linear(d, f)
        self.down = nn.Linear(f, d)
        self.norm1 = nn.LayerNorm(d)
        self.norm2 = nn.LayerNorm(d)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, tokens: int) -> Tensor:
        """[b·t, d] → [b·t, d]."""
        if self.pre:
            x = x + self.dropout(self.attention(self.norm1(x), tokens))
            return x + self.dropout(self._feed_forward(self.norm2(x)))
        x = self.norm1(x + self.dropout(self.attention(x, tokens)))
        return self.norm2(x + self.dropout(self._feed_forward(x)))

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))  # [b·t, d] → [b·t, f] → [b·t, d]


class Attention(nn.Module):
    """Multi-head self-attention; rows of `qkv` are ordered [3, h, e], columns of `out` [h, e]."""

    def __init__(self, d_model: int, heads: int, d_head: int) -> None:
        super().__init__()
        self.heads, self.d_head = heads, d_head
        self.qkv = nn.Linear(d_model, 3 * heads * d_head)
        self.out = nn.Linear(heads * d_head, d_model)

    def forward(self, x: Tensor, tokens: int) -> Tensor:
        """[b·t, d] → [b·t, d]."""
        q, k, v = (self._split(part, tokens) for part in self.qkv(x).chunk(3, dim=-1))  # [b, h, t, e]
        weights = torch.softmax(q @ k.transpose(-2, -1) * self.d_head**-0.5, dim=-1)  # [b, h, t, t]
        mixed = (weights @ v).transpose(1, 2).reshape(-1, self.heads * self.d_head)  # [b·t, h·e]
        return self.out(mixed)

    def _split(self, x: Tensor, tokens: int) -> Tensor:
        return x.reshape(-1, tokens, self.heads, self.d_head).transpose(1, 2)  # [b·t, h·e] → [b, h, t, e]


def normalize(x: Tensor, how: str) -> tuple[Tensor, Tensor]:
    """Normalise each channel of each window by itself: x [b, c, l] → [b, c, l], and features [b, 2·c].

    The features are a compressed offset and spread of each channel. A constant channel gives zeros: its first
    sample is taken off before anything else, which also keeps the digits of a small signal on a large offset.
    """
    first = x[:, :, :1]
    shifted = x - first
    mean = shifted.mean(dim=-1, keepdim=True)
    centred = shifted - mean
    # Bounded by clamp: the exporter takes a tiny summand for zero and drops it.
    spread = centred.square().mean(dim=-1, keepdim=True).sqrt().clamp(min=_TINY)
    features = torch.cat([_compress(first + mean), spread.log() / 4], dim=1).squeeze(-1)
    if how == "zscore":
        return centred / spread, features
    if how == "minmax":
        low = shifted.amin(dim=-1, keepdim=True)
        span = (shifted.amax(dim=-1, keepdim=True) - low).clamp(min=_TINY)
        return (shifted - low) / span, features
    return x, features


def _compress(x: Tensor) -> Tensor:
    """sign(x)·log(1 + |x|): offsets of any unit come to a few units."""
    return x.sign() * x.abs().log1p()


def _positions(config: ModelConfig, tokens: int) -> nn.Parameter:
    """Position of each token [1, t, d]; the sinusoid is fixed (Vaswani et al. 2017)."""
    if config.positions == "learned":
        return nn.Parameter(torch.randn(1, tokens, config.d_model) * 0.02)
    at = torch.arange(tokens).unsqueeze(1)
    rate = torch.exp(torch.arange(0, config.d_model, 2) * (-math.log(10_000.0) / config.d_model))
    table = torch.zeros(1, tokens, config.d_model)
    table[0, :, 0::2] = torch.sin(at * rate)
    table[0, :, 1::2] = torch.cos(at * rate)[:, : config.d_model // 2]
    return nn.Parameter(table, requires_grad=False)


def _head(config: ModelConfig) -> nn.Module:
    if not config.head_hidden:
        return nn.Linear(config.d_model, config.classes)
    return nn.Sequential(
        nn.Linear(config.d_model, config.head_hidden), nn.GELU(), nn.Linear(config.head_hidden, config.classes)
    )
