"""Publication: each joined group at its cadence, encoded once whatever the number of clients.

The cadence is the market's: once a market second, not more often than an interval of real time allows, and whatever the
pace once in the last part of every bucket, spread evenly over it. So a bucket's last frame always comes from there.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from typing import Final, Protocol, assert_never

import zstandard

from domain.instants import BUCKET_NS, SECOND, bucket_of, session_of
from domain.instruments import Spot
from domain.options.profile import Profile
from domain.ports import Clock
from domain.signals.feed_rules import TODAY
from domain.units import Ticks, Utc
from gateways.gexbot import codec
from gateways.gexbot.codec import SPOT_CATEGORY, Group, SpotPrice
from simulation.hubs.connections import HubConnection
from simulation.hubs.faults import SilenceGroup, Spoil, SpoilFrames
from simulation.hubs.registry import HUBS, Registry, hub_of

IDLE_S: Final = 0.05
POLL_S: Final = 0.005  # the clock's pace may change at any moment
LAST_FROM_NS: Final = 20 * SECOND  # of a bucket: from here on its last frames are published ...
LAST_FOR_NS: Final = 8 * SECOND  # ... within this
FRAMES_PER_TURN: Final = 8  # then the loop's other tasks get theirs
BACKWARDS_NS: Final = 120 * SECOND
BOMB_BYTES: Final = 8 * 1024 * 1024


class FeedMarket(Protocol):
    """What the hubs read of the simulated market."""

    open_utc: Utc
    close_utc: Utc

    @property
    def now_utc(self) -> Utc:
        """The instant that the market stands at."""

    def step(self, to_utc: Utc) -> None:
        """Move the market on to an instant."""

    def spot(self, ticker: str) -> Spot:
        """Return an underlying's price."""

    def profile(self, ticker: str, category: str) -> Profile:
        """Return a profile as the vendor would publish it now."""


