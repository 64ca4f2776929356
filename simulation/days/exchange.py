"""The exchange of a faulty day: scripted refusals and pieces, halts, and the next instant at which anything can happen.

It matches at whole seconds and before it hears what is sent in that same instant: the tie-break that both ways of
stepping a day keep to.
"""

from __future__ import annotations

from msgspec.structs import replace

from domain.instants import SECOND
from domain.instruments import OrderType, Side
from domain.units import Cents, Qty, Ticks, Utc
from simulation.broker.events import Commission, ExchangeEvent, Execution, OrderError
from simulation.broker.exchange import Exchange
from simulation.broker.orders import IBStatus, Order
from simulation.days.coverage import Coverage
from simulation.days.faults import Fault
from simulation.days.pieces import contracts_of
from simulation.days.plan import DayPlan
from simulation.days.tape import TapeMarket

HAND_CLIENT_ID = 0  # who trades by hand

_REFUSALS = {
    Fault.NEW_NO_SECURITY: (200, "No security definition has been found for the request"),
    Fault.NEW_DUPLICATE_ID: (103, "Duplicate order id"),
    Fault.NEW_OFF_TICK: (110, "The price does not conform to the minimum price variation for this contract."),
}
_NOTICES = (
    (399, "Order Message: your order will not be placed at the exchange until later"),
    (10349, "Order TIF was set to DAY based on order preset."),
)


def grid_after(instant_utc: Utc) -> Utc:
    """Return the first whole second after an instant."""
    return Utc(instant_utc - instant_utc % SECOND + SECOND)


