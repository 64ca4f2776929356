"""Text in lines of a terminal: as wide as the window, 80 columns where there is none."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Final

WIDTH: Final = 80
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"
_WIDEST: Final = 120  # longer lines are hard to read


def width() -> int:
    """Return how many columns a line may have."""
    return max(40, min(_WIDEST, shutil.get_terminal_size((WIDTH, 24)).columns)) if sys.stdout.isatty() else WIDTH


def wrapped(text: str, indent: int = 0, *, first: str = "", columns: int | None = None) -> list[str]:
    """Return a text in lines, those after the first indented; no word is broken in two.

    Args:
        text: what is said.
        indent: spaces before the lines, those after the first two more (none more beside a `first`).
        first: what stands at the head of the first line, in the place of its indent.
        columns: how wide; `None`: as the window.
    """
    head = first.ljust(indent) if first else " " * indent
    after = " " * (indent if first else indent + 2 if indent else 0)
    return textwrap.wrap(
        text.strip(), columns or width(), initial_indent=head, subsequent_indent=after,
        break_long_words=False, break_on_hyphens=False,
    ) or [head.rstrip()]  # fmt: skip


def paragraphs(text: str) -> str:
    """Return a text whose lines fit the window: a longer one goes on below its own beginning."""
    columns = width()
    lines: list[str] = []
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip())
        lines += [line] if len(line) <= columns else wrapped(line, indent, columns=columns)
    return "\n".join(lines)


def in_lines(facts: Sequence[str], columns: int, between: str = "  ") -> list[str]:
    """Return facts in lines of a window, none of them broken in two."""
    gap = between[:-1].replace(" ", _NO_BREAK) + " "  # a line may end at its last space alone
    joined = gap.join(fact.replace(" ", _NO_BREAK) for fact in facts)
    return [line.rstrip(_NO_BREAK).replace(_NO_BREAK, " ") for line in textwrap.wrap(joined, columns)]


def counted(n: int, noun: str) -> str:
    """Return how many of what, as `1 day` and `2,000 days`."""
    return f"{n:,} {noun}{'s' * (n != 1)}"
