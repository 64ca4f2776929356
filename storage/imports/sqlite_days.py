"""Market, alert and trade tables of another program's SQLite file, as a map of names describes them.

The map (YAML) names a table and the column of each thing that is known; `rows` of the vendor's JSON objects become
rows of the warehouse, alerts and trades come under their own names:

    market: {table: gex_history, ticker: symbol, category: kind, json: payload}
    alerts: {table: alerts, at: created_at, ticker: symbol, kind: type, direction: side, price: spot, outcome: result}
    trades: {table: trades, at: opened, closed: closed, ticker: symbol, contract: option, side: side, qty: qty,
             entry_price: entry, exit_price: exit, pnl: pnl}

The file is opened read-only. Instants are ISO text (New York's wall clock without a zone) or seconds, milliseconds,
microseconds or nanoseconds since 1970.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
import yaml

from domain.instants import bucket_of, session_of
from domain.options.profile import IngestMode, Profile, Row, shape_of
from domain.session import calendar
from domain.units import Utc
from storage.imports.bar_files import instant_of
from storage.imports.series_days import FOREIGN_SCHEMA

KINDS: Final = ("market", *FOREIGN_SCHEMA)
_MARKET: Final = frozenset(("table", "ticker", "category", "json"))
ReadObject = Callable[[str, str, object], Profile | str]


class MapError(Exception):
    """A map or a database that cannot be used; one sentence with the remedy."""


@dataclass(slots=True)
class ReadTables:
    """What a database came to: rows of the warehouse by session, tables by kind and session, and what was refused."""

    market: dict[date, list[tuple[Utc, Row]]] = field(default_factory=dict)
    tables: dict[str, dict[date, pa.Table]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    read_n: int = 0


def read(file: Path, map_file: Path, hub_of: Callable[[str], str], profile_of: ReadObject) -> ReadTables:
    """Return what a map names of a database.

    Args:
        file: the database.
        map_file: the map (YAML).
        hub_of: gives the hub that delivers a category.
        profile_of: reads the vendor's object of a ticker and category; a text says why it is none.

    Raises:
        MapError: the map or the database cannot be used.
    """
    wanted = _map_in(map_file)
    found = ReadTables()
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            for kind, names in wanted.items():
                _check(db, kind, names)
                rows = db.execute(f'SELECT * FROM "{_plain(names["table"])}"')
                if kind == "market":
                    _market(rows, names, found, hub_of, profile_of)
                else:
                    _foreign(kind, rows, names, found)
    except sqlite3.Error as error:
        raise MapError(f"{file.name} cannot be read as an SQLite database ({error}).") from None
    return found


def _map_in(file: Path) -> dict[str, dict[str, str]]:
    try:
        told = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MapError(f"The map {file} cannot be read ({' '.join(str(error).split())}).") from None
    if not isinstance(told, dict) or not told:
        raise MapError(f"The map {file} names nothing; it has sections {', '.join(KINDS)}.")
    for kind, names in told.items():
        if kind not in KINDS:
            raise MapError(f"The map {file} has a section {kind!r}; there are: {', '.join(KINDS)}.")
        if not isinstance(names, dict) or "table" not in names or not all(isinstance(n, str) for n in names.values()):
            raise MapError(f"The section {kind} of the map {file} must name a table and its columns.")
        known = _MARKET if kind == "market" else {"table", "at", "closed", *FOREIGN_SCHEMA[kind].names} - {"more"}
        unknown = sorted(set(names) - known)
        if unknown:
            raise MapError(f"The section {kind} names {unknown[0]!r}; there are: {', '.join(sorted(known))}.")
        needed = _MARKET if kind == "market" else {"table", "at", "ticker"}
        missing = sorted(needed - set(names))
        if missing:
            raise MapError(f"The section {kind} of the map {file} lacks {', '.join(missing)}.")
    return told


def _check(db: sqlite3.Connection, kind: str, names: dict[str, str]) -> None:
    table = names["table"]
    columns = {row["name"] for row in db.execute(f'PRAGMA table_info("{_plain(table)}")')}
    if not columns:
        tables = [row["name"] for row in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
        raise MapError(f"The database has no table {table!r}; there are: {', '.join(sorted(tables)) or 'none'}.")
    missing = sorted({name for what, name in names.items() if what != "table"} - columns)
    if missing:
        raise MapError(f"The table {table!r} of {kind} has no column {missing[0]!r}; there are: {', '.join(columns)}.")


def _plain(name: str) -> str:
    return name.replace('"', '""')


def _market(
    rows: Iterator[sqlite3.Row], names: dict[str, str], found: ReadTables, hub_of: Callable[[str], str],
    profile_of: ReadObject,
) -> None:  # fmt: skip
    """Fold a table of the vendor's objects: the last of a bucket, and how many there were."""
    slots: dict[tuple[str, str, Utc], Row] = {}
    for row in rows:
        found.read_n += 1
        ticker, category = str(row[names["ticker"]]), str(row[names["category"]])
        try:
            shape_of(category)
            item = orjson.loads(row[names["json"]])
        except (ValueError, TypeError):
            found.refused["corrupt"] += 1
            continue
        profile = profile_of(ticker, category, item)
        if isinstance(profile, str):
            found.refused[profile] += 1
            continue
        at_utc = profile.source_utc
        day = calendar.day(session_of(at_utc))
        if day is None or not day.open_utc <= at_utc < day.close_utc:
            found.refused["outside_hours"] += 1
            continue
        key = (ticker, category, bucket_of(at_utc))
        known = slots.get(key)
        if known is None:
            slots[key] = Row(profile, hub_of(category), 1, at_utc, at_utc, IngestMode.IMPORT)
            continue
        newest = profile if at_utc >= known.last_utc else known.profile
        first_utc, last_utc = min(known.first_utc, at_utc), max(known.last_utc, at_utc)
        slots[key] = Row(newest, known.hub, known.frames + 1, first_utc, last_utc, IngestMode.IMPORT)
    for (_, _, bucket_utc), kept in sorted(slots.items(), key=lambda slot: slot[0]):
        found.market.setdefault(session_of(bucket_utc), []).append((bucket_utc, kept))


def _foreign(kind: str, rows: Iterator[sqlite3.Row], names: dict[str, str], found: ReadTables) -> None:
    schema = FOREIGN_SCHEMA[kind]
    by_day: dict[date, list[dict[str, Any]]] = {}
    used = set(names.values())
    for row in rows:
        found.read_n += 1
        try:
            told: dict[str, Any] = {"at_utc": instant_of(row[names["at"]])}
            if "closed" in names and row[names["closed"]] is not None:
                told["closed_utc"] = instant_of(row[names["closed"]])
            for column in schema:
                value = row[names[column.name]] if column.name in names else None
                if value is not None:
                    told[column.name] = float(value) if pa.types.is_floating(column.type) else str(value)
        except (ValueError, TypeError, OverflowError):
            found.refused[f"unreadable_{kind}"] += 1
            continue
        rest = {name: row[name] for name in row.keys() if name not in used}  # noqa: SIM118 - a Row is no mapping
        told["more"] = orjson.dumps(rest, default=str).decode()
        by_day.setdefault(session_of(Utc(told["at_utc"])), []).append(told)
    found.tables[kind] = {
        session: pa.Table.from_pylist(sorted(lines, key=lambda line: line["at_utc"]), schema=schema)
        for session, lines in by_day.items()
    }
