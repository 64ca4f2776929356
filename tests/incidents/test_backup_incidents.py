"""What an adversary found in backups: rows lost beside a seal, and a folder that could not take what was fetched."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pyrage
import pytest

from domain.units import Utc
from storage import manifest
from storage.backup import back_up
from storage.backup_keys import BackupError
from storage.lost import RESTORING, refuse_lost
from storage.manifest import FILE, PARTS
from storage.restore import restore
from storage.seal import seal
from storage.shared_ledger import start_run
from storage.sqlite_file import LedgerRefusedError
from storage.targets import Target
from tests.testkit import bucket_rows as make
from tests.testkit.small_disks import mounted
from tests.testkit.warehouse_days import HUBS, assert_rows_back, opened, sealed, store, stored_day

NOW = Utc(1_795_000_000_000_000_000)
IDENTITY = pyrage.x25519.Identity.generate()


class Counted(Target):
    """A target that counts what is taken from it."""

    got_n = 0

    def get(self, name: str) -> bytes:
        self.got_n += 1
        return super().get(name)

    def fetch(self, name: str, to: Path) -> None:
        self.got_n += 1
        super().fetch(name, to)


@pytest.fixture
def target(tmp_path: Path) -> Counted:
    """A target with a backup of a data folder that has a ledger and a trace."""
    root, made = tmp_path / "source", Counted(str(tmp_path / "target"))
    start_run(root / "ledgers", ("paper",), Utc(5))
    trace = root / "traces" / "2026-11-20" / "run-1.jsonl.zst"
    trace.parent.mkdir(parents=True)
    trace.write_bytes(b"a finished trace")
    back_up(root, made, IDENTITY.to_public(), NOW)
    made.got_n = 0
    return made


# -- a backup beside a seal -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("whole", [None, make.DAY], ids=["hot", "whole"])
def test_a_backup_beside_a_seal_that_ends_meanwhile_holds_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: date | None
) -> None:
    warehouse = stored_day(tmp_path / "data" / "warehouse", 2)
    sealed(warehouse)
    store(warehouse, *(make.bucket(2, hub, categories) for hub, categories in HUBS.items()))
    copyfile, seals = shutil.copyfile, [whole]

    def copied(a: Path, b: Path) -> None:
        copyfile(a, b)
        if a.name == FILE and seals:  # the manifest of before the seal was copied, none of the files is linked yet
            sealed(warehouse, session=seals.pop())

    monkeypatch.setattr(shutil, "copyfile", copied)
    target = Target(str(tmp_path / "target"))
    back_up(tmp_path / "data", target, IDENTITY.to_public(), NOW)
    monkeypatch.undo()
    warehouse.close()
    assert not seals
    restore(target, IDENTITY, tmp_path / "again")
    back = opened(tmp_path / "again" / "warehouse")
    assert back.take_findings() == ()
    back.close()
    assert_rows_back(tmp_path / "again" / "warehouse", 3)


@pytest.mark.slow
@pytest.mark.parametrize("whole", [None, make.DAY], ids=["hot", "whole"])
def test_sealed_rows_that_a_manifest_of_before_the_seal_does_not_name_are_kept_with_an_alarm(
    tmp_path: Path, whole: date | None
) -> None:
    warehouse = stored_day(tmp_path, 2)
    sealed(warehouse)
    store(warehouse, *(make.bucket(2, hub, categories) for hub, categories in HUBS.items()))
    folder = manifest.folder_of(tmp_path, make.DAY)
    before = (folder / FILE).read_bytes()
    sealed(warehouse, session=whole)
    warehouse.close()
    new = {part.name: (folder / part.name).read_bytes() for part in manifest.load(tmp_path, make.DAY).parts}
    (folder / FILE).write_bytes(before)
    again = opened(tmp_path)
    said = " ".join(again.take_findings())
    assert "3 sealed files of 2026-11-20 hold rows that its manifest does not know" in said
    kept = [path.read_bytes() for path in (folder / PARTS).glob("unnamed-*")]
    assert len(kept) == 3
    assert all(data in new.values() for data in kept)
    again.open()
    assert again.take_findings() == (), "what was set aside stays, and is said once"
    again.close()
    assert len(list((folder / PARTS).glob("unnamed-*"))) == 3


def test_what_a_broken_off_seal_leaves_is_deleted_while_the_log_holds_its_rows(tmp_path: Path) -> None:
    stored_day(tmp_path, 2).close()
    assert len(seal(tmp_path, make.DAY, 99, is_whole=False).made) == 3
    again = opened(tmp_path)
    assert again.take_findings() == ()
    again.close()
    parts = manifest.folder_of(tmp_path, make.DAY) / PARTS
    assert not [*parts.glob("unnamed-*"), *parts.glob("sealed-*")]
    assert_rows_back(tmp_path, 2)


# -- where a backup comes back to -------------------------------------------------------------------


def test_a_backup_comes_back_through_a_link_to_another_disk(tmp_path: Path, target: Counted) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    restore(target, IDENTITY, tmp_path / "data")
    assert (tmp_path / "data").is_symlink()
    assert {path.name for path in (tmp_path / "disk").iterdir()} == {"ledgers", "traces"}


def test_a_backup_comes_back_into_the_mount_of_a_new_disk(tmp_path: Path, target: Counted) -> None:
    with mounted(tmp_path / "mount", 8) as folder:
        (folder / "lost+found").mkdir(exist_ok=True)
        restore(target, IDENTITY, folder)
        assert {path.name for path in folder.iterdir()} == {"ledgers", "lost+found", "traces"}


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_fetched(tmp_path: Path, target: Counted) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BackupError, match=r"file/data cannot be written .* nothing was fetched"):
        restore(target, IDENTITY, tmp_path / "file" / "data")
    assert target.got_n == 0


def test_what_comes_into_the_folder_during_a_restore_is_left_alone_and_nothing_else_stays(
    tmp_path: Path, target: Counted
) -> None:
    root = tmp_path / "data"
    root.mkdir()

    class Disturbed(Target):
        def fetch(self, name: str, to: Path) -> None:
            super().fetch(name, to)
            (root / "traces").mkdir(exist_ok=True)

    with pytest.raises(BackupError, match="traces came meanwhile"):
        restore(Disturbed(target.address), IDENTITY, root)
    assert [path.name for path in root.iterdir()] == ["traces"]


def test_no_supervisor_starts_on_a_restore_that_was_cut_short_and_it_can_be_done_again(
    tmp_path: Path, target: Counted
) -> None:
    root = tmp_path / "data"
    (root / RESTORING / "ledgers").mkdir(parents=True)
    with pytest.raises(LedgerRefusedError, match=r"is missing, though .*\.restoring says that it was kept here"):
        start_run(root / "ledgers", ("paper",), Utc(6))
    restore(target, IDENTITY, root)
    refuse_lost(root / "ledgers", ("paper",))
    assert not (root / RESTORING).exists()
