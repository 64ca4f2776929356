"""One hub: keeps its sessions dialled (one a key), has silence covered by polling, has each bucket sealed, and hands
the rows to the warehouse and the readings.

A session is a success once it delivered or lasted, never because it came up: failures are counted by that, and neither
a new address nor another hub's luck makes them fewer.

Rows ride in memory. On a crash: frames stay in the port; a bucket in hand is answered by the port again or closed as
absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import assert_never

import msgspec
from msgspec.structs import replace

from config.feeds import packing
from config.settings import Settings
from domain.alarm import Severity
from domain.instants import BUCKET_NS, MINUTE, MS, SECOND, exchange_clock, session_of
from domain.limits import FeedRules
from domain.options.profile import IngestMode, Rows
from domain.session import calendar
from domain.signals.feed_rules import in_priority, pause_ns
from domain.units import Utc
from messages import lifecycle, market, operator
from supervision.actor import Actor
from supervision.turn import Turn

NOT_SEALED = "hub port silent"
GROUPS_NAMED = 6  # in one alarm
NOTES_NAMED = 3
POLLED = "rest_"  # begins the codes of what polling met
EXPECTED = frozenset(("opening", "stale", "clipped"))  # the vendor's own ways: counted, and no news
EARLY_MS = -5_000  # no frame comes before it is made
GONE_NS = 5 * MINUTE  # what has not come for so long comes no more

Inbox = (
    lifecycle.Started
    | lifecycle.TimerFired
    | market.UseAddress
    | market.HubUp
    | market.HubDown
    | market.HubQuiet
    | market.HubFlows
    | market.MembershipsChanged
    | market.BucketDue
    | market.TickerSealed
    | market.BucketSealed
    | market.BucketStored
    | market.BucketNotStored
)


class Timer(StrEnum):
    """Of a session (key number, feed epoch): `DIAL` again. Of a key: `COVER` what is quiet, `LEAVE` it at the close.

    Of a bucket (its start): `CLOSE`, `STORED` is overdue.
    """

    DIAL = "dial"
    COVER = "cover"
    LEAVE = "leave"
    CLOSE = "close"
    STORED = "stored"


class Session(msgspec.Struct, frozen=True):
    """The session with a key: the feed epoch dialled (0: none), whether its address still holds, failures in a row.

    `up_utc`, since when it stands; `quiet_utc`, since when nothing has come; `None` where it does not, or flows.
    """

    feed_epoch: int = 0
    token_until_utc: Utc = Utc(0)
    can_reuse: bool = True
    failures: int = 0
    dialled_utc: Utc = Utc(0)
    up_utc: Utc | None = None
    quiet_utc: Utc | None = None
    is_covered: bool = False


class Unusable(msgspec.Struct, frozen=True):
    """What could not be used and was said under an alarm's key: its codes, and when some of it came last."""

    codes: frozenset[str]
    seen_utc: Utc


class HubState(msgspec.Struct):
    """The sessions by key; buckets due and closed last; groups that are silent while the hub is not, since when.

    `ahead` are the tickers that were handed on before the others, each with its bucket, of buckets that are due.
    `overdue` are the buckets that people know not to be durable yet, `unusable` what they know of as coming and being
    left out, by the alarm that said so.
    `flowed_utc` is when a session that had been quiet delivered again; `categories` are what was changed in this run,
    `None`: nothing was.
    """

    sessions: tuple[Session, ...]
    due: tuple[Utc, ...] = ()
    closed_utc: Utc = Utc(0)
    ahead: tuple[tuple[Utc, str], ...] = ()
    silent_since_utc: Utc | None = None
    is_silence_told: bool = False
    silent_groups: tuple[tuple[str, str, Utc], ...] = ()
    told_groups: tuple[tuple[str, str], ...] = ()
    flowed_utc: Utc | None = None
    categories: tuple[str, ...] | None = None
    overdue: tuple[Utc, ...] = ()
    unusable: Mapping[str, Unusable] = {}


