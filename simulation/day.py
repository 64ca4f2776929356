"""A whole simulated day on the stepped runtime: the tree that runs live, over the in-process market and exchange."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import time
from pathlib import Path

from config.settings import Settings
from domain.instants import MS, SECOND, at_exchange
from domain.signals.spread import SOURCE
from domain.units import Cents, Utc
from main import Port, Stores, assemble
from simulation.broker.exchange import Exchange
from simulation.inprocess.broker import InProcessBroker
from simulation.inprocess.market import InProcessFeed, InProcessHub, InProcessQuotes
from simulation.market.from_settings import market_of
from storage.desk_ledger import DeskLedger
from storage.market_context import StoredContext
from storage.promotions import promote
from storage.series import Series
from storage.shared_ledger import SharedLedger, start_run
from storage.warehouse import Warehouse
from supervision.stepped import SteppedRuntime, VirtualClock
from supervision.trace import MemoryTrace, NoTrace

DroppablePort = InProcessBroker | InProcessQuotes | InProcessHub


@dataclass
class SteppedDay:
    """One simulated day: runtime, broker's truth, the ports that can lose their link, and where its ledgers lie."""

    runtime: SteppedRuntime
    exchange: Exchange
    settings: Settings
    folder: Path
    ports: dict[str, DroppablePort]
    end_utc: Utc

    @property
    def trace_hash(self) -> str:
        """The whole trace's hash (blake2b, hexadecimal)."""
        digest = hashlib.blake2b(digest_size=16)
        trace = self.runtime.trace
        for line in trace.lines if isinstance(trace, MemoryTrace) else ():
            digest.update(line)
        return digest.hexdigest()

    def run(self, until_utc: Utc | None = None) -> None:
        """Run to an instant, or to the end of the day."""
        self.runtime.run_until(until_utc or self.end_utc)


def start_of(settings: Settings) -> VirtualClock:
    """Return a virtual clock that stands at the demo day's start."""
    return VirtualClock(at_exchange(settings.demo.session, settings.demo.start_clock))


def stepped_day(
    settings: Settings, folder: Path, *, trace: NoTrace | None = None, shuffle_seed: int | None = None,
    clock: VirtualClock | None = None, rolls: bool = False, tells_context: bool = False, shows: bool = True,
) -> SteppedDay:  # fmt: skip
    """Return a day made from the settings' demo section (seed, session, NAV); the tree has started, nothing has run.

    With `rolls` the market goes on with the next session after the night, for as long as it is run. With
    `tells_context` risk hears what the minute bars stored in the folder say together, those of sessions before too.
    Where nobody will query its rows, `shows` is False: a quarter of its time goes into files for that.
    """
    demo, desk = settings.demo, settings.desk
    clock = clock or start_of(settings)
    market = market_of(settings, rolls=rolls)
    ledgers = folder / "ledgers"
    ledgers.mkdir(parents=True, exist_ok=True)
    run_n = start_run(ledgers, (desk,), clock.now_utc())
    sources = (*settings.lanes, *((SOURCE,) if settings.spread.is_on else ()))
    for source in sources:
        promote(ledgers, settings.promoted, source, "demo", "named in the settings", clock.now_utc())
    stores = Stores(
        SharedLedger(ledgers, (desk,), is_durable=False),
        DeskLedger(ledgers, desk, run_n, is_durable=False, foreign_allowed=settings.broker.foreign_allowed),
        Warehouse(folder / "warehouse", is_durable=False, seals=False, shows=shows),
        Series(folder / "series", run_n, is_durable=False, seals=False),
        context=StoredContext(folder / "warehouse", folder / "series", in_child=False) if tells_context else None,
    )
    exchange = Exchange(market, cash_cents=Cents(demo.nav_usd * 100))
    ports: dict[str, DroppablePort] = {}

    def make_ports(runtime: SteppedRuntime) -> Iterable[Port]:
        ports["ibkr"] = InProcessBroker(f"ibkr:{desk}", runtime, market, exchange)
        ports["quotes"] = InProcessQuotes(f"quotes:{desk}", runtime, market)
        for hub, categories in settings.feed.by_hub.items():
            keys = tuple((ticker, category) for ticker in settings.tickers for category in categories)
            ports[hub] = InProcessHub(f"hub:{hub}", runtime, market, keys)
        return (*ports.values(), InProcessFeed("feed", runtime, market, tuple(settings.feed.by_hub)))

    runtime = assemble(
        settings,
        stores,
        lambda tree: SteppedRuntime(tree, clock, run_n, trace or MemoryTrace(clock), shuffle_seed),
        make_ports,
    ).runtime
    _add_outages(settings, runtime, ports)
    runtime.start_tree()
    end_utc = market.close_utc + settings.day.settlement_ms * MS + 60 * SECOND
    return SteppedDay(runtime, exchange, settings, folder, ports, end_utc)


def _add_outages(settings: Settings, runtime: SteppedRuntime, ports: dict[str, DroppablePort]) -> None:
    demo = settings.demo

    def drop(names: Iterable[str], clock: time, lasting_s: float) -> None:
        lasting_ns = round(lasting_s * SECOND)

        def now() -> None:
            for name in names:
                ports[name].drop(lasting_ns)

        runtime.call_at(at_exchange(demo.session, clock), now)

    drop(("ibkr", "quotes"), demo.gateway_drop_at, demo.gateway_drop_s)
    drop((demo.hub_dropped,), demo.hub_drop_at, demo.hub_drop_s)


def invariants(day: SteppedDay) -> list[str]:
    """Return what must never be true at the end of a day and is."""
    found = []
    held = [p for p in day.exchange.positions() if p.qty]
    if held:
        found.append(f"{len(held)} positions are held after the close")
    if any(state.order.order_ref == "" for state in day.exchange.completed()):
        found.append("an order without a ref")
    refs = [s.order.order_ref for s in day.exchange.completed()]
    if len(refs) != len(set(refs)):
        found.append("an order ref was used twice")
    if day.runtime.dead_letters:
        found.append(f"{day.runtime.dead_letters} dead letters")
    crashed = [cell.name for cell in day.runtime.cells.values() if cell.crashes]
    if crashed:
        found.append(f"crashed: {', '.join(crashed)}")
    return found
