"""Instruments and their quotes. Prices are `_ticks` of 1/100 USD per unit of the underlying; `None` means not known."""

from __future__ import annotations

from datetime import date
from enum import IntEnum, StrEnum
from functools import lru_cache

import msgspec

from domain.units import Qty, Ticks, Utc


class Right(StrEnum):
    """The right of an option."""

    CALL = "C"
    PUT = "P"


class Side(StrEnum):
    """The side of an order."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> Side:
        """The side that closes what this one opened."""
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        """What a contract of it adds to a signed quantity: 1 or -1."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    """The order types that strategies may use (`STP` for the disaster stop only, `MKT` for exits only)."""

    LIMIT = "LMT"
    MARKET = "MKT"
    STOP = "STP"


class DataType(IntEnum):
    """What the broker calls the freshness of a price; `UNKNOWN` while it has not said."""

    UNKNOWN = 0
    LIVE = 1
    FROZEN = 2
    DELAYED = 3
    DELAYED_FROZEN = 4


class Contract(msgspec.Struct, frozen=True, order=True):
    """One option contract as the broker knows it; `con_id` is its identity, the rest describes it."""

    con_id: int
    ticker: str
    trading_class: str
    expiry: date
    strike_ticks: Ticks
    right: Right
    multiplier: int = 100

    @property
    def label(self) -> str:
        """Name the contract for people, as `SPXW 20261120 6000C`."""
        return _label(self.trading_class, self.expiry, self.strike_ticks, self.right)


@lru_cache(maxsize=4096)  # every gate of a contract says which one it looked at
def _label(trading_class: str, expiry: date, strike_ticks: Ticks, right: Right) -> str:
    return f"{trading_class} {expiry:%Y%m%d} {strike_ticks / 100:g}{right.value}"


class Greeks(msgspec.Struct, frozen=True):
    """Model greeks of one option: `iv` per year, `delta` per unit, `gamma` per USD, `theta` per day."""

    iv: float
    delta: float
    gamma: float
    theta: float
    vega: float
    underlying_ticks: Ticks
    at_utc: Utc
    source: str = "model"


class Quote(msgspec.Struct, frozen=True):
    """The last quote of one instrument.

    `at_utc` is the instant of the last bid or ask tick received. A missing side is `None`, a side of which the
    broker says "no bid" is 0. A size of 0 is not known. `volume` is today's, `open_interest` yesterday's.
    """

    con_id: int
    bid_ticks: Ticks | None
    ask_ticks: Ticks | None
    bid_size: Qty
    ask_size: Qty
    at_utc: Utc
    data_type: DataType = DataType.LIVE
    volume: int | None = None
    greeks: Greeks | None = None
    open_interest: int | None = None

    @property
    def mid_x2(self) -> int | None:
        """Twice the mid in ticks (an integer, so no half tick is lost); `None` unless both sides are there."""
        if not self.bid_ticks or self.ask_ticks is None:
            return None
        return self.bid_ticks + self.ask_ticks


class Spot(msgspec.Struct, frozen=True):
    """The last price of an underlying; `at_utc` is the instant of the last tick received."""

    ticker: str
    price_ticks: Ticks
    at_utc: Utc
    data_type: DataType = DataType.LIVE
