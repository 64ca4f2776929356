"""The feed: the sole negotiator of the vendor's keys; hands the hubs their addresses, one epoch at a time for each key.

A negotiation ends all sessions of its key, so it gives every hub a new address, never twice at once, and a hub that
fails again and again does not take the healthy ones with it. What a key has joined follows the date where categories of
today's expiry are kept: at midnight the memberships are replaced on the sessions that stand, and once more on one that
is dialled anew with an older address. A person may have other categories joined, on every key or on none. On a crash:
the next incarnation negotiates afresh under a higher epoch, what the settings said at the start of the process.
"""

from __future__ import annotations

import dataclasses
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
from domain.instants import MINUTE, MS, session_of
from domain.limits import FeedRules
from domain.session.calendar import next_midnight
from domain.signals.feed_rules import TODAY, Packed, at_expiry, expiry_on, memberships, pause_ns
from domain.units import Utc
from messages import lifecycle, market, operator
from supervision.actor import Actor
from supervision.turn import Turn

PORT = "port:feed"
Hubs = Mapping[str, tuple[str, ...]]
RUN_SHIFT, INCARNATION_SHIFT = 20, 10  # an epoch is run_n, incarnation and a count, so that it never goes back
SPARE_NS = 60 * MINUTE
NOT_CHANGED = "memberships_not_changed"

Inbox = (
    lifecycle.Started
    | lifecycle.TimerFired
    | market.Negotiated
    | market.NegotiateFailed
    | market.MembershipsPatched
    | market.PatchFailed
    | market.ChangeMemberships
    | market.RequestAddress
    | market.HubUp
    | market.HubDown
)


class Timer(StrEnum):
    """`RETRY`: negotiate again; `PATCH`: replace memberships again (of both, key's number and feed epoch the subject).

    `ROLL`: another date begins in New York.
    """

    RETRY = "retry"
    PATCH = "patch"
    ROLL = "roll"


class KeyState(msgspec.Struct, frozen=True):
    """The epoch in force or asked for; `attempts` in a row without lasting addresses; `token_until_utc` when held.

    `expiry` is that of the groups which were negotiated; `patched` what replaced it since, `None`: nothing did;
    `patches` in a row were refused.
    """

    feed_epoch: int = 0
    is_negotiating: bool = False
    attempts: int = 0
    negotiated_utc: Utc = Utc(0)
    hubs: tuple[str, ...] = ()
    token_until_utc: Utc | None = None
    up: tuple[str, ...] = ()
    expiry: date = date.min
    patched: date | None = None
    patches: int = 0


class Change(msgspec.Struct, frozen=True):
    """Memberships that a person changes: by which command, what they were, and the keys that have not answered yet."""

    command_id: str
    before: Hubs
    waiting: tuple[int, ...]


class FeedState(msgspec.Struct):
    """What is known of each key; `up` there are the hubs whose session with it stands.

    `hubs` are the categories joined since a person changed them, `None`: those of the settings; `change` is under way.
    """

    keys: tuple[KeyState, ...]
    hubs: Hubs | None = None
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Wiring:
    """What does not change: the hubs with their categories, the groups that each key carries, the rules of the dial.

    `follows_date`: categories of today's expiry are kept; `can_patch`: the memberships are the server's to replace.
    """

    hubs: Hubs
    packed: Packed
    rules: FeedRules
    closed_dates: tuple[date, ...]
    follows_date: bool
    can_patch: bool

    def expiry(self, now: Utc) -> date:
        """Return the expiry of today's categories at an instant."""
        return expiry_on(session_of(now), self.closed_dates)


