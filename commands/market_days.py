"""`main.py simulate --record FOLDER`: honest days, one session after the other, as a desk would have recorded them.

Each is a day of the demo (its settings, the next seed), without the demo's outages and with the band of the chains
recorded every five seconds. The folder keeps a list of what is done, so that a run that was ended goes on with the same
command.
"""

from __future__ import annotations

import multiprocessing
import os
from argparse import Namespace
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from datetime import date, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from commands.cli import CommandError
from commands.folder import settings_of
from commands.lines import counted
from config.settings import Settings, from_json
from domain.session import calendar
from simulation.recording import record_day

LIST: Final = "recorded.jsonl"
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
    missing = [one for one in wanted if one.session not in known]
    workers = min(arguments.workers or os.cpu_count() or 1, max(len(missing), 1))
    spawn = multiprocessing.get_context("spawn")
    with Console(stderr=True).status("starting") as shown:
        try:
            with ProcessPoolExecutor(workers, spawn, max_tasks_per_child=1) as pool, (folder / LIST).open("ab") as kept:
                running = {pool.submit(_record, _day(arguments, one).to_json(), folder): one for one in missing}
                for n, ended in enumerate(as_completed(running), 1):
                    ended.result()
                    kept.write(msgspec.json.encode(running[ended]) + b"\n")
                    kept.flush()
                    shown.update(f"{n} of {counted(len(missing), 'day')} recorded")
        except BrokenProcessPool:
            raise CommandError("A process died; what is recorded is kept, run the same command to go on.", 3) from None
        except OSError as error:
            raise CommandError(f"{folder} cannot be written ({error.strerror}); name another folder.", 3) from None
    span = wanted[0].session, wanted[-1].session
    print(f"{counted(len(wanted), 'session')} from {span[0]} to {span[1]} in {folder}; trade them with:")
    print(f"  main.py --data {folder} backtest {span[0]} {span[1]}")
    return 0


def _record(settings: bytes, folder: Path) -> None:
    """Record one day (a process of its own)."""
    record_day(from_json(settings), folder)


def _sessions(settings: Settings, days: int) -> list[date]:
    """Return so many sessions of the exchange, from that of the demo on."""
    dates = (settings.demo.session + timedelta(days=n) for n in count())
    return list(islice((day for day in dates if calendar.day(day, settings.day.closed_dates)), days))


def _day(arguments: Namespace, one: Done) -> Settings:
    return settings_of(
        arguments, demo__session=one.session.isoformat(), demo__seed=one.seed, demo__gateway_drop_s=0,
        demo__hub_drop_s=0, warehouse__chain_every_ms=CHAIN_EVERY_MS,
    )  # fmt: skip


def _done(folder: Path) -> list[Done]:
    """Return what was recorded before; make the folder where it is not there."""
    listed = folder / LIST
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not listed.exists() and any(folder.iterdir()):
            raise CommandError(f"{folder} holds something else already; name a folder that is not there yet.")
        lines = listed.read_bytes().splitlines() if listed.exists() else []
        return [msgspec.json.decode(line, type=Done) for line in lines]
    except (OSError, msgspec.DecodeError) as error:
        raise CommandError(f"{listed} cannot be used ({error}); name another folder.", 3) from None
