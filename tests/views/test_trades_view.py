"""The view `trades`: what is open or was closed, in parts too; a structure is one trade, and no fill is none."""

from __future__ import annotations

import pytest

from commands.folder import DataFolder
from domain.instruments import Side
from domain.position.cycle import EndReason, ExitReason, PositionState
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from storage.views.database import Database
from tests.testkit import ledger_asks as ask
from tests.testkit.spread_ledger import SPY, filled, spread

Row = tuple[str, str | None, int | None]


@pytest.fixture(scope="module")
def trades(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    """A desk with a position of each kind: its status, reasons and quantity, by contract."""
    folder = DataFolder(tmp_path_factory.mktemp("desk"))
    folder.make()
    start_run(folder.ledgers, ("paper",), ask.T0)
    desk = DeskLedger(folder.ledgers, "paper", run_n=1)
    desk.open()
    for message in (
        ask.reserve(1),
        ask.execution(1),
        ask.position(1),
        ask.exit_intent(1, reason=ExitReason.TAKE_PROFIT, qty=1),
        ask.execution(1, exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL, qty=1, price_ticks=700),
        ask.exit_intent(1, 2, reason=ExitReason.NO_PROGRESS, qty=1),
        ask.execution(1, exec_id="x.2", order_ref=ask.ref(1, "x2"), side=Side.SELL, qty=1, price_ticks=500),
        ask.closed(1, reason=ExitReason.NO_PROGRESS),
        ask.reserve(2),
        ask.position(2, state=PositionState.FLAT, opened_utc=None, end=EndReason.ABANDONED),
        ask.abandoned(2),
        ask.reserve(3),
        ask.execution(3, exec_id="00e3.1"),
        ask.position(3),
        ask.reserve(4),
        ask.position(4, state=PositionState.PENDING_ENTRY, opened_utc=None),
    ):
        desk.apply(message, ask.T0)
    desk.apply(spread(5), ask.T0)
    filled(desk, ask.ref(5), 5, Side.BUY, 1, "c.1", price_ticks=1_460)
    filled(desk, ask.ref(105), 22, Side.SELL, 10, "c.2", price_ticks=160)
    short = ask.position_ref(5, position_id=ask.stem(105), contract=SPY, side=Side.SELL)
    for leg in (ask.position(5), ask.position(5, ref=short)):
        desk.apply(leg, ask.T0)
    desk.close()
    found = Database(folder.root).query("SELECT id, status, exit_reason, quantity FROM trades").to_pylist()
    return {row["id"]: (row["status"], row["exit_reason"], row["quantity"]) for row in found}


def test_an_entry_without_a_fill_is_no_trade(trades: dict[str, Row]) -> None:
    assert not {ask.stem(2), ask.stem(4)} & set(trades)


def test_a_trade_that_was_closed_in_parts_shows_the_reason_of_each(trades: dict[str, Row]) -> None:
    assert trades[ask.stem(1)][:2] == ("closed", "take_profit, no_progress")


def test_what_is_held_is_open_without_a_reason(trades: dict[str, Row]) -> None:
    assert trades[ask.stem(3)][:2] == ("open", None)


def test_the_legs_of_a_structure_are_one_trade(trades: dict[str, Row]) -> None:
    (structure,) = set(trades) - {ask.stem(1), ask.stem(3)}
    assert trades[structure][0] == "open"