class FeedActor(Actor[FeedState, Inbox]):
    """Negotiates once for all hubs of a key, and again when one of them cannot go on with what it has."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._settings = settings
        self._wiring = wiring_of(settings)

    def _with(self, hubs: Hubs | None) -> Wiring:
        """Return the wiring with these categories."""
        if hubs is None:
            return self._wiring
        feed = dataclasses.replace(self._settings.feed, hubs=dict(hubs))
        return wiring_of(self._settings.model_copy(update={"feed": feed}))

    def initial(self) -> FeedState:
        """Hold no addresses."""
        return FeedState(tuple(KeyState() for _ in self._wiring.packed.groups))

    def decide(self, turn: Turn[FeedState], message: Inbox) -> None:
        """Keep exactly one negotiation of each key under way or in force."""
        feed = self._with(turn.state.hubs)
        match message:
            case lifecycle.Started():
                start(feed, turn, message)
            case lifecycle.TimerFired():
                on_timer(feed, turn, Timer(message.kind), message.subject)
            case market.Negotiated():
                on_negotiated(feed, turn, message)
            case market.NegotiateFailed():
                if is_of_change(turn.state, message):
                    take_back(self._with(known_before(turn.state)), turn, message.why)
                on_failed(feed, turn, message)
            case market.MembershipsPatched():
                on_patched(feed, turn, message)
            case market.PatchFailed():
                if is_of_change(turn.state, message):
                    take_back(self._with(known_before(turn.state)), turn, message.why)
                else:
                    on_patch_failed(feed, turn, message)
            case market.ChangeMemberships():
                change(feed, self._with(message.hubs), turn, message)
            case market.RequestAddress():
                on_request(feed, turn, message)
            case market.HubUp() | market.HubDown():
                note_hub(feed, turn, message)
            case _:
                assert_never(message)


def wiring_of(settings: Settings) -> Wiring:
    """Return what the settings say of the feed."""
    feed = settings.feed
    is_streamed = feed.source == "hubs"
    return Wiring(
        feed.by_hub, packing(settings), feed.rules, settings.day.closed_dates,
        follows_date=is_streamed and any(c.endswith(TODAY) for wanted in feed.hubs.values() for c in wanted),
        can_patch=is_streamed and feed.protocol == "v2",
    )  # fmt: skip


def on_timer(feed: Wiring, turn: Turn[FeedState], kind: Timer, subject: str) -> None:
    """Do what is due, unless the epoch that it was for is over."""
    if kind is Timer.ROLL:
        for key_n in range(len(turn.state.keys)):
            roll(feed, turn, key_n)
        turn.arm(Timer.ROLL, next_midnight(session_of(turn.now)))
        return
    key_n, epoch = map(int, subject.split(":"))
    if epoch != turn.state.keys[key_n].feed_epoch:
        return
    match kind:
        case Timer.RETRY:
            negotiate(feed, turn, key_n)
        case Timer.PATCH:
            patch(feed, turn, key_n)
        case never:
            assert_never(never)


def start(feed: Wiring, turn: Turn[FeedState], started: lifecycle.Started) -> None:
    """Negotiate above every epoch of older incarnations, and name the tickers that the keys have no room for."""
    epoch = (started.run_n << RUN_SHIFT) + (started.incarnation << INCARNATION_SHIFT)
    turn.state.keys = tuple(replace(key, feed_epoch=epoch) for key in turn.state.keys)
    for key_n in range(len(turn.state.keys)):
        negotiate(feed, turn, key_n)
    if feed.follows_date:
        turn.arm(Timer.ROLL, next_midnight(session_of(turn.now)))
    if feed.packed.left_out:
        names = ", ".join(feed.packed.left_out)
        text = (
            f"{len(turn.state.keys)} keys of {feed.rules.memberships_max} memberships do not carry every ticker."
            f" Polled by REST instead: {names}. Add keys under feed.keys to have them streamed."
        )
        publish_alarm(turn, "feed:memberships", text)


def put(turn: Turn[FeedState], key_n: int, key: KeyState) -> None:
    """Keep what is known of a key now."""
    turn.state.keys = (*turn.state.keys[:key_n], key, *turn.state.keys[key_n + 1 :])


def negotiate(feed: Wiring, turn: Turn[FeedState], key_n: int) -> None:
    """Have the port negotiate under the key's next epoch."""
    key = turn.state.keys[key_n]
    key = replace(
        key, feed_epoch=key.feed_epoch + 1, is_negotiating=True, attempts=key.attempts + 1, token_until_utc=None,
        expiry=feed.expiry(turn.now), patched=None, patches=0,
    )  # fmt: skip
    put(turn, key_n, key)
    groups = tuple(at_expiry(group, key.expiry) for group in feed.packed.groups[key_n])
    turn.tell(PORT, market.Negotiate(feed_epoch=key.feed_epoch, groups=groups, key_n=key_n))


