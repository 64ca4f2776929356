"""Views of prices: bars, quotes of watched contracts, chains around the money, underlyings."""

from __future__ import annotations

from storage.views.columns import SESSION, SHAPES, TICKER, USD, Column, View, clocks, instant

BARS = View(
    "bars",
    "market",
    "one minute of a ticker and source: made from the spots that came with the rows, told by a provider, or imported",
    (
        SESSION,
        TICKER,
        *instant("minute", "start of the minute"),
        Column("open", USD, "first spot"),
        Column("high", USD, "highest spot"),
        Column("low", USD, "lowest spot"),
        Column("close", USD, "last spot"),
        Column("ticks", "", "different instants at which a spot was told; `NULL`: imported, or told as a bar"),
        Column("volume", "", "traded in the minute; `NULL`: not told, an index has none"),
        Column("source", "", "`spots`, the hub that told the bar, or where an imported one comes from"),
    ),
    "SELECT session, ticker, date_trunc('minute', instant) AS minute_utc, ny(date_trunc('minute', instant)) AS"
    " minute_ny,"
    " arg_min(spot, instant) / 100.0 AS open, max(spot) / 100.0 AS high, min(spot) / 100.0 AS low,"
    " arg_max(spot, instant) / 100.0 AS close, count(DISTINCT instant) AS ticks, NULL::BIGINT AS volume,"
    " 'spots' AS source FROM ("
    + " UNION ALL ".join(f"SELECT session, ticker, instant, spot FROM {base} WHERE spot > 0" for base in SHAPES)
    + f") GROUP BY ALL UNION ALL SELECT session, ticker, {clocks('begin_utc', 'minute')}, open / 100.0, high / 100.0,"
    " low / 100.0, close / 100.0, NULL, volume, source FROM base_bars"
    " QUALIFY row_number() OVER (PARTITION BY ticker, begin_utc, source ORDER BY at_utc DESC) = 1",
    (*SHAPES, "base_bars"),
)


def longer_bars(name: str, minutes: int, text: str) -> View:
    """Return the view of longer bars, counted from the opening of their session (9:30)."""
    past = "date_diff('minute', session + INTERVAL 570 MINUTE, minute_ny)"
    over = f"to_minutes(({past} - {minutes} * floor({past} / {minutes}))::BIGINT)"
    return View(
        name,
        "market",
        f"{text} of a ticker and source, made of its minutes and counted from the opening",
        (
            SESSION,
            TICKER,
            *instant("begin", "start of the bar"),
            Column("open", USD, "of its first minute"),
            Column("high", USD, "of its minutes"),
            Column("low", USD, "of its minutes"),
            Column("close", USD, "of its last minute so far"),
            Column("minutes", "", "minutes that it is made of"),
            Column("volume", "", "traded in them; `NULL`: not told, an index has none"),
            Column("source", "", "as in `bars`"),
        ),
        f"SELECT session, ticker, minute_utc - {over} AS begin_utc, minute_ny - {over} AS begin_ny,"
        " arg_min(open, minute_utc) AS open, max(high) AS high, min(low) AS low, arg_max(close, minute_utc) AS close,"
        " count(*) AS minutes, sum(volume)::BIGINT AS volume, source FROM bars GROUP BY ALL",
        ("bars",),
    )


_QUOTED = (
    SESSION,
    *instant("at", "when it was looked at"),
    TICKER,
    Column("con_id", "", "the broker's number of the contract; `NULL`: imported"),
    Column("trading_class", "", "the trading class (`SPXW`)"),
    Column("expiry", "date", "its expiry"),
    Column("strike", USD, "its strike"),
    Column("right", "", "`C` or `P`"),
    Column("bid", USD, "best bid; `NULL`: none told, 0: nobody bids"),
    Column("ask", USD, "best offer; `NULL`: none told"),
    Column("mid", USD, "between both; `NULL` unless both are there"),
    Column("bid_size", "contracts", "at the bid; 0: not told"),
    Column("ask_size", "contracts", "at the offer; 0: not told"),
    *instant("quote", "last tick of bid or ask"),
    Column("iv", "per year", "the broker's implied volatility"),
    Column("delta", "", "per unit of the underlying"),
    Column("gamma", "per USD", "change of delta"),
    Column("theta", "USD a day", "loss of value with time"),
    Column("vega", USD, "change of value with volatility"),
    Column("volume", "contracts", "traded today; `NULL`: not told"),
    Column("open_interest", "contracts", "of yesterday; `NULL`: not told"),
    Column("spot", USD, "price of the underlying then"),
    Column("is_live", "", "whether the broker said that the prices are live"),
    Column("mode", "", "`live` or `import`"),
)
_QUOTED_SQL = (
    f"SELECT session, {clocks('at_utc', 'at')}, ticker, con_id, trading_class, expiry::DATE AS expiry,"
    ' strike / 100.0 AS strike, "right", bid / 100.0 AS bid, ask / 100.0 AS ask, if(bid > 0, (bid + ask) / 200.0,'
    f" NULL) AS mid, bid_size, ask_size, {clocks('quote_utc', 'quote')}, iv, delta, gamma, theta, vega, volume,"
    " open_interest, spot / 100.0 AS spot, data_type = 1 AS is_live, mode FROM "
)
QUOTES = View(
    "quotes",
    "market",
    "the best bid and offer of one watched contract (held, pending or asked for), every few seconds while it changes",
    _QUOTED,
    f"{_QUOTED_SQL} base_quotes",
    ("base_quotes",),
)
CHAINS = View(
    "chains",
    "market",
    "one contract of the band around the money, at the start and every few minutes",
    _QUOTED,
    f"{_QUOTED_SQL} base_chains",
    ("base_chains",),
)
UNDERLYINGS = View(
    "underlyings",
    "market",
    "the last price of one underlying as the broker quotes it, indices included, every few seconds while it changes",
    (
        SESSION,
        *instant("at", "when it was looked at"),
        TICKER,
        Column("price", USD, "the last price"),
        *instant("tick", "when the broker told it"),
        Column("is_live", "", "whether the broker said that it is live"),
        Column("mode", "", "`live` or `import`"),
    ),
    f"SELECT session, {clocks('at_utc', 'at')}, ticker, price / 100.0 AS price, {clocks('tick_utc', 'tick')},"
    " data_type = 1 AS is_live, mode FROM base_underlyings",
    ("base_underlyings",),
)
DERIVED = View(
    "derived",
    "market",
    "one derived series of a symbol (gap, regime of the hour, rotation, volatility terms) as lanes were told it, every"
    " quarter of an hour once ten sessions are stored",
    (
        SESSION,
        *instant("told", "when it was told: what readings that ended later saw"),
        *instant("at", "up to when bars were used"),
        Column("symbol", "", "what it is about"),
        Column("series", "", "its name; a condition asks for `symbol.series`"),
        Column("value", "", "a share, a ratio or a flag; `NULL`: it is a word"),
        Column("text", "", "the word of a regime; `NULL`: it is a number"),
    ),
    f"SELECT session, {clocks('told_utc', 'told')}, {clocks('at_utc', 'at')}, symbol, name AS series, value, text"
    " FROM base_derived",
    ("base_derived",),
)
