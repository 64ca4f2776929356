"""Cash and positions of the simulated account, in `_cents`; prices in `_ticks`."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from domain.instruments import Contract, Side
from domain.units import Cents, Qty, Ticks


class Position(msgspec.Struct, frozen=True):
    """What is held of one contract: `qty` and `cost_cents` signed, opening fees in the cost."""

    con_id: int
    qty: Qty = Qty(0)
    cost_cents: Cents = Cents(0)
    realised_cents: Cents = Cents(0)

    @property
    def average_cost_usd(self) -> float:
        """The cost of one contract in USD (multiplier included, IB's convention)."""
        return self.cost_cents / self.qty / 100 if self.qty else 0.0


class Portfolio:
    """Cash and positions of one account."""

    def __init__(self, cash_cents: Cents) -> None:
        self.cash_cents = cash_cents
        self._positions: dict[int, Position] = {}

    def position(self, con_id: int) -> Position:
        """Return the position of a contract, a flat one if there never was any."""
        return self._positions.get(con_id) or Position(con_id)

    def held(self) -> list[Position]:
        """Return the positions that are not flat."""
        return [position for position in self._positions.values() if position.qty]

    @property
    def realised_cents(self) -> Cents:
        """The realised profit and loss of the account, fees included."""
        return Cents(sum(position.realised_cents for position in self._positions.values()))

    def fill(self, contract: Contract, side: Side, qty: Qty, price_ticks: Ticks, fee_cents: Cents) -> Cents | None:
        """Take a fill over and return what its closing part realised; `None` if it only opened."""
        old = self.position(contract.con_id)
        signed = qty if side is Side.BUY else -qty
        value = Cents(signed * price_ticks * contract.multiplier)
        self.cash_cents -= value + fee_cents
        is_closing = old.qty * signed < 0
        closed = min(abs(old.qty), qty) if is_closing else Qty(0)
        if not closed:
            self._set(old, old.qty + signed, old.cost_cents + value + fee_cents, Cents(0))
            return None
        close_signed = closed if signed > 0 else -closed
        close_value = Cents(close_signed * price_ticks * contract.multiplier)
        close_fee = Cents(fee_cents * closed // qty)
        released = Cents(old.cost_cents * closed // abs(old.qty))
        realised = -close_value - released - close_fee
        rest_cost = old.cost_cents - released
        if closed < qty:
            rest_cost = value - close_value + fee_cents - close_fee
        self._set(old, old.qty + signed, rest_cost, realised)
        return realised

    def correct(self, con_id: int, change_cents: Cents, *, is_opening: bool) -> None:
        """Book what a correction makes a fill dearer by: in the cost of what it opened, else in what it realised."""
        old = self.position(con_id)
        self.cash_cents -= change_cents
        if is_opening and old.qty:
            self._set(old, old.qty, old.cost_cents + change_cents, Cents(0))
        else:
            self._set(old, old.qty, old.cost_cents, Cents(-change_cents))

    def settle(self, contract: Contract, value_ticks: Ticks) -> Cents:
        """Exchange a position for its cash value and return the cents paid (negative: owed)."""
        old = self.position(contract.con_id)
        paid = Cents(old.qty * value_ticks * contract.multiplier)
        self.cash_cents += paid
        self._set(old, Qty(0), Cents(0), paid - old.cost_cents)
        return paid

    def restore(self, cash_cents: Cents, positions: Iterable[Position]) -> None:
        """Take over the cash and what is known of some positions, as a book has them."""
        self.cash_cents = cash_cents
        self._positions.update({position.con_id: position for position in positions})

    def _set(self, old: Position, qty: Qty, cost_cents: Cents, realised_cents: Cents) -> None:
        self._positions[old.con_id] = Position(
            old.con_id, qty, cost_cents if qty else Cents(0), old.realised_cents + realised_cents
        )
