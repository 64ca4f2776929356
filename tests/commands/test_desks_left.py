"""A desk of the data folder that holds something and that the settings do not name is not passed over in silence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from commands.allowed import left_alone
from commands.folder import DataFolder
from config.settings import load_settings
from domain.desks import DeskKind
from storage.desk_kinds import note_kind
from storage.desk_ledger import DeskLedger
from storage.ledger_schema import DESK
from storage.shared_ledger import start_run
from storage.sqlite_file import open_file
from tests.testkit import ledger_asks as ask

OTHER = {"desks": {"model": {"kind": "sim"}}}


def test_what_an_unnamed_desk_holds_is_an_alarm_and_a_named_or_empty_one_is_none(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.make()
    start_run(folder.ledgers, ("paper", "model", "empty"), ask.T0)
    ledger = DeskLedger(folder.ledgers, "model", run_n=1)
    ledger.open()
    ledger.apply(ask.reserve(1), ask.T0)
    ledger.close()
    (alarm,) = left_alone(load_settings(profile="demo"), folder, ask.T0)
    assert alarm.key == "desk_left:model"
    assert alarm.text == "Desk model may hold something, and these settings do not name it: nobody watches it."
    assert left_alone(load_settings(profile="demo", overrides=OTHER), folder, ask.T0) == ()
    note_kind(folder.ledgers, "model", DeskKind.SIM)
    assert left_alone(load_settings(profile="demo"), folder, ask.T0) == (), "a simulated desk holds nothing at a broker"


def test_an_unnamed_ledger_of_an_older_version_is_brought_up_at_a_start_and_is_no_alarm(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.make()
    start_run(folder.ledgers, ("damaged",), ask.T0)
    older = dataclasses.replace(DESK, migrations=DESK.migrations[:-1])
    open_file(folder.ledgers / "empty.db", older, "empty").close()
    (folder.ledgers / "damaged.db").write_bytes(b"no ledger" * 1000)
    start_run(folder.ledgers, ("paper",), ask.T0)
    (alarm,) = left_alone(load_settings(profile="real"), folder, ask.T0)
    assert alarm.key == "desk_left:damaged"
