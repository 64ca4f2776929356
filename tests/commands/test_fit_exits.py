"""`main.py fit-exits` as people call it."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from commands import fit_exits
from commands.cli import main
from commands.fit_exits_report import Paths
from config.settings import load_settings
from domain.limits import LearnedLevels
from tests.simulation.backtest.test_exit_fit import path_of

Said = pytest.CaptureFixture[str]
LEARNED = ("2026-09-01", "2026-09-20")
LATER = ("2026-09-21", "2026-10-20")


def call(folder: Path, *words: str) -> int:
    return main(["--data", str(folder), "fit-exits", *words])


@pytest.fixture
def peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each session have three positions that rise to 42 % and end in a loss."""
    found = tuple(path_of(day, peak=0.42, end=-0.3) for day in range(50) for _ in range(3))

    def paths(_folder: object, _settings: object, first: object, last: object, _ledgers: object) -> Paths:
        return Paths(tuple(path for path in found if first <= path.session <= last), 2, "")  # type: ignore[operator]

    monkeypatch.setattr(fit_exits, "_paths", paths)


def test_a_table_is_learned_with_a_version_and_judged_on_later_sessions(
    tmp_path: Path, peaks: None, capsys: Said
) -> None:
    page = tmp_path / "page.html"
    assert call(tmp_path, *LEARNED, "--json", "--html", str(page)) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["table"]["version"], told["table"]["levels"]["take"], told["table"]["n"]) == (1, 0.4, 60)
    assert told["table"]["ahead"]["bounds"][0] > 0
    assert "Of 2 more there is no quote." in page.read_text("utf-8")
    assert call(tmp_path, *LEARNED) == 0
    said = capsys.readouterr()
    assert "EXITS-2, a shadow." in said.out
    assert all(len(line) <= 80 for line in said.out.splitlines())
    assert sorted(path.name for path in (tmp_path / "exit_tables").iterdir()) == ["EXITS-1.json", "EXITS-2.json"]
    assert call(tmp_path, *LATER, "--judge", "EXITS-1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["judged"]["better"] == {"hits": 90, "n": 90}
    assert "`exits: {learned: {version: 1, take: 0.4," in told["report"]["sections"][0]["says"]
    assert "`main.py promote exits EXITS-1` puts it in force" in told["report"]["sections"][0]["says"]


def test_the_line_that_a_person_would_take_over_is_of_the_settings(tmp_path: Path, peaks: None, capsys: Said) -> None:
    assert call(tmp_path, *LEARNED) == 0
    capsys.readouterr()
    table = fit_exits._table(tmp_path / "exit_tables", "EXITS-1")
    file = tmp_path / "desk.yaml"
    file.write_text(table.line, "utf-8")
    assert load_settings(file).exits.learned == LearnedLevels(version=1, take=0.4, hold_ms=table.levels.hold_ms)


def test_a_table_that_has_shown_too_little_stays_a_shadow(tmp_path: Path, peaks: None, capsys: Said) -> None:
    assert call(tmp_path, *LEARNED) == 0
    assert call(tmp_path, "2026-09-21", "2026-09-29", "--judge", "EXITS-1") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "27 trades that it changes, 30 are asked for; let it go on as a shadow." in said
    assert "puts it in force" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["soon", "2026-09-20"], "'soon' is not a date"),
        (["2026-09-20", "2026-09-01"], "lies after"),
        ([*LEARNED], "0 closed positions with quotes on 0 sessions teach nothing; name a longer period"),
        ([*LEARNED], "or give --backtest for the positions of a backtest of these days."),
        ([*LEARNED, "--backtest"], "Nothing from 2026-09-01 to 2026-09-20 is stored"),
        ([*LEARNED, "--judge", "EXITS-7"], "There is no exit table EXITS-7"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence_and_nothing_is_written(
    words: list[str], said: str, tmp_path: Path, capsys: Said
) -> None:
    assert call(tmp_path, *words) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_learned_levels_that_are_promoted_are_those_in_force() -> None:
    levels = {"version": 2, "take": 0.4, "hold_ms": 900_000}
    settings = load_settings(overrides={"exits": {"learned": levels}})
    in_force = [
        fit_exits.before_of(settings, frozenset({("exits", "EXITS", version)}))["SPX"].take for version in (1, 2)
    ]
    assert in_force == [settings.exits.take_single, 0.4]


def test_a_table_is_not_judged_on_what_it_was_learned_from(tmp_path: Path, peaks: None, capsys: Said) -> None:
    assert call(tmp_path, *LEARNED) == 0
    capsys.readouterr()
    assert call(tmp_path, "2026-09-20", "2026-10-20", "--judge", "EXITS-1") == 2
    assert "was learned from sessions to 2026-09-20" in capsys.readouterr().err


def test_a_table_that_cannot_be_kept_is_said_in_one_sentence(tmp_path: Path, peaks: None, capsys: Said) -> None:
    (tmp_path / "exit_tables").write_text("a file", "utf-8")
    assert call(tmp_path, *LEARNED) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "EXITS-1.json cannot be written" in error


def test_a_folder_that_takes_no_table_is_refused_before_the_backtest(
    tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "exit_tables").write_text("a file", "utf-8")
    monkeypatch.setattr(fit_exits, "_backtest", lambda *_, **__: pytest.fail("the backtest has begun"))
    assert call(tmp_path, *LEARNED, "--backtest") == 3
    assert "EXITS-1.json cannot be written" in capsys.readouterr().err


def test_two_that_learn_at_once_keep_a_table_each(
    tmp_path: Path, peaks: None, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(tmp_path, *LEARNED) == 0
    first, found = (tmp_path / "exit_tables" / "EXITS-1.json").read_bytes(), [1, 2]
    monkeypatch.setattr(fit_exits, "_next_version", lambda _: found.pop(0))  # the other one came in between
    assert call(tmp_path, *LEARNED) == 0
    assert "EXITS-2, a shadow." in capsys.readouterr().out
    kept = {path.name: path.read_bytes() for path in (tmp_path / "exit_tables").iterdir()}
    assert (sorted(kept), kept["EXITS-1.json"]) == (["EXITS-1.json", "EXITS-2.json"], first)
    assert json.loads(kept["EXITS-2.json"])["version"] == 2


def test_too_few_sessions_are_refused_before_they_are_backtested(
    tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_exits, "sessions_between", lambda *_: (date(2026, 9, 1), date(2026, 9, 2)))
    monkeypatch.setattr(fit_exits, "traded", lambda *_: pytest.fail("the backtest has begun"))
    assert call(tmp_path, *LEARNED, "--backtest") == 1
    assert capsys.readouterr().err == (
        "2 stored sessions teach nothing; name a longer period, with 30 positions on 5 sessions at least.\n"
    )


def test_a_table_that_cannot_be_judged_is_refused_before_the_backtest(
    tmp_path: Path, peaks: None, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(tmp_path, *LEARNED) == 0
    monkeypatch.setattr(fit_exits, "_backtest", lambda *_, **__: pytest.fail("the backtest has begun"))
    assert call(tmp_path, "2026-09-20", "2026-10-20", "--judge", "EXITS-1", "--backtest") == 2
    assert call(tmp_path, *LATER, "--judge", "EXITS-7", "--backtest") == 2
    assert "There is no exit table EXITS-7" in capsys.readouterr().err
