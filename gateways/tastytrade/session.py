"""One dial of the order port and what came of it: who is logged in, the account stream, what is known of the orders."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

from domain.orders.capabilities import TASTYTRADE
from domain.session.modes import AccountClass
from gateways.tastytrade.book import OrderBook, View
from gateways.tastytrade.codes import REFUSALS, TOO_MANY, UNAUTHORIZED
from gateways.tastytrade.http import LOOPBACK, Answer, NoAnswerError, NotSentError
from gateways.tastytrade.stream import AccountStream

PAPER_HOSTS: Final = LOOPBACK | {"api.cert.tastyworks.com"}  # the vendor's sandbox, and servers on this machine
LIVE_HOSTS: Final = frozenset({"api.tastyworks.com"})
LOGIN_PAUSE_S: Final = 60.0  # real: after a refused login; doubles. The vendor shuts out who tries too often, for hours
LOGIN_PAUSE_MAX_S: Final = 3_600.0
BUSY_PAUSE_S: Final = 5.0  # real: after a login that the vendor was too busy for
TOKEN_SHARE: Final = 0.6  # of a token's life, after which a new one is asked for
PAGES_MAX: Final = 100

Ask = Callable[..., Awaitable[Answer]]


class Secrets(NamedTuple):
    """What the vendor's application has; it leaves this folder in one request alone, and stands in no message."""

    client_secret: str
    refresh_token: str

    def __repr__(self) -> str:
        return "Secrets(...)"


class BrokerError(Exception):
    """What was asked for is not to be had; the text is one sentence."""


def account_class_of(host: str) -> AccountClass:
    """Return whether a host trades with real money; one that nobody knows is neither paper nor live."""
    if host in PAPER_HOSTS:
        return AccountClass.PAPER
    return AccountClass.LIVE if host in LIVE_HOSTS else AccountClass.UNKNOWN


class Login:
    """The token of now, for as long as the process lives: a new dial does not need a new one.

    `now_s` tells monotonic seconds.
    """

    def __init__(self, secrets: Secrets, ask: Ask, now_s: Callable[[], float]) -> None:
        self._secrets = secrets
        self._ask = ask
        self._now_s = now_s
        self._lock = asyncio.Lock()
        self.token = ""
        self._fresh_until_s = 0.0
        self._good_until_s = 0.0
        self._refused = ""
        self._pause_s, self._early_pause_s = LOGIN_PAUSE_S, BUSY_PAUSE_S
        self._again_s = self._early_s = 0.0

    @property
    def is_fresh(self) -> bool:
        """Whether the token has long enough to live."""
        return bool(self.token) and self._now_s() < self._fresh_until_s

    @property
    def is_good(self) -> bool:
        """Whether the vendor takes the token still, though a newer one may be due."""
        return bool(self.token) and self._now_s() < self._good_until_s

    @property
    def may_renew(self) -> bool:
        """Whether a login may be tried that nothing waits for yet: one that failed is given more and more time."""
        return self._now_s() >= max(self._again_s, self._early_s)

    def forget(self, token: str) -> None:
        """Drop a token that the vendor did not take, unless there is a newer one already."""
        if token == self.token:
            self._fresh_until_s = self._good_until_s = 0.0

    async def refresh(self) -> None:
        """Have a fresh token; a login that was refused is not tried again before its pause is over.

        Raises:
            BrokerError: there is none.
        """
        async with self._lock:
            if self.is_fresh:
                return
            if (wait_s := self._again_s - self._now_s()) > 0:
                raise BrokerError(f"{self._refused}; the next attempt is in {wait_s:.0f} s")
            body = {
                "grant_type": "refresh_token", "client_secret": self._secrets.client_secret,
                "refresh_token": self._secrets.refresh_token,
            }  # fmt: skip
            asked_s = self._now_s()
            try:
                answer = await self._ask("POST", "/oauth/token", body, with_token=False)
            except (NotSentError, NoAnswerError) as error:
                raise self._put_off(f"{TASTYTRADE} gives no token: {error}") from None
            told = answer.body if isinstance(answer.body, Mapping) else {}
            token, life_s = told.get("access_token"), told.get("expires_in")
            if answer.is_good and isinstance(token, str) and token:
                self.token, self._pause_s, self._early_pause_s = token, LOGIN_PAUSE_S, BUSY_PAUSE_S
                life_s = float(life_s) if isinstance(life_s, int | float) and life_s > 0 else 900.0
                self._fresh_until_s, self._good_until_s = asked_s + life_s * TOKEN_SHARE, asked_s + life_s
                return
            if answer.status in REFUSALS - {TOO_MANY}:
                why = f"{TASTYTRADE} refused the login ({answer.status}): check the client secret and token"
                pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, LOGIN_PAUSE_MAX_S)
                raise self._put_off(why, pause_s)
            why = f"{TASTYTRADE} gives no token ({answer.status})"
            raise self._put_off(why, BUSY_PAUSE_S if answer.status == TOO_MANY else 0.0)

    def _put_off(self, why: str, pause_s: float = 0.0) -> BrokerError:
        """Try again after a pause, and while the token in hand is good, not before a longer one."""
        now_s = self._now_s()
        self._refused, self._again_s = why, now_s + pause_s
        self._early_s, self._early_pause_s = now_s + self._early_pause_s, min(self._early_pause_s * 2, LOGIN_PAUSE_S)
        return BrokerError(why)


class Session:
    """One session: its account, its stream, its orders, and what was told of them."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.account = ""
        self.is_up = False
        self.stream: AccountStream | None = None
        self.no_stream = ""  # why there is none, though there should be
        self.book = OrderBook()
        self.told: dict[str, View] = {}
        self.order_n = 0
        self.refs_used: set[str] = set()
        self.posting: dict[str, asyncio.Task[None]] = {}  # by reference: an order that was not answered yet
        self.changing: set[str] = set()  # references of which a change was not answered yet
        self.unsure: dict[str, float] = {}  # what was written without an answer, and until when to look for it
        self.fees_told: set[str] = set()
        self.is_asking_fees = False
        self.fills_n = 0

    def path(self, rest: str) -> str:
        """Return the address of something of the account."""
        return f"/accounts/{self.account}/{rest}"


async def items(ask: Ask, path: str) -> list[Any]:
    """Return every item of a list, page by page.

    Raises:
        BrokerError: it cannot be had whole.
    """
    found: list[Any] = []
    for page in range(PAGES_MAX):
        answer = await read(ask, f"{path}{'&' if '?' in path else '?'}page-offset={page}" if page else path)
        rows = answer.data.get("items") if isinstance(answer.data, Mapping) else None
        if not isinstance(rows, list):
            raise BrokerError(f"GET {path.rpartition('/')[2]}: no list of items came")
        found += rows
        pagination = answer.body.get("pagination")
        pages = pagination.get("total-pages") if isinstance(pagination, Mapping) else None
        if not isinstance(pages, int) or page + 1 >= pages:
            return found
    raise BrokerError(f"GET {path.rpartition('/')[2]}: more than {PAGES_MAX} pages")


async def read(ask: Ask, path: str) -> Answer:
    """Return a good answer to a question, which may be asked again: once more where the token was too old.

    Raises:
        BrokerError: there is none.
    """
    what = f"GET {path.rpartition('/')[2].partition('?')[0]}"
    try:
        answer = await ask("GET", path)
        if answer.status == UNAUTHORIZED:
            answer = await ask("GET", path)
    except (NotSentError, NoAnswerError) as error:
        raise BrokerError(f"{what}: {error}") from None
    if not answer.is_good:
        raise BrokerError(f"{what}: {answer.words}")
    return answer
