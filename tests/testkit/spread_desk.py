"""A desk whose ledger holds one credit spread, as a supervisor writes it: open, then closed 150 USD to the good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from commands.folder import DataFolder
from domain.instruments import Side
from domain.orders.intent import PositionRef
from domain.position.cycle import ExitReason
from domain.risk.day import Closed, DayStops, DaySummary, summarise
from domain.signals.spread import thresholds_of
from domain.structure.saga import SagaState
from domain.units import Cents, Qty
from messages import risk, structures
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import SharedLedger, start_run
from storage.views.database import Database
from tests.testkit import ledger_asks as ask
from tests.testkit.spread_ledger import SPY, filled, spread
from tests.testkit.spread_world import TERMS, settings

KEY = ask.key(1, source="spread", ticker="SPX-SPY", kind="CREDIT_SPREAD")
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

    def record_alert(self) -> None:
        """Write the spread's alert, with the terms that the lane records with it."""
        shared = SharedLedger(self.folder.ledgers, ("paper",))
        shared.open()
        found = ask.alert(1, source=KEY.source, ticker=KEY.ticker, kind=KEY.kind)
        shared.apply(replace(found, thresholds=thresholds_of(TERMS, settings().spread)), ask.T0)
        shared.close()

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

    def close(self, fall_cents: int = 0) -> None:
        """Close both legs, 150 USD to the good, on a day whose P&L fell by so much at most."""
        reason = ExitReason.ASSIGNMENT_RISK
        for ref, qty, cents in ((SHORT, 10, -30_000), (COVER, 1, 45_000)):
            self.apply(ask.closed(1, cents, ref=ref, reason=reason, opened_qty=Qty(qty), fees_cents=Cents(950)))
        self.change(SagaState.CLOSED, reason)
        self.apply(
            structures.StructureClosed(
                structure_id="i1", reason=reason, terms=TERMS, cover_ticks=2_000.0, short_ticks=250.0,
                realised_cents=Cents(15_000), fees_cents=Cents(1_900), closed_utc=ask.T0,
            ),
            risk.RecordDay(session=ask.DAY, summary=day_of(SHORT, COVER, fall_cents), at_utc=ask.T0),
        )  # fmt: skip

    def rows(self, sql: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = Database(self.folder.root).query(sql).to_pylist()
        return found


def day_of(short: PositionRef, cover: PositionRef, fall_cents: int) -> DaySummary:
    """Return the day's summary as risk makes it of both legs."""
    results = ((short, Cents(-30_000)), (cover, Cents(45_000)))
    closed = (Closed(ref.position_id, "spread", cents, Cents(950), ask.T0, "i1") for ref, cents in results)
    return summarise(tuple(closed), DayStops(drawdown_cents=Cents(fall_cents)))
