"""Memory of the whole demo supervisor: at the open, and after an hour of market time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import time as clock_time
from pathlib import Path

import psutil

from benchmarks.figures import ROOT, Report, work_folder
from commands.folder import DataFolder
from config.settings import load_settings
from domain.instants import MINUTE, at_exchange, exchange_clock
from supervision.clock import MarketClock

AIM_MB = 300
RATE = 60.0
START = "09:20:00"
START_S = 60.0


@dataclass
class Reading:
    """What one process held at an instant, MiB."""

    rss: float
    pss: float
    threads: int


def run(scale: float = 1.0) -> Report:
    """Measure; `scale` below 1 shortens the hour."""
    report = Report("memory", "Memory of the demo", "python -m benchmarks memory")
    demo = load_settings(profile="demo").demo
    open_utc = at_exchange(demo.session, clock_time(9, 30))
    instants = [open_utc + round(minutes * MINUTE * scale) for minutes in (0.5, 30, 60)]
    rows, supervisor = [], []
    with work_folder() as root:
        folder = DataFolder(root)
        environment = os.environ | {"ZEROHOUR_DEMO__START_CLOCK": START}
        began = subprocess.Popen(
            [sys.executable, "main.py", "--data", str(root), "run", "--profile", "demo", "--rate", str(RATE)],
            cwd=ROOT, env=environment, stdout=(root / "out").open("wb"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            clock = _clock_of(folder, began, root)
            for at_utc in instants:
                clock.wait_until(at_utc)
                if began.poll() is not None:
                    raise RuntimeError(f"the supervisor ended: {(root / 'out').read_text()[-500:]}")
                readings = {"supervisor": read_process(began.pid)}
                for what in ("gateway", "hubs"):
                    sim = folder.sim(what)
                    if sim is not None:
                        readings[f"simulated {what}"] = read_process(sim.pid)
                supervisor.append(readings["supervisor"])
                rows += [
                    [exchange_clock(clock.now_utc()), name, f"{r.rss:.0f}", f"{r.pss:.0f}", r.threads]
                    for name, r in readings.items()
                ]
            cpu = psutil.Process(began.pid).cpu_times()
            used_s, lived_s = cpu.user + cpu.system, time.time() - psutil.Process(began.pid).create_time()
        finally:
            _end(began, folder)
    most = max(r.rss for r in supervisor)
    report.aim(
        "the demo supervisor's memory (RSS)", f"≤ {AIM_MB} MB", f"{most * 1.048576:.0f} MB", most * 1.048576 <= AIM_MB
    )
    report.table(
        f"Resident and proportional sizes at rate {RATE:g}, MiB (1 MiB = 1.05 MB); start at {START} New York.",
        ["New York", "process", "RSS MiB", "PSS MiB", "threads"],
        rows,
    )
    report.note(
        f"At rate {RATE:g} an hour is a minute: its buckets, orders and trace are there, the frames of an hour are not "
        "(a group's are at least 200 real ms apart), and neither is what an hour of real time might leak."
    )
    report.note(f"The supervisor used {used_s / lived_s:.2f} cores over its {lived_s:.0f} s at rate {RATE:g}.")
    return report


def read_process(pid: int) -> Reading:
    """Read a process's memory."""
    process = psutil.Process(pid)
    full = process.memory_full_info()
    return Reading(full.rss / 2**20, full.pss / 2**20, process.num_threads())


def _clock_of(folder: DataFolder, began: subprocess.Popen[bytes], root: Path) -> MarketClock:
    """Wait until the day runs: clock written, servers up, control line open."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if began.poll() is not None:
            raise RuntimeError(f"the supervisor ended: {(root / 'out').read_text()[-500:]}")
        if folder.clock.exists() and folder.sim("gateway") and folder.sim("hubs"):
            return MarketClock.load(folder.clock)
        time.sleep(0.05)
    raise RuntimeError(f"the demo did not start within {START_S:g} s")


def _end(began: subprocess.Popen[bytes], folder: DataFolder) -> None:
    """Stop the supervisor in good order, then the simulated servers that it leaves standing."""
    began.send_signal(signal.SIGTERM)
    try:
        began.wait(20)
    except subprocess.TimeoutExpired:
        began.kill()
        began.wait()
    for what in ("gateway", "hubs"):
        sim = folder.sim(what)
        if sim is not None:
            process = psutil.Process(sim.pid)
            process.terminate()
            try:
                process.wait(5)
            except psutil.TimeoutExpired:
                process.kill()
