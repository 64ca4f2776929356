"""Frames of the feed, to and from `Profile` and `SpotPrice`: base64 of a protobuf `Any` around zstd(protobuf).

The payload does not name its category: the envelope's group does.
Whatever cannot be read becomes a `Refused`, never an exception.
"""

from __future__ import annotations

import binascii
import re
import threading
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import numpy as np
import zstandard
from google.protobuf.message import DecodeError

from domain.instants import SECOND
from domain.options.profile import CLIPPED, PRIORS, SCALARS, THOUSANDTHS, VALUE_COLUMNS, Ints, Profile, Shape, shape_of
from domain.units import Ticks, Utc
from gateways.gexbot import columns, schema

PAYLOAD_BYTES_MAX: Final = 4 * 1024 * 1024  # beyond it a frame is a bomb
_USUAL_BYTES_MAX: Final = 64 * 1024  # room that is cheap to make; an SPX frame of 700 strikes is about 30 KB
STRIKES_MAX: Final = 20_000  # of one frame; the widest index chain has a tenth of it
GROUP_CHARS_MAX: Final = 64
SPOT_CATEGORY: Final = "spot"
_TIMESTAMP_MAX_S: Final = 4_102_444_800  # 2100-01-01, beyond it the field is garbage
_TYPE_URLS: Final = {
    Shape.GEX.value: "proto.gex",
    Shape.GREEK.value: "proto.greek",
    Shape.ORDERFLOW.value: "proto.orderflow",
    SPOT_CATEGORY: "proto.spot",
}
# Tickers hold underscores (`ES_SPX`), so the category is looked for and never split off.
_GROUP: Final = re.compile(
    r"(?:blue_|red_)?(?P<ticker>[A-Z][A-Z0-9._]*?)_(?P<category>"
    r"classic_gex_(?:full|zero|one|\d{8})"
    r"|state_gex_(?:full|zero|one|\d{8})"
    r"|state_(?:delta|gamma|vanna|charm)_(?:zero|one|\d{8})"
    r"|orderflow_orderflow|spot)"
)


# Where thousandths stand among the scalars and the per-strike columns of a shape.
_THOUSANDTHS_AT: Final[dict[Shape, tuple[list[int], list[int]]]] = {
    shape: (
        [n for n, name in enumerate(SCALARS[shape]) if name in THOUSANDTHS],
        [n for n, name in enumerate(VALUE_COLUMNS[shape]) if name in THOUSANDTHS],
    )
    for shape in Shape
}

T = TypeVar("T")


class Refusal(StrEnum):
    """Why a frame was not taken."""

    CORRUPT = "corrupt"
    BOMB = "bomb"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_GROUP = "unknown_group"
    WRONG_TYPE = "wrong_type"
    TIME_BACKWARDS = "time_backwards"
    TIME_AHEAD = "time_ahead"
    STALE = "stale"
    OPENING = "opening"
    IMPLAUSIBLE = "implausible"
    CLIPPED = "clipped"


class Refused(msgspec.Struct, frozen=True):
    """A frame that was not taken: the code that is counted and one sentence for people."""

    code: Refusal
    sentence: str


class Group(NamedTuple):
    """A group by its ticker and category (`spot` for the price of the underlying)."""

    ticker: str
    category: str


class SpotPrice(msgspec.Struct, frozen=True):
    """The underlying's price in 1/100 at an instant of the feed."""

    ticker: str
    source_utc: Utc
    spot: Ticks


class Packed(NamedTuple):
    """A frame as it is kept: what it says it carries, and the payload still compressed."""

    kind: str
    compressed: bytes


