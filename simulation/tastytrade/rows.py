"""What the simulated REST broker says, as the vendor does: dasherized keys, prices as text, effects beside amounts."""

from __future__ import annotations

from datetime import UTC
from typing import Any, Final

from domain.instants import MS, session_of, to_datetime
from domain.instruments import Contract, OrderType, Right, Side
from domain.units import Cents, Ticks, Utc
from simulation.broker.events import Commission, Execution
from simulation.broker.portfolio import Position
from simulation.tastytrade.orders import Placed

TYPES: Final = {"Limit": OrderType.LIMIT, "Market": OrderType.MARKET, "Stop": OrderType.STOP}
_TEXTS: Final = {kind: text for text, kind in TYPES.items()}


def occ_symbol(contract: Contract) -> str:
    """Return the symbol of an option: class, expiry, right, strike in thousandths."""
    right = "C" if contract.right is Right.CALL else "P"
    return f"{contract.trading_class:<6}{contract.expiry:%y%m%d}{right}{contract.strike_ticks * 10:08d}"


def usd(ticks: Ticks | Cents) -> str:
    """Return a price or an amount as text."""
    return f"{ticks / 100:.2f}"


def instant(at_utc: Utc) -> str:
    """Return an instant as text, to the millisecond."""
    return to_datetime(Utc(at_utc // MS * MS)).astimezone(UTC).isoformat(timespec="milliseconds")


def order_row(placed: Placed, account: str, contract: Contract) -> dict[str, Any]:
    """Return an order as every answer and notification has it."""
    order = placed.order
    row: dict[str, Any] = {
        "id": placed.order_id, "account-number": account, "time-in-force": "Day", "order-type": _TEXTS[order.type],
        "size": order.qty, "underlying-symbol": contract.ticker, "underlying-instrument-type": "Equity",
        "status": placed.status, "cancellable": placed.can_change, "editable": placed.can_change,
        "edited": placed.replaces_id > 0, "external-identifier": placed.ref,
        "received-at": instant(placed.received_utc), "updated-at": placed.updated_ms,
        "legs": [{
            "instrument-type": "Equity Option", "symbol": occ_symbol(contract), "quantity": order.qty,
            "remaining-quantity": order.qty - placed.filled_qty, "action": placed.action,
            "fills": [fill_row(execution) for execution in placed.fills.values()],
        }],
    }  # fmt: skip
    if order.type is OrderType.LIMIT and order.limit_ticks is not None:
        effect = "Debit" if order.side is Side.BUY else "Credit"
        row |= {"price": usd(order.limit_ticks), "price-effect": effect}
    if order.stop_ticks is not None:
        row["stop-trigger"] = usd(order.stop_ticks)
    if placed.replaces_id:
        row["replaces-order-id"] = placed.replaces_id
    if placed.replacing_id:
        row["replacing-order-id"] = placed.replacing_id
    if placed.reason:
        row["reject-reason"] = placed.reason
    return row


def fill_row(execution: Execution) -> dict[str, Any]:
    """Return one fill of a leg; a correction has the fill's own id."""
    return {
        "fill-id": fill_id_of(execution.exec_id), "quantity": execution.qty, "fill-price": usd(execution.price_ticks),
        "filled-at": instant(execution.at_utc), "destination-venue": "SIMULATED",
    }  # fmt: skip


def fill_id_of(exec_id: str) -> str:
    """Return a fill's id: that of the exchange's execution without its revision."""
    return exec_id.rpartition(".")[0]


def position_row(position: Position, account: str, contract: Contract) -> dict[str, Any]:
    """Return a position; the quantity is never negative, its direction says which side."""
    qty = position.qty
    price = position.cost_cents / qty / contract.multiplier / 100 if qty else 0.0
    return {
        "account-number": account, "symbol": occ_symbol(contract), "instrument-type": "Equity Option",
        "underlying-symbol": contract.ticker, "quantity": abs(qty),
        "quantity-direction": "Long" if qty > 0 else "Short" if qty < 0 else "Zero",
        "average-open-price": f"{price:.4f}", "multiplier": contract.multiplier,
    }  # fmt: skip


def balance_row(values: dict[str, Cents], account: str) -> dict[str, Any]:
    """Return what an account is worth, from the values that the exchange tells."""
    return {
        "account-number": account, "currency": "USD", "net-liquidating-value": usd(values["NetLiquidation"]),
        "cash-balance": usd(values["TotalCashValue"]), "derivative-buying-power": usd(values["AvailableFunds"]),
        "equity-buying-power": usd(values["BuyingPower"]),
    }  # fmt: skip


def transaction_row(execution: Execution, commission: Commission, contract: Contract, number: int) -> dict[str, Any]:
    """Return a trade with what it cost; all of the fee stands as commission but a tenth, which is the exchange's."""
    exchange_fee = Cents(commission.fee_cents // 10)
    return {
        "id": number, "transaction-type": "Trade", "symbol": occ_symbol(contract), "currency": "USD",
        "transaction-date": str(session_of(execution.at_utc)), "executed-at": instant(execution.at_utc),
        "order-id": execution.order.order_id, "exec-id": fill_id_of(execution.exec_id),
        "quantity": execution.qty, "price": usd(execution.price_ticks),
        "commission": usd(commission.fee_cents - exchange_fee), "commission-effect": "Debit",
        "proprietary-index-option-fees": usd(exchange_fee), "proprietary-index-option-fees-effect": "Debit",
        "clearing-fees": "0.0", "clearing-fees-effect": "None",
    }  # fmt: skip


def error(code: str, message: str, *details: str) -> dict[str, Any]:
    """Return the body of a refusal."""
    found: dict[str, Any] = {"code": code, "message": message}
    if details:
        found["errors"] = [{"code": code, "message": detail} for detail in details]
    return {"error": found}
