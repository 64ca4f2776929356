"""Entry attempts in a desk's ledger: one transaction decides, and a refusal leaves its row too."""

from __future__ import annotations

import sqlite3
import threading
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from domain.instants import MINUTE
from domain.instruments import Side
from domain.orders.intent import OrderLeg
from domain.risk.day import DaySummary
from domain.risk.gates.sequence import GATES, RESERVATION
from domain.risk.gates.types import refused
from domain.risk.reject import RejectCode
from messages import entries, lifecycle, risk
from messages.restored import RiskRestored
from storage.desk_ledger import DeskLedger
from tests.testkit import ledger_asks as ask


def outcome(ledger: DeskLedger, attempt: entries.ReserveEntry, now: int = ask.T0) -> RejectCode | None:
    (fact,) = ledger.apply(attempt, now)
    return fact.finding.code if isinstance(fact, entries.EntryRefused) else None


def test_a_reserved_entry_leaves_reservation_order_gate_row_and_watermark(ledger: DeskLedger, tmp_path: Path) -> None:
    assert ledger.apply(ask.reserve(), ask.T0) == (entries.EntryReserved(intent_id="i1"),)
    assert ask.rows(tmp_path, "SELECT intent_id, con_id, state, run_n, desk FROM reservations") == [
        ("i1", 1, "PENDING_ENTRY", 1, "paper")
    ]
    assert ask.rows(tmp_path, "SELECT order_ref, status, is_exit, qty FROM orders") == [(ask.ref(1), "intended", 0, 2)]
    assert ask.rows(tmp_path, "SELECT alert_id, code, intent_id FROM gate_log") == [(ask.alert_id(1), None, "i1")]
    assert ask.rows(tmp_path, "SELECT alert_id FROM watermarks") == [(ask.alert_id(1),)]


def test_a_reservation_keeps_what_the_gates_saw_and_whose_it_is(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(1), ask.T0)
    ledger.apply(ask.reserve(2, legs=(ask.leg(2, side=Side.SELL, decision=None),)), ask.T0)
    seen = "decision_bid_ticks, decision_ask_ticks, decision_spot_ticks"
    assert ask.rows(tmp_path, f"SELECT alert_id, side, is_shadow, {seen} FROM reservations ORDER BY intent_id") == [
        (ask.alert_id(1), "BUY", 0, 490, 510, 600_000),
        (ask.alert_id(2), "SELL", 0, None, None, None),
    ]


def test_of_refusals_that_apply_together_the_first_in_the_order_of_the_checks_is_told(ledger: DeskLedger) -> None:
    """Attempt after attempt one reason less applies; the row of the gate names the reasons in this order."""
    reservation = next(gate for gate in GATES if gate.name == RESERVATION)
    ledger.apply(ask.reserve(1, con_id=1), ask.T0)
    locked = ask.DAY + timedelta(days=1)
    ledger.apply(risk.LockDay(session=locked, reason="daily_loss", at_utc=ask.T0), ask.T0)
    limits = {"trades_per_day_max": 0, "one_position_only": True, "positions_max": 1, "positions_per_ticker_max": 1}
    changes: dict[str, object] = {**limits, "direction": -1, "session": locked, "con_id": 1}
    lifted: list[dict[str, object]] = [
        {}, {}, {"session": ask.DAY}, {}, {"trades_per_day_max": 99}, {"direction": 1}, {"one_position_only": False},
        {"positions_max": 99}, {"positions_per_ticker_max": 99}, {"con_id": 99},
    ]  # fmt: skip
    told = []
    for n, lift in enumerate([{}, *lifted], 2):
        changes |= lift
        reasons_lifted = n - 2
        attempt = ask.reserve(n, **changes)
        if reasons_lifted < 1:
            ledger.apply(entries.ReleaseReservation(intent_id=f"i{n}", reason="timed out"), ask.T0)
        if reasons_lifted < 4:
            ledger.apply(ask.denial(n), ask.T0)
        told.append(outcome(ledger, attempt, now=attempt.expires_utc + (reasons_lifted < 2)))
    assert told == [*reservation.other_codes, None]


def test_a_held_contract_refuses_a_second_holder_and_keeps_the_refusal(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(1, con_id=5), ask.T0)
    assert outcome(ledger, ask.reserve(2, con_id=5)) is RejectCode.DUPLICATE_POSITION
    assert ask.rows(tmp_path, "SELECT code, gate FROM gate_log ORDER BY n") == [
        (None, None),
        ("duplicate_position", "reservation"),
    ]
    assert ask.rows(tmp_path, "SELECT alert_id FROM watermarks") == [(ask.alert_id(2),)]
    assert ask.rows(tmp_path, "SELECT count(*) FROM orders") == [(1,)]


