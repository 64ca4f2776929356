"""The underlyings of the simulated market and the contracts on them.

Contract ids are a pure function of (ticker, expiry, strike, right), so that every process and every
restart agree.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from domain.instruments import Contract, Right
from domain.units import Ticks

REACH = 40  # strikes on each side of the anchor
DAY_ZERO = date(2015, 1, 1).toordinal()
DAY_BITS, STRIKE_BITS = 13, 13


class Underlying(NamedTuple):
    """One underlying: its trading classes, price, and how it moves.

    `beta` to the index's log return, `own_vol` of a day beside it; `step_ticks` between strikes;
    `open_interest` and `volume` are contracts of the nearest expiry in all; `iv_scale` is implied
    volatility over the index's.
    """

    number: int
    classes: tuple[str, ...]
    is_index: bool
    price_usd: float
    beta: float
    own_vol: float
    step_ticks: int
    open_interest: float
    volume: float
    iv_scale: float


UNDERLYINGS = {
    "SPX": Underlying(1, ("SPXW",), True, 6_000.0, 1.0, 0.0, 500, 600_000, 1_800_000, 1.0),
    "SPY": Underlying(2, ("SPY",), False, 600.0, 1.0, 0.0, 100, 1_500_000, 4_500_000, 1.0),
    "QQQ": Underlying(3, ("QQQ",), False, 520.0, 1.2, 0.003, 100, 900_000, 2_600_000, 1.28),
    "IWM": Underlying(4, ("IWM",), False, 230.0, 1.1, 0.005, 100, 350_000, 600_000, 1.30),
    "NVDA": Underlying(5, ("NVDA",), False, 180.0, 1.7, 0.014, 250, 500_000, 900_000, 2.4),
    "TSLA": Underlying(6, ("TSLA",), False, 350.0, 1.8, 0.020, 250, 400_000, 1_100_000, 3.1),
    "AAPL": Underlying(7, ("AAPL",), False, 230.0, 1.0, 0.008, 250, 300_000, 400_000, 1.45),
    "META": Underlying(8, ("META",), False, 600.0, 1.3, 0.011, 500, 120_000, 160_000, 1.9),
    "VIX": Underlying(9, (), True, 16.0, 0.0, 0.0, 0, 0, 0, 0.0),
}
DEFAULT_TICKERS = tuple(t for t, u in UNDERLYINGS.items() if u.classes)
_BY_NUMBER = {u.number: ticker for ticker, u in UNDERLYINGS.items()}


def underlying_con_id(ticker: str) -> int:
    """Return the id of an underlying: the ids of its options begin above it.

    Raises:
        KeyError: the market has no such ticker.
    """
    return UNDERLYINGS[ticker].number << (DAY_BITS + STRIKE_BITS + 1)


def option_con_id(ticker: str, expiry: date, strike_ticks: Ticks, right: Right) -> int:
    """Return the id of an option, below 2³¹ and never that of another.

    Raises:
        ValueError: the expiry or the strike has no room in the id.
    """
    u = UNDERLYINGS[ticker]
    day, strike = expiry.toordinal() - DAY_ZERO, strike_ticks // u.step_ticks
    if not (0 < day < 1 << DAY_BITS and 0 < strike < 1 << STRIKE_BITS):
        raise ValueError(f"{ticker} {expiry} {strike_ticks} does not fit a simulated contract id")
    packed = (u.number << DAY_BITS | day) << STRIKE_BITS | strike
    return packed << 1 | (right is Right.CALL)


def contract_of(ticker: str, expiry: date, strike_ticks: Ticks, right: Right) -> Contract:
    """Return the option contract of a ticker."""
    con_id = option_con_id(ticker, expiry, strike_ticks, right)
    return Contract(con_id, ticker, UNDERLYINGS[ticker].classes[0], expiry, strike_ticks, right)


def ticker_of(con_id: int) -> str | None:
    """Return the ticker that an id belongs to; `None` when it is not this market's."""
    return _BY_NUMBER.get(con_id >> (DAY_BITS + STRIKE_BITS + 1))
