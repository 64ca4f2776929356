"""`main.py tax`: whose trades count, what stands on the forms, and what it cannot know."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import msgspec
import orjson
import pytest

from commands.cli import main
from commands.wash import note_on_chain, note_on_entry
from config.settings import load_settings
from domain.desks import DeskKind
from domain.instants import SECOND
from domain.instruments import Right
from domain.position.cycle import EndReason
from domain.tax.lots import Security
from storage.desk_kinds import kinds, note_kind
from storage.shared_ledger import start_run
from storage.sqlite_file import LedgerRefusedError
from tests.testkit import ledger_asks as ask
from tests.testkit.money_desk import Desk, qqq

TODAY = "2026-11-20"


def tax(capsys: pytest.CaptureFixture[str], root: Path, *more: str, year: int = 2026) -> tuple[int, str, str]:
    code = main(["--data", str(root), "tax", str(year), "--today", TODAY, *more])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_only_live_money_stands_on_the_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Desk(tmp_path, "paper", DeskKind.PAPER).trade(1, 500, 900)
    Desk(tmp_path, "mine", DeskKind.LIVE).trade(2, 500, 600)
    code, out, _ = tax(capsys, tmp_path, "--json")
    found = orjson.loads(out)
    assert (code, found["desks"], found["form_6781"]["net_cents"]) == (0, ["mine"], 2 * 100 * 100 - 200)


def test_without_live_money_it_says_so_and_a_named_desk_is_taken_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Desk(tmp_path, "paper", None).trade(1, 500, 600)
    code, _, err = tax(capsys, tmp_path)
    assert (code, "paper (not told); name one with --desk" in err) == (1, True)
    code, out, _ = tax(capsys, tmp_path, "--desk", "paper")
    assert code == 0
    assert "line 7, net" in out
    assert "+198.00" in out
    assert out.count("No tax advice") == 1
    code, _, err = tax(capsys, tmp_path, "--desk", "other")
    assert (code, "There is no desk other" in err) == (2, True)


def test_a_wash_sale_stands_in_the_adjustment_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk(tmp_path, "mine", DeskKind.LIVE)
    desk.trade(1, 500, 400, qqq(7))
    desk.trade(2, 400, 450, qqq(7))
    _, out, _ = tax(capsys, tmp_path, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    columns = ("form", "proceeds", "basis", "code", "adjustment", "gain")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        ("8949", "799.00", "1001.00", "W", "202.00", "0.00"),
        ("8949", "899.00", "1003.00", "", "0.00", "-104.00"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("end", "worth", "row"),
    [
        (EndReason.EXPIRED, 0, ("0.00", "1001.00", "-1001.00", "Expired")),
        (EndReason.SETTLED, 700, ("1400.00", "1001.00", "399.00", "")),
        (EndReason.EXPIRED_UNPRICED, 0, ("0.00", "1001.00", "-1001.00", "Expired")),
    ],
)
def test_what_expired_is_closed_at_what_it_was_worth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], end: EndReason, worth: int, row: tuple[str, ...]
) -> None:
    desk = Desk(tmp_path, "mine", DeskKind.LIVE)
    desk.trade(1, 500, None, qqq(7))
    desk.expire(1, qqq(7), end, worth, 500)
    _, out, _ = tax(capsys, tmp_path, "--csv")
    (found,) = csv.DictReader(io.StringIO(out))
    assert (found["proceeds"], found["basis"], found["gain"], found["note"]) == row
    _, text, _ = tax(capsys, tmp_path)
    assert ("at its last price): 2 QQQ" in text) is (end is EndReason.EXPIRED_UNPRICED)


def test_an_exercise_into_shares_is_no_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk(tmp_path, "mine", DeskKind.LIVE)
    desk.trade(1, 500, None, qqq(7))
    desk.expire(1, qqq(7), EndReason.ASSIGNED, 700, 500)
    _, text, _ = tax(capsys, tmp_path)
    assert "Form 8949: no rows" in text
    assert "2 QQQ 20261120 517P became shares: 1,001.00 USD" in text


def test_what_expired_is_of_its_expiry_though_a_later_run_booked_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(tmp_path, "mine", DeskKind.LIVE)
    desk.trade(1, 500, None, qqq(7))
    desk.expire(1, qqq(7), EndReason.EXPIRED, 0, 500, days=3)
    _, out, _ = tax(capsys, tmp_path, "--csv")
    (found,) = csv.DictReader(io.StringIO(out))
    assert (found["acquired"], found["sold"]) == ("2026-11-20", "2026-11-20")


def test_what_somebody_else_closed_stands_on_the_forms_at_what_the_ledger_booked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(tmp_path, "mine", DeskKind.LIVE)
    desk.trade(1, 500, None, qqq(7))
    desk.expire(1, qqq(7), EndReason.BROKER_LIQUIDATION, 700, 500)
    _, out, _ = tax(capsys, tmp_path, "--csv")
    (found,) = csv.DictReader(io.StringIO(out))
    assert (found["proceeds"], found["basis"], found["gain"]) == ("1400.00", "1001.00", "399.00")
    _, text, _ = tax(capsys, tmp_path)
    assert "Closed by somebody else" in text


def test_a_fill_without_a_commission_report_is_estimated_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Desk(tmp_path, "mine", DeskKind.LIVE).trade(1, 500, 600, fee=None)
    _, out, _ = tax(capsys, tmp_path)
    assert "2 fills have no commission report" in out
    assert "+200.00" not in out


def test_executions_of_others_are_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk(tmp_path, "mine", DeskKind.LIVE)
    desk.trade(1, 500, 600)
    desk.ledger.apply(ask.execution(1, "by hand", order_ref="", at_utc=ask.T0 + 3600 * SECOND), ask.T0)
    _, out, _ = tax(capsys, tmp_path)
    assert "+198.00" in out
    assert "1 executions are not of our orders" in " ".join(out.split())


def test_an_index_option_open_at_the_years_end_asks_for_its_price(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Desk(tmp_path, "mine", DeskKind.LIVE).trade(1, 500, None)
    label = ask.contract(1).label
    code, _, err = tax(capsys, tmp_path, "--today", "2027-02-01")
    assert (code, f"--mark '2026:{label}=PRICE'" in err) == (1, True)
    code, out, _ = tax(capsys, tmp_path, "--today", "2027-02-01", "--mark", f"{label}=6.00", "--json")
    assert (code, orjson.loads(out)["form_6781"]["net_cents"]) == (0, 2 * 100 * 100 - 100)
    code, _, err = tax(capsys, tmp_path, "--mark", "nonsense")
    assert (code, "names no contract" in err) == (2, True)


def test_what_if_names_the_losses_that_a_purchase_now_would_put_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Desk(tmp_path, "mine", DeskKind.LIVE).trade(1, 500, 400, qqq(7))
    _, out, _ = tax(capsys, tmp_path, "--what-if")
    assert "until 2026-12-20      202.00 USD  QQQ 20261120 517P" in out
    assert "* only the same contract is substantially identical" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_year_that_has_not_begun_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Desk(tmp_path, "mine", DeskKind.LIVE)
    code, _, err = tax(capsys, tmp_path, year=2027)
    assert (code, "2027 has not begun" in err) == (2, True)


def test_live_and_other_money_never_share_a_desks_ledger(tmp_path: Path) -> None:
    start_run(tmp_path, ("mine",), ask.T0)
    note_kind(tmp_path, "mine", DeskKind.LIVE)
    note_kind(tmp_path, "mine", DeskKind.LIVE)
    with pytest.raises(LedgerRefusedError, match="is a live desk, and this run would be paper"):
        note_kind(tmp_path, "mine", DeskKind.PAPER)
    note_kind(tmp_path, "demo", DeskKind.SIM)
    note_kind(tmp_path, "demo", DeskKind.PAPER)
    assert kinds(tmp_path) == {"mine": DeskKind.LIVE, "demo": DeskKind.PAPER}


@pytest.mark.parametrize(("kind", "is_noted"), [(DeskKind.LIVE, True), (DeskKind.PAPER, False)])
def test_the_note_on_an_entry_counts_live_money_alone(tmp_path: Path, kind: DeskKind, is_noted: bool) -> None:
    Desk(tmp_path, "paper", kind).trade(1, 500, 400, qqq(7))
    settings = load_settings(overrides={"data_dir": str(tmp_path)})
    wanted = Security("QQQ", "QQQ", ask.DAY, 51_700, Right.PUT)
    later = ask.T0 + 3600 * SECOND
    assert (note_on_entry(settings, wanted, later) is not None) is is_noted
    assert note_on_entry(settings, wanted, ask.T0) is None
    assert note_on_entry(settings, Security("SPX", "SPXW", ask.DAY, 1, Right.CALL), later) is None


def test_why_has_the_note_on_its_entry_and_none_where_the_ledgers_cannot_say(tmp_path: Path) -> None:
    Desk(tmp_path, "paper", DeskKind.LIVE).trade(1, 500, 400, qqq(7))
    settings = load_settings(overrides={"data_dir": str(tmp_path)})
    leg = msgspec.to_builtins(ask.leg(2, contract=qqq(7)))
    entry = {"at_utc": ask.T0 + 3600 * SECOND, "message": {"type": "entries.ReserveEntry", "legs": [leg]}}
    raised = {"at_utc": ask.T0, "message": {"type": "signals.SignalRaised"}}
    note = note_on_chain(settings, [raised, entry])
    assert note == "Wash sale: this purchase puts off a loss of up to 202.00 USD on QQQ (30 days, until 2026-12-20)."
    assert note_on_chain(settings, [raised]) is None
    (tmp_path / "ledgers" / "paper.db").write_bytes(b"no ledger")
    assert note_on_chain(settings, [entry]) is None
