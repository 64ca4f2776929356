"""What a running desk looks like at this moment, for `main.py top`: read from the actors' states, stopping nobody.

A state may be read from any thread: its fields are replaced as a whole, the values in them never change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from actors.position.state import PositionData
from actors.risk.state import RiskState
from actors.structure import StructureData
from config.settings import Settings
from domain.instants import MS
from domain.instruments import Contract
from domain.position.nearest import Distance, distances
from domain.risk.day import by_unit, hard_limit_cents
from domain.risk.desk_view import DeskView, day_pnl
from domain.structure import nearest
from domain.structure.rules import SHORT
from domain.structure.saga import SagaState
from domain.units import Cents, Utc
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


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """An exit of a structure: `left` of its way from 1 (as far as at the entry) to 0 (now), and where it happens.

    That is a price of `ticker` in ticks, a result of all legs in cents, or an instant; the others are `None`.
    """

    reason: str
    left: float
    ticker: str
    level_ticks: float | None
    pnl_cents: int | None
    at_utc: Utc | None


class HeldStructure(msgspec.Struct, frozen=True, kw_only=True):
    """A structure that is held whole: its legs, their result so far in cents (`None`: not known), its exits."""

    legs: tuple[str, ...]
    pnl_cents: int | None
    exits: tuple[Exit, ...]


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
    structures: tuple[HeldStructure, ...] = ()


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
    structures = _structures(host, settings, now)
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
        held=tuple(_held(host, settings, view, now, structures)),
        structures=tuple(structures.values()),
    )  # fmt: skip


def _structures(host: Host, settings: Settings, now: Utc) -> dict[str, HeldStructure]:
    """Return the structures that are held whole, by their id; one under way has no exits of its own."""
    states = [
        cell.state for name, cell in host.cells.items()
        if name.startswith(f"structure:{settings.desk}:") and isinstance(cell.state, StructureData)
    ]  # fmt: skip
    return {
        state.structure_id: _structure(host, settings, state, now)
        for state in states if state.saga is not None and state.saga.state is SagaState.HELD and not state.is_waiting
    }  # fmt: skip


def _structure(host: Host, settings: Settings, state: StructureData, now: Utc) -> HeldStructure:
    contracts = tuple(leg.ref.contract for leg in state.legs)
    positions = [position for contract in contracts if (position := _position(host, settings, contract)) is not None]
    opened = [position.opened_utc for position in positions if position.opened_utc is not None]
    results = [
        None if told.unrealised_cents is None else told.realised_cents + told.unrealised_cents for told in state.told
    ]
    pnl = None if None in results else Cents(sum(cents for cents in results if cents is not None))
    sold, close_utc = contracts[1::2], state.close_utc
    entry = None if len(positions) < len(contracts) else positions[1].entry_spot_ticks
    held = nearest.HeldStructure(
        sold=sold, pnl_cents=pnl, credit_cents=None if state.terms is None else state.terms.credit_cents,
        entry_spot_ticks=entry, opened_utc=max(opened, default=now),
    )  # fmt: skip
    found = nearest.distances(
        held, state.spot if sold[0].ticker == SHORT else state.index_spot, now, close_utc,
        None if close_utc is None else Utc(close_utc - settings.day.flatten_ms * MS), settings.spread,
    )  # fmt: skip
    return HeldStructure(
        legs=tuple(_label(contract) for contract in contracts), pnl_cents=pnl,
        exits=tuple(
            Exit(
                reason=distance.reason.value, left=distance.left, ticker=sold[0].ticker,
                level_ticks=distance.level_ticks, pnl_cents=distance.pnl_cents, at_utc=distance.at_utc,
            )
            for distance in found
        ),
    )  # fmt: skip


def _position(host: Host, settings: Settings, contract: Contract) -> PositionData | None:
    cell = host.cells.get(f"position:{settings.desk}:{contract.con_id}")
    state = None if cell is None else cell.state
    return state if isinstance(state, PositionData) else None


def _label(contract: Contract) -> str:
    return f"{contract.trading_class} {contract.strike_ticks / 100:g}{contract.right.value}"


def _held(
    host: Host, settings: Settings, view: DeskView, now: Utc, structures: Mapping[str, HeldStructure]
) -> list[Held]:
    found = []
    for holding in view.holdings:
        position = _position(host, settings, holding.contract)
        quote = None if position is None else position.watch.quote
        cost = None if position is None else position.fills.average_ticks
        structure = structures.get(holding.ref.structure_id or "")
        reason, left = _nearest(settings, view, position, now) if structure is None else _first(structure.exits)
        found.append(
            Held(
                contract=_label(holding.contract),
                state="pending" if holding.is_pending else "open",
                qty=holding.ref.side.sign * holding.qty, cost_ticks=cost,
                bid_ticks=None if quote is None else quote.bid_ticks,
                ask_ticks=None if quote is None else quote.ask_ticks, unrealised_cents=holding.unrealised_cents,
                nearest=reason, left=left,
                wanted="" if position is None or position.wanted is None else position.wanted.reason.value,
            )
        )  # fmt: skip
    return found


def _nearest(settings: Settings, view: DeskView, position: PositionData | None, now: Utc) -> tuple[str, float | None]:
    """Return the exit that is nearest and what is left of its way; no reason where nothing is held or measured.

    A leg of a structure has no exits but the structure's.
    """
    held = None if position is None else position.held()
    if position is None or held is None or position.opened_ref().is_leg:
        return "", None
    contract = position.opened_ref().contract
    flatten_utc = Utc(view.close_utc - settings.day.flatten_ms * MS) if view.close_utc else None
    found = distances(
        held, position.watch.quote, position.watch.spot, now, flatten_utc, settings.exits,
        settings.ticker_rules[contract.ticker],
    )  # fmt: skip
    return _first(found)


def _first(exits: Sequence[Distance | Exit]) -> tuple[str, float | None]:
    return (str(exits[0].reason), exits[0].left) if exits else ("", None)
