"""The order port against the simulated gateway over real sockets."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from domain.instruments import OrderType, Side
from domain.orders.table import CodeMeaning, OrderStatus
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import AccountClass
from gateways.ib.orders_port import OrdersPort
from gateways.ib.orders_session import OrdersSession
from messages import broker
from messages.base import Message
from simulation.gateway.faults import Fault, FaultKind
from tests.testkit.ibkr_world import EPOCH, Mailbox, amend, gateway, make_port, orders_port, place


def read_back(port: OrdersPort, mailbox: Mailbox, read_n: int, epoch: int = EPOCH) -> broker.BrokerRead:
    port.post(broker.ReadBack(session_epoch=epoch, read_n=read_n))
    return mailbox.wait(broker.BrokerRead, lambda r: r.read_n == read_n)


def test_dial_says_what_the_account_is_and_never_its_number() -> None:
    with gateway() as world, orders_port(world) as (_, mailbox):
        up = mailbox.of(broker.LinkUp)[0]
        assert (up.session_epoch, up.port, up.account_class, up.account_matches) == (
            EPOCH,
            world.port,
            AccountClass.PAPER,
            True,
        )
        account = mailbox.wait(broker.AccountRead)
        assert account.nav_cents == 10_000_000
        assert account.day_trades_remaining == -1
        assert "DU1234567" not in repr(mailbox.heard)


def test_order_is_sent_acknowledged_filled_and_paid_for() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world))
        sent = mailbox.wait(broker.OrderSent)
        assert sent.session_epoch == EPOCH
        assert sent.order_id > 0
        working = mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.WORKING and f.perm_id > 0)
        assert (working.order_type, working.limit_ticks, working.qty) == (OrderType.LIMIT, 510, 2)
        execution = mailbox.wait(broker.ExecutionReported).execution
        assert (execution.order_ref, execution.qty, execution.price_ticks) == ("ZH-paper-a-e", 2, 510)
        assert execution.con_id == world.call.con_id
        assert execution.side is Side.BUY
        fee = mailbox.wait(broker.CommissionReported)
        assert (fee.exec_id, fee.revision) == (execution.exec_id, execution.revision)
        assert fee.commission_cents is not None
        assert fee.commission_cents > 0
        filled = mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.FILLED)
        assert (filled.filled_qty, filled.remaining_qty) == (2, 0)
        assert mailbox.wait(broker.PositionReported, lambda p: p.qty == 2).contract.con_id == world.call.con_id


def test_modify_changes_price_and_type_and_cancel_ends_the_order() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=450))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.WORKING and f.limit_ticks == 450)
        port.post(amend(world, limit_ticks=460))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.limit_ticks == 460)
        port.post(broker.WithdrawOrder(order_ref="ZH-paper-a-e", session_epoch=EPOCH))
        ended = mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.CANCELLED)
        assert ended.filled_qty == 0
        assert mailbox.wait(broker.ErrorReported, lambda e: e.vendor_code == 202).meaning is CodeMeaning.ORDER_CANCELLED


def test_exit_goes_to_market_by_modification_of_the_same_order() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world))
        mailbox.wait(broker.ExecutionReported)
        port.post(place(world, "ZH-paper-a-x1", limit_ticks=600, side=Side.SELL, is_exit=True))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.order_ref == "ZH-paper-a-x1" and f.perm_id > 0)
        port.post(amend(world, "ZH-paper-a-x1", order_type=OrderType.MARKET, limit_ticks=None, is_exit=True))
        execution = mailbox.wait(broker.ExecutionReported, lambda e: e.execution.order_ref == "ZH-paper-a-x1").execution
        assert (execution.side, execution.qty, execution.price_ticks) == (Side.SELL, 2, 500)
        mailbox.wait(broker.PositionReported, lambda p: p.qty == 0)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"deadline_utc": 0}, RejectCode.DEADLINE_PASSED),
        ({"session_epoch": EPOCH - 1}, RejectCode.PERMIT_SESSION),
        ({"kill_epoch": 2}, RejectCode.PERMIT_KILLED),
        ({"limit_ticks": None}, RejectCode.MISSING_INPUT),
    ],
)
def test_last_check_keeps_an_order_off_the_socket(change: dict[str, Any], code: RejectCode) -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(broker.LatchKill(level=KillLevel.RUNNING, kill_epoch=3))
        port.post(place(world, **({"kill_epoch": 3} | change)))
        assert mailbox.wait(broker.OrderDenied).code is code
        assert read_back(port, mailbox, 1).orders == ()
        assert not mailbox.of(broker.OrderSent)


def test_a_question_of_margin_is_answered_and_places_nothing() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        asked = replace(place(world, side=Side.SELL).order, good_till_utc=None)
        port.post(broker.AskMargin(session_epoch=EPOCH, request_id="q1", reply_to="risk:paper", order=asked))
        told = mailbox.wait(broker.MarginTold)
        assert (told.request_id, told.reply_to) == ("q1", "risk:paper")
        assert told.init_margin_change_cents is not None
        assert told.init_margin_change_cents > 0
        assert read_back(port, mailbox, 1).orders == ()
        assert not mailbox.of(broker.OrderSent)


def test_a_question_of_margin_on_another_link_says_why_there_is_no_answer() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        asked = place(world).order
        port.post(broker.AskMargin(session_epoch=EPOCH - 1, request_id="q1", reply_to="risk:paper", order=asked))
        told = mailbox.wait(broker.MarginTold)
        assert (told.init_margin_change_cents, told.why) == (None, "not connected")


def test_a_reference_goes_out_once() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=400))
        mailbox.wait(broker.OrderStatusReported)
        port.post(place(world, limit_ticks=400))
        assert mailbox.wait(broker.OrderDenied).code is RejectCode.DUPLICATE_REF
        assert len(mailbox.of(broker.OrderSent)) == 1
        assert len(read_back(port, mailbox, 1).orders) == 1


def test_kill_latch_stops_entries_and_lets_exits_pass() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world))
        mailbox.wait(broker.ExecutionReported)
        port.post(broker.LatchKill(level=KillLevel.NO_ENTRIES, kill_epoch=1))
        port.post(place(world, "ZH-paper-b-e", kill_epoch=1))
        assert mailbox.wait(broker.OrderDenied).order_ref == "ZH-paper-b-e"
        port.post(place(world, "ZH-paper-a-x1", side=Side.SELL, is_exit=True, limit_ticks=500))
        mailbox.wait(broker.ExecutionReported, lambda e: e.execution.order_ref == "ZH-paper-a-x1")


def test_kill_latch_of_an_older_epoch_does_not_loosen_it() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(broker.LatchKill(level=KillLevel.NO_ENTRIES, kill_epoch=5))
        port.post(broker.LatchKill(level=KillLevel.RUNNING, kill_epoch=4))
        port.post(place(world, kill_epoch=5))
        assert mailbox.wait(broker.OrderDenied).code is RejectCode.PERMIT_KILLED


def test_read_back_gives_open_and_completed_orders_executions_and_positions() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.FILLED)
        port.post(place(world, "ZH-paper-b-e", limit_ticks=450))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.order_ref == "ZH-paper-b-e" and f.perm_id > 0)
        read = read_back(port, mailbox, 1)
        by_ref = {order.order_ref: order for order in read.orders}
        assert (by_ref["ZH-paper-a-e"].status, by_ref["ZH-paper-a-e"].filled_qty) == (OrderStatus.FILLED, 2)
        assert not by_ref["ZH-paper-a-e"].is_working
        assert by_ref["ZH-paper-b-e"].is_working
        assert by_ref["ZH-paper-b-e"].limit_ticks == 450
        (execution,) = read.executions
        assert (execution.order_ref, execution.qty, execution.price_ticks) == ("ZH-paper-a-e", 2, 510)
        (position,) = read.positions
        assert (position.contract, position.qty) == (world.call, 2)


def has_ended(epoch: int, message: Message) -> bool:
    """Whether a message is the outcome of the dial of an epoch."""
    return isinstance(message, broker.LinkUp | broker.LinkFailed) and message.session_epoch == epoch


def test_fills_of_an_outage_are_found_by_the_read_back_once_and_the_order_can_still_be_cancelled() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=450))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.perm_id > 0)
        port.post(place(world, "ZH-paper-b-e", limit_ticks=440))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.order_ref == "ZH-paper-b-e" and f.perm_id > 0)
        world.inject(Fault(FaultKind.DROP_REFUSE, duration_s=0.2))
        lost = mailbox.wait(broker.LinkLost)
        assert not lost.is_socket_up
        world.do(lambda: world.market.set(world.market.call, 440, 450))
        epoch = EPOCH + 1
        while not mailbox.of(broker.LinkUp)[1:]:
            port.post(broker.Dial(session_epoch=epoch, gateway_n=0))
            mailbox.wait(Message, partial(has_ended, epoch))
            epoch += 1
        epoch -= 1
        read = read_back(port, mailbox, 2, epoch)
        (execution,) = read.executions
        assert (execution.order_ref, execution.price_ticks) == ("ZH-paper-a-e", 450)
        assert not mailbox.of(broker.ExecutionReported)
        port.post(broker.WithdrawOrder(order_ref="ZH-paper-b-e", session_epoch=epoch))
        mailbox.wait(
            broker.OrderStatusReported, lambda f: f.order_ref == "ZH-paper-b-e" and f.status is OrderStatus.CANCELLED
        )


def test_half_open_link_is_lost_by_the_heartbeat_and_a_held_order_is_not_written_to_the_next_session() -> None:
    with gateway() as world, orders_port(world, heartbeat_every_ms=50, heartbeat_max_ms=200) as (port, mailbox):
        world.inject(Fault(FaultKind.DROP_HALF_OPEN, duration_s=3_600))
        lost = mailbox.wait(broker.LinkLost)
        assert "heartbeat" in lost.cause
        port.post(place(world))
        assert mailbox.wait(broker.OrderDenied).code is RejectCode.NOT_CONNECTED


def test_server_link_lost_and_restored_is_told_on_the_same_socket_and_nothing_is_written_between() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        world.inject(Fault(FaultKind.LINK_LOST, duration_s=3_600, args={"repeat": 3}))
        assert mailbox.wait(broker.LinkLost).is_socket_up
        port.post(place(world))
        assert mailbox.wait(broker.OrderDenied).code is RejectCode.NOT_CONNECTED
        world.do(world.server.end_faults)
        assert not mailbox.wait(broker.LinkRestored).data_lost
        port.post(place(world, "ZH-paper-b-e"))
        mailbox.wait(broker.ExecutionReported)


def test_farm_notices_are_no_loss() -> None:
    with gateway() as world, orders_port(world) as (_, mailbox):
        world.inject(Fault(FaultKind.FARM_LOST, duration_s=0.1))
        mailbox.wait(broker.FarmNotice, lambda f: f.vendor_code == 2103)
        mailbox.wait(broker.FarmNotice, lambda f: f.vendor_code == 2104)
        assert not mailbox.of(broker.LinkLost)


def test_client_id_in_use_is_told_as_such_at_once() -> None:
    with (
        gateway(Fault(FaultKind.CLIENT_ID_IN_USE, duration_s=3_600)) as world,
        orders_port(world, is_dialled=False, connect_timeout_ms=600_000) as (port, mailbox),
    ):
        port.post(broker.Dial(session_epoch=EPOCH, gateway_n=0))
        failed = mailbox.wait(broker.LinkFailed)
        assert (failed.vendor_code, failed.is_id_in_use) == (326, True)


def test_a_gateway_that_resets_connections_fails_the_dial_without_waiting_for_the_timeout() -> None:
    with (
        gateway(Fault(FaultKind.DROP_RESET, duration_s=3_600)) as world,
        orders_port(world, is_dialled=False, connect_timeout_ms=600_000) as (port, mailbox),
    ):
        port.post(broker.Dial(session_epoch=EPOCH, gateway_n=0))
        assert mailbox.wait(broker.LinkFailed).vendor_code is None


def test_entries_do_not_queue_behind_the_pace_but_exits_still_go() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=450))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.perm_id > 0)
        for n in range(45):
            port.post(amend(world, limit_ticks=400 + 10 * (n % 5), is_exit=True))
        port.post(place(world, "ZH-paper-b-e"))
        assert "pace" in mailbox.wait(broker.OrderDenied).why
        port.post(place(world, "ZH-paper-b-x1", limit_ticks=520, side=Side.SELL, is_exit=True))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.order_ref == "ZH-paper-b-x1" and f.perm_id > 0)


def test_entries_refused_by_the_process_stay_refused() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.refuse_entries("the kill actor failed")
        port.post(broker.LatchKill(level=KillLevel.RUNNING, kill_epoch=9))
        port.post(place(world, kill_epoch=9))
        assert mailbox.wait(broker.OrderDenied).why == "the kill actor failed"


def test_partial_fills_and_duplicated_callbacks_add_up_by_execution_id() -> None:
    faults = Fault(FaultKind.PARTIAL_FILLS, args={"pieces": [1, 1]}), Fault(FaultKind.CALLBACKS_DUPLICATED, after_n=1)
    with gateway(*faults) as world, orders_port(world) as (port, mailbox):
        port.post(place(world))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.FILLED)
        assert [e.execution.qty for e in mailbox.of(broker.ExecutionReported)] == [1, 1]
        port.post(place(world, "ZH-paper-b-e"))
        mailbox.wait(
            broker.OrderStatusReported, lambda f: f.order_ref == "ZH-paper-b-e" and f.status is OrderStatus.FILLED
        )
        read = read_back(port, mailbox, 1)
        for ref in ("ZH-paper-a-e", "ZH-paper-b-e"):
            assert sum(e.qty for e in read.executions if e.order_ref == ref) == 2


def test_read_back_during_which_something_filled_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    whole = OrdersSession.read_all

    async def read_all(session: OrdersSession, within_s: float) -> object:
        rows = await whole(session, within_s)
        reads.append(len(rows.executions))
        if len(reads) == 1:  # an execution comes while the groups of the first read are on their way
            port.post(place(world))
            while not mailbox.of(broker.ExecutionReported):
                await asyncio.sleep(0.001)
        return rows

    with gateway() as world, orders_port(world) as (port, mailbox):
        monkeypatch.setattr(OrdersSession, "read_all", read_all)
        read = read_back(port, mailbox, 1)
        assert reads == [0, 1]
        assert [p.qty for p in read.positions] == [2]


def test_nobody_at_the_port_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody else can take it, and it refuses
        mailbox = Mailbox()
        port = make_port(OrdersPort, None, mailbox.tell, port=taken.getsockname()[1])
        try:
            port.post(broker.Dial(session_epoch=EPOCH, gateway_n=0))
            failed = mailbox.wait(broker.LinkFailed)
            assert failed.why.endswith(" cannot be reached: nothing listens there")
            assert "\n" not in failed.why
        finally:
            port.close()


@pytest.mark.parametrize(
    ("fault", "code", "meaning"),
    [
        (Fault(FaultKind.ORDER_REJECTED), 201, CodeMeaning.ORDER_REJECTED),
        (Fault(FaultKind.ORDER_ERROR, args={"code": 110, "text": "tick"}), 110, CodeMeaning.ORDER_REFUSED),
        (Fault(FaultKind.ORDER_NOTICE, args={"code": 10349, "text": "tif"}), 10349, CodeMeaning.INFORMATIONAL),
        (Fault(FaultKind.ORDER_NOTICE, args={"code": 31337, "text": "?"}), 31337, CodeMeaning.ORDER_UNKNOWN),
    ],
)
def test_codes_on_an_order_carry_its_ref_and_their_meaning(fault: Fault, code: int, meaning: CodeMeaning) -> None:
    with gateway(fault) as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=450))
        error = mailbox.wait(broker.ErrorReported, lambda e: e.vendor_code == code)
        assert (error.order_ref, error.meaning) == ("ZH-paper-a-e", meaning)


def test_cancel_of_an_order_that_the_session_does_not_know_is_unknown_not_cancelled() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(broker.WithdrawOrder(order_ref="ZH-paper-z-e", session_epoch=EPOCH))
        assert mailbox.wait(broker.ErrorReported).meaning is CodeMeaning.ORDER_UNKNOWN


def test_read_back_without_a_link_fails_instead_of_being_empty() -> None:
    with gateway() as world, orders_port(world, is_dialled=False) as (port, mailbox):
        port.post(broker.ReadBack(session_epoch=EPOCH, read_n=1))
        assert "no link" in mailbox.wait(broker.BrokerReadFailed).why
        port.post(broker.Dial(session_epoch=EPOCH, gateway_n=0))
        mailbox.wait(broker.LinkUp)
        world.inject(Fault(FaultKind.DROP_HALF_OPEN, duration_s=3_600))
        port.post(broker.ReadBack(session_epoch=EPOCH, read_n=2))
        world.inject(Fault(FaultKind.DROP_RESET, duration_s=0.1))
        mailbox.wait(broker.BrokerReadFailed, lambda f: f.read_n == 2)
