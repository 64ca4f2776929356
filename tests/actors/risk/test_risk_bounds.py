"""The risk actor at its bounds: the instant, the cent and the word at which something begins or ends."""

from __future__ import annotations

import dataclasses
from datetime import time
from typing import Any

import pytest
from msgspec.structs import replace

from actors.risk import entry, holdings
from actors.risk.state import RiskState
from domain.alarm import Severity
from domain.instants import BUCKET_NS, MS, SECOND, at_exchange
from domain.position.cycle import ExitReason, PositionState
from domain.risk.attempt import Attempt
from domain.risk.day import DayStops
from domain.risk.desk_view import Holding
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.units import Utc
from messages import broker, entries, market, operator, positions, risk, session
from messages.restored import Reservation, RiskRestored
from supervision.turn import Turn
from tests.testkit.desk_talk import DeskTalk
from tests.testkit.desk_world import (
    CALL,
    CLOSE,
    DAY,
    MORNING,
    NAV,
    NOW,
    OPEN,
    OTHER_CALL,
    PROMOTED,
    SETTINGS,
    SPOT,
    VIX_SPOT,
    alert,
    intent,
    quote,
    ref,
    signal,
)

CONFIRM_NS = SETTINGS.entry.daily_loss_confirm_ms * MS
FOUR = at_exchange(DAY, time(4))
(PHASE,) = (told for told in MORNING if isinstance(told, session.PhaseChanged))
(ACCOUNT,) = (told for told in MORNING if isinstance(told, broker.AccountRead))
(RECONCILED,) = (told for told in MORNING if isinstance(told, session.ReconcileFinished))


@pytest.fixture
def talk() -> DeskTalk:
    return DeskTalk().morning()


def restored(**changes: Any) -> RiskRestored:
    base = RiskRestored(
        session=DAY, day_locked=None, start_nav_cents=NAV, decisions=(), reservations=(), closed=(), pending_alerts=(),
        promoted=tuple(PROMOTED),
    )  # fmt: skip
    return replace(base, **changes)


def marked(talk: DeskTalk, unrealised_cents: int) -> DeskTalk:
    """Hold two contracts at a result."""
    opened = positions.PositionOpened(ref=ref(), qty=2, cost_cents=204_000, opened_utc=talk.now)
    changed = positions.PositionChanged(
        ref=ref(), state=PositionState.OPEN, qty=2, cost_cents=204_000, realised_cents=0, fees_cents=300,
        unrealised_cents=unrealised_cents, mark_utc=talk.now, exit_reason=None, at_utc=talk.now,
    )  # fmt: skip
    return talk.hear(opened, changed)


# -- the start --------------------------------------------------------------------------------------


def test_a_first_start_knows_all_halts_and_one_that_the_ledger_knows_nothing_of_asks_all_the_same() -> None:
    talk = DeskTalk(restored=None)
    assert talk.names() == [("session", "RequestPhase"), ("kill", "RequestKillLevel"), ("ibkr", "RequestMode")]
    assert talk.state.view.halts_from_utc == 0
    assert DeskTalk(restored=restored()).state.view.halts_from_utc == 0


@pytest.mark.parametrize(
    ("stops", "due_utc"),
    [
        (DayStops(), None), (DayStops(breach_utc=NOW - SECOND), NOW + CONFIRM_NS),
        (DayStops(breach_utc=NOW - SECOND, is_hard=True), None),
    ],
)  # fmt: skip
def test_a_breach_that_was_not_confirmed_before_a_restart_is_looked_at_after_it(
    stops: DayStops, due_utc: int | None
) -> None:
    talk = DeskTalk(restored=restored(stops=stops))
    assert talk.timers.get(("day_loss", "")) == due_utc


def test_an_alert_whose_strategy_is_unknown_is_stale_at_its_buckets_end() -> None:
    known, unknown = alert(), alert(source="other")
    pending = tuple((key.alert_id, key.source) for key in (known, unknown))
    talk = DeskTalk(restored=restored(pending_alerts=pending))
    age_ns = SETTINGS.strategies["gexwatch"].signal_age_max_ms * MS
    assert talk.timers[("alert", unknown.alert_id)] == unknown.bucket_utc + BUCKET_NS
    assert talk.timers[("alert", known.alert_id)] == known.bucket_utc + BUCKET_NS + age_ns


