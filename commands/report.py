"""`main.py report`: what a session brought, from the ledgers, the warehouse, the traces and the broker's book."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import orjson

from commands import report_lines
from commands.book import Book
from commands.cli import CommandError
from commands.flatness import Look, looks_of_book, looks_of_trace, was_flat
from commands.folder import DataFolder, at_desk, settings_of
from commands.held import contract_of, holdings
from commands.report_figures import approved_facts, counts_of, fates, figures_of, stage_of
from commands.report_origin import source_of, totals_by_origin
from commands.report_outcomes import exit_facts, outcome_facts
from commands.report_sessions import print_trades, show_last
from commands.traces import UNREADABLE, enveloped, records
from config.settings import Settings
from domain.instants import exchange_clock
from domain.reports.refusals import code_text, refused_measure
from domain.reports.trades import by_structure, exit_reasons, trade_of
from simulation.pace.record import PaceRecord
from storage.gap_totals import totals_of
from storage.queries import Found, LedgerReader
from storage.warehouse_reader import WarehouseReader
from web.masking import masked_text


def act(arguments: Namespace) -> int:
    """Show the report of a session; 1 when it is not flat, by our ledger or by the broker, or a reading came twice.

    What a running day holds is its trade, and no fault: it is watched.
    """
    if arguments.html is not None or (arguments.session or "").isalpha():
        from commands import report_period  # noqa: PLC0415 - DuckDB, which the trading process (`run`) never loads

        if report_period.is_wanted(arguments):
            return report_period.act(arguments)
    if arguments.desks:
        from commands import report_desks  # noqa: PLC0415 - rarely asked for

        return report_desks.act(arguments, DataFolder(settings_of(arguments).data_dir))
    settings = at_desk(settings_of(arguments), arguments.desk)
    folder = DataFolder(settings.data_dir)
    if arguments.last is not None:
        ledger = LedgerReader(folder.ledgers, settings.desk)
        return show_last(ledger, arguments.last, is_json=arguments.json, is_csv=arguments.csv)
    session = _session(arguments.session, folder, settings.desk)
    try:
        found = facts(settings, folder, session)
        if arguments.csv:
            print_trades(found)
            return _code(found)
        shown = orjson.dumps(found, option=orjson.OPT_INDENT_2, default=_plain).decode()
        if not arguments.json:
            shown = "\n".join(report_lines.lines_of(found))
    except UNREADABLE as error:
        raise CommandError(
            f"A record in {folder.root} cannot be read ({type(error).__name__}: {error}); restore its ledgers,"
            " warehouse and traces from a copy.",
            3,
        ) from None
    print(masked_text(shown))
    return _code(found)


def _code(found: dict[str, Any]) -> int:
    return 1 if is_bad(found | {"is_flat": found["is_flat"] or found["stage"] == "running"}) else 0


def _plain(value: object) -> object:
    return msgspec.to_builtins(value) if isinstance(value, msgspec.Struct) else str(value)


def _session(text: str | None, folder: DataFolder, desk: str) -> date:
    try:
        wanted = None if text is None else date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a date; write it as 2026-11-20.") from None
    traced = {path.parent.name for path in folder.traces_newest_first()}
    recorded = {session.isoformat() for session in LedgerReader(folder.ledgers, desk).sessions()}
    known = sorted(traced | recorded, reverse=True)
    if not known:
        raise CommandError(f"There is nothing to report in {folder.root}: no session was run there yet.", 1)
    if wanted is not None and wanted.isoformat() not in known:
        raise CommandError(f"No session {wanted} was run in {folder.root}; there are: {', '.join(known)}.", 1)
    try:
        return wanted or date.fromisoformat(known[0])
    except ValueError:
        raise CommandError(f"{folder.traces / known[0]} is no folder of a session; move it away.", 3) from None


def lines_of(settings: Settings, folder: DataFolder, session: date) -> tuple[bool, list[str]]:
    """Return the report as lines, and whether something in it is bad."""
    found = facts(settings, folder, session)
    return is_bad(found), report_lines.lines_of(found)


def is_bad(found: dict[str, Any]) -> bool:
    """Return whether something is held, the broker found the day not flat, or readings were made twice.

    A day that is over must be known to be flat; one that is not over has not come to the broker's looks.
    """
    is_unsure = found["is_flat_by_broker"] is None and found["stage"] == "over"
    return not found["is_flat"] or found["is_flat_by_broker"] is False or is_unsure or found["readings"]["doubled"] > 0


def facts(settings: Settings, folder: DataFolder, session: date) -> dict[str, Any]:
    """Collect the report as plain data.

    Raises:
        WarehouseRefusedError: the warehouse cannot be used.
        LedgerRefusedError: a ledger cannot be used.
    """
    ledger = LedgerReader(folder.ledgers, settings.desk)
    live = ledger.held()
    open_now = holdings(ledger)
    closed = ledger.trades(session)
    contracts = ledger.contracts()
    gaps = totals_of([WarehouseReader(folder.warehouse).manifest(session)])
    attempts = ledger.attempts(session)
    of_session = [path for path in folder.traces_newest_first() if path.parent.name == session.isoformat()]
    trace = trace_facts(of_session, settings.desk if settings.desks else "")
    looks = _looks(settings, folder, session, trace.pop("holdings"), contracts)
    executions = ledger.executions(session)
    for row in executions:
        row["contract"] = contract_of(contracts[row["con_id"]]) if row["con_id"] in contracts else str(row["con_id"])
    source = source_of(of_session)
    for row in closed:
        row["exit_reasons"] = exit_reasons(executions, row)
    trades = [trade_of(legs) | {"origin": source.origin_of(legs, executions).value} for legs in by_structure(closed)]
    by_origin = totals_by_origin(closed, source, executions)
    return {
        "session": session.isoformat(),
        "profile": settings.profile,
        "desk": settings.desk,
        "market": source.told(by_origin),
        "trades": trades,
        "by_origin": by_origin,
        "realised_cents": sum(row["realised_cents"] for row in closed),
        "fees_cents": sum(row["fees_cents"] or 0 for row in closed),
        "executions": executions,
        "figures": figures_of(closed, executions),
        "attempts": counts_of(attempts),
        "approved": approved_facts(attempts, closed, live),
        "refused": [
            {
                name: row[name]
                for name in ("decided_utc", "alert_id", "code", "measured", "limit_value", "unit", "amended_code",
                             "amended_words", "amended_utc", "is_shadow")
            } | {"because": code_text(row), "told": "" if row["code"] is None else refused_measure(row)}
            for row in attempts
            if row["code"] is not None or row["amended_code"] is not None
        ],
        "outcomes": outcome_facts(ledger, session),
        "exit_profiles": exit_facts(ledger, session),
        "unfilled": _unfilled(ledger, attempts, closed, live),
        "refusals": ledger.refusals(session),
        "held": [row for row in live if row["net_qty"]],
        "open": open_now,
        "is_flat": not open_now,
        "looks": looks,
        "is_flat_by_broker": was_flat(looks, had_positions=bool(closed or executions or open_now)),
        "day": ledger.day(session),
        "stage": stage_of(ledger.day(session), is_supervised=folder.is_supervised()),
        "kill": ledger.kill(),
        "runs": [row["run_n"] for row in ledger.runs()],
        "gap_rows": gaps.absent_n,
        "gap_rows_covered": gaps.covered_n,
        "gap_rows_not_polled": gaps.not_polled_n,
        "gaps": gaps.by_cause,
        "trace_folder": str(of_session[0].parent) if of_session else None,
        "pace": PaceRecord.load(folder.pace).lines() if _is_of_demo(settings, session) else [],
        **trace,
    }  # fmt: skip


def _is_of_demo(settings: Settings, session: date) -> bool:
    return settings.profile == "demo" and settings.demo.session == session


def _looks(
    settings: Settings, folder: DataFolder, session: date, told: list[dict[str, Any]], contracts: dict[int, Found]
) -> list[Look]:  # fmt: skip
    """Return what the broker held at the ends of the day: by its own book where there is one, else by its word."""
    by_book = looks_of_book(Book.load(folder.book)) if _is_of_demo(settings, session) else []
    seen = {look.mark for look in by_book}
    by_word = [look for look in looks_of_trace(told, session, contracts) if look.mark not in seen]
    return sorted((*by_book, *by_word), key=lambda look: look.mark, reverse=True)  # "verify" before "close"


def _unfilled(ledger: LedgerReader, attempts: list[Found], trades: list[Found], live: list[Found]) -> list[Found]:
    """Return the entries that ended without a fill: when, what, at which limit."""
    approved, filled, working = fates(attempts, trades, live)
    found = []
    for row in attempts:
        if row["intent_id"] not in approved - filled - working:
            continue
        refs = ledger.orders_of(row["intent_id"])
        order = ledger.order(refs[0]) if refs else None
        found.append({
            "decided_utc": row["decided_utc"],
            "alert_id": row["alert_id"],
            "order_ref": None if order is None else order["order_ref"],
            "contract": None if order is None else contract_of(order),
            "side": None if order is None else order["side"],
            "qty": None if order is None else order["qty"],
            "limit_ticks": None if order is None else order["limit_ticks"],
            "status": None if order is None else order["status"],
        })  # fmt: skip
    return found


def trace_facts(paths: list[Path], desk: str = "") -> dict[str, Any]:
    """Count readings and modes in the traces of a session, oldest first; what is damaged is named and left out.

    `desk` is whose order session counts where there were several.
    """
    modes: list[tuple[str, str]] = []
    computed: Counter[tuple[str, str, int]] = Counter()  # by who heard it: a lane, or the record alone
    holdings_told: list[dict[str, Any]] = []
    damaged: list[str] = []
    for path in reversed(paths):
        unread = 0
        try:
            for line in records(path):
                is_mode = b'"session.ModeChanged"' in line
                is_reading = not is_mode and b'"signals.FeaturesComputed"' in line
                if not (is_mode or is_reading or b'"positions.HoldingsChecked"' in line):
                    continue
                record = enveloped(line)
                try:
                    if record is None:
                        raise ValueError
                    whole, message = record
                    is_other = bool(desk) and whole["from"] != f"ibkr:{desk}"
                    if message["type"] == "positions.HoldingsChecked":
                        holdings_told += [] if is_other else [message]
                    elif is_mode and whole["to"].partition(":")[0] == "notifier" and not is_other:
                        modes.append((exchange_clock(message["at_utc"]), str(message["mode"])))
                    elif message["type"] == "signals.FeaturesComputed":
                        computed[whole["to"], str(message["ticker"]), int(message["bucket_utc"])] += 1
                except UNREADABLE:
                    unread += 1
        except CommandError as error:
            damaged.append(str(error))
        if unread > 1:  # the last line of a trace whose process was killed may be half of one
            damaged.append(f"{path}: {unread} records cannot be read; restore it from a copy.")
    return {
        "modes": modes,
        "holdings": holdings_told,
        "damaged": damaged,
        "readings": {
            "computed": len({(ticker, bucket) for _, ticker, bucket in computed}),
            "tickers": len({ticker for _, ticker, _ in computed}),
            "buckets": len({bucket for _, _, bucket in computed}),
            "doubled": sum(n > 1 for n in computed.values()),
        },
        "traces": [path.name for path in paths],
    }
