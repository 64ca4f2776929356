"""Copies that rot, and disks that fill up: damage is found and mended, and nothing half is left anywhere."""

from __future__ import annotations

import sqlite3
import subprocess
from argparse import Namespace
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pyrage
import pytest

from commands import archive as archive_command
from commands import backup as backup_command
from commands import restore as restore_command
from commands.cli import CommandError
from domain.units import Utc
from storage import backup_objects, second_copy
from storage.backup import back_up
from storage.backup_keys import IDENTITY_ENV, BackupError
from storage.restore import restore
from storage.second_copy import SecondCopy
from storage.targets import Target, TargetError
from tests.storage.test_series import DAY
from tests.testkit.small_disks import fill

DAY_NS = 86_400 * 10**9
NOW = Utc(1_795_000_000_000_000_000)
IDENTITY = pyrage.x25519.Identity.generate()
PUBLIC = IDENTITY.to_public()
TRACE = f"traces/{DAY}/run-1.jsonl.zst"
QUOTES = f"series/{DAY}/quotes.parquet"


def objects_of(target: Path) -> list[Path]:
    return sorted((target / "objects").rglob("*.age"))


def object_of(target: Path, path: Path) -> Path:
    """Return the object that holds a file's content."""
    content = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    (found,) = (target / "objects" / content[:2]).glob(f"{content}.*")
    return found


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def asked(**values: object) -> Namespace:
    return Namespace(**{"config": None, "profile": None, "set": [], "data": None, "json": False, **values})


# -- backups ----------------------------------------------------------------------------------------


