"""A leg that takes part in one order for all legs: what it joins, what it only cancels, and what waits for its end."""

from __future__ import annotations

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from domain.instants import MS, SECOND
from domain.instruments import OrderType, Side
from domain.orders.intent import DecisionPrices, PositionRef
from domain.orders.tiers import Tier
from domain.position.cycle import ExitKind, ExitReason, PositionState
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.units import Qty, Ticks
from messages import broker, entries, market, orders, positions, risk
from tests.testkit.position_history import ENTRY, EXIT_1, EXIT_2, REF, History, held_position, settings

COVER = replace(REF, structure_id="s1", strategy="spread")
SHORT = replace(COVER, side=Side.SELL, direction=-1)
COMBO = "ZH-paper-COVERCOVERCO-x1"
BOTH = pytest.mark.parametrize("ref", [COVER, SHORT], ids=["cover", "short"])


def leg(history: History) -> positions.LegChanged:
    return history.last(positions.LegChanged)


def open_joint(ref: PositionRef, qty: int = 2) -> History:
    history = History(ref)
    history.feed(
        entries.OpenPosition(
            ref=ref, order_ref=ENTRY, qty=Qty(qty), limit_ticks=Ticks(500),
            decision=DecisionPrices(Ticks(490), Ticks(505), Ticks(600_000)), permit=history.permit(2_000),
            deadline_utc=history.now + 10 * SECOND, is_joint=True,
        )
    )  # fmt: skip
    return history


def held(ref: PositionRef, qty: int = 2) -> History:
    """Return a leg that one order has opened."""
    history = open_joint(ref, qty)
    history.order_sent()
    history.ack()
    history.quote(495, 505)
    history.fill(qty, 500)
    history.ended(ENTRY, qty)
    history.broker(qty if ref.side is Side.BUY else -qty)
    history.wait(1)
    return history


def join(history: History, exit_n: int = 1, qty: int = 2, structure_id: str = "s1") -> None:
    history.feed(
        positions.JoinExit(
            structure_id=structure_id, exit_n=exit_n, qty=Qty(qty), combo_ref=COMBO, reason=ExitReason.POSITION_LOSS
        )
    )  # fmt: skip


def joined(ref: PositionRef) -> History:
    """Return a leg whose exit for all legs works."""
    history = held(ref)
    join(history)
    history.order_sent(EXIT_1)
    history.ack(EXIT_1)
    return history


# -- in -----------------------------------------------------------------------------------------------


@BOTH
def test_an_entry_of_all_legs_is_awaited_and_not_sent(ref: PositionRef) -> None:
    history = open_joint(ref)
    assert not history.all(orders.SubmitOrder)
    assert (leg(history).joint_ref, leg(history).joint_ticks, leg(history).is_entry_over) == (ENTRY, 500, False)
    history.order_sent()
    history.fill(2, 500)
    assert (history.cycle(), leg(history).joint_ref, leg(history).qty) == (PositionState.OPEN, UNSET, 2)


@BOTH
def test_an_entry_of_all_legs_is_cancelled_at_its_deadline_and_by_a_kill(ref: PositionRef) -> None:
    for late in (True, False):
        history = open_joint(ref)
        history.order_sent()
        history.ack()
        if late:
            history.wait(10_100)
        else:
            history.feed(risk.KillRaised(level=KillLevel.NO_ENTRIES, kill_epoch=4, reason="", by=""))
        assert history.last(orders.CancelOrder).order_ref == ENTRY


def test_an_entry_that_nobody_sent_is_looked_for_and_given_up_late() -> None:
    history = open_joint(COVER)
    history.wait(2_100)
    assert history.last(orders.RequestOrderState).order_ref == ENTRY
    history.missing(ENTRY)
    assert history.cycle() is PositionState.PENDING_ENTRY
    history.wait(25_000)
    history.missing(ENTRY)
    assert history.cycle() is PositionState.FLAT
    assert history.all(positions.EntryAbandoned)


# -- out: who takes part ------------------------------------------------------------------------------


