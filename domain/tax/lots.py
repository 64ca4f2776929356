"""Opening and closing trades matched into lots, first in, first out, each account and security for itself.

Money is in cents with fees in it: `cash_cents` is what a trade brought (+) or cost (-).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import msgspec

from domain.instruments import Contract, Right, Side
from domain.units import Cents, Qty, Ticks, Utc


class Security(msgspec.Struct, frozen=True, order=True):
    """What was traded: an option where `right` is set, else shares; `trading_class` decides its treatment."""

    underlying: str
    trading_class: str
    expiry: date | None = None
    strike_ticks: Ticks | None = None
    right: Right | None = None

    @property
    def label(self) -> str:
        """Name it for people and forms, as `SPXW 20261120 6000C`."""
        if self.right is None or self.expiry is None or self.strike_ticks is None:
            return self.trading_class
        return f"{self.trading_class} {self.expiry:%Y%m%d} {self.strike_ticks / 100:g}{self.right.value}"


def security_of(contract: Contract) -> Security:
    """Return a contract as a security."""
    return Security(contract.ticker, contract.trading_class, contract.expiry, contract.strike_ticks, contract.right)


class Trade(msgspec.Struct, frozen=True):
    """One execution, or what became of a contract at its end (`how` then says so: `expired`, `settled`).

    `session` is the exchange's date of the trade, `order_ref` the order that it belongs to (the executions of an order
    are one purchase or sale), `lot_id` the opening trade that the seller named; empty: first in, first out.
    """

    trade_id: str
    account: str
    security: Security
    side: Side
    qty: Qty
    cash_cents: Cents
    at_utc: Utc
    session: date
    order_ref: str = ""
    lot_id: str = ""
    how: str = ""

    @property
    def order_key(self) -> str:
        """The order, or the trade itself where none is named."""
        return self.order_ref or self.trade_id


@dataclass(slots=True)
class Piece:
    """Contracts that were opened together and closed together, or are still open (`closed_by` is `None`).

    `close_cents` is their share of the closing trade's cash, 0 while open.
    """

    opened_by: Trade
    closed_by: Trade | None
    qty: Qty
    open_cents: Cents
    close_cents: Cents

    @property
    def is_long(self) -> bool:
        """Whether it was bought first."""
        return self.opened_by.side is Side.BUY

    @property
    def gain_cents(self) -> Cents:
        """What it brought before any adjustment."""
        return self.open_cents + self.close_cents


@dataclass(slots=True)
class _Lot:
    trade: Trade
    qty: Qty
    cents: Cents


def matched(trades: Iterable[Trade]) -> list[Piece]:
    """Match trades into pieces, closed ones in the order of their closing, then those still open.

    The order in which trades are given does not matter. A trade of more than is open closes that and opens the rest.

    Raises:
        ValueError: a trade names a lot that is not open, or holds less than it closes.
    """
    open_lots: dict[tuple[str, Security], deque[_Lot]] = defaultdict(deque)
    pieces: list[Piece] = []
    for trade in sorted(trades, key=lambda one: (one.at_utc, one.trade_id)):
        lots = open_lots[trade.account, trade.security]
        left, cents = trade.qty, trade.cash_cents
        while left and lots and lots[0].trade.side is not trade.side:
            lot = _chosen(lots, trade)
            taken = min(left, lot.qty)
            share, opened = part(cents, taken, left), part(lot.cents, taken, lot.qty)
            pieces.append(Piece(lot.trade, trade, taken, opened, share))
            left, cents = Qty(left - taken), Cents(cents - share)
            lot.qty, lot.cents = Qty(lot.qty - taken), Cents(lot.cents - opened)
            if not lot.qty:
                lots.remove(lot)
        if left and trade.lot_id:
            raise ValueError(f"{trade.trade_id} closes {left} more than {trade.lot_id} holds")
        if left and not trade.how:
            lots.append(_Lot(trade, left, cents))
    still_open = (lot for key in sorted(open_lots) for lot in open_lots[key])
    return [*pieces, *(Piece(lot.trade, None, lot.qty, lot.cents, Cents(0)) for lot in still_open)]


def _chosen(lots: deque[_Lot], trade: Trade) -> _Lot:
    if not trade.lot_id:
        return lots[0]
    found = next((lot for lot in lots if lot.trade.trade_id == trade.lot_id), None)
    if found is None:
        raise ValueError(f"{trade.trade_id} closes {trade.lot_id}, which is not open")
    return found


def part(cents: Cents, qty: Qty, of_qty: Qty) -> Cents:
    """Return the share of `qty` of `of_qty` in an amount, to the nearest cent; the last share takes what is left."""
    return Cents((2 * cents * qty + of_qty) // (2 * of_qty))
