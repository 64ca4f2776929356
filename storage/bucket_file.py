"""Rows as Parquet and back, bit for bit: the wire's own integers, one schema per shape of row.

Integers are int32 with BYTE_STREAM_SPLIT and zstd (the smallest that was measured, `limits.md` §5 of the reference);
per-strike columns are lists, a prior a column of its own. Times stand twice: `instant` and `bucket` for queries (UTC,
µs, without a zone), the `_utc` columns in ns for an exact way back.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from domain.options.profile import PRIORS, SCALARS, VALUE_COLUMNS, Profile, Row, Shape
from domain.units import Utc
from storage import bucket_columns
from storage.bucket_columns import Columns, list_columns

_INTS = pa.list_(pa.int32())
_MICROS = pa.timestamp("us")
_HEAD: tuple[tuple[str, pa.DataType], ...] = (
    ("instant", _MICROS), ("bucket", _MICROS), ("session", pa.date32()), ("hub", pa.string()),
    ("category", pa.string()), ("ticker", pa.string()), ("mode", pa.string()), ("latency_ms", pa.int64()),
    ("sequence", pa.int64()), ("frames", pa.int32()), ("store_n", pa.int32()), ("row_n", pa.int32()),
    ("bucket_utc", pa.int64()), ("source_utc", pa.int64()), ("first_utc", pa.int64()), ("last_utc", pa.int64()),
    ("spot", pa.int32()),
)  # fmt: skip
HEAD_NAMES = tuple(name for name, _ in _HEAD)
_DICTIONARY = ["hub", "category", "ticker", "mode"]
COLUMNS = 1  # the version of the columns: raise it when one is added, and keep reading files that have it not
ROW_GROUP = 4_096
_MAGIC = b"PAR1"
SORT = ("ticker", "category", "bucket_utc", "store_n", "row_n")


@cache
def schema_of(shape: Shape) -> pa.Schema:
    """Return the Arrow schema of a shape."""
    return _schema_with(SCALARS[shape], list_columns(shape))


@cache
def _schema_with(scalars: tuple[str, ...], lists: tuple[str, ...]) -> pa.Schema:
    return pa.schema([*_HEAD, *((name, pa.int32()) for name in scalars), *((name, _INTS) for name in lists)])


def table_of(columns: Columns) -> pa.Table:
    """Return the table of one stored bucket's rows of one shape, with the columns that its version knew."""
    about, heads = columns.about, columns.heads
    schema = _schema_with(about.scalars, about.lists)
    words = pa.array(about.words, pa.string())
    same = {
        "bucket": about.bucket_utc // 1_000, "session": about.session, "store_n": about.store_n,
        "bucket_utc": about.bucket_utc,
    }  # fmt: skip
    offsets = pa.array(columns.offsets())
    scalars = np.ascontiguousarray(heads["scalars"].T)
    lists = (columns.strikes, *columns.values.T, *columns.priors.T)

    def column(name: str, kind: pa.DataType) -> pa.Array:
        if name in same:
            return pa.repeat(pa.scalar(same[name], kind), about.rows_n)
        if name in _DICTIONARY:
            return words.take(pa.array(np.ascontiguousarray(heads[name])))
        if name == "instant":
            return pa.array(heads["last_utc"] // 1_000).cast(kind)
        return pa.array(np.ascontiguousarray(heads[name]))

    made = [
        *(column(name, kind) for name, kind in _HEAD),
        *(pa.array(values) for values in scalars),
        *(pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(values))) for values in lists),
    ]
    return pa.table(made, schema=schema)


def write_options(shape: Shape, *, level: int) -> dict[str, Any]:
    """Return the Parquet writer's options for a shape."""
    ints = ["spot", *SCALARS[shape], *(f"{name}.list.element" for name in list_columns(shape))]
    return {
        "compression": "zstd", "compression_level": level, "use_dictionary": _DICTIONARY,
        "column_encoding": None, "use_byte_stream_split": ints, "store_schema": False, "write_page_index": False,
        "write_statistics": ["ticker", "category", "bucket_utc"],
    }  # fmt: skip


