"""Option chains of the provider: its snapshot as a chain, the newest of each ticker, and the asking for them.

A chain is asked for whole, or the older one stands: half of its contracts would be another chain. Between two snapshots
its gamma is computed at the spot that the stream tells, so minutes to expiry and spot are of now.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Final, Protocol

import msgspec
import numpy as np

from domain.instants import SECOND, bucket_of, session_of
from domain.options.chain_bounds import why_implausible
from domain.options.chain_files import YEARS, NoChain, expiry_utc_of
from domain.options.chain_gamma import ChainQuotes
from domain.options.gamma import MULTIPLIER
from domain.signals.feed_rules import LEAP_MAX, SpotWatch
from domain.units import Ticks, Utc
from gateways.chain.sources import ChainNow
from gateways.gexbot.rest import NoAnswer
from gateways.market_data.events import PriceTold, is_price
from gateways.market_data.symbols import ticker_of

ASK_FROM_NS: Final = 10 * SECOND  # of a bucket: what is asked for then is in hand, and of now, when it is computed
LOOK_S: Final = 0.02  # the market's clock may run at any pace
FAILED_PAUSE_NS: Final = 5 * SECOND  # before a ticker that failed is asked for again
REFUSED_PAUSE_NS: Final = 300 * SECOND  # before one is that the provider does not give
AHEAD_NS_MAX: Final = 60 * SECOND  # a price further ahead of the clock is a fault

_OPTION: Final = re.compile(r"O:([A-Z]{1,6}\d?)\d{6}[CP]\d{8}")


class _Details(msgspec.Struct, frozen=True):
    contract_type: str
    expiration_date: date
    strike_price: float
    ticker: str = ""
    shares_per_contract: float = MULTIPLIER


class _Greeks(msgspec.Struct, frozen=True):
    delta: float | None = None
    gamma: float | None = None


class _Day(msgspec.Struct, frozen=True):
    volume: float | None = None


class _LastQuote(msgspec.Struct, frozen=True):
    bid: float | None = None
    ask: float | None = None


class _Underlying(msgspec.Struct, frozen=True):
    ticker: str = ""
    price: float | None = None
    value: float | None = None
    last_updated: int | None = None


class _Contract(msgspec.Struct, frozen=True):
    details: _Details
    implied_volatility: float | None = None
    open_interest: float | None = None
    greeks: _Greeks | None = None
    day: _Day | None = None
    last_quote: _LastQuote | None = None
    underlying_asset: _Underlying | None = None


_CONTRACT: Final = msgspec.json.Decoder(_Contract)


class Snapshot(msgspec.Struct, frozen=True):
    """A chain as it came: its contracts, when it was asked for, and the price of the underlying that came with it."""

    quotes: ChainQuotes
    asked_utc: Utc
    price: PriceTold | None


def snapshot_of(ticker: str, raws: Sequence[msgspec.Raw], asked_utc: Utc) -> Snapshot | NoChain:
    """Return the provider's contracts as a chain of a ticker, or why they are none.

    A contract that cannot be read, or that stands for another number of shares (a split, a merger), is counted as
    unreadable. What is not told of a contract is not given: its volatility is then taken from its quote.
    """
    contracts: list[_Contract] = []
    unreadable_n = 0
    for raw in raws:
        try:
            read = _CONTRACT.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            unreadable_n += 1
            continue
        details = read.details
        is_usable = details.contract_type in ("call", "put") and details.expiration_date.year in YEARS
        if is_usable and details.shares_per_contract == MULTIPLIER:
            contracts.append(read)
        else:
            unreadable_n += 1
    if not contracts:
        return NoChain(f"The provider told no contracts of {ticker}; check that the plan of the key includes options.")
    others = {c.underlying_asset.ticker for c in contracts if c.underlying_asset is not None} - {""}
    if {ticker_of(symbol) for symbol in others} - {ticker}:
        return NoChain(f"The provider told contracts of {', '.join(sorted(others))[:60]} for {ticker}; ask again.")
    roots = tuple(_root(contract.details.ticker) or ticker for contract in contracts)
    quotes = ChainQuotes(
        symbol=ticker,
        at_utc=asked_utc,
        spot=None,
        strikes=_column([c.details.strike_price for c in contracts]),
        is_call=np.array([c.details.contract_type == "call" for c in contracts], np.bool_),
        expiry_utc=np.array(
            [expiry_utc_of(root, c.details.expiration_date) for root, c in zip(roots, contracts, strict=True)], np.int64
        ),
        open_interest=_column([c.open_interest for c in contracts]),
        volume=_column([None if c.day is None else c.day.volume for c in contracts]),
        iv=_column([c.implied_volatility for c in contracts]),
        bid=_column([None if c.last_quote is None else c.last_quote.bid for c in contracts]),
        ask=_column([None if c.last_quote is None else c.last_quote.ask for c in contracts]),
        unreadable_n=unreadable_n,
        roots=roots,
        delta=_column([None if c.greeks is None else c.greeks.delta for c in contracts]),
        gamma=_column([None if c.greeks is None else c.greeks.gamma for c in contracts]),
    )
    return Snapshot(quotes, asked_utc, _underlying_price(ticker, contracts))


def _column(values: Sequence[float | None]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _root(option: str) -> str:
    named = _OPTION.fullmatch(option)
    return "" if named is None else named[1]


def _underlying_price(ticker: str, contracts: Sequence[_Contract]) -> PriceTold | None:
    """Return the newest price of the underlying that came with the contracts; `None` where none has an instant."""
    newest: PriceTold | None = None
    for contract in contracts:
        told = contract.underlying_asset
        if told is None or told.last_updated is None:
            continue
        usd = told.price if told.price is not None else told.value
        if usd is not None and is_price(usd) and (newest is None or told.last_updated > newest.at_utc):
            newest = PriceTold(ticker, Utc(told.last_updated), Ticks(round(usd * 100.0)))
    return newest


def is_ahead(told: PriceTold, now: Utc) -> bool:
    """Return whether a price's instant cannot be: it would outlast every true one."""
    return told.at_utc > now + AHEAD_NS_MAX


