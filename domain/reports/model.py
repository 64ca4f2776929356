"""A report as plain values: sections with a table and a chart each. Terminal, page and JSON show the same."""

from __future__ import annotations

import textwrap
from datetime import date, datetime, time
from enum import StrEnum

import msgspec

from domain.signals.rates import wilson


class Rate(msgspec.Struct, frozen=True):
    """A share that never stands without what it was counted from."""

    hits: int
    n: int

    @property
    def share(self) -> float | None:
        """The share; `None` where nothing was counted."""
        return self.hits / self.n if self.n else None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Its Wilson interval of 95 %; `None` where nothing was counted."""
        return wilson(self.hits, self.n) if self.n else None

    def __str__(self) -> str:
        """Write it for people, as `60 % of 20 (39-78)`."""
        if (share := self.share) is None or (bounds := self.bounds) is None:
            return "none of 0"
        low, high = bounds
        return f"{share:.0%} of {self.n} ({low * 100:.0f}-{high * 100:.0f})".replace("%", " %", 1)


class Kind(StrEnum):
    """How the cells of a column are written."""

    TEXT = "text"
    COUNT = "count"
    MONEY = "money"  # USD, signed
    USD = "usd"  # a price or a cost
    MS = "ms"
    PERCENT = "percent"
    RATE = "rate"


Cell = str | int | float | Rate | None


class Column(msgspec.Struct, frozen=True):
    """One column of a table."""

    title: str
    kind: Kind = Kind.TEXT

    @property
    def is_number(self) -> bool:
        """Whether its cells stand to the right."""
        return self.kind is not Kind.TEXT


class Table(msgspec.Struct, frozen=True):
    """Rows under their columns."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Series(msgspec.Struct, frozen=True):
    """One line or group of bars: `values` (`None`: nothing there), with their bounds where there are any."""

    name: str
    values: tuple[float | None, ...]
    bounds: tuple[tuple[float, float] | None, ...] = ()


class Form(StrEnum):
    """How a chart is drawn."""

    LINES = "lines"
    BARS = "bars"
    HEAT = "heat"


class Chart(msgspec.Struct, frozen=True):
    """Series over the same labels; `unit` is what they are measured in (`USD`, `%`, `ms`, empty: a count)."""

    form: Form
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    unit: str = ""


class Section(msgspec.Struct, frozen=True):
    """One subject: what it says in a sentence, its table, its chart (`None`: nothing to draw)."""

    title: str
    says: str
    table: Table
    chart: Chart | None = None


class Report(msgspec.Struct, frozen=True):
    """A whole report; `desks` are those that it tells of, each with whose money it trades."""

    title: str
    first: date
    last: date
    desks: tuple[str, ...]
    sections: tuple[Section, ...]


def cell_text(kind: Kind, value: Cell) -> str:
    """Return a cell as people read it; nothing where it is not known."""
    if value is None:
        return ""
    if isinstance(value, str | Rate):
        return str(value)
    match kind:
        case Kind.MONEY:
            return f"{value:+,.2f}"
        case Kind.USD:
            return f"{value:,.3f}"
        case Kind.MS:
            return f"{value:,.0f}"
        case Kind.PERCENT:
            return f"{value:+.2f} %"
        case _:
            return f"{value:,}"


def clock_text(moment: date | datetime | time) -> str:
    """Return a label of an axis: a clock of one day, the date of more."""
    if isinstance(moment, time):
        return f"{moment:%H:%M}"
    if isinstance(moment, datetime) and moment.time() != time():
        return f"{moment:%H:%M:%S}"
    return f"{moment:%m-%d}"


def lines_of(section: Section, width: int) -> list[str]:
    """Return a section as lines of a terminal; texts are cut where the table is too wide, numbers never."""
    indent = "  "
    said = textwrap.wrap(section.says, width, initial_indent=indent, subsequent_indent=indent)
    lines = [section.title, *said]
    table = section.table
    if not table.rows:
        return lines
    cells = [[cell_text(column.kind, value) for column, value in zip(table.columns, row, strict=True)]
             for row in table.rows]  # fmt: skip
    widths = [max(len(column.title), *(len(row[n]) for row in cells)) for n, column in enumerate(table.columns)]
    texts = [n for n, column in enumerate(table.columns) if not column.is_number]
    while sum(widths) + 2 * len(widths) > width and any(widths[n] > _TEXT_MIN for n in texts):
        widths[max(texts, key=widths.__getitem__)] -= 1
    for row in ([column.title for column in table.columns], *cells):
        written = (
            text.rjust(wide) if column.is_number else _cut(text, wide).ljust(wide)
            for text, wide, column in zip(row, widths, table.columns, strict=True)
        )
        lines.append(f"{indent}{'  '.join(written)}".rstrip())
    return lines


_TEXT_MIN = 8


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
