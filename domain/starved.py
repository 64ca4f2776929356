"""Whose fault a silence is: who was asked, or the machine, which kept this process waiting for a processor."""

from __future__ import annotations

from typing import Final

from domain.wording import duration_text

_SHARE: Final = 4  # a fourth of the wait is enough to leave it open who was slow
_WAITS: Final = 2  # a machine that stays busy excuses nobody for longer: what is silent then may well be dead


def is_machines(starved_ms: int, waited_ms: int) -> bool:
    """Return whether so much of a wait was lost to the machine that nobody can be blamed for the silence."""
    return starved_ms > 0 and starved_ms * _SHARE >= waited_ms


def excused_ms(starved_ms: int, waited_ms: int, before_ms: int) -> int:
    """Return for how much longer a silence is excused, ms; 0: who was asked is to blame.

    Args:
        starved_ms: how much of the last wait was lost to the machine.
        waited_ms: how long the wait is on a free machine; all excuses together are at most twice as long.
        before_ms: for how long the same silence has been excused already.
    """
    return max(0, min(starved_ms, _WAITS * waited_ms - before_ms)) if is_machines(starved_ms, waited_ms) else 0


def busy_text(starved_ms: int, waited_ms: int) -> str:
    """Return what people are told of it, with the remedy, as a sentence without its full stop."""
    lost, wait = duration_text(min(starved_ms, waited_ms)), duration_text(waited_ms)
    return (
        f"this machine is busy: it kept this process waiting for a processor for {lost} of {wait}. End other programs,"
        " or give it more processors"
    )
