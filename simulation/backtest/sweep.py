"""Sweeps: every combination of some settings on every day, over processes or a cluster, kept for a later sweep.

A day of a sweep begins with the starting cash and empty ledgers, so that days are independent of each other and of
who runs them when. What a combination came to on a day is one Parquet file, named after all that it depends on: the
settings, the fills, the promotions, the cash, the code and the recorded files. One that is there is never made again.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import cache, partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from config.settings import from_json
from domain.units import Cents
from simulation.backtest.cluster import ClusterError, run_on_cluster
from simulation.backtest.model import FillModel
from simulation.backtest.run import Backtest, Day
from simulation.days.children import deaf_to_ctrl_c
from simulation.days.results import source_digest
from simulation.days.sweep import quick_folder
from storage.sqlite_file import LedgerRefusedError

_WAIT_S: Final = 0.5
_TEMPORARY: Final = ".tmp"
_DIGEST: Final = b"row"  # in a result's file: of its row
RESULT: Final = pa.schema(
    [
        ("session", pa.date32()), ("trades", pa.int32()), ("wins", pa.int32()), ("net_cents", pa.int64()),
        ("fees_cents", pa.int64()), ("trade_cents", pa.list_(pa.int64())), ("alerts", pa.int32()),
        ("refused", pa.int32()), ("unfilled", pa.int32()), ("held", pa.int32()), ("crashed", pa.list_(pa.string())),
        ("why_no_entry", pa.string()), ("digest", pa.string()), ("lacking", pa.list_(pa.string())),
        ("damaged", pa.list_(pa.string())),
    ]
)  # fmt: skip


class SweepError(Exception):
    """A sweep cannot go on; one sentence with the remedy."""


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """One combination on one session; `settings` are the whole tree as JSON, `folder` is where its data lies."""

    combination: int
    session: date
    settings: bytes
    model: FillModel
    promotions: Mapping[str, tuple[str, ...]]
    nav_cents: Cents
    series: str
    warehouse: str

    def name(self, code: str, recorded: str) -> str:
        """Return the name of its result, after all that the result depends on, the combination's number excepted."""
        made_of = (self.settings, self.model, sorted(self.promotions.items()), self.nav_cents, code, recorded)
        digest = hashlib.blake2b(msgspec.json.encode(made_of), digest_size=12).hexdigest()
        return f"{self.session}-{digest}.parquet"


class Task(msgspec.Struct, frozen=True):
    """A unit whose result is missing, where it goes, and the digest of what is recorded of its session."""

    unit: Unit
    path: str
    recorded: str


Act = Callable[[Unit], Day]
Answer = dict[str, Any] | str  # a row, or why there is none
Progress = Callable[[int, int], None]


def run_unit(unit: Unit) -> Day:
    """Trade one combination's session, from the starting cash and with empty ledgers."""
    with tempfile.TemporaryDirectory(prefix="zerohour-sweep-", dir=quick_folder()) as name:
        run = Backtest(
            from_json(unit.settings), Path(unit.series), Path(unit.warehouse), unit.promotions, unit.model,
            unit.nav_cents, Path(name),
        )  # fmt: skip
        (day,) = run.days((unit.session,))
        return day