def from_bytes(raw: bytes, shape: Shape) -> pa.Table:
    """Return the rows of a body of the log, with today's columns.

    Raises:
        pa.ArrowException: it is none.
    """
    if not raw.startswith(bucket_columns.MAGIC):  # of manifests of version 2: an Arrow stream
        return conformed(pa.ipc.open_stream(raw).read_all(), shape)
    try:
        return conformed(table_of(bucket_columns.from_bytes(raw)), shape)
    except (ValueError, OSError, msgspec.MsgspecError, struct.error) as error:
        raise pa.ArrowInvalid(f"no columns of a bucket: {error}") from error


def conformed(table: pa.Table, shape: Shape) -> pa.Table:
    """Return a table of any earlier version with today's columns: what a version did not know is null."""
    return with_columns(table, schema_of(shape))


def with_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return exactly these columns of a table; what it has not is null."""
    if table.schema.equals(schema):
        return table
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        for field in schema
    ]  # fmt: skip
    return pa.table(columns, schema=schema)


def read(path: Path, shape: Shape, ticker: str | None = None) -> pa.Table:
    """Return a file's rows with today's columns.

    With a `ticker` rows of others are passed over, as far as the file tells without being read where they stand (a
    sealed one does: each ticker has row groups of its own); whatever else is read stays in.

    Raises:
        OSError, pa.ArrowException: it cannot be read.
    """
    file = pq.ParquetFile(path)
    if ticker is None:
        return conformed(file.read(use_threads=False), shape)
    return conformed(file.read_row_groups(row_groups_of(file.metadata, ticker), use_threads=False), shape)


def row_groups_of(about: pq.FileMetaData, ticker: str, category: str | None = None) -> list[int]:
    """Return the row groups that may hold rows of a ticker and category: all whose statistics do not say otherwise."""
    wanted = [("ticker", ticker), *([("category", category)] if category is not None else [])]
    at = [(about.schema.names.index(name), word) for name, word in wanted]
    groups = ((n, about.row_group(n)) for n in range(about.num_row_groups))
    return [n for n, group in groups if all(_may_hold(group.column(k), word) for k, word in at)]


def _may_hold(column: pq.ColumnChunkMetaData, word: str) -> bool:
    known = column.statistics
    return known is None or not known.has_min_max or known.min <= word <= known.max


def rows_of(table: pa.Table, shape: Shape) -> list[tuple[int, Row]]:
    """Return the rows of a table, each with its number in its bucket, in the table's order."""
    return Decoded(table, shape).rows(range(table.num_rows))


