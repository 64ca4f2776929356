"""The feed at 39 tickers in 13 categories: frames a second without loss, and the order of a bucket's close."""

from __future__ import annotations

import time
from typing import Final

from benchmarks.feed_load import STRIKES, FeedLoad
from benchmarks.figures import Report, percentile
from config.settings import load_settings
from domain.signals.feed_rules import in_priority

RATE: Final = 8_000
SECONDS: Final = 20.0
ROUNDS: Final = 5
_MADE_UP_N: Final = 39
DRAIN_S: Final = 30.0


def tickers() -> tuple[str, ...]:
    """Return 39 tickers: those of the defaults, which lanes watch, and others."""
    own = load_settings().tickers
    return in_priority((*own, *(f"T{n:02d}" for n in range(_MADE_UP_N - len(own)))))


def run(scale: float = 1.0) -> Report:
    """Measure; `scale` below 1 shortens."""
    report = Report("full_width", "The feed at full width", "python -m benchmarks full_width")
    _sustained(report, max(1.0, SECONDS * scale))
    _closes(report, max(1, round(ROUNDS * scale)))
    return report


def _sustained(report: Report, seconds: float) -> None:
    """Send at the rate for a while, and count until all that was sent has been folded, or nothing comes any more."""
    with FeedLoad(tickers()) as load:
        load.rate(RATE)
        cpu_s, began = time.process_time(), time.perf_counter()
        time.sleep(seconds)
        in_time = len(load.timed()[0])
        took_s = time.perf_counter() - began
        cores = (time.process_time() - cpu_s) / took_s
        load.child.tell("stop")
        sent = load.report()
        until_s, taken = time.monotonic() + DRAIN_S, in_time
        while taken < sent["sent"] and time.monotonic() < until_s:
            time.sleep(0.05)
            taken = len(load.timed()[0])
        p99_ms = percentile(load.timed()[0], 99) / 1e6
        groups = load.groups
    rate = in_time / took_s
    report.table(
        f"{groups} groups, frames of {STRIKES} strikes, {seconds:.0f} s.",
        ["frames/s asked", "sent", "folded in that time", "folded in the end", "p99 ms", "cores", "generator's cores"],
        [[f"{RATE:,}", f"{sent['sent']:,.0f}", f"{in_time:,}", f"{taken:,}", f"{p99_ms:.2f}", f"{cores:.2f}",
          f"{sent['cores']:.2f}"]],
    )  # fmt: skip
    report.aim("frames/s sustained at 39 × 13", f"≥ {RATE:,}", f"{rate:,.0f}", rate >= 0.98 * RATE)
    lost = int(sent["sent"]) - taken
    report.aim("frames lost", "0", f"{lost:,}", lost == 0)


def _closes(report: Report, rounds: int) -> None:
    """Close a bucket with and without tickers that are waited for, in turns."""
    watched = load_settings().tickers[:6]
    found: dict[tuple[str, ...], list[tuple[float, float]]] = {(): [], watched: []}
    rows = 0
    for _ in range(rounds):
        for first, took in found.items():
            with FeedLoad(tickers(), first) as load:
                load.rate(4 * 500)
                time.sleep(1.5)
                load.rate(500)
                closing = load.seal()
            rows = closing.rows
            took.append((closing.first_s * 1e3, closing.all_s * 1e3))
    table = [
        [f"{len(first)} first" if first else "all at once",
         *(f"{percentile([pair[k] for pair in took], 50):.0f}" for k in (0, 1))]
        for first, took in found.items()
    ]  # fmt: skip
    report.table(
        f"A bucket of {rows} rows closed at five hubs at once, medians of {rounds}: ms until what lanes wait for is"
        " decoded, and until all is.",
        ["order", "waited for ms", "all ms"], table,
    )  # fmt: skip
    before, now = (percentile([pair[0] for pair in found[key]], 50) for key in ((), watched))
    report.aim(
        f"what {len(watched)} tickers' lanes wait for, of the whole close", "≤ half", f"{now:.0f} of {before:.0f} ms",
        now <= before / 2,
    )  # fmt: skip
