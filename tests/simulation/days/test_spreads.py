"""Days with credit spreads: drawn apart from the rest, played whole, and broken where a guard of the saga is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace

from actors import structure
from domain.structure import saga as sagas
from domain.structure.saga import EntryPart, Saga, SagaState, Wish
from messages import entries
from simulation.days.one_day import DayResult, Days, day_settings
from simulation.days.plan import plan_day
from simulation.days.spreads import SHARE

HELD_AND_LEFT: Final = 79  # one spread, held until SPY stands above the strike; the process is started again
UNFILLED: Final = 70  # shorts that do not fill in 2 s, again and again
SETTINGS: Final = day_settings(has_spreads=True)
PLAIN: Final = day_settings()


def run(folder: Path, seed: int) -> DayResult:
    """Play a day that may have spreads."""
    return Days(SETTINGS, folder, parity_every=0).run(seed)


def reached(result: DayResult) -> set[str]:
    return {name.removeprefix("spreads: ") for name in result.coverage.others if name.startswith("spreads: ")}


# -- the plan -------------------------------------------------------------------------------------------


def test_without_the_option_no_day_has_spreads_and_with_it_a_share_has() -> None:
    seeds = range(300)
    assert not [seed for seed in seeds if plan_day(seed, PLAIN).spreads is not None]
    found = [spreads for seed in seeds if (spreads := plan_day(seed, SETTINGS).spreads) is not None]
    assert SHARE / 2 < len(found) / len(seeds) <= SHARE * 1.3
    assert len({spreads.threshold_usd for spreads in found}) > 1


def test_a_day_without_spreads_is_planned_as_if_nobody_had_heard_of_them() -> None:
    without = [seed for seed in range(60) if plan_day(seed, SETTINGS).spreads is None]
    assert [plan_day(seed, SETTINGS) for seed in without] == [plan_day(seed, PLAIN) for seed in without]


def test_the_other_faults_and_signals_of_a_day_with_spreads_stay() -> None:
    for seed in range(60):
        wide, plain = plan_day(seed, SETTINGS), plan_day(seed, PLAIN)
        assert wide.signals == plain.signals
        assert [fault for fault in wide.faults if fault in plain.faults] == list(plain.faults)


# -- whole days -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_spread_is_opened_held_and_left_and_nothing_breaks(tmp_path: Path) -> None:
    result = run(tmp_path, HELD_AND_LEFT)
    assert result.broken == ()
    assert {"HELD", "BUYING_BACK for assignment_risk", "CLOSED for assignment_risk"} <= reached(result)


@pytest.mark.slow
def test_shorts_that_do_not_fill_are_unwound_and_nothing_breaks(tmp_path: Path) -> None:
    result = run(tmp_path, UNFILLED)
    assert result.broken == ()
    assert "CLOSED for unwind" in reached(result)


LEAVING: Final = (SagaState.BUYING_BACK, SagaState.RELEASING)
_WISHES = sagas.wishes
_CARRY_OUT = structure._carry_out


def _without_unwind(saga: Saga) -> tuple[Wish, ...]:
    return () if saga.state in LEAVING else _WISHES(saga)


def _with_the_cover_lifted_early(saga: Saga) -> tuple[Wish, ...]:
    wanted = tuple(wish for wish in _WISHES(saga) if wish is not Wish.HOLD_COVER)
    is_out = saga.state is SagaState.BUYING_BACK and not saga.cover.is_leaving
    return (Wish.FREE_COVER, Wish.CLOSE_COVER, *wanted) if is_out else wanted


def _with_shorts_first(rules: Any, turn: Any, wish: Wish, cover: Any, short: Any) -> None:
    """Sell the shorts with the cover's own permit, the moment that the cover is wanted."""
    if wish is Wish.OPEN_COVER:
        state = turn.state
        sent = replace(state.saga.short, ordered=short.order.qty, entry=EntryPart.WORKING)
        state.saga = replace(state.saga, short=sent)
        turn.tell(
            f"position:paper:{short.ref.contract.con_id}",
            entries.OpenPosition(
                ref=short.ref, order_ref=short.order.order_ref, qty=short.order.qty,
                limit_ticks=short.order.limit_ticks, decision=short.order.decision, permit=state.permit,
                deadline_utc=state.deadline_utc,
            ),
        )  # fmt: skip
    _CARRY_OUT(rules, turn, wish, cover, short)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("guard", "without", "seed", "words"),
    [
        ("_carry_out", _with_shorts_first, HELD_AND_LEFT, ("the cover is 0",)),
        ("wishes", _with_the_cover_lifted_early, HELD_AND_LEFT, ("for sale",)),
        ("wishes", _without_unwind, UNFILLED, ("is BUYING_BACK", "is RELEASING")),
    ],
    ids=["shorts first", "cover lifted early", "unwind skipped"],
)
def test_a_saga_without_a_guard_breaks_an_invariant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: str, without: object, seed: int, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(structure, guard, without)
    broken = run(tmp_path, seed).broken
    assert any(word in text for text in broken for word in words), broken
