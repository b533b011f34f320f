"""`greenup-runner stream`: samples in, labels out, until the source ends or the service is stopped."""

from __future__ import annotations

import argparse
import signal
import threading
from types import FrameType
from typing import Any

from greenup_runtime import logs
from greenup_runtime.errors import INTERRUPTED_EXIT_CODE
from greenup_runtime.store import Store
from greenup_runtime.verbs import flags

_TABLE = "stream"


def add(verbs: Any, verb: Any) -> None:
    """Add `stream` to the command line, with a flag for each key of the table `stream`."""
    parser = verb(verbs, "stream", stream, "classify samples as they come, window by window")
    parser.add_argument("source", nargs="?", help="-, a file, serial:/dev/ttyUSB0 or mqtt://host/topic")
    parser.add_argument("--variant", help="use this variant instead of the one that serves")
    flags.add(parser, _TABLE, without=("source",))


def stream(arguments: argparse.Namespace, store: Store) -> bytes:
    """Run a stream to its end; labels go to the output, a summary to the log on stderr."""
    from greenup_runtime.recording import open_recorder
    from greenup_runtime.streams.model import Model
    from greenup_runtime.streams.outputs import open_output
    from greenup_runtime.streams.pipeline import Reader, Stream
    from greenup_runtime.streams.source import open_source

    settings = flags.settings_of(arguments, _TABLE).settings
    logs.configure(settings.log_format, settings.log_level)
    stop = threading.Event()
    model = Model(store, settings.stream, arguments.variant)
    client_id = f"greenup-{store.device_id}"
    reader = Reader(open_source(settings.stream, client_id), model.policy, settings.stream, stop)
    output = open_output(settings.stream, client_id)
    recorder = open_recorder(settings.records, store, arguments.root)
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
