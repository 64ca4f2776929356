"""The ports of the stepped runtime: the same commands and facts as the real ones, over the in-process exchange.

All of them share one `Market` and move it to the virtual instant in hand before they look at it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from domain.instants import MS, SECOND
from domain.instruments import Contract
from domain.risk.reject import RejectCode
from gateways.ib.codes import STATUSES, meaning_of
from messages import orders, positions, risk, session
from messages.base import Message
from simulation.broker.exchange import Exchange
from simulation.broker.records import Commission, Event, Execution, Order, OrderError, OrderState, PositionChange
from simulation.market.market import Market
from supervision.stepped import SteppedRuntime

CLIENT_ID = 11
LINK_NS = 5 * MS
STEP_NS = SECOND
_WORKING = ("PreSubmitted", "Submitted")


class Port:
    """What the in-process ports have in common: a name, an owner, and the runtime's virtual time."""

    def __init__(self, owner: str, runtime: SteppedRuntime, world: Market) -> None:
        self.owner = owner
        self.name = f"port:{owner}"
        self._runtime = runtime
        self._market = world
        self._epoch = 0
        self._is_up = False
        self._down_until_utc = 0
        runtime.sinks[self.name] = self.post

    def post(self, command: Message) -> None:
        """Take a command; what it brings about comes later, never on the caller's stack."""
        self._runtime.call_at(self._runtime.clock.now_utc(), lambda: self._take(command))

    def _take(self, command: Any) -> None:
        raise NotImplementedError

    def _tell(self, message: Message) -> None:
        self._runtime.post(self.owner, message, self.name)

    def _now(self) -> int:
        now = self._runtime.clock.now_utc()
        self._market.step(max(now, self._market.now_utc))
        return now

    def _later(self, wait_ns: int, act: Callable[[], None]) -> None:
        self._runtime.call_at(self._runtime.clock.now_utc() + wait_ns, act)

    def _every(self, period_ns: int, act: Callable[[], None]) -> None:
        def again() -> None:
            act()
            if self._runtime.clock.now_utc() <= self._market.close_utc + 600 * SECOND:
                self._later(period_ns, again)

        self._later(period_ns, again)

    def drop(self, duration_ns: int) -> None:
        """Lose the link now and refuse dials for `duration_ns`."""
        self._down_until_utc = self._runtime.clock.now_utc() + duration_ns
        if self._is_up:
            self._is_up = False
            self._tell(session.LinkLost(session_epoch=self._epoch, cause="connection closed"))

    def _dial(self, command: session.Dial) -> None:
        self._epoch = command.session_epoch

        def connected() -> None:
            if command.session_epoch != self._epoch:
                return
            if self._runtime.clock.now_utc() < self._down_until_utc:
                why = "connection refused; is the gateway running?"
                self._tell(session.LinkFailed(session_epoch=self._epoch, why=why))
                return
            self._is_up = True
            self._tell(
                session.LinkUp(
                    session_epoch=self._epoch, gateway_n=command.gateway_n, port=4002, account_class="paper",
                    account_matches=True, next_order_id=1,
                )
            )  # fmt: skip
            self._linked()

        self._later(LINK_NS, connected)

    def _linked(self) -> None:
        """Do what follows a link."""


