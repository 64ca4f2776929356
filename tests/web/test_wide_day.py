"""A day of 39 tickers on the page: it stays current, any ticker is a click away, and what that costs is told.

The figures (frame times, long tasks, memory of the page, memory and CPU of the process) are printed with `-s` and kept
as properties of the test; no time is asserted. `benchmarks/first_paint.py` has the page's start.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from playwright.sync_api import Browser

from config.settings import load_settings
from domain.instants import BUCKET_NS, SECOND
from domain.instruments import Spot
from domain.units import Ticks, Utc
from messages import market
from tests.testkit import web_desk as desk
from tests.testkit.browser import Watched, chromium
from tests.testkit.supervisor_child import eventually
from tests.testkit.web_child import Desk, serving, shown

TICKERS = ("SPX", "SPY", "QQQ", *(f"T{n:02}" for n in range(36)))
STORED, LIVE = 390, 5  # buckets before the page looks, and while it does
SPOTS_A_BUCKET = 10
WATCH = """() => {
  const seen = { frames: [], long: [] }
  window.seen = seen
  let last = performance.now()
  const frame = (now) => {
    seen.frames.push(now - last)
    last = now
    requestAnimationFrame(frame)
  }
  requestAnimationFrame(frame)
  const noted = (list) => seen.long.push(...list.getEntries().map((e) => e.duration))
  new PerformanceObserver(noted).observe({ type: 'longtask' })
}"""
TELL = """() => {
  const sorted = [...window.seen.frames].sort((a, b) => a - b)
  const at = (share) => Math.round(sorted[Math.floor(share * (sorted.length - 1))] * 10) / 10
  return {
    frames: sorted.length, p50_ms: at(0.5), p99_ms: at(0.99), worst_ms: at(1), long_tasks: window.seen.long.length,
    longest_task_ms: Math.round(Math.max(0, ...window.seen.long)),
    page_mb: Math.round(performance.memory.usedJSHeapSize / 1e5) / 10,
  }
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def at(n: int) -> Utc:
    """The end of the n-th bucket."""
    return Utc(desk.OPEN + (n + 1) * BUCKET_NS)


def live_on(made: Desk, n: int) -> None:
    """Store a bucket of all tickers and push what a supervisor pushes with it: prices each second, readings of all."""
    desk.write_market(made.folder.root, n, n, TICKERS)
    for ticker in TICKERS:
        reading = replace(desk.reading_of(n), ticker=ticker)
        made.feed.show(f"reading:{ticker}", at(n), reading)
    for k in range(SPOTS_A_BUCKET):
        now = Utc(at(n) + k * SECOND)
        spot = desk.spot_at(n) + 3 * k
        spots = tuple(Spot(name, Ticks(spot // (1 if name == "SPX" else 10)), now) for name in TICKERS)
        made.feed.show("spots:all", now, market.SpotsChanged(spots=spots))


def tells(watched: Watched, ticker: str) -> bool:
    """Return whether the chart is that of a ticker, and has prices."""
    return (watched.page.text_content("#chart .summary") or "").startswith(f"{ticker} ")


def shows_price(watched: Watched, n: int) -> bool:
    """Return whether the page shows the last price of the n-th bucket."""
    return watched.text("#price") == f"{(desk.spot_at(n) + 3 * (SPOTS_A_BUCKET - 1)) / 100:,.2f}"


def measured(watched: Watched, what: str, act: Callable[[], None], note: Callable[[str, object], None]) -> None:
    watched.page.evaluate(WATCH)
    act()
    told: dict[str, Any] = watched.page.evaluate(TELL)
    note(what, json.dumps(told))
    print(f"\n{what}: {told}")


@pytest.mark.slow
def test_a_day_of_39_tickers_stays_current_and_each_is_a_click_away(
    browser: Browser, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    desk.write_desk(tmp_path)
    desk.write_market(tmp_path, desk.LAST + 1, STORED, TICKERS)
    settings = load_settings(
        profile="demo",
        overrides={"data_dir": str(tmp_path), "tickers": list(TICKERS), "web": {"rate_per_s": 500.0},
                   "warehouse": {"disk_free_min_mb": 1}, "lanes": {}},
    )  # fmt: skip
    with shown(tmp_path, settings) as made:
        made.feed.show("phase", at(STORED), desk.phase(desk.DAY, at(STORED)))
        process = serving(made.url)
        watched = Watched(browser, made.url)
        assert watched.page.locator("#ticker option").count() == len(TICKERS)

        def follow(first: int) -> None:
            for n in range(first, first + LIVE):
                live_on(made, n)
                eventually(partial(shows_price, watched, n))

        def click_through() -> None:
            for ticker in TICKERS:
                watched.page.select_option("#ticker", ticker)
                eventually(partial(tells, watched, ticker))

        cpu = process.cpu_times()
        measured(watched, "following SPX", partial(follow, STORED + 1), record_property)
        measured(watched, "all tickers in turn", click_through, record_property)
        watched.page.select_option("#ticker", "SPX")
        watched.page.select_option("#window", "390")
        measured(watched, "the whole day", partial(follow, STORED + 1 + LIVE), record_property)
        spent = process.cpu_times()
        cost = {
            "process_mb": round(process.memory_info().rss / 1e6),
            "process_cpu_s": round(spent.user + spent.system - cpu.user - cpu.system, 1),
        }
        record_property("process", json.dumps(cost))
        print(f"process: {cost}")
        assert watched.complaints == []
        watched.context.close()
