"""The port of the hub `provider`: chains by REST, prices and minute bars by stream, gamma computed of both.

It is the chain's hub with another source. Streams and the asking for chains run as long as the port does and mend
themselves; a bucket uses what is there. What is not there, and why, is said with every bucket (`notes`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from config.tree import Provider
from domain.instants import MS, session_of
from domain.limits import FeedRules
from domain.market.bars import MinuteBar
from domain.ports import Capability
from domain.units import Utc
from gateways.bucket_port import PortSetup
from gateways.chain.hub_port import ChainHubPort, is_open
from gateways.flow import HubStatus
from gateways.gexbot.rest import NoAnswer
from gateways.market_data.chains import ChainPoller, ChainStore, as_came, is_ahead
from gateways.market_data.events import PriceTold
from gateways.market_data.pending import Pending
from gateways.market_data.rest import ProviderClient
from gateways.market_data.stream import Stream
from gateways.market_data.symbols import Cluster, cluster_of, symbol_of

BARS_AT_ONCE: Final = 1_000  # in one message: it stands in the trace as one line
TICKERS_AT_ONCE: Final = 4  # taken between two chances for the loop's other work
EVENTS: Final = {Cluster.STOCKS: ("T", "Q", "A", "AM"), Cluster.INDICES: ("V", "AM")}
VALUES: Final = "V"  # what an index has in place of trades and quotes


class ProviderPort(ChainHubPort):
    """The port of `hub:provider`.

    Args:
        setup: as every port's; the tickers of its pairs are those whose chains are asked for.
        provider: the settings of the provider.
        rules: pauses after what failed.
        key: the provider's key.
        priced: further tickers of which prices and bars are wanted.
    """

    capabilities = frozenset({Capability.STREAM, Capability.BARS})

    def __init__(
        self, setup: PortSetup, provider: Provider, rules: FeedRules, key: str, priced: Sequence[str] = ()
    ) -> None:
        store = ChainStore(provider.chain_age_max_ms * MS, provider.spot_age_max_ms * MS)
        super().__init__(setup, store)
        self._store = store
        ranks = {ticker: n for n, ticker in enumerate(provider.first)}
        self._chained = _in_order((ticker for ticker, _ in setup.expected), ranks)
        self._priced = _in_order((*self._chained, *priced), ranks)
        self._wanted = frozenset(self._priced)
        self._pending: Final = Pending(provider.first)
        self._came = asyncio.Event()
        self._bars: dict[tuple[str, Utc], MinuteBar] = {}
        self._filling: dict[Cluster, asyncio.Task[None]] = {}
        self._client = ProviderClient(provider.rest_url, key, concurrency=provider.concurrency)
        self._poller = ChainPoller(
            self._client, self._chained, store, setup.now_utc, every_ns=provider.chain_every_ms * MS,
            days=provider.chain_days, at_once=provider.concurrency, on_refused=self.folder.count_refused,
        )  # fmt: skip
        self._streams = {
            cluster: Stream(
                f"{provider.stream_url.rstrip('/')}/{cluster.value}", key, subscriptions, self._take_events, rules,
                silence_s=provider.silent_after_ms / 1000, is_expected=self._is_open, on_flow=self._fill(cluster),
            )
            for cluster in Cluster
            if (subscriptions := self._subscriptions(cluster, provider.events))
        }  # fmt: skip

    def begin(self) -> None:
        """Keep the streams and ask for chains as long as the port lives."""
        for stream in self._streams.values():
            self.loop.create_task(stream.run())
        self.loop.create_task(self._poller.run())
        self.loop.create_task(self._hand_on())

    def notes(self) -> tuple[str, ...]:
        """Return why tickers have no chain, and which stream delivers nothing, a sentence each."""
        if not self._is_open():
            return super().notes()
        quiet = (
            f"The provider's stream of {cluster.value} delivers nothing: {stream.why.rstrip('.')}."
            for cluster, stream in self._streams.items()
            if stream.why is not None
        )
        return (*super().notes(), *quiet)

    def bars(self) -> tuple[MinuteBar, ...]:
        """Return the minute bars that came since they were asked for last, a day's not all at once."""
        keys = sorted(self._bars)[:BARS_AT_ONCE]
        return tuple(self._bars.pop(key) for key in keys)

    def status(self, now_utc: Utc) -> HubStatus:
        """Return how the hub flows, and how many prices gave way to newer ones; from any thread."""
        conflated = tuple(sorted(self._pending.conflated.copy().items()))
        return msgspec.structs.replace(super().status(now_utc), conflated=conflated)

    def close(self, timeout_s: float = 5.0) -> None:
        """End streams and requests, then the thread."""
        super().close(timeout_s)
        self._client.close()

    def _is_open(self) -> bool:
        return is_open(self.setup.now_utc())

    def _subscriptions(self, cluster: Cluster, events: Sequence[str]) -> tuple[str, ...]:
        """Return what a stream is asked for, the first tickers first."""
        wanted = [event for event in EVENTS[cluster] if event in events or event == VALUES]
        return tuple(
            f"{event}.{symbol_of(ticker)}"
            for ticker in self._priced
            if cluster_of(ticker) is cluster
            for event in wanted
        )

    def _take_events(self, events: Sequence[PriceTold | MinuteBar], refused: Counter[str]) -> None:
        """Have events wait; in the reader's turn nothing else is done with them."""
        for code, n in refused.items():
            for _ in range(n):
                self.folder.count_refused(code)
        now = self.setup.now_utc()
        for event in events:
            if event.ticker not in self._wanted:
                self.folder.count_refused("unasked_event")
            elif isinstance(event, PriceTold) and is_ahead(event, now):  # before it takes the place of a true one
                self.folder.count_refused("time_ahead")
            else:
                self._pending.put(as_came(event, now) if isinstance(event, PriceTold) else event)
        if self._pending:
            self._came.set()

    async def _hand_on(self) -> None:
        """Take what waits, the first tickers first, a few at a time."""
        while True:
            await self._came.wait()
            for event in self._pending.take(TICKERS_AT_ONCE):
                if isinstance(event, MinuteBar):
                    self._bars[event.ticker, event.begin_utc] = event
                elif not self._store.keep_price(event):
                    self._pending.conflated[event.ticker] += 1
            if not self._pending:
                self._came.clear()
            await asyncio.sleep(0)

    def _fill(self, cluster: Cluster) -> Callable[[], None]:
        """Return what has today's bars of a stream's tickers asked for once it flows: they have holes until then."""

        def fill() -> None:
            asking = self._filling.get(cluster)
            if asking is None or asking.done():
                tickers = [ticker for ticker in self._priced if cluster_of(ticker) is cluster]
                self._filling[cluster] = self.loop.create_task(self._ask_bars(tickers))

        return fill

    async def _ask_bars(self, tickers: Sequence[str]) -> None:
        today = session_of(self.setup.now_utc())
        for ticker in tickers:
            found = await self._client.minute_bars(ticker, today, today)
            if isinstance(found, NoAnswer):
                self.folder.count_refused(found.code)
                continue
            for bar in found:
                self._bars.setdefault((ticker, bar.begin_utc), bar)


def _in_order(tickers: Iterable[str], ranks: dict[str, int]) -> tuple[str, ...]:
    """Return tickers once each, those with a rank first and in its order."""
    return tuple(sorted(dict.fromkeys(tickers), key=lambda ticker: ranks.get(ticker, len(ranks))))
