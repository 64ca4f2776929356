"""From version 1 of a desk's ledger to version 2: gates by their names, verdicts as a gate's name and its finding."""

from __future__ import annotations

import sqlite3

import msgspec

# The gates of version 1 by number; since then the order has changed, the names have not.
GATES_V1 = {
    1: "kill_level", 2: "live_flag", 3: "port_and_account", 4: "shadow_check", 5: "broker_mode", 6: "session",
    7: "signal_age", 8: "cooldown", 9: "watermark", 10: "daily_loss", 11: "loss_streak", 12: "trades_per_day",
    13: "positions_global", 14: "positions_of_ticker", 15: "one_position", 16: "long_only", 17: "no_adding_to_a_loser",
    18: "no_reverse", 19: "contract", 20: "quote_fresh", 21: "bid_present", 22: "spread", 23: "size_and_money",
    24: "fresh_quote", 25: "reservation",
}  # fmt: skip


class _Finding(msgspec.Struct, frozen=True):
    outcome: str
    code: str | None
    measured: int | float | None
    limit: int | float | None
    unit: str
    looked_at: str


class _VerdictV1(msgspec.Struct, frozen=True):
    gate: int
    outcome: str
    code: str | None = None
    measured: int | float | None = None
    limit: int | float | None = None
    unit: str = ""
    looked_at: str = ""


class _Verdict(msgspec.Struct, frozen=True):
    gate: str
    finding: _Finding


_DECODE = msgspec.json.Decoder(tuple[_VerdictV1, ...]).decode
_ENCODE = msgspec.json.Encoder().encode


def name_gates(db: sqlite3.Connection) -> None:
    """Replace the gate's number by its name, in the column and in the verdicts.

    Raises:
        sqlite3.DatabaseError: a row whose verdicts cannot be read.
    """
    db.execute("ALTER TABLE gate_log RENAME COLUMN gate TO gate_n")
    db.execute("ALTER TABLE gate_log ADD COLUMN gate TEXT")
    for n, gate_n, verdicts in db.execute("SELECT n, gate_n, verdicts FROM gate_log ORDER BY n").fetchall():
        try:
            values = (None if gate_n is None else GATES_V1[gate_n], verdicts_v2(verdicts), n)
        except (msgspec.MsgspecError, KeyError) as error:
            raise sqlite3.DatabaseError(f"row {n} of its gate log is none of version 1: {error}") from error
        db.execute("UPDATE gate_log SET gate = ?, verdicts = ? WHERE n = ?", values)
    db.execute("ALTER TABLE gate_log DROP COLUMN gate_n")


def verdicts_v2(verdicts: str) -> str:
    """Return the verdicts of an attempt as version 2 writes them; numbers keep their form.

    Raises:
        msgspec.DecodeError: no verdicts of version 1.
        KeyError: a gate that version 1 did not have.
    """
    found = tuple(
        _Verdict(GATES_V1[v.gate], _Finding(v.outcome, v.code, v.measured, v.limit, v.unit, v.looked_at))
        for v in _DECODE(verdicts)
    )
    return _ENCODE(found).decode()
