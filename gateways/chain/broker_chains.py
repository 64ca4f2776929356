"""Chains of the broker: a market data session of its own goes round the tickers and reads a band of each chain.

A broker gives so many lines at once and no chain in one answer. So each expiry's contracts are listed once a day, and
those around the money are streamed a few at a time until each has told its volatility and open interest; then the next
ones. Volatilities are as old as the last round, the spot is streamed all the time.

What lies outside the band is not known: walls and levels are those of the band. A round that brought a part of its
band, or quotes that are not live, is refused with its reason; the last whole one stands until it is too old.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import numpy as np

from domain.instants import MINUTE, SECOND, session_of
from domain.instruments import Contract, DataType, Quote, Right, Spot
from domain.limits import FeedRules
from domain.options.chain_files import NoChain, expiry_utc_of
from domain.options.chain_gamma import ChainQuotes
from domain.session import calendar
from domain.signals.feed_rules import pause_ns
from domain.units import Utc
from gateways.chain.sources import ChainNow
from gateways.ib.quotes_port import QuotesPort
from messages import broker, market
from messages.base import Message

Tell = Callable[[str, Message], None]

LOOK_AHEAD: Final = 8  # sessions in which the next expiries are looked for
BATCH_S: Final = 6.0  # real: a contract that has not told all by then has nothing more to tell
BETWEEN_S: Final = 0.5  # real, between two tickers
LOOK_S: Final = 1.0  # real, between two looks at the clock out of hours
BEFORE_OPEN_NS: Final = 15 * MINUTE
SPOT_AGE_NS_MAX: Final = MINUTE
WHOLE_SHARE: Final = 0.9  # of a band's contracts; a few at its rim may have nothing to tell


@dataclass(frozen=True, slots=True)
class Band:
    """What is read of the chains: tickers with their option classes in order, how much, and how fresh it must be.

    `lines` are those in use at once, a line for each ticker's price among them; `strikes_around` how many strikes each
    side of the money; `expiries` how many of the nearest; `age_max_ns` how old a round may be; `keep_every_ns` from one
    band of a ticker that is given to be stored to the next.
    """

    classes: Mapping[str, str]
    lines: int
    strikes_around: int
    expiries: int
    age_max_ns: int
    keep_every_ns: int = 0
    closed_dates: tuple[date, ...] = ()


@dataclass(slots=True)
class _Round:
    """One ticker's turn: how many contracts are wanted, those not asked for yet, those that stream now, what came."""

    ticker: str
    wanted_n: int
    left: list[Contract]
    batch: dict[int, Contract] = field(default_factory=dict)
    told: dict[int, tuple[Contract, Quote]] = field(default_factory=dict)
    is_refused: bool = False


@dataclass(slots=True)
class _Listing:
    """The expiries of a ticker: of which session, those still to be asked for, and the contracts so far."""

    session: date
    expiries: list[date]
    contracts: dict[date, tuple[Contract, ...]] = field(default_factory=dict)


