"""A combination in the desk's ledger: the broker's one order is kept leg by leg, each with its own executions."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from domain.instruments import Contract, Right, Side
from domain.orders.combo import COMBO_CON_ID
from domain.orders.intent import EntryPlan, OrderLeg, PlannedLeg
from domain.orders.table import OrderStatus
from domain.risk.reject import RejectCode
from domain.units import Cents, Qty, Ticks
from messages import entries, lifecycle, orders, risk, session
from messages.broker import BrokerPosition, Execution
from messages.restored import IbkrRestored, OwnOrder, StructureRestored
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from tests.testkit import ledger_asks as ask
from tests.testkit.narrow import known

SOLD = Contract(22, "SPX", "SPXW", ask.DAY, Ticks(600_000), Right.CALL)
PLAN = EntryPlan((PlannedLeg(Right.CALL, Side.BUY, 2, "SPX"), PlannedLeg(Right.CALL, Side.SELL, 2, "SPX")))
COVER_REF, SHORT_REF = ask.ref(1), ask.ref(101)


@pytest.fixture
def ledger(tmp_path: Path) -> DeskLedger:
    return opened(tmp_path)


def opened(folder: Path, run_n: int = 1) -> DeskLedger:
    start_run(folder, ("paper",), ask.T0)
    desk = DeskLedger(folder, "paper", run_n=run_n)
    desk.open()
    return desk


def vertical(n: int = 1, **changes: Any) -> entries.ReserveEntry:
    """An attempt at two verticals, which go out as one order."""
    cover = ask.leg(n)
    short = OrderLeg(
        contract=SOLD, side=Side.SELL, qty=Qty(2), limit_ticks=Ticks(800), order_ref=ask.ref(100 + n),
        decision=cover.decision,
    )  # fmt: skip
    values = {"source": "spread", "ticker": "SPX-SPY", "kind": "CREDIT_VERTICAL", "strategy": "spread", "plan": PLAN}
    return ask.reserve(n, **({"legs": (cover, short), "is_combo": True} | values | changes))


def fill(con_id: int, side: Side, exec_id: str, order_ref: str = COVER_REF, qty: int = 2) -> Execution:
    """Return an execution as the broker tells it: whatever it is of, under the order's one reference."""
    return ask.fill(1, exec_id, order_ref=order_ref, con_id=con_id, side=side, qty=Qty(qty))


FILLS = (fill(COMBO_CON_ID, Side.BUY, "w"), fill(1, Side.BUY, "c"), fill(22, Side.SELL, "s"))


def told(ledger: DeskLedger, *executions: Execution) -> list[orders.FillRecorded]:
    facts = [fact for e in executions for fact in ledger.apply(orders.RecordExecution(execution=e), ask.T0)]
    assert not [fact for fact in facts if isinstance(fact, risk.RaiseKill)]
    return [fact for fact in facts if isinstance(fact, orders.FillRecorded)]


def reconciled(ledger: DeskLedger, message: session.Reconcile) -> tuple[list[orders.FillRecorded], session.Reconciled]:
    facts = ledger.apply(message, ask.T0)
    (answer,) = [fact for fact in facts if isinstance(fact, session.Reconciled)]
    return [fact for fact in facts if isinstance(fact, orders.FillRecorded)], answer


def restored(ledger: DeskLedger, name: str) -> Any:
    (read,) = ledger.apply(lifecycle.RequestState(name=name, reply_to="supervisor", session=ask.DAY, read_n=1), ask.T0)
    assert isinstance(read, lifecycle.StateRead)
    return read.restored


def holding(contract: Contract, qty: int) -> BrokerPosition:
    return BrokerPosition(contract=contract, qty=Qty(qty), avg_cost_cents=Cents(50_000))


HELD = (holding(ask.contract(1), 2), holding(SOLD, -2))


# -- executions ---------------------------------------------------------------------------------------


def test_an_execution_belongs_to_the_leg_of_its_contract_and_the_wholes_to_none(ledger: DeskLedger) -> None:
    ledger.apply(vertical(), ask.T0)
    fills = told(ledger, *FILLS)
    assert [(f.order_ref, f.con_id, f.side, f.filled_qty_total) for f in fills] == [
        (COVER_REF, 1, Side.BUY, 2), (SHORT_REF, 22, Side.SELL, 2),
    ]  # fmt: skip
    assert [f.order_ref for f in told(ledger, *FILLS)] == [COVER_REF, SHORT_REF]  # told again, booked once
    found = known(restored(ledger, f"structure:paper:{COVER_REF.split('-')[2]}"))
    assert isinstance(found, StructureRestored)
    assert (found.cover.held_qty, found.short.held_qty, found.ratio) == (2, 2, 1)


