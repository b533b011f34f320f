"""Run one variant with ONNX Runtime: raw windows in, probabilities out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from greenup_runtime.bundle import Bundle
from greenup_runtime.errors import DeviceFault, UsageFault

Float32 = npt.NDArray[np.float32]
_ERRORS_ONLY = 3
# onnxruntime's exceptions share no base class of their own.
_LOAD_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.NoSuchFile,
)


class Engine:
    """A loaded variant.

    `batch` is `any`, or `1` where the graph has a fixed batch (it may run faster); the engine then splits.
    Raises DeviceFault where this device's onnxruntime cannot load the file.
    """

    def __init__(self, model: Path, batch: str = "any", threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # Threads that spin while they wait would be charged to idle.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
        except _LOAD_ERRORS as error:
            raise DeviceFault(
                f"onnxruntime {onnxruntime.__version__} cannot load {model.name[:12]}…: {error}",
                "the bundle's opset may be newer than this runtime: build for this target",
            ) from error
        self._batch = batch
        self._input = self._session.get_inputs()[0].name
        self.names: tuple[str, str] = (self._input, self._session.get_outputs()[0].name)
        """How the graph names its windows and its probabilities."""
        self.shape: tuple[int | str | None, ...] = tuple(self._session.get_inputs()[0].shape)

    def infer_one(self, window: Float32) -> Float32:
        """Probabilities [1, classes] of one window [1, channels, length]; the hot path of measurement."""
        result: Float32 = self._session.run(None, {self._input: window})[0]
        return result

    def infer(self, windows: Float32) -> Float32:
        """Probabilities [cases, classes] of windows [cases, channels, length].

        Raises UsageFault for windows of another shape.
        """
        self._check(windows)
        if self._batch == "any" or len(windows) == 1:
            return self.infer_one(windows)
        return np.concatenate([self.infer_one(windows[i : i + 1]) for i in range(len(windows))])

    def _check(self, windows: Float32) -> None:
        expected = tuple(self.shape[1:])
        if windows.ndim != 3 or windows.shape[1:] != expected or not len(windows):
            wanted = ", ".join(map(str, expected))
            raise UsageFault(
                f"windows have the shape {list(windows.shape)}, the model takes [cases, {wanted}]",
                "cases may be 1; channels and length are in the manifest",
            )


def load(bundle: Bundle, variant: str, threads: int = 1) -> Engine:
    """Load a variant of a bundle. Raises UsageFault for an unknown name."""
    return Engine(bundle.path(bundle.variant(variant).blob), bundle.batch, threads)
