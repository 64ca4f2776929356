"""A credit spread in the views: one row of `structures`, one trade, one open position, once in the day's summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from commands.folder import DataFolder
from domain.instruments import Side
from domain.orders.intent import PositionRef
from domain.position.cycle import ExitReason
from domain.risk.day import Closed, DayStops, DaySummary, summarise
from domain.structure.saga import SagaState
from domain.units import Cents, Qty
from messages import risk, structures
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from storage.views.database import Database
from tests.testkit import ledger_asks as ask
from tests.testkit.spread_ledger import SPY, filled, spread
from tests.testkit.spread_world import TERMS

COVER = ask.position_ref(1, strategy="spread", structure_id="i1")
SHORT = ask.position_ref(
    1, position_id=ask.stem(101), contract=SPY, side=Side.SELL, strategy="spread", structure_id="i1"
)


class Desk:
    """A desk with one spread."""

    def __init__(self, root: Path) -> None:
        self.folder = DataFolder(root)
        self.folder.make()
        start_run(self.folder.ledgers, ("paper",), ask.T0)
        self.ledger = DeskLedger(self.folder.ledgers, "paper", run_n=1)
        self.ledger.open()
        self.apply(spread(terms=TERMS))
        filled(self.ledger, ask.ref(1), 1, Side.BUY, 1, "a.1", price_ticks=2_000)
        filled(self.ledger, ask.ref(101), 22, Side.SELL, 10, "b.1", price_ticks=250)
        self.apply(ask.position(1, ref=COVER), ask.position(1, ref=SHORT))
        self.change(SagaState.HELD)

    def apply(self, *messages: Any) -> None:
        for message in messages:
            self.ledger.apply(message, ask.T0)

    def change(self, state: SagaState, reason: ExitReason | None = None) -> None:
        self.apply(
            structures.StructureChanged(
                structure_id="i1", state=state, reason=reason, cover_qty=Qty(1), short_qty=Qty(10), pnl_cents=None,
                at_utc=ask.T0,
            )
        )  # fmt: skip

    def close(self) -> None:
        """Close both legs, 150 USD to the good."""
        reason = ExitReason.ASSIGNMENT_RISK
        for ref, cents in ((SHORT, -30_000), (COVER, 45_000)):
            self.apply(ask.closed(1, cents, ref=ref, reason=reason, fees_cents=Cents(950)))
        self.change(SagaState.CLOSED, reason)
        self.apply(
            structures.StructureClosed(
                structure_id="i1", reason=reason, terms=TERMS, cover_ticks=2_000.0, short_ticks=250.0,
                realised_cents=Cents(15_000), fees_cents=Cents(1_900), closed_utc=ask.T0,
            ),
            risk.RecordDay(session=ask.DAY, summary=day_of(SHORT, COVER), at_utc=ask.T0),
        )  # fmt: skip

    def rows(self, sql: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = Database(self.folder.root).query(sql).to_pylist()
        return found


def day_of(short: PositionRef, cover: PositionRef) -> DaySummary:
    """Return the day's summary as risk makes it of both legs."""
    results = ((short, Cents(-30_000)), (cover, Cents(45_000)))
    closed = (Closed(ref.position_id, "spread", cents, Cents(950), ask.T0, "i1") for ref, cents in results)
    return summarise(tuple(closed), DayStops())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_held_spread_is_one_open_position_one_open_trade_and_a_row_with_its_terms(desk: Desk) -> None:
    (row,) = desk.rows("SELECT state, credit, gap, edge, pnl, closed_utc FROM structures")
    assert row == {"state": "HELD", "credit": 483.0, "gap": 0.0, "edge": 483.0, "pnl": None, "closed_utc": None}
    assert desk.rows("SELECT value FROM system_state WHERE key = 'open_positions'") == [{"value": "1"}]
    (trade,) = desk.rows("SELECT status, entry_credit, strategy FROM trades")
    assert trade == {"status": "open", "entry_credit": 500.0, "strategy": "spread"}


def test_a_closed_spread_counts_once_with_the_result_of_both_legs(desk: Desk) -> None:
    desk.close()
    (row,) = desk.rows("SELECT state, exit_reason, pnl, fees, cover_price, short_price FROM structures")
    assert row == {
        "state": "CLOSED", "exit_reason": "assignment_risk", "pnl": 150.0, "fees": 19.0, "cover_price": 20.0,
        "short_price": 2.5,
    }  # fmt: skip
    (trade,) = desk.rows("SELECT id, status, final_pnl, fees FROM trades")
    assert trade == {"id": "i1", "status": "closed", "final_pnl": 150.0, "fees": 19.0}
    (day,) = desk.rows("SELECT total_trades, winning_trades, losing_trades, total_pnl FROM daily_summary")
    assert day == {"total_trades": 1, "winning_trades": 1, "losing_trades": 0, "total_pnl": 150.0}
    assert desk.rows("SELECT value FROM system_state WHERE key = 'open_positions'") == [{"value": "0"}]