def as_came(told: PriceTold, now: Utc) -> PriceTold:
    """Return a price with no later instant than that at which it came: it hides no true one that comes after it."""
    return told if told.at_utc <= now else msgspec.structs.replace(told, at_utc=now)


class ChainStore:
    """The newest chain and the newest price of each ticker; a `ChainSource`. Written by one thread, read by any.

    Args:
        chain_age_ns: a chain asked for longer ago is not used.
        spot_age_ns: a price older by its own instant is not used: a delayed one names no spot of now.
    """

    comes_later = True

    def __init__(self, chain_age_ns: int, spot_age_ns: int) -> None:
        self._chain_age_ns = chain_age_ns
        self._spot_age_ns = spot_age_ns
        self._snapshots: dict[str, Snapshot] = {}
        self._prices: dict[str, PriceTold] = {}
        self._watches: dict[str, SpotWatch] = {}
        self._whys: dict[str, str] = {}

    def keep_price(self, told: PriceTold) -> bool:
        """Take a price; return whether it is used: one that is older than the one before is not."""
        known = self._prices.get(told.ticker)
        is_newer = known is None or told.at_utc >= known.at_utc
        if is_newer:
            self._prices[told.ticker] = told
        return is_newer

    def keep(self, ticker: str, snapshot: Snapshot, now: Utc) -> None:
        """Take a chain, and the price that came with it."""
        self._snapshots[ticker] = snapshot
        self._whys.pop(ticker, None)
        if snapshot.price is not None and not is_ahead(snapshot.price, now):
            self.keep_price(as_came(snapshot.price, now))

    def note_why(self, ticker: str, why: str) -> None:
        """Take note of why a ticker's chain cannot be had now."""
        self._whys[ticker] = why

    def read(self, ticker: str, at_utc: Utc) -> ChainNow | NoChain:
        """Return the newest chain of a ticker with the spot of now, or why there is none that may be used."""
        snapshot, price = self._snapshots.get(ticker), self._prices.get(ticker)
        why = self._whys.get(ticker)
        if snapshot is None or at_utc - snapshot.asked_utc > self._chain_age_ns:
            told = "has told no chain yet" if snapshot is None else "has told no chain for too long"
            return NoChain(why or f"The provider {told} of {ticker}.")
        if price is None or at_utc - price.at_utc > self._spot_age_ns:
            age_s = None if price is None else (at_utc - price.at_utc) // SECOND
            told = "no price" if age_s is None else f"no price younger than {age_s} s"
            return NoChain(
                f"The provider tells {told} of {ticker}, {self._spot_age_ns // SECOND} s are allowed"
                " (feed.provider.spot_age_max_ms); the plan of the key must include real-time prices."
            )
        quotes = replace(snapshot.quotes, spot=price.price / 100.0)
        implausible = why_implausible(quotes, ticker)
        if implausible is not None:
            return NoChain(f"The provider's chain of {ticker}: {implausible}")
        if not self._watches.setdefault(ticker, SpotWatch()).is_plausible(price.price, bucket_of(at_utc)):
            return NoChain(
                f"The provider's price of {ticker}, {price.price / 100:,.2f}, is more than {LEAP_MAX:.0%} from the one"
                " before; it is believed when a later bucket says the same."
            )
        return ChainNow(quotes, price.price / 100.0)


