"""What stands in the ledgers of the session shown, read at once; it is never an empty desk before it was read."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec

from domain.instants import SECOND
from domain.reports.refusals import code_text
from domain.signals.outcome import Outcome
from domain.units import Utc
from storage.queries import Found, LedgerReader

TRADES_DAYS_MAX = 30
Stamp = tuple[tuple[int, int], ...]


class Ledgers(msgspec.Struct):
    """The rows; `is_read` is False before the first success, `trouble` says why it could not be read (again)."""

    is_read: bool = False
    session: date | None = None
    held: list[Found] = msgspec.field(default_factory=list)
    trades: list[Found] = msgspec.field(default_factory=list)
    executions: list[Found] = msgspec.field(default_factory=list)
    attempts: list[Found] = msgspec.field(default_factory=list)
    alerts: list[Found] = msgspec.field(default_factory=list)
    outcomes: tuple[Outcome, ...] = ()
    contracts: dict[int, Found] = msgspec.field(default_factory=dict)
    kill: Found | None = None
    day: Found | None = None
    trouble: str | None = None

    def fates(self, before_utc: Utc | None = None) -> dict[str, str]:
        """Return what became of the session's attempts by alert: `traded`, `pending`, `no_fill`, or why it is refused.

        An approved attempt without a reservation that lives or a fill ended without one. `before_utc`: as it was known
        then; what has filled or was refused since is pending.
        """
        filled = {row["intent_id"] for row in self.executions if not row["is_exit"]} - {None}
        known = before(self.executions, "at_utc", before_utc)
        filled_by_then = {row["intent_id"] for row in known if not row["is_exit"]}
        pending = ({row["intent_id"] for row in self.held} | filled) - filled_by_then
        return {
            row["alert_id"]: "pending" if _is_later(row["amended_utc"], before_utc) else code_text(row) or (
                "traded" if row["intent_id"] in filled_by_then
                else "pending" if row["intent_id"] in pending else "no_fill"
            )
            for row in before(self.attempts, "decided_utc", before_utc)
        }  # fmt: skip

    def today(self) -> list[Found]:
        """Return the closed positions of the session, newest first; a structure has one for each leg."""
        session = self.session
        return [] if session is None else [row for row in self.trades if row["session"] == session.isoformat()]

    def fills_of(self, row: Found) -> list[Found]:
        """Return the executions of a position: those of its orders, and what no order brought while it was open.

        The broker tells an execution to the second, so its time alone does not say which position it was of.
        """
        from_utc, to_utc = row.get("opened_utc") or row.get("reserved_utc") or 0, row.get("closed_utc")
        return [
            fill for fill in self.executions
            if fill["con_id"] == row["con_id"] and (
                fill["intent_id"] == row["intent_id"] if fill["intent_id"] is not None
                else from_utc - SECOND <= fill["at_utc"] and (to_utc is None or fill["at_utc"] <= to_utc + SECOND)
            )
        ]  # fmt: skip


def ledgers_of(ask: LedgerReader, shown: date | None) -> Ledgers:
    """Return what is on record now.

    Raises:
        LedgerRefusedError: a ledger cannot be read.
    """
    found = Ledgers(is_read=True, session=shown, held=ask.held(), contracts=ask.contracts(), kill=ask.kill())
    if shown is not None:
        found.trades, found.executions = _all_trades(ask, shown), ask.executions(shown)
        found.attempts, found.alerts = ask.attempts(shown), ask.alerts(shown)
        found.outcomes = ask.outcomes(shown)
        found.day = ask.day(shown)
    return found


def stamp_of(folder: Path, desk: str) -> Stamp:
    """Return what changes whenever a ledger's file does."""
    names = ("ledger.db", f"{desk}.db")
    return tuple(_file_stamp(folder / f"{name}{end}") for name in names for end in ("", "-wal"))


def average_ticks(fills: list[Found]) -> float | None:
    """Return the average price in ticks; `None` of nothing."""
    qty = sum(fill["qty"] for fill in fills)
    return sum(fill["qty"] * fill["price_ticks"] for fill in fills) / qty if qty else None


def label_of(row: Found) -> str:
    """Return a contract's name for people: `SPXW 5890P`."""
    return f"{row['trading_class']} {short_label_of(row)}"


def short_label_of(row: Found) -> str:
    """Return strike and right alone: `5890P`."""
    return f"{row['strike_ticks'] / 100:g}{row['right']}"


def usd(hundredths: float | None) -> float | None:
    """Return cents or ticks as USD; `None` stays."""
    return None if hundredths is None else round(hundredths / 100, 4)


def before(rows: list[Found], column: str, before_utc: Utc | None) -> list[Found]:
    """Return the rows that had happened by an instant; all where there is none."""
    return rows if before_utc is None else [row for row in rows if row[column] <= before_utc]


def _is_later(at_utc: int | None, before_utc: Utc | None) -> bool:
    return at_utc is not None and before_utc is not None and at_utc > before_utc


def _all_trades(ask: LedgerReader, shown: date) -> list[Found]:
    """Return closed positions, newest first: those of the session shown, then of the days before."""
    found: list[Found] = []
    for session in ask.sessions()[:TRADES_DAYS_MAX]:
        if session <= shown:
            found += reversed([row | {"session": session.isoformat()} for row in ask.trades(session)])
    return found


def _file_stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
