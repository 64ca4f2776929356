"""The in-process exchange on recorded quotes: nothing fills on what is not a whole, fresh quote."""

from __future__ import annotations

from msgspec.structs import replace

from domain.instruments import OrderType, Quote, Side
from domain.options.tick_rules import rule_of
from domain.units import Cents, Qty, Ticks, Utc
from simulation.backtest.market import RecordedMarket
from simulation.backtest.model import FillModel
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
        """Return the quote that may be traded on; `None` for one that is stale, one-sided, locked or crossed."""
        quote = self._recorded.quote(con_id)
        if quote is None or not self._recorded.stands(quote) or not quote.bid_ticks or not quote.ask_ticks:
            return None
        return quote if quote.bid_ticks < quote.ask_ticks else None

    def _refusal(self, order: Order, now_utc: Utc, old: Working | None = None) -> str:
        """Refuse what nothing could be reckoned for: without a price of the underlying there is no margin."""
        contract = self._recorded.contract(order.con_id)
        if contract is not None and self._recorded.price(contract.ticker) is None:
            return "No price of the underlying yet"
        return super()._refusal(order, now_utc, old)

    def _match(self, working: Working, now_utc: Utc) -> list[ExchangeEvent]:
        if self._fillable(working.order.con_id) is None:
            return []
        return super()._match(working, now_utc)

    def _available(self, working: Working, quote: Quote) -> Qty:
        """Return what may fill of the displayed size: a quote that stands shows it once, not once a second."""
        ticked_utc = self._recorded.ticked_utc(quote.con_id)
        return super()._available(working, replace(quote, at_utc=ticked_utc))

    def _filled(self, working: Working, qty: Qty, price: Ticks, now_utc: Utc) -> list[ExchangeEvent]:
        """Fill at the price of the book, or as much worse as the model says; a limit is never passed."""
        quote, order = self._fillable(working.order.con_id), working.order
        if quote is not None and self._crossing > 1.0 and not working.is_resting:
            assert quote.bid_ticks is not None  # both sides are there: the quote may be traded on
            assert quote.ask_ticks is not None
            is_buy = order.side is Side.BUY
            beyond = (quote.ask_ticks - quote.bid_ticks) / 2 * (self._crossing - 1.0)
            contract = self._recorded.contract(order.con_id)
            assert contract is not None  # the order was taken
            increment = rule_of(contract.trading_class).increment(price)
            worse = -int(-beyond // increment) * increment  # whole increments, against us
            price = Ticks(price + worse) if is_buy else Ticks(max(increment, price - worse))
            if order.type is OrderType.LIMIT and order.limit_ticks is not None:
                price = min(price, order.limit_ticks) if is_buy else max(price, order.limit_ticks)
        return super()._filled(working, qty, price, now_utc)
