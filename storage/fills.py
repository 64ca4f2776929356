"""Executions and fees in a desk's ledger: each execution once, its highest revision in force, totals over those."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from domain.instants import SECOND, session_of
from domain.orders.references import entry_ref, is_direct, is_exit_ref, is_of_desk, is_ours, position_of
from domain.position.cycle import EndReason
from domain.position.fills import FIRST_REVISION
from domain.risk.kill import KillLevel
from domain.units import Cents, Qty, Ticks, Utc
from messages import orders, risk
from messages.broker import Execution
from storage import adopted, combo_shares, rows
from storage.ledger_schema import IS_TRADE, LIVE

Fact = orders.FillRecorded | orders.CommissionRecorded | risk.RaiseKill
Said = tuple[str, int, int, int]  # of an execution: its id, revision, quantity and price in ticks

_ENCODE = msgspec.json.Encoder().encode

_ESTIMATED = f"end = '{EndReason.BROKER_LIQUIDATION.value}' AND closed_utc IS NOT NULL"  # of a position's row


class _Owner(rows.Row, frozen=True):
    """The reserved leg that an order belongs to."""

    intent_id: str
    leg: int


class _Live(_Owner, frozen=True):
    """A reserved leg that is pending or held, and since when."""

    reserved_utc: Utc


class _Known(rows.Row, frozen=True):
    """What the ledger knows of an execution and its order before it is kept, read at once.

    `intent_id` and `leg` are those of its order, `None` where the order is not known. `is_kept`: a version of it is;
    `was_adopted`: its order ever had an adopted execution; `has_fee`: its fee came first. Of its leg: `is_open`, and
    `is_estimated`: its end was booked without the executions of its close, or with somebody else's. `of_legs`: the
    order's intent has several legs.
    """

    intent_id: str | None
    leg: int | None
    is_kept: bool
    was_adopted: bool
    has_fee: bool
    is_open: bool
    is_estimated: bool
    of_legs: bool

    @property
    def owner(self) -> _Owner | None:
        """The reserved leg of its order."""
        return None if self.intent_id is None or self.leg is None else _Owner(self.intent_id, self.leg)


class _Kept(rows.Row, frozen=True):
    """What became of an execution that is kept already."""

    revision: int
    is_current: bool
    is_foreign: bool
    order_ref: str
    qty: Qty
    price_ticks: Ticks
    recorded_utc: Utc

    def says(self, execution: Execution) -> bool:
        """Return whether an execution says no more than this."""
        return (self.qty, self.price_ticks) == (execution.qty, execution.price_ticks) or execution.is_adopted


def record_execution(
    db: sqlite3.Connection, execution: Execution, desk: str, run_n: int, now: Utc,
    foreign_allowed: frozenset[int] = frozenset(),
) -> tuple[Fact, ...]:  # fmt: skip
    """Keep one execution inside the caller's transaction; return what is to be told.

    Nothing is told of a revision below the one in force. An execution of an order that we do not know is kept as
    foreign, in silence where its contract is among `foreign_allowed`; one of less than one contract is kept, but counts
    nowhere. A repeat writes nothing and is told again, as
    the first answer may have been lost after its COMMIT: positions take totals, which a repeat leaves as they are.
    One of a combination's leg is kept with that leg; the whole's holds nothing, and is not kept.
    """
    known = _known(db, execution)
    if known.of_legs:
        of_leg = combo_shares.execution_of_leg(db, execution)
        if of_leg is None:
            return ()
        execution, known = of_leg, _known(db, of_leg)
    versions = _versions(db, execution) if known.is_kept else {}
    execution = _numbered(execution, versions)
    kept = versions.get(execution.revision)
    if kept is not None:
        return _told_again(db, execution, kept)
    if execution.qty < 1:
        _insert(db, execution, _Owner("", 0), desk, now, is_current=False)
        return (_no_quantity(execution, desk),)
    is_current = all(execution.revision > version.revision for version in versions.values() if version.qty >= 1)
    if is_current and versions:
        db.execute("UPDATE executions SET is_current = 0 WHERE exec_id = ? AND is_current", (execution.exec_id,))
    owner, closed_by = known.owner or _exit_owner(db, execution, desk, run_n, now), None
    if owner is None:
        owner = closed_by = _closed_for_us(db, execution, desk, run_n, now)
        if closed_by is not None:
            execution = replace(execution, order_ref=closing_ref(execution))
    if owner is not None and known.owner is None:
        known = _known(db, execution)  # its order has just been adopted
    _insert(db, execution, owner, desk, now, is_current=is_current)
    was_adopted = owner is not None and (known.was_adopted or execution.is_adopted)
    is_replaced = was_adopted and not execution.is_adopted and adopted.make_room(db, execution.order_ref, now)
    if not is_current:
        return (_fill(db, execution, was_adopted),) if is_replaced else ()
    if owner is None:
        return () if execution.con_id in foreign_allowed else (_foreign(execution, desk),)
    if known.is_estimated and _is_overtaken(db, owner, execution.con_id):
        return (_estimate_stands(execution, owner, desk),)
    facts: tuple[Fact, ...] = (
        _fill(db, execution, was_adopted),
        *(() if known.is_open else _reopen(db, owner, execution.con_id, desk, is_closed_again=known.is_estimated)),
        *((_commission(db, execution.order_ref, execution.con_id),) if known.has_fee else ()),
    )
    if closed_by is None or is_direct(execution.order_ref):
        return facts  # the position says what the direct flatten has closed
    return (*facts, _closed_by_another(execution, desk))


_KNOWN = f"""
SELECT o.intent_id, o.leg,
  EXISTS (SELECT 1 FROM executions WHERE exec_id = :exec_id),
  EXISTS (SELECT 1 FROM executions WHERE exec_id = :adopted_id),
  EXISTS (SELECT 1 FROM commissions WHERE exec_id = :exec_id),
  EXISTS (SELECT 1 FROM reservations r WHERE r.intent_id = o.intent_id AND r.leg = o.leg AND r.state = 'OPEN'),
  EXISTS (SELECT 1 FROM positions p WHERE p.intent_id = o.intent_id AND p.con_id = :con_id AND p.{_ESTIMATED}),
  (SELECT count(*) FROM reservations WHERE intent_id =
    (SELECT intent_id FROM reservations WHERE order_ref = :entry_ref)) > 1
