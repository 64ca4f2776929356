"""What a read-back settles, row by row and group by group: orders, questions, holdings, and what it leaves alone."""

from __future__ import annotations

import pytest

from domain.alarm import Severity
from domain.instants import MS, SECOND
from domain.instruments import OrderType, Side
from domain.orders.table import CodeMeaning, OrderStage, OrderStatus
from domain.risk.reject import RejectCode
from domain.units import Utc
from messages import broker, orders, positions, session
from messages.broker import BrokerOrder, Execution, ReadGroup
from messages.operator import Alarm
from messages.restored import IbkrRestored, OwnOrder
from tests.testkit.ibkr_history import (
    ENTRY,
    EXIT,
    EXIT_2,
    OWNER,
    History,
    broker_fill,
    broker_order,
    ended_order,
)

OWN_EXIT = IbkrRestored(orders=(OwnOrder(order_ref=EXIT, con_id=7, is_exit=True, side=Side.SELL, qty=2),))
ABANDON_NS = 10 * SECOND


def asked_again(ref: str = ENTRY, held: dict[int, int] | None = None) -> History:
    """A session with a working order, on a link that came back: the order is in doubt and a read-back is under way."""
    h = History().live(held).working(ref)
    h.lost()
    h.back()
    return h


def nowhere(ref: str = EXIT) -> History:
    """A session with an order that was given up, while two contracts are held."""
    h = History().live({7: 2})
    h.submit_exit(ref)
    h.sent(ref)
    h.lost()
    h.back()
    h.sleep(10)
    h.read(held={7: 2})
    assert h.order(ref).stage is OrderStage.MISSING
    return h


def reconcile(h: History) -> History:
    h.feed(session.RequestReconcile(why="test"))
    return h


# -- how an order has ended ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "fills", "cause", "total"),
    [
        ([ended_order(ENTRY, OrderStatus.CANCELLED, 1)], [], OrderStatus.CANCELLED, 1),
        ([ended_order(ENTRY, OrderStatus.CANCELLED, 0)], [broker_fill(ENTRY, 2)], OrderStatus.FILLED, 2),
        ([], [broker_fill(ENTRY, 2)], OrderStatus.FILLED, 2),
        ([], [broker_fill(ENTRY, 1)], OrderStatus.UNKNOWN, 1),
        # two rows of one reference: the last word counts
        ([ended_order(ENTRY, OrderStatus.INACTIVE, 0), ended_order(ENTRY, OrderStatus.CANCELLED, 1)], [],
         OrderStatus.CANCELLED, 1),
    ],
)  # fmt: skip
def test_order_that_is_over_is_told_with_its_cause_and_the_most_that_filled(
    rows: list[BrokerOrder], fills: list[Execution], cause: OrderStatus, total: int
) -> None:
    h = asked_again()
    told = h.read(*rows, executions=fills)
    assert [(end.cause, end.filled_qty_total) for end in told.told(orders.OrderClosed, OWNER)] == [(cause.value, total)]
    assert told.told(orders.RecordOrderIds, "desk_ledger")[-1].status == cause.value


@pytest.mark.parametrize(("code", "words"), [(201, "no margin"), (0, "inactive")])
def test_order_that_a_read_back_finds_inactive_without_a_fill_was_refused(code: int, words: str) -> None:
    h = asked_again()
    if code:
        h.error(ENTRY, code, CodeMeaning.ORDER_UNKNOWN, words)
        h.read()  # it began before the code came
    told = h.read(ended_order(ENTRY, OrderStatus.INACTIVE, 0))
    assert [(r.vendor_code, r.text) for r in told.told(orders.OrderRejected, OWNER)] == [(code, words)]
    assert [(r.vendor_code, r.text) for r in told.published(orders.BrokerRefused)] == [(code, words)]
    assert told.told(orders.RecordOrderIds, "desk_ledger")[-1].status == OrderStatus.INACTIVE.value
    assert not told.told(orders.OrderClosed)


def test_working_row_counts_before_one_that_has_ended() -> None:
    h = asked_again()
    h.read(ended_order(ENTRY, OrderStatus.CANCELLED, 0), broker_order(ENTRY), ended_order(ENTRY, OrderStatus.FILLED, 2))
    assert h.order(ENTRY).stage is OrderStage.WORKING


