"""Named questions to the ledgers for reports: read-only, beside the writer, plain dicts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from storage.ledger_schema import DESK, LIVE, SHARED
from storage.shared_ledger import FILE
from storage.sqlite_file import LedgerRefusedError, Schema, open_reader

Found = dict[str, Any]

# Fees of one execution: the highest revision of its report.
_FEE = (
    "(SELECT commission_cents FROM commissions c WHERE c.exec_id = e.exec_id ORDER BY c.revision DESC LIMIT 1)"
    " AS fee_cents"
)


class LedgerReader:
    """Answers from `ledger.db` and `<desk>.db` of a data folder; each question opens and closes its file.

    Every method gives an empty answer where there is no ledger yet.

    Raises:
        LedgerRefusedError: (any method) unreadable, or of another version.
    """

    def __init__(self, folder: Path, desk: str) -> None:
        self._shared = (folder / FILE, SHARED)
        self._desk = (folder / f"{desk}.db", DESK)

    # -- the desk -------------------------------------------------------------------------------

    def trades(self, session: date) -> list[Found]:
        """Return the session's closed positions, by closing: contract, quantity, result net of fees, reasons."""
        return _rows(
            self._desk,
            "SELECT p.position_id, p.intent_id, p.source, p.strategy, p.direction, r.alert_id, r.ticker,"
            " r.trading_class, r.expiry, r.strike_ticks, r.right, p.con_id, p.opened_qty, p.realised_cents,"
            " p.fees_cents, p.exit_reason, p.end, p.opened_utc, p.closed_utc, r.order_ref FROM positions p"
            " LEFT JOIN reservations r ON r.intent_id = p.intent_id AND r.con_id = p.con_id"
            " WHERE p.session = ? AND p.closed_utc IS NOT NULL ORDER BY p.closed_utc, p.position_id",
            (session.isoformat(),),
        )

    def held(self) -> list[Found]:
        """Return the live reservations with their signed net quantity and the state that their position recorded."""
        return _rows(
            self._desk,
            "SELECT r.intent_id, r.ticker, r.trading_class, r.expiry, r.strike_ticks, r.right, r.con_id, r.qty,"
            " r.strategy, r.direction, r.state, r.order_ref, r.reserved_utc, p.position_id, p.state AS position_state,"
            " (SELECT ifnull(sum(iif(side = 'BUY', qty, -qty)), 0) FROM executions e"
            " WHERE e.intent_id = r.intent_id AND e.con_id = r.con_id AND e.is_current) AS net_qty"
            " FROM reservations r LEFT JOIN positions p ON p.intent_id = r.intent_id AND p.con_id = r.con_id"
            f" WHERE r.{LIVE} ORDER BY r.reserved_utc, r.con_id",
        )

    def gate_counts(self, session: date) -> dict[str, int]:
        """Return the session's attempts counted by reject code; the accepted ones stand under `accepted`."""
        rows = _rows(
            self._desk,
            "SELECT ifnull(code, 'accepted') AS code, count(*) AS n FROM gate_log WHERE session = ?"
            " GROUP BY 1 ORDER BY n DESC, 1",
            (session.isoformat(),),
        )
        return {row["code"]: row["n"] for row in rows}

    def attempts(self, session: date | None = None, *, key: str | None = None) -> list[Found]:
        """Return gate rows with their verdicts: of a session, or those whose alert or intent is `key`."""
        where = "session = ?" if session is not None else "? IN (alert_id, intent_id)"
        rows = _rows(
            self._desk,
            "SELECT n, alert_id, intent_id, source, strategy, ticker, kind, version, bucket_utc, code, gate,"
            f" measured, limit_value, unit, looked_at, verdicts, decided_utc FROM gate_log WHERE {where} ORDER BY n",
            (session.isoformat() if session is not None else key,),
        )
        for row in rows:
            row["verdicts"] = msgspec.json.decode(row["verdicts"])
        return rows

    def executions(self, session: date) -> list[Found]:
        """Return the session's executions in force with fee and slippage.

        `slippage_ticks` counts against us from the mid that the gates saw; `None` for exits and without a quote.
        """
        rows = _rows(
            self._desk,
            f"SELECT e.exec_id, e.revision, e.order_ref, e.con_id, e.side, e.qty, e.price_ticks, e.at_utc,"
            f" e.is_foreign, o.is_exit, o.tier, r.ticker, r.strategy, {_FEE},"
            " r.decision_bid_ticks + r.decision_ask_ticks AS mid_x2"
            " FROM executions e LEFT JOIN orders o USING (order_ref)"
            " LEFT JOIN reservations r ON r.intent_id = o.intent_id AND r.leg = o.leg"
            " WHERE e.session = ? AND e.is_current ORDER BY e.at_utc, e.exec_id",
            (session.isoformat(),),
        )
        for row in rows:
            mid_x2 = row.pop("mid_x2")
            against = None if mid_x2 is None or row["is_exit"] else row["price_ticks"] - mid_x2 / 2
            row["slippage_ticks"] = against if against is None or row["side"] == "BUY" else -against
        return rows

    def order(self, order_ref: str) -> Found | None:
        """Return one order with its reservation's origin and its executions; `None` where it is not known."""
        rows = _rows(
            self._desk,
            "SELECT o.*, r.alert_id, r.source, r.strategy, r.ticker, r.trading_class, r.expiry,"
            " r.strike_ticks, r.right, r.state AS reservation_state, r.bucket_utc, r.decided_utc, r.deadline_utc"
            " FROM orders o JOIN reservations r USING (intent_id, leg) WHERE o.order_ref = ?",
            (order_ref,),
        )
        if not rows:
            return None
        executions = _rows(
            self._desk,
            f"SELECT exec_id, revision, side, qty, price_ticks, at_utc, {_FEE} FROM executions e"
            " WHERE order_ref = ? AND is_current ORDER BY at_utc, exec_id",
            (order_ref,),
        )
        return rows[0] | {"executions": executions}

    def orders_of(self, intent_id: str) -> list[str]:
        """Return the orders of an intent, entry first."""
        rows = _rows(
            self._desk,
            "SELECT order_ref FROM orders WHERE intent_id = ? ORDER BY is_exit, leg, exit_n, at_utc",
            (intent_id,),
        )
        return [row["order_ref"] for row in rows]

    def day(self, session: date) -> Found | None:
        """Return the day's row: lock, start NAV and summary; `None` where nothing of it was written."""
        rows = _rows(self._desk, "SELECT * FROM day WHERE session = ?", (session.isoformat(),))
        return rows[0] if rows else None

    # -- the shared ledger ----------------------------------------------------------------------

    def alerts(self, session: date) -> list[Found]:
        """Return the session's alerts in order, with forces, thresholds and the features that were there."""
        rows = _rows(
            self._shared, "SELECT * FROM alerts WHERE session = ? ORDER BY raised_utc, alert_id", (session.isoformat(),)
        )
        for row in rows:
            for name in ("features", "forces", "thresholds"):
                row[name] = msgspec.json.decode(row[name])
        return rows

    def kill(self) -> Found | None:
        """Return the kill level in force with epoch, reason, by whom and when; `None` where none was ever recorded."""
        rows = _rows(self._shared, "SELECT * FROM kill ORDER BY kill_epoch DESC LIMIT 1")
        return rows[0] if rows else None

    def commands(self) -> list[Found]:
        """Return the operator's commands in order."""
        return _rows(self._shared, "SELECT * FROM commands ORDER BY at_utc, command_id")

    def runs(self) -> list[Found]:
        """Return the starts of the supervisor in order."""
        return _rows(self._shared, "SELECT * FROM runs ORDER BY run_n")


@contextmanager
def _opened(file: tuple[Path, Schema]) -> Iterator[sqlite3.Connection | None]:
    db = open_reader(*file)
    try:
        yield db
    except sqlite3.Error as error:
        raise LedgerRefusedError(f"The ledger {file[0]} cannot be read ({error}); restore it from a backup.") from error
    finally:
        if db is not None:
            db.close()


def _rows(file: tuple[Path, Schema], sql: str, values: tuple[Any, ...] = ()) -> list[Found]:
    with _opened(file) as db:
        if db is None:
            return []
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(sql, values)]
