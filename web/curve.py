"""The day's P&L by time, made again from closed trades and from what the positions said of themselves."""

from __future__ import annotations

from collections.abc import Iterable

from domain.instants import MINUTE, SECOND
from domain.session.calendar import TradingDay
from domain.units import Utc
from messages.base import Message
from messages.positions import PositionChanged, PositionClosed
from storage.queries import Found

Curve = list[tuple[int, float]]


class CurveMaker:
    """Takes facts in their order; `points` are (seconds since the epoch, USD), one a minute at most."""

    def __init__(self, hours: TradingDay, closed: Iterable[Found]) -> None:
        self.points: Curve = [(hours.open_utc // SECOND, 0.0)]
        self._hours = hours
        self._closed = {row["position_id"]: (row["closed_utc"], row["realised_cents"]) for row in closed}
        self._open_cents: dict[str, int] = {}

    def take(self, at_utc: Utc, fact: Message) -> None:
        """Take what a position said."""
        if isinstance(fact, PositionChanged):
            self._open_cents[fact.ref.position_id] = fact.realised_cents + (fact.unrealised_cents or 0)
            self._note_closed(at_utc)
        elif isinstance(fact, PositionClosed):
            self._open_cents.pop(fact.ref.position_id, None)
        else:
            return
        is_due = at_utc // SECOND - self.points[-1][0] >= MINUTE // SECOND
        if (is_due and self._hours.open_utc <= at_utc <= self._hours.close_utc) or isinstance(fact, PositionClosed):
            self._note(at_utc)

    def finish(self, at_utc: Utc) -> Curve:
        """Return the curve up to an instant, with what was closed since the last word of a position."""
        for closed_utc, _ in sorted(self._closed.values()):
            if self.points[-1][0] < closed_utc // SECOND <= at_utc // SECOND:
                self._note_closed(Utc(closed_utc))
                self._note(Utc(closed_utc))
        return self.points

    def _note_closed(self, at_utc: Utc) -> None:
        """Forget what is closed by the ledger, whatever word of it came after."""
        for position_id, (closed_utc, _) in self._closed.items():
            if closed_utc <= at_utc:
                self._open_cents.pop(position_id, None)

    def _note(self, at_utc: Utc) -> None:
        closed = sum(cents for closed_utc, cents in self._closed.values() if closed_utc <= at_utc)
        self.points.append((at_utc // SECOND, (closed + sum(self._open_cents.values())) / 100))
