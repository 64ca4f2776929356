"""What a desk's orders were filled with on a recorded day, and an exchange that fills the same orders the same way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

import msgspec

from domain.instants import SECOND
from domain.instruments import Side
from domain.units import Cents, Qty, Ticks, Utc
from simulation.backtest.exchange import BacktestExchange
from simulation.backtest.market import RecordedMarket
from simulation.backtest.model import FillModel
from simulation.backtest.ports import RecordedBroker
from simulation.broker.events import ExchangeEvent
from simulation.broker.exchange import Exchange
from simulation.broker.working import Working
from storage.queries import Found, LedgerReader
from supervision.stepped import SteppedRuntime

_TOLD_WITHIN_NS: Final = 2 * SECOND  # of its second at the latest; what came later was read back


class Fill(msgspec.Struct, frozen=True):
    """One recorded execution."""

    at_utc: Utc
    qty: Qty
    price_ticks: Ticks


class Filled(msgspec.Struct, frozen=True):
    """What became of a recorded order; without fills it was never filled."""

    con_id: int
    side: Side
    fills: tuple[Fill, ...]


RecordedFills = Mapping[str, Filled]  # by order reference


def fills_of(reader: LedgerReader, session: date) -> dict[str, Filled]:
    """Return a session's orders with their executions in force, by reference."""
    intents = dict.fromkeys(row["intent_id"] for row in reader.attempts(session) if row["intent_id"])
    orders = (reader.order(ref) for intent in intents for ref in reader.orders_of(intent))
    return {
        order["order_ref"]: Filled(
            order["con_id"], Side(order["side"]),
            tuple(Fill(_filled_utc(e), Qty(e["qty"]), Ticks(e["price_ticks"])) for e in order["executions"]),
        )
        for order in orders if order is not None
    }  # fmt: skip


def _filled_utc(execution: Found) -> Utc:
    """Return when an execution was: brokers tell whole seconds, so within them the instant of its record is nearer."""
    at_utc, recorded_utc = execution["at_utc"], execution["recorded_utc"]
    return Utc(recorded_utc if at_utc < recorded_utc <= at_utc + _TOLD_WITHIN_NS else at_utc)


class RecordedFillsExchange(BacktestExchange):
    """Fills an order that is on record as it was filled then, never before it is in the book; others by the model."""

    def __init__(self, market: RecordedMarket, cash_cents: Cents, model: FillModel, recorded: RecordedFills) -> None:
        super().__init__(market, cash_cents, model)
        self._left = {ref: list(filled.fills) for ref, filled in recorded.items()}
        self.recorded = recorded

    def _match(self, working: Working, now_utc: Utc) -> list[ExchangeEvent]:
        order = working.order
        known = self.recorded.get(order.order_ref)
        if known is None or (known.con_id, known.side) != (order.con_id, order.side):
            return super()._match(working, now_utc)
        left, events = self._left[order.order_ref], list[ExchangeEvent]()
        if now_utc <= working.at_utc or not self._is_trading(now_utc):
            return events
        while left and left[0].at_utc <= now_utc and (rest := Qty(working.order.qty - working.filled_qty)):
            fill = left.pop(0)
            events += Exchange._filled(self, working, min(rest, fill.qty), fill.price_ticks, now_utc)
        return events


class RecordedFillsBroker(RecordedBroker):
    """The order session over recorded fills: it also looks at the very instants at which something was filled."""

    def __init__(
        self, owner: str, runtime: SteppedRuntime, recorded: RecordedMarket, exchange: RecordedFillsExchange
    ) -> None:
        super().__init__(owner, runtime, recorded, exchange)
        for at_utc in sorted({fill.at_utc for filled in exchange.recorded.values() for fill in filled.fills}):
            runtime.call_at(at_utc, self._step)
