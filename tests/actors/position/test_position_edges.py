"""A position at the edges of its rules: what is told twice, too late or of another, and what is left when it ends."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from actors.position import PositionActor
from config.settings import load_settings
from domain.instants import MS, SECOND
from domain.instruments import OrderType, Side
from domain.orders.live_order import LegStage
from domain.orders.tiers import Tier
from domain.position.cycle import EndReason, ExitReason, PositionState
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.units import Qty
from messages import entries, market, operator, orders, positions, risk, signals
from messages.base import Message
from tests.testkit.position_history import (
    CLOSE,
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
    order_fill,
    settings,
    tape,
)

RULES = settings().exits
OTHER = "ZH-paper-MNOPQRSTUVWX-e"


def selling() -> History:
    """A position whose premium stop has just been sent."""
    history = held()
    tape(history, [(320, 325), (320, 325)])
    return history


def recording() -> History:
    """A position whose premium stop waits for the ledger."""
    history = held()
    history.records_exits = False
    tape(history, [(320, 325), (320, 325)])
    assert history.state.orders.exit is not None
    return history


def closed(history: History) -> None:
    """The exit order that was sent fills, its fees are told, and the broker holds nothing."""
    history.run_to_exit()
    history.fill(2, 320, EXIT_1)
    history.fee(130)
    history.fee(130, EXIT_1)
    history.broker(0)
    assert history.cycle() is PositionState.FLAT


def halted(history: History, *, is_halted: bool) -> None:
    history.feed(market.HaltChanged(ticker="SPX", is_halted=is_halted, at_utc=history.now))


def asked(history: History, ref: str) -> int:
    return len([request for request in history.all(orders.RequestOrderState) if request.order_ref == ref])


# -- the entry -------------------------------------------------------------------------------------


def test_an_entry_whose_bytes_nobody_saw_leave_is_not_taken_as_gone_before_its_time() -> None:
    history = History()
    history.open()
    history.wait(RULES.ack_wait_ms)
    history.missing(ENTRY)
    assert history.all(positions.EntryAbandoned) == []


def test_an_entry_in_doubt_is_not_sent_again_when_its_command_comes_twice() -> None:
    history = History()
    history.open()
    history.wait(RULES.ack_wait_ms)
    assert history.state.orders.entry is not None
    assert history.state.orders.entry.stage is LegStage.UNKNOWN
    history.open()
    assert len(history.all(orders.SubmitOrder)) == 1


def test_an_entry_on_its_way_tells_where_it_stands_at_every_slow_check() -> None:
    history = History()
    history.open()
    before = len(history.all(positions.PositionChanged))
    history.wait(RULES.slow_check_ms)
    assert history.last(positions.PositionChanged).state is PositionState.PENDING_ENTRY
    assert len(history.all(positions.PositionChanged)) == before + 1


def test_an_order_that_is_asked_about_is_waited_for_by_one_timer() -> None:
    history = History()
    history.mode(Mode.FULLY_LIVE)
    history.open()
    history.mode(Mode.DEGRADED)
    history.reconciled(0)
    assert {kind for kind, subject in history.timers if subject == ENTRY} == {"query"}


def test_an_end_that_tells_more_than_is_recorded_is_asked_about_until_the_fill_is_there() -> None:
    history = History()
    history.open()
    history.order_sent()
    history.ack()
    history.wait(RULES.entry_mid_ms + RULES.entry_step_ms)
    history.ended(ENTRY, 1, "Cancelled")
    history.wait(RULES.record_wait_ms)
    assert asked(history, ENTRY) == 1
    history.found(ENTRY, working=False, filled=1)
    history.wait(settings().connection.query_wait_ms)
    assert asked(history, ENTRY) == 2
    history.fill(1, 500)
    assert history.state.orders.entry is None


def test_a_read_back_of_just_before_the_last_instant_is_followed_by_another_one() -> None:
    history = History()
    history.open()
    entry = history.state.orders.entry
    assert entry is not None
    gone_utc = entry.deadline_utc + settings().connection.abandon_wait_ms * MS
    history.feed(orders.OrderNotFound(order_ref=ENTRY, read_back_utc=gone_utc - 1), gone_utc + SECOND)
    assert history.timers["query", ENTRY] == history.now + MS


@pytest.mark.parametrize("is_known", [True, False])
def test_the_order_of_another_position_is_not_cancelled(is_known: bool) -> None:
    history = held() if is_known else History()
    history.found(OTHER, working=True, filled=0)
    assert history.all(orders.CancelOrder) == []


def working_entry(limit: int) -> History:
    history = History()
    history.open(limit=limit, ask=520, permit_ms=10_000)
    history.order_sent()
    history.ack()
    history.wait(RULES.entry_mid_ms - 1)
    return history


def test_an_entry_is_raised_and_stays_the_only_order() -> None:
    history = working_entry(limit=480)
    history.quote(480, 520)
    history.wait(1)
    pair = history.state.orders
    assert pair.entry is not None
    assert (pair.entry.limit_ticks, pair.exit) == (510, None)


@pytest.mark.parametrize("why", ["no quote", "no less than it has", "it is being cancelled", "the link is down"])
def test_an_entry_stays_at_its_limit(why: str) -> None:
    history = working_entry(limit=515 if why == "no less than it has" else 480)
    if why != "no quote":
        history.quote(480, 520)
    if why == "it is being cancelled":
        flatten(history, ExitReason.KILL)
    if why == "the link is down":
        history.mode(Mode.FULLY_LIVE)
        history.mode(Mode.DEGRADED)
    history.wait(1)
    assert history.all(orders.ModifyOrder) == []


def stopped(level: KillLevel) -> risk.KillRaised:
    return risk.KillRaised(level=level, kill_epoch=2, reason="test", by="test")


@pytest.mark.parametrize(
    ("stands", "code"),
    [
        (market.HaltChanged(ticker="SPX", is_halted=True, at_utc=T0), RejectCode.HALTED),
        (stopped(KillLevel.NO_ENTRIES), RejectCode.KILL_SWITCH_L1),
        (stopped(KillLevel.FLATTEN), RejectCode.KILL_SWITCH_L2),
        (positions.BrokerPositionRead(con_id=812, qty=Qty(-1), read_utc=CLOSE), RejectCode.DUPLICATE_POSITION),
        (Phase.LATE, RejectCode.ENTRY_WINDOW),
        (Phase.CLOSED, RejectCode.SESSION_CLOSED),
    ],
)
def test_an_entry_that_the_position_itself_refuses_is_given_back_with_the_reason(
    stands: Message | Phase, code: RejectCode
) -> None:
    history = selling()
    closed(history)
    if isinstance(stands, Phase):
        history.phase(stands)
    else:
        history.feed(stands)
    history.ref = replace(history.ref, intent_id="intent-2")
    history.open()
    assert history.last(entries.EntryAmended).code is code
    assert history.last(entries.ReleaseReservation).intent_id == "intent-2"
    assert len(history.all(orders.SubmitOrder)) == 2


# -- fills -----------------------------------------------------------------------------------------


def test_a_fill_told_again_opens_nothing_anew() -> None:
    history = selling()
    closed(history)
    opened = len(history.all(positions.PositionOpened))
    history.fill(0, 0, ENTRY)
    assert history.cycle() is PositionState.FLAT
    assert len(history.all(positions.PositionOpened)) == opened


def test_the_rest_of_an_entry_does_not_open_it_again() -> None:
    history = History()
    history.open()
    history.quote(495, 505)
    history.fill(1, 500)
    history.wait(100)
    history.quote(495, 505, spot=600_100)
    history.fill(1, 500)
    assert len(history.all(positions.PositionOpened)) == 1
    assert (history.state.opened_utc, history.state.entry_spot_ticks) == (T0, 600_000)


def test_a_refused_change_of_the_entry_or_of_an_order_that_nobody_knows_cancels_nothing() -> None:
    history = working_entry(limit=480)
    for ref in (ENTRY, EXIT_1):
        history.feed(orders.ModifyRefused(order_ref=ref, vendor_code=10148, text="cannot be changed"))
    assert history.all(orders.CancelOrder) == []


def test_what_the_broker_ended_is_over_where_more_is_recorded_than_was_read() -> None:
    history = working_entry(limit=480)
    history.fill(1, 480)
    history.ended(ENTRY, 0, "Cancelled")  # nobody asked for it: the broker is asked
    history.found(ENTRY, working=False, filled=0)
    assert history.state.orders.entry is None
    assert history.cycle() is PositionState.OPEN


def test_a_close_by_somebody_else_is_named_so_when_the_fee_of_the_entry_came_before_its_fill() -> None:
    history = History()
    history.open()
    history.fee(130)
    history.quote(495, 505)
    history.fill(2, 500)
    history.wait(1)
    history.fill(2, 480, "broker:4711")
    history.broker(0)
    history.wait(RULES.record_wait_ms)
    assert history.last(positions.PositionClosed).end is EndReason.BROKER_LIQUIDATION


def test_a_close_by_our_direct_flatten_is_told_in_words_and_is_nobody_elses() -> None:
    history = held()
    history.fill(2, 480, "ZH-direct-ABCDEFGHIJKL-x1")
    (told,) = [alarm for alarm in history.all(operator.Alarm) if alarm.key == "direct:812"]
    assert "The direct flatten sold 2 SPXW" in told.text and "at 4.80" in told.text
    history.fee(90, "ZH-direct-ABCDEFGHIJKL-x1")
    history.broker(0)
    history.wait(RULES.record_wait_ms)
    closed = history.last(positions.PositionClosed)
    assert (closed.end, closed.reason) == (EndReason.CLOSED, ExitReason.OPERATOR)
    assert closed.fees_cents >= 90


def test_a_fill_of_what_was_never_opened_is_a_fault() -> None:
    with pytest.raises(ValueError, match="never opened"):
        History().fill(1, 500)


def test_an_entry_that_is_taken_back_by_the_exchange_leaves_nothing_to_exit() -> None:
    history = held(1)
    history.feed(
        orders.FillRecorded(
            order_ref=ENTRY, con_id=812, side=Side.BUY, exec_id="0001.1", revision=2, qty=Qty(0), price_ticks=500,
            at_utc=history.now, filled_qty_total=Qty(0), filled_cost_ticks_total=0,
        )
    )  # fmt: skip
    assert history.state.fills.held == 0
    flatten(history, ExitReason.KILL)
    assert history.cycle() is PositionState.OPEN
    assert len(history.all(orders.SubmitOrder)) == 1


def test_a_part_that_turns_out_to_be_the_last_of_it_leaves_no_open_position() -> None:
    history = held(2)
    tape(history, [(745, 755)])
    history.run_to_exit()
    history.fill(1, 750, f"{STEM}-x0")  # a late fill of an earlier exit
    history.fill(1, 750, EXIT_1)
    assert history.state.fills.held == 0
    assert (history.cycle(), history.state.took_part) == (PositionState.PENDING_EXIT, False)


def test_the_rest_of_a_stop_that_fired_goes_at_the_market() -> None:
    history = History()
    history.actor = PositionActor(NAME, load_settings(profile="real", overrides={"exits": {"disaster_stop": True}}))
    history.hold(2)
    history.run_to_exit()
    history.fill(1, 190, EXIT_1)
    history.ended(EXIT_1, 1, "Cancelled")
    history.found(EXIT_1, working=False, filled=1)
    history.quote(195, 205)
    assert (history.last_order.order_ref, history.last_order.order_type) == (EXIT_2, OrderType.MARKET)


# -- exits -----------------------------------------------------------------------------------------


def test_an_exit_recorded_after_the_close_is_given_up() -> None:
    history = recording()
    history.phase(Phase.CLOSED)
    assert history.cycle() is PositionState.SETTLING
    history.feed(orders.ExitIntentRecorded(order_ref=EXIT_1, tier=Tier.BID))
    assert history.state.orders.exit is None
    assert len(history.all(orders.SubmitOrder)) == 1


def test_what_is_closed_by_another_order_ends_without_the_exit_that_is_being_recorded() -> None:
    history = recording()
    history.fill(2, 330, f"{STEM}-x0")
    history.fee(130)
    history.fee(130, f"{STEM}-x0")
    history.broker(0)
    assert history.last(positions.PositionClosed).end is EndReason.CLOSED


def test_a_change_that_is_held_back_puts_the_exit_in_doubt_and_nothing_else() -> None:
    history = selling()
    history.run_to_exit()
    flatten(history, ExitReason.KILL)
    history.feed(orders.ExitHeld(order_ref=EXIT_1, mode=Mode.WARMUP, allows_exits=True))
    pair = history.state.orders
    assert pair.entry is None
    assert pair.exit is not None
    assert pair.exit.stage is LegStage.UNKNOWN


def test_a_read_back_that_was_too_old_asks_no_more_once_the_order_works() -> None:
    history = selling()
    stale = orders.OrderFound(
        order_ref=EXIT_1, perm_id=9, is_working=False, filled_qty=Qty(0), qty=Qty(2), order_type=None, limit_ticks=None,
        status="Cancelled", read_back_utc=history.now - SECOND,
    )  # fmt: skip
    history.feed(stale)
    history.run_to_exit()
    history.wait(RULES.stop_tier_quote_ms - 1)
    assert ("query", EXIT_1) in history.timers
    history.fire("query", EXIT_1)
    assert asked(history, EXIT_1) == 0


def test_a_graver_reason_changes_nothing_of_an_order_that_is_at_the_market_already() -> None:
    history = held()
    flatten(history, ExitReason.OPERATOR)
    history.run_to_exit()
    flatten(history, ExitReason.KILL)
    assert history.all(orders.ModifyOrder) == []
    pair = history.state.orders
    assert pair.exit is not None
    assert (pair.exit.reason, pair.entry) == (ExitReason.KILL, None)


def test_a_market_order_that_is_refused_for_want_of_a_bid_is_priced_as_usual_when_one_comes() -> None:
    history = History()
    opened_utc = T0 - settings().ticker_rules["SPX"].max_hold_ms * MS
    history.restart(replace(held_position(), opened_utc=opened_utc))
    history.wait(RULES.slow_check_ms - 1)
    history.quote(None, 505)
    history.wait(1)
    assert (history.wanted_reason, history.last_order.order_type) == (ExitReason.MAX_HOLD, OrderType.MARKET)
    history.order_sent(EXIT_1)
    history.feed(orders.OrderRejected(order_ref=EXIT_1, vendor_code=201, text="no"))
    history.found(EXIT_1, working=False, filled=0)
    history.quote(490, 510)
    history.wait(RULES.ack_wait_ms)
    assert (history.last_order.order_ref, history.last_order.limit_ticks) == (EXIT_2, 500)


def test_an_exit_without_any_bid_known_starts_from_what_was_paid() -> None:
    history = History()
    history.restart(held_position())
    halted(history, is_halted=True)
    flatten(history, ExitReason.KILL)
    assert history.last_order.limit_ticks == 450  # 500 less 10 %


@pytest.mark.parametrize(
    ("reason", "order_type"),
    [(None, OrderType.LIMIT), (ExitReason.EOD, OrderType.LIMIT), (ExitReason.OPERATOR, OrderType.MARKET)],
)
def test_only_the_last_call_of_the_day_offers_at_the_floor_what_nobody_bids_for(
    reason: ExitReason | None, order_type: OrderType
) -> None:
    history = held()
    history.quote(0, 5)
    if reason is None:
        history.phase(Phase.FLATTEN)
    else:
        flatten(history, reason)
    assert history.last_order.order_type is order_type


def test_the_slow_rules_look_at_the_slow_check_only() -> None:
    history = History()
    opened_utc = T0 - settings().ticker_rules["SPX"].max_hold_ms * MS
    history.restart(replace(held_position(), opened_utc=opened_utc))
    history.wait(100)
    history.quote(495, 505)
    assert history.state.wanted is None
    history.wait(RULES.slow_check_ms)
    assert history.wanted_reason is ExitReason.MAX_HOLD


@pytest.mark.parametrize(("told", "order_type"), [((False,), OrderType.MARKET), ((True, True), OrderType.LIMIT)])
def test_a_halt_told_twice_is_one_and_a_resume_of_none_holds_nothing_back(
    told: tuple[bool, ...], order_type: OrderType
) -> None:
    history = held()
    for is_halted in told:
        halted(history, is_halted=is_halted)
    assert history.state.resumed_utc is None
    flatten(history, ExitReason.KILL)
    assert history.last_order.order_type is order_type


# -- the end of a life -----------------------------------------------------------------------------


def test_a_life_that_ends_leaves_the_timer_of_its_day_and_no_other() -> None:
    history = selling()
    history.order_sent(EXIT_1)
    history.feed(orders.OrderRejected(order_ref=EXIT_1, vendor_code=201, text="no"))
    history.found(EXIT_1, working=False, filled=0)
    assert ("retry", "") in history.timers
    history.fill(2, 330, EXIT_1)
    history.fee(130)
    history.fee(130, EXIT_1)
    history.broker(0)
    assert history.cycle() is PositionState.FLAT
    assert {kind for kind, _ in history.timers} == {"day"}


def test_the_session_ended_at_its_close_however_late_it_is_heard_of() -> None:
    history = held()
    history.quote(495, 505)
    history.feed(risk.KillLowered(level=KillLevel.RUNNING, kill_epoch=1, reason="", by=""), CLOSE + 5 * SECOND)
    assert history.cycle() is PositionState.SETTLING
    read = positions.BrokerPositionRead(con_id=812, qty=Qty(0), read_utc=CLOSE + 3 * SECOND)
    history.feed(read)
    assert history.all(positions.PositionClosed)


def test_people_are_told_that_nothing_was_quoted_since_the_resume() -> None:
    history = held()
    history.mode(Mode.FULLY_LIVE)
    halted(history, is_halted=True)
    history.wait(RULES.blind_resubscribe_ms + 1)
    history.feed(signals.ReversalRaised(source="gexwatch", ticker="SPX", direction=-1, bucket_utc=T0))
    halted(history, is_halted=False)
    history.wait(RULES.stuck_page_ms)
    assert "nothing was quoted since it resumed" in history.last(operator.Alarm).text


def test_people_are_told_what_the_broker_holds_where_it_differs() -> None:
    for broker_qty, words in ((1, " (the broker holds 1)"), (2, ""), (None, "")):
        history = History()
        history.restart(held_position())
        if broker_qty is not None:
            history.broker(broker_qty)
        history.mode(Mode.DEGRADED)
        history.wait(RULES.stuck_page_ms + 1)
        assert f"+2{words}: cannot be closed" in history.last(operator.Alarm).text


@pytest.mark.parametrize("is_charged", [True, False])
def test_the_end_waits_for_fees_that_are_not_told_yet_and_no_longer_than_they_may_take(is_charged: bool) -> None:
    history = selling()
    history.run_to_exit()
    history.fill(2, 320, EXIT_1)
    history.fee(130)
    if is_charged:
        history.fee(130, EXIT_1)
    history.broker(0)
    history.wait(RULES.record_wait_ms - 1)
    assert bool(history.all(positions.PositionClosed)) is is_charged
    history.wait(1)
    assert len(history.all(positions.PositionClosed)) == 1


# -- what the broker says of it --------------------------------------------------------------------


def test_what_the_broker_held_a_moment_before_its_last_word_is_not_believed() -> None:
    history = held()
    history.broker(2)
    history.feed(positions.BrokerPositionRead(con_id=812, qty=Qty(0), read_utc=history.now - 1))
    assert history.state.broker_qty == 2


def test_a_fill_that_the_broker_knows_first_has_its_time_from_when_it_is_recorded() -> None:
    history = History()
    history.open()
    history.order_sent()
    history.ack()
    history.broker(2)
    history.wait(RULES.agreement_ms - 100)
    history.fill(1, 500)
    history.wait(50)
    history.broker(2)
    history.wait(RULES.agreement_ms - 1)
    assert history.all(positions.PositionDisputed) == []
    history.wait(1)
    assert len(history.all(positions.PositionDisputed)) == 1


def test_a_life_that_is_over_agrees_with_a_broker_who_holds_nothing() -> None:
    history = selling()
    closed(history)
    history.broker(0)
    assert {kind for kind, _ in history.timers} == {"day"}
    assert history.last(positions.RecordPosition).tier is Tier.NONE


@pytest.mark.parametrize(("last_bid", "booked"), [(495, 495), (None, 0)])
def test_what_somebody_else_has_closed_is_booked_once_the_difference_has_lasted(
    last_bid: int | None, booked: int
) -> None:
    history = History()
    history.restart(held_position())
    history.reconciled(2)
    if last_bid is not None:
        history.quote(last_bid, last_bid + 10)
    history.broker(0)
    history.wait(RULES.agreement_ms)
    assert len(history.all(positions.PositionDisputed)) == 1
    history.wait(1)
    history.broker(0)
    assert history.all(positions.PositionClosed) == []
    history.wait(RULES.stuck_page_ms)
    history.broker(0)
    end = history.last(positions.PositionClosed)
    assert (end.end, end.realised_cents) == (EndReason.BROKER_LIQUIDATION, 2 * (booked - 500) * 100 - 130)


# -- after a restart -------------------------------------------------------------------------------


def test_a_position_is_opened_once_for_the_others_across_a_restart() -> None:
    for opened_utc, told in ((T0 - SECOND, 0), (None, 1)):
        history = History()
        history.restart(replace(held_position(), opened_utc=opened_utc))
        assert len(history.all(positions.PositionOpened)) == told
        assert history.state.opened_utc == (T0 if opened_utc is None else opened_utc)


def test_what_was_being_settled_stays_so_when_the_clock_has_gone_back() -> None:
    history = History()
    history.restart(replace(held_position(), state=PositionState.SETTLING))
    assert history.cycle() is PositionState.SETTLING


def test_no_exit_order_is_looked_for_where_everything_was_closed() -> None:
    history = History()
    history.restart(held_position(order_fill(EXIT_1, Side.SELL, 2, 640), exit_reason=ExitReason.KILL))
    assert asked(history, EXIT_1) == 0


def test_what_was_closed_before_the_restart_is_not_held_open() -> None:
    history = History()
    history.restart(replace(held_position(order_fill(EXIT_1, Side.SELL, 2, 640)), state=PositionState.OPEN))
    assert history.cycle() is PositionState.PENDING_EXIT
