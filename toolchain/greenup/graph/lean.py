"""The classifier for one window at a time, with as few nodes as its arithmetic allows.

Small models spend their time between nodes, not in them. Against `model.Classifier` as it is exported: two axes
[t, d] from patches to head, z-scoring by one LayerNormalization, positions and class token folded into the bias of
the patches' map, attention as in attention.py, and of the last layer only the class token where only that is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from greenup.graph import attention as forms
from greenup.model import Classifier, Embedding, Layer, LinearPatches, PooledPatches, normalize

_EPSILON = 1e-12  # of the variance: the square of the model's smallest spread


@dataclass(frozen=True)
class Choice:
    """How the parts are written.

    `attention` is for all layers but a last one that feeds the class token alone; `first_token` lets there be such
    a one. `stem` says how pooled patches are made: by two-dimensional operators, which ONNX Runtime runs on
    blocks of channels (x86), by one-dimensional ones, or by the maximum of blocks as long as a stride.
    """

    attention: forms.Maker = forms.Joint
    first_token: bool = True
    stem: Literal["planes", "lines", "blocks"] = "planes"


class Lean(nn.Module):
    """Probabilities [1, k] of one raw window [1, c, l]; its argument's name is the ONNX input's."""

    def __init__(self, classifier: Classifier, choice: Choice) -> None:
        super().__init__()
        config = classifier.config
        self.embed = LeanEmbedding(classifier.embed, choice)
        alone = choice.first_token and config.pooling == "cls"
        last = len(classifier.layers) - 1
        layers = [layer for layer in classifier.layers if isinstance(layer, Layer)]
        self.layers = nn.ModuleList(
            LeanLayer(layer, choice, alone and i == last) for i, layer in enumerate(layers)
        )
        self.norm, self.head = classifier.norm, classifier.head
        self.summary_norm = classifier.summary_norm if config.shortcut else None
        self.pooling = config.pooling

    def forward(self, input: Tensor) -> Tensor:
        """Probabilities [1, k] of [1, c, l]."""
        x, summary = self.embed(input)
        pending = None
        for layer in self.layers:
            x, pending = layer(x, pending)
        if self.pooling == "cls":
            x, pending = x[:1], pending if pending is None else pending[:1]
        if isinstance(self.norm, nn.LayerNorm):
            x = add_norm(x, pending, self.norm)[0]
        return torch.softmax(self.head(self._pooled(x, summary)), dim=-1)

    def _pooled(self, x: Tensor, summary: Tensor) -> Tensor:
        """What the classes are told of all tokens [t, d] and of the window [1, s]."""
        parts = [x] if self.pooling == "cls" else [x.mean(dim=0, keepdim=True)]
        if self.pooling == "mean+max":
            parts.append(x.amax(dim=0, keepdim=True))
        if self.summary_norm is not None:
            parts.append(self.summary_norm(summary))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


class LeanLayer(nn.Module):
    """One encoder layer; the feed-forward block's sum before a norm is left to whoever norms next."""

    def __init__(self, layer: Layer, choice: Choice, alone: bool) -> None:
        super().__init__()
        one_head = layer.attention.heads == 1 and choice.attention is forms.Joint
        make = forms.FirstToken if alone else forms.Merged if one_head and _pays(layer) else choice.attention
        self.attention = make(layer.attention)
        self.up, self.down, self.norm1, self.norm2 = layer.up, layer.down, layer.norm1, layer.norm2
        self.pre, self.alone = layer.pre, alone

    def forward(self, x: Tensor, pending: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """[t, d] and what is to be added to it → the same, or [1, d] of a layer for the first token alone."""
        if self.pre:
            normed, x = add_norm(x, pending, self.norm1)
            attended = self.attention(normed)
            normed, x = add_norm(self._rows(x), attended, self.norm2)
            return x, self._feed_forward(normed)
        x = add_norm(self._rows(x), self.attention(x), self.norm1)[0]
        return add_norm(x, self._feed_forward(x), self.norm2)[0], None

    def _rows(self, x: Tensor) -> Tensor:
        return x[:1] if self.alone else x

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class LeanEmbedding(nn.Module):
    """Tokens [t, d] of one raw window [1, c, l], the class token first where there is one."""

    def __init__(self, embed: Embedding, choice: Choice) -> None:
        super().__init__()
        self.config, self.patches, self.amplitude = embed.config, embed.patches, None
        self.whole_norm = embed.config.normalize == "zscore"
        if embed.amplitude is not None:
            self.amplitude = _log_of_deviation(embed.amplitude) if self.whole_norm else embed.amplitude
        self.stem = choice.stem
        self.cells = _as_cells(embed) if _are_cells(embed) else None
        self.offset = nn.Parameter(self._offset(embed))

    def _offset(self, embed: Embedding) -> Tensor:
        """What every token gets whatever the window [t, d]: position, class token, bias of the patches' map."""
        config = embed.config
        tokens = config.tokens + int(embed.cls is not None)
        offset = torch.zeros(tokens, config.d_model)
        if embed.positions is not None:
            offset = embed.positions.detach().clone()[0]
        if embed.cls is not None:
            offset[0] += embed.cls.detach()[0, 0]
        if self.cells is not None or isinstance(embed.patches, PooledPatches):
            offset[int(embed.cls is not None) :] += _bias(embed.patches)
        return offset

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[1, c, l] → tokens [t, d], and what the patches say of the whole window [1, s]."""
        x, features = self._normalized(x)
        if self.amplitude is None:
            return self._tokens(x, self.offset)
        cls = self.config.pooling == "cls"
        tokens, summary = self._tokens(x, self.offset[1:] if cls else self.offset)
        tokens = tokens + self.amplitude(features)
        # The class token is not told the amplitude.
        tokens = torch.cat([self.offset[:1], tokens]) if cls else tokens
        if self.config.shortcut:
            summary = torch.cat([summary, self._as_trained(features)], dim=1)
        return tokens, summary

    def _as_trained(self, features: Tensor) -> Tensor:
        """The features as the classifier knows them: with log(spread) / 4 for what the norm gives."""
        if not self.whole_norm:
            return features
        count = self.config.channels
        return torch.cat([features[:, :count], features[:, count:] * -0.25], dim=1)

    def _normalized(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.whole_norm:
            return normalize(x, self.config.normalize)
        mean = x.mean(dim=-1, keepdim=True)  # taken off first, so that large offsets cost no digits
        whole = x.new_ones(x.shape[-1])
        operator = "LayerNormalization"
        attributes: forms.Attributes = {"axis": -1, "epsilon": _EPSILON}
        if self.amplitude is None:
            y = torch.onnx.ops.symbolic(operator, (x - mean, whole), attributes, dtype=x.dtype, shape=x.shape)
            return y, mean
        outputs = torch.onnx.ops.symbolic_multi_out(
            operator, (x - mean, whole), attributes, dtypes=[x.dtype] * 3, shapes=[x.shape, mean.shape, mean.shape]
        )
        offset = mean.sign() * mean.abs().log1p()
        return outputs[0], torch.cat([offset, outputs[2].log()], dim=1).reshape(1, -1)

    def _tokens(self, x: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        """Patches and `offset` [t, d], and the summary; a row more in the offset is the class token's."""
        before = len(offset) - self.config.tokens
        nothing = x[:, 0, :0]
        if self.cells is not None:
            return torch.addmm(offset, self._cells(x, before), self.cells.T), nothing
        if isinstance(self.patches, PooledPatches):
            pooled, summary = _pooled(x, self.patches, self.stem)
            rows = F.pad(pooled.T, (0, 0, 1, 0)) if before else pooled.T
            return torch.addmm(offset, rows, self.patches.mix.weight.T), summary
        x = self.patches(x)[0][0]
        return (F.pad(x, (0, 0, 1, 0)) if before else x) + offset, nothing

    def _cells(self, x: Tensor, rows_before: int) -> Tensor:
        """Patches that do not overlap, as rows [t, c·p]; those before the first hold zeros."""
        config, tokens = self.config, self.config.tokens + rows_before
        before = config.padding + rows_before * config.patch
        x = F.pad(x, (before, tokens * config.patch - before - config.length))
        if config.channels == 1:
            return x.reshape(tokens, config.patch)
        return x.reshape(config.channels, tokens, config.patch).transpose(0, 1).reshape(tokens, -1)


def _pooled(x: Tensor, patches: PooledPatches, stem: str) -> tuple[Tensor, Tensor]:
    """Filters' largest (and mean) answers within each patch [stem, t], and over the window [1, s]."""
    answers = torch.cat(
        [_answers(x, filters, patches.share, stem) for filters in patches.filters.children()], dim=1
    )
    largest, means = _largest(answers, patches, stem), None
    if patches.mean:
        means = _averaged(answers, patches.pool, stem)
    summary = largest.amax(dim=-1)
    if means is None:
        return largest, summary.unsqueeze(0)
    return torch.cat([largest, means]), torch.cat([summary, means.mean(dim=-1)]).unsqueeze(0)


def _answers(x: Tensor, filters: nn.Module, share: bool, stem: str) -> Tensor:
    """Answers of one dilation's filters: [1, c, l] → [1, f, l], or [1, f, 1, l] as planes."""
    assert isinstance(filters, nn.Conv1d)
    if stem == "planes":
        dilation, kernel = filters.dilation[0], filters.kernel_size[0]
        padding = (0, dilation * (kernel // 2))
        weight = filters.weight.unsqueeze(2)
        x = F.conv2d(x.unsqueeze(2), weight, filters.bias, padding=padding, dilation=(1, dilation))
    else:
        x = filters(x)
    return x.clamp(0, 1) if share else F.relu(x)


def _largest(x: Tensor, patches: PooledPatches, stem: str) -> Tensor:
    """The largest answer within each patch [stem, t]."""
    patch, stride, padding = patches.pool
    if stem == "planes":
        return F.max_pool2d(x, (1, patch), (1, stride), (0, padding))[0, :, 0]
    if stem == "lines" or patch != 2 * stride:
        return F.max_pool1d(x, patch, stride, padding)[0]
    blocks = (x.shape[-1] + 2 * padding) // stride
    x = F.pad(x, (padding, blocks * stride - padding - x.shape[-1]))  # zeros change no maximum of what is positive
    x = x.reshape(-1, blocks, stride).amax(dim=-1)
    return torch.maximum(x[:, 1:], x[:, :-1])


def _averaged(x: Tensor, pool: tuple[int, int, int], stem: str) -> Tensor:
    """The mean answer within each patch [stem, t]."""
    patch, stride, padding = pool
    if stem == "planes":
        return F.avg_pool2d(x, (1, patch), (1, stride), (0, padding))[0, :, 0]
    return F.avg_pool1d(x, patch, stride, padding)[0]


def add_norm(x: Tensor, added: Tensor | None, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """norm(x + added) and x + added."""
    x = x if added is None else x + added
    return norm(x), x


def _pays(layer: Layer) -> bool:
    """Whether the merged maps of one head are no larger than its own: 2·d·d against 4·d·e."""
    return layer.attention.out.out_features <= 2 * layer.attention.d_head


def _log_of_deviation(amplitude: nn.Linear) -> nn.Linear:
    """The same map for log(1 / spread) instead of log(spread) / 4."""
    changed = nn.Linear(amplitude.in_features, amplitude.out_features)
    with torch.no_grad():
        changed.weight.copy_(amplitude.weight)
        changed.bias.copy_(amplitude.bias)
        changed.weight[:, amplitude.in_features // 2 :] /= -4
    return changed


def _are_cells(embed: Embedding) -> bool:
    config = embed.config
    return isinstance(embed.patches, LinearPatches) and config.patch == config.stride


def _as_cells(embed: Embedding) -> nn.Parameter:
    """The patches' filters as one matrix [d, c·p]."""
    assert isinstance(embed.patches, LinearPatches)
    return nn.Parameter(embed.patches.map.weight.detach().flatten(1))


def _bias(patches: nn.Module) -> Tensor:
    linear = patches.map if isinstance(patches, LinearPatches) else patches.mix
    assert isinstance(linear, nn.Conv1d | nn.Linear)
    assert linear.bias is not None
    return linear.bias.detach()
