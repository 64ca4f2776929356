"""The ledgers' actors over their stores: who is told what, once it is durable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.desk_ledger import DeskLedgerActor
from actors.ledger import LedgerActor
from domain.alarm import Severity
from domain.risk.kill import KillLevel
from domain.risk.kill_watch import Norm
from domain.units import Cents, Utc
from messages import entries, lifecycle, operator, orders, risk, signals
from messages.base import Message
from messages.restored import KillRestored
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import SharedLedger
from supervision.actor import IoActor
from supervision.effects import Effect, Publish, Tell
from supervision.turn import Turn
from tests.testkit import ledger_asks as ask

STARTED = lifecycle.Started(name="x", incarnation=1, run_n=1)


def handled(actor: IoActor[Any], message: Message) -> list[Effect]:
    turn: Turn[None] = Turn(actor.name, None, ask.T0)
    actor.handle(turn, message)
    return turn.effects


def told(actor: IoActor[Any], message: Message) -> list[tuple[str, str]]:
    return [(e.to, type(e.message).__name__) for e in handled(actor, message) if isinstance(e, Tell)]


@pytest.fixture
def desk(tmp_path: Path) -> DeskLedgerActor:
    actor = DeskLedgerActor("ledger:paper", DeskLedger(tmp_path, "paper", run_n=1))
    actor.open()
    return actor


def test_the_desk_ledger_tells_each_fact_to_whom_it_concerns(desk: DeskLedgerActor) -> None:
    assert handled(desk, STARTED) == []
    assert told(desk, ask.reserve(5)) == [("risk:paper", "EntryReserved")]
    assert told(desk, ask.reserve(6, con_id=5)) == [("risk:paper", "EntryRefused")]
    assert told(desk, ask.commission()) == []
    assert told(desk, ask.execution(5)) == [
        ("position:paper:5", "FillRecorded"),
        ("position:paper:5", "CommissionRecorded"),
        ("ibkr:paper", "ExecutionRecorded"),
    ]
    assert told(desk, ask.exit_intent(5)) == [("position:paper:5", "ExitIntentRecorded")]
    assert told(desk, ask.execution(5, exec_id="f", order_ref="manual")) == [
        ("kill", "RaiseKill"),
        ("ibkr:paper", "ExecutionRecorded"),
    ]
    assert told(desk, ask.read()) == [("ibkr:paper", "Reconciled")]
    assert told(desk, risk.LockDay(session=ask.DAY, reason="r", at_utc=Utc(1))) == [("risk:paper", "DayLocked")]
    nav = risk.RecordStartNav(session=ask.DAY, nav_cents=Cents(1), at_utc=Utc(1))
    assert told(desk, nav) == [("risk:paper", "StartNavRecorded")]
    wanted = lifecycle.RequestState(name="positions:paper", reply_to="supervisor", session=ask.DAY)
    assert told(desk, wanted) == [("supervisor", "StateRead")]


def test_the_desk_ledger_keeps_in_silence_what_nobody_waits_for(desk: DeskLedgerActor) -> None:
    handled(desk, ask.reserve(5))
    for message in (
        ask.position(5),
        orders.RecordOrderIds(order_ref=ask.ref(5), perm_id=5, status="working"),
        ask.closed(5),
        ask.denial(9),
        ask.abandoned(5),
        entries.ReleaseReservation(intent_id="i5", reason="r"),
    ):
        assert handled(desk, message) == []


def test_a_question_about_somebody_unknown_is_answered_with_nothing(desk: DeskLedgerActor) -> None:
    wanted = lifecycle.RequestState(name="quotes:paper", reply_to="supervisor", session=ask.DAY, read_n=4)
    assert handled(desk, wanted) == [
        Tell("supervisor", lifecycle.StateRead(name="quotes:paper", restored=None, read_n=4))
    ]


def test_a_message_that_cannot_be_kept_is_set_aside_without_a_crash_and_stops_entries(desk: DeskLedgerActor) -> None:
    effects = handled(desk, ask.exit_intent(5))
    assert [(e.to, type(e.message).__name__) for e in effects if isinstance(e, Tell)] == [("kill", "RaiseKill")]
    (alarm,) = [e.event for e in effects if isinstance(e, Publish)]
    assert isinstance(alarm, operator.Alarm)
    assert alarm.severity is Severity.CRITICAL
    assert "cannot keep a RecordExitIntent" in alarm.text
    assert "nobody reserved" in alarm.text
    assert told(desk, ask.reserve(5)) == [("risk:paper", "EntryReserved")], "the next one is handled"


def test_the_shared_ledger_tells_lanes_kill_and_supervisor(tmp_path: Path) -> None:
    actor = LedgerActor("ledger", SharedLedger(tmp_path, ("paper",)))
    actor.open()
    assert handled(actor, STARTED) == []
    recorded = signals.AlertRecorded(alert_id=ask.alert_id(1), is_new=True)
    assert handled(actor, ask.alert(1)) == [Tell("lane:gexwatch:SPX", recorded)]
    kill = risk.RecordKill(level=KillLevel.NO_ENTRIES, kill_epoch=3, reason="r", by="cli", at_utc=Utc(1))
    assert handled(actor, kill) == [Tell("kill", risk.KillRecorded(kill_epoch=3))]
    command = operator.RecordCommand(command_id="c", name="Kill", by="cli", reason="r", outcome="done", at_utc=Utc(1))
    assert handled(actor, command) == []
    state = lifecycle.RequestState(name="kill", reply_to="supervisor", session=ask.DAY)
    handled(actor, risk.RecordSpread(session=ask.DAY, slot_min=600, median=0.1, at_utc=Utc(1)))
    promotion = signals.RecordPromotion(
        command_id="p", source="gexwatch", kind="GAMMA_FLIP", version=1, is_promoted=True, by="ann", reason="r",
        at_utc=Utc(1),
    )  # fmt: skip
    assert handled(actor, promotion) == [Tell("operator", signals.PromotionRecorded(command_id="p"))]
    restored = KillRestored(
        level=KillLevel.NO_ENTRIES, kill_epoch=3, reason="r", by="cli", spread_norms=(Norm("2026-11-20", 600, 0.1),)
    )
    assert handled(actor, state) == [Tell("supervisor", lifecycle.StateRead(name="kill", restored=restored))]
    actor.close()


def test_a_new_incarnation_opens_the_file_again(tmp_path: Path) -> None:
    actor = LedgerActor("ledger", SharedLedger(tmp_path, ("paper",)))
    actor.open()
    handled(actor, ask.alert(1))
    actor.close()
    actor.open()
    (again,) = handled(actor, ask.alert(1))
    assert isinstance(again, Tell)
    assert again.message == signals.AlertRecorded(alert_id=ask.alert_id(1), is_new=False)
