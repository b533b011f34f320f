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

_STEEPEST = 64.0  # a filter goes from 0 to 1 over all of its answers' spread, or down to 1/64, nearly a step
_TINY = 1e-6  # spreads below this are rounding noise, not a signal


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed, beside the weights, to build a model.

    `heads` and `d_ff` hold one number per layer. `stem` is the number of short filters whose answers are pooled
    into patches, 0 for a linear map of the samples; they are spread over `stem_dilations`, and with `share` their
    answers end at 0 and 1, so that a mean is the share of time in which a shape is there. `amplitude` tells the
    tokens each channel's mean and spread, which normalisation takes away. `shortcut` lets the classes see the
    pooled filters beside the encoder's tokens. `head_hidden` is the width of a hidden layer before the classes,
    0 for none. Dropouts are shares of activations, `drop_path` of whole blocks in the last layer.
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
    pooling: Literal["mean", "cls", "mean+max"] = "mean"
    positions: Literal["learned", "sinusoid", "none"] = "learned"
    stem: int = 0
    stem_kernel: int = 9
    stem_dilations: tuple[int, ...] = (1,)
    stem_pool: Literal["max", "max+mean"] = "max"
    stem_answer: Literal["relu", "share"] = "relu"
    amplitude: bool = False
    shortcut: bool = False
    head_hidden: int = 0
    head_dropout: float = 0.0
    drop_path: float = 0.0

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
        whole: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
        }
        return cls(**whole)


class Classifier(nn.Module):
    """Logits [b, k] of raw windows [b, c, l]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = Embedding(config)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(len(config.heads)))
        self.norm = nn.LayerNorm(config.d_model) if config.norm == "pre" else nn.Identity()
        # Each number of the summary on a scale of its own: a linear map of raw ones would learn slowly.
        self.summary_norm = nn.BatchNorm1d(self.embed.summary_width) if config.shortcut else nn.Identity()
        self.head_dropout = nn.Dropout(config.head_dropout)
        self.head = _head(config, self.embed.summary_width)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [b, k] of x [b, c, l], float32."""
        x, summary = self.embed(x)  # [b, t, d], [b, s]
        batch, tokens, width = x.shape
        x = x.reshape(batch * tokens, width)  # two axes: each linear layer exports to one Gemm
        for layer in self.layers:
            x = layer(x, tokens)
        x = self.norm(x).reshape(batch, tokens, width)
        pooled = _pool(x, self.config.pooling)  # [b, d] or [b, 2·d]
        if self.config.shortcut:
            pooled = torch.cat([pooled, self.summary_norm(summary)], dim=1)
        return self.head(self.head_dropout(pooled))


class Embedding(nn.Module):
    """Tokens [b, t, d] of raw windows [b, c, l]: normalise, make patches, add amplitude and positions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.patches = PooledPatches(config) if config.stem else LinearPatches(config)
        features = 2 * config.channels if config.amplitude else 0
        self.summary_width = self.patches.summary_width + features if config.shortcut else 0
        self.amplitude = nn.Linear(features, config.d_model) if features else None
        cls = config.pooling == "cls"
        self.cls = nn.Parameter(torch.zeros(1, 1, config.d_model)) if cls else None
        self.positions = _positions(config, config.tokens + cls) if config.positions != "none" else None
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [b, t, d] of x [b, c, l], and what the patches say of the whole window [b, s]."""
        x, features = normalize(x, self.config.normalize)
        x, summary = self.patches(x)  # [b, t, d], [b, s]
        if self.amplitude is not None:
            x = x + self.amplitude(features).unsqueeze(1)
            summary = torch.cat([summary, features], dim=1)
        return self.dropout(self._place(x)), summary

    def prime(self, x: Tensor) -> None:
        """Give filters that answer with shares a start that suits raw windows x [b, c, l]."""
        if isinstance(self.patches, PooledPatches) and self.patches.share:
            self.patches.prime(normalize(x, self.config.normalize)[0])

    def _place(self, x: Tensor) -> Tensor:
        """Class token and positions: [b, t, d] → [b, t (+ 1), d]."""
        if self.cls is None:
            return x if self.positions is None else x + self.positions
        # The class token is summed into its position, which the exporter folds to one constant.
        cls = F.pad(self.cls, (0, 0, 0, x.shape[1]))  # [1, 1 + t, d]
        fixed = cls if self.positions is None else self.positions + cls
        return F.pad(x, (0, 0, 1, 0)) + fixed  # [b, 1 + t, d]


