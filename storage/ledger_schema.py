"""Schema of the two kinds of ledger: the shared one and a desk's. A change is a new migration, never an edit.

Instants are UTC ns, sessions `YYYY-MM-DD` in New York, prices ticks of 1/100 USD, money cents. `feed_mode` (how the
rows behind an alert came: live, rest, import, simulated) is NULL until somebody tells it; `is_shadow` of a gate row
says that the shadow check refused it.
"""

from __future__ import annotations

import sqlite3
from enum import StrEnum

from storage.ledger_v2 import name_gates
from storage.sqlite_file import Schema, script


class ReservationState(StrEnum):
    """What became of a reservation: live in the first two, over in the others."""

    PENDING_ENTRY = "PENDING_ENTRY"
    OPEN = "OPEN"
    CLOSED = "CLOSED"
    RELEASED = "RELEASED"
    ABANDONED = "ABANDONED"


LIVE = "state IN ('PENDING_ENTRY', 'OPEN')"
IS_TRADE = "state NOT IN ('RELEASED', 'ABANDONED')"

_SHARED_V1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE runs (run_n INTEGER PRIMARY KEY AUTOINCREMENT, started_utc INTEGER NOT NULL) STRICT;
CREATE TABLE kill (
  kill_epoch INTEGER PRIMARY KEY, level INTEGER NOT NULL, reason TEXT NOT NULL, by TEXT NOT NULL,
  at_utc INTEGER NOT NULL
) STRICT;
CREATE TABLE commands (
  command_id TEXT PRIMARY KEY, name TEXT NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL, outcome TEXT NOT NULL,
  at_utc INTEGER NOT NULL
) STRICT;
CREATE TABLE promotions (
  source TEXT NOT NULL, kind TEXT NOT NULL, version INTEGER NOT NULL, is_promoted INTEGER NOT NULL, by TEXT NOT NULL,
  reason TEXT NOT NULL, at_utc INTEGER NOT NULL, PRIMARY KEY (source, kind, version, at_utc)
) STRICT;
CREATE TABLE alerts (
  alert_id TEXT PRIMARY KEY, session TEXT NOT NULL, source TEXT NOT NULL, ticker TEXT NOT NULL, kind TEXT NOT NULL,
  version INTEGER NOT NULL, bucket_utc INTEGER NOT NULL, direction INTEGER NOT NULL, entry_ticks INTEGER NOT NULL,
  target_ticks INTEGER NOT NULL, stop_ticks INTEGER NOT NULL, horizon_ms INTEGER NOT NULL, features TEXT NOT NULL,
  forces TEXT NOT NULL, alignment REAL, thresholds TEXT NOT NULL, is_shadow INTEGER NOT NULL,
  feed_mode TEXT NOT NULL DEFAULT 'live', raised_utc INTEGER NOT NULL, recorded_utc INTEGER NOT NULL
) STRICT;
CREATE INDEX alerts_by_lane ON alerts (session, source, ticker, raised_utc);
CREATE TABLE outcomes (
  alert_id TEXT PRIMARY KEY, mfe_ticks INTEGER, mae_ticks INTEGER, hit TEXT, end_ticks INTEGER,
  is_shadow INTEGER NOT NULL, feed_mode TEXT NOT NULL DEFAULT 'live', ended_utc INTEGER NOT NULL
) STRICT;
"""

_DESK_V1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE reservations (
  intent_id TEXT NOT NULL, leg INTEGER NOT NULL, desk TEXT NOT NULL, structure_id TEXT, signal_id TEXT NOT NULL,
  alert_id TEXT NOT NULL, source TEXT NOT NULL, strategy TEXT NOT NULL, ticker TEXT NOT NULL, kind TEXT NOT NULL,
  version INTEGER NOT NULL, is_shadow INTEGER NOT NULL DEFAULT 0, direction INTEGER NOT NULL,
  bucket_utc INTEGER NOT NULL, session TEXT NOT NULL, con_id INTEGER NOT NULL, underlying TEXT NOT NULL,
  trading_class TEXT NOT NULL, expiry TEXT NOT NULL, strike_ticks INTEGER NOT NULL, right TEXT NOT NULL,
  multiplier INTEGER NOT NULL, side TEXT NOT NULL, qty INTEGER NOT NULL, limit_ticks INTEGER NOT NULL,
  decision_bid_ticks INTEGER, decision_ask_ticks INTEGER, order_ref TEXT NOT NULL UNIQUE,
  deadline_utc INTEGER NOT NULL, decided_utc INTEGER NOT NULL, run_n INTEGER NOT NULL, state TEXT NOT NULL,
  ended_why TEXT, reserved_utc INTEGER NOT NULL, ended_utc INTEGER, PRIMARY KEY (intent_id, leg)
) STRICT;
CREATE UNIQUE INDEX one_live_holder ON reservations (desk, con_id) WHERE state IN ('PENDING_ENTRY', 'OPEN');
CREATE INDEX reservations_by_day ON reservations (session, strategy);
CREATE TABLE tombstones (intent_id TEXT PRIMARY KEY, reason TEXT NOT NULL, at_utc INTEGER NOT NULL) STRICT;
CREATE TABLE orders (
  order_ref TEXT PRIMARY KEY, desk TEXT NOT NULL, intent_id TEXT NOT NULL, leg INTEGER NOT NULL, structure_id TEXT,
  position_id TEXT, con_id INTEGER NOT NULL, is_exit INTEGER NOT NULL, side TEXT NOT NULL, qty INTEGER NOT NULL,
  limit_ticks INTEGER, status TEXT NOT NULL, perm_id INTEGER, exit_n INTEGER, exit_reason TEXT, exit_kind TEXT,
  tier INTEGER, is_adopted INTEGER NOT NULL DEFAULT 0, run_n INTEGER NOT NULL, at_utc INTEGER NOT NULL,
  changed_utc INTEGER NOT NULL
) STRICT;
CREATE INDEX orders_by_intent ON orders (intent_id);
CREATE TABLE executions (
  exec_id TEXT NOT NULL, revision INTEGER NOT NULL, desk TEXT NOT NULL, order_ref TEXT NOT NULL, intent_id TEXT,
  con_id INTEGER NOT NULL, side TEXT NOT NULL, qty INTEGER NOT NULL, price_ticks INTEGER NOT NULL,
  at_utc INTEGER NOT NULL, session TEXT NOT NULL, is_current INTEGER NOT NULL, is_foreign INTEGER NOT NULL,
  raw TEXT NOT NULL, recorded_utc INTEGER NOT NULL, PRIMARY KEY (exec_id, revision)
) STRICT;
CREATE UNIQUE INDEX one_current_revision ON executions (exec_id) WHERE is_current;
CREATE INDEX executions_by_order ON executions (order_ref) WHERE is_current;
CREATE INDEX executions_by_contract ON executions (con_id) WHERE is_current;
CREATE INDEX executions_by_day ON executions (session);
CREATE TABLE commissions (
  exec_id TEXT NOT NULL, revision INTEGER NOT NULL, commission_cents INTEGER NOT NULL, recorded_utc INTEGER NOT NULL,
  PRIMARY KEY (exec_id, revision)
) STRICT;
CREATE TABLE positions (
  position_id TEXT PRIMARY KEY, desk TEXT NOT NULL, intent_id TEXT NOT NULL, leg INTEGER NOT NULL DEFAULT 0,
  structure_id TEXT, con_id INTEGER NOT NULL, session TEXT NOT NULL, source TEXT, strategy TEXT, direction INTEGER,
  version INTEGER, state TEXT NOT NULL, exit_reason TEXT, exit_kind TEXT, exit_n INTEGER NOT NULL DEFAULT 0,
  tier INTEGER NOT NULL DEFAULT 0, entry_spot_ticks INTEGER, entry_iv REAL, opened_utc INTEGER,
  took_part INTEGER NOT NULL DEFAULT 0, end TEXT, bought_qty INTEGER, realised_cents INTEGER NOT NULL DEFAULT 0,
  fees_cents INTEGER NOT NULL DEFAULT 0, closed_utc INTEGER, changed_utc INTEGER NOT NULL
) STRICT;
CREATE INDEX positions_by_day ON positions (session);
CREATE INDEX positions_by_intent ON positions (intent_id, con_id);
CREATE TABLE structures (
  structure_id TEXT PRIMARY KEY, desk TEXT NOT NULL, strategy TEXT NOT NULL, version INTEGER NOT NULL,
  session TEXT NOT NULL, state TEXT NOT NULL, legs TEXT NOT NULL, exit_authority TEXT, opened_utc INTEGER,
  closed_utc INTEGER, changed_utc INTEGER NOT NULL
) STRICT;
CREATE TABLE gate_log (
  n INTEGER PRIMARY KEY, desk TEXT NOT NULL, session TEXT NOT NULL, signal_id TEXT NOT NULL, alert_id TEXT NOT NULL,
  intent_id TEXT, structure_id TEXT, source TEXT NOT NULL, strategy TEXT NOT NULL, ticker TEXT NOT NULL,
  kind TEXT NOT NULL, version INTEGER NOT NULL, is_shadow INTEGER NOT NULL DEFAULT 0,
  feed_mode TEXT NOT NULL DEFAULT 'live', bucket_utc INTEGER NOT NULL, code TEXT, gate INTEGER, measured REAL,
  limit_value REAL, unit TEXT NOT NULL DEFAULT '', looked_at TEXT NOT NULL DEFAULT '', verdicts TEXT NOT NULL,
  decided_utc INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_row_per_attempt ON gate_log (signal_id, decided_utc, ifnull(code, ''));
CREATE INDEX gate_log_by_alert ON gate_log (alert_id);
CREATE INDEX gate_log_by_day ON gate_log (session);
CREATE TABLE watermarks (
  source TEXT NOT NULL, ticker TEXT NOT NULL, kind TEXT NOT NULL, version INTEGER NOT NULL,
  bucket_utc INTEGER NOT NULL, alert_id TEXT NOT NULL, PRIMARY KEY (source, ticker, kind, version)
) STRICT;
CREATE TABLE day (
  session TEXT PRIMARY KEY, desk TEXT NOT NULL, locked_why TEXT, locked_utc INTEGER, start_nav_cents INTEGER,
  start_nav_utc INTEGER, trades INTEGER, wins INTEGER, losses INTEGER, realised_cents INTEGER, fees_cents INTEGER,
  drawdown_cents INTEGER, settled_utc INTEGER
) STRICT;
CREATE TRIGGER day_is_kept BEFORE DELETE ON day BEGIN
  SELECT RAISE(ABORT, 'a day row is never deleted');
END;
CREATE TRIGGER day_lock_holds BEFORE UPDATE ON day
WHEN OLD.locked_why IS NOT NULL AND NEW.locked_why IS NOT OLD.locked_why BEGIN
  SELECT RAISE(ABORT, 'a day lock is never lifted');
END;
"""

