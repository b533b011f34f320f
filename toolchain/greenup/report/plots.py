"""Plots of a result: the GPS-UP plane, Speedup alone, and accuracy against what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from greenup.report.canvas import Plot, drawing, to_svg
from greenup.report.figures import common_unit, percent, ratio, show
from greenup.report.styles import GRID, INK, MUTED, Look, looks
from greenup.result import Interval, Result, VariantResult

_TICKS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100)
_MOST_TICKS = 7
_LONGEST_NAME = 24


def result_plots(result: Result) -> list[Plot]:
    """The plots that the result has figures for."""
    made: list[Plot] = []
    if any(row.greenup and row.speedup for row in result.variants):
        made.append(gpsup_plane(result))
    elif any(row.speedup for row in result.variants):
        made.append(speedup_forest(result))
    if any(row.latency_s for row in result.variants):
        made.append(tradeoff(result))
    return made


def gpsup_plane(result: Result) -> Plot:
    """Speedup and Greenup of every variant with intervals, the categories' regions, the line of equal power."""
    rows = [(row, row.speedup, row.greenup) for row in result.variants]
    known = [(row, speedup, greenup) for row, speedup, greenup in rows if speedup and greenup]
    low, high = _limits([each for _, *pair in known for each in pair if each])
    style = looks([row.name for row in result.variants])
    with drawing(5.6) as (figure, (axes,)):
        axes.plot([low, high], [low, high], color=MUTED.light, linewidth=1.2, linestyle="--", zorder=1)
        axes.axhline(1, color=INK.light, linewidth=1, zorder=1)
        axes.axvline(1, color=INK.light, linewidth=1, zorder=1)
        for row, speedup, greenup in known:
            if speedup and greenup:
                _cross(axes, speedup, greenup, style[row.name])
        _log_axis(axes, "x", low, high)
        _log_axis(axes, "y", low, high)
        _label_regions(axes, low, high)
        axes.set_xlabel("Speedup, T(fp32) / T(variant)")
        axes.set_ylabel("Greenup, E(fp32) / E(variant)")
        _legend(axes, [row.name for row, _, _ in known], style)
        said = [f"{row.name}: Speedup {ratio(s).joined()}, Greenup {ratio(g).joined()}" for row, s, g in known]
        svg = to_svg(figure, "plane", f"GPS-UP plane. {'; '.join(said)}.")
    caption = (
        "Above the horizontal line a variant saves energy, right of the vertical line it is faster. On the dashed "
        "line it draws the baseline's power; above it less, below it more. Bars are 95 % intervals; the numbers "
        "are the categories."
    )
    return Plot("plane", "GPS-UP plane", caption, svg)


def speedup_forest(result: Result) -> Plot:
    """Speedup of every variant with its interval, for a trial without a meter."""
    known = [(row, row.speedup) for row in result.variants if row.speedup]
    style = looks([row.name for row in result.variants])
    low, high = _limits([speedup for _, speedup in known])
    with drawing(1.1 + 0.45 * len(known)) as (figure, (axes,)):
        axes.axvline(1, color=INK.light, linewidth=1, zorder=1)
        for place, (row, speedup) in enumerate(known):
            _cross(axes, speedup, Interval(place, place, place), style[row.name])
            text = ratio(speedup).joined()
            axes.text(1.02, place, text, transform=axes.get_yaxis_transform(), va="center", fontsize=9)
        axes.set_yticks(range(len(known)), [short(row.name) for row, _ in known])
        axes.set_ylim(len(known) - 0.5, -0.5)
        _log_axis(axes, "x", low, high)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("Speedup, T(fp32) / T(variant)")
        said = "; ".join(f"{row.name} {ratio(speedup).joined()}" for row, speedup in known)
        svg = to_svg(figure, "forest", f"Speedup of each variant. {said}.")
    return Plot(
        "forest", "Speedup", "Right of the line a variant is faster than fp32. Bars are 95 % intervals.", svg
    )


