"""Commands that meet a ledger or a warehouse they must not use: one sentence with the remedy, exit code 3."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from commands.cli import main
from storage.ledger_schema import DESK, SHARED
from storage.shared_ledger import start_run
from tests.testkit import ledger_asks as ask
from tests.testkit.paths import DATA

READ_BY = {"report": ("report",), "report --json": ("report", "--json")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder as version 0.1.0 left it: ledgers of version 1, and a trace."""
    shutil.copytree(DATA / "ledger_v1", tmp_path / "ledgers")
    traces = tmp_path / "traces" / "2026-11-20"
    traces.mkdir(parents=True)
    (traces / "run-1.jsonl").touch()
    return tmp_path


def said(folder: Path, capsys: pytest.CaptureFixture[str], *command: str) -> tuple[int, str, str]:
    code = main(["--data", str(folder), *command])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("command", READ_BY.values(), ids=READ_BY)
def test_a_ledger_that_nobody_has_migrated_is_named_with_the_remedy(
    folder: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    ledger = folder / "ledgers" / "paper.db"
    old = ledger.read_bytes()
    assert said(folder, capsys, *command) == (
        3, "", f"The ledger {ledger} has the old version 1; start the supervisor once.\n",
    )  # fmt: skip
    assert ledger.read_bytes() == old, "only its writer migrates a ledger"


@pytest.mark.parametrize(
    "command",
    [("kill", "1", "--reason", "r"), ("resume", "--reason", "r"), ("why", "ZH-paper-HL3AWB37MCCU-e")],
    ids=" ".join,
)
def test_commands_that_need_no_ledger_do_not_ask_for_one(
    folder: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    code, out, err = said(folder, capsys, *command)
    assert (code in (1, 3), out, err.count("\n")) == (True, "", 1)
    assert "ledger" not in err.replace(str(folder), "")


def newer(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version={max(DESK.version, SHARED.version) + 1}")
    db.close()


def damaged(path: Path) -> None:
    path.write_bytes(b"no ledger at all" * 512)


def torn(path: Path) -> None:
    whole = path.read_bytes()
    schema_bytes = 4096  # the first page, and with it the header, stays
    path.write_bytes(whole[:schema_bytes] + bytes(len(whole) - schema_bytes))


@pytest.mark.parametrize("spoil", [newer, damaged, torn])
def test_a_ledger_that_cannot_be_read_is_named_with_the_remedy(
    folder: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None]
) -> None:
    start_run(folder / "ledgers", ("paper",), ask.T0)
    path = folder / "ledgers" / "paper.db"
    spoil(path)
    code, out, err = said(folder, capsys, "report")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert str(path) in err
    assert err.rstrip().endswith(("update the program.", "restore it from a backup."))


def test_a_warehouse_that_cannot_be_read_is_named_with_the_remedy(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start_run(folder / "ledgers", ("paper",), ask.T0)
    manifest = folder / "warehouse" / "date=2026-11-20" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(b'{"schema": 1')
    code, out, err = said(folder, capsys, "report")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert err.startswith(f"The manifest {manifest} cannot be read")
