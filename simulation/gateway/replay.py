"""Recorded callbacks of a real session, written to clients again in the order in which they came.

The rows are those of a recorder behind a client library: `openOrder`, `orderStatus`, `execDetails`, `error`. What it
did not keep is filled in: sizes, permanent ids, execution ids where a row has none. The exchange knows nothing of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from domain.instants import from_datetime
from domain.instruments import OrderType, Side
from domain.units import Qty, Ticks, Utc
from simulation.broker.events import Execution
from simulation.broker.orders import IBStatus, Order, OrderState
from simulation.gateway.wire import orders
from simulation.gateway.wire.frames import EASTERN

PERM_ID_BASE = 1_500_000_000  # beyond those of the exchange
SIDES = {"BOT": Side.BUY, "SLD": Side.SELL}
ANY_CONTRACT = ("0", "SPX", "OPT", "", "0", "", "100", "SMART", "USD", "", "SPXW")


class OpenOrder(msgspec.Struct, frozen=True, tag_field="kind", tag="openOrder", rename="camel"):
    """An openOrder; without an id it belongs to the order of the next status."""

    state: IBStatus
    order_id: int | None = None


class OrderStatus(msgspec.Struct, frozen=True, tag_field="kind", tag="orderStatus", rename="camel"):
    """An orderStatus; `avg` in USD."""

    order_id: int
    status: IBStatus
    filled: float = 0.0
    avg: float = 0.0


class ExecDetails(msgspec.Struct, frozen=True, tag_field="kind", tag="execDetails", rename="camel"):
    """An execution; the contract as `SPX_6765_C_20251022`, `px` in USD, `ts` in New York."""

    order_id: int
    contract: str
    side: str
    qty: float
    px: float
    ts: str = "2025-01-01 00:00:00"
    exec_id: str = ""


class Error(msgspec.Struct, frozen=True, tag_field="kind", tag="error", rename="camel"):
    """An error or a notice; -1 concerns the connection."""

    req_id: int
    code: int
    msg: str = ""


Callback = OpenOrder | OrderStatus | ExecDetails | Error


class Recipient(NamedTuple):
    """Whom the frames are for."""

    client_id: int
    account: str
    version: int


def frames_of(callbacks: Sequence[Callback], to: Recipient) -> list[bytes]:
    """Return the frames of the callbacks, one each, in their order.

    Raises:
        ValueError: a contract, a side or a time that cannot be read.
    """
    return _Writer(callbacks, to).frames()


class _Writer:
    """What is known of the orders of one record."""

    def __init__(self, callbacks: Sequence[Callback], to: Recipient) -> None:
        self._callbacks = callbacks
        self._to = to
        self._contracts: dict[int, tuple[str, ...]] = {}
        self._sides: dict[int, Side] = {}
        self._sizes: dict[int, int] = defaultdict(lambda: 1)
        self._filled: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))  # quantity, ticks times quantity
        for row in callbacks:
            if isinstance(row, ExecDetails):
                self._contracts[row.order_id] = _contract(row.contract)
                self._sides[row.order_id] = _side(row.side)
            elif isinstance(row, OrderStatus):
                self._sizes[row.order_id] = max(self._sizes[row.order_id], int(row.filled))

    def frames(self) -> list[bytes]:
        out: list[bytes] = []
        executions = 0
        for at, row in enumerate(self._callbacks):
            match row:
                case Error():
                    out.append(orders.error(row.req_id, row.code, row.msg, self._to.version))
                case OpenOrder():
                    order_id = row.order_id if row.order_id is not None else _next_order(self._callbacks[at:])
                    state = self._state(order_id, row.state, 0, 0.0)
                    out.append(orders.open_order(state, self._contract_of(order_id), self._to.version))
                case OrderStatus():
                    out.append(orders.order_status(self._state(row.order_id, row.status, int(row.filled), row.avg)))
                case ExecDetails():
                    executions += 1
                    out.append(self._execution(row, executions))
        return out

    def _execution(self, row: ExecDetails, number: int) -> bytes:
        qty, ticks = Qty(int(row.qty)), Ticks(round(row.px * 100))
        before, cost = self._filled[row.order_id]
        self._filled[row.order_id] = before + qty, cost + qty * ticks
        cum_qty, cum_cost = self._filled[row.order_id]
        exec_id = row.exec_id or f"0000e0d5.{number:08x}.01.01"
        order = self._order(row.order_id)
        execution = Execution(exec_id, order, qty, ticks, Qty(cum_qty), cum_cost, _instant(row.ts))
        return orders.exec_details(orders.LIVE, execution, _contract(row.contract), self._to.version)

    def _state(self, order_id: int, status: IBStatus, filled: int, average_usd: float) -> OrderState:
        average = Ticks(round(average_usd * 100))
        return OrderState(self._order(order_id), status, Qty(filled), average * filled, average, Utc(0))

    def _order(self, order_id: int) -> Order:
        return Order(
            con_id=0, side=self._sides.get(order_id, Side.BUY), qty=Qty(self._sizes[order_id]), type=OrderType.LIMIT,
            client_id=self._to.client_id, order_id=order_id, limit_ticks=Ticks(100), account=self._to.account,
            perm_id=PERM_ID_BASE + order_id,
        )  # fmt: skip

    def _contract_of(self, order_id: int) -> tuple[str, ...]:
        return self._contracts.get(order_id, ANY_CONTRACT)


def _next_order(callbacks: Iterable[Callback]) -> int:
    return next((row.order_id for row in callbacks if isinstance(row, OrderStatus)), 0)


def _contract(text: str) -> tuple[str, ...]:
    symbol, *rest = text.split("_")
    if len(rest) != 3:
        raise ValueError(f"{text!r} is no contract; expected as SPX_6765_C_20251022")
    strike, right, expiry = rest
    return ("0", symbol, "OPT", expiry, strike, right, "100", "SMART", "USD", "", "SPXW" if symbol == "SPX" else symbol)


def _side(text: str) -> Side:
    if text not in SIDES:
        raise ValueError(f"{text!r} is no side; expected BOT or SLD")
    return SIDES[text]


def _instant(text: str) -> Utc:
    try:
        return from_datetime(datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=EASTERN))
    except ValueError:
        raise ValueError(f"{text!r} is no time; expected as 2025-10-22 10:18:13") from None
