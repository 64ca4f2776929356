"""What a plain glob over a warehouse's folder reads, as somebody else's program would."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import duckdb

from tests.testkit.narrow import known

EVERY_DAY = "date=*/*.parquet"


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """One for all questions: to make one takes ten times as long as to ask. It keeps nothing of a file."""
    return duckdb.connect(config={"threads": 1, "enable_external_file_cache": False})


def counted(root: Path, what: str = "*", pattern: str = EVERY_DAY) -> int:
    """Return how many there are in the files of a pattern below a folder: rows, or what else SQL may count."""
    return counted_in(f"{root}/{pattern}", what)


def counted_in(files: str | list[str], what: str = "*") -> int:
    """Return how many there are in the files of a pattern, or in those named."""
    sql = f"SELECT count({what}) FROM read_parquet({files!r})"
    return int(known(_database().execute(sql).fetchone())[0])
