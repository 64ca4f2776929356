"""The watchdog: a thread that notices messages that are in hand for too long, and says with which stack.

Time in which the machine ran nothing of this process is no actor's fault and does not count.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace

from config.tree import Supervision
from messages import lifecycle
from messages.envelope import tag_of
from supervision.cell import Cell
from supervision.host import Host
from supervision.mailbox import Mail
from supervision.post import SUPERVISOR, sentence
from supervision.starvation import StarvationMeter
from supervision.stuck import restart_after_ms

_STAGES = 2  # reported, then reported for a restart
_FRAMES = 12


@dataclass(frozen=True, slots=True)
class _Seen:
    """A message in hand (incarnation, message id), the starvation until its beginning, and which stage was reported."""

    handling: tuple[int, str]
    starved_ns: int
    reported: int = 0


class Watchdog:
    """Looks, from its making to its closing, at the messages in hand of a live host; both durations are real time.

    A stuck supervisor cannot be told about itself: the first report sets the process latch, the second ends it all. Its
    first `Started`, which makes the tree, may take as long as any start: on a busy machine that is no fault.

    Args:
        host: whose actors it looks at.
        rules: how often it looks, and what is too long.
        now_ns: the clock of `Cell.busy_since_ns`.
        meter: of the time in which the machine ran nothing of this process.
    """

    def __init__(
        self, host: Host, rules: Supervision, now_ns: Callable[[], int] = time.perf_counter_ns,
        meter: StarvationMeter | None = None,
    ) -> None:  # fmt: skip
        self._host = host
        self._every_ms = rules.watchdog_every_ms
        self._stuck_after_ms = rules.stuck_after_ms
        self._now_ns = now_ns
        self._meter = meter or StarvationMeter(rules.watchdog_every_ms, now_ns)
        self._seen: dict[str, _Seen] = {}
        self._told: dict[str, tuple[int, str]] = {}  # by actor, the message reported last of those still in hand
        self._stop_wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop_wanted.set()
        self._thread.join()

    def stuck(self) -> frozenset[str]:
        """Return the actors whose message in hand was reported for a restart, from any thread."""
        return frozenset(name for name, seen in tuple(self._seen.items()) if seen.reported == _STAGES)

    def _run(self) -> None:
        try:
            while not self._stop_wanted.wait(self._every_ms / 1000):
                self.look()
        except BaseException as error:
            self._host.fail(f"the watchdog failed: {sentence(error)}")

    def look(self) -> None:
        """Look once at every actor; report each stage of a message once."""
        now_ns = self._now_ns()
        before_ns = self._meter.total_ns
        starved_ns = self._meter.beat()
        for cell in self._host.cells.values():
            mail = cell.in_hand
            since_ns = cell.busy_since_ns
            self._look_if_freed(cell, mail)
            if mail is None or cell.in_hand is not mail:  # the instant belongs to this very message
                self._seen.pop(cell.name, None)
                continue
            handling = (cell.incarnation, mail.message_id)
            seen = self._seen.get(cell.name)
            if seen is None or seen.handling != handling:
                seen = _Seen(handling, before_ns)
            for_ms = (now_ns - since_ns - (starved_ns - seen.starved_ns)) // 1_000_000
            limits_ms = (self._stuck_after_ms, restart_after_ms(tag_of(mail.message), self._stuck_after_ms))
            reached = sum(for_ms >= limit_ms for limit_ms in limits_ms)
            self._seen[cell.name] = replace(seen, reported=max(seen.reported, reached))
            if reached > seen.reported:
                self._report(cell, mail, for_ms, reached)
                self._told[cell.name] = handling
        self._meter.rest()

    def _look_if_freed(self, cell: Cell, mail: Mail | None) -> None:
        """Report once that an actor that was said to be stuck is not; one that is not up has yet to come back."""
        told = self._told.get(cell.name)
        if told is None or not cell.is_up or (mail is not None and told == (cell.incarnation, mail.message_id)):
            return
        del self._told[cell.name]
        if cell.name != SUPERVISOR:
            self._host.post(SUPERVISOR, lifecycle.ActorFreed(name=cell.name), "watchdog")

    def _report(self, cell: Cell, mail: Mail, for_ms: int, reached: int) -> None:
        stuck = lifecycle.ActorStuck(
            name=cell.name, incarnation=cell.incarnation, message_id=mail.message_id, tag=tag_of(mail.message),
            for_ms=for_ms, stack=_stack(cell),
        )  # fmt: skip
        if cell.name != SUPERVISOR:
            self._host.post(SUPERVISOR, stuck, "watchdog")
            return
        if reached < _STAGES and type(mail.message) is lifecycle.Started and cell.incarnation == 1:
            return  # it makes the whole tree; until it is done nobody whose state a ledger gives back is up
        self._host.latch(f"the supervisor has had {stuck.tag} in hand for {for_ms} ms")
        if reached == _STAGES:
            self._host.end(f"the supervisor is stuck in {stuck.tag}:\n{stuck.stack}")


def _stack(cell: Cell) -> str:
    thread = cell.thread
    frame = sys._current_frames().get(thread.ident) if thread is not None and thread.ident is not None else None
    return "".join(traceback.format_stack(frame)[-_FRAMES:]) if frame is not None else ""
