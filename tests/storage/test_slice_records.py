"""An entry in slices in a desk's ledger: reserved whole, each order on record before it is sent, with its history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from domain.instants import SECOND
from domain.instruments import Side
from domain.orders.references import is_slice_ref
from domain.units import Qty, Ticks
from messages import entries, lifecycle, orders
from messages.restored import IbkrRestored, OwnOrder, PositionRestored
from storage.desk_ledger import DeskLedger
from tests.testkit import ledger_asks as ask


def reserve_in_slices(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(legs=(ask.leg(qty=Qty(10)),), first_qty=Qty(2)), ask.T0)


def slice_of(n: int = 2, qty: int = 3, **changes: Any) -> orders.RecordSlice:
    values: dict[str, Any] = {
        "intent_id": "i1", "reply_to": "position:paper:1", "con_id": 1, "order_ref": ask.ref(1, f"e{n}"),
        "side": Side.BUY, "qty": Qty(qty), "limit_ticks": Ticks(499), "n": n, "slices": 4,
        "at_utc": ask.T0 + n * 30 * SECOND,
    }  # fmt: skip
    return orders.RecordSlice(**(values | changes))


def restored(ledger: DeskLedger, name: str) -> Any:
    asked = lifecycle.RequestState(name=name, reply_to="supervisor", session=ask.DAY)
    (read,) = ledger.apply(asked, ask.T0)
    assert isinstance(read, lifecycle.StateRead)
    return read.restored


def test_an_entry_in_slices_is_reserved_whole_and_its_first_order_is_the_first_slice(
    ledger: DeskLedger, tmp_path: Path
) -> None:
    reserve_in_slices(ledger)
    assert ask.rows(tmp_path, "SELECT qty FROM reservations") == [(10,)]
    assert ask.rows(tmp_path, "SELECT order_ref, qty FROM orders") == [(ask.ref(1), 2)]


def test_a_slice_is_on_record_once_with_its_place_among_the_others(ledger: DeskLedger, tmp_path: Path) -> None:
    reserve_in_slices(ledger)
    assert ledger.apply(slice_of(), ask.T0) == (orders.SliceRecorded(order_ref=ask.ref(1, "e2")),)
    assert ledger.apply(slice_of(), ask.T0) == ()  # it may have been sent: once is enough
    assert ask.rows(tmp_path, "SELECT order_ref, qty, intent_id, status, is_exit FROM orders ORDER BY at_utc") == [
        (ask.ref(1), 2, "i1", "intended", 0), (ask.ref(1, "e2"), 3, "i1", "intended", 0),
    ]  # fmt: skip
    history = f"SELECT event, qty, price_ticks, words, by FROM order_events WHERE order_ref = '{ask.ref(1, 'e2')}'"
    assert ask.rows(tmp_path, history) == [("intended", 3, 499, "slice 2 of 4", "desk")]


@pytest.mark.parametrize("how", ["never reserved", "released", "another run", "another contract"])
def test_a_slice_without_a_live_reservation_of_this_run_is_not_recorded(
    tmp_path: Path, ledger: DeskLedger, how: str
) -> None:
    desk, wanted = ledger, slice_of()
    if how != "never reserved":
        reserve_in_slices(ledger)
    if how == "released":
        ledger.apply(entries.ReleaseReservation(intent_id="i1", reason="x"), ask.T0)
    if how == "another run":
        ledger.close()
        desk = DeskLedger(tmp_path, "paper", run_n=2)
        desk.open()
    if how == "another contract":
        wanted = slice_of(con_id=2)
    assert desk.apply(wanted, ask.T0) == ()
    assert not any(is_slice_ref(str(ref)) for (ref,) in ask.rows(tmp_path, "SELECT order_ref FROM orders"))


def test_fills_of_a_slice_belong_to_the_entry_and_its_position_gets_them_back(ledger: DeskLedger) -> None:
    reserve_in_slices(ledger)
    ledger.apply(slice_of(), ask.T0)
    ledger.apply(ask.execution(), ask.T0)
    facts = ledger.apply(ask.execution(exec_id="00e1.2", order_ref=ask.ref(1, "e2"), qty=Qty(1)), ask.T0)
    (fill,) = [fact for fact in facts if isinstance(fact, orders.FillRecorded)]
    assert (fill.order_ref, fill.con_id, fill.filled_qty_total) == (ask.ref(1, "e2"), 1, 1)
    known = restored(ledger, "position:paper:1")
    assert isinstance(known, PositionRestored)
    assert known.reservation is not None
    assert (known.reservation.order_ref, known.reservation.qty) == (ask.ref(1), 10)
    assert known.entry == OwnOrder(
        order_ref=ask.ref(1, "e2"), con_id=1, is_exit=False, side=Side.BUY, qty=Qty(3)
    )  # fmt: skip
    assert {fill.order_ref: fill.qty for fill in known.fills} == {ask.ref(1): 2, ask.ref(1, "e2"): 1}
    session = restored(ledger, "ibkr:paper")
    assert isinstance(session, IbkrRestored)
    assert ask.ref(1, "e2") in {order.order_ref for order in session.orders}


def test_before_its_second_slice_the_first_is_what_may_work(ledger: DeskLedger) -> None:
    reserve_in_slices(ledger)
    known = restored(ledger, "position:paper:1")
    assert known.entry.order_ref == ask.ref(1)
    assert known.entry.qty == 2


def test_an_entry_of_one_order_gives_back_no_slice(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    assert restored(ledger, "position:paper:1").entry is None


def test_what_became_of_the_slices_stands_in_the_history_once(ledger: DeskLedger, tmp_path: Path) -> None:
    reserve_in_slices(ledger)
    note = orders.SliceNoted(
        order_ref=ask.ref(1), event="slices ended", why="2 of 10 filled: kill level 1", at_utc=ask.T0
    )
    for _ in range(2):
        ledger.apply(note, ask.T0)
    assert ask.rows(tmp_path, "SELECT event, words, by FROM order_events ORDER BY n") == [
        ("intended", "", "desk"), ("slices ended", "2 of 10 filled: kill level 1", "desk"),
    ]  # fmt: skip


def test_orders_of_slices_that_were_never_sent_end_with_the_position(ledger: DeskLedger, tmp_path: Path) -> None:
    reserve_in_slices(ledger)
    ledger.apply(slice_of(), ask.T0)
    ledger.apply(ask.execution(), ask.T0)
    ledger.apply(ask.closed(1), ask.T0)
    assert ask.rows(tmp_path, "SELECT status FROM orders ORDER BY at_utc") == [("filled",), ("abandoned",)]
