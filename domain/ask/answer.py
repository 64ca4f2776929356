"""What is answered to a question of people: a text, and the records that it stands on."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

_SHOWN = 12  # rows of one table that a line names


class Citation(msgspec.Struct, frozen=True, order=True):
    """One record: the file or table that it is in, and what names it there."""

    table: str
    row: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A text for people, and what it stands on; `is_known` is false where the question could not be answered.

    `by` says who put it into words: the fixed grammar, or a model.
    """

    text: str
    citations: tuple[Citation, ...] = ()
    is_known: bool = True
    by: str = "grammar"

    @property
    def sources(self) -> list[str]:
        """Return a line a table, with the rows of it."""
        by_table: dict[str, list[str]] = {}
        for citation in self.citations:
            rows = by_table.setdefault(citation.table, [])
            if citation.row not in rows:
                rows.append(citation.row)
        return [f"{table}: {_few(rows)}" for table, rows in by_table.items()]


def cited(table: str, rows: Iterable[object]) -> tuple[Citation, ...]:
    """Return a citation a row of one table."""
    return tuple(Citation(table, str(row)) for row in rows)


def _few(rows: list[str]) -> str:
    more = len(rows) - _SHOWN
    return ", ".join(rows[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
