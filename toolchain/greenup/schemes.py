"""Which eight-bit types fit a CPU.

U8S8   unsigned activations, signed weights     AVX-512 VNNI, AVX-VNNI; without them products saturate
S8S8   both signed, zero point 0                ARM with I8MM; TensorRT takes nothing else
U8U8   both unsigned                            AVX2 without VNNI: exact at full range
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from greenup.targets import Target
from greenup_runtime.errors import UsageFault


@dataclass(frozen=True)
class Fit:
    """The arguments of `quantize` for a target, and what was changed for its CPU."""

    settings: dict[str, Any]
    note: str | None = None


def fit(target: Target, features: tuple[str, ...]) -> Fit:
    """The target's scheme on a CPU with these features.

    Where the scheme's feature is missing, weights keep seven bits if the target allows it; else UsageFault.
    """
    scheme = target.quantization
    settings = {"activations": scheme.activations, "weights": scheme.weights}
    if scheme.isa in features:
        return Fit({**settings, "reduce_range": False})
    what = f"{scheme.activations} × {scheme.weights} products saturate on a CPU without {scheme.isa}"
    if not scheme.reduce_range_without_isa:
        raise UsageFault(
            f"{what}, and target {target.name} does not allow reduced range",
            "set reduce_range_without_isa = true in the target's TOML, or leave int8 variants out of the recipe",
        )
    return Fit({**settings, "reduce_range": True}, f"{what}: weights keep seven bits")
