"""Random histories of the broker session's actor: nothing crashes it, and its promises hold after every message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instruments import OrderType, Side
from domain.orders.table import CodeMeaning, OrderStatus, selling_qty
from domain.risk.kill import KillLevel
from domain.session.modes import Mode
from messages import broker, orders, session
from messages.broker import ReadGroup
from tests.testkit.ibkr_history import ENTRY, EXIT, History, broker_fill, broker_order, ended_order
from tests.testkit.probe import Outbox

refs = st.sampled_from([ENTRY, EXIT, *(f"{EXIT[:-1]}{n}" for n in range(2, 6)), "ZH-paper-bbbbbbbbbbbb-e"])
quantities = st.integers(0, 3)
groups = st.sets(st.sampled_from(ReadGroup))
Step = Callable[[History], Any]


def rows_of(ref: str, status: OrderStatus, filled: int, is_elsewhere: bool) -> broker.BrokerOrder:
    side = Side.BUY if ref.endswith("-e") else Side.SELL
    if status in (OrderStatus.WORKING, OrderStatus.PENDING, OrderStatus.CANCELLING):
        return broker_order(ref, side=side, status=status, is_of_other_client=is_elsewhere)
    return ended_order(ref, status, filled, side=side)


@st.composite
def read_backs(draw: st.DrawFn) -> Step:
    """An answer to the read-back under way, whole or in part; nothing where none is under way."""
    rows = [
        rows_of(draw(refs), draw(st.sampled_from(OrderStatus)), draw(quantities), draw(st.booleans()))
        for _ in range(draw(st.integers(0, 2)))
    ]
    fills = [broker_fill(draw(refs), draw(quantities), f"r{n}") for n in range(draw(st.integers(0, 2)))]
    held, failed, is_answered = draw(quantities), draw(st.one_of(st.just(set()), groups)), draw(st.booleans())

    def answer(h: History) -> None:
        if h.state.reading is None:
            return
        failures = tuple(broker.GroupFailure(group, "stalled") for group in sorted(failed))
        h.broker_read(*rows, executions=fills, held={7: held} if held else None, failed=failures)
        if is_answered:
            h.reconciled(cancel_refs=tuple(row.order_ref for row in rows if row.is_working)[:1])

    return answer


def is_exit(ref: str) -> bool:
    return not ref.endswith("-e")


def submit(ref: str, qty: int) -> Step:
    if is_exit(ref):
        return lambda h: h.submit_exit(ref, qty=qty + 1, held=3)
    return lambda h: h.submit(ref, qty=qty + 1)


def modify(ref: str, qty: int, is_market: bool) -> Step:
    kind = OrderType.MARKET if is_market and is_exit(ref) else OrderType.LIMIT
    limit = None if kind is OrderType.MARKET else 480
    return lambda h: h.modify(ref, qty=qty + 1, order_type=kind, limit_ticks=limit, is_exit=is_exit(ref))


steps = st.one_of(
    st.builds(submit, refs, quantities),
    st.builds(submit, refs, quantities),
    st.builds(modify, refs, quantities, st.booleans()),
    read_backs(),
    read_backs(),
    refs.map(lambda ref: lambda h: h.cancel(ref)),
    refs.map(lambda ref: lambda h: h.query(ref)),
    refs.map(lambda ref: lambda h: h.sent(ref)),
    st.tuples(refs, st.sampled_from(OrderStatus), quantities).map(
        lambda a: lambda h: h.status(a[0], a[1], filled_qty=a[2])
    ),
    st.tuples(refs, quantities, st.sampled_from(["a", "b", "c"])).map(
        lambda a: lambda h: h.fill(a[0], a[1], a[2], side=Side.SELL if is_exit(a[0]) else Side.BUY)
    ),
    st.tuples(refs, st.sampled_from(CodeMeaning)).map(lambda a: lambda h: h.error(a[0], 999, a[1])),
    quantities.map(lambda qty: lambda h: h.holds(qty)),
    st.sampled_from(KillLevel).map(lambda level: lambda h: h.raise_kill(level)),
    st.sampled_from([0.3, 2.5, 6.0, 25.0, 70.0]).map(lambda seconds: lambda h: h.sleep(seconds)),
    st.booleans().map(lambda is_socket_up: lambda h: h.lost(is_socket_up=is_socket_up)),
    st.just(lambda h: h.up()),
    st.just(lambda h: h.feed(broker.LinkRestored(session_epoch=h.epoch, data_lost=False))),
    st.just(lambda h: h.feed(session.RequestReconcile(why="test"))),
    st.just(lambda h: h.feed(broker.PortFaulted(session_epoch=h.epoch, what="read", why="x", is_order_path=True))),
    st.just(lambda h: h.feed(orders.ExecutionRecorded(exec_id="a", revision=1))),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, min_size=5, max_size=40))
def test_no_history_crashes_the_session_or_lets_two_exits_of_a_contract_live(history: list[Step]) -> None:
    h = History().live({7: 3})
    for step in history:
        before = {order.order_ref for order in h.state.table if order.is_exit and order.is_under_way}
        h.probe.sent = Outbox([])
        was_live, held = h.mode() is Mode.FULLY_LIVE, h.state.position(7)
        on_sale = selling_qty(h.state.table, 7)
        step(h)
        placed = h.told(broker.PlaceOrder)
        assert not placed or h.state.link.is_up
        for command in placed:
            assert not command.order.is_exit or not before
            assert not command.order.is_exit or on_sale + command.order.qty <= min(3, held)
            assert command.order.is_exit or was_live
        if h.state.mode is Mode.WARMUP or h.state.mode is Mode.FULLY_LIVE:
            assert h.state.is_reconciled
        if not h.state.link.is_up:
            assert not h.state.allows_exits
            assert h.state.reading is None
