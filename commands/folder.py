"""The data folder of one installation: who may use it, and where everything lies."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import psutil

from commands.cli import CommandError
from config.desks import desk_names, of_desk
from config.settings import Settings, SettingsError, load_settings

ORDERS = "orders.jsonl"  # in the run folder of a demo: the simulated broker's journal, which outlives its process
BOOK = "book.json"  # in the run folder of a demo: what the simulated broker held at the end of the day
_FINISHED = "finished"
# Settings whose flag has another name.
_FLAGS = {"demo__start_clock": "start", "demo__session": "start", "demo__market_folder": "market"}
_TRACE = re.compile(r"run-\d+\.jsonl(\.zst)?")


class SimProcess(msgspec.Struct, frozen=True):
    """A simulated server's process: its pid, when that process began (a pid can be used again), its ports."""

    pid: int
    began: float
    port: int
    negotiate_port: int = 0

    def is_alive(self) -> bool:
        """Return whether that very process still runs."""
        return _is_alive(self.pid, self.began)

    def end(self) -> None:
        """End the process: asked first, forced after 5 s."""
        try:
            running = psutil.Process(self.pid)
            running.terminate()
            running.wait(5)
        except psutil.NoSuchProcess:
            return
        except psutil.TimeoutExpired:
            running.kill()


class Control(msgspec.Struct, frozen=True):
    """How the command line reaches a running supervisor: its port, the token, its pid and when that process began."""

    port: int
    token: str
    pid: int
    began: float


def _is_alive(pid: int, began: float) -> bool:
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - began) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class DataFolder:
    """Paths below the data folder, and the lock that only one supervisor can hold."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ledgers = root / "ledgers"
        self.warehouse = root / "warehouse"
        self.series = root / "series"
        self.mirror = root / "mirror"
        self.traces = root / "traces"
        self.run = root / "run"
        self.clock = self.run / "clock"
        self.pace = self.run / "pace.json"
        self.book = self.run / BOOK
        self.orders = self.run / ORDERS
        self.control = self.run / "control.json"
        self.settings = self.run / "settings.json"
        self.kill_file = root / "KILL"
        self.log = root / "logs" / "trading.log"
        self._lock_fd: int | None = None
        self._made: tuple[Path, ...] = ()

    def make(self) -> None:
        """Make the folders.

        Raises:
            CommandError: the folder cannot be written.
        """
        wanted = (self.ledgers, self.warehouse, self.series, self.traces, self.run)
        self._made = tuple(path for path in (*reversed(self.root.parents), self.root, *wanted) if not path.exists())
        try:
            for folder in wanted:
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.run / ".probe"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise CommandError(
                f"The data folder {self.root} cannot be written ({error.strerror}); "
                "give another one with --data or mend its permissions."
            ) from None

    def unmake(self) -> None:
        """Take back a folder that this start made and was refused in: it would be read as that of a desk.

        One with ledgers of before stays as it is.
        """
        if self.ledgers not in self._made:
            return
        for path in reversed(self._made):
            if path.parent == self.root:
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):  # somebody else's files lie there
                    path.rmdir()
        self._made = ()

    def begin_demo(self) -> None:
        """Make room for a new demo day: what the last finished one left is kept in `previous/`.

        Raises:
            CommandError: the folder holds ledgers that no demo day made.
        """
        mark = self.root / "demo-day"
        kept = [folder for folder in (self.ledgers, self.warehouse, self.series, self.traces) if any(folder.glob("*"))]
        if kept and not mark.exists():
            raise CommandError(
                f"{self.root} holds ledgers or market data that no demo day made; give another folder with --data."
            )
        previous = self.root / "previous"
        is_worth = not previous.exists() or (mark.exists() and mark.read_text(encoding="utf-8") == _FINISHED)
        mark.write_text("", encoding="utf-8")
        if kept and is_worth:  # a day that was broken off never displaces one that was played to its end
            shutil.rmtree(previous, ignore_errors=True)
            previous.mkdir()
        for folder in kept:
            if is_worth:
                folder.rename(previous / folder.name)
            else:
                shutil.rmtree(folder)
        self.make()

    def end_demo(self) -> None:
        """Mark the demo day as played to its end."""
        (self.root / "demo-day").write_text(_FINISHED, encoding="utf-8")

    def lock(self) -> None:
        """Take the supervisor's lock; it goes with the process.

        Raises:
            CommandError: another supervisor holds it.
        """
        path = self.run / "supervisor.lock"
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise CommandError(
                f"Another supervisor (pid {holder}) runs on {self.root}; stop it, or give this one another --data.", 3
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._lock_fd = fd

    def unlock(self) -> None:
        """Release the lock."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def sim(self, what: str) -> SimProcess | None:
        """Return a simulated server of this run that is still alive."""
        found = self.sim_last(what)
        return found if found is not None and found.is_alive() else None

    def sim_last(self, what: str) -> SimProcess | None:
        """Return a simulated server of this run, whether it is alive or not; `None` where there was none."""
        try:
            return msgspec.json.decode((self.run / f"sim-{what}.json").read_bytes(), type=SimProcess)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def sim_book(self, desk: str) -> Path:
        """Return the file of the book of a desk whose orders are filled in this process."""
        return self.run / f"orders-{desk}.jsonl"

    def is_supervised(self) -> bool:
        """Return whether a supervisor runs on the folder; one that was killed leaves its address, but is gone."""
        try:
            found = msgspec.json.decode(self.control.read_bytes(), type=Control)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return False
        return _is_alive(found.pid, found.began)

    def trace(self, session: date, run_n: int) -> Path:
        """Return where a run's segment of a session is written."""
        return self.traces / session.isoformat() / f"run-{run_n}.jsonl"

    def traces_newest_first(self) -> list[Path]:
        """Return all traces, plain and sealed, newest first; of one that is both, the sealed one.

        (A process that is killed while it seals a trace leaves both, with the same in them.)
        """
        found = [p for p in self.traces.glob("*/run-*.jsonl*") if _TRACE.fullmatch(p.name)]
        sealed = {p for p in found if p.suffix == ".zst"}
        kept = [p for p in found if p in sealed or p.with_name(f"{p.name}.zst") not in sealed]
        return sorted(kept, key=_age, reverse=True)

    def traces_of(self, session: date) -> list[Path]:
        """Return the traces of a session in the order in which they were written."""
        return [path for path in reversed(self.traces_newest_first()) if path.parent.name == session.isoformat()]


