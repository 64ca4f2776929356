"""The actors over the stores: who is told what, and when."""

from __future__ import annotations

from collections import deque
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from actors.desk_ledger import DeskLedgerActor
from actors.ledger import LedgerActor
from actors.warehouse import FLUSH, POLL, SEAL, WHOLE, WarehouseActor
from domain.instants import MINUTE, SECOND
from domain.session.phases import Phase
from messages import lifecycle, market, operator, orders, risk, session, signals
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import SharedLedger
from supervision.effects import SetTimer, Tell
from tests.testkit import bucket_rows as make
from tests.testkit import ledger_asks as ask

STARTED = lifecycle.Started(name="x", incarnation=1, run_n=1)


def test_the_desk_ledger_tells_each_fact_to_whom_it_concerns(tmp_path: Path) -> None:
    actor = DeskLedgerActor("ledger:paper", DeskLedger(tmp_path, "paper", run_n=1))
    actor.open()
    assert actor.handle(STARTED, ask.T0) == ()

    def told(message: Any) -> list[tuple[str, str]]:
        effects = actor.handle(message, ask.T0)
        return [(e.to, type(e.message).__name__) for e in effects if isinstance(e, Tell)]

    assert told(ask.reserve(5)) == [("risk:paper", "EntryReserved")]
    assert told(ask.reserve(6, con_id=5)) == [("risk:paper", "EntryRefused")]
    assert told(orders.RecordCommission(exec_id="00e1.1", revision=1, commission_cents=65)) == []
    assert told(ask.execution(5)) == [("position:paper:5", "FillRecorded"), ("position:paper:5", "CommissionRecorded")]
    assert told(ask.exit_intent(5)) == [("position:paper:5", "ExitIntentRecorded")]
    assert told(ask.execution(5, exec_id="f", order_ref="manual")) == [("kill", "RaiseKill")]
    assert told(ask.read()) == [("ibkr:paper", "Reconciled")]
    assert told(risk.LockDay(session=ask.DAY, reason="r", at_utc=1)) == [("risk:paper", "DayLocked")]
    assert told(risk.RecordStartNav(session=ask.DAY, nav_cents=1, at_utc=1)) == [("risk:paper", "StartNavRecorded")]
    wanted = lifecycle.ReadState(name="positions:paper", reply_to="supervisor", session=ask.DAY)
    assert told(wanted) == [("supervisor", "StateRead")]
    assert told(ask.closed(5)) == told(ask.denial(9)) == told(ask.position(5)) == []
    with pytest.raises(TypeError):
        actor.handle(ask.alert(1), ask.T0)
    actor.close()


def test_the_shared_ledger_tells_lanes_kill_and_supervisor(tmp_path: Path) -> None:
    actor = LedgerActor("ledger", SharedLedger(tmp_path, ("paper",)))
    actor.open()
    assert actor.handle(STARTED, ask.T0) == ()
    recorded = signals.AlertRecorded(alert_id="a1", is_new=True)
    assert actor.handle(ask.alert(1), ask.T0) == (Tell("lane:gexwatch:SPX", recorded),)
    kill = risk.RecordKill(level=1, kill_epoch=3, reason="r", by="cli", at_utc=1)
    assert actor.handle(kill, ask.T0) == (Tell("kill", risk.KillRecorded(kill_epoch=3)),)
    state = lifecycle.ReadState(name="kill", reply_to="supervisor", session=ask.DAY)
    restored = lifecycle.KillRestored(level=1, kill_epoch=3, reason="r", by="cli")
    assert actor.handle(state, ask.T0) == (Tell("supervisor", lifecycle.StateRead(name="kill", restored=restored)),)
    with pytest.raises(TypeError):
        actor.handle(ask.reserve(1), ask.T0)
    actor.close()


class FakeWarehouse:
    """Stores in memory; fails when told so; a seal takes as many looks as `looks` has entries."""

    def __init__(self) -> None:
        self.taken: list[market.StoreBucket] = []
        self.is_full = False
        self.fault: str | None = None
        self.has_work = True
        self.seals: list[date | None] = []
        self.looks: deque[str | None] = deque()

    def open(self) -> None:
        """Nothing to acquire."""

    def close(self) -> None:
        """Nothing to release."""

    @property
    def in_hand(self) -> int:
        return len(self.taken)

    def take(self, message: market.StoreBucket) -> None:
        self.taken.append(message)

    def disk_fault(self) -> str | None:
        return self.fault

    def flush(self) -> tuple[Any, ...]:
        taken, self.taken = self.taken, []
        if self.is_full:
            return tuple(market.BucketNotStored(hub=m.hub, bucket_utc=m.bucket_utc, why="full") for m in taken)
        return tuple(
            market.BucketStored(hub=m.hub, bucket_utc=m.bucket_utc, content_hash=m.rows.content_hash) for m in taken
        )

    def start_seal(self, session: date | None = None) -> bool:
        if self.has_work:
            self.seals.append(session)
        return self.has_work

    def poll_seal(self) -> str | None:
        return self.looks.popleft() if self.looks else ""


