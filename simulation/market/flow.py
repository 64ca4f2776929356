"""Customers' trading through the simulated day: volume, classified buys less sells, and the delta they traded.

Drawn in blocks of one minute, each from a generator of its own, in steps of 5 s; between two steps
counts grow in proportion to time, in whole contracts. A block depends on the seed and on the path only,
so what is read, and when, changes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.options import black_scholes
from domain.options.black_scholes import Floats
from simulation.market.chain import SECONDS_PER_YEAR, OptionChain
from simulation.market.path import session_shape
from simulation.market.tickers import UNDERLYINGS

Counts = NDArray[np.int64]

BLOCK_S, STEP_S = 60, 5
STEPS = BLOCK_S // STEP_S
KEPT_BLOCKS = 3
NEXT_SHARE = 0.22  # volume of the next expiry over that of the nearest
MOMENTUM_S = 300


class Tally(NamedTuple):
    """What has been traded since the open, by row of the chain; `delta_usd` are customers' net deltas, when traded."""

    volume: Counts
    net: Counts
    delta_usd: Floats


class _Block(NamedTuple):
    """One minute: cumulative counts within it at each step (the first row is zero), and a delta for each row."""

    volume: Counts
    net: Counts
    delta_usd: Floats


class Flow:
    """The order flow of one chain."""

    def __init__(self, seed: int, options: OptionChain) -> None:
        u = UNDERLYINGS[options.ticker]
        path = options.path
        self._options, self._path = options, path
        self._entropy = [seed, options.contracts[0].expiry.toordinal(), 3, options.number]
        rows = len(options.contracts)
        self._taste, self.popularity = _tastes(np.random.default_rng([*self._entropy, 1 << 20]), rows)
        volume = u.volume * (path.style.index_volume if u.is_index else 1.0)
        self.per_s = volume * session_shape(path.open_s, path.close_s, path.end_s + 1)
        self.per_s /= path.close_s - path.open_s
        self._starts: list[Tally] = [Tally(np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows))]
        self._blocks: OrderedDict[int, _Block] = OrderedDict()

    def at(self, second: int) -> Tally:
        """Return the tally at a second of the grid; before the open it is zero, after the close it stands."""
        since = min(max(second - self._path.open_s, 0), self._path.close_s - self._path.open_s)
        number, inside = divmod(since, BLOCK_S)
        while len(self._starts) <= number:
            self._starts.append(self._add(len(self._starts) - 1, STEPS, 0))
        step, rest = divmod(inside, STEP_S)
        return self._starts[number] if inside == 0 else self._add(number, step, rest)

    def _add(self, number: int, step: int, rest: int) -> Tally:
        start, block = self._starts[number], self._block(number)
        volume, net = block.volume[step], block.net[step]
        if rest:
            volume = volume + (block.volume[step + 1] - volume) * rest // STEP_S
            net = net + (block.net[step + 1] - net) * rest // STEP_S
        return Tally(start.volume + volume, start.net + net, start.delta_usd + net * block.delta_usd)

    def _block(self, number: int) -> _Block:
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = self._draw(number)
            if len(self._blocks) > KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return block

    def _draw(self, number: int) -> _Block:
        """Return one minute's drawn trades: more near the money, rounded at random so that expectations hold."""
        options, path = self._options, self._path
        second = path.open_s + number * BLOCK_S
        spot = float(options.spots[second])
        away, activity = self.activity(second, spot)
        expected = activity * (self.per_s[second] * STEP_S / activity.sum())
        rng = np.random.default_rng([*self._entropy, number])
        shape = (STEPS, len(away))
        trades = np.floor(rng.standard_exponential(shape) * expected + rng.random(shape))
        bought = np.minimum(np.floor(trades * self._buyers(second, away) + rng.random(shape)), trades)
        volume, net = np.zeros((2, STEPS + 1, len(away)), np.int64)
        np.cumsum(trades.astype(np.int64), axis=0, out=volume[1:])
        np.cumsum((2.0 * bought - trades).astype(np.int64), axis=0, out=net[1:])
        left = np.maximum(options.expiry_s - second, 1).astype(np.float64)
        iv = options.surface(slice(None), second, spot, left)
        greeks = black_scholes.values(spot, options.strikes, left / SECONDS_PER_YEAR, iv, options.is_call)
        return _Block(volume, net, greeks.delta * (100.0 * spot))

    def activity(self, second: int, spot: float) -> tuple[Floats, Floats]:
        """Return how far each row is out of the money, in deviations, and how much it is traded beside others."""
        options = self._options
        x = np.log(options.strikes / spot) / (options.move * np.sqrt(self._path.variance_left[second] + 0.02))
        away = np.where(options.is_call, x, -x)  # > 0 out of the money, where customers prefer to trade
        activity = self.popularity * np.exp(-0.5 * ((away - 0.25) / 0.75) ** 2)
        activity[options.is_next] *= NEXT_SHARE
        return away, activity

    def _buyers(self, second: int, away: Floats) -> Floats:
        """Return the share of customers' trades that are buys.

        They chase the last five minutes (calls up, puts down), buy protection when the tape is wild, and sell
        what is near the money when it is calm.
        """
        options = self._options
        behind = max(second - MOMENTUM_S, 0)
        run = float(np.log(options.spots[second] / options.spots[behind])) / (0.12 * options.move)
        chase = np.where(options.is_call, 0.12, -0.12) * np.tanh(run)
        stress = float(self._path.stress[second])
        fear = np.where(options.is_call, 0.0, 0.10 * min(max(stress - 1.0, 0.0), 1.0))
        calm = 0.12 * min(max(1.0 - stress, 0.0), 0.5) * np.exp(-away * away)
        return np.asarray(np.clip(0.5 + self._taste + chase + fear - calm, 0.05, 0.95))


def _tastes(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats]:
    """Return, by row, what share customers like or sell it by all day, and how popular it is."""
    return 0.10 * rng.standard_normal(rows), rng.lognormal(0.0, 0.45, rows)
