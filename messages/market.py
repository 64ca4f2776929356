"""Market conversation: hub frames become buckets, buckets become rows; contracts and quotes are asked for and told.

session -> hub:*, reading:*     BucketDue
hub     -> port:hub:*           SealBucket             port => hub  BucketSealed
hub     -> warehouse            StoreBucket            warehouse -> hub  BucketStored
hub     -> reading:<ticker>     RowsArrived, then HubClosed (the marker)
risk    -> quotes               ContractsWanted        quotes -> risk  ContractsOffered
risk    -> quotes               RequestQuote           quotes -> risk  QuoteRead | QuoteUnavailable
quotes  -> port:quotes:<desk>   ListChain, Subscribe, Unsubscribe, WatchClosely
port    => quotes               ChainListed, ChainFailed, QuotesArrived
quotes  -> position:<contract>  QuoteChanged (market lane, conflated)
quotes  -> risk, kill           SpotsChanged (market lane)
"""

from __future__ import annotations

from datetime import date

from domain.instruments import Contract, Quote, Right, Spot
from domain.profile import Rows
from messages.base import Message


class _Market(Message, frozen=True, kw_only=True, tag=lambda name: f"market.{name}"):
    """Base of this conversation."""


# -- the feed: negotiate once, hand out addresses ------------------------------------------------


class Negotiate(_Market, frozen=True, kw_only=True):
    """feed -> port:feed: negotiate all hubs of all groups afresh (kills the key's older sessions)."""

    feed_epoch: int
    groups: tuple[str, ...]


class Negotiated(_Market, frozen=True, kw_only=True):
    """port:feed => feed: the addresses; `urls` are (hub, opaque handle) — tokens stay in the port."""

    feed_epoch: int
    hubs: tuple[str, ...]
    token_until_utc: int


class NegotiateFailed(_Market, frozen=True, kw_only=True):
    """port:feed => feed: no addresses, and why in one sentence; `is_final` when a retry cannot help (401, 403)."""

    feed_epoch: int
    why: str
    is_final: bool


class HubAddress(_Market, frozen=True, kw_only=True):
    """feed -> hub:<hub>: dial with the addresses of this feed epoch."""

    hub: str
    feed_epoch: int
    token_until_utc: int


class HubDial(_Market, frozen=True, kw_only=True):
    """hub -> port:hub:<hub>: connect with the address of this feed epoch (fetched by the port from the feed's port)."""

    feed_epoch: int


class HubUp(_Market, frozen=True, kw_only=True):
    """port:hub => hub -> notifier: frames can flow; `recovered` when memberships and missed frames came back."""

    hub: str
    feed_epoch: int
    recovered: bool


class HubDown(_Market, frozen=True, kw_only=True):
    """port:hub => hub -> notifier: the connection ended (recovery within the reconnection window is the port's own)."""

    hub: str
    feed_epoch: int
    cause: str
    can_reuse: bool


class AddressWanted(_Market, frozen=True, kw_only=True):
    """hub -> feed: this hub cannot go on with the addresses of `feed_epoch`."""

    hub: str
    feed_epoch: int


# -- buckets ------------------------------------------------------------------------------------


class BucketDue(_Market, frozen=True, kw_only=True):
    """session -> hubs, readings: the bucket that started at `bucket_utc` is over; close it by `close_by_utc`."""

    bucket_utc: int
    close_by_utc: int


class SealBucket(_Market, frozen=True, kw_only=True):
    """hub -> port:hub: decode what the bucket holds."""

    bucket_utc: int


class FrameCounts(Message, frozen=True, kw_only=True, tag="market.FrameCounts"):
    """What happened to a bucket's frames: accepted, repeated by redelivery, late, and refused by code."""

    accepted: int = 0
    repeated: int = 0
    late: int = 0
    refused: tuple[tuple[str, int], ...] = ()


class BucketSealed(_Market, frozen=True, kw_only=True):
    """port:hub => hub: the decoded bucket; `absent` are (ticker, category) pairs expected and silent.

    `late` are rows of buckets sealed before (one `Rows` a bucket): frames that redelivery brought after the seal.
    """

    hub: str
    bucket_utc: int
    rows: Rows
    absent: tuple[tuple[str, str], ...]
    counts: FrameCounts
    why_absent: str = "silent"
    late: tuple[Rows, ...] = ()


class StoreBucket(_Market, frozen=True, kw_only=True):
    """hub -> warehouse: keep these rows and record a gap for each absent pair."""

    hub: str
    bucket_utc: int
    rows: Rows
    absent: tuple[tuple[str, str], ...]
    why_absent: str
    counts: FrameCounts


class BucketStored(_Market, frozen=True, kw_only=True):
    """warehouse -> hub: the rows are durable."""

    hub: str
    bucket_utc: int
    content_hash: str


