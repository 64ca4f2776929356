"""Rows of a query as text: a table for people, CSV or JSON for machines."""

from __future__ import annotations

import csv
import math
import shutil
import sys
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, TextIO

import orjson
import pyarrow as pa

from domain.wording import csv_text, printable

CELL_MAX = 60
TEXT_MIN = 10  # columns that a text keeps where the window is narrow
_BETWEEN = "  "


def print_table(table: pa.Table, rows_max: int, out: TextIO | None = None) -> None:
    """Print the first rows as a table with its titles, and how many there are.

    In a window that is too narrow texts are cut, never numbers; where that does not do, a row is printed downwards.
    """
    out = out or sys.stdout
    columns = shutil.get_terminal_size().columns if out.isatty() else None
    shown = [[cell(value) for value in row.values()] for row in table.slice(0, rows_max).to_pylist()]
    titles = table.column_names
    are_numbers = [
        pa.types.is_integer(f.type) or pa.types.is_floating(f.type) or pa.types.is_decimal(f.type) for f in table.schema
    ]
    widths = fitted(
        [max([len(title), *(len(row[n]) for row in shown)]) for n, title in enumerate(titles)],
        [not is_number and table.schema.types[n] == pa.string() for n, is_number in enumerate(are_numbers)],
        columns,
    )

    def line(cells: list[str], widths: list[int]) -> str:
        padded = (
            _cut(text, width).rjust(width) if is_number else _cut(text, width).ljust(width)
            for text, width, is_number in zip(cells, widths, are_numbers, strict=True)
        )
        return _BETWEEN.join(padded).rstrip()

    if widths is None:
        name_width = max(map(len, titles))
        for row in shown:
            for title, text in zip(titles, row, strict=True):
                print(_cut(f"{title:<{name_width}}  {text}", columns or len(text) + name_width + 2).rstrip(), file=out)
            print(file=out)
    elif titles:
        print(line(titles, widths), file=out)
        print(_BETWEEN.join("-" * width for width in widths), file=out)
        for row in shown:
            print(line(row, widths), file=out)
    more = f", {len(shown)} shown (--rows, --csv and --json show more)" if table.num_rows > len(shown) else ""
    print(f"({table.num_rows} row{'s' * (table.num_rows != 1)}{more})", file=out)


def fitted(widths: list[int], may_be_cut: list[bool], columns: int | None) -> list[int] | None:
    """Return the widths of a table's columns in a window, the longest texts cut first; `None` where it does not fit.

    `columns`: of the window; `None`: as wide as it likes.
    """
    room = None if columns is None else columns - len(_BETWEEN) * (len(widths) - 1)
    out = list(widths)
    while room is not None and sum(out) > room:
        longest = max((n for n, is_text in enumerate(may_be_cut) if is_text), key=out.__getitem__, default=None)
        if longest is None or out[longest] <= TEXT_MIN:
            return None
        out[longest] -= 1
    return out


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


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
    text = printable(text)
    return text if len(text) <= CELL_MAX else f"{text[: CELL_MAX - 1]}…"


def _csv(value: Any) -> Any:
    if isinstance(value, list | dict):
        return _text(value)
    return csv_text(value) if isinstance(value, str) else value


def _text(value: Any) -> str:
    return orjson.dumps(value, default=_json).decode()


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    return str(value)
