"""The energy of any command: run it while a meter is read, and say what was seen or why nothing was."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import IO, Any

from greenup_runtime import meters
from greenup_runtime.energy import WindowEnergy, window_energy
from greenup_runtime.errors import MeterFault, UsageFault
from greenup_runtime.meters import MeterOptions
from greenup_runtime.meters.base import warning_of
from greenup_runtime.sampling import Sampler
from greenup_runtime.trial import MeterFacts

_ESTIMATE = "estimate"


def energy_of(
    command: Sequence[str],
    request: str,
    order: Sequence[str],
    options: MeterOptions,
    stdout: IO[Any] | None = None,
) -> dict[str, Any]:
    """Run a command to its end; returns `exit_code`, `duration_s`, and `energy_j` with its source or a `reason`.

    The energy is all that the meter sees in that time, whoever used it; nothing is subtracted. `stdout` is where
    the command's own output goes. Raises UsageFault where it cannot be started, MeterFault where the meter asked
    for cannot be used.
    """
    if request.partition(":")[0] == _ESTIMATE:
        raise MeterFault(
            "an estimate knows the runner's own CPU time, not another command's", "name a sensor, or --meter none"
        )
    chosen = meters.choose(request, [name for name in order if name != _ESTIMATE], options)
    warning = warning_of(chosen.meter) if chosen.meter else None
    with Sampler(chosen.meter, options.clock) as sampler:
        start_s, fault = sampler.mark()
        exit_code = _run(command, stdout)
        end_s, end_fault = sampler.mark()
    answer = {"command": list(command), "exit_code": exit_code, "duration_s": end_s - start_s}
    if chosen.meter is None:
        return {**answer, "energy_j": None, "reason": "; ".join(chosen.reasons) or "no meter here"}
    facts = chosen.meter.facts
    seen = window_energy(sampler.trace(), facts, start_s, end_s)
    if fault or end_fault:
        seen = WindowEnergy(None, seen.updates, fault or end_fault)
    return {**answer, **_figures(seen, facts, end_s - start_s), "warning": warning, "passed_over": chosen.reasons}


def sentence(answer: dict[str, Any]) -> str:
    """One line for people: joules, time, power and source, or why there are none."""
    time = f"{answer['duration_s']:.2f} s"
    if answer["energy_j"] is None:
        return f"no energy figure ({answer['reason']}), {time}"
    mark = "".join(f" ({word})" for word in ("estimated", "simulated") if answer[word])
    line = (
        f"{answer['energy_j']:.4g} J{mark} in {time}, {answer['mean_w']:.4g} W on average; {answer['source']}; "
        f"scope {answer['scope']}; {answer['updates']:.0f} updates, coverage {answer['coverage']:.0%}"
    )
    return f"{line}; {answer['warning']}" if answer["warning"] else line


def _run(command: Sequence[str], stdout: IO[Any] | None) -> int:
    try:
        code = subprocess.call(list(command), stdout=stdout)
    except OSError as error:
        raise UsageFault(f"{command[0]} cannot be started: {error.strerror}") from error
    # What a shell says of a command that a signal ended.
    return code if code >= 0 else 128 - code


def _figures(seen: WindowEnergy, facts: MeterFacts, duration_s: float) -> dict[str, Any]:
    covered = min(1.0, seen.updates * facts.update_s / duration_s) if facts.kind == "power" else 1.0
    known = seen.energy_j is not None
    return {
        "energy_j": seen.energy_j,
        "reason": seen.reason,
        "mean_w": seen.energy_j / duration_s if seen.energy_j is not None and duration_s > 0 else None,
        "meter": facts.name,
        "source": facts.source,
        "scope": facts.scope,
        "rails": facts.rails,
        "estimated": facts.estimated,
        "simulated": facts.simulated,
        "updates": seen.updates,
        "coverage": covered if known else 0.0,
    }
