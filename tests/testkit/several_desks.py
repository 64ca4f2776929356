"""A stepped day of a process with several desks, each at an exchange of its own over one market."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config.desks import desk_names, of_desk
from config.settings import Settings, load_settings
from domain.instants import BUCKET_NS, SECOND, bucket_of
from domain.orders.intent import Intent
from domain.ports import Screen
from domain.risk.kill import KillLevel
from domain.session.modes import AccountClass
from domain.signals.alert import Alert, AlertKey
from domain.signals.spread import SOURCE
from domain.signals.strategies import intent_of
from domain.units import Cents, Ticks, Utc
from main import Desk, Stores, assemble
from messages import operator, signals
from messages.base import Message
from simulation.broker.exchange import Exchange
from simulation.day import start_of
from simulation.inprocess.broker import InProcessBroker
from simulation.inprocess.market import InProcessFeed, InProcessHub, InProcessQuotes
from simulation.inprocess.port import Login
from simulation.market.from_settings import market_of
from storage.desk_ledger import DeskLedger
from storage.promotions import promote
from storage.queries import LedgerReader
from storage.shared_ledger import SharedLedger, start_run
from storage.warehouse import Warehouse
from supervision.stepped import SteppedRuntime
from supervision.trace import MemoryTrace

EDGE = "edge:test"
REAL = {
    "kind": "live", "gateways": [{"host": "127.0.0.1", "port": 4001}], "account_env": "ZEROHOUR_TEST_ACCOUNT",
    "armed_env": "ZEROHOUR_TEST_ARMED", "client_ids": {"orders": 21, "quotes": 22, "chains": 23, "direct": 29},
}  # fmt: skip


def settings_of(
    *, desks: tuple[str, ...] = ("paper",), switch_to: tuple[str, ...] = ("real",), **more: Any
) -> Settings:
    """Return settings of two desks, `paper` and the live `real`; every strategy trades at `desks`."""
    routed = {"desks": list(desks), "switch_to": [name for name in switch_to if name not in desks]}
    overrides: dict[str, Any] = {
        "tickers": ["SPX"], "demo": {"start_clock": "09:40:00"}, "desks": {"real": REAL}, "promoted": PROMOTED,
        "strategies": dict.fromkeys(("gexwatch", "advisor"), routed), "entry": {"drift_share_max": 1.0},
        "exits": {"entry_mid_ms": 100, "entry_step_ms": 55_000, "entry_total_ms": 60_000, "entry_step_share": 1.0},
    }  # fmt: skip
    rules = load_settings(profile="demo").model_dump(mode="json")["alert_rules"]
    return load_settings(profile="real", overrides=overrides | {"alert_rules": rules} | more)


PROMOTED = ["GAMMA_FLIP-1", "STRUCTURE_BREAK-2"]


@dataclass
class SeveralDesks:
    """A day that has started: its runtime, the exchange and the order port of each desk, and what edges heard."""

    runtime: SteppedRuntime
    settings: Settings
    folder: Path
    exchanges: dict[str, Exchange]
    ports: dict[str, InProcessBroker]
    heard: list[Message] = field(default_factory=list)
    lines: list[operator.Announce] = field(default_factory=list)
    _n: int = 0

    def run(self, seconds: float) -> None:
        """Go on for so many seconds of market time."""
        self.runtime.run_until(Utc(self.runtime.clock.now_utc() + round(seconds * SECOND)))

    def ask(self, kind: Callable[..., operator.OperatorCommand], wait_s: float = 5.0, **what: Any) -> Message | None:
        """Give a person's command and return the answer; `None`: none came in this time."""
        self._n += 1
        command = kind(
            command_id=what.pop("command_id", f"c{self._n}"), reply_to=EDGE, by="test", reason="to see it",
            expires_utc=Utc(self.runtime.clock.now_utc() + 60 * SECOND), **what,
        )  # fmt: skip
        before = len(self.heard)
        self.runtime.post("operator", command, EDGE)
        self.run(wait_s)
        return self.heard[before] if len(self.heard) > before else None

    def state(self, name: str) -> Any:
        """Return an actor's state."""
        return self.runtime.cells[name].state

    def reader(self, desk: str) -> LedgerReader:
        """Return what asks a desk's ledger."""
        return LedgerReader(self.folder / "ledgers", desk)

    def start_desks(self, *names: str) -> None:
        """Have a person lower the kill level of these desks."""
        for name in names:
            answer = self.ask(operator.Resume, 1.0, level=KillLevel.RUNNING, desk=name)
            assert isinstance(answer, operator.CommandDone), answer

    def raise_signal(self, source: str = "gexwatch", wait_s: float = 3.0) -> Intent:
        """Raise a signal on SPX as its lane would, of the bucket that is just over."""
        now, rules = self.runtime.clock.now_utc(), self.settings.strategies[source]
        key = AlertKey(source, "SPX", "GAMMA_FLIP", 1, Utc(bucket_of(now) - BUCKET_NS))
        spot = self.state("risk:paper").view.spots["SPX"].price_ticks
        alert = Alert(
            key=key, direction=1, entry_ticks=spot, target_ticks=Ticks(spot + 900), stop_ticks=Ticks(spot - 600),
            horizon_ms=1_800_000, is_shadow=False, raised_utc=now,
        )  # fmt: skip
        intent = intent_of(alert, source, rules)
        self.runtime.publish(signals.SignalRaised(intent=intent), f"lane:{source}:SPX")
        self.run(wait_s)
        return intent

    def held(self, desk: str) -> dict[int, int]:
        """Return what a desk's broker holds, by contract."""
        return {position.con_id: int(position.qty) for position in self.exchanges[desk].positions() if position.qty}


