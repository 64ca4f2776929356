"""The views that `main.py sql`, notebooks and the API query: what each is, its columns with units, and its SQL.

One row a fact, prices and money in US dollars, every instant twice: `_utc`, and `_ny` on New York's clock (both without
a zone, cut to the microsecond). `NULL` is "not told" or "not computed", never zero. What a view is made of are bases
(`needs`): files of the warehouse, series, tables of the ledgers, lines of the traces; only those that a query uses are
read.
"""

from __future__ import annotations

import msgspec

from domain.options.profile import GEX_SCALARS, GREEK_SCALARS, ORDERFLOW_SCALARS
from domain.signals.registry import FEATURES
from storage.scales import sql_in_units


class Column(msgspec.Struct, frozen=True):
    """One column: its name, what it is measured in (empty: a name or a count), what it means."""

    name: str
    unit: str
    meaning: str


class View(msgspec.Struct, frozen=True):
    """One view: where it belongs, what a row of it is, its columns in order, its query and what that is made of."""

    name: str
    group: str
    row: str
    columns: tuple[Column, ...]
    sql: str
    needs: tuple[str, ...]


def _at(name: str, meaning: str) -> tuple[Column, Column]:
    return Column(f"{name}_utc", "UTC", meaning), Column(f"{name}_ny", "New York", "the same on New York's clock")


def _ns(column: str, name: str) -> str:
    """Return the select items of an instant that is stored in nanoseconds."""
    return f"utc({column}) AS {name}_utc, ny(utc({column})) AS {name}_ny"


_USD = "USD"
_SESSION = Column("session", "date", "exchange date in New York")
_TICKER = Column("ticker", "", "the vendor's ticker (`SPX`, `ES_SPX`)")
_BUCKET = _at("bucket", "start of the 30 s bucket")

# -- the vendor's rows -----------------------------------------------------------------------------

_HEAD = (
    _SESSION,
    *_BUCKET,
    Column("hub", "", "the hub that it came from"),
    _TICKER,
    Column("category", "", "the vendor's group without its ticker (`classic_gex_zero`)"),
    Column("mode", "", "how it came: `live`, `rest`, `import`, `simulated`, or `late` (after its bucket was closed)"),
    *_at("last", "when its last frame was told"),
    Column("frames", "", "frames of the bucket; the last one is the row"),
    Column("latency_ms", "ms", "from the frame's own time to its arrival"),
    Column("sequence", "", "number of the last frame on its connection"),
    Column("store_n", "", "0, or how often rows of the same hub and bucket were stored before"),
    Column("row_n", "", "number of the row in its stored bucket"),
    Column("spot", _USD, "price of the underlying; `NULL` where the vendor sent none"),
)
_HEAD_SQL = (
    "session, bucket AS bucket_utc, ny(bucket) AS bucket_ny, hub, ticker, category, mode, instant AS last_utc,"
    " ny(instant) AS last_ny, frames, latency_ms, sequence, store_n, row_n, nullif(spot, 0) / 100.0 AS spot"
)
_HEAD_NAMES = tuple(column.name for column in _HEAD)

_LEVELS = {
    "zero_gamma": "level at which net gamma changes its sign",
    "major_pos_vol": "call wall: strike of the largest positive gamma by volume",
    "major_pos_oi": "call wall by open interest",
    "major_neg_vol": "put wall: strike of the largest negative gamma by volume",
    "major_neg_oi": "put wall by open interest",
    "major_call_gamma": "strike of the largest call exposure",
    "major_put_gamma": "strike of the largest put exposure",
    "major_long_gamma": "strike of the largest long exposure of customers (a wall)",
    "major_short_gamma": "strike of the largest short exposure of customers (price moves through)",
    "z_mlgamma": "major long gamma of today's expiry",
    "z_msgamma": "major short gamma of today's expiry",
    "o_mlgamma": "major long gamma of the next expiry",
    "o_msgamma": "major short gamma of the next expiry",
    "zero_mcall": "call wall of today's expiry (state)",
    "zero_mput": "put wall of today's expiry (state)",
    "one_mcall": "call wall of the next expiry (state)",
    "one_mput": "put wall of the next expiry (state)",
}
_FLOWS = {
    "cvr": "net convexity",
    "gr": "net gamma",
    "vanna": "net −vanna, $MM",
    "charm": "net charm, $MM an hour",
    "agg_dex": "cumulative delta flow since the open",
    "net_dex": "net delta flow of now",
    "agg_call_dex": "cumulative delta flow of calls",
    "agg_put_dex": "cumulative delta flow of puts",
    "net_call_dex": "net delta flow of calls",
    "net_put_dex": "net delta flow of puts",
    "dexoflow": "change of cumulative delta flow since the frame before",
    "gexoflow": "change of net gamma since the frame before",
    "cvroflow": "change of net convexity since the frame before",
}
_SUMS = frozenset(("sum_gex_vol", "sum_gex_oi", "delta_risk_reversal"))
_CLIPPED = "`NULL`: clipped by the vendor"


