"""What others met in data folders (`cases/data.md`, rows 4, 9, 10, 11, 16): strays, cut files, lost manifests."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from domain.instants import BUCKET_NS
from messages import market
from storage import manifest
from storage.bucket_log import MAGIC
from storage.start_up import put_in_order
from storage.warehouse import NOT_STORED, Warehouse
from storage.warehouse_reader import DamagedBucketError, WarehouseReader
from tests.testkit import bucket_rows as make
from tests.testkit.globbed import counted
from tests.testkit.narrow import known
from tests.testkit.paths import ROOT
from tests.testkit.warehouse_days import HUBS, assert_rows_back, damage_log, opened, sealed, store, stored_day


def views_n(root: Path) -> int:
    db = WarehouseReader(root).views([make.DAY])
    return sum(
        int(known(db.execute(f"SELECT count(*) FROM {v}").fetchone())[0]) for v in ("gex", "greeks", "orderflow")
    )


# -- row 4: stray folders, a user's file, a damaged other day --------------------------------------


def test_what_is_not_ours_is_left_alone_and_named_and_the_day_goes_on(tmp_path: Path) -> None:
    stored_day(tmp_path, 1).close()
    folder = manifest.folder_of(tmp_path, make.DAY)
    (folder / "@eaDir").mkdir()
    (folder / "@eaDir" / "x@SynoEAStream").write_text("synology")
    (folder / "my trades.csv").write_text("a,b\n")
    for name in ("date=YYYY-MM-DD", "date=2026-02-30", "lost+found"):
        (tmp_path / name).mkdir()
    (tmp_path / "date=2026-11-19").write_text("a file")
    warehouse = opened(tmp_path)
    (said,) = warehouse.take_findings()
    assert "my trades.csv" in said
    assert "@eaDir" in said
    assert (folder / "my trades.csv").read_text() == "a,b\n"
    assert (folder / "@eaDir" / "x@SynoEAStream").exists()
    assert isinstance(store(warehouse, make.bucket(1))[0], market.BucketStored)
    sealed(warehouse)
    assert WarehouseReader(tmp_path).sessions() == (make.DAY,)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00\x00"])
def test_a_damaged_manifest_of_another_day_is_made_anew_and_stops_nothing(tmp_path: Path, text: str) -> None:
    stored_day(tmp_path, 2).close()
    folder = manifest.folder_of(tmp_path, make.DAY)
    (folder / manifest.FILE).write_text(text)
    warehouse = opened(tmp_path)
    (said,) = warehouse.take_findings()
    assert "could not be read" in said
    assert (folder / "manifest.json.damaged-1").read_text() == text
    assert_rows_back(tmp_path, 2)
    warehouse.close()
    assert opened(tmp_path).take_findings() == (), "once"


# -- row 9: other versions of DuckDB ---------------------------------------------------------------


def test_the_docs_name_the_least_version_of_duckdb_that_reads_our_files() -> None:
    needed = re.search(r'"duckdb>=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    page = (ROOT / "docs" / "reference" / "views.md").read_text()
    assert needed is not None
    assert "DuckDB 2.0 or newer" in page
    assert float(needed[1]) >= 2.0


# -- row 10: a file that was cut -------------------------------------------------------------------


@pytest.mark.parametrize("left", [0, 3, 900])
def test_a_cut_hot_file_is_made_again_from_the_log(tmp_path: Path, left: int) -> None:
    stored_day(tmp_path, 3).close()
    part = manifest.load(tmp_path, make.DAY).parts[0]
    path = manifest.folder_of(tmp_path, make.DAY) / part.name
    path.write_bytes(path.read_bytes()[:left])
    warehouse = opened(tmp_path)
    assert warehouse.take_findings() == ()
    assert counted(tmp_path) == views_n(tmp_path) == 24
    path.write_bytes(path.read_bytes()[:left])
    sealed(warehouse)
    assert_rows_back(tmp_path, 3)


def test_a_log_that_was_damaged_inside_costs_nothing_while_the_hot_files_are_whole(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, 3)
    for part in manifest.load(tmp_path, make.DAY).parts:
        damage_log(tmp_path, part)
    sealed(warehouse)
    assert_rows_back(tmp_path, 3)


def test_a_record_of_the_log_that_cannot_be_read_costs_its_buckets_alone_and_is_said(tmp_path: Path) -> None:
    stored_day(tmp_path, 3).close()
    folder = manifest.folder_of(tmp_path, make.DAY)
    ((_, log),) = manifest.logs_of(folder)
    raw = bytearray(log.read_bytes())
    raw[raw.index(MAGIC, 1) + 9] ^= 0xFF  # the second record's checksum
    log.write_bytes(raw)
    for path in (folder / "_parts").glob(f"hot-*-{make.bucket(1).bucket_utc}-*"):
        path.unlink()
    warehouse = opened(tmp_path)
    said = " ".join(warehouse.take_findings())
    assert f"{log} is damaged" in said
    assert "3 buckets of 2026-11-20 are lost in the damaged log" in said
    assert counted(tmp_path) == views_n(tmp_path) == 16
    sealed(warehouse)
    assert counted(tmp_path) == 16
    assert (manifest.folder_of(tmp_path, make.DAY) / "_parts" / f"damaged-{log.name}").read_bytes() == raw


@pytest.mark.parametrize("left", [0, 3, 900])
def test_a_hot_file_that_was_cut_and_is_damaged_in_the_log_is_on_record_and_the_others_are_read_and_sealed(
    tmp_path: Path, left: int
) -> None:
    stored_day(tmp_path, 3).close()
    folder = manifest.folder_of(tmp_path, make.DAY)
    part = next(p for p in manifest.load(tmp_path, make.DAY).parts if p.hub == "classic")
    whole = (folder / part.name).read_bytes()
    (folder / part.name).write_bytes(whole[:left])
    damage_log(tmp_path, part)
    assert views_n(tmp_path) == 20, "a reader in another process goes on without it"
    warehouse = opened(tmp_path)
    (said,) = warehouse.take_findings()
    assert "4 rows are lost" in said
    assert counted(tmp_path) == views_n(tmp_path) == 20
    sealed(warehouse, session=make.DAY)
    assert counted(tmp_path) == 20
    with pytest.raises(DamagedBucketError):
        WarehouseReader(tmp_path).read_bucket(make.DAY, "classic", part.first_utc)
    (lost,) = manifest.load(tmp_path, make.DAY).damaged
    assert (lost.part.hub, lost.part.first_utc, lost.part.rows) == ("classic", part.first_utc, 4)
    assert (folder / lost.part.name).read_bytes() == whole[:left], "what is left of it is kept"


def test_a_file_that_is_damaged_inside_is_left_out_by_the_seal_and_named(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, 3)
    folder = manifest.folder_of(tmp_path, make.DAY)
    part = next(p for p in manifest.load(tmp_path, make.DAY).parts if p.hub == "orderflow")
    raw = bytearray((folder / part.name).read_bytes())
    raw[40 : len(raw) // 2] = bytes(len(raw) // 2 - 40)
    (folder / part.name).write_bytes(raw)
    damage_log(tmp_path, part)
    assert warehouse.start_seal()
    assert "2 rows are lost" in warehouse.wait_for_seal()
    assert counted(tmp_path) == 22
    assert {p.hub for p in manifest.load(tmp_path, make.DAY).parts} == set(HUBS)


# -- row 11: a missing manifest --------------------------------------------------------------------


def stored_and_sealed(root: Path, *, is_whole: bool) -> Warehouse:
    warehouse = stored_day(root, 2)
    sealed(warehouse, **({"session": make.DAY} if is_whole else {}))
    for n in (2, 3):
        store(warehouse, *(make.bucket(n, hub, categories) for hub, categories in HUBS.items()))
    return warehouse


@pytest.mark.parametrize("sealing", ["hot files only", "sealed and hot", "whole and hot"])
def test_a_missing_manifest_is_made_anew_from_the_files_and_nothing_is_lost(tmp_path: Path, sealing: str) -> None:
    made = stored_day(tmp_path, 4) if sealing == "hot files only" else stored_and_sealed(
        tmp_path, is_whole=sealing.startswith("whole")
    )  # fmt: skip
    made.close()
    before = manifest.load(tmp_path, make.DAY)
    (manifest.folder_of(tmp_path, make.DAY) / manifest.FILE).unlink()
    warehouse = opened(tmp_path)
    (said,) = warehouse.take_findings()
    assert "is missing" in said
    assert "32 rows" in said
    assert_rows_back(tmp_path, 4)
    assert counted(tmp_path) == 32
    after = manifest.load(tmp_path, make.DAY)
    assert {hub: set(found) for hub, found in after.buckets.items()} == {
        hub: set(found) for hub, found in before.buckets.items()
    }
    sealed(warehouse, session=make.DAY)
    assert_rows_back(tmp_path, 4)


def test_a_file_that_was_sealed_over_is_not_counted_twice_when_the_manifest_is_made_anew(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, 2)
    folder = manifest.folder_of(tmp_path, make.DAY)
    hot = {p.name: (folder / p.name).read_bytes() for p in manifest.load(tmp_path, make.DAY).parts}
    sealed(warehouse)
    warehouse.close()
    for name, raw in hot.items():  # a kill between the new manifest and the deletion
        (folder / name).write_bytes(raw)
    (folder / manifest.FILE).unlink()
    opened(tmp_path)
    assert counted(tmp_path) == views_n(tmp_path) == 16
    assert_rows_back(tmp_path, 2)


def test_a_rebuilt_day_keeps_what_it_cannot_read(tmp_path: Path) -> None:
    stored_day(tmp_path, 2).close()
    folder = manifest.folder_of(tmp_path, make.DAY)
    part = manifest.load(tmp_path, make.DAY).parts[0]
    (folder / part.name).write_bytes(b"PAR1 half")
    damage_log(tmp_path, part)
    (folder / manifest.FILE).unlink()
    found, said = put_in_order(tmp_path, make.DAY)
    assert len(said) == 2
    assert [lost.part.hub for lost in found.damaged] == [part.hub]
    assert (folder / found.damaged[0].part.name).read_bytes() == b"PAR1 half"


# -- row 16: each bucket that is not stored is a gap -----------------------------------------------


def test_each_row_of_a_bucket_that_was_not_stored_is_a_gap_once_the_disk_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = stored_day(tmp_path, 1)
    absent = (("SPX", "classic_gex_full"),)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        for n in (1, 2):
            (lost,) = store(warehouse, make.bucket(n, absent=absent))
            assert isinstance(lost, market.BucketNotStored)
    store(warehouse, make.bucket(3))
    gaps = {
        (g.ticker, g.category, g.why): (g.to_utc - g.from_utc) // BUCKET_NS
        for g in WarehouseReader(tmp_path).gaps(make.DAY)
    }
    assert gaps == {
        ("SPX", "classic_gex_full", "silent"): 2, ("SPX", "classic_gex_zero", NOT_STORED): 2,
        ("QQQ", "classic_gex_zero", NOT_STORED): 2, ("QQQ", "classic_gex_full", NOT_STORED): 2,
    }  # fmt: skip
