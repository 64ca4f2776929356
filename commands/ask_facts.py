"""Answers in plain language, from a running supervisor, the ledgers and the warehouse; each with what it stands on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any, Final

from commands.cli import CommandError
from commands.control import request
from commands.folder import DataFolder, at_desk
from commands.held import contract_of, holdings
from commands.lanes import is_about
from commands.lines import counted
from config.desks import desk_names
from config.settings import Settings
from domain.ask.answer import Answer, Citation, cited
from domain.ask.question import Question, When
from domain.instants import MS, exchange_clock, session_of
from domain.instruments import Right
from domain.reports.alerts import found_text
from domain.reports.period import Span, period_of
from domain.reports.refusals import code_text, refused_measure
from domain.reports.trades import by_structure, closing_text, exit_reasons, results_cents, trade_of
from domain.units import Utc
from domain.wording import duration_text, reason_text, reasons_text, usd_text
from storage.gap_totals import totals_of
from storage.queries import Found, LedgerReader
from storage.warehouse_reader import WarehouseReader

_WEEK_DAYS: Final = 7
_LISTED: Final = 12  # of a list, the newest


class Desk:
    """What questions are asked of: one desk's folder, read-only."""

    def __init__(self, settings: Settings, folder: DataFolder, name: str | None = None) -> None:
        """Ask about a desk of the settings; `None`: that of `desk`.

        Raises:
            CommandError: there is no such desk.
        """
        self._whole = settings
        self.names = desk_names(settings)
        self.settings = at_desk(settings, name)
        self.folder = folder
        self.ledger = LedgerReader(folder.ledgers, self.settings.desk)
        self.own = f"ledgers/{self.settings.desk}.db"
        self.shared = "ledgers/ledger.db"

    def running(self, what: str) -> dict[str, Any] | None:
        """Return what the running supervisor tells; `None` where none runs, or it does not answer."""
        try:
            return request(self.folder.control, {"do": what, "desk": self.settings.desk})
        except CommandError:
            return None

    def each(self) -> list[Desk]:
        """Return every desk of the process; of one alone, this one."""
        return [Desk(self._whole, self.folder, name) for name in self.names] if len(self.names) > 1 else [self]

    def of(self, name: str) -> Desk:
        """Return another desk of the same settings.

        Raises:
            CommandError: there is none.
        """
        return Desk(self._whole, self.folder, name)

    def sessions(self) -> list[date]:
        """Return the sessions that anything is known of, newest first."""
        known = set(self.ledger.sessions())
        for path in self.folder.traces_newest_first():
            try:
                known.add(date.fromisoformat(path.parent.name))
            except ValueError:  # no folder of ours
                continue
        return sorted(known, reverse=True)

    def asked(self, when: When | None) -> tuple[str, list[date]]:
        """Return the sessions of a question, oldest first, and their name; those of the newest one where it says none.

        Days are counted from the newest session on record: in a demo, and on a Sunday, "today" is that one.
        """
        when, known = when or When(), self.sessions()
        if when.weekday is not None:
            fits = (day for day in known if day.weekday() == when.weekday and (known[0] - day).days < _WEEK_DAYS)
            found = list(fits)[:1]
            return f"session {found[0]}" if found else "no such session", found
        if when.span is Span.DAY:
            found = [when.on] if when.on in known else [] if when.on else known[when.back : when.back + 1]
            name = str(when.on or (found[0] if found else "that day"))
            return (f"session {name}" if found else "no such session"), found
        if not known:
            return "no session", []
        period = period_of(when.span, when.on or known[0])
        for _ in range(when.back):
            period = period_of(when.span, period.first - timedelta(days=1))
        title = period.title[0].lower() + period.title[1:]
        return title, sorted(day for day in known if period.first <= day <= period.last)


