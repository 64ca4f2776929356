"""Zerohour's entry, and the only place where the tree of actors is put together and ports are injected.

As a script it hands over to the command line before anything heavy is loaded; as a module it holds the tree, who hears
which event (`SUBSCRIBERS`), and what it means that trading must stop.
"""

from __future__ import annotations

import sys

if __name__ == "__mp_main__":  # a process that a command has begun: the command answers Ctrl-C
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
if __name__ == "__main__":
    from commands.interrupted import CTRL_C

    CTRL_C.before()
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
from actors.router import RouterActor
from actors.series import Line, SeriesActor
from actors.session import SessionActor
from actors.spread_lane import SpreadLaneActor
from actors.structure import StructureActor
from actors.warehouse import WarehouseActor
from actors.web import WebActor
from config.desks import of_desk, spread_at
from config.settings import Settings
from domain.instants import MS, SECOND
from domain.ports import ContextStore, LedgerStore, Screen, SeriesStore, WarehouseStore
from domain.position.cycle import ExitReason
from domain.risk.kill import KillLevel
from domain.signals import spread
from messages import broker, desks, entries, market, operator, orders, positions, risk, session, signals, structures
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
    orders.SliceNoted: ("desk_ledger",),
    risk.KillRaised: ("risk", "ibkr", "positions", "notifier", "operator"),
    risk.KillLowered: ("risk", "ibkr", "positions", "notifier", "operator"),
    risk.DaySettled: ("notifier",),
    # market data
    market.MembershipsChanged: ("hubs", "readings"),
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
    market.ContextRead: ("risk", "lanes"),
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
    positions.ExitsTightened: ("desk_ledger",),
    positions.ShadowClosed: ("desk_ledger",),
    positions.PositionDisputed: ("ibkr", "notifier"),
    positions.DayFlattened: ("notifier",),
    positions.HoldingsChecked: ("notifier",),
    positions.ShortFound: ("kill", "notifier"),
    structures.StructureChanged: ("desk_ledger", "spread_lane"),
    structures.StructureClosed: ("desk_ledger",),
    operator.Alarm: ("notifier", "web"),
    desks.RouteChanged: ("risk",),
}
# Events that nobody acts on yet: they stand in the trace.
RECORD_ONLY: Final[frozenset[type[Event]]] = frozenset({signals.NotEvaluated})

MarketStore = WarehouseStore[market.StoreBucket, market.BucketStored | market.BucketNotStored]
LineStore = SeriesStore[Line, ReadingRestored]

_PLAIN = Policy()
_MONEY = Policy(end_on_spent_budget=True)  # without it positions would be unattended: start the whole process again
_VITAL = Policy(latch_on_crash=True, end_on_spent_budget=True)  # it holds what stops entries
_BESIDE = Policy(gives_way=True)  # what it does can wait while an order is on its way
_LAST = Policy(gives_way=True, goes_last=True)  # and what nobody who may lead to an order waits for
_AHEAD = Policy(goes_first=True)  # an entry waits for its quote
# Of several desks, what is no desk's own (no desk can be called so); a role that is an address reaches that one alone.
SHARED_NOTIFIER: Final = "notifier:shared"
SHARED_WEB: Final = "web:shared"
# `kind:<desk>` of several
_OF_DESK = ("risk", "ibkr", "quotes", "ledger", "position", "structure", "kill", "notifier", "web")


@dataclass(frozen=True, slots=True)
class Stores:
    """What the I/O actors stand on."""

    ledger: LedgerStore[SharedInput, SharedFact]
    desk_ledger: LedgerStore[DeskInput, DeskFact]
    warehouse: MarketStore
    series: LineStore | None = None  # None: readings, quotes and chains are not kept, so there is no actor `series`
    screen: Screen | None = None  # None: nobody looks, so there is no actor `web`
    context: ContextStore[market.ContextRead] | None = None  # None: nobody works out what minute bars say together


