"""The feed: the sole negotiator of the vendor key; hands the hubs their addresses, one epoch at a time.

Hears Started, TimerFired, Negotiated, NegotiateFailed, AddressWanted. Says Negotiate to its port, HubAddress to hubs.
A negotiate ends all sessions of the key, so one hub's trouble gives every hub a new address, and never twice at once.
On a crash: the next incarnation negotiates afresh under a higher epoch.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from config.settings import Settings
from domain.instants import MS
from domain.signals.feed_rules import packed, pause_ns
from messages import lifecycle, market, operator, session
from messages.base import Message
from supervision.actor import Actor
from supervision.effects import Effects, SetTimer, Tell

RUN_SHIFT, INCARNATION_SHIFT = 20, 10  # an epoch is run_n, incarnation and a count, so that it never goes back


class FeedState(msgspec.Struct, frozen=True):
    """The epoch in force or asked for; `attempts` in a row without lasting addresses; `token_until_utc` when held."""

    feed_epoch: int = 0
    is_negotiating: bool = False
    attempts: int = 0
    negotiated_utc: int = 0
    hubs: tuple[str, ...] = ()
    token_until_utc: int | None = None


class FeedActor(Actor[FeedState]):
    """Negotiates once for all hubs, and again when one of them cannot go on with what it has."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._rules = settings.feed.rules
        self._hubs = tuple(settings.feed.hubs)
        self._packed = packed(settings.tickers, settings.indices, settings.feed.hubs, self._rules.memberships_max)

    def initial(self) -> FeedState:
        """Hold no addresses."""
        return FeedState()

    def decide(self, state: FeedState, message: Message, now: int) -> tuple[FeedState, Effects]:
        """Keep exactly one negotiation under way or in force."""
        match message:
            case lifecycle.Started():
                return self._start(state, message, now)
            case lifecycle.TimerFired():
                return self._retry(state, message.key)
            case market.Negotiated():
                return self._hand_out(state, message, now)
            case market.NegotiateFailed():
                return self._failed(state, message, now)
            case market.AddressWanted():
                return self._wanted(state, message, now)
            case session.PhaseChanged():
                return state, ()  # addresses are wanted before the open as well
            case _:
                raise TypeError(f"{self.name} does not know {type(message).__name__}")

    def _start(self, state: FeedState, started: lifecycle.Started, now: int) -> tuple[FeedState, Effects]:
        base = (started.run_n << RUN_SHIFT) + (started.incarnation << INCARNATION_SHIFT)
        after, effects = self._negotiate(replace(state, feed_epoch=base))
        if self._packed.left_out:
            names = ", ".join(self._packed.left_out)
            text = f"The key carries {self._rules.memberships_max} memberships; not followed: {names}."
            effects += self._alarm("feed:memberships", text, now)
        return after, effects

    def _negotiate(self, state: FeedState) -> tuple[FeedState, Effects]:
        epoch = state.feed_epoch + 1
        after = replace(state, feed_epoch=epoch, is_negotiating=True, attempts=state.attempts + 1, token_until_utc=None)
        return after, (Tell("port:feed", market.Negotiate(feed_epoch=epoch, groups=self._packed.groups)),)

    def _retry(self, state: FeedState, key: str) -> tuple[FeedState, Effects]:
        if key != f"retry:{state.feed_epoch}":
            return state, ()  # a timer of an epoch that is over
        return self._negotiate(state)

    def _hand_out(self, state: FeedState, facts: market.Negotiated, now: int) -> tuple[FeedState, Effects]:
        if facts.feed_epoch != state.feed_epoch:
            return state, ()
        after = replace(
            state, is_negotiating=False, negotiated_utc=now, hubs=facts.hubs, token_until_utc=facts.token_until_utc
        )
        effects: Effects = tuple(self._address(after, hub) for hub in self._hubs if hub in facts.hubs)
        for hub in self._hubs:
            if hub not in facts.hubs:
                effects += self._alarm(f"feed:{hub}", f"The vendor gave no address for hub {hub}.", now)
        return after, effects

    def _address(self, state: FeedState, hub: str) -> Tell:
        until_utc = state.token_until_utc or 0
        address = market.HubAddress(hub=hub, feed_epoch=state.feed_epoch, token_until_utc=until_utc)
        return Tell(f"hub:{hub}", address)

    def _failed(self, state: FeedState, failed: market.NegotiateFailed, now: int) -> tuple[FeedState, Effects]:
        if failed.feed_epoch != state.feed_epoch or not state.is_negotiating:
            return state, ()
        wait_ns = self._rules.breaker_pause_ms * MS if failed.is_final else pause_ns(state.attempts, self._rules)
        effects = self._alarm(
            "feed:negotiate", f"The feed gave no addresses: {failed.why.rstrip('.')}. It is asked again by itself.", now
        )
        return state, (*effects, SetTimer(f"retry:{state.feed_epoch}", now + wait_ns))

    def _wanted(self, state: FeedState, wanted: market.AddressWanted, now: int) -> tuple[FeedState, Effects]:
        if state.is_negotiating or wanted.feed_epoch > state.feed_epoch:
            return state, ()  # the answer is on its way to every hub
        if wanted.feed_epoch < state.feed_epoch:
            has_one = state.token_until_utc is not None and wanted.hub in state.hubs
            return state, (self._address(state, wanted.hub),) if has_one else ()
        held_ns = now - state.negotiated_utc
        attempts = 0 if held_ns >= self._rules.retry_max_ms * MS else state.attempts
        wait_ns = pause_ns(attempts, self._rules)
        after = replace(state, attempts=attempts)
        if wait_ns == 0:
            return self._negotiate(after)
        # Waiting counts as negotiating: the other hubs' wishes for this epoch are the same wish.
        after = replace(after, is_negotiating=True, token_until_utc=None)
        return after, (SetTimer(f"retry:{state.feed_epoch}", now + wait_ns),)

    def _alarm(self, key: str, text: str, now: int) -> Effects:
        alarm = operator.Alarm(key=key, severity="warning", text=text, at_utc=now)
        return tuple(Tell(role, alarm) for role in ("notifier", "web", "journal"))
