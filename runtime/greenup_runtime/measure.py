"""Run a trial: rounds of interleaved bursts, each variant and idle once per round in random order.

    round 0   int8 ▇▇▇  idle ___  fp32 ▇▇▇  pruned ▇▇▇
    round 1   fp32 ▇▇▇  pruned ▇▇▇  idle ___  int8 ▇▇▇        … at least the pilot rounds

Drift of the machine then falls on all variants alike, and a round is one paired observation. The number of
rounds is fixed once, from the spread that the pilot rounds show (Stein's two stages, Ann. Math. Stat. 16,
1945); stopping when an interval looks narrow would make it too narrow.
"""

from __future__ import annotations

import gc
import math
import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from greenup_runtime.clock import Clock
from greenup_runtime.energy import burst_energy
from greenup_runtime.errors import UsageFault
from greenup_runtime.meters import Chosen
from greenup_runtime.sampling import Sampler
from greenup_runtime.trial import Burst, Trial

Infer = Callable[[], object]
Progress = Callable[[int, int, str], None]
IDLE: None = None
# Two-sided 95 % quantiles of Student's t, by degrees of freedom; the runtime has no scipy.
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_T95_BEYOND = 2.228


@dataclass(frozen=True)
class Plan:
    """What to measure and how; `precision` is the wanted half-width of a ratio's interval, as a share."""

    variants: tuple[str, ...]
    burst_s: float = 0.3
    warmup_s: float = 1.0
    pilot_rounds: int = 8
    max_rounds: int = 40
    precision: float = 0.02
    threads: int = 1
    seed: int = 0
    meter: str = "auto"

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """Read a plan as the host sends it. Raises UsageFault for a key it does not know or lacks."""
        try:
            return cls(**{**values, "variants": tuple(values["variants"])})
        except (TypeError, KeyError) as error:
            raise UsageFault(
                f"the plan of the measurement cannot be read: {error}", "host and runner differ in version"
            ) from error


def run_trial(
    plan: Plan,
    engines: Mapping[str, Infer],
    chosen: Chosen,
    clock: Clock,
    progress: Progress,
    facts: Mapping[str, Any],
) -> Trial:
    """Measure the plan's variants with one callable each, and return the trial with all raw data.

    `facts` must hold `bundle` and `device_id`; it is kept with the trial, as are the plan and why meters were
    passed over.
    """
    order = random.Random(plan.seed)
    with _settled_memory(), Sampler(chosen.meter, clock) as sampler:
        _warm_up(plan, engines, clock)
        bursts: list[Burst] = []
        total = plan.pilot_rounds
        index = 0
        while index < total:
            progress(index, total, f"round {index + 1} of {total}")
            bursts += _round(index, plan, engines, clock, sampler, order)
            index += 1
            if index == plan.pilot_rounds:
                total = _rounds_needed(plan, _draft(plan, bursts, chosen, sampler, facts))
        progress(total, total, "measured")
        return _draft(plan, bursts, chosen, sampler, facts)


@contextmanager
def _settled_memory() -> Iterator[None]:
    """Take what exists now out of the collector's sight: a collection before each burst is then a short one."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _round(
    index: int, plan: Plan, engines: Mapping[str, Infer], clock: Clock, sampler: Sampler, order: random.Random
) -> list[Burst]:
    turn: list[str | None] = [*plan.variants, IDLE]
    order.shuffle(turn)
    return [_burst(index, name, plan.burst_s, engines, clock, sampler) for name in turn]


def _burst(
    index: int, name: str | None, burst_s: float, engines: Mapping[str, Infer], clock: Clock, sampler: Sampler
) -> Burst:
    """One burst; the collector is held off so that no pause of Python's falls on one variant."""
    gc.collect()
    gc.disable()
    try:
        start_s, fault = sampler.mark()
        cpu_s = clock.cpu()
        latencies = _idle(burst_s, clock) if name is IDLE else _busy(engines[name], burst_s, clock)
        cpu_s = clock.cpu() - cpu_s
        end_s, end_fault = sampler.mark()
    finally:
        gc.enable()
    # A meter that fails costs this burst its energy, not the trial.
    return Burst(
        round=index,
        variant=name,
        start_s=start_s,
        end_s=end_s,
        cpu_s=cpu_s,
        latency_s=np.array(latencies, dtype=np.float64),
        meter_fault=fault or end_fault,
    )


def _busy(infer: Infer, burst_s: float, clock: Clock) -> list[float]:
    latencies = []
    begin = before = clock.now()
    while before - begin < burst_s:
        infer()
        after = clock.now()
        latencies.append(after - before)
        before = after
    return latencies


def _idle(burst_s: float, clock: Clock) -> list[float]:
    clock.sleep(burst_s)
    return []


def _warm_up(plan: Plan, engines: Mapping[str, Infer], clock: Clock) -> None:
    for name in plan.variants:
        _busy(engines[name], plan.warmup_s / len(plan.variants), clock)


def _rounds_needed(plan: Plan, pilot: Trial) -> int:
    """How many rounds give every ratio the asked precision, from the spread seen in the pilot rounds."""
    freedom = plan.pilot_rounds - 1
    quantile = _T95[freedom - 1] if freedom <= len(_T95) else _T95_BEYOND
    spread = max((*_spreads(pilot, _time), *_spreads(pilot, _energy)), default=0.0)
    wanted = math.ceil((quantile * spread / math.log1p(plan.precision)) ** 2)
    return max(plan.pilot_rounds, min(plan.max_rounds, wanted))


def _spreads(trial: Trial, figure: Callable[[Trial, Burst], float | None]) -> list[float]:
    """Standard deviation over rounds of each variant's log ratio to the first variant, the baseline."""
    logs = np.full((trial.rounds, len(trial.variants)), np.nan)
    for burst in trial.bursts:
        value = figure(trial, burst) if burst.variant is not IDLE else None
        if value is not None and value > 0 and burst.variant is not None:
            logs[burst.round, trial.variants.index(burst.variant)] = math.log(value)
    ratios = logs[:, 1:] - logs[:, :1]
    complete = ratios[np.isfinite(ratios).all(axis=1)]
    return [float(column.std(ddof=1)) for column in complete.T] if len(complete) > 1 else []


def _time(_trial: Trial, burst: Burst) -> float | None:
    return burst.duration_s / burst.inferences if burst.inferences else None


def _energy(trial: Trial, burst: Burst) -> float | None:
    energy_j = burst_energy(trial, burst).energy_j
    return None if energy_j is None or not burst.inferences else energy_j / burst.inferences


def _draft(plan: Plan, bursts: list[Burst], chosen: Chosen, sampler: Sampler, facts: Mapping[str, Any]) -> Trial:
    known = dict(facts)
    meter = chosen.meter
    return Trial(
        id=str(known.pop("trial", uuid.uuid4().hex[:16])),
        bundle=known.pop("bundle"),
        device_id=known.pop("device_id"),
        started_at=known.pop("started_at", datetime.now().astimezone().isoformat(timespec="seconds")),
        variants=plan.variants,
        bursts=tuple(bursts),
        meter=meter.facts if meter else None,
        meter_reason=None if meter else "; ".join(chosen.reasons),
        trace=sampler.trace(),
        facts={
            **known,
            "plan": {**asdict(plan), "variants": list(plan.variants)},
            "passed_over": list(chosen.reasons),
        },
    )
