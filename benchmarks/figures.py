"""What every benchmark hands back: tables beside their floors, the machine they were measured on, percentiles."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parent.parent
QUIET_CORES = 0.1
LIBRARIES = ("pykka", "msgspec", "ib_insync", "protobuf", "zstandard", "websockets", "numpy", "pyarrow", "orjson")


@dataclass
class Aim:
    """One figure that the specification asks for, what came out and whether it was reached (`None`: no limit set)."""

    what: str
    wanted: str
    measured: str
    is_reached: bool | None


@dataclass
class Report:
    """The result of one benchmark; `sections` are (caption, header, rows) with every cell a text."""

    name: str
    title: str
    command: str
    aims: list[Aim] = field(default_factory=list)
    sections: list[tuple[str, list[str], list[list[str]]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    load: str = ""
    at: str = ""
    others_cores: float = 0.0

    def table(self, caption: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Add a table."""
        self.sections.append((caption, list(header), [[str(cell) for cell in row] for row in rows]))

    def aim(self, what: str, wanted: str, measured: str, is_reached: bool | None) -> None:
        """Add an aim."""
        self.aims.append(Aim(what, wanted, measured, is_reached))

    def note(self, text: str) -> None:
        """Add a sentence."""
        self.notes.append(text)

    def markdown(self) -> str:
        """Write the report as Markdown."""
        lines = [f"## {self.title}", ""]
        when = f"{self.seconds:.0f} s, {self.at}; load average before and after: {self.load}."
        lines += [f"`{self.command}` took {when}", ""]
        if self.others_cores > QUIET_CORES:
            lines += [
                f"**Other work used {self.others_cores:.1f} cores just before this began: "
                "read the figures as an upper bound.**",
                "",
            ]
        if self.aims:
            lines += ["| aim | wanted | measured | reached |", "|---|---|---|---|"]
            said = REACHED
            lines += [f"| {a.what} | {a.wanted} | {a.measured} | {said[a.is_reached]} |" for a in self.aims]
            lines.append("")
        for caption, header, rows in self.sections:
            lines += [f"{caption}", "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
            lines += ["| " + " | ".join(row) + " |" for row in rows]
            lines.append("")
        lines += [f"- {note}" for note in self.notes]
        return "\n".join(lines).rstrip() + "\n"


def ms(value_ns: float) -> str:
    """Write nanoseconds as milliseconds."""
    return f"{value_ns / 1e6:.2f}"


def percentile(values: Sequence[float], q: float) -> float:
    """Return a percentile (linear between neighbours); NaN of nothing."""
    return float(np.percentile(values, q)) if len(values) else float("nan")


def spread(values_ns: Sequence[float]) -> list[str]:
    """Return p50, p90, p99 and the greatest in milliseconds."""
    return [ms(percentile(values_ns, q)) for q in (50, 90, 99)] + [ms(max(values_ns, default=float("nan")))]


REACHED = {True: "yes", False: "**no**", None: "no limit set"}
SPREAD = ["p50 ms", "p90 ms", "p99 ms", "max ms"]


@contextmanager
def work_folder() -> Iterator[Path]:
    """Return a folder on the disk of the temporary files, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="zerohour-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def load_average() -> str:
    """Return the machine's load over the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def others_cores(for_s: float = 2.0) -> float:
    """Return the cores that everybody else keeps busy, measured while this process only waits."""
    return psutil.cpu_percent(interval=for_s) / 100 * (os.cpu_count() or 1)


def fsync_floor_ns(folder: Path, size: int, n: int) -> list[int]:
    """Time `n` times what no store can undercut: write so many bytes to a new file and fsync it."""
    payload, took = os.urandom(size), []
    for i in range(n):
        path = folder / f"floor-{i}"
        began = time.perf_counter_ns()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(fd, payload)
        os.fsync(fd)
        os.close(fd)
        took.append(time.perf_counter_ns() - began)
        path.unlink()
    return took


def append_floor_ns(folder: Path, n: int) -> list[int]:
    """Time `n` appends of 600 bytes with fdatasync (a trace record before an order leaves)."""
    took, payload = [], b"x" * 600
    fd = os.open(folder / "append", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for _ in range(n):
        began = time.perf_counter_ns()
        os.write(fd, payload)
        os.fdatasync(fd)
        took.append(time.perf_counter_ns() - began)
    os.close(fd)
    return took


def commit_floor_ns(folder: Path, n: int) -> list[int]:
    """Time `n` one-row transactions of SQLite in WAL with synchronous=FULL."""
    db = sqlite3.connect(folder / "floor.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT)")
    took = []
    for i in range(n):
        began = time.perf_counter_ns()
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO t VALUES (?, ?)", (str(i), "x" * 200))
        db.execute("COMMIT")
        took.append(time.perf_counter_ns() - began)
    db.close()
    return took


def machine() -> str:
    """Describe the machine and the versions in one paragraph."""
    model = platform.processor() or platform.machine()
    with Path("/proc/cpuinfo").open(encoding="utf-8") as info:
        model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), model)
    disk = _file_system(Path(tempfile.gettempdir()))
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{model}, {os.cpu_count()} logical CPUs, {psutil.virtual_memory().total / 2**30:.0f} GiB; "
        f"{platform.system()} {platform.release().split('-')[0]}, {disk}; CPython {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, {libraries}."
    )


def _file_system(folder: Path) -> str:
    parts = [p for p in psutil.disk_partitions(all=True) if str(folder).startswith(p.mountpoint)]
    found = max(parts, key=lambda p: len(p.mountpoint), default=None)
    return f"{found.fstype} for the files written" if found is not None else "unknown file system"


def spawn(module: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a child of this package that reads lines of commands and answers in lines of JSON."""
    return subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    )  # fmt: skip
