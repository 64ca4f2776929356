"""Positions conversation: what a position reports of itself, and what ends it."""

from __future__ import annotations

from datetime import date
from typing import ClassVar

from msgspec import UNSET, UnsetType

from domain.instruments import Side
from domain.orders.intent import PositionRef
from domain.orders.tiers import Tier
from domain.position.cycle import EndReason, ExitKind, ExitReason, PositionState
from domain.position.day import DayMark
from domain.position.profiles import ADAPTIVE
from domain.position.shadow import WouldBeExit
from domain.units import Cents, Qty, Ticks, Utc
from messages.base import Command, Event, Report


def _tag(name: str) -> str:
    return f"positions.{name}"


class PositionOpened(Event, frozen=True, kw_only=True, tag=_tag):
    """The first fill is recorded; cost without fees."""

    ref: PositionRef
    qty: Qty
    cost_cents: Cents
    opened_utc: Utc


class FillBooked(Event, frozen=True, kw_only=True, tag=_tag):
    """A fill changed what is held; `price_ticks` is `None` where it was adopted without a price."""

    ref: PositionRef
    side: Side
    qty: Qty
    price_ticks: Ticks | None
    is_entry: bool
    held_qty: Qty
    at_utc: Utc


class PositionChanged(Event, frozen=True, kw_only=True, tag=_tag):
    """Its state now. `unrealised_cents` at mid (last good <= 60 s, else bid), `None` where not known."""

    ref: PositionRef
    state: PositionState
    qty: Qty
    cost_cents: Cents
    realised_cents: Cents
    fees_cents: Cents
    unrealised_cents: Cents | None
    mark_utc: Utc | None
    exit_reason: ExitReason | None
    at_utc: Utc


class PositionClosed(Event, frozen=True, kw_only=True, tag=_tag):
    """Flat, and the broker agrees; `realised_cents` is net of `fees_cents`.

    `closed_utc` of an expired contract is the close of its own session. `is_correction`: the same end again, with the
    result that a late fee or fill has changed. `took_part`: a part was closed before, with a gain.
    """

    ref: PositionRef
    reason: ExitReason | None
    end: EndReason
    opened_qty: Qty
    realised_cents: Cents
    fees_cents: Cents
    opened_utc: Utc
    closed_utc: Utc
    is_correction: bool = False
    took_part: bool = False


class LegChanged(Event, frozen=True, kw_only=True, tag=_tag):
    """Where a leg of a structure stands: told to its structure with each change, and every few seconds while it lives.

    `qty` is what is held (without a sign), `average_ticks` what its entry filled at, `None` before a fill. `is_flat`:
    nothing is held, no order works, and the broker agrees. `exit_reason` is why it leaves, `None` while it stays.
    `is_free`: it may be sold although it once covered others. `realised_cents` is net of `fees_cents`;
    `unrealised_cents` at mid, `None` where no mark is known; `mark_utc` is the instant of the price behind it.
    `is_clear`: nothing is held, no order works, and the broker, asked since, holds nothing on the leg's side; what
    somebody else holds on the other one may keep it from being flat. `joint_ref` is the reference under which it takes
    part in an order for all legs, not told where it takes part in none; `joint_ticks` is what its leg could trade at by
    itself when it joined. `missing_qty` is how much of it the broker no longer holds, told where both do not agree.
    """

    ref: PositionRef
    qty: Qty
    average_ticks: float | None
    is_entry_over: bool
    is_flat: bool
    exit_reason: ExitReason | None
    is_free: bool
    realised_cents: Cents
    fees_cents: Cents
    unrealised_cents: Cents | None
    at_utc: Utc
    mark_utc: Utc | None = None
    is_clear: bool = False
    joint_ref: str | UnsetType = UNSET
    joint_ticks: Ticks | UnsetType = UNSET
    missing_qty: Qty | UnsetType = UNSET


class JoinExit(Command, frozen=True, kw_only=True, tag=_tag):
    """To a leg: take part in one order that closes all legs, the `exit_n`-th of this position; `LegChanged` answers.

    `qty` is what of it the order is to close, all that is held. The order goes by `combo_ref` at the broker, and is
    sent by the structure. A leg that leaves by itself, or has another order under way, does not take part.
    """

    structure_id: str
    exit_n: int
    qty: Qty
    combo_ref: str
    reason: ExitReason


