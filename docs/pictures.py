"""Draw the pictures of docs/ from real results: `python docs/pictures.py TRIAL` writes `docs/img/timeline.svg`.

TRIAL is a trial's folder (below OUT/trials). The plot is the report's own. The one in the repository is of the
emulated machine of tests/kernel: `GREENUP_KERNEL_KEEP=kept make test-kernel`, then TRIAL is kept/trial-ina219.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

from greenup.report.styles import colours
from greenup.report.trial_plots import timeline
from greenup_runtime import trial as trials

IMAGES = Path(__file__).resolve().parent / "img"
SHOWN_ROUNDS = 6


def main() -> None:
    """Write the timeline of the first rounds of a trial; print the caption that it needs."""
    trial = trials.load(Path(sys.argv[1]))
    shown = first_rounds(trial, SHOWN_ROUNDS)
    plot = timeline(shown, list(trial.variants))
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / "timeline.svg").write_text(standalone(plot.svg), encoding="utf-8")
    meter = trial.meter.source if trial.meter else "no meter"
    print(f"{plot.caption} {trial.facts.get('cpu')}; {meter}; the first {shown.rounds} of {trial.rounds} rounds.")


def first_rounds(trial: trials.Trial, count: int) -> trials.Trial:
    """The trial's first rounds alone, with the trace that belongs to them."""
    bursts = tuple(burst for burst in trial.bursts if burst.round < count)
    last_s = max((burst.end_s for burst in bursts), default=0.0)
    return replace(trial, bursts=bursts, trace=trial.trace[trial.trace[:, 0] <= last_s + 1.0])


def standalone(svg: str) -> str:
    """Inline SVG as a file of its own: a namespace, a white ground, colours instead of the page's variables."""
    for tone in colours():
        svg = svg.replace(f"var({tone.variable})", tone.light)
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert size is not None
    ground = f'<rect width="{size[1]}" height="{size[2]}" fill="white"/>'
    svg = svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    start = svg.index(">", svg.index("<svg")) + 1
    return svg[:start] + ground + svg[start:] + "\n"


if __name__ == "__main__":
    main()
