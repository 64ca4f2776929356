"""The books of a position: fills that no disk has seen, late fees, refused entries, the stop at the broker."""

from __future__ import annotations

from functools import cache

import pytest
from msgspec.structs import replace

from actors.position import PositionActor
from config.settings import Settings, load_settings
from domain.instants import SECOND
from domain.instruments import OrderType, Side
from domain.orders.tiers import Tier
from domain.position.cycle import EndReason, ExitKind, ExitReason, PositionState
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.phases import Phase
from messages import broker, entries, operator, orders, positions, risk
from tests.testkit.position_history import (
    ENTRY,
    EXIT_1,
    EXIT_2,
    NAME,
    REF,
    STEM,
    History,
    held_position,
    tape,
)

# -- fills that no disk has seen -------------------------------------------------------------------


def fill_of(
    history: History, exec_id: str, total: int, *, ref: str = ENTRY, price: int = 500, is_durable: bool = True,
    revision: int = 1, is_price_known: bool = True,
) -> None:  # fmt: skip
    """A report whose totals are `total` contracts at one price."""
    history.feed(
        orders.FillRecorded(
            order_ref=ref, con_id=812, side=Side.BUY if ref == ENTRY else Side.SELL, exec_id=exec_id,
            revision=revision, qty=1, price_ticks=price, at_utc=history.now, filled_qty_total=total,
            filled_cost_ticks_total=total * price, is_durable=is_durable, is_price_known=is_price_known,
        )
    )  # fmt: skip


@pytest.mark.parametrize("order", ["not durable first", "durable first"])
def test_a_fill_told_by_both_counts_once_in_whatever_order(order: str) -> None:
    history = History()
    history.open(qty=2)
    history.ack()
    durable_first = order == "durable first"
    for exec_id, total in (("a", 1), ("b", 2)):
        for is_durable in (durable_first, not durable_first):
            fill_of(history, exec_id, total, is_durable=is_durable)
    assert history.state.fills.held == 2
    assert [booked.held_qty for booked in history.all(positions.FillBooked)] == [1, 2]


def test_a_ledger_that_comes_back_late_takes_no_fill_away() -> None:
    history = History()
    history.open(qty=3)
    history.ack()
    for exec_id, total in (("a", 1), ("b", 2), ("c", 3)):
        fill_of(history, exec_id, total, is_durable=False)
    fill_of(history, "a", 1)
    assert history.state.fills.held == 3
    fill_of(history, "b", 2)
    fill_of(history, "c", 3)
    assert (history.state.fills.held, history.state.fills.opened_cost_ticks) == (3, 1500)


def test_an_exit_goes_on_a_fill_that_the_ledger_never_saw() -> None:
    history = History()
    history.open(qty=1)
    history.ack()
    history.quote(495, 505)
    fill_of(history, "a", 1, is_durable=False)
    history.records_exits = False
    tape(history, [(320, 325), (320, 325)])
    history.wait(249)
    assert len(history.all(orders.SubmitOrder)) == 1
    history.wait(1)
    assert history.last_order.order_ref == EXIT_1
    assert history.last(risk.RaiseKill).level is KillLevel.NO_ENTRIES
    fill_of(history, "x", 1, ref=EXIT_1, price=320, is_durable=False)
    history.broker(0)
    history.wait(300)
    assert history.cycle() is PositionState.FLAT


def test_a_correction_is_believed_whoever_tells_it() -> None:
    history = History()
    history.open(qty=2)
    history.ack()
    fill_of(history, "a", 2)
    fill_of(history, "a", 1, revision=2)
    assert history.state.fills.held == 1


def test_the_execution_that_explains_an_adopted_fill_replaces_it() -> None:
    history = History()
    history.open(qty=2)
    history.ack()
    fill_of(history, "adopted", 2, price=480, is_price_known=False)
    assert history.state.fills.average_ticks == 480
    fill_of(history, "a", 1, price=500)
    fill_of(history, "b", 2, price=500)
    assert (history.state.fills.held, history.state.fills.average_ticks) == (2, 500)


