"""The positions closed today with the sums that risk asks for with every mark, kept with each end."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from domain.keyed import Keyed
from domain.risk.day import Closed, loss_streak
from domain.units import Cents, Utc

_End = tuple[Utc, str]


class ClosedToday(msgspec.Struct, frozen=True):
    """Positions closed today in the order in which their ends came; iterating gives them.

    `trades` are those of each strategy. `won` is the last end without a loss (instant and position), `lost` are the
    losing ends after it. Once a leg of a structure is among them, which counts with its others as one, the sums but
    for `realised_cents` are made over all (`has_legs`).
    """

    rows: Keyed[Closed] = Keyed()
    realised_cents: Cents = Cents(0)
    trades: Mapping[str, int] = {}
    won: _End | None = None
    lost: tuple[_End, ...] = ()
    has_legs: bool = False

    def __iter__(self) -> Iterator[Closed]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def streak(self) -> int:
        """How many losing structures in a row end the day so far, by close time (`day.loss_streak`)."""
        return loss_streak(tuple(self.rows)) if self.has_legs else len(self.lost)

    def trades_with(self, held: Collection[str], strategy: str) -> int:
        """Return how many a strategy has had: those closed and the units `held`, each once."""
        if self.has_legs:
            return len({*held, *(c.unit for c in self.rows if c.strategy == strategy)})
        closed = [unit for unit in held if (one := self.rows.get(unit)) is not None and one.strategy == strategy]
        return len(held) - len(closed) + self.trades.get(strategy, 0)

    def plus(self, one: Closed) -> ClosedToday:
        """Return them with one more, which is not among them."""
        end, won, lost = (one.closed_utc, one.position_id), self.won, self.lost
        if one.realised_cents < 0:
            lost = (*lost, end) if won is None or end > won else lost
        elif won is None or end > won:
            won, lost = end, tuple([other for other in lost if other > end])
        trades = {**self.trades, one.strategy: self.trades.get(one.strategy, 0) + 1}
        return ClosedToday(
            self.rows.put(one.position_id, one), Cents(self.realised_cents + one.realised_cents), trades, won, lost,
            self.has_legs or one.structure_id is not None,
        )  # fmt: skip

    def without(self, position_id: str) -> ClosedToday:
        """Return them without a position; the same ones where it is not among them."""
        if position_id not in self.rows:
            return self
        return closed_today(one for one in self.rows if one.position_id != position_id)


def closed_today(rows: Iterable[Closed]) -> ClosedToday:
    """Return closed positions in their order with their sums."""
    found = ClosedToday()
    for one in rows:
        found = found.plus(one)
    return found