def test_order_that_has_ended_is_told_once_however_often_it_is_read() -> None:
    h = asked_again()
    for _ in range(3):
        h.read(ended_order(ENTRY, OrderStatus.CANCELLED, 1), executions=[broker_fill(ENTRY, 1)])
        reconcile(h)
    assert len(h.told(orders.OrderClosed)) == 1


@pytest.mark.parametrize(
    ("group", "is_over"),
    [
        (ReadGroup.ORDERS, False),
        (ReadGroup.EXECUTIONS, False),
        (ReadGroup.COMPLETED, True),
        (ReadGroup.POSITIONS, True),
    ],
)
def test_order_that_filled_in_part_and_is_not_found_is_over_once_orders_and_executions_were_read(
    group: ReadGroup, is_over: bool
) -> None:
    h = History().live().working()
    h.fill(ENTRY, 1)
    h.lost()
    h.back()
    told = h.read_but(group, executions=[broker_fill(ENTRY, 1)])
    assert bool(told.told(orders.OrderClosed)) is is_over
    assert h.order(ENTRY).stage is (OrderStage.ENDED if is_over else OrderStage.IN_DOUBT)


# -- orders that are nowhere ---------------------------------------------------------------------


@pytest.mark.parametrize(("early_ns", "is_given_up"), [(0, True), (1, False)])
def test_order_is_given_up_from_the_end_of_its_wait_on(early_ns: int, is_given_up: bool) -> None:
    h = History().live({7: 2})
    h.submit_exit()
    h.sent(EXIT)
    h.lost()
    h.back()
    h.probe.now = Utc(h.order(EXIT).handed_utc + ABANDON_NS - 2 * MS - early_ns)  # the answer and the ledger's
    told = h.read(held={7: 2})
    assert bool(told.told(orders.OrderNotFound)) is is_given_up
    assert (("read_again", "") in h.probe.timers) is not is_given_up


def test_order_that_was_given_up_is_told_so_once() -> None:
    h = nowhere()
    reconcile(h)
    h.read(held={7: 2})
    assert len(h.told(orders.OrderNotFound)) == 1


def test_order_that_never_left_the_port_is_given_up_too() -> None:
    h = History().live({7: 2})
    h.submit_exit()
    h.sleep(10)
    reconcile(h)
    assert len(h.read(held={7: 2}).told(orders.OrderNotFound, OWNER)) == 1


# -- orders that work ----------------------------------------------------------------------------


def test_exit_that_was_given_up_and_is_found_working_is_cancelled_though_there_is_something_to_sell() -> None:
    h = reconcile(nowhere())
    told = h.read(broker_order(EXIT, side=Side.SELL), held={7: 2})
    assert [cancel.order_ref for cancel in told.told(broker.WithdrawOrder)] == [EXIT]


def test_exit_that_had_ended_and_is_found_working_goes_on_while_there_is_something_to_sell() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.status(EXIT, OrderStatus.CANCELLED)
    reconcile(h)
    assert not h.read(broker_order(EXIT, side=Side.SELL), held={7: 2}).told(broker.WithdrawOrder)
    assert h.order(EXIT).stage is OrderStage.WORKING


def test_row_without_the_brokers_own_number_leaves_the_one_that_is_known() -> None:
    h = asked_again()
    h.read(broker_order(ENTRY, perm_id=0))
    assert h.order(ENTRY).perm_id == 900


def test_change_that_was_lost_with_the_link_is_our_own_refusal_and_not_the_brokers() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.modify(EXIT, limit_ticks=480)
    h.lost()
    h.back()
    told = h.read(broker_order(EXIT, side=Side.SELL), held={7: 2})
    refused = [(fact.vendor_code, fact.text) for fact in told.told(orders.ModifyRefused, OWNER)]
    assert refused == [(0, "the change did not reach the broker")]
    assert not told.published(orders.BrokerRefused)


def test_order_under_another_client_id_is_a_page() -> None:
    h = History().start(OWN_EXIT)
    h.up()
    told = h.read(broker_order(EXIT, side=Side.SELL, is_of_other_client=True), held={7: 2})
    assert [alarm.severity for alarm in told.published(Alarm)] == [Severity.CRITICAL]


def test_reference_that_a_read_back_shows_is_never_sent() -> None:
    h = reconcile(History().live())
    h.read(broker_order(ENTRY))
    (denied,) = h.submit(ENTRY).told(broker.OrderDenied)
    assert denied.code is RejectCode.DUPLICATE_REF


