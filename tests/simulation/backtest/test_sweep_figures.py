"""What a sweep says: a spread, not a winner, and whether choosing one carries over to other days."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from domain.reports.model import Rate
from simulation.backtest.sweep_figures import RESAMPLED, Nets, by_chance, falls_of, of_value, spread_of, walk_forward


def nets_of(*rows: list[int]) -> Nets:
    return np.array(rows, np.int64)


def test_the_spread_counts_who_gained_and_has_worst_median_and_best() -> None:
    spread = spread_of(np.array([-300, 0, 100, 500], np.int64))
    assert (spread.cents[0], spread.cents[2], spread.cents[4], spread.gained) == (-300, 50, 500, Rate(2, 4))
    assert of_value(np.array([1, 2, 3], np.int64), [True, False, True]).cents[4] == 3


def test_a_combination_is_chosen_on_the_sessions_before_and_judged_on_the_next_alone() -> None:
    nets = nets_of([9, 9, -5, 1, 1], [1, 1, 7, 1, 2], [0, 0, 6, 3, 4])
    folds = walk_forward(nets, 4)
    assert [(fold.cut, fold.end, fold.chosen, fold.tested_cents) for fold in folds] == [
        (1, 2, 0, 9), (2, 3, 0, -5), (3, 4, 0, 1), (4, 5, 0, 1),
    ]  # fmt: skip
    assert (folds[1].trained_cents, folds[1].median_cents, folds[1].beaten) == (18, 6.0, Rate(0, 2))


def test_fewer_sessions_than_steps_are_judged_one_by_one_and_one_session_not_at_all() -> None:
    assert [(fold.cut, fold.end) for fold in walk_forward(nets_of([1, 2, 3], [3, 2, 1]), 4)] == [(1, 2), (2, 3)]
    assert walk_forward(nets_of([1], [2]), 4) == ()


@given(st.integers(1, 60), st.integers(1, 8))
def test_every_session_but_the_first_part_is_judged_once_and_never_chosen_on(sessions: int, steps: int) -> None:
    folds = walk_forward(np.zeros((2, sessions), np.int64), steps)
    judged = [place for fold in folds for place in range(fold.cut, fold.end)]
    assert judged == list(range(judged[0], sessions)) if judged else sessions == 1
    assert all(0 < fold.cut < fold.end for fold in folds)


def test_a_fall_is_from_the_highest_sum_so_far_the_start_included() -> None:
    assert falls_of(nets_of([-5, -5, 20, -3], [1, 1, 1, 1], [10, -30, 5, -1])).tolist() == [10, 0, 30]


def test_the_best_of_many_without_an_edge_looks_like_luck_and_an_edge_does_not() -> None:
    drawn = np.random.default_rng(1).integers(-1_000, 1_001, (200, 40))
    luck = by_chance(drawn)
    assert luck is not None
    assert (luck.share or 0) > 0.05
    drawn[3] += 900
    assert by_chance(drawn) == Rate(0, RESAMPLED)
    assert by_chance(drawn[:, :19]) is None
