"""The order port of Tastytrade against a broker of its shape over real sockets: what only a REST broker does wrong."""

from __future__ import annotations

from typing import Any

import pytest

from domain.instants import SECOND
from domain.instruments import OrderType, Side
from domain.orders.capabilities import BrokerCapability
from domain.orders.table import CodeMeaning, OrderStatus
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import AccountClass
from gateways.contract_book import ID_FLOOR, ContractBook
from gateways.tastytrade.orders_port import READ_TRIES
from messages import broker
from simulation.tastytrade.faults import Request, Trouble
from tests.testkit.ibkr_world import EPOCH, Mailbox
from tests.testkit.tastytrade_world import SECRET, amend, dialled, make_port, place, rest_broker

REF, EXIT = "ZH-paper-a-e", "ZH-paper-a-x1"


def status(heard: Mailbox, wanted: OrderStatus, ref: str = REF) -> broker.OrderStatusReported:
    return heard.wait(broker.OrderStatusReported, lambda fact: (fact.order_ref, fact.status) == (ref, wanted))


def error(heard: Mailbox, meaning: CodeMeaning, ref: str | None = REF) -> broker.ErrorReported:
    return heard.wait(broker.ErrorReported, lambda fact: (fact.order_ref, fact.meaning) == (ref, meaning))


def denied(heard: Mailbox, ref: str = REF) -> broker.OrderDenied:
    return heard.wait(broker.OrderDenied, lambda fact: fact.order_ref == ref)


def read_back(port: broker.BrokerPort, heard: Mailbox, read_n: int = 1, epoch: int = EPOCH) -> broker.BrokerRead:
    port.post(broker.ReadBack(session_epoch=epoch, read_n=read_n))
    return heard.wait(broker.BrokerRead, lambda read: (read.session_epoch, read.read_n) == (epoch, read_n))


def fills(heard: Mailbox, ref: str = REF) -> dict[str, int]:
    told = [fact.execution for fact in heard.of(broker.ExecutionReported)]
    return {execution.exec_id: execution.qty for execution in told if execution.order_ref == ref}


# -- the login ----------------------------------------------------------------------------------


def test_a_refused_login_is_said_and_not_tried_again_at_once() -> None:
    with rest_broker() as world:
        heard = Mailbox()
        port = make_port(world, heard, secret=("a-client-secret", "an-old-token"))
        try:
            for epoch in (1, 2):
                port.post(broker.Dial(session_epoch=epoch, gateway_n=0))
                failed = heard.wait(broker.LinkFailed, lambda fact, e=epoch: fact.session_epoch == e)  # type: ignore[misc]
                assert "refused the login (400)" in failed.why
                assert not any(secret in failed.why for secret in (*SECRET, "an-old-token"))
            assert world.asked("POST", "/oauth/token") == 1
        finally:
            port.close()