FROM (SELECT 1) LEFT JOIN orders o ON o.order_ref = :order_ref
"""


def _known(db: sqlite3.Connection, execution: Execution) -> _Known:
    """Return what is known of an execution and its order."""
    order_ref = execution.order_ref
    found = rows.first_row(
        db,
        _Known,
        _KNOWN,
        {
            "exec_id": execution.exec_id, "adopted_id": adopted.exec_id_of(order_ref), "con_id": execution.con_id,
            "order_ref": order_ref, "entry_ref": entry_ref(position_of(order_ref)) if is_ours(order_ref) else "",
        },
    )  # fmt: skip
    assert found is not None
    return found


def _versions(db: sqlite3.Connection, execution: Execution) -> dict[int, _Kept]:
    """Return what is kept of an execution, by revision."""
    sql = f"SELECT {rows.columns_of(_Kept)} FROM executions WHERE exec_id = ?"
    return {kept.revision: kept for kept in rows.all_rows(db, _Kept, sql, (execution.exec_id,))}


def _numbered(execution: Execution, versions: dict[int, _Kept]) -> Execution:
    """Return an execution under the next free revision where its own stands for another quantity or price.

    Not every broker numbers corrections: one that was made while nobody listened comes as the first word of it.
    """
    revision = execution.revision
    while (kept := versions.get(revision)) is not None and not kept.says(execution):
        revision += 1
    return execution if revision == execution.revision else replace(execution, revision=revision)


def closing_ref(execution: Execution) -> str:
    """Return the reference under which an order stands in the ledger that is none of the desk's and closed its holding.

    That of a direct flatten is ours and stays; one that is not ours is named after the broker's id.
    """
    if is_direct(execution.order_ref):
        return execution.order_ref
    return f"broker:{execution.perm_id or execution.exec_id}"


def _insert(
    db: sqlite3.Connection, execution: Execution, owner: _Owner | None, desk: str, now: Utc, *, is_current: bool
) -> None:
    rows.insert(
        db,
        "executions",
        {
            "exec_id": execution.exec_id,
            "revision": execution.revision,
            "desk": desk,
            "order_ref": execution.order_ref,
            "intent_id": None if owner is None else owner.intent_id,
            "con_id": execution.con_id,
            "side": execution.side.value,
            "qty": execution.qty,
            "price_ticks": execution.price_ticks,
            "at_utc": execution.at_utc,
            "session": session_of(execution.at_utc).isoformat(),
            "is_current": is_current,
            "is_foreign": owner is None,
            "raw": execution.raw,
            "recorded_utc": now,
            "is_adopted": execution.is_adopted,
            "is_time_uncertain": execution.is_time_uncertain,
        },
    )


def _told_again(db: sqlite3.Connection, execution: Execution, kept: _Kept) -> tuple[Fact, ...]:
    """Return the fill of an execution that was kept before, while its contract is held.

    One that closed what we held is kept under the name that the ledger gave its order.

    Level 1 is not asked for again: every read-back repeats the day's executions, and a person may have resumed.
    """
    if not kept.is_current or kept.is_foreign:
        return ()
    execution = replace(execution, order_ref=kept.order_ref)
    if _is_live(db, execution.order_ref) or rows.exists(
        db,
        "SELECT 1 FROM orders o JOIN reservations r USING (intent_id, leg)"
        " WHERE o.order_ref = :order_ref AND r.state IN ('RELEASED', 'ABANDONED')"
        f" AND EXISTS (SELECT 1 FROM reservations WHERE con_id = :con_id AND {LIVE})",
        {"order_ref": execution.order_ref, "con_id": execution.con_id},
    ):
        was_adopted = adopted.was_made(db, execution.order_ref)
        return (_fill(db, execution, was_adopted), *_early_fee(db, execution))
    return ()


def is_foreign(db: sqlite3.Connection, execution: Execution) -> bool:
    """Return whether a kept execution belongs to no order of ours."""
    return rows.exists(
        db,
        "SELECT 1 FROM executions WHERE exec_id = :exec_id AND revision = :revision AND is_foreign AND is_current",
        {"exec_id": execution.exec_id, "revision": execution.revision},
    )


def forget_foreign(db: sqlite3.Connection, execution: Execution) -> None:
    """Forget an execution that was kept as foreign, so that it is recorded afresh in the same transaction."""
    db.execute(
        "DELETE FROM executions WHERE (exec_id, revision) = (?, ?) AND is_foreign",
        (execution.exec_id, execution.revision),
    )


def said_before(db: sqlite3.Connection, executions: Iterable[Execution], at_utc: Utc) -> frozenset[Said]:
    """Return what was kept of these executions before an instant, in one look."""
    found = db.execute(
        "SELECT exec_id, revision, qty, price_ticks FROM executions WHERE recorded_utc < ?"
        " AND exec_id IN (SELECT value FROM json_each(?))",
        (at_utc, _ENCODE(tuple(execution.exec_id for execution in executions)).decode()),
    )
    return frozenset(found)


def said(execution: Execution) -> Said:
    """Return an execution as `said_before` gives it."""
    return execution.exec_id, execution.revision, execution.qty, execution.price_ticks


def is_recorded_before(db: sqlite3.Connection, execution: Execution, at_utc: Utc) -> bool:
    """Return whether an execution was kept before an instant."""
    versions = _versions(db, execution)
    kept = versions.get(_numbered(execution, versions).revision)
    return kept is not None and kept.recorded_utc < at_utc


def record_commission(db: sqlite3.Connection, fee: orders.RecordCommission, now: Utc) -> tuple[Fact, ...]:
    """Keep one fee; it is told where its execution is known and ours, else when that arrives.

    A repeat is told again while its position lives, for the same reason as that of an execution; one that names
    another amount replaces what was kept.
    """
    is_new = rows.insert(
        db,
        "commissions",
        {
            "exec_id": fee.exec_id,
            "revision": fee.revision,
            "commission_cents": fee.commission_cents,
            "recorded_utc": now,
        },
        # The broker reports the fees of the day with every read-back; another amount replaces the one before.
        "ON CONFLICT DO UPDATE SET commission_cents = excluded.commission_cents, recorded_utc = excluded.recorded_utc"
        " WHERE commission_cents <> excluded.commission_cents",
    )
    charged = rows.first_row(db, _Charged, _CHARGED, (fee.exec_id,))
    if charged is None or not (is_new or charged.is_live):
        return ()
    if is_new and charged.is_closed:
        _add_late_fees(db, charged.intent_id, charged.con_id)
    return (_commission(db, charged.order_ref, charged.con_id),)


class _Charged(rows.Row, frozen=True):
    """The execution of ours that a fee is for: whether its position has ended, whether its order's leg is live."""

    order_ref: str
    con_id: int
    intent_id: str
    is_closed: bool
    is_live: bool


