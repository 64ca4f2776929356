"""What a gateway, a ledger or another client does to the broker session's actor, and what must not come of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time, timedelta

import pytest

from domain.alarm import Severity
from domain.instants import MINUTE, SECOND, at_exchange
from domain.instruments import Contract, OrderType, Right, Side
from domain.orders.intent import Permit
from domain.orders.table import CodeMeaning, OrderStage, OrderStatus
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.dialling import LinkState
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.units import Utc
from messages import broker, lifecycle, orders, positions, risk, session
from messages.broker import ReadGroup
from messages.operator import Alarm
from messages.restored import IbkrRestored, OwnOrder
from tests.testkit.ibkr_history import (
    CALL,
    ENTRY,
    EXIT,
    EXIT_2,
    OWNER,
    History,
    broker_fill,
    broker_order,
    ended_order,
)
from tests.testkit.probe import Outbox

UNKNOWN, REJECTED = CodeMeaning.ORDER_UNKNOWN, CodeMeaning.ORDER_REJECTED
READ_ONLY = "321 Error validating request: the API interface is currently in Read-Only mode."
OWN_EXIT = IbkrRestored(orders=(OwnOrder(order_ref=EXIT, con_id=7, is_exit=True, side=Side.SELL, qty=2),))
TODAY = date(2026, 11, 20)
OPEN_UTC = at_exchange(TODAY, time(9, 30))


def exit_n(n: int) -> str:
    return f"{EXIT[:-1]}{n}"


def started() -> History:
    h = History().start()
    h.up()
    return h


# -- read-backs whose groups fail one by one ----------------------------------------------------


@pytest.mark.parametrize("group", [ReadGroup.COMPLETED, ReadGroup.EXECUTIONS])
def test_exits_leave_without_the_history_and_entries_wait_for_it(group: ReadGroup) -> None:
    h = started()
    told = h.read_but(group, held={7: 2})
    assert h.mode() is Mode.DATA_ONLY
    assert [(f.positions, f.is_complete) for f in told.published(session.ReconcileFinished)] == [(((7, 2),), False)]
    assert group.value in told.published(Alarm)[0].text
    assert h.submit().told(broker.OrderDenied)[0].code is RejectCode.MODE_DATA_ONLY
    assert h.submit_exit().told(broker.PlaceOrder)[0].order.is_exit
    assert not h.sleep(4.9).told(broker.ReadBack)
    assert len(h.sleep(0.2).told(broker.ReadBack)) == 1
    told = h.read(held={7: 2})
    assert h.mode() is Mode.WARMUP
    assert [f.is_complete for f in told.published(session.ReconcileFinished)] == [True]


def test_groups_that_stay_unreadable_are_read_every_five_seconds_and_announced_to_positions_once() -> None:
    h = started()
    for _ in range(4):
        h.read_but(ReadGroup.COMPLETED, held={7: 2})
        assert len(h.sleep(5.01).told(broker.ReadBack)) == 1
    assert len(h.published(session.ReconcileFinished)) == 1


def test_read_only_gateway_is_paged_with_the_brokers_words_and_the_remedy_and_no_exit_leaves() -> None:
    h = started()
    told = h.read_but(ReadGroup.ORDERS, why=READ_ONLY, held={7: 2})
    (page,) = told.published(Alarm)
    assert page.severity is Severity.CRITICAL
    assert "No exit can leave" in page.text
    assert "Read-Only mode" in page.text
    assert "Untick 'Read-Only API'" in page.text
    assert not told.published(session.ReconcileFinished)
    (held,) = h.submit_exit().told(orders.ExitHeld)
    assert not held.allows_exits
    h.sleep(5.1)
    h.read(held={7: 2})
    assert h.submit_exit().told(broker.PlaceOrder)


def test_read_only_gateway_with_nothing_held_is_no_page() -> None:
    h = started()
    (alarm,) = h.read_but(ReadGroup.ORDERS, why=READ_ONLY).published(Alarm)
    assert alarm.severity is Severity.HIGH


def test_positions_that_were_never_read_may_be_anything_and_are_paged() -> None:
    h = started()
    (page,) = h.read_but(ReadGroup.POSITIONS).published(Alarm)
    assert page.severity is Severity.CRITICAL
    assert h.submit_exit().told(orders.ExitHeld)


@pytest.mark.parametrize("group", [ReadGroup.ORDERS, ReadGroup.POSITIONS])
def test_live_session_that_cannot_read_orders_or_positions_any_more_degrades_on_its_link(group: ReadGroup) -> None:
    h = History().live({7: 2})
    h.feed(session.RequestReconcile(why="test"))
    h.read_but(group)
    assert h.mode() is Mode.DEGRADED
    assert not h.told(broker.CloseLink)
    assert h.submit_exit().told(orders.ExitHeld)


def test_live_session_that_cannot_read_the_history_goes_on_and_reads_again() -> None:
    h = History().live({7: 2})
    h.feed(session.RequestReconcile(why="test"))
    h.read_but(ReadGroup.COMPLETED, held={7: 2})
    assert h.mode() is Mode.FULLY_LIVE
    assert h.sleep(5.1).told(broker.ReadBack)


def test_positions_that_could_not_be_read_leave_what_was_known_of_them() -> None:
    h = History().live({7: 2})
    h.feed(session.RequestReconcile(why="test"))
    h.read_but(ReadGroup.POSITIONS)
    assert h.state.position(7) == 2
    assert not h.told(positions.BrokerPositionRead)


def test_exit_in_doubt_is_not_ended_by_orders_that_could_not_be_read() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.error(EXIT, 104, UNKNOWN)
    h.read_but(ReadGroup.ORDERS, executions=[broker_fill(EXIT, 1, side=Side.SELL)], held={7: 1})
    assert h.order(EXIT).stage is OrderStage.IN_DOUBT
    assert not h.told(orders.OrderClosed)


def test_exit_that_is_nowhere_is_given_up_without_the_history_so_that_the_next_can_leave() -> None:
    h = History().live({7: 2})
    h.submit_exit()
    h.sent(EXIT)
    h.lost()
    h.back()
    h.sleep(10)
    h.read_but(ReadGroup.EXECUTIONS, ReadGroup.COMPLETED, held={7: 2})
    assert h.told(orders.OrderNotFound, OWNER)
    assert h.submit_exit(EXIT_2).told(broker.PlaceOrder)


def test_entry_that_is_nowhere_is_looked_for_until_everything_was_read() -> None:
    h = History().live().working()
    h.lost()
    h.back()
    h.sleep(10)
    h.query()
    h.read_but(ReadGroup.COMPLETED)
    assert not h.told(orders.OrderNotFound)
    h.sleep(5.1)
    h.read()
    assert h.told(orders.OrderNotFound)
    assert h.order(ENTRY).stage is OrderStage.MISSING


def test_question_about_an_ended_order_waits_for_the_executions_and_one_about_a_working_order_does_not() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.query(EXIT)
    h.read_but(ReadGroup.EXECUTIONS, rows=[ended_order(EXIT, OrderStatus.CANCELLED, 0, side=Side.SELL)], held={7: 2})
    assert not h.told(orders.OrderFound)
    h.sleep(5.1)
    h.read(ended_order(EXIT, OrderStatus.CANCELLED, 0, side=Side.SELL), held={7: 2})
    assert [found.is_working for found in h.told(orders.OrderFound)] == [False]
    h.query(ENTRY)
    h.read_but(ReadGroup.EXECUTIONS, rows=[broker_order(ENTRY)])
    assert [found.is_working for found in h.told(orders.OrderFound)] == [False, True]


def test_ledger_that_does_not_answer_keeps_no_exit_back_and_halts_entries() -> None:
    h = started()
    h.broker_read(held={7: 2})
    h.sleep(10.1)
    assert h.told(risk.RaiseKill, "kill")[0].level is KillLevel.NO_ENTRIES
    assert h.mode() is Mode.DATA_ONLY
    assert not h.published(session.ReconcileFinished)[0].is_complete
    assert h.submit_exit().told(broker.PlaceOrder)
    h.sleep(5.1)
    h.read(held={7: 2})
    assert h.mode() is Mode.WARMUP


def test_ledger_that_does_not_answer_a_read_back_keeps_no_fill_of_it_from_its_position() -> None:
    h = History().live().working()
    h.lost()
    h.back()
    h.broker_read(ended_order(ENTRY, OrderStatus.FILLED, 2), executions=[broker_fill(ENTRY, 2)], held={7: 2})
    told = h.sleep(10.1)
    (fill,) = told.told(orders.FillRecorded, OWNER)
    assert (fill.is_durable, fill.filled_qty_total, fill.filled_cost_ticks_total) == (False, 2, 1_000)
    assert told.told(orders.OrderClosed)[0].filled_qty_total == 2


# -- a read-back knows nothing of what came after it began --------------------------------------


def test_read_back_that_began_before_an_order_was_placed_does_not_end_it() -> None:
    h = History().live({7: 2})
    h.feed(session.RequestReconcile(why="test"))
    h.submit_exit()
    h.sent(EXIT)
    h.fill(EXIT, 1, side=Side.SELL)
    h.read(held={7: 2})
    assert h.order(EXIT).stage is OrderStage.SENT
    assert not h.told(orders.OrderClosed)


def test_read_back_that_began_before_a_change_says_nothing_of_it() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.feed(session.RequestReconcile(why="test"))
    h.modify(EXIT, order_type=OrderType.MARKET, limit_ticks=None)
    h.read(broker_order(EXIT, side=Side.SELL), held={7: 2})
    assert not h.told(orders.ModifyRefused)
    assert h.order(EXIT).change is not None


def test_read_back_that_began_before_an_order_ended_does_not_bring_it_back() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.feed(session.RequestReconcile(why="test"))
    h.status(EXIT, OrderStatus.CANCELLED)
    h.read(broker_order(EXIT, side=Side.SELL), held={7: 2})
    assert h.order(EXIT).stage is OrderStage.ENDED
    assert h.submit_exit(EXIT_2).told(broker.PlaceOrder)


def test_position_read_before_a_sale_does_not_offer_the_sold_contracts_again() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.feed(session.RequestReconcile(why="test"))
    h.fill(EXIT, 2, side=Side.SELL)
    h.read(held={7: 2})
    assert h.state.position(7) == 0
    (denied,) = h.submit_exit(EXIT_2).told(broker.OrderDenied)
    assert (denied.code, denied.broker_qty) == (RejectCode.EXIT_OVERSELL, 0)


@pytest.mark.parametrize("is_first", [True, False], ids=["position first", "execution first"])
def test_sale_whose_position_is_told_before_its_execution_makes_no_short(is_first: bool) -> None:
    h = History().live({7: 2}).working(EXIT)
    h.feed(session.RequestReconcile(why="test"))
    told = h.holds(0).messages if is_first else []
    h.fill(EXIT, 2, side=Side.SELL)
    told += h.read().messages  # a contract that is flat stands in no read-back
    assert h.state.position(7) == 0
    assert {read.qty for read in told if isinstance(read, positions.BrokerPositionRead)} == {0}


def test_sale_of_more_than_the_broker_holds_is_a_short_when_the_broker_says_so() -> None:
    h = History().live({7: 1}).working(EXIT)
    h.fill(EXIT, 2, side=Side.SELL)
    assert [read.qty for read in h.holds(-1).told(positions.BrokerPositionRead, OWNER)] == [-1]


def test_sold_to_open_is_estimated_below_nothing() -> None:
    h = History().live()
    h.submit(side=Side.SELL)
    h.fill(ENTRY, 2, side=Side.SELL)
    assert h.state.position(7) == -2


def test_exit_that_the_broker_calls_filled_is_not_over_unsold_while_its_execution_is_missing() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.query(EXIT)
    told = h.read(ended_order(EXIT, OrderStatus.FILLED, 2, side=Side.SELL), held={7: 2})
    (found,) = told.told(orders.OrderFound)
    assert (found.is_working, found.filled_qty) == (False, 2)


def test_entry_is_what_its_executions_say() -> None:
    h = History().live().working()
    h.query()
    (found,) = h.read(ended_order(ENTRY, OrderStatus.FILLED, 2)).told(orders.OrderFound)
    assert found.filled_qty == 0


def test_order_that_works_twice_is_cancelled_until_none_is_left_and_paged() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.status(EXIT, OrderStatus.WORKING, perm_id=901)  # a change on a bad link made two of it
    twice = [broker_order(EXIT, side=Side.SELL, perm_id=perm_id) for perm_id in (900, 901)]
    told = h.read(*twice, held={7: 2})
    assert [cancel.order_ref for cancel in told.told(broker.WithdrawOrder)] == [EXIT]
    assert [alarm.severity for alarm in told.published(Alarm)] == [Severity.CRITICAL]
    h.status(EXIT, OrderStatus.CANCELLED)
    h.query(EXIT)
    told = h.read(twice[1], held={7: 2})
    assert [cancel.order_ref for cancel in told.told(broker.WithdrawOrder)] == [EXIT]
    (denied,) = h.submit_exit(EXIT_2).told(broker.OrderDenied)
    assert denied.code is RejectCode.EXIT_OVERSELL


@pytest.mark.parametrize("is_cancel", [False, True], ids=["change", "cancel"])
def test_exit_that_only_its_position_knows_after_a_restart_can_be_changed_and_cancelled(is_cancel: bool) -> None:
    h = started()
    works = broker_order(EXIT, side=Side.SELL)  # it went out while the ledger could not record it
    h.read(works, held={7: 2})
    (denied,) = h.submit_exit(EXIT).told(broker.OrderDenied)
    assert denied.code is RejectCode.DUPLICATE_REF
    h.query(EXIT)
    assert [found.is_working for found in h.read(works, held={7: 2}).told(orders.OrderFound, OWNER)] == [True]
    if is_cancel:
        assert h.cancel(EXIT).told(broker.WithdrawOrder)
    else:
        (amended,) = h.modify(EXIT, order_type=OrderType.MARKET, limit_ticks=None).told(broker.AmendOrder)
        assert amended.change.order_type is OrderType.MARKET
    (denied,) = h.submit_exit(EXIT_2).told(broker.OrderDenied)
    assert denied.why == f"exit order {EXIT} works"


def test_order_that_is_read_twice_works_once() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.query(EXIT)
    rows = [broker_order(EXIT, side=Side.SELL, perm_id=perm_id) for perm_id in (0, 900)]
    assert not h.read(*rows, held={7: 2}).told(broker.WithdrawOrder)


@pytest.mark.parametrize("is_told", [True, False], ids=["status", "read-back alone"])
def test_order_taken_as_refused_that_wakes_is_read_back_and_its_owner_hears_of_it(is_told: bool) -> None:
    h = History().live({7: 2}).working(EXIT)
    if is_told:
        h.status(EXIT, OrderStatus.INACTIVE)
        h.sleep(2.1)
    else:
        h.query(EXIT)
    told = h.read(ended_order(EXIT, OrderStatus.INACTIVE, 0, side=Side.SELL), held={7: 2})
    assert told.told(orders.OrderRejected)
    assert h.status(EXIT, OrderStatus.WORKING).told(broker.ReadBack)
    told = h.read(broker_order(EXIT, side=Side.SELL), held={7: 2})
    assert told.told(orders.OrderAcknowledged, OWNER)  # who has another one by now cancels it
    (denied,) = h.submit_exit(EXIT_2).told(broker.OrderDenied)
    assert denied.code is RejectCode.EXIT_OVERSELL


# -- what an order may and may not do -----------------------------------------------------------


def test_entry_without_a_good_till_is_refused() -> None:
    h = History().live()
    (denied,) = h.submit(good_till_utc=None).told(broker.OrderDenied)
    assert denied.code is RejectCode.MISSING_INPUT
    at_arrival = h.now + 1_000_000  # a message takes a millisecond here
    (denied,) = h.submit("ZH-paper-bbbbbbbbbbbb-e", good_till_utc=at_arrival).told(broker.OrderDenied)
    assert denied.code is RejectCode.DEADLINE_PASSED


def test_permit_is_good_until_its_expiry_and_not_a_nanosecond_longer() -> None:
    h = History().live()
    at_arrival = h.now + 1_000_000  # a message takes a millisecond here
    (placed,) = h.submit(permit=Permit(0, h.epoch, at_arrival)).told(broker.PlaceOrder)
    assert placed.order.order_ref == ENTRY
    at_arrival = h.now + 1_000_000
    told = h.submit("ZH-paper-bbbbbbbbbbbb-e", permit=Permit(0, h.epoch, at_arrival - 1))
    assert told.told(broker.OrderDenied)[0].code is RejectCode.PERMIT_EXPIRED


def test_refused_exit_says_what_the_broker_holds() -> None:
    h = History().live({7: 1})
    (denied,) = h.submit_exit(qty=2, held=2).told(broker.OrderDenied)
    assert (denied.code, denied.broker_qty) == (RejectCode.EXIT_OVERSELL, 1)
    assert h.submit_exit(EXIT_2, qty=1, held=2).told(broker.PlaceOrder)


def test_exit_of_exactly_what_is_held_goes_and_one_more_does_not() -> None:
    h = History().live({7: 3})
    assert h.submit_exit(qty=4, held=4).told(broker.OrderDenied)
    assert h.submit_exit(EXIT_2, qty=3, held=3).told(broker.PlaceOrder)


def test_sell_order_that_is_no_exit_counts_as_on_sale() -> None:
    h = History().live({7: 2})
    h.submit(side=Side.SELL, qty=1)
    (denied,) = h.submit_exit(EXIT_2, qty=2, held=2).told(broker.OrderDenied)
    assert denied.code is RejectCode.EXIT_OVERSELL
    assert "1 on sale" in denied.why


def test_growth_of_an_exit_counts_from_the_change_that_was_sent() -> None:
    h = History().live({7: 4}).working(EXIT)
    assert h.modify(EXIT, qty=4).told(broker.AmendOrder)
    assert not h.modify(EXIT, qty=5).told(broker.AmendOrder)
    assert h.modify(EXIT, qty=4, limit_ticks=470).told(broker.AmendOrder)


def test_short_is_bought_back_up_to_what_the_broker_is_short_and_no_further() -> None:
    h = History().live({7: -2})
    assert h.submit_exit(qty=3, held=3, side=Side.BUY).told(broker.OrderDenied)[0].broker_qty == -2
    assert h.submit_exit(EXIT_2, qty=2, held=2, side=Side.BUY).told(broker.PlaceOrder)


@pytest.mark.parametrize("change", [{"limit_ticks": 480}, {"qty": 3}, {"order_type": OrderType.MARKET}])
def test_change_or_growth_of_an_exit_in_doubt_is_held(change: dict[str, object]) -> None:
    h = History().live({7: 4}).working(EXIT)
    h.error(EXIT, 104, UNKNOWN)
    told = h.modify(EXIT, **change)
    assert told.told(orders.ExitHeld, OWNER)[0].allows_exits
    assert not told.told(broker.AmendOrder)


def test_cancelled_status_of_an_order_in_doubt_is_not_believed_before_the_read_back() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.error(EXIT, 104, UNKNOWN)
    h.status(EXIT, OrderStatus.CANCELLED)
    assert h.order(EXIT).stage is OrderStage.IN_DOUBT
    assert not h.told(orders.OrderClosed)
    sold = broker_fill(EXIT, 2, side=Side.SELL)
    h.read(ended_order(EXIT, OrderStatus.CANCELLED, 0, side=Side.SELL), executions=[sold])
    assert h.told(orders.OrderClosed)[0].filled_qty_total == 2


def test_cancel_wanted_while_an_order_is_in_doubt_is_sent_when_it_is_found_working() -> None:
    h = History().live().working()
    h.error(ENTRY, 104, UNKNOWN)
    assert not h.cancel().told(broker.WithdrawOrder)
    assert [w.order_ref for w in h.read(broker_order(ENTRY)).told(broker.WithdrawOrder)] == [ENTRY]


def test_cancel_that_was_on_its_way_when_the_link_was_lost_is_sent_again() -> None:
    h = History().live().working()
    assert h.cancel().told(broker.WithdrawOrder)
    h.lost()
    h.back()
    assert [w.order_ref for w in h.read(broker_order(ENTRY)).told(broker.WithdrawOrder)] == [ENTRY]


def test_entries_that_a_read_back_finds_working_under_a_kill_are_cancelled() -> None:
    h = History().start(
        IbkrRestored(orders=(OwnOrder(order_ref=ENTRY, con_id=7, is_exit=False, side=Side.BUY, qty=2),))
    )
    h.raise_kill(KillLevel.NO_ENTRIES)
    h.up()
    assert [w.order_ref for w in h.read(broker_order(ENTRY)).told(broker.WithdrawOrder)] == [ENTRY]


def test_missing_entry_that_comes_to_life_under_a_kill_is_cancelled() -> None:
    h = History().live()
    h.submit()
    h.sent()
    h.sleep(11)
    h.query()
    h.read()
    assert h.order(ENTRY).stage is OrderStage.MISSING
    h.raise_kill(KillLevel.NO_ENTRIES)
    h.query()
    assert [w.order_ref for w in h.read(broker_order(ENTRY)).told(broker.WithdrawOrder)] == [ENTRY]


def test_kill_cancels_an_order_once_whoever_asks_for_it() -> None:
    h = History().live().working()
    told = h.raise_kill(KillLevel.FLATTEN)
    h.cancel()
    h.raise_kill(KillLevel.FLATTEN, epoch=2)
    h.cancel()
    assert len(told.told(broker.WithdrawOrder)) == len(h.told(broker.WithdrawOrder)) == 1


def test_exit_that_was_refused_is_held_back_while_the_link_is_down_and_goes_afterwards() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.status(EXIT, OrderStatus.INACTIVE)
    h.error(EXIT, 201, REJECTED, "margin")
    assert h.told(orders.OrderRejected, OWNER)
    h.lost()
    assert h.submit_exit(EXIT_2).told(orders.ExitHeld)
    assert h.order(EXIT).stage is OrderStage.ENDED
    h.back()
    h.read(held={7: 2})
    assert h.submit_exit(EXIT_2).told(broker.PlaceOrder)


def test_new_order_with_an_unknown_code_is_not_taken_for_refused_before_the_abandon_wait() -> None:
    h = History().live({7: 2})
    h.submit_exit()
    h.sent(EXIT)
    h.error(EXIT, 2_999, UNKNOWN)
    h.read(held={7: 2})
    assert h.order(EXIT).stage is OrderStage.IN_DOUBT
    assert not h.told(orders.OrderRejected)
    assert h.submit_exit(EXIT_2).told(orders.ExitHeld)
    h.sleep(10)
    h.read(held={7: 2})
    assert h.told(orders.OrderNotFound, OWNER)


@pytest.mark.parametrize("meaning", [CodeMeaning.ORDER_REFUSED, CodeMeaning.ORDER_REJECTED])
def test_order_in_doubt_that_a_code_refuses_and_that_is_nowhere_is_refused_at_once(meaning: CodeMeaning) -> None:
    h = History().live({7: 2})
    h.submit_exit()
    h.sent(EXIT)
    h.error(EXIT, 2_999, UNKNOWN)
    h.error(EXIT, 110, meaning, "the price does not fit")
    for _ in range(2):  # the first one began before the code came
        h.read(held={7: 2})
    assert [told.text for told in h.told(orders.OrderRejected, OWNER)] == ["the price does not fit"]


# -- the broker's words, and how often an exit is tried -----------------------------------------


@pytest.mark.parametrize("is_exit", [True, False])
def test_rejection_is_published_in_the_brokers_words(is_exit: bool) -> None:
    h = History().live({7: 2})
    ref = EXIT if is_exit else ENTRY
    h.submit_exit() if is_exit else h.submit()
    h.sent(ref)
    h.error(ref, 201, REJECTED, "no margin")
    h.status(ref, OrderStatus.INACTIVE)
    (refused,) = h.published(orders.BrokerRefused)
    assert (refused.order_ref, refused.is_exit, refused.vendor_code, refused.text) == (ref, is_exit, 201, "no margin")


def test_exit_orders_of_a_contract_are_bounded_in_a_minute_and_the_storm_is_paged() -> None:
    h = History().live({7: 2})
    for n in range(1, 7):
        h.submit_exit(exit_n(n))
        h.sent(exit_n(n))
        h.error(exit_n(n), 110, CodeMeaning.ORDER_REFUSED)
    assert len(h.told(broker.PlaceOrder)) == 6
    told = h.submit_exit(exit_n(7))
    assert told.told(orders.ExitHeld)[0].allows_exits
    assert told.published(Alarm)[0].severity is Severity.CRITICAL
    h.sleep(60)
    assert h.submit_exit(exit_n(7)).told(broker.PlaceOrder)


def test_exits_that_filled_are_no_storm() -> None:
    h = History().live({7: 8})
    for n in range(1, 8):
        held = 9 - n
        assert h.submit_exit(exit_n(n), qty=1, held=held).told(broker.PlaceOrder), n
        h.sent(exit_n(n))
        h.fill(exit_n(n), 1, exec_id=f"x{n}", side=Side.SELL)
        h.feed(orders.ExecutionRecorded(exec_id=f"x{n}", revision=1))
        h.holds(held - 1)
    assert not h.published(Alarm)


def test_one_exit_that_filled_takes_none_of_the_others_out_of_a_storm() -> None:
    h = History().live({7: 8})
    for n in range(1, 7):
        assert h.submit_exit(exit_n(n), qty=1, held=8).told(broker.PlaceOrder)
        h.sent(exit_n(n))
        if n == 6:
            h.fill(exit_n(n), 1, side=Side.SELL)
            h.feed(orders.ExecutionRecorded(exec_id="e1", revision=1))
            h.holds(7)
        else:
            h.error(exit_n(n), 110, CodeMeaning.ORDER_REFUSED)
    assert h.submit_exit(exit_n(7), qty=1, held=7).told(broker.PlaceOrder)
    h.sent(exit_n(7))
    h.error(exit_n(7), 110, CodeMeaning.ORDER_REFUSED)
    assert h.submit_exit(exit_n(8), qty=1, held=7).told(orders.ExitHeld)


# -- fills and the ledger -----------------------------------------------------------------------


def test_ledger_that_does_not_take_a_fill_in_time_does_not_keep_it_from_its_position() -> None:
    h = History().live().working()
    h.fill(ENTRY, 1)
    h.feed(orders.ExecutionRecorded(exec_id="e1", revision=1))
    h.fill(ENTRY, 1, exec_id="e2")
    told = h.sleep(0.26)
    (fill,) = told.told(orders.FillRecorded, OWNER)
    assert (fill.exec_id, fill.qty, fill.is_durable) == ("e2", 1, False)
    assert (fill.filled_qty_total, fill.filled_cost_ticks_total) == (2, 1_000)
    assert told.told(risk.RaiseKill, "kill")[0].level is KillLevel.NO_ENTRIES
    assert told.published(Alarm)
    assert not h.feed(orders.ExecutionRecorded(exec_id="e2", revision=1)).messages


def test_ledger_that_has_taken_a_fill_is_not_doubled() -> None:
    h = History().live().working()
    h.fill(ENTRY, 2)
    h.sleep(0.2)
    h.feed(orders.ExecutionRecorded(exec_id="e1", revision=1, is_durable=False))
    assert not h.sleep(1).told(orders.FillRecorded)


def test_every_end_of_an_order_is_told_to_the_ledger() -> None:
    h = History().live().working()
    h.fill(ENTRY, 2)
    assert h.told(orders.RecordOrderIds, "desk_ledger")[-1].status == OrderStatus.FILLED.value


# -- other clients' orders ----------------------------------------------------------------------


def elsewhere() -> History:
    """A session whose exit of an earlier run works under another client id."""
    h = History().start(OWN_EXIT)
    h.up()
    h.read(broker_order(EXIT, side=Side.SELL, is_of_other_client=True), held={7: 2})
    return h


def test_own_order_under_another_client_id_is_named_at_once() -> None:
    h = elsewhere()
    assert [EXIT in alarm.text for alarm in h.published(Alarm)] == [True]
    told = h.cancel(EXIT)
    assert not told.told(broker.WithdrawOrder)
    assert not told.told(broker.CancelEverything)
    (alarm,) = told.published(Alarm)
    assert (EXIT in alarm.text, alarm.severity) == (True, Severity.CRITICAL)


@pytest.mark.parametrize("is_kill", [True, False])
def test_last_resort_cancels_everything_and_then_our_own_exit_goes(is_kill: bool) -> None:
    h = elsewhere()
    if is_kill:
        h.raise_kill(KillLevel.FLATTEN)
    else:
        h.feed(
            session.PhaseChanged(phase=Phase.FLATTEN, session=TODAY, open_utc=OPEN_UTC, close_utc=h.now, at_utc=h.now)
        )
    assert len(h.modify(EXIT, order_type=OrderType.MARKET, limit_ticks=None).told(broker.CancelEverything)) == 1
    assert not h.submit_exit(EXIT_2).told(broker.PlaceOrder)
    assert len(h.told(broker.CancelEverything)) == 1  # once, and again only after a while
    h.read(ended_order(EXIT, OrderStatus.CANCELLED, 0, side=Side.SELL), held={7: 2})
    assert h.submit_exit(EXIT_2, order_type=OrderType.MARKET, limit_ticks=None).told(broker.PlaceOrder)


def test_sell_order_of_somebody_else_counts_as_on_sale_until_the_last_resort() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.status(EXIT, OrderStatus.CANCELLED)
    h.query(EXIT)
    h.read(broker_order("", perm_id=5, side=Side.SELL), held={7: 2})
    told = h.submit_exit(EXIT_2)
    assert "order perm:5" in told.told(broker.OrderDenied)[0].why
    assert "perm:5" in told.published(Alarm)[0].text
    assert not told.told(broker.CancelEverything)
    h.raise_kill(KillLevel.FLATTEN)
    assert h.submit_exit(EXIT_2).told(broker.CancelEverything)
    h.read(held={7: 2})
    assert h.submit_exit(EXIT_2).told(broker.PlaceOrder)


# -- ports, clocks, mornings --------------------------------------------------------------------


def test_port_task_that_died_on_the_order_path_is_paged_and_everything_is_read_back() -> None:
    h = History().live({7: 2}).working(EXIT)
    told = h.feed(broker.PortFaulted(session_epoch=h.epoch, what="read an execution", why="x", is_order_path=True))
    assert told.told(broker.ReadBack)
    assert told.published(Alarm)[0].severity is Severity.CRITICAL
    assert h.order(EXIT).stage is OrderStage.IN_DOUBT
    told = h.feed(broker.PortFaulted(session_epoch=h.epoch, what="follow the account", why="x", is_order_path=False))
    assert told.published(Alarm)[0].severity is Severity.WARNING


def test_brokers_clock_and_unreadable_accounts_are_passed_on() -> None:
    h = History().live()
    clock = broker.ClockRead(session_epoch=h.epoch, least_ms=-3, most_ms=900, round_trip_ms=12, read_utc=h.now)
    assert h.feed(clock).published(broker.ClockRead) == [clock]
    assert [row.round_trip_ms for row in h.state.health] == [12]
    fault = broker.AccountUnreadable(session_epoch=h.epoch, why="NetLiquidation came in EUR, wanted USD", read_utc=0)
    assert h.feed(fault).published(broker.AccountUnreadable) == [fault]


def test_gateway_keeps_a_row_of_its_health() -> None:
    h = started()
    h.read()
    h.sleep(30)
    h.lost("heartbeat overdue")
    (row,) = h.state.health
    assert (row.state, row.up_s(h.now), row.errors, row.last_error) == (LinkState.DOWN, 30, 1, "heartbeat overdue")


def morning(h: History, at: time, session_date: date = TODAY) -> Outbox:
    """Let the session's first phase be told at an instant of its date (midnight, or a start later)."""
    h.probe.now = at_exchange(session_date, at)
    opened = at_exchange(session_date, time(9, 30))
    return h.feed(
        session.PhaseChanged(
            phase=Phase.PRE, session=session_date, open_utc=opened, close_utc=opened + 390 * MINUTE, at_utc=h.now
        )
    )