# Nothing followed outcomes yet, and every row said `live`, also on a simulated day.
_SHARED_V2 = """
DROP TABLE outcomes;
ALTER TABLE alerts DROP COLUMN feed_mode;
ALTER TABLE alerts ADD COLUMN feed_mode TEXT;
"""

# `signal_id` always was the alert's id; nothing wrote structures. A position's row says by itself what opened it.
_DESK_V2 = """
DROP TABLE structures;
ALTER TABLE reservations DROP COLUMN signal_id;
ALTER TABLE reservations ADD COLUMN decision_spot_ticks INTEGER;
ALTER TABLE positions RENAME COLUMN bought_qty TO opened_qty;
ALTER TABLE positions ADD COLUMN alert_id TEXT;
ALTER TABLE positions ADD COLUMN ticker TEXT;
ALTER TABLE positions ADD COLUMN kind TEXT;
ALTER TABLE positions ADD COLUMN bucket_utc INTEGER;
ALTER TABLE positions ADD COLUMN side TEXT;
UPDATE positions SET alert_id = r.alert_id, ticker = r.ticker, kind = r.kind, bucket_utc = r.bucket_utc, side = r.side
  FROM reservations r WHERE r.intent_id = positions.intent_id AND r.con_id = positions.con_id;
DROP INDEX one_row_per_attempt;
ALTER TABLE gate_log DROP COLUMN signal_id;
ALTER TABLE gate_log DROP COLUMN feed_mode;
ALTER TABLE gate_log ADD COLUMN feed_mode TEXT;
CREATE UNIQUE INDEX one_row_per_attempt ON gate_log (alert_id, decided_utc, ifnull(code, ''));
"""


