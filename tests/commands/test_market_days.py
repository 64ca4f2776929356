"""`main.py simulate --record`: a folder of simulated days that `backtest` takes, recorded once each."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import psutil
import pytest

from commands import session_market
from commands.cli import main
from commands.folder import DataFolder
from commands.session_market import RECORDED_LIST
from tests.testkit.paths import ROOT
from tests.testkit.supervisor_child import eventually

Said = pytest.CaptureFixture[str]


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Write settings of one ticker, whose days begin shortly before their end."""
    path = tmp_path / "short.yaml"
    path.write_text(
        "tickers: [SPX]\nlanes: {gexwatch: [SPX], advisor: [SPX]}\ndemo: {start_clock: '15:57:00'}\n", "utf-8"
    )
    return str(path)


@pytest.mark.slow
def test_recorded_days_are_there_once_and_are_backtested(config: str, tmp_path: Path, capsys: Said) -> None:
    folder = tmp_path / "month"
    words = ["--config", config, "simulate", "--record", str(folder), "--seed", "7"]
    assert main([*words, "--days", "1"]) == 0
    first = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*.*") if path.name != RECORDED_LIST)
    assert main([*words, "--days", "2"]) == 0
    assert "2 sessions from 2026-11-20 to 2026-11-23" in capsys.readouterr().out
    assert [json.loads(line) for line in (folder / RECORDED_LIST).read_bytes().splitlines()] == [
        {"session": "2026-11-20", "seed": 7}, {"session": "2026-11-23", "seed": 8}
    ]  # fmt: skip
    assert set(first) <= {(path, path.stat().st_mtime_ns) for path in folder.rglob("*.*")}
    assert {path.suffix for path in folder.glob("series/*/*")} == {".parquet"}, "a finished day is sealed"
    assert main(["--config", config, "--data", str(folder), "backtest", "2026-11-20", "2026-11-23", "--json"]) == 0
    days = json.loads(capsys.readouterr().out)["days"]
    assert [(day["session"], day["rows"] > 0, day["quotes"] > 0) for day in days] == [
        ("2026-11-20", True, True), ("2026-11-23", True, True)
    ]  # fmt: skip
    assert main([*words[:-1], "9", "--days", "1"]) == 2
    assert "has 2026-11-20 of seed 7 already; give --seed 7, or name another folder." in capsys.readouterr().err


def test_a_folder_with_something_else_in_it_is_left_alone(config: str, tmp_path: Path, capsys: Said) -> None:
    assert main(["--config", config, "simulate", "--record", str(tmp_path), "--days", "1"]) == 2
    error = capsys.readouterr().err
    assert "holds something else already" in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["short.yaml"]


def begun(config: str, folder: Path, days: str) -> subprocess.Popen[str]:
    """Begin to record, one day at a time, and wait until the first is under way."""
    process = subprocess.Popen(
        [sys.executable, "main.py", "--config", config, "simulate", "--record", str(folder), "--days", days,
         "--workers", "1"], cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    eventually(lambda: any(folder.glob(".2026-11-20-*")))
    return process


@pytest.mark.slow
def test_one_that_is_killed_takes_its_days_along_and_the_next_clears_up(
    config: str, tmp_path: Path, capsys: Said
) -> None:
    folder = tmp_path / "month"
    again = ["--config", config, "simulate", "--record", str(folder), "--days", "1"]
    process = begun(config, folder, "1")
    its_days = psutil.Process(process.pid).children(recursive=True)
    assert main(again) == 2
    assert f"Another process records days in {folder}; wait for it" in capsys.readouterr().err
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(its_days, timeout=60)
    assert not alive
    assert any(folder.glob(".2026-11-20-*"))
    assert main(again) == 0
    assert sorted(path.name for path in folder.iterdir()) == [RECORDED_LIST, "series", "warehouse"]


@pytest.mark.slow
def test_ctrl_c_ends_it_though_days_are_left(config: str, tmp_path: Path) -> None:
    process = begun(config, tmp_path / "month", "4")
    try:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=300)[1]
    finally:
        process.kill()
    assert (process.returncode, "Traceback" in said) == (130, False)
    assert not (tmp_path / "month" / "series" / "2026-11-25").exists()


def test_a_day_that_would_begin_after_its_close_is_refused_before_any_is_recorded(
    config: str, tmp_path: Path, capsys: Said
) -> None:
    words = ["--config", config, "simulate", "--record", str(tmp_path / "month"), "--days", "6"]
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("2026-11-27 closes at 13:00 New York, before it begins at")
    assert (tmp_path / "month" / RECORDED_LIST).exists() is False


def test_a_list_whose_last_line_was_cut_goes_on_from_the_line_before(config: str, tmp_path: Path, capsys: Said) -> None:
    folder = tmp_path / "month"
    folder.mkdir()
    listed = folder / RECORDED_LIST
    listed.write_bytes(b'{"session":"2026-11-20","seed":7}\n{"session":"2026-1')
    assert session_market.simulated_in(DataFolder(folder)) == {date(2026, 11, 20)}
    words = ["--config", config, "simulate", "--record", str(folder), "--seed", "7", "--days", "1"]
    assert main(words) == 0
    assert "1 session from 2026-11-20" in capsys.readouterr().out
    assert listed.read_bytes() == b'{"session":"2026-11-20","seed":7}\n'
    listed.write_bytes(b'{"session":"2026-1\n')
    assert main(words) == 3
    assert "cannot be used" in capsys.readouterr().err
    assert listed.read_bytes() == b'{"session":"2026-1\n'
