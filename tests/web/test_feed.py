"""The supervisor's side of the dashboard: never blocked, and its process always started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import psutil
import pytest

from domain.units import Utc
from tests.testkit import web_desk as desk
from tests.testkit.paths import ROOT
from tests.testkit.supervisor_child import eventually
from tests.testkit.web_child import Desk, serving, shown
from web.feed import SLOTS_MAX, Doors, Feed, listen
from web.link import Hello


def test_a_process_that_dies_is_started_again_at_the_same_address_with_all_it_knew(tmp_path: Path) -> None:
    desk.write_desk(tmp_path)
    with shown(tmp_path) as made:
        serving(made.url).kill()
        eventually(lambda: made.feed.starts >= 2)
        eventually(made.is_serving)
        eventually(lambda: made.get("/api/status").json()["mode"] == "FULLY_LIVE")
        assert made.get("/api/market").json()["spx_price"] == desk.spot_at(desk.LAST) / 100


def test_a_process_that_is_killed_while_it_starts_is_started_again(tmp_path: Path) -> None:
    desk.write_desk(tmp_path)
    made = Desk(tmp_path, desk.settings(tmp_path))
    try:
        made.push_all()
        made.feed.start()
        eventually(lambda: made.feed.starts == 1)
        serving(made.url).kill()  # before it has heard a word
        eventually(lambda: made.feed.starts >= 2)
        eventually(made.is_serving)
        eventually(lambda: made.get("/api/status").json()["mode"] == "FULLY_LIVE")
    finally:
        made.close()


def test_a_line_that_cannot_be_fed_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write_desk(tmp_path)
    made = Desk(tmp_path, desk.settings(tmp_path))
    faults = iter([RuntimeError("a bug in feeding")])
    whole = made.feed._take_all

    def take_all() -> list[bytes]:
        for fault in faults:
            raise fault
        return whole()

    monkeypatch.setattr(made.feed, "_take_all", take_all)
    try:
        made.feed.start()
        eventually(lambda: made.feed.starts >= 2)
        eventually(made.is_serving)
        assert "a bug in feeding" in (made.folder.run / "dashboard.log").read_text(encoding="utf-8")
    finally:
        made.close()


def test_a_process_that_is_stuck_is_replaced_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.feed.SILENT_S", 3.0)
    with shown(tmp_path) as made:
        stuck = serving(made.url)
        stuck.suspend()
        for n in range(200_000):  # more than any socket buffer takes
            made.feed.show(f"spots:{n % 50}", Utc(n), desk.spots(600_000 + n, Utc(n)))
        eventually(lambda: made.feed.starts >= 2)
        eventually(made.is_serving)
        assert not stuck.is_running() or stuck.status() == psutil.STATUS_ZOMBIE


def test_slots_beyond_the_most_are_forgotten_oldest_first() -> None:
    listener = listen("127.0.0.1", 40_000)
    feed = Feed(Doors(listener), ("true",), Hello(msgspec.Raw(b"{}"), "", "", 1), ".", os.devnull)
    for n in range(SLOTS_MAX + 10):
        feed.show(f"slot:{n}", Utc(n), desk.spots(600_000, Utc(n)))
    assert len(feed._take_all()) == SLOTS_MAX
    feed.close()


def test_a_taken_port_is_left_to_whoever_has_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with listen("127.0.0.1", port) as ours:
            assert ours.getsockname()[1] != port


def test_the_process_ends_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    parent = textwrap.dedent(f"""
        import pathlib, threading
        from tests.testkit import web_child, web_desk
        with web_child.shown(pathlib.Path({str(tmp_path)!r})) as made:
            print(made.url, flush=True)
            threading.Event().wait()
    """)
    with subprocess.Popen(
        [sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as supervisor:  # fmt: skip
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline().startswith("http://127.0.0.1:")
        (child,) = psutil.Process(supervisor.pid).children()
        supervisor.send_signal(signal.SIGKILL)
    assert child.wait(60) is None or not child.is_running()