_CHARGED = f"""
SELECT e.order_ref, e.con_id, e.intent_id,
  EXISTS (SELECT 1 FROM positions p WHERE p.intent_id = e.intent_id AND p.con_id = e.con_id
    AND p.closed_utc IS NOT NULL),
  EXISTS (SELECT 1 FROM orders o JOIN reservations r USING (intent_id, leg)
    WHERE o.order_ref = e.order_ref AND r.{LIVE})
FROM executions e WHERE e.exec_id = ? AND e.is_current AND NOT e.is_foreign
"""


_FEES = (
    "SELECT e.qty, (SELECT commission_cents FROM commissions c WHERE c.exec_id = e.exec_id"
    " ORDER BY c.revision DESC LIMIT 1) AS cents FROM"
)
_OF_ORDER = "executions e WHERE e.is_current AND e.order_ref = ?"
# An execution has the intent of its order; by the contract alone a day's trades in it would be gone through each time.
_OF_LEG = (
    "orders o CROSS JOIN executions e ON e.order_ref = o.order_ref"
    " WHERE o.intent_id = :intent_id AND e.is_current AND e.intent_id = :intent_id AND +e.con_id = :con_id"
)


def fees_of(db: sqlite3.Connection, order_ref: str) -> tuple[Cents, Qty]:
    """Return the fees of an order (the highest revision of each execution's), and the contracts that they are for."""
    cents, qty = db.execute(
        f"SELECT ifnull(sum(cents), 0), ifnull(sum(qty), 0) FROM ({_FEES} {_OF_ORDER}) WHERE cents IS NOT NULL",
        (order_ref,),
    ).fetchone()
    return Cents(cents), Qty(qty)