# -- levels -----------------------------------------------------------------------------------------


def test_lost_sessions_ask_for_level_one_and_not_for_more(talk: DeskTalk) -> None:
    lost = session.ModeChanged(mode=Mode.DEGRADED, mode_n=4, session_epoch=7, cause="1100", at_utc=NOW)
    for _ in range(3):
        talk.hear(lost, replace(lost, mode=Mode.WARMUP))
    assert [kill.level for kill in talk.told(risk.RaiseKill)] == [KillLevel.NO_ENTRIES]


def test_the_page_of_a_loss_is_a_sentence_with_what_was_lost_and_the_limit(talk: DeskTalk) -> None:
    marked(talk, -900_000)
    (alarm,) = talk.published(operator.Alarm)
    text = "Day P&L -9001.82 USD is at or below -9000.00 USD, where all is closed."
    assert (alarm.key, alarm.severity, alarm.text) == ("risk:day_pnl", Severity.CRITICAL, text)


# -- the start NAV ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("at_utc", "is_asked"), [(FOUR - 1, False), (FOUR, True)])
def test_the_day_begins_at_four_to_the_nanosecond(at_utc: int, is_asked: bool) -> None:
    talk = DeskTalk()
    talk.now = Utc(at_utc)
    talk.hear(PHASE, replace(ACCOUNT, read_utc=at_utc), replace(RECONCILED, read_utc=at_utc))
    assert bool(talk.told(risk.RecordStartNav)) is is_asked


@pytest.mark.parametrize(("nav_cents", "is_one"), [(0, False), (1, True)])
def test_whatever_is_above_zero_is_a_net_liquidation(nav_cents: int, is_one: bool) -> None:
    talk = DeskTalk().hear(PHASE, replace(ACCOUNT, nav_cents=nav_cents), RECONCILED)
    assert bool(talk.told(risk.RecordStartNav)) is is_one
    talk.hear(risk.StartNavRecorded(session=DAY, nav_cents=nav_cents))
    assert (talk.state.view.start_nav_cents == nav_cents) is is_one


# -- the second look at a breach --------------------------------------------------------------------


def test_a_breach_is_looked_at_again_after_its_time_and_no_more_once_it_is_confirmed(talk: DeskTalk) -> None:
    marked(talk, -600_000)
    assert talk.timers[("day_loss", "")] == talk.now + CONFIRM_NS
    talk.wait(CONFIRM_NS / MS)
    assert talk.state.view.stops.is_hard
    assert ("day_loss", "") not in talk.timers


def test_a_breach_that_cannot_be_measured_is_looked_at_again_and_again() -> None:
    talk = DeskTalk(restored=restored(start_nav_cents=None, stops=DayStops(breach_utc=NOW - SECOND)))
    for n in (1, 2, 3):
        assert talk.timers[("day_loss", "")] == NOW + n * CONFIRM_NS
        talk.wait(CONFIRM_NS / MS)


def test_a_breach_that_has_passed_is_not_looked_at_again(talk: DeskTalk) -> None:
    marked(talk, -600_000)
    marked(talk, 0).wait(CONFIRM_NS / MS)
    assert talk.state.view.stops.breach_utc is None
    assert ("day_loss", "") not in talk.timers


# -- the end of the day -----------------------------------------------------------------------------


