"""A log whose bytes have changed, and rows that no column can hold: what is whole is kept, the rest is on record."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instants import BUCKET_NS
from domain.options.profile import Row, Rows
from messages import market
from storage import bucket_log, manifest
from storage.bucket_log import MAGIC
from storage.entries import CANNOT_BE_STORED
from storage.recovery import LOG_DAMAGED
from storage.warehouse import Warehouse
from storage.warehouse_reader import WarehouseReader
from tests.testkit import bucket_rows as make
from tests.testkit.warehouse_days import HUBS, assert_rows_back, opened, sealed, store, stored_day

BUCKETS_N = 4
ROWS_A_BUCKET = 8


def log_of(root: Path) -> Path:
    ((_, path),) = manifest.logs_of(manifest.folder_of(root, make.DAY))
    return path


def record_begins(path: Path) -> list[int]:
    raw, found = path.read_bytes(), [0]
    while (at := raw.find(MAGIC, found[-1] + 1)) >= 0:
        found.append(at)
    return found


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0x10
    path.write_bytes(raw)


def drop_hot(root: Path, n: int) -> None:
    """Delete the hot files of a bucket."""
    bucket_utc = make.bucket(n).bucket_utc
    for path in (manifest.folder_of(root, make.DAY) / manifest.PARTS).glob(f"hot-*-{bucket_utc}-*"):
        path.unlink()


def counted(root: Path) -> tuple[int, int]:
    """Rows by the manifest's parts, and rows by the counts of its hubs."""
    found = WarehouseReader(root).manifest(make.DAY)
    return sum(part.rows for part in found.parts), sum(counts.rows for counts in found.hubs.values())


def gap_rows(root: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    for gap in WarehouseReader(root).gaps(make.DAY):
        found[gap.why] += (gap.to_utc - gap.from_utc) // BUCKET_NS
    return found


@pytest.mark.parametrize("record", range(BUCKETS_N))
def test_whole_hot_files_of_a_record_whose_header_cannot_be_read_are_taken_over(tmp_path: Path, record: int) -> None:
    stored_day(tmp_path, BUCKETS_N).close()
    flip(log_of(tmp_path), record_begins(log_of(tmp_path))[record] + 70)
    warehouse = opened(tmp_path)
    said = " ".join(warehouse.take_findings())
    assert "3 files with 8 rows of 2026-11-20 that the log does not name any more were taken over" in said
    assert counted(tmp_path) == (ROWS_A_BUCKET * BUCKETS_N, ROWS_A_BUCKET * BUCKETS_N)
    assert_rows_back(tmp_path, BUCKETS_N)
    assert gap_rows(tmp_path) == {}
    sealed(warehouse, session=make.DAY)
    assert_rows_back(tmp_path, BUCKETS_N)
    warehouse.close()
    assert opened(tmp_path).take_findings() == (), "once"


@pytest.mark.parametrize("record", range(BUCKETS_N))
def test_what_lay_in_a_damaged_record_and_nowhere_else_is_a_gap_of_each_row(tmp_path: Path, record: int) -> None:
    stored_day(tmp_path, BUCKETS_N).close()
    flip(log_of(tmp_path), record_begins(log_of(tmp_path))[record] + 70)
    drop_hot(tmp_path, record)
    warehouse = opened(tmp_path)
    said = " ".join(warehouse.take_findings())
    assert "bytes of it cannot be read" in said
    left = ROWS_A_BUCKET * (BUCKETS_N - 1)
    assert counted(tmp_path) == (left, left)
    if record == 0:  # nothing before it says that anything was expected
        assert gap_rows(tmp_path) == {}
        return
    assert "3 buckets of 2026-11-20 are lost in the damaged log" in said
    assert gap_rows(tmp_path) == {LOG_DAMAGED: ROWS_A_BUCKET}
    warehouse.close()
    again = opened(tmp_path)
    assert gap_rows(tmp_path) == {LOG_DAMAGED: ROWS_A_BUCKET}, "once, however often it starts"
    sealed(again, session=make.DAY)
    assert gap_rows(tmp_path) == {LOG_DAMAGED: ROWS_A_BUCKET}


def test_a_write_that_a_crash_cut_short_is_no_damage(tmp_path: Path) -> None:
    stored_day(tmp_path, 2).close()
    log = log_of(tmp_path)
    whole, last = log.read_bytes(), record_begins(log)[-1]
    drop_hot(tmp_path, 1)
    for end in (last + 3, last + 12, last + 70, last + 700, len(whole) - 1):
        log.write_bytes(whole[:end])
        warehouse = Warehouse(tmp_path)
        warehouse.open()
        assert warehouse.take_findings() == (), end
        assert gap_rows(tmp_path) == {}
        warehouse.close()
    log.write_bytes(whole[:last] + bytes(5_000))  # what a file system leaves of blocks that were never written
    assert opened(tmp_path).take_findings() == ()


def test_a_seal_beside_the_writer_keeps_what_its_damaged_log_does_not_name(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, BUCKETS_N)
    flip(log_of(tmp_path), record_begins(log_of(tmp_path))[1] + 70)
    assert warehouse.start_seal()
    assert "taken over" in warehouse.wait_for_seal()
    assert counted(tmp_path) == (ROWS_A_BUCKET * BUCKETS_N, ROWS_A_BUCKET * BUCKETS_N)
    assert_rows_back(tmp_path, BUCKETS_N)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pristine")
    stored_day(root, BUCKETS_N).close()
    return root


@settings(max_examples=25, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), seed=st.integers(0, 2**32 - 1))
def test_no_row_is_lost_wherever_a_byte_of_the_log_changes(
    pristine: Path, tmp_path_factory: pytest.TempPathFactory, where: float, seed: int
) -> None:
    root = tmp_path_factory.mktemp("day") / "copy"
    shutil.copytree(pristine, root)
    log = log_of(root)
    size = log.stat().st_size
    begins = record_begins(log)
    # Half of them near the beginning of a record, where its head and header lie.
    at = int(where * size) if seed % 2 else min(size - 1, begins[seed % len(begins)] + int(where * 900))
    flip(log, at)
    warehouse = opened(root)
    assert_rows_back(root, BUCKETS_N)
    assert counted(root) == (ROWS_A_BUCKET * BUCKETS_N, ROWS_A_BUCKET * BUCKETS_N)
    warehouse.close()
    shutil.rmtree(root.parent)