class BrokerPort(Port):
    """The order session over the in-process exchange."""

    def __init__(self, owner: str, runtime: SteppedRuntime, world: Market, exchange: Exchange) -> None:
        super().__init__(owner, runtime, world)
        self._exchange = exchange
        self._order_ids: dict[str, int] = {}
        self._orders: dict[str, Order] = {}
        self._latch = (0, 0)
        self._every(STEP_NS, self._step)

    def _linked(self) -> None:
        self._tell_account()

    def _tell_account(self) -> None:
        if not self._is_up:
            return
        values = self._exchange.account_values()
        self._tell(
            session.AccountRead(
                session_epoch=self._epoch, nav_cents=values["NetLiquidation"], available_cents=values["AvailableFunds"],
                buying_power_cents=values["BuyingPower"], day_trades_remaining=None, read_utc=self._now(),
            )
        )  # fmt: skip

    def _step(self) -> None:
        now = self._now()
        self._heard(self._exchange.step(now))
        if now % (60 * SECOND) < STEP_NS:
            self._tell_account()

    def _take(self, command: Any) -> None:
        match command:
            case session.Dial():
                self._dial(command)
            case session.CloseLink():
                self._is_up = False
            case session.ReadBack():
                self._read_back(command)
            case risk.LatchKill():
                self._latch = (command.level, command.kill_epoch)
            case orders.PlaceOrder():
                self._place(command)
            case orders.AmendOrder():
                self._amend(command)
            case orders.WithdrawOrder():
                self._withdraw(command)
            case orders.RequestWhatIf():
                self._tell(orders.WhatIfFailed(request_id=command.request_id, why="no what-if in process"))
            case _:
                raise TypeError(f"{self.name} does not know {type(command).__name__}")

    def _refusal(self, command: orders.PlaceOrder | orders.AmendOrder) -> RejectCode | None:
        level, kill_epoch = self._latch
        if not self._is_up or command.session_epoch != self._epoch:
            return RejectCode.NOT_CONNECTED if not self._is_up else RejectCode.PERMIT_SESSION
        if self._runtime.clock.now_utc() > command.deadline_utc:
            return RejectCode.DEADLINE_PASSED
        if not command.is_exit and (level > 0 or command.kill_epoch < kill_epoch or self._runtime.latched):
            return RejectCode.PERMIT_KILLED
        return None

    def _place(self, command: orders.PlaceOrder) -> None:
        code = self._refusal(command)
        if code is not None:
            self._tell(orders.OrderDenied(order_ref=command.order_ref, code=code, why="last check at the port"))
            return
        now = self._now()
        order_id = self._exchange.next_order_id(CLIENT_ID)
        order = Order(
            con_id=command.contract.con_id, side=command.side, qty=command.qty, type=command.order_type,
            client_id=CLIENT_ID, order_id=order_id, limit_ticks=command.limit_ticks, aux_ticks=command.aux_ticks,
            order_ref=command.order_ref,
        )  # fmt: skip
        self._order_ids[command.order_ref] = order_id
        self._orders[command.order_ref] = order
        self._tell(
            orders.OrderSent(order_ref=command.order_ref, session_epoch=self._epoch, order_id=order_id, sent_utc=now)
        )
        self._heard(self._exchange.place(order, now))

    def _amend(self, command: orders.AmendOrder) -> None:
        code = self._refusal(command)
        known = self._orders.get(command.order_ref)
        if code is not None or known is None:
            code = code or RejectCode.NOT_CONNECTED
            self._tell(orders.OrderDenied(order_ref=command.order_ref, code=code, why="last check at the port"))
            return
        order = Order(
            con_id=known.con_id, side=known.side, qty=command.qty, type=command.order_type, client_id=CLIENT_ID,
            order_id=known.order_id, limit_ticks=command.limit_ticks, order_ref=command.order_ref,
        )  # fmt: skip
        self._orders[command.order_ref] = order
        self._heard(self._exchange.modify(order, self._now()))

    def _withdraw(self, command: orders.WithdrawOrder) -> None:
        if self._is_up and command.session_epoch == self._epoch:
            order_id = self._order_ids.get(command.order_ref, -1)
            self._heard(self._exchange.cancel(CLIENT_ID, order_id, self._now()))

    def _heard(self, events: list[Event]) -> None:
        if not self._is_up:
            return
        for event in events:
            match event:
                case OrderState():
                    self._tell(self._status(event))
                case Execution():
                    self._tell(self._execution(event))
                case Commission():
                    base, revision = _split(event.exec_id)
                    self._tell(
                        orders.CommissionHeard(
                            session_epoch=self._epoch, exec_id=base, revision=revision,
                            commission_cents=event.fee_cents, raw=repr(event),
                        )
                    )  # fmt: skip
                case PositionChange():
                    self._tell(
                        positions.BrokerPositionHeard(
                            session_epoch=self._epoch, contract=self._contract(event.position.con_id),
                            qty=event.position.qty, avg_cost_cents=0,
                        )
                    )  # fmt: skip
                case OrderError():
                    ref = next((r for r, n in self._order_ids.items() if n == event.order_id), None)
                    self._tell(
                        orders.ErrorHeard(
                            session_epoch=self._epoch, order_ref=ref, vendor_code=event.code, text=event.text,
                            meaning=meaning_of(event.code),
                        )
                    )  # fmt: skip

    def _contract(self, con_id: int) -> Contract:
        contract = self._market.contract(con_id)
        if contract is None:
            raise LookupError(f"no contract {con_id} in this market")
        return contract

    def _status(self, state: OrderState) -> orders.StatusHeard:
        return orders.StatusHeard(
            session_epoch=self._epoch, order_ref=state.order.order_ref, perm_id=state.order.perm_id,
            status=STATUSES[state.status.value].value, filled_qty=state.filled_qty, remaining_qty=state.remaining_qty,
            qty=state.order.qty, order_type=state.order.type, limit_ticks=state.order.limit_ticks, raw=repr(state),
        )  # fmt: skip

    def _execution(self, event: Execution) -> orders.ExecutionHeard:
        base, revision = _split(event.exec_id)
        return orders.ExecutionHeard(
            session_epoch=self._epoch, exec_id=base, revision=revision, order_ref=event.order.order_ref,
            perm_id=event.order.perm_id, contract=self._contract(event.order.con_id), side=event.order.side,
            qty=event.qty, price_ticks=event.price_ticks, at_utc=event.at_utc, raw=repr(event),
        )  # fmt: skip

    def _read_back(self, command: session.ReadBack) -> None:
        if not self._is_up:
            self._tell(
                session.BrokerReadFailed(
                    session_epoch=command.session_epoch, read_n=command.read_n, why="not connected"
                )
            )
            return
        states = [*self._exchange.open_orders(), *self._exchange.completed()]
        self._tell(
            session.BrokerRead(
                session_epoch=self._epoch, read_n=command.read_n, read_utc=self._now(),
                orders=tuple(self._broker_order(state) for state in states),
                executions=tuple(
                    self._broker_execution(self._execution(event)) for event, _ in self._exchange.executions()
                ),
                positions=tuple(
                    session.BrokerPosition(contract=self._contract(p.con_id), qty=p.qty, avg_cost_cents=0)
                    for p in self._exchange.positions()
                ),
            )
        )  # fmt: skip
        for event in self._exchange.executions():
            self._heard([event[1]])

    def _broker_order(self, state: OrderState) -> session.BrokerOrder:
        return session.BrokerOrder(
            order_ref=state.order.order_ref, perm_id=state.order.perm_id, con_id=state.order.con_id,
            side=state.order.side, qty=state.order.qty, filled_qty=state.filled_qty, order_type=state.order.type,
            limit_ticks=state.order.limit_ticks, status=STATUSES[state.status.value].value,
            is_working=state.status in _WORKING,
        )  # fmt: skip

    def _broker_execution(self, heard: orders.ExecutionHeard) -> session.BrokerExecution:
        return session.BrokerExecution(
            exec_id=heard.exec_id, revision=heard.revision, order_ref=heard.order_ref, perm_id=heard.perm_id,
            con_id=heard.contract.con_id, side=heard.side, qty=heard.qty, price_ticks=heard.price_ticks,
            at_utc=heard.at_utc, raw=heard.raw,
        )  # fmt: skip


def _split(exec_id: str) -> tuple[str, int]:
    base, _, revision = exec_id.rpartition(".")
    return base, int(revision)