class LinearPatches(nn.Module):
    """Each patch through one linear map, as in a Vision Transformer: [b, c, l] → [b, t, d]."""

    summary_width = 0

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.map = nn.Conv1d(config.channels, config.d_model, config.patch, config.stride, config.padding)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[b, c, l] → [b, t, d]; it says nothing of the whole window: [b, 0]."""
        return self.map(x).transpose(1, 2), x[:, 0, :0]


class PooledPatches(nn.Module):
    """Short filters, then the largest answer of each within a patch, and the mean: [b, c, l] → [b, t, d].

    Where in its patch a shape lies does not matter then, which small training sets cannot teach. The filters
    are spread over several dilations, to see short and long shapes at one price, and end in ReLU because ONNX
    Runtime fuses it into the convolution. Largest and mean answer over the whole window are its summary: what
    MiniRocket (Dempster et al. 2021) classifies by, learnt here.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pool = (config.patch, config.stride, config.padding)
        self.share = config.stem_answer == "share"
        self.mean = config.stem_pool == "max+mean"
        self.filters = nn.ModuleList(
            _filters(config, dilation, share)
            for dilation, share in zip(config.stem_dilations, _shares(config), strict=True)
        )
        width = config.stem * (1 + self.mean)
        self.mix = nn.Linear(width, config.d_model)
        self.summary_width = width

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[b, c, l] → [b, t, d], and the summary [b, s]."""
        x = torch.cat([self._answer(filters(x)) for filters in self.filters], dim=1)  # [b, stem, l]
        pooled = F.max_pool1d(x, *self.pool)
        summary = pooled.amax(dim=-1)
        if self.mean:
            means = F.avg_pool1d(x, *self.pool)
            pooled = torch.cat([pooled, means], dim=1)  # [b, 2·stem, t]
            summary = torch.cat([summary, means.mean(dim=-1)], dim=1)
        batch, width, tokens = pooled.shape
        pooled = pooled.transpose(1, 2).reshape(batch * tokens, width)  # two axes, as in Classifier
        return self.mix(pooled).reshape(batch, tokens, -1), summary

    def _answer(self, x: Tensor) -> Tensor:
        return x.clamp(0, 1) if self.share else F.relu(x)

    @torch.no_grad()
    def prime(self, x: Tensor) -> None:
        """Start from MiniRocket's shapes, each with an edge somewhere in its answers to windows x [b, c, l]."""
        for filters in self.filters.children():
            assert isinstance(filters, nn.Conv1d)
            assert filters.bias is not None
            filters.weight.copy_(_shapes(*filters.weight.shape))
            filters.bias.zero_()
            answers = filters(x).transpose(0, 1).flatten(1)  # [f, b·l]
            edge = answers.gather(1, torch.randint(answers.shape[1], (len(answers), 1)))
            spread = answers.std(dim=1, keepdim=True).clamp(min=_TINY)
            steep = torch.rand(len(answers), 1).mul(math.log(_STEEPEST)).exp() / spread  # [f, 1]
            filters.weight.mul_(steep.unsqueeze(-1))
            filters.bias.copy_((0.5 - steep * edge).squeeze(1))


def _shapes(count: int, channels: int, kernel: int) -> Tensor:
    """MiniRocket's filters [count, c, kernel]: a third of the weights 2, the others -1, on one channel each."""
    high = torch.rand(count, kernel).argsort(dim=1) < kernel // 3
    shape = torch.where(high, kernel / max(1, kernel // 3) - 1, -1.0)  # [count, kernel], their sum is 0
    on = torch.randint(channels, (count, 1)) == torch.arange(channels)  # [count, c]
    return on.unsqueeze(-1) * shape.unsqueeze(1)


def _shares(config: ModelConfig) -> list[int]:
    """How many filters each dilation gets; they add up to `stem`."""
    parts = len(config.stem_dilations)
    return [(config.stem + i) // parts for i in range(parts)]


def _filters(config: ModelConfig, dilation: int, count: int) -> nn.Module:
    """Filters of one dilation, [b, c, l] → [b, count, l]."""
    padding = dilation * (config.stem_kernel // 2)
    return nn.Conv1d(config.channels, count, config.stem_kernel, padding=padding, dilation=dilation)


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
        self.drop_path = config.drop_path * (index + 1) / len(config.heads)

    def forward(self, x: Tensor, tokens: int) -> Tensor:
        """[b·t, d] → [b·t, d]."""
        if self.pre:
            x = x + self._drop(self.attention(self.norm1(x), tokens), tokens)
            return x + self._drop(self._feed_forward(self.norm2(x)), tokens)
        x = self.norm1(x + self._drop(self.attention(x, tokens), tokens))
        return self.norm2(x + self._drop(self._feed_forward(x), tokens))

    def _drop(self, x: Tensor, tokens: int) -> Tensor:
        """Dropout; in training a window also skips the block by chance (Huang et al. 2016), later layers more."""
        x = self.dropout(x)
        if not self.training or not self.drop_path:
            return x
        kept = torch.rand(x.shape[0] // tokens, 1, 1) >= self.drop_path
        return (x.reshape(-1, tokens, x.shape[-1]) * kept / (1 - self.drop_path)).reshape(x.shape)

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


def _pool(x: Tensor, how: str) -> Tensor:
    """What the classes are told of all tokens: [b, t, d] → [b, d], or [b, 2·d] for "mean+max"."""
    if how == "cls":
        return x[:, 0]
    mean = x.mean(dim=1)
    return torch.cat([mean, x.amax(dim=1)], dim=1) if how == "mean+max" else mean


def _head(config: ModelConfig, summary_width: int) -> nn.Module:
    width = config.d_model * (1 + (config.pooling == "mean+max")) + summary_width
    if not config.head_hidden:
        return nn.Linear(width, config.classes)
    return nn.Sequential(
        nn.Linear(width, config.head_hidden), nn.GELU(), nn.Linear(config.head_hidden, config.classes)
    )
