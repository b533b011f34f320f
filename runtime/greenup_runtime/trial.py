"""One measurement as data: interleaved bursts of variants and idle on one device, raw samples kept.

On disk a trial is a folder that needs no extra library:

    trial.json        plan, conditions, meter, bundle, device; what `Trial.facts` holds
    bursts.jsonl.gz   one line per burst: round, variant (null is idle), start, end, inferences, conditions
    raw.npz           `sample_time_s`, `sample_value` (the meter's trace) and `latency_s` (all bursts in order)

Every figure of a report can be computed again from these three files. trial.json holds the hashes of the
others and a digest of itself.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from greenup_runtime.errors import IntegrityFault

SCHEMA = "greenup.trial"
VERSION = 1
_PARTS = ("bursts.jsonl.gz", "raw.npz")
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MeterFacts:
    """What a meter is, as it stands beside every joule.

    `kind` is `counter` (values are joules since the meter was opened) or `power` (values are watts).
    `scope` says what the sensor sees (`package`, `module`, `board`, `process`). `estimated` marks a
    model instead of a sensor, `simulated` a fake or a replay; neither may pass as measured. `rails` names what is
    summed, where a board has several; `lag_s` is how far back the power reaches that a reading shows (on-chip
    averaging); `clock_error_s` how well the meter's time is known on the device's clock (0 on the device itself).
    """

    name: str
    kind: Literal["counter", "power"]
    scope: str
    source: str
    update_s: float
    resolution: float = 0.0
    estimated: bool = False
    simulated: bool = False
    rails: tuple[str, ...] = ()
    lag_s: float = 0.0
    clock_error_s: float = 0.0

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> MeterFacts:
        """From a JSON object, where a tuple is a list. Raises TypeError for other keys."""
        return cls(**{**values, "rails": tuple(values.get("rails", ()))})


@dataclass(frozen=True)
class Burst:
    """Back-to-back inferences of one variant, or idle (`variant` is None), in one round.

    `start_s` and `end_s` are on the device's monotonic clock, the one of the meter's samples.
    `latency_s` has the shape [inferences] and is empty for idle. `discarded` says why the whole burst does not
    count, `meter_fault` why its energy does not. `paced` marks a window in which inferences came at the plan's
    rate with idle between; `conditions` holds temperature, frequency and throttling at its edges.
    """

    round: int
    variant: str | None
    start_s: float
    end_s: float
    cpu_s: float
    latency_s: FloatArray = field(repr=False)
    discarded: str | None = None
    meter_fault: str | None = None
    paced: bool = False
    conditions: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def inferences(self) -> int:
        """How many inferences ran in the burst; 0 for idle."""
        return int(self.latency_s.size)

    @property
    def duration_s(self) -> float:
        """Wall time from the first inference's start to the last one's end."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Trial:
    """A finished measurement. `facts` holds conditions that differ by device (board, governor, threads…).

    `trace` has the shape [samples, 2]: monotonic seconds, and joules or watts by `meter.kind`; nan is a
    counter that was lost there and counts from anew. It is empty where no meter could be read, and
    `meter_reason` then says why.
    """

    id: str
    bundle: str
    device_id: str
    started_at: str
    variants: tuple[str, ...]
    bursts: tuple[Burst, ...]
    meter: MeterFacts | None
    meter_reason: str | None
    trace: FloatArray = field(repr=False)
    facts: dict[str, Any]

    @property
    def rounds(self) -> int:
        """How many rounds were run; in each, every variant and idle had one burst."""
        return 1 + max((burst.round for burst in self.bursts), default=-1)


def save(trial: Trial, folder: Path) -> None:
    """Write the three files of a trial into an existing, empty folder."""
    head = {
        "schema": SCHEMA,
        "version": VERSION,
        "id": trial.id,
        "bundle": trial.bundle,
        "device_id": trial.device_id,
        "started_at": trial.started_at,
        "variants": list(trial.variants),
        "meter": asdict(trial.meter) if trial.meter else None,
        "meter_reason": trial.meter_reason,
        "facts": trial.facts,
    }
    with gzip.open(folder / "bursts.jsonl.gz", "wt", encoding="utf-8") as lines:
        for burst in trial.bursts:
            lines.write(json.dumps(_burst_line(burst)) + "\n")
    latency = [burst.latency_s for burst in trial.bursts]
    np.savez_compressed(
        folder / "raw.npz",
        sample_time_s=trial.trace[:, 0],
        sample_value=trial.trace[:, 1],
        latency_s=np.concatenate(latency) if latency else np.empty(0),
    )
    head["files"] = {name: _sha256(folder / name) for name in _PARTS}
    text = json.dumps({**head, "digest": _digest(head)}, indent=2, sort_keys=True)
    (folder / "trial.json").write_text(text + "\n")


