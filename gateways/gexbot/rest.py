"""The vendor's REST: one request per ticker and category, under its rate limits; and days that are over.

Pauses are over when the market's time says so, which on a real day is real time, or when the real time does: a market
that waits for an answer would wait for ever. The key leaves this module in a header only.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from email.utils import parsedate_to_datetime
from typing import IO, Final

import msgspec
import orjson
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, LocationValueError

from domain.instants import SECOND, bucket_of
from domain.options.profile import Profile
from domain.signals.feed_rules import TODAY
from domain.units import Utc
from gateways.gexbot.bounded import bounded_pools
from gateways.gexbot.codec import Refused
from gateways.gexbot.history import HistoryError, objects_in, unpacked
from gateways.gexbot.negotiate import USER_AGENT
from gateways.gexbot.rest_json import profile_of

REST_TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
SLOT_PAUSE_S: Final = 1  # one request a second per ticker and category
FAILED_PAUSE_MAX_S: Final = 16  # what fails is asked again after 1, 2, 4, ... seconds: within a bucket at least once
RETRY_AFTER_MAX_S: Final = 120
HISTORY_TIMEOUT_S: Final = 900.0
HISTORY_BYTES_MAX: Final = 1 << 30  # packed, of one category of a day: 110 MB plain is the widest
PIECE_BYTES: Final = 1 << 20
ASK_FROM_NS: Final = 20 * SECOND  # of a bucket: what is asked from here on is its last word
LOOK_S: Final = 0.02  # the market's clock may run at any pace
NOT_POLLED: Final = frozenset(("state_vanna_one", "state_charm_one"))  # left out of a failover, for its rate


class NoAnswer(msgspec.Struct, frozen=True):
    """Why a request brought nothing; `code` is what is counted, `wait_s` how long the vendor wants to be left alone.

    `is_final`: asking again cannot help (a bad key, a tier that does not have it).
    """

    code: str
    wait_s: float = 0.0
    is_final: bool = False


def is_polled(category: str) -> bool:
    """Return whether a failover asks for a category; there is no REST of explicit expiries."""
    return category not in NOT_POLLED and not category.endswith(TODAY)


def path_of(ticker: str, category: str) -> str:
    """Return the path below the base: `/SPX/classic/zero`, `/SPX/state/gamma_zero`, `/SPX/orderflow/orderflow`."""
    package, _, rest = category.partition("_")
    return f"/{ticker}/{package}/{rest.removeprefix('gex_') if package == 'classic' else rest}"


def base_of(negotiate_url: str) -> str:
    """Return the REST base beside a negotiate URL."""
    return negotiate_url.removesuffix("/negotiate")


class RestClient:
    """Asks the vendor. Thread-safe; shared by all hubs of a process, so that concurrency is bounded once.

    Args:
        base: the URL below which everything is, without a slash at its end.
        key: the vendor's key.
        concurrency: requests under way at once.
        timeout_s: real seconds a request may take.
    """

    def __init__(self, base: str, key: str, *, concurrency: int, timeout_s: float = REST_TIMEOUT_S) -> None:
        self._base = base
        self._headers = {
            "Authorization": f"Bearer {key}", "User-Agent": USER_AGENT, "Accept": "application/json",
        }  # fmt: skip
        self._pools = bounded_pools(timeout_s, num_pools=4, maxsize=concurrency, block=False)
        self.executor: Final = ThreadPoolExecutor(concurrency, thread_name_prefix="rest")

    def fetch(self, ticker: str, category: str) -> Profile | Refused | NoAnswer:
        """Return the newest profile of a ticker and category. Blocks."""
        answer = self.get(self._base + path_of(ticker, category))
        return answer if isinstance(answer, NoAnswer) else profile_of(ticker, category, _json(answer))

    def close(self) -> None:
        """Give up what is under way."""
        self.executor.shutdown(wait=False, cancel_futures=True)

    def history(self, ticker: str, category: str, session: date) -> Iterator[Profile]:
        """Yield a session's profiles in the order of the file; objects that cannot be read are left out.

        Raises:
            HistoryError: there is no such day, or the key may not have it.
        """
        package, _, rest = category.partition("_")
        what = f"{ticker} {category} of {session}"
        answer = self.get(f"{self._base}/hist/{ticker}/{package}/{rest}/{session.isoformat()}?noredirect")
        if isinstance(answer, NoAnswer):
            raise HistoryError(f"the vendor has no history of {what} for this key ({answer.code})")
        try:
            url = str(orjson.loads(answer)["url"])
        except (ValueError, KeyError, TypeError):
            raise HistoryError(f"the vendor named no file with the history of {what}") from None
        with tempfile.TemporaryFile() as file:
            try:
                # The file lies elsewhere: the key does not go there.
                with bounded_pools(HISTORY_TIMEOUT_S).request(
                    "GET", url, redirect=False, headers={"User-Agent": USER_AGENT}, preload_content=False,
                    decode_content=False,
                ) as response:  # fmt: skip
                    if response.status != 200:
                        raise HistoryError(f"the file with the history of {what} was refused with {response.status}")
                    _copy(response, file, what)
            except HTTPError:
                raise HistoryError(f"the file with the history of {what} could not be fetched; try again") from None
            file.seek(0)
            with unpacked(file) as plain:
                for item in objects_in(plain):
                    profile = profile_of(ticker, category, _json(item))
                    if isinstance(profile, Profile):
                        yield profile

    def get(self, url: str) -> bytes | NoAnswer:
        """Ask a URL of the vendor's once, with the key; redirects are not followed. Blocks."""
        try:
            with self._pools.request(
                "GET", url, headers=self._headers, redirect=False, preload_content=False, decode_content=True
            ) as response:
                status, body = response.status, response.read(ANSWER_BYTES_MAX + 1)
                retry_after = response.headers.get("Retry-After", "")
                told_utc = response.headers.get("Date", "")
        except LocationValueError:
            return NoAnswer("rest_no_url", is_final=True)
        except HTTPError:
            return NoAnswer("rest_unreachable")
        except ValueError:  # it names the header's value, and that is the key
            return NoAnswer("rest_no_key", is_final=True)
        if len(body) > ANSWER_BYTES_MAX:
            return NoAnswer("rest_too_large")
        if status == 200:
            return bytes(body)
        is_final = status in (400, 401, 403, 404)
        return NoAnswer(f"rest_{status}", retry_after_s(retry_after, told_utc), is_final=is_final)


