"""Folding of one hub's frames into 30 s buckets: the newest frame per key stays compressed until the seal.

Pure: no clock, no I/O. A frame belongs to the bucket of its own source timestamp.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import date, time
from typing import Final

import msgspec

from domain.instants import BUCKET_NS, MINUTE, MS, SECOND, at_exchange, bucket_of, session_of
from domain.options.profile import IngestMode, Profile, Row, Rows
from domain.signals.feed_rules import TODAY, SpotWatch, at_expiry, expiry_on, in_priority
from domain.units import Ticks, Utc
from gateways.flow import Flow
from gateways.gexbot import codec
from gateways.gexbot.codec import SPOT_CATEGORY, Group, Packed, Refusal, Refused, SpotPrice

AHEAD_NS_MAX: Final = 60 * SECOND  # a source instant further ahead of reception is a fault
EARLY_NS: Final = 5 * SECOND  # one further ahead hides no later frame that is not: no frame comes before it is made
STALE_NS: Final = 10 * MINUTE  # one further behind is yesterday's close, told once more before the first of today
OPENING_NS: Final = 10 * SECOND  # after the open a frame may still be the prior close, or a reset to zero
OPEN_CLOCK: Final = time(9, 30)
OPEN_BUCKETS_MAX: Final = 20  # bounds memory when nobody seals
LATE_SLOTS_MAX: Final = 4_000  # the same for late frames: beyond it the oldest go
SPOTS_KEPT: Final = 128
SPOT_DISTANCE_NS_MAX: Final = BUCKET_NS


class Sealed(msgspec.Struct, frozen=True):
    """What a bucket held.

    `late` rows belong to buckets that were sealed before; `absent` are expected keys without a row. `accepted`
    counts the bucket's frames; `late_n`, `repeated` and `refused` count since the last seal. `covered` are keys whose
    row stands in for frames that did not come. `lag_ns` is how far the frames since the last seal lay behind the clock
    that they were received by: that of the frame nearest to it (negative: ahead); `None`: none came.
    """

    bucket_utc: Utc
    rows: Rows
    late: tuple[Row, ...]
    absent: tuple[tuple[str, str], ...]
    accepted: int
    repeated: int
    late_n: int
    refused: tuple[tuple[str, int], ...]
    covered: tuple[tuple[str, str], ...] = ()
    lag_ns: int | None = None


class _Slot:
    """One key of one bucket: its newest frame, the one before (should the newest not decode), and the count.

    `cover` is a profile that stands in where no frame came.
    """

    __slots__ = (
        "cover", "first_utc", "frames", "has_end", "last_utc", "newest", "previous", "received_utc", "sequence",
    )  # fmt: skip

    def __init__(self, source_utc: Utc) -> None:
        self.newest: Packed | Profile | None = None
        self.previous: Packed | Profile | None = None
        self.cover: Profile | None = None
        self.frames = 0
        self.first_utc = source_utc
        self.last_utc = source_utc
        self.received_utc = Utc(0)
        self.sequence = 0
        self.has_end = False


class _Closing:
    """A bucket on its way to `Sealed`: the slots that are not decoded yet, in order, and the rows of the others."""

    __slots__ = ("accepted", "bucket_utc", "rows", "slots")

    def __init__(self, bucket_utc: Utc, slots: dict[Group, _Slot]) -> None:
        self.bucket_utc = bucket_utc
        self.slots = slots
        self.rows: dict[Group, Row] = {}
        self.accepted = sum(slot.frames for slot in slots.values())


class BucketFolder:
    """Folds the frames of one hub.

    Args:
        hub: the hub's name, as rows carry it.
        expected: the (ticker, category) pairs that the hub is to deliver; others are refused, so memory is bounded.
        frame_bytes_max: decompressed size above which a frame is refused.
        whole_from_ns: a bucket is whole once each expected key has a frame of this part of it, or later.
        mode: what its rows say of how they came.
        closed_dates: further days without a session, for the expiry that categories of today's have.
    """

    def __init__(
        self,
        hub: str,
        expected: Iterable[tuple[str, str]],
        frame_bytes_max: int = codec.PAYLOAD_BYTES_MAX,
        whole_from_ns: int = 0,
        mode: IngestMode = IngestMode.LIVE,
        closed_dates: Collection[date] = (),
    ) -> None:
        self._mode = mode
        self._hub = hub
        self._bytes_max = frame_bytes_max
        self._closed_dates = closed_dates
        self.expect(expected)
        self._open: dict[Utc, dict[Group, _Slot]] = {}
        self._late: dict[tuple[Utc, Group], _Slot] = {}
        self._newest_utc: dict[Group, Utc] = {}
        self._spots: dict[str, list[SpotPrice]] = {}
        self._sealed_utc = Utc(0)
        self._closing: _Closing | None = None
        self._last: Sealed | None = None
        self._whole_from_ns = whole_from_ns
        self.whole_utc = Utc(0)  # the newest bucket that is whole
        self.flow = Flow()
        self._refused: Counter[str] = Counter()
        self._repeated = 0
        self._late_n = 0
        self._lag_ns: int | None = None
        self._session: date | None = None
        self._open_utc = Utc(0)
        self._watches: dict[str, SpotWatch] = {}

    def expect(self, expected: Iterable[tuple[str, str]]) -> None:
        """Take, and miss, these (ticker, category) pairs from now on; what is kept of others is let go at its seal."""
        keys = [Group(*pair) for pair in expected]
        order = in_priority(dict.fromkeys(key.ticker for key in keys))
        self._keys = sorted(keys, key=lambda key: order.index(key.ticker))
        self._expected = frozenset(self._keys)
        self._of_today = tuple(key for key in self._keys if key.category.endswith(TODAY))
        self._ours: tuple[date, dict[Group, Group]] = date.min, {}
        self._tickers = frozenset(key.ticker for key in self._keys)

    def fold(self, group: str, data_b64: str, received_utc: Utc, sequence: int) -> Refused | None:
        """Take one frame; `received_utc` is the port's clock at reception. A refusal is counted and returned."""
        key = codec.parse_group(group)
        if key is not None and self._of_today:
            key = self._dated(session_of(received_utc)).get(key, key)
        is_spot = key is not None and key.category == SPOT_CATEGORY
        if key is None or not (is_spot or key in self._expected):
            return self._refuse(codec.unknown_group(group))
        if is_spot and key.ticker not in self._tickers:
            return None  # the price of an index that has no rows here: nothing to fill, nothing wrong
        packed = codec.unpack(data_b64)
        if isinstance(packed, Refused):
            return self._refuse(packed)
        mismatch = codec.kind_mismatch(key, packed)
        if mismatch is not None:
            return self._refuse(mismatch)
        source_utc = codec.peek_timestamp(packed, self._bytes_max)
        if isinstance(source_utc, Refused):
            return self._refuse(source_utc)
        self._note_lag(received_utc - source_utc)
        out_of_order = self._out_of_order(key, source_utc, received_utc)
        if out_of_order is not None:
            return self._refuse(out_of_order)
        if is_spot:
            refusal = self._keep_spot(key, packed)
        else:
            refusal = None
            self._keep(key, packed, source_utc, received_utc, sequence)
        if refusal is None:
            self._newest_utc[key] = source_utc
        return refusal

    def _dated(self, day: date) -> dict[Group, Group]:
        """Return our keys of today's categories by the vendor's on a New York date."""
        if self._ours[0] != day:
            expiry = expiry_on(day, self._closed_dates)
            names = {Group(key.ticker, at_expiry(key.category, expiry)): key for key in self._of_today}
            self._ours = day, names
        return self._ours[1]

    def keep(self, profile: Profile, received_utc: Utc, *, is_cover: bool = False) -> Refused | None:
        """Take a profile that came decoded; as a cover it counts only where no frame came. A refusal is counted."""
        key = Group(profile.ticker, profile.category)
        if key not in self._expected:
            return self._refuse(codec.unknown_group(f"{key.ticker}_{key.category}"))
        out_of_order = self._out_of_order(key, profile.source_utc, received_utc)
        if out_of_order is not None:
            return None if is_cover else self._refuse(out_of_order)  # frames that flow again are newer
        if is_cover:
            slot = self._slot(key, bucket_of(profile.source_utc), profile.source_utc)
            slot.cover = profile
            if not slot.frames:
                slot.last_utc, slot.received_utc = profile.source_utc, received_utc
        else:
            self._keep(key, profile, profile.source_utc, received_utc, 0)
            self._newest_utc[key] = profile.source_utc
        return None

    def frames(self, bucket_utc: Utc) -> int:
        """Return how many frames an open bucket has."""
        return sum(slot.frames for slot in self._open.get(bucket_utc, {}).values())

    def waiting(self, bucket_utc: Utc) -> int:
        """Return how many keys of an open bucket have something."""
        return len(self._open.get(bucket_utc, {}))

    def refuse_envelope(self, sentence: str) -> Refused:
        """Count a message that is no data frame at all, and return its refusal."""
        return self._refuse(Refused(Refusal.CORRUPT, sentence))

    def count_refused(self, code: str) -> None:
        """Count something else that could not be used."""
        self._refused[code] += 1

    def count_repeated(self) -> None:
        """Count a message that redelivery brought a second time."""
        self._repeated += 1

    def seal_ticker(self, bucket_utc: Utc, ticker: str) -> tuple[Row, ...]:
        """Close a bucket and return one ticker's rows of it, decoded before all others; `seal` has them too.

        Raises:
            ValueError: another bucket was begun so and is not sealed yet.
        """
        if self._last is not None and self._last.bucket_utc == bucket_utc:
            return tuple(row for row in self._last.rows.rows if row.profile.ticker == ticker)
        closing = self._close(bucket_utc)
        own = [(key, slot) for key, slot in closing.slots.items() if key.ticker == ticker]
        for key, _ in own:
            del closing.slots[key]
        rows = self._rows_of(own, self._mode)
        closing.rows.update({Group(ticker, row.profile.category): row for row in rows})
        return tuple(row for key, row in closing.rows.items() if key.ticker == ticker)

    def seal(self, bucket_utc: Utc) -> Sealed:
        """Close a bucket and return it decoded; asked again for the bucket sealed last, return the same answer."""
        if self._last is not None and self._last.bucket_utc == bucket_utc:
            return self._last
        closing = self._close(bucket_utc)
        for ticker in dict.fromkeys(key.ticker for key in closing.slots):
            self.seal_ticker(bucket_utc, ticker)
        self._closing = None
        rows = tuple(closing.rows[key] for key in self._keys if key in closing.rows)
        late = self._rows_of([(key, slot) for (_, key), slot in self._late.items()], IngestMode.LATE)
        sealed = Sealed(
            bucket_utc=bucket_utc,
            rows=Rows(f"{self._hub}/{bucket_utc}", rows),
            late=late,
            absent=tuple((k.ticker, k.category) for k in self._keys if k not in closing.rows),
            accepted=closing.accepted,
            repeated=self._repeated,
            late_n=self._late_n,
            refused=tuple(sorted(self._refused.items())),
            covered=tuple(
                (row.profile.ticker, row.profile.category) for row in rows if row.mode == IngestMode.REST != self._mode
            ),
            lag_ns=self._lag_ns,
        )
        self._lag_ns = None
        self._late.clear()
        self._refused.clear()
        self._repeated = self._late_n = 0
        self._last = sealed
        return sealed

    def _close(self, bucket_utc: Utc) -> _Closing:
        """Take a bucket out of those that are folded into; what comes of it from now on is late."""
        if self._closing is None:
            self._sealed_utc = max(self._sealed_utc, bucket_utc)
            slots = self._open.pop(bucket_utc, {})
            for older_utc in [utc for utc in self._open if utc < bucket_utc]:
                self._retire(older_utc)
            self._closing = _Closing(bucket_utc, {key: slots[key] for key in self._keys if key in slots})
        if self._closing.bucket_utc != bucket_utc:
            raise ValueError(f"bucket {self._closing.bucket_utc} is not sealed yet")
        return self._closing

    def _refuse(self, refused: Refused) -> Refused:
        self._refused[refused.code.value] += 1
        return refused

    def _note_lag(self, lag_ns: int) -> None:
        if lag_ns < STALE_NS and (self._lag_ns is None or abs(lag_ns) < abs(self._lag_ns)):
            self._lag_ns = lag_ns

    def _out_of_order(self, key: Group, source_utc: Utc, received_utc: Utc) -> Refused | None:
        if source_utc > received_utc + AHEAD_NS_MAX:
            seconds = (source_utc - received_utc) // SECOND
            return Refused(Refusal.TIME_AHEAD, f"a frame of {key} is {seconds} s ahead of the clock")
        if source_utc < received_utc - STALE_NS:
            seconds = (received_utc - source_utc) // SECOND
            return Refused(Refusal.STALE, f"a frame of {key} is {seconds} s old")
        newest_utc = self._newest_utc.get(key, Utc(0))
        if source_utc <= received_utc + EARLY_NS < newest_utc:
            self._forget_future(key, newest_utc, source_utc)
        elif source_utc < newest_utc:
            seconds = (newest_utc - source_utc) // SECOND
            return Refused(Refusal.TIME_BACKWARDS, f"a frame of {key} is {seconds} s older than the one before")
        return None

    def _forget_future(self, key: Group, newest_utc: Utc, source_utc: Utc) -> None:
        """Leave out what came with an instant that is still to come: it stands for no later bucket, price or order."""
        del self._newest_utc[key]
        if key.category == SPOT_CATEGORY:
            known = self._spots.get(key.ticker, [])
            self._spots[key.ticker] = [spot for spot in known if spot.source_utc <= source_utc]
            return
        bucket_utc = bucket_of(newest_utc)
        slots = self._open.get(bucket_utc, {})
        if bucket_utc > bucket_of(source_utc) and key in slots and slots[key].cover is None:
            self._refused[Refusal.TIME_AHEAD.value] += slots.pop(key).frames
            if not slots:
                del self._open[bucket_utc]

    def _keep(self, key: Group, packed: Packed | Profile, source_utc: Utc, received_utc: Utc, sequence: int) -> None:
        slot = self._slot(key, bucket_of(source_utc), source_utc)
        slot.previous = slot.newest
        slot.newest = packed
        slot.frames += 1
        slot.last_utc = source_utc
        slot.received_utc = received_utc
        slot.sequence = sequence
        self.flow.note(received_utc, source_utc)

    def _slot(self, key: Group, bucket_utc: Utc, source_utc: Utc) -> _Slot:
        if bucket_utc > self._sealed_utc:
            slots = self._open.setdefault(bucket_utc, {})
            if len(self._open) > OPEN_BUCKETS_MAX:
                self._retire(min(self._open))
            if key not in slots:
                slots[key] = _Slot(source_utc)
            self._note_end(slots, slots[key], bucket_utc, source_utc)
            return slots[key]
        self._late_n += 1
        if (bucket_utc, key) not in self._late:
            self._put_late(bucket_utc, key, _Slot(source_utc))
        return self._late[bucket_utc, key]

    def _note_end(self, slots: dict[Group, _Slot], slot: _Slot, bucket_utc: Utc, source_utc: Utc) -> None:
        """Take note of a first frame of the bucket's end, and of the bucket once each key has one."""
        if slot.has_end or source_utc - bucket_utc < self._whole_from_ns:
            return
        slot.has_end = True
        if len(slots) == len(self._keys) and all(other.has_end for other in slots.values()):
            self.whole_utc = max(self.whole_utc, bucket_utc)

    def _retire(self, bucket_utc: Utc) -> None:
        """Move a bucket that nobody sealed to the late ones."""
        self._sealed_utc = max(self._sealed_utc, bucket_utc)
        for key, slot in self._open.pop(bucket_utc).items():
            self._late_n += slot.frames
            self._put_late(bucket_utc, key, slot)

    def _put_late(self, bucket_utc: Utc, key: Group, slot: _Slot) -> None:
        self._late[bucket_utc, key] = slot
        if len(self._late) > LATE_SLOTS_MAX:
            del self._late[next(iter(self._late))]

    def _keep_spot(self, key: Group, packed: Packed) -> Refused | None:
        spot = codec.decode_packed(key, packed, self._bytes_max)
        if isinstance(spot, Refused):
            return self._refuse(spot)
        if isinstance(spot, SpotPrice):
            spots = self._spots.setdefault(key.ticker, [])
            spots.append(spot)
            if len(spots) > SPOTS_KEPT:
                del spots[: SPOTS_KEPT // 2]
        return None

    def _rows_of(self, slots: list[tuple[Group, _Slot]], of_frames: IngestMode) -> tuple[Row, ...]:
        rows = []
        for key, slot in slots:
            if self._is_opening(slot.last_utc):
                self.count_refused(Refusal.OPENING)
                continue
            profile, mode = self._decode(key, slot), of_frames
            if profile is None and slot.cover is not None:
                profile, mode = self._with_spot(slot.cover), mode if mode is IngestMode.LATE else IngestMode.REST
            if profile is not None:
                profile = self._with_plausible_spot(profile)
                if codec.has_clipped(profile):
                    self.count_refused(Refusal.CLIPPED)
                rows.append(
                    Row(
                        profile=profile,
                        hub=self._hub,
                        frames=slot.frames,
                        first_utc=slot.first_utc,
                        last_utc=slot.last_utc,
                        mode=mode,
                        latency_ms=(slot.received_utc - slot.last_utc) // MS,
                        sequence=slot.sequence,
                    )
                )
        return tuple(rows)

    def _decode(self, key: Group, slot: _Slot) -> Profile | None:
        for packed in (slot.newest, slot.previous):
            if packed is None:
                continue
            if isinstance(packed, Profile):
                return self._with_spot(packed)
            decoded = codec.decode_packed(key, packed, self._bytes_max)
            if isinstance(decoded, Profile):
                return self._with_spot(decoded)
            if isinstance(decoded, Refused):
                self._refuse(decoded)
        return None

    def _is_opening(self, source_utc: Utc) -> bool:
        """Return whether nothing newer came than what the vendor may publish before its day has begun."""
        session = session_of(source_utc)
        if session != self._session:
            self._session, self._open_utc = session, at_exchange(session, OPEN_CLOCK)
        return self._open_utc <= source_utc < self._open_utc + OPENING_NS

    def _with_plausible_spot(self, profile: Profile) -> Profile:
        """Return a profile without its spot where that cannot be the ticker's price."""
        watch = self._watches.setdefault(profile.ticker, SpotWatch())
        if not profile.spot or watch.is_plausible(profile.spot, bucket_of(profile.source_utc)):
            return profile
        self.count_refused(Refusal.IMPLAUSIBLE)
        return _with(profile, Ticks(0))

    def _with_spot(self, profile: Profile) -> Profile:
        """Return a profile with the ticker's spot nearest in time where the frame came without one."""
        spots = self._spots.get(profile.ticker)
        if profile.spot or not spots:
            return profile
        at = bisect_left(spots, profile.source_utc, key=lambda spot: spot.source_utc)
        near = min(spots[max(at - 1, 0) : at + 1], key=lambda s: abs(s.source_utc - profile.source_utc))
        if abs(near.source_utc - profile.source_utc) > SPOT_DISTANCE_NS_MAX:
            return profile
        return _with(profile, near.spot)


def _with(profile: Profile, spot: Ticks) -> Profile:
    """Return a profile with another spot."""
    return Profile(
        profile.ticker,
        profile.category,
        profile.source_utc,
        spot,
        profile.scalars,
        profile.strikes,
        profile.values,
        profile.priors,
    )
