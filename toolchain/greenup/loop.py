"""The whole loop on one device: build, push, measure, choose, commit, report. Files are written here only.

OUT/bundle/            the signed bundle
OUT/measure.json       how the recipe wants it measured; what `greenup measure` goes by
OUT/trials/<id>/       one measurement, raw data and the manifest it is of
OUT/selection.json     what the device serves now
OUT/result.json        what `--json` prints
OUT/report.html        the report
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from greenup import bundle as packing
from greenup import external, pipeline
from greenup.cache import Cache, replace_folder, writing
from greenup.collect.store import RecordStore, collect
from greenup.devices import push as pushing
from greenup.devices.inventory import Device
from greenup.folders import cache_folder
from greenup.outcome import assemble
from greenup.recipe import MeasureSpec, Recipe
from greenup.result import Result
from greenup.signing import SigningKey
from greenup_runtime import trial as trials
from greenup_runtime.bundle import MANIFEST_NAME, Bundle, open_folder, parse
from greenup_runtime.errors import GreenupError, IntegrityFault, UsageFault
from greenup_runtime.files import write_json
from greenup_runtime.plan import Plan
from greenup_runtime.trial import Trial

Progress = Callable[[str, int, int, str], None]
_PLAN = "measure.json"


@dataclass(frozen=True)
class Session:
    """What the verbs of one command share: a device, a folder for results, a key, and where progress goes."""

    device: Device
    out: Path
    key: SigningKey | None
    progress: Progress
    allow_unsigned: bool = False

    @property
    def bundle_folder(self) -> Path:
        """Where the bundle lies."""
        return self.out / "bundle"


def build(session: Session, recipe: Recipe, data_dir: Path | None) -> Bundle:
    """Build a recipe for the session's device, and put the signed bundle into `OUT/bundle`."""
    return publish(session, pipeline.build(job(session, recipe, data_dir)), recipe)


def job(session: Session, recipe: Recipe, data_dir: Path | None) -> pipeline.Build:
    """What a build of the recipe for the session's device starts from."""
    features = tuple(session.device.runner.hello()["isa"])
    target = session.device.target
    return pipeline.Build(recipe, target, features, Cache(cache_folder()), data_dir, session.progress)


def publish(session: Session, packed: Bundle, recipe: Recipe) -> Bundle:
    """Sign a packed bundle and put it into `OUT/bundle`, with how its recipe wants it measured beside it."""
    with tempfile.TemporaryDirectory() as scratch:
        staged = Path(scratch) / "bundle"
        shutil.copytree(packed.blobs.parent.parent, staged)
        packing.sign(staged, session.key)
        replace_folder(staged, session.bundle_folder)
    write_json(session.out / _PLAN, {"seed": recipe.seed, "measure": recipe.trial.model_dump(mode="json")})
    return open_folder(session.bundle_folder)


def planned(out: Path) -> tuple[MeasureSpec, int]:
    """How the recipe of `OUT/bundle` wants it measured, and its seed; the defaults for a bundle from elsewhere."""
    try:
        kept = json.loads((out / _PLAN).read_text())
        return MeasureSpec.model_validate(kept["measure"]), int(kept["seed"])
    except FileNotFoundError:
        return MeasureSpec(), 0
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityFault(f"{out / _PLAN} is damaged: {error}", "build again, or remove it") from error


def push(session: Session, *, serve: bool = True) -> pushing.Pushed:
    """Install and prove `OUT/bundle` on the device; its baseline serves until something was measured.

    Without `serve` what serves there is left alone.
    """
    session.progress("push", 0, 1, session.device.name)
    done = pushing.push(session.bundle_folder, session.device, session.key, allow_unsigned=session.allow_unsigned)
    if serve:
        pushing.serve_first(session.device, done.bundle, session.key, allow_unsigned=session.allow_unsigned)
    session.progress("push", 1, 1, f"{done.sent_blobs} files, {done.sent_bytes / 1e6:.1f} MB sent")
    return done


def serve(session: Session, pushed: pushing.Pushed, variant: str) -> None:
    """Let a variant of the pushed bundle serve, by a signed selection that no trial stands behind."""
    unsigned = session.allow_unsigned
    selection = pushing.select(session.device, pushed.bundle, variant, session.key, allow_unsigned=unsigned)
    if selection is not None:
        write_json(session.out / "selection.json", selection)


def measure(
    session: Session,
    spec: MeasureSpec,
    meter: str,
    seed: int,
    *,
    again: bool,
    only: tuple[str, ...] | None = None,
    serve: bool = True,
    external_hz: float | None = None,
) -> Path:
    """Measure the pushed bundle's usable variants (of `only` those named), and return the trial's folder.

    An equal measurement of the same bundle on the same device is used again unless `again` is set. With
    `external_hz` a load pattern is played, by which a meter of so many readings a second is aligned later.
    """
    bundle = open_folder(session.bundle_folder)
    pushed = push(session, serve=serve)
    usable = tuple(name for name in pushed.usable if only is None or name in only)
    request = _request(session, bundle, usable, spec, meter, seed, external_hz)
    if not again and (found := _earlier(session.out / "trials", request, pushed.device_id)):
        session.progress("measure", 1, 1, f"trial {found.name} used again (--remeasure for a new one)")
        return found
    with tempfile.TemporaryDirectory() as scratch:
        fetched = Path(scratch)
        session.device.runner.measure(request, fetched, lambda *step: session.progress("measure", *step))
        trial = trials.load(fetched)
        (fetched / MANIFEST_NAME).write_bytes(bundle.manifest_bytes)
        folder = session.out / "trials" / trial.id
        replace_folder(fetched, folder)
    stored = collect(session.device.runner, RecordStore())
    session.progress("measure", 1, 1, f"{trial.rounds} rounds, {stored} records stored")
    return folder


