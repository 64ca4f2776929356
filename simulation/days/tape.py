"""The day tape: a market whose quotes are columns, a whole day of a contract at once, so that crossings are searched.

A column is made when its contract is first asked for (some 20 ms) and kept with its market; `market_for` keeps the last
markets, so that the days of one market seed share them. It shows what `Market` shows (a test holds them together) but
for volume, gamma, theta and vega: nothing that trades reads the last three, and a volume that is not known passes its
gate.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.instants import SECOND
from domain.instruments import DataType, Greeks, Quote, Side, Spot
from domain.options import black_scholes
from domain.options.black_scholes import Floats
from domain.options.tick_rules import rule_of
from domain.session import calendar
from domain.units import Qty, Ticks, Utc
from simulation.market.chain import SECONDS_PER_YEAR, OptionChain
from simulation.market.market import Market
from simulation.market.quotes import marks_of, rhythm, shown_prices, shown_sizes
from simulation.market.style import ANCHORED, Nature
from simulation.market.tickers import ticker_of

MARKETS_KEPT = 3

Longs = NDArray[np.int64]
Ints = NDArray[np.int32]
Sizes = NDArray[np.int16]


class Column(NamedTuple):
    """One contract's quotes by second of the grid; `at_s` is the second at which the one that stands was made."""

    at_s: Ints
    bid: Ints
    ask: Ints
    bid_size: Sizes
    ask_size: Sizes
    iv: Floats
    delta: Floats


class TapeBoard:
    """The quotes of one chain, column by column; takes the place of a market's `QuoteBoard`."""

    def __init__(self, seed: int, options: OptionChain) -> None:
        self._options = options
        self._salt = 16 * seed + options.number
        self._rule = rule_of(options.contracts[0].trading_class)
        self._columns: dict[int, Column] = {}
        self._last: dict[int, tuple[int, Quote]] = {}
        # A value of a view is a Python number at once; one of an array costs three times as much.
        self._views: dict[int, tuple[memoryview, ...]] = {}
        self._spot_ticks = np.rint(np.asarray(options.spots) * 100.0).astype(np.int64).data

    def column(self, con_id: int) -> Column:
        """Return a contract's whole day.

        Raises:
            KeyError: not a contract of this chain.
        """
        found = self._columns.get(con_id)
        if found is None:
            found = self._columns[con_id] = self._compute(self._options.row_of[con_id])
        return found

    def has(self, con_id: int) -> bool:
        """Return whether a contract is one of this chain."""
        return con_id in self._options.row_of

    def quote(self, second: int, con_id: int) -> Quote:
        """Return the quote of one contract at a second of the grid."""
        views = self._views.get(con_id)
        if views is None:
            views = self._views[con_id] = tuple(values.data for values in self.column(con_id))
        at_s, bid, ask, bid_size, ask_size, iv, delta = views
        at = at_s[min(second, len(at_s) - 1)]
        last = self._last.get(con_id)
        if last is not None and last[0] == at:
            return last[1]
        at_utc = self._options.path.start_utc + at * SECOND
        greeks = Greeks(iv[at], delta[at], 0.0, 0.0, 0.0, Ticks(self._spot_ticks[at]), at_utc)
        quote = Quote(
            con_id, Ticks(bid[at]), Ticks(ask[at]), Qty(bid_size[at]), Qty(ask_size[at]), at_utc, DataType.LIVE, None,
            greeks,
        )  # fmt: skip
        self._last[con_id] = at, quote
        return quote

    def is_recorded(self, second: int, con_id: int) -> bool:
        """Return that nothing on a tape is a recorded price."""
        return False

    def _compute(self, row: int) -> Column:
        options = self._options
        path = options.path
        period, phase = rhythm(options, np.array([row]))
        marks = marks_of(np.array([row]))
        seconds = np.arange(path.close_s + 1, dtype=np.int64)
        at = np.maximum(seconds - (seconds + phase) % period, 0)
        spot = options.spots[seconds]
        left = np.maximum(options.expiry_s[row] - seconds, 0).astype(np.float64)
        rows = np.full(len(seconds), row)
        iv = options.surface(rows, seconds, spot, left)
        strike, is_call = options.strikes[row], bool(options.is_call[row])
        model = black_scholes.values(spot, strike, left / SECONDS_PER_YEAR, iv, is_call)
        bid, ask = shown_prices(self._rule, options, model, seconds, marks, self._salt)
        bid_size, ask_size = (shown_sizes(options, seconds, marks, self._salt, side) for side in (1, 2))
        bid_size = np.where(bid > 0.0, bid_size, 0.0)
        bids, asks = bid[at].astype(np.int32), ask[at].astype(np.int32)
        bid_sizes, ask_sizes = bid_size[at].astype(np.int16), ask_size[at].astype(np.int16)
        return Column(at.astype(np.int32), bids, asks, bid_sizes, ask_sizes, iv, model.delta)


