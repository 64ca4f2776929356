"""What comes again after a COMMIT whose answer was lost: no row changes, and the answer means what the first one meant.

The runtime puts back what an I/O actor had in hand, and a new incarnation opens the file: so does `repeated`.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.instants import SECOND
from domain.instruments import Side
from domain.orders.table import OrderStatus
from domain.orders.tiers import Tier
from domain.position.cycle import ExitReason
from domain.risk.day import DayStops, DaySummary
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.signals.outcome import begun
from domain.structure.saga import SagaState
from domain.units import Cents, Qty, Utc
from messages import desks, entries, lifecycle, operator, orders, risk, session, signals, structures
from messages.base import Message
from messages.ledgers import DeskInput, SharedInput
from messages.restored import ActorsRestored
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import SharedLedger
from tests.testkit import ledger_asks as ask

Ledger = DeskLedger | SharedLedger
FILLED = ask.broker_order(filled_qty=2, is_working=False, status=OrderStatus.FILLED)
ADOPTED = ask.read((FILLED,), (ask.fill(),), (ask.broker_position(),))
STRANGE = ask.read((ask.broker_order(7, "manual"),), (ask.fill(7, "f.1"),), (ask.broker_position(7),))
RELEASED = entries.ReleaseReservation(intent_id="i1", reason="no ack")
EXIT_FILL = ask.execution(exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL)
STOPS = DayStops(is_soft=True, peak_cents=Cents(500), drawdown_cents=Cents(900))
CLOSED_BY_HAND = ask.execution(exec_id="h.1", order_ref="", side=Side.SELL, perm_id=77)
UNEXPLAINED = ask.read((FILLED,), (), (ask.broker_position(),))
SUMMARY = DaySummary(trades=3, wins=1, losses=2, realised_cents=-5, fees_cents=9, drawdown_cents=7)
PROMOTED = signals.RecordPromotion(
    command_id="p1", source="gexwatch", kind="GAMMA_FLIP", version=1, is_promoted=True, by="ann", reason="r",
    at_utc=ask.T0,
)  # fmt: skip
LOWERED = risk.RecordKill(level=KillLevel.RUNNING, kill_epoch=4, reason="r", by="cli", at_utc=ask.T0)
STRUCTURE = ask.reserve(legs=(ask.leg(1), ask.leg(2)))
LEAVES = structures.StructureChanged(
    structure_id="i1", state=SagaState.BUYING_BACK, reason=ExitReason.EOD, cover_qty=Qty(1), short_qty=Qty(10),
    pnl_cents=None, at_utc=ask.T0,
)  # fmt: skip
STRUCTURE_CLOSED = structures.StructureClosed(
    structure_id="i1", reason=ExitReason.EOD, terms=None, cover_ticks=2_000.0, short_ticks=None,
    realised_cents=Cents(5), fees_cents=Cents(9), closed_utc=ask.T0,
)  # fmt: skip

# What a record is called -> what was recorded before it, and the record itself.
DESK_RECORDS: dict[str, tuple[tuple[DeskInput, ...], DeskInput]] = {
    "entry reserved": ((), ask.reserve()),
    "structure reserved": ((), ask.reserve(legs=(ask.leg(1), ask.leg(2)))),
    "structure that leaves": ((STRUCTURE,), LEAVES),
    "structure that is over": ((STRUCTURE, LEAVES), replace(LEAVES, state=SagaState.CLOSED)),
    "structure closed": ((STRUCTURE, LEAVES), STRUCTURE_CLOSED),
    "structure released": ((STRUCTURE,), RELEASED),
    "entry refused by a count": ((ask.reserve(1),), ask.reserve(2, positions_max=1)),
    "entry refused by the holder": ((ask.reserve(1, con_id=2),), ask.reserve(2)),
    "entry refused by its tombstone": ((RELEASED,), ask.reserve()),
    "entry refused as decided on": ((ask.denial(),), ask.reserve()),
    "release": ((ask.reserve(),), RELEASED),
    "release before its reserve": ((), RELEASED),
    "denial": ((), ask.denial()),
    "interruption": ((), ask.denial(code=RejectCode.ATTEMPT_INTERRUPTED, verdicts=())),
    "order ids": ((ask.reserve(),), orders.RecordOrderIds(order_ref=ask.ref(1), perm_id=5, status="working")),
    "fill": ((ask.reserve(),), ask.execution()),
    "fill after its fee": ((ask.reserve(), ask.commission()), ask.execution()),
    "correction": ((ask.reserve(), ask.execution()), ask.execution(revision=2, price_ticks=510)),
    "overtaken revision": ((ask.reserve(), ask.execution(revision=2)), ask.execution()),
    "fill of an exit": ((ask.reserve(), ask.execution(), ask.exit_intent()), EXIT_FILL),
    "fill of an exit that was not recorded": ((ask.reserve(), ask.execution()), EXIT_FILL),
    "late fill": ((ask.reserve(), RELEASED), ask.execution()),
    "late fill beside another holder": (
        (ask.reserve(1, con_id=5), RELEASED, ask.reserve(2, con_id=5)), ask.execution(1, con_id=5),
    ),
    "foreign execution": ((), ask.execution(order_ref="manual")),
    "fee": ((ask.reserve(), ask.execution()), ask.commission()),
    "fee before its fill": ((ask.reserve(),), ask.commission()),
    "exit": ((ask.reserve(), ask.execution()), ask.exit_intent()),
    "exit at a later tier": ((ask.reserve(), ask.execution(), ask.exit_intent()), ask.exit_intent(tier=Tier.BID)),
    "position": ((ask.reserve(), ask.execution()), ask.position(took_part=True)),
    "position closed": ((ask.reserve(), ask.execution(), ask.position()), ask.closed()),
    "entry abandoned": ((ask.reserve(),), ask.abandoned()),
    "exits tightened": ((ask.reserve(), ask.tightened()), ask.tightened(stop_scale=0.9, at_utc=ask.T0 + 9 * SECOND)),
    "shadow closed": ((ask.reserve(), ask.execution(), ask.closed()), ask.shadow_closed()),
    "word on slices": ((ask.reserve(),), orders.SliceNoted(
        order_ref=ask.ref(1), event="slices ended", why="kill level 1", at_utc=ask.T0
    )),
    "day lock": ((), risk.LockDay(session=ask.DAY, reason="daily_loss", at_utc=ask.T0)),
    "start NAV": ((), risk.RecordStartNav(session=ask.DAY, nav_cents=Cents(30_000_000), at_utc=ask.T0)),
    "day": ((), risk.RecordDay(session=ask.DAY, summary=SUMMARY, at_utc=ask.T0)),
    "amended entry": ((ask.reserve(),), ask.amended()),
    "amended entry that was refused": ((ask.denial(),), ask.amended()),
    "broker's words": ((ask.reserve(),), ask.broker_refused()),
    "day's stops": ((), risk.RecordDayStops(session=ask.DAY, stops=STOPS, at_utc=ask.T0)),
    "close by another": ((ask.reserve(), ask.execution()), CLOSED_BY_HAND),
    "execution of no contract": ((ask.reserve(),), ask.execution(qty=0)),
    "real fill in the place of an adopted one": ((ask.reserve(), UNEXPLAINED), ask.execution()),
    "reconciliation that adopts a position": ((ask.reserve(),), UNEXPLAINED),
    "reconciliation that adopts": ((ask.reserve(),), ADOPTED),
    "reconciliation with strangers": ((ask.reserve(),), STRANGE),
}  # fmt: skip
SHARED_RECORDS: dict[str, tuple[tuple[SharedInput, ...], SharedInput]] = {
    "alert": ((), ask.alert()),
    "outcome": ((ask.alert(),), signals.RecordOutcome(
        outcome=begun(ask.alert().alert, Utc(ask.T0 + 3_600 * SECOND)), at_utc=ask.T0
    )),
    "kill level": ((), risk.RecordKill(level=KillLevel.FLATTEN, kill_epoch=3, reason="r", by="cli", at_utc=ask.T0)),
    "kill level lowered": (
        (risk.RecordKill(level=KillLevel.NO_ENTRIES, kill_epoch=3, reason="r", by="cli", at_utc=ask.T0),), LOWERED,
    ),
    "spread": ((), risk.RecordSpread(session=ask.DAY, slot_min=600, median=0.1, at_utc=ask.T0)),
    "promotion": ((), PROMOTED),
    "promotion withdrawn": ((PROMOTED,), replace(PROMOTED, command_id="p2", is_promoted=False, at_utc=ask.T0 + 1)),
    "route": ((), desks.RecordRoute(
        command_id="s1", strategy="gexwatch", desks=("paper",), by="ann", reason="r", at_utc=ask.T0
    )),
    "command": (
        (), operator.RecordCommand(command_id="c", name="Kill", by="cli", reason="r", outcome="done", at_utc=ask.T0),
    ),
}  # fmt: skip


def desk_ledger(folder: Path) -> DeskLedger:
    return DeskLedger(folder, "paper", run_n=1, is_durable=False)


def shared_ledger(folder: Path) -> SharedLedger:
    return SharedLedger(folder, ("paper",), is_durable=False)


def apply(ledger: Any, message: Message, later: int = 0) -> tuple[Message, ...]:
    """Apply a record at 10:00; what was read from the broker only after that instant."""
    at_utc = message.read.read_utc if isinstance(message, session.Reconcile) else ask.T0
    facts: tuple[Message, ...] = ledger.apply(message, Utc(at_utc + later))
    return facts


def repeated(ledger: Any, message: Message) -> tuple[Message, ...]:
    """Apply a record once more, as a new incarnation does a moment later."""
    ledger.close()
    ledger.open()
    return apply(ledger, message, later=SECOND // 2)


def rows(ledger: Any) -> dict[str, list[tuple[object, ...]]]:
    """Everything on record, but for the instants of the last change."""
    db: sqlite3.Connection = ledger._db
    found = {}
    for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        columns = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})") if name != "changed_utc"]
        found[str(table)] = db.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1, 2").fetchall()
    return found


def meaning(facts: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return an answer without what only says that it is a repeat, and without level 1, which is asked for once."""
    kept = (fact for fact in facts if not isinstance(fact, risk.RaiseKill))
    return tuple(replace(fact, is_new=True) if isinstance(fact, signals.AlertRecorded) else fact for fact in kept)


