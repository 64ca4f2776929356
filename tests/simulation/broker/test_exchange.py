"""The exchange against hand-set quotes: matching, states, refusals, fees, settlement."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instants import SECOND
from domain.instruments import OrderType, Side
from simulation.broker.events import Commission, ExchangeEvent, Execution, OrderError, PositionChange
from simulation.broker.exchange import Exchange
from simulation.broker.fees import commission_cents
from simulation.broker.orders import LIFE, TERMINAL, IBStatus, Order, OrderState, OrderStep, TimeInForce
from simulation.broker.portfolio import Portfolio
from tests.testkit.gateway_world import CLOSE, NOON, OPEN, FakeMarket


class Bench:
    """An exchange without latency and short ways to use it."""

    def __init__(self, now_utc: int = NOON, latency_ms: int = 0, series: int = 1) -> None:
        self.market = FakeMarket(now_utc)
        self.exchange = Exchange(self.market, latency_ms=latency_ms, series=series)
        self.now = now_utc
        self.order_id = 0

    def order(self, side: Side, qty: int, price: int | None = None, **more: object) -> Order:
        """Build the next order on the call: a limit, or a market order without price."""
        self.order_id += 1
        kind = OrderType.MARKET if price is None else OrderType.LIMIT
        order = Order(self.market.call, side, qty, kind, 7, self.order_id, limit_ticks=price)
        return msgspec.structs.replace(order, **more)

    def place(self, side: Side, qty: int, price: int | None = None, **more: object) -> list[ExchangeEvent]:
        """Place the next order."""
        return self.exchange.place(self.order(side, qty, price, **more), self.now)

    def status(self, order_id: int | None = None) -> IBStatus:
        """Return the status of an order, the last one if none is named."""
        state = self.exchange.state(7, order_id or self.order_id)
        assert state is not None
        return state.status

    def at(self, instant_utc: int) -> list[ExchangeEvent]:
        """Go on to an instant."""
        self.now = instant_utc
        self.market.step(instant_utc)
        return self.exchange.step(instant_utc)


def prices(events: list[ExchangeEvent]) -> list[tuple[int, int]]:
    """Return (quantity, price) of the executions."""
    return [(e.qty, e.price_ticks) for e in events if isinstance(e, Execution)]


def code(events: list[ExchangeEvent]) -> int:
    """Return the one error code."""
    (error,) = (e for e in events if isinstance(e, OrderError))
    return error.code


def test_buy_limit_at_the_ask_fills_at_the_ask_after_the_latency() -> None:
    bench = Bench(latency_ms=20)
    assert [type(e) for e in bench.place(Side.BUY, 1, 520)] == [OrderState]
    assert bench.at(NOON + 19_000_000) == []
    events = bench.at(NOON + 20_000_000)
    assert [type(e) for e in events] == [Execution, OrderState, Commission, PositionChange]
    assert prices(events) == [(1, 510)]
    assert bench.status() is IBStatus.FILLED


def test_resting_limit_fills_at_its_own_price_when_the_market_comes_to_it() -> None:
    bench = Bench()
    bench.place(Side.BUY, 1, 480)
    bench.market.set(bench.market.call, 470, 490)
    assert prices(bench.at(NOON + SECOND)) == []
    bench.market.set(bench.market.call, 440, 450)
    assert prices(bench.at(NOON + 2 * SECOND)) == [(1, 480)]


def test_market_orders_take_the_touch_and_wait_without_one() -> None:
    bench = Bench()
    assert prices(bench.place(Side.BUY, 1)) == [(1, 510)]
    bench.market.set(bench.market.call, 0, 10)
    assert prices(bench.place(Side.SELL, 1)) == []
    bench.market.set(bench.market.call, 5, 10)
    assert prices(bench.at(NOON + SECOND)) == [(1, 5)]


def test_no_fill_without_a_quote() -> None:
    bench = Bench()
    del bench.market.quotes[bench.market.call]
    assert prices(bench.place(Side.BUY, 1, 510)) == []
    assert bench.status() is IBStatus.SUBMITTED


def test_displayed_size_fills_once_a_quote() -> None:
    bench = Bench()
    bench.market.set(bench.market.call, 500, 510, size=3)
    assert prices(bench.place(Side.BUY, 5, 510)) == [(3, 510)]
    assert prices(bench.at(NOON + SECOND)) == []
    bench.market.set(bench.market.call, 500, 510, size=3)
    assert prices(bench.at(NOON + 2 * SECOND)) == [(2, 510)]
    state = bench.exchange.state(7, 1)
    assert state is not None
    assert (state.filled_qty, state.average_ticks) == (5, 510.0)


def test_scripted_pieces_come_one_a_step() -> None:
    bench = Bench()
    order = bench.order(Side.BUY, 5, 510)
    got = prices(bench.exchange.place(order, NOON, pieces=(1, 2, 2)))
    for n in (1, 2):
        got += prices(bench.at(NOON + n * SECOND))
    assert got == [(1, 510), (2, 510), (2, 510)]


def test_immediate_or_cancel_drops_the_rest() -> None:
    bench = Bench()
    bench.market.set(bench.market.call, 500, 510, size=3)
    events = bench.place(Side.BUY, 5, 510, tif=TimeInForce.IOC)
    assert prices(events) == [(3, 510)]
    assert code(events) == 202
    assert bench.status() is IBStatus.CANCELLED


def test_good_till_date_ends_the_order() -> None:
    bench = Bench()
    bench.place(Side.BUY, 1, 480, tif=TimeInForce.GTD, good_till_utc=NOON + SECOND)
    assert bench.at(NOON + SECOND - 1) == []
    assert code(bench.at(NOON + SECOND)) == 202


def test_stop_triggers_at_the_touch_and_then_is_a_market_order() -> None:
    bench = Bench()
    bench.place(Side.BUY, 1)
    bench.place(Side.SELL, 1, type=OrderType.STOP, stop_ticks=400)
    assert bench.status() is IBStatus.PRE_SUBMITTED
    bench.market.set(bench.market.call, 410, 420)
    assert bench.at(NOON + SECOND) == []
    bench.market.set(bench.market.call, 400, 410)
    assert prices(bench.at(NOON + 2 * SECOND)) == [(1, 400)]


def test_before_the_open_a_limit_waits_and_a_market_order_is_refused() -> None:
    bench = Bench(OPEN - SECOND)
    bench.place(Side.BUY, 1, 510)
    assert bench.status() is IBStatus.PRE_SUBMITTED
    assert code(bench.place(Side.BUY, 1)) == 201
    assert bench.status() is IBStatus.INACTIVE
    states = [e.status for e in bench.at(OPEN) if isinstance(e, OrderState)]
    assert states == [IBStatus.SUBMITTED, IBStatus.FILLED]


def test_after_the_close_an_expired_contract_is_refused() -> None:
    bench = Bench(CLOSE)
    assert code(bench.place(Side.BUY, 1, 510)) == 201


@pytest.mark.parametrize(
    ("price", "is_on_the_grid"),
    [(295, True), (297, False), (300, True), (305, False), (310, True)],
)
def test_tick_rule_of_the_class_is_enforced(price: int, is_on_the_grid: bool) -> None:
    bench = Bench()
    events = bench.place(Side.BUY, 1, price)
    if is_on_the_grid:
        assert bench.status() is IBStatus.SUBMITTED
    else:
        assert code(events) == 110
        assert bench.exchange.state(7, 1) is None


def test_refusals_by_code() -> None:
    bench = Bench()
    assert code(bench.place(Side.BUY, 1, 510, con_id=999)) == 200
    assert code(bench.place(Side.BUY, 0, 510)) == 321
    bench.place(Side.BUY, 1, 480)
    assert code(bench.exchange.place(bench.order(Side.BUY, 1, 480, order_id=3), NOON)) == 103
    assert code(bench.place(Side.BUY, 1_000, 510)) == 201
    assert code(bench.place(Side.SELL, 1, 500)) == 201  # a short of 120,000 USD margin


def test_second_exit_of_the_same_position_counts_as_a_short() -> None:
    bench = Bench()
    bench.place(Side.BUY, 1)
    bench.place(Side.SELL, 1, 600)
    assert bench.status() is IBStatus.SUBMITTED
    assert code(bench.place(Side.SELL, 1, 600)) == 201


def test_modify_changes_price_and_type_and_is_refused_on_a_done_order() -> None:
    bench = Bench()
    bench.place(Side.BUY, 2, 480)
    order = bench.exchange.open_orders()[0].order
    change = msgspec.structs.replace
    bench.exchange.modify(change(order, limit_ticks=490), NOON)
    assert bench.exchange.open_orders()[0].order.limit_ticks == 490
    assert code(bench.exchange.modify(change(order, limit_ticks=493), NOON)) == 110
    assert code(bench.exchange.modify(change(order, side=Side.SELL), NOON)) == 105
    market = change(order, type=OrderType.MARKET, limit_ticks=None)
    assert prices(bench.exchange.modify(market, NOON)) == [(2, 510)]
    assert code(bench.exchange.modify(market, NOON)) == 104
    assert bench.exchange.executions()[0][0].order.perm_id == order.perm_id


def test_a_limit_changed_into_a_stop_waits_for_its_trigger() -> None:
    bench = Bench()
    bench.place(Side.BUY, 1)
    bench.place(Side.SELL, 1, 600)
    order = bench.exchange.open_orders()[0].order
    stop = msgspec.structs.replace(order, type=OrderType.STOP, limit_ticks=None, stop_ticks=400)
    states = [e.status for e in bench.exchange.modify(stop, NOON) if isinstance(e, OrderState)]
    assert states == [IBStatus.PRE_SUBMITTED]
    bench.market.set(bench.market.call, 390, 400)
    states = [e.status for e in bench.at(NOON + SECOND) if isinstance(e, OrderState)]
    assert states == [IBStatus.SUBMITTED, IBStatus.FILLED]


def test_a_change_is_acknowledged_before_it_fills() -> None:
    bench = Bench()
    bench.place(Side.BUY, 1, 480)
    order = bench.exchange.open_orders()[0].order
    events = bench.exchange.modify(msgspec.structs.replace(order, limit_ticks=510), NOON)
    assert [e.status for e in events if isinstance(e, OrderState)] == ["Submitted", "Filled"]


def test_cancel_by_state() -> None:
    bench = Bench()
    assert code(bench.exchange.cancel(7, 1, NOON)) == 10147
    bench.place(Side.BUY, 1, 480)
    events = bench.exchange.cancel(7, 1, NOON)
    assert [type(e) for e in events] == [OrderState, OrderError]
    assert code(events) == 202
    bench.place(Side.BUY, 1)
    (error,) = bench.exchange.cancel(7, 2, NOON)
    assert isinstance(error, OrderError)
    assert (error.code, error.text[-7:]) == (10148, "Filled.")


def test_expired_positions_settle_in_cash_at_the_close_and_orders_end() -> None:
    bench = Bench()
    bench.place(Side.BUY, 1)
    bench.place(Side.BUY, 1, con_id=bench.market.put)
    bench.place(Side.BUY, 1, 400)
    cash = bench.exchange.account_values()["TotalCashValue"]
    bench.market.settlements["SPX"] = 600_750
    events = bench.at(CLOSE)
    paid = [e.settled_cents for e in events if isinstance(e, PositionChange)]
    assert paid == [750 * 100, 0]
    assert not bench.exchange.positions()
    assert not bench.exchange.open_orders()
    assert bench.exchange.account_values()["TotalCashValue"] == cash + 75_000
    assert bench.at(CLOSE + SECOND) == []


def test_execution_and_permanent_ids_are_unique_and_differ_between_series() -> None:
    seen: set[object] = set()
    for series in (1, 2):
        bench = Bench(series=series)
        for _ in range(3):
            for event in bench.place(Side.BUY, 1):
                if isinstance(event, Execution):
                    assert event.exec_id not in seen
                    assert event.order.perm_id not in seen
                    seen |= {event.exec_id, event.order.perm_id}
    assert len(seen) == 12


@pytest.mark.parametrize(
    ("qty", "premium", "usd"),
    [(1, 200, 1.0), (2, 500, 1.3), (3, 7, 1.5)],
)
def test_commission_follows_the_published_examples(qty: int, premium: int, usd: float) -> None:
    assert max(100, commission_cents(premium, qty)) == round(usd * 100)


def test_every_pair_of_state_and_step_is_a_transition_or_impossible() -> None:
    for status in TERMINAL:
        assert not [step for step in OrderStep if (status, step) in LIFE.transitions]
    reached = {IBStatus.PRE_SUBMITTED, *LIFE.transitions.values(), IBStatus.INACTIVE}
    assert reached == set(IBStatus)


@given(fills=st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 9), st.integers(1, 2_000)), max_size=20))
def test_cash_cost_and_realised_always_add_up(fills: list[tuple[Side, int, int]]) -> None:
    """Cash spent is what positions cost less what was realised, to the cent."""
    market = FakeMarket()
    contract = market.contract(market.call)
    assert contract is not None
    portfolio, fees = Portfolio(0), 0
    for side, qty, price in fills:
        portfolio.fill(contract, side, qty, price, 110 * qty)
        fees += 110 * qty
    cost = sum(p.cost_cents for p in portfolio.held())
    assert portfolio.cash_cents == portfolio.realised_cents - cost
    signed = sum(q if s is Side.BUY else -q for s, q, _ in fills)
    assert portfolio.position(contract.con_id).qty == signed
    traded = sum((q if s is Side.BUY else -q) * p * 100 for s, q, p in fills)
    assert portfolio.cash_cents == -traded - fees


@given(steps=st.lists(st.tuples(st.sampled_from([7, 8]), st.integers(1, 12), st.booleans()), max_size=20))
def test_the_next_order_id_is_above_all_that_a_client_has_used(steps: list[tuple[int, int, bool]]) -> None:
    bench, used = Bench(), {7: 0, 8: 0}
    for client_id, order_id, is_asked in steps:
        bench.place(Side.BUY, 1, 100, client_id=client_id, order_id=order_id)
        used[client_id] = max(used[client_id], order_id)
        if is_asked:
            assert bench.exchange.next_order_id(client_id) == used[client_id] + 1
    assert {client: bench.exchange.next_order_id(client) - 1 for client in used} == used