@dataclass(frozen=True, slots=True)
class Desk:
    """One desk: the settings as it sees them, its ledger, and whether it may trade live money in this run."""

    settings: Settings
    ledger: LedgerStore[DeskInput, DeskFact]
    is_live_armed: bool = False

    @property
    def name(self) -> str:
        """What its actors, its ledger and its order references are called by."""
        return self.settings.desk


def desks_beside(settings: Settings, ledger: LedgerStore[DeskInput, DeskFact]) -> tuple[Desk, ...]:
    """Return the desks beside that of the settings, each armed where it is live: for trees that only replay."""
    return tuple(Desk(of_desk(settings, name), ledger, one.kind == "live") for name, one in settings.desks.items())


def build_tree(
    settings: Settings, stores: Stores, names: Callable[[], Iterable[str]], *, is_live_armed: bool = False,
    beside: tuple[Desk, ...] = (),
) -> Tree:  # fmt: skip
    """Return the tree; `names` gives the addresses there are now (positions come and go).

    With desks `beside` that of the settings, each has a kill level and a notifier of its own, and what happens to its
    actors means nothing to the others.
    """
    screen, series = stores.screen, stores.series
    every = (Desk(of_desk(settings, settings.desk), stores.desk_ledger, is_live_armed), *beside)
    known = tuple(desk.name for desk in every) if beside else ()
    shared, has_spread = "ledger", settings.spread.is_on
    lanes = [f"lane:{source}:{ticker}" for source, tickers in settings.lanes.items() for ticker in tickers]
    readings, kept = [f"reading:{ticker}" for ticker in settings.tickers], None if series is None else "series"

    def child(
        name: str, make: Callable[[str], AnyActor], restore_from: str | None = None, policy: Policy = _PLAIN
    ) -> ChildSpec:
        return ChildSpec(name, partial(make, name), restore_from, policy)

    tree = Tree(
        children=(
            child("supervisor", lambda name: SupervisorActor(name, tree, settings.supervision)),
            child(shared, lambda name: LedgerActor(name, stores.ledger), policy=_MONEY),
            *(child(f"ledger:{desk.name}", partial(_desk_ledger, desk), policy=_money(desk, known)) for desk in every),
            *(
                child(f"kill:{desk.name}", partial(_kill, desk), shared, _vital(desk, known))
                for desk in (every if known else ())
            ),
            *(() if known else (child("kill", lambda name: KillActor(name, settings), shared, _VITAL),)),
            child(SHARED_NOTIFIER if known else "notifier", lambda name: NotifierActor(name, settings)),
            *(child(f"notifier:{desk.name}", partial(_notifier, desk)) for desk in (every if known else ())),
            child("operator", lambda name: OperatorActor(name, settings, known)),
            *((child("router", lambda name: RouterActor(name, settings), shared),) if known else ()),
            child("warehouse", lambda name: _warehouse(name, stores.warehouse, settings), policy=_LAST),
            *(
                ()
                if series is None
                else (child("series", lambda name: SeriesActor(name, series, stores.context), policy=_LAST),)
            ),
            *(
                spec
                for desk in every
                for spec in (
                    child(f"risk:{desk.name}", partial(_risk, desk, known), f"ledger:{desk.name}", _money(desk, known)),
                    child(f"ibkr:{desk.name}", partial(_ibkr, desk), f"ledger:{desk.name}", _vital(desk, known)),
                    child(f"quotes:{desk.name}", partial(_quotes, desk), policy=_AHEAD),
                )
            ),
            *(child(lane, lambda name: LaneActor(name, settings), shared) for lane in lanes),
            *((child(spread.LANE, lambda name: SpreadLaneActor(name, settings), shared),) if has_spread else ()),
            child("outcomes", lambda name: OutcomesActor(name, settings), shared, _LAST),
            *(child(reading, lambda name: ReadingActor(name, settings), kept, _BESIDE) for reading in readings),
            *(
                child(f"hub:{hub}", lambda name: HubActor(name, settings), policy=_BESIDE)
                for hub in settings.feed.by_hub
            ),
            child("feed", lambda name: FeedActor(name, settings)),
            child("session", lambda name: SessionActor(name, settings)),
            *(
                ()
                if screen is None
                else (
                    child(name, lambda name: WebActor(name, screen), policy=_LAST)
                    for name in ((SHARED_WEB, *(f"web:{desk}" for desk in known)) if known else ("web",))
                )
            ),
        ),
        templates=(
            *(
                Template(f"position:{desk.name}:", partial(_position, desk), f"ledger:{desk.name}", _money(desk, known))
                for desk in every
            ),
            *(  # of every desk: what one holds is closed there, also when another desk trades them now
                Template(
                    f"structure:{desk.name}:", partial(_structure, desk), f"ledger:{desk.name}", _money(desk, known)
                )
                for desk in every
            ),
        ),
        route=routes(settings, names, is_shown=screen is not None, is_kept=series is not None, desk_names=known),
        subscribers=SUBSCRIBERS,
        on_halt=partial(halt, desk_names=known),
        rosters=(
            *((f"ledger:{desk.name}", f"positions:{desk.name}") for desk in every),
            *((f"ledger:{desk.name}", f"structures:{desk.name}") for desk in every if has_spread),
        ),
    )
    return tree


