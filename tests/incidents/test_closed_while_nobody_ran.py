"""A contract sold while no supervisor ran (`flatten --direct`, a person): the next run's position waited for ever.

Its own orders are of an earlier run, so that no read-back told it what the broker holds, but for the first of the link.
Where the position started after that one was read, its life never ended, and level 1 came every time it asked. Where
the day's executions could not be read, its close was estimated, and the true one was nobody's once it came.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.alarm import Severity
from domain.instants import SECOND
from domain.instruments import Side
from domain.position.cycle import EndReason, PositionState
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.units import Qty, Utc
from messages.broker import ReadGroup
from messages.operator import Alarm
from messages.orders import RequestOrderState
from messages.positions import BrokerPositionRead, PositionClosed, PositionDisputed
from messages.restored import OrderFill
from messages.risk import RaiseKill
from messages.session import Reconciled, ReconcileFinished
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from tests.testkit import ledger_asks as ask
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


def gone_unread(h: position_history.History, ms: int) -> None:
    """Have the broker say that it holds nothing, and that it cannot show the day's executions."""
    h.wait(ms)
    h.feed(BrokerPositionRead(con_id=812, qty=Qty(0), read_utc=h.now, has_executions=False))


def test_a_close_whose_executions_cannot_be_read_is_not_booked_at_an_estimate() -> None:
    """The direct flatten's fill was booked at the last bid after the restart, and belonged to nobody once it came."""
    h = restarted()
    for ms in (5000, 5000, 31_000, 31_000):
        gone_unread(h, ms)
    assert h.all(PositionClosed) == []
    assert any(alarm.key == "unread:812" and alarm.severity is Severity.CRITICAL for alarm in h.all(Alarm))
    h.fill(2, 480, "ZH-direct-1")
    h.broker(0)
    h.wait(5000)
    assert h.cycle() is PositionState.FLAT
    assert h.last(PositionClosed).end is not EndReason.BROKER_LIQUIDATION
    assert not [alarm for alarm in h.all(Alarm) if alarm.key == "gone:812"]


def test_a_close_of_which_the_executions_say_nothing_is_booked_once_they_can_be_read() -> None:
    h = restarted()
    for ms in (5000, 5000, 31_000):
        gone_unread(h, ms)
    h.wait(1000)
    h.broker(0)
    assert h.last(PositionClosed).end is EndReason.BROKER_LIQUIDATION


def test_a_close_whose_executions_were_never_read_is_booked_when_the_day_is_settled() -> None:
    h = restarted()
    for ms in (5000, 5000, 31_000):
        gone_unread(h, ms)
    h.phase(Phase.CLOSED)
    gone_unread(h, 1000)
    assert h.cycle() is PositionState.SETTLING
    h.advance(Utc(position_history.CLOSE + 24 * 3600 * SECOND))
    assert h.last(PositionClosed).end is EndReason.BROKER_LIQUIDATION


@pytest.mark.parametrize("group", [ReadGroup.ORDERS, ReadGroup.COMPLETED, ReadGroup.EXECUTIONS])
def test_a_position_is_told_whether_the_executions_could_be_read(group: ReadGroup) -> None:
    h = History().live()
    h.feed(RequestOrderState(order_ref="ZH-paper-A-e", reply_to=OWNER, con_id=7))
    (told,) = h.read_but(group).told(BrokerPositionRead, OWNER)
    assert told.has_executions is (group is not ReadGroup.EXECUTIONS)


@pytest.mark.parametrize(
    ("held", "exits", "kept"),
    [(2, (2,), 1), (2, (5,), 0), (2, (2, 2), 1), (2, (1, 1), 2), (3, (2, 2, 1), 2), (-1, (2,), 0), (0, (1,), 0)],
)
def test_exits_of_another_folder_stay_while_they_close_no_more_than_is_held(
    tmp_path: Path, held: int, exits: tuple[int, ...], kept: int
) -> None:
    """All of them stayed whatever their quantity, and what they sold beyond the holding was a short that nobody had."""
    start_run(tmp_path, ("paper",), ask.T0)
    ledger = DeskLedger(tmp_path, "paper", run_n=1)
    ledger.open()
    at_work = tuple(
        ask.broker_order(5, ask.ref(77, f"x{n}"), side=Side.SELL, qty=Qty(qty), filled_qty=Qty(0))
        for n, qty in enumerate(exits, 1)
    )
    told = ledger.apply(ask.read(at_work, (), (ask.broker_position(5, held),) * bool(held)), ask.T0)
    (fact,) = [one for one in told if isinstance(one, Reconciled)]
    assert len(fact.cancel_refs) == len(exits) - kept
    assert sorted((*fact.cancel_refs, *fact.foreign_orders)) == [order.order_ref for order in at_work]
    ledger.close()


@pytest.mark.parametrize(("filled", "holds", "is_kept"), [((1,), 1, True), ((1, 1), 0, True), ((), 1, False)])
def test_an_exit_of_another_folder_that_fills_between_the_brokers_answers_is_not_cancelled(
    tmp_path: Path, filled: tuple[int, ...], holds: int, is_kept: bool
) -> None:
    """Its open order was read before the fill, the position after it: it seemed to close more than is held."""
    start_run(tmp_path, ("paper",), ask.T0)
    ledger = DeskLedger(tmp_path, "paper", run_n=1)
    ledger.open()
    order = ask.broker_order(5, ask.ref(77, "x1"), side=Side.SELL, qty=Qty(2), filled_qty=Qty(0))
    sold = tuple(
        ask.fill(5, f"other.{n}", order_ref=order.order_ref, side=Side.SELL, qty=Qty(qty), at_utc=ask.T0)
        for n, qty in enumerate(filled)
    )
    told = ledger.apply(ask.read((order,), sold, (ask.broker_position(5, holds),) * bool(holds)), ask.T0)
    (fact,) = [one for one in told if isinstance(one, Reconciled)]
    assert (fact.cancel_refs == ()) is is_kept
    ledger.close()