def fees_of_leg(db: sqlite3.Connection, intent_id: str, con_id: int) -> Cents:
    """Return the fees of all that one leg of an intent has traded."""
    sql = f"SELECT ifnull(sum(cents), 0) FROM ({_FEES} {_OF_LEG})"
    return Cents(rows.number(db, sql, {"intent_id": intent_id, "con_id": con_id}))


def _add_late_fees(db: sqlite3.Connection, intent_id: str, con_id: int) -> None:
    """Bring a closed position's result in line with fees that it had not heard of when it closed."""
    db.execute(
        "UPDATE positions SET realised_cents = realised_cents + fees_cents - late.cents, fees_cents = late.cents FROM"
        f" (SELECT sum(cents) AS cents FROM ({_FEES} {_OF_LEG})) AS late"
        " WHERE closed_utc IS NOT NULL AND intent_id = :intent_id AND con_id = :con_id AND late.cents IS NOT NULL",
        {"intent_id": intent_id, "con_id": con_id},
    )


def totals_of(db: sqlite3.Connection, order_ref: str) -> tuple[Qty, int]:
    """Return an order's filled quantity, and its cost in ticks times contracts."""
    qty, cost_ticks = db.execute(
        "SELECT ifnull(sum(qty), 0), ifnull(sum(qty * price_ticks), 0) FROM executions"
        " WHERE order_ref = ? AND is_current",
        (order_ref,),
    ).fetchone()
    return Qty(qty), int(cost_ticks)