@pytest.mark.parametrize(("ref", "price"), [(COVER, 495), (SHORT, 505)], ids=["cover", "short"])
def test_a_leg_that_joins_has_its_part_recorded_and_sends_nothing(ref: PositionRef, price: int) -> None:
    history = held(ref)
    join(history)
    (intent,) = history.all(orders.RecordExitIntent)
    assert (intent.order_ref, intent.qty, intent.side, intent.combo_ref) == (EXIT_1, 2, ref.side.opposite, COMBO)
    assert not history.all(orders.SubmitOrder)
    assert (leg(history).joint_ref, leg(history).joint_ticks) == (EXIT_1, price)
    assert (leg(history).exit_reason, leg(history).is_entry_over) == (None, True)
    order = history.state.orders.exit
    assert order is not None
    assert (order.order_type, order.tier, intent.tier) == (OrderType.LIMIT, Tier.NONE, Tier.NONE)
    assert order.deadline_utc == order.sent_utc + settings().connection.abandon_wait_ms * MS


@BOTH
def test_a_ledger_that_does_not_record_a_legs_part_halts_entries(ref: PositionRef) -> None:
    for records in (True, False):
        history = held(ref)
        history.records_exits = records
        join(history)
        history.wait(250)
        assert bool(history.all(risk.RaiseKill, "kill")) is not records


@BOTH
def test_a_leg_of_one_contract_joins_too(ref: PositionRef) -> None:
    history = held(ref, 1)
    join(history, qty=1)
    assert [intent.qty for intent in history.all(orders.RecordExitIntent)] == [1]


@BOTH
def test_a_leg_does_not_join_what_is_not_its_own_or_not_all_of_it(ref: PositionRef) -> None:
    for changes in ({"qty": 1}, {"structure_id": "s2"}, {"exit_n": 0}):
        history = held(ref)
        join(history, **changes)
        assert not history.all(orders.RecordExitIntent), changes


@BOTH
def test_a_leg_of_which_a_late_fill_has_closed_the_last_does_not_join_with_none(ref: PositionRef) -> None:
    history = held(ref)
    history.fill(2, 490, EXIT_1)
    assert history.cycle() is PositionState.OPEN
    join(history, exit_n=2, qty=0)
    assert not history.all(orders.RecordExitIntent)


@BOTH
def test_a_leg_that_leaves_by_itself_or_cannot_be_priced_does_not_join(ref: PositionRef) -> None:
    leaving, blind, lost, late, halted = held(ref), held(ref), held(ref), held(ref), held(ref)
    leaving.feed(positions.FlattenPosition(reason=ExitReason.UNWIND))
    blind.wait(60_000)
    lost.mode(Mode.DEGRADED)
    late.phase(Phase.PANIC)
    halted.feed(market.HaltChanged(ticker="SPX", is_halted=True, at_utc=halted.now))
    for history in (leaving, blind, lost, late, halted):
        before = len(history.all(orders.RecordExitIntent))
        join(history)
        assert len(history.all(orders.RecordExitIntent)) == before
        assert leg(history).joint_ref is UNSET


def test_a_leg_joins_once() -> None:
    history = joined(SHORT)
    join(history)
    join(history, exit_n=2)
    assert len(history.all(orders.RecordExitIntent)) == 1


# -- out: what becomes of it --------------------------------------------------------------------------


@BOTH
def test_a_whole_fill_ends_the_life_though_the_cover_was_never_freed(ref: PositionRef) -> None:
    history = joined(ref)
    history.fill(2, 480, EXIT_1)
    history.ended(EXIT_1, 2)
    history.broker(0)
    history.wait(1_000)
    closed = history.last(positions.PositionClosed)
    assert (closed.reason, history.cycle()) == (ExitReason.POSITION_LOSS, PositionState.FLAT)
    assert not history.all(orders.SubmitOrder)


@BOTH
def test_it_is_neither_changed_nor_hurried(ref: PositionRef) -> None:
    history = joined(ref)
    for _ in range(8):
        history.quote(300, 700)
        history.wait(1_500)
    assert not history.all(orders.ModifyOrder)
    assert not history.all(orders.SubmitOrder)
    assert not history.all(orders.CancelOrder)


