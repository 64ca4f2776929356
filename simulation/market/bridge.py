"""The path of a recorded index between the closes of its minutes: a Brownian bridge.

A straight line to a minute's close, or a way through its extremes, tells in the first half minute where the second one
ends. A bridge with the variance of the index itself does not: its two halves are uncorrelated. How much it moves is
known from closed bars only, so that nothing of a bar shows before it has closed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

MINUTE_S: Final = 60
HALF_LIFE_BARS: Final = 15
PRIOR_BARS: Final = 3.0  # what is expected of a day counts like so many bars
DAY_MOVE: Final = 0.008  # expected of a day before its first bar has closed, as a log return


def bridged(minutes: Longs, starts: Floats, closes: Floats, shape: Floats, noise: Floats, size: int) -> Floats:
    """Return prices for each second of a grid; between bars the last close stands.

    Args:
        minutes: of the grid, at which the bars begin, ascending.
        starts: the price from which each bar's bridge goes.
        closes: the price that it reaches a minute later, to the last digit.
        shape: expected variance of each bar's minute, as a share of the day's; 0 where nothing is to move by itself.
        noise: standard normal draws, a row of `MINUTE_S` for each bar.
        size: seconds of the grid.
    """
    grid_minutes = size // MINUTE_S + 1
    spread_usd = starts * np.sqrt(expected_variances(starts, closes, shape) / MINUTE_S)
    ended = np.searchsorted(minutes, np.arange(grid_minutes + 1), side="left")  # bars, by each minute's begin
    standing = np.where(ended > 0, closes[np.maximum(ended - 1, 0)], starts[0])
    prices = np.repeat(standing[:-1, None], MINUTE_S, axis=1)  # of seconds 1 … 60 of each minute
    inside = (minutes >= 0) & (minutes < grid_minutes)
    walk = np.cumsum(noise[inside], axis=1) * spread_usd[inside, None]
    part = np.arange(1, MINUTE_S + 1) / MINUTE_S
    straight = starts[inside, None] * (1.0 - part) + closes[inside, None] * part
    prices[minutes[inside]] = straight + (walk - part * walk[:, -1:])
    return np.concatenate([standing[:1], prices.ravel()])[:size]


def expected_variances(starts: Floats, closes: Floats, shape: Floats) -> Floats:
    """Return the variance of each bar's log return that is expected from the bars before it and the time of day."""
    is_moving = shape > 0.0
    ratios = np.divide(np.log(closes / starts) ** 2, shape, out=np.zeros(len(shape)), where=is_moving)
    keep = 0.5 ** (1.0 / HALF_LIFE_BARS)
    found, total, weight = np.empty(len(ratios)), PRIOR_BARS * DAY_MOVE**2, PRIOR_BARS
    for n, (ratio, counts) in enumerate(zip(ratios.tolist(), is_moving.tolist(), strict=True)):
        found[n] = total / weight
        total, weight = total * keep + ratio, weight * keep + counts
    return np.asarray(found * shape)
