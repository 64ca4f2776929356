"""A real recorded day: whatever is sent at any minute of it, a quote with a gap or without a bid fills nothing."""

from __future__ import annotations

from bisect import bisect_right
from datetime import date
from pathlib import Path

from commands.cli import main
from domain.instants import MINUTE, SECOND
from domain.instruments import OrderType, Side
from domain.session import calendar
from domain.units import Cents, Qty, Utc
from simulation.backtest.exchange import BacktestExchange
from simulation.backtest.market import RecordedMarket
from simulation.backtest.model import FillModel
from simulation.backtest.recorded import load
from simulation.broker.events import Execution
from simulation.broker.orders import Order
from tests.testkit.paths import LEAN, needs_recorded_day

DAY = date(2021, 1, 4)
STALE_NS = 60 * SECOND


@needs_recorded_day
def test_an_order_at_any_minute_fills_only_on_a_whole_quote_of_the_last_minute(tmp_path: Path) -> None:
    assert main(["--data", str(tmp_path), "import", *map(str, sorted(LEAN.glob("*.zip")))]) == 0
    recorded, hours = load(tmp_path / "series", DAY), calendar.day(DAY)
    assert hours is not None
    market = RecordedMarket(recorded, hours, STALE_NS // 1_000_000)
    exchange = BacktestExchange(market, Cents(10**10), FillModel(latency_ms=0, stale_ms=STALE_NS // 1_000_000))
    seen = {True: 0, False: 0}
    for n, now in enumerate(range(hours.open_utc + 90 * SECOND, hours.close_utc, MINUTE)):
        market.step(Utc(now))
        for con_id, column in recorded.columns.items():
            at = bisect_right(column.at_utc, now) - 1
            bid, ask = column.bid[at], column.ask[at]
            side = Side.BUY if n % 2 else Side.SELL
            size = column.ask_size[at] if side is Side.BUY else column.bid_size[at]
            is_whole = at >= 0 and now - column.at_utc[at] <= STALE_NS and 0 < bid < ask and size > 0
            order = Order(
                con_id=con_id, side=side, qty=Qty(1), type=OrderType.MARKET, client_id=1,
                order_id=exchange.next_order_id(1),
            )  # fmt: skip
            fills = [event for event in exchange.place(order, Utc(now)) if isinstance(event, Execution)]
            assert [fill.price_ticks for fill in fills] == ([ask if side is Side.BUY else bid] if is_whole else [])
            seen[is_whole] += 1
        exchange.cancel_all(Utc(now))
    assert min(seen.values()) > 50
