"""The real tree on the live runtime for benchmarks: real trace, ledgers, warehouse and order port; a phase that stays.

What is not real: the session stands in ENTRY and closes no buckets (the benchmark closes them, with rows of the
simulated market whose spot it moves across zero gamma), hubs and feed have no ports, and, unless asked
otherwise, quotes come from a pump of this process. It lists whole chains (162 contracts a ticker) and ticks what is
streamed, closely watched lines every 50 ms and the others every 250 ms; its model greeks are always older than the
rules allow, so each offer reckons its own. Rules have their real-life values but those that forbid many orders in a row
(cooldowns, trades a day, losing streaks, losses of the day, volatility of the hour, age of the signal, warm-up) or that
take a benchmark's rejects and outages for trouble (the automatic kill level).
"""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from datetime import time as clock_time
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, assert_never

import msgspec

from actors.lane import Inbox as LaneInbox
from actors.lane import LaneActor, LaneState
from benchmarks.children import Child
from config.settings import Settings, load_settings
from config.tree import Gateway
from domain.instants import BUCKET_NS, MINUTE, MS, SECOND, at_exchange
from domain.instruments import Contract, Greeks, Quote, Right, Spot
from domain.options import black_scholes
from domain.options.profile import SCALARS, Profile, Row, Rows, Shape
from domain.ports import Screen
from domain.risk.desk_view import DeskView
from domain.session.modes import AccountClass, Mode
from domain.session.phases import Phase
from domain.units import Qty, Ticks, Utc
from gateways.ib.orders_port import OrdersPort
from gateways.ib.quotes_port import QuotesPort
from main import Stores, assemble
from messages import broker, lifecycle, market, session, signals
from messages.base import Message
from simulation.market.market import Market
from storage.desk_ledger import DeskLedger
from storage.promotions import promote
from storage.series import Series
from storage.shared_ledger import SharedLedger, start_run
from storage.warehouse import Warehouse
from supervision.actor import Actor
from supervision.clock import MarketClock
from supervision.collecting import IdleCollector
from supervision.spec import ChildSpec, Tree
from supervision.supervisor import SupervisorActor
from supervision.threaded import LiveRuntime
from supervision.trace import FileTrace, Header
from supervision.turn import Turn

S = TypeVar("S", SharedLedger, DeskLedger)
P = TypeVar("P", OrdersPort, QuotesPort)
SEED = 7  # of the anchored market, whatever the demo plays: figures are compared with those of before
START = clock_time(15, 5)  # the latest that leaves time before entries end; the buckets handed over lie before it
TICK_S = 0.05
SLOW_TICKS = 5  # what is not watched closely is told this many ticks apart
PREMIUM = 2.475  # of an option at the money, USD
STALE_NS = 6 * SECOND  # older than `entry.greeks_age_max_ms`
FLIP_BPS = 40
PROMOTED = ("GAMMA_FLIP-1",)  # what a flip means to other kinds is judged and recorded, and must not trade before it
READY_S = 120.0


class Nothing(msgspec.Struct):
    """The state of an actor that keeps none."""


class StandingSession(Actor[Nothing, lifecycle.Started | session.RequestPhase]):
    """The session of a day that stays in ENTRY; it never closes a bucket."""

    def __init__(self, name: str, open_utc: Utc, close_utc: Utc, day: date) -> None:
        super().__init__(name)
        self._hours = (day, open_utc, close_utc)

    def initial(self) -> Nothing:
        """Keep nothing."""
        return Nothing()

    def decide(self, turn: Turn[Nothing], message: lifecycle.Started | session.RequestPhase) -> None:
        """Answer whoever asks."""
        match message:
            case lifecycle.Started():
                pass  # whoever needs the phase asks for it
            case session.RequestPhase():
                day, open_utc, close_utc = self._hours
                phase = session.PhaseChanged(
                    phase=Phase.ENTRY, session=day, open_utc=open_utc, close_utc=close_utc, at_utc=turn.now
                )
                turn.report(message.reply_to, phase)
            case _:
                assert_never(message)


@dataclasses.dataclass(frozen=True, slots=True)
class Decided:
    """A lane's decision on a reading: the instant of the dequeue (market) and of the decision (real UTC ns)."""

    lane: str
    bucket_utc: Utc
    dequeued_utc: Utc
    decided_ns: int


