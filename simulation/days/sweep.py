"""Thousands of days over several processes: resumable, with progress, each finding with the command that repeats it."""

from __future__ import annotations

import gc
import multiprocessing
import queue
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from config.settings import Settings, from_json
from simulation.days.children import deaf_to_ctrl_c
from simulation.days.one_day import DayResult, Days
from simulation.days.plan import market_seed_of
from simulation.days.results import Results, SweepError

TRACED_MAX: Final = 20  # findings of which the trace is kept
_WAIT_S: Final = 0.5

Progress = Callable[[DayResult, int, int], None]


def chunks_of(seeds: Iterable[int]) -> Iterator[tuple[int, ...]]:
    """Group seeds by their market, in order."""
    chunk: list[int] = []
    for seed in seeds:
        if chunk and market_seed_of(chunk[0]) != market_seed_of(seed):
            yield tuple(chunk)
            chunk = []
        chunk.append(seed)
    if chunk:
        yield tuple(chunk)


def _work(raw: bytes, tasks: Any, results: Any, parity_every: int, traces: str | None) -> None:
    """Run chunks of seeds until there are none (a process of its own)."""
    settings, parent = from_json(raw), multiprocessing.parent_process()
    with tempfile.TemporaryDirectory(prefix="zerohour-days-", dir=quick_folder()) as name:
        days, traced = Days(settings, Path(name), parity_every), 0
        gc.freeze()  # the modules: no collection of a day's need look at them
        with suppress(KeyboardInterrupt):
            while True:
                chunk = tasks.get()
                if chunk is None:
                    break
                for seed in chunk:
                    if parent is not None and not parent.is_alive():
                        return  # nobody waits for it any more
                    result = days.run(seed)
                    if result.broken and traces is not None and traced < TRACED_MAX:
                        traced += 1
                        days.trace(seed, Path(traces) / f"seed-{seed}")
                    results.put(result)
        results.put(None)


def quick_folder() -> str | None:
    """Return a folder in memory for ledgers that nobody keeps; `None`: wherever temporary files go."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def sweep(
    settings: Settings, seeds: Iterable[int], results: Results[DayResult], *, workers: int, traces: Path | None,
    progress: Progress, parity_every: int,
) -> None:  # fmt: skip
    """Run every seed that the results lack; results come in as they are made.

    Raises:
        SweepError: a worker died.
    """
    wanted = [seed for seed in seeds if seed not in results.done]
    chunks = list(chunks_of(wanted))
    count = max(1, min(workers, len(chunks)))
    context = multiprocessing.get_context("spawn")
    tasks: Any = context.Queue()
    found: Any = context.Queue(maxsize=1_000)
    for chunk in (*chunks, *[None] * count):
        tasks.put(chunk)
    arguments = (settings.to_json(), tasks, found, parity_every, None if traces is None else str(traces))
    processes = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(count)]
    with deaf_to_ctrl_c():
        for process in processes:
            process.start()
    try:
        _collect(processes, found, results, progress, len(wanted))
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
            process.join()


def _collect(processes: list[Any], found: Any, results: Results[DayResult], progress: Progress, wanted: int) -> None:
    done = ended = 0
    while ended < len(processes):
        try:
            result = found.get(timeout=_WAIT_S)
        except queue.Empty:
            dead = [process.exitcode for process in processes if process.exitcode not in (None, 0)]
            if dead:
                raise SweepError(f"A worker died (exit code {dead[0]}); run the same command to go on.") from None
            continue
        if result is None:
            ended += 1
            continue
        results.add(result)
        done += 1
        progress(result, done, wanted)


class Pace:
    """How fast a sweep goes, for people."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.cpu_s = 0.0
        self.days = 0

    def line(self, result: DayResult, done: int, wanted: int, broken: int) -> str:
        """Return one line: days done, pace, time left, findings."""
        self.cpu_s += result.cpu_s
        self.days += 1
        spent = time.monotonic() - self._began
        left = spent / done * (wanted - done)
        return (
            f"{done}/{wanted} days, {self.cpu_s / self.days:.2f} CPU s a day, {done / spent:.2f} days a second,"
            f" {left / 60:.1f} min left, {broken} broken"
        )
