"""`main.py backtest` as people call it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from commands.cli import main
from tests.testkit.paths import LEAN, ROOT, needs_recorded_day

Said = pytest.CaptureFixture[str]
DAY = "2021-01-04"


@pytest.fixture
def imported(tmp_path: Path, capsys: Said) -> Path:
    assert main(["--data", str(tmp_path), "import", *map(str, sorted(LEAN.glob("*.zip")))]) == 0
    capsys.readouterr()
    return tmp_path


@pytest.fixture
def small(tmp_path: Path) -> str:
    """Write settings of one ticker: what takes the time is one reading a bucket of each."""
    path = tmp_path / "small.yaml"
    path.write_text("tickers: [SPX]\nlanes: {gexwatch: [SPX], advisor: [SPX]}\n", "utf-8")
    return str(path)


@needs_recorded_day
@pytest.mark.slow
def test_a_real_imported_day_is_backtested_and_says_why_nothing_was_entered(
    imported: Path, small: str, capsys: Said
) -> None:
    page = imported / "day.html"
    words = ["--config", small, "--data", str(imported), "backtest", "2021-01-01", "2021-01-05", "--json"]
    assert main([*words, "--html", str(page)]) == 0
    told = json.loads(capsys.readouterr().out)
    (day,) = told["days"]
    assert (day["session"], day["contracts"], day["quotes"]) == (DAY, 4, 1325)
    assert told["report"]["title"] == "Backtest 2021-01-01 to 2021-01-05: 1 session, 1 not stored"
    idle = next(s for s in told["report"]["sections"] if s["title"] == "Days without an entry, and why")
    assert idle["table"]["rows"] == [[DAY, "no profile of a hub is stored: no reading, so no alert"]]
    text = page.read_text("utf-8")
    for assumption in told["assumptions"]:
        assert assumption.replace("'", "&#x27;") in text


@needs_recorded_day
@pytest.mark.slow
def test_two_processes_with_other_hash_seeds_come_to_the_same(imported: Path, small: str) -> None:
    words = [sys.executable, "main.py", "--config", small, "--data", str(imported), "backtest", DAY, DAY, "--json"]
    told = [
        json.loads(
            subprocess.run(
                words, cwd=ROOT, check=True, capture_output=True, env={"PATH": "", "PYTHONHASHSEED": seed}
            ).stdout
        )
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["yesterday", DAY], "'yesterday' is not a date"),
        ([DAY, "2020-12-31"], "lies after"),
        ([DAY, DAY], "is stored in"),
        ([DAY, DAY, "--crossing", "0.5"], "give 1 to 10"),
        ([DAY, DAY, "--stale", "0"], "more than 0 ms"),
        ([DAY, DAY, "--stale", "nan"], "These fills cannot be modelled"),
        ([DAY, DAY, "--stale", "inf"], "These fills cannot be modelled"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(words: list[str], said: str, tmp_path: Path, capsys: Said) -> None:
    assert main(["--data", str(tmp_path), "backtest", *words]) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@needs_recorded_day
def test_an_alert_that_the_settings_do_not_know_is_named_with_those_that_there_are(
    imported: Path, capsys: Said
) -> None:
    assert main(["--data", str(imported), "backtest", DAY, DAY, "--promote", "NO_SUCH-9"]) == 2
    error = capsys.readouterr().err
    assert "NO_SUCH-9 is no alert of these settings" in error
    assert "GAMMA_FLIP-" in error
