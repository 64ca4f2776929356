"""Operator conversation: people's commands, idempotent by `command_id`, expiring, audited; and lines for people."""

from __future__ import annotations

from collections.abc import Mapping

from domain.alarm import Severity
from domain.risk.kill import KillLevel
from domain.units import Utc
from messages.base import Command, Event, Report


def _tag(name: str) -> str:
    return f"operator.{name}"


class OperatorCommand(Command, frozen=True, kw_only=True):
    """What every command of a person carries; repeated with the same `command_id` it gets the old answer."""

    command_id: str
    reply_to: str
    by: str
    reason: str
    expires_utc: Utc


class Kill(OperatorCommand, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """Raise the kill level: of `desk`, or (empty) of every desk."""

    level: KillLevel
    desk: str = ""


class Resume(OperatorCommand, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """A person lowers the kill level, with a reason; of several desks, that of `desk`.

    Refused when the kill epoch is not `expected_epoch`, the one that the person saw (`None`: whatever it is).
    """

    level: KillLevel
    expected_epoch: int | None = None
    desk: str = ""


class Flatten(OperatorCommand, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """Raise the kill level to 2: cancel, flatten, no entries; of `desk`, or (empty) of every desk."""

    desk: str = ""


class Switch(OperatorCommand, frozen=True, kw_only=True, tag=_tag):
    """Let `to_desk` trade a strategy in place of `from_desk`; refused unless it is flat at both."""

    strategy: str
    from_desk: str
    to_desk: str


class Memberships(OperatorCommand, frozen=True, kw_only=True, tag=_tag):
    """Join these categories of the vendor's hubs (by hub, all of each) in place of those of now."""

    hubs: Mapping[str, tuple[str, ...]]


class Promote(OperatorCommand, frozen=True, kw_only=True, tag=_tag):
    """Let alerts of this source, kind and version trade.

    Refused while their outcomes do not reach what the settings ask for; `is_unproven`: a person wants it all the same.
    """

    source: str
    kind: str
    version: int
    is_unproven: bool = False


class Demote(OperatorCommand, frozen=True, kw_only=True, tag=_tag):
    """Make alerts of this source, kind and version shadows again."""

    source: str
    kind: str
    version: int


class RecordCommand(Command, frozen=True, kw_only=True, tag=_tag):
    """Write the audit row."""

    command_id: str
    name: str
    by: str
    reason: str
    outcome: str
    at_utc: Utc


class CommandDone(Report, frozen=True, kw_only=True, tag=_tag):
    """Carried out; `detail` is one sentence."""

    command_id: str
    detail: str


class CommandDenied(Report, frozen=True, kw_only=True, tag=_tag):
    """Not carried out, and why."""

    command_id: str
    code: str
    detail: str


class Alarm(Event, frozen=True, kw_only=True, tag=_tag):
    """A person should look; `key` groups repeats."""

    key: str
    severity: Severity
    text: str
    at_utc: Utc


class Announce(Command, frozen=True, kw_only=True, tag=_tag):
    """Show a line to people; `topic` is `entry`, `exit`, `mode`, `alarm`, ...

    `ends`: it says that a fault is over, which was as urgent as this at its worst; `None`: it says no such thing.
    """

    topic: str
    severity: Severity
    text: str
    at_utc: Utc
    ends: Severity | None = None