def account(h: History) -> broker.AccountRead:
    return broker.AccountRead(
        session_epoch=h.epoch, nav_cents=1, available_cents=1, buying_power_cents=1, day_trades_remaining=-1,
        read_utc=h.now,
    )  # fmt: skip


def test_uninterrupted_link_reconciles_again_each_morning_before_the_open() -> None:
    h = History().live({7: 2})
    h.feed(account(h))
    for day in range(3):
        h.probe.sent = Outbox([])
        today = date(2026, 11, 23) + timedelta(days=day)
        morning(h, time(0), today)
        assert not h.probe.advance(at_exchange(today, time(8, 59))).told(broker.ReadBack)
        assert h.probe.advance(at_exchange(today, time(9)) + SECOND).told(broker.ReadBack)
        told = h.read(held={7: 2})
        assert [f.is_complete for f in told.published(session.ReconcileFinished)] == [True]
        assert not h.probe.advance(at_exchange(today, time(9, 16))).published(Alarm)


def test_what_is_missing_before_the_open_is_said_once_by_a_quarter_past_nine() -> None:
    h = History().start()
    morning(h, time(0))
    told = h.probe.advance(at_exchange(TODAY, time(9, 20)))
    (alarm,) = [alarm for alarm in told.published(Alarm) if alarm.key == "preopen"]
    assert "no session with the IB Gateway" in alarm.text
    assert alarm.at_utc == at_exchange(TODAY, time(9, 15))