def _scalar(name: str) -> tuple[Column, str]:
    """Return the column and the select item of one of the vendor's wire integers."""
    if name in _LEVELS:
        return Column(name, _USD, f"{_LEVELS[name]}; `NULL`: not computed"), f"nullif({name}, 0) / 100.0 AS {name}"
    if name.startswith("max_strike_"):
        when = _ago(name)
        return Column(
            name, _USD, f"strike of the largest change of gamma, {when}"
        ), f"nullif({name}, 0) / 100.0 AS {name}"
    if name.startswith("max_change_"):
        meaning = f"that change, {_ago(name)}; {_CLIPPED}"
        return Column(name, "vendor", meaning), f"{sql_in_units(name, name)} AS {name}"
    if name in _SUMS:
        meaning = {
            "sum_gex_vol": "net gamma over all strikes by volume",
            "sum_gex_oi": "net gamma over all strikes by open interest",
            "delta_risk_reversal": "the vendor's delta risk reversal (vestigial)",
        }[name]
        return Column(name, "vendor", f"{meaning}; {_CLIPPED}"), f"{sql_in_units(name, name)} AS {name}"
    stem, expiry = name, "today's expiry"
    if name.startswith("one_"):
        stem, expiry = name.removeprefix("one_"), "the next expiry"
    elif name[1:] in _FLOWS:
        stem, expiry = name[1:], "today's expiry" if name[0] == "z" else "the next expiry"
    return Column(name, "vendor", f"{_FLOWS[stem]}; {expiry}"), f"{name} / 100.0 AS {name}"


def _ago(name: str) -> str:
    minutes = name.rpartition("_")[2]
    return "now" if minutes == "0" else f"over {minutes} min"


def _vendor_view(name: str, base: str, row: str, scalars: tuple[str, ...]) -> View:
    made = [_scalar(scalar) for scalar in scalars]
    sql = f"SELECT {_HEAD_SQL}, {', '.join(item for _, item in made)} FROM {base}"
    return View(name, "market", row, (*_HEAD, *(column for column, _ in made)), sql, (base,))


_SHAPES = ("base_gex", "base_greek", "base_orderflow")
_ROWS = View(
    "rows",
    "market",
    "the row of a hub, ticker and category of a bucket: what was there first, or what came late where nothing was",
    _HEAD,
    " UNION ALL ".join(f"SELECT {_HEAD_SQL} FROM {base}" for base in _SHAPES),
    _SHAPES,
)
_ALL_ROWS = View(
    "all_rows",
    "market",
    "one stored row as in `rows`, with those that came late for a bucket that had theirs already",
    _HEAD,
    " UNION ALL ".join(f"SELECT {_HEAD_SQL} FROM {base}_all" for base in _SHAPES),
    _SHAPES,
)
_PROFILE_HEAD = "session, bucket AS bucket_utc, ny(bucket) AS bucket_ny, hub, ticker, category, store_n"
_PRIORS_GEX = ", ".join(f"unnest(prior_{n}) / 100.0 AS prior_{n}" for n in range(5))
_PRIORS_GREEK = ", ".join(
    [f"unnest(prior_{n}) / 100.0 AS prior_{n}" for n in range(3)] + [f"NULL::DOUBLE AS prior_{n}" for n in (3, 4)]
)
_PROFILE = View(
    "profile",
    "market",
    "one strike of a stored row: the gamma or greek profile of a bucket",
    (
        _SESSION,
        *_BUCKET,
        _HEAD[3],
        _TICKER,
        _HEAD[5],
        _HEAD[12],
        _HEAD[14],
        Column("strike", _USD, "the strike"),
        Column("gex_vol", "vendor", "gamma by volume (categories with `_gex_`)"),
        Column("gex_oi", "vendor", "gamma by open interest (categories with `_gex_`)"),
        Column("call_iv", "per year", "implied volatility of the call (0.12 = 12 %; categories of greeks)"),
        Column("put_iv", "per year", "implied volatility of the put (categories of greeks)"),
        Column("exposure", "vendor", "the category's greek (categories of greeks)"),
        *(
            Column(
                f"prior_{n}",
                "vendor",
                "the profile's value before; 0 is the most recent of"
                f" {'five (1, 5, 10, 15, 30 min ago) or three' if n < 3 else 'five'}",
            )
            for n in range(5)
        ),
    ),
    f"SELECT {_PROFILE_HEAD}, nullif(spot, 0) / 100.0 AS spot, unnest(strikes) / 100.0 AS strike,"
    " unnest(gex_vol) / 100.0 AS gex_vol, unnest(gex_oi) / 100.0 AS gex_oi, NULL::DOUBLE AS call_iv,"
    f" NULL::DOUBLE AS put_iv, NULL::DOUBLE AS exposure, {_PRIORS_GEX} FROM base_gex UNION ALL"
    f" SELECT {_PROFILE_HEAD}, nullif(spot, 0) / 100.0, unnest(strikes) / 100.0, NULL, NULL,"
    f" unnest(list_transform(call_ivol, lambda x: {sql_in_units('x', 'call_ivol')})),"
    f" unnest(list_transform(put_ivol, lambda x: {sql_in_units('x', 'put_ivol')})),"
    f" unnest(exposure) / 100.0, {_PRIORS_GREEK} FROM"
    " base_greek",
    ("base_gex", "base_greek"),
)
_BARS = View(
    "bars",
    "market",
    "one minute of a ticker and source: made from the spots that came with the rows, told by a provider, or imported",
    (
        _SESSION,
        _TICKER,
        *_at("minute", "start of the minute"),
        Column("open", _USD, "first spot"),
        Column("high", _USD, "highest spot"),
        Column("low", _USD, "lowest spot"),
        Column("close", _USD, "last spot"),
        Column("ticks", "", "different instants at which a spot was told; `NULL`: imported, or told as a bar"),
        Column("volume", "", "traded in the minute; `NULL`: not told, an index has none"),
        Column("source", "", "`spots`, the hub that told the bar, or where an imported one comes from"),
    ),
    "SELECT session, ticker, date_trunc('minute', instant) AS minute_utc, ny(date_trunc('minute', instant)) AS"
    " minute_ny,"
    " arg_min(spot, instant) / 100.0 AS open, max(spot) / 100.0 AS high, min(spot) / 100.0 AS low,"
    " arg_max(spot, instant) / 100.0 AS close, count(DISTINCT instant) AS ticks, NULL::BIGINT AS volume,"
    " 'spots' AS source FROM ("
    + " UNION ALL ".join(f"SELECT session, ticker, instant, spot FROM {base} WHERE spot > 0" for base in _SHAPES)
    + f") GROUP BY ALL UNION ALL SELECT session, ticker, {_ns('begin_utc', 'minute')}, open / 100.0, high / 100.0,"
    " low / 100.0, close / 100.0, NULL, volume, source FROM base_bars"
    " QUALIFY row_number() OVER (PARTITION BY ticker, begin_utc, source ORDER BY at_utc DESC) = 1",
    (*_SHAPES, "base_bars"),
)