# -- orders of others ----------------------------------------------------------------------------


def with_stray() -> History:
    """A session that holds two contracts, one of which somebody else's order may still sell."""
    h = History().live({7: 2}).working(EXIT)
    h.status(EXIT, OrderStatus.CANCELLED)
    reconcile(h)
    h.read(broker_order("", perm_id=5, side=Side.SELL, qty=2, filled_qty=1), held={7: 2})
    return h


def test_order_of_somebody_else_is_on_sale_for_what_it_has_not_sold_yet() -> None:
    h = with_stray()
    assert [stray.qty for stray in h.state.strays] == [1]
    assert not h.submit_exit(EXIT_2, qty=2).told(broker.PlaceOrder)
    assert h.submit_exit(EXIT_2, qty=1).told(broker.PlaceOrder)


@pytest.mark.parametrize("group", ReadGroup)
def test_orders_of_others_are_forgotten_only_where_the_orders_were_read(group: ReadGroup) -> None:
    h = reconcile(with_stray())
    h.read_but(group, held={7: 2})
    assert bool(h.state.strays) is (group is ReadGroup.ORDERS)


# -- holdings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ReadGroup)
def test_holdings_are_told_wherever_they_were_read(group: ReadGroup) -> None:
    h = reconcile(History().live({7: 2}).working(EXIT))
    before_utc = h.state.read_utc
    told = h.read_but(group, rows=[broker_order(EXIT, side=Side.SELL)], held={7: 1})
    is_read = group is not ReadGroup.POSITIONS
    assert [read.qty for read in told.told(positions.BrokerPositionRead, OWNER)] == ([1] if is_read else [])
    assert (h.state.read_utc > before_utc) is is_read


# -- questions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "fills", "answered_without"),
    [
        (EXIT, [], {ReadGroup.EXECUTIONS, ReadGroup.COMPLETED}),
        (ENTRY, [], set()),
        (EXIT, [broker_fill(EXIT, 1, side=Side.SELL)], {ReadGroup.POSITIONS, ReadGroup.COMPLETED}),
        (ENTRY, [broker_fill(ENTRY, 1)], {ReadGroup.POSITIONS, ReadGroup.COMPLETED}),
    ],
)
@pytest.mark.parametrize("group", ReadGroup)
def test_question_about_an_order_that_is_not_found_needs_the_groups_that_could_hold_it(
    ref: str, fills: list[Execution], answered_without: set[ReadGroup], group: ReadGroup
) -> None:
    h = History().live()
    h.query(ref)
    told = h.read_but(group, executions=fills)
    answers = (*told.told(orders.OrderNotFound, OWNER), *told.told(orders.OrderFound, OWNER))
    assert bool(answers) is (group in answered_without)
    assert not told.told(broker.ReadBack), "what cannot be answered is asked again after a while, not at once"


def test_answer_from_executions_alone_says_no_more_than_they_do() -> None:
    h = History().live()
    h.query()
    (found,) = h.read(executions=[broker_fill(ENTRY, 1)]).told(orders.OrderFound, OWNER)
    assert (found.is_working, found.perm_id, found.filled_qty, found.qty) == (False, 900, 1, 1)
    assert (found.order_type, found.limit_ticks, found.status) == (None, None, OrderStatus.UNKNOWN.value)


def test_answer_from_a_row_says_what_it_shows() -> None:
    h = History().live()
    h.query()
    (found,) = h.read(broker_order(ENTRY, qty=3, limit_ticks=480)).told(orders.OrderFound, OWNER)
    assert (found.is_working, found.qty, found.order_type, found.limit_ticks) == (True, 3, OrderType.LIMIT, 480)
    assert found.status == OrderStatus.WORKING.value


# -- a loss in between ---------------------------------------------------------------------------


@pytest.mark.parametrize("timer", ["read_back", "reconcile", "read_rest"])
def test_loss_ends_every_wait_of_the_read_back(timer: str) -> None:
    h = History().start()
    h.up()
    if timer == "reconcile":
        h.broker_read()
    if timer == "read_rest":
        h.read_but(ReadGroup.COMPLETED)
    assert (timer, "") in h.probe.timers
    h.lost()
    assert (timer, "") not in h.probe.timers
