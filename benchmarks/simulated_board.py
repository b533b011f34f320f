"""A board whose true power is known at every instant, and a sensor that shows it as real sensors do.

The board runs on a fake clock: idle power drifts, each burst draws its own power and pace, an inference has a
heavy and a light part. The sensor has a rate of its own, averages, trails, adds noise, rounds to steps and is
read at slightly wrong times. All else (sampler, trial, energy, ratios) is greenup's own code.
"""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from greenup_runtime.clock import FakeClock
from greenup_runtime.trial import MeterFacts

# An inference draws more in its first part and less in the rest; the mean is what the variant draws.
HEAVY, HEAVY_SHARE = 1.2, 0.6
# Capacitors even out what is shorter than this.
EVEN_S = 0.0002
LIGHT = (1 - HEAVY * HEAVY_SHARE) / (1 - HEAVY_SHARE)


@dataclass(frozen=True)
class Setting:
    """One kind of board and sensor. Powers in watts, times in seconds; `average` counts the sensor's updates."""

    name: str
    rate_hz: float
    latency_s: float
    kind: str = "power"
    noise_w: float = 0.02
    step_w: float = 0.0
    average: float = 1.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    drift: float = 0.02
    idle_w: float = 2.0
    active_w: float = 3.0
    spread: float = 0.01
    max_burst_s: float = 30.0
    burst_s: float = 0.05

    @property
    def facts(self) -> MeterFacts:
        """What the simulated sensor says of itself."""
        power = self.kind == "power"
        return MeterFacts(
            name="simulated",
            kind="power" if power else "counter",
            scope="simulated board",
            source=f"simulation, {self.name}",
            update_s=1 / self.rate_hz,
            resolution=self.step_w,
            simulated=True,
            lag_s=self.average / self.rate_hz + self.delay_s if power else 0.0,
        )


@dataclass
class Load:
    """What a variant does to the board: its latency and its power above idle."""

    latency_s: float
    active_w: float


class BoardClock(FakeClock):
    """A fake clock on which sleeping puts the board to idle."""

    idle: Callable[[], None] = staticmethod(lambda: None)

    def sleep(self, seconds: float) -> None:
        """Pass idle time."""
        self.idle()
        super().sleep(seconds)


@dataclass
class Board:
    """True power and energy over time, and what the loads do with it."""

    setting: Setting
    seed: int
    clock: BoardClock = field(default_factory=BoardClock)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self._times, self._joules, self._watts = [0.0], [0.0], [0.0]
        self._owner: object = None
        self._factors, self._drawn_s = (1.0, 1.0), 0.0
        # Idle drifts slowly against a burst: one swing takes as long as twenty to eighty bursts.
        self.burst_s = max(self.setting.burst_s, 100 / self.setting.rate_hz)
        self._swing_s = self.burst_s * self.rng.uniform(20, 80)
        # No two boards draw the same, so that no setting happens to lie well on its sensor's steps.
        self.level = self.rng.uniform(0.9, 1.1)
        self._phase = self.rng.uniform(0, 2 * math.pi)
        self.clock.idle = self.rest  # type: ignore[method-assign]

    def infer(self, load: Load) -> Callable[[], None]:
        """A variant: each call passes one inference's time at its power."""

        def call() -> None:
            now_s = self.clock.now()
            if self._owner is not load or now_s - self._drawn_s >= self.burst_s:
                self._owner, self._drawn_s = load, now_s
                spread = self.setting.spread
                self._factors = math.exp(self.rng.gauss(0, spread)), math.exp(self.rng.gauss(0, spread / 2))
            power_w = load.active_w * self._factors[0]
            latency_s = load.latency_s * self._factors[1] * (1 + 0.04 * (self.rng.random() - 0.5))
            if latency_s < EVEN_S:
                self.draw(power_w)
                self.clock.work(latency_s)
                return
            self.draw(HEAVY * power_w)
            self.clock.work(HEAVY_SHARE * latency_s)
            self.draw(LIGHT * power_w)
            self.clock.work((1 - HEAVY_SHARE) * latency_s)

        return call

    def rest(self) -> None:
        """Back to idle."""
        self._owner = None
        self.draw(0.0)

    def draw(self, watts: float) -> None:
        """Draw so much above idle from now on."""
        if watts != self._watts[-1]:
            now_s = self.clock.now()
            self._joules.append(self._active_j(now_s, len(self._times) - 1))
            self._times.append(now_s)
            self._watts.append(watts)

    def power_w(self, at_s: float) -> float:
        """True power at an instant that has passed."""
        place = bisect.bisect_right(self._times, at_s) - 1
        swing = math.sin(2 * math.pi * at_s / self._swing_s + self._phase)
        return self.setting.idle_w * (1 + self.setting.drift * swing) + self._watts[max(0, place)]

    def energy_j(self, at_s: float) -> float:
        """True energy from the start to an instant that has passed."""
        place = max(0, bisect.bisect_right(self._times, at_s) - 1)
        turn = self._swing_s / (2 * math.pi)
        swung = turn * (math.cos(self._phase) - math.cos(at_s / turn + self._phase))
        return self.setting.idle_w * (at_s + self.setting.drift * swung) + self._active_j(at_s, place)

    def idle_w(self, start_s: float, end_s: float) -> float:
        """Mean idle power between two instants."""
        turn = self._swing_s / (2 * math.pi)
        swung = turn * (math.cos(start_s / turn + self._phase) - math.cos(end_s / turn + self._phase))
        return self.setting.idle_w * (1 + self.setting.drift * swung / (end_s - start_s))

    def _active_j(self, at_s: float, place: int) -> float:
        return self._joules[place] + self._watts[place] * (at_s - self._times[place])


