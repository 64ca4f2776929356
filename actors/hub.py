"""One hub: keeps its session dialled, has each bucket sealed, and hands the rows to the warehouse and the readings.

Rows ride in memory. On a crash: frames stay in the port; a bucket in hand is answered by the port again or closed as
absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import msgspec
from msgspec.structs import replace

from config.settings import Settings
from domain.alarm import Severity
from domain.instants import MS, SECOND, exchange_clock
from domain.limits import FeedRules
from domain.options.profile import Rows
from domain.signals.feed_rules import in_priority, pause_ns
from domain.units import Utc
from messages import lifecycle, market, operator
from supervision.actor import Actor
from supervision.turn import Turn

NOT_SEALED = "hub port silent"

Inbox = (
    lifecycle.Started
    | lifecycle.TimerFired
    | market.UseAddress
    | market.HubUp
    | market.HubDown
    | market.BucketDue
    | market.BucketSealed
    | market.BucketStored
    | market.BucketNotStored
)


class Timer(StrEnum):
    """`DIAL`: dial again (the feed epoch is the subject); of a bucket (its start): `CLOSE`, `STORED` is overdue."""

    DIAL = "dial"
    CLOSE = "close"
    STORED = "stored"


class HubState(msgspec.Struct):
    """The feed epoch dialled (0: none) and failed dials in a row; buckets due and closed last."""

    feed_epoch: int = 0
    token_until_utc: Utc = Utc(0)
    attempts: int = 0
    due: tuple[Utc, ...] = ()
    closed_utc: Utc = Utc(0)
    silent_since_utc: Utc | None = None
    is_silence_told: bool = False


@dataclass(frozen=True, slots=True)
class Wiring:
    """What does not change: the hub, what it delivers, and the rules of its session."""

    hub: str
    port: str
    tickers: tuple[str, ...]
    expected: tuple[tuple[str, str], ...]
    rules: FeedRules


class HubActor(Actor[HubState, Inbox]):
    """Owner of one hub's session and of the way of its buckets."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        hub = name.partition(":")[2]
        tickers = in_priority(settings.tickers)
        expected = tuple((ticker, category) for ticker in tickers for category in settings.feed.hubs[hub])
        self._wiring = Wiring(hub, f"port:{name}", tickers, expected, settings.feed.rules)

    def initial(self) -> HubState:
        """Hold no address."""
        return HubState()

    def decide(self, turn: Turn[HubState], message: Inbox) -> None:
        """Dial what the feed gives; close every bucket exactly once."""
        match message:
            case lifecycle.Started():
                if message.incarnation > 1:  # the feed tells the first address unasked
                    request_address(self._wiring, turn, 0)
            case lifecycle.TimerFired():
                on_timer(self._wiring, turn, Timer(message.kind), int(message.subject))
            case market.UseAddress():
                use_address(self._wiring, turn, message)
            case market.HubUp():
                turn.state.attempts = 0
                turn.state.feed_epoch = message.feed_epoch
                turn.publish(message)
            case market.HubDown():
                on_down(self._wiring, turn, message)
            case market.BucketDue():
                seal(self._wiring, turn, message)
            case market.BucketSealed():
                on_sealed(self._wiring, turn, message)
            case market.BucketStored():
                turn.disarm(Timer.STORED, str(message.bucket_utc))
            case market.BucketNotStored():
                turn.disarm(Timer.STORED, str(message.bucket_utc))
                text = f"Bucket {exchange_clock(message.bucket_utc)} of {message.hub} was not stored: {message.why}"
                publish_alarm(turn, "stored", text)
            case _:
                assert_never(message)


def on_timer(hub: Wiring, turn: Turn[HubState], timer: Timer, subject: int) -> None:
    """Do what is due; a dial of an older epoch is not."""
    match timer:
        case Timer.DIAL:
            if subject == turn.state.feed_epoch:
                dial(hub, turn)
        case Timer.CLOSE:
            give_up_bucket(hub, turn, Utc(subject))
        case Timer.STORED:
            clock = exchange_clock(Utc(subject))
            publish_alarm(turn, "stored", f"Bucket {clock} of {hub.hub} is not durable yet. Check the disk.")
        case _:
            assert_never(timer)


