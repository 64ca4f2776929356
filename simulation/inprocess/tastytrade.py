"""Tastytrade's order port on virtual time: all of the real one but its connections, against the simulated vendor.

What it asks and hears, its words, its book and its patience are `gateways/tastytrade`'s own; only the way of a request
and of a notification is short: no thread, no socket, so many virtual milliseconds each way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from domain.instants import SECOND
from domain.limits import ConnectionRules
from domain.session.modes import AccountClass
from domain.units import Utc
from gateways.contract_book import ContractBook
from gateways.tastytrade.http import USER_AGENT, Answer, NoAnswerError, NotSentError
from gateways.tastytrade.orders_port import Placed, TastytradeOrdersPort
from gateways.tastytrade.session import Secrets, Session
from gateways.tastytrade.stream import AccountStream, StreamError
from simulation.inprocess.loop import stepped_loop
from simulation.tastytrade.faults import Trouble
from simulation.tastytrade.service import Answered, Asked, Target, TastytradeService, target_of
from supervision.stepped import SteppedRuntime

REST_URL: Final = "http://127.0.0.1"  # where nothing is ever dialled; a server of this machine stands for the sandbox
STREAM_URL: Final = "ws://127.0.0.1"
SECRETS: Final = Secrets("a-client-secret", "a-refresh-token")
TRIP_S: Final = 0.02  # each way
NEWS_S: Final = 0.04  # until a notification arrives
STEP_S: Final = 1.0  # between two looks of the exchange at its orders


class _Socket:
    """The client's end of one session of the account stream."""

    def __init__(self, port: SteppedTastytrade) -> None:
        self.accounts: set[str] = set()
        self.is_closed = False
        self.transport = self
        self._port = port
        self._texts: deque[str] = deque()
        self._waiting: asyncio.Future[None] | None = None

    async def send(self, text: str) -> None:
        """Send a message to the vendor, whose answer comes by itself."""
        self._port.loop.call_later(TRIP_S, self._arrive, text)

    def _arrive(self, text: str) -> None:
        answer = None if self.is_closed else self._port.service.hear(self.accounts, orjson.loads(text))
        if answer is not None:
            self._port.loop.call_later(TRIP_S, self.take, orjson.dumps(answer).decode())

    def take(self, text: str) -> None:
        """Take what the vendor says."""
        self._texts.append(text)
        self._wake()

    def abort(self) -> None:
        """End it at once."""
        self.is_closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def __aiter__(self) -> _Socket:
        return self

    async def __anext__(self) -> str:
        while not self._texts:
            if self.is_closed:
                raise StopAsyncIteration
            self._waiting = self._port.loop.create_future()
            await self._waiting
        return self._texts.popleft()