class _Codecs(threading.local):
    """Zstandard contexts, one pair a thread: they are not safe to share."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=1, write_content_size=False)
        self.decompressor = zstandard.ZstdDecompressor()


_codecs = _Codecs()


def parse_group(name: str) -> Group | None:
    """Return a group by its name, with or without the legacy colour prefix; `None` when it is no group of the feed."""
    return None if len(name) > GROUP_CHARS_MAX else _parsed(name)


@lru_cache(maxsize=4096)
def _parsed(name: str) -> Group | None:
    found = _GROUP.fullmatch(name)
    return Group(found["ticker"], found["category"]) if found else None


def has_clipped(profile: Profile) -> bool:
    """Return whether a ×1000 value of a profile is the saturated bound and therefore no reading."""
    scalars_at, columns_at = _THOUSANDTHS_AT[profile.shape]
    if any(abs(profile.scalars[n]) == CLIPPED for n in scalars_at):
        return True
    return bool(columns_at) and bool((profile.values[:, columns_at] == CLIPPED).any())


def unpack(data_b64: str) -> Packed | Refused:
    """Return a frame out of its base64 and its `Any`; the payload stays compressed."""
    try:
        frame = schema.AnyFrame.FromString(binascii.a2b_base64(data_b64, strict_mode=True))
    except (ValueError, DecodeError) as error:
        return Refused(Refusal.CORRUPT, f"the frame is no base64 Any: {error}")
    type_url = frame.type_url
    for kind, known in _TYPE_URLS.items():
        if known in type_url:
            return Packed(kind, frame.value)
    return Refused(Refusal.UNKNOWN_TYPE, f"no payload type {type_url[:80]!r} is known")


def peek_timestamp(packed: Packed, bytes_max: int = PAYLOAD_BYTES_MAX) -> Utc | Refused:
    """Return the source instant alone, which is field 1 and comes first in every payload."""
    payload = _decompress(packed.compressed, bytes_max)
    if isinstance(payload, Refused):
        return payload
    if payload[:1] != b"\x08":  # legal protobuf in another order
        return _parse(packed.kind, payload, lambda message: _source_utc(message.timestamp))
    seconds = shift = 0
    for byte in payload[1:11]:
        seconds |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    try:
        return _source_utc(seconds)
    except ValueError as error:
        return Refused(Refusal.CORRUPT, str(error))


def decode_frame(group: str, data_b64: str) -> Profile | SpotPrice | Refused:
    """Return one frame, decoded as it stands in the envelope's `data`, by the group that the envelope names."""
    key = parse_group(group)
    if key is None:
        return unknown_group(group)
    packed = unpack(data_b64)
    return packed if isinstance(packed, Refused) else decode_packed(key, packed)


def decode_packed(key: Group, packed: Packed, bytes_max: int = PAYLOAD_BYTES_MAX) -> Profile | SpotPrice | Refused:
    """Return a kept frame, decoded; strikes come out ascending whatever their order on the wire."""
    mismatch = kind_mismatch(key, packed)
    if mismatch is not None:
        return mismatch
    payload = _decompress(packed.compressed, bytes_max)
    if isinstance(payload, Refused):
        return payload
    result = _parse(packed.kind, payload, lambda message: _READERS[packed.kind](key, message))
    if not isinstance(result, Refused) and result.ticker != key.ticker:
        return Refused(Refusal.WRONG_TYPE, f"the frame of group {key} is about {result.ticker[:20]!r}")
    return result


def kind_mismatch(key: Group, packed: Packed) -> Refused | None:
    """Return the refusal of a payload of another type than its group carries; `None` when they agree."""
    wanted = SPOT_CATEGORY if key.category == SPOT_CATEGORY else shape_of(key.category).value
    if packed.kind == wanted:
        return None
    return Refused(Refusal.WRONG_TYPE, f"group {key} carries {wanted}, not {packed.kind}")


def unknown_group(name: str) -> Refused:
    """Return the refusal of a frame of a group that is none of the feed's."""
    return Refused(Refusal.UNKNOWN_GROUP, f"no group {name[:80]!r} is known")


def encode_frame(item: Profile | SpotPrice) -> str:
    """Return a frame as the vendor sends it: protobuf, zstd without content size, `Any` with a bare type name, base64.

    Raises:
        ValueError: a value does not fit its wire type.
    """
    kind, payload = encode_payload(item)
    compressed = _codecs.compressor.compress(payload)
    return wrap(_TYPE_URLS[kind], compressed)


