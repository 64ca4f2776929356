# ruff: noqa: N802 - the names of the callbacks are the library's
"""One connection to an IB Gateway and the thread that owns it.

Only the wire part of the library is used (`Client`, with a decoder of ours): its `IB`, `Trade` and `Ticker` objects
hold states of their own that contradict the broker after an error or a reconnect, so decoded messages come straight to
us. Every dial has a fresh `Session`; callbacks of an older one are counted and dropped.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from config.tree import Gateway
from domain.limits import ConnectionRules
from domain.orders.table import CodeMeaning
from domain.ports import Clock
from domain.session.modes import AccountClass, account_key
from domain.units import Utc
from gateways.ib import library
from gateways.ib.answers import Answers, RequestError
from gateways.ib.codes import (
    CLIENT_ID_IN_USE,
    FARM,
    FARM_BROKEN,
    LINK_LOST,
    RESTORED,
    RESTORED_DATA_LOST,
    ends_request,
    meaning_of,
)
from gateways.ib.decoding import MESSAGES, ORDER_PATH, WireClient
from gateways.ib.translate import account_class_of
from gateways.ib.wire import UNSET_INT, unreached
from gateways.port_thread import PortThread, Tell
from messages import broker

REQUESTS_PER_S = 45  # IB cuts a client off beyond 50 messages a second
ID_MAX: Final = UNSET_INT - 1  # the largest order or request id that IB takes
FOREIGN_PAUSE_S: Final = 1.0  # messages of other accounts come in crowds; they are told together, once a session
UNREADABLE_EVERY_S: Final = 1.0  # one report a kind of message, however many of it cannot be read

A = TypeVar("A", bound="AnyAnswers")
R = TypeVar("R")

# What the library has to say is either told by us or of no use.
logging.getLogger(library.NAME).setLevel(logging.CRITICAL + 1)


class DialError(Exception):
    """A dial that ended without a link; the text is one sentence."""

    def __init__(self, why: str, vendor_code: int | None = None) -> None:
        super().__init__(why)
        self.vendor_code = vendor_code


class NoIdError(ConnectionError):
    """The connection has no order or request id left that IB would take."""


class AnyAnswers(Protocol):
    """Answers of whatever type their rows are."""

    kind: str

    def asked_n(self, request_id: int | None = None) -> int | None:
        """Return which request this was, in the order of asking; `None` where none of this id is under way."""

    def fail(self, request_id: int | None, why: str) -> bool:
        """End a request with an error; False where there is no such request."""

    def fail_all(self, why: str) -> bool:
        """End every request with an error; False where there was none."""


class Session:
    """One dial and what came of it: takes decoded messages and answers our requests.

    `is_cut` is true while the gateway has lost its own link to the broker.
    """

    def __init__(self, port: IbPort, epoch: int) -> None:
        self.port = port
        self.epoch = epoch
        self.is_up = False
        self.is_cut = False
        self.foreign_n = 0  # messages of accounts that are not ours
        self.client = WireClient(self)
        self.client.MaxRequests = REQUESTS_PER_S
        self._answers: list[AnyAnswers] = []
        self._asked_n = 0
        self._times = Answers[int | None](port.loop, "the time")
        self._gone: asyncio.Future[DialError] = port.loop.create_future()
        self._unreadable_s: dict[int, float] = {}

    @property
    def is_current(self) -> bool:
        """Whether this is still the port's session; a callback of an older one is counted as dropped."""
        if self.port.session is self:
            return True
        self.port.dropped += 1
        return False

    def is_ours(self, account: str) -> bool:
        """Whether a message that names an account is for us: the one door for all of them.

        A login may see several accounts. Messages of the others are dropped and counted; the first ones are told.
        What names an account before it is known which one is ours is dropped, too: the read-back that follows has it.
        """
        if not self.is_current:
            return False
        ours = self.port.account if self.is_up else self.port.account_of(self)
        if not account or account == ours or (self.is_up and not ours):
            return True
        if not self.foreign_n:
            self.port.loop.call_later(FOREIGN_PAUSE_S, self._report_foreign)
        self.foreign_n += 1
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
            raise DialError(f"{host}:{port} cannot be reached: {unreached(error)}") from None
        self.is_up = True

    def close(self) -> None:
        """Drop the connection at once, what waits in its buffers too."""
        transport = self.client.conn.transport
        if transport is not None:
            transport.abort()
        self._fail_all("the connection was closed")

    def expecting(self, answers: A) -> A:
        """Have requests of a kind end with the connection, or with an error of the gateway."""
        self._answers.append(answers)
        return answers

    def ask(
        self, answers: Answers[R], send: Callable[[], None], request_id: int | None = None
    ) -> asyncio.Future[list[R]]:
        """Send a request and return the future of its rows; `request_id` is what its answers carry."""
        self._asked_n += 1
        future = answers.expect(request_id, self._asked_n)
        try:
            send()
        except ConnectionError as error:
            self._fail_all(f"the connection is gone: {error}")
        return future

    async def ask_time(self) -> int | None:
        """Return the gateway's time in seconds, which it tells at once while the connection lives.

        Raises:
            RequestError: the connection is gone.
        """
        rows = await self.ask(self._times, self.client.reqCurrentTime)
        return rows[0] if rows else None

    def has_room(self) -> bool:
        """Whether a request would be written at once; beyond its pace the library keeps requests in a queue."""
        since_s = self.port.loop.time() - self.client.RequestsInterval
        recent_n = sum(at_s > since_s for at_s in self.client._timeQ)
        return not self.client._msgQ and recent_n < self.client.MaxRequests

    def request_id(self) -> int:
        """Return a fresh request or order id.

        Raises:
            ConnectionError: not connected, or there is none left (`NoIdError`).
        """
        self.client.updateReqId(1)  # a gateway that says 0 or less has not counted
        if self.client._reqIdSeq > ID_MAX:
            raise NoIdError(
                f"the gateway's next id is {self.client._reqIdSeq}, beyond {ID_MAX}: reset the API order ids in its"
                " settings and restart it"
            )
        return self.client.getReqId()

    def _fail_all(self, why: str) -> None:
        self._times.fail_all(why)
        for answers in self._answers:
            answers.fail_all(why)

    # -- what the decoder calls ---------------------------------------------------------------

    def unreadable(self, message_id: int, why: str) -> None:
        """A message that nobody can read is a fact of its own; `message_id` 0 where not even that is known."""
        now_s = self.port.loop.time()
        if not self.is_current or now_s - self._unreadable_s.get(message_id, float("-inf")) < UNREADABLE_EVERY_S:
            return
        self._unreadable_s[message_id] = now_s
        name = MESSAGES.get(message_id, "message")
        self.port.fault(
            f"reading: {name} ({message_id})", why, is_order_path=message_id in ORDER_PATH or not message_id
        )

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

    def currentTime(self, epoch_s: int | None) -> None:
        """The answer to a heartbeat."""
        self._times.add(epoch_s)
        self._times.end()

    def error(self, request_id: int, code: int, text: str) -> None:
        """A code and its text; request id -1 means the whole connection, or a request that has no id."""
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
            self.port.report(
                broker.FarmNotice(session_epoch=self.epoch, vendor_code=code, text=text, is_broken=code in FARM_BROKEN)
            )
        else:
            self.on_error(request_id, code, text)

    def on_data_lost(self) -> None:
        """The gateway has forgotten every subscription."""

    def on_error(self, request_id: int, code: int, text: str) -> None:
        """An error of one request (or of nothing that we know)."""
        if request_id >= 0:
            is_taken = any(answers.fail(request_id, f"{code}: {text}") for answers in self._answers)
        else:
            is_taken = self._fail_oldest(code, text)
        if not is_taken:
            self.report_error(None, code, text)

    def _fail_oldest(self, code: int, text: str) -> bool:
        """Let an error without a request id end the request that it answers; False where it answers none.

        The gateway answers in the order of asking, so it is the oldest of those whose answers carry no id.
        """
        under_way = [answers for answers in self._answers if answers.asked_n() is not None]
        if not under_way or not ends_request(code):
            return False
        oldest = min(under_way, key=lambda answers: answers.asked_n() or 0)
        return oldest.fail(None, f"{code}: {text}")

    def report_error(self, order_ref: str | None, code: int, text: str, meaning: CodeMeaning | None = None) -> None:
        """Report an error with its meaning, by the table unless said."""
        self.port.report(
            broker.ErrorReported(
                session_epoch=self.epoch,
                order_ref=order_ref,
                vendor_code=code,
                text=text,
                meaning=meaning_of(code) if meaning is None else meaning,
            )
        )

    def _report_foreign(self) -> None:
        if self.is_current:
            text = f"{self.foreign_n} messages of other accounts under this login were dropped; later ones are, too"
            self.report_error(None, 0, text, CodeMeaning.INFORMATIONAL)


