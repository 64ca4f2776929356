"""The trades of a backtested day: both legs of a structure are one."""

from __future__ import annotations

from datetime import date
from typing import Any

from domain.reports.trades import by_structure
from domain.units import Utc
from simulation.backtest.run import _trade

DAY = date(2026, 11, 20)


def row(
    n: int, side: str, trading_class: str, pnl: int, *, structure_id: str | None = "s", **other: Any
) -> dict[str, Any]:
    """Return a closed position as the ledger's reader gives it; it was open from minute `n` on, for ten."""
    return {
        "position_id": f"p{n}", "structure_id": structure_id, "intent_id": "i", "con_id": n, "opened_qty": 1,
        "ticker": trading_class, "trading_class": trading_class, "strike_ticks": 599_000, "right": "C", "side": side,
        "strategy": "spread", "realised_cents": pnl, "fees_cents": 130, "exit_reason": None, "end": "settled",
        "opened_utc": Utc(n), "closed_utc": Utc(n + 10), **other,
    }  # fmt: skip


def test_both_legs_of_a_structure_are_one_trade_named_after_the_one_that_covers() -> None:
    short, alone = row(2, "SELL", "SPY", -5_000, exit_reason="operator"), row(3, "BUY", "SPX", 100, structure_id=None)
    cover = row(1, "BUY", "SPXW", 8_000)
    trades = [_trade(DAY, legs, []) for legs in by_structure([short, cover, alone])]
    assert [(trade.contract, trade.pnl_cents, trade.fees_cents) for trade in trades] == [
        ("SPXW 5990C and SPY 5990C", 3_000, 260), ("SPX 5990C", 100, 130)
    ]  # fmt: skip
    spread = trades[0]
    assert (spread.ticker, spread.qty, spread.opened_utc, spread.closed_utc) == ("SPXW", 1, 1, 11)
    assert spread.reason == "settled"