def test_a_structure_is_reserved_with_all_legs_or_none(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(1, con_id=5), ask.T0)
    pair = tuple(
        OrderLeg(contract=ask.contract(con), side=Side.BUY, qty=1, limit_ticks=100, order_ref=f"{ask.ref(2)}{con}")
        for con in (4, 5)
    )
    assert outcome(ledger, ask.reserve(2, legs=pair)) is RejectCode.DUPLICATE_POSITION
    assert ask.rows(tmp_path, "SELECT con_id FROM reservations") == [(5,)]
    free = (pair[0], msgspec.structs.replace(pair[1], contract=ask.contract(6)))
    assert outcome(ledger, ask.reserve(3, legs=free)) is None
    assert ask.rows(tmp_path, "SELECT structure_id FROM gate_log WHERE intent_id = 'i3'") == [("i3",)]
    assert ask.rows(tmp_path, "SELECT leg, con_id, structure_id FROM reservations WHERE intent_id = 'i3'") == [
        (0, 4, "i3"),
        (1, 6, "i3"),
    ]


def test_a_contract_is_free_again_once_its_holder_is_terminal(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(1, con_id=5), ask.T0)
    ledger.apply(entries.ReleaseReservation(intent_id="i1", reason="denied"), ask.T0)
    assert outcome(ledger, ask.reserve(2, con_id=5)) is None
    ledger.apply(ask.abandoned(2, con_id=5), ask.T0)
    assert outcome(ledger, ask.reserve(3, con_id=5)) is None
    ledger.apply(ask.closed(3, ref=ask.position_ref(3, con_id=5)), ask.T0)
    assert outcome(ledger, ask.reserve(4, con_id=5)) is None


def test_a_release_before_its_reserve_is_a_tombstone(ledger: DeskLedger) -> None:
    ledger.apply(entries.ReleaseReservation(intent_id="i1", reason="timed out"), ask.T0)
    assert outcome(ledger, ask.reserve()) is RejectCode.ATTEMPT_INTERRUPTED


def test_a_release_does_not_let_go_of_what_was_filled(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(1), ask.T0)
    ledger.apply(ask.execution(1), ask.T0)
    ledger.apply(entries.ReleaseReservation(intent_id="i1", reason="timed out"), ask.T0)
    assert outcome(ledger, ask.reserve(2, con_id=1)) is RejectCode.DUPLICATE_POSITION


def test_an_alert_that_was_decided_on_is_refused_either_way(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(1), ask.T0)
    assert outcome(ledger, ask.reserve(1, con_id=8, intent_id="other")) is RejectCode.DUPLICATE_ALERT
    ledger.apply(ask.denial(2), ask.T0)
    assert outcome(ledger, ask.reserve(2)) is RejectCode.DUPLICATE_ALERT


def test_an_alert_of_an_earlier_bucket_than_one_decided_on_is_refused_in_its_kind_only(ledger: DeskLedger) -> None:
    ledger.apply(ask.denial(5), ask.T0)
    assert outcome(ledger, ask.reserve(4)) is RejectCode.DUPLICATE_ALERT
    assert outcome(ledger, ask.reserve(3, kind="OTHER")) is None
    assert outcome(ledger, ask.reserve(2, version=2)) is None
    ledger._db.execute("UPDATE watermarks SET bucket_utc = ? WHERE kind = 'GAMMA_FLIP'", (ask.key(7).bucket_utc,))
    assert outcome(ledger, ask.reserve(7)) is None, "the same bucket is not later"


def test_a_locked_day_refuses_and_cannot_be_unlocked(ledger: DeskLedger, tmp_path: Path) -> None:
    first = ledger.apply(risk.LockDay(session=ask.DAY, reason="daily_loss", at_utc=ask.T0), ask.T0)
    again = ledger.apply(risk.LockDay(session=ask.DAY, reason="other", at_utc=ask.T0 + 1), ask.T0)
    assert first == again == (risk.DayLocked(session=ask.DAY, reason="daily_loss"),)
    assert outcome(ledger, ask.reserve()) is RejectCode.DAY_LOCKED
    db = sqlite3.connect(tmp_path / "paper.db")
    for sql in ("DELETE FROM day", "UPDATE day SET locked_why = NULL"):
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(sql)


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"trades_per_day_max": 1}, RejectCode.MAX_TRADES),
        ({"positions_max": 1}, RejectCode.MAX_POSITIONS),
        ({"positions_per_ticker_max": 1}, RejectCode.TICKER_LIMIT),
        ({"one_position_only": True}, RejectCode.ONE_POSITION_ONLY),
        ({"direction": -1}, RejectCode.REVERSE_WITHOUT_FLAT),
        ({"direction": -1, "forbid_reverse_without_flat": False}, None),
        ({"trades_per_day_max": 2, "positions_max": 2, "positions_per_ticker_max": 2}, None),
        ({"direction": -1, "ticker": "QQQ"}, None),
        ({"positions_per_ticker_max": 1, "ticker": "QQQ"}, None),
        ({"one_position_only": True, "strategy": "advisor"}, None),
        ({"trades_per_day_max": 1, "strategy": "advisor"}, None),
    ],
)
def test_counts_are_checked_again_with_what_is_reserved(
    ledger: DeskLedger, limits: dict[str, object], code: RejectCode | None
) -> None:
    ledger.apply(ask.reserve(1), ask.T0)
    assert outcome(ledger, ask.reserve(2, **limits)) is code


