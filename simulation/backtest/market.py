"""A market that shows what was recorded, and nothing before it was known; what the in-process ports ask of a market."""

from __future__ import annotations

from bisect import bisect_right
from datetime import date

from domain.instants import MS, session_of
from domain.instruments import Contract, DataType, Greeks, Quote, Spot
from domain.session.calendar import TradingDay
from domain.units import Qty, Ticks, Utc
from simulation.backtest.recorded import UNDERLYING_FROM, Column, RecordedDay


class RecordedMarket:
    """One session as recorded.

    Args:
        day: what is stored.
        hours: the session.
        stale_ms: for which a quote or a price stands after its last tick; within it, it counts as ticking now.
    """

    def __init__(self, day: RecordedDay, hours: TradingDay, stale_ms: int) -> None:
        self.session: date = hours.session
        self.open_utc, self.close_utc = hours.open_utc, hours.close_utc
        self.now_utc = Utc(0)
        self.over_utc: Utc | None = None  # it ends with its session
        self._day = day
        self._stale_ns = stale_ms * MS
        self._contracts = {contract.con_id: contract for contract in day.contracts}
        self._by_ticker: dict[str, tuple[Contract, ...]] = {}
        for contract in day.contracts:
            self._by_ticker[contract.ticker] = (*self._by_ticker.get(contract.ticker, ()), contract)
        self._tickers = tuple(sorted({*day.prices, *self._by_ticker}))
        # Fixed before any leg settles: two legs of one root and expiry can never settle at two prices.
        self._settlement = {ticker: self._last_price(ticker, self.close_utc) for ticker in self._tickers}

    def step(self, to_utc: Utc) -> None:
        """Move the market's clock; never back."""
        self.now_utc = max(self.now_utc, to_utc)

    def contracts(self, ticker: str) -> tuple[Contract, ...]:
        """Return the contracts of a ticker that expire this session and were ever quoted in it."""
        return self._by_ticker.get(ticker, ())

    def contract(self, con_id: int) -> Contract | None:
        """Return a contract by its id; `None` where nothing was recorded of it."""
        return self._contracts.get(con_id)

    def underlying_con_id(self, ticker: str) -> int:
        """Return an id for an underlying.

        Raises:
            KeyError: nothing was recorded of it.
        """
        if ticker not in self._tickers:
            raise KeyError(ticker)
        return UNDERLYING_FROM + self._tickers.index(ticker)

    def quote(self, con_id: int) -> Quote | None:
        """Return the last quote known of a contract; `None` before the first.

        While it stands its instant is the present one, after that it is the instant of its last tick.
        """
        column = self._day.columns.get(con_id)
        at = -1 if column is None else bisect_right(column.at_utc, self.now_utc) - 1
        if column is None or at < 0:
            return None
        quote_utc, bid, ask, bid_size, ask_size = (values[at] for values in column.numbers)
        return Quote(
            con_id, _side(bid), _side(ask), Qty(bid_size), Qty(ask_size), self._shown_utc(quote_utc), DataType.LIVE,
            None, self._greeks(column, at, con_id),
        )  # fmt: skip

    def ticked_utc(self, con_id: int) -> Utc:
        """Return the instant of the last tick known of a contract; 0 before the first."""
        column = self._day.columns.get(con_id)
        at = -1 if column is None else bisect_right(column.at_utc, self.now_utc) - 1
        return Utc(0) if column is None or at < 0 else Utc(column.numbers[0][at])

    def stands(self, quote: Quote) -> bool:
        """Return whether a quote that this market shows now is within its limit of age."""
        return self.now_utc - quote.at_utc <= self._stale_ns

    def price(self, ticker: str) -> Spot | None:
        """Return the last price known of an underlying; `None` before the first."""
        instants, prices = self._day.prices.get(ticker, ([], []))
        at = bisect_right(instants, self.now_utc) - 1
        return None if at < 0 else Spot(ticker, Ticks(prices[at]), self._shown_utc(instants[at]))

    def spot(self, ticker: str) -> Spot:
        """Return the last price known of an underlying.

        Raises:
            KeyError: there is none yet.
        """
        found = self.price(ticker)
        if found is None:
            raise KeyError(ticker)
        return found

    def settlement_ticks(self, ticker: str) -> Ticks:
        """Return the one price that everything of a root settles at.

        Raises:
            ValueError: the session is not over, or no price of it was recorded.
        """
        found = self._settlement.get(ticker)
        if self.now_utc < self.close_utc or found is None:
            raise ValueError(f"{ticker} has no settlement price at {session_of(self.now_utc)}")
        return found

    def _last_price(self, ticker: str, until_utc: Utc) -> Ticks | None:
        instants, prices = self._day.prices.get(ticker, ([], []))
        at = bisect_right(instants, until_utc) - 1
        return None if at < 0 else Ticks(prices[at])

    def _shown_utc(self, tick_utc: int) -> Utc:
        return self.now_utc if self.now_utc - tick_utc <= self._stale_ns else Utc(tick_utc)

    def _greeks(self, column: Column, at: int, con_id: int) -> Greeks | None:
        iv, delta, gamma, theta, vega = column.greeks[at]
        spot = self.price(self._contracts[con_id].ticker)
        if iv is None or delta is None or spot is None:
            return None
        return Greeks(iv, delta, gamma or 0.0, theta or 0.0, vega or 0.0, spot.price_ticks, self.now_utc)


def _side(ticks: int) -> Ticks | None:
    return None if ticks < 0 else Ticks(ticks)
