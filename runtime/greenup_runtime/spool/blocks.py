"""Many records in one row of the spool, so that a record costs tens of bytes and well under a microsecond.

    lines     JSON objects, one a line: records that differ in what they say
    columns   what all of them say, once; and what differs as columns of float64: the inferences of a period

Either way a record comes out as the same JSON line. A checksum stands over each block: a page that went bad is
seen when it is read.
"""

from __future__ import annotations

import json
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

# A block is read and dropped as a whole: small enough for that, large enough that its row costs little.
MAX_LINES = 500
MAX_ROWS = 4_096
_FORMATS = {"number": "%d", "whole": "%d", "time": '"%s"', "float": "%.9g"}


@dataclass(frozen=True)
class Block:
    """Records that lie together: how they are written (`form`), how many, what all share, and what differs."""

    form: str
    count: int
    head: str
    body: bytes

    @property
    def size(self) -> int:
        """Bytes that it takes, without its row's own few."""
        return len(self.head) + len(self.body)

    @property
    def checksum(self) -> int:
        """CRC-32 over head and body."""
        return zlib.crc32(self.body, zlib.crc32(self.head.encode()))

    def lines(self, first_seq: int, spool: str) -> list[str]:
        """Its records as JSON lines, each with its `seq` and the spool's uuid; the first one is `first_seq`."""
        if self.form == "columns":
            return _of_columns(self, first_seq, spool)
        texts = self.body.decode().split("\n")
        return [_keyed(text, seq, spool) for seq, text in enumerate(texts, first_seq)]


@dataclass(frozen=True)
class Column:
    """One field that differs: its name, its kind (`time`, `number`, `whole`, `float`), and float64 bytes.

    `time` is in seconds since 1970, shown as a clock on the wall; `number` ends the record's id; `whole` has no
    fraction. Every value is finite.
    """

    name: str
    kind: str
    data: bytes


def of_records(records: Iterable[Mapping[str, Any]]) -> Iterator[Block]:
    """Records as blocks of lines."""
    texts: list[str] = []
    for record in records:
        texts.append(json.dumps(record, separators=(",", ":"), sort_keys=True, allow_nan=False))
        if len(texts) == MAX_LINES:
            yield _block_of(texts)
            texts = []
    if texts:
        yield _block_of(texts)


def of_columns(
    common: Mapping[str, Any], columns: Sequence[Column], run: str, utc_offset_s: float
) -> Iterator[Block]:
    """Records that share `common` and differ by columns of equal length, as blocks.

    A record's id is `run` and its number; its time is shown with the offset from UTC.
    """
    head = json.dumps(
        {
            "common": dict(common),
            "columns": [[column.name, column.kind] for column in columns],
            "run": run,
            "utc_offset_s": utc_offset_s,
        },
        separators=(",", ":"),
        allow_nan=False,
    )
    size = array("d").itemsize
    total = len(columns[0].data) // size
    for first in range(0, total, MAX_ROWS):
        last = min(total, first + MAX_ROWS)
        yield Block("columns", last - first, head, b"".join(c.data[first * size : last * size] for c in columns))


def _block_of(texts: Sequence[str]) -> Block:
    return Block("lines", len(texts), "", "\n".join(texts).encode())


def _keyed(text: str, seq: int, spool: str) -> str:
    rest = text[1:] if text == "{}" else "," + text[1:]
    return f'{{"seq":{seq},"spool":"{spool}"{rest}'


def _of_columns(block: Block, first_seq: int, spool: str) -> list[str]:
    head = json.loads(block.head)
    values = array("d")
    values.frombytes(block.body)
    shown: list[Iterable[Any]] = [range(first_seq, first_seq + block.count)]
    for index, (_, kind) in enumerate(head["columns"]):
        column = values[index * block.count : (index + 1) * block.count]
        shown.append(_clock_times(column, head["utc_offset_s"]) if kind == "time" else column)
    template = _template(head, spool)
    return [template % row for row in zip(*shown, strict=True)]


def _template(head: Mapping[str, Any], spool: str) -> str:
    """A line in which only what differs is left open; one `%` then makes each record."""
    fields = ['"seq":%d', f'"spool":"{spool}"']
    for name, kind in head["columns"]:
        shown = f'"{head["run"]}-%d"' if kind == "number" else _FORMATS[kind]
        fields.append(f'"{name}":{shown}')
    common = json.dumps(head["common"], separators=(",", ":"))[1:-1].replace("%", "%%")
    return "{" + ",".join([*fields, *([common] if common else [])]) + "}"


def _clock_times(times_s: Iterable[float], utc_offset_s: float) -> Iterator[str]:
    """Wall clock times to the millisecond, with their offset; each second is put into words once."""
    zone = timezone(timedelta(seconds=utc_offset_s))
    known_s, words, offset = -1, "", ""
    for time_s in times_s:
        whole_s, milli = divmod(round(time_s * 1000), 1000)
        if whole_s != known_s:
            known_s = whole_s
            text = datetime.fromtimestamp(whole_s, zone).isoformat(timespec="seconds")
            words, offset = text[:19], text[19:]
        yield f"{words}.{milli:03d}{offset}"
