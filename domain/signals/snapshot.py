"""From a bucket's rows to a snapshot: what features look at, and no more. Features are made of a session's last 240
snapshots (`domain/features`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import numpy as np

from domain.instants import BUCKET_NS
from domain.options.profile import SCALAR_AT, Profile, Row
from domain.signals.registry import ZERO
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
    level = 0 if profile is None else profile.scalars[SCALAR_AT[scalar]]
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
