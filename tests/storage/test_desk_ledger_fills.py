"""Executions, fees, exits and what comes back to positions from a desk's ledger."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instants import SECOND
from domain.instruments import Side
from domain.orders.table import OrderStatus
from domain.orders.tiers import Tier
from domain.position.cycle import ExitKind, ExitReason, PositionState
from domain.units import Qty
from messages import entries, lifecycle, orders, risk, session
from messages.base import Message
from messages.ledgers import DeskInput
from messages.restored import ActorsRestored, IbkrRestored, OwnOrder, PositionRestored, Restored
from storage.desk_ledger import DeskLedger
from tests.testkit import ledger_asks as ask


@pytest.fixture
def ledger(tmp_path: Path) -> DeskLedger:
    return opened(tmp_path)


def opened(folder: Path, run_n: int = 1) -> DeskLedger:
    desk = DeskLedger(folder, "paper", run_n=run_n)
    desk.open()
    return desk


def told(ledger: DeskLedger, message: DeskInput) -> tuple[Message, ...]:
    """What is told of a message, but for the acknowledgement that an execution was taken."""
    return tuple(fact for fact in ledger.apply(message, ask.T0) if not isinstance(fact, orders.ExecutionRecorded))


def restored(ledger: DeskLedger, name: str) -> Restored | None:
    (reply,) = ledger.apply(lifecycle.RequestState(name=name, reply_to="supervisor", session=ask.DAY), ask.T0)
    assert isinstance(reply, lifecycle.StateRead)
    return reply.restored


def position_of(ledger: DeskLedger, con_id: int = 1) -> PositionRestored:
    found = restored(ledger, f"position:paper:{con_id}")
    assert isinstance(found, PositionRestored)
    return found


def live(ledger: DeskLedger) -> tuple[str, ...]:
    known = restored(ledger, "positions:paper")
    assert isinstance(known, ActorsRestored)
    return known.names


def reconciled(ledger: DeskLedger, asked: session.Reconcile) -> tuple[session.Reconciled, tuple[object, ...]]:
    *facts, last = ledger.apply(asked, ask.T0)
    assert isinstance(last, session.Reconciled)
    return last, tuple(facts)


# -- executions ---------------------------------------------------------------------------------


def test_a_fill_is_told_with_totals_which_a_repeat_leaves_as_they_are(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    (first,) = told(ledger, ask.execution(exec_id="e.1", qty=1))
    assert told(ledger, ask.execution(exec_id="e.1", qty=1)) == (first,)
    (second,) = told(ledger, ask.execution(exec_id="e.2", qty=1, price_ticks=520))
    assert isinstance(first, orders.FillRecorded)
    assert isinstance(second, orders.FillRecorded)
    assert (first.filled_qty_total, first.filled_cost_ticks_total) == (1, 500)
    assert (second.filled_qty_total, second.filled_cost_ticks_total, second.con_id) == (2, 1020, 1)


def test_a_correction_replaces_what_it_corrects_and_a_late_original_changes_nothing(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    (fact,) = told(ledger, ask.execution(revision=2, price_ticks=510))
    assert isinstance(fact, orders.FillRecorded)
    assert (fact.filled_qty_total, fact.filled_cost_ticks_total) == (2, 1020)
    assert told(ledger, ask.execution(revision=1, price_ticks=500)) == ()
    assert position_of(ledger).fills[0].cost_ticks == 1020


@settings(max_examples=60, deadline=None)
@given(
    said=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(100, 900)),
        min_size=1, max_size=8, unique_by=lambda e: e[:2],
    ),
    data=st.data(),
)  # fmt: skip
def test_any_order_of_executions_corrections_and_repeats_gives_the_same_totals(
    said: list[tuple[int, int, int, int]], data: st.DataObject
) -> None:
    heard = data.draw(st.permutations(said + data.draw(st.lists(st.sampled_from(said), max_size=4))))
    highest = {e[0]: e for e in sorted(said, key=lambda e: e[1])}
    with tempfile.TemporaryDirectory() as folder:
        ledger = DeskLedger(Path(folder), "paper", run_n=1, is_durable=False)
        ledger.open()
        ledger.apply(ask.reserve(), ask.T0)
        facts: list[Message] = []
        for base, revision, qty, price in heard:
            facts += told(ledger, ask.execution(exec_id=f"e.{base}", revision=revision, qty=qty, price_ticks=price))
        (fill,) = position_of(ledger).fills
        ledger.close()
    assert fill.qty == sum(e[2] for e in highest.values())
    assert fill.cost_ticks == sum(e[2] * e[3] for e in highest.values())
    last = facts[-1]
    assert isinstance(last, orders.FillRecorded)
    assert (last.filled_qty_total, last.filled_cost_ticks_total) == (fill.qty, fill.cost_ticks)


def test_a_correction_under_the_number_of_what_it_corrects_takes_the_next_one(ledger: DeskLedger) -> None:
    """A broker may number nothing: what was corrected while nobody listened comes as a first word."""
    ledger.apply(ask.reserve(), ask.T0)
    told(ledger, ask.execution(qty=2))
    for _ in range(2):
        (fill, *_) = told(ledger, ask.execution(qty=1))
        assert isinstance(fill, orders.FillRecorded)
        assert (fill.revision, fill.filled_qty_total) == (2, 1)
    assert told(ledger, ask.execution(qty=2)) == (), "an older word once more"
    (fill, *_) = told(ledger, ask.execution(qty=2, revision=2))
    assert isinstance(fill, orders.FillRecorded)
    assert (fill.revision, fill.filled_qty_total) == (3, 2)


def test_a_correction_that_was_made_while_nobody_ran_is_read_back(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    told(ledger, ask.execution(qty=2))
    facts = ledger.apply(ask.read((), (ask.fill(qty=Qty(1)),), (ask.broker_position(1, 1),)), ask.T0 + 60 * SECOND)
    assert [(fill.revision, fill.filled_qty_total) for fill in facts if isinstance(fill, orders.FillRecorded)] == [
        (2, 1)
    ]
    facts = ledger.apply(ask.read((), (ask.fill(qty=Qty(1)),), (ask.broker_position(1, 1),)), ask.T0 + 60 * SECOND)
    (found,) = [fact for fact in facts if isinstance(fact, session.Reconciled)]
    assert found.mismatches == ()


def test_an_execution_whose_position_is_over_is_not_told_again(ledger: DeskLedger) -> None:
    """The next holder of the contract would take it for a fill of its own."""
    ledger.apply(ask.reserve(1, con_id=5), ask.T0)
    told(ledger, ask.execution(1, con_id=5))
    ledger.apply(ask.commission(), ask.T0)
    ledger.apply(ask.closed(1, ref=ask.position_ref(1, con_id=5)), ask.T0)
    ledger.apply(ask.reserve(2, con_id=5), ask.T0)
    assert told(ledger, ask.execution(1, con_id=5)) == ()
    assert ledger.apply(ask.commission(), ask.T0) == ()


def test_an_execution_of_no_order_of_ours_is_kept_as_foreign_and_halts_entries(ledger: DeskLedger) -> None:
    for order_ref in ("", "someone", ask.ref(9)):
        stranger = ask.execution(exec_id=f"f{order_ref}", order_ref=order_ref or "-", con_id=77)
        (fact,) = told(ledger, stranger)
        assert isinstance(fact, risk.RaiseKill)
        assert fact.level == 1
        assert told(ledger, stranger) == ()  # with every read-back: a person may have resumed meanwhile
    assert position_of(ledger, 77).fills == ()


def test_a_late_fill_of_an_abandoned_entry_is_adopted_and_held_again(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.abandoned(1), ask.T0)
    assert live(ledger) == ()
    (fact,) = told(ledger, ask.execution())
    assert isinstance(fact, orders.FillRecorded)
    assert live(ledger) == ("position:paper:1",)


def test_a_late_fill_beside_another_holder_is_booked_and_halts_entries(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(1, con_id=5), ask.T0)
    ledger.apply(entries.ReleaseReservation(intent_id="i1", reason="no ack"), ask.T0)
    ledger.apply(ask.reserve(2, con_id=5), ask.T0)
    facts = told(ledger, ask.execution(1, con_id=5))
    assert [type(fact) for fact in facts] == [orders.FillRecorded, risk.RaiseKill]


def test_an_exit_that_went_out_unrecorded_still_counts(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    told(ledger, ask.execution())
    (fact,) = told(ledger, ask.execution(exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL))
    assert isinstance(fact, orders.FillRecorded)
    assert [(f.is_exit, f.side, f.qty) for f in position_of(ledger).fills] == [(False, "BUY", 2), (True, "SELL", 2)]


@pytest.mark.parametrize("fee_first", [True, False])
def test_a_fee_reaches_its_position_in_either_order(ledger: DeskLedger, fee_first: bool) -> None:
    fee = ask.commission()
    ledger.apply(ask.reserve(), ask.T0)
    heard = (fee, ask.execution()) if fee_first else (ask.execution(), fee)
    facts = [fact for message in heard for fact in told(ledger, message)]
    assert [type(fact) for fact in facts] == [orders.FillRecorded, orders.CommissionRecorded]
    assert facts[1] == orders.CommissionRecorded(
        order_ref=ask.ref(1), con_id=1, commission_cents_total=130, charged_qty_total=ask.fill().qty
    )
    assert ledger.apply(fee, ask.T0) == (facts[1],), "a total: told again it changes nothing"
    assert position_of(ledger).fills[0].fees_cents == 130


def test_a_fee_after_the_close_corrects_the_recorded_result(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    told(ledger, ask.execution())
    ledger.apply(ask.position(), ask.T0)
    closed = ask.closed(realised_cents=500, fees_cents=0)
    ledger.apply(closed, ask.T0)
    ledger.apply(ask.commission(), ask.T0)
    row = ledger._db.execute("SELECT realised_cents, fees_cents FROM positions").fetchone()
    assert tuple(row) == (370, 130)


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_fee_that_is_told_again_with_another_amount_replaces_the_first(ledger: DeskLedger, is_closed: bool) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    told(ledger, ask.execution())
    ledger.apply(ask.commission(cents=0), ask.T0)
    if is_closed:
        ledger.apply(ask.position(), ask.T0)
        ledger.apply(ask.closed(realised_cents=500, fees_cents=0), ask.T0)
    (fact,) = ledger.apply(ask.commission(cents=130), ask.T0)
    assert isinstance(fact, orders.CommissionRecorded)
    assert fact.commission_cents_total == 130
    if is_closed:
        row = ledger._db.execute("SELECT realised_cents, fees_cents FROM positions").fetchone()
        assert tuple(row) == (370, 130)


# -- what a position gets back ------------------------------------------------------------------


def test_a_position_comes_back_with_its_exit(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    assert position_of(ledger).state is PositionState.PENDING_ENTRY
    told(ledger, ask.execution())
    ledger.apply(ask.position(took_part=True), ask.T0)
    reply = ledger.apply(ask.exit_intent(), ask.T0)
    assert reply == (orders.ExitIntentRecorded(order_ref=ask.ref(1, "x1"), tier=Tier.MID),)
    ledger.apply(ask.exit_intent(tier=Tier.BID), ask.T0)
    told(ledger, ask.execution(exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL, qty=1))
    back = position_of(ledger)
    assert (back.state, back.exit_n, back.tier) == (PositionState.PENDING_EXIT, 1, Tier.BID)
    assert (back.exit_reason, back.exit_kind) == (ExitReason.PREMIUM_STOP, ExitKind.FULL)
    assert (back.exit_order_ref, back.took_part, back.entry_iv) == (ask.ref(1, "x1"), True, 0.2)
    assert [(f.order_ref, f.qty) for f in back.fills] == [(ask.ref(1), 2), (ask.ref(1, "x1"), 1)]


def test_a_finished_part_exit_does_not_come_back_as_running(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    told(ledger, ask.execution())
    ledger.apply(ask.exit_intent(), ask.T0)
    ledger.apply(ask.position(exit_n=1, took_part=True), ask.T0)
    assert (position_of(ledger).state, position_of(ledger).exit_n) == (PositionState.OPEN, 1)


def test_a_closed_position_leaves_its_contract_flat_and_its_result_standing(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    told(ledger, ask.execution())
    ledger.apply(ask.position(), ask.T0)
    ledger.apply(ask.closed(), ask.T0)
    ledger.apply(ask.closed(), ask.T0)
    ledger.apply(ask.position(state=PositionState.FLAT, realised_cents=99), ask.T0)
    assert position_of(ledger).state is PositionState.FLAT
    assert position_of(ledger).reservation is None
    assert live(ledger) == ()
    db = sqlite3.connect(tmp_path / "paper.db")
    assert db.execute("SELECT realised_cents, fees_cents, end, strategy FROM positions").fetchall() == [
        (-12_000, 260, "closed", "gexwatch")
    ]


def test_the_order_session_gets_its_live_orders_back(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(1), ask.T0)
    ledger.apply(ask.reserve(2), ask.T0)
    told(ledger, ask.execution(2))
    ledger.apply(orders.RecordOrderIds(order_ref=ask.ref(2), perm_id=5, status="filled"), ask.T0)
    ledger.apply(ask.exit_intent(2), ask.T0)
    assert restored(ledger, "ibkr:paper") == IbkrRestored(
        orders=(
            OwnOrder(order_ref=ask.ref(1), con_id=1, is_exit=False, side=Side.BUY, qty=2),
            OwnOrder(order_ref=ask.ref(2, "x1"), con_id=2, is_exit=True, side=Side.SELL, qty=2),
        )
    )


# -- legs that are sold to open, and structures -----------------------------------------------------


def test_a_sold_leg_is_held_short_and_bought_back(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(1, legs=(ask.leg(1, side=Side.SELL),)), ask.T0)
    told(ledger, ask.execution(1, side=Side.SELL))
    found, _ = reconciled(ledger, ask.read((), (), (ask.broker_position(1, -2),)))
    assert (found.mismatches, found.foreign_positions) == ((), ())
    reply = ledger.apply(ask.exit_intent(1, side=Side.BUY), ask.T0)
    assert reply == (orders.ExitIntentRecorded(order_ref=ask.ref(1, "x1"), tier=Tier.MID),)
    back = position_of(ledger)
    assert back.reservation is not None
    assert (back.reservation.ref.side, back.state) == (Side.SELL, PositionState.PENDING_EXIT)
    exit_ = OwnOrder(order_ref=ask.ref(1, "x1"), con_id=1, is_exit=True, side=Side.BUY, qty=2)
    known = restored(ledger, "ibkr:paper")
    assert isinstance(known, IbkrRestored)
    assert exit_ in known.orders
    told(ledger, ask.execution(1, exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.BUY))
    found, _ = reconciled(ledger, ask.read())
    assert found.mismatches == (), "flat again"


def test_a_late_fee_corrects_the_leg_that_it_is_for(ledger: DeskLedger) -> None:
    legs = (ask.leg(1), ask.leg(2, side=Side.SELL))
    ledger.apply(ask.reserve(1, legs=legs), ask.T0)
    short = ask.position_ref(2, intent_id="i1", side=Side.SELL)
    told(ledger, ask.execution(1, exec_id="e.1"))
    told(ledger, ask.execution(2, exec_id="e.2", side=Side.SELL))
    for n, ref in ((1, ask.position_ref(1)), (2, short)):
        ledger.apply(ask.position(n, ref=ref), ask.T0)
        ledger.apply(ask.closed(n, ref=ref, realised_cents=500, fees_cents=0), ask.T0)
    ledger.apply(ask.commission("e.1", 130), ask.T0)
    ledger.apply(ask.commission("e.2", 70), ask.T0)
    rows = ledger._db.execute("SELECT con_id, leg, side, structure_id, realised_cents, fees_cents FROM positions")
    assert rows.fetchall() == [(1, 0, "BUY", "i1", 370, 130), (2, 1, "SELL", "i1", 430, 70)]


# -- reconciliation -----------------------------------------------------------------------------


def test_a_fill_that_happened_while_away_is_adopted_once_and_is_no_stranger(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    filled = ask.read(
        (ask.broker_order(filled_qty=2, is_working=False, status=OrderStatus.FILLED),),
        (ask.fill(),),
        (ask.broker_position(),),
    )
    found, facts = reconciled(ledger, filled)
    assert [type(fact) for fact in facts] == [orders.FillRecorded]
    assert (found.adopted_fills, found.cancel_refs, found.foreign_positions, found.unverified, found.mismatches) == (
        1, (), (), (), (),
    )  # fmt: skip
    again, facts = reconciled(ledger, filled)
    assert (again.adopted_fills, facts) == (0, ())


def test_a_reserved_entry_that_the_broker_does_not_know_is_unverified(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(1), ask.T0)
    ledger.apply(ask.reserve(2), ask.T0)
    found, _ = reconciled(ledger, ask.read((ask.broker_order(2),)))
    assert found.unverified == (
        session.Unverified(
            intent_id="i1", order_ref=ask.ref(1), contract=ask.contract(1), deadline_utc=ask.T0 + 10 * SECOND
        ),
    )


def test_entries_of_an_earlier_run_and_of_ended_intents_are_cancelled_exits_stay(tmp_path: Path) -> None:
    first = opened(tmp_path, run_n=1)
    for n in (1, 2, 3):
        first.apply(ask.reserve(n), ask.T0)
    first.apply(ask.execution(2), ask.T0)
    first.apply(ask.exit_intent(2), ask.T0)
    first.apply(entries.ReleaseReservation(intent_id="i3", reason="no ack"), ask.T0)
    exit_order = ask.broker_order(2, ask.ref(2, "x1"), side=Side.SELL)
    working = ask.read((ask.broker_order(1), exit_order, ask.broker_order(3), ask.broker_order(4)))
    found, _ = reconciled(first, working)
    assert found.cancel_refs == (ask.ref(3), ask.ref(4)), "this run's own entry goes on"
    first.close()
    found, _ = reconciled(opened(tmp_path, run_n=2), working)
    assert found.cancel_refs == (ask.ref(1), ask.ref(3), ask.ref(4))


def test_what_is_not_ours_is_named(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(1), ask.T0)
    told(ledger, ask.execution(1))
    found, _ = reconciled(
        ledger,
        ask.read(
            (
                ask.broker_order(8, "manual"),
                ask.broker_order(9, ""),
                ask.broker_order(7, "ZH-live-1-e"),
                ask.broker_order(6, "old", is_working=False),
            ),
            (),
            (ask.broker_position(1, 3), ask.broker_position(8, -1)),
        ),
    )
    assert found.foreign_orders == ("manual", "perm:909", "ZH-live-1-e")
    assert [p.contract.con_id for p in found.foreign_positions] == [1, 8]
    assert found.cancel_refs == ()
    assert len(found.mismatches) == 2


def test_a_position_that_an_own_order_is_filling_right_now_is_a_mismatch_but_no_stranger(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(1), ask.T0)
    found, _ = reconciled(ledger, ask.read((ask.broker_order(1),), (), (ask.broker_position(1, 1),)))
    assert found.foreign_positions == ()
    assert len(found.mismatches) == 1


def test_a_position_that_is_gone_at_the_broker_is_a_mismatch(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(1), ask.T0)
    told(ledger, ask.execution(1))
    found, _ = reconciled(ledger, ask.read())
    assert found.mismatches == ("The broker holds none of contract 1, our executions make 2.",)
    assert found.foreign_positions == ()
