"""`main.py simulate --record FOLDER`: honest days, one session after the other, as a desk would have recorded them.

Each is a day of the demo (its settings, the next seed), without the demo's outages and with the band of the chains
recorded every five seconds. The folder keeps a list of what is done, so that a run that was ended goes on with the same
command.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shutil
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import count, islice
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final, cast

import msgspec

from commands.cli import CommandError
from commands.folder import settings_of
from commands.interrupted import kept as kept_on_interrupt
from commands.lines import counted
from commands.progress import Progress
from commands.session_market import RECORDED_LIST
from config.settings import Settings, from_json
from domain.instants import NEW_YORK, at_exchange, to_datetime
from domain.session import calendar
from simulation.days.children import deaf_to_ctrl_c
from simulation.recording import record_day

CHAIN_EVERY_MS: Final = 5_000


class Done(msgspec.Struct, frozen=True):
    """A day that lies in the folder whole."""

    session: date
    seed: int


def record(arguments: Namespace) -> int:
    """Record the days that are not there yet.

    Raises:
        CommandError: the folder holds something else, days of other seeds, cannot be written, or a process died.
    """
    folder: Path = arguments.record
    first = settings_of(arguments)
    wanted = [Done(day, arguments.seed + n) for n, day in enumerate(_sessions(first, arguments.days))]
    known = {one.session: one.seed for one in _done(folder)}
    for n, one in enumerate(wanted):
        seed = known.get(one.session, one.seed)
        if seed != one.seed:
            raise CommandError(
                f"{folder} has {one.session} of seed {seed} already; give --seed {seed - n}, or name another folder."
            )
    _open_all(wanted, first)
    missing = [one for one in wanted if one.session not in known]
    done = f"The days that were recorded whole are kept in {folder}: the same command goes on with the rest."
    workers = arguments.workers or os.cpu_count() or 1
    try:
        with kept_on_interrupt(done), Progress() as shown, (folder / RECORDED_LIST).open("ab") as kept:
            _alone(kept.fileno(), folder)
            kept.truncate(len(_whole_lines(folder / RECORDED_LIST)))
            days = [(_day(arguments, one).to_json(), one) for one in missing]
            of = counted(len(missing), "day")
            if missing:
                at_once = min(workers, len(missing))
                shown.line(
                    f"Recording {of} in {folder}, {at_once} at a time: each takes minutes, and is told when it is done."
                )
            for n, ended in enumerate(_recorded(days, folder, workers), 1):
                kept.write(msgspec.json.encode(ended) + b"\n")
                kept.flush()
                shown.line(f"{ended.session} recorded ({n} of {of})")
                shown.at(f"{n} of {of} recorded")
    except OSError as error:
        raise CommandError(f"{folder} cannot be written ({error.strerror}); name another folder.", 3) from None
    span = wanted[0].session, wanted[-1].session
    print(f"{counted(len(wanted), 'session')} from {span[0]} to {span[1]} in {folder}; trade them with:")
    print(f"  main.py --data {folder} backtest {span[0]} {span[1]}")
    return 0


def _open_all(wanted: Sequence[Done], settings: Settings) -> None:
    """Check that no day begins after its close: nothing would be recorded of it.

    Raises:
        CommandError: one does.
    """
    for one in wanted:
        hours = calendar.day(one.session, settings.day.closed_dates)
        if hours is not None and at_exchange(one.session, settings.demo.start_clock) >= hours.close_utc:
            close = to_datetime(hours.close_utc).astimezone(NEW_YORK)
            raise CommandError(
                f"{one.session} closes at {close:%H:%M} New York, before it begins at demo.start_clock; begin earlier,"
                " or name another demo.session."
            )


def _alone(fd: int, folder: Path) -> None:
    """Hold the folder for this process, and clear away days that an earlier one left half-way.

    Raises:
        CommandError: another process records into it.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise CommandError(f"Another process records days in {folder}; wait for it, or name another folder.") from None
    for left in folder.glob(".????-??-??-*"):
        shutil.rmtree(left, ignore_errors=True)


def _recorded(days: Sequence[tuple[bytes, Done]], folder: Path, workers: int) -> Iterator[Done]:
    """Record days (settings, what it is), each in a process of its own, and return them as they end.

    Raises:
        CommandError: a process died.
    """
    context = multiprocessing.get_context("spawn")
    running: dict[int, tuple[SpawnProcess, Done]] = {}
    left = iter(days)
    try:
        while True:
            for raw, one in islice(left, workers - len(running)):
                process = context.Process(target=_record, args=(raw, folder), daemon=True)
                with deaf_to_ctrl_c():
                    process.start()
                running[process.sentinel] = process, one
            if not running:
                return
            for sentinel in wait(list(running)):
                process, one = running.pop(cast("int", sentinel))
                process.join()
                if process.exitcode:
                    raise CommandError(
                        f"The process of {one.session} died (exit code {process.exitcode}); what is recorded is kept,"
                        " run the same command to go on.", 3,
                    )  # fmt: skip
                yield one
    finally:
        for process, _ in running.values():
            process.terminate()
            process.join()


def _record(settings: bytes, folder: Path) -> None:
    """Record one day (a process of its own, which ends with the one that began it)."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        record_day(from_json(settings), folder)
    except OSError as error:
        sys.exit(f"{folder} cannot be written ({error.strerror}).")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _sessions(settings: Settings, days: int) -> list[date]:
    """Return so many sessions of the exchange, from that of the demo on."""
    dates = (settings.demo.session + timedelta(days=n) for n in count())
    return list(islice((day for day in dates if calendar.day(day, settings.day.closed_dates)), days))


def _day(arguments: Namespace, one: Done) -> Settings:
    return settings_of(
        arguments, demo__session=one.session.isoformat(), demo__seed=one.seed, demo__gateway_drop_s=0,
        demo__hub_drop_s=0, warehouse__chain_every_ms=CHAIN_EVERY_MS,
    )  # fmt: skip


def _whole_lines(listed: Path) -> bytes:
    """Return a list without a last line that a full disk has cut: its day is recorded again."""
    told = listed.read_bytes()
    return told[: told.rfind(b"\n") + 1]


def _done(folder: Path) -> list[Done]:
    """Return what was recorded before; make the folder where it is not there."""
    listed = folder / RECORDED_LIST
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not listed.exists() and any(folder.iterdir()):
            raise CommandError(f"{folder} holds something else already; name a folder that is not there yet.")
        lines = _whole_lines(listed).splitlines() if listed.exists() else []
        return [msgspec.json.decode(line, type=Done) for line in lines]
    except (OSError, msgspec.DecodeError) as error:
        raise CommandError(f"{listed} cannot be used ({error}); name another folder.", 3) from None