# -- fees ------------------------------------------------------------------------------------------


def close(history: History, *, is_charged: bool) -> None:
    """Everything is sold at 3.20 and the broker agrees; the fees come in time, or not."""
    tape(history, [(320, 325), (320, 325)])
    history.run_to_exit()
    history.fill(2, 320, EXIT_1)
    if is_charged:
        history.fee(130)
        history.fee(130, EXIT_1)
    history.broker(0)
    history.wait(300)
    assert history.cycle() is PositionState.FLAT


def test_a_fee_that_comes_before_its_fill_is_not_lost() -> None:
    history = History()
    history.open(qty=2)
    history.ack()
    history.feed(
        orders.CommissionRecorded(order_ref=ENTRY, con_id=812, commission_cents_total=130, charged_qty_total=2)
    )
    history.quote(495, 505)
    history.fill(2, 500)
    history.ended(ENTRY, 2)
    history.broker(2)
    close(history, is_charged=False)
    history.fee(130, EXIT_1)
    assert history.last(positions.PositionClosed).fees_cents == 260


def test_a_late_fee_is_booked_on_the_position_that_is_closed() -> None:
    history = History()
    history.hold(2)
    close(history, is_charged=False)
    first = history.last(positions.PositionClosed)
    assert (first.fees_cents, first.is_correction) == (0, False)
    history.fee(130)
    history.fee(130, EXIT_1)
    last = history.last(positions.PositionClosed)
    assert (last.fees_cents, last.realised_cents, last.is_correction) == (260, first.realised_cents - 260, True)
    assert last.closed_utc == first.closed_utc
    history.fee(130, EXIT_1)  # told twice
    assert history.last(positions.PositionClosed) == last


def test_a_late_fee_does_not_fall_into_the_next_life_of_the_contract() -> None:
    history = History()
    history.hold(2)
    close(history, is_charged=False)
    next_ref = replace(REF, position_id="ZH-paper-BBBBBBBBBBBB", intent_id="intent-2")
    history.feed(
        entries.OpenPosition(
            ref=next_ref, order_ref="ZH-paper-BBBBBBBBBBBB-e", qty=1, limit_ticks=500,
            decision=history.state.decision or pytest.fail("no decision"), permit=history.permit(2000),
            deadline_utc=history.now + 10 * SECOND,
        )
    )  # fmt: skip
    history.fill(1, 500, "ZH-paper-BBBBBBBBBBBB-e")
    history.fee(130, EXIT_1)
    assert history.last(positions.PositionChanged).fees_cents == 0
    corrected = history.last(positions.PositionClosed)
    assert (corrected.ref, corrected.fees_cents, corrected.is_correction) == (REF, 130, True)


# -- entries that come to nothing ------------------------------------------------------------------


def test_every_entry_has_its_end_at_the_venue_at_the_next_full_second() -> None:
    history = History()
    history.open()
    assert history.last_order.good_till_utc == history.last_order.deadline_utc  # a full second already
    history = History()
    history.wait(1)
    history.open()
    request = history.last_order
    assert request.good_till_utc is not None
    assert (request.good_till_utc % SECOND, request.good_till_utc > request.deadline_utc) == (0, True)
    assert request.good_till_utc - request.deadline_utc < SECOND


def test_an_entry_past_its_deadline_is_cancelled() -> None:
    history = History()
    history.open(permit_ms=100)
    history.ack()
    history.wait(10_000)
    assert history.last(orders.CancelOrder).order_ref == ENTRY


