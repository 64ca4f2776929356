"""The risk actor by histories of messages: positions in its read model, the day's stops and end, a restart."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from msgspec.structs import replace

from actors.risk.state import Timer
from domain.alarm import Severity
from domain.instants import BUCKET_NS, SECOND
from domain.instruments import Spot
from domain.orders.references import entry_ref
from domain.position.cycle import EndReason, ExitReason, PositionState
from domain.risk.day import Closed, DaySummary
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.units import Cents
from messages import broker, entries, lifecycle, market, operator, positions, risk, session, signals
from messages.restored import KillRestored, Reservation, RiskRestored
from tests.testkit.desk_talk import DeskTalk
from tests.testkit.desk_world import (
    ALERT,
    BUCKET,
    CLOSE,
    DAY,
    INTENT,
    MORNING,
    NAV,
    NOW,
    OPEN,
    PROMOTED,
    SETTINGS,
    SPOT,
    VIX_SPOT,
    alert,
    decided,
    ref,
    signal,
)

OWN = ref()
REF = entry_ref(OWN.position_id)


@pytest.fixture
def talk() -> DeskTalk:
    return DeskTalk().morning()


def entered(talk: DeskTalk) -> DeskTalk:
    return talk.hear(signal()).offer().fresh().reserve()


LOST = session.ModeChanged(mode=Mode.DEGRADED, mode_n=4, session_epoch=7, cause="1100", at_utc=NOW)
KILL = risk.KillRaised(level=KillLevel.NO_ENTRIES, kill_epoch=4, reason="test", by="ann")


# -- positions in the read model ----------------------------------------------------------------


def opened() -> positions.PositionOpened:
    return positions.PositionOpened(ref=OWN, qty=2, cost_cents=204_000, opened_utc=NOW)


def changed(
    unrealised: int | None,
    state: PositionState = PositionState.OPEN,
    qty: int = 2,
    why: ExitReason | None = None,
    at: int = NOW,
) -> positions.PositionChanged:
    return positions.PositionChanged(
        ref=OWN, state=state, qty=qty, cost_cents=102_000 * qty, realised_cents=0, fees_cents=300,
        unrealised_cents=unrealised, mark_utc=None if unrealised is None else at, exit_reason=why, at_utc=at,
    )  # fmt: skip


def spots(at: int) -> market.SpotsChanged:
    return market.SpotsChanged(spots=tuple(replace(spot, at_utc=at) for spot in (SPOT, VIX_SPOT)))


def held_and_marked(talk: DeskTalk, unrealised: int | None, until_ms: int, every_ms: int = 5_000) -> DeskTalk:
    """Let time pass as a desk knows it: prices flow, and the position tells its mark every few seconds."""
    for _ in range(until_ms // every_ms):
        talk.wait(every_ms).hear(spots(talk.now), changed(unrealised, at=talk.now))
    return talk


def closed(realised: int, of: str = INTENT) -> positions.PositionClosed:
    return positions.PositionClosed(
        ref=ref(of), reason=ExitReason.TAKE_PROFIT, end=EndReason.CLOSED, opened_qty=2, realised_cents=realised,
        fees_cents=300, opened_utc=NOW, closed_utc=NOW,
    )  # fmt: skip


def shape(talk: DeskTalk) -> list[tuple[str, bool, int, int | None]]:
    return [(h.ref.intent_id, h.is_pending, h.qty, h.unrealised_cents) for h in talk.state.view.holdings]


def test_a_position_is_followed_from_pending_to_its_end(talk: DeskTalk) -> None:
    entered(talk)
    assert shape(talk) == [(INTENT, True, 2, 0)]
    assert talk.state.view.holdings[0].cost_cents == 2 * 1_030 * 100  # at the ask: the most that it can cost
    talk.hear(changed(None, PositionState.PENDING_ENTRY, 0))
    assert shape(talk) == [(INTENT, True, 2, 0)]
    talk.hear(opened())
    assert shape(talk) == [(INTENT, False, 2, 0)]
    talk.hear(changed(-5_000))
    assert shape(talk) == [(INTENT, False, 2, -5_000)]
    talk.hear(closed(-5_600), closed(-5_600), changed(0, PositionState.FLAT, 0))
    assert shape(talk) == []
    assert [c.realised_cents for c in talk.state.view.closed] == [-5_600]


def test_an_abandoned_entry_frees_its_place(talk: DeskTalk) -> None:
    entered(talk)
    gone = positions.EntryAbandoned(ref=OWN, order_ref=REF, why="no fill")
    assert shape(talk.hear(gone, gone)) == []


# -- the day ------------------------------------------------------------------------------------


def test_two_losses_in_a_row_halve_the_size(talk: DeskTalk) -> None:
    for n in (1, 2):
        talk.hear(closed(-1_000, f"i{n}"))
    talk.hear(signal()).offer().fresh()
    assert talk.last(entries.ReserveEntry).legs[0].qty == 1


(PHASE,) = (told for told in MORNING if isinstance(told, session.PhaseChanged))
(ACCOUNT,) = (told for told in MORNING if isinstance(told, broker.AccountRead))
(RECONCILED,) = (told for told in MORNING if isinstance(told, session.ReconcileFinished))


def test_start_nav_is_the_first_reading_of_a_reconciled_account_after_four() -> None:
    talk = DeskTalk()
    talk.now = OPEN - 6 * 3_600 * SECOND  # 03:30
    talk.hear(PHASE, replace(ACCOUNT, read_utc=talk.now), replace(RECONCILED, read_utc=talk.now))
    talk.now += 3_600 * SECOND
    talk.hear(replace(ACCOUNT, read_utc=talk.now, nav_cents=NAV + 5))
    assert not talk.told(risk.RecordStartNav)  # the reconciliation is of before
    talk.hear(replace(RECONCILED, read_utc=talk.now))
    recorded = risk.RecordStartNav(session=DAY, nav_cents=NAV + 5, at_utc=talk.now)
    assert talk.told(risk.RecordStartNav, "desk_ledger") == [recorded]
    talk.hear(risk.StartNavRecorded(session=DAY, nav_cents=NAV), replace(ACCOUNT, read_utc=talk.now))
    assert talk.state.view.start_nav_cents == NAV
    assert len(talk.told(risk.RecordStartNav)) == 1


@pytest.mark.parametrize(
    ("account", "reconciled"),
    [
        (ACCOUNT, replace(RECONCILED, is_complete=False)),
        (replace(ACCOUNT, nav_cents=0), RECONCILED),
        (replace(ACCOUNT, nav_cents=-5), RECONCILED),
    ],
)
def test_no_start_nav_is_made_of_half_a_reconciliation_or_of_nothing(
    account: broker.AccountRead, reconciled: session.ReconcileFinished
) -> None:
    talk = DeskTalk().hear(PHASE, account, reconciled)
    assert not talk.told(risk.RecordStartNav)
    talk.hear(risk.StartNavRecorded(session=DAY, nav_cents=account.nav_cents if account.nav_cents <= 0 else 0))
    assert talk.state.view.start_nav_cents is None


def test_a_second_day_over_an_uninterrupted_link_has_a_start_nav_of_its_own(talk: DeskTalk) -> None:
    """The session's date changes at midnight; the broker session reconciles again at nine."""
    monday = DAY.replace(day=23)
    opens = OPEN + 3 * 86_400 * SECOND
    talk.now = opens - 9 * 3_600 * SECOND
    night = replace(PHASE, phase=Phase.PRE, session=monday, open_utc=opens, close_utc=opens + 23_400 * SECOND)
    talk.hear(night, replace(ACCOUNT, read_utc=talk.now))
    assert talk.state.view.start_nav_cents is None
    talk.now = opens - 1_800 * SECOND
    talk.hear(replace(ACCOUNT, read_utc=talk.now, nav_cents=NAV + 7))
    assert not talk.told(risk.RecordStartNav)  # of yesterday's reconciliation
    talk.hear(replace(RECONCILED, read_utc=talk.now))
    assert talk.last(risk.RecordStartNav) == risk.RecordStartNav(session=monday, nav_cents=NAV + 7, at_utc=talk.now)


