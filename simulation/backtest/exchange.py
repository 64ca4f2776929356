"""The in-process exchange on recorded quotes: nothing fills on what is not a whole, fresh quote."""

from __future__ import annotations

from msgspec.structs import replace

from domain.instruments import DataType, OrderType, Quote, Side
from domain.options.tick_rules import rule_of
from domain.units import Cents, Qty, Ticks, Utc
from simulation.backtest.market import RecordedMarket
from simulation.backtest.model import FillModel
from simulation.broker.combos import Touch, side_of
from simulation.broker.events import ExchangeEvent
from simulation.broker.exchange import Exchange
from simulation.broker.orders import Order
from simulation.broker.working import Working


class BacktestExchange(Exchange):
    """One account on a recorded market, filled by a model."""

    def __init__(self, market: RecordedMarket, cash_cents: Cents, model: FillModel) -> None:
        super().__init__(market, cash_cents=cash_cents, latency_ms=model.latency_ms)
        self._recorded = market
        self._crossing = model.crossing

    def next_due(self, first_utc: Utc) -> Utc | None:
        """Return the first whole second from `first_utc` on at which `step` could change anything; `None`: none."""
        if self._open:
            return first_utc
        return None if self.held_at_close is not None else max(first_utc, self._recorded.close_utc)

    def _fillable(self, con_id: int) -> Quote | None:
        """Return the quote that may be traded on; `None` for a stale, delayed, one-sided, locked or crossed one."""
        quote = self._recorded.quote(con_id)
        if quote is None or quote.data_type is not DataType.LIVE or not self._recorded.stands(quote):
            return None
        if not quote.bid_ticks or not quote.ask_ticks:
            return None
        return quote if quote.bid_ticks < quote.ask_ticks else None

    def _refusal(self, order: Order, now_utc: Utc, old: Working | None = None) -> str:
        """Refuse what nothing could be reckoned for: without a price of the underlying there is no margin."""
        contract = self._recorded.contract(_con_ids(order)[0])
        if contract is not None and self._recorded.price(contract.ticker) is None:
            return "No price of the underlying yet"
        return super()._refusal(order, now_utc, old)

    def _match(self, working: Working, now_utc: Utc) -> list[ExchangeEvent]:
        order = working.order
        if any(self._fillable(con_id) is None for con_id in _con_ids(order)):
            if order.type is OrderType.LIMIT and now_utc >= working.due_utc and self._is_trading(now_utc):
                working.is_resting = True  # it stands in the book when the next quote comes
            return []
        return super()._match(working, now_utc)

    def _available(self, working: Working, quote: Quote) -> Qty:
        """Return what may fill of the displayed size: a quote that stands shows it once, not once a second."""
        ticked_utc = self._recorded.ticked_utc(quote.con_id)
        return super()._available(working, replace(quote, at_utc=ticked_utc))

    def _met(self, con_id: int) -> Quote | None:
        """Return the quote that may be traded on, as wide as the model says, in whole increments."""
        quote = self._fillable(con_id)
        contract = self._recorded.contract(con_id)
        if self._crossing == 1.0 or quote is None or contract is None:
            return quote
        bid, ask, rule = quote.bid_ticks, quote.ask_ticks, rule_of(contract.trading_class)
        assert bid is not None  # both sides are there: the quote may be traded on
        assert ask is not None
        beyond = (ask - bid) / 2 * (self._crossing - 1.0)
        up, down = rule.increment(ask), rule.increment(bid)
        return replace(
            quote, bid_ticks=Ticks(max(min(down, bid), bid + int(-beyond // down) * down)),
            ask_ticks=Ticks(ask - int(-beyond // up) * up),
        )  # fmt: skip

    def _touch(self, order: Order) -> Touch | None:
        """Return what a combination trades at, and of no more than is left of what is shown."""
        now = super()._touch(order)
        if now is None:
            return None
        left = min(self._untaken(leg.con_id, side_of(leg, order)) // leg.ratio for leg in order.legs)
        return replace(now, qty=Qty(left))

    def _filled_combo(
        self, working: Working, qty: Qty, leg_ticks: tuple[Ticks, ...], now_utc: Utc
    ) -> list[ExchangeEvent]:
        for leg in working.order.legs:
            side = side_of(leg, working.order)
            taken = self._taken_of(leg.con_id, side) + leg.ratio * qty
            self._taken[leg.con_id, side] = self._recorded.ticked_utc(leg.con_id), Qty(taken)
        return super()._filled_combo(working, qty, leg_ticks, now_utc)

    def _taken_of(self, con_id: int, side: Side) -> int:
        """Return how much of the quote that stands was taken."""
        at_utc, taken = self._taken.get((con_id, side), (None, 0))
        return taken if at_utc == self._recorded.ticked_utc(con_id) else 0

    def _untaken(self, con_id: int, side: Side) -> int:
        """Return how much of the quote that stands may be taken."""
        quote = self._fillable(con_id)
        shown = 0 if quote is None else quote.ask_size if side is Side.BUY else quote.bid_size
        return max(0, shown - self._taken_of(con_id, side))


def _con_ids(order: Order) -> tuple[int, ...]:
    """Return the contracts that an order trades: its own, or those of its legs."""
    return tuple(leg.con_id for leg in order.legs) or (order.con_id,)
