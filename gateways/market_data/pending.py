"""What came and was not taken yet: the newest price of each ticker, and every minute bar, the first tickers first.

Under load a price that waits is replaced by the newer one of its ticker, and counted: what is late is worthless, and
memory stays bounded. A bar is replaced only by the same minute told again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from domain.market.bars import MinuteBar
from domain.units import Utc
from gateways.market_data.events import PriceTold

BARS_MAX: Final = 600  # of one ticker; a session has 390 minutes, the hours before and after as many again


class Pending:
    """Events that wait.

    Args:
        first: the tickers that are taken before all others, in their order.
    """

    def __init__(self, first: Sequence[str]) -> None:
        self._ranks = {ticker: n for n, ticker in enumerate(first)}
        self._prices: dict[str, PriceTold] = {}
        self._bars: dict[str, dict[Utc, MinuteBar]] = {}
        self.conflated: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._prices or self._bars)

    def put(self, event: PriceTold | MinuteBar) -> None:
        """Have an event wait; of two prices of a ticker the one of the later instant does."""
        if isinstance(event, MinuteBar):
            bars = self._bars.setdefault(event.ticker, {})
            bars[event.begin_utc] = event
            if len(bars) > BARS_MAX:
                del bars[min(bars)]
                self.dropped[event.ticker] += 1
            return
        waiting = self._prices.get(event.ticker)
        if waiting is not None:
            self.conflated[event.ticker] += 1
        if waiting is None or event.at_utc >= waiting.at_utc:
            self._prices[event.ticker] = event

    def take(self, tickers_max: int) -> list[PriceTold | MinuteBar]:
        """Return what waits of so many tickers: those named first in their order, then the others as they came."""
        waiting = dict.fromkeys((*self._prices, *self._bars))
        order = sorted(waiting, key=lambda ticker: self._ranks.get(ticker, len(self._ranks)))
        taken: list[PriceTold | MinuteBar] = []
        for ticker in order[:tickers_max]:
            bars = self._bars.pop(ticker, {})
            taken += (bars[begin_utc] for begin_utc in sorted(bars))
            price = self._prices.pop(ticker, None)
            if price is not None:
                taken.append(price)
        return taken
