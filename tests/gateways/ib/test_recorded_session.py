"""A recorded day of a real paper TWS, as bytes into the real port and from there into the order session's table."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from domain.instruments import OrderType, Side
from domain.orders.table import Order, OrderEvent, OrderStage
from domain.units import Qty
from gateways.ib.orders_port import OrdersPort
from messages import broker
from simulation.broker.orders import IBStatus, OrderState
from simulation.broker.orders import Order as BrokerSideOrder
from simulation.gateway.wire import orders as wire_orders
from simulation.gateway.wire.frames import encode
from tests.testkit.ibkr_history import History
from tests.testkit.ibkr_world import EPOCH, Mailbox, make_port
from tests.testkit.paths import CALLBACKS, needs_recorded_callbacks

CLIENT_ID: Final = 11
VERSION: Final = 176
ACCOUNT: Final = "DU1234567"
CONTRACT: Final = ("416904", "SPX", "OPT", "20251022", "6700.0", "C", "100", "SMART", "USD", "SPXW", "SPXW")
STATUSES: Final = {
    "PreSubmitted": IBStatus.PRE_SUBMITTED, "Submitted": IBStatus.SUBMITTED, "Filled": IBStatus.FILLED,
    "Cancelled": IBStatus.CANCELLED, "Inactive": IBStatus.INACTIVE,
}  # fmt: skip


def recorded() -> list[dict[str, Any]]:
    callbacks: list[dict[str, Any]] = json.loads(CALLBACKS.read_text(encoding="utf-8"))
    return callbacks


def ref_of(order_id: int) -> str:
    return f"ZH-paper-{order_id:012d}-e"


def sizes(callbacks: list[dict[str, Any]]) -> dict[int, int]:
    """The size of each order: the most that a status called filled, else 1 (the record does not hold it)."""
    most: dict[int, int] = defaultdict(lambda: 1)
    for row in callbacks:
        if row["kind"] == "orderStatus":
            most[row["orderId"]] = max(most[row["orderId"]], int(row["filled"]))
    return most


def frames(callbacks: list[dict[str, Any]]) -> list[bytes]:
    """The record as the gateway wrote it, in the order of arrival; an openOrder belongs to the status after it."""
    out: list[bytes] = []
    size, executions = sizes(callbacks), 0
    for at, row in enumerate(callbacks):
        match row["kind"]:
            case "error":
                out.append(wire_orders.error(row["reqId"], row["code"], row["msg"], VERSION))
            case "openOrder":
                after = (later["orderId"] for later in callbacks[at:] if later["kind"] == "orderStatus")
                state = order_state(next(after), row["state"], 0, size)
                out.append(wire_orders.open_order(state, CONTRACT, VERSION))
            case "orderStatus":
                state = order_state(row["orderId"], row["status"], int(row["filled"]), size)
                out.append(wire_orders.order_status(state))
            case "execDetails":
                executions += 1
                out.append(execution(row, executions))
    return out


def order_state(order_id: int, status: str, filled: int, size: dict[int, int]) -> OrderState:
    order = BrokerSideOrder(
        con_id=416904, side=Side.BUY, qty=size[order_id], type=OrderType.LIMIT, client_id=CLIENT_ID, order_id=order_id,
        limit_ticks=100, account=ACCOUNT, order_ref=ref_of(order_id), perm_id=90_000 + order_id,
    )  # fmt: skip
    return OrderState(order, STATUSES[status], filled, 100 * filled, 100, 0)


def execution(row: dict[str, Any], n: int) -> bytes:
    at = datetime.strptime(row["ts"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    return encode(
        11, -1, row["orderId"], *CONTRACT, f"0000e0d5.{n:08x}.01.01", f"{at:%Y%m%d-%H:%M:%S}", ACCOUNT, "CBOE",
        row["side"], row["qty"], row["px"], 90_000 + row["orderId"], CLIENT_ID, 0, row["qty"], row["px"],
        ref_of(row["orderId"]), "", "", "", 1,
    )  # fmt: skip


def serve(listener: socket.socket, payload: bytes) -> None:
    """Greet one client, then send the whole record and answer the heartbeat once."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(frame(f"{VERSION}\0" + "20251022 09:30:00 EST\0"))
        connection.recv(4096)
        connection.sendall(encode(15, 1, ACCOUNT) + encode(9, 1, 1) + payload + encode(4, 2, -1, 2104, "the end", ""))
        while connection.recv(4096):
            pass


def frame(text: str) -> bytes:
    return struct.pack(">I", len(text)) + text.encode()


def replayed() -> list[Any]:
    """What the port told of the record, to its end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        payload = b"".join(frames([row for row in recorded() if row.get("code") != 326]))
        server = threading.Thread(target=serve, args=(listener, payload), daemon=True)
        server.start()
        mailbox = Mailbox()
        port: OrdersPort = make_port(
            OrdersPort, None, mailbox.tell, port=listener.getsockname()[1], client_id=CLIENT_ID, heartbeat_max_ms=8_000
        )
        try:
            port.post(broker.Dial(session_epoch=EPOCH, gateway_n=0))
            mailbox.wait(broker.FarmNotice, lambda f: f.text == "the end")
        finally:
            port.close()
            server.join(5.0)
        return mailbox.heard


def table_of(heard: list[Any], size: dict[int, int]) -> History:
    """The order session's actor after the record; the orders were handed over and written before."""
    history = History().start()
    for order_id, qty in size.items():
        order = Order(
            order_ref=ref_of(order_id), con_id=416904, owner="position:paper:416904", side=Side.BUY, is_exit=False,
            qty=Qty(qty), handed_utc=history.now,
        )  # fmt: skip
        history.state.keep(order.after(OrderEvent.WRITTEN))
    of_orders = broker.OrderStatusReported | broker.ExecutionReported | broker.ErrorReported
    for fact in heard:
        if isinstance(fact, of_orders):
            history.feed(msgspec.structs.replace(fact, session_epoch=history.epoch))
    return history


@needs_recorded_callbacks
def test_recorded_day_of_a_real_session_ends_with_the_right_state_of_every_order() -> None:
    callbacks = recorded()
    heard = replayed()
    history = table_of(heard, sizes(callbacks))
    last: dict[int, str] = {row["orderId"]: row["status"] for row in callbacks if row["kind"] == "orderStatus"}
    executed: dict[int, int] = defaultdict(int)
    for row in callbacks:
        if row["kind"] == "execDetails":
            executed[row["orderId"]] += int(row["qty"])
    assert len(last) == 40
    assert {s: list(last.values()).count(s) for s in set(last.values())} == {
        "Filled": 30,
        "Cancelled": 2,
        "Inactive": 8,
    }
    for order_id, status in last.items():
        order = history.order(ref_of(order_id))
        assert (order_id, order.stage) == (order_id, OrderStage.ENDED)
        assert (order_id, order.filled_qty) == (order_id, executed[order_id])
        assert order.is_inactive is (status == "Inactive")
    assert sum(order.filled_qty for order in history.state.table) == 33


@needs_recorded_callbacks
def test_recorded_nightly_reset_is_told_as_a_link_that_is_lost_and_restored_on_a_socket_that_stays() -> None:
    heard = replayed()
    lost = [fact for fact in heard if isinstance(fact, broker.LinkLost)]
    assert lost
    assert all(fact.is_socket_up for fact in lost)
    assert len([fact for fact in heard if isinstance(fact, broker.LinkRestored)]) == 3
    assert not [fact for fact in heard if isinstance(fact, broker.PortFaulted)]
