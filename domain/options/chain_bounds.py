"""What a chain's numbers may be: a file says anything, and any number that fits its type is not yet a reading.

The bounds lie far beyond what was ever listed, and well within what the wire's integers hold.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from domain.options.black_scholes import Floats
from domain.options.chain_files import underlying_of
from domain.options.chain_gamma import ChainQuotes

SPOT_MIN_USD: Final = 0.1
SPOT_MAX_USD: Final = 1_500_000.0  # the dearest share ever listed stood at half of it
STRIKE_MAX_USD: Final = 3_000_000.0
COUNT_MAX: Final = 50_000_000.0  # contracts of one strike; the whole market trades as many in a day
IV_MAX: Final = 100.0  # 10,000 % a year; above 2,000 % a row counts as without a volatility
PRICE_MAX_USD: Final = SPOT_MAX_USD
BEYOND: Final = 2.0  # spot lies no further outside the strikes than by this factor

_COLUMNS: Final = {
    "strikes": ("a strike", STRIKE_MAX_USD), "open_interest": ("an open interest", COUNT_MAX),
    "volume": ("a volume", COUNT_MAX), "iv": ("a volatility", IV_MAX), "bid": ("a bid", PRICE_MAX_USD),
    "ask": ("an ask", PRICE_MAX_USD),
}  # fmt: skip


def why_implausible(quotes: ChainQuotes, ticker: str) -> str | None:
    """Return why a chain cannot be a ticker's, in one sentence with the remedy; `None` where it can.

    Numbers that were not given, and rows that name no strike, are not looked at: they are left out row by row.
    """
    if underlying_of(quotes.symbol) != underlying_of(ticker):
        return f"it is a chain of {quotes.symbol or 'no named symbol'}, not of {ticker}; give {ticker} its own file."
    spot = quotes.spot
    if spot is None or not SPOT_MIN_USD <= spot <= SPOT_MAX_USD:
        return f"{_told(spot)} is no spot of {ticker}; download it again."
    large = why_too_large(quotes)
    if large is not None:
        return large
    strikes = quotes.strikes[quotes.strikes > 0.0]
    if len(strikes) and not float(strikes.min()) / BEYOND <= spot <= float(strikes.max()) * BEYOND:
        low, high = float(strikes.min()), float(strikes.max())
        return f"its spot of {_told(spot)} lies far outside its strikes, {_told(low)} to {_told(high)}."
    return None


def why_too_large(quotes: ChainQuotes) -> str | None:
    """Return which number of a chain none can be, in one sentence with the remedy; `None` where all can."""
    if quotes.spot is not None and not abs(quotes.spot) <= SPOT_MAX_USD:
        return f"it names a spot of {_told(quotes.spot)}, which none can be; download it again."
    for column, (what, most) in _COLUMNS.items():
        values: Floats = getattr(quotes, column)
        if bool((np.abs(values) > most).any()):  # infinite too; NaN is larger than nothing
            worst = float(np.nanmax(np.abs(values)))
            return f"it names {what} of {_told(worst)}, which none can be; download it again."
    return None


def _told(number: float | None) -> str:
    return "nothing" if number is None else f"{number:,.2f}" if abs(number) < 1e12 else f"{number:.3g}"
