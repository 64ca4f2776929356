"""What a position makes of news that comes late, twice, or of another life: halts, reversals, fills."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.instants import MS, SECOND
from domain.instruments import OrderType
from domain.orders.intent import DecisionPrices
from domain.position.cycle import PositionState
from domain.risk.reject import RejectCode
from messages import broker, entries, market, orders, positions, signals
from tests.testkit.narrow import known
from tests.testkit.position_history import ENTRY, EXIT_1, STEM, T0, History, flatten, held, settings, tape

RULES = settings().exits
NEXT = "ZH-paper-MNOPQRSTUVWX"


def flat() -> History:
    """A life that was closed, and agreed on."""
    history = held()
    flatten(history)
    history.run_to_exit()
    history.fill(2, 490, EXIT_1)
    history.fee(130)
    history.fee(130, EXIT_1)
    history.broker(0)
    assert history.cycle() is PositionState.FLAT
    return history


def halted(history: History, *is_halted: bool) -> None:
    for told in is_halted:
        history.feed(market.HaltChanged(ticker="SPX", is_halted=told, at_utc=history.now))


def reversal(history: History) -> None:
    history.feed(signals.ReversalRaised(source="gexwatch", ticker="SPX", direction=-1, bucket_utc=T0))


# -- the market ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "order_type"),
    [((True, False, False), OrderType.LIMIT), ((True, False, True), OrderType.LIMIT), ((False,), OrderType.MARKET)],
)
def test_resume_told_again_lets_no_market_order_go_before_a_quote(
    told: tuple[bool, ...], order_type: OrderType
) -> None:
    history = held()
    halted(history, *told)
    assert (history.state.resumed_utc is None) is (told[-1] or len(told) == 1)
    flatten(history)
    assert history.last_order.order_type is order_type


@pytest.mark.parametrize("is_old", [False, True])
def test_slow_check_asks_for_a_quote_only_where_the_last_one_is_old(is_old: bool) -> None:
    history = held()
    history.wait(RULES.slow_check_ms - 1 - (0 if is_old else 1))
    if not is_old:
        history.quote(495, 505)
    history.wait(2)
    requests = history.all(market.RequestQuote)
    assert bool(requests) is is_old
    for request in requests:
        assert request.expires_utc - request.newer_than_utc == RULES.blind_resubscribe_ms * MS


def test_reversal_before_anything_has_filled_leaves_the_entry_alone() -> None:
    history = History()
    history.open()
    history.order_sent()
    history.ack()
    reversal(history)
    assert history.wanted_reason is None
    assert history.all(orders.CancelOrder) == []


# -- fills -----------------------------------------------------------------------------------------


def next_life(history: History) -> None:
    """Another life in the same contract, opened and sold, its fees told, and agreed on."""
    history.ref = replace(history.ref, position_id=NEXT, intent_id="intent-2")
    history.feed(
        entries.OpenPosition(
            ref=history.ref, order_ref=f"{NEXT}-e", qty=2, limit_ticks=500,
            decision=DecisionPrices(490, 505, 600_000), permit=history.permit(2_000),
            deadline_utc=history.now + 10 * SECOND,
        )
    )  # fmt: skip
    history.quote(495, 505)
    history.fill(2, 500, f"{NEXT}-e")
    history.wait(1)
    flatten(history)
    history.fill(2, 490, f"{NEXT}-x1")
    history.fee(130, f"{NEXT}-e")
    history.fee(130, f"{NEXT}-x1")
    history.broker(0)
    assert history.cycle() is PositionState.FLAT


def test_late_fill_of_an_earlier_life_is_a_life_of_its_own() -> None:
    history = flat()
    next_life(history)
    history.fill(1, 510, ENTRY)
    opened = history.last(positions.PositionOpened)
    assert (opened.qty, opened.cost_cents) == (1, 51_000)


def test_end_waits_for_no_fee_of_an_earlier_life() -> None:
    history = held()
    flatten(history)
    history.run_to_exit()
    history.fill(2, 490, EXIT_1)
    history.broker(0)
    history.wait(RULES.record_wait_ms)  # its fees never come
    next_life(history)
    assert [end.ref.position_id for end in history.all(positions.PositionClosed)] == [STEM, NEXT]


def test_life_that_ends_in_the_day_has_ended_then() -> None:
    history = flat()
    end = history.last(positions.PositionClosed)
    assert (end.opened_utc, end.closed_utc) == (T0, history.now)


def test_life_whose_closing_fill_came_first_counts_from_its_end() -> None:
    history = History()
    history.open()
    history.feed(broker.OrderDenied(order_ref=ENTRY, code=RejectCode.PERMIT_KILLED, why="killed"))
    history.fill(1, 490, EXIT_1)
    history.wait(1)
    history.fill(1, 500, ENTRY)
    history.broker(0)
    history.wait(RULES.record_wait_ms)
    end = history.last(positions.PositionClosed)
    assert end.opened_utc == end.closed_utc == history.now


def test_late_fill_of_the_life_that_has_just_ended_goes_on_with_its_sums() -> None:
    history = flat()
    history.fill(1, 510, ENTRY)
    assert (history.state.fills.opened_qty, history.state.fills.closed_qty) == (3, 2)


def test_late_fill_has_taken_no_part_and_is_looked_after() -> None:
    history = held()
    tape(history, [(745, 755)])
    history.run_to_exit()
    history.fill(1, 750, EXIT_1)
    assert history.state.took_part
    flatten(history)
    history.fill(1, 740, f"{STEM}-x2")
    history.broker(0)
    history.wait(RULES.record_wait_ms)
    assert history.cycle() is PositionState.FLAT
    history.fill(1, 510, ENTRY)
    assert not history.last(positions.RecordPosition).took_part
    assert history.timers["slow", ""] == history.now + RULES.slow_check_ms * MS


def test_first_fill_waits_for_no_agreement() -> None:
    history = History()
    history.open()
    history.quote(495, 505)
    history.fill(2, 500)
    assert ("agree", "") not in history.timers


def test_fill_that_the_ledger_has_at_last_is_known_to_be_recorded_and_booked_once() -> None:
    history = History()
    history.open()
    history.quote(495, 505)
    history.fill(2, 500, is_durable=False)
    assert known(history.state.fills.row(ENTRY)).recorded_qty == 0
    told = history.fill(0, 500, total=2)
    assert known(history.state.fills.row(ENTRY)).recorded_qty == 2
    assert told.published(positions.FillBooked) == []


def test_closing_fill_of_a_life_that_is_over_is_an_exit_that_is_not_agreed_on() -> None:
    history = flat()
    history.fill(1, 480, f"{STEM}-x2")
    assert history.cycle() is PositionState.PENDING_EXIT
