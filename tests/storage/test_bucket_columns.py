"""What the log keeps of a bucket: columns that no row can spoil, and bodies of before, which are read on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from domain.options.profile import Profile, Row, Rows, Shape
from storage import bucket_file, manifest
from storage.bucket_columns import MAGIC, columns_of, to_bytes
from storage.entries import CANNOT_BE_STORED
from storage.warehouse_reader import WarehouseReader
from tests.testkit import bucket_rows as make
from tests.testkit.paths import DATA
from tests.testkit.warehouse_days import HUBS, assert_rows_back, opened, sealed, store


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    """Return two buckets whose rows lie in the log as Arrow streams, without the files that are made of them."""
    shutil.copytree(DATA / "warehouse_v2", tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_log_of_before_is_read_shown_written_on_and_sealed(v2: Path) -> None:
    warehouse = opened(v2)
    assert warehouse.take_findings() == ()
    assert_rows_back(v2, 2)
    store(warehouse, *(make.bucket(2, hub, categories) for hub, categories in HUBS.items()))
    assert_rows_back(v2, 3)
    sealed(warehouse, session=make.DAY)
    assert_rows_back(v2, 3)


def test_a_program_of_before_is_told_before_anything_is_written_that_it_cannot_read(
    v2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = opened(v2)
    assert manifest.version_of(v2, make.DAY) == 2, "a start alone changes nothing"
    store(warehouse, make.bucket(2))
    newest = manifest.logs_of(manifest.folder_of(v2, make.DAY))[-1][1]
    assert MAGIC in newest.read_bytes()
    monkeypatch.setattr(manifest, "SCHEMA", 2)
    with pytest.raises(manifest.WarehouseRefusedError, match="has version 3, this program knows 2; update the program"):
        manifest.load(v2, make.DAY)


def changed(**fields: object) -> Callable[[Row], Row]:
    return lambda row: msgspec.structs.replace(row, **fields)


def with_profile(**fields: object) -> Callable[[Row], Row]:
    def change(row: Row) -> Row:
        for name, value in fields.items():
            setattr(row.profile, name, value)
        return row

    return change


SPOILT: dict[str, Callable[[Row], Row]] = {
    "more than 32 bits": with_profile(spot=2**31),
    "more than 64 bits": changed(sequence=2**63),
    "a fraction": with_profile(spot=1.5),
    "a scalar too few": with_profile(scalars=(1, 2)),
    "a word that cannot be written": changed(mode="l\ud800ve"),
    "a word that is none": changed(mode=7),
    "columns of 64 bits": with_profile(priors=np.zeros((5, 5), np.int64)),
    "fractions": with_profile(strikes=np.zeros(5)),
    "a column too few": with_profile(values=np.zeros((5, 1), np.int32)),
    "a strike too many": with_profile(strikes=np.zeros(6, np.int32)),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_row_with_what_no_column_can_hold_costs_no_other(tmp_path: Path, how: str) -> None:
    warehouse = opened(tmp_path)
    good = make.bucket(0)
    spoilt = SPOILT[how](make.row("IWM", "classic_gex_zero", strikes_n=5))
    rows = Rows(good.rows.ref, (*good.rows.rows, spoilt), "told")
    (outcome,) = store(warehouse, msgspec.structs.replace(good, rows=rows))
    assert type(outcome).__name__ == "BucketStored"
    reader = WarehouseReader(tmp_path)
    assert reader.read_bucket(make.DAY, "classic", make.T0) == good.rows
    assert [gap.why for gap in reader.gaps(make.DAY)] == [CANNOT_BE_STORED]


def test_columns_that_are_views_of_a_wider_table_are_stored_as_they_are(tmp_path: Path) -> None:
    plain = make.row(strikes_n=6)
    own = plain.profile
    wide = np.column_stack([own.strikes, own.values, own.priors])
    views = Profile(
        own.ticker, own.category, own.source_utc, own.spot, own.scalars, wide[:, 0], wide[:, 1:3], wide[:, 3:]
    )
    assert not views.values.flags.c_contiguous
    said = msgspec.structs.replace(make.bucket(0), rows=Rows("x", (msgspec.structs.replace(plain, profile=views),)))
    store(opened(tmp_path), said)
    found = WarehouseReader(tmp_path).read_bucket(make.DAY, "classic", make.T0)
    assert found is not None
    assert found.rows[0].profile.digest() == own.digest()


@pytest.mark.parametrize("cut", [0, 8, 11, 40, 200, -1])
def test_a_body_that_is_none_is_named_as_one_that_cannot_be_read(cut: int) -> None:
    whole = to_bytes(columns_of(Shape.GEX, [(0, make.row())], make.DAY, make.T0, 0))
    with pytest.raises(pa.ArrowException):
        bucket_file.from_bytes(whole[:cut], Shape.GEX)
