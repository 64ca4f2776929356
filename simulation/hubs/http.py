"""As much HTTP/1.1 as negotiate needs: one request a connection, a JSON body, a JSON answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import msgspec
import orjson

BODY_BYTES_MAX: Final = 256 * 1024
REQUEST_S_MAX: Final = 10.0


class Request(msgspec.Struct, frozen=True):
    """A request; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(msgspec.Struct, frozen=True):
    """An answer; `payload` is bytes as they are, or anything that orjson writes."""

    status: int
    payload: object
    headers: dict[str, str] = {}


class MalformedError(Exception):
    """The peer does not speak HTTP as we know it."""


Answerer = Callable[[Request], Answer]


async def serve(host: str, port: int, answer: Answerer) -> asyncio.Server:
    """Listen; port 0 takes any free one.

    Raises:
        OSError: the port is in use.
    """

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S_MAX):
                try:
                    reply = answer(await _read(reader))
                except MalformedError as error:
                    reply = Answer(400, {"error": str(error)})
                writer.write(_render(reply))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client went away; it gets no answer
        finally:
            writer.close()

    return await asyncio.start_server(handle, host, port)


async def _read(reader: asyncio.StreamReader) -> Request:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError as error:
        raise MalformedError("the header is too large") from error
    first, *lines = head[:-4].split("\r\n")
    try:
        method, path, _version = first.split(" ")
        headers = {name.strip().lower(): v.strip() for name, v in (x.split(":", 1) for x in lines)}
        length = int(headers.get("content-length", "0"))
    except ValueError as error:
        raise MalformedError("the header cannot be read") from error
    if not 0 <= length <= BODY_BYTES_MAX:
        raise MalformedError(f"the body is larger than {BODY_BYTES_MAX} B")
    return Request(method, path.split("?", 1)[0], headers, await reader.readexactly(length))


def _render(answer: Answer) -> bytes:
    body = answer.payload if isinstance(answer.payload, bytes) else orjson.dumps(answer.payload)
    phrase = HTTPStatus(answer.status).phrase
    more = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    head = (
        f"HTTP/1.1 {answer.status} {phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{more}Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