class SteppedTastytrade(TastytradeOrdersPort):
    """`port:ibkr:<desk>` in the stepped runtime, at one simulated vendor.

    Args:
        owner: the desk's order session, `ibkr:<desk>`.
        runtime: whose virtual time it lives on.
        service: the vendor.
        rules: of the connection; real time is virtual here.
        port: what its links name as the port.
        contracts: whose contract a symbol is.
    """

    def __init__(
        self, owner: str, runtime: SteppedRuntime, service: TastytradeService, rules: ConnectionRules, port: int,
        contracts: ContractBook,
    ) -> None:  # fmt: skip
        name = f"port:{owner}"
        super().__init__(
            name, rest_url=REST_URL, stream_url=STREAM_URL, secrets=SECRETS, rules=rules, clock=runtime.clock,
            tell=partial(_post, runtime, name), contracts=contracts, ports={AccountClass.PAPER: port},
            loop=stepped_loop(runtime),
        )  # fmt: skip
        self.service = service
        self._runtime = runtime
        self._desk = owner.partition(":")[2]
        self._socket: _Socket | None = None
        self._is_telling = False
        self.begin_steps()

    def start(self) -> None:
        """Nothing to start: the port lives on the runtime's virtual time."""

    def close(self, timeout_s: float = 0.0) -> None:
        """Let nothing of it happen any more, and tell nobody."""
        if not self.loop.is_closed():
            self._tell = _nobody
            self.loop.close()

    # -- requests -------------------------------------------------------------------------------

    def _check(self, session: Session, command: Placed) -> None:
        self._refused = self._runtime.latched or self._runtime.latched_groups.get(self._desk)
        super()._check(session, command)

    async def _answered(
        self, method: str, path: str, body: object, token: str, timeout_s: float,
        check: Callable[[], None] | None, on_sent: Callable[[], None] | None,
    ) -> Answer:  # fmt: skip
        await asyncio.sleep(TRIP_S)
        if self.is_down():
            raise NotSentError("nobody answers there")
        if check is not None:
            check()
        sent_utc = self._clock.now_utc()
        if on_sent is not None:
            on_sent()
        where, _, query = path.partition("?")
        asked = Asked(method, where, dict(parse_qsl(query)), USER_AGENT, token)
        at_vendor = self.loop.create_task(self._served(asked, b"" if body is None else orjson.dumps(body)))
        done, _ = await asyncio.wait({at_vendor}, timeout=timeout_s)  # the vendor's work goes on all the same
        if not done:
            raise NoAnswerError("no answer in time")
        answer = at_vendor.result()
        if answer is None:
            raise NoAnswerError("the connection was closed")
        now = self._clock.now_utc()
        status, payload = answer
        return Answer(status, orjson.loads(orjson.dumps(payload)), self.date_of(now), sent_utc, now)

    async def _served(self, asked: Asked, body: bytes) -> Answered | None:
        """Let a request arrive and return its answer as it arrives; `None`: without one."""
        await asyncio.sleep(TRIP_S)
        target = target_of(asked.method, asked.path)
        trouble = None if target is None else self.trouble_of(target, body)
        self.loop.call_soon(self.look_after_request)
        answer = await self.service.answer(asked, body, trouble)
        self.tell_news()
        await asyncio.sleep(TRIP_S)
        return answer

    def look_after_request(self) -> None:
        """Have told what a request has brought about as it arrived: its answer may be late, or never come."""
        self.tell_news()

    # -- the stream -----------------------------------------------------------------------------

    async def _dial_stream(self, session: Session, url: str, within_s: float) -> AccountStream:
        await asyncio.sleep(TRIP_S)
        if self.is_down():
            raise StreamError("the account stream cannot be opened: nobody answers there")
        socket: Any = _Socket(self)
        self._socket = socket
        self.service.take_news()  # of before: nobody was told
        return AccountStream(
            socket, lambda: self._login.token, partial(self._on_row, session),
            partial(self._unreadable, session, "the account stream"),
        )  # fmt: skip

    @property
    def is_streaming(self) -> bool:
        """Whether the account's news reach the port."""
        return self._socket is not None and not self._socket.is_closed and bool(self._socket.accounts)

    def drop_stream(self) -> None:
        """End the session of the stream, as the vendor does."""
        if self._socket is not None:
            self._socket.abort()

    def tell_news(self) -> None:
        """Have what is new at the vendor told, a moment later and all at once."""
        if not self._is_telling and not self.loop.is_closed():
            self._is_telling = True
            self.loop.call_later(NEWS_S + self.service.faults.delay_s, self._tell_news)

    def _tell_news(self) -> None:
        self._is_telling = False
        socket, told = self._socket, self.service.take_news()
        if socket is not None and not socket.is_closed and self.service.account in socket.accounts:
            for row in told:
                socket.take(orjson.dumps(row).decode())

    # -- what a faulty day changes --------------------------------------------------------------

    def begin_steps(self) -> None:
        """Have the vendor's exchange match each second from now on."""
        self.loop.call_later(STEP_S, self._step_again)

    def _step_again(self) -> None:
        self.step()
        self.loop.call_later(STEP_S, self._step_again)

    def step(self) -> None:
        """Have the vendor's exchange match, and what is new there told."""
        self.service.desk.step()
        self.tell_news()

    def is_down(self) -> bool:
        """Return whether nobody answers at all."""
        return False

    def trouble_of(self, target: Target, body: bytes) -> Trouble | None:
        """Return what happens to a request that has arrived; `None`: what the vendor's switches say."""
        return None

    def date_of(self, now: Utc) -> int:
        """Return the second that the vendor says it is."""
        return now // SECOND


def _post(runtime: SteppedRuntime, name: str, to: str, message: Any) -> None:
    runtime.post(to, message, name)


def _nobody(_to: str, _message: Any) -> None:
    pass