def fired(key: str) -> lifecycle.TimerFired:
    return lifecycle.TimerFired(key=key, due_utc=0)


def test_buckets_in_the_mailbox_are_stored_together(tmp_path: Path) -> None:
    store = FakeWarehouse()
    actor = WarehouseActor("warehouse", store)
    first, second = make.bucket(0, "classic"), make.bucket(0, "state_gex")
    assert actor.handle(first, 7) == (SetTimer(FLUSH, 7),)
    assert actor.handle(second, 8) == (), "one timer for the whole batch"
    effects = actor.handle(fired(FLUSH), 9)
    assert [e.to for e in effects if isinstance(e, Tell)] == ["hub:classic", "hub:state_gex"]
    assert all(isinstance(e.message, market.BucketStored) for e in effects if isinstance(e, Tell))
    assert actor.handle(make.bucket(1), 10) == (SetTimer(FLUSH, 10),)


def test_what_an_incarnation_left_in_hand_is_stored_by_the_next() -> None:
    store = FakeWarehouse()
    store.take(make.bucket())
    assert WarehouseActor("warehouse", store).handle(STARTED, 5) == (
        SetTimer(SEAL, 5 + 30 * MINUTE),
        SetTimer(FLUSH, 5),
    )


def test_rows_that_cannot_be_kept_are_said_to_the_hub_and_halt_entries_once() -> None:
    store = FakeWarehouse()
    store.is_full = True
    actor = WarehouseActor("warehouse", store)
    actor.handle(make.bucket(0, "classic"), 7)
    actor.handle(make.bucket(0, "state_gex"), 7)
    effects = actor.handle(fired(FLUSH), 7)
    assert [(e.to, type(e.message).__name__) for e in effects if isinstance(e, Tell)] == [
        ("hub:classic", "BucketNotStored"),
        ("hub:state_gex", "BucketNotStored"),
        ("kill", "RaiseKill"),
    ]


def test_a_seal_is_looked_after_and_the_next_one_planned() -> None:
    store = FakeWarehouse()
    actor = WarehouseActor("warehouse", store)
    assert actor.handle(fired(SEAL), 0) == (SetTimer(POLL, SECOND),)
    store.looks.extend([None, "", "it failed"])
    assert actor.handle(fired(POLL), 0) == (SetTimer(POLL, SECOND),)
    assert actor.handle(fired(POLL), 0) == (SetTimer(SEAL, 30 * MINUTE),)
    alarm, again = actor.handle(fired(POLL), 0)
    assert isinstance(alarm, Tell)
    assert isinstance(alarm.message, operator.Alarm)
    assert (alarm.to, alarm.message.text) == ("notifier", "it failed")
    assert again == SetTimer(SEAL, 30 * MINUTE)
    store.has_work = False
    assert actor.handle(fired(SEAL), 0) == (SetTimer(SEAL, 30 * MINUTE),)


def test_a_closed_day_is_sealed_whole_after_a_seal_under_way() -> None:
    store = FakeWarehouse()
    actor = WarehouseActor("warehouse", store)
    for phase in (Phase.LATE, Phase.CLOSED):
        effects = actor.handle(
            session.PhaseChanged(phase=phase, session=make.DAY, open_utc=0, close_utc=1, at_utc=2), 0
        )
    assert effects == (SetTimer(WHOLE, SECOND),)
    store.looks.extend([None])
    assert actor.handle(fired(WHOLE), 0) == (SetTimer(WHOLE, SECOND),)
    assert actor.handle(fired(WHOLE), 0) == (SetTimer(POLL, SECOND),)
    assert store.seals == [make.DAY]


def test_a_disk_that_fills_up_halts_entries_once_until_there_is_room_again() -> None:
    store = FakeWarehouse()
    actor = WarehouseActor("warehouse", store, flush_after_ns=3)
    assert actor.handle(make.bucket(1), 7) == (SetTimer(FLUSH, 10),)
    store.fault = "only 3 MB of disk are free"
    for times in (1, 0):
        raised = [e for e in actor.handle(fired(FLUSH), 10) if isinstance(e, Tell) and e.to == "kill"]
        assert len(raised) == times
    store.fault = None
    actor.handle(fired(FLUSH), 11)
    store.fault = "only 3 MB of disk are free"
    assert any(isinstance(e, Tell) and e.to == "kill" for e in actor.handle(fired(FLUSH), 12))