class BrokerChains:
    """A `ChainSource` over a broker's session; a port beside the others.

    Args:
        name: the address, `port:chains:<desk>`.
        make_port: makes the session's port, which tells what it is given.
        gateways_n: how many gateways it may dial in turn.
        band: what is read.
        rules: pauses after dials in vain.
        now_utc: the market's clock.
        keep: takes bands that were read, to be stored.
    """

    comes_later = True

    def __init__(
        self, name: str, make_port: Callable[[Tell], QuotesPort], gateways_n: int, band: Band, rules: FeedRules,
        now_utc: Callable[[], Utc], keep: Callable[[market.ChainRead], None],
    ) -> None:  # fmt: skip
        self.name: Final = name
        self._port: Final = make_port(self._hear)
        self._gateways_n: Final = gateways_n
        self._band: Final = band
        self._rules: Final = rules
        self._now_utc: Final = now_utc
        self._keep: Final = keep
        self._epoch = 0
        self._failures = 0
        self._turn = 0
        self._why = "The broker's chains are not read yet."
        self._round: _Round | None = None
        self._listings: dict[str, _Listing] = {}
        self._spots: dict[str, Spot] = {}
        self._chains: dict[str, ChainQuotes] = {}
        self._whys: dict[str, str] = {}
        self._kept_utc: dict[str, Utc] = {}
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start the port's thread, and dial."""
        self._port.start()
        self._port.loop.call_soon_threadsafe(self._dial)

    def post(self, command: Any) -> None:
        """Take no command: nobody commands it."""

    def close(self) -> None:
        """End the session and the thread."""
        self._port.close()

    def read(self, ticker: str, at_utc: Utc) -> ChainNow | NoChain:
        """Return a ticker's chain as it was read last, at the price of now; from any thread."""
        quotes, spot = self._chains.get(ticker), self._spots.get(ticker)
        if quotes is None or quotes.at_utc is None:
            return NoChain(self._whys.get(ticker) or self._why)
        age_ns = at_utc - quotes.at_utc
        if age_ns > self._band.age_max_ns:
            why = self._whys.get(ticker) or self._why
            return NoChain(
                f"The broker's chain of {ticker} was read {age_ns // MINUTE} min ago,"
                f" {self._band.age_max_ns // MINUTE} min are allowed (feed.chain.age_max_ms). {why}".rstrip()
            )
        if spot is None or at_utc - spot.at_utc > SPOT_AGE_NS_MAX:
            return NoChain(f"The broker tells no price of {ticker}; a chain is of no use without.")
        if spot.data_type is not DataType.LIVE:
            return NoChain(f"The broker's price of {ticker} is not live; subscribe to it.")
        return ChainNow(quotes, spot.price_ticks / 100)

    # -- the session, in the port's thread ----------------------------------------------------------

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        """Have something done after a pause, in place of whatever was to be done."""
        if self._pause is not None:
            self._pause.cancel()
        self._pause = self._port.loop.call_later(seconds, call)

    def _dial(self) -> None:
        self._epoch += 1
        self._port.post(broker.Dial(session_epoch=self._epoch, gateway_n=self._failures % self._gateways_n))

    def _hear(self, _to: str, message: Message) -> None:
        if getattr(message, "session_epoch", self._epoch) != self._epoch:
            return
        match message:
            case broker.LinkUp():
                self._failures = 0
                self._stream_prices()
            case broker.LinkFailed():
                self._dial_again(message.why)
            case broker.LinkLost(is_socket_up=False):
                self._dial_again(message.cause)
            case broker.LinkRestored(data_lost=True):
                self._stream_prices()
            case market.ChainListed():
                self._on_listed(message.ticker, message.contracts)
            case market.ChainFailed():
                self._on_listed(message.ticker, (), message.why)
            case market.QuotesArrived():
                self._on_quotes(message)
            case market.LinesRefused():
                self._on_refused(message)
            case _:
                pass  # halts, farms, errors of other requests: the quotes session tells people of them

    def _dial_again(self, why: str) -> None:
        self._round = None
        self._failures += 1
        self._why = f"The broker's chains are not read: {why.rstrip('.')}."
        self._later(pause_ns(self._failures, self._rules) / SECOND, self._dial)

    def _stream_prices(self) -> None:
        """Stream every ticker's price, and begin to go round."""
        self._why = ""
        self._round = None
        self._port.post(market.Subscribe(session_epoch=self._epoch, tickers=tuple(self._band.classes)))
        self._later(BETWEEN_S, self._next_ticker)

    # -- going round --------------------------------------------------------------------------------

    def _is_wanted(self) -> bool:
        """Return whether it is a session's hours, or just before them: nobody asks for a chain at night."""
        now = self._now_utc()
        day = calendar.day(session_of(now), self._band.closed_dates)
        return day is not None and day.open_utc - BEFORE_OPEN_NS <= now < day.close_utc

    def _next_ticker(self) -> None:
        if not self._is_wanted():
            self._later(LOOK_S, self._next_ticker)
            return
        tickers = tuple(self._band.classes)
        ticker = tickers[self._turn % len(tickers)]
        self._turn += 1
        today = session_of(self._now_utc())
        listing = self._listings.get(ticker)
        if listing is None or listing.session != today:
            listing = self._listings[ticker] = _Listing(today, list(self._sessions_from(today)))
        if listing.expiries:
            self._list_next(ticker, listing)
        else:
            self._read(ticker, listing)

    def _sessions_from(self, today: date) -> Iterator[date]:
        closed = self._band.closed_dates
        day = calendar.day(today, closed) or calendar.next_session(today, closed)
        for _ in range(LOOK_AHEAD):
            yield day.session
            day = calendar.next_session(day.session, closed)

    def _list_next(self, ticker: str, listing: _Listing) -> None:
        self._port.post(
            market.ListChain(
                session_epoch=self._epoch, ticker=ticker, trading_class=self._band.classes[ticker],
                expiry=listing.expiries[0],
            )
        )  # fmt: skip

    def _on_listed(self, ticker: str, contracts: tuple[Contract, ...], why: str | None = None) -> None:
        listing = self._listings.get(ticker)
        if listing is None or not listing.expiries:
            return
        if why is not None:
            self._whys[ticker] = f"The broker does not list the chain of {ticker} ({why.rstrip('.')})."
            self._later(BETWEEN_S, self._next_ticker)  # and asks for the same expiry when its turn comes again
            return
        expiry = listing.expiries.pop(0)
        if contracts:
            listing.contracts[expiry] = contracts
        if len(listing.contracts) >= self._band.expiries:
            listing.expiries.clear()
        if listing.expiries:
            self._list_next(ticker, listing)
        else:
            self._read(ticker, listing)

    def _read(self, ticker: str, listing: _Listing) -> None:
        """Begin to read the band around a ticker's price."""
        spot, now = self._spots.get(ticker), self._now_utc()
        wanted = [] if spot is None else [
            contract
            for expiry, contracts in listing.contracts.items()
            if expiry_utc_of(self._band.classes[ticker], expiry) > now
            for contract in around(contracts, spot.price_ticks, self._band.strikes_around)
        ]  # fmt: skip
        if not wanted:
            no_price, no_chain = "tells no price of", f"lists no option of class {self._band.classes[ticker]} of"
            self._whys[ticker] = f"The broker {no_price if spot is None else no_chain} {ticker}."
            self._later(BETWEEN_S, self._next_ticker)
            return
        self._round = _Round(ticker, len(wanted), wanted)
        self._next_batch(self._round)

    def _next_batch(self, of: _Round) -> None:
        room = max(1, self._band.lines - len(self._band.classes))
        batch, of.left = of.left[:room], of.left[room:]
        of.batch = {contract.con_id: contract for contract in batch}
        self._port.post(market.Subscribe(session_epoch=self._epoch, contracts=tuple(batch)))
        self._later(BATCH_S, lambda: self._end_batch(of))

    def _on_quotes(self, arrived: market.QuotesArrived) -> None:
        for spot in arrived.spots:
            self._spots[spot.ticker] = spot
        of = self._round
        if of is None:
            return
        for quote in arrived.quotes:
            if quote.con_id in of.batch:
                of.told[quote.con_id] = of.batch[quote.con_id], quote
        if of.batch and all(con_id in of.told and _is_whole(of.told[con_id][1]) for con_id in of.batch):
            self._end_batch(of)

    def _on_refused(self, refused: market.LinesRefused) -> None:
        of = self._round
        if of is None:
            return
        for con_id in refused.con_ids:
            of.batch.pop(con_id, None)
        of.is_refused = True  # the broker's own word says more than what is missing for it
        self._whys[of.ticker] = (
            f"The broker refuses market data lines (code {refused.vendor_code}); lower feed.chain.lines or"
            " connection.lines_max, or look at the account's subscriptions."
        )
        if not of.batch:
            self._later(BATCH_S, lambda: self._end_batch(of))

    def _end_batch(self, of: _Round) -> None:
        if of is not self._round:
            return
        self._port.post(market.Unsubscribe(session_epoch=self._epoch, con_ids=tuple(of.batch)))
        of.batch = {}
        if of.left:
            self._next_batch(of)
            return
        self._round = None
        told = tuple(of.told.values())
        why = refusal_of(of.ticker, of.wanted_n, told)
        if why is None:
            now = self._now_utc()
            self._chains[of.ticker] = chain_of(of.ticker, now, told)
            self._whys.pop(of.ticker, None)
            if now - self._kept_utc.get(of.ticker, Utc(0)) >= self._band.keep_every_ns:
                self._kept_utc[of.ticker] = now
                self._keep(market.ChainRead(ticker=of.ticker, at_utc=now, spot=self._spots[of.ticker], quotes=told))
        elif not of.is_refused:
            self._whys[of.ticker] = why
        self._later(BETWEEN_S, self._next_ticker)


