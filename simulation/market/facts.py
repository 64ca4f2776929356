"""What is known of real 0DTE days, and the same figures of simulated ones.

Each figure is a function of prices by the minute, of a market at an instant, or of what trades came to.
`docs/reference/simulated-market.md` has them all beside the real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from domain.instants import MINUTE, SECOND
from domain.instruments import Contract, Quote, Right
from domain.options import gamma
from domain.options.black_scholes import MINUTES_PER_YEAR, Floats
from simulation.market.market import Market

TICKS = 100.0
BPS = 1e4
VIX_USUAL = 16.0

# -- prices by the minute -------------------------------------------------------------------------


def minutes_of(market: Market, ticker: str = "SPX") -> Floats:
    """Return a day's log prices at each minute of the session, the close with them."""
    path = market.path
    return np.asarray(np.log(path.spots[ticker][path.open_s : path.close_s + 1 : 60]))


def variance_ratio(days: Floats, minutes: int) -> float:
    """Return the variance of moves of so many minutes over that of as many single ones: 1 for a martingale.

    `days` are (days, minutes + 1) log prices; windows overlap, so that no place in the day counts more than it must.
    """
    windows = sliding_window_view(np.diff(days, axis=1), minutes, axis=1)
    return float((windows.sum(axis=-1) ** 2).sum() / (windows**2).sum())


def lag_one(days: Floats) -> float:
    """Return the autocorrelation of one minute's return with the next one's, within days."""
    returns = np.diff(days, axis=1)
    return float((returns[:, 1:] * returns[:, :-1]).sum() / (returns**2).sum())


def excess_kurtosis(days: Floats) -> float:
    """Return the excess kurtosis of one-minute returns after the time of day's volatility is taken out."""
    returns = np.diff(days, axis=1)
    scaled = returns / np.sqrt((returns**2).mean(axis=0))
    return float((scaled**4).mean() / (scaled**2).mean() ** 2 - 3.0)


def realised_bps(days: Floats) -> float:
    """Return the volatility of a session, realised by the minute, in bps: the mean over days."""
    return float(np.sqrt((np.diff(days, axis=1) ** 2).sum(axis=1)).mean() * BPS)


# -- a market at an instant -----------------------------------------------------------------------


class Pair(NamedTuple):
    """A strike's call and put at one instant, with their quotes."""

    strike_usd: float
    call: Quote
    put: Quote

    @property
    def mid_usd(self) -> float:
        """The mid of buying both."""
        return mid_usd(self.call) + mid_usd(self.put)

    @property
    def width_usd(self) -> float:
        """Both spreads together."""
        return width_usd(self.call) + width_usd(self.put)


def mid_usd(quote: Quote) -> float:
    """Return the middle of a quote; a missing side counts as 0."""
    return ((quote.bid_ticks or 0) + (quote.ask_ticks or 0)) / 2.0 / TICKS


def width_usd(quote: Quote) -> float:
    """Return a quote's spread."""
    return ((quote.ask_ticks or 0) - (quote.bid_ticks or 0)) / TICKS


def pairs_of(market: Market, ticker: str = "SPX") -> list[Pair]:
    """Return all strikes of the nearest expiry, ascending."""
    sides: dict[Right, list[Contract]] = {right: [] for right in Right}
    for contract in market.contracts(ticker):
        if contract.expiry == market.session:
            sides[contract.right].append(contract)
    both = zip(sides[Right.CALL], sides[Right.PUT], strict=True)
    return [
        Pair(call.strike_ticks / TICKS, market.quote(call.con_id), market.quote(put.con_id)) for call, put in both
    ]  # fmt: skip


def nearest(pairs: Sequence[Pair], spot_usd: float) -> Pair:
    """Return the pair at the money."""
    return min(pairs, key=lambda pair: abs(pair.strike_usd - spot_usd))


def spot_usd(market: Market, ticker: str = "SPX") -> float:
    """Return the price of an underlying."""
    return market.spot(ticker).price_ticks / TICKS


