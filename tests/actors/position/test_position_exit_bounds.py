"""The exit of a position at its bounds: records, changes, refusals, halts, and what is looked at before it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from actors.position import PositionActor
from config.settings import load_settings
from domain.alarm import Severity
from domain.instants import MS
from domain.instruments import OrderType, Quote, Spot
from domain.orders.live_order import LegStage
from domain.orders.tiers import Tier
from domain.position.cycle import ExitReason, PositionState
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from domain.session.phases import Phase
from messages import broker, lifecycle, market, operator, orders, risk, signals
from tests.testkit.position_history import (
    ENTRY,
    EXIT_1,
    EXIT_2,
    NAME,
    STEM,
    T0,
    History,
    flatten,
    held,
    held_position,
    settings,
    tape,
)

RULES = settings().exits


def sold(history: History) -> None:
    """Everything is sold; neither fees nor the broker's word are there."""
    flatten(history)
    history.run_to_exit()
    history.fill(2, 490, EXIT_1)
    history.ended(EXIT_1, 2)


def with_resting_stops() -> PositionActor:
    return PositionActor(NAME, load_settings(profile="real", overrides={"exits": {"disaster_stop": True}}))


# -- the exit --------------------------------------------------------------------------------------


def test_what_is_being_settled_wants_no_exit_any_more() -> None:
    history = held()
    history.phase(Phase.CLOSED)
    history.feed(risk.KillRaised(level=KillLevel.FLATTEN, kill_epoch=2, reason="test", by="test"))
    assert history.wanted_reason is None
    assert history.state.reason is None


def test_no_stop_is_laid_for_what_somebody_else_has_closed() -> None:
    history = History()
    history.hold(2)
    history.broker(0)
    history.wait(RULES.agreement_ms)
    history.quote(495, 505)
    history.wait(RULES.stuck_page_ms)
    history.quote(495, 505)
    history.broker(0)
    assert history.cycle() is PositionState.FLAT
    history.actor = with_resting_stops()
    history.broker(1)  # not what was held: that would be ours again
    assert len([sent for sent in history.all(orders.SubmitOrder) if sent.order.is_exit]) == 0


def test_what_comes_in_while_an_oversale_is_being_cleared_up_waits_for_a_reason_to_go() -> None:
    history = History()
    history.open()
    history.ack()
    history.wait(RULES.entry_mid_ms + RULES.entry_step_ms)
    history.ended(ENTRY, 0, "Cancelled")
    history.fill(1, 480, EXIT_1)
    assert (history.cycle(), history.state.fills.held) == (PositionState.PENDING_EXIT, -1)
    history.fill(2, 500)
    assert (history.cycle(), history.state.fills.held) == (PositionState.PENDING_EXIT, 1)
    assert len(history.all(orders.SubmitOrder)) == 1
    flatten(history)
    assert history.last_order.qty == 1


def test_exit_of_one_contract_that_others_have_sold_is_cancelled() -> None:
    history = held(1)
    flatten(history)
    history.run_to_exit()
    history.fill(1, 480, "broker:77")
    assert history.state.fills.held == 0
    assert [cancel.order_ref for cancel in history.all(orders.CancelOrder)] == [EXIT_1]


@pytest.mark.parametrize(("broker_qty", "laid"), [(0, []), (1, [1])])
def test_stop_is_laid_for_what_the_broker_holds_and_for_nothing_where_it_holds_nothing(
    broker_qty: int, laid: list[int]
) -> None:
    history = History()
    history.actor = with_resting_stops()
    history.open()
    history.feed(market.HaltChanged(ticker="SPX", is_halted=True, at_utc=history.now))
    history.quote(495, 505)
    history.fill(2, 500)
    history.wait(1)
    history.broker(broker_qty)
    history.feed(market.HaltChanged(ticker="SPX", is_halted=False, at_utc=history.now))
    history.quote(495, 505)
    assert [intent.qty for intent in history.all(orders.RecordExitIntent)] == laid


def test_exit_order_has_the_time_in_which_a_lost_link_may_still_deliver_it() -> None:
    history = held()
    flatten(history)
    wait_ms = settings().connection.abandon_wait_ms
    assert history.last_order.deadline_utc == history.now + wait_ms * MS


def test_purchase_that_covers_a_short_stands_at_the_market_from_the_start() -> None:
    history = held()
    history.broker(-1)
    history.feed(risk.KillRaised(level=KillLevel.FLATTEN, kill_epoch=2, reason="test", by="test"))
    assert (history.last(orders.RecordExitIntent).tier, history.last_order.order_type) == (
        Tier.MARKET, OrderType.MARKET,
    )  # fmt: skip


