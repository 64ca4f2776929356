"""What is kept beside the vendor's rows, one line a fact: readings, quotes of watched contracts, chains, underlyings.

A line is a JSON object with the names of its columns; a finished day is the same columns in Parquet. Prices are ticks
of 1/100 USD, instants nanoseconds UTC, as everywhere in the program; the views scale them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pyarrow as pa

from domain.features.evidence import Evidence
from domain.instants import session_of
from domain.instruments import Contract, Quote, Spot
from domain.market.bars import MinuteBar
from domain.signals.snapshot import Snapshot
from domain.units import Ticks, Utc
from messages import market, signals
from messages.session import ModeChanged

READINGS: Final = "readings"
QUOTES: Final = "quotes"
CHAINS: Final = "chains"
UNDERLYINGS: Final = "underlyings"
BARS: Final = "bars"
MODES: Final = "modes"
DERIVED: Final = "derived"


class ReadingLine(msgspec.Struct, frozen=True, kw_only=True):
    """One reading: what the features of a ticker and bucket were computed from, and what they are."""

    ticker: str
    bucket_utc: Utc
    reading_n: int
    spot: Ticks | None
    zero_gamma: Ticks | None
    alignment: float | None
    is_complete: bool
    missing: tuple[str, ...]
    forces: tuple[signals.Force, ...]
    features: tuple[float | None, ...]
    snapshot: Snapshot | None
    run_n: int
    evidence: Evidence | None = None


class QuoteLine(msgspec.Struct, frozen=True, kw_only=True):
    """The last quote of one contract when it was looked at."""

    at_utc: Utc
    con_id: int
    ticker: str
    trading_class: str
    expiry: str
    strike: Ticks
    right: str
    bid: Ticks | None
    ask: Ticks | None
    bid_size: int
    ask_size: int
    quote_utc: Utc
    data_type: int
    volume: int | None
    open_interest: int | None
    iv: float | None
    delta: float | None
    gamma: float | None
    theta: float | None
    vega: float | None
    spot: Ticks | None
    mode: str = "live"


class SpotLine(msgspec.Struct, frozen=True, kw_only=True):
    """The last price of one underlying when it was looked at."""

    at_utc: Utc
    ticker: str
    price: Ticks
    tick_utc: Utc
    data_type: int
    mode: str = "live"


class BarLine(msgspec.Struct, frozen=True, kw_only=True):
    """One minute of a ticker as its source told it at `at_utc`; told again, the later line is right."""

    ticker: str
    begin_utc: Utc
    open: Ticks
    high: Ticks
    low: Ticks
    close: Ticks
    volume: int | None
    source: str
    at_utc: Utc


class ModeLine(msgspec.Struct, frozen=True, kw_only=True):
    """The order session's mode from an instant on, and what brought it there."""

    at_utc: Utc
    mode: str
    cause: str
    mode_n: int
    session_epoch: int
    run_n: int


class DerivedLine(msgspec.Struct, frozen=True, kw_only=True):
    """The value of one derived series of a symbol as it was told: a number, or a word; of bars up to `at_utc`."""

    told_utc: Utc
    at_utc: Utc
    symbol: str
    name: str
    value: float | None
    text: str | None


Line = ReadingLine | QuoteLine | SpotLine | BarLine | ModeLine | DerivedLine
Told = (
    signals.FeaturesComputed | market.QuotesSampled | market.ChainRead | market.BarsArrived | market.ContextRead
    | ModeChanged
)  # fmt: skip


class Kind(msgspec.Struct, frozen=True):
    """One kind of line: its struct, its columns, and those that make a line unique."""

    line: type[msgspec.Struct]
    schema: Any
    key: tuple[str, ...]


_FORCE = pa.struct([("name", pa.string()), ("score", pa.float64()), ("confidence", pa.float64())])
_EVIDENCE = pa.struct([
    ("features", pa.list_(pa.float64())), ("context", pa.list_(pa.float64())), ("forces", pa.list_(_FORCE)),
    ("alignment", pa.float64()),
])  # fmt: skip
_NUMBERS = {"iv": pa.float64(), "measures": pa.list_(pa.float64())}
_SNAPSHOT = pa.struct([(name, _NUMBERS.get(name, pa.int64())) for name in Snapshot.__struct_fields__])
_QUOTE = pa.schema([
    ("at_utc", pa.int64()), ("con_id", pa.int64()), ("ticker", pa.string()), ("trading_class", pa.string()),
    ("expiry", pa.string()), ("strike", pa.int64()), ("right", pa.string()), ("bid", pa.int64()), ("ask", pa.int64()),
    ("bid_size", pa.int64()), ("ask_size", pa.int64()), ("quote_utc", pa.int64()), ("data_type", pa.int64()),
    ("volume", pa.int64()), ("open_interest", pa.int64()), ("iv", pa.float64()), ("delta", pa.float64()),
    ("gamma", pa.float64()), ("theta", pa.float64()), ("vega", pa.float64()), ("spot", pa.int64()),
    ("mode", pa.string()),
])  # fmt: skip
_QUOTE_KEY = ("ticker", "expiry", "strike", "right", "at_utc")
KINDS: Final = {
    READINGS: Kind(
        ReadingLine,
        pa.schema([
            ("ticker", pa.string()), ("bucket_utc", pa.int64()), ("reading_n", pa.int64()), ("spot", pa.int64()),
            ("zero_gamma", pa.int64()), ("alignment", pa.float64()), ("is_complete", pa.bool_()),
            ("missing", pa.list_(pa.string())), ("forces", pa.list_(_FORCE)), ("features", pa.list_(pa.float64())),
            ("snapshot", _SNAPSHOT), ("run_n", pa.int64()), ("evidence", _EVIDENCE),
        ]),
        ("ticker", "bucket_utc"),
    ),
    QUOTES: Kind(QuoteLine, _QUOTE, _QUOTE_KEY),
    CHAINS: Kind(QuoteLine, _QUOTE, _QUOTE_KEY),
    UNDERLYINGS: Kind(
        SpotLine,
        pa.schema([
            ("at_utc", pa.int64()), ("ticker", pa.string()), ("price", pa.int64()), ("tick_utc", pa.int64()),
            ("data_type", pa.int64()), ("mode", pa.string()),
        ]),
        ("ticker", "at_utc"),
    ),
    BARS: Kind(
        BarLine,
        pa.schema([
            ("ticker", pa.string()), ("begin_utc", pa.int64()), ("open", pa.int64()), ("high", pa.int64()),
            ("low", pa.int64()), ("close", pa.int64()), ("volume", pa.int64()), ("source", pa.string()),
            ("at_utc", pa.int64()),
        ]),
        ("ticker", "begin_utc", "source", "at_utc"),
    ),
    MODES: Kind(
        ModeLine,
        pa.schema([
            ("at_utc", pa.int64()), ("mode", pa.string()), ("cause", pa.string()), ("mode_n", pa.int64()),
            ("session_epoch", pa.int64()), ("run_n", pa.int64()),
        ]),
        ("run_n", "mode_n", "at_utc"),
    ),
    DERIVED: Kind(
        DerivedLine,
        pa.schema([
            ("told_utc", pa.int64()), ("at_utc", pa.int64()), ("symbol", pa.string()), ("name", pa.string()),
            ("value", pa.float64()), ("text", pa.string()),
        ]),
        ("symbol", "name", "told_utc"),
    ),
}  # fmt: skip


