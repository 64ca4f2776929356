"""Server-sent events: each page is owed the newest message of each kind and no more, so a slow one costs nothing.

A page that follows a ticker's day is owed the buckets after the last one that it was sent; they are put together when
they leave.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import orjson
from fastapi.responses import StreamingResponse
from starlette.types import Message, Send

from web import desk, lists
from web.gamma_day import GammaDay
from web.masking import masked
from web.view import View

FLUSH_EVERY_S = 0.25
STUCK_S = 60.0  # a page that takes nothing for so long has lost its place
QUIET_S = 15.0  # then a word is sent, so that both sides notice that the other is gone


class Client:
    """One page: what it is owed, the desk and the ticker that it follows, the last bucket (of which grid) it has."""

    def __init__(self, desk: str, ticker: str, since: int, grid_n: int) -> None:
        self.desk = desk
        self.ticker = ticker
        self.since = since
        self.grid_n = grid_n
        self.pending: dict[str, bytes] = {}
        self.is_day_due = True
        self.wake = asyncio.Event()


class Stream:
    """All pages that follow, and the newest frame of each kind."""

    def __init__(self, clients_max: int) -> None:
        self.clients: set[Client] = set()
        self.joined = asyncio.Event()
        self.bytes_sent = 0
        self._clients_max = clients_max
        self._newest: dict[tuple[str, str], bytes] = {}  # by kind and desk

    @property
    def is_full(self) -> bool:
        """Whether no more pages may follow."""
        return len(self.clients) >= self._clients_max

    @property
    def tickers(self) -> set[str]:
        """The tickers that somebody follows."""
        return {client.ticker for client in self.clients}

    def push(self, kind: str, body: bytes, desk: str = "") -> None:
        """Send a kind's newest message to every page that follows a desk, unless it says what the last one said.

        Empty: it is no desk's own, and every page's.
        """
        frame = _frame(kind, body)
        if self._newest.get((kind, desk)) == frame:
            return
        self._newest[kind, desk] = frame
        for client in self.clients:
            if _is_of(kind, desk, client):
                client.pending[kind] = frame
                client.wake.set()

    @property
    def is_flushed(self) -> bool:
        """Whether every page has taken what it was owed."""
        return not any(client.pending for client in self.clients)

    def push_day(self, ticker: str) -> None:
        """Tell the pages that follow a ticker that its day has gone on."""
        for client in self.clients:
            if client.ticker == ticker:
                client.is_day_due = True
                client.wake.set()

    async def follow(self, client: Client, view: View) -> AsyncGenerator[bytes, None]:
        """Yield what a page is owed, the whole of what is known first, until it goes."""
        client.pending = {kind: frame for (kind, desk), frame in self._newest.items() if _is_of(kind, desk, client)}
        self.clients.add(client)
        self.joined.set()
        try:
            yield b"retry: 1000\n\n"
            yield self._owed(client, view) + _frame("whole", b"{}")  # what comes after this is news
            while True:
                try:
                    await asyncio.wait_for(client.wake.wait(), QUIET_S)
                except TimeoutError:
                    yield _frame("alive", b"{}")
                    continue
                yield self._owed(client, view)
                await asyncio.sleep(FLUSH_EVERY_S)
        finally:
            self.clients.discard(client)

    def _owed(self, client: Client, view: View) -> bytes:
        """Return what a page is owed; then it is owed nothing."""
        client.wake.clear()
        out = b"".join(client.pending.values()) + _day_frame(client, view.days)
        client.pending = {}
        self.bytes_sent += len(out)
        return out


class EventResponse(StreamingResponse):
    """What a page follows; it ends where the page takes nothing, so that it holds no place that another could have."""

    def __init__(self, frames: AsyncGenerator[bytes, None]) -> None:
        super().__init__(frames, media_type="text/event-stream", headers={"cache-control": "no-store"})
        self._frames = frames

    async def stream_response(self, send: Send) -> None:
        """Send frame by frame."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(STUCK_S):
                await send(message)

        async with aclosing(self._frames):
            with suppress(TimeoutError):
                await super().stream_response(send_in_time)


def push_chart(view: View, stream: Stream, ticker: str) -> None:
    """Push what a chart of a ticker needs besides its buckets: the desk's entries and exits, the newest reading."""
    stream.push(f"marks:{ticker}", orjson.dumps(lists.marks_of(view, ticker)), view.settings.desk)
    reading = desk.reading(view, ticker)
    if reading is not None:
        stream.push(f"reading:{ticker}", reading.model_dump_json().encode())


def _day_frame(client: Client, days: dict[str, GammaDay]) -> bytes:
    day = days.get(client.ticker)
    if not client.is_day_due or day is None:
        return b""
    client.is_day_due = False
    news = day.news(client.since, client.grid_n)
    client.since, client.grid_n = day.last, day.grid_n
    return _frame("day", orjson.dumps(news))


def _is_of(kind: str, desk: str, client: Client) -> bool:
    """Return whether a kind of message of a desk concerns a page (`marks:SPX` concerns who follows SPX alone)."""
    return desk in ("", client.desk) and (":" not in kind or kind.partition(":")[2] == client.ticker)


def _frame(kind: str, body: bytes) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + masked(body) + b"\n\n"
