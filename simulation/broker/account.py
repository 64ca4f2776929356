"""The simulated broker's account: what it is worth, what orders need of it, all in `_cents`."""

from __future__ import annotations

from typing import Protocol

from domain.instruments import Contract, Quote, Side, Spot
from domain.units import Cents, Qty, Ticks, Utc
from simulation.broker.fees import COMMISSION_ORDER_CENTS_MIN, commission_cents, exchange_fee_cents
from simulation.broker.orders import Order
from simulation.broker.portfolio import Portfolio, Position

# IB's Reg-T rule for a short option starts at 15 to 20 % of the notional; one figure does here.
SHORT_MARGIN_BPS = 2_000


class QuotedMarket(Protocol):
    """What the exchange needs of the simulated market."""

    now_utc: Utc
    open_utc: Utc
    close_utc: Utc

    def spot(self, ticker: str) -> Spot:
        """Return the last price of an underlying."""

    def contract(self, con_id: int) -> Contract | None:
        """Return an option contract; `None` if there is none of this id."""

    def quote(self, con_id: int) -> Quote | None:
        """Return the last quote of an option; `None` before the first."""

    def settlement_ticks(self, ticker: str) -> Ticks:
        """Return the settlement price of a ticker's expiring options."""


class Account:
    """Values and margins of a portfolio at the market's quotes."""

    def __init__(self, market: QuotedMarket, cash_cents: Cents) -> None:
        self.portfolio = Portfolio(cash_cents)
        self._market = market

    def values(self) -> dict[str, Cents]:
        """Return the account in cents under IB's tags; options are marked at mid, else at the bid."""
        marked = [(p, self._mark_cents(p)) for p in self.portfolio.held()]
        value = Cents(sum(mark for _, mark in marked))
        net = self.portfolio.cash_cents + value
        margin = Cents(sum(self._short_margin_cents(p.con_id, -p.qty) for p, _ in marked if p.qty < 0))
        free = self.portfolio.cash_cents - margin
        return {
            "NetLiquidation": net,
            "TotalCashValue": self.portfolio.cash_cents,
            "SettledCash": self.portfolio.cash_cents,
            "EquityWithLoanValue": net,
            "GrossPositionValue": Cents(sum(abs(mark) for _, mark in marked)),
            "OptionMarketValue": value,
            "InitMarginReq": margin,
            "MaintMarginReq": margin,
            "AvailableFunds": free,
            "ExcessLiquidity": free,
            "BuyingPower": free,
            "UnrealizedPnL": Cents(sum(mark - p.cost_cents for p, mark in marked)),
            "RealizedPnL": self.portfolio.realised_cents,
        }

    def mark_ticks(self, con_id: int) -> float:
        """Return the mark of an option in ticks: mid, else the bid, else nothing."""
        quote = self._market.quote(con_id)
        if quote is None:
            return 0.0
        return quote.mid_x2 / 2 if quote.mid_x2 is not None else float(quote.bid_ticks or 0)

    def needed_cents(self, order: Order, selling_qty: Qty) -> tuple[Cents, Cents]:
        """Return what an order blocks and its fee, in cents; `selling_qty` is what other orders sell already."""
        contract = self._market.contract(order.con_id)
        assert contract is not None
        quote = self._market.quote(order.con_id)
        touch = (quote.ask_ticks if quote and order.side is Side.BUY else None) or Ticks(0)
        price = order.limit_ticks if order.limit_ticks is not None else touch
        fee = commission_cents(price, order.qty)
        fee = max(fee, COMMISSION_ORDER_CENTS_MIN) + exchange_fee_cents(contract, price, order.qty)
        held = self.portfolio.position(order.con_id).qty
        if order.side is Side.BUY:
            opening = max(Qty(0), order.qty - max(Qty(0), -held))
            return Cents(opening * price * contract.multiplier), fee
        short = order.qty - max(Qty(0), held - selling_qty)
        return self._short_margin_cents(order.con_id, short), fee

    def _short_margin_cents(self, con_id: int, qty: Qty) -> Cents:
        contract = self._market.contract(con_id)
        if contract is None or qty <= 0:
            return Cents(0)
        spot = self._market.spot(contract.ticker).price_ticks
        return Cents(qty * spot * contract.multiplier * SHORT_MARGIN_BPS // 10_000)

    def _mark_cents(self, position: Position) -> Cents:
        contract = self._market.contract(position.con_id)
        multiplier = contract.multiplier if contract else 0
        return Cents(round(position.qty * self.mark_ticks(position.con_id) * multiplier))