def test_unreadable_account_is_missing_before_the_open() -> None:
    h = History().live()
    morning(h, time(0))
    h.feed(broker.AccountUnreadable(session_epoch=h.epoch, why="values in EUR, wanted USD", read_utc=h.now))
    h.probe.advance(at_exchange(TODAY, time(9)))
    h.read()
    told = h.probe.advance(at_exchange(TODAY, time(9, 15)))
    assert "values in EUR" in next(alarm.text for alarm in told.published(Alarm) if alarm.key == "preopen")


def test_the_next_session_follows_only_what_the_broker_holds_and_what_an_order_may_change() -> None:
    monday = date(2026, 11, 23)
    for held, is_exit_working, followed in (({7: 2}, False, (7,)), ({}, True, (7,)), ({}, False, ())):
        h = History().live({7: 2})
        morning(h, time(0))
        h.working(EXIT)
        assert h.state.con_ids == (7,)
        if not is_exit_working:
            h.status(EXIT, OrderStatus.CANCELLED)
        h.holds(held.get(7, 0))
        morning(h, time(0), monday)
        assert h.state.con_ids == followed
        told = h.probe.advance(at_exchange(monday, time(9)) + SECOND)
        h.probe.sent = Outbox([])
        told = h.read(*([broker_order(EXIT)] if is_exit_working else []), held=held)
        assert bool(told.told(positions.BrokerPositionRead, OWNER)) is bool(followed), "an idle position is not made"


