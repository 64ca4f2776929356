"""The gamma profile of an option chain, and the exposures of customers' positions in it.

Convention: the gamma exposure of a contract is γ × 100 × S² × 0.01, in USD per 1 % move of the
underlying; calls count positive, puts negative. Exposures of positions (`net`, customers' buys less
sells) are in the customers' perspective and carry the position's own sign. Time to expiry is to the
minute; volatilities stick to their strikes where the profile is evaluated at another spot.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.options import black_scholes
from domain.options.black_scholes import Bools, Floats

MULTIPLIER = 100.0
GRID_REACH = 0.03  # the zero gamma is sought within ±3 % of spot, and farther out only where there is none
GRID_STEP = 0.0005  # of spot; 5 bps are the narrowest band in which a flip is confirmed


class ChainRefusal(StrEnum):
    """Why a chain gives no profile."""

    EMPTY = "empty"
    NOT_FINITE = "not_finite"
    NO_TIME_LEFT = "no_time_left"
    ALL_ZERO = "all_zero"


@dataclass(frozen=True, eq=False)
class Ladder:
    """The rows of a chain: strike in USD, right, and the level (distinct strike, ascending) of each."""

    strikes: Floats
    is_call: Bools
    levels: Floats
    level_of: NDArray[np.intp]

    @classmethod
    def of(cls, strikes: Floats, is_call: Bools) -> Ladder:
        """Return a ladder of rows in any order, several expiries mixed as they come."""
        levels, level_of = np.unique(strikes, return_inverse=True)
        return cls(strikes, is_call, levels, level_of)

    def by_level(self, values: Floats) -> Floats:
        """Return a column of the rows summed by strike."""
        summed = np.bincount(self.level_of, weights=values, minlength=len(self.levels))
        return summed.astype(np.float64, copy=False)

    @cached_property
    def sign(self) -> Floats:
        """+1 for calls, −1 for puts."""
        return np.where(self.is_call, 1.0, -1.0)


@dataclass(frozen=True, eq=False)
class Chain:
    """An option chain at one instant, a column an attribute.

    `spot` USD; `open_interest` and `volume` contracts; `iv` per year; `minutes` to expiry.
    """

    spot: float
    ladder: Ladder
    open_interest: Floats
    volume: Floats
    iv: Floats
    minutes: Floats

    def part(self, rows: slice, ladder: Ladder) -> Chain:
        """Return some rows as a chain of their own, with this one's greeks (which are not computed again)."""
        part = Chain(
            self.spot,
            ladder,
            self.open_interest[rows],
            self.volume[rows],
            self.iv[rows],
            self.minutes[rows],
        )
        part.__dict__["greeks"] = black_scholes.Values(*(column[rows] for column in self.greeks))
        return part

    @cached_property
    def years(self) -> Floats:
        """Time to expiry of each row."""
        return black_scholes.years_of(self.minutes)

    @cached_property
    def greeks(self) -> black_scholes.Values:
        """Model values of each row, without rates."""
        return black_scholes.values(self.spot, self.ladder.strikes, self.years, self.iv, self.ladder.is_call)

    @cached_property
    def gamma_usd(self) -> Floats:
        """Gamma exposure of one long contract of each row, USD per 1 % move."""
        return self.greeks.gamma * (MULTIPLIER * self.spot * self.spot * 0.01)

    @cached_property
    def delta_usd(self) -> Floats:
        """Delta exposure of one long contract, USD of underlying."""
        return self.greeks.delta * (MULTIPLIER * self.spot)

    @cached_property
    def vanna_usd(self) -> Floats:
        """Vanna exposure of one long contract, USD of underlying per volatility point."""
        return self.greeks.vanna * (MULTIPLIER * self.spot * 0.01)

    @cached_property
    def charm_usd(self) -> Floats:
        """Charm exposure of one long contract, USD of underlying per hour passing."""
        return self.greeks.charm * (MULTIPLIER * self.spot / black_scholes.HOURS_PER_YEAR)


class GammaProfile(NamedTuple):
    """Gamma by strike, USD per 1 % move: put parts are negative; `levels` are strikes in USD."""

    levels: Floats
    call_vol: Floats
    put_vol: Floats
    call_oi: Floats
    put_oi: Floats

    @property
    def gex_vol(self) -> Floats:
        """Net gamma by today's volume."""
        return self.call_vol + self.put_vol

    @property
    def gex_oi(self) -> Floats:
        """Net gamma by open interest."""
        return self.call_oi + self.put_oi


def refusal_of(chain: Chain) -> ChainRefusal | None:
    """Return why a chain must not be traded on; `None` when it may be."""
    if len(chain.ladder.strikes) == 0:
        return ChainRefusal.EMPTY
    columns = (chain.ladder.strikes, chain.open_interest, chain.volume, chain.iv, chain.minutes)
    if not (chain.spot > 0.0 and all(bool(np.isfinite(c).all()) for c in columns)):
        return ChainRefusal.NOT_FINITE
    if not (chain.minutes > 0.0).any():
        return ChainRefusal.NO_TIME_LEFT
    weight = (chain.open_interest + chain.volume) * (chain.minutes > 0.0) * (chain.iv > 0.0)
    return None if bool((weight > 0.0).any()) else ChainRefusal.ALL_ZERO


