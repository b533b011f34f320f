"""`greenup-runner health`: whether the server on this machine is ready; the check of containers and scripts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from greenup_runtime import configuration
from greenup_runtime.commands import Finished


def add(verbs: Any, verb: Any) -> None:
    """Add `health` to the command line."""
    parser = verb(verbs, "health", health, "ask the server whether it is ready; exit code 0 or 1")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", help="the server's address; default: as the settings say")
    where.add_argument("--socket", type=Path, help="the server's Unix socket")
    parser.add_argument("--timeout-s", type=float, default=3.0, help="how long to wait for the answer")
    parser.add_argument("--config", type=Path, help="read this file of settings instead of the usual one")
    parser.set_defaults(homeless=True)


def health(arguments: argparse.Namespace, _store: object) -> Finished:
    """Exit code 0 where the server says that it is ready, else 1 with the reason."""
    # HTTP's client takes memory that a server, which has this verb too, must not pay for.
    from greenup_runtime import readiness

    socket, url = arguments.socket, arguments.url
    if socket is None and url is None:
        socket, url = readiness.place_of(configuration.load(arguments.config).settings.server)
    where, reason = readiness.ask(socket, url, arguments.timeout_s)
    line = f"ready: {where}" if reason is None else f"not ready: {where}: {reason}"
    return Finished({"ready": reason is None, "server": where, "reason": reason}, 0 if reason is None else 1, line)
