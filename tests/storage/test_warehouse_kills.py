"""`kill -9` at every step that changes the disk: of a store, a seal, the compaction of a day, a start."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from messages import market
from storage import bucket_file, manifest, seal
from storage.warehouse import Warehouse
from storage.warehouse_reader import WarehouseReader
from tests.testkit import bucket_rows as make
from tests.testkit.globbed import counted
from tests.testkit.warehouse_days import opened, store

HUBS = {"classic": ("classic_gex_zero",), "orderflow": ("orderflow_orderflow",)}
ROWS_N = 2  # a bucket of both hubs


@cache
def buckets(n: int) -> tuple[market.StoreBucket, ...]:
    return tuple(make.bucket(n, hub, categories, ("SPX",), strikes_n=3) for hub, categories in HUBS.items())


class SealHere:
    """A seal that runs where it is started: a kill then falls on its own steps and on those of its taking over."""

    def __init__(self, root: Path, session: date, until_log_n: int, *, is_whole: bool) -> None:
        self.session, self.until_log_n, self.is_whole = session, until_log_n, is_whole
        self._done = seal.seal(root, session, until_log_n, is_whole=is_whole)

    def poll(self) -> seal.Sealed:
        return self._done

    def stop(self) -> None:
        """It is over."""


def a_store(warehouse: Warehouse) -> None:
    store(warehouse, *buckets(2))


def a_seal(warehouse: Warehouse) -> None:
    assert warehouse.start_seal()
    assert warehouse.poll_seal() == ""


def a_compaction(warehouse: Warehouse) -> None:
    assert warehouse.start_seal(make.DAY)
    assert warehouse.poll_seal() == ""


def a_start(warehouse: Warehouse) -> None:
    """Start on what a kill left over: strays, a hot file less, plain names that are wrong."""
    folder = manifest.folder_of(warehouse._root, make.DAY)
    next(folder.glob("live-*")).unlink()
    (folder / manifest.load(warehouse._root, make.DAY).parts[-1].name).unlink()
    (folder / manifest.PARTS / "sealed-classic-gex-9-1.part").write_bytes(b"half")
    warehouse.open()


@contextmanager
def steps(on_step: Callable[[str], None]) -> Iterator[None]:
    """Say each step before it is done; a write of the log is two steps, so that a kill may tear it."""
    with pytest.MonkeyPatch.context() as patch:

        def wrap(owner: Any, name: str) -> None:
            real = getattr(owner, name)

            def call(*arguments: Any, **options: Any) -> Any:
                on_step(name)
                return real(*arguments, **options)

            patch.setattr(owner, name, call)

        real_write = os.write

        def torn(handle: int, raw: memoryview) -> int:
            on_step("write")
            written = real_write(handle, raw[: (len(raw) + 1) // 2])
            on_step("write the rest")
            return written + (real_write(handle, raw[written:]) if written < len(raw) else 0)

        patch.setattr(os, "write", torn)
        for name in ("fsync", "fdatasync", "link"):
            wrap(os, name)
        for name in ("replace", "unlink", "rename"):
            wrap(Path, name)
        wrap(bucket_file, "write_table")
        wrap(pq.ParquetWriter, "write_table")
        patch.setattr("storage.warehouse.SealChild", SealHere)
        yield


def killed_at(at: int, act: Callable[[Warehouse], None], warehouse: Warehouse) -> bool:
    """Do it in a forked process that is killed at its `at`-th step; return whether it came that far."""
    child = os.fork()
    if child == 0:
        done = [0]

        def on_step(_: str) -> None:
            done[0] += 1
            if done[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            with steps(on_step):
                act(warehouse)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def prepared(root: Path, act: Callable[[Warehouse], None]) -> Warehouse:
    """Two buckets; for a compaction, one of them sealed before."""
    warehouse = opened(root)
    store(warehouse, *buckets(0))
    if act is a_compaction:
        with steps(lambda _: None):
            a_seal(warehouse)
    store(warehouse, *buckets(1))
    return warehouse


def assert_whole(root: Path) -> int:
    """Every bucket that is there is whole, once, by reference and by glob; return how many there are of each hub."""
    reader = WarehouseReader(root)
    found = reader.manifest(make.DAY)
    numbers = {len(found.buckets[hub]) for hub in HUBS}
    assert len(numbers) == 1, "a batch of all hubs is stored whole or not at all"
    (n,) = numbers
    for k in range(n):
        for said in buckets(k):
            assert reader.read_bucket(make.DAY, said.hub, said.bucket_utc) == said.rows
    assert sum(part.rows for part in found.parts) == sum(counts.rows for counts in found.hubs.values()) == ROWS_N * n
    assert counted(root) == ROWS_N * n
    assert counted(root, "DISTINCT (hub, ticker, category, bucket_utc, store_n)") == ROWS_N * n
    newest = reader.last_bucket(make.DAY)
    assert newest.num_rows == ROWS_N
    assert set(newest["bucket_utc"].cast("int64").to_pylist()) == {buckets(n - 1)[0].bucket_utc // 1_000}
    return n


@pytest.mark.parametrize("act", [a_store, a_seal, a_compaction, a_start], ids=lambda act: act.__name__)
def test_a_kill_at_any_step_loses_nothing_that_was_acknowledged_and_doubles_nothing(
    tmp_path: Path, act: Callable[[Warehouse], None]
) -> None:
    pristine = tmp_path / "pristine"
    prepared(pristine, act).close()
    was_killed, at = True, 0
    while was_killed:
        at += 1
        root = tmp_path / f"{at}"
        shutil.copytree(pristine, root)
        warehouse = Warehouse(root) if act is a_start else opened(root)
        was_killed = killed_at(at, act, warehouse)
        warehouse.close()
        again = opened(root)
        assert again.take_findings() == (), "a kill is nothing that people must look after"
        n = assert_whole(root)
        assert n == 3 if act is a_store and not was_killed else n in (2, 3)
        store(again, *buckets(2))
        if act is a_store or at % 4 == 0:
            assert assert_whole(root) == 3, "what was not acknowledged is stored when it comes again"
        names = {path.name for path in manifest.folder_of(root, make.DAY).rglob("*.tmp")}
        assert names == set(), "nothing is left over"
        again.close()
        shutil.rmtree(root)
    assert at > 8, "steps were counted"