def status(desk: Desk) -> Answer:
    """Say whether a supervisor runs, what it may do, and what stops it."""
    told, facts = desk.running("status"), (desk.running("desk") or {}).get("desk")
    ledger = desk.ledger
    runs, kill = ledger.runs(), ledger.kill()
    sources = [*cited(f"{desk.shared} runs", [f"run_n {row['run_n']}" for row in runs[-1:]])]
    if kill is not None:
        sources += cited(f"{desk.shared} kill", [f"kill_epoch {kill['kill_epoch']}"])
    level = (told or {}).get("kill") or kill
    lines = [_alive(told, runs, is_there=desk.folder.is_supervised())]
    if facts is not None:
        lines.append(
            f"Phase {facts['phase'] or 'not known'}, order session {facts['mode'] or 'not known'}, trading mode"
            f" {facts['trading_mode']}."
        )
    kills = (told or {}).get("kills") or {}
    if len(kills) > 1:
        lines += [f"{name}: {_level(row)}" for name, row in kills.items()]
    else:
        lines.append(_level(level))
    process = (told or {}).get("process") or {}
    lines += [f"Entries are latched off: {process['latched']}."] if process.get("latched") else []
    lines += [f"The day is locked: {reason_text(facts['locked'])}."] if facts and facts["locked"] else []
    open_now = positions(desk)
    return Answer(text="\n".join([*lines, open_now.text]), citations=(*sources, *open_now.citations))


def _level(level: dict[str, Any] | None) -> str:
    """Say which kill level is in force; one that nobody told is not 0."""
    if level is None:
        return "The kill level is not known: none is on record, and nobody tells it."
    if not level["level"]:
        return "The kill level is 0: entries are allowed as far as it goes."
    what = "no entries" if level["level"] == 1 else "everything is closed"
    return f"The kill level is {level['level']} ({what}), raised by {level['by']}: {level['reason']}."


def _alive(told: dict[str, Any] | None, runs: list[Found], *, is_there: bool) -> str:
    if told is not None:
        process = told["process"]
        down = [actor["name"] for actor in told["actors"] if not actor["is_up"]]
        ill = f"; DOWN: {', '.join(down)}" if down else "; all its actors are up"
        return f"A supervisor runs (run {process['run_n']}), at {exchange_clock(process['at_utc'])} New York{ill}."
    if is_there:
        return (
            "A supervisor runs and does not answer: it is paused, stuck, or its machine is overloaded. What follows is"
            " from the records; `main.py flatten --direct` closes what is held without it."
        )
    if not runs:
        return "No supervisor runs, and none has run here yet; `main.py run` starts one."
    last = runs[-1]
    began = f"{session_of(Utc(last['started_utc']))} {exchange_clock(Utc(last['started_utc']))} New York"
    return f"No supervisor runs; the last one was run {last['run_n']}, begun {began}."


def positions(desk: Desk) -> Answer:
    """Say what every desk holds or may hold, what it is worth as far as a supervisor tells, and what guards it."""
    told = [(one.settings.desk, _positions(one)) for one in desk.each()]
    if len(told) == 1:
        return told[0][1]
    return Answer(
        text="\n".join(f"Desk {name}: {answer.text}" for name, answer in told),
        citations=tuple(citation for _, answer in told for citation in answer.citations),
    )


def _positions(desk: Desk) -> Answer:
    found, facts = holdings(desk.ledger), (desk.running("desk") or {}).get("desk")
    if not found:
        return Answer(
            text="Nothing is held, and no entry is under way.",
            citations=cited(f"{desk.own} reservations", ["none is live"]),
        )
    lines = [f"Open: {len(found)}."]
    for holding in found:
        lines.append(f"  {holding.told(is_supervised=facts is not None)}")
        for seen in (facts or {}).get("held", ()):
            if seen["contract"] == holding.contract and seen["unrealised_cents"] is not None:
                nearest = f", nearest exit {reason_text(seen['nearest'])}" if seen["nearest"] else ""
                lines.append(f"    now {_signed(seen['unrealised_cents'])}{nearest}")
    return Answer(
        text="\n".join(lines), citations=cited(f"{desk.own} reservations", [holding.order_ref for holding in found])
    )


