"""Rows as Parquet and back, bit for bit: the wire's own integers, one schema per shape of row.

Integers are int32 with BYTE_STREAM_SPLIT and zstd (the smallest that was measured, `limits.md` §5 of the reference);
per-strike columns are lists, a prior a column of its own. Times stand twice: `instant` and `bucket` for queries (UTC,
µs, without a zone), the `_utc` columns in ns for an exact way back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from domain.options.profile import PRIORS, SCALARS, VALUE_COLUMNS, Profile, Row, Shape
from domain.units import Utc

_INTS = pa.list_(pa.int32())
_MICROS = pa.timestamp("us")
_HEAD: tuple[tuple[str, pa.DataType], ...] = (
    ("instant", _MICROS), ("bucket", _MICROS), ("session", pa.date32()), ("hub", pa.string()),
    ("category", pa.string()), ("ticker", pa.string()), ("mode", pa.string()), ("latency_ms", pa.int64()),
    ("sequence", pa.int64()), ("frames", pa.int32()), ("store_n", pa.int32()), ("row_n", pa.int32()),
    ("bucket_utc", pa.int64()), ("source_utc", pa.int64()), ("first_utc", pa.int64()), ("last_utc", pa.int64()),
    ("spot", pa.int32()),
)  # fmt: skip
_DICTIONARY = ["hub", "category", "ticker", "mode"]
ROW_GROUP = 4_096
_MAGIC = b"PAR1"
SORT = ("ticker", "category", "bucket_utc", "store_n", "row_n")


def list_columns(shape: Shape) -> tuple[str, ...]:
    """Return the per-strike columns of a shape: strikes, values, priors (`prior_0` is the most recent)."""
    return ("strikes", *VALUE_COLUMNS[shape], *(f"prior_{n}" for n in range(PRIORS[shape])))


@cache
def schema_of(shape: Shape) -> pa.Schema:
    """Return the Arrow schema of a shape."""
    scalars = [(name, pa.int32()) for name in SCALARS[shape]]
    return pa.schema([*_HEAD, *scalars, *((name, _INTS) for name in list_columns(shape))])


def _lists(arrays: Sequence[Any]) -> pa.Array:
    lengths = np.fromiter((len(a) for a in arrays), np.int32, len(arrays))
    offsets = np.zeros(len(arrays) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    values = np.concatenate(arrays) if arrays else np.empty(0, np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.astype(np.int32, copy=False)))


def table_of(shape: Shape, rows: Sequence[tuple[int, Row]], session: date, bucket_utc: Utc, store_n: int) -> pa.Table:
    """Return the table of one stored bucket's rows of one shape; each row comes with its number in the bucket.

    Raises:
        OverflowError, pa.ArrowInvalid: an integer does not fit the column.
    """
    n = len(rows)
    profiles = [row.profile for _, row in rows]
    columns: dict[str, Any] = {
        "instant": [row.last_utc // 1_000 for _, row in rows], "bucket": [bucket_utc // 1_000] * n,
        "session": [session] * n, "hub": [row.hub for _, row in rows], "category": [p.category for p in profiles],
        "ticker": [p.ticker for p in profiles], "mode": [row.mode for _, row in rows],
        "latency_ms": [row.latency_ms for _, row in rows], "sequence": [row.sequence for _, row in rows],
        "frames": [row.frames for _, row in rows], "store_n": [store_n] * n, "row_n": [k for k, _ in rows],
        "bucket_utc": [bucket_utc] * n, "source_utc": [p.source_utc for p in profiles],
        "first_utc": [row.first_utc for _, row in rows], "last_utc": [row.last_utc for _, row in rows],
        "spot": [p.spot for p in profiles],
    }  # fmt: skip
    columns |= {name: [p.scalars[k] for p in profiles] for k, name in enumerate(SCALARS[shape])}
    names = VALUE_COLUMNS[shape]
    columns["strikes"] = _lists([p.strikes for p in profiles])
    columns |= {name: _lists([p.values[:, k] for p in profiles]) for k, name in enumerate(names)}
    columns |= {f"prior_{k}": _lists([p.priors[:, k] for p in profiles]) for k in range(PRIORS[shape])}
    schema = schema_of(shape)
    return pa.table([pa.array(columns[f.name], f.type) for f in schema], schema=schema)


def write_options(shape: Shape, *, level: int) -> dict[str, Any]:
    """Return the Parquet writer's options for a shape."""
    ints = ["spot", *SCALARS[shape], *(f"{name}.list.element" for name in list_columns(shape))]
    return {
        "compression": "zstd", "compression_level": level, "use_dictionary": _DICTIONARY,
        "column_encoding": None, "use_byte_stream_split": ints, "store_schema": False, "write_page_index": False,
        "write_statistics": ["ticker", "category", "bucket_utc"],
    }  # fmt: skip


def rows_of(table: pa.Table, shape: Shape) -> list[tuple[int, Row]]:
    """Return the rows of a table, each with its number in its bucket, in the table's order."""
    head = {name: table[name].to_pylist() for name, kind in _HEAD if kind not in (_MICROS, pa.date32())}
    scalars = list(zip(*(table[name].to_pylist() for name in SCALARS[shape]), strict=True))
    lists = {name: _split(table[name]) for name in list_columns(shape)}
    found = []
    for k in range(table.num_rows):
        strikes = lists["strikes"][k]
        profile = Profile(
            head["ticker"][k], head["category"][k], head["source_utc"][k], head["spot"][k], scalars[k], strikes,
            _stack([lists[name][k] for name in VALUE_COLUMNS[shape]], len(strikes)),
            _stack([lists[f"prior_{n}"][k] for n in range(PRIORS[shape])], len(strikes)),
        )  # fmt: skip
        row = Row(
            profile, head["hub"][k], head["frames"][k], head["first_utc"][k], head["last_utc"][k], head["mode"][k],
            head["latency_ms"][k], head["sequence"][k],
        )  # fmt: skip
        found.append((head["row_n"][k], row))
    return found


def _stack(columns: list[np.ndarray[Any, Any]], n: int) -> Any:
    return np.column_stack(columns) if columns else np.empty((n, 0), np.int32)


def _split(column: pa.ChunkedArray) -> list[Any]:
    parts: list[Any] = []
    for chunk in column.chunks:
        offsets = chunk.offsets.to_numpy()
        values = chunk.values.to_numpy()
        parts.extend(values[offsets[k] : offsets[k + 1]].copy() for k in range(len(chunk)))
    return parts


def write_table(table: pa.Table, shape: Shape, path: Path, metadata: dict[str, str]) -> None:
    """Write a hot file (the caller syncs it)."""
    pq.write_table(table.replace_schema_metadata(metadata), path, **write_options(shape, level=1))


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
