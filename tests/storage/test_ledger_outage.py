"""A ledger whose file cannot be written for a while: nothing acknowledged is lost, fills are told, order is kept."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instants import SECOND
from domain.instruments import Side
from domain.ports import Outage
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.units import Cents, Utc
from messages import entries, lifecycle, operator, orders, risk, session, signals
from messages.base import Message
from messages.ledgers import DeskInput
from messages.restored import ActorsRestored, PositionRestored
from storage.desk_ledger import DeskLedger
from storage.queries import LedgerReader
from storage.shared_ledger import SharedLedger
from storage.sqlite_file import LedgerRefusedError
from tests.testkit import ledger_asks as ask
from tests.testkit.small_disks import fill

MB = 1 << 20


@contextmanager
def locked(path: Path, how: str = "IMMEDIATE") -> Iterator[None]:
    """Another program's write lock on a ledger."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(f"BEGIN {how}")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def outage_of(ledger: DeskLedger) -> Outage | None:
    """The outage at this moment: what a property said a moment ago need not hold any more."""
    return ledger.outage


def kinds(facts: tuple[object, ...]) -> list[str]:
    return [type(fact).__name__ for fact in facts]


def again(ledger: DeskLedger, now: int = ask.T0) -> list[Message]:
    """What is told when the file is looked at again."""
    return [fact for _, fact in ledger.retry(Utc(now))]


def executions(folder: Path) -> list[tuple[object, ...]]:
    db = sqlite3.connect(folder / "paper.db")
    try:
        return db.execute("SELECT exec_id, qty FROM executions WHERE is_current ORDER BY rowid").fetchall()
    finally:
        db.close()


def test_a_fill_under_another_programs_lock_is_told_at_once_and_recorded_once_later(
    ledger: DeskLedger, tmp_path: Path
) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    with locked(tmp_path / "paper.db"):
        fill, taken = ledger.apply(ask.execution(), ask.T0)
        assert isinstance(fill, orders.FillRecorded)
        assert (fill.is_durable, fill.filled_qty_total, fill.filled_cost_ticks_total) == (False, 2, 1000)
        assert taken == orders.ExecutionRecorded(exec_id="00e1.1", revision=1, is_durable=False)
        assert ledger.outage is not None
        assert (ledger.outage.is_lock, ledger.outage.waiting_n) == (True, 1)
        assert again(ledger) == []
        assert executions(tmp_path) == []
    told = again(ledger)
    assert kinds(tuple(told)) == ["FillRecorded", "ExecutionRecorded"]
    assert isinstance(told[0], orders.FillRecorded)
    assert told[0].is_durable
    assert outage_of(ledger) is None
    assert executions(tmp_path) == [("00e1.1", 2)]
    assert again(ledger) == [], "once"


def test_an_entry_is_refused_during_an_outage_and_the_refusal_is_on_record_afterwards(
    ledger: DeskLedger, tmp_path: Path
) -> None:
    with locked(tmp_path / "paper.db"):
        (refused,) = ledger.apply(ask.reserve(), ask.T0)
        assert isinstance(refused, entries.EntryRefused)
        assert refused.finding.code is RejectCode.MISSING_INPUT
        assert "locked by another program" in refused.finding.looked_at
    again(ledger)
    (attempt,) = LedgerReader(tmp_path, "paper").attempts(ask.DAY)
    assert attempt["code"] == "missing_input"
    (late,) = ledger.apply(ask.reserve(), ask.T0)
    assert isinstance(late, entries.EntryRefused), "the attempt is over, also should it come again"