def test_start_in_the_middle_of_the_day_is_no_morning() -> None:
    h = History().live()
    told = morning(h, time(10))
    assert not told.messages
    assert not h.probe.timers.keys() & {("preopen_check", ""), ("preopen_report", "")}


@pytest.mark.parametrize(
    ("at", "is_expected"),
    [
        (at_exchange(date(2026, 11, 22), time(3)), True),  # Sunday
        (at_exchange(date(2026, 11, 23), time(9, 29)), True),  # Monday before the open
        (at_exchange(date(2026, 11, 23), time(9, 31)), False),
        (at_exchange(date(2026, 11, 24), time(8)), False),
    ],
)
def test_gateway_that_waits_for_the_weekly_login_is_announced_as_such(at: Utc, is_expected: bool) -> None:
    h = History()
    h.probe.now = at
    h.start()
    (alarm,) = h.failed().published(Alarm)
    assert ("two factors" in alarm.text) is is_expected


def test_position_of_another_contract_is_told_to_nobody() -> None:
    h = History().live()
    assert not h.feed(broker.PositionReported(session_epoch=h.epoch, contract=CALL, qty=2, avg_cost_cents=0)).messages


# -- orders that are not there, or not any more -------------------------------------------------


@pytest.mark.parametrize("ask", [lambda h: h.modify(EXIT), lambda h: h.cancel(EXIT)])
def test_change_or_cancel_of_an_order_that_nobody_knows_asks_the_broker(ask: Callable[[History], Outbox]) -> None:
    h = History().live({7: 2})
    assert ask(h).told(broker.ReadBack)
    h.read(held={7: 2})
    assert [answer.order_ref for answer in h.told(orders.OrderNotFound, OWNER)] == [EXIT]


