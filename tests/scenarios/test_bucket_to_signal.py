"""Session, hubs, readings and a lane together, under any scheduling that keeps the order per sender and recipient."""

from __future__ import annotations

import random
from copy import copy
from typing import Any

import pytest

from actors.hub import HubActor
from actors.lane import LaneActor
from actors.reading import ReadingActor
from actors.session import SessionActor
from domain.instants import BUCKET_NS, SECOND
from domain.units import Utc
from main import SUBSCRIBERS, routes
from messages import lifecycle, market, signals
from messages.base import Message
from messages.restored import LaneRestored
from supervision.effects import CancelTimer, Publish, SetTimer, Tell
from supervision.subscriptions import Subscriptions
from supervision.turn import Turn
from tests.testkit.signal_histories import CLOSE, OPEN, SETTINGS, clock, profile, rows_of

TICKERS = ("SPX", "QQQ", "AAPL")
LIMITED = SETTINGS.model_copy(update={"tickers": TICKERS})
HUBS = tuple(LIMITED.feed.hubs)
LANE = "lane:gexwatch:SPX"
LAST = 40
SILENT_HUB, SILENT = "classic", range(20, 23)
ROUTE = routes(LIMITED, tuple)
LISTENERS = Subscriptions(SUBSCRIBERS, ROUTE)


class World:
    """Actors, their mail by (sender, recipient), timers and a virtual clock; `chance` picks who is served next."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        actors: list[Any] = [SessionActor("session", LIMITED), LaneActor(LANE, LIMITED)]
        actors += [HubActor(f"hub:{hub}", LIMITED) for hub in HUBS]
        actors += [ReadingActor(f"reading:{ticker}", LIMITED) for ticker in TICKERS]
        self.actors: dict[str, Any] = {a.name: a for a in actors}
        self.states = {name: a.initial() for name, a in self.actors.items()}
        self.mail: dict[tuple[str, str], list[Message]] = {}
        self.timers: dict[tuple[str, str, str], Utc] = {}
        self.now = clock(9, 29)
        self.told: list[tuple[str, Message]] = []
        self.published: list[Message] = []
        known = LaneRestored(last_alerts=(), last_direction=None, unraised=(), promoted=("GAMMA_FLIP-1",))
        for name in self.actors:
            restored = known if name == LANE else None
            self.serve(name, lifecycle.Started(name=name, incarnation=1, run_n=3, restored=restored))

    def send(self, sender: str, address: str, message: Message) -> None:
        self.told.append((address, message))
        if address in self.actors or address.startswith("port:") or address == "ledger":
            self.mail.setdefault((sender, address), []).append(message)

    def run(self, until_utc: Utc) -> None:
        while True:
            waiting = [key for key, messages in self.mail.items() if messages]
            if waiting:
                sender, to = self.chance.choice(waiting)
                self.serve(to, self.mail[sender, to].pop(0))
                continue
            if not self.timers or min(self.timers.values()) > until_utc:
                return
            (name, kind, subject), self.now = min(self.timers.items(), key=lambda item: item[1])
            del self.timers[name, kind, subject]
            self.serve(name, lifecycle.TimerFired(kind=kind, subject=subject, due_utc=self.now))

    def serve(self, name: str, message: Message) -> None:
        if isinstance(message, market.SealBucket):
            self.seal(name.removeprefix("port:hub:"), message.bucket_utc)
            return
        if name == "ledger":
            assert isinstance(message, signals.RecordAlert)
            recorded = signals.AlertRecorded(alert_id=message.alert.key.alert_id, is_new=True)
            self.send(name, message.reply_to, recorded)
            return
        turn = Turn(name, copy(self.states[name]), self.now)
        self.actors[name].decide(turn, message)
        self.states[name] = turn.state
        for effect in turn.effects:
            match effect:
                case Tell():
                    addresses = (effect.to,) if ":" in effect.to else ROUTE(name, effect.to)
                    for address in addresses:
                        self.send(name, address, effect.message)
                case Publish():
                    self.published.append(effect.event)
                    for address in LISTENERS.addresses(name, effect.event, ROUTE):
                        self.send(name, address, effect.event)
                case SetTimer():
                    self.timers[name, effect.kind, effect.subject] = effect.at_utc
                case CancelTimer():
                    self.timers.pop((name, effect.kind, effect.subject), None)
                case _:
                    raise AssertionError(effect)

    def seal(self, hub: str, bucket_utc: Utc) -> None:
        """Answer as the hub's port would; spot is below zero gamma for 10 buckets, then above it."""
        n = (bucket_utc - OPEN) // BUCKET_NS
        if hub == SILENT_HUB and n in SILENT:
            return
        spot = 600_600 if n >= 10 else 599_400
        names = {"classic_gex_zero": {"zero_gamma": 600_000, "sum_gex_oi": spot - 600_000}}
        profiles = [profile(t, c, spot, **names.get(c, {})) for t in TICKERS for c in LIMITED.feed.hubs[hub]]
        answer = market.BucketSealed(
            hub=hub,
            bucket_utc=bucket_utc,
            rows=rows_of(hub, bucket_utc, *profiles),
            absent=(),
            counts=market.FrameCounts(accepted=len(profiles)),
        )
        self.send(f"port:hub:{hub}", f"hub:{hub}", answer)

    def of(self, kind: type[Message], to: str) -> list[Any]:
        return [message for address, message in self.told if address == to and isinstance(message, kind)]

    def events(self, kind: type[Message]) -> list[Any]:
        return [event for event in self.published if isinstance(event, kind)]


