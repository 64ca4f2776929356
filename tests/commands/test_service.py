"""What a service manager hears over its socket: ready, well while it is, stopping."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from commands.folder import DataFolder
from commands.service import ServiceLine, is_well, service_line
from tests.testkit.supervisor_child import Supervisor


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(60)
        yield listening


def heard(manager: socket.socket) -> str:
    return manager.recv(100).decode()


def line(manager: socket.socket, is_well: Callable[[], bool]) -> ServiceLine:
    """Return a line that asks every 10 ms."""
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "30000"}
    made = service_line(environment, is_well)
    assert made is not None
    assert environment == {}  # children inherit none of it
    return made


def test_it_says_ready_then_well_then_stopping(manager: socket.socket) -> None:
    service = line(manager, lambda: True)
    service.start()
    assert [heard(manager) for _ in range(3)] == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
    service.close()
    last = heard(manager)
    while last == "WATCHDOG=1":
        last = heard(manager)
    assert last == "STOPPING=1"


def test_what_is_not_well_is_not_said_to_be(manager: socket.socket) -> None:
    answers, was_asked = [True, False, False, True, False], threading.Event()

    def is_well() -> bool:
        if not answers:
            was_asked.set()
            return False
        return answers.pop(0)

    service = line(manager, is_well)
    service.start()
    assert was_asked.wait(60)
    service.close()
    assert [heard(manager) for _ in range(4)] == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]


def test_an_abstract_socket_is_found() -> None:
    name = f"zerohour-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(60)
        made = service_line({"NOTIFY_SOCKET": f"@{name}"}, lambda: True)
        assert made is not None
        made.start()
        assert heard(listening) == "READY=1"
        made.close()
        assert heard(listening) == "STOPPING=1"  # no limit was named, so it was never told that all is well


def test_a_limit_of_another_process_is_not_ours(manager: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "30000", "WATCHDOG_PID": "1"}
    made = service_line(environment, lambda: True)
    assert made is not None
    made.start()
    made.close()
    assert [heard(manager), heard(manager)] == ["READY=1", "STOPPING=1"]


def test_without_a_service_manager_there_is_no_line() -> None:
    assert service_line({}, lambda: True) is None


def test_a_manager_that_is_gone_holds_nothing_up(tmp_path: Path) -> None:
    made = service_line({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "30000"}, lambda: True)
    assert made is not None
    made.start()
    made.close()


@pytest.mark.slow
def test_a_running_supervisor_tells_its_manager_and_falls_silent_when_it_hangs(
    tmp_path: Path, manager: socket.socket
) -> None:
    running = Supervisor(
        tmp_path / "data", NOTIFY_SOCKET=str(manager.getsockname()), WATCHDOG_USEC="300000", ZEROHOUR_DEMO__RATE="1"
    )
    try:
        assert [heard(manager) for _ in range(3)] == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
        running.process.send_signal(signal.SIGSTOP)
        manager.settimeout(2)
        with pytest.raises(TimeoutError):
            while True:
                heard(manager)
        manager.settimeout(60)
        running.process.send_signal(signal.SIGCONT)
        assert heard(manager) == "WATCHDOG=1"
        running.end(signal.SIGTERM)
        last = heard(manager)
        while last == "WATCHDOG=1":
            last = heard(manager)
        assert last == "STOPPING=1"
    finally:
        running.end_if_left()
        for what in ("gateway", "hubs"):
            left = DataFolder(tmp_path / "data").sim(what)
            if left is not None:
                left.end()


@pytest.mark.parametrize(
    ("stuck", "ended", "well"),
    [
        ((), None, True),
        (("warehouse",), None, True),  # slow disks are no reason to start anew
        (("ibkr:paper",), None, False),
        (("position:paper:7",), None, False),
        (("position:other:7",), None, True),
        (("supervisor",), None, False),
        ((), "it ended", False),
    ],
)
def test_well_is_what_goes_on_and_whose_orders_and_money_are_not_stuck(
    stuck: tuple[str, ...], ended: str | None, well: bool
) -> None:
    assert is_well(supervisor(stuck, ended)) is well


def test_a_hard_stop_that_closed_a_stuck_supervisor_is_well_until_it_is_done() -> None:
    running = supervisor(("ibkr:paper",), None)
    running.is_closed = True  # nothing looks at the actors any more: what was stuck stays so
    assert is_well(running)
    running.runtime.ended = "the hard stop before the close"
    assert not is_well(running)


def supervisor(stuck: tuple[str, ...], ended: str | None) -> Any:
    return SimpleNamespace(
        desks=("paper",), runtime=SimpleNamespace(ended=ended), is_closed=False,
        watchdog=SimpleNamespace(stuck=lambda: frozenset(stuck)),
    )  # fmt: skip