def test_the_day_is_verified_at_three_instants_and_each_session_anew(talk: DeskTalk) -> None:
    rules = SETTINGS.day
    for n in range(2):
        day, shift = (DAY, 0) if n == 0 else (DAY.replace(day=23), 3 * 86_400 * SECOND)
        close = CLOSE + shift
        talk.now = close - rules.flatten_ms * MS
        talk.sent.effects.clear()
        talk.hear(replace(PHASE, phase=Phase.FLATTEN, session=day, open_utc=OPEN + shift, close_utc=close))
        looks = {subject: at for (kind, subject), at in talk.timers.items() if kind == "verify_flat"}
        assert looks == {
            "0": close - rules.verify_flat_ms * MS, "1": close - rules.verify_flat_again_ms * MS, "2": close,
        }  # fmt: skip
        assert len(talk.told(risk.LockDay)) == 1
        assert len(talk.published(positions.DayFlattened)) == 1
        talk.now = close
        talk.hear(replace(PHASE, phase=Phase.CLOSED, session=day, open_utc=OPEN + shift, close_utc=close))
        assert len(talk.told(risk.RecordDay)) == 1
        assert talk.timers[("settle", "")] == close + rules.settlement_ms * MS
        talk.timers.clear()


def test_what_is_left_near_the_close_is_an_alarm_of_high_severity(talk: DeskTalk) -> None:
    marked(talk, 0)
    talk.now = CLOSE - SETTINGS.day.flatten_ms * MS
    talk.hear(replace(PHASE, phase=Phase.FLATTEN)).wait(SETTINGS.day.flatten_ms)
    assert {alarm.severity for alarm in talk.published(operator.Alarm) if alarm.key == "not_flat"} == {Severity.HIGH}


# -- what is said of a contract that is not there ---------------------------------------------------


def test_a_day_without_contracts_tried_none(talk: DeskTalk) -> None:
    talk.hear(signal()).offer(why="none listed", is_none_today=True)
    assert talk.denied.verdict.finding.measured == 0


@pytest.mark.parametrize("has_chosen", [False, True])
def test_a_quote_that_cannot_be_had_is_stale_by_the_age_of_the_last_one(talk: DeskTalk, has_chosen: bool) -> None:
    old = quote(at=NOW if has_chosen else NOW - 4 * SECOND)
    talk.hear(signal()).offer((CALL, old)).wait(100)
    asked = talk.last(market.RequestQuote)
    talk.hear(market.QuoteUnavailable(request_id=asked.request_id, con_id=812, why="no tick came", last=old))
    (stale,) = (v for v in talk.last(entries.RecordDenial).verdicts if v.finding.code is RejectCode.STALE_QUOTE)
    limits = SETTINGS.entry
    assert (stale.finding.measured, stale.finding.limit) == (
        (100, limits.fresh_quote_wait_ms) if has_chosen else (4_100, limits.quote_age_max_ms)
    )
    assert stale.finding.looked_at == "no tick came"


# -- the questions on the way -----------------------------------------------------------------------


def test_each_candidate_whose_quote_is_old_is_asked_for_once_and_may_be_as_old_as_the_gate_takes(
    talk: DeskTalk,
) -> None:
    talk.hear(signal()).offer((CALL, quote(at=NOW - 4 * SECOND)), (OTHER_CALL, quote(813, at=NOW - 4 * SECOND)))
    asked = talk.last(market.RequestQuote)
    assert (asked.con_id, asked.newer_than_utc) == (812, NOW - SETTINGS.entry.quote_age_max_ms * MS)
    talk.fresh(quote(ask=1_200))  # too wide, so that the next one is looked at
    asked = talk.last(market.RequestQuote)
    assert (asked.con_id, asked.newer_than_utc) == (813, NOW - SETTINGS.entry.quote_age_max_ms * MS)


def test_an_entry_lives_as_long_as_its_reservation_and_its_steps_may_take(talk: DeskTalk) -> None:
    talk.hear(signal()).offer().fresh()
    wait_ms = SETTINGS.entry.reservation_wait_ms + SETTINGS.exits.entry_total_ms
    assert talk.last(entries.ReserveEntry).deadline_utc == NOW + wait_ms * MS


def test_what_the_fresh_quote_refuses_is_not_looked_at_once_more(talk: DeskTalk) -> None:
    talk.hear(signal()).offer().fresh(quote(bid=2_000, ask=2_030))
    verdicts = talk.last(entries.RecordDenial).verdicts
    assert [verdict.is_reject for verdict in verdicts].count(True) == 1
    assert verdicts[-1].is_reject
    assert not any(verdict.note == "last look" for verdict in verdicts)


