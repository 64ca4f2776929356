"""How far market time may run while buckets are on their way: stops in each bucket, each left when its work is done.

`FRAMES` stands a second before the bucket's end, until every hub that is up by then has delivered the last frames of
each of its categories. `READINGS` stands right after the bucket is due, until every ticker's reading is in, the lanes
have looked, and the warehouse has the rows; `ROWS` a moment later, until every hub's rows are stored: after the
warehouse's own pause, and before anybody misses them. A stop that lasts too long in real time is given up: then the
actors' own deadlines pass (`LATE`), as they would on a real day, and whoever was missing is a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Final

from domain.instants import BUCKET_NS, SECOND, bucket_of
from domain.units import Utc
from messages import market, signals
from messages.base import Message

FRAMES_STOP_NS: Final = BUCKET_NS - SECOND
READINGS_STOP_NS: Final = SECOND // 2  # after the bucket is due
ROWS_STOP_NS: Final = 9 * SECOND // 10  # likewise; the warehouse stores 250 ms after the rows, a hub misses it at 1 s
LATE_MARGIN_NS: Final = 3 * SECOND
PATIENCE_NS: Final = 60 * SECOND  # real: far more than a busy machine needs; whoever used it up is not awaited again

Hours = tuple[Utc, Utc]  # open and close


class Stop(StrEnum):
    """Where market time stops next, and what for."""

    FRAMES = "frames"
    READINGS = "readings"
    ROWS = "rows"
    LATE = "late readings"
    NONE = "nothing"


class Buckets:
    """The stops of a session's buckets, one session after the other.

    Args:
        tickers: that have a reading.
        grace_ns: after a bucket's end, when it is due.
    """

    def __init__(self, tickers: Iterable[str], grace_ns: int) -> None:
        self._tickers = frozenset(tickers)
        self._close_utc = Utc(0)
        self._grace_ns = grace_ns
        self._whole: dict[str, Utc] = {}
        self._read: set[str] = set()
        self._storing: dict[tuple[str, Utc], int] = {}
        self._closing_utc = Utc(0)  # by when the present bucket closes, once it is due
        self._stood_since_ns: int | None = None
        self.silent: frozenset[str] = frozenset()  # hubs that did not deliver in time, and have not since
        self._unread: frozenset[str] = frozenset()  # tickers likewise
        self._is_store_lost = False  # the warehouse likewise
        self.bucket_utc = Utc(0)
        self.stop = Stop.NONE

    def begin(self, hours: Hours, now: Utc) -> None:
        """Begin a session at an instant of its date: buckets before it are nobody's business."""
        open_utc, self._close_utc = hours
        self.bucket_utc = max(open_utc, bucket_of(now))
        self.stop = Stop.FRAMES if self.bucket_utc < self._close_utc else Stop.NONE
        self._forget_bucket()

    def hear(self, message: Message) -> None:
        """Take note of what becomes of buckets."""
        known = HEARD.get(type(message))
        if known is not None:
            known(self, message)

    def note_whole(self, hub: str, bucket_utc: Utc) -> None:
        """Take note that a hub has delivered each of its categories for a bucket."""
        self._whole[hub] = max(self._whole.get(hub, Utc(0)), bucket_utc)
        self.silent -= {hub}

    @property
    def horizon_utc(self) -> Utc | None:
        """The stop's instant; `None` where there is none any more."""
        match self.stop:
            case Stop.FRAMES:
                return Utc(self.bucket_utc + FRAMES_STOP_NS)
            case Stop.READINGS:
                return Utc(self._due_utc + READINGS_STOP_NS)
            case Stop.ROWS:
                return Utc(self._due_utc + ROWS_STOP_NS)
            case Stop.LATE:
                return Utc(max(self._closing_utc, self._due_utc) + LATE_MARGIN_NS)
            case Stop.NONE:
                return None

    @property
    def is_read(self) -> bool:
        """Whether the bucket is due and every ticker's reading is in."""
        return self._closing_utc > 0 and self._read >= self._tickers - self._unread

    def advance(self, now: Utc, real_ns: int, hubs: frozenset[str], up: frozenset[str], *, is_chain_idle: bool) -> None:
        """Leave every stop whose work is done, or where market time has stood for too long.

        `hubs` are those that should deliver, `up` those that can: one that comes up before the stop is awaited there.
        """
        while self.stop is not Stop.NONE and self._may_leave(now, real_ns, hubs, up, is_chain_idle=is_chain_idle):
            self._stood_since_ns = None
            self._leave()

    @property
    def _due_utc(self) -> Utc:
        return Utc(self.bucket_utc + BUCKET_NS + self._grace_ns)

    def _may_leave(
        self, now: Utc, real_ns: int, hubs: frozenset[str], up: frozenset[str], *, is_chain_idle: bool
    ) -> bool:
        behind: frozenset[str] = frozenset()
        horizon_utc = self.horizon_utc
        assert horizon_utc is not None, "only `NONE` has no instant"
        if self.stop is Stop.FRAMES:
            awaited = (hubs if now < horizon_utc else hubs & up) - self.silent
            behind = frozenset(hub for hub in awaited if self._whole.get(hub, Utc(0)) < self.bucket_utc)
            is_done = not behind
        elif self.stop is Stop.ROWS:
            is_done = self._is_store_lost or not self._storing
        else:
            is_done = self.is_read and is_chain_idle
        if is_done:
            return True
        if now < horizon_utc:
            return False
        if self._stood_since_ns is None:
            self._stood_since_ns = real_ns
        if real_ns - self._stood_since_ns < PATIENCE_NS:
            return False
        self.silent |= behind
        if self.stop is Stop.ROWS:
            self._is_store_lost = True
        elif self.stop is Stop.LATE:
            self._unread |= self._tickers - self._read
        return True

    def _leave(self) -> None:
        if self.stop is Stop.FRAMES:
            self.stop = Stop.READINGS
        elif self.stop is Stop.READINGS:
            self.stop = Stop.ROWS if self.is_read else Stop.LATE
        else:
            self.bucket_utc = Utc(self.bucket_utc + BUCKET_NS)
            self.stop = Stop.FRAMES if self.bucket_utc < self._close_utc else Stop.NONE
            self._forget_bucket()

    def _forget_bucket(self) -> None:
        self._read.clear()
        self._storing.clear()
        self._closing_utc = Utc(0)

    def _on_due(self, due: market.BucketDue) -> None:
        if due.bucket_utc == self.bucket_utc:
            self._closing_utc = due.close_by_utc

    def _on_features(self, seen: signals.FeaturesComputed) -> None:
        if seen.bucket_utc == self.bucket_utc:
            self._read.add(seen.ticker)
        self._unread -= {seen.ticker}

    def _on_store(self, asked: market.StoreBucket) -> None:
        key = asked.hub, asked.bucket_utc
        self._storing[key] = self._storing.get(key, 0) + 1

    def _on_stored(self, answer: market.BucketStored | market.BucketNotStored) -> None:
        self._is_store_lost = False
        key = answer.hub, answer.bucket_utc
        left = self._storing.pop(key, 0) - 1
        if left > 0:
            self._storing[key] = left


Take = Callable[[Buckets, Any], None]
HEARD: Final[dict[type[Message], Take]] = {
    market.BucketDue: Buckets._on_due,
    signals.FeaturesComputed: Buckets._on_features,
    market.StoreBucket: Buckets._on_store,
    market.BucketStored: Buckets._on_stored,
    market.BucketNotStored: Buckets._on_stored,
}
