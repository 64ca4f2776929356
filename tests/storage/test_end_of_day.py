"""The end of a day: what its hubs lack up to the close is on record, whoever was killed when."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.instants import BUCKET_NS
from domain.market.silence import WhySilent
from storage import manifest
from storage.gap_totals import totals_of
from storage.warehouse import Warehouse
from storage.warehouse_reader import WarehouseReader
from tests.testkit import bucket_rows as make
from tests.testkit.warehouse_days import HUBS, opened, sealed, store

LAST_N = 719  # the bucket of 15:59:30
MONDAY_N = LAST_N + 3 * 24 * 120


def stored(root: Path, *numbers: int) -> Warehouse:
    warehouse = opened(root)
    for n in numbers:
        store(warehouse, *(make.bucket(n, hub, categories) for hub, categories in HUBS.items()))
    return warehouse


def gaps(root: Path) -> dict[str, set[tuple[str, str, int, str]]]:
    """Return of each hub its gaps as (ticker, category, buckets, why)."""
    found: dict[str, set[tuple[str, str, int, str]]] = {}
    for gap in WarehouseReader(root).gaps(make.DAY):
        row = gap.ticker, gap.category, (gap.to_utc - gap.from_utc) // BUCKET_NS, gap.why
        found.setdefault(gap.hub, set()).add(row)
    return found


def expected(buckets_n: int) -> dict[str, set[tuple[str, str, int, str]]]:
    why = WhySilent.SUPERVISOR_DOWN.value
    return {hub: {(t, c, buckets_n, why) for t in ("SPX", "QQQ") for c in cs} for hub, cs in HUBS.items()}


@pytest.mark.parametrize("lacking", [1, 2, 5])
def test_what_no_supervisor_stored_before_the_close_is_a_gap_of_each_row_once(tmp_path: Path, lacking: int) -> None:
    stored(tmp_path, LAST_N - lacking).close()
    warehouse = opened(tmp_path)
    warehouse.end_day(make.DAY)
    assert gaps(tmp_path) == expected(lacking)
    warehouse.end_day(make.DAY)
    sealed(warehouse, session=make.DAY)
    warehouse.end_day(make.DAY)
    assert gaps(tmp_path) == expected(lacking)
    assert manifest.load(tmp_path, make.DAY).is_whole


def test_a_day_that_was_stored_to_its_last_bucket_lacks_nothing(tmp_path: Path) -> None:
    warehouse = stored(tmp_path, LAST_N)
    warehouse.end_day(make.DAY)
    assert gaps(tmp_path) == {}


def test_a_day_that_nobody_ended_is_ended_when_a_later_one_has_begun(tmp_path: Path) -> None:
    stored(tmp_path, LAST_N - 3).close()
    warehouse = stored(tmp_path, MONDAY_N)
    assert gaps(tmp_path) == {}
    sealed(warehouse)
    assert gaps(tmp_path) == expected(3)


def test_a_day_of_which_nothing_was_stored_is_no_gap(tmp_path: Path) -> None:
    warehouse = opened(tmp_path)
    warehouse.end_day(make.DAY)
    assert manifest.sessions_in(tmp_path) == ()


def test_rows_that_come_after_a_clock_that_ran_ahead_had_ended_the_day_are_missing_no_longer(tmp_path: Path) -> None:
    warehouse = stored(tmp_path, LAST_N - 4)
    warehouse.end_day(make.DAY)  # the clock said 16:00
    sealed(warehouse, session=make.DAY)
    assert gaps(tmp_path) == expected(4)
    warehouse.close()
    warehouse = stored(tmp_path, LAST_N - 3, LAST_N - 2)  # it was set right, and the supervisor started again
    found = manifest.load(tmp_path, make.DAY)
    rows_n = sum(part.rows for part in found.parts)
    pairs_n = sum(2 * len(categories) for categories in HUBS.values())
    totals = totals_of((found,))
    assert (totals.missing_n, totals.covered_n) == (2 * pairs_n, 2 * pairs_n)
    assert rows_n == 3 * pairs_n, "rows stored and rows missing are the five buckets"
    warehouse.end_day(make.DAY)
    assert totals_of((manifest.load(tmp_path, make.DAY),)) == totals
