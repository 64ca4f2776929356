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
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from domain.options.profile import Shape
from storage import bucket_file
from storage.gap_totals import GapKind, gap_rows_of
from storage.imports.series_days import ALERTS, FOREIGN_SCHEMA, TRADES
from storage.manifest import Manifest
from storage.series_reader import SeriesReader, with_evidence, with_session
from storage.series_rows import BARS, CHAINS, DERIVED, MODES, QUOTES, READINGS, UNDERLYINGS
from storage.views import ledgers, traces
from storage.views.catalog import VIEWS
from storage.warehouse_reader import WarehouseReader

RETRIES = 8
_SHAPES = {"base_gex": Shape.GEX, "base_greek": Shape.GREEK, "base_orderflow": Shape.ORDERFLOW}
_SERIES = {
    "base_quotes": QUOTES, "base_chains": CHAINS, "base_underlyings": UNDERLYINGS, "base_bars": BARS,
    "base_modes": MODES, "base_derived": DERIVED,
}  # fmt: skip
_IMPORTED = {
    "base_foreign_alerts": (ALERTS, FOREIGN_SCHEMA[ALERTS]),
    "base_foreign_trades": (TRADES, FOREIGN_SCHEMA[TRADES]),
}
DAILY = pa.schema([
    ("session", pa.date32()), ("ticker", pa.string()), ("category", pa.string()), ("rows", pa.int64()),
    ("low", pa.float64()), ("high", pa.float64()), ("close", pa.float64()), ("net_gamma_mean", pa.float64()),
    ("net_gamma_min", pa.float64()), ("net_gamma_max", pa.float64()),
])  # fmt: skip
_TEXTS = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)
_UNKNOWN = re.compile(r"Table with name (\S+) does not exist!")
_WORDS = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_GAPS = pa.schema([
    ("session", pa.date32()), ("hub", pa.string()), ("ticker", pa.string()), ("category", pa.string()),
    ("from_utc", pa.int64()), ("to_utc", pa.int64()), ("buckets", pa.int64()), ("rows", pa.int64()),
    ("why", pa.string()), ("cover", pa.string()), ("kind", pa.string()), ("of_rows", pa.int64()),
])  # fmt: skip
_MACROS = (
    "CREATE MACRO utc(ns) AS make_timestamp(ns // 1000)",
    "CREATE MACRO ny(t) AS timezone('America/New_York', timezone('UTC', t))",
    # Milliseconds from the end of a bucket to an instant.
    "CREATE MACRO close_ms(t, bucket) AS (epoch_us(t) - epoch_us(bucket) - 30000000) / 1000.0",
)


# Of a bucket that was stored again (rows that came late), what was there first stands; the rest fills holes.
_ONE_ROW_A_FACT = (
    "(SELECT * FROM {all} WHERE store_n = 0 UNION ALL SELECT * FROM {all} WHERE store_n > 0"
    " AND (hub, bucket, ticker, category, store_n) IN (SELECT (hub, bucket, ticker, category, first_n) FROM ("
    "SELECT hub, bucket, ticker, category, min(store_n) AS first_n FROM {all}"
    " WHERE (hub, bucket) IN (SELECT (hub, bucket) FROM {all} WHERE store_n > 0) GROUP BY ALL)))"
)


class QueryError(Exception):
    """A query that cannot be answered; the text is one sentence."""


