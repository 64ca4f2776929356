"""The plain log beside the trace: what the console says, a line each with its level, rotated, account numbers masked.

A full disk costs lines of it, never the run: the trace has everything.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, NamedTuple

from domain.alarm import Severity
from domain.instants import exchange_clock, session_of
from domain.notices.alarm_words import announced_text, key_suffix
from domain.wording import printable
from messages.operator import Announce
from web.masking import masked_text

BYTES_MAX: Final = 5_000_000
FILES_MAX: Final = 10
_TAIL_BYTES: Final = 256 * 1024
_BETWEEN: Final = "\t"


class Entry(NamedTuple):
    """A line of the log, as it was written."""

    date: str
    clock: str
    severity: Severity
    topic: str
    text: str

    def __str__(self) -> str:
        """Return it for people."""
        text = announced_text(self.topic, self.severity, self.text)
        head = f"{self.date} {self.clock}  {self.severity.value:<8}  {self.topic:<7}"
        return f"{head} {text}{key_suffix(self.topic, self.text)}"


class _Quiet(RotatingFileHandler):
    """A file that may fail."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is the library's
        """Say nothing."""


class LogBook:
    """Writes the log of a run."""

    def __init__(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _Quiet(path, maxBytes=BYTES_MAX, backupCount=FILES_MAX - 1, encoding="utf-8", delay=True)

    def write(self, line: Announce) -> None:
        """Add what was announced."""
        text = printable(str(masked_text(line.text)))
        day = session_of(line.at_utc).isoformat()
        whole = _BETWEEN.join((day, exchange_clock(line.at_utc), line.severity.value, line.topic, text))
        self._file.emit(logging.LogRecord("zerohour", logging.INFO, "", 0, whole, None, None))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def entries(lines: Iterator[str] | list[str]) -> Iterator[Entry]:
    """Read lines of a log; those that are none of its own are left out."""
    for line in lines:
        parts = line.rstrip("\n").split(_BETWEEN, 4)
        with contextlib.suppress(ValueError):
            date, clock, severity, topic, text = parts
            yield Entry(date, clock, Severity(severity), topic, text)


def everything(path: Path) -> Iterator[Entry]:
    """Yield the entries of a log and of its older files, the newest file first."""
    for file in (path, *(path.with_name(f"{path.name}.{n}") for n in range(1, FILES_MAX))):
        with contextlib.suppress(OSError), file.open(encoding="utf-8", errors="replace") as lines:
            yield from entries(lines)


def tail(path: Path, n: int) -> list[Entry]:
    """Return the newest entries of a log, oldest first; none where there is no log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return list(entries(lines))[-n:] if n else []
