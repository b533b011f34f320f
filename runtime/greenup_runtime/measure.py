"""Run a trial: rounds of interleaved bursts, each variant and idle once per round in random order.

    warm-up ▇▇▇▇▇▇▇▇ until the temperature is steady
    round 0   int8 ▇▇▇  idle ___  fp32 ▇▇▇  pruned ▇▇▇
    round 1   fp32 ▇▇▇  pruned ▇▇▇  idle ___  int8 ▇▇▇        … at least the pilot rounds

Drift of the machine then falls on all variants alike, and a round is one paired observation. The number of
rounds is fixed once, from the spread that the pilot rounds show (Stein's two stages, Ann. Math. Stat. 16,
1945); stopping when an interval looks narrow would make it too narrow. A burst in which the board throttled
does not count and is run again at the end of its round.
"""

from __future__ import annotations

import gc
import math
import os
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from greenup_runtime import loops
from greenup_runtime.clock import Clock
from greenup_runtime.energy import burst_energy
from greenup_runtime.errors import DeviceFault
from greenup_runtime.loops import Infer
from greenup_runtime.meters import Chosen
from greenup_runtime.overhead import empty_burst, why_no_bursts
from greenup_runtime.plan import Plan
from greenup_runtime.sampling import Reopen, Sampler
from greenup_runtime.student import t95
from greenup_runtime.thermal import Conditions, Probe, at_edges, throttling
from greenup_runtime.trial import Burst, MeterFacts, Trial

__all__ = ["Infer", "Plan", "Progress", "run_trial"]

Progress = Callable[[int, int, str], None]
IDLE: None = None
# Of all bursts so far at most this share may be lost to throttling, beyond one round's worth.
MAX_DISCARDED = 0.2
SETTLE_S = 0.25
# The pattern's shortest stretch holds so many of the external meter's readings.
_READINGS_PER_CHIP = 5
_STEADY_C = 0.5
_STEADY_OVER_S = 10.0


class _NoProbe:
    def read(self) -> Conditions:
        return Conditions()


@dataclass(frozen=True)
class _Turn:
    variant: str | None
    length_s: float
    rate_hz: float | None = None


@dataclass
class _Bench:
    """What a trial works with, and the bursts so far."""

    plan: Plan
    engines: Mapping[str, Infer]
    chosen: Chosen
    clock: Clock
    sampler: Sampler
    probe: Probe
    facts: dict[str, Any]
    bursts: list[Burst] = field(default_factory=list)

    @property
    def meter(self) -> MeterFacts | None:
        """What watches on the device, if anything does."""
        return self.chosen.meter.facts if self.chosen.meter else None

    @property
    def burst_s(self) -> float:
        """Seconds of a burst with this meter."""
        return self.plan.burst_length_s(self.meter)

    @property
    def settle_s(self) -> float:
        """Seconds of a burst's own load before its start is stamped: only power that is steady has a mean.

        A board's capacitors and regulators trail what was before. A counter counts whatever is used.
        """
        power = self.plan.pattern or (self.meter is not None and self.meter.kind == "power")
        return min(SETTLE_S, self.burst_s / 4) if power else 0.0


def run_trial(
    plan: Plan,
    engines: Mapping[str, Infer],
    chosen: Chosen,
    clock: Clock,
    progress: Progress,
    facts: Mapping[str, Any],
    probe: Probe | None = None,
    reopen: Reopen | None = None,
) -> Trial:
    """Measure the plan's variants with one callable each, and return the trial with all raw data.

    `facts` must hold `bundle` and `device_id`; it is kept with the trial, as are the plan and why meters were
    passed over. `probe` tells the board's conditions, `reopen` opens a meter that went away again. Raises
    DeviceFault where the board throttles so much that no figure would be of the board.
    """
    order = random.Random(plan.seed)
    with _settled_memory(), Sampler(chosen.meter, clock, reopen) as sampler:
        bench = _Bench(plan, engines, chosen, clock, sampler, probe or _NoProbe(), dict(facts))
        bench.facts["warmup"] = _warm_up(bench)
        bench.facts["overhead_s"] = loops.overhead_s(clock)
        why_not = why_no_bursts(bench.meter, beside=plan.pattern)
        bench.facts["empty"] = {"bursts": [], "reason": why_not}
        _play(bench, "head")
        _rounds(bench, order, progress)
        _play(bench, "tail")
        return _draft(bench)


