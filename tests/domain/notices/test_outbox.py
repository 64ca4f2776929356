"""Lines that wait for a target: gathered, tried again, given up, and never lost without being counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.alarm import Severity
from domain.notices.outbox import BODY_MAX, Failure, Notice, Outbox, Pauses, body_of, most_urgent

PAUSES = Pauses(batch_s=2, lines_max=3, queue_max=5, retry_min_s=4, retry_max_s=60, give_up_s=600)


def line(text: str = "x", severity: Severity = Severity.INFO) -> Notice:
    return Notice("entry", severity, text)


def filled(*texts: str, pauses: Pauses = PAUSES) -> Outbox:
    box = Outbox(pauses)
    for text in texts:
        box.put(line(text), 0.0)
    return box


def texts(notices: tuple[Notice, ...]) -> list[str]:
    return [notice.text for notice in notices]


def test_lines_of_two_seconds_go_out_as_one_message() -> None:
    box = filled("a")
    box.put(line("b"), 1.5)
    assert (box.due_s(), box.next(1.9)) == (2.0, ())
    assert texts(box.next(2.0)) == ["a", "b"]


def test_an_urgent_line_waits_for_nothing_and_takes_the_others_along() -> None:
    box = filled("a")
    box.put(line("!", Severity.HIGH), 0.5)
    assert texts(box.next(0.5)) == ["a", "!"]


def test_one_message_is_under_way_at_a_time() -> None:
    box = filled("a", "b", "c", "d")
    assert texts(box.next(2.0)) == ["a", "b", "c"]
    assert (box.next(9.0), box.due_s()) == ((), None)
    box.delivered()
    assert texts(box.next(9.0)) == ["d"]


def test_a_message_is_no_longer_than_its_target_takes() -> None:
    box = filled("a" * 399, "b" * 399, "c" * 399, "d" * 399, "e" * 399, pauses=replace(PAUSES, lines_max=20))
    sent = box.next(2.0)
    assert len(sent) == 4
    assert len(body_of(sent, 0)) <= BODY_MAX


def test_a_failure_is_tried_again_in_order_after_a_pause_that_doubles() -> None:
    box = filled("a", "b")
    tried = []
    now = 2.0
    for _ in range(6):
        assert texts(box.next(now)) == ["a", "b"]
        box.failed(now, Failure.AGAIN, "HTTP 500")
        due = box.due_s()
        assert due is not None
        tried.append(due - now)
        now = due
    assert tried == [4, 8, 16, 32, 60, 60]
    assert (box.is_failing, box.why) == (True, "HTTP 500")
    box.next(now)
    box.delivered()
    assert (box.is_failing, box.why, len(box)) == (False, "", 0)


def test_what_failed_goes_before_what_came_meanwhile() -> None:
    box = filled("a")
    box.next(2.0)
    box.put(line("b"), 2.0)
    box.failed(2.0, Failure.AGAIN, "HTTP 500")
    assert texts(box.next(6.0)) == ["a", "b"]


@pytest.mark.parametrize(("asked", "waited"), [(10.0, 10.0), (0.0, 4.0), (1e9, 60.0)])
def test_a_targets_own_pause_goes_before_ours_within_bounds(asked: float, waited: float) -> None:
    box = filled("a")
    box.next(2.0)
    box.failed(2.0, Failure.AGAIN, "HTTP 429", retry_after_s=asked)
    assert box.due_s() == 2.0 + waited


def test_a_refused_message_is_lost_and_does_not_hold_up_the_next() -> None:
    box = filled("a", "b", "c", "d")
    box.next(2.0)
    box.failed(2.0, Failure.REFUSED, "HTTP 400")
    assert box.take_lost() == 3
    assert texts(box.next(6.0)) == ["d"]


def test_too_many_lines_cost_the_oldest_of_the_least_urgent() -> None:
    box = filled("a", "b")
    for text in ("w1", "w2", "w3"):
        box.put(line(text, Severity.WARNING), 0.0)
    box.put(line("!", Severity.HIGH), 0.0)
    assert texts(box.next(0.0)) == ["b", "w1", "w2"]
    assert (box.take_lost(), box.take_lost()) == (1, 0)


def test_a_line_that_waited_too_long_is_given_up_and_the_next_message_says_so() -> None:
    box = filled("a", "b")
    box.put(line("c"), 500.0)
    sent = box.next(600.0)
    assert (texts(sent), box.take_lost(), box.unsaid) == (["c"], 2, 2)
    assert body_of(sent, box.unsaid) == "(2 lines before this could not be delivered)\nentry: c"
    box.delivered()
    box.put(line("d"), 600.0)
    box.next(602.0)
    assert box.unsaid == 0


def test_what_was_lost_is_said_again_where_the_word_of_it_did_not_arrive() -> None:
    box = filled("a")
    box.put(line("b"), 599.0)
    box.next(601.0)
    box.failed(601.0, Failure.AGAIN, "HTTP 500")
    box.next(700.0)
    assert box.unsaid == 1


def test_a_body_is_plain_lines_with_the_urgent_ones_marked() -> None:
    notices = (line("two\nlines"), Notice("kill", Severity.HIGH, "Kill level 2"), line("x" * 900))
    first, second, third = body_of(notices, 0).split("\n")
    assert (first, second) == ("entry: two lines", "HIGH kill: Kill level 2")
    assert third.endswith("x…")
    assert len(third) == len("entry: ") + 400
    assert most_urgent(notices) is Severity.HIGH


class Histories(RuleBasedStateMachine):
    """Whatever happens: a line was delivered once, waits, or was counted as lost."""

    def __init__(self) -> None:
        super().__init__()
        self.box = Outbox(PAUSES)
        self.now = 0.0
        self.put_n = self.delivered_n = self.lost_n = self.n_under_way = 0
        self.seen: list[int] = []

    @rule(severity=st.sampled_from(Severity))
    def put(self, severity: Severity) -> None:
        self.box.put(Notice("entry", severity, str(self.put_n)), self.now)
        self.put_n += 1

    @rule(seconds=st.sampled_from((0.5, 5.0, 100.0, 700.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: not self.n_under_way)
    @rule()
    def send(self) -> None:
        sent = self.box.next(self.now)
        self.n_under_way = len(sent)
        self.sent = [int(notice.text) for notice in sent]

    @precondition(lambda self: self.n_under_way)
    @rule()
    def deliver(self) -> None:
        self.box.delivered()
        assert not set(self.sent) & set(self.seen)
        self.seen += self.sent
        self.delivered_n += self.n_under_way
        self.n_under_way = 0

    @precondition(lambda self: self.n_under_way)
    @rule(failure=st.sampled_from(Failure), after=st.none() | st.floats(0, 1e6))
    def fail(self, failure: Failure, after: float | None) -> None:
        self.box.failed(self.now, failure, "no", after)
        self.n_under_way = 0
        due = self.box.due_s()
        assert due is None or self.now + PAUSES.retry_min_s <= due <= self.now + PAUSES.retry_max_s

    @invariant()
    def nothing_is_lost_without_being_counted(self) -> None:
        self.lost_n += self.box.take_lost()
        assert self.put_n == self.delivered_n + self.lost_n + len(self.box)
        assert len(self.box) <= PAUSES.queue_max

    @invariant()
    def what_arrives_is_in_order(self) -> None:
        assert self.seen == sorted(self.seen)


Histories.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestHistories = Histories.TestCase
