"""A position at the bounds of its day and its entry, and what it says there."""

from __future__ import annotations

from datetime import date, time

import pytest
from msgspec.structs import replace

from domain.alarm import Severity
from domain.instants import MINUTE, MS, at_exchange
from domain.instruments import OrderType
from domain.orders.intent import DecisionPrices
from domain.orders.live_order import LegStage
from domain.orders.order_pair import OrderRole
from domain.position.cycle import EndReason, PositionState
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from domain.session.phases import Phase
from messages import entries, lifecycle, operator, orders, positions, risk
from tests.testkit.position_history import (
    CLOSE,
    ENTRY,
    EXIT_1,
    REF,
    SESSION,
    History,
    flatten,
    held,
    held_position,
    pending_position,
    settings,
)

RULES = settings().exits
TOMORROW = at_exchange(date(2026, 11, 21), time(0))


def sold(history: History) -> None:
    """Everything is sold; neither fees nor the broker's word are there."""
    flatten(history)
    history.run_to_exit()
    history.fill(2, 490, EXIT_1)
    history.ended(EXIT_1, 2)


def looked_up(history: History, at_utc: int) -> None:
    """Any message that is of no interest by itself."""
    history.feed(risk.KillLowered(level=KillLevel.RUNNING, kill_epoch=1, reason="", by=""), at_utc)


# -- the day ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("late_ns", "words"), [(0, "at the close"), (2 * MINUTE, "at the close")])
def test_not_flat_at_the_close_is_said_as_such_however_late_it_is_looked_at(late_ns: int, words: str) -> None:
    history = History()
    history.now = CLOSE - MINUTE
    history.restart(replace(held_position(), opened_utc=history.now))
    history.feed(lifecycle.TimerFired(kind="day", subject="close", due_utc=CLOSE), CLOSE + late_ns)
    (page,) = [alarm for alarm in history.all(operator.Alarm) if alarm.key == "not_flat:812:close"]
    assert f"not flat {words}:" in page.text


def test_timer_of_a_day_that_nobody_knows_of_changes_nothing() -> None:
    history = History()
    before = history.state
    history.feed(lifecycle.TimerFired(kind="day", subject="verify", due_utc=history.now))
    assert history.state == before
    assert not [kind for kind, _ in history.timers if kind == "day"]


def test_what_was_sold_before_the_close_is_not_settled() -> None:
    history = held()
    sold(history)
    history.phase(Phase.CLOSED)
    assert history.cycle() is PositionState.PENDING_EXIT


@pytest.mark.parametrize("is_filled_since", [False, True])
def test_broker_that_held_nothing_at_the_close_has_closed_it_unless_a_fill_came_since(is_filled_since: bool) -> None:
    history = History()
    history.open(3)
    history.order_sent()
    history.ack()
    history.quote(495, 505)
    history.fill(2, 500)
    history.wait(1)
    history.broker(0)
    if is_filled_since:
        history.wait(1)
        history.fill(1, 500)
    history.ended(ENTRY, 3 if is_filled_since else 2, "Cancelled")
    history.found(ENTRY, working=False, filled=3 if is_filled_since else 2)
    history.phase(Phase.CLOSED)
    ends = [closed.end for closed in history.all(positions.PositionClosed)]
    assert ends == ([] if is_filled_since else [EndReason.BROKER_LIQUIDATION])


@pytest.mark.parametrize("has_left", [False, True])
def test_exit_that_nobody_heard_of_again_is_forgotten_with_the_date(has_left: bool) -> None:
    history = held()
    history.records_exits = has_left
    flatten(history)
    looked_up(history, TOMORROW - 1)
    assert history.state.orders.of(OrderRole.EXIT) is not None
    looked_up(history, TOMORROW)
    assert history.state.orders.of(OrderRole.EXIT) is None
    assert not [kind for kind, subject in history.timers if subject == EXIT_1]
    assert history.last(positions.PositionClosed).end is EndReason.EXPIRED_UNPRICED


def test_contract_that_nobody_can_price_at_its_end_is_a_page() -> None:
    history = held()
    looked_up(history, TOMORROW)
    (page,) = [alarm for alarm in history.all(operator.Alarm) if alarm.key == "unpriced:812"]
    assert page.severity is Severity.CRITICAL


@pytest.mark.parametrize(("expiry", "is_settled"), [(SESSION, True), (date(2026, 11, 23), False)])
def test_only_what_expires_today_is_settled_without_the_brokers_word(expiry: date, is_settled: bool) -> None:
    history = History(replace(REF, contract=replace(REF.contract, expiry=expiry)))
    history.hold(2)
    looked_up(history, CLOSE + 5 * MINUTE)
    assert bool(history.all(positions.PositionClosed)) is is_settled


# -- the entry -------------------------------------------------------------------------------------


