"""Ctrl-C, answered in a line at every instant: before a command has begun, in the middle of it, and at its end.

Nothing heavy is imported here: what answers must stand before anything else is loaded.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

CODE: Final = 130
# Whoever looks on ends it by Ctrl-C: nothing was cut short.
LOOKING_ON: Final = frozenset(("logs", "status", "top"))


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a long command; the text says what is kept and how to go on."""


def _told(text: bytes) -> Callable[[int, FrameType | None], None]:
    def end(_number: int, _frame: FrameType | None) -> None:
        os.write(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2, text)
        os._exit(CODE)  # an exception could be lost in what is being imported, or ended

    return end


_BEFORE: Final = _told(b"Interrupted before it began: nothing was done.\n")
_AFTER: Final = _told(b"Interrupted at its end: what it had to do is done.\n")


def before_it_begins() -> None:
    """Answer Ctrl-C from now on, for a script whose command is still to be loaded (main thread only)."""
    signal.signal(signal.SIGINT, _BEFORE)


def it_begins() -> None:
    """Have Ctrl-C raise `KeyboardInterrupt` again, where `before_it_begins` was called."""
    if signal.getsignal(signal.SIGINT) is _BEFORE:
        signal.signal(signal.SIGINT, _DURING)


def it_ends() -> None:
    """Answer Ctrl-C while the interpreter ends, after `it_begins`, where the command has no answer of its own."""
    if signal.getsignal(signal.SIGINT) is _DURING:
        signal.signal(signal.SIGINT, _AFTER)


def _DURING(number: int, frame: FrameType | None) -> None:  # noqa: N802 - one of the three answers
    signal.default_int_handler(number, frame)


@contextmanager
def kept(what: str | Callable[[], str]) -> Iterator[None]:
    """Say of a Ctrl-C in here what is kept of the work, and how it goes on.

    Raises:
        Interrupted: it came.
    """
    try:
        yield
    except Interrupted:
        raise
    except KeyboardInterrupt:
        raise Interrupted(what if isinstance(what, str) else what()) from None


def left_in(resume: Path | None) -> str:
    """Return what is left of days whose results are kept in a file (`None`: in none)."""
    if resume is None:
        return "Nothing is kept of it; with --resume FILE what is done is kept, and the same command goes on."
    return f"The days that were done are kept in {resume}: the same command goes on with the rest."


def line_of(command: str, interrupt: KeyboardInterrupt) -> str:
    """Return what a person is told of a command that Ctrl-C has ended."""
    text = str(interrupt) if isinstance(interrupt, Interrupted) else ""
    return " ".join(filter(None, ("Ended." if command in LOOKING_ON else "Interrupted.", text)))
