"""Which variant serves: the least energy (or, without a meter, time) within the budget, never a slower one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from greenup.result import VariantResult


def choose(rows: Sequence[VariantResult], baseline: str, budget: Mapping[str, Any]) -> tuple[str, str]:
    """The chosen variant's name and the reason in a sentence.

    Accuracy is what a variant was judged to lose, else its difference on validation cases. A candidate must be
    faster than the baseline with its whole interval, and with a real meter also save energy with its whole one;
    where a rate is given, also at that rate.
    """
    by_name = {row.name: row for row in rows}
    allowed = float(budget["accuracy_drop_points"])
    base = by_name[baseline].validation.value
    candidates = [row for row in rows if row.name != baseline]
    accurate = [row for row in candidates if _drop_points(row, base) <= allowed]
    better = [row for row in accurate if _wins(row)]
    if not better:
        return baseline, _why_none(candidates, accurate, allowed)
    best = max(better, key=_gain)
    drop = _drop_points(best, base)
    judged_on = best.judged.on if best.judged else "validation data"
    gain = "least energy" if best.greenup else "fastest"
    lost = f"{drop:.1f} points below" if drop >= 0.05 else f"{max(0.0, -drop):.1f} points above"
    winners = "the only winning variant" if len(better) == 1 else f"{gain} of {len(better)} winning variants"
    return best.name, (f"{winners}; on {judged_on} {lost} {baseline}, within the budget of {allowed:g} points")


def _drop_points(row: VariantResult, base: float) -> float:
    return row.judged.drop_points if row.judged else 100 * (base - row.validation.value)


def _wins(row: VariantResult) -> bool:
    faster = row.speedup is not None and row.speedup.low > 1
    pays = row.paced is None or (row.paced.saving_j is not None and row.paced.saving_j.low > 0)
    return faster and pays and (row.greenup is None or row.greenup.low > 1)


def _gain(row: VariantResult) -> float:
    ratio = row.greenup or row.speedup
    return ratio.value if ratio else 0.0


def _why_none(candidates: Sequence[VariantResult], accurate: Sequence[VariantResult], allowed: float) -> str:
    if not candidates:
        return "there is no other variant"
    if all(row.speedup is None for row in candidates):
        return "nothing was measured yet"
    if not accurate:
        return f"no other variant keeps accuracy within {allowed:g} points"
    rate = next((f" at {row.paced.rate_hz:g} inferences a second" for row in accurate if row.paced), "")
    return f"no variant within the accuracy budget is proven better{rate}"
