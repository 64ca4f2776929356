"""A supervisor with several desks in this process, over simulated gateways on real sockets, and its commands."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from actors.ibkr.state import IBKRState
from actors.risk.state import RiskState
from commands import live
from commands.folder import DataFolder
from config.desks import desk_names
from config.settings import Settings, load_settings
from domain.instants import BUCKET_NS, bucket_of
from domain.session.modes import Mode
from domain.signals.alert import Alert, AlertKey
from domain.signals.strategies import intent_of
from domain.units import Ticks, Utc
from messages import signals
from supervision.clock import MarketClock, Segment, real_ns
from tests.testkit.ibkr_world import World
from tests.testkit.supervisor_child import answered, eventually

LOOKS_A_SECOND, BUCKET_S = 50, 31
ENVIRONMENT = {
    "ZEROHOUR_GEXBOT_KEY": f"gexbot_custom_test{os.getpid()}",  # one supervisor a key: tests run side by side
    "ZEROHOUR_IB_ACCOUNT": "DU1234567",
    "ZEROHOUR_REAL_ACCOUNT": "U7654321", "ZEROHOUR_REAL_ARMED": "yes", "ZEROHOUR_REAL_ARMED_REASON": "a test",
}  # fmt: skip


class GatewayDesks:
    """Desk `paper` at a gateway and those of `beside`, a settings file that names them, and their supervisor.

    `worlds` are the gateways of the desks that have one.
    """

    def __init__(self, folder: Path, beside: dict[str, Any], worlds: dict[str, World], **routed: Any) -> None:
        self.paper, self.worlds = worlds["paper"], worlds
        self.file = folder / "my.yaml"
        self.file.write_bytes(orjson.dumps({
            "profile": "real", "data_dir": str(folder / "data"), "tickers": ["SPX"], "web": {"is_on": False},
            "promoted": ["GAMMA_FLIP-1"],
            "feed": {"negotiate_url": "http://127.0.0.1:9/v2/negotiate"},
            "connection": {"warm_up_ms": 300, "retry_fast_ms": 50},
            "exits": {"entry_mid_ms": 100, "entry_step_ms": 55_000, "entry_total_ms": 60_000, "entry_step_share": 1.0},
            "broker": {
                "gateways": [{"host": "127.0.0.1", "port": self.paper.port}], "paper_port": self.paper.port,
            },
            "desks": beside,
            "strategies": {"gexwatch": routed},
        }))  # fmt: skip
        self.settings: Settings = load_settings(self.file)
        self.folder = DataFolder(self.settings.data_dir)
        self.running: live.Supervisor | None = None

    def start(self) -> None:
        """Start the supervisor, and wait until every session is fully live."""
        self.folder.make()
        clock = MarketClock(Segment(real_ns(), self.paper.clock.now_utc()))
        self.running = live.start(
            self.settings, self.folder, clock, self.settings.broker.gateways, self.settings.feed.negotiate_url,
            threading.Event(),
        )  # fmt: skip
        eventually(lambda: all(self.mode(desk) is Mode.FULLY_LIVE for desk in desk_names(self.settings)))
        # The market's clock is that of the gateways, far from the computer's: that is found, and raises the level.
        eventually(lambda: all(self.state(f"kill:{desk}").by == "port:clock" for desk in desk_names(self.settings)))

    def call(self, *arguments: str) -> int:
        """Run one command as a person does, and print what it said."""
        done = answered("--config", str(self.file), *arguments)
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        return done.returncode

    def state(self, name: str) -> Any:
        assert self.running is not None
        return self.running.runtime.cells[name].state

    def mode(self, desk: str) -> Mode | None:
        found = self.state(f"ibkr:{desk}")
        return found.mode if isinstance(found, IBKRState) else None

    def can_enter(self, desk: str) -> bool:
        """Return whether a desk's gates have what they ask for."""
        found = self.state(f"risk:{desk}")
        if not isinstance(found, RiskState):
            return False
        view = found.view
        is_fed = "SPX" in view.spots and "SPX" in view.hours and view.funds is not None and view.start_nav_cents
        return bool(is_fed) and view.mode is Mode.FULLY_LIVE and view.kill_level == 0

    def raise_signal(self) -> None:
        """Raise a signal as the lane would, of the bucket that is just over."""
        assert self.running is not None
        now = self.running.runtime.clock.now_utc()
        key = AlertKey("gexwatch", "SPX", "GAMMA_FLIP", 1, Utc(bucket_of(now) - BUCKET_NS))
        spot = self.paper.market.spots["SPX"]
        alert = Alert(
            key=key, direction=1, entry_ticks=spot, target_ticks=Ticks(spot + 900), stop_ticks=Ticks(spot - 600),
            horizon_ms=1_800_000, is_shadow=False, raised_utc=now,
        )  # fmt: skip
        intent = intent_of(alert, "gexwatch", self.settings.strategies["gexwatch"])
        self.running.runtime.publish(signals.SignalRaised(intent=intent), "lane:gexwatch:SPX")

    def trade_at(self, desk: str) -> None:
        """Raise signals, one a bucket, over quotes that move, until the gateway of a desk has filled one."""
        self.signal_until(lambda: bool(self.held(desk)))

    def signal_until(self, is_so: Callable[[], object]) -> None:
        """Raise signals, one a bucket, over quotes that move, until it is so: a busy machine may cost any of them."""
        looks = itertools.count()

        def is_so_after_this() -> object:
            n = next(looks)
            if n % LOOKS_A_SECOND == 0:
                self.tick()
            if n % (BUCKET_S * LOOKS_A_SECOND) == 0:
                self.raise_signal()
            return is_so()

        eventually(is_so_after_this)

    def tick(self) -> None:
        """Have every gateway quote the call anew, at the same prices."""
        for world in self.worlds.values():
            market = world.market
            was = market.quotes[market.call]
            world.do(partial(market.set, market.call, was.bid_ticks, was.ask_ticks, 10 + was.bid_size % 2 + 1))

    def held(self, desk: str) -> list[int]:
        world = self.worlds[desk]
        return [int(position.qty) for position in world.do(world.exchange.positions)]

    def close(self) -> None:
        if self.running is not None:
            self.running.close()
            self.running = None


def live_beside(world: World) -> dict[str, Any]:
    """Return the settings of a live desk at a gateway."""
    return {
        "kind": "live", "gateways": [{"host": "127.0.0.1", "port": world.port}], "port": world.port,
        "account_env": "ZEROHOUR_REAL_ACCOUNT", "armed_env": "ZEROHOUR_REAL_ARMED",
        "client_ids": {"orders": 21, "quotes": 22, "chains": 23, "direct": 29},
    }  # fmt: skip
