"""The HTTP side of the feed: negotiate once for all hubs, keep the addresses where the hubs' ports find them.

Keys and access tokens stay in here: no message and no sentence carries one.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Final

import msgspec
import orjson
from urllib3.exceptions import HTTPError, LocationValueError
from urllib3.util import parse_url

from domain.signals.feed_rules import TODAY
from domain.units import Utc
from gateways.bucket_port import Tell
from gateways.gexbot.bounded import bounded_pools
from gateways.gexbot.codec import parse_group
from messages import market

USER_AGENT: Final = "zerohour"
FEED_PORT: Final = "port:feed"
FEED: Final = "feed"
ANSWER_BYTES_MAX: Final = 1024 * 1024
TIMEOUT_S: Final = 10.0
TOKEN_LIFE_S: Final = 900  # "about 15 minutes", looked at when dialling only
_FINAL_STATUS: Final = {400, 401, 403, 404, 405}
_V2_PREFIX: Final = "v2_"
_DATE: Final = re.compile(r"_\d{8}$")
_TOKEN: Final = re.compile(r"((?:access|awps_reconnection)_token=)[^&\s'\"]+")


class Refusal(msgspec.Struct, frozen=True):
    """Why there are no addresses, in one sentence; `is_final` when asking again cannot help."""

    why: str
    is_final: bool


_NO_URL: Final = Refusal("feed.negotiate_url is no http or https URL with a host", is_final=True)


class Addresses(msgspec.Struct, frozen=True):
    """What a negotiate gave: the URL of each hub; `prefix` where the client itself must join (`blue`, `red`)."""

    urls: dict[str, str]
    prefix: str | None = None


class AddressBook:
    """The URLs of each key's newest negotiate, by hub; older ones are gone (their tokens are dead). Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[int, tuple[int, Addresses, tuple[str, ...]]] = {}

    def put(
        self, feed_epoch: int, found: Addresses | dict[str, str], key_n: int = 0, groups: Sequence[str] = ()
    ) -> None:
        """Take the addresses of a negotiate with a key, and the groups that it asked for."""
        addresses = found if isinstance(found, Addresses) else Addresses(dict(found))
        with self._lock:
            self._found[key_n] = feed_epoch, addresses, tuple(groups)

    def url(self, feed_epoch: int, hub: str, key_n: int = 0) -> str | None:
        """Return a hub's URL; `None` when the epoch is not the key's newest or has no such hub."""
        with self._lock:
            newest, addresses, _ = self._found.get(key_n, _NOTHING)
            return addresses.urls.get(hub) if feed_epoch == newest else None

    def joins(self, feed_epoch: int, key_n: int, categories: Collection[str]) -> tuple[str, ...]:
        """Return the groups of these categories that the client must join itself, under the prefix of the epoch."""
        with self._lock:
            newest, addresses, groups = self._found.get(key_n, _NOTHING)
        if feed_epoch != newest or addresses.prefix is None:
            return ()
        return tuple(f"{addresses.prefix}_{group}" for group in groups if _is_of(group, categories))


def _is_of(group: str, categories: Collection[str]) -> bool:
    key = parse_group(group)
    return key is not None and (key.category in categories or _DATE.sub(TODAY, key.category) in categories)


_NOTHING: Final[tuple[int, Addresses, tuple[str, ...]]] = (-1, Addresses({}), ())


def hidden(sentence: str, key: str) -> str:
    """Return a sentence without the key, access tokens and control characters, whoever wrote them there."""
    plain = "".join(character if character.isprintable() else " " for character in sentence)
    return _TOKEN.sub(r"\1(hidden)", plain.replace(key, "(the key)") if key else plain)


def hub_name(vendor_hub: str) -> str:
    """Return our name of a vendor's hub: `v2_classic` and `classic` are both `classic`."""
    return vendor_hub.removeprefix(_V2_PREFIX)


def negotiate(url: str, key: str, groups: Sequence[str], timeout_s: float = TIMEOUT_S) -> dict[str, str] | Refusal:
    """Return the hubs' URLs (V2), or why there are none.

    This ends the key's older sessions, so it is asked once: no retries, no redirects. Blocks up to `timeout_s` real
    seconds.
    """
    found = _negotiated("POST", url, key, {"groups": list(groups)}, timeout_s)
    return found if isinstance(found, Refusal) else found.urls


def negotiate_legacy(url: str, key: str, timeout_s: float = TIMEOUT_S) -> Addresses | Refusal:
    """Return the hubs' URLs and the prefix of their groups (legacy), or why there are none; as `negotiate` else."""
    found = _negotiated("GET", url, key, None, timeout_s)
    if isinstance(found, Addresses) and found.prefix is None:
        return Refusal("the vendor answered without a prefix: set feed.protocol to v2", is_final=True)
    return found


def patch(url: str, key: str, memberships: Sequence[tuple[str, str]], timeout_s: float = TIMEOUT_S) -> int | Refusal:
    """Replace all memberships (our hub, group) on the key's live connections; return how many stand on them now.

    Blocks up to `timeout_s` real seconds.
    """
    body = {"groups": [{"hub": _V2_PREFIX + hub, "group": group} for hub, group in memberships]}
    answer = _asked("PATCH", url, key, body, timeout_s)
    if isinstance(answer, Refusal):
        return answer
    match _json(answer[1]):
        case {"updated_groups": int(updated_n)}:
            return updated_n
    return Refusal(f"{answer[0]} answered without updated_groups", is_final=False)


