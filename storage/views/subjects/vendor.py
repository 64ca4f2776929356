"""Views of the vendor's rows: what was stored, its levels, strikes and gaps, and what stays of a day for ever."""

from __future__ import annotations

from storage.scales import sql_in_units
from storage.views.columns import BUCKET, SESSION, SHAPES, TICKER, USD, Column, View, clocks, instant

_HEAD = (
    SESSION,
    *BUCKET,
    Column("hub", "", "the hub that it came from"),
    TICKER,
    Column("category", "", "the vendor's group without its ticker (`classic_gex_zero`)"),
    Column("mode", "", "how it came: `live`, `rest`, `import`, `simulated`, or `late` (after its bucket was closed)"),
    *instant("last", "when its last frame was told"),
    Column("frames", "", "frames of the bucket; the last one is the row"),
    Column("latency_ms", "ms", "from the frame's own time to its arrival"),
    Column("sequence", "", "number of the last frame on its connection"),
    Column("store_n", "", "0, or how often rows of the same hub and bucket were stored before"),
    Column("row_n", "", "number of the row in its stored bucket"),
    Column("spot", USD, "price of the underlying; `NULL` where the vendor sent none"),
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
        return Column(name, USD, f"{_LEVELS[name]}; `NULL`: not computed"), f"nullif({name}, 0) / 100.0 AS {name}"
    if name.startswith("max_strike_"):
        when = _ago(name)
        return Column(
            name, USD, f"strike of the largest change of gamma, {when}"
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


def vendor_view(name: str, base: str, row: str, scalars: tuple[str, ...]) -> View:
    """Return the view of the rows of one shape with its scalars."""
    made = [_scalar(scalar) for scalar in scalars]
    sql = f"SELECT {_HEAD_SQL}, {', '.join(item for _, item in made)} FROM {base}"
    return View(name, "market", row, (*_HEAD, *(column for column, _ in made)), sql, (base,))


ROWS = View(
    "rows",
    "market",
    "the row of a hub, ticker and category of a bucket: what was there first, or what came late where nothing was",
    _HEAD,
    " UNION ALL ".join(f"SELECT {_HEAD_SQL} FROM {base}" for base in SHAPES),
    SHAPES,
)
ALL_ROWS = View(
    "all_rows",
    "market",
    "one stored row as in `rows`, with those that came late for a bucket that had theirs already",
    _HEAD,
    " UNION ALL ".join(f"SELECT {_HEAD_SQL} FROM {base}_all" for base in SHAPES),
    SHAPES,
)
_PROFILE_HEAD = "session, bucket AS bucket_utc, ny(bucket) AS bucket_ny, hub, ticker, category, store_n"
_PRIORS_GEX = ", ".join(f"unnest(prior_{n}) / 100.0 AS prior_{n}" for n in range(5))
_PRIORS_GREEK = ", ".join(
    [f"unnest(prior_{n}) / 100.0 AS prior_{n}" for n in range(3)] + [f"NULL::DOUBLE AS prior_{n}" for n in (3, 4)]
)
PROFILE = View(
    "profile",
    "market",
    "one strike of a stored row: the gamma or greek profile of a bucket",
    (
        SESSION,
        *BUCKET,
        _HEAD[3],
        TICKER,
        _HEAD[5],
        _HEAD[12],
        _HEAD[14],
        Column("strike", USD, "the strike"),
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
DAILY = View(
    "daily",
    "market",
    "one finished day of a ticker and category (gamma alone): what stays when its rows have left for the archive",
    (
        SESSION,
        TICKER,
        Column("category", "", "the vendor's group without its ticker"),
        Column("rows", "", "rows of the day"),
        Column("low", USD, "lowest spot"),
        Column("high", USD, "highest spot"),
        Column("close", USD, "last spot"),
        Column("net_gamma_mean", "vendor", "mean of net gamma by volume"),
        Column("net_gamma_min", "vendor", "its least"),
        Column("net_gamma_max", "vendor", "its greatest"),
    ),
    "SELECT session, ticker, category, rows, low, high, close, net_gamma_mean, net_gamma_min, net_gamma_max FROM"
    " base_daily",
    ("base_daily",),
)
GAPS = View(
    "gaps",
    "market",
    "an interval of whole buckets in which a group was expected and its stream brought nothing",
    (
        SESSION,
        Column("hub", "", "the hub"),
        Column("ticker", "", "the ticker; `NULL`: of a file that cannot be read"),
        Column("category", "", "the category; `NULL`: of a file that cannot be read"),
        *instant("from", "start of the first bucket"),
        *instant("to", "end of the last bucket"),
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
    f"SELECT session, hub, ticker, category, {clocks('from_utc', 'from')}, {clocks('to_utc', 'to')}, buckets, rows,"
    " why, cover, kind, of_rows FROM base_gaps",
    ("base_gaps",),
)