class ChainClient(Protocol):
    """Whom chains are asked of."""

    async def chain(self, ticker: str, first: date, last: date) -> list[msgspec.Raw] | NoAnswer:
        """Return the contracts of a ticker that expire from `first` to `last`, or why there are none."""


class ChainPoller:
    """Asks for the chains, one request after another for each ticker, the first tickers first.

    Args:
        client: what asks.
        tickers: in the order in which they are asked for when several are due.
        store: keeps what comes.
        now_utc: the market's clock.
        every_ns: from one asking to the next of a ticker, market time; to the bucket.
        days: how many days ahead expiries are asked for.
        at_once: tickers under way at once.
        on_refused: takes what a failure is counted as.
    """

    def __init__(
        self, client: ChainClient, tickers: Sequence[str], store: ChainStore, now_utc: Callable[[], Utc], *,
        every_ns: int, days: int, at_once: int, on_refused: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._client = client
        self._due: dict[str, Utc] = dict.fromkeys(tickers, Utc(0))
        self._store = store
        self._now_utc = now_utc
        self._every_ns = every_ns
        self._days = days
        self._at_once = at_once
        self._on_refused = on_refused
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Ask until cancelled."""
        try:
            while True:
                now = self._now_utc()
                for ticker, due_utc in self._due.items():
                    if len(self._asking) >= self._at_once:
                        break
                    if now >= due_utc and ticker not in self._asking:
                        task = asyncio.get_running_loop().create_task(self._ask(ticker, now))
                        self._asking[ticker] = task
                await asyncio.sleep(LOOK_S)
        finally:
            for task in self._asking.values():
                task.cancel()

    async def _ask(self, ticker: str, asked_utc: Utc) -> None:
        pause_ns = FAILED_PAUSE_NS
        try:
            today = session_of(asked_utc)
            found = await self._client.chain(ticker, today, today + timedelta(days=self._days))
            if isinstance(found, NoAnswer):
                self._on_refused(found.code)
                self._store.note_why(ticker, _why(ticker, found))
                pause_ns = REFUSED_PAUSE_NS if found.is_final else FAILED_PAUSE_NS
                return
            snapshot = await asyncio.to_thread(snapshot_of, ticker, found, asked_utc)
            if isinstance(snapshot, NoChain):
                self._store.note_why(ticker, snapshot.why)
                return
            self._store.keep(ticker, snapshot, self._now_utc())
            due_utc = bucket_of(Utc(asked_utc + self._every_ns)) + ASK_FROM_NS
            pause_ns = due_utc - asked_utc if due_utc > asked_utc else self._every_ns
        except Exception as error:  # a bug that one chain meets must not silence the other tickers
            self._store.note_why(ticker, f"The chain of {ticker} cannot be used ({error!r:.120}).")
        finally:
            self._due[ticker] = Utc(asked_utc + pause_ns)
            del self._asking[ticker]


def _why(ticker: str, answer: NoAnswer) -> str:
    """Return why a chain was not answered, in one sentence with the remedy."""
    match answer.code:
        case "rest_401":
            remedy = "the provider does not know the key; check the variable that feed.provider.key_env names"
        case "rest_403":
            remedy = "the plan of the key does not include it"
        case "rest_404":
            remedy = "the provider has no such symbol"
        case "rest_429":
            remedy = "the provider limits the rate; ask less often (feed.provider.chain_every_ms)"
        case "rest_foreign_page":
            remedy = "a page of it leads to another host, which is not followed; check feed.provider.rest_url"
        case _:
            remedy = "check the network and feed.provider.rest_url"
    return f"The provider gave no chain of {ticker} ({answer.code.removeprefix('rest_')}): {remedy}."
