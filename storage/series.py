"""The only writer of series: readings, quotes and chains as lines of the day, made Parquet when the day is over.

A line counts once its line end is in the file. What a crash cut is cut off at the next start; what a full disk refuses
waits in memory, in order and up to a bound, and what goes beyond that is counted. Readings are synced; the others are
in the file at once, and on the disk with the next reading. A Parquet file that was cut is set aside at the next start.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import suppress
from datetime import date
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from domain.signals.evaluator import Reading, reading_of
from domain.signals.snapshot import WINDOW
from domain.units import Ticks, Utc
from messages.restored import ReadingRestored
from storage.bucket_file import is_whole_file
from storage.series_reader import LINES, SEALED, SeriesReader, distinct, sessions_in
from storage.series_rows import KINDS, READINGS, ReadingLine, Told, lines_of
from storage.sqlite_file import sync

REPO = Path(__file__).resolve().parents[1]
WAITING_MAX = 100_000
_ASIDE = "damaged-"
_NAMED_MAX = 3
_DECODER = msgspec.json.Decoder(ReadingLine)


class Series:
    """The `SeriesStore` over a folder, one sub-folder per session.

    Args:
        root: the folder.
        run_n: the supervisor's start, kept with each reading.
        is_durable: False leaves out every fsync (simulated days that nobody resumes).
        seals: False starts no child processes (the stepped runtime: a child lives in real time).
    """

    def __init__(self, root: Path, run_n: int, *, is_durable: bool = True, seals: bool = True) -> None:
        self._root = root
        self._run_n = run_n
        self._is_durable = is_durable
        self._seals = seals
        self._waiting: deque[tuple[str, str, bytes]] = deque()
        self._sizes: dict[Path, int] = {}
        self._session: date | None = None
        self._windows: dict[str, deque[ReadingLine]] = {}
        self._child: _SealChild | None = None
        self.lost_n = 0

    def take_findings(self) -> tuple[str, ...]:
        """Set the Parquet files that were cut aside, and return in a sentence which they are."""
        found = []
        for session in sessions_in(self._root):
            for path in sorted((self._root / session.isoformat()).glob(f"*{SEALED}")):
                with suppress(OSError):
                    if not path.name.startswith(_ASIDE) and not is_whole_file(path):
                        path.rename(path.with_name(f"{_ASIDE}{path.name}"))
                        found.append(f"{session}/{path.name}")
        if not found:
            return ()
        more = f" and {len(found) - _NAMED_MAX} more" if len(found) > _NAMED_MAX else ""
        return (
            f"What was cut cannot be read: {', '.join(found[:_NAMED_MAX])}{more} in {self._root}. It is kept beside as"
            f" {_ASIDE}… and left out of every answer; take it from a backup, or import it --again. Look at the disk.",
        )

    @property
    def in_hand(self) -> int:
        """Lines taken but not written yet."""
        return len(self._waiting)

    def take(self, message: Told) -> None:
        """Take a message's lines in hand; beyond the bound the oldest that wait are given up and counted."""
        for session, kind, line in lines_of(message, self._run_n):
            self._waiting.append((session, kind, msgspec.json.encode(line) + b"\n"))
            if isinstance(line, ReadingLine) and self._session == date.fromisoformat(session):
                self._windows.setdefault(line.ticker, deque(maxlen=WINDOW)).append(line)
        while len(self._waiting) > WAITING_MAX:
            self._waiting.popleft()
            self.lost_n += 1

    def flush(self) -> str | None:
        """Write everything in hand; return in one sentence why that cannot be done now, `None` when it is done."""
        by_file: dict[tuple[str, str], list[bytes]] = {}
        held = None if self._child is None else self._child.session.isoformat()
        for session, kind, line in self._waiting:
            if session == held:
                continue
            by_file.setdefault((session, kind), []).append(line)
        for (session, kind), lines in by_file.items():
            try:
                self._append(self._root / session / f"{kind}{LINES}", b"".join(lines), is_synced=kind == READINGS)
            except OSError as error:
                lost = f", {self.lost_n} are lost" if self.lost_n else ""
                return (
                    f"Readings, quotes and chains cannot be stored ({error}); free or repair the disk:"
                    f" {self.in_hand} lines wait{lost}."
                )
            self._waiting = deque(one for one in self._waiting if one[:2] != (session, kind))
        return None

    def _append(self, path: Path, data: bytes, *, is_synced: bool) -> None:
        """Append whole lines behind the last whole line of a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        size = self._sizes.pop(path, None)
        with path.open("r+b" if path.exists() else "x+b") as file:
            if size is None or file.seek(0, os.SEEK_END) != size:
                file.seek(0)
                size = file.read().rfind(b"\n") + 1
                file.truncate(size)
            file.seek(size)
            file.write(data)
            file.flush()
            if is_synced and self._is_durable:
                os.fsync(file.fileno())
        self._sizes[path] = size + len(data)

    # -- what comes back ------------------------------------------------------------------------

    def restored(self, ticker: str, session: date, until_utc: Utc) -> ReadingRestored | None:
        """Return the window of a ticker's readings of a session up to an instant; `None` where there are none."""
        known = self._known(ticker, session, until_utc)
        window = tuple(line.snapshot for line in known if line.snapshot is not None)
        if not window:
            return None
        return ReadingRestored(session=session, reading_n=known[-1].reading_n, window=window)

    def readings(self, ticker: str, session: date, until_utc: Utc) -> tuple[Reading, ...]:
        """Return the same readings as evaluators see them, ascending."""
        known = self._known(ticker, session, until_utc)
        return tuple(
            reading_of(line.bucket_utc, line.spot, line.zero_gamma, line.features, line.evidence, line.snapshot)
            for line in known
        )

    def spots(self, ticker: str, session: date, until_utc: Utc) -> tuple[tuple[Utc, Ticks | None], ...]:
        """Return bucket and spot of all stored readings of a ticker in a session up to an instant, ascending.

        What is in hand and not written yet is among them.
        """
        name = session.isoformat()
        table = SeriesReader(self._root).day(READINGS, session).select(["ticker", "bucket_utc", "spot"])
        found = {row["bucket_utc"]: row["spot"] for row in table.to_pylist() if row["ticker"] == ticker}
        for data in (line for day, kind, line in self._waiting if (day, kind) == (name, READINGS)):
            line = _DECODER.decode(data)
            if line.ticker == ticker:
                found.setdefault(line.bucket_utc, line.spot)
        return tuple((Utc(at_utc), found[at_utc]) for at_utc in sorted(found) if at_utc < until_utc)

    def _known(self, ticker: str, session: date, until_utc: Utc) -> list[ReadingLine]:
        if session != self._session:
            self._session, self._windows = session, {}
            self._load(session)
        return [line for line in self._windows.get(ticker, ()) if line.bucket_utc < until_utc]

    def _load(self, session: date) -> None:
        """Read the last readings of each ticker, from the end of the day's file on and no further than needed."""
        name = session.isoformat()
        folder = self._root / name
        stored: list[bytes] = []
        if (folder / f"{READINGS}{SEALED}").exists():
            stored = _sealed_lines(self._root, session)
        elif (folder / f"{READINGS}{LINES}").exists():
            stored = (folder / f"{READINGS}{LINES}").read_bytes().splitlines()
        waiting = [line for day, kind, line in self._waiting if (day, kind) == (name, READINGS)]
        found: dict[str, dict[Utc, ReadingLine]] = {}
        short = 0  # tickers of which there are lines, but no whole window yet
        for data in reversed((*stored, *waiting)):
            try:
                line = _DECODER.decode(data)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue  # cut by a crash, or damaged: the others count
            lines = found.setdefault(line.ticker, {})
            if len(lines) < WINDOW and line.bucket_utc not in lines:
                lines[line.bucket_utc] = line
                short += (len(lines) == 1) - (len(lines) == WINDOW)
                if not short:
                    break
        for ticker, lines in found.items():
            self._windows[ticker] = deque((lines[at_utc] for at_utc in sorted(lines)), maxlen=WINDOW)

    # -- finished days --------------------------------------------------------------------------

    def start_seal(self, until: date) -> bool:
        """Start a child that makes Parquet of the oldest day up to `until` that has lines; return whether there is one.

        While it runs, lines of that day wait in memory.
        """
        if not self._seals or self._child is not None:
            return False
        for session in sessions_in(self._root):
            folder = self._root / session.isoformat()
            if session <= until and any(folder.glob(f"*{LINES}")):
                self._sizes = {path: size for path, size in self._sizes.items() if path.parent != folder}
                self._child = _SealChild(self._root, session)
                return True
        return False

    def poll_seal(self) -> str | None:
        """Return `None` while the child runs, `""` when it is done, else why it failed in one sentence."""
        if self._child is None:
            return ""
        ended = self._child.poll()
        if ended is not None:
            self._child = None
        return ended

    def close(self) -> None:
        """Stop a running child (its work is done again at the next start) and write what is in hand."""
        if self._child is not None:
            self._child.stop()
            self._child = None
        self.flush()


