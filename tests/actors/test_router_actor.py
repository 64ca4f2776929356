"""The router: what trades where after a start, and what becomes of a switch whose answers are missing or late."""

from __future__ import annotations

from actors.router import ANSWER_NS, RouterActor, RouterState, Timer
from messages import desks, lifecycle, operator
from messages.restored import RoutesRestored
from tests.testkit.desk_world import NOW
from tests.testkit.probe import Outbox, Probe
from tests.testkit.several_desks import settings_of

SWITCH = desks.SwitchStrategy(
    command_id="c1", strategy="gexwatch", from_desk="", to_desk="real", by="ann", reason="enough paper"
)


def started(*recorded: tuple[str, tuple[str, ...]], **of_settings: tuple[str, ...]) -> Probe[RouterState]:
    probe = Probe(RouterActor("router", settings_of(**of_settings)), NOW)
    probe.start(RoutesRestored(routes=recorded))
    return probe


def held(desk: str, *, is_reconciled: bool = False, held: str = "", unfit: str = "", n: int = 1) -> desks.StrategyHeld:
    return desks.StrategyHeld(switch_n=n, desk=desk, is_reconciled=is_reconciled, held=held, unfit=unfit)


def route(sent: Outbox) -> list[tuple[str, ...]]:
    return [changed.desks for changed in sent.published(desks.RouteChanged) if changed.strategy == "gexwatch"]


def answer(sent: Outbox) -> str | None:
    denied = [one.code for one in sent.told(operator.CommandDenied, "operator")]
    return next(iter((*denied, *("done" for _ in sent.told(operator.CommandDone, "operator")))), None)


def recording(probe: Probe[RouterState]) -> None:
    """Take a switch to where the ledger is to answer."""
    probe.feed(SWITCH)
    for is_reconciled in (False, True):
        for desk in ("paper", "real"):
            probe.feed(held(desk, is_reconciled=is_reconciled))
    assert probe.sent.told(desks.RecordRoute, "ledger")


def test_a_strategy_trades_where_the_settings_say_until_somebody_has_switched_it() -> None:
    assert route(started().sent) == [("paper",)]
    assert route(started(("gexwatch", ("real",))).sent) == [("real",)]


def test_what_was_switched_to_a_desk_that_is_no_more_allowed_trades_nowhere_and_says_so() -> None:
    probe = started(("gexwatch", ("real",)), switch_to=())
    assert route(probe.sent) == [()]
    (alarm,) = probe.sent.published(operator.Alarm)
    assert alarm.key == "route:gexwatch"
    assert "nobody trades it" in alarm.text


def test_a_ledger_that_cannot_be_read_lets_nothing_trade() -> None:
    probe = Probe(RouterActor("router", settings_of()), NOW)
    probe.start(None)
    assert probe.sent.published(desks.RouteChanged) == []
    assert [alarm.key for alarm in probe.sent.published(operator.Alarm)] == ["routes"]
    told = probe.feed(desks.RequestRoutes(reply_to="risk:paper"))
    assert {answered.desks for answered in told.told(desks.RouteChanged, "risk:paper")} == {()}


def test_a_switch_is_in_force_when_it_is_durable_and_not_before() -> None:
    probe = started()
    recording(probe)
    assert (answer(probe.sent), route(probe.sent)) == (None, [("paper",)])
    asked = probe.feed(desks.RequestRoutes(reply_to="risk:paper")).told(desks.RouteChanged)
    assert [one.desks for one in asked if one.strategy == "gexwatch"] == [()], "nobody trades it meanwhile"
    sent = probe.feed(desks.RouteRecorded(command_id="c1"))
    assert (answer(sent), route(sent)) == ("done", [("real",)])
    assert probe.timers == {}


def test_either_desk_that_holds_something_at_either_look_keeps_the_old_route() -> None:
    for desk in ("paper", "real"):
        for looks in (1, 2):
            probe = started()
            probe.feed(SWITCH)
            for is_reconciled in (False, True)[: looks - 1]:
                for end in ("paper", "real"):
                    probe.feed(held(end, is_reconciled=is_reconciled))
            sent = probe.feed(held(desk, is_reconciled=looks == 2, held="2 SPXW 6000C"))
            assert (answer(sent), route(sent)) == ("not_flat", [("paper",)])
            assert not probe.sent.told(desks.RecordRoute)


def test_a_desk_that_may_not_trade_can_be_left_and_not_be_gone_to() -> None:
    probe = started()
    probe.feed(SWITCH)
    assert answer(probe.feed(held("paper", unfit="account_mismatch: account class paper"))) is None
    assert answer(probe.feed(held("real", unfit="live_not_enabled: not armed"))) == "unfit"


def test_answers_of_another_switch_or_stage_count_for_nothing() -> None:
    probe = started()
    probe.feed(SWITCH)
    for stale in (held("paper", n=7), held("paper", is_reconciled=True), held("other")):
        assert probe.feed(stale).effects == []
    probe.feed(held("paper"))
    assert probe.feed(held("paper")).effects == [], "it has answered already"


def test_one_switch_at_a_time() -> None:
    probe = started()
    probe.feed(SWITCH)
    assert answer(probe.feed(SWITCH)) == "busy"


def withdrawing(probe: Probe[RouterState]) -> Outbox:
    """Let the ledger be silent for too long; return what that brings about."""
    recording(probe)
    return probe.fire(Timer.ANSWER, "1")


def test_a_switch_that_was_not_recorded_in_time_is_refused_when_the_old_route_is_durable_and_not_before() -> None:
    probe = started()
    sent = withdrawing(probe)
    (withdrawn,) = sent.told(desks.RecordRoute, "ledger")
    assert (withdrawn.command_id, withdrawn.desks) == ("c1-withdrawn", ("paper",))
    assert (answer(sent), route(sent)) == (None, []), "a restart may still find the new route"
    assert probe.feed(desks.RouteRecorded(command_id="c1")).effects == []
    sent = probe.feed(desks.RouteRecorded(command_id="c1-withdrawn"))
    assert (answer(sent), route(sent)) == ("silent", [("paper",)])
    assert probe.timers == {}


def test_a_ledger_that_stays_silent_is_asked_once_more_and_people_are_told_once() -> None:
    probe = started()
    sent = withdrawing(probe)
    assert [alarm.key for alarm in sent.published(operator.Alarm)] == ["route:gexwatch"]
    again = probe.fire(Timer.ANSWER, "1")
    assert [one.command_id for one in again.told(desks.RecordRoute, "ledger")] == ["c1-withdrawn"]
    assert (answer(again), again.published(operator.Alarm)) == (None, [])
    asked = probe.feed(desks.RequestRoutes(reply_to="risk:paper")).told(desks.RouteChanged)
    assert [one.desks for one in asked if one.strategy == "gexwatch"] == [()], "nobody trades it meanwhile"
    assert answer(probe.feed(desks.RouteRecorded(command_id="c1-withdrawn"))) == "silent"


def test_an_overdue_answer_of_a_switch_that_is_over_means_nothing() -> None:
    probe = started()
    recording(probe)
    probe.feed(desks.RouteRecorded(command_id="c1"))
    overdue = lifecycle.TimerFired(kind=Timer.ANSWER, subject="1", due_utc=NOW + ANSWER_NS)
    assert probe.feed(overdue, NOW + ANSWER_NS).effects == []
