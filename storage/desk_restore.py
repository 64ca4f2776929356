"""What a desk's ledger gives back to an actor that starts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import date
from math import gcd
from pathlib import Path

from msgspec import UNSET

from domain.instruments import Contract, Right, Side
from domain.orders.intent import PositionRef
from domain.orders.references import PREFIX, entry_ref, position_of, structure_key
from domain.orders.tiers import Tier
from domain.position.cycle import EndReason, ExitKind, ExitReason, PositionState
from domain.risk.day import Closed
from domain.risk.desk_view import Decision
from domain.risk.reject import RejectCode
from domain.signals.alert import AlertKey
from domain.structure.rules import COVER_RATIO
from domain.units import Cents, Qty, Ticks, Utc
from messages.lifecycle import RequestState
from messages.restored import (
    ActorsRestored,
    IbkrRestored,
    OrderFill,
    OwnOrder,
    PositionRestored,
    Reservation,
    Restored,
    RiskRestored,
    StructureLeg,
    StructureRestored,
)
from storage import combo_shares, exit_rows, fills, rows, structure_rows
from storage.day_rows import stops_of
from storage.ledger_schema import LIVE, SHARED, ReservationState
from storage.promotions import promoted_now
from storage.sqlite_file import LedgerRefusedError, open_reader, reading


class ReservationRow(rows.Row, frozen=True):
    """A reserved leg with everything that its nested parts are rebuilt from."""

    intent_id: str
    order_ref: str
    source: str
    ticker: str
    kind: str
    version: int
    bucket_utc: Utc
    strategy: str
    direction: int
    side: Side
    qty: Qty
    limit_ticks: Ticks
    deadline_utc: Utc
    state: ReservationState
    con_id: int
    underlying: str
    trading_class: str
    expiry: date
    strike_ticks: Ticks
    right: Right
    multiplier: int
    structure_id: str | None

    @property
    def contract(self) -> Contract:
        """The leg's contract."""
        return Contract(
            con_id=self.con_id, ticker=self.underlying, trading_class=self.trading_class, expiry=self.expiry,
            strike_ticks=self.strike_ticks, right=self.right, multiplier=self.multiplier,
        )  # fmt: skip

    @property
    def reservation(self) -> Reservation:
        """The leg as a live reservation."""
        ref = PositionRef(
            position_id=position_of(self.order_ref), intent_id=self.intent_id,
            key=_key_of(self), strategy=self.strategy, direction=self.direction, contract=self.contract, side=self.side,
            structure_id=self.structure_id,
        )  # fmt: skip
        return Reservation(
            ref=ref, order_ref=self.order_ref, qty=self.qty, limit_ticks=self.limit_ticks,
            deadline_utc=self.deadline_utc, is_open=self.state is ReservationState.OPEN,
        )  # fmt: skip


_LIVE_STATES = frozenset({ReservationState.PENDING_ENTRY, ReservationState.OPEN})
RESERVATION_COLUMNS = rows.columns_of(ReservationRow)


def _key_of(row: ReservationRow | _DecisionRow) -> AlertKey:
    return AlertKey(source=row.source, ticker=row.ticker, kind=row.kind, version=row.version, bucket_utc=row.bucket_utc)


def restored_for(db: sqlite3.Connection, asked: RequestState, folder: Path, desk: str) -> Restored | None:
    """Return what the ledger knows of the named actor; `None` where it keeps nothing for it."""
    match asked.name.split(":"):
        case ["risk", _]:
            return _risk(db, asked.session, folder)
        case ["position", _, con_id]:
            return _position(db, int(con_id))
        case ["positions", _]:
            found = db.execute(f"SELECT con_id FROM reservations WHERE {LIVE} ORDER BY con_id").fetchall()
            return ActorsRestored(names=tuple(f"position:{desk}:{con_id}" for (con_id,) in found))
        case ["structure", _, key]:
            return _structure(db, entry_ref(f"{PREFIX}{desk}-{key}"))
        case ["structures", _]:
            covers = db.execute(
                "SELECT order_ref FROM reservations c WHERE leg = 0 AND structure_id IN"
                f" (SELECT structure_id FROM reservations WHERE {LIVE} AND structure_id IS NOT NULL) ORDER BY order_ref"
            ).fetchall()
            return ActorsRestored(names=tuple(f"structure:{desk}:{structure_key(ref)}" for (ref,) in covers))
        case ["ibkr", _]:
            return _ibkr(db, asked.session)
    return None


# -- risk -----------------------------------------------------------------------------------------


class _Day(rows.Row, frozen=True):
    locked_why: str | None
    start_nav_cents: Cents | None