def test_an_entry_that_filled_nothing_is_no_trade(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(1), ask.T0)
    ledger.apply(entries.ReleaseReservation(intent_id="i1", reason="no ack"), ask.T0)
    assert outcome(ledger, ask.reserve(2, trades_per_day_max=1)) is None


def test_a_request_that_waited_past_its_expiry_reserves_nothing(ledger: DeskLedger, tmp_path: Path) -> None:
    attempt = ask.reserve()
    assert outcome(ledger, attempt, now=attempt.expires_utc + 1) is RejectCode.DEADLINE_PASSED
    assert ask.rows(tmp_path, "SELECT count(*) FROM reservations") == [(0,)]


def test_an_interrupted_attempt_is_written_only_where_no_row_is(ledger: DeskLedger, tmp_path: Path) -> None:
    interrupted = ask.denial(1, RejectCode.ATTEMPT_INTERRUPTED, decided_utc=ask.T0 + MINUTE)
    ledger.apply(ask.denial(1), ask.T0)
    ledger.apply(interrupted, ask.T0)
    ledger.apply(ask.denial(2, RejectCode.ATTEMPT_INTERRUPTED), ask.T0)
    assert ask.rows(tmp_path, "SELECT alert_id, code FROM gate_log ORDER BY n") == [
        (ask.alert_id(1), "stale_quote"),
        (ask.alert_id(2), "attempt_interrupted"),
    ]


def test_a_refusal_says_in_which_unit_it_measured(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(1), ask.T0)
    (fact,) = ledger.apply(ask.reserve(2, positions_max=1), ask.T0)
    finding = refused(RejectCode.MAX_POSITIONS, 1, 1, "positions", "live reservations")
    assert fact == entries.EntryRefused(intent_id="i2", finding=finding)
    assert ask.rows(
        tmp_path, "SELECT gate, measured, limit_value, unit, looked_at FROM gate_log WHERE code NOT NULL"
    ) == [("reservation", 1.0, 1.0, "positions", "live reservations")]


# -- a request that comes again -------------------------------------------------------------------


def everything(folder: Path) -> list[str]:
    db = sqlite3.connect(folder / "paper.db")
    try:
        return list(db.iterdump())
    finally:
        db.close()


def test_a_reserved_entry_is_reserved_again_by_a_request_that_comes_again(ledger: DeskLedger, tmp_path: Path) -> None:
    """Whatever has happened since: late, locked, or filled, it was promised."""
    attempt = ask.reserve()
    first = ledger.apply(attempt, ask.T0)
    ledger.apply(risk.LockDay(session=ask.DAY, reason="daily_loss", at_utc=ask.T0), ask.T0)
    before = everything(tmp_path)
    assert ledger.apply(attempt, attempt.expires_utc + 1) == first == (entries.EntryReserved(intent_id="i1"),)
    assert everything(tmp_path) == before
    ledger.apply(ask.execution(), ask.T0)
    assert ledger.apply(attempt, ask.T0) == first


@pytest.mark.parametrize("code", [RejectCode.MAX_POSITIONS, RejectCode.DUPLICATE_POSITION, RejectCode.DUPLICATE_ALERT])
def test_a_refused_entry_is_refused_again_as_it_was_by_a_request_that_comes_again(
    ledger: DeskLedger, tmp_path: Path, code: RejectCode
) -> None:
    ledger.apply(ask.reserve(1, con_id=5), ask.T0)
    attempt = {
        RejectCode.MAX_POSITIONS: ask.reserve(2, positions_max=1),
        RejectCode.DUPLICATE_POSITION: ask.reserve(2, con_id=5),
        RejectCode.DUPLICATE_ALERT: ask.reserve(0),
    }[code]
    first = ledger.apply(attempt, ask.T0)
    ledger.apply(entries.ReleaseReservation(intent_id="i1", reason="no ack"), ask.T0)  # what refused it is gone
    before = everything(tmp_path)
    assert ledger.apply(attempt, ask.T0 + 1) == first
    assert isinstance(first[0], entries.EntryRefused)
    assert first[0].finding.code is code
    assert everything(tmp_path) == before