def grid_from(instant_utc: Utc) -> Utc:
    """Return the first whole second from an instant on."""
    return Utc(-(-instant_utc // SECOND) * SECOND)


class DayExchange(Exchange):
    """One account on a tape; `version` counts what happened to orders and positions."""

    def __init__(
        self, market: TapeMarket, plan: DayPlan, coverage: Coverage, cash_cents: Cents, series: int, number: int = 0
    ) -> None:
        super().__init__(market, cash_cents=cash_cents, series=series, number=number)
        self.tape = market
        self._plan = plan
        self._coverage = coverage
        self.halts: dict[str, Utc] = {}
        self.version = 0
        self.changed_utc = Utc(0)
        self.touched: set[int] = set()

    # -- faults at the exchange -------------------------------------------------------------------

    def place(
        self, order: Order, now_utc: Utc, *, pieces: tuple[Qty, ...] = (), reject: str = ""
    ) -> list[ExchangeEvent]:
        """Take a new order, or refuse it as the day's plan says."""
        self._note(order.con_id, now_utc)
        fault = self._plan.fault_of("new", order.order_ref) if order.order_ref else None
        if fault in _REFUSALS:
            self._coverage.fault(fault)
            code, text = _REFUSALS[fault]
            return [OrderError(order.client_id, order.order_id, code, text)]
        if fault is Fault.NEW_REJECTED:
            self._coverage.fault(fault)
            reject = "Order rejected by the broker's risk check"
        if fault is Fault.PARTIAL_FILLS and order.qty > 1:
            self._coverage.fault(fault)
            draw = self._plan.drawn("pieces", order.order_ref)
            pieces = tuple(Qty(draw.randrange(1, order.qty)) for _ in range(order.qty))
        events = super().place(order, now_utc, pieces=pieces, reject=reject)
        if fault is Fault.NEW_NOTICE:
            self._coverage.fault(fault)
            events += [OrderError(order.client_id, order.order_id, code, text) for code, text in _NOTICES]
        return events

    def fill_now(self, client_id: int, order_id: int, now_utc: Utc) -> list[ExchangeEvent]:
        """Fill the rest of a live order at once, if the exchange is trading."""
        working = self._open.get((client_id, order_id))
        contract = None if working is None else self.market.contract(contracts_of(working.order)[0][0])
        if working is None or contract is None or not self._is_open_for(contract.ticker, now_utc):
            return []
        self._note(working.order.con_id, now_utc)
        return super().fill_now(client_id, order_id, now_utc)

    def revise(self, exec_id: str) -> tuple[Execution, Commission] | None:
        """Correct an execution's price by one increment against the account; return its next revision."""
        for at, (execution, commission) in enumerate(self._executions):
            if execution.exec_id != exec_id or execution.order.legs:  # a combination's whole holds nothing
                continue
            base, _, revision = exec_id.rpartition(".")
            changed_id = f"{base}.{int(revision) + 1:02d}"
            worse = 5 if execution.order.side is Side.BUY else -5
            price = max(5, execution.price_ticks + worse)
            corrected = replace(execution, exec_id=changed_id, price_ticks=price)
            charged = replace(commission, exec_id=changed_id)
            signed = execution.qty if execution.order.side is Side.BUY else -execution.qty
            self._portfolio.cash_cents -= Cents((price - execution.price_ticks) * signed * 100)
            self._executions[at] = corrected, charged
            return corrected, charged
        return None

    def forget(self, order: Order, now_utc: Utc) -> None:
        """Know nothing of a live order any more."""
        key = (order.client_id, order.order_id)
        del self._open[key], self._orders[key]
        self._last_ids.clear()
        self._note(order.con_id, now_utc)

    def halt_until(self, ticker: str, until_utc: Utc) -> None:
        """Halt an underlying's options until an instant."""
        self.halts[ticker] = until_utc
        self.halt(ticker, True)

    def _is_open_for(self, ticker: str, now_utc: Utc) -> bool:
        return self._is_trading(now_utc) and now_utc >= self.halts.get(ticker, Utc(0))

    # -- what is watched --------------------------------------------------------------------------

    def modify(self, order: Order, now_utc: Utc) -> list[ExchangeEvent]:
        """Change a live order."""
        self._note(order.con_id, now_utc)
        return super().modify(order, now_utc)

    def step(self, now_utc: Utc) -> list[ExchangeEvent]:
        """Match what can be matched by now."""
        for ticker in self._halted:
            if now_utc >= self.halts.get(ticker, Utc(0)):
                self.halt(ticker, False)
        events = super().step(now_utc)
        for event in events:
            match event:
                case Execution() | Commission():
                    self._note(event.order.con_id, now_utc)
                case _:
                    pass
        if events:
            self.version += 1
            self.changed_utc = now_utc
        return events

    def _note(self, con_id: int, now_utc: Utc) -> None:
        self.version += 1
        self.changed_utc = now_utc
        self.touched.add(con_id)

    # -- when to look again -----------------------------------------------------------------------

    def next_due(self, now_utc: Utc) -> Utc | None:
        """Return the next whole second after now at which `step` could change anything; `None` where none could."""
        market = self.tape
        due = [] if self.held_at_close is not None else [market.close_utc]
        for working in self._open.values():
            order = working.order
            if order.good_till_utc is not None:
                due.append(grid_from(order.good_till_utc))
            contract = market.contract(order.con_id)
            ticker = "" if contract is None else contract.ticker
            first_utc = max(
                grid_from(working.due_utc), grid_after(now_utc), grid_from(market.open_utc),
                grid_from(self.halts.get(ticker, Utc(0))),
            )  # fmt: skip
            if first_utc >= market.close_utc:
                continue
            second = market.second_of(first_utc)
            if order.type is OrderType.STOP and not working.is_triggered:
                crossing = market.touching(order.con_id, order.side, order.stop_ticks or Ticks(0), second)
            elif not working.is_resting or working.status is IBStatus.PRE_SUBMITTED:
                crossing = second
            else:
                limit = order.limit_ticks if order.type is OrderType.LIMIT else None
                crossing = market.crossing(order.con_id, order.side, limit, second)
            if crossing is not None:
                due.append(market.instant_of(crossing))
        return min((max(at, grid_after(now_utc)) for at in due), default=None)