def several_desks(
    settings: Settings, folder: Path, *, is_live_armed: bool = True, logins: dict[str, Login] | None = None,
    at_utc: Utc | None = None, screen: Screen | None = None,
) -> SeveralDesks:  # fmt: skip
    """Start a day with the desks of the settings; the ledgers of an earlier start in the folder are taken up again."""
    clock = start_of(settings)
    if at_utc is not None:
        clock.advance(at_utc)
    market = market_of(settings)
    names, ledgers = desk_names(settings), folder / "ledgers"
    ledgers.mkdir(parents=True, exist_ok=True)
    run_n = start_run(ledgers, names, clock.now_utc())
    for source in (*settings.lanes, *((SOURCE,) if settings.spread.is_on else ())):
        promote(ledgers, settings.promoted, source, "test", "named in the settings", clock.now_utc())

    def ledger_of(name: str) -> DeskLedger:
        return DeskLedger(ledgers, name, run_n, is_durable=False)

    stores = Stores(
        SharedLedger(ledgers, names, is_durable=False), ledger_of(settings.desk),
        Warehouse(folder / "warehouse", is_durable=False, seals=False, shows=False), screen=screen,
    )  # fmt: skip
    beside = tuple(
        Desk(of_desk(settings, name), ledger_of(name), is_live_armed and settings.desks[name].kind == "live")
        for name in names[1:]
    )
    exchanges = {name: Exchange(market, cash_cents=Cents(30_000_000), series=n + 1) for n, name in enumerate(names)}
    known = {"real": Login(port=4001, account_class=AccountClass.LIVE)} | (logins or {})
    day = SeveralDesks(None, settings, folder, exchanges, {})

    def make_ports(runtime: SteppedRuntime) -> list[Any]:
        made: list[Any] = []
        for name in names:
            login = known.get(name, Login())
            day.ports[name] = InProcessBroker(f"ibkr:{name}", runtime, market, exchanges[name], login)
            made += [day.ports[name], InProcessQuotes(f"quotes:{name}", runtime, market)]
        for hub, categories in settings.feed.by_hub.items():
            keys = tuple((ticker, category) for ticker in settings.tickers for category in categories)
            made.append(InProcessHub(f"hub:{hub}", runtime, market, keys))
        return [*made, InProcessFeed("feed", runtime, market, tuple(settings.feed.by_hub))]

    day.runtime = assemble(
        settings, stores, lambda tree: SteppedRuntime(tree, clock, run_n, MemoryTrace(clock)), make_ports,
        day.lines.append, beside=beside,
    ).runtime  # fmt: skip
    day.runtime.sinks[EDGE] = day.heard.append
    day.runtime.start_tree()
    return day
