"""Rows for the warehouse tests: plausible profiles, drawn from a seed."""

from __future__ import annotations

from datetime import date

import numpy as np

from domain.instants import BUCKET_NS, SECOND, session_of
from domain.options.profile import PRIORS, SCALARS, VALUE_COLUMNS, Profile, Row, Rows, shape_of
from messages import market

DAY = date(2026, 11, 20)
T0 = 1_795_186_800 * SECOND  # 2026-11-20 10:00 New York


def row(
    ticker: str = "SPX", category: str = "classic_gex_zero", bucket_utc: int = T0, *, hub: str = "classic",
    strikes_n: int = 20, seed: int = 0, mode: str = "live",
) -> Row:  # fmt: skip
    """One row whose identities hold."""
    shape = shape_of(category)
    random = np.random.default_rng([seed, bucket_utc // BUCKET_NS, sum(map(ord, ticker + category))])
    n = strikes_n if VALUE_COLUMNS[shape] else 0
    strikes = (590_000 + 500 * np.arange(n)).astype(np.int32)
    values = random.integers(-50_000, 50_000, (n, len(VALUE_COLUMNS[shape]))).astype(np.int32)
    priors = random.integers(-50_000, 50_000, (n, PRIORS[shape])).astype(np.int32)
    scalars = {name: int(random.integers(-900_000, 900_000)) for name in SCALARS[shape]}
    if "sum_gex_vol" in scalars:
        scalars["sum_gex_vol"] = 10 * int(values[:, 0].sum())
        scalars["sum_gex_oi"] = 10 * int(values[:, 1].sum())
    for name in ("agg_dex", "one_agg_dex", "net_dex", "one_net_dex"):
        if name in scalars:
            stem, kind = ("one_", name[4:7]) if name.startswith("one_") else ("", name[:3])
            scalars[name] = scalars[f"{stem}{kind}_call_dex"] + scalars[f"{stem}{kind}_put_dex"]
    profile = Profile(
        ticker, category, bucket_utc + 29 * SECOND, 600_000, tuple(scalars.values()), strikes, values, priors
    )
    return Row(profile, hub, 20, bucket_utc + SECOND // 3, bucket_utc + 29 * SECOND, mode, 137, 4_711)


def bucket(
    n: int = 0, hub: str = "classic", categories: tuple[str, ...] = ("classic_gex_zero", "classic_gex_full"),
    tickers: tuple[str, ...] = ("SPX", "QQQ"), *, absent: tuple[tuple[str, str], ...] = (), strikes_n: int = 20,
    seed: int = 0,
) -> market.StoreBucket:  # fmt: skip
    """The `n`-th bucket after 10:00 of a hub."""
    bucket_utc = T0 + n * BUCKET_NS
    rows = tuple(
        row(ticker, category, bucket_utc, hub=hub, strikes_n=strikes_n, seed=seed)
        for ticker in tickers
        for category in categories
        if (ticker, category) not in absent
    )
    return market.StoreBucket(
        hub=hub, bucket_utc=bucket_utc, rows=Rows(f"{session_of(bucket_utc)}/{hub}/{bucket_utc}", rows), absent=absent,
        why_absent="silent", counts=market.FrameCounts(accepted=20 * len(rows), late=1, refused=(("bad_zstd", 2),)),
    )  # fmt: skip
