"""The questions that people ask again and again, by name: for notebooks, dashboard and API alike.

Each takes a `Database` and returns an Arrow table with the units of the views (US dollars, UTC and New York). A rate is
never without its `n`, and comes with its Wilson interval of 95 %.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa

from domain.market.bars import Bars
from domain.market.derived import TABLE, all_values
from domain.options.profile import SCALARS, VALUE_COLUMNS, Shape, shape_of
from domain.session import calendar
from domain.signals.alert import Alert, AlertKey
from domain.signals.outcome import First, Outcome, OutcomeState
from domain.signals.rates import rate_of
from domain.units import Ticks
from storage.alert_outcomes import outcomes_in
from storage.gap_totals import GapKind
from storage.minute_bars import SESSIONS, TICKERS, correlated, joined_sessions, minute_bars
from storage.queries import LedgerReader
from storage.views.database import Database, QueryError

Z95 = 1.959963984540054
_CORRELATIONS = pa.schema([
    ("session", pa.date32()), ("first", pa.string()), ("second", pa.string()), ("correlation", pa.float64()),
    ("usual", pa.float64()), ("deviation", pa.float64()), ("sessions", pa.int64()), ("is_broken", pa.bool_()),
])  # fmt: skip

_DERIVED = pa.schema([
    ("symbol", pa.string()), ("name", pa.string()), ("value", pa.float64()), ("said", pa.string()),
    ("formula", pa.string()),
])  # fmt: skip


def _wilson(wins: str, n: str) -> str:
    """Return the select items of a share with its Wilson interval of 95 %; `NULL` where nothing was counted."""
    centre = f"({wins} + {Z95**2 / 2}) / ({n} + {Z95**2})"
    half = f"{Z95} * sqrt({wins} * ({n} - {wins}) / {n}::DOUBLE + {Z95**2 / 4}) / ({n} + {Z95**2})"
    return (
        f"if({n} > 0, {wins} / {n}::DOUBLE, NULL) AS rate,"
        f" if({n} > 0, greatest(0, {centre} - {half}), NULL) AS rate_low,"
        f" if({n} > 0, least(1, {centre} + {half}), NULL) AS rate_high"
    )


# -- market ----------------------------------------------------------------------------------------


def day_series(db: Database, ticker: str, session: date, category: str, values: tuple[str, ...]) -> pa.Table:
    """Return one ticker's series of a day: `bucket_utc`, `bucket_ny`, `spot` and the wanted scalars, by bucket.

    Read straight from the row groups of the ticker: it costs milliseconds.

    Raises:
        QueryError: the category has no such scalar.
    """
    shape = _shape(category)
    unknown = [value for value in values if value not in SCALARS[shape]]
    if unknown:
        raise QueryError(f"{category} has no {', '.join(unknown)}; it has {', '.join(SCALARS[shape])}.")
    return db.warehouse.series(session, ticker, category, values)


def last_bucket(db: Database) -> pa.Table:
    """Return the newest stored bucket of every hub: time, hub, ticker, category, spot, zero gamma and net gamma.

    Read straight from the newest files, without the views: it costs milliseconds, however long the day is.
    """
    sessions = db.sessions()
    return db.warehouse.last_bucket(sessions[-1]) if sessions else db.warehouse.last_bucket(None)


def correlations(db: Database) -> pa.Table:
    """Return how SPY, QQQ, IWM and VIX go together in the newest session, and what was usual in the 30 before.

    `correlation` is that of the minutes' log returns; `usual` and `deviation` are `NULL` with fewer than ten sessions.
    """
    found = _minutes(db)
    newest = max(found, default=None)
    rows = [
        {
            "session": newest, "first": one.pair[0], "second": one.pair[1], "correlation": one.now,
            "usual": one.usual and one.usual.mean, "deviation": one.usual and one.usual.deviation,
            "sessions": 0 if one.usual is None else one.usual.sessions, "is_broken": one.is_broken,
        }
        for one in (correlated(found, newest) if newest is not None else ())
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_CORRELATIONS)


def derived_series(db: Database) -> pa.Table:
    """Return the newest value of every derived series: gap, night, volatility terms, regime of the hour and others.

    `value` where it is a number, `said` where it is a word; both `NULL` where an input is not stored. `formula` says
    what it is.
    """
    values = all_values(joined_sessions(_minutes(db)))
    rows = []
    for series in TABLE:
        value = values[series.symbol, series.name]
        is_word = isinstance(value, str)
        rows.append(
            {
                "symbol": series.symbol, "name": series.name, "value": None if is_word else value,
                "said": str(value) if is_word else None, "formula": series.formula,
            }
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_DERIVED)


def _minutes(db: Database) -> dict[date, dict[str, Bars]]:
    """Return the minute bars of the newest sessions by date and ticker."""
    known = sorted({*db.sessions(), *db.series.sessions()})[-SESSIONS - 1 :]
    return {session: minute_bars(db.warehouse, db.series, session, TICKERS) for session in known}


def heatmap(db: Database, ticker: str, session: date, category: str, value: str = "gex_vol") -> pa.Table:
    """Return the profile of a day by strike: `bucket_utc`, `bucket_ny`, `spot`, lists `strikes` and `values`.

    Read straight from the row groups of the ticker, as `day_series` is.

    Raises:
        QueryError: the category has no such per-strike column.
    """
    shape = _shape(category)
    if value not in VALUE_COLUMNS[shape]:
        raise QueryError(f"{category} has no {value} by strike; it has {', '.join(VALUE_COLUMNS[shape]) or 'none'}.")
    return db.warehouse.heatmap(session, ticker, category, value)


def month_aggregates(db: Database, first: date, last: date) -> pa.Table:
    """Return per session, ticker and category: rows, spot range and close, and the mean and range of net gamma."""
    return db.query(
        "SELECT session, ticker, category, count(*) AS rows, min(spot) AS low, max(spot) AS high,"
        " arg_max(spot, last_utc) AS close, avg(sum_gex_vol) AS net_gamma_mean, min(sum_gex_vol) AS net_gamma_min,"
        " max(sum_gex_vol) AS net_gamma_max FROM gex WHERE session BETWEEN $first AND $last GROUP BY ALL"
        " ORDER BY session, ticker, category",
        {"first": first, "last": last},
    )


def gap_report(db: Database) -> pa.Table:
    """Return gaps per session, hub, cause and cover: rows missing, covered, not polled; stored; the longest interval.

    `share_missing`: of the hub's rows, those that are missing or were not polled for this cause.
    """
    sums = ", ".join(f"coalesce(sum(of_rows) FILTER (kind = '{kind}'), 0)::BIGINT AS {kind}" for kind in GapKind)
    return db.query(
        f"WITH found AS (SELECT session, hub, why, cover, {sums}, count(*) AS intervals,"
        " max(buckets) * 0.5::DOUBLE AS longest_min, min(from_ny) AS first_ny, max(to_ny) AS last_ny FROM gaps"
        " GROUP BY ALL),"
        " stored AS (SELECT session, hub, count(*) AS stored FROM rows GROUP BY ALL)"
        " SELECT session, hub, why, cover, missing, covered, not_polled, coalesce(stored, 0) AS stored,"
        " (missing + not_polled) / greatest(missing + not_polled + coalesce(stored, 0), 1) AS share_missing, intervals,"
        " longest_min, first_ny, last_ny FROM found LEFT JOIN stored USING (session, hub)"
        " ORDER BY session, hub, why, cover"
    )


def contract_quotes(db: Database, session: date, ticker: str, expiry: date, strike: float, right: str) -> pa.Table:
    """Return one contract's day as far as it was watched or in the band: bid, ask, mid, spot, volatility and delta.

    `at_utc`, `at_ny` ascending; `strike` in USD, `right` is `C` or `P`. It needs no trace.
    """
    columns = "at_utc, at_ny, bid, ask, mid, bid_size, ask_size, iv, delta, spot"
    where = 'session = $session AND ticker = $ticker AND expiry = $expiry AND strike = $strike AND "right" = $right'
    return db.query(
        f"SELECT {columns} FROM quotes WHERE {where} UNION SELECT {columns} FROM chains WHERE {where} ORDER BY at_utc",
        {"session": session, "ticker": ticker, "expiry": expiry, "strike": strike, "right": right},
    )


def chain(db: Database, ticker: str, expiry: date | None = None, session: date | None = None) -> pa.Table:
    """Return the newest band of a ticker, by expiry and strike: a row a strike, calls (`c_`) beside puts (`p_`).

    Of several stored expiries each comes with its newest look; `None`: all expiries, the last session that has any.
    """
    sides = ", ".join(
        f"max({name}) FILTER (\"right\" = '{right}') AS {right.lower()}_{name}"
        for right in "CP"
        for name in ("bid", "ask", "iv", "delta", "gamma", "open_interest", "volume")
    )
    return db.query(
        "WITH found AS (SELECT * FROM chains WHERE ticker = $ticker AND ($expiry IS NULL OR expiry = $expiry)"
        " AND ($session IS NULL OR session = $session)), newest AS (SELECT expiry, max(at_utc) AS at_utc FROM found"
        " WHERE session = (SELECT max(session) FROM found) GROUP BY expiry)"
        " SELECT expiry, at_utc, any_value(at_ny) AS at_ny, any_value(spot) AS spot, strike,"
        f" {sides} FROM found JOIN newest USING (expiry, at_utc) GROUP BY expiry, at_utc, strike"
        " ORDER BY expiry, strike",
        {"ticker": ticker, "expiry": expiry, "session": session},
    )


def _shape(category: str) -> Shape:
    try:
        return shape_of(category)
    except ValueError as error:
        raise QueryError(f"{error}.") from None


# -- signals ---------------------------------------------------------------------------------------

_OUTCOMES = pa.schema([
    ("alert_id", pa.string()), ("session", pa.date32()), ("source", pa.string()), ("ticker", pa.string()),
    ("kind", pa.string()), ("version", pa.int64()), ("is_shadow", pa.bool_()), ("direction", pa.int64()),
    ("raised_utc", pa.timestamp("us")), ("raised_ny", pa.timestamp("us")), ("entry", pa.float64()),
    ("target", pa.float64()), ("stop", pa.float64()), ("best_move", pa.float64()), ("worst_move", pa.float64()),
    ("outcome", pa.string()), ("is_win", pa.bool_()),
])  # fmt: skip
_PERFORMANCE = pa.schema([
    ("source", pa.string()), ("kind", pa.string()), ("version", pa.int64()), ("is_shadow", pa.bool_()),
    ("alerts", pa.int64()), ("n", pa.int64()), ("wins", pa.int64()), ("losses", pa.int64()), ("rate", pa.float64()),
    ("rate_low", pa.float64()), ("rate_high", pa.float64()), ("mean_best_stops", pa.float64()),
    ("mean_worst_stops", pa.float64()),
])  # fmt: skip


def alert_outcomes(db: Database) -> pa.Table:
    """Return what became of each alert: best and worst move in its direction (USD), outcome, whether it won.

    `outcome` is `target` or `stop`, whichever was reached first, `neither`, `under way`, or `not measured` (a gap, no
    data). `is_win` is true where the target was first, `NULL` where the alert was not followed to its horizon. What is
    recorded stands; what is under way is followed in the stored spots.
    """
    rows = []
    for row, outcome in _followed(db):
        is_over = outcome is not None and outcome.state is OutcomeState.RESOLVED
        first = First.NEITHER if outcome is None else outcome.first
        if outcome is None or outcome.state is OutcomeState.UNRESOLVED:
            said = "not measured"
        else:
            said = first.value if is_over or first is not First.NEITHER else "under way"
        to_usd = row["entry"] / 1e4
        rows.append(
            row
            | {
                "best_move": None if outcome is None else outcome.mfe_bps * to_usd,
                "worst_move": None if outcome is None else -outcome.mae_bps * to_usd,
                "outcome": said, "is_win": first is First.TARGET if is_over else None,
            }
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_OUTCOMES)


def alert_performance(db: Database) -> pa.Table:
    """Return the win rate per source, kind and version with its Wilson interval; no data counts for nothing.

    `n` alerts were followed to their horizon, of them `wins` reached the target first and `losses` the stop.
    `mean_best_stops` and `mean_worst_stops` are their mean farthest moves in units of the stop.
    """
    found: dict[tuple[str, str, int, bool], list[Outcome | None]] = {}
    for row, outcome in _followed(db):
        found.setdefault((row["source"], row["kind"], row["version"], row["is_shadow"]), []).append(outcome)
    rows = []
    for version in sorted(found):
        rate = rate_of(outcome for outcome in found[version] if outcome is not None)
        rows.append(
            dict(zip(("source", "kind", "version", "is_shadow"), version, strict=True))
            | {
                "alerts": len(found[version]), "n": rate.n, "wins": rate.wins, "losses": rate.losses,
                "rate": rate.rate, "rate_low": rate.lower, "rate_high": rate.upper,
                "mean_best_stops": rate.mean_mfe_stops, "mean_worst_stops": rate.mean_mae_stops,
            }
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_PERFORMANCE)


def _followed(db: Database) -> list[tuple[dict[str, Any], Outcome | None]]:
    """Return each alert with its outcome as recorded, else as far as the stored spots tell; `None`: no session."""
    rows = db.rows(
        "SELECT alert_id, session, source, ticker, kind, version, is_shadow, direction, raised_utc, raised_ny, entry,"
        " target, stop, horizon_s FROM alerts ORDER BY raised_utc, alert_id"
    )
    known = {outcome.alert.key.alert_id: outcome for outcome in LedgerReader(db.folder / "ledgers", "").outcomes()}
    open_: dict[date, list[Alert]] = {}
    for row in rows:
        if row["alert_id"] not in known:
            open_.setdefault(row["session"], []).append(_alert(row))
    for session, alerts in open_.items():
        hours = calendar.day(session)
        if hours is not None:
            known |= outcomes_in(db.warehouse, hours, alerts)
    return [(row, known.get(row["alert_id"])) for row in rows]


def _alert(row: dict[str, Any]) -> Alert:
    entry, target, stop = (Ticks(round(row[name] * 100)) for name in ("entry", "target", "stop"))
    key = AlertKey.parse(row["alert_id"])
    return Alert(
        key=key, direction=row["direction"], entry_ticks=entry, target_ticks=target, stop_ticks=stop,
        horizon_ms=round(row["horizon_s"] * 1000), is_shadow=row["is_shadow"], raised_utc=key.bucket_utc,
    )  # fmt: skip


# -- trades ----------------------------------------------------------------------------------------

_FATES = (
    "SELECT a.*, coalesce(p.qty, 0) > 0 AS is_filled FROM attempts a LEFT JOIN positions p"
    " ON p.desk = a.desk AND p.intent_id = a.intent_id"
)


def fill_rate_by_time(db: Database) -> pa.Table:
    """Return per strategy and half hour (New York): attempts, accepted, filled, and the fill rate of the accepted."""
    return db.query(
        "SELECT strategy, time_bucket(INTERVAL 30 MINUTE, decided_ny)::TIME AS half_hour_ny, count(*) AS attempts,"
        " count(*) FILTER (is_accepted) AS n, count(*) FILTER (is_filled) AS filled,"
        f" {_wilson('count(*) FILTER (is_accepted AND is_filled)', 'count(*) FILTER (is_accepted)')}"
        f" FROM ({_FATES}) GROUP BY ALL ORDER BY strategy, half_hour_ny"
    )


def fill_rate_by_code(db: Database) -> pa.Table:
    """Return how attempts ended: `filled`, `accepted, no fill`, or the reject code, with the share of all attempts."""
    return db.query(
        "WITH ends AS (SELECT strategy, if(is_filled, 'filled', coalesce(code, 'accepted, no fill')) AS ended,"
        f" count(*) AS attempts FROM ({_FATES}) GROUP BY ALL) SELECT strategy, ended, attempts,"
        " (sum(attempts) OVER s)::BIGINT AS n, attempts / sum(attempts) OVER s AS rate FROM ends"
        " WINDOW s AS (PARTITION BY strategy) ORDER BY strategy, attempts DESC, ended"
    )


def slippage(db: Database) -> pa.Table:
    """Return entries' slippage against the mid that the gates saw, per strategy and ticker, in USD and share of mid."""
    return db.query(
        "SELECT strategy, ticker, count(*) AS n, sum(qty)::BIGINT AS contracts, avg(slippage) AS mean,"
        " median(slippage) AS median,"
        " max(slippage) AS worst, avg(slippage / nullif(mid, 0)) AS mean_share_of_mid, sum(slippage * qty *"
        " multiplier) AS"
        " cost FROM (SELECT *, abs(cash / nullif(qty * price, 0)) AS multiplier FROM fills WHERE slippage IS NOT NULL)"
        " GROUP BY ALL ORDER BY strategy, ticker"
    )


