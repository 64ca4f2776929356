"""A session's stored readings as columns, by ticker; where none were stored, made again from the vendor's rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.features.frames import COLUMNS, PRICES, session_columns
from domain.features.measures import MEASURES, with_measures
from domain.instants import BUCKET_NS
from domain.session.calendar import TradingDay
from domain.signals.columns import TickerDay
from domain.signals.snapshot import reduced
from storage.derived_told import derived_told
from storage.series_reader import SeriesReader
from storage.series_rows import READINGS
from storage.warehouse_reader import WarehouseReader


def stored_days(reader: SeriesReader, day: TradingDay) -> dict[str, TickerDay]:
    """Return the readings of a session that `series` has stored, by ticker, ascending."""
    table = reader.day(READINGS, day.session).select(["ticker", "bucket_utc", "snapshot"])
    at = (table["bucket_utc"].to_numpy() - day.open_utc) // BUCKET_NS
    told = table["snapshot"].is_valid().to_numpy() & (at >= 0) & (at < day.buckets)
    names = table["ticker"].to_numpy()
    return {
        ticker: _columns(ticker, day, table["snapshot"].filter(pa.array(mask)).combine_chunks(), at[mask])
        for ticker in sorted(set(names[told].tolist()))
        for mask in (told & (names == ticker),)
    }


def _columns(ticker: str, day: TradingDay, snapshots: pa.Array, at: NDArray[np.int64]) -> TickerDay:
    values = np.full((len(COLUMNS), day.buckets), np.nan)
    for n, name in enumerate(PRICES):
        values[n, at] = pc.struct_field(snapshots, name).cast(pa.float64()).to_numpy(zero_copy_only=False)
    measures = pc.struct_field(snapshots, "measures")
    is_whole = pc.fill_null(pc.equal(pc.list_value_length(measures), len(MEASURES)), False).to_numpy(
        zero_copy_only=False
    )  # fmt: skip
    known = pc.list_flatten(measures.filter(pa.array(is_whole))).to_numpy(zero_copy_only=False)
    values[len(PRICES) :, at[is_whole]] = known.reshape(-1, len(MEASURES)).T
    is_read = np.zeros(day.buckets, np.bool_)
    is_read[at] = True
    return TickerDay(ticker, day, values, is_read)


def days_of_rows(reader: WarehouseReader, day: TradingDay, tickers: Iterable[str]) -> dict[str, TickerDay]:
    """Return the readings of a session as they would have been, of the vendor's rows; without rows there is none."""
    found: dict[str, TickerDay] = {}
    for ticker in tickers:
        stored = reader.last_rows(day.session, ticker, day.close_utc, day.buckets)
        snapshots = [
            with_measures(reduced(bucket_utc, rows), rows, day)
            for bucket_utc, rows in stored
            if rows and bucket_utc >= day.open_utc
        ]
        if snapshots:
            found[ticker] = TickerDay.of(ticker, day, session_columns(snapshots, day))
    return found


def ticker_days(
    series: SeriesReader, warehouse: WarehouseReader, day: TradingDay, tickers: Iterable[str]
) -> tuple[list[TickerDay], list[str]]:  # fmt: skip
    """Return the sessions of these tickers, as far as anything is stored, and which of them are made of rows."""
    wanted = list(tickers)
    stored = stored_days(series, day)
    lacking = [ticker for ticker in wanted if ticker not in stored]
    made = days_of_rows(warehouse, day, lacking) if day.session in warehouse.sessions() else {}
    both, told = stored | made, derived_told(series, day.session)
    return [dataclasses.replace(both[ticker], told=told) for ticker in wanted if ticker in both], sorted(made)


def sessions_of(series: SeriesReader, warehouse: WarehouseReader, first: date, last: date) -> list[date]:
    """Return the sessions of a period of which anything is stored, ascending."""
    known = {*series.sessions(), *warehouse.sessions()}
    return sorted(session for session in known if first <= session <= last)
