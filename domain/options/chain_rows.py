"""An option chain as the vendor's classic profiles, so that a chain stands in for the feed.

`classic_gex_zero` is the nearest expiry date, `classic_gex_one` the next, `classic_gex_full` all up to 90 days, as at
the vendor. Units on the wire are millions of USD per 1 % move, in 1/100. What a chain at one instant cannot
say is 0: the risk reversal, and changes against earlier instants unless those are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from domain.instants import MINUTE, SECOND, session_of
from domain.options.chain_gamma import ChainGamma, ChainQuotes, gamma_of
from domain.options.gamma import ChainRefusal, major_negative, major_positive
from domain.options.profile import GEX_SCALARS, PRIORS, Ints, Profile, Shape
from domain.units import Ticks, Utc

CATEGORIES: Final = ("classic_gex_full", "classic_gex_zero", "classic_gex_one")
FULL_NS: Final = 90 * 24 * 60 * MINUTE
SATURATION: Final = 2_147_483_647
PRIORS_MIN: Final = (1, 5, 10, 15, 30)

Earlier = Mapping[int, ChainGamma]  # the gamma of a category so many minutes ago


def classic_profiles(
    ticker: str, quotes: ChainQuotes, spot: float, at_utc: Utc, earlier: Mapping[str, Earlier] | None = None
) -> dict[str, tuple[Profile, ChainGamma] | ChainRefusal]:
    """Return each classic category of a chain at a spot and an instant, or why there is none.

    `earlier` gives, for each category, its gamma some minutes ago: priors and largest changes are taken against it.
    """
    ends = quotes.expiry_utc
    alive = ends > at_utc
    ordinals = np.array([session_of(Utc(int(end))).toordinal() for end in ends], np.int64)
    days = np.unique(ordinals[alive])
    parts = {
        "classic_gex_full": alive & (ends <= at_utc + FULL_NS),
        "classic_gex_zero": alive & (ordinals == (days[0] if len(days) else 0)),
        "classic_gex_one": alive & (ordinals == (days[1] if len(days) > 1 else 0)),
    }
    found: dict[str, tuple[Profile, ChainGamma] | ChainRefusal] = {}
    for category, rows in parts.items():
        gamma = gamma_of(_part(quotes, np.flatnonzero(rows)), spot, at_utc)
        before = (earlier or {}).get(category, {})
        if not isinstance(gamma, ChainRefusal) and not _fits(gamma):
            gamma = ChainRefusal.NOT_FINITE
        found[category] = (
            gamma if isinstance(gamma, ChainRefusal) else (_profile(ticker, category, gamma, before), gamma)
        )
    return found


def _part(quotes: ChainQuotes, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> ChainQuotes:
    return replace(
        quotes,
        strikes=quotes.strikes[rows],
        is_call=quotes.is_call[rows],
        expiry_utc=quotes.expiry_utc[rows],
        open_interest=quotes.open_interest[rows],
        volume=quotes.volume[rows],
        iv=quotes.iv[rows],
        bid=quotes.bid[rows],
        ask=quotes.ask[rows],
        roots=tuple(quotes.roots[row] for row in rows) if quotes.roots else (),
    )


def _fits(gamma: ChainGamma) -> bool:
    """Return whether all numbers are finite, and prices fit the wire's integers: a cast would make others of them."""
    sums = (gamma.by_call, gamma.by_put, gamma.by_volume)
    prices = np.append(gamma.levels, gamma.spot) * 100.0
    return all(bool(np.isfinite(column).all()) for column in sums) and bool((np.abs(prices) < SATURATION).all())


def _profile(ticker: str, category: str, gamma: ChainGamma, before: Earlier) -> Profile:
    levels = np.rint(gamma.levels * 100.0).astype(np.int64)
    by_volume, by_oi = _to_wire(gamma.by_volume), _to_wire(gamma.by_strike)
    priors = np.stack([_at_levels(gamma, before.get(minutes)) for minutes in PRIORS_MIN], axis=1)
    scalars = dict.fromkeys(GEX_SCALARS, 0) | {
        "zero_gamma": _price(gamma.zero_gamma),
        "major_pos_vol": _price(major_positive(gamma.levels, gamma.by_volume)),
        "major_pos_oi": _price(gamma.call_wall),
        "major_neg_vol": _price(major_negative(gamma.levels, gamma.by_volume)),
        "major_neg_oi": _price(gamma.put_wall),
        "sum_gex_vol": _clip(10 * int(by_volume.sum(dtype=np.int64))),
        "sum_gex_oi": _clip(10 * int(by_oi.sum(dtype=np.int64))),
    }
    for n, minutes in enumerate(PRIORS_MIN):
        if minutes in before:
            change = by_volume.astype(np.int64) - priors[:, n]
            at = int(np.argmax(np.abs(change)))
            scalars[f"max_strike_{minutes}"] = int(levels[at])
            scalars[f"max_change_{minutes}"] = _clip(10 * int(change[at]))
    return Profile(
        ticker=ticker,
        category=category,
        source_utc=gamma.at_utc - gamma.at_utc % SECOND,
        spot=Ticks(round(gamma.spot * 100.0)),
        scalars=tuple(scalars[name] for name in GEX_SCALARS),
        strikes=levels.astype(np.int32),
        values=np.stack([by_volume, by_oi], axis=1),
        priors=priors.reshape(len(levels), PRIORS[Shape.GEX]),
    )


def _at_levels(now: ChainGamma, then: ChainGamma | None) -> Ints:
    """Return what the strikes of now had then by volume, in the wire's integers; 0 where nothing is known."""
    if then is None:
        return np.zeros(len(now.levels), np.int32)
    at = np.searchsorted(then.levels, now.levels).clip(max=len(then.levels) - 1)
    return np.where(then.levels[at] == now.levels, _to_wire(then.by_volume)[at], 0).astype(np.int32)


def _to_wire(usd: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Ints:
    """Return USD as hundredths of a million, saturated as a sint32 of the wire is."""
    return np.rint(np.clip(usd * 1e-4, -SATURATION, SATURATION)).astype(np.int32)


def _clip(value: int) -> int:
    return min(max(value, -SATURATION), SATURATION)


def _price(usd: float | None) -> int:
    """Return a level in ticks; 0 on the wire is none."""
    return 0 if usd is None else round(usd * 100.0)
