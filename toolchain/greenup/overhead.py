"""What the runner itself adds to each inference, by the trial's empty bursts: seconds and joules per call."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from greenup.intervals import MIN_VALUES, t_interval
from greenup.rounds import idle_power
from greenup_runtime.energy import NO_ENERGY_SEEN, WindowEnergy, window_energy
from greenup_runtime.trial import MeterFacts, Trial


def overhead(trial: Trial) -> dict[str, Any]:
    """`call_s`, `gross_j` and `net_j` of one empty call with 95 % intervals over the pilot rounds.

    What cannot be stated is None, and `reason` says why.
    """
    table: dict[str, Any] = {"call_s": trial.facts.get("overhead_s"), "gross_j": None, "net_j": None}
    kept = trial.facts.get("empty")
    if kept is None or trial.meter is None or trial.meter.estimated:
        return {**table, "reason": "no empty burst was run" if kept is None else kept["reason"] or "no meter"}
    bursts = [burst for burst in kept["bursts"] if burst["end_s"] > burst["start_s"]]
    windows = [_window(trial, trial.meter, burst) for burst in bursts]
    found = [(burst, window) for burst, window in zip(bursts, windows, strict=True) if window.energy_j is not None]
    if len(found) < MIN_VALUES:
        why = next((window.reason for window in windows if window.reason), "the trial ran without a meter")
        return {**table, "reason": f"{len(found)} empty bursts have an energy, {MIN_VALUES} are needed: {why}"}
    return {**table, **_joules(trial, found), "reason": None}


def _window(trial: Trial, meter: MeterFacts, burst: dict[str, Any]) -> WindowEnergy:
    if burst["meter_fault"] and meter.name != "external":
        return WindowEnergy(None, 0.0, burst["meter_fault"])
    return window_energy(trial.trace, meter, burst["start_s"], burst["end_s"])


def _joules(trial: Trial, found: list[tuple[dict[str, Any], WindowEnergy]]) -> dict[str, Any]:
    idle, gross, net, slack = idle_power(trial), [], [], []
    for burst, window in found:
        assert window.energy_j is not None, NO_ENERGY_SEEN
        length_s = burst["end_s"] - burst["start_s"]
        idle_j = idle.near((burst["start_s"] + burst["end_s"]) / 2) * length_s
        gross.append(window.energy_j / burst["calls"])
        net.append((window.energy_j - idle_j) / burst["calls"])
        slack.append(window.slack_j / burst["calls"])
    slack_j = sum(slack) / len(slack)
    whole, above = t_interval(gross, slack_j), t_interval(net, 2 * slack_j)
    return {
        "gross_j": asdict(whole) if whole else None,
        "net_j": asdict(above) if above and above.low > 0 else None,
    }