def test_exit_that_should_go_harder_waits_for_a_quote_to_go_by() -> None:
    history = held()
    history.quote(490, 510)
    history.wait(1)
    history.feed(signals.ReversalRaised(source="gexwatch", ticker="SPX", direction=-1, bucket_utc=T0))
    history.run_to_exit()
    history.wait(RULES.tier_mid_ms)
    assert history.state.wanted is not None
    assert history.state.wanted.floor is Tier.BID
    assert history.all(orders.ModifyOrder) == []
    history.quote(480, 500)
    assert history.last_change.limit_ticks == 480


def test_record_of_another_order_or_tier_sends_and_changes_nothing() -> None:
    history = held()
    history.records_exits = False
    history.feed(orders.ExitIntentRecorded(order_ref=EXIT_1, tier=Tier.MARKET))
    flatten(history)
    for ref, tier in ((EXIT_2, Tier.MARKET), (EXIT_1, Tier.BID)):
        history.feed(orders.ExitIntentRecorded(order_ref=ref, tier=tier))
    assert len(history.all(orders.SubmitOrder)) == 1
    for _ in range(2):
        history.feed(orders.ExitIntentRecorded(order_ref=EXIT_1, tier=Tier.MARKET))
    assert len(history.all(orders.SubmitOrder)) == 2
    assert history.all(orders.ModifyOrder) == []


def test_record_of_the_tier_before_does_not_release_the_change_that_is_being_recorded() -> None:
    history = held()
    history.quote(490, 510)
    history.feed(signals.ReversalRaised(source="gexwatch", ticker="SPX", direction=-1, bucket_utc=T0))
    history.run_to_exit()
    history.records_exits = False
    flatten(history)
    history.feed(orders.ExitIntentRecorded(order_ref=EXIT_1, tier=Tier.MID))
    assert history.all(orders.ModifyOrder) == []
    history.feed(orders.ExitIntentRecorded(order_ref=EXIT_1, tier=Tier.MARKET))
    assert history.last_change.order_type is OrderType.MARKET


def test_change_that_was_recorded_is_made_once_though_the_market_has_moved_meanwhile() -> None:
    history = held()
    history.quote(490, 510)
    history.feed(signals.ReversalRaised(source="gexwatch", ticker="SPX", direction=-1, bucket_utc=T0))
    history.run_to_exit()
    history.records_exits = False
    tape(history, [(320, 325), (320, 325)])
    assert [intent.tier for intent in history.all(orders.RecordExitIntent)] == [Tier.MID, Tier.BID]
    history.quote(310, 315)
    history.feed(orders.ExitIntentRecorded(order_ref=EXIT_1, tier=Tier.BID))
    change = history.last_change
    assert (change.order_type, change.limit_ticks, change.is_exit) == (OrderType.LIMIT, 320, True)
    assert len(history.all(orders.RecordExitIntent)) == 2


# -- an exit that is held back or replaced ---------------------------------------------------------


def test_exit_that_is_replaced_goes_on_at_the_tier_that_it_had_reached() -> None:
    history = History()
    opened_utc = T0 - settings().ticker_rules["SPX"].max_hold_ms * MS
    history.restart(replace(held_position(), opened_utc=opened_utc))
    history.wait(RULES.slow_check_ms)
    assert (history.wanted_reason, history.last_order.order_type) == (ExitReason.MAX_HOLD, OrderType.MARKET)
    history.run_to_exit()
    history.quote(490, 510)
    history.feed(orders.ModifyRefused(order_ref=EXIT_1, vendor_code=0, text="deadline_passed"))
    history.ended(EXIT_1, 0, "Cancelled")
    assert (history.last_order.order_ref, history.last_order.order_type) == (EXIT_2, OrderType.MARKET)


@pytest.mark.parametrize("has_left", [False, True])
def test_exit_that_is_held_back_is_in_doubt_only_where_its_bytes_have_left(has_left: bool) -> None:
    history = held()
    flatten(history)
    if has_left:
        history.order_sent(EXIT_1)
    history.feed(orders.ExitHeld(order_ref=EXIT_1, mode=Mode.WARMUP, allows_exits=True))
    order = history.state.orders.exit
    if not has_left:
        assert order is None
        assert not [kind for kind, subject in history.timers if subject == EXIT_1]
        return
    assert order is not None
    assert order.stage is LegStage.UNKNOWN
    assert history.timers["query", EXIT_1] == history.now + settings().connection.query_wait_ms * MS


# -- refusals of the broker ------------------------------------------------------------------------


def refuse(history: History, n: int) -> None:
    """The broker refuses the n-th exit order, and a read-back confirms that it is not there."""
    ref = f"{STEM}-x{n}"
    assert history.last_order.order_ref == ref
    history.order_sent(ref)
    history.feed(orders.OrderRejected(order_ref=ref, vendor_code=201, text="no"))
    history.found(ref, working=False, filled=0)


