"""What comes back from a ledger at a start: one struct per kind of actor, carried by `lifecycle.Started`."""

from __future__ import annotations

from datetime import date

import msgspec
from msgspec import UNSET, UnsetType

from domain.instruments import Side
from domain.orders.intent import PositionRef
from domain.orders.tiers import Tier
from domain.position.cycle import ExitKind, ExitReason, PositionState
from domain.position.profiles import ADAPTIVE
from domain.risk.day import Closed, DayStops
from domain.risk.desk_view import Decision
from domain.risk.kill import KillLevel
from domain.risk.kill_watch import Norm
from domain.signals.alert import Alert
from domain.signals.snapshot import Snapshot
from domain.structure.credit import Terms
from domain.units import Cents, Qty, Ticks, Utc


def _tag(name: str) -> str:
    return f"restored.{name}"


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A live reservation of one leg."""

    ref: PositionRef
    order_ref: str
    qty: Qty
    limit_ticks: Ticks
    deadline_utc: Utc
    is_open: bool


class OrderFill(msgspec.Struct, frozen=True, kw_only=True):
    """Recorded totals of one order (highest revision of each execution)."""

    order_ref: str
    is_exit: bool
    side: Side
    qty: Qty
    cost_ticks: int
    fees_cents: Cents
    charged_qty: Qty
    first_utc: Utc


class OwnOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order that is non-terminal in the ledger; `combo_ref`: a leg of the combination of this reference."""

    order_ref: str
    con_id: int
    is_exit: bool
    side: Side
    qty: Qty
    combo_ref: str = ""


class KillRestored(msgspec.Struct, frozen=True, kw_only=True, tag=_tag):
    """The durable kill level; level 1 with a reason when the ledger could not say.

    `is_new`: no level was ever recorded. `spread_norms` are the slots of the last 20 sessions.
    """

    level: KillLevel
    kill_epoch: int
    reason: str
    by: str
    is_new: bool = False
    spread_norms: tuple[Norm, ...] = ()


class RiskRestored(msgspec.Struct, frozen=True, kw_only=True, tag=_tag):
    """What the desk's ledger knows of the session; `pending_alerts` are (alert id, raised_utc) without a gate row.

    `promoted` are the (source, kind, version) that may trade, `None` where the shared ledger could not be read.
    """

    session: date
    day_locked: str | None
    start_nav_cents: Cents | None
    decisions: tuple[Decision, ...]
    reservations: tuple[Reservation, ...]
    closed: tuple[Closed, ...]
    pending_alerts: tuple[tuple[str, Utc], ...]
    stops: DayStops = DayStops()
    promoted: tuple[tuple[str, str, int], ...] | None = None


class Tightened(msgspec.Struct, frozen=True, kw_only=True):
    """The exit profile beside the fixed one (`kind`, `version`): how far it has tightened, whether it is in force."""

    version: int
    stop_scale: float
    take_scale: float
    is_in_force: bool
    kind: str = ADAPTIVE


class PositionRestored(msgspec.Struct, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """What the desk's ledger knows of one contract today: the live reservation, its orders' fills, the position row.

    `entry` is the newest order of an entry in slices; `None`: the reservation's own is the only one.

    `settlement_ticks` is the underlying's settlement price of the contract's own session, `None` where not known.
    `is_free`: every other leg of its structure is over, so that what covers them may be sold. `is_estimated`: its end
    was booked at an estimate before, and executions have come since that say what it was. `tightened`: unset where
    no profile stood beside the fixed one. What is unset is not written, so that earlier traces stay as they are.
    """

    reservation: Reservation | None
    fills: tuple[OrderFill, ...]
    state: PositionState
    exit_reason: ExitReason | None
    exit_kind: ExitKind | None
    exit_n: int
    exit_order_ref: str | None
    tier: Tier
    entry_spot_ticks: Ticks | None
    entry_iv: float | None
    opened_utc: Utc | None
    took_part: bool
    # Made by a factory these stand in every trace, as they always did; what came later is left out where nothing is.
    settlement_ticks: Ticks | None = msgspec.field(default_factory=lambda: None)
    is_free: bool = msgspec.field(default_factory=bool)
    is_estimated: bool | UnsetType = UNSET
    tightened: Tightened | UnsetType = UNSET
    entry: OwnOrder | None = None


class StructureLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One leg of a structure: its reservation, whether that is live, and what its executions opened and still hold.

    One that is not live holds nothing.
    """

    reservation: Reservation
    is_live: bool
    opened_qty: Qty
    held_qty: Qty


class StructureRestored(msgspec.Struct, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """What the desk's ledger knows of a structure with a live leg; one of the cover covers `ratio` shorts.

    `terms` are those that it was opened on, `None` of one whose terms were not kept, or cannot be read
    (`are_terms_damaged`). `further` are the legs of further pairs, each cover before its short.
    """

    structure_id: str
    cover: StructureLeg
    short: StructureLeg
    ratio: int
    terms: Terms | None = msgspec.field(default_factory=lambda: None)  # in every trace, as of a position
    are_terms_damaged: bool | UnsetType = UNSET
    further: tuple[StructureLeg, ...] = ()


class LaneRestored(msgspec.Struct, frozen=True, kw_only=True, tag=_tag):
    """What the ledger knows of one lane's session.

    `last_alerts` are (`kind-version`, raised_utc) of the last alert of each; `last_direction` is that of the lane's
    last one that was no shadow (`None`: there is none); `unraised` are recorded alerts that were never decided on;
    `promoted` are `kind-version` names; `offers` are the session's that became alerts, (id, alert), oldest first.
    """

    last_alerts: tuple[tuple[str, Utc], ...]
    last_direction: int | None
    unraised: tuple[Alert, ...]
    promoted: tuple[str, ...]
    offers: tuple[tuple[str, Alert], ...] = ()


class OutcomesRestored(msgspec.Struct, frozen=True, kw_only=True, tag=_tag):
    """The alerts of which no outcome is on record, ascending; those of earlier sessions are among them."""

    alerts: tuple[Alert, ...]


class ReadingRestored(msgspec.Struct, frozen=True, kw_only=True, tag=_tag):
    """What was stored of one ticker's readings in the session: their number, and the window, newest last."""

    session: date
    reading_n: int
    window: tuple[Snapshot, ...]


class RoutesRestored(msgspec.Struct, frozen=True, kw_only=True, tag=_tag):
    """The newest word on each strategy that was switched: (strategy, the desks that trade it)."""

    routes: tuple[tuple[str, tuple[str, ...]], ...]


class IbkrRestored(msgspec.Struct, frozen=True, kw_only=True, tag=_tag):
    """The orders that may still live at the broker."""

    orders: tuple[OwnOrder, ...]


class ActorsRestored(msgspec.Struct, frozen=True, kw_only=True, tag=_tag):
    """The addresses of actors that must be started because the ledger knows something live of them, ascending."""

    names: tuple[str, ...]


Restored = (
    KillRestored | RiskRestored | PositionRestored | StructureRestored | LaneRestored | OutcomesRestored
    | ReadingRestored | RoutesRestored | IbkrRestored | ActorsRestored
)  # fmt: skip
