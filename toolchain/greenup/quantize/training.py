"""Quantization-aware training: weights and ranges learn with the rounding in place, following the float model.

Inputs of linear maps are cut to a learnt range (Choi et al. 2018, PACT, with both ends learnt) and rounded to 255
steps, weights to 127 per output channel; gradients pass through the rounding as if it were not there (Bengio et
al. 2013). What is learnt goes into the same QDQ nodes as static quantization makes.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn
from torch.nn.utils import parametrize

from greenup import checkpoint
from greenup.distill import Teacher
from greenup.epochs import Cases, Run, logits_of
from greenup.export import silence
from greenup.model import ModelConfig
from greenup.onnx_facts import weight_names
from greenup.quantize.static import EightBits, candidates, write_qdq
from greenup.recipe import TrainSpec
from greenup.reproducible import reproducible
from greenup.train import Progress
from greenup.weights import State
from greenup_runtime.errors import UsageFault

_MOST = {"uint8": 255, "int8": 127}
_WEIGHT_MOST = 127
_TINY = 1e-6
_OBSERVED = 64


@dataclass(frozen=True)
class Learnt:
    """Weights after training with rounding, and the range of each linear map's input by its weights' name."""

    state: State
    ranges: dict[str, tuple[float, float]]
    validation_accuracy: float


def train_quantized(
    config: ModelConfig,
    state: State,
    spec: TrainSpec,
    train: Cases,
    validation: Cases,
    *,
    seed: int,
    folder: Path,
    teacher: Teacher | None = None,
    activations: EightBits = "uint8",
    progress: Progress | None = None,
) -> Learnt:
    """Train on from float weights with all linear maps of the tokens in int8; choose the best epoch.

    Checkpoints go to `folder` after each epoch: called again after a kill, it resumes. Raises what `train` raises.
    """
    path, report = folder / "checkpoint.pt", progress or (lambda done, total, message: None)
    with reproducible(spec.threads):
        run = _Run(config, state, spec, train, validation, seed, teacher, activations)
        run.start(checkpoint.load(path, run.key)[0])
        while not run.finished:
            run.epoch()
            checkpoint.save(path, run.key, run.snapshot())
            report(run.done, spec.epochs, run.message())
    return run.learnt()


def quantize_learnt(
    source: Path,
    target: Path,
    learnt: Learnt,
    *,
    nodes: list[str] | None = None,
    per_channel: bool = True,
    activations: EightBits = "uint8",
    weights: EightBits = "int8",
    reduce_range: bool = False,
) -> None:
    """Write the int8 form of a file that was exported from `learnt.state`, with the learnt ranges.

    A node whose matrix was made from several (graph.attention) has no learnt range and stays float. Raises
    UsageFault where none is left.
    """
    names = weight_names(source)
    able = [node for node in candidates(source) if names[node] in learnt.ranges]
    picked = able if nodes is None else [node for node in nodes if node in able]
    if not picked:
        raise UsageFault(f"no node of {source.name} has a learnt range", "export it from the learnt weights")
    with tempfile.TemporaryDirectory(prefix="greenup-quantize-") as folder:
        prepared = Path(folder) / "prepared.onnx"
        with silence():
            quant_pre_process(source, prepared, skip_optimization=True, skip_symbolic_shape=True)
        graph = onnx.load(prepared).graph
        inputs = {node.input[0]: learnt.ranges[names[node.name]] for node in graph.node if node.name in picked}
        found = {name: _tensor_data(*ends) for name, ends in inputs.items()}
        data = TensorsData(CalibrationMethod.MinMax, found)
        write_qdq(prepared, target, picked, data, per_channel, activations, weights, reduce_range)


def _tensor_data(low: float, high: float) -> TensorData:
    return TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))


class _Rounded(nn.Module):
    """A weight [out, in] as int8 would hold it: one scale per output channel."""

    def forward(self, weight: Tensor) -> Tensor:
        """The rounded weight."""
        scale = weight.detach().abs().amax(dim=1, keepdim=True).clamp(min=_TINY) / _WEIGHT_MOST
        return weight + (torch.round(weight / scale) * scale - weight).detach()


class _Range(nn.Module):
    """The learnt range of a map's input: while observing it widens, afterwards it cuts and rounds."""

    def __init__(self, signed: bool, steps: int) -> None:
        super().__init__()
        self.signed, self.steps, self.observing = signed, steps, True
        self.low, self.high = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def ends(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest value that can be told apart; zero lies between."""
        if self.signed:
            reach = torch.maximum(-self.low, self.high).clamp(min=_TINY)
            return -reach, reach
        return self.low.clamp(max=0.0), self.high.clamp(min=_TINY)

    def forward(self, x: Tensor) -> Tensor:
        """x cut to the range and rounded, or x itself while observing."""
        if self.observing:
            self.low.data = torch.minimum(self.low.data, x.min())
            self.high.data = torch.maximum(self.high.data, x.max())
            return x
        low, high = self.ends()
        cut = torch.minimum(torch.maximum(x, low), high)
        scale = ((high - low) / (2 * self.steps if self.signed else self.steps)).detach()
        zero = torch.round(low.detach() / scale)  # the grid has a point at zero, as integers have
        return cut + ((torch.round(cut / scale - zero) + zero) * scale - cut).detach()


class _Run(Run):
    """A training whose linear maps of tokens round weights and inputs."""

    def __init__(
        self,
        config: ModelConfig,
        state: State,
        spec: TrainSpec,
        train: Cases,
        validation: Cases,
        seed: int,
        teacher: Teacher | None,
        activations: EightBits,
    ) -> None:
        # An average of weights lags behind the ranges that are learnt with them.
        unaveraged = spec.model_copy(update={"average": 0.0})
        super().__init__(config, unaveraged, train, validation, seed, state, teacher)
        self.key = hashlib.sha256(f"{self.key} rounded {activations}".encode()).hexdigest()
        self.maps: dict[str, _Range] = {}
        for name, module in list(self.model.named_modules()):
            if isinstance(module, nn.Linear) and name.startswith(("layers.", "embed.patches.")):
                self.maps[name] = self._round(module, activations)
        logits_of(self.model, self.x[:_OBSERVED], _OBSERVED)
        for learnt in self.maps.values():
            learnt.observing = False
        ends = [end for learnt in self.maps.values() for end in learnt.parameters()]
        self.optimizer.add_param_group({"params": ends, "weight_decay": 0.0})

    def learnt(self) -> Learnt:
        """Weights of the best epoch under the model's own names, and the ranges."""
        self.model.load_state_dict(self.best)
        ends = {name: learnt.ends() for name, learnt in self.maps.items()}
        state = {
            name.replace("parametrizations.weight.original", "weight"): value.clone()
            for name, value in self.best.items()
            if ".input_range." not in name
        }
        ranges = {f"{name}.weight": (low.item(), high.item()) for name, (low, high) in ends.items()}
        return Learnt(state, ranges, self.history[self.best_epoch].validation_accuracy)

    @staticmethod
    def _round(module: nn.Linear, activations: EightBits) -> _Range:
        parametrize.register_parametrization(module, "weight", _Rounded())
        learnt = _Range(activations == "int8", _MOST[activations])
        module.add_module("input_range", learnt)
        module.register_forward_pre_hook(lambda _, inputs: (learnt(inputs[0]),))
        return learnt
