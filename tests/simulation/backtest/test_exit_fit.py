"""Exit levels learned from paths: what was planted is found ahead of its time; what lies ahead is never looked at."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from domain.position.exit_paths import ExitPath, Levels
from simulation.backtest.exit_fit import TRIED, fit, judged

BEFORE = {"SPX": Levels(0.6, 5_400_000)}
STOP = 0.35


def path_of(day: int, peak: float, end: float, peak_s: int = 300) -> ExitPath:
    """Return a path that rises evenly to its peak and then falls evenly to its end, at 30 min."""
    at = np.arange(10, 1_801, 10)
    mid = np.where(at <= peak_s, peak * at / peak_s, peak + (end - peak) * (at - peak_s) / (1_800 - peak_s))
    return ExitPath(
        session=date(2026, 9, 1) + timedelta(day), ticker="SPX", cost_cents=100_000, at_ms=at * 1_000, mid=mid,
        bid=mid - 0.01,
    )  # fmt: skip


def test_a_peak_that_always_comes_is_learned_and_was_worth_it_ahead() -> None:
    paths = [path_of(day, peak=0.42 + 0.001 * n, end=-0.3) for day in range(20) for n in range(3)]
    found = fit(paths, BEFORE, STOP)
    assert found.levels is not None
    assert (found.levels.take, found.n, found.ahead.n) == (0.4, 60, 48)
    assert found.ahead.mean_cents == pytest.approx((0.4 - -0.3) * 100_000, rel=0.03)
    assert found.ahead.bounds is not None
    assert found.ahead.bounds[0] > 60_000
    assert (found.ahead.better.hits, found.ahead.better.n) == (48, 48)
    assert found.chance is not None
    assert found.chance.hits == 0


def test_where_nothing_does_better_than_the_levels_in_force_nothing_is_learned() -> None:
    paths = [path_of(day, peak=0.61, end=0.0, peak_s=1_790) for day in range(20) for _ in range(2)]
    found = fit(paths, {"SPX": Levels(0.6, 5_400_000)}, STOP)
    assert found.levels is None
    assert found.ahead.mean_cents == 0
    assert found.ahead.better.n == 0


def test_a_step_forward_chooses_by_the_sessions_before_it_alone() -> None:
    before = [path_of(day, peak=0.42, end=-0.3) for day in range(10) for _ in range(3)]
    after = [path_of(day, peak=0.22, end=-0.3) for day in range(10, 20) for _ in range(3)]
    other = [path_of(day, peak=1.3, end=0.9) for day in range(10, 20) for _ in range(3)]
    chosen = [[fold.chosen for fold in fit([*before, *later], BEFORE, STOP).folds] for later in (after, other)]
    assert chosen[0][:2] == chosen[1][:2]  # the steps that chose before the change
    assert TRIED[chosen[0][0] - 1].take == 0.4
    assert chosen[0][3] != chosen[1][3]


def test_levels_are_judged_trade_by_trade_beside_those_in_force() -> None:
    paths = [path_of(0, peak=0.42, end=-0.3), path_of(1, peak=0.42, end=0.5), path_of(1, peak=0.1, end=0.05)]
    found = judged(paths, Levels(0.4, 5_400_000), BEFORE, STOP)
    assert (found.n, found.sessions, found.better.hits, found.better.n) == (3, 2, 1, 2)
    assert judged([], Levels(0.4, 1), BEFORE, STOP).mean_cents is None


def test_the_order_of_paths_changes_nothing() -> None:
    paths = [path_of(day, peak=0.2 + 0.02 * n, end=-0.2 + 0.01 * day) for day in range(12) for n in range(5)]
    assert fit(paths, BEFORE, STOP) == fit(list(reversed(paths)), BEFORE, STOP)