def _longer(name: str, minutes: int, text: str) -> View:
    """Return the view of longer bars, counted from the opening of their session (9:30)."""
    past = "date_diff('minute', session + INTERVAL 570 MINUTE, minute_ny)"
    over = f"to_minutes(({past} - {minutes} * floor({past} / {minutes}))::BIGINT)"
    return View(
        name,
        "market",
        f"{text} of a ticker and source, made of its minutes and counted from the opening",
        (
            _SESSION,
            _TICKER,
            *_at("begin", "start of the bar"),
            Column("open", _USD, "of its first minute"),
            Column("high", _USD, "of its minutes"),
            Column("low", _USD, "of its minutes"),
            Column("close", _USD, "of its last minute so far"),
            Column("minutes", "", "minutes that it is made of"),
            Column("volume", "", "traded in them; `NULL`: not told, an index has none"),
            Column("source", "", "as in `bars`"),
        ),
        f"SELECT session, ticker, minute_utc - {over} AS begin_utc, minute_ny - {over} AS begin_ny,"
        " arg_min(open, minute_utc) AS open, max(high) AS high, min(low) AS low, arg_max(close, minute_utc) AS close,"
        " count(*) AS minutes, sum(volume)::BIGINT AS volume, source FROM bars GROUP BY ALL",
        ("bars",),
    )


_IMPORTED_ALERTS = View(
    "imported_alerts",
    "signals",
    "one alert of a system before, as it was imported",
    (
        _SESSION,
        *_at("at", "when"),
        Column("ticker", "", "its ticker"),
        Column("kind", "", "its kind, in that system's words"),
        Column("direction", "", "in that system's words"),
        Column("price", _USD, "price then"),
        Column("outcome", "", "in that system's words"),
        Column("more", "JSON", "its other columns"),
    ),
    f"SELECT session, {_ns('at_utc', 'at')}, ticker, kind, direction, price, outcome, more FROM base_foreign_alerts",
    ("base_foreign_alerts",),
)
_IMPORTED_TRADES = View(
    "imported_trades",
    "trades",
    "one trade of a system before, as it was imported",
    (
        _SESSION,
        *_at("at", "when it was opened"),
        *_at("closed", "when it was closed; `NULL`: not told"),
        Column("ticker", "", "its ticker"),
        Column("contract", "", "in that system's words"),
        Column("side", "", "in that system's words"),
        Column("qty", "contracts", "how many"),
        Column("entry_price", _USD, "price of the entry"),
        Column("exit_price", _USD, "price of the exit"),
        Column("pnl", _USD, "result"),
        Column("more", "JSON", "its other columns"),
    ),
    f"SELECT session, {_ns('at_utc', 'at')}, {_ns('closed_utc', 'closed')}, ticker, contract, side, qty, entry_price,"
    " exit_price, pnl, more FROM base_foreign_trades",
    ("base_foreign_trades",),
)
_DAILY = View(
    "daily",
    "market",
    "one finished day of a ticker and category (gamma alone): what stays when its rows have left for the archive",
    (
        _SESSION,
        _TICKER,
        Column("category", "", "the vendor's group without its ticker"),
        Column("rows", "", "rows of the day"),
        Column("low", _USD, "lowest spot"),
        Column("high", _USD, "highest spot"),
        Column("close", _USD, "last spot"),
        Column("net_gamma_mean", "vendor", "mean of net gamma by volume"),
        Column("net_gamma_min", "vendor", "its least"),
        Column("net_gamma_max", "vendor", "its greatest"),
    ),
    "SELECT session, ticker, category, rows, low, high, close, net_gamma_mean, net_gamma_min, net_gamma_max FROM"
    " base_daily",
    ("base_daily",),
)
_GAPS = View(
    "gaps",
    "market",
    "an interval of whole buckets in which a group was expected and its stream brought nothing",
    (
        _SESSION,
        Column("hub", "", "the hub"),
        Column("ticker", "", "the ticker; `NULL`: of a file that cannot be read"),
        Column("category", "", "the category; `NULL`: of a file that cannot be read"),
        *_at("from", "start of the first bucket"),
        *_at("to", "end of the last bucket"),
        Column("buckets", "", "how many buckets"),
        Column("rows", "", "how many rows are missing; 0 where something else brought them"),
        Column(
            "why",
            "",
            "the cause: `silent`, `disconnected`, `supervisor down`, `hub port silent`, `not stored`,"
            " `cannot be stored`, `log damaged`, `not_polled`, `damaged: ...`",
        ),
        Column(
            "cover",
            "",
            "what brought rows in the stream's stead: `rest`, or `late` after the bucket; empty: nothing did",
        ),
        Column("kind", "", "what became of the rows: `missing`, `covered`, or `not_polled` (missing as well)"),
        Column("of_rows", "", "how many rows the interval has, missing or covered"),
    ),
    f"SELECT session, hub, ticker, category, {_ns('from_utc', 'from')}, {_ns('to_utc', 'to')}, buckets, rows, why,"
    " cover, kind, of_rows FROM base_gaps",
    ("base_gaps",),
)