def wrap(type_url: str, compressed: bytes) -> str:
    """Return a compressed payload in its `Any` and base64."""
    frame = schema.AnyFrame(type_url=type_url, value=compressed)
    return binascii.b2a_base64(frame.SerializeToString(), newline=False).decode("ascii")


def encode_payload(item: Profile | SpotPrice) -> tuple[str, bytes]:
    """Return the kind and the bare protobuf bytes of a profile or a spot."""
    if isinstance(item, SpotPrice):
        return SPOT_CATEGORY, schema.SpotPrice(
            timestamp=item.source_utc // SECOND,
            ticker=item.ticker,
            spot=item.spot,
            source_timestamp_ms=item.source_utc // 1_000_000,
        ).SerializeToString()
    shape = item.shape
    return shape.value, _WRITERS[shape](item).SerializeToString()


def _write_gex(profile: Profile) -> Any:
    named = dict(zip(SCALARS[Shape.GEX][:8], profile.scalars[:8], strict=True))
    message = schema.Gex(**_head(profile), **named)
    add = message.strikes.add
    for strike, (gex_vol, gex_oi), priors in zip(*_lists(profile), strict=True):
        add(strike=strike, gex_vol=gex_vol, gex_oi=gex_oi).priors.values.extend(priors)
    tuples = profile.scalars[8:]
    for strike, change in zip(tuples[::2], tuples[1::2], strict=True):
        message.max_priors.tuples.add(strike=strike, change=change)
    return message


def _write_greek(profile: Profile) -> Any:
    named = dict(zip(SCALARS[Shape.GREEK], profile.scalars, strict=True))
    message = schema.OptionProfile(**_head(profile), **named)
    add = message.contracts.add
    for strike, (call_ivol, put_ivol, exposure), priors in zip(*_lists(profile), strict=True):
        add(strike=strike, call_ivol=call_ivol, put_ivol=put_ivol, exposure=exposure, priors=priors)
    return message


def _write_orderflow(profile: Profile) -> Any:
    named = dict(zip(SCALARS[Shape.ORDERFLOW], profile.scalars, strict=True))
    return schema.Orderflow(**_head(profile), **named)


def _head(profile: Profile) -> dict[str, Any]:
    return {
        "timestamp": profile.source_utc // SECOND,
        "ticker": profile.ticker,
        "spot": profile.spot,
    }


def _lists(profile: Profile) -> tuple[list[Any], list[Any], list[Any]]:
    return profile.strikes.tolist(), profile.values.tolist(), profile.priors.tolist()


def _decompress(compressed: bytes, bytes_max: int) -> bytes | Refused:
    """Return a payload, decompressed up to the cap; a header that announces more is refused before room is made."""
    try:
        if zstandard.frame_content_size(compressed) > bytes_max:
            return Refused(Refusal.BOMB, f"the payload announces more than {bytes_max} B")
        try:
            return _codecs.decompressor.decompress(compressed, max_output_size=min(_USUAL_BYTES_MAX, bytes_max))
        except zstandard.ZstdError:
            # Larger than usual, a bomb, or no whole frame: the stream tells, and stops one byte after the cap.
            with zstandard.ZstdDecompressor().stream_reader(compressed) as reader:
                payload = reader.read(bytes_max + 1)
            if len(payload) > bytes_max:
                return Refused(Refusal.BOMB, f"the payload grows beyond {bytes_max} B")
            return _codecs.decompressor.decompress(compressed, max_output_size=len(payload) + 1)
    except zstandard.ZstdError as error:
        return Refused(Refusal.CORRUPT, f"the payload is no zstd frame: {error}")


def _parse(kind: str, payload: bytes, read: Callable[[Any], T]) -> T | Refused:
    try:
        return read(_CLASSES[kind].FromString(payload))
    except (DecodeError, ValueError, OverflowError) as error:
        return Refused(Refusal.CORRUPT, f"the payload is no {kind}: {error}")


def _source_utc(seconds: int) -> Utc:
    if not 0 < seconds < _TIMESTAMP_MAX_S:
        raise ValueError(f"timestamp {seconds} is no instant")
    return Utc(seconds * SECOND)


