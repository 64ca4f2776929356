"""Seed 1001 of the simulator: an exit was given up, came back, was cancelled once, and the cancel was lost on its way.

Its position had ended and asked for nothing; the order session had sent its cancel and looked no further. The exit
worked on for nine minutes with nothing held, and would have sold short.
"""

from __future__ import annotations

from domain.instruments import Side
from domain.orders.table import OrderStatus
from messages import broker
from messages.operator import Alarm
from tests.testkit.ibkr_history import EXIT, EXIT_2, History, broker_order, ended_order
from tests.testkit.probe import Outbox


def came_back() -> History:
    """An exit that was given up works at the broker; the next one has closed its position."""
    h = History().live({7: 2})
    h.submit_exit()
    h.sent(EXIT)
    h.lost()
    h.back()
    h.sleep(10)
    h.read(held={7: 2})
    h.submit_exit(EXIT_2)
    h.fill(EXIT_2, 2, side=Side.SELL)
    h.holds(0)
    h.status(EXIT_2, OrderStatus.FILLED, filled_qty=2, remaining_qty=0)
    h.status(EXIT, OrderStatus.WORKING)
    return h


def cancelled(told: Outbox) -> list[str]:
    return [cancel.order_ref for cancel in told.told(broker.WithdrawOrder)]


def test_lost_cancel_of_an_order_that_was_given_up_is_sent_again_until_the_order_ends() -> None:
    h = came_back()
    for _ in range(3):
        assert [told for told in h.sleep(2).published(Alarm) if EXIT in told.text]
        assert cancelled(h.read(broker_order(EXIT, side=Side.SELL))) == [EXIT]
    h.status(EXIT, OrderStatus.CANCELLED, remaining_qty=0)
    told = h.sleep(60)
    assert not told.told(broker.ReadBack)
    assert not cancelled(told)


def test_lost_word_of_a_cancel_ends_the_order_by_the_read_back() -> None:
    h = came_back()
    h.sleep(2)
    assert not cancelled(h.read(ended_order(EXIT, OrderStatus.CANCELLED, 0, side=Side.SELL)))
    assert not h.order(EXIT).is_under_way
    assert not h.sleep(60).told(broker.ReadBack)


def test_lost_cancel_of_an_order_that_the_ledger_holds_for_over_is_sent_again() -> None:
    """After a restart: no actor knows the order, the ledger alone says that nobody wants it."""
    h = History().start()
    h.up()
    h.broker_read(broker_order(EXIT, side=Side.SELL))
    assert cancelled(h.reconciled(cancel_refs=(EXIT,))) == [EXIT]
    h.sleep(2)
    assert cancelled(h.read(broker_order(EXIT, side=Side.SELL))) == [EXIT]
    h.sleep(2)
    assert not cancelled(h.read())
    assert not h.order(EXIT).is_under_way


def test_order_of_a_life_that_is_over_is_cancelled_whenever_it_comes_back() -> None:
    h = History().live()
    assert h.status(EXIT, OrderStatus.WORKING).told(broker.ReadBack)
    h.broker_read(broker_order(EXIT, side=Side.SELL))
    assert cancelled(h.reconciled(cancel_refs=(EXIT,))) == [EXIT]
    assert not h.status("ZH-other-aaaaaaaaaaaa-x1", OrderStatus.WORKING).told(broker.ReadBack), "another desk's"


def test_cancel_that_a_read_back_has_looked_for_since_is_not_asked_for_twice() -> None:
    h = History().live()
    h.working()
    h.cancel()
    h.query()
    assert not h.sleep(2).told(broker.ReadBack)
    assert not h.state.is_read_wanted
