"""The periods of a report: a day, a week from Monday to Sunday, a month, by the exchange's dates."""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum
from typing import assert_never

import msgspec


class Span(StrEnum):
    """How long a period is."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Period(msgspec.Struct, frozen=True):
    """All sessions from `first` to `last`, both included."""

    span: Span
    first: date
    last: date

    @property
    def title(self) -> str:
        """Name it for people, as `Week 2026-11-16 to 2026-11-22`."""
        match self.span:
            case Span.DAY:
                return f"Day {self.first}"
            case Span.WEEK:
                return f"Week {self.first} to {self.last}"
            case Span.MONTH:
                return f"Month {self.first:%Y-%m}"
            case _:
                assert_never(self.span)


def period_of(span: Span, session: date) -> Period:
    """Return the period that a session belongs to."""
    match span:
        case Span.DAY:
            return Period(span, session, session)
        case Span.WEEK:
            monday = session - timedelta(days=session.weekday())
            return Period(span, monday, monday + timedelta(days=6))
        case Span.MONTH:
            first = session.replace(day=1)
            return Period(span, first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))
        case _:
            assert_never(span)