def profile_of(chain: Chain) -> GammaProfile | ChainRefusal:
    """Return the gamma profile of a chain, or why there is none."""
    refusal = refusal_of(chain)
    if refusal is not None:
        return refusal
    is_call, ladder = chain.ladder.is_call, chain.ladder
    by_volume, by_oi = chain.gamma_usd * chain.volume, chain.gamma_usd * chain.open_interest
    return GammaProfile(
        levels=ladder.levels,
        call_vol=ladder.by_level(np.where(is_call, by_volume, 0.0)),
        put_vol=ladder.by_level(np.where(is_call, 0.0, -by_volume)),
        call_oi=ladder.by_level(np.where(is_call, by_oi, 0.0)),
        put_oi=ladder.by_level(np.where(is_call, 0.0, -by_oi)),
    )


def zero_gamma(chain: Chain, weights: Floats, reach: float = GRID_REACH) -> float | None:
    """Return the spot in USD at which the profile's sum changes sign, of several the nearest to spot.

    The sum of sign × γ × weight × S² is taken on a grid of ±3 % around spot, then of ± `reach` where it does not change
    sign there, and the crossing interpolated linearly. `None` where there is none. `weights` are contracts of each row
    (its open interest, its volume).
    """
    found = _nearest_crossing(chain, weights, GRID_REACH)
    return _nearest_crossing(chain, weights, reach) if found is None and reach > GRID_REACH else found


def _nearest_crossing(chain: Chain, weights: Floats, reach: float) -> float | None:
    grid, total = net_gamma_around(chain, weights, reach)
    before, after = total[:-1], total[1:]
    crossing = np.flatnonzero((before * after < 0.0) | ((before == 0.0) & (after != 0.0)))
    if len(crossing) == 0:
        return None
    share = before[crossing] / (before[crossing] - after[crossing])
    found = grid[crossing] + share * (grid[crossing + 1] - grid[crossing])
    return float(found[np.argmin(np.abs(found - chain.spot))])


def net_gamma_around(chain: Chain, weights: Floats, reach: float = GRID_REACH) -> tuple[Floats, Floats]:
    """Return a grid of spots around spot in USD, as far as a share of it, and net gamma there up to a constant."""
    grid = chain.spot * np.linspace(1.0 - reach, 1.0 + reach, 2 * round(reach / GRID_STEP) + 1)
    return grid, _net_gamma(chain, weights, grid)


def _net_gamma(chain: Chain, weights: Floats, grid: Floats) -> Floats:
    """Return the sum of sign × weight × γ × S² over the rows, up to a constant, for each spot of the grid."""
    deviation, signed = chain.iv * np.sqrt(chain.years), chain.ladder.sign * weights
    used = (deviation > 0.0) & (signed != 0.0)
    width = deviation[used]
    exponent = np.subtract.outer(np.log(grid), np.log(chain.ladder.strikes[used]))
    exponent /= width
    exponent += 0.5 * width
    np.multiply(exponent, exponent, out=exponent)
    exponent *= -0.5
    np.exp(exponent, out=exponent)
    return np.asarray(exponent @ (signed[used] / width)) * grid


def major_positive(levels: Floats, values: Floats) -> float | None:
    """Return the strike of the largest positive value; `None` where none is positive."""
    at = int(np.argmax(values))
    return float(levels[at]) if values[at] > 0.0 else None


def major_negative(levels: Floats, values: Floats) -> float | None:
    """Return the strike of the most negative value; `None` where none is negative."""
    at = int(np.argmin(values))
    return float(levels[at]) if values[at] < 0.0 else None


class Exposures(NamedTuple):
    """Exposures of net customer positions by strike, in the customers' perspective.

    `gex` counts calls positive and puts negative (× net), the others carry the position's own sign;
    `call_gamma` and `put_gamma` are the parts of `gamma`. Units as in `Chain`: USD per 1 % (`gex`,
    `gamma`), USD (`delta`), USD per volatility point (`vanna`), USD per hour (`charm`).
    """

    gex: Floats
    delta: Floats
    gamma: Floats
    vanna: Floats
    charm: Floats
    call_gamma: Floats
    put_gamma: Floats
    call_delta: float
    put_delta: float


def exposures_of(chain: Chain, net: Floats) -> Exposures:
    """Return the exposures of customers' net positions (contracts of each row, bought less sold)."""
    ladder, is_call = chain.ladder, chain.ladder.is_call
    gamma, delta = chain.gamma_usd * net, chain.delta_usd * net
    call_gamma = ladder.by_level(np.where(is_call, gamma, 0.0))
    put_gamma = ladder.by_level(np.where(is_call, 0.0, gamma))
    return Exposures(
        gex=call_gamma - put_gamma,
        delta=ladder.by_level(delta),
        gamma=call_gamma + put_gamma,
        vanna=ladder.by_level(chain.vanna_usd * net),
        charm=ladder.by_level(chain.charm_usd * net),
        call_gamma=call_gamma,
        put_gamma=put_gamma,
        call_delta=float(delta[is_call].sum()),
        put_delta=float(delta[~is_call].sum()),
    )
