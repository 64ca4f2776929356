"""A synthetic day of the vendor's rows for the storage benchmark: 39 tickers × 13 categories, 110 to 190 strikes.

By strike, volume is accumulated flow under a bell around spot, open interest a constant under the same bell, and priors
are volume 1, 5, 10, 15 and 30 minutes ago: the entropy that the reference's storage figures were measured with.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from datetime import time as clock_time
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from domain.instants import BUCKET_NS, SECOND, at_exchange
from domain.options.profile import PRIORS, SCALARS, VALUE_COLUMNS, Profile, Row, Rows, Shape, shape_of
from domain.units import Ticks, Utc
from messages import market
from storage import bucket_file

SESSION: Final = date(2026, 11, 20)
FIRST_UTC: Final = at_exchange(SESSION, clock_time(9))
BUCKETS: Final = 960
TICKERS: Final = tuple(f"T{n:02d}" for n in range(39))
HUBS: Final = {
    "classic": ("classic_gex_full", "classic_gex_zero", "classic_gex_one"),
    "state_gex": ("state_gex_zero", "state_gex_one"),
    "state_greeks_zero": ("state_delta_zero", "state_gamma_zero", "state_vanna_zero", "state_charm_zero"),
    "state_greeks_one": ("state_gamma_one", "state_vanna_one", "state_charm_one"),
    "orderflow": ("orderflow_orderflow",),
}
ROWS_A_BUCKET: Final = len(TICKERS) * sum(len(categories) for categories in HUBS.values())
_LAGS: Final = (2, 10, 20, 30, 60)

Ints = NDArray[np.int32]


class Group(NamedTuple):
    """A group over some buckets: (buckets,) spots, (buckets, n) scalars, (buckets, strikes, n) columns."""

    spots: Ints
    scalars: Ints
    strikes: Ints
    values: Ints
    priors: Ints


def group(ticker: str, category: str, buckets_n: int) -> Group:
    """Return a group's rows, the same for the same arguments."""
    shape = shape_of(category)
    rng = np.random.default_rng(sum(map(ord, ticker)) * 1_000 + sum(map(ord, category)))
    strikes_n = int(rng.integers(110, 191)) if VALUE_COLUMNS[shape] else 0
    spots = (600_000 + np.cumsum(rng.normal(0, 60, buckets_n))).astype(np.int32)
    scalars = np.cumsum(rng.normal(0, 300, (buckets_n, len(SCALARS[shape]))), axis=0).astype(np.int32) + 90_000
    strikes = (600_000 + 500 * (np.arange(strikes_n) - strikes_n // 2)).astype(np.int32)
    away = (strikes[None, :] - spots[:, None]) / 8_000.0
    weight = np.exp(-0.5 * away * away)
    flow = np.cumsum(rng.normal(0, 400, (buckets_n, strikes_n)) * (rng.random((buckets_n, strikes_n)) < 0.4), axis=0)
    volume = (flow * weight).astype(np.int32)
    static = (rng.normal(0, 20_000, strikes_n)[None, :] * weight).astype(np.int32)
    columns = [volume, static, (static + volume) // 3][: len(VALUE_COLUMNS[shape])]
    at = np.arange(buckets_n)
    priors = [volume[np.maximum(at - lag, 0)] for lag in _LAGS[: PRIORS[shape]]]
    return Group(spots, scalars, strikes, _stack(columns, volume), _stack(priors, volume))


def _stack(columns: list[Ints], like: Ints) -> Ints:
    return np.stack(columns, axis=2) if columns else np.empty((*like.shape, 0), np.int32)


def batches(buckets_n: int, first: int = 0) -> Iterator[tuple[market.StoreBucket, ...]]:
    """Yield what the hubs hand to the warehouse, bucket by bucket from the `first` on."""
    groups = {(t, c): group(t, c, buckets_n) for t in TICKERS for categories in HUBS.values() for c in categories}
    for k in range(buckets_n):
        bucket_utc = FIRST_UTC + (first + k) * BUCKET_NS
        yield tuple(_batch(groups, hub, categories, k, bucket_utc) for hub, categories in HUBS.items())


def _batch(
    groups: dict[tuple[str, str], Group], hub: str, categories: tuple[str, ...], k: int, bucket_utc: Utc
) -> market.StoreBucket:
    rows = []
    for ticker in TICKERS:
        for category in categories:
            found = groups[ticker, category]
            profile = Profile(
                ticker, category, bucket_utc + 29 * SECOND, Ticks(int(found.spots[k])),
                tuple(map(int, found.scalars[k])), found.strikes, found.values[k], found.priors[k],
            )  # fmt: skip
            rows.append(Row(profile, hub, 30, bucket_utc, bucket_utc + 29 * SECOND, "simulated", 137, k))
    return market.StoreBucket(
        hub=hub, bucket_utc=bucket_utc, rows=Rows(f"{SESSION}/{hub}/{bucket_utc}", tuple(rows)), absent=(),
        why_absent="", counts=market.FrameCounts(accepted=30 * len(rows)),
    )  # fmt: skip


def sealed_tables(hub: str, session: date, buckets_n: int, *, has_strikes: bool = True) -> Iterator[pa.Table]:
    """Yield a day of a hub ticker by ticker, sorted as a seal sorts; without strikes the lists are empty."""
    shape = shape_of(HUBS[hub][0])
    for ticker in TICKERS:
        pieces = [
            _table(shape, hub, ticker, category, session, buckets_n, has_strikes=has_strikes) for category in HUBS[hub]
        ]
        yield pa.concat_tables(pieces).sort_by([(key, "ascending") for key in bucket_file.SORT])


def _table(
    shape: Shape, hub: str, ticker: str, category: str, session: date, buckets_n: int, *, has_strikes: bool
) -> pa.Table:
    found = group(ticker, category, buckets_n)
    n = buckets_n
    utcs = at_exchange(session, clock_time(9)) + np.arange(n, dtype=np.int64) * BUCKET_NS
    last = utcs + 29 * SECOND
    columns: dict[str, Any] = {
        "instant": last // 1_000, "bucket": utcs // 1_000, "session": [session] * n, "hub": [hub] * n,
        "category": [category] * n, "ticker": [ticker] * n, "mode": ["simulated"] * n,
        "latency_ms": np.full(n, 137), "sequence": np.arange(n), "frames": np.full(n, 30), "store_n": np.zeros(n),
        "row_n": np.zeros(n), "bucket_utc": utcs, "source_utc": last, "first_utc": utcs, "last_utc": last,
        "spot": found.spots,
    }  # fmt: skip
    columns |= {name: found.scalars[:, k] for k, name in enumerate(SCALARS[shape])}
    lists: dict[str, Ints] = {"strikes": np.broadcast_to(found.strikes, (n, len(found.strikes)))}
    lists |= {name: found.values[:, :, k] for k, name in enumerate(VALUE_COLUMNS[shape])}
    lists |= {f"prior_{k}": found.priors[:, :, k] for k in range(PRIORS[shape])}
    for name, block in lists.items():
        kept = block if has_strikes else block[:, :0]
        offsets = np.arange(n + 1, dtype=np.int32) * kept.shape[1]
        columns[name] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(kept).reshape(-1)))
    schema = bucket_file.schema_of(shape)
    return pa.table([_column(columns[f.name], f.type) for f in schema], schema=schema)


def _column(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, np.ndarray) and not pa.types.is_timestamp(kind):
        return pa.array(values).cast(kind)
    return pa.array(values, kind)
