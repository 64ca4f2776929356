"""Fills of a backtest: never better than the touch, never on a quote that is not whole and fresh."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.instruments import OrderType, Side
from domain.units import Cents, Qty, Ticks
from simulation.backtest.exchange import BacktestExchange
from simulation.backtest.market import RecordedMarket
from simulation.backtest.model import FillModel
from simulation.broker.events import Execution
from simulation.broker.orders import Leg, Order
from tests.testkit.recorded_days import CALL, PUT, Look, at, market_of

LIMIT, MARKET = OrderType.LIMIT, OrderType.MARKET


def order(side: Side = Side.BUY, limit: int | None = 110, kind: OrderType = LIMIT, qty: int = 1) -> Order:
    return Order(
        con_id=CALL.con_id, side=side, qty=Qty(qty), type=kind, client_id=11, order_id=1,
        limit_ticks=None if limit is None else Ticks(limit), order_ref="ZH-1",
    )  # fmt: skip


def fills(market: RecordedMarket, sent: Order, seconds: range, model: FillModel | None = None) -> list[tuple[int, int]]:
    """Return (second, price) of the fills of an order that is sent at the first second."""
    exchange = BacktestExchange(market, Cents(10**9), model or FillModel())
    market.step(at(seconds[0]))
    found: list[tuple[int, int]] = []
    events = exchange.place(sent, at(seconds[0]))
    for second in seconds:
        market.step(at(second))
        events += exchange.step(at(second))
        found += [(second, event.price_ticks) for event in events if isinstance(event, Execution)]
        events = []
    return found


def test_a_purchase_pays_the_ask_and_a_sale_gets_the_bid() -> None:
    looks = [(0, 100, 110)]
    assert fills(market_of(looks), order(limit=150), range(9)) == [(1, 110)]
    assert fills(market_of(looks), order(Side.SELL, 50), range(9)) == [(1, 100)]
    assert fills(market_of(looks), order(Side.SELL, None, MARKET), range(9)) == [(1, 100)]


def test_a_resting_limit_fills_at_its_limit_and_only_once_the_market_comes_to_it() -> None:
    looks = [(0, 100, 110), (5, 95, 106), (10, 90, 100)]
    assert fills(market_of(looks), order(limit=105), range(20)) == [(10, 105)]
    assert fills(market_of(looks[:2]), order(limit=105), range(20)) == []


@pytest.mark.parametrize(
    ("look", "why"), [((0, 0, 110), "no bid"), ((0, -1, 110), "one-sided"), ((0, 110, 110), "locked"),
                      ((0, 115, 110), "crossed"), ((0, 100, -1), "no ask")]
)  # fmt: skip
@pytest.mark.parametrize("side", Side)
def test_nothing_fills_on_a_quote_that_is_not_whole(look: Look, why: str, side: Side) -> None:
    del why
    assert fills(market_of([look]), order(side, None, MARKET), range(9)) == []


def test_a_gap_longer_than_the_limit_of_age_fills_nothing_until_the_next_quote() -> None:
    looks = [(0, 100, 110), (60, 120, 130)]
    sent_in_the_gap = fills(market_of(looks), order(limit=None, kind=MARKET), range(11, 90))
    assert sent_in_the_gap == [(60, 130)]
    assert fills(market_of(looks, stale_ms=60_000), order(limit=None, kind=MARKET), range(11, 90)) == [(12, 110)]


def test_a_limit_order_that_came_in_a_gap_rests_and_so_fills_at_its_limit_not_at_a_kinder_touch() -> None:
    looks = [(0, 100, 110), (60, 90, 100)]
    assert fills(market_of(looks), order(limit=110), range(11, 90)) == [(60, 110)]
    assert fills(market_of(looks), order(Side.SELL, 80), range(11, 90)) == [(60, 80)]
    assert fills(market_of(looks), order(limit=110), range(60, 90)) == [(61, 100)]  # it came to a fresh quote


def test_an_order_before_any_price_of_the_underlying_is_rejected_not_a_crash() -> None:
    market = market_of([(0, 100, 110)], prices=[(60, 600_000)])
    assert fills(market, order(Side.SELL, None, MARKET), range(59)) == []
    assert fills(market_of([(0, 100, 110)]), order(Side.SELL, None, MARKET), range(9)) == [(1, 100)]


def test_no_more_fills_than_the_quote_shows() -> None:
    looks = [(0, 100, 110)]
    assert len(fills(market_of(looks, size=2), order(qty=5), range(5))) == 1
    assert fills(market_of(looks, size=0), order(), range(5)) == []


def test_an_order_fills_no_earlier_than_its_latency() -> None:
    looks = [(n, 100, 110) for n in range(30)]
    assert fills(market_of(looks), order(), range(20), FillModel(latency_ms=4_500)) == [(5, 110)]


def test_a_crossing_share_above_one_pays_more_on_each_leg_and_a_limit_at_the_touch_waits_for_the_market() -> None:
    looks, model = [(0, 100, 120)], FillModel(crossing=1.5)
    assert fills(market_of(looks), order(limit=200), range(5), model) == [(1, 125)]
    assert fills(market_of(looks), order(Side.SELL, None, MARKET), range(5), model) == [(1, 95)]
    assert fills(market_of(looks), order(limit=120), range(5), model) == []
    nearer = [*looks, (3, 95, 115)]
    assert fills(market_of(nearer), order(limit=120), range(5), model) == [(3, 120)]
    assert fills(market_of(looks), order(limit=120), range(5), FillModel()) == [(1, 120)]


def combination(side: Side = Side.BUY, limit: int = 50, qty: int = 1, ratio: int = 1) -> Order:
    """Return an order for a call bought and so many puts sold, as one."""
    legs = (Leg(CALL.con_id, 1, Side.BUY), Leg(PUT.con_id, ratio, Side.SELL))
    return replace(order(side, limit, qty=qty), con_id=0, legs=legs)


def filled_legs(market: RecordedMarket, sent: Order, model: FillModel | None = None) -> list[tuple[int, int, int]]:
    """Return (contract, price, quantity) of the legs' fills of a combination within five seconds."""
    exchange = BacktestExchange(market, Cents(10**9), model or FillModel())
    market.step(at(0))
    events = exchange.place(sent, at(0))
    for second in range(1, 5):
        market.step(at(second))
        events += exchange.step(at(second))
    found = [event for event in events if isinstance(event, Execution)]
    return [(one.order.con_id, one.price_ticks, one.qty) for one in found if one.order.con_id]