def world(seed: int) -> World:
    made = World(seed)
    made.run(OPEN + LAST * BUCKET_NS + 20 * SECOND)
    return made


@pytest.mark.parametrize("seed", range(8))
def test_every_ticker_and_bucket_has_one_reading_and_the_flip_one_signal(seed: int) -> None:
    made = world(seed)
    computed = made.events(signals.FeaturesComputed)
    pairs = [(c.ticker, c.bucket_utc) for c in computed]
    assert sorted(pairs) == sorted((t, OPEN + n * BUCKET_NS) for t in TICKERS for n in range(LAST))
    (signal,) = made.of(signals.SignalRaised, "risk:paper")
    assert (signal.intent.key.bucket_utc, signal.intent.direction) == (OPEN + 11 * BUCKET_NS, 1)


@pytest.mark.parametrize("seed", range(4))
def test_a_silent_port_costs_its_categories_and_leaves_a_gap_for_each_and_nothing_else(seed: int) -> None:
    made = world(seed)
    for c in made.events(signals.FeaturesComputed):
        is_silent = (c.bucket_utc - OPEN) // BUCKET_NS in SILENT
        assert c.missing == (LIMITED.feed.hubs[SILENT_HUB] if is_silent else ())
    stored = made.of(market.StoreBucket, "warehouse")
    assert len(stored) == LAST * len(HUBS)
    gaps = [(s.hub, s.bucket_utc, pair) for s in stored for pair in s.absent]
    categories = LIMITED.feed.hubs[SILENT_HUB]
    assert sorted(gaps) == sorted(
        (SILENT_HUB, OPEN + n * BUCKET_NS, (t, c)) for n in SILENT for t in TICKERS for c in categories
    )


def test_the_order_of_scheduling_changes_no_content() -> None:
    def content(made: World) -> list[Any]:
        # Whether the hub's marker or the reading's own deadline came first is the one thing that may differ.
        found = made.events(signals.FeaturesComputed)
        return sorted((c.ticker, c.bucket_utc, c.reading_n, c.evidence, c.missing, c.spot) for c in found)

    assert content(world(1)) == content(world(2)) == content(world(3))


def test_the_day_ends_with_its_last_bucket() -> None:
    made = World(0)
    made.run(CLOSE + 3600 * SECOND)
    assert len(made.of(market.BucketDue, "reading:SPX")) == 780
    assert len(made.of(signals.FeaturesComputed, LANE)) == 780
