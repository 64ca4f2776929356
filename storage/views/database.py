"""One SELECT over market, signals and trades: an in-memory DuckDB with the views of the catalog, read-only sources.

Nothing is copied but the ledgers (small) and the readings in the traces. Each query looks at its sources anew, so it
sees what the supervisor wrote up to then; a file that was sealed over while a query ran is looked for once more.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from domain.instants import BUCKET_NS
from domain.options.profile import Shape
from storage import bucket_file
from storage.manifest import Manifest
from storage.views import ledgers, traces
from storage.views.catalog import VIEWS
from storage.warehouse_reader import WarehouseReader

RETRIES = 8
_SHAPES = {"base_gex": Shape.GEX, "base_greek": Shape.GREEK, "base_orderflow": Shape.ORDERFLOW}
_TEXTS = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)
_UNKNOWN = re.compile(r"Table with name (\S+) does not exist!")
_WORDS = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_GAPS = pa.schema([
    ("session", pa.date32()), ("hub", pa.string()), ("ticker", pa.string()), ("category", pa.string()),
    ("from_utc", pa.int64()), ("to_utc", pa.int64()), ("buckets", pa.int64()), ("rows", pa.int64()),
    ("why", pa.string()),
])  # fmt: skip
_MACROS = (
    "CREATE MACRO utc(ns) AS make_timestamp(ns // 1000)",
    "CREATE MACRO ny(t) AS timezone('America/New_York', timezone('UTC', t))",
    # Milliseconds from the end of a bucket to an instant.
    "CREATE MACRO close_ms(t, bucket) AS (epoch_us(t) - epoch_us(bucket) - 30000000) / 1000.0",
)


class QueryError(Exception):
    """A query that cannot be answered; the text is one sentence."""


class Database:
    """Queries over a data folder (`warehouse/`, `ledgers/`, `traces/`), beside a running supervisor or without one.

    Args:
        folder: the data folder.
        sessions: only these days of the warehouse and the traces; `None`: all that there are.
    """

    def __init__(self, folder: Path, sessions: Iterable[date] | None = None) -> None:
        self.folder = folder
        self._sessions = None if sessions is None else frozenset(sessions)
        self.warehouse = WarehouseReader(folder / "warehouse")
        self._readings = traces.TraceReadings()
        self._db = duckdb.connect()
        with suppress(duckdb.Error):  # in a notebook without widgets there is none, and turning it off is an error
            self._db.execute("SET enable_progress_bar = false")
        self._db.execute("SET autoinstall_known_extensions = false")  # nothing is ever fetched
        self._db.execute("SET python_enable_replacements = false")  # a name is a view, never a variable of ours
        for macro in _MACROS:
            self._db.execute(macro)

    def close(self) -> None:
        """Give the memory back."""
        self._db.close()

    def sessions(self) -> tuple[date, ...]:
        """Return the days of the warehouse that are in view, ascending."""
        found = self.warehouse.sessions()
        return found if self._sessions is None else tuple(day for day in found if day in self._sessions)

    def query(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> pa.Table:
        """Run one statement and return its rows.

        Raises:
            QueryError: it is no SQL, names what there is not, or a file cannot be read; one sentence.
            LedgerRefusedError: a ledger that it needs cannot be used.
            WarehouseRefusedError: a day that it needs cannot be used.
        """
        for attempt in range(1, RETRIES + 1):
            try:
                self._prepare(sql)
                found = self._db.sql(sql, params=values or None)
                return pa.table({}) if found is None else found.to_arrow_table()
            except (FileNotFoundError, duckdb.IOException) as error:
                if attempt == RETRIES:
                    raise QueryError(_sentence(error)) from None
            except (duckdb.Error, pa.ArrowException) as error:
                raise QueryError(_sentence(error)) from None
        raise AssertionError("unreachable")

    def rows(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """Run one statement and return its rows as dicts.

        Raises:
            as `query`.
        """
        found: list[dict[str, Any]] = self.query(sql, values).to_pylist()
        return found

    def _prepare(self, sql: str) -> None:
        """Make what a statement names: its views, and the bases that they are made of."""
        words = {word.lower() for word in _WORDS.findall(_TEXTS.sub(" ", sql))}
        views, bases = _needed(words)
        days = (
            [self.warehouse.manifest(day) for day in self.sessions()] if any(_is_market(base) for base in bases) else []
        )
        for base in bases & _SHAPES.keys():
            self._base_of_files(base, days)
        if "base_gaps" in bases:
            self._register("base_gaps", pa.Table.from_pylist(list(_gap_rows(days)), schema=_GAPS))
        if "base_readings" in bases:
            self._register("base_readings", self._readings.table(self._segments()))
        if "base_trace" in bases:
            self._base_of_lines()
        for base, table in ledgers.tables(self.folder / "ledgers", bases & ledgers.TABLES).items():
            self._register(base, table)
        for name in views:
            self._db.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {VIEWS[name].sql}")

    def _register(self, base: str, table: pa.Table) -> None:
        self._db.register(base, table)

    def _base_of_files(self, base: str, days: list[Manifest]) -> None:
        shape = _SHAPES[base]
        paths = [str(path) for day in days for path in self.warehouse.files(day, shape)]
        if paths:
            files = ", ".join(_quoted(path) for path in paths)
            # Every reader names its columns: nothing is taken from the names of folders.
            source = f"read_parquet([{files}], hive_partitioning = false, union_by_name = false)"
            columns = ", ".join(f'"{name}"' for name in bucket_file.schema_of(shape).names)
            self._db.execute(f"CREATE OR REPLACE TEMP VIEW {base} AS SELECT {columns} FROM {source}")
        else:
            self._db.register(f"{base}_none", bucket_file.schema_of(shape).empty_table())
            self._db.execute(f"CREATE OR REPLACE TEMP VIEW {base} AS SELECT * FROM {base}_none")

    def _segments(self) -> tuple[Path, ...]:
        found = traces.segments(self.folder / "traces")
        if self._sessions is None:
            return found
        wanted = {day.isoformat() for day in self._sessions}
        return tuple(path for path in found if path.parent.name in wanted)

    def _base_of_lines(self) -> None:
        columns = ", ".join(f"'{name}': '{kind}'" for name, kind in traces.LINE.items())
        files = ", ".join(_quoted(str(path)) for path in self._segments())
        if files:
            source = (
                f"read_json([{files}], format = 'newline_delimited', columns = {{{columns}}}, ignore_errors = true,"
                f" filename = true, hive_partitioning = false, maximum_object_size = {traces.LINE_BYTES_MAX})"
            )
            self._db.execute(f"CREATE OR REPLACE TEMP VIEW base_trace AS SELECT * FROM {source}")
        else:
            empty = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in traces.LINE.items())
            self._db.execute(f"CREATE OR REPLACE TEMP VIEW base_trace AS SELECT {empty}, '' AS filename WHERE false")


def _needed(words: set[str]) -> tuple[list[str], set[str]]:
    """Return the views that words name, those that they are made of first, and the bases of all."""
    views: list[str] = []
    bases = {word for word in words if word.startswith("base_")}

    def add(name: str) -> None:
        if name in views:
            return
        for need in VIEWS[name].needs:
            if need in VIEWS:
                add(need)
            else:
                bases.add(need)
        views.append(name)

    for name in sorted(words & VIEWS.keys()):
        add(name)
    return views, bases


def _is_market(base: str) -> bool:
    return base in _SHAPES or base == "base_gaps"


def _gap_rows(days: list[Manifest]) -> Iterator[dict[str, Any]]:
    for day in days:
        for gap in day.gaps:
            buckets = (gap.to_utc - gap.from_utc) // BUCKET_NS
            yield {
                "session": day.session, "hub": gap.hub, "ticker": gap.ticker, "category": gap.category,
                "from_utc": gap.from_utc, "to_utc": gap.to_utc, "buckets": buckets, "rows": buckets, "why": gap.why,
            }  # fmt: skip
        for lost in day.damaged:
            first, last = lost.part.first_utc, lost.part.last_utc
            yield {
                "session": day.session, "hub": lost.part.hub, "ticker": None, "category": None, "from_utc": first,
                "to_utc": last + BUCKET_NS, "buckets": (last - first) // BUCKET_NS + 1, "rows": lost.part.rows,
                "why": f"damaged: {lost.why}",
            }  # fmt: skip


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _sentence(error: Exception) -> str:
    """Return a library's error as one sentence; DuckDB's candidates and its drawing of the line are left out."""
    text = str(error).strip()
    head = text.partition("\n\nLINE ")[0]
    said = " ".join(head.split())
    unknown = _UNKNOWN.search(said)
    if unknown is not None:  # DuckDB knows only the views that the statement names, so its guesses are none of ours
        near = difflib.get_close_matches(unknown[1].lower(), VIEWS, 1)
        return f"There is no view {unknown[1]}; " + (
            f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(VIEWS))}."
        )
    return said if said.endswith(("?", "!")) else f"{said.rstrip('.')}."
