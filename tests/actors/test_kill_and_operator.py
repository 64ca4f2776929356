"""The kill switch as a table of levels and commands, and the operator's commands, once each."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.kill import TOLD, Kill, KillActor
from actors.operator import KEPT, Commands, OperatorActor
from domain.instants import MS, SECOND
from domain.position.cycle import ExitReason
from messages import lifecycle, market, operator, positions, risk
from supervision.effects import SetTimer, Tell
from tests.testkit.desk_world import NOW, SETTINGS

WAIT = SETTINGS.exits.record_wait_ms * MS
FLATTEN = Tell("positions", positions.FlattenPosition(reason=ExitReason.KILL))


def started(level: int, epoch: int = 4):
    restored = lifecycle.KillRestored(level=level, kill_epoch=epoch, reason="before", by="ann")
    actor = KillActor("kill", SETTINGS)
    state, effects = actor.decide(
        actor.initial(), lifecycle.Started(name="kill", incarnation=1, run_n=1, restored=restored), NOW
    )
    return actor, state, effects


def run(actor, state, *messages, now=NOW):
    told = []
    for message in messages:
        state, effects = actor.decide(state, message, now)
        told += effects
    return state, told


def said(effects, kind):
    return [e.message for e in effects if isinstance(e, Tell) and isinstance(e.message, kind)]


def up(level: int, command: str | None = None) -> risk.RaiseKill:
    return risk.RaiseKill(level=level, reason="why", by="bob", command_id=command)


def down(level: int, epoch: int | None = None, command: str | None = "c1") -> risk.LowerKill:
    return risk.LowerKill(level=level, reason="fine again", by="ann", expected_epoch=epoch, command_id=command)


# -- the product of levels and commands ---------------------------------------------------------


@pytest.mark.parametrize(("level", "wanted"), list(itertools.product((0, 1, 2), (1, 2))))
def test_a_raise_is_in_force_first_and_recorded_after(level, wanted):
    actor, state, _ = started(level)
    state, effects = run(actor, state, up(wanted, "c9"))
    after = max(level, wanted)
    raised = risk.KillRaised(level=after, kill_epoch=5, reason="why", by="bob")
    flatten = [FLATTEN] if after == 2 else []
    record = risk.RecordKill(level=after, kill_epoch=5, reason="why", by="bob", at_utc=NOW)
    assert effects == [
        *(Tell(to, raised) for to in TOLD),
        *flatten,
        Tell("ledger", record),
        SetTimer("record:5", NOW + WAIT),
        Tell("operator", operator.CommandDone(command_id="c9", detail=f"Kill level is {after} (epoch 5).")),
    ]
    assert (state.level, state.in_force_epoch) == (after, 5)


@pytest.mark.parametrize(("level", "wanted"), list(itertools.product((0, 1, 2), (0, 1, 2))))
def test_a_lowering_is_durable_first_and_in_force_after(level, wanted):
    actor, state, _ = started(level)
    state, effects = run(actor, state, down(wanted))
    if wanted >= level:
        assert [m.code for m in said(effects, operator.CommandDenied)] == ["not_lower"]
        assert not said(effects, risk.RecordKill)
        return
    assert (state.level, said(effects, risk.KillLowered)) == (level, [])
    assert [(m.level, m.kill_epoch) for m in said(effects, risk.RecordKill)] == [(wanted, 5)]
    state, effects = run(actor, state, risk.KillRecorded(kill_epoch=5))
    lowered = risk.KillLowered(level=wanted, kill_epoch=5, reason="fine again", by="ann")
    assert [e for e in effects if isinstance(e, Tell)] == [
        *(Tell(to, lowered) for to in TOLD),
        Tell("operator", operator.CommandDone(command_id="c1", detail=f"Kill level is {wanted} (epoch 5).")),
    ]
    assert (state.level, state.in_force_epoch) == (wanted, 5)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_restart_comes_up_at_the_level_it_went_down_with(level):
    _, state, effects = started(level)
    kind = risk.KillLowered if level == 0 else risk.KillRaised
    assert said(effects, kind) == [kind(level=level, kill_epoch=4, reason="before", by="ann")] * len(TOLD)
    assert (FLATTEN in effects) == (level == 2)
    assert state.level == level


def test_a_ledger_that_gives_nothing_back_is_level_one():
    actor = KillActor("kill", SETTINGS)
    assert actor.initial().level == 1
    state, effects = run(actor, actor.initial(), lifecycle.Started(name="kill", incarnation=1, run_n=1))
    assert state.level == 1
    assert {m.level for m in said(effects, risk.KillRaised)} == {1}


# -- races --------------------------------------------------------------------------------------


def test_a_raise_overtakes_a_lowering_under_way():
    actor, state, _ = started(1)
    state, effects = run(actor, state, down(0), up(2), risk.KillRecorded(kill_epoch=5), risk.KillRecorded(kill_epoch=6))
    assert (state.level, state.in_force_epoch) == (2, 6)
    assert not said(effects, risk.KillLowered)
    assert [m.code for m in said(effects, operator.CommandDenied)] == ["overtaken"]
    # The ledger's last row is the raise.
    assert [(m.level, m.kill_epoch) for m in said(effects, risk.RecordKill)] == [(0, 5), (2, 6)]


def test_a_second_lowering_waits_its_turn_and_an_old_epoch_is_refused():
    actor, state, _ = started(2)
    _, effects = run(actor, state, down(1), down(0, command="c2"), down(0, epoch=3, command=None))
    assert [(m.command_id, m.code) for m in said(effects, operator.CommandDenied)] == [("c2", "busy")]
    _, effects = run(actor, state, down(1, epoch=3))
    assert [m.code for m in said(effects, operator.CommandDenied)] == ["epoch_changed"]


def test_a_silent_ledger_keeps_the_level_and_writes_it_again_behind_the_lowering():
    actor, state, _ = started(1)
    state, _ = run(actor, state, down(0))
    state, effects = run(actor, state, lifecycle.TimerFired(key="record:5", due_utc=NOW), now=NOW + WAIT)
    assert (state.level, state.in_force_epoch) == (1, 6)
    assert [(m.level, m.kill_epoch) for m in said(effects, risk.RecordKill)] == [(1, 6)]
    assert [m.code for m in said(effects, operator.CommandDenied)] == ["ledger_silent"]
    assert said(effects, operator.Alarm)
    state, effects = run(actor, state, risk.KillRecorded(kill_epoch=5))
    assert (state.level, said(effects, risk.KillLowered)) == (1, [])


def test_an_unrecorded_raise_stands_and_pages():
    actor, state, _ = started(0)
    state, _ = run(actor, state, up(1))
    _, effects = run(actor, state, lifecycle.TimerFired(key="record:5", due_utc=NOW))
    assert [e.to for e in effects] == ["notifier", "web"]
    state, _ = run(actor, state, risk.KillRecorded(kill_epoch=5))
    assert run(actor, state, lifecycle.TimerFired(key="record:5", due_utc=NOW))[1] == []


def test_faults_of_others_raise_level_one():
    actor, state, _ = started(0)
    disputed = positions.PositionDisputed(position_id="p", con_id=1, ledger_qty=1, broker_qty=0, why="no agreement")
    lost = market.BucketNotStored(hub="classic", bucket_utc=NOW, why="disk full")
    for message in (disputed, lost):
        assert run(actor, state, message)[0].level == 1
    assert run(actor, state, risk.KillWanted(reply_to="risk:paper"))[1] == [
        Tell("risk:paper", risk.KillLowered(level=0, kill_epoch=4, reason="before", by="ann"))
    ]
    with pytest.raises(TypeError):
        run(actor, state, operator.CommandDone(command_id="c", detail=""))


STEPS = st.lists(st.sampled_from(["up1", "up2", "down0", "down1", "recorded", "old", "timer"]), max_size=30)


@given(STEPS)
def test_the_level_falls_only_by_a_recorded_lowering_and_epochs_only_rise(steps):
    actor, state, _ = started(0)
    durable: list[risk.RecordKill] = []
    for step in steps:
        before: Kill = state
        message = {
            "up1": up(1),
            "up2": up(2),
            "down0": down(0),
            "down1": down(1),
            "recorded": risk.KillRecorded(kill_epoch=state.epoch),
            "old": risk.KillRecorded(kill_epoch=state.epoch - 1),
            "timer": lifecycle.TimerFired(key=f"record:{state.epoch}", due_utc=NOW),
        }[step]
        state, effects = run(actor, state, message)
        durable += said(effects, risk.RecordKill)
        if state.level < before.level:
            assert step in ("recorded", "old")
            assert any((r.level, r.kill_epoch) == (state.level, state.in_force_epoch) for r in durable)
        assert state.epoch >= before.epoch
        assert state.in_force_epoch >= before.in_force_epoch
        if state.level != before.level:
            assert state.in_force_epoch > before.in_force_epoch
    # What a restart would read is never below what is in force, but for a lowering still on its way.
    if durable and state.lowering is None:
        assert durable[-1].level >= state.level


# -- the operator -------------------------------------------------------------------------------

EDGE = {"command_id": "c1", "reply_to": "edge:cli", "by": "ann", "reason": "drill", "expires_utc": NOW + SECOND}
DONE = operator.CommandDone(command_id="c1", detail="ok")


def desk():
    actor = OperatorActor("operator", SETTINGS)
    return actor, run(actor, actor.initial(), lifecycle.Started(name="operator", incarnation=1, run_n=1))[0]


def words(effects):
    return [(e.to, type(e.message).__name__, getattr(e.message, "outcome", "")) for e in effects]


@pytest.mark.parametrize(
    ("command", "level"),
    [(operator.Kill(level=1, **EDGE), 1), (operator.Kill(level=2, **EDGE), 2), (operator.Flatten(**EDGE), 2)],
)
def test_raise_and_flatten_go_to_the_owner_before_they_are_recorded(command, level):
    actor, state = desk()
    state, effects = run(actor, state, command)
    assert words(effects) == [("kill", "RaiseKill", ""), ("ledger", "RecordCommand", "asked")]
    assert effects[0].message == risk.RaiseKill(level=level, reason="drill", by="ann", command_id="c1")
    _, effects = run(actor, state, DONE)
    assert words(effects) == [("ledger", "RecordCommand", "done"), ("edge:cli", "CommandDone", "")]


def test_a_resume_is_recorded_before_it_goes_to_the_owner():
    actor, state = desk()
    _, effects = run(actor, state, operator.Resume(level=0, **EDGE))
    assert words(effects) == [("ledger", "RecordCommand", "asked"), ("kill", "LowerKill", "")]


def test_a_repeated_command_is_carried_out_once_and_gets_the_old_answer():
    actor, state = desk()
    kill = operator.Kill(level=1, **EDGE)
    again = operator.Kill(level=1, **{**EDGE, "reply_to": "edge:web"})
    state, effects = run(actor, state, kill, again, kill)
    assert len(said(effects, risk.RaiseKill)) == 1
    state, effects = run(actor, state, DONE)
    assert [e.to for e in effects] == ["ledger", "edge:cli", "edge:web"]
    late, effects = run(actor, state, again, now=NOW + 60 * SECOND)
    assert (late, effects) == (state, [Tell("edge:web", DONE)])
    assert run(actor, state, DONE) == (state, [])


def test_a_raise_is_never_too_late():
    for command in (operator.Kill(level=2, **EDGE), operator.Flatten(**EDGE)):
        actor, state = desk()
        _, effects = run(actor, state, command, now=NOW + 3600 * SECOND)
        assert words(effects)[0] == ("kill", "RaiseKill", "")


def test_a_resume_carries_the_epoch_that_the_person_saw():
    actor, state = desk()
    _, effects = run(actor, state, operator.Resume(level=0, expected_epoch=4, **EDGE), now=NOW)
    assert [lower.expected_epoch for lower in said(effects, risk.LowerKill)] == [4]


@pytest.mark.parametrize(
    ("command", "now", "code"),
    [
        (operator.Resume(level=0, **EDGE), NOW + SECOND + 1, "expired"),
        (operator.Kill(level=0, **EDGE), NOW, "bad_level"),
        (operator.Kill(level=3, **EDGE), NOW, "bad_level"),
    ],
)
def test_an_expired_or_senseless_command_is_refused_on_record(command, now, code):
    actor, state = desk()
    _, effects = run(actor, state, command, now=now)
    assert words(effects) == [("ledger", "RecordCommand", code), ("edge:cli", "CommandDenied", "")]
    assert said(effects, operator.CommandDenied)[0].code == code


def test_a_command_at_its_very_expiry_is_carried_out():
    actor, state = desk()
    assert said(run(actor, state, operator.Flatten(**EDGE), now=NOW + SECOND)[1], risk.RaiseKill)


def test_what_is_remembered_is_bounded():
    actor, state = desk()
    for n in range(KEPT + 5):
        state, _ = run(actor, state, operator.Flatten(**{**EDGE, "command_id": f"c{n}"}))
    assert len(state.commands) == KEPT
    assert isinstance(state, Commands)


def test_answers_from_the_kill_actor_reach_the_edge():
    kill_actor, kill_state, _ = started(1)
    actor, state = desk()
    state, effects = run(actor, state, operator.Resume(level=1, **EDGE))
    _, answered = run(kill_actor, kill_state, said(effects, risk.LowerKill)[0])
    _, effects = run(actor, state, *said(answered, operator.CommandDenied))
    assert [(e.to, e.message.code) for e in effects if e.to == "edge:cli"] == [("edge:cli", "not_lower")]
