"""A credit spread in a desk's ledger: one SPX call bought against ten SPY calls sold."""

from __future__ import annotations

from typing import Any

from domain.instruments import Contract, Right, Side
from domain.orders.intent import EntryPlan, OrderLeg, PlannedLeg
from domain.structure.saga import SagaState
from domain.units import Cents, Qty, Ticks
from messages import entries, structures
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


def held(ledger: DeskLedger) -> None:
    """A spread that is held whole: one SPX 6005C at 2.50 against ten SPY 600C at 1.60, SPX at 6000, SPY at 600."""
    asked = spread()
    ledger.apply(asked, ask.T0)
    filled(ledger, ask.ref(1), 1, Side.BUY, 1, "a.1")
    filled(ledger, ask.ref(101), 22, Side.SELL, 10, "b.1", price_ticks=160)
    ledger.apply(ask.position(1, realised_cents=Cents(-150)), ask.T0)
    short = ask.position_ref(1, position_id=ask.stem(101), contract=SPY, side=Side.SELL)
    ledger.apply(ask.position(1, ref=short, entry_spot_ticks=Ticks(60_000), realised_cents=Cents(-650)), ask.T0)
    whole = structures.StructureChanged(
        structure_id=asked.intent.intent_id, state=SagaState.HELD, reason=None, cover_qty=Qty(1), short_qty=Qty(10),
        pnl_cents=Cents(0), at_utc=ask.T0,
    )  # fmt: skip
    ledger.apply(whole, ask.T0)
