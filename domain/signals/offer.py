"""A signal that a program from outside offers: what it must say, and when it becomes an alert like any other."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from domain.instants import BUCKET_NS, SECOND, bucket_of
from domain.session.phases import EVALUATED, Phase
from domain.signals.alert import Alert, AlertKey
from domain.units import Ticks, Utc

SOURCE: Final = "outside"  # the source of the lanes that look for nothing themselves
READINGS_OLD_MAX: Final = 3  # buckets without a reading, after which nobody knows where the market is
OFF_SHARE_MAX: Final = 0.01  # of the spot: farther away, the offer means another underlying or another time
LEVEL_SHARE_MAX: Final = 0.2  # of the entry: no stop or target of a day lies farther away


class OfferRefused(StrEnum):
    """Why an offer became no alert."""

    EXPIRED = "expired"
    UNKNOWN_KIND = "unknown_kind"
    NO_ALERTS_NOW = "no_alerts_now"
    BAD_LEVELS = "bad_levels"
    NO_READING = "no_reading"
    OFF_THE_MARKET = "off_the_market"
    BUCKET_TAKEN = "bucket_taken"
    ID_REUSED = "id_reused"


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What is offered: prices in ticks of the underlying, `direction` 1 or -1, `horizon_ms` as of an alert."""

    kind: str
    version: int
    direction: int
    entry_ticks: Ticks
    target_ticks: Ticks
    stop_ticks: Ticks
    horizon_ms: int


class Refusal(msgspec.Struct, frozen=True):
    """An offer that became no alert, and why, in one sentence with the remedy."""

    code: OfferRefused
    detail: str


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where and when an offer comes: the lane's ticker, the kinds (and versions) that it takes, what it knows.

    `spot` and `seen_utc` are those of the newest reading, `None` where there is none.
    """

    ticker: str
    kinds: Mapping[str, int]
    phase: Phase | None
    spot: Ticks | None
    seen_utc: Utc | None
    promoted: tuple[str, ...]
    now: Utc


def alert_of(offer: Offer, place: Place) -> Alert | Refusal:
    """Return the alert that an offer becomes, a shadow unless its kind and version were promoted, or why none."""
    refusal = _refusal(offer, place)
    if refusal is not None:
        return refusal
    return Alert(
        key=AlertKey(SOURCE, place.ticker, offer.kind, offer.version, bucket_of(place.now)),
        direction=offer.direction,
        entry_ticks=offer.entry_ticks,
        target_ticks=offer.target_ticks,
        stop_ticks=offer.stop_ticks,
        horizon_ms=offer.horizon_ms,
        is_shadow=f"{offer.kind}-{offer.version}" not in place.promoted,
        raised_utc=place.now,
    )


def offer_of(alert: Alert) -> Offer:
    """Return what was offered where an alert came of it."""
    return Offer(
        kind=alert.key.kind, version=alert.key.version, direction=alert.direction, entry_ticks=alert.entry_ticks,
        target_ticks=alert.target_ticks, stop_ticks=alert.stop_ticks, horizon_ms=alert.horizon_ms,
    )  # fmt: skip


def _refusal(offer: Offer, place: Place) -> Refusal | None:
    if place.kinds.get(offer.kind) != offer.version:
        known = ", ".join(f"{kind}-{version}" for kind, version in sorted(place.kinds.items())) or "none"
        return Refusal(
            OfferRefused.UNKNOWN_KIND,
            f"{offer.kind}-{offer.version} is none of the kinds in outside.kinds ({known}); add it there.",
        )
    if place.phase not in EVALUATED:
        phase = "not known" if place.phase is None else place.phase.value
        return Refusal(OfferRefused.NO_ALERTS_NOW, f"The phase is {phase}: alerts are taken while the market is open.")
    ahead, behind = offer.target_ticks - offer.entry_ticks, offer.stop_ticks - offer.entry_ticks
    if offer.direction * ahead <= 0 or offer.direction * behind >= 0:
        return Refusal(OfferRefused.BAD_LEVELS, "The target must lie ahead of the price, the stop behind it.")
    spot, seen_utc = place.spot, place.seen_utc
    if spot is None or seen_utc is None or place.now - seen_utc > READINGS_OLD_MAX * BUCKET_NS:
        old = READINGS_OLD_MAX * BUCKET_NS // SECOND
        return Refusal(OfferRefused.NO_READING, f"{place.ticker} has had no reading for {old} s; try again.")
    if abs(offer.entry_ticks - spot) > OFF_SHARE_MAX * spot:
        return Refusal(
            OfferRefused.OFF_THE_MARKET,
            f"The price {offer.entry_ticks / 100:.2f} is more than {OFF_SHARE_MAX:.0%} off {place.ticker} at"
            f" {spot / 100:.2f}; offer it at the market's price.",
        )
    if max(abs(ahead), abs(behind)) > LEVEL_SHARE_MAX * offer.entry_ticks:
        return Refusal(
            OfferRefused.BAD_LEVELS, f"The target and the stop must lie within {LEVEL_SHARE_MAX:.0%} of the price."
        )
    return None
