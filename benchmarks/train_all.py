"""Train all that compression.py and paper.py need, in the background.

    python benchmarks/train_all.py [--sets …] [--presets …] [--seeds N] [--minutes 10]      (or `make train-all`)
    python benchmarks/train_all.py --status

Results that are useful first come first: the first seed of every set and preset, then the next seed. Every stage
is cached when it is finished and training resumes from checkpoints, so it may be killed and started again at any
time. One combination that fails is noted, and the next one begins. Log: greenup-out/train-all.log.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import subprocess
import sys
import time
import traceback
from datetime import datetime
from typing import IO, Any

from combinations import OUT, Combination, add_to, own_runner, wanted
from compression import add_search, searched

from greenup import loop
from greenup.cli.progress import shown
from greenup.devices import inventory
from greenup.tune.stages import TuneStages
from greenup_runtime.errors import GreenupError

LOG, STATE, LOCK = OUT / "train-all.log", OUT / "train-all.json", OUT / "train-all.lock"
_TAIL_LINES = 5


def main() -> None:
    """Start the work detached, or do it (`--foreground`), or tell how far it is (`--status`)."""
    arguments = _arguments()
    own_runner()
    OUT.mkdir(parents=True, exist_ok=True)
    if arguments.status:
        status()
    elif arguments.foreground:
        work(arguments)
    else:
        start()


def start() -> None:
    """Begin in a process of its own that outlives this terminal; nothing where one is at work already."""
    with LOCK.open("a") as lock:
        if not _taken(lock):
            sys.exit(f"error: training is going on already\nhint: {_how_to_look()}")
    command = [sys.executable, *sys.argv, "--foreground"]
    with LOG.open("a") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    print(f"training in the background, process {process.pid}; stop it with: kill {process.pid}\n{_how_to_look()}")


def work(arguments: argparse.Namespace) -> None:
    """Train every combination in order, and note each one's end."""
    with LOCK.open("a") as lock:
        if not _taken(lock):
            sys.exit("error: training is going on already")
        os.nice(10)
        ends: dict[str, str] = {}
        combinations = wanted(arguments)
        state = {"process": os.getpid(), "wanted": [each.name for each in combinations], "ends": ends}
        _note(state)
        for number, one in enumerate(combinations, 1):
            print(f"{_now()} {one.name} ({number} of {len(combinations)})", flush=True)
            ends[one.name] = _trained(one, arguments)
            print(f"{_now()} {one.name}: {ends[one.name]}", flush=True)
            _note(state)
        print(f"{_now()} all {len(combinations)} are through", flush=True)


def _trained(one: Combination, arguments: argparse.Namespace) -> str:
    """Train one combination: first what the paper's table needs, then the search."""
    began_s = time.monotonic()
    try:
        with shown(quiet=False) as report:
            session = loop.Session(inventory.find("local"), arguments.out / one.name, None, report)
            stages = TuneStages(loop.job(session, one.recipe(arguments.quick), arguments.data_dir))
            for form in ("int8", "pruned-int8"):
                stages.quantized(form)
            searched(one, arguments, report)
    except (GreenupError, OSError, RuntimeError, ValueError):  # torch raises RuntimeError; others still count
        traceback.print_exc()
        return "failed: see the log"
    return f"done in {time.monotonic() - began_s:.0f} s"


def status() -> None:
    """How far it is."""
    with LOCK.open("a") as lock:
        print("not at work" if _taken(lock) else "at work")
    if STATE.exists():
        state = json.loads(STATE.read_text())
        for name in state["wanted"]:
            print(f"{name:<40} {state['ends'].get(name, 'to do')}")
    if LOG.exists():
        print("\n".join(["last lines of the log:", *LOG.read_text().splitlines()[-_TAIL_LINES:]]))


def _taken(lock: IO[str]) -> bool:
    """Whether the lock could be had; it is held until the file is closed."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _note(state: dict[str, Any]) -> None:
    fresh = STATE.with_suffix(".new")
    fresh.write_text(json.dumps(state, indent=2) + "\n")
    fresh.replace(STATE)


def _how_to_look() -> str:
    return f"look at it with: {sys.executable} {sys.argv[0]} --status, or tail -f {LOG}"


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_to(parser)
    add_search(parser)
    parser.add_argument("--status", action="store_true", help="tell how far it is")
    parser.add_argument("--foreground", action="store_true", help="stay in this terminal")
    arguments = parser.parse_args()
    arguments.out = arguments.out or OUT / ("bench-quick" if arguments.quick else "bench")
    return arguments


if __name__ == "__main__":
    main()
