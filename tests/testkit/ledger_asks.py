"""Messages for the ledger tests, with sensible values for what a test does not care about; rows as they lie there."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

from domain.instants import SECOND
from domain.instruments import Contract, Right, Side
from domain.orders.intent import DecisionPrices, EntryPlan, Intent, OrderLeg, PlannedLeg, PositionRef
from domain.orders.table import OrderStatus
from domain.orders.tiers import Tier
from domain.position.cycle import EndReason, ExitKind, ExitReason, PositionState
from domain.position.shadow import WouldBeExit
from domain.risk.gates.types import Finding, Outcome, Verdict
from domain.risk.reject import RejectCode
from domain.signals.alert import Alert, AlertKey
from domain.units import Cents, Qty, Ticks, Utc
from messages import entries, orders, positions, session, signals
from messages.broker import BrokerOrder, BrokerPosition, BrokerRead, Execution

DAY = date(2026, 11, 20)
T0 = Utc(1_795_186_800 * SECOND)  # 2026-11-20 10:00 New York


def rows(folder: Path, sql: str) -> list[tuple[object, ...]]:
    """Return what a question finds in the file of the desk `paper`, beside whoever has it open."""
    with closing(sqlite3.connect(folder / "paper.db")) as db:
        return db.execute(sql).fetchall()


def contract(con_id: int = 1, ticker: str = "SPX") -> Contract:
    return Contract(con_id, ticker, "SPXW", DAY, Ticks(600_000 + con_id * 500), Right.CALL)


def stem(n: int) -> str:
    """The position id of intent `i<n>`: a digest of its own, as every order reference has."""
    return f"ZH-paper-{base64.b32encode(hashlib.sha256(str(n).encode()).digest()).decode()[:12]}"


def ref(n: int, suffix: str = "e") -> str:
    return f"{stem(n)}-{suffix}"


def key(n: int = 1, **changes: Any) -> AlertKey:
    """The n-th alert: that of the n-th bucket after 10:00."""
    values: dict[str, Any] = {
        "source": "gexwatch",
        "ticker": "SPX",
        "kind": "GAMMA_FLIP",
        "version": 1,
        "bucket_utc": T0 + n * 30 * SECOND,
    }
    return AlertKey(**(values | changes))


def alert_id(n: int = 1, **changes: Any) -> str:
    return key(n, **changes).alert_id


_OF_KEY = frozenset(AlertKey.__struct_fields__)
_OF_LIMITS = frozenset(entries.ReservationLimits.__struct_fields__)
_OF_INTENT = frozenset(Intent.__struct_fields__)


def intent(n: int = 1, **changes: Any) -> Intent:
    """Intent `i<n>` about the n-th alert; fields of the key may be given, too."""
    of_key = {name: value for name, value in changes.items() if name in _OF_KEY}
    values: dict[str, Any] = {
        "intent_id": f"i{n}",
        "key": key(n, **of_key),
        "strategy": "gexwatch",
        "direction": 1,
        "plan": EntryPlan((PlannedLeg(Right.CALL, Side.BUY),)),
        "is_shadow": False,
        "raised_utc": T0 + n * SECOND,
        "expires_utc": T0 + n * SECOND + 45 * SECOND,
    }
    return Intent(**(values | {name: value for name, value in changes.items() if name in _OF_INTENT}))


def leg(n: int = 1, con_id: int | None = None, *, ticker: str = "SPX", **changes: Any) -> OrderLeg:
    values: dict[str, Any] = {
        "contract": contract(con_id or n, ticker),
        "side": Side.BUY,
        "qty": Qty(2),
        "limit_ticks": Ticks(500),
        "order_ref": ref(n),
        "decision": DecisionPrices(Ticks(490), Ticks(510), Ticks(600_000)),
    }
    return OrderLeg(**(values | changes))


def reserve(n: int = 1, con_id: int | None = None, **changes: Any) -> entries.ReserveEntry:
    """An entry attempt: the n-th alert, intent `i<n>`, one bought call of 2.

    Fields of the key, the intent and the limits may be given as well as the message's own.
    """
    limits = {
        "positions_max": 9, "positions_per_ticker_max": 9, "trades_per_day_max": 9, "one_position_only": False,
        "forbid_reverse_without_flat": True,
    }  # fmt: skip
    values: dict[str, Any] = {
        "intent": intent(n, **changes),
        "session": DAY,
        "legs": (leg(n, con_id, ticker=changes.get("ticker", "SPX")),),
        "verdicts": (Verdict("kill_level", Finding(Outcome.PASS)),),
        "limits": entries.ReservationLimits(**{k: changes.get(k, v) for k, v in limits.items()}),
        "deadline_utc": T0 + 10 * SECOND,
        "decided_utc": T0 + n,
        "expires_utc": T0 + SECOND,
    }
    own = {k: v for k, v in changes.items() if k not in _OF_KEY | _OF_LIMITS | (_OF_INTENT - values.keys())}
    return entries.ReserveEntry(**(values | own))


def denial(n: int = 1, code: RejectCode = RejectCode.STALE_QUOTE, **changes: Any) -> entries.RecordDenial:
    found = Finding(Outcome.REJECT, code, 4000, 3000, "ms")
    values: dict[str, Any] = {
        "key": key(n),
        "strategy": "gexwatch",
        "session": DAY,
        "verdicts": (Verdict("quote_fresh", found),),
        "code": code,
        "decided_utc": T0 + n,
    }
    return entries.RecordDenial(**(values | changes))


def amended(n: int = 1, **changes: Any) -> entries.EntryAmended:
    values: dict[str, Any] = {
        "key": key(n),
        "intent_id": f"i{n}",
        "code": RejectCode.PERMIT_EXPIRED,
        "words": "the permit had expired",
        "at_utc": T0 + 3 * SECOND,
    }
    return entries.EntryAmended(**(values | changes))


def broker_refused(n: int = 1, suffix: str = "e", **changes: Any) -> orders.BrokerRefused:
    values: dict[str, Any] = {
        "order_ref": ref(n, suffix),
        "is_exit": suffix != "e",
        "vendor_code": 201,
        "text": "Order rejected - reason: no margin",
        "at_utc": T0 + 4 * SECOND,
    }
    return orders.BrokerRefused(**(values | changes))


def fill(n: int = 1, exec_id: str = "00e1.1", **changes: Any) -> Execution:
    """An execution of `n`'s entry order: 2 at 5.00."""
    values: dict[str, Any] = {
        "exec_id": exec_id,
        "revision": 1,
        "order_ref": ref(n),
        "perm_id": 900 + n,
        "con_id": n,
        "side": Side.BUY,
        "qty": Qty(2),
        "price_ticks": Ticks(500),
        "at_utc": T0 + SECOND,
        "raw": "{}",
    }
    return Execution(**(values | changes))


