"""A later version of the columns: what an earlier one wrote is read with the hash it had, sealed and written on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.instants import BUCKET_NS
from domain.options import profile
from domain.options.profile import Rows, Shape
from storage import bucket_file, manifest
from storage.warehouse import Warehouse
from storage.warehouse_reader import WarehouseReader
from tests.testkit import bucket_rows as make
from tests.testkit.warehouse_days import HUBS, opened, sealed, store, stored_day

Buckets = dict[tuple[str, int], Rows]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Add a scalar, a value by strike and a prior, each behind the others, when `add` is called."""
    yield monkeypatch
    monkeypatch.undo()
    bucket_file.schema_of.cache_clear()


def add_columns(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(profile.SCALARS, Shape.GEX, (*profile.SCALARS[Shape.GEX], "skew"))
    patch.setitem(profile.VALUE_COLUMNS, Shape.GEX, (*profile.VALUE_COLUMNS[Shape.GEX], "gex_dealer"))
    patch.setitem(profile.PRIORS, Shape.GEX, profile.PRIORS[Shape.GEX] + 1)
    patch.setattr(bucket_file, "COLUMNS", bucket_file.COLUMNS + 1)
    bucket_file.schema_of.cache_clear()


def found(root: Path) -> Buckets:
    """Return every stored bucket; the reader compares each with its hash."""
    reader, buckets = WarehouseReader(root), Buckets()
    for hub, stored in reader.manifest(make.DAY).buckets.items():
        for bucket in stored:
            rows = reader.read_bucket(make.DAY, hub, bucket.bucket_utc)
            assert rows is not None
            buckets[hub, bucket.bucket_utc] = rows
    return buckets


def prepared(root: Path, how: str) -> Warehouse:
    warehouse = stored_day(root, 2)
    if how != "hot":
        sealed(warehouse, **({"session": make.DAY} if how == "whole" else {}))
    return warehouse


@pytest.mark.parametrize("how", ["hot", "sealed", "whole"])
def test_buckets_of_before_a_column_was_added_are_read_written_on_and_sealed(
    tmp_path: Path, later: pytest.MonkeyPatch, how: str
) -> None:
    prepared(tmp_path, how).close()
    before = found(tmp_path)
    add_columns(later)
    assert found(tmp_path) == before
    warehouse = opened(tmp_path)
    assert warehouse.take_findings() == ()
    newer = [make.bucket(2, hub, categories) for hub, categories in HUBS.items()]
    store(warehouse, *newer)
    whole = before | {(message.hub, message.bucket_utc): message.rows for message in newer}
    assert found(tmp_path) == whole
    sealed_here(warehouse)
    assert found(tmp_path) == whole
    rows = WarehouseReader(tmp_path).last_rows(make.DAY, "SPX", make.T0 + 3 * BUCKET_NS)
    scalars_n = {len(row.profile.scalars) for _, bucket in rows for row in bucket if row.profile.shape is Shape.GEX}
    assert scalars_n == {len(profile.SCALARS[Shape.GEX]) - 1, len(profile.SCALARS[Shape.GEX])}


def sealed_here(warehouse: Warehouse) -> None:
    """Seal the day whole in this process, which knows the columns that were added."""
    from tests.storage.test_warehouse_kills import SealHere  # noqa: PLC0415 - it patches nothing by itself

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.warehouse.SealChild", SealHere)
        assert warehouse.start_seal(make.DAY)
        assert warehouse.poll_seal() == ""


def test_a_series_over_both_versions_is_null_where_the_column_was_not_known(
    tmp_path: Path, later: pytest.MonkeyPatch
) -> None:
    prepared(tmp_path, "sealed").close()
    add_columns(later)
    warehouse = opened(tmp_path)
    store(warehouse, make.bucket(2))
    table = WarehouseReader(tmp_path).series(make.DAY, "SPX", "classic_gex_zero", ("zero_gamma", "skew"))
    assert table.num_rows == 3
    assert (table["zero_gamma"].null_count, table["skew"].null_count) == (0, 2)


@pytest.mark.parametrize("how", ["hot", "sealed", "whole"])
def test_a_lost_manifest_is_made_anew_from_files_of_both_versions(
    tmp_path: Path, later: pytest.MonkeyPatch, how: str
) -> None:
    prepared(tmp_path, how).close()
    before = found(tmp_path)
    add_columns(later)
    warehouse = opened(tmp_path)
    store(warehouse, make.bucket(2))
    warehouse.close()
    (manifest.folder_of(tmp_path, make.DAY) / manifest.FILE).unlink()
    again = opened(tmp_path)
    assert "was made anew" in " ".join(again.take_findings())
    whole = before | {("classic", make.bucket(2).bucket_utc): make.bucket(2).rows}
    assert found(tmp_path) == whole
