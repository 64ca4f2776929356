"""Messages of the provider's streams: JSON arrays of events, each named by its `ev`.

| `ev` | what it tells | fields that are read |
|---|---|---|
| `status` | the session: connected, auth_success, auth_failed, success, error, max_connections | status, message |
| `T` | a trade | sym, p, t |
| `Q` | the best bid and offer | sym, bp, ap, t |
| `V` | the value of an index | T (its symbol), val, t |
| `A` | the aggregate of a second | sym, c, e |
| `AM` | the aggregate of a minute | sym, o, h, l, c, v, s |

Prices are USD, instants milliseconds UTC. An event that cannot be read is counted by the reason and the others of its
message are used: one odd event must not cost the rest.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec

from domain.indices import INDICES
from domain.instants import MINUTE, MS
from domain.market.bars import MinuteBar
from domain.options.chain_bounds import SPOT_MAX_USD, SPOT_MIN_USD
from domain.units import Ticks, Utc
from gateways.market_data.symbols import ticker_of

SPREAD_SHARE_MAX: Final = 0.05  # of the bid: a wider market names no price, and there are many around the open
INSTANT_MS_MAX: Final = 4_102_444_800_000  # 2100
VOLUME_MAX: Final = 1e12


class Status(msgspec.Struct, frozen=True, tag_field="ev", tag="status"):
    """What the provider says of the session."""

    status: str
    message: str = ""


class _Trade(msgspec.Struct, frozen=True, tag_field="ev", tag="T"):
    sym: str
    p: float
    t: int


class _Quote(msgspec.Struct, frozen=True, tag_field="ev", tag="Q"):
    sym: str
    t: int
    bp: float = 0.0
    ap: float = 0.0


class _Value(msgspec.Struct, frozen=True, tag_field="ev", tag="V"):
    T: str
    val: float
    t: int


class _Second(msgspec.Struct, frozen=True, tag_field="ev", tag="A"):
    sym: str
    c: float
    e: int


class _Minute(msgspec.Struct, frozen=True, tag_field="ev", tag="AM"):
    sym: str
    o: float
    h: float
    l: float  # noqa: E741 - the provider's name
    c: float
    s: int
    v: float = 0.0


class _Named(msgspec.Struct, frozen=True):
    ev: str


class PriceTold(msgspec.Struct, frozen=True):
    """A ticker's price at an instant of the provider's clock."""

    ticker: str
    at_utc: Utc
    price: Ticks


Event = PriceTold | MinuteBar | Status

_MESSAGE: Final = msgspec.json.Decoder(list[msgspec.Raw])
_EVENT: Final = msgspec.json.Decoder(Status | _Trade | _Quote | _Value | _Second | _Minute)
_NAMED: Final = msgspec.json.Decoder(_Named)
_KNOWN: Final = frozenset({"status", "T", "Q", "V", "A", "AM"})


def decode(data: bytes) -> tuple[list[Event], Counter[str]]:
    """Return a message's events in their order, and how many were left out by reason."""
    refused: Counter[str] = Counter()
    try:
        raws = _MESSAGE.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        refused["no_events"] += 1
        return [], refused
    events: list[Event] = []
    for raw in raws:
        try:
            read = _EVENT.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            refused["bad_event" if _name(raw) in _KNOWN else "unknown_event"] += 1
            continue
        if isinstance(read, _Quote) and not _names_price(read):
            continue
        event = read if isinstance(read, Status) else _plain(read)
        if event is None:
            refused["implausible_event"] += 1
        else:
            events.append(event)
    return events, refused


def _name(raw: msgspec.Raw) -> str:
    try:
        return _NAMED.decode(raw).ev
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def _plain(read: _Trade | _Quote | _Value | _Second | _Minute) -> PriceTold | MinuteBar | None:
    """Return an event in our terms; `None` where its numbers cannot be."""
    match read:
        case _Trade():
            return _price(read.sym, read.t, read.p)
        case _Quote():
            return _price(read.sym, read.t, (read.bp + read.ap) / 2.0)
        case _Value():
            return _price(read.T, read.t, read.val)
        case _Second():
            return _price(read.sym, read.e, read.c)
        case _Minute():
            return minute_bar(ticker_of(read.sym), read.s, read.o, read.h, read.l, read.c, read.v)


def _names_price(quote: _Quote) -> bool:
    """Return whether a market is two-sided and narrow enough for its middle to be a price; others are no fault."""
    return 0.0 < quote.bp <= quote.ap and quote.ap - quote.bp <= SPREAD_SHARE_MAX * quote.bp


def _price(symbol: str, at_ms: int, usd: float) -> PriceTold | None:
    if not (is_price(usd) and 0 < at_ms < INSTANT_MS_MAX):
        return None
    return PriceTold(ticker_of(symbol), Utc(at_ms * MS), Ticks(round(usd * 100.0)))


def is_price(usd: float) -> bool:
    """Return whether a number can be the price of an underlying in USD; NaN cannot."""
    return SPOT_MIN_USD <= usd <= SPOT_MAX_USD


def minute_bar(
    ticker: str, begin_ms: int, first: float, high: float, low: float, last: float, volume: float
) -> MinuteBar | None:
    """Return a bar of prices in USD, an index without a volume; `None` where it can be none."""
    begin_utc = begin_ms * MS
    is_whole = 0 < begin_ms < INSTANT_MS_MAX and begin_utc % MINUTE == 0
    if not (is_whole and is_price(low) and is_price(high) and low <= min(first, last) <= max(first, last) <= high):
        return None
    if not 0.0 <= volume <= VOLUME_MAX:
        return None
    return MinuteBar(
        ticker=ticker, begin_utc=Utc(begin_utc), open=Ticks(round(first * 100.0)), high=Ticks(round(high * 100.0)),
        low=Ticks(round(low * 100.0)), close=Ticks(round(last * 100.0)),
        volume=None if ticker in INDICES else round(volume),
    )  # fmt: skip