class _DecisionRow(rows.Row, frozen=True):
    source: str
    ticker: str
    kind: str
    version: int
    bucket_utc: Utc
    strategy: str
    code: RejectCode | None
    decided_utc: Utc
    alert_id: str

    @property
    def decision(self) -> Decision:
        return Decision(key=_key_of(self), strategy=self.strategy, code=self.code, decided_utc=self.decided_utc)


class _ClosedRow(rows.Row, frozen=True):
    position_id: str
    strategy: str | None
    realised_cents: Cents
    fees_cents: Cents
    closed_utc: Utc
    structure_id: str | None

    @property
    def closed(self) -> Closed:
        return Closed(
            position_id=self.position_id, strategy=self.strategy or "", realised_cents=self.realised_cents,
            fees_cents=self.fees_cents, closed_utc=self.closed_utc, structure_id=self.structure_id,
        )  # fmt: skip


class _AlertRow(rows.Row, frozen=True):
    alert_id: str
    raised_utc: Utc


def _risk(db: sqlite3.Connection, day: date, folder: Path) -> RiskRestored:
    session = day.isoformat()
    known = rows.first_row(db, _Day, f"SELECT {rows.columns_of(_Day)} FROM day WHERE session = ?", (session,))
    decisions = rows.all_rows(
        db, _DecisionRow,
        "SELECT source, ticker, kind, version, bucket_utc, strategy, ifnull(code, amended_code), decided_utc, alert_id"
        " FROM gate_log WHERE session = ? ORDER BY n",
        (session,),
    )  # fmt: skip
    live = rows.all_rows(
        db, ReservationRow,
        f"SELECT {RESERVATION_COLUMNS} FROM reservations WHERE {LIVE} AND expiry >= ?"
        " ORDER BY reserved_utc, intent_id, leg",
        (session,),
    )  # fmt: skip
    closed = rows.all_rows(
        db, _ClosedRow,
        f"SELECT {rows.columns_of(_ClosedRow)} FROM positions"
        " WHERE session = ? AND closed_utc IS NOT NULL ORDER BY closed_utc, position_id",
        (session,),
    )  # fmt: skip
    decided = {row.alert_id for row in decisions}
    return RiskRestored(
        session=day,
        day_locked=known.locked_why if known is not None else None,
        start_nav_cents=known.start_nav_cents if known is not None else None,
        decisions=tuple(row.decision for row in decisions),
        reservations=tuple(row.reservation for row in live),
        closed=tuple(row.closed for row in closed),
        pending_alerts=tuple(
            (alert.alert_id, alert.raised_utc) for alert in _alerts(folder, session) if alert.alert_id not in decided
        ),
        stops=stops_of(db, day),
        promoted=_promoted(folder),
    )


def _promoted(folder: Path) -> tuple[tuple[str, str, int], ...] | None:
    """Return what may trade, which stands in the shared ledger; `None` where that cannot be read now."""
    path = folder / "ledger.db"
    with suppress(LedgerRefusedError), reading(path):
        shared = open_reader(path, SHARED)
        if shared is None:
            return ()
        with closing(shared):
            return promoted_now(shared)
    return None


def _alerts(folder: Path, session: str) -> tuple[_AlertRow, ...]:
    """Return the session's alerts in order, which stand in the shared ledger; none where that cannot be read now.

    They only make sure that each leaves a gate row, for which no desk stays without its risk.
    """
    path = folder / "ledger.db"
    with suppress(LedgerRefusedError), reading(path):
        shared = open_reader(path, SHARED)
        if shared is None:
            return ()
        with closing(shared):
            return rows.all_rows(
                shared, _AlertRow,
                "SELECT alert_id, raised_utc FROM alerts WHERE session = ? ORDER BY raised_utc, alert_id", (session,),
            )  # fmt: skip
    return ()


# -- one position ---------------------------------------------------------------------------------


class _Known(rows.Row, frozen=True):
    """What a position last recorded of itself."""

    state: PositionState = PositionState.PENDING_ENTRY
    exit_reason: ExitReason | None = None
    exit_kind: ExitKind | None = None
    exit_n: int = 0
    tier: Tier = Tier.NONE
    entry_spot_ticks: Ticks | None = None
    entry_iv: float | None = None
    opened_utc: Utc | None = None
    took_part: bool = False
    settlement_ticks: Ticks | None = None
    end: EndReason | None = None
    closed_utc: Utc | None = None


class _Exit(rows.Row, frozen=True):
    """The newest exit order that was to be sent."""

    order_ref: str
    exit_n: int
    exit_reason: ExitReason
    exit_kind: ExitKind
    tier: Tier


