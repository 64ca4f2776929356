"""The vendor's REST: one request per ticker and category, under its rate limits; and days that are over.

Everything is counted in market time, which on a real day is real time. The key leaves this module in a header only.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Final

import msgspec
import orjson
from urllib3 import PoolManager, Timeout
from urllib3.exceptions import HTTPError, LocationValueError

from domain.instants import SECOND, bucket_of
from domain.options.profile import Profile
from domain.units import Utc
from gateways.gexbot.codec import Refused
from gateways.gexbot.history import HistoryError, objects_in, unpacked
from gateways.gexbot.negotiate import USER_AGENT
from gateways.gexbot.rest_json import profile_of

REST_TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
SLOT_PAUSE_NS: Final = SECOND  # one request a second per ticker and category
RETRY_AFTER_MAX_S: Final = 120
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
        self._pools = PoolManager(
            num_pools=4, maxsize=concurrency, block=False, retries=False, timeout=Timeout(total=timeout_s)
        )
        self.executor: Final = ThreadPoolExecutor(concurrency, thread_name_prefix="rest")

    def fetch(self, ticker: str, category: str) -> Profile | Refused | NoAnswer:
        """Return the newest profile of a ticker and category. Blocks."""
        answer = self._get(self._base + path_of(ticker, category))
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
        answer = self._get(f"{self._base}/hist/{ticker}/{package}/{rest}/{session.isoformat()}?noredirect")
        if isinstance(answer, NoAnswer):
            raise HistoryError(f"the vendor has no history of {what} for this key ({answer.code})")
        try:
            url = str(orjson.loads(answer)["url"])
        except (ValueError, KeyError, TypeError):
            raise HistoryError(f"the vendor named no file with the history of {what}") from None
        with tempfile.TemporaryFile() as file:
            try:
                # The file lies elsewhere: the key does not go there.
                with self._pools.request(
                    "GET", url, headers={"User-Agent": USER_AGENT}, preload_content=False, decode_content=False
                ) as response:
                    if response.status != 200:
                        raise HistoryError(f"the file with the history of {what} was refused with {response.status}")
                    shutil.copyfileobj(response, file)
            except HTTPError:
                raise HistoryError(f"the file with the history of {what} could not be fetched; try again") from None
            file.seek(0)
            with unpacked(file) as plain:
                for item in objects_in(plain):
                    profile = profile_of(ticker, category, _json(item))
                    if isinstance(profile, Profile):
                        yield profile

    def _get(self, url: str) -> bytes | NoAnswer:
        """Ask once, with the key; redirects are not followed."""
        try:
            with self._pools.request(
                "GET", url, headers=self._headers, redirect=False, preload_content=False, decode_content=True
            ) as response:
                status, body = response.status, response.read(ANSWER_BYTES_MAX + 1)
                retry_after = response.headers.get("Retry-After", "")
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
        wait_s = min(float(retry_after), RETRY_AFTER_MAX_S) if retry_after.isdecimal() else 0.0
        return NoAnswer(f"rest_{status}", wait_s, is_final=status in (400, 401, 403, 404))


def _json(text: bytes) -> object:
    try:
        return orjson.loads(text)
    except ValueError:
        return None


class Slot:
    """One ticker and category: when it may be asked next, when the last answer was asked for, whether it is over."""

    __slots__ = ("answered_utc", "category", "is_asked", "is_over", "next_utc", "ticker")

    def __init__(self, ticker: str, category: str) -> None:
        self.ticker = ticker
        self.category = category
        self.next_utc = Utc(0)
        self.answered_utc = Utc(-1)
        self.is_asked = False
        self.is_over = False


class RestPoller:
    """Polls what is wanted: each ticker and category at once, then once in the last part of every bucket.

    Args:
        client: what asks.
        now_utc: the market's clock.
        take: is called in the loop's thread with each answer.
    """

    def __init__(
        self,
        client: RestClient,
        now_utc: Callable[[], Utc],
        take: Callable[[Profile | Refused | NoAnswer], None],
    ) -> None:
        self._client = client
        self._slots: dict[tuple[str, str], Slot] = {}
        self._now_utc = now_utc
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
        if slot.is_asked or slot.is_over or now < slot.next_utc:
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
        wait_ns = SLOT_PAUSE_NS
        if isinstance(answer, NoAnswer):
            wait_ns = max(wait_ns, int(answer.wait_s * SECOND))
            slot.is_over = answer.is_final
        else:
            slot.answered_utc = asked_utc
        slot.next_utc = Utc(max(asked_utc + SLOT_PAUSE_NS, self._now_utc() + wait_ns))
        self._take(answer)
