"""The one exit order: recorded, sent, made harder by modification, replaced only when it is over."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.instruments import OrderType, Side, Spot
from domain.orders.tiers import Tier
from domain.position.cycle import EndReason, ExitKind, ExitReason, PositionState
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.units import Qty
from messages import broker, market, operator, orders, positions, risk, signals
from tests.testkit.position_history import (
    ENTRY,
    EXIT_1,
    EXIT_2,
    NAME,
    T0,
    History,
    held_position,
    order_fill,
    settings,
    tape,
)


def stopped(qty: int = 2) -> History:
    """A position whose premium stop has just been confirmed and sent."""
    history = History()
    history.hold(qty, 500)
    tape(history, [(320, 325), (320, 325)])
    return history


def test_premium_stop_needs_two_ticks_far_enough_apart() -> None:
    history = History()
    history.hold()
    tape(history, [(320, 325)])
    assert history.cycle() is PositionState.OPEN
    history.wait(199)
    history.quote(320, 325)
    assert history.cycle() is PositionState.OPEN
    history.wait(1)
    history.quote(320, 325)
    submit = history.last_order
    assert (submit.order_ref, submit.side, submit.qty) == (EXIT_1, Side.SELL, 2)
    assert history.last(orders.SubmitOrder).held_qty == 2
    assert (submit.order_type, submit.limit_ticks, submit.is_exit) == (OrderType.LIMIT, 320, True)
    assert history.cycle() is PositionState.PENDING_EXIT


def test_desk_with_a_long_name_exits_after_its_ninety_ninth_order_of_a_position_too() -> None:
    history = History()
    history.hold()
    history.state.ref = replace(history.ref, position_id="ZH-live_account-ABCDEFGHIJKL")
    history.state.exit_n = 99  # each was held back, as beside an order that somebody left in TWS: one every two seconds
    tape(history, [(320, 325), (320, 325)])
    assert history.last_order.order_ref == "ZH-live_account-ABCDEFGHIJKL-xa0"


def denied_again_and_again(history: History, ms: int) -> int:
    """Deny every exit for so long beside an order that somebody left, each followed by a read-back's word, 5 a second.

    Returns how many left the position.
    """
    before_n = history.state.exit_n
    for _ in range(ms // 200):
        exit_ = history.state.orders.exit
        if exit_ is not None:
            code = RejectCode.EXIT_OVERSELL
            history.feed(broker.OrderDenied(order_ref=exit_.ref, code=code, why="a stray", broker_qty=Qty(2)))
        history.wait(200)
        history.broker(2)
    return history.state.exit_n - before_n


def test_exit_that_is_held_back_for_long_uses_up_few_numbers_and_goes_at_once_when_the_holding_changes() -> None:
    history = History()
    history.hold(2)
    history.feed(positions.FlattenPosition(reason=ExitReason.KILL))
    assert denied_again_and_again(history, 20_000) >= 45  # at first each word of the broker's is an occasion
    assert denied_again_and_again(history, 60_000) <= 5
    before_n = history.state.exit_n
    history.broker(1)
    assert history.state.exit_n == before_n + 1


def test_tick_above_the_stop_breaks_the_run() -> None:
    history = History()
    history.hold()
    tape(history, [(320, 325), (330, 340), (320, 325)])
    assert history.cycle() is PositionState.OPEN


def test_happy_path_ends_flat_with_the_result_net_of_fees() -> None:
    history = stopped()
    history.run_to_exit()
    history.fill(2, 320, EXIT_1)
    history.ended(EXIT_1, 2)
    history.fee(130)
    history.fee(130, EXIT_1)
    history.broker(0)
    closed = history.last(positions.PositionClosed)
    assert (closed.realised_cents, closed.fees_cents) == (2 * (320 - 500) * 100 - 260, 260)
    assert (closed.reason, closed.end, closed.opened_qty) == (ExitReason.PREMIUM_STOP, EndReason.CLOSED, 2)
    assert history.cycle() is PositionState.FLAT
    assert history.all(market.UnwatchContract, "quotes")
    assert history.last(positions.RecordPosition).end is EndReason.CLOSED
    assert history.all(positions.PositionDisputed) == []


def test_exit_intent_is_recorded_before_the_order_leaves() -> None:
    history = History()
    history.hold()
    history.records_exits = False
    tape(history, [(320, 325), (320, 325)])
    assert history.last(orders.RecordExitIntent).order_ref == EXIT_1
    assert len(history.all(orders.SubmitOrder)) == 1
    history.feed(orders.ExitIntentRecorded(order_ref=EXIT_1, tier=Tier.BID))
    assert history.last_order.order_ref == EXIT_1
    assert history.all(risk.RaiseKill) == []


def test_exit_does_not_wait_for_a_dead_ledger_and_entries_halt() -> None:
    history = History()
    history.hold()
    history.records_exits = False
    tape(history, [(320, 325), (320, 325)])
    history.wait(250)
    assert history.last_order.order_ref == EXIT_1
    assert history.all(risk.RaiseKill, "kill")[0].level is KillLevel.NO_ENTRIES


def test_stop_goes_from_bid_to_market_by_modification_of_the_same_order() -> None:
    history = stopped()
    history.run_to_exit()
    history.wait(2000)
    modify = history.last_change
    assert (modify.order_ref, modify.order_type, modify.qty) == (EXIT_1, OrderType.MARKET, 2)
    assert len(history.all(orders.SubmitOrder)) == 2


def test_normal_exit_goes_mid_bid_market() -> None:
    history = History()
    history.hold(1)
    history.wait(300)
    history.quote(490, 510)
    history.feed(signals.ReversalRaised(source="gexwatch", ticker="SPX", direction=-1, bucket_utc=T0))
    assert (history.wanted_reason, history.last_order.limit_ticks) == (ExitReason.REVERSAL, 500)
    history.run_to_exit()
    history.wait(4000)
    history.quote(480, 500)
    history.wait(1000)
    assert history.last_change.limit_ticks == 480
    history.wait(4000)
    history.quote(480, 500)
    history.wait(1000)
    assert history.last_change.order_type is OrderType.MARKET
    assert [m.change.order_ref for m in history.all(orders.ModifyOrder)] == [EXIT_1, EXIT_1]


def test_reversal_of_another_source_or_direction_is_none() -> None:
    history = History()
    history.hold(1)
    for source, ticker, direction in (("advisor", "SPX", -1), ("gexwatch", "QQQ", -1), ("gexwatch", "SPX", 1)):
        history.feed(signals.ReversalRaised(source=source, ticker=ticker, direction=direction, bucket_utc=T0))
    assert history.cycle() is PositionState.OPEN


def test_refused_type_change_is_cancelled_and_replaced_only_after_the_confirmed_end() -> None:
    history = stopped()
    history.run_to_exit()
    history.wait(2000)
    history.feed(orders.ModifyRefused(order_ref=EXIT_1, vendor_code=321, text="type"))
    assert history.last(orders.CancelOrder).order_ref == EXIT_1
    assert len(history.all(orders.SubmitOrder)) == 2
    history.ended(EXIT_1, 0, "Cancelled")
    submit = history.last_order
    assert (submit.order_ref, submit.order_type, submit.qty) == (EXIT_2, OrderType.MARKET, 2)


def test_partial_exit_keeps_its_order_and_sells_the_rest() -> None:
    history = stopped(3)
    history.run_to_exit()
    history.fill(1, 320, EXIT_1)
    history.wait(2000)
    modify = history.last_change
    assert (modify.order_ref, modify.qty, modify.order_type) == (EXIT_1, 3, OrderType.MARKET)
    history.fill(2, 310, EXIT_1)
    history.broker(0)
    history.wait(300)
    assert history.cycle() is PositionState.FLAT
    assert len(history.all(orders.SubmitOrder)) == 2


def test_take_profit_of_one_contract_sells_it_at_sixty_percent() -> None:
    history = History()
    history.hold(1)
    tape(history, [(760, 770)])
    assert history.cycle() is PositionState.OPEN
    tape(history, [(795, 806)])
    submit = history.last_order
    assert (submit.qty, submit.limit_ticks) == (1, 810)  # mid 800.5, a take rounds away from the fill


def test_take_profit_of_more_sells_half_rounded_up_then_the_rest_with_the_stop_at_entry() -> None:
    history = History()
    history.hold(3)
    tape(history, [(745, 755)])
    assert history.last_order.qty == 2
    assert history.last(orders.RecordExitIntent).kind is ExitKind.TAKE_PART
    history.run_to_exit()
    history.fill(2, 750, EXIT_1)
    assert history.cycle() is PositionState.OPEN
    assert history.last(positions.RecordPosition).took_part is True
    tape(history, [(800, 810)])
    assert history.cycle() is PositionState.OPEN
    tape(history, [(494, 504), (494, 504)])
    assert history.last_order.order_ref == EXIT_2
    assert history.wanted_reason is ExitReason.PREMIUM_STOP


def test_graver_exit_takes_over_the_working_order_with_everything_held() -> None:
    history = History()
    history.hold(3)
    tape(history, [(745, 755)])
    history.run_to_exit()
    history.feed(positions.FlattenPosition(reason=ExitReason.KILL))
    modify = history.last_change
    assert (modify.order_ref, modify.qty, modify.order_type) == (EXIT_1, 3, OrderType.MARKET)
    assert len(history.all(orders.SubmitOrder)) == 2


def test_lesser_exit_never_softens_a_graver_one() -> None:
    history = stopped()
    history.run_to_exit()
    history.feed(signals.ReversalRaised(source="gexwatch", ticker="SPX", direction=-1, bucket_utc=T0))
    assert history.wanted_reason is ExitReason.PREMIUM_STOP
    assert history.all(orders.ModifyOrder) == []


def test_panic_window_sends_running_exits_to_the_market_and_starts_none() -> None:
    history = History()
    history.hold(1)
    history.phase(Phase.PANIC)
    assert history.cycle() is PositionState.OPEN
    running = stopped(1)
    running.run_to_exit()
    running.phase(Phase.PANIC)
    assert running.last_change.order_type is OrderType.MARKET


@pytest.mark.parametrize("how", ["phase", "command"])
def test_flatten_time_sells_everything_at_market_without_a_quote(how: str) -> None:
    history = History()
    history.hold(2)
    history.wait(6000)  # the quote is stale by now
    if how == "phase":
        history.phase(Phase.FLATTEN)
    else:
        history.feed(positions.FlattenPosition(reason=ExitReason.EOD))
    submit = history.last_order
    assert (submit.order_type, submit.qty) == (OrderType.MARKET, 2)


def test_flatten_time_without_a_bid_sends_one_limit_at_the_minimum_tick_and_no_market() -> None:
    history = History()
    history.hold(1)
    history.wait(300)
    history.quote(0, 5)
    history.phase(Phase.FLATTEN)
    submit = history.last_order
    assert (submit.order_type, submit.limit_ticks) == (OrderType.LIMIT, 5)
    history.run_to_exit()
    for _ in range(5):
        history.wait(4000)
        history.quote(0, 5)
        history.found(EXIT_1, working=True, filled=0, qty=1, order_type=OrderType.LIMIT, limit=5)
    assert history.all(orders.ModifyOrder) == []
    history.phase(Phase.CLOSED)
    assert history.cycle() is PositionState.SETTLING
    assert not history.sent.is_retired


def test_settled_position_ends_when_the_broker_no_longer_holds_it() -> None:
    history = History()
    history.hold(1)
    history.wait(300)
    history.quote(0, 5, spot=599_500)
    history.phase(Phase.FLATTEN)
    history.run_to_exit()
    history.phase(Phase.CLOSED)
    history.ended(EXIT_1, 0, "Cancelled")  # the day order died with the session
    history.found(EXIT_1, working=False, filled=0)
    history.wait(1000)
    assert len(history.all(orders.SubmitOrder)) == 2
    history.broker(0)
    closed = history.last(positions.PositionClosed)
    assert (closed.end, closed.realised_cents) == (EndReason.EXPIRED, -50_000)
    assert history.sent.is_retired


def test_flatten_waits_for_the_entry_to_be_cancelled_but_not_for_ever() -> None:
    history = History()
    history.open(qty=2)
    history.ack()
    history.fill(1, 500)
    history.phase(Phase.FLATTEN)
    assert history.last(orders.CancelOrder).order_ref == ENTRY
    assert len(history.all(orders.SubmitOrder)) == 1
    confirmed = history.ended(ENTRY, 1, "Cancelled")
    assert [m.order.order_type for m in confirmed.told(orders.SubmitOrder)] == [OrderType.MARKET]
    silent = History()
    silent.open(qty=2)
    silent.ack()
    silent.fill(1, 500)
    silent.phase(Phase.FLATTEN)
    silent.wait(2000)
    assert silent.last_order.order_ref == EXIT_1


def test_unfilled_entry_is_cancelled_at_the_flatten_time_and_a_late_fill_leaves_at_once() -> None:
    history = History()
    history.open(qty=1)
    history.ack()
    history.feed(positions.FlattenPosition(reason=ExitReason.EOD))
    assert history.last(orders.CancelOrder).order_ref == ENTRY
    history.fill(1, 500)
    assert history.last_order.order_type is OrderType.MARKET


def test_kill_level_two_flattens_and_level_one_does_not() -> None:
    history = History()
    history.hold()
    history.feed(risk.KillRaised(level=KillLevel.NO_ENTRIES, kill_epoch=1, reason="test", by="test"))
    assert history.cycle() is PositionState.OPEN
    history.feed(risk.KillRaised(level=KillLevel.FLATTEN, kill_epoch=2, reason="test", by="test"))
    assert history.last_order.order_type is OrderType.MARKET


def test_kill_after_hours_queues_no_market_order() -> None:
    history = History()
    history.hold()
    history.phase(Phase.CLOSED)
    history.feed(risk.KillRaised(level=KillLevel.FLATTEN, kill_epoch=2, reason="test", by="test"))
    assert len(history.all(orders.SubmitOrder)) == 1


def test_underlying_stop_leaves_on_the_adverse_move() -> None:
    history = History()
    history.hold()
    history.wait(300)
    history.quote(480, 490, spot=599_001)
    assert history.cycle() is PositionState.OPEN
    history.wait(300)
    history.quote(480, 490, spot=599_000)
    assert history.wanted_reason is ExitReason.UNDERLYING_STOP


def _quotes_until(history: History, seconds: int, bid: int, ask: int, spot: int, iv: float | None = None) -> None:
    for _ in range(seconds):
        history.wait(1000)
        history.quote(bid, ask, spot, iv)


def test_no_progress_leaves_after_eight_minutes_and_a_checkpoint_restarts_the_clock() -> None:
    history = History()
    history.hold(1)
    _quotes_until(history, 300, 500, 510, 600_000)
    _quotes_until(history, 470, 500, 510, 600_500)
    assert history.cycle() is PositionState.OPEN
    _quotes_until(history, 20, 500, 510, 600_500)
    assert history.wanted_reason is ExitReason.NO_PROGRESS


def test_iv_crush_needs_premium_down_underlying_still_and_iv_down_where_known() -> None:
    history = History()
    history.open(qty=1, limit=500)
    history.ack()
    history.quote(495, 505, iv=0.20)
    history.fill(1, 500)
    history.ended(ENTRY, 1)
    _quotes_until(history, 66, 390, 400, 600_000, 0.185)
    assert history.cycle() is PositionState.OPEN  # the premium is down, IV by less than a tenth
    _quotes_until(history, 6, 390, 400, 600_000, 0.18)
    assert history.wanted_reason is ExitReason.IV_CRUSH


def test_max_hold_leaves_at_market_when_it_has_no_quote() -> None:
    """The option's quote stopped, too briefly for the blind rule, when the time came."""
    history = History()
    history.hold(1)
    hold_s = settings().ticker_rules["SPX"].max_hold_ms // 1000
    for minute in range(hold_s // 60 - 1):  # enough progress for the other clock
        _quotes_until(history, 60, 500, 510, 600_000 + 100 * minute)
    _quotes_until(history, 52, 500, 510, 606_000)
    assert history.cycle() is PositionState.OPEN
    history.wait(13_000)
    assert history.wanted_reason is ExitReason.MAX_HOLD
    assert history.last_order.order_type is OrderType.MARKET


def test_blind_position_asks_for_its_quote_then_leaves_below_the_last_bid_then_at_market() -> None:
    history = History()
    history.hold(1)
    history.wait(5200)
    assert history.all(market.RequestQuote, "quotes")
    # the quotes actor may have crashed and watch nothing any more: it is asked to watch again, too
    assert history.all(market.WatchContract, "quotes")[-1].contract == history.state.opened_ref().contract
    assert len(history.all(market.WatchContract, "quotes")) > 1
    assert history.cycle() is PositionState.OPEN
    history.wait(9000)
    spot = Spot("SPX", 600_000, history.now)  # the underlying is seen, the option is not
    history.feed(market.QuoteChanged(con_id=812, quote=history.state.watch.quote, spot=spot))
    history.wait(6500)
    submit = history.last_order
    assert history.wanted_reason is ExitReason.BLIND
    assert (submit.order_type, submit.limit_ticks) == (OrderType.LIMIT, 440)  # 495 less 10 %, toward the fill
    history.run_to_exit()
    history.wait(45_000)
    assert history.last_change.order_type is OrderType.MARKET


def test_blind_with_the_underlying_dark_too_leaves_at_market() -> None:
    history = History()
    history.hold(1)
    history.wait(21_000)
    assert history.last_order.order_type is OrderType.MARKET


def test_blind_without_an_order_path_pages() -> None:
    history = History()
    history.hold(1)
    history.mode(Mode.DEGRADED)
    history.wait(30_000)
    assert history.all(operator.Alarm)
    assert len(history.all(orders.SubmitOrder)) == 1


def test_held_exit_stands_and_goes_after_the_reconciliation() -> None:
    history = History()
    history.hold()
    history.mode(Mode.DEGRADED)
    history.feed(positions.FlattenPosition(reason=ExitReason.EOD))
    assert len(history.all(orders.SubmitOrder)) == 1
    assert history.cycle() is PositionState.PENDING_EXIT
    history.mode(Mode.WARMUP)
    assert history.last_order.order_ref == EXIT_1


def test_a_desk_that_stands_down_holds_back_no_exit_and_withdraws_no_entry() -> None:
    held = History()
    held.hold()
    held.mode(Mode.DATA_ONLY, exits_go_on=True)
    held.feed(positions.FlattenPosition(reason=ExitReason.EOD))
    assert held.last_order.order_ref == EXIT_1

    entering = History()
    entering.open()
    entering.order_sent()
    entering.ack()
    entering.mode(Mode.DATA_ONLY, exits_go_on=True)
    assert not entering.all(orders.CancelOrder)


def test_exit_held_by_the_session_is_decided_afresh() -> None:
    history = stopped()
    history.feed(orders.ExitHeld(order_ref=EXIT_1, mode=Mode.DEGRADED))
    history.wait(10_000)
    assert len(history.all(orders.SubmitOrder)) == 2
    history.reconciled(2)
    assert history.last_order.order_ref == EXIT_2


def test_denied_exit_is_tried_again_later_and_at_once_when_the_broker_catches_up() -> None:
    history = stopped()
    history.feed(broker.OrderDenied(order_ref=EXIT_1, code=RejectCode.EXIT_OVERSELL, why="broker holds 0"))
    assert len(history.all(orders.SubmitOrder)) == 2
    history.broker(2)
    assert history.last_order.order_ref == EXIT_2


def test_rejected_exit_asks_the_broker_before_anything_else_is_sent() -> None:
    history = stopped()
    history.order_sent(EXIT_1)
    history.feed(orders.OrderRejected(order_ref=EXIT_1, vendor_code=201, text="no"))
    assert history.last(orders.RequestOrderState).order_ref == EXIT_1
    assert len(history.all(orders.SubmitOrder)) == 2
    history.found(EXIT_1, working=False, filled=0)
    history.wait(2000)
    assert history.last_order.order_ref == EXIT_2


def test_exit_that_may_be_under_way_is_replaced_only_when_nobody_can_deliver_it_any_more() -> None:
    history = stopped()
    history.order_sent(EXIT_1)
    history.wait(2000)
    history.missing(EXIT_1)
    history.wait(10_000)
    assert len(history.all(orders.SubmitOrder)) == 2
    history.wait(9000)
    history.missing(EXIT_1)
    history.wait(2000)
    assert history.last_order.order_ref == EXIT_2


def test_no_agreement_is_disputed_once_and_halts_but_stays() -> None:
    history = stopped()
    history.run_to_exit()
    history.mode(Mode.FULLY_LIVE)
    history.fill(2, 320, EXIT_1)
    history.wait(5000)
    disputed = history.all(positions.PositionDisputed)
    assert (len(disputed), disputed[0].ledger_qty) == (1, 0)
    assert history.all(risk.RaiseKill, "kill")[0].level is KillLevel.NO_ENTRIES
    assert history.cycle() is PositionState.PENDING_EXIT
    history.wait(20_000)
    assert len(history.all(positions.PositionDisputed)) == 1
    history.reconciled(0)
    history.wait(300)
    assert history.cycle() is PositionState.FLAT


def test_broker_zero_of_before_the_exit_is_no_agreement() -> None:
    history = History()
    history.open(qty=1)
    history.ack()
    history.broker(0)
    history.wait(10)
    history.fill(1, 500)
    history.wait(10)
    history.phase(Phase.FLATTEN)
    history.run_to_exit()
    history.fill(1, 490, EXIT_1)
    history.fee(65)
    history.fee(65, EXIT_1)
    assert history.cycle() is PositionState.PENDING_EXIT
    history.broker(0)
    assert history.cycle() is PositionState.FLAT


def test_flat_actor_retires_after_the_close_and_not_before() -> None:
    history = stopped()
    history.run_to_exit()
    history.fill(2, 320, EXIT_1)
    history.broker(0)
    history.wait(300)
    assert history.cycle() is PositionState.FLAT
    assert not history.sent.is_retired
    history.phase(Phase.CLOSED)
    assert history.sent.is_retired


def test_slow_check_tells_the_mark() -> None:
    history = History()
    history.hold()
    history.wait(4000)
    history.quote(520, 540)
    history.wait(1100)
    changed = history.all(positions.PositionChanged)[-1]
    assert (changed.unrealised_cents, changed.qty) == (2 * 30 * 100, 2)
    assert changed.mark_utc is not None


def test_open_position_comes_back_with_its_cost_and_its_stops() -> None:
    history = History()
    history.restart(held_position())
    assert history.cycle() is PositionState.OPEN
    assert history.all(orders.SubmitOrder) == []
    assert history.last(positions.PositionChanged).cost_cents == 100_000
    tape(history, [(320, 325), (320, 325)])
    assert history.last_order.order_ref == EXIT_1


def test_running_exit_comes_back_at_its_tier_after_the_broker_was_asked() -> None:
    history = History()
    history.restart(held_position(exit_reason=ExitReason.MAX_HOLD, tier=Tier.BID))
    assert history.last(orders.RequestOrderState).order_ref == EXIT_1
    history.quote(480, 500)
    assert history.all(orders.SubmitOrder) == []
    history.found(EXIT_1, working=True, filled=0, order_type=OrderType.LIMIT, limit=490)
    assert history.all(orders.ModifyOrder) == []
    history.wait(4500)
    history.quote(480, 500)
    history.wait(500)
    modify = history.last_change
    assert (modify.order_ref, modify.order_type, modify.qty) == (EXIT_1, OrderType.MARKET, 2)


def test_exit_recorded_at_market_but_found_as_a_limit_is_modified_again() -> None:
    history = History()
    history.restart(held_position(exit_reason=ExitReason.EOD, tier=Tier.MARKET))
    history.found(EXIT_1, working=True, filled=0, order_type=OrderType.LIMIT, limit=490)
    assert history.last_change.order_type is OrderType.MARKET


def test_sold_position_comes_back_and_ends_with_the_brokers_word() -> None:
    history = History()
    history.restart(held_position(order_fill(EXIT_1, Side.SELL, 2, 900), exit_reason=ExitReason.EOD))
    history.wait(6000)
    assert history.all(positions.PositionDisputed) == []
    assert history.last(orders.RequestOrderState).reply_to == NAME
    history.reconciled(0)
    assert history.cycle() is PositionState.FLAT
    assert history.last(positions.PositionClosed).realised_cents == -10_000 - 260
