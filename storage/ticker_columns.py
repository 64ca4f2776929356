"""One ticker's columns of a file, and columns in units: what the reader's quick ways are made of."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from domain.instants import at_exchange, to_datetime
from domain.options.profile import shape_of
from storage import bucket_file
from storage.scales import in_units


def of_ticker(path: Path, ticker: str, category: str, names: list[str]) -> pa.Table:
    """Read one ticker and category of a file: the row groups that can hold the ticker, the columns asked for."""
    file = pq.ParquetFile(path)
    at = file.schema_arrow.names.index("ticker")
    groups = []
    for n in range(file.metadata.num_row_groups):
        statistics = file.metadata.row_group(n).column(at).statistics
        if statistics is None or not statistics.has_min_max or statistics.min <= ticker <= statistics.max:
            groups.append(n)
    table = _of_category(file.read_row_groups(groups, columns=names, use_threads=False), category, names)
    return table.filter(pc.equal(table["ticker"], ticker))


def of_all_tickers(path: Path, category: str, names: list[str]) -> pa.Table:
    """Read one category of a file: the columns asked for, of all its tickers."""
    return _of_category(pq.ParquetFile(path).read(columns=names, use_threads=False), category, names)


def _of_category(table: pa.Table, category: str, names: list[str]) -> pa.Table:
    for name in names:
        if name not in table.column_names:  # an earlier version did not know it
            field = bucket_file.schema_of(shape_of(category)).field(name)
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(names).filter(pc.equal(table["category"], category))


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
