"""The same model as different graphs: candidates, of which measuring on the device picks one.

| form | is |
| --- | --- |
| `plain` | `model.Classifier` as PyTorch exports it; any batch |
| `fixed` | the same for one window at a time |
| `lean` | written for few nodes (lean.py); one window at a time, as are all that follow |
| `lean-all` | every token of the last layer, though only the class token is used: what that shortcut brings |
| `lean-lines`, `lean-blocks` | other ways to pool a convolutional stem |
| `lean-separate` | queries, keys and values by a map each |
| `lean-fused`, `lean-packed` | ONNX Runtime's own `MultiHeadAttention` and `Attention` |
| `lean-standard` | opset 23's `Attention` |
| `transformers` | `plain` through `onnxruntime.transformers.optimizer` |

All give the same probabilities up to rounding, which is checked when one is written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from greenup import export
from greenup.graph import attention
from greenup.graph.lean import Choice, Lean
from greenup.model import Classifier, ModelConfig
from greenup.weights import State
from greenup_runtime.errors import UsageFault

__all__ = ["best_form", "forms"]

Form = Callable[[Path], None]
_OPSET = 20
_ATTENTION_OPSET = 23
_WINDOWS = 4


def forms(config: ModelConfig, state: State, opset_max: int = _OPSET) -> dict[str, Form]:
    """What can write this model as ONNX, by name; each takes a path.

    Forms that this model or `opset_max` rule out are not there. Writing one raises IntegrityFault where its
    probabilities differ from PyTorch's. Whether a file takes any batch or one window is in `onnx_facts.facts`.
    """
    opset = min(_OPSET, opset_max)
    if opset_max < _OPSET:
        raise UsageFault(f"opset {opset_max} has no whole Gelu", f"the target must load opset {_OPSET}")
    choices = _choices(config)
    found: dict[str, Form] = {
        "plain": partial(_plain, config, state, opset, True),
        "fixed": partial(_plain, config, state, opset, False),
        **{name: partial(_lean, config, state, choice, opset) for name, choice in choices.items()},
    }
    if opset_max >= _ATTENTION_OPSET:
        choice = Choice(attention=attention.Standard)
        found["lean-standard"] = partial(_lean, config, state, choice, _ATTENTION_OPSET)
    found["transformers"] = partial(_transformers, config, state, opset)
    return found


def best_form(config: ModelConfig, state: State, opset_max: int = _OPSET) -> Form:
    """What writes the form that was the fastest, or nearly so, wherever it was measured (docs/compression.md)."""
    return forms(config, state, opset_max)["lean-standard" if opset_max >= _ATTENTION_OPSET else "lean"]


def _choices(config: ModelConfig) -> dict[str, Choice]:
    found = {
        "lean": Choice(),
        "lean-separate": Choice(attention=attention.Separate),
        "lean-fused": Choice(attention=attention.Fused),
        "lean-packed": Choice(attention=attention.Packed),
    }
    if config.pooling == "cls":
        found["lean-all"] = Choice(first_token=False)
    if config.stem:
        found["lean-lines"] = Choice(stem="lines")
        if config.patch == 2 * config.stride:
            found["lean-blocks"] = Choice(stem="blocks")
    return found


def _plain(config: ModelConfig, state: State, opset: int, any_batch: bool, path: Path) -> None:
    module = export.WithSoftmax(_classifier(config, state)).eval()
    export.write_model(export.exported(module, config, opset, any_batch), path)
    _check(path, config, state)


def _lean(config: ModelConfig, state: State, choice: Choice, opset: int, path: Path) -> None:
    module = Lean(_classifier(config, state), choice).eval()
    export.write_model(export.exported(module, config, opset, any_batch=False), path)
    _check(path, config, state)


def _transformers(config: ModelConfig, state: State, opset: int, path: Path) -> None:
    """The library's fusions; they look for the subgraphs of BERT and the like, and may find none."""
    from onnxruntime.transformers import optimizer

    with tempfile.TemporaryDirectory(prefix="greenup-graph-") as folder, export.silence():
        plain = Path(folder) / "plain.onnx"
        _plain(config, state, opset, True, plain)
        heads = config.heads[0] if len(set(config.heads)) == 1 else 0
        width = heads * config.d_head
        fused = optimizer.optimize_model(str(plain), "bert", num_heads=heads, hidden_size=width, opt_level=0)
        model: onnx.ModelProto = fused.model
    export.write_model(model, path)
    _check(path, config, state)


def _classifier(config: ModelConfig, state: State) -> Classifier:
    classifier = Classifier(config)
    classifier.load_state_dict(state)
    return classifier.eval().requires_grad_(False)


def _check(path: Path, config: ModelConfig, state: State) -> None:
    export.check_against_torch(path, config, state, _windows(config))


def _windows(config: ModelConfig) -> npt.NDArray[np.float32]:
    """Random walks on an offset, and a constant window: what appliances look like, roughly."""
    steps = np.random.default_rng(0).normal(size=(_WINDOWS, config.channels, config.length))
    windows = (10 + steps.cumsum(axis=-1)).astype(np.float32)
    windows[-1] = 3.7
    return windows
