"""Risk conversation: kill level, day lock, the day's money on record.

A raise is in force first and durable after; a lowering is durable first.
"""

from __future__ import annotations

from datetime import date
from typing import ClassVar

from domain.risk.day import DayStops, DaySummary
from domain.risk.kill import KillLevel
from domain.units import Cents, Utc
from messages.base import Command, Event, Report


def _tag(name: str) -> str:
    return f"risk.{name}"


class RaiseKill(Command, frozen=True, kw_only=True, tag=_tag):
    """Raise to at least `level`; with a `command_id` the operator gets `operator.CommandDone`."""

    IS_VITAL: ClassVar[bool] = True
    level: KillLevel
    reason: str
    by: str
    command_id: str | None = None

    def stops_everything(self) -> bool:
        """Return whether everything should be closed."""
        return self.level is KillLevel.FLATTEN


class LowerKill(Command, frozen=True, kw_only=True, tag=_tag):
    """A person lowers the level; refused when `expected_epoch` is not the current one (`None`: whatever it is)."""

    level: KillLevel
    reason: str
    by: str
    expected_epoch: int | None
    command_id: str | None = None


class RequestKillLevel(Command, frozen=True, kw_only=True, tag=_tag):
    """Report the level in force (on `Started`); the answer is `KillRaised`, or `KillLowered` at 0."""

    reply_to: str


class KillRaised(Event, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """In force now; `is_restored`: since before this start, which raised nothing.

    `desk` is whose level it is where the process has several desks; empty: the process's.
    """

    IS_VITAL: ClassVar[bool] = True
    level: KillLevel
    kill_epoch: int
    reason: str
    by: str
    is_restored: bool = False
    desk: str = ""


class KillLowered(Event, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """In force now, durable before; `desk` as of `KillRaised`."""

    level: KillLevel
    kill_epoch: int
    reason: str
    by: str
    desk: str = ""


class RecordKill(Command, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """Keep level and epoch, who and why; `desk` as of `KillRaised`."""

    level: KillLevel
    kill_epoch: int
    reason: str
    by: str
    at_utc: Utc
    desk: str = ""


class KillRecorded(Report, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """The kill row is durable; `desk` as of `KillRaised`."""

    kill_epoch: int
    desk: str = ""


class RecordSpread(Command, frozen=True, kw_only=True, tag=_tag):
    """Keep the median relative spread of a slot of the day (minutes since midnight in New York; the last one wins)."""

    session: date
    slot_min: int
    median: float
    at_utc: Utc


class LockDay(Command, frozen=True, kw_only=True, tag=_tag):
    """No entries any more this session (a row that is never deleted)."""

    session: date
    reason: str
    at_utc: Utc


class DayLocked(Report, frozen=True, kw_only=True, tag=_tag):
    """The lock is durable."""

    session: date
    reason: str


class RecordStartNav(Command, frozen=True, kw_only=True, tag=_tag):
    """Keep the session's start NAV, once."""

    session: date
    nav_cents: Cents
    at_utc: Utc


class StartNavRecorded(Report, frozen=True, kw_only=True, tag=_tag):
    """The NAV in force (the first one stored wins)."""

    session: date
    nav_cents: Cents


class RecordDayStops(Command, frozen=True, kw_only=True, tag=_tag):
    """Keep what the evaluations of the day's P&L have left behind, so that latches survive a restart."""

    session: date
    stops: DayStops
    at_utc: Utc


class RecordDay(Command, frozen=True, kw_only=True, tag=_tag):
    """Write the day's summary row, at the settlement routine (idempotent by session)."""

    session: date
    summary: DaySummary
    at_utc: Utc


class DaySettled(Event, frozen=True, kw_only=True, tag=_tag):
    """The day is over, and this is its summary, net of fees; once a session."""

    session: date
    summary: DaySummary
    at_utc: Utc