# -- the session --------------------------------------------------------------------------------


def dial(hub: Wiring, turn: Turn[HubState]) -> None:
    """Have the port dial with the addresses of the epoch in force."""
    turn.tell(hub.port, market.DialHub(feed_epoch=turn.state.feed_epoch))


def request_address(hub: Wiring, turn: Turn[HubState], feed_epoch: int) -> None:
    """Ask the feed for another address than that of an epoch."""
    turn.tell("feed", market.RequestAddress(hub=hub.hub, feed_epoch=feed_epoch))


def use_address(hub: Wiring, turn: Turn[HubState], address: market.UseAddress) -> None:
    """Dial a newer address."""
    state = turn.state
    if address.feed_epoch <= state.feed_epoch:
        return
    state.feed_epoch = address.feed_epoch
    state.token_until_utc = address.token_until_utc
    state.attempts = 0
    dial(hub, turn)


def on_down(hub: Wiring, turn: Turn[HubState], down: market.HubDown) -> None:
    """Dial again while the address can be reused; the end of a session that a newer address replaced is no news."""
    state = turn.state
    if down.feed_epoch < state.feed_epoch:
        return
    attempts_before = state.attempts
    state.attempts += 1
    state.feed_epoch = down.feed_epoch
    turn.publish(down)
    has_time = turn.now < state.token_until_utc and state.attempts < hub.rules.breaker_failures
    if not (down.can_reuse and has_time):
        request_address(hub, turn, down.feed_epoch)
        return
    wait_ns = pause_ns(attempts_before, hub.rules)
    if wait_ns == 0:
        dial(hub, turn)
    else:
        turn.arm(Timer.DIAL, turn.now + wait_ns, str(down.feed_epoch))


# -- buckets ------------------------------------------------------------------------------------


def seal(hub: Wiring, turn: Turn[HubState], due: market.BucketDue) -> None:
    """Have the port seal a bucket, once."""
    state = turn.state
    if due.bucket_utc in state.due or due.bucket_utc <= state.closed_utc:
        return
    state.due = (*state.due, due.bucket_utc)
    turn.tell(hub.port, market.SealBucket(bucket_utc=due.bucket_utc))
    turn.arm(Timer.CLOSE, due.close_by_utc, str(due.bucket_utc))


def on_sealed(hub: Wiring, turn: Turn[HubState], sealed: market.BucketSealed) -> None:
    """Hand a bucket on; what comes for one that is closed (given up, or answered before) is stored as late.

    Every row that is on record in the trace is stored: the warehouse keeps a bucket that it has already only once.
    """
    state, bucket_utc = turn.state, sealed.bucket_utc
    if bucket_utc <= state.closed_utc:
        if sealed.rows.rows:
            store(turn, as_late(sealed), hub.rules)
        store_earlier(turn, sealed)
        report_refused(turn, sealed)
        return
    close_bucket(state, bucket_utc)
    turn.disarm(Timer.CLOSE, str(bucket_utc))
    hand_on(hub, turn, sealed)
    store(turn, sealed, hub.rules)
    store_earlier(turn, sealed)
    watch_silence(hub, turn, sealed)
    report_refused(turn, sealed)


def give_up_bucket(hub: Wiring, turn: Turn[HubState], bucket_utc: Utc) -> None:
    """Close a bucket that the port did not answer in time: everything absent."""
    state = turn.state
    if bucket_utc not in state.due:
        return
    empty = market.BucketSealed(
        hub=hub.hub,
        bucket_utc=bucket_utc,
        rows=Rows(f"{hub.hub}/{bucket_utc}", ()),
        absent=hub.expected,
        counts=market.FrameCounts(),
        why_absent=NOT_SEALED,
    )
    close_bucket(state, bucket_utc)
    hand_on(hub, turn, empty)
    store(turn, empty, hub.rules)


