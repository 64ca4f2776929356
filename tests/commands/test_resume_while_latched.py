"""A resume over the control line: refused while the process latch stands, and without the epoch that was seen."""

from __future__ import annotations

import threading

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


def test_a_resume_that_does_not_name_the_epoch_that_was_seen_is_refused() -> None:
    answer = answer_to(stepped(toy_tree(log=[])), threading.Event(), RESUME)
    assert answer["denied"] == "epoch_missing"
    assert "expected_epoch" in answer["detail"]
