"""A paused supervisor, a folder that was never used, a locked ledger: each command says so in one sentence."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from commands import control
from commands.cli import main
from commands.folder import Control, DataFolder, write_private
from domain.desks import DeskKind
from tests.testkit.money_desk import Desk

Said = pytest.CaptureFixture[str]
REF = "ZH-paper-NR7FHP5PZC7D-e"
ASKS = [
    ("status",), ("status", "--json"), ("top",), ("top", "--json"), ("kill", "1", "--reason", "a test"),
    ("flatten", "--reason", "a test"), ("resume", "--reason", "a test"),
    ("demote", "gexwatch", "GAMMA_FLIP-1", "--reason", "a test"),
]  # fmt: skip
READS = [
    ("report",), ("report", "--json"), ("report", "week"), ("report", "--last", "5"), ("why", REF), ("why-not",),
    ("shadows",), ("readiness",), ("gaps",), ("tax", "2026"), ("ask", "what is open?"), ("logs",), ("replay",),
    ("chain", "SPX"), ("sql", "SELECT * FROM trades"), ("export", "trades"), ("dashboard",),
]  # fmt: skip
LEDGER = [
    ("report",), ("report", "week"), ("report", "--last", "5"), ("why-not",), ("readiness",),
    ("tax", "2026", "--desk", "paper"), ("ask", "what is open?"), ("sql", "SELECT * FROM trades"), ("export", "trades"),
]  # fmt: skip


@pytest.fixture
def paused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The data folder of a supervisor whose line takes connections and never says a word."""
    monkeypatch.setattr(control.request, "__defaults__", (0.2,))
    folder, me = DataFolder(tmp_path), psutil.Process()
    folder.run.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as line:
        port = line.getsockname()[1]
        write_private(folder.control, Control(port=port, token="t", pid=me.pid, began=me.create_time()))
        yield tmp_path


def said(folder: Path, words: tuple[str, ...], capsys: Said) -> tuple[int, str, str]:
    code = main(["--data", str(folder), *words])
    out, err = capsys.readouterr()
    return code, out, err


def is_sentence(text: str) -> bool:
    return text.count("\n") == 1 and text.endswith(".\n") and "Traceback" not in text


@pytest.mark.parametrize("words", ASKS, ids=" ".join)
def test_a_supervisor_that_is_paused_is_told_in_a_sentence(paused: Path, words: tuple[str, ...], capsys: Said) -> None:
    code, out, err = said(paused, words, capsys)
    assert (code, out) == (3, "")
    assert is_sentence(err), err
    assert "does not answer" in err or "did not answer" in err
    assert "flatten --direct" in err
    if words[0] in ("status", "top"):
        assert "main.py status" not in err, "that is what was asked"


@pytest.mark.parametrize("words", READS, ids=" ".join)
def test_a_folder_that_was_never_used_is_told_in_a_sentence(
    tmp_path: Path, words: tuple[str, ...], capsys: Said
) -> None:
    code, out, err = said(tmp_path, words, capsys)
    assert code in (0, 1, 2, 3)
    assert out or is_sentence(err), err
    assert not err or is_sentence(err), err
    assert "Traceback" not in out
    assert list(tmp_path.iterdir()) == [], "nothing is made by looking"


@pytest.mark.parametrize("words", LEDGER, ids=" ".join)
def test_a_locked_ledger_is_told_in_a_sentence(tmp_path: Path, words: tuple[str, ...], capsys: Said) -> None:
    desk = Desk(tmp_path, "paper", DeskKind.PAPER)
    desk.trade(1, 200, 250)
    desk.ledger.close()
    db = sqlite3.connect(tmp_path / "ledgers" / "paper.db", isolation_level=None)
    db.execute("PRAGMA locking_mode=EXCLUSIVE")
    db.execute("BEGIN EXCLUSIVE")
    db.execute("CREATE TABLE t (x)")
    try:
        code, out, err = said(tmp_path, words, capsys)
    finally:
        db.close()
    assert code in (1, 3), (code, out, err)
    assert "paper.db" in out + err
    assert "Traceback" not in out + err
    assert err.count("\n") <= 1
