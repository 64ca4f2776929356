"""The HTTP side of the feed: negotiate once for all hubs, keep the addresses where the hubs' ports find them.

Keys and access tokens stay in here: no message and no sentence carries one.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import orjson
from urllib3 import PoolManager, Timeout
from urllib3.exceptions import HTTPError, LocationValueError
from urllib3.util import parse_url

from domain.units import Utc
from messages import market
from messages.base import Message

USER_AGENT: Final = "zerohour"
FEED_PORT: Final = "port:feed"
FEED: Final = "feed"
ANSWER_BYTES_MAX: Final = 1024 * 1024
TIMEOUT_S: Final = 10.0
TOKEN_LIFE_S: Final = 900  # "about 15 minutes", looked at when dialling only
_FINAL_STATUS: Final = {400, 401, 403, 404, 405}
_V2_PREFIX: Final = "v2_"

Tell = Callable[[str, Message], None]


class Refusal(msgspec.Struct, frozen=True):
    """Why there are no addresses, in one sentence; `is_final` when asking again cannot help."""

    why: str
    is_final: bool


_NO_URL: Final = Refusal("feed.negotiate_url is no http or https URL with a host", is_final=True)


class AddressBook:
    """The URLs of the newest negotiate, by hub; older ones are gone (their tokens are dead). Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._feed_epoch = -1
        self._urls: dict[str, str] = {}

    def put(self, feed_epoch: int, urls: dict[str, str]) -> None:
        """Take the addresses of a negotiate."""
        with self._lock:
            self._feed_epoch = feed_epoch
            self._urls = dict(urls)

    def url(self, feed_epoch: int, hub: str) -> str | None:
        """Return a hub's URL; `None` when the epoch is not the newest or has no such hub."""
        with self._lock:
            return self._urls.get(hub) if feed_epoch == self._feed_epoch else None


def hub_name(vendor_hub: str) -> str:
    """Return our name of a vendor's hub: `v2_classic` and `classic` are both `classic`."""
    return vendor_hub.removeprefix(_V2_PREFIX)


def negotiate(url: str, key: str, groups: Sequence[str], timeout_s: float = TIMEOUT_S) -> dict[str, str] | Refusal:
    """Return the hubs' URLs (V2), or why there are none.

    This ends the key's older sessions, so it is asked once: no retries, no redirects. Blocks up to `timeout_s` real
    seconds.
    """
    headers = {"Authorization": f"Bearer {key}", "User-Agent": USER_AGENT, "Accept": "application/json"}
    try:
        target = parse_url(url)
        if target.scheme is None:  # urllib3 would take it for http
            return _NO_URL
        host = target.netloc or ""
        with (
            PoolManager(num_pools=1, retries=False, timeout=Timeout(total=timeout_s)) as pools,
            pools.request(
                "POST", url, json={"groups": list(groups)}, headers=headers,
                redirect=False, preload_content=False, decode_content=False,
            ) as response,
        ):  # fmt: skip
            status, answer = response.status, response.read(ANSWER_BYTES_MAX)
    except LocationValueError:
        return _NO_URL
    except HTTPError as error:
        return Refusal(f"{host} could not be reached: {_cause(error)}", is_final=False)
    except ValueError:  # it names the header's value, and that is the key
        return Refusal("the key holds characters that no header may carry", is_final=True)
    if status != 200:
        why = f"{host} refused to negotiate with {status}: {_reason(answer)}"
        return Refusal(why, is_final=status in _FINAL_STATUS)
    return _urls(host, answer)


def _cause(error: BaseException) -> str:
    """Return the sentence of what the system met; those of urllib3 around it name its objects."""
    while isinstance(error, HTTPError) and (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__


def _urls(host: str, answer: bytes) -> dict[str, str] | Refusal:
    match _json(answer):
        case {"websocket_urls": dict(urls)} if urls and all(_is_ws(u) for u in urls.values()):
            return {hub_name(hub): url for hub, url in urls.items()}
    return Refusal(f"{host} answered without usable websocket_urls", is_final=False)


def _is_ws(url: object) -> bool:
    return isinstance(url, str) and url.startswith(("ws://", "wss://"))


def _reason(answer: bytes) -> str:
    match _json(answer):
        case {"error": str(error)}:
            return error[:200]
    return answer[:100].decode("utf-8", "replace").strip() or "no reason given"


def _json(answer: bytes) -> object:
    try:
        return orjson.loads(answer)
    except ValueError:
        return None


class FeedPort:
    """The feed's port: a thread that negotiates on command and tells `feed` how it went.

    Args:
        url: of negotiate.
        key: the vendor key.
        book: where the addresses are left for the hubs' ports.
        tell: takes an address and a message; called from this port's thread.
        now_utc: the clock for `token_until_utc`.
        token_life_ns: how long addresses are good for new dials, on that clock.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        book: AddressBook,
        tell: Tell,
        now_utc: Callable[[], Utc],
        token_life_ns: int = TOKEN_LIFE_S * 1_000_000_000,
    ) -> None:
        self.name = FEED_PORT
        self._url = url
        self._key = key
        self._book = book
        self._tell = tell
        self._now_utc = now_utc
        self._token_life_ns = token_life_ns
        self._commands: queue.SimpleQueue[market.Negotiate | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def post(self, command: market.Negotiate) -> None:
        """Take a command; never blocks."""
        self._commands.put(command)

    def close(self, timeout_s: float = TIMEOUT_S + 1) -> None:
        """End the thread; a request under way is waited for."""
        self._commands.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (command := self._commands.get()) is not None:
            self._tell(FEED, self._negotiate(command))

    def _negotiate(self, command: market.Negotiate) -> market.Negotiated | market.NegotiateFailed:
        asked_utc = self._now_utc()
        result = negotiate(self._url, self._key, command.groups)
        if isinstance(result, Refusal):
            return market.NegotiateFailed(feed_epoch=command.feed_epoch, why=result.why, is_final=result.is_final)
        self._book.put(command.feed_epoch, result)
        return market.Negotiated(
            feed_epoch=command.feed_epoch,
            hubs=tuple(sorted(result)),
            token_until_utc=asked_utc + self._token_life_ns,
        )
