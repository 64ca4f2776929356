"""A second desk on a simulated day: whether a seed has one, what it trades, what goes wrong with it, and switches.

Its broker's book is its own, as are its faults; the market, the signals and the process are those of the day.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, Literal

import msgspec

from config.settings import Settings
from config.tree import DeskBeside, Gateway
from domain.instants import MINUTE, MS
from domain.orders.capabilities import IB, TASTYTRADE
from domain.session.calendar import TradingDay
from domain.units import Utc
from simulation.days.faults import TIMED_FAULTS, Fault

SECOND_DESK: Final = "second"
SHARE: Final = 0.6  # of the days
LIVE_SHARE: Final = 0.5  # of them: the second desk is an armed one that trades live money
QUIET_SHARE: Final = 0.3  # of them: nothing but what goes wrong with orders
OF_THE_PROCESS: Final = frozenset({
    Fault.PROCESS_KILLED, Fault.PROCESS_KILLED_AGAIN, Fault.SESSION_GIVEN_UP, Fault.SHARED_LEDGER_FAILED, Fault.DEMOTED,
    Fault.HALT,
})  # fmt: skip
FAULTS_OF_A_DESK: Final = {kind: weight for kind, weight in TIMED_FAULTS.items() if kind not in OF_THE_PROCESS}
OF_A_DESK: Final = ("risk", "ibkr", "ibkr", "quotes", "kill", "position", "position", "notifier", "ledger")
NEAR_A_SIGNAL: Final = 0.5  # of the switches: something is held or awaited then, more often than not


class PlannedSwitch(msgspec.Struct, frozen=True):
    """A person's switch of a strategy from whichever desk trades it to the other, at an instant."""

    at_utc: Utc
    strategy: str


class PlannedDesk(msgspec.Struct, frozen=True, kw_only=True):
    """The second desk of a day: whose money, over which broker, and the desks that each strategy trades at first.

    `order_faults` is the share of its orders, changes and cancels that meet a fault.
    """

    kind: Literal["paper", "live"]
    broker: Literal["ib", "tastytrade"]
    routes: tuple[tuple[str, tuple[str, ...]], ...]
    order_faults: float
    switches: tuple[PlannedSwitch, ...]


def draw_desk(
    seed: int, settings: Settings, day: TradingDay, starts_utc: Utc, signals_utc: Iterable[Utc], *, has_rest: bool
) -> PlannedDesk | None:
    """Draw the second desk of a day, by a generator of its own: the rest of the day stays as it is without one.

    `has_rest`: a share of them sends its orders to the REST broker. `None`: the day has one desk.
    """
    draw = random.Random(f"desks {seed}")
    if draw.random() >= SHARE:
        return None
    first = settings.desk
    routes = tuple(
        (strategy, draw.choice(((first, SECOND_DESK), (first, SECOND_DESK), (SECOND_DESK,), (first,))))
        for strategy in settings.lanes
    )
    movable = [strategy for strategy, desks in routes if len(desks) == 1]
    is_rest = draw.random() < 0.5 and has_rest
    kind: Literal["paper", "live"] = "live" if draw.random() < LIVE_SHARE and not is_rest else "paper"
    ahead = [at_utc for at_utc in signals_utc if starts_utc + MINUTE < at_utc < day.close_utc]
    switches = []
    for _ in range(draw.choice((0, 1, 2, 3)) if movable else 0):
        at_utc = starts_utc + MINUTE + draw.randrange(max(1, day.close_utc - starts_utc - MINUTE))
        if ahead and draw.random() < NEAR_A_SIGNAL:
            at_utc = draw.choice(ahead) + draw.randrange(-2_000, 90_000) * MS
        switches.append(PlannedSwitch(Utc(at_utc), draw.choice(movable)))
    return PlannedDesk(
        kind=kind, broker=TASTYTRADE if is_rest else IB, routes=routes,
        order_faults=draw.choice((0.0, 0.05, 0.15, 0.3, 0.5)),
        switches=tuple(sorted(switches, key=lambda switch: switch.at_utc)),
    )  # fmt: skip


def without_desks(settings: Settings) -> Settings:
    """Return the settings of a day with one desk, whose orders go to the broker of ever."""
    return settings.model_copy(update={"desks": {}, "broker": replace(settings.broker, orders=IB)})


def with_desk(settings: Settings, planned: PlannedDesk) -> Settings:
    """Return the settings of a day with this second desk."""
    is_live = planned.kind == "live"
    port = settings.broker.live_port if is_live else settings.broker.paper_port
    gateways = tuple(Gateway(gateway.host, port) for gateway in settings.broker.gateways)
    beside = DeskBeside(
        kind=planned.kind, broker=planned.broker, gateways=gateways, port=port,
        account_env="ZEROHOUR_SECOND_ACCOUNT", armed_env="ZEROHOUR_SECOND_ARMED" if is_live else None,
    )  # fmt: skip
    both = (settings.desk, SECOND_DESK)
    strategies = {
        name: replace(
            settings.strategies[name], desks=desks, switch_to=tuple(desk for desk in both if desk not in desks)
        )
        for name, desks in planned.routes
    }  # fmt: skip
    changes = {"desks": {SECOND_DESK: beside}, "strategies": {**settings.strategies, **strategies}}
    return settings.model_copy(update=changes)