# A promotion that a person asked for comes with its command's id, so that a repeat is no second word.
_SHARED_V3 = """
ALTER TABLE promotions ADD COLUMN command_id TEXT;
CREATE UNIQUE INDEX one_promotion_per_command ON promotions (command_id);
CREATE TABLE spread_norms (
  session TEXT NOT NULL, slot_min INTEGER NOT NULL, median REAL NOT NULL, at_utc INTEGER NOT NULL,
  PRIMARY KEY (session, slot_min)
) STRICT;
"""

# What each feature pushed when an alert was found; what became of it: moves in bps of the entry, with the alert.
_SHARED_V4 = """
ALTER TABLE alerts ADD COLUMN pushes TEXT;
CREATE TABLE outcomes (
  alert_id TEXT PRIMARY KEY, state TEXT NOT NULL, first TEXT NOT NULL, end_utc INTEGER NOT NULL,
  seen_utc INTEGER NOT NULL, mfe_bps REAL NOT NULL, mae_bps REAL NOT NULL, mfe_stops REAL NOT NULL,
  mae_stops REAL NOT NULL, target_ms INTEGER, stop_ms INTEGER, path_bps TEXT NOT NULL, recorded_utc INTEGER NOT NULL
) STRICT;
"""

# The id that a program outside gave an offer, so that no id becomes two alerts.
_SHARED_V5 = """
ALTER TABLE alerts ADD COLUMN offer_id TEXT;
CREATE UNIQUE INDEX one_alert_per_offer ON alerts (source, ticker, offer_id) WHERE offer_id IS NOT NULL;
"""

