"""Rolling quartiles: exact, whatever is missing, repeated or wild, and the same by both ways of finding them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.features.measures import Floats
from domain.features.order_statistics import DEVIATIONS_PER_IQR, robust_z, rolling_quartiles

CELL = st.one_of(st.just(float("nan")), st.sampled_from([0.0, 1.0, 1e13, -1e13]), st.floats(-1e6, 1e6))


def naive(column: Floats, width: int, least: int) -> Floats:
    out = np.full((3, column.shape[0], column.shape[1] - width + 1), np.nan)
    for series, at in np.ndindex(*out.shape[1:]):
        window = column[series, at : at + width]
        present = window[~np.isnan(window)]
        if len(present) >= max(least, 1):
            out[:, series, at] = np.quantile(present, [0.25, 0.5, 0.75], method="lower")
    return out


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 9), st.integers(1, 5), st.data())
def test_quartiles_of_every_window_are_those_of_its_present_values(width: int, least: int, data: st.DataObject) -> None:
    cells = st.lists(CELL, min_size=width + 9, max_size=width + 9)
    column = np.array(data.draw(st.lists(cells, min_size=1, max_size=3)))
    found = rolling_quartiles(column, width, least)
    assert np.array_equal(found, naive(column, width, least), equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(CELL, min_size=40, max_size=60), st.integers(4, 20))
def test_windows_sorted_anew_and_windows_advanced_end_in_the_same_bits(cells: list[float], width: int) -> None:
    column = np.array([cells, cells[::-1]])
    advanced = rolling_quartiles(column, width, 3)
    for at in range(column.shape[1] - width + 1):
        anew = rolling_quartiles(column[:, at : at + width], width, 3)
        assert np.array_equal(anew[..., 0], advanced[..., at], equal_nan=True)


def test_one_wild_value_does_not_move_the_rest_of_the_day() -> None:
    calm = np.random.default_rng(1).normal(size=(1, 400))
    wild = calm.copy()
    wild[0, 150] = 1e13
    one, other = robust_z(calm, 100, 30), robust_z(wild, 100, 30)
    assert np.array_equal(one[0, 152:], other[0, 152:])  # once it has left the window
    assert np.abs(one[0, 55:150] - other[0, 55:150]).max() < 0.2


def test_z_of_normal_values_is_about_theirs() -> None:
    column = np.random.default_rng(2).normal(5.0, 3.0, (1, 20_000))
    z = robust_z(column, 240, 30)
    assert np.abs(z - (column[:, 239:] - 5.0) / 3.0).mean() < 0.2
    assert pytest.approx(0.7413, abs=1e-4) == DEVIATIONS_PER_IQR


def test_z_is_missing_where_the_newest_is_too_few_are_or_nothing_moves() -> None:
    few = np.full((1, 10), np.nan)
    few[0, -3:] = [1.0, 2.0, 4.0]
    assert np.isnan(robust_z(few, 10, 4)).all()
    assert np.isfinite(robust_z(few, 10, 3)).all()
    newest = np.arange(10.0)[None].copy()
    newest[0, -1] = np.nan
    assert np.isnan(robust_z(newest, 10, 3)).all()
    still = np.ones((1, 10))
    assert np.isnan(robust_z(still, 10, 3)).all()
    still[0, -1] = 5.0  # the first that moves is no z either: nothing says how far is far
    assert np.isnan(robust_z(still, 10, 3)).all()


def test_more_readings_than_ranks_are_refused() -> None:
    with pytest.raises(ValueError, match="no session"):
        robust_z(np.zeros((1, 70_000)), 210, 30)
