"""Exit path: from a stop being crossed at the gateway to the exit order's bytes there, beside 5,000 ticks a second.

One trial: a position is entered as on any day, the gateway writes the underlying's tick beyond its stop, and the next
order that comes is the exit. Both instants are the gateway's process's own; what lies between is the real market-data
port, the trace, the actors and the real order port.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from benchmarks.figures import SPREAD, Report, percentile, spread, work_folder
from benchmarks.order_path import DOWN, UP, close_one
from benchmarks.rig import Rig
from supervision.trace import lines_of

TICKS_A_SECOND = 5_000
RATES = (500, TICKS_A_SECOND)
ROUNDS = 6
TRIALS = 16  # a round and rate
TRIAL_S = 15.0
START_S = 5.0  # a second print confirms the first; requests go out at the pace that IB allows
BEYOND = 1.1  # times the stop's distance
PARTS = (
    "market-data port, until it tells",
    "quotes, position",
    "the exit's record (with its commit)",
    "position, hop to ibkr",
    "ibkr",
    "order port, socket",
)
# What an exit order's envelope was caused by, newest first; each is looked for in the one before.
CAUSES = (
    "orders.SubmitOrder", "orders.ExitIntentRecorded", "orders.RecordExitIntent", "market.QuoteChanged",
    "market.QuotesArrived",
)  # fmt: skip


@dataclass
class Exit:
    """One exit: when its stop was crossed, and when its bytes came (real ns)."""

    crossed_ns: int
    arrived_ns: int


@dataclass
class Measured:
    """All trials by rate; `lost` says why one brought no exit."""

    exits: dict[int, list[Exit]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


def run(scale: float = 1.0) -> Report:
    """Measure; `scale` below 1 shortens."""
    report = Report("exit_path", "Exit path: stop crossed to bytes at the gateway", "python -m benchmarks exit_path")
    measured = Measured()
    with work_folder() as folder:
        rig = Rig(folder, has_quotes_port=True, gateway="exits_child")
        try:
            start(rig, RATES[0])
            tickers = streamed(rig)
            for n in range(max(1, round(ROUNDS * scale))):
                for rate in RATES if n % 2 == 0 else reversed(RATES):
                    rig.gateway.tell(f"ticks {rate}")
                    for i in range(TRIALS):
                        trial(rig, tickers[i % len(tickers)], rate, measured)
        finally:
            rig.close()
        parts = _parts(rig, folder / "trace.jsonl", measured)
    _write(report, measured, parts)
    return report


def start(rig: Rig, rate: int) -> None:
    """Let the market tick, and let every lane find its side."""
    rig.gateway.tell(f"ticks {rate}")
    for ticker in rig.settings.tickers:
        close_one(rig, ticker, DOWN)
    time.sleep(START_S)


def streamed(rig: Rig) -> list[str]:
    """Return the tickers that the line budget has room for.

    The others' lines are asked for with each signal, at the pace that IB allows: not two signals a second.
    """
    without = rig.runtime.cells[f"quotes:{rig.settings.desk}"].state.without
    return [ticker for ticker in rig.settings.tickers if ticker not in without]


def trial(rig: Rig, ticker: str, rate: int, measured: Measured) -> None:
    """Enter, cross the stop, and wait for the exit and for the end of the position."""
    rules = rig.settings.ticker_rules[ticker]
    rig.gateway.drain()
    close_one(rig, ticker, DOWN)
    close_one(rig, ticker, UP)
    try:
        rig.wait(lambda: any(not holding.is_pending for holding in rig.view().holdings), TRIAL_S)
    except RuntimeError:
        lane = rig.runtime.cells[f"lane:gexwatch:{ticker}"].state
        measured.lost.append(f"{ticker} was not entered: {lane.last_answer}")
        rig.wait(rig.is_idle, TRIAL_S)
        return
    time.sleep(random.uniform(0.1, 0.3))  # anywhere between two batches
    rig.gateway.drain()
    spot_ticks = rig.world.spot(ticker).price_ticks
    away = rules.underlying_stop_ticks or round(spot_ticks * (rules.underlying_stop_bps or 0) / 1e4)
    rig.gateway.tell(f"cross {ticker} {-round(away * BEYOND)}")
    try:
        told = rig.gateway.next(TRIAL_S)
        measured.exits.setdefault(rate, []).append(Exit(int(told["crossed_at_ns"]), int(told["exit_at_ns"])))
    except RuntimeError:
        measured.lost.append(f"{ticker} was not left")
    rig.wait(rig.is_idle, TRIAL_S)
    rig.gateway.tell("still")
    time.sleep(0.15)  # the underlying prints at its old price again


def _parts(rig: Rig, trace: Path, measured: Measured) -> dict[int, list[list[int]]]:
    """Return for each exit what its way was made of, ns, in the order of PARTS."""
    to_real = time.time_ns() - rig.clock.now_utc()
    envelopes: dict[int, dict[str, Any]] = {}
    ways: list[list[int]] = []
    for line in lines_of(trace):
        record = orjson.loads(line)
        if record["kind"] != "envelope":
            continue
        tag = record["message"]["type"]
        if tag in CAUSES:
            envelopes[record["seq"]] = record
        elif tag == "broker.PlaceOrder" and record["to"].startswith("port:"):
            way = _way(record, envelopes)
            if way is not None:
                ways.append([at + to_real for at in way])
    found: dict[int, list[list[int]]] = {}
    for rate, exits in measured.exits.items():
        for one in exits:
            way = next((w for w in ways if one.crossed_ns <= w[0] and w[-1] <= one.arrived_ns), None)
            if way is not None:
                ends = (one.crossed_ns, *way, one.arrived_ns)
                found.setdefault(rate, []).append([b - a for a, b in pairwise(ends)])
    return found


def _way(placed: dict[str, Any], envelopes: dict[int, dict[str, Any]]) -> list[int] | None:
    """Return when the port told, and each dequeue from there to the port's (market ns); `None` for no such exit."""
    ends, here = [placed["at_utc"]], placed
    for tag in CAUSES:
        cause = envelopes.get(here["cause_seq"])
        if cause is None or cause["message"]["type"] != tag:
            return None
        ends.append(cause["at_utc"])
        here = cause
    told, _, recording, recorded, submitted, at_port = here["sent_utc"], *ends[::-1][1:]
    return [told, recording, recorded, submitted, at_port]