def tradeoff(result: Result) -> Plot:
    """Test accuracy against measured energy, or against latency where energy was not measured."""
    by_energy = any(row.greenup for row in result.variants)
    pairs = [(row, _cost(row, by_energy)) for row in result.variants]
    known = [(row, cost) for row, cost in pairs if cost]
    unit = common_unit("J" if by_energy else "s", [cost.value for _, cost in known])
    style = looks([row.name for row in result.variants])
    what = "Energy per inference" if by_energy else "Median latency"
    with drawing(3.9) as (figure, (axes,)):
        for row, cost in known:
            _cross(axes, _scaled(cost, unit.per_si), _scaled(row.accuracy, 100), style[row.name])
        axes.set_xlim(left=0)
        axes.grid(True)
        simulated = (
            ", simulated" if by_energy and any(r.energy_j and r.energy_j.simulated for r, _ in known) else ""
        )
        axes.set_xlabel(f"{what} ({unit.name}{simulated})")
        axes.set_ylabel("Test accuracy (%)")
        _legend(axes, [row.name for row, _ in known], style)
        said = [
            f"{r.name}: {percent(r.accuracy).value} %, {show(cost, unit).value} {unit.name}" for r, cost in known
        ]
        svg = to_svg(figure, "tradeoff", f"Test accuracy against {what.lower()}. {'; '.join(said)}.")
    caption = "Better is up and to the left. Bars are 95 % intervals: Wilson's for accuracy, by rounds for cost."
    return Plot("tradeoff", f"Accuracy against {'energy' if by_energy else 'latency'}", caption, svg)


def short(name: str) -> str:
    """A name that fits beside an axis."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _cost(row: VariantResult, by_energy: bool) -> Interval | None:
    if by_energy:
        return row.energy_j.gross if row.energy_j else None
    return row.latency_s


def _scaled(interval: Interval, factor: float) -> Interval:
    return Interval(interval.value * factor, interval.low * factor, interval.high * factor)


def _cross(axes: Axes, x: Interval, y: Interval, look: Look) -> None:
    axes.errorbar(
        x.value,
        y.value,
        xerr=[[x.value - x.low], [x.high - x.value]],
        yerr=[[y.value - y.low], [y.high - y.value]],
        color=look.light,
        marker=look.marker,
        markersize=8,
        capsize=3,
        linewidth=1.6,
        zorder=3,
    )


def _legend(axes: Axes, names: Sequence[str], style: dict[str, Look]) -> None:
    """Above the axes, where it cannot cover a point."""
    handles = [
        Line2D([], [], color=style[name].light, marker=style[name].marker, markersize=8, linestyle="none")
        for name in names
    ]
    axes.legend(
        handles,
        [short(name) for name in names],
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=min(4, len(names)),
        borderaxespad=0.3,
        handletextpad=0.3,
    )


def _limits(intervals: Sequence[Interval]) -> tuple[float, float]:
    """Limits of a log axis that holds all intervals, and 1 at a third of its length or more."""
    high = max(1.5, 1.25 * max(each.high for each in intervals))
    low = min(1 / 1.3, min(each.low for each in intervals) / 1.25, high**-0.5)
    return low, max(high, low**-0.5)


def _log_axis(axes: Axes, which: str, low: float, high: float) -> None:
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    while len(ticks) > _MOST_TICKS:
        ticks = [tick for index, tick in enumerate(ticks) if tick == 1 or index % 2 == ticks.index(1) % 2]
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(low, high)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    axis.grid(True, color=GRID.light)


def _label_regions(axes: Axes, low: float, high: float) -> None:
    """Number the categories at the outer corners of their regions; `one` is where 1 lies on both axes."""
    one = -log(low) / (log(high) - log(low))
    places = {
        "1 green": (one + 0.01, 0.985, "left", "top"),
        "2 green": (0.935, 0.985, "right", "top"),
        "3 green": (0.99, one + 0.012, "right", "bottom"),
        "4 green": (0.01, 0.985, "left", "top"),
        "5 red": (0.99, 0.015, "right", "bottom"),
        "6 red": (0.01, one - 0.012, "left", "top"),
        "7 red": (0.055, 0.015, "left", "bottom"),
        "8 red": (one - 0.01, 0.015, "right", "bottom"),
    }
    for text, (x, y, across, down) in places.items():
        axes.text(x, y, text, transform=axes.transAxes, ha=across, va=down, color=MUTED.light, fontsize=9)
