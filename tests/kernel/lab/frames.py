"""How the machine answers: lines of JSON on its console, each with a checksum, between whatever else is there.

    @greenup 1a2b3c4d {"scenario": "rapl-wrap", …}

The kernel writes to the same console, so a line may be torn; a torn one is not taken for an answer.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable
from typing import Any

_LINE = re.compile(r"@greenup ([0-9a-f]{8}) (\{.*\})")


def encode(value: dict[str, Any]) -> str:
    """One line."""
    text = json.dumps(value, separators=(",", ":"))
    return f"@greenup {zlib.crc32(text.encode()):08x} {text}"


def decode(console: Iterable[str]) -> list[dict[str, Any]]:
    """The answers among a console's lines."""
    found = (_LINE.search(line) for line in console)
    return [
        json.loads(match[2]) for match in found if match and zlib.crc32(match[2].encode()) == int(match[1], 16)
    ]
