"""What a position makes of its orders' news: whose order it is, what it clears, and when the broker is asked."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from actors.position import PositionActor
from config.settings import load_settings
from domain.instants import MINUTE, MS
from domain.instruments import OrderType, Side
from domain.orders.live_order import LegStage
from domain.orders.order_pair import OrderRole
from domain.position.cycle import ExitKind, ExitReason, PositionState
from domain.session.modes import Mode
from domain.units import Utc
from messages import entries, lifecycle, orders, positions
from tests.testkit.narrow import known
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
    pending_position,
    settings,
)

RULES = settings().exits


def working() -> History:
    """A position whose entry works."""
    history = History()
    history.open()
    history.order_sent()
    history.ack()
    return history


def stages(history: History) -> tuple[LegStage | None, LegStage | None]:
    """Return where entry and exit order stand, `None` where there is none."""
    entry, exit_ = (history.state.orders.of(role) for role in (OrderRole.ENTRY, OrderRole.EXIT))
    return None if entry is None else entry.stage, None if exit_ is None else exit_.stage


def asked(history: History, ref: str) -> int:
    return len([request for request in history.all(orders.RequestOrderState) if request.order_ref == ref])


# -- the broker session ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [Mode.WARMUP, Mode.FULLY_LIVE])
def test_session_that_is_up_leaves_the_orders_as_they_are(mode: Mode) -> None:
    history = working()
    history.mode(mode)
    assert stages(history) == (LegStage.WORKING, None)
    assert history.all(orders.CancelOrder) == []


def test_loss_puts_the_entry_in_doubt() -> None:
    history = working()
    history.mode(Mode.DEGRADED)
    assert stages(history) == (LegStage.UNKNOWN, None)


@pytest.mark.parametrize(
    ("is_recorded", "is_written", "stage"),
    [(False, False, None), (True, False, LegStage.UNKNOWN), (True, True, LegStage.UNKNOWN)],
)
def test_loss_puts_an_exit_in_doubt_that_may_have_left(
    is_recorded: bool, is_written: bool, stage: LegStage | None
) -> None:
    history = held()
    history.records_exits = is_recorded
    flatten(history)
    if is_written:
        history.run_to_exit()
    history.mode(Mode.DEGRADED)
    assert stages(history) == (None, stage)


# -- acknowledgements and ends ---------------------------------------------------------------------


def test_exit_that_the_broker_has_is_in_no_trouble() -> None:
    history = held()
    flatten(history)
    history.feed(orders.ExitHeld(order_ref=EXIT_1, mode=Mode.WARMUP, allows_exits=True))
    assert "holds it back" in history.state.trouble
    history.wait(RULES.ack_wait_ms)
    history.run_to_exit(EXIT_2)
    assert history.state.trouble == ""


@pytest.mark.parametrize(("ref", "is_cancelled"), [(f"{STEM}-x9", True), (ENTRY, False)])
def test_sign_of_life_of_an_order_that_was_let_go_of_is_answered_with_its_cancel_unless_it_filled(
    ref: str, is_cancelled: bool
) -> None:
    history = held()
    history.ack(ref)
    assert [cancel.order_ref for cancel in history.all(orders.CancelOrder)] == ([ref] if is_cancelled else [])


def test_order_that_the_broker_calls_filled_is_asked_about_only_where_the_fills_do_not_come() -> None:
    history = working()
    history.ended(ENTRY, 2)
    assert asked(history, ENTRY) == 0
    assert history.timers["query", ENTRY] == history.now + RULES.record_wait_ms * MS
    history.wait(RULES.record_wait_ms)
    assert asked(history, ENTRY) == 1


# -- refusals --------------------------------------------------------------------------------------


def test_entry_that_is_rejected_after_a_part_has_filled_is_asked_about_and_was_no_refusal() -> None:
    history = working()
    history.quote(495, 505)
    history.fill(1, 500)
    history.feed(orders.OrderRejected(order_ref=ENTRY, vendor_code=201, text="no"))
    assert history.all(entries.EntryAmended) == []
    assert history.timers["query", ENTRY] == history.now + RULES.record_wait_ms * MS
    history.wait(RULES.record_wait_ms)
    assert asked(history, ENTRY) == 1


def test_refusal_of_an_exit_counts_though_nobody_saw_its_bytes_leave() -> None:
    history = held()
    flatten(history)
    history.feed(orders.OrderRejected(order_ref=EXIT_1, vendor_code=201, text="no"))
    assert history.state.refusals == 1


@pytest.mark.parametrize(
    ("vendor_code", "is_cancelling", "refusals"), [(321, False, 1), (0, False, 0), (321, True, 0), (0, True, 0)]
)
def test_refused_change_counts_where_the_broker_refused_it_and_the_order_is_still_wanted(
    vendor_code: int, is_cancelling: bool, refusals: int
) -> None:
    history = held()
    flatten(history)
    history.run_to_exit()
    if is_cancelling:
        history.fill(1, 490, "broker:77")
        assert history.all(orders.CancelOrder)
    history.feed(orders.ModifyRefused(order_ref=EXIT_1, vendor_code=vendor_code, text="no"))
    assert history.state.refusals == refusals


# -- cancels ---------------------------------------------------------------------------------------


def test_cancel_waits_for_a_session_that_lets_exits_go() -> None:
    history = held()
    flatten(history)
    history.run_to_exit()
    history.feed(orders.ExitHeld(order_ref=EXIT_2, mode=Mode.DEGRADED, allows_exits=False))
    history.fill(1, 490, "broker:77")
    assert history.all(orders.CancelOrder) == []
    history.reconciled(1)
    assert [cancel.order_ref for cancel in history.all(orders.CancelOrder)] == [EXIT_1]


def test_cancel_ends_the_wait_for_an_acknowledgement() -> None:
    history = History()
    history.open()
    assert ("ack", ENTRY) in history.timers
    flatten(history)
    assert [cancel.order_ref for cancel in history.all(orders.CancelOrder)] == [ENTRY]
    assert {kind for kind, subject in history.timers if subject == ENTRY} == {"cancel"}


# -- after a restart -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "now", "settling_utc"),
    [
        (PositionState.SETTLING, T0, T0),
        (PositionState.SETTLING, Utc(CLOSE + MINUTE), CLOSE),
        (PositionState.OPEN, T0, None),
    ],
)
def test_restart_knows_since_when_it_is_being_settled(state: PositionState, now: Utc, settling_utc: Utc | None) -> None:
    history = History()
    history.now = now
    history.restart(replace(held_position(), state=state))
    assert history.state.settling_utc == settling_utc


@pytest.mark.parametrize("kind", [ExitKind.TAKE_PART, ExitKind.FULL, None])
def test_restart_wants_as_much_as_was_wanted_before(kind: ExitKind | None) -> None:
    history = History()
    history.restart(replace(held_position(exit_reason=ExitReason.TAKE_PROFIT), exit_kind=kind))
    assert known(history.state.wanted).kind is (kind or ExitKind.FULL)


def test_restart_asks_about_the_entry_after_a_while_where_it_may_still_fill() -> None:
    history = History()
    history.restart(pending_position())
    assert history.timers["query", ENTRY] == history.now + RULES.ack_wait_ms * MS
    history.restart(held_position())
    assert not [kind for kind, subject in history.timers if subject == ENTRY]


def test_restart_with_one_contract_left_is_open_or_goes_on_with_its_exit() -> None:
    one_sold = order_fill(EXIT_1, Side.SELL, 1, 320)
    history = History()
    history.restart(held_position(one_sold))
    assert (history.cycle(), history.state.fills.held) == (PositionState.OPEN, 1)
    history.restart(held_position(one_sold, exit_reason=ExitReason.KILL))
    assert asked(history, EXIT_1) == 1


def test_exit_of_before_a_restart_is_looked_for_as_long_as_it_may_come_to_life() -> None:
    history = History()
    history.restart(held_position(exit_reason=ExitReason.KILL))
    gone_utc = history.now + settings().connection.abandon_wait_ms * MS
    history.missing(EXIT_1)
    assert history.all(orders.SubmitOrder) == []
    assert history.timers["query", EXIT_1] == gone_utc


# -- answers of a read-back ------------------------------------------------------------------------


@pytest.mark.parametrize(("is_working", "cancelled"), [(True, [f"{STEM}-x9"]), (False, [])])
def test_order_of_this_life_that_nobody_waits_for_is_cancelled_where_it_works(
    is_working: bool, cancelled: list[str]
) -> None:
    history = held()
    history.found(f"{STEM}-x9", working=is_working, filled=0)
    assert [cancel.order_ref for cancel in history.all(orders.CancelOrder)] == cancelled


def test_answer_about_an_order_that_nobody_waits_for_changes_nothing() -> None:
    history = held()
    before = history.state
    history.missing(f"{STEM}-x9")
    history.feed(lifecycle.TimerFired(kind="query", subject=f"{STEM}-x9", due_utc=history.now))
    assert history.state == before


def test_order_that_is_found_working_is_waited_for_no_longer() -> None:
    history = held()
    flatten(history)
    history.run_to_exit()
    history.fire("tier", f"{EXIT_1}:3")
    assert ("query", EXIT_1) in history.timers
    history.found(EXIT_1, working=True, filled=0, order_type=OrderType.MARKET)
    assert ("query", EXIT_1) not in history.timers


def test_nobody_is_asked_while_the_session_is_lost() -> None:
    history = working()
    history.mode(Mode.FULLY_LIVE)
    history.mode(Mode.DEGRADED)
    history.feed(lifecycle.TimerFired(kind="query", subject=ENTRY, due_utc=history.now))
    assert asked(history, ENTRY) == 0


# -- fees and stops --------------------------------------------------------------------------------


def test_fee_of_what_nobody_knows_of_changes_nothing() -> None:
    assert History().fee(130).messages == []


def test_fee_of_an_order_of_which_no_fill_is_known_is_taken_from_the_result_whole() -> None:
    history = held()
    flatten(history)
    history.run_to_exit()
    history.fill(2, 490, EXIT_1)
    history.fee(130)
    history.fee(130, EXIT_1)
    history.broker(0)
    first = history.last(positions.PositionClosed)
    history.fee(50, f"{STEM}-x9")
    last = history.last(positions.PositionClosed)
    assert (last.fees_cents - first.fees_cents, last.realised_cents - first.realised_cents) == (50, -50)


def test_stop_that_has_fired_is_on_record_as_the_reason_of_the_end() -> None:
    history = History()
    history.actor = PositionActor(NAME, load_settings(profile="real", overrides={"exits": {"disaster_stop": True}}))
    history.hold(2)
    history.run_to_exit()
    history.fill(1, 200, EXIT_1)
    assert known(history.state.wanted).reason is ExitReason.DISASTER
    history.fill(1, 200, EXIT_1)
    history.broker(0)
    history.wait(RULES.record_wait_ms)
    assert history.cycle() is PositionState.FLAT
    assert history.last(positions.RecordPosition).exit_reason is ExitReason.DISASTER
