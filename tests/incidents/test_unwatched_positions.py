"""What the broker held and was ours had no watcher: a reservation that a damaged ledger no longer showed as live.

Our executions explained it, so that nothing differed and nobody was told; a short was bought back at the end of the
day, or by a person.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from domain.instruments import Side
from domain.position.cycle import EndReason, ExitReason
from domain.risk.kill import KillLevel
from domain.units import Qty
from messages.broker import BrokerPosition, GroupFailure, ReadGroup
from messages.lifecycle import RequestState, StateRead
from messages.operator import Alarm
from messages.positions import BrokerPositionRead, FlattenPosition
from messages.restored import ActorsRestored
from messages.risk import RaiseKill
from messages.session import Reconciled, RequestReconcile
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from tests.testkit import ledger_asks as ask
from tests.testkit.ibkr_history import CALL, OWNER, History
from tests.testkit.spread_ledger import SPY, filled, spread

SHORT = BrokerPosition(contract=SPY, qty=Qty(-10), avg_cost_cents=0)


def opened(folder: Path, run_n: int = 1) -> DeskLedger:
    ledger = DeskLedger(folder, "paper", run_n=run_n)
    ledger.open()
    return ledger


@pytest.fixture
def spread_held(tmp_path: Path) -> Path:
    """The folder of a desk that holds a spread: one SPX call against ten SPY calls sold."""
    start_run(tmp_path, ("paper",), ask.T0)
    ledger = opened(tmp_path)
    ledger.apply(spread(1), ask.T0)
    filled(ledger, ask.ref(1), 1, Side.BUY, 1, "00e1.1", 2_000)
    filled(ledger, ask.ref(101), SPY.con_id, Side.SELL, 10, "00e1.2")
    ledger.close()
    return tmp_path


def damaged(folder: Path, con_id: int, state: str) -> None:
    with closing(sqlite3.connect(folder / "paper.db")) as db, db:
        db.execute("UPDATE reservations SET state = ? WHERE con_id = ?", (state, con_id))


def reconciled(ledger: DeskLedger, *held: BrokerPosition) -> Reconciled:
    (told,) = [fact for fact in ledger.apply(ask.read((), (), held), ask.T0) if isinstance(fact, Reconciled)]
    return told


def watched(ledger: DeskLedger) -> tuple[str, ...]:
    asked = RequestState(name="positions:paper", reply_to="supervisor", session=ask.DAY)
    (read,) = ledger.apply(asked, ask.T0)
    assert isinstance(read, StateRead)
    assert isinstance(read.restored, ActorsRestored)
    return read.restored.names


@pytest.mark.parametrize("state", ["CLOSED", "OPFN", ""])
def test_a_short_of_ours_without_a_watcher_is_taken_back(spread_held: Path, state: str) -> None:
    damaged(spread_held, SPY.con_id, state)
    ledger = opened(spread_held, run_n=2)
    assert watched(ledger) == ("position:paper:1",)
    found = reconciled(ledger, ask.broker_position(1, 1), SHORT)
    assert found.taken_back == (SHORT,)
    assert any("bought back" in text for text in found.mismatches)
    assert watched(ledger) == ("position:paper:1", f"position:paper:{SPY.con_id}")
    assert reconciled(ledger, ask.broker_position(1, 1), SHORT).taken_back == (), "it is watched now"
    ledger.close()


def test_what_was_bought_without_a_watcher_is_taken_back_to_its_own_exits(spread_held: Path) -> None:
    damaged(spread_held, 1, "CLOSED")
    ledger = opened(spread_held, run_n=2)
    found = reconciled(ledger, ask.broker_position(1, 1), SHORT)
    assert [position.contract.con_id for position in found.taken_back] == [1]
    assert not any("bought back" in text for text in found.mismatches)
    ledger.close()


def test_what_no_reservation_explains_is_told_with_the_remedy(spread_held: Path) -> None:
    with closing(sqlite3.connect(spread_held / "paper.db")) as db, db:
        db.execute("DELETE FROM reservations WHERE con_id = ?", (SPY.con_id,))
    ledger = opened(spread_held, run_n=2)
    found = reconciled(ledger, ask.broker_position(1, 1), SHORT)
    assert found.taken_back == ()
    assert any("nobody watches" in text and "flatten --direct --force" in text for text in found.mismatches)
    ledger.close()


def long_life(folder: Path, *, end: EndReason = EndReason.CLOSED, is_sold: bool = True) -> None:
    """One life in contract 1: bought, sold, over."""
    start_run(folder, ("paper",), ask.T0)
    ledger = opened(folder)
    sale = ask.execution(1, "00e1.2", order_ref=ask.ref(1, "x1"), side=Side.SELL)
    for message in (ask.reserve(1), ask.execution(1), ask.exit_intent(1), *(sale,) * is_sold, ask.closed(1, end=end)):
        ledger.apply(message, ask.T0)
    ledger.close()


@pytest.mark.parametrize(("run_n", "is_taken"), [(2, True), (1, False)])
def test_a_short_in_a_contract_of_an_earlier_run_is_taken_back(tmp_path: Path, run_n: int, is_taken: bool) -> None:
    """Of this run it has its watcher still."""
    long_life(tmp_path)
    ledger = opened(tmp_path, run_n)
    found = reconciled(ledger, ask.broker_position(1, -2))
    assert bool(found.taken_back) is is_taken
    assert [position.qty for position in found.foreign_positions] == [-2]
    ledger.close()


def test_a_short_that_somebody_else_has_sold_stays_his(tmp_path: Path) -> None:
    long_life(tmp_path)
    ledger = opened(tmp_path, run_n=2)
    ledger.apply(ask.execution(1, "hand.1", order_ref="by hand", side=Side.SELL), ask.T0)
    assert reconciled(ledger, ask.broker_position(1, -2)).taken_back == ()
    ledger.close()


def test_a_short_is_left_alone_while_executions_cannot_be_read_as_they_may_be_somebody_elses(tmp_path: Path) -> None:
    long_life(tmp_path)
    ledger = opened(tmp_path, run_n=2)
    asked = ask.read((), (), (ask.broker_position(1, -2),))
    failed = (GroupFailure(ReadGroup.EXECUTIONS, "timed out"),)
    facts = ledger.apply(replace(asked, read=replace(asked.read, failed=failed)), ask.T0)
    (found,) = [fact for fact in facts if isinstance(fact, Reconciled)]
    assert found.taken_back == ()
    assert [position.qty for position in found.foreign_positions] == [-2], "it is told all the same"
    ledger.close()


@pytest.mark.parametrize(
    ("end", "is_taken"),
    [(EndReason.BROKER_LIQUIDATION, True), (EndReason.EXPIRED, False), (EndReason.SETTLED, False),
     (EndReason.ASSIGNED, False), (EndReason.EXPIRED_UNPRICED, False)],
)  # fmt: skip
def test_what_has_expired_is_left_to_its_settlement(tmp_path: Path, end: EndReason, is_taken: bool) -> None:
    long_life(tmp_path, end=end, is_sold=False)
    ledger = opened(tmp_path, run_n=2)
    assert bool(reconciled(ledger, ask.broker_position(1, 2)).taken_back) is is_taken
    ledger.close()


def test_a_contract_of_an_earlier_day_is_not_taken_back(tmp_path: Path) -> None:
    long_life(tmp_path, end=EndReason.BROKER_LIQUIDATION, is_sold=False)
    ledger = opened(tmp_path, run_n=2)
    told = ledger.apply(ask.read((), (), (ask.broker_position(1, 2),)), ask.T0 + 86_400_000_000_000)
    (found,) = [fact for fact in told if isinstance(fact, Reconciled)]
    assert found.taken_back == ()
    ledger.close()


def by_hand(ledger: DeskLedger, side: Side = Side.BUY) -> None:
    ledger.apply(ask.execution(1, "hand.1", order_ref="", perm_id=4711, side=side), ask.T0)


@pytest.mark.parametrize("is_bought", [True, False])
def test_what_a_person_has_bought_is_not_taken_for_what_was_booked_as_gone(tmp_path: Path, is_bought: bool) -> None:
    """Both are of one size: taken back, our exits would have sold what is his."""
    long_life(tmp_path, end=EndReason.BROKER_LIQUIDATION, is_sold=False)
    ledger = opened(tmp_path, run_n=2)
    if is_bought:
        by_hand(ledger)
    found = reconciled(ledger, ask.broker_position(1, 2))
    assert bool(found.taken_back) is not is_bought
    assert watched(ledger) == (() if is_bought else ("position:paper:1",))
    assert any("nobody watches" in text and "somebody else" in text for text in found.mismatches) is is_bought
    ledger.close()


def test_nothing_is_taken_back_while_a_purchase_by_somebody_else_could_not_be_read(tmp_path: Path) -> None:
    long_life(tmp_path, end=EndReason.BROKER_LIQUIDATION, is_sold=False)
    ledger = opened(tmp_path, run_n=2)
    asked = ask.read((), (), (ask.broker_position(1, 2),))
    failed = (GroupFailure(ReadGroup.EXECUTIONS, "timed out"),)
    facts = ledger.apply(replace(asked, read=replace(asked.read, failed=failed)), ask.T0)
    (found,) = [fact for fact in facts if isinstance(fact, Reconciled)]
    assert found.taken_back == ()
    assert any("nobody watches" in text and "executions" in text for text in found.mismatches)
    ledger.close()


def test_that_it_was_taken_back_is_said_until_its_position_has_heard_it(tmp_path: Path) -> None:
    """The first answer may have been lost after its COMMIT."""
    long_life(tmp_path, end=EndReason.BROKER_LIQUIDATION, is_sold=False)
    ledger = opened(tmp_path)
    held = ask.broker_position(1, 2)
    assert [reconciled(ledger, held).taken_back for _ in range(2)] == [(held,), (held,)]
    ledger.apply(ask.position(1), ask.T0)
    assert reconciled(ledger, held).taken_back == ()
    ledger.close()


@pytest.mark.parametrize("qty", [-2, 2])
def test_a_position_that_was_taken_back_is_told_and_a_short_is_closed_like_at_kill_level_2(qty: int) -> None:
    h = History().live(held={7: qty})
    h.feed(RequestReconcile(why="a look"))
    h.broker_read(held={7: qty})
    back = BrokerPosition(contract=CALL, qty=Qty(qty), avg_cost_cents=0)
    text = "The broker holds it, which is ours and nobody watched."
    out = h.reconciled(taken_back=(back,), mismatches=(text,))
    assert [(told.qty, told.is_taken_back) for told in out.told(BrokerPositionRead, OWNER)] == [(qty, True)]
    assert [told.reason for told in out.told(FlattenPosition, OWNER)] == [ExitReason.KILL] * (qty < 0)
    assert [raised.level for raised in out.told(RaiseKill, "kill")] == [KillLevel.NO_ENTRIES]
    assert text in out.published(Alarm)[0].text