def _rounds(bench: _Bench, order: random.Random, progress: Progress) -> None:
    plan = bench.plan
    pilots = min(plan.pilot_rounds, plan.max_rounds)
    total, index = pilots, 0
    while index < total:
        progress(index, total, f"round {index + 1} of {total}")
        _round(index, bench, order, pilot=index < pilots)
        index += 1
        if index == pilots:
            total = _rounds_needed(plan, _draft(bench))
    progress(total, total, "measured")


@contextmanager
def _settled_memory() -> Iterator[None]:
    """Take what exists now out of the collector's sight: a collection before each burst is then a short one."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _collector_off() -> Iterator[None]:
    """Collect now and then no more, so that no pause of Python's falls on one variant."""
    gc.collect(1)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _round(index: int, bench: _Bench, order: random.Random, *, pilot: bool) -> None:
    pending = _turns(bench)
    order.shuffle(pending)
    empty_before = index % len(pending) if pilot else None
    while pending:
        done = []
        for place, turn in enumerate(pending):
            if place == empty_before:
                _empty(index, bench)
            done.append(_burst(index, turn, bench))
        empty_before = None
        bench.bursts += done
        pending = [turn for turn, burst in zip(pending, done, strict=True) if burst.discarded]
        _check_discarded(bench)


def _turns(bench: _Bench) -> list[_Turn]:
    burst_s, plan = bench.burst_s, bench.plan
    turns = [_Turn(name, burst_s) for name in (*plan.variants, IDLE)]
    paced_s = plan.paced_length_s(burst_s)
    return turns + [_Turn(name, paced_s, plan.pace_hz) for name in plan.variants if paced_s is not None]


def _check_discarded(bench: _Bench) -> None:
    lost = [burst.discarded for burst in bench.bursts if burst.discarded]
    if len(lost) > len(_turns(bench)) + MAX_DISCARDED * len(bench.bursts):
        raise DeviceFault(
            f"{len(lost)} of {len(bench.bursts)} bursts do not count: {lost[-1]}",
            "cool the board, use a stronger supply or a lower fixed frequency, and measure again",
        )


def _burst(index: int, turn: _Turn, bench: _Bench) -> Burst:
    """One burst of a variant or of idle."""
    clock, idle = bench.clock, turn.variant is IDLE
    with _collector_off():
        before = bench.probe.read()
        _settle(turn, bench)
        start_s, fault = bench.sampler.begin()
        cpu_s = clock.cpu()
        latencies = _run(turn, bench)
        cpu_s = clock.cpu() - cpu_s
        end_s, end_fault = bench.sampler.end(idle=idle or turn.rate_hz is not None)
        after = bench.probe.read()
    # A meter that fails costs this burst its energy, not the trial.
    return Burst(
        round=index,
        variant=turn.variant,
        start_s=start_s,
        end_s=end_s,
        cpu_s=cpu_s,
        latency_s=np.array(latencies, dtype=np.float64),
        discarded=throttling(before, after),
        meter_fault=fault or end_fault,
        paced=turn.rate_hz is not None,
        conditions=at_edges(before, after),
    )


def _empty(index: int, bench: _Bench) -> None:
    """A burst of calls that do nothing, for the runner's own overhead, where the meter can see it."""
    empty = bench.facts["empty"]
    if empty["reason"] is None:
        with _collector_off():
            loops.empty(bench.settle_s, bench.clock)
            empty["bursts"].append(empty_burst(index, bench.burst_s, bench.clock, bench.sampler))


def _settle(turn: _Turn, bench: _Bench) -> None:
    """The burst's load, or idle before windows at a rate, until the board's power is that of the burst."""
    if bench.settle_s > 0:
        idle = turn.variant is IDLE or turn.rate_hz is not None
        _run(_Turn(IDLE if idle else turn.variant, bench.settle_s), bench)


def _run(turn: _Turn, bench: _Bench) -> list[float]:
    if turn.variant is IDLE:
        bench.clock.sleep(turn.length_s)
        return []
    infer = bench.engines[turn.variant]
    if turn.rate_hz is None:
        return loops.busy(infer, turn.length_s, bench.clock)
    return loops.paced(infer, turn.length_s, turn.rate_hz, bench.clock)


