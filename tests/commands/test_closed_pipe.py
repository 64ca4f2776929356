"""Whoever reads a command's output may have enough of it (`| head`): the command ends in silence."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from commands.cli import main
from commands.folder import DataFolder
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from tests.testkit import ledger_asks as ask


@pytest.mark.parametrize(
    "command",
    [
        ("export", "trades"), ("export", "trades", "--json"), ("sql", "SELECT * FROM range(100000)", "--csv"),
        ("report",), ("report", "--json"), ("why-not", ask.alert_id(2)), ("doctor",), ("doctor", "--json"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_reader_that_is_gone_ends_the_command_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    folder = DataFolder(tmp_path)
    folder.make()
    start_run(folder.ledgers, ("paper",), ask.T0)
    desk = DeskLedger(folder.ledgers, "paper", run_n=1)
    desk.open()
    desk.apply(ask.denial(2), ask.T0)
    desk.close()
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        assert main(["--data", str(tmp_path), *command]) == 0
        nobody.write("the end of the process flushes what is left")
    assert capfd.readouterr().err == ""


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = DataFolder(tmp_path)
    folder.make()
    start_run(folder.ledgers, ("paper",), ask.T0)
    assert main(["--data", str(tmp_path), "export", "trades", "--out", str(tmp_path)]) == 2
    assert "cannot be written" in capsys.readouterr().err
