"""A day whose supervisor is gone: the report says what is held or may be, what guards it, and what the broker said."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.cli import main
from commands.folder import DataFolder
from commands.held import desks_of, owned
from commands.run import held_from_before
from config.settings import load_settings
from domain.instants import SECOND
from domain.instruments import Side
from domain.orders.table import OrderStatus
from domain.position.cycle import ExitReason
from domain.risk.reject import RejectCode
from domain.units import Qty, Ticks
from messages import orders
from messages.base import Message
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from tests.testkit import ledger_asks as ask


def folder_of(root: Path, *messages: Message) -> DataFolder:
    folder = DataFolder(root)
    folder.make()
    start_run(folder.ledgers, ("paper",), ask.T0)
    desk = DeskLedger(folder.ledgers, "paper", run_n=1)
    desk.open()
    for message in messages:
        desk.apply(message, ask.T0)
    desk.close()
    return folder


def report(folder: DataFolder, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["--data", str(folder.root), "report"])
    return code, " ".join(capsys.readouterr().out.split())  # whatever the width of the terminal


def ids_of(n: int, status: OrderStatus, suffix: str = "e") -> orders.RecordOrderIds:
    return orders.RecordOrderIds(order_ref=ask.ref(n, suffix), perm_id=900 + n, status=status.value)


def test_a_killed_day_with_a_position_says_what_is_open_and_that_nothing_guards_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path, ask.reserve(1), ask.execution(1), ask.position(1))
    code, said = report(folder, capsys)
    assert code == 1
    assert f"2 SPXW 6005C at 5.00 (gexwatch, {ask.ref(1)}); nothing at the broker protects it" in said
    assert "no supervisor runs: positions are open (see Open)" in said
    assert "is running" not in said
    assert "nothing is held" not in said


def test_a_resting_stop_and_a_working_exit_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(
        tmp_path, ask.reserve(1), ask.execution(1), ask.position(1),
        ask.exit_intent(1, reason=ExitReason.DISASTER), ids_of(1, OrderStatus.WORKING, "x1"),
        ask.reserve(2), ask.execution(2, "00e2.1"), ask.position(2),
        ask.exit_intent(2), ids_of(2, OrderStatus.WORKING, "x1"),
        ask.reserve(3), ask.execution(3, "00e3.1"), ask.position(3),
        ask.exit_intent(3), ids_of(3, OrderStatus.CANCELLED, "x1"),
    )  # fmt: skip
    _, said = report(folder, capsys)
    assert f"a stop for 2 rests at the broker ({ask.ref(1, 'x1')})" in said
    assert f"an exit for 2 works at the broker ({ask.ref(2, 'x1')}, premium_stop)" in said
    assert f"({ask.ref(3)}); nothing at the broker protects it" not in said
    assert "6015C at 5.00 (gexwatch, " in said
    assert said.count("nothing at the broker protects it") == 1


def test_an_entry_whose_fill_is_not_known_is_not_called_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path, ask.reserve(1))
    code, said = report(folder, capsys)
    assert code == 1
    assert "unknown: an entry of 2 may have filled; it ends by itself at 10:00:10 New York" in said
    assert "whether something is held is not known (see Open)" in said
    assert "nothing is held" not in said


def test_a_direct_flatten_owns_what_is_held_and_what_entries_may_have_filled(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path, ask.reserve(1), ask.execution(1), ask.position(1), ask.reserve(2),
        ask.reserve(3), ask.abandoned(3),
    )  # fmt: skip
    assert desks_of(folder.ledgers) == ["paper"]
    assert owned(folder.ledgers, ["paper"]) == {1: 2, 2: 2}


@pytest.mark.parametrize(
    ("status", "filled", "most"), [(None, 0, 7), (OrderStatus.WORKING, 1, 7), (OrderStatus.CANCELLED, 1, 4)]
)
def test_a_direct_flatten_owns_what_a_further_slice_may_have_filled(
    tmp_path: Path, status: OrderStatus | None, filled: int, most: int
) -> None:
    """A position was open with 3 of 10, and the supervisor was killed while its second slice of 4 worked."""
    second = ask.ref(1, "e2")
    sent = orders.RecordSlice(
        intent_id="i1", reply_to="position:paper:1", con_id=1, order_ref=second, side=Side.BUY, qty=Qty(4),
        limit_ticks=Ticks(500), n=2, slices=3, at_utc=ask.T0 + SECOND,
    )  # fmt: skip
    news: list[Message] = [] if status is None else [ids_of(1, status, "e2")]
    news += [ask.execution(1, "00e1.2", order_ref=second, qty=Qty(filled))] * bool(filled)
    folder = folder_of(
        tmp_path, ask.reserve(1, legs=(ask.leg(1, qty=Qty(10)),), first_qty=Qty(3)),
        ask.execution(1, qty=Qty(3)), ask.position(1), sent, *news,
    )  # fmt: skip
    assert owned(folder.ledgers, ["paper"]) == {1: most}


def test_fills_with_prices_entries_without_one_and_the_brokers_words_stand_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sold = ask.execution(1, "x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL, price_ticks=450, at_utc=ask.T0 + SECOND)
    folder = folder_of(
        tmp_path, ask.reserve(1), ask.execution(1), ask.position(1), sold, ask.closed(1),
        ask.reserve(2), ask.abandoned(2),
        ask.reserve(3), ask.broker_refused(3), ask.amended(3, code=RejectCode.BROKER_REJECTED, words="201: no margin"),
        ask.abandoned(3),
    )  # fmt: skip
    code, said = report(folder, capsys)
    assert code == 0
    assert f"10:00:01 BUY 2 SPXW 6005C @ 5.00 {ask.ref(1)}" in said
    assert f"10:00:01 SELL 2 SPXW 6005C @ 4.50 {ask.ref(1, 'x1')}" in said
    assert f"{ask.alert_id(2)} no fill" in said
    assert f"2 SPXW 6010C at 5.00, abandoned, {ask.ref(2)}" in said
    assert f"{ask.alert_id(3)} broker_rejected" in said
    assert "201: no margin" in said
    assert f"entry {ask.ref(3)}" in said
    assert "201: Order rejected - reason: no margin" in said
    assert "2 approved (1 filled, 1 without a fill), 1 refused" in said


@pytest.mark.parametrize("is_gone", [True, False], ids=["vanished", "emptied"])
def test_a_ledger_that_is_gone_beside_a_folder_that_was_used_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_gone: bool
) -> None:
    folder = folder_of(tmp_path, ask.reserve(1), ask.execution(1))
    for path in folder.ledgers.glob("paper.db*"):
        path.unlink()
    if not is_gone:
        (folder.ledgers / "paper.db").touch()
    for command in (["report"], ["why-not", ask.alert_id(1)]):
        assert main(["--data", str(folder.root), *command]) == 3
        said = capsys.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1)
        assert "paper.db" in said.err


def test_a_report_fits_a_terminal_of_80_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sold = ask.execution(1, "x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL, price_ticks=450)
    folder = folder_of(tmp_path, ask.reserve(1), ask.execution(1), ask.position(1), sold, ask.closed(1), ask.denial(2),
                       ask.reserve(4), ask.execution(4, "00e4.1"), ask.position(4))  # fmt: skip
    main(["--data", str(folder.root), "report"])
    said = capsys.readouterr().out
    assert "NOT" not in said
    assert [line for line in said.splitlines() if len(line) > 80 and str(tmp_path) not in line] == []


def test_a_run_that_goes_on_after_a_kill_says_what_is_held_at_which_price_and_what_watches_it(tmp_path: Path) -> None:
    settings = load_settings(profile="demo")
    folder = folder_of(
        tmp_path, ask.reserve(1), ask.execution(1), ask.position(1),
        ask.exit_intent(1, reason=ExitReason.DISASTER), ids_of(1, OrderStatus.WORKING, "x1"),
    )  # fmt: skip
    (line,) = held_from_before(settings, folder)
    assert line.startswith(f"Held from before: 2 SPXW 6005C at 5.00 (gexwatch, {ask.ref(1)}); ")
    assert "the running supervisor watches its exits" in line
    assert "a stop for 2 rests at the broker" in line


def test_a_run_with_nothing_held_or_without_a_ledger_says_nothing_of_it(tmp_path: Path) -> None:
    settings = load_settings(profile="demo")
    assert held_from_before(settings, DataFolder(tmp_path / "new")) == []
    assert held_from_before(settings, folder_of(tmp_path / "flat")) == []
