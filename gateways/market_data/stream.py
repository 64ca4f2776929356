"""One session after another with a stream of the provider: dial, authenticate, subscribe, read; again after a pause.

A session counts as a success once it delivered a price or a bar, never for its handshake. What fails is tried again
after the pauses of the hubs (`feed.rules`), in real time: nobody above waits for it, and silence is in no row.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from domain.instants import SECOND
from domain.limits import FeedRules
from domain.market.bars import MinuteBar
from domain.signals.feed_rules import pause_ns
from gateways.gexbot.negotiate import USER_AGENT, hidden
from gateways.market_data.events import PriceTold, Status, decode

OPEN_S: Final = 5.0
HANDSHAKE_S: Final = 10.0
BETWEEN_S: Final = 0.5  # real, from one dial to the next at least: a session may deliver and end at once
MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
SUBSCRIBED_AT_ONCE: Final = 200  # subscriptions in one message
WORDS_MAX: Final = 160  # characters of the provider's own words
REFUSED: Final = frozenset({"auth_failed", "auth_timeout", "max_connections"})
USED_UP: Final = "max_connections"


class StreamEnd(msgspec.Struct, frozen=True):
    """How a session ended; `is_final`: dialling again soon cannot help (the key, the subscription)."""

    why: str
    has_delivered: bool = False
    is_final: bool = False


class _Straight(connect):
    """A dial that follows no redirect: the key goes to the provider alone."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the refusal as it is."""
        return exc


class Stream:
    """Keeps the session with one stream.

    Args:
        url: where it is dialled.
        key: the provider's key; it is sent in one message and stands nowhere else.
        subscriptions: what is asked for, such as `Q.SPY`.
        take: takes the events of a message, and what of it was left out by reason; called in the loop's thread.
        rules: pauses after what failed.
        silence_s: real seconds without a price or a bar after which a session is given up.
        is_expected: whether prices are expected now; outside the session silence is no fault.
        on_flow: is called with the first price or bar of each session.
        handshake_s: real seconds from the dial to the answer to the key.
        wait: waits so many real seconds before the next dial.
    """

    def __init__(
        self, url: str, key: str, subscriptions: Sequence[str],
        take: Callable[[list[PriceTold | MinuteBar], Counter[str]], None], rules: FeedRules, *,
        silence_s: float, is_expected: Callable[[], bool], on_flow: Callable[[], None] = lambda: None,
        handshake_s: float = HANDSHAKE_S, wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self._url = url
        self._key = key
        self._subscriptions = tuple(subscriptions)
        self._take = take
        self._rules = rules
        self._silence_s = silence_s
        self._is_expected = is_expected
        self._on_flow = on_flow
        self._handshake_s = handshake_s
        self._wait = wait
        self.dialled_n = 0
        self.why: str | None = "It was not dialled yet."

    async def run(self) -> None:
        """Keep a session until cancelled; `why` says why none delivers, `None` while one does."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            dialled_s = loop.time()
            self.dialled_n += 1
            try:
                end = await self._session()
            except Exception as error:  # a bug must not leave a stream silent for ever
                end = StreamEnd(f"fault in the port: {error!r:.120}")
            self.why = hidden(end.why, self._key)
            failures = 0 if end.has_delivered else failures + 1
            pause_s = pause_ns(self._rules.breaker_failures if end.is_final else failures, self._rules) / SECOND
            await self._wait(max(pause_s, dialled_s + BETWEEN_S - loop.time(), 0.0))

    async def _session(self) -> StreamEnd:
        try:
            async with _Straight(
                self._url, compression=None, user_agent_header=USER_AGENT, open_timeout=OPEN_S, close_timeout=1,
                max_size=MESSAGE_BYTES_MAX, proxy=True if self._url.startswith("wss:") else None,
            ) as socket:  # fmt: skip
                async with asyncio.timeout(self._handshake_s):
                    refusal = await self._authenticated(socket)
                return refusal or await self._read(socket)
        except ConnectionClosed as closed:
            code = None if closed.rcvd is None else closed.rcvd.code
            return StreamEnd(f"the connection was lost before the key was answered ({code or 'no close frame'})")
        except TimeoutError:
            return StreamEnd(f"it did not answer within {self._handshake_s:g} s")
        except (OSError, InvalidHandshake, InvalidURI, EOFError) as error:
            return StreamEnd(f"it could not be reached: {error or type(error).__name__}")

    async def _authenticated(self, socket: ClientConnection) -> StreamEnd | None:
        """Send the key and the subscriptions; return why the session is over, `None` when the key is accepted."""
        await socket.send(orjson.dumps({"action": "auth", "params": self._key}).decode())
        while True:
            for event in decode(await socket.recv(decode=False))[0]:
                if not isinstance(event, Status):
                    continue
                if event.status in REFUSED:
                    return _refusal(event)
                if event.status == "auth_success":
                    for at in range(0, len(self._subscriptions), SUBSCRIBED_AT_ONCE):
                        params = ",".join(self._subscriptions[at : at + SUBSCRIBED_AT_ONCE])
                        await socket.send(orjson.dumps({"action": "subscribe", "params": params}).decode())
                    return None

    async def _read(self, socket: ClientConnection) -> StreamEnd:
        """Read until the session ends or says nothing for too long."""
        loop = asyncio.get_running_loop()
        has_delivered, refusal = False, None
        heard_s = loop.time()
        try:
            while True:
                data = b"[]"
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._silence_s / 4):
                        data = await socket.recv(decode=False)
                events, refused = decode(data)
                told = [event for event in events if not isinstance(event, Status)]
                for event in events:
                    if isinstance(event, Status) and event.status in (*REFUSED, "error"):
                        refusal = _refusal(event)
                if told and not has_delivered:
                    self._on_flow()
                if told:
                    has_delivered, self.why, heard_s = True, None, loop.time()
                if told or refused:
                    self._take(told, refused)
                if not self._is_expected():
                    heard_s = loop.time()
                elif loop.time() - heard_s >= self._silence_s:
                    why = refusal.why if refusal else f"it told no price for {self._silence_s:g} s"
                    return StreamEnd(why, has_delivered, is_final=refusal is not None)
        except ConnectionClosed as closed:
            if refusal is not None:
                return msgspec.structs.replace(refusal, has_delivered=has_delivered)
            code = None if closed.rcvd is None else closed.rcvd.code
            return StreamEnd(f"the connection was lost ({code or 'no close frame'})", has_delivered)


def _refusal(status: Status) -> StreamEnd:
    """Return the end that a refusal means, with the remedy."""
    remedy = (
        "close the other program that uses the key" if status.status == USED_UP
        else "check the key and which streams its plan includes"
    )  # fmt: skip
    return StreamEnd(f"it refused ({status.status}: {status.message[:WORDS_MAX]}); {remedy}", is_final=True)
