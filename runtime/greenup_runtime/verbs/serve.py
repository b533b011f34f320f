"""`greenup-runner serve`: answer the Open Inference Protocol until SIGTERM."""

from __future__ import annotations

import argparse
import gc
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenup_runtime import logs
from greenup_runtime.commands import Finished
from greenup_runtime.errors import DeviceFault
from greenup_runtime.settings import ShipSettings
from greenup_runtime.store import Store
from greenup_runtime.verbs import flags

if TYPE_CHECKING:
    from greenup_runtime.server.run import Running
    from greenup_runtime.shipping import Shipper

_TABLE = "server"


def add(verbs: Any, verb: Any) -> None:
    """The verb and its options."""
    parser = verb(verbs, "serve", serve, "answer the Open Inference Protocol over HTTP and a Unix socket")
    parser.add_argument("bundle", nargs="?", type=Path, help="folder of a bundle; else what is committed serves")
    parser.add_argument("--variant", help="serve this variant instead of the committed one")
    flags.add(parser, _TABLE)


def serve(arguments: argparse.Namespace, store: Store) -> Any:
    """Serve until SIGTERM, then say what was done."""
    # Nothing that is loaded until it listens is ever garbage.
    gc.disable()
    settings = flags.settings_of(arguments, _TABLE).settings
    logs.configure(settings.log_format, settings.log_level)
    try:
        # The only import of httptools; everything else of the runtime works without it.
        from greenup_runtime.server.run import serve as run
    except ModuleNotFoundError as error:
        raise DeviceFault(
            f"the server needs {error.name}", "install greenup-runtime with its dependencies"
        ) from error
    from greenup_runtime.loaded import Wanted
    from greenup_runtime.recording import open_recorder

    server = settings.server
    wanted = Wanted(arguments.bundle, arguments.variant, server.allow_unsigned, server.threads, arguments.root)
    with ExitStack() as stack:
        shipper = _shipper(settings.ship, store)
        if shipper is not None:
            stack.enter_context(closing(shipper.start()))
        recorder = open_recorder(settings.records, store, arguments.root)
        run(server, wanted, store, recorder, _say, shipper.facts if shipper else dict)
    return Finished({"stopped": True}, 0, "stopped")


def _shipper(settings: ShipSettings, store: Store) -> Shipper | None:
    """Who brings records to the host, if somebody said where it is."""
    if not settings.url:
        return None
    from greenup_runtime.shipping import Shipper

    return Shipper(settings, store)


def _say(running: Running) -> None:
    """It listens: tell programs that started us where (`--port 0`), and collect garbage from now on.

    Never again in what is there already: looking through all modules takes 10 ms, in somebody's request.
    """
    gc.freeze()
    gc.enable()
    for host, port in running.addresses:
        print(f"listening {host} {port}", flush=True)
