"""From a bucket's rows to the features of a reading: reduce the rows to a snapshot, then compute over the window.

A snapshot keeps only what features look at; a window is the session's last 240 snapshots, newest last. All 73
features are in a reading's evidence (`domain/features`), which is what lanes read. `compute` gives location and price,
as they were told before there was evidence.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from domain.instants import BUCKET_NS, MINUTE
from domain.options.profile import Profile, Row
from domain.session.calendar import TradingDay
from domain.signals.registry import FEATURES, LEVELS, LEVELS_IN_MOVES, ZERO
from domain.units import Ticks, Utc

WINDOW: Final = 240
MINUTES_PER_YEAR: Final = 525_600.0
READINGS_PER_YEAR: Final = 196_560.0  # 252 sessions of 390 min, two readings each
IV_CATEGORIES: Final = ("state_gamma_zero", "state_delta_zero", "state_vanna_zero", "state_charm_zero")
IV_SCALE: Final = 1_000.0
IV_MAX: Final = 10.0  # 1,000 %: beyond it (the wire saturates at 2,147,483) a volatility is no reading
IV_REACH: Final = 0.05  # share of spot within which a strike is at the money


class Snapshot(msgspec.Struct, frozen=True):
    """One bucket of one ticker, reduced: price and levels, `None` where not delivered or not named.

    `iv` is the volatility at the money per year, of the nearest expiry; `measures` are those of
    `domain/features/measures` in its order (`None`: stored by a version that had none).
    """

    bucket_utc: Utc
    spot: Ticks | None = None
    zero_gamma: Ticks | None = None
    major_pos_vol: Ticks | None = None
    major_neg_vol: Ticks | None = None
    major_pos_oi: Ticks | None = None
    major_neg_oi: Ticks | None = None
    long_gamma: Ticks | None = None
    short_gamma: Ticks | None = None
    iv: float | None = None
    measures: tuple[float | None, ...] | None = None

    @property
    def end_utc(self) -> Utc:
        """The end of the bucket."""
        return self.bucket_utc + BUCKET_NS


Window = tuple[Snapshot, ...]


def reduced(bucket_utc: Utc, rows: Iterable[Row]) -> Snapshot:
    """Return a bucket's rows of one ticker, reduced; the order of the rows makes no difference.

    Spot is that of `classic_gex_zero`, else of the first category by name that has one.
    """
    profiles = {row.profile.category: row.profile for row in rows}
    spot = _spot(profiles)
    zero, state = profiles.get(ZERO), profiles.get("state_gamma_zero")
    return Snapshot(
        bucket_utc=bucket_utc,
        spot=spot,
        zero_gamma=_named(zero, "zero_gamma"),
        major_pos_vol=_named(zero, "major_pos_vol"),
        major_neg_vol=_named(zero, "major_neg_vol"),
        major_pos_oi=_named(zero, "major_pos_oi"),
        major_neg_oi=_named(zero, "major_neg_oi"),
        long_gamma=_named(state, "major_long_gamma"),
        short_gamma=_named(state, "major_short_gamma"),
        iv=_iv_at_the_money(profiles, spot),
    )


def _spot(profiles: Mapping[str, Profile]) -> Ticks | None:
    zero = profiles.get(ZERO)
    if zero is not None and zero.spot:
        return zero.spot
    return next((profiles[name].spot for name in sorted(profiles) if profiles[name].spot), None)


def _named(profile: Profile | None, scalar: str) -> Ticks | None:
    """Return a level; on the wire 0 says that there is none."""
    level = 0 if profile is None else profile.scalar(scalar)
    return Ticks(level) if level else None


def _iv_at_the_money(profiles: Mapping[str, Profile], spot: Ticks | None) -> float | None:
    """Return the mean of call and put volatility at the strike nearest to spot (the lower of two equally near)."""
    if spot is None:
        return None
    for category in IV_CATEGORIES:
        profile = profiles.get(category)
        if profile is None or not len(profile.strikes):
            continue
        away = np.abs(profile.strikes - spot)
        at = int(away.argmin())
        if int(away[at]) > IV_REACH * spot:
            continue  # a strike so far away says nothing of the money
        sides = [int(iv) for iv in profile.values[at, :2].tolist() if 0 < iv <= IV_MAX * IV_SCALE]
        if sides:
            return sum(sides) / len(sides) / IV_SCALE
    return None


def appended(window: Window, snapshot: Snapshot) -> Window:
    """Return the window with one more snapshot, the oldest gone beyond 240."""
    return (*window[-(WINDOW - 1) :], snapshot)


def compute(window: Window, day: TradingDay) -> tuple[float | None, ...]:
    """Return the features that lanes read, of the newest snapshot, in 73 slots, rounded to 12 significant digits."""
    now = window[-1]
    values = {**_location(now, day), **_price(window, day)}
    return tuple(rounded(values.get(feature.name)) for feature in FEATURES)


def rounded(value: float | None) -> float | None:
    """Return a value rounded to 12 significant digits; `None` for what is missing or not finite."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.12g}")