class TimedLane(LaneActor):
    """A lane that notes when it has decided on each reading."""

    def __init__(self, name: str, settings: Settings, decided: list[Decided]) -> None:
        super().__init__(name, settings)
        self._decided = decided

    def decide(self, turn: Turn[LaneState], message: LaneInbox) -> None:
        """Decide, then note when."""
        super().decide(turn, message)
        if isinstance(message, signals.FeaturesComputed):
            self._decided.append(Decided(self.name, message.bucket_utc, turn.now, time.time_ns()))


class TimedTrace(FileTrace):
    """A trace that notes each wait for the disk: thread, began, took (ns)."""

    def __init__(self, path: Path, header: Header, clock: MarketClock) -> None:
        self.syncs: list[tuple[str, int, int]] = []
        super().__init__(path, header, clock, is_buffered=True)

    def sync(self) -> None:
        """Sync, and note how long it took."""
        began, at_ns = time.perf_counter_ns(), time.time_ns()
        super().sync()
        self.syncs.append((threading.current_thread().name, at_ns, time.perf_counter_ns() - began))


class TimedConnection:
    """A ledger's connection that notes each COMMIT (its only wait for the disk): ended, took (ns)."""

    def __init__(self, db: sqlite3.Connection, commits: list[tuple[int, int]]) -> None:
        self._db, self._commits = db, commits

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """Execute; time it where it commits."""
        if sql != "COMMIT":
            return self._db.execute(sql, *values)
        began = time.perf_counter_ns()
        answer = self._db.execute(sql)
        self._commits.append((time.time_ns(), time.perf_counter_ns() - began))
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


def timed(store: S, commits: list[tuple[int, int]]) -> S:
    """Let a store's commits be timed from its next `open` on."""
    really_open = store.open

    def open_timed() -> None:
        really_open()
        store._open_db = TimedConnection(store._open_db, commits)  # type: ignore[assignment,arg-type]

    store.open = open_timed  # type: ignore[method-assign]
    return store


