"""Olive's static int8 of an ONNX file; runs in an environment of its own, made by `environments.py olive`.

    PYTHON olive_int8.py SOURCE.onnx calibration.npy TARGET.onnx

One workflow as Olive's documentation describes it: the pass OnnxStaticQuantization with its defaults (QDQ, signed
8 bits, ranges by minimum and maximum), calibrated on the windows [n, c, l] of the file. Olive reads the windows
through this file too: it is the workflow's user script. The graph is prepared by Olive's own pass for that,
without symbolic shapes: ONNX Runtime's inference of those fails on these graphs, and Olive would quantize the file
unprepared, which would not be fair to it.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["OLIVE_DISABLE_TELEMETRY"] = "1"

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import olive
import onnx
from olive.data.registry import Registry
from torch.utils.data import Dataset


class Windows(Dataset):  # type: ignore[type-arg]
    """Calibration windows as Olive wants them: a dictionary of inputs, and a label that nothing looks at."""

    def __init__(self, path: str, input_name: str) -> None:
        self._x, self._name = np.load(path), input_name

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, index: int) -> tuple[dict[str, Any], int]:
        return {self._name: self._x[index]}, 0


@Registry.register_dataset()
def greenup_windows(path: str, input_name: str, **_: object) -> Windows:
    return Windows(path, input_name)


def workflow(source: Path, calibration: Path, out: Path) -> dict[str, Any]:
    """Olive's run configuration."""
    first = onnx.load(source).graph.input[0]
    load = {"type": "greenup_windows", "params": {"path": str(calibration), "input_name": first.name}}
    data = {
        "name": "windows",
        "user_script": str(Path(__file__).resolve()),
        "load_dataset_config": load,
        "dataloader_config": {"params": {"batch_size": 1}},
    }
    return {
        "input_model": {"type": "ONNXModel", "model_path": str(source)},
        "systems": {
            "here": {
                "type": "LocalSystem",
                "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}],
            }
        },
        "data_configs": [data],
        "passes": {
            "prepare": {"type": "OnnxQuantizationPreprocess", "skip_symbolic_shape": True},
            "int8": {"type": "OnnxStaticQuantization", "data_config": "windows", "quant_preprocess": False},
        },
        "engine": {"host": "here", "target": "here", "output_dir": str(out), "cache_dir": str(out / "cache")},
    }


def main() -> None:
    source, calibration, target = (Path(name).resolve() for name in sys.argv[1:4])
    with tempfile.TemporaryDirectory(prefix="greenup-olive-") as scratch:
        made = olive.run(workflow(source, calibration, Path(scratch) / "out"))
        best = made.get_best_candidate() if made is not None else None
        if best is None:
            sys.exit("Olive made no model: its log above says why")
        shutil.copyfile(best.model_path, target)


if __name__ == "__main__":
    main()
