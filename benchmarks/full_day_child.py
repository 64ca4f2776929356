"""The two processes of a full day: hubs whose faults are told on stdin, and a supervisor that leads the clock.

`python -m benchmarks.full_day_child hubs|supervisor FOLDER RATE`; FOLDER holds `clock` and `my.yaml`. Commands of hubs:
`tokens` (all access tokens expire), `down HUB`, `up HUB`; `blink HUB` (down and up again). The supervisor is the real
one, of profile `real`; there is no broker, so it trades nothing, and a hub that is down does not slow the clock.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import numpy as np

from benchmarks.gateway_child import say
from benchmarks.market_day import Group, group
from commands import live
from commands.folder import DataFolder
from config.settings import Settings, load_settings
from domain.instants import BUCKET_NS, SECOND
from domain.instruments import Spot
from domain.options.profile import Profile, Shape, shape_of
from domain.session import calendar
from domain.units import Ticks, Utc
from simulation.hubs.faults import DropHub, KillTokens
from simulation.hubs.server import HubServer
from simulation.pace import buckets as pace_buckets
from simulation.pace import pacer
from simulation.pace.stakes import Stake
from supervision.clock import LedClock, MarketClock

KINDS: Final = 16  # different buckets of a group, in turn: a day of them all would be gigabytes
DOWN_S: Final = 1e6  # until told otherwise
BLINK_S: Final = 0.05
PATIENCE_NS: Final = 3 * SECOND  # real: how long market time stands for hubs that are up and silent


class WideMarket:
    """The market of the storage benchmark as the hubs read it: any ticker, any category, rows of the usual size."""

    def __init__(self, settings: Settings, clock: MarketClock) -> None:
        day = calendar.day(settings.demo.session)
        assert day is not None
        self.open_utc, self.close_utc = day.open_utc, day.close_utc
        self._clock = clock
        self._groups: dict[tuple[str, str], Group] = {}

    @property
    def now_utc(self) -> Utc:
        """The instant of the clock."""
        return self._clock.now_utc()

    def step(self, to_utc: Utc) -> None:
        """Do nothing: what is published follows from the instant."""

    def spot(self, ticker: str) -> Spot:
        """Return a price that stands."""
        return Spot(ticker, Ticks(600_000), self.now_utc)

    def profile(self, ticker: str, category: str) -> Profile:
        """Return a profile as of this second."""
        at_utc = Utc(self.now_utc // SECOND * SECOND)
        found = self._groups.get((ticker, category))
        if found is None:
            found = self._groups[ticker, category] = group(ticker, category, KINDS)
        k = at_utc // BUCKET_NS % KINDS
        # Volatilities are never negative, and the wire has no sign for them.
        values = np.abs(found.values[k]) if shape_of(category) is Shape.GREEK else found.values[k]
        return Profile(
            ticker, category, at_utc, Ticks(int(found.spots[k])), tuple(map(int, found.scalars[k])), found.strikes,
            values, found.priors[k],
        )  # fmt: skip


async def serve(folder: Path) -> None:
    """Serve hubs until stdin ends."""
    settings, clock = load_settings(folder / "my.yaml"), MarketClock.load(folder / "clock")
    port = urlsplit(settings.feed.negotiate_url).port or 0
    server = HubServer(
        WideMarket(settings, clock), clock, port=port, min_interval_real_ms=settings.demo.frame_interval_ms
    )
    await server.start()
    say(port=server.port)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        what, _, hub = line.strip().partition(" ")
        if what == "tokens":
            server.inject(KillTokens())
        else:
            outage_s = {"down": DOWN_S, "up": 0.0, "blink": BLINK_S}[what]
            server.inject(DropHub(hub=hub, outage_s=outage_s))
        say(done=line.strip())
    await server.stop()


def supervise(folder: Path, rate: float) -> None:
    """Run the supervisor until stdin ends."""
    settings = load_settings(folder / "my.yaml")
    data = DataFolder(settings.data_dir)
    data.make()
    data.lock()
    pacer.RATE_MAX[Stake.OUTAGE] = rate
    pace_buckets.PATIENCE_NS = PATIENCE_NS  # type: ignore[misc] # a frozen server is waited for a while, not a minute
    running = live.start(
        settings, data, LedClock.lead(folder / "clock"), settings.broker.gateways, settings.feed.negotiate_url,
        threading.Event(), rate,
    )  # fmt: skip
    say(run=running.run_n)
    while not running.stop_wanted.is_set() and sys.stdin.readline():
        pass
    running.close()
    data.unlock()


if __name__ == "__main__":
    if sys.argv[1] == "hubs":
        asyncio.run(serve(Path(sys.argv[2])))
    else:
        supervise(Path(sys.argv[2]), float(sys.argv[3]))
