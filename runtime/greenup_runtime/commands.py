"""What each verb of `greenup-runner` does: values in, a JSON value or bytes out; printing is cli.py's."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenup_runtime import __version__, cpu, selection, wire
from greenup_runtime.errors import GreenupError, IntegrityFault, SpoolFault, UsageFault
from greenup_runtime.manifest import strict_json
from greenup_runtime.overview import overview
from greenup_runtime.proven import onnxruntime_version
from greenup_runtime.store import Store

if TYPE_CHECKING:
    from greenup_runtime.meters import MeterOptions

Answer = Any
Verb = Callable[[argparse.Namespace, Store], Any]


@dataclass(frozen=True)
class Finished:
    """The answer of a verb that ran somebody's command: its exit code becomes ours, its output stays alone.

    `line` is for people, on stderr; `answer` for programs, on stdout.
    """

    answer: Answer
    exit_code: int
    line: str


def hello(arguments: argparse.Namespace, store: Store) -> Answer:
    """Who answers: protocol, versions, device; imports nothing heavy."""
    # Here and not above: a serving runner would carry it for years.

    return {
        "protocol": wire.PROTOCOL,
        "runtime": __version__,
        "onnxruntime": onnxruntime_version(),
        "python": platform.python_version(),
        "architecture": platform.machine(),
        "device": store.device_id,
        "home": str(store.home),
        "cpu": cpu.model_name(arguments.root),
        "isa": list(cpu.isa_features(arguments.root)),
    }


def status(arguments: argparse.Namespace, store: Store) -> Answer:
    """What serves, since which selection, what else is stored, and how many records wait."""
    return {**overview(store, arguments.root), **_spool_state(store)}


def trust(_arguments: argparse.Namespace, store: Store) -> Answer:
    """Take a line of an allowed-signers file from stdin, if no signer is trusted yet."""
    return {"changed": store.trust(sys.stdin.read())}


def wanted(_arguments: argparse.Namespace, store: Store) -> Answer:
    """Of the blobs named on stdin (a JSON list), those this device lacks."""
    return {"missing": store.missing(_stdin_json(list))}


def install(_arguments: argparse.Namespace, store: Store) -> Answer:
    """Store the bundle that arrives as a tar on stdin."""
    return {"bundle": store.install(sys.stdin.buffer).digest}


def prove(arguments: argparse.Namespace, store: Store) -> Answer:
    """Check an installed bundle: signature, bytes, memory, CPU features, golden samples."""
    from greenup_runtime import proving

    if arguments.in_process:
        return _prove_here(arguments, store)
    proof = proving.prove_installed(
        store,
        arguments.bundle,
        allow_unsigned=arguments.allow_unsigned,
        root=arguments.root,
        limit_s=arguments.limit_s,
    )
    return proof.to_json()


def _prove_here(arguments: argparse.Namespace, store: Store) -> Answer:
    """The proof's own process: the only one that loads a model nobody has proven yet."""
    from greenup_runtime import proof, proving

    proving.confine(arguments.root, arguments.limit_s)
    bundle, signature = store.bundle(arguments.bundle)
    unsigned = arguments.allow_unsigned
    return proof.prove(
        bundle, signature, store.allowed_signers, allow_unsigned=unsigned, root=arguments.root
    ).to_json()


def commit(arguments: argparse.Namespace, store: Store) -> Answer:
    """Let a selection serve from now on: the signed one on stdin (JSON), or an unsigned one made here."""
    chosen, signature = _selection_here(arguments, store) if arguments.variant else _selection_from_stdin()
    store.commit(chosen, signature, allow_unsigned=arguments.allow_unsigned, root=arguments.root)
    return {"serving": chosen, "collected": _collected(store)}


def _collected(store: Store) -> Answer:
    """What is not needed any more goes after a commit; where that fails the commit stands all the same."""
    from greenup_runtime import garbage

    try:
        return garbage.collect(store).to_json()
    except (GreenupError, OSError) as error:
        return {"reason": f"nothing was collected: {error}"}


def _selection_here(arguments: argparse.Namespace, store: Store) -> tuple[dict[str, Any], None]:
    if not arguments.allow_unsigned:
        raise UsageFault(
            "a selection made on the device has no signature",
            "allow it with --allow-unsigned, or sign one on the host: `greenup push --variant`",
        )
    state = store.state()
    digest = arguments.bundle or (state["current"] or {"selection": {"bundle": ""}})["selection"]["bundle"]
    return selection.make(store.device_id, digest, arguments.variant, state["highest_sequence"] + 1), None


def _selection_from_stdin() -> tuple[Any, str | None]:
    envelope = _stdin_json(dict)
    signature = envelope.get("signature")
    if signature is not None and not isinstance(signature, str):
        raise IntegrityFault("the selection's signature is no text", "push again")
    return envelope.get("selection"), signature


def rollback(arguments: argparse.Namespace, store: Store) -> Answer:
    """Let what served before serve again."""
    return {"serving": store.rollback(arguments.cause, arguments.steps), "cause": arguments.cause}


