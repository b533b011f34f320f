"""Put a bundle's manifest and a trial together into the result that every report shows."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from greenup.choose import choose
from greenup.gpsup import Comparison, compare
from greenup.overhead import overhead
from greenup.paced import paced_figures
from greenup.result import Accuracy, DatasetFacts, Judgement, Result, VariantResult
from greenup_runtime.bundle import Bundle
from greenup_runtime.errors import IntegrityFault
from greenup_runtime.trial import Trial

NOT_MEASURED = "not measured"


def assemble(bundle: Bundle, device: str, trial: Trial | None, signed_by: str | None) -> Result:
    """The result of a bundle on a device; without a trial only what the build knows.

    Raises IntegrityFault where the trial is of another bundle.
    """
    manifest = bundle.manifest
    if trial is not None and trial.bundle != bundle.digest:
        raise IntegrityFault(
            f"the trial is of bundle {trial.bundle[:12]}, not of {bundle.digest[:12]}", "measure this bundle"
        )
    comparisons = compare(trial, manifest["baseline"]) if trial else {}
    at_rate = paced_figures(trial, manifest["baseline"]) if trial else {}
    rows = tuple(
        replace(
            _row(entry, comparisons.get(entry["name"]), manifest["baseline"]), paced=at_rate.get(entry["name"])
        )
        for entry in manifest["variants"]
    )
    chosen, because = choose(rows, manifest["baseline"], manifest["budget"])
    return Result(
        bundle=bundle.digest,
        recipe=manifest["recipe"],
        dataset=_dataset(manifest),
        device=device,
        chosen=chosen,
        chosen_because=because,
        variants=rows,
        signed_by=signed_by,
        trial=trial.id if trial else None,
        rounds=trial.rounds if trial else 0,
        conditions=_conditions(trial, bundle) if trial else {},
    )


def _row(entry: dict[str, Any], comparison: Comparison | None, baseline: str) -> VariantResult:
    missing = "the baseline itself" if entry["name"] == baseline else NOT_MEASURED
    return VariantResult(
        name=entry["name"],
        size_bytes=entry["size_bytes"],
        parameters=entry["parameters"],
        macs=entry["macs"],
        int8_share=entry["int8_share"],
        accuracy=Accuracy(**entry["accuracy"]["test"]),
        validation=Accuracy(**entry["accuracy"]["validation"]),
        agreement=entry["agreement"],
        latency_s=comparison.latency_s if comparison else None,
        energy_j=comparison.energy if comparison else None,
        speedup=comparison.speedup if comparison else None,
        greenup=comparison.greenup if comparison else None,
        powerup=comparison.powerup if comparison else None,
        category=comparison.category if comparison else None,
        verdict=comparison.verdict if comparison else NOT_MEASURED,
        reason=comparison.reason if comparison else missing,
        judged=Judgement(**entry["judged"]) if entry.get("judged") else None,
    )


def _dataset(manifest: dict[str, Any]) -> DatasetFacts:
    facts = manifest["dataset"]
    return DatasetFacts(
        name=facts["name"],
        split_id=facts["split_id"],
        files=tuple(facts["files"]),
        train=facts["train"],
        validation=facts["validation"],
        test=facts["test"],
        classes=tuple(manifest["classes"]),
        notes=tuple(facts["notes"]),
    )


def _conditions(trial: Trial, bundle: Bundle) -> dict[str, Any]:
    meter = asdict(trial.meter) if trial.meter else {"name": None, "reason": trial.meter_reason}
    input_facts = bundle.manifest["input"]
    window = {"input": f"{input_facts['channels']} × {input_facts['length']}, {input_facts['normalize']}"}
    # The played pattern and the empty bursts are raw data, in the trial's own files.
    raw = {"pattern", "empty", "overhead_s"}
    facts = {name: value for name, value in trial.facts.items() if name not in raw}
    return {"started_at": trial.started_at, "meter": meter, "overhead": overhead(trial), **window, **facts}
