"""The ledgers as Arrow tables: read through SQLite's own reader, read-only, each file as it is at one instant."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from storage.ledger_schema import DESK, SHARED
from storage.lost import SHARED_FILE, refuse_lost
from storage.sqlite_file import Schema, open_reader, reading

_SHARED = ("alerts", "outcomes", "kill", "commands", "promotions", "runs")
_DESK = (
    "reservations", "orders", "executions", "commissions", "positions", "gate_log", "day", "order_events",
    "structures", "exit_changes", "shadow_exits",
)  # fmt: skip
TABLES = frozenset(f"base_{name}" for name in (*_SHARED, *_DESK))
_TYPES = {"INTEGER": pa.int64(), "REAL": pa.float64(), "TEXT": pa.string()}


def tables(folder: Path, bases: Iterable[str]) -> dict[str, pa.Table]:
    """Return the tables asked for by their base names; those of several desks are one, with the desk's name.

    Raises:
        LedgerRefusedError: a ledger is lost, locked, damaged or of another version.
    """
    wanted = {base.removeprefix("base_") for base in bases}
    if not wanted:
        return {}
    refuse_lost(folder, ())
    found: dict[str, pa.Table] = {}
    shared = [name for name in _SHARED if name in wanted]
    for name, table in _read(folder / SHARED_FILE, SHARED, shared, None).items():
        found[f"base_{name}"] = table
    desks = [name for name in _DESK if name in wanted]
    if desks:
        paths = sorted(path for path in folder.glob("*.db") if path.name != SHARED_FILE) or [folder / "none.db"]
        read = [_read(path, DESK, desks, path.stem) for path in paths]
        for name in desks:
            found[f"base_{name}"] = pa.concat_tables([one[name] for one in read])
    return found


def _read(path: Path, schema: Schema, names: list[str], desk: str | None) -> dict[str, pa.Table]:
    if not names:
        return {}
    db = open_reader(path, schema)
    if db is None:
        return {name: _table(*_empty(schema, name), desk) for name in names}
    with closing(db), reading(path):
        db.execute("BEGIN")  # one snapshot of all tables
        return {
            name: _table(_columns(db, name), db.execute(f"SELECT * FROM {name}").fetchall(), desk) for name in names
        }


def _empty(schema: Schema, name: str) -> tuple[list[tuple[str, str]], list[tuple[object, ...]]]:
    with closing(sqlite3.connect(":memory:")) as db:
        for migration in schema.migrations:
            migration(db)
        return _columns(db, name), []


def _columns(db: sqlite3.Connection, name: str) -> list[tuple[str, str]]:
    return [(row[1], row[2]) for row in db.execute(f"PRAGMA table_info({name})")]


def _table(columns: list[tuple[str, str]], rows: list[tuple[object, ...]], desk: str | None) -> pa.Table:
    by_column = zip(*rows, strict=True) if rows else ((),) * len(columns)
    arrays = {
        name: pa.array(values, _TYPES[kind]) for (name, kind), values in zip(columns, by_column, strict=True)
    }  # fmt: skip
    if desk is not None and "desk" not in arrays:
        arrays["desk"] = pa.array([desk] * len(rows), pa.string())
    return pa.table(arrays)
