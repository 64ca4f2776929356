"""The risk actor by histories of messages: positions in its read model, the day's stops and end, a restart."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace

from domain.identifiers import entry_ref
from domain.instants import BUCKET_NS, SECOND
from domain.instruments import Spot
from domain.position.cycle import EndReason, ExitReason, PositionState
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from domain.session.phases import Phase
from messages import lifecycle, market, operator, orders, positions, risk, session, signals
from tests.testkit.desk_talk import Talk
from tests.testkit.desk_world import (
    BUCKET,
    CALL,
    CLOSE,
    DAY,
    MORNING,
    NAV,
    NOW,
    OPEN,
    SETTINGS,
    name_of,
    signal,
)

INTENT = f"{name_of()}/gexwatch/0"
REF = entry_ref("paper", INTENT)


@pytest.fixture
def talk() -> Talk:
    return Talk().morning()


def entered(talk: Talk) -> Talk:
    return talk.hear(signal()).offer().fresh().reserve()


WARM = session.ModeChanged(mode=Mode.DEGRADED, mode_n=4, session_epoch=7, cause="1100", at_utc=NOW)
KILL = risk.KillRaised(level=1, kill_epoch=4, reason="test", by="ann")


# -- positions in the read model ----------------------------------------------------------------


def opened(intent: str = INTENT) -> positions.PositionOpened:
    return positions.PositionOpened(
        position_id="p", intent_id=intent, contract=CALL, source="gexwatch", strategy="gexwatch", direction=1, qty=2,
        cost_cents=204_000, opened_utc=NOW,
    )  # fmt: skip


def changed(
    unrealised: int | None, state: PositionState = PositionState.OPEN, qty: int = 2, why: ExitReason | None = None
) -> positions.PositionChanged:
    return positions.PositionChanged(
        position_id="p", intent_id=INTENT, contract=CALL, source="gexwatch", strategy="gexwatch", direction=1,
        state=state, qty=qty, cost_cents=102_000 * qty, realised_cents=0, fees_cents=300, unrealised_cents=unrealised,
        mark_utc=NOW, exit_reason=why, at_utc=NOW,
    )  # fmt: skip


def closed(position_id: str, realised: int, intent: str = "i") -> positions.PositionClosed:
    return positions.PositionClosed(
        position_id=position_id, intent_id=intent, contract=CALL, source="gexwatch", strategy="other", direction=1,
        reason=ExitReason.TAKE_PROFIT, end=EndReason.CLOSED, bought_qty=2, realised_cents=realised, fees_cents=300,
        opened_utc=NOW, closed_utc=NOW,
    )  # fmt: skip


def shape(talk: Talk) -> list[tuple[str, bool, int, int | None]]:
    return [(h.intent_id, h.is_pending, h.qty, h.unrealised_cents) for h in talk.state.view.holdings]


def test_a_position_is_followed_from_pending_to_its_end(talk):
    entered(talk)
    assert shape(talk) == [(INTENT, True, 2, 0)]
    talk.hear(changed(None, PositionState.PENDING_ENTRY, 0))
    assert shape(talk) == [(INTENT, True, 2, 0)]
    talk.hear(opened())
    assert shape(talk) == [(INTENT, False, 2, 0)]
    talk.hear(changed(-5_000))
    assert shape(talk) == [(INTENT, False, 2, -5_000)]
    talk.hear(closed("p", -5_600, INTENT), closed("p", -5_600, INTENT), changed(0, PositionState.FLAT, 0))
    assert shape(talk) == []
    assert [c.realised_cents for c in talk.state.view.closed] == [-5_600]


def test_an_abandoned_entry_frees_its_place(talk):
    entered(talk)
    gone = positions.EntryAbandoned(
        intent_id=INTENT, order_ref=REF, contract=CALL, strategy="gexwatch", ticker="SPX", why="no fill"
    )
    assert shape(talk.hear(gone, gone)) == []


# -- the day ------------------------------------------------------------------------------------


def test_two_losses_in_a_row_halve_the_size(talk):
    for n in (1, 2):
        talk.hear(closed(f"p{n}", -1_000))
    talk.hear(signal()).offer().fresh()
    assert talk.last(orders.ReserveEntry).legs[0].qty == 1


def test_start_nav_is_the_first_reading_of_a_reconciled_account_after_four():
    talk = Talk()
    phase, _, _, account, reconciled, *_ = MORNING
    talk.now = OPEN - 6 * 3_600 * SECOND  # 03:30
    early = replace(account, read_utc=talk.now)
    talk.hear(phase, early, reconciled)
    assert not talk.all(risk.RecordStartNav)
    talk.now += 3_600 * SECOND
    talk.hear(replace(account, read_utc=talk.now, nav_cents=NAV + 5))
    assert talk.all(risk.RecordStartNav) == [risk.RecordStartNav(session=DAY, nav_cents=NAV + 5, at_utc=talk.now)]
    talk.hear(risk.StartNavRecorded(session=DAY, nav_cents=NAV), replace(account, read_utc=talk.now))
    assert talk.state.view.start_nav_cents == NAV
    assert len(talk.all(risk.RecordStartNav)) == 1


def test_the_hard_stop_locks_and_flattens_after_its_second_evaluation(talk):
    entered(talk).hear(opened(), changed(-600_000))
    assert not talk.all(risk.LockDay)
    assert talk.hear(signal(BUCKET - 5 * BUCKET_NS, alert_id="q")).code  # refused meanwhile
    talk.wait(5_000)
    assert talk.last(risk.LockDay) == risk.LockDay(session=DAY, reason="daily_loss", at_utc=talk.now)
    assert talk.all(positions.FlattenPosition, "positions") == [positions.FlattenPosition(reason=ExitReason.KILL)]
    assert not talk.all(risk.RaiseKill)
    talk.hear(changed(-900_000, why=ExitReason.KILL))
    assert [(k.level, k.by) for k in talk.all(risk.RaiseKill, "kill")] == [(2, "risk:paper")]
    talk.hear(changed(-950_000, why=ExitReason.KILL))
    assert (len(talk.all(risk.LockDay)), len(talk.all(risk.RaiseKill))) == (1, 1)


def test_a_breach_that_passes_before_five_seconds_locks_nothing(talk):
    entered(talk).hear(opened(), changed(-600_000)).wait(4_000).hear(changed(-100)).wait(5_000)
    assert not talk.all(risk.LockDay)


def test_on_hard_stop_halt_locks_without_flattening():
    halt = SETTINGS.model_copy(update={"entry": dataclasses.replace(SETTINGS.entry, on_hard_stop="halt")})
    talk = entered(Talk(halt).morning()).hear(opened(), changed(-600_000)).wait(5_000)
    assert talk.all(risk.LockDay)
    assert not talk.all(positions.FlattenPosition)


def test_a_position_that_missed_the_order_to_flatten_is_told_again(talk):
    talk.hear(replace(KILL, level=2), opened())
    assert talk.all(positions.FlattenPosition, "position:paper:812")
    talk.told.clear()
    talk.hear(changed(0, PositionState.PENDING_EXIT, why=ExitReason.KILL))
    assert not talk.all(positions.FlattenPosition)
    talk.hear(changed(0, why=ExitReason.TAKE_PROFIT))
    assert talk.all(positions.FlattenPosition, "position:paper:812")


def phase(kind: Phase, at: int) -> session.PhaseChanged:
    return session.PhaseChanged(phase=kind, session=DAY, open_utc=OPEN, close_utc=CLOSE, at_utc=at)


def test_the_end_of_the_day_locks_verifies_and_writes_its_row(talk):
    entered(talk).hear(opened(), changed(0))
    talk.now = CLOSE - 900 * SECOND
    talk.told.clear()
    talk.hear(phase(Phase.FLATTEN, talk.now))
    assert [m.reason for m in talk.all(risk.LockDay)] == ["eod"]
    talk.wait(300_000)
    assert talk.last(operator.Alarm).text == "Not flat near the close: 2 SPXW 20261120 6000C."
    talk.hear(closed("p", 4_400, INTENT))
    assert talk.all(positions.DayFlattened, "notifier")
    alarms = len(talk.all(operator.Alarm))
    talk.wait(600_000).hear(phase(Phase.CLOSED, talk.now))
    assert len(talk.all(operator.Alarm)) == alarms
    talk.wait(400_000)
    assert talk.all(risk.RecordDay) == [
        risk.RecordDay(
            session=DAY, trades=1, wins=1, losses=0, realised_cents=4_400, fees_cents=300, drawdown_cents=232,
            at_utc=CLOSE,
        )
    ]  # fmt: skip
    assert (len(talk.all(risk.LockDay)), len(talk.all(positions.DayFlattened, "web"))) == (1, 1)


def test_a_day_that_does_not_get_flat_has_its_row_at_the_settlement(talk):
    entered(talk).hear(opened(), changed(0))
    talk.now = CLOSE
    talk.hear(phase(Phase.CLOSED, CLOSE))
    assert not talk.all(risk.RecordDay)
    assert talk.wait(300_000).last(risk.RecordDay).at_utc == CLOSE + 300 * SECOND


def test_a_new_session_starts_clean(talk):
    entered(talk).hear(risk.DayLocked(session=DAY, reason="eod"), closed("p", -1, INTENT))
    tomorrow = DAY.replace(day=23)
    talk.hear(session.PhaseChanged(phase=Phase.PRE, session=tomorrow, open_utc=OPEN, close_utc=CLOSE, at_utc=talk.now))
    view = talk.state.view
    assert (view.day_locked, view.closed, view.decisions, view.start_nav_cents) == (None, (), (), None)


def test_automatic_level_one_is_asked_for_once_until_it_is_heard(talk):
    move = [market.SpotsChanged(spots=(Spot("SPX", 604_000 + n, NOW + n),)) for n in (1, 2)]
    talk.hear(*move)
    assert [m.level for m in talk.all(risk.RaiseKill, "kill")] == [1]
    talk.hear(KILL, *move)
    assert len(talk.all(risk.RaiseKill)) == 1
    talk.hear(risk.KillLowered(level=0, kill_epoch=5, reason="ok", by="ann"), move[0])
    assert len(talk.all(risk.RaiseKill)) == 2


def test_three_lost_sessions_ask_for_level_one(talk):
    talk.hear(WARM, WARM)
    assert not talk.all(risk.RaiseKill)
    assert "3 broker sessions lost" in talk.hear(WARM).last(risk.RaiseKill).reason


# -- restart ------------------------------------------------------------------------------------


def restored(**changes: object) -> lifecycle.RiskRestored:
    base = lifecycle.RiskRestored(
        session=DAY, day_locked=None, start_nav_cents=NAV, decisions=(), reservations=(), closed=(), pending_alerts=()
    )
    return replace(base, **changes)


ROW = lifecycle.GateDecision(
    source="gexwatch", strategy="gexwatch", ticker="SPX", kind="GAMMA_FLIP", version=1, bucket_utc=BUCKET,
    alert_id=name_of(), code=None, decided_utc=NOW - SECOND,
)  # fmt: skip


def test_a_restart_asks_for_what_nobody_tells_by_itself_and_refuses_until_told():
    talk = Talk(restored=restored())
    assert [(to, type(m).__name__) for to, m in talk.told] == [
        ("session", "PhaseWanted"),
        ("kill", "KillWanted"),
        ("ibkr", "ModeWanted"),
    ]
    assert talk.hear(signal()).code == "missing_input"


def test_a_restart_remembers_decisions_lock_and_start_nav():
    talk = Talk(restored=restored(decisions=(ROW,))).morning()
    assert talk.hear(signal()).code == "cooldown"
    talk.now += 300 * SECOND
    assert talk.hear(signal(expires_utc=talk.now)).code == "stale_signal"
    locked = Talk(restored=restored(day_locked="daily_loss")).morning()
    assert (locked.hear(signal()).code, locked.state.view.stops.is_hard) == ("day_locked", True)
    told_again = Talk(restored=restored(decisions=(replace(ROW, code="spread_too_wide"),))).morning()
    assert told_again.hear(signal()).code == "duplicate_alert"


RESERVED = lifecycle.Reservation(
    intent_id=INTENT, signal_id=name_of(), source="gexwatch", strategy="gexwatch", ticker="SPX", direction=1,
    contract=CALL, order_ref=REF, qty=2, limit_ticks=1_020, deadline_utc=NOW, state="PENDING_ENTRY",
)  # fmt: skip


def test_a_live_reservation_counts_as_pending_with_an_unknown_mark():
    talk = Talk(restored=restored(reservations=(RESERVED,))).morning()
    assert shape(talk) == [(INTENT, True, 2, None)]
    assert talk.hear(signal()).last(orders.EntryDenied).gate == 10
    talk.hear(changed(0, PositionState.PENDING_ENTRY, 0), signal(alert_id="b", signal_id="b"))
    assert talk.last(orders.EntryDenied).code is RejectCode.TICKER_LIMIT


def test_an_alert_in_hand_at_a_crash_gets_its_row_when_it_is_stale():
    early = name_of(BUCKET - BUCKET_NS)
    talk = Talk(restored=restored(pending_alerts=((name_of(), NOW), (early, NOW)))).morning()
    assert talk.timers[f"alert:{name_of()}"] == BUCKET + BUCKET_NS + 45 * SECOND
    entered(talk)  # the surviving mailbox had one of the two signals
    talk.wait(60_000)
    (row,) = talk.all(orders.RecordDenial)
    assert (row.alert_id, row.code, row.ticker, row.kind, row.version, row.bucket_utc, row.session) == (
        early, RejectCode.ATTEMPT_INTERRUPTED, "SPX", "GAMMA_FLIP", 1, BUCKET - BUCKET_NS, DAY,
    )  # fmt: skip


def test_a_message_for_somebody_else_is_a_bug(talk):
    with pytest.raises(TypeError, match="does not know"):
        talk.hear(signals.AlertRecorded(alert_id="a", is_new=True))
