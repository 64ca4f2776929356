"""What a person said of alerts and of the kill level must never be undone by an answer that comes late."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.lane import LaneActor, LaneState
from actors.operator import OperatorActor, OperatorState
from config.settings import load_settings
from domain.instants import BUCKET_NS, SECOND
from domain.risk.kill import KillLevel
from domain.session.phases import Phase
from domain.signals.alert import Alert
from domain.signals.offer import SOURCE, Offer
from domain.units import Ticks, Utc
from messages import lifecycle, operator, risk, session, signals
from messages.restored import LaneRestored
from storage.queries import LedgerReader
from storage.shared_ledger import SharedLedger, start_run
from tests.testkit import ledger_asks as ask
from tests.testkit.desk_world import NOW, SETTINGS
from tests.testkit.probe import Outbox, Probe
from tests.testkit.signal_histories import OPEN, SESSION, clock

FLIP = {"source": "gexwatch", "kind": "GAMMA_FLIP", "version": 1}


def said(**changes: Any) -> dict[str, Any]:
    common = {"command_id": "p", "reply_to": "edge:cli", "by": "ann", "reason": "r", "expires_utc": NOW + SECOND}
    return common | changes


PROMOTE = operator.Promote(**said(), **FLIP)
DEMOTE = operator.Demote(**said(command_id="d"), **FLIP)


def desk() -> Probe[OperatorState]:
    probe = Probe(OperatorActor("operator", SETTINGS), NOW)
    probe.start()
    return probe


def in_force(sent: Outbox) -> list[bool]:
    return [changed.is_promoted for changed in sent.published(signals.PromotionChanged)]


def denials(sent: Outbox) -> list[tuple[str, str]]:
    return [(denied.command_id, denied.code) for denied in sent.told(operator.CommandDenied, "edge:cli")]


def recorded(command_id: str) -> signals.PromotionRecorded:
    return signals.PromotionRecorded(command_id=command_id)


def shared(folder: Path) -> SharedLedger:
    start_run(folder, ("paper",), ask.T0)
    ledger = SharedLedger(folder, ("paper",))
    ledger.open()
    return ledger


def restored(ledger: SharedLedger) -> LaneRestored:
    """Return what a start of the lane reads."""
    question = lifecycle.RequestState(name="lane:gexwatch:SPX", reply_to="supervisor", session=ask.DAY)
    (reply,) = ledger.apply(question, ask.T0)
    assert isinstance(reply, lifecycle.StateRead)
    assert isinstance(reply.restored, LaneRestored)
    return reply.restored


# -- promotions that the ledger answers late ------------------------------------------------------


def test_a_promotion_whose_record_comes_after_a_demotion_turns_nothing_on() -> None:
    probe = desk()
    probe.feed(PROMOTE)
    sent = probe.feed(DEMOTE)
    assert in_force(sent) == [False]
    assert denials(sent) == [("p", "overtaken")]
    assert in_force(probe.feed(recorded("p"))) == []
    sent = probe.feed(recorded("d"))
    assert in_force(sent) == [False]
    assert [done.command_id for done in sent.told(operator.CommandDone, "edge:cli")] == ["d"]
    assert probe.timers == {}


def test_a_demotion_leaves_the_promotion_of_another_kind_or_version_alone() -> None:
    probe = desk()
    probe.feed(PROMOTE)
    assert denials(probe.feed(replace(DEMOTE, version=2))) == []
    assert denials(probe.feed(replace(DEMOTE, command_id="e", kind="STRUCTURE_BREAK"))) == []
    assert in_force(probe.feed(recorded("p"))) == [True]


def test_a_promotion_after_a_demotion_is_in_force_at_the_end() -> None:
    probe = desk()
    probe.feed(DEMOTE)
    probe.feed(PROMOTE)
    assert in_force(probe.feed(recorded("d"))) == [False]
    assert in_force(probe.feed(recorded("p"))) == [True]


def test_a_promotion_that_is_recorded_too_late_stands_withdrawn_in_the_ledger(tmp_path: Path) -> None:
    """The rows reach the ledger after the answer: a restart must read what the person was told."""
    probe = desk()
    rows = probe.feed(PROMOTE).told(signals.RecordPromotion, "ledger")
    sent = probe.fire("record", "p")
    rows += sent.told(signals.RecordPromotion, "ledger")
    assert denials(sent) == [("p", "ledger_silent")]
    (denied,) = sent.told(operator.CommandDenied)
    assert "unknown" in denied.detail
    assert in_force(sent) == [False]
    ledger = shared(tmp_path)
    for row in rows:
        (fact,) = ledger.apply(row, NOW)
        assert not any(in_force(probe.feed(fact)))
    assert restored(ledger).promoted == ()
    ledger.close()
    assert probe.state.promotions == ()


STEPS = st.lists(st.sampled_from(["promote", "demote", "write", "overdue"]), max_size=20)


@given(STEPS)
def test_what_is_in_force_is_what_a_restart_would_read_once_the_ledger_has_written_all(steps: list[str]) -> None:
    """The ledger writes in the order in which it is asked, however late."""
    probe = desk()
    unwritten: list[signals.RecordPromotion] = []
    is_in_force = is_on_record = False

    def take(sent: Outbox) -> None:
        nonlocal is_in_force
        unwritten.extend(sent.told(signals.RecordPromotion, "ledger"))
        is_in_force = [is_in_force, *in_force(sent)][-1]

    for n, step in enumerate([*steps, *(["write"] * 3 * len(steps))]):
        if step == "promote":
            take(probe.feed(replace(PROMOTE, command_id=f"c{n}", expires_utc=probe.now)))
        elif step == "demote":
            take(probe.feed(replace(DEMOTE, command_id=f"c{n}")))
            assert not is_in_force
        elif step == "overdue" and probe.timers:
            take(probe.fire(*min(probe.timers)))
        elif step == "write" and unwritten:
            row = unwritten.pop(0)
            is_on_record = row.is_promoted
            take(probe.feed(recorded(row.command_id)))
    assert (unwritten, probe.state.promotions) == ([], ())
    assert is_in_force is is_on_record


# -- commands that are repeated when something else holds -----------------------------------------

RESUME = operator.Resume(level=KillLevel.RUNNING, expected_epoch=4, **said(command_id="r"))


def done(command_id: str) -> operator.CommandDone:
    return operator.CommandDone(command_id=command_id, detail="Kill level is as asked.")


@pytest.mark.parametrize(
    "raising",
    [operator.Kill(level=KillLevel.FLATTEN, **said(command_id="k")), operator.Flatten(**said(command_id="k"))],
)
def test_a_repeated_resume_does_not_say_that_its_level_holds_after_a_raise(
    raising: operator.Kill | operator.Flatten,
) -> None:
    probe = desk()
    probe.feed(RESUME)
    probe.feed(done("r"))
    assert probe.feed(RESUME).told(operator.CommandDone) == [done("r")]
    probe.feed(raising)
    probe.feed(done("k"))
    sent = probe.feed(RESUME)
    assert denials(sent) == [("r", "outdated")]
    assert len(sent.effects) == 1


def raised(level: KillLevel, by: str = "risk:paper") -> risk.KillRaised:
    return risk.KillRaised(level=level, kill_epoch=9, reason="VIX rose", by=by)


def test_a_repeated_resume_does_not_say_that_its_level_holds_after_a_rule_raised_it() -> None:
    probe = desk()
    for message in (RESUME, risk.KillLowered(level=KillLevel.RUNNING, kill_epoch=8, reason="r", by="ann"), done("r")):
        probe.feed(message)
    assert probe.feed(RESUME).told(operator.CommandDone) == [done("r")]
    probe.feed(raised(KillLevel.NO_ENTRIES))
    assert denials(probe.feed(RESUME)) == [("r", "outdated")]


def test_a_resume_to_level_one_holds_while_that_level_does() -> None:
    probe, to_one = desk(), replace(RESUME, level=KillLevel.NO_ENTRIES)
    for message in (to_one, done("r"), raised(KillLevel.NO_ENTRIES)):
        probe.feed(message)
    assert probe.feed(to_one).told(operator.CommandDone) == [done("r")]
    probe.feed(raised(KillLevel.FLATTEN))
    assert denials(probe.feed(to_one)) == [("r", "outdated")]


def test_an_operator_that_starts_asks_for_the_level_in_force() -> None:
    probe = Probe(OperatorActor("operator", SETTINGS), NOW)
    assert probe.start().told(risk.RequestKillLevel, "kill") == [risk.RequestKillLevel(reply_to="operator")]
    probe.feed(raised(KillLevel.NO_ENTRIES))
    assert probe.state.levels == {"": KillLevel.NO_ENTRIES}


def test_a_repeated_resume_after_a_raise_that_was_refused_gets_its_old_answer() -> None:
    probe = desk()
    probe.feed(RESUME)
    probe.feed(done("r"))
    probe.feed(operator.Kill(level=KillLevel.RUNNING, **said(command_id="k")))
    assert probe.feed(RESUME).told(operator.CommandDone) == [done("r")]


def test_a_repeated_promotion_does_not_say_that_it_trades_after_a_demotion() -> None:
    probe = desk()
    for message in (PROMOTE, recorded("p"), DEMOTE, recorded("d")):
        probe.feed(message)
    assert denials(probe.feed(PROMOTE)) == [("p", "outdated")]


# -- an operator that started anew and remembers no command ----------------------------------------


SURE = replace(PROMOTE, is_unproven=True)


def told(probe: Probe[OperatorState], ledger: SharedLedger, message: operator.OperatorCommand) -> list[Outbox]:
    """Feed a command, and what the ledger says to its rows."""
    sent = [probe.feed(message)]
    for row in sent[0].told(signals.RecordPromotion, "ledger"):
        sent += [probe.feed(fact) for fact in ledger.apply(row, NOW)]
    return sent


def test_a_demotion_counts_though_the_clock_was_put_back_since_the_promotion(tmp_path: Path) -> None:
    ledger = shared(tmp_path)
    told(desk(), ledger, SURE)
    (row,) = desk().feed(DEMOTE).told(signals.RecordPromotion, "ledger")
    ledger.apply(replace(row, at_utc=Utc(row.at_utc - 3_600 * SECOND)), NOW)
    assert restored(ledger).promoted == ()
    ledger.close()


def test_a_promotion_repeated_after_a_restart_of_the_operator_undoes_no_demotion(tmp_path: Path) -> None:
    ledger = shared(tmp_path)
    for message in (SURE, DEMOTE):
        told(desk(), ledger, message)
    asked, answered = told(desk(), ledger, SURE)
    assert in_force(asked) + in_force(answered) == []
    assert denials(answered) == [("p", "outdated")]
    assert restored(ledger).promoted == ()
    ledger.close()


def test_a_promotion_repeated_after_a_restart_of_the_operator_is_in_force_where_nothing_undid_it(
    tmp_path: Path,
) -> None:
    ledger = shared(tmp_path)
    told(desk(), ledger, SURE)
    _, answered = told(desk(), ledger, SURE)
    assert in_force(answered) == [True]
    assert [done.command_id for done in answered.told(operator.CommandDone, "edge:cli")] == ["p"]
    ledger.close()


@pytest.mark.parametrize("other", [replace(SURE, version=2), replace(SURE, kind="OTHER")])
def test_a_promotion_under_an_id_of_another_before_a_restart_of_the_operator_turns_nothing_on(
    tmp_path: Path, other: operator.Promote
) -> None:
    ledger = shared(tmp_path)
    told(desk(), ledger, SURE)
    row = desk().feed(SURE).told(signals.RecordPromotion)[0]
    (fact,) = ledger.apply(replace(row, kind=other.kind, version=other.version), NOW)
    probe = desk()
    probe.feed(SURE)
    answered = probe.feed(fact)
    assert in_force(answered) == []
    assert denials(answered) == [("p", "id_reused")]
    ledger.close()


def test_a_demotion_repeated_after_a_restart_of_the_operator_holds_over_the_next_start(tmp_path: Path) -> None:
    ledger = shared(tmp_path)
    for message in (DEMOTE, SURE):
        told(desk(), ledger, message)
    assert restored(ledger).promoted == ("GAMMA_FLIP-1",)
    asked, answered = told(desk(), ledger, DEMOTE)
    assert in_force(asked) + in_force(answered) == [False, False]
    assert [done.command_id for done in answered.told(operator.CommandDone, "edge:cli")] == ["d"]
    assert restored(ledger).promoted == ()
    ledger.close()


def test_the_record_of_a_command_that_was_carried_out_outlives_its_repeat(tmp_path: Path) -> None:
    ledger = shared(tmp_path)
    for outcome in ("asked", "done", "asked", "outdated"):
        row = operator.RecordCommand(command_id="p", name="promote", by="ann", reason="r", outcome=outcome, at_utc=NOW)
        ledger.apply(row, NOW)
    ledger.close()
    assert [row["outcome"] for row in LedgerReader(tmp_path, "paper").commands()] == ["done"]


# -- a shadow between two alerts that trade -------------------------------------------------------

OFFER = Offer(
    kind="MODEL", version=1, direction=1, entry_ticks=Ticks(600_100), target_ticks=Ticks(601_000),
    stop_ticks=Ticks(599_500), horizon_ms=1_800_000,
)  # fmt: skip
SHORT = replace(OFFER, direction=-1, target_ticks=Ticks(599_000), stop_ticks=Ticks(600_500))


def offered(probe: Probe[LaneState], n: int, offer: Offer) -> tuple[Alert, list[int]]:
    """Offer a signal in the n-th bucket and record it; return its alert, and the directions that positions turn to."""
    at_utc = Utc(OPEN + n * BUCKET_NS + 2 * SECOND)
    probe.feed(signals.FeaturesComputed(
        ticker="SPX", bucket_utc=Utc(OPEN + (n - 1) * BUCKET_NS), reading_n=n, features=(1.0,), missing=(), forces=(),
        alignment=0.5, spot=Ticks(600_000), zero_gamma=Ticks(600_000), is_complete=True,
    ), at_utc)  # fmt: skip
    sent = probe.feed(signals.OfferSignal(
        reply_to="edge:1", offer_id=str(n), offer=offer, expires_utc=Utc(at_utc + SECOND)
    ))  # fmt: skip
    (record,) = sent.told(signals.RecordAlert)
    assert sent.published(signals.ReversalRaised) == []  # the ledger may refuse it
    sent = probe.feed(signals.AlertRecorded(alert_id=record.alert.key.alert_id, is_new=True))
    return record.alert, [raised.direction for raised in sent.published(signals.ReversalRaised)]


def test_a_shadow_before_an_opposite_alert_does_not_keep_the_position_from_being_turned() -> None:
    kinds = {"lanes": {SOURCE: ["SPX"]}, "outside": {"kinds": {"MODEL": 1, "TOY": 1}}}
    probe = Probe(LaneActor(f"lane:{SOURCE}:SPX", load_settings(profile="demo", overrides=kinds)), OPEN)
    probe.start(LaneRestored(last_alerts=(), last_direction=None, unraised=(), promoted=("MODEL-1",)))
    probe.feed(session.PhaseChanged(
        phase=Phase.ENTRY, session=SESSION, open_utc=OPEN, close_utc=clock(16), at_utc=OPEN
    ))  # fmt: skip
    assert not offered(probe, 10, OFFER)[0].is_shadow
    shadow, turned = offered(probe, 11, replace(SHORT, kind="TOY"))
    assert (shadow.is_shadow, turned) == (True, [])
    assert offered(probe, 12, SHORT)[1] == [-1]


def test_a_lane_that_restarts_after_a_shadow_knows_the_direction_of_what_traded(tmp_path: Path) -> None:
    ledger = shared(tmp_path)
    ledger.apply(ask.alert(1, direction=-1, is_shadow=True), ask.T0)
    assert restored(ledger).last_direction is None
    ledger.apply(ask.alert(2), ask.T0)
    ledger.apply(ask.alert(3, direction=-1, is_shadow=True), ask.T0)
    assert restored(ledger).last_direction == 1
    ledger.close()
