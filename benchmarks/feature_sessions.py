"""Sessions of measures by seed: prices that wander, levels beside them, gaps, repeated values, and wild ones."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np

from domain.features.frames import COLUMNS, PRICES
from domain.features.measures import Floats
from domain.instants import BUCKET_NS
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.signals.snapshot import Snapshot
from domain.units import Utc


def _day(session: date) -> TradingDay:
    found = calendar.day(session)
    assert found is not None
    return found


FULL = _day(date(2026, 11, 20))
HALF = _day(date(2026, 11, 27))
AT = {name: n for n, name in enumerate(COLUMNS)}


def session_of(seed: int, day: TradingDay = FULL, missing: float = 0.004, wild: int = 5) -> Floats:
    """Return (measures, readings) of a session; `missing` is the share of empty places, `wild` values are 10¹³."""
    rng = np.random.default_rng(seed)
    n = day.buckets
    values = rng.normal(size=(len(COLUMNS), n)).cumsum(axis=1)
    values[AT["spot"]] = np.rint(600_000 * np.exp(2e-4 * rng.normal(size=n).cumsum()))
    for level in PRICES[1:-1]:  # levels stand still for a while, as strikes do
        values[AT[level]] = np.rint(values[AT["spot"]] / 500 + rng.integers(-1, 2, n)) * 500
    values[AT["iv"]] = 0.2 * np.exp(0.02 * rng.normal(size=n).cumsum())
    for gross in ("gross_vol", "gross_oi"):
        values[AT[gross]] = np.abs(values[AT[gross]]) + 1.0
    values[AT["max_strike_5"]] = values[AT["major_pos_vol"]]
    for name in COLUMNS[AT["shape_centre_bps"] : AT["agg_dex"]]:
        values[AT[name]] = np.tanh(values[AT[name]] / 5.0)
    values[AT["net_oi"], 100:160] = values[AT["net_oi"], 100]  # stands still
    for place in rng.integers(0, n, wild):
        values[AT["net_vol"], place] = 1e13
    values[rng.random(values.shape) < missing] = np.nan
    return values


def silent(values: Floats, *readings: int) -> Floats:
    """Return a session in which these readings are missing altogether."""
    out = values.copy()
    out[:, list(readings)] = np.nan
    return out


def snapshots_of(values: Floats, day: TradingDay = FULL) -> tuple[Snapshot, ...]:
    """Return the snapshots of a session; readings of which nothing is there are left out, as a restart does."""
    found = []
    for n in range(values.shape[1]):
        cells = [None if np.isnan(value) else float(value) for value in values[:, n]]
        if any(cell is not None for cell in cells):
            told: dict[str, Any] = dict(zip(COLUMNS, cells, strict=True))
            prices: dict[str, Any] = {
                name: told[name] if name == "iv" or told[name] is None else int(told[name]) for name in PRICES
            }
            at_utc = Utc(day.open_utc + n * BUCKET_NS)
            found.append(Snapshot(at_utc, **prices, measures=tuple(cells[len(PRICES) :])))
    return tuple(found)
