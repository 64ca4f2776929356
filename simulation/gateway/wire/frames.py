"""The TWS wire: frames of NUL-terminated fields, and how numbers and instants are written in them.

A frame is a big-endian length of four bytes and that many bytes of UTF-8 fields, each ended by NUL.
An empty field means unset. Field facts: section 2 of the project's page on the gateway.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from domain.instants import SECOND, from_datetime, to_datetime
from domain.units import Ticks, Utc

# A client's largest request (a placeOrder with algorithm parameters) stays far below this; beyond it is garbage.
FRAME_BYTES_MAX = 1 << 20
UNSET_DOUBLE = "1.7976931348623157E308"
UNSET_INT = "2147483647"
SERVER_VERSION_MAX = 178
SERVER_VERSION_MIN = 157
EXECUTION_ZONE = "US/Eastern"

_LENGTH = struct.Struct(">I")
EASTERN = ZoneInfo(EXECUTION_ZONE)


class WireError(ValueError):
    """Bytes or fields that no TWS client would send."""


def frame(payload: bytes) -> bytes:
    """Put the length before a payload."""
    return _LENGTH.pack(len(payload)) + payload


def encode(*fields: object) -> bytes:
    """Build one frame of the given fields; `None` is an empty field, a bool is 1 or 0."""
    payload = "".join([_text(field) + "\0" for field in fields]).encode()
    return _LENGTH.pack(len(payload)) + payload


def _text(field: object) -> str:
    if field.__class__ is str:
        return field
    if field is None:
        return ""
    return str(int(field)) if field.__class__ is bool else str(field)


class Framer:
    """Cuts a stream of bytes into payloads."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Return the payloads that are complete now.

        Raises:
            WireError: a frame claims to be longer than any request is.
        """
        self._data += data
        while len(self._data) >= 4:
            (size,) = _LENGTH.unpack_from(self._data)
            if size > FRAME_BYTES_MAX:
                raise WireError(f"a frame of {size} bytes; accepted are {FRAME_BYTES_MAX}")
            if len(self._data) < 4 + size:
                return
            payload = bytes(self._data[4 : 4 + size])
            del self._data[: 4 + size]
            yield payload

    def take_prefix(self, prefix: bytes) -> bool | None:
        """Take a prefix off the stream: False if it is another, `None` if more bytes are needed."""
        if len(self._data) >= len(prefix):
            if not self._data.startswith(prefix):
                return False
            del self._data[: len(prefix)]
            return True
        return None if prefix.startswith(self._data) else False

    def push(self, data: bytes) -> None:
        """Append bytes without cutting them."""
        self._data += data


def fields_of(payload: bytes) -> list[str]:
    """Split a payload into its fields."""
    fields = payload.decode("utf-8", "backslashreplace").split("\0")
    if fields and not fields[-1]:
        fields.pop()
    return fields


def client_versions(hello: str) -> tuple[int, int]:
    """Read the versions that a client offers, as `v157..176` with options after a space, or `v176`.

    Raises:
        WireError: the text is no offer of versions.
    """
    offer = hello.split(" ", maxsplit=1)[0]
    low, _, high = offer.removeprefix("v").partition("..")
    if not offer.startswith("v") or not low.isdigit() or not (high or low).isdigit():
        raise WireError(f"{hello!r} offers no versions; expected v<min>..<max>")
    return int(low), int(high or low)


def usd(ticks: float | None) -> str:
    """Write a price or amount given in hundredths of a dollar; `None` is the unset double."""
    return UNSET_DOUBLE if ticks is None else repr(ticks / 100)


def ticks_of(field: str) -> Ticks | None:
    """Read a price in USD as ticks; empty, unset and zero are `None`.

    Raises:
        WireError: the field is no number, or is not a whole number of hundredths.
    """
    value = float_of(field)
    if value is None or value == 0:
        return None
    ticks = Ticks(round(value * 100))
    if abs(value * 100 - ticks) > 1e-6:
        raise WireError(f"{field} is not a whole number of hundredths")
    return ticks


def float_of(field: str) -> float | None:
    """Read a number; empty and unset are `None`.

    Raises:
        WireError: the field is no finite number.
    """
    if not field:
        return None
    try:
        value = float(field)
    except ValueError:
        raise WireError(f"{field!r} is no number") from None
    if not math.isfinite(value):
        raise WireError(f"{field!r} is no finite number")
    return None if value > 1e300 else value


def int_of(field: str) -> int:
    """Read an integer that may be written as a float; empty and unset are 0.

    Raises:
        WireError: the field is no whole number.
    """
    value = float_of(field)
    if value is None or field == UNSET_INT:
        return 0
    if value != int(value):
        raise WireError(f"{field!r} is no whole number")
    return int(value)


def wire_time(instant_utc: Utc) -> str:
    """Write an instant as executions do, as `20261120 11:43:32 US/Eastern`."""
    moment = to_datetime(instant_utc).astimezone(EASTERN)
    return f"{moment:%Y%m%d %H:%M:%S} {EXECUTION_ZONE}"


def handshake_time(instant_utc: Utc) -> str:
    """Write an instant as the handshake does, as `20261120 11:36:36 EST`."""
    return f"{to_datetime(instant_utc).astimezone(EASTERN):%Y%m%d %H:%M:%S %Z}"


def instant_of(text: str) -> Utc | None:
    """Read `yyyymmdd hh:mm:ss zone` or the UTC form `yyyymmdd-hh:mm:ss`; empty is `None`.

    Raises:
        WireError: the text is neither.
    """
    if not text:
        return None
    try:
        if "-" in text:
            return from_datetime(datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC))
        day, clock, *zone = text.split()
        tzinfo = ZoneInfo(zone[0]) if zone else EASTERN
        return from_datetime(datetime.strptime(f"{day} {clock}", "%Y%m%d %H:%M:%S").replace(tzinfo=tzinfo))
    except (ValueError, KeyError):
        raise WireError(f"{text!r} is no date; expected yyyymmdd hh:mm:ss zone") from None


def epoch_s(instant_utc: Utc) -> int:
    """Return the whole seconds since the epoch, as currentTime does."""
    return instant_utc // SECOND
