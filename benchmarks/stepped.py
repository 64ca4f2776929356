"""The stepped runtime: messages a second bare and with everything, and a whole simulated day with its profile."""

from __future__ import annotations

import cProfile
import gc
import pstats
import time
from collections import deque
from pathlib import Path
from typing import Any

from benchmarks.figures import ROOT, Report, percentile, work_folder
from benchmarks.hops import BALL, Player, tree_of
from config.settings import load_settings
from domain.units import Utc
from messages.base import Command
from simulation.day import SteppedDay, invariants, stepped_day
from supervision.effects import Tell
from supervision.stepped import SteppedRuntime, VirtualClock
from supervision.trace import MemoryTrace, NoTrace
from supervision.turn import Turn

ROUNDS = 5
BALLS = 60_000
BARE_AIM, TRACED_AIM = 900_000, 350_000
TOP = 12
PROFILED_SHARE = 0.25


def run(scale: float = 1.0) -> Report:
    """Return what was measured; `scale` below 1 shortens (the day: to a part of it)."""
    report = Report("stepped", "The stepped runtime", "python -m benchmarks stepped")
    _messages(report, max(1_000, round(BALLS * scale)))
    with work_folder() as folder:
        _day(report, folder, scale)
    return report


def _messages(report: Report, balls: int) -> None:
    rates: dict[str, list[float]] = {"floor": [], "bare": [], "traced": []}
    for _ in range(ROUNDS):
        rates["floor"].append(_queue_alone(balls))
        for name in ("bare", "traced"):
            clock = VirtualClock(Utc(0))
            trace = NoTrace(clock) if name == "bare" else MemoryTrace(clock)
            runtime = SteppedRuntime(tree_of(balls), clock, trace=trace)
            runtime.start_tree()
            runtime.run_until(Utc(1))
            runtime.post("a:1", BALL, "edge:bench")
            before = runtime.steps
            gc.collect()
            began = time.perf_counter()
            runtime.run_until(Utc(2))
            rates[name].append((runtime.steps - before) / (time.perf_counter() - began))
            runtime.close()
    medians = {name: percentile(values, 50) for name, values in rates.items()}
    report.aim("messages/s, trace off", f"≥ {BARE_AIM:,}", f"{medians['bare']:,.0f}", medians["bare"] >= BARE_AIM)
    report.aim(
        "messages/s with envelope, digest and trace in memory", f"≥ {TRACED_AIM:,}", f"{medians['traced']:,.0f}",
        medians["traced"] >= TRACED_AIM,
    )  # fmt: skip
    names = {
        "floor": "floor: a bare queue loop: pop, copy the state, `decide`, append; no addresses, no records",
        "bare": "stepped runtime, trace off (then nothing is encoded or digested)",
        "traced": "stepped runtime, trace in memory",
    }
    report.table(
        f"Two toy actors that return a ball {balls:,} times; medians of {ROUNDS} rounds in turns.",
        ["what", "messages/s", "slowest", "fastest", "µs/message", "of the floor"],
        [
            [names[k], f"{medians[k]:,.0f}", f"{min(v):,.0f}", f"{max(v):,.0f}", f"{1e6 / medians[k]:.2f}",
             f"{medians[k] / medians['floor']:.2f}"]
            for k, v in rates.items()
        ],
    )  # fmt: skip


def _queue_alone(balls: int) -> float:
    """Return the messages a second of the least that any loop over mailboxes does."""
    players = {"a:1": Player("a:1", "b:1", balls), "b:1": Player("b:1", "a:1", balls)}
    states: dict[str, Any] = {name: player.initial() for name, player in players.items()}
    queue: deque[tuple[str, Command]] = deque((("a:1", BALL),))
    began, n = time.perf_counter(), 0
    while queue:
        name, ball = queue.popleft()
        turn = Turn(name, states[name].__copy__(), Utc(0))
        players[name].decide(turn, ball)
        states[name] = turn.state
        for effect in turn.effects:
            if type(effect) is Tell:
                queue.append((effect.to, BALL))
        n += 1
    return n / (time.perf_counter() - began)


def _day(report: Report, folder: Path, scale: float) -> None:
    took_s, making_s, day = _run_day(folder / "timed", scale, None)
    broken = invariants(day) if scale >= 1 else []
    report.aim(
        "a whole simulated day", "reported",
        f"{took_s:.1f} s ({day.runtime.steps:,} messages, {len(day.exchange.executions())} executions)"
        + ("" if scale >= 1 else f"; {scale:.0%} of it")
        + (f"; broken: {'; '.join(broken)}" if broken else ""),
        None,
    )  # fmt: skip
    report.note(f"Making the market and the tree took {making_s:.1f} s more.")
    profile = cProfile.Profile()
    profiled_s, _, part = _run_day(folder / "profiled", PROFILED_SHARE * scale, profile)
    report.note(
        f"The profiled part is the first {PROFILED_SHARE:.0%} of the day: {part.runtime.steps:,} messages in "
        f"{profiled_s:.1f} s under cProfile."
    )
    _profile(report, profile)


def _run_day(folder: Path, share: float, profile: cProfile.Profile | None) -> tuple[float, float, SteppedDay]:
    """Run a share of a day; return the seconds of the run and of making it."""
    began = time.perf_counter()
    day = stepped_day(load_settings(profile="demo"), folder)
    start_utc = day.runtime.clock.now_utc()
    until_utc = start_utc + round((day.end_utc - start_utc) * min(1.0, share))
    made = time.perf_counter()
    if profile is not None:
        profile.enable()
    day.run(until_utc)
    if profile is not None:
        profile.disable()
    took_s = time.perf_counter() - made
    day.runtime.close()
    return took_s, made - began, day


def _profile(report: Report, profile: cProfile.Profile) -> None:
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    total = sum(own for _, _, own, _, _ in stats.values())
    rooms: dict[str, float] = {}
    rows: list[list[str]] = []
    for (file, line, function), (_, calls, own, cumulative, _) in sorted(stats.items(), key=lambda i: -i[1][2]):
        where = _short(file)
        room = where.partition("/")[0] if "/" in where else "built in, standard library"
        rooms[room] = rooms.get(room, 0.0) + own
        if len(rows) < TOP:
            place = f"{where}:{line}" if line else "built in"
            rows.append([f"`{function}`", place, f"{calls:,}", f"{own:.2f}", f"{own / total:.0%}", f"{cumulative:.2f}"])
    report.table(
        f"Where a simulated day goes: the {TOP} functions with the most time of their own.",
        ["function", "where", "calls", "own s", "share", "with callees s"],
        rows,
    )
    report.table(
        "The same by folder or library.",
        ["where", "own s", "share"],
        [
            [room, f"{s:.2f}", f"{s / total:.0%}"]
            for room, s in sorted(rooms.items(), key=lambda i: -i[1])
            if s > 0.01 * total
        ],
    )


def _short(file: str) -> str:
    """Return a path shortened to what tells where it is."""
    where = Path(file)
    if "site-packages" in where.parts:
        return "/".join(where.parts[where.parts.index("site-packages") + 1 :])
    return where.relative_to(ROOT).as_posix() if where.is_relative_to(ROOT) else where.name
