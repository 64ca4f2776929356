"""The ways to flatten that need no command line: SIGUSR2, from the first instant of the process, and the `KILL` file.

Nothing heavy is imported here, since a signal that comes before its handler stands would end the process.
"""

from __future__ import annotations

import os
import queue
import signal
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

LEVELS: Final = {"1": 1, "2": 2, "": 2}  # by the content of the KILL file
LOOK_EVERY_S: Final = 1.0
WATCH_EVERY_S: Final = 0.1
UNREADABLE: Final = "cannot be read"

Raise = Callable[[int, str, str, str], None]  # level, reason, edge, command id
_Writing = tuple[tuple[int, int, int] | None, str]  # which writing of a file (time, inode, bytes), and what it says


class FlattenSignals:
    """Counts SIGUSR2 until somebody can act on them: each is a command of its own."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[int] = queue.SimpleQueue()  # a handler may put into it whatever it interrupts

    def install(self) -> None:
        """Take SIGUSR2 from now on (main thread only)."""
        signal.signal(signal.SIGUSR2, lambda *_: self._asked.put(time.time_ns()))

    def carry_out(self, raise_kill: Raise) -> None:
        """Ask for level 2 once for every signal since the last call."""
        while True:
            try:
                asked_ns = self._asked.get_nowait()
            except queue.Empty:
                return
            raise_kill(2, "SIGUSR2", "signal", f"signal-{asked_ns}")


SIGNALS: Final = FlattenSignals()


class KillFile:
    """The `KILL` file, looked at once a second: 1 is level 1, 2 or nothing level 2, and so is all that is neither.

    Each writing is a command of its own. Taking the file away lowers nothing.
    """

    def __init__(self, path: Path, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock_s = clock_s
        self._next_look_s = float("-inf")
        self._carried_out: _Writing | None = None
        self._is_empty_once = False

    def look(self, raise_kill: Raise) -> None:
        """Ask for the level that the file says, where it is there and was not carried out yet."""
        now_s = self._clock_s()
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + LOOK_EVERY_S
        found = self._read()
        if found is None:
            self._carried_out, self._is_empty_once = None, False
            return
        _, text = found
        if found == self._carried_out:
            return
        if text == "" and not self._is_empty_once:
            self._is_empty_once = True  # perhaps caught while it is being written: look once more
            return
        self._carried_out, self._is_empty_once = found, False
        raise_kill(LEVELS.get(text, 2), self._reason(text), "file", f"file-{time.time_ns()}")

    def _read(self) -> _Writing | None:
        """Return which writing of the file it is, and what it says; `None` where there is no file."""
        try:
            about, text = _read(self._path)
        except FileNotFoundError:
            return None
        except OSError:
            return None if not self._is_there() else (None, UNREADABLE)
        return (about.st_mtime_ns, about.st_ino, about.st_size), text

    def _is_there(self) -> bool:
        try:
            self._path.lstat()
        except FileNotFoundError:
            return False
        except OSError:
            return True  # the folder itself cannot be searched: fail closed
        return True

    def _reason(self, text: str) -> str:
        if text in LEVELS:
            return f"the KILL file says {text or 'nothing'}"
        if text == UNREADABLE:
            return f"the KILL file {UNREADABLE}, which counts as 2"
        return f"the KILL file says {text[:20]!r}, which is neither 1 nor 2 and counts as 2"


class EmergencyWatch:
    """A thread of its own for both ways, so that a console which takes nothing more holds up neither."""

    def __init__(self, raise_kill: Raise, kill_file: KillFile, fail: Callable[[str], None]) -> None:
        self._raise_kill = raise_kill
        self._kill_file = kill_file
        self._fail = fail
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="emergency", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            while not self._over.wait(WATCH_EVERY_S):
                SIGNALS.carry_out(self._raise_kill)
                self._kill_file.look(self._raise_kill)
        except BaseException as error:
            self._fail(f"the watch over SIGUSR2 and the KILL file failed: {type(error).__name__}: {error}")


def _read(path: Path) -> tuple[os.stat_result, str]:
    """Return what a file is and the beginning of what it says; never waits, as a pipe without a writer would.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        about = os.fstat(opened)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(f"{path} is no regular file")
        return about, os.read(opened, 64).decode("utf-8", "replace").strip()
    finally:
        os.close(opened)


def keep_level(path: Path, level: int) -> bool:
    """Leave a KILL file behind, so that the next start comes up at this level at least; False where that failed.

    What is there and cannot be read is left as it is: False, though it counts as 2.
    """
    try:
        known = _read(path)[1] if path.exists() else None
        if known is None or LEVELS.get(known, 2) < level:
            path.write_text(f"{level}\n", encoding="utf-8")
    except OSError:
        return False
    return True