def execution(n: int = 1, exec_id: str = "00e1.1", **changes: Any) -> orders.RecordExecution:
    return orders.RecordExecution(execution=fill(n, exec_id, **changes))


def commission(exec_id: str = "00e1.1", cents: int = 130) -> orders.RecordCommission:
    return orders.RecordCommission(exec_id=exec_id, revision=1, commission_cents=Cents(cents))


def exit_intent(n: int = 1, exit_n: int = 1, **changes: Any) -> orders.RecordExitIntent:
    values: dict[str, Any] = {
        "position_id": stem(n),
        "reply_to": f"position:paper:{n}",
        "con_id": n,
        "order_ref": ref(n, f"x{exit_n}"),
        "exit_n": exit_n,
        "side": Side.SELL,
        "reason": ExitReason.PREMIUM_STOP,
        "kind": ExitKind.FULL,
        "qty": Qty(2),
        "tier": Tier.MID,
        "at_utc": T0 + 5 * SECOND,
    }
    return orders.RecordExitIntent(**(values | changes))


def position_ref(n: int = 1, con_id: int | None = None, **changes: Any) -> PositionRef:
    values: dict[str, Any] = {
        "position_id": stem(n),
        "intent_id": f"i{n}",
        "key": key(n),
        "strategy": "gexwatch",
        "direction": 1,
        "contract": contract(con_id or n),
        "side": Side.BUY,
    }
    return PositionRef(**(values | changes))


def position(n: int = 1, **changes: Any) -> positions.RecordPosition:
    values: dict[str, Any] = {
        "ref": position_ref(n),
        "state": PositionState.OPEN,
        "exit_reason": None,
        "exit_kind": None,
        "exit_n": 0,
        "tier": Tier.NONE,
        "entry_spot_ticks": Ticks(600_000),
        "entry_iv": 0.2,
        "opened_utc": T0 + SECOND,
        "took_part": False,
        "end": None,
        "realised_cents": Cents(0),
        "at_utc": T0 + 2 * SECOND,
    }
    return positions.RecordPosition(**(values | changes))