@pytest.mark.parametrize("why", ["end of day", "kill", "unwind", "panic"])
@BOTH
def test_a_leg_that_is_to_leave_by_itself_cancels_it_first_and_goes_when_it_is_over(ref: PositionRef, why: str) -> None:
    history = joined(ref)
    match why:
        case "kill":
            history.feed(risk.KillRaised(level=KillLevel.FLATTEN, kill_epoch=4, reason="", by=""))
        case "end of day":
            history.phase(Phase.FLATTEN)
        case "panic":
            history.phase(Phase.PANIC)
        case _:
            history.feed(positions.FlattenPosition(reason=ExitReason.UNWIND))
    assert [cancel.order_ref for cancel in history.all(orders.CancelOrder)] == [EXIT_1]
    history.wait(300)
    assert not history.all(orders.SubmitOrder)
    history.ended(EXIT_1, 0, "Cancelled")
    history.wait(300)
    sent = [command.order for command in history.all(orders.SubmitOrder)]
    if ref is COVER or why == "panic":  # a cover waits for its shorts; the panic window itself wants nothing out
        assert sent == []
        assert leg(history).joint_ref is UNSET
    else:
        assert [(order.order_ref, order.side, order.qty) for order in sent] == [(EXIT_2, Side.BUY, 2)]


def test_a_part_that_filled_meanwhile_is_not_closed_again() -> None:
    history = joined(SHORT)
    history.feed(positions.FlattenPosition(reason=ExitReason.UNWIND))
    history.fill(1, 505, EXIT_1)
    history.ended(EXIT_1, 1, "Cancelled")
    history.wait(300)
    assert (history.last_order.order_ref, history.last_order.qty) == (EXIT_2, 1)


@BOTH
def test_a_denial_ends_it_and_nothing_is_sent_in_its_place(ref: PositionRef) -> None:
    history = held(ref)
    join(history)
    history.feed(broker.OrderDenied(order_ref=EXIT_1, code=RejectCode.EXIT_OVERSELL, why="not now"))
    history.wait(5_000)
    assert leg(history).joint_ref is UNSET
    assert not history.all(orders.SubmitOrder)


def test_one_that_was_never_sent_is_looked_for_and_given_up() -> None:
    history = held(SHORT)
    join(history)
    history.wait(2_100)
    assert history.last(orders.RequestOrderState).order_ref == EXIT_1
    history.missing(EXIT_1)
    assert leg(history).joint_ref is UNSET


def test_a_lost_link_puts_it_in_doubt() -> None:
    history = joined(COVER)
    history.mode(Mode.DEGRADED)
    history.reconciled(2)
    assert history.last(orders.RequestOrderState).order_ref == EXIT_1
    history.found(EXIT_1, working=False, filled=0)
    assert leg(history).joint_ref is UNSET


def test_after_a_restart_it_is_cancelled_and_the_short_goes_by_itself() -> None:
    history = History(SHORT)
    known = held_position(exit_reason=ExitReason.POSITION_LOSS)
    assert known.reservation is not None
    reservation = replace(known.reservation, ref=SHORT)
    fills = tuple(replace(fill, side=Side.SELL) for fill in known.fills)
    history.restart(
        replace(known, reservation=reservation, fills=fills, exit_kind=ExitKind.FULL, tier=Tier.NONE)
    )  # fmt: skip
    history.mode(Mode.FULLY_LIVE)
    history.broker(-2)
    history.quote(495, 505)
    history.found(EXIT_1, working=True, filled=0)
    history.feed(orders.ModifyRefused(order_ref=EXIT_1, vendor_code=0, text="never changed"))
    assert history.last(orders.CancelOrder).order_ref == EXIT_1
    history.ended(EXIT_1, 0, "Cancelled")
    history.wait(300)
    assert (history.last_order.order_ref, history.last_order.side) == (EXIT_2, Side.BUY)