def test_a_fee_goes_to_the_leg_of_its_execution(ledger: DeskLedger) -> None:
    ledger.apply(vertical(), ask.T0)
    told(ledger, *FILLS)
    (fee,) = ledger.apply(ask.commission("s"), ask.T0)
    assert isinstance(fee, orders.CommissionRecorded)
    assert (fee.order_ref, fee.con_id) == (SHORT_REF, 22)


def test_an_exit_is_divided_too_even_where_a_legs_part_was_never_recorded(ledger: DeskLedger) -> None:
    ledger.apply(vertical(), ask.T0)
    told(ledger, *FILLS)
    head = ask.ref(1, "x1")
    ledger.apply(ask.exit_intent(1, combo_ref=head), ask.T0)
    fills = told(ledger, fill(1, Side.SELL, "xc", head), fill(22, Side.BUY, "xs", head))
    assert [(f.order_ref, f.con_id) for f in fills] == [(head, 1), (ask.ref(101, "x1"), 22)]
    found = known(restored(ledger, "position:paper:22"))
    assert {f.order_ref: f.qty for f in found.fills} == {SHORT_REF: 2, ask.ref(101, "x1"): 2}


def test_an_order_of_one_contract_is_kept_as_it_was(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(3), ask.T0)
    (only,) = told(ledger, ask.fill(3, "p"))
    assert (only.order_ref, only.con_id) == (ask.ref(3), 3)


# -- a reading of the broker --------------------------------------------------------------------------


def test_a_reading_adopts_each_legs_fill_and_finds_nothing_foreign(ledger: DeskLedger) -> None:
    ledger.apply(vertical(), ask.T0)
    order = ask.broker_order(
        1, con_id=COMBO_CON_ID, filled_qty=Qty(2), status=OrderStatus.FILLED, is_working=False, limit_ticks=Ticks(-300)
    )
    fills, answer = reconciled(ledger, ask.read((order,), FILLS, HELD))
    assert [f.order_ref for f in fills] == [COVER_REF, SHORT_REF]
    assert (answer.foreign_positions, answer.foreign_orders, answer.mismatches, answer.unverified) == ((), (), (), ())


def test_a_reading_without_executions_adopts_what_the_order_says_is_filled_of_each_leg(ledger: DeskLedger) -> None:
    ledger.apply(vertical(), ask.T0)
    order = ask.broker_order(
        1, con_id=COMBO_CON_ID, filled_qty=Qty(2), status=OrderStatus.FILLED, is_working=False, limit_ticks=Ticks(-300)
    )
    fills, answer = reconciled(ledger, ask.read((order,), (), HELD))
    assert [(f.order_ref, f.qty, f.is_price_known) for f in fills] == [(COVER_REF, 2, False), (SHORT_REF, 2, False)]
    assert not answer.foreign_positions


def test_a_working_entry_of_an_earlier_run_is_cancelled(tmp_path: Path) -> None:
    opened(tmp_path).apply(vertical(), ask.T0)
    later = opened(tmp_path, run_n=2)
    order = ask.broker_order(1, con_id=COMBO_CON_ID, limit_ticks=Ticks(-300))
    _, answer = reconciled(later, ask.read((order,)))
    assert COVER_REF in answer.cancel_refs


def test_one_leg_at_the_broker_without_the_other_is_told(ledger: DeskLedger) -> None:
    ledger.apply(vertical(), ask.T0)
    order = ask.broker_order(
        1, con_id=COMBO_CON_ID, filled_qty=Qty(2), status=OrderStatus.FILLED, is_working=False, limit_ticks=Ticks(-300)
    )
    _, answer = reconciled(ledger, ask.read((order,), (FILLS[1],), (HELD[0],)))
    assert any(SHORT_REF in text for text in answer.mismatches)


def test_a_combination_of_somebody_else_stays_foreign(ledger: DeskLedger) -> None:
    order = ask.broker_order(9, order_ref="", con_id=COMBO_CON_ID)
    _, answer = reconciled(ledger, ask.read((order,)))
    assert answer.foreign_orders