def closed(n: int = 1, realised_cents: int = -12_000, **changes: Any) -> positions.PositionClosed:
    values: dict[str, Any] = {
        "ref": position_ref(n),
        "reason": ExitReason.PREMIUM_STOP,
        "end": EndReason.CLOSED,
        "opened_qty": Qty(2),
        "realised_cents": Cents(realised_cents),
        "fees_cents": Cents(260),
        "opened_utc": T0 + SECOND,
        "closed_utc": T0 + 60 * SECOND,
    }
    return positions.PositionClosed(**(values | changes))


def tightened(n: int = 1, **changes: Any) -> positions.ExitsTightened:
    """The adaptive exit profile of `n`'s position is told for the first time."""
    values: dict[str, Any] = {
        "ref": position_ref(n), "version": 1, "stop_scale": 1.0, "take_scale": 1.0, "realised": None,
        "left_ms": 20_700_000, "is_in_force": False, "at_utc": T0 + 2 * SECOND,
    }  # fmt: skip
    return positions.ExitsTightened(**(values | changes))


def shadow_closed(
    n: int = 1, fixed_cents: int = -12_000, shadow_cents: int = -8_000, **changes: Any
) -> positions.ShadowClosed:
    """The shadow of `n`'s position has sold both contracts by itself."""
    sale = WouldBeExit(ExitReason.PREMIUM_STOP, Qty(2), Ticks(460), Utc(T0 + 30 * SECOND))
    values: dict[str, Any] = {
        "ref": position_ref(n), "version": 1, "fixed_cents": Cents(fixed_cents), "shadow_cents": Cents(shadow_cents),
        "fixed_reason": ExitReason.PREMIUM_STOP, "sales": (sale,), "left": Qty(0), "stop_scale": 0.75,
        "take_scale": 1.0, "at_utc": T0 + 60 * SECOND,
    }  # fmt: skip
    return positions.ShadowClosed(**(values | changes))


def abandoned(n: int = 1, con_id: int | None = None) -> positions.EntryAbandoned:
    return positions.EntryAbandoned(ref=position_ref(n, con_id), order_ref=ref(n), why="none")


def alert(n: int = 1, **changes: Any) -> signals.RecordAlert:
    """The record of the n-th alert; fields of the alert and its key may be given."""
    of_key = {name: value for name, value in changes.items() if name in _OF_KEY}
    values: dict[str, Any] = {
        "key": key(n, **of_key),
        "direction": 1,
        "entry_ticks": Ticks(600_000),
        "target_ticks": Ticks(601_000),
        "stop_ticks": Ticks(599_000),
        "horizon_ms": 900_000,
        "is_shadow": False,
        "raised_utc": T0 + n * SECOND,
    }
    return signals.RecordAlert(
        reply_to="lane:gexwatch:SPX",
        alert=Alert(**(values | {name: value for name, value in changes.items() if name not in _OF_KEY})),
        features=(1.5, None),
        forces=(),
        alignment=None,
        thresholds=(("hysteresis_bps", 5.0),),
    )


def broker_order(n: int = 1, order_ref: str | None = None, **changes: Any) -> BrokerOrder:
    values: dict[str, Any] = {
        "order_ref": ref(n) if order_ref is None else order_ref,
        "perm_id": 900 + n,
        "con_id": n,
        "side": Side.BUY,
        "qty": Qty(2),
        "filled_qty": Qty(0),
        "order_type": None,
        "limit_ticks": Ticks(500),
        "status": OrderStatus.WORKING,
        "is_working": True,
    }
    return BrokerOrder(**(values | changes))


def broker_position(n: int = 1, qty: int = 2) -> BrokerPosition:
    return BrokerPosition(contract=contract(n), qty=Qty(qty), avg_cost_cents=Cents(50_000))


def read(
    found_orders: tuple[BrokerOrder, ...] = (),
    executions: tuple[Execution, ...] = (),
    held: tuple[BrokerPosition, ...] = (),
) -> session.Reconcile:
    whole = BrokerRead(
        session_epoch=7, read_n=1, orders=found_orders, executions=executions, positions=held, read_utc=T0 + 9 * SECOND
    )
    return session.Reconcile(session_epoch=7, read=whole)