def test_an_object_that_was_cut_is_shipped_again_by_the_next_backup(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    back_up(root, Target(str(target)), PUBLIC, NOW)
    cut(object_of(target, root / TRACE))
    made = back_up(root, Target(str(target)), PUBLIC, Utc(NOW + 60 * 10**9))
    assert (made.healed_n, made.lost) == (1, ())
    assert restore(Target(str(target)), IDENTITY, tmp_path / "again").lost == ()
    assert (tmp_path / "again" / TRACE).read_bytes() == (root / TRACE).read_bytes()
    assert len(list((target / "damaged").rglob("*.age"))) == 1, "what was damaged is kept apart"


def test_every_object_is_read_back_within_a_month_and_healed_where_a_bit_has_flipped(
    root: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    back_up(root, Target(str(target)), PUBLIC, NOW)
    flip(object_of(target, root / TRACE))
    made = [
        back_up(root, Target(str(target)), PUBLIC, Utc(NOW + n * DAY_NS))
        for n in range(1, backup_objects.VERIFY_DAYS + 1)
    ]
    assert sum(one.healed_n for one in made) == 1
    assert sum(one.verified_n for one in made) >= len(objects_of(target)) - 2, "each once, however old"
    assert restore(Target(str(target)), IDENTITY, tmp_path / "again").lost == ()


def test_damage_that_this_disk_cannot_mend_is_said_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "target"
    back_up(root, Target(str(target)), PUBLIC, NOW)
    flip(object_of(target, root / TRACE))
    (root / TRACE).unlink()
    monkeypatch.setenv("ZEROHOUR_BACKUP_RECIPIENT", str(PUBLIC))
    monkeypatch.setattr(backup_objects, "VERIFY_DAYS", 1)
    call = asked(data=root, to=[str(target)], new_key=None)
    with pytest.raises(CommandError, match="1 objects of older backups were damaged") as told:
        backup_command.act(call)
    assert told.value.code == 3
    assert backup_command.act(call) == 0


def test_ledgers_come_back_although_a_market_file_is_damaged_and_the_file_is_named(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "target"
    back_up(root, Target(str(target)), PUBLIC, NOW)
    flip(object_of(target, root / QUOTES))
    object_of(target, root / TRACE).unlink()
    monkeypatch.setenv(IDENTITY_ENV, str(IDENTITY))
    code = restore_command.act(asked(data=tmp_path / "again", source=str(target), backup=None))
    said = capsys.readouterr().out
    assert code == 1
    assert "2 files did not come back" in said
    assert {QUOTES, TRACE} == {line.split()[1] for line in said.splitlines() if line.startswith("Lost: ")}
    found = files_in(tmp_path / "again")
    assert set(found) >= {"ledgers/ledger.db", f"series/{DAY}/readings.parquet"}
    assert not {QUOTES, TRACE} & set(found)
    with closing(sqlite3.connect(tmp_path / "again" / "ledgers" / "ledger.db")) as db:
        assert db.execute("SELECT level FROM kill").fetchall() == [(1,)]


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink], ids=["cut", "flipped", "gone"])
def test_a_damaged_ledger_brings_nothing_back_and_leaves_nothing_decrypted(
    root: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    target = tmp_path / "target"
    back_up(root, Target(str(target)), PUBLIC, NOW)
    ledgers = [path for path in objects_of(target) if b"SQLite" in opened(path)]
    damage(ledgers[-1])
    with pytest.raises(BackupError, match=r"ledgers/.*take an older one"):
        restore(Target(str(target)), IDENTITY, tmp_path / "again")
    assert {path.name for path in tmp_path.iterdir()} == {"data", "target"}


def opened(path: Path) -> bytes:
    return pyrage.decrypt(path.read_bytes(), [IDENTITY])[:16]


def test_a_target_that_goes_away_midway_is_no_damage(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    back_up(root, Target(str(target)), PUBLIC, NOW)

    class Leaves(Target):
        def fetch(self, name: str, to: Path) -> None:
            super().fetch(name, to)
            self.left_n -= 1
            if not self.left_n:
                target.rename(tmp_path / "elsewhere")
                target.write_text("no folder any more")

        left_n = 3

    with pytest.raises(TargetError, match=r"went away|cannot be used"):
        restore(Leaves(str(target)), IDENTITY, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    assert not list(tmp_path.glob("*.restoring"))


def test_backups_of_before_the_objects_named_their_own_hash_come_back(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    back_up(root, Target(str(target)), PUBLIC, NOW)
    for path in objects_of(target):
        path.rename(path.with_name(f"{path.name.partition('.')[0]}.age"))
    assert restore(Target(str(target)), IDENTITY, tmp_path / "again").lost == ()
    made = back_up(root, Target(str(target)), PUBLIC, Utc(NOW + DAY_NS))
    assert made.shipped_n == made.files_n, "what cannot be checked is shipped once more"


# -- the second copy --------------------------------------------------------------------------------


def test_the_second_copy_heals_what_rots_there_within_a_month(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    copy = SecondCopy(root, Target(str(target)))
    copy.refresh(DAY)
    flip(target / TRACE)
    (target / QUOTES).unlink()
    flip(target / "ledgers" / "ledger.db")
    for n in range(1, second_copy.VERIFY_DAYS + 1):
        copy.refresh(DAY + timedelta(days=n))
    for name in (TRACE, QUOTES):
        assert (target / name).read_bytes() == (root / name).read_bytes()
    with closing(sqlite3.connect(target / "ledgers" / "ledger.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_second_copy_reads_back_a_little_at_a_time(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "copy"
    SecondCopy(root, Target(str(target))).refresh(DAY)
    monkeypatch.setattr(second_copy, "VERIFY_DAYS", 1)
    monkeypatch.setattr(second_copy, "VERIFY_BYTES", 1)
    finished = [name for name in files_in(root) if not name.startswith("ledgers/")]
    for name in finished:
        flip(target / name)
    copy = SecondCopy(root, Target(str(target)))
    calls = [copy.refresh(DAY) - (n == 0) * 2 for n in range(len(finished) + 3)]
    assert sum(calls) == len(finished)
    assert max(calls) == 1
    assert {name: files_in(target)[name] for name in finished} == {name: files_in(root)[name] for name in finished}


# -- full disks -------------------------------------------------------------------------------------


def large(root: Path, size: int) -> None:
    """Let the trace be of some size, which no compression makes smaller."""
    (root / TRACE).write_bytes(bytes(range(256)) * (size // 256))


def test_a_backup_to_a_full_disk_says_so_in_a_sentence_and_leaves_nothing_half(root: Path, small_disk: Path) -> None:
    large(root, 3 << 20)
    fill(small_disk, left=1 << 20)
    with pytest.raises(TargetError, match=r"No space left") as told:
        back_up(root, Target(str(small_disk / "target")), PUBLIC, NOW)
    assert "\n" not in str(told.value)
    assert not list(small_disk.rglob("*.tmp"))
    assert not list((small_disk / "target").rglob("backups/*"))
    (small_disk / "ballast").unlink()
    assert back_up(root, Target(str(small_disk / "target")), PUBLIC, NOW).healed_n == 0


def test_a_backup_without_room_for_its_own_copies_says_so(
    root: Path, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large(root, 3 << 20)
    fill(small_disk, left=4 << 20)  # room for the plain copy and not for the encrypted one
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    monkeypatch.setenv("ZEROHOUR_BACKUP_RECIPIENT", str(PUBLIC))
    with pytest.raises(CommandError, match=r"The disk of .* is full") as told:
        backup_command.act(asked(data=root, to=[str(tmp_path / "target")], new_key=None))
    assert told.value.code == 3
    assert {path.name for path in small_disk.iterdir()} == {"ballast"}


@pytest.mark.parametrize("left", [1 << 20, (13 << 20) // 2])
def test_a_restore_without_room_says_so_and_leaves_nothing_decrypted(
    root: Path, tmp_path: Path, small_disk: Path, left: int
) -> None:
    large(root, 3 << 20)
    target = Target(str(tmp_path / "target"))
    back_up(root, target, PUBLIC, NOW)
    fill(small_disk, left=left)

    class Fills(Target):
        """The room goes while it is brought back: what was free at the start is not at the end."""

        def fetch(self, name: str, to: Path) -> None:
            if left > 2 << 20 and not (small_disk / "more").exists():
                (small_disk / "more").write_bytes(bytes(left - (5 << 20)))
            super().fetch(name, to)

    with pytest.raises(BackupError, match="free some space"):
        restore(Fills(target.address), IDENTITY, small_disk / "again")
    assert not (small_disk / "again").exists()
    assert not list(small_disk.glob("*.restoring"))


def test_an_archive_on_a_full_disk_says_so_in_a_sentence_and_deletes_nothing_here(root: Path, small_disk: Path) -> None:
    large(root, 3 << 20)
    before = files_in(root)
    fill(small_disk, left=1 << 20)
    with pytest.raises(CommandError, match=r"No space left|is full") as told:
        archive_command.act(
            asked(
                data=root, to=str(small_disk / "archive"), session=None, prune=True, ticks_days=None,
                buckets_days=None, today=str(DAY + timedelta(days=400)),
            )
        )  # fmt: skip
    assert told.value.code == 3
    assert TRACE in files_in(root)
    assert {name: data for name, data in files_in(root).items() if name == TRACE} == {TRACE: before[TRACE]}
    assert not list(small_disk.rglob("*.tmp"))
    assert not list(small_disk.rglob("traces/*/archive.json"))