def filled_of(db: sqlite3.Connection, order_refs: Iterable[str]) -> dict[str, Qty]:
    """Return the filled quantity of each of these orders that has any, in one look."""
    found = db.execute(
        "SELECT order_ref, sum(qty) FROM executions WHERE is_current AND order_ref IN (SELECT value FROM json_each(?))"
        " GROUP BY order_ref",
        (_ENCODE(tuple(order_refs)).decode(),),
    )
    return {order_ref: Qty(qty) for order_ref, qty in found}


def net_of_contract(db: sqlite3.Connection, con_id: int) -> Qty:
    """Return the signed quantity that all our executions hold of a contract."""
    return _net(db, "con_id = ? AND NOT is_foreign", (con_id,))


def foreign_net_of_contract(db: sqlite3.Connection, con_id: int) -> Qty:
    """Return the signed quantity that executions of nobody of ours hold of a contract, as far as they were read."""
    return _net(db, "con_id = ? AND is_foreign", (con_id,))


def is_traded_by_others(db: sqlite3.Connection, con_id: int) -> bool:
    """Return whether an execution of nobody of ours is known of a contract."""
    return rows.exists(db, "SELECT 1 FROM executions WHERE con_id = ? AND is_foreign AND is_current", (con_id,))


def _net(db: sqlite3.Connection, where: str, values: rows.Values) -> Qty:
    return Qty(rows.number(db, f"{_NET} executions e WHERE is_current AND {where}", values))


_NET = "SELECT ifnull(sum(iif(e.side = 'BUY', e.qty, -e.qty)), 0) FROM"


def _is_live(db: sqlite3.Connection, order_ref: str) -> bool:
    """Return whether the leg of an order is pending or held."""
    return rows.exists(
        db,
        f"SELECT 1 FROM orders o JOIN reservations r USING (intent_id, leg) WHERE o.order_ref = ? AND r.{LIVE}",
        (order_ref,),
    )


def _fill(db: sqlite3.Connection, execution: Execution, was_adopted: bool) -> orders.FillRecorded:
    """Return a fill with its order's totals; where one was adopted before they may fall, as after a correction."""
    qty, cost_ticks = totals_of(db, execution.order_ref)
    revision = max(execution.revision, FIRST_REVISION + 1) if was_adopted else execution.revision
    return orders.FillRecorded(
        order_ref=execution.order_ref, con_id=execution.con_id, side=execution.side, exec_id=execution.exec_id,
        revision=revision, qty=execution.qty, price_ticks=execution.price_ticks, at_utc=execution.at_utc,
        filled_qty_total=qty, filled_cost_ticks_total=cost_ticks, is_price_known=not execution.is_adopted,
    )  # fmt: skip


def _commission(db: sqlite3.Connection, order_ref: str, con_id: int) -> orders.CommissionRecorded:
    cents, qty = fees_of(db, order_ref)
    return orders.CommissionRecorded(
        order_ref=order_ref, con_id=con_id, commission_cents_total=cents, charged_qty_total=qty
    )


