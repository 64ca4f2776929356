"""Zerohour's entry, and the only place where the tree of actors is put together and ports are injected.

As a script it hands over to the command line before anything heavy is loaded; as a module it holds the tree, who hears
which event (`SUBSCRIBERS`), and what it means that trading must stop.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from commands.cli import main

    sys.exit(main(sys.argv[1:]))

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

from actors.desk_ledger import DeskLedgerActor
from actors.feed import FeedActor
from actors.hub import HubActor
from actors.ibkr import IBKRActor
from actors.kill import KillActor
from actors.lane import LaneActor
from actors.ledger import LedgerActor
from actors.notifier import NotifierActor
from actors.operator import OperatorActor
from actors.outcomes import OutcomesActor
from actors.position import PositionActor
from actors.quotes import QuotesActor
from actors.reading import ReadingActor
from actors.risk import RiskActor
from actors.series import Line, SeriesActor
from actors.session import SessionActor
from actors.spread_lane import SpreadLaneActor
from actors.structure import StructureActor
from actors.warehouse import WarehouseActor
from actors.web import WebActor
from config.settings import Settings
from domain.instants import MS, SECOND
from domain.ports import ContextStore, LedgerStore, Screen, SeriesStore, WarehouseStore
from domain.position.cycle import ExitReason
from domain.risk.kill import KillLevel
from domain.signals import spread
from messages import broker, entries, market, operator, orders, positions, risk, session, signals, structures
from messages.base import Event, Message
from messages.ledgers import DeskFact, DeskInput, SharedFact, SharedInput
from messages.restored import ReadingRestored
from supervision.actor import AnyActor
from supervision.effects import Tell
from supervision.host import Host
from supervision.spec import ChildSpec, Halt, Policy, Template, Tree
from supervision.subscriptions import Route, Subscribers
from supervision.supervisor import SupervisorActor

# Who hears which event, by role; a role may be keyed by fields of the event. Senders name nobody.
SUBSCRIBERS: Final[Subscribers] = {
    session.PhaseChanged: (
        "risk",
        "ibkr",
        "kill",
        "quotes",
        "positions",
        "structures",
        "lanes",
        "spread_lane",
        "warehouse",
        "series",
        "notifier",
        "web",
    ),
    session.ModeChanged: ("risk", "positions", "notifier", "series", "web"),
    session.AccountChecked: ("risk", "web"),
    session.ReconcileFinished: ("positions", "risk", "web"),
    broker.AccountRead: ("risk", "web"),
    broker.AccountUnreadable: ("risk", "notifier", "web"),
    broker.ClockRead: ("kill",),
    orders.BrokerRefused: ("desk_ledger", "kill", "notifier"),
    risk.KillRaised: ("risk", "ibkr", "positions", "notifier", "operator"),
    risk.KillLowered: ("risk", "ibkr", "positions", "notifier", "operator"),
    risk.DaySettled: ("notifier",),
    # market data
    market.BucketDue: ("hubs", "readings", "spread_lane"),
    market.RowsArrived: ("reading:{ticker}",),
    market.HubClosed: ("readings",),
    market.BucketStored: ("hub:{hub}",),
    market.BucketNotStored: ("hub:{hub}", "kill"),
    market.HubUp: ("feed", "notifier", "web"),
    market.HubDown: ("feed", "notifier", "web"),
    market.QuoteChanged: ("position:{con_id}", "web"),
    market.SpotsChanged: ("risk", "web", "spread_lane", "structures"),
    market.HoursRead: ("risk",),
    market.HaltChanged: ("risk", "positions"),
    market.SpreadsRead: ("kill",),
    market.QuotesSampled: ("series",),
    market.ChainRead: ("series",),
    market.BarsArrived: ("series",),
    market.ContextRead: ("risk",),
    # from a reading to an entry
    signals.FeaturesComputed: ("lanes:{ticker}", "series", "web"),
    signals.AlertRaised: ("outcomes",),
    signals.SpotRead: ("outcomes",),
    signals.SignalRaised: ("risk",),
    signals.ReversalRaised: ("positions",),
    signals.PromotionChanged: ("risk", "lanes", "spread_lane"),
    entries.EntryDenied: ("lane:{key.source}:{key.ticker}", "notifier"),
    entries.EntryAmended: ("desk_ledger", "risk", "notifier"),
    entries.EntryHandedOver: ("lane:{key.source}:{key.ticker}", "notifier"),
    # positions
    positions.PositionOpened: ("risk",),
    positions.LegChanged: ("structures",),
    positions.FillBooked: ("notifier",),
    positions.PositionChanged: ("risk", "kill", "web"),
    positions.PositionClosed: ("desk_ledger", "risk", "kill", "notifier", "web"),
    positions.EntryAbandoned: ("desk_ledger", "risk", "notifier"),
    positions.PositionDisputed: ("ibkr", "notifier"),
    positions.DayFlattened: ("notifier",),
    positions.HoldingsChecked: ("notifier",),
    positions.ShortFound: ("kill", "notifier"),
    structures.StructureChanged: ("desk_ledger", "spread_lane"),
    structures.StructureClosed: ("desk_ledger",),
    operator.Alarm: ("notifier", "web"),
}
# Events that nobody acts on yet: they stand in the trace.
RECORD_ONLY: Final[frozenset[type[Event]]] = frozenset({signals.NotEvaluated})

MarketStore = WarehouseStore[market.StoreBucket, market.BucketStored | market.BucketNotStored]
LineStore = SeriesStore[Line, ReadingRestored]

_PLAIN = Policy()
_MONEY = Policy(end_on_spent_budget=True)  # without it positions would be unattended: start the whole process again
_VITAL = Policy(latch_on_crash=True, end_on_spent_budget=True)  # it holds what stops entries
_BESIDE = Policy(gives_way=True)  # what it does can wait while an order is on its way
_AHEAD = Policy(goes_first=True)  # an entry waits for its quote


@dataclass(frozen=True, slots=True)
class Stores:
    """What the I/O actors stand on."""

    ledger: LedgerStore[SharedInput, SharedFact]
    desk_ledger: LedgerStore[DeskInput, DeskFact]
    warehouse: MarketStore
    series: LineStore | None = None  # None: readings, quotes and chains are not kept, so there is no actor `series`
    screen: Screen | None = None  # None: nobody looks, so there is no actor `web`
    context: ContextStore[market.ContextRead] | None = None  # None: nobody works out what minute bars say together


def build_tree(
    settings: Settings, stores: Stores, names: Callable[[], Iterable[str]], *, is_live_armed: bool = False
) -> Tree:
    """Return the tree; `names` gives the addresses there are now (positions come and go)."""
    desk, screen, series = settings.desk, stores.screen, stores.series
    shared, own = "ledger", f"ledger:{desk}"
    lanes = [f"lane:{source}:{ticker}" for source, tickers in settings.lanes.items() for ticker in tickers]
    has_spread, structure = settings.spread.is_on, f"structure:{desk}:"
    readings, kept = [f"reading:{ticker}" for ticker in settings.tickers], None if series is None else "series"

    def child(
        name: str, make: Callable[[str], AnyActor], restore_from: str | None = None, policy: Policy = _PLAIN
    ) -> ChildSpec:
        return ChildSpec(name, partial(make, name), restore_from, policy)

    tree = Tree(
        children=(
            child("supervisor", lambda name: SupervisorActor(name, tree, settings.supervision)),
            child(shared, lambda name: LedgerActor(name, stores.ledger), policy=_MONEY),
            child(own, lambda name: DeskLedgerActor(name, stores.desk_ledger), policy=_MONEY),
            child("kill", lambda name: KillActor(name, settings), shared, _VITAL),
            child("notifier", lambda name: NotifierActor(name, settings)),
            child("operator", lambda name: OperatorActor(name, settings)),
            child("warehouse", lambda name: _warehouse(name, stores.warehouse, settings), policy=_BESIDE),
            *(
                ()
                if series is None
                else (child("series", lambda name: SeriesActor(name, series, stores.context), policy=_BESIDE),)
            ),
            child(f"risk:{desk}", lambda name: RiskActor(name, settings, is_live_armed), own, _MONEY),
            child(f"ibkr:{desk}", lambda name: IBKRActor(name, settings), own, _VITAL),
            child(f"quotes:{desk}", lambda name: QuotesActor(name, settings), policy=_AHEAD),
            *(child(lane, lambda name: LaneActor(name, settings), shared) for lane in lanes),
            *((child(spread.LANE, lambda name: SpreadLaneActor(name, settings), shared),) if has_spread else ()),
            child("outcomes", lambda name: OutcomesActor(name, settings), shared, _BESIDE),
            *(child(reading, lambda name: ReadingActor(name, settings), kept, _BESIDE) for reading in readings),
            *(
                child(f"hub:{hub}", lambda name: HubActor(name, settings), policy=_BESIDE)
                for hub in settings.feed.by_hub
            ),
            child("feed", lambda name: FeedActor(name, settings)),
            child("session", lambda name: SessionActor(name, settings)),
            *(() if screen is None else (child("web", lambda name: WebActor(name, screen), policy=_BESIDE),)),
        ),
        templates=(
            Template(f"position:{desk}:", lambda name: PositionActor(name, settings), own, _MONEY),
            Template(structure, lambda name: StructureActor(name, settings), own, _MONEY),
        ),
        route=routes(settings, names, is_shown=screen is not None, is_kept=series is not None),
        subscribers=SUBSCRIBERS,
        on_halt=halt,
        rosters=((own, f"positions:{desk}"), *(((own, f"structures:{desk}"),) if has_spread else ())),
    )
    return tree


def _warehouse(name: str, store: MarketStore, settings: Settings) -> WarehouseActor:
    return WarehouseActor(name, store, settings.warehouse.seal_every_ms * MS, SECOND, SECOND // 4)


def routes(
    settings: Settings, names: Callable[[], Iterable[str]], *, is_shown: bool = False, is_kept: bool = False
) -> Route:
    """Return what maps a role to addresses: one desk, so a role of the desk is the same for every sender."""
    desk = settings.desk
    position, structure = f"position:{desk}:", f"structure:{desk}:"
    by_ticker = {
        f"lanes:{ticker}": tuple(f"lane:{source}:{ticker}" for source, on in settings.lanes.items() if ticker in on)
        for ticker in settings.tickers
    }
    table: dict[str, tuple[str, ...]] = {
        **by_ticker,
        **{name: (name,) for name in ("kill", "session", "ledger", "warehouse", "feed", "operator", "notifier")},
        "outcomes": ("outcomes",),
        **{name: (f"{name}:{desk}",) for name in ("risk", "ibkr", "quotes")},
        "desk_ledger": (f"ledger:{desk}",),
        "spread_lane": (spread.LANE,) if settings.spread.is_on else (),
        "web": ("web",) if is_shown else (),
        "series": ("series",) if is_kept else (),
        "hubs": tuple(f"hub:{hub}" for hub in settings.feed.by_hub),
        "readings": tuple(f"reading:{ticker}" for ticker in settings.tickers),
        "lanes": tuple(sorted({lane for found in by_ticker.values() for lane in found})),
    }

    has_structures = settings.spread.is_on

    def route(_sender: str, role: str) -> tuple[str, ...]:
        if role == "positions":
            return tuple(sorted(name for name in names() if name.startswith(position)))
        if role == "structures":
            return tuple(sorted(name for name in names() if name.startswith(structure))) if has_structures else ()
        found = table.get(role)
        if found is not None:
            return found
        kind, colon, key = role.partition(":")
        if not colon:
            raise KeyError(role)
        return (position + key,) if kind == "position" and ":" not in key else (role,)

    return route


def halt(why: Halt) -> tuple[Tell, ...]:
    """Return what is told when trading must stop: no entries, and after a vital loss the broker's truth afresh.

    A level 2 that was lost on its way is carried out past the kill switch: it would fail on the same message again.
    """
    raised = Tell("kill", risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=why.reason, by=why.by))
    if not why.is_vital_loss:
        return (raised,)
    reconciled = Tell("ibkr", session.RequestReconcile(why=why.reason))
    if not why.is_stop_lost:
        return raised, reconciled
    return raised, Tell("positions", positions.FlattenPosition(reason=ExitReason.KILL)), reconciled


class Port(Protocol):
    """What stands between an actor and the outside: takes commands under its address (`name`) and never blocks."""

    @property
    def name(self) -> str:
        """The address, `port:...`."""

    def post(self, command: Any, /) -> None:
        """Take a command."""


R = TypeVar("R", bound=Host)
P = TypeVar("P", bound=Port)


@dataclass(frozen=True, slots=True)
class Assembled(Generic[R, P]):
    """A runtime with its tree and its ports; nothing has started."""

    runtime: R
    ports: tuple[P, ...]


def assemble(
    settings: Settings,
    stores: Stores,
    make_runtime: Callable[[Tree], R],
    make_ports: Callable[[R], Iterable[P]],
    console: Callable[[operator.Announce], None] = lambda _: None,
    *,
    is_live_armed: bool = False,
) -> Assembled[R, P]:
    """Put tree, runtime and ports together: the one composition of live days, simulated days and benchmarks.

    Args:
        settings: the whole tree of settings.
        stores: ledgers and warehouse.
        make_runtime: makes the runtime (threaded or stepped) of a tree.
        make_ports: makes the ports, which tell what they hear through the runtime.
        console: takes the lines for people.
        is_live_armed: whether live money may be traded in this run.
    """
    runtime: R = make_runtime(build_tree(settings, stores, lambda: runtime.cells, is_live_armed=is_live_armed))
    ports = tuple(make_ports(runtime))
    for port in ports:
        runtime.sinks[port.name] = port.post

    def show(message: Message) -> None:
        if isinstance(message, operator.Announce):
            console(message)

    runtime.sinks["port:console"] = show
    return Assembled(runtime, ports)
