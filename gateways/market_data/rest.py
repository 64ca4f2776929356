"""The provider's REST: the snapshot of an option chain, page by page, and aggregates of minutes.

A page names the next one (`next_url`); it is followed on the provider's own host only, for the key goes with it. The
key leaves this module in a header, never in an address.

| path | what is read of each result |
|---|---|
| `/v3/snapshot/options/{symbol}` | details (contract_type, expiration_date, strike_price, ticker, |
| | shares_per_contract), implied_volatility, open_interest, greeks (delta, gamma), day (volume), |
| | last_quote (bid, ask), underlying_asset (price or value, last_updated in ns) |
| `/v2/aggs/ticker/{symbol}/range/1/minute/{from}/{to}` | t (ms), o, h, l, c, v |
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from domain.market.bars import MinuteBar
from gateways.gexbot.rest import NoAnswer, RestClient
from gateways.market_data.events import minute_bar
from gateways.market_data.symbols import symbol_of

PAGE_ROWS: Final = 250  # the provider's most for a chain
AGGREGATES_MAX: Final = 50_000  # and for aggregates
PAGES_MAX: Final = 400  # 100,000 contracts: the widest chain has a quarter of it
TRIES_MAX: Final = 4  # for one page
TRY_PAUSE_S: Final = 0.5  # before a page is asked for again; doubles
LIMITED: Final = "rest_429"


class _Page(msgspec.Struct, frozen=True):
    results: list[msgspec.Raw] | None = None
    next_url: str | None = None


class _Aggregate(msgspec.Struct, frozen=True):
    t: int
    o: float
    h: float
    l: float  # noqa: E741 - the provider's name
    c: float
    v: float = 0.0


_PAGE: Final = msgspec.json.Decoder(_Page)
_AGGREGATE: Final = msgspec.json.Decoder(_Aggregate)


class ProviderClient:
    """Asks the provider.

    Args:
        base: the address below which everything is.
        key: the provider's key.
        concurrency: requests under way at once.
        wait: waits so many real seconds.
    """

    def __init__(
        self, base: str, key: str, *, concurrency: int, wait: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._base = base.rstrip("/")
        self._client = RestClient(self._base, key, concurrency=concurrency)
        self._wait = wait
        self._free_s = 0.0  # of the loop's clock: a limit of the rate holds for all that is asked with the key

    def close(self) -> None:
        """Give up what is under way."""
        self._client.close()

    async def chain(self, ticker: str, first: date, last: date) -> list[msgspec.Raw] | NoAnswer:
        """Return the contracts of a ticker that expire from `first` to `last`, or why there are none."""
        span = {"expiration_date.gte": first.isoformat(), "expiration_date.lte": last.isoformat(), "limit": PAGE_ROWS}
        return await self._pages(f"/v3/snapshot/options/{quote(symbol_of(ticker), safe=':')}?{urlencode(span)}")

    async def minute_bars(self, ticker: str, first: date, last: date) -> list[MinuteBar] | NoAnswer:
        """Return the minute bars of a ticker from one day to another, ascending; what can be none is left out."""
        symbol = quote(symbol_of(ticker), safe=":")
        asked = urlencode({"adjusted": "true", "sort": "asc", "limit": AGGREGATES_MAX})
        path = f"/v2/aggs/ticker/{symbol}/range/1/minute/{first.isoformat()}/{last.isoformat()}?{asked}"
        raws = await self._pages(path)
        if isinstance(raws, NoAnswer):
            return raws
        found = (_bar(ticker, raw) for raw in raws)
        by_begin = {bar.begin_utc: bar for bar in found if bar is not None}
        return [by_begin[begin_utc] for begin_utc in sorted(by_begin)]

    async def _pages(self, path: str) -> list[msgspec.Raw] | NoAnswer:
        """Return the results of all pages, or why they cannot be had: a part of a chain would be another chain."""
        url, found, seen = self._base + path, list[msgspec.Raw](), set[str]()
        while True:
            page = await self._page(url)
            if isinstance(page, NoAnswer):
                return page
            found += page.results or ()
            if not page.next_url:
                return found
            seen.add(url)
            url = page.next_url
            if not self._is_ours(url):
                return NoAnswer("rest_foreign_page", is_final=True)
            if url in seen or len(seen) >= PAGES_MAX:
                return NoAnswer("rest_endless")

    def _is_ours(self, url: str) -> bool:
        """Return whether an address is on the provider's host, by the same scheme and port."""
        try:
            ours, theirs = urlsplit(self._base), urlsplit(url)
            return (ours.scheme, ours.hostname, ours.port, ours.username) == (
                theirs.scheme, theirs.hostname, theirs.port, theirs.username,
            )  # fmt: skip
        except ValueError:
            return False

    async def _page(self, url: str) -> _Page | NoAnswer:
        """Return one page; what may pass is asked for again."""
        loop = asyncio.get_running_loop()
        for attempt in range(TRIES_MAX):
            if (left_s := self._free_s - loop.time()) > 0:
                await self._wait(left_s)
            answer = await loop.run_in_executor(self._client.executor, self._read, url)
            if isinstance(answer, _Page) or answer.is_final:
                return answer
            pause_s = max(answer.wait_s, TRY_PAUSE_S * 2**attempt)
            if answer.code == LIMITED:
                self._free_s = max(self._free_s, loop.time() + pause_s)
            elif attempt < TRIES_MAX - 1:
                await self._wait(pause_s)
        return answer

    def _read(self, url: str) -> _Page | NoAnswer:
        """Ask for one page and read it. Blocks."""
        answer = self._client.get(url)
        if isinstance(answer, NoAnswer):
            return answer
        try:
            return _PAGE.decode(answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return NoAnswer("rest_no_page")


def _bar(ticker: str, raw: msgspec.Raw) -> MinuteBar | None:
    try:
        told = _AGGREGATE.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return minute_bar(ticker, told.t, told.o, told.h, told.l, told.c, told.v)