# Where a process has several desks, each has a kill level of its own, and a person may switch a strategy from one to
# another: which desks trade it (a JSON list) from then on, and who said so.
_SHARED_V6 = """
CREATE TABLE desk_kills (
  desk TEXT NOT NULL, kill_epoch INTEGER NOT NULL, level INTEGER NOT NULL, reason TEXT NOT NULL, by TEXT NOT NULL,
  at_utc INTEGER NOT NULL, PRIMARY KEY (desk, kill_epoch)
) STRICT;
CREATE TABLE routes (
  n INTEGER PRIMARY KEY, strategy TEXT NOT NULL, desks TEXT NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL,
  command_id TEXT NOT NULL UNIQUE, at_utc INTEGER NOT NULL
) STRICT;
CREATE TRIGGER route_is_kept BEFORE DELETE ON routes BEGIN
  SELECT RAISE(ABORT, 'a word on where a strategy trades is never deleted');
END;
CREATE TRIGGER route_stands BEFORE UPDATE ON routes BEGIN
  SELECT RAISE(ABORT, 'a word on where a strategy trades is never changed');
END;
"""

# `claimed_qty` of an adopted execution: what the broker's status said was filled in all. `price_ticks` of an order's
# event is the limit, or the price of a fill. An order's history is written by its rows' own changes, so that nothing
# can change an order without leaving one.
_DESK_V3 = """
ALTER TABLE executions ADD COLUMN is_adopted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE executions ADD COLUMN is_time_uncertain INTEGER NOT NULL DEFAULT 0;
ALTER TABLE executions ADD COLUMN claimed_qty INTEGER;
ALTER TABLE day ADD COLUMN stops TEXT;
CREATE INDEX trades_by_day ON reservations (session, strategy, intent_id) WHERE state NOT IN ('RELEASED', 'ABANDONED');
ALTER TABLE gate_log ADD COLUMN amended_code TEXT;
ALTER TABLE gate_log ADD COLUMN amended_words TEXT;
ALTER TABLE gate_log ADD COLUMN amended_utc INTEGER;
CREATE INDEX gate_log_by_intent ON gate_log (intent_id);
CREATE TRIGGER gate_row_is_kept BEFORE DELETE ON gate_log BEGIN
  SELECT RAISE(ABORT, 'a gate row is never deleted');
END;
CREATE TRIGGER gate_row_is_amended_once BEFORE UPDATE ON gate_log
WHEN OLD.amended_code IS NOT NULL OR OLD.code IS NOT NEW.code OR OLD.alert_id IS NOT NEW.alert_id
  OR OLD.verdicts IS NOT NEW.verdicts OR OLD.decided_utc IS NOT NEW.decided_utc BEGIN
  SELECT RAISE(ABORT, 'a gate row is amended once and never rewritten');
END;
CREATE TABLE order_events (
  n INTEGER PRIMARY KEY, order_ref TEXT NOT NULL, at_utc INTEGER NOT NULL, event TEXT NOT NULL, qty INTEGER,
  order_type TEXT, price_ticks INTEGER, words TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX order_events_by_order ON order_events (order_ref);
INSERT INTO order_events (order_ref, at_utc, event, qty, order_type, price_ticks, words)
  SELECT order_ref, at_utc, 'intended', qty, iif(tier = 3, 'MKT', 'LMT'), limit_ticks, ifnull(exit_reason, '')
  FROM orders ORDER BY at_utc, order_ref;
INSERT INTO order_events (order_ref, at_utc, event, qty, price_ticks, words)
  SELECT order_ref, at_utc, iif(revision = 1, 'fill', 'correction'), qty, price_ticks, exec_id
  FROM executions WHERE is_current AND NOT is_foreign ORDER BY at_utc, exec_id;
INSERT INTO order_events (order_ref, at_utc, event, qty)
  SELECT order_ref, changed_utc, status, qty FROM orders WHERE status <> 'intended' ORDER BY changed_utc, order_ref;
CREATE TRIGGER order_is_noted AFTER INSERT ON orders BEGIN
  INSERT INTO order_events (order_ref, at_utc, event, qty, order_type, price_ticks, words) VALUES (
    NEW.order_ref, NEW.changed_utc, NEW.status, NEW.qty, iif(NEW.tier = 3, 'MKT', 'LMT'), NEW.limit_ticks,
    ifnull(NEW.exit_reason, ''));
END;
CREATE TRIGGER order_change_is_noted AFTER UPDATE ON orders
WHEN OLD.status IS NOT NEW.status OR OLD.qty IS NOT NEW.qty OR OLD.tier IS NOT NEW.tier
  OR OLD.exit_reason IS NOT NEW.exit_reason BEGIN
  INSERT INTO order_events (order_ref, at_utc, event, qty, order_type, price_ticks, words) VALUES (
    NEW.order_ref, NEW.changed_utc, iif(OLD.status IS NOT NEW.status, NEW.status, 'changed'), NEW.qty,
    iif(NEW.tier = 3, 'MKT', 'LMT'), NEW.limit_ticks, ifnull(NEW.exit_reason, ''));
END;
CREATE TRIGGER fill_is_noted AFTER INSERT ON executions WHEN NEW.is_current AND NOT NEW.is_foreign BEGIN
  INSERT INTO order_events (order_ref, at_utc, event, qty, price_ticks, words) VALUES (
    NEW.order_ref, NEW.at_utc, iif(NEW.is_adopted, 'adopted', iif(NEW.revision = 1, 'fill', 'correction')), NEW.qty,
    NEW.price_ticks, NEW.exec_id);
END;
CREATE TRIGGER order_event_is_kept BEFORE DELETE ON order_events BEGIN
  SELECT RAISE(ABORT, 'the history of an order is never deleted');
END;
CREATE TRIGGER order_event_stands BEFORE UPDATE ON order_events BEGIN
  SELECT RAISE(ABORT, 'the history of an order is never changed');
END;
"""

