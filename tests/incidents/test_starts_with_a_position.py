"""A desk that may hold something starts again, whatever is wrong around it: what watches exits is not given up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commands import live
from commands.allowed import allowed_of
from commands.cli import CommandError
from commands.dashboard import feed_of, feed_or_alarm
from commands.folder import DataFolder
from commands.logbook import LogBook
from commands.readiness import armed, record_of
from config.settings import Settings, SettingsError, load_settings
from domain.alarm import Severity
from domain.desks import DeskKind
from domain.instants import MINUTE
from domain.risk.kill import KillLevel
from domain.units import Utc
from messages import risk
from messages.operator import Announce
from storage.desk_kinds import live_since, note_kind
from storage.desk_ledger import DeskLedger
from storage.queries import LedgerReader
from storage.shared_ledger import SharedLedger, start_run
from storage.sqlite_file import LedgerRefusedError
from supervision.clock import MarketClock
from tests.commands.test_readiness import REASON, played, settings
from tests.testkit import ledger_asks as ask
from tests.testkit.paths import ROOT
from tests.testkit.supervisor_child import eventually, main_py
from web.feed import listen

FIRST_LIVE = Utc(ask.T0 + 60 * MINUTE)
LATER = Utc(FIRST_LIVE + MINUTE)


@pytest.fixture(autouse=True)
def _no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REASON, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """Return a folder whose paper desk has shown enough, and whose live desk has played a session since."""
    made = DataFolder(tmp_path)
    made.make()
    played(made, "paper", DeskKind.PAPER)
    played(made, "live", DeskKind.LIVE)
    return made


def critical(folder: DataFolder, at_utc: Utc) -> None:
    book = LogBook(folder.log)
    book.write(Announce(topic="alarm", severity=Severity.CRITICAL, text="an alarm", at_utc=at_utc))
    book.close()


def raised_twice(folder: DataFolder, at_utc: Utc) -> None:
    shared = SharedLedger(folder.ledgers, ("live",))
    shared.open()
    for epoch, level in enumerate((KillLevel.NO_ENTRIES, KillLevel.RUNNING, KillLevel.NO_ENTRIES), start=1):
        kill = risk.RecordKill(level=level, kill_epoch=epoch, reason="r", by="risk:live", at_utc=at_utc)
        shared.apply(kill, at_utc)
    shared.close()


def hold(folder: DataFolder, desk: str) -> None:
    """Let a desk hold a contract."""
    start_run(folder.ledgers, (desk,), ask.T0)
    ledger = DeskLedger(folder.ledgers, desk, run_n=1)
    ledger.open()
    for message in (ask.reserve(2), ask.execution(2)):
        ledger.apply(message, ask.T0)
    ledger.close()
    assert LedgerReader(folder.ledgers, desk).held()


# -- the minima for live ---------------------------------------------------------------------------


def test_a_live_desks_own_alarms_do_not_stop_it_from_starting_again(folder: DataFolder) -> None:
    critical(folder, LATER)
    raised_twice(folder, LATER)
    _, told = armed(settings(), folder, LATER)
    assert (told[0].key, told[0].severity) == ("readiness", Severity.HIGH)
    assert "kill level 1 2 of 1" in told[0].text
    assert "critical errors 1 of 0" in told[0].text


def test_what_comes_after_the_first_live_start_does_not_count(folder: DataFolder) -> None:
    note_kind(folder.ledgers, "live", DeskKind.LIVE, FIRST_LIVE)
    note_kind(folder.ledgers, "live", DeskKind.LIVE, LATER)
    assert live_since(folder.ledgers) == FIRST_LIVE
    critical(folder, LATER)
    raised_twice(folder, LATER)
    record = record_of(folder)
    assert (record.sessions, record.trades, record.level_1, record.errors) == (1, 1, 0, 0)
    assert [alarm.key for alarm in armed(settings(), folder, LATER)[1]] == ["ramp"]
    critical(folder, ask.T0)
    assert record_of(folder).errors == 1


def test_a_paper_ledger_that_cannot_be_read_stops_the_first_live_start_and_no_later_one(
    folder: DataFolder, tmp_path: Path
) -> None:
    new = DataFolder(tmp_path / "new")
    new.make()
    played(new, "paper", DeskKind.PAPER)
    for made in (new, folder):
        (made.ledgers / "paper.db").write_bytes(b"damaged" * 4000)
        for end in ("-wal", "-shm"):
            (made.ledgers / f"paper.db{end}").unlink(missing_ok=True)
    with pytest.raises(LedgerRefusedError):
        armed(settings(), new, LATER)
    assert "cannot be read again" in armed(settings(), folder, LATER)[1][0].text


def test_a_desk_that_holds_something_is_not_asked_for_the_minima(tmp_path: Path) -> None:
    made = DataFolder(tmp_path)
    made.make()
    with pytest.raises(CommandError, match="Live is not armed"):
        armed(settings(), made, ask.T0)
    hold(made, "live")
    assert armed(settings(), made, ask.T0)[1][0].key == "readiness"


# -- secrets and settings --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "key"), [("ZEROHOUR_LIVE_ARMED", "not_armed"), ("ZEROHOUR_GEXBOT_KEY", "vendor_key")]
)  # fmt: skip
def test_what_is_missing_is_an_alarm_where_something_is_held_and_a_refusal_where_not(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch, missing: str, key: str
) -> None:
    given = {"ZEROHOUR_LIVE_ARMED": "yes", "ZEROHOUR_IB_ACCOUNT": "U1234567", "ZEROHOUR_GEXBOT_KEY": "a key"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert allowed_of(settings(), folder, LATER).is_armed
    monkeypatch.delenv(missing)
    with pytest.raises(CommandError, match=missing):
        allowed_of(settings(), folder, LATER)
    hold(folder, "live")
    allowed = allowed_of(settings(), folder, LATER)
    assert (allowed.told[0].key, allowed.told[0].severity) == (key, Severity.HIGH)
    assert allowed.is_armed is (key != "not_armed")
    assert len(allowed.keys) == len(settings().feed.keys)
    assert bool(allowed.key_names) is (key != "vendor_key")  # nobody holds a lock on a key that is none


@pytest.mark.slow
def test_wrong_settings_are_no_reason_to_give_up_what_is_held(tmp_path: Path) -> None:
    made, wrong = DataFolder(tmp_path / "data"), tmp_path / "wrong.yaml"
    made.make()
    wrong.write_text("profile: real\nentry: {positions_max: none}\n", encoding="utf-8")
    call = ("--config", str(wrong), "run")
    assert main_py(made.root, *call).returncode == 2
    hold(made, "paper")
    done = main_py(made.root, *call)
    assert (done.returncode, "positions_max" in done.stderr, "A position may be open" in done.stderr) == (3, True, True)
    assert main_py(made.root, "run", ZEROHOUR_ENV_FILE=str(tmp_path / "none.env")).returncode == 3
    note_kind(made.ledgers, "paper", DeskKind.SIM)
    assert main_py(made.root, *call).returncode == 2


# -- the dashboard ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "web",
    [
        {"host": "192.0.2.10", "allowed_from": ["192.0.2.0/24"], "allows_plain_http": True},
        {"host": "0.0.0.0", "allowed_from": ["10.0.0.0/8"], "tls": {"certificate": "/none.pem", "key": "/none.key"}},
        {"port": 33_100, "public": {"is_on": True, "host": "127.0.0.1"}},
    ],
    ids=["address", "certificate", "public port"],
)  # fmt: skip
def test_a_dashboard_that_cannot_listen_is_an_alarm_for_a_real_desk_and_a_refusal_for_a_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: dict[str, Any]
) -> None:
    monkeypatch.setenv("ZEROHOUR_WEB_TOKEN", "a token of more than sixteen")
    made = DataFolder(tmp_path)
    made.make()
    with listen("127.0.0.1", 33_000) as taken:
        if "public" in web:
            web["public"]["port"] = taken.getsockname()[1]
        feed, told = feed_or_alarm(of("real", web), made, 1, None, ask.T0)
        assert feed is not None
        assert (feed.url, [(alarm.key, alarm.severity) for alarm in told]) == ("", [("dashboard", Severity.HIGH)])
        feed.close()
        with pytest.raises(CommandError):
            feed_or_alarm(of("demo", web), made, 1, None, ask.T0)


def test_a_real_desks_dashboard_that_could_not_listen_at_the_start_comes_once_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.feed.AGAIN_S", 0.1)
    made = DataFolder(tmp_path)
    made.make()
    opened: list[str] = []
    with listen("127.0.0.1", 33_400) as taken:
        public = {"is_on": True, "host": "127.0.0.1", "port": taken.getsockname()[1]}
        feed, _ = feed_or_alarm(of("real", {"port": 33_500, "public": public}), made, 1, None, ask.T0)
        assert feed is not None
        feed.on_open = opened.append
        feed.start()
    try:
        eventually(lambda: opened == [feed.url] != [""])
        eventually(lambda: feed.starts == 1)
    finally:
        feed.close()


def test_a_missing_token_of_signals_from_outside_stops_no_real_desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZEROHOUR_SIGNALS_TOKEN", raising=False)
    made = DataFolder(tmp_path)
    made.make()
    wanted = load_settings(profile="real", overrides={"lanes": {"outside": ["SPX"]}})
    with pytest.raises(CommandError, match="ZEROHOUR_SIGNALS_TOKEN"):
        feed_of(wanted, made, 1, None)
    assert "ZEROHOUR_SIGNALS_TOKEN" in feed_or_alarm(wanted, made, 1, None, ask.T0)[1][0].text


def of(profile: str, web: dict[str, Any]) -> Settings:
    return load_settings(profile=profile, overrides={"web": web})


@pytest.mark.slow
def test_a_real_desk_trades_on_without_its_dashboard_which_comes_when_it_can(tmp_path: Path) -> None:
    data, mine, said = tmp_path / "data", tmp_path / "mine.yaml", tmp_path / "said"
    with listen("127.0.0.1", 33_200) as taken, said.open("wb") as out:
        mine.write_text(
            "profile: real\nbroker: {gateways: [{host: 127.0.0.1, port: 1}]}\n"
            "feed: {negotiate_url: 'http://127.0.0.1:1/v2/negotiate'}\n"
            f"web: {{port: 33300, public: {{is_on: true, host: 127.0.0.1, port: {taken.getsockname()[1]}}}}}\n",
            encoding="utf-8",
        )
        running = subprocess.Popen(
            [sys.executable, "-u", "main.py", "--config", str(mine), "--data", str(data), "run"], cwd=ROOT, stdout=out,
            stderr=out, env=os.environ | {"ZEROHOUR_ENV_FILE": "", "ZEROHOUR_GEXBOT_KEY": f"none of {tmp_path}"},
        )  # fmt: skip
        try:
            told = "HIGH: There is no dashboard yet"
            eventually(lambda: running.poll() is not None or told in said.read_text())
            assert main_py(data, "status").returncode == 0  # it runs, and answers
            taken.close()
            eventually(lambda: "Dashboard: http://127.0.0.1:" in said.read_text())
        finally:
            running.kill()
            running.wait(30)


# -- promotions ------------------------------------------------------------------------------------


def test_the_settings_promote_no_strangers_signals(tmp_path: Path) -> None:
    made = DataFolder(tmp_path)
    made.make()
    wanted = load_settings(
        profile="real",
        overrides={"promoted": ["GAMMA_FLIP-1"], "lanes": {"gexwatch": ["SPX"], "outside": ["SPX"]}},
    )
    start_run(made.ledgers, (wanted.desk,), ask.T0)
    live._promote(wanted, made, MarketClock.real())
    found = LedgerReader(made.ledgers, wanted.desk).promotions()
    assert sorted((row["source"], row["kind"]) for row in found) == [
        ("advisor", "GAMMA_FLIP"), ("gexwatch", "GAMMA_FLIP")
    ]  # fmt: skip


def test_a_kind_from_outside_may_not_bear_the_name_of_one_of_ours() -> None:
    with pytest.raises(SettingsError, match=r"outside\.kinds\.GAMMA_FLIP: bears the name"):
        load_settings(profile="real", overrides={"outside": {"kinds": {"GAMMA_FLIP": 1}}})
