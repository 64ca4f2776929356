"""What a period brought, desk by desk: the questions of the period report, each one query over the views.

Every query takes the first and last session. A share comes as its two counts, never alone. Money in US dollars, half
hours on New York's clock.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from domain.reports.trades import largest_fall
from storage.views import named
from storage.views.database import Database

Found = list[dict[str, Any]]
SPREAD: Final = "spread_too_wide"
_IN: Final = "session BETWEEN $first AND $last"
_CLOSED: Final = f"closed_utc IS NOT NULL AND qty > 0 AND {_IN}"
# A structure counts once; it stands under the reason of the leg that was closed first.
_WHOLE: Final = (
    "whole AS (SELECT desk, session, strategy, coalesce(structure_id, position_id) AS trade_id, sum(pnl) AS pnl,"
    " sum(fees) AS fees, max(closed_utc) AS closed_utc, max(closed_ny) AS closed_ny,"
    ' first(coalesce(exit_reason, "end") ORDER BY closed_utc, position_id) AS reason FROM positions'
    f" WHERE {_CLOSED} GROUP BY desk, session, strategy, trade_id)"
)
_HALF_HOUR: Final = "time_bucket(INTERVAL 30 MINUTE, decided_ny)::TIME AS half_hour"


class PeriodQueries:
    """The questions about one period."""

    def __init__(self, db: Database, first: date, last: date) -> None:
        self._db = db
        self._values = {"first": first, "last": last}
        self._first = first
        self._last = last

    def money(self) -> Found:
        """Return a row a desk: sessions, trades, wins, money; the largest fall of its P&L (`largest_fall`)."""
        rows = self._rows(
            f"WITH {_WHOLE} SELECT desk, count(DISTINCT session) AS sessions, count(*) AS n,"
            " count(*) FILTER (pnl > 0) AS wins, sum(pnl) AS pnl, sum(fees) AS fees, avg(pnl) AS mean,"
            " min(pnl) AS worst, max(pnl) AS best FROM whole GROUP BY desk ORDER BY desk"
        )
        days = self._rows(
            f"WITH {_WHOLE} SELECT desk, session, coalesce(list(t.pnl ORDER BY t.closed_utc, t.trade_id) FILTER"
            " (t.trade_id IS NOT NULL), []) AS results, any_value(d.drawdown) AS drawdown FROM whole t FULL JOIN"
            f" (FROM days WHERE {_IN}) d USING (desk, session) GROUP BY desk, session ORDER BY desk, session"
        )
        by_desk: dict[str, list[tuple[list[float], float | None]]] = {}
        for day in days:
            by_desk.setdefault(day["desk"], []).append((day["results"], day["drawdown"]))
        return [row | {"drawdown": largest_fall(by_desk[row["desk"]])} for row in rows]

    def curve(self) -> Found:
        """Return the running total of P&L: a row a desk and closing on one day, a row a desk and day of more."""
        step = "closed_ny" if self._first == self._last else "session::TIMESTAMP"
        return self._rows(
            f"WITH {_WHOLE}, steps AS (SELECT desk, {step} AS moment, sum(pnl) AS pnl FROM whole GROUP BY ALL)"
            " SELECT desk, moment, sum(pnl) OVER (PARTITION BY desk ORDER BY moment) AS total FROM steps"
            " ORDER BY desk, moment"
        )

    def by_reason(self) -> Found:
        """Return a row a desk, strategy and exit reason: trades, wins, money."""
        return self._rows(
            f"WITH {_WHOLE} SELECT desk, strategy, reason, count(*) AS n, count(*) FILTER (pnl > 0) AS wins,"
            " sum(pnl) AS pnl, avg(pnl) AS mean FROM whole GROUP BY ALL ORDER BY desk, strategy, pnl DESC, reason"
        )

    def fills_by_time(self) -> Found:
        """Return a row a desk, strategy and half hour: attempts that were accepted, and how many of them filled."""
        return self._rows(
            f"SELECT a.desk, a.strategy, {_HALF_HOUR}, count(DISTINCT a.n) AS n,"
            " count(DISTINCT a.n) FILTER (coalesce(p.qty, 0) > 0) AS filled FROM attempts a LEFT JOIN positions p"
            " ON p.desk = a.desk AND p.intent_id = a.intent_id WHERE a.is_accepted AND"
            " a.session BETWEEN $first AND $last GROUP BY ALL ORDER BY a.desk, a.strategy, half_hour"
        )

    def slippage(self) -> Found:
        """Return a row a desk, strategy and ticker: entries' slippage against the mid that the gates saw, per unit."""
        return self._rows(
            "SELECT desk, strategy, ticker, count(*) AS n, sum(qty)::BIGINT AS contracts, avg(slippage) AS mean,"
            " median(slippage) AS median, max(slippage) AS worst, avg(slippage / nullif(mid, 0)) * 100 AS percent,"
            " sum(slippage * abs(cash / nullif(price, 0))) AS cost FROM fills"
            f" WHERE slippage IS NOT NULL AND {_IN} GROUP BY ALL ORDER BY desk, strategy, ticker"
        )

    def rejects(self) -> Found:
        """Return a row a desk, code and half hour: refused attempts; shadows are none."""
        return self._rows(
            f"SELECT desk, code, {_HALF_HOUR}, count(*) AS n FROM attempts WHERE NOT is_accepted AND NOT"
            f" is_shadow AND {_IN}"
            " GROUP BY ALL ORDER BY desk, code, half_hour"
        )

    def attempts(self) -> Found:
        """Return a row a desk: attempts, how many of them were accepted, and shadows, which are none of them."""
        return self._rows(
            "SELECT desk, count(*) FILTER (NOT is_shadow) AS n, count(*) FILTER (is_accepted) AS accepted,"
            " count(*) FILTER (is_shadow) AS shadows FROM attempts"
            f" WHERE {_IN} GROUP BY desk ORDER BY desk"
        )

    def spread_rejects(self) -> Found:
        """Return a row a desk and half hour: refusals of the spread gate, how many are judged, how many were false.

        False is one whose alert won afterwards, followed in the spots of its ticker; without spots it is not judged.
        """
        refused = self._rows(
            f"SELECT desk, alert_id, {_HALF_HOUR} FROM attempts WHERE code = '{SPREAD}' AND {_IN}"
            " ORDER BY desk, half_hour"
        )
        if not refused:
            return []
        won = {row["alert_id"]: row["is_win"] for row in named.alert_outcomes(self._db).to_pylist()}
        counts: dict[tuple[str, Any], list[int]] = {}
        for row in refused:
            is_win = won.get(row["alert_id"])
            count = counts.setdefault((row["desk"], row["half_hour"]), [0, 0, 0])
            count[0] += 1
            count[1] += is_win is not None
            count[2] += bool(is_win)
        return [
            {"desk": desk, "half_hour": half_hour, "n": n, "judged": judged, "false": false}
            for (desk, half_hour), (n, judged, false) in counts.items()
        ]

    def latency(self) -> Found:
        """Return a row a desk and step of accepted attempts: ms from the bucket's close to alert, decision, order."""
        return self._rows(
            "WITH entries AS (SELECT intent_id, desk, min(intended_utc) AS intended_utc FROM orders WHERE NOT is_exit"
            " GROUP BY ALL), ways AS (SELECT a.desk, close_ms(l.raised_utc, a.bucket_utc) AS alert,"
            " close_ms(a.decided_utc, a.bucket_utc) AS decided, close_ms(e.intended_utc, a.bucket_utc) AS ordered"
            " FROM attempts a LEFT JOIN alerts l USING (alert_id) LEFT JOIN entries e ON e.desk = a.desk AND"
            " e.intent_id = a.intent_id WHERE a.is_accepted AND a.session BETWEEN $first AND $last),"
            " steps AS (UNPIVOT ways ON alert, decided, ordered INTO NAME step VALUE ms)"
            " SELECT desk, step, count(*) AS n, quantile_cont(ms, 0.5) AS p50, quantile_cont(ms, 0.99) AS p99,"
            " max(ms) AS worst FROM steps GROUP BY ALL ORDER BY desk, p50"
        )

    def gaps(self) -> Found:
        """Return a row a hub and cause: rows that are missing, that something else brought, that were not polled."""
        return self._rows(
            "SELECT hub, why, count(*) AS intervals, coalesce(sum(of_rows) FILTER (kind = 'missing'), 0)::BIGINT AS"
            " missing, coalesce(sum(of_rows) FILTER (kind = 'covered'), 0)::BIGINT AS covered,"
            " coalesce(sum(of_rows) FILTER (kind = 'not_polled'), 0)::BIGINT AS not_polled,"
            f" max(buckets) * 0.5::DOUBLE AS longest_min FROM gaps WHERE {_IN} GROUP BY ALL ORDER BY hub, why"
        )

    def kills(self) -> Found:
        """Return a row a level and who: changes of the kill level, with the last reason."""
        return self._rows(
            'SELECT level, "by", count(*) AS n, arg_max(reason, kill_epoch) AS reason FROM kills'
            ' WHERE at_ny::DATE BETWEEN $first AND $last GROUP BY ALL ORDER BY level DESC, n DESC, "by"'
        )

    def interventions(self) -> Found:
        """Return a row a command and person: what people did to the running system."""
        return self._rows(
            'SELECT name, "by", count(*) AS n, arg_max(reason, at_utc) AS reason FROM commands'
            ' WHERE at_ny::DATE BETWEEN $first AND $last GROUP BY ALL ORDER BY n DESC, name, "by"'
        )

    def incidents(self) -> Found:
        """Return a row: starts of the supervisor, orders that the broker refused, days that were locked."""
        return self._rows(
            "SELECT (SELECT count(*) FROM base_runs WHERE ny(utc(started_utc))::DATE BETWEEN $first AND $last) AS"
            " starts, (SELECT count(*) FROM order_events WHERE event = 'refused' AND at_ny::DATE BETWEEN $first AND"
            f" $last) AS refused, (SELECT count(*) FROM days WHERE locked_why IS NOT NULL AND {_IN}) AS locked"
        )

    def sessions(self) -> Found:
        """Return the sessions of the period in which anything was attempted or closed."""
        return self._rows(
            f"SELECT DISTINCT session FROM (SELECT session FROM attempts WHERE {_IN} UNION ALL SELECT session FROM"
            f" positions WHERE {_IN} UNION ALL SELECT session FROM days WHERE {_IN}) ORDER BY session"
        )

    def unfinished(self) -> Found:
        """Return a row a desk and session of the period that was not summed up: it goes on, or it was cut short."""
        return self._rows(
            f"SELECT DISTINCT desk, session FROM (SELECT desk, session FROM attempts WHERE {_IN} UNION ALL SELECT desk,"
            f" session FROM positions WHERE {_IN} UNION ALL SELECT desk, session FROM days WHERE {_IN}) s WHERE NOT"
            " EXISTS (FROM days d WHERE d.desk = s.desk AND d.session = s.session AND d.trades IS NOT NULL)"
            " ORDER BY session, desk"
        )

    def _rows(self, sql: str) -> Found:
        return self._db.rows(sql, self._values)