@dataclass(frozen=True, slots=True)
class Wiring:
    """What does not change: the hub, what it delivers, and the rules of its session."""

    hub: str
    port: str
    tickers: tuple[str, ...]
    expected: tuple[tuple[str, str], ...]
    rules: FeedRules
    failover_ns: int
    keys_n: int
    closed_dates: tuple[date, ...]


class HubActor(Actor[HubState, Inbox]):
    """Owner of one hub's session and of the way of its buckets."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        hub = name.partition(":")[2]
        tickers = in_priority(settings.tickers)
        feed = settings.feed
        expected = tuple((ticker, category) for ticker in tickers for category in feed.by_hub[hub])
        self._wiring = Wiring(
            hub, f"port:{name}", tickers, expected, feed.rules, feed.rest.failover_after_ms * MS,
            len(packing(settings).groups), settings.day.closed_dates,
        )  # fmt: skip

    def initial(self) -> HubState:
        """Hold no address."""
        return HubState(tuple(Session() for _ in range(self._wiring.keys_n)))

    def decide(self, turn: Turn[HubState], message: Inbox) -> None:
        """Dial what the feed gives; close every bucket exactly once."""
        match message:
            case lifecycle.Started():
                if message.incarnation > 1:  # the feed tells the first address unasked
                    for key_n in range(self._wiring.keys_n):
                        turn.tell(self._wiring.port, market.CoverHub(is_wanted=False, key_n=key_n))
                        request_address(turn, self._wiring, key_n)
            case lifecycle.TimerFired():
                on_timer(self._wiring, turn, Timer(message.kind), message.subject)
            case market.UseAddress():
                use_address(self._wiring, turn, message)
            case market.HubUp():
                session = turn.state.sessions[message.key_n]
                keep_session(turn, message.key_n, replace(session, feed_epoch=message.feed_epoch, up_utc=turn.now))
                turn.publish(message)
            case market.HubDown():
                on_down(self._wiring, turn, message)
            case market.HubQuiet():
                on_quiet(self._wiring, turn, message)
            case market.HubFlows():
                on_flows(self._wiring, turn, message.key_n)
            case market.MembershipsChanged():
                turn.state.categories = message.hubs[self._wiring.hub]
                expected = expected_of(self._wiring, turn.state)
                turn.tell(self._wiring.port, market.FollowCategories(expected=expected))
            case market.BucketDue():
                seal(self._wiring, turn, message)
            case market.TickerSealed():
                on_ticker(turn, message)
            case market.BucketSealed():
                on_sealed(self._wiring, turn, message)
            case market.BucketStored():
                on_stored(self._wiring, turn, message.bucket_utc)
            case market.BucketNotStored():
                turn.disarm(Timer.STORED, str(message.bucket_utc))
                turn.state.overdue = ()  # what is durable after this ends no alarm: this bucket is not
                text = f"Bucket {exchange_clock(message.bucket_utc)} of {message.hub} was not stored: {message.why}"
                publish_alarm(turn, "stored", text)
            case _:
                assert_never(message)


def on_timer(hub: Wiring, turn: Turn[HubState], timer: Timer, subject: str) -> None:
    """Do what is due; a dial of an older epoch is not."""
    match timer:
        case Timer.DIAL:
            key_n, epoch = map(int, subject.split(":"))
            if epoch == turn.state.sessions[key_n].feed_epoch:
                dial(hub, turn, key_n)
        case Timer.COVER:
            cover_quiet(hub, turn, int(subject))
        case Timer.LEAVE:
            end_cover(hub, turn, int(subject))
        case Timer.CLOSE:
            give_up_bucket(hub, turn, Utc(int(subject)))
        case Timer.STORED:
            clock = exchange_clock(Utc(int(subject)))
            turn.state.overdue = (*turn.state.overdue, Utc(int(subject)))
            publish_alarm(turn, "stored", f"Bucket {clock} of {hub.hub} is not durable yet. Check the disk.")
        case _:
            assert_never(timer)


def keep_session(turn: Turn[HubState], key_n: int, session: Session) -> None:
    """Keep what is known of a key's session."""
    sessions = turn.state.sessions
    turn.state.sessions = (*sessions[:key_n], session, *sessions[key_n + 1 :])


