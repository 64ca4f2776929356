"""When a position takes the broker's word: what differs, for how long, and what is told of it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from actors.position import PositionActor
from domain.alarm import Severity
from domain.position.cycle import EndReason, ExitReason, PositionState
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.phases import Phase
from messages import broker, operator, orders, positions, risk
from tests.testkit.narrow import known
from tests.testkit.position_history import (
    ENTRY,
    EXIT_1,
    EXIT_2,
    History,
    closed,
    held_live,
    quoted_for,
    settings,
    tape,
)

RULES = settings().exits


def denied(history: History, ref: str) -> None:
    history.feed(broker.OrderDenied(order_ref=ref, code=RejectCode.EXIT_OVERSELL, why="oversell"))


def test_what_is_being_settled_is_not_left_asleep() -> None:
    history = held_live()
    history.phase(Phase.CLOSED)
    assert history.cycle() is PositionState.SETTLING
    assert isinstance(history.actor, PositionActor)
    assert history.actor.wakes_on(history.state) is None


@pytest.mark.parametrize(("word", "sent"), [(10, 1), (9, 2)])
def test_pause_after_a_denied_exit_ends_only_with_news_of_the_broker(word: int, sent: int) -> None:
    history = held_live(11)
    history.broker(10)
    history.feed(positions.FlattenPosition(reason=ExitReason.OPERATOR))
    assert history.last_order.qty == 10
    denied(history, EXIT_1)
    history.broker(word)
    assert len([m for m in history.all(orders.SubmitOrder) if m.order.is_exit]) == sent


@pytest.mark.parametrize(("broker_qty", "first", "second"), [(9, 9, 5), (11, 10, 6)])
def test_what_was_long_missing_at_the_broker_stays_missing_after_a_fill(
    broker_qty: int, first: int, second: int
) -> None:
    history = held_live(10)
    history.broker(broker_qty)
    quoted_for(history, 5)
    assert history.all(positions.PositionDisputed)
    tape(history, [(320, 325), (320, 325)])
    assert history.last_order.qty == first
    history.run_to_exit()
    history.fill(4, 320, EXIT_1)  # the broker has said nothing since
    history.ended(EXIT_1, 4, "Cancelled")
    history.found(EXIT_1, working=False, filled=4)
    assert (history.last_order.order_ref, history.last_order.qty) == (EXIT_2, second)


def test_difference_after_the_close_is_not_waited_for() -> None:
    for phase, is_awaited in ((Phase.CLOSED, False), (Phase.LATE, True)):
        history = closed()
        history.phase(phase)
        history.broker(2)
        assert (("agree", "") in history.timers) is is_awaited


def test_life_that_somebody_else_has_ended_is_over_for_the_ledger_too() -> None:
    history = held_live()
    history.broker(0)
    quoted_for(history, 5)
    history.wait(1)
    history.broker(0)
    quoted_for(history, 30)
    history.broker(0)
    assert history.cycle() is PositionState.FLAT
    assert history.state.fills.held == 2
    history.broker(0)
    assert ("agree", "") not in history.timers


def test_difference_is_asked_about_each_time_it_is_found_again_and_not_the_first_time() -> None:
    history = held_live()
    history.broker(1)
    quoted_for(history, 5)
    assert len(history.all(positions.PositionDisputed)) == 1
    assert history.all(orders.RequestOrderState) == []
    quoted_for(history, 30)
    assert [request.order_ref for request in history.all(orders.RequestOrderState)] == [ENTRY]


def test_flat_position_that_the_broker_has_not_spoken_of_since_its_last_entry_is_no_dispute() -> None:
    history = closed()
    history.broker(2)  # and nobody holds anything by the time that the wait is over
    history.ref = replace(history.ref, intent_id="intent-2")
    history.open()
    history.feed(broker.OrderDenied(order_ref=ENTRY, code=RejectCode.PERMIT_KILLED, why="killed"))
    assert history.cycle() is PositionState.FLAT
    history.wait(RULES.agreement_ms)
    assert history.all(positions.PositionDisputed) == []
    assert history.all(orders.RequestOrderState) == []


@pytest.mark.parametrize(("later_ms", "is_gone"), [(0, False), (1, True)])
def test_word_of_the_very_instant_of_the_dispute_does_not_confirm_it(later_ms: int, is_gone: bool) -> None:
    history = held_live()
    history.quote(495, 505)
    history.broker(0)
    history.wait(RULES.agreement_ms)
    assert history.state.disputed_utc == history.now
    history.wait(later_ms)
    history.broker(0)
    quoted_for(history, 31)
    assert (history.cycle() is PositionState.FLAT) is is_gone


def test_more_closed_than_held_is_told_once_even_when_the_life_is_over() -> None:
    history = held_live()
    history.phase(Phase.CLOSED)
    history.fill(3, 320, EXIT_1)
    assert history.last(risk.RaiseKill).level is KillLevel.FLATTEN
    history.broker(0)
    assert history.cycle() is PositionState.FLAT
    assert history.state.fills.held == -1
    history.fee(130)
    assert len(history.all(positions.PositionDisputed)) == 1


def test_fees_that_are_waited_for_have_a_wait_of_their_own() -> None:
    history = held_live()
    history.feed(positions.FlattenPosition(reason=ExitReason.OPERATOR))
    history.run_to_exit()
    history.fill(2, 490, EXIT_1)
    history.broker(0)
    assert ("fees", "") in history.timers


def test_end_by_somebody_else_is_a_page_with_the_price_it_is_booked_at() -> None:
    history = held_live()
    history.quote(480, 490)
    history.broker(0)
    quoted_for(history, 5, bid=480)
    history.wait(1)
    history.broker(0)
    quoted_for(history, 30, bid=480)
    assert history.last(positions.PositionClosed).end is EndReason.BROKER_LIQUIDATION
    (page,) = [alarm for alarm in history.all(operator.Alarm) if alarm.key == "gone:812"]
    assert page.severity is Severity.CRITICAL
    assert "booked at the last bid 4.80" in page.text
    assert "2 that the ledger holds" in page.text


def test_difference_that_has_not_lasted_takes_nothing_from_what_is_left_after_a_fill() -> None:
    history = held_live(10)
    history.broker(9)
    tape(history, [(320, 325), (320, 325)])
    assert history.last_order.qty == 9
    history.run_to_exit()
    history.fill(4, 320, EXIT_1)
    history.ended(EXIT_1, 4, "Cancelled")
    history.found(EXIT_1, working=False, filled=4)
    assert (history.last_order.order_ref, history.last_order.qty) == (EXIT_2, 6)


def test_exits_look_at_nothing_where_nothing_is_held() -> None:
    history = History()
    assert history.state.held() is None
    history.hold(2)
    assert known(history.state.held()).qty == 2
    history.feed(positions.FlattenPosition(reason=ExitReason.OPERATOR))
    history.run_to_exit()
    history.fill(2, 490, EXIT_1)
    assert history.state.held() is None
    history.fill(1, 490, EXIT_1)
    assert history.state.fills.held == -1
    assert history.state.held() is None
