"""Toy actors: what a message costs in the runtimes when nothing is decided."""

from __future__ import annotations

import threading
import time

import msgspec

from config.settings import load_settings
from domain.units import Utc
from messages.base import Command
from messages.lifecycle import Started
from messages.market import SealBucket
from messages.operator import Alarm
from supervision.actor import Actor
from supervision.clock import MarketClock
from supervision.spec import ChildSpec, Tree
from supervision.supervisor import SupervisorActor
from supervision.threaded import LiveRuntime
from supervision.trace import NoTrace
from supervision.turn import Turn

BALL: Command = SealBucket(bucket_utc=Utc(1))


class Count(msgspec.Struct):
    """How many balls came."""

    n: int = 0


class Player(Actor[Count, Command | Started | Alarm]):
    """Returns the ball until it has seen enough."""

    def __init__(self, name: str, other: str, balls: int, over: threading.Event | None = None) -> None:
        super().__init__(name)
        self._other, self._balls, self._over = other, balls, over

    def initial(self) -> Count:
        """Return that none has come yet."""
        return Count()

    def decide(self, turn: Turn[Count], message: Command | Started | Alarm) -> None:
        """Return the ball."""
        if not isinstance(message, Command):
            return
        if turn.state.n < self._balls:
            turn.state.n += 1
            turn.tell(self._other, message)
        elif self._over is not None:
            self._over.set()


def tree_of(balls: int, over: threading.Event | None = None) -> Tree:
    """Return a supervisor with two players."""
    rules = load_settings().supervision
    tree = Tree(
        children=(
            ChildSpec("supervisor", lambda: SupervisorActor("supervisor", tree, rules)),
            ChildSpec("a:1", lambda: Player("a:1", "b:1", balls, over)),
            ChildSpec("b:1", lambda: Player("b:1", "a:1", balls)),
        ),
        templates=(),
        route=lambda _sender, _role: (),
        subscribers={},
        on_halt=lambda _halt: (),
    )
    return tree


def hop_floor_ns(hops: int) -> list[int]:
    """Return the times of hops between two actors of the live runtime in rounds of 20, ns a hop."""
    clock = MarketClock.real()
    took = []
    over = threading.Event()
    runtime = LiveRuntime(tree_of(10, over), NoTrace(clock), clock, 1, sync_every_s=60.0)
    runtime.start_tree()
    for _ in range(max(1, hops // 20)):
        over.clear()
        runtime.cells["a:1"].state, runtime.cells["b:1"].state = Count(), Count()
        began = time.perf_counter_ns()
        runtime.post("a:1", BALL, "edge:hops")
        if not over.wait(5):
            break
        took.append((time.perf_counter_ns() - began) // 21)
        time.sleep(0.002)
    runtime.stop()
    return took
