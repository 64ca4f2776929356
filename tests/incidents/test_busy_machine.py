"""On a busy machine a ledger was blamed, and trading stopped, for time in which nothing of this process ran.

Whoever is silent although the machine was free is blamed as before; exits wait for nobody in either case.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from actors.kill import KillActor
from actors.kill import Timer as KillTimer
from config.settings import load_settings
from domain.alarm import Severity
from domain.instants import MS
from domain.risk.kill import KillLevel
from domain.session.modes import Mode
from messages import broker, lifecycle, operator, orders, positions, risk
from messages.restored import KillRestored
from supervision.actor import Actor
from supervision.starvation import StarvationMeter
from supervision.turn import Turn
from tests.testkit import ibkr_history as ibkr
from tests.testkit import position_history as position
from tests.testkit.live import FakeNs, Start, eventually, starter
from tests.testkit.probe import Outbox, Probe
from tests.testkit.toys import Log, Toy, ToyState, spec, toy_tree

SETTINGS = load_settings(profile="real")
BUSY_MS, IDLE_MS = 5_000, 1  # of waits of 10 s, and of 250 ms


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
    history.probe.fire("read_back", starved_ms=IDLE_MS)
    assert not history.state.link.is_up


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
    assert history.timers["agree", ""] == history.now + 3_000 * MS
    history.fire("agree", starved_ms=IDLE_MS)
    assert len(history.all(positions.PositionDisputed)) == 1


def test_persons_start_waits_for_its_record_while_the_machine_is_busy() -> None:
    kill = Probe(KillActor("kill", SETTINGS), ibkr.NOON)
    kill.start(KillRestored(level=KillLevel.NO_ENTRIES, kill_epoch=4, reason="before", by="ann"))
    kill.feed(risk.LowerKill(
        level=KillLevel.RUNNING, reason="all is well", by="ann", expected_epoch=4, command_id="c1"
    ))  # fmt: skip
    sent = kill.fire(KillTimer.RECORD, "5", starved_ms=200)
    assert (sent.told(operator.CommandDenied), alarms(sent)) == ([], [])
    kill.feed(risk.KillRecorded(kill_epoch=5))
    assert kill.state.level is KillLevel.RUNNING


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
                turn.arm("weighed", turn.now + 100 * MS)
            case lifecycle.TimerFired():
                self._fired.append(message)


@pytest.fixture
def start() -> Iterator[Start]:
    with starter() as begin:
        yield begin


def test_timer_tells_how_much_of_its_wait_the_machine_ran_nothing_of_this_process(start: Start) -> None:
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
    assert {timer.kind: timer.starved_ms for timer in fired} == {"plain": 0, "weighed": 40}
