"""Parts of a demo day in real processes over real sockets: kill -9, clean stop, operator commands, bad surroundings."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from commands.folder import DataFolder
from commands.report import facts
from commands.traces import records
from config.settings import load_settings
from storage.queries import LedgerReader
from tests.testkit.anchored import ANCHORED_ENVIRONMENT
from tests.testkit.live_folder import live_folder
from tests.testkit.supervisor_child import ENTRIES_FILL, LEAVES_SOON, Supervisor, command, eventually, main_py

pytestmark = pytest.mark.slow
# The first trade opens shortly after 09:46.
BEFORE_THE_FIRST_TRADE = {**ANCHORED_ENVIRONMENT, **ENTRIES_FILL, "ZEROHOUR_DEMO__START_CLOCK": "09:38:00"}
NOTHING_TRADES = BEFORE_THE_FIRST_TRADE | {"ZEROHOUR_PROMOTED": "[]"}  # a busy machine gets to trades before a command
A_SECOND_ENTRY_S = 300  # on a busy machine the first one can end without a fill: the market does not wait for it


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    with live_folder(tmp_path / "data") as root:
        yield root


def placed(folder: DataFolder) -> list[str]:
    lines = (line for path in folder.traces_newest_first() for line in records(path))
    return [orjson.loads(line)["message"]["order"]["order_ref"] for line in lines if b'"broker.PlaceOrder"' in line]


def test_a_killed_supervisor_resumes_with_its_position_and_sends_nothing_twice(data: Path) -> None:
    first = Supervisor(data, **BEFORE_THE_FIRST_TRADE)
    first.wait_for("Filled: BUY", A_SECOND_ENTRY_S)
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    folder = DataFolder(data)
    assert folder.sim("gateway"), "the broker must outlive the supervisor"
    report = command(data, "report")
    said = " ".join(report.stdout.split())
    assert report.returncode == 1
    assert "no supervisor runs: positions are open (see Open)" in said
    assert "is running" not in said

    folder.kill_file.write_text("1")  # what is held goes on to its exit; on a busy machine another entry could come
    second = Supervisor(data, **BEFORE_THE_FIRST_TRADE, **LEAVES_SOON)
    second.wait_for("Resuming the demo day")
    second.wait_for("Closed")
    assert second.end(signal.SIGTERM) == 0

    settings = load_settings(profile="demo", overrides={"data_dir": str(data)})
    found = facts(settings, folder, settings.demo.session)
    assert found["is_flat"]
    assert len(found["trades"]) == 1
    assert found["runs"] == [1, 2]
    refs = placed(folder)
    assert len(refs) == len(set(refs)) >= 2
    bought, sold = (
        sum(e["qty"] for e in LedgerReader(folder.ledgers, "paper").executions(settings.demo.session) if e["side"] == s)
        for s in ("BUY", "SELL")
    )
    assert bought == sold > 0


def test_ctrl_c_with_a_position_says_what_is_open_and_the_next_run_goes_on_with_it(data: Path) -> None:
    first = Supervisor(data, **BEFORE_THE_FIRST_TRADE)
    first.wait_for("Filled: BUY", A_SECOND_ENTRY_S)
    assert first.end(signal.SIGINT) == 1, "a day that is not flat"
    said = " ".join(" ".join(first.lines).split())
    assert "Open:" in said
    assert "nothing at the broker protects it while no supervisor runs" in said
    assert "`main.py run` reads the broker back and goes on with this day" in said
    folder = DataFolder(data)
    assert folder.sim("gateway"), "the broker must outlive what it holds"

    second = Supervisor(data, **BEFORE_THE_FIRST_TRADE)
    second.wait_for("Resuming the demo day")
    second.process.send_signal(signal.SIGUSR2)
    second.wait_for("Kill level 2")
    second.wait_for("Closed")
    assert command(data, "resume", "--reason", "again").returncode == 0
    second.wait_for("Kill level 0")
    second.lines.clear()
    second.process.send_signal(signal.SIGUSR2)
    second.wait_for("Kill level 2")
    eventually(lambda: not LedgerReader(folder.ledgers, "paper").held())  # on a busy machine an entry came between
    assert second.end(signal.SIGTERM) == 0
    assert folder.sim("gateway") is None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "stopped, so that the market stands"])
def test_a_flatten_by_the_direct_way_closes_what_a_supervisor_left(data: Path, how: int) -> None:
    first = Supervisor(data, **BEFORE_THE_FIRST_TRADE)
    first.wait_for("Filled: BUY", A_SECOND_ENTRY_S)
    beside = main_py(data, "flatten", "--direct", "--yes", "--reason", "test")
    assert (beside.returncode, "A supervisor runs on" in beside.stderr) == (3, True)
    assert first.end(how) == (-how if how == signal.SIGKILL else 1)

    done = main_py(data, "flatten", "--direct", "--yes", "--reason", "test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "selling" in done.stdout

    second = Supervisor(data, **BEFORE_THE_FIRST_TRADE)
    second.wait_for("the KILL file says 2")
    second.wait_for("Closed")
    assert second.end(signal.SIGTERM) == 0
    settings = load_settings(profile="demo", overrides={"data_dir": str(data)})
    assert facts(settings, DataFolder(data), settings.demo.session)["is_flat"]


def test_a_sigusr2_right_at_the_start_is_carried_out_once_the_actors_are_up(data: Path) -> None:
    running = Supervisor(data, **BEFORE_THE_FIRST_TRADE)
    eventually((DataFolder(data).run / "supervisor.lock").exists)
    running.process.send_signal(signal.SIGUSR2)
    running.wait_for("Kill level 2 (cancel and flatten, no entries), raised by signal: SIGUSR2")
    assert running.end(signal.SIGTERM) == 0


def test_promotions_are_withdrawn_and_given_over_the_control_line(data: Path) -> None:
    none = command(data, "demote", "gexwatch", "GAMMA_FLIP-1", "--reason", "test")
    assert (none.returncode, none.stderr.count("\n")) == (3, 1)
    assert "No supervisor runs" in none.stderr
    data.mkdir(exist_ok=True)
    (data / "KILL").write_text("1")  # on a busy machine a trade could come between two commands
    running = Supervisor(data, **BEFORE_THE_FIRST_TRADE)
    running.wait_for("FULLY_LIVE")
    assert "are shadows" in command(data, "demote", "gexwatch", "GAMMA_FLIP-1", "--reason", "test").stdout
    flip = "promote", "gexwatch", "GAMMA_FLIP-1", "--reason", "test"
    refused = command(data, *flip)
    assert (refused.returncode, refused.stderr.partition(" resolved")[0].isdigit()) == (1, True)
    assert "trade from now on" in command(data, *flip, "--unproven").stdout
    unknown = command(data, "promote", "gexwatch", "NOTHING-1", "--reason", "test")
    assert (unknown.returncode, "there are:" in unknown.stderr) == (1, True)
    assert command(data, "promote", "gexwatch", "GAMMA_FLIP", "--reason", "test").returncode == 2
    rows = LedgerReader(DataFolder(data).ledgers, "paper").promotions()
    assert [(row["by"], row["is_promoted"]) for row in rows if row["by"] == "cli"] == [("cli", 0), ("cli", 1)]
    assert running.end(signal.SIGTERM) == 0


def test_operator_commands_reach_a_running_supervisor_and_a_second_one_is_refused(data: Path) -> None:
    running = Supervisor(data, **NOTHING_TRADES)
    running.wait_for("FULLY_LIVE")

    second = main_py(data, "run")
    assert second.returncode == 3
    assert "Another supervisor" in second.stderr
    assert "Traceback" not in second.stderr

    status = orjson.loads(command(data, "status", "--json").stdout)
    assert status["process"]["latched"] is None
    assert {"kill", "risk:paper", "ibkr:paper", "lane:gexwatch:SPX"} <= {a["name"] for a in status["actors"]}

    assert command(data, "kill", "1", "--reason", "test").returncode == 0
    running.wait_for("Kill level 1 (no entries), raised by cli: test.")
    assert command(data, "resume", "--reason", "test over").returncode == 0
    running.wait_for("Kill level 0 (running), lowered by cli: test over")
    (data / "KILL").write_text("1")
    running.wait_for("the KILL file says 1")

    assert running.end(signal.SIGTERM) == 0
    folder = DataFolder(data)
    assert folder.sim("gateway") is None
    assert folder.sim("hubs") is None
    assert not folder.control.exists()
    gone = command(data, "status")
    assert gone.returncode == 3
    assert "No supervisor runs" in gone.stderr


def test_a_console_that_goes_away_ends_nothing(data: Path) -> None:
    running = Supervisor(data, **NOTHING_TRADES)
    running.wait_for("Starting the demo day")
    assert running.process.stdout is not None
    running.close_console()
    running.process.send_signal(signal.SIGHUP)
    folder = DataFolder(data)

    def is_live() -> bool:
        modes = (line for path in folder.traces_newest_first() for line in records(path))
        return any(b'"FULLY_LIVE"' in line for line in modes)

    eventually(is_live)
    assert running.process.poll() is None
    assert running.end(signal.SIGTERM) == 0
    assert folder.sim("gateway") is None


def test_ctrl_c_at_any_moment_of_the_start_leaves_no_process(data: Path) -> None:
    running = Supervisor(data, **BEFORE_THE_FIRST_TRADE)
    folder = DataFolder(data)
    eventually((folder.run / "sim-hubs.log").exists)
    assert running.end(signal.SIGINT) in (0, 130)
    assert folder.sim("gateway") is None
    assert folder.sim("hubs") is None
    assert not any("Traceback" in line for line in running.lines)


def test_a_report_says_how_far_the_day_has_come(data: Path) -> None:
    assert "nothing to report" in command(data, "report").stderr
    running = Supervisor(data, **NOTHING_TRADES)
    running.wait_for("FULLY_LIVE")
    assert "The day is running" in command(data, "report").stdout
    assert "there are: 2026-11-20" in command(data, "report", "2020-01-01").stderr
    assert running.end(signal.SIGTERM) == 0
    assert "stopped before its end; nothing is held" in command(data, "report").stdout


def test_a_real_configuration_without_peers_says_so_and_keeps_trying(data: Path) -> None:
    settings = data.parent / "real.yaml"
    settings.write_text(
        "profile: real\n"
        "feed: {negotiate_url: 'http://127.0.0.1:9/v2/negotiate'}\n"
        "broker: {gateways: [{host: 127.0.0.1, port: 9}]}\n"
    )
    running = Supervisor(data, "--config", str(settings), ZEROHOUR_GEXBOT_KEY="gexbot_custom_live_day")
    running.wait_for("This desk is new: it starts at kill level 1")
    running.wait_for("No session with the IB Gateway")
    running.wait_for("The feed gave no addresses")
    assert running.end(signal.SIGTERM) == 0
    assert not any("Traceback" in line for line in running.lines)


def test_a_demo_never_touches_ledgers_that_no_demo_made(data: Path) -> None:
    (data / "ledgers").mkdir(parents=True)
    (data / "ledgers" / "paper.db").write_bytes(b"money")
    refused = main_py(data, "run")
    assert refused.returncode == 3  # nobody can say whether that ledger holds something
    assert "no demo day made" in refused.stderr
    assert (data / "ledgers" / "paper.db").read_bytes() == b"money"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--config", "no-such.yaml", "doctor"), "Cannot read"),
        (("replay", "no-such.jsonl"), "There is no trace"),
        (("why", "ZH-paper-NOTHING-e"), "No trace knows"),
        (("report", "yesterday"), "is not a date"),
        (("sim", "gateway", "--faults", "no-such.yaml"), "no-such.yaml"),
    ],
)
def test_a_bad_call_gets_one_sentence(data: Path, arguments: tuple[str, ...], words: str) -> None:
    ended = command(data, *arguments)
    assert ended.returncode in (1, 2, 3)
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
