"""Market conversation: hub frames become buckets, buckets become rows; contracts and quotes are asked for and told.

Who says what to whom: `docs/reference/messages.md` (generated from the inboxes and the table of subscribers).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import ClassVar

import msgspec

from domain.instruments import Contract, Quote, Right, Spot
from domain.market.bars import MinuteBar
from domain.market.correlation import Breakdown
from domain.options.profile import Rows
from domain.signals.feed_rules import rank_of
from domain.units import Ticks, Utc
from messages.base import Command, Event, Report


def _tag(name: str) -> str:
    return f"market.{name}"


class _Command(Command, frozen=True, kw_only=True, tag=_tag):
    """Base of this conversation's commands."""


class _Report(Report, frozen=True, kw_only=True, tag=_tag):
    """Base of this conversation's reports."""


class _Event(Event, frozen=True, kw_only=True, tag=_tag):
    """Base of this conversation's events."""


# -- the feed: negotiate once, hand out addresses ------------------------------------------------


class Negotiate(_Command, frozen=True, kw_only=True):
    """Negotiate all hubs of all groups afresh (this ends the key's older sessions)."""

    feed_epoch: int
    groups: tuple[str, ...]
    key_n: int = 0


class Negotiated(_Report, frozen=True, kw_only=True):
    """The hubs that have an address now; addresses and tokens stay in the port."""

    feed_epoch: int
    hubs: tuple[str, ...]
    token_until_utc: Utc
    key_n: int = 0


class NegotiateFailed(_Report, frozen=True, kw_only=True):
    """No addresses, and why in one sentence; `is_final` when a retry cannot help (401, 403)."""

    feed_epoch: int
    why: str
    is_final: bool
    key_n: int = 0


class PatchMemberships(_Command, frozen=True, kw_only=True):
    """Replace all memberships of a key on its live connections: (hub, group) pairs; nobody has to dial again.

    `standing_n` of them are of hubs whose session stands: where fewer are changed, it has failed.
    """

    feed_epoch: int
    memberships: tuple[tuple[str, str], ...]
    standing_n: int = 0
    key_n: int = 0


class MembershipsPatched(_Report, frozen=True, kw_only=True):
    """The memberships in force now; `updated_n` of them stand on connections that live."""

    feed_epoch: int
    updated_n: int
    key_n: int = 0


class PatchFailed(_Report, frozen=True, kw_only=True):
    """The memberships are those of before, and why in one sentence; `is_final` as in `NegotiateFailed`."""

    feed_epoch: int
    why: str
    is_final: bool
    key_n: int = 0


class ChangeMemberships(_Command, frozen=True, kw_only=True):
    """A person wants other categories of the hubs (by hub, all of each), without a restart; `operator` is answered."""

    command_id: str
    hubs: Mapping[str, tuple[str, ...]]


class MembershipsChanged(_Event, frozen=True, kw_only=True):
    """The categories that each hub is to deliver from now on; while they are changed, those of before as well."""

    hubs: Mapping[str, tuple[str, ...]]


class FollowCategories(_Command, frozen=True, kw_only=True):
    """Take, and miss, these (ticker, category) pairs from now on."""

    expected: tuple[tuple[str, str], ...]


class UseAddress(_Command, frozen=True, kw_only=True):
    """Dial with the addresses of this feed epoch."""

    hub: str
    feed_epoch: int
    token_until_utc: Utc
    key_n: int = 0


class DialHub(_Command, frozen=True, kw_only=True):
    """Connect with the address of this feed epoch (the port takes it from the feed's port)."""

    feed_epoch: int
    key_n: int = 0


class CoverHub(_Command, frozen=True, kw_only=True):
    """Poll what the hub's session with this key does not deliver (`is_wanted`), or leave it to the session again."""

    is_wanted: bool
    key_n: int = 0