def on_negotiated(feed: Wiring, turn: Turn[FeedState], facts: market.Negotiated) -> None:
    """Have every hub use its new address; an answer of an older epoch is void."""
    key = turn.state.keys[facts.key_n]
    if facts.feed_epoch != key.feed_epoch:
        return
    key = replace(
        key, is_negotiating=False, negotiated_utc=turn.now, hubs=facts.hubs, token_until_utc=facts.token_until_utc
    )  # fmt: skip
    put(turn, facts.key_n, key)
    for hub in feed.hubs:
        if hub in facts.hubs:
            give_address(turn, hub, facts.key_n, facts.token_until_utc)
    for hub in feed.hubs:
        if hub not in facts.hubs:
            publish_alarm(turn, f"feed:{hub}", f"The vendor gave no address for hub {hub}.")
    roll(feed, turn, facts.key_n)  # the answer may have come after midnight
    settle(feed, turn, facts.key_n)


# -- memberships that follow the date -----------------------------------------------------------


def roll(feed: Wiring, turn: Turn[FeedState], key_n: int) -> None:
    """Leave the groups of an expiry that is over and join those of today's; what is being negotiated is looked at
    when its answer comes."""
    key = turn.state.keys[key_n]
    if feed.follows_date and key.token_until_utc is not None and feed.expiry(turn.now) != (key.patched or key.expiry):
        if feed.can_patch:
            patch(feed, turn, key_n)
        else:
            negotiate(feed, turn, key_n)  # the client itself joins, by what was negotiated


def patch(feed: Wiring, turn: Turn[FeedState], key_n: int) -> None:
    """Have the port replace a key's memberships by those of today."""
    key, expiry = turn.state.keys[key_n], feed.expiry(turn.now)
    put(turn, key_n, replace(key, patched=expiry))
    joined = memberships(feed.packed.groups[key_n], feed.hubs, expiry, feed.rules.memberships_max)
    standing_n = sum(hub in key.up for hub, _ in joined)
    command = market.PatchMemberships(feed_epoch=key.feed_epoch, memberships=joined, standing_n=standing_n, key_n=key_n)
    turn.tell(PORT, command)


def on_patched(feed: Wiring, turn: Turn[FeedState], patched: market.MembershipsPatched) -> None:
    """Take note that the memberships are those of the day."""
    key = turn.state.keys[patched.key_n]
    if patched.feed_epoch == key.feed_epoch:
        put(turn, patched.key_n, replace(key, patches=0))
        settle(feed, turn, patched.key_n)


def on_patch_failed(feed: Wiring, turn: Turn[FeedState], failed: market.PatchFailed) -> None:
    """Ask again after a pause; what is refused again and again is negotiated afresh, which needs every hub to dial."""
    key_n, key = failed.key_n, turn.state.keys[failed.key_n]
    if failed.feed_epoch != key.feed_epoch:
        return
    key = replace(key, patches=key.patches + 1)
    put(turn, key_n, key)
    is_over = key.patches >= feed.rules.breaker_failures
    then = "All hubs get new addresses" if is_over else "It is asked again"
    text = f"The feed did not change what key {key_n + 1} has joined: {failed.why.rstrip('.')}. {then}."
    publish_alarm(turn, "feed:patch", text)
    if is_over:
        negotiate(feed, turn, key_n)
        return
    wait_ns = feed.rules.breaker_pause_ms * MS if failed.is_final else pause_ns(key.patches, feed.rules)
    turn.arm(Timer.PATCH, Utc(turn.now + wait_ns), f"{key_n}:{key.feed_epoch}")


