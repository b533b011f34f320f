"""Self-attention of one window [t, d], written so that few nodes are left when it is exported.

Each class computes exactly what `model.Attention` does, up to rounding; they differ in the graph. Scale is folded
into the queries' weights. Two facts of softmax save work: a summand that is the same for all keys does not change
it, so the keys' bias can go; its rows sum up to one, so the values' bias may be added after the mixing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from greenup.model import Attention

Attributes = dict[str, int | float | str | bool | Sequence[int] | Sequence[float] | Sequence[str] | Sequence[bool]]
Maker = Callable[[Attention], nn.Module]


class Joint(nn.Module):
    """One map for queries, keys and values, laid out once: two transpositions instead of four."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads, self.d_head = attention.heads, attention.d_head
        self.qkv, self.out = _scaled(attention), attention.out

    def forward(self, x: Tensor) -> Tensor:
        """[t, d] → [t, d]."""
        if self.heads == 1:
            q, k, v = self.qkv(x).chunk(3, dim=-1)  # [t, e]: nothing to lay out
            return self.out(torch.softmax(q @ k.transpose(0, 1), dim=-1) @ v)
        parts = self.qkv(x).reshape(-1, 3 * self.heads, self.d_head).transpose(0, 1)  # [3·h, t, e]
        q, k, v = parts.chunk(3, dim=0)
        mixed = torch.softmax(q @ k.transpose(1, 2), dim=-1) @ v  # [h, t, e]
        return self.out(mixed.transpose(0, 1).reshape(-1, self.heads * self.d_head))


class Separate(nn.Module):
    """A map each for queries, keys and values: no split, three smaller multiplications."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads, self.d_head = attention.heads, attention.d_head
        self.q, self.k, self.v = _parts(_scaled(attention))
        self.out = attention.out

    def forward(self, x: Tensor) -> Tensor:
        """[t, d] → [t, d]."""
        q, k, v = (self._laid_out(part(x)) for part in (self.q, self.k, self.v))
        mixed = torch.softmax(q @ k.transpose(1, 2), dim=-1) @ v
        return self.out(mixed.transpose(0, 1).reshape(-1, self.heads * self.d_head))

    def _laid_out(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.heads, self.d_head).transpose(0, 1)  # [t, h·e] → [h, t, e]


class Merged(nn.Module):
    """For one head: keys' map multiplied into the queries', output map into the values'. No output map is left."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        q, k, v = _parts(_scaled(attention))
        d_model = attention.out.out_features
        self.both = nn.Linear(d_model, 2 * d_model)
        with torch.no_grad():
            queries, values = k.weight.T @ q.weight, attention.out.weight @ v.weight  # [d, d] each
            self.both.weight.copy_(torch.cat([queries, values]))
            bias = attention.out(v.bias)  # rows of softmax sum up to one
            self.both.bias.copy_(torch.cat([k.weight.T @ q.bias, bias]))

    def forward(self, x: Tensor) -> Tensor:
        """[t, d] → [t, d]."""
        q, v = self.both(x).chunk(2, dim=-1)
        return torch.softmax(q @ x.transpose(0, 1), dim=-1) @ v


class FirstToken(nn.Module):
    """What the first token gets from all, for a last layer of which only that token is used: [t, d] → [1, d].

    Keys and values of the other tokens are never computed: their maps are multiplied into the one query and
    into the output map.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads, d_model = attention.heads, attention.out.out_features
        q, k, v = _parts(_scaled(attention))
        self.query = nn.Linear(d_model, self.heads * d_model)
        self.out = nn.Linear(self.heads * d_model, d_model)
        with torch.no_grad():
            split = (self.heads, attention.d_head)
            keys, values = k.weight.reshape(*split, -1), v.weight.reshape(*split, -1)  # [h, e, d]
            outs = attention.out.weight.reshape(d_model, *split)  # [d, h, e]
            queries = torch.einsum("hed,hec->hdc", keys, q.weight.reshape(*split, -1))
            self.query.weight.copy_(queries.reshape(-1, d_model))
            self.query.bias.copy_(torch.einsum("hed,he->hd", keys, q.bias.reshape(split)).flatten())
            self.out.weight.copy_(torch.einsum("dhe,hec->dhc", outs, values).reshape(d_model, -1))
            self.out.bias.copy_(attention.out(v.bias))

    def forward(self, x: Tensor) -> Tensor:
        """[t, d] → [1, d]."""
        queries = self.query(x[:1]).reshape(self.heads, -1)  # [h, d]
        mixed = torch.softmax(queries @ x.transpose(0, 1), dim=-1) @ x  # [h, d]
        return self.out(mixed.reshape(1, -1))


class Fused(nn.Module):
    """ONNX Runtime's `MultiHeadAttention`: heads are laid out inside of one node."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads, self.d_head = attention.heads, attention.d_head
        self.qkv, self.out = attention.qkv, attention.out

    def forward(self, x: Tensor) -> Tensor:
        """[t, d] → [t, d]."""
        q, k, v = self.qkv(x).unsqueeze(0).chunk(3, dim=-1)
        attributes: Attributes = {"num_heads": self.heads, "scale": self.d_head**-0.5}
        return self.out(_node("com.microsoft::MultiHeadAttention", (q, k, v), attributes, q)[0])


class Standard(Fused):
    """Opset 23's `Attention`, of the standard and so not bound to ONNX Runtime."""

    def forward(self, x: Tensor) -> Tensor:
        """[t, d] → [t, d]."""
        q, k, v = self.qkv(x).unsqueeze(0).chunk(3, dim=-1)
        attributes: Attributes = {
            "q_num_heads": self.heads,
            "kv_num_heads": self.heads,
            "scale": self.d_head**-0.5,
        }
        return self.out(_node("Attention", (q, k, v), attributes, q)[0])


class Packed(nn.Module):
    """ONNX Runtime's `Attention`, which holds the map of queries, keys and values too."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads, self.d_head, self.out = attention.heads, attention.d_head, attention.out
        self.weight = nn.Parameter(attention.qkv.weight.detach().T.contiguous())
        self.bias = attention.qkv.bias

    def forward(self, x: Tensor) -> Tensor:
        """[t, d] → [t, d]."""
        x = x.unsqueeze(0)
        attributes: Attributes = {"num_heads": self.heads, "scale": self.d_head**-0.5}
        like = x.new_zeros(1, x.shape[1], self.heads * self.d_head)
        return self.out(_node("com.microsoft::Attention", (x, self.weight, self.bias), attributes, like)[0])


def _node(operator: str, inputs: tuple[Tensor, ...], attributes: Attributes, like: Tensor) -> Tensor:
    version = 1 if "::" in operator else None
    return torch.onnx.ops.symbolic(
        operator, inputs, attributes, dtype=like.dtype, shape=like.shape, version=version
    )


def _scaled(attention: Attention) -> nn.Linear:
    """The map of queries, keys and values with the scale of the scores in the queries' rows."""
    scaled = nn.Linear(attention.qkv.in_features, attention.qkv.out_features)
    factor = torch.ones(attention.qkv.out_features)
    factor[: attention.heads * attention.d_head] = attention.d_head**-0.5
    with torch.no_grad():
        scaled.weight.copy_(attention.qkv.weight * factor.unsqueeze(1))
        scaled.bias.copy_(attention.qkv.bias * factor)
    return scaled


def _parts(joint: nn.Linear) -> list[nn.Linear]:
    parts = []
    for weight, bias in zip(joint.weight.chunk(3), joint.bias.chunk(3), strict=True):
        part = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            part.weight.copy_(weight)
            part.bias.copy_(bias)
        parts.append(part)
    return parts