def pnl(db: Database) -> pa.Table:
    """Return realised P&L after fees by week (its Monday), strategy and exit reason, with wins and the win rate."""
    return db.query(
        "SELECT date_trunc('week', session)::DATE AS week, strategy, coalesce(exit_reason, \"end\") AS exit_reason,"
        f" count(*) AS n, count(*) FILTER (pnl > 0) AS wins, {_wilson('count(*) FILTER (pnl > 0)', 'count(*)')},"
        " sum(pnl) AS pnl, sum(fees) AS fees, avg(pnl) AS mean, min(pnl) AS worst, max(pnl) AS best FROM positions"
        " WHERE closed_utc IS NOT NULL AND qty > 0 GROUP BY ALL ORDER BY week, strategy, exit_reason"
    )


def latency(db: Database) -> pa.Table:
    """Return the way of each accepted attempt in ms after its bucket's close: alert, gates decided, order recorded."""
    return db.query(
        "WITH entries AS (SELECT intent_id, desk, min(intended_utc) AS intended_utc FROM orders WHERE NOT is_exit"
        " GROUP BY ALL) SELECT a.session, a.alert_id, a.strategy, a.ticker, a.decided_ny, close_ms(l.raised_utc,"
        " a.bucket_utc) AS alert_ms, close_ms(a.decided_utc, a.bucket_utc) AS decided_ms,"
        " close_ms(e.intended_utc, a.bucket_utc) AS order_ms FROM attempts a LEFT JOIN alerts l USING (alert_id)"
        " LEFT JOIN entries e ON e.desk = a.desk AND e.intent_id = a.intent_id WHERE a.code IS NULL"
        " OR a.intent_id IS NOT NULL ORDER BY a.decided_utc"
    )


QUERIES = (
    day_series, last_bucket, correlations, derived_series, heatmap, month_aggregates, gap_report, contract_quotes,
    chain, alert_outcomes, alert_performance, fill_rate_by_time, fill_rate_by_code, slippage, pnl, latency,
)  # fmt: skip
