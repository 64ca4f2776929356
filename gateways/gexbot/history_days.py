"""A history stream as the rows of a session, folded as the live side folds frames: the last of each bucket, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date
from typing import Final

import msgspec
import orjson

from domain.instants import SECOND, bucket_of, session_of
from domain.options.profile import IngestMode, Profile, Row
from domain.session import calendar
from domain.units import Utc
from gateways.gexbot.rest_json import profile_of

TIMESTAMP_MAX_S: Final = 4_102_444_800  # 2100-01-01, beyond it the field is garbage
PROGRESS_EVERY: Final = 2_048


class _Head(msgspec.Struct):
    """What must be known of an object before it is worth reading whole; the rest is checked to be JSON."""

    timestamp: float
    ticker: str = ""


_HEAD: Final = msgspec.json.Decoder(_Head)


class _Slot:
    """One bucket: its newest object, the one before (should the newest not decode), and the count."""

    __slots__ = ("first_utc", "frames", "last_utc", "newest", "previous")

    def __init__(self, at_utc: Utc) -> None:
        self.newest = b""
        self.previous = b""
        self.frames = 0
        self.first_utc = at_utc
        self.last_utc = at_utc


class FoldedDay(msgspec.Struct, frozen=True):
    """What a stream came to: rows behind their buckets, ascending; objects read, and those refused, by reason."""

    session: date | None
    rows: tuple[tuple[Utc, Row], ...]
    objects_n: int
    refused: dict[str, int]


def folded(
    objects: Iterable[bytes],
    ticker: str,
    category: str,
    hub: str,
    progress: Callable[[int], None] = lambda _: None,
) -> FoldedDay:
    """Return the rows of one ticker and category in a stream of one session's objects.

    The session is that of the first object within regular hours; what lies outside of its hours (timestamps freeze
    there), goes back in time, is of another ticker or kind, or is no object, is refused and counted.
    """
    session, open_utc, close_utc = None, Utc(0), Utc(0)
    slots: dict[Utc, _Slot] = {}
    refused: Counter[str] = Counter()
    last_utc, n = Utc(0), 0
    for n, raw in enumerate(objects, 1):
        if n % PROGRESS_EVERY == 0:
            progress(n)
        try:
            head = _HEAD.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            refused["corrupt"] += 1
            continue
        if not 0 < head.timestamp < TIMESTAMP_MAX_S:
            refused["bad_timestamp"] += 1
            continue
        at_utc = Utc(int(head.timestamp) * SECOND)
        if head.ticker not in ("", ticker):
            refused["wrong_ticker"] += 1
            continue
        if not open_utc <= at_utc < close_utc:
            day = calendar.day(session_of(at_utc)) if session is None else None
            if day is None or not day.open_utc <= at_utc < day.close_utc:
                is_other = session is not None and session_of(at_utc) != session
                refused["another_session" if is_other else "outside_hours"] += 1
                continue
            session, open_utc, close_utc = day.session, day.open_utc, day.close_utc
        if at_utc < last_utc:
            refused["time_backwards"] += 1
            continue
        last_utc = at_utc
        slot = slots.get(bucket_of(at_utc))
        if slot is None:
            slot = slots[bucket_of(at_utc)] = _Slot(at_utc)
        slot.previous, slot.newest = slot.newest, raw
        slot.frames += 1
        slot.last_utc = at_utc
    rows = tuple(
        (bucket_utc, row)
        for bucket_utc, slot in slots.items()
        if (row := _row(slot, ticker, category, hub, refused)) is not None
    )
    return FoldedDay(session, rows, n, dict(sorted(refused.items())))


def _row(slot: _Slot, ticker: str, category: str, hub: str, refused: Counter[str]) -> Row | None:
    for raw in (slot.newest, slot.previous):
        if not raw:
            continue
        try:
            item = orjson.loads(raw)
        except ValueError:  # no UTF-8
            item = None
        found = profile_of(ticker, category, item)
        if isinstance(found, Profile):
            return Row(found, hub, slot.frames, slot.first_utc, slot.last_utc, IngestMode.IMPORT)
        refused[found.code.value] += 1
    return None
