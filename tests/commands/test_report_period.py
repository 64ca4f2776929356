"""`main.py report day|week|month`: desks apart and side by side, and one page that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from commands.cli import main
from domain.desks import DeskKind
from domain.position.cycle import ExitReason
from domain.risk.reject import RejectCode
from storage.shared_ledger import start_run
from tests.testkit import ledger_asks as ask
from tests.testkit.asked_desk import ACCOUNT, MASKED, asked_desk
from tests.testkit.browser import PHONE, WIDE, Watched, chromium
from tests.testkit.money_desk import Desk


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A live and a paper desk: two sessions of a week, and one of the week before."""
    root = tmp_path_factory.mktemp("desks")
    for name, kind, gain in (("mine", DeskKind.LIVE, 100), ("paper", DeskKind.PAPER, 50)):
        desk = Desk(root, name, kind)
        desk.trade(1, 500, 500 + gain, day=-7)
        desk.trade(2, 500, 500 + gain, day=-1, reason=ExitReason.TAKE_PROFIT)
        desk.trade(3, 500, 420, minute=31)
        desk.trade(4, 500, 500 + gain, minute=95, reason=ExitReason.TAKE_PROFIT)
        desk.deny(5, RejectCode.SPREAD_TOO_WIDE, minute=7)
        desk.deny(6, RejectCode.COOLDOWN, minute=9)
    return root


def report(capsys: pytest.CaptureFixture[str], root: Path, *more: str) -> tuple[int, str, str]:
    code = main(["--data", str(root), "report", *more])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def sections(capsys: pytest.CaptureFixture[str], root: Path, *more: str) -> dict[str, dict[str, Any]]:
    code, out, _ = report(capsys, root, *more, "--json")
    assert code == 0
    return {section["title"].partition(",")[0]: section for section in orjson.loads(out)["sections"]}


@pytest.mark.parametrize(
    ("span", "trades", "net"), [("day", 2, 2 * 20 - 4), ("week", 3, 2 * 120 - 6), ("month", 4, 2 * 220 - 8)]
)
def test_a_period_counts_its_own_sessions(
    folder: Path, capsys: pytest.CaptureFixture[str], span: str, trades: int, net: int
) -> None:
    rows = sections(capsys, folder, span, "2026-11-20")["Money by desk"]["table"]["rows"]
    assert [(row[0], row[2]) for row in rows] == [("mine", trades), ("paper", trades)]
    assert rows[0][3:5] == [{"hits": trades - 1, "n": trades}, pytest.approx(net)]