def recorded_digest(series: Path, warehouse: Path, session: date) -> str:
    """Return a digest of what is stored of a session: names, sizes and instants of its files, not their content."""
    digest = hashlib.blake2b(digest_size=12)
    for folder in (series / session.isoformat(), warehouse / f"date={session}"):
        for path in sorted(folder.rglob("*")):
            found = path.stat()
            digest.update(f"{path.relative_to(folder)} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def row_of(day: Day) -> dict[str, Any]:
    """Return a day as a row of the results."""
    cents = [trade.pnl_cents for trade in day.trades]
    return {
        "session": day.session, "trades": len(cents), "wins": sum(c > 0 for c in cents), "net_cents": sum(cents),
        "fees_cents": sum(trade.fees_cents for trade in day.trades), "trade_cents": cents, "alerts": day.alerts,
        "refused": sum(day.refused.values()), "unfilled": day.unfilled, "held": day.held,
        "crashed": list(day.crashed), "why_no_entry": day.why_no_entry, "digest": day.digest,
        "lacking": list(day.lacking), "damaged": list(day.damaged),
    }  # fmt: skip


def sweep(
    units: Sequence[Unit], parts: Path, *, workers: int, progress: Progress, act: Act = run_unit,
    address: str | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:  # fmt: skip
    """Run what has no result yet; return (combination, row) of every unit, in the order of the units.

    Args:
        units: what is asked for.
        parts: the folder of the results of units.
        workers: how many processes.
        progress: told how many of the units are done, and of how many.
        act: what a unit is run by; a function of a module.
        address: of a Ray cluster that runs them; `None`: processes of this machine.

    Raises:
        SweepError: a process died, or the cluster cannot be used; what was finished is kept.
    """
    parts.mkdir(parents=True, exist_ok=True)
    code = source_digest()
    stored = {(unit.series, unit.warehouse, unit.session) for unit in units}
    recorded = {key: recorded_digest(Path(key[0]), Path(key[1]), key[2]) for key in stored}
    tasks = []
    for unit in units:
        of_day = recorded[unit.series, unit.warehouse, unit.session]
        tasks.append(Task(unit, str(parts / unit.name(code, of_day)), of_day))
    missing = list({task.path: task for task in tasks if stored_row(Path(task.path)) is None}.values())
    for task in missing:  # a damaged one counts as none
        Path(task.path).unlink(missing_ok=True)

    def left(n: int) -> None:
        progress(len(tasks) - n, len(tasks))

    if missing and address is None:
        _run(missing, min(workers, len(missing)), act, left)
    elif missing and address is not None:
        _run_on_cluster(missing, workers, partial(_answer, act, code), left, address)
    progress(len(tasks), len(tasks))
    for task in tasks:
        row = stored_row(Path(task.path))
        if row is None:
            raise SweepError(f"{task.path} cannot be read again; run the same command to make it anew.")
        yield task.unit.combination, row


def _run(tasks: list[Task], workers: int, act: Act, left: Callable[[int], None]) -> None:
    context = multiprocessing.get_context("spawn")
    taken = context.Value("q", 0)
    processes = [context.Process(target=_work, args=(tasks, taken, act), daemon=True) for _ in range(workers)]
    with deaf_to_ctrl_c():
        for process in processes:
            process.start()
    try:
        waiting = {process.sentinel: process for process in processes}
        while waiting:
            for sentinel in wait(list(waiting), timeout=_WAIT_S):
                ended = waiting.pop(sentinel)  # type: ignore[arg-type]  # only sentinels were asked for
                ended.join()
                if ended.exitcode:
                    raise SweepError(
                        f"A process of the sweep died (exit code {ended.exitcode}); what was finished is kept, run the"
                        " same command to go on."
                    )
            left(sum(not Path(task.path).exists() for task in tasks))
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
            process.join()


def _work(tasks: list[Task], taken: Any, act: Act) -> None:
    """Run tasks that nobody has taken until there are none (a process of its own)."""
    parent = multiprocessing.parent_process()
    while parent is None or parent.is_alive():
        with taken.get_lock():
            n, taken.value = taken.value, taken.value + 1
        if n >= len(tasks):
            return
        try:
            _store(Path(tasks[n].path), row_of(act(tasks[n].unit)))
        except (LedgerRefusedError, OSError) as error:
            sys.exit(str(error))


def _run_on_cluster(
    tasks: list[Task], workers: int, ask: Callable[[Task], Answer], left: Callable[[int], None], address: str
) -> None:
    """Have a cluster run tasks; results are written here alone, as the nodes answer."""
    left(len(tasks))
    try:
        for n, (task, answer) in enumerate(run_on_cluster(address, workers, tasks, ask), 1):
            if isinstance(answer, str):
                raise SweepError(answer)
            _store(Path(task.path), answer)
            left(len(tasks) - n)
    except ClusterError as error:
        raise SweepError(str(error)) from None


@cache
def _code_here() -> str:
    return source_digest()


def _answer(act: Act, code: str, task: Task) -> Answer:
    """Return the row of a task on the node that has it; a sentence where the node has other data or other code."""
    unit, node = task.unit, platform.node()
    if _code_here() != code:
        return f"{node} runs other code than this machine; end its workers (`ray stop`), and start them anew."
    if recorded_digest(Path(unit.series), Path(unit.warehouse), unit.session) != task.recorded:
        return (
            f"{node} has other files of {unit.session} in {Path(unit.series).parent} than this machine; share the"
            " folder with every node under the same path, or copy it with its times (`rsync -a`)."
        )
    return row_of(act(unit))


def stored_row(path: Path) -> dict[str, Any] | None:
    """Return a stored result; `None` where there is none, or it is damaged: a wrong figure would look like a right one.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
        (row,) = table.select(RESULT.names).to_pylist()
    except (pa.ArrowException, OSError, ValueError, ArithmeticError, LookupError):
        return None
    found: dict[str, Any] = row
    return found if (table.schema.metadata or {}).get(_DIGEST) == _digest(found) else None


def _digest(row: dict[str, Any]) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(row), digest_size=16).hexdigest().encode()


def _store(path: Path, row: dict[str, Any]) -> None:
    """Write a result whole or not at all: a process can be killed at any instant, and two may make the same one."""
    aside = path.with_name(f"{path.stem}-{os.getpid()}{_TEMPORARY}")
    try:
        pq.write_table(pa.Table.from_pylist([row], RESULT.with_metadata({_DIGEST: _digest(row)})), aside)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
