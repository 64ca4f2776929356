"""A market that shows what was recorded, and nothing before it was known; what the in-process ports ask of a market."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import date
from typing import Final

from domain.instants import MS, session_of
from domain.instruments import Contract, DataType, Greeks, Quote, Spot
from domain.session.calendar import TradingDay
from domain.units import Ticks, Utc
from simulation.backtest.recorded import DATA_TYPES, UNDERLYING_FROM, Prices, RecordedDay

_NO_PRICES: Final[Prices] = ([], [])


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
        self._ticker_of = {contract.con_id: contract.ticker for contract in day.contracts}
        self._prices_now: dict[str, Spot | None] = {}  # of this instant, as they are asked for
        # Which look at a contract, and which price of an underlying, was known last: the clock never goes back.
        self._quote_places: dict[int, int] = {}
        self._price_places: dict[str, int] = {}
        self._by_ticker: dict[str, tuple[Contract, ...]] = {}
        for contract in day.contracts:
            self._by_ticker[contract.ticker] = (*self._by_ticker.get(contract.ticker, ()), contract)
        self._tickers = tuple(sorted({*day.prices, *self._by_ticker}))
        # Fixed before any leg settles: two legs of one root and expiry can never settle at two prices.
        self._settlement = {ticker: self._last_price(ticker, self.close_utc) for ticker in self._tickers}

    def step(self, to_utc: Utc) -> None:
        """Move the market's clock; never back."""
        if to_utc > self.now_utc:
            self.now_utc = to_utc
            self._prices_now.clear()

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
        return next(iter(self.quotes((con_id,))), None)

    def quotes(self, con_ids: Iterable[int]) -> tuple[Quote, ...]:
        """Return `quote` of each contract that has one: tens of thousands of them are what a day costs."""
        now, stale_ns, columns, ticker_of = self.now_utc, self._stale_ns, self._day.columns, self._ticker_of
        spots: dict[str, Ticks | None] = {}
        places = self._quote_places
        found = []
        for con_id in con_ids:
            column = columns.get(con_id)
            if column is None:
                continue
            at, looked_utc = places.get(con_id, -1), column.at_utc
            last = len(looked_utc) - 1
            while at < last and looked_utc[at + 1] <= now:
                at += 1
            if at < 0:
                continue
            places[con_id] = at
            tick_utc, bid, ask = column.quote_utc[at], column.bid[at], column.ask[at]
            ivs, deltas, gammas, thetas, vegas = column.greeks
            iv, delta, ticker, greeks = ivs[at], deltas[at], ticker_of[con_id], None
            if ticker not in spots:
                price = self.price(ticker)
                spots[ticker] = None if price is None else price.price_ticks
            spot_ticks = spots[ticker]
            if spot_ticks is not None and iv == iv and delta == delta:  # noqa: PLR0124 - NaN is missing
                greeks = Greeks(iv, delta, gammas[at], thetas[at], vegas[at], spot_ticks, now)
            found.append(
                Quote(
                    con_id, None if bid < 0 else bid, None if ask < 0 else ask, column.bid_size[at],
                    column.ask_size[at], now if now - tick_utc <= stale_ns else tick_utc,
                    DATA_TYPES.get(column.data_types[at], DataType.UNKNOWN), None, greeks,
                )
            )  # fmt: skip
        return tuple(found)

    def ticked_utc(self, con_id: int) -> Utc:
        """Return the instant of the last tick known of a contract; 0 before the first."""
        column = self._day.columns.get(con_id)
        at = -1 if column is None else bisect_right(column.at_utc, self.now_utc) - 1
        return Utc(0) if column is None or at < 0 else column.quote_utc[at]

    def stands(self, quote: Quote) -> bool:
        """Return whether a quote that this market shows now is within its limit of age."""
        return self.now_utc - quote.at_utc <= self._stale_ns

    def price(self, ticker: str) -> Spot | None:
        """Return the last price known of an underlying; `None` before the first."""
        known = self._prices_now
        if ticker not in known:
            known[ticker] = next(iter(self.spots((ticker,))), None)
        return known[ticker]

    def spots(self, tickers: Iterable[str]) -> tuple[Spot, ...]:
        """Return `price` of each underlying that has one: hundreds of thousands of them are a day of many tickers."""
        now, stale_ns, found = self.now_utc, self._stale_ns, list[Spot]()
        known, places = self._prices_now, self._price_places
        for ticker in tickers:
            instants, prices = self._day.prices.get(ticker, _NO_PRICES)
            at = places.get(ticker, -1)
            last = len(instants) - 1
            while at < last and instants[at + 1] <= now:
                at += 1
            if at >= 0:
                places[ticker] = at
                tick_utc = instants[at]
                spot = Spot(ticker, Ticks(prices[at]), now if now - tick_utc <= stale_ns else Utc(tick_utc))
                known[ticker] = spot
                found.append(spot)
        return tuple(found)

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
