"""A cell: one address. Mailbox and counters live as long as the process, the actor in it as long as an incarnation."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from messages.base import Message
from supervision.actor import AnyActor
from supervision.mailbox import Mail, Mailbox, Timer
from supervision.spec import ChildSpec
from supervision.turn import Turn

Decide = Callable[[Turn[Any], Any], None]


class Cell:
    """Mailbox, counters and the present incarnation of one address.

    `fence` guards everything that says which incarnation is in force: it is held while a message is taken and while
    its outcome is kept and handed on, never while the actor decides. `is_asleep`: retired, or made for an address
    that nobody has started yet; the next mail wakes it. `state` is `None` for an actor that does I/O; `turn` is that of
    the stepped runtime; `critical` is the mailbox's. `shell` is whoever is woken for it now; in the live runtime the
    shells of two actors may have changed places (`supervision/threaded.py`).
    """

    __slots__ = (
        "actor", "busy_since_ns", "crashes", "critical", "decide", "durations_ns", "fence", "handled", "in_hand",
        "in_hand_seq", "inbox_n", "incarnation", "is_asleep", "is_over_bound", "is_up", "last_type", "mailbox", "name",
        "prefix", "shell", "spec", "started", "state", "thread", "timers", "turn",
    )  # fmt: skip

    def __init__(self, name: str, spec: ChildSpec, is_asleep: bool = False) -> None:
        self.name = name
        self.spec = spec
        self.mailbox = Mailbox()
        self.critical = self.mailbox.critical
        self.fence = threading.Lock()
        self.is_asleep = is_asleep
        self.is_over_bound = False
        # the present incarnation
        self.incarnation = 0
        self.prefix = ""
        self.is_up = False
        self.actor: AnyActor | None = None
        self.decide: Decide = _nobody
        self.shell: Any = None
        self.thread: threading.Thread | None = None
        self.state: Any = None
        self.turn: Any = None
        self.started: Mail | None = None
        self.timers: dict[tuple[str, str], Timer] = {}
        self.inbox_n = 0
        # the message in hand
        self.in_hand: Mail | None = None
        self.in_hand_seq = 0
        self.busy_since_ns = 0
        # counters of all incarnations
        self.handled = 0
        self.crashes = 0
        self.last_type: type[Message] | None = None
        self.durations_ns: deque[int] = deque(maxlen=512)

    def is_current(self, incarnation: int) -> bool:
        """Return whether this incarnation is in force (True only while `fence` is held means anything lasting)."""
        return self.is_up and self.incarnation == incarnation

    def next_mail(self) -> Mail | None:
        """Take what this incarnation handles next: `Started` first, then the mailbox (fence held).

        A timer's message that was cancelled, moved or armed by an older incarnation while it waited is dropped here.
        """
        if self.started is not None:
            mail, self.started = self.started, None
            return mail
        while True:
            waiting = self.mailbox.take()
            if waiting is None or waiting.timer is None:
                return waiting
            if self.timers.get(waiting.timer.key) is waiting.timer:
                del self.timers[waiting.timer.key]
                return waiting


def _nobody(turn: Turn[Any], message: Any) -> None:
    raise RuntimeError(f"{turn.name} was never started")
