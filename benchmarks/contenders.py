"""What is compared: each a callable for one window, and which test cases it gets right."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from onnxruntime import quantization as ort

from greenup import weights
from greenup.data import DataSet
from greenup.export import batch_of
from greenup.model import Classifier
from greenup.train import predict
from greenup.tune.stages import TuneStages
from greenup_runtime.bundle import BASELINE, Bundle
from greenup_runtime.engine import Engine

Float32 = npt.NDArray[np.float32]
OLIVE = Path(__file__).with_name("olive_int8.py")
EAGER, STATIC, DYNAMIC, OLIVE_INT8 = "PyTorch eager", "ORT default static", "ORT dynamic", "Olive int8"
DISTILLED, CHOSEN, CHOSEN_INT8 = "distilled", "chosen", "chosen, int8"
MINIROCKET, QUANT = "MiniRocket (aeon)", "QUANT (aeon)"
_CALIBRATION = 64


@dataclass(frozen=True)
class Contender:
    """`call` runs one test window after the other; `right` says of each test case whether its label is right."""

    call: Callable[[], object]
    right: npt.NDArray[np.bool_]
    variant: str


@dataclass(frozen=True)
class Failure:
    """A contender that could not be made, and why."""

    reason: str


Field = dict[str, Contender | Failure]


def of(stages: TuneStages, bundle: Bundle, chosen: str, olive: Path | None) -> Field:
    """All contenders of a tuned recipe, `fp32` first; `olive` is a Python with olive-ai, where there is one."""
    data, scratch = stages.data(), Path(tempfile.mkdtemp(prefix="greenup-bench-"))
    fp32 = bundle.path(bundle.variant(BASELINE).blob)
    field: Field = {BASELINE: onnx(fp32, data, BASELINE), EAGER: eager(stages.trained(), data)}
    field |= others(fp32, data, scratch, olive)
    names = [variant.name for variant in bundle.variants]
    for label, name in _own(names, chosen).items():
        field[label] = onnx(bundle.path(bundle.variant(name).blob), data, name)
    return field


def others(fp32: Path, data: DataSet, scratch: Path, olive: Path | None) -> Field:
    """What other tools make of the same file."""
    field: Field = {STATIC: onnx(default_static(fp32, scratch / "static.onnx", data), data, "default QDQ")}
    ort.quantize_dynamic(str(fp32), str(scratch / "dynamic.onnx"))
    field[DYNAMIC] = onnx(scratch / "dynamic.onnx", data, "dynamic")
    field[OLIVE_INT8] = _olive(olive, fp32, scratch, data)
    return field


def _own(names: list[str], chosen: str) -> dict[str, str]:
    """Our own variants by the label that they are shown under: what each way gains alone, and the chosen one."""
    found = {name: name for name in ("int8", "pruned", "pruned-int8") if name in names}
    floating = chosen.removesuffix("-int8")
    if floating not in (BASELINE, "int8", "pruned"):
        found[DISTILLED] = floating
    int8 = "int8" if chosen in (BASELINE, "int8") else f"{floating}-int8"
    if int8 in names:
        found[CHOSEN_INT8] = int8
    return {**found, CHOSEN: chosen}


def classics(data: DataSet, seed: int) -> Field:
    """What users would pick instead, one case at a time on one thread.

    They get the windows that the recipe makes, so PLAID's, of many lengths, are resampled to one.
    """
    import numba
    from aeon.classification.convolution_based import MiniRocketClassifier
    from aeon.classification.interval_based import QUANTClassifier

    numba.set_num_threads(1)
    torch.set_num_threads(1)
    x = np.concatenate([data.train.x, data.validation.x]).astype(np.float64)
    y = np.concatenate([data.train.y, data.validation.y])
    models: dict[str, Any] = {
        MINIROCKET: MiniRocketClassifier(random_state=seed, n_jobs=1),
        QUANT: QUANTClassifier(random_state=seed),
    }
    return {name: _classic(name, model.fit(x, y), data) for name, model in models.items()}


def _classic(name: str, model: Any, data: DataSet) -> Contender:
    windows = _windows(data)
    right = model.predict(data.test.x.astype(np.float64)) == data.test.y
    return Contender(lambda: model.predict(next(windows).astype(np.float64)), right, name)


def usable(field: Mapping[str, Contender | Failure]) -> dict[str, Contender]:
    """Those that could be made."""
    return {label: each for label, each in field.items() if isinstance(each, Contender)}


def _windows(data: DataSet) -> Iterator[Float32]:
    return itertools.cycle([np.ascontiguousarray(window[None]) for window in data.test.x[:64]])


def onnx(path: Path, data: DataSet, variant: str) -> Contender:
    """An ONNX file in ONNX Runtime on one thread."""
    engine, windows = Engine(path, batch_of(path)), _windows(data)
    right = engine.infer(data.test.x).argmax(axis=1) == data.test.y
    return Contender(lambda: engine.infer_one(next(windows)), right, variant)


def eager(folder: Path, data: DataSet) -> Contender:
    """Trained weights in PyTorch, as they were trained, on one thread."""
    torch.set_num_threads(1)
    config, state = weights.load(folder)
    model = Classifier(config).eval()
    model.load_state_dict(state)
    windows = _windows(data)

    def call() -> object:
        with torch.inference_mode():
            return torch.softmax(model(torch.from_numpy(next(windows))), dim=-1)

    return Contender(call, predict(config, state, data.test.x).argmax(axis=1) == data.test.y, BASELINE)


class _Calibration(ort.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, x: Float32) -> None:
        self._rest = iter(x)

    def get_next(self) -> dict[str, Float32] | None:
        window = next(self._rest, None)
        return None if window is None else {"input": window[None]}


def default_static(source: Path, target: Path, data: DataSet) -> Path:
    """ONNX Runtime's static quantization as its documentation says, nothing tuned."""
    prepared = target.with_name(f"{target.stem}-prepared.onnx")
    ort.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    ort.quantize_static(str(prepared), str(target), _Calibration(data.train.x[:_CALIBRATION]))
    return target


def _olive(python: Path | None, source: Path, scratch: Path, data: DataSet) -> Contender | Failure:
    """Olive's static int8 of the same file, made in its own environment."""
    if python is None:
        return Failure("no environment: python benchmarks/environments.py olive")
    np.save(scratch / "calibration.npy", data.train.x[:_CALIBRATION])
    # Olive tells an ONNX file by its extension, which a bundle's blobs do not have.
    named, target = scratch / "source.onnx", scratch / "olive.onnx"
    shutil.copyfile(source, named)
    command = [python, OLIVE, named, scratch / "calibration.npy", target]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        return Failure(f"failed: {last[:200]}")
    return onnx(target, data, "Olive")
