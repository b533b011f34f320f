"""`greenup-runner`: the on-device program. People get text or `--json`; the host asks for framed answers."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from greenup_runtime import __version__, commands, wire
from greenup_runtime.errors import INTERRUPTED_EXIT_CODE, DeviceFault, GreenupError
from greenup_runtime.proving import PROOF_LIMIT_S
from greenup_runtime.store import Store, default_home
from greenup_runtime.verbs import config, health, records, serve, service, signers, stream, upkeep

ROOT_VARIABLE = "GREENUP_RUNNER_ROOT"


def main() -> None:
    """Entry point of `greenup-runner`."""
    sys.exit(run(sys.argv[1:]))


def run(argv: list[str]) -> int:
    """Run one verb and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        answer = _answer(arguments)
    except GreenupError as fault:
        return _fail(arguments, fault)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED_EXIT_CODE
    if isinstance(answer, commands.Finished):
        return _finish(arguments, answer)
    try:
        _print(arguments, answer)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away (`| head`): nothing is left to say, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _answer(arguments: argparse.Namespace) -> Any:
    try:
        # A verb that needs no store makes none: what root asks once must not leave a folder of root's.
        homeless = getattr(arguments, "homeless", False)
        return arguments.verb(arguments, None if homeless else Store(arguments.home))
    except OSError as error:
        raise DeviceFault(f"{error.strerror or error}: {error.filename or arguments.home}") from error


def _finish(arguments: argparse.Namespace, finished: commands.Finished) -> int:
    if arguments.json or arguments.framed:
        _print(arguments, finished.answer)
    else:
        print(finished.line, file=sys.stderr)
    return finished.exit_code


def _fail(arguments: argparse.Namespace, fault: GreenupError) -> int:
    if arguments.framed:
        sys.stdout.buffer.write(wire.encode_fault(fault))
    else:
        print(f"error: {fault.message}", file=sys.stderr)
        if fault.hint:
            print(f"hint: {fault.hint}", file=sys.stderr)
    return fault.exit_code


def _print(arguments: argparse.Namespace, answer: Any) -> None:
    if isinstance(answer, bytes):
        sys.stdout.buffer.write(wire.encode("bytes", answer) if arguments.framed else answer)
    elif arguments.framed:
        sys.stdout.buffer.write(wire.encode_json(answer))
    elif arguments.json:
        print(json.dumps(_named(arguments, answer)))
    elif isinstance(answer, str):
        # Text is meant as it stands, line by line.
        print(answer.rstrip("\n"))
    else:
        print("\n".join(_lines(answer)))


def _named(arguments: argparse.Namespace, answer: Any) -> Any:
    """The answer with its schema's name first, for programs; the host's framed answers have the protocol's."""
    return {"schema": arguments.schema, **answer} if isinstance(answer, dict) else answer


def _lines(value: Any, indent: str = "") -> list[str]:
    """JSON for eyes: one `key: value` a line, lists as dashes."""
    if isinstance(value, dict):
        lines = []
        for key, item in value.items():
            if key == "hint" and not item:
                continue
            nested = isinstance(item, (dict, list)) and item
            lines += (
                [f"{indent}{key}:", *_lines(item, indent + "  ")] if nested else [f"{indent}{key}: {_text(item)}"]
            )
        return lines
    if isinstance(value, list):
        lines = []
        for item in value:
            head, *rest = _lines(item, indent + "  ") or [""]
            lines += [f"{indent}- {head.strip()}", *rest]
        return lines
    return [f"{indent}{_text(value)}"]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None or value in ({}, []):
        return "—"
    first, *more = str(value).strip().splitlines() or [""]
    return f"{first} …" if more else first


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="greenup-runner", description="Serve a greenup bundle on this device and log its energy."
    )
    parser.add_argument("--version", action="version", version=f"greenup-runner {__version__}")
    parser.add_argument("--home", type=Path, default=default_home(), help="data folder of the runner")
    root = Path(os.environ.get(ROOT_VARIABLE, "/"))
    parser.add_argument("--root", type=Path, default=root, help="folder below which sysfs and procfs are read")
    style = parser.add_mutually_exclusive_group()
    style.add_argument("--json", action="store_true", help="print the answer as JSON")
    style.add_argument("--framed", action="store_true", help=argparse.SUPPRESS)
    _add_verbs(parser.add_subparsers(required=True, metavar="VERB"))
    return parser


