"""The kill switch as a table of levels and commands, and the operator's commands, once each."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.kill import KillActor, KillState, Timer
from actors.operator import KEPT, OperatorActor, OperatorState
from domain.alarm import Severity
from domain.instants import MS, SECOND
from domain.limits import LearnedLevels
from domain.position.cycle import ExitReason, PositionState
from domain.risk.kill import KillLevel
from domain.session.phases import Phase
from domain.signals.rates import PromotionRefused
from domain.units import Cents, Qty, Utc
from messages import broker, lifecycle, market, operator, orders, positions, risk, session, signals
from messages.base import Message
from messages.restored import KillRestored
from supervision.effects import CancelTimer, Publish, SetTimer, Tell
from tests.testkit.desk_world import NOW, SETTINGS, ref
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
    reason, by = ("before", "ann") if wanted < level else ("why", "bob")  # that of the level in force
    done = operator.CommandDone(command_id="c9", detail=f"Kill level is {int(after)} (epoch 5).")
    assert sent.effects == [
        Publish(risk.KillRaised(level=after, kill_epoch=5, reason=reason, by=by)),
        *flatten,
        Tell("ledger", risk.RecordKill(level=after, kill_epoch=5, reason=reason, by=by, at_utc=NOW)),
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
    announced: risk.KillRaised | risk.KillLowered
    announced = risk.KillRaised(level=level, kill_epoch=4, reason="before", by="ann", is_restored=True)
    if level is RUNNING:
        announced = risk.KillLowered(level=level, kill_epoch=4, reason="before", by="ann")
    flatten = [FLATTEN] if level is FLAT else []
    asked = Tell("session", session.RequestPhase(reply_to="kill"))
    assert kill.sent.effects == [asked, Publish(announced), *flatten]
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
    assert codes(sent) == [], "a restart may still find the lower level"
    assert [(alarm.key, alarm.severity) for alarm in sent.published(operator.Alarm)] == [
        ("kill_unrecorded", Severity.HIGH)
    ]
    assert [raised.kill_epoch for raised in sent.published(risk.KillRaised)] == [6]
    sent = kill.feed(risk.KillRecorded(kill_epoch=5))
    assert (kill.state.level, sent.published(risk.KillLowered), codes(sent)) == (NO_ENTRIES, [], [])
    again = kill.feed(down(RUNNING, command="c2", epoch=None))
    assert (codes(again), records(again)) == (["busy"], [(1, 6)])
    assert codes(kill.feed(risk.KillRecorded(kill_epoch=6))) == ["ledger_silent"]
    assert kill.state.lowering is None


def test_a_ledger_that_is_silent_for_long_is_waited_for_and_not_asked_again() -> None:
    kill = started(NO_ENTRIES)
    kill.feed(down(RUNNING))
    kill.fire(Timer.RECORD, "5")
    sent = kill.fire(Timer.RECORD, "6")
    assert (records(sent), codes(sent), kill.timers) == ([], [], {})
    assert codes(kill.feed(risk.KillRecorded(kill_epoch=6))) == ["ledger_silent"]


def test_a_raise_overtakes_a_lowering_that_is_being_taken_back() -> None:
    kill = started(NO_ENTRIES)
    kill.feed(down(RUNNING))
    kill.fire(Timer.RECORD, "5")
    sent = kill.feed(up(FLAT))
    assert (codes(sent), records(sent), kill.state.level) == (["overtaken"], [(2, 7)], FLAT)
    assert codes(kill.feed(risk.KillRecorded(kill_epoch=6))) == []


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


# -- a new desk, and the automatic rules --------------------------------------------------------

REAL = SETTINGS.model_copy(update={"profile": "real"})
NEW = KillRestored(level=RUNNING, kill_epoch=0, reason="", by="", is_new=True)


def test_a_new_real_desk_is_born_at_level_one_on_record_and_a_person_starts_it() -> None:
    kill = Probe(KillActor("kill", REAL), NOW)
    sent = kill.start(NEW)
    assert kill.state.level is NO_ENTRIES
    assert records(sent) == [(1, 1)]
    assert "start it" in sent.published(risk.KillRaised)[0].reason
    kill.feed(down(RUNNING))
    kill.feed(risk.KillRecorded(kill_epoch=2))
    assert kill.state.level is RUNNING


def test_the_demo_starts_itself_and_a_real_desk_that_ran_before_comes_up_as_it_was() -> None:
    demo = Probe(KillActor("kill", SETTINGS), NOW)
    demo.start(NEW)
    assert demo.state.level is RUNNING
    real = Probe(KillActor("kill", REAL), NOW)
    real.start(KillRestored(level=RUNNING, kill_epoch=3, reason="fine", by="ann"))
    assert real.state.level is RUNNING


def wide(at: int = 0, median: float | None = 0.9) -> market.SpreadsRead:
    return market.SpreadsRead(median=median, quoted=9, at_utc=Utc(NOW + at))


def refusal(code: int = 201) -> orders.BrokerRefused:
    return orders.BrokerRefused(order_ref="r", is_exit=False, vendor_code=code, text="no", at_utc=NOW)


def clock_read(least_ms: int, most_ms: int) -> broker.ClockRead:
    return broker.ClockRead(session_epoch=1, least_ms=least_ms, most_ms=most_ms, round_trip_ms=5, read_utc=NOW)


def in_phase(name: Phase) -> session.PhaseChanged:
    return session.PhaseChanged(phase=name, session=SETTINGS.demo.session, open_utc=NOW, close_utc=NOW, at_utc=NOW)


def test_spreads_wide_for_two_minutes_raise_level_one_in_regular_hours_only() -> None:
    for name, level in ((Phase.ENTRY, NO_ENTRIES), (Phase.PRE, RUNNING)):
        kill = started(RUNNING)
        kill.feed(in_phase(name))
        for at in range(0, SETTINGS.kill.spread_for_ms * MS + 1, 15 * SECOND):
            kill.feed(wide(), Utc(NOW + at))
        assert kill.state.level is level


def test_one_spread_a_slot_is_kept_for_the_norm_of_later_days() -> None:
    kill = started(RUNNING)
    kill.feed(in_phase(Phase.ENTRY))
    sent = run(kill, wide(median=None), wide(median=0.01), wide(median=0.02))
    assert [row.median for row in sent.told(risk.RecordSpread, "ledger")] == [0.01]
    later = kill.feed(wide(median=0.03), Utc(NOW + 300 * SECOND))
    assert [row.median for row in later.told(risk.RecordSpread, "ledger")] == [0.03]


def test_three_orders_rejected_by_the_broker_raise_level_one_with_a_page() -> None:
    kill = started(RUNNING)
    sent = run(kill, refusal(), refusal(110), refusal(), refusal())
    assert kill.state.level is NO_ENTRIES
    assert [alarm.severity for alarm in sent.published(operator.Alarm)] == [Severity.CRITICAL]


def test_a_clock_that_is_off_raises_level_one_and_one_that_may_be_right_does_not() -> None:
    kill = started(RUNNING)
    kill.feed(clock_read(-200, 800))
    assert kill.state.level is RUNNING
    kill.feed(clock_read(600, 800))
    assert kill.state.level is NO_ENTRIES


def test_an_uncovered_short_flattens_after_ten_seconds_and_a_covered_one_does_not() -> None:
    short = positions.ShortFound(con_id=7, qty=Qty(-1), since_utc=NOW)
    kill = started(RUNNING)
    kill.feed(short)
    kill.advance(Utc(NOW + SETTINGS.kill.uncovered_short_ms * MS))
    assert kill.state.level is FLAT
    covered = started(RUNNING)
    covered.feed(short)
    covered.feed(positions.ShortFound(con_id=7, qty=Qty(0), since_utc=NOW))
    covered.advance(Utc(NOW + 60 * SECOND))
    assert covered.state.level is RUNNING


def holds(qty: int) -> positions.PositionChanged:
    return positions.PositionChanged(
        ref=ref(), state=PositionState.OPEN, qty=Qty(qty), cost_cents=Cents(100), realised_cents=Cents(0),
        fees_cents=Cents(0), unrealised_cents=None, mark_utc=None, exit_reason=None, at_utc=NOW,
    )  # fmt: skip


def test_silent_inputs_raise_level_one_while_something_is_held_and_not_else() -> None:
    late = Utc(NOW + 2 * SETTINGS.kill.unknown_input_ms * MS)
    kill = started(RUNNING)
    kill.feed(in_phase(Phase.ENTRY))
    kill.advance(late)
    assert kill.state.level is RUNNING
    kill.feed(holds(1))
    kill.advance(Utc(late + SETTINGS.kill.unknown_input_ms * MS))
    assert kill.state.level is NO_ENTRIES
    flat = started(RUNNING)
    flat.feed(in_phase(Phase.ENTRY))
    run(flat, holds(1), holds(0))
    flat.advance(late)
    assert flat.state.level is RUNNING


def test_a_rule_does_not_raise_again_what_is_in_force() -> None:
    kill = started(FLAT)
    assert run(kill, refusal(), refusal(), refusal()).published(risk.KillRaised) == []


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


REST = {name: value for name, value in EDGE.items() if name != "by"}


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


def test_a_change_of_memberships_is_recorded_goes_to_the_feed_and_is_outdated_by_a_later_one() -> None:
    probe, hubs = desk(), {"classic": ("classic_gex_zero",)}
    first = operator.Memberships(hubs=hubs, **EDGE)
    sent = probe.feed(first)
    assert words(sent) == [("ledger", "RecordCommand", "asked"), ("feed", "ChangeMemberships", "")]
    assert sent.told(operator.RecordCommand)[0].name == "memberships"
    assert words(probe.feed(DONE)) == [("ledger", "RecordCommand", "done"), ("edge:cli", "CommandDone", "")]
    assert words(probe.feed(first)) == [("edge:cli", "CommandDone", "")]
    probe.feed(operator.Memberships(hubs={}, **EDGE | {"command_id": "c2"}))
    probe.feed(replace(DONE, command_id="c2"))
    (denied,) = probe.feed(first).told(operator.CommandDenied)
    assert denied.code == "outdated"
    late = operator.Memberships(hubs=hubs, **EDGE | {"command_id": "c3", "expires_utc": NOW - 1})
    assert [answer.code for answer in probe.feed(late).told(operator.CommandDenied)] == ["expired"]


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


RESUME = operator.Resume(level=RUNNING, expected_epoch=4, **EDGE)
PROMOTE = operator.Promote(source="gexwatch", kind="GAMMA_FLIP", version=1, **EDGE)


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (operator.Kill(level=NO_ENTRIES, **EDGE), RESUME),
        (operator.Flatten(**EDGE), PROMOTE),
        (RESUME, replace(RESUME, expected_epoch=5)),
        (RESUME, replace(RESUME, reason="another day")),
        (RESUME, replace(RESUME, by="bob")),
        (PROMOTE, replace(PROMOTE, version=2)),
        (PROMOTE, operator.Demote(source="gexwatch", kind="GAMMA_FLIP", version=1, **EDGE)),
    ],
)
@pytest.mark.parametrize("is_answered", [False, True])
def test_an_id_that_names_another_command_is_refused_and_the_record_of_that_one_stands(
    first: operator.OperatorCommand, other: operator.OperatorCommand, is_answered: bool
) -> None:
    probe = desk()
    run(probe, first, *([DONE] if is_answered else []))
    before = probe.state
    sent = probe.feed(replace(other, reply_to="edge:web"))
    assert words(sent) == [("edge:web", "CommandDenied", "")]
    assert [denied.code for denied in sent.told(operator.CommandDenied)] == ["id_reused"]
    assert probe.state == before


@pytest.mark.parametrize("first", [RESUME, operator.Kill(level=NO_ENTRIES, **EDGE), operator.Flatten(**EDGE)])
@pytest.mark.parametrize("is_answered", [False, True])
@pytest.mark.parametrize(
    ("raising", "level"), [(operator.Kill(level=FLAT, **EDGE), FLAT), (operator.Flatten(by="bob", **REST), FLAT)]
)
def test_a_raise_is_carried_out_whatever_its_id_names_already(
    first: operator.OperatorCommand, is_answered: bool, raising: operator.OperatorCommand, level: KillLevel
) -> None:
    probe = desk()
    run(probe, first, *([DONE] if is_answered else []))
    sent = probe.feed(replace(raising, reply_to="edge:web"))
    assert [(told.level, told.command_id) for told in sent.told(risk.RaiseKill, "kill")] == [(level, "c1+")]
    assert [row.command_id for row in sent.told(operator.RecordCommand)] == ["c1+"]
    answer = replace(DONE, command_id="c1+")
    assert probe.feed(answer).told(operator.CommandDone, "edge:web") == [answer]
    assert probe.feed(replace(raising, reply_to="edge:web")).effects == [Tell("edge:web", answer)]


def test_a_raise_that_a_resume_undid_is_carried_out_again_under_the_same_id() -> None:
    probe, kill = desk(), operator.Kill(level=FLAT, **EDGE)
    run(probe, kill, DONE)
    resume = replace(RESUME, command_id="c2")
    assert probe.feed(resume).told(risk.LowerKill)
    assert not probe.feed(kill).told(risk.RaiseKill)  # not undone yet
    probe.feed(replace(DONE, command_id="c2"))
    assert [told.command_id for told in probe.feed(kill).told(risk.RaiseKill, "kill")] == ["c1+"]


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


# -- promotions ---------------------------------------------------------------------------------

FLIP = {"source": "gexwatch", "kind": "GAMMA_FLIP", "version": 1}


def changed(is_promoted: bool) -> signals.PromotionChanged:
    return signals.PromotionChanged(is_promoted=is_promoted, by="ann", **FLIP)


def test_a_promotion_is_durable_first_and_in_force_after() -> None:
    probe = desk()
    sent = probe.feed(operator.Promote(**EDGE, **FLIP))
    assert [row.is_promoted for row in sent.told(signals.RecordPromotion, "ledger")] == [True]
    assert sent.published(signals.PromotionChanged) == []
    sent = probe.feed(signals.PromotionRecorded(command_id="c1"))
    assert sent.published(signals.PromotionChanged) == [changed(is_promoted=True)]
    assert [done.command_id for done in sent.told(operator.CommandDone, "edge:cli")] == ["c1"]
    assert probe.timers == {}


def test_a_withdrawal_is_in_force_at_once_and_also_without_a_record() -> None:
    probe = desk()
    sent = probe.feed(operator.Demote(**EDGE, **FLIP))
    assert sent.published(signals.PromotionChanged) == [changed(is_promoted=False)]
    sent = probe.fire("record", "c1")
    assert [denied.code for denied in sent.told(operator.CommandDenied, "edge:cli")] == ["ledger_silent"]
    assert probe.feed(signals.PromotionRecorded(command_id="c1")).effects == [CancelTimer("record", "c1")]


def test_a_promotion_that_the_ledger_does_not_record_is_withdrawn() -> None:
    probe = desk()
    probe.feed(operator.Promote(**EDGE, **FLIP))
    sent = probe.fire("record", "c1")
    assert [denied.code for denied in sent.told(operator.CommandDenied, "edge:cli")] == ["ledger_silent"]
    assert [event.is_promoted for event in sent.published(signals.PromotionChanged)] == [False]
    assert [(row.is_promoted, row.by) for row in sent.told(signals.RecordPromotion, "ledger")] == [(False, "operator")]
    assert probe.feed(signals.PromotionRecorded(command_id="c1")).published(signals.PromotionChanged) == []


@pytest.mark.parametrize(
    ("command", "now", "code"),
    [
        (operator.Promote(**EDGE, **{**FLIP, "version": 2}), NOW, "unknown_kind"),
        (operator.Promote(**EDGE, **{**FLIP, "source": "advisor"}), NOW, "unknown_kind"),
        (operator.Promote(**EDGE, **FLIP), NOW + SECOND + 1, "expired"),
    ],
)
def test_a_promotion_of_what_no_lane_looks_for_or_that_came_too_late_is_refused(
    command: Message, now: Utc, code: str
) -> None:
    sent = desk().feed(command, now)
    assert words(sent) == [("ledger", "RecordCommand", code), ("edge:cli", "CommandDenied", "")]
    assert not sent.told(signals.RecordPromotion)


def test_a_withdrawal_is_never_too_late_and_may_name_what_the_settings_no_longer_know() -> None:
    sent = desk().feed(operator.Demote(**EDGE, **{**FLIP, "version": 9}), Utc(NOW + 3600 * SECOND))
    assert sent.told(signals.RecordPromotion)


def test_a_promotion_asks_for_the_outcomes_of_the_settings_and_a_withdrawal_for_none() -> None:
    (row,) = desk().feed(operator.Promote(**EDGE, **FLIP)).told(signals.RecordPromotion)
    assert (row.outcomes_min, row.rate_floor) == (SETTINGS.promotion.outcomes_min, SETTINGS.promotion.rate_floor)
    (row,) = desk().feed(operator.Demote(**EDGE, **FLIP)).told(signals.RecordPromotion)
    assert row.outcomes_min == 0
    (row,) = desk().feed(operator.Promote(**EDGE, **FLIP, is_unproven=True)).told(signals.RecordPromotion)
    assert (row.outcomes_min, row.reason) == (0, f"{EDGE['reason']} (without the outcomes that are asked for)")


def test_a_promotion_that_its_outcomes_do_not_carry_is_refused_on_record_and_never_in_force() -> None:
    probe = desk()
    probe.feed(operator.Promote(**EDGE, **FLIP))
    refused = signals.PromotionRecorded(
        command_id="c1", refused=PromotionRefused.UNPROVEN, why="3 resolved outcomes."
    )  # fmt: skip
    sent = probe.feed(refused)
    (denied,) = sent.told(operator.CommandDenied, "edge:cli")
    assert (denied.code, denied.detail.partition(" (")[0]) == ("unproven", "3 resolved outcomes.")
    assert [row.outcome for row in sent.told(operator.RecordCommand, "ledger")] == ["unproven"]
    assert sent.published(signals.PromotionChanged) == []
    assert probe.timers == {}


@pytest.mark.parametrize("is_on", [True, False])
def test_the_credit_spread_may_be_promoted_while_it_is_on(is_on: bool) -> None:
    on = dataclasses.replace(SETTINGS.spread, is_on=is_on)
    probe = Probe(OperatorActor("operator", SETTINGS.model_copy(update={"spread": on})), NOW)
    probe.start()
    named = {"source": "spread", "kind": "CREDIT_SPREAD", "version": 1}
    assert bool(probe.feed(operator.Promote(**EDGE, **named)).told(signals.RecordPromotion)) is is_on


def test_a_version_that_is_tried_may_be_promoted() -> None:
    rules = SETTINGS.alert_rules["GAMMA_FLIP"]
    trials = {"GAMMA_FLIP": (dataclasses.replace(rules, version=2),)}
    probe = Probe(OperatorActor("operator", SETTINGS.model_copy(update={"alert_trials": trials})), NOW)
    probe.start()
    assert probe.feed(operator.Promote(**EDGE, **{**FLIP, "version": 2})).told(signals.RecordPromotion)


def test_learned_exit_levels_may_be_promoted_in_the_version_that_the_settings_have() -> None:
    exits = dataclasses.replace(SETTINGS.exits, learned=LearnedLevels(version=3, take=0.4, hold_ms=900_000))
    probe = Probe(OperatorActor("operator", SETTINGS.model_copy(update={"exits": exits})), NOW)
    probe.start()
    for version in (2, 3):
        named = {"command_id": f"c{version}", "source": "exits", "kind": "EXITS", "version": version}
        sent = probe.feed(operator.Promote(**{**EDGE, **named}))
        assert bool(sent.told(signals.RecordPromotion)) is (version == 3)


@pytest.mark.parametrize("is_on", [True, False])
def test_an_exit_profile_may_be_promoted_while_it_is_on_and_its_answer_speaks_of_exits(is_on: bool) -> None:
    adaptive = dataclasses.replace(SETTINGS.exits.adaptive, is_on=is_on, version=3)
    exits = dataclasses.replace(SETTINGS.exits, adaptive=adaptive)
    probe = Probe(OperatorActor("operator", SETTINGS.model_copy(update={"exits": exits})), NOW)
    probe.start()
    named = {"source": "exits", "kind": "ADAPTIVE", "version": 3}
    assert bool(probe.feed(operator.Promote(**EDGE, **named)).told(signals.RecordPromotion)) is is_on
    if is_on:
        sent = probe.feed(signals.PromotionRecorded(command_id="c1"))
        (done,) = sent.told(operator.CommandDone, "edge:cli")
        assert done.detail.startswith("Exit profile ADAPTIVE-3 closes the positions that are opened from now on")
        assert [event.is_promoted for event in sent.published(signals.PromotionChanged)] == [True]


@pytest.mark.parametrize(
    "kind",
    [partial(operator.Kill, level=NO_ENTRIES), operator.Flatten, partial(operator.Resume, level=RUNNING)],
    ids=["kill", "flatten", "resume"],
)
def test_the_only_desk_of_a_process_may_be_named(
    kind: Callable[..., operator.Kill | operator.Flatten | operator.Resume],
) -> None:
    probe = Probe(OperatorActor("operator", SETTINGS), NOW)
    asked = kind(command_id="c1", reply_to="edge:cli", by="ann", reason="why", expires_utc=NOW, desk=SETTINGS.desk)
    sent = probe.feed(asked)
    assert [*sent.told(risk.RaiseKill, "kill"), *sent.told(risk.LowerKill, "kill")]
    other = replace(asked, command_id="c2", desk="other")
    assert probe.feed(other).told(operator.CommandDenied, "edge:cli")[0].code == "unknown_desk"
