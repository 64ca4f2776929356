"""A desk of the data folder that holds something and that the settings do not name is not passed over in silence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from msgspec.structs import replace

from commands import live
from commands.allowed import LeftOut, allowed_beside, allowed_of, left_alone
from commands.cli import CommandError
from commands.folder import DataFolder
from config.desks import of_desk
from config.settings import load_settings
from domain.alarm import Severity
from domain.desks import DeskKind
from domain.session.modes import account_key
from domain.units import Utc
from gateways.contract_book import ContractBook
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


REAL = {
    "kind": "live", "gateways": [{"host": "127.0.0.1", "port": 4001}], "account_env": "REAL_ACCOUNT",
    "armed_env": "REAL_ARMED", "client_ids": {"orders": 21, "quotes": 22, "chains": 23, "direct": 29},
}  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("account", "Desk real has no account: set REAL_ACCOUNT"),
        ("shared", "Desk real and desk paper have one account"),
        ("secret", "REAL_ACCOUNT_FILE"),
        ("ledger", "real.db"),
    ],
)
def test_a_flat_desk_that_cannot_start_keeps_none_that_holds_something_unwatched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, said: str
) -> None:
    for name in ("REAL_ACCOUNT", "REAL_ARMED", "ZEROHOUR_IB_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZEROHOUR_IB_ACCOUNT", "DU1234567")
    monkeypatch.setenv("ZEROHOUR_GEXBOT_KEY", "gexbot_custom_test")
    folder = DataFolder(tmp_path)
    folder.make()
    settings = load_settings(profile="real", overrides={"data_dir": str(tmp_path), "desks": {"real": REAL}})
    start_run(folder.ledgers, ("paper", "real"), ask.T0)
    if fault in ("shared", "ledger"):
        monkeypatch.setenv("REAL_ACCOUNT", "DU1234567" if fault == "shared" else "U7654321")
    if fault == "secret":
        monkeypatch.setenv("REAL_ACCOUNT_FILE", str(tmp_path / "is_not_there"))
    if fault == "ledger":
        (folder.ledgers / "real.db").write_bytes(b"no ledger" * 1000)
    with pytest.raises(Exception, match=said):  # nothing is held
        allowed_beside(settings, folder, "DU1234567", ask.T0)
    ledger = DeskLedger(folder.ledgers, "paper", run_n=1)
    ledger.open()
    ledger.apply(ask.reserve(1), ask.T0)
    ledger.close()
    (real,) = allowed_beside(settings, folder, "DU1234567", ask.T0)
    assert real.is_left_out
    (alarm,) = real.told
    assert (alarm.severity, said in alarm.text) == (Severity.CRITICAL, True)


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_desk_in_the_account_that_the_first_ones_ledger_is_of_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_damaged: bool
) -> None:
    monkeypatch.setenv("OTHER_ACCOUNT", "DU1234567")
    folder = DataFolder(tmp_path)
    folder.make()
    unarmed = {key: value for key, value in REAL.items() if key != "armed_env"}
    beside = {**unarmed, "kind": "paper", "account_env": "OTHER_ACCOUNT", "port": 4001}
    settings = load_settings(profile="real", overrides={"data_dir": str(tmp_path), "desks": {"other": beside}})
    start_run(folder.ledgers, ("paper", "other"), ask.T0)
    ledger = DeskLedger(folder.ledgers, "paper", run_n=1)
    ledger.open()
    ledger.apply(replace(ask.read(), account_key=account_key("DU1234567")), ask.T0)
    ledger.close()
    if is_damaged:  # its own start says so; another desk's does not end by it
        (folder.ledgers / "paper.db").write_bytes(b"no ledger" * 1000)
        (desk,) = allowed_beside(settings, folder, None, ask.T0)
        assert not desk.is_left_out
        return
    with pytest.raises(CommandError, match="Desk other and desk paper have one account"):
        allowed_beside(settings, folder, None, ask.T0)
    monkeypatch.setenv("OTHER_ACCOUNT", "DU7654321")
    assert [desk.account for desk in allowed_beside(settings, folder, None, ask.T0)] == ["DU7654321"]


def test_a_live_desk_that_is_not_armed_starts_without_entries_beside_one_that_holds_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REAL_ARMED", raising=False)
    monkeypatch.setenv("REAL_ACCOUNT", "U7654321")
    monkeypatch.setenv("REAL_ARMED_REASON", "a test")
    folder = DataFolder(tmp_path)
    folder.make()
    settings = load_settings(profile="real", overrides={"data_dir": str(tmp_path), "desks": {"real": REAL}})
    start_run(folder.ledgers, ("paper", "real"), ask.T0)
    with pytest.raises(CommandError, match="not armed"):
        allowed_beside(settings, folder, "DU1234567", ask.T0)
    ledger = DeskLedger(folder.ledgers, "paper", run_n=1)
    ledger.open()
    ledger.apply(ask.reserve(1), ask.T0)
    ledger.close()
    (real,) = allowed_beside(settings, folder, "DU1234567", ask.T0)
    assert (real.is_left_out, real.is_armed) == (False, False)


def test_without_the_vendors_key_a_start_goes_on_while_another_desk_holds_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZEROHOUR_GEXBOT_KEY", raising=False)
    folder = DataFolder(tmp_path)
    folder.make()
    settings = load_settings(profile="real", overrides={"data_dir": str(tmp_path), "desks": {"real": REAL}})
    start_run(folder.ledgers, ("paper", "real"), ask.T0)
    with pytest.raises(CommandError, match="ZEROHOUR_GEXBOT_KEY"):
        allowed_of(settings, folder, ask.T0)
    ledger = DeskLedger(folder.ledgers, "real", run_n=1)
    ledger.open()
    ledger.apply(ask.reserve(1), ask.T0)
    ledger.close()
    assert [alarm.key for alarm in allowed_of(settings, folder, ask.T0).told] == ["vendor_key"]


class _NoMarket:
    """A clock that stands, and a runtime that nobody listens to."""

    def now_utc(self) -> Utc:
        return ask.T0

    def post(self, *_: object) -> None:
        """Tell nobody."""


def test_a_simulated_desk_whose_book_is_damaged_keeps_none_that_holds_something_unwatched(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.make()
    settings = load_settings(profile="real", overrides={"data_dir": str(tmp_path), **OTHER})
    start_run(folder.ledgers, ("paper", "model"), ask.T0)
    ledger = DeskLedger(folder.ledgers, "paper", run_n=1)
    ledger.open()
    ledger.apply(ask.reserve(1), ask.T0)
    ledger.close()
    folder.sim_book("model").parent.mkdir(parents=True, exist_ok=True)
    folder.sim_book("model").write_bytes(b"nothing of ours\n")
    out, world = LeftOut(settings, folder, ask.T0), _NoMarket()
    model = live.DeskSessions(
        of_desk(settings, "model"), settings.broker.gateways, None, ContractBook([]), folder.sim_book("model")
    )
    ports = live.ports_or_none(model, world, world, out)
    assert [port.name for port in ports] == ["port:ibkr:model", "port:quotes:model"]
    (alarm,) = out.told
    assert "is damaged: move it away, and the account begins anew. The others have: something is held." in alarm.text