def _age(path: Path) -> tuple[str, int]:
    return path.parent.name, int(path.name.split(".")[0].removeprefix("run-"))


def write_private(path: Path, value: Any) -> None:
    """Write a value as JSON, in one step, readable by the owner alone."""
    aside = path.with_suffix(".tmp")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(msgspec.json.encode(value))
    aside.replace(path)


def settings_of(arguments: Namespace, **overrides: Any) -> Settings:
    """Load the settings of a call (`--config`, `--data`, `--profile`)."""
    given: dict[str, Any] = {k: v for k, v in overrides.items() if v is not None}
    if arguments.data is not None:
        given["data_dir"] = str(arguments.data.resolve())
    try:
        return load_settings(arguments.config, getattr(arguments, "profile", None), _nested(given))
    except SettingsError as error:
        said = vars(arguments)
        for name in given:
            flag = _FLAGS.get(name, name.rpartition("__")[2])
            found = error.findings.get(name.replace("__", "."))
            if found is not None and said.get(flag) is not None:
                raise CommandError(f"--{flag}: {found}.") from None
        raise


def at_desk(settings: Settings, name: str | None) -> Settings:
    """Return the settings as a desk of theirs sees them; `None`: that of `desk`.

    Raises:
        CommandError: there is no such desk.
    """
    known = desk_names(settings)
    if name is not None and name not in known:
        raise CommandError(f"There is no desk {name!r} in these settings; there are: {', '.join(known)}.")
    return settings if name is None else of_desk(settings, name)


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in flat.items():
        head, _, rest = name.partition("__")
        if rest:
            out.setdefault(head, {})[rest] = value
        else:
            out[head] = value
    return out
