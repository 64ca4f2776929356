"""The simulated broker's account: what it is worth, what orders need of it, all in `_cents`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from domain.instruments import Side
from domain.orders.combo import Holding, worst_loss_cents
from domain.units import Cents, Qty, Ticks
from simulation.broker.combos import price_of, side_of, touch
from simulation.broker.fees import COMMISSION_ORDER_CENTS_MIN, commission_cents, exchange_fee_cents
from simulation.broker.orders import Order
from simulation.broker.portfolio import Portfolio, Position
from simulation.broker.quoted import QuotedMarket

# IB's Reg-T rule for a short option starts at 15 to 20 % of the notional; one figure does here.
SHORT_MARGIN_BPS = 2_000


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
        margin = self._margin_of_held()
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

    def available_cents(self) -> Cents:
        """Return what is free for orders, as `values` has it under AvailableFunds."""
        return Cents(self.portfolio.cash_cents - self._margin_of_held())

    def mark_ticks(self, con_id: int) -> float:
        """Return the mark of an option in ticks: mid, else the bid, else nothing."""
        quote = self._market.quote(con_id)
        if quote is None:
            return 0.0
        return quote.mid_x2 / 2 if quote.mid_x2 is not None else float(quote.bid_ticks or 0)

    def needed_cents(self, order: Order, selling_qty: Qty) -> tuple[Cents, Cents]:
        """Return what an order blocks and its fee, in cents; `selling_qty` is what other orders sell already."""
        if order.legs:
            return self._needed_for_combo(order)
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

    def _needed_for_combo(self, order: Order) -> tuple[Cents, Cents]:
        """Return what a combination adds to the margin together with what it costs, and its fee."""
        now = touch(self._market.quote, order)
        prices = now.leg_ticks if now else tuple(Ticks(round(self.mark_ticks(leg.con_id))) for leg in order.legs)
        price = order.limit if order.limit is not None else price_of(order.legs, prices)
        added: list[Holding] = []
        fee = Cents(0)
        commission = Cents(0)
        for leg, leg_price in zip(order.legs, prices, strict=True):
            contract = self._market.contract(leg.con_id)
            assert contract is not None  # the order was looked at before
            qty = Qty(leg.ratio * order.qty)
            added.append((contract, qty if side_of(leg, order) is Side.BUY else Qty(-qty)))
            commission += commission_cents(leg_price, qty)
            fee += exchange_fee_cents(contract, leg_price, qty)
        held = self._holdings()
        change = self._margin_cents([*held, *added]) - self._margin_cents(held)
        debit = order.qty * price * added[0][0].multiplier * (1 if order.side is Side.BUY else -1)
        return Cents(max(0, change + debit)), fee + max(commission, COMMISSION_ORDER_CENTS_MIN)

    def _holdings(self) -> list[Holding]:
        held = ((self._market.contract(p.con_id), p.qty) for p in self.portfolio.held())
        return [(contract, qty) for contract, qty in held if contract is not None]

    def _margin_of_held(self) -> Cents:
        """Return the margin of what is held: none where nothing is short."""
        is_short = any(position.qty < 0 for position in self.portfolio.held())
        return self._margin_cents(self._holdings()) if is_short else Cents(0)

    def _margin_cents(self, holdings: Iterable[Holding]) -> Cents:
        """Return the margin of holdings: by ticker that of its naked shorts, or the most that all can lose if less."""
        by_ticker: dict[str, dict[int, Holding]] = defaultdict(dict)
        for contract, qty in holdings:
            before = by_ticker[contract.ticker].get(contract.con_id, (contract, Qty(0)))[1]
            by_ticker[contract.ticker][contract.con_id] = contract, before + qty
        margin = 0
        for positions in by_ticker.values():
            naked = sum(self._short_margin_cents(c.con_id, Qty(-qty)) for c, qty in positions.values())
            worst = worst_loss_cents(list(positions.values())) if naked else None
            margin += naked if worst is None else min(naked, worst)
        return Cents(margin)

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
