"""The risk overlay: a factor of at most 1 on every size, from volatility and the alert's confidence.

| input | from | its factor |
|---|---|---|
| VIX, its last live price | the tick of the spot | the row of `vix` that it has reached |
| realised volatility of the underlying, a year | its minutes of the last half hour | the row of `realised` |
| breakdown of the SPY/QQQ/IWM/VIX correlations | `domain.market.correlation`, if told | `breakdown`; else 1 |
| the alert's confidence | the intent | the row of `confidence`; 1 where its kind tells none (today: no kind does) |

The two volatilities measure one thing, so the smaller factor of them counts; the others multiply it. A volatility that
is not known takes the factor of the row after the last one known (after the calmest, where none ever was), so that not
knowing always costs something. The rows stand in the settings (`entry.overlay`).
"""

from __future__ import annotations

import math
from itertools import pairwise

import msgspec

from domain.instants import MINUTE, MS
from domain.instruments import DataType, Spot
from domain.limits import OverlayRow, OverlayRules
from domain.market.correlation import Breakdown
from domain.units import Ticks, Utc

MINUTES_A_YEAR = 252 * 390
MINUTES_MISSED_MAX = 5


class Overlay(msgspec.Struct, frozen=True):
    """The factor on the size, and how it came about."""

    factor: float
    why: str


class Minutes(msgspec.Struct, frozen=True):
    """The first live price of each minute of one underlying, ascending: (minute since the epoch, price).

    `year` is their realised volatility a year (0.20 is 20 %), `None` where they are few. `squares` are their squared
    returns, kept so that each logarithm is taken once; those of prices that came without are taken with the next price.
    """

    prices: tuple[tuple[int, Ticks], ...] = ()
    year: float | None = None
    squares: tuple[float, ...] = ()


def with_price(minutes: Minutes, spot: Spot, rules: OverlayRules) -> Minutes:
    """Return the minutes with a price, the same object where its minute is there; only live prices count."""
    minute = spot.at_utc // MINUTE
    known = minutes.prices
    if (known and known[-1][0] >= minute) or spot.data_type is not DataType.LIVE or spot.price_ticks <= 0:
        return minutes
    first, gone = minute - rules.realised_window_ms * MS // MINUTE, 0
    while gone < len(known) and known[gone][0] < first:
        gone += 1
    prices = (*known[gone:], (minute, spot.price_ticks))
    had = len(minutes.squares) == len(known) - 1
    squares = (*minutes.squares[gone:], *_squares(prices[-2:])) if had else _squares(prices)
    if len(prices) <= rules.realised_returns_min:
        return Minutes(prices, None, squares)
    return Minutes(prices, math.sqrt(sum(squares) / (minute - prices[0][0]) * MINUTES_A_YEAR), squares)


def _squares(prices: tuple[tuple[int, Ticks], ...]) -> tuple[float, ...]:
    return tuple([math.log(b / a) ** 2 for (_, a), (_, b) in pairwise(prices)])


def realised(minutes: Minutes, now: Utc) -> float | None:
    """Return the realised volatility a year; `None` where minutes are few or the last one is long gone."""
    if not minutes.prices or now // MINUTE - minutes.prices[-1][0] > MINUTES_MISSED_MAX:
        return None
    return minutes.year


def row_at(rows: tuple[OverlayRow, ...], level: float) -> int:
    """Return which row a level has reached; the last one for a level that cannot be compared."""
    return max((n for n, row in enumerate(rows) if not level < row.at_least), default=0)


def _by_level(rows: tuple[OverlayRow, ...], level: float | None, last_known: float | None) -> float:
    if level is not None:
        return rows[row_at(rows, level)].factor
    known = 0 if last_known is None else row_at(rows, last_known)
    return rows[min(known + 1, len(rows) - 1)].factor


def _by_confidence(rows: tuple[OverlayRow, ...], confidence: float) -> float:
    """Return the factor of the row reached; that of the first row for a confidence that cannot be compared."""
    return rows[max((n for n, row in enumerate(rows) if confidence >= row.at_least), default=0)].factor


def overlay_of(
    rules: OverlayRules,
    vix: Spot | None,
    minutes: Minutes,
    confidence: float | None,
    now: Utc,
    broken: tuple[Breakdown, ...] | None = None,
) -> Overlay:
    """Return the overlay of one entry now; `broken` are the pairs whose correlation broke down, `None` is not told."""
    last_vix = None if vix is None else vix.price_ticks / 100
    is_live = vix is not None and vix.data_type is DataType.LIVE and now - vix.at_utc <= rules.vix_age_max_ms * MS
    level, year = last_vix if is_live else None, realised(minutes, now)
    by_vix, by_realised = _by_level(rules.vix, level, last_vix), _by_level(rules.realised, year, None)
    by_alert = 1.0 if confidence is None else _by_confidence(rules.confidence, confidence)
    by_pairs = rules.breakdown if broken else 1.0
    pairs = "not told" if broken is None else "/".join(broken[0].pair) if broken else "usual"
    why = (
        f"VIX {_said(level)} {by_vix:g}, realised {_said(year)} {by_realised:g}, correlations {pairs} {by_pairs:g},"
        f" confidence {_said(confidence)} {by_alert:g}"
    )
    return Overlay(min(by_vix, by_realised) * by_pairs * by_alert, why)


def _said(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
