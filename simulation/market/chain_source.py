"""The simulated market's option chains, for a demo day whose gamma is computed from them."""

from __future__ import annotations

import numpy as np

from domain.options.chain_files import NoChain
from domain.options.chain_gamma import ChainQuotes
from domain.units import Utc
from gateways.chain.sources import ChainNow
from simulation.market.market import Market


class MarketChains:
    """A `ChainSource` over a market that nobody else steps."""

    comes_later = False

    def __init__(self, simulated: Market) -> None:
        self._market = simulated

    def read(self, ticker: str, at_utc: Utc) -> ChainNow | NoChain:
        """Return a ticker's chain at an instant; instants do not go back."""
        market = self._market
        if ticker not in market.tickers:
            return NoChain(f"The simulated market has no options of {ticker}.")
        market.step(max(at_utc, market.now_utc))
        chain, expiry_utc = market.chain(ticker)
        unquoted = np.full(len(expiry_utc), np.nan)
        quotes = ChainQuotes(
            symbol=ticker, at_utc=market.now_utc, spot=chain.spot, strikes=chain.ladder.strikes,
            is_call=chain.ladder.is_call, expiry_utc=expiry_utc, open_interest=chain.open_interest, volume=chain.volume,
            iv=chain.iv, bid=unquoted, ask=unquoted,
        )  # fmt: skip
        return ChainNow(quotes, chain.spot)