@pytest.mark.parametrize("ask", [lambda h: h.modify(EXIT), lambda h: h.cancel(EXIT)])
def test_change_or_cancel_of_an_order_that_is_missing_asks_the_broker(ask: Callable[[History], Outbox]) -> None:
    h = History().live({7: 2})
    h.submit_exit()
    h.sent(EXIT)
    h.sleep(11)
    h.query(EXIT)
    h.read(held={7: 2})
    assert h.order(EXIT).stage is OrderStage.MISSING
    assert h.told(orders.RecordOrderIds, "desk_ledger")[-1].status == OrderStatus.UNKNOWN.value
    told = ask(h)
    assert told.told(broker.ReadBack)
    assert not told.told(broker.AmendOrder)
    assert not told.told(broker.WithdrawOrder)


@pytest.mark.parametrize("ask", [lambda h: h.modify(EXIT), lambda h: h.cancel(EXIT)])
def test_change_or_cancel_of_an_order_that_has_ended_is_answered_with_its_end(ask: Callable[[History], Outbox]) -> None:
    h = History().live({7: 2}).working(EXIT)
    h.fill(EXIT, 2, side=Side.SELL)
    (closed,) = ask(h).told(orders.OrderClosed, OWNER)
    assert closed.filled_qty_total == 2


# -- changes -------------------------------------------------------------------------------------


def test_deadline_is_kept_to_the_nanosecond() -> None:
    h = History().live({7: 2})
    at_arrival = h.now + 1_000_000
    assert h.submit_exit(deadline_utc=at_arrival).told(broker.PlaceOrder)
    h.sent(EXIT)
    h.status(EXIT, OrderStatus.WORKING)
    assert h.modify(EXIT, deadline_utc=h.now + 1_000_000).told(broker.AmendOrder)
    (refused,) = h.modify(EXIT, deadline_utc=h.now + 999_999).told(orders.ModifyRefused)
    assert refused.vendor_code == 0
    assert not h.published(orders.BrokerRefused)


@pytest.mark.parametrize(
    ("change", "is_raised"),
    [
        ({"limit_ticks": 500}, False),
        ({"limit_ticks": 501}, True),
        ({"limit_ticks": 499, "qty": 3}, True),
        ({"order_type": OrderType.MARKET, "limit_ticks": 400}, True),
        ({"limit_ticks": None}, True),
    ],
)
def test_change_that_raises_an_entry_needs_a_permit(change: dict[str, object], is_raised: bool) -> None:
    h = History().live().working()
    assert bool(h.modify(ENTRY, **change).told(orders.ModifyRefused)) is is_raised


@pytest.mark.parametrize(("limit_ticks", "is_raised"), [(500, False), (499, True), (501, False)])
def test_sell_to_open_is_raised_by_a_lower_limit(limit_ticks: int, is_raised: bool) -> None:
    h = History().live()
    h.submit(side=Side.SELL)
    h.sent()
    h.status(ENTRY, OrderStatus.WORKING)
    assert bool(h.modify(ENTRY, limit_ticks=limit_ticks).told(orders.ModifyRefused)) is is_raised


def test_price_of_an_exit_changes_also_when_the_broker_holds_less_than_it_asks_for() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.holds(1)
    assert h.modify(EXIT, limit_ticks=470).told(broker.AmendOrder)


def test_exit_orders_of_the_minute_before_count_until_the_minute_is_over() -> None:
    h = History().live({7: 2})
    first = h.now + 1_000_000
    for n in range(1, 7):
        h.submit_exit(exit_n(n))
        h.sent(exit_n(n))
        h.error(exit_n(n), 110, CodeMeaning.ORDER_REFUSED)
    h.probe.now = Utc(first + 60 * SECOND - 2_000_000)
    assert h.submit_exit(exit_n(7)).told(orders.ExitHeld)
    assert h.submit_exit(exit_n(7)).told(broker.PlaceOrder)


# -- fills ---------------------------------------------------------------------------------------


def test_ledger_has_a_quarter_of_a_second_for_a_fill_and_its_word_ends_the_wait() -> None:
    h = History().live().working()
    h.fill(ENTRY, 1)
    h.fill(ENTRY, 1, exec_id="e2")
    assert not h.sleep(0.24).told(orders.FillRecorded)
    h.feed(orders.ExecutionRecorded(exec_id="e1", revision=1))
    assert [execution.exec_id for execution in h.state.unrecorded] == ["e2"]
    assert [subject for kind, subject in h.probe.timers if kind == "record"] == ["e2/1"]