class HubQuiet(_Report, frozen=True, kw_only=True):
    """No frame that can be used has come since `since_utc`, for as long as a failover waits."""

    hub: str
    since_utc: Utc
    key_n: int = 0


class HubFlows(_Report, frozen=True, kw_only=True):
    """After `HubQuiet`: frames come again."""

    hub: str
    key_n: int = 0


class HubUp(_Event, frozen=True, kw_only=True):
    """Frames can flow; `recovered` when memberships and missed frames came back."""

    hub: str
    feed_epoch: int
    recovered: bool
    key_n: int = 0


class HubDown(_Event, frozen=True, kw_only=True):
    """The connection ended (recovery within the reconnection window is the port's own).

    `has_delivered`: a frame came in it, which is what makes a session a success.
    """

    hub: str
    feed_epoch: int
    cause: str
    can_reuse: bool
    key_n: int = 0
    has_delivered: bool = False


class RequestAddress(_Command, frozen=True, kw_only=True):
    """This hub cannot go on with the addresses of `feed_epoch`; `failures` dials in a row were in vain."""

    hub: str
    feed_epoch: int
    key_n: int = 0
    failures: int = 0


# -- buckets ------------------------------------------------------------------------------------


class BucketDue(_Event, frozen=True, kw_only=True):
    """The bucket that started at `bucket_utc` is over; close it by `close_by_utc`."""

    bucket_utc: Utc
    close_by_utc: Utc


class SealBucket(_Command, frozen=True, kw_only=True):
    """Decode what the bucket holds."""

    bucket_utc: Utc


class FrameCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a bucket's frames: accepted, repeated by redelivery, late, and refused by code.

    `lag_ms` is how far their instants lay behind the clock that they were received by, of the frame nearest to it
    (negative: ahead of it); `None`: none came.
    """

    accepted: int = 0
    repeated: int = 0
    late: int = 0
    refused: tuple[tuple[str, int], ...] = ()
    lag_ms: int | None = None


class BucketSealed(_Report, frozen=True, kw_only=True):
    """The decoded bucket; `absent` are (ticker, category) pairs expected and silent.

    `late` are rows of buckets sealed before (one `Rows` a bucket): frames that redelivery brought after the seal.
    `covered` are pairs whose row was polled because the stream had none; `not_polled` those of `absent` that polling
    leaves out. `notes` say to people why something is absent, a sentence each. `bars` are minute bars that the source
    told since the last seal.
    """

    hub: str
    bucket_utc: Utc
    rows: Rows
    absent: tuple[tuple[str, str], ...]
    counts: FrameCounts
    why_absent: str = "silent"
    late: tuple[Rows, ...] = ()
    covered: tuple[tuple[str, str], ...] = ()
    not_polled: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    bars: tuple[MinuteBar, ...] = ()


class TickerSealed(_Report, frozen=True, kw_only=True):
    """All that a bucket holds of one ticker whose lanes wait for it, decoded first; `BucketSealed` has it again."""

    hub: str
    bucket_utc: Utc
    ticker: str
    rows: Rows


class StoreBucket(_Command, frozen=True, kw_only=True):
    """Keep these rows and record a gap for each absent pair, and one that REST filled for each covered pair.

    `covered`, `not_polled`: as in `BucketSealed`.
    """

    hub: str
    bucket_utc: Utc
    rows: Rows
    absent: tuple[tuple[str, str], ...]
    why_absent: str
    counts: FrameCounts
    covered: tuple[tuple[str, str], ...] = ()
    not_polled: tuple[tuple[str, str], ...] = ()


class BucketStored(_Event, frozen=True, kw_only=True):
    """The rows are durable."""

    hub: str
    bucket_utc: Utc
    content_hash: str


class BucketNotStored(_Event, frozen=True, kw_only=True):
    """The rows could not be kept; `why` is one sentence."""

    hub: str
    bucket_utc: Utc
    why: str


class RowsArrived(_Event, frozen=True, kw_only=True):
    """The bucket's rows of this ticker (values in memory, a reference in the trace).

    `is_all`: nothing more of the ticker comes from this hub; else the marker says so.
    """

    hub: str
    ticker: str
    bucket_utc: Utc
    rows: Rows
    is_all: bool = False


class BarsArrived(_Event, frozen=True, kw_only=True):
    """Minute bars that a source tells itself, of any minutes; what is told again replaces what was told before."""

    hub: str
    at_utc: Utc
    bars: tuple[MinuteBar, ...]


class ContextRead(_Event, frozen=True, kw_only=True):
    """What stored minute bars say of the session beside its readings, as of `at_utc`.

    `broken` are the pairs whose correlation has left its baseline, the furthest first; `None`: no pair has both a
    correlation and a baseline. `derived` are the derived series that have a value: symbol, name and value. `told_utc`
    is when it was told; 0 in a trace of before it was said.
    """

    at_utc: Utc
    session: date
    broken: tuple[Breakdown, ...] | None
    derived: tuple[tuple[str, str, float | str], ...] = ()
    told_utc: Utc = Utc(0)


class HubClosed(_Event, frozen=True, kw_only=True):
    """The marker: nothing of this bucket comes from this hub any more."""

    hub: str
    bucket_utc: Utc
    absent: tuple[tuple[str, str], ...]


# -- contracts and quotes -----------------------------------------------------------------------


class ListChain(_Command, frozen=True, kw_only=True):
    """List the contracts of a ticker that expire on `expiry`."""

    session_epoch: int
    ticker: str
    trading_class: str
    expiry: date


class ChainListed(_Report, frozen=True, kw_only=True):
    """The broker's own chain; an empty one means that none expires that day.

    `hours` are the liquid hours of the day as in `HoursRead`.
    """

    session_epoch: int
    ticker: str
    contracts: tuple[Contract, ...]
    underlying_con_id: int
    hours: tuple[tuple[Utc, Utc], ...] | None


class HoursRead(_Event, frozen=True, kw_only=True):
    """The liquid hours of an underlying's options on a session, as the broker tells them: (open, close), ascending.

    `hours` is `None` where the broker does not say; empty: closed that day.
    """

    ticker: str
    session: date
    hours: tuple[tuple[Utc, Utc], ...] | None


class HaltChanged(_Event, frozen=True, kw_only=True):
    """Trading of this underlying was halted, or goes on again.

    `is_told_again`: that it goes on is no news; it is said to whoever has heard of a halt before the sender crashed.
    """

    ticker: str
    is_halted: bool
    at_utc: Utc
    is_told_again: bool = False


class SpreadsRead(_Event, frozen=True, kw_only=True):
    """The median of the watched contracts' relative spreads (share of mid); `None` where too few are quoted."""

    median: float | None
    quoted: int
    at_utc: Utc


class HaltHeard(_Report, frozen=True, kw_only=True):
    """The port heard that a contract (or an underlying, by ticker) is halted or trades again."""

    session_epoch: int
    con_id: int
    ticker: str
    is_halted: bool


class ChainFailed(_Report, frozen=True, kw_only=True):
    """The chain could not be listed."""

    session_epoch: int
    ticker: str
    why: str


class Subscribe(_Command, frozen=True, kw_only=True):
    """Stream these contracts and underlyings (tickers)."""

    session_epoch: int
    contracts: tuple[Contract, ...] = ()
    tickers: tuple[str, ...] = ()


class Unsubscribe(_Command, frozen=True, kw_only=True):
    """Stop streaming these contracts and underlyings (tickers); whoever subscribes again gets a new line."""

    session_epoch: int
    con_ids: tuple[int, ...] = ()
    tickers: tuple[str, ...] = ()


class WatchClosely(_Command, frozen=True, kw_only=True):
    """Report ticks of these at once (of each at most every 100 ms), the others in slower batches."""

    session_epoch: int
    con_ids: tuple[int, ...]


