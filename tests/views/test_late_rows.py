"""Rows that come after their bucket was closed: one row a fact in the views, and gaps that say who filled them."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from domain.instants import BUCKET_NS
from domain.options.profile import IngestMode, Rows
from messages import market
from storage.gap_totals import totals_of
from storage.views.database import Database
from storage.warehouse_reader import WarehouseReader
from tests.testkit import bucket_rows as make
from tests.testkit.warehouse_days import HUBS, opened, sealed, store

HUB, CATEGORIES = "classic", HUBS["classic"]


def late(bucket: market.StoreBucket, *categories: str) -> market.StoreBucket:
    """Return rows of a bucket as they come when it is closed."""
    rows = tuple(
        replace(row, mode=IngestMode.LATE, frames=row.frames + 7)
        for row in bucket.rows.rows
        if row.profile.category in categories
    )
    return replace(bucket, rows=Rows(f"{bucket.rows.ref}/late", rows), absent=())


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_bucket_whose_rows_came_again_late_has_one_row_a_fact_and_all_of_them_in_all_rows(
    tmp_path: Path, *, is_sealed: bool
) -> None:
    root = tmp_path / "warehouse"
    warehouse = opened(root)
    whole, half = make.bucket(0, HUB, CATEGORIES), make.bucket(1, HUB, CATEGORIES[:1])
    store(warehouse, whole, half)
    store(warehouse, *(late(make.bucket(n, HUB, CATEGORIES, seed=9), *CATEGORIES) for n in range(2)))
    if is_sealed:
        sealed(warehouse)
    warehouse.close()
    db = Database(tmp_path)
    found = db.rows("SELECT category, mode, count(*) AS n FROM rows GROUP BY ALL ORDER BY ALL")
    assert [tuple(row.values()) for row in found] == [
        ("classic_gex_full", "late", 2), ("classic_gex_full", "live", 2), ("classic_gex_zero", "live", 4)
    ]  # fmt: skip
    assert db.rows("SELECT count(*) AS n FROM all_rows") == [{"n": 14}]
    keys = "hub, ticker, category, bucket_utc"
    assert not db.rows(f"SELECT {keys} FROM profile GROUP BY {keys}, strike HAVING count(*) > 1")


def test_a_gap_whose_rows_came_late_says_so_and_counts_as_covered(tmp_path: Path) -> None:
    root = tmp_path / "warehouse"
    warehouse = opened(root)
    rows = make.bucket(0, HUB, CATEGORIES).rows.rows
    ticker = rows[0].profile.ticker
    silent = [
        replace(make.bucket(n, HUB, ()), absent=((ticker, CATEGORIES[0]),)) for n in range(3)
    ]  # fmt: skip
    store(warehouse, *silent)
    middle = late(make.bucket(1, HUB, CATEGORIES[:1]), CATEGORIES[0])
    kept = tuple(row for row in middle.rows.rows if row.profile.ticker == ticker)
    store(warehouse, replace(middle, rows=Rows(middle.rows.ref, kept)))
    warehouse.close()
    first_utc = silent[0].bucket_utc
    gaps = Database(tmp_path).rows("SELECT buckets, rows, cover, kind FROM gaps ORDER BY from_utc")
    assert gaps == [
        {"buckets": 1, "rows": 1, "cover": "", "kind": "missing"},
        {"buckets": 1, "rows": 0, "cover": "late", "kind": "covered"},
        {"buckets": 1, "rows": 1, "cover": "", "kind": "missing"},
    ]
    totals = totals_of([WarehouseReader(root).manifest(make.DAY)])
    assert (totals.missing_n, totals.covered_n) == (2, 1)
    warehouse = opened(root)
    store(warehouse, replace(make.bucket(3, HUB, ()), absent=((ticker, CATEGORIES[0]),)))
    warehouse.close()
    last = WarehouseReader(root).manifest(make.DAY).gaps[-1]
    assert (last.from_utc, last.to_utc) == (first_utc + 2 * BUCKET_NS, first_utc + 4 * BUCKET_NS), "it goes on growing"
