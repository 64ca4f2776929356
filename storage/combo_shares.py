"""Orders for combinations in a desk's ledger: each leg stands there as an order of its own, under its own reference.

The broker knows one order, whose reference is that of its first leg. What it tells of it is divided among the legs
here: an execution by its contract, an order by what each leg was reserved for.
"""

from __future__ import annotations

import sqlite3
from math import gcd

from msgspec.structs import replace

from domain.instruments import Side
from domain.orders.combo import COMBO_CON_ID
from domain.orders.references import entry_ref, is_exit_ref, is_of_desk, is_ours, position_of, share_ref
from domain.units import Qty
from messages.broker import BrokerOrder, BrokerRead, Execution
from messages.restored import OwnOrder
from storage import rows
from storage.ledger_schema import LIVE


class _Leg(rows.Row, frozen=True):
    """A reserved leg of a structure."""

    order_ref: str
    con_id: int
    side: Side
    qty: Qty
    is_live: bool


def execution_of_leg(db: sqlite3.Connection, execution: Execution) -> Execution | None:
    """Return an execution under the reference of the leg that it is of; itself where its order is for one contract.

    `None`: it is that of a whole combination of ours, which holds nothing by itself.
    """
    if not is_ours(execution.order_ref):
        return execution
    legs = _legs_of(db, execution.order_ref)
    if len(legs) > 1 and execution.con_id == COMBO_CON_ID:
        return None
    leg = next((leg for leg in legs if leg.con_id == execution.con_id), None)
    return execution if leg is None else replace(execution, order_ref=share_ref(execution.order_ref, leg.order_ref))


def read_of_legs(db: sqlite3.Connection, read: BrokerRead) -> BrokerRead:
    """Return a reading with the orders and executions of our combinations told leg by leg; itself without any."""
    combos = {order.order_ref for order in read.orders if order.con_id == COMBO_CON_ID}
    combos |= {execution.order_ref for execution in read.executions if execution.con_id == COMBO_CON_ID}
    if not any(is_ours(order_ref) for order_ref in combos):
        return read
    told = (execution_of_leg(db, execution) for execution in read.executions)
    return replace(
        read,
        orders=tuple(share for order in read.orders for share in _shares_of(db, order)),
        executions=tuple(execution for execution in told if execution is not None),
    )


def unrecorded(db: sqlite3.Connection, read: BrokerRead, desk: str) -> tuple[OwnOrder, ...]:
    """Return the legs of this desk's combinations that work at the broker and of which no leg's order is on record.

    An exit goes out without waiting for its record. Its legs must be known all the same: each could leave by itself
    beside it, and what covers would be sold twice.
    """
    found: list[OwnOrder] = []
    for order in read.orders:
        if order.is_working and order.con_id == COMBO_CON_ID and is_of_desk(order.order_ref, desk):
            known = "SELECT 1 FROM orders WHERE combo_ref = ?"
            if not rows.exists(db, known, (order.order_ref,)):
                found += shares_on_record(db, order.order_ref, order.qty)
    return tuple(found)


def shares_on_record(db: sqlite3.Connection, combo_ref: str, units: Qty) -> tuple[OwnOrder, ...]:
    """Return each live leg's part of so many units of a combination, whether or not its own order is on record."""
    legs, is_exit = _legs_of(db, combo_ref), is_exit_ref(combo_ref)
    if len(legs) < 2:
        return ()
    unit = gcd(*(leg.qty for leg in legs))
    return tuple(
        OwnOrder(
            order_ref=share_ref(combo_ref, leg.order_ref), con_id=leg.con_id, is_exit=is_exit,
            side=leg.side.opposite if is_exit else leg.side, qty=Qty(units * leg.qty // unit), combo_ref=combo_ref,
        )
        for leg in legs
        if leg.is_live
    )  # fmt: skip


def _shares_of(db: sqlite3.Connection, order: BrokerOrder) -> tuple[BrokerOrder, ...]:
    legs = _legs_of(db, order.order_ref) if order.con_id == COMBO_CON_ID and is_ours(order.order_ref) else ()
    if len(legs) < 2:
        return (order,)
    unit, is_exit = gcd(*(leg.qty for leg in legs)), is_exit_ref(order.order_ref)
    return tuple(
        replace(
            order, order_ref=share_ref(order.order_ref, leg.order_ref), con_id=leg.con_id,
            side=leg.side.opposite if is_exit else leg.side, qty=Qty(order.qty * leg.qty // unit),
            filled_qty=Qty(order.filled_qty * leg.qty // unit), limit_ticks=None,
        )
        for leg in legs
    )  # fmt: skip


def _legs_of(db: sqlite3.Connection, order_ref: str) -> tuple[_Leg, ...]:
    """Return the legs of the intent that an order belongs to, in their order; one where it is no structure's."""
    return rows.all_rows(
        db, _Leg,
        f"SELECT order_ref, con_id, side, qty, {LIVE} FROM reservations WHERE intent_id ="
        " (SELECT intent_id FROM reservations WHERE order_ref = ?) ORDER BY leg",
        (entry_ref(position_of(order_ref)),),
    )  # fmt: skip