class QuotesArrived(_Report, frozen=True, kw_only=True):
    """What changed since the last batch."""

    session_epoch: int
    quotes: tuple[Quote, ...]
    spots: tuple[Spot, ...]


class LinesRefused(_Report, frozen=True, kw_only=True):
    """The broker refused these streams (101 and kin); `remedy` is a sentence, empty where it is a matter of lines."""

    session_epoch: int
    con_ids: tuple[int, ...]
    vendor_code: int
    remedy: str = ""


class RequestContracts(_Command, frozen=True, kw_only=True):
    """Offer contracts of today's expiry, nearest to the wanted |delta| first."""

    request_id: str
    reply_to: str
    ticker: str
    right: Right
    expires_utc: Utc


class ContractsOffered(_Report, frozen=True, kw_only=True):
    """The candidates with quotes and greeks, best first; empty with `why` when there are none.

    `is_none_today` says that the broker lists no contract of the ticker that expires today.
    """

    request_id: str
    quotes: tuple[tuple[Contract, Quote], ...]
    spot: Spot | None
    why: str | None = None
    is_none_today: bool = False


class RequestQuote(_Command, frozen=True, kw_only=True):
    """Report a quote of this contract whose last tick is not older than `newer_than_utc`."""

    request_id: str
    reply_to: str
    con_id: int
    newer_than_utc: Utc
    expires_utc: Utc


class RequestStrike(_Command, frozen=True, kw_only=True):
    """Report a quote of the contract of today's chain at this strike; the answers are those to `RequestQuote`."""

    request_id: str
    reply_to: str
    ticker: str
    right: Right
    strike_ticks: Ticks
    newer_than_utc: Utc
    expires_utc: Utc


class QuoteRead(_Report, frozen=True, kw_only=True):
    """The quote asked for, with the underlying's spot."""

    request_id: str
    contract: Contract
    quote: Quote
    spot: Spot | None


class QuoteUnavailable(_Report, frozen=True, kw_only=True):
    """No such quote in time; `last` is the newest there is."""

    request_id: str
    con_id: int
    why: str
    last: Quote | None = None


class WatchContract(_Command, frozen=True, kw_only=True):
    """Publish every quote of this contract until `UnwatchContract` (held contracts always have a line)."""

    contract: Contract


class UnwatchContract(_Command, frozen=True, kw_only=True):
    """The contract is no longer held or pending."""

    con_id: int


class QuoteChanged(_Event, frozen=True, kw_only=True):
    """The newest quote of a watched contract and of its underlying (latest wins)."""

    CONFLATES: ClassVar[bool] = True
    con_id: int
    quote: Quote
    spot: Spot | None

    def slot(self) -> str:
        """Return one slot a contract."""
        return f"quote:{self.con_id}"


class QuotesSampled(_Event, frozen=True, kw_only=True):
    """Best bid and offer of the watched contracts, and the underlyings' prices, that have changed since before."""

    at_utc: Utc
    quotes: tuple[tuple[Contract, Quote], ...]
    spots: tuple[Spot, ...]


class ChainRead(_Event, frozen=True, kw_only=True):
    """The quoted contracts around the money of one ticker, with volatility, greeks, open interest and volume."""

    ticker: str
    at_utc: Utc
    spot: Spot
    quotes: tuple[tuple[Contract, Quote], ...]


class SpotsChanged(_Event, frozen=True, kw_only=True):
    """Newest underlying prices (latest wins)."""

    CONFLATES: ClassVar[bool] = True
    spots: tuple[Spot, ...]

    def slot(self) -> str:
        """Return one slot a set of underlyings."""
        return "spots:" + ",".join(spot.ticker for spot in self.spots)

    def rank(self) -> int:
        """Return the rank of its first ticker in the order of priority; quotes of what is held or pending go before."""
        return 1 + min((rank_of(spot.ticker) for spot in self.spots), default=0)
