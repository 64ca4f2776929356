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
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

from ib_insync.client import Client

from config.settings import Gateway
from domain.limits import ConnectionRules
from domain.ports import Clock
from gateways.ib.codes import (
    CLIENT_ID_IN_USE,
    FARM,
    LINK_LOST,
    RESTORED,
    RESTORED_DATA_LOST,
    meaning_of,
)
from gateways.ib.translate import account_class_of
from messages import session as facts
from messages.base import Message
from messages.orders import ErrorHeard

REQUESTS_PER_S = 45  # IB cuts a client off beyond 50 messages a second

Tell = Callable[[str, Message], None]

# ib_insync writes a line for every order and execution; what it cannot decode is the only thing worth hearing.
logging.getLogger("ib_insync").setLevel(logging.CRITICAL + 1)
logging.getLogger("ib_insync.Decoder").setLevel(logging.ERROR)
log = logging.getLogger(__name__)


class DialError(Exception):
    """A dial that ended without a link; the text is one sentence."""

    def __init__(self, why: str, vendor_code: int | None = None) -> None:
        super().__init__(why)
        self.vendor_code = vendor_code


class RequestError(Exception):
    """A request that the gateway answered with an error."""


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
        make_client: Any = Client
        self.client: Any = make_client(self)
        self.client.MaxRequests = REQUESTS_PER_S
        self._waits: dict[Any, asyncio.Future[Any]] = {}
        self._rows: dict[Any, list[Any]] = {}
        self._gone: asyncio.Future[DialError] = port.loop.create_future()

    @property
    def is_current(self) -> bool:
        """Tell whether this is still the port's session; a callback of an older one is counted as dropped."""
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
        await asyncio.wait({dial, self._gone}, return_when=asyncio.FIRST_COMPLETED)
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
        self._fail_waits("the connection was closed")

    def ask(self, key: Any, send: Callable[[], None]) -> asyncio.Future[Any]:
        """Send a request and give the future of its rows; `key` is what its answers carry."""
        future = self.port.loop.create_future()
        self._waits[key], self._rows[key] = future, []
        try:
            send()
        except ConnectionError as error:
            self._fail_waits(f"the connection is gone: {error}")
        return future

    def has_room(self) -> bool:
        """Tell whether a request would be written at once; beyond its pace ib_insync keeps requests in a queue."""
        since_s = self.port.loop.time() - self.client.RequestsInterval
        recent_n = sum(at_s > since_s for at_s in self.client._timeQ)
        return not self.client._msgQ and recent_n < self.client.MaxRequests

    def request_id(self) -> int:
        """Give a fresh request or order id."""
        return int(self.client.getReqId())

    def add(self, key: Any, row: Any) -> None:
        """Keep a row of a request's answer."""
        rows = self._rows.get(key)
        if rows is not None:
            rows.append(row)

    def end(self, key: Any) -> None:
        """End a request with the rows that came."""
        future, rows = self._waits.pop(key, None), self._rows.pop(key, [])
        if future is not None and not future.done():
            future.set_result(rows)

    def _fail_waits(self, why: str) -> None:
        waits, self._waits, self._rows = self._waits, {}, {}
        for future in waits.values():
            if not future.done():
                future.set_exception(RequestError(why))
                future.exception()  # seen: whoever waits gets it, nobody else has to

    # -- what ib_insync calls -----------------------------------------------------------------

    def setEventsDone(self) -> None:
        """The socket closed, whatever the state was."""
        self._fail_waits("the connection was closed by the gateway")
        if not self._gone.done():
            self._gone.set_result(DialError("the gateway closed the connection before it was ready"))
        if self.is_up:
            self.port.lost(self, "the gateway closed the connection")

    def connectionClosed(self) -> None:
        """Said by `setEventsDone` already."""

    def connectAck(self) -> None:
        """The handshake's answer; what follows tells more."""

    def currentTime(self, _epoch_s: int) -> None:
        """The answer to a heartbeat."""
        self.end("currentTime")

    def error(self, request_id: int, code: int, text: str, _advanced: str) -> None:
        """A code and its text; request id -1 means the whole connection."""
        if code == CLIENT_ID_IN_USE and not self._gone.done():
            self._gone.set_result(DialError(f"client id {self.client.clientId} is in use", code))
            return
        if not self.is_current:
            return
        if code in LINK_LOST:
            self.is_cut = True
            self.port.say(facts.LinkLost(session_epoch=self.epoch, cause=f"{code}: {text}", is_socket_up=True))
        elif code in (RESTORED, RESTORED_DATA_LOST):
            self.is_cut = False
            if code == RESTORED_DATA_LOST:
                self.data_lost()
            self.port.say(facts.LinkRestored(session_epoch=self.epoch, data_lost=code == RESTORED_DATA_LOST))
        elif code in FARM:
            self.port.say(facts.FarmNotice(session_epoch=self.epoch, vendor_code=code, text=text))
        else:
            self.request_error(request_id, code, text)

    def data_lost(self) -> None:
        """The gateway has forgotten every subscription."""

    def request_error(self, request_id: int, code: int, text: str) -> None:
        """An error of one request (or of nothing that we know)."""
        future = self._waits.pop(request_id, None)
        self._rows.pop(request_id, None)
        if future is not None:
            if not future.done():
                future.set_exception(RequestError(f"{code}: {text}"))
            return
        self.port.say(
            ErrorHeard(session_epoch=self.epoch, order_ref=None, vendor_code=code, text=text, meaning=meaning_of(code))
        )


