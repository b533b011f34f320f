"""Time per inference of every graph form of untrained models at 720 samples: interleaved, one thread, batch 1.

    python benchmarks/graph_forms.py [--json FILE] [--rounds N] [--samples N]

Weights do not change the time, so none are trained. `t1-student`, `base-student` are what distillation leaves:
two layers, few tokens. Times are processor time. Nodes are counted in the file and again as ONNX Runtime loads it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table

from greenup import graph
from greenup.model import Classifier, ModelConfig
from greenup.presets import config_for
from greenup.recipe import ModelSpec
from greenup.students import student
from greenup_runtime.trials import conditions

CLASSES = 3
BURST_S = 0.01
BASELINE = "plain"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=Path(tempfile.gettempdir()) / "greenup-graph-forms.json")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--samples", type=int, default=720)
    arguments = parser.parse_args()
    found = {}
    for name, config in models(arguments.samples).items():
        found[name] = measure(config, arguments.rounds)
        show(name, config, found[name])
    table = {"conditions": conditions(Path("/")), "onnxruntime": onnxruntime.__version__, "models": found}
    arguments.json.write_text(json.dumps(table, indent=2) + "\n")


def models(samples: int) -> dict[str, ModelConfig]:
    t1, t2, base = (
        config_for(ModelSpec(preset=preset), 1, samples, CLASSES, "zscore") for preset in ("t1", "t2", "base")
    )
    four = {"patch_factor": 4, "stride_factor": 4}
    return {
        "t1": t1,
        "t2": t2,
        "base": base,
        "t1-student": student(t1, layers=2, d_ff=64, **four),
        "t1-student-1-head": student(t1, layers=2, heads=1, d_ff=64, **four),
        "base-student": student(base, layers=2, heads=2, d_model=32, d_ff=64, patch_factor=2, stride_factor=2),
    }


def measure(config: ModelConfig, rounds: int) -> list[dict[str, Any]]:
    """One row per form: nodes before and after loading, median time, and the median ratio to the plain form."""
    torch.manual_seed(0)
    state = Classifier(config).state_dict()
    with tempfile.TemporaryDirectory() as folder:
        rows, calls = [], []
        for name, write in graph.forms(config, state, 23).items():
            path = Path(folder) / f"{name}.onnx"
            write(path)
            call, nodes = loaded(path, config)
            rows.append({"form": name, "nodes": len(onnx.load(path).graph.node), "nodes_loaded": nodes})
            calls.append(call)
    times = interleaved(calls, rounds)
    for index, row in enumerate(rows):
        row["latency_s"] = float(np.median(times[index]))
        row["speedup"] = float(np.median(times[0] / times[index]))
    return rows


def loaded(path: Path, config: ModelConfig) -> tuple[Callable[[], object], int]:
    """An inference of one window, and the number of nodes that ONNX Runtime makes of the file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.optimized_model_filepath = f"{path}.optimized"
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    window = np.random.default_rng(0).normal(size=(1, config.channels, config.length)).astype(np.float32)
    return lambda: session.run(None, {"input": window}), len(
        onnx.load(options.optimized_model_filepath).graph.node
    )


def interleaved(calls: list[Callable[[], object]], rounds: int) -> np.ndarray:
    """Processor seconds per call [calls, rounds], every call once per round in random order.

    With one thread they are the time on a core, and do not count what other programs take on a busy machine.
    """
    random, times = np.random.default_rng(0), np.zeros((len(calls), rounds))
    for at in range(rounds):
        for index in random.permutation(len(calls)):
            calls[index]()
            count, start = 0, time.process_time()
            while (passed := time.process_time() - start) < BURST_S:
                calls[index]()
                count += 1
            times[index, at] = passed / count
    return times


def show(name: str, config: ModelConfig, rows: list[dict[str, Any]]) -> None:
    shape = f"{len(config.heads)} layers, {config.tokens} tokens, d {config.d_model}, {config.heads[0]} heads"
    table = Table(title=f"{name}: {shape}")
    for column in ("form", "nodes", "after loading", "median µs", f"Speedup over {BASELINE}"):
        table.add_column(column)
    for row in rows:
        figures = (str(row["nodes"]), str(row["nodes_loaded"]))
        table.add_row(row["form"], *figures, f"{row['latency_s'] * 1e6:.0f}", f"{row['speedup']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
