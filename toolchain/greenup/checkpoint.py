"""Checkpoints that a killed training resumes from: one file, replaced in one step, that proves itself whole.

    32 bytes    SHA-256 of the rest
    rest        torch.save of {"run": key, "progress": …}

The key names the run (configuration, settings, seed, data). A file of another run or a damaged one is not
used: training starts over and says so.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from greenup_runtime.files import write_atomic

_DIGEST_BYTES = 32


def save(path: Path, run: str, progress: dict[str, Any]) -> None:
    """Replace the checkpoint by a new one; a kill at any point leaves the old or the new."""
    buffer = io.BytesIO()
    torch.save({"run": run, "progress": progress}, buffer)
    body = buffer.getvalue()
    write_atomic(path, hashlib.sha256(body).digest() + body)


def load(path: Path, run: str) -> tuple[dict[str, Any] | None, str | None]:
    """The progress of a run, or None; and a note where a file is there but cannot be used."""
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        return None, None
    digest, body = whole[:_DIGEST_BYTES], whole[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        return None, "the checkpoint is damaged, training starts over"
    found = torch.load(io.BytesIO(body), weights_only=True)
    if found["run"] != run:
        return None, "the checkpoint is of another run, training starts over"
    return found["progress"], None
