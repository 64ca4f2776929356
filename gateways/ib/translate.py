"""IB's objects in our words and back: contracts, orders, executions. Prices `_ticks` are 1/100 USD."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final

from domain.indices import INDICES
from domain.instants import SECOND
from domain.instruments import Contract, OrderType, Right, Side
from domain.orders.combo import COMBO_CLASS, COMBO_CON_ID, ComboLeg
from domain.session.modes import AccountClass
from domain.units import Cents, Qty, Ticks, Utc
from gateways.ib.decoding import UnreadableError, WireFill
from gateways.ib.library import UNSET_DOUBLE, Order
from gateways.ib.library import ComboLeg as IbLeg
from gateways.ib.library import Contract as IbContract
from gateways.ib.wire import known, number_of, plausible_instant_of
from messages.broker import QTY_UNKNOWN, Execution

# What is no option (stock after an assignment) stands in our books as a contract that no rule of ours can match.
NO_EXPIRY: Final = date.max

_SIDES: Final = {
    "BOT": Side.BUY,
    "BUY": Side.BUY,
    "SLD": Side.SELL,
    "SELL": Side.SELL,
    "SSHORT": Side.SELL,
    "SLONG": Side.SELL,
}


def ticks_of(price: float) -> Ticks | None:
    """Return a price in ticks; `None` where IB left it unset or it cannot be read."""
    value = known(price)
    return None if value is None else Ticks(round(value * 100))


def cents_of(amount_usd: float) -> Cents:
    """Return an amount in cents."""
    return Cents(round(amount_usd * 100))


def qty_of(quantity: float | None) -> Qty | None:
    """Return a number of contracts; `None` where it cannot be read.

    People trade and hold parts of shares: one is something, so it counts as 1 rather than as nothing.
    """
    value = None if quantity is None else known(quantity)
    if value is None:
        return None
    return Qty(round(value) or (value > 0) - (value < 0))


def needed_qty(quantity: float | None, what: str) -> Qty:
    """Return a number of contracts.

    Raises:
        UnreadableError: it cannot be read.
    """
    qty = qty_of(quantity)
    if qty is None:
        raise UnreadableError(f"no quantity of {what}")
    return qty


def qty_or_unknown(quantity: float | None) -> Qty:
    """Return a number of contracts or shares, `QTY_UNKNOWN` where it cannot be read."""
    qty = qty_of(quantity)
    return QTY_UNKNOWN if qty is None else qty


def type_of(text: str) -> OrderType | None:
    """Return the order type; `None` for one that we never use."""
    return OrderType(text) if text in OrderType.__members__.values() else None


def limit_of(order: Order) -> Ticks | None:
    """Return the limit of an order; `None` where its type has none."""
    return ticks_of(order.lmtPrice) if order.orderType == OrderType.LIMIT.value else None


def contract_of(c: IbContract) -> Contract:
    """Return IB's contract as ours; stock and others carry their security type as trading class and never expire.

    The contract id is what identifies it: an expiry or a strike that cannot be read makes it one that no rule of ours
    can match, and an unreadable right does too.

    Raises:
        UnreadableError: there is no contract id.
    """
    con_id = con_id_of(c)
    if con_id <= 0:
        raise UnreadableError("no contract id")
    if c.secType != "OPT":
        multiplier = int(number_of(c.multiplier) or 1)
        return Contract(con_id, c.symbol, c.secType, NO_EXPIRY, Ticks(0), Right.CALL, multiplier)
    right = {"C": Right.CALL, "P": Right.PUT}.get(c.right[:1])
    return Contract(
        con_id,
        c.symbol,
        c.tradingClass,
        NO_EXPIRY if right is None else _expiry_of(c.lastTradeDateOrContractMonth),
        ticks_of(c.strike) or Ticks(0),
        right or Right.CALL,
        int(number_of(c.multiplier or "100") or 0),
    )


def con_id_of(c: IbContract) -> int:
    """Return the id of a contract, 0 or less where it has none; every combination has the one, whatever IB tells.

    What a combination is of is said by its reference: where its id were not known, nothing of the broker's orders would
    be, and no exit could leave.
    """
    return COMBO_CON_ID if c.secType == COMBO_CLASS else c.conId


def _expiry_of(text: str) -> date:
    try:
        return datetime.strptime(text[:8], "%Y%m%d").date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return NO_EXPIRY


def ib_option(contract: Contract) -> IbContract:
    """Return our contract as IB wants it in requests."""
    return IbContract(
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


def ib_combo(legs: Sequence[ComboLeg]) -> IbContract:
    """Return a combination as IB wants it in requests: a bag of contract ids, each leg with its side and ratio."""
    bag = [IbLeg(conId=leg.contract.con_id, ratio=leg.ratio, action=leg.side.value, exchange="SMART") for leg in legs]
    return IbContract(
        secType=COMBO_CLASS, symbol=legs[0].contract.ticker, exchange="SMART", currency="USD", comboLegs=bag
    )  # fmt: skip


def ib_traded(contract: Contract, legs: Sequence[ComboLeg]) -> IbContract:
    """Return what an order trades as IB wants it: the combination where there are legs, the option otherwise."""
    return ib_combo(legs) if legs else ib_option(contract)


def ib_chain(ticker: str, trading_class: str, expiry: date, right: Right) -> IbContract:
    """Return the wildcard (no strike) that lists one expiry and right of a class."""
    return IbContract(
        secType="OPT",
        symbol=ticker,
        lastTradeDateOrContractMonth=f"{expiry:%Y%m%d}",
        right=right.value,
        multiplier="100",
        exchange="SMART",
        currency="USD",
        tradingClass=trading_class,
    )


def ib_underlying(ticker: str) -> IbContract:
    """Return an underlying: an index on CBOE, anything else as a stock on SMART."""
    if ticker in INDICES:
        return IbContract(secType="IND", symbol=ticker, exchange="CBOE", currency="USD")
    return IbContract(secType="STK", symbol=ticker, exchange="SMART", currency="USD")


def ib_order_of(
    order_ref: str,
    side: Side,
    qty: Qty,
    order_type: OrderType,
    limit_ticks: Ticks | None,
    stop_ticks: Ticks | None,
    account: str,
    good_till: str = "",
) -> Order:
    """Return an order as IB wants it: regular hours, explicit account, our reference.

    It is a day order, or good until `good_till` (IB's text) where there is one.

    Raises:
        ValueError: a limit order without a limit, or a stop order without a trigger.
    """
    if (order_type is OrderType.LIMIT and limit_ticks is None) or (order_type is OrderType.STOP and stop_ticks is None):
        raise ValueError(f"{order_ref}: {order_type.value} without its price")
    return Order(
        action=side.value,
        totalQuantity=qty,
        orderType=order_type.value,
        lmtPrice=limit_ticks / 100 if order_type is OrderType.LIMIT and limit_ticks is not None else UNSET_DOUBLE,
        auxPrice=stop_ticks / 100 if order_type is OrderType.STOP and stop_ticks is not None else UNSET_DOUBLE,
        tif="GTD" if good_till else "DAY",
        goodTillDate=good_till,
        account=account,
        orderRef=order_ref,
        outsideRth=False,
        transmit=True,
    )


def good_till_text(good_till_utc: Utc | None) -> str:
    """Return until when an order is good as IB takes it (`20261120-16:43:32`, UTC); empty for a day order.

    IB counts whole seconds; a started one is given in full, since our own deadline is the exact one.
    """
    if good_till_utc is None:
        return ""
    whole_s = -(-good_till_utc // SECOND)
    return f"{datetime.fromtimestamp(whole_s, UTC):%Y%m%d-%H:%M:%S}"


def split_exec_id(exec_id: str) -> tuple[str, int]:
    """Return an execution's base and revision (the last part: a correction counts it up)."""
    base, _, revision = exec_id.rpartition(".")
    return (base, int(revision)) if base and revision.isdigit() else (exec_id, 0)


def execution_of(
    contract: IbContract, fill: WireFill, heard_utc: Utc, *, is_live: bool, side: Side | None = None,
    con_id: int = 0, limit_ticks: Ticks | None = None,
) -> Execution:  # fmt: skip
    """Return an execution; the account stays behind.

    `side`, `con_id` and `limit_ticks` are those of our order of its reference, where there is one, for what cannot be
    read in the execution itself. A price that nobody knows counts as adopted: the quantity is a fact all the same.

    Raises:
        UnreadableError: its id, quantity, side or contract is not to be known.
    """
    qty = qty_of(fill.shares)
    base, revision = split_exec_id(fill.exec_id)
    told_side = _SIDES.get(fill.side, side)
    own_id = con_id_of(contract)
    told_con_id = own_id if own_id > 0 else con_id
    if not base or qty is None or qty <= 0 or told_side is None or told_con_id <= 0:
        raise UnreadableError(f"execution {fill.exec_id or '?'} of {fill.order_ref or 'no reference'}: id, side, size?")
    price = ticks_of(fill.price) if fill.price is not None else None
    if price is None and fill.average_price is not None and qty_of(fill.cum_qty) == qty:
        price = ticks_of(fill.average_price)  # the only execution of its order so far
    at_utc = plausible_instant_of(fill.time_text, heard_utc, is_live=is_live)
    return Execution(
        exec_id=base,
        revision=revision,
        order_ref=fill.order_ref,
        perm_id=fill.perm_id,
        con_id=told_con_id,
        side=told_side,
        qty=qty,
        price_ticks=price if price is not None else limit_ticks or Ticks(0),
        at_utc=heard_utc if at_utc is None else at_utc,
        raw=raw_execution(fill),
        is_time_uncertain=at_utc is None,
        is_adopted=price is None,
    )


def side_of(text: str) -> Side:
    """Return a side from IB's `BOT`/`SLD` or `BUY`/`SELL`.

    Raises:
        UnreadableError: it is neither.
    """
    side = _SIDES.get(text)
    if side is None:
        raise UnreadableError(f"{text!r} is no side")
    return side


def raw_execution(f: WireFill) -> str:
    """Return an execution's own text without the account."""
    return (
        f"execId={f.exec_id} orderId={f.order_id} clientId={f.client_id} permId={f.perm_id} side={f.side}"
        f" shares={_g(f.shares)} price={_g(f.price)} cumQty={_g(f.cum_qty)} avgPrice={_g(f.average_price)}"
        f" exchange={f.exchange} liquidation={f.liquidation} time={f.time_text} orderRef={f.order_ref}"
    )


def _g(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"


def account_class_of(account: str) -> AccountClass:
    """Return whether an account is paper (DU, DF) or live, by the form of its number."""
    if re.match(r"^D[UF]", account):
        return AccountClass.PAPER
    return AccountClass.LIVE if re.match(r"^U\d", account) else AccountClass.UNKNOWN
