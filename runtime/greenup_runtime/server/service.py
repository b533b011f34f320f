"""Answers requests: inference on the event loop where it is quick, in one worker thread where it is not.

A model of 0.1 ms costs less than handing it to a thread. What takes longer than `INLINE_S`, a large body, or a
variant that must be loaded first goes to the worker, so that health and metrics still answer meanwhile.

A switch replaces `current` as one assignment; what runs holds on to the `Serving` it began with.
"""

from __future__ import annotations

import asyncio
import os
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, NamedTuple

from greenup_runtime import logs
from greenup_runtime.errors import DataFault, DeviceFault, GreenupError, IntegrityFault, UsageFault
from greenup_runtime.loaded import Loaded, Serving
from greenup_runtime.preprocess import Float32
from greenup_runtime.recorder import Receipt, Recorder
from greenup_runtime.server.http import Answer, Refusal, Request, refused
from greenup_runtime.server.inflate import IDENTITY, inflate
from greenup_runtime.server.metrics import Metrics
from greenup_runtime.server.protocol import LENGTH_HEADER, Call, Form, decode, encode
from greenup_runtime.server.rate import Rate
from greenup_runtime.settings import ServerSettings

INLINE_S = 0.005
INLINE_BYTES = 64 << 10
# What others than the recorder have to say for `/metrics`.
Told = Callable[[], dict[str, Any]]
_STATUS: tuple[tuple[type[GreenupError], int], ...] = (
    (DataFault, 400),
    (UsageFault, 400),
    (DeviceFault, 503),
    (IntegrityFault, 503),
)


class Current(NamedTuple):
    """What serves now, and its form in the protocol."""

    serving: Serving
    form: Form


class _Done(NamedTuple):
    """A call after its inference: probabilities, and its begin and end on the monotonic clock."""

    call: Call
    loaded: Loaded
    probabilities: Float32
    began_s: float
    ended_s: float


class Service:
    """Inference with its record and its counts. All methods but `_work` are called on the event loop."""

    def __init__(self, settings: ServerSettings, recorder: Recorder, told: Told = dict) -> None:
        self.settings = settings
        self.recorder = recorder
        self.told = told
        self.metrics = Metrics()
        self.current: Current | None = None
        self.in_flight = 0
        self.draining = False
        self._rate = Rate(settings.max_rate_hz)
        # One thread: the board's cores belong to the model, and inferences beside each other slow each other down.
        self._worker = ThreadPoolExecutor(1, "greenup-infer")
        self._prefix = os.urandom(4).hex()
        self._numbers = count(1)

    def serve(self, serving: Serving) -> None:
        """Let this serve from now on."""
        # A value in JSON takes two bytes and more; four are what it takes as a tensor.
        limit = self.settings.max_body_bytes // 4
        form = Form.of(serving.source.bundle, serving.default.engine.names, limit)
        self.current = Current(serving, form)

    def close(self) -> None:
        """Let the worker end; what it does still ends first."""
        self._worker.shutdown(wait=True)
        self.recorder.close()

    def infer(self, request: Request, variant: str | None) -> Answer | asyncio.Task[Answer]:
        """Answer one request for inference. Raises Refusal or another GreenupError for what cannot be answered."""
        arrived_s = time.monotonic()
        current = self.current
        if current is None:
            raise Refusal(503, "no bundle serves on this device yet: push one with `greenup push`")
        self._rate.take(arrived_s)
        name = variant or current.serving.default.variant
        loaded = current.serving.loaded(name)
        if loaded is None or len(request.body) > INLINE_BYTES or b"content-encoding" in request.headers:
            return self._later(lambda: self._decode_and_work(request, current, name), current, arrived_s)
        call = _decode(request, current.form, self.settings.max_body_bytes)
        if loaded.typical_s * len(call.windows) > INLINE_S:
            return self._later(lambda: self._work(call, loaded), current, arrived_s)
        return self._finish(self._work(call, loaded), current, arrived_s)

    def _decode_and_work(self, request: Request, current: Current, variant: str) -> _Done:
        loaded = current.serving.load(variant)
        return self._work(_decode(request, current.form, self.settings.max_body_bytes), loaded)

    def _work(self, call: Call, loaded: Loaded) -> _Done:
        began_s = self.recorder.began()
        try:
            probabilities = loaded.run(call.windows)
        except BaseException:
            self.recorder.gave_up()
            raise
        return _Done(call, loaded, probabilities, began_s, time.monotonic())

    def _later(self, work: Callable[[], _Done], current: Current, arrived_s: float) -> asyncio.Task[Answer]:
        return asyncio.get_running_loop().create_task(self._in_worker(work, current, arrived_s))

    async def _in_worker(self, work: Callable[[], _Done], current: Current, arrived_s: float) -> Answer:
        self.in_flight += 1
        try:
            done = await asyncio.get_running_loop().run_in_executor(self._worker, work)
            return self._finish(done, current, arrived_s)
        finally:
            self.in_flight -= 1

    def _finish(self, done: _Done, current: Current, arrived_s: float) -> Answer:
        """Record, count and encode."""
        form, loaded, windows = current.form, done.loaded, len(done.call.windows)
        receipt = self.recorder.served(loaded.bundle.digest, loaded.variant, done.began_s, done.ended_s, windows)
        identity = done.call.id or f"{self._prefix}-{next(self._numbers)}"
        parameters = _parameters(done.ended_s - done.began_s, receipt)
        answer = encode(done.call, form, loaded.variant, done.probabilities, identity, parameters)
        self.metrics.windows[loaded.variant] = self.metrics.windows.get(loaded.variant, 0) + windows
        answer.labels = (loaded.variant, time.monotonic() - arrived_s)
        return answer


def answer_to(fault: Exception) -> Answer:
    """The protocol's error for a fault; what nobody foresaw is logged and never shown."""
    if isinstance(fault, Refusal):
        return refused(fault)
    for kind, status in _STATUS:
        if isinstance(fault, kind):
            return refused(Refusal(status, fault.message))
    told = "".join(traceback.format_exception(fault))
    logs.event("error", "server.failed", fault=told)
    return refused(Refusal(500, "the runner failed; its log says how"))


def _decode(request: Request, form: Form, limit_bytes: int) -> Call:
    encoding = request.headers.get(b"content-encoding", IDENTITY).lower()
    body = inflate(request.body, encoding, limit_bytes)
    return decode(body, request.headers.get(LENGTH_HEADER), form)


def _parameters(latency_s: float, receipt: Receipt) -> dict[str, Any]:
    """What each answer tells of itself; the protocol allows texts, numbers and booleans only."""
    parameters: dict[str, Any] = {"latency_s": round(latency_s, 9), "energy_method": receipt.method}
    if receipt.id:
        parameters["record_id"] = receipt.id
    if receipt.energy_j is not None:
        parameters["energy_j"] = receipt.energy_j
    if receipt.reason is not None:
        parameters["energy_reason"] = receipt.reason
    return parameters
