"""What records cost: how many are kept durably a second on one core, and what logging takes of throughput.

    python benchmarks/records.py [--rounds 6] [--seconds 4] [--json FILE]

The process is bound to one core. `durable` appends batches to a spool, each in a transaction of its own that is
synced to the disk. `recorder` is the cost of one record on the serving thread and in the recorder's thread.
`logging` serves a model of 0.1 ms in process, with and without a recorder (every request, with energy), in rounds
of random order; each round runs for a while before it counts, so that records are stored at the pace at which
requests come. Throughput is counted in requests per second of the process' CPU time, all threads together: what
one core gives, and what other processes on a shared machine disturb least. `shipping` turns stored records into
the lines of a batch, and packs them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table
from sampler import FileMeter

from greenup_runtime.clock import SystemClock
from greenup_runtime.meters import Chosen
from greenup_runtime.meters.base import Meter
from greenup_runtime.meters.fake import FakeMeter
from greenup_runtime.recording import LiveRecorder
from greenup_runtime.recording.book import Book
from greenup_runtime.recording.keeper import Keeper
from greenup_runtime.sampling import Sampler
from greenup_runtime.settings import RecordSettings
from greenup_runtime.spool import Column, Spool, of_columns
from greenup_runtime.store import Store
from greenup_runtime.student import t95

GOALS = {"durable_hz": 20_000, "logging_share": 0.05, "record_us": 3.0}
MODEL_S = 1e-4
RECORD = {
    "schema": "greenup.record/2",
    "kind": "inference",
    "id": "0123456789abcdef-1",
    "device": "d" * 32,
    "time": "2026-01-01T00:00:00.000+00:00",
    "bundle": "b" * 64,
    "variant": "int8",
    "latency_s": 1.23e-4,
    "windows": 1,
    "stands_for": 1,
    "energy_j": 1.2e-3,
    "energy_low_j": 1.1e-3,
    "energy_high_j": 1.3e-3,
    "coverage": 1.0,
    "method": "apportioned",
    "source": "powercap",
    "scope": "package",
    "update_s": 1e-3,
    "estimated": False,
    "simulated": False,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6, help="rounds with and without a recorder")
    parser.add_argument("--seconds", type=float, default=4.0, help="what counts of each round")
    parser.add_argument("--folder", type=Path, help="where the spools lie; a temporary folder by default")
    parser.add_argument("--json", type=Path, default=Path(tempfile.gettempdir()) / "greenup-records.json")
    arguments = parser.parse_args()
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        result = {
            "goals": GOALS,
            "cores": 1,
            "load_at_start": os.getloadavg()[0],
            "durable": durable(folder),
            "recorder": recorder_cost(folder),
            "shipping": shipping(folder),
            "logging": [logging(folder, meter, arguments) for meter in ("counter", "power")],
        }
    show(result)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    print(f"wrote {arguments.json}")


def durable(folder: Path) -> list[dict[str, Any]]:
    """Records per second by form and batch, and bytes of a record in the file."""
    rows = []
    for form, batch in (
        ("lines", 1),
        ("lines", 10),
        ("lines", 100),
        ("lines", 1000),
        ("columns", 1000),
        ("columns", 10_000),
    ):
        path = folder / f"{form}-{batch}.sqlite"
        with Spool(path) as spool:
            append = _appending(spool, form, batch)
            append()
            wall_s, cpu_s, turns = _timed(append, 2.0)
            size = spool.size_bytes / spool.depth()
        rows.append(
            {
                "form": form,
                "batch": batch,
                "records_hz": turns * batch / wall_s,
                "cpu_us": 1e6 * cpu_s / (turns * batch),
                "bytes": size,
            }
        )
    return rows


def _appending(spool: Spool, form: str, batch: int) -> Callable[[], int]:
    if form == "lines":
        return lambda: spool.append([RECORD] * batch)
    return lambda: spool.append_blocks(_columns(batch))


def _columns(count: int) -> list[Any]:
    values = np.random.default_rng(0).random(count)
    names = [
        ("id", "number"),
        ("time", "time"),
        *((n, "float") for n in ("latency_s", "energy_j", "energy_low_j", "energy_high_j")),
    ]
    columns = [Column(name, kind, values.tobytes()) for name, kind in names]
    return list(
        of_columns({k: v for k, v in RECORD.items() if k not in {n for n, _ in names}}, columns, "run", 0.0)
    )


def _timed(work: Callable[[], object], least_s: float) -> tuple[float, float, int]:
    begun, cpu, turns = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - begun < least_s:
        work()
        turns += 1
    return time.perf_counter() - begun, time.process_time() - cpu, turns


def recorder_cost(folder: Path) -> dict[str, float]:
    """Microseconds of one record: on the serving thread; in the recorder's thread, file included."""
    clock = SystemClock()
    live = LiveRecorder(RecordSettings(), Store(folder / "cost"), Chosen(FakeMeter(clock), ()), clock)
    live._stop.set()
    live._thread.join()
    count = 20_000
    began_s = time.thread_time()
    for _ in range(count):
        live.served("b" * 64, "int8", 1.0, 1.1, 1)
    serving_s = time.thread_time() - began_s
    sampler = Sampler(FakeMeter(clock), clock)
    with sampler:
        keeper = Keeper(lambda: Spool(folder / "cost.sqlite"))
        book = Book(RecordSettings(), "d" * 32, sampler, FakeMeter(clock).facts, "", clock, keeper)
        cpu_s = 0.0
        for turn in range(6):
            start_s = time.perf_counter()
            served = [
                ("b" * 64, "int8", start_s + i * 1e-4, start_s + (i + 0.9) * 1e-4, 1, i) for i in range(10_000)
            ]
            time.sleep(max(0.0, start_s + 1.0 - time.perf_counter()))
            before_s = time.thread_time()
            book.turn(served)
            cpu_s += (time.thread_time() - before_s) if turn else 0.0
        before_s = time.thread_time()
        book.finish([])
        cpu_s += time.thread_time() - before_s
    return {
        "serving_us": 1e6 * serving_s / count,
        "background_us": 1e6 * cpu_s / 50_000,
        "idle_share": _idle_share(folder / "idle"),
    }