# The underlying's settlement price as a position saw it: one that is started again past the close needs it.
_DESK_V4 = """
ALTER TABLE positions ADD COLUMN settlement_ticks INTEGER;
"""

# Who changed an order last, and why: `desk`, `broker`, `read-back` or `ledger`. Its history tells it of every change,
# and a new limit is one. An order whose reservation has ended is over, too.
_DESK_V5 = """
ALTER TABLE orders ADD COLUMN changed_by TEXT NOT NULL DEFAULT 'desk';
ALTER TABLE orders ADD COLUMN changed_why TEXT NOT NULL DEFAULT '';
ALTER TABLE order_events ADD COLUMN by TEXT NOT NULL DEFAULT 'broker';
DROP TRIGGER order_event_stands;
UPDATE order_events SET by = iif(event = 'adopted', 'ledger', 'desk') WHERE event IN ('intended', 'changed', 'adopted');
CREATE TRIGGER order_event_stands BEFORE UPDATE ON order_events BEGIN
  SELECT RAISE(ABORT, 'the history of an order is never changed');
END;
DROP TRIGGER order_is_noted;
CREATE TRIGGER order_is_noted AFTER INSERT ON orders BEGIN
  INSERT INTO order_events (order_ref, at_utc, event, qty, order_type, price_ticks, words, by) VALUES (
    NEW.order_ref, NEW.changed_utc, NEW.status, NEW.qty, iif(NEW.tier = 3, 'MKT', 'LMT'), NEW.limit_ticks,
    ifnull(NEW.exit_reason, NEW.changed_why), NEW.changed_by);
END;
DROP TRIGGER order_change_is_noted;
CREATE TRIGGER order_change_is_noted AFTER UPDATE ON orders
WHEN OLD.status IS NOT NEW.status OR OLD.qty IS NOT NEW.qty OR OLD.tier IS NOT NEW.tier
  OR OLD.exit_reason IS NOT NEW.exit_reason OR OLD.limit_ticks IS NOT NEW.limit_ticks BEGIN
  INSERT INTO order_events (order_ref, at_utc, event, qty, order_type, price_ticks, words, by) VALUES (
    NEW.order_ref, NEW.changed_utc, iif(OLD.status IS NOT NEW.status, NEW.status, 'changed'), NEW.qty,
    iif(NEW.tier = 3, 'MKT', 'LMT'), NEW.limit_ticks,
    iif(NEW.changed_why <> '', NEW.changed_why, ifnull(NEW.exit_reason, '')), NEW.changed_by);
END;
DROP TRIGGER fill_is_noted;
CREATE TRIGGER fill_is_noted AFTER INSERT ON executions WHEN NEW.is_current AND NOT NEW.is_foreign BEGIN
  INSERT INTO order_events (order_ref, at_utc, event, qty, price_ticks, words, by) VALUES (
    NEW.order_ref, NEW.at_utc, iif(NEW.is_adopted, 'adopted', iif(NEW.revision = 1, 'fill', 'correction')), NEW.qty,
    NEW.price_ticks, NEW.exec_id, iif(NEW.is_adopted, 'ledger', 'broker'));
END;
UPDATE orders SET changed_by = 'broker' WHERE status NOT IN ('intended', 'adopted');
UPDATE orders SET changed_by = 'ledger', changed_why = 'its reservation had ended', status = iif(
    (SELECT ifnull(sum(e.qty), 0) FROM executions e WHERE e.order_ref = orders.order_ref AND e.is_current) >= qty,
    'filled', 'abandoned')
  WHERE status NOT IN ('filled', 'cancelled', 'inactive') AND EXISTS (SELECT 1 FROM reservations r
    WHERE r.intent_id = orders.intent_id AND r.leg = orders.leg AND r.state IN ('CLOSED', 'RELEASED', 'ABANDONED'));
"""