# -- what the broker quotes ------------------------------------------------------------------------

_QUOTED = (
    _SESSION,
    *_at("at", "when it was looked at"),
    _TICKER,
    Column("con_id", "", "the broker's number of the contract; `NULL`: imported"),
    Column("trading_class", "", "the trading class (`SPXW`)"),
    Column("expiry", "date", "its expiry"),
    Column("strike", _USD, "its strike"),
    Column("right", "", "`C` or `P`"),
    Column("bid", _USD, "best bid; `NULL`: none told, 0: nobody bids"),
    Column("ask", _USD, "best offer; `NULL`: none told"),
    Column("mid", _USD, "between both; `NULL` unless both are there"),
    Column("bid_size", "contracts", "at the bid; 0: not told"),
    Column("ask_size", "contracts", "at the offer; 0: not told"),
    *_at("quote", "last tick of bid or ask"),
    Column("iv", "per year", "the broker's implied volatility"),
    Column("delta", "", "per unit of the underlying"),
    Column("gamma", "per USD", "change of delta"),
    Column("theta", "USD a day", "loss of value with time"),
    Column("vega", _USD, "change of value with volatility"),
    Column("volume", "contracts", "traded today; `NULL`: not told"),
    Column("open_interest", "contracts", "of yesterday; `NULL`: not told"),
    Column("spot", _USD, "price of the underlying then"),
    Column("is_live", "", "whether the broker said that the prices are live"),
    Column("mode", "", "`live` or `import`"),
)
_QUOTED_SQL = (
    f"SELECT session, {_ns('at_utc', 'at')}, ticker, con_id, trading_class, expiry::DATE AS expiry,"
    ' strike / 100.0 AS strike, "right", bid / 100.0 AS bid, ask / 100.0 AS ask, if(bid > 0, (bid + ask) / 200.0,'
    f" NULL) AS mid, bid_size, ask_size, {_ns('quote_utc', 'quote')}, iv, delta, gamma, theta, vega, volume,"
    " open_interest, spot / 100.0 AS spot, data_type = 1 AS is_live, mode FROM "
)
_QUOTES = View(
    "quotes",
    "market",
    "the best bid and offer of one watched contract (held, pending or asked for), every few seconds while it changes",
    _QUOTED,
    f"{_QUOTED_SQL} base_quotes",
    ("base_quotes",),
)
_CHAINS = View(
    "chains",
    "market",
    "one contract of the band around the money, at the start and every few minutes",
    _QUOTED,
    f"{_QUOTED_SQL} base_chains",
    ("base_chains",),
)
_UNDERLYINGS = View(
    "underlyings",
    "market",
    "the last price of one underlying as the broker quotes it, indices included, every few seconds while it changes",
    (
        _SESSION,
        *_at("at", "when it was looked at"),
        _TICKER,
        Column("price", _USD, "the last price"),
        *_at("tick", "when the broker told it"),
        Column("is_live", "", "whether the broker said that it is live"),
        Column("mode", "", "`live` or `import`"),
    ),
    f"SELECT session, {_ns('at_utc', 'at')}, ticker, price / 100.0 AS price, {_ns('tick_utc', 'tick')},"
    " data_type = 1 AS is_live, mode FROM base_underlyings",
    ("base_underlyings",),
)

# -- readings --------------------------------------------------------------------------------------

