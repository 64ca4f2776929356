"""What the simulated market takes from a recorded day: the index's path, the standing quotes, and implied volatility.

Nothing of a bar is used before it has closed, but its open. Only the index's path inside a minute runs to a close that
the minute has yet to reach (a bridge, of which nothing can be foretold): it is the world itself, not what is known of
it. Before the session's open, of which nothing is recorded, all stands at the opening prices.

The other tickers are synthetic and scaled to the day: their prices by the index's open, the VIX by the volatility that
the first recorded quotes imply.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.instants import SECOND
from domain.options import black_scholes
from domain.options.black_scholes import Floats
from domain.units import Utc
from simulation.market.chain import SECONDS_PER_YEAR, OptionChain
from simulation.market.minute_bars import CARRY_MIN, QuoteBars, RecordedDay, minutes_of
from simulation.market.path import LEAD_S, IvFit, PricePath, path_around
from simulation.market.tickers import UNDERLYINGS, option_con_id

Longs = NDArray[np.int64]

OF_THE_INDEX = ("SPX", "SPY", "VIX")  # not scaled by its level: they follow it already
VIX_FACTOR_MIN, VIX_FACTOR_MAX = 0.5, 5.0
RIDGE = 1e-6  # (0.1 % of moneyness)²: a line through one informative strike alone is level
WEIGHT_MIN = 1e-6
TICK_USD = 0.05  # a locked market is taken to be as exact as the smallest increment


class _Standing(NamedTuple):
    """One contract's quotes by minute of the grid: bid, ask, bid size, ask size, second of the record.

    An ask of 0 is no quote.
    """

    columns: Longs
    is_new: NDArray[np.bool_]


class Tape:
    """The recorded quotes as they stood, by contract id and minute of the grid."""

    def __init__(self, recorded: RecordedDay, start_utc: Utc, expiries: tuple[tuple[date, Utc], ...]) -> None:
        self._standing: dict[int, _Standing] = {}
        ends_utc = dict(expiries)
        for (expiry, strike_ticks, right), bars in recorded.quotes.items():
            end_utc = ends_utc.get(expiry)
            if end_utc is not None:
                con_id = option_con_id("SPX", expiry, strike_ticks, right)
                size = int(minutes_of(np.array([min(end_utc, start_utc + 86_400 * SECOND)]), start_utc)[0])
                self._standing[con_id] = _standing(bars, start_utc, size)
        self.con_ids = tuple(self._standing)

    def at(self, con_id: int, second: int) -> tuple[int, int, int, int, int] | None:
        """Return bid, ask (ticks), their sizes and the second of their record that stand at a second of the grid.

        `None`: none is recorded.
        """
        found = self._standing.get(con_id)
        minute = second // 60
        if found is None or minute >= found.columns.shape[1] or not found.columns[1, minute]:
            return None
        bid, ask, bid_size, ask_size, at_s = found.columns[:, minute].tolist()
        return bid, ask, bid_size, ask_size, at_s

    def closes(self, con_id: int) -> tuple[Longs, Floats, Floats]:
        """Return the minutes of the grid at which a contract had a new quote, and its bids and asks in USD."""
        columns, is_new = self._standing[con_id]
        minutes = np.flatnonzero(is_new)
        return minutes, columns[0, minutes] / 100.0, columns[1, minutes] / 100.0


def _standing(bars: QuoteBars, start_utc: Utc, size: int) -> _Standing:
    """Return quotes by minute: the open in the first bar's (sizes unknown: 1), each close from the bar's end."""
    columns, is_new = np.zeros((5, size), np.int64), np.zeros(size, np.bool_)
    begins = minutes_of(bars.begin_utc, start_utc)
    if 0 <= begins[0] < size and 0 < bars.ask_open_ticks[0] >= bars.bid_open_ticks[0]:
        columns[:, begins[0]] = bars.bid_open_ticks[0], bars.ask_open_ticks[0], 1, 1, 60 * begins[0]
        is_new[begins[0]] = True
    quotes = np.stack([bars.bid_ticks, bars.ask_ticks, bars.bid_size, bars.ask_size, 60 * (begins + 1)])
    for n, minute in enumerate((begins + 1).tolist()):
        if 0 <= minute < size:
            columns[:, minute : minute + CARRY_MIN] = quotes[:, n, None]
            is_new[minute] = True
    return _Standing(columns, is_new)


def path_and_tape(
    recorded: RecordedDay, seed: int, hours_utc: tuple[Utc, Utc], expiries: tuple[tuple[date, Utc], ...]
) -> tuple[PricePath, Tape]:
    """Return a path along the recorded index with fitted implied volatilities, and the tape of recorded quotes."""
    open_utc, close_utc = hours_utc
    start_utc = open_utc - LEAD_S * SECOND
    size = (close_utc - open_utc) // SECOND + 2 * LEAD_S + 1
    spx = recorded.index_usd(start_utc, size, seed)
    path = _scaled(path_around(seed, recorded.session, hours_utc, spx, float(spx[LEAD_S]), sampled_s=60))
    tape = Tape(recorded, start_utc, expiries)
    options = OptionChain(seed, "SPX", path, expiries)
    first = next((fit for is_next in (True, False) if (fit := _fit(options, tape, is_next)).low_usd > 1.0), None)
    if first is not None:  # the days of the farther expiry are nearer to the VIX's month
        factor = float(np.clip(first.level[LEAD_S], VIX_FACTOR_MIN, VIX_FACTOR_MAX))
        path = replace(path, spots=path.spots | {"VIX": path.spots["VIX"] * factor})
        options = OptionChain(seed, "SPX", path, expiries)
    return replace(path, iv_fits=(_fit(options, tape, False), _fit(options, tape, True))), tape


def _scaled(path: PricePath) -> PricePath:
    """Return a path whose other tickers stand to the index as they do in the drawn market."""
    ratio = path.anchors["SPX"] / UNDERLYINGS["SPX"].price_usd
    others = [ticker for ticker in path.anchors if ticker not in OF_THE_INDEX]
    return replace(
        path,
        spots=path.spots | {ticker: path.spots[ticker] * ratio for ticker in others},
        anchors=path.anchors | {ticker: path.anchors[ticker] * ratio for ticker in others},
    )


def _fit(options: OptionChain, tape: Tape, is_next: bool) -> IvFit:
    """Return what fits the model's implied volatilities of one expiry to the recorded quotes, minute by minute.

    A straight line in log moneyness through the ratios (implied by the mid over the model's) of the contracts with a
    new quote. Weights are inverse variances of an implied volatility known to within the spread: (vega / spread)².
    Minutes without any keep the line before.
    """
    path = options.path
    minutes_total = path.end_s // 60 + 1
    sums = np.zeros((5, minutes_total))  # of w, w·y, w·y², w·r, w·y·r
    strikes = []
    for con_id in tape.con_ids:
        row = options.row_of.get(con_id)
        if row is None or bool(options.is_next[row]) != is_next:
            continue
        minutes, bid, ask = tape.closes(con_id)
        kept = minutes * 60 <= path.close_s
        minutes, bid, ask = minutes[kept], bid[kept], ask[kept]
        weight, away, ratio = _implied(options, row, minutes * 60, bid, ask)
        strikes.append(float(options.strikes[row]))
        products = (weight, weight * away, weight * away**2, weight * ratio, weight * away * ratio)
        for total, product in zip(sums, products, strict=True):
            total[minutes] += product
    known = np.flatnonzero(sums[0] > WEIGHT_MIN)
    if not len(known):
        return IvFit(np.ones(path.end_s + 1), np.zeros(path.end_s + 1), 1.0, 1.0)
    y, yy, r, yr = sums[1:, known] / sums[0, known]
    # Volatilities are solved for together, so that the last bits of a minute's depend on minutes to come: cut them off.
    tilt = np.round((yr - y * r) / (yy - y * y + RIDGE), 6)
    level = np.round(r - tilt * y, 6)
    last = np.maximum(np.searchsorted(known, np.arange(minutes_total), side="right") - 1, 0)
    by_second = last[np.arange(path.end_s + 1) // 60]
    return IvFit(level[by_second], tilt[by_second], min(strikes), max(strikes))


def _implied(options: OptionChain, row: int, seconds: Longs, bid: Floats, ask: Floats) -> tuple[Floats, Floats, Floats]:
    """Return weight (0: no ratio), log moneyness and ratio of one contract's quotes at seconds of the grid."""
    spot = options.path.spots["SPX"][seconds]
    left = (options.expiry_s[row] - seconds).astype(np.float64)
    strike, is_call, years = options.strikes[row], bool(options.is_call[row]), left / SECONDS_PER_YEAR
    with np.errstate(over="ignore"):  # a worthless option's vega may be as small as a float gets
        iv = black_scholes.implied_vols(0.5 * (bid + ask), spot, strike, years, is_call)
    is_known = ~np.isnan(iv)
    vega = black_scholes.values(spot, strike, years, np.where(is_known, iv, 1.0), is_call).vega
    weight = np.where(is_known, (vega / np.maximum(ask - bid, TICK_USD)) ** 2, 0.0)
    model = options.surface(np.full(len(seconds), row), seconds, spot, left)
    return weight, np.log(strike / spot), np.where(is_known, iv, 0.0) / model