class IbPort(PortThread):
    """A port: its present session, its heartbeat.

    Args:
        name: `port:ibkr:<desk>` or `port:quotes:<desk>`; facts go to the name without `port:`.
        gateways: addresses, primary first.
        client_id: IB's id of this connection; one process per id.
        rules: what the port does for itself takes real time.
        clock: the market's clock.
        tell: takes an address and a message; called from this port's thread.
        account: the configured account; `None` takes the first one of the port's first session (paper only).
        account_key: of the account that the ledger is of (`domain.session.modes.account_key`), for where none is
            configured; empty: not known.
    """

    session: Session | None
    is_order_path: bool  # whether what dies here may concern orders or executions

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
        account_key: str = "",
    ) -> None:
        super().__init__(name, tell)
        self.rules = rules
        self.clock = clock
        self.session = None
        self.dropped = 0
        self.account = ""
        self._gateways = gateways
        self._client_id = client_id
        self._wanted_account = account
        self._account_key = account_key
        self._first_account: str | None = None

    @property
    def client_id(self) -> int:
        """IB's id of this connection."""
        return self._client_id

    def epoch(self) -> int:
        """Return the session epoch of now; 0 without a session."""
        return 0 if self.session is None else self.session.epoch

    def on_end(self) -> None:
        """Drop the connection."""
        self._hang_up()

    # -- for sessions and subclasses, on the port's own loop ------------------------------------

    @abstractmethod
    def new_session(self, epoch: int) -> Session:
        """Return what a dial of this port opens."""

    @abstractmethod
    def on_open(self) -> None:
        """The session is up: ask for what every session of this port needs."""

    def on_time(self, session: Session, epoch_s: int, sent_utc: Utc, heard_utc: Utc) -> None:
        """The gateway said which second it is; asked and heard at these instants of our clock."""

    def seconds(self, duration_ms: int) -> float:
        """Return in seconds how long this port waits for itself, in real time."""
        return duration_ms / 1000

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
                session = self.session = self.new_session(command.session_epoch)
                self.spawn(
                    "dialling",
                    lambda: self._connect(session, command.gateway_n),
                    on_death=lambda why: self._dial_failed(session, DialError(f"the dial broke: {why}")),
                )
            case broker.CloseLink():
                if self.session is not None and self.session.epoch <= command.session_epoch:
                    self._hang_up()

    def _hang_up(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.close()

    async def _connect(self, session: Session, gateway_n: int) -> None:
        if not 0 <= gateway_n < len(self._gateways):
            self._dial_failed(session, DialError(f"there is no gateway {gateway_n}"))
            return
        gateway = self._gateways[gateway_n]
        timeout_s = self.seconds(self.rules.connect_timeout_ms)
        try:
            await session.open(gateway.host, gateway.port, self._client_id, timeout_s)
        except DialError as error:
            self._dial_failed(session, error)
            return
        if self.session is not session:
            session.close()
            return
        self._report_up(session, gateway_n, gateway.port)
        self.on_open()
        self.spawn(
            "the heartbeat",
            lambda: self._beat(session),
            on_death=lambda why: self.lost(session, f"the heartbeat broke: {why}"),
        )

    def _dial_failed(self, session: Session, error: DialError) -> None:
        session.close()
        if self.session is not session:
            return
        self.session = None
        self.report(
            broker.LinkFailed(
                session_epoch=session.epoch,
                why=str(error),
                vendor_code=error.vendor_code,
                is_id_in_use=error.vendor_code == CLIENT_ID_IN_USE,
            )
        )

    def account_of(self, session: Session) -> str:
        """Return which of a session's accounts is ours: the configured one, else the first; empty: not known yet.

        The first is that of the ledger, else of this port's first session: a later one that lists its accounts in
        another order, or other ones, does not make another's money ours.
        """
        accounts = session.client.getAccounts() if session.client.isReady() else []
        is_known = bool(self._wanted_account or self._first_account or self._account_key)
        return next((one for one in accounts if is_known and self._is_wanted(one)), next(iter(accounts), ""))

    def _is_wanted(self, account: str) -> bool:
        """Return whether an account is the one configured, or traded before; any paper one where there is neither."""
        wanted = self._wanted_account or self._first_account
        if wanted is not None:
            return account == wanted
        if self._account_key:
            return account_key(account) == self._account_key
        return account_class_of(account) is AccountClass.PAPER

    def _report_up(self, session: Session, gateway_n: int, port: int) -> None:
        self.account = self.account_of(session)
        is_wanted = self._is_wanted(self.account)
        if is_wanted:
            self._first_account = self.account
        self.report(
            broker.LinkUp(
                session_epoch=session.epoch,
                gateway_n=gateway_n,
                port=port,
                account_class=account_class_of(self.account),
                account_matches=is_wanted,
                next_order_id=session.client._reqIdSeq,
                account_key=account_key(self.account) if is_wanted else "",
            )
        )

    async def _beat(self, session: Session) -> None:
        """Ask the time again and again; an answer that is overdue means a dead link, whatever the socket says."""
        every_s = self.seconds(self.rules.heartbeat_every_ms)
        max_s = self.seconds(self.rules.heartbeat_max_ms)
        beat_n = 0
        while self.session is session:
            sent_utc = self.clock.now_utc()
            try:
                epoch_s = await asyncio.wait_for(session.ask_time(), max_s)
            except TimeoutError:
                self.lost(session, f"heartbeat overdue ({max_s:.1f} s)")
                return
            except RequestError:
                return
            if epoch_s is not None and self.session is session:
                self.on_time(session, epoch_s, sent_utc, self.clock.now_utc())
            beat_n += 1
            # answers are whole seconds: asked at ever other fractions of one, they bound the broker's clock closely
            await asyncio.sleep(every_s * (1 - beat_n * 0.618034 % 0.5))