def close_bucket(state: HubState, bucket_utc: Utc) -> None:
    """Take note that a bucket is over."""
    state.due = tuple(b for b in state.due if b != bucket_utc)
    state.closed_utc = max(state.closed_utc, bucket_utc)


def hand_on(hub: Wiring, turn: Turn[HubState], sealed: market.BucketSealed) -> None:
    """Publish each ticker's rows, where it has any, and then the marker."""
    present = {row.profile.ticker for row in sealed.rows.rows}
    for ticker in hub.tickers:
        if ticker in present:
            turn.publish(
                market.RowsArrived(
                    hub=hub.hub, ticker=ticker, bucket_utc=sealed.bucket_utc, rows=sealed.rows.of(ticker)
                )
            )
    turn.publish(market.HubClosed(hub=hub.hub, bucket_utc=sealed.bucket_utc, absent=sealed.absent))


def store(turn: Turn[HubState], sealed: market.BucketSealed, rules: FeedRules) -> None:
    """Have a bucket stored, and notice when it is not in time."""
    turn.tell(
        "warehouse",
        market.StoreBucket(
            hub=sealed.hub,
            bucket_utc=sealed.bucket_utc,
            rows=sealed.rows,
            absent=sealed.absent,
            why_absent=sealed.why_absent,
            counts=sealed.counts,
        ),
    )
    turn.arm(Timer.STORED, turn.now + rules.stored_wait_ms * MS, str(sealed.bucket_utc))


def store_earlier(turn: Turn[HubState], sealed: market.BucketSealed) -> None:
    """Keep what came after its bucket was closed: no reading uses it, and its gap stays on record."""
    for rows in sealed.late:
        turn.tell(
            "warehouse",
            market.StoreBucket(
                hub=sealed.hub,
                bucket_utc=Utc(int(rows.ref.split("/")[1])),
                rows=rows,
                absent=(),
                why_absent="",
                counts=market.FrameCounts(),
            ),
        )


def as_late(sealed: market.BucketSealed) -> market.BucketSealed:
    """Return a bucket that came after the readings closed without it: its rows late, its gaps on record already."""
    late = tuple(replace(row, mode="late") for row in sealed.rows.rows)
    return replace(sealed, rows=Rows(f"{sealed.rows.ref}/late", late), absent=())


# -- what people should look at ------------------------------------------------------------------


def watch_silence(hub: Wiring, turn: Turn[HubState], sealed: market.BucketSealed) -> None:
    """Notice a hub that is dialled and says nothing, once per silence."""
    state = turn.state
    if sealed.counts.accepted:
        state.silent_since_utc = None
        state.is_silence_told = False
        return
    if state.silent_since_utc is None:
        state.silent_since_utc = sealed.bucket_utc
    silent_ns = turn.now - state.silent_since_utc
    if not state.is_silence_told and silent_ns >= hub.rules.silence_ms * MS:
        state.is_silence_told = True
        publish_alarm(turn, "silent", f"Hub {hub.hub} has been silent for {silent_ns // SECOND} s of market time.")


def report_refused(turn: Turn[HubState], sealed: market.BucketSealed) -> None:
    """Name the frames that could not be read; nothing of them is used."""
    if not sealed.counts.refused:
        return
    why = ", ".join(f"{code} {n}" for code, n in sealed.counts.refused)
    text = (
        f"Hub {sealed.hub} sent frames that cannot be used ({why}). They are counted and left out. "
        "If this continues, compare the feed's version with the schemas."
    )
    publish_alarm(turn, "refused", text)


def publish_alarm(turn: Turn[HubState], what: str, text: str) -> None:
    """Raise a warning about this hub."""
    key = f"{turn.name}:{what}"
    turn.publish(operator.Alarm(key=key, severity=Severity.WARNING, text=text, at_utc=turn.now))
