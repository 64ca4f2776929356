"""Copies: archive, backup, restore, second copy and mirror: nothing is deleted unread, nothing half is ever whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pyrage
import pytest
import zstandard
from moto.server import ThreadedMotoServer

from commands.archive import carry_out
from domain.units import Utc
from storage import archive as archives
from storage import manifest
from storage.archive import RetentionDays, Tier, archive, clean, indexed, retire, units
from storage.backup import back_up, backups, made_at
from storage.backup_keys import IDENTITY_ENV, RECIPIENT_ENV, BackupError, identity_of, new_key, recipient_of
from storage.mirror import LedgerMirror
from storage.restore import restore
from storage.second_copy import SecondCopy
from storage.shared_ledger import start_run
from storage.targets import Target, TargetError
from storage.views.database import Database
from storage.views.ledgers import TABLES
from tests.storage.test_series import DAY, reading, stored
from tests.testkit import bucket_rows as make
from tests.testkit.warehouse_days import sealed, stored_day

NOW = Utc(1_795_000_000_000_000_000)
IDENTITY = pyrage.x25519.Identity.generate()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of a bucket on a server of our own that speaks S3."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        server.start()
        _, port = server.get_host_and_port()
        where = f"endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
        Target(f"s3://?{where}&allow_bucket_creation=true")._files.create_dir("copies")
        yield f"s3://copies/desk?{where}"
        server.stop()


@pytest.fixture(params=["folder", "s3"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    if request.param == "folder":
        return Target(str(tmp_path / "target"))
    address: str = request.getfixturevalue("s3")
    return Target(address.replace("/desk?", f"/{tmp_path.name}?"))


def tree(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, without those that SQLite makes beside an open ledger."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm")))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# -- archive ----------------------------------------------------------------------------------------


def test_an_archived_unit_reads_back_and_only_then_leaves_this_disk(root: Path, target: Target) -> None:
    by_name = {unit.name: unit for unit in units(root)}
    assert set(by_name) == {f"{kind}/{DAY}" for kind in ("quotes", "series", "traces")}
    for unit in by_name.values():
        assert unit.unfinished is None
        before = {path.name: path.read_bytes() for path in unit.files}
        retire(unit, target)
        assert not any(path.exists() for path in unit.files)
        index = indexed(target, unit.name)
        assert index is not None
        assert {file.name: target.get(f"{unit.name}/{file.name}") for file in index.files} == before
    assert units(root) == ()


def test_a_copy_that_does_not_read_back_deletes_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(str(tmp_path / "target"))
    monkeypatch.setattr("storage.targets._write_here", lambda path, chunks: _torn(path, list(chunks)))
    before = tree(root)
    for unit in units(root):
        with pytest.raises(TargetError, match="does not read back"):
            retire(unit, target)
    assert tree(root) == before


def _torn(path: Path, chunks: list[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(chunks)[:-1])


def test_an_archive_that_was_broken_off_or_damaged_is_made_whole(root: Path, tmp_path: Path) -> None:
    target = Target(str(tmp_path / "target"))
    unit = next(unit for unit in units(root) if unit.kind == "traces")
    archive(unit, target)
    copy = tmp_path / "target" / unit.name / "run-1.jsonl.zst"
    copy.write_bytes(b"rotten")
    archive(unit, target)
    assert copy.read_bytes() == b"a finished trace"
    unit.files[0].write_bytes(b"another trace")
    with pytest.raises(TargetError, match="holds another traces"):
        retire(unit, target)
    assert unit.files[0].exists()


def test_what_is_not_finished_is_said_to_be_so(tmp_path: Path) -> None:
    stored(tmp_path / "series", reading(0))
    (tmp_path / "traces" / "2026-11-20").mkdir(parents=True)
    (tmp_path / "traces" / "2026-11-20" / "run-1.jsonl").write_bytes(b"{}\n")
    stored_day(tmp_path / "warehouse", 1).close()
    assert [(unit.kind, unit.unfinished is None) for unit in units(tmp_path)] == [
        ("series", False), ("traces", False), ("warehouse", False)
    ]  # fmt: skip


def test_a_day_that_leaves_keeps_its_daily_aggregates_and_its_rows_in_the_archive(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path / "warehouse", 2)
    sealed(warehouse, session=make.DAY)
    warehouse.close()
    target = Target(str(tmp_path / "target"))
    later = make.DAY + timedelta(days=91)
    lines = carry_out(tmp_path, target, None, RetentionDays(ticks=7, buckets=90), later)
    assert lines[-1].endswith("archived and read back, and deleted here.")
    assert [unit.kind for unit in units(tmp_path)] == []
    (daily,) = Database(tmp_path).rows(
        "SELECT session, rows, low > 0 AS has_low FROM daily WHERE ticker = 'SPX' AND category = 'classic_gex_zero'"
    )
    assert daily == {"session": make.DAY, "rows": 2, "has_low": True}
    archived = f"{tmp_path}/target/warehouse/{make.DAY}/whole-*.parquet"
    assert duckdb.execute(f"SELECT count(*) FROM read_parquet('{archived}', union_by_name = true)").fetchall() > [(0,)]


@pytest.mark.parametrize(("age", "is_gone"), [(1, False), (2, False), (8, True)])
def test_the_trace_of_a_run_that_was_killed_leaves_like_any_other(root: Path, age: int, is_gone: bool) -> None:
    killed = root / "traces" / DAY.isoformat() / "run-2.jsonl"
    killed.write_bytes(b'{"kind":"header"}\n' * 9)
    target = Target(str(root.parent / "target"))
    lines = carry_out(root, target, DAY, RetentionDays(ticks=7, buckets=90), DAY + timedelta(days=age))
    (said,) = (line for line in lines if line.startswith("traces/"))
    assert killed.exists() is (age == 1), "today's and yesterday's may still be written"
    assert killed.parent.exists() is not is_gone, said
    if is_gone:
        sealed_trace = target.get(f"traces/{DAY}/run-2.jsonl.zst")
        assert zstandard.decompress(sealed_trace, 1_000) == b'{"kind":"header"}\n' * 9


@pytest.mark.parametrize(
    ("age", "gone"), [(7, set()), (8, {Tier.TICKS}), (90, {Tier.TICKS}), (91, {Tier.TICKS, Tier.BUCKETS})]
)
def test_ticks_stay_seven_days_and_buckets_ninety(root: Path, age: int, gone: set[Tier]) -> None:
    days = RetentionDays(ticks=7, buckets=90)
    over = {unit.tier for unit in units(root) if days.is_over(unit, DAY + timedelta(days=age))}
    assert over == gone


def test_a_deletion_that_a_crash_broke_off_is_finished_and_half_a_day_is_never_seen(root: Path, tmp_path: Path) -> None:
    unit = next(unit for unit in units(root) if unit.kind == "traces")
    archive(unit, Target(str(tmp_path / "target")))
    unit.folder.rename(unit.folder.with_name(f"{archives._GONE}{unit.folder.name}"))
    assert "traces" not in {unit.kind for unit in units(root)}
    clean(root)
    assert not list((root / "traces").iterdir())


def test_a_day_whose_manifest_is_damaged_holds_up_no_other(root: Path, tmp_path: Path) -> None:
    stored_day(root / "warehouse", 1).close()
    file = manifest.folder_of(root / "warehouse", make.DAY) / manifest.FILE
    file.write_bytes(b'{"session":')
    by_kind = {unit.kind: unit.unfinished for unit in units(root)}
    assert by_kind == {"quotes": None, "series": None, "traces": None, "warehouse": by_kind["warehouse"]}
    assert "cannot be read" in str(by_kind["warehouse"]) and "start the supervisor once" in str(by_kind["warehouse"])
    copy = SecondCopy(root, Target(str(tmp_path / "copy")))
    assert copy.refresh(DAY) >= 4
    assert (tmp_path / "copy" / "traces" / str(DAY) / "run-1.jsonl.zst").exists()


# -- targets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["s3://key:secret@bucket/x", "gopher://x/y", "s3://b?nonsense=1"])
def test_an_address_that_opens_nothing_is_refused_in_a_sentence(address: str) -> None:
    with pytest.raises(TargetError, match=r"credentials|is no target"):
        Target(address)


def test_a_target_that_cannot_be_reached_says_so(tmp_path: Path, root: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TargetError, match="cannot be used"):
        back_up(root, Target(str(tmp_path / "file")), IDENTITY.to_public(), NOW)


# -- backup and restore -----------------------------------------------------------------------------


def test_a_backup_brings_everything_back_at_kill_level_1(root: Path, target: Target, tmp_path: Path) -> None:
    made = back_up(root, target, IDENTITY.to_public(), NOW)
    assert (backups(target), made_at(made.name)) == ((made.name,), NOW)
    again = tmp_path / "again"
    index = restore(target, IDENTITY, again).index
    found, wanted = tree(again), tree(root)
    ledgers = {name for name in wanted if name.startswith("ledgers/")}
    assert {name: data for name, data in found.items() if name not in ledgers} == {
        name: data for name, data in wanted.items() if name not in ledgers
    }
    assert {file.name for file in index.files} == set(found)
    with closing(sqlite3.connect(again / "ledgers" / "ledger.db")) as db:
        assert db.execute("SELECT run_n FROM runs").fetchall() == [(1,)]
        ((level, by, reason),) = db.execute("SELECT level, by, reason FROM kill").fetchall()
    assert (level, by) == (1, "restore") and "compare report with the broker" in reason


def test_a_level_that_was_higher_stays_and_what_was_shipped_is_not_shipped_again(root: Path, tmp_path: Path) -> None:
    target = Target(str(tmp_path / "target"))
    with closing(sqlite3.connect(root / "ledgers" / "ledger.db")) as db, db:
        db.execute("INSERT INTO kill VALUES (1, 0, 'started', 'me', 1), (2, 2, 'flatten', 'me', 2)")
    first = back_up(root, target, IDENTITY.to_public(), NOW)
    second = back_up(root, target, IDENTITY.to_public(), Utc(NOW + 60 * 10**9))
    assert (first.shipped_n, second.files_n) == (first.files_n, first.files_n)
    assert second.shipped_n <= 2  # the ledgers, at most
    restore(target, IDENTITY, tmp_path / "again")
    with closing(sqlite3.connect(tmp_path / "again" / "ledgers" / "ledger.db")) as db:
        assert db.execute("SELECT kill_epoch, level FROM kill ORDER BY kill_epoch").fetchall()[-1] == (3, 2)
    older = restore(target, IDENTITY, tmp_path / "older", made_name(first.name)).index
    assert older.made_utc == NOW


def made_name(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".age")


def test_a_restore_writes_over_nothing(root: Path, tmp_path: Path) -> None:
    target = Target(str(tmp_path / "target"))
    back_up(root, target, IDENTITY.to_public(), NOW)
    before = tree(root)
    with pytest.raises(BackupError, match="not empty"):
        restore(target, IDENTITY, root)
    assert tree(root) == before
    (tmp_path / "empty").mkdir()
    restore(target, IDENTITY, tmp_path / "empty")
    assert (tmp_path / "empty" / "ledgers" / "ledger.db").exists()


def test_only_its_identity_opens_a_backup_and_nothing_in_it_is_readable(root: Path, tmp_path: Path) -> None:
    target = Target(str(tmp_path / "target"))
    back_up(root, target, IDENTITY.to_public(), NOW)
    assert not any(b"a finished trace" in data or b"SQLite" in data for data in tree(tmp_path / "target").values())
    with pytest.raises(BackupError, match="not for this identity"):
        restore(target, pyrage.x25519.Identity.generate(), tmp_path / "again")
    with pytest.raises(BackupError, match="There is no backup"):
        restore(Target(str(tmp_path / "nothing")), IDENTITY, tmp_path / "again")


def test_keys_come_from_the_environment_or_a_file_that_it_names(tmp_path: Path) -> None:
    path = tmp_path / "key"
    public = new_key(path)
    assert path.stat().st_mode & 0o077 == 0
    by_file = {f"{IDENTITY_ENV}_FILE": str(path)}
    assert str(identity_of(by_file).to_public()) == str(recipient_of(by_file)) == public
    assert str(recipient_of({RECIPIENT_ENV: public})) == public
    with pytest.raises(BackupError, match="name a new file"):
        new_key(path)
    for environment in ({}, {IDENTITY_ENV: "nonsense"}, {f"{IDENTITY_ENV}_FILE": str(tmp_path / "none")}):
        with pytest.raises(BackupError):
            identity_of(environment)
    for environment in ({}, {RECIPIENT_ENV: "age1nonsense"}):
        with pytest.raises(BackupError):
            recipient_of(environment)


# -- second copy and mirror -------------------------------------------------------------------------


def test_the_second_copy_ships_what_is_new_and_is_a_data_folder_that_starts_without_entries(
    root: Path, tmp_path: Path
) -> None:
    copy = SecondCopy(root, Target(str(tmp_path / "copy")))
    assert copy.refresh(DAY) == len(tree(root))
    assert copy.refresh(DAY) == 0
    start_run(root / "ledgers", ("paper",), Utc(6))
    assert copy.refresh(DAY) >= 1
    with closing(sqlite3.connect(tmp_path / "copy" / "ledgers" / "ledger.db")) as db:
        assert db.execute("SELECT max(run_n) FROM runs").fetchone() == (2,)
    assert set(tree(tmp_path / "copy")) == {*tree(root), "KILL"}
    assert (tmp_path / "copy" / "KILL").read_text() == "1\n"
    again = SecondCopy(root, Target(str(tmp_path / "copy")))
    assert again.refresh(DAY) == 2  # after a restart the ledgers alone


def test_the_mirror_joins_market_and_ledgers_in_duckdb_alone(root: Path) -> None:
    mirror = LedgerMirror(root / "ledgers", root / "mirror")
    assert mirror.refresh()
    assert not mirror.refresh()
    assert {f"base_{path.stem}" for path in (root / "mirror").iterdir()} == TABLES
    start_run(root / "ledgers", ("paper",), Utc(7))
    assert mirror.refresh()
    found = duckdb.execute(
        f"SELECT r.ticker, max(s.run_n) FROM '{root}/series/*/readings.parquet' r"
        f" JOIN '{root}/mirror/runs.parquet' s ON s.run_n >= r.run_n GROUP BY ALL"
    ).fetchall()
    assert found == [("SPX", 2)]
    assert pq.read_table(root / "mirror" / "gate_log.parquet").num_rows == 0
