"""A small bundle made with onnx alone, for tests of what happens after a build."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from greenup import bundle as packing
from greenup.intervals import wilson
from greenup_runtime.bundle import Bundle, open_folder
from greenup_runtime.engine import Engine
from greenup_runtime.preprocess import InputPolicy

LENGTH, CLASSES = 32, ("off", "on")
POLICY = InputPolicy(
    channels=1,
    length=LENGTH,
    equalize="resample",
    missing="interpolate",
    rate_hz=None,
    source_rate_hz=None,
    window=None,
    stride=None,
)


def model_bytes(seed: int, width: int = 8) -> bytes:
    """windows [n, 1, 32] → probabilities [n, 2], through one hidden layer of the given width."""
    rng = np.random.default_rng(seed)
    first = numpy_helper.from_array(rng.normal(size=(LENGTH, width)).astype(np.float32), "first")
    second = numpy_helper.from_array(rng.normal(size=(width, 2)).astype(np.float32), "second")
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "first"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "second"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, LENGTH])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2])]
    graph = helper.make_graph(nodes, "small", inputs, outputs, [first, second])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    content: bytes = model.SerializeToString()
    onnx.checker.check_model(model)
    return content


def make(
    folder: Path,
    *,
    spoil_golden: str | None = None,
    isa: dict[str, list[str]] | None = None,
    widths: dict[str, int] | None = None,
) -> Bundle:
    """Pack variants `fp32` and `pruned`; `spoil_golden` names one whose expected outputs are wrong."""
    windows = np.random.default_rng(0).normal(size=(6, 1, LENGTH)).astype(np.float32)
    packed, expected = [], {}
    for name, width in (widths or {"fp32": 64, "pruned": 8}).items():
        content = model_bytes(1, width)
        path = folder.with_name(f"{folder.name}-{name}.onnx")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        expected[name] = Engine(path).infer(windows)
        if name == spoil_golden:
            expected[name] = 1 - expected[name]
        packed.append(packing.PackedVariant(name, content, _facts(content, (isa or {}).get(name, []), width)))
    packing.pack(folder, _head(), packed, packing.golden_bytes(windows, expected))
    return open_folder(folder)


def _facts(content: bytes, isa: list[str], width: int) -> dict[str, object]:
    accuracy = vars(wilson(90, 100))
    return {
        "size_bytes": len(content),
        "parameters": width * (LENGTH + 2),
        "macs": width * (LENGTH + 2),
        "int8_share": 0.0,
        "opset": 20,
        "shapes": {"first": [LENGTH, width], "second": [width, 2]},
        "accuracy": {"validation": accuracy, "test": accuracy},
        "agreement": 1.0,
        "tolerance": 1e-4,
        "isa": isa,
    }


def _head() -> dict[str, object]:
    return {
        "name": "small",
        "recipe": "0" * 64,
        "baseline": "fp32",
        "budget": {"accuracy_drop_points": 1.0},
        "classes": list(CLASSES),
        "dataset": {
            "name": "small",
            "split_id": "made-by-a-test",
            "files": [],
            "train": 300,
            "validation": 100,
            "test": 100,
            "notes": [],
        },
        "input": {
            "channels": 1,
            "length": LENGTH,
            "dtype": "float32",
            "normalize": "none",
            "batch": "any",
            "policy": POLICY.to_json(),
        },
    }
