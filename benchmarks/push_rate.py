"""What a page is sent while a demo day is played: bytes a second by kind of message, of one page that reads.

The day goes as fast as it does for whoever runs the demo: readings, alerts, positions and prices come as they come
there. A busy machine plays it slower, and sends less a second.
"""

from __future__ import annotations

import time
import urllib.request
from collections import Counter

from benchmarks.figures import Report
from commands.screenshots import demo_day

SECONDS = 240.0  # of the day's beginning, in which most is traded
WINDOW_S = 10.0
LIMIT_KB_S = 10.0
SLOWER = "A busy machine plays the day slower and sends less a second: here that makes a lower bound."
_NEWS = b"event: whole\n"  # what comes before it is the state as the page was opened


def run(scale: float = 1.0) -> Report:
    """Measure; `scale` below 1 shortens."""
    report = Report("push_rate", "What a page of the demo day is sent", "python -m benchmarks push_rate")
    with demo_day() as url:
        sizes, windows, took_s = _followed(url, SECONDS * scale)
    total = sum(sizes.values())
    report.table(
        "One page that follows SPX, by kind of message",
        ["kind", "kB", "kB/s", "share"],
        [
            [kind, f"{size / 1000:.1f}", f"{size / 1000 / took_s:.2f}", f"{size / total:.0%}"]
            for kind, size in sizes.most_common()
        ],
    )
    rate, worst = total / 1000 / took_s, max(windows.values(), default=0) / 1000 / WINDOW_S
    report.aim("push to a page", f"<= {LIMIT_KB_S:.0f} kB/s", f"{rate:.1f} kB/s", rate <= LIMIT_KB_S)
    report.note(f"{took_s:.0f} s of the day's beginning; the most in {WINDOW_S:.0f} s was {worst:.1f} kB/s.")
    report.note(SLOWER)
    return report


def _followed(url: str, seconds: float) -> tuple[Counter[str], Counter[int], float]:
    """Return the bytes of a page's stream after its first state, by kind and by window, and the seconds followed."""
    sizes: Counter[str] = Counter()
    windows: Counter[int] = Counter()
    with urllib.request.urlopen(f"{url}/events?ticker=SPX", timeout=60) as stream:
        while stream.readline() != _NEWS:
            pass
        began_s, kind = time.monotonic(), "whole"
        while (passed_s := time.monotonic() - began_s) < seconds:
            line = stream.readline()
            if line.startswith(b"event: "):
                kind = line[7:].decode().strip().partition(":")[0]
            sizes[kind] += len(line)
            windows[int(passed_s / WINDOW_S)] += len(line)
    return sizes, windows, passed_s