class Database:
    """Queries over a data folder, beside a running supervisor or without one.

    Args:
        folder: the data folder (`warehouse/`, `series/`, `ledgers/`, `traces/`).
        sessions: only these days of the warehouse, the series and the traces; `None`: all that there are.
        is_of_one_instant: the ledgers are read once, when first asked for: many questions agree, and cost one reading.
    """

    _LINE = "*"  # what is selected of a line of a trace

    def __init__(
        self, folder: Path, sessions: Iterable[date] | None = None, *, is_of_one_instant: bool = False
    ) -> None:
        self.folder = folder
        self._read_once: set[str] | None = set() if is_of_one_instant else None
        self._sessions = None if sessions is None else frozenset(sessions)
        self.warehouse = WarehouseReader(folder / "warehouse")
        self.series = SeriesReader(folder / "series")
        self._traced = traces.TraceReadings()
        self._damaged_daily: list[Path] = []
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
        return self._in_view(self.warehouse.sessions())

    def _in_view(self, days: Iterable[date]) -> tuple[date, ...]:
        return tuple(day for day in days if self._sessions is None or day in self._sessions)

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
            except (FileNotFoundError, duckdb.Error, pa.ArrowException) as error:
                is_over = attempt == RETRIES or not (_is_of_a_file(error) or self._found_damaged(error))
                if is_over:
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
        for base in bases & _SERIES.keys():
            self._register(base, self.series.table(_SERIES[base], self._in_view(self.series.sessions())))
        for base in bases & _IMPORTED.keys():
            kind, schema = _IMPORTED[base]
            self._register(base, self.series.imported(kind, schema, self._in_view(self.series.sessions())))
        if "base_daily" in bases:
            self._register("base_daily", self._daily())
        if "base_readings" in bases:
            self._register("base_readings", self._readings())
        if "base_trace" in bases:
            self._base_of_lines()
        of_ledgers = (bases & ledgers.TABLES) - (self._read_once or set())
        for base, table in ledgers.tables(self.folder / "ledgers", of_ledgers).items():
            self._register(base, table)
        if self._read_once is not None:
            self._read_once |= of_ledgers
        for name in views:
            self._db.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {VIEWS[name].sql}")

    def _readings(self) -> pa.Table:
        """Return the readings that were kept; those of a day of which none were kept are found in its traces."""
        kept = {day: self.series.day(READINGS, day) for day in self._in_view(self.series.sessions())}
        days = {day: table for day, table in kept.items() if table.num_rows}
        names = {day.isoformat() for day in days}
        traced = self._traced.table(path for path in self._segments() if path.parent.name not in names)
        columns = traces.READINGS.names
        told = (with_session(with_evidence(table), day).select(columns) for day, table in days.items())
        return pa.concat_tables([traced, *told])

    def _found_damaged(self, error: Exception) -> bool:
        """Return whether files of the warehouse that a query stumbled over are damaged inside; they are left out then.

        Nobody looks into every file beforehand: it would cost more than the query.
        """
        if not isinstance(error, duckdb.InvalidInputException) or "file" not in str(error):
            return False
        days = [self.warehouse.manifest(day) for day in self.sessions()]
        paths = [path for day in days for shape in Shape for path in self.warehouse.files(day, shape)]
        return self.warehouse.leave_out_damaged(paths)

    def _daily(self) -> pa.Table:
        paths = {path.stem: path for path in sorted((self.folder / "aggregates").glob("????-??-??.parquet"))}
        tables = [DAILY.empty_table()]
        for day in self._in_view(date.fromisoformat(stem) for stem in paths):
            path = paths[day.isoformat()]
            try:
                tables.append(pq.read_table(path, schema=DAILY))
            except pa.ArrowException:
                self._damaged_daily.append(path)
        return pa.concat_tables(tables)

    @property
    def left_out(self) -> str | None:
        """In a sentence, which files queries so far had to leave out; `None` where none."""
        found = {*self.series.damaged, *self.warehouse.damaged, *self._damaged_daily}
        if not found:
            return None
        names = ", ".join(sorted(path.relative_to(self.folder).as_posix() for path in found))
        return f"Left out, because it cannot be read: {names} in {self.folder}. Take it from a backup."

    def _register(self, base: str, table: pa.Table) -> None:
        self._db.register(base, table)

    def _base_of_files(self, base: str, days: list[Manifest]) -> None:
        shape = _SHAPES[base]
        paths = [str(path) for day in days for path in self.warehouse.files(day, shape)]
        if paths:
            files = ", ".join(_quoted(path) for path in paths)
            # Every reader names its columns: nothing is taken from the names of folders.
            parts = [part for day in days for part in day.parts if part.shape is shape]
            is_mixed = any(part.columns_n != bucket_file.COLUMNS for part in parts)
            source = f"read_parquet([{files}], hive_partitioning = false, union_by_name = {str(is_mixed).lower()})"
            if is_mixed:  # what an earlier version did not know is null
                self._db.register(f"{base}_none", bucket_file.schema_of(shape).empty_table())
                source = f"(SELECT * FROM {base}_none UNION ALL BY NAME SELECT * FROM {source})"
            columns = ", ".join(f'"{name}"' for name in bucket_file.schema_of(shape).names)
            self._db.execute(f"CREATE OR REPLACE TEMP VIEW {base}_all AS SELECT {columns} FROM {source}")
        else:
            self._db.register(f"{base}_none", bucket_file.schema_of(shape).empty_table())
            self._db.execute(f"CREATE OR REPLACE TEMP VIEW {base}_all AS SELECT * FROM {base}_none")
        is_once = all(bucket.store_n == 0 for day in days for of_hub in day.buckets.values() for bucket in of_hub)
        source = f"{base}_all" if is_once else _ONE_ROW_A_FACT.format(all=f"{base}_all")
        self._db.execute(f"CREATE OR REPLACE TEMP VIEW {base} AS SELECT * FROM {source}")

    def _segments(self) -> tuple[Path, ...]:
        found = traces.segments(self.folder / "traces")
        if self._sessions is None:
            return found
        names = {day.isoformat() for day in self._sessions}
        return tuple(path for path in found if path.parent.name in names)

    def _base_of_lines(self) -> None:
        self._db.execute(f"CREATE OR REPLACE TEMP VIEW base_trace AS {self._lines()}")

    def _lines(self) -> str:
        """Return the SELECT of every line of the traces in view."""
        columns = ", ".join(f"'{name}': '{kind}'" for name, kind in traces.LINE.items())
        files = ", ".join(_quoted(str(path)) for path in self._segments())
        if files:
            source = (
                f"read_json([{files}], format = 'newline_delimited', columns = {{{columns}}}, ignore_errors = true,"
                f" filename = true, hive_partitioning = false, maximum_object_size = {traces.LINE_BYTES_MAX})"
            )
            return f"SELECT {self._LINE} FROM {source}"
        empty = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in traces.LINE.items())
        return f"SELECT {empty}, '' AS filename WHERE false"


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
    for gap in (gap for day in days for gap in gap_rows_of(day)):
        row = msgspec.structs.asdict(gap)
        yield row | {"rows": 0 if gap.kind is GapKind.COVERED else gap.rows, "of_rows": gap.rows}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _is_of_a_file(error: Exception) -> bool:
    """Return whether a file could not be read; DuckDB gives that of a stream another class."""
    return isinstance(error, FileNotFoundError | duckdb.IOException) or "IO Error" in str(error)


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
