"""`main.py shadows`: versions of a kind side by side on the same readings, each rate with its n and bounds."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from commands.cli import main
from commands.report_outcomes import exit_facts, exit_lines, outcome_facts, outcome_lines
from commands.shadows import lines_of, profile_lines, profiles_of, rates_of
from config.settings import load_settings
from domain.features.forces import Push
from domain.instants import at_exchange
from domain.signals.alert import Alert, AlertKey
from domain.signals.outcome import Outcome, OutcomeState, begun
from domain.units import Ticks, Utc
from messages import signals
from storage.desk_ledger import DeskLedger
from storage.queries import LedgerReader
from storage.shared_ledger import SharedLedger, start_run
from tests.testkit import ledger_asks as ask
from tests.testkit.signal_histories import OPEN, SESSION

SETTINGS = load_settings(profile="demo")
DAY_NS = 86_400_000_000_000


def alert(n: int, *, version: int = 1, days: int = 0, is_shadow: bool = True) -> Alert:
    return Alert(
        key=AlertKey("advisor", "QQQ", "VANNA_UNWIND", version, Utc(OPEN + days * DAY_NS + n * 30_000_000_000)),
        direction=1, entry_ticks=Ticks(50_000), target_ticks=Ticks(50_100), stop_ticks=Ticks(49_940),
        horizon_ms=600_000, is_shadow=is_shadow, raised_utc=Utc(OPEN + n),
    )  # fmt: skip


def ended(one: Alert, *, is_won: bool) -> Outcome:
    nothing = begun(one, Utc(one.key.bucket_utc + DAY_NS))
    return replace(
        nothing, state=OutcomeState.RESOLVED, target_ms=30_000 if is_won else None,
        stop_ms=None if is_won else 30_000, mfe_bps=24.0, mae_bps=6.0,
    )  # fmt: skip


def test_no_line_is_wider_than_a_terminal() -> None:
    tried = [ended(alert(n, version=2), is_won=n % 2 == 0) for n in range(40)]
    lines = lines_of(rates_of(tried, [], frozenset(), SETTINGS), ["simulated market with feedback of dealers, seed 54"])
    assert any("lower bound" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_versions_are_compared_from_the_first_alert_of_the_youngest_on() -> None:
    live = [ended(alert(n), is_won=False) for n in range(5)]
    live += [ended(alert(n, days=3), is_won=True) for n in range(3)]
    tried = [ended(alert(n, version=2, days=3), is_won=n > 0) for n in range(2)]
    found = rates_of(
        [*live, *tried], [alert(9, version=2, days=3)], frozenset({("advisor", "VANNA_UNWIND", 1)}), SETTINGS
    )
    assert [(one.version, one.is_promoted, one.since) for one in found] == [
        (1, True, SESSION + timedelta(days=3)), (2, False, SESSION + timedelta(days=3)),
    ]  # fmt: skip
    assert [(one.rate.n, one.rate.wins, one.rate.followed) for one in found] == [(3, 3, 0), (2, 1, 1)]
    assert [one.rate_of_all.n for one in found] == [8, 2]
    assert found[0].refusal is None
    assert found[1].refusal == "2 resolved outcomes, 30 are asked for; let it go on as a shadow."


def test_a_version_that_is_looked_for_and_has_found_nothing_yet_stands_beside_the_others() -> None:
    tried = {"alert_trials": {"VANNA_UNWIND": [{"version": 7, "vanna_min": 0.9}]}}
    found = rates_of([ended(alert(0), is_won=True)], [], frozenset(), load_settings(profile="demo", overrides=tried))
    assert [(one.kind, one.version, one.rate.n, one.since) for one in found] == [
        ("VANNA_UNWIND", 1, 1, SESSION), ("VANNA_UNWIND", 7, 0, SESSION),
    ]  # fmt: skip
    rows = [line.split() for line in lines_of(found) if "shadow " in line]
    assert rows[1] == ["7", "shadow", "0", "0", "0", "–", "–", "–", "0/0"]


def test_every_rate_stands_beside_its_n_and_its_bounds_within_80_columns() -> None:
    found = rates_of([ended(alert(n), is_won=n < 9) for n in range(12)], [], frozenset(), SETTINGS)
    lines = lines_of(found, ["simulated honest market, feedback 1"] * 2)
    (row,) = [line for line in lines if "shadow " in line]
    assert row.split() == ["1", "shadow", "12", "9", "3", "0.75", "(0.47–0.91)", "2.0", "0.5", "0/0"]
    assert max(map(len, lines)) <= 80
    said = " ".join(lines)
    assert said.endswith("(simulated honest market, feedback 1): they say nothing about profit.")


def test_a_version_with_enough_outcomes_may_be_promoted() -> None:
    found = rates_of([ended(alert(n), is_won=n < 24) for n in range(30)], [], frozenset(), SETTINGS)
    assert found[0].refusal is None
    assert any("May be promoted" in line for line in lines_of(found))


def test_the_command_reads_the_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "ledgers"
    folder.mkdir()
    start_run(folder, ("paper",), Utc(at_exchange(date(2026, 11, 20), SETTINGS.demo.start_clock)))
    ledger = SharedLedger(folder, ("paper",))
    ledger.open()
    for n in range(3):
        record = signals.RecordAlert(
            reply_to="lane", alert=alert(n), features=(), forces=(), alignment=None, thresholds=()
        )
        ledger.apply(record, OPEN)
        if n < 2:
            outcome = signals.RecordOutcome(outcome=ended(alert(n), is_won=True), at_utc=OPEN)
            ledger.apply(outcome, OPEN)
    ledger.close()
    assert main(["--data", str(tmp_path), "shadows", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["rate"]["n"], one["rate"]["followed"], one["version"]) == (2, 1, 1)
    assert main(["--data", str(tmp_path / "nothing"), "shadows"]) == 1
    assert capsys.readouterr().out == "No alert is on record.\n"


def test_why_of_an_alert_whose_trace_is_gone_is_told_from_the_ledger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "ledgers"
    folder.mkdir()
    start_run(folder, ("paper",), OPEN)
    ledger = SharedLedger(folder, ("paper",))
    ledger.open()
    one = alert(2)
    record = signals.RecordAlert(
        reply_to="lane", alert=one, features=(), alignment=0.41, thresholds=(("vanna_min", 0.2),),
        forces=(signals.Force(name="flow", score=0.5, confidence=1.0),),
        pushes=(Push("flow", "flow_dex_5m_z", 2.0, 0.5),),
    )  # fmt: skip
    ledger.apply(record, OPEN)
    ledger.apply(signals.RecordOutcome(outcome=ended(one, is_won=True), at_utc=OPEN), OPEN)
    ledger.close()
    assert main(["--data", str(tmp_path), "why", one.key.alert_id]) == 0
    said = capsys.readouterr().out
    assert "up at 500.00, target 501.00, stop 499.40, a shadow" in said
    assert "flow      +0.50  sure 1.00" in said
    assert "flow_dex_5m_z 2 +0.50" in said
    assert "alignment +0.41" in said
    assert "outcome: target after 0.5 min; with it 24.0 bps (2.0 stops), against it 6.0 bps (0.5 stops)" in said
    assert max(map(len, said.splitlines()[1:])) <= 110
    assert main(["--data", str(tmp_path), "why", alert(3).key.alert_id]) == 1


def test_the_report_tells_what_the_sessions_alerts_came_to_each_rate_with_its_n(tmp_path: Path) -> None:
    start_run(tmp_path, ("paper",), OPEN)
    ledger = SharedLedger(tmp_path, ("paper",))
    ledger.open()
    for n in range(5):
        record = signals.RecordAlert(
            reply_to="lane", alert=alert(n, is_shadow=n < 4), features=(), forces=(), alignment=None, thresholds=()
        )
        ledger.apply(record, OPEN)
        if n < 3:
            outcome = replace(ended(alert(n), is_won=n > 0), state=OutcomeState.RESOLVED)
            ledger.apply(signals.RecordOutcome(outcome=outcome, at_utc=OPEN), OPEN)
    ledger.close()
    found = outcome_facts(LedgerReader(tmp_path, "paper"), SESSION)
    assert outcome_lines(found) == [
        "  advisor VANNA_UNWIND-1: 1 alert, 1 under way",
        "  advisor VANNA_UNWIND-1: 4 shadows, target first 2 of 3 (0.21–0.94), 1 under way",
    ]
    assert outcome_lines(outcome_facts(LedgerReader(tmp_path, "paper"), SESSION + timedelta(days=1))) == []


def shadow_row(fixed: int, shadow: int, *, is_own: bool = True, version: int = 1) -> dict[str, Any]:
    reason = "premium_stop" if is_own else None
    return {
        "kind": "ADAPTIVE",
        "version": version,
        "fixed_cents": fixed,
        "shadow_cents": shadow,
        "shadow_reason": reason,
    }


def test_exit_profiles_stand_beside_the_fixed_one_with_n_and_bounds() -> None:
    rows = [shadow_row(-12_000, -8_000), shadow_row(5_000, 4_000), shadow_row(1_000, 1_000, is_own=False)]
    (found,) = profiles_of(rows, frozenset(), SETTINGS)
    assert (found.kind, found.version, found.n, found.wins, found.same) == ("ADAPTIVE", 1, 2, 1, 1)
    assert (found.fixed_cents, found.shadow_cents) == (-6_000, -3_000)
    assert found.refusal is not None
    lines = profile_lines([found])
    assert "1 of 2, 0.50 (0.09–0.91)" in " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 80


def test_a_profile_that_is_on_and_has_shown_nothing_yet_stands_there_and_none_where_it_is_off() -> None:
    assert profiles_of([], frozenset(), SETTINGS) == []
    levels = {"version": 2, "take": 0.4, "hold_ms": 900_000}
    (found,) = profiles_of([], frozenset(), load_settings(overrides={"exits": {"learned": levels}}))
    assert (found.kind, found.version, found.n, found.is_promoted) == ("EXITS", 2, 0, False)
    on = load_settings(profile="demo", overrides={"exits": {"adaptive": {"is_on": True, "version": 4}}})
    (found,) = profiles_of([], frozenset({("exits", "ADAPTIVE", 4)}), on)
    assert (found.version, found.n, found.is_promoted, found.refusal) == (4, 0, True, None)
    assert "in force" in " ".join(profile_lines([found]))


def test_the_command_and_the_report_tell_what_shadows_of_exits_came_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "ledgers"
    folder.mkdir()
    start_run(folder, ("paper",), ask.T0)
    ledger = DeskLedger(folder, "paper", run_n=1)
    ledger.open()
    for n in (1, 2):
        ledger.apply(ask.shadow_closed(n), ask.T0)
    ledger.close()
    assert main(["--data", str(tmp_path), "shadows", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["n"], found["wins"]) == ("ADAPTIVE", 2, 2)
    assert main(["--data", str(tmp_path), "shadows"]) == 0
    assert "made more in 2 of 2" in " ".join(capsys.readouterr().out.split())
    told = exit_facts(LedgerReader(folder, "paper"), ask.DAY)
    assert [(one["profile"], one["positions"], one["n"]) for one in told] == [("ADAPTIVE-1", 2, 2)]
    assert "more in 2 of 2 (0.34–1.00)" in exit_lines(told)[0]
