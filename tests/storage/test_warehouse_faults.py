"""The warehouse under faults: a crash, a full disk or a kill at any point loses nothing that was acknowledged."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from domain.instants import BUCKET_NS
from messages import market
from storage import bucket_file, manifest
from storage.manifest import WarehouseRefusedError
from storage.seal import seal
from storage.warehouse import Warehouse
from storage.warehouse_reader import DamagedBucketError, WarehouseReader
from tests.testkit import bucket_rows as make
from tests.testkit.narrow import known
from tests.testkit.warehouse_days import HUBS, assert_rows_back, opened, sealed, store, stored_day

ROOT = Path(__file__).parents[2]


def test_a_second_writer_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    first = opened(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\nfrom storage.warehouse import Warehouse\n"
        f"Warehouse(Path({str(tmp_path)!r})).open()"
    )
    second = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert "Another process writes to the warehouse" in second.stderr
    assert isinstance(store(first, make.bucket())[0], market.BucketStored)
    first.close()
    opened(tmp_path).close()


def files_of(root: Path) -> set[str]:
    """The names of a day's files, those that are derived left out: plain names, the entry of the newest buckets."""
    folder = manifest.folder_of(root, make.DAY)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith(("live-", "latest")) and "/empty-" not in name}


def test_start_up_deletes_files_of_our_own_names_that_no_manifest_names(tmp_path: Path) -> None:
    stored_day(tmp_path, 1).close()
    folder = manifest.folder_of(tmp_path, make.DAY)
    strays = [
        folder / name
        for name in (
            "hot-classic-1-0-gex.parquet", "hot-x.parquet.tmp", "_parts/sealed-x.part.tmp", "_parts/hot-x-1-0-gex.part",
            "live-classic-gex-0099.parquet", "live-classic-gex-0001.parquet.tmp", "manifest.json.tmp",
            "latest.arrow.tmp",
        )
    ]  # fmt: skip
    for path in strays:
        path.write_bytes(b"half")
    warehouse = opened(tmp_path)
    assert not any(path.exists() for path in strays)
    assert warehouse.take_findings() == ()
    assert_rows_back(tmp_path, 1)


def test_a_manifest_of_a_newer_version_is_refused_with_everything_kept(tmp_path: Path) -> None:
    stored_day(tmp_path, 1).close()
    folder = manifest.folder_of(tmp_path, make.DAY)
    (folder / manifest.FILE).write_text('{"session":"2026-11-20","schema":9}')
    before = sorted(folder.rglob("*"))
    with pytest.raises(WarehouseRefusedError, match="version 9"):
        opened(tmp_path)
    assert sorted(folder.rglob("*")) == before


def test_damaged_values_are_never_given_out(tmp_path: Path) -> None:
    warehouse = opened(tmp_path)
    store(warehouse, make.bucket(0, seed=1))
    (mine,) = manifest.load(tmp_path, make.DAY).parts
    other = opened(tmp_path / "other")
    store(other, make.bucket(0, seed=2))
    stolen = manifest.folder_of(tmp_path / "other", make.DAY) / mine.name
    (manifest.folder_of(tmp_path, make.DAY) / mine.name).write_bytes(stolen.read_bytes())
    with pytest.raises(DamagedBucketError):
        WarehouseReader(tmp_path).read_bucket(make.DAY, "classic", make.T0)


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_full_disk_gives_the_bucket_up_in_a_sentence_and_the_next_one_is_stored(tmp_path: Path, call: str) -> None:
    warehouse = stored_day(tmp_path, 2)
    fresh = [make.bucket(2, hub, HUBS[hub]) for hub in ("classic", "orderflow")]
    real = os.write

    def full(handle: int, raw: memoryview | None = None) -> int:
        if raw is not None:
            real(handle, raw[: len(raw) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, full)
        outcomes = store(warehouse, *fresh)
    for outcome in outcomes:
        assert isinstance(outcome, market.BucketNotStored)
        assert "No space left" in outcome.why
    assert warehouse.rows_not_stored_n == 6
    assert warehouse.in_hand == 0
    assert all(isinstance(o, market.BucketStored) for o in store(warehouse, make.bucket(3)))
    assert_rows_back(tmp_path, 2)
    assert WarehouseReader(tmp_path).read_bucket(make.DAY, "orderflow", fresh[1].bucket_utc) is None


def test_a_disk_that_is_too_full_for_what_people_query_loses_nothing(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, 2)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for hub, categories in HUBS.items():
        warehouse.take(make.bucket(2, hub, categories))
    assert all(isinstance(outcome, market.BucketStored) for outcome in warehouse.flush())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket_file, "write_table", full)
        warehouse.show()
    assert_rows_back(tmp_path, 2)
    assert WarehouseReader(tmp_path).read_bucket(make.DAY, "classic", make.T0 + 2 * BUCKET_NS) is None, "not yet"
    store(warehouse, *(make.bucket(3, hub, categories) for hub, categories in HUBS.items()))
    assert_rows_back(tmp_path, 4)


