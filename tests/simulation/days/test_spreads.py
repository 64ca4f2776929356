"""Days with credit spreads: drawn apart from the rest, played whole, and broken where a guard of the saga is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace

from actors import structure
from actors.ibkr import orders as ibkr_orders
from actors.position import exit_order
from actors.position.state import keep_order
from config.settings import Settings
from domain.orders.order_pair import OrderRole
from domain.orders.table import Order, Table
from domain.signals import spread
from domain.structure import saga as sagas
from domain.structure.saga import EntryPart, Saga, SagaState, Wish
from domain.units import Qty
from messages import entries
from simulation.days.one_day import DayResult, Days, day_settings
from simulation.days.plan import plan_day
from simulation.days.spreads import SHARE
from storage import combo_shares

HELD_AND_LEFT: Final = 79  # one spread, held until SPY stands above the strike; the process is started again
IN_AND_OUT_AS_ONE: Final = 277  # verticals without a fault of their orders, each left at its loss
LEFT_LEG_BY_LEG: Final = 63  # orders for both that are refused, cancelled or lost
UNWOUND_LEG_BY_LEG: Final = 119
IRON_CONDOR: Final = 154
IRON_BUTTERFLY: Final = 5
UNFILLED: Final = 70  # shorts that do not fill in 2 s, again and again
SETTINGS: Final = day_settings(has_spreads=True)
PLAIN: Final = day_settings()
COMBOS: Final = day_settings(has_combos=True)
BOTH: Final = day_settings(has_spreads=True, has_combos=True)


def run(folder: Path, seed: int, settings: Settings = SETTINGS) -> DayResult:
    """Play a day that may have spreads."""
    return Days(settings, folder, parity_every=0).run(seed)


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


def test_with_combinations_alone_every_spread_is_one_order_and_with_spreads_every_other_seeds() -> None:
    alone = [plan.spreads for seed in range(80) if (plan := plan_day(seed, COMBOS)).spreads is not None]
    assert alone
    assert all(spreads is not None and spreads.width_usd for spreads in alone)
    assert {spreads.combination for spreads in alone if spreads is not None} == {None, *spread.OF_COMBINATION}
    both = [(seed, plan.spreads) for seed in range(80) if (plan := plan_day(seed, BOTH)).spreads is not None]
    assert {bool(spreads is not None and spreads.width_usd) is (seed % 2 == 0) for seed, spreads in both} == {True}


def test_a_day_of_plain_spreads_is_planned_and_set_as_if_nobody_had_heard_of_verticals(tmp_path: Path) -> None:
    plain, both = (Days(settings, tmp_path / name) for name, settings in (("plain", SETTINGS), ("both", BOTH)))
    odd = [seed for seed in range(1, 60, 2) if plan_day(seed, SETTINGS).spreads is not None]
    for seed in odd:
        assert plan_day(seed, BOTH) == plan_day(seed, SETTINGS)
        assert both.settings_of(plan_day(seed, BOTH)).spread == plain.settings_of(plan_day(seed, SETTINGS)).spread


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


@pytest.mark.slow
def test_verticals_are_opened_and_closed_as_one_order_and_nothing_breaks(tmp_path: Path) -> None:
    result = run(tmp_path, IN_AND_OUT_AS_ONE, COMBOS)
    assert result.broken == ()
    assert {"ENTERING", "HELD", "LEAVING for position_loss", "CLOSED for position_loss"} <= reached(result)
    assert "BUYING_BACK for position_loss" not in reached(result)


@pytest.mark.slow
def test_what_one_order_leaves_goes_leg_by_leg_and_nothing_breaks(tmp_path: Path) -> None:
    result = run(tmp_path, LEFT_LEG_BY_LEG, COMBOS)
    assert result.broken == ()
    assert {"LEAVING for position_loss", "BUYING_BACK for position_loss"} <= reached(result)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [IRON_CONDOR, IRON_BUTTERFLY])
def test_structures_of_four_legs_are_opened_and_closed_as_one_order_and_nothing_breaks(
    tmp_path: Path, seed: int
) -> None:
    result = run(tmp_path, seed, COMBOS)
    assert result.broken == ()
    assert {"handed over with two pairs", "ENTERING", "HELD"} <= reached(result)
    assert any(name.startswith("LEAVING for") for name in reached(result))


@pytest.mark.slow
def test_a_day_of_verticals_comes_to_the_same_stepped_every_second(tmp_path: Path) -> None:
    assert Days(COMBOS, tmp_path, parity_every=0).is_same(IN_AND_OUT_AS_ONE)


LEAVING: Final = (SagaState.BUYING_BACK, SagaState.RELEASING)
_WISHES = sagas.wishes
_CARRY_OUT = structure._carry_out
_ON_TIMER = structure._on_timer
_SHORT_SENT = sagas.short_sent


def _without_unwind(saga: Saga) -> tuple[Wish, ...]:
    return () if saga.state in LEAVING else _WISHES(saga)


def _with_the_cover_lifted_early(saga: Saga) -> tuple[Wish, ...]:
    wanted = tuple(wish for wish in _WISHES(saga) if wish is not Wish.HOLD_COVER)
    is_out = saga.state is SagaState.BUYING_BACK and not saga.cover.is_leaving
    return (Wish.FREE_COVER, Wish.CLOSE_COVER, *wanted) if is_out else wanted


def _with_shorts_first(rules: Any, turn: Any, wish: Wish) -> None:
    """Sell the shorts with the cover's own permit, the moment that the cover is wanted."""
    if wish is Wish.OPEN_COVER:
        state = turn.state
        short = state.legs[1]
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
    _CARRY_OUT(rules, turn, wish)