def test_pause_after_a_refusal_doubles_up_to_eight_times_the_first() -> None:
    history = held()
    flatten(history)
    for n, factor in enumerate((1, 2, 4, 8, 8), start=1):
        refuse(history, n)
        sent = len(history.all(orders.SubmitOrder))
        history.wait(factor * RULES.ack_wait_ms - 1)
        assert len(history.all(orders.SubmitOrder)) == sent
        history.wait(1)
        assert len(history.all(orders.SubmitOrder)) == sent + 1


def test_refused_stop_is_worth_a_word_and_no_page() -> None:
    history = History()
    history.actor = with_resting_stops()
    history.hold(2)
    refuse(history, 1)
    (alarm,) = [alarm for alarm in history.all(operator.Alarm) if alarm.key == "no_stop:812"]
    assert alarm.severity is Severity.HIGH


# -- no market order -------------------------------------------------------------------------------


@pytest.mark.parametrize(("early_ns", "order_type"), [(1, OrderType.LIMIT), (0, OrderType.MARKET)])
def test_halt_that_only_the_broker_session_knew_of_is_over_after_its_time(early_ns: int, order_type: OrderType) -> None:
    history = held()
    history.mode(Mode.FULLY_LIVE)
    flatten(history)
    history.feed(broker.OrderDenied(order_ref=EXIT_1, code=RejectCode.EXIT_HALTED, why="halted"))
    history.mode(Mode.DEGRADED)
    history.now += RULES.stuck_page_ms * MS - early_ns
    history.reconciled(2)
    assert (history.last_order.order_ref, history.last_order.order_type) == (EXIT_2, order_type)


@pytest.mark.parametrize(("phase", "order_type"), [(Phase.PANIC, OrderType.MARKET), (Phase.FLATTEN, OrderType.LIMIT)])
def test_kill_at_the_last_call_offers_at_the_floor_what_nobody_bids_for_and_stands_at_the_market(
    phase: Phase, order_type: OrderType
) -> None:
    history = held()
    history.mode(Mode.FULLY_LIVE)
    history.mode(Mode.DEGRADED)
    history.quote(0, 5)
    history.feed(risk.KillRaised(level=KillLevel.FLATTEN, kill_epoch=2, reason="test", by="test"))
    history.phase(phase)
    history.reconciled(2)
    assert history.last_order.order_type is order_type
    assert history.last(orders.RecordExitIntent).tier is Tier.MARKET


@pytest.mark.parametrize("early_ns", [0, 1])
def test_resume_without_a_quote_is_waited_for_as_long_as_the_blind_rule_would(early_ns: int) -> None:
    history = held()
    history.feed(market.HaltChanged(ticker="SPX", is_halted=True, at_utc=history.now))
    history.feed(market.HaltChanged(ticker="SPX", is_halted=False, at_utc=history.now))
    due_utc = history.now + RULES.blind_market_ms * MS
    history.feed(lifecycle.TimerFired(kind="slow", subject="", due_utc=due_utc), due_utc - early_ns)
    assert (history.state.resumed_utc is None) is (early_ns == 0)


# -- what is looked at -----------------------------------------------------------------------------


def test_quote_of_another_contract_is_not_looked_at() -> None:
    history = held()
    before = history.state.watch
    other = Quote(813, 100, 105, 10, 10, history.now)
    history.feed(market.QuoteChanged(con_id=813, quote=other, spot=Spot("SPX", 700_000, history.now)))
    assert history.state.watch == before


def test_answer_without_any_quote_leaves_what_is_known() -> None:
    history = held()
    before = history.state.watch.quote
    unavailable = market.QuoteUnavailable(request_id="r", con_id=812, why="none", last=None)
    history.feed(unavailable)
    assert history.state.watch.quote == before


@pytest.mark.parametrize("state", [PositionState.FLAT, PositionState.SETTLING])
def test_slow_check_that_comes_after_the_trading_is_over_looks_at_nothing_and_comes_no_more(
    state: PositionState,
) -> None:
    history = held()
    if state is PositionState.SETTLING:
        history.phase(Phase.CLOSED)
    else:
        sold(history)
        history.fee(130)
        history.fee(130, EXIT_1)
        history.broker(0)
    assert history.cycle() is state
    history.timers.pop(("slow", ""), None)
    assert history.feed(lifecycle.TimerFired(kind="slow", subject="", due_utc=history.now)).messages == []
    assert ("slow", "") not in history.timers


def test_slow_check_comes_in_the_instant_after_the_quote_has_grown_too_old() -> None:
    history = held()
    history.wait(RULES.slow_check_ms - 1)
    assert history.timers["slow", ""] == history.state.watch.seen_utc + RULES.blind_resubscribe_ms * MS + 1


def test_stop_rests_at_the_broker_again_after_a_restart() -> None:
    history = History()
    history.actor = with_resting_stops()
    history.restart(held_position())
    assert (history.last_order.order_type, history.last_order.qty) == (OrderType.STOP, 2)
