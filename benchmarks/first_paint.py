"""How soon a page stands: first paint and all panels drawn, cold, in a real browser; and its bytes.

The desk has a whole day of two tickers behind it. Where the sketch that the dashboard was decided on lies beside the
checkout, it is loaded in turns with ours, so that both see the same machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from playwright.sync_api import Browser, sync_playwright

from benchmarks.figures import ROOT, Report, percentile, work_folder
from commands.screenshots import FLAGS, chromium_path
from tests.testkit import web_desk as desk
from tests.testkit.web_child import shown

LOADS = 10
SKETCH = ROOT.parent / "shared" / "prototypes" / "dashboard"
SKETCH_PORT = 8_412
FIRST_PAINT_MS, PANELS_MS = 200.0, 500.0
LAST_BUCKET = 779
LOOK_MS = 20
OURS, THEIRS = "the dashboard", "the sketch"
_PAINT = "(performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null)"
_READY = "(performance.getEntriesByName('ready')[0]?.startTime ?? null)"
_BYTES = (
    "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
    ".reduce((sum, one) => sum + one.transferSize, 0)"
)


def run(scale: float = 1.0) -> Report:
    """Measure; `scale` below 1 shortens."""
    report = Report("first_paint", "First paint of the dashboard", "python -m benchmarks first_paint")
    found: dict[str, list[tuple[float, float, float]]] = {}
    with ExitStack() as stack:
        folder = stack.enter_context(work_folder())
        desk.write_ledgers(folder / "ledgers")
        desk.write_market(folder, 0, LAST_BUCKET)
        urls = {OURS: stack.enter_context(shown(folder)).url}
        if (SKETCH / "server.py").is_file():
            urls[THEIRS] = stack.enter_context(_sketch())
        browser = stack.enter_context(_browser())
        for _ in range(max(2, round(LOADS * scale))):
            for name, url in urls.items():
                found.setdefault(name, []).append(_load(browser, url))
    report.table(
        "Cold loads on loopback, in turns",
        ["page", "loads", "first paint p50 ms", "max", "all panels p50 ms", "max", "kB"],
        [
            [
                name, len(loads), *(f"{f([load[k] for load in loads]):.0f}" for k in (0, 1) for f in (_p50, max)),
                f"{_p50([load[2] for load in loads]) / 1000:.0f}",
            ]
            for name, loads in found.items()
        ],
    )  # fmt: skip
    for k, what, limit in ((0, "first paint", FIRST_PAINT_MS), (1, "all panels drawn", PANELS_MS)):
        took = _p50([load[k] for load in found[OURS]])
        beside = f", the sketch {_p50([load[k] for load in found[THEIRS]]):.0f} ms" if THEIRS in found else ""
        report.aim(f"{what}, cold", f"<= {limit:.0f} ms", f"{took:.0f} ms{beside}", took <= limit)
    report.note("The dashboard's process gives way to others (nice 5), the sketch's does not: a busy machine shows it.")
    return report


def _p50(values: list[float]) -> float:
    return percentile(values, 50)


def _load(browser: Browser, url: str) -> tuple[float, float, float]:
    """Return first paint and last panel in ms after the request, and the bytes, of a page without any cache."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(url)
    while page.evaluate(_READY) is None or page.evaluate(_PAINT) is None:
        page.wait_for_timeout(LOOK_MS)
    found = tuple(float(page.evaluate(script)) for script in (_PAINT, _READY, _BYTES))
    context.close()
    return found[0], found[1], found[2]


@contextmanager
def _browser() -> Iterator[Browser]:
    path = chromium_path()
    if path is None:
        raise RuntimeError("this benchmark needs a browser: Debian has it as chromium (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def _sketch() -> Iterator[str]:
    url = f"http://127.0.0.1:{SKETCH_PORT}"
    environment = os.environ | {"PORT": str(SKETCH_PORT)}
    with subprocess.Popen([sys.executable, "server.py"], cwd=SKETCH, env=environment) as process:
        try:
            for _ in range(100):
                with suppress(OSError), urllib.request.urlopen(url, timeout=5):
                    break
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
