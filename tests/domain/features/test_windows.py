"""Sums and extremes over the last readings, each window made of its own values alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.features.frames import BEFORE, last_seen, window_alike, window_extremes, window_sums


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 240), st.integers(0, 10_000))
def test_a_window_sum_is_the_sum_of_its_values(readings: int, seed: int) -> None:
    column = np.random.default_rng(seed).normal(size=(2, BEFORE + 7))
    found = window_sums(column, [readings])[0]
    for at in range(7):
        assert found[:, at] == pytest.approx(column[:, BEFORE + at - readings + 1 : BEFORE + at + 1].sum(axis=1))


def test_a_wild_value_leaves_no_trace_once_it_is_out_of_the_window() -> None:
    column = np.random.default_rng(3).normal(size=(1, BEFORE + 200))
    wild = column.copy()
    wild[0, BEFORE] = 1e16
    assert np.array_equal(window_sums(column, [60])[0][0, 60:], window_sums(wild, [60])[0][0, 60:])


def test_a_sum_with_a_missing_value_is_missing() -> None:
    column = np.ones((1, BEFORE + 100))
    column[0, BEFORE + 10] = np.nan
    assert np.flatnonzero(np.isnan(window_sums(column, [60])[0][0])).tolist() == list(range(10, 70))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 240), st.integers(0, 10_000))
def test_extremes_pass_over_what_is_missing(readings: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    column = rng.normal(size=(1, BEFORE + 7))
    column[rng.random(column.shape) < 0.3] = np.nan
    low, high = window_extremes(column, readings)
    for at in range(7):
        window = column[0, BEFORE + at - readings + 1 : BEFORE + at + 1]
        present = window[~np.isnan(window)]
        assert (low[0, at], high[0, at]) == ((present.min(), present.max()) if len(present) else pytest.approx(
            (np.nan, np.nan), nan_ok=True
        ))  # fmt: skip
    assert low.shape == high.shape == (1, 7)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=30, max_size=45))
def test_kinds_alike_are_counted_in_one_window_as_in_columns(kinds: list[int]) -> None:
    alike, absent = window_alike(np.array([kinds]), 30, 4)
    for at in range(len(kinds) - 29):
        window = kinds[at : at + 30]
        assert (alike[0, at], absent[0, at]) == (window.count(window[-1]), window.count(4))
        one_alike, one_absent = window_alike(np.array(window), 30, 4)
        assert (one_alike[0], one_absent[0]) == (alike[0, at], absent[0, at])


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, BEFORE + 20)), st.integers(0, 20))
def test_when_a_condition_was_last_true_is_said_of_one_window_as_in_columns(places: set[int], at: int) -> None:
    condition = np.isin(np.arange(BEFORE + 21), list(places))
    seen = last_seen(condition[None])[0]
    assert seen[at] == max((place for place in places if place <= BEFORE + at), default=-1)
    assert last_seen(condition[at : at + BEFORE + 1])[0] == max(seen[at] - at, -1)