class BucketNotStored(_Market, frozen=True, kw_only=True):
    """warehouse -> hub, kill: the rows could not be kept; `why` is one sentence."""

    hub: str
    bucket_utc: int
    why: str


class RowsArrived(_Market, frozen=True, kw_only=True):
    """hub -> reading:<ticker>: the bucket's rows of this ticker (values in memory, a reference in the trace)."""

    hub: str
    ticker: str
    bucket_utc: int
    rows: Rows


class HubClosed(_Market, frozen=True, kw_only=True):
    """hub -> reading:<ticker>: the marker; nothing of this bucket comes from this hub any more."""

    hub: str
    bucket_utc: int
    absent: tuple[tuple[str, str], ...]


# -- contracts and quotes -----------------------------------------------------------------------


class ListChain(_Market, frozen=True, kw_only=True):
    """quotes -> port:quotes: list the contracts of a ticker that expire on `expiry`."""

    session_epoch: int
    ticker: str
    trading_class: str
    expiry: date


class ChainListed(_Market, frozen=True, kw_only=True):
    """port:quotes => quotes: the broker's own chain; an empty chain means none expires that day."""

    session_epoch: int
    ticker: str
    contracts: tuple[Contract, ...]
    underlying_con_id: int
    liquid_open_utc: int | None
    liquid_close_utc: int | None


class ChainFailed(_Market, frozen=True, kw_only=True):
    """port:quotes => quotes: the chain could not be listed."""

    session_epoch: int
    ticker: str
    why: str


class Subscribe(_Market, frozen=True, kw_only=True):
    """quotes -> port:quotes: stream these contracts and underlyings (tickers)."""

    session_epoch: int
    contracts: tuple[Contract, ...] = ()
    tickers: tuple[str, ...] = ()


class Unsubscribe(_Market, frozen=True, kw_only=True):
    """quotes -> port:quotes: stop streaming these contracts."""

    session_epoch: int
    con_ids: tuple[int, ...]


class WatchClosely(_Market, frozen=True, kw_only=True):
    """quotes -> port:quotes: report ticks of these at once (at most every 100 ms), the others in slower batches."""

    session_epoch: int
    con_ids: tuple[int, ...]


class QuotesArrived(_Market, frozen=True, kw_only=True):
    """port:quotes => quotes: what changed since the last batch."""

    session_epoch: int
    quotes: tuple[Quote, ...]
    spots: tuple[Spot, ...]


class LinesRefused(_Market, frozen=True, kw_only=True):
    """port:quotes => quotes: the broker refused these streams (101 and kin)."""

    session_epoch: int
    con_ids: tuple[int, ...]
    vendor_code: int


class ContractsWanted(_Market, frozen=True, kw_only=True):
    """risk -> quotes: offer up to `count` contracts of today's expiry, nearest to the wanted |delta| first."""

    request_id: str
    reply_to: str
    ticker: str
    right: Right
    expires_utc: int


class ContractsOffered(_Market, frozen=True, kw_only=True):
    """quotes -> risk: the candidates with quotes and greeks, best first; empty with `why` when there are none.

    `is_none_today` says that the broker lists no contract of the ticker that expires today.
    """

    request_id: str
    quotes: tuple[tuple[Contract, Quote], ...]
    spot: Spot | None
    why: str | None = None
    is_none_today: bool = False


class RequestQuote(_Market, frozen=True, kw_only=True):
    """risk, position -> quotes: a quote of this contract whose last tick is not older than `newer_than_utc`."""

    request_id: str
    reply_to: str
    con_id: int
    newer_than_utc: int
    expires_utc: int


class QuoteRead(_Market, frozen=True, kw_only=True):
    """quotes -> asker: the quote asked for, with the underlying's spot."""

    request_id: str
    contract: Contract
    quote: Quote
    spot: Spot | None


class QuoteUnavailable(_Market, frozen=True, kw_only=True):
    """quotes -> asker: no such quote in time; `last` is the newest there is."""

    request_id: str
    con_id: int
    why: str
    last: Quote | None = None


class QuoteChanged(_Market, frozen=True, kw_only=True):
    """quotes -> position: the newest quote of the contract and of its underlying (latest wins)."""

    con_id: int
    quote: Quote
    spot: Spot | None


class WatchContract(_Market, frozen=True, kw_only=True):
    """position -> quotes: stream this contract to me until `UnwatchContract` (held contracts always have a line)."""

    contract: Contract
    reply_to: str


class UnwatchContract(_Market, frozen=True, kw_only=True):
    """position -> quotes: the contract is no longer held or pending."""

    con_id: int
    reply_to: str


class SpotsChanged(_Market, frozen=True, kw_only=True):
    """quotes -> risk: newest underlying prices (latest wins)."""

    spots: tuple[Spot, ...]
