"""What a running desk looks like at this moment, for `main.py top`: read from the actors' states, stopping nobody.

A state may be read from any thread: its fields are replaced as a whole, the values in them never change.
"""

from __future__ import annotations

import msgspec

from actors.position.state import PositionData
from actors.risk.state import RiskState
from config.settings import Settings
from domain.instants import MS
from domain.position.nearest import Distance, distances
from domain.risk.day import by_unit, hard_limit_cents
from domain.risk.desk_view import DeskView, day_pnl
from domain.units import Utc
from supervision.host import Host


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """One position: prices in ticks, money in cents; `None` where it is not known; `qty` below 0 is short."""

    contract: str
    state: str
    qty: int
    cost_ticks: float | None
    bid_ticks: int | None
    ask_ticks: int | None
    unrealised_cents: int | None
    nearest: str
    left: float | None
    wanted: str


class DeskFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The desk: instants in market time, money in cents; `None` where nobody has told it yet.

    `total_cents` is `realised_cents` and `unrealised_cents` less `exit_fees_cents`, which closing would cost;
    `unmarked` positions, whose worth is not known, are left out. `trades` and `wins` count a structure once.
    """

    at_utc: Utc
    desk: str
    trading_mode: str
    phase: str | None
    mode: str | None
    kill_level: int | None
    locked: str | None
    nav_cents: int | None
    realised_cents: int
    unrealised_cents: int
    exit_fees_cents: int
    unmarked: int
    total_cents: int
    soft_stop_cents: float | None
    hard_stop_cents: float | None
    trades: int
    wins: int
    streak: int
    streak_max: int
    positions_max: int
    held: tuple[Held, ...] = ()


def desk_facts(host: Host, settings: Settings) -> DeskFacts | None:
    """Return what the desk looks like now; `None` where its risk actor is down."""
    cell = host.cells.get(f"risk:{settings.desk}")
    state = None if cell is None or not cell.is_up else cell.state
    if not isinstance(state, RiskState):
        return None
    now, view, limits = host.clock.now_utc(), state.view, settings.entry
    start = view.start_nav_cents
    realised = view.closed.realised_cents + sum(held.realised_cents for held in view.holdings)
    pnl = day_pnl(view, now, settings.kill.unknown_input_ms * MS)
    unmarked = [held for held in pnl.unmarked if not held.is_pending]
    marked = sum(held.unrealised_cents or 0 for held in view.holdings if held not in pnl.unmarked)
    closed = by_unit(tuple(view.closed))
    return DeskFacts(
        at_utc=now, desk=settings.desk, trading_mode=settings.trading_mode,
        phase=None if view.phase is None else view.phase.value, mode=None if view.mode is None else view.mode.value,
        kill_level=None if view.kill_level is None else int(view.kill_level), locked=view.day_locked,
        nav_cents=None if view.funds is None else view.funds.nav_cents, realised_cents=realised,
        unrealised_cents=marked, exit_fees_cents=realised + marked - pnl.known_cents, unmarked=len(unmarked),
        total_cents=pnl.known_cents,
        soft_stop_cents=None if start is None else -round(limits.soft_stop_nav * start),
        hard_stop_cents=None if start is None else hard_limit_cents(start, limits),
        trades=len(closed), wins=sum(one.realised_cents > 0 for one in closed),
        streak=view.closed.streak, streak_max=limits.loss_streak_max, positions_max=limits.positions_max,
        held=tuple(_held(host, settings, view, now)),
    )  # fmt: skip


def _held(host: Host, settings: Settings, view: DeskView, now: Utc) -> list[Held]:
    found = []
    for holding in view.holdings:
        cell = host.cells.get(f"position:{settings.desk}:{holding.contract.con_id}")
        state = None if cell is None else cell.state
        position = state if isinstance(state, PositionData) else None
        quote = None if position is None else position.watch.quote
        cost = None if position is None else position.fills.average_ticks
        nearest = _nearest(settings, view, position, now)
        contract = holding.contract
        found.append(
            Held(
                contract=f"{contract.trading_class} {contract.strike_ticks / 100:g}{contract.right.value}",
                state="pending" if holding.is_pending else "open",
                qty=holding.ref.side.sign * holding.qty, cost_ticks=cost,
                bid_ticks=None if quote is None else quote.bid_ticks,
                ask_ticks=None if quote is None else quote.ask_ticks, unrealised_cents=holding.unrealised_cents,
                nearest="" if nearest is None else nearest.reason.value, left=None if nearest is None else nearest.left,
                wanted="" if position is None or position.wanted is None else position.wanted.reason.value,
            )
        )  # fmt: skip
    return found


def _nearest(settings: Settings, view: DeskView, position: PositionData | None, now: Utc) -> Distance | None:
    """Return the exit that is nearest; `None` where nothing is held or measured, and of a spread's leg: it has none."""
    held = None if position is None else position.held()
    if position is None or held is None or position.opened_ref().is_leg:
        return None
    contract = position.opened_ref().contract
    flatten_utc = Utc(view.close_utc - settings.day.flatten_ms * MS) if view.close_utc else None
    found = distances(
        held, position.watch.quote, position.watch.spot, now, flatten_utc, settings.exits,
        settings.ticker_rules[contract.ticker],
    )  # fmt: skip
    return found[0] if found else None