def test_another_attempt_for_the_same_intent_is_no_repeat(ledger: DeskLedger) -> None:
    """Risk and lane start again and decide anew: a second yes would hand one intent over twice."""
    ledger.apply(ask.reserve(), ask.T0)
    assert outcome(ledger, ask.reserve(decided_utc=ask.T0 + MINUTE)) is RejectCode.DUPLICATE_ALERT


@pytest.mark.parametrize("is_filled", [True, False])
def test_a_request_that_comes_again_after_its_release_gets_nothing(ledger: DeskLedger, is_filled: bool) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    if is_filled:
        ledger.apply(ask.execution(), ask.T0)
    ledger.apply(entries.ReleaseReservation(intent_id="i1", reason="timed out"), ask.T0)
    assert outcome(ledger, ask.reserve()) is RejectCode.ATTEMPT_INTERRUPTED


def test_a_request_that_comes_again_after_its_position_gets_nothing(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.closed(), ask.T0)
    assert outcome(ledger, ask.reserve()) is RejectCode.DUPLICATE_ALERT


def test_a_denial_delivered_twice_is_one_row_with_its_deciding_measure(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.denial(), ask.T0)
    ledger.apply(ask.denial(), ask.T0 + 1)
    assert ask.rows(tmp_path, "SELECT code, gate, measured, limit_value, unit FROM gate_log") == [
        ("stale_quote", "quote_fresh", 4000.0, 3000.0, "ms")
    ]


def test_two_connections_racing_for_one_contract_have_one_winner(tmp_path: Path) -> None:
    ledgers = [DeskLedger(tmp_path, "paper", run_n=1) for _ in range(2)]
    for ledger in ledgers:
        ledger.open()
    codes: list[list[RejectCode | None]] = [[], []]
    start = threading.Barrier(2)

    def race(side: int) -> None:
        for n in range(20):
            start.wait(timeout=60)
            limits = {"positions_max": 99, "positions_per_ticker_max": 99, "trades_per_day_max": 99}
            attempt = ask.reserve(100 * (side + 1) + n, con_id=50 + n, version=side, **limits)
            codes[side].append(outcome(ledgers[side], attempt))

    threads = [threading.Thread(target=race, args=(side,)) for side in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for pair in zip(*codes, strict=True):
        assert set(pair) == {None, RejectCode.DUPLICATE_POSITION}
    assert ask.rows(tmp_path, "SELECT count(*), count(DISTINCT con_id) FROM reservations") == [(20, 20)]


def test_risk_gets_its_session_back(ledger: DeskLedger) -> None:
    ledger.apply(risk.RecordStartNav(session=ask.DAY, nav_cents=30_000_000, at_utc=ask.T0), ask.T0)
    second = ledger.apply(risk.RecordStartNav(session=ask.DAY, nav_cents=1, at_utc=ask.T0), ask.T0)
    assert second == (risk.StartNavRecorded(session=ask.DAY, nav_cents=30_000_000),), "the first one stored wins"
    ledger.apply(ask.reserve(1), ask.T0)
    ledger.apply(ask.reserve(2), ask.T0)
    ledger.apply(ask.denial(3), ask.T0)
    ledger.apply(ask.closed(2), ask.T0)
    (reply,) = ledger.apply(lifecycle.RequestState(name="risk:paper", reply_to="supervisor", session=ask.DAY), ask.T0)
    assert isinstance(reply, lifecycle.StateRead)
    restored = reply.restored
    assert isinstance(restored, RiskRestored)
    assert restored.start_nav_cents == 30_000_000
    assert restored.day_locked is None
    assert [(d.key, d.code) for d in restored.decisions] == [
        (ask.key(1), None),
        (ask.key(2), None),
        (ask.key(3), "stale_quote"),
    ]
    (pending,) = restored.reservations
    assert (pending.ref, pending.order_ref, pending.is_open) == (ask.position_ref(1), ask.ref(1), False)
    assert [(c.position_id, c.realised_cents, c.fees_cents) for c in restored.closed] == [(ask.stem(2), -12_000, 260)]


def test_a_day_row_is_idempotent_and_keeps_lock_and_start(ledger: DeskLedger, tmp_path: Path) -> None:
    summary = DaySummary(trades=3, wins=1, losses=2, realised_cents=-5, fees_cents=9, drawdown_cents=7)
    day = risk.RecordDay(session=ask.DAY, summary=summary, at_utc=ask.T0)
    ledger.apply(risk.LockDay(session=ask.DAY, reason="daily_loss", at_utc=ask.T0), ask.T0)
    ledger.apply(day, ask.T0)
    ledger.apply(day, ask.T0 + 1)
    assert ask.rows(tmp_path, "SELECT session, locked_why, trades, wins, losses, realised_cents FROM day") == [
        ("2026-11-20", "daily_loss", 3, 1, 2, -5)
    ]
