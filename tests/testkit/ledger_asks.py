"""Messages for the ledger tests, with sensible values for what a test does not care about."""

from __future__ import annotations

from datetime import date
from typing import Any

from domain.instants import SECOND
from domain.instruments import Contract, Right, Side
from domain.position.cycle import EndReason, ExitReason, PositionState
from domain.risk.reject import RejectCode
from messages import orders, positions, session, signals

DAY = date(2026, 11, 20)
T0 = 1_795_186_800 * SECOND  # 2026-11-20 10:00 New York


def contract(con_id: int = 1, ticker: str = "SPX") -> Contract:
    return Contract(con_id, ticker, "SPXW", DAY, 600_000 + con_id * 500, Right.CALL)


def ref(n: int, suffix: str = "e") -> str:
    return f"ZH-paper-{n:012d}-{suffix}"


def reserve(n: int = 1, con_id: int | None = None, **changes: Any) -> orders.ReserveEntry:
    """An entry attempt: alert `a<n>`, intent `i<n>`, one bought call of 2."""
    ticker = changes.get("ticker", "SPX")
    leg = orders.Leg(
        contract=contract(con_id or n, ticker), side=Side.BUY, qty=2, limit_ticks=500, order_ref=ref(n),
        decision_bid_ticks=490, decision_ask_ticks=510,
    )  # fmt: skip
    values: dict[str, Any] = {
        "intent_id": f"i{n}",
        "signal_id": f"s{n}",
        "alert_id": f"a{n}",
        "source": "gexwatch",
        "strategy": "gexwatch",
        "ticker": ticker,
        "kind": "GAMMA_FLIP",
        "version": 1,
        "direction": 1,
        "bucket_utc": T0 + n * 30 * SECOND,
        "session": DAY,
        "legs": (leg,),
        "verdicts": (orders.Verdict(gate=1, name="kill level", outcome="pass"),),
        "max_positions": 9,
        "per_ticker": 9,
        "max_trades": 9,
        "one_position_only": False,
        "deadline_utc": T0 + 10 * SECOND,
        "decided_utc": T0 + n,
        "expires_utc": T0 + SECOND,
    }
    return orders.ReserveEntry(**(values | changes))


def denial(n: int = 1, code: RejectCode = RejectCode.STALE_QUOTE, **changes: Any) -> orders.RecordDenial:
    verdict = orders.Verdict(gate=20, name="quote", outcome="reject", code=code, measured=4000, limit=3000, unit="ms")
    values: dict[str, Any] = {
        "signal_id": f"s{n}",
        "alert_id": f"a{n}",
        "source": "gexwatch",
        "strategy": "gexwatch",
        "ticker": "SPX",
        "kind": "GAMMA_FLIP",
        "version": 1,
        "bucket_utc": T0 + n * 30 * SECOND,
        "session": DAY,
        "verdicts": (verdict,),
        "code": code,
        "decided_utc": T0 + n,
    }
    return orders.RecordDenial(**(values | changes))


def execution(
    n: int = 1, exec_id: str = "00e1.1", revision: int = 1, order_ref: str | None = None, **changes: Any
) -> orders.RecordExecution:
    """An execution of `n`'s entry order: 2 at 5.00."""
    values: dict[str, Any] = {
        "exec_id": exec_id,
        "revision": revision,
        "order_ref": order_ref or ref(n),
        "con_id": n,
        "side": Side.BUY,
        "qty": 2,
        "price_ticks": 500,
        "at_utc": T0 + SECOND,
        "raw": "{}",
    }
    return orders.RecordExecution(**(values | changes))


def exit_intent(n: int = 1, exit_n: int = 1, **changes: Any) -> orders.RecordExitIntent:
    values: dict[str, Any] = {
        "position_id": f"p{n}",
        "reply_to": f"position:paper:{n}",
        "con_id": n,
        "order_ref": ref(n, f"x{exit_n}"),
        "exit_n": exit_n,
        "reason": "premium_stop",
        "kind": "full",
        "qty": 2,
        "tier": 1,
        "at_utc": T0 + 5 * SECOND,
    }
    return orders.RecordExitIntent(**(values | changes))


