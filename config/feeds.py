"""Which groups go with which of the vendor's keys, by the settings."""

from __future__ import annotations

from typing import Final

from config.settings import Settings
from domain.indices import VOLATILITY_TERMS
from domain.signals.feed_rules import Packed, packed

_UNBOUNDED: Final = 1_000_000  # memberships, where nobody counts them


def packing(settings: Settings) -> Packed:
    """Return what each key of the settings carries; a source without keys carries everything at once."""
    feed = settings.feed
    if feed.source != "hubs":
        return packed(settings.tickers, settings.spot_only, feed.by_hub, _UNBOUNDED)
    priced = tuple(
        ticker for ticker in settings.spot_only if ticker not in VOLATILITY_TERMS
    )  # no group of the vendor's
    return packed(settings.tickers, priced, feed.hubs, feed.rules.memberships_max, keys_n=len(feed.keys))
