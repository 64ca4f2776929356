"""Reading series from any process beside their writer: a day's lines, its Parquet file, or both, as one Arrow table.

A file that cannot be read holds up no other: it is left out, and named in `damaged`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from storage.series_rows import KINDS, Kind

LINES, SEALED = ".jsonl", ".parquet"
_BLOCK = 32 << 20  # bytes: a line is never longer


class SeriesReader:
    """Read-only access to a folder of series; what was read of a file is kept until the file changes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._kept: dict[tuple[Path, tuple[str, ...]], tuple[tuple[int, int], pa.Table]] = {}
        self.damaged: dict[Path, str] = {}  # what was left out so far, and why

    def sessions(self) -> tuple[date, ...]:
        """Return the days that there are, ascending."""
        return sessions_in(self._root)

    def table(self, kind: str, sessions: Iterable[date]) -> pa.Table:
        """Return all lines of a kind of these days, with a column `session`."""
        schema = KINDS[kind].schema
        pieces = [with_session(self.day(kind, session), session) for session in sessions]
        return pa.concat_tables([with_session(schema.empty_table(), date(1970, 1, 1)), *pieces])

    def imported(self, kind: str, schema: pa.Schema, sessions: Iterable[date]) -> pa.Table:
        """Return what was imported of a kind that is never stored live, in these columns, with a column `session`."""
        pieces = [with_session(schema.empty_table(), date(1970, 1, 1))]
        for session in sessions:
            found = sorted((self._root / session.isoformat()).glob(f"{kind}-*{SEALED}"))
            tables = (self._read(path, schema) for path in found)
            pieces += [with_session(table, session) for table in tables if table is not None]
        return pa.concat_tables(pieces)

    def day(self, kind: str, session: date, names: Iterable[str] = ()) -> pa.Table:
        """Return a day's lines of a kind, each once; with `names` these columns alone, and no others are read."""
        folder, how, wanted = self._root / session.isoformat(), KINDS[kind], tuple(names)
        if wanted:
            fields = [field for field in how.schema if field.name in {*wanted, *how.key}]
            how = Kind(how.line, pa.schema(fields), how.key)
        schema: pa.Schema = how.schema
        # The lines first: they are deleted only once the file that replaces them has its name.
        lines = self._read(folder / f"{kind}{LINES}", schema, how)
        sealed = self._read(folder / f"{kind}{SEALED}", schema)
        both = [table for table in (sealed, lines) if table is not None]
        own = pa.concat_tables([schema.empty_table(), *both])
        imported = (self._read(path, schema) for path in sorted(folder.glob(f"{kind}-*{SEALED}")))
        whole = distinct(own, how.key) if len(both) > 1 else own
        found = pa.concat_tables([whole, *(table for table in imported if table is not None)])
        return found.select(wanted) if wanted else found

    def _read(self, path: Path, schema: pa.Schema, lines: Kind | None = None) -> pa.Table | None:
        """Return a file's rows in these columns, `lines` where it has lines; `None` where there is no such file."""
        try:
            found = path.stat()
            stamp, key = (found.st_size, found.st_mtime_ns), (path, tuple(schema.names))
            known = self._kept.get(key)
            if known is not None and known[0] == stamp:
                return known[1]
            table = _sealed(path, schema) if lines is None else parsed(path.read_bytes(), lines)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # not the file is at fault, but the way to it
                raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
            self.damaged[path] = (str(error).strip().splitlines() or [type(error).__name__])[0]
            table = schema.empty_table()
        self._kept[key] = stamp, table
        return table


def sessions_in(root: Path) -> tuple[date, ...]:
    """Return the days of a folder of series, ascending; what is no day's folder is passed over."""
    found = []
    for path in root.glob("????-??-??"):
        try:
            found.append(date.fromisoformat(path.name))
        except ValueError:
            continue
    return tuple(sorted(day for day in found if (root / day.isoformat()).is_dir()))


def with_session(table: pa.Table, session: date) -> pa.Table:
    """Return a table with the day in front."""
    return table.add_column(0, "session", pa.array([session] * table.num_rows, pa.date32()))


def parsed(data: bytes, how: Kind) -> pa.Table:
    """Return whole lines as a table; one that cannot be read is left out, and so is what follows the last line end."""
    whole = data[: data.rfind(b"\n") + 1]
    if not whole:
        return how.schema.empty_table()
    options = pa_json.ParseOptions(explicit_schema=how.schema, unexpected_field_behavior="ignore")
    try:
        found = pa_json.read_json(pa.BufferReader(whole), pa_json.ReadOptions(block_size=_BLOCK), options)
        return found.select(how.schema.names).cast(how.schema)
    except (pa.ArrowException, ValueError):
        return pa.Table.from_pylist(list(_readable(whole, how)), schema=how.schema)


def _readable(data: bytes, how: Kind) -> Iterable[dict[str, Any]]:
    decoder = msgspec.json.Decoder(how.line)
    for line in data.splitlines():
        try:
            yield msgspec.to_builtins(decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue


def _sealed(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a Parquet file by the names of its columns; one that it has not is `NULL` (it is of an older version)."""
    file = pq.ParquetFile(path)
    there = set(file.schema_arrow.names)
    found = file.read([field.name for field in schema if field.name in there], use_threads=False)
    columns = [
        found[field.name].cast(field.type) if field.name in there else pa.nulls(found.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def distinct(table: pa.Table, key: tuple[str, ...]) -> pa.Table:
    """Return the first line of each key."""
    seen: set[tuple[Any, ...]] = set()
    keep = []
    for values in zip(*(table[name].to_pylist() for name in key), strict=True):
        keep.append(values not in seen)
        seen.add(values)
    return table.filter(pa.array(keep, pa.bool_()))


def with_evidence(readings: pa.Table) -> pa.Table:
    """Return readings with all features and the forces made of them in place of those that lanes read."""
    evidence = readings["evidence"]
    for name in ("features", "forces", "alignment"):
        at = readings.column_names.index(name)
        readings = readings.set_column(at, name, pc.coalesce(pc.struct_field(evidence, name), readings[name]))
    return readings
