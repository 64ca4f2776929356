"""What a plain glob over the warehouse's folder reads: the stored rows, each once, in files that are whole."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from domain.instants import BUCKET_NS, MINUTE
from domain.options.profile import Rows
from messages import market
from storage import manifest
from storage.archive import units
from storage.warehouse import Warehouse
from tests.testkit import bucket_rows as make
from tests.testkit.globbed import EVERY_DAY, counted, counted_in
from tests.testkit.warehouse_days import HUBS, opened, sealed, store, stored_day

ROOT = Path(__file__).parents[2]
DAY_NS = 24 * 60 * MINUTE


def rows_n(root: Path, pattern: str = EVERY_DAY) -> int:
    return counted(root, pattern=pattern)


def distinct_n(root: Path) -> int:
    return counted(root, "DISTINCT (hub, bucket_utc, store_n, row_n)")


def plain_files(root: Path, session: date = make.DAY) -> list[str]:
    return sorted(path.name for path in manifest.folder_of(root, session).glob("*.parquet"))


def test_a_glob_reads_each_row_once_before_and_after_every_seal(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, 2)
    assert rows_n(tmp_path) == warehouse.rows_stored_n == 16
    sealed(warehouse)
    assert rows_n(tmp_path) == 16
    store(warehouse, *(make.bucket(n, hub, c) for n in (2, 3) for hub, c in HUBS.items()))
    assert rows_n(tmp_path) == distinct_n(tmp_path) == 32
    sealed(warehouse)
    assert rows_n(tmp_path) == distinct_n(tmp_path) == warehouse.rows_stored_n == 32


def test_names_that_a_glob_listed_stay_while_the_day_runs(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, 3)
    listed = plain_files(tmp_path)
    sealed(warehouse)
    assert set(listed) <= set(plain_files(tmp_path)), "what was sealed is empty now, and there"
    for n in range(3, 6):
        store(warehouse, *(make.bucket(n, hub, c) for hub, c in HUBS.items()))
    assert len(plain_files(tmp_path)) <= len(listed) + len(HUBS), "a free name is used again"


def test_a_finished_day_is_one_file_a_hub_and_shape(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, 3)
    sealed(warehouse)
    store(warehouse, *(make.bucket(3, hub, c) for hub, c in HUBS.items()))
    sealed(warehouse, session=make.DAY)
    assert rows_n(tmp_path) == 32
    warehouse.tidy()
    assert plain_files(tmp_path) == [
        "whole-classic-gex-2.parquet", "whole-orderflow-orderflow-2.parquet", "whole-state_greeks_zero-greek-2.parquet",
    ]  # fmt: skip
    assert rows_n(tmp_path) == rows_n(tmp_path, "**/*.parquet") == 32
    assert not (manifest.folder_of(tmp_path, make.DAY) / manifest.PARTS).exists()


def test_rows_that_come_after_the_day_was_finished_are_read_too_and_sealed_in(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, 2)
    sealed(warehouse, session=make.DAY)
    store(warehouse, make.bucket(1, "classic", HUBS["classic"], seed=9))
    assert rows_n(tmp_path) == 20
    sealed(warehouse, session=make.DAY)
    assert rows_n(tmp_path) == distinct_n(tmp_path) == 20
    warehouse.tidy()
    assert len(plain_files(tmp_path)) == len(HUBS)


def next_day(n: int) -> market.StoreBucket:
    first = make.bucket(n)
    bucket_utc = first.bucket_utc + 3 * DAY_NS  # Monday
    rows = tuple(make.row(category=c, bucket_utc=bucket_utc) for c in HUBS["classic"])
    return market.StoreBucket(
        hub="classic", bucket_utc=bucket_utc, rows=Rows(f"x/{n}", rows), absent=(), why_absent="", counts=first.counts
    )


def test_several_days_stay_side_by_side_and_one_that_was_left_unfinished_is_sealed_first(tmp_path: Path) -> None:
    stored_day(tmp_path, 2).close()
    warehouse = opened(tmp_path)
    store(warehouse, next_day(0), next_day(1))
    sealed(warehouse)
    warehouse.tidy()
    assert plain_files(tmp_path) == sorted(f"whole-{name}-1.parquet" for name in (
        "classic-gex", "orderflow-orderflow", "state_greeks_zero-greek",
    ))  # fmt: skip
    sealed(warehouse)
    monday = make.DAY + timedelta(days=3)
    assert manifest.sessions_in(tmp_path) == (make.DAY, monday)
    assert any(part.is_sealed for part in manifest.load(tmp_path, monday).parts)
    assert rows_n(tmp_path) == 16 + 4
    assert not warehouse.start_seal(make.DAY)


def test_a_start_makes_the_plain_names_right(tmp_path: Path) -> None:
    stored_day(tmp_path, 2).close()
    folder = manifest.folder_of(tmp_path, make.DAY)
    one, two, *_ = sorted(folder.glob("live-*"))
    one.unlink()
    two.unlink()
    two.write_bytes(b"of a program that was killed")
    opened(tmp_path).close()
    assert rows_n(tmp_path) == 16


def test_plain_names_are_copies_where_the_file_system_knows_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    warehouse = stored_day(tmp_path, 2)
    sealed(warehouse)
    assert rows_n(tmp_path) == 16


WRITER = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from storage.warehouse import Warehouse
from tests.testkit import bucket_rows as make
from tests.testkit.warehouse_days import HUBS
warehouse = Warehouse(Path({folder!r}))
warehouse.open()
for n in range(100_000):
    for hub, categories in HUBS.items():
        warehouse.take(make.bucket(n, hub, categories, strikes_n=3))
    warehouse.flush()
    warehouse.show()
    if n % 6 == 5:
        warehouse.start_seal()
    assert warehouse.poll_seal() in ("", None)
    print(warehouse.rows_stored_n, flush=True)
"""


def test_a_glob_beside_a_writer_that_stores_and_seals_never_fails(tmp_path: Path) -> None:
    program = WRITER.format(root=str(ROOT), folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.readline()
            globs_n = 0
            while globs_n < 60 or manifest.load(tmp_path, make.DAY).seal_n < 3:
                assert rows_n(tmp_path) > 0
                globs_n += 1
                assert globs_n < 2_000, "seals happen meanwhile"
        finally:
            writer.kill()
    warehouse = opened(tmp_path)
    sealed(warehouse, session=make.DAY)
    parts = manifest.load(tmp_path, make.DAY).parts
    assert rows_n(tmp_path) == distinct_n(tmp_path) == sum(part.rows for part in parts)
    buckets = manifest.load(tmp_path, make.DAY).buckets["classic"]
    assert [b.bucket_utc for b in buckets] == [make.T0 + n * BUCKET_NS for n in range(len(buckets))]


def test_names_that_a_glob_listed_stay_when_the_day_is_made_whole_until_they_are_tidied_away(tmp_path: Path) -> None:
    root = tmp_path / "warehouse"
    warehouse = stored_day(root, 3)
    listed = [str(path) for path in manifest.folder_of(root, make.DAY).glob("*.parquet")]
    sealed(warehouse, session=make.DAY)
    assert counted_in(listed) == 0
    assert rows_n(root) == distinct_n(root) == 24
    (before,) = units(tmp_path)
    warehouse.close()
    assert not any(Path(path).exists() for path in listed)
    assert rows_n(root) == 24
    assert units(tmp_path) == (before,), "an archive that was made meanwhile holds what is there now"


def test_a_stepped_day_leaves_the_same(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, is_durable=False, seals=False)
    warehouse.open()
    store(warehouse, *(make.bucket(n) for n in range(5)))
    assert rows_n(tmp_path) == 20
