"""One hub: keeps its session dialled, has each bucket sealed, and hands the rows to the warehouse and the readings.

Hears Started, TimerFired, HubAddress, HubUp, HubDown, BucketDue, BucketSealed, BucketStored, BucketNotStored.
Says HubDial, SealBucket to its port; AddressWanted; StoreBucket, RowsArrived, HubClosed. Rows ride in memory.
On a crash: frames stay in the port; a bucket in hand is answered by the port again or closed as absent.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from config.settings import Settings
from domain.instants import MS, SECOND, exchange_clock
from domain.options.profile import Rows
from domain.signals.feed_rules import in_priority, pause_ns
from messages import lifecycle, market, operator, session
from messages.base import Message
from supervision.actor import Actor
from supervision.effects import CancelTimer, Effects, SetTimer, Tell

NOT_SEALED = "hub port silent"
GIVEN_UP_KEPT = 8


class HubState(msgspec.Struct, frozen=True):
    """The feed epoch dialled (0: none) and failed dials in a row; buckets due, closed last, given up."""

    feed_epoch: int = 0
    token_until_utc: int = 0
    attempts: int = 0
    due: tuple[int, ...] = ()
    closed_utc: int = 0
    given_up: tuple[int, ...] = ()
    silent_since_utc: int | None = None
    is_silence_told: bool = False


def _closed(state: HubState, bucket_utc: int) -> HubState:
    due = tuple(b for b in state.due if b != bucket_utc)
    return replace(state, due=due, closed_utc=max(state.closed_utc, bucket_utc))


def _as_late(sealed: market.BucketSealed) -> market.BucketSealed:
    """Mark rows that came after the readings closed without them; their gaps are on record already."""
    late = tuple(replace(row, mode="late") for row in sealed.rows.rows)
    return replace(sealed, rows=Rows(f"{sealed.rows.ref}/late", late), absent=())


class HubActor(Actor[HubState]):
    """Owner of one hub's session and of the way of its buckets."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._hub = name.partition(":")[2]
        self._rules = settings.feed.rules
        self._tickers = in_priority(settings.tickers)
        categories = settings.feed.hubs[self._hub]
        self._expected = tuple((ticker, category) for ticker in self._tickers for category in categories)

    def initial(self) -> HubState:
        """Hold no address."""
        return HubState()

    def decide(self, state: HubState, message: Message, now: int) -> tuple[HubState, Effects]:
        """Dial what the feed gives; close every bucket exactly once."""
        match message:
            case lifecycle.Started():
                return self._start(state, message)
            case lifecycle.TimerFired():
                return self._on_timer(state, message.key, now)
            case market.HubAddress():
                return self._dial_new(state, message)
            case market.HubUp():
                return replace(state, attempts=0, feed_epoch=message.feed_epoch), (Tell("notifier", message),)
            case market.HubDown():
                return self._down(state, message, now)
            case market.BucketDue():
                return self._seal(state, message)
            case market.BucketSealed():
                return self._sealed(state, message, now)
            case market.BucketStored():
                return state, (CancelTimer(f"stored:{message.bucket_utc}"),)
            case market.BucketNotStored():
                text = f"Bucket {exchange_clock(message.bucket_utc)} of {self._hub} was not stored: {message.why}"
                return state, (CancelTimer(f"stored:{message.bucket_utc}"), *self._alarm("stored", text, now))
            case session.PhaseChanged():
                return state, ()  # buckets come when the session tells; between sessions silence is no fault
            case _:
                raise TypeError(f"{self.name} does not know {type(message).__name__}")

    def _start(self, state: HubState, started: lifecycle.Started) -> tuple[HubState, Effects]:
        if started.incarnation == 1:
            return state, ()  # the feed tells the first address unasked
        return state, (self._address_wanted(0),)

    def _address_wanted(self, feed_epoch: int) -> Tell:
        return Tell("feed", market.AddressWanted(hub=self._hub, feed_epoch=feed_epoch))

    def _on_timer(self, state: HubState, key: str, now: int) -> tuple[HubState, Effects]:
        what, _, rest = key.partition(":")
        value = int(rest)
        match what:
            case "dial":
                return (state, (self._dial(state),)) if value == state.feed_epoch else (state, ())
            case "close":
                return self._give_up(state, value, now)
            case _:
                text = f"Bucket {exchange_clock(value)} of {self._hub} is not durable yet; look at the disk."
                return state, self._alarm("stored", text, now)

    def _dial(self, state: HubState) -> Tell:
        return Tell(f"port:{self.name}", market.HubDial(feed_epoch=state.feed_epoch))

    def _dial_new(self, state: HubState, address: market.HubAddress) -> tuple[HubState, Effects]:
        if address.feed_epoch <= state.feed_epoch:
            return state, ()
        after = replace(state, feed_epoch=address.feed_epoch, token_until_utc=address.token_until_utc, attempts=0)
        return after, (self._dial(after),)

    def _down(self, state: HubState, down: market.HubDown, now: int) -> tuple[HubState, Effects]:
        if down.feed_epoch < state.feed_epoch:
            return state, ()  # the session that the newer address replaced
        attempts = state.attempts + 1
        after = replace(state, attempts=attempts, feed_epoch=down.feed_epoch)
        heard: Effects = (Tell("notifier", down),)
        can_reuse = down.can_reuse and now < state.token_until_utc and attempts < self._rules.breaker_failures
        if not can_reuse:
            return after, (*heard, self._address_wanted(down.feed_epoch))
        wait_ns = pause_ns(state.attempts, self._rules)
        if wait_ns == 0:
            return after, (*heard, self._dial(after))
        return after, (*heard, SetTimer(f"dial:{down.feed_epoch}", now + wait_ns))

    def _seal(self, state: HubState, due: market.BucketDue) -> tuple[HubState, Effects]:
        if due.bucket_utc in state.due or due.bucket_utc <= state.closed_utc:
            return state, ()  # told twice
        after = replace(state, due=(*state.due, due.bucket_utc))
        return after, (
            Tell(f"port:{self.name}", market.SealBucket(bucket_utc=due.bucket_utc)),
            SetTimer(f"close:{due.bucket_utc}", due.close_by_utc),
        )

    def _sealed(self, state: HubState, sealed: market.BucketSealed, now: int) -> tuple[HubState, Effects]:
        bucket_utc = sealed.bucket_utc
        if bucket_utc in state.given_up:
            given_up = tuple(b for b in state.given_up if b != bucket_utc)
            return replace(state, given_up=given_up), self._store(_as_late(sealed), now)
        if bucket_utc <= state.closed_utc:
            return state, ()  # answered twice
        after = _closed(state, bucket_utc)
        after, alarm = self._listen(after, sealed, now)
        store = self._store(sealed, now)
        late = self._store_late(sealed)
        told = (*alarm, *self._refused(sealed, now))
        return after, (CancelTimer(f"close:{bucket_utc}"), *self._hand_on(sealed), *store, *late, *told)

    def _refused(self, sealed: market.BucketSealed, now: int) -> Effects:
        """Say which frames could not be read; nothing of them is used."""
        if not sealed.counts.refused:
            return ()
        why = ", ".join(f"{code} {n}" for code, n in sealed.counts.refused)
        text = (
            f"Hub {self._hub} sent frames that cannot be used ({why}); they are counted and left out. "
            "When it goes on, compare the feed's version with the schemas."
        )
        return self._alarm("refused", text, now)

    def _store_late(self, sealed: market.BucketSealed) -> Effects:
        """Keep what came after its bucket was closed: no reading uses it, and its gap stays on record."""
        return tuple(
            Tell(
                "warehouse",
                market.StoreBucket(
                    hub=self._hub,
                    bucket_utc=int(rows.ref.split("/")[1]),
                    rows=rows,
                    absent=(),
                    why_absent="",
                    counts=market.FrameCounts(),
                ),
            )
            for rows in sealed.late
        )

    def _give_up(self, state: HubState, bucket_utc: int, now: int) -> tuple[HubState, Effects]:
        if bucket_utc not in state.due:
            return state, ()
        empty = market.BucketSealed(
            hub=self._hub,
            bucket_utc=bucket_utc,
            rows=Rows(f"{self._hub}/{bucket_utc}", ()),
            absent=self._expected,
            counts=market.FrameCounts(),
            why_absent=NOT_SEALED,
        )
        after = replace(_closed(state, bucket_utc), given_up=(*state.given_up, bucket_utc)[-GIVEN_UP_KEPT:])
        return after, (*self._hand_on(empty), *self._store(empty, now))

    def _hand_on(self, sealed: market.BucketSealed) -> Effects:
        """Tell each ticker its rows and then the marker; a ticker without rows gets the marker alone."""
        effects: list[Tell] = []
        present = {row.profile.ticker for row in sealed.rows.rows}
        for ticker in self._tickers:
            to = f"reading:{ticker}"
            absent = tuple(pair for pair in sealed.absent if pair[0] == ticker)
            if ticker in present:
                rows = market.RowsArrived(
                    hub=self._hub, ticker=ticker, bucket_utc=sealed.bucket_utc, rows=sealed.rows.of(ticker)
                )
                effects.append(Tell(to, rows))
            effects.append(Tell(to, market.HubClosed(hub=self._hub, bucket_utc=sealed.bucket_utc, absent=absent)))
        return tuple(effects)

    def _store(self, sealed: market.BucketSealed, now: int) -> Effects:
        store = market.StoreBucket(
            hub=self._hub,
            bucket_utc=sealed.bucket_utc,
            rows=sealed.rows,
            absent=sealed.absent,
            why_absent=sealed.why_absent,
            counts=sealed.counts,
        )
        deadline_utc = now + self._rules.stored_wait_ms * MS
        return (Tell("warehouse", store), SetTimer(f"stored:{sealed.bucket_utc}", deadline_utc))

    def _listen(self, state: HubState, sealed: market.BucketSealed, now: int) -> tuple[HubState, Effects]:
        """Notice a hub that is dialled and says nothing, once per silence."""
        if sealed.counts.accepted:
            return replace(state, silent_since_utc=None, is_silence_told=False), ()
        since_utc = sealed.bucket_utc if state.silent_since_utc is None else state.silent_since_utc
        after = replace(state, silent_since_utc=since_utc)
        silent_ns = now - since_utc
        if state.is_silence_told or silent_ns < self._rules.silence_ms * MS:
            return after, ()
        text = f"Hub {self._hub} has been silent for {silent_ns // SECOND} s of market time."
        return replace(after, is_silence_told=True), self._alarm("silent", text, now)

    def _alarm(self, what: str, text: str, now: int) -> Effects:
        alarm = operator.Alarm(key=f"{self.name}:{what}", severity="warning", text=text, at_utc=now)
        return tuple(Tell(role, alarm) for role in ("notifier", "web", "journal"))
