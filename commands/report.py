"""`main.py report`: what a session brought, from the ledgers, the warehouse and the traces."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from commands.cli import CommandError
from commands.folder import DataFolder, settings_of
from commands.traces import parsed, records
from config.settings import Settings
from domain.instants import BUCKET_NS, exchange_clock
from storage.manifest import WarehouseRefusedError
from storage.queries import Found, LedgerReader
from storage.warehouse_reader import WarehouseReader

_TRACES_SHOWN = 3


def act(arguments: Namespace) -> int:
    """Show the report of a session; 1 when it did not end flat or a reading was computed twice."""
    settings = settings_of(arguments)
    folder = DataFolder(settings.data_dir)
    session = _session(arguments.session, folder)
    if arguments.json:
        found = facts(settings, folder, session)
        print(orjson.dumps(found, option=orjson.OPT_INDENT_2, default=str).decode())
        return 1 if is_bad(found) else 0
    bad, lines = lines_of(settings, folder, session)
    print("\n".join(lines))
    return 1 if bad else 0


def _session(text: str | None, folder: DataFolder) -> date:
    try:
        wanted = None if text is None else date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a date; write it as 2026-11-20.") from None
    known = list(dict.fromkeys(path.parent.name for path in folder.traces_newest_first()))
    if not known:
        raise CommandError(f"There is nothing to report in {folder.root}: no session was run there yet.", 1)
    if wanted is not None and wanted.isoformat() not in known:
        raise CommandError(f"No session {wanted} was run in {folder.root}; there are: {', '.join(known)}.", 1)
    return wanted or date.fromisoformat(known[0])


def lines_of(settings: Settings, folder: DataFolder, session: date) -> tuple[bool, list[str]]:
    """Return the report as lines, and whether something in it is bad."""
    found = facts(settings, folder, session)
    return is_bad(found), _lines(found)


def is_bad(found: dict[str, Any]) -> bool:
    """Return whether positions are left or readings were made twice."""
    return not found["is_flat"] or found["readings"]["doubled"] > 0


def facts(settings: Settings, folder: DataFolder, session: date) -> dict[str, Any]:
    """Collect the report as plain data.

    Raises:
        CommandError: the warehouse cannot be used.
        LedgerRefusedError: a ledger cannot be used.
    """
    ledger = LedgerReader(folder.ledgers, settings.desk)
    live = ledger.held()
    held = [row for row in live if row["net_qty"]]
    trades = ledger.trades(session)
    try:
        gaps = WarehouseReader(folder.warehouse).gaps(session)
    except WarehouseRefusedError as error:
        raise CommandError(str(error), 3) from None
    gap_rows: Counter[str] = Counter()
    for gap in gaps:
        gap_rows[f"{gap.hub}: {gap.why}"] += (gap.to_utc - gap.from_utc) // BUCKET_NS
    attempts = ledger.attempts(session)
    of_session = [path for path in folder.traces_newest_first() if path.parent.name == session.isoformat()]
    trace = trace_facts(of_session)
    return {
        "session": session.isoformat(),
        "profile": settings.profile,
        "desk": settings.desk,
        "market": market_of_record(of_session),
        "trades": trades,
        "realised_cents": sum(row["realised_cents"] for row in trades),
        "fees_cents": sum(row["fees_cents"] or 0 for row in trades),
        "attempts": ledger.gate_counts(session),
        "approved": approved_facts(attempts, trades, live),
        "refused": [
            {name: row[name] for name in ("decided_utc", "alert_id", "code", "measured", "limit_value", "unit")}
            for row in attempts
            if row["code"] is not None
        ],
        "held": held,
        "is_flat": not held,
        "day": ledger.day(session),
        "stage": _stage(folder, ledger.day(session)),
        "kill": ledger.kill(),
        "runs": [row["run_n"] for row in ledger.runs()],
        "gap_rows": gap_rows.total(),
        "gap_intervals": len(gaps),
        "gaps": gap_rows,
        "trace_folder": str(of_session[0].parent) if of_session else None,
        **trace,
    }


def approved_facts(attempts: list[Found], trades: list[Found], live: list[Found]) -> dict[str, int]:
    """Count what became of a session's approved attempts: `filled`, `working` (an entry order is out), `unfilled`."""
    approved = {row["intent_id"] for row in attempts if row["code"] is None}
    bought = [row for row in trades if row["opened_qty"]] + [row for row in live if row["net_qty"]]
    filled = approved & {row["intent_id"] for row in bought}
    working = approved & {row["intent_id"] for row in live} - filled
    return {"filled": len(filled), "working": len(working), "unfilled": len(approved - filled - working)}


def _stage(folder: DataFolder, day: dict[str, Any] | None) -> str:
    """Return how far the day has come: `over` (its summary is written), `running`, or `stopped`."""
    if day is not None and day["trades"] is not None:
        return "over"
    return "running" if folder.is_supervised() else "stopped"


