"""`main.py simulate`: whole days on the stepped runtime and the in-process exchange, invariants checked."""

from __future__ import annotations

import gc
import tempfile
import time as real_time
from argparse import Namespace
from pathlib import Path

import orjson
from rich.console import Console

from commands.cli import CommandError
from commands.folder import settings_of
from domain.instants import MINUTE, exchange_clock
from simulation.day import SteppedDay, invariants, stepped_day

_SHOWN_EVERY_NS = 10 * MINUTE


def act(arguments: Namespace) -> int:
    """Run the days one after another; the first broken invariant ends it with the command that repeats it."""
    for seed in range(arguments.seed, arguments.seed + arguments.days):
        began = real_time.perf_counter()
        settings = settings_of(arguments, profile="demo", demo__seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            day = stepped_day(settings, Path(folder))
            _run_with_progress(day, seed)
            broken = invariants(day)
            row = {
                "seed": seed, "messages": day.runtime.steps, "seconds": round(real_time.perf_counter() - began, 2),
                "trace": day.trace_hash, "executions": len(day.exchange.executions()), "broken": broken,
            }  # fmt: skip
            day.runtime.close()
        del day
        gc.collect()  # a day is a knot of references; the next one needs the room
        print(orjson.dumps(row).decode() if arguments.json else _line(row), flush=True)
        if broken:
            raise CommandError(
                f"Seed {seed} broke: {'; '.join(broken)}. Repeat it: main.py simulate --seed {seed} --days 1", 1
            )
    return 0


def _run_with_progress(day: SteppedDay, seed: int) -> None:
    """Run the day, showing the market's clock where somebody looks on."""
    with Console(stderr=True).status("") as shown:
        while day.runtime.clock.now_utc() < day.end_utc:
            shown.update(f"seed {seed}: {exchange_clock(day.runtime.clock.now_utc())}")
            day.run(min(day.end_utc, day.runtime.clock.now_utc() + _SHOWN_EVERY_NS))


def _line(row: dict[str, object]) -> str:
    shown = "  ".join(f"{name} {value}" for name, value in row.items() if name != "broken")
    return f"{shown}  {'BROKEN' if row['broken'] else 'no invariant broken'}"