CASES = [
    *((desk_ledger, name, *case) for name, case in DESK_RECORDS.items()),
    *((shared_ledger, name, *case) for name, case in SHARED_RECORDS.items()),
]


@pytest.mark.parametrize(("make", "before", "record"), [(m, b, r) for m, _, b, r in CASES], ids=[c[1] for c in CASES])
def test_a_record_that_comes_again_changes_no_row_and_is_answered_alike(
    tmp_path: Path, make: Callable[[Path], Ledger], before: tuple[Message, ...], record: Message
) -> None:
    ledger = make(tmp_path)
    ledger.open()
    for message in before:
        apply(ledger, message)
    first = apply(ledger, record)
    kept = rows(ledger)
    assert meaning(repeated(ledger, record)) == meaning(first)
    assert rows(ledger) == kept


def test_every_record_is_among_them() -> None:
    applied = {type(record) for *_, record in CASES}
    applied.add(orders.RecordSlice)  # not answered twice, as it may have been sent: test_slice_records.py
    assert applied == {*get_args(DeskInput), *get_args(SharedInput)} - {lifecycle.RequestState}


def live(ledger: DeskLedger) -> tuple[str, ...]:
    asked = lifecycle.RequestState(name="positions:paper", reply_to="supervisor", session=ask.DAY)
    (reply,) = ledger.apply(asked, ask.T0)
    assert isinstance(reply, lifecycle.StateRead)
    assert isinstance(reply.restored, ActorsRestored)
    return reply.restored.names