def _write(report: Report, measured: Measured, parts: dict[int, list[list[int]]]) -> None:
    never = round(TRIAL_S * 1e9)
    took = {
        rate: [one.arrived_ns - one.crossed_ns for one in measured.exits.get(rate, [])] for rate in RATES
    }  # fmt: skip
    aimed = took[TICKS_A_SECOND] + [never] * len(measured.lost)
    p99 = percentile(aimed, 99) / 1e6
    n = sum(map(len, took.values())) + len(measured.lost)
    report.aim(f"stop crossed to exit bytes, {TICKS_A_SECOND:,} ticks/s: p99", "≤ 5 ms", f"{p99:.2f} ms", p99 <= 5)
    report.aim("trials without an exit", "0", f"{len(measured.lost)} of {n:,}", not measured.lost)
    report.table(
        "From the gateway's write of the tick that crosses a stop to the first bytes of the exit order there.",
        ["ticks/s", "n", *SPREAD],
        [[f"{rate:,}", len(found), *spread(found)] for rate, found in took.items()],
    )
    report.table(
        "What it is made of, p50 / p99 ms.",
        ["part", *(f"{rate:,} ticks/s" for rate in RATES)],
        [
            [name, *(_pair([way[i] for way in parts.get(rate, [])]) for rate in RATES)]
            for i, name in enumerate(PARTS)
        ],
    )  # fmt: skip
    if measured.lost:
        report.note(f"{len(measured.lost)} trials brought no exit: {'; '.join(sorted(set(measured.lost))[:4])}.")
    report.note("The gateway's process writes the ticks; it and the supervisor share the machine's cores.")


def _pair(values: list[int]) -> str:
    return f"{percentile(values, 50) / 1e6:.2f} / {percentile(values, 99) / 1e6:.2f}"