_READING_HEAD = (_SESSION, _TICKER, *_BUCKET)
_READING_SQL = f"session, ticker, {_ns('bucket_utc', 'bucket')}"
_READINGS = View(
    "readings",
    "signals",
    "one reading: what the features of a ticker and bucket were computed from",
    (
        *_READING_HEAD,
        Column("reading_n", "", "number of the reading in its session"),
        Column("spot", _USD, "spot of the reading; `NULL`: none"),
        Column("zero_gamma", _USD, "zero gamma of `classic_gex_zero`; `NULL`: not computed"),
        Column("alignment", "-1 to 1", "agreement of the forces; `NULL`: fewer than three of confidence 0.5"),
        Column("is_complete", "", "whether every hub was done in time"),
        Column("missing", "", "list of the categories that were silent"),
        Column("run_n", "", "the supervisor's start that computed it"),
    ),
    f"SELECT {_READING_SQL}, reading_n, spot / 100.0 AS spot, zero_gamma / 100.0 AS zero_gamma, alignment, is_complete,"
    " missing, run_n FROM base_readings",
    ("base_readings",),
)
_FEATURES = View(
    "features",
    "signals",
    "the features of one reading",
    (
        *_READING_HEAD,
        *(Column(f.name, f.unit, f"{f.formula}; {f.missing}") for f in FEATURES),
    ),
    f"SELECT {_READING_SQL}, "
    + ", ".join(f"features[{n + 1}] AS {f.name}" for n, f in enumerate(FEATURES))
    + " FROM base_readings",
    ("base_readings",),
)
_FORCES = View(
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
_TRACE = View(
    "trace",
    "operations",
    "one message that an actor or a port took from its mailbox",
    (
        _SESSION,
        Column("run_n", "", "the supervisor's start"),
        Column("seq", "", "number in the run"),
        *_at("at", "when it was taken"),
        Column("recipient", "", "who took it"),
        Column("sender", "", "who sent it"),
        Column("type", "", "its type (`orders.SubmitOrder`)"),
        Column("cause_seq", "", "the message whose handling sent it"),
        Column("wait_ms", "ms", "how long it waited in the mailbox"),
        Column("incarnation", "", "which start of the actor took it"),
        Column("message", "JSON", "what it says (instants ns UTC, prices 1/100 USD, money cents)"),
    ),
    "SELECT regexp_extract(filename, '(\\d{4}-\\d{2}-\\d{2})[/\\\\][^/\\\\]*$', 1)::DATE AS session,"
    " regexp_extract(filename, 'run-(\\d+)', 1)::BIGINT AS run_n, seq, "
    f'{_ns("at_utc", "at")}, "to" AS recipient, "from" AS sender, message->>\'type\' AS type, cause_seq,'
    " (at_utc - sent_utc) / 1e6 AS wait_ms, incarnation, message FROM base_trace WHERE kind = 'envelope'",
    ("base_trace",),
)

# -- the ledgers -----------------------------------------------------------------------------------

_DESK = Column("desk", "", "the desk")
_ALERT_ID = Column("alert_id", "", "session-source-ticker-bucket-kind-version")
_INTENT = Column("intent_id", "", "the intent: what an accepted attempt reserved")
_STRATEGY = Column("strategy", "", "the strategy")
_SOURCE = Column("source", "", "who found it (`gexwatch`, `advisor`)")
_KIND = Column("kind", "", "kind of alert (`GAMMA_FLIP`)")
_VERSION = Column("version", "", "version of the evaluator")
_CONTRACT = (
    Column("con_id", "", "the broker's number of the contract"),
    Column("expiry", "", "its expiry, YYYYMMDD"),
    Column("strike", _USD, "its strike"),
    Column("right", "", "`C` or `P`"),
)
_CONTRACT_SQL = 'r.expiry, r.strike_ticks / 100.0 AS strike, r."right"'
_RESERVED = "LEFT JOIN base_reservations r ON r.desk = o.desk AND r.intent_id = o.intent_id AND r.leg = o.leg"
_ALERTS = View(
    "alerts",
    "signals",
    "one alert that was found and recorded",
    (
        _ALERT_ID,
        _SESSION,
        _SOURCE,
        _TICKER,
        _KIND,
        _VERSION,
        Column("is_shadow", "", "it may not trade"),
        *_BUCKET,
        Column("direction", "", "+1 up, -1 down"),
        Column("entry", _USD, "spot when it was found"),
        Column("target", _USD, "where it is right"),
        Column("stop", _USD, "where it is wrong"),
        Column("horizon_s", "s", "how long it may take"),
        Column("alignment", "-1 to 1", "agreement of the forces then"),
        Column("forces", "JSON", "the five forces then"),
        Column("features", "JSON", "the features then, in the registry's order"),
        Column("thresholds", "JSON", "what it was compared with"),
        Column("pushes", "JSON", "which feature pushed which force how far: force, feature, its value, the push"),
        Column("feed_mode", "", "how its rows came; `NULL`: not told"),
        *_at("raised", "when it was found"),
    ),
    "SELECT alert_id, session::DATE AS session, source, ticker, kind, version, is_shadow <> 0 AS is_shadow,"
    f" {_ns('bucket_utc', 'bucket')}, direction, entry_ticks / 100.0 AS entry, target_ticks / 100.0 AS target,"
    " stop_ticks / 100.0 AS stop, horizon_ms / 1000.0 AS horizon_s, alignment, forces, features, thresholds, pushes,"
    f" feed_mode, {_ns('raised_utc', 'raised')} FROM base_alerts",
    ("base_alerts",),
)
_OUTCOMES = View(
    "outcomes",
    "signals",
    "what became of one alert, followed reading by reading to its horizon",
    (
        _ALERT_ID,
        _SESSION,
        _SOURCE,
        _TICKER,
        _KIND,
        _VERSION,
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
        *_at("end", "end of the last reading that counts"),
    ),
    "SELECT o.alert_id, a.session::DATE AS session, a.source, a.ticker, a.kind, a.version, a.is_shadow <> 0 AS"
    " is_shadow, a.direction, o.state, o.first, o.mfe_bps, o.mae_bps, o.mfe_stops, o.mae_stops,"
    " o.target_ms / 1000.0 AS target_s, o.stop_ms / 1000.0 AS stop_s, o.path_bps,"
    f" {_ns('o.end_utc', 'end')} FROM base_outcomes o JOIN base_alerts a USING (alert_id)",
    ("base_outcomes", "base_alerts"),
)
_ATTEMPTS = View(
    "attempts",
    "trades",
    "one attempt to trade an alert: how the entry gates decided",
    (
        Column("n", "", "number in the desk's gate log"),
        _DESK,
        _SESSION,
        _ALERT_ID,
        _INTENT,
        _SOURCE,
        _STRATEGY,
        _TICKER,
        _KIND,
        _VERSION,
        Column("is_shadow", "", "the shadow check refused it"),
        *_BUCKET,
        *_at("decided", "when it was decided"),
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
    f" is_shadow <> 0 AS is_shadow, {_ns('bucket_utc', 'bucket')}, {_ns('decided_utc', 'decided')},"
    " coalesce(code, amended_code) IS NULL AS is_accepted, coalesce(code, amended_code) AS code, gate, measured,"
    " limit_value, unit, looked_at, amended_words FROM base_gate_log",
    ("base_gate_log",),
)
_VERDICT = (
    '[{"gate":"VARCHAR","finding":{"outcome":"VARCHAR","code":"VARCHAR","measured":"DOUBLE","limit":"DOUBLE",'
    '"unit":"VARCHAR","looked_at":"VARCHAR"}}]'
)
_GATES = View(
    "gates",
    "trades",
    "what one gate found in one attempt",
    (
        Column("attempt_n", "", "the attempt (`attempts.n`)"),
        _DESK,
        _SESSION,
        _ALERT_ID,
        _STRATEGY,
        _TICKER,
        *_at("decided", "when it was decided"),
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
    f" {_ns('decided_utc', 'decided')},"
    " verdict_n, v.gate AS gate, v.finding.outcome AS outcome, v.finding.code AS code, v.finding.measured AS measured,"
    ' v.finding."limit" AS limit_value, v.finding.unit AS unit, v.finding.looked_at AS looked_at FROM ('
    f"SELECT *, unnest(from_json(verdicts, '{_VERDICT}')) AS v,"
    " unnest(range(1, json_array_length(verdicts)::BIGINT + 1)) AS verdict_n FROM (SELECT * EXCLUDE (gate, code,"
    " measured, limit_value, unit, looked_at) FROM base_gate_log))",
    ("base_gate_log",),
)
_ORDERS = View(
    "orders",
    "trades",
    "one order as it stands now",
    (
        Column("order_ref", "", "our reference, also at the broker"),
        _DESK,
        _SESSION,
        _INTENT,
        _ALERT_ID,
        _STRATEGY,
        _TICKER,
        *_CONTRACT,
        Column("is_exit", "", "it closes"),
        Column("side", "", "`BUY` or `SELL`"),
        Column("qty", "contracts", "how many"),
        Column("limit_price", _USD, "last limit; `NULL`: a market order, or the broker never told one"),
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
        *_at("intended", "when it was recorded"),
        *_at("changed", "last change"),
    ),
    "SELECT o.order_ref, o.desk, r.session::DATE AS session, o.intent_id, r.alert_id, r.strategy, r.ticker,"
    f" o.con_id, {_CONTRACT_SQL},"
    " o.is_exit <> 0 AS is_exit, o.side, o.qty, o.limit_ticks / 100.0 AS limit_price, o.status, o.changed_by,"
    " o.exit_reason, o.tier,"
    f" o.perm_id, o.is_adopted <> 0 AS is_adopted, {_ns('o.at_utc', 'intended')}, {_ns('o.changed_utc', 'changed')}"
    f" FROM base_orders o {_RESERVED}",
    ("base_orders", "base_reservations"),
)
_ORDER_EVENTS = View(
    "order_events",
    "trades",
    "one thing that happened to an order, in order",
    (
        Column("n", "", "number in the desk's ledger"),
        _DESK,
        Column("order_ref", "", "the order"),
        *_at("at", "when"),
        Column("event", "", "the new status, `changed`, `fill`, `correction`, `adopted`"),
        Column("qty", "contracts", "of the order or the fill"),
        Column("order_type", "", "`LMT` or `MKT`"),
        Column("price", _USD, "limit, or price of the fill"),
        Column("words", "", "why: exit reason, execution id, the broker's words, or how its position ended"),
        Column("by", "", "who: `desk`, `broker`, `read-back` (asked for) or `ledger`"),
    ),
    f"SELECT n, desk, order_ref, {_ns('at_utc', 'at')}, event, qty, order_type, price_ticks / 100.0 AS price, words,"
    ' "by" FROM base_order_events',
    ("base_order_events",),
)
_FILLS_SQL = (
    "FROM base_executions e LEFT JOIN base_orders o ON o.desk = e.desk AND o.order_ref = e.order_ref"
    f" {_RESERVED} LEFT JOIN (SELECT desk, exec_id, arg_max(commission_cents, revision) AS cents FROM base_commissions"
    " GROUP BY ALL) c ON c.desk = e.desk AND c.exec_id = e.exec_id WHERE e.is_current <> 0"
)
_FILLS = View(
    "fills",
    "trades",
    "one execution in force",
    (
        Column("exec_id", "", "the broker's number"),
        Column("revision", "", "above 1: corrected by the broker"),
        _DESK,
        _SESSION,
        Column("order_ref", "", "the order"),
        _INTENT,
        _ALERT_ID,
        _STRATEGY,
        _TICKER,
        *_CONTRACT,
        Column("is_exit", "", "it closed; `NULL`: not of our orders"),
        Column("side", "", "`BUY` or `SELL`"),
        Column("qty", "contracts", "how many"),
        Column("price", _USD, "per unit of the underlying"),
        Column("fee", _USD, "commission; `NULL`: not told yet"),
        Column("cash", _USD, "what it brought (+) or cost (-) before fees; `NULL`: the multiplier is not known"),
        Column("mid", _USD, "mid that the gates saw before an entry"),
        Column("slippage", _USD, "price against that mid, per unit, positive: against us; `NULL` for exits"),
        *_at("at", "when"),
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
    f" {_ns('e.at_utc', 'at')}, e.is_foreign <> 0 AS is_foreign, e.is_adopted <> 0 AS is_adopted,"
    f" e.is_time_uncertain <> 0 AS is_time_uncertain {_FILLS_SQL}",
    ("base_executions", "base_orders", "base_reservations", "base_commissions"),
)
_POSITIONS = View(
    "positions",
    "trades",
    "one position, open or closed",
    (
        Column("position_id", "", "the position"),
        _DESK,
        _SESSION,
        _INTENT,
        _ALERT_ID,
        _SOURCE,
        _STRATEGY,
        _TICKER,
        _KIND,
        *_CONTRACT,
        Column("direction", "", "+1 up, -1 down"),
        Column("state", "", "state of its life cycle"),
        Column("qty", "contracts", "how many were opened"),
        Column("entry_spot", _USD, "spot at the entry"),
        Column("entry_iv", "per year", "implied volatility at the entry"),
        *_at("opened", "first fill; `NULL`: never filled"),
        *_at("closed", "when it ended; `NULL`: it is open"),
        Column("pnl", _USD, "realised, after fees"),
        Column("fees", _USD, "fees in it"),
        Column("exit_reason", "", "why it was closed"),
        Column("end", "", "how it ended"),
    ),
    "SELECT p.position_id, p.desk, p.session::DATE AS session, p.intent_id, p.alert_id, p.source, p.strategy,"
    " p.ticker, p.kind,"
    f" p.con_id, {_CONTRACT_SQL}, p.direction, p.state, p.opened_qty AS qty, p.entry_spot_ticks / 100.0 AS"
    " entry_spot, p.entry_iv,"
    f" {_ns('p.opened_utc', 'opened')}, {_ns('p.closed_utc', 'closed')}, p.realised_cents / 100.0 AS pnl,"
    ' p.fees_cents / 100.0 AS fees, p.exit_reason, p."end" FROM base_positions p LEFT JOIN base_reservations r'
    " ON r.desk = p.desk AND r.intent_id = p.intent_id AND r.con_id = p.con_id",
    ("base_positions", "base_reservations"),
)
_DAYS = View(
    "days",
    "trades",
    "one day of a desk",
    (
        _SESSION,
        _DESK,
        Column("locked_why", "", "why entries were locked for the day"),
        *_at("locked", "since when"),
        Column("start_nav", _USD, "net liquidation at the start"),
        Column("trades", "", "structures closed; `NULL`: the day is not over"),
        Column("wins", "", "with a gain"),
        Column("losses", "", "with a loss"),
        Column("pnl", _USD, "realised, after fees"),
        Column("fees", _USD, "fees in it"),
        Column("drawdown", _USD, "largest fall of the day's P&L"),
        *_at("settled", "when the day was summed up"),
    ),
    f"SELECT session::DATE AS session, desk, locked_why, {_ns('locked_utc', 'locked')}, start_nav_cents / 100.0 AS"
    " start_nav,"
    " trades, wins, losses, realised_cents / 100.0 AS pnl, fees_cents / 100.0 AS fees, drawdown_cents / 100.0 AS"
    " drawdown,"
    f" {_ns('settled_utc', 'settled')} FROM base_day",
    ("base_day",),
)
_KILLS = View(
    "kills",
    "operations",
    "one change of the kill level",
    (
        Column("kill_epoch", "", "number of the change"),
        Column("level", "", "0 trade, 1 no entries, 2 flatten"),
        Column("reason", "", "why"),
        Column("by", "", "who"),
        *_at("at", "when"),
    ),
    f'SELECT kill_epoch, level, reason, "by", {_ns("at_utc", "at")} FROM base_kill',
    ("base_kill",),
)
_MODES = View(
    "modes",
    "operations",
    "one change of the order session's mode",
    (
        _SESSION,
        *_at("at", "since when"),
        Column("mode", "", "`DATA_ONLY`, `DEGRADED` (the broker was lost), `WARMUP` or `FULLY_LIVE`"),
        Column("cause", "", "what brought it there"),
        Column("session_epoch", "", "number of the broker's session"),
        Column("run_n", "", "number of the supervisor's start"),
    ),
    f"SELECT session, {_ns('at_utc', 'at')}, mode, cause, session_epoch, run_n FROM base_modes",
    ("base_modes",),
)
_COMMANDS = View(
    "commands",
    "operations",
    "one command of a person",
    (
        Column("command_id", "", "its number"),
        Column("name", "", "what was asked"),
        Column("by", "", "who"),
        Column("reason", "", "why"),
        Column("outcome", "", "what became of it"),
        *_at("at", "when"),
    ),
    f'SELECT command_id, name, "by", reason, outcome, {_ns("at_utc", "at")} FROM base_commands',
    ("base_commands",),
)

# -- names of the systems before -------------------------------------------------------------------


def _plain(name: str, unit: str = "", meaning: str = "") -> Column:
    return Column(name, unit, meaning or name.replace("_", " "))


_TRADES = View(
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
        _plain("entry_credit", _USD, "what the entry brought: negative, a debit"),
        _plain("exit_debit", _USD, "what the exit cost: negative, a credit"),
        _plain("final_pnl", _USD, "after fees; `NULL`: open"),
        _plain("fees", _USD),
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
_DAILY_SUMMARY = View(
    "daily_summary",
    "compatibility",
    "one day of a desk, as the spread system named it",
    (
        _plain("date", "date", "exchange date"),
        _plain("total_trades"),
        _plain("winning_trades"),
        _plain("losing_trades"),
        _plain("total_pnl", _USD, "after fees"),
        _plain("fees", _USD),
        _plain("max_drawdown", _USD),
        _plain("start_nav", _USD),
    ),
    "SELECT session AS date, trades AS total_trades, wins AS winning_trades, losses AS losing_trades, pnl AS"
    " total_pnl, fees,"
    " drawdown AS max_drawdown, start_nav FROM days",
    ("days",),
)
_SYSTEM_STATE = View(
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
_GEX_EXECUTION_LOG = View(
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
        _plain("pnl", _USD, "after fees"),
    ),
    "SELECT a.decided_ny AS timestamp, a.alert_id, a.ticker AS symbol, a.kind AS alert_type, a.strategy, if(NOT"
    " a.is_accepted, 'REJECTED',"
    " if(p.qty > 0, 'EXECUTED', 'ACCEPTED')) AS decision, a.code AS reject_reason, a.measured, a.limit_value,"
    " a.unit, p.qty AS quantity, p.pnl"
    " FROM attempts a LEFT JOIN positions p ON p.desk = a.desk AND p.intent_id = a.intent_id",
    ("attempts", "positions"),
)
_ALERT_LOG = View(
    "alert_log",
    "compatibility",
    "one alert, as the gamma system logged it",
    (
        _plain("id", "", "the alert"),
        _plain("timestamp", "New York", "when it was found"),
        _plain("ticker"),
        _plain("alert_type", "", "kind of alert"),
        _plain("direction", "", "`BULLISH` or `BEARISH`"),
        _plain("price", _USD, "spot then"),
        _plain("target", _USD),
        _plain("stop", _USD),
        _plain("is_shadow"),
    ),
    "SELECT alert_id AS id, raised_ny AS timestamp, ticker, kind AS alert_type, if(direction > 0, 'BULLISH',"
    " 'BEARISH') AS direction,"
    " entry AS price, target, stop, is_shadow FROM alerts",
    ("alerts",),
)

ALL = (
    _READINGS,
    _FEATURES,
    _FORCES,
    _ALERTS,
    _OUTCOMES,
    _IMPORTED_ALERTS,
    _ROWS,
    _ALL_ROWS,
    _vendor_view("gex", "base_gex", "one stored row of gamma (`classic_gex_*`, `state_gex_*`)", GEX_SCALARS),
    _vendor_view("greeks", "base_greek", "one stored row of a greek (`state_gamma_zero` ...)", GREEK_SCALARS),
    _vendor_view("orderflow", "base_orderflow", "one stored row of orderflow", ORDERFLOW_SCALARS),
    _PROFILE,
    _BARS,
    _longer("bars_5m", 5, "five minutes"),
    _longer("bars_1h", 60, "one hour"),
    _QUOTES,
    _CHAINS,
    _UNDERLYINGS,
    _DAILY,
    _GAPS,
    _ATTEMPTS,
    _GATES,
    _ORDERS,
    _ORDER_EVENTS,
    _FILLS,
    _POSITIONS,
    _DAYS,
    _IMPORTED_TRADES,
    _TRACE,
    _KILLS,
    _MODES,
    _COMMANDS,
    _TRADES,
    _DAILY_SUMMARY,
    _SYSTEM_STATE,
    _GEX_EXECUTION_LOG,
    _ALERT_LOG,
)
VIEWS = {view.name: view for view in ALL}
GROUPS = {
    "signals": "What was read and found",
    "market": "Market data",
    "trades": "Gates, orders and money",
    "operations": "The system itself",
    "compatibility": "Names of the systems before",
}