def test_fill_of_an_order_that_nobody_knows_is_told_with_its_own_quantity_and_price() -> None:
    h = History().live()
    h.fill(ENTRY, 2)
    (fill,) = h.sleep(0.3).told(orders.FillRecorded, OWNER)
    assert (fill.filled_qty_total, fill.filled_cost_ticks_total, fill.is_price_known) == (2, 1_000, True)
    h.feed(session.RequestReconcile(why="test"))
    told = h.read(held={7: 2})
    assert [read.qty for read in told.told(positions.BrokerPositionRead, OWNER)] == [2]


def test_position_is_estimated_after_a_sale_and_not_after_a_purchase() -> None:
    h = History().live({7: 2}).working()
    h.fill(ENTRY, 1)
    assert h.state.position(7) == 2
    h.submit_exit()
    h.fill(EXIT, 1, exec_id="s1", side=Side.SELL)
    assert h.state.position(7) == 1
    h.fill(EXIT, 1, exec_id="s1", side=Side.SELL)  # the same one again
    assert h.state.position(7) == 1


def test_broker_has_two_seconds_to_say_its_position_after_a_fill() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.fill(EXIT, 2, side=Side.SELL)
    assert not h.sleep(1.9).told(broker.ReadBack)
    assert h.sleep(0.2).told(broker.ReadBack)


def test_fee_of_an_execution_goes_to_the_ledger() -> None:
    h = History().live()
    fee = broker.CommissionReported(session_epoch=h.epoch, exec_id="e1", revision=2, commission_cents=130, raw="")
    (told,) = h.feed(fee).told(orders.RecordCommission, "desk_ledger")
    assert (told.exec_id, told.revision, told.commission_cents) == ("e1", 2, 130)


def test_fee_in_another_currency_is_not_booked_and_a_person_is_told_what_it_was() -> None:
    h = History().live()
    fee = broker.CommissionReported(
        session_epoch=h.epoch, exec_id="e1", revision=1, commission_cents=None, raw="commission=1.3 EUR"
    )
    out = h.feed(fee)
    assert not out.told(orders.RecordCommission)
    (alarm,) = out.published(Alarm)
    assert (alarm.key, alarm.severity) == ("foreign_fee", Severity.WARNING)
    assert "commission=1.3 EUR" in alarm.text


# -- read-backs: what they leave behind ---------------------------------------------------------


def test_answered_read_back_leaves_no_timer_that_could_end_the_link() -> None:
    h = started()
    h.broker_read()
    assert ("read_back", "") not in h.probe.timers
    assert ("reconcile", "") in h.probe.timers
    h.reconciled()
    assert ("reconcile", "") not in h.probe.timers


def test_late_answer_of_the_ledger_is_not_taken_for_one_about_a_newer_read_back() -> None:
    h = started()
    h.broker_read()
    assert h.state.read is not None
    late = h.state.read.read_n
    while h.state.reading is None:
        h.sleep(1)  # the ledger is silent: exits go without it, and the broker is read again
    h.broker_read()
    h.reconciled(read_n=late, cancel_refs=(ENTRY,), foreign_orders=("perm:5",))
    assert h.mode() is Mode.DATA_ONLY
    assert not h.told(broker.WithdrawOrder)
    assert h.state.foreign == ()
    h.reconciled()
    assert h.mode() is Mode.WARMUP


def test_failed_read_back_ends_the_link_and_one_that_was_given_up_does_not() -> None:
    h = started()
    epoch = h.epoch
    h.feed(broker.BrokerReadFailed(session_epoch=epoch, read_n=99, why="old"))
    assert not h.told(broker.CloseLink)
    h.feed(broker.BrokerReadFailed(session_epoch=epoch, read_n=1, why="stalled"))
    assert [close.session_epoch for close in h.told(broker.CloseLink)] == [epoch]


def test_order_that_a_read_back_ends_is_told_to_the_ledger() -> None:
    h = History().live().working()
    h.query()
    h.read(ended_order(ENTRY, OrderStatus.CANCELLED, 0))
    assert h.told(orders.RecordOrderIds, "desk_ledger")[-1].status == OrderStatus.CANCELLED.value


def test_last_resort_reads_back_and_is_not_repeated_before_its_pause_is_over() -> None:
    h = elsewhere()
    h.raise_kill(KillLevel.FLATTEN)
    first = h.submit_exit(EXIT_2)
    assert first.told(broker.CancelEverything)
    assert first.told(broker.ReadBack)
    assert EXIT in first.published(Alarm)[0].text
    h.read(broker_order(EXIT, side=Side.SELL, is_of_other_client=True), held={7: 2})
    assert h.state.last_resort_utc is not None
    h.probe.now = Utc(h.state.last_resort_utc + 2 * SECOND - 1_000_001)
    assert not h.modify(EXIT).told(broker.CancelEverything)
    h.probe.now = Utc(h.probe.now + 1 - 1_000_000)
    told = h.modify(EXIT)
    assert told.told(broker.CancelEverything)
    assert told.told(orders.ExitHeld, OWNER)


def test_cancel_of_an_order_out_of_reach_is_sent_when_it_has_become_ours() -> None:
    h = elsewhere()
    h.cancel(EXIT)
    h.query(EXIT)
    assert h.read(broker_order(EXIT, side=Side.SELL), held={7: 2}).told(broker.WithdrawOrder)


def test_orders_of_others_hold_back_no_exit_of_another_contract_and_no_purchase() -> None:
    h = History().live({7: -2, 8: -2}).working(EXIT)
    h.status(EXIT, OrderStatus.CANCELLED)
    h.query(EXIT)
    h.read(broker_order("", perm_id=5, con_id=8, side=Side.SELL), held={7: -2})
    assert h.submit_exit(EXIT_2, side=Side.BUY).told(broker.PlaceOrder)


def test_order_that_is_found_working_is_recorded_with_its_id_and_acknowledged_once() -> None:
    h = History().live()
    h.submit()
    h.sent()
    h.lost()
    h.back()
    told = h.read(broker_order(ENTRY, perm_id=901))
    assert [(ids.perm_id, ids.status) for ids in told.told(orders.RecordOrderIds)] == [(901, "working")]
    assert [ack.perm_id for ack in told.told(orders.OrderAcknowledged, OWNER)] == [901]
    h.query()
    told = h.read(broker_order(ENTRY, perm_id=901))
    assert not told.told(orders.RecordOrderIds)
    assert not told.told(orders.OrderAcknowledged)


def test_order_out_of_reach_is_named_once_and_not_at_every_read_back() -> None:
    h = elsewhere()
    h.query(EXIT)
    h.read(broker_order(EXIT, side=Side.SELL, is_of_other_client=True), held={7: 2})
    assert len(h.published(Alarm)) == 1


def test_order_whose_cancel_is_under_way_takes_over_what_the_read_back_says_of_it() -> None:
    h = History().live().working()
    h.query()
    h.cancel()
    told = h.read(broker_order(ENTRY, limit_ticks=495))
    assert not told.told(broker.WithdrawOrder)
    assert h.order(ENTRY).limit_ticks == 495


@pytest.mark.parametrize(("status", "filled"), [(OrderStatus.INACTIVE, 1), (OrderStatus.CANCELLED, 0)])
def test_only_an_inactive_order_without_a_fill_was_refused(status: OrderStatus, filled: int) -> None:
    h = History().live().working()
    h.query()
    fills = [broker_fill(ENTRY, filled)] if filled else []
    h.read(ended_order(ENTRY, status, filled), executions=fills)
    assert not h.told(orders.OrderRejected)
    assert [closed.filled_qty_total for closed in h.told(orders.OrderClosed)] == [filled]


def test_silent_ledger_has_its_time_and_only_fills_that_are_news_are_told_without_it() -> None:
    h = History().live().working()
    h.fill(ENTRY, 1)
    h.feed(orders.ExecutionRecorded(exec_id="e1", revision=1))
    h.query()
    stranger = broker_fill("ZH-paper-cccccccccccc-e", 1, "e9")
    h.broker_read(broker_order(ENTRY), executions=[broker_fill(ENTRY, 1), broker_fill(ENTRY, 1, "e2"), stranger])
    assert not h.sleep(9.9).messages
    assert [fill.exec_id for fill in h.sleep(0.2).told(orders.FillRecorded)] == ["e2"]


