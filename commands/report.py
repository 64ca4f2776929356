"""`main.py report`: what a session brought, from the ledgers, the warehouse, the traces and the broker's book."""

from __future__ import annotations

import textwrap
from argparse import Namespace
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import orjson

from commands.book import Book
from commands.cli import CommandError
from commands.flatness import Look, looks_of_book, looks_of_trace, was_flat
from commands.folder import DataFolder, settings_of
from commands.held import Holding, contract_of, holdings
from commands.traces import UNREADABLE, enveloped, parsed, records
from config.settings import Settings
from domain.instants import BUCKET_NS, exchange_clock
from simulation.pace.record import PaceRecord
from storage.queries import Found, LedgerReader
from storage.warehouse_reader import WarehouseReader

_TRACES_SHOWN = 3
_WIDTH = 80


def act(arguments: Namespace) -> int:
    """Show the report of a session; 1 when it is not flat, by our ledger or by the broker, or a reading came twice."""
    settings = settings_of(arguments)
    folder = DataFolder(settings.data_dir)
    session = _session(arguments.session, folder, settings.desk)
    try:
        found = facts(settings, folder, session)
        shown = orjson.dumps(found, option=orjson.OPT_INDENT_2, default=_plain).decode()
        if not arguments.json:
            shown = "\n".join(_lines(found))
    except UNREADABLE as error:
        raise CommandError(
            f"A record in {folder.root} cannot be read ({type(error).__name__}: {error}); restore its ledgers,"
            " warehouse and traces from a copy.",
            3,
        ) from None
    print(shown)
    return 1 if is_bad(found) else 0


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
    return is_bad(found), _lines(found)


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
    trades = ledger.trades(session)
    contracts = ledger.contracts()
    gaps = WarehouseReader(folder.warehouse).gaps(session)
    gap_rows: Counter[str] = Counter()
    for gap in gaps:
        gap_rows[f"{gap.hub}: {gap.why}"] += (gap.to_utc - gap.from_utc) // BUCKET_NS
    attempts = ledger.attempts(session)
    of_session = [path for path in folder.traces_newest_first() if path.parent.name == session.isoformat()]
    trace = trace_facts(of_session)
    looks = _looks(settings, folder, session, trace.pop("holdings"), contracts)
    executions = ledger.executions(session)
    for row in executions:
        row["contract"] = contract_of(contracts[row["con_id"]]) if row["con_id"] in contracts else str(row["con_id"])
    return {
        "session": session.isoformat(),
        "profile": settings.profile,
        "desk": settings.desk,
        "market": market_of_record(of_session),
        "trades": trades,
        "realised_cents": sum(row["realised_cents"] for row in trades),
        "fees_cents": sum(row["fees_cents"] or 0 for row in trades),
        "executions": executions,
        "attempts": ledger.gate_counts(session),
        "approved": approved_facts(attempts, trades, live),
        "refused": [
            {
                name: row[name]
                for name in ("decided_utc", "alert_id", "code", "measured", "limit_value", "unit", "amended_code",
                             "amended_words", "amended_utc")
            }
            for row in attempts
            if row["code"] is not None or row["amended_code"] is not None
        ],
        "unfilled": _unfilled(ledger, attempts, trades, live),
        "refusals": ledger.refusals(session),
        "held": [row for row in live if row["net_qty"]],
        "open": open_now,
        "is_flat": not open_now,
        "looks": looks,
        "is_flat_by_broker": was_flat(looks, had_positions=bool(trades or executions or open_now)),
        "day": ledger.day(session),
        "stage": _stage(folder, ledger.day(session)),
        "kill": ledger.kill(),
        "runs": [row["run_n"] for row in ledger.runs()],
        "gap_rows": gap_rows.total(),
        "gap_intervals": len(gaps),
        "gaps": gap_rows,
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


def approved_facts(attempts: list[Found], trades: list[Found], live: list[Found]) -> dict[str, int]:
    """Count what became of a session's approved attempts: `filled`, `working` (an entry order is out), `unfilled`."""
    approved, filled, working = _fates(attempts, trades, live)
    return {"filled": len(filled), "working": len(working), "unfilled": len(approved - filled - working)}


def _fates(attempts: list[Found], trades: list[Found], live: list[Found]) -> tuple[set[str], set[str], set[str]]:
    approved = {row["intent_id"] for row in attempts if row["code"] is None and row["amended_code"] is None}
    bought = [row for row in trades if row["opened_qty"]] + [row for row in live if row["net_qty"]]
    filled = approved & {row["intent_id"] for row in bought}
    working = approved & {row["intent_id"] for row in live} - filled
    return approved, filled, working


def _unfilled(ledger: LedgerReader, attempts: list[Found], trades: list[Found], live: list[Found]) -> list[Found]:
    """Return the entries that ended without a fill: when, what, at which limit."""
    approved, filled, working = _fates(attempts, trades, live)
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
            "qty": None if order is None else order["qty"],
            "limit_ticks": None if order is None else order["limit_ticks"],
            "status": None if order is None else order["status"],
        })  # fmt: skip
    return found


