"""`greenup-runner stream`: samples in, labels out, until the source ends or the service is stopped."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from greenup_runtime import configuration, kinds, logs, setting_texts
from greenup_runtime.errors import INTERRUPTED_EXIT_CODE
from greenup_runtime.recorder import NoRecorder, Recorder
from greenup_runtime.settings import RunnerSettings
from greenup_runtime.store import Store

_TABLE = "stream."
# Places and forms are arguments that everybody needs; all other keys of the table are flags of their own name.
_ARGUMENT = "source"


def add(verbs: Any, verb: Any) -> None:
    """Add `stream` to the command line, with a flag for each key of the table `stream`."""
    parser = verb(verbs, "stream", stream, "classify samples as they come, window by window")
    parser.add_argument("source", nargs="?", help="-, a file, serial:/dev/ttyUSB0 or mqtt://host/topic")
    parser.add_argument("--config", type=Path, help="read this file of settings instead of the usual one")
    parser.add_argument("--variant", help="use this variant instead of the one that serves")
    texts = setting_texts.texts_of(RunnerSettings)
    for path, key in configuration.all_keys().items():
        name = path.removeprefix(_TABLE)
        if path.startswith(_TABLE) and name != _ARGUMENT:
            _add_flag(parser, name, key, " ".join(texts.get(path, ())))


def _add_flag(parser: argparse.ArgumentParser, name: str, key: configuration.Key, text: str) -> None:
    flag = "--" + name.replace("_", "-")
    text = text.replace("%", "%%") or f"{kinds.words_of(key.hint)}"
    if key.hint is bool:
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
    else:
        parser.add_argument(flag, metavar=name.rpartition("_")[2].upper(), help=text)


def stream(arguments: argparse.Namespace, store: Store) -> bytes:
    """Run a stream to its end; labels go to the output, a summary to the log on stderr."""
    from greenup_runtime.streams.model import Model
    from greenup_runtime.streams.outputs import open_output
    from greenup_runtime.streams.pipeline import Reader, Stream
    from greenup_runtime.streams.source import open_source

    settings = _settings(arguments)
    logs.configure(settings.log_format, settings.log_level)
    stop = threading.Event()
    model = Model(store, settings.stream, arguments.variant)
    client_id = f"greenup-{store.device_id}"
    reader = Reader(open_source(settings.stream, client_id), model.policy, settings.stream, stop)
    output = open_output(settings.stream, client_id)
    recorder = open_recorder(store, settings, arguments.root)
    running = Stream(reader, model, recorder, output, settings.stream, stop)
    interrupted = _heed_signals(stop, running.reload)
    logs.event(
        "info",
        "stream.start",
        source=settings.stream.source,
        output=settings.stream.output,
        bundle=model.bundle.digest[:12],
        variant=model.variant,
        window=model.policy.window,
        stride=model.policy.stride or model.policy.window,
    )
    logs.event("info", "stream.end", **{name: count for name, count in running.run().items() if count})
    if interrupted.is_set():
        raise SystemExit(INTERRUPTED_EXIT_CODE)
    return b""


def open_recorder(store: Store, settings: RunnerSettings, root: Path) -> Recorder:  # noqa: ARG001
    """Who keeps a record of each inference, as the settings' table `records` says."""
    return NoRecorder()


def _settings(arguments: argparse.Namespace) -> RunnerSettings:
    given = vars(arguments)
    paths = [path for path in configuration.all_keys() if path.startswith(_TABLE)]
    flags = {path: given.get(path.removeprefix(_TABLE)) for path in paths}
    return configuration.load(arguments.config, flags=flags).settings


def _heed_signals(stop: threading.Event, reload: threading.Event) -> threading.Event:
    """SIGTERM and SIGINT end the stream after what is under way, SIGHUP looks for another model."""
    interrupted = threading.Event()

    def end(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            interrupted.set()
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGHUP, lambda *_: reload.set())
    return interrupted
