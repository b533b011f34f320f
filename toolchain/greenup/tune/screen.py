"""How fast each structure would be, measured on the device before anything is trained.

Weights do not change how long a model takes. So untrained sketches of all structures are exported, packed with
the trained original and measured like any bundle, and only those worth it are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from greenup import loop
from greenup.gpsup import compare
from greenup.loop import Session
from greenup.pipeline import Made
from greenup.recipe import MeasureSpec
from greenup.tune.stages import TuneStages
from greenup.tune.structures import Structure
from greenup_runtime.bundle import BASELINE, open_folder

# Enough to rank structures that differ by a tenth; the final figures come from trials of their own.
SPEC = MeasureSpec(burst_s=0.1, warmup_s=1.0, pilot_rounds=5, max_rounds=5)


@dataclass(frozen=True)
class Screened:
    """What a sketch takes on the device, and its multiplications for one window."""

    latency_s: float
    macs: int


def screen(
    session: Session, stages: TuneStages, structures: Sequence[Structure], seed: int
) -> dict[str, Screened]:
    """Measure the original and sketches of the structures; keyed by name, the original under `fp32`.

    Speed alone is looked at, without a meter: bursts are too short for most of them. The sketches are installed
    beside what serves on the device and never serve.
    """
    made = {BASELINE: Made(stages.exported(BASELINE), stages.trained())}
    for structure in structures:
        folder = stages.sketched(structure)
        made[structure.name] = Made(stages.float_onnx(folder, structure.name), folder)
    aside = replace(session, out=session.out / "tune" / "screen")
    bundle = loop.publish(aside, open_folder(stages.packed(made)), stages.recipe)
    folder = loop.measure(aside, SPEC, "none", seed, again=False, serve=False)
    _, trial = loop.open_trial(folder)
    macs = {entry["name"]: entry["macs"] for entry in bundle.manifest["variants"]}
    return {
        name: Screened(row.latency_s.value, macs[name])
        for name, row in compare(trial).items()
        if row.latency_s is not None
    }