def test_rows_without_a_reference_are_known_by_the_number_that_all_legs_share(ledger: DeskLedger) -> None:
    ledger.apply(vertical(), ask.T0)
    for ref in (COVER_REF, SHORT_REF):
        ledger.apply(orders.RecordOrderIds(order_ref=ref, perm_id=901, status="working"), ask.T0)
    nameless = tuple(replace(e, order_ref="") for e in FILLS)
    fills, answer = reconciled(ledger, ask.read((), nameless, HELD))
    assert [f.order_ref for f in fills] == [COVER_REF, SHORT_REF]
    assert answer.named == ((901, COVER_REF),)


# -- what it gives back, and what it keeps --------------------------------------------------------------


def test_the_order_session_is_told_which_orders_are_one(ledger: DeskLedger) -> None:
    ledger.apply(vertical(), ask.T0)
    assert restored(ledger, "ibkr:paper") == IbkrRestored(
        orders=tuple(
            OwnOrder(order_ref=ref, con_id=con_id, is_exit=False, side=side, qty=Qty(2), combo_ref=COVER_REF)
            for ref, con_id, side in sorted([(COVER_REF, 1, Side.BUY), (SHORT_REF, 22, Side.SELL)])
        )
    )


def test_the_history_of_each_leg_says_that_it_went_out_with_the_other(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(vertical(), ask.T0)
    told(ledger, *FILLS)
    with sqlite3.connect(tmp_path / "paper.db") as db:
        found = db.execute("SELECT order_ref, event, words FROM order_events ORDER BY n").fetchall()
    for ref in (COVER_REF, SHORT_REF):
        said = [(event, words) for order_ref, event, words in found if order_ref == ref]
        assert said[0][0] == "intended"
        assert all(label in said[0][1] for label in (ask.contract(1).label, SOLD.label, "one order"))
        assert [event for event, _ in said].count("fill") == 1


@pytest.mark.parametrize("direction", [1, -1])
def test_both_directions_of_its_underlying_are_taken_while_it_is_held(ledger: DeskLedger, direction: int) -> None:
    ledger.apply(vertical(), ask.T0)
    (answer,) = ledger.apply(ask.reserve(5, direction=direction), ask.T0)
    assert isinstance(answer, entries.EntryRefused)
    assert answer.finding.code is RejectCode.REVERSE_WITHOUT_FLAT


def test_a_contract_that_is_held_leaves_no_leg_reserved(ledger: DeskLedger) -> None:
    limits = {"forbid_reverse_without_flat": False}
    ledger.apply(ask.reserve(7, legs=(ask.leg(7, 22),), **limits), ask.T0)
    (answer,) = ledger.apply(vertical(**limits), ask.T0)
    assert isinstance(answer, entries.EntryRefused)
    assert answer.finding.code is RejectCode.DUPLICATE_POSITION
    assert restored(ledger, "positions:paper").names == ("position:paper:22",)


def test_it_counts_once_for_its_ticker(ledger: DeskLedger) -> None:
    limits = {"forbid_reverse_without_flat": False, "positions_per_ticker_max": 2}
    ledger.apply(vertical(**limits), ask.T0)
    (answer,) = ledger.apply(ask.reserve(5, **limits), ask.T0)
    assert isinstance(answer, entries.EntryReserved)


# -- four legs ------------------------------------------------------------------------------------------

PUTS = tuple(
    Contract(con_id, "SPX", "SPXW", ask.DAY, Ticks(strike), Right.PUT) for con_id, strike in ((31, 1), (32, 2))
)
CONDOR_REFS = (COVER_REF, SHORT_REF, ask.ref(201), ask.ref(301))


def condor() -> entries.ReserveEntry:
    """An attempt at two iron condors, which go out as one order."""
    calls = vertical().legs
    puts = (
        replace(calls[0], contract=PUTS[0], order_ref=CONDOR_REFS[2]),
        replace(calls[1], contract=PUTS[1], order_ref=CONDOR_REFS[3]),
    )
    planned = (PlannedLeg(Right.PUT, Side.BUY, 2, "SPX"), PlannedLeg(Right.PUT, Side.SELL, 2, "SPX"))
    return vertical(kind="IRON_CONDOR", legs=(*calls, *puts), plan=EntryPlan((*PLAN.legs, *planned)))


def test_four_legs_are_reserved_each_in_its_direction_and_come_back_in_pairs(ledger: DeskLedger) -> None:
    assert isinstance(ledger.apply(condor(), ask.T0)[0], entries.EntryReserved)
    fills = told(ledger, *FILLS, fill(31, Side.BUY, "p"), fill(32, Side.SELL, "q", qty=1))
    assert [f.order_ref for f in fills] == list(CONDOR_REFS)
    found = known(restored(ledger, f"structure:paper:{COVER_REF.split('-')[2]}"))
    assert isinstance(found, StructureRestored)
    legs = (found.cover, found.short, *found.further)
    assert [leg.reservation.ref.contract.con_id for leg in legs] == [1, 22, 31, 32]
    assert [leg.reservation.ref.direction for leg in legs] == [1, -1, -1, 1]
    assert [leg.held_qty for leg in legs] == [2, 2, 2, 1]


def test_a_cover_is_free_by_the_ledgers_word_once_no_sold_leg_is_left_though_the_other_cover_is(
    ledger: DeskLedger,
) -> None:
    ledger.apply(condor(), ask.T0)
    told(ledger, *FILLS, fill(31, Side.BUY, "p"), fill(32, Side.SELL, "q"))
    assert not restored(ledger, "position:paper:31").is_free
    for con_id in (22, 32):
        ledger.apply(ask.closed(1, ref=ask.position_ref(1, con_id)), ask.T0)
        assert restored(ledger, "position:paper:31").is_free is (con_id == 32)


@pytest.mark.parametrize("ended", [1, 101])
def test_the_order_session_gets_every_leg_though_a_kill_came_between_the_ends_of_two(
    ledger: DeskLedger, ended: int
) -> None:
    ledger.apply(vertical(), ask.T0)
    ledger.apply(orders.RecordOrderIds(order_ref=ask.ref(ended), perm_id=901, status="cancelled"), ask.T0)
    found = known(restored(ledger, "ibkr:paper")).orders
    assert {(own.order_ref, own.con_id, own.side, own.qty, own.combo_ref) for own in found} == {
        (COVER_REF, 1, Side.BUY, 2, COVER_REF), (SHORT_REF, 22, Side.SELL, 2, COVER_REF),
    }  # fmt: skip


@pytest.mark.parametrize("n", [1, 101])
def test_the_order_session_gets_both_legs_of_an_exit_of_which_one_was_recorded_in_time(
    ledger: DeskLedger, n: int
) -> None:
    ledger.apply(vertical(), ask.T0)
    told(ledger, *FILLS)
    for ref in (COVER_REF, SHORT_REF):
        ledger.apply(orders.RecordOrderIds(order_ref=ref, perm_id=901, status="filled"), ask.T0)
    con_id, side = (1, Side.SELL) if n == 1 else (22, Side.BUY)
    head = ask.ref(1, "x1")
    ledger.apply(ask.exit_intent(n, con_id=con_id, side=side, combo_ref=head), ask.T0)
    found = known(restored(ledger, "ibkr:paper")).orders
    assert {(own.order_ref, own.con_id, own.side, own.qty, own.combo_ref) for own in found} == {
        (head, 1, Side.SELL, 2, head), (ask.ref(101, "x1"), 22, Side.BUY, 2, head),
    }  # fmt: skip


def test_a_reading_names_the_legs_of_a_working_exit_that_is_not_on_record(ledger: DeskLedger) -> None:
    ledger.apply(vertical(), ask.T0)
    told(ledger, *FILLS)
    head = ask.ref(1, "x1")
    order = ask.broker_order(1, order_ref=head, con_id=COMBO_CON_ID, side=Side.SELL, limit_ticks=Ticks(-300))
    _, answer = reconciled(ledger, ask.read((order,), FILLS, HELD))
    assert {(own.order_ref, own.con_id, own.side, own.qty, own.combo_ref) for own in answer.combos} == {
        (head, 1, Side.SELL, 2, head), (ask.ref(101, "x1"), 22, Side.BUY, 2, head),
    }  # fmt: skip
    ledger.apply(ask.exit_intent(1, combo_ref=head), ask.T0)
    _, answer = reconciled(ledger, ask.read((order,), FILLS, HELD))
    assert answer.combos == ()