def test_an_exit_goes_on_through_a_whole_outage(ledger: DeskLedger, tmp_path: Path) -> None:
    """Fill, exit, its fill, the read-back, the close: all of it under the lock, and all of it on record in order."""
    ledger.apply(ask.reserve(), ask.T0)
    sold = ask.fill(exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL)
    with locked(tmp_path / "paper.db"):
        assert kinds(ledger.apply(ask.execution(), ask.T0)) == ["FillRecorded", "ExecutionRecorded"]
        assert ledger.apply(ask.exit_intent(), ask.T0) == (), "no promise that it is durable"
        *_, found = ledger.apply(ask.read((), (ask.fill(), sold)), ask.T0)
        assert isinstance(found, session.Reconciled), "exits need it, also after a reconnect"
        assert (found.adopted_fills, found.mismatches) == (1, ())
        assert kinds(ledger.apply(ask.commission(), ask.T0)) == ["CommissionRecorded"]
        lock = risk.LockDay(session=ask.DAY, reason="daily_loss", at_utc=ask.T0)
        assert kinds(ledger.apply(lock, ask.T0)) == ["DayLocked"]
        assert ledger.apply(ask.closed(), ask.T0) == ()
    assert kinds(tuple(again(ledger))) == [
        "FillRecorded", "ExecutionRecorded", "ExitIntentRecorded", "FillRecorded",
    ]  # fmt: skip
    assert executions(tmp_path) == [("00e1.1", 2), ("x.1", 2)]
    reader = LedgerReader(tmp_path, "paper")
    assert reader.held() == []
    assert [trade["end"] for trade in reader.trades(ask.DAY)] == ["closed"]
    day = reader.day(ask.DAY)
    assert day is not None
    assert day["locked_why"] == "daily_loss"


