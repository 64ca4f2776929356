"""The market that the simulated exchange stands on, as far as it must know it."""

from __future__ import annotations

from typing import Protocol

from domain.instruments import Contract, Quote, Spot
from domain.units import Ticks, Utc


class QuotedMarket(Protocol):
    """What the exchange needs of the simulated market."""

    now_utc: Utc
    open_utc: Utc
    close_utc: Utc

    def spot(self, ticker: str) -> Spot:
        """Return the last price of an underlying."""

    def contract(self, con_id: int) -> Contract | None:
        """Return an option contract; `None` if there is none of this id."""

    def quote(self, con_id: int) -> Quote | None:
        """Return the last quote of an option; `None` before the first."""

    def settlement_ticks(self, ticker: str) -> Ticks:
        """Return the settlement price of a ticker's expiring options."""