def _early_fee(db: sqlite3.Connection, execution: Execution) -> tuple[Fact, ...]:
    """Return the fees of an execution's order where its own came before it."""
    if not rows.exists(db, "SELECT 1 FROM commissions WHERE exec_id = ?", (execution.exec_id,)):
        return ()
    return (_commission(db, execution.order_ref, execution.con_id),)


def _exit_owner(db: sqlite3.Connection, execution: Execution, desk: str, run_n: int, now: Utc) -> _Owner | None:
    """Return the leg that an exit of ours without a record has closed; `None` is foreign.

    An exit goes out even where its intent could not be recorded, so an own exit reference that is not known belongs
    to the contract's live holder. An unknown entry reference does not: entries are never sent unrecorded.
    """
    if not is_of_desk(execution.order_ref, desk) or not is_exit_ref(execution.order_ref):
        return None
    holder = rows.first_row(
        db, _Owner, f"SELECT intent_id, leg FROM reservations WHERE con_id = ? AND {LIVE}", (execution.con_id,)
    ) or _estimated(db, execution)
    if holder is None:
        return None
    _adopt_exit(db, execution, holder, desk, run_n, now)
    return holder


def _closed_for_us(db: sqlite3.Connection, execution: Execution, desk: str, run_n: int, now: Utc) -> _Owner | None:
    """Return the leg that an order of no desk has closed (by hand, a liquidation, our direct flatten); `None`: none.

    It closes no more than is held: anything above that is no close of ours. A correction stays with what it corrects.
    A close that was booked at an estimate is looked for where nobody holds the contract, or did not yet.
    """
    if is_of_desk(execution.order_ref, desk):
        return None
    ref = closing_ref(execution)
    known = rows.first_row(db, _Owner, "SELECT intent_id, leg FROM orders WHERE order_ref = ?", (ref,))
    if known is not None and execution.revision > FIRST_REVISION:
        return known
    live = rows.first_row(
        db,
        _Live,
        f"SELECT {rows.columns_of(_Live)} FROM reservations WHERE con_id = ? AND {LIVE} AND side <> ?",
        (execution.con_id, execution.side.value),
    )
    before = _estimated(db, execution) if live is None or execution.at_utc < live.reserved_utc - SECOND else None
    if before is None and (live is None or execution.qty > abs(net_of_contract(db, execution.con_id))):
        return None
    holder = before or live
    assert holder is not None
    if known is not None:
        return known
    _adopt_exit(db, replace(execution, order_ref=ref), holder, desk, run_n, now)
    return holder


def _estimated(db: sqlite3.Connection, execution: Execution) -> _Owner | None:
    """Return the newest leg whose close was booked at an estimate and may have been this execution; `None`: none.

    No more was closed than its executions leave open, in its own time. Instants are told in whole seconds.
    """
    found = rows.all_rows(
        db,
        _Owner,
        "SELECT r.intent_id, r.leg FROM reservations r JOIN positions p USING (intent_id, con_id)"
        f" WHERE con_id = :con_id AND r.side <> :side AND p.{_ESTIMATED}"
        " AND (:is_uncertain OR :at_utc BETWEEN r.reserved_utc - :second AND p.closed_utc + :second)"
        " ORDER BY r.reserved_utc DESC",
        {
            "con_id": execution.con_id, "side": execution.side.value, "is_uncertain": execution.is_time_uncertain,
            "at_utc": execution.at_utc, "second": SECOND,
        },
    )  # fmt: skip
    is_open = "intent_id = ? AND con_id = ? AND NOT is_foreign"
    nets = ((leg, _net(db, is_open, (leg.intent_id, execution.con_id))) for leg in found)
    return next((leg for leg, net in nets if execution.qty <= abs(net)), None)


