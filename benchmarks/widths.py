"""Which widths the matrix kernels of this machine like: time of one map by its width, in float and int8.

    python benchmarks/widths.py [--json FILE] [--rounds N] [--tokens 24 64] [--inputs 64]

A layer of `inputs` features per token is mapped to `width` outputs, for every width from 4 to 128 in steps of
four; as a float `Gemm`, and as the QDQ form from which ONNX Runtime makes one `QGemm`. Times are processor time,
one thread, all widths interleaved. Kernels work on blocks of outputs: where rounding a width up to the next
multiple costs no time, the narrower width saved nothing. The largest such multiple is what a target's TOML names.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from graph_forms import interleaved
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

from greenup.quantize import quantize
from greenup.recipe import QuantizeSpec
from greenup_runtime import cpu
from greenup_runtime.trials import conditions

WIDTHS = tuple(range(4, 129, 4))
MULTIPLES = (8, 16, 32)
# Copies of the map in one model: a single one would be lost in the time of a call.
_COPIES = 16


def main() -> None:
    arguments = _arguments()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for tokens in arguments.tokens:
            times = measured(Path(folder), tokens, arguments.inputs, arguments.rounds)
            found[str(tokens)] = times
            show(tokens, arguments.inputs, times)
    table = {"conditions": conditions(Path("/")), "isa": list(cpu.isa_features()), "inputs": arguments.inputs}
    table |= {"onnxruntime": onnxruntime.__version__, "tokens": found}
    arguments.json.write_text(json.dumps(table, indent=2) + "\n")


def measured(folder: Path, tokens: int, inputs: int, rounds: int) -> dict[str, dict[str, float]]:
    """Median processor seconds of one map by kind (`fp32`, `int8`) and width."""
    keys, calls = [], []
    for width in WIDTHS:
        for kind, path in written(folder, tokens, inputs, width).items():
            keys.append((kind, width))
            calls.append(_call(path, tokens, inputs))
    times = np.median(interleaved(calls, rounds), axis=1) / _COPIES
    found: dict[str, dict[str, float]] = {"fp32": {}, "int8": {}}
    for (kind, width), value in zip(keys, times, strict=True):
        found[kind][str(width)] = float(value)
    return found


def written(folder: Path, tokens: int, inputs: int, width: int) -> dict[str, Path]:
    """Models of `_COPIES` maps [tokens, inputs] → [tokens, width], summed up; in float and in int8."""
    rng = np.random.default_rng(width)
    nodes, constants = [], []
    for index in range(_COPIES):
        weights = rng.normal(size=(inputs, width)).astype(np.float32)
        constants.append(numpy_helper.from_array(weights, f"layer.{index}.weight"))
        constants.append(numpy_helper.from_array(np.zeros(width, np.float32), f"layer.{index}.bias"))
        nodes.append(
            helper.make_node("Gemm", ["flat", f"layer.{index}.weight", f"layer.{index}.bias"], [f"y{index}"])
        )
    shape = numpy_helper.from_array(np.array([tokens, inputs], np.int64), "shape")
    head = helper.make_node("Reshape", ["input", "shape"], ["flat"])
    tail = [
        helper.make_node("Concat", [f"y{index}" for index in range(_COPIES)], ["rows"], axis=0),
        helper.make_node("Reshape", ["rows", "out"], ["probabilities"]),
    ]
    out = numpy_helper.from_array(np.array([1, _COPIES * tokens, width], np.int64), "out")
    graph = helper.make_graph(
        [head, *nodes, *tail],
        "widths",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, tokens, inputs])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, _COPIES * tokens, width])],
        [shape, out, *constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    float_path, int8_path = (folder / f"{tokens}-{width}-{kind}.onnx" for kind in ("fp32", "int8"))
    onnx.save(model, float_path)
    windows = rng.normal(size=(4, tokens, inputs)).astype(np.float32)
    quantize(float_path, int8_path, windows, QuantizeSpec())
    return {"fp32": float_path, "int8": int8_path}


def _call(path: Path, tokens: int, inputs: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    window = np.random.default_rng(0).normal(size=(1, tokens, inputs)).astype(np.float32)
    return lambda: session.run(None, {"input": window})


def rounding_up(times: dict[str, float], multiple: int) -> tuple[float, float]:
    """Outputs gained and time lost, as mean shares, by rounding widths from 16 on up to the next multiple."""
    gained, lost = [], []
    for width in (w for w in WIDTHS if w > 16 and w % multiple):
        up = -(-width // multiple) * multiple
        gained.append(up / width - 1)
        lost.append(times[str(up)] / times[str(width)] - 1)
    return float(np.mean(gained)), float(np.mean(lost))


def show(tokens: int, inputs: int, times: dict[str, dict[str, float]]) -> None:
    table = Table(title=f"{tokens} tokens × {inputs} inputs → width: microseconds of one map, one thread")
    for column in ("width", "fp32", "int8", "int8 Speedup"):
        table.add_column(column, justify="right")
    for width in map(str, WIDTHS):
        fp32, int8 = times["fp32"][width], times["int8"][width]
        table.add_row(width, f"{fp32 * 1e6:.2f}", f"{int8 * 1e6:.2f}", f"{fp32 / int8:.2f}")
    Console().print(table)
    kinds = Table(title="rounding widths up to the next multiple: outputs gained and time lost, mean")
    for column in ("multiple", "more outputs", "more time, fp32", "more time, int8"):
        kinds.add_column(column, justify="right")
    for multiple in MULTIPLES:
        gained, lost = zip(*(rounding_up(times[kind], multiple) for kind in ("fp32", "int8")), strict=True)
        kinds.add_row(str(multiple), f"{gained[0]:+.1%}", *(f"{each:+.1%}" for each in lost))
    Console().print(kinds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=Path(tempfile.gettempdir()) / "greenup-widths.json")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--tokens", type=int, nargs="+", default=(24, 64))
    parser.add_argument("--inputs", type=int, default=64)
    return parser.parse_args()


if __name__ == "__main__":
    main()