POOL = list({repr(m): m for before, record in DESK_RECORDS.values() for m in (*before, record)}.values())


@settings(max_examples=60, deadline=None)
@given(history=st.lists(st.sampled_from(POOL), min_size=1, max_size=12))
def test_a_history_in_which_everything_comes_twice_leaves_the_rows_of_one_in_which_it_comes_once(
    history: list[DeskInput],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        once, twice = desk_ledger(Path(folder, "once")), desk_ledger(Path(folder, "twice"))
        once.open()
        twice.open()
        for message in history:
            try:
                first = apply(once, message)
            except ValueError:  # an exit of a contract that nobody has reserved
                continue
            assert apply(twice, message) == first
            again = repeated(twice, message)
            if again != first:  # what a position that is over was told once
                over = [fact for fact in first if fact not in again]
                assert not any(isinstance(fact, risk.RaiseKill) for fact in again)
                assert all(
                    isinstance(fact, risk.RaiseKill)
                    or (isinstance(fact, session.Reconciled) and fact.mismatches)  # told once: then it is adopted
                    or (
                        isinstance(fact, orders.FillRecorded | orders.CommissionRecorded)
                        and f"position:paper:{fact.con_id}" not in live(twice)
                    )
                    for fact in over
                )
        assert rows(twice) == rows(once)
        once.close()
        twice.close()
