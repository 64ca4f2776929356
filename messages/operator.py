"""Operator conversation: people's commands, idempotent by `command_id`, expiring, audited.

edge:cli|web|signal|file -> operator   Kill, Resume, Flatten, Status, Stop
operator -> ledger                     RecordCommand
operator -> kill, positions, ...       risk.RaiseKill, risk.LowerKill, positions.FlattenPosition
owner -> operator -> edge              CommandDone | CommandDenied
"""

from __future__ import annotations

from messages.base import Message


class _Operator(Message, frozen=True, kw_only=True, tag=lambda name: f"operator.{name}"):
    """Base of this conversation."""


class Kill(_Operator, frozen=True, kw_only=True):
    """edge -> operator: raise the kill level."""

    command_id: str
    reply_to: str
    by: str
    reason: str
    level: int
    expires_utc: int


class Resume(_Operator, frozen=True, kw_only=True):
    """edge -> operator: a person lowers the kill level, with a reason.

    Refused when the kill epoch is not `expected_epoch`, the one that the person saw (`None`: whatever it is).
    """

    command_id: str
    reply_to: str
    by: str
    reason: str
    level: int
    expected_epoch: int | None = None
    expires_utc: int


class Flatten(_Operator, frozen=True, kw_only=True):
    """edge -> operator: kill level 2 (cancel, flatten; stays level 1 after a later resume)."""

    command_id: str
    reply_to: str
    by: str
    reason: str
    expires_utc: int


class RecordCommand(_Operator, frozen=True, kw_only=True):
    """operator -> ledger: audit row."""

    command_id: str
    name: str
    by: str
    reason: str
    outcome: str
    at_utc: int


class CommandDone(_Operator, frozen=True, kw_only=True):
    """owner -> operator -> edge: carried out; `detail` is one sentence."""

    command_id: str
    detail: str


class CommandDenied(_Operator, frozen=True, kw_only=True):
    """owner -> operator -> edge: not carried out, and why."""

    command_id: str
    code: str
    detail: str


class Alarm(_Operator, frozen=True, kw_only=True):
    """anybody -> notifier, web, journal: a person should look; `key` groups repeats."""

    key: str
    severity: str
    text: str
    at_utc: int


class Announcement(_Operator, frozen=True, kw_only=True):
    """notifier -> port:console (Discord later): a line for people; `topic` is `entry`, `exit`, `mode`, `alarm`, ..."""

    topic: str
    severity: str
    text: str
    at_utc: int
