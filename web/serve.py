"""The process that serves: hears the supervisor, keeps the view, pushes, and ends when the supervisor is gone."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import orjson
import uvicorn
from starlette.types import ASGIApp

from config.settings import Settings, from_json
from web.app import Control, make_app
from web.feed import token_beyond_loopback
from web.guard import Guard
from web.link import BEAT_EVERY_S, LINE_MAX, Beat, Fact, Hello, heard, line_of, message_of
from web.public import make_public_app
from web.stream import Stream, push_chart
from web.view import View

PULSE_S = 0.25
IDLE_PULSE_S = 1.0  # while nobody looks
SLOW_EVERY_S = 0.5  # positions, prices, money
ACTORS_EVERY_S = 3.0
MARKET_EVERY_S = 1.0  # a look into the warehouse, while a bucket is expected
STATUS_EVERY_S = 1.0
NICENESS = 5

ControlOf = Callable[[Path], Control]


def serve(
    feed: socket.socket, listener: socket.socket, control_of: ControlOf, public: socket.socket | None = None
) -> None:
    """Serve until the supervisor is gone.

    Args:
        feed: the line to the supervisor, which says hello first.
        listener: the socket that pages connect to.
        control_of: gives, for a data folder, the way to ask the supervisor.
        public: the socket of the public listener, where there is one.
    """
    with suppress(OSError):
        os.nice(NICENESS)
    asyncio.run(_serve(feed, listener, control_of, public))


async def _serve(
    feed: socket.socket, listener: socket.socket, control_of: ControlOf, public: socket.socket | None
) -> None:
    reader, writer = await asyncio.open_connection(sock=feed, limit=LINE_MAX)
    hello = heard(await reader.readline())
    if not isinstance(hello, Hello):
        raise TypeError("the supervisor did not say hello first")
    settings = from_json(bytes(hello.settings))
    view = View(settings, Path(hello.data_dir), hello.run_n, hello.account)
    stream = Stream(settings.web.clients_max)
    control = control_of(Path(hello.data_dir))
    app = make_app(view, stream, _guard(settings, hello, listener), control)
    server = _server(app)
    pulse = Pulse(view, stream, control)
    tasks = [asyncio.create_task(work) for work in (_hear(reader, view, pulse), pulse.run(), _beat(writer, stream))]
    for task in tasks:  # the supervisor is gone, or this process is no good any more: it is started again
        task.add_done_callback(lambda _: setattr(server, "should_exit", True))
    if public is not None:
        readable = make_public_app(view, settings.web.public.delay_ms, settings.web.rate_per_s)
        tasks.append(asyncio.create_task(_server(readable).serve(sockets=[public])))
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in tasks:
            task.cancel()


def _server(app: ASGIApp) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1, server_header=False)
    )


def _guard(settings: Settings, hello: Hello, listener: socket.socket) -> Guard:
    web = settings.web
    return Guard(
        host=listener.getsockname()[0], run_token=hello.token,
        remote_token=token_beyond_loopback(web.host, web.token_env), rate_per_s=web.rate_per_s,
        allows_actions=web.allows_actions,
    )  # fmt: skip


async def _hear(reader: asyncio.StreamReader, view: View, pulse: Pulse) -> None:
    """Take facts until the line ends; one that this version does not know is left out."""
    while line := await reader.readline():
        with suppress(msgspec.DecodeError):
            said = heard(line)
            if isinstance(said, Fact):
                view.take(said.at_utc, message_of(said))
                pulse.note(said.slot)


async def _beat(writer: asyncio.StreamWriter, stream: Stream) -> None:
    while True:
        writer.write(line_of(Beat(len(stream.clients))))
        await writer.drain()
        await asyncio.sleep(BEAT_EVERY_S)


class Pulse:
    """Reads what has changed and pushes it, a few times a second; slower while nobody looks."""

    def __init__(self, view: View, stream: Stream, control: Control) -> None:
        self._view = view
        self._stream = stream
        self._control = control
        self._moved: set[str] = set()
        self._due_s: dict[str, float] = {}
        self._asking: asyncio.Task[None] | None = None
        self._session: date | None = None

    def note(self, slot: str) -> None:
        """Note that a slot has a new fact."""
        self._moved.add(slot.partition(":")[0])

    async def run(self) -> None:
        """Go on for ever; what fails once is tried again."""
        while True:
            try:
                await self._once()
                self._view.page_trouble = None
            except Exception as error:  # a bug, or a file that nobody foresaw: said on the page, and tried again
                self._view.page_trouble = f"The page is not up to date ({type(error).__name__}: {error})."
            await asyncio.sleep(PULSE_S if self._stream.clients else IDLE_PULSE_S)

    async def _once(self) -> None:
        view = self._view
        if self._is_due("ask", STATUS_EVERY_S) and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._ask())
        is_ledger_new = await view.read_ledgers()
        for ticker in self._stream.tickers | set(view.settings.tickers[:1]):
            is_new = (
                view.is_market_behind(ticker)
                and self._is_due(f"market:{ticker}", MARKET_EVERY_S)
                and await view.read_market(ticker)
            )
            if is_new or view.session != self._session or "spots" in self._moved:
                self._stream.push_day(ticker)
        self._session = view.session
        view.sample()
        await self._push(is_ledger_new)
        self._moved.clear()

    async def _ask(self) -> None:
        """Ask the supervisor how it and its actors do; this may take as long as it is stuck."""
        try:
            self._view.answered(await asyncio.to_thread(self._control, {"do": "status"}))
        except Exception as error:  # whatever the line says is what the page says
            self._view.answered({"error": str(error)})

    def _is_due(self, what: str, every_s: float) -> bool:
        now_s = time.monotonic()
        if now_s < self._due_s.get(what, 0.0):
            return False
        self._due_s[what] = now_s + every_s
        return True

    async def _push(self, is_ledger_new: bool) -> None:
        view, push = self._view, self._stream.push
        push("status", _json(view.status().model_copy(update={"at": None})))
        if is_ledger_new:
            push("trades", _json([trade.model_dump() for trade in view.trades(50)]))
            push("alerts", _json([alert.model_dump() for alert in view.alerts(30)]))
            push("gates", _json(view.gates(30)))
            push("weeks", _json([week.model_dump() for week in await view.weeks()]))
        if is_ledger_new or self._is_due("slow", SLOW_EVERY_S):
            push("positions", _json([position.model_dump() for position in view.positions()]))
            push("performance", _json(view.performance().model_copy(update={"curve": view.curve[-1:]})))
            push("market", _json(view.market()))
        if self._moved & {"account", "port"}:
            push("account", _json(view.account()))
        if "alarm" in self._moved:
            push("alarms", _json([line.model_dump() for line in view.alarm_lines()]))
        if is_ledger_new or "reading" in self._moved:
            for ticker in self._stream.tickers:
                push_chart(view, self._stream, ticker)
        if self._is_due("actors", ACTORS_EVERY_S):
            push("actors", _json(view.actors()))


def _json(value: Any) -> bytes:
    if hasattr(value, "model_dump_json"):
        return bytes(value.model_dump_json().encode())
    return orjson.dumps(value)