@pytest.mark.parametrize("code", [RejectCode.PERMIT_KILLED, RejectCode.MODE_DEGRADED, RejectCode.DEADLINE_PASSED])
def test_an_accepted_entry_that_is_denied_amends_its_gate_row(code: RejectCode) -> None:
    history = History()
    history.open()
    history.feed(broker.OrderDenied(order_ref=ENTRY, code=code, why="because"))
    amended = history.last(entries.EntryAmended)
    assert (amended.key, amended.intent_id, amended.code, amended.words) == (REF.key, "intent-1", code, "because")


def test_an_accepted_entry_that_the_broker_rejects_amends_its_gate_row_with_the_brokers_words() -> None:
    history = History()
    history.open()
    history.order_sent()
    rejected = orders.OrderRejected(order_ref=ENTRY, vendor_code=201, text="Order rejected - no margin")
    history.feed(rejected)
    history.feed(rejected)
    assert [a.code for a in history.all(entries.EntryAmended)] == [RejectCode.BROKER_REJECTED]
    assert history.last(entries.EntryAmended).words == "Order rejected - no margin (201)"


def test_an_entry_that_only_found_no_seller_amends_nothing() -> None:
    history = History()
    history.open()
    history.ack()
    history.wait(8000)
    history.ended(ENTRY, 0, "Cancelled")
    assert history.all(entries.EntryAmended) == []


def test_an_entry_of_an_unknown_fate_or_with_a_fill_amends_nothing() -> None:
    history = History()
    history.open()
    history.feed(broker.OrderDenied(order_ref=ENTRY, code=RejectCode.DUPLICATE_REF, why="seen before"))
    assert history.all(entries.EntryAmended) == []
    filled = History()
    filled.open()
    filled.fill(1, 500)
    filled.feed(broker.OrderDenied(order_ref=ENTRY, code=RejectCode.PERMIT_KILLED, why="too late"))
    assert filled.all(entries.EntryAmended) == []


def test_every_fill_is_told_with_its_price() -> None:
    history = History()
    history.hold(2)
    booked = history.last(positions.FillBooked)
    assert (booked.side, booked.qty, booked.price_ticks, booked.is_entry) == (Side.BUY, 2, 500, True)
    history.feed(positions.FlattenPosition(reason=ExitReason.KILL))
    history.run_to_exit()
    history.fill(1, 480, EXIT_1)
    booked = history.last(positions.FillBooked)
    assert (booked.side, booked.qty, booked.price_ticks, booked.is_entry) == (Side.SELL, 1, 480, False)
    assert booked.held_qty == 1


# -- the stop that rests at the broker -------------------------------------------------------------


@cache
def with_stop() -> Settings:
    return load_settings(profile="real", overrides={"exits": {"disaster_stop": True}})


def guarded(qty: int = 2) -> History:
    """A position whose resting stop works."""
    history = History()
    history.actor = PositionActor(NAME, with_stop())
    history.hold(qty)
    history.run_to_exit(EXIT_1)
    return history


def test_a_stop_rests_at_the_broker_from_the_fill_on_and_changes_nothing_else() -> None:
    history = guarded()
    stop = history.last_order
    assert (stop.order_type, stop.stop_ticks, stop.limit_ticks, stop.qty) == (OrderType.STOP, 200, None, 2)
    assert (stop.side, stop.is_exit, history.cycle()) == (Side.SELL, True, PositionState.OPEN)
    assert history.last(orders.RecordExitIntent).reason is ExitReason.DISASTER
    history.wait(4000)
    history.quote(495, 505)
    assert len(history.all(orders.SubmitOrder)) == 2


def test_no_stop_rests_where_the_settings_do_not_say_so() -> None:
    history = History()
    history.hold(2)
    assert len(history.all(orders.SubmitOrder)) == 1


def test_the_stop_waits_for_the_whole_entry() -> None:
    history = History()
    history.actor = PositionActor(NAME, with_stop())
    history.open(qty=2)
    history.ack()
    history.fill(1, 500)
    assert len(history.all(orders.SubmitOrder)) == 1
    history.fill(1, 500)
    assert (history.last_order.order_type, history.last_order.qty) == (OrderType.STOP, 2)


