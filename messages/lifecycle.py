"""Lifecycle conversation: starts, crashes, restarts, timers; between the runtime, the supervisor and everybody."""

from __future__ import annotations

from datetime import date

from domain.units import Utc
from messages.base import Command, Report
from messages.restored import Restored


def _tag(name: str) -> str:
    return f"lifecycle.{name}"


class Started(Report, frozen=True, kw_only=True, tag=_tag):
    """The first envelope of an incarnation, with what the ledger gave back (`None`: nothing)."""

    name: str
    incarnation: int
    run_n: int
    restored: Restored | None = None


class TimerFired(Report, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """The timer that the actor armed under `kind` and `subject` is due.

    `starved_ms` is how much of the wait (market time) the machine kept this process waiting for a processor, for the
    kinds that the actor `weighs`; `excused_ms` is what the actor said when it armed it.
    """

    kind: str
    subject: str
    due_utc: Utc
    starved_ms: int = 0
    excused_ms: int = 0


class ActorCrashed(Report, frozen=True, kw_only=True, tag=_tag):
    """This incarnation is over; neither state nor effects of the failing message happened."""

    name: str
    incarnation: int
    seq: int
    message_id: str
    error: str


class ActorRetired(Report, frozen=True, kw_only=True, tag=_tag):
    """An actor that was made on demand has ended in peace."""

    name: str


class MessageDeadLettered(Report, frozen=True, kw_only=True, tag=_tag):
    """A message was given up; `is_vital` when losing it could cost money (a fill, an order's end, a kill).

    `is_stop_lost`: it would have closed everything that is open.
    """

    name: str
    message_id: str
    tag: str
    why: str
    is_vital: bool
    is_stop_lost: bool = False


class ActorStuck(Report, frozen=True, kw_only=True, tag=_tag):
    """A message has been in hand for too long."""

    name: str
    incarnation: int
    message_id: str
    tag: str
    for_ms: int
    stack: str


class ActorFreed(Report, frozen=True, kw_only=True, tag=_tag):
    """A message that had been in hand for too long is no longer, and its actor is up."""

    name: str


class StartActor(Command, frozen=True, kw_only=True, tag=_tag):
    """Mail arrived for a name that a template can make, or an actor is found not to be up."""

    name: str


class RequestState(Command, frozen=True, kw_only=True, tag=_tag):
    """Report what is known of this actor (behind everything the dead one told the ledger)."""

    name: str
    reply_to: str
    session: date
    read_n: int = 0


class StateRead(Report, frozen=True, kw_only=True, tag=_tag):
    """The state that comes back; `read_n` is the question's (an older answer is too old)."""

    name: str
    restored: Restored | None
    read_n: int = 0


class CommandFailed(Report, frozen=True, kw_only=True, tag=_tag):
    """The actor that was asked crashed on this command, or cannot take it now."""

    name: str
    error: str