def test_the_default_is_the_last_session(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = report(capsys, folder, "day")
    assert out.startswith("Day 2026-11-20: 1 session\nDesks: mine (live money), paper (paper money)\n")
    assert max(map(len, out.splitlines())) <= 80


def test_money_of_different_kinds_is_never_one_figure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = sections(capsys, folder, "month")
    assert [series["name"] for series in found["P&L by strategy and exit reason"]["chart"]["series"]] == [
        "mine", "paper",
    ]  # fmt: skip
    assert found["Running total"]["says"] == "mine +432.00, paper +132.00"
    assert found["Refused by code and half hour"]["says"].startswith("refused: mine 33 % of 6 (")


def test_reasons_times_and_slippage_are_those_of_the_ledger(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = sections(capsys, folder, "day")
    reasons = [row[:3] for row in found["P&L by strategy and exit reason"]["table"]["rows"] if row[0] == "mine"]
    assert reasons == [["mine", "gexwatch", "take profit"], ["mine", "gexwatch", "premium stop"]]
    fills = [row[2:] for row in found["Fill rate by time of day"]["table"]["rows"] if row[0] == "mine"]
    assert fills == [["10:30", {"hits": 1, "n": 1}], ["11:30", {"hits": 1, "n": 1}]]
    (slippage, _) = found["Slippage of entries against the mid"]["table"]["rows"]
    assert slippage[:5] == ["mine", "gexwatch", "SPX", 2, 0.0]  # bought at 5.00, where bid and ask were 4.90 and 5.10
    rejects = [row for row in found["Refused by code and half hour"]["table"]["rows"] if row[0] == "mine"]
    assert [row[1] for row in rejects] == ["cooldown", "spread_too_wide"]
    spread = found["Spread gate: refusals that were false"]["table"]["rows"]
    assert spread[0] == ["mine", "10:00", 1, {"hits": 0, "n": 0}]


def test_the_largest_fall_is_that_of_the_running_total(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk(tmp_path, "paper", DeskKind.PAPER)
    for n, sold in enumerate((600, 450, 400, 550, 380), 1):
        desk.trade(n, 500, sold, fee=0)
    rows = sections(capsys, tmp_path, "day")["Money by desk"]["table"]["rows"]
    assert rows[0][-1] == pytest.approx(-2 * (50 + 100 - 50 + 120))


def test_a_day_without_trades_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Desk(tmp_path, "paper", None).deny(1, RejectCode.COOLDOWN)
    _, out, _ = report(capsys, tmp_path, "day")
    assert "no trade was closed" in out
    assert "paper (kind not told)" in out
    start_run(tmp_path / "other" / "ledgers", ("paper",), ask.T0)
    code, _, err = report(capsys, tmp_path / "other", "week")
    assert (code, "There is nothing to report" in err) == (1, True)
    code, _, err = report(capsys, tmp_path, "week", "yesterday")
    assert (code, "'yesterday' is not a date" in err) == (2, True)


@pytest.mark.slow
def test_the_page_asks_nobody_for_anything_and_fits_a_phone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "week.html"
    code, out, _ = report(capsys, folder, "week", "--html", str(page))
    assert (code, out) == (0, f"Written: {page}\n")
    with chromium() as browser:
        for size, scheme in ((WIDE, "light"), (PHONE, "dark")):
            watched = Watched(browser, page.as_uri(), size=size, scheme=scheme)
            shown = watched.page
            assert shown.locator("svg").count() >= 4
            assert shown.locator("svg path.line").count() == 2
            assert shown.evaluate("document.documentElement.scrollWidth") <= size["width"]
            assert (watched.hosts, watched.complaints) == ({""}, [])
            watched.context.close()


def test_no_report_names_an_account(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked_desk(tmp_path)
    page = tmp_path / "day.html"
    report(capsys, tmp_path, "day", "--html", str(page))
    shown = [
        page.read_text(encoding="utf-8"),
        *(report(capsys, tmp_path, "day", *more)[1] for more in ((), ("--json",))),
    ]
    assert [(MASKED in text, ACCOUNT in text) for text in shown] == [(True, False)] * 3


def test_a_day_that_was_not_summed_up_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk(tmp_path, "paper", DeskKind.PAPER)
    desk.trade(1, 500, 600, day=-1)
    desk.sum_up(-1)
    desk.trade(2, 500, 600)
    desk.trade(3, 500, None)
    _, out, _ = report(capsys, tmp_path, "week")
    assert "not summed up, so not over or cut short: 2026-11-20 (paper)" in " ".join(out.split())
    _, out, _ = report(capsys, tmp_path, "day", "2026-11-19")
    assert "not summed up" not in out
    code = main(["--data", str(tmp_path), "report", "--last", "2"])
    assert (code, capsys.readouterr().out.count("not summed up")) == (0, 1)


def test_a_name_with_markup_is_text_on_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk(tmp_path, "paper", DeskKind.PAPER)
    desk.trade(1, 500, 600, strategy="<img src=x onerror=alert(1)>")
    page = tmp_path / "day.html"
    report(capsys, tmp_path, "day", "--html", str(page))
    text = page.read_text(encoding="utf-8")
    assert "<img" not in text
    assert "&lt;img" in text
