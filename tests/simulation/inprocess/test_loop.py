"""An asyncio loop on virtual time: tasks, timers and timeouts happen at their instants, in their order, and end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from domain.instants import MS, SECOND
from domain.units import Utc
from simulation.inprocess.loop import stepped_loop
from supervision.spec import Tree
from supervision.stepped import SteppedRuntime, VirtualClock

FROM: Utc = Utc(1_790_000_000 * SECOND)


class Bench:
    """A runtime without actors and a loop on its time; `said` is what tasks have said, with the milliseconds since."""

    def __init__(self) -> None:
        self.clock = VirtualClock(FROM)
        tree = Tree(children=(), templates=(), route=lambda _s, role: (role,), subscribers={}, on_halt=lambda _w: ())
        self.runtime = SteppedRuntime(tree, self.clock)
        self.loop = stepped_loop(self.runtime)
        self.said: list[tuple[str, int]] = []
        self.errors: list[str] = []
        self.loop.set_exception_handler(lambda _loop, found: self.errors.append(repr(found.get("exception"))))

    def say(self, what: str) -> None:
        self.said.append((what, (self.clock.now_utc() - FROM) // MS))

    def run(self, work: Callable[[], Coroutine[Any, Any, None]], seconds: float = 60.0) -> None:
        self.loop.create_task(work())
        self.runtime.run_until(Utc(FROM + round(seconds * SECOND)))


def test_a_pause_takes_virtual_time_alone_and_what_shares_an_instant_keeps_its_order() -> None:
    bench = Bench()

    async def work(name: str, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        bench.say(name)

    async def all_of_it() -> None:
        await asyncio.gather(work("late", 30.0), work("first", 2.0), work("second", 2.0))
        bench.say("end")

    bench.run(all_of_it)
    assert bench.said == [("first", 2_000), ("second", 2_000), ("late", 30_000), ("end", 30_000)]


def test_a_timeout_ends_a_wait_at_its_instant_and_a_lock_lets_one_in_at_a_time() -> None:
    bench = Bench()
    lock = asyncio.Lock()

    async def hold(name: str) -> None:
        async with lock:
            await asyncio.sleep(1.0)
            bench.say(name)

    async def work() -> None:
        try:
            async with asyncio.timeout(0.25):
                await bench.loop.create_future()
        except TimeoutError:
            bench.say("over")
        await asyncio.gather(hold("one"), hold("two"))

    bench.run(work)
    assert bench.said == [("over", 250), ("one", 1_250), ("two", 2_250)]


def test_a_call_that_was_cancelled_is_not_made_and_one_that_raises_is_told() -> None:
    bench = Bench()
    bench.loop.call_later(1.0, bench.say, "never").cancel()
    bench.loop.call_later(2.0, lambda: 1 // 0)
    bench.loop.call_later(3.0, bench.say, "after it")
    bench.runtime.run_until(Utc(FROM + 10 * SECOND))
    assert bench.said == [("after it", 3_000)]
    assert bench.errors == ["ZeroDivisionError('integer division or modulo by zero')"]


def test_after_the_end_of_the_loop_nothing_happens_any_more() -> None:
    bench = Bench()

    async def work() -> None:
        try:
            await asyncio.sleep(5.0)
            bench.say("never")
        finally:
            bench.say("ended")

    bench.run(work, seconds=1.0)
    bench.loop.close()
    bench.runtime.run_until(Utc(FROM + 60 * SECOND))
    assert bench.said == [("ended", 1_000)]
    assert bench.errors == []


def test_what_a_waiting_call_starts_ends_with_the_loop_too() -> None:
    bench = Bench()
    started: list[asyncio.Task[None]] = []
    bench.loop.call_soon(lambda: started.append(bench.loop.create_task(asyncio.sleep(1.0))))
    bench.loop.create_task(asyncio.sleep(1.0))
    bench.loop.close()
    assert started and all(task.cancelled() for task in started)