def infer(arguments: argparse.Namespace, store: Store) -> Answer:
    """Classify one recording: a JSON list, or a list of channels, from a file or stdin."""
    import numpy as np

    from greenup_runtime import engine, meters, oneshot
    from greenup_runtime.clock import SystemClock
    from greenup_runtime.preprocess import to_windows

    bundle, serving = store.serving()
    variant = arguments.variant or serving
    series = _series(arguments.file)
    loaded = engine.load(bundle, variant)
    chosen = meters.choose(arguments.meter, meters.SENSORS, meters.MeterOptions(root=arguments.root))
    done = oneshot.classify(loaded, to_windows(series, bundle.policy), chosen, SystemClock())
    not_kept = _keep(store, done.records(bundle.digest, variant, store.device_id))
    probabilities = done.probabilities
    best = np.argmax(probabilities, axis=1)
    return {
        "bundle": bundle.digest,
        "variant": variant,
        "labels": [bundle.classes[index] for index in best],
        "probabilities": [dict(zip(bundle.classes, map(float, row), strict=True)) for row in probabilities],
        "latency_s": sum(done.latency_s) / len(done.latency_s),
        "energy": [share.to_record(done.meter) for share in done.shares],
        **not_kept,
    }


def _keep(store: Store, records: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Put records into the spool; an answer stands even where that fails, and then says so."""
    try:
        with store.spool() as spool:
            spool.append(records)
    except SpoolFault as fault:
        return {"record_lost": fault.message}
    return {}


def _spool_state(store: Store) -> dict[str, Any]:
    try:
        with store.spool() as spool:
            return {"records": spool.depth(), "records_dropped": spool.dropped}
    except SpoolFault as fault:
        return {"records": None, "records_dropped": None, "spool_fault": fault.message}


def meters(arguments: argparse.Namespace, _store: Store) -> Answer:
    """Every meter of this device with its rails in watts, or the reason why it cannot be used."""
    from greenup_runtime.meters import survey

    return {"meters": survey(_meter_options(arguments), arguments.watch_s, arguments.only)}


def energy_of(arguments: argparse.Namespace, _store: Store) -> Finished:
    """Run a command and say what energy a meter saw meanwhile; its exit code is ours."""
    from greenup_runtime import energy_of as runs
    from greenup_runtime.meters import SENSORS

    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise UsageFault("energy-of needs a command", "write greenup-runner energy-of -- CMD …")
    machine = arguments.json or arguments.framed
    options = _meter_options(arguments)
    answer = runs.energy_of(command, arguments.meter, SENSORS, options, sys.stderr if machine else None)
    return Finished(answer, answer["exit_code"], runs.sentence(answer))


def job_start(arguments: argparse.Namespace, store: Store) -> Answer:
    """Begin the measurement whose request (JSON) is on stdin."""
    from greenup_runtime import jobs, trials

    request = _stdin_json(dict)
    trials.check_request(request)
    return {"job": jobs.start(store, request, arguments.root).id}


def job_status(arguments: argparse.Namespace, store: Store) -> Answer:
    """How far a job is."""
    from greenup_runtime import jobs

    return jobs.find(store, arguments.job).status()


def job_fetch(arguments: argparse.Namespace, store: Store) -> bytes:
    """A finished job's files as a tar."""
    from greenup_runtime import jobs

    return jobs.find(store, arguments.job).fetch()


def job_cancel(arguments: argparse.Namespace, store: Store) -> Answer:
    """Stop a job."""
    from greenup_runtime import jobs

    jobs.find(store, arguments.job).cancel()
    return {"cancelled": arguments.job}


def job_run(arguments: argparse.Namespace, store: Store) -> Answer:
    """The job's own process: measure, and leave the result or the fault in the job's folder."""
    from greenup_runtime import jobs, trials

    job = jobs.find(store, arguments.job)
    try:
        trials.measure_bundle(store, job.request(), job.progress, job.result, arguments.root)
    except GreenupError as fault:
        job.finish(fault)
        raise
    job.finish()
    return {"job": job.id}


def _stdin_json(kind: type) -> Any:
    try:
        value = strict_json(sys.stdin.read())
    except ValueError as error:
        raise UsageFault(f"stdin does not hold JSON: {error}") from error
    if not isinstance(value, kind):
        raise UsageFault(f"stdin holds a JSON {type(value).__name__}, a {kind.__name__} is needed")
    return value


def _meter_options(arguments: argparse.Namespace) -> MeterOptions:
    from greenup_runtime.meters import MeterOptions

    try:
        target = json.loads(arguments.settings)
        return MeterOptions(
            root=arguments.root,
            estimate=dict(target.get("estimate", {})),
            settings=dict(target.get("meter_settings", {})),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageFault(f"--settings does not hold a JSON object of tables: {error}") from error


def _series(file: str) -> Any:
    import numpy as np

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
        recording = json.loads(text)
    except (OSError, ValueError) as error:
        raise _no_recording(file, error) from error
    if not isinstance(recording, list):
        raise _no_recording(file, f"it holds a JSON {type(recording).__name__}, not a list")
    if len({len(channel) if isinstance(channel, list) else None for channel in recording}) > 1:
        raise _no_recording(file, "channels differ in length")
    try:
        series = np.array(recording, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise _no_recording(file, error) from error
    if series.ndim > 2:
        raise _no_recording(file, "lists lie more than two deep")
    return series[None] if series.ndim == 1 else series


def _no_recording(file: str, why: object) -> UsageFault:
    hint = "write a JSON list of samples, or one list per channel"
    return UsageFault(f"{file} does not hold a recording: {why}", hint)
