"""The ports of a backtest pass over seconds in which nothing can happen: what they tell, and when, is the same."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instants import MINUTE, MS, SECOND
from domain.instruments import OrderType, Side
from domain.orders.request import OrderRequest
from domain.units import Cents, Qty, Ticks, Utc
from messages import broker, market
from messages.base import Message
from simulation.backtest.exchange import BacktestExchange
from simulation.backtest.market import RecordedMarket
from simulation.backtest.model import FillModel
from simulation.backtest.ports import RecordedBroker, RecordedQuotes
from simulation.backtest.recorded import RecordedDay
from tests.testkit.recorded_days import CALL, OPEN, PUT, SESSION, Look, at, column, hours

ORDERS, QUOTES = "ibkr:paper", "quotes:paper"
Said = tuple[Utc, str, Message]
Step = tuple[int, str, Message]  # ms after the open, to whose port, what


class FakeRuntime:
    """Virtual time, and a record of what was told when."""

    def __init__(self) -> None:
        self.clock = self
        self.now = OPEN
        self.latched = None
        self.latched_groups: dict[str, str] = {}
        self.told: list[Said] = []
        self.acts = 0
        self._later: list[tuple[Utc, int, Callable[[], None]]] = []

    def now_utc(self) -> Utc:
        return self.now

    def call_at(self, at_utc: Utc, act: Callable[[], None], rank: int = 9) -> None:
        self.acts += 1
        heapq.heappush(self._later, (at_utc, (rank << 40) + self.acts, act))

    def call_first_at(self, at_utc: Utc, rank: int, act: Callable[[], None]) -> None:
        self.call_at(at_utc, act, rank)

    def post(self, to: str, message: Message, sender: str) -> None:
        assert sender == f"port:{to}"
        self.told.append((self.now, to, message))

    def run_until(self, until_utc: Utc) -> None:
        while self._later and self._later[0][0] <= until_utc:
            self.now, _, act = heapq.heappop(self._later)
            act()


class DenseBroker(RecordedBroker):
    is_dense = True


class DenseQuotes(RecordedQuotes):
    is_dense = True


def told(
    kinds: tuple[type[RecordedBroker], type[RecordedQuotes]], day: RecordedDay, steps: Iterable[Step], until_utc: Utc
) -> tuple[list[Said], int]:
    """Return what both ports told while commands came, and how often they acted."""
    runtime: Any = FakeRuntime()
    shown = RecordedMarket(day, hours(), 10_000)
    exchange = BacktestExchange(shown, Cents(100_000_000), FillModel())
    orders, quotes = kinds[0](ORDERS, runtime, shown, exchange), kinds[1](QUOTES, runtime, shown, day)
    for port in (orders, quotes):
        port.post(broker.Dial(session_epoch=1, gateway_n=0))
    for after_ms, to, command in steps:
        posted: Any = orders if to == ORDERS else quotes
        runtime.call_at(Utc(OPEN + after_ms * MS), lambda posted=posted, command=command: posted.post(command))
    runtime.run_until(until_utc)
    return runtime.told, runtime.acts


def entry(ref: int, side: Side, limit: int, life_ms: int) -> Message:
    """Return a command to buy or sell a call, good for so long."""
    order = OrderRequest(
        order_ref=f"ZH-paper-{ref}", contract=CALL, side=side, qty=Qty(1), order_type=OrderType.LIMIT,
        limit_ticks=Ticks(limit), is_exit=True, deadline_utc=Utc(OPEN + MINUTE * 60),
        good_till_utc=Utc(OPEN + life_ms * MS),
    )  # fmt: skip
    return broker.PlaceOrder(order=order, session_epoch=1, kill_epoch=0)


looks = st.lists(st.tuples(st.integers(0, 100), st.integers(90, 100), st.integers(100, 110)), max_size=20).map(
    lambda rows: sorted({s: (s, bid, ask) for s, bid, ask in rows}.values())
)
commands = st.one_of(
    st.tuples(st.just(QUOTES), st.sampled_from([
        market.Subscribe(session_epoch=1, contracts=(CALL, PUT), tickers=("SPX",)),
        market.Unsubscribe(session_epoch=1, con_ids=(8,)), market.WatchClosely(session_epoch=1, con_ids=(7,)),
        market.WatchClosely(session_epoch=1, con_ids=(7, 8)), market.WatchClosely(session_epoch=1, con_ids=()),
    ])),
    st.tuples(st.just(ORDERS), st.builds(
        entry, st.integers(1, 4), st.sampled_from(Side), st.integers(90, 110), st.integers(1, 120_000)
    )),
    st.tuples(st.just(ORDERS), st.just(broker.CancelEverything(session_epoch=1))),
)  # fmt: skip
steps = st.lists(st.tuples(st.integers(10, 100_000), commands), max_size=12).map(
    lambda found: [(after_ms, *what) for after_ms, what in sorted(found, key=lambda one: one[0])]
)


@settings(max_examples=150, deadline=None)
@given(calls=looks, puts=looks, priced=st.lists(st.integers(0, 100), max_size=9), steps=steps)
def test_seconds_passed_over_change_nothing_that_is_told(
    calls: list[Look], puts: list[Look], priced: list[int], steps: list[Step]
) -> None:
    prices = sorted({0, *priced})
    spots = {"SPX": ([at(s) for s in prices], [600_000 + s for s in prices])}
    day = RecordedDay(SESSION, (CALL, PUT), {7: column(calls), 8: column(puts)}, spots)
    until_utc = Utc(OPEN + 2 * MINUTE)
    planned, _ = told((RecordedBroker, RecordedQuotes), day, steps, until_utc)
    dense, _ = told((DenseBroker, DenseQuotes), day, steps, until_utc)
    assert planned == dense


def test_a_quiet_session_settles_at_its_close_after_few_steps() -> None:
    day = RecordedDay(SESSION, (CALL, PUT), {7: column([(0, 100, 110)]), 8: column([])}, {"SPX": ([at(0)], [610_000])})
    bought = (1_000, ORDERS, entry(1, Side.BUY, 110, 60_000))
    end_utc = Utc(hours().close_utc + MINUTE)
    planned, acts = told((RecordedBroker, RecordedQuotes), day, [bought], end_utc)
    dense, acts_of_all = told((DenseBroker, DenseQuotes), day, [bought], end_utc)
    assert planned == dense
    settled = [now for now, _, message in planned if isinstance(message, broker.PositionReported) and not message.qty]
    assert settled == [hours().close_utc]
    assert acts < acts_of_all / 20
    assert (hours().close_utc - OPEN) / SECOND < acts_of_all
