"""A credit spread in the views: one row of `structures`, one trade, one open position, once in the day's summary."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.testkit.spread_desk import Desk


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
