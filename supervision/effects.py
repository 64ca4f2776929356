"""Effects: what a turn wants done, as data; the runtime carries them out, in order, after the state is kept."""

from __future__ import annotations

import msgspec

from domain.units import Utc
from messages.base import Event, Message
from messages.restored import Restored


class Tell(msgspec.Struct, frozen=True, tag="tell"):
    """Put a message into a mailbox.

    `to` is an address (`position:paper:812`, `port:ibkr:paper`, anything with a colon, or an actor's bare name) or a
    role that main.py maps to none, one or several addresses (`risk`, `positions`).
    """

    to: str
    message: Message


class Publish(msgspec.Struct, frozen=True, tag="publish"):
    """Put an event into the mailbox of everybody who subscribes to it; with nobody there it stands on record alone."""

    event: Event


class SetTimer(msgspec.Struct, frozen=True, tag="set_timer", omit_defaults=True):
    """Arm (or move) this actor's timer: `lifecycle.TimerFired{kind, subject}` arrives at `at_utc` or soon after.

    It says `excused_ms` again: for how long the silence it waits out has been excused already.
    """

    kind: str
    subject: str
    at_utc: Utc
    excused_ms: int = 0


class CancelTimer(msgspec.Struct, frozen=True, tag="cancel_timer"):
    """Disarm a timer; nothing happens where none is armed."""

    kind: str
    subject: str


class Retire(msgspec.Struct, frozen=True, tag="retire"):
    """End this actor for good: nothing restarts it until new mail needs it."""


class StartIncarnation(msgspec.Struct, frozen=True, tag="start_incarnation"):
    """Start the next incarnation of an actor with what the ledger gave back (the supervisor's effect alone)."""

    name: str
    restored: Restored | None


class FenceActor(msgspec.Struct, frozen=True, tag="fence_actor"):
    """End an incarnation that is stuck in this message: what it still decides is refused (supervisor alone)."""

    name: str
    incarnation: int
    message_id: str


class SetLatch(msgspec.Struct, frozen=True, tag="set_latch"):
    """Set the process latch: ports add no risk until the process is started again (the supervisor's effect alone)."""

    why: str


class EndProcess(msgspec.Struct, frozen=True, tag="end_process"):
    """End the process with an error, so that whoever started it starts it again (supervisor alone)."""

    why: str


Effect = Tell | Publish | SetTimer | CancelTimer | Retire | StartIncarnation | FenceActor | SetLatch | EndProcess
