"""What dealers hold against one chain's nearest expiry, and how their hedging of it answers a move.

Convention of the vendor: dealers are long the calls and short the puts that are open. What is open is the open interest
of the morning and the share of the day's trades that opened positions, as they are expected of the order flow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from domain.options.black_scholes import Floats
from simulation.market.chain import SECONDS_PER_YEAR, OptionChain
from simulation.market.flow import Flow

REACH_BPS, STEP_BPS = 80.0, 4.0  # prices around spot for which an answer is known
STEEP = 3.0  # a third of all gamma on one side counts almost as all of it


class Stance(NamedTuple):
    """How dealers stand, by log price from `low` in steps of `step`.

    `gamma` and `vanna` are net over gross in [−1, +1], positive where dealers are long; `pin` is the log of the strike
    at which they are longest gamma.
    """

    low: float
    step: float
    gamma: list[float]
    vanna: float
    pin: float


class Dealers:
    """The book of one chain's nearest expiry through the day; seconds only go forward."""

    def __init__(self, options: OptionChain, flow: Flow) -> None:
        self._options, self._flow = options, flow
        self._rows = slice(0, options.per_expiry)
        self._open: Floats = options.open_interest[self._rows].copy()
        self._sign = np.where(options.is_call[self._rows], 1.0, -1.0)
        self._grid = np.arange(-REACH_BPS, REACH_BPS + STEP_BPS / 2, STEP_BPS) * 1e-4

    def trade(self, second: int, lasting_s: int) -> None:
        """Add what the trades of some seconds from here on are expected to open."""
        options, flow = self._options, self._flow
        _, activity = flow.activity(second, float(options.spots[second]))
        opened = options.style.opens * flow.per_s[second] * lasting_s / activity.sum()
        self._open += opened * activity[self._rows]

    def stance(self, second: int) -> Stance:
        """Return how dealers stand at a second of the grid, before the expiry."""
        options, rows = self._options, self._rows
        spot, strikes = float(options.spots[second]), options.strikes[rows]
        left = np.maximum(options.expiry_s[rows] - second, 60).astype(np.float64)
        iv = options.surface(rows, second, spot, left)
        years = left / SECONDS_PER_YEAR
        width = iv * np.sqrt(years)
        d1 = (np.log(spot) + self._grid[:, None] - np.log(strikes)) / width + 0.5 * width
        size = np.exp(-0.5 * d1 * d1) * (self._open / width)
        net, gross = size @ self._sign, size.sum(axis=1)
        middle = len(self._grid) // 2
        by_strike = options.single_ladder.by_level(size[middle] * self._sign)
        vanna = -size[middle] * (d1[middle] - width)
        tilt = float((vanna * self._sign).sum() / max(np.abs(vanna).sum(), 1e-300))
        return Stance(
            low=float(np.log(spot) + self._grid[0]),
            step=STEP_BPS * 1e-4,
            gamma=np.tanh(STEEP * net / np.maximum(gross, 1e-300)).tolist(),
            vanna=float(np.tanh(STEEP * tilt)),
            pin=float(np.log(options.single_ladder.levels[int(np.argmax(by_strike))])),
        )
