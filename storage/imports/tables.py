"""Chains and bars of others as the tables in which they are stored."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from domain.instants import MINUTE, NEW_YORK, to_datetime
from domain.market.bars import Bars
from domain.options.black_scholes import values, years_of
from domain.options.chain_gamma import ChainQuotes
from domain.units import Utc
from storage.imports.series_days import BAR_SCHEMA
from storage.series_rows import CHAINS, KINDS

DELAYED: Final = 3  # the broker's word for delayed quotes

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]


def chain_table(quotes: ChainQuotes, ticker: str, rows: Longs) -> pa.Table:
    """Return rows of a chain in the columns of stored chains; what was not given is NULL.

    Delta and gamma are the source's where it gives them, else Black-Scholes' from its volatility and spot.
    """
    n = len(rows)
    expiries = {
        int(utc): to_datetime(Utc(int(utc))).astimezone(NEW_YORK).date().isoformat()
        for utc in np.unique(quotes.expiry_utc[rows])
    }

    def ticks(values: np.ndarray) -> pa.Array:
        good = np.isfinite(values[rows])
        return pa.array(np.rint(np.where(good, values[rows], 0.0) * 100.0).astype(np.int64), mask=~good)

    def whole(values: np.ndarray) -> pa.Array:
        good = np.isfinite(values[rows])
        return pa.array(np.where(good, values[rows], 0.0).astype(np.int64), mask=~good)

    iv, (delta, gamma) = quotes.iv[rows], _greeks(quotes, rows)
    classes = [(quotes.roots[row] if quotes.roots else "") or ticker for row in rows]
    columns = {
        "at_utc": pa.array([quotes.at_utc] * n, pa.int64()), "con_id": pa.nulls(n, pa.int64()),
        "ticker": pa.array([ticker] * n), "trading_class": pa.array(classes),
        "expiry": pa.array([expiries[int(utc)] for utc in quotes.expiry_utc[rows]]), "strike": ticks(quotes.strikes),
        "right": pa.array(np.where(quotes.is_call[rows], "C", "P").tolist()), "bid": ticks(quotes.bid),
        "ask": ticks(quotes.ask), "bid_size": pa.array([0] * n, pa.int64()), "ask_size": pa.array([0] * n, pa.int64()),
        "quote_utc": pa.array([quotes.at_utc] * n, pa.int64()), "data_type": pa.array([DELAYED] * n, pa.int64()),
        "volume": whole(quotes.volume), "open_interest": whole(quotes.open_interest),
        "iv": pa.array(iv, mask=~(np.isfinite(iv) & (iv > 0.0))), "delta": pa.array(delta, mask=np.isnan(delta)),
        "gamma": pa.array(gamma, mask=np.isnan(gamma)), "spot": pa.array(
            [None if quotes.spot is None else round(quotes.spot * 100.0)] * n, pa.int64()
        ),
    }  # fmt: skip
    schema = KINDS[CHAINS].schema
    return pa.table([columns.get(f.name, pa.nulls(n, f.type)).cast(f.type) for f in schema], schema=schema)


def bar_table(bars: Bars) -> pa.Table:
    """Return bars in the columns of stored bars."""
    n = len(bars)
    volume = pa.nulls(n, pa.int64()) if bars.volume is None else pa.array(bars.volume)
    columns = [
        pa.array([bars.ticker] * n), pa.array(bars.begin_utc), pa.array(bars.open), pa.array(bars.high),
        pa.array(bars.low), pa.array(bars.close), volume, pa.array(["import"] * n),
    ]  # fmt: skip
    return pa.table(columns, schema=BAR_SCHEMA)


def _greeks(quotes: ChainQuotes, rows: Longs) -> tuple[Floats, Floats]:
    """Return delta and gamma of rows; NaN where they are neither given nor can be computed."""
    none = np.full(len(rows), np.nan)
    delta = none if quotes.delta is None else quotes.delta[rows]
    gamma = none if quotes.gamma is None else quotes.gamma[rows]
    sign = np.where(quotes.is_call[rows], 1.0, -1.0)
    is_told = np.isfinite(delta) & (np.abs(delta) <= 1.0) & (delta * sign >= 0.0) & np.isfinite(gamma) & (gamma >= 0.0)
    iv = quotes.iv[rows]
    if quotes.spot is None or quotes.at_utc is None:
        return np.where(is_told, delta, np.nan), np.where(is_told, gamma, np.nan)
    years = years_of((quotes.expiry_utc[rows] - quotes.at_utc) / MINUTE)
    can_be = np.isfinite(iv) & (iv > 0.0) & (years > 0.0)
    made = values(quotes.spot, quotes.strikes[rows], years, np.where(can_be, iv, 0.0), quotes.is_call[rows])
    return (
        np.where(is_told, delta, np.where(can_be, made.delta, np.nan)),
        np.where(is_told, gamma, np.where(can_be, made.gamma, np.nan)),
    )
