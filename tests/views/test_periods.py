"""The questions of the period report: what they count is what the views hold."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest

from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from messages import operator, risk
from storage.shared_ledger import SharedLedger, start_run
from storage.views import named
from storage.views.database import Database
from storage.views.periods import PeriodQueries
from tests.testkit import bucket_rows as make
from tests.testkit import ledger_asks as ask
from tests.testkit.money_desk import Desk
from tests.testkit.warehouse_days import opened, store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def day(db: Database) -> PeriodQueries:
    """The questions about the one day of the fixtures."""
    return PeriodQueries(db, make.DAY, make.DAY)


def test_gaps_are_counted_by_hub_and_cause_and_what_was_covered_is_not_missing(tmp_path: Path) -> None:
    warehouse = opened(tmp_path / "warehouse")
    zero, full = ("SPX", "classic_gex_zero"), ("QQQ", "classic_gex_full")
    covered = msgspec.structs.replace(make.bucket(1), covered=(zero, full))
    store(warehouse, make.bucket(0), covered, make.bucket(2, absent=(zero, full)))
    (row,) = PeriodQueries(Database(tmp_path), make.DAY, make.DAY).gaps()
    assert (row["hub"], row["why"], row["missing"], row["covered"], row["not_polled"]) == ("classic", "silent", 2, 2, 0)


def test_latencies_are_those_of_the_accepted_attempts(db: Database, day: PeriodQueries) -> None:
    accepted = db.rows("SELECT alert_id FROM attempts WHERE is_accepted")
    ways = [row for row in named.latency(db).to_pylist() if row["alert_id"] in {one["alert_id"] for one in accepted}]
    assert ways
    found = {row["step"]: row for row in day.latency()}
    for step, column in (("alert", "alert_ms"), ("decided", "decided_ms"), ("ordered", "order_ms")):
        values = [row[column] for row in ways if row[column] is not None]
        assert (found[step]["n"], found[step]["worst"]) == (len(values), max(values))
        assert min(values) <= found[step]["p50"] <= found[step]["p99"] <= max(values)


def test_another_day_has_nothing(db: Database) -> None:
    other = make.DAY + timedelta(days=1)
    ask_other = PeriodQueries(db, other, other)
    for question in ("money", "curve", "by_reason", "fills_by_time", "slippage", "rejects", "attempts",
                     "spread_rejects", "latency", "gaps", "kills", "interventions", "sessions"):  # fmt: skip
        assert getattr(ask_other, question)() == [], question
    (counts,) = ask_other.incidents()
    assert set(counts.values()) == {0}


def test_a_false_refusal_of_the_spread_gate_is_one_whose_alert_won(
    db: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, "paper", None)
    for n in (1, 2, 3):
        desk.deny(n, RejectCode.SPREAD_TOO_WIDE)
    desk.deny(4, RejectCode.COOLDOWN)
    won = {ask.alert_id(1): True, ask.alert_id(2): False, ask.alert_id(3): None, ask.alert_id(4): True}

    class Outcomes:
        def to_pylist(self) -> list[dict[str, object]]:
            return [{"alert_id": alert, "is_win": is_win} for alert, is_win in won.items()]

    monkeypatch.setattr(named, "alert_outcomes", lambda _: Outcomes())
    (row,) = PeriodQueries(Database(tmp_path), ask.DAY, ask.DAY).spread_rejects()
    assert (row["n"], row["judged"], row["false"]) == (3, 2, 1)


def test_kill_levels_commands_and_starts_are_counted_by_new_yorks_date(tmp_path: Path) -> None:
    for _ in range(2):
        start_run(tmp_path / "ledgers", ("paper",), ask.T0)
    ledger = SharedLedger(tmp_path / "ledgers", ("paper",))
    ledger.open()
    for epoch, level, by in ((1, 1, "risk:paper"), (2, 0, "cli"), (3, 1, "risk:paper")):
        kill = risk.RecordKill(
            level=KillLevel(level), kill_epoch=epoch, reason=f"r{epoch}", by=by, at_utc=ask.T0 + epoch
        )
        ledger.apply(kill, ask.T0)
    command = operator.RecordCommand(
        command_id="c1", name="resume", by="cli", reason="calm", outcome="done", at_utc=ask.T0
    )
    ledger.apply(command, ask.T0)
    asked = PeriodQueries(Database(tmp_path), ask.DAY, ask.DAY)
    assert [(row["level"], row["by"], row["n"], row["reason"]) for row in asked.kills()] == [
        (1, "risk:paper", 2, "r3"), (0, "cli", 1, "r2"),
    ]  # fmt: skip
    assert [(row["name"], row["n"]) for row in asked.interventions()] == [("resume", 1)]
    assert asked.incidents() == [{"starts": 2, "refused": 0, "locked": 0}]
    before = PeriodQueries(Database(tmp_path), date(2026, 11, 19), date(2026, 11, 19))
    assert (before.kills(), before.incidents()[0]["starts"]) == ([], 0)


def test_a_report_is_of_one_instant(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "paper", None)
    desk.deny(1, RejectCode.COOLDOWN)
    fixed, other = Database(tmp_path, is_of_one_instant=True), Database(tmp_path)
    count = "SELECT count(*) AS n FROM attempts"
    assert (fixed.rows(count), other.rows(count)) == ([{"n": 1}], [{"n": 1}])
    desk.deny(2, RejectCode.COOLDOWN)
    assert (fixed.rows(count), other.rows(count)) == ([{"n": 1}], [{"n": 2}])
    assert fixed.rows("SELECT count(*) AS n FROM positions") == [{"n": 0}]  # what was not asked for yet is read