def position(n: int = 1, **changes: Any) -> positions.RecordPosition:
    values: dict[str, Any] = {
        "position_id": f"p{n}",
        "intent_id": f"i{n}",
        "con_id": n,
        "state": PositionState.OPEN,
        "exit_reason": None,
        "exit_kind": None,
        "exit_n": 0,
        "tier": 0,
        "entry_spot_ticks": 600_000,
        "entry_iv": 0.2,
        "opened_utc": T0 + SECOND,
        "took_part": False,
        "end": None,
        "realised_cents": 0,
        "at_utc": T0 + 2 * SECOND,
    }
    return positions.RecordPosition(**(values | changes))


def closed(n: int = 1, realised_cents: int = -12_000, **changes: Any) -> positions.PositionClosed:
    values: dict[str, Any] = {
        "position_id": f"p{n}",
        "intent_id": f"i{n}",
        "contract": contract(n),
        "source": "gexwatch",
        "strategy": "gexwatch",
        "direction": 1,
        "reason": ExitReason.PREMIUM_STOP,
        "end": EndReason.CLOSED,
        "bought_qty": 2,
        "realised_cents": realised_cents,
        "fees_cents": 260,
        "opened_utc": T0 + SECOND,
        "closed_utc": T0 + 60 * SECOND,
    }
    return positions.PositionClosed(**(values | changes))


def alert(n: int = 1, **changes: Any) -> signals.RecordAlert:
    values: dict[str, Any] = {
        "alert_id": f"a{n}",
        "reply_to": "lane:gexwatch:SPX",
        "session": DAY,
        "source": "gexwatch",
        "ticker": "SPX",
        "kind": "GAMMA_FLIP",
        "version": 1,
        "bucket_utc": T0 + n * 30 * SECOND,
        "direction": 1,
        "entry_ticks": 600_000,
        "target_ticks": 601_000,
        "stop_ticks": 599_000,
        "horizon_ms": 900_000,
        "features": (1.5, None),
        "forces": (),
        "alignment": None,
        "thresholds": (("hysteresis_bps", 5.0),),
        "is_shadow": False,
        "raised_utc": T0 + n * SECOND,
    }
    return signals.RecordAlert(**(values | changes))


def broker_order(n: int = 1, order_ref: str | None = None, **changes: Any) -> session.BrokerOrder:
    values: dict[str, Any] = {
        "order_ref": ref(n) if order_ref is None else order_ref,
        "perm_id": 900 + n,
        "con_id": n,
        "side": Side.BUY,
        "qty": 2,
        "filled_qty": 0,
        "order_type": None,
        "limit_ticks": 500,
        "status": "Submitted",
        "is_working": True,
    }
    return session.BrokerOrder(**(values | changes))


def broker_execution(n: int = 1, exec_id: str = "00e1.1", **changes: Any) -> session.BrokerExecution:
    values: dict[str, Any] = {
        "exec_id": exec_id,
        "revision": 1,
        "order_ref": ref(n),
        "perm_id": 900 + n,
        "con_id": n,
        "side": Side.BUY,
        "qty": 2,
        "price_ticks": 500,
        "at_utc": T0 + SECOND,
        "raw": "{}",
    }
    return session.BrokerExecution(**(values | changes))


def broker_position(n: int = 1, qty: int = 2) -> session.BrokerPosition:
    return session.BrokerPosition(contract=contract(n), qty=qty, avg_cost_cents=50_000)


def read(
    found_orders: tuple[session.BrokerOrder, ...] = (),
    executions: tuple[session.BrokerExecution, ...] = (),
    held: tuple[session.BrokerPosition, ...] = (),
) -> session.Reconcile:
    whole = session.BrokerRead(
        session_epoch=7, read_n=1, orders=found_orders, executions=executions, positions=held, read_utc=T0 + 9 * SECOND
    )
    return session.Reconcile(session_epoch=7, read=whole)