# -- the sessions -------------------------------------------------------------------------------


def dial(hub: Wiring, turn: Turn[HubState], key_n: int) -> None:
    """Have the port dial the address in force; where it does not hold any more, ask for another."""
    session = turn.state.sessions[key_n]
    if session.can_reuse and turn.now < session.token_until_utc:
        keep_session(turn, key_n, replace(session, dialled_utc=turn.now))
        turn.tell(hub.port, market.DialHub(feed_epoch=session.feed_epoch, key_n=key_n))
    else:
        request_address(turn, hub, key_n)


def request_address(turn: Turn[HubState], hub: Wiring, key_n: int) -> None:
    """Ask the feed for another address than that of the epoch dialled last."""
    session = turn.state.sessions[key_n]
    turn.tell(
        "feed",
        market.RequestAddress(
            hub=hub.hub, feed_epoch=session.feed_epoch, key_n=key_n, failures=session.failures
        ),
    )  # fmt: skip


def use_address(hub: Wiring, turn: Turn[HubState], address: market.UseAddress) -> None:
    """Dial a newer address."""
    session = turn.state.sessions[address.key_n]
    if address.feed_epoch <= session.feed_epoch:
        return
    fresh = replace(
        session,
        feed_epoch=address.feed_epoch,
        token_until_utc=address.token_until_utc,
        can_reuse=True,
        up_utc=None,
    )
    keep_session(turn, address.key_n, fresh)
    dial(hub, turn, address.key_n)


def on_down(hub: Wiring, turn: Turn[HubState], down: market.HubDown) -> None:
    """Dial again after the pause that is due; the end of a session that a newer address replaced is no news."""
    session = turn.state.sessions[down.key_n]
    if down.feed_epoch < session.feed_epoch:
        return
    lasted = session.up_utc is not None and turn.now - session.up_utc >= hub.rules.lasting_ms * MS
    is_success = down.has_delivered or lasted
    failures = 0 if is_success else session.failures + 1
    ended = replace(
        session, feed_epoch=down.feed_epoch, can_reuse=down.can_reuse, failures=failures, up_utc=None
    )  # fmt: skip
    keep_session(turn, down.key_n, ended)
    turn.publish(down)
    if failures == hub.rules.breaker_failures:
        text = (
            f"Hub {hub.hub} has failed {failures} times in a row ({down.cause.rstrip('.')}). It is dialled every"
            f" {hub.rules.breaker_pause_ms // 1000} s from now on and covered by REST in session; see whether another"
            " client uses the key."
        )
        publish_alarm(turn, "breaker", text)
    pace_ns = hub.rules.retry_min_ms * MS - (turn.now - session.dialled_utc)  # a session that fails fast is no licence
    wait_ns = max(0, pace_ns) if is_success else pause_ns(failures, hub.rules)
    if wait_ns == 0:
        dial(hub, turn, down.key_n)
    else:
        turn.arm(Timer.DIAL, Utc(turn.now + wait_ns), f"{down.key_n}:{down.feed_epoch}")


# -- covering silence by polling ----------------------------------------------------------------


def on_quiet(hub: Wiring, turn: Turn[HubState], quiet: market.HubQuiet) -> None:
    """Cover a session that delivers nothing, in hours; silence out of them is no fault."""
    session = turn.state.sessions[quiet.key_n]
    keep_session(turn, quiet.key_n, replace(session, quiet_utc=quiet.since_utc))
    hours = hours_of(hub, turn.now)
    if hours is None or turn.now >= hours[1]:
        return
    if turn.now >= hours[0]:
        cover_quiet(hub, turn, quiet.key_n)
    else:
        turn.arm(Timer.COVER, Utc(hours[0] + hub.failover_ns), str(quiet.key_n))