class TapeMarket(Market):
    """A market that stands on columns; it may be stepped back, so that many days of one seed share it."""

    def __init__(
        self, seed: int, session: date, tickers: tuple[str, ...], *, is_half_day: bool = False,
        nature: Nature = ANCHORED,
    ) -> None:  # fmt: skip
        super().__init__(seed, session, tickers, is_half_day=is_half_day, nature=nature)
        self._boards = {ticker: TapeBoard(seed, listing.options) for ticker, listing in self._listings.items()}
        self._spots = {
            ticker: np.rint(np.asarray(usd) * 100.0).astype(np.int64) for ticker, usd in self.path.spots.items()
        }
        self._spot_views = {ticker: ticks.data for ticker, ticks in self._spots.items()}

    def rewind(self) -> None:
        """Stand at the grid's first second again."""
        self.now_utc = self.path.start_utc
        self._second = 0

    @property
    def second(self) -> int:
        """The second of the grid in hand."""
        return self._second

    def second_of(self, instant_utc: Utc) -> int:
        """Return the second of the grid at an instant, within the grid."""
        return int(min(max((instant_utc - self.path.start_utc) // SECOND, 0), self.path.end_s))

    def instant_of(self, second: int) -> Utc:
        """Return the instant of a second of the grid."""
        return self.path.start_utc + second * SECOND

    def column(self, con_id: int) -> Column:
        """Return a contract's whole day.

        Raises:
            KeyError: not a listed contract.
        """
        return self._boards[ticker_of(con_id) or ""].column(con_id)

    def spot_column(self, ticker: str) -> Longs:
        """Return the prices of an underlying by second of the grid, in ticks."""
        return self._spots[ticker]

    def spot(self, ticker: str) -> Spot:
        """Return the last price of an underlying or of the VIX.

        Raises:
            KeyError: the market has no such ticker.
        """
        price_ticks = Ticks(self._spot_views[ticker][self._second])
        return Spot(ticker, price_ticks, self.path.start_utc + self._second * SECOND)

    def quote(self, con_id: int) -> Quote:
        """Return the quote of an option or an underlying at the second in hand.

        Raises:
            KeyError: not a listed contract.
        """
        board = self._boards.get(ticker_of(con_id) or "")
        if board is None or not board.has(con_id):
            return super().quote(con_id)
        return board.quote(self._second, con_id)

    def crossing(self, con_id: int, side: Side, limit_ticks: Ticks | None, from_s: int) -> int | None:
        """Return the first second, from `from_s` on, at which an order of this limit could trade; `None`: never.

        An order without a limit trades at the first quote there is.
        """
        column = self.column(con_id)
        touch = (column.ask if side is Side.BUY else column.bid)[from_s:]
        if limit_ticks is None:
            hits = touch > 0
        elif side is Side.BUY:
            hits = (touch > 0) & (touch <= limit_ticks)
        else:
            hits = touch >= max(limit_ticks, 1)
        return first_true(hits, from_s)

    def touching(self, con_id: int, side: Side, stop_ticks: Ticks, from_s: int) -> int | None:
        """Return the first second, from `from_s` on, at which a stop of this side is triggered; `None`: never."""
        column = self.column(con_id)
        hits = column.ask[from_s:] >= stop_ticks if side is Side.BUY else column.bid[from_s:] <= stop_ticks
        return first_true(hits, from_s)

    def next_quote(self, con_id: int, from_s: int) -> int | None:
        """Return the first second, from `from_s` on, at which the contract is quoted anew; `None`: never."""
        return first_true(self.column(con_id).at_s[from_s:] >= from_s, from_s)


def first_true(hits: NDArray[np.bool_], offset: int) -> int | None:
    """Return where the first True stands, `offset` added; `None` where there is none."""
    if not len(hits):
        return None
    at = int(hits.argmax())
    return offset + at if hits[at] else None


@lru_cache(maxsize=MARKETS_KEPT)
def market_for(seed: int, session: date, tickers: tuple[str, ...], nature: Nature = ANCHORED) -> TapeMarket:
    """Return the market of a seed and session, from its first second on.

    Raises:
        ValueError: no trading on that date.
    """
    day = calendar.day(session)
    if day is None:
        raise ValueError(f"{session} is no session")
    return TapeMarket(seed, session, tickers, is_half_day=day.is_half, nature=nature)
