"""The broker session's actor at the ends: the broker's book before the close, and a process that stops in peace."""

from __future__ import annotations

from datetime import date

import pytest

from domain.instants import MINUTE, MS, SECOND
from domain.orders.table import OrderStatus
from domain.position.day import DayMark
from domain.risk.reject import RejectCode
from domain.session.phases import Phase
from messages import broker, orders, positions, session
from tests.testkit.ibkr_history import ENTRY, EXIT, NOON, OWNER, History, broker_order

CLOSE = NOON + 4 * 60 * MINUTE
STOP = "edge:stop"


def phase(h: History, **more: int) -> None:
    instants = {"open_utc": NOON - 150 * MINUTE, "close_utc": CLOSE} | more
    h.feed(session.PhaseChanged(phase=Phase.ENTRY, session=date(2026, 11, 20), at_utc=h.now, **instants))


def looks(h: History) -> list[tuple[DayMark, bool, tuple[tuple[int, int], ...]]]:
    return [(look.mark, look.is_known, look.positions) for look in h.published(positions.HoldingsChecked)]


def go_on_to(h: History, at_utc: int) -> None:
    h.sleep((at_utc - h.now) / SECOND)


def test_the_brokers_book_is_read_and_told_before_the_close_and_not_after_the_settlement() -> None:
    h = History().live({7: 2})
    phase(h)
    go_on_to(h, CLOSE - 10 * MINUTE - 3 * SECOND)
    h.read(held={7: 2})
    go_on_to(h, CLOSE - 10 * MINUTE + SECOND)
    assert looks(h) == [(DayMark.VERIFY, True, ((7, 2),))]
    go_on_to(h, CLOSE - 7 * SECOND)
    h.read(held={7: 1})
    go_on_to(h, CLOSE - SECOND)
    h.holds(0)
    go_on_to(h, CLOSE + MINUTE)
    assert looks(h) == [(DayMark.VERIFY, True, ((7, 2),)), (DayMark.CLOSE, True, ((7, 1),))]


@pytest.mark.parametrize("is_back", [False, True])
def test_a_broker_that_cannot_be_read_is_not_taken_for_an_empty_book(is_back: bool) -> None:
    h = History().live()
    phase(h)
    go_on_to(h, CLOSE - 10 * MINUTE - 2 * SECOND)
    h.lost()
    if is_back:
        h.back()
    go_on_to(h, CLOSE - 9 * MINUTE)
    assert looks(h) == [(DayMark.VERIFY, False, ())]


def test_a_day_without_trading_and_a_session_known_already_arm_nothing_anew() -> None:
    h = History().live()
    phase(h, open_utc=CLOSE, close_utc=CLOSE)
    assert not any(kind.startswith("holdings") for kind, _ in h.probe.timers)
    h = History().live()
    phase(h)
    armed = dict(h.probe.timers)
    go_on_to(h, CLOSE - 5 * MINUTE)
    phase(h)
    assert ("holdings", "verify") in armed
    assert ("holdings", "verify") not in h.probe.timers


def stop(h: History) -> list[orders.EntriesWithdrawn]:
    return h.feed(orders.WithdrawEntries(reply_to=STOP)).told(orders.EntriesWithdrawn, STOP)


def test_a_stop_without_entries_is_answered_at_once() -> None:
    assert len(stop(History().live())) == 1


def test_a_stop_is_answered_when_each_entry_is_terminal_at_the_broker() -> None:
    h = History().live().working()
    assert not stop(h)
    assert [cancel.order_ref for cancel in h.told(broker.WithdrawOrder)] == [ENTRY]
    h.status(ENTRY, OrderStatus.CANCELLING)
    assert not h.told(orders.EntriesWithdrawn)
    h.status(ENTRY, OrderStatus.CANCELLED)
    assert len(h.told(orders.EntriesWithdrawn, STOP)) == 1
    h.sleep(5)
    assert len(h.told(orders.EntriesWithdrawn, STOP)) == 1, "it is said once"


def test_a_stop_leaves_a_working_exit_alone() -> None:
    h = History().live({7: 2}).working(EXIT)
    assert len(stop(h)) == 1
    assert not h.told(broker.WithdrawOrder)


@pytest.mark.parametrize("is_exit", [False, True])
def test_after_a_stop_was_asked_for_no_entry_leaves_any_more_and_exits_do(is_exit: bool) -> None:
    h = History().live({7: 2})
    stop(h)
    told = h.submit_exit() if is_exit else h.submit()
    assert bool(told.told(broker.PlaceOrder)) is is_exit
    denied = [fact.code for fact in told.told(broker.OrderDenied, OWNER)]
    assert denied == ([] if is_exit else [RejectCode.PERMIT_KILLED])


def test_an_entry_in_doubt_is_withdrawn_by_the_read_back_and_answered_then() -> None:
    h = History().live().working()
    h.lost()
    assert not stop(h)
    h.back()
    h.read(broker_order(ENTRY))
    h.status(ENTRY, OrderStatus.CANCELLED)
    assert len(h.told(orders.EntriesWithdrawn, STOP)) == 1
    assert h.now < NOON + 10 * MINUTE + MS
