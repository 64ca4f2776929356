"""Whose fault a silence is: who was asked, or the machine, which ran nothing of this process meanwhile."""

from __future__ import annotations

from typing import Final

from domain.wording import duration_text

_SHARE: Final = 4  # a fourth of the wait is enough to leave it open who was slow


def is_machines(starved_ms: int, waited_ms: int) -> bool:
    """Return whether so much of a wait was lost to the machine that nobody can be blamed for the silence."""
    return starved_ms > 0 and starved_ms * _SHARE >= waited_ms


def busy_text(starved_ms: int, waited_ms: int) -> str:
    """Return what people are told of it, with the remedy, as a sentence without its full stop."""
    lost, wait = duration_text(min(starved_ms, waited_ms)), duration_text(waited_ms)
    return (
        f"this machine is busy: in {lost} of {wait} it ran nothing of this process. End other programs, or give it more"
        " processors"
    )
