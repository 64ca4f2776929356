"""IB's objects in our words and back: contracts, orders, executions, trading hours. Prices `_ticks` are 1/100 USD."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from ib_insync import contract as ib_contract
from ib_insync import order as ib_order
from ib_insync.objects import Execution as IbExecution
from ib_insync.util import UNSET_DOUBLE

from domain.indices import INDICES
from domain.instants import from_datetime
from domain.instruments import Contract, OrderType, Right, Side
from domain.session.modes import AccountClass
from domain.units import Cents, Qty, Ticks, Utc
from messages.broker import Execution

# What is no option (stock after an assignment) stands in our books as a contract that no rule of ours can match.
NO_EXPIRY: Final = date.max

# IB's own zone names that the zone database does not know.
_ZONES: Final = {"EST": "America/New_York", "EST5EDT": "America/New_York", "CST": "America/Chicago"}


def ticks_of(price: float) -> Ticks | None:
    """Return a price in ticks; `None` where IB left it unset."""
    return None if price >= UNSET_DOUBLE else Ticks(round(price * 100))


def cents_of(amount_usd: float) -> Cents:
    """Return an amount in cents."""
    return Cents(round(amount_usd * 100))


def qty_of(quantity: float) -> Qty:
    """Return a number of contracts."""
    return Qty(round(quantity))


def type_of(text: str) -> OrderType | None:
    """Return the order type; `None` for one that we never use."""
    return OrderType(text) if text in OrderType.__members__.values() else None


def limit_of(order: ib_order.Order) -> Ticks | None:
    """Return the limit of an order; `None` where its type has none."""
    return ticks_of(order.lmtPrice) if order.orderType == OrderType.LIMIT.value else None


def contract_of(c: ib_contract.Contract) -> Contract:
    """Return IB's contract as ours; stock and others carry their security type as trading class and never expire."""
    if c.secType != "OPT":
        multiplier = int(float(c.multiplier or 1))
        return Contract(c.conId, c.symbol, c.secType, NO_EXPIRY, Ticks(0), Right.CALL, multiplier)
    return Contract(
        c.conId,
        c.symbol,
        c.tradingClass,
        datetime.strptime(c.lastTradeDateOrContractMonth[:8], "%Y%m%d").date(),  # noqa: DTZ007 - a date has no zone
        Ticks(round(c.strike * 100)),
        Right(c.right[:1]),
        int(float(c.multiplier or 100)),
    )


def ib_option(contract: Contract) -> ib_contract.Contract:
    """Return our contract as IB wants it in requests."""
    return ib_contract.Contract(
        secType="OPT",
        conId=contract.con_id,
        symbol=contract.ticker,
        lastTradeDateOrContractMonth=f"{contract.expiry:%Y%m%d}",
        strike=contract.strike_ticks / 100,
        right=contract.right.value,
        multiplier=str(contract.multiplier),
        exchange="SMART",
        currency="USD",
        tradingClass=contract.trading_class,
    )


def ib_chain(ticker: str, trading_class: str, expiry: date, right: Right) -> ib_contract.Contract:
    """Return the wildcard (no strike) that lists one expiry and right of a class."""
    return ib_contract.Contract(
        secType="OPT",
        symbol=ticker,
        lastTradeDateOrContractMonth=f"{expiry:%Y%m%d}",
        right=right.value,
        multiplier="100",
        exchange="SMART",
        currency="USD",
        tradingClass=trading_class,
    )


def ib_underlying(ticker: str) -> ib_contract.Contract:
    """Return an underlying: an index on CBOE, anything else as a stock on SMART."""
    if ticker in INDICES:
        return ib_contract.Contract(secType="IND", symbol=ticker, exchange="CBOE", currency="USD")
    return ib_contract.Contract(secType="STK", symbol=ticker, exchange="SMART", currency="USD")


def ib_order_of(
    order_ref: str,
    side: Side,
    qty: Qty,
    order_type: OrderType,
    limit_ticks: Ticks | None,
    stop_ticks: Ticks | None,
    account: str,
) -> ib_order.Order:
    """Return an order as IB wants it: day order, regular hours, explicit account, our reference.

    Raises:
        ValueError: a limit order without a limit, or a stop order without a trigger.
    """
    if (order_type is OrderType.LIMIT and limit_ticks is None) or (order_type is OrderType.STOP and stop_ticks is None):
        raise ValueError(f"{order_ref}: {order_type.value} without its price")
    return ib_order.Order(
        action=side.value,
        totalQuantity=qty,
        orderType=order_type.value,
        lmtPrice=limit_ticks / 100 if order_type is OrderType.LIMIT and limit_ticks is not None else UNSET_DOUBLE,
        auxPrice=stop_ticks / 100 if order_type is OrderType.STOP and stop_ticks is not None else UNSET_DOUBLE,
        tif="DAY",
        account=account,
        orderRef=order_ref,
        outsideRth=False,
        transmit=True,
    )


def split_exec_id(exec_id: str) -> tuple[str, int]:
    """Return an execution's base and revision (the last part: a correction counts it up)."""
    base, _, revision = exec_id.rpartition(".")
    return (base, int(revision)) if base and revision.isdigit() else (exec_id, 0)


def execution_of(contract: ib_contract.Contract, e: IbExecution) -> Execution:
    """Return an execution; the account stays behind."""
    base, revision = split_exec_id(e.execId)
    return Execution(
        exec_id=base,
        revision=revision,
        order_ref=e.orderRef,
        perm_id=e.permId,
        con_id=contract.conId,
        side=side_of(e.side),
        qty=qty_of(e.shares),
        price_ticks=Ticks(round(e.price * 100)),
        at_utc=from_datetime(e.time),
        raw=raw_execution(e),
    )


def side_of(text: str) -> Side:
    """Return a side from IB's `BOT`/`SLD` or `BUY`/`SELL`."""
    return Side.BUY if text in ("BOT", "BUY") else Side.SELL


def raw_execution(e: IbExecution) -> str:
    """Return an execution's own text without the account."""
    return (
        f"execId={e.execId} orderId={e.orderId} clientId={e.clientId} permId={e.permId} side={e.side}"
        f" shares={e.shares:g} price={e.price:g} cumQty={e.cumQty:g} avgPrice={e.avgPrice:g} exchange={e.exchange}"
        f" liquidation={e.liquidation} time={e.time.isoformat()} orderRef={e.orderRef}"
    )


def account_class_of(account: str) -> AccountClass:
    """Return whether an account is paper (DU, DF) or live, by the form of its number."""
    if re.match(r"^D[UF]", account):
        return AccountClass.PAPER
    return AccountClass.LIVE if re.match(r"^U\d", account) else AccountClass.UNKNOWN


def hours_of(liquid_hours: str, zone: str, session: date) -> tuple[Utc | None, Utc | None]:
    """Return open and close of a session from `20261120:0930-20261120:1600;...`; `None` twice where it is closed."""
    tz = ZoneInfo(_ZONES.get(zone, zone))
    for part in liquid_hours.split(";"):
        start, _, end = part.partition("-")
        if not end or not start.startswith(f"{session:%Y%m%d}"):
            continue
        opens, closes = (datetime.strptime(text, "%Y%m%d:%H%M").replace(tzinfo=tz) for text in (start, end))
        return from_datetime(opens), from_datetime(closes)
    return None, None