# -- memberships that a person changes ----------------------------------------------------------


def change(feed: Wiring, wanted: Wiring, turn: Turn[FeedState], asked: market.ChangeMemberships) -> None:
    """Have every key join other categories; until all have, what comes of both is taken."""
    state, hubs = turn.state, asked.hubs
    why = why_unchangeable(feed, wanted, state, hubs)
    if why is not None:
        deny(turn, asked.command_id, why)
        return
    state.change = Change(asked.command_id, feed.hubs, tuple(range(len(state.keys))))
    state.hubs = hubs
    both = {hub: tuple(dict.fromkeys((*feed.hubs[hub], *hubs[hub]))) for hub in feed.hubs}
    turn.publish(market.MembershipsChanged(hubs=both))
    if wanted.follows_date:
        turn.arm(Timer.ROLL, next_midnight(session_of(turn.now)))
    for key_n in range(len(state.keys)):
        patch(wanted, turn, key_n)


def why_unchangeable(feed: Wiring, wanted: Wiring, state: FeedState, hubs: Hubs) -> str | None:
    """Return in a sentence why categories cannot be changed while the feed runs; `None`: they can."""
    if not feed.can_patch:
        return "This feed joins nothing that could be changed (feed.source hubs and feed.protocol v2 do)"
    if hubs.keys() != feed.hubs.keys():
        return f"Hubs come and go with a start: {', '.join(sorted(hubs.keys() ^ feed.hubs.keys()))}"
    if (wanted.packed.tickers, wanted.packed.left_out) != (feed.packed.tickers, feed.packed.left_out):
        return "So many categories need other keys for some tickers"
    if hubs == feed.hubs:
        return "The feed has joined exactly these categories already"
    if state.change is not None:
        return "Another change is under way; give it again in a moment"
    if any(key.token_until_utc is None for key in state.keys):
        return "The feed has no addresses now; give it again once the hubs are up"
    return None


def is_of_change(state: FeedState, failed: market.PatchFailed | market.NegotiateFailed) -> bool:
    """Return whether a refusal is one of what a person changes."""
    waits = state.change is not None and failed.key_n in state.change.waiting
    return waits and failed.feed_epoch == state.keys[failed.key_n].feed_epoch


def known_before(state: FeedState) -> Hubs | None:
    """Return the categories of before the change that is under way."""
    return None if state.change is None else state.change.before


def settle(feed: Wiring, turn: Turn[FeedState], key_n: int) -> None:
    """Take note that a key has joined what a person wanted; with the last one it is in force."""
    state = turn.state
    if state.change is None or key_n not in state.change.waiting:
        return
    state.change = replace(state.change, waiting=tuple(other for other in state.change.waiting if other != key_n))
    if state.change.waiting:
        return
    done, state.change = state.change, None
    turn.publish(market.MembershipsChanged(hubs=feed.hubs))
    now, before = categories_in(feed.hubs), categories_in(done.before)
    parts = (("Joined", now - before), ("Left", before - now))
    detail = " ".join(f"{what}: {', '.join(sorted(names))}." for what, names in parts if names)
    turn.report("operator", operator.CommandDone(command_id=done.command_id, detail=detail or "Moved to other hubs."))


def take_back(before: Wiring, turn: Turn[FeedState], why: str) -> None:
    """Have every key join what it had before: a key has refused what a person wanted."""
    state = turn.state
    refused, state.change = state.change, None
    state.hubs = before.hubs
    turn.publish(market.MembershipsChanged(hubs=before.hubs))
    for key_n, key in enumerate(state.keys):
        if key.token_until_utc is not None:
            patch(before, turn, key_n)
    if refused is not None:
        deny(turn, refused.command_id, f"The vendor did not change it, and it stays as it was: {why.rstrip('.')}")


def categories_in(hubs: Hubs) -> set[str]:
    """Return the categories of all hubs."""
    return {category for wanted in hubs.values() for category in wanted}


