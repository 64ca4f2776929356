"""The day tape: a market whose quotes are columns, a whole day of a contract at once, so that crossings are searched.

A column is made when its contract is first searched, or looked at in the third of its quarters of an hour (some 20 ms;
before that a quarter is made alone), and kept with its market; `market_for` keeps the last markets, so that the days of
one market seed share them. It shows what `Market` shows (a test holds them together) but for volume, gamma, theta and
vega: nothing that trades reads the last three, and a volume that is not known passes its gate.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.instants import SECOND
from domain.instruments import DataType, Greeks, Quote, Side, Spot
from domain.options import black_scholes
from domain.options.black_scholes import Floats
from domain.options.tick_rules import rule_of
from domain.session import calendar
from domain.units import Ticks, Utc
from simulation.market.chain import SECONDS_PER_YEAR, OptionChain
from simulation.market.market import Market
from simulation.market.quotes import marks_of, rhythm, shown_prices, shown_sizes
from simulation.market.style import ANCHORED, Nature

MARKETS_KEPT = 3
BLOCK_S = 900
BLOCKS_MAX = 2  # of a contract that is looked at in more of them the whole day is made

Longs = NDArray[np.int64]
Ints = NDArray[np.int32]
Sizes = NDArray[np.int16]


class Column(NamedTuple):
    """One contract's quotes that stand at each second of the grid; `at_s` is the second at which each was made."""

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
        self._blocks: dict[int, dict[int, Column]] = {}
        # What was looked at last: its first second and the one behind its last, then views of its columns. A value of a
        # view is a Python number at once; one of an array costs three times as much.
        self._views: dict[int, tuple[Any, ...]] = {}
        self._spot_ticks: Any = np.rint(np.asarray(options.spots) * 100.0).astype(np.int64).data
        self._start_utc, self._last_s = options.path.start_utc, options.path.close_s  # the last second of a column

    def column(self, con_id: int) -> Column:
        """Return a contract's whole day.

        Raises:
            KeyError: not a contract of this chain.
        """
        found = self._columns.get(con_id)
        if found is None:
            found = self._columns[con_id] = self._made(self._options.row_of[con_id], 0, self._last_s + 1)
            self._blocks.pop(con_id, None)
        return found

    @property
    def con_ids(self) -> Iterable[int]:
        """The contracts of this chain."""
        return self._options.row_of

    def quote(self, second: int, con_id: int) -> Quote:
        """Return the quote of one contract at a second of the grid."""
        second = second if second <= self._last_s else self._last_s
        views = self._views.get(con_id)
        if views is None or not views[0] <= second < views[1]:
            views = self._views[con_id] = self._views_at(con_id, second)
        n = second - views[0]
        at = views[2][n]
        last = self._last.get(con_id)
        if last is not None and last[0] == at:
            return last[1]
        _, _, _, bid, ask, bid_size, ask_size, iv, delta = views
        at_utc = self._start_utc + at * SECOND
        greeks = Greeks(iv[n], delta[n], 0.0, 0.0, 0.0, self._spot_ticks[at], at_utc)
        quote = Quote(con_id, bid[n], ask[n], bid_size[n], ask_size[n], at_utc, DataType.LIVE, None, greeks)
        self._last[con_id] = at, quote
        return quote

    def _views_at(self, con_id: int, second: int) -> tuple[Any, ...]:
        """Return what is made of a contract around a second: its whole day, or as little as is enough."""
        first_s = second - second % BLOCK_S
        column = self._columns.get(con_id)
        if column is None:
            blocks = self._blocks.setdefault(con_id, {})
            column = blocks.get(first_s)
            if column is None and len(blocks) < BLOCKS_MAX:
                end_s = min(first_s + BLOCK_S, self._last_s + 1)
                column = blocks[first_s] = self._made(self._options.row_of[con_id], first_s, end_s)
            if column is not None:
                return first_s, first_s + len(column.at_s), *(values.data for values in column)
            column = self.column(con_id)
        return 0, len(column.at_s), *(values.data for values in column)

    def is_recorded(self, second: int, con_id: int) -> bool:
        """Return that nothing on a tape is a recorded price."""
        return False

    def _made(self, row: int, first_s: int, end_s: int) -> Column:
        """Return a row's quotes at these seconds; each is reckoned by itself, so that a part is that of the whole."""
        options = self._options
        period, phase = rhythm(options, np.array([row]))
        marks = marks_of(np.array([row]))
        seconds = np.arange(first_s, end_s, dtype=np.int64)
        at = np.maximum(seconds - (seconds + phase) % period, 0)
        spot = options.spots[at]
        left = np.maximum(options.expiry_s[row] - at, 0).astype(np.float64)
        iv = options.surface(np.full(len(at), row), at, spot, left)
        strike, is_call = float(options.strikes[row]), bool(options.is_call[row])
        model = black_scholes.shown(spot, strike, left / SECONDS_PER_YEAR, iv, is_call)
        bid, ask = shown_prices(self._rule, options, model, at, marks, self._salt)
        bid_size, ask_size = (shown_sizes(options, at, marks, self._salt, side) for side in (1, 2))
        bid_size = np.where(bid > 0.0, bid_size, 0.0)
        return Column(
            at.astype(np.int32), bid.astype(np.int32), ask.astype(np.int32), bid_size.astype(np.int16),
            ask_size.astype(np.int16), iv, model.delta,
        )  # fmt: skip


class TapeMarket(Market):
    """A market that stands on columns; it may be stepped back, so that many days of one seed share it."""

    def __init__(
        self, seed: int, session: date, tickers: tuple[str, ...], *, is_half_day: bool = False,
        nature: Nature = ANCHORED,
    ) -> None:  # fmt: skip
        super().__init__(seed, session, tickers, is_half_day=is_half_day, nature=nature)
        self._boards = {ticker: TapeBoard(seed, listing.options) for ticker, listing in self._listings.items()}
        self._board_of = {con_id: board for board in self._boards.values() for con_id in board.con_ids}
        self._spots = {
            ticker: np.rint(np.asarray(usd) * 100.0).astype(np.int64) for ticker, usd in self.path.spots.items()
        }
        self._spot_views: dict[str, Any] = {ticker: ticks.data for ticker, ticks in self._spots.items()}

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
        return self._board_of[con_id].column(con_id)

    def spot_column(self, ticker: str) -> Longs:
        """Return the prices of an underlying by second of the grid, in ticks."""
        return self._spots[ticker]

    def spot(self, ticker: str) -> Spot:
        """Return the last price of an underlying or of the VIX.

        Raises:
            KeyError: the market has no such ticker.
        """
        return Spot(ticker, self._spot_views[ticker][self._second], self.path.start_utc + self._second * SECOND)

    def quote(self, con_id: int) -> Quote:
        """Return the quote of an option or an underlying at the second in hand.

        Raises:
            KeyError: not a listed contract.
        """
        board = self._board_of.get(con_id)
        return super().quote(con_id) if board is None else board.quote(self._second, con_id)

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
