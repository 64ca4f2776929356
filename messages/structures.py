"""Structures conversation: legs under one exit authority, each sold one covered by a bought one, opened in order."""

from __future__ import annotations

import msgspec

from domain.orders.intent import OrderLeg, Permit, PositionRef
from domain.position.cycle import ExitReason
from domain.structure.credit import Terms
from domain.structure.saga import SagaState
from domain.units import Cents, Qty, Utc
from messages.base import Command, Event


def _tag(name: str) -> str:
    return f"structures.{name}"


class ReservedLeg(msgspec.Struct, frozen=True):
    """One reserved leg: its position and its entry order."""

    ref: PositionRef
    order: OrderLeg


class OpenStructure(Command, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """Open these reserved legs, the cover first; `ratio` is how many shorts one of the cover covers.

    `permit` is for the cover's entry; the shorts' asks for one of its own. `terms` are those of the last look.
    `is_combo`: all legs go out as one order, under this permit. `further` are the legs of further pairs, each cover
    before its short; with them it is one order or none.
    """

    structure_id: str
    cover: ReservedLeg
    short: ReservedLeg
    ratio: int
    terms: Terms
    permit: Permit
    deadline_utc: Utc
    is_combo: bool = False
    further: tuple[ReservedLeg, ...] = ()


class StructureChanged(Event, frozen=True, kw_only=True, tag=_tag):
    """Where a structure stands; `pnl_cents` by the marks of all legs net of fees, `None` while one is not known.

    `cover_qty` is held of all covers together, `short_qty` of all shorts.
    """

    structure_id: str
    state: SagaState
    reason: ExitReason | None
    cover_qty: Qty
    short_qty: Qty
    pnl_cents: Cents | None
    at_utc: Utc


class StructureClosed(Event, frozen=True, kw_only=True, tag=_tag):
    """All legs are flat and the broker agrees: what they filled at and came to, net of `fees_cents`.

    `terms` are those on which it was opened, `None` of one whose terms were not kept yet; the averages are ticks, of
    one of each cover and of each short together, `None` where such a leg never filled.
    """

    structure_id: str
    reason: ExitReason | None
    terms: Terms | None
    cover_ticks: float | None
    short_ticks: float | None
    realised_cents: Cents
    fees_cents: Cents
    closed_utc: Utc
