"""Typed rows: what SQLite returns as plain tuples becomes a struct whose fields stand in the order of the columns.

What is written is named, column by column.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One row; 0 and 1 become `bool`, texts become dates and enumerations, as the fields say."""


R = TypeVar("R", bound=Row)
Named = Mapping[str, Any]  # values by the name of their column or parameter: none can take another's place
Values = Sequence[Any] | Named


def columns_of(kind: type[Row], table: str = "") -> str:
    """Return a row's columns as a select list, each behind `table.` where one is named."""
    dot = f"{table}." if table else ""
    return ", ".join(f"{dot}{name}" for name in kind.__struct_fields__)


def all_rows(db: sqlite3.Connection, kind: type[R], sql: str, values: Values = ()) -> tuple[R, ...]:
    """Return every row that a query finds, in its order.

    Raises:
        msgspec.ValidationError: a column does not hold what its field says.
    """
    return tuple(msgspec.convert(row, kind, strict=False) for row in db.execute(sql, values))


def first_row(db: sqlite3.Connection, kind: type[R], sql: str, values: Values = ()) -> R | None:
    """Return the first row that a query finds; `None` where it finds none.

    Raises:
        msgspec.ValidationError: a column does not hold what its field says.
    """
    row = db.execute(sql, values).fetchone()
    return None if row is None else msgspec.convert(row, kind, strict=False)


def number(db: sqlite3.Connection, sql: str, values: Values = ()) -> int:
    """Return the one integer that a query computes (a count, a sum)."""
    return int(db.execute(sql, values).fetchone()[0])


def exists(db: sqlite3.Connection, sql: str, values: Values = ()) -> bool:
    """Return whether a query finds anything."""
    return db.execute(sql, values).fetchone() is not None


def insert(db: sqlite3.Connection, table: str, values: Named, on_conflict: str = "") -> bool:
    """Return whether a row was written: `values` by column, or the row in its way changed as `on_conflict` says."""
    return db.execute(_insert_sql(table, tuple(values), on_conflict), tuple(values.values())).rowcount == 1


@lru_cache(maxsize=64)
def _insert_sql(table: str, columns: tuple[str, ...], on_conflict: str) -> str:
    places = ", ".join("?" * len(columns))  # bound by place: by name each of them is looked up again
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places}) {on_conflict}"
