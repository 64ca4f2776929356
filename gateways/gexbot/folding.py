"""Folding of one hub's frames into 30 s buckets: the newest frame per key stays compressed until the seal.

Pure: no clock, no I/O. A frame belongs to the bucket of its own source timestamp.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

from domain.instants import BUCKET_NS, MS, SECOND, bucket_of
from domain.options.profile import Profile, Row, Rows
from domain.signals.feed_rules import in_priority
from domain.units import Utc
from gateways.gexbot import codec
from gateways.gexbot.codec import SPOT_CATEGORY, Group, Packed, Refusal, Refused, SpotPrice

AHEAD_NS_MAX: Final = 60 * SECOND  # a source instant further ahead of reception is a fault
OPEN_BUCKETS_MAX: Final = 20  # bounds memory when nobody seals
LATE_SLOTS_MAX: Final = 4_000  # the same for late frames: beyond it the oldest go
SPOTS_KEPT: Final = 128
SPOT_DISTANCE_NS_MAX: Final = BUCKET_NS


class Sealed(msgspec.Struct, frozen=True):
    """What a bucket held.

    `late` rows belong to buckets that were sealed before; `absent` are expected keys without a row. `accepted`
    counts the bucket's frames; `late_n`, `repeated` and `refused` count since the last seal.
    """

    bucket_utc: Utc
    rows: Rows
    late: tuple[Row, ...]
    absent: tuple[tuple[str, str], ...]
    accepted: int
    repeated: int
    late_n: int
    refused: tuple[tuple[str, int], ...]


class _Slot:
    """One key of one bucket: its newest frame, the one before (should the newest not decode), and the count."""

    __slots__ = ("first_utc", "frames", "has_end", "last_utc", "newest", "previous", "received_utc", "sequence")

    def __init__(self, source_utc: Utc) -> None:
        self.newest: Packed | None = None
        self.previous: Packed | None = None
        self.frames = 0
        self.first_utc = source_utc
        self.last_utc = source_utc
        self.received_utc = Utc(0)
        self.sequence = 0
        self.has_end = False


class BucketFolder:
    """Folds the frames of one hub.

    Args:
        hub: the hub's name, as rows carry it.
        expected: the (ticker, category) pairs that the hub is to deliver; others are refused, so memory is bounded.
        frame_bytes_max: decompressed size above which a frame is refused.
        whole_from_ns: a bucket is whole once each expected key has a frame of this part of it, or later.
    """

    def __init__(
        self,
        hub: str,
        expected: Iterable[tuple[str, str]],
        frame_bytes_max: int = codec.PAYLOAD_BYTES_MAX,
        whole_from_ns: int = 0,
    ) -> None:
        self._hub = hub
        self._bytes_max = frame_bytes_max
        keys = [Group(*pair) for pair in expected]
        order = in_priority(dict.fromkeys(key.ticker for key in keys))
        self._keys = sorted(keys, key=lambda key: order.index(key.ticker))
        self._expected = frozenset(self._keys)
        self._tickers = frozenset(key.ticker for key in self._keys)
        self._open: dict[Utc, dict[Group, _Slot]] = {}
        self._late: dict[tuple[Utc, Group], _Slot] = {}
        self._newest_utc: dict[Group, Utc] = {}
        self._spots: dict[str, list[SpotPrice]] = {}
        self._sealed_utc = Utc(0)
        self._last: Sealed | None = None
        self._whole_from_ns = whole_from_ns
        self.whole_utc = Utc(0)  # the newest bucket that is whole
        self._refused: Counter[str] = Counter()
        self._repeated = 0
        self._late_n = 0

    def fold(self, group: str, data_b64: str, received_utc: Utc, sequence: int) -> Refused | None:
        """Take one frame; `received_utc` is the port's clock at reception. A refusal is counted and returned."""
        key = codec.parse_group(group)
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

    def refuse_envelope(self, sentence: str) -> Refused:
        """Count a message that is no data frame at all, and return its refusal."""
        return self._refuse(Refused(Refusal.CORRUPT, sentence))

    def count_repeated(self) -> None:
        """Count a message that redelivery brought a second time."""
        self._repeated += 1

    def seal(self, bucket_utc: Utc) -> Sealed:
        """Close a bucket and return it decoded; asked again for the bucket sealed last, return the same answer."""
        if self._last is not None and self._last.bucket_utc == bucket_utc:
            return self._last
        self._sealed_utc = max(self._sealed_utc, bucket_utc)
        slots = self._open.pop(bucket_utc, {})
        for older_utc in [utc for utc in self._open if utc < bucket_utc]:
            self._retire(older_utc)
        rows = self._rows_of([(key, slots[key]) for key in self._keys if key in slots], "live")
        late = self._rows_of([(key, slot) for (_, key), slot in self._late.items()], "late")
        present = {(row.profile.ticker, row.profile.category) for row in rows}
        sealed = Sealed(
            bucket_utc=bucket_utc,
            rows=Rows(f"{self._hub}/{bucket_utc}", rows),
            late=late,
            absent=tuple((k.ticker, k.category) for k in self._keys if k not in present),
            accepted=sum(slot.frames for slot in slots.values()),
            repeated=self._repeated,
            late_n=self._late_n,
            refused=tuple(sorted(self._refused.items())),
        )
        self._late.clear()
        self._refused.clear()
        self._repeated = self._late_n = 0
        self._last = sealed
        return sealed

    def _refuse(self, refused: Refused) -> Refused:
        self._refused[refused.code.value] += 1
        return refused

    def _out_of_order(self, key: Group, source_utc: Utc, received_utc: Utc) -> Refused | None:
        if source_utc > received_utc + AHEAD_NS_MAX:
            seconds = (source_utc - received_utc) // SECOND
            return Refused(Refusal.TIME_AHEAD, f"a frame of {key} is {seconds} s ahead of the clock")
        newest_utc = self._newest_utc.get(key, Utc(0))
        if source_utc < newest_utc:
            seconds = (newest_utc - source_utc) // SECOND
            return Refused(Refusal.TIME_BACKWARDS, f"a frame of {key} is {seconds} s older than the one before")
        return None

    def _keep(self, key: Group, packed: Packed, source_utc: Utc, received_utc: Utc, sequence: int) -> None:
        slot = self._slot(key, bucket_of(source_utc), source_utc)
        slot.previous = slot.newest
        slot.newest = packed
        slot.frames += 1
        slot.last_utc = source_utc
        slot.received_utc = received_utc
        slot.sequence = sequence

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

    def _rows_of(self, slots: list[tuple[Group, _Slot]], mode: str) -> tuple[Row, ...]:
        rows = []
        for key, slot in slots:
            profile = self._decode(key, slot)
            if profile is not None:
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
            decoded = codec.decode_packed(key, packed, self._bytes_max)
            if isinstance(decoded, Profile):
                return self._with_spot(decoded)
            if isinstance(decoded, Refused):
                self._refuse(decoded)
        return None

    def _with_spot(self, profile: Profile) -> Profile:
        """Return a profile with the ticker's spot nearest in time where the frame came without one."""
        spots = self._spots.get(profile.ticker)
        if profile.spot or not spots:
            return profile
        at = bisect_left(spots, profile.source_utc, key=lambda spot: spot.source_utc)
        near = min(spots[max(at - 1, 0) : at + 1], key=lambda s: abs(s.source_utc - profile.source_utc))
        if abs(near.source_utc - profile.source_utc) > SPOT_DISTANCE_NS_MAX:
            return profile
        return Profile(
            profile.ticker,
            profile.category,
            profile.source_utc,
            near.spot,
            profile.scalars,
            profile.strikes,
            profile.values,
            profile.priors,
        )
