"""The process that serves: hears the supervisor, keeps the view, pushes, and ends when the supervisor is gone."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.types import ASGIApp

from config.secrets import secret
from config.settings import Settings, from_json
from domain.signals.offer import SOURCE as OUTSIDE
from web.app import Control, make_app
from web.desks import Desks, desks_of
from web.ending import end
from web.feed import is_loopback, token_beyond_loopback
from web.guard import Guard
from web.link import BEAT_EVERY_S, LINE_MAX, Beat, Bye, Fact, Hello, heard, line_of, message_of
from web.patience import Patient
from web.public import make_public_app
from web.pulse import Pulse
from web.questions import Ask
from web.stream import Stream

NICENESS = 5
LOOK_EVERY_S = 0.2
FIRST_READS = 2
PLACES = 200  # for connections beside the pages that follow

ControlOf = Callable[[Path], Control]
AskOf = Callable[[Settings, Path], Ask]


def serve(
    feed: socket.socket, listener: socket.socket, control_of: ControlOf, ask_of: AskOf,
    public: socket.socket | None = None,
) -> None:  # fmt: skip
    """Serve until the supervisor is gone.

    Args:
        feed: the line to the supervisor, which says hello first.
        listener: the socket that pages connect to.
        control_of: gives, for a data folder, the way to ask the supervisor.
        ask_of: gives, for settings and a data folder, who answers questions in plain language.
        public: the socket of the public listener, where there is one.
    """
    with suppress(OSError):
        os.nice(NICENESS)
    asyncio.run(_serve(feed, listener, control_of, ask_of, public))


async def _serve(
    feed: socket.socket, listener: socket.socket, control_of: ControlOf, ask_of: AskOf, public: socket.socket | None
) -> None:
    reader, writer = await asyncio.open_connection(sock=feed, limit=LINE_MAX)
    hello = heard(await reader.readline())
    if not isinstance(hello, Hello):
        raise TypeError("the supervisor did not say hello first")
    settings = from_json(bytes(hello.settings))
    desks = desks_of(settings, Path(hello.data_dir), hello.run_n, hello.account, hello.accounts)
    stream = Stream(settings.web.clients_max)
    control = control_of(Path(hello.data_dir))
    app = make_app(
        desks, stream, _guard(settings, hello, listener), control, ask_of(settings, Path(hello.data_dir))
    )  # fmt: skip
    server = _server(app, settings, listener)
    pulse = Pulse(desks, stream, control)
    work = [_hear(reader, desks, pulse), _beat(writer, stream)]
    if public is not None:
        readable = make_public_app(desks.first, settings.web.public, settings.web.rate_per_s)
        work.append(_server(readable, settings, public).serve(sockets=[public]))
    await _until_one_ends(server, desks, listener, pulse, work)


async def _until_one_ends(
    server: uvicorn.Server, desks: Desks, listener: socket.socket, pulse: Pulse, work: list[Coroutine[Any, Any, None]]
) -> None:  # fmt: skip
    """Serve until the supervisor is gone, or this process is no good any more: it is started again.

    Whoever asks first waits for the ledgers, for the facts that say which session is theirs, and for the supervisor's
    first word.
    """
    tasks = [asyncio.create_task(one) for one in (*work, pulse.run())]
    for task in tasks:
        task.add_done_callback(lambda _: setattr(server, "should_exit", True))
    try:
        await pulse.begin()
        for _ in range(FIRST_READS):  # again where the facts have told of another session meanwhile
            await desks.read_ledgers()
        await server.serve(sockets=[listener])
    finally:
        for task in tasks:
            task.cancel()


def serve_finished(desks: Desks, listener: socket.socket, ask: Ask, is_over: Callable[[], bool]) -> None:
    """Serve a day that is over, read-only, until it is enough; `ended` of the views says that it is over, and why."""

    async def run() -> None:
        settings = desks.first.settings
        stream = Stream(settings.web.clients_max)
        guard = Guard(
            host=listener.getsockname()[0], run_token=secrets.token_urlsafe(24), remote_token=None,
            rate_per_s=settings.web.rate_per_s, allows_actions=False,
        )  # fmt: skip
        app = make_app(desks, stream, guard, lambda _: {"error": desks.first.ended}, ask)
        pulse = Pulse(desks, stream, lambda _: {})
        await _until_one_ends(_server(app, settings, listener), desks, listener, pulse, [_until(is_over)])

    asyncio.run(run())


async def _until(is_over: Callable[[], bool]) -> None:
    while not is_over():
        await asyncio.sleep(LOOK_EVERY_S)


def _server(app: ASGIApp, settings: Settings, listener: socket.socket) -> uvicorn.Server:
    """Return a server; beyond loopback it speaks TLS where the settings name a certificate."""
    is_tls = not is_loopback(listener.getsockname()[0])
    tls = settings.web.tls
    how = uvicorn.Config(
        app, http=Patient, limit_concurrency=settings.web.clients_max + PLACES, log_level="warning", lifespan="off",
        timeout_graceful_shutdown=1, server_header=False,
        proxy_headers=False,  # who a caller is decides what it may do: nobody says that of itself
        ssl_certfile=tls.certificate if is_tls else None, ssl_keyfile=tls.key if is_tls else None,
    )  # fmt: skip
    return uvicorn.Server(how)


def _guard(settings: Settings, hello: Hello, listener: socket.socket) -> Guard:
    web = settings.web
    return Guard(
        host=listener.getsockname()[0], run_token=hello.token,
        remote_token=token_beyond_loopback(web.host, web.token_env), rate_per_s=web.rate_per_s,
        allows_actions=web.allows_actions, allowed_from=web.allowed_from,
        signals_token=secret(settings.outside.token_env) if settings.lanes.get(OUTSIDE) else None,
    )  # fmt: skip


async def _hear(reader: asyncio.StreamReader, desks: Desks, pulse: Pulse) -> None:
    """Take facts until the line ends; one that this version does not know is left out."""
    while line := await reader.readline():
        with suppress(msgspec.DecodeError):
            said = heard(line)
            if isinstance(said, Fact):
                desks.take(said.at_utc, message_of(said), said.desk)
                pulse.note(said.slot)
            elif isinstance(said, Bye):
                end(desks, said.why)
                await pulse.finish()
                return


async def _beat(writer: asyncio.StreamWriter, stream: Stream) -> None:
    while True:
        writer.write(line_of(Beat(len(stream.clients))))
        await writer.drain()
        await asyncio.sleep(BEAT_EVERY_S)
