"""Stored readings as columns: what the live window saw, whether it was stored as lines, sealed, or not at all."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from benchmarks.feature_sessions import HALF, session_of, silent, snapshots_of
from domain.features.frames import COLUMNS, PRICES
from domain.instants import BUCKET_NS
from domain.signals.registry import FLOW
from messages import market
from storage.reading_columns import days_of_rows, sessions_of, stored_days, ticker_days
from storage.series import Series, seal
from storage.series_reader import SeriesReader
from storage.warehouse import Warehouse
from storage.warehouse_reader import WarehouseReader
from tests.testkit.lane_days import readings_of
from tests.testkit.signal_histories import profile, rows_of

VALUES = silent(session_of(3, HALF), 7, 8, 200)


def stored(folder: Path) -> None:
    series = Series(folder, 1, is_durable=False)
    readings = readings_of("SPX", HALF, snapshots_of(VALUES, HALF))
    for reading in readings:
        series.take(reading)
    for n, reading in enumerate(readings[:50]):
        snapshot = reading.snapshot
        assert snapshot is not None
        # A version before had no measures; a reading before the open belongs to no bucket of the session.
        series.take(replace(reading, ticker="QQQ", snapshot=replace(snapshot, measures=None)))
        early = replace(snapshot, bucket_utc=HALF.open_utc - (n + 1) * BUCKET_NS)
        series.take(replace(reading, ticker="IWM", bucket_utc=early.bucket_utc, snapshot=early))
    assert series.flush() is None
    series.close()


@pytest.mark.parametrize("is_sealed", [False, True])
def test_stored_readings_are_the_columns_they_came_from(tmp_path: Path, is_sealed: bool) -> None:
    stored(tmp_path)
    if is_sealed:
        seal(tmp_path, HALF.session)
    found = stored_days(SeriesReader(tmp_path), HALF)
    assert list(found) == ["QQQ", "SPX"]
    assert np.array_equal(found["SPX"].values, VALUES, equal_nan=True)
    assert np.flatnonzero(~found["SPX"].is_read).tolist() == [7, 8, 200]
    old = found["QQQ"]
    assert np.array_equal(old.values[: len(PRICES), :7], VALUES[: len(PRICES), :7], equal_nan=True)
    assert np.isnan(old.values[len(PRICES) :]).all()
    assert int(old.is_read.sum()) == 50


def test_where_no_reading_was_stored_the_vendors_rows_say_the_same(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse", is_durable=False, seals=False)
    warehouse.open()
    for n in (0, 1, 5):
        bucket_utc = HALF.open_utc + n * BUCKET_NS
        level = profile("SPX", "classic_gex_zero", 600_000 + n, zero_gamma=599_000)
        flow = profile("SPX", FLOW, 600_000 + n)
        for hub, told in (("classic", level), ("orderflow", flow)):
            warehouse.take(market.StoreBucket(
                hub=hub, bucket_utc=bucket_utc, rows=rows_of(hub, bucket_utc, told), absent=(), why_absent="",
                counts=market.FrameCounts(),
            ))  # fmt: skip
    warehouse.flush()
    warehouse.show()
    warehouse.close()
    series, reader = SeriesReader(tmp_path / "series"), WarehouseReader(tmp_path / "warehouse")
    assert sessions_of(series, reader, date(2026, 11, 1), date(2026, 11, 30)) == [HALF.session]
    days, made = ticker_days(series, reader, HALF, ["SPX", "QQQ"])
    assert ([one.ticker for one in days], made) == (["SPX"], ["SPX"])
    spots = days[0].values[COLUMNS.index("spot")]
    assert spots[[0, 1, 5]].tolist() == [600_000, 600_001, 600_005]
    assert np.flatnonzero(days[0].is_read).tolist() == [0, 1, 5]
    assert days_of_rows(reader, HALF, ["QQQ"]) == {}