def _is_overtaken(db: sqlite3.Connection, owner: _Owner, con_id: int) -> bool:
    """Return whether the contract was traded for another intent after this leg's."""
    return rows.exists(
        db,
        f"SELECT 1 FROM reservations WHERE con_id = :con_id AND {IS_TRADE} AND reserved_utc >"
        " (SELECT reserved_utc FROM reservations WHERE intent_id = :intent_id AND leg = :leg)",
        {"con_id": con_id, "intent_id": owner.intent_id, "leg": owner.leg},
    )


def _adopt_exit(db: sqlite3.Connection, execution: Execution, holder: _Owner, desk: str, run_n: int, now: Utc) -> None:
    rows.insert(
        db,
        "orders",
        {
            "order_ref": execution.order_ref,
            "desk": desk,
            "intent_id": holder.intent_id,
            "leg": holder.leg,
            "con_id": execution.con_id,
            "is_exit": True,
            "side": execution.side.value,
            "qty": execution.qty,
            "status": "adopted",
            "is_adopted": True,
            "changed_by": "ledger",
            "run_n": run_n,
            "at_utc": now,
            "changed_utc": now,
        },
    )


def _reopen(
    db: sqlite3.Connection, owner: _Owner, con_id: int, desk: str, *, is_closed_again: bool
) -> tuple[Fact, ...]:  # fmt: skip
    """Open the reservation of a fill, also one that was given up: a late fill is adopted.

    `is_closed_again`: also where nothing is held, so that its position books its end anew.
    """
    key = (owner.intent_id, owner.leg)
    of_leg = {"intent_id": owner.intent_id, "con_id": con_id}
    if not is_closed_again and rows.number(db, f"{_NET} {_OF_LEG}", of_leg) == 0:
        return ()
    try:
        open_again(db, *key)
    except sqlite3.IntegrityError:
        return (_held_by_another(owner, con_id, desk),)
    return ()


def open_again(db: sqlite3.Connection, intent_id: str, leg: int) -> None:
    """Open the reservation of a leg that was over.

    Raises:
        sqlite3.IntegrityError: another intent holds the contract.
    """
    db.execute(
        "UPDATE reservations SET state = 'OPEN', ended_why = NULL, ended_utc = NULL WHERE intent_id = ? AND leg = ?",
        (intent_id, leg),
    )


def _held_by_another(owner: _Owner, con_id: int, desk: str) -> risk.RaiseKill:
    why = f"Contract {con_id} was filled late for {owner.intent_id} while another intent holds it."
    return _no_entries(why, desk)


def _estimate_stands(execution: Execution, owner: _Owner, desk: str) -> risk.RaiseKill:
    why = (
        f"Execution {execution.exec_id} closed contract {execution.con_id} for {owner.intent_id}, whose result was"
        " booked at an estimate and stays, as the contract was traded again since: compare the broker's statement."
    )
    return _no_entries(why, desk)


def _foreign(execution: Execution, desk: str) -> risk.RaiseKill:
    return _no_entries(stranger_text(execution, desk), desk)


def stranger_text(execution: Execution, desk: str) -> str:
    """Return how people are told of an execution that is booked to no position of a desk."""
    if is_direct(execution.order_ref):
        return (
            f"The direct flatten closed {execution.qty} of contract {execution.con_id} (execution {execution.exec_id}),"
            f" which {desk} does not hold by its ledger."
        )
    return f"Execution {execution.exec_id} of contract {execution.con_id} belongs to no order of {desk}."


def _closed_by_another(execution: Execution, desk: str) -> risk.RaiseKill:
    why = (
        f"Contract {execution.con_id} of {desk} was closed at the broker by an order that is not ours"
        f" ({execution.qty}, execution {execution.exec_id})."
    )
    return _no_entries(why, desk)


def _no_quantity(execution: Execution, desk: str) -> risk.RaiseKill:
    why = f"Execution {execution.exec_id} of contract {execution.con_id} says a quantity of {execution.qty}: refused."
    return _no_entries(why, desk)


def _no_entries(why: str, desk: str) -> risk.RaiseKill:
    return risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=why, by=f"ledger:{desk}")