@pytest.fixture
def _no_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no heartbeat of the stream meet a token that a test has made old: that would be a lost link."""
    monkeypatch.setattr("gateways.tastytrade.stream.BEAT_MIN_S", 3_600.0)


@pytest.mark.usefixtures("_no_beat")
def test_a_token_that_ran_out_is_renewed_by_what_may_be_asked_twice() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.do(world.server.expire_tokens)
        assert read_back(port, heard).is_complete
        assert world.asked("POST", "/oauth/token") == 2


@pytest.mark.usefixtures("_no_beat")
def test_an_order_that_met_an_old_token_is_refused_and_not_sent_again() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.do(world.server.expire_tokens)
        port.post(place(world, limit_ticks=450))
        assert error(heard, CodeMeaning.ORDER_REFUSED).vendor_code == 401
        assert world.asked("POST", "/orders") == 1
        port.post(place(world, "ZH-paper-b-e", limit_ticks=450))
        status(heard, OrderStatus.WORKING, "ZH-paper-b-e")


@pytest.mark.parametrize("trouble", [{"status": 429}, {"status": 400}, {"status": 503}, {"is_cut": True}])
def test_a_login_that_fails_while_its_token_lives_denies_nothing(
    trouble: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateways.tastytrade.session.TOKEN_SHARE", 0.0)  # every request wants a newer token
    with rest_broker() as world, dialled(world) as (port, heard):
        port.post(place(world))
        status(heard, OrderStatus.FILLED)
        world.do(lambda: world.faults.troubles.extend([Trouble(Request.TOKEN, **trouble)] * 50))
        for ref in (EXIT, "ZH-paper-a-x2"):
            port.post(place(world, ref, side=Side.SELL, is_exit=True, limit_ticks=500, qty=1))
            status(heard, OrderStatus.FILLED, ref)
        assert not heard.of(broker.OrderDenied)
        assert not heard.wait(broker.PortFaulted).is_order_path  # who can still mend it is told


def test_a_login_that_hangs_holds_up_no_exit_while_the_token_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateways.tastytrade.session.TOKEN_SHARE", 0.0)
    with rest_broker() as world, dialled(world) as (port, heard):
        world.do(lambda: world.faults.troubles.append(Trouble(Request.TOKEN, is_done=True, after_s=3_600.0)))
        world.until(lambda: not world.faults.troubles)
        port.post(place(world))
        status(heard, OrderStatus.FILLED)


def test_another_account_than_the_configured_one_has_no_link() -> None:
    with rest_broker() as world:
        heard = Mailbox()
        port = make_port(world, heard, account="5WT99999")
        try:
            port.post(broker.Dial(session_epoch=1, gateway_n=0))
            assert heard.wait(broker.LinkFailed).why == "the login has another account"
        finally:
            port.close()


def test_a_link_says_the_class_and_the_port_of_its_host() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        up = heard.wait(broker.LinkUp)
        assert (up.account_class, up.port, up.account_matches) == (AccountClass.PAPER, 4002, True)
        assert BrokerCapability.COMBOS not in port.capabilities
        assert BrokerCapability.WHAT_IF in port.capabilities


def test_secrets_do_not_travel_without_tls_beyond_this_machine() -> None:
    with rest_broker() as world, pytest.raises(ValueError, match="https://"):
        make_port(world, Mailbox(), rest_url="http://broker.example:8080")


# -- orders whose answer never came -------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(Request.PLACE, status=503, is_done=True),
        Trouble(Request.PLACE, is_cut=True, is_done=True),
        Trouble(Request.PLACE, status=502, is_done=True),
    ],
    ids=["503 after it was taken", "cut after it was taken", "502 after it was taken"],
)
def test_an_order_without_an_answer_is_in_doubt_found_and_never_sent_again(trouble: Trouble) -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.faults.troubles.append(trouble)
        world.faults.is_silent = True
        port.post(place(world, limit_ticks=450))
        error(heard, CodeMeaning.ORDER_UNKNOWN)
        status(heard, OrderStatus.WORKING)  # found by looking: the stream says nothing
        (row,) = read_back(port, heard).orders
        assert (row.order_ref, row.is_working, row.limit_ticks) == (REF, True, 450)
        assert world.asked("POST", "/orders") == 1
        port.post(broker.WithdrawOrder(order_ref=REF, session_epoch=EPOCH))
        status(heard, OrderStatus.CANCELLED)


@pytest.mark.parametrize(
    "trouble",
    [Trouble(Request.PLACE, is_cut=True), Trouble(Request.PLACE, status=500)],
    ids=["cut before it was taken", "500 before it was taken"],
)
def test_an_order_that_never_arrived_is_in_doubt_too_and_stands_in_no_read_back(trouble: Trouble) -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.faults.troubles.append(trouble)
        port.post(place(world, limit_ticks=450))
        error(heard, CodeMeaning.ORDER_UNKNOWN)
        assert read_back(port, heard, 2).orders == ()
        assert world.asked("POST", "/orders") == 1


def test_an_order_that_shows_late_is_found_when_it_shows() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.faults.troubles.append(Trouble(Request.PLACE, is_cut=True, is_done=True))
        world.faults.is_silent, world.faults.hides_s = True, 1.0
        port.post(place(world, limit_ticks=450))
        error(heard, CodeMeaning.ORDER_UNKNOWN)
        assert status(heard, OrderStatus.WORKING).perm_id > 0


@pytest.mark.parametrize("code", [429, 422, 403])
def test_a_refusal_leaves_no_order_and_no_doubt(code: int) -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.faults.troubles.append(Trouble(Request.PLACE, status=code))
        port.post(place(world, limit_ticks=450))
        assert error(heard, CodeMeaning.ORDER_REFUSED).vendor_code == code
        assert heard.wait(broker.OrderSent).order_ref == REF
        assert read_back(port, heard, 2).orders == ()


def test_an_order_is_sent_when_its_bytes_left_and_known_before_its_answer() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.faults.troubles.append(Trouble(Request.PLACE, is_done=True, after_s=1.0))
        port.post(place(world, limit_ticks=450))
        heard.wait(broker.OrderSent)
        status(heard, OrderStatus.WORKING)  # the stream was faster than the answer that names the id
        port.post(broker.WithdrawOrder(order_ref=REF, session_epoch=EPOCH))
        status(heard, OrderStatus.CANCELLED)
        assert not heard.of(broker.ErrorReported)


def test_a_slow_answer_holds_up_no_other_order() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.faults.troubles.append(Trouble(Request.PLACE, after_s=3_600.0))
        port.post(place(world, limit_ticks=450))
        heard.wait(broker.OrderSent)
        port.post(place(world, "ZH-paper-b-e", limit_ticks=450))
        status(heard, OrderStatus.WORKING, "ZH-paper-b-e")
        assert not [fact for fact in heard.of(broker.OrderStatusReported) if fact.order_ref == REF]


def test_the_account_stays_in_the_port_whatever_the_vendor_says() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.do(lambda: setattr(world.server, "account", "5WT00002"))  # so that it names ours in its refusal
        port.post(place(world, limit_ticks=450))
        assert "..." in error(heard, CodeMeaning.ORDER_REFUSED).text
        assert "5WT00001" not in repr(heard.heard)


# -- the last check -----------------------------------------------------------------------------


def test_a_kill_that_comes_while_the_connection_is_made_stops_the_entry() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        requests = port._requests
        connected = requests._connected

        def slowly(timeout_s: float) -> object:
            connection = connected(timeout_s)
            port._latch = broker.LatchKill(level=KillLevel.NO_ENTRIES, kill_epoch=1)
            return connection

        requests._connected = slowly  # type: ignore[method-assign, assignment]
        port.post(place(world, limit_ticks=450))
        assert denied(heard).code is RejectCode.PERMIT_KILLED
        assert world.asked("POST", "/orders") == 0


def test_a_process_latch_stops_entries_and_lets_exits_pass() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        port.post(place(world))
        status(heard, OrderStatus.FILLED)
        port.refuse_entries("the supervisor is stopping")
        port.post(place(world, "ZH-paper-b-e", limit_ticks=450))
        assert denied(heard, "ZH-paper-b-e").why == "the supervisor is stopping"
        port.post(place(world, EXIT, side=Side.SELL, limit_ticks=500, is_exit=True))
        status(heard, OrderStatus.FILLED, EXIT)


def test_an_exit_never_sells_what_is_not_held() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        port.post(place(world, EXIT, side=Side.SELL, limit_ticks=500, is_exit=True))
        assert error(heard, CodeMeaning.ORDER_REFUSED, EXIT).vendor_code == 422
        assert read_back(port, heard).positions == ()


def test_a_change_of_size_is_denied_and_the_order_stands() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        port.post(place(world, limit_ticks=450))
        status(heard, OrderStatus.WORKING)
        port.post(amend(world, qty=3, limit_ticks=450))
        assert denied(heard).code is RejectCode.MISSING_INPUT
        assert world.asked("PATCH") == 0


def test_an_order_that_the_vendor_shows_no_more_is_nowhere_and_can_be_asked_for_no_longer() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        port.post(place(world, limit_ticks=450))
        status(heard, OrderStatus.WORKING)
        assert [order.order_ref for order in read_back(port, heard).orders] == [REF]
        world.do(world.server.desk.placed.clear)
        assert read_back(port, heard, 2).orders == ()
        port.post(amend(world, limit_ticks=460))
        assert denied(heard).code is RejectCode.NOT_CONNECTED


# -- replacing ----------------------------------------------------------------------------------


def test_an_order_that_fills_before_it_is_replaced_is_filled_once() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.faults.replace_s = 3_600.0
        port.post(place(world, limit_ticks=450))
        status(heard, OrderStatus.WORKING)
        port.post(amend(world, limit_ticks=460))
        world.until(lambda: len(world.server.desk.placed) == 2)
        world.do(lambda: world.market.set(world.market.call, 440, 450))
        assert status(heard, OrderStatus.FILLED).filled_qty == 2
        assert sum(fills(heard).values()) == 2
        read = read_back(port, heard)
        assert [(p.qty, p.contract) for p in read.positions] == [(2, world.call)]
        assert [(o.order_ref, o.status, o.filled_qty) for o in read.orders] == [(REF, OrderStatus.FILLED, 2)]


def test_an_order_that_fills_in_part_before_it_is_replaced_stands_as_it_was_and_is_in_doubt() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.faults.replace_s, world.faults.pieces = 3_600.0, (1,)
        port.post(place(world, limit_ticks=450))
        status(heard, OrderStatus.WORKING)
        port.post(amend(world, limit_ticks=460))
        world.until(lambda: len(world.server.desk.placed) == 2)
        world.do(lambda: world.market.set(world.market.call, 440, 450, ask_size=1))
        assert "filled before it was replaced" in error(heard, CodeMeaning.ORDER_REFUSED).text
        (row,) = [order for order in read_back(port, heard).orders if order.is_working or order.filled_qty]
        assert (row.order_ref, row.qty) == (REF, 2)


def test_what_is_left_of_a_partly_filled_order_is_replaced_and_fills_once() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.faults.pieces = (1,)
        world.do(lambda: world.market.set(world.market.call, 500, 510, ask_size=1))
        port.post(place(world))
        heard.wait(broker.ExecutionReported)
        world.do(lambda: world.market.set(world.market.call, 500, 520))
        status(heard, OrderStatus.WORKING)
        port.post(amend(world, limit_ticks=520))
        told = status(heard, OrderStatus.FILLED)
        assert (told.qty, told.filled_qty) == (2, 2)
        assert sum(fills(heard).values()) == 2
        assert world.do(lambda: world.exchange.position(world.market.call).qty) == 2
        (row,) = read_back(port, heard).orders
        assert (row.qty, row.filled_qty, row.is_working) == (2, 2, False)


def test_a_change_without_an_answer_is_in_doubt_and_stays_one_order() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        port.post(place(world, limit_ticks=450))
        status(heard, OrderStatus.WORKING)
        world.faults.troubles.append(Trouble(Request.REPLACE, is_cut=True, is_done=True))
        port.post(amend(world, limit_ticks=460))
        error(heard, CodeMeaning.ORDER_UNKNOWN)
        heard.wait(broker.OrderStatusReported, lambda fact: fact.limit_ticks == 460)
        (row,) = read_back(port, heard).orders
        assert (row.limit_ticks, row.is_working, row.qty) == (460, True, 2)
        assert not [fact for fact in heard.of(broker.OrderStatusReported) if fact.status is OrderStatus.CANCELLED]
        assert world.asked("PATCH", "1") == 1


def test_an_order_that_ends_while_its_change_is_refused_is_told_as_ended() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        port.post(place(world, limit_ticks=450))
        status(heard, OrderStatus.WORKING)
        world.faults.troubles.append(Trouble(Request.REPLACE, status=422, after_s=1.0))
        port.post(amend(world, limit_ticks=460))
        world.until(lambda: world.asked("PATCH", "1") == 1)
        world.do(lambda: world.server.desk.cancel(world.server.desk.placed[1]))
        assert status(heard, OrderStatus.CANCELLED).filled_qty == 0


# -- cancelling ---------------------------------------------------------------------------------


def test_a_refused_cancel_is_in_doubt_and_not_called_cancelled() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        port.post(place(world, limit_ticks=450))
        status(heard, OrderStatus.WORKING)
        world.faults.refuses_cancels = 1
        port.post(broker.WithdrawOrder(order_ref=REF, session_epoch=EPOCH))
        assert "rejected the cancel" in error(heard, CodeMeaning.ORDER_UNKNOWN).text
        (row,) = read_back(port, heard).orders
        assert row.is_working


def test_everything_is_cancelled_order_by_order_whoever_placed_it() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        for ref in ("ZH-paper-a-e", "ZH-paper-b-e", "a person's"):
            port.post(place(world, ref, limit_ticks=450))
            status(heard, OrderStatus.WORKING, ref)
        port.post(broker.CancelEverything(session_epoch=EPOCH))
        for ref in ("ZH-paper-a-e", "ZH-paper-b-e", "a person's"):
            status(heard, OrderStatus.CANCELLED, ref)


# -- the stream ---------------------------------------------------------------------------------


def test_a_dropped_stream_is_a_lost_link_and_what_it_missed_is_read_back() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        port.post(place(world, limit_ticks=450))
        status(heard, OrderStatus.WORKING)
        world.run(world.server.drop_streams())
        assert heard.wait(broker.LinkLost).session_epoch == EPOCH
        world.do(lambda: world.market.set(world.market.call, 440, 450))
        world.until(lambda: world.exchange.position(world.market.call).qty == 2)
        port.post(broker.Dial(session_epoch=EPOCH + 1, gateway_n=0))
        heard.wait(broker.LinkUp, lambda up: up.session_epoch == EPOCH + 1)
        read = read_back(port, heard, epoch=EPOCH + 1)
        assert [(e.order_ref, e.qty) for e in read.executions] == [(REF, 2)]
        assert len(heard.of(broker.LinkLost)) == 1


@pytest.mark.slow
def test_a_stream_that_answers_no_heartbeat_is_a_lost_link() -> None:
    with rest_broker() as world, dialled(world, heartbeat_max_ms=300) as (_, heard):
        world.faults.is_mute = True
        assert "heartbeat is overdue" in heard.wait(broker.LinkLost).cause


def test_while_the_stream_is_down_exits_leave_by_rest_and_no_read_back_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateways.tastytrade.orders_port.STREAM_AGAIN_S", 0.05)
    with rest_broker() as world:
        heard = Mailbox()
        # Its own waits are longer than a dial is given.
        port = make_port(world, heard, connect_timeout_ms=3_000, heartbeat_max_ms=3_600_000)
        world.faults.is_mute = True
        try:
            port.post(broker.Dial(session_epoch=EPOCH, gateway_n=0))
            assert heard.wait(broker.LinkUp).session_epoch == EPOCH
            read = read_back(port, heard)
            assert (read.allows_exits, read.is_complete) == (True, False)
            assert {failure.group for failure in read.failed} == {broker.ReadGroup.COMPLETED}
            assert "stream" in read.failed[0].why
            port.post(place(world))
            status(heard, OrderStatus.FILLED)
            port.post(place(world, EXIT, side=Side.SELL, is_exit=True, limit_ticks=500))
            status(heard, OrderStatus.FILLED, EXIT)
            world.faults.is_mute = False
            for read_n in range(2, 1_000):
                if read_back(port, heard, read_n).is_complete:
                    break
            else:
                pytest.fail("the stream did not come back")
            assert not heard.of(broker.LinkLost)
            world.run(world.server.drop_streams())
            assert heard.wait(broker.LinkLost).session_epoch == EPOCH
        finally:
            port.close()


def test_a_fill_that_the_stream_does_not_tell_is_found_all_the_same() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.faults.is_silent = True
        port.post(place(world, limit_ticks=450))
        status(heard, OrderStatus.WORKING)
        world.do(lambda: world.market.set(world.market.call, 440, 450))
        status(heard, OrderStatus.FILLED)
        assert sum(fills(heard).values()) == 2


def test_repeated_and_shuffled_notifications_tell_each_fill_once_and_end_alike() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.faults.repeats = world.faults.shuffles = True
        for n in range(4):
            world.faults.seed, world.faults.pieces, ref = n, (1, 1), f"ZH-paper-{n}-e"
            port.post(place(world, ref))
            told = status(heard, OrderStatus.FILLED, ref)
            assert (told.filled_qty, told.remaining_qty) == (2, 0)
            assert list(fills(heard, ref).values()) == [1, 1]
            assert len([f for f in heard.of(broker.ExecutionReported) if f.execution.order_ref == ref]) == 2
        assert read_back(port, heard).positions[0].qty == 8


def test_a_row_that_cannot_be_read_is_told_and_the_port_goes_on() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.faults.spoils_rows = 1
        port.post(place(world, limit_ticks=450))
        fault = heard.wait(broker.PortFaulted)
        assert fault.is_order_path
        status(heard, OrderStatus.WORKING)
        world.run(world.server.tell("no JSON"))
        port.post(broker.WithdrawOrder(order_ref=REF, session_epoch=EPOCH))
        status(heard, OrderStatus.CANCELLED)


# -- reading back -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_kind", "groups", "allows_exits"),
    [
        (Request.POSITIONS, {broker.ReadGroup.POSITIONS}, False),
        (Request.ORDERS, {broker.ReadGroup.ORDERS, broker.ReadGroup.COMPLETED, broker.ReadGroup.EXECUTIONS}, False),
    ],
)
def test_a_group_that_cannot_be_read_fails_and_is_not_empty(
    request_kind: Request, groups: set[broker.ReadGroup], allows_exits: bool
) -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.faults.troubles.extend([Trouble(request_kind, status=500)] * READ_TRIES)
        read = read_back(port, heard)
        assert {failure.group for failure in read.failed} == groups
        assert read.allows_exits is allows_exits
        assert read_back(port, heard, 2).is_complete


@pytest.mark.parametrize("request_kind", [Request.POSITIONS, Request.ORDERS])
@pytest.mark.parametrize("trouble", [{"status": 429}, {"status": 503}, {"is_cut": True}])
def test_a_request_that_fails_once_makes_no_read_back_incomplete_and_holds_up_no_exit(
    request_kind: Request, trouble: dict[str, Any]
) -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.faults.troubles.append(Trouble(request_kind, **trouble))
        assert read_back(port, heard).is_complete


def test_a_foreign_order_by_an_amount_of_money_is_a_stranger_and_bars_no_exit() -> None:
    leg = {"instrument-type": "Cryptocurrency", "symbol": "BTC/USD", "action": "Buy to Open", "fills": []}
    order = {"id": 99, "status": "Filled", "order-type": "Notional Market", "value": "100.0", "legs": [leg]}
    with rest_broker() as world, dialled(world) as (port, heard):
        world.do(lambda: setattr(world.faults, "strange_orders", [order, order | {"id": 98, "status": "Live"}]))
        port.post(place(world))
        status(heard, OrderStatus.FILLED)
        read = read_back(port, heard)
        assert read.is_complete
        assert read.allows_exits
        strangers = [(row.con_id, row.qty, row.is_working) for row in read.orders if not row.order_ref]
        assert strangers == [(0, broker.QTY_UNKNOWN, True), (0, broker.QTY_UNKNOWN, False)]
        assert not heard.of(broker.PortFaulted)


def test_lists_of_several_pages_are_read_whole() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.faults.page_size = 2
        for n in range(5):
            port.post(place(world, f"ZH-paper-{n}-e", limit_ticks=450))
            status(heard, OrderStatus.WORKING, f"ZH-paper-{n}-e")
        assert len(read_back(port, heard).orders) == 5


def test_a_rejected_order_is_inactive_with_the_brokers_reason() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        world.faults.rejects_orders = 1
        port.post(place(world, limit_ticks=450))
        status(heard, OrderStatus.INACTIVE)
        assert error(heard, CodeMeaning.ORDER_REJECTED).text == "the venue rejected it"
        (row,) = read_back(port, heard).orders
        assert not row.is_working


def test_a_corrected_fill_is_told_in_its_next_revision() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        port.post(place(world))
        (fill_id,) = (heard.wait(broker.ExecutionReported).execution.exec_id,)
        heard.wait(broker.CommissionReported)
        world.do(lambda: world.server.desk.correct(fill_id, 5))
        told = heard.wait(broker.ExecutionReported, lambda fact: fact.execution.revision == 2).execution
        assert (told.exec_id, told.price_ticks, told.qty) == (fill_id, 515, 2)
        assert [(e.revision, e.price_ticks) for e in read_back(port, heard).executions] == [(2, 515)]


def test_an_order_of_an_earlier_process_is_known_by_its_reference() -> None:
    with rest_broker() as world:
        with dialled(world) as (port, heard):
            port.post(place(world, limit_ticks=450))
            status(heard, OrderStatus.WORKING)
        with dialled(world) as (port, heard):
            port.post(place(world, limit_ticks=450))
            assert denied(heard).code is RejectCode.DUPLICATE_REF
            port.post(amend(world, limit_ticks=460))
            heard.wait(broker.OrderStatusReported, lambda fact: fact.limit_ticks == 460)


def test_what_nobody_here_ever_traded_is_held_under_an_id_of_its_own() -> None:
    with rest_broker() as world:
        with dialled(world) as (port, heard):
            port.post(place(world))
            status(heard, OrderStatus.FILLED)
        with dialled(world, contracts=ContractBook()) as (port, heard):
            (held,) = read_back(port, heard).positions
            assert held.contract.con_id >= ID_FLOOR
            assert (held.contract.label, held.contract.ticker, held.qty) == (world.call.label, "SPX", 2)


def test_an_order_ends_by_itself_when_its_time_is_over() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        port.post(place(world, limit_ticks=450, good_till_utc=world.clock.now_utc() + SECOND))
        assert status(heard, OrderStatus.CANCELLED).filled_qty == 0


def test_a_stop_order_rests_until_its_trigger() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        port.post(place(world))
        status(heard, OrderStatus.FILLED)
        stop = {"side": Side.SELL, "order_type": OrderType.STOP, "limit_ticks": None, "stop_ticks": 300}
        port.post(place(world, EXIT, is_exit=True, **stop))
        status(heard, OrderStatus.PENDING, EXIT)
        world.do(lambda: world.market.set(world.market.call, 290, 310))
        status(heard, OrderStatus.FILLED, EXIT)


def test_a_margin_is_told_without_placing_anything() -> None:
    with rest_broker() as world, dialled(world) as (port, heard):
        asked = place(world).order
        port.post(broker.AskMargin(session_epoch=EPOCH, request_id="1", reply_to="risk:paper", order=asked))
        told = heard.wait(broker.MarginTold)
        assert (told.init_margin_change_cents, told.why) == (102_000, "")
        assert read_back(port, heard, 2).orders == ()


def test_a_broker_that_answers_nothing_any_more_is_a_lost_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateways.tastytrade.orders_port.BEAT_S", 0.05)
    with rest_broker() as world, dialled(world, heartbeat_max_ms=100) as (_, heard):
        world.faults.troubles += [Trouble(Request.BALANCES, status=503)] * 3
        assert "3 requests in a row failed" in heard.wait(broker.LinkLost).cause
