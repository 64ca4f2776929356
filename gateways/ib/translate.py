"""IB's objects in our words and back: contracts, orders, executions, trading hours. Prices `_ticks` are 1/100 USD."""

from __future__ import annotations

import re
from datetime import date, datetime
from zoneinfo import ZoneInfo

from ib_insync import contract as ib_contract
from ib_insync import order as ib_order
from ib_insync.objects import Execution
from ib_insync.util import UNSET_DOUBLE

from domain.instants import from_datetime
from domain.instruments import Contract, OrderType, Right, Side
from messages.orders import ExecutionHeard
from messages.session import BrokerExecution

INDICES = frozenset({"SPX", "NDX", "RUT", "VIX"})
# What is no option (stock after an assignment) stands in our books as a contract that no rule of ours can match.
NO_EXPIRY = date.max

# IB's own zone names that the zone database does not know.
_ZONES = {"EST": "America/New_York", "EST5EDT": "America/New_York", "CST": "America/Chicago"}


def ticks_of(price: float) -> int | None:
    """Give a price in ticks; `None` where IB left it unset."""
    return None if price >= UNSET_DOUBLE else round(price * 100)


def cents_of(amount_usd: float) -> int:
    """Give an amount in cents."""
    return round(amount_usd * 100)


def type_of(text: str) -> OrderType | None:
    """Give the order type; `None` for one that we never use."""
    return OrderType(text) if text in OrderType.__members__.values() else None


def limit_of(order: ib_order.Order) -> int | None:
    """Give the limit of an order; `None` where its type has none."""
    return ticks_of(order.lmtPrice) if order.orderType == OrderType.LIMIT.value else None


def contract_of(c: ib_contract.Contract) -> Contract:
    """Give IB's contract as ours; stock and others carry their security type as trading class and never expire."""
    if c.secType != "OPT":
        return Contract(c.conId, c.symbol, c.secType, NO_EXPIRY, 0, Right.CALL, int(float(c.multiplier or 1)))
    return Contract(
        c.conId,
        c.symbol,
        c.tradingClass,
        datetime.strptime(c.lastTradeDateOrContractMonth[:8], "%Y%m%d").date(),  # noqa: DTZ007 - a date has no zone
        round(c.strike * 100),
        Right(c.right[:1]),
        int(float(c.multiplier or 100)),
    )


def ib_option(contract: Contract) -> ib_contract.Contract:
    """Give our contract as IB wants it in requests."""
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
    """Give the wildcard (no strike) that lists one expiry and right of a class."""
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
    """Give an underlying: an index on CBOE, anything else as a stock on SMART."""
    if ticker in INDICES:
        return ib_contract.Contract(secType="IND", symbol=ticker, exchange="CBOE", currency="USD")
    return ib_contract.Contract(secType="STK", symbol=ticker, exchange="SMART", currency="USD")


def ib_order_of(
    order_ref: str,
    side: Side,
    qty: int,
    order_type: OrderType,
    limit_ticks: int | None,
    aux_ticks: int | None,
    account: str,
) -> ib_order.Order:
    """Give an order as IB wants it: day order, regular hours, explicit account, our ref.

    Raises:
        ValueError: a limit order without a limit, or a stop order without a trigger.
    """
    if (order_type is OrderType.LIMIT and limit_ticks is None) or (order_type is OrderType.STOP and aux_ticks is None):
        raise ValueError(f"{order_ref}: {order_type.value} without its price")
    return ib_order.Order(
        action=side.value,
        totalQuantity=qty,
        orderType=order_type.value,
        lmtPrice=limit_ticks / 100 if order_type is OrderType.LIMIT and limit_ticks is not None else UNSET_DOUBLE,
        auxPrice=aux_ticks / 100 if order_type is OrderType.STOP and aux_ticks is not None else UNSET_DOUBLE,
        tif="DAY",
        account=account,
        orderRef=order_ref,
        outsideRth=False,
        transmit=True,
    )


def split_exec_id(exec_id: str) -> tuple[str, int]:
    """Give an execution's base and revision (the last part: a correction counts it up)."""
    base, _, revision = exec_id.rpartition(".")
    return (base, int(revision)) if base and revision.isdigit() else (exec_id, 0)


def execution_heard(epoch: int, contract: ib_contract.Contract, e: Execution) -> ExecutionHeard:
    """Give a live execution; the account stays behind."""
    base, revision = split_exec_id(e.execId)
    return ExecutionHeard(
        session_epoch=epoch,
        exec_id=base,
        revision=revision,
        order_ref=e.orderRef,
        perm_id=e.permId,
        contract=contract_of(contract),
        side=side_of(e.side),
        qty=round(e.shares),
        price_ticks=round(e.price * 100),
        at_utc=from_datetime(e.time),
        raw=raw_execution(e),
    )


def execution_read(contract: ib_contract.Contract, e: Execution) -> BrokerExecution:
    """Give an execution of a read-back; the account stays behind."""
    heard = execution_heard(0, contract, e)
    return BrokerExecution(
        exec_id=heard.exec_id,
        revision=heard.revision,
        order_ref=heard.order_ref,
        perm_id=heard.perm_id,
        con_id=heard.contract.con_id,
        side=heard.side,
        qty=heard.qty,
        price_ticks=heard.price_ticks,
        at_utc=heard.at_utc,
        raw=heard.raw,
    )


def side_of(text: str) -> Side:
    """Give a side from IB's `BOT`/`SLD` or `BUY`/`SELL`."""
    return Side.BUY if text in ("BOT", "BUY") else Side.SELL


def raw_execution(e: Execution) -> str:
    """Give an execution's own text without the account."""
    return (
        f"execId={e.execId} orderId={e.orderId} clientId={e.clientId} permId={e.permId} side={e.side}"
        f" shares={e.shares:g} price={e.price:g} cumQty={e.cumQty:g} avgPrice={e.avgPrice:g} exchange={e.exchange}"
        f" liquidation={e.liquidation} time={e.time.isoformat()} orderRef={e.orderRef}"
    )


def account_class_of(account: str) -> str:
    """Tell a paper account (DU, DF) from a live one by its form."""
    if re.match(r"^D[UF]", account):
        return "paper"
    return "live" if re.match(r"^U\d", account) else "unknown"


def hours_of(liquid_hours: str, zone: str, session: date) -> tuple[int | None, int | None]:
    """Give open and close of a session from `20261120:0930-20261120:1600;...`; `None` twice where it is closed."""
    tz = ZoneInfo(_ZONES.get(zone, zone))
    for part in liquid_hours.split(";"):
        start, _, end = part.partition("-")
        if not end or not start.startswith(f"{session:%Y%m%d}"):
            continue
        opens, closes = (datetime.strptime(text, "%Y%m%d:%H%M").replace(tzinfo=tz) for text in (start, end))
        return from_datetime(opens), from_datetime(closes)
    return None, None