class _SealChild:
    """A running `python -m storage.series ROOT SESSION`."""

    def __init__(self, root: Path, session: date) -> None:
        self.session = session
        words = [sys.executable, "-m", "storage.series", str(root.resolve()), session.isoformat()]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the child has ended
        self._process = subprocess.Popen(
            words, cwd=REPO, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._errors
        )

    def poll(self) -> str | None:
        if self._process.poll() is None:
            return None
        with self._errors as errors:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
        if self._process.returncode == 0:
            return ""
        return f"The series of {self.session} could not be sealed ({(said or ['no word'])[-1]}); their lines stay."

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._errors.close()


def _sealed_lines(root: Path, session: date) -> list[bytes]:
    """Return a sealed day's last readings of each ticker as lines, ascending."""
    table = SeriesReader(root).day(READINGS, session)
    since_utc = sorted(set(table["bucket_utc"].to_pylist()))[-WINDOW:][:1]
    rows = (row for row in table.to_pylist() if row["bucket_utc"] >= since_utc[0])
    return [msgspec.json.encode(row) for row in sorted(rows, key=lambda row: row["bucket_utc"])]


def seal(root: Path, session: date) -> None:
    """Make one Parquet file of each kind's lines and of what was sealed before, then delete the lines."""
    reader = SeriesReader(root)
    folder = root / session.isoformat()
    for kind, how in KINDS.items():
        lines = folder / f"{kind}{LINES}"
        if not lines.exists():
            continue
        rows = reader.day(kind, session)
        if reader.damaged:  # what is written over could not be mended any more
            names = ", ".join(path.name for path in reader.damaged)
            raise SystemExit(f"{names} cannot be read: take it from a backup, or move it away")
        table = distinct(rows, how.key).sort_by([(name, "ascending") for name in how.key])
        if table.num_rows:
            aside = folder / f"{kind}{SEALED}.tmp"
            pq.write_table(table, aside, compression="zstd", compression_level=6)
            sync(aside)
            aside.replace(folder / f"{kind}{SEALED}")
            sync(folder)
        lines.unlink()


if __name__ == "__main__":
    seal(Path(sys.argv[1]), date.fromisoformat(sys.argv[2]))
