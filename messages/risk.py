"""Risk conversation: kill level, day lock, refusals on record.

operator, risk, supervisor, position, ... -> kill    RaiseKill, LowerKill
kill -> ibkr, risk, positions, notifier, web         KillRaised, KillLowered   (effective first, durable after)
risk, ... -> kill                                    KillWanted     kill -> asker  KillRaised | KillLowered
kill -> ledger                                       RecordKill     ledger -> kill  KillRecorded
risk -> ledger                                       LockDay        ledger -> risk  DayLocked
risk -> ledger                                       RecordStartNav ledger -> risk  StartNavRecorded
"""

from __future__ import annotations

from datetime import date

from messages.base import Message


class _Risk(Message, frozen=True, kw_only=True, tag=lambda name: f"risk.{name}"):
    """Base of this conversation."""


class RaiseKill(_Risk, frozen=True, kw_only=True):
    """anybody -> kill: raise to at least `level` (1 no entries, 2 flatten); `reply_to` gets `operator.CommandDone`."""

    level: int
    reason: str
    by: str
    command_id: str | None = None


class LowerKill(_Risk, frozen=True, kw_only=True):
    """operator -> kill: a person lowers the level; refused when `expected_epoch` is not the current one."""

    level: int
    reason: str
    by: str
    expected_epoch: int | None
    command_id: str | None = None


class KillWanted(_Risk, frozen=True, kw_only=True):
    """anybody -> kill: tell me the level in force (on `Started`); the answer is `KillRaised`, or `KillLowered` at 0."""

    reply_to: str


class KillRaised(_Risk, frozen=True, kw_only=True):
    """kill -> ibkr, risk, positions, notifier, web: in force now."""

    level: int
    kill_epoch: int
    reason: str
    by: str


class KillLowered(_Risk, frozen=True, kw_only=True):
    """kill -> ibkr, risk, positions, notifier, web: in force now, durable before."""

    level: int
    kill_epoch: int
    reason: str
    by: str


class RecordKill(_Risk, frozen=True, kw_only=True):
    """kill -> ledger: keep level and epoch, who and why."""

    level: int
    kill_epoch: int
    reason: str
    by: str
    at_utc: int


class KillRecorded(_Risk, frozen=True, kw_only=True):
    """ledger -> kill: durable."""

    kill_epoch: int


class LatchKill(_Risk, frozen=True, kw_only=True):
    """ibkr -> port: entries of an older epoch, or at this level, must not be written."""

    level: int
    kill_epoch: int


class LockDay(_Risk, frozen=True, kw_only=True):
    """risk -> ledger: no entries any more this session (a row that is never deleted)."""

    session: date
    reason: str
    at_utc: int


class DayLocked(_Risk, frozen=True, kw_only=True):
    """ledger -> risk: durable."""

    session: date
    reason: str


class RecordStartNav(_Risk, frozen=True, kw_only=True):
    """risk -> ledger: the session's start NAV, stored once."""

    session: date
    nav_cents: int
    at_utc: int


class StartNavRecorded(_Risk, frozen=True, kw_only=True):
    """ledger -> risk: the NAV in force (the first one stored wins)."""

    session: date
    nav_cents: int


class RecordDay(_Risk, frozen=True, kw_only=True):
    """risk -> ledger: the day's summary row, written at the settlement routine (idempotent by session)."""

    session: date
    trades: int
    wins: int
    losses: int
    realised_cents: int
    fees_cents: int
    drawdown_cents: int
    at_utc: int
