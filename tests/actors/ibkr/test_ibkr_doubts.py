"""Orders that the broker calls working and refuses to change or cancel, over and over: how often it is asked."""

from __future__ import annotations

from domain.instants import SECOND
from domain.instruments import Side
from domain.orders.table import CodeMeaning, OrderStage, OrderStatus
from messages import broker, orders
from tests.testkit.ibkr_history import EXIT, OWNER, History, broker_order

UNKNOWN = CodeMeaning.ORDER_UNKNOWN
WORKS = broker_order(EXIT, side=Side.SELL)


def refused_over_and_over(rounds: int) -> tuple[History, list[float]]:
    """Let the broker refuse a cancel and call the order working; return after how many seconds it was asked."""
    h = History().live({7: 2}).working(EXIT)
    h.cancel(EXIT)
    pauses = []
    for _ in range(rounds):
        before, began = len(h.told(broker.ReadBack)), h.now
        h.error(EXIT, 10147, UNKNOWN)
        while len(h.told(broker.ReadBack)) == before:
            h.probe.advance(min(h.probe.timers.values()))
        pauses.append(round((h.now - began) / SECOND, 2))
        h.read(WORKS)
        assert h.order(EXIT).stage is OrderStage.WORKING
    return h, pauses


def test_an_order_in_doubt_over_and_over_is_asked_about_ever_later() -> None:
    _, pauses = refused_over_and_over(10)
    assert pauses[:7] == [0, 0, 0, 0.25, 0.5, 1, 2]
    assert all(2 <= pause <= 5 for pause in pauses[7:])  # a cancel without an answer has its own look after 2 s


def test_each_look_sends_the_cancel_again() -> None:
    h, _ = refused_over_and_over(6)
    assert len(h.told(broker.WithdrawOrder)) == 7


def test_an_execution_begins_the_count_anew() -> None:
    h, _ = refused_over_and_over(6)
    h.fill(EXIT, 1, side=Side.SELL)
    before = len(h.told(broker.ReadBack))
    h.error(EXIT, 10147, UNKNOWN)
    assert len(h.told(broker.ReadBack)) == before + 1


def test_the_word_that_was_waited_for_is_looked_into_at_once() -> None:
    h, _ = refused_over_and_over(6)
    before = len(h.told(broker.ReadBack))
    h.error(EXIT, 10147, UNKNOWN)
    assert len(h.told(broker.ReadBack)) == before
    h.status(EXIT, OrderStatus.CANCELLED)
    assert len(h.told(broker.ReadBack)) == before + 1
    h.read(broker_order(EXIT, side=Side.SELL, status=OrderStatus.CANCELLED, is_working=False), held={7: 2})
    assert not h.order(EXIT).is_under_way


def test_another_error_while_it_is_waited_for_makes_it_no_later() -> None:
    h, _ = refused_over_and_over(6)
    h.error(EXIT, 10147, UNKNOWN)
    due = h.probe.timers["read_again", EXIT]
    h.probe.now += SECOND
    h.error(EXIT, 10148, UNKNOWN)
    assert h.probe.timers["read_again", EXIT] == due


def test_a_question_of_its_position_is_not_held_up() -> None:
    h, _ = refused_over_and_over(6)
    h.error(EXIT, 10147, UNKNOWN)
    before = len(h.told(broker.ReadBack))
    h.query(EXIT)
    assert len(h.told(broker.ReadBack)) == before + 1
    h.read(WORKS)
    assert h.told(orders.OrderFound, OWNER)
    assert h.probe.timers.get(("read_again", EXIT)) is not None
    before = len(h.told(broker.ReadBack))
    h.probe.fire("read_again", EXIT)
    assert len(h.told(broker.ReadBack)) == before, "it is in doubt no more"