def deny(turn: Turn[FeedState], command_id: str, why: str) -> None:
    """Answer that memberships are not changed."""
    detail = f"{why}. Whatever the settings file says is in force with the next start."
    turn.report("operator", operator.CommandDenied(command_id=command_id, code=NOT_CHANGED, detail=detail))


# -- addresses ----------------------------------------------------------------------------------


def give_address(turn: Turn[FeedState], hub: str, key_n: int, until_utc: Utc) -> None:
    """Have a hub dial the address in force."""
    epoch = turn.state.keys[key_n].feed_epoch
    turn.tell(f"hub:{hub}", market.UseAddress(hub=hub, feed_epoch=epoch, token_until_utc=until_utc, key_n=key_n))


def on_failed(feed: Wiring, turn: Turn[FeedState], failed: market.NegotiateFailed) -> None:
    """Retry after a pause; a final refusal waits as long as the breaker."""
    key = turn.state.keys[failed.key_n]
    if failed.feed_epoch != key.feed_epoch or not key.is_negotiating:
        return
    wait_ns = feed.rules.breaker_pause_ms * MS if failed.is_final else pause_ns(key.attempts, feed.rules)
    publish_alarm(turn, "feed:negotiate", f"The feed gave no addresses: {failed.why.rstrip('.')}. Retrying.")
    arm_retry(turn, failed.key_n, turn.now + wait_ns)


def arm_retry(turn: Turn[FeedState], key_n: int, at_utc: int) -> None:
    """Negotiate again at an instant, unless another epoch has begun by then."""
    turn.arm(Timer.RETRY, Utc(at_utc), f"{key_n}:{turn.state.keys[key_n].feed_epoch}")


def on_request(feed: Wiring, turn: Turn[FeedState], request: market.RequestAddress) -> None:
    """Tell the address in force to a hub that is behind; renegotiate for one that cannot go on with it.

    A hub whose breaker is open may not end the sessions of the others for its own sake more often than every
    `SPARE_NS`: another address has not helped it so far.
    """
    key_n, key = request.key_n, turn.state.keys[request.key_n]
    if key.is_negotiating or request.feed_epoch > key.feed_epoch:
        return  # the answer is on its way to every hub
    if request.feed_epoch < key.feed_epoch:
        if key.token_until_utc is not None and request.hub in key.hubs:
            give_address(turn, request.hub, key_n, key.token_until_utc)
        return
    held_ns = turn.now - key.negotiated_utc
    if held_ns >= feed.rules.retry_max_ms * MS:
        key = replace(key, attempts=0)
    wait_ns = pause_ns(key.attempts, feed.rules)
    if request.failures >= feed.rules.breaker_failures and set(key.up) - {request.hub}:
        wait_ns = max(wait_ns, SPARE_NS - held_ns)
        put(turn, key_n, key)
        if wait_ns > 0:
            arm_retry(turn, key_n, turn.now + wait_ns)  # a healthy hub that loses its session does not wait for it
            return
    if wait_ns == 0:
        put(turn, key_n, key)
        negotiate(feed, turn, key_n)
        return
    # Waiting counts as negotiating: the other hubs' requests for this epoch are the same one.
    put(turn, key_n, replace(key, is_negotiating=True, token_until_utc=None))
    arm_retry(turn, key_n, turn.now + wait_ns)


def note_hub(feed: Wiring, turn: Turn[FeedState], news: market.HubUp | market.HubDown) -> None:
    """Take note of whose session with a key stands; one that was not recovered joined what was negotiated."""
    key = turn.state.keys[news.key_n]
    others = tuple(hub for hub in key.up if hub != news.hub)
    is_up = isinstance(news, market.HubUp)
    put(turn, news.key_n, replace(key, up=(*others, news.hub) if is_up else others))
    if isinstance(news, market.HubUp) and not news.recovered and key.patched is not None:
        patch(feed, turn, news.key_n)


def publish_alarm(turn: Turn[FeedState], key: str, text: str) -> None:
    """Raise a warning about the feed."""
    turn.publish(operator.Alarm(key=key, severity=Severity.WARNING, text=text, at_utc=turn.now))