def bench_settings(tickers: tuple[str, ...], port: int) -> Settings:
    """Return demo settings at rate 1 in which one order may follow another at once.

    Strategies and warm-up are set behind the loader's back, which would refuse them.
    """
    settings = load_settings(
        profile="demo",
        overrides={
            "demo": {"rate": 1.0},
            "lanes": {"gexwatch": tickers, "advisor": tickers},
            # A flip up is an alert; the flip back in the next bucket falls into its cooldown and is let go.
            "alert_rules": {"GAMMA_FLIP": {"readings": 1, "cooldown_ms": 2 * BUCKET_NS // MS}},
            "broker": {"paper_port": port, "gateways": [{"host": "127.0.0.1", "port": port}]},
        },
    )  # fmt: skip
    loose: dict[str, Any] = {
        "signal_age_max_ms": 10**9,
        "cooldown_ms": 0,
        "trades_per_day_max": 10**6,
        "one_position_only": False,
    }
    strategies = {source: dataclasses.replace(rules, **loose) for source, rules in settings.strategies.items()}
    connection = dataclasses.replace(settings.connection, warm_up_ms=0)
    overlay = dataclasses.replace(settings.entry.overlay, realised_returns_min=10**6)
    # Exits that stops make lose: every trial is of the same size, however many have lost before.
    whole: dict[str, Any] = dict.fromkeys(("losses_cut", "soft_stop_nav", "daily_loss_nav", "auto_flatten_nav"), 1.0)
    entry = dataclasses.replace(settings.entry, loss_streak_max=10**6, overlay=overlay, **whole)
    kill = dataclasses.replace(settings.kill, rejects_max=10**6, disconnects_max=10**6)
    return settings.model_copy(
        update={"strategies": strategies, "connection": connection, "entry": entry, "kill": kill}
    )


class Rig:
    """A started tree with its gateway's child process, ready to trade (or to evaluate)."""

    def __init__(
        self,
        folder: Path,
        *,
        rejects: int = 0,
        has_quotes_port: bool = False,
        gateway: str = "gateway_child",
        screen_of: Callable[[Settings], Screen] | None = None,
    ) -> None:
        demo = load_settings(profile="demo").demo
        self.clock = MarketClock.starting(at_exchange(demo.session, START), 1.0)
        clock_json = msgspec.json.encode(self.clock.segment).decode()
        own = (str(rejects),) if gateway == "gateway_child" else ()
        self.gateway = Child(gateway, clock_json, *own, demo.session.isoformat(), str(SEED))
        port = int(self.gateway.next()["port"])
        tickers = load_settings(profile="demo").tickers
        self.settings = bench_settings(tickers, port)
        self.world = Market(SEED, demo.session, tickers)
        self.world.step(self.clock.now_utc())
        self.decided: list[Decided] = []
        self.commits: list[tuple[int, int]] = []
        self.next_bucket_utc = dict.fromkeys(tickers, self.world.open_utc)
        self._rows = {ticker: _rows_of(self.world, self.settings, ticker) for ticker in tickers}
        self._screen = None if screen_of is None else screen_of(self.settings)
        self._start(folder, port, has_quotes_port)

    def _start(self, folder: Path, port: int, has_quotes_port: bool) -> None:
        settings, ledgers = self.settings, folder / "ledgers"
        ledgers.mkdir(parents=True)
        run_n = start_run(ledgers, (settings.desk,), self.clock.now_utc())
        for source in settings.lanes:
            promote(ledgers, PROMOTED, source, "demo", "benchmark", self.clock.now_utc())
        stores = Stores(
            timed(SharedLedger(ledgers, (settings.desk,)), self.commits),
            timed(
                DeskLedger(ledgers, settings.desk, run_n, foreign_allowed=settings.broker.foreign_allowed), self.commits
            ),
            Warehouse(folder / "warehouse"),
            Series(folder / "series", run_n),
            self._screen,
        )
        header = Header(
            run_n=run_n, session=settings.demo.session.isoformat(), started_utc=self.clock.now_utc(), rate=1.0,
            settings_digest=settings.digest(), code_version="benchmark", settings=msgspec.Raw(settings.to_json()),
        )  # fmt: skip
        self.trace = TimedTrace(folder / "trace.jsonl", header, self.clock)
        assembled = assemble(
            settings,
            stores,
            lambda tree: LiveRuntime(
                self._bench_tree(tree), self.trace, self.clock, run_n, settings.supervision.sync_every_ms / 1000
            ),
            lambda runtime: self._make_ports(runtime, Gateway("127.0.0.1", port), has_quotes_port),
        )
        self.runtime, self._ports = assembled.runtime, assembled.ports
        for made in self._ports:
            made.start()
        self.runtime.start_tree()
        self.wait(self.is_ready, READY_S)
        self._collector = IdleCollector(self.runtime.is_at_rest).started()

    def _make_ports(
        self, runtime: LiveRuntime, gateway: Gateway, has_quotes_port: bool
    ) -> Iterable[OrdersPort | QuotesPort | QuotePump]:
        def of_broker(kind: str, cls: type[P], client_id: int) -> P:
            name = f"port:{kind}:{self.settings.desk}"
            return cls(
                name, gateways=(gateway,), client_id=client_id, rules=self.settings.connection, clock=self.clock,
                tell=lambda to, message: runtime.post(to, message, name),
            )  # fmt: skip

        quotes = of_broker("quotes", QuotesPort, 12) if has_quotes_port else QuotePump(self, runtime)
        return of_broker("ibkr", OrdersPort, 11), quotes

    def _bench_tree(self, built: Tree) -> Tree:
        """Return the tree without the feed, with the standing session and timed lanes."""
        settings = self.settings
        hours = (self.world.open_utc, self.world.close_utc, settings.demo.session)
        children: list[ChildSpec] = []
        for spec in built.children:
            name, make = spec.name, spec.make
            if name == "feed":
                continue
            if name == "supervisor":
                make = lambda: SupervisorActor("supervisor", tree, settings.supervision)  # noqa: E731
            elif name == "session":
                make = partial(StandingSession, name, *hours)
            elif name.startswith("lane:"):
                make = partial(TimedLane, name, settings, self.decided)
            children.append(dataclasses.replace(spec, make=make))
        tree = dataclasses.replace(built, children=tuple(children))
        return tree

    # -- state, looked at from outside ----------------------------------------------------------

    def view(self) -> DeskView:
        """Return risk's view of the desk (a frozen struct: safe to look at)."""
        view: DeskView = self.runtime.cells[f"risk:{self.settings.desk}"].state.view
        return view

    def is_ready(self) -> bool:
        """Return whether an entry would pass the standing gates."""
        cell = self.runtime.cells.get(f"risk:{self.settings.desk}")
        if cell is None or cell.state is None:
            return False
        view = cell.state.view
        phases = all(
            cell.state is not None and cell.state.phase is Phase.ENTRY
            for name, cell in self.runtime.cells.items()
            if name.startswith("lane:")
        )
        is_told = view.start_nav_cents is not None and len(view.spots) > 1 and len(view.hours) > 0
        return view.mode is Mode.FULLY_LIVE and is_told and phases

    def is_idle(self) -> bool:
        """Return whether no entry is in hand and none is pending."""
        risk = self.runtime.cells[f"risk:{self.settings.desk}"].state
        return not risk.attempts and not risk.view.holdings

    def wait(self, is_so: Callable[[], bool], timeout_s: float) -> None:
        """Wait for a condition.

        Raises:
            RuntimeError: it did not come true in time.
        """
        deadline = time.monotonic() + timeout_s
        while not is_so():
            if time.monotonic() > deadline:
                up = {name: cell.crashes for name, cell in self.runtime.cells.items() if cell.crashes}
                raise RuntimeError(f"the rig did not get there in {timeout_s} s (crashes: {up})")
            time.sleep(0.002)

    # -- buckets --------------------------------------------------------------------------------

    def rows(self, ticker: str, side: int) -> Mapping[str, Rows]:
        """Return a ticker's rows by hub, with spot on a side of zero gamma (+1 above, -1 below)."""
        return self._rows[ticker][side]

    def take_bucket(self, ticker: str) -> Utc:
        """Return a ticker's next bucket, all of which lie in the past."""
        bucket_utc = self.next_bucket_utc[ticker]
        self.next_bucket_utc[ticker] = bucket_utc + BUCKET_NS
        return bucket_utc

    def hand_over(self, hub: str, ticker: str, bucket_utc: Utc, rows: Rows) -> None:
        """Post to a ticker's reading what the hub's actor would publish: its rows, then the marker."""
        to, sender = f"reading:{ticker}", f"hub:{hub}"
        arrived = market.RowsArrived(hub=hub, ticker=ticker, bucket_utc=bucket_utc, rows=rows)
        self.runtime.post(to, arrived, sender)
        self.runtime.post(to, market.HubClosed(hub=hub, bucket_utc=bucket_utc, absent=()), sender)

    def close(self) -> None:
        """Stop everything."""
        self._collector.close()
        self.runtime.stop()
        for port in self._ports:
            port.close()
        self.trace.close()
        self.gateway.close()


class QuotePump:
    """A stand-in for the quotes port: whole chains, and ticks of the lines that are streamed."""

    def __init__(self, rig: Rig, runtime: LiveRuntime) -> None:
        self._rig, self._runtime, self._epoch = rig, runtime, 0
        self.name = f"port:quotes:{rig.settings.desk}"
        self._chains = {ticker: _chain(rig.world, ticker) for ticker in rig.settings.tickers}
        self._spots = {t: at_the_money(rig.world, t) for t in rig.settings.tickers} | {
            t: rig.world.spot(t).price_ticks for t in rig.settings.spot_only
        }
        times = rig.world.close_utc, rig.clock.now_utc()
        self._quotes = {
            contract.con_id: quote
            for ticker, chain in self._chains.items()
            for contract, quote in zip(chain, model_quotes(chain, self._spots[ticker], *times), strict=True)
        }
        self._lines: dict[int, Contract] = {}
        self._close: frozenset[int] = frozenset()
        self._new: frozenset[int] = frozenset()
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def start(self) -> None:
        """Start to tick."""
        threading.Thread(target=self._run, daemon=True, name="quote pump").start()

    def close(self) -> None:
        """Stop ticking."""
        self._closing.set()

    def _tell(self, message: Message) -> None:
        self._runtime.post(f"quotes:{self._rig.settings.desk}", message, self.name)

    def post(self, command: Message) -> None:
        """Answer a dial and a request for a chain, follow what is streamed; all else is of no concern to a pump."""
        match command:
            case broker.Dial():
                self._epoch = command.session_epoch
                up = broker.LinkUp(
                    session_epoch=self._epoch, gateway_n=0, port=self._rig.settings.broker.paper_port,
                    account_class=AccountClass.PAPER, account_matches=True, next_order_id=1,
                )  # fmt: skip
                self._tell(up)
            case market.ListChain():
                world, ticker = self._rig.world, command.ticker
                listed = market.ChainListed(
                    session_epoch=self._epoch, ticker=ticker, contracts=self._chains[ticker],
                    underlying_con_id=world.underlying_con_id(ticker), hours=((world.open_utc, world.close_utc),),
                )  # fmt: skip
                self._tell(listed)
            case market.Subscribe() | market.Unsubscribe() | market.WatchClosely():
                self._stream(command)
            case _:
                pass

    def _stream(self, command: market.Subscribe | market.Unsubscribe | market.WatchClosely) -> None:
        with self._lock:
            match command:
                case market.Subscribe():
                    new = {contract.con_id: contract for contract in command.contracts}
                    self._lines, self._new = self._lines | new, self._new | new.keys()
                case market.Unsubscribe():
                    self._lines = {k: contract for k, contract in self._lines.items() if k not in command.con_ids}
                case market.WatchClosely():
                    self._close = frozenset(command.con_ids)
                case _:
                    assert_never(command)

    def _run(self) -> None:
        n = 0
        while not self._closing.wait(TICK_S):
            if not self._epoch:
                continue
            n += 1
            with self._lock:
                lines, told = self._lines, self._close | self._new
                self._new = frozenset()
            now = self._rig.clock.now_utc()
            quotes = tuple(
                _told(self._quotes[con_id], now) for con_id in lines if con_id in told or n % SLOW_TICKS == 0
            )
            spots = tuple(Spot(ticker, price_ticks, now) for ticker, price_ticks in self._spots.items())
            self._tell(market.QuotesArrived(session_epoch=self._epoch, quotes=quotes, spots=spots))


def _chain(world: Market, ticker: str) -> tuple[Contract, ...]:
    return tuple(sorted(contract for contract in world.contracts(ticker) if contract.expiry == world.session))


def at_the_money(world: Market, ticker: str) -> Ticks:
    """Return the strike nearest to spot: with spot there, both contracts of it lie in the delta band."""
    spot = world.spot(ticker).price_ticks
    return min((c.strike_ticks for c in _chain(world, ticker)), key=lambda strike: abs(strike - spot))


def model_quotes(chain: tuple[Contract, ...], spot_ticks: Ticks, close_utc: Utc, now: Utc) -> list[Quote]:
    """Return what the model says of a chain whose contracts at the money cost `PREMIUM`, with no instants yet."""
    spot, years = spot_ticks / 100, (close_utc - now) / MINUTE / black_scholes.MINUTES_PER_YEAR
    iv = black_scholes.implied_vol(PREMIUM, spot, spot, years, True)
    assert iv is not None
    quotes = []
    for contract in chain:
        of = black_scholes.value(spot, contract.strike_ticks / 100, years, iv, contract.right is Right.CALL)
        bid = Ticks(max(0, int(of.price * 20) * 5))
        greeks = Greeks(iv, of.delta, of.gamma, of.theta, of.vega, spot_ticks, Utc(0))
        quotes.append(
            Quote(contract.con_id, bid, Ticks(bid + 5), Qty(50), Qty(50), Utc(0), volume=1_000, greeks=greeks)
        )
    return quotes


def _told(quote: Quote, now: Utc) -> Quote:
    greeks = quote.greeks
    assert greeks is not None
    return msgspec.structs.replace(
        quote, at_utc=now, greeks=msgspec.structs.replace(greeks, at_utc=Utc(now - STALE_NS))
    )


def _rows_of(world: Market, settings: Settings, ticker: str) -> dict[int, dict[str, Rows]]:
    """Return a ticker's rows by side (+1: spot above zero gamma) and hub."""
    sides: dict[int, dict[str, Rows]] = {}
    for side in (1, -1):
        sides[side] = {}
        for hub, categories in settings.feed.hubs.items():
            profiles = [_on_side(world.profile(ticker, category), side) for category in categories]
            rows = tuple(
                Row(profile=p, hub=hub, frames=30, first_utc=p.source_utc, last_utc=p.source_utc) for p in profiles
            )
            sides[side][hub] = Rows(f"{hub}/{ticker}", rows)
    return sides


def _on_side(profile: Profile, side: int) -> Profile:
    if profile.category != "classic_gex_zero":
        return profile
    scalars = list(profile.scalars)
    zero_gamma, net = (SCALARS[Shape.GEX].index(name) for name in ("zero_gamma", "sum_gex_oi"))
    scalars[zero_gamma], scalars[net] = profile.spot, side * max(1, abs(scalars[net]))  # a flip is both
    spot = Ticks(round(profile.spot * (1 + side * FLIP_BPS / 1e4)))
    return Profile(
        profile.ticker, profile.category, profile.source_utc, spot, tuple(scalars), profile.strikes,
        profile.values, profile.priors,
    )  # fmt: skip
