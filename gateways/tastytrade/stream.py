"""The account stream: one websocket, asked to tell of one account, with a heartbeat that must be answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from gateways.tastytrade.http import USER_AGENT, WORDS_MAX

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
BEAT_MIN_S: Final = 2.0  # the vendor wants heartbeats at most this often


class StreamError(Exception):
    """The stream did not come up; the text is one sentence."""


class _Straight(connect):
    """A dial that follows no redirect: the token goes to the vendor alone."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the refusal as it is."""
        return exc


class AccountStream:
    """One session of the stream, on the loop that opened it.

    Args:
        socket: an open websocket.
        token: returns the token of now: every message carries one.
        on_row: takes the type and the data of a notification.
        on_unreadable: takes why a message could not be read.
    """

    def __init__(
        self, socket: ClientConnection, token: Callable[[], str], on_row: Callable[[str, Any], None],
        on_unreadable: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._socket = socket
        self._token = token
        self._on_row = on_row
        self._on_unreadable = on_unreadable
        self._request_id = 0
        self._asked_for: dict[int, asyncio.Future[bool]] = {}
        self._refusal = ""

    @classmethod
    async def open(
        cls, url: str, timeout_s: float, token: Callable[[], str], on_row: Callable[[str, Any], None],
        on_unreadable: Callable[[str], None],
    ) -> AccountStream:  # fmt: skip
        """Dial.

        Raises:
            StreamError: nobody answers there.
        """
        try:
            socket = await _Straight(
                url, user_agent_header=USER_AGENT, open_timeout=timeout_s, close_timeout=1, ping_interval=None,
                max_size=MESSAGE_BYTES_MAX, compression=None, proxy=True if url.startswith("wss:") else None,
            )  # fmt: skip
        except (OSError, InvalidHandshake, InvalidURI, TimeoutError, EOFError) as error:
            raise StreamError(f"the account stream cannot be opened: {str(error)[:WORDS_MAX] or 'no answer'}") from None
        return cls(socket, token, on_row, on_unreadable)

    async def read(self) -> str:
        """Read until it ends; return why, in words."""
        try:
            async for text in self._socket:
                self._take(text)
        except ConnectionClosed:
            pass
        return "the account stream was closed"

    async def subscribe(self, account: str, within_s: float) -> None:
        """Ask for the account's news and wait for the answer, while `read` runs.

        Raises:
            StreamError: it was refused, or nobody answered.
        """
        if not await self._asked(within_s, "connect", value=[account]):
            raise StreamError(self._refusal or f"the account stream did not answer within {within_s:g} s")

    async def beat(self, every_s: float, within_s: float, sleep: Callable[[float], Awaitable[None]]) -> str:
        """Send heartbeats until one is not answered; return why, in words."""
        while True:
            await sleep(max(every_s, BEAT_MIN_S))
            if not await self._asked(within_s, "heartbeat"):
                return self._refusal or f"the account stream's heartbeat is overdue ({within_s:.1f} s)"

    def drop(self) -> None:
        """End it at once."""
        self._socket.transport.abort()

    async def _asked(self, within_s: float, action: str, **more: object) -> bool:
        self._request_id = request_id = self._request_id + 1
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked_for[request_id] = answer
        message = {"action": action, "auth-token": self._token(), "request-id": request_id, **more}
        try:
            async with asyncio.timeout(within_s):
                await self._socket.send(orjson.dumps(message).decode())
                return await answer
        except (TimeoutError, ConnectionClosed):
            return False
        finally:
            del self._asked_for[request_id]

    def _take(self, text: str | bytes) -> None:
        try:
            said = orjson.loads(text)
        except orjson.JSONDecodeError:
            self._on_unreadable("a message that is no JSON")
            return
        rows = said.get("results", [said]) if isinstance(said, Mapping) else [None]
        for row in rows if isinstance(rows, list) else [None]:
            if not isinstance(row, Mapping):
                self._on_unreadable("a message that is no object")
            elif "status" in row and "action" in row:
                self._hear_answer(row)
            elif isinstance(row.get("type"), str):
                self._on_row(row["type"], row.get("data"))
            else:
                self._on_unreadable("a message without a type")

    def _hear_answer(self, row: Mapping[str, Any]) -> None:
        is_good = row["status"] == "ok"
        if not is_good:
            words = str(row.get("message", ""))[:WORDS_MAX]
            self._refusal = f"the account stream refused {row['action']}: {words}"
        answer = self._asked_for.get(row.get("request-id", self._request_id))
        if answer is not None and not answer.done():
            answer.set_result(is_good)
