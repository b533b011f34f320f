"""What the board does to a trial: warmth, throttling, pace; read from trees on disk and by PATH."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from test_measure import FACTS, LATENCY_S

from greenup.overhead import overhead
from greenup_runtime.clock import FakeClock
from greenup_runtime.energy import burst_energy
from greenup_runtime.errors import DeviceFault
from greenup_runtime.measure import Plan, run_trial
from greenup_runtime.meters import Chosen
from greenup_runtime.meters.fake import FakeMeter
from greenup_runtime.thermal import BoardProbe, Conditions, throttling
from greenup_runtime.trial import MeterFacts, Trial


def board(root: Path, **files: str) -> Path:
    """A tree with one zone, one frequency and one throttle counter."""
    tree = {
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": "51250",
        "sys/class/thermal/thermal_zone1/type": "pmic",
        "sys/class/thermal/thermal_zone1/temp": "70000",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1800000",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "4",
        **files,
    }
    for name, text in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def test_conditions_are_read_below_a_root(tmp_path: Path) -> None:
    found = BoardProbe(board(tmp_path)).read()
    assert (found.temperature_c, found.frequency_hz, found.throttle_counts) == (51.25, 1.8e9, 4)
    assert found.zones_c == {"cpu-thermal": 51.25, "pmic": 70.0}
    assert BoardProbe(tmp_path / "nothing").read().temperature_c is None


def test_the_firmwares_flags_come_from_sysfs_or_from_vcgencmd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = "sys/devices/platform/soc/soc:firmware/get_throttled"
    assert BoardProbe(board(tmp_path / "a", **{flag: "50005"})).read().flags == 0x50005
    tool = tmp_path / "bin/vcgencmd"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho throttled=0x4\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/bin:/usr/bin")
    assert BoardProbe(board(tmp_path / "b")).read().flags == 4


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (Conditions(flags=0x50000), Conditions(flags=0x50000), None),
        (Conditions(), Conditions(flags=0x4), "throttled: throttled"),
        (Conditions(), Conditions(flags=0x10000), "throttled: under-voltage"),
        (Conditions(throttle_counts=3), Conditions(throttle_counts=5), "throttled: 2 thermal throttle events"),
    ],
)
def test_throttling_is_what_happened_between_the_edges(
    before: Conditions, after: Conditions, reason: str | None
) -> None:
    assert throttling(before, after) == reason


class Script:
    """Conditions as a function of the clock and of how often they were read."""

    def __init__(self, clock: FakeClock, script) -> None:  # type: ignore[no-untyped-def]
        self._clock, self._script, self._reads = clock, script, 0

    def read(self) -> Conditions:
        self._reads += 1
        found: Conditions = self._script(self._clock.now(), self._reads)
        return found


def measured(script, **plan) -> Trial:  # type: ignore[no-untyped-def]
    clock = FakeClock()
    engines = {name: (lambda mean=mean: clock.work(mean)) for name, mean in LATENCY_S.items()}
    settings = Plan(variants=tuple(LATENCY_S), **{"burst_s": 0.1, "max_rounds": 8, **plan})
    chosen = Chosen(FakeMeter(clock), ())
    return run_trial(settings, engines, chosen, clock, lambda *_: None, FACTS, probe=Script(clock, script))


def test_the_warm_up_ends_when_the_temperature_stands_still() -> None:
    trial = measured(lambda now, _: Conditions(temperature_c=60 - 20 * 0.9**now))
    warmup = trial.facts["warmup"]
    assert warmup["steady"]
    assert 15 < warmup["seconds"] < 60
    never = measured(lambda now, _: Conditions(temperature_c=40 + now), max_warmup_s=25.0).facts["warmup"]
    assert not never["steady"]
    assert 25 <= never["seconds"] < 27


def test_throttled_bursts_are_run_again_and_counted() -> None:
    trial = measured(lambda _, reads: Conditions(throttle_counts=sum(reads > at for at in (10, 30))))
    lost = [burst for burst in trial.bursts if burst.discarded]
    assert trial.facts["discarded"] == {"throttled: 1 thermal throttle events": len(lost)}
    assert 1 <= len(lost) <= 2
    for index in range(trial.rounds):
        kept = [burst.variant for burst in trial.bursts if burst.round == index and not burst.discarded]
        assert sorted(map(str, kept)) == ["None", "fp32", "pruned"]


def test_a_board_that_always_throttles_stops_the_trial() -> None:
    with pytest.raises(DeviceFault, match="bursts do not count: throttled") as fault:
        measured(lambda *_: Conditions(flags=4))
    assert "cool the board" in str(fault.value.hint)


def test_bursts_hold_a_hundred_updates_within_the_plans_bound() -> None:
    plan = Plan(variants=("fp32",))
    slow = MeterFacts("p", "power", "board", "a test", update_s=0.1, lag_s=0.5)
    assert plan.burst_length_s(slow) == pytest.approx(10.7)
    assert plan.burst_length_s(MeterFacts("c", "counter", "package", "a test", update_s=0.001)) == 0.3
    assert plan.burst_length_s(MeterFacts("p", "power", "board", "a test", update_s=1.0)) == 30.0
    assert plan.burst_length_s(None) == 0.3


def test_paced_windows_have_the_rate_and_idle_between() -> None:
    trial = measured(lambda *_: Conditions(), pace_hz=20.0, burst_s=0.25)
    paced = [burst for burst in trial.bursts if burst.paced]
    assert {burst.variant for burst in paced} == {"fp32", "pruned"}
    for burst in paced:
        assert burst.inferences == 5
        assert burst.duration_s == pytest.approx(0.25)
        assert burst.cpu_s == pytest.approx(5 * LATENCY_S[str(burst.variant)])


def test_the_runners_own_overhead_and_affinity_stand_with_the_trial() -> None:
    facts = measured(lambda *_: Conditions()).facts
    assert facts["overhead_s"] == 0
    assert facts["affinity"]
    assert facts["plan"]["threads"] == 1


class _Ticking(FakeClock):
    """A clock on which a look at the time takes some of it, as on a real one."""

    def now(self) -> float:
        self.work(1e-5)
        return super().now()


def test_the_runners_overhead_has_joules_from_empty_bursts_between_the_others() -> None:
    clock, rng = _Ticking(), random.Random(1)
    engines = {
        name: (lambda mean=mean: clock.work(mean * rng.uniform(0.8, 1))) for name, mean in LATENCY_S.items()
    }
    plan = Plan(variants=tuple(LATENCY_S), burst_s=0.2, warmup_s=0.0, pilot_rounds=4, max_rounds=6, precision=1e-9)
    trial = run_trial(plan, engines, Chosen(FakeMeter(clock, 2.0, 3.0), ()), clock, lambda *_: None, FACTS)
    bursts = trial.facts["empty"]["bursts"]
    assert [burst["round"] for burst in bursts] == [0, 1, 2, 3], "in the pilot rounds only"
    assert trial.rounds == 6
    starts = [burst.start_s for burst in trial.bursts]
    places = [sum(start < burst["start_s"] for start in starts) % 3 for burst in bursts]
    assert len(set(places)) == 3, "not always beside the same burst"
    found = overhead(trial)
    assert found["reason"] is None
    assert found["gross_j"]["value"] == pytest.approx(5.0 * found["call_s"], rel=0.05)
    assert found["net_j"]["value"] == pytest.approx(3.0 * found["call_s"], rel=0.05)


@pytest.mark.parametrize(
    ("meter", "reason"), [(None, "no meter"), (FakeMeter(FakeClock(), 2.0, 3.0), "0 empty bursts have an energy")]
)
def test_overhead_without_joules_says_why(meter: FakeMeter | None, reason: str) -> None:
    clock = FakeClock()
    engines = {name: (lambda mean=mean: clock.work(mean)) for name, mean in LATENCY_S.items()}
    plan = Plan(variants=tuple(LATENCY_S), burst_s=0.2, warmup_s=0.0, pilot_rounds=3, max_rounds=3)
    trial = run_trial(plan, engines, Chosen(meter, ("none",)), clock, lambda *_: None, FACTS)
    found = overhead(trial)
    assert found["gross_j"] is None
    assert found["reason"].startswith(reason)


class _Trailing:
    """A power meter of a board whose capacitors hold 50 ms; `used_j` is what really flowed, at `at_s`."""

    facts = MeterFacts("ina", "power", "board", "a test", update_s=0.01, lag_s=0.001)

    def __init__(self, clock: FakeClock) -> None:
        self._clock, self._power_w, self._cpu_s = clock, 2.0, 0.0
        self.at_s, self.used_j = [0.0], [0.0]

    def read(self) -> float:
        now_s, cpu_s = self._clock.now(), self._clock.cpu()
        passed_s = now_s - self.at_s[-1]
        if passed_s > 0:
            wanted_w = 2.0 + 4.0 * (cpu_s - self._cpu_s) / passed_s
            self.used_j.append(self.used_j[-1] + self._power_w * passed_s)
            self.at_s.append(now_s)
            self._power_w += (wanted_w - self._power_w) * (1 - math.exp(-passed_s / 0.05))
            self._cpu_s = cpu_s
        return self._power_w

    def close(self) -> None:
        """Nothing is held open."""


def test_what_a_boards_capacitors_trail_is_over_before_a_burst_begins() -> None:
    clock = FakeClock()
    meter = _Trailing(clock)
    engines = {name: (lambda mean=mean: clock.work(mean)) for name, mean in LATENCY_S.items()}
    plan = Plan(variants=tuple(LATENCY_S), burst_s=1.0, warmup_s=0.0, pilot_rounds=3, max_rounds=3)
    trial = run_trial(plan, engines, Chosen(meter, ()), clock, lambda *_: None, FACTS)
    meter.read()
    assert trial.facts["settle_s"] == 0.25
    for burst in trial.bursts:
        used_j = float(np.diff(np.interp([burst.start_s, burst.end_s], meter.at_s, meter.used_j))[0])
        # Without the run-up an idle burst between busy ones is 2 % off.
        assert burst_energy(trial, burst).energy_j == pytest.approx(used_j, rel=0.001)
    for before, after in pairwise(trial.bursts):
        assert after.start_s - before.end_s > 0.25 - 1e-9


def test_a_counter_needs_no_run_up() -> None:
    assert measured(lambda *_: Conditions()).facts["settle_s"] == 0
