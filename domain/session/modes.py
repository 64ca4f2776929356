"""Connection modes of one account: what the order session allows, and what changes it."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Final

from domain.fsm import Machine


class Mode(StrEnum):
    """What the order session allows (entries only in `FULLY_LIVE`; exits and cancels from `WARMUP` on)."""

    DATA_ONLY = "DATA_ONLY"
    DEGRADED = "DEGRADED"
    WARMUP = "WARMUP"
    FULLY_LIVE = "FULLY_LIVE"


class AccountClass(StrEnum):
    """What an account is, by the form of its number."""

    PAPER = "paper"
    LIVE = "live"
    UNKNOWN = "unknown"


def account_key(account: str) -> str:
    """Return what tells the accounts of a login apart without giving their numbers away; empty for none."""
    return hashlib.sha256(account.encode()).hexdigest()[:4] if account else ""


class ModeEvent(StrEnum):
    """What can happen to the order session."""

    LOST = "lost"  # socket closed, heartbeat overdue, server link gone, open orders or positions that cannot be read
    RESTORED = "restored"  # the broker says that its server link is back, on a socket that stayed up
    DISTURBED = "disturbed"  # a fault without a loss, such as a broken farm
    RECONCILED = "reconciled"  # session up and broker truth taken over
    STOOD_DOWN = "stood_down"  # a person has a strategy switched to this desk, or from it
    STABLE = "stable"  # the whole warm-up passed without a fault


MODES: Final = Machine(
    "Connection modes",
    transitions={
        (Mode.DATA_ONLY, ModeEvent.RECONCILED): Mode.WARMUP,
        (Mode.DEGRADED, ModeEvent.RECONCILED): Mode.WARMUP,
        (Mode.WARMUP, ModeEvent.STABLE): Mode.FULLY_LIVE,
        (Mode.WARMUP, ModeEvent.LOST): Mode.DEGRADED,
        (Mode.WARMUP, ModeEvent.RESTORED): Mode.DEGRADED,  # what happened meanwhile is read back before any exit
        (Mode.WARMUP, ModeEvent.STOOD_DOWN): Mode.DATA_ONLY,
        (Mode.FULLY_LIVE, ModeEvent.STOOD_DOWN): Mode.DATA_ONLY,
        (Mode.WARMUP, ModeEvent.DISTURBED): Mode.WARMUP,  # the stability clock starts again
        (Mode.FULLY_LIVE, ModeEvent.LOST): Mode.DEGRADED,
        (Mode.FULLY_LIVE, ModeEvent.RESTORED): Mode.DEGRADED,
    },
    ignored={
        (Mode.DATA_ONLY, ModeEvent.LOST): "there was no reconciled session to lose",
        (Mode.DATA_ONLY, ModeEvent.RESTORED): "the first reconciliation has not finished; it is read again",
        (Mode.DATA_ONLY, ModeEvent.DISTURBED): "no stability clock runs",
        (Mode.DATA_ONLY, ModeEvent.STABLE): "no stability clock runs",
        (Mode.DATA_ONLY, ModeEvent.STOOD_DOWN): "it has not reconciled yet",
        (Mode.DEGRADED, ModeEvent.STOOD_DOWN): "the link is lost: only a reconciliation ends that",
        (Mode.DEGRADED, ModeEvent.LOST): "lost already",
        (Mode.DEGRADED, ModeEvent.RESTORED): "only a reconciliation ends the degraded mode",
        (Mode.DEGRADED, ModeEvent.DISTURBED): "no stability clock runs",
        (Mode.DEGRADED, ModeEvent.STABLE): "a clock of before the loss",
        (Mode.WARMUP, ModeEvent.RECONCILED): "a read-back on demand; the stability clock runs on",
        (Mode.FULLY_LIVE, ModeEvent.RECONCILED): "a read-back on demand",
        (Mode.FULLY_LIVE, ModeEvent.DISTURBED): "a farm notice is a data fault, never an order fault",
        (Mode.FULLY_LIVE, ModeEvent.STABLE): "stable already",
    },
)

ALLOWS_ENTRIES: Final = frozenset({Mode.FULLY_LIVE})
ALLOWS_EXITS: Final = frozenset({Mode.WARMUP, Mode.FULLY_LIVE})
