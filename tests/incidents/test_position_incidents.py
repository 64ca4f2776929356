"""Incidents that must never return, each driven with callback orders that a real session showed (ib-gateway.md §8)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from domain.instruments import OrderType
from domain.position.cycle import ExitReason, PositionState
from domain.risk.kill import KillLevel
from domain.session.modes import Mode
from domain.session.phases import Phase
from messages import orders, positions, risk
from tests.testkit.paths import CALLBACKS, needs_recorded_callbacks
from tests.testkit.position_history import ENTRY, EXIT_1, EXIT_2, History, tape


def selling(qty: int = 2) -> History:
    """A held position whose stop order works."""
    history = History()
    history.hold(qty, 500)
    tape(history, [(320, 325), (320, 325)])
    history.order_sent(EXIT_1)
    history.ack(EXIT_1)
    return history


# -- zombie: a fill arrives and the machine stays in PENDING_ENTRY; exits then refuse ---------------


def _entry_news() -> dict[str, Callable[[History], object]]:
    return {
        "sent": lambda h: h.order_sent(),
        "ack": lambda h: h.ack(),
        "fill": lambda h: h.fill(2, 500, total=2),
        "filled": lambda h: h.ended(ENTRY, 2),
        "filled again": lambda h: h.ended(ENTRY, 2),
    }


@pytest.mark.parametrize("order", list(itertools.permutations(_entry_news())), ids="-".join)
def test_zombie_a_fill_opens_in_whatever_order_its_news_arrive_and_exits_then_work(order: tuple[str, ...]) -> None:
    history = History()
    history.open(qty=2)
    news = _entry_news()
    for name in order:
        news[name](history)
    assert history.cycle() is PositionState.OPEN
    assert history.state.orders.entry is None
    assert (history.state.fills.held, len(history.all(positions.PositionOpened))) == (2, 1)
    history.phase(Phase.FLATTEN)
    assert history.last_order.order_ref == EXIT_1


def test_zombie_a_fill_after_the_entry_was_given_up_is_adopted_and_sold_by_the_rules() -> None:
    history = History()
    history.open(qty=2)
    history.ack()
    history.wait(8000)
    history.ended(ENTRY, 0, "Cancelled")
    assert history.cycle() is PositionState.FLAT
    history.fill(2, 500)
    assert history.cycle() is PositionState.OPEN
    assert history.last(positions.PositionOpened).qty == 2
    tape(history, [(320, 325), (320, 325)])
    assert history.last_order.order_ref == EXIT_1


def test_zombie_a_fill_told_twice_counts_once() -> None:
    history = History()
    history.open(qty=2)
    history.ack()
    history.fill(1, 500, total=1)
    history.fill(0, 500, total=1)
    assert history.state.fills.held == 1


# -- phantom: modify-after-fill (104) reports Cancelled for an order that filled --------------------


def test_phantom_a_cancelled_entry_that_filled_is_asked_about_and_counted() -> None:
    history = History()
    history.open(qty=2, ask=520, permit_ms=5000)
    history.ack()
    history.wait(3900)
    history.quote(490, 530)
    history.wait(100)
    assert history.last_change.order_ref == ENTRY
    history.ended(ENTRY, 0, "Cancelled")  # 104: the library cancels what the exchange has filled
    assert history.last(orders.RequestOrderState).order_ref == ENTRY
    assert history.cycle() is PositionState.PENDING_ENTRY
    assert history.all(positions.EntryAbandoned) == []
    history.found(ENTRY, working=False, filled=2)
    history.fill(2, 500)
    assert history.cycle() is PositionState.OPEN


def test_phantom_a_cancelled_exit_that_filled_is_never_sold_again() -> None:
    history = selling()
    history.wait(2000)
    assert history.last_change.order_type is OrderType.MARKET
    history.ended(EXIT_1, 0, "Cancelled")
    assert history.last(orders.RequestOrderState).order_ref == EXIT_1
    history.wait(1900)
    assert len(history.all(orders.SubmitOrder)) == 2
    history.found(EXIT_1, working=False, filled=2)
    history.fill(2, 320, EXIT_1)
    history.broker(0)
    history.wait(300)
    assert history.cycle() is PositionState.FLAT
    assert len(history.all(orders.SubmitOrder)) == 2


def test_phantom_a_cancel_without_fills_books_nothing() -> None:
    history = History()
    history.open(qty=2)
    history.ack()
    history.wait(8000)
    history.ended(ENTRY, 0, "Cancelled")
    assert history.all(positions.PositionOpened) == []
    assert history.state.fills.opened_qty == 0


# -- orphan: a partial take-profit fill handled as a full close leaves contracts unsold -------------


def test_orphan_a_taken_part_leaves_the_rest_open_and_the_day_sells_it() -> None:
    history = History()
    history.hold(3, 500)
    tape(history, [(745, 755)])
    history.order_sent(EXIT_1)
    history.ack(EXIT_1)
    history.fill(1, 750, EXIT_1)
    assert history.cycle() is PositionState.PENDING_EXIT
    history.fill(1, 750, EXIT_1)
    history.ended(EXIT_1, 2)
    assert (history.cycle(), history.state.fills.held) == (PositionState.OPEN, 1)
    assert history.all(positions.PositionClosed) == []
    history.broker(1)
    history.phase(Phase.FLATTEN)
    submit = history.last_order
    assert (submit.order_ref, submit.qty) == (EXIT_2, 1)
    history.order_sent(EXIT_2)
    history.fill(1, 700, EXIT_2)
    history.broker(0)
    history.wait(300)
    assert history.cycle() is PositionState.FLAT


def test_orphan_an_exit_closed_short_of_what_is_held_is_followed_by_one_for_the_rest() -> None:
    history = selling(3)
    history.fill(1, 320, EXIT_1)
    history.ended(EXIT_1, 1, "Cancelled")
    history.found(EXIT_1, working=False, filled=1)
    submit = history.last_order
    assert (submit.order_ref, submit.qty) == (EXIT_2, 2)


# -- reconnect mid-order: fills that happened while away are found by reconciliation, once ----------


def test_reconnect_mid_exit_books_what_filled_while_away_once_and_sells_only_the_rest() -> None:
    history = selling(3)
    history.mode(Mode.DEGRADED)
    history.wait(6000)
    assert len(history.all(orders.SubmitOrder)) == 2
    history.fill(2, 320, EXIT_1, total=2)  # adopted by the reconciliation
    history.fill(0, 320, EXIT_1, total=2)  # and told again
    history.mode(Mode.WARMUP)
    assert len(history.all(orders.SubmitOrder)) == 2
    history.reconciled(1)
    assert history.last(orders.RequestOrderState).order_ref == EXIT_1
    history.found(EXIT_1, working=True, filled=2, qty=3, order_type=OrderType.LIMIT, limit=320)
    assert len(history.all(orders.SubmitOrder)) == 2
    history.wait(2000)
    modify = history.last_change
    assert (modify.order_ref, modify.qty, modify.order_type) == (EXIT_1, 3, OrderType.MARKET)
    assert history.state.fills.held == 1


def test_reconnect_mid_entry_books_what_filled_while_away_and_cancels_the_rest() -> None:
    history = History()
    history.open(qty=3)
    history.ack()
    history.mode(Mode.DEGRADED)
    history.wait(6000)
    history.fill(1, 500, total=1)
    history.mode(Mode.WARMUP)
    history.reconciled(1)
    history.found(ENTRY, working=True, filled=1, qty=3)
    assert history.last(orders.CancelOrder).order_ref == ENTRY
    assert (history.cycle(), history.state.fills.held) == (PositionState.OPEN, 1)
    assert len(history.all(orders.SubmitOrder)) == 1


def test_reconnect_with_a_filled_exit_closes_without_another_order() -> None:
    history = selling(2)
    history.mode(Mode.DEGRADED)
    history.wait(6000)
    history.mode(Mode.WARMUP)
    history.reconciled(0)  # the broker's word is here before the ledger's fills
    history.found(EXIT_1, working=False, filled=2)
    history.wait(100)
    history.fill(2, 320, EXIT_1)
    history.wait(300)
    assert history.cycle() is PositionState.FLAT
    assert len(history.all(orders.SubmitOrder)) == 2


# -- oversell: an ambiguous cancel followed by a new exit sells twice -------------------------------


def test_oversell_an_unconfirmed_cancel_is_asked_about_and_nothing_is_sent_meanwhile() -> None:
    history = selling()
    history.wait(2000)
    history.feed(orders.ModifyRefused(order_ref=EXIT_1, vendor_code=201, text="no type change"))
    assert history.last(orders.CancelOrder).order_ref == EXIT_1
    history.wait(2000)
    assert history.last(orders.RequestOrderState).order_ref == EXIT_1
    history.wait(30_000)
    assert len(history.all(orders.SubmitOrder)) == 2
    history.found(EXIT_1, working=True, filled=0)
    assert len(history.all(orders.CancelOrder)) == 2
    history.fill(1, 320, EXIT_1)  # the cancel lost the race, in part
    history.ended(EXIT_1, 1, "Cancelled")
    submit = history.last_order
    assert (submit.order_ref, submit.qty, submit.order_type) == (EXIT_2, 1, OrderType.MARKET)


def test_oversell_an_end_whose_fills_are_not_known_yet_sends_nothing() -> None:
    history = selling()
    history.wait(2000)
    history.feed(orders.ModifyRefused(order_ref=EXIT_1, vendor_code=201, text="no type change"))
    history.ended(EXIT_1, 1, "Cancelled")  # one was filled; the ledger has not said so yet
    assert len(history.all(orders.SubmitOrder)) == 2
    history.fill(1, 320, EXIT_1)
    assert history.last_order.qty == 1


def test_oversell_a_fill_after_its_cancel_counts_and_cancels_what_is_too_much() -> None:
    history = selling()
    history.wait(2000)
    history.feed(orders.ModifyRefused(order_ref=EXIT_1, vendor_code=201, text="no type change"))
    history.ended(EXIT_1, 0, "Cancelled")
    assert history.last_order.order_ref == EXIT_2
    history.fill(1, 320, EXIT_1)
    assert history.state.fills.held == 1
    assert history.last(orders.CancelOrder).order_ref == EXIT_2


def test_oversell_more_sold_than_held_is_disputed_at_level_two() -> None:
    history = selling(1)
    history.fill(1, 320, EXIT_1)
    history.fill(1, 320, EXIT_2)
    assert history.all(positions.PositionDisputed)[0].ledger_qty == -1
    assert [raised.level for raised in history.all(risk.RaiseKill, "kill")] == [KillLevel.FLATTEN]
    assert history.cycle() is PositionState.PENDING_EXIT


# -- the recorded session --------------------------------------------------------------------------


def _recorded_orders() -> list[list[dict[str, Any]]]:
    by_order: dict[tuple[object, object], list[dict[str, Any]]] = {}
    for row in json.loads(CALLBACKS.read_text(encoding="utf-8")):
        if row["kind"] in ("orderStatus", "execDetails"):
            by_order.setdefault((row["session"], row["orderId"]), []).append(row)
    return [rows for rows in by_order.values() if any(r["kind"] == "execDetails" for r in rows)]


@needs_recorded_callbacks
@pytest.mark.parametrize("side", ["entry", "exit"])
def test_recorded_callbacks_of_every_filled_order_end_with_exactly_its_executions(side: str) -> None:
    """A status is told as the broker session tells it: acknowledged, closed; the execution by way of the ledger."""
    recorded = _recorded_orders()
    assert len(recorded) >= 29
    for rows in recorded:
        total = sum(int(r["qty"]) for r in rows if r["kind"] == "execDetails")
        history = History()
        ref = ENTRY
        if side == "entry":
            history.open(qty=total)
        else:
            history.hold(total, 500)
            history.feed(positions.FlattenPosition(reason=ExitReason.EOD))
            ref = EXIT_1
        history.order_sent(ref)
        for row in rows:
            if row["kind"] == "execDetails":
                history.fill(int(row["qty"]), round(float(row["px"]) * 100), ref)
            elif row["status"] == "Filled":
                history.ended(ref, int(row["filled"]))
            else:
                history.ack(ref)
        if side == "exit":
            history.broker(0)
            history.wait(300)
        held, cycle = (total, PositionState.OPEN) if side == "entry" else (0, PositionState.FLAT)
        assert (history.state.fills.held, history.cycle()) == (held, cycle)
        assert len(history.all(orders.SubmitOrder)) == (1 if side == "entry" else 2)
        assert history.all(orders.RequestOrderState) == []
