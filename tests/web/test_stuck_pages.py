"""Pages that never read beside pages that do: the process's memory is bounded, and the others stay current."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from starlette.types import Message

from domain.alarm import Severity
from messages import operator
from tests.testkit import web_desk as desk
from tests.testkit.supervisor_child import eventually
from tests.testkit.web_child import Desk, serving, shown
from web.stream import EventResponse

STUCK, LIVE = 30, 5
ROUNDS = 10  # a frame of alarms is told once in a second or two
TEXT = 16_000  # 50 alarms of this length in each frame: 10 frames that nobody takes would be 240 MB
GROWTH_MAX_MB = 60


class Reader:
    """A page that reads, in a thread; `seen` is the newest frame of alarms."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=60)
        self.seen = ""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._is_over = threading.Event()
        self._thread.start()

    def _read(self) -> None:
        with self._client.stream("GET", "/events?ticker=SPX") as answer:
            for line in answer.iter_lines():
                if line.startswith("data:") and "of round" in line:
                    self.seen = line
                if self._is_over.is_set():
                    return

    def close(self) -> None:
        self._is_over.set()
        self._thread.join(60)
        self._client.close()


def never_reads(made: Desk) -> socket.socket:
    """Follow, and take nothing."""
    page = socket.socket()
    page.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    page.connect(("127.0.0.1", made.port))
    page.sendall(f"GET /events?ticker=SPX HTTP/1.1\r\nHost: 127.0.0.1:{made.port}\r\n\r\n".encode())
    return page


@pytest.mark.slow
def test_pages_that_never_read_cost_little_and_hold_nobody_up(tmp_path: Path) -> None:
    desk.write_desk(tmp_path)
    with shown(tmp_path) as made, ExitStack() as pages:
        for _ in range(STUCK):
            pages.enter_context(never_reads(made))
        live = [Reader(made.url) for _ in range(LIVE)]
        for reader in live:
            pages.callback(reader.close)
        eventually(lambda: made.feed.clients == STUCK + LIVE)
        process = serving(made.url)
        before = process.memory_info().rss
        for n in range(ROUNDS):
            for k in range(50):
                made.feed.show(f"alarm:{k}", desk.NOW, operator.Alarm(
                    key=f"alarm {k}", severity=Severity.INFO, text=f"{'x' * TEXT} of round {n}.", at_utc=desk.NOW
                ))  # fmt: skip
            eventually(lambda n=n: all(reader.seen.count(f"of round {n}.") == 50 for reader in live))  # type: ignore[misc]
        assert (process.memory_info().rss - before) / 1e6 < GROWTH_MAX_MB
        assert made.feed.starts == 1


def test_a_page_that_takes_nothing_for_long_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.stream.STUCK_S", 0.01)
    is_gone = False

    async def frames() -> AsyncGenerator[bytes, None]:
        nonlocal is_gone
        try:
            while True:
                yield b"data: x\n\n"
        finally:
            is_gone = True

    async def send(message: Message) -> None:
        if message.get("body"):
            await asyncio.Event().wait()  # as where the buffers are full

    asyncio.run(EventResponse(frames()).stream_response(send))
    assert is_gone
