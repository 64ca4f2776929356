"""`main.py report --desks`: the desks of a folder beside each other, trade by trade; no sum mixes kinds of money."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from datetime import date
from typing import Final, NamedTuple

import msgspec
import orjson

from commands.cli import CommandError
from commands.folder import DataFolder
from commands.held import contract_of, desks_of
from commands.report_figures import refused_n, stage_of
from domain.desks import DeskKind
from domain.instants import exchange_clock
from domain.reports.trades import results_cents, signed_qty
from domain.signals.alert import AlertKey
from storage.desk_kinds import kinds
from storage.queries import Found, LedgerReader

KINDS: Final = (DeskKind.LIVE, DeskKind.PAPER, DeskKind.SIM)


class DeskDay(msgspec.Struct, frozen=True, kw_only=True):
    """One desk's session; money in cents, net of fees. `kind` is `None` of a desk of before kinds were kept."""

    desk: str
    kind: DeskKind | None
    trades: int
    wins: int
    realised_cents: int
    fees_cents: int
    refused: int
    open: int


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """What one desk made of an alert: prices in ticks, `None` where there is none; `what` says what no trade became.

    A structure has a leg for each contract; `qty` is below 0 where it was sold to open.
    """

    desk: str
    contract: str = ""
    qty: int = 0
    entry_ticks: float | None = None
    exit_ticks: float | None = None
    net_cents: int | None = None
    what: str = ""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One alert that at least one desk traded, and what each desk made of it."""

    alert_id: str
    legs: tuple[Leg, ...]


class DesksReport(msgspec.Struct, frozen=True, kw_only=True):
    """The desks of a session beside each other, those of live money first."""

    session: date
    desks: tuple[DeskDay, ...]
    trades: tuple[Compared, ...]


def act(arguments: Namespace, folder: DataFolder) -> int:
    """Print it; 1 where a desk still holds something and its day does not run."""
    found = report_of(folder, _session(arguments.session, folder))
    if arguments.json:
        print(orjson.dumps(msgspec.to_builtins(found), option=orjson.OPT_INDENT_2).decode())
    else:
        print("\n".join(lines_of(found)))
    return 1 if any(day.open and not _is_running(folder, day.desk, found.session) for day in found.desks) else 0


def _is_running(folder: DataFolder, desk: str, session: date) -> bool:
    day = LedgerReader(folder.ledgers, desk).day(session)
    return stage_of(day, is_supervised=folder.is_supervised()) == "running"


def _session(text: str | None, folder: DataFolder) -> date:
    desks = desks_of(folder.ledgers)
    known = sorted({day for desk in desks for day in LedgerReader(folder.ledgers, desk).sessions()}, reverse=True)
    if not known:
        raise CommandError(f"There is nothing to report in {folder.root}: no session was run there yet.", 1)
    try:
        wanted = known[0] if text is None else date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a date; write it as 2026-11-20.") from None
    if wanted not in known:
        listed = ", ".join(day.isoformat() for day in known)
        raise CommandError(f"No session {wanted} was run in {folder.root}; there are: {listed}.", 1)
    return wanted


def report_of(folder: DataFolder, session: date) -> DesksReport:
    """Return what each desk of a folder made of a session.

    Raises:
        LedgerRefusedError: a ledger cannot be used.
    """
    known = kinds(folder.ledgers)
    names = sorted(desks_of(folder.ledgers), key=lambda desk: (_rank(known.get(desk)), desk))
    rows = [_rows_of(LedgerReader(folder.ledgers, desk), session) for desk in names]
    alerts = dict.fromkeys(str(trade["alert_id"]) for of_desk in rows for trade in of_desk.trades if trade["alert_id"])
    in_order = sorted(alerts, key=lambda alert_id: (AlertKey.parse(alert_id).bucket_utc, alert_id))
    return DesksReport(
        session=session, desks=tuple(_day(of_desk, known.get(of_desk.desk)) for of_desk in rows),
        trades=tuple(
            Compared(alert_id=alert_id, legs=tuple(leg for of_desk in rows for leg in _legs(of_desk, alert_id)))
            for alert_id in in_order
        ),
    )  # fmt: skip


def _rank(kind: DeskKind | None) -> int:
    return len(KINDS) if kind is None else KINDS.index(kind)


class _Rows(NamedTuple):
    """What a desk's ledger has of a session."""

    desk: str
    trades: list[Found]
    executions: list[Found]
    attempts: list[Found]
    held: list[Found]


