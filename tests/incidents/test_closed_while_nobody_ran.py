"""A contract sold while no supervisor ran (`flatten --direct`, a person): the next run's position waited for ever.

Its own orders are of an earlier run, so that no read-back told it what the broker holds, but for the first of the link.
Where the position started after that one was read, its life never ended, and level 1 came every time it asked.
"""

from __future__ import annotations

import pytest

from domain.instruments import Side
from domain.position.cycle import PositionState
from domain.session.modes import Mode
from messages.orders import RequestOrderState
from messages.positions import BrokerPositionRead, PositionDisputed
from messages.restored import OrderFill
from messages.risk import RaiseKill
from messages.session import ReconcileFinished
from tests.testkit import position_history
from tests.testkit.ibkr_history import OWNER, History
from tests.testkit.position_history import ENTRY, EXIT_1, held_position, order_fill


def test_a_position_of_an_earlier_run_that_disputes_is_told_what_the_broker_holds() -> None:
    h = History().live()
    asked_utc = h.now
    h.feed(PositionDisputed(position_id="ZH-paper-A", con_id=7, ledger_qty=0, broker_qty=0, why="not confirmed"))
    answers = h.read().told(BrokerPositionRead, OWNER)
    assert [(answer.con_id, answer.qty, answer.read_utc > asked_utc) for answer in answers] == [(7, 0, True)]


def test_a_position_that_asks_is_told_what_the_broker_holds() -> None:
    h = History().live()
    asked_utc = h.now
    h.feed(RequestOrderState(order_ref="ZH-paper-A-e", reply_to=OWNER, con_id=7))
    answers = h.read().told(BrokerPositionRead, OWNER)
    assert [(answer.con_id, answer.qty, answer.read_utc > asked_utc) for answer in answers] == [(7, 0, True)]


def restarted(*fills: OrderFill) -> position_history.History:
    """A position that starts after the read-back of this link: it is told of it, and that it was before."""
    h = position_history.History()
    read_utc = h.now
    h.wait(1000)
    h.restart(held_position(*fills))
    h.mode(Mode.FULLY_LIVE)
    h.feed(ReconcileFinished(session_epoch=2, positions=(), read_utc=read_utc))
    return h


@pytest.mark.parametrize("sold", [2, 0], ids=["closed in the ledger", "closed at the broker alone"])
def test_a_position_that_starts_after_the_read_back_asks_before_it_disputes(sold: int) -> None:
    h = restarted(*(order_fill(EXIT_1, Side.SELL, sold, 800),) * (sold > 0))
    h.wait(5000)
    asked = h.last(RequestOrderState)
    assert (asked.order_ref, asked.con_id) == (ENTRY, 812)
    assert h.all(RaiseKill) == []
    if sold:
        h.broker(0)
        assert h.cycle() is PositionState.FLAT
    else:
        h.broker(2)
    h.wait(10_000)
    assert h.all(RaiseKill) == []
    assert h.all(PositionDisputed) == []


@pytest.mark.parametrize(("sold", "holds"), [(2, 1), (0, 0)])
def test_a_difference_that_the_answer_confirms_is_a_dispute(sold: int, holds: int) -> None:
    h = restarted(*(order_fill(EXIT_1, Side.SELL, sold, 800),) * (sold > 0))
    h.wait(5000)
    h.broker(holds)
    h.wait(5000)
    assert [(told.ledger_qty, told.broker_qty) for told in h.all(PositionDisputed)] == [(2 - sold, holds)]
    assert len(h.all(RaiseKill)) == 1


def test_a_question_that_is_not_answered_is_a_dispute() -> None:
    h = restarted(order_fill(EXIT_1, Side.SELL, 2, 800))
    h.wait(10_000)
    assert len(h.all(PositionDisputed)) == 1
