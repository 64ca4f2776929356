"""`make screenshots`: plays a demo day until some trades are closed and something is held, and takes pictures of it.

Wide and narrow, dark and light; of the wide ones the first screen, and of the dark one the whole page too.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import orjson

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# As root and in a closed network: no sandbox of its own, nothing that calls home.
FLAGS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SIZES: Final = {"1440": (1440, 900), "390": (390, 844)}
SCHEMES: Final = ("dark", "light")
LATEST: Final = "15:00"
SETTLE_S = 5.0  # until the tables have come, the newest buckets are stored and the charts are drawn
_PREFIX = "Dashboard: "


def main() -> None:
    """Take the pictures of a demo day, or of a dashboard that is served already."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a dashboard that is served already; without it a demo day is played")
    parser.add_argument(
        "--trades", type=int, default=2,
        help="the pictures are taken at the first position after so many closed trades, at 15:00 in any case",
    )  # fmt: skip
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "pictures", help="the folder that they go to")
    given = parser.parse_args()
    if chromium_path() is None:
        sys.exit("Pictures need a browser: Debian has it as chromium (apt-get install chromium).")
    if given.url is not None:
        take(given.url, given.to)
        return
    with demo_day() as url:
        wait_for_trades(url, given.trades)
        take(url, given.to)


def chromium_path() -> str | None:
    """Return where the machine's browser is; `None` where there is none."""
    return next((found for name in BROWSERS if (found := shutil.which(name)) is not None), None)


@contextmanager
def demo_day() -> Iterator[str]:
    """Play a demo day in a folder of its own; yield the address of its dashboard."""
    with tempfile.TemporaryDirectory(prefix="zerohour-pictures-") as folder:
        command = [sys.executable, "-u", "main.py", "--data", folder, "run", "--profile", "demo"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                line = next(line for line in process.stdout if line.startswith(_PREFIX))
                yield line.removeprefix(_PREFIX).split()[0]
            finally:
                process.send_signal(signal.SIGINT)
                process.stdout.read()
                stop = [sys.executable, "main.py", "--data", folder, "sim", "stop"]  # a day with a position waits
                subprocess.run(stop, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)


def wait_for_trades(url: str, trades: int) -> None:
    """Wait until so many trades are closed and something is held, or the day is nearly over."""
    while True:
        with suppress(OSError), urllib.request.urlopen(f"{url}/api/status", timeout=10) as answer:
            found = orjson.loads(answer.read())  # on a busy machine an answer may be late: it is asked again
            is_filled = (found["trades_today"] or 0) >= trades and found["open_positions"]
            if is_filled or (found["at"] or "")[11:16] >= LATEST:
                return
        time.sleep(1)


def take(url: str, folder: Path) -> None:
    """Write `dashboard-<width>-<scheme>.png`: the first screen of the wide ones, the whole of the narrow ones.

    `dashboard-whole-dark.png` is the whole of the wide one.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - a library of the tests

    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
        for name, (width, height) in SIZES.items():
            for scheme in SCHEMES:
                page = browser.new_page(
                    viewport={"width": width, "height": height},
                    color_scheme="light" if scheme == "light" else "dark",
                )
                page.goto(url)
                page.wait_for_selector("html[data-ready]")
                time.sleep(SETTLE_S)
                path = folder / f"dashboard-{name}-{scheme}.png"
                page.screenshot(path=path, full_page=name == "390")
                print(path)
                if (name, scheme) == ("1440", "dark"):
                    page.screenshot(path=folder / "dashboard-whole-dark.png", full_page=True)
                    print(folder / "dashboard-whole-dark.png")
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
