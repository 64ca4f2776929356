"""Ctrl-C, answered in a line at every instant: before a command has begun, in the middle of it, and at its end.

Nothing heavy is imported here: what answers must stand before anything else is loaded.
"""

from __future__ import annotations

import os
import signal
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
        os.write(2, text)
        os._exit(CODE)  # an exception could be lost in what is being imported, or ended

    return end


_BEFORE: Final = _told(b"Interrupted before it began: nothing was done.\n")
_AFTER: Final = _told(b"Interrupted at its end: what it had to do is done.\n")


class CtrlC:
    """Who answers Ctrl-C in a script; where a command is called by other code (a test), whoever did before."""

    def __init__(self) -> None:
        self._is_script = False

    def before(self) -> None:
        """Answer at once from now on: the command is still to be loaded (main thread only)."""
        self._is_script = True
        signal.signal(signal.SIGINT, _BEFORE)

    def during(self) -> None:
        """Have it raise `KeyboardInterrupt` from now on: the command begins."""
        if self._is_script:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def after(self) -> None:
        """Answer at once again, while the interpreter ends, unless the command has an answer of its own."""
        if self._is_script and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _AFTER)


CTRL_C: Final = CtrlC()


@contextmanager
def kept(what: str) -> Iterator[None]:
    """Say of a Ctrl-C in here what is kept of the work, and how it goes on.

    Raises:
        Interrupted: it came.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(what) from None


def left_in(resume: Path | None) -> str:
    """Return what is left of days whose results are kept in a file (`None`: in none)."""
    if resume is None:
        return "Nothing is kept of it; with --resume FILE what is done is kept, and the same command goes on."
    return f"The days that were done are kept in {resume}: the same command goes on with the rest."


def line_of(command: str, interrupt: KeyboardInterrupt) -> str:
    """Return what a person is told of a command that Ctrl-C has ended."""
    text = str(interrupt) if isinstance(interrupt, Interrupted) else ""
    return " ".join(filter(None, ("Ended." if command in LOOKING_ON else "Interrupted.", text)))
