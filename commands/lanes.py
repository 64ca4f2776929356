"""The lanes of the settings and what each looks for, the spread's among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from config.settings import Settings
from domain.signals import spread

LANE_OF_SPREAD: Final = f"{spread.SOURCE}:{spread.PAIR}"


class Looked(msgspec.Struct, frozen=True):
    """What a lane looks for: a kind of alert of its ticker, by the version of the settings."""

    source: str
    ticker: str
    kind: str
    version: int

    @property
    def lane(self) -> str:
        """The lane, as people name it."""
        return f"{self.source}:{self.ticker}"

    def is_of(self, row: Mapping[str, Any]) -> bool:
        """Return whether an attempt or an alert on record is of it, whatever its version."""
        return (row["source"], row["ticker"], row["kind"]) == (self.source, self.ticker, self.kind)


def looked_for(settings: Settings) -> list[Looked]:
    """Return what all lanes of the settings look for, the spread's last, where it is on."""
    found = [
        Looked(source, ticker, kind, settings.alert_rules[kind].version)
        for source, tickers in settings.lanes.items() for ticker in tickers for kind in settings.alerts[source]
    ]  # fmt: skip
    if settings.spread.is_on:
        found.append(Looked(spread.SOURCE, spread.PAIR, spread.kind_of(settings.spread), spread.VERSION))
    return found


def spreads_on_record(rows: Iterable[Mapping[str, Any]], known: Iterable[Looked]) -> list[Looked]:
    """Return the kinds of spread that attempts or alerts are of and that are not known: the settings have changed."""
    found = {row["kind"] for row in rows if row["source"] == spread.SOURCE} - {one.kind for one in known}
    return [Looked(spread.SOURCE, spread.PAIR, kind, spread.VERSION) for kind in sorted(found)]


def is_about(ticker: str, asked: str | None) -> bool:
    """Return whether what stands under a ticker is what is asked about; the spread's pair is of both of its tickers."""
    return asked in (None, ticker) or (ticker == spread.PAIR and asked in ticker.split("-"))