def test_a_denial_before_the_session_is_known_is_on_record_under_the_instants_own() -> None:
    talk = DeskTalk(restored=None).hear(signal())
    assert talk.state.view.session is None
    assert talk.last(entries.RecordDenial).session == DAY


def test_a_denial_without_a_reject_is_a_bug_that_is_told(talk: DeskTalk) -> None:
    turn: Turn[RiskState] = Turn("risk:paper", talk.now, talk.state)
    with pytest.raises(RuntimeError, match="was denied without a reject"):
        entry.deny(turn, Attempt(intent=intent(), deadline_utc=talk.now))


# -- what is held -----------------------------------------------------------------------------------


def test_a_reservation_that_a_restart_finds_costs_what_it_may_pay() -> None:
    reserved = Reservation(ref=ref(), order_ref="", qty=3, limit_ticks=1_020, deadline_utc=NOW, is_open=False)
    (holding,) = DeskTalk(restored=restored(reservations=(reserved,))).state.view.holdings
    assert holding.cost_cents == 3 * 1_020 * 100


@pytest.mark.parametrize(
    ("state", "qty", "is_pending"),
    [
        (PositionState.PENDING_ENTRY, 0, True), (PositionState.PENDING_ENTRY, 1, False), (PositionState.OPEN, 1, False),
        (PositionState.PENDING_EXIT, 0, False),
    ],
)  # fmt: skip
def test_a_position_is_pending_until_something_of_it_is_filled(
    talk: DeskTalk, state: PositionState, qty: int, is_pending: bool
) -> None:
    marked(talk, 0)
    changed = positions.PositionChanged(
        ref=ref(), state=state, qty=qty, cost_cents=102_000 * qty, realised_cents=0, fees_cents=0, unrealised_cents=0,
        mark_utc=NOW, exit_reason=None, at_utc=NOW,
    )  # fmt: skip
    (holding,) = talk.hear(changed).state.view.holdings
    assert holding.is_pending is is_pending


def told_of(qty: int, unrealised_cents: int | None, mark_utc: Utc | None) -> positions.PositionChanged:
    """A word of an open position, of one second after NOW."""
    return positions.PositionChanged(
        ref=ref(), state=PositionState.OPEN, qty=qty, cost_cents=102_000 * qty, realised_cents=0, fees_cents=0,
        unrealised_cents=unrealised_cents, mark_utc=mark_utc, exit_reason=None, at_utc=Utc(NOW + SECOND),
    )  # fmt: skip


def holding_of(qty: int, unrealised_cents: int | None) -> Holding:
    return Holding(
        ref=ref(), qty=qty, cost_cents=1, is_pending=False, unrealised_cents=unrealised_cents, marked_utc=Utc(NOW - 7)
    )


@pytest.mark.parametrize(
    ("message", "old", "mark"),
    [
        (told_of(0, -7, NOW), None, (0, NOW + SECOND)),
        (told_of(2, -7, NOW), None, (-7, NOW)),
        (told_of(2, -7, None), None, (-7, NOW + SECOND)),
        (told_of(2, None, None), None, (None, NOW + 9)),
        (told_of(2, None, None), holding_of(2, None), (None, NOW - 7)),
        (told_of(2, None, None), holding_of(3, -5_001), (-3_334, NOW - 7)),
        (told_of(3, None, None), holding_of(2, -5_001), (-5_001, NOW - 7)),
    ],
)
def test_a_mark_is_the_last_one_known_for_the_share_that_is_held(
    message: positions.PositionChanged, old: Holding | None, mark: tuple[int | None, int]
) -> None:
    assert holdings.mark_of(old, message, Utc(NOW + 9)) == mark