CALLS, PUTS = [(0, 100, 110)], [(0, 60, 70)]


def test_a_combination_fills_each_leg_at_its_own_touch_within_its_limit() -> None:
    bought = [(CALL.con_id, 110, 1), (PUT.con_id, 60, 1)]
    assert filled_legs(market_of(CALLS, PUTS), combination(limit=50)) == bought
    assert filled_legs(market_of(CALLS, PUTS), combination(limit=45)) == []
    assert filled_legs(market_of(CALLS, PUTS), combination(Side.SELL, 30)) == [
        (CALL.con_id, 100, 1), (PUT.con_id, 70, 1)
    ]  # fmt: skip


@pytest.mark.parametrize("other", [(0, 0, 70), (0, -1, 70), (0, 70, 70), (0, 75, 70), (0, 60, -1)])
def test_a_combination_fills_only_where_the_quote_of_every_leg_is_whole(other: Look) -> None:
    assert filled_legs(market_of(CALLS, [other]), combination(limit=200)) == []
    assert filled_legs(market_of([other], CALLS), combination(limit=200)) == []


def test_a_combination_fills_only_while_the_quote_of_every_leg_stands() -> None:
    stale = [(-20, 60, 70)]
    assert filled_legs(market_of(CALLS, stale), combination(limit=200)) == []
    assert filled_legs(market_of(stale, CALLS), combination(limit=200)) == []


def test_a_combination_takes_no_more_than_every_leg_shows_and_that_once() -> None:
    wanted = combination(qty=5)
    assert filled_legs(market_of(CALLS, PUTS, size=2), wanted) == [(CALL.con_id, 110, 2), (PUT.con_id, 60, 2)]
    of_two_puts = combination(limit=200, qty=5, ratio=2)
    assert filled_legs(market_of(CALLS, PUTS, size=3), of_two_puts) == [(CALL.con_id, 110, 1), (PUT.con_id, 60, 2)]


def test_what_a_single_order_took_is_not_shown_to_a_combination() -> None:
    market = market_of(CALLS, PUTS, size=1)
    exchange = BacktestExchange(market, Cents(10**9), FillModel(latency_ms=0))
    market.step(at(1))
    assert any(isinstance(event, Execution) for event in exchange.place(order(), at(1)))
    assert not any(isinstance(event, Execution) for event in exchange.place(replace(combination(), order_id=2), at(1)))


def test_a_crossing_share_above_one_has_each_leg_of_a_combination_pay_more_within_its_limit() -> None:
    model = FillModel(crossing=2.0)
    assert filled_legs(market_of(CALLS, PUTS), combination(limit=60), model) == [
        (CALL.con_id, 115, 1), (PUT.con_id, 55, 1)
    ]  # fmt: skip
    assert filled_legs(market_of(CALLS, PUTS), combination(limit=55), model) == []


def test_a_combination_before_any_price_of_the_underlying_is_rejected_not_a_crash() -> None:
    assert filled_legs(market_of(CALLS, PUTS, prices=[(60, 600_000)]), combination(Side.SELL, 30)) == []


@pytest.mark.parametrize("given", [{"crossing": 0.9}, {"crossing": float("nan")}, {"stale_ms": 0}, {"latency_ms": -1}])
def test_a_model_that_would_fill_better_than_the_touch_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"give 1 to 10|0 ms"):
        FillModel(**given)


QUOTES = st.lists(st.tuples(st.integers(-1, 40), st.integers(-1, 40)), min_size=1, max_size=12)


@given(
    quotes=QUOTES, side=st.sampled_from(Side), limit=st.none() | st.integers(1, 50), share=st.floats(1, 3),
    latency_ms=st.integers(0, 3_000),
)  # fmt: skip
def test_no_fill_is_ever_better_than_the_touch_of_its_second(
    quotes: list[tuple[int, int]], side: Side, limit: int | None, share: float, latency_ms: int
) -> None:
    looks = [(4 * n, 5 * bid if bid > 0 else bid, 5 * ask if ask > 0 else ask) for n, (bid, ask) in enumerate(quotes)]
    market = market_of(looks)
    sent = order(side, None if limit is None else 5 * limit, MARKET if limit is None else LIMIT)
    model = FillModel(crossing=share, latency_ms=latency_ms)
    for second, price in fills(market, sent, range(60), model):
        _, bid, ask = [look for look in looks if look[0] <= second][-1]
        assert 0 < bid < ask
        assert price >= ask if side is Side.BUY else price <= bid
        if limit is not None:
            assert price <= 5 * limit if side is Side.BUY else price >= 5 * limit
