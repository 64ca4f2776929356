"""A clean stop: first no new entry, then the working ones are taken back, then the actors end; once, whoever asks."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from actors.ibkr.state import IBKRState
from commands import live
from commands.key_locks import KeyLocks
from domain.session.dialling import Link, LinkState
from gateways.ib.orders_port import OrdersPort
from messages import orders


class Log(list[str]):
    """What was done, in order."""


class FakePort(OrdersPort):
    """An order port without a thread and a link."""

    def __init__(self, log: Log) -> None:
        self._name = "port:ibkr:paper"
        self.log = log

    def refuse_entries(self, why: str) -> None:
        self.log.append("entries refused")

    def close(self, timeout_s: float = 5.0) -> None:
        self.log.append("port closed")


class FakeRuntime:
    """A runtime whose order session answers as told; `idle` says whether the actors are done."""

    def __init__(self, log: Log, answer: orders.EntriesWithdrawn | None) -> None:
        self.log = log
        self.answer = answer
        self.cells: dict[str, Any] = {}

    def ask(self, edge: str, to: str, message: orders.WithdrawEntries, timeout_s: float) -> Any:
        assert message.reply_to == f"edge:{edge}"
        self.log.append(f"asked {to} for {timeout_s:g} s")
        return self.answer

    def is_idle(self, name: str) -> bool:
        return True

    def stop(self) -> bool:
        self.log.append("actors stopped")
        return True


class Closes:
    """Anything that is closed."""

    def __init__(self, log: Log, name: str) -> None:
        self.log = log
        self.name = name

    def close(self) -> None:
        self.log.append(f"{self.name} closed")


def supervisor(answer: orders.EntriesWithdrawn | None) -> tuple[live.Supervisor, Log]:
    log = Log()
    parts: dict[str, Any] = {
        "runtime": FakeRuntime(log, answer), "trace": Closes(log, "trace"), "ports": (FakePort(log),),
        "watchdog": Closes(log, "watchdog"), "control": Closes(log, "control"), "console": None, "run_n": 1,
        "stop_wanted": threading.Event(), "timekeeper": Closes(log, "clock"), "desk": "paper",
        "key_locks": KeyLocks(),
    }  # fmt: skip
    return live.Supervisor(**parts), log


@pytest.mark.parametrize("answer", [orders.EntriesWithdrawn(), None])
def test_entries_are_taken_back_while_the_market_and_the_actors_still_run(
    answer: orders.EntriesWithdrawn | None,
) -> None:
    running, log = supervisor(answer)
    assert running.close() is (answer is not None)
    assert log == [
        "entries refused", "asked ibkr:paper for 5 s", "clock closed", "control closed", "watchdog closed",
        "actors stopped", "port closed", "trace closed",
    ]  # fmt: skip


def test_a_second_close_does_nothing_and_waits_for_the_first() -> None:
    running, log = supervisor(orders.EntriesWithdrawn())
    running.close()
    done = list(log)
    assert running.close()
    assert log == done


def test_a_hard_stop_takes_nothing_back_itself_since_everything_is_cancelled_after_it() -> None:
    running, log = supervisor(None)
    assert running.close(are_entries_withdrawn=True)
    assert "asked ibkr:paper for 5 s" not in log


@pytest.mark.parametrize(
    ("is_up", "is_known", "link", "is_seen"),
    [
        (True, True, LinkState.UP, True), (False, True, LinkState.UP, False), (True, False, LinkState.UP, False),
        (True, True, LinkState.DOWN, False),
    ],
)  # fmt: skip
def test_only_an_order_session_that_stands_and_has_read_the_broker_is_believed(
    is_up: bool, is_known: bool, link: LinkState, is_seen: bool
) -> None:
    running, _ = supervisor(None)
    state = IBKRState(is_known=is_known, link=Link(state=link))
    cell: Any = type("Cell", (), {"is_up": is_up, "state": state})
    running.runtime.cells["ibkr:paper"] = cell
    assert (running.session_view() is state) is is_seen
