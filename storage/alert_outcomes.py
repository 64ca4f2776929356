"""What became of alerts, followed in the spots that the warehouse has: of those of which nothing is recorded yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.instants import BUCKET_NS
from domain.session.calendar import TradingDay
from domain.signals.alert import Alert
from domain.signals.outcome import Outcome, outcome_in
from storage.warehouse_reader import WarehouseReader

CATEGORY: Final = "classic_gex_zero"  # whose spots are followed: every ticker has it


def outcomes_in(reader: WarehouseReader, day: TradingDay, alerts: Iterable[Alert]) -> dict[str, Outcome]:
    """Return the outcomes of a session's alerts by alert id, as far as there are spots.

    Raises:
        Exception: a file is damaged, or gone meanwhile.
    """
    found: dict[str, Outcome] = {}
    wanted = list(alerts)
    for ticker in sorted({alert.key.ticker for alert in wanted}):
        spots = _spots(reader, day, ticker)
        for alert in wanted:
            if alert.key.ticker == ticker:
                found[alert.key.alert_id] = outcome_in(alert, spots, day.open_utc, day.close_utc)
    return found


def _spots(reader: WarehouseReader, day: TradingDay, ticker: str) -> NDArray[np.float64]:
    """Return a ticker's spots by bucket in ticks, as far as they are stored; silent ones are NaN."""
    table = reader.series(day.session, ticker, CATEGORY, ())
    at = (table["bucket_utc"].to_numpy().astype("datetime64[ns]").astype(np.int64) - day.open_utc) // BUCKET_NS
    prices = np.round(table["spot"].to_numpy().astype(np.float64) * 100)
    is_in = (at >= 0) & (at < day.buckets)
    spots = np.full(int(at[is_in].max()) + 1 if is_in.any() else 0, np.nan)
    spots[at[is_in]] = prices[is_in]
    return spots