def _iv(pairs: Sequence[Pair], spot: float) -> float:
    """Return the volatility at the money, between the two strikes around spot."""
    strikes = [pair.strike_usd for pair in pairs]
    return float(np.interp(spot, strikes, [pair.call.greeks.iv for pair in pairs if pair.call.greeks is not None]))


def iv_at_usual_vix(market: Market, pairs: Sequence[Pair]) -> float:
    """Return the index's volatility at the money per year (525,600 min), scaled to a VIX of 16."""
    return _iv(pairs, spot_usd(market)) * VIX_USUAL / spot_usd(market, "VIX")


def expected_move_bps(market: Market, pairs: Sequence[Pair]) -> float:
    """Return one deviation of the index until the close in bps, at the volatility at the money and a VIX of 16."""
    return iv_at_usual_vix(market, pairs) * _root_years(market) * BPS


def _root_years(market: Market) -> float:
    return float(np.sqrt((market.close_utc - market.now_utc) / MINUTE / MINUTES_PER_YEAR))


def smile(market: Market, pairs: Sequence[Pair], deviations: Sequence[float]) -> list[float]:
    """Return implied volatility over that at the money, at strikes so many deviations from spot."""
    spot = spot_usd(market)
    at_money = _iv(pairs, spot)
    away = np.log(np.array([pair.strike_usd for pair in pairs]) / spot) / (at_money * _root_years(market))
    ivs = [pair.call.greeks.iv for pair in pairs if pair.call.greeks is not None]
    return [float(value) / at_money for value in np.interp(deviations, away, ivs)]


def widths_usd(pairs: Sequence[Pair], low_usd: float, high_usd: float) -> list[float]:
    """Return the spreads of quotes whose middle is within bounds (the upper one left out)."""
    quotes = (quote for pair in pairs for quote in (pair.call, pair.put))
    return [width_usd(quote) for quote in quotes if low_usd <= mid_usd(quote) < high_usd]


def parity_missed(market: Market, pairs: Sequence[Pair]) -> float:
    """Return the share of strikes whose call less put is farther from spot less strike than half of both spreads."""
    spot = spot_usd(market)
    missed = [
        abs(mid_usd(pair.call) - mid_usd(pair.put) - (spot - pair.strike_usd)) > pair.width_usd / 2.0 for pair in pairs
    ]
    return sum(missed) / len(missed)


class Crossings(NamedTuple):
    """Where net gamma changes sign within ±3 % of spot: how often, the nearest in USD, and whether spot is on its side.

    Spot is on the wrong side where it is above the nearest level and net gamma there is negative, or the other way.
    """

    levels: int
    nearest_usd: float | None
    is_wrong: bool


def crossings_of(market: Market, ticker: str = "SPX") -> Crossings:
    """Return the zero-gamma levels of a ticker's nearest expiry."""
    chain = market.nearest_chain(ticker)
    grid, total = gamma.net_gamma_around(chain, chain.open_interest)
    levels = int(np.count_nonzero(total[:-1] * total[1:] < 0.0))
    level = gamma.zero_gamma(chain, chain.open_interest)
    if level is None:
        return Crossings(levels, None, False)
    here = float(np.interp(chain.spot, grid, total))
    return Crossings(levels, level, (chain.spot - level) * here < 0.0)


def refilled(market: Market, pairs: Sequence[Pair], ticker: str = "SPX") -> float:
    """Return the share of quotes that show another size a second later; steps the market on by that second."""
    market.step(market.now_utc + SECOND)
    later = pairs_of(market, ticker)
    changed = sum(
        (before.call.ask_size != after.call.ask_size) + (before.put.ask_size != after.put.ask_size)
        for before, after in zip(pairs, later, strict=True)
    )
    return changed / (2 * len(pairs))


# -- what trades came to --------------------------------------------------------------------------


def t_of(by_day: Sequence[float]) -> float:
    """Return the t of a mean over days, each day's results summed (they may hang together within it); 0 without any."""
    values = np.array(by_day, np.float64)
    squares = float((values * values).sum())
    return float(values.sum() / np.sqrt(squares)) if squares > 0.0 else 0.0
