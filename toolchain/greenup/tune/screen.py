"""How fast each candidate is on the device, before anything is trained for it.

Weights do not change how long a model takes. So untrained sketches of all structures are exported, packed with
the trained original and measured like any bundle, and only those worth it are trained; the same is done for graph
forms and int8 forms of what was trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from greenup import loop
from greenup.gpsup import compare
from greenup.loop import Session
from greenup.pipeline import Made
from greenup.recipe import MeasureSpec
from greenup.tune.stages import TuneStages
from greenup_runtime.bundle import BASELINE, open_folder
from greenup_runtime.errors import IntegrityFault

# Enough to rank candidates that differ by a tenth; the final figures come from trials of their own.
SPEC = MeasureSpec(burst_s=0.1, warmup_s=1.0, pilot_rounds=5, max_rounds=5)


@dataclass(frozen=True)
class Screened:
    """What a candidate takes on the device, and its multiplications for one window."""

    latency_s: float
    macs: int


class Screen:
    """The device as a search looks at it; an equal look is not taken twice."""

    def __init__(self, session: Session, stages: TuneStages, seed: int) -> None:
        self._session = replace(session, out=session.out / "tune" / "screen")
        self._stages, self._seed = stages, seed

    def __call__(self, models: Mapping[str, Made]) -> dict[str, Screened]:
        """Measure the original and these; keyed by name, the original under `fp32`.

        Speed alone is looked at, without a meter: bursts are too short for most of them. They are installed beside
        what serves on the device and never serve. What the device cannot run, or what computes something else
        there than here, is missing.
        """
        try:
            return self._measured(models)
        except IntegrityFault:
            if len(models) <= 1:
                return self._measured({})  # raises again where the fault is not the candidate's
        half = len(models) // 2
        parts = (dict(list(models.items())[:half]), dict(list(models.items())[half:]))
        return {name: found for part in parts for name, found in self(part).items()}

    def _measured(self, models: Mapping[str, Made]) -> dict[str, Screened]:
        stages = self._stages
        made = {BASELINE: Made(stages.exported(BASELINE), stages.trained()), **models}
        bundle = loop.publish(self._session, open_folder(stages.packed(made)), stages.recipe)
        folder = loop.measure(self._session, SPEC, "none", self._seed, again=False, serve=False)
        _, trial = loop.open_trial(folder)
        macs = {entry["name"]: entry["macs"] for entry in bundle.manifest["variants"]}
        return {
            name: Screened(row.latency_s.value, macs[name])
            for name, row in compare(trial).items()
            if row.latency_s is not None
        }
