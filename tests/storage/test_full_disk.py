"""A disk that is full at any step of a store, a seal or a compaction: nothing is lost, doubled or left half."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from storage import manifest, seal
from storage.warehouse import Warehouse
from tests.storage.test_warehouse_kills import (
    SealHere,
    a_compaction,
    a_store,
    assert_whole,
    buckets,
    prepared,
    steps,
)
from tests.testkit import bucket_rows as make
from tests.testkit.small_disks import fill
from tests.testkit.warehouse_days import assert_rows_back, opened, sealed, store, stored_day

WRITES = frozenset(("write", "write the rest", "write_table", "fsync", "fdatasync", "link"))


class SealThatTells(SealHere):
    """A seal that runs where it is started and says in words why it failed, as a child process does."""

    def __init__(self, root: Path, session: date, until_log_n: int, *, is_whole: bool) -> None:
        self.session, self.until_log_n, self.is_whole = session, until_log_n, is_whole
        self.said: seal.Sealed | str
        try:
            self.said = seal.seal(root, session, until_log_n, is_whole=is_whole)
        except OSError as error:
            self.said = f"Sealing {session} failed ({error}); the hot files stay."

    def poll(self) -> seal.Sealed | str:  # type: ignore[override] # it may fail
        return self.said


class FullFrom:
    """A disk that is full from a step on: for that step alone, or for every write from then on."""

    def __init__(self, at: int, *, stays_full: bool) -> None:
        self.at, self.stays_full = at, stays_full
        self.done, self.was_full = 0, False

    def on_step(self, name: str) -> None:
        if self.stays_full and name not in WRITES:
            return
        self.done += 1
        if self.done == self.at or (self.stays_full and self.done > self.at):
            self.was_full = True
            raise OSError(errno.ENOSPC, "No space left on device")


def a_seal(warehouse: Warehouse) -> None:
    if warehouse.start_seal():
        warehouse.poll_seal()


def compaction(warehouse: Warehouse) -> None:
    if warehouse.start_seal(make.DAY):
        warehouse.poll_seal()


@pytest.mark.parametrize("stays_full", [False, True], ids=["for a moment", "until it is freed"])
@pytest.mark.parametrize("act", [a_store, a_seal, compaction], ids=lambda act: act.__name__)
def test_a_full_disk_at_any_step_loses_nothing_that_was_acknowledged_and_doubles_nothing(
    tmp_path: Path, act: Callable[[Warehouse], None], stays_full: bool
) -> None:
    pristine = tmp_path / "pristine"
    prepared(pristine, a_compaction if act is compaction else act).close()
    was_full, at = True, 0  # whether the disk was full before the act was over
    while was_full:
        at += 1
        root = tmp_path / f"{at}"
        shutil.copytree(pristine, root)
        warehouse = opened(root)
        disk = FullFrom(at, stays_full=stays_full)
        with steps(disk.on_step), pytest.MonkeyPatch.context() as patch:
            patch.setattr("storage.warehouse.SealChild", SealThatTells)
            act(warehouse)
        was_full = disk.was_full
        warehouse.show()  # the disk is free again; in a process this is the next flush
        n = assert_whole(root)
        assert n in (2, 3)
        store(warehouse, *buckets(n))
        assert assert_whole(root) == n + 1
        with steps(lambda _: None):
            assert warehouse.start_seal(make.DAY)
            assert warehouse.poll_seal() == ""
        assert assert_whole(root) == n + 1
        warehouse.close()
        again = opened(root)
        assert again.take_findings() == ()
        assert assert_whole(root) == n + 1
        names = {path.name for path in manifest.folder_of(root, make.DAY).rglob("*.tmp")}
        assert names == set()
        again.close()
        shutil.rmtree(root)
    assert at > 3, "steps were counted"


def test_a_seal_in_its_child_says_in_a_sentence_that_the_disk_is_full_and_succeeds_once_it_is_free(
    small_disk: Path,
) -> None:
    root = small_disk / "warehouse"
    warehouse = stored_day(root, 4)
    ballast = fill(small_disk)
    assert warehouse.start_seal()
    said = warehouse.wait_for_seal()
    assert said.startswith(f"Sealing {make.DAY} failed, the hot files stay: The disk of ")
    assert said.endswith("free some space, then again.")
    assert not list(root.rglob("sealed-*"))
    assert_rows_back(root, 4)
    ballast.unlink()
    sealed(warehouse)
    assert_rows_back(root, 4)
