"""What the supervisor keeps in order beside trading: the ledgers' mirror, the second copy, backups, the archive.

One thread that looks every real minute; what takes long runs in child processes of low priority. Nothing here is in the
trading path, and no failure of it is more than an alarm.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import IO, Final

from commands.folder import DataFolder
from config.settings import Settings
from domain.alarm import Severity
from domain.instants import session_of
from domain.ports import Clock
from domain.session import backups
from domain.units import Utc
from messages.operator import Alarm
from storage.backup import backups as backups_in
from storage.backup import made_at
from storage.mirror import LedgerMirror
from storage.second_copy import SecondCopy
from storage.sqlite_file import LedgerRefusedError
from storage.targets import Target, TargetError

EVERY_S: Final = 60.0
_AGAIN_LOOKS: Final = 10  # looks between two tries of a backup that failed
_REPO = Path(__file__).resolve().parent.parent


class Child:
    """A command of `main.py` in a process of its own; `poll` gives `None` while it runs, else what went wrong."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the child has ended
        words = [sys.executable, "-c", _NICE, *arguments]
        self._process = subprocess.Popen(
            words, cwd=_REPO, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._said
        )

    def poll(self) -> str | None:
        """Return `None` while it runs, `""` after it has done its work, else why not in its own words."""
        if self._process.poll() is None:
            return None
        with self._said as said:
            said.seek(0)
            words = " ".join(said.read().decode(errors="replace").split())
        return "" if self._process.returncode == 0 else words or f"exit code {self._process.returncode}"

    def stop(self) -> None:
        """End it; what it did is whole, the rest is done the next time."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


_NICE = "import os, sys; os.nice(15); from commands.cli import main; sys.exit(main(sys.argv[1:]))"


class Housekeeper:
    """Looks every minute; `look` is one look, for tests.

    Args:
        settings: where copies go, and when.
        folder: the data folder.
        clock: the market's clock.
        tell: takes alarms.
        run: starts a command of `main.py`.
    """

    def __init__(
        self,
        settings: Settings,
        folder: DataFolder,
        clock: Clock,
        tell: Callable[[Alarm], None],
        run: Callable[[Sequence[str]], Child] = Child,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._clock = clock
        self._tell = tell
        self._run = run
        self._mirror = LedgerMirror(folder.ledgers, folder.mirror)
        self._copy: SecondCopy | None = None
        self._begun_utc = clock.now_utc()
        self._child: tuple[str, Child] | None = None
        self._rest: dict[str, int] = {}
        self._archived: date | None = None
        self._said: dict[str, str] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """End, with the mirror as the ledgers are now; nobody is told anything any more."""
        self._over.set()
        self._thread.join()
        self._tell = lambda _: None
        if self._child is not None:
            self._child[1].stop()
        self._refresh_mirror()

    def _watch(self) -> None:
        while not self._over.wait(EVERY_S):
            self.look()

    def look(self) -> None:
        """Do what is due."""
        self._refresh_mirror()
        self._ship()
        self._poll()
        self._back_up()
        self._archive()

    def _refresh_mirror(self) -> None:
        try:
            self._mirror.refresh()
        except (LedgerRefusedError, OSError) as error:
            self._late("mirror", f"The ledgers' mirror is old: {error}", Severity.WARNING)
        else:
            self._again("mirror")

    def _ship(self) -> None:
        address = self._settings.backup.copy_to
        if not address:
            return
        try:
            self._copy = self._copy or SecondCopy(self._folder.root, Target(address))
            self._copy.refresh(session_of(self._clock.now_utc()))
        except (TargetError, LedgerRefusedError, OSError) as error:
            self._late("second_copy", f"The second copy is not up to date: {error}", Severity.HIGH)
        else:
            self._again("second_copy")

    def _poll(self) -> None:
        if self._child is None:
            return
        what, child = self._child
        said = child.poll()
        if said is None:
            return
        self._child = None
        if said:
            self._rest[what] = _AGAIN_LOOKS
            self._late(what, f"The {what} failed, it is tried again: {said}", Severity.HIGH)
        else:
            self._again(what)

    def _back_up(self) -> None:
        rules, now = self._settings.backup, self._clock.now_utc()
        due = []
        for address in rules.targets:
            try:
                last_utc = newest(Target(address))
            except TargetError as error:
                self._alarm(
                    f"backup_overdue:{address}", f"Whether there are backups is not known: {error}", Severity.HIGH
                )
                continue
            if backups.is_due(last_utc, now, rules.at):
                due.append(address)
            if backups.is_overdue(last_utc, self._begun_utc, now, rules.overdue_ms):
                text = f"There is no backup of the last {rules.overdue_ms / 3_600_000:.0f} h in {address}: look at it."
                self._alarm(f"backup_overdue:{address}", text, Severity.HIGH)
            else:
                self._well(f"backup_overdue:{address}")
        if due:
            self._begin("backup", ["backup", *(word for address in due for word in ("--to", address))])

    def _archive(self) -> None:
        rules, today = self._settings.warehouse, session_of(self._clock.now_utc())
        if not rules.archive_to or self._archived == today or self._clock.now_utc() < self._due_utc():
            return
        days = rules.retention
        tiers = ["--ticks-days", str(days.ticks_days), "--buckets-days", str(days.buckets_days)]
        if self._begin("archive", ["archive", "--to", rules.archive_to, "--prune", *tiers, "--today", str(today)]):
            self._archived = today

    def _due_utc(self) -> Utc:
        """Return when today's archive may begin: with the backup, after the session."""
        now = self._clock.now_utc()
        since = backups.due_since(now, self._settings.backup.at)
        return since if session_of(since) == session_of(now) else Utc(now + 1)

    def _begin(self, what: str, arguments: Sequence[str]) -> bool:
        """Start a child unless another runs or the last one failed a moment ago; return whether it was started."""
        if self._rest.get(what, 0) > 0:
            self._rest[what] -= 1
            return False
        if self._child is not None:
            return False
        self._child = what, self._run(["--data", str(self._folder.root.resolve()), *arguments])
        return True

    def _late(self, what: str, text: str, severity: Severity) -> None:
        self._alarm(f"copy:{what}", text, severity)

    def _again(self, what: str) -> None:
        self._well(f"copy:{what}")

    def _alarm(self, key: str, text: str, severity: Severity) -> None:
        """Tell a fault when it begins, and when its words change."""
        if self._said.get(key) != text:
            self._said[key] = text
            self._tell(Alarm(key=key, severity=severity, text=text, at_utc=self._clock.now_utc()))

    def _well(self, key: str) -> None:
        if self._said.pop(key, None) is not None:
            text = f"The fault of {key} is over."
            self._tell(Alarm(key=key, severity=Severity.INFO, text=text, at_utc=self._clock.now_utc()))


def newest(target: Target) -> Utc | None:
    """Return when the newest backup of a target was made; `None` where there is none.

    Raises:
        TargetError: it cannot be reached.
    """
    names = backups_in(target)
    return made_at(names[-1]) if names else None
