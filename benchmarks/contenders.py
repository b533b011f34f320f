"""The contenders of compression.py: each a callable for one window, and how many test cases it gets right."""

from __future__ import annotations

import argparse
import itertools
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from onnxruntime import quantization as ort

from greenup import weights
from greenup.cache import Cache
from greenup.data import DataSet
from greenup.export import batch_of
from greenup.folders import cache_folder
from greenup.loop import Session
from greenup.model import Classifier
from greenup.pipeline import Build
from greenup.recipe import Recipe
from greenup.result import Interval
from greenup.train import predict
from greenup.tune.stages import TuneStages
from greenup_runtime.bundle import BASELINE, Bundle
from greenup_runtime.engine import Engine

Float32 = npt.NDArray[np.float32]
OLIVE = Path(__file__).with_name("olive_int8.py")
_CALIBRATION = 64


@dataclass(frozen=True)
class Contender:
    """`call` runs one test window after the other; `right` of `cases` test cases are classified rightly."""

    call: Callable[[], object]
    right: int
    cases: int
    variant: str


def of(
    session: Session, recipe: Recipe, bundle: Bundle, chosen: str, arguments: argparse.Namespace
) -> dict[str, Contender]:
    """All contenders of a tuned recipe, `fp32` first."""
    stages = TuneStages(
        Build(recipe, session.device.target, (), Cache(cache_folder()), arguments.data_dir, session.progress)
    )
    data = stages.data()
    fp32 = bundle.path(bundle.variant(BASELINE).blob)
    field = {BASELINE: _onnx(fp32, data, BASELINE), "PyTorch eager": _eager(stages.trained(), data)}
    scratch = Path(tempfile.mkdtemp(prefix="greenup-bench-"))
    field["ORT default static"] = _onnx(_static(fp32, scratch / "static.onnx", data), data, "default QDQ")
    ort.quantize_dynamic(str(fp32), str(scratch / "dynamic.onnx"))
    field["ORT dynamic"] = _onnx(scratch / "dynamic.onnx", data, "dynamic")
    if arguments.olive:
        field["Olive int8"] = _onnx(_olive(arguments.olive, fp32, scratch, data), data, "Olive")
    for variant in bundle.variants:
        if variant.name in {"int8", "pruned", "pruned-int8"}:
            field[variant.name] = _onnx(bundle.path(variant.blob), data, variant.name)
    field["chosen"] = _onnx(bundle.path(bundle.variant(chosen).blob), data, chosen)
    if arguments.classics:
        field |= _classics(data, recipe.seed)
    return field


def interval(figure: Interval | None) -> dict[str, float] | None:
    """As a JSON object."""
    return asdict(figure) if figure else None


def _windows(data: DataSet) -> Iterator[Float32]:
    return itertools.cycle([np.ascontiguousarray(window[None]) for window in data.test.x[:64]])


def _onnx(path: Path, data: DataSet, variant: str) -> Contender:
    engine, windows = Engine(path, batch_of(path)), _windows(data)
    right = int((engine.infer(data.test.x).argmax(axis=1) == data.test.y).sum())
    return Contender(lambda: engine.infer_one(next(windows)), right, len(data.test), variant)


def _eager(folder: Path, data: DataSet) -> Contender:
    torch.set_num_threads(1)
    config, state = weights.load(folder)
    model = Classifier(config).eval()
    model.load_state_dict(state)
    windows = _windows(data)

    def call() -> object:
        with torch.inference_mode():
            return torch.softmax(model(torch.from_numpy(next(windows))), dim=-1)

    right = int((predict(config, state, data.test.x).argmax(axis=1) == data.test.y).sum())
    return Contender(call, right, len(data.test), "fp32")


class _Calibration(ort.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, x: Float32) -> None:
        self._rest = iter(x)

    def get_next(self) -> dict[str, Float32] | None:
        window = next(self._rest, None)
        return None if window is None else {"input": window[None]}


def _static(source: Path, target: Path, data: DataSet) -> Path:
    """ONNX Runtime's static quantization as its documentation says, nothing tuned."""
    prepared = target.with_name("prepared.onnx")
    ort.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    ort.quantize_static(str(prepared), str(target), _Calibration(data.train.x[:_CALIBRATION]))
    return target


def _olive(python: Path, source: Path, scratch: Path, data: DataSet) -> Path:
    """Olive's static int8 of the same file, made in its own environment."""
    np.save(scratch / "calibration.npy", data.train.x[:_CALIBRATION])
    target = scratch / "olive.onnx"
    subprocess.run([python, OLIVE, source, scratch / "calibration.npy", target], check=True, capture_output=True)
    return target


def _classics(data: DataSet, seed: int) -> dict[str, Contender]:
    """What users would pick instead, one case at a time on one thread."""
    from aeon.classification.convolution_based import MiniRocketClassifier
    from aeon.classification.interval_based import QUANTClassifier

    x = np.concatenate([data.train.x, data.validation.x]).astype(np.float64)
    y = np.concatenate([data.train.y, data.validation.y])
    models: dict[str, Any] = {
        "MiniRocket (aeon)": MiniRocketClassifier(random_state=seed, n_jobs=1),
        "QUANT (aeon)": QUANTClassifier(random_state=seed),
    }
    field = {}
    for name, model in models.items():
        model.fit(x, y)
        right = int((model.predict(data.test.x.astype(np.float64)) == data.test.y).sum())
        windows = _windows(data)
        field[name] = Contender(
            lambda model=model, windows=windows: model.predict(next(windows).astype(np.float64)),
            right,
            len(data.test),
            name,
        )
    return field
