"""Named questions to the ledgers for reports: read-only, beside the writer, plain dicts."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from domain.risk.reject import RejectCode
from domain.signals.alert import Alert
from domain.signals.outcome import Outcome
from storage.alert_rows import open_alerts, outcomes_of
from storage.ledger_schema import DESK, LIVE, SHARED
from storage.lost import SHARED_FILE, refuse_lost, refuse_lost_desk
from storage.sqlite_file import Schema, open_reader, reading

Found = dict[str, Any]

# Fees of one execution: the highest revision of its report.
_FEE = (
    "(SELECT commission_cents FROM commissions c WHERE c.exec_id = e.exec_id ORDER BY c.revision DESC LIMIT 1)"
    " AS fee_cents"
)


class LedgerReader:
    """Answers from `ledger.db` and `<desk>.db` of a data folder; each question opens and closes its file.

    Every method gives an empty answer where there is no ledger yet: in a folder that was never used.

    Raises:
        LedgerRefusedError: (any method) lost, emptied, locked, damaged, or of another version; one sentence.
    """

    def __init__(self, folder: Path, desk: str) -> None:
        self.desk = desk
        self._shared = _File(folder, SHARED_FILE, SHARED, None)
        self._desk = _File(folder, f"{desk}.db", DESK, desk)

    # -- the desk -------------------------------------------------------------------------------

    def account_key(self) -> str:
        """Return what tells the account that the desk trades from others (`broker.LinkUp`); empty: not known."""
        found = _rows(self._desk, "SELECT value FROM meta WHERE key = 'account'", ())
        return str(found[0]["value"]) if found else ""

    def trades(self, session: date) -> list[Found]:
        """Return the session's closed positions, by closing: contract, quantity, result net of fees, reasons."""
        return _rows(
            self._desk,
            "SELECT p.position_id, p.intent_id, p.structure_id, p.source, p.strategy, p.direction, r.alert_id,"
            " r.ticker, r.trading_class, r.expiry, r.strike_ticks, r.right, p.con_id, p.opened_qty, p.realised_cents,"
            " p.fees_cents, p.exit_reason, p.end, p.opened_utc, p.closed_utc, r.order_ref, r.side FROM positions p"
            " LEFT JOIN reservations r ON r.intent_id = p.intent_id AND r.con_id = p.con_id"
            " WHERE p.session = ? AND p.closed_utc IS NOT NULL ORDER BY p.closed_utc, p.position_id",
            (session.isoformat(),),
        )

    def shadow_exits(self, session: date | None = None) -> list[Found]:
        """Return what the shadows of exit profiles came to beside their positions: of a session, or of all."""
        return _rows(
            self._desk,
            "SELECT kind, version, fixed_cents, shadow_cents, shadow_reason, at_utc FROM shadow_exits"
            " WHERE session = ifnull(?, session) ORDER BY at_utc, position_id",
            (None if session is None else session.isoformat(),),
        )

    def held(self) -> list[Found]:
        """Return the live reservations with their signed net quantity and the state that their position recorded.

        A leg's row has the state of its structure, and the credit of the terms that it was opened on. `ticker` is what
        the alert was about, `underlying` the contract's own.

        A reservation in state `PENDING_ENTRY` has an order that may have filled: what it holds is not known.
        """
        return _rows(
            self._desk,
            "SELECT r.intent_id, r.ticker, r.trading_class, r.expiry, r.strike_ticks, r.right, r.con_id, r.qty, r.side,"
            " r.strategy, r.direction, r.state, r.order_ref, r.structure_id, r.reserved_utc, p.position_id,"
            " r.underlying, r.multiplier,"
            " p.state AS position_state,"
            " p.opened_utc, p.entry_spot_ticks, p.took_part, p.realised_cents, p.exit_reason,"
            " s.state AS structure_state, s.credit_cents,"
            " (SELECT ifnull(sum(iif(side = 'BUY', qty, -qty)), 0) FROM executions e"
            " WHERE e.intent_id = r.intent_id AND e.con_id = r.con_id AND e.is_current) AS net_qty"
            " FROM reservations r LEFT JOIN positions p ON p.intent_id = r.intent_id AND p.con_id = r.con_id"
            " LEFT JOIN structures s ON s.structure_id = r.structure_id"
            f" WHERE r.{LIVE} ORDER BY r.reserved_utc, r.con_id",
        )

    def gate_counts(self, session: date) -> dict[str, int]:
        """Return the session's attempts counted by the code that they ended with; the others stand under `accepted`."""
        rows = _rows(
            self._desk,
            "SELECT coalesce(code, amended_code, 'accepted') AS code, count(*) AS n FROM gate_log WHERE session = ?"
            " GROUP BY 1 ORDER BY n DESC, 1",
            (session.isoformat(),),
        )
        return {row["code"]: row["n"] for row in rows}

    def attempts(self, session: date | None = None, *, key: str | None = None) -> list[Found]:
        """Return gate rows with their verdicts: of a session, or those whose alert or intent is `key`.

        `is_shadow`: nobody meant it to be traded, whichever gate refused it (a kill level is asked before the shadow
        check).
        """
        where = "session = ?" if session is not None else "? IN (alert_id, intent_id)"
        rows = _rows(
            self._desk,
            "SELECT n, alert_id, intent_id, source, strategy, ticker, kind, version, bucket_utc, code, gate,"
            " measured, limit_value, unit, looked_at, verdicts, decided_utc, amended_code, amended_words, amended_utc"
            f" FROM gate_log WHERE {where} ORDER BY n",
            (session.isoformat() if session is not None else key,),
        )
        with reading(self._desk.path):
            for row in rows:
                row["verdicts"] = msgspec.json.decode(row["verdicts"])
        shadows = self._shadows(rows)
        for row in rows:
            row["is_shadow"] = row["code"] == RejectCode.SHADOW_SIGNAL or row["alert_id"] in shadows
        return rows

    def _shadows(self, attempts: list[Found]) -> frozenset[str]:
        """Return those alerts of refused attempts that were shadows from the first.

        A desk's rows are told without the shared ledger, too: whoever needs its alerts is refused when asking for them.
        """
        refused = [row["alert_id"] for row in attempts if row["code"] not in (None, RejectCode.SHADOW_SIGNAL)]
        if not refused or not self._shared.path.exists():
            return frozenset()
        rows = _rows(
            self._shared,
            "SELECT alert_id FROM alerts WHERE is_shadow AND alert_id IN (SELECT value FROM json_each(?))",
            (msgspec.json.encode(refused).decode(),),
        )
        return frozenset(row["alert_id"] for row in rows)

    def executions(self, session: date) -> list[Found]:
        """Return the session's executions in force with fee and slippage.

        `slippage_ticks` counts against us from the mid that the gates saw; `None` for exits and without a quote.
        """
        rows = _rows(
            self._desk,
            f"SELECT e.exec_id, e.revision, e.order_ref, e.con_id, e.side, e.qty, e.price_ticks, e.at_utc,"
            f" e.is_foreign, e.is_adopted, e.is_time_uncertain, o.is_exit, o.tier, o.intent_id, o.exit_reason,"
            f" r.ticker, r.strategy, r.alert_id, {_FEE},"
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

    def execution_ids(self) -> frozenset[str]:
        """Return the ids of all executions that the ledger knows, foreign ones too."""
        return frozenset(row["exec_id"] for row in _rows(self._desk, "SELECT exec_id FROM executions", ()))

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
            f"SELECT exec_id, revision, side, qty, price_ticks, at_utc, recorded_utc, {_FEE} FROM executions e"
            " WHERE order_ref = ? AND is_current ORDER BY at_utc, exec_id",
            (order_ref,),
        )
        return rows[0] | {"executions": executions}

    def order_events(self, order_ref: str) -> list[Found]:
        """Return the history of an order, oldest first: what happened, when, by whom and why."""
        return _rows(
            self._desk,
            "SELECT at_utc, event, qty, order_type, price_ticks, words, by FROM order_events"
            " WHERE order_ref = ? ORDER BY n",
            (order_ref,),
        )

    def refusals(self, session: date) -> list[Found]:
        """Return what the broker refused of the session's orders, in its words."""
        return _rows(
            self._desk,
            "SELECT v.order_ref, v.at_utc, v.words, o.is_exit, r.ticker, r.strategy FROM order_events v"
            " JOIN orders o USING (order_ref) JOIN reservations r USING (intent_id, leg)"
            " WHERE v.event = 'refused' AND r.session = ? ORDER BY v.n",
            (session.isoformat(),),
        )

    def contracts(self) -> dict[int, Found]:
        """Return every contract that the desk ever reserved, by contract id."""
        rows = _rows(
            self._desk,
            "SELECT DISTINCT con_id, ticker, trading_class, expiry, strike_ticks, right FROM reservations"
            " ORDER BY con_id",
        )
        return {row["con_id"]: row for row in rows}

    def sessions(self) -> list[date]:
        """Return the sessions of which the desk has an attempt, a position or a day's row, newest first."""
        rows = _rows(
            self._desk,
            "SELECT session FROM gate_log UNION SELECT session FROM positions UNION SELECT session FROM day"
            " ORDER BY session DESC",
        )
        with reading(self._desk.path):
            return [msgspec.convert(row["session"], date) for row in rows]

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
        with reading(self._shared.path):
            for row in rows:
                for name in ("features", "forces", "thresholds", "pushes"):
                    row[name] = None if row[name] is None else msgspec.json.decode(row[name])
        return rows

    def outcomes(self, session: date | None = None) -> tuple[Outcome, ...]:
        """Return what alerts came to, those that are over, by the time of the alerts: of a session, or of all."""
        refuse_lost(self._shared.folder, ())
        db = open_reader(self._shared.path, self._shared.schema)
        if db is None:
            return ()
        with closing(db), reading(self._shared.path):
            return outcomes_of(db, session=session)

    def open_alerts(self) -> tuple[Alert, ...]:
        """Return the alerts of which no outcome is on record, ascending."""
        refuse_lost(self._shared.folder, ())
        db = open_reader(self._shared.path, self._shared.schema)
        if db is None:
            return ()
        with closing(db), reading(self._shared.path):
            return open_alerts(db)

    def kill(self) -> Found | None:
        """Return the kill level in force with epoch, reason, by whom and when; `None` where none was ever recorded."""
        of_process = _rows(self._shared, "SELECT * FROM kill ORDER BY kill_epoch DESC LIMIT 1")
        own = _rows(
            self._shared,
            "SELECT kill_epoch, level, reason, by, at_utc FROM desk_kills WHERE desk = ?"
            " ORDER BY kill_epoch DESC LIMIT 1",
            (self.desk,),
        )
        newest = max((*of_process, *own), key=lambda row: (row["at_utc"], row["level"]), default=None)
        first = _rows(self._shared, "SELECT value FROM meta WHERE key = 'first_desk'")
        is_beside = bool(first) and first[0]["value"] != self.desk
        if is_beside and not own:
            return None
        return own[0] if is_beside and newest is not None and newest["level"] < own[0]["level"] else newest

    def kills(self) -> list[Found]:
        """Return every kill level that was ever recorded, in order, with its epoch, reason, by whom and when."""
        of_process = _rows(self._shared, "SELECT * FROM kill ORDER BY kill_epoch")
        own = _rows(
            self._shared,
            "SELECT kill_epoch, level, reason, by, at_utc FROM desk_kills WHERE desk = ? ORDER BY kill_epoch",
            (self.desk,),
        )
        return sorted((*of_process, *own), key=lambda row: int(row["at_utc"])) if own else of_process

    def routes(self) -> list[Found]:
        """Return every word on where a strategy trades in order: its desks, by whom and why."""
        rows = _rows(self._shared, "SELECT strategy, desks, by, reason, command_id, at_utc FROM routes ORDER BY n")
        with reading(self._shared.path):
            return [row | {"desks": msgspec.json.decode(row["desks"], type=list[str])} for row in rows]

    def promotions(self) -> list[Found]:
        """Return every word on promotions in order: source, kind, version, whether it may trade, by whom and why."""
        return _rows(self._shared, "SELECT * FROM promotions ORDER BY at_utc, source, kind, version")

    def commands(self) -> list[Found]:
        """Return the operator's commands in order."""
        return _rows(self._shared, "SELECT * FROM commands ORDER BY at_utc, command_id")

    def runs(self) -> list[Found]:
        """Return the starts of the supervisor in order."""
        return _rows(self._shared, "SELECT * FROM runs ORDER BY run_n")


class _File(msgspec.Struct, frozen=True):
    """A ledger to be asked; `desk` is `None` for the shared one."""

    folder: Path
    name: str
    schema: Schema
    desk: str | None

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder / self.name


def _rows(file: _File, sql: str, values: tuple[Any, ...] = ()) -> list[Found]:
    if file.desk is not None:
        refuse_lost_desk(file.folder, file.desk)
    else:
        refuse_lost(file.folder, ())
    db = open_reader(file.path, file.schema)
    if db is None:
        return []
    with closing(db), reading(file.path):
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(sql, values)]
