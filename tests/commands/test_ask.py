"""Answers in plain language by the fixed grammar, each with the rows and records that it stands on."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from commands import mcp_server
from commands.ask import answer_to
from commands.ask_facts import Desk
from commands.ask_tools import Toolbox, ToolRefusedError
from commands.cli import main
from commands.control import ControlServer
from commands.folder import DataFolder
from config.settings import Settings, load_settings
from domain.ask.answer import Answer
from domain.instants import MINUTE
from storage.desk_ledger import DeskLedger
from tests.testkit import ledger_asks as ask
from tests.testkit.asked_desk import ACCOUNT, MASKED, asked_desk

SHARED, OWN = "ledgers/ledger.db", "ledgers/paper.db"


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return asked_desk(tmp_path)


def settings_of(folder: DataFolder) -> Settings:
    return load_settings(profile="demo", overrides={"data_dir": str(folder.root)})


def answer(folder: DataFolder, text: str) -> Answer:
    return answer_to(text, settings_of(folder), folder)


def sources(found: Answer) -> dict[str, set[str]]:
    by_table: dict[str, set[str]] = {}
    for citation in found.citations:
        by_table.setdefault(citation.table, set()).add(citation.row)
    return by_table


def test_why_tells_a_trade_from_its_alert_to_its_end_and_cites_rows_and_trace(folder: DataFolder) -> None:
    found = answer(folder, "why did we buy the 6005 call?")
    for words in ("Bought 2 SPXW 6005C", "at 5.05", "gexwatch found GAMMA_FLIP on SPX", "-120.00 USD net"):
        assert words in found.text
    cited = sources(found)
    assert ask.ref(1) in cited[f"{OWN} orders"]
    assert cited[f"{SHARED} alerts"] == {ask.alert_id(1)}
    assert cited[f"{OWN} positions"] == {ask.stem(1)}
    assert {"seq 1 (alert)", "seq 2 (signal)", "seq 3 (gates)"} <= cited[f"traces/{ask.DAY}/run-1"]


def test_what_an_answer_cites_is_there(folder: DataFolder) -> None:
    cited = sources(answer(folder, "why did we buy the 6005 call?"))
    with sqlite3.connect(folder.ledgers / "paper.db") as db:
        (attempt,) = cited[f"{OWN} gate_log"]
        assert db.execute("SELECT alert_id FROM gate_log WHERE n = ?", (attempt.split()[1],)).fetchall() == [
            (ask.alert_id(1),)
        ]
        for exec_id in cited[f"{OWN} executions"]:
            assert db.execute("SELECT count(*) FROM executions WHERE exec_id = ?", (exec_id,)).fetchone() == (1,)
    lines = folder.trace(ask.DAY, 1).read_bytes().splitlines()
    assert all(f'"seq":{n},'.encode() in lines[n] for n in (1, 2, 3))


def test_why_it_was_closed_comes_first_where_that_is_asked(folder: DataFolder) -> None:
    assert answer(folder, "why did we sell the 6005 call?").text.startswith("Closed at")


def test_why_an_entry_came_to_nothing(folder: DataFolder) -> None:
    assert "never filled" in answer(folder, f"why {ask.ref(3)}").text


def test_why_without_its_trace_says_so_and_stands_on_the_ledgers(folder: DataFolder) -> None:
    folder.trace(ask.DAY, 1).unlink()
    found = answer(folder, "why did we buy the 6005 call?")
    assert "trace of that day is not in this folder" in found.text
    assert f"{OWN} positions" in sources(found)


def test_a_contract_that_was_never_traded_is_not_invented(folder: DataFolder) -> None:
    found = answer(folder, "why did we buy the 7000 put?")
    assert not found.is_known
    assert "No trade like that" in found.text
    assert "SPXW 6005C" in found.text  # what there is


def test_why_not_at_a_time_names_the_refusal_and_its_row(folder: DataFolder) -> None:
    found = answer(folder, "why no trade in SPX at 10:01?")
    assert "stale_quote, 4 s against 3 s" in found.text
    assert any(row.startswith("n ") for row in sources(found)[f"{OWN} gate_log"])


def test_why_not_of_a_ticker_that_no_lane_watches(folder: DataFolder) -> None:
    few = {"data_dir": str(folder.root), "lanes": {"gexwatch": ["SPX"], "advisor": ["QQQ"]}}
    found = answer_to("why no trade in TSLA at 10:01?", load_settings(profile="demo", overrides=few), folder)
    assert "No lane watches TSLA" in found.text


def test_pnl_is_net_and_cites_the_positions(folder: DataFolder) -> None:
    found = answer(folder, "how much did we make this week")
    assert "-120.00 USD net of" in found.text
    assert sources(found)[f"{OWN} positions"] == {ask.stem(1)}


def test_pnl_of_another_ticker_leaves_the_trade_out(folder: DataFolder) -> None:
    assert "no trade was closed" in answer(folder, "how much did we make in QQQ").text


def test_pnl_of_another_contract_leaves_the_trade_out(folder: DataFolder) -> None:
    assert "-120.00 USD" in answer(folder, "how much did we make on the 6005 call").text
    for text in ("how much did we make on the 7000 call", "how much did we lose on puts"):
        assert "no trade was closed" in answer(folder, text).text


def test_a_question_of_which_a_part_is_not_known_is_not_answered_without_it(folder: DataFolder) -> None:
    for text in ("how much did we make this year", "how much did we make in AMZN", "what was open yesterday"):
        found = answer(folder, text)
        assert (found.is_known, "USD" in found.text) == (False, False), text


def test_a_weekday_is_the_newest_of_its_name_within_a_week(folder: DataFolder) -> None:
    assert "Session 2026-11-20" in answer(folder, "what did we trade on Friday").text
    assert "No session like that" in answer(folder, "what did we trade on Monday").text


def test_a_kill_level_that_nobody_knows_is_not_called_0(tmp_path: Path) -> None:
    empty = DataFolder(tmp_path)
    empty.make()
    found = answer(empty, "status").text
    assert "kill level is not known" in found
    assert "entries are allowed" not in found


def test_a_supervisor_that_does_not_answer_is_not_said_to_be_gone(folder: DataFolder) -> None:
    go_on = threading.Event()

    def hang(_: dict[str, Any]) -> dict[str, Any]:
        go_on.wait(60)
        return {}

    control = ControlServer(folder.control, hang)
    try:
        found = answer(folder, "status").text
    finally:
        go_on.set()
        control.close()
    assert "A supervisor runs and does not answer" in found
    assert "No supervisor runs" not in found


SIM = {"kind": "sim"}


def test_what_is_open_names_what_every_desk_holds(folder: DataFolder) -> None:
    several = load_settings(profile="demo", overrides={"data_dir": str(folder.root), "desks": {"shadow": SIM}})
    ledger = DeskLedger(folder.ledgers, "shadow", run_n=1)
    ledger.open()
    for message in (ask.reserve(5), ask.execution(5, exec_id="5.1", price_ticks=500), ask.position(5)):
        ledger.apply(message, ask.T0)
    found = answer_to("what is open?", several, folder)
    assert "Desk paper: Nothing is held" in found.text
    assert "Desk shadow: Open: 1." in found.text
    assert "ledgers/shadow.db reservations" in sources(found)
    assert "desk paper alone (not shadow)" in answer_to("how much did we make today", several, folder).text
    named = answer_to("how much did we make today at desk shadow", several, folder).text
    assert "desk shadow alone (not paper)" in named


def test_a_tool_and_a_kill_level_are_of_the_desk_that_a_call_names(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = load_settings(profile="demo", overrides={"data_dir": str(folder.root), "desks": {"other": SIM}})
    box = Toolbox(Desk(several, folder))
    assert "not paper" in box.call("performance", {"desk": "other"}).text
    assert "not other" in box.call("performance", {}).text
    with pytest.raises(ToolRefusedError, match="There is no desk 'nobody' in these settings; there are: paper, other"):
        box.call("trades", {"desk": "nobody"})

    heard: list[dict[str, Any]] = []

    def request(_path: Path, wanted: dict[str, Any], _wait_s: float) -> dict[str, Any]:
        heard.append(wanted)
        return {"done": "raised"}

    monkeypatch.setattr(mcp_server, "request", request)
    desktop, asked = mcp_server.Desktop(box, allows_kill=True), {"level": 1, "reason": "asked by a test"}
    for desk in ({"desk": "other"}, {}, {"desk": "nobody"}):
        told = asyncio.run(desktop.call("raise_kill_level", asked | desk))
        assert told.is_error is (desk == {"desk": "nobody"})
    assert [wanted.get("desk") for wanted in heard] == ["other", None]


def test_rejects_are_counted_by_code(folder: DataFolder) -> None:
    assert "stale_quote 1" in answer(folder, "what was refused today?").text


def test_alerts_are_listed(folder: DataFolder) -> None:
    assert sources(answer(folder, "which alerts were there?"))[f"{SHARED} alerts"] == {
        ask.alert_id(n) for n in (1, 2, 3)
    }


def test_status_says_that_nothing_runs_what_stops_entries_and_masks_an_account(folder: DataFolder) -> None:
    found = answer(folder, "are we running?")
    assert "No supervisor runs" in found.text
    assert "kill level is 1" in found.text
    assert MASKED in found.text
    assert ACCOUNT not in found.text
    assert sources(found)[f"{SHARED} kill"] == {"kill_epoch 1"}


@pytest.mark.parametrize(
    "text", ["status", "what is open", "p&l", "trades", "rejects", "alerts", "gaps", "why not", "why not at 10:00",
             "why did we buy the 6005 call"]
)  # fmt: skip
def test_every_answer_cites_something(folder: DataFolder, text: str) -> None:
    assert answer(folder, text).citations


def test_a_day_without_a_session_names_those_there_are(folder: DataFolder) -> None:
    found = answer(folder, "p&l yesterday")
    assert not found.is_known
    assert str(ask.DAY) in found.text


def test_an_empty_folder_answers_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path / "none"), "ask", "status"]) == 0
    assert main(["--data", str(tmp_path / "none"), "ask", "trades"]) == 1
    assert "there is none yet" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()  # asking makes nothing


def test_what_is_not_understood_shows_what_is(folder: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(folder.root), "ask", "sing", "me", "a", "song"]) == 1
    offered = [line.strip() for line in capsys.readouterr().out.splitlines() if line.endswith("?")]
    assert any(question.startswith("why did we buy the ") for question in offered)
    for question in offered:
        main(["--data", str(folder.root), "ask", question])
        assert "I did not understand" not in capsys.readouterr().out
    assert not [question for question in offered if "5890" in question], "no trade of another day"


def test_the_command_prints_its_sources_in_80_columns(folder: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(folder.root), "ask", "why did we buy the 6005 call?"]) == 0
    out = capsys.readouterr().out
    assert "Rests on:" in out
    assert ask.ref(1) in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_answer_as_json(folder: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(folder.root), "ask", "--json", "p&l"]) == 0
    told = orjson.loads(capsys.readouterr().out)
    assert told["is_known"]
    assert {"table": f"{OWN} positions", "row": ask.stem(1)} in told["citations"]


def test_asking_writes_nothing(folder: DataFolder) -> None:
    def contents() -> dict[str, bytes | list[str]]:
        found: dict[str, bytes | list[str]] = {}
        for path in folder.root.rglob("*"):
            if path.suffix == ".db":  # SQLite may move what was written from its log to the file whenever it likes
                with closing(sqlite3.connect(path)) as db:
                    found[path.name] = list(db.iterdump())
            elif path.is_file() and not path.name.endswith(("-wal", "-shm")):
                found[str(path)] = path.read_bytes()
        return found

    before = contents()
    assert len(before) == 3  # both ledgers, and the trace
    for text in ("status", "p&l", "why did we buy the 6005 call?", "why not at 10:00", "delete all trades"):
        answer(folder, text)
    assert contents() == before


# -- beside a running supervisor ------------------------------------------------------------------


@pytest.fixture
def running(folder: DataFolder) -> Iterator[DataFolder]:
    """A supervisor that says of itself what a running one does, over its own control line."""
    at_utc = ask.T0 + 5 * MINUTE
    process = {"run_n": 3, "at_utc": at_utc, "latched": None}
    desk = {
        "at_utc": at_utc, "phase": "open", "mode": "FULLY_LIVE", "trading_mode": "paper", "locked": None,
        "unrealised_cents": 4_500,
        "held": [{"contract": "SPXW 6025C", "unrealised_cents": 4_500, "nearest": "take_profit"}],
    }  # fmt: skip
    told: dict[str, Any] = {
        "status": {
            "process": process, "actors": [{"name": "kill", "is_up": True}, {"name": "warehouse", "is_up": False}],
            "kill": {"level": 0, "by": "somebody", "reason": "calm again"},
        },
        "desk": {"process": process, "desk": desk},
    }  # fmt: skip
    ledger = DeskLedger(folder.ledgers, "paper", run_n=2)
    ledger.open()
    for message in (ask.reserve(5), ask.execution(5, exec_id="5.1", price_ticks=500), ask.position(5)):
        ledger.apply(message, ask.T0)
    control = ControlServer(folder.control, lambda request: told[request["do"]])
    yield folder
    control.close()


def test_a_running_supervisor_is_asked_first(running: DataFolder) -> None:
    found = answer(running, "status").text
    assert "A supervisor runs (run 3), at 10:05:00 New York; DOWN: warehouse." in found
    assert "order session FULLY_LIVE" in found
    assert "kill level is 0" in found  # in force, whatever the ledger has come to write


def test_what_is_open_is_told_with_what_it_is_worth_now(running: DataFolder) -> None:
    found = answer(running, "what is open?")
    assert "2 SPXW 6025C at 5.00" in found.text
    assert "now +45.00 USD, nearest exit take profit" in found.text
    assert ask.ref(5) in sources(found)[f"{OWN} reservations"]


def test_the_days_result_counts_what_is_open_apart(running: DataFolder) -> None:
    assert "Open positions: +45.00 USD not realised." in answer(running, "p&l today").text


def test_a_trade_that_is_still_held_is_said_to_be(running: DataFolder) -> None:
    assert "It is still held." in answer(running, "why did we buy the 6025 call?").text
