"""A resume over the control line: refused while the process latch stands, and without the epoch that was seen."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from commands.cli import main
from commands.control import ControlServer
from commands.folder import DataFolder
from commands.requests import answer as answer_to
from supervision.stepped import SteppedRuntime
from tests.testkit.toys import stepped, toy_tree

RESUME = {"do": "resume", "by": "ann", "reason": "fine again", "level": 0}


def test_a_resume_while_the_latch_stands_is_refused_with_the_reason_and_the_remedy() -> None:
    runtime: SteppedRuntime = stepped(toy_tree(log=[]))
    runtime.latch("kill crashed: ValueError: told to")
    answer = answer_to(runtime, threading.Event(), RESUME)
    assert answer["denied"] == "latched"
    assert "kill crashed" in answer["detail"]
    assert "start it again" in answer["detail"]


def test_a_resume_shows_and_names_the_level_in_force_before_it_is_on_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, Any]] = []

    def supervisor(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request)
        in_force = {"level": 1, "kill_epoch": 7, "reason": "VIX rose", "by": "risk:paper"}
        return {"kill": in_force} if request["do"] == "status" else {"done": "Kill level is 0 (epoch 8)."}

    folder = DataFolder(tmp_path)
    folder.run.mkdir(parents=True)
    server = ControlServer(folder.control, supervisor)
    try:
        assert main(["--data", str(tmp_path), "resume", "--reason", "calm again"]) == 0
    finally:
        server.close()
    assert [(request["do"], request.get("expected_epoch")) for request in asked] == [("status", None), ("resume", 7)]
    assert "Lowering kill level 1, raised by risk:paper: VIX rose" in capsys.readouterr().out


def test_a_resume_that_does_not_name_the_epoch_that_was_seen_is_refused() -> None:
    answer = answer_to(stepped(toy_tree(log=[])), threading.Event(), RESUME)
    assert answer["denied"] == "epoch_missing"
    assert "expected_epoch" in answer["detail"]
