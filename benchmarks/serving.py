"""What serving costs, way by way, beside a bare `session.run` and beside MLServer with the same ONNX file.

    python benchmarks/serving.py [--quick] [--soak N] [--json FILE]

The model takes about 0.1 ms and 720 float32 a window. In each round every way answers a number of requests, in
random order; a way's overhead in a round is its latency minus the bare run's median of that round. Servers run on
one core, clients on another. MLServer comes from the environment that `environments.py mlserver` makes, in its
quickest form for one core (no parallel workers, no gzip); its REST interface takes JSON alone. *bytes alone* is
the least that a second process can cost here: it receives, runs the session and sends, without any protocol.
*asyncio, no protocol* does the same on an event loop, the least that a server in Python for many clients can cost.

Other work on the machine makes every way through a second process look slow. Where it cannot be stopped, root can
put it aside: setsid -w sh -c 'echo -20 > /proc/self/autogroup; nice -n -20 python benchmarks/serving.py'.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environments
import numpy as np
import onnxruntime
import serving_processes as processes
from combinations import OUT, command_line
from rich.console import Console
from rich.table import Table
from serving_clients import Float32, Kept, binary_request, connected, json_request, load
from serving_judge import goals, others
from serving_processes import LENGTH, NAME, PATH, Served
from serving_soak import soak
from timing import run_conditions

from greenup.intervals import ratio_interval, t_interval
from greenup.result import Interval
from greenup_runtime.bundle import Bundle

FLOOR = "Unix socket, bytes alone"
ECHO_UNIX, ECHO_TCP = "Unix socket, asyncio, no protocol", "TCP, asyncio, no protocol"
BARE, IN_PROCESS, UNIX, TCP = "bare session.run", "in process", "Unix socket, binary", "TCP, binary"
JSON, TRITON, MLSERVER = "TCP, JSON", "tritonclient, binary", "MLServer, JSON"
CONNECTIONS = 8


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    requests: int
    load_rounds: int
    load_s: float
    starts: int
    soak: int


FULL, QUICK = Size(30, 200, 8, 3.0, 7, 1_000_000), Size(6, 60, 3, 0.7, 3, 20_000)


def main() -> None:
    arguments = _arguments()
    size = QUICK if arguments.quick else FULL
    clients, server = cores()
    os.sched_setaffinity(0, clients)
    window = np.random.default_rng(1).normal(size=(1, 1, LENGTH)).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="greenup-serving-") as folder, ExitStack() as ends:
        scratch = Path(folder)
        bundle, model = processes.make_bundle(scratch)
        makers = {"greenup": lambda: processes.greenup(bundle, scratch, server, window)}
        makers["bare"] = lambda: processes.bare(model, scratch, server)
        if arguments.mlserver:
            makers["mlserver"] = lambda: processes.mlserver(arguments.mlserver, model, scratch, server, window)
        starts = started(makers, size.starts)
        running = {name: make() for name, make in makers.items() if name != "bare"}
        running["floor"] = processes.floor(model, scratch, server)
        running["echo"] = processes.echo(model, scratch, server)
        for each in running.values():
            ends.callback(each.stop)
        found = {
            "latency": latency(ways(bundle, model, running, window, scratch / "home"), size),
            "throughput": throughput(running, window, size),
            "starts": starts,
            "soak": soak(
                running["greenup"], binary_request(PATH, window), arguments.soak or size.soak, CONNECTIONS
            ),
        }
    report = {
        "command": command_line("serving.py"),
        "quick": arguments.quick,
        "conditions": {**run_conditions(), "client_cores": sorted(clients), "server_cores": sorted(server)},
        "ways": table_rows(found),
        "others": others(found),
        "goals": goals(found),
        "found": found,
    }
    arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    show(report)
    print(f"wrote {arguments.json}", file=sys.stderr)


def cores() -> tuple[set[int], set[int]]:
    """Cores for the clients and the one for servers."""
    free = sorted(os.sched_getaffinity(0))
    return (set(free[:-1]) or set(free), {free[-1]})


Ask = Callable[[], object]


def ways(bundle: Bundle, model: Path, running: dict[str, Served], window: Float32, home: Path) -> dict[str, Ask]:
    """Every way to get one answer."""
    import greenup_runtime

    served = running["greenup"]
    found: dict[str, Ask] = {BARE: _bare(model, window)}
    runner = greenup_runtime.Runner(bundle.blobs.parent.parent, allow_unsigned=True, home=home)
    found[IN_PROCESS] = lambda: runner.infer(window)
    found[FLOOR] = _bytes(running["floor"].unix, window)
    found[ECHO_UNIX] = _bytes(running["echo"].unix, window)
    found[ECHO_TCP] = _bytes(running["echo"].tcp, window)
    found[UNIX] = Kept(served.unix, binary_request(PATH, window))
    found[TCP] = Kept(served.tcp, binary_request(PATH, window))
    found[JSON] = Kept(served.tcp, json_request(PATH, window))
    found[TRITON] = _triton(served, window)
    if "mlserver" in running:
        found[MLSERVER] = Kept(running["mlserver"].tcp, json_request(PATH, window))
    return found


def _bare(model: Path, window: Float32) -> Ask:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"input": window})


def _bytes(address: Any, window: Float32) -> Ask:
    link, request = connected(address), window.tobytes()

    def ask() -> object:
        link.sendall(request)
        return link.recv(1 << 12)

    return ask


def _triton(served: Served, window: Float32) -> Ask:
    from tritonclient import http

    assert served.tcp is not None
    client = http.InferenceServerClient(f"{served.tcp[0]}:{served.tcp[1]}")
    wanted = [http.InferRequestedOutput("probabilities", binary_data=True)]

    def ask() -> object:
        tensor = http.InferInput("input", list(window.shape), "FP32")
        tensor.set_data_from_numpy(window, binary_data=True)
        return client.infer(NAME, [tensor], outputs=wanted).as_numpy("probabilities")

    return ask


def latency(asks: dict[str, Ask], size: Size) -> dict[str, Any]:
    """Overhead of every way over the bare run: median and 99th percentile, in seconds, over rounds."""
    order, names = random.Random(0), list(asks)
    taken: dict[str, list[list[float]]] = {name: [] for name in names}
    for ask in asks.values():
        _timed(ask, size.requests // 2)
    for _ in range(size.rounds):
        order.shuffle(names)
        for name in names:
            taken[name].append(_timed(asks[name], size.requests))
    bases = [float(np.median(each)) for each in taken[BARE]]
    found = {}
    for name, rounds in taken.items():
        over = [np.array(each) - base for each, base in zip(rounds, bases, strict=True)]
        found[name] = {
            "median_s": _plain(t_interval([float(np.median(each)) for each in over])),
            "p99_s": float(np.quantile(np.concatenate(over), 0.99)),
            "latency_s": float(np.median(np.concatenate(rounds))),
        }
    return found


def _timed(ask: Ask, count: int) -> list[float]:
    taken = []
    for _ in range(count):
        began_s = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - began_s)
    return taken


def throughput(running: dict[str, Served], window: Float32, size: Size) -> dict[str, Any]:
    """Answers a second with eight connections, and the ratios to MLServer by round."""
    binary, text = binary_request(PATH, window), json_request(PATH, window)
    served = running["greenup"]
    loads = {UNIX: (served.unix, binary), TCP: (served.tcp, binary), JSON: (served.tcp, text)}
    if "mlserver" in running:
        loads[MLSERVER] = (running["mlserver"].tcp, text)
    order, names = random.Random(1), list(loads)
    rates: dict[str, list[float]] = {name: [] for name in names}
    busy: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(size.load_rounds):
        order.shuffle(names)
        for name in names:
            end_s, cpu_s = time.monotonic() + size.load_s, time.process_time()
            latencies, lasted_s = load(*loads[name], CONNECTIONS, lambda _, end_s=end_s: time.monotonic() > end_s)
            rates[name].append(len(latencies) / lasted_s)
            busy[name].append((time.process_time() - cpu_s) / lasted_s)
    over = {name: _ratio(rates[name], rates[MLSERVER]) for name in rates if MLSERVER in rates and name != MLSERVER}
    return {
        name: {
            "per_s": float(np.median(each)),
            "over_mlserver": over.get(name),
            # Near 1 the client is what is measured.
            "client_busy": float(np.median(busy[name])),
        }
        for name, each in rates.items()
    }


def started(makers: dict[str, Callable[[], Served]], times: int) -> dict[str, Any]:
    """Time from start to first answer and resident memory of each, all once per round."""
    order, names = random.Random(2), list(makers)
    first: dict[str, list[float]] = {name: [] for name in names}
    resident: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(times):
        order.shuffle(names)
        for name in names:
            served = makers[name]()
            first[name].append(served.first_s)
            resident[name].append(served.resident_bytes)
            served.stop()
    return {
        name: {
            "first_s": float(np.median(first[name])),
            "over_bare": _ratio(first[name], first["bare"]) if name != "bare" else None,
            "resident_bytes": float(np.median(resident[name])),
            "beyond_bare_bytes": _plain(t_interval(np.subtract(resident[name], resident["bare"]).tolist())),
        }
        for name in sorted(makers)
    }


def _ratio(over: Sequence[float], under: Sequence[float]) -> dict[str, float] | None:
    return _plain(ratio_interval([math.log(one / other) for one, other in zip(over, under, strict=True)]))


def _plain(figure: Interval | None) -> dict[str, float] | None:
    return {"value": figure.value, "low": figure.low, "high": figure.high} if figure else None


def table_rows(found: dict[str, Any]) -> list[dict[str, str]]:
    """One row per way, as text."""
    rows = []
    for name, own in found["latency"].items():
        median, rate = own["median_s"], found["throughput"].get(name)
        text = f"{median['value'] * 1e6:.0f} µs ({median['low'] * 1e6:.0f} – {median['high'] * 1e6:.0f})"
        per_s = f"{rate['per_s']:.0f}/s" if rate else "—"
        if rate and (over := rate["over_mlserver"]):
            per_s += f", {over['value']:.1f}× MLServer ({over['low']:.1f} – {over['high']:.1f})"
        if name == BARE:
            text = f"(takes {own['latency_s'] * 1e6:.0f} µs)"
        rows.append({"way": name, "median": text, "p99": f"{own['p99_s'] * 1e6:.0f} µs", "throughput": per_s})
    return rows


def show(report: dict[str, Any]) -> None:
    """The tables on the terminal."""
    console = Console(width=120)
    if report["quick"]:
        console.print("Quick run: few requests and a short soak; figures are rough.")
    tables = {
        "Overhead over a bare session.run, and throughput": (
            report["ways"],
            ("way", "median", "p99", "throughput"),
        ),
        "Memory, start, soak": (report["others"], ("what", "reached")),
        "Goals": (report["goals"], ("goal", "reached", "met")),
    }
    for title, (rows, columns) in tables.items():
        table = Table(*columns, title=title)
        for row in rows:
            table.add_row(
                *({True: "met", False: "MISSED", None: "—"}.get(row[name], row[name]) for name in columns)
            )
        console.print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few requests, a short soak: a minute or two")
    parser.add_argument("--soak", type=int, help=f"inferences of the soak; {FULL.soak:,} if left out")
    parser.add_argument("--mlserver", type=Path, help="a Python with mlserver, if not that of environments.py")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    arguments.mlserver = arguments.mlserver or environments.python_of("mlserver")
    arguments.json = arguments.json or OUT / ("serving-quick.json" if arguments.quick else "serving.json")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    return arguments


if __name__ == "__main__":
    main()
