"""Tastytrade's rows in our words: orders with their fills, positions, balances, fees. Keys are dasherized.

Numbers come as text or as numbers, instants as ISO text or as milliseconds. A side field that cannot be read is `None`;
a row whose main facts cannot be read raises, and is never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from domain.instants import MINUTE, MS, from_datetime
from domain.instruments import OrderType, Side
from domain.orders.references import is_ours
from domain.units import Cents, Qty, Ticks, Utc
from messages.broker import QTY_UNKNOWN

FUTURE_MAX_NS: Final = MINUTE  # the vendor's clock is not ours
NUMBER_MAX: Final = 10**15  # beyond it there is no price, no amount and no millisecond of ours

ORDER_TYPES: Final = {OrderType.LIMIT: "Limit", OrderType.MARKET: "Market", OrderType.STOP: "Stop"}
_TYPES: Final = {text: kind for kind, text in ORDER_TYPES.items()}
_SIDES: Final = {
    "Buy to Open": Side.BUY, "Buy to Close": Side.BUY, "Buy": Side.BUY,
    "Sell to Open": Side.SELL, "Sell to Close": Side.SELL, "Sell": Side.SELL,
}  # fmt: skip
_SIGNS: Final = {"Long": 1, "Short": -1, "Zero": 0}
_OPTION: Final = "Equity Option"  # an index's options are called so, too

Row = Mapping[str, Any]


class UnreadableError(ValueError):
    """A row whose main facts cannot be read; the text says which."""


class Fill(msgspec.Struct, frozen=True):
    """One fill of a leg; `at_utc` is `None` where the vendor's instant cannot be read or cannot be true.

    `ext_id` is the venue's id of it, by which its fee may be told; empty where there is none.
    """

    fill_id: str
    symbol: str
    side: Side
    qty: Qty
    price_ticks: Ticks
    at_utc: Utc | None
    raw: str
    ext_id: str = ""


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the vendor has it; `symbol` is empty where it has several legs, `ref` where nobody named it.

    `size` is what this order may fill in all, `updated_ms` 0 where it does not say when it changed last. One of nobody
    here that goes by an amount of money is a stranger: `symbol` is empty, `size` `QTY_UNKNOWN`.
    """

    order_id: int
    ref: str
    status: str
    symbol: str
    underlying: str
    side: Side
    size: Qty
    order_type: OrderType | None
    limit_ticks: Ticks | None
    replaces_id: int = 0
    replacing_id: int = 0
    updated_ms: int = 0
    reason: str = ""
    fills: tuple[Fill, ...] = ()

    @property
    def filled_qty(self) -> Qty:
        """What its fills add up to."""
        return Qty(sum(fill.qty for fill in self.fills))


class PositionRow(msgspec.Struct, frozen=True):
    """A position; `qty` is signed, `price_ticks` the average of one unit in ticks, not rounded."""

    symbol: str
    underlying: str
    qty: Qty
    price_ticks: float


class Balances(msgspec.Struct, frozen=True):
    """What an account is worth and may spend."""

    nav_cents: Cents
    available_cents: Cents
    buying_power_cents: Cents
    cash_cents: Cents | None


def number_of(value: object) -> Decimal | None:
    """Return a finite number; `None` where it is none, or too large to be true."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) < NUMBER_MAX else None


def whole_of(value: object) -> int | None:
    """Return a whole number; `None` where it is none."""
    number = number_of(value)
    return None if number is None or number != number.to_integral_value() else int(number)


def ticks_of(value: object) -> Ticks | None:
    """Return a price in ticks, rounded to the nearest; `None` where it cannot be read."""
    number = number_of(value)
    return None if number is None else Ticks(int((number * 100).to_integral_value()))


def cents_of(value: object) -> Cents | None:
    """Return an amount in cents, rounded to the nearest; `None` where it cannot be read."""
    number = number_of(value)
    return None if number is None else Cents(int((number * 100).to_integral_value()))


def qty_of(value: object) -> Qty | None:
    """Return a number of contracts; part of one (of a share) counts as one rather than as none; `None`: unreadable."""
    number = number_of(value)
    if number is None:
        return None
    return Qty(int(number.to_integral_value()) or (number > 0) - (number < 0))


def instant_of(value: object) -> Utc | None:
    """Return the instant of ISO text with its offset, or of milliseconds since 1970; `None` for any other."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
        return None if moment.tzinfo is None else from_datetime(moment)
    ms = whole_of(value)
    return None if ms is None else Utc(ms * MS)


def plausible_instant_of(value: object, heard_utc: Utc) -> Utc | None:
    """Return the instant that a row told at `heard_utc` names; `None` where it lies in the future, or is none."""
    at_utc = instant_of(value)
    return None if at_utc is None or at_utc > heard_utc + FUTURE_MAX_NS else at_utc


def signed(row: Row, key: str) -> Decimal | None:
    """Return an amount with the sign that its effect says: what is debited is negative; `None`: unreadable."""
    number, effect = number_of(row.get(key)), row.get(f"{key}-effect", "None")
    if number is None:
        return None
    if effect == "Debit":
        return -abs(number)
    return abs(number) if effect == "Credit" else number


