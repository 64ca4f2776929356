"""A credit spread in a desk's ledger: one SPX call bought against ten SPY calls sold."""

from __future__ import annotations

from typing import Any

from domain.instruments import Contract, Right, Side
from domain.orders.intent import EntryPlan, OrderLeg, PlannedLeg
from domain.units import Qty, Ticks
from messages import entries
from storage.desk_ledger import DeskLedger
from tests.testkit import ledger_asks as ask

SPY = Contract(22, "SPY", "SPY", ask.DAY, Ticks(60_000), Right.CALL)
PLAN = EntryPlan(
    (PlannedLeg(Right.CALL, Side.BUY, 1, "SPX"), PlannedLeg(Right.CALL, Side.SELL, 10, "SPY")), cover_ratio=10
)


def spread(n: int = 1, **changes: Any) -> entries.ReserveEntry:
    """An attempt at one SPX call bought (contract n) against ten SPY calls sold."""
    cover = ask.leg(n, qty=Qty(1))
    short = OrderLeg(
        contract=SPY, side=Side.SELL, qty=Qty(10), limit_ticks=Ticks(250), order_ref=ask.ref(100 + n),
        decision=cover.decision,
    )  # fmt: skip
    values = {"source": "spread", "ticker": "SPX-SPY", "kind": "CREDIT_SPREAD", "strategy": "spread", "plan": PLAN}
    return ask.reserve(n, **({"legs": (cover, short)} | values | changes))


def filled(
    ledger: DeskLedger, order_ref: str, con_id: int, side: Side, qty: int, exec_id: str, price_ticks: int = 250
) -> None:
    done = ask.execution(
        1,
        exec_id,
        order_ref=order_ref,
        con_id=con_id,
        side=side,
        qty=Qty(qty),
        price_ticks=Ticks(price_ticks),
        at_utc=ask.T0,
    )
    ledger.apply(done, ask.T0)