def test_a_head_that_promises_more_than_there_is_ends_the_file_and_no_more(tmp_path: Path) -> None:
    stored_day(tmp_path, 2).close()
    log = log_of(tmp_path)
    handle = os.open(log, os.O_WRONLY)
    os.pwrite(handle, b"\xff\xff\xff\x7f", record_begins(log)[1] + 12)
    os.close(handle)
    assert len(bucket_log.scan(log).records) == 1
    assert "taken over" in " ".join(opened(tmp_path).take_findings())
    assert_rows_back(tmp_path, 2)


# -- rows that no column can hold -------------------------------------------------------------------


def with_rows(message: market.StoreBucket, *more: Row) -> market.StoreBucket:
    return msgspec.structs.replace(message, rows=Rows(message.rows.ref, (*message.rows.rows, *more)))


def too_large(ticker: str, hub: str = "classic", bucket_utc: int = make.T0) -> Row:
    """Return a row with a scalar beyond 32 bits."""
    row = make.row(ticker, "classic_gex_zero", bucket_utc, hub=hub)
    profile = row.profile
    profile.scalars = (2**40, *profile.scalars[1:])
    return row


def test_one_row_that_cannot_be_stored_costs_no_other_and_is_on_record(tmp_path: Path) -> None:
    warehouse = opened(tmp_path)
    bad = with_rows(make.bucket(0), too_large("IWM"))
    others = [make.bucket(0, hub, HUBS[hub]) for hub in HUBS if hub != "classic"]
    outcomes = store(warehouse, bad, *others)
    assert all(isinstance(outcome, market.BucketStored) for outcome in outcomes)
    assert_rows_back(tmp_path, 1)
    (said,) = warehouse.take_findings()
    assert "1 rows of classic cannot be stored (IWM classic_gex_zero: a scalar" in said
    assert "disk" not in said
    found = WarehouseReader(tmp_path).manifest(make.DAY)
    assert found.hubs["classic"].refused[CANNOT_BE_STORED] == 1
    assert [(g.ticker, g.category, g.why) for g in found.gaps] == [("IWM", "classic_gex_zero", CANNOT_BE_STORED)]
    assert (warehouse.rows_stored_n, warehouse.rows_not_stored_n) == (ROWS_A_BUCKET, 1)
    store(warehouse, with_rows(make.bucket(1), too_large("IWM", bucket_utc=make.bucket(1).bucket_utc)))
    assert warehouse.take_findings() == (), "what comes in every bucket is said once"
    store(warehouse, bad)
    assert len(WarehouseReader(tmp_path).manifest(make.DAY).buckets["classic"]) == 2, "the same again is the same"


def test_a_bucket_of_which_no_row_can_be_stored_leaves_gaps_alone(tmp_path: Path) -> None:
    warehouse = opened(tmp_path)
    message = make.bucket(0)
    only = msgspec.structs.replace(message, rows=Rows(message.rows.ref, (too_large("SPX"), too_large("QQQ"))))
    (outcome,) = store(warehouse, only)
    assert isinstance(outcome, market.BucketStored)
    assert gap_rows(tmp_path) == {CANNOT_BE_STORED: 2}
    assert counted(tmp_path) == (0, 0)
    store(warehouse, *(make.bucket(1, hub, categories) for hub, categories in HUBS.items()))
    assert counted(tmp_path) == (ROWS_A_BUCKET, ROWS_A_BUCKET)


def test_columns_of_different_lengths_cost_their_row_alone(tmp_path: Path) -> None:
    warehouse = opened(tmp_path)
    row = make.row("IWM", "classic_gex_zero", make.T0)
    row.profile.values = np.zeros((3, row.profile.values.shape[1]), np.int32)
    (outcome,) = store(warehouse, with_rows(make.bucket(0), row))
    assert isinstance(outcome, market.BucketStored)
    assert counted(tmp_path) == (4, 4)
    assert gap_rows(tmp_path) == {CANNOT_BE_STORED: 1}
