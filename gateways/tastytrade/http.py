"""Requests over connections of our own, so that three things are told apart: not sent, answered, and nobody knows.

A pool that sends again by itself, or that hides whether bytes left, cannot be used where a request is an order. Here a
connection stands before the last check is made, the check comes right before the bytes, and nothing is sent twice.
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import orjson

from domain.units import Utc

USER_AGENT: Final = "zerohour/1.0"  # the vendor refuses every request without product/version
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
WORDS_MAX: Final = 200  # characters of the vendor's own words


def is_local(url: str) -> bool:
    """Return whether an address is on this machine, where secrets may travel without TLS."""
    return urlsplit(url).hostname in LOOPBACK


class NotSentError(Exception):
    """Nothing of the request left: no connection, or the last check said no."""


class NoAnswerError(Exception):
    """The request left, in part or whole, and what became of it is not known."""


class Answer(NamedTuple):
    """What the vendor answered; `date_s` is the second that it says it is, `None` where it does not.

    `account` is not repeated in `words`.
    """

    status: int
    body: Any
    date_s: int | None
    sent_utc: Utc
    heard_utc: Utc
    account: str = ""

    @property
    def is_good(self) -> bool:
        """Whether what was asked for was done."""
        return 200 <= self.status < 300

    @property
    def data(self) -> Any:
        """What was asked for; `None` where the answer holds none."""
        return self.body.get("data") if isinstance(self.body, Mapping) else None

    @property
    def words(self) -> str:
        """The vendor's code and message, shortened; the status alone where it gives none."""
        error = self.body.get("error") if isinstance(self.body, Mapping) else None
        if not isinstance(error, Mapping):
            return f"HTTP {self.status}"
        details = [str(e.get("message", "")) for e in error.get("errors") or () if isinstance(e, Mapping)]
        words = "; ".join((f"{error.get('code', self.status)}: {error.get('message', '')}", *details))
        return (words.replace(self.account, "...") if self.account else words)[:WORDS_MAX]


class Requests:
    """Connections to one host, one for each request under way, kept for the next; any thread may ask.

    Args:
        url: the address below which everything is; without TLS on this machine alone.
        now_utc: the market's clock.

    Raises:
        ValueError: secrets would travel without TLS.
    """

    def __init__(self, url: str, now_utc: Callable[[], Utc]) -> None:
        parts = urlsplit(url)
        if parts.hostname is None or not (parts.scheme == "https" or is_local(url)):
            raise ValueError(f"{url} is no address with TLS: give one that begins with https://")
        self.host, self._base = parts.hostname, parts.path.rstrip("/")
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._now = now_utc
        self._idle: queue.LifoQueue[HTTPConnection] = queue.LifoQueue()
        self._all: set[HTTPConnection] = set()
        self._lock = threading.Lock()
        self._is_closed = False

    def ask(
        self, method: str, path: str, body: object = None, token: str = "", *, timeout_s: float,
        check: Callable[[], None] | None = None, on_sent: Callable[[], None] | None = None,
    ) -> Answer:  # fmt: skip
        """Send one request and return its answer; blocks for as long as it takes, at most the timeout a step.

        `check` runs when the connection stands, right before the bytes; what it raises ends the request unsent.

        Raises:
            NotSentError: nothing left.
            NoAnswerError: it left, and what became of it is not known.
        """
        connection = self._connected(timeout_s)
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json", "Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        payload = None if body is None else orjson.dumps(body)
        is_kept = False
        try:
            if check is not None:
                check()
            sent_utc = self._now()
            try:
                connection.request(method, self._base + path, body=payload, headers=headers)
                if on_sent is not None:
                    on_sent()
                response = connection.getresponse()
                raw = response.read(ANSWER_BYTES_MAX + 1)
            except (OSError, HTTPException, ValueError) as error:
                raise NoAnswerError(_words(error)) from None
            heard_utc = self._now()
            is_kept = not response.will_close and len(raw) <= ANSWER_BYTES_MAX
            return Answer(response.status, _json(raw), _second(response.getheader("Date")), sent_utc, heard_utc)
        finally:
            self._give_back(connection, is_kept=is_kept)

    def close(self) -> None:
        """End every connection; what is under way ends without an answer."""
        with self._lock:
            self._is_closed = True
            open_now = list(self._all)
        for connection in open_now:
            _shut(connection)

    def _connected(self, timeout_s: float) -> HTTPConnection:
        """Return a connection that stands; one that the vendor has ended meanwhile is no good."""
        while True:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                break
            if connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]:
                connection.sock.settimeout(timeout_s)
                return connection
            self._drop(connection)
        if self._tls is None:
            connection = HTTPConnection(self.host, self.port, timeout=timeout_s)
        else:
            connection = HTTPSConnection(self.host, self.port, timeout=timeout_s, context=self._tls)
        connection.auto_open = 0  # a request never opens a connection by itself: the check would be before that
        with self._lock:
            if self._is_closed:
                raise NotSentError("the port is closed")
            self._all.add(connection)
        try:
            connection.connect()
        except (OSError, HTTPException) as error:
            self._drop(connection)
            raise NotSentError(f"{self.host}:{self.port} cannot be reached: {_words(error)}") from None
        return connection

    def _give_back(self, connection: HTTPConnection, *, is_kept: bool) -> None:
        if is_kept and not self._is_closed:
            self._idle.put(connection)
        else:
            self._drop(connection)

    def _drop(self, connection: HTTPConnection) -> None:
        with self._lock:
            self._all.discard(connection)
        connection.close()


def _shut(connection: HTTPConnection) -> None:
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)  # a thread that reads of it wakes up


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)[:WORDS_MAX]


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _second(text: str | None) -> int | None:
    try:
        return None if text is None else int(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None
