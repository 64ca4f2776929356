"""Identifiers that are functions of what they name, so that a repeated decision gives the same one.

Formats are those of the project's architecture: `alert_id = session-source-ticker-bucket-kind-version` and
`order_ref = ZH-<desk>-<12 base32 characters of sha256(intent)>-<e|xN>`, at most 32 ASCII characters.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import date, time

import msgspec

from domain.instants import at_exchange, exchange_clock

ORDER_REF_MAX = 32  # what the broker keeps of a reference without cutting it
_ALERT = re.compile(
    r"(?P<session>\d{8})-(?P<source>[^-]+)-(?P<ticker>.+)-(?P<bucket>\d{6})-(?P<kind>[^-]+)-(?P<version>\d+)"
)
_ORDER_REF = re.compile(r"ZH-(?P<desk>[^-]+)-(?P<digest>[A-Z2-7]{12})-(?:e|x(?P<exit_n>\d+))")


class AlertName(msgspec.Struct, frozen=True):
    """What an `alert_id` says; `bucket_utc` is the bucket's start."""

    session: date
    source: str
    ticker: str
    bucket_utc: int
    kind: str
    version: int


class OrderName(msgspec.Struct, frozen=True):
    """What an `order_ref` says; `exit_n` is `None` for an entry, counted from 1 for exits."""

    desk: str
    digest: str
    exit_n: int | None


def alert_id(session: date, source: str, ticker: str, bucket_utc: int, kind: str, version: int) -> str:
    """Name an alert; the bucket stands as New York's `HHMMSS` of its start.

    Raises:
        ValueError: `source` or `kind` is empty or holds a hyphen, so the name could not be read back.
    """
    if not source or not kind or "-" in source or "-" in kind:
        raise ValueError(f"source {source!r} and kind {kind!r} must be words without a hyphen")
    clock = exchange_clock(bucket_utc).replace(":", "")
    return f"{session:%Y%m%d}-{source}-{ticker}-{clock}-{kind}-{version}"


def parse_alert_id(text: str) -> AlertName:
    """Read an `alert_id` back.

    Raises:
        ValueError: not an alert id.
    """
    match = _ALERT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an alert id (session-source-ticker-bucket-kind-version)")
    session = date.fromisoformat(match["session"])
    clock = match["bucket"]
    bucket = time(int(clock[:2]), int(clock[2:4]), int(clock[4:]))
    return AlertName(
        session,
        match["source"],
        match["ticker"],
        at_exchange(session, bucket),
        match["kind"],
        int(match["version"]),
    )


def intent_id(alert: str, strategy: str, leg: int = 0) -> str:
    """Name what a strategy wants to do about an alert; `leg` counts the legs of a structure from 0."""
    return f"{alert}/{strategy}/{leg}"


def _order_ref(desk: str, intent: str, suffix: str) -> str:
    digest = base64.b32encode(hashlib.sha256(intent.encode()).digest()).decode("ascii")[:12]
    ref = f"ZH-{desk}-{digest}-{suffix}"
    if "-" in desk or not ref.isascii() or len(ref) > ORDER_REF_MAX:
        raise ValueError(f"{ref!r} is no order reference: at most {ORDER_REF_MAX} ASCII characters, no hyphen in desk")
    return ref


def entry_ref(desk: str, intent: str) -> str:
    """Name the entry order of an intent.

    Raises:
        ValueError: the desk's name makes the reference too long or unreadable.
    """
    return _order_ref(desk, intent, "e")


def exit_ref(desk: str, intent: str, exit_n: int) -> str:
    """Name the n-th exit order (from 1) of the position that an intent opened.

    Raises:
        ValueError: `exit_n` < 1, or the desk's name makes the reference too long or unreadable.
    """
    if exit_n < 1:
        raise ValueError(f"exits are counted from 1, not {exit_n}")
    return _order_ref(desk, intent, f"x{exit_n}")


def parse_order_ref(text: str) -> OrderName | None:
    """Read an `order_ref` back; `None` for a reference that is not ours."""
    match = _ORDER_REF.fullmatch(text)
    if match is None:
        return None
    exit_n = match["exit_n"]
    return OrderName(match["desk"], match["digest"], None if exit_n is None else int(exit_n))
