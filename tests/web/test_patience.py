"""Connections that only take a place are ended, on both listeners: they share the files of one process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.testkit import web_desk as desk
from tests.testkit.web_child import Desk, shown
from web.serve import PLACES

FOLLOW_MAX = 2


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder: Path = tmp_path_factory.mktemp("desk")
    with shown(folder, desk.settings(folder, public={"is_on": True}, clients_max=FOLLOW_MAX)) as made:
        yield made


def joined(url: str, said: bytes = b"") -> socket.socket:
    host, _, port = url.removeprefix("http://").rpartition(":")
    line = socket.create_connection((host, int(port)), timeout=60)
    line.sendall(said)
    return line


def is_ended(line: socket.socket) -> bool:
    """Wait for the end of a connection."""
    try:
        while line.recv(65_536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


UNFINISHED = {
    "nothing": b"", "half a head": b"GET /api/alerts HTTP/1.1\r\nHost: x",
    "half a body": b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf",
}  # fmt: skip


@pytest.mark.slow
def test_a_request_that_is_not_finished_is_not_waited_for(served: Desk) -> None:
    with ExitStack() as begun:
        lines = {
            (door, what): begun.enter_context(joined(url, said))  # all at once: each is left its time
            for door, url in (("own", served.url), ("public", served.public_url))
            for what, said in UNFINISHED.items()
        }
        assert [place for place, line in lines.items() if not is_ended(line)] == []


def test_a_crowd_at_the_public_door_keeps_nobody_from_the_dashboard(served: Desk) -> None:
    with ExitStack() as crowd:
        lines = [crowd.enter_context(joined(served.public_url)) for _ in range(FOLLOW_MAX + PLACES + 50)]
        assert served.get("/api/status").status_code == 200
        assert all(is_ended(line) for line in lines[-40:])
        lines[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert lines[0].recv(12) == b"HTTP/1.1 200"