class BoardMeter:
    """The board's sensor: a power register or a counter, renewed at its own rate."""

    def __init__(self, board: Board) -> None:
        self.facts = board.setting.facts
        self._board = board
        setting = board.setting
        # No two oscillators agree; the sensor's phase wanders through the sampler's.
        self._period_s = (1 + board.rng.uniform(-0.003, 0.003)) / setting.rate_hz
        self._phase_s = board.rng.uniform(0, self._period_s)
        self._tick = -1
        self._shown = 0.0

    def read(self) -> float:
        """What the register holds now; a counter's read takes 10 µs, as a file of sysfs does."""
        setting = self._board.setting
        if self.facts.kind == "counter":
            self._board.clock.work(1e-5)
        now_s = self._board.clock.now()
        if setting.jitter_s:
            now_s -= abs(self._board.rng.gauss(0, setting.jitter_s))
        tick = math.floor((now_s + self._phase_s) / self._period_s)
        if tick > self._tick:
            self._tick = tick
            self._shown = self._convert(tick * self._period_s - self._phase_s)
        return self._shown

    def close(self) -> None:
        """Nothing is held open."""

    def _convert(self, at_s: float) -> float:
        setting, board = self._board.setting, self._board
        at_s = max(0.0, at_s - setting.delay_s)
        if self.facts.kind == "counter":
            value = board.energy_j(at_s)
        elif setting.average and at_s > setting.average * self._period_s:
            span_s = setting.average * self._period_s
            value = (board.energy_j(at_s) - board.energy_j(at_s - span_s)) / span_s
        else:
            value = board.power_w(at_s)
        if self.facts.kind == "power":
            value += board.rng.gauss(0, setting.noise_w)
        return round(value / setting.step_w) * setting.step_w if setting.step_w else value


RAPL = Setting("RAPL", 1000, 0.0011, kind="counter", step_w=61e-6, burst_s=0.3, idle_w=8.0, active_w=20.0)
SETTINGS = (
    Setting("INA226, 16 averages", 28, 0.023, noise_w=0.01, step_w=0.025),
    Setting("INA219, 128 averages", 14.7, 0.041, noise_w=0.02, step_w=0.02),
    Setting("raw I2C, 0.3 ms of 1", 1000, 0.00071, noise_w=0.1, step_w=0.01, average=0.3),
    Setting("raw I2C, 50 µs model", 1000, 0.00005, noise_w=0.05, step_w=0.01),
    Setting("Jetson, 5 mΩ at 5 V", 77, 0.0083, noise_w=0.03, step_w=0.04),
    Setting("Jetson, 5 mΩ at 19 V", 77, 0.0117, noise_w=0.03, step_w=0.152),
    Setting("Jetson, coarse and quiet", 10, 0.05, noise_w=0.01, step_w=0.152, drift=0.005, spread=0.002),
    Setting("PMIC, 10 Hz", 10, 0.047, noise_w=0.05, step_w=0.005, average=0.3),
    Setting("tegrastats, 1 Hz", 1, 0.3, noise_w=0.02, step_w=0.04),
    Setting("tegrastats, long bursts", 1, 0.7, noise_w=0.02, step_w=0.04, max_burst_s=120),
    Setting("moving mean of 8", 100, 0.0073, noise_w=0.05, average=8),
    Setting("trails by 0.3 s", 10, 0.047, noise_w=0.02, delay_s=0.3),
    Setting("read up to 6 ms late", 100, 0.0073, noise_w=0.02, average=0.4, jitter_s=0.003),
    Setting("strong drift", 50, 0.017, drift=0.15),
    Setting("little above idle", 50, 0.017, active_w=0.4, noise_w=0.02),
    Setting("far above idle", 50, 0.017, idle_w=1.0, active_w=9.0, noise_w=0.05),
    Setting("noisy machine", 100, 0.0093, spread=0.04),
    RAPL,
    replace(RAPL, name="RAPL, 0.1 ms model", latency_s=0.0001, burst_s=0.1),
    Setting("slow counter", 10, 0.047, kind="counter", step_w=0.001),
)
