"""What reaches beyond the session shown: weeks, the whole life of the installation, and the session's gaps."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from itertools import pairwise

from domain.instants import SECOND
from domain.market.silence import WhySilent
from domain.reports.trades import results_cents
from domain.session.modes import Mode
from storage.manifest import Gap
from storage.queries import LedgerReader
from storage.series_reader import SeriesReader
from storage.series_rows import MODES
from storage.warehouse_reader import WarehouseReader
from web.models import BrokerBreak, GapRow, Lifetime, Week
from web.times import iso_of

WEEKS_MAX = 12
BREAKS_MAX = 20


def weeks_of(ask: LedgerReader, newest: date) -> list[Week]:
    """Return the last weeks that the desk traded or tried to, newest first; a week begins on its Monday."""
    by_week: dict[date, list[date]] = defaultdict(list)
    for session in ask.sessions():
        if session <= newest:
            by_week[session - timedelta(days=session.weekday())].append(session)
    return [_week(ask, monday, by_week[monday]) for monday in sorted(by_week, reverse=True)[:WEEKS_MAX]]


def _week(ask: LedgerReader, monday: date, sessions: list[date]) -> Week:
    trades = [trade for session in sessions for trade in ask.trades(session)]
    results = results_cents(trades)
    attempts = [attempt for session in sessions for attempt in ask.attempts(session)]
    accepted = {attempt["intent_id"] for attempt in attempts if attempt["code"] is None}
    filled = {trade["intent_id"] for trade in trades if trade["opened_qty"]}
    filled |= {row["intent_id"] for row in ask.held() if row["net_qty"]}
    return Week(
        monday=monday.isoformat(), sessions=len(sessions), trades=len(results),
        wins=sum(cents > 0 for cents in results),
        net_pnl=sum(trade["realised_cents"] for trade in trades) / 100,
        fees=sum(trade["fees_cents"] for trade in trades) / 100, accepted=len(accepted),
        refused=len(attempts) - len(accepted),
        fill_rate=round(len(accepted & filled) / len(accepted), 4) if accepted else None,
    )  # fmt: skip


def lifetime_of(ask: LedgerReader, market: WarehouseReader, series: SeriesReader, uptime_s: int | None) -> Lifetime:
    """Return the sums of everything that is on record."""
    manifests = [market.manifest(session) for session in market.sessions()]
    levels = [0, *(row["level"] for row in ask.kills())]
    runs, sessions, commands = ask.runs(), ask.sessions(), ask.commands()
    trades = [trade for session in sessions for trade in ask.trades(session)]
    results = results_cents(trades)
    breaks = breaks_of(series)
    return Lifetime(
        since=iso_of(runs[0]["started_utc"]) if runs else None, starts=len(runs), uptime_s=uptime_s,
        sessions=len(sessions), positions=len(results), wins=sum(cents > 0 for cents in results),
        net_pnl=sum(trade["realised_cents"] for trade in trades) / 100,
        interventions=sum(command["name"] in ("kill", "flatten", "resume") for command in commands),
        alerts=sum(len(ask.alerts(session)) for session in sessions),
        kills=sum(after > before for before, after in pairwise(levels)),
        disconnects=len({
            (gap.hub, gap.from_utc) for found in manifests for gap in found.gaps if gap.why == WhySilent.DISCONNECTED
        }),
        rows=sum(part.rows for found in manifests for part in found.parts), broker_disconnects=len(breaks),
        broker_breaks=breaks[:BREAKS_MAX],
    )  # fmt: skip


def breaks_of(series: SeriesReader) -> list[BrokerBreak]:
    """Return the losses of the order session, newest first; one ends with the next mode of the same run."""
    rows = [row for session in series.sessions() for row in series.day(MODES, session).to_pylist()]
    rows.sort(key=lambda row: (row["run_n"], row["at_utc"], row["mode_n"]))
    found = [
        (row["at_utc"], row["cause"], after["at_utc"] if after and after["run_n"] == row["run_n"] else None)
        for row, after in zip(rows, [*rows[1:], None], strict=False)
        if row["mode"] == Mode.DEGRADED
    ]
    return [
        BrokerBreak(at=iso_of(at_utc), cause=cause, lasted_s=None if end is None else (end - at_utc) / SECOND)
        for at_utc, cause, end in reversed(found)
    ]


def gap_rows(gaps: tuple[Gap, ...]) -> list[GapRow]:
    """Return a session's gaps, newest first; what was silent for the same time and reason is one."""
    groups: dict[tuple[int, int, str, str, str], list[Gap]] = defaultdict(list)
    for gap in gaps:
        groups[gap.from_utc, gap.to_utc, gap.hub, gap.why, gap.cover].append(gap)
    return [
        GapRow(
            from_time=iso_of(found[0].from_utc), to_time=iso_of(found[0].to_utc), hub=hub, why=why, cover=cover or None,
            tickers=sorted({gap.ticker for gap in found}), groups=len(found),
        )
        for (_, _, hub, why, cover), found in sorted(groups.items(), reverse=True)
    ]  # fmt: skip