def _add_verbs(verbs: Any) -> None:
    _verb(verbs, "hello", commands.hello, "say which runner and device this is")
    _verb(verbs, "status", commands.status, "say what serves here")
    _verb(verbs, "trust", commands.trust, "trust the signer on stdin, if none is trusted yet")
    _verb(verbs, "wanted", commands.wanted, "of the blobs on stdin, list those this device lacks")
    _verb(verbs, "install", commands.install, "store the bundle that arrives as a tar on stdin")
    prove = _verb(verbs, "prove", commands.prove, "check an installed bundle with its golden samples")
    prove.add_argument("bundle", help="digest of the bundle")
    prove.add_argument("--limit-s", type=float, default=PROOF_LIMIT_S, help="longest time that a proof may take")
    prove.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    commit = _verb(verbs, "commit", commands.commit, "let the signed selection on stdin serve")
    commit.add_argument("--variant", help="select this one here, unsigned, instead of reading stdin")
    commit.add_argument("--bundle", help="digest of that variant's bundle; else the one that serves")
    for parser in (prove, commit):
        parser.add_argument("--allow-unsigned", action="store_true", help="accept what nobody signed")
    rollback = _verb(verbs, "rollback", commands.rollback, "let what served before serve again")
    rollback.add_argument("--cause", default="asked for by hand", help="why; kept in the status")
    rollback.add_argument("--steps", type=int, default=1, help="how many selections to go back")
    infer = _verb(verbs, "infer", commands.infer, "classify one recording with the variant that serves")
    infer.add_argument("file", help="JSON list of samples, or a list per channel; - is stdin")
    infer.add_argument("--variant", help="use this variant instead of the one that serves")
    infer.add_argument("--meter", default="auto", help="auto, none, or a meter as in `greenup measure`")
    serve.add(verbs, _verb)
    _add_meter_verbs(verbs)
    records.add(verbs, _verb)
    _add_job_verbs(verbs)
    config.add(verbs, _verb)
    stream.add(verbs, _verb)
    service.add(verbs, _verb)
    health.add(verbs, _verb)
    upkeep.add(verbs, _verb)
    signers.add(verbs, _verb)


def _add_meter_verbs(verbs: Any) -> None:
    listing = _verb(
        verbs, "meters", commands.meters, "list the meters of this device, with a reading or the reason"
    )
    listing.add_argument(
        "--watch-s", type=float, default=0.0, help="read each for so long: rate, noise, mean power"
    )
    listing.add_argument("--only", help="this one alone, as `greenup measure --meter` takes it")
    energy = _verb(verbs, "energy-of", commands.energy_of, "run a command and say what energy it took")
    energy.add_argument("--meter", default="auto", help="auto, none, or one by name")
    energy.add_argument("command", nargs=argparse.REMAINDER, help="-- and the command")
    for parser in (listing, energy):
        parser.add_argument("--root", type=Path, default=argparse.SUPPRESS, help="as before the verb")
        parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as before the verb")
        parser.add_argument(
            "--settings", default="{}", help="the target's tables as JSON: estimate, meter_settings"
        )


def _add_job_verbs(verbs: Any) -> None:
    job = verbs.add_parser("job", help="long work that outlives the link", description="Long work.")
    actions = job.add_subparsers(required=True, metavar="ACTION")
    _verb(actions, "start", commands.job_start, "begin the measurement whose request is on stdin")
    for name, verb, text in (
        ("status", commands.job_status, "say how far a job is"),
        ("fetch", commands.job_fetch, "write a finished job's files as a tar"),
        ("cancel", commands.job_cancel, "stop a job"),
        ("run", commands.job_run, "the job's own process"),
    ):
        _verb(actions, name, verb, text).add_argument("job", help="id of the job")


def _verb(verbs: Any, name: str, verb: commands.Verb, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + "."
    )
    words = parser.prog.split()[1:]
    parser.set_defaults(verb=verb, schema=f"greenup.runner.{'.'.join(words)}/1")
    return parser


if __name__ == "__main__":
    main()
