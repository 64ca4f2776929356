"""The ports of the market data source in use: what answers `feed`, and one port for each of its hubs.

A source is hubs that seal buckets; whoever hears them does not know which source it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, assert_never

from config.feeds import packing
from config.settings import Settings
from domain.instants import MS, SECOND
from domain.signals.feed_rules import in_priority
from domain.units import Utc
from gateways.bucket_port import BucketPort, PortSetup, Tell
from gateways.chain.hub_port import ChainHubPort
from gateways.chain.sources import ChainSource, FolderSource
from gateways.gexbot.file_port import FilePort
from gateways.gexbot.hub_port import Cover, HubPort
from gateways.gexbot.negotiate import FEED, FEED_PORT, AddressBook, FeedPort
from gateways.gexbot.rest import RestClient, base_of
from gateways.gexbot.rest_port import RestPort
from gateways.market_data.hub_port import ProviderPort
from messages import market

OTHERS_MIN: Final = 8  # tickers: fewer are decoded in no time
_FOR_EVER_NS: Final = 400 * 24 * 3600 * SECOND


class AnyPort(Protocol):
    """A port that lives as long as its supervisor."""

    @property
    def name(self) -> str:
        """The address, `port:...`."""

    def start(self) -> None:
        """Start the thread."""

    def post(self, command: Any, /) -> None:
        """Take a command."""

    def close(self) -> None:
        """End the thread."""


class NoAddresses:
    """Stands for the negotiating port where a source needs no addresses: every hub may begin."""

    name: Final = FEED_PORT

    def __init__(self, hubs: tuple[str, ...], tell: Tell, now_utc: Callable[[], Utc]) -> None:
        self._hubs = hubs
        self._tell = tell
        self._now_utc = now_utc

    def start(self) -> None:
        """Do nothing: there is no thread."""

    def post(self, command: market.Negotiate) -> None:
        """Answer that every hub has its address."""
        self._tell(
            FEED,
            market.Negotiated(
                feed_epoch=command.feed_epoch, key_n=command.key_n, hubs=self._hubs,
                token_until_utc=Utc(self._now_utc() + _FOR_EVER_NS),
            ),
        )  # fmt: skip

    def close(self) -> None:
        """Do nothing."""


def ports_of(
    settings: Settings, *, url: str, keys: Sequence[str], tell_as: Callable[[str], Tell], now_utc: Callable[[], Utc],
    on_whole: Callable[[str, Utc], None] | None = None, whole_from_ns: int = 0, chains: ChainSource | None = None,
) -> list[AnyPort]:  # fmt: skip
    """Return the ports of the source in use.

    Args:
        settings: the whole tree.
        url: of negotiate.
        keys: the vendor's keys, in the order of `feed.keys`.
        tell_as: gives a port, by its name, what it tells with.
        now_utc: the clock that data is received by.
        on_whole: as in `PortSetup`.
        whole_from_ns: as in `PortSetup`.
        chains: where chains come from; `None`: the files that the settings name. A port of its own is the caller's.
    """
    feed = settings.feed
    book = AddressBook()
    setups = {
        hub: PortSetup(
            hub, tuple((ticker, category) for ticker in settings.tickers for category in categories),
            tell_as(f"port:hub:{hub}"), now_utc, feed.rules.frame_bytes_max, on_whole, whole_from_ns,
            waited_for(settings), settings.day.closed_dates,
        )
        for hub, categories in feed.by_hub.items()
    }  # fmt: skip
    if feed.source == "hubs":
        negotiator = FeedPort(
            url, keys, book=book, tell=tell_as(FEED_PORT), now_utc=now_utc, is_legacy=feed.protocol == "legacy"
        )
        carried = packing(settings)
        # The failover asks with the first key: the rate is a ticker's and category's, not a key's.
        client = RestClient(base_of(url), keys[0], concurrency=feed.rest.concurrency)
        left_out = tuple(ticker for ticker in carried.left_out if ticker in settings.tickers)
        cover = Cover(client, carried.tickers, left_out, feed.rest.failover_after_ms / 1000)
        recovery_s = feed.rules.recover_ms / 1000
        return [
            negotiator, *(HubPort(setup, book=book, recovery_s=recovery_s, cover=cover) for setup in setups.values())
        ]  # fmt: skip
    return [
        NoAddresses(tuple(setups), tell_as(FEED_PORT), now_utc),
        *(_without_hubs(settings, setup, url, keys, chains) for setup in setups.values()),
    ]


def waited_for(settings: Settings) -> tuple[str, ...]:
    """Return the tickers that lanes wait for, which are decoded first; none where too few others would hold them up."""
    watched = {ticker for tickers in settings.lanes.values() for ticker in tickers}
    first = tuple(ticker for ticker in in_priority(settings.tickers) if ticker in watched)
    return first if len(settings.tickers) - len(first) >= OTHERS_MIN else ()


def _without_hubs(
    settings: Settings, setup: PortSetup, url: str, keys: Sequence[str], chains: ChainSource | None
) -> BucketPort:
    """Return the one port of a source that has no hubs."""
    match settings.feed.source:
        case "rest":
            return RestPort(setup, RestClient(base_of(url), keys[0], concurrency=settings.feed.rest.concurrency))
        case "chain":
            files = settings.feed.chain
            source = chains or FolderSource(files.folder or settings.data_dir / "chains", files.age_max_ms * MS)
            return ChainHubPort(setup, source)
        case "file":
            return FilePort(setup, settings.feed.folder or settings.data_dir / "history")
        case "provider":
            return ProviderPort(setup, settings.feed.provider, settings.feed.rules, keys[0], settings.spot_only)
        case "hubs":
            raise ValueError("the vendor's hubs have ports of their own")
        case _:
            assert_never(settings.feed.source)
