"""A ledger that was lost or emptied beside what is left of its runs is refused, and never made anew in silence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage.queries import LedgerReader
from storage.shared_ledger import start_run
from storage.sqlite_file import LedgerRefusedError
from tests.testkit import ledger_asks as ask
from tests.testkit.paths import DATA


def lose(path: Path, how: str) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    if how == "removed":
        path.unlink()
    else:
        os.truncate(path, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    start_run(tmp_path / "ledgers", ("paper",), ask.T0)
    return tmp_path / "ledgers"


@pytest.mark.parametrize("how", ["removed", "emptied"])
@pytest.mark.parametrize("name", ["paper", "ledger"])
def test_a_lost_ledger_is_refused_at_a_start_and_left_as_it_is(folder: Path, name: str, how: str) -> None:
    path = folder / f"{name}.db"
    lose(path, how)
    with pytest.raises(LedgerRefusedError, match="restore it from a backup") as refused:
        start_run(folder, ("paper",), ask.T0)
    assert str(path) in str(refused.value)
    assert ("is missing" if how == "removed" else "is empty") in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not path.exists() or not path.stat().st_size


@pytest.mark.parametrize("how", ["removed", "emptied"])
def test_readers_do_not_say_that_nothing_is_held_where_the_desks_ledger_was_lost(folder: Path, how: str) -> None:
    lose(folder / "paper.db", how)
    reader = LedgerReader(folder, "paper")
    for ask_it in (reader.held, lambda: reader.trades(ask.DAY), lambda: reader.day(ask.DAY)):
        with pytest.raises(LedgerRefusedError, match="backup"):
            ask_it()


def test_both_ledgers_lost_beside_a_trace_are_refused(folder: Path) -> None:
    trace = folder.parent / "traces" / "2026-11-20" / "run-1.jsonl"
    trace.parent.mkdir(parents=True)
    trace.write_text("{}\n", encoding="utf-8")
    for name in ("paper", "ledger"):
        lose(folder / f"{name}.db", "removed")
    with pytest.raises(LedgerRefusedError, match=r"run-1\.jsonl says that it was kept"):
        start_run(folder, ("paper",), ask.T0, traces=folder.parent / "traces")
    trace.unlink()
    assert start_run(folder, ("paper",), ask.T0, traces=folder.parent / "traces") == 1


def test_a_new_desk_beside_others_is_no_lost_one(folder: Path) -> None:
    assert start_run(folder, ("paper", "second"), ask.T0) == 2
    lose(folder / "second.db", "removed")
    with pytest.raises(LedgerRefusedError, match=r"second\.db is missing"):
        start_run(folder, ("second",), ask.T0)


def test_a_crash_of_the_very_first_start_is_no_loss(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    (tmp_path / "paper.db").touch()
    assert start_run(tmp_path, ("paper",), ask.T0) == 1


@pytest.mark.parametrize("version", ["ledger_v1", "ledger_v2"])
def test_a_desks_ledger_lost_beside_a_shared_one_of_an_earlier_version_is_refused(tmp_path: Path, version: str) -> None:
    (tmp_path / "ledger.db").write_bytes((DATA / version / "ledger.db").read_bytes())
    with pytest.raises(LedgerRefusedError, match=r"paper\.db is missing"):
        start_run(tmp_path, ("paper",), ask.T0)


def test_a_desks_ledger_lost_beside_the_copy_of_its_old_version_is_refused(folder: Path) -> None:
    lose(folder / "paper.db", "removed")
    lose(folder / "ledger.db", "removed")
    (folder / "paper.db.v2").write_bytes(b"x")
    with pytest.raises(LedgerRefusedError, match=r"paper\.db\.v2 says"):
        start_run(folder, ("paper",), ask.T0)


def test_a_folder_that_was_never_used_answers_with_nothing(tmp_path: Path) -> None:
    reader = LedgerReader(tmp_path, "paper")
    assert reader.held() == []
    assert reader.runs() == []
