"""Markdown tables, and the docstrings that go into them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return rows as a Markdown table, with an empty line behind it."""
    lines = [_row(titles), _row(["---"] * len(titles))]
    return [*lines, *(_row(row) for row in rows), ""]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(_cell(str(cell)) for cell in cells) + " |"


def _cell(text: str) -> str:
    """Return text that is safe in a table: bars always, angle brackets outside of code."""
    parts = text.replace("|", "\\|").replace("\n", " ").split("`")
    return "`".join(part if n % 2 else part.replace("<", "\\<") for n, part in enumerate(parts))


def doc(thing: object) -> str:
    """Return a docstring without its indentation; empty where there is none."""
    return inspect.cleandoc(getattr(thing, "__doc__", None) or "")


def first_line(thing: object) -> str:
    """Return the first sentence's line of a docstring."""
    return doc(thing).partition("\n")[0]


def code(value: object) -> str:
    """Return a value in code marks."""
    return f"`{value}`"