def _read_gex(key: Group, message: Any) -> Profile:
    named = tuple(getattr(message, name) for name in SCALARS[Shape.GEX][:8])
    tuples = [number for t in message.max_priors.tuples[:6] for number in (t.strike, t.change)]
    tuples.extend([0] * (12 - len(tuples)))
    table = columns.table_of(_bounded(message.strikes), columns.STRIKE)
    if table is None:
        strikes = map(schema.Strike.FromString, message.strikes)
        rows = [(s.strike, s.gex_vol, s.gex_oi, *s.priors.values) for s in strikes]
        table = _table(rows, Shape.GEX)
    return _profile(key, message, (*named, *tuples), table)


def _read_greek(key: Group, message: Any) -> Profile:
    named = tuple(getattr(message, name) for name in SCALARS[Shape.GREEK])
    table = columns.table_of(_bounded(message.contracts), columns.MINI_CONTRACT)
    if table is None:
        minis = map(schema.MiniContract.FromString, message.contracts)
        rows = [(c.strike, c.call_ivol, c.put_ivol, c.exposure, *c.priors) for c in minis]
        table = _table(rows, Shape.GREEK)
    return _profile(key, message, named, table)


def _bounded(elements: Sequence[bytes]) -> list[bytes]:
    """Return the elements of a frame.

    Raises:
        ValueError: there are more than any chain has; a small frame can name a million.
    """
    if len(elements) > STRIKES_MAX:
        raise ValueError(f"{len(elements)} strikes are more than any chain has")
    return list(elements)


def _read_orderflow(key: Group, message: Any) -> Profile:
    named = tuple(getattr(message, name) for name in SCALARS[Shape.ORDERFLOW])
    return _profile(key, message, named, np.empty((0, 1), dtype=np.int32))


def _read_spot(key: Group, message: Any) -> SpotPrice:
    if not 0 < message.spot <= CLIPPED:
        raise ValueError(f"spot {message.spot} is no price")
    return SpotPrice(message.ticker, _source_utc(message.timestamp), Ticks(message.spot))


def _profile(key: Group, message: Any, scalars: tuple[int, ...], table: Ints) -> Profile:
    if max(message.spot, *scalars) > CLIPPED:
        raise ValueError("a price is beyond 31 bits")
    strikes = table[:, 0]
    if (strikes[1:] < strikes[:-1]).any():
        table = table[np.argsort(strikes, kind="stable")]
    values_end = 1 + len(VALUE_COLUMNS[shape_of(key.category)])
    return Profile(
        message.ticker,
        key.category,
        _source_utc(message.timestamp),
        Ticks(message.spot),
        scalars,
        np.ascontiguousarray(table[:, 0]),
        np.ascontiguousarray(table[:, 1:values_end]),
        np.ascontiguousarray(table[:, values_end:]),
    )


def _table(rows: list[tuple[int, ...]], shape: Shape) -> Ints:
    """Return rows that `columns` could not take as a table; missing priors read as 0, surplus ones are cut."""
    width = 1 + len(VALUE_COLUMNS[shape]) + PRIORS[shape]
    padded = [(*row, *([0] * width))[:width] for row in rows]
    return np.array(padded, dtype=np.int32).reshape(len(rows), width)


_CLASSES: Final[dict[str, Any]] = {
    Shape.GEX.value: schema.GexUnread,
    Shape.GREEK.value: schema.OptionProfileUnread,
    Shape.ORDERFLOW.value: schema.Orderflow,
    SPOT_CATEGORY: schema.SpotPrice,
}
_READERS: Final[dict[str, Callable[[Group, Any], Profile | SpotPrice]]] = {
    Shape.GEX.value: _read_gex,
    Shape.GREEK.value: _read_greek,
    Shape.ORDERFLOW.value: _read_orderflow,
    SPOT_CATEGORY: _read_spot,
}
_WRITERS: Final[dict[Shape, Callable[[Profile], Any]]] = {
    Shape.GEX: _write_gex,
    Shape.GREEK: _write_greek,
    Shape.ORDERFLOW: _write_orderflow,
}
