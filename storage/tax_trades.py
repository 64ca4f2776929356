"""Trades for the tax forms: every execution in force of the desks asked for, and the ends of what expired.

What a contract brought at its settlement is what its position's result says beyond its executions, so that ledger and
forms agree to the cent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import date
from typing import Any, Final

import msgspec

from domain.instants import session_of
from domain.instruments import Right, Side
from domain.options.fees import order_fee_cents
from domain.position.cycle import EndReason
from domain.tax.lots import Security, Trade
from domain.units import Cents, Qty, Ticks, Utc
from storage.views.database import Database

# How a position can end without an execution of our orders.
_ENDS: Final = (
    EndReason.EXPIRED, EndReason.EXPIRED_UNPRICED, EndReason.SETTLED, EndReason.ASSIGNED, EndReason.BROKER_LIQUIDATION
)  # fmt: skip
_CONTRACTS: Final = (
    'SELECT DISTINCT desk, con_id, underlying, trading_class, expiry, strike_ticks, "right", multiplier'
    " FROM base_reservations"
)
_EXECUTIONS: Final = (
    "SELECT e.desk, e.exec_id, e.con_id, e.order_ref, e.intent_id, e.side, e.qty, e.price_ticks, e.at_utc, e.session,"
    " e.is_adopted, e.is_foreign, c.cents AS fee_cents FROM base_executions e LEFT JOIN (SELECT desk, exec_id,"
    " arg_max(commission_cents, revision) AS cents FROM base_commissions GROUP BY ALL) c"
    " ON c.desk = e.desk AND c.exec_id = e.exec_id WHERE e.is_current <> 0 ORDER BY e.at_utc, e.exec_id"
)
_POSITIONS: Final = (
    'SELECT desk, position_id, intent_id, con_id, "end", realised_cents + fees_cents AS gross_cents, closed_utc,'
    " session FROM base_positions WHERE closed_utc IS NOT NULL"
)


class TaxTrades(msgspec.Struct, frozen=True):
    """The trades, and what a person must know of them.

    `estimated_fees` counts executions whose commission nobody reported, `others` those of orders that are not ours
    (left out), `adopted` those that were made from what the broker held (compare the price), `unpriced` names what
    expired while nobody knew the settlement price, `closed_by_others` what somebody else closed: at
    what the ledger booked, which is an estimate until it can be read.
    """

    trades: tuple[Trade, ...]
    estimated_fees: int
    others: int
    adopted: int
    unpriced: tuple[str, ...]
    closed_by_others: tuple[str, ...] = ()


def tax_trades(db: Database, desks: Collection[str]) -> TaxTrades:
    """Return the trades of desks, from their first day on.

    Raises:
        LedgerRefusedError: a ledger cannot be used.
        QueryError: likewise, of a file.
    """
    contracts = {(row["desk"], row["con_id"]): row for row in db.rows(_CONTRACTS)}
    rows = [row for row in db.rows(_EXECUTIONS) if row["desk"] in desks]
    ours = [row for row in rows if not row["is_foreign"] and (row["desk"], row["con_id"]) in contracts]
    trades: list[Trade] = []
    cash: Counter[tuple[str, str, int]] = Counter()
    held: Counter[tuple[str, str, int]] = Counter()
    estimated = 0
    for row in ours:
        contract = contracts[row["desk"], row["con_id"]]
        side, qty, ticks = Side(row["side"]), Qty(row["qty"]), Ticks(row["price_ticks"])
        session = date.fromisoformat(row["session"])
        sign = 1 if side is Side.SELL else -1
        gross = sign * qty * ticks * contract["multiplier"]
        fee = row["fee_cents"]
        if fee is None:
            estimated += 1
            fee = order_fee_cents(session, contract["trading_class"], qty, ticks, is_sale=side is Side.SELL)
        of_position = row["desk"], row["intent_id"], row["con_id"]
        cash[of_position] += gross
        held[of_position] -= sign * qty
        trades.append(Trade(
            trade_id=row["exec_id"], account=row["desk"], security=_security(contract), side=side, qty=qty,
            cash_cents=Cents(gross - fee), at_utc=Utc(row["at_utc"]), session=session, order_ref=row["order_ref"],
        ))  # fmt: skip
    unpriced: list[str] = []
    closed_by_others: list[str] = []
    for row in db.rows(_POSITIONS):
        of_position = row["desk"], row["intent_id"], row["con_id"]
        left = held[of_position]
        if row["desk"] not in desks or row["end"] not in _ENDS or not left:
            continue
        contract = contracts[row["desk"], row["con_id"]]
        trades.append(_settled(row, contract, left, row["gross_cents"] - cash[of_position]))
        named = f"{abs(left)} {_security(contract).label}"
        unpriced += [named] if row["end"] == EndReason.EXPIRED_UNPRICED else []
        closed_by_others += [named] if row["end"] == EndReason.BROKER_LIQUIDATION else []
    return TaxTrades(
        tuple(trades), estimated, len(rows) - len(ours), sum(bool(row["is_adopted"]) for row in ours), tuple(unpriced),
        tuple(closed_by_others),
    )  # fmt: skip


def _settled(row: dict[str, Any], contract: dict[str, Any], left: int, cents: int) -> Trade:
    """Return what took the rest of a position off; a later run may have booked what had expired before."""
    session = min(session_of(Utc(row["closed_utc"])), date.fromisoformat(contract["expiry"]))
    return Trade(
        trade_id=f"{row['position_id']}:{row['end']}", account=row["desk"], security=_security(contract),
        side=Side.SELL if left > 0 else Side.BUY, qty=Qty(abs(left)), cash_cents=Cents(cents),
        at_utc=Utc(row["closed_utc"]), session=session, how=row["end"],
    )  # fmt: skip


def _security(contract: dict[str, Any]) -> Security:
    return Security(
        contract["underlying"], contract["trading_class"], date.fromisoformat(contract["expiry"]),
        contract["strike_ticks"], Right(contract["right"]),
    )  # fmt: skip
