"""The port of one hub whatever its source: a thread with its own loop that keeps the newest of each key and seals
buckets on command.

A source subclasses it and says in `hold` how it comes by its data; threads, commands and buckets are the same for all.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Final, assert_never

import msgspec

from domain.instants import MS, bucket_of
from domain.market.bars import MinuteBar
from domain.market.silence import WhySilent
from domain.options.profile import IngestMode, Profile, Row, Rows
from domain.ports import Capability
from domain.units import Utc
from gateways.flow import HubStatus
from gateways.gexbot.codec import PAYLOAD_BYTES_MAX
from gateways.gexbot.folding import BucketFolder
from messages import market
from messages.base import Message

OTHERS_AFTER_S: Final = 0.05  # real: by then whoever was waited for has decided
BETWEEN_S: Final = 0.001  # real, between two tickers that nobody waits for

Tell = Callable[[str, Message], None]
Command = market.DialHub | market.SealBucket | market.CoverHub | market.FollowCategories


class End(msgspec.Struct, frozen=True):
    """How a session (or the attempt at one) ended.

    `has_delivered`: a frame came in it; `can_recover`, `can_reuse`: its connection, its address are still good.
    """

    cause: str
    has_delivered: bool = False
    can_recover: bool = True
    can_reuse: bool = True


@dataclass(frozen=True, slots=True)
class PortSetup:
    """What every hub's port is given.

    `hub` is our name of it, facts go to `hub:<hub>`; `expected` the (ticker, category) pairs that it delivers; `tell`
    takes an address and a message, from the port's thread; `now_utc` is the clock that data is received by;
    `frame_bytes_max` the decompressed size above which a frame is refused; `on_whole` is called, in the port's thread,
    when a bucket is whole (of use to who paces a simulated market), which it is once each expected pair has data of the
    part of it that begins `whole_from_ns` after its start; `first` are tickers that are waited for, each decoded and
    told before the others; `closed_dates` are further days without a session.
    """

    hub: str
    expected: tuple[tuple[str, str], ...]
    tell: Tell
    now_utc: Callable[[], Utc]
    frame_bytes_max: int = PAYLOAD_BYTES_MAX
    on_whole: Callable[[str, Utc], None] | None = None
    whole_from_ns: int = 0
    first: tuple[str, ...] = ()
    closed_dates: tuple[date, ...] = ()


@dataclass(slots=True)
class _Sealing:
    """A bucket in hand: why rows of it are absent, and the tickers that are not decoded yet."""

    bucket_utc: Utc
    why_absent: str
    left: list[str]


def _others_in(setup: PortSetup) -> tuple[str, ...]:
    tickers = dict.fromkeys(ticker for ticker, _ in setup.expected)
    return tuple(ticker for ticker in tickers if ticker not in setup.first)


class BucketPort(ABC):
    """A hub's port; `mode` is what its rows say of how they came, `capabilities` what the source can do."""

    mode: IngestMode = IngestMode.LIVE
    capabilities: frozenset[Capability] = frozenset({Capability.STREAM})

    def __init__(self, setup: PortSetup) -> None:
        self.name: Final = f"port:hub:{setup.hub}"
        self.setup = setup
        self.folder: Final = BucketFolder(
            setup.hub, setup.expected, setup.frame_bytes_max, setup.whole_from_ns, mode=self.mode,
            closed_dates=setup.closed_dates,
        )  # fmt: skip
        self.loop: Final = asyncio.new_event_loop()
        self._owner = f"hub:{setup.hub}"
        self._whole_utc = Utc(0)
        self._started_utc = Utc(0)
        self._others = _others_in(setup)
        self._sealing: _Sealing | None = None
        self._up: set[int] = set()
        self._was_down = True
        self._keepers: dict[int, asyncio.Task[None]] = {}
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def status(self, now_utc: Utc) -> HubStatus:
        """Return how the hub flows; from any thread."""
        return self.folder.flow.status(self.setup.hub, now_utc)

    @abstractmethod
    async def hold(self, dial: market.DialHub) -> End:
        """Hold one session from its dial to its end; call `note_up` once data can flow, `keep` with what comes."""

    def cover(self, command: market.CoverHub) -> None:  # noqa: B027 - a source may have no other way
        """Begin or end to stand in for sessions that do not deliver; a source without another way does nothing."""

    def follow(self, expected: tuple[tuple[str, str], ...]) -> None:
        """Take, and miss, these (ticker, category) pairs from now on."""
        self.setup = dataclasses.replace(self.setup, expected=expected)
        self.folder.expect(expected)
        self._others = _others_in(self.setup)

    def begin(self) -> None:  # noqa: B027 - most sources have nothing to do before they are told
        """Do what runs as long as the port does; called in the port's thread, with its loop."""

    def not_polled(self, absent: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        """Return those of the absent pairs that nobody asked for though the stream did not deliver them."""
        del absent
        return ()

    def notes(self) -> tuple[str, ...]:
        """Return why something of the bucket is absent, a sentence each; empty where the source has no more to say."""
        return ()

    def bars(self) -> tuple[MinuteBar, ...]:
        """Return the minute bars that came since they were asked for last; most sources tell none."""
        return ()

    def start(self) -> None:
        """Start the thread."""
        self._started_utc = self.setup.now_utc()
        self._thread.start()

    def post(self, command: Command) -> None:
        """Take a command; never blocks. After `close` it is dropped."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._take, command)

    def close(self, timeout_s: float = 5.0) -> None:
        """End the sessions in good order, then the thread."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout_s)

    def keep(self, profile: Profile, *, is_cover: bool = False) -> None:
        """Take a profile that came decoded; as a cover it counts only where no frame came."""
        self.folder.keep(profile, self.setup.now_utc(), is_cover=is_cover)
        self.note_whole()

    def note_whole(self) -> None:
        """Say so when a bucket has become whole."""
        if self.setup.on_whole is not None and self.folder.whole_utc > self._whole_utc:
            self._whole_utc = self.folder.whole_utc
            self.setup.on_whole(self.setup.hub, self._whole_utc)

    def note_up(self, dial: market.DialHub, *, recovered: bool = False) -> None:
        """Say that data can flow."""
        self._up.add(dial.key_n)
        self.tell(market.HubUp(hub=self.setup.hub, feed_epoch=dial.feed_epoch, key_n=dial.key_n, recovered=recovered))

    def note_down(self, key_n: int) -> None:
        """Take note that no data flows; what a bucket lacks then is laid to it."""
        self._up.discard(key_n)
        self._was_down = True

    def tell(self, message: Message) -> None:
        """Tell the hub's actor."""
        self.setup.tell(self._owner, message)

    def _run(self) -> None:
        self.loop.call_soon(self.begin)
        try:
            self.loop.run_forever()
            self._end_sealing()
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self.loop.run_until_complete(asyncio.wait(tasks))
        finally:
            self.loop.close()

    def _take(self, command: Command) -> None:
        match command:
            case market.SealBucket():
                self._seal(command.bucket_utc)
            case market.DialHub():
                older = self._keepers.get(command.key_n)
                self._keepers[command.key_n] = self.loop.create_task(self._keep_session(command, older))
            case market.CoverHub():
                self.cover(command)
            case market.FollowCategories():
                self.follow(command.expected)
            case _:
                assert_never(command)

    async def _keep_session(self, dial: market.DialHub, older: asyncio.Task[None] | None) -> None:
        """Hold one session from its dial to its loss; tell `HubDown` when it cannot be kept."""
        if older is not None:
            older.cancel()
            await asyncio.wait([older])
        try:
            end = await self.hold(dial)
        except asyncio.CancelledError:
            self.note_down(dial.key_n)
            raise
        except Exception as error:  # a bug must not leave a hub silent for ever
            end = End(f"fault in the port: {error!r}")
        self.note_down(dial.key_n)
        self.tell(
            market.HubDown(
                hub=self.setup.hub, feed_epoch=dial.feed_epoch, key_n=dial.key_n, cause=end.cause,
                can_reuse=end.can_reuse, has_delivered=end.has_delivered,
            )
        )  # fmt: skip

    def _seal(self, bucket_utc: Utc) -> None:
        """Have a bucket decoded: tickers that are waited for at once, the others after a pause, one by one."""
        self._end_sealing()
        was_down, self._was_down = self._was_down, not self._up
        self._sealing = _Sealing(bucket_utc, self._why_absent(bucket_utc, was_down=was_down), list(self._others))
        if not self.setup.first:
            self._end_sealing()
            return
        for ticker in self.setup.first:
            rows = Rows(f"{self.setup.hub}/{bucket_utc}/{ticker}", self.folder.seal_ticker(bucket_utc, ticker))
            self.tell(market.TickerSealed(hub=self.setup.hub, bucket_utc=bucket_utc, ticker=ticker, rows=rows))
        self.loop.call_later(OTHERS_AFTER_S, self._go_on_sealing, self._sealing)

    def _go_on_sealing(self, sealing: _Sealing) -> None:
        """Decode the next ticker, and leave the processor to whoever wants it before the one after."""
        if sealing is not self._sealing:
            return
        if sealing.left:
            self.folder.seal_ticker(sealing.bucket_utc, sealing.left.pop(0))
            self.loop.call_later(BETWEEN_S, self._go_on_sealing, sealing)
        else:
            self._end_sealing()

    def _end_sealing(self) -> None:
        """Decode what is left of the bucket in hand, and tell it."""
        sealing, self._sealing = self._sealing, None
        if sealing is None:
            return
        sealed = self.folder.seal(sealing.bucket_utc)
        self.tell(
            market.BucketSealed(
                hub=self.setup.hub,
                bucket_utc=sealing.bucket_utc,
                rows=sealed.rows,
                absent=sealed.absent,
                counts=market.FrameCounts(
                    accepted=sealed.accepted,
                    repeated=sealed.repeated,
                    late=sealed.late_n,
                    refused=sealed.refused,
                    lag_ms=None if sealed.lag_ns is None else sealed.lag_ns // MS,
                ),
                why_absent=sealing.why_absent,
                late=self._by_bucket(sealed.late),
                covered=sealed.covered,
                not_polled=self.not_polled(sealed.absent),
                notes=self.notes(),
                bars=self.bars(),
            )
        )

    def _why_absent(self, bucket_utc: Utc, *, was_down: bool) -> str:
        """Return why rows of a bucket are absent; in one that began before this port did, nobody was there to hear."""
        if not was_down:
            return WhySilent.SILENT.value
        return (WhySilent.SUPERVISOR_DOWN if bucket_utc < self._started_utc else WhySilent.DISCONNECTED).value

    def _by_bucket(self, late: tuple[Row, ...]) -> tuple[Rows, ...]:
        """Return rows of earlier buckets, parted by their bucket."""
        buckets: dict[Utc, list[Row]] = {}
        for row in late:
            buckets.setdefault(bucket_of(row.last_utc), []).append(row)
        return tuple(Rows(f"{self.setup.hub}/{utc}/late", tuple(rows)) for utc, rows in sorted(buckets.items()))
