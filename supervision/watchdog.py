"""The watchdog: a thread that notices messages that are in hand for too long, and says with which stack."""

from __future__ import annotations

import sys
import threading
import time
import traceback

from config.tree import Supervision
from messages import lifecycle
from messages.envelope import tag_of
from supervision.cell import Cell
from supervision.host import Host
from supervision.mailbox import Mail
from supervision.post import SUPERVISOR, sentence

_STAGES = (1, 5)  # times `stuck_after_ms`: reported, then reported for a restart
_FRAMES = 12


class Watchdog:
    """Looks, from its making to its closing, at the messages in hand of a live host; both durations are real time.

    A stuck supervisor cannot be told about itself: the first report sets the process latch, the second ends it all.
    """

    def __init__(self, host: Host, rules: Supervision) -> None:
        self._host = host
        self._every_ms = rules.watchdog_every_ms
        self._stuck_after_ms = rules.stuck_after_ms
        self._reported: dict[str, tuple[tuple[int, str], int]] = {}
        self._stop_wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop_wanted.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop_wanted.wait(self._every_ms / 1000):
                self._look_at(time.perf_counter_ns())
        except BaseException as error:
            self._host.fail(f"the watchdog failed: {sentence(error)}")

    def _look_at(self, now_ns: int) -> None:
        """Look once at every actor; report each stage of a message once."""
        for cell in self._host.cells.values():
            mail = cell.in_hand
            since_ns = cell.busy_since_ns
            if mail is None or cell.in_hand is not mail:  # the instant belongs to this very message
                self._reported.pop(cell.name, None)
                continue
            self._consider(cell, mail, (now_ns - since_ns) // 1_000_000)

    def _consider(self, cell: Cell, mail: Mail, for_ms: int) -> None:
        handling = (cell.incarnation, mail.message_id)
        before, done = self._reported.get(cell.name, (handling, 0))
        if before != handling:
            done = 0
        reached = sum(for_ms >= stage * self._stuck_after_ms for stage in _STAGES)
        if reached <= done:
            return
        self._reported[cell.name] = (handling, reached)
        stuck = lifecycle.ActorStuck(
            name=cell.name, incarnation=cell.incarnation, message_id=mail.message_id, tag=tag_of(mail.message),
            for_ms=for_ms, stack=_stack(cell),
        )  # fmt: skip
        if cell.name != SUPERVISOR:
            self._host.post(SUPERVISOR, stuck, "watchdog")
            return
        self._host.latch(f"the supervisor has had {stuck.tag} in hand for {for_ms} ms")
        if reached == len(_STAGES):
            self._host.end(f"the supervisor is stuck in {stuck.tag}:\n{stuck.stack}")


def _stack(cell: Cell) -> str:
    thread = cell.thread
    frame = sys._current_frames().get(thread.ident) if thread is not None and thread.ident is not None else None
    return "".join(traceback.format_stack(frame)[-_FRAMES:]) if frame is not None else ""