def test_replaced_files_leave_the_folder_at_once(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, 2)
    old = [manifest.folder_of(tmp_path, make.DAY) / part.name for part in manifest.load(tmp_path, make.DAY).parts]
    sealed(warehouse)
    assert not any(path.exists() for path in old)
    assert files_of(tmp_path) == {part.name for part in manifest.load(tmp_path, make.DAY).parts} | {manifest.FILE}
    assert not manifest.logs_of(manifest.folder_of(tmp_path, make.DAY)), "what was sealed leaves the log"
    assert_rows_back(tmp_path, 2)


def test_a_reader_whose_file_vanished_reads_the_next_manifest(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, 2)
    before = manifest.load(tmp_path, make.DAY)
    sealed(warehouse)

    class Late(WarehouseReader):
        reads = 0

        def manifest(self, session: object) -> manifest.Manifest:
            self.reads += 1
            return before if self.reads == 1 else manifest.load(tmp_path, make.DAY)

    reader = Late(tmp_path)
    assert reader.read_bucket(make.DAY, "classic", make.T0) == make.bucket().rows
    assert reader.reads == 2


def test_a_seal_that_fails_leaves_the_hot_files_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = stored_day(tmp_path, 2)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert warehouse.start_seal()
    assert "the hot files stay" in warehouse.wait_for_seal()
    assert_rows_back(tmp_path, 2)


def test_a_seal_of_more_files_than_a_pipe_holds_names_of_comes_to_its_end(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, is_durable=False)
    warehouse.open()
    names = [f"{'h' * 200}{n}" for n in range(150)]
    store(warehouse, *(make.bucket(k, name, ("orderflow_orderflow",), ("SPX",)) for name in names for k in (0, 1)))
    sealed(warehouse)
    found = manifest.load(tmp_path, make.DAY)
    assert sum(len(part.name) for part in found.parts) > 30_000
    assert (found.seal_n, len(found.parts)) == (1, 150)


def test_a_seal_without_its_writer_changes_nothing_that_anybody_sees(tmp_path: Path) -> None:
    stored_day(tmp_path, 2).close()
    seal(tmp_path, make.DAY, 0, is_whole=False)
    assert not any(part.is_sealed for part in manifest.load(tmp_path, make.DAY).parts)
    opened(tmp_path).close()
    assert_rows_back(tmp_path, 2)
    assert not list(manifest.folder_of(tmp_path, make.DAY).rglob("sealed-*"))


KILLED = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from tests.testkit import bucket_rows as make
from storage.warehouse import Warehouse
warehouse = Warehouse(Path({folder!r}))
warehouse.open()
n = {first}
while True:
    warehouse.take(make.bucket(n))
    warehouse.flush()
    warehouse.show()
    print(n, flush=True)
    if n % 5 == 4:
        warehouse.start_seal()
    warehouse.poll_seal()
    n += 1
"""


def test_no_acknowledged_bucket_is_lost_by_kill_9(tmp_path: Path) -> None:
    random.seed(9)
    said: set[int] = set()
    for _ in range(6):
        program = KILLED.format(
            root=str(ROOT), tests=str(Path(__file__).parent), folder=str(tmp_path), first=max(said, default=-1) + 1
        )
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _ in range(random.randint(3, 12)):
            said.add(int(child.stdout.readline()))
        os.kill(child.pid, signal.SIGKILL)
        rest, _ = child.communicate(timeout=60)
        said.update(int(line) for line in rest.split())
    opened(tmp_path).close()
    reader = WarehouseReader(tmp_path)
    for n in said:
        assert reader.read_bucket(make.DAY, "classic", make.T0 + n * BUCKET_NS) == make.bucket(n).rows
    counted = reader.views([make.DAY]).execute("SELECT count(*), count(DISTINCT (ticker, category, bucket)) FROM gex")
    rows_n, distinct_n = known(counted.fetchone())
    assert rows_n == distinct_n >= 4 * len(said)
