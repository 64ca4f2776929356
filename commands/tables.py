"""Rows of a query as text: a table for people, CSV or JSON for machines."""

from __future__ import annotations

import csv
import math
import sys
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, TextIO

import orjson
import pyarrow as pa

CELL_MAX = 60


def print_table(table: pa.Table, rows_max: int, out: TextIO | None = None) -> None:
    """Print the first rows as a table with its titles, and how many there are."""
    out = out or sys.stdout
    shown = [[cell(value) for value in row.values()] for row in table.slice(0, rows_max).to_pylist()]
    titles = table.column_names
    widths = [max([len(title), *(len(row[n]) for row in shown)]) for n, title in enumerate(titles)]
    are_numbers = [
        pa.types.is_integer(f.type) or pa.types.is_floating(f.type) or pa.types.is_decimal(f.type) for f in table.schema
    ]

    def line(cells: list[str]) -> str:
        padded = (
            text.rjust(width) if is_number else text.ljust(width)
            for text, width, is_number in zip(cells, widths, are_numbers, strict=True)
        )
        return "  ".join(padded).rstrip()

    if titles:
        print(line(titles), file=out)
        print("  ".join("-" * width for width in widths), file=out)
    for row in shown:
        print(line(row), file=out)
    more = f", {len(shown)} shown (--rows, --csv and --json show more)" if table.num_rows > len(shown) else ""
    print(f"({table.num_rows} row{'s' * (table.num_rows != 1)}{more})", file=out)


def print_csv(table: pa.Table, out: TextIO | None = None) -> None:
    """Print all rows as CSV with a line of titles; lists and structures as JSON, `NULL` as nothing."""
    writer = csv.writer(out or sys.stdout, lineterminator="\n")
    writer.writerow(table.column_names)
    for batch in table.to_batches(max_chunksize=10_000):
        writer.writerows([_csv(value) for value in row.values()] for row in batch.to_pylist())


def print_json(table: pa.Table, out: TextIO | None = None) -> None:
    """Print all rows as a JSON array of objects, one a line; instants as ISO 8601."""
    out = out or sys.stdout
    rows = [orjson.dumps(row, default=_json).decode() for row in table.to_pylist()]
    print("[" + ",\n ".join(rows) + "]", file=out)


def cell(value: Any) -> str:
    """Return a value as people read it in a table."""
    match value:
        case None:
            return ""
        case float():
            return (
                f"{value:.6g}"
                if not math.isfinite(value) or abs(value) >= 1e6
                else f"{round(value, 4):g}"
                if abs(value) < 1e4
                else f"{value:.2f}"
            )
        case datetime():
            text = value.isoformat(sep=" ", timespec="milliseconds")
            return text.removesuffix(".000")
        case date() | time() | str() | bool() | int() | Decimal():
            text = str(value)
        case _:
            text = _text(value)
    text = " ".join(text.split())
    return text if len(text) <= CELL_MAX else f"{text[: CELL_MAX - 1]}…"


def _csv(value: Any) -> Any:
    return _text(value) if isinstance(value, list | dict) else value


def _text(value: Any) -> str:
    return orjson.dumps(value, default=_json).decode()


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    return str(value)
