"""Views of the desks' ledgers: attempts, gates, orders, fills, positions, days."""

from __future__ import annotations

from storage.views.columns import (
    ALERT_ID,
    BUCKET,
    DESK,
    INTENT,
    KIND,
    SESSION,
    SOURCE,
    STRATEGY,
    TICKER,
    USD,
    VERSION,
    Column,
    View,
    clocks,
    instant,
)

IMPORTED_TRADES = View(
    "imported_trades",
    "trades",
    "one trade of a system before, as it was imported",
    (
        SESSION,
        *instant("at", "when it was opened"),
        *instant("closed", "when it was closed; `NULL`: not told"),
        Column("ticker", "", "its ticker"),
        Column("contract", "", "in that system's words"),
        Column("side", "", "in that system's words"),
        Column("qty", "contracts", "how many"),
        Column("entry_price", USD, "price of the entry"),
        Column("exit_price", USD, "price of the exit"),
        Column("pnl", USD, "result"),
        Column("more", "JSON", "its other columns"),
    ),
    f"SELECT session, {clocks('at_utc', 'at')}, {clocks('closed_utc', 'closed')}, ticker, contract, side, qty,"
    " entry_price, exit_price, pnl, more FROM base_foreign_trades",
    ("base_foreign_trades",),
)
_CONTRACT = (
    Column("con_id", "", "the broker's number of the contract"),
    Column("expiry", "", "its expiry, YYYYMMDD"),
    Column("strike", USD, "its strike"),
    Column("right", "", "`C` or `P`"),
)
_CONTRACT_SQL = 'r.expiry, r.strike_ticks / 100.0 AS strike, r."right"'
_RESERVED = "LEFT JOIN base_reservations r ON r.desk = o.desk AND r.intent_id = o.intent_id AND r.leg = o.leg"
ATTEMPTS = View(
    "attempts",
    "trades",
    "one attempt to trade an alert: how the entry gates decided",
    (
        Column("n", "", "number in the desk's gate log"),
        DESK,
        SESSION,
        ALERT_ID,
        INTENT,
        SOURCE,
        STRATEGY,
        TICKER,
        KIND,
        VERSION,
        Column("is_shadow", "", "nobody meant it to be traded: a shadow, whichever gate refused it"),
        *BUCKET,
        *instant("decided", "when it was decided"),
        Column("is_accepted", "", "whether every gate let it pass and nothing refused it afterwards"),
        Column("code", "", "why not; `NULL`: accepted"),
        Column("gate", "", "the gate that refused it; `NULL`: accepted, or refused after the gates"),
        Column("measured", "`unit`", "what the gate measured"),
        Column("limit_value", "`unit`", "what it allows"),
        Column("unit", "", "unit of both"),
        Column("looked_at", "", "what it looked at"),
        Column("amended_words", "", "what refused it after the gates, in words"),
    ),
    "SELECT n, desk, session::DATE AS session, alert_id, intent_id, source, strategy, ticker, kind, version,"
    " is_shadow <> 0 OR code IS NOT NULL AND alert_id IN (SELECT alert_id FROM base_alerts WHERE is_shadow <> 0) AS"
    f" is_shadow, {clocks('bucket_utc', 'bucket')}, {clocks('decided_utc', 'decided')},"
    " coalesce(code, amended_code) IS NULL AS is_accepted, coalesce(code, amended_code) AS code, gate, measured,"
    " limit_value, unit, looked_at, amended_words FROM base_gate_log",
    ("base_gate_log", "base_alerts"),
)
_VERDICT = (
    '[{"gate":"VARCHAR","finding":{"outcome":"VARCHAR","code":"VARCHAR","measured":"DOUBLE","limit":"DOUBLE",'
    '"unit":"VARCHAR","looked_at":"VARCHAR"}}]'
)
GATES = View(
    "gates",
    "trades",
    "what one gate found in one attempt",
    (
        Column("attempt_n", "", "the attempt (`attempts.n`)"),
        DESK,
        SESSION,
        ALERT_ID,
        STRATEGY,
        TICKER,
        *instant("decided", "when it was decided"),
        Column("verdict_n", "", "number in the attempt, from 1"),
        Column("gate", "", "the gate"),
        Column("outcome", "", "`pass` or `reject`"),
        Column("code", "", "why it refused"),
        Column("measured", "`unit`", "what it measured"),
        Column("limit_value", "`unit`", "what it allows"),
        Column("unit", "", "unit of both"),
        Column("looked_at", "", "what it looked at"),
    ),
    "SELECT n AS attempt_n, desk, session::DATE AS session, alert_id, strategy, ticker,"
    f" {clocks('decided_utc', 'decided')},"
    " verdict_n, v.gate AS gate, v.finding.outcome AS outcome, v.finding.code AS code, v.finding.measured AS measured,"
    ' v.finding."limit" AS limit_value, v.finding.unit AS unit, v.finding.looked_at AS looked_at FROM ('
    f"SELECT *, unnest(from_json(verdicts, '{_VERDICT}')) AS v,"
    " unnest(range(1, json_array_length(verdicts)::BIGINT + 1)) AS verdict_n FROM (SELECT * EXCLUDE (gate, code,"
    " measured, limit_value, unit, looked_at) FROM base_gate_log))",
    ("base_gate_log",),
)
ORDERS = View(
    "orders",
    "trades",
    "one order as it stands now",
    (
        Column("order_ref", "", "our reference, also at the broker"),
        DESK,
        SESSION,
        INTENT,
        ALERT_ID,
        STRATEGY,
        TICKER,
        *_CONTRACT,
        Column("is_exit", "", "it closes"),
        Column("side", "", "`BUY` or `SELL`"),
        Column("qty", "contracts", "how many"),
        Column("limit_price", USD, "last limit; `NULL`: a market order, or the broker never told one"),
        Column(
            "status",
            "",
            "`intended`, `working`, `unknown` ...; over: `filled`, `cancelled`, `inactive` (refused), `released` (never"
            " sent), `abandoned` (its position ended before the broker told its end)",
        ),
        Column("changed_by", "", "who changed it last: `desk`, `broker`, `read-back` (asked for) or `ledger`"),
        Column("exit_reason", "", "why it closes"),
        Column("tier", "", "how urgent an exit is, from 0"),
        Column("perm_id", "", "the broker's permanent number"),
        Column("is_adopted", "", "found at the broker, not made by this ledger"),
        *instant("intended", "when it was recorded"),
        *instant("changed", "last change"),
    ),
    "SELECT o.order_ref, o.desk, r.session::DATE AS session, o.intent_id, r.alert_id, r.strategy, r.ticker,"
    f" o.con_id, {_CONTRACT_SQL},"
    " o.is_exit <> 0 AS is_exit, o.side, o.qty, o.limit_ticks / 100.0 AS limit_price, o.status, o.changed_by,"
    " o.exit_reason, o.tier,"
    f" o.perm_id, o.is_adopted <> 0 AS is_adopted, {clocks('o.at_utc', 'intended')},"
    f" {clocks('o.changed_utc', 'changed')} FROM base_orders o {_RESERVED}",
    ("base_orders", "base_reservations"),
)
ORDER_EVENTS = View(
    "order_events",
    "trades",
    "one thing that happened to an order, in order",
    (
        Column("n", "", "number in the desk's ledger"),
        DESK,
        Column("order_ref", "", "the order"),
        *instant("at", "when"),
        Column(
            "event", "", "the new status, `changed`, `fill`, `correction`, `adopted`, `passed over`, `slices ended`"
        ),
        Column("qty", "contracts", "of the order or the fill"),
        Column("order_type", "", "`LMT` or `MKT`"),
        Column("price", USD, "limit, or price of the fill"),
        Column("words", "", "why: exit reason, execution id, the broker's words, or how its position ended"),
        Column("by", "", "who: `desk`, `broker`, `read-back` (asked for) or `ledger`"),
    ),
    f"SELECT n, desk, order_ref, {clocks('at_utc', 'at')}, event, qty, order_type, price_ticks / 100.0 AS price, words,"
    ' "by" FROM base_order_events',
    ("base_order_events",),
)
_FILLS_SQL = (
    "FROM base_executions e LEFT JOIN base_orders o ON o.desk = e.desk AND o.order_ref = e.order_ref"
    f" {_RESERVED} LEFT JOIN (SELECT desk, exec_id, arg_max(commission_cents, revision) AS cents FROM base_commissions"
    " GROUP BY ALL) c ON c.desk = e.desk AND c.exec_id = e.exec_id WHERE e.is_current <> 0"
)
FILLS = View(
    "fills",
    "trades",
    "one execution in force",
    (
        Column("exec_id", "", "the broker's number"),
        Column("revision", "", "above 1: corrected by the broker"),
        DESK,
        SESSION,
        Column("order_ref", "", "the order"),
        INTENT,
        ALERT_ID,
        STRATEGY,
        TICKER,
        *_CONTRACT,
        Column("is_exit", "", "it closed; `NULL`: not of our orders"),
        Column("side", "", "`BUY` or `SELL`"),
        Column("qty", "contracts", "how many"),
        Column("price", USD, "per unit of the underlying"),
        Column("fee", USD, "commission; `NULL`: not told yet"),
        Column("cash", USD, "what it brought (+) or cost (-) before fees; `NULL`: the multiplier is not known"),
        Column("mid", USD, "mid that the gates saw before an entry"),
        Column("slippage", USD, "price against that mid, per unit, positive: against us; `NULL` for exits"),
        *instant("at", "when"),
        Column("is_foreign", "", "not of our orders"),
        Column("is_adopted", "", "booked from what the broker holds"),
        Column("is_time_uncertain", "", "its time is our own"),
    ),
    "SELECT e.exec_id, e.revision, e.desk, e.session::DATE AS session, e.order_ref, e.intent_id, r.alert_id,"
    f" r.strategy, r.ticker, e.con_id, {_CONTRACT_SQL},"
    " o.is_exit <> 0 AS is_exit, e.side, e.qty, e.price_ticks / 100.0 AS price, c.cents / 100.0 AS fee,"
    " if(e.side = 'SELL', 1, -1) * e.qty * e.price_ticks * r.multiplier / 100.0 AS cash,"
    " (r.decision_bid_ticks + r.decision_ask_ticks) / 200.0 AS mid, if(o.is_exit = 0, if(e.side = 'BUY', 1, -1) *"
    " (e.price_ticks / 100.0 - (r.decision_bid_ticks + r.decision_ask_ticks) / 200.0), NULL) AS slippage,"
    f" {clocks('e.at_utc', 'at')}, e.is_foreign <> 0 AS is_foreign, e.is_adopted <> 0 AS is_adopted,"
    f" e.is_time_uncertain <> 0 AS is_time_uncertain {_FILLS_SQL}",
    ("base_executions", "base_orders", "base_reservations", "base_commissions"),
)
POSITIONS = View(
    "positions",
    "trades",
    "one position, open or closed",
    (
        Column("position_id", "", "the position"),
        Column("structure_id", "", "the structure that it is a leg of; `NULL`: of none"),
        DESK,
        SESSION,
        INTENT,
        ALERT_ID,
        SOURCE,
        STRATEGY,
        TICKER,
        KIND,
        *_CONTRACT,
        Column("direction", "", "+1 up, -1 down"),
        Column("side", "", "`BUY`, or `SELL`: it was sold to open"),
        Column("state", "", "state of its life cycle"),
        Column("qty", "contracts", "how many were opened"),
        Column("entry_spot", USD, "spot at the entry"),
        Column("entry_iv", "per year", "implied volatility at the entry"),
        *instant("opened", "first fill; `NULL`: never filled"),
        *instant("closed", "when it ended; `NULL`: it is open"),
        Column("pnl", USD, "realised, after fees"),
        Column("fees", USD, "fees in it"),
        Column("exit_reason", "", "why it was closed"),
        Column("end", "", "how it ended"),
    ),
    "SELECT p.position_id, p.structure_id, p.desk, p.session::DATE AS session, p.intent_id, p.alert_id, p.source,"
    " p.strategy, p.ticker, p.kind,"
    f" p.con_id, {_CONTRACT_SQL}, p.direction, r.side, p.state, p.opened_qty AS qty, p.entry_spot_ticks / 100.0 AS"
    " entry_spot, p.entry_iv,"
    f" {clocks('p.opened_utc', 'opened')}, {clocks('p.closed_utc', 'closed')}, p.realised_cents / 100.0 AS pnl,"
    ' p.fees_cents / 100.0 AS fees, p.exit_reason, p."end" FROM base_positions p LEFT JOIN base_reservations r'
    " ON r.desk = p.desk AND r.intent_id = p.intent_id AND r.con_id = p.con_id",
    ("base_positions", "base_reservations"),
)
STRUCTURES = View(
    "structures",
    "trades",
    "one structure, open or over",
    (
        Column("structure_id", "", "the intent that opened it"),
        DESK,
        SESSION,
        ALERT_ID,
        STRATEGY,
        TICKER,
        Column("cover_ref", "", "entry order of the leg that is bought and covers, of several the call"),
        Column("short_ref", "", "entry order of the leg that is sold, of several the call"),
        Column("credit", USD, "net credit after the fees of all round trips, as it was decided; `NULL`: not kept yet"),
        Column("gap", USD, "what the distance of the strikes costs where both end in the money"),
        Column("edge", USD, "the credit less the gap"),
        Column("terms", "JSON", "all terms: ratio, strikes and quotes of all legs, fees (ticks and cents)"),
        Column("state", "", "`RESERVED` to `HELD`, then `CLOSED` or `ABANDONED` (nothing filled)"),
        Column("exit_reason", "", "why it was left"),
        Column("cover_price", USD, "what the covers filled at, one of each together, per unit"),
        Column("short_price", USD, "what the shorts filled at, one of each together, per unit"),
        Column("pnl", USD, "realised by all legs, after fees; `NULL`: it is not closed"),
        Column("fees", USD, "fees in it"),
        *instant("reserved", "when all legs were reserved"),
        *instant("closed", "when it ended; `NULL`: it has not"),
    ),
    "SELECT structure_id, desk, session::DATE AS session, alert_id, strategy, ticker, cover_ref, short_ref,"
    " credit_cents / 100.0 AS credit, gap_cents / 100.0 AS gap, (credit_cents - gap_cents) / 100.0 AS edge, terms,"
    " state, exit_reason, cover_ticks / 100.0 AS cover_price, short_ticks / 100.0 AS short_price,"
    " realised_cents / 100.0 AS pnl, fees_cents / 100.0 AS fees,"
    f" {clocks('reserved_utc', 'reserved')}, {clocks('closed_utc', 'closed')} FROM base_structures",
    ("base_structures",),
)
EXIT_CHANGES = View(
    "exit_changes",
    "trades",
    "one change of a position's scales under the exit profile beside the fixed one, its first ones included",
    (
        Column("position_id", "", "the position"),
        DESK,
        Column("kind", "", "the profile: `ADAPTIVE`, or `EXITS` (learned levels)"),
        Column("version", "", "of the profile's tables"),
        *instant("changed", "from when on"),
        Column("stop_scale", "", "factor on premium and underlying stop"),
        Column("take_scale", "", "factor on the gain at which profit is taken"),
        Column("realised", "", "volatility of the underlying a year, as a share; `NULL`: not known"),
        Column("left_ms", "ms", "time to the flatten"),
        Column("is_in_force", "", "the position leaves by it; else a shadow does"),
    ),
    f"SELECT position_id, desk, kind, version, {clocks('at_utc', 'changed')}, stop_scale, take_scale, realised,"
    " left_ms, is_in_force <> 0 AS is_in_force FROM base_exit_changes",
    ("base_exit_changes",),
)
SHADOW_EXITS = View(
    "shadow_exits",
    "trades",
    "one closed position that an exit profile followed as a shadow",
    (
        Column("position_id", "", "the position"),
        DESK,
        SESSION,
        TICKER,
        Column("kind", "", "the profile: `ADAPTIVE`, or `EXITS` (learned levels)"),
        Column("version", "", "of the profile's tables"),
        Column("fixed_pnl", USD, "what the position made, before fees"),
        Column("shadow_pnl", USD, "what the profile would have made, at the bid, before fees"),
        Column("fixed_reason", "", "why the position was closed"),
        Column("shadow_reason", "", "why the shadow sold last; `NULL`: it left with the position"),
        Column("sales", "JSON", "its would-be exits: reason, quantity, bid (ticks), instant"),
        Column("left_qty", "", "contracts that went with the position, at its price"),
        Column("stop_scale", "", "factor on the stops at the end"),
        Column("take_scale", "", "factor on the profits at the end"),
        *instant("closed", "when the position was closed"),
    ),
    "SELECT position_id, desk, session::DATE AS session, ticker, kind, version, fixed_cents / 100.0 AS fixed_pnl,"
    " shadow_cents / 100.0 AS shadow_pnl, fixed_reason, shadow_reason, sales, left_qty, stop_scale, take_scale,"
    f" {clocks('at_utc', 'closed')} FROM base_shadow_exits",
    ("base_shadow_exits",),
)
DAYS = View(
    "days",
    "trades",
    "one day of a desk",
    (
        SESSION,
        DESK,
        Column("locked_why", "", "why entries were locked for the day"),
        *instant("locked", "since when"),
        Column("start_nav", USD, "net liquidation at the start"),
        Column("trades", "", "structures closed; `NULL`: the day is not over"),
        Column("wins", "", "with a gain"),
        Column("losses", "", "with a loss"),
        Column("pnl", USD, "realised, after fees"),
        Column("fees", USD, "fees in it"),
        Column("drawdown", USD, "largest fall of the day's P&L"),
        *instant("settled", "when the day was summed up"),
    ),
    f"SELECT session::DATE AS session, desk, locked_why, {clocks('locked_utc', 'locked')}, start_nav_cents / 100.0 AS"
    " start_nav,"
    " trades, wins, losses, realised_cents / 100.0 AS pnl, fees_cents / 100.0 AS fees, drawdown_cents / 100.0 AS"
    " drawdown,"
    f" {clocks('settled_utc', 'settled')} FROM base_day",
    ("base_day",),
)
