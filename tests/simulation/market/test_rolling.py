"""A market that rolls goes on with the exchange's next session, and the simulated broker with it."""

from __future__ import annotations

from datetime import date, time

import pytest

from domain.instants import SECOND, at_exchange
from domain.instruments import OrderType, Side
from domain.units import Qty, Utc
from simulation.broker.exchange import Exchange
from simulation.broker.orders import Order
from simulation.market.market import Market

FRIDAY, SATURDAY, MONDAY = date(2026, 11, 20), date(2026, 11, 21), date(2026, 11, 23)


def rolling() -> Market:
    return Market(7, FRIDAY, ("SPX",), rolls=True)


def near(market: Market) -> int:
    spot = market.spot("SPX").price_ticks
    today = (c for c in market.contracts("SPX") if c.expiry == market.session)
    return min(today, key=lambda c: abs(c.strike_ticks - spot)).con_id


def test_the_next_session_begins_at_midnight_and_is_the_one_that_a_market_of_its_own_has() -> None:
    market = rolling()
    market.step(at_exchange(FRIDAY, time(23, 59)))
    assert market.session == FRIDAY
    market.step(at_exchange(SATURDAY, time(12)))
    assert market.session == FRIDAY, "a date without trading is no session"
    market.step(at_exchange(MONDAY, time(0)))
    alone = Market(7, MONDAY, ("SPX",))
    assert (market.session, market.open_utc, market.now_utc) == (MONDAY, alone.open_utc, alone.now_utc)
    for at_utc in (Utc(alone.open_utc + 600 * SECOND), alone.close_utc):
        market.step(at_utc)
        alone.step(at_utc)
        assert market.spot("SPX") == alone.spot("SPX")
        assert market.quote(near(market)) == alone.quote(near(alone))


def test_a_market_that_does_not_roll_ends_with_its_session() -> None:
    market = Market(7, FRIDAY, ("SPX",))
    market.step(at_exchange(MONDAY, time(12)))
    assert (market.session, market.over_utc) == (FRIDAY, None)


def test_the_broker_forgets_the_days_orders_and_keeps_cash_and_ids() -> None:
    market = rolling()
    exchange = Exchange(market, latency_ms=0)
    now = Utc(market.open_utc + 600 * SECOND)
    market.step(now)
    exchange.place(Order(near(market), Side.BUY, Qty(1), OrderType.MARKET, 11, 1, order_ref="a"), now)
    (first,) = (execution for execution, _ in exchange.executions())
    over = Utc(market.close_utc + SECOND)
    market.step(over)
    exchange.step(over)
    cash = exchange.account_values()["NetLiquidation"]
    monday = at_exchange(MONDAY, time(10))
    market.step(monday)
    exchange.step(monday)
    assert (exchange.executions(), exchange.completed(), exchange.positions()) == ([], [], [])
    assert exchange.held_at_close is None
    assert exchange.account_values()["NetLiquidation"] == cash
    assert exchange.next_order_id(11) == 2
    exchange.place(Order(near(market), Side.BUY, Qty(1), OrderType.MARKET, 11, 2, order_ref="b"), monday)
    (second,) = (execution for execution, _ in exchange.executions())
    assert second.exec_id != first.exec_id
    assert second.order.perm_id != first.order.perm_id


def test_yesterdays_expired_contract_is_not_listed_any_more() -> None:
    market = rolling()
    expired = near(market)
    assert market.contract(expired) is not None
    market.step(at_exchange(MONDAY, time(9)))
    assert market.contract(expired) is None
    with pytest.raises(KeyError):
        market.quote(expired)