# A structure as a whole: the terms that it was opened on (`terms` in full, as JSON), where it stands, what it came to.
# `cover_ticks` and `short_ticks` are what its legs' entries filled at. The terms of earlier ones were not kept.
_DESK_V6 = """
CREATE TABLE structures (
  structure_id TEXT PRIMARY KEY, desk TEXT NOT NULL, alert_id TEXT NOT NULL, strategy TEXT NOT NULL,
  ticker TEXT NOT NULL, session TEXT NOT NULL, cover_ref TEXT NOT NULL, short_ref TEXT NOT NULL, terms TEXT,
  credit_cents INTEGER, gap_cents INTEGER, state TEXT NOT NULL, exit_reason TEXT, cover_ticks REAL, short_ticks REAL,
  realised_cents INTEGER, fees_cents INTEGER, reserved_utc INTEGER NOT NULL, closed_utc INTEGER,
  changed_utc INTEGER NOT NULL
) STRICT;
CREATE INDEX structures_by_day ON structures (session);
INSERT INTO structures (structure_id, desk, alert_id, strategy, ticker, session, cover_ref, short_ref, state,
  reserved_utc, closed_utc, changed_utc)
  SELECT c.structure_id, c.desk, c.alert_id, c.strategy, c.ticker, c.session, c.order_ref, s.order_ref,
    iif(c.state IN ('PENDING_ENTRY', 'OPEN') OR s.state IN ('PENDING_ENTRY', 'OPEN'), 'HELD',
      iif('CLOSED' IN (c.state, s.state), 'CLOSED', 'ABANDONED')),
    c.reserved_utc, iif(c.state IN ('PENDING_ENTRY', 'OPEN') OR s.state IN ('PENDING_ENTRY', 'OPEN'), NULL,
      max(ifnull(c.ended_utc, 0), ifnull(s.ended_utc, 0))), c.reserved_utc
  FROM reservations c JOIN reservations s ON s.structure_id = c.structure_id AND s.leg = 1 WHERE c.leg = 0;
"""


