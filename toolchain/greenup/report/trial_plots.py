"""Plots of a trial's raw data: how latencies spread, and what happened when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from greenup.report.canvas import Plot, drawing, to_svg
from greenup.report.figures import Unit, common_unit
from greenup.report.plots import short
from greenup.report.styles import IDLE, MUTED, Look, looks
from greenup_runtime.energy import burst_energy
from greenup_runtime.trial import Burst, FloatArray, Trial

_BINS = 90
_RIDGE_HEIGHT = 0.82
_TRACE_POINTS = 1200
_IDLE_NAME = "idle"
_IDLE_LOOK = Look(IDLE.variable, IDLE.light, IDLE.dark, "_", "–")
# The far tail would squeeze everything else into one column.
_SHOWN_QUANTILES = (0.001, 0.995)


def trial_plots(trial: Trial, names: Sequence[str]) -> list[Plot]:
    """Latency and timeline plots of the named variants that the trial measured."""
    measured = [name for name in names if _latencies(trial, name).size]
    return [latency_plot(trial, measured), timeline(trial, measured)] if measured else []


def latency_plot(trial: Trial, names: Sequence[str]) -> Plot:
    """One histogram of single latencies per variant on a common logarithmic axis."""
    values = {name: _latencies(trial, name) for name in names}
    unit = common_unit("s", [float(np.median(each)) for each in values.values()])
    low, high = _shown_range(list(values.values()))
    edges = np.geomspace(low, high, _BINS) * unit.per_si
    style = looks(names)
    with drawing(0.9 + 0.7 * len(names)) as (figure, (axes,)):
        for place, (name, latency_s) in enumerate(values.items()):
            _ridge(axes, latency_s * unit.per_si, edges, len(names) - 1 - place, style[name])
        _latency_axis(axes, edges)
        axes.set_yticks([len(names) - 1 - place for place in range(len(names))], [short(name) for name in names])
        axes.set_ylim(-0.08, len(names))
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"Latency of one inference ({unit.name}, logarithmic axis)")
        said = "; ".join(_spread(name, latency_s, unit) for name, latency_s in values.items())
        svg = to_svg(figure, "latency", f"Distribution of single latencies. {said}.")
    beyond = max(float(np.mean((each < low) | (each > high))) for each in values.values())
    caption = (
        "Every inference of every burst that counts. The full-height line is the median, the short one the 99th "
        f"percentile. At most {100 * beyond:.2f} % of a variant's inferences lie outside the axis."
    )
    return Plot("latency", "Latency of single inferences", caption, svg)


def timeline(trial: Trial, names: Sequence[str]) -> Plot:
    """What ran when, how fast against the variant's own median, and the power where a meter saw it."""
    metered = trial.meter is not None and not trial.meter.estimated and trial.trace.size > 0
    heights = (1.6, 1.2, 1.1) if metered else (1.2, 1.1)
    style = looks(names)
    with drawing(1.9 * len(heights) + 0.3, heights) as (figure, panels):
        for name in names:
            _draw_pace(panels[-2], trial, name, style[name])
        panels[-2].set_ylabel("Time against\nown median")
        panels[-2].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:+.1f} %"))
        _draw_lanes(panels[-1], trial, names, style)
        if metered:
            _draw_power(panels[0], trial, names, style)
        for panel in panels:
            panel.grid(axis="x")
        panels[-1].set_xlabel("Time since the first burst (s)")
        svg = to_svg(figure, "timeline", _timeline_alt(trial, names, metered))
    return Plot("timeline", "Timeline of the trial", _timeline_caption(trial, metered), svg)


def _latencies(trial: Trial, name: str) -> FloatArray:
    kept = [burst for burst in trial.bursts if burst.discarded is None and not burst.paced]
    each = [burst.latency_s for burst in kept if burst.variant == name]
    return np.concatenate(each) if each else np.empty(0)


def _shown_range(values: Sequence[FloatArray]) -> tuple[float, float]:
    low = min(float(np.quantile(each, _SHOWN_QUANTILES[0])) for each in values)
    high = max(float(np.quantile(each, _SHOWN_QUANTILES[1])) for each in values)
    return low / 1.05, high * 1.05


def _ridge(axes: Axes, values: FloatArray, edges: FloatArray, base: float, look: Look) -> None:
    counts, _ = np.histogram(values, edges)
    heights = base + _RIDGE_HEIGHT * counts / max(1, counts.max())
    axes.stairs(heights, edges, baseline=base, fill=True, color=look.light, alpha=0.35)
    axes.stairs(heights, edges, baseline=base, color=look.light, linewidth=1.2)
    axes.vlines(float(np.median(values)), base, base + _RIDGE_HEIGHT, color=look.light, linewidth=2)
    axes.vlines(float(np.quantile(values, 0.99)), base, base + _RIDGE_HEIGHT / 3, color=look.light, linewidth=2)


def _latency_axis(axes: Axes, edges: FloatArray) -> None:
    low, high = float(edges[0]), float(edges[-1])
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = _ticks(low, high)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    axes.grid(axis="x")