def test_a_day_that_opens_without_a_start_nav_has_the_broker_read_again(talk: DeskTalk) -> None:
    talk.hear(replace(PHASE, phase=Phase.OPEN))
    assert not talk.told(session.RequestReconcile)
    tomorrow = DAY.replace(day=23)
    talk.hear(replace(PHASE, phase=Phase.OPEN, session=tomorrow))
    assert talk.told(session.RequestReconcile, "ibkr")


def test_account_values_that_cannot_be_used_refuse_with_what_came(talk: DeskTalk) -> None:
    why = "NetLiquidation came in EUR; wanted USD"
    talk.hear(broker.AccountUnreadable(session_epoch=7, why=why, read_utc=NOW), signal())
    assert talk.denied.verdict.finding.looked_at == f"account values: {why}"
    talk.hear(ACCOUNT, signal(alert(BUCKET - 5 * BUCKET_NS)), signal(alert(kind="OTHER")))
    assert talk.told(market.RequestContracts)


def test_the_hard_stop_locks_and_flattens_after_its_second_evaluation(talk: DeskTalk) -> None:
    entered(talk).hear(opened(), changed(-600_000))
    assert not talk.told(risk.LockDay)
    assert talk.hear(signal(alert(BUCKET - 5 * BUCKET_NS))).code  # refused meanwhile
    talk.wait(5_000)
    locked = risk.LockDay(session=DAY, reason="daily_loss", at_utc=talk.now)
    assert talk.told(risk.LockDay, "desk_ledger") == [locked]
    text = "Day P&L -6001.82 USD is at the daily loss limit; the day is locked."
    (alarm,) = talk.published(operator.Alarm)
    assert (alarm.key, alarm.severity, alarm.text) == ("daily_loss", Severity.HIGH, text)
    assert talk.told(positions.FlattenPosition, "positions") == [positions.FlattenPosition(reason=ExitReason.KILL)]
    assert not talk.told(risk.RaiseKill)
    talk.hear(changed(-900_000, why=ExitReason.KILL))
    assert [(k.level, k.by) for k in talk.told(risk.RaiseKill, "kill")] == [(KillLevel.FLATTEN, "risk:paper")]
    talk.hear(changed(-950_000, why=ExitReason.KILL))
    assert (len(talk.told(risk.LockDay)), len(talk.told(risk.RaiseKill))) == (1, 1)


