"""Features: a reading from its rows to its forces, live; a year of eight tickers in columns, beside a loop over it.

In columns: features, context, forces, the alert kinds of the lanes (`GAMMA_FLIP` on one ticker, the advisor's on seven)
as they are recorded, and every alert's outcome, in two processes. The sessions are made by seed (24 different ones, in
turns), with gaps and wild values; reading them from a disk is not in it. Live figures are CPU time, so that other work
on the machine shows in them less.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from benchmarks.feature_sessions import FULL, session_of, snapshots_of
from benchmarks.figures import SPREAD, Report, percentile, spread
from config.settings import load_settings
from domain.features.evidence import evidence_of
from domain.features.frames import NO_WINDOW, Window, appended, live, window_of
from domain.features.measures import Floats, with_measures
from domain.options.profile import PRIORS, SCALARS, VALUE_COLUMNS, Profile, Row, shape_of
from domain.signals.alerts import evaluators_of
from domain.signals.columns import Lane, Memory, TickerDay, alerts_in
from domain.signals.snapshot import Snapshot, reduced
from domain.units import Ticks, Utc
from simulation.market.profiles import CATEGORIES

TICKERS, SESSIONS, DIFFERENT, CORES = 8, 252, 3, 2
STRIKES, SPOT = 130, 600_000
LIVE_READINGS = 400
READING_AIM_MS, TOGETHER_AIM_MS, YEAR_AIM_S, MEMORY_AIM_MB = 1.0, 4.0, 20.0, 1_000.0
# So loose that made-up numbers meet them: every kind finds something on most days.
_LOOSE: dict[str, Any] = {"cooldown_ms": 900_000, "alignment_min": 0.1}
SETTINGS = load_settings(profile="real", overrides={"alert_rules": {
    "GAMMA_FLIP": {"cooldown_ms": 300_000, "hysteresis_bps": 1.0},
    "CASCADE_WATCH": {**_LOOSE, "gamma_max": 0.0, "near_moves": 1.0, "pace_bps": 3.0, "flow_z_min": 0.0},
    "CHARM_SQUEEZE": {**_LOOSE, "time_of_day_min": 0.5, "charm_min": 0.0, "shrink_max": 1.0, "near_moves": 1.0},
    "STRUCTURE_BREAK": {**_LOOSE, "beyond_bps": 1.0, "within_readings": 8, "flow_z_min": 0.0},
    "VANNA_UNWIND": {**_LOOSE, "iv_fall_min": 0.01, "vanna_min": 0.1},
}})  # fmt: skip
LANES = tuple(
    Lane(source, evaluators_of(SETTINGS.alerts[source], SETTINGS.alert_rules, SETTINGS.alert_trials))
    for source in ("gexwatch", "advisor")
)
NAMES = ("SPX", "QQQ", "SPY", "IWM", "NVDA", "TSLA", "AAPL", "META")
WATCHED = {"gexwatch": NAMES[:1], "advisor": NAMES[1:]}


def run(scale: float = 1.0) -> Report:
    """Return what was measured; `scale` below 1 shortens the year."""
    report = Report("features", "Features and forces", "python -m benchmarks features")
    _measure_live(report, max(40, round(LIVE_READINGS * min(scale, 1.0))))
    rounds = max(2 * CORES, round(SESSIONS * scale))
    seconds, cpu_s, memory_mb, alerts_n = _year(rounds)
    whole = SESSIONS / rounds
    loop_s = _loop_s() * TICKERS * SESSIONS
    report.aim(
        f"{TICKERS} tickers × {SESSIONS} sessions in columns, {CORES} processes", f"≤ {YEAR_AIM_S:.0f} s",
        f"{seconds * whole:.1f} s ({cpu_s * whole:.1f} s of CPU)", seconds * whole <= YEAR_AIM_S,
    )  # fmt: skip
    report.aim(
        "memory of both processes", f"≤ {MEMORY_AIM_MB:.0f} MB", f"{memory_mb:.0f} MB", memory_mb <= MEMORY_AIM_MB
    )
    report.table(
        f"A year ({TICKERS * SESSIONS * FULL.buckets:,} readings), CPU time",
        ["how", "s", "µs a reading"],
        [
            ["columns, with alerts and outcomes", f"{cpu_s * whole:.1f}", _us_each(cpu_s * whole)],
            ["the live path as a loop, features and forces only", f"{loop_s:.0f}", _us_each(loop_s)],
        ],
    )
    report.note(f"{alerts_n:,} alerts were followed to their outcome in {rounds} sessions of {TICKERS} tickers.")
    if rounds < SESSIONS:
        report.note(f"The year is {rounds} sessions, taken for {SESSIONS}.")
    report.note("The loop is one session of one ticker, taken for all of them.")
    return report


def _us_each(seconds: float) -> str:
    return f"{seconds * 1e6 / (TICKERS * SESSIONS * FULL.buckets):.1f}"


# -- live ---------------------------------------------------------------------------------------


def _measure_live(report: Report, readings: int) -> None:
    windows = [snapshots_of(session_of(seed))[:240] for seed in range(TICKERS)]
    rows = [_rows(seed, windows[seed][-1].end_utc) for seed in range(TICKERS)]
    held = [window_of(window) for window in windows]
    one_ns, together_ns = list[int](), list[int]()
    for _ in range(readings):
        began_ns = time.thread_time_ns()
        for ticker in range(TICKERS):
            from_ns = time.thread_time_ns()
            _read(windows[ticker], held[ticker], rows[ticker])
            one_ns.append(time.thread_time_ns() - from_ns)
        together_ns.append(time.thread_time_ns() - began_ns)
    report.aim(
        "one reading, from rows to forces, p50", f"≤ {READING_AIM_MS:g} ms", f"{percentile(one_ns, 50) / 1e6:.2f} ms",
        percentile(one_ns, 50) / 1e6 <= READING_AIM_MS,
    )  # fmt: skip
    report.aim(
        f"{TICKERS} tickers that close together, p50", f"≤ {TOGETHER_AIM_MS:g} ms",
        f"{percentile(together_ns, 50) / 1e6:.2f} ms", percentile(together_ns, 50) / 1e6 <= TOGETHER_AIM_MS,
    )  # fmt: skip
    report.table(
        f"Live, CPU time: {len(CATEGORIES)} rows of {STRIKES} strikes, a window of 240 readings",
        ["what", *SPREAD],
        [["one reading", *spread(one_ns)], [f"{TICKERS} together", *spread(together_ns)]],
    )


def _read(window: tuple[Snapshot, ...], held: Window, rows: tuple[Row, ...]) -> None:
    """Do what the reading's actor does for the evidence of a bucket."""
    bucket_utc = window[-1].end_utc
    snapshot = with_measures(reduced(bucket_utc, rows), rows, FULL)
    evidence_of(live(appended(held, window[-1].bucket_utc, snapshot), bucket_utc, FULL))


