# ruff: noqa: N802 - the names of the callbacks are ib_insync's
"""One connection to an IB Gateway and the thread that owns it.

Only the wire part of ib_insync is used (`Client` and its decoder): its `IB`, `Trade` and `Ticker` objects hold states
of their own that contradict the broker after an error or a reconnect, so decoded messages come straight to us.
Every dial has a fresh `Session`; callbacks of an older one are counted and dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Protocol, TypeVar

from ib_insync.client import Client

from config.settings import Gateway
from domain.limits import ConnectionRules
from domain.ports import Clock
from domain.session.modes import AccountClass
from gateways.ib.answers import Answers, RequestError
from gateways.ib.codes import (
    CLIENT_ID_IN_USE,
    FARM,
    LINK_LOST,
    RESTORED,
    RESTORED_DATA_LOST,
    meaning_of,
)
from gateways.ib.translate import account_class_of
from messages import broker
from messages.base import Message

REQUESTS_PER_S = 45  # IB cuts a client off beyond 50 messages a second

Tell = Callable[[str, Message], None]
A = TypeVar("A", bound="AnyAnswers")
C = TypeVar("C")
R = TypeVar("R")

# ib_insync writes a line for every order and execution; what it cannot decode is the only thing worth hearing.
logging.getLogger("ib_insync").setLevel(logging.CRITICAL + 1)
logging.getLogger("ib_insync.Decoder").setLevel(logging.ERROR)


class DialError(Exception):
    """A dial that ended without a link; the text is one sentence."""

    def __init__(self, why: str, vendor_code: int | None = None) -> None:
        super().__init__(why)
        self.vendor_code = vendor_code


class AnyAnswers(Protocol):
    """Answers of whatever type their rows are."""

    def fail(self, request_id: int | None, why: str) -> bool:
        """End a request with an error; False where there is no such request."""

    def fail_all(self, why: str) -> None:
        """End every request with an error."""


class Session:
    """One dial and what came of it: takes ib_insync's decoded messages and answers our requests.

    `is_cut` is true while the gateway has lost its own link to the broker.
    """

    def __init__(self, port: IbPort, epoch: int) -> None:
        self.port = port
        self.epoch = epoch
        self.is_up = False
        self.is_cut = False
        self.ib = SimpleNamespace(TimezoneTWS="America/New_York")  # what the decoder asks for
        self.client = Client(self)
        self.client.MaxRequests = REQUESTS_PER_S
        self._answers: list[AnyAnswers] = []
        self._times = self.expecting(Answers[None](port.loop))
        self._gone: asyncio.Future[DialError] = port.loop.create_future()

    @property
    def is_current(self) -> bool:
        """Whether this is still the port's session; a callback of an older one is counted as dropped."""
        if self.port.session is self:
            return True
        self.port.dropped += 1
        return False

    async def open(self, host: str, port: int, client_id: int, timeout_s: float) -> None:
        """Connect, and end early where the gateway closes or refuses.

        Raises:
            DialError: no link, and why.
        """
        dial = asyncio.ensure_future(self.client.connectAsync(host, port, client_id, timeout_s))
        either: tuple[asyncio.Future[None] | asyncio.Future[DialError], ...] = (dial, self._gone)
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._gone.done():
            dial.cancel()
            await asyncio.gather(dial, return_exceptions=True)
            raise self._gone.result()
        try:
            dial.result()
        except TimeoutError:
            raise DialError(f"{host}:{port} did not answer within {timeout_s:.1f} s") from None
        except OSError as error:
            raise DialError(f"{host}:{port} cannot be reached: {error.strerror or error}") from None
        self.is_up = True

    def close(self) -> None:
        """Drop the connection at once, what waits in its buffers too."""
        transport = self.client.conn.transport
        if transport is not None:
            transport.abort()
        self._fail_all("the connection was closed")

    def expecting(self, answers: A) -> A:
        """Have requests of a kind end with the connection."""
        self._answers.append(answers)
        return answers

    def ask(
        self, answers: Answers[R], send: Callable[[], None], request_id: int | None = None
    ) -> asyncio.Future[list[R]]:
        """Send a request and return the future of its rows; `request_id` is what its answers carry."""
        future = answers.expect(request_id)
        try:
            send()
        except ConnectionError as error:
            self._fail_all(f"the connection is gone: {error}")
        return future

    async def ask_time(self) -> None:
        """Ask the gateway's time, which it answers at once while the connection lives.

        Raises:
            RequestError: the connection is gone.
        """
        await self.ask(self._times, self.client.reqCurrentTime)

    def has_room(self) -> bool:
        """Whether a request would be written at once; beyond its pace ib_insync keeps requests in a queue."""
        since_s = self.port.loop.time() - self.client.RequestsInterval
        recent_n = sum(at_s > since_s for at_s in self.client._timeQ)
        return not self.client._msgQ and recent_n < self.client.MaxRequests

    def request_id(self) -> int:
        """Return a fresh request or order id."""
        return self.client.getReqId()

    def _fail_all(self, why: str) -> None:
        for answers in self._answers:
            answers.fail_all(why)

    # -- what ib_insync calls -----------------------------------------------------------------

    def setEventsDone(self) -> None:
        """The socket closed, whatever the state was."""
        self._fail_all("the connection was closed by the gateway")
        if not self._gone.done():
            self._gone.set_result(DialError("the gateway closed the connection before it was ready"))
        if self.is_up:
            self.port.lost(self, "the gateway closed the connection")

    def connectionClosed(self) -> None:
        """Told by `setEventsDone` already."""

    def connectAck(self) -> None:
        """The handshake's answer; what follows tells more."""

    def currentTime(self, _epoch_s: int) -> None:
        """The answer to a heartbeat."""
        self._times.end()

    def error(self, request_id: int, code: int, text: str, _advanced: str) -> None:
        """A code and its text; request id -1 means the whole connection."""
        if code == CLIENT_ID_IN_USE and not self._gone.done():
            self._gone.set_result(DialError(f"client id {self.client.clientId} is in use", code))
            return
        if not self.is_current:
            return
        if code in LINK_LOST:
            self.is_cut = True
            self.port.report(broker.LinkLost(session_epoch=self.epoch, cause=f"{code}: {text}", is_socket_up=True))
        elif code in (RESTORED, RESTORED_DATA_LOST):
            self.is_cut = False
            if code == RESTORED_DATA_LOST:
                self.on_data_lost()
            self.port.report(broker.LinkRestored(session_epoch=self.epoch, data_lost=code == RESTORED_DATA_LOST))
        elif code in FARM:
            self.port.report(broker.FarmNotice(session_epoch=self.epoch, vendor_code=code, text=text))
        else:
            self.on_error(request_id, code, text)

    def on_data_lost(self) -> None:
        """The gateway has forgotten every subscription."""

    def on_error(self, request_id: int, code: int, text: str) -> None:
        """An error of one request (or of nothing that we know)."""
        if not any(answers.fail(request_id, f"{code}: {text}") for answers in self._answers):
            self.report_error(None, code, text)

    def report_error(self, order_ref: str | None, code: int, text: str) -> None:
        """Report an error with its meaning."""
        self.port.report(
            broker.ErrorReported(
                session_epoch=self.epoch, order_ref=order_ref, vendor_code=code, text=text, meaning=meaning_of(code)
            )
        )


