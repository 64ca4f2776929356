"""Simulated days: faulty days by event, beside the same days stepped every second and the full chain, in one run."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.figures import Report
from config.settings import load_settings
from domain.instants import SECOND
from domain.units import Utc
from simulation.day import stepped_day
from simulation.days.one_day import Days, day_settings, variants_of
from simulation.days.plan import plan_day
from simulation.days.sweep import quick_folder
from simulation.days.world import World, executions_hash, fresh_ledgers, make_template

AIM_S = 0.5
DAYS = 20  # of one market, each run twice: with its columns to be made, and with them
COMPARED = 2
CHAIN_S = 900  # of the full chain: hubs, readings, warehouse and trace; a whole day of it takes minutes
SESSION_S = 23_400


def run(scale: float = 1.0) -> Report:
    """Measure; `scale` below 1 shortens."""
    report = Report("simulated_days", "Simulated days with faults", "python -m benchmarks simulated_days")
    count, compared = max(2, round(DAYS * scale)), max(1, round(COMPARED * scale))
    with tempfile.TemporaryDirectory(dir=quick_folder()) as name:
        days = Days(day_settings(), Path(name), parity_every=0)
        cold = [days.run(seed) for seed in range(count)]
        warm = sorted(days.run(seed).cpu_s for seed in range(count))
        dense_s, same = _dense(Path(name), compared)
        chain_s = _full_chain(Path(name) / "chain", max(120, round(CHAIN_S * scale)))
    mean = sum(warm) / count
    rows = [
        ("a faulty day by event, its market's columns made", mean, f"p50 {warm[count // 2]:.2f}, most {warm[-1]:.2f}"),
        ("the same, columns made as they are asked for", sum(r.cpu_s for r in cold) / count, ""),
        ("a faulty day stepped every second", dense_s, f"{same} of {compared} with the same executions"),
        ("a day of the full chain without faults (hubs, readings, warehouse, trace)", chain_s, "from a part of it"),
    ]
    report.table(
        f"CPU seconds of one core a session, {count} days; "
        f"{sum(r.messages for r in cold) / count:,.0f} messages and {sum(r.executions for r in cold) / count:.0f} "
        "executions a day.",
        ["what", "CPU s", "× the first", ""],
        [[what, f"{seconds:.2f}", f"{seconds / mean:.1f}", more] for what, seconds, more in rows],
    )
    report.aim("a simulated day with faults, CPU of one core", f"≤ {AIM_S} s", f"{mean:.2f} s", mean <= AIM_S)
    report.aim("executions as when stepped every second", "all", f"{same} of {compared}", same == compared)
    report.note("CPU time of the process; other work on the machine still makes it longer (shared caches and cores).")
    return report


def _dense(folder: Path, count: int) -> tuple[float, int]:
    """Return the CPU seconds of a day stepped every second, and how many had the executions of the one by event."""
    settings, template = day_settings(), folder / "template"
    variants = variants_of(settings)
    make_template(settings, template, Utc(0))
    spent, same = 0.0, 0
    for seed in range(count):
        hashes = []
        for is_dense in (False, True):
            fresh_ledgers(template, folder / "ledgers")
            plan = plan_day(seed, settings, is_comparable=True)
            world = World(variants[plan.variant], plan, folder / "ledgers", is_dense=is_dense)
            began = time.process_time()
            world.run()
            spent += (time.process_time() - began) * is_dense
            hashes.append(executions_hash(world.scene.exchange))
        same += hashes[0] == hashes[1]
    return spent / count, same


def _full_chain(folder: Path, seconds: int) -> float:
    """Return the CPU seconds of a session of the whole tree, from so many seconds of the morning."""
    day = stepped_day(load_settings(profile="demo", overrides={"demo": {"start_clock": "09:38:00"}}), folder)
    began = time.process_time()
    day.run(Utc(day.runtime.clock.now_utc() + seconds * SECOND))
    spent = time.process_time() - began
    day.runtime.close()
    return spent * SESSION_S / seconds