def lines_of(message: Told, run_n: int) -> Iterator[tuple[str, str, Line]]:
    """Yield a message's lines, each behind its session (ISO) and kind."""
    match message:
        case signals.FeaturesComputed():
            seen = message.evidence or message
            line = ReadingLine(
                ticker=message.ticker, bucket_utc=message.bucket_utc, reading_n=message.reading_n, spot=message.spot,
                zero_gamma=message.zero_gamma, alignment=seen.alignment, is_complete=message.is_complete,
                missing=message.missing, features=seen.features, snapshot=message.snapshot, run_n=run_n,
                forces=tuple(signals.Force(name=f.name, score=f.score, confidence=f.confidence) for f in seen.forces),
                evidence=message.evidence,
            )  # fmt: skip
            yield session_of(message.bucket_utc).isoformat(), READINGS, line
        case market.QuotesSampled():
            session = session_of(message.at_utc).isoformat()
            spots = {spot.ticker: spot for spot in message.spots}
            for contract, quote in message.quotes:
                yield session, QUOTES, _quote(message.at_utc, contract, quote, spots.get(contract.ticker))
            for spot in message.spots:
                yield session, UNDERLYINGS, _spot(message.at_utc, spot)
        case market.ChainRead():
            session = session_of(message.at_utc).isoformat()
            for contract, quote in message.quotes:
                yield session, CHAINS, _quote(message.at_utc, contract, quote, message.spot)
        case market.BarsArrived():
            for bar in message.bars:
                yield session_of(bar.begin_utc).isoformat(), BARS, _bar(message, bar)
        case market.ContextRead():
            session = message.session.isoformat()
            for symbol, name, value in message.derived:
                yield session, DERIVED, DerivedLine(
                    told_utc=message.told_utc, at_utc=message.at_utc, symbol=symbol, name=name,
                    value=None if isinstance(value, str) else value, text=value if isinstance(value, str) else None,
                )  # fmt: skip
        case ModeChanged():
            changed = ModeLine(
                at_utc=message.at_utc, mode=message.mode.value, cause=message.cause, mode_n=message.mode_n,
                session_epoch=message.session_epoch, run_n=run_n,
            )  # fmt: skip
            yield session_of(message.at_utc).isoformat(), MODES, changed


def _bar(told: market.BarsArrived, bar: MinuteBar) -> BarLine:
    return BarLine(
        ticker=bar.ticker, begin_utc=bar.begin_utc, open=bar.open, high=bar.high, low=bar.low, close=bar.close,
        volume=bar.volume, source=told.hub, at_utc=told.at_utc,
    )  # fmt: skip


def _quote(at_utc: Utc, contract: Contract, quote: Quote, spot: Spot | None) -> QuoteLine:
    greeks = quote.greeks
    return QuoteLine(
        at_utc=at_utc, con_id=contract.con_id, ticker=contract.ticker, trading_class=contract.trading_class,
        expiry=contract.expiry.isoformat(), strike=contract.strike_ticks, right=contract.right.value,
        bid=quote.bid_ticks, ask=quote.ask_ticks, bid_size=quote.bid_size, ask_size=quote.ask_size,
        quote_utc=quote.at_utc, data_type=int(quote.data_type), volume=quote.volume,
        open_interest=quote.open_interest,
        iv=None if greeks is None else greeks.iv, delta=None if greeks is None else greeks.delta,
        gamma=None if greeks is None else greeks.gamma, theta=None if greeks is None else greeks.theta,
        vega=None if greeks is None else greeks.vega, spot=None if spot is None else spot.price_ticks,
    )  # fmt: skip


def _spot(at_utc: Utc, spot: Spot) -> SpotLine:
    return SpotLine(
        at_utc=at_utc, ticker=spot.ticker, price=spot.price_ticks, tick_utc=spot.at_utc, data_type=int(spot.data_type)
    )
