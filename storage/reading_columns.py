"""A session's stored readings as columns, by ticker; where none were stored, made again from the vendor's rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.features.frames import COLUMNS, PRICES, session_columns
from domain.features.measures import MEASURES, Floats, with_measures
from domain.instants import BUCKET_NS
from domain.session.calendar import TradingDay
from domain.signals.columns import TickerDay
from domain.signals.snapshot import reduced
from storage.derived_told import derived_told
from storage.series_reader import SeriesReader
from storage.series_rows import READINGS
from storage.warehouse_reader import WarehouseReader

Mask = NDArray[np.bool_]


class StoredReadings(NamedTuple):
    """A session's stored readings: of which bucket each ticker has one, its measures, and what it lacked.

    `values` (tickers, measures, buckets), NaN = missing; `is_read` and `is_measured` (tickers, buckets): there is one,
    and not of a version without today's measures; `is_missing` (tickers, categories, buckets): it had no such row.
    """

    values: Floats
    is_read: Mask
    is_measured: Mask
    is_missing: Mask


def stored_readings(
    reader: SeriesReader, day: TradingDay, tickers: Sequence[str], categories: Sequence[str] = ()
) -> StoredReadings:
    """Return the readings of a session that `series` has stored of these tickers; of others nothing is said."""
    table = reader.day(READINGS, day.session, ("ticker", "bucket_utc", "snapshot", "missing"))
    at = (table["bucket_utc"].to_numpy() - day.open_utc) // BUCKET_NS
    of = pc.index_in(table["ticker"], pa.array(tickers, pa.string())).fill_null(-1).to_numpy()
    is_told = table["snapshot"].is_valid().to_numpy() & (at >= 0) & (at < day.buckets) & (of >= 0)
    table, at, of = table.filter(pa.array(is_told)), at[is_told], of[is_told]
    values = np.full((len(tickers), len(COLUMNS), day.buckets), np.nan)
    is_read, is_measured = np.zeros((2, len(tickers), day.buckets), np.bool_)
    is_missing = np.zeros((len(tickers), len(categories), day.buckets), np.bool_)
    is_read[of, at] = True
    snapshots = table["snapshot"].combine_chunks()
    for n, name in enumerate(PRICES):
        values[of, n, at] = pc.struct_field(snapshots, name).cast(pa.float64()).to_numpy(zero_copy_only=False)
    measures = pc.struct_field(snapshots, "measures")
    is_whole = pc.fill_null(pc.equal(pc.list_value_length(measures), len(MEASURES)), False).to_numpy(
        zero_copy_only=False
    )  # fmt: skip
    is_measured[of[is_whole], at[is_whole]] = True
    known = pc.list_flatten(measures.filter(pa.array(is_whole))).to_numpy(zero_copy_only=False)
    values[of[is_whole], len(PRICES) :, at[is_whole]] = known.reshape(-1, len(MEASURES))
    lacked = table["missing"].combine_chunks()
    category = pc.index_in(pc.list_flatten(lacked), pa.array(categories, pa.string())).fill_null(-1).to_numpy()
    row = pc.list_parent_indices(lacked).to_numpy()
    row, category = row[category >= 0], category[category >= 0]
    is_missing[of[row], category, at[row]] = True
    return StoredReadings(values, is_read, is_measured, is_missing)


def stored_days(reader: SeriesReader, day: TradingDay) -> dict[str, TickerDay]:
    """Return the readings of a session that `series` has stored, by ticker, ascending."""
    tickers = sorted(set(reader.day(READINGS, day.session, ("ticker",))["ticker"].to_pylist()))
    found = stored_readings(reader, day, tickers)
    return {
        ticker: TickerDay(ticker, day, found.values[n], found.is_read[n])
        for n, ticker in enumerate(tickers)
        if found.is_read[n].any()
    }


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