def _selling_twice_what_is_covered(saga: Saga) -> Saga:
    sent = _SHORT_SENT(saga)
    return replace(sent, short=replace(sent.short, ordered=Qty(2 * sent.short.ordered)))


def _asking_for_the_shorts_at_once(saga: Saga) -> tuple[Wish, ...]:
    return (Wish.OPEN_SHORT, Wish.OPEN_COVER) if saga.state is SagaState.RESERVED else _WISHES(saga)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("guard", "without", "seed", "words"),
    [
        ("_carry_out", _with_shorts_first, HELD_AND_LEFT, ("the cover is 0",)),
        ("wishes", _asking_for_the_shorts_at_once, HELD_AND_LEFT, ("asks for leave to sell before",)),
        ("short_sent", _selling_twice_what_is_covered, HELD_AND_LEFT, ("20 on sale, the cover is 1",)),
        ("wishes", _with_the_cover_lifted_early, HELD_AND_LEFT, ("for sale",)),
        ("wishes", _without_unwind, UNFILLED, ("is BUYING_BACK", "is RELEASING")),
    ],
    ids=["shorts first", "shorts asked for first", "more than is covered", "cover lifted early", "unwind skipped"],
)
def test_a_saga_without_a_guard_breaks_an_invariant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: str, without: object, seed: int, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(structure, guard, without)
    broken = run(tmp_path, seed).broken
    assert any(word in text for text in broken for word in words), broken


def _without_the_wait_for_shorts(turn: Any, timer: structure.Timer) -> None:
    if timer is not structure.Timer.LEG:
        _ON_TIMER(turn, timer)


@pytest.mark.slow
@pytest.mark.parametrize("is_watched", [True, False])
def test_a_permit_that_never_comes_is_unwound_and_without_the_wait_for_it_an_invariant_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_watched: bool
) -> None:
    monkeypatch.setattr(structure, "_on_permit", lambda *_: None)
    if not is_watched:
        monkeypatch.setattr(structure, "_on_timer", _without_the_wait_for_shorts)
    result = run(tmp_path, HELD_AND_LEFT)
    assert "SELLING" in reached(result)
    assert ["is SELLING for" in text for text in result.broken] == ([] if is_watched else [True])
    assert ("CLOSED for unwind" in reached(result)) or not is_watched


def _forgetting(turn: Any) -> None:
    """Let a leg that is to leave by itself forget the order for both."""
    order = turn.state.orders.exit
    if order is not None and order.is_joint and turn.state.wanted is not None:
        keep_order(turn, OrderRole.EXIT, None)


def _own_alone(table: Table, con_id: int) -> Order | None:
    """Find a contract's own exit, and no order for both legs."""
    return next((o for o in table if o.is_exit and o.is_under_way and o.con_id == con_id), None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("guards", "seed", "words"),
    [
        (
            ((exit_order, "_leave_combination", _forgetting), (ibkr_orders, "working_exit", _own_alone)),
            LEFT_LEG_BY_LEG, "two live exit orders",
        ),
        (((structure, "wishes", _with_the_cover_lifted_early),), UNWOUND_LEG_BY_LEG, "for sale"),
        (((combo_shares, "execution_of_leg", lambda _, execution: execution),), LEFT_LEG_BY_LEG, "recorded"),
    ],
    ids=["a leg leaves beside the order for both", "cover lifted early", "fills of all legs kept with one"],
)  # fmt: skip
def test_one_order_without_its_guards_breaks_an_invariant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guards: tuple[tuple[Any, str, Any], ...], seed: int, words: str
) -> None:
    for module, guard, without in guards:
        monkeypatch.setattr(module, guard, without)
    broken = run(tmp_path, seed, COMBOS).broken
    assert any(words in text for text in broken), broken