def _idle_share(home: Path) -> float:
    """The share of a core that a recorder takes while nothing is served."""
    live = _recorder(home, "counter")
    time.sleep(1.0)
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    time.sleep(5.0)
    share = (time.process_time() - cpu_s) / (time.perf_counter() - wall_s)
    live.close()
    return share


def shipping(folder: Path) -> dict[str, float]:
    """Microseconds and bytes of one record as a line of a batch, plain and packed."""
    with Spool(folder / "ship.sqlite") as spool:
        spool.append_blocks(_columns(20_000))
        before_s = time.process_time()
        for seq in range(0, 20_000, 5_000):
            _, lines = spool.lines(seq)
        lines_s = time.process_time() - before_s
    body = "\n".join(lines).encode()
    before_s = time.process_time()
    packed = gzip.compress(body, 1)
    return {
        "lines_us": 1e6 * lines_s / 20_000,
        "gzip_us": 1e6 * (time.process_time() - before_s) / len(lines),
        "line_bytes": len(body) / len(lines),
        "gzip_bytes": len(packed) / len(lines),
    }


def logging(folder: Path, meter: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Throughput (by CPU time) with a recorder over throughput without, by rounds, and latencies."""
    infer = _model(folder)
    ratios, latencies = [], {True: [], False: []}
    for number in range(arguments.rounds):
        rates = {}
        for with_records in random.Random(number).sample([True, False], 2):
            live = _recorder(folder / f"{meter}-{number}", meter) if with_records else None
            _serve(infer, live, 2.0)
            rates[with_records], seen = _serve(infer, live, arguments.seconds)
            latencies[with_records].append(seen)
            if live is not None:
                live.close()
                assert live.facts()["records_lost_total"] == 0
        ratios.append(rates[True] / rates[False])
    logs = np.log(ratios)
    half = t95(len(logs) - 1) * float(logs.std(ddof=1)) / len(logs) ** 0.5
    quantiles = {
        f"p{100 * share:g}_us_{word}": 1e6 * float(np.quantile(np.concatenate(latencies[flag]), share))
        for share in (0.5, 0.99)
        for flag, word in ((True, "with"), (False, "without"))
    }
    cost, low, high = (1 - float(np.exp(value)) for value in (logs.mean(), logs.mean() + half, logs.mean() - half))
    return {"meter": meter, "cost": cost, "low": low, "high": high, "rates_hz": rates[True], **quantiles}


def _recorder(home: Path, kind: str) -> LiveRecorder:
    clock = SystemClock()
    store = Store(home)
    meter: Meter = FakeMeter(clock) if kind == "counter" else FileMeter(home, 100.0)
    return LiveRecorder(RecordSettings(), store, Chosen(meter, ()), clock)


def _serve(infer: Callable[[], object], live: LiveRecorder | None, seconds: float) -> tuple[float, np.ndarray]:
    latencies, count, cpu_s = [], 0, time.process_time()
    begun_s = now_s = time.perf_counter()
    while now_s - begun_s < seconds:
        start_s = now_s
        infer()
        now_s = time.perf_counter()
        if live is not None:
            live.served("b" * 64, "int8", start_s, now_s, 1)
            now_s = time.perf_counter()
        latencies.append(now_s - start_s)
        count += 1
    return count / (time.process_time() - cpu_s), np.array(latencies)


def _model(folder: Path) -> Callable[[], object]:
    """A model that takes 0.1 ms here: as many layers as that needs."""
    window = np.zeros((1, 720), dtype=np.float32)
    layers = 1
    while True:
        session = onnxruntime.InferenceSession(
            _graph(folder / "model.onnx", layers), _options(), providers=["CPUExecutionProvider"]
        )
        if min(_cpu_s(session, window) for _ in range(5)) >= MODEL_S:
            return lambda: session.run(None, {"x": window})
        layers += 1


def _cpu_s(session: onnxruntime.InferenceSession, window: np.ndarray) -> float:
    begun_s = time.process_time()
    for _ in range(200):
        session.run(None, {"x": window})
    return (time.process_time() - begun_s) / 200


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return options


def _graph(path: Path, layers: int) -> str:
    square = np.random.default_rng(0).normal(size=(720, 720)).astype(np.float32)
    names = ["x", *(f"h{number}" for number in range(layers - 1)), "y"]
    nodes = [helper.make_node("MatMul", [names[i], "w"], [names[i + 1]]) for i in range(layers)]
    shape = [1, 720]
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(square, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return str(path)


def show(result: dict[str, Any]) -> None:
    console = Console()
    table = Table(title=f"Kept durably on one core; the goal is {GOALS['durable_hz']:,} records/s")
    for column in ("form", "batch", "records/s", "CPU per record", "bytes per record"):
        table.add_column(column, justify="right")
    for row in result["durable"]:
        table.add_row(
            row["form"],
            f"{row['batch']:,}",
            f"{row['records_hz']:,.0f}",
            f"{row['cpu_us']:.2f} µs",
            f"{row['bytes']:.0f}",
        )
    console.print(table)
    console.print(f"load of this machine at the start: {result['load_at_start']:.1f} on {os.cpu_count()} cores")
    cost, ship = result["recorder"], result["shipping"]
    table = Table(title=f"One record; the goal of the recorder's thread is {GOALS['record_us']:g} µs")
    for column in ("serving thread", "recorder's thread", "while idle", "as a line", "packed", "line", "packed"):
        table.add_column(column, justify="right")
    table.add_row(
        *(f"{cost[key]:.2f} µs" for key in ("serving_us", "background_us")),
        f"{100 * cost['idle_share']:.2f} % of a core",
        *(f"{ship[key]:.2f} µs" for key in ("lines_us", "gzip_us")),
        *(f"{ship[key]:.0f} B" for key in ("line_bytes", "gzip_bytes")),
    )
    console.print(table)
    table = Table(
        title=f"Logging every inference of a 0.1 ms model; the goal is {100 * GOALS['logging_share']:g} %"
    )
    for column in ("meter", "costs", "95 %", "with", "p50", "p50 without", "p99", "p99 without"):
        table.add_column(column, justify="right")
    for row in result["logging"]:
        table.add_row(
            row["meter"],
            f"{100 * row['cost']:.1f} %",
            f"{100 * row['low']:.1f} … {100 * row['high']:.1f} %",
            f"{row['rates_hz']:,.0f}/s",
            *(f"{row[key]:.0f} µs" for key in ("p50_us_with", "p50_us_without", "p99_us_with", "p99_us_without")),
        )
    console.print(table)


if __name__ == "__main__":
    main()