def test_an_actor_that_starts_during_an_outage_gets_what_is_not_durable_yet(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    with locked(tmp_path / "paper.db"):
        ledger.apply(ask.execution(), ask.T0)
        asked = lifecycle.RequestState(name="position:paper:1", reply_to="supervisor", session=ask.DAY)
        (reply,) = ledger.apply(asked, ask.T0)
        assert isinstance(reply, lifecycle.StateRead)
        assert isinstance(reply.restored, PositionRestored)
        assert [fill.qty for fill in reply.restored.fills] == [2]


def test_a_file_that_cannot_even_be_read_lets_messages_wait_and_answers_them_when_it_is_back(
    ledger: DeskLedger, tmp_path: Path
) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.close()
    other = sqlite3.connect(tmp_path / "paper.db", isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    other.execute("UPDATE meta SET value = value")
    ledger.open()
    asked = lifecycle.RequestState(name="positions:paper", reply_to="supervisor", session=ask.DAY)
    assert ledger.apply(ask.execution(), ask.T0) == ()
    assert ledger.apply(asked, ask.T0) == ()
    assert again(ledger) == []
    other.execute("ROLLBACK")
    other.close()
    told = again(ledger)
    assert kinds(tuple(told)) == ["FillRecorded", "ExecutionRecorded", "StateRead"]
    assert isinstance(told[2], lifecycle.StateRead)
    assert told[2].restored == ActorsRestored(names=("position:paper:1",))


def test_a_new_incarnation_goes_on_with_what_waited(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    with locked(tmp_path / "paper.db"):
        ledger.apply(ask.execution(), ask.T0)
        ledger.close()
        ledger.open()
        ledger.apply(ask.commission(), ask.T0)
        assert ledger.outage is not None
        assert ledger.outage.waiting_n == 2
    again(ledger)
    assert executions(tmp_path) == [("00e1.1", 2)]


def test_what_waits_is_recorded_when_the_ledger_is_closed(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    with locked(tmp_path / "paper.db"):
        ledger.apply(ask.execution(), ask.T0)
    ledger.close()
    assert executions(tmp_path) == [("00e1.1", 2)]
    ledger.open()
    assert kinds(tuple(again(ledger))) == ["FillRecorded", "ExecutionRecorded"], "told to whoever comes next"
    assert again(ledger) == []


def test_a_message_that_no_ledger_can_keep_is_set_aside_and_the_others_are_recorded(
    ledger: DeskLedger, tmp_path: Path
) -> None:
    assert ledger.apply(ask.exit_intent(9), ask.T0) == ()
    assert [one.name for one in ledger.take_set_aside()] == ["RecordExitIntent"]
    ledger.apply(ask.reserve(), ask.T0)
    with locked(tmp_path / "paper.db"):
        ledger.apply(ask.exit_intent(9), ask.T0)
        ledger.apply(ask.execution(), ask.T0)
    again(ledger)
    assert [one.name for one in ledger.take_set_aside()] == ["RecordExitIntent"]
    assert ledger.take_set_aside() == ()
    assert executions(tmp_path) == [("00e1.1", 2)]


# -- the shared ledger ------------------------------------------------------------------------------


def test_the_shared_ledger_promises_nothing_during_an_outage_and_keeps_everything(tmp_path: Path) -> None:
    shared = SharedLedger(tmp_path, ("paper",))
    shared.open()
    kill = risk.RecordKill(level=KillLevel.NO_ENTRIES, kill_epoch=1, reason="r", by="cli", at_utc=ask.T0)
    command = operator.RecordCommand(command_id="c", name="Kill", by="cli", reason="r", outcome="ok", at_utc=ask.T0)
    with locked(tmp_path / "ledger.db"):
        for message in (kill, command, ask.alert()):
            assert shared.apply(message, ask.T0) == ()
        (reply,) = shared.apply(
            lifecycle.RequestState(name="kill", reply_to="supervisor", session=ask.DAY), ask.T0
        )  # fmt: skip
        assert isinstance(reply, lifecycle.StateRead)
        assert getattr(reply.restored, "level", None) is KillLevel.NO_ENTRIES, "also what is not durable yet"
    told = shared.retry(ask.T0)
    assert [fact for _, fact in told] == [
        risk.KillRecorded(kill_epoch=1),
        signals.AlertRecorded(alert_id=ask.alert_id(1), is_new=True),
    ]
    assert told[1][0] == ask.alert()


def test_a_lane_starts_though_a_desks_ledger_cannot_be_read_and_raises_nothing_again(tmp_path: Path) -> None:
    shared = SharedLedger(tmp_path, ("paper",))
    shared.open()
    shared.apply(ask.alert(), ask.T0)
    (tmp_path / "paper.db").write_bytes(b"no database" * 1000)
    asked = lifecycle.RequestState(name="lane:gexwatch:SPX", reply_to="supervisor", session=ask.DAY)
    (reply,) = shared.apply(asked, ask.T0)
    assert isinstance(reply, lifecycle.StateRead)
    assert getattr(reply.restored, "unraised", None) == ()


# -- a full disk ------------------------------------------------------------------------------------


def outlasts_a_full_disk(ledger: DeskLedger, folder: Path, free: object) -> None:
    """Fills are told while the disk is full; `free` gives the room back, and everything is on record, once."""
    for n in range(1, 60):
        (fill, _) = ledger.apply(ask.execution(1, exec_id=f"e{n}", qty=1, raw="x" * 3000), ask.T0)
        assert isinstance(fill, orders.FillRecorded)
        assert fill.filled_qty_total == n
    assert ledger.outage is not None
    assert "disk" in ledger.outage.why
    assert not ledger.outage.is_lock
    assert again(ledger) == []
    assert callable(free)
    free()
    told = [fact for fact in again(ledger) if isinstance(fact, orders.FillRecorded)]
    assert outage_of(ledger) is None
    assert told
    assert all(fact.is_durable for fact in told)
    assert [row[0] for row in executions(folder)] == [f"e{n}" for n in range(1, 60)]
    ledger.close()


def test_a_full_disk_loses_nothing_and_delays_no_fill(small_disk: Path) -> None:
    desk = DeskLedger(small_disk, "paper", run_n=1)
    desk.open()
    desk.apply(ask.reserve(), ask.T0)
    ballast = fill(small_disk)
    outlasts_a_full_disk(desk, small_disk, ballast.unlink)


def test_a_file_that_may_not_grow_loses_nothing_and_delays_no_fill(tmp_path: Path) -> None:
    """As on a full disk, but for the error: the limit of a process on the size of its files."""
    desk = DeskLedger(tmp_path, "paper", run_n=1)
    desk.open()
    desk.apply(ask.reserve(), ask.T0)
    largest = max(path.stat().st_size for path in tmp_path.glob("paper.db*"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 4096, before[1]))
        outlasts_a_full_disk(desk, tmp_path, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


# -- a file that is gone ----------------------------------------------------------------------------


def test_a_ledger_that_was_removed_is_noticed_and_written_to_its_place_again(
    ledger: DeskLedger, tmp_path: Path
) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    for path in tmp_path.glob("paper.db*"):
        path.unlink()
    fill, _ = ledger.apply(ask.execution(), ask.T0)
    assert isinstance(fill, orders.FillRecorded)
    assert not fill.is_durable
    assert ledger.outage is not None
    assert "was removed or replaced" in ledger.outage.why
    assert not (tmp_path / "paper.db").exists(), "never an empty one in its place"
    again(ledger)
    assert outage_of(ledger) is None
    assert executions(tmp_path) == [("00e1.1", 2)]
    ledger.apply(ask.execution(exec_id="e2", qty=1), ask.T0)
    ledger.close()
    assert executions(tmp_path) == [("00e1.1", 2), ("e2", 1)]
    assert [row["state"] for row in LedgerReader(tmp_path, "paper").held()] == ["OPEN"]
    assert not list(tmp_path.glob("*.back.*"))


@pytest.mark.parametrize("how", ["another file", "emptied"])
def test_a_ledger_in_whose_place_something_else_stands_is_never_written_over(
    ledger: DeskLedger, tmp_path: Path, how: str
) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    path = tmp_path / "paper.db"
    if how == "another file":
        path.rename(tmp_path / "moved.db")
        path.write_bytes(b"somebody's")
    else:
        os.truncate(path, 0)
    before = path.read_bytes()
    ledger.apply(ask.execution(), ask.T0)
    assert ledger.outage is not None
    assert "was removed or replaced" in ledger.outage.why
    assert again(ledger) == []
    assert ledger.outage is not None
    assert path.read_bytes() == before


# -- any history ------------------------------------------------------------------------------------

_HISTORY: list[DeskInput] = [
    ask.execution(exec_id="e.1", qty=1),
    ask.execution(exec_id="e.1", revision=2, qty=1, price_ticks=510),
    ask.execution(exec_id="e.2", qty=1),
    ask.commission("e.1"),
    ask.exit_intent(),
    ask.execution(exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL, qty=1),
    ask.position(),
    ask.amended(),
    ask.broker_refused(),
    risk.RecordStartNav(session=ask.DAY, nav_cents=Cents(30_000_000), at_utc=ask.T0),
    ask.read((ask.broker_order(filled_qty=2, is_working=False),), (ask.fill(exec_id="e.1", qty=1),)),
    entries.ReleaseReservation(intent_id="i1", reason="r"),
]


def rows_of(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    db = sqlite3.connect(folder / "paper.db")
    try:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        return {name: db.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall() for name in tables}
    finally:
        db.close()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_history_with_an_outage_in_it_leaves_the_rows_of_one_without(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    history = data.draw(st.lists(st.sampled_from(_HISTORY), min_size=1, max_size=8))
    first = data.draw(st.integers(0, len(history) - 1))
    last = data.draw(st.integers(first, len(history)))
    folder = tmp_path_factory.mktemp("outage")
    well, ill = (DeskLedger(folder / name, "paper", run_n=1, is_durable=False) for name in ("well", "ill"))
    for desk in (well, ill):
        desk.open()
        desk.apply(ask.reserve(), ask.T0)
    other = sqlite3.connect(folder / "ill" / "paper.db", isolation_level=None)
    for n, message in enumerate(history):
        if n == first:
            other.execute("BEGIN IMMEDIATE")
        if n == last:
            other.execute("ROLLBACK")
            again(ill)
        now = Utc(ask.T0 + n * SECOND)
        expected = [fact for fact in well.apply(message, now) if not isinstance(fact, orders.ExitIntentRecorded)]
        found = [f for f in ill.apply(message, now) if not isinstance(f, orders.ExitIntentRecorded)]
        assert kinds(tuple(found)) == kinds(tuple(expected)), "the same is told, durable or not"
    if other.in_transaction:
        other.execute("ROLLBACK")
    other.close()
    again(ill)
    well.close()
    ill.close()
    assert rows_of(folder / "ill") == rows_of(folder / "well")


def test_a_locked_or_damaged_ledger_is_told_by_its_readers_in_one_sentence(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    reader = LedgerReader(tmp_path, "paper")
    assert [row["state"] for row in reader.held()] == ["PENDING_ENTRY"]
    with locked(tmp_path / "paper.db"):
        assert len(reader.held()) == 1, "a reader waits for no writer"
    ledger.close()
    whole = (tmp_path / "paper.db").read_bytes()
    for damaged in (b"", whole[:4096] + b"\xa5" * (len(whole) - 4096), b"no database" * 500):
        (tmp_path / "paper.db").write_bytes(damaged)
        with pytest.raises(LedgerRefusedError, match="backup") as refused:
            reader.held()
        assert "\n" not in str(refused.value)