def test_an_exit_modifies_the_resting_stop_and_sends_no_second_order() -> None:
    history = guarded()
    tape(history, [(320, 325), (320, 325)])
    change = history.last_change
    assert (change.order_ref, change.order_type, change.limit_ticks, change.qty) == (EXIT_1, OrderType.LIMIT, 320, 2)
    history.wait(2000)
    assert history.last_change.order_type is OrderType.MARKET
    assert len(history.all(orders.SubmitOrder)) == 2


def test_a_part_taken_lowers_the_resting_stop_to_it_and_a_new_one_guards_the_rest() -> None:
    history = guarded(3)
    tape(history, [(745, 755)])
    assert (history.last_change.qty, history.last_change.order_type) == (2, OrderType.LIMIT)
    assert history.last(orders.RecordExitIntent).kind is ExitKind.TAKE_PART
    history.fill(2, 750, EXIT_1)
    assert history.cycle() is PositionState.OPEN
    assert (history.last_order.order_ref, history.last_order.order_type) == (EXIT_2, OrderType.STOP)
    assert history.last_order.qty == 1


def test_a_stop_that_triggers_ends_the_position_as_the_disaster_it_is() -> None:
    history = guarded()
    history.fill(1, 190, EXIT_1)
    assert history.wanted_reason is ExitReason.DISASTER
    assert history.all(orders.ModifyOrder) == []
    history.fill(1, 188, EXIT_1)
    history.broker(0)
    history.wait(300)
    closed = history.last(positions.PositionClosed)
    assert (closed.reason, closed.end) == (ExitReason.DISASTER, EndReason.CLOSED)
    assert len(history.all(orders.SubmitOrder)) == 2


def test_a_refused_stop_is_said_and_not_tried_for_ever() -> None:
    history = History()
    history.actor = PositionActor(NAME, with_stop())
    history.hold(2)
    history.order_sent(EXIT_1)
    history.feed(orders.OrderRejected(order_ref=EXIT_1, vendor_code=387, text="Unsupported order type"))
    history.found(EXIT_1, working=False, filled=0)
    for _ in range(20):
        history.wait(1000)
        history.quote(495, 505)
    assert len(history.all(orders.SubmitOrder)) == 2
    assert "Unsupported order type (387)" in history.last(operator.Alarm).text
    tape(history, [(320, 325), (320, 325)])
    assert history.last_order.order_ref == EXIT_2


def test_a_stop_that_the_broker_cancelled_is_placed_again() -> None:
    history = guarded()
    history.ended(EXIT_1, 0, "Cancelled")
    history.found(EXIT_1, working=False, filled=0)
    history.wait(2000)
    assert (history.last_order.order_ref, history.last_order.order_type) == (EXIT_2, OrderType.STOP)


def test_a_resting_stop_found_after_a_restart_is_kept() -> None:
    history = History()
    history.actor = PositionActor(NAME, with_stop())
    history.restart(replace(held_position(exit_reason=ExitReason.DISASTER), state=PositionState.OPEN))
    assert history.cycle() is PositionState.OPEN
    assert history.last(orders.RequestOrderState).order_ref == EXIT_1
    history.found(EXIT_1, working=True, filled=0, order_type=OrderType.STOP)
    assert history.all(orders.SubmitOrder) == []
    assert history.state.exit_tier is Tier.NONE
    history.phase(Phase.FLATTEN)
    assert (history.last_change.order_ref, history.last_change.order_type) == (EXIT_1, OrderType.MARKET)


def test_no_stop_is_placed_in_the_panic_window() -> None:
    history = guarded()
    assert STEM in history.last_order.order_ref
    history.phase(Phase.FLATTEN)
    history.fill(2, 400, EXIT_1)
    assert len(history.all(orders.SubmitOrder)) == 2
