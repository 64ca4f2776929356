"""Connection modes of one account: the states of the order session, what changes them, and when to dial again."""

from __future__ import annotations

from enum import StrEnum

from domain.instants import MS
from domain.limits import ConnectionRules


class Mode(StrEnum):
    """What the order session allows (entries only in `FULLY_LIVE`; exits and cancels from `WARMUP` on)."""

    DATA_ONLY = "DATA_ONLY"
    DEGRADED = "DEGRADED"
    WARMUP = "WARMUP"
    FULLY_LIVE = "FULLY_LIVE"


class Event(StrEnum):
    """What can happen to the order session."""

    LOST = "lost"  # socket closed, heartbeat overdue, server link gone, a read-back that failed
    RESTORED = "restored"  # the broker says that its server link is back, on a socket that stayed up
    DISTURBED = "disturbed"  # a fault without a loss, such as a farm notice
    RECONCILED = "reconciled"  # session up and broker truth taken over
    STABLE = "stable"  # the whole warm-up passed without a fault


TRANSITIONS: dict[tuple[Mode, Event], Mode] = {
    (Mode.DATA_ONLY, Event.RECONCILED): Mode.WARMUP,
    (Mode.DEGRADED, Event.RECONCILED): Mode.WARMUP,
    (Mode.WARMUP, Event.STABLE): Mode.FULLY_LIVE,
    (Mode.WARMUP, Event.LOST): Mode.DEGRADED,
    (Mode.WARMUP, Event.RESTORED): Mode.WARMUP,  # the stability clock starts again
    (Mode.WARMUP, Event.DISTURBED): Mode.WARMUP,  # the stability clock starts again
    (Mode.FULLY_LIVE, Event.LOST): Mode.DEGRADED,
    (Mode.FULLY_LIVE, Event.RESTORED): Mode.DEGRADED,
}

IGNORED: dict[tuple[Mode, Event], str] = {
    (Mode.DATA_ONLY, Event.LOST): "there was no reconciled session to lose",
    (Mode.DATA_ONLY, Event.RESTORED): "the first reconciliation has not finished; it is read again",
    (Mode.DATA_ONLY, Event.DISTURBED): "no stability clock runs",
    (Mode.DATA_ONLY, Event.STABLE): "no stability clock runs",
    (Mode.DEGRADED, Event.LOST): "lost already",
    (Mode.DEGRADED, Event.RESTORED): "only a reconciliation ends the degraded mode",
    (Mode.DEGRADED, Event.DISTURBED): "no stability clock runs",
    (Mode.DEGRADED, Event.STABLE): "a clock of before the loss",
    (Mode.WARMUP, Event.RECONCILED): "a read-back on demand; the stability clock runs on",
    (Mode.FULLY_LIVE, Event.RECONCILED): "a read-back on demand",
    (Mode.FULLY_LIVE, Event.DISTURBED): "a farm notice is a data fault, never an order fault",
    (Mode.FULLY_LIVE, Event.STABLE): "stable already",
}

ALLOWS_ENTRIES = frozenset({Mode.FULLY_LIVE})
ALLOWS_EXITS = frozenset({Mode.WARMUP, Mode.FULLY_LIVE})

# The session epochs of a run: `run_n << 20`, with room for 16,384 dials of each incarnation of the dialling actor.
_RUN_BITS, _INCARNATION_BITS = 20, 14


def first_epoch(run_n: int, incarnation: int) -> int:
    """Give the session epoch below the first dial of an incarnation, so that no epoch comes twice."""
    return (run_n << _RUN_BITS) + ((incarnation - 1) << _INCARNATION_BITS)


def redial_utc(rules: ConnectionRules, lost_utc: int, now: int, is_id_in_use: bool) -> int:
    """Give the instant of the next dial: fast at first, then slow, for ever; a client id in use has its own pause."""
    if is_id_in_use:
        return now + rules.client_id_retry_ms * MS
    is_fresh = now - lost_utc < rules.retry_fast_for_ms * MS
    return now + (rules.retry_fast_ms if is_fresh else rules.retry_slow_ms) * MS


def gateway_of(rules: ConnectionRules, lost_utc: int, now: int, first_n: int, gateways: int) -> int:
    """Give the gateway to dial: the one that was up last, and one further for each failover time without a session."""
    failed_over = (now - lost_utc) // (rules.gateway_failover_ms * MS)
    return (first_n + failed_over) % gateways
