"""What pages cost an order: from a bucket's close to the order's bytes, without a dashboard and with one under load.

A round has a rig without a screen and one whose dashboard serves five pages that read and twenty that never do. Both
trade the same trials; waits for ticks and for the disk are in the figures, of both alike.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks.figures import SPREAD, Report, percentile, spawn, spread, work_folder
from benchmarks.order_path import close_one
from benchmarks.rig import Rig
from commands.control import ControlServer
from commands.dashboard import COMMAND
from commands.folder import DataFolder
from commands.requests import answer
from config.settings import Settings, load_settings
from web.feed import Doors, Feed, listen
from web.link import Hello

READERS, STUCK = 5, 20
ROUNDS = 4
TRIALS = 24  # a round and condition; a multiple of the tickers
REJECTS = 1_200  # orders that the gateway rejects, so that the next one finds an empty desk
UP, DOWN = 1, -1
TRIAL_S = 4.0
IDLE_WAIT_S = 30.0  # on a busy machine
PAUSE_S = 0.025
SETTLE_S = 3.0
WITHOUT, WITH = "no dashboard", f"{READERS} pages that read, {STUCK} that never do"
ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Measured:
    """What came of it, by condition: ns from the close to the gateway, and orders that did not come."""

    took: dict[str, list[int]] = field(default_factory=lambda: {WITHOUT: [], WITH: []})
    lost: dict[str, int] = field(default_factory=lambda: {WITHOUT: 0, WITH: 0})
    pushed: list[float] = field(default_factory=list)  # bytes a second and page


def run(scale: float = 1.0) -> Report:
    """Measure; `scale` below 1 shortens."""
    report = Report("dashboard_load", "Order path beside a dashboard under load", "python -m benchmarks dashboard_load")
    measured = Measured()
    with work_folder() as folder:
        for n in range(max(1, round(ROUNDS * scale))):
            _trade(Rig(folder / f"{n}-without", rejects=REJECTS), WITHOUT, measured)
            _beside(folder / f"{n}-with", measured)
    report.table(
        "Close of a bucket to the order's bytes at the gateway, one ticker",
        ["condition", "orders", "not come", *SPREAD],
        [[name, len(took), measured.lost[name], *spread(took)] for name, took in measured.took.items()],
    )
    before, beside = (percentile(measured.took[name], 99) for name in (WITHOUT, WITH))
    report.aim(
        "p99 of the order path with five pages and twenty stuck ones", "as without (1.25 times at most)",
        f"{beside / before:.2f} times", beside <= 1.25 * before,
    )  # fmt: skip
    pushed = percentile(measured.pushed, 50) / 1000
    report.note(
        f"A page that reads was sent {pushed:.1f} kB/s, at many orders a second; a demo day has one in minutes."
    )
    report.note("Waits for ticks and for the disk are in the figures; `order_path` takes them out.")
    return report


def _beside(folder: Path, measured: Measured) -> None:
    data = DataFolder(folder)
    feeds: list[Feed] = []

    def screen_of(settings: Settings) -> Feed:
        listener = listen("127.0.0.1", 25_000 + os.getpid() % 5_000)
        shown = load_settings(profile="demo", overrides={"tickers": list(settings.tickers)})  # the rig's are no set-up
        hello = Hello(msgspec.Raw(shown.to_json()), str(folder), "benchmark", 1)
        feeds.append(Feed(Doors(listener), COMMAND, hello, str(ROOT), os.devnull))
        return feeds[0]

    rig = Rig(folder, rejects=REJECTS, screen_of=screen_of)
    data.run.mkdir()
    control = ControlServer(data.control, lambda asked: answer(rig.runtime, threading.Event(), asked))
    (feed,) = feeds
    feed.start()
    pages = spawn("clients_child", feed.url.rpartition(":")[2], str(READERS), str(STUCK))
    try:
        assert pages.stdout is not None and pages.stdout.readline() == "open\n"
        time.sleep(SETTLE_S)
        _trade(rig, WITH, measured)
        said, _ = pages.communicate("\n", timeout=30)
        read, seconds = said.split()
        measured.pushed.append(float(read) / float(seconds))
    finally:
        pages.kill()
        control.close()
        feed.close()


def _trade(rig: Rig, condition: str, measured: Measured) -> None:
    try:
        for ticker in rig.settings.tickers:
            close_one(rig, ticker, DOWN)
        for ticker in rig.settings.tickers:  # each option's first entry also starts its position's actor
            _trial(rig, ticker, lambda _: None)
        gc.collect()
        for n in range(TRIALS):
            came = _trial(rig, rig.settings.tickers[n % len(rig.settings.tickers)], measured.took[condition].append)
            measured.lost[condition] += not came
    finally:
        rig.close()


def _trial(rig: Rig, ticker: str, note: Callable[[int], object]) -> bool:
    """Cross zero gamma downwards, then upwards, and wait for the order; False where none came."""
    rig.gateway.drain()
    close_one(rig, ticker, DOWN)
    _, began_ns = close_one(rig, ticker, UP)
    try:
        note(int(rig.gateway.next(TRIAL_S)["order_at_ns"]) - began_ns)
    except RuntimeError:
        rig.wait(rig.is_idle, IDLE_WAIT_S)
        return False
    rig.wait(rig.is_idle, IDLE_WAIT_S)
    time.sleep(PAUSE_S)
    return True