def _money(desk: Desk, known: tuple[str, ...]) -> Policy:
    """Return the policy of what watches money: of several desks, one that fails must not end the others' process."""
    return Policy(goes_first=True, group=desk.name) if known else _MONEY


def _vital(desk: Desk, known: tuple[str, ...]) -> Policy:
    """Return the policy of what stops entries: of several desks, its latch is that of the desk's ports alone."""
    return Policy(latch_on_crash=True, goes_first=True, group=desk.name) if known else _VITAL


def _desk_ledger(desk: Desk, name: str) -> DeskLedgerActor:
    return DeskLedgerActor(name, desk.ledger)


def _kill(desk: Desk, name: str) -> KillActor:
    return KillActor(name, desk.settings)


def _notifier(desk: Desk, name: str) -> NotifierActor:
    return NotifierActor(name, desk.settings)


def _risk(desk: Desk, known: tuple[str, ...], name: str) -> RiskActor:
    return RiskActor(name, desk.settings, desk.is_live_armed, is_one_of_several=bool(known))


def _ibkr(desk: Desk, name: str) -> IBKRActor:
    return IBKRActor(name, desk.settings)


def _quotes(desk: Desk, name: str) -> QuotesActor:
    return QuotesActor(name, desk.settings)


def _position(desk: Desk, name: str) -> PositionActor:
    return PositionActor(name, desk.settings)


def _structure(desk: Desk, name: str) -> StructureActor:
    return StructureActor(name, desk.settings)


