"""A port's thread and its loop: commands in, facts out, and nothing in between that dies unseen."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from messages import broker
from messages.base import Message

RESTART_PAUSE_S: Final = 1.0  # before a task that died is started again

C = TypeVar("C")
Tell = Callable[[str, Message], None]
Work = Callable[[], Coroutine[Any, Any, None]]


class PortThread(ABC):
    """The thread of a port, which owns an asyncio loop.

    Args:
        name: `port:<owner>`; facts go to the owner.
        tell: takes an address and a message; called from this port's thread.
        loop: what it runs on; `None`: a loop of its own. Whoever gives one runs it.
    """

    is_order_path = True  # whether what dies here may concern orders or executions

    def __init__(self, name: str, tell: Tell, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._name = name
        self._owner = name.removeprefix("port:")
        self._tell = tell
        self.loop = loop or asyncio.new_event_loop()
        self.loop.set_exception_handler(self._on_loop_fault)
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def name(self) -> str:
        """The address."""
        return self._name

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """End what is under way, and the thread."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout_s)

    @abstractmethod
    def epoch(self) -> int:
        """Return the session epoch that a fault of now belongs to; 0 without a session."""

    def on_end(self) -> None:  # noqa: B027 - optional
        """Drop what a session holds, on the loop, before the thread ends."""

    @abstractmethod
    def refuse(self, command: Any) -> None:
        """Answer a command that comes while the port ends, or after: nothing is carried out; any thread may call."""

    def take_soon(self, take: Callable[[C], None], command: C) -> None:
        """Have a command taken on the loop; never blocks. One that comes too late for that is refused."""
        self._waiting.append((take, command))
        try:
            self.loop.call_soon_threadsafe(self._take_next)
        except RuntimeError:  # the loop has ended
            self._refuse_waiting()

    def report(self, fact: Message) -> None:
        """Tell the owner."""
        self._tell(self._owner, fact)

    def fault(self, what: str, why: str, *, is_order_path: bool) -> None:
        """Tell the owner that something of this port died or could not be read."""
        is_order_path = is_order_path and self.is_order_path
        self.report(broker.PortFaulted(session_epoch=self.epoch(), what=what, why=why, is_order_path=is_order_path))

    def spawn(
        self, what: str, work: Work, *, is_wanted: Callable[[], bool] | None = None,
        on_death: Callable[[str], None] | None = None,
    ) -> asyncio.Task[None]:  # fmt: skip
        """Run a task on the loop; if it dies, that is told, and `on_death` may answer whoever waits for it.

        With `is_wanted` it is started again after a pause, for as long as that says so.
        """
        task = self.loop.create_task(work())
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is None:
                return
            why = f"{type(error).__name__}: {error}"
            self.fault(what, why, is_order_path=True)
            if on_death is not None:
                on_death(why)
            if is_wanted is not None:
                self.loop.call_later(RESTART_PAUSE_S, again)

        def again() -> None:
            if is_wanted is not None and is_wanted():
                self.spawn(what, work, is_wanted=is_wanted, on_death=on_death)

        task.add_done_callback(ended)
        return task

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            self._is_ending = True
            self.on_end()
            for task in list(self._tasks):
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
            self.loop.run_until_complete(asyncio.sleep(0))  # lets an aborted transport say its last
        finally:
            self.loop.close()
            self._refuse_waiting()

    def _take_next(self) -> None:
        if self._is_ending:
            self._refuse_waiting()
        elif self._waiting:
            self._take_watched(*self._waiting.popleft())

    def _refuse_waiting(self) -> None:
        while self._waiting:
            try:
                _, command = self._waiting.popleft()
            except IndexError:
                return  # another thread was quicker
            self.refuse(command)

    def _take_watched(self, take: Callable[[C], None], command: C) -> None:
        try:
            take(command)
        except Exception as error:  # a command that breaks the port is told, and the port goes on
            self.fault(f"carrying out {type(command).__name__}", f"{type(error).__name__}: {error}", is_order_path=True)

    def _on_loop_fault(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        why = f"{type(error).__name__}: {error}" if error is not None else str(context.get("message", ""))
        self.fault("a callback of the loop", why, is_order_path=True)