def assembled(session: Session, trial_folder: Path) -> Result:
    """Compare the variants of a trial; nothing is written and nothing changes on the device."""
    bundle, trial = open_trial(trial_folder)
    signer = session.key.signer if session.key else None
    return assemble(bundle, session.device.name, trial, trial.facts.get("signer") or signer)


def conclude(
    session: Session, trial_folder: Path, tried: tuple[dict[str, Any], ...] = (), notes: tuple[str, ...] = ()
) -> Result:
    """Compare the variants of a trial, let the chosen one serve, and write result and report.

    `tried` and `notes` are a search's, to stand in both.
    """
    bundle, trial = open_trial(trial_folder)
    if trial.meter is not None and trial.meter.simulated:
        notes = (*notes, "simulated energy chooses nothing: what serves on the device was left alone")
    result = replace(assembled(session, trial_folder), tried=tried, notes=notes)
    if trial.meter is not None and trial.meter.simulated:
        return write_report(result, trial, session.out)
    selection = pushing.select(
        session.device,
        bundle.digest,
        result.chosen,
        session.key,
        trial=trial.id,
        budget=bundle.manifest["budget"],
        allow_unsigned=session.allow_unsigned,
    )
    if selection is not None:
        write_json(session.out / "selection.json", selection)
    return write_report(result, trial, session.out)


def open_trial(folder: Path) -> tuple[Bundle, Trial]:
    """A trial's folder on the host: the manifest it is of, and its data. Raises UsageFault for another folder."""
    try:
        manifest = (folder / MANIFEST_NAME).read_bytes()
    except OSError as error:
        raise UsageFault(
            f"{folder} is not a trial's folder: it has no {MANIFEST_NAME}", "look below OUT/trials"
        ) from error
    return parse(manifest, folder), trials.load(folder)


def with_external(folder: Path, record: Path, live: dict[str, Any] | None = None) -> Path:
    """A copy of a trial, beside it, whose meter is an external one's CSV; returns the copy's folder."""
    bundle, trial = open_trial(folder)
    metered = external.apply(trial, record, live)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / metered.id
        copy.mkdir()
        trials.save(metered, copy)
        (copy / MANIFEST_NAME).write_bytes(bundle.manifest_bytes)
        replace_folder(copy, folder.resolve().parent / metered.id)
    return folder.resolve().parent / metered.id


def write_report(result: Result, trial: Trial, out: Path) -> Result:
    """Write `report.html` and `result.json` into a folder; returns the result with the report's path."""
    from greenup.report.html import write_html

    finished = replace(result, report=str((out / "report.html").resolve()))
    with writing(f"the report in {out}"):
        out.mkdir(parents=True, exist_ok=True)
        write_html(finished, trial, out / "report.html")
        write_json(out / "result.json", finished.to_json())
    return finished


def _request(
    session: Session,
    bundle: Bundle,
    usable: tuple[str, ...],
    spec: MeasureSpec,
    meter: str,
    seed: int,
    external_hz: float | None,
) -> dict[str, Any]:
    baseline = bundle.manifest["baseline"]
    names = [baseline, *(variant.name for variant in bundle.variants if variant.name != baseline)]
    variants = tuple(name for name in names if name in usable)
    settings: dict[str, Any] = {**spec.model_dump(), "pattern": external_hz is not None}
    if external_hz is not None:
        settings["pattern_hz"] = external_hz
    plan = Plan(variants=variants, seed=seed, meter=meter, **settings)
    target = session.device.target
    return {
        "bundle": bundle.digest,
        "plan": plan.to_json(),
        "meters": list(target.meters.order),
        **target.meter_settings(),
    }


def _earlier(folder: Path, request: dict[str, Any], device_id: str) -> Path | None:
    """The newest trial of the same bundle, device and plan."""
    for path in sorted(folder.glob("*/"), key=lambda item: item.stat().st_mtime, reverse=True):
        try:
            _, trial = open_trial(path)
        except GreenupError:
            continue
        same = (trial.bundle, trial.device_id) == (request["bundle"], device_id)
        # A copy with an external meter's energy answers another question than the one that is asked.
        if same and trial.facts["plan"] == request["plan"] and "external" not in trial.facts:
            return path
    return None


def build_facts(bundle: Bundle, folder: Path) -> dict[str, Any]:
    """What `greenup build --json` prints."""
    return {
        "schema": "greenup.build/1",
        "bundle": bundle.digest,
        "folder": str(folder.resolve()),
        "signed": packing.signature_of(folder) is not None,
        "dataset": bundle.manifest["dataset"],
        "variants": bundle.manifest["variants"],
    }


def push_facts(pushed: pushing.Pushed, device: str) -> dict[str, Any]:
    """What `greenup push --json` prints."""
    return {"schema": "greenup.push/1", "device": device, **asdict(pushed)}
