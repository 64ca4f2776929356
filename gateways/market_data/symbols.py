"""The provider's symbols: an index is `I:SPX`, a share or fund its plain ticker; each kind has a stream of its own."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from domain.indices import INDICES

INDEX_PREFIX: Final = "I:"


class Cluster(StrEnum):
    """The streams of the provider that are used, by the last part of their address."""

    STOCKS = "stocks"
    INDICES = "indices"


def symbol_of(ticker: str) -> str:
    """Return the provider's symbol of a ticker."""
    return INDEX_PREFIX + ticker if ticker in INDICES else ticker


def ticker_of(symbol: str) -> str:
    """Return our ticker of a provider's symbol."""
    return symbol.removeprefix(INDEX_PREFIX)


def cluster_of(ticker: str) -> Cluster:
    """Return the stream that tells of a ticker."""
    return Cluster.INDICES if ticker in INDICES else Cluster.STOCKS
