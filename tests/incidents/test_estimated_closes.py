"""A close whose executions could not be read was booked at an estimate, which stood for ever.

The broker showed the executions later, in that session or to the next run: they belonged to no order of ours, halted
entries, and the result of the position stayed at the last bid.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from domain.instants import SECOND
from domain.instruments import Side
from domain.position.cycle import EndReason, ExitReason, PositionState
from domain.risk.kill import KillLevel
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.units import Cents, Qty, Ticks, Utc
from messages.broker import Execution
from messages.lifecycle import RequestState, StateRead
from messages.operator import Alarm
from messages.orders import FillRecorded, RecordExitIntent, RequestOrderState
from messages.positions import PositionClosed, PositionDisputed, PositionOpened
from messages.restored import PositionRestored
from messages.risk import RaiseKill
from storage.desk_ledger import DeskLedger
from storage.queries import LedgerReader
from storage.shared_ledger import start_run
from tests.actors.position.test_position_legs import SHORT as SHORT_LEG
from tests.testkit import ledger_asks as ask
from tests.testkit import position_history
from tests.testkit.position_history import EXIT_1, held_position, order_fill

LATER = Utc(ask.T0 + 600 * SECOND)


def sold(**changes: object) -> Execution:
    """Both contracts, sold by hand at 4.80 while the position was open."""
    values: dict[str, Any] = {"order_ref": "", "perm_id": 4711, "side": Side.SELL, "price_ticks": Ticks(480)}
    return ask.fill(1, "hand.1", **(values | {"at_utc": ask.T0 + 30 * SECOND} | changes))


def estimated(folder: Path) -> DeskLedger:
    """A ledger whose one position was bought at 5.00, and booked as closed by somebody at an estimate of 1.00."""
    start_run(folder, ("paper",), ask.T0)
    ledger = DeskLedger(folder, "paper", run_n=1)
    ledger.open()
    for message in (ask.reserve(1), ask.execution(1), ask.position(1)):
        ledger.apply(message, ask.T0)
    ledger.apply(
        ask.closed(1, end=EndReason.BROKER_LIQUIDATION, realised_cents=Cents(-80_000), closed_utc=ask.T0 + 60 * SECOND),
        ask.T0 + 60 * SECOND,
    )
    return ledger


def read_later(ledger: DeskLedger, *executions: Execution) -> tuple[object, ...]:
    return ledger.apply(ask.read((), executions), LATER)


def restored(ledger: DeskLedger) -> PositionRestored:
    (read,) = ledger.apply(RequestState(name="position:paper:1", reply_to="supervisor", session=ask.DAY), LATER)
    assert isinstance(read, StateRead)
    assert isinstance(read.restored, PositionRestored)
    return read.restored


@pytest.mark.parametrize(
    "order_ref", ["", "ZH-direct-1", ask.ref(1, "x1")], ids=["by hand", "direct", "unrecorded exit"]
)
def test_executions_that_come_after_an_estimate_open_the_position_again(tmp_path: Path, order_ref: str) -> None:
    ledger = estimated(tmp_path)
    facts = read_later(ledger, sold(order_ref=order_ref))
    (fill,) = [fact for fact in facts if isinstance(fact, FillRecorded)]
    assert (fill.con_id, fill.filled_qty_total, fill.price_ticks) == (1, 2, 480)
    known = restored(ledger)
    assert known.is_estimated is True
    assert sum(total.qty for total in known.fills if total.is_exit) == 2
    ledger.close()


def test_the_replacement_of_an_estimate_takes_the_place_of_its_row(tmp_path: Path) -> None:
    ledger = estimated(tmp_path)
    read_later(ledger, sold())
    ledger.apply(ask.closed(1, end=EndReason.BROKER_LIQUIDATION, realised_cents=Cents(-4_000)), LATER)
    assert restored(ledger).reservation is None
    (trade,) = LedgerReader(tmp_path, "paper").trades(ask.DAY)
    assert trade["realised_cents"] == -4_000
    ledger.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"qty": Qty(3)},
        {"side": Side.BUY},
        {"at_utc": ask.T0 + 90 * SECOND},
        {"at_utc": ask.T0 - 3600 * SECOND},
        {"con_id": 2},
    ],
    ids=["more than was held", "a purchase", "after the estimate", "before the entry", "of another contract"],
)
def test_what_cannot_be_the_estimated_close_is_still_nobodys(tmp_path: Path, changes: dict[str, object]) -> None:
    ledger = estimated(tmp_path)
    facts = read_later(ledger, sold(**changes))
    assert not [fact for fact in facts if isinstance(fact, FillRecorded)]
    assert restored(ledger).reservation is None
    ledger.close()


def test_a_close_of_the_life_before_is_not_taken_from_the_one_that_holds_the_contract_now(tmp_path: Path) -> None:
    """Two lives in one contract: the late execution of the first was booked to the second, which then held -1."""
    ledger = estimated(tmp_path)
    for message in (
        ask.reserve(2, con_id=1, expires_utc=ask.T0 + 200 * SECOND),
        ask.execution(2, "00e2.1", con_id=1, at_utc=ask.T0 + 120 * SECOND),
    ):
        ledger.apply(message, ask.T0 + 100 * SECOND)
    facts = read_later(ledger, sold())
    assert not [fact for fact in facts if isinstance(fact, FillRecorded) and fact.side is Side.SELL]
    assert [fact.level for fact in facts if isinstance(fact, RaiseKill)] != []
    assert [total.qty for total in restored(ledger).fills] == [2]
    ledger.close()


def test_a_position_that_comes_back_for_its_executions_corrects_its_result() -> None:
    h = position_history.History()
    known = held_position(order_fill(EXIT_1, Side.SELL, 2, 960))
    h.restart(replace(known, is_estimated=True))
    h.mode(Mode.FULLY_LIVE)
    assert h.cycle() is PositionState.PENDING_EXIT
    h.broker(0)
    (closed,) = h.all(PositionClosed)
    assert closed.is_correction
    assert closed.realised_cents == -4_000 - 260
    assert [alarm.key for alarm in h.all(Alarm)] == ["replaced:812"]
    assert h.cycle() is PositionState.FLAT


def test_a_position_that_lives_corrects_its_own_estimate() -> None:
    h = position_history.held()
    h.mode(Mode.FULLY_LIVE)
    for ms in (1000, 31_000, 31_000):
        h.wait(ms)
        h.broker(0)
    (closed,) = h.all(PositionClosed)
    assert closed.end is EndReason.BROKER_LIQUIDATION
    h.fill(2, 480, "broker:4711")
    h.broker(0)
    h.wait(5000)
    assert [closed.is_correction for closed in h.all(PositionClosed)] == [False, True]
    assert h.last(PositionClosed).realised_cents == -4_000
    assert "replaced:812" in [alarm.key for alarm in h.all(Alarm)]


def test_a_fee_that_comes_late_replaces_no_estimate() -> None:
    h = position_history.held()
    h.mode(Mode.FULLY_LIVE)
    for ms in (1000, 31_000, 31_000):
        h.wait(ms)
        h.broker(0)
    h.fee(130)
    assert "replaced:812" not in [alarm.key for alarm in h.all(Alarm)]


@pytest.mark.parametrize("sign", [1, -1])
def test_what_the_broker_holds_after_all_is_watched_again(sign: int) -> None:
    """A broker that showed no position for a minute: what was booked as closed was held, and nobody watched it."""
    h = position_history.held() if sign > 0 else sold_leg()
    held = h.state.fills.signed_held
    for ms in (1000, 31_000, 31_000):
        h.wait(ms)
        h.broker(0)
    assert h.cycle() is PositionState.FLAT
    h.wait(1000)
    h.broker(held)
    assert h.cycle() is PositionState.FLAT, "a person may have opened as much: the ledger says whose it is"
    h.taken_back(held)
    assert h.cycle() is PositionState.OPEN
    assert h.last(RaiseKill).level is KillLevel.NO_ENTRIES
    assert h.last(PositionOpened).qty == abs(held)
    position_history.flatten(h, ExitReason.KILL)
    assert h.last(RecordExitIntent).qty == abs(held)
    h.fill(abs(held), 480, f"{h.ref.position_id}-x1")
    h.ended(f"{h.ref.position_id}-x1", abs(held))
    h.broker(0)
    h.wait(5000)
    assert [(closed.end, closed.is_correction) for closed in h.all(PositionClosed)] == [
        (EndReason.BROKER_LIQUIDATION, False), (EndReason.CLOSED, True),
    ]  # fmt: skip


@pytest.mark.parametrize(("phase", "qty"), [(Phase.CLOSED, 2), (Phase.ENTRY, 1), (Phase.ENTRY, -2)])
def test_what_the_broker_holds_after_all_must_be_what_was_held_and_in_trading_hours(phase: Phase, qty: int) -> None:
    h = position_history.held()
    for ms in (1000, 31_000, 31_000):
        h.wait(ms)
        h.broker(0)
    h.phase(phase)
    h.taken_back(qty)
    assert h.cycle() is PositionState.FLAT


def test_the_ledger_is_asked_whose_it_is_that_the_broker_holds_after_an_estimate() -> None:
    h = position_history.held()
    for ms in (1000, 31_000, 31_000):
        h.wait(ms)
        h.broker(0)
    h.broker(2)
    asked = len(h.all(RequestOrderState))
    h.wait(31_000)
    assert h.last(PositionDisputed).broker_qty == 2
    h.wait(31_000)
    assert len(h.all(RequestOrderState)) > asked, "the answer comes after a read-back"
    assert h.cycle() is PositionState.FLAT


def sold_leg() -> position_history.History:
    h = position_history.History(SHORT_LEG)
    h.hold(10)
    return h
