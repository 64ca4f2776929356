"""The ledgers' actors while their file cannot be written: told once, tried again, never a crash."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from actors.desk_ledger import DeskLedgerActor
from actors.ledger import LedgerActor
from actors.ledger_outage import Timer
from domain.alarm import Severity
from domain.instants import MS, SECOND
from domain.ports import Outage, SetAside
from domain.units import Utc
from messages import lifecycle, operator, orders, risk
from messages.base import Message
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import SharedLedger
from supervision.actor import IoActor
from supervision.effects import Effect, Publish, SetTimer, Tell
from supervision.turn import Turn
from tests.testkit import ledger_asks as ask

RETRY = lifecycle.TimerFired(kind=Timer.RETRY, subject="", due_utc=Utc(0))


def handled(actor: IoActor[Any], message: Message, after_s: float = 0) -> list[Effect]:
    turn: Turn[None] = Turn(actor.name, None, Utc(ask.T0 + round(after_s * SECOND)))
    actor.handle(turn, message)
    return turn.effects


def told(effects: list[Effect]) -> list[tuple[str, str]]:
    return [(e.to, type(e.message).__name__) for e in effects if isinstance(e, Tell)]


def alarms(effects: list[Effect]) -> list[operator.Alarm]:
    return [e.event for e in effects if isinstance(e, Publish) and isinstance(e.event, operator.Alarm)]


def waits_ms(effects: list[Effect]) -> list[float]:
    return [(e.at_utc - ask.T0) / MS for e in effects if isinstance(e, SetTimer)]


@pytest.fixture
def desk(tmp_path: Path) -> DeskLedgerActor:
    actor = DeskLedgerActor("ledger:paper", DeskLedger(tmp_path, "paper", run_n=1))
    actor.open()
    handled(actor, ask.reserve())
    return actor


def test_a_lock_of_fifteen_seconds_is_waited_for_while_fills_and_exits_go_on(
    desk: DeskLedgerActor, tmp_path: Path
) -> None:
    """Row 6 of the data cases: a write lock on the desk's ledger with an order under way."""
    other = sqlite3.connect(tmp_path / "paper.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    effects = handled(desk, ask.execution())
    assert told(effects) == [("position:paper:1", "FillRecorded"), ("ibkr:paper", "ExecutionRecorded")]
    assert waits_ms(effects) == [100]
    assert alarms(effects) == [], "a lock passes by itself"
    assert told(handled(desk, RETRY, 1.0)) == []
    effects = handled(desk, RETRY, 2.5)
    assert told(effects) == [("kill", "RaiseKill")], "level 1 once it has lasted"
    (alarm,) = alarms(effects)
    assert alarm.severity is Severity.CRITICAL
    assert "locked by another program" in alarm.text
    for n in range(3, 15):
        effects = handled(desk, RETRY, n)
        assert (told(effects), alarms(effects)) == ([], []), "once"
        assert len(waits_ms(effects)) == 1
    effects = handled(desk, ask.read((), (ask.fill(),), (ask.broker_position(),)), 14.5)
    assert told(effects)[-1] == ("ibkr:paper", "Reconciled")
    other.execute("ROLLBACK")
    effects = handled(desk, RETRY, 15)
    assert told(effects)[:2] == [("position:paper:1", "FillRecorded"), ("ibkr:paper", "ExecutionRecorded")]
    assert [alarm.severity for alarm in alarms(effects)] == [Severity.INFO]
    assert waits_ms(effects) == []
    assert other.execute("SELECT count(*) FROM executions").fetchone() == (1,)
    effects = handled(desk, ask.exit_intent(), 16)
    assert told(effects) == [("position:paper:1", "ExitIntentRecorded")]


def test_attempts_come_at_growing_intervals(desk: DeskLedgerActor, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "paper.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waits = waits_ms(handled(desk, ask.execution()))
    for _ in range(6):
        waits += waits_ms(handled(desk, RETRY))
    assert waits == [100, 200, 400, 800, 1600, 2000, 2000]


def test_a_ledger_that_was_removed_stops_entries_at_once_and_is_told(desk: DeskLedgerActor, tmp_path: Path) -> None:
    (tmp_path / "paper.db").unlink()
    effects = handled(desk, ask.execution())
    assert told(effects) == [
        ("position:paper:1", "FillRecorded"), ("ibkr:paper", "ExecutionRecorded"), ("kill", "RaiseKill"),
    ]  # fmt: skip
    assert "removed or replaced" in alarms(effects)[0].text


def test_a_new_incarnation_in_an_outage_arms_its_next_attempt(desk: DeskLedgerActor, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "paper.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    handled(desk, ask.execution())
    successor = DeskLedgerActor("ledger:paper", desk._store)
    desk.close()
    successor.open()
    started = lifecycle.Started(name="ledger:paper", incarnation=2, run_n=1)
    assert len(waits_ms(handled(successor, started))) == 1


def test_the_shared_ledgers_actor_waits_for_a_lock_and_answers_then(tmp_path: Path) -> None:
    actor = LedgerActor("ledger", SharedLedger(tmp_path, ("paper",)))
    actor.open()
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    kill = risk.RecordKill(level=1, kill_epoch=1, reason="r", by="cli", at_utc=ask.T0)
    effects = handled(actor, kill)
    assert (told(effects), waits_ms(effects)) == ([], [100])
    assert told(handled(actor, ask.alert())) == []
    other.execute("ROLLBACK")
    assert told(handled(actor, RETRY)) == [("kill", "KillRecorded"), ("lane:gexwatch:SPX", "AlertRecorded")]


class Scripted:
    """A store with an outage by script."""

    def __init__(self) -> None:
        self.outage: Outage | None = None
        self.aside: tuple[SetAside, ...] = ()

    def open(self) -> None: ...

    def close(self) -> None: ...

    def apply(self, message: object, now: Utc) -> tuple[Any, ...]:
        return ()

    def retry(self, now: Utc) -> tuple[Any, ...]:
        return ()

    def take_set_aside(self) -> tuple[SetAside, ...]:
        taken, self.aside = self.aside, ()
        return taken


def test_a_full_disk_is_told_at_once_with_its_remedy_and_each_outage_anew() -> None:
    store = Scripted()
    actor = DeskLedgerActor("ledger:paper", store)
    ids = orders.RecordOrderIds(order_ref="r", perm_id=1, status="working")
    for _ in range(2):
        store.outage = Outage("The disk is full: free some space.", False, ask.T0, 0, 1)
        effects = handled(actor, ids)
        assert told(effects) == [("kill", "RaiseKill")]
        assert "free some space" in alarms(effects)[0].text
        assert handled(actor, ids) == [], "once"
        store.outage = None
        assert len(alarms(handled(actor, ids))) == 1


def test_messages_that_cannot_be_kept_are_told_one_by_one() -> None:
    store = Scripted()
    actor = LedgerActor("ledger", store)
    store.aside = (SetAside("RecordAlert", "ValueError: a"), SetAside("RecordKill", "ValueError: b"))
    effects = handled(actor, lifecycle.Started(name="ledger", incarnation=1, run_n=1))
    assert [alarm.key for alarm in alarms(effects)] == ["set_aside:ledger"] * 2
    assert told(effects) == [("kill", "RaiseKill")] * 2