class IbPort(ABC):
    """A port: its thread, its loop, its present session, its heartbeat.

    Args:
        name: `port:ibkr:<desk>` or `port:quotes:<desk>`; facts go to the name without `port:`.
        gateways: addresses, primary first.
        client_id: IB's id of this connection; one process per id.
        rules: durations are market time and are divided by the clock's rate.
        clock: the market's clock.
        tell: takes an address and a message; called from this port's thread.
        account: the configured account; `None` takes the session's first (paper only).
    """

    session: Session | None

    def __init__(
        self,
        name: str,
        *,
        gateways: tuple[Gateway, ...],
        client_id: int,
        rules: ConnectionRules,
        clock: Clock,
        tell: Tell,
        account: str | None = None,
    ) -> None:
        self._name = name
        self.rules = rules
        self.clock = clock
        self.loop = asyncio.new_event_loop()
        self.session = None
        self.dropped = 0
        self.account = ""
        self._owner = name.removeprefix("port:")
        self._gateways = gateways
        self._client_id = client_id
        self._tell = tell
        self._wanted_account = account
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def name(self) -> str:
        """The address."""
        return self._name

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Close the connection and end the thread."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout_s)

    # -- for sessions and subclasses, on the port's own loop ------------------------------------

    @abstractmethod
    def new_session(self, epoch: int) -> Session:
        """Return what a dial of this port opens."""

    @abstractmethod
    def on_open(self) -> None:
        """The session is up: ask for what every session of this port needs."""

    def take_soon(self, take: Callable[[C], None], command: C) -> None:
        """Have a command taken on the loop; never blocks, and after `close` it is dropped."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(take, command)

    def report(self, fact: Message) -> None:
        """Tell the owner."""
        self._tell(self._owner, fact)

    def seconds(self, duration_ms: int) -> float:
        """Return a rule's duration in real seconds."""
        return duration_ms / 1000 / self.clock.rate

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run a coroutine on the loop and keep it from being collected."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def lost(self, session: Session, cause: str) -> None:
        """End a session that was up; an older one or a second call says nothing."""
        if self.session is not session:
            return
        self.session = None
        session.close()
        self.report(broker.LinkLost(session_epoch=session.epoch, cause=cause))

    def command_link(self, command: broker.LinkCommand) -> None:
        """Carry out a command that is about the link."""
        match command:
            case broker.Dial():
                self._hang_up()
                self.session = self.new_session(command.session_epoch)
                self.spawn(self._connect(self.session, command.gateway_n))
            case broker.CloseLink():
                if self.session is not None and self.session.epoch <= command.session_epoch:
                    self._hang_up()

    # -- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            if self.session is not None:
                session, self.session = self.session, None
                session.close()
            for task in list(self._tasks):
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
            self.loop.run_until_complete(asyncio.sleep(0))  # lets the aborted transport say its last
        finally:
            self.loop.close()

    def _hang_up(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.close()

    async def _connect(self, session: Session, gateway_n: int) -> None:
        gateway = self._gateways[gateway_n]
        timeout_s = self.seconds(self.rules.connect_timeout_ms)
        try:
            await session.open(gateway.host, gateway.port, self._client_id, timeout_s)
        except DialError as error:
            session.close()
            if self.session is session:
                self.session = None
                failed = broker.LinkFailed(
                    session_epoch=session.epoch,
                    why=str(error),
                    vendor_code=error.vendor_code,
                    is_id_in_use=error.vendor_code == CLIENT_ID_IN_USE,
                )
                self.report(failed)
            return
        if self.session is not session:
            session.close()
            return
        self._report_up(session, gateway_n, gateway.port)
        self.on_open()
        await self._beat(session)

    def _report_up(self, session: Session, gateway_n: int, port: int) -> None:
        accounts = session.client.getAccounts()
        wanted = self._wanted_account
        self.account = wanted if wanted is not None and wanted in accounts else accounts[0]
        account_class = account_class_of(self.account)
        is_wanted = self.account == wanted if wanted is not None else account_class is AccountClass.PAPER
        self.report(
            broker.LinkUp(
                session_epoch=session.epoch,
                gateway_n=gateway_n,
                port=port,
                account_class=account_class,
                account_matches=is_wanted,
                next_order_id=session.client._reqIdSeq,
            )
        )

    async def _beat(self, session: Session) -> None:
        """Ask the time again and again; an answer that is overdue means a dead link, whatever the socket says."""
        every_s = self.seconds(self.rules.heartbeat_every_ms)
        max_s = self.seconds(self.rules.heartbeat_max_ms)
        while self.session is session:
            try:
                await asyncio.wait_for(session.ask_time(), max_s)
            except TimeoutError:
                self.lost(session, f"heartbeat overdue ({max_s:.1f} s)")
            except RequestError:
                return
            await asyncio.sleep(every_s)
