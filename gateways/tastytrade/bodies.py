"""Our orders as the vendor takes them: dasherized, prices as text with the effect that says who pays."""

from __future__ import annotations

from datetime import UTC
from typing import Any, Final

from domain.instants import MS, to_datetime
from domain.instruments import OrderType, Side
from domain.orders.request import OrderChange, OrderRequest
from domain.units import Ticks, Utc
from gateways.contract_book import occ_of
from gateways.tastytrade.wire import ORDER_TYPES

SOURCE: Final = "zerohour"


def order_body(order: OrderRequest) -> dict[str, Any]:
    """Return a new order; an exit only ever closes: the vendor refuses what would open a position instead.

    Raises:
        ValueError: its type lacks its price.
    """
    action = f"{'Buy' if order.side is Side.BUY else 'Sell'} to {'Close' if order.is_exit else 'Open'}"
    leg = {
        "instrument-type": "Equity Option", "symbol": occ_of(order.contract), "quantity": order.qty, "action": action,
    }  # fmt: skip
    body: dict[str, Any] = _terms(order.order_ref, order.order_type, order.limit_ticks, order.side) | {"legs": [leg]}
    if order.order_type is OrderType.STOP:
        if order.stop_ticks is None:
            raise ValueError(f"{order.order_ref}: a stop order without its trigger")
        body["stop-trigger"] = _usd(order.stop_ticks)
    if order.good_till_utc is not None:
        body["rules"] = {"cancel-at": instant_text(order.good_till_utc)}
    if order.is_exit:
        body["advanced-instructions"] = {"strict-position-effect-validation": True}
    return body


def change_body(change: OrderChange, side: Side) -> dict[str, Any]:
    """Return a change of price or type; the vendor keeps size and legs.

    Raises:
        ValueError: its type lacks its price, or is one that cannot be changed to.
    """
    if change.order_type is OrderType.STOP:
        raise ValueError(f"{change.order_ref}: a change says nothing of a trigger")
    return _terms(change.order_ref, change.order_type, change.limit_ticks, side)


def instant_text(instant_utc: Utc) -> str:
    """Return an instant as the vendor takes it, a started millisecond in full: our own deadline is the exact one."""
    moment = to_datetime(Utc(-(-instant_utc // MS) * MS)).astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _terms(ref: str, order_type: OrderType, limit_ticks: Ticks | None, side: Side) -> dict[str, Any]:
    terms: dict[str, Any] = {
        "time-in-force": "Day", "order-type": ORDER_TYPES[order_type], "external-identifier": ref, "source": SOURCE,
        "automated-source": True,
    }  # fmt: skip
    if order_type is OrderType.LIMIT:
        if limit_ticks is None:
            raise ValueError(f"{ref}: a limit order without a limit")
        terms |= {"price": _usd(limit_ticks), "price-effect": "Debit" if side is Side.BUY else "Credit"}
    return terms


def _usd(ticks: Ticks) -> str:
    return f"{ticks // 100}.{ticks % 100:02d}"
