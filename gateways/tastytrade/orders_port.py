"""The order port of Tastytrade: REST for orders and read-backs, the account stream for what becomes of them.

It speaks the whole broker conversation (`messages/broker.py`). What the vendor does not give is made up for here:
an order is named by our reference (`external-identifier`), which the vendor keeps and does not enforce, so that one
whose answer never came is looked for and never sent again; a change is a replacement, which any fill of the original
ends; contracts have no ids, so that symbols are looked up in the contract book.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, assert_never

from domain.instants import MS, session_of
from domain.limits import ConnectionRules
from domain.orders.capabilities import CAPABILITIES, TASTYTRADE, BrokerCapability
from domain.orders.combo import refusal_of
from domain.orders.table import CodeMeaning, OrderStatus
from domain.ports import Clock
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.clock_offset import Answer as ClockAnswer
from domain.session.clock_offset import answer_of, bounds, kept
from domain.session.modes import AccountClass
from domain.units import Cents
from gateways.closed import answer_of_closed
from gateways.contract_book import ContractBook
from gateways.last_check import NO_LINK, Fault, last_check, order_of
from gateways.port_thread import PortThread, Tell
from gateways.tastytrade import session as se
from gateways.tastytrade import wire
from gateways.tastytrade.bodies import change_body, order_body
from gateways.tastytrade.book import Counted, View
from gateways.tastytrade.codes import UNAUTHORIZED, meaning_of
from gateways.tastytrade.http import Answer, NoAnswerError, NotSentError, Requests, is_local
from gateways.tastytrade.session import BrokerError, Login, Secrets, Session
from gateways.tastytrade.stream import AccountStream, StreamError
from messages import broker
from messages.broker import QTY_UNKNOWN, GroupFailure, ReadGroup

BEAT_S: Final = 5.0  # real: the account is asked for again, which is the heartbeat of REST and tells the vendor's time
BEATS_LOST: Final = 3  # so many in a row without an answer are a lost link
LOOK_S: Final = 2.0  # real: while an order of ours works, the orders are read: a stream may say nothing, or too little
UNSURE_MAX_S: Final = 60.0  # real: so long what was not answered is looked for; then the actor has given it up
READ_TRIES: Final = 3  # of a read-back of which a request failed
READ_AGAIN_S: Final = 0.5  # real: before the next
STREAM_SHARE: Final = 1.5  # of the time of a dial, which is given up after twice that: REST is read in the rest
STREAM_AGAIN_S: Final = 5.0  # real: a stream that did not come up is dialled again
LOOK_MAX_S: Final = 16.0  # and where the vendor wants to be left alone
FEES_S: Final = 1.0  # real: after a fill, until its fee is asked for; doubles
FEES_TRIES: Final = 6
UNREADABLE_EVERY_S: Final = 1.0
WRITERS, READERS = 8, 4
UNTOLD: Final = Cents(-(2**62))  # no fee that anybody was told

NOT_YET: Final[Fault] = (RejectCode.NOT_CONNECTED, "the vendor has not answered for this order yet")
SIZE_KEPT: Final[Fault] = (RejectCode.MISSING_INPUT, f"{TASTYTRADE} changes the price of an order, not its size")
DUPLICATE: Final[Fault] = (RejectCode.DUPLICATE_REF, "this ref is at the broker already")
Placed = broker.PlaceOrder | broker.AmendOrder


class _DeniedError(NotSentError):
    """The last check said no."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault[1])
        self.fault = fault


