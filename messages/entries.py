"""Entries conversation: a signal's intent is reserved, refused or handed over to its position."""

from __future__ import annotations

from datetime import date
from typing import ClassVar

import msgspec

from domain.orders.intent import DecisionPrices, Intent, OrderLeg, Permit, PositionRef
from domain.orders.twap import TwapPlan
from domain.risk.gates.types import Finding, Verdict
from domain.risk.reject import RejectCode
from domain.signals.alert import AlertKey
from domain.structure.credit import Terms
from domain.units import Qty, Ticks, Utc
from messages.base import Command, Event, Report


def _tag(name: str) -> str:
    return f"entries.{name}"


class ReservationLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the reservation's transaction checks again, so that the store needs no settings."""

    positions_max: int
    positions_per_ticker_max: int
    trades_per_day_max: int
    one_position_only: bool
    forbid_reverse_without_flat: bool = True


class ReserveEntry(Command, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """In one transaction reserve the legs, write the gate row and the watermark, and check the counts again.

    `terms` are those that a structure of two legs is opened on, kept with it; `None` of a single leg. `first_qty` is
    the size of the first order where the entry goes out in slices; `None`: one order for all of it. `is_combo`: the
    legs go out as one order for the combination, under the first one's reference.
    """

    GOES_FIRST: ClassVar[bool] = True
    intent: Intent
    session: date
    legs: tuple[OrderLeg, ...]
    verdicts: tuple[Verdict, ...]
    limits: ReservationLimits
    deadline_utc: Utc
    decided_utc: Utc
    expires_utc: Utc
    terms: Terms | None = None
    first_qty: Qty | None = None
    is_combo: bool = False


class EntryReserved(Report, frozen=True, kw_only=True, tag=_tag):
    """COMMIT returned; the intent holds its contracts."""

    intent_id: str


class EntryRefused(Report, frozen=True, kw_only=True, tag=_tag):
    """Nothing was reserved; the refusal's gate row is written."""

    intent_id: str
    finding: Finding


class ReleaseReservation(Command, frozen=True, kw_only=True, tag=_tag):
    """Release the intent's reservation; one that comes before its `ReserveEntry` forbids that (a tombstone)."""

    intent_id: str
    reason: str


class RecordDenial(Command, frozen=True, kw_only=True, tag=_tag):
    """Write the gate row and the watermark of a refused attempt."""

    key: AlertKey
    strategy: str
    session: date
    verdicts: tuple[Verdict, ...]
    code: RejectCode
    decided_utc: Utc


class EntryDenied(Event, frozen=True, kw_only=True, tag=_tag):
    """This signal was refused by us, with the deciding verdict."""

    key: AlertKey
    code: RejectCode
    verdict: Verdict


class EntryHandedOver(Event, frozen=True, kw_only=True, tag=_tag):
    """This signal passed every gate and became an order."""

    key: AlertKey
    intent_id: str
    leg: OrderLeg


class EntryAmended(Event, frozen=True, kw_only=True, tag=_tag):
    """An accepted attempt came to nothing after all (permit, mode, port, broker): its gate row takes this code.

    `words` are the broker's own, or ours in one sentence.
    """

    key: AlertKey
    intent_id: str
    code: RejectCode
    words: str
    at_utc: Utc


class OpenPosition(Command, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """Open with this reserved intent; `decision` is what the gates saw.

    `twap`: `qty` is the first slice of an entry in slices; `None`: it is the whole entry. `exits` are the promoted exit
    profiles, as `KIND-version`: one that the position knows rules its exits. `is_joint`: the entry is a leg of an order
    for a combination, which the structure sends once all legs have said that they take part.
    """

    ref: PositionRef
    order_ref: str
    qty: Qty
    limit_ticks: Ticks
    decision: DecisionPrices
    permit: Permit
    deadline_utc: Utc
    twap: TwapPlan | None = None
    exits: tuple[str, ...] = ()
    is_joint: bool = False


class RequestSlice(Command, frozen=True, kw_only=True, tag=_tag):
    """May the next slice of my entry go out? `decision` is what the gates saw when the entry was decided."""

    ref: PositionRef
    order_ref: str
    qty: Qty
    decision: DecisionPrices
    reply_to: str


class SliceAllowed(Report, frozen=True, kw_only=True, tag=_tag):
    """The gates let this slice pass, at this limit."""

    order_ref: str
    limit_ticks: Ticks
    permit: Permit


class SliceRefused(Report, frozen=True, kw_only=True, tag=_tag):
    """This slice was refused by a gate; `is_final`: no other can follow either."""

    order_ref: str
    verdict: Verdict
    is_final: bool


class RequestPermit(Command, frozen=True, kw_only=True, tag=_tag):
    """My entry works and may pay more; the permit that opened it has expired."""

    intent_id: str
    order_ref: str
    reply_to: str


class PermitRenewed(Report, frozen=True, kw_only=True, tag=_tag):
    """What stood at the hand-over still stands."""

    order_ref: str
    permit: Permit


class PermitRefused(Report, frozen=True, kw_only=True, tag=_tag):
    """It no longer stands (`why` is a reject code where there is one); the entry stays as it is."""

    order_ref: str
    why: str