# How far the other exit profile tightened each position, and what its shadow would have made beside what was made
# (USD cents before fees; `sales` as JSON, `left_qty` went with the position).
_DESK_V7 = """
CREATE TABLE exit_changes (
  n INTEGER PRIMARY KEY, position_id TEXT NOT NULL, version INTEGER NOT NULL, at_utc INTEGER NOT NULL,
  stop_scale REAL NOT NULL, take_scale REAL NOT NULL, realised REAL, left_ms INTEGER NOT NULL,
  is_in_force INTEGER NOT NULL, UNIQUE (position_id, version, at_utc)
) STRICT;
CREATE TABLE shadow_exits (
  position_id TEXT NOT NULL, version INTEGER NOT NULL, desk TEXT NOT NULL, session TEXT NOT NULL, ticker TEXT NOT NULL,
  fixed_cents INTEGER NOT NULL, shadow_cents INTEGER NOT NULL, fixed_reason TEXT, shadow_reason TEXT,
  sales TEXT NOT NULL, left_qty INTEGER NOT NULL, stop_scale REAL NOT NULL, take_scale REAL NOT NULL,
  at_utc INTEGER NOT NULL, PRIMARY KEY (position_id, version)
) STRICT;
CREATE INDEX shadow_exits_by_version ON shadow_exits (version);
"""


# The broker's reference of the combination that an order is a leg of; `NULL`: an order by itself.
_DESK_V8 = """
ALTER TABLE orders ADD COLUMN combo_ref TEXT;
"""

# Levels learned from positions are an exit profile, too (`EXITS`): a version alone names none.
_DESK_V9 = """
ALTER TABLE exit_changes ADD COLUMN kind TEXT NOT NULL DEFAULT 'ADAPTIVE';
ALTER TABLE shadow_exits ADD COLUMN kind TEXT NOT NULL DEFAULT 'ADAPTIVE';
"""


def _desk_v2(db: sqlite3.Connection) -> None:
    script(_DESK_V2)(db)
    name_gates(db)


_SHARED = (_SHARED_V1, _SHARED_V2, _SHARED_V3, _SHARED_V4, _SHARED_V5, _SHARED_V6)
SHARED = Schema("shared", 0x5A480001, tuple(map(script, _SHARED)))
DESK = Schema(
    "desk",
    0x5A480002,
    (
        script(_DESK_V1), _desk_v2,
        *map(script, (_DESK_V3, _DESK_V4, _DESK_V5, _DESK_V6, _DESK_V7, _DESK_V8, _DESK_V9)),
    ),
)  # fmt: skip
SHARED_OWNER = "shared"  # what the shared file carries in place of a desk
