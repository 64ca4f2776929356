"""`main.py report --last N`, and the trades of a report as CSV: from the ledger alone, so that many days are quick."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any, Final, TextIO

import orjson

from commands.cli import CommandError
from commands.held import contract_of
from commands.lines import WIDTH, wrapped
from commands.report_figures import approved_facts, figures_of, refused_n
from domain.instants import NEW_YORK, to_datetime
from domain.instruments import Side
from domain.units import Utc
from domain.wording import csv_text, usd_text
from storage.queries import Found, LedgerReader

_CLOSED: Final = "eod"  # every day ends so
_HEAD: Final = (
    f"{'session':<10} {'trades':>6} {'won':>4} {'P&L USD':>11} {'fees':>9} {'fall':>9} {'refused':>7} {'no fill':>7}"
)
_COLUMNS: Final = (
    "session", "status", "opened_ny", "closed_ny", "ticker", "contract", "side", "qty", "strategy", "alert_id",
    "order_ref", "exit_reasons", "pnl_usd", "fees_usd", "origin",
)  # fmt: skip


def show_last(ledger: LedgerReader, n: int, *, is_json: bool, is_csv: bool) -> int:
    """Print the newest sessions, a line each, oldest first, and what they come to.

    Raises:
        CommandError: there is none.
    """
    sessions = sorted(ledger.sessions()[:n])
    if not sessions:
        raise CommandError("There is nothing to report: no session was run here yet.", 1)
    rows = [day_of(ledger, session) for session in sessions]
    if is_json:
        print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
    elif is_csv:
        _print_csv(rows, tuple(rows[0]))
    else:
        print("\n".join(table_of(rows)))
    return 0


def day_of(ledger: LedgerReader, session: date) -> dict[str, Any]:
    """Return the figures of one session; money in USD, `None` where it is not known."""
    trades, attempts = ledger.trades(session), ledger.attempts(session)
    approved = approved_facts(attempts, trades, ledger.held())
    figures, day = figures_of(trades, ledger.executions(session)), ledger.day(session) or {}
    n = figures["slippage_n"]
    return {
        "session": session.isoformat(),
        "trades": figures["n"],
        "won": figures["wins"],
        "pnl_usd": sum(row["realised_cents"] for row in trades) / 100,
        "fees_usd": sum(row["fees_cents"] or 0 for row in trades) / 100,
        "fall_usd": None if day.get("drawdown_cents") is None else day["drawdown_cents"] / 100,
        "entry_above_mid_usd": round(figures["slippage_ticks"] / n / 100, 4) if n else None,
        "refused": refused_n(attempts),
        "without_fill": approved["unfilled"],
        "locked": day.get("locked_why"),
        "is_over": day.get("trades") is not None,
    }


def table_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the sessions for people, in 80 columns."""
    lines = [_HEAD]
    for row in rows:
        fall = "" if row["fall_usd"] is None else f"{row['fall_usd']:,.2f}"
        lines.append(
            f"{row['session']:<10} {row['trades']:>6} {row['won']:>4} {row['pnl_usd']:>+11,.2f}"
            f" {row['fees_usd']:>9,.2f} {fall:>9} {row['refused']:>7} {row['without_fill']:>7}"
        )
        if row["locked"] not in (None, _CLOSED):
            lines.append(f"           locked: {row['locked']}")
        if not row["is_over"]:
            lines.append("           not summed up: it is not over, or was cut short; what is open is not in it")
    n, won, pnl = (sum(row[name] for row in rows) for name in ("trades", "won", "pnl_usd"))
    rate = f"won {won} of {n} ({won / n:.0%}, n = {n})" if n else "no trades"
    count = f"{len(rows)} session{'s' * (len(rows) != 1)}"
    together = f"{count}: {pnl:+,.2f} USD, {rate}; largest fall of a day {_largest(rows)}"
    return [*lines, "", *wrapped(together, columns=WIDTH)]


def _largest(rows: Iterable[dict[str, Any]]) -> str:
    falls = [row["fall_usd"] for row in rows if row["fall_usd"] is not None]
    return usd_text(max(falls) * 100) if falls else "not known"


def print_trades(found: dict[str, Any]) -> None:
    """Print the trades and the entries without a fill of a report as CSV, a row each; times in New York.

    Of a structure contract, side, quantity and order reference are those of its legs, as `SPXW 6000C / SPY 600C`.
    """
    rows = [_trade(found, row) for row in found["trades"]]
    rows += [_unfilled(found, row) for row in found["unfilled"]]
    _print_csv(rows, _COLUMNS)


def _trade(found: dict[str, Any], row: Found) -> dict[str, Any]:
    return {
        "session": found["session"], "status": "closed", "opened_ny": _ny(row["opened_utc"]),
        "closed_ny": _ny(row["closed_utc"]), "ticker": row["ticker"],
        "contract": _of_legs(row, contract_of), "side": _of_legs(row, lambda leg: leg["side"] or ""),
        "qty": _of_legs(row, lambda leg: leg["qty"]), "strategy": row["strategy"], "alert_id": row["alert_id"],
        "order_ref": _of_legs(row, lambda leg: leg["order_ref"] or ""), "exit_reasons": " ".join(row["exit_reasons"]),
        "pnl_usd": f"{row['realised_cents'] / 100:.2f}", "fees_usd": f"{(row['fees_cents'] or 0) / 100:.2f}",
        "origin": row["origin"],
    }  # fmt: skip


def _of_legs(trade: Found, told: Callable[[Found], object]) -> str:
    return " / ".join(str(told(leg)) for leg in trade["legs"])


def _unfilled(found: dict[str, Any], row: Found) -> dict[str, Any]:
    return dict.fromkeys(_COLUMNS, "") | {
        "session": found["session"], "status": "no fill", "opened_ny": _ny(row["decided_utc"]),
        "contract": row["contract"] or "", "side": row["side"] or "",
        "qty": "" if row["qty"] is None else Side(row["side"]).sign * row["qty"], "alert_id": row["alert_id"],
        "order_ref": row["order_ref"] or "",
    }  # fmt: skip


def _ny(instant_utc: int | None) -> str:
    return "" if instant_utc is None else f"{to_datetime(Utc(instant_utc)).astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S}"


def _print_csv(rows: Iterable[dict[str, Any]], columns: Sequence[str], out: TextIO | None = None) -> None:
    writer = csv.DictWriter(out or sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: csv_text(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows
    )