def cover_quiet(hub: Wiring, turn: Turn[HubState], key_n: int) -> None:
    """Have the port poll, if the session is still quiet."""
    session, hours = turn.state.sessions[key_n], hours_of(hub, turn.now)
    if session.quiet_utc is None or session.is_covered or hours is None:
        return
    keep_session(turn, key_n, replace(session, is_covered=True))
    turn.tell(hub.port, market.CoverHub(is_wanted=True, key_n=key_n))
    turn.arm(Timer.LEAVE, hours[1], str(key_n))
    since = exchange_clock(max(session.quiet_utc, hours[0]))
    publish_alarm(turn, "cover", f"Hub {hub.hub} has delivered nothing since {since}: REST stands in until it does.")


def on_flows(hub: Wiring, turn: Turn[HubState], key_n: int) -> None:
    """Leave it to the session again."""
    session = turn.state.sessions[key_n]
    keep_session(turn, key_n, replace(session, quiet_utc=None))
    turn.state.flowed_utc = turn.now
    turn.disarm(Timer.COVER, str(key_n))
    if session.is_covered:
        end_cover(hub, turn, key_n)
        publish_alarm(turn, "cover", f"Hub {hub.hub} delivers again: REST has handed back.", Severity.INFO)


def end_cover(hub: Wiring, turn: Turn[HubState], key_n: int) -> None:
    """Have the port poll no more."""
    session = turn.state.sessions[key_n]
    if session.is_covered:
        keep_session(turn, key_n, replace(session, is_covered=False))
        turn.disarm(Timer.LEAVE, str(key_n))
        turn.tell(hub.port, market.CoverHub(is_wanted=False, key_n=key_n))


def hours_of(hub: Wiring, now: Utc) -> tuple[Utc, Utc] | None:
    """Return open and close of today's session; `None` on a day without one."""
    day = calendar.day(session_of(now), hub.closed_dates)
    return None if day is None else (day.open_utc, day.close_utc)


# -- buckets ------------------------------------------------------------------------------------


def seal(hub: Wiring, turn: Turn[HubState], due: market.BucketDue) -> None:
    """Have the port seal a bucket, once."""
    state = turn.state
    if due.bucket_utc in state.due or due.bucket_utc <= state.closed_utc:
        return
    state.due = (*state.due, due.bucket_utc)
    turn.tell(hub.port, market.SealBucket(bucket_utc=due.bucket_utc))
    turn.arm(Timer.CLOSE, due.close_by_utc, str(due.bucket_utc))


def on_ticker(turn: Turn[HubState], sealed: market.TickerSealed) -> None:
    """Hand a ticker on before the others, once; of a bucket that is over, it comes with all rows."""
    state, key = turn.state, (sealed.bucket_utc, sealed.ticker)
    if sealed.bucket_utc <= state.closed_utc or key in state.ahead:
        return
    state.ahead = (*state.ahead, key)
    turn.publish(
        market.RowsArrived(
            hub=sealed.hub, ticker=sealed.ticker, bucket_utc=sealed.bucket_utc, rows=sealed.rows, is_all=True
        )
    )  # fmt: skip


def on_sealed(hub: Wiring, turn: Turn[HubState], sealed: market.BucketSealed) -> None:
    """Hand a bucket on; what comes for one that is closed (given up, or answered before) is stored as late.

    Every row that is on record in the trace is stored: the warehouse keeps a bucket that it has already only once.
    """
    state, bucket_utc = turn.state, sealed.bucket_utc
    if sealed.bars:
        turn.publish(market.BarsArrived(hub=hub.hub, at_utc=turn.now, bars=sealed.bars))
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
    if sealed.notes:
        more = f" And {len(sealed.notes) - NOTES_NAMED} more." if len(sealed.notes) > NOTES_NAMED else ""
        publish_alarm(turn, "notes", " ".join(sealed.notes[:NOTES_NAMED]) + more)
    if not watch_clock(hub, turn, sealed):
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
        absent=expected_of(hub, state),
        counts=market.FrameCounts(),
        why_absent=NOT_SEALED,
    )
    close_bucket(state, bucket_utc)
    hand_on(hub, turn, empty)
    store(turn, empty, hub.rules)


