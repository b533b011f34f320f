"""The host's store of records: what a record says of its energy is kept, also in a store of an older version."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from greenup.collect.store import RECORDS, RecordStore

RECORD = {
    "seq": 1,
    "variant": "fp32",
    "latency_s": 1e-3,
    "energy_j": 0.004,
    "energy_low_j": 0.0038,
    "energy_high_j": 0.0042,
    "coverage": 0.97,
    "method": "apportioned",
}


def rows(url: str) -> list[dict[str, object]]:
    with sa.create_engine(url).connect() as connection:
        return [dict(row) for row in connection.execute(sa.select(RECORDS)).mappings()]


def test_intervals_and_coverage_are_stored(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.sqlite'}"
    RecordStore(url).add("board", "spool", [RECORD])
    (row,) = rows(url)
    assert {key: row[key] for key in RECORD} == RECORD


def test_a_store_of_an_older_version_gets_the_new_columns_and_keeps_its_records(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.sqlite'}"
    older = sa.MetaData()
    kept = [column for column in RECORDS.columns if not column.name.startswith(("energy_", "coverage"))]
    table = sa.Table("records", older, *(sa.Column(c.name, c.type, primary_key=c.primary_key) for c in kept))
    engine = sa.create_engine(url)
    older.create_all(engine)
    with engine.begin() as connection:
        connection.execute(table.insert(), {"device": "board", "spool": "spool", "seq": 1, "latency_s": 0.5})
    RecordStore(url).add("board", "spool", [{**RECORD, "seq": 2}])
    first, second = rows(url)
    assert (first["latency_s"], first["coverage"]) == (0.5, None)
    assert second["coverage"] == pytest.approx(0.97)
