"""The kill switch as a table of levels and commands, and the operator's commands, once each."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.kill import KillActor, KillState, Timer
from actors.operator import KEPT, OperatorActor, OperatorState
from domain.alarm import Severity
from domain.instants import MS, SECOND
from domain.position.cycle import ExitReason
from domain.risk.kill import KillLevel
from domain.units import Utc
from messages import lifecycle, market, operator, positions, risk
from messages.base import Message
from messages.restored import KillRestored
from supervision.effects import CancelTimer, Publish, SetTimer, Tell
from tests.testkit.desk_world import NOW, SETTINGS
from tests.testkit.narrow import of_class
from tests.testkit.probe import Outbox, Probe

WAIT = SETTINGS.exits.record_wait_ms * MS
FLATTEN = Tell("positions", positions.FlattenPosition(reason=ExitReason.KILL))
LEVELS = tuple(KillLevel)
RUNNING, NO_ENTRIES, FLAT = LEVELS


def started(level: KillLevel, epoch: int = 4) -> Probe[KillState]:
    probe = Probe(KillActor("kill", SETTINGS), NOW)
    probe.start(KillRestored(level=level, kill_epoch=epoch, reason="before", by="ann"))
    return probe


def run(probe: Probe[KillState], *messages: Message) -> Outbox:
    """Feed messages; return everything that they sent out together."""
    return Outbox([effect for message in messages for effect in probe.feed(message).effects])


def up(level: KillLevel, command: str | None = None) -> risk.RaiseKill:
    return risk.RaiseKill(level=level, reason="why", by="bob", command_id=command)


def down(level: KillLevel, epoch: int | None = None, command: str | None = "c1") -> risk.LowerKill:
    return risk.LowerKill(level=level, reason="fine again", by="ann", expected_epoch=epoch, command_id=command)


def codes(sent: Outbox) -> list[str]:
    return [denied.code for denied in sent.told(operator.CommandDenied, "operator")]


def records(sent: Outbox) -> list[tuple[int, int]]:
    return [(record.level, record.kill_epoch) for record in sent.told(risk.RecordKill, "ledger")]


# -- the product of levels and commands ---------------------------------------------------------


@pytest.mark.parametrize(("level", "wanted"), list(itertools.product(LEVELS, LEVELS[1:])))
def test_a_raise_is_in_force_first_and_recorded_after(level: KillLevel, wanted: KillLevel) -> None:
    kill = started(level)
    sent = kill.feed(up(wanted, "c9"))
    after = max(level, wanted)
    flatten = [FLATTEN] if after is FLAT else []
    done = operator.CommandDone(command_id="c9", detail=f"Kill level is {int(after)} (epoch 5).")
    assert sent.effects == [
        Publish(risk.KillRaised(level=after, kill_epoch=5, reason="why", by="bob")),
        *flatten,
        Tell("ledger", risk.RecordKill(level=after, kill_epoch=5, reason="why", by="bob", at_utc=NOW)),
        SetTimer("record", "5", NOW + WAIT),
        Tell("operator", done),
    ]
    assert (kill.state.level, kill.state.in_force_epoch) == (after, 5)


@pytest.mark.parametrize(("level", "wanted"), list(itertools.product(LEVELS, LEVELS)))
def test_a_lowering_is_durable_first_and_in_force_after(level: KillLevel, wanted: KillLevel) -> None:
    kill = started(level)
    sent = kill.feed(down(wanted))
    if wanted >= level:
        assert codes(sent) == ["not_lower"]
        assert not records(sent)
        return
    assert (kill.state.level, sent.published(risk.KillLowered)) == (level, [])
    assert records(sent) == [(wanted, 5)]
    sent = kill.feed(risk.KillRecorded(kill_epoch=5))
    assert sent.effects == [
        CancelTimer("record", "5"),
        Publish(risk.KillLowered(level=wanted, kill_epoch=5, reason="fine again", by="ann")),
        Tell(
            "operator",
            operator.CommandDone(command_id="c1", detail=f"Kill level is {int(wanted)} (epoch 5)."),
        ),
    ]
    assert (kill.state.level, kill.state.in_force_epoch) == (wanted, 5)
    assert kill.timers == {}


@pytest.mark.parametrize("level", LEVELS)
def test_a_restart_comes_up_at_the_level_it_went_down_with(level: KillLevel) -> None:
    kill = started(level)
    kind = risk.KillLowered if level is RUNNING else risk.KillRaised
    flatten = [FLATTEN] if level is FLAT else []
    assert kill.sent.effects == [Publish(kind(level=level, kill_epoch=4, reason="before", by="ann")), *flatten]
    assert kill.state.level is level


def test_a_ledger_that_gives_nothing_back_is_level_one() -> None:
    kill = Probe(KillActor("kill", SETTINGS), NOW)
    assert kill.state.level is NO_ENTRIES
    sent = kill.start()
    assert kill.state.level is NO_ENTRIES
    assert [raised.level for raised in sent.published(risk.KillRaised)] == [NO_ENTRIES]


# -- races --------------------------------------------------------------------------------------


def test_a_raise_overtakes_a_lowering_under_way() -> None:
    kill = started(NO_ENTRIES)
    sent = run(kill, down(RUNNING), up(FLAT), risk.KillRecorded(kill_epoch=5), risk.KillRecorded(kill_epoch=6))
    assert (kill.state.level, kill.state.in_force_epoch) == (FLAT, 6)
    assert not sent.published(risk.KillLowered)
    assert codes(sent) == ["overtaken"]
    assert records(sent) == [(0, 5), (2, 6)]  # the ledger's last row is the raise


def test_a_second_lowering_waits_its_turn_and_an_old_epoch_is_refused() -> None:
    kill = started(FLAT)
    sent = run(kill, down(NO_ENTRIES), down(RUNNING, command="c2"), down(RUNNING, epoch=3, command=None))
    assert [(m.command_id, m.code) for m in sent.told(operator.CommandDenied)] == [("c2", "busy")]
    assert codes(started(FLAT).feed(down(NO_ENTRIES, epoch=3))) == ["epoch_changed"]


def test_a_silent_ledger_keeps_the_level_and_writes_it_again_behind_the_lowering() -> None:
    kill = started(NO_ENTRIES)
    kill.feed(down(RUNNING))
    sent = kill.fire(Timer.RECORD, "5")
    assert kill.now == NOW + WAIT
    assert (kill.state.level, kill.state.in_force_epoch) == (NO_ENTRIES, 6)
    assert records(sent) == [(1, 6)]
    assert codes(sent) == ["ledger_silent"]
    assert [(alarm.key, alarm.severity) for alarm in sent.published(operator.Alarm)] == [
        ("kill_unrecorded", Severity.HIGH)
    ]
    assert [raised.kill_epoch for raised in sent.published(risk.KillRaised)] == [6]
    sent = kill.feed(risk.KillRecorded(kill_epoch=5))
    assert (kill.state.level, sent.published(risk.KillLowered)) == (NO_ENTRIES, [])


def test_an_unrecorded_raise_stands_and_pages() -> None:
    kill = started(RUNNING)
    kill.feed(up(NO_ENTRIES))
    sent = kill.fire(Timer.RECORD, "5")
    assert [type(message) for message in sent.messages] == [operator.Alarm]
    kill.feed(risk.KillRecorded(kill_epoch=5))
    assert kill.state.level is NO_ENTRIES
    late = lifecycle.TimerFired(kind=Timer.RECORD, subject="5", due_utc=NOW)
    assert kill.feed(late).effects == []


def test_market_data_that_cannot_be_kept_raises_level_one() -> None:
    kill = started(RUNNING)
    sent = kill.feed(market.BucketNotStored(hub="classic", bucket_utc=NOW, why="disk full"))
    assert sent.published(risk.KillRaised) == [
        risk.KillRaised(level=NO_ENTRIES, kill_epoch=5, reason="disk full", by="warehouse")
    ]


def test_who_asks_for_the_level_gets_the_word_on_it() -> None:
    kill = started(RUNNING)
    assert kill.feed(risk.RequestKillLevel(reply_to="risk:paper")).effects == [
        Tell("risk:paper", risk.KillLowered(level=RUNNING, kill_epoch=4, reason="before", by="ann"))
    ]


STEPS = st.lists(st.sampled_from(["up1", "up2", "down0", "down1", "recorded", "old", "timer"]), max_size=30)


@given(STEPS)
def test_the_level_falls_only_by_a_recorded_lowering_and_epochs_only_rise(steps: list[str]) -> None:
    kill = started(RUNNING)
    durable: list[tuple[int, int]] = []
    for step in steps:
        before = kill.state
        message = {
            "up1": up(NO_ENTRIES),
            "up2": up(FLAT),
            "down0": down(RUNNING),
            "down1": down(NO_ENTRIES),
            "recorded": risk.KillRecorded(kill_epoch=before.epoch),
            "old": risk.KillRecorded(kill_epoch=before.epoch - 1),
            "timer": lifecycle.TimerFired(kind=Timer.RECORD, subject=str(before.epoch), due_utc=NOW),
        }[step]
        durable += records(kill.feed(message))
        state = kill.state
        if state.level < before.level:
            assert step in ("recorded", "old")
            assert (state.level, state.in_force_epoch) in durable
        assert state.epoch >= before.epoch
        assert state.in_force_epoch >= before.in_force_epoch
        if state.level is not before.level:
            assert state.in_force_epoch > before.in_force_epoch
    # What a restart would read is never below what is in force, but for a lowering still on its way.
    if durable and kill.state.lowering is None:
        assert durable[-1][0] >= kill.state.level


# -- the operator -------------------------------------------------------------------------------

EDGE = {"command_id": "c1", "reply_to": "edge:cli", "by": "ann", "reason": "drill", "expires_utc": NOW + SECOND}
DONE = operator.CommandDone(command_id="c1", detail="ok")


def desk() -> Probe[OperatorState]:
    probe = Probe(OperatorActor("operator", SETTINGS), NOW)
    probe.start()
    return probe


def words(sent: Outbox) -> list[tuple[str, str, str]]:
    tells = [of_class(Tell, effect) for effect in sent.effects]
    return [(e.to, type(e.message).__name__, getattr(e.message, "outcome", "")) for e in tells]


@pytest.mark.parametrize(
    ("command", "level"),
    [
        (operator.Kill(level=NO_ENTRIES, **EDGE), NO_ENTRIES),
        (operator.Kill(level=FLAT, **EDGE), FLAT),
        (operator.Flatten(**EDGE), FLAT),
    ],
)
def test_raise_and_flatten_go_to_the_owner_before_they_are_recorded(command: Message, level: KillLevel) -> None:
    probe = desk()
    sent = probe.feed(command)
    assert words(sent) == [("kill", "RaiseKill", ""), ("ledger", "RecordCommand", "asked")]
    assert sent.told(risk.RaiseKill) == [risk.RaiseKill(level=level, reason="drill", by="ann", command_id="c1")]
    assert sent.told(operator.RecordCommand)[0].name == type(command).__name__.lower()
    assert words(probe.feed(DONE)) == [("ledger", "RecordCommand", "done"), ("edge:cli", "CommandDone", "")]


def test_a_resume_is_recorded_before_it_goes_to_the_owner() -> None:
    sent = desk().feed(operator.Resume(level=RUNNING, **EDGE))
    assert words(sent) == [("ledger", "RecordCommand", "asked"), ("kill", "LowerKill", "")]


def test_a_repeated_command_is_carried_out_once_and_gets_the_old_answer() -> None:
    probe = desk()
    kill = operator.Kill(level=NO_ENTRIES, **EDGE)
    again = operator.Kill(level=NO_ENTRIES, **{**EDGE, "reply_to": "edge:web"})
    assert len(run(probe, kill, again, kill).told(risk.RaiseKill)) == 1
    assert [to for to, _, _ in words(probe.feed(DONE))] == ["ledger", "edge:cli", "edge:web"]
    before = probe.state
    assert probe.feed(again, NOW + 60 * SECOND).effects == [Tell("edge:web", DONE)]
    assert probe.feed(DONE).effects == []
    assert probe.state == before


def test_a_raise_is_never_too_late() -> None:
    for command in (operator.Kill(level=FLAT, **EDGE), operator.Flatten(**EDGE)):
        assert words(desk().feed(command, NOW + 3600 * SECOND))[0] == ("kill", "RaiseKill", "")


def test_a_resume_carries_the_epoch_that_the_person_saw() -> None:
    sent = desk().feed(operator.Resume(level=RUNNING, expected_epoch=4, **EDGE))
    assert [lower.expected_epoch for lower in sent.told(risk.LowerKill)] == [4]


@pytest.mark.parametrize(
    ("command", "now", "code"),
    [
        (operator.Resume(level=RUNNING, **EDGE), NOW + SECOND + 1, "expired"),
        (operator.Kill(level=RUNNING, **EDGE), NOW, "bad_level"),
        (operator.Kill(level=3, **EDGE), NOW, "bad_level"),
    ],
)
def test_an_expired_or_senseless_command_is_refused_on_record(command: Message, now: Utc, code: str) -> None:
    sent = desk().feed(command, now)
    assert words(sent) == [("ledger", "RecordCommand", code), ("edge:cli", "CommandDenied", "")]
    assert sent.told(operator.CommandDenied)[0].code == code


def test_a_command_at_its_very_expiry_is_carried_out() -> None:
    assert desk().feed(operator.Resume(level=RUNNING, **EDGE), NOW + SECOND).told(risk.LowerKill)


def test_what_is_remembered_is_bounded() -> None:
    probe = desk()
    for n in range(KEPT + 5):
        probe.feed(operator.Flatten(**{**EDGE, "command_id": f"c{n}"}))
    assert [known.command_id for known in probe.state.commands] == [f"c{n}" for n in range(5, KEPT + 5)]


def test_answers_from_the_kill_actor_reach_the_edge() -> None:
    kill, probe = started(NO_ENTRIES), desk()
    asked = probe.feed(operator.Resume(level=NO_ENTRIES, **EDGE))
    answered = kill.feed(asked.told(risk.LowerKill)[0])
    sent = run(probe, *answered.told(operator.CommandDenied))
    assert [denied.code for denied in sent.told(operator.CommandDenied, "edge:cli")] == ["not_lower"]
