"""The order session's port of the stepped runtime: the broker conversation over the in-process exchange."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from msgspec.structs import replace

from domain.instants import MS, SECOND
from domain.instruments import Contract
from domain.orders.capabilities import CAPABILITIES, IB, BrokerCapability
from domain.orders.combo import ComboLeg, refusal_of
from domain.orders.request import OrderChange, OrderRequest
from domain.orders.table import CodeMeaning
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.units import Cents
from gateways.ib.codes import STATUSES, meaning_of
from messages import broker
from simulation.broker.events import Commission, ExchangeEvent, Execution, OrderError, PositionChange
from simulation.broker.exchange import Exchange
from simulation.broker.orders import TERMINAL, Leg, Order, OrderState, TimeInForce, WhatIf
from simulation.broker.portfolio import Position
from simulation.inprocess.port import PAPER, STEP_NS, LinkedPort, Login
from simulation.market.market import Market
from supervision.stepped import SteppedRuntime

CLIENT_ID = 11
READ_NS = 20 * MS  # a read-back that took no time would let an actor ask for ever within one instant
ACCOUNT_EVERY_NS = 60 * SECOND
CLOCK_EVERY_NS = 30 * SECOND
WHY_DENIED = "last check at the port"
NOT_CANCELLED = "cannot cancel: not connected, or not of this session"


class InProcessBroker(LinkedPort[broker.BrokerCommand], broker.BrokerPort):
    """The order session over the in-process exchange, whose own open orders it knows from the start."""

    step_ns = STEP_NS  # between two looks of the exchange at its orders

    def __init__(
        self, owner: str, runtime: SteppedRuntime, market: Market, exchange: Exchange, login: Login = PAPER
    ) -> None:
        super().__init__(owner, runtime, market, login)
        self._exchange = exchange
        self._desk = owner.partition(":")[2]
        own = [state.order for state in exchange.open_orders() if state.order.client_id == CLIENT_ID]
        self._orders: dict[str, Order] = {order.order_ref: order for order in own}
        self._refs: dict[int, str] = {order.order_id: order.order_ref for order in own}
        self._latch = broker.LatchKill(level=KillLevel.RUNNING, kill_epoch=0)
        self._every(self.step_ns, self._step)

    @property
    def capabilities(self) -> frozenset[BrokerCapability]:
        """What this broker can do: it stands for IB."""
        return CAPABILITIES[IB]

    def _take(self, command: broker.BrokerCommand) -> None:
        match command:
            case broker.Dial():
                self._dial(command)
            case broker.CloseLink():
                self._is_up = False
            case broker.ReadBack():
                self._later(READ_NS, lambda: self._read_back(command))
            case broker.LatchKill():
                if command.kill_epoch >= self._latch.kill_epoch:
                    self._latch = command
            case broker.PlaceOrder():
                self._place(command)
            case broker.AmendOrder():
                self._amend(command)
            case broker.WithdrawOrder():
                self._withdraw(command)
            case broker.CancelEverything():
                self._cancel_everything(command)
            case broker.AskMargin():
                self._tell_margin(command)
            case _:
                assert_never(command)

    def _on_link(self) -> None:
        self._report_account()
        self._report_clock()

    def _report_account(self) -> None:
        if not self._is_up:
            return
        values = self._exchange.account_values()
        self._tell(
            broker.AccountRead(
                session_epoch=self._epoch, nav_cents=values["NetLiquidation"], available_cents=values["AvailableFunds"],
                buying_power_cents=values["BuyingPower"],
                day_trades_remaining=self._exchange.day_trades_remaining(), read_utc=self._market_now(),
            )
        )  # fmt: skip

    def _report_clock(self) -> None:
        """Tell that the broker's clock is ours."""
        if self._is_up:
            self._tell(
                broker.ClockRead(
                    session_epoch=self._epoch, least_ms=0, most_ms=0, round_trip_ms=0, read_utc=self._now()
                )
            )

    def _step(self) -> None:
        now = self._market_now()
        self._report(self._exchange.step(now))
        if now % ACCOUNT_EVERY_NS < self.step_ns:
            self._report_account()
        if now % CLOCK_EVERY_NS < self.step_ns:
            self._report_clock()

    # orders out

    def _refusal(
        self, order: OrderRequest | OrderChange, command: broker.PlaceOrder | broker.AmendOrder
    ) -> RejectCode | None:
        """Return why the last check refuses an order; `None` where it may be written."""
        if not self._is_up:
            return RejectCode.NOT_CONNECTED
        if command.session_epoch != self._epoch:
            return RejectCode.PERMIT_SESSION
        if self._now() > order.deadline_utc:
            return RejectCode.DEADLINE_PASSED
        latch = self._latch
        is_latched = latch.level > KillLevel.RUNNING or command.kill_epoch < latch.kill_epoch
        if not order.is_exit and (is_latched or self._runtime.latched or self._desk in self._runtime.latched_groups):
            return RejectCode.PERMIT_KILLED
        return None

    def _place(self, command: broker.PlaceOrder) -> None:
        request = command.order
        code, till = self._refusal(request, command), request.good_till_utc
        if code is None and request.order_ref in self._orders:
            code = RejectCode.DUPLICATE_REF
        if code is None and till is not None and till <= self._now():
            code = RejectCode.DEADLINE_PASSED
        why = WHY_DENIED
        if code is None and command.legs and (unknown := refusal_of(command.legs, self.capabilities)) is not None:
            code, why = RejectCode.UNKNOWN_CONTRACT, unknown
        if code is not None:
            self._tell(broker.OrderDenied(order_ref=request.order_ref, code=code, why=why))
            return
        now = self._market_now()
        order = replace(
            _order_of(request, command.legs), order_id=self._exchange.next_order_id(CLIENT_ID),
            stop_ticks=request.stop_ticks, good_till_utc=till,
            tif=TimeInForce.DAY if till is None else TimeInForce.GTD,
        )  # fmt: skip
        self._orders[order.order_ref] = order
        self._refs[order.order_id] = order.order_ref
        self._tell(
            broker.OrderSent(
                order_ref=order.order_ref, session_epoch=self._epoch, order_id=order.order_id, sent_utc=now
            )
        )
        self._report(self._exchange.place(order, now))

    def _amend(self, command: broker.AmendOrder) -> None:
        change = command.change
        code = self._refusal(change, command)
        known = self._orders.get(change.order_ref)
        if code is not None or known is None:
            denied = code or RejectCode.NOT_CONNECTED
            self._tell(broker.OrderDenied(order_ref=change.order_ref, code=denied, why=WHY_DENIED))
            return
        order = replace(known, qty=change.qty, type=change.order_type, limit_ticks=change.limit_ticks)
        self._orders[change.order_ref] = order
        self._report(self._exchange.modify(order, self._market_now()))

    def _withdraw(self, command: broker.WithdrawOrder) -> None:
        known = self._orders.get(command.order_ref)
        if known is not None and self._is_up and command.session_epoch == self._epoch:
            self._report(self._exchange.cancel(CLIENT_ID, known.order_id, self._market_now()))
            return
        self._not_cancelled(command.order_ref, command.session_epoch, CodeMeaning.ORDER_UNKNOWN)

    def _cancel_everything(self, command: broker.CancelEverything) -> None:
        if self._is_up and command.session_epoch == self._epoch:
            self._report(self._exchange.cancel_all(self._market_now()))
            return
        self._not_cancelled(None, command.session_epoch, CodeMeaning.LINK)

    def _tell_margin(self, command: broker.AskMargin) -> None:
        """Tell what the exchange says that an order would block; nothing where it says nothing."""
        found = None
        if self._is_up and command.session_epoch == self._epoch:
            self._market_now()
            found = self._exchange.what_if(_order_of(command.order, command.legs))
        why = "" if isinstance(found, WhatIf) else "not connected" if found is None else found.text
        self._tell(
            broker.MarginTold(
                session_epoch=command.session_epoch, request_id=command.request_id, reply_to=command.reply_to,
                init_margin_change_cents=found.margin_change_cents if isinstance(found, WhatIf) else None, why=why,
            )
        )  # fmt: skip

    def _not_cancelled(self, order_ref: str | None, epoch: int, meaning: CodeMeaning) -> None:
        self._tell(
            broker.ErrorReported(
                session_epoch=epoch, order_ref=order_ref, vendor_code=0, text=NOT_CANCELLED, meaning=meaning
            )
        )

    # what the exchange reports

    def _report(self, events: Iterable[ExchangeEvent]) -> None:
        if not self._is_up:
            return
        for event in events:
            match event:
                case OrderState():
                    if event.order.client_id == CLIENT_ID:  # a status of another client's order is not told
                        self._tell(self._status(event))
                case Execution():
                    self._tell(broker.ExecutionReported(session_epoch=self._epoch, execution=_execution(event)))
                case Commission():
                    base, revision = _split(event.exec_id)
                    self._tell(
                        broker.CommissionReported(
                            session_epoch=self._epoch, exec_id=base, revision=revision,
                            commission_cents=event.fee_cents, raw=event.exec_id,
                        )
                    )  # fmt: skip
                case PositionChange():
                    self._tell(
                        broker.PositionReported(
                            session_epoch=self._epoch, contract=self._contract(event.position.con_id),
                            qty=event.position.qty, avg_cost_cents=_average_cents(event.position),
                        )
                    )  # fmt: skip
                case OrderError():
                    ref = self._refs.get(event.order_id) if event.client_id == CLIENT_ID else None
                    self._tell(
                        broker.ErrorReported(
                            session_epoch=self._epoch, order_ref=ref, vendor_code=event.code, text=event.text,
                            meaning=meaning_of(event.code),
                        )
                    )  # fmt: skip
                case _:
                    assert_never(event)

    def _contract(self, con_id: int) -> Contract:
        contract = self._market.contract(con_id)
        if contract is None:
            raise LookupError(f"no contract {con_id} in this market")
        return contract

    def _status(self, state: OrderState) -> broker.OrderStatusReported:
        order = state.order
        return broker.OrderStatusReported(
            session_epoch=self._epoch, order_ref=order.order_ref, perm_id=order.perm_id,
            status=STATUSES[state.status.value], filled_qty=state.filled_qty, remaining_qty=state.remaining_qty,
            qty=order.qty, order_type=order.type, limit_ticks=order.limit_ticks, raw=state.status.value,
        )  # fmt: skip

    # the read-back

    def _read_back(self, command: broker.ReadBack) -> None:
        if not self._is_up or command.session_epoch != self._epoch:
            self._tell(
                broker.BrokerReadFailed(session_epoch=command.session_epoch, read_n=command.read_n, why="not connected")
            )
            return
        states = [*self._exchange.open_orders(), *self._exchange.completed()]
        executions = self._exchange.executions()
        self._tell(
            broker.BrokerRead(
                session_epoch=self._epoch, read_n=command.read_n, read_utc=self._market_now(),
                orders=tuple(_broker_order(state) for state in states),
                executions=tuple(_execution(execution) for execution, _ in executions),
                positions=tuple(
                    broker.BrokerPosition(
                        contract=self._contract(p.con_id), qty=p.qty, avg_cost_cents=_average_cents(p)
                    )
                    for p in self._exchange.positions()
                ),
            )
        )  # fmt: skip
        self._report(commission for _, commission in executions)