def _position(db: sqlite3.Connection, con_id: int) -> PositionRestored:
    live = rows.first_row(
        db, ReservationRow, f"SELECT {RESERVATION_COLUMNS} FROM reservations WHERE con_id = ? AND {LIVE}", (con_id,)
    )
    if live is None:
        return PositionRestored(
            reservation=None, fills=(), state=PositionState.FLAT, exit_reason=None, exit_kind=None, exit_n=0,
            exit_order_ref=None, tier=Tier.NONE, entry_spot_ticks=None, entry_iv=None, opened_utc=None, took_part=False,
        )  # fmt: skip
    known = rows.first_row(
        db, _Known,
        f"SELECT {rows.columns_of(_Known)} FROM positions WHERE intent_id = ? AND con_id = ?"
        " ORDER BY changed_utc DESC LIMIT 1",
        (live.intent_id, con_id),
    ) or _Known()  # fmt: skip
    state, reason, kind, exit_n, tier = known.state, known.exit_reason, known.exit_kind, known.exit_n, known.tier
    exit_ = rows.first_row(
        db, _Exit,
        f"SELECT {rows.columns_of(_Exit)} FROM orders WHERE intent_id = ? AND con_id = ? AND exit_n IS NOT NULL"
        " ORDER BY exit_n DESC, at_utc DESC LIMIT 1",
        (live.intent_id, con_id),
    )  # fmt: skip
    if exit_ is not None and exit_.exit_n > exit_n:  # the exit's own record is newer than the position's
        state, reason, kind = PositionState.PENDING_EXIT, exit_.exit_reason, exit_.exit_kind
        exit_n, tier = exit_.exit_n, exit_.tier
    elif exit_ is not None and exit_.exit_n == exit_n:
        tier = max(tier, exit_.tier)
    return PositionRestored(
        reservation=live.reservation,
        fills=_order_fills(db, live.intent_id, con_id),
        state=state,
        exit_reason=reason,
        exit_kind=kind,
        exit_n=exit_n,
        exit_order_ref=exit_.order_ref if exit_ is not None else None,
        tier=tier,
        entry_spot_ticks=known.entry_spot_ticks,
        entry_iv=known.entry_iv,
        opened_utc=known.opened_utc,
        took_part=known.took_part,
        settlement_ticks=known.settlement_ticks or _settlement_ticks(db, live),
        is_free=_is_alone(db, live),
        entry=_slice(db, live),
        tightened=exit_rows.tightened_of(db, live.reservation.ref.position_id) or UNSET,
        is_estimated=(known.end is EndReason.BROKER_LIQUIDATION and known.closed_utc is not None) or UNSET,
    )


def _slice(db: sqlite3.Connection, held: ReservationRow) -> OwnOrder | None:
    """Return the newest order of an entry that went out in slices; `None` where one order was all of it."""
    newest = rows.first_row(
        db, _OrderRow,
        f"SELECT {rows.columns_of(_OrderRow)} FROM orders WHERE intent_id = ? AND con_id = ? AND NOT is_exit"
        " ORDER BY at_utc DESC, rowid DESC LIMIT 1",
        (held.intent_id, held.con_id),
    )  # fmt: skip
    return None if newest is None or newest.qty == held.qty else newest.own_order


def _is_alone(db: sqlite3.Connection, held: ReservationRow) -> bool:
    """Return whether every leg on the other side of its structure is over, so that there is nothing left to cover."""
    if held.structure_id is None:
        return False
    others = f"SELECT 1 FROM reservations WHERE structure_id = ? AND con_id <> ? AND side <> ? AND {LIVE}"
    return not rows.exists(db, others, (held.structure_id, held.con_id, held.side.value))


def _settlement_ticks(db: sqlite3.Connection, held: ReservationRow) -> Ticks | None:
    """Return the settlement price that another contract of the same class and expiry has seen last."""
    found = db.execute(
        "SELECT p.settlement_ticks FROM positions p JOIN reservations r ON r.intent_id = p.intent_id"
        " AND r.con_id = p.con_id WHERE r.underlying = ? AND r.trading_class = ? AND r.expiry = ?"
        " AND p.settlement_ticks IS NOT NULL ORDER BY p.changed_utc DESC LIMIT 1",
        (held.underlying, held.trading_class, held.expiry.isoformat()),
    ).fetchone()
    return None if found is None else Ticks(found[0])


class _FillRow(rows.Row, frozen=True):
    order_ref: str
    is_exit: bool
    side: Side
    qty: Qty
    cost_ticks: int
    first_utc: Utc


