"""The feed: the sole negotiator of the vendor key; hands the hubs their addresses, one epoch at a time.

A negotiation ends all sessions of the key, so one hub's trouble gives every hub a new address, and never twice at once.
On a crash: the next incarnation negotiates afresh under a higher epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import msgspec

from config.settings import Settings
from domain.alarm import Severity
from domain.instants import MS
from domain.limits import FeedRules
from domain.signals.feed_rules import Packed, packed, pause_ns
from domain.units import Utc
from messages import lifecycle, market, operator
from supervision.actor import Actor
from supervision.turn import Turn

PORT = "port:feed"
RUN_SHIFT, INCARNATION_SHIFT = 20, 10  # an epoch is run_n, incarnation and a count, so that it never goes back

Inbox = (
    lifecycle.Started | lifecycle.TimerFired | market.Negotiated | market.NegotiateFailed | market.RequestAddress
)  # fmt: skip


class Timer(StrEnum):
    """`RETRY`: negotiate again (the feed epoch that failed is the subject)."""

    RETRY = "retry"


class FeedState(msgspec.Struct):
    """The epoch in force or asked for; `attempts` in a row without lasting addresses; `token_until_utc` when held."""

    feed_epoch: int = 0
    is_negotiating: bool = False
    attempts: int = 0
    negotiated_utc: Utc = Utc(0)
    hubs: tuple[str, ...] = ()
    token_until_utc: Utc | None = None


@dataclass(frozen=True, slots=True)
class Wiring:
    """What does not change: the hubs that need addresses, the groups that the key carries, the rules of the dial."""

    hubs: tuple[str, ...]
    packed: Packed
    rules: FeedRules


class FeedActor(Actor[FeedState, Inbox]):
    """Negotiates once for all hubs, and again when one of them cannot go on with what it has."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        hubs, rules = settings.feed.hubs, settings.feed.rules
        groups = packed(settings.tickers, settings.spot_only, hubs, rules.memberships_max)
        self._wiring = Wiring(tuple(hubs), groups, rules)

    def initial(self) -> FeedState:
        """Hold no addresses."""
        return FeedState()

    def decide(self, turn: Turn[FeedState], message: Inbox) -> None:
        """Keep exactly one negotiation under way or in force."""
        match message:
            case lifecycle.Started():
                start(self._wiring, turn, message)
            case lifecycle.TimerFired():
                match Timer(message.kind):
                    case Timer.RETRY:
                        if int(message.subject) == turn.state.feed_epoch:  # else of an epoch that is over
                            negotiate(self._wiring, turn)
                    case never:
                        assert_never(never)
            case market.Negotiated():
                on_negotiated(self._wiring, turn, message)
            case market.NegotiateFailed():
                on_failed(self._wiring, turn, message)
            case market.RequestAddress():
                on_request(self._wiring, turn, message)
            case _:
                assert_never(message)


def start(feed: Wiring, turn: Turn[FeedState], started: lifecycle.Started) -> None:
    """Negotiate above every epoch of older incarnations, and name the tickers that the key has no room for."""
    turn.state.feed_epoch = (started.run_n << RUN_SHIFT) + (started.incarnation << INCARNATION_SHIFT)
    negotiate(feed, turn)
    if feed.packed.left_out:
        names = ", ".join(feed.packed.left_out)
        text = f"The key carries {feed.rules.memberships_max} memberships. Not followed: {names}."
        publish_alarm(turn, "feed:memberships", text)


def negotiate(feed: Wiring, turn: Turn[FeedState]) -> None:
    """Have the port negotiate under the next epoch."""
    state = turn.state
    state.feed_epoch += 1
    state.is_negotiating = True
    state.attempts += 1
    state.token_until_utc = None
    turn.tell(PORT, market.Negotiate(feed_epoch=state.feed_epoch, groups=feed.packed.groups))


def on_negotiated(feed: Wiring, turn: Turn[FeedState], facts: market.Negotiated) -> None:
    """Have every hub use its new address; an answer of an older epoch is void."""
    state = turn.state
    if facts.feed_epoch != state.feed_epoch:
        return
    state.is_negotiating = False
    state.negotiated_utc = turn.now
    state.hubs = facts.hubs
    state.token_until_utc = facts.token_until_utc
    for hub in feed.hubs:
        if hub in facts.hubs:
            give_address(turn, hub, facts.token_until_utc)
    for hub in feed.hubs:
        if hub not in facts.hubs:
            publish_alarm(turn, f"feed:{hub}", f"The vendor gave no address for hub {hub}.")


def give_address(turn: Turn[FeedState], hub: str, until_utc: Utc) -> None:
    """Have a hub dial the address in force."""
    address = market.UseAddress(hub=hub, feed_epoch=turn.state.feed_epoch, token_until_utc=until_utc)
    turn.tell(f"hub:{hub}", address)


def on_failed(feed: Wiring, turn: Turn[FeedState], failed: market.NegotiateFailed) -> None:
    """Retry after a pause; a final refusal waits as long as the breaker."""
    state = turn.state
    if failed.feed_epoch != state.feed_epoch or not state.is_negotiating:
        return
    wait_ns = feed.rules.breaker_pause_ms * MS if failed.is_final else pause_ns(state.attempts, feed.rules)
    publish_alarm(turn, "feed:negotiate", f"The feed gave no addresses: {failed.why.rstrip('.')}. Retrying.")
    turn.arm(Timer.RETRY, turn.now + wait_ns, str(state.feed_epoch))


def on_request(feed: Wiring, turn: Turn[FeedState], request: market.RequestAddress) -> None:
    """Tell the address in force to a hub that is behind; renegotiate for one that cannot go on with it."""
    state = turn.state
    if state.is_negotiating or request.feed_epoch > state.feed_epoch:
        return  # the answer is on its way to every hub
    if request.feed_epoch < state.feed_epoch:
        if state.token_until_utc is not None and request.hub in state.hubs:
            give_address(turn, request.hub, state.token_until_utc)
        return
    held_ns = turn.now - state.negotiated_utc
    if held_ns >= feed.rules.retry_max_ms * MS:
        state.attempts = 0
    wait_ns = pause_ns(state.attempts, feed.rules)
    if wait_ns == 0:
        negotiate(feed, turn)
        return
    # Waiting counts as negotiating: the other hubs' requests for this epoch are the same one.
    state.is_negotiating = True
    state.token_until_utc = None
    turn.arm(Timer.RETRY, turn.now + wait_ns, str(state.feed_epoch))


def publish_alarm(turn: Turn[FeedState], key: str, text: str) -> None:
    """Raise a warning about the feed."""
    turn.publish(operator.Alarm(key=key, severity=Severity.WARNING, text=text, at_utc=turn.now))