def expected_of(hub: Wiring, state: HubState) -> tuple[tuple[str, str], ...]:
    """Return the (ticker, category) pairs that the hub is to deliver now."""
    if state.categories is None:
        return hub.expected
    return tuple((ticker, category) for ticker in hub.tickers for category in state.categories)


def close_bucket(state: HubState, bucket_utc: Utc) -> None:
    """Take note that a bucket is over."""
    state.due = tuple(b for b in state.due if b != bucket_utc)
    state.closed_utc = max(state.closed_utc, bucket_utc)


def hand_on(hub: Wiring, turn: Turn[HubState], sealed: market.BucketSealed) -> None:
    """Publish each ticker's rows, where it has any and was not handed on before the others, and then the marker."""
    ahead = {ticker for bucket_utc, ticker in turn.state.ahead if bucket_utc == sealed.bucket_utc}
    turn.state.ahead = tuple(key for key in turn.state.ahead if key[0] > sealed.bucket_utc)
    present = {row.profile.ticker for row in sealed.rows.rows} - ahead
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
            covered=sealed.covered,
            not_polled=sealed.not_polled,
        ),
    )
    turn.arm(Timer.STORED, turn.now + rules.stored_wait_ms * MS, str(sealed.bucket_utc))


def on_stored(hub: Wiring, turn: Turn[HubState], bucket_utc: Utc) -> None:
    """Wait for it no more; with the last of those that were overdue the alarm is over."""
    state = turn.state
    turn.disarm(Timer.STORED, str(bucket_utc))
    if bucket_utc not in state.overdue:
        return
    state.overdue = tuple(other for other in state.overdue if other != bucket_utc)
    if not state.overdue:
        text = f"Bucket {exchange_clock(bucket_utc)} of {hub.hub} is durable."
        publish_alarm(turn, "stored", text, Severity.INFO)


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
    late = tuple(replace(row, mode=IngestMode.LATE) for row in sealed.rows.rows)
    return replace(sealed, rows=Rows(f"{sealed.rows.ref}/late", late), absent=(), covered=(), not_polled=())


# -- what people should look at ------------------------------------------------------------------


def watch_clock(hub: Wiring, turn: Turn[HubState], sealed: market.BucketSealed) -> bool:
    """Return whether frames come whose instants do not fit this computer's clock, and say so: no hub is to blame."""
    counts, lag_ms = sealed.counts, sealed.counts.lag_ms
    is_unused = not counts.accepted and (counts.late > 0 or "time_ahead" in dict(counts.refused))
    if lag_ms is None or not (is_unused or lag_ms <= EARLY_MS):
        return False
    side = "behind" if lag_ms > 0 else "ahead of"
    text = (
        f"The frames of hub {hub.hub} bear instants {abs(lag_ms) / 1000:.0f} s {side} this computer's clock. Compare it"
        " with a time server (`main.py doctor`) and set it; if it is right, the feed is late."
    )
    publish_alarm(turn, "clock", text)
    return True


def watch_silence(hub: Wiring, turn: Turn[HubState], sealed: market.BucketSealed) -> None:
    """Notice a hub that is dialled and says nothing, once per silence."""
    state = turn.state
    if sealed.counts.accepted:
        state.silent_since_utc = None
        state.is_silence_told = False
        watch_groups(hub, turn, sealed)
        return
    if state.silent_since_utc is None:
        state.silent_since_utc = sealed.bucket_utc
    if state.flowed_utc is not None and state.flowed_utc >= sealed.bucket_utc + BUCKET_NS:
        return  # that it delivers again was said before this bucket of the silence came
    silent_ns = turn.now - state.silent_since_utc
    if not state.is_silence_told and silent_ns >= hub.rules.silence_ms * MS:
        state.is_silence_told = True
        publish_alarm(turn, "silent", f"Hub {hub.hub} has been silent for {silent_ns // SECOND} s of market time.")