def pnl(desk: Desk, asked: Question) -> Answer:
    """Say what closed trades brought, net of fees, and what a running day adds."""
    title, days = desk.asked(asked.when)
    rows = [(day, row) for day in days for row in desk.ledger.trades(day) if _is_asked(row, asked)]
    title += "".join(f", {what}" for what in _contract_asked(asked)) + _of_desk(desk)
    if not rows:
        text = f"{_capital(title)}: no trade was closed, so nothing was realised."
        return Answer(text=text, citations=_days(desk, days))
    total, fees = sum(row["realised_cents"] for _, row in rows), sum(row["fees_cents"] or 0 for _, row in rows)
    results = results_cents(row for _, row in rows)
    wins = sum(cents > 0 for cents in results)
    lines = [
        f"{_capital(title)}: {_signed(total)} net of {usd_text(fees)} fees, {_counted(results)}, {wins} of them won."
    ]
    if len(days) > 1:
        by_day = Counter[date]()
        for day, row in rows:
            by_day[day] += row["realised_cents"]
        lines += [f"  {day}: {_signed(cents)}" for day, cents in sorted(by_day.items())]
    else:
        lines += [f"  {text}" for text in _trades(desk, [row for _, row in rows])]
    facts = (desk.running("desk") or {}).get("desk")
    if facts is not None and session_of(facts["at_utc"]) == days[-1] and facts["unrealised_cents"]:
        lines.append(f"Open positions: {_signed(facts['unrealised_cents'])} not realised.")
    return Answer(
        text="\n".join(lines),
        citations=(*cited(f"{desk.own} positions", [row["position_id"] for _, row in rows]), *_days(desk, days)),
    )


def trades(desk: Desk, asked: Question) -> Answer:
    """List the closed trades and what is open."""
    title, days = desk.asked(asked.when)
    rows = [row for day in days for row in desk.ledger.trades(day) if _is_asked(row, asked)]
    of = "".join(f" in {what}" for what in _contract_asked(asked)) + _of_desk(desk)
    lines = [
        f"{_capital(title)}: {_counted(results_cents(rows), 'closed ')}{of}.",
        *_listed(_trades(desk, rows)),
    ]
    sources = cited(f"{desk.own} positions", [row["position_id"] for row in rows]) or _days(desk, days)
    if days[-1] == desk.sessions()[0]:
        open_now = positions(desk)
        lines.append(open_now.text)
        sources += open_now.citations
    return Answer(text="\n".join(lines), citations=sources)


def rejects(desk: Desk, asked: Question) -> Answer:
    """Count the refused attempts by code, and list them with what was measured; shadows are counted alone."""
    title, days = desk.asked(asked.when)
    ended = [
        row
        for day in days
        for row in desk.ledger.attempts(day)
        if (row["code"] is not None or row["amended_code"] is not None) and is_about(row["ticker"], asked.ticker)
    ]
    rows = [row for row in ended if not row["is_shadow"]]
    shadows = len(ended) - len(rows)
    beside = f" Beside them {counted(shadows, 'shadow')}, not traded until promoted." if shadows else ""
    if not rows:
        return Answer(text=f"{_capital(title)}: no attempt was refused.{beside}", citations=_days(desk, days))
    counts = Counter(code_text(row) for row in rows)
    told = ", ".join(f"{code} {n}" for code, n in counts.most_common())
    lines = [
        f"{_capital(title)}: {len(rows)} refused ({told}).{beside}",
        *_listed([refusal_text(row) for row in rows]),
    ]
    return Answer(text="\n".join(lines), citations=cited(f"{desk.own} gate_log", [f"n {row['n']}" for row in rows]))


def alerts(desk: Desk, asked: Question) -> Answer:
    """List the alerts, and whether they could trade."""
    title, days = desk.asked(asked.when)
    rows = [row for day in days for row in desk.ledger.alerts(day) if is_about(row["ticker"], asked.ticker)]
    of = f" in {asked.ticker}" if asked.ticker else ""
    lines = [
        f"{_capital(title)}: {len(rows) or 'no'} alert{'s' * (len(rows) != 1)}{of}.",
        *_listed(
            [
                f"{exchange_clock(row['raised_utc'])} {row['kind']} {row['ticker']} {found_text(row)}"
                f"{' (shadow)' if row['is_shadow'] else ''} {row['alert_id']}"
                for row in rows
            ]
        ),
    ]
    sources = cited(f"{desk.shared} alerts", [row["alert_id"] for row in rows]) or _days(desk, days)
    return Answer(text="\n".join(lines), citations=sources)


