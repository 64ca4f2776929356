"""Ledgers whose messages share transactions hold the rows and give the answers of any other's."""

from __future__ import annotations

import resource
import signal
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instants import SECOND
from domain.instruments import Side
from domain.units import Utc
from messages import lifecycle
from messages.ledgers import DeskFact, DeskInput
from messages.restored import LaneRestored
from storage.desk_ledger import DeskLedger
from storage.ledger_file import TOGETHER_MAX, Together
from storage.shared_ledger import SharedLedger
from tests.testkit import ledger_asks as ask

LATER = Utc(ask.T0 + SECOND)
NOBODYS = ask.exit_intent(9)  # of a contract that nobody reserved: it cannot be written
MESSAGES: tuple[DeskInput, ...] = (
    ask.reserve(1), ask.reserve(2), ask.execution(1), ask.commission(), ask.position(1), ask.exit_intent(1), NOBODYS,
    ask.execution(1, exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL), ask.closed(1), ask.abandoned(2),
    ask.denial(3),
)  # fmt: skip


def desk_of(folder: Path, together: Together | None) -> DeskLedger:
    folder.mkdir(exist_ok=True)
    desk = DeskLedger(folder, "paper", run_n=1, is_durable=False, together=together)
    desk.open()
    return desk


def rows_of(folder: Path) -> list[str]:
    """Every row of a ledger that another program sees."""
    db = sqlite3.connect(folder / "paper.db")
    try:
        return list(db.iterdump())
    finally:
        db.close()


def executions(folder: Path) -> int:
    return sum('INSERT INTO "executions"' in line for line in rows_of(folder))


def is_out(desk: DeskLedger) -> bool:
    """Whether the file cannot be written at this moment."""
    return desk.outage is not None


def told(desk: DeskLedger, messages: list[tuple[DeskInput, int]]) -> list[tuple[DeskFact, ...]]:
    return [desk.apply(message, Utc(ask.T0 + at)) for message, at in messages]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(MESSAGES), st.integers(0, 2)), max_size=16))
def test_rows_answers_and_what_is_set_aside_are_those_of_single_transactions(
    tmp_path_factory: pytest.TempPathFactory, messages: list[tuple[DeskInput, int]]
) -> None:
    folder = tmp_path_factory.mktemp("ledgers")
    messages = sorted(messages, key=lambda pair: pair[1])
    single, together = desk_of(folder / "single", None), desk_of(folder / "together", Together())
    assert told(single, messages) == told(together, messages)
    assert single.take_set_aside() == together.take_set_aside()
    single.close()
    together.close()
    assert rows_of(folder / "single") == rows_of(folder / "together")


def test_others_see_what_was_told_after_so_many_messages_and_once_the_ledger_is_closed(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, Together())
    desk.apply(ask.reserve(), ask.T0)
    desk.apply(ask.execution(), ask.T0)
    for _ in range(TOGETHER_MAX - 2):
        desk.apply(ask.commission(), ask.T0)
    assert executions(tmp_path) == 0
    desk.apply(ask.commission(), LATER)
    assert executions(tmp_path) == 1
    desk.apply(ask.execution(1, exec_id="2.1"), LATER)
    desk.open()  # as whoever comes after a crash does
    assert executions(tmp_path) == 2
    desk.apply(ask.execution(1, exec_id="3.1"), LATER)
    desk.close()
    assert executions(tmp_path) == 3


def test_a_question_to_one_ledger_is_answered_by_what_every_other_was_told(tmp_path: Path) -> None:
    """Which alerts are undecided stands in the desks' files: without this a lane would raise one of them twice."""
    together = Together()
    desk = desk_of(tmp_path, together)
    shared = SharedLedger(tmp_path, ("paper",), is_durable=False, together=together)
    shared.open()
    shared.apply(ask.alert(), ask.T0)
    desk.apply(ask.reserve(), ask.T0)
    question = lifecycle.RequestState(name="lane:gexwatch:SPX", reply_to="supervisor", session=ask.DAY)
    (answer,) = shared.apply(question, ask.T0)
    assert isinstance(answer, lifecycle.StateRead)
    assert isinstance(answer.restored, LaneRestored)
    assert answer.restored.unraised == ()


def test_a_file_that_may_not_grow_when_all_is_committed_loses_nothing(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, Together())
    desk.apply(ask.reserve(), ask.T0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    largest = max(path.stat().st_size for path in tmp_path.glob("paper.db*"))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
        desk.apply(ask.execution(), ask.T0)
        desk.commit()
        assert is_out(desk)
        desk.apply(ask.commission(), LATER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    desk.retry(LATER)
    assert not is_out(desk)
    desk.close()
    assert executions(tmp_path) == 1