def _order_fills(db: sqlite3.Connection, intent_id: str, con_id: int) -> tuple[OrderFill, ...]:
    found = rows.all_rows(
        db, _FillRow,
        "SELECT o.order_ref, o.is_exit, o.side, sum(e.qty), sum(e.qty * e.price_ticks), min(e.at_utc) FROM orders o"
        " JOIN executions e ON e.order_ref = o.order_ref AND e.is_current WHERE o.intent_id = ? AND o.con_id = ?"
        " GROUP BY o.order_ref ORDER BY min(e.at_utc), o.order_ref",
        (intent_id, con_id),
    )  # fmt: skip
    return tuple(
        OrderFill(
            order_ref=row.order_ref, is_exit=row.is_exit, side=row.side, qty=row.qty, cost_ticks=row.cost_ticks,
            fees_cents=fees_cents, charged_qty=charged_qty, first_utc=row.first_utc,
        )
        for row in found
        for fees_cents, charged_qty in (fills.fees_of(db, row.order_ref),)
    )  # fmt: skip


# -- one structure --------------------------------------------------------------------------------


class _LegRow(ReservationRow, frozen=True):
    """A leg with what its executions opened and closed."""

    opened_qty: Qty
    closed_qty: Qty


def _structure(db: sqlite3.Connection, cover_ref: str) -> StructureRestored | None:
    """Return a structure by the entry order of its first cover; `None` for one that is over, or of single legs."""
    filled = (
        "(SELECT ifnull(sum(e.qty), 0) FROM orders o JOIN executions e ON e.order_ref = o.order_ref AND e.is_current"
        " WHERE o.intent_id = r.intent_id AND o.leg = r.leg AND o.is_exit = {})"
    )
    found = rows.all_rows(
        db, _LegRow,
        f"SELECT {RESERVATION_COLUMNS}, {filled.format(0)}, {filled.format(1)} FROM reservations r WHERE structure_id ="
        " (SELECT structure_id FROM reservations WHERE order_ref = ?) ORDER BY leg",
        (cover_ref,),
    )  # fmt: skip
    if not found or len(found) % 2 or not any(row.state in _LIVE_STATES for row in found):
        return None
    legs = tuple(
        StructureLeg(
            reservation=row.reservation, is_live=row.state in _LIVE_STATES, opened_qty=row.opened_qty,
            # one that is over holds nothing, though no execution may have closed it: it expired, or somebody else did
            held_qty=Qty(max(row.opened_qty - row.closed_qty, 0) if row.state in _LIVE_STATES else 0),
        )
        for row in found
    )  # fmt: skip
    structure_id = found[0].structure_id
    assert structure_id is not None
    terms, are_damaged = structure_rows.terms_of(db, structure_id)
    is_of_one = found[0].underlying == found[1].underlying
    return StructureRestored(
        structure_id=structure_id, cover=legs[0], short=legs[1], ratio=1 if is_of_one else COVER_RATIO, terms=terms,
        are_terms_damaged=are_damaged or UNSET, further=legs[2:],
    )  # fmt: skip


# -- the order session ----------------------------------------------------------------------------


class _OrderRow(rows.Row, frozen=True):
    order_ref: str
    con_id: int
    is_exit: bool
    side: Side
    qty: Qty
    combo_ref: str | None

    @property
    def own_order(self) -> OwnOrder:
        return OwnOrder(
            order_ref=self.order_ref, con_id=self.con_id, is_exit=self.is_exit, side=self.side, qty=self.qty,
            combo_ref=self.combo_ref or "",
        )  # fmt: skip


def _ibkr(db: sqlite3.Connection, session: date) -> IbkrRestored:
    found = rows.all_rows(
        db, _OrderRow,
        f"SELECT {rows.columns_of(_OrderRow, 'o')} FROM orders o JOIN reservations r USING (intent_id, leg)"
        f" WHERE r.{LIVE} AND r.expiry >= ? AND o.status NOT IN ('filled', 'cancelled', 'inactive')"
        " ORDER BY o.at_utc, o.order_ref",
        (session.isoformat(),),
    )  # fmt: skip
    own = [row.own_order for row in found]
    return IbkrRestored(orders=(*own, *_other_legs(db, own)))


def _other_legs(db: sqlite3.Connection, own: Sequence[OwnOrder]) -> Iterator[OwnOrder]:
    """Return the live legs of combinations whose own order is not among these: its record came late, or told its end.

    The broker has one order for all of them, so that it is whole here, too.
    """
    refs = {order.order_ref for order in own}
    for combo_ref in dict.fromkeys(order.combo_ref for order in own if order.combo_ref):
        units = Qty(gcd(*(order.qty for order in own if order.combo_ref == combo_ref)))
        for share in combo_shares.shares_on_record(db, combo_ref, units):
            if share.order_ref not in refs:
                yield share
