"""Which groups go with which of the vendor's keys, by the settings."""

from __future__ import annotations

from typing import Final

from config.settings import Settings
from domain.signals.feed_rules import Packed, packed

_UNBOUNDED: Final = 1_000_000  # memberships, where nobody counts them


def packing(settings: Settings) -> Packed:
    """Return what each key of the settings carries; a source without keys carries everything at once."""
    feed = settings.feed
    if feed.source != "hubs":
        return packed(settings.tickers, settings.spot_only, feed.by_hub, _UNBOUNDED)
    return packed(
        settings.tickers, settings.spot_only, feed.hubs, feed.rules.memberships_max, keys_n=len(feed.keys)
    )  # fmt: skip
