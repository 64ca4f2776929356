"""A page's path is tried before the work begins, and a page that cannot be written in the end loses no report."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from commands import backtest, evaluate, fit_exits, pages, sweep
from commands.cli import CommandError, main
from domain.reports.model import Report

Said = pytest.CaptureFixture[str]
DAY = ("2026-11-20", "2026-11-20")


def not_called(*_: Any, **__: Any) -> Any:
    raise AssertionError("the work has begun")


@pytest.mark.parametrize(
    ("words", "where", "name"),
    [
        (("backtest", *DAY), backtest, "traded"),
        (("backtest", *DAY, "--parity"), backtest, "parity_of"),
        (("sweep", *DAY, "exits.premium_stop=0.3"), sweep, "sweep"),
        (("fit-exits", *DAY), fit_exits, "_paths"),
        (("evaluate", "GAMMA_FLIP", *DAY), evaluate, "evaluated"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("bad", ["nowhere/page.html", "."])
def test_a_path_that_cannot_be_written_is_refused_before_the_work(
    words: tuple[str, ...], where: Any, name: str, bad: str, tmp_path: Path, capsys: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for one in (backtest, sweep):
        monkeypatch.setattr(one, "sessions_between", lambda *_: (backtest.day_of(DAY[0]),))
    monkeypatch.setattr(where, name, not_called)
    path = tmp_path / bad
    assert main(["--data", str(tmp_path / "data"), *words, "--html", str(path)]) == 3
    error = capsys.readouterr().err
    assert error.startswith(f"{path} cannot be written (")
    assert error.count("\n") == 1


def test_trying_a_path_leaves_what_is_there_and_nothing_new(tmp_path: Path) -> None:
    before, new = tmp_path / "before.html", tmp_path / "new.html"
    before.write_text("a page of yesterday", "utf-8")
    for path in (before, new, None):
        pages.try_page(path)
    assert before.read_text("utf-8") == "a page of yesterday"
    assert [path.name for path in tmp_path.iterdir()] == ["before.html"]


def test_a_page_that_cannot_be_written_in_the_end_leaves_the_report_on_the_screen(tmp_path: Path, capsys: Said) -> None:
    day = backtest.day_of(DAY[0])
    report = Report(title="What a month came to", first=day, last=day, desks=("paper",), sections=())
    with pytest.raises(CommandError, match="cannot be written"):
        pages.tell(Namespace(html=tmp_path / "gone" / "page.html", json=False), report, {})
    assert "What a month came to" in capsys.readouterr().out
