"""From trained weights to one ONNX file: raw windows in, probabilities out, the same bytes everywhere.

PyTorch's exporter writes down where and from which lines a node came. All of that is stripped and every value
gets a name by its place in the graph, so that the bytes depend on the model alone and a bundle's digest is the
same wherever it is built. Here the batch is symbolic; `graph` has forms for one window at a time.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

from greenup.model import Classifier, ModelConfig
from greenup.train import predict
from greenup.weights import State
from greenup_runtime.engine import Engine
from greenup_runtime.errors import IntegrityFault
from greenup_runtime.files import write_atomic

BATCH = "any"
INPUT = "input"
OUTPUT = "probabilities"
TOLERANCE = 1e-4
_IR_VERSION = 10  # the newest that onnxruntime 1.19 loads; with it opset 20 and later are fine
_PRODUCER = "greenup"


class WithSoftmax(nn.Module):
    """A classifier whose output is probabilities [b, k]; its argument's name is the ONNX input's."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, input: Tensor) -> Tensor:
        """Probabilities [b, k] of raw windows [b, c, l]."""
        return torch.softmax(self.classifier(input), dim=-1)


def export_onnx(config: ModelConfig, state: State, path: Path, opset: int = 20) -> None:
    """Write the model as ONNX: `input` [batch, c, l] float32, `probabilities` [batch, k] float32."""
    classifier = Classifier(config)
    classifier.load_state_dict(state)
    write_model(exported(WithSoftmax(classifier).eval(), config, opset, any_batch=True), path)


def exported(module: nn.Module, config: ModelConfig, opset: int, any_batch: bool) -> onnx.ModelProto:
    """A module whose argument is named `input`, as PyTorch's exporter writes it, for any batch or one window."""
    example = torch.zeros(2 if any_batch else 1, config.channels, config.length)
    with silence():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={"input": {0: torch.export.Dim("batch")}} if any_batch else None,
        )
    assert program is not None
    return program.model_proto


def check_against_torch(path: Path, config: ModelConfig, state: State, x: npt.NDArray[np.float32]) -> float:
    """Largest difference of a probability between the ONNX file and PyTorch on raw windows x [n, c, l].

    Raises IntegrityFault where it is above 1e-4.
    """
    difference = float(np.abs(Engine(path, batch_of(path)).infer(x) - predict(config, state, x)).max())
    if not difference <= TOLERANCE:
        raise IntegrityFault(
            f"{path.name} differs from the trained model: a probability is off by {difference:.2g},"
            f" allowed are {TOLERANCE:g}",
            "windows with extreme values can do this: look at the data's range",
        )
    return difference


def batch_of(path: Path) -> str:
    """`any` where a file takes any number of windows at once, else `1`; the words of a bundle's manifest."""
    dimension = onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0]
    return "1" if dimension.dim_value == 1 else BATCH


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """Write a model without anything that tells where, when or by which version it was made."""
    _strip(model)
    _rename(model.graph)
    onnx.checker.check_model(model, full_check=True)
    write_atomic(path, model.SerializeToString(deterministic=True))


def _strip(model: onnx.ModelProto) -> None:
    model.producer_name, model.producer_version, model.doc_string = _PRODUCER, "", ""
    model.ir_version = min(model.ir_version, _IR_VERSION)
    model.ClearField("metadata_props")
    graph = model.graph
    graph.name, graph.doc_string = _PRODUCER, ""
    graph.ClearField("value_info")
    graph.ClearField("metadata_props")
    graph.ClearField("quantization_annotation")
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def _rename(graph: onnx.GraphProto) -> None:
    """Name nodes by operator and place, and values by the node that they come from; weights keep their names."""
    names = {name: name for name in (INPUT, OUTPUT, "")}
    for tensor in graph.initializer:
        names[tensor.name] = tensor.name.removeprefix("classifier.")
    for index, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{index}"
        for place, value in enumerate(node.output):
            names.setdefault(value, f"{node.name}:{place}")
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    for node in graph.node:
        node.input[:] = [names[value] for value in node.input]
        node.output[:] = [names[value] for value in node.output]


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep the exporter's progress, warnings and log lines from the user's terminal."""
    sink = io.StringIO()
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