def _warm_up(bench: _Bench) -> dict[str, Any]:
    """Work until the temperature has stood still for a while; at least the plan's time, and not for ever."""
    plan, clock = bench.plan, bench.clock
    begin_s = clock.now()
    seen: list[tuple[float, float]] = []
    while True:
        for name in plan.variants:
            loops.busy(bench.engines[name], plan.warmup_s / len(plan.variants), clock)
        now_s, temperature_c = clock.now() - begin_s, bench.probe.read().temperature_c
        if temperature_c is None or plan.warmup_s == 0:
            return {"seconds": now_s, "temperature_c": None, "steady": None}
        seen.append((now_s, temperature_c))
        past = [value for at_s, value in seen if at_s <= now_s - _STEADY_OVER_S]
        steady = bool(past) and abs(temperature_c - past[-1]) < _STEADY_C
        if steady or now_s >= plan.max_warmup_s:
            return {"seconds": now_s, "temperature_c": temperature_c, "steady": steady}


def _play(bench: _Bench, place: str) -> None:
    """The load pattern by which an external meter's clock is found."""
    if not bench.plan.pattern:
        return
    chip_s = _READINGS_PER_CHIP / bench.plan.pattern_hz
    pattern = bench.facts.setdefault("pattern", {"chip_s": chip_s})
    bench.clock.sleep(chip_s)
    # Backwards it is another sequence: the end cannot be taken for the start.
    chips = loops.CHIPS if place == "head" else loops.CHIPS[::-1]
    pattern[place] = loops.play(bench.engines[bench.plan.variants[0]], chip_s, bench.clock, chips)
    bench.clock.sleep(chip_s)


def _rounds_needed(plan: Plan, pilot: Trial) -> int:
    """How many rounds give every ratio the asked precision, from the spread seen in the pilot rounds."""
    spread = max((*_spreads(pilot, _time), *_spreads(pilot, _energy)), default=0.0)
    wanted = math.ceil((t95(pilot.rounds - 1) * spread / math.log1p(plan.precision)) ** 2)
    return max(pilot.rounds, min(plan.max_rounds, wanted))


def _spreads(trial: Trial, figure: Callable[[Trial, Burst], float | None]) -> list[float]:
    """Standard deviation over rounds of each variant's log ratio to the first variant, the baseline."""
    logs = np.full((trial.rounds, len(trial.variants)), np.nan)
    for burst in trial.bursts:
        if burst.variant is not None and burst.discarded is None and not burst.paced:
            value = figure(trial, burst)
            if value is not None and value > 0:
                logs[burst.round, trial.variants.index(burst.variant)] = math.log(value)
    ratios = logs[:, 1:] - logs[:, :1]
    complete = ratios[np.isfinite(ratios).all(axis=1)]
    return [float(column.std(ddof=1)) for column in complete.T] if len(complete) > 1 else []


def _time(_trial: Trial, burst: Burst) -> float | None:
    return burst.duration_s / burst.inferences if burst.inferences else None


def _energy(trial: Trial, burst: Burst) -> float | None:
    energy_j = burst_energy(trial, burst).energy_j
    return None if energy_j is None or not burst.inferences else energy_j / burst.inferences


def _draft(bench: _Bench) -> Trial:
    known, plan, meter = dict(bench.facts), bench.plan, bench.chosen.meter
    return Trial(
        id=str(known.pop("trial", uuid.uuid4().hex[:16])),
        bundle=known.pop("bundle"),
        device_id=known.pop("device_id"),
        started_at=known.pop("started_at", datetime.now().astimezone().isoformat(timespec="seconds")),
        variants=plan.variants,
        bursts=tuple(bench.bursts),
        meter=meter.facts if meter else None,
        meter_reason=None if meter else "; ".join(bench.chosen.reasons),
        trace=bench.sampler.trace(),
        facts={
            **known,
            "plan": plan.to_json(),
            "passed_over": list(bench.chosen.reasons),
            "burst_s": bench.burst_s,
            "settle_s": bench.settle_s,
            "discarded": dict(Counter(burst.discarded for burst in bench.bursts if burst.discarded)),
            "sampling": bench.sampler.facts(),
            "affinity": sorted(os.sched_getaffinity(0)),
        },
    )