def test_three_percent_is_level_two_at_once_without_any_latch(talk: DeskTalk) -> None:
    entered(talk).hear(opened(), changed(-899_000))
    assert not talk.told(risk.RaiseKill)
    talk.hear(changed(-900_000))
    assert not talk.state.view.stops.is_hard
    (raised,) = talk.told(risk.RaiseKill, "kill")
    assert raised.level is KillLevel.FLATTEN
    assert "day P&L -9001.82 USD" in raised.reason
    assert [alarm.severity for alarm in talk.published(operator.Alarm)] == [Severity.CRITICAL]


def test_a_person_who_lowers_the_level_is_not_overruled_by_the_same_loss(talk: DeskTalk) -> None:
    entered(talk).hear(opened(), changed(-900_000), replace(KILL, level=KillLevel.FLATTEN))
    talk.hear(risk.KillLowered(level=KillLevel.RUNNING, kill_epoch=9, reason="ok", by="ann"), changed(-900_001))
    assert len(talk.told(risk.RaiseKill)) == 1
    talk.hear(changed(-100), changed(-900_001))  # and one that passed and came back counts anew
    assert len(talk.told(risk.RaiseKill)) == 2


def test_the_money_limit_is_none_unless_it_is_set() -> None:
    talk = entered(DeskTalk().morning()).hear(opened(), changed(-590_000)).wait(9_000)
    assert not talk.told(risk.LockDay)


# -- marks and other inputs that are not known --------------------------------------------------


def test_a_mark_that_stops_coming_is_level_one_and_its_worst_case_latches_the_stop(talk: DeskTalk) -> None:
    small = SETTINGS.entry
    tight = dataclasses.replace(small, daily_loss_nav=0.005, soft_stop_nav=0.004, auto_flatten_nav=0.02)
    talk = entered(DeskTalk(SETTINGS.model_copy(update={"entry": tight})).morning())
    held_and_marked(talk.hear(opened(), changed(-1_000)), -1_000, 20_000)
    for _ in range(12):
        talk.wait(5_000).hear(spots(talk.now))  # prices flow, the position says nothing
    assert not talk.told(risk.RaiseKill)
    talk.wait(1)
    (raised,) = talk.told(risk.RaiseKill, "kill")
    assert (raised.level, raised.by) == (KillLevel.NO_ENTRIES, "risk:paper")
    assert raised.reason.startswith("the mark of SPXW 20261120 6000C is not known for 60 s")
    # 2 contracts at 10.20 are 2,040 USD, above 0.5 % of 300,000: seen twice, five seconds apart.
    talk.wait(5_000)
    assert [lock.reason for lock in talk.told(risk.LockDay)] == ["daily_loss"]
    assert talk.told(positions.FlattenPosition, "positions")
    assert talk.state.view.stops.drawdown_cents < 2_000  # a worst case is no drawdown
    (told,) = [alarm for alarm in talk.published(operator.Alarm) if alarm.key == "daily_loss"]
    assert "as far as known; with SPXW 20261120 6000C, whose price is not known, as lost it is at" in told.text
    assert "2,0" not in told.text and "-20" not in told.text  # nor is it told as a loss


