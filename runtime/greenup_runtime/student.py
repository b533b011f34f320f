"""Two-sided 95 % quantiles of Student's t, for a device without scipy."""

from __future__ import annotations

_Z = 1.959964
_SMALL = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def t95(freedom: float) -> float:
    """The quantile for so many degrees of freedom (1 or more, not always whole), to 0.1 %.

    A table up to ten; beyond it the Cornish-Fisher expansion (Abramowitz & Stegun 26.7.5).
    """
    if freedom <= 1:
        return _SMALL[0]
    if freedom < len(_SMALL):
        low = int(freedom)
        return _SMALL[low - 1] + (freedom - low) * (_SMALL[low] - _SMALL[low - 1])
    first = (_Z**3 + _Z) / 4
    second = (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96
    return _Z + first / freedom + second / freedom**2
