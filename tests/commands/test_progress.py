"""Who waits for a long command without a terminal is told now and then how far it is, and of every day that is done."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from commands import backtest
from commands.folder import DataFolder
from commands.progress import LINE_EVERY_S, Progress
from config.settings import load_settings
from domain.units import Cents
from simulation.backtest.model import FillModel
from simulation.backtest.run import Day
from tests.testkit.swept_days import day_of


def test_without_a_terminal_a_line_comes_now_and_then_and_what_stays_to_be_read_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = [100.0]
    with Progress(clock_s=lambda: now[0]) as shown:
        shown.at("1 of 900 done")
        now[0] += LINE_EVERY_S
        shown.at("2 of 900 done")
        shown.at("3 of 900 done")
        shown.line("2026-11-20: +353.10 USD net [1 of 2] " + "x" * 100)
        now[0] += LINE_EVERY_S - 1
        shown.at("4 of 900 done")
    assert capsys.readouterr().err.splitlines() == [
        "2 of 900 done", "2026-11-20: +353.10 USD net [1 of 2] " + "x" * 100
    ]  # fmt: skip


def test_every_day_of_a_backtest_is_told_when_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    came_to = {date(2026, 11, 20): [40_000, -4_690], date(2026, 11, 23): []}

    class Run:
        def __init__(self, *_: Any) -> None:
            """Take what a backtest is made of."""

        def days(self, sessions: tuple[date, ...]) -> Iterator[Day]:
            return (day_of(session, came_to[session]) for session in sessions)

    monkeypatch.setattr(backtest, "Backtest", Run)
    days = backtest.traded(
        load_settings(), DataFolder(tmp_path), tuple(came_to), {}, FillModel(), Cents(1), tmp_path
    )  # fmt: skip
    assert [len(day.trades) for day in days] == [2, 0]
    assert capsys.readouterr().err.splitlines() == [
        "2026-11-20: +353.10 USD net (1 of 2 sessions)", "2026-11-23: nothing was traded (2 of 2 sessions)"
    ]  # fmt: skip
