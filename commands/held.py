"""What is held, or may be, by the desks' ledgers, and what protects it: for report, stop and direct flatten."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from config.settings import Settings
from domain.instants import exchange_clock
from domain.instruments import Contract, Side
from domain.orders.table import OrderStatus
from domain.position.cycle import ExitReason, PositionState
from domain.units import Qty
from storage.lost import SHARED_FILE
from storage.queries import Found, LedgerReader

_IN_FORCE: Final = frozenset((OrderStatus.PENDING, OrderStatus.WORKING))
_OVER: Final = frozenset((OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.INACTIVE))


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """A contract that a desk holds or awaits; quantities are signed, `qty` 0 where an entry's fill is not known.

    `reserved_qty` is the most that may be held. `entry` says what is unknown of an entry that may fill or have filled,
    `protected_by` what stands at the broker; both are empty where there is nothing to say. `price_ticks` is what it
    cost on average, `None` where nobody told.
    """

    con_id: int
    contract: str
    qty: Qty
    reserved_qty: Qty
    strategy: str
    order_ref: str
    entry: str
    protected_by: str
    price_ticks: float | None = None

    @property
    def sentence(self) -> str:
        """Return it for people, without a full stop, as it stands while no supervisor runs."""
        return self.told(is_supervised=False)

    def told(self, *, is_supervised: bool) -> str:
        """Return it for people, without a full stop: what is held, at what price, and what watches it."""
        if not self.qty:
            return f"unknown: {self.entry} ({self.contract}, {self.order_ref})"
        price = "at an unknown price" if self.price_ticks is None else f"at {self.price_ticks / 100:.2f}"
        also = f"; {self.entry}" if self.entry else ""
        unguarded = "nothing at the broker protects it" + ("" if is_supervised else " while no supervisor runs")
        guard = self.protected_by or unguarded
        watch = "the running supervisor watches its exits; " if is_supervised else ""
        return f"{self.qty} {self.contract} {price} ({self.strategy}, {self.order_ref}){also}; {watch}{guard}"


def holdings(ledger: LedgerReader) -> list[Holding]:
    """Return what a desk holds or may hold.

    Raises:
        LedgerRefusedError: the ledger cannot be used.
    """
    return [_holding(ledger, row) for row in ledger.held()]


def _holding(ledger: LedgerReader, row: Found) -> Holding:
    known = (ledger.order(ref) for ref in ledger.orders_of(row["intent_id"]))
    orders = [order for order in known if order is not None and order["con_id"] == row["con_id"]]  # not another leg's
    most = row["qty"] if _is_unfilled(row) else abs(row["net_qty"]) + _unfilled_qty(orders)
    return Holding(
        con_id=row["con_id"],
        contract=contract_of(row),
        qty=Qty(row["net_qty"]),
        reserved_qty=Qty(most if row["side"] == Side.BUY else -most),
        strategy=row["strategy"],
        order_ref=row["order_ref"],
        entry=_entry(row, orders),
        protected_by=_guard(orders),
        price_ticks=_price_ticks(orders),
    )


def contract_of(row: Mapping[str, Any]) -> str:
    """Return a contract for people, as `SPXW 5890P`."""
    return f"{row['trading_class']} {(row['strike_ticks'] or 0) / 100:g}{row['right']}"


def _is_unfilled(row: Found) -> bool:
    return row["state"] == PositionState.PENDING_ENTRY or not row["net_qty"]


def _unfilled_qty(orders: list[Found]) -> Qty:
    """Return what the entry's orders that are not over may have filled beyond their executions."""
    alive = (order for order in orders if not order["is_exit"] and order["status"] not in _OVER)
    return Qty(sum(max(order["qty"] - sum(fill["qty"] for fill in order["executions"]), 0) for order in alive))


def _entry(row: Found, orders: list[Found]) -> str:
    if not _is_unfilled(row):
        rest = _unfilled_qty(orders)
        return f"{rest} more of its entry may have filled" if rest else ""
    entry = next((order for order in orders if not order["is_exit"]), None)
    text = f"an entry of {row['qty']} may have filled"
    return text if entry is None else f"{text}; it ends by itself at {exchange_clock(entry['deadline_utc'])} New York"


def _price_ticks(orders: list[Found]) -> float | None:
    """Return the average price of the entry's fills; `None` where there is none, or one without a price."""
    fills = [fill for order in orders if not order["is_exit"] for fill in order["executions"]]
    qty = sum(fill["qty"] for fill in fills)
    if not qty or not all(fill["price_ticks"] for fill in fills):
        return None
    return float(sum(fill["qty"] * fill["price_ticks"] for fill in fills) / qty)


def _guard(orders: list[Found]) -> str:
    for order in reversed(orders):
        if not order["is_exit"] or order["status"] not in _IN_FORCE:
            continue
        if order["exit_reason"] == ExitReason.DISASTER:
            return f"a stop for {order['qty']} rests at the broker ({order['order_ref']})"
        return f"an exit for {order['qty']} works at the broker ({order['order_ref']}, {order['exit_reason']})"
    return ""


def desks_of(ledgers: Path) -> list[str]:
    """Return the desks that have a ledger in a folder."""
    return sorted(path.stem for path in ledgers.glob("*.db") if path.name != SHARED_FILE)


def desks_at(ledgers: Path, settings: Settings) -> list[str]:
    """Return the desks of a folder whose account is that of these settings' desk.

    A desk of `desks` is alone in its account; what else lies in the folder is of the account of `desk`.
    """
    found = desks_of(ledgers)
    if settings.desk in settings.desks:
        return [desk for desk in found if desk == settings.desk]
    return [desk for desk in found if desk not in settings.desks]


def account_key(ledgers: Path, desks: list[str]) -> str:
    """Return what tells the account of these desks from others, by the first ledger that knows; empty: none does.

    Raises:
        LedgerRefusedError: a ledger cannot be used.
    """
    return next(filter(None, (LedgerReader(ledgers, desk).account_key() for desk in desks)), "")


def owned(ledgers: Path, desks: list[str]) -> dict[int, Qty]:
    """Return how much of each contract is ours at most, by contract id: what is held, and what entries may have filled.

    What was sold to open (the short leg of a structure) is negative.

    Raises:
        LedgerRefusedError: a ledger cannot be used.
    """
    found: dict[int, Qty] = {}
    for desk in desks:
        for holding in holdings(LedgerReader(ledgers, desk)):
            qty = max(holding.qty, holding.reserved_qty, key=abs) if holding.entry else holding.qty
            if qty:
                found[holding.con_id] = Qty(found.get(holding.con_id, 0) + qty)
    return found


def contracts(ledgers: Path, desks: list[str]) -> list[Contract]:
    """Return the contracts that these desks ever reserved.

    Raises:
        LedgerRefusedError: a ledger cannot be used.
    """
    rows = (row for desk in desks for row in LedgerReader(ledgers, desk).contracts().values())
    return [msgspec.convert(row, Contract, strict=False) for row in rows]


def booked(ledgers: Path, desks: list[str]) -> frozenset[str]:
    """Return the ids of the executions that the ledgers of these desks know.

    Raises:
        LedgerRefusedError: a ledger cannot be used.
    """
    return frozenset().union(*(LedgerReader(ledgers, desk).execution_ids() for desk in desks))