def _rows(seed: int, bucket_utc: Utc) -> tuple[Row, ...]:
    rng = np.random.default_rng(seed)
    strikes = (SPOT + 500 * (np.arange(STRIKES) - STRIKES // 2)).astype(np.int32)
    rows = []
    for category in CATEGORIES:
        shape = shape_of(category)
        n = len(strikes) if VALUE_COLUMNS[shape] else 0
        values = rng.integers(-90_000, 90_000, (n, len(VALUE_COLUMNS[shape]))).astype(np.int32)
        if category.startswith("state") and "gex" not in category:
            values[:, :2] = rng.integers(150, 300, (n, 2))
        scalars = tuple(int(v) for v in rng.integers(SPOT - 2_000, SPOT + 2_000, len(SCALARS[shape])))
        priors = np.zeros((n, PRIORS[shape]), np.int32)
        profile = Profile("SPX", category, bucket_utc, Ticks(SPOT), scalars, strikes[:n], values, priors)
        rows.append(Row(profile, "hub", 20, bucket_utc, bucket_utc))
    return tuple(rows)


# -- a year -------------------------------------------------------------------------------------


@cache
def _sessions(turn: int) -> tuple[Floats, ...]:
    return tuple(session_of(TICKERS * turn + ticker) for ticker in range(TICKERS))


def _year(rounds: int) -> tuple[float, float, float, int]:
    """Return wall-clock and CPU seconds, the processes' memory in MB, and how many alerts were followed."""
    for turn in range(DIFFERENT):
        _sessions(turn)  # made before the processes, which share them
    with multiprocessing.get_context("fork").Pool(CORES) as pool:
        pool.map(_one_session, range(CORES))  # both are up
        began = time.perf_counter()
        told = pool.map(_one_session, range(rounds), chunksize=1)
        seconds = time.perf_counter() - began
    by_process: dict[int, float] = {}
    for process, _, memory_mb, _ in told:
        by_process[process] = max(by_process.get(process, 0.0), memory_mb)
    return seconds, sum(cpu_s for _, cpu_s, _, _ in told), sum(by_process.values()), sum(n for *_, n in told)


def _one_session(turn: int) -> tuple[int, float, float, int]:
    """Evaluate one session of all tickers; return (process, CPU seconds, its memory in MB, alerts)."""
    began = time.process_time()
    sessions = _sessions(turn % DIFFERENT)
    days = {name: TickerDay.of(name, FULL, values) for name, values in zip(NAMES, sessions, strict=True)}
    alerts_n = 0
    for lane in LANES:
        watched = [days[name] for name in WATCHED[lane.source]]
        alerts_n += len(alerts_in(watched, lane, SETTINGS.day, Memory()))
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    return multiprocessing.current_process().pid or 0, time.process_time() - began, memory_mb, alerts_n


def _loop_s() -> float:
    """Return the CPU seconds of the live path over one session of one ticker, a reading after the other."""
    snapshots: tuple[Snapshot, ...] = snapshots_of(_sessions(0)[0])
    window, last_utc = NO_WINDOW, None

    def play() -> None:
        nonlocal window, last_utc
        for snapshot in snapshots:
            window, last_utc = appended(window, last_utc, snapshot), snapshot.bucket_utc
            evidence_of(live(window, last_utc, FULL))

    return _cpu_s(play)


def _cpu_s(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
