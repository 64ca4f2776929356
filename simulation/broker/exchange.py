"""The in-process exchange and broker: orders, matching against quotes, executions, account.

Pure of sockets and clocks: time comes in with every call. It outlives every connection, so what
it holds is broker truth. The gateway server and the stepped runtime's broker port both stand on it.
"""

from __future__ import annotations

import msgspec

from domain.indices import INDICES
from domain.instants import MS, session_of
from domain.instruments import Contract, OrderType, Quote, Right, Side
from domain.options.tick_rules import rule_of
from domain.units import Cents, Qty, Ticks, Utc
from simulation.broker.account import Account
from simulation.broker.combos import INCREMENT_TICKS, INDEX_INCREMENT_TICKS, Touch, price_of, side_of, touch
from simulation.broker.events import Commission, ExchangeEvent, Execution, OrderError, PositionChange
from simulation.broker.families import Families, qty_left
from simulation.broker.fees import COMMISSION_ORDER_CENTS_MIN, commission_cents, exchange_fee_cents
from simulation.broker.orders import (
    LIFE,
    TERMINAL,
    IBStatus,
    Order,
    OrderState,
    OrderStep,
    TimeInForce,
    WhatIf,
)
from simulation.broker.portfolio import Position
from simulation.broker.quoted import QuotedMarket
from simulation.broker.working import Working

ACCOUNT = "DU1234567"  # unless told otherwise
CASH_CENTS = Cents(10_000_000)  # what an account starts with unless told otherwise
LATENCY_MS = 20  # and how long an order is on its way
PERM_IDS_OF_ACCOUNT = 20_000  # a day, of the 100,000 that a day has
# FINRA's pattern day trader rule, as far as one day goes.
DAY_TRADES_FREE_CENTS = Cents(2_500_000)
DAY_TRADES_MAX = 3