def _stage(folder: DataFolder, day: dict[str, Any] | None) -> str:
    """Return how far the day has come: `over` (its summary is written), `running`, or `stopped`."""
    if day is not None and day["trades"] is not None:
        return "over"
    return "running" if folder.is_supervised() else "stopped"


def market_of_record(paths: list[Path]) -> str:
    """Return which market the session was run on, from the settings in its newest trace."""
    try:
        header = parsed(next(iter(records(paths[0])), b"")) if paths else None
        settings = (header or {}).get("settings", {})
        recorded = settings.get("profile")
        is_recorded_day = recorded == "demo" and bool(settings["demo"]["market_folder"])
    except (CommandError, *UNREADABLE):
        return "unknown market"
    if recorded is None:
        return "unknown market"
    if recorded != "demo":
        return "the vendor's feed and the broker's market"
    if is_recorded_day:
        return "SPX path and recorded quotes real, everything else synthetic; simulated money"
    return "simulated market, simulated money"


def trace_facts(paths: list[Path]) -> dict[str, Any]:
    """Count readings and modes in the traces of a session, oldest first; what is damaged is named and left out."""
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
                    if message["type"] == "positions.HoldingsChecked":
                        holdings_told.append(message)
                    elif is_mode and whole["to"] == "notifier":
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


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [f"Session {found['session']}, desk {found['desk']} ({found['market']})", ""]
    lines.append("Trades" if found["trades"] else "No trades.")
    for row in found["trades"]:
        lines.append(
            f"  {exchange_clock(row['opened_utc'])}-{exchange_clock(row['closed_utc'])}"
            f" {row['opened_qty']:>3} {contract_of(row):<12} {row['exit_reason'] or row['end']:<16}"
            f" {row['realised_cents'] / 100:>+10,.2f}"
        )
        lines.append(f"      {row['strategy']}, {row['order_ref']}")
    lines.append(f"  net {found['realised_cents'] / 100:+,.2f} after fees of {found['fees_cents'] / 100:,.2f}")
    if found["executions"]:
        lines += ["", "Fills", *map(_fill, found["executions"])]
    lines += ["", "Attempts", *_attempts(found)]
    if found["refusals"]:
        lines += ["", "Refused by the broker"]
        for row in found["refusals"]:
            what = "exit" if row["is_exit"] else "entry"
            lines += [f"  {exchange_clock(row['at_utc'])}  {what} {row['order_ref']}", *_wrapped(row["words"], 6)]
    for title, sentences in (
        ("Open", [holding.sentence for holding in found["open"]]),
        ("Flat by the broker", [look.sentence for look in found["looks"]]),
    ):
        if sentences:
            lines += ["", title, *(line for text in sentences for line in _wrapped(text, 2))]
    readings = found["readings"]
    where = f" in {found['trace_folder']}" if found["trace_folder"] else ""
    lines += [
        "",
        "Order session",
        *_wrapped(" -> ".join(f"{clock} {mode}" for clock, mode in found["modes"]) or "no mode is on record", 2),
        "",
        f"Readings: {readings['computed']} ({readings['tickers']} tickers, {readings['buckets']} buckets),"
        f" {readings['doubled']} computed twice",
        *_wrapped(
            f"Missing data: {found['gap_rows']} rows (bucket × ticker × category)"
            f"{''.join(f'; {why} {n}' for why, n in found['gaps'].items())}", 0,
        ),
        f"Traces: {', '.join(found['traces'][:_TRACES_SHOWN]) or 'none'}"
        f"{' and older ones' if len(found['traces']) > _TRACES_SHOWN else ''}{where}",
        *(f"Damaged: {text}" for text in found["damaged"]),
        *(["", *found["pace"]] if found["pace"] else []),
        "",
        f"Supervisor starts: {len(found['runs'])}; kill level {found['kill']['level'] if found['kill'] else 0}",
        *(line for text in _ending(found) for line in _wrapped(text, 0)),
    ]  # fmt: skip
    return lines


