"""Views with the names and columns of the systems that this one replaces."""

from __future__ import annotations

from storage.views.columns import USD, Column, View


def _plain(name: str, unit: str = "", meaning: str = "") -> Column:
    return Column(name, unit, meaning or name.replace("_", " "))


TRADES = View(
    "trades",
    "compatibility",
    "one closed or open trade, as the spread system named it",
    (
        _plain("id", "", "the position"),
        _plain("trade_date", "date", "exchange date"),
        _plain("entry_time", "New York"),
        _plain("exit_time", "New York"),
        _plain("symbol", "", "ticker"),
        _plain("strategy"),
        _plain("contract", "", "class, expiry, strike and right"),
        _plain("quantity", "contracts"),
        _plain("entry_credit", USD, "what the entry brought: negative, a debit"),
        _plain("exit_debit", USD, "what the exit cost: negative, a credit"),
        _plain("final_pnl", USD, "after fees; `NULL`: open"),
        _plain("fees", USD),
        _plain("exit_reason", "", "why it was closed, of each part in order; `NULL`: it is open, or never filled"),
        _plain("status", "", "`pending` (no fill yet), `open`, `closed` or `abandoned` (never filled)"),
    ),
    "SELECT p.position_id AS id, p.session AS trade_date, p.opened_ny AS entry_time, p.closed_ny AS exit_time,"
    " p.ticker AS symbol,"
    " p.strategy, concat_ws(' ', p.ticker, p.expiry, concat(p.strike::DECIMAL(12, 2)::VARCHAR, p.\"right\")) AS"
    " contract,"
    " p.qty AS quantity, f.entry AS entry_credit, -f.exit AS exit_debit, if(p.closed_utc IS NULL, NULL, p.pnl) AS"
    " final_pnl,"
    ' p.fees, if(p.closed_utc IS NULL, NULL, coalesce(r.reasons, p.exit_reason, p."end")) AS exit_reason,'
    " CASE WHEN p.\"end\" = 'abandoned' THEN 'abandoned' WHEN p.closed_utc IS NOT NULL THEN 'closed'"
    " WHEN p.opened_utc IS NULL THEN 'pending' ELSE 'open' END AS status"
    " FROM positions p LEFT JOIN (SELECT desk, intent_id, con_id,"
    " sum(cash) FILTER (NOT is_exit) AS entry, sum(cash) FILTER (is_exit) AS exit FROM fills GROUP BY ALL) f"
    " USING (desk, intent_id, con_id) LEFT JOIN (SELECT desk, intent_id, con_id,"
    " string_agg(exit_reason, ', ' ORDER BY n) AS reasons FROM (SELECT f.desk, f.intent_id, f.con_id, o.exit_reason,"
    " min(o.exit_n) AS n FROM fills f JOIN base_orders o ON o.desk = f.desk AND o.order_ref = f.order_ref"
    " WHERE f.is_exit GROUP BY ALL) GROUP BY ALL) r USING (desk, intent_id, con_id)",
    ("positions", "fills", "base_orders"),
)
DAILY_SUMMARY = View(
    "daily_summary",
    "compatibility",
    "one day of a desk, as the spread system named it",
    (
        _plain("date", "date", "exchange date"),
        _plain("total_trades"),
        _plain("winning_trades"),
        _plain("losing_trades"),
        _plain("total_pnl", USD, "after fees"),
        _plain("fees", USD),
        _plain("max_drawdown", USD),
        _plain("start_nav", USD),
    ),
    "SELECT session AS date, trades AS total_trades, wins AS winning_trades, losses AS losing_trades, pnl AS"
    " total_pnl, fees,"
    " drawdown AS max_drawdown, start_nav FROM days",
    ("days",),
)
SYSTEM_STATE = View(
    "system_state",
    "compatibility",
    "one named value of the system's present state",
    (
        _plain("key", "", "`kill_level`, `kill_reason`, `open_positions`, `last_start`"),
        _plain("value", "", "as text"),
        _plain("updated_at", "UTC", "since when"),
    ),
    "SELECT 'kill_level' AS key, coalesce(max_by(level, kill_epoch), 0)::VARCHAR AS value, max_by(at_utc,"
    " kill_epoch) AS updated_at FROM kills"
    " UNION ALL SELECT 'kill_reason', coalesce(max_by(reason, kill_epoch), ''), max_by(at_utc, kill_epoch) FROM kills"
    " UNION ALL SELECT 'open_positions', count(*)::VARCHAR, max(opened_utc) FROM positions WHERE closed_utc IS NULL"
    " AND opened_utc IS NOT NULL"
    " UNION ALL SELECT 'last_start', coalesce(max(run_n), 0)::VARCHAR, utc(max(started_utc)) FROM base_runs",
    ("kills", "positions", "base_runs"),
)
GEX_EXECUTION_LOG = View(
    "gex_execution_log",
    "compatibility",
    "one attempt to trade an alert, as the gamma system logged it",
    (
        _plain("timestamp", "New York", "when it was decided"),
        _plain("alert_id"),
        _plain("symbol", "", "ticker"),
        _plain("alert_type", "", "kind of alert"),
        _plain("strategy"),
        _plain("decision", "", "`EXECUTED`, `ACCEPTED` (no fill) or `REJECTED`"),
        _plain("reject_reason", "", "the reject code"),
        _plain("measured", "`unit`"),
        _plain("limit_value", "`unit`"),
        _plain("unit"),
        _plain("quantity", "contracts", "what was filled"),
        _plain("pnl", USD, "after fees"),
    ),
    "SELECT a.decided_ny AS timestamp, a.alert_id, a.ticker AS symbol, a.kind AS alert_type, a.strategy, if(NOT"
    " a.is_accepted, 'REJECTED',"
    " if(p.qty > 0, 'EXECUTED', 'ACCEPTED')) AS decision, a.code AS reject_reason, a.measured, a.limit_value,"
    " a.unit, p.qty AS quantity, p.pnl"
    " FROM attempts a LEFT JOIN positions p ON p.desk = a.desk AND p.intent_id = a.intent_id",
    ("attempts", "positions"),
)
ALERT_LOG = View(
    "alert_log",
    "compatibility",
    "one alert, as the gamma system logged it",
    (
        _plain("id", "", "the alert"),
        _plain("timestamp", "New York", "when it was found"),
        _plain("ticker"),
        _plain("alert_type", "", "kind of alert"),
        _plain("direction", "", "`BULLISH` or `BEARISH`"),
        _plain("price", USD, "spot then"),
        _plain("target", USD),
        _plain("stop", USD),
        _plain("is_shadow"),
    ),
    "SELECT alert_id AS id, raised_ny AS timestamp, ticker, kind AS alert_type, if(direction > 0, 'BULLISH',"
    " 'BEARISH') AS direction,"
    " entry AS price, target, stop, is_shadow FROM alerts",
    ("alerts",),
)