def _negotiated(
    method: str, url: str, key: str, body: dict[str, list[str]] | None, timeout_s: float
) -> Addresses | Refusal:
    answer = _asked(method, url, key, body, timeout_s)
    if isinstance(answer, Refusal):
        return answer
    return _addresses(*answer, is_secure=url.startswith("https:"))


def _asked(method: str, url: str, key: str, body: object, timeout_s: float) -> tuple[str, bytes] | Refusal:
    """Ask once; return the host and its answer."""
    headers = {"Authorization": f"Bearer {key}", "User-Agent": USER_AGENT, "Accept": "application/json"}
    try:
        target = parse_url(url)
        if target.scheme is None:  # urllib3 would take it for http
            return _NO_URL
        host = target.netloc or ""
        with (
            bounded_pools(timeout_s, num_pools=1) as pools,
            pools.request(
                method, url, json=body, headers=headers, redirect=False, preload_content=False, decode_content=False,
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
        asked = "to change memberships" if method == "PATCH" else "to negotiate"
        why = f"{host} refused {asked} with {status}: {_reason(answer)}"
        return Refusal(why, is_final=status in _FINAL_STATUS)
    return host, answer


def _cause(error: BaseException) -> str:
    """Return the sentence of what the system met; those of urllib3 around it name its objects."""
    while isinstance(error, HTTPError) and (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__


def _addresses(host: str, answer: bytes, *, is_secure: bool) -> Addresses | Refusal:
    """Return the addresses in an answer; one that came by TLS may not send the tokens out without."""
    match _json(answer):
        case {"websocket_urls": dict(urls), **rest} if urls and all(_is_ws(u) for u in urls.values()):
            prefix = rest.get("prefix")
            found = {hub_name(hub): url for hub, url in urls.items()}
            if is_secure and not all(url.startswith("wss:") for url in found.values()):
                return Refusal(f"{host} named a hub without TLS; its token would travel in the open", is_final=False)
            return Addresses(found, prefix if isinstance(prefix, str) and prefix else None)
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


FeedCommand = market.Negotiate | market.PatchMemberships


class FeedPort:
    """The feed's port: a thread that negotiates, and replaces memberships, on command and tells `feed` how it went.

    Args:
        url: of negotiate.
        keys: the vendor's keys, by number.
        book: where the addresses are left for the hubs' ports.
        tell: takes an address and a message; called from this port's thread.
        now_utc: the clock for `token_until_utc`.
        token_life_ns: how long addresses are good for new dials, on that clock.
        is_legacy: whether the older negotiation is used.
    """

    def __init__(
        self,
        url: str,
        keys: Sequence[str],
        *,
        book: AddressBook,
        tell: Tell,
        now_utc: Callable[[], Utc],
        token_life_ns: int = TOKEN_LIFE_S * 1_000_000_000,
        is_legacy: bool = False,
    ) -> None:
        self._is_legacy = is_legacy
        self.name = FEED_PORT
        self._url = url
        self._keys = tuple(keys)
        self._book = book
        self._tell = tell
        self._now_utc = now_utc
        self._token_life_ns = token_life_ns
        self._commands: queue.SimpleQueue[FeedCommand | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def post(self, command: FeedCommand) -> None:
        """Take a command; never blocks."""
        self._commands.put(command)

    def close(self, timeout_s: float = TIMEOUT_S + 1) -> None:
        """End the thread; a request under way is waited for."""
        self._commands.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (command := self._commands.get()) is not None:
            if isinstance(command, market.Negotiate):
                self._tell(FEED, self._negotiate(command))
            else:
                self._tell(FEED, self._patch(command))

    def _patch(self, command: market.PatchMemberships) -> market.MembershipsPatched | market.PatchFailed:
        key = self._keys[command.key_n]
        result = patch(self._url, key, command.memberships)
        if isinstance(result, int) and result < command.standing_n:
            result = Refusal(f"the vendor changed {result} of {command.standing_n} groups", is_final=False)
        if isinstance(result, Refusal):
            return market.PatchFailed(
                feed_epoch=command.feed_epoch, why=hidden(result.why, key), is_final=result.is_final,
                key_n=command.key_n,
            )  # fmt: skip
        return market.MembershipsPatched(feed_epoch=command.feed_epoch, updated_n=result, key_n=command.key_n)

    def _negotiate(self, command: market.Negotiate) -> market.Negotiated | market.NegotiateFailed:
        asked_utc = self._now_utc()
        key = self._keys[command.key_n]
        result: Addresses | dict[str, str] | Refusal
        if self._is_legacy:
            result = negotiate_legacy(self._url, key)
        else:
            result = negotiate(self._url, key, command.groups)
        if isinstance(result, Refusal):
            return market.NegotiateFailed(
                feed_epoch=command.feed_epoch,
                why=hidden(result.why, key),
                is_final=result.is_final,
                key_n=command.key_n,
            )
        self._book.put(command.feed_epoch, result, command.key_n, command.groups)
        urls = result.urls if isinstance(result, Addresses) else result
        return market.Negotiated(
            feed_epoch=command.feed_epoch,
            key_n=command.key_n,
            hubs=tuple(sorted(urls)),
            token_until_utc=asked_utc + self._token_life_ns,
        )
