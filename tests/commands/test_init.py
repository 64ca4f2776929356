"""`init`: its files hold, secrets are private, wrong answers are asked again, and nothing is written halfway."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values

from commands import init
from commands.cli import main
from commands.init_files import example
from config.aliases import VARIABLES
from config.settings import load_settings
from tests.testkit.paths import ROOT


@pytest.fixture(autouse=True)
def _nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if (name.startswith("ZEROHOUR_") and name != "ZEROHOUR_ENV_FILE") or name in {a.name for a in VARIABLES}:
            monkeypatch.delenv(name)
    monkeypatch.setattr(init, "_answering", lambda _: [])


def answered(monkeypatch: pytest.MonkeyPatch, folder: Path, *answers: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{answer}\n" for answer in answers)))
    return main(["init", "--out", str(folder)])


# mode, host, port, account, source, key, gexwatch, advisor, loss, data, address for messages
DEFAULTS = ("",) * 11


def test_enter_at_every_question_gives_a_paper_desk_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answered(monkeypatch, tmp_path / "desk", *DEFAULTS) == 0
    plain = load_settings(profile="real")
    mine = load_settings(tmp_path / "desk" / "zerohour.yaml")
    assert mine.data_dir == tmp_path / "desk" / "data"
    assert mine.model_copy(update={"data_dir": plain.data_dir}).to_json() == plain.to_json()


def test_two_desks_in_folders_of_their_own_share_no_data(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert main(["init", "--yes", "--out", str(tmp_path / name)]) == 0
    one, two = (load_settings(tmp_path / name / "zerohour.yaml").data_dir for name in ("one", "two"))
    assert (one, two) == (tmp_path / "one" / "data", tmp_path / "two" / "data")


def test_a_desk_beside_the_program_keeps_its_data_there() -> None:
    assert init.defaults(load_settings(profile="real"), init.ROOT).data_dir == "data"


def test_what_is_answered_stands_in_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = answered(
        monkeypatch,
        tmp_path,
        "live",
        "10.0.0.5",
        "7496",
        "U1234567",
        "rest",
        "a #'key\\",
        "SPX, SPY",
        "-",
        "1,500",
        "books",
        "discord://an-id/a-token",
    )
    assert code == 0
    mine = load_settings(tmp_path / "zerohour.yaml")
    gateway = mine.broker.gateways[0]
    assert (mine.profile, mine.trading_mode, mine.desk) == ("real", "live", "live")
    assert (gateway.host, gateway.port, mine.broker.live_port) == ("10.0.0.5", 7496, 7496)
    assert (mine.feed.source, mine.entry.daily_loss_max_cents, mine.data_dir.name) == ("rest", 150_000, "books")
    assert {name: tickers for name, tickers in mine.lanes.items() if tickers} == {"gexwatch": ("SPX", "SPY")}
    assert mine.promoted == ()
    env = tmp_path / ".env"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert dotenv_values(env) == {
        "ZEROHOUR_GEXBOT_KEY": "a #'key\\", "ZEROHOUR_IB_ACCOUNT": "U1234567",
        "ZEROHOUR_NOTIFY_URL": "discord://an-id/a-token",
    }  # fmt: skip
    (target,) = mine.notify.targets.values()
    assert (target.url_env, "kill" in target.topics) == ("ZEROHOUR_NOTIFY_URL", True)
    assert "1234567" not in (tmp_path / "zerohour.yaml").read_text(encoding="utf-8")


def test_a_provider_is_set_up_with_its_own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answered(monkeypatch, tmp_path, *DEFAULTS[:4], "provider", "its-key", *DEFAULTS[6:]) == 0
    assert load_settings(tmp_path / "zerohour.yaml").feed.source == "provider"
    assert dotenv_values(tmp_path / ".env") == {"ZEROHOUR_PROVIDER_KEY": "its-key"}


@pytest.mark.parametrize(
    ("place", "wrong", "right", "said"),
    [
        (0, "maybe", "paper", "none of paper, live"),
        (1, "a'b", "localhost", "without quotes"),
        (2, "99999", "4002", "is no port"),
        (3, "U7654321", "DU7654321", "no paper account"),
        (3, "DU 1", "DU1", "letters and digits"),
        (4, "magic", "hubs", "none of hubs, rest, chain, provider"),
        (6, "XYZ", "SPX", "XYZ has no rules here"),
        (8, "-5", "500", "is no amount"),
        (10, "my phone", "", "that is no address"),
    ],
)
def test_a_wrong_answer_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    place: int, wrong: str, right: str, said: str,
) -> None:  # fmt: skip
    answers = [*DEFAULTS[:place], wrong, right, *DEFAULTS[place + 1 :]]
    assert answered(monkeypatch, tmp_path, *answers) == 0
    assert said in capsys.readouterr().out


def test_answers_that_end_too_early_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answered(monkeypatch, tmp_path / "desk", *DEFAULTS[:5]) == 1
    assert "Nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "desk").exists()


@pytest.mark.parametrize("name", ["zerohour.yaml", ".env"])
def test_what_is_there_is_kept_unless_it_is_to_be_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).write_text("mine", encoding="utf-8")
    call = ["init", "--yes", "--out", str(tmp_path)]
    assert main(call) == 2
    assert (tmp_path / name).read_text(encoding="utf-8") == "mine"
    assert "--force" in capsys.readouterr().err
    assert main([*call, "--force"]) == 0
    assert (tmp_path / name).read_text(encoding="utf-8") != "mine"


def test_a_gateway_that_answers_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(init, "_answering", lambda _: [4001, 7497])
    assert answered(monkeypatch, tmp_path, *DEFAULTS) == 0
    out = capsys.readouterr().out
    assert "127.0.0.1:7497 answers (TWS, paper)" in out
    assert "Its port [7497]" in out
    assert load_settings(tmp_path / "zerohour.yaml").broker.paper_port == 7497


def test_every_line_of_the_settings_file_fits_a_page_and_each_section_is_explained(tmp_path: Path) -> None:
    assert main(["init", "--yes", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "zerohour.yaml").read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 110
    assert text.count("#") > 8


def test_the_example_of_the_variables_is_what_init_writes() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == example(load_settings(profile="real"))


def test_git_never_sees_the_secrets() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


@pytest.mark.slow
def test_a_person_at_a_pipe_gets_through_it(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "main.py", "init", "--out", str(tmp_path)], input="\n" * len(DEFAULTS), cwd=ROOT, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / ".env").exists()