def gaps(desk: Desk, asked: Question) -> Answer:
    """Count the rows of market data that are missing, by hub and cause."""
    title, days = desk.asked(asked.when)
    market = WarehouseReader(desk.folder.warehouse)
    totals = totals_of([market.manifest(day) for day in days])
    lines = [f"{_capital(title)}: {totals.text()} (a row is a bucket of a ticker and category)."]
    lines += [f"  {cause}: {n}" for cause, n in totals.by_cause.items()]
    return Answer(
        text="\n".join(lines), citations=cited("warehouse gaps", [f"session {day}" for day in days]),
    )  # fmt: skip


def closed_by(desk: Desk, row: Found) -> str:
    """Return why a closed position was closed, in words."""
    day = session_of(Utc(row["closed_utc"]))
    return closing_text(row, exit_reasons(desk.ledger.executions(day), row))


def refusal_text(row: Found) -> str:
    """Return a refused attempt in a line."""
    measure = refused_measure(row) if row["code"] is not None else ""
    said = measure or row["amended_words"] or row["looked_at"]
    told = f"{code_text(row)}{f', {said}' if said else ''}"
    return f"{exchange_clock(row['decided_utc'])} {row['ticker']} {row['kind']}: {told}"


def _is_asked(row: Found, asked: Question) -> bool:
    """Return whether a trade is of the ticker, the strike and the right that a question names."""
    return (
        is_about(row["ticker"], asked.ticker)
        and asked.strike_ticks in (None, row["strike_ticks"])
        and asked.right in (None, row["right"])
    )


def _contract_asked(asked: Question) -> list[str]:
    """Return the ticker and the contract that a question names as one text; none where it names none."""
    strike = None if asked.strike_ticks is None else f"{asked.strike_ticks / 100:g}"
    right = None if asked.right is None else "put" if asked.right is Right.PUT else "call"
    text = " ".join(what for what in (asked.ticker, strike, right) if what is not None)
    return [text] if text else []


def _of_desk(desk: Desk) -> str:
    """Return whose figures these are, where there are several desks."""
    others = ", ".join(name for name in desk.names if name != desk.settings.desk)
    return f", desk {desk.settings.desk} alone (not {others})" if others else ""


def _counted(results: list[int], which: str = "") -> str:
    return f"{len(results) or 'no'} {which}trade{'s' * (len(results) != 1)}"


def _trades(desk: Desk, rows: list[Found]) -> list[str]:
    """Return closed positions as trades, a line each; of a structure with its legs, what was sold below 0."""
    by_day: dict[date, list[Found]] = {}
    for row in rows:
        by_day.setdefault(session_of(Utc(row["closed_utc"])), []).append(row)
    executions = [fill for day in by_day for fill in desk.ledger.executions(day)]
    told = [row | {"exit_reasons": exit_reasons(executions, row)} for row in rows]
    return [_trade(trade_of(legs)) for legs in by_structure(told)]


def _trade(trade: Found) -> str:
    since = trade["opened_utc"]
    held = "an unknown time" if since is None else duration_text((trade["closed_utc"] - since) / MS)
    what = " / ".join(f"{leg['qty']} {contract_of(leg)}" for leg in trade["legs"])
    refs = ", ".join(leg["order_ref"] or leg["position_id"] for leg in trade["legs"])
    return (
        f"{exchange_clock(trade['closed_utc'])} {what}: {_signed(trade['realised_cents'])},"
        f" {reasons_text(trade['exit_reasons'])} after {held} ({refs})"
    )


def _listed(texts: list[str]) -> list[str]:
    left_out = len(texts) - _LISTED
    lines = [f"  {text}" for text in texts[-_LISTED:]]
    return [f"  and {left_out} before them", *lines] if left_out > 0 else lines


def _days(desk: Desk, days: Iterable[date]) -> tuple[Citation, ...]:
    return cited(f"{desk.own} day", [f"session {day}" for day in days])


def _signed(cents: int) -> str:
    return f"{'+' if cents >= 0 else ''}{usd_text(cents)}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
