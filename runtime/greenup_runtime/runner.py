"""Classify windows inside one's own program, without a server.

from greenup_runtime import Runner

with Runner("greenup-out/bundle", allow_unsigned=True) as runner:
    print(runner.infer(samples).label)
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from greenup_runtime.errors import UsageFault
from greenup_runtime.loaded import Wanted, open_serving
from greenup_runtime.preprocess import Float32, to_windows
from greenup_runtime.recorder import NoRecorder, Recorder
from greenup_runtime.store import Store, default_home


class Prediction(NamedTuple):
    """The answer for some windows: `probabilities` [windows, classes], and each window's likeliest class."""

    labels: list[str]
    probabilities: Float32

    @property
    def label(self) -> str:
        """The first window's class."""
        return self.labels[0]


class Runner:
    """A bundle's variant in this process; not for several threads at once.

    `bundle` is a folder; None takes what is committed on this device. Signatures are checked as the server does.
    Raises UsageFault for a folder that is no bundle or an unknown variant, DeviceFault where nothing is committed
    or this device cannot run it, IntegrityFault for what is unsigned (unless `allow_unsigned`) or was altered.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] | None = None,
        variant: str | None = None,
        *,
        allow_unsigned: bool = False,
        threads: int = 1,
        home: Path | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        folder = None if bundle is None else Path(bundle)
        wanted = Wanted(folder, variant, allow_unsigned, threads)
        self._loaded = open_serving(wanted, Store(home or default_home())).default
        self._recorder = recorder or NoRecorder()
        self._shape = (self._loaded.bundle.policy.channels, self._loaded.bundle.policy.length)
        self.classes = self._loaded.bundle.classes
        self.bundle = self._loaded.bundle.digest
        self.variant = self._loaded.variant

    def infer(self, window: npt.ArrayLike) -> Prediction:
        """Classify one series [samples] or [channels, samples], or several windows [cases, channels, length].

        A series of another length is prepared as the manifest says, and may become several windows; NaN in it is a
        gap. Raises DataFault for what cannot be prepared, UsageFault for other dimensions.
        """
        windows = self._windows(np.asarray(window))
        began_s = time.monotonic()
        probabilities = self._loaded.run(windows)
        self._recorder.served(self.bundle, self.variant, began_s, time.monotonic(), len(windows))
        best = probabilities.argmax(axis=1).tolist()
        return Prediction([self.classes[index] for index in best], probabilities)

    def close(self) -> None:
        """Store records that are still held."""
        self._recorder.close()

    def _windows(self, values: npt.NDArray[np.generic]) -> Float32:
        if values.ndim == 1:
            values = values[None]
        if values.ndim == 2:
            values = values[None]
        if values.ndim != 3 or not len(values):
            raise UsageFault(
                f"the array has the shape {list(values.shape)}",
                "give [samples], [channels, samples] or [cases, channels, length]",
            )
        if values.shape[1:] == self._shape and values.dtype == np.float32 and np.isfinite(values).all():
            return np.ascontiguousarray(values, dtype=np.float32)
        policy = self._loaded.bundle.policy
        return np.concatenate([to_windows(one, policy) for one in values])

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