def test_a_position_that_tells_no_mark_is_as_blind_as_one_that_tells_nothing(talk: DeskTalk) -> None:
    entered(talk).hear(opened(), changed(-5_000))
    held_and_marked(talk, None, 60_000)
    assert shape(talk) == [(INTENT, False, 2, -5_000)]  # the last one known, until it is a minute old
    assert not talk.told(risk.RaiseKill)
    held_and_marked(talk, None, 5_000)
    assert len(talk.told(risk.RaiseKill)) == 1
    assert talk.hear(signal(alert(BUCKET - BUCKET_NS, "QQQ", "advisor"))).code
    held_and_marked(talk, None, 30_000)
    assert len(talk.told(risk.RaiseKill)) == 1
    held_and_marked(talk, -10, 5_000)
    talk.hear(risk.KillLowered(level=KillLevel.RUNNING, kill_epoch=9, reason="ok", by="ann"))
    held_and_marked(talk, None, 70_000)
    assert len(talk.told(risk.RaiseKill)) == 2


def test_an_old_mark_told_again_and_again_grows_old(talk: DeskTalk) -> None:
    """The position marks at a bid that stands for minutes: it is as old as the bid."""
    entered(talk).hear(opened())
    for _ in range(13):
        talk.wait(5_000).hear(spots(talk.now), changed(-100, at=NOW))
    assert "the mark of" in talk.last(risk.RaiseKill).reason


def test_a_part_that_was_sold_takes_its_share_of_an_old_mark_with_it(talk: DeskTalk) -> None:
    entered(talk).hear(opened(), changed(-5_000), changed(None, qty=1))
    assert shape(talk) == [(INTENT, False, 1, -2_500)]


@pytest.mark.parametrize("ticker", ["VIX", "SPX"])
def test_a_price_that_an_automatic_rule_needs_is_missed_while_something_is_held(talk: DeskTalk, ticker: str) -> None:
    entered(talk).hear(opened(), changed(0))
    other = tuple(spot for spot in (SPOT, VIX_SPOT) if spot.ticker != ticker)
    for _ in range(13):
        talk.wait(5_000).hear(
            market.SpotsChanged(spots=tuple(replace(spot, at_utc=talk.now) for spot in other)),
            changed(0, at=talk.now),
        )
    (raised,) = talk.told(risk.RaiseKill, "kill")
    assert raised.reason.startswith(f"a live price of {ticker} is not known for 60 s while a position is held")
    assert [alarm.severity for alarm in talk.published(operator.Alarm)] == [Severity.CRITICAL]


def test_nothing_is_missed_while_nothing_is_held(talk: DeskTalk) -> None:
    talk.wait(600_000)
    assert not talk.told(risk.RaiseKill)
    entered(talk := DeskTalk().morning()).wait(600_000)  # a pending entry that its position knows of
    assert not talk.told(risk.RaiseKill)


def test_a_position_without_a_start_nav_to_measure_it_is_level_one() -> None:
    talk = DeskTalk().hear(*(told for told in MORNING if not isinstance(told, risk.StartNavRecorded)))
    held_and_marked(talk.hear(opened()), 0, 65_000)
    assert "net liquidation at the start of the day" in talk.last(risk.RaiseKill).reason


def test_a_late_fee_replaces_the_result_and_another_sessions_end_is_not_todays(talk: DeskTalk) -> None:
    talk.hear(closed(4_400), replace(closed(4_300), is_correction=True), closed(9))
    assert [c.realised_cents for c in talk.state.view.closed] == [4_300]
    yesterday = replace(closed(-900, "old"), closed_utc=CLOSE - 86_400 * SECOND)
    talk.hear(yesterday, replace(yesterday, is_correction=True))
    assert [c.realised_cents for c in talk.state.view.closed] == [4_300]


