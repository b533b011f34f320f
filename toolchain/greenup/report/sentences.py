"""A result in sentences: what was chosen, what the figures rest on, and what they do not show."""

from __future__ import annotations

from greenup.report.figures import PERCENT, Unit, common_unit, count, percent, ratio, show
from greenup.result import Interval, Paced, Result, VariantResult
from greenup_runtime.bundle import BASELINE

# A test set whose intervals are wider than this is called small: budgets are one or two points.
SMALL_SET_HALF_WIDTH = 0.015
SHORT_DIGEST = 12


def verdict(result: Result) -> str:
    """The outcome in two or three sentences."""
    row = next((row for row in result.variants if row.name == result.chosen), None)
    if row is None or row.name == BASELINE:
        return f"{result.chosen} stays on {result.device}: {result.chosen_because}."
    parts = [_gain(result, row), _accuracy(result, row)]
    if row.energy_j and row.energy_j.simulated:
        parts.append("The energy is simulated: it shows that the tool works, not what the model takes.")
    return " ".join(part for part in parts if part)


def small_set(result: Result) -> str:
    """How wide the test accuracy's interval is, where that matters; otherwise an empty text."""
    widest = max((row.accuracy for row in result.variants), key=_half_width, default=None)
    if widest is None or _half_width(widest) < SMALL_SET_HALF_WIDTH:
        return ""
    points = f"± {100 * _half_width(widest):.1f} points"
    return f"{widest.n} test cases: {points}; differences below that are not shown by this data"


def data(result: Result) -> str:
    """The data set with its split and counts."""
    facts = result.dataset
    return (
        f"{facts.name}, split {facts.split_id}; {count(facts.train)} train, {count(facts.validation)} validation, "
        f"{count(facts.test)} test cases, {len(facts.classes)} classes"
    )


def bundle(result: Result) -> str:
    """The bundle's short digest and its signer, as the device that measured it found them."""
    if result.conditions.get("unsigned"):
        return f"{result.bundle[:SHORT_DIGEST]}, unsigned (--allow-unsigned)"
    signed = f"signed by {result.signed_by}" if result.signed_by else "no signature checked"
    return f"{result.bundle[:SHORT_DIGEST]}, {signed}"


def meter(result: Result) -> str:
    """The meter with its scope, or why there is none."""
    facts = result.conditions.get("meter") or {}
    if not facts.get("name"):
        return f"none ({facts['reason']})" if facts.get("reason") else "none"
    marks = [mark for mark in ("estimated", "simulated") if facts.get(mark)]
    return ", ".join([f"{facts['name']} ({facts['source']})", f"{facts['scope']} scope", *marks])


def overhead(result: Result) -> str:
    """What the runner's own loop takes of each inference; an empty text where nothing was measured."""
    facts = result.conditions.get("overhead") or {}
    if facts.get("call_s") is None:
        return ""
    if facts["gross_j"] is None:
        joules = f"; no joules: {facts['reason']}"
    else:
        each = Interval(**facts["gross_j"])
        unit = common_unit("J", [each.value])
        joules = f" and {show(each, unit).joined()} {unit.name}"
    return f"{1e6 * facts['call_s']:.2g} µs{joules} of each inference are the runner's own; nothing is subtracted"


def no_greenup(result: Result) -> str:
    """Why no variant has a Greenup; an empty text where one has."""
    others = [row for row in result.variants if row.name != BASELINE]
    if not others or any(row.greenup for row in others):
        return ""
    reasons = dict.fromkeys(row.reason for row in others if row.reason)
    text = f"No Greenup is stated: {'; '.join(reasons) or 'nothing was measured'}."
    if any(row.energy_j and row.energy_j.estimated for row in others):
        text += " Estimated energy is time multiplied by a constant, so its Greenup would only repeat Speedup."
    return text


def paced(result: Result) -> str:
    """What each variant takes at the served rate with idle included; an empty text where no rate was given."""
    rows = [(row.name, row.paced) for row in result.variants if row.paced]
    if not rows:
        return ""
    how = "measured" if rows[0][1].measured else "from idle power and net energy"
    parts = [f"{name} {show(each.day_j, Unit('kJ', 1e-3)).joined()} kJ a day{_said(each)}" for name, each in rows]
    return f"at {rows[0][1].rate_hz:g} inferences a second, idle included ({how}): {'; '.join(parts)}"


def _said(paced: Paced) -> str:
    if paced.saving_j is None:
        return ""
    worth = f", 1 % from {_plain(paced.breakeven_hz)} a second on" if paced.breakeven_hz else ""
    return f", {paced.verdict}{worth}"


def discarded(result: Result) -> str:
    """Reasons of single variants whose ratios are incomplete while others have theirs."""
    if no_greenup(result):
        return ""
    lacking = [row for row in result.variants if row.name != BASELINE and row.greenup is None and row.reason]
    return "; ".join(f"{row.name}: {row.reason}" for row in lacking)


def _gain(result: Result, row: VariantResult) -> str:
    head = f"{row.name} is chosen for {result.device}: "
    if row.speedup is None:
        return f"{head}{result.chosen_because}."
    fast = _interval("Speedup", row.speedup)
    if row.greenup is None or row.powerup is None:
        return f"{head}{_times(row.speedup)} as fast as {BASELINE} ({fast}). {no_greenup(result)}"
    joule = f"{_times(row.greenup)} the inferences per joule of {BASELINE} ({_interval('Greenup', row.greenup)})"
    return f"{head}{joule}, {_times(row.speedup)} as fast ({fast}), at {_times(row.powerup)} the power."


def _accuracy(result: Result, row: VariantResult) -> str:
    base = next((each for each in result.variants if each.name == BASELINE), None)
    against = f", {BASELINE} {percent(base.accuracy).value} %" if base else ""
    shown = show(row.accuracy, PERCENT, most=1, least=1)
    return f"Test accuracy {shown.value} % ({shown.span} %){against}, on {count(row.accuracy.n)} cases."


def _plain(value: float) -> str:
    """Two digits, without an exponent."""
    return f"{float(f'{value:.2g}'):,.10g}"


def _times(interval: Interval) -> str:
    return f"{ratio(interval).value} times"


def _interval(name: str, interval: Interval) -> str:
    shown = ratio(interval)
    return f"{name} {shown.value}, 95 % interval {shown.span}"


def _half_width(interval: Interval) -> float:
    return (interval.high - interval.low) / 2
