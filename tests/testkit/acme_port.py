"""The order port of Acme, a broker in memory that fills whole orders at its own prices.

The example of `docs/guides/add-a-broker.md`: where Acme keeps its orders, a real port calls its client.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import assert_never

import msgspec

from domain.instruments import Contract, OrderType, Side
from domain.orders.capabilities import BrokerCapability
from domain.orders.request import OrderChange, OrderRequest
from domain.orders.table import CodeMeaning, OrderStatus
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import AccountClass
from domain.units import Cents, Qty, Ticks, Utc
from gateways.last_check import NO_LINK, Fault, last_check
from messages import broker
from messages.base import Message

ASK, BID = Ticks(510), Ticks(500)


class AcmeOrdersPort(broker.BrokerPort):
    """`port:ibkr:<desk>`: a book of orders, one position, and the last check before both."""

    def __init__(self, name: str, tell: Callable[[str, Message], None], now_utc: Callable[[], Utc], port: int) -> None:
        self._name, self._owner = name, name.removeprefix("port:")
        self._tell, self._now, self._port = tell, now_utc, port
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._epoch: int | None = None
        self._latch = broker.LatchKill(level=KillLevel.RUNNING, kill_epoch=0)
        self._refused: str | None = None
        self._orders: dict[str, OrderRequest] = {}
        self._rows: dict[str, broker.BrokerOrder] = {}
        self._executions: list[broker.Execution] = []
        self._held: dict[int, broker.BrokerPosition] = {}

    @property
    def name(self) -> str:
        return self._name

    @property
    def capabilities(self) -> frozenset[BrokerCapability]:
        return frozenset((BrokerCapability.CHANGE_OF_SIZE,))

    def start(self) -> None:
        """The thread starts with the first command."""

    def post(self, command: broker.BrokerCommand) -> None:
        self._thread.submit(self._take, command)

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def refuse_entries(self, why: str) -> None:
        """Refuse every entry until the process ends; any thread may call."""
        self._refused = why

    def _report(self, fact: broker.BrokerFact) -> None:
        self._tell(self._owner, fact)

    def _take(self, command: broker.BrokerCommand) -> None:
        match command:
            case broker.Dial():
                self._dial(command)
            case broker.CloseLink():
                self._epoch = None
            case broker.LatchKill():
                if command.kill_epoch >= self._latch.kill_epoch:
                    self._latch = command
            case broker.PlaceOrder():
                self._place(command, command.order)
            case broker.AmendOrder():
                self._amend(command, command.change)
            case broker.WithdrawOrder():
                self._withdraw(command)
            case broker.CancelEverything():
                self._cancel_everything()
            case broker.AskMargin():
                self._report(
                    broker.MarginTold(
                        session_epoch=command.session_epoch, request_id=command.request_id, reply_to=command.reply_to,
                        init_margin_change_cents=None, why="this broker tells no margins",
                    )
                )  # fmt: skip
            case broker.ReadBack():
                self._read_back(command)
            case _:
                assert_never(command)

    # -- the link -----------------------------------------------------------------------------------

    def _dial(self, command: broker.Dial) -> None:
        self._epoch = epoch = command.session_epoch
        self._report(
            broker.LinkUp(
                session_epoch=epoch, gateway_n=command.gateway_n, port=self._port,
                account_class=AccountClass.PAPER, account_matches=True, next_order_id=1,
            )
        )  # fmt: skip
        cash = Cents(10_000_000)
        self._report(
            broker.AccountRead(
                session_epoch=epoch, nav_cents=cash, available_cents=cash, buying_power_cents=cash,
                day_trades_remaining=-1, read_utc=self._now(),
            )
        )  # fmt: skip
        self._report(
            broker.ClockRead(session_epoch=epoch, least_ms=0, most_ms=0, round_trip_ms=0, read_utc=self._now())
        )

    # -- the last check, orders ---------------------------------------------------------------------

    def _fault(self, command: broker.PlaceOrder | broker.AmendOrder) -> Fault | None:
        if self._epoch is None:
            return NO_LINK
        return last_check(command, self._now(), self._epoch, self._latch, self._refused)

    def _deny(self, order_ref: str, fault: Fault) -> None:
        self._report(broker.OrderDenied(order_ref=order_ref, code=fault[0], why=fault[1]))

    def _place(self, command: broker.PlaceOrder, order: OrderRequest) -> None:
        fault = self._fault(command)
        if fault is None and order.order_ref in self._rows:
            fault = RejectCode.DUPLICATE_REF, "this ref is at the broker already"
        if fault is not None:
            self._deny(order.order_ref, fault)
            return
        self._orders[order.order_ref] = order
        number = len(self._orders)
        self._rows[order.order_ref] = broker.BrokerOrder(
            order_ref=order.order_ref, perm_id=number, con_id=order.contract.con_id, side=order.side, qty=order.qty,
            filled_qty=Qty(0), order_type=order.order_type, limit_ticks=order.limit_ticks,
            status=OrderStatus.WORKING, is_working=True,
        )  # fmt: skip
        self._report(
            broker.OrderSent(
                order_ref=order.order_ref, session_epoch=command.session_epoch, order_id=number, sent_utc=self._now()
            )
        )
        self._match(self._rows[order.order_ref], order.contract)

    def _amend(self, command: broker.AmendOrder, change: OrderChange) -> None:
        fault, row = self._fault(command), self._rows.get(change.order_ref)
        if fault is not None or row is None or not row.is_working:
            self._deny(change.order_ref, fault or (RejectCode.NOT_CONNECTED, "it does not work"))
            return
        changed = msgspec.structs.replace(
            row, qty=change.qty, order_type=change.order_type, limit_ticks=change.limit_ticks
        )
        self._match(changed, self._orders[change.order_ref].contract)

    def _withdraw(self, command: broker.WithdrawOrder) -> None:
        row = self._rows.get(command.order_ref)
        if row is not None and row.is_working and self._epoch == command.session_epoch:
            self._keep(msgspec.structs.replace(row, status=OrderStatus.CANCELLED, is_working=False))
            return
        self._report(
            broker.ErrorReported(
                session_epoch=command.session_epoch, order_ref=command.order_ref, vendor_code=0,
                text="there is nothing to cancel, or no link", meaning=CodeMeaning.ORDER_UNKNOWN,
            )
        )  # fmt: skip

    def _cancel_everything(self) -> None:
        for row in [row for row in self._rows.values() if row.is_working and self._epoch is not None]:
            self._keep(msgspec.structs.replace(row, status=OrderStatus.CANCELLED, is_working=False))

    def _match(self, row: broker.BrokerOrder, contract: Contract) -> None:
        self._keep(row)
        is_buy, limit = row.side is Side.BUY, row.limit_ticks
        price = ASK if is_buy else BID
        is_met = limit is None or (limit >= price if is_buy else limit <= price)
        if row.order_type is OrderType.MARKET or is_met:
            self._fill(row, contract, price)

    def _fill(self, row: broker.BrokerOrder, contract: Contract, price: Ticks) -> None:
        assert self._epoch is not None
        filled = msgspec.structs.replace(row, filled_qty=row.qty, status=OrderStatus.FILLED, is_working=False)
        execution = broker.Execution(
            exec_id=f"acme.{len(self._executions)}", revision=1, order_ref=row.order_ref, perm_id=row.perm_id,
            con_id=row.con_id, side=row.side, qty=row.qty, price_ticks=price, at_utc=self._now(), raw="",
        )  # fmt: skip
        self._executions.append(execution)
        was = self._held.get(row.con_id)
        signed = row.qty if row.side is Side.BUY else -row.qty
        qty = signed if was is None else was.qty + signed
        held = broker.BrokerPosition(contract=contract, qty=qty, avg_cost_cents=Cents(0))
        self._held[row.con_id] = held
        self._report(broker.ExecutionReported(session_epoch=self._epoch, execution=execution))
        self._keep(filled)
        self._report(
            broker.CommissionReported(
                session_epoch=self._epoch, exec_id=execution.exec_id, revision=1, commission_cents=Cents(130), raw=""
            )
        )
        self._report(
            broker.PositionReported(session_epoch=self._epoch, contract=contract, qty=qty, avg_cost_cents=Cents(0))
        )

    def _keep(self, row: broker.BrokerOrder) -> None:
        self._rows[row.order_ref] = row
        if self._epoch is not None:
            self._report(
                broker.OrderStatusReported(
                    session_epoch=self._epoch, order_ref=row.order_ref, perm_id=row.perm_id, status=row.status,
                    filled_qty=row.filled_qty, remaining_qty=row.qty - row.filled_qty, qty=row.qty,
                    order_type=row.order_type, limit_ticks=row.limit_ticks, raw="",
                )
            )  # fmt: skip

    # -- the read-back ------------------------------------------------------------------------------

    def _read_back(self, command: broker.ReadBack) -> None:
        epoch, read_n = command.session_epoch, command.read_n
        if self._epoch != epoch:
            self._report(broker.BrokerReadFailed(session_epoch=epoch, read_n=read_n, why="there is no link"))
            return
        self._report(
            broker.BrokerRead(
                session_epoch=epoch, read_n=read_n, orders=tuple(self._rows.values()),
                executions=tuple(self._executions),
                positions=tuple(held for held in self._held.values() if held.qty), read_utc=self._now(),
            )
        )  # fmt: skip
