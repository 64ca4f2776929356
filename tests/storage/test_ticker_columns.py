"""What a reader keeps of a day's files between two questions never changes what it says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from domain.instants import BUCKET_NS
from domain.options.profile import Shape
from storage import bucket_file, manifest
from storage.ticker_columns import TickerColumns
from storage.warehouse import Warehouse
from storage.warehouse_reader import WarehouseReader
from tests.testkit import bucket_rows as make
from tests.testkit.warehouse_days import HUBS, opened, sealed, store

ASKED = [(ticker, category) for ticker in ("SPX", "QQQ") for category in ("classic_gex_zero", "classic_gex_full")]


def said(reader: WarehouseReader, session: date = make.DAY) -> list[list[dict[str, Any]]]:
    """Return the series and heatmaps of a day."""
    found: list[pa.Table] = []
    for ticker, category in ASKED:
        found.append(reader.series(session, ticker, category, ("zero_gamma", "sum_gex_vol")))
        found.append(reader.heatmap(session, ticker, category, "gex_vol"))
        found.append(reader.profiles(session, ticker, category, "gex_oi", make.T0 + BUCKET_NS))
    return [table.to_pylist() for table in found]


def stores(n: int, seed: int = 0) -> Callable[[Warehouse], object]:
    """Return the step that stores a bucket of every hub."""
    return lambda warehouse: store(warehouse, *(make.bucket(n, hub, c, seed=seed) for hub, c in HUBS.items()))


def seals_whole(warehouse: Warehouse) -> None:
    """Seal the day."""
    sealed(warehouse, session=make.DAY)


@pytest.mark.slow
def test_a_reader_that_lives_through_a_day_says_what_a_new_one_says(tmp_path: Path) -> None:
    warehouse, reader, forgetful = opened(tmp_path), WarehouseReader(tmp_path), WarehouseReader(tmp_path)
    forgetful._columns = TickerColumns(hot_bytes_max=0)
    steps = (
        stores(0), stores(1), stores(1, seed=3), sealed, stores(2), stores(3), stores(0, seed=4), sealed, stores(4),
        seals_whole, stores(5), stores(5, seed=6), seals_whole,
    )  # fmt: skip
    buckets = (1, 2, 2, 2, 3, 4, 4, 4, 5, 5, 6, 6, 6)
    for step, buckets_n in zip(steps, buckets, strict=True):
        step(warehouse)
        found = said(reader)
        assert found == said(forgetful) == said(WarehouseReader(tmp_path))
        assert {len(rows) for rows in found} == {buckets_n, buckets_n - 1}
    again = make.row("SPX", "classic_gex_zero", make.T0, seed=4).profile
    assert found[0][0]["sum_gex_vol"] == again.scalar("sum_gex_vol") / 1000, "the last store of a bucket counts"


@pytest.mark.slow
def test_a_sealed_file_that_was_put_back_differently_is_read_anew(tmp_path: Path) -> None:
    """A restore, or a day imported again, may bring another file of a name."""
    roots = tmp_path / "one", tmp_path / "other"
    for seed, root in enumerate(roots):
        warehouse = opened(root)
        stores(0, seed)(warehouse)
        if seed:
            stores(1, seed)(warehouse)
        seals_whole(warehouse)
    reader = WarehouseReader(roots[0])
    before = said(reader)
    for path in manifest.folder_of(roots[1], make.DAY).iterdir():
        if path.is_file():
            path.replace(manifest.folder_of(roots[0], make.DAY) / path.name)
    assert said(reader) == said(WarehouseReader(roots[0])) != before


def test_a_column_that_an_earlier_version_did_not_know_is_null_in_a_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse, reader = opened(tmp_path), WarehouseReader(tmp_path)
    write = bucket_file.write_table

    def as_before(table: pa.Table, shape: Shape, path: Path) -> None:
        write(table.select([name for name in table.column_names if name != "zero_gamma"]), shape, path)

    with monkeypatch.context() as patched:
        patched.setattr(bucket_file, "write_table", as_before)
        stores(0)(warehouse)
    stores(1)(warehouse)
    series = reader.series(make.DAY, "SPX", "classic_gex_zero", ("zero_gamma",)).to_pylist()
    assert [row["zero_gamma"] is None for row in series] == [True, False]