class TastytradeOrdersPort(PortThread, broker.BrokerPort):
    """`port:ibkr:<desk>`: one account at Tastytrade.

    Args:
        name: the address.
        rest_url: where REST is; without TLS on this machine alone.
        stream_url: where the account stream is; `None` does without it, and hears of orders by reading them alone.
        secrets: the application's.
        rules: what the port does for itself takes real time.
        clock: the market's clock.
        tell: takes an address and a message; called from this port's thread.
        contracts: whose contract a symbol is.
        account: the configured account; `None` takes the login's first (paper only).
        ports: what `LinkUp` names as the port, by the class of account that the host stands for. Sandbox and production
            differ by host, the desk's checks by port: each host says the port that its kind of desk may trade on.
        loop: what it runs on; `None`: a loop and a thread of its own.

    Raises:
        ValueError: the secrets would travel without TLS.
    """

    def __init__(
        self, name: str, *, rest_url: str, stream_url: str | None, secrets: Secrets, rules: ConnectionRules,
        clock: Clock, tell: Tell, contracts: ContractBook, account: str | None = None,
        ports: Mapping[AccountClass, int] | None = None, loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name, tell, loop)
        self._requests = Requests(rest_url, clock.now_utc)
        if stream_url is not None and not (stream_url.startswith("wss:") or is_local(stream_url)):
            raise ValueError(f"{stream_url} is no address with TLS: give one that begins with wss://")
        self._stream_url = stream_url
        self._rules, self._clock, self._contracts = rules, clock, contracts
        self._wanted_account = account
        self._account_class = se.account_class_of(self._requests.host)
        self._port = (ports or {}).get(self._account_class, 0)
        self._login = Login(secrets, self._ask, self.loop.time)
        self._renewing: asyncio.Task[None] | None = None
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix=f"{name} writes")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix=f"{name} reads")
        self._latch = broker.LatchKill(level=KillLevel.RUNNING, kill_epoch=0)
        self._refused: str | None = None
        self._clock_answers: tuple[ClockAnswer, ...] = ()
        self._unreadable_s = float("-inf")
        self._reading = asyncio.Lock()
        self.session: Session | None = None

    beat_s = BEAT_S

    @property
    def capabilities(self) -> frozenset[BrokerCapability]:
        """What this broker can do."""
        return CAPABILITIES[TASTYTRADE]

    def epoch(self) -> int:
        return 0 if self.session is None else self.session.epoch

    def refuse_entries(self, why: str) -> None:
        """Refuse every entry until the process ends; any thread may call."""
        self._refused = why

    def post(self, command: broker.BrokerCommand) -> None:
        """Take a command; never blocks. After `close` it is refused."""
        self.take_soon(self._take, command)

    def refuse(self, command: broker.BrokerCommand | broker.OrderSent) -> None:
        answer = command if isinstance(command, broker.OrderSent) else answer_of_closed(command)
        if answer is not None:
            self.report(answer)

    def close(self, timeout_s: float = 5.0) -> None:
        """End the link and the threads."""
        self._requests.close()
        super().close(timeout_s)
        self._writers.shutdown(wait=False, cancel_futures=True)
        self._readers.shutdown(wait=False, cancel_futures=True)

    def on_end(self) -> None:
        self._hang_up()

    def _take(self, command: broker.BrokerCommand) -> None:
        match command:
            case broker.Dial():
                self._dial(command)
            case broker.CloseLink():
                if self.session is not None and self.session.epoch <= command.session_epoch:
                    self._hang_up()
            case broker.LatchKill():
                if command.kill_epoch >= self._latch.kill_epoch:
                    self._latch = command
            case broker.PlaceOrder():
                self._place(command)
            case broker.AmendOrder():
                self._amend(command)
            case broker.WithdrawOrder():
                self._withdraw(command)
            case broker.CancelEverything():
                self._cancel_everything(command)
            case broker.AskMargin():
                self.spawn(
                    "asking for a margin", lambda: self._ask_margin(command),
                    on_death=lambda why: self._tell_margin(command, None, why),
                )  # fmt: skip
            case broker.ReadBack():
                self.spawn(
                    f"read-back {command.read_n}", lambda: self._read_in_turn(command),
                    on_death=lambda why: self._read_failed(command, why),
                )  # fmt: skip
            case _:
                assert_never(command)

    # -- requests -------------------------------------------------------------------------------

    async def _ask(
        self, method: str, path: str, body: object = None, *, with_token: bool = True,
        check: Callable[[], None] | None = None, on_sent: Callable[[], None] | None = None,
        within_ms: int | None = None,
    ) -> Answer:  # fmt: skip
        """Ask once, on a thread: a question on a reader's, everything else on a writer's.

        Raises:
            NotSentError: nothing left.
            NoAnswerError: nobody knows what became of it.
        """
        if with_token and not self._login.is_fresh and self._login.is_good:
            self._renew_soon()
        elif with_token and not self._login.is_fresh:
            try:
                await self._login.refresh()
            except BrokerError as error:
                raise NotSentError(str(error)) from None
        token = self._login.token if with_token else ""
        timeout_s = (within_ms or self._rules.read_back_ms) / 1000
        answer = await self._answered(method, path, body, token, timeout_s, check, on_sent)
        if answer.status == UNAUTHORIZED:
            self._login.forget(token)
        return answer if self.session is None else answer._replace(account=self.session.account)

    async def _answered(
        self, method: str, path: str, body: object, token: str, timeout_s: float,
        check: Callable[[], None] | None, on_sent: Callable[[], None] | None,
    ) -> Answer:  # fmt: skip
        """Send one request on a thread and return its answer, as `Requests.ask` does."""
        threads = self._readers if method == "GET" else self._writers
        ask = partial(
            self._requests.ask, method, path, body, token, timeout_s=timeout_s, check=check, on_sent=on_sent
        )  # fmt: skip
        try:
            return await self.loop.run_in_executor(threads, ask)
        except RuntimeError:  # the threads have ended with the port
            raise NotSentError("the port is closed") from None

    def _renew_soon(self) -> None:
        """Have a fresh token before the one in hand ends: no order waits for it, and none is denied for it."""
        if self._login.may_renew and (self._renewing is None or self._renewing.done()):
            self._renewing = self.spawn("renewing the login", self._renew)

    async def _renew(self) -> None:
        try:
            await self._login.refresh()
        except BrokerError as error:
            self.fault("renew the login", str(error), is_order_path=False)

    # -- the link -------------------------------------------------------------------------------

    def _dial(self, command: broker.Dial) -> None:
        self._hang_up()
        session = self.session = Session(command.session_epoch)
        self.spawn(
            "dialling", lambda: self._connect(session, command.gateway_n),
            on_death=lambda why: self._dial_failed(session, f"the dial broke: {why}"),
        )  # fmt: skip

    def _hang_up(self) -> None:
        session, self.session = self.session, None
        if session is not None and session.stream is not None:
            session.stream.drop()

    def _dial_failed(self, session: Session, why: str) -> None:
        if self.session is session:
            self._hang_up()
            self.report(broker.LinkFailed(session_epoch=session.epoch, why=why))

    def _lost(self, session: Session, cause: str) -> None:
        """End a session that was up; an older one or a second call says nothing."""
        if self.session is session:
            self._hang_up()
            self.report(broker.LinkLost(session_epoch=session.epoch, cause=cause))

    async def _connect(self, session: Session, gateway_n: int) -> None:
        try:
            await self._open(session)
        except (BrokerError, StreamError) as error:
            self._dial_failed(session, str(error))
            return
        if self.session is not session:
            if session.stream is not None:
                session.stream.drop()
            return
        session.is_up = True
        wanted = self._wanted_account
        is_wanted = self._account_class is AccountClass.PAPER if wanted is None else session.account == wanted
        self.report(
            broker.LinkUp(
                session_epoch=session.epoch, gateway_n=gateway_n, port=self._port, account_class=self._account_class,
                account_matches=is_wanted, next_order_id=1,
            )
        )  # fmt: skip
        self.spawn("following the account", lambda: self._follow(session), is_wanted=lambda: self.session is session)
        self.spawn("looking at the orders", lambda: self._look(session), is_wanted=lambda: self.session is session)

    async def _open(self, session: Session) -> None:
        """Log in, open the stream, and read the orders: in this order, so that nothing is missed between the two.

        Where the stream does not come up, exits go by REST alone, as no read-back is whole; it is sought from then on.
        """
        accounts = [
            str(row["account"].get("account-number") or "")
            for row in await se.items(self._ask, "/customers/me/accounts")
            if isinstance(row, Mapping) and isinstance(row.get("account"), Mapping)
        ]
        wanted = self._wanted_account
        found = [account for account in accounts if account and account in (wanted or account,)]
        if not found:
            raise BrokerError("the login has no account" if wanted is None else "the login has another account")
        session.account = found[0]
        if self._stream_url is not None:
            session.no_stream = await self._try_stream(session, self._stream_url)
            if session.no_stream:
                self._seek_later(session, self._stream_url)
        for row in await se.items(self._ask, session.path("orders/live")):
            self._take_row(session, row)

    async def _open_stream(self, session: Session, url: str) -> None:
        within_s = self._rules.connect_timeout_ms / 1000
        stream = session.stream = await self._dial_stream(session, url, within_s)
        self.spawn("the account stream", lambda: self._listen(session, stream))
        is_open = False
        try:
            await stream.subscribe(session.account, max(within_s, self._rules.heartbeat_max_ms / 1000))
            is_open = True
        finally:
            if not is_open:
                session.stream = None  # what ends it now is no lost link
                stream.drop()

    async def _try_stream(self, session: Session, url: str) -> str:
        """Open the stream while a dial has time for it; return why it did not come up, empty where it did."""
        try:
            async with asyncio.timeout(STREAM_SHARE * self._rules.connect_timeout_ms / 1000):
                await self._open_stream(session, url)
        except StreamError as error:
            return str(error)
        except TimeoutError:
            return "the account stream did not come up in time"
        return ""

    def _seek_later(self, session: Session, url: str) -> None:
        self.spawn(
            "seeking the account stream", lambda: self._seek_stream(session, url),
            is_wanted=lambda: self.session is session,
        )  # fmt: skip

    async def _seek_stream(self, session: Session, url: str) -> None:
        """Open the stream as soon as it answers; the next read-back is whole then."""
        while self.session is session and session.no_stream:
            await asyncio.sleep(STREAM_AGAIN_S)
            session.no_stream = await self._try_stream(session, url)
        if self.session is not session and session.stream is not None:  # the link ended while it was dialled
            session.stream.drop()

    async def _dial_stream(self, session: Session, url: str, within_s: float) -> AccountStream:
        """Dial the account stream.

        Raises:
            StreamError: nobody answers there.
        """
        return await AccountStream.open(
            url, within_s, lambda: self._login.token, partial(self._on_row, session),
            partial(self._unreadable, session, "the account stream"),
        )  # fmt: skip

    async def _listen(self, session: Session, stream: AccountStream) -> None:
        """Read the stream until it ends or no heartbeat is answered any more."""
        every_s, within_s = self._rules.heartbeat_every_ms / 1000, self._rules.heartbeat_max_ms / 1000
        reading = asyncio.ensure_future(stream.read())
        beating = asyncio.ensure_future(stream.beat(every_s, within_s, asyncio.sleep))
        try:
            done, _ = await asyncio.wait((reading, beating), return_when=asyncio.FIRST_COMPLETED)
            cause = next(iter(done)).result()
        except Exception as error:  # whatever ends it, the link is lost
            cause = f"the account stream broke: {error!r:.120}"
        finally:
            reading.cancel()
            beating.cancel()
        if session.stream is not stream:
            return
        if session.is_up:
            self._lost(session, cause)
        else:
            self._dial_failed(session, cause)

    def _is_on(self, session: Session | None, epoch: int) -> bool:
        return session is not None and session is self.session and session.is_up and session.epoch == epoch

    # -- the account and the vendor's clock -----------------------------------------------------

    async def _follow(self, session: Session) -> None:
        """Ask for the balances again and again; where nobody answers for long, the link is lost."""
        lost_n, self._clock_answers = 0, ()
        ask = partial(self._ask, within_ms=self._rules.heartbeat_max_ms)
        while self.session is session:
            try:
                answer = await se.read(ask, session.path("balances"))
                self._tell_account(session, answer)
                lost_n = 0
            except BrokerError as error:
                lost_n += 1
                if lost_n >= BEATS_LOST:
                    self._lost(session, f"{lost_n} requests in a row failed: {error}")
                    return
            await asyncio.sleep(self.beat_s if not lost_n else self._rules.heartbeat_max_ms / 1000)

    def _tell_account(self, session: Session, answer: Answer) -> None:
        now = self._clock.now_utc()
        if self.session is not session:
            return
        try:
            b = wire.balances_of(answer.data)
        except wire.UnreadableError as error:
            self.report(broker.AccountUnreadable(session_epoch=session.epoch, why=str(error), read_utc=now))
        else:
            self.report(
                broker.AccountRead(
                    session_epoch=session.epoch, nav_cents=b.nav_cents, available_cents=b.available_cents,
                    buying_power_cents=b.buying_power_cents, day_trades_remaining=None, read_utc=now,
                    cash_cents=b.cash_cents,
                )
            )  # fmt: skip
        if answer.date_s is None or answer.heard_utc < answer.sent_utc:
            return
        self._clock_answers = kept(
            self._clock_answers, answer_of(answer.date_s, answer.sent_utc, answer.heard_utc)
        )  # fmt: skip
        least_ns, most_ns = bounds(self._clock_answers)
        self.report(
            broker.ClockRead(
                session_epoch=session.epoch, least_ms=least_ns // MS, most_ms=-(-most_ns // MS),
                round_trip_ms=(answer.heard_utc - answer.sent_utc) // MS, read_utc=answer.heard_utc,
            )
        )  # fmt: skip

    # -- orders out -----------------------------------------------------------------------------

    def _check(self, session: Session, command: Placed) -> None:
        """Make the last check, on the thread that writes.

        Raises:
            _DeniedError: it must not be written.
        """
        if self.session is not session:
            raise _DeniedError(NO_LINK)
        fault = last_check(command, self._clock.now_utc(), session.epoch, self._latch, self._refused)
        if fault is not None:
            raise _DeniedError(fault)

    def _sent(self, session: Session, order_ref: str, order_id: int) -> None:
        """Tell, from the thread that wrote, that the bytes left."""
        sent = broker.OrderSent(
            order_ref=order_ref, session_epoch=session.epoch, order_id=order_id, sent_utc=self._clock.now_utc()
        )
        self.take_soon(self.report, sent)

    def _denied_at_once(self, command: Placed) -> Session | None:
        """Deny what no thread need be asked for; return the session where nothing stands against it yet."""
        session, ref = self.session, order_of(command).order_ref
        if session is None or not session.is_up:
            self._deny(ref, NO_LINK)
            return None
        try:
            self._check(session, command)
        except _DeniedError as error:
            self._deny(ref, error.fault)
            return None
        return session

    def _place(self, command: broker.PlaceOrder) -> None:
        session, order = self._denied_at_once(command), command.order
        if session is None:
            return
        if order.order_ref in session.refs_used or session.book.view(order.order_ref) is not None:
            self._deny(order.order_ref, DUPLICATE)
            return
        if command.legs and (why := refusal_of(command.legs, self.capabilities)) is not None:
            self._deny(order.order_ref, (RejectCode.UNKNOWN_CONTRACT, why))
            return
        try:
            body = order_body(order)
        except ValueError as error:
            self._deny(order.order_ref, (RejectCode.MISSING_INPUT, str(error)))
            return
        self._contracts.note((order.contract,))
        session.refs_used.add(order.order_ref)
        session.posting[order.order_ref] = self.spawn(
            f"placing {order.order_ref}", lambda: self._write(session, command, "POST", session.path("orders"), body),
            on_death=lambda why: self._doubt(session, order.order_ref, 0, why),
        )  # fmt: skip

    def _amend(self, command: broker.AmendOrder) -> None:
        session, change = self._denied_at_once(command), command.change
        if session is None:
            return
        ref, view = change.order_ref, session.book.view(change.order_ref)
        if view is None or not view.is_working or ref in session.changing:
            self._deny(ref, NOT_YET if ref in session.refs_used else (RejectCode.NOT_CONNECTED, "it does not work"))
            return
        if change.qty != view.qty:
            self._deny(ref, SIZE_KEPT)
            return
        try:
            body = change_body(change, view.side)
        except ValueError as error:
            self._deny(ref, (RejectCode.MISSING_INPUT, str(error)))
            return
        session.changing.add(ref)
        path = session.path(f"orders/{view.live_id}")
        self.spawn(
            f"changing {ref}", lambda: self._write(session, command, "PATCH", path, body),
            on_death=lambda why: self._doubt(session, ref, 0, why),
        )  # fmt: skip

    async def _write(self, session: Session, command: Placed, method: str, path: str, body: dict[str, Any]) -> None:
        """Write an order or a change, once, and tell what the vendor says; without an answer, look for it."""
        ref = order_of(command).order_ref
        session.order_n += 1
        try:
            answer = await self._ask(
                method, path, body, check=partial(self._check, session, command),
                on_sent=partial(self._sent, session, ref, session.order_n),
            )  # fmt: skip
        except NotSentError as error:
            fault = error.fault if isinstance(error, _DeniedError) else (RejectCode.NOT_CONNECTED, str(error))
            if method == "POST":
                session.refs_used.discard(ref)
            session.changing.discard(ref)
            self._deny(ref, fault)
            self._tell_view(session, ref)  # it may have ended meanwhile
            return
        except NoAnswerError as error:
            self._doubt(session, ref, 0, f"{error}; it may have arrived")
            return
        finally:
            if method == "POST":
                session.posting.pop(ref, None)
        if answer.is_good:
            row = answer.data.get("order", answer.data) if isinstance(answer.data, Mapping) else None
            if row is not None and self._take_row(session, row):
                session.changing.discard(ref)
                self._tell_view(session, ref)
                return
            self._doubt(session, ref, answer.status, "its answer cannot be read")
            return
        meaning = meaning_of(answer.status)
        if meaning is CodeMeaning.ORDER_REFUSED:
            session.changing.discard(ref)
            self._error(session, ref, answer.status, answer.words, meaning)
            self._tell_view(session, ref)
        else:
            self._doubt(session, ref, answer.status, answer.words)

    def _doubt(self, session: Session, ref: str, code: int, why: str) -> None:
        """Say that nobody knows what became of what was written, and look for it."""
        if self.session is not session:
            return
        session.unsure[ref] = self.loop.time() + UNSURE_MAX_S
        self._error(session, ref, code, why, CodeMeaning.ORDER_UNKNOWN)
        self.spawn(f"looking for {ref}", lambda: self._look_for(session))

    async def _look_for(self, session: Session) -> None:
        await self._look_once(session)

    def _withdraw(self, command: broker.WithdrawOrder) -> None:
        session, ref = self.session, command.order_ref
        if session is None or not self._is_on(session, command.session_epoch):
            self._not_cancelled(command.session_epoch, ref, NO_LINK[1], CodeMeaning.ORDER_UNKNOWN)
            return
        self.spawn(
            f"cancelling {ref}", lambda: self._cancel(session, ref),
            on_death=lambda why: self._not_cancelled(session.epoch, ref, why, CodeMeaning.ORDER_UNKNOWN),
        )  # fmt: skip

    async def _cancel(self, session: Session, ref: str) -> None:
        """Cancel what carries a reference: first it must be known which order that is."""
        posting = session.posting.get(ref)
        if posting is not None:
            await asyncio.wait({posting}, timeout=self._rules.read_back_ms / 1000)
        view = session.book.view(ref)
        if view is None or ref in session.changing:
            await self._look_once(session)
            view = session.book.view(ref)
        if view is None or not view.is_working:
            why = "the vendor knows no such order" if view is None else f"it is {view.status}"
            self._not_cancelled(session.epoch, ref, why, CodeMeaning.ORDER_UNKNOWN)
            return
        trouble = await self._delete(session, view.live_id)
        if trouble is not None:
            self._not_cancelled(session.epoch, ref, trouble, CodeMeaning.ORDER_UNKNOWN)

    async def _delete(self, session: Session, order_id: int) -> str | None:
        """Cancel an order, which may be asked for twice; return why it was not taken, `None` where it was."""
        path, why = session.path(f"orders/{order_id}"), ""
        for _ in range(2):
            try:
                answer = await self._ask("DELETE", path)
            except (NotSentError, NoAnswerError) as error:
                return str(error)
            if answer.is_good:
                self._take_row(session, answer.data)
                self._tell_view(session, session.book.ref_of(order_id))
                return None
            why = answer.words
            if answer.status != UNAUTHORIZED:
                break
        return why

    def _cancel_everything(self, command: broker.CancelEverything) -> None:
        session = self.session
        if session is None or not self._is_on(session, command.session_epoch):
            self._not_cancelled(command.session_epoch, None, NO_LINK[1], CodeMeaning.LINK)
            return
        self.spawn(
            "cancelling everything", lambda: self._cancel_all(session),
            on_death=lambda why: self._not_cancelled(session.epoch, None, why, CodeMeaning.LINK),
        )  # fmt: skip

    async def _cancel_all(self, session: Session) -> None:
        """Cancel order by order whatever the account has working, whoever placed it."""
        await self._look_once(session)
        working = session.book.working()
        for why in await asyncio.gather(*(self._delete(session, view.live_id) for view in working)):
            if why is not None:
                self._not_cancelled(session.epoch, None, why, CodeMeaning.LINK)

    def _not_cancelled(self, epoch: int, order_ref: str | None, why: str, meaning: CodeMeaning) -> None:
        what = "the order" if order_ref is not None else "everything"
        self.report(
            broker.ErrorReported(
                session_epoch=epoch, order_ref=order_ref, vendor_code=0, text=f"cannot cancel {what}: {why}",
                meaning=meaning,
            )
        )  # fmt: skip

    def _deny(self, order_ref: str, fault: Fault) -> None:
        self.report(broker.OrderDenied(order_ref=order_ref, code=fault[0], why=fault[1]))

    def _error(self, session: Session, ref: str | None, code: int, text: str, meaning: CodeMeaning) -> None:
        self.report(
            broker.ErrorReported(
                session_epoch=session.epoch, order_ref=ref or None, vendor_code=code, text=text, meaning=meaning
            )
        )

    async def _ask_margin(self, command: broker.AskMargin) -> None:
        session = self.session
        if session is None or not self._is_on(session, command.session_epoch):
            self._tell_margin(command, None, "not connected")
            return
        if command.legs and (why := refusal_of(command.legs, self.capabilities)) is not None:
            self._tell_margin(command, None, why)
            return
        try:
            answer = await self._ask("POST", session.path("orders/dry-run"), order_body(command.order))
        except (NotSentError, NoAnswerError, ValueError) as error:
            self._tell_margin(command, None, str(error))
            return
        change = wire.margin_change_of(answer.data) if answer.is_good else None
        self._tell_margin(command, change, "" if change is not None else answer.words)

    def _tell_margin(self, command: broker.AskMargin, change_cents: Cents | None, why: str) -> None:
        self.report(
            broker.MarginTold(
                session_epoch=command.session_epoch, request_id=command.request_id, reply_to=command.reply_to,
                init_margin_change_cents=change_cents, why=why,
            )
        )  # fmt: skip

    # -- what is heard --------------------------------------------------------------------------

    def _on_row(self, session: Session, kind: str, data: object) -> None:
        """Take a notification of the stream; those of other kinds are not for us."""
        if self.session is not session:
            return
        if isinstance(data, Mapping) and str(data.get("account-number", session.account)) != session.account:
            return  # a login may see several accounts
        if kind == "Order":
            self._take_row(session, data)
        elif kind == "CurrentPosition":
            try:
                row = wire.position_of(data)
            except wire.UnreadableError as error:
                self._unreadable(session, "the account stream", str(error))
                return
            held = self._position(row)
            self.report(
                broker.PositionReported(
                    session_epoch=session.epoch, contract=held.contract, qty=held.qty,
                    avg_cost_cents=held.avg_cost_cents,
                )
            )  # fmt: skip

    def _unreadable(self, session: Session, what: str, why: str) -> None:
        """Tell that something could not be read, at most once a second: the broker is read back then."""
        now_s = self.loop.time()
        if self.session is session and now_s - self._unreadable_s >= UNREADABLE_EVERY_S:
            self._unreadable_s = now_s
            self.fault(f"reading: {what}", why, is_order_path=True)

    def _take_row(self, session: Session, data: object) -> bool:
        """Take an order over and tell what is news of it; False where it cannot be read."""
        try:
            row = wire.order_of(data, self._clock.now_utc())
        except wire.UnreadableError as error:
            self._unreadable(session, "an order", str(error))
            return False
        taken = session.book.take(row)
        if self.session is not session:
            return True
        session.fills_n += len(taken.fills)
        if not session.is_up:
            return True  # of before this session: the read-back to come tells it
        for counted in taken.fills:
            session.fees_told.discard(counted.fill.fill_id)
            execution = self._execution(counted)
            self.report(broker.ExecutionReported(session_epoch=session.epoch, execution=execution))
        if taken.fills:
            self.spawn("asking for fees", lambda: self._ask_fees(session))
        ref = session.book.ref_of(row.order_id)
        self._tell_view(session, ref)
        if taken.is_aborted and ref:
            text = f"the change came to nothing: {row.reason.replace(session.account, '...')}"
            self._error(session, ref, 0, text, CodeMeaning.ORDER_REFUSED)
        return True

    def _tell_view(self, session: Session, ref: str) -> None:
        """Tell how an order of ours stands, where that is news; one whose change is not answered does not end by it."""
        view = session.book.view(ref) if ref else None
        if view is None or not session.is_up or self.session is not session or session.told.get(ref) == view:
            return
        if view.is_gone:
            return  # nobody knows how it stands: a read-back says that it is nowhere
        if ref in session.changing and not view.is_working and view.status is not OrderStatus.FILLED:
            return
        session.told[ref] = view
        self.report(
            broker.OrderStatusReported(
                session_epoch=session.epoch, order_ref=ref, perm_id=view.perm_id, status=view.status,
                filled_qty=view.filled_qty, remaining_qty=view.qty - view.filled_qty, qty=view.qty,
                order_type=view.order_type, limit_ticks=view.limit_ticks, raw=view.raw,
            )
        )  # fmt: skip
        if view.status is OrderStatus.INACTIVE:
            text = view.reason.replace(session.account, "...") or "rejected without a reason"
            self._error(session, ref, 0, text, CodeMeaning.ORDER_REJECTED)

    def _execution(self, counted: Counted) -> broker.Execution:
        fill, now = counted.fill, self._clock.now_utc()
        return broker.Execution(
            exec_id=fill.fill_id, revision=counted.revision, order_ref=counted.ref, perm_id=counted.perm_id,
            con_id=self._contracts.of(fill.symbol).con_id, side=fill.side, qty=fill.qty, price_ticks=fill.price_ticks,
            at_utc=now if fill.at_utc is None else fill.at_utc, raw=fill.raw, is_time_uncertain=fill.at_utc is None,
        )  # fmt: skip

    def _position(self, row: wire.PositionRow) -> broker.BrokerPosition:
        contract = self._contracts.of(row.symbol, row.underlying)
        cost = Cents(round(row.price_ticks * contract.multiplier))
        return broker.BrokerPosition(contract=contract, qty=row.qty, avg_cost_cents=cost)

    async def _look(self, session: Session) -> None:
        """Read the orders while one of ours may fill or is not known: what the stream did not tell is found here."""
        pause_s = LOOK_S
        while self.session is session:
            await asyncio.sleep(pause_s)
            if session.unsure or session.posting or session.changing or session.book.working():
                is_good = await self._look_once(session)
                pause_s = LOOK_S if is_good else min(pause_s * 2, LOOK_MAX_S)

    async def _look_once(self, session: Session) -> bool:
        """Read the orders and take them over; False where they cannot be had."""
        written = set(session.unsure)  # before this was asked: what they have come to is here, or nowhere yet
        try:
            rows = await se.items(self._ask, session.path("orders/live"))
        except BrokerError:
            return False
        for row in rows:
            self._take_row(session, row)
        for ref in written & session.unsure.keys():
            is_change = ref in session.changing
            session.changing.discard(ref)
            if is_change or session.book.view(ref) is not None or self.loop.time() > session.unsure[ref]:
                del session.unsure[ref]
            self._tell_view(session, ref)
        return True

    async def _ask_fees(self, session: Session) -> None:
        """Ask what the fills have cost, which is known some time after them; tell each once."""
        if session.is_asking_fees:
            return
        session.is_asking_fees = True
        try:
            for attempt in range(FEES_TRIES):
                await asyncio.sleep(FEES_S * 2**attempt)
                wanted = {counted.fill.fill_id for counted in session.book.fills()} - session.fees_told
                if self.session is not session or not wanted:
                    return
                with contextlib.suppress(BrokerError):
                    await self._read_fees(session)
        finally:
            session.is_asking_fees = False

    async def _read_fees(self, session: Session) -> None:
        day = session_of(self._clock.now_utc())
        rows = await se.items(self._ask, session.path(f"transactions?start-date={day}"))
        fees = [fee for row in rows if (fee := wire.fee_of(row)) is not None]
        for counted in session.book.fills():
            fill = counted.fill
            cents = next((cents for ids, cents in fees if not ids.isdisjoint((fill.fill_id, fill.ext_id))), UNTOLD)
            if cents == UNTOLD or fill.fill_id in session.fees_told or self.session is not session:
                continue
            session.fees_told.add(fill.fill_id)
            self.report(
                broker.CommissionReported(
                    session_epoch=session.epoch, exec_id=fill.fill_id, revision=counted.revision,
                    commission_cents=cents, raw=f"fees={cents}",
                )
            )  # fmt: skip

    # -- the read-back --------------------------------------------------------------------------

    async def _read_in_turn(self, command: broker.ReadBack) -> None:
        async with self._reading:
            session = self.session
            if session is None or not self._is_on(session, command.session_epoch):
                self._read_failed(command, NO_LINK[1])
                return
            until_s, left_n = self.loop.time() + self._rules.read_back_ms / 1000, READ_TRIES
            while not await self._read(session, command, until_s, left_n):
                left_n -= 1

    def _read_failed(self, command: broker.ReadBack, why: str) -> None:
        self.report(broker.BrokerReadFailed(session_epoch=command.session_epoch, read_n=command.read_n, why=why))

    async def _read(self, session: Session, command: broker.ReadBack, until_s: float, tries_left: int) -> bool:
        """Read orders, positions and orders again; False where something filled between, so that they do not fit.

        Also for a request that failed, while there are tries and time left: exits would wait for the next read-back,
        and the vendor answers one request in so many with a 429 or a 5xx.
        """
        is_last = self.loop.time() >= until_s
        failed: list[GroupFailure] = []
        positions: list[broker.BrokerPosition] = []
        no_stream = session.no_stream  # of before it was read: what came in between would be missed
        await self._read_orders(session, failed)
        fills_n = session.fills_n
        try:
            for row in await se.items(self._ask, session.path("positions")):
                held = self._position(wire.position_of(row))
                if held.qty:
                    positions.append(held)
        except (BrokerError, wire.UnreadableError) as error:
            failed.append(GroupFailure(ReadGroup.POSITIONS, str(error)))
        if not failed:
            await self._read_orders(session, failed)
        if failed and tries_left > 1 and self.loop.time() < until_s and self.session is session:
            await asyncio.sleep(READ_AGAIN_S)
            return False
        if self.session is not session:
            self._read_failed(command, "the link was lost while the broker was read")
        elif len({failure.group for failure in failed}) == len(ReadGroup):
            self._read_failed(command, failed[0].why)
        elif session.fills_n != fills_n:
            if not is_last:
                return False
            self._read_failed(command, "executions kept coming while the broker was read")
        else:
            if no_stream:  # what ends an order may be heard late: entries wait for the stream, exits do not
                failed.append(GroupFailure(ReadGroup.COMPLETED, no_stream))
            self._tell_read(session, command, positions, failed)
        return True

    async def _read_orders(self, session: Session, failed: list[GroupFailure]) -> None:
        """Take the orders of the day over; executions stand in them, and ended orders too."""
        try:
            rows = await se.items(self._ask, session.path("orders/live"))
            are_read = [self._take_row(session, row) for row in rows]
            shown = (order_id for row in rows if (order_id := wire.id_of(row)) is not None)
            session.book.note_list(shown, self.loop.time())
            why = "" if all(are_read) else "a row cannot be read"
        except BrokerError as error:
            why = str(error)
        if why:
            groups = (ReadGroup.ORDERS, ReadGroup.COMPLETED, ReadGroup.EXECUTIONS)
            failed += [GroupFailure(group, why) for group in groups]

    def _tell_read(
        self, session: Session, command: broker.ReadBack, positions: list[broker.BrokerPosition],
        failed: list[GroupFailure],
    ) -> None:  # fmt: skip
        self.report(
            broker.BrokerRead(
                session_epoch=session.epoch, read_n=command.read_n, read_utc=self._clock.now_utc(),
                orders=tuple(self._broker_order(view) for view in session.book.views() if not view.is_gone),
                executions=tuple(self._execution(counted) for counted in session.book.fills()),
                positions=tuple(positions), failed=tuple(failed),
            )
        )  # fmt: skip
        if session.book.fills():
            self.spawn("asking for fees", lambda: self._ask_fees(session))

    def _broker_order(self, view: View) -> broker.BrokerOrder:
        con_id = self._contracts.of(view.symbol, view.underlying).con_id if view.symbol else 0
        return broker.BrokerOrder(
            order_ref=view.ref, perm_id=view.perm_id, con_id=con_id, side=view.side,
            qty=view.qty if view.symbol else QTY_UNKNOWN, filled_qty=view.filled_qty, order_type=view.order_type,
            limit_ticks=view.limit_ticks, status=view.status, is_working=view.is_working,
        )  # fmt: skip
