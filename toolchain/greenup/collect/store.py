"""The host's store of records: SQLite by default, any SQLAlchemy URL in $GREENUP_STORE."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from greenup.devices.client import RunnerClient
from greenup.folders import state_folder
from greenup_runtime.errors import GreenupError

STORE_VARIABLE = "GREENUP_STORE"
_COLUMNS = {
    "kind": sa.String,
    "id": sa.String,
    "time": sa.String,
    "bundle": sa.String,
    "variant": sa.String,
    "trial": sa.String,
    "latency_s": sa.Float,
    "stands_for": sa.Integer,
    "energy_j": sa.Float,
    "energy_low_j": sa.Float,
    "energy_high_j": sa.Float,
    "coverage": sa.Float,
    "method": sa.String,
    "reason": sa.String,
    "source": sa.String,
    "scope": sa.String,
    "update_s": sa.Float,
    "estimated": sa.Boolean,
    "simulated": sa.Boolean,
}
_TABLES = sa.MetaData()
RECORDS = sa.Table(
    "records",
    _TABLES,
    sa.Column("device", sa.String, primary_key=True),
    sa.Column("spool", sa.String, primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    *(sa.Column(name, kind) for name, kind in _COLUMNS.items()),
)


class RecordStore:
    """Records of all devices; a record that arrives twice is kept once."""

    def __init__(self, url: str | None = None) -> None:
        try:
            self._engine = sa.create_engine(url or default_url())
            _TABLES.create_all(self._engine)
            self._add_missing_columns()
        except sa.exc.SQLAlchemyError as error:
            raise GreenupError(
                f"the store of records cannot be opened: {error}", f"see {STORE_VARIABLE}"
            ) from error

    def _add_missing_columns(self) -> None:
        """A store of an older version gets what records say more today; old records say nothing there."""
        known = {column["name"] for column in sa.inspect(self._engine).get_columns(RECORDS.name)}
        with self._engine.begin() as connection:
            for name, kind in _COLUMNS.items():
                if name not in known:
                    of_type = kind().compile(self._engine.dialect)
                    connection.execute(sa.text(f"ALTER TABLE {RECORDS.name} ADD COLUMN {name} {of_type}"))

    def highest(self, device: str, spool: str) -> int:
        """The highest sequence number stored of a device's spool; 0 for none."""
        query = sa.select(sa.func.max(RECORDS.c.seq)).where(RECORDS.c.device == device, RECORDS.c.spool == spool)
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar() or 0)

    def add(self, device: str, spool: str, records: Sequence[dict[str, Any]]) -> int:
        """Store those records that are new, in one transaction; returns how many were."""
        known = self.highest(device, spool)
        rows = [
            {
                "device": device,
                "spool": spool,
                "seq": record["seq"],
                **{name: record.get(name) for name in _COLUMNS},
            }
            for record in records
            if record["seq"] > known
        ]
        if rows:
            with self._engine.begin() as connection:
                connection.execute(RECORDS.insert(), rows)
        return len(rows)

    def count(self, trial: str | None = None) -> int:
        """How many records there are, of one trial or of all."""
        query = sa.select(sa.func.count()).select_from(RECORDS)
        if trial is not None:
            query = query.where(RECORDS.c.trial == trial)
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())


def default_url() -> str:
    """$GREENUP_STORE, else an SQLite file in the user's data folder."""
    named = os.environ.get(STORE_VARIABLE)
    if named:
        return named
    folder = state_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'records.sqlite'}"


def collect(runner: RunnerClient, store: RecordStore) -> int:
    """Bring a device's waiting records here and acknowledge them; returns how many were new."""
    added = 0
    since = 0
    while True:
        batch = runner.records(since)
        records = batch["records"]
        if not records:
            return added
        added += store.add(batch["device"], batch["spool"], records)
        since = int(records[-1]["seq"])
        runner.acknowledge(batch["spool"], since)
