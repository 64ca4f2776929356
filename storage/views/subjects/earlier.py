"""Views with the names and columns of the systems that this one replaces."""

from __future__ import annotations

from storage.views.columns import USD, Column, View


def _plain(name: str, unit: str = "", meaning: str = "") -> Column:
    return Column(name, unit, meaning or name.replace("_", " "))


TRADES = View(
    "trades",
    "compatibility",
    "one closed or open trade, as the spread system named it: the legs of a structure are one, an entry without a fill"
    " is none",
    (
        _plain("id", "", "the position, or the structure"),
        _plain("trade_date", "date", "exchange date"),
        _plain("entry_time", "New York", "the first fill"),
        _plain("exit_time", "New York", "`NULL`: open"),
        _plain("symbol", "", "ticker"),
        _plain("strategy"),
        _plain("contract", "", "class, expiry, strike and right; of a structure those of each leg"),
        _plain("quantity", "contracts", "of the first leg"),
        _plain("entry_credit", USD, "what the entry brought: negative, a debit"),
        _plain("exit_debit", USD, "what the exit cost: negative, a credit"),
        _plain("final_pnl", USD, "after fees; `NULL`: open"),
        _plain("fees", USD),
        _plain("exit_reason", "", "why it was closed, of each part in order; `NULL`: it is open"),
        _plain("status", "", "`open` or `closed`"),
    ),
    "WITH legs AS (SELECT p.*, b.structure_id, b.leg, f.entry, f.exit, concat_ws(' ', c.trading_class,"
    ' p.expiry, concat(p.strike::DECIMAL(12, 2)::VARCHAR, p."right")) AS contract,'
    ' coalesce(r.reasons, p.exit_reason, p."end") AS reasons FROM positions p'
    " JOIN base_positions b ON b.desk = p.desk AND b.position_id = p.position_id"
    " LEFT JOIN base_reservations c ON c.desk = p.desk AND c.intent_id = p.intent_id AND c.con_id = p.con_id"
    " LEFT JOIN (SELECT desk, intent_id, con_id,"
    " sum(cash) FILTER (NOT is_exit) AS entry, sum(cash) FILTER (is_exit) AS exit FROM fills GROUP BY ALL) f"
    " ON f.desk = p.desk AND f.intent_id = p.intent_id AND f.con_id = p.con_id"
    " LEFT JOIN (SELECT desk, intent_id, con_id, string_agg(exit_reason, ', ' ORDER BY n) AS reasons FROM"
    " (SELECT f.desk, f.intent_id, f.con_id, o.exit_reason,"
    " min(o.exit_n) AS n FROM fills f JOIN base_orders o ON o.desk = f.desk AND o.order_ref = f.order_ref"
    " WHERE f.is_exit GROUP BY ALL) GROUP BY ALL) r ON r.desk = p.desk AND r.intent_id = p.intent_id"
    " AND r.con_id = p.con_id WHERE p.opened_utc IS NOT NULL),"
    " structures AS (SELECT desk, coalesce(structure_id, position_id) AS id,"
    " bool_and(closed_utc IS NOT NULL) AS is_over,"
    " min(session) AS trade_date, min(opened_ny) AS entry_time, max(closed_ny) AS closed_ny,"
    " any_value(ticker) AS symbol, any_value(strategy) AS strategy,"
    " string_agg(contract, ' / ' ORDER BY leg) AS contract, arg_min(qty, leg) AS quantity, sum(entry) AS entry_credit,"
    " -sum(exit) AS exit_debit, sum(pnl) AS pnl, sum(fees) AS fees, string_agg(DISTINCT reasons, ', ') AS reasons"
    " FROM legs GROUP BY ALL)"
    " SELECT id, trade_date, entry_time, if(is_over, closed_ny, NULL) AS exit_time, symbol, strategy, contract,"
    " quantity, entry_credit, exit_debit, if(is_over, pnl, NULL) AS final_pnl, fees,"
    " if(is_over, reasons, NULL) AS exit_reason,"
    " if(is_over, 'closed', 'open') AS status FROM structures ORDER BY entry_time",
    ("positions", "fills", "base_orders", "base_positions", "base_reservations"),
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
        _plain("key", "", "`kill_level`, `kill_reason`, `open_positions` (a structure is one), `last_start`"),
        _plain("value", "", "as text"),
        _plain("updated_at", "UTC", "since when"),
    ),
    "SELECT 'kill_level' AS key, coalesce(max_by(level, kill_epoch), 0)::VARCHAR AS value, max_by(at_utc,"
    " kill_epoch) AS updated_at FROM kills"
    " UNION ALL SELECT 'kill_reason', coalesce(max_by(reason, kill_epoch), ''), max_by(at_utc, kill_epoch) FROM kills"
    " UNION ALL SELECT 'open_positions', count(DISTINCT coalesce(structure_id, position_id))::VARCHAR,"
    " utc(max(opened_utc)) FROM base_positions WHERE closed_utc IS NULL AND opened_utc IS NOT NULL"
    " UNION ALL SELECT 'last_start', coalesce(max(run_n), 0)::VARCHAR, utc(max(started_utc)) FROM base_runs",
    ("kills", "base_positions", "base_runs"),
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