@pytest.mark.parametrize(("qty", "is_told"), [(-1, False), (0, False), (1, True)])
def test_only_what_is_held_is_told_again_to_close(talk: DeskTalk, qty: int, is_told: bool) -> None:
    marked(talk, 0).hear(risk.KillRaised(level=KillLevel.FLATTEN, kill_epoch=4, reason="test", by="ann"))
    talk.sent.effects.clear()
    talk.hear(told_of(qty, 0, NOW))
    flatten = [positions.FlattenPosition(reason=ExitReason.KILL)] if is_told else []
    assert talk.told(positions.FlattenPosition, "position:paper:812") == flatten


@pytest.mark.parametrize(
    ("is_hard", "action", "is_told"), [(True, "flatten", True), (True, "halt", False), (False, "flatten", False)]
)
def test_a_stopped_day_closes_what_opens_where_the_desk_says_so(is_hard: bool, action: str, is_told: bool) -> None:
    settings = SETTINGS.model_copy(update={"entry": dataclasses.replace(SETTINGS.entry, on_hard_stop=action)})
    talk = DeskTalk(settings, restored(stops=DayStops(is_hard=is_hard))).morning()
    marked(talk, 0)
    assert bool(talk.told(positions.FlattenPosition, "position:paper:812")) is is_told


# -- inputs, hours, permits -------------------------------------------------------------------------

UNKNOWN_NS = SETTINGS.kill.unknown_input_ms * MS


def test_inputs_are_looked_at_when_the_first_of_them_is_unknown_and_then_when_the_next_is(talk: DeskTalk) -> None:
    marked(talk, 0)
    assert talk.timers[("inputs", "")] == NOW + UNKNOWN_NS + 1
    spots = market.SpotsChanged(spots=tuple(replace(spot, at_utc=Utc(NOW + SECOND)) for spot in (SPOT, VIX_SPOT)))
    talk.wait(1_000).hear(spots, told_of(2, 0, None))
    assert talk.timers[("inputs", "")] == NOW + UNKNOWN_NS + 1, "it is early then, and looks again"
    talk.wait(UNKNOWN_NS / MS - 999)
    assert talk.timers[("inputs", "")] == NOW + SECOND + UNKNOWN_NS + 1


def test_an_input_is_known_until_its_time_is_over_to_the_nanosecond(talk: DeskTalk) -> None:
    talk.hear(told_of(2, 0, Utc(NOW - UNKNOWN_NS)))
    assert not talk.told(risk.RaiseKill)
    assert talk.timers[("inputs", "")] == NOW + 1


@pytest.mark.parametrize(
    ("hours", "is_early"),
    [
        (((OPEN, CLOSE - SECOND),), True), (((OPEN - SECOND, CLOSE),), False),
        (((OPEN, NOW), (NOW + SECOND, CLOSE)), False),
    ],
)  # fmt: skip
def test_a_broker_that_closes_a_ticker_early_is_an_alarm_the_first_time_it_says_so(
    talk: DeskTalk, hours: tuple[tuple[Utc, Utc], ...], is_early: bool
) -> None:
    talk.hear(market.HoursRead(ticker="SPX", session=DAY, hours=hours))
    assert [alarm.key for alarm in talk.published(operator.Alarm)] == (["hours:SPX"] if is_early else [])


def test_only_a_pending_entry_of_the_intent_gets_a_permit(talk: DeskTalk) -> None:
    talk.hear(signal()).offer().fresh().reserve()
    mine = entries.RequestPermit(intent_id=ref().intent_id, order_ref="r", reply_to="position:paper:812")
    talk.hear(replace(mine, intent_id="another"))
    assert len(talk.told(entries.PermitRefused)) == 1
    talk.hear(mine)
    assert len(talk.told(entries.PermitRenewed)) == 1
    marked(talk, 0).hear(mine)
    assert len(talk.told(entries.PermitRefused)) == 2


def test_the_page_of_an_unknown_input_names_it(talk: DeskTalk) -> None:
    talk.hear(told_of(2, 0, Utc(NOW - UNKNOWN_NS))).wait(1)
    (alarm,) = talk.published(operator.Alarm)
    assert alarm.text.startswith("The mark of SPXW 20261120 6000C is not known for 60 s")
    assert alarm.text.endswith("look at the feed and the gateway.")