def snapshot_before(window: Window, minutes: int) -> Snapshot | None:
    """Return the snapshot whose bucket began so many minutes before the newest one's; `None` where there is none."""
    wanted_utc = window[-1].bucket_utc - minutes * MINUTE
    at = bisect_left(window, wanted_utc, key=lambda snapshot: snapshot.bucket_utc)
    found = window[at]
    return found if found.bucket_utc == wanted_utc else None


def expected_move(snapshot: Snapshot, day: TradingDay) -> float | None:
    """Return one deviation of spot until the close in ticks: spot × iv × √(time left in years of 525,600 min)."""
    if snapshot.spot is None or snapshot.iv is None:
        return None
    minutes = (day.close_utc - snapshot.end_utc) / MINUTE
    return snapshot.spot * snapshot.iv * math.sqrt(minutes / MINUTES_PER_YEAR) if minutes > 0 else None


def _location(now: Snapshot, day: TradingDay) -> dict[str, float]:
    if now.spot is None:
        return {}
    out: dict[str, float] = {}
    move = expected_move(now, day)
    for name in LEVELS:
        level: Ticks | None = getattr(now, name)
        if level is None:
            continue
        out[f"loc_{name}_bps"] = (now.spot - level) / level * 1e4
        if move is not None and name in LEVELS_IN_MOVES:
            out[f"loc_{name}_moves"] = (now.spot - level) / move
    return out


def _price(window: Window, day: TradingDay) -> dict[str, float]:
    now = window[-1]
    out = {"price_time_of_day": (now.end_utc - day.open_utc) / (day.close_utc - day.open_utc)}
    if now.spot is None:
        return out
    for minutes in (5, 15, 30, 60):
        before = snapshot_before(window, minutes)
        if before is not None and before.spot is not None:
            out[f"price_return_{minutes}m_bps"] = math.log(now.spot / before.spot) * 1e4
    spots = [snapshot.spot for snapshot in window if snapshot.spot is not None]
    low, high = min(spots), max(spots)
    if high > low:
        out["price_range_position"] = (now.spot - low) / (high - low)
    squares = _squared_returns(window)
    if squares is not None:
        out["price_realised_vol_30m"] = math.sqrt(squares / 60 * READINGS_PER_YEAR)
        if squares > 0.0:
            out["price_momentum"] = out["price_return_30m_bps"] / 1e4 / math.sqrt(squares)
    return out


def _squared_returns(window: Sequence[Snapshot]) -> float | None:
    """Return the sum of squared log returns of the last 60 steps; `None` where one of their 61 spots is missing."""
    last = window[-61:]
    spots = [snapshot.spot for snapshot in last if snapshot.spot is not None]
    if len(spots) < 61 or last[-1].bucket_utc - last[0].bucket_utc != 60 * BUCKET_NS:
        return None
    steps = np.diff(np.log(np.array(spots, np.float64)))
    return float(steps @ steps)
