"""Outcomes in the shared ledger: recorded once, read back whole, and what a promotion stands on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from domain.features.forces import Push
from domain.signals.outcome import Outcome, OutcomeState, begun
from domain.units import Utc
from messages import lifecycle, signals
from messages.restored import OutcomesRestored
from storage.queries import LedgerReader
from storage.shared_ledger import FILE, SharedLedger, start_run
from tests.testkit import ledger_asks as ask


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SharedLedger]:
    start_run(tmp_path, ("paper",), ask.T0)
    made = SharedLedger(tmp_path, ("paper",))
    made.open()
    yield made
    made.close()


def outcome_of(record: signals.RecordAlert, *, is_won: bool = True) -> Outcome:
    nothing = begun(record.alert, Utc(record.alert.key.bucket_utc + 3_600_000_000_000))
    return replace(
        nothing, state=OutcomeState.RESOLVED, seen_utc=nothing.end_utc, mfe_bps=18.25, mae_bps=1 / 3,
        target_ms=90_000 if is_won else None, stop_ms=None if is_won else 30_000,
        path_bps=(1.5, None, 2.0, None, None),
    )  # fmt: skip


def recorded(ledger: SharedLedger, n: int, *, is_won: bool = True) -> Outcome:
    record = ask.alert(n)
    ledger.apply(record, ask.T0)
    outcome = outcome_of(record, is_won=is_won)
    assert ledger.apply(signals.RecordOutcome(outcome=outcome, at_utc=ask.T0), ask.T0) == ()
    return outcome


def open_now(ledger: SharedLedger) -> tuple[str, ...]:
    asked = lifecycle.RequestState(name="outcomes", reply_to="supervisor", session=ask.DAY)
    (reply,) = ledger.apply(asked, ask.T0)
    assert isinstance(reply, lifecycle.StateRead)
    assert isinstance(reply.restored, OutcomesRestored)
    return tuple(alert.key.alert_id for alert in reply.restored.alerts)


def test_an_outcome_is_read_back_to_the_last_bit(ledger: SharedLedger, tmp_path: Path) -> None:
    outcome = recorded(ledger, 1)
    assert LedgerReader(tmp_path, "paper").outcomes() == (outcome,)


def test_the_first_word_on_an_alert_stands(ledger: SharedLedger, tmp_path: Path) -> None:
    outcome = recorded(ledger, 1)
    other = replace(outcome, state=OutcomeState.UNRESOLVED, mfe_bps=0.0)
    ledger.apply(signals.RecordOutcome(outcome=other, at_utc=ask.T0), ask.T0)
    assert LedgerReader(tmp_path, "paper").outcomes() == (outcome,)


def test_a_start_gets_the_alerts_without_an_outcome(ledger: SharedLedger, tmp_path: Path) -> None:
    recorded(ledger, 1)
    for n in (3, 2):
        ledger.apply(ask.alert(n), ask.T0)
    assert open_now(ledger) == (ask.alert_id(2), ask.alert_id(3))
    found = LedgerReader(tmp_path, "paper").open_alerts()
    assert [alert.key.alert_id for alert in found] == [ask.alert_id(2), ask.alert_id(3)]


def test_what_pushed_an_alert_is_kept_with_it(ledger: SharedLedger, tmp_path: Path) -> None:
    pushes = (Push("flow", "flow_dex_5m_z", 2.0, 0.25),)
    ledger.apply(replace(ask.alert(1), pushes=pushes), ask.T0)
    (row,) = LedgerReader(tmp_path, "paper").alerts(ask.DAY)
    assert row["pushes"] == [["flow", "flow_dex_5m_z", 2.0, 0.25]]


def promotion(outcomes_min: int, floor: float = 0.4, *, is_promoted: bool = True) -> signals.RecordPromotion:
    key = ask.key(1)
    return signals.RecordPromotion(
        command_id=f"c{outcomes_min}{floor}", source=key.source, kind=key.kind, version=key.version,
        is_promoted=is_promoted, by="ann", reason="r", at_utc=Utc(ask.T0 + outcomes_min), outcomes_min=outcomes_min,
        rate_floor=floor,
    )  # fmt: skip


def answer(ledger: SharedLedger, asked: signals.RecordPromotion) -> str | None:
    (fact,) = ledger.apply(asked, ask.T0)
    assert isinstance(fact, signals.PromotionRecorded)
    return fact.why or None


def promotions(folder: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / FILE)) as db:
        return db.execute("SELECT command_id, is_promoted FROM promotions ORDER BY at_utc").fetchall()


def test_a_promotion_needs_outcomes_and_a_bound_above_the_floor(ledger: SharedLedger, tmp_path: Path) -> None:
    for n in range(1, 7):
        recorded(ledger, n, is_won=n > 1)
    refused = answer(ledger, promotion(7))
    assert refused is not None
    assert refused.startswith("6 resolved outcomes, 7 are asked for")
    assert "lower bound of the win rate is 0.436 (n = 6)" in (answer(ledger, promotion(6, 0.5)) or "")
    assert promotions(tmp_path) == []
    assert answer(ledger, promotion(6)) is None
    assert promotions(tmp_path) == [("c60.4", 1)]


def test_a_withdrawal_and_a_promotion_that_asks_for_none_need_no_outcome(ledger: SharedLedger, tmp_path: Path) -> None:
    assert answer(ledger, promotion(0)) is None
    assert answer(ledger, promotion(9, is_promoted=False)) is None
    assert [is_promoted for _, is_promoted in promotions(tmp_path)] == [1, 0]