class Decoded:
    """The rows of a table, made where they are asked for; columns are read once for all of them.

    A scalar or a column that the version which wrote a row did not know is left out, as it was then: columns are only
    ever added behind the others, so the hash of the row is that of when it was stored.
    """

    __slots__ = ("_head", "_priors", "_scalars", "_strikes", "_unknown", "_values")

    def __init__(self, table: pa.Table, shape: Shape) -> None:
        table = conformed(table, shape)
        names = SCALARS[shape]
        self._head = {name: table[name].to_pylist() for name, kind in _HEAD if kind not in (_MICROS, pa.date32())}
        for name in _DICTIONARY:  # the same few words over and over: one string each
            self._head[name] = [word and sys.intern(word) for word in self._head[name]]
        self._scalars = np.empty((table.num_rows, len(names)), np.int32)
        for n, name in enumerate(names):
            self._scalars[:, n] = pc.fill_null(table[name], 0).to_numpy()
        has_unknown = any(table[name].null_count for name in names)
        self._unknown = np.column_stack([table[name].is_null().to_numpy() for name in names]) if has_unknown else None
        self._strikes = _Block([table["strikes"]])
        self._values = _Block([table[name] for name in VALUE_COLUMNS[shape]])
        self._priors = _Block([table[f"prior_{n}"] for n in range(PRIORS[shape])])

    def rows(self, places: Iterable[int]) -> list[tuple[int, Row]]:
        """Return the rows at some places of the table, each with its number in its bucket."""
        return [(self._head["row_n"][k], self._row(k)) for k in places]

    def places(self) -> dict[tuple[Utc, int], list[int]]:
        """Return where the rows of each stored bucket stand, by (bucket, number of its store)."""
        found: dict[tuple[Utc, int], list[int]] = {}
        for k, key in enumerate(zip(self._head["bucket_utc"], self._head["store_n"], strict=True)):
            found.setdefault(key, []).append(k)
        return found

    def _row(self, k: int) -> Row:
        head = self._head
        scalars = self._scalars[k].tolist()
        if self._unknown is not None:
            scalars = [value for value, is_unknown in zip(scalars, self._unknown[k], strict=True) if not is_unknown]
        strikes = self._strikes.of(k, 0)[:, 0]
        profile = Profile(
            head["ticker"][k], head["category"][k], head["source_utc"][k], head["spot"][k], tuple(scalars), strikes,
            self._values.of(k, len(strikes)), self._priors.of(k, len(strikes)),
        )  # fmt: skip
        return Row(
            profile, head["hub"][k], head["frames"][k], head["first_utc"][k], head["last_utc"][k], head["mode"][k],
            head["latency_ms"][k], head["sequence"][k],
        )  # fmt: skip


class _Block:
    """List columns that stand beside each other, row by row: (values, columns) of its own for each row.

    One matrix of all rows, where every row has every column; what an earlier version wrote is put together row by row.
    """

    __slots__ = ("_lists", "_matrix", "_offsets")

    def __init__(self, columns: Sequence[pa.ChunkedArray]) -> None:
        wholes = [column.combine_chunks() for column in columns]
        offsets = [whole.offsets.to_numpy() for whole in wholes]
        values = [whole.values.to_numpy() for whole in wholes]
        self._offsets: list[int] = []
        self._matrix: NDArray[np.int32] | None = None
        self._lists: list[tuple[pa.ListArray, list[int], NDArray[np.int32]]] = []
        is_whole = all(
            not whole.null_count and len(value) == len(values[0]) for whole, value in zip(wholes, values, strict=True)
        )
        if wholes and is_whole and all(np.array_equal(one, offsets[0]) for one in offsets):
            self._matrix, self._offsets = np.column_stack(values), offsets[0].tolist()
        else:
            self._lists = [(w, o.tolist(), v) for w, o, v in zip(wholes, offsets, values, strict=True)]

    def of(self, k: int, values_n: int) -> NDArray[np.int32]:
        """Return a row's columns that are known; `values_n` rows where there is none."""
        if self._matrix is not None:
            return self._matrix[self._offsets[k] : self._offsets[k + 1]].copy()
        known = [values[offsets[k] : offsets[k + 1]] for whole, offsets, values in self._lists if whole[k].is_valid]
        return np.column_stack(known) if known else np.empty((values_n, 0), np.int32)


def write_table(table: pa.Table, shape: Shape, path: Path) -> None:
    """Write a hot file (the caller syncs it)."""
    pq.write_table(table, path, **write_options(shape, level=1))


def is_whole_file(path: Path) -> bool:
    """Return whether a file begins and ends as a Parquet file does; one that was cut does not.

    Raises:
        FileNotFoundError: no such file.
    """
    with path.open("rb") as file:
        head = file.read(4)
        size = file.seek(0, 2)
        file.seek(max(0, size - 4))
        return head == _MAGIC == file.read(4) and size > 2 * len(_MAGIC)


def by_shape(rows: Iterable[Row]) -> dict[Shape, list[tuple[int, Row]]]:
    """Return a bucket's rows by shape, each with its number in the bucket."""
    found: dict[Shape, list[tuple[int, Row]]] = {}
    for n, row in enumerate(rows):
        found.setdefault(row.profile.shape, []).append((n, row))
    return found