def order_of(row: object, heard_utc: Utc) -> OrderRow:
    """Return an order; the account stays behind.

    Raises:
        UnreadableError: its id, status or legs are not to be known, or the quantity of one that is ours.
    """
    if not isinstance(row, Mapping):
        raise UnreadableError("an order that is no object")
    order_id, status, legs = whole_of(row.get("id")), row.get("status"), row.get("legs")
    if order_id is None or order_id <= 0 or not isinstance(status, str) or not isinstance(legs, Sequence) or not legs:
        raise UnreadableError(f"order {row.get('id', '?')}: id, status or legs?")
    sides = [_SIDES.get(str(leg.get("action"))) if isinstance(leg, Mapping) else None for leg in legs]
    first, side, is_one = legs[0], sides[0], len(legs) == 1
    size = qty_of(row.get("size")) if row.get("size") is not None else None
    size = qty_of(first.get("quantity")) if size is None and isinstance(first, Mapping) else size
    ref = str(row.get("external-identifier") or "")
    is_stranger = (size is None or size <= 0) and not is_ours(ref)
    size = QTY_UNKNOWN if is_stranger else size
    if any(s is None for s in sides) or side is None or size is None or size <= 0:
        raise UnreadableError(f"order {order_id}: action or quantity?")
    order_type = _TYPES.get(str(row.get("order-type")))
    return OrderRow(
        order_id=order_id, ref=ref, status=status,
        symbol=str(first.get("symbol") or "") if is_one and not is_stranger else "",
        underlying=str(row.get("underlying-symbol") or ""),
        side=side, size=size, order_type=order_type,
        limit_ticks=ticks_of(row.get("price")) if order_type is OrderType.LIMIT else None,
        replaces_id=whole_of(row.get("replaces-order-id")) or 0,
        replacing_id=whole_of(row.get("replacing-order-id")) or 0,
        updated_ms=(instant_of(row.get("updated-at")) or 0) // MS, reason=str(row.get("reject-reason") or ""),
        fills=tuple(
            _fill_of(order_id, fill, str(leg.get("symbol") or ""), leg_side, heard_utc)
            for leg, leg_side in zip(legs, sides, strict=True)
            if leg_side is not None
            for fill in leg.get("fills") or ()
        ),
    )  # fmt: skip


def id_of(row: object) -> int | None:
    """Return an order's id; `None` where it cannot be read."""
    return whole_of(row.get("id")) if isinstance(row, Mapping) else None


def _fill_of(order_id: int, row: object, symbol: str, side: Side, heard_utc: Utc) -> Fill:
    found = row if isinstance(row, Mapping) else {}
    fill_id, qty, price = (
        str(found.get("fill-id") or ""),
        qty_of(found.get("quantity")),
        ticks_of(found.get("fill-price")),
    )
    if not fill_id or not symbol or qty is None or qty <= 0 or price is None:
        raise UnreadableError(f"order {order_id}: a fill without id, symbol, quantity or price")
    at = found.get("filled-at")
    raw = f"fill-id={fill_id} order={order_id} symbol={symbol} quantity={qty} fill-price={found['fill-price']} at={at}"
    ext_id = str(found.get("ext-exec-id") or "")
    return Fill(fill_id, symbol, side, qty, price, plausible_instant_of(at, heard_utc), raw, ext_id)


def position_of(row: object) -> PositionRow:
    """Return a position.

    Raises:
        UnreadableError: its symbol, quantity or direction is not to be known.
    """
    found = row if isinstance(row, Mapping) else {}
    symbol, qty = str(found.get("symbol") or ""), qty_of(found.get("quantity"))
    sign = _SIGNS.get(str(found.get("quantity-direction")))
    if not symbol or qty is None or sign is None:
        raise UnreadableError(f"a position of {symbol or 'nothing'}: symbol, quantity or direction?")
    price = number_of(found.get("average-open-price"))
    ticks = 0.0 if price is None else float(price * 100)
    return PositionRow(symbol, str(found.get("underlying-symbol") or ""), Qty(sign * abs(qty)), ticks)


def balances_of(row: object) -> Balances:
    """Return what an account is worth; an account of ours has a worth above 0.

    Raises:
        UnreadableError: its worth or its buying power for options is not to be known.
    """
    found = row if isinstance(row, Mapping) else {}
    nav, power = cents_of(found.get("net-liquidating-value")), cents_of(found.get("derivative-buying-power"))
    if nav is None or nav <= 0 or power is None:
        told = f"net-liquidating-value {found.get('net-liquidating-value', 'missing')}"
        raise UnreadableError(f"the account tells {told}; wanted are a worth above 0 and derivative-buying-power")
    return Balances(nav, power, power, cents_of(found.get("cash-balance")))


def fee_of(row: object) -> tuple[frozenset[str], Cents | None] | None:
    """Return by which ids the fill of a transaction goes, and what it cost, `None` cents in another currency than USD.

    `None`: it is no trade, or names no fill.
    """
    found = row if isinstance(row, Mapping) else {}
    ids = frozenset(str(found[key]) for key in ("exec-id", "ext-exec-id") if found.get(key))
    if found.get("transaction-type") != "Trade" or not ids:
        return None
    if found.get("currency", "USD") != "USD":
        return ids, None
    parts = ("commission", "clearing-fees", "regulatory-fees", "proprietary-index-option-fees")
    told = [signed(found, key) for key in parts]
    cost = -sum(part for part in told if part is not None)
    return ids, None if all(part is None for part in told) else cents_of(cost)


def margin_change_of(row: object) -> Cents | None:
    """Return what an order that was only asked about would add to the margin; `None` where the answer does not say."""
    effect = row.get("buying-power-effect") if isinstance(row, Mapping) else None
    change = signed(effect, "change-in-margin-requirement") if isinstance(effect, Mapping) else None
    return None if change is None else cents_of(-change)
