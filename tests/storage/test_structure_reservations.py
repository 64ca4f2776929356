"""A structure in the desk's ledger: both legs reserved at once or neither, and what it gives back of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from domain.instants import SECOND
from domain.instruments import Side
from domain.orders.references import structure_key
from domain.position.cycle import ExitReason
from domain.risk.reject import RejectCode
from domain.structure.saga import SagaState
from domain.units import Cents, Qty
from messages import entries, lifecycle, structures
from messages.restored import ActorsRestored, PositionRestored, StructureRestored
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from tests.testkit import ledger_asks as ask
from tests.testkit.narrow import known
from tests.testkit.spread_ledger import filled, spread
from tests.testkit.spread_world import TERMS


@pytest.fixture
def ledger(tmp_path: Path) -> DeskLedger:
    start_run(tmp_path, ("paper",), ask.T0)
    opened = DeskLedger(tmp_path, "paper", run_n=1)
    opened.open()
    return opened


def code_of(ledger: DeskLedger, asked: entries.ReserveEntry) -> RejectCode | None:
    """Return why an attempt was refused; `None` where it was reserved."""
    (answer,) = ledger.apply(asked, ask.T0)
    return answer.finding.code if isinstance(answer, entries.EntryRefused) else None


def restored(ledger: DeskLedger, name: str) -> Any:
    """Return what the ledger gives back for a name."""
    (read,) = ledger.apply(lifecycle.RequestState(name=name, reply_to="supervisor", session=ask.DAY, read_n=1), ask.T0)
    assert isinstance(read, lifecycle.StateRead)
    return read.restored


def test_both_legs_are_reserved_at_once_each_with_its_order(ledger: DeskLedger) -> None:
    assert code_of(ledger, spread()) is None
    assert restored(ledger, "positions:paper").names == ("position:paper:1", "position:paper:22")
    short = restored(ledger, "position:paper:22")
    assert isinstance(short, PositionRestored)
    ref = known(short.reservation).ref
    assert (ref.side, ref.direction, ref.structure_id) == (Side.SELL, -1, "i1")


@pytest.mark.parametrize("held", ["cover", "short"])
def test_a_contract_that_is_held_leaves_neither_leg_reserved(ledger: DeskLedger, held: str) -> None:
    other = ask.reserve(7, legs=(ask.leg(7, 1 if held == "cover" else 22, qty=Qty(1)),))
    assert code_of(ledger, other) is None
    assert code_of(ledger, spread()) is RejectCode.DUPLICATE_POSITION
    assert len(restored(ledger, "positions:paper").names) == 1


@pytest.mark.parametrize(
    ("limits", "other", "code"),
    [
        ({"positions_per_ticker_max": 1}, {"ticker": "SPX"}, RejectCode.TICKER_LIMIT),
        (
            {"positions_per_ticker_max": 1},
            {"ticker": "SPY"},
            RejectCode.REVERSE_WITHOUT_FLAT,
        ),  # the short leg's is down
        ({"positions_per_ticker_max": 1}, {"ticker": "SPY", "direction": -1}, RejectCode.TICKER_LIMIT),
        ({}, {"ticker": "SPX", "direction": -1}, RejectCode.REVERSE_WITHOUT_FLAT),
        ({"positions_max": 1}, {"ticker": "QQQ"}, RejectCode.MAX_POSITIONS),
        ({"positions_max": 2}, {"ticker": "QQQ"}, None),
    ],
)
def test_the_counts_are_checked_again_in_each_underlying(
    ledger: DeskLedger, limits: Any, other: Any, code: RejectCode | None
) -> None:
    assert code_of(ledger, ask.reserve(7, **other)) is None
    assert code_of(ledger, spread(**limits)) is code


def test_a_structure_counts_once_and_in_both_underlyings_for_others(ledger: DeskLedger) -> None:
    assert code_of(ledger, spread()) is None
    assert code_of(ledger, ask.reserve(2, ticker="QQQ", positions_max=2)) is None
    assert code_of(ledger, ask.reserve(3, ticker="SPY", direction=-1, positions_per_ticker_max=1)) is (
        RejectCode.TICKER_LIMIT
    )
    assert code_of(ledger, ask.reserve(4, ticker="SPY")) is RejectCode.REVERSE_WITHOUT_FLAT


def test_trades_of_a_day_count_structures_not_legs(ledger: DeskLedger) -> None:
    assert code_of(ledger, spread(trades_per_day_max=2)) is None
    second = spread(2, legs=spread(2).legs[:1], trades_per_day_max=2)
    assert code_of(ledger, second) is None


def test_a_structure_comes_back_with_what_its_legs_hold(ledger: DeskLedger) -> None:
    ledger.apply(spread(), ask.T0)
    key = structure_key(ask.ref(1))
    assert restored(ledger, "structures:paper") == ActorsRestored(names=(f"structure:paper:{key}",))
    filled(ledger, ask.ref(1), 1, Side.BUY, 1, "a")
    filled(ledger, ask.ref(101), 22, Side.SELL, 10, "b")
    exit_ = ask.exit_intent(1, con_id=22, order_ref=ask.ref(101, "x1"), position_id=ask.stem(101), side=Side.BUY)
    ledger.apply(exit_, ask.T0)
    filled(ledger, ask.ref(101, "x1"), 22, Side.BUY, 4, "c")
    found = restored(ledger, f"structure:paper:{key}")
    assert isinstance(found, StructureRestored)
    assert found.structure_id == "i1"
    assert (found.cover.opened_qty, found.cover.held_qty, found.cover.is_live) == (1, 1, True)
    assert (found.short.opened_qty, found.short.held_qty, found.short.is_live) == (10, 6, True)
    assert found.short.reservation.ref.side is Side.SELL


def row_of(tmp_path: Path, *columns: str) -> tuple[Any, ...]:
    """Return columns of the one structure on record."""
    with sqlite3.connect(tmp_path / "paper.db") as db:
        (row,) = db.execute(f"SELECT {', '.join(columns)} FROM structures").fetchall()
    db.close()
    return tuple(row)


def changed(state: SagaState, reason: ExitReason | None = None) -> structures.StructureChanged:
    return structures.StructureChanged(
        structure_id="i1", state=state, reason=reason, cover_qty=Qty(1), short_qty=Qty(10), pnl_cents=None,
        at_utc=ask.T0 + SECOND,
    )  # fmt: skip


def test_the_terms_are_kept_with_the_reservation_and_come_back(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(spread(terms=TERMS), ask.T0)
    assert restored(ledger, f"structure:paper:{structure_key(ask.ref(1))}").terms == TERMS
    assert row_of(tmp_path, "state", "credit_cents", "gap_cents", "cover_ref", "short_ref") == (
        "RESERVED", 48_300, 0, ask.ref(1), ask.ref(101),
    )  # fmt: skip


def test_a_structure_that_was_refused_leaves_no_row(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(7, legs=(ask.leg(7, 22, qty=Qty(1)),)), ask.T0)
    assert code_of(ledger, spread(terms=TERMS)) is RejectCode.DUPLICATE_POSITION
    with pytest.raises(ValueError, match="not enough values"):
        row_of(tmp_path, "state")


def test_the_row_follows_its_structure_to_what_it_came_to(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(spread(terms=TERMS), ask.T0)
    ledger.apply(changed(SagaState.HELD), ask.T0)
    assert row_of(tmp_path, "state", "exit_reason", "closed_utc") == ("HELD", None, None)
    ledger.apply(changed(SagaState.CLOSED, ExitReason.ASSIGNMENT_RISK), ask.T0)
    closed = structures.StructureClosed(
        structure_id="i1", reason=ExitReason.ASSIGNMENT_RISK, terms=TERMS, cover_ticks=2_000.0, short_ticks=250.0,
        realised_cents=Cents(15_000), fees_cents=Cents(1_900), closed_utc=ask.T0 + SECOND,
    )  # fmt: skip
    ledger.apply(closed, ask.T0)
    assert row_of(tmp_path, "state", "exit_reason", "realised_cents", "short_ticks", "closed_utc") == (
        "CLOSED", "assignment_risk", 15_000, 250.0, ask.T0 + SECOND,
    )  # fmt: skip
    ledger.apply(changed(SagaState.BUYING_BACK, ExitReason.ASSIGNMENT_RISK), ask.T0)  # a fill that was told late
    assert row_of(tmp_path, "state", "closed_utc") == ("BUYING_BACK", None)


def test_what_was_released_before_its_actor_had_it_is_over(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(spread(terms=TERMS), ask.T0)
    ledger.apply(entries.ReleaseReservation(intent_id="i1", reason="nothing"), ask.T0 + SECOND)
    assert row_of(tmp_path, "state", "closed_utc") == ("ABANDONED", ask.T0 + SECOND)


def test_a_structure_whose_legs_are_over_does_not_come_back(ledger: DeskLedger) -> None:
    ledger.apply(spread(), ask.T0)
    ledger.apply(entries.ReleaseReservation(intent_id="i1", reason="nothing"), ask.T0 + SECOND)
    assert restored(ledger, "structures:paper").names == ()
    assert restored(ledger, f"structure:paper:{structure_key(ask.ref(1))}") is None
