"""Quartiles of a rolling window, exact, and the robust z that is made of them.

z = (x − median) ÷ (0.7413 × interquartile range): for normal values the divisor is the standard deviation, and a
quarter of the window may be wild on either side without moving it. A quartile is the value of rank ⌊(n − 1) × share⌋
of the n that are present. Live a window is sorted; in columns the sorted windows of all series advance together, a
reading at a time, in ranks. Both end in the same numbers, for an order statistic is one of the values themselves.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.features.measures import Floats

DEVIATIONS_PER_IQR: Final = 0.7413
QUARTILES: Final = np.array([0.25, 0.5, 0.75]).reshape(3, 1, 1)

Ints = NDArray[np.intp]


def robust_z(column: Floats, width: int, least: int) -> Floats:
    """Return z of the newest of each window of `width`.

    Args:
        column: (series, width − 1 + evaluated), NaN = missing.
        width: readings of a window.
        least: fewer present ones give no z.

    Returns:
        (series, evaluated); NaN where the newest is missing, too few are present, or the quartiles are equal.
    """
    lower, median, upper = rolling_quartiles(column, width, least)
    spread = DEVIATIONS_PER_IQR * (upper - lower)
    return np.asarray((column[:, width - 1 :] - median) / np.where(spread > 0.0, spread, np.nan))


def rolling_quartiles(column: Floats, width: int, least: int) -> Floats:
    """Return (3, series, evaluated): the quartiles of each window's present values; NaN where they are too few."""
    if column.shape[1] == width:
        return _of_one_window(column, least)
    count = _present(column, width)
    return np.where(count >= least, _sorted_windows(column, width, _ranks(count)), np.nan)


def _ranks(count: Ints) -> Ints:
    ranks: Ints = (np.maximum(count - 1, 0) * QUARTILES).astype(np.intp)
    return ranks


@cache
def _ranks_of_one(width: int, least: int) -> Ints:
    """Return (width + 1, 3): the ranks by how many of a window are present; `width` where they are too few."""
    ranks = _ranks(np.arange(width + 1)[:, None])[..., 0].T.copy()
    ranks[:least] = width
    return ranks


def _of_one_window(column: Floats, least: int) -> Floats:
    """Return the quartiles of the only window there is, as live."""
    series_n, width = column.shape
    window = np.empty((series_n, width + 1))
    window[:, :width], window[:, width] = column, np.nan
    window.sort(axis=1)  # NaN behind all
    count = np.isnan(window).argmax(axis=1)
    at = _ranks_of_one(width, least).take(count, axis=0).T + np.arange(0, window.size, width + 1)
    found: Floats = window.take(at)[..., None]
    return found


def _present(column: Floats, width: int) -> Ints:
    """Return how many values of each window are present."""
    so_far = np.zeros((column.shape[0], column.shape[1] + 1), np.intp)
    np.cumsum(~np.isnan(column), axis=1, out=so_far[:, 1:])
    return np.asarray(so_far[:, width:] - so_far[:, :-width])


def _sorted_windows(column: Floats, width: int, ranks: Ints) -> Floats:
    """Return the values of these ranks in each window: the sorted one before, less what leaves, plus what enters.

    Each value has a place of its own in its whole series (missing ones the last), so small integers are moved instead
    of numbers. The gap of what leaves the sorted window B is closed by min(B[j], old) + max(B[j+1], old) − old (one of
    the two is always `old`), and what enters comes in by max(B[j−1], min(B[j], new)).

    Raises:
        ValueError: more readings than places.
    """
    series_n, length = column.shape
    if length >= np.iinfo(np.uint16).max:
        raise ValueError(f"{length} readings are no session; evaluate one session after the other")
    series = np.arange(series_n)
    order = np.argsort(column, axis=1)
    places = np.empty((length, series_n), np.uint16)
    np.put_along_axis(places.T, order, np.arange(length, dtype=np.uint16)[None, :], axis=1)
    held = np.full((width + 1, series_n), np.iinfo(np.uint16).max, np.uint16)  # a last row above all
    window = held[:-1]
    window[:] = np.sort(places[:width], axis=0)
    closed = np.zeros((width + 1, series_n), np.uint16)  # a first row below all
    after = np.empty_like(window)
    wanted = ranks.transpose(2, 0, 1) * series_n + series  # by reading, in the flat window
    found = np.empty(wanted.shape, np.uint16)
    for n in range(length - width + 1):
        if n:
            old, new = places[n - 1], places[n + width - 1]
            np.maximum(held[1:], old, out=after)
            np.minimum(window, old, out=closed[1:])
            closed[1:] += after
            closed[1:] -= old
            np.minimum(closed[1:], new, out=window)
            np.maximum(window, closed[:-1], out=window)
        window.reshape(-1).take(wanted[n], out=found[n], mode="clip")
    in_order = np.take_along_axis(column, order, 1)
    values: Floats = in_order.reshape(-1)[found + series * length].transpose(1, 2, 0)
    return values