def test_a_breach_that_passes_before_five_seconds_locks_nothing(talk: DeskTalk) -> None:
    entered(talk).hear(opened(), changed(-600_000)).wait(4_000).hear(changed(-100)).wait(5_000)
    assert not talk.told(risk.LockDay)


def test_on_hard_stop_halt_locks_without_flattening() -> None:
    halt = SETTINGS.model_copy(update={"entry": dataclasses.replace(SETTINGS.entry, on_hard_stop="halt")})
    talk = entered(DeskTalk(halt).morning()).hear(opened(), changed(-600_000)).wait(5_000)
    assert talk.told(risk.LockDay)
    assert not talk.told(positions.FlattenPosition)


def test_a_position_that_missed_the_order_to_flatten_is_told_again(talk: DeskTalk) -> None:
    talk.hear(replace(KILL, level=KillLevel.FLATTEN), opened())
    assert talk.told(positions.FlattenPosition, "position:paper:812")
    talk.sent.effects.clear()
    talk.hear(changed(0, PositionState.PENDING_EXIT, why=ExitReason.KILL))
    assert not talk.told(positions.FlattenPosition)
    talk.hear(changed(0, why=ExitReason.TAKE_PROFIT))
    assert talk.told(positions.FlattenPosition, "position:paper:812")


def phase(kind: Phase, at: int) -> session.PhaseChanged:
    return session.PhaseChanged(phase=kind, session=DAY, open_utc=OPEN, close_utc=CLOSE, at_utc=at)


def test_the_end_of_the_day_locks_verifies_and_writes_its_row(talk: DeskTalk) -> None:
    entered(talk).hear(opened(), changed(0))
    talk.now = CLOSE - 900 * SECOND
    talk.sent.effects.clear()
    talk.hear(phase(Phase.FLATTEN, talk.now))
    assert [m.reason for m in talk.told(risk.LockDay)] == ["eod"]
    talk.wait(300_000)
    assert talk.last(operator.Alarm).text == "Not flat near the close: 2 SPXW 20261120 6000C."
    talk.hear(closed(4_400))
    assert talk.published(positions.DayFlattened)
    alarms = len(talk.published(operator.Alarm))
    talk.wait(600_000).hear(phase(Phase.CLOSED, talk.now))
    assert len(talk.published(operator.Alarm)) == alarms
    talk.wait(400_000)
    summary = DaySummary(trades=1, wins=1, losses=0, realised_cents=4_400, fees_cents=300, drawdown_cents=232)
    assert talk.told(risk.RecordDay, "desk_ledger") == [risk.RecordDay(session=DAY, summary=summary, at_utc=CLOSE)]
    assert talk.published(risk.DaySettled) == [risk.DaySettled(session=DAY, summary=summary, at_utc=CLOSE)]
    assert (len(talk.told(risk.LockDay)), len(talk.published(positions.DayFlattened))) == (1, 1)


def test_a_day_that_does_not_get_flat_has_its_row_at_the_settlement(talk: DeskTalk) -> None:
    entered(talk).hear(opened(), changed(0))
    talk.now = CLOSE
    talk.hear(phase(Phase.CLOSED, CLOSE))
    assert not talk.told(risk.RecordDay)
    assert talk.wait(300_000).last(risk.RecordDay).at_utc == CLOSE + 300 * SECOND


def test_a_new_session_starts_clean(talk: DeskTalk) -> None:
    entered(talk).hear(risk.DayLocked(session=DAY, reason="eod"), closed(-1))
    tomorrow = DAY.replace(day=23)
    talk.hear(session.PhaseChanged(phase=Phase.PRE, session=tomorrow, open_utc=OPEN, close_utc=CLOSE, at_utc=talk.now))
    view = talk.state.view
    assert (view.day_locked, tuple(view.closed), view.decisions.rows, view.start_nav_cents) == (None, (), (), None)


def test_what_is_said_of_another_session_changes_nothing(talk: DeskTalk) -> None:
    before = talk.state.view
    other = DAY.replace(day=19)
    talk.hear(risk.DayLocked(session=other, reason="eod"), risk.StartNavRecorded(session=other, nav_cents=1))
    assert talk.state.view == before


