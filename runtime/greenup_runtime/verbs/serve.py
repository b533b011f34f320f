"""`greenup-runner serve`: answer the Open Inference Protocol until SIGTERM."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenup_runtime.commands import Finished
from greenup_runtime.errors import DeviceFault
from greenup_runtime.recorder import NoRecorder, Recorder
from greenup_runtime.settings import RunnerSettings, ServerSettings
from greenup_runtime.store import Store

if TYPE_CHECKING:
    from greenup_runtime.server.run import Running

_FLAGS: tuple[tuple[str, type, str], ...] = (
    ("host", str, "address to listen at; beyond loopback it takes a token or client certificates"),
    ("port", int, "TCP port; 0 takes a free one"),
    ("socket", Path, "Unix socket to listen at as well (mode 0660)"),
    ("token-file", Path, "file with the token that requests must carry"),
    ("tls-certificate-file", Path, "PEM certificate: speak TLS"),
    ("tls-key-file", Path, "PEM key of the certificate"),
    ("client-ca-file", Path, "PEM certificates of those who may issue clients theirs"),
    ("max-body-bytes", int, "largest body of a request"),
    ("max-connections", int, "most connections at once"),
    ("max-rate-hz", float, "most inferences a second; 0 is no limit"),
    ("head-timeout-s", float, "longest time for a request's head"),
    ("body-timeout-s", float, "longest time for a request's body"),
    ("idle-timeout-s", float, "longest pause between requests of a connection"),
    ("drain-s", float, "longest time for what runs at SIGTERM"),
    ("threads", int, "threads of one inference"),
)


def add(verbs: Any) -> None:
    """The verb and its options."""
    text = "answer the Open Inference Protocol over HTTP and a Unix socket"
    parser = verbs.add_parser("serve", help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(verb=serve, schema="greenup.runner.serve/1")
    parser.add_argument("bundle", nargs="?", type=Path, help="folder of a bundle; else what is committed serves")
    parser.add_argument("--variant", help="serve this variant instead of the committed one")
    parser.add_argument("--allow-unsigned", action="store_true", default=None, help="serve what nobody signed")
    for name, kind, meaning in _FLAGS:
        parser.add_argument(f"--{name}", type=kind, default=None, help=meaning)


def serve(arguments: argparse.Namespace, store: Store) -> Any:
    """Serve until SIGTERM, then say what was done."""
    # Nothing that is loaded now is ever garbage.
    gc.disable()
    settings = RunnerSettings()
    server = from_flags(settings.server, arguments)
    logging.basicConfig(stream=sys.stderr, level=settings.log_level.upper(), format="%(levelname)s %(message)s")
    try:
        # The only import of httptools; everything else of the runtime works without it.
        from greenup_runtime.server.run import serve as run
    except ModuleNotFoundError as error:
        raise DeviceFault(
            f"the server needs {error.name}", "install greenup-runtime with its dependencies"
        ) from error
    from greenup_runtime.loaded import Wanted

    wanted = Wanted(arguments.bundle, arguments.variant, server.allow_unsigned, server.threads, arguments.root)
    run(server, wanted, store, open_recorder(settings, store), _say)
    return Finished({"stopped": True}, 0, "stopped")


def from_flags(settings: ServerSettings, arguments: argparse.Namespace) -> ServerSettings:
    """Settings with what the command line says put over them."""
    names = [name.replace("-", "_") for name, _, _ in _FLAGS] + ["allow_unsigned"]
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    return replace(settings, **given)


def open_recorder(_settings: RunnerSettings, _store: Store) -> Recorder:
    """What keeps the records of this server."""
    return NoRecorder()


def _say(running: Running) -> None:
    """It listens: tell programs that started us where (`--port 0`), and collect garbage from now on.

    Never again in what is there already: looking through all modules takes 10 ms, in the middle of a request.
    """
    gc.freeze()
    gc.enable()
    for host, port in running.addresses:
        print(f"listening {host} {port}", flush=True)