def retry_after_s(told: str, now: str) -> float:
    """Return the seconds of a Retry-After, a number or a date, at most two minutes; 0 where it says nothing.

    A date counts from the answer's own Date: the vendor's clock need not be ours.
    """
    if told.isascii() and told.isdecimal():
        return min(float(told), RETRY_AFTER_MAX_S)
    try:
        wait_s = (parsedate_to_datetime(told) - parsedate_to_datetime(now)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(wait_s, 0.0), RETRY_AFTER_MAX_S)


def _copy(response: BaseHTTPResponse, file: IO[bytes], what: str) -> None:
    """Keep an answer.

    Raises:
        HistoryError: it is larger than any day.
    """
    read_n = 0
    while piece := response.read(PIECE_BYTES):
        read_n += len(piece)
        if read_n > HISTORY_BYTES_MAX:
            raise HistoryError(f"the file with the history of {what} is larger than any day; it is not kept")
        file.write(piece)


def _json(text: bytes) -> object:
    try:
        return orjson.loads(text)
    except ValueError:
        return None


class Slot:
    """One ticker and category: when the last answer was asked for, failures since then, whether it is over.

    It may be asked next from `next_utc` of the market on, or from `again_s` of the real clock on.
    """

    __slots__ = ("again_s", "answered_utc", "category", "failures", "is_asked", "is_over", "next_utc", "ticker")

    def __init__(self, ticker: str, category: str) -> None:
        self.ticker = ticker
        self.category = category
        self.next_utc = Utc(0)
        self.again_s = 0.0
        self.failures = 0
        self.answered_utc = Utc(-1)
        self.is_asked = False
        self.is_over = False


class RestPoller:
    """Polls what is wanted: each ticker and category at once, then once in the last part of every bucket.

    Args:
        client: what asks.
        now_utc: the market's clock.
        take: is called in the loop's thread with each answer.
        now_s: the real clock.
    """

    def __init__(
        self,
        client: RestClient,
        now_utc: Callable[[], Utc],
        take: Callable[[Profile | Refused | NoAnswer], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._slots: dict[tuple[str, str], Slot] = {}
        self._now_utc = now_utc
        self._now_s = now_s
        self._take = take
        self.wanted: frozenset[tuple[str, str]] = frozenset()

    def want(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Poll these (ticker, category) pairs from now on; what was refused for good is asked once more."""
        self.wanted = frozenset(pairs)
        self._slots = {
            pair: self._slots.get(pair) or Slot(*pair) for pair in sorted(self.wanted | self._slots.keys())
        }  # fmt: skip
        for slot in self._slots.values():
            slot.is_over, slot.answered_utc = False, Utc(-1)

    async def run(self) -> None:
        """Poll until cancelled."""
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                for pair, slot in self._slots.items():
                    if pair in self.wanted and self._is_due(slot, self._now_utc()):
                        slot.is_asked = True
                        task = asyncio.get_running_loop().create_task(self._ask(slot))
                        tasks.add(task)
                        task.add_done_callback(tasks.discard)
                await asyncio.sleep(LOOK_S)
        finally:
            for task in tasks:
                task.cancel()

    def _is_due(self, slot: Slot, now: Utc) -> bool:
        if slot.is_asked or slot.is_over or (now < slot.next_utc and self._now_s() < slot.again_s):
            return False
        if slot.answered_utc < 0:
            return True
        return now - bucket_of(now) >= ASK_FROM_NS and slot.answered_utc < bucket_of(now) + ASK_FROM_NS

    async def _ask(self, slot: Slot) -> None:
        asked_utc = self._now_utc()
        try:
            answer = await asyncio.get_running_loop().run_in_executor(
                self._client.executor, self._client.fetch, slot.ticker, slot.category
            )
        finally:
            slot.is_asked = False
        if isinstance(answer, Profile):
            slot.answered_utc, slot.failures = asked_utc, 0
            wait_s: float = SLOT_PAUSE_S
        else:
            wait_s = min(SLOT_PAUSE_S << slot.failures, FAILED_PAUSE_MAX_S)
            slot.failures = min(slot.failures + 1, FAILED_PAUSE_MAX_S)
        if isinstance(answer, NoAnswer):
            wait_s = max(wait_s, answer.wait_s)
            slot.is_over = answer.is_final
        slot.next_utc, slot.again_s = Utc(self._now_utc() + round(wait_s * SECOND)), self._now_s() + wait_s
        self._take(answer)
