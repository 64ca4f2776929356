"""One ticker's columns of a session's files, and columns in units: what the reader's quick ways are made of."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, time
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from domain.instants import at_exchange, to_datetime
from domain.options.profile import shape_of
from storage import bucket_file
from storage.scales import in_units

KEPT_FOOTERS_MAX = 256
KEPT_HOT_BYTES_MAX = 64 << 20

Mask = NDArray[np.bool_]


class Hot(msgspec.Struct, frozen=True):
    """The rows of one category of hot files, of all tickers: a few rows a file, read together anyway."""

    paths: tuple[Path, ...]
    rows: pa.Table


class TickerColumns:
    """Reads one ticker and category of a session's files.

    A sealed file's footer is kept, which costs more to read than a ticker's columns, and so is what hot files gave,
    which cost more to open than to hold. A file never changes under its name.

    Args:
        hot_bytes_max: what is kept of hot files; the rows asked for last are always kept.
    """

    def __init__(self, hot_bytes_max: int = KEPT_HOT_BYTES_MAX) -> None:
        self._hot_bytes_max = hot_bytes_max
        self._footers: dict[Path, tuple[tuple[int, int, int], pq.FileMetaData]] = {}
        self._hot: dict[tuple[Path, str, tuple[str, ...]], Hot] = {}

    def read(
        self, sealed: Iterable[Path], hot: Iterable[Path], ticker: str, category: str, names: list[str]
    ) -> pa.Table:
        """Return the columns `names` of one ticker and category, in the order of the files.

        Raises:
            OSError, pa.ArrowException: a file cannot be read.
        """
        schema = _schema(category, names)
        pieces = [schema.empty_table(), *(self._sealed(path, ticker, category, schema) for path in sealed)]
        rows = self._hot_rows(tuple(hot), category, schema)
        return pa.concat_tables([*pieces, of_ticker(rows, ticker)])

    def _sealed(self, path: Path, ticker: str, category: str, schema: pa.Schema) -> pa.Table:
        about = self._footer(path)
        groups = bucket_file.row_groups_of(about, ticker, category)
        if not groups:
            return schema.empty_table()
        with pq.ParquetFile(path, metadata=about) as file:
            table = file.read_row_groups(groups, columns=schema.names, use_threads=False)
        is_asked = _is(table, "ticker", ticker) & _is(table, "category", category)
        return bucket_file.with_columns(where(table, is_asked), schema)

    def _footer(self, path: Path) -> pq.FileMetaData:
        found = path.stat()
        stamp = found.st_ino, found.st_mtime_ns, found.st_size
        known = self._footers.get(path)
        if known is None or known[0] != stamp:
            known = self._footers[path] = stamp, pq.read_metadata(path)
            for old in list(self._footers)[:-KEPT_FOOTERS_MAX]:
                self._footers.pop(old, None)
        return known[1]

    def _hot_rows(self, paths: tuple[Path, ...], category: str, schema: pa.Schema) -> pa.Table:
        if not paths:
            return schema.empty_table()
        key = paths[0].parent, category, tuple(schema.names)
        known = self._hot.pop(key, None)
        if known is None or known.paths != paths[: len(known.paths)]:  # sealed over: what is left is read again
            known = Hot((), schema.empty_table())
        more = [_of_all_tickers(path, category, schema) for path in paths[len(known.paths) :]]
        rows = pa.concat_tables([known.rows, *more]).combine_chunks() if more else known.rows
        self._hot[key] = Hot(paths, rows)
        self._drop_oldest()
        return rows

    def _drop_oldest(self) -> None:
        kept = list(self._hot.items())
        bytes_n = sum(hot.rows.nbytes for _, hot in kept)
        for key, hot in kept[:-1]:
            if bytes_n > self._hot_bytes_max:
                self._hot.pop(key, None)
                bytes_n -= hot.rows.nbytes


def _schema(category: str, names: list[str]) -> pa.Schema:
    schema = bucket_file.schema_of(shape_of(category))
    return pa.schema([schema.field(name) for name in names])


def _of_all_tickers(path: Path, category: str, schema: pa.Schema) -> pa.Table:
    table = pq.ParquetFile(path).read(columns=schema.names, use_threads=False)
    return bucket_file.with_columns(where(table, _is(table, "category", category)), schema)


def of_ticker(table: pa.Table, ticker: str) -> pa.Table:
    """Return the rows of one ticker."""
    return where(table, _is(table, "ticker", ticker))


def _is(table: pa.Table, name: str, word: str) -> Mask:
    found: Mask = pc.equal(table[name], word).to_numpy()
    return found


def where(table: pa.Table, mask: Mask) -> pa.Table:
    """Return the rows that a mask marks; those that stand together are not copied."""
    at = np.flatnonzero(mask)
    if not len(at):
        return table.slice(0, 0)
    first, n = int(at[0]), len(at)
    return table.slice(first, n) if at[-1] - at[0] + 1 == n else table.filter(pa.array(mask))


def in_order(table: pa.Table, *names: str) -> pa.Table:
    """Return rows in ascending order of some columns of numbers; those that stand so already are not copied."""
    order = np.lexsort([table[name].to_numpy() for name in reversed(names)])
    return table if np.array_equal(order, np.arange(len(order))) else table.take(pa.array(order))


def in_new_york(instants: pa.ChunkedArray, session: date) -> pa.ChunkedArray:
    """Return instants of a session as New York's wall clock."""
    offset_h = to_datetime(at_exchange(session, time(12))).hour - 12
    return pc.subtract(instants, pa.scalar(offset_h * 3_600_000_000, pa.duration("us")))


def lists_in_units(column: pa.ChunkedArray, name: str) -> pa.ListArray:
    """Return a column of lists of integers in units; where a version did not know it, NULL."""
    whole = column.combine_chunks()
    values = in_units(pa.chunked_array([whole.flatten()]), name).combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(whole), 0)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths.to_numpy(zero_copy_only=False))]), pa.int32())
    return pa.ListArray.from_arrays(offsets, values, mask=whole.is_null() if whole.null_count else None)
