"""On a busy machine a ledger was blamed, and trading stopped, for time in which nothing of this process ran.

Whoever is silent although the machine was free is blamed as before; exits wait for nobody in either case.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from actors.kill import KillActor
from actors.kill import Timer as KillTimer
from actors.operator import OperatorActor
from config.settings import load_settings
from domain.alarm import Severity
from domain.instants import MS, SECOND
from domain.risk.kill import KillLevel
from domain.session.modes import Mode
from domain.starved import busy_text
from domain.units import Utc
from messages import broker, lifecycle, operator, orders, positions, risk
from messages.restored import KillRestored
from supervision.actor import Actor
from supervision.starvation import StarvationMeter
from supervision.supervisor import SupervisorActor
from supervision.turn import Turn
from tests.testkit import ibkr_history as ibkr
from tests.testkit import position_history as position
from tests.testkit.live import FakeNs, Start, eventually, starter
from tests.testkit.probe import Outbox, Probe
from tests.testkit.toys import RULES, Log, Toy, ToyState, spec, toy_tree

SETTINGS = load_settings(profile="real")
BUSY_MS, IDLE_MS = 5_000, 1  # of waits of 10 s, and of 250 ms
BUSY = [("machine_busy", Severity.WARNING)]


def alarms(sent: Outbox) -> list[tuple[str, Severity]]:
    return [(alarm.key, alarm.severity) for alarm in sent.published(operator.Alarm)]


def waiting_for_the_ledger() -> ibkr.History:
    history = ibkr.History().start()
    history.up()
    history.broker_read(held={7: 2})
    return history


def test_ledger_that_was_given_no_processor_to_reconcile_with_stops_no_trading_and_no_exit() -> None:
    history = waiting_for_the_ledger()
    sent = history.probe.fire("reconcile", starved_ms=BUSY_MS)
    assert sent.told(risk.RaiseKill) == []
    assert alarms(sent) == [("machine_busy", Severity.WARNING)]
    (alarm,) = sent.published(operator.Alarm)
    assert "5 s of 10 s" in alarm.text
    assert "disk" not in alarm.text
    assert history.state.allows_exits
    assert history.mode() is not Mode.FULLY_LIVE  # entries wait until the ledger has compared
    assert ("read_rest", "") in history.probe.timers


def test_ledger_that_does_not_reconcile_although_the_machine_is_free_stops_entries() -> None:
    sent = waiting_for_the_ledger().probe.fire("reconcile", starved_ms=IDLE_MS)
    (raised,) = sent.told(risk.RaiseKill, "kill")
    assert raised.level is KillLevel.NO_ENTRIES
    assert "the disk" in raised.reason
    assert not raised.reason.endswith(".")  # whoever quotes it goes on
    assert alarms(sent) == [("ledger_silent", Severity.CRITICAL)]


def filled() -> ibkr.History:
    history = ibkr.History().live()
    history.submit()
    history.sent()
    history.fill(ibkr.ENTRY, 2)
    return history


def test_fill_is_told_at_once_and_the_ledger_blamed_only_when_it_had_a_processor() -> None:
    history = filled()
    sent = history.probe.fire("record", "e1/1", starved_ms=200)
    assert len(sent.told(orders.FillRecorded)) == 1
    assert (sent.told(risk.RaiseKill), alarms(sent)) == ([], [("machine_busy", Severity.WARNING)])
    assert history.probe.timers["record", "e1/1"] == history.now + 200 * MS
    sent = history.probe.fire("record", "e1/1", starved_ms=IDLE_MS)
    assert sent.told(orders.FillRecorded) == []  # told once
    assert [raised.level for raised in sent.told(risk.RaiseKill, "kill")] == [KillLevel.NO_ENTRIES]


def test_execution_that_a_busy_machine_records_late_blames_nobody() -> None:
    history = filled()
    history.probe.fire("record", "e1/1", starved_ms=200)
    history.feed(orders.ExecutionRecorded(exec_id="e1", revision=1))
    assert ("record", "e1/1") not in history.probe.timers
    assert history.told(risk.RaiseKill) == []


def test_read_back_that_the_machine_held_up_costs_no_session() -> None:
    history = ibkr.History().start()
    history.up()
    sent = history.probe.fire("read_back", starved_ms=BUSY_MS)
    assert history.state.link.is_up
    assert sent.told(broker.CloseLink) == []
    assert alarms(sent) == BUSY
    history.probe.fire("read_back", starved_ms=IDLE_MS)
    assert not history.state.link.is_up


def test_read_back_is_excused_for_at_most_twice_its_wait() -> None:
    history = ibkr.History().start()
    history.up()
    begin = history.probe.timers["read_back", ""]
    assert rounds(history.probe, "read_back", "", starved_ms=20_000) == 2
    assert history.probe.now - begin == 40_000 * MS
    assert not history.state.link.is_up


def test_ledger_that_never_compares_is_blamed_on_a_busy_machine_too() -> None:
    history = waiting_for_the_ledger()
    kills = []
    for _ in range(3):
        kills.append(len(history.probe.fire("reconcile", starved_ms=10_000).told(risk.RaiseKill)))
        history.probe.fire("read_rest")
        history.broker_read(held={7: 2})
    assert kills == [0, 0, 1]


def rounds(probe: Probe[Any], kind: str, subject: str, starved_ms: int) -> int:
    """Let a wait on a busy machine run out again and again; return how often it was excused, once a warning each."""
    for excused_n in range(20):
        if alarms(probe.fire(kind, subject, starved_ms=starved_ms)) != BUSY:
            return excused_n
    return 20


def exit_awaiting_its_record() -> tuple[position.History, str]:
    history = position.held()
    history.records_exits = False
    position.flatten(history)
    (subject,) = [subject for kind, subject in history.timers if kind == "record"]
    return history, subject


def test_exit_goes_without_its_record_whatever_the_machine_does_and_blames_the_ledger_later() -> None:
    history, subject = exit_awaiting_its_record()
    sent = history.fire("record", subject, starved_ms=200)
    assert len(sent.told(orders.SubmitOrder)) == 1
    assert (sent.told(risk.RaiseKill), alarms(sent)) == ([], [("machine_busy", Severity.WARNING)])
    sent = history.fire("record", subject, starved_ms=IDLE_MS)
    assert sent.told(orders.SubmitOrder) == []
    assert [raised.level for raised in sent.told(risk.RaiseKill, "kill")] == [KillLevel.NO_ENTRIES]


def test_exit_that_a_busy_machine_records_late_blames_nobody() -> None:
    history, subject = exit_awaiting_its_record()
    (intent,) = history.all(orders.RecordExitIntent)
    history.fire("record", subject, starved_ms=200)
    history.feed(orders.ExitIntentRecorded(order_ref=intent.order_ref, tier=intent.tier))
    assert ("record", subject) not in history.timers
    assert history.all(risk.RaiseKill) == []


def test_difference_between_ledger_and_broker_is_disputed_only_when_both_had_a_processor() -> None:
    history = position.held()
    history.broker(1)
    sent = history.fire("agree", starved_ms=3_000)
    assert (sent.told(risk.RaiseKill), sent.published(positions.PositionDisputed)) == ([], [])
    assert len(sent.told(orders.RequestOrderState, "ibkr")) == 1  # the broker is asked whatever the machine does
    assert alarms(sent) == BUSY
    assert history.timers["agree", ""] == history.now + 3_000 * MS
    history.fire("agree", starved_ms=IDLE_MS)
    assert len(history.all(positions.PositionDisputed)) == 1


def test_difference_that_lasts_is_disputed_on_a_busy_machine_too() -> None:
    history = position.held()
    history.broker(1)
    for _ in range(2):
        assert alarms(history.fire("agree", starved_ms=5_000)) == BUSY
    history.fire("agree", starved_ms=5_000)
    assert len(history.all(positions.PositionDisputed)) == 1


def test_ledger_that_is_dead_on_a_busy_machine_is_blamed_after_twice_the_wait() -> None:
    history = filled()
    begin = history.probe.timers["record", "e1/1"]
    assert rounds(history.probe, "record", "e1/1", starved_ms=200) == 3
    assert history.probe.now - begin == 500 * MS
    assert len(history.told(risk.RaiseKill)) == 1
    held, subject = exit_awaiting_its_record()
    for _ in range(3):
        assert held.fire("record", subject, starved_ms=200).told(risk.RaiseKill) == []
    assert len(held.fire("record", subject, starved_ms=200).told(risk.RaiseKill)) == 1


def test_excuse_of_a_busy_machine_says_how_long_it_waited_for_a_processor() -> None:
    assert "it kept this process waiting for a processor for 1 s of 2 s" in busy_text(1_000, 2_000)


def test_persons_start_waits_for_its_record_while_the_machine_is_busy() -> None:
    kill = Probe(KillActor("kill", SETTINGS), ibkr.NOON)
    kill.start(KillRestored(level=KillLevel.NO_ENTRIES, kill_epoch=4, reason="before", by="ann"))
    kill.feed(risk.LowerKill(
        level=KillLevel.RUNNING, reason="all is well", by="ann", expected_epoch=4, command_id="c1"
    ))  # fmt: skip
    sent = kill.fire(KillTimer.RECORD, "5", starved_ms=200)
    assert (sent.told(operator.CommandDenied), alarms(sent)) == ([], BUSY)
    kill.feed(risk.KillRecorded(kill_epoch=5))
    assert kill.state.level is KillLevel.RUNNING


def test_persons_start_is_denied_when_its_record_is_missing_for_twice_the_wait_longer() -> None:
    kill = Probe(KillActor("kill", SETTINGS), ibkr.NOON)
    kill.start(KillRestored(level=KillLevel.NO_ENTRIES, kill_epoch=4, reason="before", by="ann"))
    kill.feed(risk.LowerKill(
        level=KillLevel.RUNNING, reason="all is well", by="ann", expected_epoch=4, command_id="c1"
    ))  # fmt: skip
    wait_ms = (kill.timers[KillTimer.RECORD, "5"] - kill.now) // MS
    assert rounds(kill, KillTimer.RECORD, "5", starved_ms=wait_ms) == 2
    assert len(kill.sent.told(risk.RecordKill)) == 2
    kill.feed(risk.KillRecorded(kill_epoch=6))
    assert len(kill.sent.told(operator.CommandDenied)) == 1


def test_promotion_that_the_ledger_never_records_is_given_up_on_a_busy_machine_too() -> None:
    probe = Probe(OperatorActor("operator", SETTINGS), ibkr.NOON)
    probe.start()
    probe.feed(operator.Promote(
        command_id="c1", reply_to="edge:cli", by="ann", reason="drill", expires_utc=Utc(ibkr.NOON + SECOND),
        source="gexwatch", kind="GAMMA_FLIP", version=1,
    ))  # fmt: skip
    wait_ms = (probe.timers["record", "c1"] - probe.now) // MS
    assert rounds(probe, "record", "c1", starved_ms=wait_ms) == 2
    assert [denied.code for denied in probe.sent.told(operator.CommandDenied)] == ["ledger_silent"]


def test_ledger_that_restores_nobody_is_asked_again_on_a_busy_machine_too() -> None:
    log: Log = []
    restored = spec("a:1", lambda n: Toy(n, log), restore_from="ledger")
    tree = toy_tree(restored, spec("ledger", lambda n: Toy(n, log)), log=log).tree
    probe = Probe(SupervisorActor("supervisor", tree, RULES), ibkr.NOON)
    probe.feed(lifecycle.StartActor(name="a:1"))
    assert rounds(probe, "read_again", "a:1", starved_ms=RULES.stuck_after_ms) == 2
    assert len(probe.sent.told(lifecycle.RequestState, "ledger")) == 2


# -- the runtime ---------------------------------------------------------------------------------


class Waiter(Actor[ToyState, lifecycle.Started | lifecycle.TimerFired]):
    """Waits for nothing, by two timers, of which it weighs one."""

    weighs = frozenset(("weighed",))

    def __init__(self, name: str, fired: list[lifecycle.TimerFired]) -> None:
        super().__init__(name)
        self._fired = fired

    def initial(self) -> ToyState:
        return ToyState()

    def decide(self, turn: Turn[ToyState], message: lifecycle.Started | lifecycle.TimerFired) -> None:
        match message:
            case lifecycle.Started():
                turn.arm("plain", turn.now + 100 * MS)
                turn.arm("weighed", turn.now + 100 * MS, excused_ms=30)
            case lifecycle.TimerFired():
                self._fired.append(message)


@pytest.fixture
def start() -> Iterator[Start]:
    with starter() as begin:
        yield begin


def test_timer_tells_how_much_of_its_wait_was_lost_to_the_machine_and_what_was_excused_before(start: Start) -> None:
    log: Log = []
    fired: list[lifecycle.TimerFired] = []
    now, cpu = FakeNs(), FakeNs()
    meter = StarvationMeter(250, now, cpu, lambda: 40 * MS)
    h = toy_tree(spec("toy", lambda n: Toy(n, log)), log=log)
    runtime = start(h)
    runtime.starvation = meter
    cell = runtime.cells["toy"]
    waiter = Waiter("toy", fired)
    cell.actor, cell.decide = waiter, waiter.decide
    runtime.post("toy", lifecycle.Started(name="toy", incarnation=1, run_n=1), "edge:t")
    assert eventually(lambda: bool(cell.timers))
    now.ns += 50 * MS  # of which threads of ours stood in the queue for 40, and none ran
    assert eventually(lambda: len(fired) == 2)
    told = {timer.kind: (timer.starved_ms, timer.excused_ms) for timer in fired}
    assert told == {"plain": (0, 0), "weighed": (40, 30)}
