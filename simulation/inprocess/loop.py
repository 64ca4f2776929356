"""An asyncio loop on virtual time: the tasks of a port run in the stepped runtime, without a thread and a socket."""

from __future__ import annotations

import asyncio
import contextvars
from asyncio import events
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVarTuple

from domain.instants import SECOND
from domain.units import Utc
from supervision.stepped import SteppedRuntime

Ts = TypeVarTuple("Ts")


class SteppedLoop(asyncio.AbstractEventLoop):
    """What asyncio asks of a loop as far as tasks, futures, locks and timers go; it knows no socket and no thread.

    Its seconds are those of the runtime's virtual clock, from the loop's making on. What an asyncio loop would do next
    is done by the runtime at the same instant, after what the runtime has in hand.
    """

    def __init__(self, runtime: SteppedRuntime) -> None:
        self._runtime = runtime
        self._from_utc = runtime.clock.now_utc()
        self._ready: deque[asyncio.Handle] = deque()
        self._is_due = self._is_running = self._is_closed = False
        self._on_error: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return (self._runtime.clock.now_utc() - self._from_utc) / SECOND

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Call something at this instant, after what was asked for before.

        Raises:
            RuntimeError: the loop is closed.
        """
        if self._is_closed:
            raise RuntimeError("the loop is closed")
        call = asyncio.Handle(callback, args, self, context)
        self._ready.append(call)
        if not (self._is_due or self._is_running):
            self._is_due = True
            self._runtime.call_at(self._runtime.clock.now_utc(), self.run_ready)
        return call

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """The same: there is one thread."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call something after so many virtual seconds."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call something at a time of this loop."""
        call = asyncio.TimerHandle(when, callback, args, self, context)
        due_utc = max(Utc(self._from_utc + round(when * SECOND)), self._runtime.clock.now_utc())
        self._runtime.call_at(due_utc, lambda: self._come_due(call))
        return call

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing to do: a call that was cancelled is not made."""

    def _come_due(self, call: asyncio.TimerHandle) -> None:
        if not (call.cancelled() or self._is_closed):
            self._ready.append(call)
            self.run_ready()

    def run_ready(self) -> None:
        """Do what is to be done at this instant, and what that brings about."""
        self._is_due = False
        self._is_running = True
        events._set_running_loop(self)
        try:
            while self._ready:
                call = self._ready.popleft()
                if not call.cancelled():
                    call._run()  # as asyncio's own loops do: what it raises is told to the exception handler
        finally:
            events._set_running_loop(None)
            self._is_running = False

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> asyncio.Task[Any]:
        """Start a task."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def set_exception_handler(
        self, handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None
    ) -> None:
        """Have somebody told of what a call or a task that nobody waits for raises."""
        self._on_error = handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell what was raised.

        Raises:
            RuntimeError: nobody is to be told.
        """
        if self._on_error is None:
            raise RuntimeError(str(context.get("message"))) from context.get("exception")
        self._on_error(self, context)

    def get_debug(self) -> bool:
        """Return that nothing is looked at more closely."""
        return False

    def is_running(self) -> bool:
        """Return whether a call is being made."""
        return self._is_running

    def is_closed(self) -> bool:
        """Return whether nothing is called any more."""
        return self._is_closed

    def close(self) -> None:
        """End every task, and call nothing any more."""
        while tasks := asyncio.all_tasks(self):  # what waits to be called may start one still
            for task in tasks:
                task.cancel()
            self.run_ready()
        self._is_closed = True


def stepped_loop(runtime: SteppedRuntime) -> SteppedLoop:
    """Return a loop on a runtime's time; what a loop of sockets, signals and processes has besides is not there."""
    make: Any = SteppedLoop
    made: SteppedLoop = make(runtime)
    return made