class IbPort:
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

    session_type: type[Session] = Session

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
        self.name = name
        self.rules = rules
        self.clock = clock
        self.loop = asyncio.new_event_loop()
        self.session: Session | None = None
        self.dropped = 0
        self.account = ""
        self._owner = name.removeprefix("port:")
        self._gateways = gateways
        self._client_id = client_id
        self._tell = tell
        self._wanted_account = account
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def post(self, message: Message) -> None:
        """Take a command; never blocks. After `close` it is dropped."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._take, message)

    def close(self, timeout_s: float = 5.0) -> None:
        """Close the connection and end the thread."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout_s)

    # -- for sessions and subclasses, on the port's own loop ------------------------------------

    def say(self, fact: Message) -> None:
        """Tell the owner."""
        self._tell(self._owner, fact)

    def seconds(self, duration_ms: int) -> float:
        """Give a rule's duration in real seconds."""
        return duration_ms / 1000 / self.clock.rate

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine on the loop and keep it from being collected."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def lost(self, session: Session, cause: str) -> None:
        """End a session that was up; an older one or a second call says nothing."""
        if self.session is not session:
            return
        self.session = None
        session.close()
        self.say(facts.LinkLost(session_epoch=session.epoch, cause=cause))

    def command(self, message: Message) -> None:
        """Carry out a command that is not about the link."""
        raise TypeError(f"{self.name} does not know {type(message).__name__}")

    def opened(self, session: Any) -> None:
        """Ask for what every session of this port needs."""

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

    def _take(self, message: Message) -> None:
        match message:
            case facts.Dial():
                self._hang_up()
                self.session = self.session_type(self, message.session_epoch)
                self.spawn(self._connect(self.session, message.gateway_n))
            case facts.CloseLink(session_epoch=epoch):
                if self.session is not None and self.session.epoch <= epoch:
                    self._hang_up()
            case _:
                self.command(message)

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
                is_in_use = error.vendor_code == CLIENT_ID_IN_USE
                self.say(
                    facts.LinkFailed(
                        session_epoch=session.epoch, why=str(error), vendor_code=error.vendor_code,
                        is_id_in_use=is_in_use,
                    )
                )  # fmt: skip
            return
        if self.session is not session:
            session.close()
            return
        self._say_up(session, gateway_n, gateway.port)
        self.opened(session)
        await self._beat(session)

    def _say_up(self, session: Session, gateway_n: int, port: int) -> None:
        accounts: list[str] = session.client.getAccounts()
        wanted = self._wanted_account
        self.account = wanted if wanted is not None and wanted in accounts else accounts[0]
        account_class = account_class_of(self.account)
        self.say(
            facts.LinkUp(
                session_epoch=session.epoch,
                gateway_n=gateway_n,
                port=port,
                account_class=account_class,
                account_matches=self.account == wanted if wanted is not None else account_class == "paper",
                next_order_id=session.client._reqIdSeq,
            )
        )

    async def _beat(self, session: Session) -> None:
        """Ask the time again and again; an answer that is overdue means a dead link, whatever the socket says."""
        every_s = self.seconds(self.rules.heartbeat_every_ms)
        max_s = self.seconds(self.rules.heartbeat_max_ms)
        while self.session is session:
            answer = session.ask("currentTime", session.client.reqCurrentTime)
            try:
                await asyncio.wait_for(answer, max_s)
            except TimeoutError:
                self.lost(session, f"heartbeat overdue ({max_s:.1f} s)")
            except RequestError:
                return
            await asyncio.sleep(every_s)
