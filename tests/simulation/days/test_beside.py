"""Days with a second desk: drawn apart from the rest, played whole, and broken where a guard between desks is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace

import main
from actors.risk import routing
from domain.instants import MINUTE, SECOND
from domain.units import Utc
from messages import desks
from simulation.days.beside import SECOND_DESK, SHARE, PlannedSwitch
from simulation.days.desk import plant_crashes
from simulation.days.faults import Fault
from simulation.days.one_day import DayResult, Days, day_settings
from simulation.days.plan import DayPlan, PlannedFault, plan_day
from simulation.days.world import World

SETTINGS: Final = day_settings(has_desks=True)
PLAIN: Final = day_settings()
SWITCHED: Final = 7
REFUSED: Final = 37  # a switch while something is held
STRUCK: Final = 1367  # the second desk's ledger, seven times within two seconds
APART: Final = 0
APART_ROUTES: Final = 6  # each strategy trades at one desk alone


def run(folder: Path, seed: int) -> DayResult:
    """Play a day that may have a second desk."""
    return Days(SETTINGS, folder, parity_every=0).run(seed)


# -- the plan -------------------------------------------------------------------------------------------


def test_without_the_option_no_day_has_a_second_desk_and_with_it_a_share_has() -> None:
    seeds = range(300)
    assert not [seed for seed in seeds if plan_day(seed, PLAIN).beside is not None]
    found = [beside for seed in seeds if (beside := plan_day(seed, SETTINGS).beside) is not None]
    assert SHARE * 0.8 < len(found) / len(seeds) <= SHARE * 1.2
    assert {beside.kind for beside in found} == {"paper", "live"}
    assert {beside.broker for beside in found} == {"ib"}
    assert any(beside.switches for beside in found)


def test_a_day_without_a_second_desk_is_planned_as_if_nobody_had_heard_of_one() -> None:
    without = [seed for seed in range(60) if plan_day(seed, SETTINGS).beside is None]
    assert [plan_day(seed, SETTINGS) for seed in without] == [plan_day(seed, PLAIN) for seed in without]


def test_what_goes_wrong_with_the_first_desk_stays_and_the_second_has_faults_of_its_own() -> None:
    troubled = 0
    for seed in range(60):
        wide, plain = plan_day(seed, SETTINGS), plan_day(seed, PLAIN)
        assert (wide.signals, wide.faults) == (plain.signals, plain.faults)
        assert wide.of_desk(0) is wide
        assert wide.of_desk(1).faults == wide.faults_beside or wide.beside is None
        troubled += bool(wide.faults_beside)
    assert troubled > 10


def test_each_strategy_trades_at_desks_of_the_day_and_may_be_switched_to_the_other(tmp_path: Path) -> None:
    days = Days(SETTINGS, tmp_path, parity_every=0)
    for seed in range(30):
        plan = plan_day(seed, SETTINGS)
        settings = days.settings_of(plan)
        if plan.beside is None:
            assert not settings.desks
            continue
        for strategy, at in plan.beside.routes:
            rules = settings.strategies[strategy]
            assert set(rules.desks) | set(rules.switch_to) == {settings.desk, SECOND_DESK}
            assert rules.desks == at


# -- whole days -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_day_of_two_desks_is_the_same_each_time_and_stepped_every_second(tmp_path: Path) -> None:
    days = Days(SETTINGS, tmp_path, parity_every=0)
    first, again = days.run(REFUSED), days.run(REFUSED)
    assert first.broken == ()
    assert (first.digest, first.messages, first.executions) == (again.digest, again.messages, again.executions)
    assert first.coverage.others["switches: refused, not_flat"] > 0
    assert days.is_same(REFUSED)


@pytest.mark.slow
def test_a_ledger_that_is_struck_at_every_try_of_a_message_breaks_nothing_but_that_rows_place(tmp_path: Path) -> None:
    """It is made anew each time, and struck again; after the last try the row is given up, with an alarm."""
    everything = day_settings(has_desks=True, has_rest=True, has_spreads=True, has_slices=True, has_combos=True)
    result = Days(everything, tmp_path, parity_every=0).run(STRUCK)
    assert not result.broken
    assert result.coverage.faults[Fault.ACTOR_CRASHED.name]


def test_a_strategy_that_is_flat_is_switched_and_nothing_breaks(tmp_path: Path) -> None:
    result = run(tmp_path, SWITCHED)
    assert result.broken == ()
    assert result.coverage.others["switches: done"] > 0


def stopped_beside(days: Days) -> DayPlan:
    """Return a day on which nothing goes wrong but that a person stops the second desk after an hour."""
    plan = days.comparable(SWITCHED)
    assert plan.beside is not None
    stop = PlannedFault(Fault.STOPPED, Utc(plan.day.open_utc + 60 * MINUTE))
    calm = replace(plan.beside, order_faults=0.0)
    return replace(plan, faults=(), order_faults=0.0, faults_beside=(stop,), beside=calm)


@pytest.mark.slow
def test_what_goes_wrong_at_the_second_desk_changes_nothing_of_the_firsts_day(tmp_path: Path) -> None:
    days = Days(SETTINGS, tmp_path, parity_every=0)
    assert days.is_apart(days.comparable(APART))


@pytest.mark.slow
def test_a_kill_level_that_reached_every_desk_would_be_seen_in_the_firsts_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = Days(SETTINGS, tmp_path, parity_every=0)
    plan = stopped_beside(days)
    assert days.is_apart(plan)
    route_of_several = main._route_of_several

    def to_all(of_first: Any, names: Any, desk_names: tuple[str, ...], settings: Any) -> Any:
        route = route_of_several(of_first, names, desk_names, settings)

        def every_ones(sender: str, role: str) -> tuple[str, ...]:
            is_kill = role.partition(":")[0] == "kill"
            return tuple(f"kill:{desk}" for desk in desk_names) if is_kill else tuple(route(sender, role))

        return every_ones

    monkeypatch.setattr(main, "_route_of_several", to_all)
    assert not days.is_apart(plan)


@pytest.mark.parametrize("is_crashed", [True, False])
def test_a_switch_needs_no_answer_where_whoever_took_it_crashed_at_that_instant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_crashed: bool
) -> None:
    days = Days(SETTINGS, tmp_path, parity_every=0)
    plan = stopped_beside(days)
    assert plan.beside is not None
    at_utc = Utc(plan.day.open_utc + MINUTE)
    switch = PlannedSwitch(at_utc, next(strategy for strategy, at in plan.beside.routes if len(at) == 1))
    plan = replace(plan, signals=(), faults_beside=(), beside=replace(plan.beside, switches=(switch,)))
    world = World(days.settings_of(plan), plan, tmp_path / "template")
    world.begin()
    world.go(at_utc - SECOND - world.clock.now_utc())
    operator = world.scene.cell("operator")
    assert operator is not None
    if is_crashed:
        plant_crashes(operator, 1, spared=0, with_started=False)
    else:
        operator.decide = lambda *_: None
    world.go(6 * MINUTE)
    world.end()
    assert ["has no answer" in text for text in world.scene.broken] == ([] if is_crashed else [True])


def _says_flat(rules: Any, turn: Any, held_for: Any) -> None:
    told = desks.StrategyHeld(
        switch_n=held_for.switch_n, desk=rules.desk, is_reconciled=held_for.is_reconciling, held="", unfit=""
    )
    turn.report("router", told)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("guard", "without", "seed", "words"),
    [
        ("answer", _says_flat, REFUSED, "was switched, and not flat"),
        ("trades", lambda _state, _strategy: True, APART_ROUTES, "does not trade"),
    ],
    ids=["flat before a switch", "each desk its own strategies"],
)
def test_desks_without_a_guard_break_an_invariant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: str, without: object, seed: int, words: str
) -> None:
    monkeypatch.setattr(routing, guard, without)
    broken = run(tmp_path, seed).broken
    assert any(words in text for text in broken), broken