def test_position_is_estimated_from_each_sale_alone() -> None:
    h = History().live({7: 3})
    h.submit_exit(qty=3, held=3)
    for n, left in enumerate((2, 1, 0)):
        h.fill(EXIT, 1, exec_id=f"s{n}", side=Side.SELL)
        assert h.state.position(7) == left


def test_position_message_is_kept_and_told() -> None:
    h = History().live({7: 2}).working(EXIT)
    assert [read.qty for read in h.holds(1).told(positions.BrokerPositionRead, OWNER)] == [1]
    assert h.state.position(7) == 1


def test_entry_whose_limit_is_not_known_is_raised_by_any_change() -> None:
    h = History().live().working()
    h.status(ENTRY, OrderStatus.WORKING, limit_ticks=None)
    assert h.modify(ENTRY, limit_ticks=1).told(orders.ModifyRefused)


def test_sell_order_of_somebody_else_holds_back_no_exit_of_another_contract() -> None:
    own = OwnOrder(order_ref=EXIT, con_id=8, is_exit=True, side=Side.SELL, qty=2)
    h = History().start(IbkrRestored(orders=(own,)))
    h.up()
    h.read(broker_order("", perm_id=5, con_id=8, side=Side.SELL), held={7: 2, 8: 2})
    assert [stray.con_id for stray in h.state.strays] == [8]
    assert h.submit_exit(EXIT_2).told(broker.PlaceOrder)


@pytest.mark.parametrize("is_read_back", [True, False])
def test_exit_that_was_given_up_and_comes_back_after_its_position_was_closed_is_cancelled(is_read_back: bool) -> None:
    """Seed 79 of the simulator: x1 was nowhere, x2 closed the position, x1 appeared and sold short."""
    h = History().live({7: 2})
    h.submit_exit()
    h.sent(EXIT)
    h.lost()
    h.back()
    h.sleep(10)
    h.read(held={7: 2})
    assert h.told(orders.OrderNotFound, OWNER)
    h.submit_exit(EXIT_2)
    h.fill(EXIT_2, 2, side=Side.SELL)
    if is_read_back:
        h.query(EXIT)
        told = h.read(broker_order(EXIT, side=Side.SELL))
    else:
        told = h.status(EXIT, OrderStatus.WORKING)
    assert [cancel.order_ref for cancel in told.told(broker.WithdrawOrder)] == [EXIT]
    assert [ack.order_ref for ack in told.told(orders.OrderAcknowledged)] == [EXIT]


@pytest.mark.parametrize(
    ("held", "side", "is_cancelled"),
    [
        (0, Side.SELL, True),
        (-1, Side.SELL, True),
        (1, Side.SELL, False),
        (0, Side.BUY, True),
        (-1, Side.BUY, False),
    ],
)
def test_exit_that_works_although_the_broker_holds_nothing_to_close_is_cancelled(
    held: int, side: Side, is_cancelled: bool
) -> None:
    own = OwnOrder(order_ref=EXIT, con_id=7, is_exit=True, side=side, qty=1)
    h = History().start(IbkrRestored(orders=(own,)))
    h.up()
    told = h.read(broker_order(EXIT, side=side, qty=1), held={7: held} if held else None)
    assert bool(told.told(broker.WithdrawOrder)) is is_cancelled


def test_exit_is_not_cancelled_for_positions_that_could_not_be_read() -> None:
    h = History().start(OWN_EXIT)
    h.up()
    assert not h.read_but(ReadGroup.POSITIONS, rows=[broker_order(EXIT, side=Side.SELL)]).told(broker.WithdrawOrder)


# -- statuses and codes: small print -------------------------------------------------------------


def test_change_that_the_port_denies_is_forgotten_and_is_no_refusal_of_the_broker() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.modify(EXIT, limit_ticks=480)
    told = h.feed(broker.OrderDenied(order_ref=EXIT, code=RejectCode.NOT_CONNECTED, why="no link"))
    assert [refused.vendor_code for refused in told.told(orders.ModifyRefused)] == [0]
    assert not told.published(orders.BrokerRefused)
    assert h.order(EXIT).change is None


def test_second_perm_id_is_our_own_doubt_and_no_code_of_the_broker() -> None:
    h = History().live().working()
    h.status(ENTRY, OrderStatus.WORKING, perm_id=901)
    trouble = h.order(ENTRY).trouble
    assert trouble is not None
    assert trouble.vendor_code == 0


def test_end_that_a_status_tells_is_told_to_the_ledger() -> None:
    h = History().live().working()
    h.status(ENTRY, OrderStatus.CANCELLED)
    assert h.told(orders.RecordOrderIds, "desk_ledger")[-1].status == OrderStatus.CANCELLED.value


def test_code_on_an_order_that_has_ended_changes_nothing() -> None:
    h = History().live().working()
    h.status(ENTRY, OrderStatus.CANCELLED)
    assert not h.error(ENTRY, 104, UNKNOWN).messages
    assert not h.error("ZH-paper-nobodyknows-e", 104, UNKNOWN).messages


def test_inactive_order_that_has_ended_meanwhile_is_not_looked_into() -> None:
    h = History().live().working()
    h.status(ENTRY, OrderStatus.INACTIVE)
    h.status(ENTRY, OrderStatus.CANCELLED)
    assert not h.sleep(2.1).told(broker.ReadBack)


def test_inactive_order_in_doubt_is_refused_only_by_a_code_and_without_a_fill() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.error(EXIT, 201, REJECTED)
    h.fill(EXIT, 1, side=Side.SELL)
    h.status(EXIT, OrderStatus.INACTIVE)
    assert not h.told(orders.OrderRejected)
    h = History().live({7: 2}).working(EXIT)
    h.lost()
    h.back()
    h.status(EXIT, OrderStatus.INACTIVE)  # in doubt since the loss, and nothing was said against it
    assert not h.told(orders.OrderRejected)


def test_entry_that_had_ended_and_is_found_working_under_a_kill_level_is_cancelled() -> None:
    h = History().live().working()
    h.status(ENTRY, OrderStatus.CANCELLED)
    assert not h.raise_kill(KillLevel.NO_ENTRIES).told(broker.WithdrawOrder)
    h.feed(session.RequestReconcile(why="test"))
    assert [w.order_ref for w in h.read(broker_order(ENTRY)).told(broker.WithdrawOrder)] == [ENTRY]


def test_exit_found_working_under_a_kill_level_stays() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.raise_kill(KillLevel.FLATTEN)
    h.feed(session.RequestReconcile(why="test"))
    assert not h.read(broker_order(EXIT, side=Side.SELL), held={7: 2}).told(broker.WithdrawOrder)


def test_refused_change_says_why() -> None:
    h = History().live({7: 2}).working(EXIT)
    late = h.modify(EXIT, deadline_utc=h.now).told(orders.ModifyRefused)
    more = h.modify(EXIT, qty=3).told(orders.ModifyRefused)
    assert [r.text for r in (*late, *more)] == ["deadline_passed", "exit_oversell"]
    h = History().live().working()
    h.error(ENTRY, 104, UNKNOWN)
    assert [r.text for r in h.modify(ENTRY).told(orders.ModifyRefused)] == ["exit_unreconciled"]


def test_history_that_cannot_be_read_is_one_warning_with_the_brokers_own_remedy() -> None:
    h = started()
    failed = (
        broker.GroupFailure(ReadGroup.COMPLETED, READ_ONLY),
        broker.GroupFailure(ReadGroup.EXECUTIONS, "stalled"),
    )
    h.broker_read(failed=failed)
    (alarm,) = [alarm for alarm in h.reconciled().published(Alarm) if alarm.key == "read_back"]
    assert alarm.severity is Severity.WARNING
    assert "Read-Only API" in alarm.text


def test_read_back_that_is_asked_for_takes_the_place_of_the_one_that_was_due() -> None:
    h = started()
    h.read_but(ReadGroup.COMPLETED)
    h.feed(session.RequestReconcile(why="test"))
    h.read()
    assert h.sleep(10).told(broker.ReadBack) == []


