"""A supervisor in a child process, as a user starts it, and what it prints."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from commands.cli import main
from tests.testkit.paths import ROOT

# For tests that need a position: whatever the pace of the machine, an entry's limit is the ask at once, and stands for
# as long as an entry may; no drift refuses it.
ENTRIES_FILL = {
    "ZEROHOUR_ENTRY__DRIFT_SHARE_MAX": "1.0", "ZEROHOUR_EXITS__ENTRY_STEP_SHARE": "1.0",
    "ZEROHOUR_EXITS__ENTRY_MID_MS": "100", "ZEROHOUR_EXITS__ENTRY_STEP_MS": "55000",
    "ZEROHOUR_EXITS__ENTRY_TOTAL_MS": "60000",
}  # fmt: skip
# For tests that wait for an exit: what does not move is left after a minute of the market, not after eight.
LEAVES_SOON = {"ZEROHOUR_EXITS__NO_PROGRESS_MS": "60000"}
UNANSWERED = ("did not answer in time", "does not answer", "no answer in time", "came after its expiry")


def main_py(
    data: Path, *arguments: str, timeout_s: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "main.py", "--data", str(data), *arguments], cwd=ROOT, text=True, capture_output=True,
        timeout=timeout_s, env=os.environ | environment, check=False,
    )  # fmt: skip


def command(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a short command to its end as `main_py` does, but in this process, which has loaded everything."""
    return answered("--data", str(data), *arguments)


def answered(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a call of `main.py` in this process, again where a busy supervisor has not answered in time.

    That is what its sentence says to do.
    """
    for _ in range(10):
        done = _called(*arguments)
        if not any(words in done.stderr for words in UNANSWERED):
            break
    return done


def _called(*arguments: str) -> subprocess.CompletedProcess[str]:
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            code = main(list(arguments))
        except SystemExit as ended:  # the command line could not be read
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), error.getvalue())


def eventually(is_so: Callable[[], object], timeout_s: float = 120) -> None:
    """Wait for something in another process that nobody announces.

    Raises:
        AssertionError: it did not come.
    """
    pause = threading.Event()
    for _ in range(round(timeout_s / 0.02)):
        if is_so():
            return
        pause.wait(0.02)
    raise AssertionError(f"not so within {timeout_s} s")


class Supervisor:
    """`main.py run` in a child, without its dashboard unless asked for; `wait_for` waits for a line with the words.

    `started` are all children of this run of the tests.
    """

    started: ClassVar[list[Supervisor]] = []

    def __init__(self, data: Path, *arguments: str, **environment: str) -> None:
        self.started.append(self)
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._is_over = False
        self.process = subprocess.Popen(
            [sys.executable, "-u", "main.py", "--data", str(data), "run", *arguments], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=os.environ | {"ZEROHOUR_WEB__IS_ON": "false"} | environment,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(OSError):
            for line in self.process.stdout:
                with self._changed:
                    self.lines.append(line.rstrip())
                    self._changed.notify_all()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def close_console(self) -> None:
        """Close our end of the pipe, as a terminal that is closed does."""
        assert self.process.stdout is not None
        os.close(self.process.stdout.fileno())

    def wait_for(self, words: str, timeout_s: float = 180) -> str:
        """Return the first line with these words.

        Raises:
            AssertionError: it did not come.
        """
        with self._changed:
            found = self._changed.wait_for(
                lambda: self._is_over or any(words in line for line in self.lines), timeout_s
            )
            line = next((line for line in self.lines if words in line), None)
        assert found and line is not None, f"no line with {words!r} in:\n" + "\n".join(self.lines[-40:])
        return line

    def end(self, number: int, timeout_s: float = 120) -> int:
        """Send a signal and wait for the end; give the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(timeout_s)
        self._reader.join(60)
        return code

    def end_if_left(self) -> None:
        """Kill the child where it still runs."""
        if self.process.poll() is None:
            self.end(signal.SIGKILL)