def opening(history: History, deadline_ms: int) -> entries.OpenPosition:
    return entries.OpenPosition(
        ref=history.ref, order_ref=ENTRY, qty=2, limit_ticks=500, decision=DecisionPrices(490, 520, 600_000),
        permit=history.permit(10_000), deadline_utc=history.now + deadline_ms * MS,
    )  # fmt: skip


@pytest.mark.parametrize(("deadline_ms", "cancelled_ms"), [(1_500, 1_500), (20_000, 8_000)])
def test_entry_is_cancelled_at_its_deadline_or_after_its_steps_whichever_comes_first(
    deadline_ms: int, cancelled_ms: int
) -> None:
    history = History()
    history.feed(opening(history, deadline_ms))
    history.order_sent()
    history.ack()
    history.wait(cancelled_ms - 1)
    assert history.all(orders.CancelOrder) == []
    history.wait(1)
    assert [cancel.order_ref for cancel in history.all(orders.CancelOrder)] == [ENTRY]


@pytest.mark.parametrize(("deadline_ms", "due_ms"), [(9_000, 9_000), (20_000, 10_000)])
def test_entry_has_no_more_than_its_whole_time(deadline_ms: int, due_ms: int) -> None:
    history = History()
    at_utc = history.now
    history.feed(opening(history, deadline_ms))
    assert history.timers["entry_deadline", ""] == at_utc + due_ms * MS


def test_entry_claims_nothing_that_is_held() -> None:
    history = History()
    history.open()
    assert history.last(orders.SubmitOrder).held_qty == 0


def test_raised_entry_stays_a_limit_order_that_opens() -> None:
    history = History()
    history.mode(Mode.FULLY_LIVE)
    history.feed(opening(history, 10_000))
    history.order_sent()
    history.ack()
    history.wait(RULES.entry_mid_ms - 1)
    history.quote(490, 530)
    history.wait(1)
    change = history.last_change
    assert (change.order_type, change.is_exit, change.limit_ticks, change.qty) == (OrderType.LIMIT, False, 520, 2)


def test_entry_that_a_restart_has_found_working_is_not_sent_again_by_a_late_command() -> None:
    history = History()
    history.restart(pending_position())
    history.found(ENTRY, working=True, filled=0)
    assert history.state.orders.entry is not None
    assert history.state.orders.entry.stage is LegStage.CANCELLING
    history.feed(opening(history, 10_000))
    assert history.all(orders.SubmitOrder) == []


def test_entry_without_a_fill_is_recorded_as_abandoned() -> None:
    history = History()
    history.open()
    history.ack()
    history.wait(RULES.entry_mid_ms + RULES.entry_step_ms)
    history.ended(ENTRY, 0, "Cancelled")
    assert history.last(positions.RecordPosition).end is EndReason.ABANDONED
    assert {kind for kind, _ in history.timers} == {"day"}


@pytest.mark.parametrize(("is_short", "words"), [(False, "the position is OPEN"), (True, "the broker holds it short")])
def test_refused_entry_says_what_stands_in_its_way(is_short: bool, words: str) -> None:
    history = held()
    if is_short:
        sold(history)
        history.fee(130)
        history.fee(130, EXIT_1)
        history.broker(0)
        assert history.cycle() is PositionState.FLAT
        history.broker(-1)
    history.ref = replace(history.ref, intent_id="intent-2")
    history.open()
    assert history.last(entries.EntryAmended).words == words


@pytest.mark.parametrize("is_restored", [False, True])
def test_word_of_a_short_that_is_older_than_the_fill_takes_nothing_from_what_is_held(is_restored: bool) -> None:
    history = History()
    if is_restored:
        history.restart(held_position())
    else:
        history.open()
        history.order_sent()
        history.ack()
        history.quote(495, 505)
        history.wait(1)
        history.fill(2, 500)
    history.feed(positions.BrokerPositionRead(con_id=812, qty=-1, read_utc=history.now - MS))
    flatten(history)
    assert history.last_order.qty == 2


def test_wait_for_fees_ends_with_the_life() -> None:
    history = held()
    sold(history)
    history.broker(0)
    assert ("fees", "") in history.timers
    history.fee(130)
    history.fee(130, EXIT_1)
    assert history.cycle() is PositionState.FLAT
    assert {kind for kind, _ in history.timers} == {"day"}


@pytest.mark.parametrize("phase", [Phase.CLOSED_DAY, Phase.CLOSED])
def test_entry_outside_of_the_session_is_refused_as_such(phase: Phase) -> None:
    history = History()
    history.phase(phase)
    history.open()
    assert history.last(entries.EntryAmended).code is RejectCode.SESSION_CLOSED
    assert history.all(orders.SubmitOrder) == []


def test_refusals_are_counted_anew_after_a_restart() -> None:
    history = History()
    history.restart(held_position())
    history.quote(495, 505)
    flatten(history)
    history.feed(orders.OrderRejected(order_ref=EXIT_1, vendor_code=201, text="no"))
    assert history.state.refusals == 1