def _ticks(low: float, high: float) -> list[float]:
    """Round values between two limits, enough of them but not too many for one line of labels."""
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for steps in ([1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8], [1, 1.5, 2, 3, 4, 6, 8], [1, 2, 3, 5], [1, 3], [1]):
        ticks = [float(decade * step) for decade in decades for step in steps if low <= decade * step <= high]
        if len(ticks) <= 8:
            break
    return ticks if len(ticks) > 1 else [float(f"{value:.3g}") for value in np.linspace(low, high, 5)[1:-1]]


def _spread(name: str, latency_s: FloatArray, unit: Unit) -> str:
    median, tail = np.quantile(latency_s, [0.5, 0.99]) * unit.per_si
    return f"{name}: median {median:.3g}, 99th percentile {tail:.3g} {unit.name}, {latency_s.size} inferences"


def _since_s(trial: Trial, at_s: float) -> float:
    return at_s - trial.bursts[0].start_s


def _of(trial: Trial, name: str | None) -> list[Burst]:
    return [burst for burst in trial.bursts if burst.variant == name and burst.duration_s > 0]


def _draw_pace(axes: Axes, trial: Trial, name: str, look: Look) -> None:
    bursts = [burst for burst in _of(trial, name) if burst.discarded is None and not burst.paced]
    each_s = np.array([burst.duration_s / burst.inferences for burst in bursts if burst.inferences])
    middle_s = [_since_s(trial, (burst.start_s + burst.end_s) / 2) for burst in bursts if burst.inferences]
    pace = each_s / np.median(each_s) - 1
    axes.plot(middle_s, pace, marker=look.marker, markersize=4, linestyle="none", color=look.light)


def _draw_lanes(axes: Axes, trial: Trial, names: Sequence[str], style: dict[str, Look]) -> None:
    lanes: list[str | None] = [*names, None]
    for place, name in enumerate(lanes):
        look = style[name] if name is not None else _IDLE_LOOK
        for counts in (True, False):
            bursts = [burst for burst in _of(trial, name) if (burst.discarded is None) == counts]
            bars = [(_since_s(trial, burst.start_s), burst.duration_s) for burst in bursts]
            filled = look.light if counts else "none"
            axes.broken_barh(bars, (place - 0.38, 0.76), facecolor=filled, edgecolor=look.light, linewidth=0.5)
    axes.set_yticks(range(len(lanes)), [short(name) if name is not None else _IDLE_NAME for name in lanes])
    axes.set_ylim(len(lanes) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _draw_power(axes: Axes, trial: Trial, names: Sequence[str], style: dict[str, Look]) -> None:
    """Each burst's mean power; behind it the samples themselves, where they are power."""
    if trial.meter is not None and trial.meter.kind == "power":
        axes.plot(*_thinned(trial), color=MUTED.light, linewidth=0.6, alpha=0.7, zorder=1)
    for name in [*names, None]:
        look = style[name] if name is not None else _IDLE_LOOK
        for burst in _of(trial, name):
            energy_j = burst_energy(trial, burst).energy_j
            if energy_j is not None and burst.discarded is None:
                start_s, end_s = _since_s(trial, burst.start_s), _since_s(trial, burst.end_s)
                power_w = energy_j / burst.duration_s
                axes.axvspan(start_s, end_s, color=look.light, alpha=0.12, linewidth=0)
                axes.plot([start_s, end_s], [power_w] * 2, color=look.light, linewidth=2, zorder=2)
    axes.set_ylim(bottom=0)
    simulated = ", simulated" if trial.meter is not None and trial.meter.simulated else ""
    axes.set_ylabel(f"Power (W{simulated})")


def _thinned(trial: Trial) -> tuple[FloatArray, FloatArray]:
    """Times since the first burst and watts, averaged in groups where there are too many to draw."""
    start_s, end_s = trial.bursts[0].start_s, trial.bursts[-1].end_s
    trace = trial.trace[(trial.trace[:, 0] >= start_s) & (trial.trace[:, 0] <= end_s)]
    group = max(1, -(-len(trace) // _TRACE_POINTS))
    groups = trace[: len(trace) // group * group].reshape(-1, group, 2).mean(axis=1)
    return groups[:, 0] - start_s, groups[:, 1]


def _timeline_alt(trial: Trial, names: Sequence[str], metered: bool) -> str:
    length_s = _since_s(trial, trial.bursts[-1].end_s)
    power = ", power above" if metered else ""
    return (
        f"{trial.rounds} rounds over {length_s:.1f} s, each with one burst of {', '.join(names)} and idle{power}."
    )


def _timeline_caption(trial: Trial, metered: bool) -> str:
    lost = [burst for burst in trial.bursts if burst.discarded is not None]
    reasons = ", ".join(dict.fromkeys(burst.discarded or "" for burst in lost))
    parts = [f"{trial.rounds} rounds; in each, every variant and idle ran once, in random order."]
    if metered:
        parts.append("Power is the mean of each burst.")
    if lost:
        parts.append(f"{len(lost)} of {len(trial.bursts)} bursts (hollow) do not count: {reasons}.")
    return " ".join(parts)
