"""What a position makes of its market: a quote that cannot be traded on is no quote, and a halt bars the market."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.instants import SECOND
from domain.instruments import DataType, OrderType, Quote, Spot
from domain.orders.tiers import Tier
from domain.position.cycle import ExitReason, PositionState
from domain.risk.reject import RejectCode
from messages import broker, market, orders, positions
from tests.testkit.position_history import EXIT_1, EXIT_2, History, held_position, tape


def bad_quote(history: History, kind: str) -> None:
    """A quote far below the stop that comes every second and can never be traded on."""
    now = history.now
    bid, ask, at_utc, data_type = 100, 110, now, DataType.LIVE
    match kind:
        case "stale":
            at_utc = now - 6 * SECOND
        case "crossed":
            bid, ask = 110, 100
        case "delayed":
            data_type = DataType.DELAYED
        case "frozen":
            data_type = DataType.FROZEN
        case "no bid":
            bid = 0
    quote = Quote(
        812, None if kind == "bid missing" else bid, None if kind == "ask missing" else ask, 10, 10, at_utc, data_type
    )
    history.feed(market.QuoteChanged(con_id=812, quote=quote, spot=Spot("SPX", 600_000, now)))


KINDS = ["stale", "crossed", "delayed", "frozen", "no bid", "bid missing", "ask missing"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_quote_that_cannot_be_traded_on_stops_nothing_and_the_blind_clock_runs(kind: str) -> None:
    history = History()
    history.hold(1)
    for _ in range(19):
        history.wait(1000)
        bad_quote(history, kind)
        assert history.cycle() is PositionState.OPEN
    assert history.all(market.RequestQuote, "quotes")
    history.wait(1000)
    bad_quote(history, kind)
    assert history.wanted_reason is ExitReason.BLIND
    assert history.last_order.limit_ticks == 440  # the last good bid less 10 %


@pytest.mark.parametrize("kind", KINDS)
def test_no_take_is_taken_on_a_quote_that_cannot_be_traded_on(kind: str) -> None:
    history = History()
    history.hold(1, 10)
    history.wait(1000)
    bad_quote(history, kind)
    assert history.cycle() is PositionState.OPEN


@pytest.mark.parametrize("data_type", [DataType.FROZEN, DataType.DELAYED, DataType.UNKNOWN])
def test_an_underlying_that_is_not_live_stops_nothing(data_type: DataType) -> None:
    history = History()
    history.hold(1)
    history.wait(1000)
    quote = Quote(812, 495, 505, 10, 10, history.now)
    history.feed(market.QuoteChanged(con_id=812, quote=quote, spot=Spot("SPX", 590_000, history.now, data_type)))
    assert history.cycle() is PositionState.OPEN


@pytest.mark.parametrize(("age_s", "reason"), [(15, ExitReason.UNDERLYING_STOP), (16, None)])
def test_a_stale_underlying_stops_nothing(age_s: int, reason: ExitReason | None) -> None:
    history = History()
    history.hold(1)
    for _ in range(20):
        history.wait(1000)
        history.quote(495, 505)
    quote = Quote(812, 495, 505, 10, 10, history.now)
    history.state.watch = type(history.state.watch)(history.now)
    spot = Spot("SPX", 590_000, history.now - age_s * SECOND)
    history.feed(market.QuoteChanged(con_id=812, quote=quote, spot=spot))
    assert history.wanted_reason is reason


def test_an_underlying_gone_dark_makes_a_blind_exit_one_at_the_market() -> None:
    history = History()
    history.hold(1)
    for _ in range(21):
        history.wait(1000)
        spot = Spot("SPX", 600_000, history.now, DataType.FROZEN)
        history.feed(market.QuoteChanged(con_id=812, quote=history.state.watch.quote, spot=spot))
    assert history.wanted_reason is ExitReason.BLIND
    assert history.last_order.order_type is OrderType.MARKET


def test_a_backward_step_of_the_quotes_clock_drops_no_quote() -> None:
    """Both clocks step back by 40 s; the stops go on at once."""
    history = History()
    history.hold(1)
    history.quote(495, 505)
    history.timers.clear()
    history.now -= 40 * SECOND
    history.quote(320, 325)
    history.now += SECOND // 4
    history.quote(320, 325)
    assert history.wanted_reason is ExitReason.PREMIUM_STOP


def test_after_a_backward_step_the_blind_clock_counts_from_now() -> None:
    history = History()
    history.hold(1)
    history.timers.clear()
    history.now -= 40 * SECOND
    history.quote(495, 505)
    assert history.state.watch.seen_utc == history.now


def test_a_quote_that_was_overtaken_on_its_way_changes_nothing() -> None:
    history = History()
    history.hold(1)
    history.wait(1000)
    history.quote(495, 505)
    old = Quote(812, 100, 110, 10, 10, history.now - SECOND // 2)
    history.feed(market.QuoteChanged(con_id=812, quote=old, spot=None))
    assert history.state.watch.quote is not None
    assert history.state.watch.quote.bid_ticks == 495


def test_the_spot_of_the_entry_is_one_that_was_seen_lately() -> None:
    history = History()
    history.open(qty=1)
    history.ack()
    history.quote(495, 505, spot=600_500)
    history.wait(7000)
    assert history.state.watch.spot is not None
    history.state.watch = history.state.watch.__class__(
        history.now, spot=Spot("SPX", 600_500, history.now - 16 * SECOND)
    )
    history.fill(1, 500)
    assert history.state.entry_spot_ticks == 600_000  # what the gates saw


def test_a_position_that_comes_back_takes_no_stale_spot_for_that_of_its_entry() -> None:
    history = History()
    history.restart(held_position())
    history.state.entry_spot_ticks = None
    stale = Spot("SPX", 610_000, history.now - 16 * SECOND)
    history.feed(market.QuoteChanged(con_id=812, quote=Quote(812, 495, 505, 1, 1, history.now), spot=stale))
    assert history.state.entry_spot_ticks is None
    history.quote(495, 505)
    assert history.state.entry_spot_ticks == 600_000


# -- halts -----------------------------------------------------------------------------------------


def halt(history: History, is_halted: bool = True, ticker: str = "SPX") -> None:
    history.feed(market.HaltChanged(ticker=ticker, is_halted=is_halted, at_utc=history.now))


def test_a_halt_takes_an_exit_at_the_market_back_to_a_limit_until_the_first_quote_after_it() -> None:
    history = History()
    history.hold(2)
    history.feed(positions.FlattenPosition(reason=ExitReason.KILL))
    history.run_to_exit()
    halt(history)
    assert (history.last_change.order_type, history.last_change.limit_ticks) == (OrderType.LIMIT, 440)
    history.wait(5000)
    halt(history, is_halted=False)
    history.quote(505, 495)  # crossed
    assert len(history.all(orders.ModifyOrder)) == 1
    history.quote(400, 420)
    assert [m.change.order_type for m in history.all(orders.ModifyOrder)] == [OrderType.LIMIT, OrderType.MARKET]
    assert {m.change.order_ref for m in history.all(orders.ModifyOrder)} == {EXIT_1}


def test_nothing_goes_to_the_market_during_a_halt() -> None:
    history = History()
    history.hold(2)
    halt(history)
    history.feed(positions.FlattenPosition(reason=ExitReason.EOD))
    assert (history.last_order.order_type, history.last_order.limit_ticks) == (OrderType.LIMIT, 440)
    history.run_to_exit()
    for _ in range(20):
        history.wait(1000)
        if history.state.orders.exit is not None and history.state.orders.exit.tier is Tier.NONE:
            history.found(EXIT_1, working=True, filled=0, order_type=OrderType.LIMIT, limit=440)
    assert all(m.change.order_type is OrderType.LIMIT for m in history.all(orders.ModifyOrder))


def test_an_end_of_day_after_a_resume_waits_no_longer_than_the_blind_rule_for_a_quote() -> None:
    history = History()
    history.hold(2)
    halt(history)
    history.feed(positions.FlattenPosition(reason=ExitReason.EOD))
    history.run_to_exit()
    halt(history, is_halted=False)
    history.wait(4000)
    assert history.all(orders.ModifyOrder) == []
    for _ in range(5):
        history.wait(5000)
        history.found(EXIT_1, working=True, filled=0, order_type=OrderType.LIMIT, limit=440)
    assert history.last_change.order_type is OrderType.MARKET


def test_that_it_trades_again_told_after_a_crash_ends_a_halt_and_lifts_no_refusal_of_the_broker() -> None:
    history = History()
    history.hold()
    trades = market.HaltChanged(ticker="SPX", is_halted=False, at_utc=history.now, is_told_again=True)
    history.state.no_market_until_utc = history.now + SECOND
    history.feed(trades)
    assert history.state.no_market_until_utc > history.now
    halt(history)
    history.feed(replace(trades, at_utc=history.now))
    assert not history.state.is_halted
    assert history.state.resumed_utc == history.now


def test_a_halt_of_another_underlying_is_none_of_ours() -> None:
    history = History()
    history.hold(2)
    halt(history, ticker="QQQ")
    history.feed(positions.FlattenPosition(reason=ExitReason.EOD))
    assert history.last_order.order_type is OrderType.MARKET


def test_a_market_order_denied_for_a_halt_that_nobody_told_goes_as_a_limit() -> None:
    history = History()
    history.hold(2)
    history.feed(positions.FlattenPosition(reason=ExitReason.EOD))
    history.feed(broker.OrderDenied(order_ref=EXIT_1, code=RejectCode.EXIT_HALTED, why="halted"))
    history.wait(2000)
    assert (history.last_order.order_ref, history.last_order.order_type) == (EXIT_2, OrderType.LIMIT)


def test_no_entry_starts_during_a_halt() -> None:
    history = History()
    history.hold(1)
    history.feed(positions.FlattenPosition(reason=ExitReason.KILL))
    history.run_to_exit()
    history.fill(1, 490, EXIT_1)
    history.broker(0)
    history.wait(300)
    halt(history)
    sent = len(history.all(orders.SubmitOrder))
    assert history.cycle() is PositionState.FLAT
    history.ref = history.ref.__class__(
        position_id="ZH-paper-BBBBBBBBBBBB", intent_id="intent-2", key=history.ref.key, strategy="gexwatch",
        direction=1, contract=history.ref.contract,
    )  # fmt: skip
    history.open()
    assert len(history.all(orders.SubmitOrder)) == sent


# -- severity --------------------------------------------------------------------------------------


def test_a_stop_in_the_middle_of_a_part_taken_takes_everything() -> None:
    history = History()
    history.hold(4)
    tape(history, [(745, 755)])
    history.run_to_exit()
    assert history.last_order.qty == 2
    tape(history, [(320, 325), (320, 325)])
    assert history.wanted_reason is ExitReason.PREMIUM_STOP
    assert (history.last_change.order_ref, history.last_change.qty) == (EXIT_1, 4)
