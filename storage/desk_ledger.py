"""A desk's ledger: reservations, orders, executions, positions, gate log, watermarks and day rows, one writer."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from domain.instants import session_of
from domain.instruments import Side
from messages import lifecycle, orders, positions, risk, session
from messages.base import Message
from storage import desk_restore, fills, reservations
from storage.ledger_schema import DESK
from storage.reconcile import reconcile
from storage.sqlite_file import open_file, transaction

Facts = tuple[Message, ...]


class DeskLedger:
    """The `LedgerStore` of one desk; what it returns was committed.

    Args:
        folder: the data folder; the file is `<desk>.db` beside `ledger.db`.
        desk: the desk's name; a file of another desk is refused.
        run_n: the number of this start; entries reserved in an earlier run are no longer wanted.
        is_durable: False leaves out every fsync (simulated days that nobody resumes).
    """

    def __init__(self, folder: Path, desk: str, run_n: int, *, is_durable: bool = True) -> None:
        self._folder = folder
        self._desk = desk
        self._run_n = run_n
        self._is_durable = is_durable
        self._open_db: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open `<desk>.db`, creating or migrating it.

        Raises:
            LedgerRefusedError: unreadable, of a newer version, or another desk's.
        """
        self.close()
        self._open_db = open_file(self._folder / f"{self._desk}.db", DESK, self._desk, is_durable=self._is_durable)

    def close(self) -> None:
        """Release the file."""
        if self._open_db is not None:
            self._open_db.close()
            self._open_db = None

    @property
    def _db(self) -> sqlite3.Connection:
        if self._open_db is None:
            raise RuntimeError("the ledger is not open")
        return self._open_db

    def apply(self, message: Message, now: int) -> Facts:
        """Carry out one message in one transaction; its facts hold once this returns.

        Raises:
            TypeError: no message for a desk's ledger.
        """
        if isinstance(message, lifecycle.ReadState):
            restored = desk_restore.restored_for(self._db, message, self._folder, self._run_n)
            return (lifecycle.StateRead(name=message.name, restored=restored, read_n=message.read_n),)
        with transaction(self._db):
            return self._written(message, now)

    def _written(self, message: Message, now: int) -> Facts:
        db = self._db
        match message:
            case orders.ReserveEntry():
                return (reservations.reserve(db, message, self._desk, self._run_n, now),)
            case orders.ReleaseReservation():
                reservations.release(db, message, now)
            case orders.RecordDenial():
                reservations.record_denial(db, message, self._desk)
            case orders.RecordOrderIds():
                self._record_order_ids(message, now)
            case orders.RecordExecution():
                return fills.record_execution(db, message, self._desk, self._run_n, now)[1]
            case orders.RecordCommission():
                return fills.record_commission(db, message, now)
            case orders.RecordExitIntent():
                self._record_exit_intent(message, now)
                return (orders.ExitIntentRecorded(order_ref=message.order_ref, tier=message.tier),)
            case positions.RecordPosition():
                self._record_position(message)
            case positions.PositionClosed():
                self._close_position(message)
            case positions.EntryAbandoned():
                reservations.abandon(db, message.intent_id, message.contract.con_id, message.why, now)
            case session.Reconcile():
                return reconcile(db, message, self._desk, self._run_n, now)
            case risk.LockDay():
                return (self._lock_day(message),)
            case risk.RecordStartNav():
                return (self._record_start_nav(message),)
            case risk.RecordDay():
                self._record_day(message)
            case _:
                raise TypeError(f"{type(message).__name__} is no message for a desk's ledger")
        return ()

    def _record_order_ids(self, ids: orders.RecordOrderIds, now: int) -> None:
        self._db.execute(
            "UPDATE orders SET perm_id = ?, status = ?, changed_utc = ? WHERE order_ref = ?",
            (ids.perm_id, ids.status, now, ids.order_ref),
        )

    def _record_exit_intent(self, exit_: orders.RecordExitIntent, now: int) -> None:
        """Keep an exit order with its contract's holder; a later tier of the same order changes its row."""
        holder = self._db.execute(
            "SELECT r.intent_id, r.leg, r.structure_id, r.side FROM reservations r"
            " LEFT JOIN positions p ON p.intent_id = r.intent_id AND p.con_id = r.con_id AND p.position_id = ?"
            " WHERE r.con_id = ? ORDER BY p.position_id IS NULL, r.state NOT IN ('PENDING_ENTRY', 'OPEN'),"
            " r.reserved_utc DESC LIMIT 1",
            (exit_.position_id, exit_.con_id),
        ).fetchone()
        if holder is None:
            raise ValueError(f"exit {exit_.order_ref} of contract {exit_.con_id}, which nobody reserved")
        intent_id, leg, structure_id, entry_side = holder
        side = Side.SELL if entry_side == Side.BUY else Side.BUY
        self._db.execute(
            "INSERT INTO orders (order_ref, desk, intent_id, leg, structure_id, position_id, con_id, is_exit, side,"
            " qty, status, exit_n, exit_reason, exit_kind, tier, run_n, at_utc, changed_utc)"
            " VALUES (?,?,?,?,?,?,?,1,?,?,'intended',?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET"
            " position_id = excluded.position_id, qty = excluded.qty, exit_n = excluded.exit_n,"
            " exit_reason = excluded.exit_reason, exit_kind = excluded.exit_kind, tier = excluded.tier,"
            " changed_utc = excluded.changed_utc",
            (
                exit_.order_ref, self._desk, intent_id, leg, structure_id, exit_.position_id, exit_.con_id, side.value,
                exit_.qty, exit_.exit_n, exit_.reason, exit_.kind, exit_.tier, self._run_n, exit_.at_utc, now,
            ),
        )  # fmt: skip

    def _ensure_position(self, position_id: str, intent_id: str, con_id: int, state: str, at_utc: int) -> None:
        origin = self._db.execute(
            "SELECT leg, structure_id, source, strategy, direction, version FROM reservations"
            " WHERE intent_id = ? AND con_id = ?",
            (intent_id, con_id),
        ).fetchone() or (0, None, None, None, None, None)
        self._db.execute(
            "INSERT INTO positions (position_id, desk, intent_id, leg, structure_id, con_id, session, source, strategy,"
            " direction, version, state, changed_utc) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            (
                position_id, self._desk, intent_id, *origin[:2], con_id, session_of(at_utc).isoformat(), *origin[2:],
                state, at_utc,
            ),
        )  # fmt: skip

    def _record_position(self, said: positions.RecordPosition) -> None:
        """Keep a position's facts; the result of a closed one stands as `PositionClosed` gave it."""
        self._ensure_position(said.position_id, said.intent_id, said.con_id, said.state.value, said.at_utc)
        self._db.execute(
            "UPDATE positions SET state = ?, exit_reason = ?, exit_kind = ?, exit_n = ?, tier = ?,"
            " entry_spot_ticks = ?, entry_iv = ?, opened_utc = ?, took_part = ?, end = ifnull(?, end),"
            " realised_cents = iif(closed_utc IS NULL, ?, realised_cents), changed_utc = ? WHERE position_id = ?",
            (
                said.state.value, said.exit_reason and said.exit_reason.value, said.exit_kind and said.exit_kind.value,
                said.exit_n, said.tier, said.entry_spot_ticks, said.entry_iv, said.opened_utc, said.took_part,
                said.end and said.end.value, said.realised_cents, said.at_utc, said.position_id,
            ),
        )  # fmt: skip

    def _close_position(self, closed: positions.PositionClosed) -> None:
        con_id = closed.contract.con_id
        self._ensure_position(closed.position_id, closed.intent_id, con_id, "FLAT", closed.closed_utc)
        self._db.execute(
            "UPDATE positions SET state = 'FLAT', exit_reason = ?, end = ?, bought_qty = ?, realised_cents = ?,"
            " fees_cents = ?, opened_utc = ?, closed_utc = ?, session = ?, changed_utc = ? WHERE position_id = ?",
            (
                closed.reason and closed.reason.value, closed.end.value, closed.bought_qty, closed.realised_cents,
                closed.fees_cents, closed.opened_utc, closed.closed_utc, session_of(closed.closed_utc).isoformat(),
                closed.closed_utc, closed.position_id,
            ),
        )  # fmt: skip
        self._db.execute(
            f"UPDATE reservations SET state = 'CLOSED', ended_why = ?, ended_utc = ?"
            f" WHERE intent_id = ? AND con_id = ? AND {reservations.LIVE}",
            (closed.end.value, closed.closed_utc, closed.intent_id, con_id),
        )

    def _ensure_day(self, day: str) -> None:
        self._db.execute("INSERT INTO day (session, desk) VALUES (?,?) ON CONFLICT DO NOTHING", (day, self._desk))

    def _lock_day(self, lock: risk.LockDay) -> risk.DayLocked:
        """Lock once; the first reason stands."""
        day = lock.session.isoformat()
        self._ensure_day(day)
        self._db.execute(
            "UPDATE day SET locked_why = ?, locked_utc = ? WHERE session = ? AND locked_why IS NULL",
            (lock.reason, lock.at_utc, day),
        )
        (reason,) = self._db.execute("SELECT locked_why FROM day WHERE session = ?", (day,)).fetchone()
        return risk.DayLocked(session=lock.session, reason=reason)

    def _record_start_nav(self, nav: risk.RecordStartNav) -> risk.StartNavRecorded:
        day = nav.session.isoformat()
        self._ensure_day(day)
        self._db.execute(
            "UPDATE day SET start_nav_cents = ?, start_nav_utc = ? WHERE session = ? AND start_nav_cents IS NULL",
            (nav.nav_cents, nav.at_utc, day),
        )
        (cents,) = self._db.execute("SELECT start_nav_cents FROM day WHERE session = ?", (day,)).fetchone()
        return risk.StartNavRecorded(session=nav.session, nav_cents=cents)

    def _record_day(self, day: risk.RecordDay) -> None:
        self._ensure_day(day.session.isoformat())
        self._db.execute(
            "UPDATE day SET trades = ?, wins = ?, losses = ?, realised_cents = ?, fees_cents = ?, drawdown_cents = ?,"
            " settled_utc = ? WHERE session = ?",
            (
                day.trades, day.wins, day.losses, day.realised_cents, day.fees_cents, day.drawdown_cents, day.at_utc,
                day.session.isoformat(),
            ),
        )  # fmt: skip