class Exchange:
    """One account at one simulated broker; every instant is given by the caller.

    `cash_cents` is what the account starts with; `latency_ms` of market time pass before an order
    can match (0: it matches within `place`). `series` sets permanent and execution ids apart from
    those of other days and runs; `None` takes the session's date. `number` (0 to 4) sets them apart from those of
    other accounts of one login.
    """

    def __init__(
        self,
        market: QuotedMarket,
        *,
        account: str = ACCOUNT,
        cash_cents: Cents = CASH_CENTS,
        latency_ms: int = LATENCY_MS,
        series: int | None = None,
        number: int = 0,
    ) -> None:
        self.market = market
        self.account = account
        self._number = number
        self._account = Account(market, cash_cents)
        self._portfolio = self._account.portfolio
        self._latency_ns = latency_ms * MS
        # What is taken is shown again after so long; a market that does not say shows a new size with each quote.
        self._refill_ns: int = getattr(market, "refill_ns", 0)
        self._orders: dict[tuple[int, int], Working] = {}
        self._open: dict[tuple[int, int], Working] = {}
        self._families = Families(self._orders)
        self._executions: list[tuple[Execution, Commission]] = []
        self._taken: dict[tuple[int, Side], tuple[Utc, Qty]] = {}
        self._ids_used: dict[int, int] = {}  # by client, in sessions that are over
        self._last_ids: dict[int, int] = {}  # by client, as far as asked for: what a search of all orders would find
        self._halted: frozenset[str] = frozenset()
        self._begin(series)

    def _begin(self, series: int | None = None) -> None:
        """Begin a session: yesterday's orders and executions are nobody's any more, positions and cash stay."""
        self._open_utc = self.market.open_utc
        series = session_of(self._open_utc).toordinal() if series is None else series
        self._series = series + (self._number << 24)
        self._perm_id = 1_000_000_000 + series % 10_000 * 100_000 + self._number * PERM_IDS_OF_ACCOUNT  # below 2**31
        self.held_at_close: tuple[Position, ...] | None = None  # as the settlement found it; `None` before
        for client_id, order_id in self._orders:
            self._ids_used[client_id] = max(self._ids_used.get(client_id, 0), order_id)
        self._orders.clear()
        self._last_ids.clear()
        self._open.clear()
        self._executions.clear()
        self._taken.clear()

    def state(self, client_id: int, order_id: int) -> OrderState | None:
        """Return the state of an order; `None` if it never reached the broker."""
        working = self._orders.get((client_id, order_id))
        return working.state() if working else None

    def open_orders(self) -> list[OrderState]:
        """Return the orders that are still alive, oldest first."""
        return [working.state() for working in self._open.values()]

    def completed(self) -> list[OrderState]:
        """Return the orders that are filled, cancelled or rejected, oldest first."""
        return [w.state() for w in self._orders.values() if w.status in TERMINAL]

    def executions(self) -> list[tuple[Execution, Commission]]:
        """Return every execution with its commission, oldest first."""
        return list(self._executions)

    def positions(self) -> list[Position]:
        """Return the positions that are not flat."""
        return self._portfolio.held()

    def position(self, con_id: int) -> Position:
        """Return the position of a contract, a flat one if there never was any."""
        return self._portfolio.position(con_id)

    def day_trades_remaining(self) -> int:
        """Return how many day trades the account may still make: -1 without a limit, as IB says it."""
        if self._account.values()["NetLiquidation"] >= DAY_TRADES_FREE_CENTS:
            return -1
        closed = {e.order.con_id for e, commission in self._executions if commission.realised_cents is not None}
        return max(0, DAY_TRADES_MAX - len(closed))

    def halt(self, ticker: str, is_halted: bool) -> None:
        """Halt trading in a ticker's options, or let it go on; during a halt nothing matches."""
        self._halted = self._halted | {ticker} if is_halted else self._halted - {ticker}

    def next_order_id(self, client_id: int) -> int:
        """Return the lowest order id that a client has not used yet, at least 1."""
        last = self._last_ids.get(client_id)
        if last is None:
            used = (oid for cid, oid in self._orders if cid == client_id)
            last = max(0, max(used, default=self._ids_used.get(client_id, 0)))  # those of orders by hand are below 0
            self._last_ids[client_id] = last
        return last + 1

    def account_values(self) -> dict[str, Cents]:
        """Return the account in cents under IB's tags; options are marked at mid, else at the bid."""
        return self._account.values()

    def mark_ticks(self, con_id: int) -> float:
        """Return the mark of an option in ticks: mid, else the bid, else nothing."""
        return self._account.mark_ticks(con_id)

    def place(
        self, order: Order, now_utc: Utc, *, pieces: tuple[Qty, ...] = (), reject: str = ""
    ) -> list[ExchangeEvent]:
        """Take a new order.

        `pieces` scripts the sizes of its fills, one a step, instead of the displayed size; a `reject`
        reason makes the broker refuse what it would have taken. A refusal is an event: 103 (id
        used), 200, 321, 110 leave no order behind, 201 leaves an Inactive one.
        """
        key = (order.client_id, order.order_id)
        if key in self._orders:
            return [_error(order, 103, "Duplicate order id")]
        bad = self._malformed(order)
        if bad:
            return [bad]
        self._perm_id += 1
        order = msgspec.structs.replace(order, perm_id=self._perm_id, account=self.account)
        reason = reject or self._refusal(order, now_utc)
        status = self._first_status(order, now_utc)
        working = Working(order, status, now_utc + self._latency_ns, list(pieces), now_utc)
        self._orders[key] = working
        if order.client_id in self._last_ids:
            self._last_ids[order.client_id] = max(self._last_ids[order.client_id], order.order_id)
        if reason:
            working.status = IBStatus.INACTIVE
            rejected = working.state()
            return [rejected, _error(order, 201, f"Order rejected - reason:{reason}"), rejected]
        self._open[key] = working
        return [working.state(), *(self._match(working, now_utc) if not self._latency_ns else ())]

    def modify(self, order: Order, now_utc: Utc) -> list[ExchangeEvent]:
        """Replace price, quantity or type of a live order.

        104 if it is done, 105 if side or contract differ; an order that is unknown is placed.
        """
        working = self._orders.get((order.client_id, order.order_id))
        if working is None:
            return self.place(order, now_utc)
        if working.status in TERMINAL:
            return [_error(order, 104, "Cannot modify a filled order.")]
        old = working.order
        is_other = (order.con_id, order.side, order.legs) != (old.con_id, old.side, old.legs)
        if is_other or order.qty <= working.filled_qty:
            return [_error(order, 105, "Order being modified does not match original order")]
        bad = self._malformed(order)
        if bad:
            return [bad]
        order = msgspec.structs.replace(order, perm_id=old.perm_id, account=self.account)
        reason = self._refusal(order, now_utc, working)
        if reason:
            return [_error(order, 201, f"Order rejected - reason:{reason}")]
        working.order = order
        working.due_utc = now_utc + self._latency_ns
        working.is_resting = False
        working.is_triggered = False
        working.status = self._first_status(order, now_utc)
        working.at_utc = now_utc
        return [working.state(), *(self._match(working, now_utc) if not self._latency_ns else ())]

    def cancel(self, client_id: int, order_id: int, now_utc: Utc) -> list[ExchangeEvent]:
        """Cancel an order: 10147 if it is unknown, 10148 with its state if it is done."""
        working = self._orders.get((client_id, order_id))
        if working is None:
            text = f"OrderId {order_id} that needs to be cancelled is not found."
            return [OrderError(client_id, order_id, 10147, text)]
        if working.status in TERMINAL:
            text = f"OrderId {order_id} that needs to be cancelled cannot be cancelled, state: "
            return [OrderError(client_id, order_id, 10148, f"{text}{working.status}.")]
        return self._cancelled(working, now_utc, "")

    def cancel_all(self, now_utc: Utc) -> list[ExchangeEvent]:
        """Cancel every live order of the account."""
        return [e for w in list(self._open.values()) for e in self._cancelled(w, now_utc, "")]

    def what_if(self, order: Order) -> WhatIf | OrderError:
        """Return what an order would block (premium of a purchase, notional of a short) and cost."""
        bad = self._malformed(order)
        if bad:
            return bad
        values = self._account.values()
        change, fee = self._account.needed_cents(order, self._selling(order))
        return WhatIf(values["InitMarginReq"], change, values["EquityWithLoanValue"], fee)

    def fill_now(self, client_id: int, order_id: int, now_utc: Utc) -> list[ExchangeEvent]:
        """Execution the rest of a live order at once, at its limit or the mark; nothing if it is done."""
        working = self._open.get((client_id, order_id))
        if working is None:
            return []
        if legs := working.order.legs:
            prices = tuple(Ticks(max(1, round(self._account.mark_ticks(leg.con_id)))) for leg in legs)
            return self._filled_combo(working, working.remaining_qty, prices, now_utc)
        price = working.order.limit_ticks
        if price is None:
            price = Ticks(max(1, round(self._account.mark_ticks(working.order.con_id))))
        return self._filled(working, working.order.qty - working.filled_qty, price, now_utc)

    def correct(self, exec_id: str, shift_ticks: Ticks, now_utc: Utc) -> list[ExchangeEvent]:
        """Correct the price of an execution by so many ticks: the same id in its next revision, beside the old one.

        Nothing comes of an id that is unknown, nor of the execution of a whole combination.
        """
        found = next(((e, c) for e, c in self._executions if e.exec_id == exec_id), None)
        if found is None:
            return []
        (old, commission), order = found, found[0].order
        contract, working = self.market.contract(order.con_id), self._orders.get((order.client_id, order.order_id))
        if contract is None or working is None:
            return []
        base, _, revision = exec_id.rpartition(".")
        new_id, cost_ticks = f"{base}.{int(revision) + 1:02d}", shift_ticks * old.qty
        if not working.order.legs:
            working.cost_ticks += cost_ticks
        change = Cents((cost_ticks if order.side is Side.BUY else -cost_ticks) * contract.multiplier)
        realised = commission.realised_cents
        self._portfolio.correct(order.con_id, change, is_opening=realised is None)
        execution = msgspec.structs.replace(
            old, exec_id=new_id, price_ticks=old.price_ticks + shift_ticks,
            cum_cost_ticks=old.cum_cost_ticks + cost_ticks,
        )  # fmt: skip
        corrected = msgspec.structs.replace(
            commission, exec_id=new_id, realised_cents=None if realised is None else realised - change
        )
        self._executions.append((execution, corrected))
        return [execution, corrected, self._position_change(order.con_id, now_utc)]

    def step(self, now_utc: Utc) -> list[ExchangeEvent]:
        """Match what can be matched by now, expire what is past its time, settle at the close."""
        if self.market.open_utc != self._open_utc:
            self._begin()
        events: list[ExchangeEvent] = []
        for working in list(self._open.values()):
            if working.status in TERMINAL:
                continue  # a fill of this very step ended it
            till = working.order.good_till_utc
            if till is not None and now_utc >= till:
                events += self._cancelled(working, now_utc, "good till date passed")
                continue
            if working.order.parent_id and (of_parent := self._families.qty_of_parent(working.order)) is not None:
                if not of_parent:
                    events += self._cancelled(working, now_utc, "parent order is cancelled")
                    continue
                if working.status is IBStatus.PRE_SUBMITTED and working.order.qty > of_parent:
                    working.order = msgspec.structs.replace(working.order, qty=of_parent)
                    events.append(working.state())
            if (
                working.status is IBStatus.PRE_SUBMITTED
                and working.order.type is not OrderType.STOP
                and self._is_trading(now_utc)
                and not self._families.waits(working.order)
            ):
                events.append(self._advance(working, OrderStep.ACTIVATED, now_utc))
            events += self._match(working, now_utc)
        # the market may lag behind the caller's clock and has no settlement price until then
        if self.market.now_utc >= self.market.close_utc and self.held_at_close is None:
            events += self._settle(now_utc)
        return events

    def _is_trading(self, now_utc: Utc) -> bool:
        return self.market.open_utc <= now_utc < self.market.close_utc

    def waits_for_open(self, order: Order, now_utc: Utc) -> bool:
        """Return whether an order that was taken waits for a session to begin."""
        state = self.state(order.client_id, order.order_id)
        return state is not None and state.status is IBStatus.PRE_SUBMITTED and not self._is_trading(now_utc)

    def _first_status(self, order: Order, now_utc: Utc) -> IBStatus:
        """Return the status of an order placed or changed: a stop waits for its trigger, a child for its parent."""
        waits = order.type is OrderType.STOP or not self._is_trading(now_utc) or self._families.waits(order)
        return IBStatus.PRE_SUBMITTED if waits else IBStatus.SUBMITTED

    def _malformed(self, order: Order) -> OrderError | None:
        contract = self.market.contract(_first_con_id(order))
        if contract is None or any(self.market.contract(leg.con_id) is None for leg in order.legs):
            return _error(order, 200, "No security definition has been found for the request")
        if order.qty <= 0:
            return _error(order, 321, "Error validating request.-'': cause - Order size is zero")
        if self._families.lacks_parent(order):
            return _error(order, 10006, "Missing parent order.")
        rule = rule_of(contract.trading_class)
        combo_increment = INDEX_INCREMENT_TICKS if contract.ticker in INDICES else INCREMENT_TICKS
        for price in _prices(order):
            if price is None or (price <= 0 and not order.legs):
                return _error(order, 321, "Error validating request.-'': cause - The price is missing")
            if price % (combo_increment if order.legs else rule.increment(price)):
                text = "The price does not conform to the minimum price variation for this contract."
                return _error(order, 110, text)
        return None

    def _refusal(self, order: Order, now_utc: Utc, old: Working | None = None) -> str:
        """Return IB's reason to reject, empty if there is none."""
        contract = self.market.contract(_first_con_id(order))
        assert contract is not None
        if order.good_till_utc is not None and order.good_till_utc <= now_utc:
            return "The good till date is in the past"
        is_over = now_utc >= self.market.close_utc
        if is_over and contract.expiry <= session_of(self.market.close_utc):
            return "Order is already expired"
        if order.type is OrderType.MARKET and not self._is_trading(now_utc):
            return "Exchange is closed."
        if self._families.is_covered(order) or (old is not None and self._held_against(order, old)):
            return ""
        if self._account.needed_cents(order, self._selling(order))[0] > self._account.available_cents():
            return "Available funds are insufficient for this order"
        return ""

    def _held_against(self, order: Order, old: Working) -> bool:
        """Return whether a modification asks for no more than what was accepted."""
        return order.side is Side.SELL and order.qty <= old.order.qty

    def _selling(self, order: Order) -> Qty:
        """Return what other live orders already sell of the contract."""
        own = (order.client_id, order.order_id)
        others = (
            w.order.qty - w.filled_qty
            for key, w in self._open.items()
            if key != own and w.order.con_id == order.con_id and w.order.side is Side.SELL
        )
        return Qty(sum(others))

    def _advance(self, working: Working, step: OrderStep, now_utc: Utc) -> OrderState:
        working.status = LIFE.next(working.status, step)
        working.at_utc = now_utc
        if working.status in TERMINAL:
            del self._open[working.order.client_id, working.order.order_id]
        return working.state()

    def _cancelled(self, working: Working, now_utc: Utc, reason: str) -> list[ExchangeEvent]:
        state = self._advance(working, OrderStep.CANCELLED, now_utc)
        return [state, _error(working.order, 202, f"Order Canceled - reason:{reason}")]

    def _match(self, working: Working, now_utc: Utc) -> list[ExchangeEvent]:
        order = working.order
        if now_utc < working.due_utc or not self._is_trading(now_utc) or self._families.waits(order):
            return []
        if self._halted and self._is_halted(_first_con_id(order)):
            return []
        if order.legs:
            return self._match_combo(working, now_utc)
        quote = self._met(order.con_id)
        if quote is None:
            return []
        events: list[ExchangeEvent] = []
        if order.type is OrderType.STOP and not working.is_triggered:
            if not _is_stop_touched(order, quote):
                return []
            working.is_triggered = True
            events.append(self._advance(working, OrderStep.ACTIVATED, now_utc))
        is_buy = order.side is Side.BUY
        touch = quote.ask_ticks if is_buy else quote.bid_ticks
        limit = order.limit
        if touch and (limit is None or (touch <= limit if is_buy else touch >= limit)):
            price = limit if working.is_resting and limit is not None else touch
            qty = self._available(working, quote)
            if qty:
                events += self._filled(working, qty, price, now_utc)
        else:
            working.is_resting = True
        if order.tif is TimeInForce.IOC and working.status not in TERMINAL:
            events += self._cancelled(working, now_utc, "immediate or cancel")
        return events

    def _match_combo(self, working: Working, now_utc: Utc) -> list[ExchangeEvent]:
        """Fill all legs together at their touches, or none."""
        order, now = working.order, self._touch(working.order)
        events: list[ExchangeEvent] = []
        if now is not None and now.qty > 0 and _is_within(order, now.price_ticks):
            wanted = working.pieces.pop(0) if working.pieces else now.qty
            events += self._filled_combo(working, min(wanted, working.remaining_qty), now.leg_ticks, now_utc)
        if order.tif is TimeInForce.IOC and working.status not in TERMINAL:
            events += self._cancelled(working, now_utc, "immediate or cancel")
        return events

    def _touch(self, order: Order) -> Touch | None:
        """Return what a combination trades at now; `None` where it does not."""
        return touch(self._met, order)

    def _met(self, con_id: int) -> Quote | None:
        """Return the quote that an order meets; `None` where nothing trades."""
        return self.market.quote(con_id)

    def _is_halted(self, con_id: int) -> bool:
        contract = self.market.contract(con_id)
        return contract is not None and contract.ticker in self._halted

    def _available(self, working: Working, quote: Quote) -> Qty:
        """Return what may fill now: the next scripted piece, else what the quote displays, untaken."""
        order = working.order
        remaining = order.qty - working.filled_qty
        if working.pieces:
            return min(remaining, working.pieces.pop(0))
        key = (order.con_id, order.side)
        displayed = quote.ask_size if order.side is Side.BUY else quote.bid_size
        at_utc, taken = self._taken.get(key, (Utc(0), Qty(0)))
        taken = taken if 0 <= quote.at_utc - at_utc <= self._refill_ns else Qty(0)
        qty = max(Qty(0), min(remaining, displayed - taken))
        if qty:
            self._taken[key] = (quote.at_utc, taken + qty)
        return qty

    def _filled(self, working: Working, qty: Qty, price: Ticks, now_utc: Utc) -> list[ExchangeEvent]:
        order = working.order
        contract = self.market.contract(order.con_id)
        assert contract is not None
        working.filled_qty += qty
        working.cost_ticks += qty * price
        working.last_fill_ticks = price
        before = max(working.commission_cents, COMMISSION_ORDER_CENTS_MIN)
        first = working.filled_qty == qty
        working.commission_cents += commission_cents(price, qty)
        after = max(working.commission_cents, COMMISSION_ORDER_CENTS_MIN)
        fee = after - (Cents(0) if first else before) + exchange_fee_cents(contract, price, qty)
        realised = self._portfolio.fill(contract, order.side, qty, price, fee)
        is_all = working.filled_qty == order.qty
        step = OrderStep.FILLED_ALL if is_all else OrderStep.FILLED_PART
        state = self._advance(working, step, now_utc)
        exec_id = f"{self._series:08x}.{len(self._executions) + 1:08x}.01.01"
        execution = Execution(exec_id, order, qty, price, working.filled_qty, working.cost_ticks, now_utc)
        commission = Commission(exec_id, order, fee, realised)
        self._executions.append((execution, commission))
        position = self._position_change(order.con_id, now_utc)
        return [execution, state, commission, position, *self._fit_others(working, qty, now_utc)]

    def _filled_combo(
        self, working: Working, qty: Qty, leg_ticks: tuple[Ticks, ...], now_utc: Utc
    ) -> list[ExchangeEvent]:
        """Fill so many combinations: an execution of the whole, one for each leg, and the legs' positions."""
        order, price = working.order, price_of(working.order.legs, leg_ticks)
        working.filled_qty += qty
        working.cost_ticks += qty * price
        working.last_fill_ticks = price
        is_all = working.filled_qty == order.qty
        base = f"{self._series:08x}.{len(self._executions) + 1:08x}"
        whole = Execution(f"{base}.01.01", order, qty, price, working.filled_qty, working.cost_ticks, now_utc)
        fills: list[tuple[Execution, Commission]] = [(whole, Commission(whole.exec_id, order, Cents(0), None))]
        positions: list[PositionChange] = []
        for number, (leg, leg_price) in enumerate(zip(order.legs, leg_ticks, strict=True), start=2):
            contract = self.market.contract(leg.con_id)
            assert contract is not None  # the order was taken
            leg_qty, side = Qty(leg.ratio * qty), side_of(leg, order)
            of_leg = msgspec.structs.replace(order, con_id=leg.con_id, side=side, legs=())
            commission = commission_cents(leg_price, leg_qty)
            working.commission_cents += commission
            if is_all and number == len(order.legs) + 1:  # the last one bears what is missing to the order's minimum
                commission += max(Cents(0), COMMISSION_ORDER_CENTS_MIN - working.commission_cents)
            fee = commission + exchange_fee_cents(contract, leg_price, leg_qty)
            realised = self._portfolio.fill(contract, side, leg_qty, leg_price, fee)
            own = [e for e, _ in self._executions if e.order.perm_id == order.perm_id and e.order.con_id == leg.con_id]
            cum_qty = Qty(leg_qty + sum(e.qty for e in own))
            cost_ticks = leg_qty * leg_price + sum(e.qty * e.price_ticks for e in own)
            execution = Execution(f"{base}.{number:02d}.01", of_leg, leg_qty, leg_price, cum_qty, cost_ticks, now_utc)
            fills.append((execution, Commission(execution.exec_id, of_leg, fee, realised)))
            positions.append(self._position_change(leg.con_id, now_utc))
        state = self._advance(working, OrderStep.FILLED_ALL if is_all else OrderStep.FILLED_PART, now_utc)
        self._executions += fills
        executions = [execution for execution, _ in fills]
        commissions = [commission for _, commission in fills]
        return [*executions, state, *commissions, *positions, *self._fit_others(working, qty, now_utc)]

    def _position_change(self, con_id: int, now_utc: Utc, settled_cents: Cents | None = None) -> PositionChange:
        return PositionChange(self._portfolio.position(con_id), now_utc, settled_cents, self.account)

    def _fit_others(self, filled: Working, qty: Qty, now_utc: Utc) -> list[ExchangeEvent]:
        """Cancel or reduce the other orders of the group of one that has filled."""
        events: list[ExchangeEvent] = []
        for other in self._families.others(filled.order):
            left = qty_left(other, filled, qty)
            if left == 0:
                events += self._cancelled(other, now_utc, "another order of its group has filled")
            elif left < other.remaining_qty:
                other.order = msgspec.structs.replace(other.order, qty=other.filled_qty + left)
                events.append(other.state())
        return events

    def _settle(self, now_utc: Utc) -> list[ExchangeEvent]:
        """Cancel what is left of the day and pay out what expired, in cash."""
        self.held_at_close = tuple(self._portfolio.held())
        events: list[ExchangeEvent] = []
        for working in list(self._open.values()):
            events += self._cancelled(working, now_utc, "end of day")
        today = session_of(self.market.close_utc)
        for position in self._portfolio.held():
            contract = self.market.contract(position.con_id)
            if contract is None or contract.expiry > today:
                continue
            paid = self._portfolio.settle(contract, self._intrinsic_ticks(contract))
            events.append(self._position_change(contract.con_id, now_utc, paid))
        return events

    def _intrinsic_ticks(self, contract: Contract) -> Ticks:
        gap = self.market.settlement_ticks(contract.ticker) - contract.strike_ticks
        return max(Ticks(0), gap if contract.right is Right.CALL else -gap)


def _error(order: Order, code: int, text: str) -> OrderError:
    return OrderError(order.client_id, order.order_id, code, text)


def _first_con_id(order: Order) -> int:
    """Return the contract of an order, of a combination that of its first leg."""
    return order.legs[0].con_id if order.legs else order.con_id


def _is_within(order: Order, price: Ticks) -> bool:
    """Return whether an order may trade at a price."""
    limit = order.limit
    return limit is None or (price <= limit if order.side is Side.BUY else price >= limit)


def _prices(order: Order) -> tuple[Ticks | None, ...]:
    """Return the prices that an order of its type must have."""
    stop = (order.stop_ticks,) if order.type is OrderType.STOP else ()
    return (*stop, order.limit_ticks) if order.type is OrderType.LIMIT or order.is_stop_limit else stop


def _is_stop_touched(order: Order, quote: Quote) -> bool:
    """Return whether the touch that the stop would trade at has reached its trigger."""
    trigger = order.stop_ticks or 0
    if order.side is Side.BUY:
        return quote.ask_ticks is not None and quote.ask_ticks >= trigger
    return quote.bid_ticks is not None and quote.bid_ticks <= trigger