def load(folder: Path) -> Trial:
    """Read a trial's folder. Raises IntegrityFault for a file that is missing, edited or of a newer schema."""
    try:
        head = json.loads((folder / "trial.json").read_text())
        _check_schema(head)
        _check_whole(folder, head)
        lines = gzip.decompress((folder / "bursts.jsonl.gz").read_bytes()).decode().splitlines()
        raw = np.load(io.BytesIO((folder / "raw.npz").read_bytes()), allow_pickle=False)
        return _assemble(head, [json.loads(line) for line in lines], raw)
    except FileNotFoundError as error:
        raise IntegrityFault(
            f"trial {folder} lacks {Path(error.filename).name}", "name a trial's folder, or measure again"
        ) from error
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise IntegrityFault(f"trial {folder} cannot be read: {error}", "measure again") from error


def _check_whole(folder: Path, head: dict[str, Any]) -> None:
    """Figures are recomputed from these files, so a changed one must not pass; a forger is not kept out."""
    edited = [name for name in _PARTS if _sha256(folder / name) != head["files"][name]]
    if _digest(head) != head["digest"]:
        edited.append("trial.json")
    if edited:
        raise IntegrityFault(
            f"trial {folder}: {' and '.join(edited)} changed after the measurement", "measure again"
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(head: dict[str, Any]) -> str:
    """Hex digest of trial.json's own content, whatever its layout."""
    own = {key: value for key, value in head.items() if key != "digest"}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()


def _burst_line(burst: Burst) -> dict[str, Any]:
    return {
        "round": burst.round,
        "variant": burst.variant,
        "start_s": burst.start_s,
        "end_s": burst.end_s,
        "cpu_s": burst.cpu_s,
        "inferences": burst.inferences,
        "discarded": burst.discarded,
        "meter_fault": burst.meter_fault,
        "paced": burst.paced,
        "conditions": burst.conditions,
    }


def _check_schema(head: dict[str, Any]) -> None:
    if head.get("schema") != SCHEMA or int(head["version"]) > VERSION:
        raise IntegrityFault(
            f"not a trial that this version reads: {head.get('schema')} version {head.get('version')}",
            "update greenup",
        )


def _assemble(head: dict[str, Any], lines: list[dict[str, Any]], raw: Any) -> Trial:
    ends = np.cumsum([line["inferences"] for line in lines]).astype(int)
    latency = np.asarray(raw["latency_s"], dtype=np.float64)
    if latency.size != (ends[-1] if len(ends) else 0):
        raise ValueError(f"bursts.jsonl.gz and raw.npz disagree: {latency.size} latencies")
    bursts = tuple(
        Burst(
            round=line["round"],
            variant=line["variant"],
            start_s=line["start_s"],
            end_s=line["end_s"],
            cpu_s=line["cpu_s"],
            discarded=line["discarded"],
            meter_fault=line["meter_fault"],
            paced=line.get("paced", False),
            conditions=line.get("conditions", {}),
            latency_s=latency[end - line["inferences"] : end],
        )
        for line, end in zip(lines, ends, strict=True)
    )
    meter = MeterFacts.from_json(head["meter"]) if head["meter"] else None
    trace = np.column_stack([raw["sample_time_s"], raw["sample_value"]]).astype(np.float64)
    return Trial(
        id=head["id"],
        bundle=head["bundle"],
        device_id=head["device_id"],
        started_at=head["started_at"],
        variants=tuple(head["variants"]),
        bursts=bursts,
        meter=meter,
        meter_reason=head["meter_reason"],
        trace=trace,
        facts=head["facts"],
    )