class SetCover(Command, frozen=True, kw_only=True, tag=_tag):
    """To a leg that covers others: it may be sold now, or (again) not; until it is told so it may not."""

    structure_id: str
    is_free: bool


class RequestLeg(Command, frozen=True, kw_only=True, tag=_tag):
    """Tell where this leg stands (`LegChanged`): as yours, or as flat where you know nothing of it."""

    ref: PositionRef


class ExitsTightened(Event, frozen=True, kw_only=True, tag=_tag):
    """The scales of an exit profile beside the fixed one from now on: first those of the entry, then each change.

    `realised` is the underlying's volatility a year, `None` while not known, `left_ms` the time to the flatten,
    negative past it. `is_in_force`: the position leaves by it; else it only follows as a shadow. `kind` and `version`
    name it; of learned levels (`EXITS`) both scales are 1 and never change.
    """

    ref: PositionRef
    version: int
    stop_scale: float
    take_scale: float
    realised: float | None
    left_ms: int
    is_in_force: bool
    at_utc: Utc
    kind: str = ADAPTIVE


class ShadowClosed(Event, frozen=True, kw_only=True, tag=_tag):
    """What the profile of `kind` and `version` would have made of a position that is closed, beside what it made.

    Both are before fees. `sales` are its would-be exits, at the bid; `left` contracts went with the position, at its
    own price.
    """

    ref: PositionRef
    version: int
    fixed_cents: Cents
    shadow_cents: Cents
    fixed_reason: ExitReason | None
    sales: tuple[WouldBeExit, ...]
    left: Qty
    stop_scale: float
    take_scale: float
    at_utc: Utc
    kind: str = ADAPTIVE


class EntryAbandoned(Event, frozen=True, kw_only=True, tag=_tag):
    """The entry ended without a fill; the reservation can go."""

    ref: PositionRef
    order_ref: str
    why: str


class PositionDisputed(Event, frozen=True, kw_only=True, tag=_tag):
    """Ledger and broker do not agree (level 1, reconcile)."""

    position_id: str
    con_id: int
    ledger_qty: Qty
    broker_qty: Qty | None
    why: str


class ShortFound(Event, frozen=True, kw_only=True, tag=_tag):
    """The broker holds less than nothing of a contract that may only be held long (or not uncovered), since then.

    `qty` is the broker's, negative; 0 when the short is gone.
    """

    con_id: int
    qty: Qty
    since_utc: Utc


class RecordPosition(Command, frozen=True, kw_only=True, tag=_tag):
    """Keep the position's own facts (state, wanted end, exit kind and tier, checkpoints).

    `settlement_ticks` is the price of the underlying that the contract settles at, `None` where not known (yet).
    """

    ref: PositionRef
    state: PositionState
    exit_reason: ExitReason | None
    exit_kind: ExitKind | None
    exit_n: int
    tier: Tier
    entry_spot_ticks: Ticks | None
    entry_iv: float | None
    opened_utc: Utc | None
    took_part: bool
    end: EndReason | None
    realised_cents: Cents
    at_utc: Utc
    settlement_ticks: Ticks | None = None


class BrokerPositionRead(Report, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """The quantity that the broker holds in this contract (signed), read at `read_utc`.

    `has_executions`: False where the last read-back could not read the day's executions, so that the contract may have
    been closed by one of which no ledger has heard. `is_taken_back`: the ledger had it booked as over, and holds it to
    be ours after all.
    """

    con_id: int
    qty: Qty
    read_utc: Utc
    has_executions: bool = True
    is_taken_back: bool = False


class FlattenPosition(Command, frozen=True, kw_only=True, tag=_tag):
    """Cancel entries, close what is held by MKT."""

    IS_VITAL: ClassVar[bool] = True
    reason: ExitReason


class HoldingsChecked(Event, frozen=True, kw_only=True, tag=_tag):
    """What the broker held at an instant of the day by which everything should be closed (C-10, and the close).

    `positions` are (con_id, signed qty) of the whole account as the broker told them last, `read_utc` when it was read
    whole; `is_known` is False where the broker could not be read on the link that stands, or none does.
    """

    session: date
    mark: DayMark
    positions: tuple[tuple[int, Qty], ...]
    is_known: bool
    read_utc: Utc
    at_utc: Utc


class DayFlattened(Event, frozen=True, kw_only=True, tag=_tag):
    """Nothing is held or pending any more."""

    at_utc: Utc
