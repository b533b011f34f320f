"""The report on a terminal and as HTML: complete, honest about energy, self-contained, safe with hostile names."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from test_gpsup import make_trial

from greenup.gpsup import compare
from greenup.intervals import wilson
from greenup.result import DatasetFacts, Result, VariantResult
from greenup_runtime.trial import MeterFacts, Trial

TIMES = {"fp32": 1.9e-3, "int8": 1.1e-3, "pruned": 1.2e-3, "pruned-int8": 0.7e-3}
POWERS = {"fp32": 5.0, "int8": 5.6, "pruned": 5.05, "pruned-int8": 5.8}


def make_result(trial: Trial | None, names: tuple[str, ...] = tuple(TIMES), **changes: Any) -> Result:
    """A result as the pipeline would make it, its ratios computed from the trial."""
    found = compare(trial) if trial else {}
    rows = tuple(_row(place, name, found.get(name)) for place, name in enumerate(names))
    conditions = _conditions(trial) if trial else {}
    plain = Result(
        bundle="ab" * 32,
        recipe="cd" * 32,
        dataset=DatasetFacts(
            name="ACSF1",
            split_id="ucr-default",
            files=(
                {"name": "ACSF1_TRAIN.ts", "sha256": "ef" * 32},
                {"name": "ACSF1_TEST.ts", "sha256": "01" * 32},
            ),
            train=80,
            validation=20,
            test=100,
            classes=("fridge", "laptop", "lamp"),
            notes=("20 of the 100 training cases were set apart for validation",),
        ),
        device="board-1",
        chosen=names[-1] if trial else names[0],
        chosen_because="least energy of 3 winning variants; on validation data 0.0 points below fp32",
        variants=rows,
        signed_by="SHA256:abc",
        trial=trial.id if trial else None,
        rounds=trial.rounds if trial else 0,
        conditions=conditions,
    )
    return replace(plain, **changes)


def _row(place: int, name: str, found: Any) -> VariantResult:
    return VariantResult(
        name=name,
        size_bytes=2_400_000 // (place + 1),
        parameters=601_234 // (place + 1),
        macs=38_000_000 // (place + 1),
        int8_share=0.93 if "int8" in name else 0.0,
        accuracy=wilson(91 - place, 100),
        validation=wilson(18, 20),
        agreement=1.0 - 0.01 * place,
        latency_s=found.latency_s if found else None,
        energy_j=found.energy if found else None,
        speedup=found.speedup if found else None,
        greenup=found.greenup if found else None,
        powerup=found.powerup if found else None,
        category=found.category if found else None,
        verdict=found.verdict if found else "not measured",
        reason=found.reason if found else "not measured",
    )


def _conditions(trial: Trial) -> dict[str, Any]:
    meter = asdict(trial.meter) if trial.meter else {"name": None, "reason": trial.meter_reason}
    plan = {"burst_s": 0.3, "threads": 1, "variants": list(trial.variants)}
    return {
        "started_at": trial.started_at,
        "meter": meter,
        "input": "1 × 1460, zscore",
        **trial.facts,
        "plan": plan,
    }


def measured(meter: MeterFacts | None, **how: Any) -> Trial:
    return make_trial(TIMES, POWERS, meter, **{"inferences": 100, "rounds": 12, **how})
