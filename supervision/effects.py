"""Effects: what a decision wants done, as data; the runtime carries them out, in order, after the state is kept."""

from __future__ import annotations

import msgspec

from messages.base import Message
from messages.lifecycle import Restored


class Tell(msgspec.Struct, frozen=True, tag="tell"):
    """Put a message into a mailbox.

    `to` is an address (`position:paper:812`, `port:ibkr:paper`, anything with a colon, or an actor's bare name) or a
    role that main.py maps to none, one or several addresses (`risk`, `positions`, `lanes:SPX`, `web`).
    """

    to: str
    message: Message


class SetTimer(msgspec.Struct, frozen=True, tag="set_timer"):
    """Arm (or move) this actor's timer `key`: `lifecycle.TimerFired{key}` arrives at `at_utc` or soon after."""

    key: str
    at_utc: int


class CancelTimer(msgspec.Struct, frozen=True, tag="cancel_timer"):
    """Disarm the timer `key`; nothing happens where none is armed."""

    key: str


class Retire(msgspec.Struct, frozen=True, tag="retire"):
    """End this actor for good: nothing restarts it until new mail needs it."""


class StartActor(msgspec.Struct, frozen=True, tag="start_actor"):
    """Start the next incarnation of an actor with what the ledger gave back (the supervisor's effect alone)."""

    name: str
    restored: Restored | None


class FenceActor(msgspec.Struct, frozen=True, tag="fence_actor"):
    """End an incarnation that is stuck in this message: what it still decides is refused (supervisor alone)."""

    name: str
    incarnation: int
    message_id: str


class LatchEntries(msgspec.Struct, frozen=True, tag="latch_entries"):
    """Set the process latch: the order port writes no entry until the process is started again (supervisor alone)."""

    why: str


class EndProcess(msgspec.Struct, frozen=True, tag="end_process"):
    """End the process with an error, so that whoever started it starts it again (supervisor alone)."""

    why: str


Effect = Tell | SetTimer | CancelTimer | Retire | StartActor | FenceActor | LatchEntries | EndProcess
Effects = tuple[Effect, ...]
