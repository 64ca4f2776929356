"""What a person meets after an upgrade from 0.1.0: old names and old traces are refused with what to do."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from commands.cli import CommandError, main
from commands.traces import check_schema
from config.settings import SettingsError, load_settings
from messages.base import SCHEMA
from storage.sqlite_file import _refusal


def trace(folder: Path, schema: int) -> Path:
    path = folder / "traces" / "2026-11-20" / "run-1.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(f'{{"kind":"header","run_n":1,"code_version":"0.1.0","schema":{schema}}}\n', encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("day:\n  hard_stop_ms: 1", "day.verify_flat_again_ms"),
        ("entry:\n  drift_min_ticks: 1", "entry.drift_min_increments"),
        ("flip:\n  readings: 2", "alert_rules.GAMMA_FLIP"),
    ],
)
def test_an_old_name_of_a_setting_is_refused_with_the_new_one(tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(old, encoding="utf-8")
    with pytest.raises(SettingsError, match=rf"is not a setting \(it is {new} now\)"):
        load_settings(file)


def test_why_names_the_version_that_can_read_an_old_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace(tmp_path, schema=1)
    assert main(["--data", str(tmp_path), "why", "ZH-paper-AAAAAAAAAAAA-e"]) != 0
    assert "is a trace of schema 1" in (said := capsys.readouterr().err)
    assert "0.1.0" in said


def test_a_trace_of_this_schema_is_read(tmp_path: Path) -> None:
    check_schema(trace(tmp_path, schema=SCHEMA))
    with pytest.raises(CommandError, match="schema 7"):
        check_schema(trace(tmp_path / "other", schema=7))


def found(code: int, text: str) -> sqlite3.Error:
    """An error as SQLite raises it."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (found(sqlite3.SQLITE_FULL, "database or disk is full"), "free some space"),
        (OSError(errno.ENOSPC, "No space left on device"), "free some space"),
        (found(sqlite3.SQLITE_READONLY, "attempt to write a readonly database"), "the permissions of its folder"),
        (found(sqlite3.SQLITE_NOTADB, "file is not a database"), "restore it from a backup"),
        (found(sqlite3.SQLITE_BUSY, "database is locked"), "end what writes to it"),
        (sqlite3.DatabaseError("row 4 of its gate log"), "restore it from a backup"),
    ],
)
def test_a_ledger_that_cannot_be_opened_is_refused_with_the_remedy_that_fits(error: Exception, remedy: str) -> None:
    assert remedy in _refusal(Path("paper.db"), error)