def test_automatic_level_one_is_asked_for_once_until_it_is_heard(talk: DeskTalk) -> None:
    move = [market.SpotsChanged(spots=(Spot("SPX", 604_000 + n, NOW + n),)) for n in (1, 2)]
    talk.hear(*move)
    assert [m.level for m in talk.told(risk.RaiseKill, "kill")] == [KillLevel.NO_ENTRIES]
    talk.hear(KILL, *move)
    assert len(talk.told(risk.RaiseKill)) == 1
    talk.hear(risk.KillLowered(level=KillLevel.RUNNING, kill_epoch=5, reason="ok", by="ann"), move[0])
    assert len(talk.told(risk.RaiseKill)) == 2


BACK = session.ModeChanged(mode=Mode.WARMUP, mode_n=5, session_epoch=8, cause="", at_utc=NOW)


def test_three_lost_sessions_ask_for_level_one_and_one_told_thrice_does_not(talk: DeskTalk) -> None:
    talk.hear(LOST, LOST, LOST, BACK, LOST)
    assert not talk.told(risk.RaiseKill)
    assert "3 broker sessions lost" in talk.hear(BACK, LOST).last(risk.RaiseKill).reason


# -- restart ------------------------------------------------------------------------------------


def restored(**changes: Any) -> RiskRestored:
    base = RiskRestored(
        session=DAY,
        day_locked=None,
        start_nav_cents=NAV,
        decisions=(),
        reservations=(),
        closed=(),
        pending_alerts=(),
        promoted=tuple(PROMOTED),
    )
    return replace(base, **changes)


def test_a_restart_asks_for_what_nobody_tells_by_itself_and_refuses_until_told() -> None:
    talk = DeskTalk(restored=restored())
    assert talk.names() == [("session", "RequestPhase"), ("kill", "RequestKillLevel"), ("ibkr", "RequestMode")]
    assert talk.last(session.RequestMode).with_account
    assert talk.hear(signal()).code is RejectCode.MISSING_INPUT


def test_a_restart_remembers_decisions_lock_and_start_nav() -> None:
    talk = DeskTalk(restored=restored(decisions=(decided(code=None),))).morning()
    assert talk.hear(signal()).code is RejectCode.COOLDOWN
    talk.now += 300 * SECOND
    assert talk.hear(signal(expires_utc=talk.now)).code is RejectCode.STALE_SIGNAL
    locked = DeskTalk(restored=restored(day_locked="daily_loss")).morning()
    assert (locked.hear(signal()).code, locked.state.view.stops.is_hard) == (RejectCode.DAY_LOCKED, True)
    told_again = DeskTalk(restored=restored(decisions=(decided(code=RejectCode.SPREAD_TOO_WIDE),))).morning()
    assert told_again.hear(signal()).code is RejectCode.DUPLICATE_ALERT


RESERVED = Reservation(ref=OWN, order_ref=REF, qty=2, limit_ticks=1_020, deadline_utc=NOW, is_open=False)


def test_a_live_reservation_counts_as_pending_with_an_unknown_mark() -> None:
    talk = DeskTalk(restored=restored(reservations=(RESERVED,))).morning()
    assert shape(talk) == [(INTENT, True, 2, None)]
    assert talk.hear(signal()).denied.verdict.gate == "daily_loss"
    talk.hear(changed(0, PositionState.PENDING_ENTRY, 0), signal(alert(kind="OTHER")))
    assert (shape(talk), talk.code) == ([(INTENT, True, 2, 0)], RejectCode.ONE_POSITION_ONLY)


def test_a_restart_counts_what_is_held_again_once() -> None:
    """Its row keeps the estimated result until its end is booked anew."""
    booked = Closed(OWN.position_id, OWN.strategy, Cents(-100_000), Cents(300), NOW)
    talk = DeskTalk(restored=restored(reservations=(RESERVED,), closed=(booked,)))
    assert (shape(talk), tuple(talk.state.view.closed)) == ([(INTENT, True, 2, None)], ())


