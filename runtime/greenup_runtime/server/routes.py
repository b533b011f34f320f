"""Which path leads where: the Open Inference Protocol's resources, `/metrics` and the description of it all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from greenup_runtime import __version__
from greenup_runtime.errors import UsageFault
from greenup_runtime.loaded import missing_features
from greenup_runtime.server import metrics
from greenup_runtime.server.http import Answer, Refusal, Request, json_answer
from greenup_runtime.server.service import Current, Service, answer_to
from greenup_runtime.thermal import BoardProbe

Handled = Answer | asyncio.Task[Answer]
_READ = ("GET", "HEAD")
_OPENAPI = Path(__file__).with_name("openapi.json")
_EXTENSIONS = ["binary_tensor_data", "model_repository"]


class Routes:
    """Answers requests by their paths; nothing that a request holds makes `answer` raise."""

    def __init__(self, service: Service, probe: BoardProbe, connections: Callable[[], int]) -> None:
        self._service = service
        self._probe = probe
        self._connections = connections
        # The hot path: whole paths of inference, known since the last switch.
        self._infer_paths: dict[bytes, str | None] = {}
        self._known: Current | None = None

    def answer(self, request: Request) -> Handled:
        """The answer, or a task that will give it."""
        try:
            return self._answer(request)
        except Exception as fault:  # noqa: BLE001 (the edge: it becomes a 500 and a line in the log)
            return answer_to(fault)

    def _answer(self, request: Request) -> Handled:
        if request.method == "POST":
            if self._known is not self._service.current:
                self._learn()
            if request.path in self._infer_paths:
                return self._service.infer(request, self._infer_paths[request.path])
        if request.path == b"*" and request.method == "OPTIONS":
            return Answer(204, headers=((b"Allow", b"GET, HEAD, POST, OPTIONS"),))
        parts = [unquote(part) for part in request.path.decode("latin-1").rstrip("/").split("/")[1:]]
        if parts[:1] == ["v2"]:
            return self._protocol(request, parts[1:])
        if parts == ["metrics"]:
            return _allowed(request, _READ) or self._metrics()
        if parts == ["openapi.json"]:
            return _allowed(request, _READ) or Answer(body=_OPENAPI.read_bytes())
        raise _not_found(request)

    def _protocol(self, request: Request, parts: list[str]) -> Handled:
        if not parts:
            about = {"name": "greenup-runner", "version": __version__, "extensions": _EXTENSIONS}
            return _allowed(request, _READ) or json_answer(about)
        if parts == ["health", "live"]:
            return _allowed(request, _READ) or json_answer({"live": True})
        if parts == ["health", "ready"]:
            ready = self._service.current is not None and not self._service.draining
            return _allowed(request, _READ) or json_answer({"ready": ready}, 200 if ready else 503)
        if parts == ["models"]:
            return _allowed(request, _READ) or json_answer({"models": self._names()})
        if parts == ["repository", "index"]:
            return _allowed(request, ("GET", "HEAD", "POST")) or json_answer(self._index())
        if parts[0] == "models":
            return self._model(request, parts[1:])
        raise _not_found(request)

    def _model(self, request: Request, parts: list[str]) -> Handled:
        current = self._current(parts[0])
        rest, version = parts[1:], None
        if rest[:1] == ["versions"] and len(rest) > 1:
            version, rest = rest[1], rest[2:]
            try:
                current.serving.source.bundle.variant(version)
            except UsageFault as fault:
                raise Refusal(404, f"{fault.message}; {fault.hint}") from fault
        if not rest:
            names = _variants(current) if version is None else [version]
            return _allowed(request, _READ) or json_answer(current.form.metadata(names))
        if rest == ["ready"]:
            return _allowed(request, _READ) or self._model_ready(current, version)
        if rest == ["infer"]:
            return _allowed(request, ("POST",)) or self._service.infer(request, version)
        raise _not_found(request)

    def _current(self, model: str) -> Current:
        current = self._service.current
        if current is None:
            raise Refusal(404, "no bundle serves on this device yet: push one with `greenup push`")
        if model != current.form.model:
            raise Refusal(404, f"there is no model {model[:60]!r}; this runner serves {current.form.model!r}")
        return current

    def _model_ready(self, current: Current, version: str | None) -> Answer:
        name = version or current.serving.default.variant
        lacks = self._lacks(current, name)
        ready = not lacks and not self._service.draining
        body = {"name": current.form.model, "ready": ready}
        return json_answer(body, 200 if ready else 503)

    def _lacks(self, current: Current, variant: str) -> list[str]:
        if current.serving.loaded(variant):
            return []
        return missing_features(current.serving.source.bundle.variant(variant), current.serving.wanted.root)

    def _names(self) -> list[str]:
        current = self._service.current
        return [current.form.model] if current else []

    def _index(self) -> list[dict[str, Any]]:
        current = self._service.current
        if current is None:
            return []
        index = []
        for variant in _variants(current):
            lacks = self._lacks(current, variant)
            state, reason = ("UNAVAILABLE", f"this CPU lacks {', '.join(lacks)}") if lacks else ("READY", "")
            index.append({"name": current.form.model, "version": variant, "state": state, "reason": reason})
        return index

    def _learn(self) -> None:
        current = self._known = self._service.current
        self._infer_paths = {}
        if current is None:
            return
        model = b"/v2/models/" + current.form.model.encode()
        self._infer_paths[model + b"/infer"] = None
        for variant in _variants(current):
            self._infer_paths[model + b"/versions/" + variant.encode() + b"/infer"] = variant

    def _metrics(self) -> asyncio.Task[Answer]:
        return asyncio.get_running_loop().create_task(self._metrics_text())

    async def _metrics_text(self) -> Answer:
        # The probe may start a program, so not on the loop.
        conditions = await asyncio.get_running_loop().run_in_executor(None, self._probe.read)
        service = self._service
        lines = service.metrics.lines() + self._gauges()
        if conditions.temperature_c is not None:
            warm_c = conditions.temperature_c
            lines += metrics.single("greenup_temperature_celsius", "gauge", "Of the processor.", warm_c)
        lines += metrics.facts({**service.recorder.facts(), **service.told()})
        by_variant = [
            ({"bundle": name, "variant": form}, j) for (name, form), j in service.recorder.joules().items()
        ]
        lines += metrics.family("greenup_inference_joules_total", "counter", "Joules of inferences.", by_variant)
        lines += metrics.process_lines(service.metrics.began)
        return Answer(body=("\n".join(lines) + "\n").encode(), content_type=metrics.CONTENT_TYPE)

    def _gauges(self) -> list[str]:
        current, flight = self._service.current, self._service.in_flight
        about = {"version": __version__}
        if current:
            source = current.serving.source
            about |= {
                "bundle": source.bundle.digest,
                "model": current.form.model,
                "variant": current.serving.default.variant,
                "signer": source.signer or "",
            }
        lines = metrics.family("greenup_info", "gauge", "What serves; no signer is unsigned.", [(about, 1)])
        lines += metrics.single("greenup_ready", "gauge", "Whether a bundle serves.", int(current is not None))
        lines += metrics.single("greenup_in_flight_requests", "gauge", "Requests in the worker.", flight)
        return lines + metrics.single("greenup_connections", "gauge", "Open connections.", self._connections())


def _variants(current: Current) -> list[str]:
    return [variant.name for variant in current.serving.source.bundle.variants]


def _allowed(request: Request, methods: tuple[str, ...]) -> Answer | None:
    """None where the method fits; the answer to OPTIONS. Raises Refusal 405 for other methods."""
    if request.method in methods:
        return None
    allow = ((b"Allow", ", ".join((*methods, "OPTIONS")).encode()),)
    if request.method == "OPTIONS":
        return Answer(204, headers=allow)
    raise Refusal(405, f"{request.method} does not fit here", allow)


def _not_found(request: Request) -> Refusal:
    return Refusal(
        404, f"there is nothing at {request.path[:100].decode('latin-1')!r}; /openapi.json lists what is"
    )
