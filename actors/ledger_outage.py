"""What a ledger's actor does about an outage of its file: tries again, and tells people once.

A lock of another program passes by itself, so it is told only when it has lasted; everything else stops entries at
once. Exits never wait for a ledger, and the level stays until a person lowers it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from domain.alarm import Severity
from domain.instants import MS
from domain.ports import LedgerStore, Outage
from domain.risk.kill import KillLevel
from domain.units import Utc
from messages import operator, risk
from supervision.turn import Turn

_PATIENCE_NS: Final = 2_000 * MS  # with another program's lock
_FIRST_RETRY_NS: Final = 100 * MS
_LONGEST_RETRY_NS: Final = 2_000 * MS


class Timer(StrEnum):
    """`RETRY`: the file may be well again."""

    RETRY = "retry"


class OutageWatch:
    """What one ledger's actor says of its outages; `meanwhile` says what goes on without the file."""

    def __init__(self, meanwhile: str) -> None:
        self._meanwhile = meanwhile
        self._is_out = False
        self._is_told = False

    def look(self, turn: Turn[None], store: LedgerStore[Any, Any]) -> None:
        """Arm the first attempt of an outage; say what people and the kill switch must know."""
        for message in store.take_set_aside():
            text = f"{turn.name} cannot keep a {message.name} ({message.why}), which is set aside; look at the broker."
            _stop_entries(turn, text)
            _alarm(turn, f"set_aside:{turn.name}", Severity.CRITICAL, text)
        outage = store.outage
        if outage is None:
            if self._is_told:
                text = f"{turn.name} is written again and holds everything that waited; resume when you are content."
                _alarm(turn, f"outage:{turn.name}", Severity.INFO, text)
            self._is_out = self._is_told = False
            return
        if not self._is_told and (not outage.is_lock or turn.now - outage.since_utc >= _PATIENCE_NS):
            self._is_told = True
            _stop_entries(turn, outage.why)
            text = f"{outage.why} Until then no entries; {self._meanwhile}."
            _alarm(turn, f"outage:{turn.name}", Severity.CRITICAL, text)
        if not self._is_out:
            self._is_out = True
            _arm_retry(turn, outage)

    def retried(self, turn: Turn[None], store: LedgerStore[Any, Any]) -> None:
        """Arm the next attempt after one that failed."""
        if store.outage is not None:
            self._is_out = True
            _arm_retry(turn, store.outage)


def _arm_retry(turn: Turn[None], outage: Outage) -> None:
    """Arm the next attempt, each twice as far away as the one before, up to a bound."""
    wait_ns = min(_LONGEST_RETRY_NS, _FIRST_RETRY_NS << min(outage.tries, 8))
    turn.arm(Timer.RETRY, Utc(turn.now + wait_ns))


def _stop_entries(turn: Turn[None], why: str) -> None:
    turn.tell("kill", risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=why, by=turn.name))


def _alarm(turn: Turn[None], key: str, severity: Severity, text: str) -> None:
    turn.publish(operator.Alarm(key=key, severity=severity, text=text, at_utc=turn.now))