def _rows_of(ledger: LedgerReader, session: date) -> _Rows:
    return _Rows(
        ledger.desk, ledger.trades(session), ledger.executions(session), ledger.attempts(session), ledger.held()
    )


def _day(rows: _Rows, kind: DeskKind | None) -> DeskDay:
    results = results_cents(rows.trades)
    return DeskDay(
        desk=rows.desk, kind=kind, trades=len(results), wins=sum(cents > 0 for cents in results),
        realised_cents=sum(row["realised_cents"] for row in rows.trades),
        fees_cents=sum(row["fees_cents"] or 0 for row in rows.trades),
        refused=refused_n(rows.attempts), open=len(rows.held),
    )  # fmt: skip


def _legs(rows: _Rows, alert_id: str) -> Iterable[Leg]:
    """Return what a desk made of an alert: its trades, or one row that says why there is none."""
    own = [row for row in rows.trades if row["alert_id"] == alert_id]
    for row in own:
        fills = [
            fill for fill in rows.executions if (fill["intent_id"], fill["con_id"]) == (row["intent_id"], row["con_id"])
        ]
        yield Leg(
            desk=rows.desk, contract=contract_of(row), qty=signed_qty(row), net_cents=row["realised_cents"],
            entry_ticks=_average(fill for fill in fills if not fill["is_exit"]),
            exit_ticks=_average(fill for fill in fills if fill["is_exit"]),
        )  # fmt: skip
    if own:
        return
    tried = [row for row in rows.attempts if row["alert_id"] == alert_id]
    code = tried[-1]["code"] or tried[-1]["amended_code"] if tried else None
    yield Leg(desk=rows.desk, what="" if not tried else code or "no fill")


def _average(fills: Iterable[Found]) -> float | None:
    found = [(fill["qty"], fill["price_ticks"]) for fill in fills]
    qty = sum(qty for qty, _ in found)
    return sum(qty * ticks for qty, ticks in found) / qty if qty else None


def lines_of(report: DesksReport) -> list[str]:
    """Return it for people: a row a desk, then each alert that was traded with what each desk made of it."""
    lines = [f"Desks of {report.session}, results net of fees; no line sums kinds of money", ""]
    lines.append(f"{'DESK':<14} {'MONEY':<6} {'TRADES':>6} {'WON':>4} {'NET USD':>12} {'FEES':>9} {'REFUSED':>8}")
    lines += [
        f"{day.desk:<14} {day.kind or '?':<6} {day.trades:>6} {day.wins:>4} {day.realised_cents / 100:>12,.2f}"
        f" {day.fees_cents / 100:>9,.2f} {day.refused:>8}" + (f"  {day.open} OPEN" if day.open else "")
        for day in report.desks
    ]  # fmt: skip
    for trade in report.trades:
        key = AlertKey.parse(trade.alert_id)
        lines += ["", f"{exchange_clock(key.bucket_utc)}  {key.kind} {key.ticker} ({key.source})"]
        lines += [f"  {_leg(leg)}" for leg in trade.legs if leg.contract or leg.what]
    if not report.trades:
        lines += ["", "No desk traded."]
    return lines


def _leg(leg: Leg) -> str:
    if not leg.contract:
        return f"{leg.desk:<14} not traded: {leg.what}"
    net = "" if leg.net_cents is None else f"{leg.net_cents / 100:+,.2f} USD"
    prices = f"{_price(leg.entry_ticks)} -> {_price(leg.exit_ticks)}"
    return f"{leg.desk:<14} {leg.qty:>3} {leg.contract:<14} {prices}  {net:>14}"


def _price(ticks: float | None) -> str:
    return f"{'-':>7}" if ticks is None else f"{ticks / 100:>7.2f}"
