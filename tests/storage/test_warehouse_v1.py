"""A warehouse written by version 0.1.0: read bit for bit, written on, sealed together with new buckets."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from domain.instants import BUCKET_NS
from domain.options.profile import Rows
from storage import manifest
from storage.plain_names import plain_name
from storage.views.database import Database
from storage.warehouse_reader import WarehouseReader
from tests.testkit import bucket_rows as make
from tests.testkit.paths import DATA
from tests.testkit.warehouse_days import opened, sealed, store

HUBS = {"classic": 3, "state_gex": 2, "state_greeks_zero": 4, "state_greeks_one": 3, "orderflow": 1}
FIRST = make.T0 - 2 * BUCKET_NS  # the silent bucket of 09:59:00


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(DATA / "warehouse_v1", tmp_path, dirs_exist_ok=True)
    return tmp_path


def found(root: Path) -> dict[tuple[str, int], Rows]:
    """Every stored bucket; the reader compares each with the hash that version 0.1.0 wrote."""
    reader = WarehouseReader(root)
    buckets: dict[tuple[str, int], Rows] = {}
    for hub, stored in reader.manifest(make.DAY).buckets.items():
        for bucket in stored:
            rows = reader.read_bucket(make.DAY, hub, bucket.bucket_utc)
            assert rows is not None
            buckets[hub, bucket.bucket_utc] = rows
    return buckets


def test_every_bucket_comes_back_with_the_hash_it_was_stored_with(root: Path) -> None:
    counted = {key: len(rows.rows) for key, rows in found(root).items()}
    for hub, rows_n in HUBS.items():
        assert [counted[hub, FIRST + n * BUCKET_NS] for n in range(5)] == [
            0, rows_n, rows_n, rows_n, 0 if hub == "classic" else rows_n,
        ]  # fmt: skip
    gaps = WarehouseReader(root).gaps(make.DAY)
    assert {gap.why for gap in gaps} == {"silent"}
    assert len(gaps) == sum(HUBS.values()) + HUBS["classic"]


def test_the_new_writer_goes_on_where_the_old_one_stopped(root: Path) -> None:
    before = found(root)
    warehouse = opened(root)
    folder = manifest.folder_of(root, make.DAY)
    named = {part.name for part in manifest.load(root, make.DAY).parts}
    assert {path.name for path in folder.iterdir() if path.is_file()} == named | {manifest.FILE}, (
        "replaced files are gone"
    )
    fresh = make.bucket(5)
    store(warehouse, fresh)
    sealed(warehouse, session=make.DAY)
    after = found(root)
    assert after.pop(("classic", fresh.bucket_utc)) == fresh.rows
    assert after == before
    assert [part.is_sealed for part in manifest.load(root, make.DAY).parts] == [True] * len(HUBS)


def test_its_views_are_in_units(root: Path) -> None:
    db = WarehouseReader(root).views([make.DAY])
    counts = [db.execute(f"SELECT count(*) FROM {view}").fetchone() for view in ("gex", "greeks", "orderflow")]
    assert counts == [(17,), (28,), (4,)]
    spot = db.execute("SELECT min(spot), max(spot) FROM gex WHERE ticker = 'SPX'").fetchone()
    assert spot is not None
    assert 5_900 < spot[0] <= spot[1] < 6_100


def test_a_file_that_lacks_a_column_of_today_is_read_and_sealed_with_it_empty(tmp_path: Path) -> None:
    warehouse = opened(tmp_path / "warehouse")
    store(warehouse, make.bucket(0), make.bucket(1))
    sealed(warehouse)
    folder = manifest.folder_of(tmp_path / "warehouse", make.DAY)
    base = manifest.load_base(tmp_path / "warehouse", make.DAY)
    (part,) = base.parts
    pq.write_table(pq.ParquetFile(folder / part.name).read().drop_columns(["zero_gamma"]), folder / part.name)
    (folder / plain_name(part)).unlink()
    older = msgspec.structs.replace(base, parts=(msgspec.structs.replace(part, columns_n=0),))
    warehouse.close()
    manifest.swap(tmp_path / "warehouse", older)
    warehouse = opened(tmp_path / "warehouse")
    store(warehouse, make.bucket(2))
    assert_column_is_null_where_unknown(tmp_path)
    sealed(warehouse, session=make.DAY)
    assert_column_is_null_where_unknown(tmp_path)


def assert_column_is_null_where_unknown(data: Path) -> None:
    """Of three buckets, the first two were stored without the column."""
    db = Database(data)
    where = "ticker = 'SPX' AND category = 'classic_gex_zero'"
    found = db.rows(f"SELECT count(*) AS rows, count(zero_gamma) AS known FROM gex WHERE {where}")
    assert found == [{"rows": 3, "known": 1}]
    series = db.warehouse.series(make.DAY, "SPX", "classic_gex_zero", ("zero_gamma", "sum_gex_vol"))
    assert (series.num_rows, series["zero_gamma"].null_count, series["sum_gex_vol"].null_count) == (3, 2, 0)
