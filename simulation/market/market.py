"""The simulated market: one deterministic day, stepped by its users, read by both servers and the exchange.

All is a function of (seed, session, tickers, regime) and the second of the grid that `step` has reached: how it was
stepped changes nothing. Two processes with the same arguments agree on every quote and profile.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, time

import numpy as np
from numpy.typing import NDArray

from domain.instants import MINUTE, SECOND, at_exchange, session_of
from domain.instruments import Contract, Quote, Spot
from domain.options.gamma import Chain
from domain.options.profile import Profile
from domain.session import calendar
from domain.session.calendar import CLOSE, EARLY_CLOSE, OPEN, next_midnight
from domain.signals.feed_rules import TODAY
from domain.units import Qty, Ticks, Utc
from simulation.market.chain import OptionChain
from simulation.market.flow import Flow
from simulation.market.honest import honest_path
from simulation.market.minute_bars import RecordedDay, provenance_of
from simulation.market.path import REGIMES, PricePath, simulated_path
from simulation.market.profiles import CATEGORIES, ProfileBoard
from simulation.market.quotes import QuoteBoard
from simulation.market.style import ANCHORED, Kind, Nature
from simulation.market.tape import Tape, path_and_tape
from simulation.market.tickers import (
    DEFAULT_TICKERS,
    UNDERLYINGS,
    ticker_of,
    underlying_con_id,
)

__all__ = ["CATEGORIES", "DEFAULT_TICKERS", "REGIMES", "Market"]

UNDERLYING_SIZE = Qty(400)  # shown on both sides of a stock


class _Listing:
    """What the market keeps of one ticker with options."""

    def __init__(
        self,
        seed: int,
        ticker: str,
        path: PricePath,
        expiries: tuple[tuple[date, Utc], ...],
        snapshot_s: int,
        tape: Tape | None,
    ) -> None:
        self.options = OptionChain(seed, ticker, path, expiries)
        self.flow = Flow(seed, self.options)
        self.quotes = QuoteBoard(seed, self.options, self.flow, tape)
        self.profiles = ProfileBoard(self.options, self.flow, snapshot_s)


class Market:
    """One simulated session.

    Args:
        seed: any integer from 0; the same seed is the same day.
        session: New York's date of the day; its expiry is the 0DTE.
        tickers: those with options and profiles (the VIX is always quoted).
        regime: one of `REGIMES` for the whole day; `None` lets the seed choose a sequence.
        is_half_day: closes at 13:00 New York though the calendar has a whole day; a half day of the calendar always is.
        next_expiry: the following expiry; `None` takes the next session.
        closed_dates: closures beside those of the calendar.
        snapshot_s: seconds between the profiles that a server publishes; order flow's differences are taken over it.
        path: prices to follow in place of drawn ones.
        tape: recorded quotes of the index's options to show in place of the model's (see `from_recorded`).
        rolls: at midnight before the exchange's next session that one begins, with its own path and expiries; until
            half an hour before its open the market stands at its first prices.
        nature: what kind of market is drawn.

    Raises:
        ValueError: negative seed, unknown ticker, unknown regime, a regime for an honest market.
    """

    def __init__(
        self,
        seed: int,
        session: date,
        tickers: tuple[str, ...] = DEFAULT_TICKERS,
        regime: str | None = None,
        *,
        is_half_day: bool = False,
        next_expiry: date | None = None,
        snapshot_s: int = 1,
        path: PricePath | None = None,
        tape: Tape | None = None,
        rolls: bool = False,
        closed_dates: Collection[date] = (),
        nature: Nature = ANCHORED,
    ) -> None:
        unknown = [t for t in tickers if t not in DEFAULT_TICKERS]
        if seed < 0 or unknown:
            raise ValueError(f"seed {seed} must be ≥ 0 and tickers {unknown} must be simulated")
        self.seed, self.tickers = seed, tickers
        self._regime, self._snapshot_s = regime, snapshot_s
        self._is_index_recorded = tape is not None
        self._nature = nature
        self.provenance = {"everything": f"synthetic, {nature}, seed {seed}"}
        self._over_utc = next_midnight(session) if rolls else None
        self._closed_dates = closed_dates
        self._official_usd: dict[str, float] = {}  # closes that were published, where they are known
        self._silent_utc: tuple[tuple[Utc, Utc], ...] = ()  # stretches in which no price of the index was recorded
        self._begin(session, EARLY_CLOSE if is_half_day else _close_of(session), next_expiry, path, tape)

    def _begin(
        self, session: date, close: time, next_expiry: date | None = None, path: PricePath | None = None,
        tape: Tape | None = None,
    ) -> None:  # fmt: skip
        """Draw a session, and stand at the start of its path."""
        seed, self.session = self.seed, session
        self.open_utc, self.close_utc = at_exchange(session, OPEN), at_exchange(session, close)
        self.path = path or self._drawn(session)
        self.refill_ns = self.path.style.holds_s * SECOND if self.path.style.holds_s > 1 else 0
        following = next_expiry or calendar.next_session(session, self._closed_dates).session
        expiries = ((session, self.close_utc), (following, at_exchange(following, _close_of(following))))
        self._listings = {
            ticker: _Listing(seed, ticker, self.path, expiries, self._snapshot_s, tape if ticker == "SPX" else None)
            for ticker in self.tickers
        }
        self.now_utc = self.path.start_utc
        self._second = 0

    def _drawn(self, session: date) -> PricePath:
        if self._nature.kind is Kind.ANCHORED:
            return simulated_path(self.seed, session, self.open_utc, self.close_utc, self._regime)
        if self._regime is not None:
            raise ValueError("an honest market has no regimes")
        return honest_path(self.seed, session, (self.open_utc, self.close_utc), self._nature.feedback)

    @classmethod
    def from_recorded(
        cls,
        recorded: RecordedDay,
        seed: int,
        tickers: tuple[str, ...] = DEFAULT_TICKERS,
        *,
        snapshot_s: int = 1,
    ) -> Market:
        """Return a market that follows a recorded day: its closes of the index and its quotes with their instants.

        All else is synthetic: the index between two closes, the other tickers and the VIX (scaled to the day), open
        interest, volume and flow, greeks, and the quotes of all other contracts, at a level of implied volatility that
        fits the recorded ones. The next expiry is the earliest recorded one after the session; without any, the next
        session's.

        Raises:
            ValueError: negative seed, unknown ticker.
        """
        session = recorded.session
        hours_utc = recorded.hours.open_utc, recorded.hours.close_utc
        later = [expiry for expiry, _, _ in recorded.quotes if expiry > session]
        following = min(later, default=calendar.next_session(session).session)
        expiries = ((session, hours_utc[1]), (following, at_exchange(following, _close_of(following))))
        path, tape = path_and_tape(recorded, seed, hours_utc, expiries)
        market = cls(seed, session, tickers, next_expiry=following, snapshot_s=snapshot_s, path=path, tape=tape)
        shown = [c.label for con_id in tape.con_ids if (c := market.contract(con_id)) is not None]
        market.provenance = provenance_of(recorded, shown, seed)
        official_usd = recorded.official_close_usd
        market._official_usd = {} if official_usd is None else {"SPX": official_usd}
        market._silent_utc = tuple((at, Utc(at + minutes * MINUTE)) for at, minutes in recorded.holes)
        return market

    @property
    def over_utc(self) -> Utc | None:
        """When the present date is over, for a market that rolls; `None` for one that ends with its session."""
        return self._over_utc

    def step(self, to_utc: Utc) -> None:
        """Move the market's clock.

        Raises:
            ValueError: the instant lies before the clock.
        """
        if self._over_utc is not None and to_utc >= self._over_utc:
            self._roll(session_of(to_utc))
            to_utc = max(to_utc, self.now_utc)
        if to_utc < self.now_utc:
            raise ValueError(f"the market is at {self.now_utc} and cannot go back to {to_utc}")
        self.now_utc = to_utc
        self._second = min((to_utc - self.path.start_utc) // SECOND, self.path.end_s)

    def _roll(self, today: date) -> None:
        """Begin a date: its session, where it has one."""
        self._over_utc = next_midnight(today)
        if calendar.day(today, self._closed_dates) is not None:
            self._begin(today, _close_of(today))

    def spot(self, ticker: str) -> Spot:
        """Return the last price of an underlying or of the VIX; where none was recorded, as old as the last one.

        Raises:
            KeyError: the market has no such ticker.
        """
        price_ticks = Ticks(round(float(self.path.spots[ticker][self._second]) * 100.0))
        at_utc = Utc(self.path.start_utc + self._second * SECOND)
        if ticker == "SPX":
            at_utc = next((begin for begin, end in self._silent_utc if begin <= at_utc < end), at_utc)
        return Spot(ticker, price_ticks, at_utc)

    def contracts(self, ticker: str) -> tuple[Contract, ...]:
        """Return the option contracts of a ticker: today's and the next expiry, calls first, strikes ascending."""
        return self._listings[ticker].options.contracts

    def contract(self, con_id: int) -> Contract | None:
        """Return an option contract by its id; `None` when it is not listed (an underlying is none)."""
        listing = self._listings.get(ticker_of(con_id) or "")
        row = None if listing is None else listing.options.row_of.get(con_id)
        return None if listing is None or row is None else listing.options.contracts[row]

    def underlying_con_id(self, ticker: str) -> int:
        """Return the contract id of an underlying (VIX too).

        Raises:
            KeyError: the market has no such ticker.
        """
        return underlying_con_id(ticker)

    def quote(self, con_id: int) -> Quote:
        """Return the quote of an option or an underlying; an index has no bid and no ask.

        Raises:
            KeyError: not a listed contract.
        """
        ticker = ticker_of(con_id)
        if ticker is None:
            raise KeyError(con_id)
        if con_id == underlying_con_id(ticker):
            return self._underlying_quote(ticker, con_id)
        return self._listings[ticker].quotes.quote(self._second, con_id)

    def is_recorded(self, con_id: int) -> bool:
        """Return whether what is shown of an instrument now (an index's price, an option's bid and ask) is recorded.

        Raises:
            KeyError: not a listed contract.
        """
        ticker = ticker_of(con_id)
        if ticker is None:
            raise KeyError(con_id)
        if con_id == underlying_con_id(ticker):
            return ticker == "SPX" and self._is_index_recorded
        return self._listings[ticker].quotes.is_recorded(self._second, con_id)

    def profile(self, ticker: str, category: str) -> Profile:
        """Return the vendor's profile of a ticker; before the open without volume, after the close it stands still.

        Raises:
            KeyError: no such ticker. ValueError: no such category.
        """
        board = self._listings[ticker].profiles
        if not category.endswith(TODAY):
            return board.profile(self._second, category)
        nearest = board.profile(self._second, category.removesuffix(TODAY) + "_zero")
        return Profile(
            ticker, category, nearest.source_utc, nearest.spot, nearest.scalars, nearest.strikes, nearest.values,
            nearest.priors,
        )  # fmt: skip

    def chain(self, ticker: str) -> tuple[Chain, NDArray[np.int64]]:
        """Return a ticker's option chain (both expiries) with its volatilities, and the instant at which each row ends.

        Raises:
            KeyError: no such ticker.
        """
        listing = self._listings[ticker]
        return listing.profiles.chain(self._second), self.path.start_utc + listing.options.expiry_s * SECOND

    def nearest_chain(self, ticker: str) -> Chain:
        """Return the part of a ticker's option chain that expires today.

        Raises:
            KeyError: no such ticker.
        """
        return self._listings[ticker].profiles.chain(self._second, "zero")

    def made_of(self, ticker: str) -> tuple[OptionChain, Flow]:
        """Return the chain and the order flow of a ticker's session, for whoever computes all of it at once.

        Raises:
            KeyError: no such ticker.
        """
        listing = self._listings[ticker]
        return listing.options, listing.flow

    def settlement_ticks(self, ticker: str) -> Ticks:
        """Return the closing price that options settle to: the official one, where a record has it.

        Raises:
            ValueError: the session has not closed yet.
        """
        if self.now_utc < self.close_utc:
            raise ValueError(f"{ticker} has no settlement before the close")
        traded_usd = float(self.path.spots[ticker][self.path.close_s])
        return Ticks(round(self._official_usd.get(ticker, traded_usd) * 100.0))

    def _underlying_quote(self, ticker: str, con_id: int) -> Quote:
        spot = self.spot(ticker)
        if UNDERLYINGS[ticker].is_index:
            return Quote(con_id, None, None, Qty(0), Qty(0), spot.at_utc)
        return Quote(con_id, spot.price_ticks - 1, spot.price_ticks + 1, UNDERLYING_SIZE, UNDERLYING_SIZE, spot.at_utc)


def _close_of(session: date) -> time:
    """Return New York's time at which a date's session ends; a date without one counts as a whole day."""
    day = calendar.day(session)
    return EARLY_CLOSE if day is not None and day.is_half else CLOSE
