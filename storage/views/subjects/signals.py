"""Views of what was read and found: readings, features, forces, alerts and their outcomes."""

from __future__ import annotations

from domain.signals import registry
from storage.views.columns import (
    ALERT_ID,
    BUCKET,
    KIND,
    SESSION,
    SOURCE,
    TICKER,
    USD,
    VERSION,
    Column,
    View,
    clocks,
    instant,
)

IMPORTED_ALERTS = View(
    "imported_alerts",
    "signals",
    "one alert of a system before, as it was imported",
    (
        SESSION,
        *instant("at", "when"),
        Column("ticker", "", "its ticker"),
        Column("kind", "", "its kind, in that system's words"),
        Column("direction", "", "in that system's words"),
        Column("price", USD, "price then"),
        Column("outcome", "", "in that system's words"),
        Column("more", "JSON", "its other columns"),
    ),
    f"SELECT session, {clocks('at_utc', 'at')}, ticker, kind, direction, price, outcome, more FROM base_foreign_alerts",
    ("base_foreign_alerts",),
)
_READING_HEAD = (SESSION, TICKER, *BUCKET)
_READING_SQL = f"session, ticker, {clocks('bucket_utc', 'bucket')}"
READINGS = View(
    "readings",
    "signals",
    "one reading: what the features of a ticker and bucket were computed from",
    (
        *_READING_HEAD,
        Column("reading_n", "", "number of the reading in its session"),
        Column("spot", USD, "spot of the reading; `NULL`: none"),
        Column("zero_gamma", USD, "zero gamma of `classic_gex_zero`; `NULL`: not computed"),
        Column("alignment", "-1 to 1", "agreement of the forces; `NULL`: fewer than three of confidence 0.5"),
        Column("is_complete", "", "whether every hub was done in time"),
        Column("missing", "", "list of the categories that were silent"),
        Column("run_n", "", "the supervisor's start that computed it"),
    ),
    f"SELECT {_READING_SQL}, reading_n, spot / 100.0 AS spot, zero_gamma / 100.0 AS zero_gamma, alignment, is_complete,"
    " missing, run_n FROM base_readings",
    ("base_readings",),
)
FEATURES = View(
    "features",
    "signals",
    "the features of one reading",
    (
        *_READING_HEAD,
        *(Column(f.name, f.unit, f"{f.formula}; {f.missing}") for f in registry.FEATURES),
    ),
    f"SELECT {_READING_SQL}, "
    + ", ".join(f"features[{n + 1}] AS {f.name}" for n, f in enumerate(registry.FEATURES))
    + " FROM base_readings",
    ("base_readings",),
)
FORCES = View(
    "forces",
    "signals",
    "one force of a reading",
    (
        *_READING_HEAD,
        Column("force", "", "`gamma`, `charm`, `vanna`, `flow`, `structure`"),
        Column("score", "-1 to 1", "down to up"),
        Column("confidence", "0 to 1", "0: no inputs"),
    ),
    "SELECT session, ticker, bucket_utc, bucket_ny, f.name AS force, f.score AS score, f.confidence AS confidence"
    " FROM ("
    f"SELECT {_READING_SQL}, unnest(forces) AS f FROM base_readings)",
    ("base_readings",),
)
ALERTS = View(
    "alerts",
    "signals",
    "one alert that was found and recorded",
    (
        ALERT_ID,
        SESSION,
        SOURCE,
        TICKER,
        KIND,
        VERSION,
        Column("is_shadow", "", "it may not trade"),
        *BUCKET,
        Column("direction", "", "+1 up, -1 down"),
        Column("entry", USD, "spot when it was found"),
        Column("target", USD, "where it is right"),
        Column("stop", USD, "where it is wrong"),
        Column("horizon_s", "s", "how long it may take"),
        Column("alignment", "-1 to 1", "agreement of the forces then"),
        Column("forces", "JSON", "the five forces then"),
        Column("features", "JSON", "the features then, in the registry's order"),
        Column("thresholds", "JSON", "what it was compared with"),
        Column("pushes", "JSON", "which feature pushed which force how far: force, feature, its value, the push"),
        Column("feed_mode", "", "how its rows came; `NULL`: not told"),
        *instant("raised", "when it was found"),
    ),
    "SELECT alert_id, session::DATE AS session, source, ticker, kind, version, is_shadow <> 0 AS is_shadow,"
    f" {clocks('bucket_utc', 'bucket')}, direction, entry_ticks / 100.0 AS entry, target_ticks / 100.0 AS target,"
    " stop_ticks / 100.0 AS stop, horizon_ms / 1000.0 AS horizon_s, alignment, forces, features, thresholds, pushes,"
    f" feed_mode, {clocks('raised_utc', 'raised')} FROM base_alerts",
    ("base_alerts",),
)
OUTCOMES = View(
    "outcomes",
    "signals",
    "what became of one alert, followed reading by reading to its horizon",
    (
        ALERT_ID,
        SESSION,
        SOURCE,
        TICKER,
        KIND,
        VERSION,
        Column("is_shadow", "", "it might not trade"),
        Column("direction", "", "+1 up, -1 down"),
        Column("state", "", "`resolved`, or `unresolved` (a gap hid what happened: it counts in no rate)"),
        Column("first", "", "what was reached first: `target`, `stop`, `neither`"),
        Column("mfe_bps", "bps", "farthest move with the alert"),
        Column("mae_bps", "bps", "farthest move against it"),
        Column("mfe_stops", "stops", "the same, in units of the stop"),
        Column("mae_stops", "stops", "the same, in units of the stop"),
        Column("target_s", "s", "until the target was reached; `NULL`: it was not"),
        Column("stop_s", "s", "until the stop was reached; `NULL`: it was not"),
        Column("path_bps", "JSON", "moves at 1, 5, 15, 30 and 60 min"),
        *instant("end", "end of the last reading that counts"),
    ),
    "SELECT o.alert_id, a.session::DATE AS session, a.source, a.ticker, a.kind, a.version, a.is_shadow <> 0 AS"
    " is_shadow, a.direction, o.state, o.first, o.mfe_bps, o.mae_bps, o.mfe_stops, o.mae_stops,"
    " o.target_ms / 1000.0 AS target_s, o.stop_ms / 1000.0 AS stop_s, o.path_bps,"
    f" {clocks('o.end_utc', 'end')} FROM base_outcomes o JOIN base_alerts a USING (alert_id)",
    ("base_outcomes", "base_alerts"),
)
