"""What `run` says at its start and at its end, and what it leaves behind for the next start."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from commands import run
from commands.cli import CommandError, main, parser
from commands.folder import DataFolder
from commands.held import desks_of
from commands.live import seal_beside
from config.settings import Settings, load_settings
from domain.desks import DeskKind
from domain.instants import MINUTE, session_of
from domain.risk.kill import NEW_DESK, KillLevel
from domain.units import Utc
from messages import orders, risk
from messages.envelope import HandlingOutcome
from storage.desk_kinds import note_kind
from storage.desk_ledger import DeskLedger
from storage.queries import LedgerReader
from storage.shared_ledger import SharedLedger, start_run
from supervision.mailbox import Mail
from supervision.stepped import VirtualClock
from supervision.trace import FileTrace, Header, seal
from tests.testkit import ledger_asks as ask
from tests.testkit.paths import ROOT
from tests.testkit.supervisor_child import eventually, main_py

A_DAY = 24 * 60 * MINUTE


class Desk:
    """A real desk's data folder, with a kill level on record where there is one."""

    def __init__(self, root: Path) -> None:
        self.folder = DataFolder(root)
        self.folder.make()
        self.settings: Settings = load_settings(profile="real", overrides={"data_dir": str(root)})
        self.running: Any = type("Running", (), {"desk": "paper", "desks": ("paper",)})

    def record(self, level: KillLevel) -> None:
        start_run(self.folder.ledgers, ("paper",), ask.T0)
        shared = SharedLedger(self.folder.ledgers, ("paper",))
        shared.open()
        row = risk.RecordKill(level=level, kill_epoch=3, reason="a test", by="cli", at_utc=ask.T0)
        shared.apply(row, ask.T0)
        shared.close()

    def keep(self, *messages: Any) -> None:
        start_run(self.folder.ledgers, ("paper",), ask.T0)
        ledger = DeskLedger(self.folder.ledgers, "paper", run_n=1)
        ledger.open()
        for message in messages:
            ledger.apply(message, ask.T0)
        ledger.close()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_server_of_the_demo_that_ends_at_once_is_named_with_its_log_and_not_waited_for(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.make()  # without the settings of a day, which the servers cannot go without
    with pytest.raises(CommandError, match=r"(hubs|gateway) ended before the day began; .*sim-\w+\.log") as refused:
        run._start_missing(load_settings(), folder, threading.Event())
    assert refused.value.code == 3


def test_a_new_real_desk_is_told_the_one_command_that_starts_it(desk: Desk) -> None:
    said = run._level_text(desk.settings, desk.folder)
    assert "new: it starts at kill level 1" in said
    assert '`main.py resume --reason "first start"`' in said


def test_the_command_that_starts_a_desk_names_its_settings_file_and_data_folder(desk: Desk) -> None:
    arguments = parser().parse_args(["--config", "my desk.yaml", "--data", "there", "run"])
    said = run._level_text(desk.settings, desk.folder, run._call_of(arguments))
    assert """`main.py --config 'my desk.yaml' --data there resume --reason "first start"`""" in said


def test_what_a_new_desk_says_of_its_kill_level_is_a_command_that_is_taken() -> None:
    (call,) = re.findall(r"\(main\.py (.*)\)", NEW_DESK)
    assert parser().parse_args(shlex.split(call)).level == KillLevel.RUNNING


@pytest.mark.parametrize("level", [KillLevel.NO_ENTRIES, KillLevel.FLATTEN])
def test_a_desk_that_went_down_raised_is_told_who_and_why(desk: Desk, level: KillLevel) -> None:
    desk.record(level)
    said = run._level_text(desk.settings, desk.folder)
    assert said.startswith(f"Kill level {level.value} since 10:00:00 New York, by cli: a test.")
    assert "resume" in said


def test_a_desk_that_runs_at_level_0_is_not_called_new(desk: Desk) -> None:
    desk.record(KillLevel.RUNNING)
    assert run._level_text(desk.settings, desk.folder).startswith("Kill level 0")


def test_a_process_that_ends_without_a_kill_row_leaves_level_1_in_the_kill_file(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.record(KillLevel.RUNNING)
    run._keep_kill_level(desk.running, desk.folder)
    assert desk.folder.kill_file.read_text().strip() == "1"
    assert "remove the file" in " ".join(capsys.readouterr().out.split())


def test_a_ledger_that_cannot_be_read_leaves_level_1_too(desk: Desk) -> None:
    desk.record(KillLevel.NO_ENTRIES)
    (desk.folder.ledgers / "ledger.db").write_bytes(b"no ledger" * 1000)
    run._keep_kill_level(desk.running, desk.folder)
    assert desk.folder.kill_file.read_text().strip() == "1"


def test_a_kill_level_that_is_on_record_needs_no_file(desk: Desk) -> None:
    desk.record(KillLevel.NO_ENTRIES)
    run._keep_kill_level(desk.running, desk.folder)
    assert not desk.folder.kill_file.exists()


def test_what_is_open_at_the_end_is_named_and_a_lost_ledger_is_no_nothing(desk: Desk) -> None:
    assert run._open_now(desk.settings, desk.folder) == []
    desk.keep(ask.reserve(1), ask.execution(1))
    head, line = run._open_now(desk.settings, desk.folder)
    assert (head, line.startswith("  2 SPXW 6005C")) == ("Open:", True)
    (desk.folder.ledgers / "paper.db").unlink()
    assert run._open_now(desk.settings, desk.folder)[0] == "Whether something is held is not known:"


# -- a run over two dates -----------------------------------------------------------------------


def two_dates(desk: Desk) -> list[Path]:
    """Write a run's trace from 10:00 into the next date; what the roll finishes is sealed in a child."""
    clock = VirtualClock(ask.T0)
    header = Header(
        run_n=1, session=ask.DAY.isoformat(), started_utc=ask.T0, rate=1.0, settings_digest="d", code_version="test",
        settings=msgspec.Raw(desk.settings.to_json()),
    )  # fmt: skip
    written: list[Path] = []

    def path_of(session: Any) -> Path:
        written.append(desk.folder.trace(session, 1))
        return written[-1]

    trace = FileTrace(path_of(ask.DAY), header, clock, path_of, seal_beside)
    next_day = ask.T0 + A_DAY
    for n, (at_utc, ref) in enumerate(((ask.T0, 1), (ask.T0 + MINUTE, 1), (next_day, 2), (next_day + MINUTE, 2)), 1):
        clock.advance(Utc(at_utc))
        message = orders.CancelOrder(order_ref=ask.ref(ref), reply_to=f"position:paper:{ref}")
        mail = Mail(message, msgspec.json.encode(message), "test", f"1/test/1/{n}", 0, Utc(at_utc))
        seq, _ = trace.receipt("ibkr:paper", 1, n, mail)
        trace.handled(seq, HandlingOutcome.OK, 0, b"")
    trace.close()
    return written


def test_a_run_over_two_dates_is_reported_and_explained_whole(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    second = session_of(ask.T0 + A_DAY)
    late = ask.key(2880)
    desk.keep(
        ask.reserve(1), ask.execution(1), ask.position(1),
        replace(ask.denial(2), key=late, session=second, decided_utc=ask.T0 + A_DAY),
    )  # fmt: skip
    first, last = two_dates(desk)
    sealed = first.with_name(f"{first.name}.zst")
    eventually(lambda: sealed.exists() and not first.exists())
    for session, name, ref in ((ask.DAY, sealed.name, 1), (second, last.name, 2)):
        main(["--data", str(desk.folder.root), "report", session.isoformat()])
        said = capsys.readouterr()
        assert said.err == ""
        assert f"Traces: {name} in {desk.folder.traces / session.isoformat()}" in said.out
        assert main(["--data", str(desk.folder.root), "why", ask.ref(ref)]) == 0
        said = capsys.readouterr()
        assert said.out.splitlines()[0] == f"{ask.ref(ref)} in {name}, New York's clock"
        assert len(said.out.splitlines()) == 3
    assert os.stat(seal(last)).st_size > 0
    assert main(["--data", str(desk.folder.root), "why", ask.ref(2)]) == 0


@pytest.mark.parametrize("is_gone", [True, False], ids=["vanished", "emptied"])
def test_a_start_beside_a_lost_ledger_is_refused_in_one_sentence(desk: Desk, is_gone: bool) -> None:
    desk.keep(ask.reserve(1), ask.execution(1))
    for path in desk.folder.ledgers.glob("paper.db*"):
        path.unlink()
    if not is_gone:
        (desk.folder.ledgers / "paper.db").touch()
    ended = main_py(desk.folder.root, "run", "--profile", "real", ZEROHOUR_GEXBOT_KEY="gexbot_custom_endings")
    assert (ended.returncode, ended.stderr.count("\n")) == (3, 1)
    assert "paper.db" in ended.stderr
    assert "restore it from a" in ended.stderr


@pytest.mark.parametrize("module", ["commands.run", "commands.sim"])
def test_the_trading_process_and_its_servers_do_not_load_what_only_analysis_and_web_pages_need(module: str) -> None:
    look = f"import sys; sys.path.insert(0, '.'); import {module}; print({{'duckdb', 'fastapi'}} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        ("", "ZEROHOUR_GEXBOT_KEY"),
        ("trading_mode: live\n", "ZEROHOUR_LIVE_ARMED=yes"),
        ("broker: {orders: tastytrade}\n", "ZEROHOUR_TASTYTRADE_SECRET"),
    ],
    ids=["the vendor's key", "arming", "the broker's login"],
)
def test_a_first_start_that_is_refused_makes_no_folder(
    config: str, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("ZEROHOUR_") and name != "ZEROHOUR_ENV_FILE"]:
        monkeypatch.delenv(name)
    if config:
        monkeypatch.setenv("ZEROHOUR_GEXBOT_KEY", "gexbot_custom_0123")
    file = tmp_path / "desk.yaml"
    file.write_text(config, "utf-8")
    arguments = parser().parse_args(
        ["--config", str(file), "--data", str(tmp_path / "data"), "run", "--profile", "real"]
    )
    with pytest.raises(CommandError, match=missing):
        run.act(arguments)
    assert capsys.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["desk.yaml"]


BESIDE = """
desks:
  other: {kind: paper, port: 4003, account_env: OTHER_ACCOUNT, gateways: [{host: 127.0.0.1, port: 4003}],
    client_ids: {orders: 21, quotes: 22, chains: 23, direct: 29}}
"""


@pytest.mark.parametrize(
    ("config", "environment", "said"),
    [
        (BESIDE, {}, "Desk other has no account"),
        (BESIDE, {"ZEROHOUR_IB_ACCOUNT": "DU1", "OTHER_ACCOUNT": "DU1"}, "have one account"),
        (
            "trading_mode: live\n", {"ZEROHOUR_LIVE_ARMED": "yes", "ZEROHOUR_IB_ACCOUNT": "U1234567"},
            "Live is not armed",
        ),
        (
            "broker: {orders: tastytrade, tastytrade: {rest_url: 'http://far.example'}}\n",
            {"ZEROHOUR_TASTYTRADE_SECRET": "s", "ZEROHOUR_TASTYTRADE_TOKEN": "t"}, "no address with TLS",
        ),
    ],
    ids=["no account", "one account", "minima", "address"],
)  # fmt: skip
@pytest.mark.parametrize("is_there", [False, True], ids=["no folder", "a folder with a file"])
def test_a_first_start_that_is_refused_after_its_folder_was_made_takes_it_back(
    config: str, environment: dict[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *,
    is_there: bool,
) -> None:  # fmt: skip
    for name in [name for name in os.environ if name.startswith("ZEROHOUR_") and name != "ZEROHOUR_ENV_FILE"]:
        monkeypatch.delenv(name)
    for name, value in ({"ZEROHOUR_GEXBOT_KEY": f"gexbot_custom_{tmp_path.name}"} | environment).items():
        monkeypatch.setenv(name, value)
    file, data = tmp_path / "desk.yaml", tmp_path / "data" / "of_desk"
    file.write_text(config, "utf-8")
    if is_there:
        data.mkdir(parents=True)
        (data / "notes").write_text("ours", "utf-8")
    ended = parser().parse_args(["--config", str(file), "--data", str(data), "run", "--profile", "real"])
    with pytest.raises(CommandError, match=said):
        run.act(ended)
    assert sorted(path.name for path in tmp_path.iterdir()) == (["data", "desk.yaml"] if is_there else ["desk.yaml"])
    assert not is_there or [path.name for path in data.iterdir()] == ["notes"]


@pytest.mark.parametrize(
    ("beside", "kind", "said"),
    [
        ("model: {kind: sim}", DeskKind.LIVE, r"Desk paper .* is a live desk, and this run would be paper"),
        (
            "rest: {kind: paper, broker: tastytrade, account_env: OTHER_ACCOUNT, port: 4003,"
            " gateways: [{host: 127.0.0.1, port: 4003}], client_ids: {orders: 21, quotes: 22, chains: 23, direct: 29}}",
            DeskKind.PAPER, "ZEROHOUR_TASTYTRADE_SECRET",
        ),
    ],
    ids=["other money", "no login"],
)  # fmt: skip
def test_a_desk_that_is_refused_beside_another_ones_ledger_leaves_none_of_its_own(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, beside: str, kind: DeskKind, said: str
) -> None:
    for name in [name for name in os.environ if name.startswith("ZEROHOUR_") and name != "ZEROHOUR_ENV_FILE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ZEROHOUR_GEXBOT_KEY", f"gexbot_custom_{desk.folder.root.name}")
    monkeypatch.setenv("OTHER_ACCOUNT", "5WX00000")
    desk.keep()
    note_kind(desk.folder.ledgers, "paper", kind)
    config = desk.folder.root / "desk.yaml"
    config.write_text(f"desks: {{{beside}}}\n", "utf-8")
    arguments = parser().parse_args(
        ["--config", str(config), "--data", str(desk.folder.root), "run", "--profile", "real"]
    )
    with pytest.raises(CommandError, match=said):
        run.act(arguments)
    assert desks_of(desk.folder.ledgers) == ["paper"]
    assert LedgerReader(desk.folder.ledgers, "paper").held() == [], "what was there stays"