def _wrapped(text: str, indent: int) -> list[str]:
    """Return a text in lines of a terminal, each indented, those after the first by two more."""
    return textwrap.wrap(
        text.strip(), _WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2 if indent else 0),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _fill(row: Found) -> str:
    price = "price not known" if row["is_adopted"] and not row["price_ticks"] else f"@ {row['price_ticks'] / 100:.2f}"
    notes = [
        *(["adopted from the broker's position"] if row["is_adopted"] else []),
        *(["not ours"] if row["is_foreign"] else []),
        *(["time not sure"] if row["is_time_uncertain"] else []),
    ]
    text = f"  {exchange_clock(row['at_utc'])} {row['side']:<4} {row['qty']:>3} {row['contract']:<12} {price:>9}"
    return f"{text}  {row['order_ref']}" + (f" ({', '.join(notes)})" if notes else "")


def _attempts(found: dict[str, Any]) -> list[str]:
    counts = dict(found["attempts"])
    if not counts:
        return ["  none"]
    approved = counts.pop("accepted", 0)
    fates = (("filled", "filled"), ("working", "working"), ("unfilled", "without a fill"))
    shown = ", ".join(f"{found['approved'][fate]} {text}" for fate, text in fates if found["approved"][fate])
    lines = [f"  {approved} approved{f' ({shown})' if shown else ''}, {sum(counts.values())} refused"]
    for row in found["refused"]:
        text = f"  {exchange_clock(row['decided_utc'])}  {row['alert_id']}  {row['code'] or row['amended_code']}"
        measure = ""
        if row["measured"] is not None and row["code"] is not None:
            against = "" if row["limit_value"] is None else f" against {row['limit_value']:g}"
            measure = f"{row['measured']:g}{against} {row['unit']}".rstrip()
        is_long = len(text) + len(measure) + 2 > _WIDTH
        lines += [text, f"      {measure}"] if is_long and measure else [f"{text}  {measure}".rstrip()]
        if row["amended_words"]:
            lines += _wrapped(row["amended_words"], 6)
    for row in found["unfilled"]:
        text = f"  {exchange_clock(row['decided_utc'])}  {row['alert_id']}  no fill"
        lines.append(text)
        if row["contract"] is not None:
            limit = "market" if row["limit_ticks"] is None else f"{row['limit_ticks'] / 100:.2f}"
            lines.append(f"      {row['qty']} {row['contract']} at {limit}, {row['status']}, {row['order_ref']}")
    return lines


def _ending(found: dict[str, Any]) -> list[str]:
    """Return how the day ended, or what is open now and who minds it."""
    open_now: list[Holding] = found["open"]
    is_sure = any(holding.qty for holding in open_now)
    what = "positions are open" if is_sure else "whether something is held is not known"
    match found["stage"]:
        case "over":
            return [_verdict(found, is_open=bool(open_now))]
        case "running":
            if open_now:
                return [f"The day is running; {what} (see Open)."]
            return ["The day is running; nothing is held now."]
        case _:
            if not open_now:
                return ["The day was stopped before its end; nothing is held."]
            return [
                f"The day was stopped before its end, no supervisor runs: {what} (see Open).",
                "`main.py run` reads the broker back and goes on; `main.py flatten --direct` closes without it.",
            ]


def _verdict(found: dict[str, Any], *, is_open: bool) -> str:
    if found["is_flat_by_broker"] is False:
        return "The day was NOT FLAT by the broker's book (see above): find out why no exit closed it in time."
    if is_open:
        return "The day ended NOT FLAT: close what is open above by hand."
    if found["is_flat_by_broker"] is None:
        return "Whether the day ended flat is NOT KNOWN: nobody looked at the broker's book at the close."
    return "The day ended flat." if not found["looks"] else "The day ended flat, by the broker's own book."
