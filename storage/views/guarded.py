"""Queries of strangers: one SELECT over the views, with limits on rows and time, account numbers masked before it runs.

Two walls. The statement is parsed, and only what is known to be harmless passes: SELECTs over the views, no other table
function than those listed, no function that reads the machine. And the connection may open nothing but the files of the
warehouse, and cannot be set otherwise; lines of traces come to it masked, from a connection that strangers never reach.
"""

from __future__ import annotations

import re
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from domain.accounts import BEFORE, NUMBER
from storage.views import ledgers
from storage.views.catalog import VIEWS
from storage.views.database import Database, QueryError

MEMORY: Final = "512MB"
ANSWER_BYTES_MAX: Final = 16_000_000  # of all rows together
PROCESS_BYTES_MAX: Final = (
    1_000_000_000  # that a query may add to the process: DuckDB's limit does not count long texts
)
_AGAIN_S: Final = 0.02
_LINES_AT_ONCE: Final = 2048
_ACCOUNT: Final = rf"{BEFORE}{NUMBER}(\b|_)"  # without a look ahead, which DuckDB does not know
_MASK: Final = r"\1\2***\3\4"
_NODES: Final = frozenset(("SELECT_NODE", "SET_OPERATION_NODE", "CTE_NODE", "RECURSIVE_CTE_NODE"))
_TABLES: Final = frozenset(("range", "generate_series", "unnest"))
# Names that a query may give to a part of itself; DuckDB finds bases, its own catalog and files by the others.
_OWN: Final = re.compile(r"(?!base_|duckdb_|pragma_|sqlite_|pg_)[a-z_][a-z0-9_]*")
# Functions that tell of the machine or of the connection, not of the views.
_TELLING: Final = re.compile(
    r"^(getenv|getvariable|current_setting|current_(database|schema|schemas|query|user)|txid_current|version|read_.*"
    r"|.*_scan|glob|sniff_.*|parquet_.*|pragma_.*|duckdb_.*|query|query_table|which_secret|write_.*|nextval|currval"
    r"|in_search_path|json_execute_.*|json_serialize_.*|json_deserialize_.*|from_substrait.*|sql_.*)$"
)


