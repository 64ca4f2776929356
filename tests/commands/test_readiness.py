"""`readiness`: what paper has shown against the minima; live below them wants a reason, and begins with a cap."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from commands.cli import CommandError, main
from commands.folder import DataFolder
from commands.logbook import LogBook
from commands.readiness import armed, live_sessions, record_of
from config.settings import Settings, load_settings
from domain.alarm import Severity
from domain.desks import DeskKind
from domain.readiness import PaperRecord, is_ramping, measures, ramped
from domain.risk.day import DaySummary
from domain.risk.kill import KillLevel
from domain.units import Cents
from messages import risk
from messages.operator import Announce
from storage.desk_kinds import note_kind
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import SharedLedger, start_run
from tests.testkit import ledger_asks as ask

REASON = "ZEROHOUR_LIVE_ARMED_REASON"
ENOUGH = {
    "sessions_min": 1, "trades_min": 1, "interventions_max": 0, "level_1_max": 1, "level_2_max": 0, "errors_max": 0,
    "ramp_sessions": 2, "ramp_trades_max": 1,
}  # fmt: skip


def settings(**changes: int) -> Settings:
    overrides = {"trading_mode": "live", "desk": "live", "readiness": ENOUGH | changes}
    return load_settings(profile="real", overrides=overrides)


def played(folder: DataFolder, desk: str, kind: DeskKind) -> None:
    """Let a desk have played one session with one trade."""
    start_run(folder.ledgers, (desk,), ask.T0)
    note_kind(folder.ledgers, desk, kind)
    ledger = DeskLedger(folder.ledgers, desk, run_n=1)
    ledger.open()
    figures = DaySummary(
        trades=1, wins=1, losses=0, realised_cents=Cents(5_000), fees_cents=Cents(260), drawdown_cents=Cents(0)
    )
    summary = risk.RecordDay(session=ask.DAY, summary=figures, at_utc=ask.T0)
    for message in (ask.reserve(1), ask.execution(1), ask.position(1), ask.closed(1, 5_000), summary):
        ledger.apply(message, ask.T0)
    ledger.close()


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    made = DataFolder(tmp_path)
    made.make()
    played(made, "paper", DeskKind.PAPER)
    return made


def test_what_paper_desks_have_shown_is_counted_and_no_other_desks(folder: DataFolder) -> None:
    played(folder, "demo", DeskKind.SIM)
    record = record_of(folder)
    assert (record.sessions, record.trades, record.wins) == (1, 1, 1)


def test_kill_levels_and_critical_lines_count(folder: DataFolder) -> None:
    shared = SharedLedger(folder.ledgers, ("paper",))
    shared.open()
    for epoch, level in enumerate((KillLevel.NO_ENTRIES, KillLevel.FLATTEN, KillLevel.RUNNING), start=1):
        shared.apply(risk.RecordKill(level=level, kill_epoch=epoch, reason="r", by="risk:paper", at_utc=ask.T0), ask.T0)
    shared.close()
    book = LogBook(folder.log)
    for severity in Severity:
        book.write(Announce(topic="alarm", severity=severity, text="t", at_utc=ask.T0))
    book.close()
    record = record_of(folder)
    assert (record.level_1, record.level_2, record.errors) == (1, 1, 1)


def test_a_folder_that_was_never_used_has_shown_nothing(tmp_path: Path) -> None:
    record = record_of(DataFolder(tmp_path / "new"))
    assert (record.sessions, record.trades, record.errors) == (0, 0, 0)


RECORD = PaperRecord(sessions=20, trades=40, wins=20, interventions=5, level_1=10, level_2=1, errors=0)


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("sessions", 19, "sessions on paper"), ("trades", 39, "trades on paper"), ("interventions", 6, "interventions"),
        ("level_1", 11, "kill level 1"), ("level_2", 2, "kill level 2"), ("errors", 1, "critical errors"),
    ],
)  # fmt: skip
def test_each_bound_is_met_at_it_and_not_beyond(field: str, value: int, what: str) -> None:
    rules = load_settings(profile="real").readiness
    assert all(measure.is_met for measure in measures(RECORD, rules))
    beyond = PaperRecord(**{name: getattr(RECORD, name) for name in RECORD.__struct_fields__} | {field: value})
    assert [measure.what for measure in measures(beyond, rules) if not measure.is_met] == [what]


def test_live_below_the_minima_is_refused_without_a_reason(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REASON, raising=False)
    with pytest.raises(CommandError, match="trades on paper 1 of 2") as refused:
        armed(settings(trades_min=2), folder, ask.T0)
    assert REASON in str(refused.value)


def test_live_below_the_minima_starts_with_a_reason_that_goes_on_record(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REASON, "the account is tiny")
    _, told = armed(settings(trades_min=2), folder, ask.T0)
    assert (told[0].key, told[0].severity) == ("readiness", Severity.HIGH)
    assert told[0].text == "Live below its minima (trades on paper 1 of 2), because: the account is tiny"


def test_the_first_live_sessions_are_capped_and_the_next_are_not(folder: DataFolder) -> None:
    wanted = settings()
    capped, told = armed(wanted, folder, ask.T0)
    assert {rules.trades_per_day_max for rules in capped.strategies.values()} == {1}
    assert [alarm.key for alarm in told] == ["ramp"]
    assert "Live session 1 of the first 2: at most 1 trades" in told[0].text
    played(folder, "live", DeskKind.LIVE)
    assert live_sessions(folder, "live") == 1
    again, told = armed(settings(ramp_sessions=1), folder, ask.T0)
    assert (again.strategies, told) == (wanted.strategies, [])


def test_a_strategy_that_trades_less_already_keeps_its_own_limit() -> None:
    rules = settings(ramp_trades_max=3).readiness
    plain = load_settings(profile="real", overrides={"strategies": {"gexwatch": {"trades_per_day_max": 2}}})
    assert ramped(plain.strategies, rules)["gexwatch"].trades_per_day_max == 2
    assert (is_ramping(1, rules), is_ramping(2, rules)) == (True, False)


def test_the_figures_are_shown_with_the_bounds_of_the_win_rate(
    folder: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(folder.root), "readiness"]) == 1
    said = capsys.readouterr().out
    assert "Won 1 of 1: 100%, 95 % between 21% and 100% (n = 1)" in said
    assert "Not ready for live: sessions on paper, trades on paper." in said
    assert max(map(len, said.splitlines())) <= 80
    assert main(["--data", str(folder.root), "readiness", "--json"]) == 1
    found = orjson.loads(capsys.readouterr().out)
    assert (found["is_ready"], found["record"]["trades"], found["live_sessions"]) == (False, 1, None)


def test_a_desk_that_has_shown_enough_is_ready(
    folder: DataFolder, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("profile: real\nreadiness: {sessions_min: 1, trades_min: 1}\n", encoding="utf-8")
    assert main(["--config", str(file), "--data", str(folder.root), "readiness"]) == 0
    assert "Ready for live." in capsys.readouterr().out
