"""The order port without a socket: what it writes, refuses and tells, to the nanosecond and to the code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, TypeVar

import pytest

from domain.instants import MS, SECOND
from domain.instruments import Contract, OrderType, Right, Side
from domain.orders.request import OrderChange, OrderRequest
from domain.orders.table import CodeMeaning, OrderStatus
from domain.risk.reject import RejectCode
from domain.units import Utc
from gateways.ib.codes import POSITIONS_NOT_READY
from gateways.ib.decoding import EXECUTION, OPEN_ORDER, WireFill
from gateways.ib.library import Contract as IbContract
from gateways.ib.library import Order, OrderState
from gateways.ib.link import REQUESTS_PER_S
from gateways.ib.orders_port import OrdersPort
from gateways.ib.orders_session import OrdersSession
from messages import broker
from messages.base import Message
from messages.broker import ReadGroup
from tests.testkit.ibkr_world import rules

T = TypeVar("T", bound=Message)
NOW = Utc(1_795_194_000 * SECOND)  # noon of 20 November 2026 in New York
CALL = Contract(7, "SPX", "SPXW", date(2026, 11, 20), 600_000, Right.CALL)
IB_CALL = IbContract(secType="OPT", conId=7, symbol="SPX", tradingClass="SPXW", right="C", multiplier="100")
REF, CLIENT_ID, EPOCH = "ZH-paper-a-e", 11, 3
AN_ERROR, A_NOTICE = 321, 2104


class Client:
    """Takes what would be written; `refusal` is what every write raises."""

    clientId = CLIENT_ID  # noqa: N815 - the library's name
    MaxRequests, RequestsInterval = REQUESTS_PER_S, 1.0

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.refusal: Exception | None = None
        self._timeQ: list[float] = []
        self._msgQ: list[str] = []
        self._reqIdSeq = 1

    def updateReqId(self, least: int) -> None:
        self._reqIdSeq = max(self._reqIdSeq, least)

    def getReqId(self) -> int:
        self._reqIdSeq += 1
        return self._reqIdSeq - 1

    def __getattr__(self, name: str) -> Callable[..., None]:
        def write(*args: Any) -> None:
            if self.refusal is not None:
                raise self.refusal
            self.sent.append((name, *args))

        return write


class Desk:
    """A port whose session is up, on a loop that a test runs by itself."""

    def __init__(self) -> None:
        self.now_utc_ = NOW
        self.heard: list[Message] = []
        self.port = OrdersPort(
            "port:ibkr:paper", gateways=(), client_id=CLIENT_ID, rules=rules(), clock=self,
            tell=lambda _, message: self.heard.append(message),
        )  # fmt: skip
        self.client = Client()
        self.session = self.port.new_session(EPOCH)
        self.session.client = self.client  # type: ignore[assignment]
        self.session.is_up = True
        self.port.session = self.session

    def now_utc(self) -> Utc:
        return self.now_utc_

    def of(self, kind: type[T]) -> list[T]:
        return [message for message in self.heard if isinstance(message, kind)]

    def place(self, **more: Any) -> broker.OrderDenied | None:
        """Post an entry and return how it was denied; `None`: it left."""
        epochs = {name: more.pop(name) for name in ("session_epoch", "kill_epoch") if name in more}
        fields: dict[str, Any] = {
            "order_ref": REF, "contract": CALL, "side": Side.BUY, "qty": 2, "order_type": OrderType.LIMIT,
            "limit_ticks": 510, "is_exit": False, "deadline_utc": NOW + SECOND,
        }  # fmt: skip
        command = broker.PlaceOrder(
            order=OrderRequest(**(fields | more)), **({"session_epoch": EPOCH, "kill_epoch": 0} | epochs)
        )
        return self._denied(command)

    def amend(self, **more: Any) -> broker.OrderDenied | None:
        fields: dict[str, Any] = {
            "order_ref": REF, "qty": 2, "order_type": OrderType.LIMIT, "limit_ticks": 520, "is_exit": False,
            "deadline_utc": NOW + SECOND,
        }  # fmt: skip
        return self._denied(broker.AmendOrder(change=OrderChange(**(fields | more)), session_epoch=EPOCH, kill_epoch=0))

    def _denied(self, command: broker.BrokerCommand) -> broker.OrderDenied | None:
        before = len(self.of(broker.OrderDenied))
        self.port._take(command)
        return next(iter(self.of(broker.OrderDenied)[before:]), None)

    def opens(
        self, order_id: int = 1, status: str | None = "Submitted", client_id: int = CLIENT_ID, **more: Any
    ) -> None:
        """Have an openOrder come."""
        fields: dict[str, Any] = {
            "clientId": client_id, "orderRef": REF, "action": "BUY", "totalQuantity": 2.0, "orderType": "LMT",
            "lmtPrice": 5.1, "permId": 900,
        }  # fmt: skip
        state = None if status is None else state_of(status)
        self.session.openOrder(order_id, IB_CALL, Order(**(fields | more)), state)

    def status(
        self, order_id: int | None = 1, text: str = "Submitted", client_id: int = CLIENT_ID, **more: Any
    ) -> None:
        """Have an orderStatus come."""
        fields: dict[str, Any] = {"filled": 0.0, "remaining": 2.0, "perm_id": 900} | more
        self.session.orderStatus(
            order_id, text, fields["filled"], fields["remaining"], 0.0, fields["perm_id"], 0, 0.0, client_id
        )

    def doubted(self) -> list[str | None]:
        """Return which orders an error that names none puts in doubt."""
        before = len(self.of(broker.ErrorReported))
        self.session.error(-1, AN_ERROR, "what was that?")
        found = self.of(broker.ErrorReported)[before:]
        return [fact.order_ref for fact in found if fact.meaning is CodeMeaning.ORDER_UNKNOWN]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr("gateways.ib.orders_session.ACCOUNT_PAUSE_S", 0.0)
    it = Desk()
    yield it
    it.port.loop.close()


def state_of(status: str) -> OrderState:
    state = OrderState()
    state.status = status
    return state


def fill(n: int = 1, qty: float = 1.0, perm_id: int = 900, time_text: str = "20261120 17:00:00 UTC") -> WireFill:
    return WireFill(
        f"a.{n:02}.01", "", "CBOE", "BOT", qty, 5.1, perm_id, CLIENT_ID, 1, 0, qty, 5.1, REF, time_text
    )  # fmt: skip


# -- the last check ---------------------------------------------------------------------------------


@pytest.mark.parametrize("is_change", [False, True])
@pytest.mark.parametrize("how", ["no session", "not up", "cut"])
def test_without_a_link_that_reaches_the_broker_nothing_is_written(desk: Desk, how: str, is_change: bool) -> None:
    if is_change:
        desk.place()
    if how == "no session":
        desk.port.session = None
    elif how == "not up":
        desk.session.is_up = False
    else:
        desk.session.is_cut = True
    before = len(desk.client.sent)
    denied = desk.amend() if is_change else desk.place()
    assert denied is not None
    assert (denied.code, denied.why) == (RejectCode.NOT_CONNECTED, "there is no link to the broker")
    assert len(desk.client.sent) == before


@pytest.mark.parametrize(
    ("late_ns", "why"),
    [(0, None), (MS - 1, None), (MS, "1 ms late at the socket"), (5 * MS, "5 ms late at the socket")],
)
def test_a_deadline_is_kept_to_the_millisecond(desk: Desk, late_ns: int, why: str | None) -> None:
    desk.now_utc_ = Utc(NOW + late_ns)
    denied = desk.place(deadline_utc=NOW)
    assert (None if denied is None else (denied.code, denied.why)) == (
        None if why is None else (RejectCode.DEADLINE_PASSED, why)
    )


@pytest.mark.parametrize(("ahead_ns", "is_sent"), [(-1, False), (0, False), (1, True)])
def test_an_entry_leaves_only_before_its_good_till(desk: Desk, ahead_ns: int, is_sent: bool) -> None:
    denied = desk.place(good_till_utc=Utc(NOW + ahead_ns))
    assert (denied is None) is is_sent
    assert is_sent or (denied is not None and denied.code is RejectCode.DEADLINE_PASSED)


def test_an_epoch_that_was_never_given_out_is_no_permit(desk: Desk) -> None:
    denied = desk.place(kill_epoch=-1)
    assert denied is not None
    assert denied.code is RejectCode.PERMIT_KILLED


def test_refusals_have_their_own_codes(desk: Desk) -> None:
    unknown = desk.amend(order_ref="ZH-paper-b-e")
    assert unknown is not None
    assert unknown.code is RejectCode.NOT_CONNECTED
    desk.client._timeQ = [desk.port.loop.time()] * REQUESTS_PER_S
    paced = desk.place()
    assert paced is not None
    assert paced.code is RejectCode.NOT_CONNECTED
    desk.port.refuse_entries("the process is latched")
    latched = desk.place()
    assert latched is not None
    assert (latched.code, latched.why) == (RejectCode.PERMIT_KILLED, "the process is latched")


def test_a_connection_that_breaks_under_an_order_denies_it_and_the_reference_stays_free(desk: Desk) -> None:
    desk.client.refusal = ConnectionError("broken pipe")
    denied = desk.place()
    assert denied is not None
    assert (denied.code, denied.why) == (RejectCode.NOT_CONNECTED, "broken pipe")
    assert not desk.of(broker.OrderSent)
    desk.client.refusal = None
    assert desk.place() is None
    assert [sent[0] for sent in desk.client.sent] == ["placeOrder"]


def test_a_cancel_that_cannot_leave_is_answered_without_a_vendor_code(desk: Desk) -> None:
    desk.port._take(broker.WithdrawOrder(order_ref="ZH-paper-b-e", session_epoch=EPOCH))
    (told,) = desk.of(broker.ErrorReported)
    assert (told.vendor_code, told.meaning) == (0, CodeMeaning.ORDER_UNKNOWN)


def test_a_clock_that_stepped_back_measures_nothing_and_what_was_measured_before_is_forgotten(desk: Desk) -> None:
    second = NOW // SECOND
    desk.port.on_time(desk.session, second, Utc(NOW + 900 * MS), Utc(NOW + 900 * MS))
    (narrow,) = desk.of(broker.ClockRead)
    assert narrow.round_trip_ms == 0
    desk.port.on_time(desk.session, second, Utc(NOW + 1), NOW)
    assert desk.of(broker.ClockRead) == [narrow]
    desk.port.on_time(desk.session, second - 40, Utc(NOW - 40 * SECOND), Utc(NOW - 40 * SECOND))
    assert (desk.of(broker.ClockRead)[-1].least_ms, desk.of(broker.ClockRead)[-1].most_ms) == (0, 1000)


# -- what an error that names no order puts in doubt ------------------------------------------------


def test_a_change_is_in_doubt_until_the_gateway_says_something_of_its_order(desk: Desk) -> None:
    desk.place()
    desk.opens()
    assert desk.doubted() == []
    desk.amend()
    assert desk.doubted() == [REF]
    assert desk.doubted() == [], "it was told once"


def test_a_change_that_never_left_is_not_in_doubt(desk: Desk) -> None:
    desk.place()
    desk.opens()
    desk.client.refusal = ConnectionError("broken pipe")
    desk.amend()
    assert desk.doubted() == []


@pytest.mark.parametrize("what", ["open order", "status", "execution", "error"])
def test_whatever_is_said_of_an_order_takes_it_out_of_doubt(desk: Desk, what: str) -> None:
    desk.place()
    if what == "open order":
        desk.opens()
    elif what == "status":
        desk.status()
    elif what == "execution":
        desk.session.execDetails(-1, IB_CALL, fill())
    else:
        desk.session.error(1, 399, "order notice")
    assert desk.doubted() == []


@pytest.mark.parametrize(("request_id", "code"), [(-1, A_NOTICE), (-1, 2100), (0, AN_ERROR), (77, AN_ERROR)])
def test_a_notice_or_the_error_of_another_request_doubts_no_order(desk: Desk, request_id: int, code: int) -> None:
    desk.place()
    desk.session.error(request_id, code, "not about orders")
    assert not [fact for fact in desk.of(broker.ErrorReported) if fact.order_ref == REF]
    assert desk.doubted() == [REF]


@pytest.mark.parametrize("is_asked", [True, False])
def test_positions_that_are_not_ready_end_the_request_for_them_or_are_told(desk: Desk, is_asked: bool) -> None:
    future = desk.session._positions.expect() if is_asked else None
    desk.session.error(-1, POSITIONS_NOT_READY, "not yet")
    assert bool(desk.of(broker.ErrorReported)) is not is_asked
    assert future is None or future.done()


def test_a_row_that_cannot_be_read_fails_its_own_group(desk: Desk) -> None:
    for message_id, name in ((OPEN_ORDER, ReadGroup.ORDERS), (EXECUTION, ReadGroup.EXECUTIONS)):
        under_way: dict[ReadGroup, asyncio.Future[Any]] = {
            ReadGroup.ORDERS: desk.session._open_orders.expect(),
            ReadGroup.COMPLETED: desk.session._completed_orders.expect(),
            ReadGroup.POSITIONS: desk.session._positions.expect(),
            ReadGroup.EXECUTIONS: desk.session._executions.expect(5),
        }
        desk.session.unreadable(message_id, "garbled")
        assert [group for group, future in under_way.items() if future.done()] == [name]


# -- what is heard of orders ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order_id", "client_id", "is_known"),
    [(1, CLIENT_ID, True), (0, CLIENT_ID, False), (-1, CLIENT_ID, False), (1, 99, False)],
)
def test_only_an_order_of_our_client_id_with_an_id_becomes_one_that_we_can_change(
    desk: Desk, order_id: int, client_id: int, is_known: bool
) -> None:
    desk.opens(order_id, client_id=client_id)
    assert (REF in desk.session.by_ref) is is_known
    assert bool(desk.of(broker.OrderStatusReported)) is is_known
    assert desk.client._reqIdSeq == (2 if is_known else 1)


@pytest.mark.parametrize(
    ("status", "is_known"),
    [("Submitted", True), ("Inactive", True), (None, True), ("Cancelled", False), ("Filled", False)],
)
def test_an_order_of_an_earlier_process_that_is_over_is_not_taken_up(
    desk: Desk, status: str | None, is_known: bool
) -> None:
    desk.opens(status=status)
    assert (REF in desk.session.by_ref) is is_known
    told = desk.of(broker.OrderStatusReported)
    assert bool(told) is is_known
    if status is None:
        assert (told[0].status, told[0].raw) == (OrderStatus.WORKING, "openOrder ?")
    elif told:
        assert told[0].raw == f"openOrder {status}"


def test_an_open_order_without_numbers_is_told_as_unknown_and_keeps_what_was_known(desk: Desk) -> None:
    desk.opens(permId=0, totalQuantity=float("nan"))
    (told,) = desk.of(broker.OrderStatusReported)
    assert (told.perm_id, told.qty, told.remaining_qty) == (0, 0, 0)
    desk.opens()
    desk.opens(permId=0, totalQuantity=float("nan"))
    told = desk.of(broker.OrderStatusReported)[-1]
    assert (told.perm_id, told.qty) == (900, 2)
    desk.opens(permId=901, totalQuantity=3.0)
    told = desk.of(broker.OrderStatusReported)[-1]
    assert (told.perm_id, told.qty, told.limit_ticks) == (901, 3, 510)


@pytest.mark.parametrize(("tif", "kept"), [("GTD", "20261120-17:00:10"), ("DAY", ""), ("", "")])
def test_a_change_keeps_the_good_till_that_the_broker_has(desk: Desk, tif: str, kept: str) -> None:
    desk.opens(tif=tif, goodTillDate="20261120-17:00:10")
    desk.amend()
    order = desk.client.sent[-1][-1]
    assert order.goodTillDate == kept


def test_a_status_adds_to_what_is_known_and_never_takes_from_it(desk: Desk) -> None:
    desk.place()
    desk.status(filled=1.0, remaining=1.0, perm_id=0)
    told = desk.of(broker.OrderStatusReported)[-1]
    assert (told.perm_id, told.filled_qty, told.remaining_qty) == (0, 1, 1)
    assert desk.session.by_ref[REF].perm_id == 0
    assert "filled=1 remaining=1" in told.raw
    desk.status(filled=None, remaining=None, perm_id=900)
    told = desk.of(broker.OrderStatusReported)[-1]
    assert (told.perm_id, told.filled_qty, told.remaining_qty) == (900, 1, 1)
    assert "filled=? remaining=?" in told.raw
    desk.status(perm_id=901)
    assert desk.session.by_ref[REF].perm_id == 900, "the first that was told is its own"
    desk.status(perm_id=None)
    assert desk.of(broker.OrderStatusReported)[-1].perm_id == 0


@pytest.mark.parametrize(("order_id", "client_id"), [(1, 99), (None, CLIENT_ID), (2, CLIENT_ID)])
def test_a_status_of_another_client_or_of_no_order_of_ours_says_nothing(
    desk: Desk, order_id: int | None, client_id: int
) -> None:
    desk.place()
    desk.status(order_id, client_id=client_id)
    assert not desk.of(broker.OrderStatusReported)


def test_what_an_older_session_hears_is_counted_and_dropped(desk: Desk) -> None:
    desk.place()
    desk.port.session = desk.port.new_session(EPOCH + 1)
    before = len(desk.heard)
    desk.opens()
    desk.status()
    desk.session.execDetails(-1, IB_CALL, fill())
    desk.session.position("", IB_CALL, 1.0, 510.0)
    desk.session.commissionReport("a.01.01", 1.3, "USD")
    desk.session.updateAccountValue("NetLiquidation", "1000", "USD")
    desk.session.accountDownloadEnd()
    desk.session.account_overdue()
    desk.session._report_account()
    desk.port.loop.run_until_complete(asyncio.sleep(0))
    assert len(desk.heard) == before
    assert desk.port.dropped == 9


# -- executions, fees, positions, the account -------------------------------------------------------


@pytest.mark.parametrize(("request_id", "is_certain"), [(-1, False), (0, True), (5, True)])
def test_an_execution_of_long_ago_is_believed_where_it_was_asked_for_and_not_where_it_is_told_live(
    desk: Desk, request_id: int, is_certain: bool
) -> None:
    desk.session.execDetails(request_id, IB_CALL, fill(time_text="20261120 15:00:00 UTC"))
    (told,) = desk.of(broker.ExecutionReported)
    assert told.execution.is_time_uncertain is not is_certain


def test_an_execution_that_was_asked_for_is_a_row_and_one_that_was_not_disturbs_the_reading(desk: Desk) -> None:
    desk.session._executions.expect(5)
    desk.session.execDetails(5, IB_CALL, fill(1))
    assert not desk.of(broker.ExecutionReported)
    assert not desk.session.is_disturbed
    desk.session.execDetails(-1, IB_CALL, fill(2))
    assert len(desk.of(broker.ExecutionReported)) == 1
    assert desk.session.is_disturbed


def test_what_an_execution_does_not_say_is_that_of_our_order(desk: Desk) -> None:
    stranger = fill()._replace(side="", order_ref=REF)
    desk.place()
    desk.session.execDetails(-1, IB_CALL, stranger)
    assert desk.of(broker.ExecutionReported)[0].execution.side is Side.BUY


@pytest.mark.parametrize(("cost", "cents"), [(510.25, 51_025), (None, 0)])
def test_a_position_without_a_cost_costs_nothing_that_is_known(desk: Desk, cost: float | None, cents: int) -> None:
    desk.session.position("", IB_CALL, 2.0, cost)
    (told,) = desk.of(broker.PositionReported)
    assert (told.qty, told.avg_cost_cents) == (2, cents)


@pytest.mark.parametrize(
    ("amount", "currency", "cents"), [(1.3, "USD", [130]), (1.3, "EUR", [None]), (1.3, "", [None]), (None, "USD", [])]
)
def test_a_fee_is_known_in_our_currency_alone(
    desk: Desk, amount: float | None, currency: str, cents: list[int | None]
) -> None:
    desk.session.commissionReport("a.01.02", amount, currency)
    assert [(fee.exec_id, fee.revision) for fee in desk.of(broker.CommissionReported)] == [("a.01", 2)] * len(cents)
    assert [fee.commission_cents for fee in desk.of(broker.CommissionReported)] == cents


# -- a read-back ------------------------------------------------------------------------------------


def answering(desk: Desk, **rows: Callable[[OrdersSession], None]) -> None:
    """Have every request of a read-back answered at once, with these rows."""
    session = desk.session
    ends: dict[str, tuple[str, Callable[..., None]]] = {
        "reqAllOpenOrders": ("orders", session.openOrderEnd),
        "reqCompletedOrders": ("completed", session.completedOrdersEnd),
        "reqPositions": ("positions", session.positionEnd), "reqExecutions": ("executions", session.execDetailsEnd),
    }  # fmt: skip

    def request(name: str) -> Callable[..., None]:
        kind, end = ends[name]

        def asked(*args: Any) -> None:
            desk.client.sent.append((name, *args))
            if kind in rows:
                rows[kind](session)
            end(*args[:1] if kind == "executions" else ())

        return asked

    for name in ends:
        setattr(desk.client, name, request(name))


def read(desk: Desk) -> broker.BrokerRead:
    desk.port.loop.run_until_complete(desk.port._read(broker.ReadBack(session_epoch=EPOCH, read_n=4)))
    return desk.of(broker.BrokerRead)[-1]


def completed(session: OrdersSession, **more: Any) -> None:
    fields: dict[str, Any] = {
        "orderRef": REF, "action": "BUY", "totalQuantity": 0.0, "filledQuantity": 2.0, "orderType": "LMT",
        "lmtPrice": 5.1, "permId": 900,
    }  # fmt: skip
    session.completedOrder(IB_CALL, Order(**(fields | more)), state_of("Filled"))


def test_the_executions_of_a_perm_id_add_up_and_an_order_without_one_has_none_of_them(desk: Desk) -> None:
    def executions(session: OrdersSession) -> None:
        for n, qty, perm_id in ((1, 1.0, 900), (2, 2.0, 900), (3, 4.0, 0)):
            session.execDetails(1, IB_CALL, fill(n, qty, perm_id, "20261120 15:00:00 UTC"))

    def orders(session: OrdersSession) -> None:
        desk.opens(totalQuantity=5.0)
        desk.opens(2, permId=0, orderRef="ZH-paper-b-e")

    answering(desk, executions=executions, orders=orders)
    found = read(desk)
    assert {order.order_ref: (order.qty, order.filled_qty) for order in found.orders} == {
        REF: (5, 3), "ZH-paper-b-e": (2, 0),
    }  # fmt: skip
    assert not any(execution.is_time_uncertain for execution in found.executions), "they were asked for"
    asked = [sent for sent in desk.client.sent if sent[0] == "reqCompletedOrders"]
    assert asked == [("reqCompletedOrders", False)], "not those of our client alone"


@pytest.mark.parametrize(
    ("told", "qty", "filled"),
    [
        ({}, 2, 2), ({"filledQuantity": 0.0}, 0, 0), ({"filledQuantity": float("nan")}, 0, 0),
        ({"totalQuantity": float("nan"), "filledQuantity": 1.0}, 1, 1), ({"totalQuantity": 3.0}, 3, 2),
    ],
)  # fmt: skip
def test_a_completed_order_is_as_large_as_what_it_filled_at_least(
    desk: Desk, told: dict[str, Any], qty: int, filled: int
) -> None:
    answering(desk, completed=lambda session: completed(session, **told))
    (order,) = read(desk).orders
    assert (order.qty, order.filled_qty) == (qty, filled)


def test_an_order_that_is_foreign_to_the_account_is_no_row(desk: Desk) -> None:
    desk.port.account = "DU1"
    answering(desk, completed=lambda session: completed(session, account="DU2"))
    assert read(desk).orders == ()


def test_each_group_that_does_not_answer_is_named_with_its_own_name(desk: Desk) -> None:
    desk.port.rules = rules(read_back_ms=1)
    answering(desk)
    for name, group in (
        ("reqAllOpenOrders", ReadGroup.ORDERS), ("reqCompletedOrders", ReadGroup.COMPLETED),
        ("reqPositions", ReadGroup.POSITIONS), ("reqExecutions", ReadGroup.EXECUTIONS),
    ):  # fmt: skip
        answered = vars(desk.client)[name]
        setattr(desk.client, name, lambda *_: None)
        assert [failure.group for failure in read(desk).failed] == [group]
        setattr(desk.client, name, answered)


# -- the account ------------------------------------------------------------------------------------


def told_soon(desk: Desk) -> list[Message]:
    """Let what is told together be told."""
    while desk.session._account_due is not None:
        desk.port.loop.run_until_complete(asyncio.sleep(0))
    return [fact for fact in desk.heard if isinstance(fact, broker.AccountRead | broker.AccountUnreadable)]


def test_account_values_are_told_together_once_they_are_there(desk: Desk) -> None:
    desk.session.updateAccountValue("Currency", "USD", "USD")
    assert desk.session._account_due is None
    desk.session.updateAccountValue("NetLiquidation", "1000", "USD")
    due: object = desk.session._account_due
    assert due is not None
    desk.session.updateAccountValue("AvailableFunds", "900", "USD")
    desk.session.accountDownloadEnd()
    assert desk.session._account_due is due, "one telling for all of them"
    (fact,) = told_soon(desk)
    assert isinstance(fact, broker.AccountRead)
    assert fact.nav_cents == 100_000


def test_account_values_of_other_accounts_are_not_ours(desk: Desk) -> None:
    desk.port.account = "DU1"
    desk.session.updateAccountValue("NetLiquidation", "1000", "USD", "DU2")
    desk.session.accountDownloadEnd("DU2")
    assert desk.session._account_due is None
    assert not desk.session._account.is_whole


def test_an_account_of_which_nothing_came_is_told_at_the_end_of_the_download(desk: Desk) -> None:
    desk.session.accountDownloadEnd()
    (fact,) = told_soon(desk)
    assert isinstance(fact, broker.AccountUnreadable)


def test_an_account_that_is_overdue_is_told_once(desk: Desk) -> None:
    desk.session.updateAccountValue("NetLiquidation", "0", "USD")
    assert told_soon(desk) == [], "not yet known, and there is time"
    desk.session.account_overdue()
    assert len(told_soon(desk)) == 1
    desk.session._account._told_why = ""
    desk.session.account_overdue()
    assert len(told_soon(desk)) == 1


def test_what_names_an_account_before_ours_is_known_is_left_to_the_read_back(desk: Desk) -> None:
    desk.session.is_up, accounts = False, list[str]()
    vars(desk.client).update(isReady=lambda: True, getAccounts=lambda: accounts)
    for _ in ("not told yet", "of another account than the first"):
        desk.session.execDetails(-1, IB_CALL, fill()._replace(account="DU2"))
        desk.session.position("DU2", IB_CALL, 3.0, 510.0)
        desk.opens(account="DU2")
        assert desk.heard == []
        accounts.append("DU1")
    desk.session.position("DU1", IB_CALL, 3.0, 510.0)
    assert [fact.qty for fact in desk.of(broker.PositionReported)] == [3]


def test_the_fee_of_an_execution_of_another_account_is_not_ours(desk: Desk) -> None:
    desk.port.account = "DU1"
    desk.session.execDetails(-1, IB_CALL, fill()._replace(account="DU2"))
    desk.session.execDetails(-1, IB_CALL, fill(2)._replace(account="DU1"))
    for n in (1, 2):
        desk.session.commissionReport(f"a.{n:02}.01", 1.3, "USD")
    assert [fee.exec_id for fee in desk.of(broker.CommissionReported)] == ["a.02"]
