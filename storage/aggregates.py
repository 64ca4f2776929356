"""Daily aggregates: what stays of a day for ever, a small file a day, made before its rows may leave this disk."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq

from storage.aside import written_aside
from storage.views.database import DAILY, Database
from storage.views.named import month_aggregates

FOLDER = "aggregates"


def keep_daily(root: Path, session: date) -> Path:
    """Write a finished day's aggregates where they are not kept yet, and return their file.

    Raises:
        QueryError, WarehouseRefusedError: the day cannot be read.
        OSError: the file cannot be written.
    """
    path = root / FOLDER / f"{session}.parquet"
    if path.exists():
        return path
    db = Database(root, (session,))
    try:
        table = month_aggregates(db, session, session)
    finally:
        db.close()
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path, is_durable=True) as aside:
        pq.write_table(table.cast(DAILY), aside, compression="zstd")
    return path