def test_latches_best_and_first_breach_survive_a_restart(talk: DeskTalk) -> None:
    """Each evaluation that changes them is recorded; what the ledger gives back goes on."""
    entered(talk).hear(opened(), changed(40_000), changed(-460_000))
    recorded = talk.last(risk.RecordDayStops)
    assert (recorded.session, recorded.stops) == (DAY, talk.state.view.stops)
    assert recorded.stops.is_soft
    talk.hear(changed(-600_000))
    breach = talk.last(risk.RecordDayStops).stops
    assert breach.breach_utc == talk.now
    again = DeskTalk(restored=restored(stops=breach, reservations=(RESERVED,)))
    again.hear(*MORNING, opened(), changed(-600_000))
    assert again.state.view.stops.peak_cents == breach.peak_cents > 0
    again.wait(5_000)
    assert [lock.reason for lock in again.told(risk.LockDay)] == ["daily_loss"]
    hard = again.last(risk.RecordDayStops).stops
    assert hard.is_hard
    late = DeskTalk(restored=restored(stops=hard))
    assert [lock.reason for lock in late.told(risk.LockDay)] == ["daily_loss"]  # the lock itself was lost
    assert late.morning().hear(signal()).code is RejectCode.DAILY_LOSS


def test_marks_that_change_little_are_no_rows(talk: DeskTalk) -> None:
    entered(talk).hear(opened(), *(changed(n * 100) for n in range(1, 60)))
    assert len(talk.told(risk.RecordDayStops)) == 0
    talk.hear(*(changed(n * 1_000) for n in range(1, 60)))
    assert len(talk.told(risk.RecordDayStops)) == 3


def test_a_restart_that_finds_a_position_nobody_speaks_of_is_level_one_after_a_minute() -> None:
    talk = DeskTalk(restored=restored(reservations=(RESERVED,))).morning()
    for _ in range(13):
        talk.wait(5_000).hear(spots(talk.now))
    assert "the mark of SPXW 20261120 6000C" in talk.last(risk.RaiseKill).reason
    assert talk.state.view.stops.breach_utc is None  # 2,040 USD at worst


def test_promotions_that_could_not_be_read_refuse_what_nobody_has_promoted_since() -> None:
    talk = DeskTalk(restored=restored(promoted=None)).morning().hear(signal())
    assert (talk.denied.verdict.gate, talk.code) == ("shadow_check", RejectCode.MISSING_INPUT)
    talk.hear(
        signals.PromotionChanged(source="gexwatch", kind="OTHER", version=1, is_promoted=True, by="ann"),
        signal(alert(kind="OTHER")),
    )
    assert talk.told(market.RequestContracts)


def test_halts_of_just_before_a_crash_are_not_known(talk: DeskTalk) -> None:
    talk.feed(lifecycle.Started(name="risk:paper", incarnation=2, run_n=1, restored=restored()))
    assert talk.hear(*MORNING, signal()).denied.verdict.finding.looked_at == "halts of the time before the restart"
    talk.now += 120 * SECOND
    later = signal(alert(BUCKET + 3 * BUCKET_NS), expires_utc=talk.now + SECOND)
    talk.hear(replace(SPOTS, spots=tuple(replace(spot, at_utc=talk.now) for spot in (SPOT, VIX_SPOT))), later)
    assert talk.told(market.RequestContracts)


SPOTS = market.SpotsChanged(spots=())


def test_an_alert_in_hand_at_a_crash_gets_its_row_when_it_is_stale() -> None:
    early = alert(BUCKET - BUCKET_NS)
    pending = ((ALERT.alert_id, NOW), (early.alert_id, NOW))
    talk = DeskTalk(restored=restored(pending_alerts=pending)).morning()
    assert talk.timers[Timer.ALERT, ALERT.alert_id] == BUCKET + BUCKET_NS + 45 * SECOND
    entered(talk)  # the surviving mailbox had one of the two signals
    talk.wait(60_000)
    assert talk.told(entries.RecordDenial) == [
        entries.RecordDenial(
            key=early, strategy="gexwatch", session=DAY, verdicts=(), code=RejectCode.ATTEMPT_INTERRUPTED,
            decided_utc=BUCKET + 45 * SECOND,
        )
    ]  # fmt: skip
    assert [decision.key for decision in talk.state.view.decisions.rows] == [ALERT, early]


def test_a_ledger_that_gives_something_else_back_is_a_bug() -> None:
    known = KillRestored(level=KillLevel.RUNNING, kill_epoch=1, reason="", by="")
    with pytest.raises(TypeError, match="cannot start from KillRestored"):
        DeskTalk(restored=known)


def test_a_timer_that_risk_did_not_arm_is_a_bug(talk: DeskTalk) -> None:
    with pytest.raises(ValueError, match="is not a valid Timer"):
        talk.hear(lifecycle.TimerFired(kind="other", subject="", due_utc=NOW))
