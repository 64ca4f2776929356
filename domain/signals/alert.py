"""An alert: what was found, where and when. Its key is a function of what it names, so a repeated find is the same one.

Format of the id: `session-source-ticker-bucket-kind-version`, the bucket as New York's `HHMMSS` of its start.
"""

from __future__ import annotations

import re
from datetime import date, time
from functools import lru_cache
from typing import Final

import msgspec

from domain.instants import at_exchange, exchange_clock, session_of
from domain.units import Ticks, Utc

UP: Final = 1
DOWN: Final = -1

_ALERT = re.compile(
    r"(?P<session>\d{8})-(?P<source>[^-]+)-(?P<ticker>.+)-(?P<bucket>\d{6})-(?P<kind>[^-]+)-(?P<version>\d+)"
)


class AlertKey(msgspec.Struct, frozen=True, order=True):
    """What identifies an alert; `bucket_utc` is the start of the bucket that showed it."""

    source: str
    ticker: str
    kind: str
    version: int
    bucket_utc: Utc

    @property
    def session(self) -> date:
        """The exchange date of the bucket."""
        return session_of(self.bucket_utc)

    @property
    def alert_id(self) -> str:
        """The key as text.

        Raises:
            ValueError: `source` or `kind` is empty or holds a hyphen, so the text could not be read back.
        """
        return _alert_id(self)

    @classmethod
    def parse(cls, text: str) -> AlertKey:
        """Read an alert id back.

        Raises:
            ValueError: not an alert id.
        """
        match = _ALERT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not an alert id (session-source-ticker-bucket-kind-version)")
        clock = match["bucket"]
        bucket = time(int(clock[:2]), int(clock[2:4]), int(clock[4:]))
        bucket_utc = at_exchange(date.fromisoformat(match["session"]), bucket)
        return cls(match["source"], match["ticker"], match["kind"], int(match["version"]), bucket_utc)


@lru_cache(maxsize=4096)  # asked for many times on an alert's way, and the local clock is dear
def _alert_id(key: AlertKey) -> str:
    if not key.source or not key.kind or "-" in key.source or "-" in key.kind:
        raise ValueError(f"source {key.source!r} and kind {key.kind!r} must be words without a hyphen")
    clock = exchange_clock(key.bucket_utc).replace(":", "")
    return f"{key.session:%Y%m%d}-{key.source}-{key.ticker}-{clock}-{key.kind}-{key.version}"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as it is recorded and followed: prices in ticks, `direction` UP or DOWN; a shadow is never traded."""

    key: AlertKey
    direction: int
    entry_ticks: Ticks
    target_ticks: Ticks
    stop_ticks: Ticks
    horizon_ms: int
    is_shadow: bool
    raised_utc: Utc