def _order_of(request: OrderRequest, legs: tuple[ComboLeg, ...]) -> Order:
    """Return an order as the exchange takes it, without an id of its own."""
    return Order(
        con_id=request.contract.con_id, side=request.side, qty=request.qty,
        type=request.order_type, client_id=CLIENT_ID, order_id=0, limit_ticks=request.limit_ticks,
        order_ref=request.order_ref, legs=tuple(Leg(leg.contract.con_id, leg.ratio, leg.side) for leg in legs),
    )  # fmt: skip


def _broker_order(state: OrderState) -> broker.BrokerOrder:
    order = state.order
    return broker.BrokerOrder(
        order_ref=order.order_ref, perm_id=order.perm_id, con_id=order.con_id, side=order.side, qty=order.qty,
        filled_qty=state.filled_qty, order_type=order.type, limit_ticks=order.limit_ticks,
        status=STATUSES[state.status.value], is_working=state.status not in TERMINAL,
        is_of_other_client=order.client_id != CLIENT_ID,
    )  # fmt: skip


def _average_cents(position: Position) -> Cents:
    """Return the cost of one contract, opening fees and multiplier in it, as the broker tells it."""
    return Cents(round(position.cost_cents / position.qty)) if position.qty else Cents(0)


def _execution(execution: Execution) -> broker.Execution:
    base, revision = _split(execution.exec_id)
    order = execution.order
    return broker.Execution(
        exec_id=base, revision=revision, order_ref=order.order_ref, perm_id=order.perm_id, con_id=order.con_id,
        side=order.side, qty=execution.qty, price_ticks=execution.price_ticks, at_utc=execution.at_utc,
        raw=execution.exec_id,
    )  # fmt: skip


def _split(exec_id: str) -> tuple[str, int]:
    base, _, revision = exec_id.rpartition(".")
    return base, int(revision)