def test_position_reported_while_the_broker_is_read_counts_before_what_was_read() -> None:
    h = History().live({7: 3})
    h.feed(session.RequestReconcile(why="test"))
    h.holds(1)
    h.read(held={7: 3})
    assert h.state.position(7) == 1


def test_wait_for_the_ledger_that_is_over_as_it_answers_changes_nothing() -> None:
    h = History().live({7: 2})
    before = h.state
    h.feed(lifecycle.TimerFired(kind="reconcile", subject="", due_utc=h.now))
    assert h.state == before


@pytest.mark.parametrize("status", [OrderStatus.PENDING, OrderStatus.WORKING])
def test_order_that_has_the_brokers_own_number_is_acknowledged(status: OrderStatus) -> None:
    h = History().live()
    h.submit()
    h.sent()
    assert len(h.status(ENTRY, status).told(orders.OrderAcknowledged, OWNER)) == 1


def test_gateway_that_cannot_be_dialled_is_a_warning() -> None:
    h = History().start()
    (alarm,) = [alarm for alarm in h.failed().published(Alarm) if alarm.key == "gateway"]
    assert alarm.severity is Severity.WARNING


def test_read_back_while_the_link_proves_stable_does_not_begin_the_wait_again() -> None:
    h = started()
    h.read()
    h.sleep(40)
    h.feed(session.RequestReconcile(why="test"))
    h.read()
    h.sleep(20)
    assert h.mode() is Mode.FULLY_LIVE


def test_kill_level_that_is_lowered_cancels_no_entry() -> None:
    h = History().live().working()
    h.feed(risk.KillLowered(level=KillLevel.RUNNING, kill_epoch=2, reason="known", by="ann"))
    assert [latch.level for latch in h.told(broker.LatchKill)] == [KillLevel.RUNNING]
    assert not h.told(broker.WithdrawOrder)


def test_gateway_of_another_account_is_named_before_the_open() -> None:
    h = History().start()
    h.up(account_matches=False)
    morning(h, time(0))
    told = h.probe.advance(at_exchange(TODAY, time(9, 20)))
    (text,) = [alarm.text for alarm in told.published(Alarm) if alarm.key == "preopen"]
    assert "logged in to another account" in text
    assert "no gateway was dialled" not in text


# -- an exit that is called cancelled -----------------------------------------------------------


def cancelled_exit(filled_qty: int = 0) -> History:
    """An exit of two that its position has cancelled, as the broker says."""
    h = History().live({7: 2}).working(EXIT)
    h.cancel(EXIT)
    for _ in range(2):  # brokers say it twice
        h.status(EXIT, OrderStatus.CANCELLED, filled_qty=filled_qty)
    return h


def test_cancelled_exit_that_turns_out_filled_is_told_with_its_fills_and_nothing_is_sold_twice() -> None:
    h = cancelled_exit()
    assert not h.told(orders.OrderClosed)
    assert len(h.told(broker.ReadBack)) == 1
    told = h.read(ended_order(EXIT, OrderStatus.CANCELLED, 0), executions=[broker_fill(EXIT, 2, side=Side.SELL)])
    assert [closed.filled_qty_total for closed in told.told(orders.OrderClosed)] == [2]
    assert h.submit_exit(EXIT_2).told(broker.OrderDenied)[0].code is RejectCode.EXIT_OVERSELL


@pytest.mark.parametrize("rows", [(), (ended_order(EXIT, OrderStatus.CANCELLED, 0),)])
def test_cancelled_exit_is_told_once_a_read_back_that_began_behind_that_word_has_nothing_against_it(
    rows: tuple[broker.BrokerOrder, ...],
) -> None:
    h = History().live({7: 2}).working(EXIT)
    h.feed(session.RequestReconcile(why="test"))  # this one began before the cancel's end
    h.cancel(EXIT)
    h.status(EXIT, OrderStatus.CANCELLED)
    h.status(EXIT, OrderStatus.CANCELLED)
    assert not h.read(held={7: 2}).told(orders.OrderClosed)
    (closed,) = h.read(*rows, held={7: 2}).told(orders.OrderClosed)
    assert (closed.cause, closed.filled_qty_total) == ("cancelled", 0)
    assert h.submit_exit(EXIT_2).told(broker.PlaceOrder)
    assert not h.sleep(5).told(orders.OrderClosed)


def test_cancelled_exit_waits_no_longer_for_a_slow_read_back_than_for_the_answer_to_a_question() -> None:
    h = cancelled_exit(filled_qty=1)
    assert not h.sleep(1.9).told(orders.OrderClosed)
    assert [closed.filled_qty_total for closed in h.sleep(0.2).told(orders.OrderClosed)] == [1]
    assert not h.read(held={7: 1}).told(orders.OrderClosed)


def test_time_for_the_read_back_of_a_cancelled_exit_begins_with_the_brokers_word() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.cancel(EXIT)
    h.sleep(1.5)
    h.status(EXIT, OrderStatus.CANCELLED)
    assert not h.sleep(1.9).told(orders.OrderClosed)
    assert h.sleep(0.2).told(orders.OrderClosed)


def test_cancelled_exit_that_the_broker_calls_filled_without_an_execution_is_told_as_filled() -> None:
    h = cancelled_exit()
    (closed,) = h.read_but(ReadGroup.EXECUTIONS, rows=[ended_order(EXIT, OrderStatus.FILLED, 2)]).told(
        orders.OrderClosed
    )
    assert closed.filled_qty_total == 2


def test_cancelled_exit_that_a_read_back_finds_working_is_cancelled_again() -> None:
    h = cancelled_exit()
    told = h.read(broker_order(EXIT, side=Side.SELL), held={7: 2})
    assert not told.told(orders.OrderClosed)
    assert told.told(broker.WithdrawOrder)
    h.status(EXIT, OrderStatus.CANCELLED)
    assert h.read(held={7: 2}).told(orders.OrderClosed)


def test_cancelled_exit_whose_link_is_lost_is_told_by_the_read_back_of_the_next_one() -> None:
    h = cancelled_exit()
    h.lost()
    assert not h.sleep(0.5).told(orders.OrderClosed)
    h.back()
    assert h.read(held={7: 2}).told(orders.OrderClosed)


def test_exit_that_was_sold_whole_as_its_cancel_came_is_told_at_once() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.cancel(EXIT)
    told = h.status(EXIT, OrderStatus.CANCELLED, filled_qty=2)
    assert [closed.filled_qty_total for closed in told.told(orders.OrderClosed)] == [2]
    assert not told.told(broker.ReadBack)


def test_cancelled_exit_in_doubt_is_not_told_before_its_read_back() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.cancel(EXIT)
    h.error(EXIT, 104, UNKNOWN)
    h.status(EXIT, OrderStatus.CANCELLED)
    h.sleep(2.5)
    assert not h.told(orders.OrderClosed)
    assert h.read(held={7: 2}, executions=[broker_fill(EXIT, 1, side=Side.SELL)]).told(orders.OrderClosed)


def test_most_that_was_said_of_a_cancelled_exit_counts_in_whatever_order_it_is_said() -> None:
    h = cancelled_exit()
    for status, filled_qty in ((OrderStatus.FILLED, 2), (OrderStatus.CANCELLED, 1)):
        assert not h.status(EXIT, status, filled_qty=filled_qty).told(orders.OrderClosed)
    assert [closed.filled_qty_total for closed in h.sleep(2.1).told(orders.OrderClosed)] == [2]


def test_shares_of_a_number_that_cannot_be_read_halt_entries_by_name() -> None:
    h = History().live()
    h.feed(session.RequestReconcile(why="test"))
    h.broker_read()
    shares = broker.BrokerPosition(
        contract=Contract(5, "AAPL", "STK", date.max, 0, Right.CALL, 1), qty=broker.QTY_UNKNOWN, avg_cost_cents=0
    )
    told = h.reconciled(foreign_positions=(shares,))
    (page,) = [alarm.text for alarm in told.published(Alarm) if alarm.key == "foreign"]
    assert page.endswith("of a size that cannot be read")
    assert told.told(risk.RaiseKill)


def test_whose_account_was_read_is_told_to_the_ledger() -> None:
    h = History().start()
    h.up(account_key="1a2b")
    assert [asked.account_key for asked in h.broker_read().told(session.Reconcile)] == ["1a2b"]