def market_of_record(paths: list[Path]) -> str:
    """Return which market the session was run on, from the settings in its newest trace."""
    header = parsed(next(iter(records(paths[0])), b"")) if paths else None
    recorded = (header or {}).get("settings", {}).get("profile")
    if recorded is None:
        return "unknown market"
    if recorded != "demo":
        return "the vendor's feed and the broker's market"
    if header is not None and header["settings"]["demo"]["market_folder"]:
        return "SPX path and recorded quotes real, everything else synthetic; simulated money"
    return "simulated market, simulated money"


def trace_facts(paths: list[Path]) -> dict[str, Any]:
    """Count readings and modes in the traces of a session, oldest first."""
    modes: list[tuple[str, str]] = []
    computed: Counter[tuple[str, str, int]] = Counter()  # by who heard it: a lane, or the record alone
    for path in reversed(paths):
        for line in records(path):
            is_mode = b'"session.ModeChanged"' in line
            if not is_mode and b'"signals.FeaturesComputed"' not in line:
                continue
            record = parsed(line)
            if record is None:
                continue
            message = record["message"]
            if is_mode and record["to"] == "notifier":
                modes.append((exchange_clock(message["at_utc"]), message["mode"]))
            elif message["type"] == "signals.FeaturesComputed":
                computed[record["to"], message["ticker"], message["bucket_utc"]] += 1
    return {
        "modes": modes,
        "readings": {
            "computed": len({(ticker, bucket) for _, ticker, bucket in computed}),
            "tickers": len({ticker for _, ticker, _ in computed}),
            "buckets": len({bucket for _, _, bucket in computed}),
            "doubled": sum(n > 1 for n in computed.values()),
        },
        "traces": [path.name for path in paths],
    }


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [f"Session {found['session']}, desk {found['desk']} ({found['market']})", ""]
    lines.append("Trades" if found["trades"] else "No trades.")
    for row in found["trades"]:
        contract = f"{row['trading_class']} {(row['strike_ticks'] or 0) / 100:g}{row['right']}"
        lines.append(
            f"  {exchange_clock(row['opened_utc'])}-{exchange_clock(row['closed_utc'])}  {row['strategy']:<9}"
            f" {row['opened_qty']:>3} {contract:<12} {row['exit_reason'] or row['end']:<16}"
            f" {row['realised_cents'] / 100:>+10,.2f}  {row['order_ref']}"
        )
    lines.append(f"  net {found['realised_cents'] / 100:+,.2f} after fees of {found['fees_cents'] / 100:,.2f}")
    lines += ["", "Attempts", *_attempts(found)]
    lines += ["", "Order session", "  " + " -> ".join(f"{clock} {mode}" for clock, mode in found["modes"])]
    readings = found["readings"]
    held = [
        f"  {row['net_qty']:>3} {row['trading_class']} {(row['strike_ticks'] or 0) / 100:g}{row['right']}"
        f"  {row['strategy']}  {row['order_ref']}"
        for row in found["held"]
    ]
    if held:
        lines += ["", "Open", *held]
    lines += [
        "",
        f"Readings: {readings['computed']} ({readings['tickers']} tickers, {readings['buckets']} buckets),"
        f" {readings['doubled']} computed twice",
        f"Missing data: {found['gap_rows']} rows (bucket × ticker × category)"
        f"{''.join(f'; {why} {n}' for why, n in found['gaps'].items())}",
        f"Traces: {', '.join(found['traces'][:_TRACES_SHOWN])}"
        f"{' and older ones' if len(found['traces']) > _TRACES_SHOWN else ''} in {found['trace_folder']}",
        "",
        f"Supervisor starts: {len(found['runs'])}; kill level {found['kill']['level'] if found['kill'] else 0}",
        _ending(found["stage"], is_flat=found["is_flat"]),
    ]
    return lines


def _attempts(found: dict[str, Any]) -> list[str]:
    counts = dict(found["attempts"])
    if not counts:
        return ["  none"]
    approved = counts.pop("accepted", 0)
    fates = (("filled", "filled"), ("working", "working"), ("unfilled", "without a fill"))
    shown = ", ".join(f"{found['approved'][fate]} {text}" for fate, text in fates if found["approved"][fate])
    lines = [f"  {approved} approved{f' ({shown})' if shown else ''}, {sum(counts.values())} refused"]
    for row in found["refused"]:
        text = f"  {exchange_clock(row['decided_utc'])}  {row['alert_id']}  {row['code']}"
        if row["measured"] is not None:
            text += f"  {row['measured']:g}"
            if row["limit_value"] is not None:
                text += f" against {row['limit_value']:g}"
            text += f" {row['unit']}".rstrip()
        lines.append(text)
    return lines


def _ending(stage: str, *, is_flat: bool) -> str:
    match stage:
        case "over":
            return "The day ended flat." if is_flat else "The day ended NOT FLAT: close what is open above by hand."
        case "running":
            return "The day is running; nothing is held now." if is_flat else "The day is running, with open positions."
        case _:
            rest = "nothing is held" if is_flat else "NOT FLAT: positions are open, start it again"
            return f"The day was stopped before its end; {rest}."