class GuardedDatabase(Database):
    """Queries over a data folder for whoever asks through a machine; everything else is refused in one sentence.

    Args:
        folder: the data folder.
        rows_max: rows of an answer; what is beyond is cut off.
        timeout_s: a query that takes longer is ended.
    """

    _LINE = f"* REPLACE (regexp_replace(message::VARCHAR, '{_ACCOUNT}', '{_MASK}', 'g')::JSON AS message)"

    def __init__(self, folder: Path, rows_max: int, timeout_s: float) -> None:
        super().__init__(folder)
        self._rows_max = rows_max
        self.timeout_s = timeout_s
        readable = _quoted(f"{folder.resolve() / 'warehouse'}/")
        self._lines_db = duckdb.connect()
        for db in (self._db, self._lines_db):
            for setting in (f"memory_limit = '{MEMORY}'", "threads = 1", "temp_directory = ''"):
                db.execute(f"SET {setting}")
        for setting in (
            "allow_community_extensions = false",
            f"allowed_directories = [{readable}]",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            self._db.execute(f"SET {setting}")

    def close(self) -> None:
        """Give the memory back."""
        super().close()
        self._lines_db.close()

    def answer(self, sql: str) -> tuple[pa.Table, bool]:
        """Run one SELECT and return its rows, and whether there were more than are given.

        Raises:
            QueryError: it is no SELECT over the views, took too long, or cannot be answered; one sentence.
            LedgerRefusedError: a ledger that it needs cannot be used.
            WarehouseRefusedError: a day that it needs cannot be used.
        """
        _check(self._tree(sql))
        is_late, is_done = threading.Event(), threading.Event()

        def end_when_late() -> None:
            if not is_done.wait(self.timeout_s):
                is_late.set()
                while not is_done.wait(_AGAIN_S):  # what is interrupted between two queries goes on with the second
                    self._db.interrupt()

        watch = threading.Thread(target=end_when_late, name="query limit", daemon=True)
        watch.start()
        try:
            with _bounded():
                found = self.query(f"SELECT * FROM (\n{sql.strip().rstrip(';')}\n) LIMIT {self._rows_max + 1}")
        except (QueryError, duckdb.Error, MemoryError) as error:
            if is_late.is_set():
                what = f"took longer than {self.timeout_s:g} s"
            elif isinstance(error, MemoryError) or "Out of Memory" in str(error):
                what = f"needs more than {MEMORY}"
            else:
                raise
            raise QueryError(f"The query {what} and was ended; ask for fewer sessions or columns.") from None
        finally:
            is_done.set()
            watch.join()  # the next query is not the one that was late
        if found.nbytes > ANSWER_BYTES_MAX:
            raise QueryError(
                f"The answer has {found.nbytes / 1e6:,.0f} MB, and {ANSWER_BYTES_MAX / 1e6:.0f} MB is the most; ask for"
                " fewer columns, or for shorter texts."
            )
        return found.slice(0, self._rows_max), found.num_rows > self._rows_max

    def _tree(self, sql: str) -> dict[str, Any]:
        """Return a statement as its parser sees it."""
        ((raw,),) = self._db.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
        tree: dict[str, Any] = orjson.loads(raw)
        if tree.get("error_type") == "not implemented":
            raise QueryError("Only a SELECT over the views is answered; nothing can be written, opened or set.")
        if tree.get("error", True):
            raise QueryError(f"That is no SQL: {tree.get('error_message', 'it cannot be read')}.")
        return tree

    def _base_of_lines(self) -> None:
        self._db.register("base_lines", _Stream(self._lines_db, self._lines()))
        self._db.execute(
            "CREATE OR REPLACE TEMP VIEW base_trace AS SELECT * REPLACE (message::JSON AS message) FROM base_lines"
        )

    def _register(self, base: str, table: pa.Table) -> None:
        super()._register(base, _masked(table) if base in ledgers.TABLES else table)


@contextmanager
def _bounded() -> Iterator[None]:
    """Let the process grow by so much and no more: beyond it an allocation fails, before the machine has none left."""
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:  # no Linux: DuckDB's own limit is all there is
        yield
        return
    used = 1024 * int(status.partition("VmData:")[2].split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = used + PROCESS_BYTES_MAX
    resource.setrlimit(resource.RLIMIT_DATA, (most if soft == resource.RLIM_INFINITY else min(soft, most), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


class _Stream:
    """The rows of a query of one connection as a source of another, read anew by each who scans it."""

    def __init__(self, db: duckdb.DuckDBPyConnection, sql: str) -> None:
        self._db, self._sql = db, sql

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        reader = self._db.cursor().sql(self._sql).to_arrow_reader(_LINES_AT_ONCE)
        return reader.__arrow_c_stream__(requested_schema)


def _check(tree: dict[str, Any]) -> None:
    """Let a statement pass whose every part is known to be harmless.

    Raises:
        QueryError: it is not.
    """
    if len(tree["statements"]) != 1:
        raise QueryError("One statement at a time.")
    parts = list(_parts(tree["statements"][0]))
    named = {entry["key"].lower() for part in parts for entry in (part.get("cte_map") or {}).get("map", ())}
    for name in sorted(named):
        if name in VIEWS or not _OWN.fullmatch(name):
            raise QueryError(f"What WITH names has a plain word of its own as its name, and not {name}.")
    for part in parts:
        kind = str(part.get("type", ""))
        if kind.endswith("_NODE") and kind not in _NODES:
            raise QueryError("Only a SELECT over the views is answered; nothing can be written, opened or set.")
        if kind == "SHOW_REF":
            raise QueryError("The views and their columns are told by the tool `views`.")
        if kind == "BASE_TABLE":
            name = str(part.get("table_name", "")).lower()
            is_plain = not part.get("schema_name") and not part.get("catalog_name")
            if not is_plain or (name not in VIEWS and name not in named):
                raise QueryError(f"There is no view {part.get('table_name')}; there are: {', '.join(sorted(VIEWS))}.")
        if kind == "TABLE_FUNCTION":
            name = str((part.get("function") or {}).get("function_name", "")).lower()
            if name not in _TABLES:
                raise QueryError(f"{name or 'That table function'} is not answered: only views are read.")
        if "function_name" in part and _TELLING.match(str(part["function_name"]).lower()):
            raise QueryError(f"{part['function_name']} is not answered: only views are read.")


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _parts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _parts(inner)


def _masked(table: pa.Table) -> pa.Table:
    for number, column in enumerate(table.schema):
        if pa.types.is_string(column.type):
            masked = pc.replace_substring_regex(table.column(number), pattern=_ACCOUNT, replacement=_MASK)
            table = table.set_column(number, column, masked)
    return table


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
