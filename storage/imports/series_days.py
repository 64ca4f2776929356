"""Imported chains, quotes, minute bars, alerts and trades: one Parquet file a day, kind and source, beside live days.

A file is named after what it holds, so the same rows imported again are the same file. It is written aside, synced and
renamed: a half import is not seen.
"""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from storage.aside import written_aside
from storage.bucket_file import is_whole_file
from storage.manifest import sync_folder

BARS: Final = "bars"
ALERTS: Final = "alerts"
TRADES: Final = "trades"
BAR_SCHEMA: Final = pa.schema([
    ("ticker", pa.string()), ("begin_utc", pa.int64()), ("open", pa.int64()), ("high", pa.int64()),
    ("low", pa.int64()), ("close", pa.int64()), ("volume", pa.int64()), ("source", pa.string()),
])  # fmt: skip
FOREIGN_SCHEMA: Final = {
    ALERTS: pa.schema([
        ("at_utc", pa.int64()), ("ticker", pa.string()), ("kind", pa.string()), ("direction", pa.string()),
        ("price", pa.float64()), ("outcome", pa.string()), ("more", pa.string()),
    ]),
    TRADES: pa.schema([
        ("at_utc", pa.int64()), ("closed_utc", pa.int64()), ("ticker", pa.string()), ("contract", pa.string()),
        ("side", pa.string()), ("qty", pa.float64()), ("entry_price", pa.float64()), ("exit_price", pa.float64()),
        ("pnl", pa.float64()), ("more", pa.string()),
    ]),
}  # fmt: skip


def add(root: Path, session: date, kind: str, table: pa.Table) -> bool:
    """Put a day's rows of a kind in force; return whether they are new.

    Args:
        root: the series folder, one sub-folder per session.
        session: exchange date of the rows.
        kind: `chains`, `quotes`, `bars`, `alerts` or `trades`.
        table: the rows, in the kind's columns.

    Raises:
        OSError: nothing changed.
    """
    folder = root / session.isoformat()
    path = folder / f"{kind}-import-{digest_of(table)}.parquet"
    if path.exists() and is_whole_file(path):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    with written_aside(path, is_durable=True) as aside:
        pq.write_table(table, aside, compression="zstd", store_schema=False)
    sync_folder(folder)
    return True


def digest_of(table: pa.Table) -> str:
    """Return a name for what a table holds: the same rows have the same (blake2b, 16 hexadecimal digits)."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as writer:
        writer.write_table(table.replace_schema_metadata(None).combine_chunks())
    return hashlib.blake2b(sink.getvalue(), digest_size=8).hexdigest()
