"""The gap ledger counted: what was expected and is missing, what something else brought, what was not polled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from enum import StrEnum

import msgspec

from domain.instants import BUCKET_NS
from domain.units import Utc
from storage.entries import NOT_POLLED
from storage.manifest import Manifest


class GapKind(StrEnum):
    """What became of the rows of a gap."""

    MISSING = "missing"
    COVERED = "covered"  # something else brought them
    NOT_POLLED = "not_polled"  # missing: the rate limits left no poll for them


class GapRow(msgspec.Struct, frozen=True):
    """An interval without a group's stream, or a file that cannot be read (`ticker`, `category` are `None`).

    `rows` is how many rows that is, whatever became of them.
    """

    session: date
    hub: str
    ticker: str | None
    category: str | None
    from_utc: Utc
    to_utc: Utc
    buckets: int
    rows: int
    why: str
    cover: str
    kind: GapKind


class GapTotals(msgspec.Struct, frozen=True):
    """Rows by what became of them; `by_cause` counts those that are not there, by "hub: cause"."""

    missing_n: int
    covered_n: int
    not_polled_n: int
    by_cause: dict[str, int]

    @property
    def absent_n(self) -> int:
        """How many rows are not there."""
        return self.missing_n + self.not_polled_n

    def text(self) -> str:
        """Return the totals in words."""
        return f"{self.missing_n} rows missing, {self.covered_n} covered, {self.not_polled_n} not polled"


def gap_rows_of(day: Manifest) -> Iterator[GapRow]:
    """Yield what a day's record says is not there, or was not at first."""
    for gap in day.gaps:
        buckets = (gap.to_utc - gap.from_utc) // BUCKET_NS
        kind = (
            GapKind.COVERED if gap.cover else GapKind.NOT_POLLED if gap.why == NOT_POLLED else GapKind.MISSING
        )  # fmt: skip
        yield GapRow(
            day.session, gap.hub, gap.ticker, gap.category, gap.from_utc, gap.to_utc, buckets, buckets, gap.why,
            gap.cover, kind,
        )  # fmt: skip
    for lost in day.damaged:
        first, last = lost.part.first_utc, lost.part.last_utc
        yield GapRow(
            day.session, lost.part.hub, None, None, first, Utc(last + BUCKET_NS), (last - first) // BUCKET_NS + 1,
            lost.part.rows, f"damaged: {lost.why}", "", GapKind.MISSING,
        )  # fmt: skip


def totals_of(days: Iterable[Manifest]) -> GapTotals:
    """Return the totals over days."""
    rows, by_cause = Counter[GapKind](), Counter[str]()
    for row in (row for day in days for row in gap_rows_of(day)):
        rows[row.kind] += row.rows
        if row.kind is not GapKind.COVERED:
            by_cause[f"{row.hub}: {row.why}"] += row.rows
    return GapTotals(rows[GapKind.MISSING], rows[GapKind.COVERED], rows[GapKind.NOT_POLLED], dict(by_cause))
