"""Gamma of an option chain without a vendor: totals, walls, and the spots at which net gamma changes sign.

Convention (stated with every result, `CONVENTION`):

- **Sign**: dealers are taken to be long the calls and short the puts that are open, so calls count positive and puts
  negative. Nobody knows who holds what; this is the convention of published gamma figures (Perfiliev 2022, "How to
  calculate gamma exposure"; SqueezeMetrics 2017, "Gamma exposure").
- **Unit**: γ × open interest × 100 × S² × 0.01, USD of hedging per 1 % move of the underlying. Vanna is USD of delta
  per volatility point, charm USD of delta per hour that passes, both with the same sign.
- **Time**: minutes to expiry over 525,600, to the minute, so that an option that expires today has what is left of
  today. Rates and dividends are left out: they move gamma by less than the volatilities are worth.
- **Zero gamma**: the sum is taken again at other spots with each volatility kept at its strike. A level is a spot at
  which the sum changes its sign; values of both signs are needed, exact zeros are none. Late in a day several are
  normal: all are named, and *the* zero gamma is the one nearest to spot.
- **Walls**: the strike of the largest positive (call wall) and of the most negative (put wall) net gamma by open
  interest.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.instants import MINUTE
from domain.options import black_scholes
from domain.options.black_scholes import VOL_MAX, Bools, Floats
from domain.options.gamma import (
    MULTIPLIER,
    Chain,
    ChainRefusal,
    Ladder,
    major_negative,
    major_positive,
    refusal_of,
)
from domain.units import Utc

Longs = NDArray[np.int64]

CONVENTION: Final = (
    "dealers long calls, short puts; gamma x open interest x 100 x spot^2 x 0.01, USD per 1 % move; "
    "minutes to expiry / 525,600; no rates"
)
GRID_POINTS: Final = 200
REACH_MAX: Final = 0.5  # no index has moved by more within the life of a listed flip; beyond it strikes are noise
NEAR_REACH: Final = 0.015  # within it every strike with weight is a point of the grid, as far as there is room
NEAR_POINTS_MAX: Final = 70
NOISE: Final = 1e-12  # of the largest sum: what is smaller is rounding, and has no sign
TIME_VALUE_MIN_USD: Final = 0.005  # half of the smallest tick: a price this near its bound names no volatility
EXACT: Final = 1e-6  # of spot: a level is sought no closer
_ROWS_AT_ONCE: Final = 4_096


class RowRefusal(StrEnum):
    """Why a row of a chain is left out."""

    BAD_STRIKE = "bad_strike"
    BAD_COUNT = "bad_open_interest_or_volume"
    EXPIRED = "expired"
    CROSSED_QUOTE = "crossed_quote"
    NO_VOLATILITY = "no_volatility"
    PRICE_AT_BOUND = "price_at_bound"
    UNREADABLE = "unreadable"
    REPEATED = "repeated"


@dataclass(frozen=True, eq=False)
class ChainQuotes:
    """A chain as it was delivered, a column an attribute; NaN where a number was not given.

    `strikes`, `bid`, `ask` USD; `expiry_utc` the instant at which the contract ends; `open_interest` and `volume`
    contracts; `iv` per year. `at_utc` and `spot` as the source says them, `None` where it does not. `roots` are the
    option classes of the rows (`SPXW`), empty where the source does not name them. `delta` and `gamma` (per USD) as the
    source says them, `None` where it has no such columns.
    """

    symbol: str
    at_utc: Utc | None
    spot: float | None
    strikes: Floats
    is_call: Bools
    expiry_utc: Longs
    open_interest: Floats
    volume: Floats
    iv: Floats
    bid: Floats
    ask: Floats
    unreadable_n: int = 0
    roots: tuple[str, ...] = ()
    delta: Floats | None = None
    gamma: Floats | None = None


class Crossing(NamedTuple):
    """A spot in USD at which net gamma changes sign; `is_up` when it is positive above."""

    price: float
    is_up: bool


class ExpiryGamma(NamedTuple):
    """What one expiry adds: its end, minutes left, rows used, open interest, and net gamma in USD per 1 % move."""

    expiry_utc: Utc
    minutes: float
    contracts: int
    open_interest: float
    net_gamma: float


@dataclass(frozen=True, eq=False)
class ChainGamma:
    """The gamma of a chain at one spot and instant, in the convention of this module.

    `by_call`, `by_put` and `by_volume` are USD per 1 % move for each of `levels` (strikes in USD, ascending), by open
    interest and, the last, net by volume. `refused` counts the rows left out by reason; `borrowed_n` rows took the
    volatility of the other right at their strike, because their own quote names none.
    """

    symbol: str
    at_utc: Utc
    spot: float
    levels: Floats
    by_call: Floats
    by_put: Floats
    by_volume: Floats
    crossings: tuple[Crossing, ...]
    vanna: float
    charm: float
    expiries: tuple[ExpiryGamma, ...]
    contracts: int
    refused: dict[RowRefusal, int]
    borrowed_n: int

    @property
    def by_strike(self) -> Floats:
        """Net gamma for each level."""
        return self.by_call + self.by_put

    @property
    def net(self) -> float:
        """Net gamma by open interest."""
        return float(self.by_strike.sum())

    @property
    def zero_gamma(self) -> float | None:
        """The crossing nearest to spot; `None` where net gamma has one sign."""
        return min((c.price for c in self.crossings), key=lambda price: abs(price - self.spot), default=None)

    @property
    def call_wall(self) -> float | None:
        """The strike of the largest positive net gamma; `None` where none is positive."""
        return major_positive(self.levels, self.by_strike)

    @property
    def put_wall(self) -> float | None:
        """The strike of the most negative net gamma; `None` where none is negative."""
        return major_negative(self.levels, self.by_strike)


@dataclass(frozen=True, eq=False)
class Usable:
    """The rows of a chain that can be priced, which row of the delivery each is, and what was left out."""

    chain: Chain
    rows: NDArray[np.intp]
    refused: dict[RowRefusal, int]
    borrowed_n: int


def usable(quotes: ChainQuotes, spot: float, at_utc: Utc) -> Usable:
    """Return the rows that can be priced at a spot and an instant; each of the others has one reason.

    A count that was not given is 0. A volatility that was not given, or is no volatility, is taken from the mid of bid
    and ask; where that is too near its bound to name one, from the other right at the same strike and expiry, whose
    gamma is the same by put–call parity.
    """
    reason = np.full(len(quotes.strikes), "", dtype=object)
    minutes = (quotes.expiry_utc - at_utc) / MINUTE
    oi = np.where(np.isnan(quotes.open_interest), 0.0, quotes.open_interest)
    volume = np.where(np.isnan(quotes.volume), 0.0, quotes.volume)
    good_strike = np.isfinite(quotes.strikes) & (quotes.strikes > 0.0)
    good_counts = np.isfinite(oi) & np.isfinite(volume) & (oi >= 0.0) & (volume >= 0.0)
    reason[~good_counts] = RowRefusal.BAD_COUNT
    reason[~good_strike] = RowRefusal.BAD_STRIKE
    reason[good_strike & good_counts & ~(minutes > 0.0)] = RowRefusal.EXPIRED
    alive = reason == ""
    iv, borrowed_n = _volatilities(quotes, spot, minutes, alive, reason)
    alive = reason == ""
    alive[_repeats(quotes, alive)] = False
    reason[(reason == "") & ~alive] = RowRefusal.REPEATED
    rows = np.flatnonzero(alive)
    chain = Chain(
        spot=spot,
        ladder=Ladder.of(quotes.strikes[rows], quotes.is_call[rows]),
        open_interest=oi[rows],
        volume=volume[rows],
        iv=iv[rows],
        minutes=minutes[rows],
    )
    refused = Counter(RowRefusal(found) for found in reason[reason != ""].tolist())
    if quotes.unreadable_n:
        refused[RowRefusal.UNREADABLE] += quotes.unreadable_n
    return Usable(chain, rows, dict(sorted(refused.items())), borrowed_n)


def _repeats(quotes: ChainQuotes, alive: Bools) -> NDArray[np.intp]:
    """Return the living rows that name a strike, expiry and right once more; the first row stands."""
    rows = np.flatnonzero(alive)
    keys = np.stack([quotes.strikes[rows], quotes.expiry_utc[rows] / MINUTE, quotes.is_call[rows]], axis=1)
    _, first = np.unique(keys, axis=0, return_index=True)
    return np.setdiff1d(rows, rows[first])


def _volatilities(
    quotes: ChainQuotes, spot: float, minutes: Floats, alive: Bools, reason: NDArray[np.object_]
) -> tuple[Floats, int]:
    """Return a volatility for each living row and how many took that of their pair; rows without one get a reason."""
    given = np.isfinite(quotes.iv) & (quotes.iv > 0.0) & (quotes.iv <= VOL_MAX)
    iv = np.where(given, quotes.iv, np.nan)
    asked = alive & ~given
    if not asked.any():
        return iv, 0
    bid, ask = np.where(np.isnan(quotes.bid), 0.0, quotes.bid), quotes.ask
    quoted = np.isfinite(ask) & (ask > 0.0) & np.isfinite(bid) & (bid >= 0.0)
    crossed = quoted & (bid > ask)
    mid = np.where(quoted & ~crossed, (bid + np.where(quoted, ask, 0.0)) / 2.0, 0.0)
    gain = np.maximum(np.where(quotes.is_call, spot - quotes.strikes, quotes.strikes - spot), 0.0)
    two_sided = quoted & ~crossed & (bid > 0.0)
    at_bound = two_sided & (mid - gain <= TIME_VALUE_MIN_USD)
    solved = np.flatnonzero(asked & two_sided & ~at_bound)
    iv[solved] = black_scholes.implied_vols(
        mid[solved], spot, quotes.strikes[solved], black_scholes.years_of(minutes[solved]), quotes.is_call[solved]
    )
    borrowed_n = _borrow(quotes, iv, alive)
    without = asked & np.isnan(iv)
    reason[without] = RowRefusal.NO_VOLATILITY
    reason[without & at_bound] = RowRefusal.PRICE_AT_BOUND
    reason[without & crossed] = RowRefusal.CROSSED_QUOTE
    return iv, borrowed_n


def _borrow(quotes: ChainQuotes, iv: Floats, alive: Bools) -> int:
    """Give living rows without a volatility that of the other right at their strike and expiry; return how many."""
    known = {
        (strike, expiry, not is_call): value
        for strike, expiry, is_call, value in zip(
            quotes.strikes.tolist(), quotes.expiry_utc.tolist(), quotes.is_call.tolist(), iv.tolist(), strict=True
        )
        if value == value  # noqa: PLR0124 - NaN is the only number that is not itself
    }
    wanting = np.flatnonzero(alive & np.isnan(iv))
    found = [
        known.get((float(quotes.strikes[row]), int(quotes.expiry_utc[row]), bool(quotes.is_call[row])), np.nan)
        for row in wanting
    ]
    iv[wanting] = found
    return int(np.isfinite(found).sum()) if found else 0


def gamma_of(
    quotes: ChainQuotes, spot: float, at_utc: Utc, grid_points: int = GRID_POINTS
) -> ChainGamma | ChainRefusal:
    """Return the gamma of a chain, or why there is none: an all-zero chain is not traded on."""
    if not (np.isfinite(spot) and spot > 0.0):
        return ChainRefusal.NOT_FINITE
    if len(quotes.strikes) == 0:
        return ChainRefusal.EMPTY
    found = usable(quotes, spot, at_utc)
    chain = found.chain
    refusal = refusal_of(chain)
    if refusal is not None:
        only_expired = found.refused.get(RowRefusal.EXPIRED, 0) == len(quotes.strikes)
        # Without volatility and quotes, as at night, no row is left: the chain named contracts all the same.
        nothing_left = ChainRefusal.ALL_ZERO if refusal is ChainRefusal.EMPTY else refusal
        return ChainRefusal.NO_TIME_LEFT if only_expired else nothing_left
    by_oi = chain.gamma_usd * chain.open_interest
    by_volume = chain.gamma_usd * chain.volume * chain.ladder.sign
    if not (by_oi.any() or by_volume.any()):
        return ChainRefusal.ALL_ZERO
    is_call, signed = chain.ladder.is_call, chain.ladder.sign * chain.open_interest
    return ChainGamma(
        symbol=quotes.symbol,
        at_utc=at_utc,
        spot=spot,
        levels=chain.ladder.levels,
        by_call=chain.ladder.by_level(np.where(is_call, by_oi, 0.0)),
        by_put=chain.ladder.by_level(np.where(is_call, 0.0, -by_oi)),
        by_volume=chain.ladder.by_level(by_volume),
        crossings=crossings_of(chain, chain.open_interest, grid_points),
        vanna=float((chain.vanna_usd * signed).sum()),
        charm=float((chain.charm_usd * signed).sum()),
        expiries=_by_expiry(chain, quotes.expiry_utc[found.rows], by_oi * chain.ladder.sign),
        contracts=len(found.rows),
        refused=found.refused,
        borrowed_n=found.borrowed_n,
    )


def _by_expiry(chain: Chain, expiry_utc: Longs, net: Floats) -> tuple[ExpiryGamma, ...]:
    ends, expiry_of = np.unique(expiry_utc, return_inverse=True)
    first = np.unique(expiry_of, return_index=True)[1]
    n = np.bincount(expiry_of)
    oi, total = np.bincount(expiry_of, chain.open_interest), np.bincount(expiry_of, net)
    return tuple(
        ExpiryGamma(Utc(int(end)), float(chain.minutes[row]), int(n[k]), float(oi[k]), float(total[k]))
        for k, (end, row) in enumerate(zip(ends, first, strict=True))
    )


def grid_of(chain: Chain, weights: Floats, points: int = GRID_POINTS) -> Floats:
    """Return the spots in USD at which a chain's gamma is summed, ascending, spot among them.

    The grid goes as far as strikes have weight (and no further than 50 % from spot): beyond its outermost strike a
    chain has nothing to say. It is dense around spot, where every strike and the middle between two are points.
    """
    spot = chain.spot
    strikes = np.unique(chain.ladder.strikes[(weights > 0.0) & (chain.iv > 0.0)])
    strikes = strikes[np.abs(strikes / spot - 1.0) <= REACH_MAX]
    if len(strikes) == 0:
        return np.array([spot])
    near = strikes[np.abs(strikes / spot - 1.0) <= NEAR_REACH]
    fine = np.union1d(near, (near[1:] + near[:-1]) / 2.0)
    room = min(NEAR_POINTS_MAX, points // 2)
    if len(fine) > room:
        fine = fine[np.argsort(np.abs(fine - spot), kind="stable")[:room]]
    # A margin of a strike step on each side: at the outermost strike itself a flip can still be on its way.
    low, high = min(float(strikes[0]), spot) * 0.99, max(float(strikes[-1]), spot) * 1.01
    below_n = max((points - len(fine)) // 2, 2)
    above_n = max(points - len(fine) - below_n, 2)
    below = spot * np.exp(np.log(low / spot) * _bent(below_n))
    above = spot * np.exp(np.log(high / spot) * _bent(above_n))
    return np.asarray(np.unique(np.concatenate([below, fine, [spot], above])))


def _bent(n: int) -> Floats:
    """Return `n` shares from above 0 to 1 that stand closer near 0."""
    u = np.arange(1, n + 1) / n
    return np.asarray(np.sinh(2.5 * u) / np.sinh(2.5))


def net_gamma(chain: Chain, weights: Floats, spots: Floats) -> Floats:
    """Return the sum of sign × weight × γ × 100 × S² × 0.01 at each of the spots, volatilities kept at their strikes.

    `weights` are contracts of each row; the result is USD per 1 % move.
    """
    deviation, signed = chain.iv * np.sqrt(chain.years), chain.ladder.sign * weights
    used = (deviation > 0.0) & (signed != 0.0)
    # d1 = log(S)/w + (w/2 − log(K)/w): a line in log(S) for each row.
    slope = 1.0 / deviation[used]
    offset = 0.5 * deviation[used] - np.log(chain.ladder.strikes[used]) * slope
    share = signed[used] * slope
    logs = np.log(spots)
    total = np.zeros(len(spots))
    at_once = max(1, _ROWS_AT_ONCE * 16 // max(len(spots), 1))  # the table stays in the cache
    for begin in range(0, len(share), at_once):
        rows = slice(begin, begin + at_once)
        table = np.multiply.outer(slope[rows], logs)
        table += offset[rows, None]
        np.multiply(table, table, out=table)
        table *= -0.5
        np.exp(table, out=table)
        total += share[rows] @ table
    return np.asarray(total * spots * (MULTIPLIER * 0.01 / np.sqrt(2.0 * np.pi)))


def crossings_of(chain: Chain, weights: Floats, points: int = GRID_POINTS) -> tuple[Crossing, ...]:
    """Return the spots at which net gamma changes sign, ascending, each exact to a millionth of spot."""
    grid = grid_of(chain, weights, points)
    total = net_gamma(chain, weights, grid)
    scale = float(np.abs(total).max(initial=0.0))
    signed = np.flatnonzero(np.abs(total) > NOISE * scale)
    if scale == 0.0 or len(signed) < 2:
        return ()
    changes = np.flatnonzero(total[signed][:-1] * total[signed][1:] < 0.0)
    if len(changes) == 0:
        return ()
    left, right = grid[signed[changes]], grid[signed[changes + 1]]
    is_up = total[signed[changes + 1]] > 0.0
    found = _bisected(chain, weights, left, right, is_up)
    return tuple(Crossing(float(price), bool(up)) for price, up in zip(found, is_up, strict=True))


def _bisected(chain: Chain, weights: Floats, left: Floats, right: Floats, is_up: Bools) -> Floats:
    """Return the roots within brackets, all at once, each halved until it is exact.

    No faster rule: near expiry the sum falls by orders of magnitude within a bracket, and steps by its values crawl.
    """
    while bool((right - left > EXACT * chain.spot).any()):
        middle = (left + right) / 2.0
        is_right = (net_gamma(chain, weights, middle) > 0.0) == is_up
        left, right = np.where(is_right, left, middle), np.where(is_right, middle, right)
    return (left + right) / 2.0