def watch_groups(hub: Wiring, turn: Turn[HubState], sealed: market.BucketSealed) -> None:
    """Notice groups that stay silent while their hub delivers: joined on a wrong hub, or not in the key's tier."""
    state = turn.state
    silent = (*sealed.absent, *sealed.covered)
    before = {(ticker, category): since_utc for ticker, category, since_utc in state.silent_groups}
    state.silent_groups = tuple((*pair, before.get(pair, sealed.bucket_utc)) for pair in silent)
    told = state.told_groups
    state.told_groups = tuple(pair for pair in told if pair in silent)
    if told and not state.told_groups:
        publish_alarm(turn, "group", f"Hub {hub.hub} delivers every group again.", Severity.INFO)
    overdue = [
        (ticker, category)
        for ticker, category, since_utc in state.silent_groups
        if turn.now - since_utc >= hub.rules.silence_ms * MS and (ticker, category) not in state.told_groups
    ]
    if not overdue:
        return
    state.told_groups = (*state.told_groups, *overdue)
    names = ", ".join(f"{ticker}_{category}" for ticker, category in overdue[:GROUPS_NAMED])
    more = f" and {len(overdue) - GROUPS_NAMED} more" if len(overdue) > GROUPS_NAMED else ""
    text = (
        f"Hub {hub.hub} delivers, but nothing of {names}{more}. Check that feed.hubs has each category under the hub"
        " that publishes it, and that the key's tier includes it."
    )
    publish_alarm(turn, "group", text)


def report_refused(turn: Turn[HubState], sealed: market.BucketSealed) -> None:
    """Name what could not be read, each kind once until none has come for a while; nothing of it is used.

    What REST refused for good it is not asked again: that is over once nothing that it could give is absent.
    """
    refused = [(code, n) for code, n in sealed.counts.refused if code not in EXPECTED]
    polled = [(code.removeprefix(POLLED), n) for code, n in refused if code.startswith(POLLED)]
    name_unusable(
        turn, "rest", polled, f"REST does not answer for hub {sealed.hub}",
        "401: check the key. 403: it is not in the key's tier. 404: the vendor does not know a ticker or category; take"
        " it out of the settings. 429: the vendor limits the rate, which is waited out.",
        f"REST has refused nothing for hub {sealed.hub}", is_lacking=not set(sealed.absent) <= set(sealed.not_polled),
    )  # fmt: skip
    streamed = [(code, n) for code, n in refused if not code.startswith(POLLED)]
    name_unusable(
        turn, "refused", streamed, f"Hub {sealed.hub} sent frames that cannot be used",
        "They are counted and left out. If this continues, compare the feed's version with the schemas.",
        f"Every frame of hub {sealed.hub} could be used",
    )  # fmt: skip


def name_unusable(
    turn: Turn[HubState], what: str, refused: list[tuple[str, int]], fault: str, remedy: str, over: str, *,
    is_lacking: bool = False,
) -> None:  # fmt: skip
    """Say what is refused where a code is new; it is counted after that, and over once nothing has come for a while.

    `is_lacking`: what was refused is still missed, so that it is not over.
    """
    unusable, known = turn.state.unusable, turn.state.unusable.get(what)
    told = frozenset[str]() if known is None else known.codes
    codes = frozenset(code for code, _ in refused)
    if refused:
        turn.state.unusable = {**unusable, what: Unusable(told | codes, turn.now)}
        if codes - told:
            why = ", ".join(f"{code} {n}" for code, n in refused)
            publish_alarm(turn, what, f"{fault} ({why}). {remedy}")
    elif known is not None and not is_lacking and turn.now - known.seen_utc >= GONE_NS:
        turn.state.unusable = {key: value for key, value in unusable.items() if key != what}
        publish_alarm(turn, what, f"{over} for {GONE_NS // MINUTE} minutes.", Severity.INFO)


def publish_alarm(turn: Turn[HubState], what: str, text: str, severity: Severity = Severity.WARNING) -> None:
    """Say something about this hub that people should know of."""
    key = f"{turn.name}:{what}"
    turn.publish(operator.Alarm(key=key, severity=severity, text=text, at_utc=turn.now))