class Publisher:
    """Publishes what the connections of a registry have joined."""

    def __init__(
        self,
        market: FeedMarket,
        clock: Clock,
        registry: Registry,
        *,
        min_interval_real_ms: int,
        fills_spot: bool,
    ) -> None:
        self._market = market
        self._clock = clock
        self._registry = registry
        self._interval_s = min_interval_real_ms / 1000
        self._fills_spot = fills_spot
        self._version = -1
        self._listeners: dict[str, list[HubConnection]] = {}
        self._due: list[tuple[Utc, str]] = []
        self._last_phase_ns: dict[str, int] = {}
        self._sent_s: dict[str, float] = {}
        self._ended_utc: dict[str, Utc] = {}  # the newest bucket whose last frame is out
        self._silent_until_utc: dict[str, Utc] = {}
        self._spoils: dict[str, tuple[Spoil, int]] = {}
        self.published: Counter[str] = Counter()

    def spoil(self, fault: SilenceGroup | SpoilFrames) -> None:
        """Let a group fall silent, or spoil its next frames."""
        if isinstance(fault, SilenceGroup):
            until_utc = self._clock.now_utc() + fault.silence_s * SECOND
            self._silent_until_utc[fault.group] = until_utc
        else:
            self._spoils[fault.group] = (fault.spoil, fault.count)

    async def run(self) -> None:
        """Publish for ever, in session hours."""
        loop = asyncio.get_running_loop()
        while True:
            now_s = loop.time()
            now_utc = self._clock.now_utc()
            self._market.step(max(now_utc, self._market.now_utc))
            if not self._market.open_utc <= now_utc < self._market.close_utc:
                self._due.clear()  # at the open the groups are spread anew, not sent in one burst
                self._version = -1
            elif self._version != self._registry.version:
                self._take_memberships(now_utc)
            if not self._due:
                await asyncio.sleep(IDLE_S)
                continue
            published_n = 0
            while published_n < FRAMES_PER_TURN and self._due[0][0] <= now_utc:
                group = self._due[0][1]
                if self._take_turn(group, now_utc, now_s):
                    self.publish(group, now_utc)
                    published_n += 1
                heapq.heapreplace(self._due, (self._next_due(group, now_utc), group))
            await asyncio.sleep(0.0 if self._due[0][0] <= self._clock.now_utc() else POLL_S)

    def publish(self, group: str, now_utc: Utc) -> None:
        """Publish one group to all who joined it."""
        if self._silent_until_utc.get(group, 0) > now_utc:
            return
        key = codec.parse_group(group)
        item = None if key is None else self._item(key)
        if item is None:
            return
        spoil = self._next_spoil(group)
        data = codec.encode_frame(item) if spoil is None else _spoilt(spoil, item)
        named = "no_such_group" if spoil is Spoil.GROUP else group
        self.published[group] += 1
        for connection in self._listeners[group]:
            if spoil is Spoil.NOT_JSON:
                connection.publish_text('{"type":"message",')
            else:
                connection.publish(named, data)
            if connection.is_over_limit:
                self._registry.end(connection, "too much is not acknowledged")

    def _take_turn(self, group: str, now_utc: Utc, now_s: float) -> bool:
        """Return whether a group is published now: its bucket wants a last frame, or the one before is old enough."""
        bucket_utc = bucket_of(now_utc)
        is_last = now_utc >= self._last_due(group, now_utc) and self._ended_utc.get(group, 0) < bucket_utc
        if not is_last and now_s - self._sent_s.get(group, -self._interval_s) < self._interval_s:
            return False
        self._sent_s[group] = now_s
        if is_last:
            self._ended_utc[group] = bucket_utc
        return True

    def _next_due(self, group: str, now_utc: Utc) -> Utc:
        """Return when a group is looked at next: after a market second, but never past its bucket's last frame."""
        last_utc = self._last_due(group, now_utc)
        if last_utc <= now_utc:
            last_utc = Utc(last_utc + BUCKET_NS)
        return min(Utc(now_utc + SECOND), last_utc)

    def _last_due(self, group: str, now_utc: Utc) -> Utc:
        """Return when the last frame of the bucket of an instant is due."""
        return Utc(bucket_of(now_utc) + LAST_FROM_NS + self._last_phase_ns[group])

    def _take_memberships(self, now_utc: Utc) -> None:
        """Index who joined what; groups that are new get their own phase within the cadence."""
        self._version = self._registry.version
        listeners: dict[str, list[HubConnection]] = {}
        for connection in self._registry.connections.values():
            for group in connection.groups:
                key = codec.parse_group(group)
                if key is not None and hub_of(key.category) in (None, connection.hub):
                    listeners.setdefault(group, []).append(connection)
        kept = {group: due_utc for due_utc, group in self._due}
        ordered = sorted(listeners, key=_hub_rank)
        self._last_phase_ns = {group: LAST_FOR_NS * n // len(ordered) for n, group in enumerate(ordered)}
        self._due = [
            (kept.get(group, Utc(now_utc + SECOND * n // len(ordered))), group) for n, group in enumerate(ordered)
        ]
        heapq.heapify(self._due)
        self._listeners = listeners

    def _item(self, key: Group) -> Profile | SpotPrice | None:
        """Return what the market has for a group; a group it does not know stays silent, as the vendor's would."""
        try:
            if key.category == SPOT_CATEGORY:
                spot = self._market.spot(key.ticker)
                return SpotPrice(key.ticker, spot.at_utc, spot.price_ticks)
            date = f"_{session_of(self._market.open_utc):%Y%m%d}"
            category = key.category.removesuffix(date) + TODAY if key.category.endswith(date) else key.category
            profile = self._market.profile(key.ticker, category)
        except (KeyError, ValueError):
            return None
        return profile if self._fills_spot else _replaced(profile, profile.source_utc, spot=Ticks(0))

    def _next_spoil(self, group: str) -> Spoil | None:
        if group not in self._spoils:
            return None
        spoil, left = self._spoils.pop(group)
        if left > 1:
            self._spoils[group] = (spoil, left - 1)
        return spoil


def _spoilt(spoil: Spoil, item: Profile | SpotPrice) -> str:
    """Return a spoilt frame; where the envelope is what is spoilt, a good one."""
    good = codec.encode_frame(item)
    packed = codec.unpack(good)
    assert isinstance(packed, codec.Packed)
    url = f"proto.{packed.kind}"
    match spoil:
        case Spoil.BASE64:
            return "%" + good[1:]
        case Spoil.TRUNCATED:
            return codec.wrap(url, packed.compressed[:-7])
        case Spoil.BOMB:
            return codec.wrap(url, zstandard.compress(bytes(BOMB_BYTES)))
        case Spoil.TYPE_URL:
            return codec.wrap("proto.unheard_of", packed.compressed)
        case Spoil.TIME_BACKWARDS:
            return codec.encode_frame(_backwards(item))
        case Spoil.GROUP | Spoil.NOT_JSON:
            return good
        case _:
            assert_never(spoil)


def _backwards(item: Profile | SpotPrice) -> Profile | SpotPrice:
    at_utc = Utc(item.source_utc - BACKWARDS_NS)
    if isinstance(item, SpotPrice):
        return SpotPrice(item.ticker, at_utc, item.spot)
    return _replaced(item, at_utc, spot=item.spot)


def _replaced(profile: Profile, source_utc: Utc, *, spot: Ticks) -> Profile:
    return Profile(
        profile.ticker,
        profile.category,
        source_utc,
        spot,
        profile.scalars,
        profile.strikes,
        profile.values,
        profile.priors,
    )


def _hub_rank(group: str) -> tuple[int, str]:
    key = codec.parse_group(group)
    hub = None if key is None else hub_of(key.category)
    return (HUBS.index(hub) if hub in HUBS else len(HUBS), group)