def around(contracts: tuple[Contract, ...], spot_ticks: int, strikes_n: int) -> list[Contract]:
    """Return the contracts of the strikes nearest to a price, so many each side of it, strikes ascending."""
    strikes = sorted({contract.strike_ticks for contract in contracts})
    below = [strike for strike in strikes if strike <= spot_ticks][-strikes_n:]
    above = [strike for strike in strikes if strike > spot_ticks][:strikes_n]
    kept = {*below, *above}
    return sorted((c for c in contracts if c.strike_ticks in kept), key=lambda c: (c.strike_ticks, c.right.value))


def refusal_of(ticker: str, wanted_n: int, told: tuple[tuple[Contract, Quote], ...]) -> str | None:
    """Return why what was told of a band is not used: too little of it, or not live; `None`: it is whole."""
    of_how_many = f"of {wanted_n} contracts in the chain of {ticker}"
    enough_n = WHOLE_SHARE * wanted_n
    if not told:
        return f"The broker quotes nothing of the chain of {ticker}."
    others = Counter(quote.data_type for _, quote in told if quote.data_type is not DataType.LIVE)
    if len(told) - others.total() < enough_n and others:
        kinds = ", ".join(f"{n} {kind.name.lower().replace('_', ' ')}" for kind, n in others.most_common())
        return (
            f"The broker's quotes {of_how_many} are not live ({kinds}): subscribe to them, and close other sessions of"
            " the same user."
        )
    whole_n = sum(quote.data_type is DataType.LIVE and _is_whole(quote) for _, quote in told)
    if whole_n < enough_n:
        return (
            f"The broker told volatility and open interest of only {whole_n} {of_how_many}; a part is not used in the"
            " place of the whole. Look at the gateway if this lasts."
        )
    return None


def chain_of(ticker: str, at_utc: Utc, told: tuple[tuple[Contract, Quote], ...]) -> ChainQuotes:
    """Return quotes as a chain; what the broker has not told is NaN."""

    def column(of: Callable[[Contract, Quote], float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
        found = (of(contract, quote) for contract, quote in told)
        return np.array([np.nan if value is None else value for value in found], np.float64)

    return ChainQuotes(
        symbol=ticker,
        at_utc=at_utc,
        spot=None,
        strikes=column(lambda c, _: c.strike_ticks / 100),
        is_call=np.array([contract.right is Right.CALL for contract, _ in told]),
        expiry_utc=np.array([expiry_utc_of(contract.trading_class, contract.expiry) for contract, _ in told], np.int64),
        open_interest=column(lambda _, q: q.open_interest),
        volume=column(lambda _, q: q.volume),
        iv=column(lambda _, q: None if q.greeks is None else q.greeks.iv),
        bid=column(lambda _, q: q.bid_ticks / 100 if q.bid_ticks else None),
        ask=column(lambda _, q: q.ask_ticks / 100 if q.ask_ticks else None),
    )


def _is_whole(quote: Quote) -> bool:
    return quote.greeks is not None and quote.open_interest is not None