def _warehouse(name: str, store: MarketStore, settings: Settings) -> WarehouseActor:
    return WarehouseActor(name, store, settings.warehouse.seal_every_ms * MS, SECOND, SECOND // 4)


def routes(
    settings: Settings, names: Callable[[], Iterable[str]], *, is_shown: bool = False, is_kept: bool = False,
    desk_names: tuple[str, ...] = (),
) -> Route:  # fmt: skip
    """Return what maps a role to addresses; `desk_names` are the desks of a process with several.

    With one desk a role of the desk is the same for every sender; of several, it is that of the sender's own desk, and
    that of every desk for whoever is of none.
    """
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

    return _route_of_several(route, names, desk_names, settings) if desk_names else route


def _route_of_several(
    of_first: Route, names: Callable[[], Iterable[str]], desk_names: tuple[str, ...], settings: Settings
) -> Route:
    """Return the route of a process with several desks, over that of the first desk alone."""
    of_spread, has_structures = spread_at(settings), settings.spread.is_on
    of_one = {"series": desk_names[0], spread.LANE: of_spread}
    hears_one = {"series": desk_names[0], "spread_lane": of_spread}

    def route(sender: str, role: str) -> tuple[str, ...]:
        own = of_one.get(sender) or desk_of(sender, desk_names)
        wanted = (own,) if own else desk_names
        kind, colon, key = role.partition(":")
        if role in hears_one:
            return of_first(sender, role) if own in ("", hears_one[role]) else ()
        if role == "structures":
            prefixes = tuple(f"structure:{desk}:" for desk in wanted) if has_structures else ()
            return tuple(sorted(name for name in names() if name.startswith(prefixes)))
        if role == "notifier":
            return (f"notifier:{own}",) if own else (SHARED_NOTIFIER,)
        if role == "web":
            shown = f"web:{own}" if own else SHARED_WEB
            return (shown,) if of_first(sender, role) else ()
        if role == "desk_ledger":
            return tuple(f"ledger:{desk}" for desk in wanted)
        if role in ("risk", "ibkr", "quotes", "kill"):
            return tuple(f"{role}:{desk}" for desk in wanted)
        if role == "positions":
            prefixes = tuple(f"position:{desk}:" for desk in wanted)
            return tuple(sorted(name for name in names() if name.startswith(prefixes)))
        if kind == "positions" and key in desk_names:
            return tuple(sorted(name for name in names() if name.startswith(f"position:{key}:")))
        if kind == "position" and colon and ":" not in key:
            return tuple(f"position:{desk}:{key}" for desk in wanted)
        if role == "router":
            return (role,)
        return of_first(sender, role)

    return route


def desk_of(name: str, desk_names: Iterable[str]) -> str:
    """Return the desk of several that an actor or a port is of; empty: of none."""
    kind, _, rest = name.removeprefix("port:").partition(":")
    desk = rest.partition(":")[0]
    return desk if kind in _OF_DESK and desk in desk_names else ""


def halt(why: Halt, desk_names: tuple[str, ...] = ()) -> tuple[Tell, ...]:
    """Return what is told when trading must stop: no entries, and after a vital loss the broker's truth afresh.

    A level 2 that was lost on its way is carried out past the kill switch: it would fail on the same message again. Of
    several desks, what an actor of one has lost stops that one alone.
    """
    desk = desk_of(why.subject, desk_names)
    of_desk = f":{desk}" if desk else ""
    raised = Tell(f"kill{of_desk}", risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=why.reason, by=why.by))
    if not why.is_vital_loss:
        return (raised,)
    reconciled = Tell(f"ibkr{of_desk}", session.RequestReconcile(why=why.reason))
    if not why.is_stop_lost:
        return raised, reconciled
    flattened = Tell(f"positions{of_desk}", positions.FlattenPosition(reason=ExitReason.KILL))
    return raised, flattened, reconciled


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
    beside: tuple[Desk, ...] = (),
) -> Assembled[R, P]:
    """Put tree, runtime and ports together: the one composition of live days, simulated days and benchmarks.

    Args:
        settings: the whole tree of settings.
        stores: ledgers and warehouse.
        make_runtime: makes the runtime (threaded or stepped) of a tree.
        make_ports: makes the ports, which tell what they hear through the runtime.
        console: takes the lines for people.
        is_live_armed: whether live money may be traded in this run.
        beside: the desks beside that of the settings.
    """
    tree = build_tree(settings, stores, lambda: runtime.cells, is_live_armed=is_live_armed, beside=beside)
    runtime: R = make_runtime(tree)
    ports = tuple(make_ports(runtime))
    for port in ports:
        runtime.sinks[port.name] = port.post

    def show(message: Message) -> None:
        if isinstance(message, operator.Announce):
            console(message)

    runtime.sinks["port:console"] = show
    return Assembled(runtime, ports)
