"""The simulated IB Gateway: a TWS server over one market, one exchange and a script of faults."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import time
from functools import partial
from typing import Protocol

import msgspec

from domain.instants import SECOND, at_exchange, session_of
from domain.ports import Clock
from domain.units import Utc
from simulation.broker.exchange import Exchange
from simulation.broker.login import Login
from simulation.gateway.account_requests import AccountRequests
from simulation.gateway.clients import Clients, Handler
from simulation.gateway.connection import ApiClient, Gateway
from simulation.gateway.contracts import Catalogue, ListedMarket
from simulation.gateway.faults import LINK_FAULTS, ActiveFaults, Fault, FaultKind
from simulation.gateway.garble import Garbler
from simulation.gateway.history import History
from simulation.gateway.market_data import MarketData
from simulation.gateway.order_routing import OrderRouting
from simulation.gateway.profit import Profit
from simulation.gateway.protocol import REQUESTS, START_API, Treatment
from simulation.gateway.replay import Callback, Recipient, frames_of
from simulation.gateway.strangers import Strangers
from simulation.gateway.tick_by_tick import TickByTick
from simulation.gateway.wire.frames import encode, epoch_s
from simulation.gateway.wire.orders import LIVE, error
from simulation.gateway.wire.requests import FieldReader

log = logging.getLogger(__name__)

PERIOD_S = 0.03
LINES_MAX = 100  # IB's minimum of concurrent market data lines an account
PACE_MAX = 50  # messages a second, IB's limit
ACCOUNT_PERIOD_S = 3.0
ACCOUNT_PERIOD_NS = 60 * SECOND  # of the market: what is told of the account stays young at any pace
FARM_NOTICES = (
    (2104, "Market data farm connection is OK:usopt"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefil"),
)
CLIENT_ID_IN_USE = "Unable to connect as the client id is already in use. Retry with a unique client id."
LINK_LOST = "Connectivity between IB and Trader Workstation has been lost."
DATA_LOST = "Connectivity between IB and Trader Workstation has been restored - data lost."
DATA_KEPT = "Connectivity between IB and Trader Workstation has been restored - data maintained."


class SteppedMarket(ListedMarket, Protocol):
    """The market that the server drives."""

    def step(self, to_utc: Utc) -> None:
        """Move the market to an instant."""


class GatewayServer:
    """Listens for TWS clients; broker truth lives in the exchange and survives every connection.

    `others` are further accounts of the same login; `make_connection` makes the server's end of a connection.
    """

    def __init__(
        self,
        market: SteppedMarket,
        exchange: Exchange,
        clock: Clock,
        faults: Iterable[Fault] = (),
        *,
        lines_max: int = LINES_MAX,
        latency_s: float = 0.02,
        period_s: float = PERIOD_S,
        make_connection: Callable[[Gateway], ApiClient] = ApiClient,
        others: Sequence[Exchange] = (),
    ) -> None:
        self._market = market
        self._login = login = Login((exchange, *others))
        self._clock = clock
        self._latency_s = latency_s
        self._period_s = period_s
        self._make_connection = make_connection
        self._script = list(faults)
        self._clients = Clients()
        self._active = ActiveFaults()
        self._catalogue = catalogue = Catalogue(market)
        self._garbler = Garbler()
        self._strangers = Strangers(catalogue, self._active, self.now_utc)
        self._account = AccountRequests(
            login, catalogue, self._clients, self._active, self._strangers, self.now_utc
        )  # fmt: skip
        self._profit = Profit(login, self._clients)
        self._data = MarketData(market, catalogue, self._clients, self._active, lines_max)
        self._orders = OrderRouting(
            login, catalogue, self._clients, self._account, self._active, self._strangers,
            now_utc=self.now_utc, elapsed_s=self.elapsed_s, match_soon=self.match_soon,
        )  # fmt: skip
        self._ticks = TickByTick(market, catalogue, self._clients, self._data)
        self._history = History(market, catalogue, self._clients)
        self._handlers: dict[int, Handler] = {
            49: self._current_time,
            **self._account.handlers,
            **self._profit.handlers,
            **self._data.handlers,
            **self._ticks.handlers,
            **self._history.handlers,
            **self._orders.handlers,
        }
        self._listener: asyncio.Server | None = None
        self._address = ("127.0.0.1", 0)
        self._stepping: asyncio.Task[None] | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._relisten: asyncio.Task[None] | None = None
        self._started_s = 0.0
        self._session = session_of(market.open_utc)
        self._by_clock: list[tuple[Utc, Fault]] = []  # faults that wait for an instant of the market
        self._scheduled: list[Fault] = []  # faults that wait for a second since the start

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen and return the port; 0 takes a free one.

        Raises:
            OSError: the port is in use.
        """
        loop = asyncio.get_running_loop()
        self._address = (host, port)
        await self._listen()
        self._started_s = loop.time()
        for fault in self._script:
            self.inject(fault)
        self._stepping = asyncio.create_task(self._step_on())
        return self._address[1]

    async def stop(self) -> None:
        """Close every connection and stop the market; the exchange keeps what it knows."""
        for timer in self._timers:
            timer.cancel()
        if self._stepping is not None:
            self._stepping.cancel()
            await asyncio.gather(self._stepping, return_exceptions=True)
        await self._stop_listening()
        for connection in self._clients.connections():
            connection.close()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        host, port = self._address
        self._listener = await loop.create_server(lambda: self._make_connection(self), host, port)
        self._address = (host, self._listener.sockets[0].getsockname()[1])

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def now_utc(self) -> Utc:
        """Return the market's instant."""
        return self._clock.now_utc()

    def elapsed_s(self) -> float:
        """Return the real seconds since the start."""
        return asyncio.get_running_loop().time() - self._started_s

    def handled(self) -> set[int]:
        """Return the numbers of the requests that are answered once a client has begun."""
        return set(self._handlers)

    def lines_used(self) -> int:
        """Return the number of market data lines of the account, over all connections."""
        return self._clients.lines_used()

    # connections

    def connected(self, connection: ApiClient) -> None:
        """Take a new connection in, or treat it as the faults of the moment have it."""
        self._clients.add(connection)
        connection.garbler = self._garbler
        if self._active.has(FaultKind.DROP_RESET):
            connection.reset()
        elif self._active.has(FaultKind.DROP_HALF_OPEN):
            connection.hold()

    def disconnected(self, connection: ApiClient) -> None:
        """Forget a connection."""
        self._clients.remove(connection)

    def admit(self, connection: ApiClient, client_id: int) -> bool:
        """Return whether the connection may have this client id; if so it is greeted, else refused and closed."""
        if self._active.has(FaultKind.CLIENT_ID_IN_USE) or not self._clients.claim(connection, client_id):
            connection.error(-1, 326, CLIENT_ID_IN_USE)
            connection.close()
            return False
        notices = FARM_NOTICES if self._active.is_link_up else ((1100, LINK_LOST),)
        connection.send(
            self._account.managed(),
            encode(9, 1, self._login.next_order_id(client_id)),
            *(error(-1, code, text, connection.version) for code, text in notices),
        )
        return True

    def serve(self, connection: ApiClient, fields: list[str]) -> None:
        """Serve one request."""
        if not self._is_within_pace(connection):
            return
        self._market.step(max(self.now_utc(), self._market.now_utc))  # what is asked at t is answered as of t
        self._catalogue.follow()
        message = FieldReader(fields, at=0).number()
        handler = self._handlers.get(message)
        if handler is not None:
            handler(connection, fields)
            return
        request = REQUESTS.get(message)
        if request is None or message == START_API:
            connection.error(-1, 505, f"Fatal Error: Unknown message id. {message}")
        elif request.treatment is Treatment.REFUSED:
            place = request.id_place
            request_id = -1 if place is None else FieldReader(fields, at=place).number()
            connection.error(request_id, request.code, request.text)

    def _is_within_pace(self, connection: ApiClient) -> bool:
        """Count a request; False, with error 100 and a cut, beyond the limit while the pacing fault is on."""
        if not self._active.has(FaultKind.PACING):
            return True
        now_s, times_s = asyncio.get_running_loop().time(), connection.requests_s
        times_s.append(now_s)
        while now_s - times_s[0] > 1.0:
            times_s.popleft()
        if len(times_s) <= PACE_MAX:
            return True
        connection.error(-1, 100, "Max rate of messages per second has been exceeded")
        connection.close()
        return False

    def _current_time(self, client: ApiClient, fields: list[str]) -> None:
        client.send(encode(49, 1, epoch_s(self.now_utc())))

    # the market

    async def _step_on(self) -> None:
        loop = asyncio.get_running_loop()
        due, account_due, account_due_utc = loop.time(), loop.time() + ACCOUNT_PERIOD_S, Utc(0)
        while True:
            now = self.now_utc()
            due_faults = [f for at_utc, f in self._by_clock if at_utc <= now]
            self._by_clock = [(at_utc, f) for at_utc, f in self._by_clock if at_utc > now]
            for fault in due_faults:
                self.inject(fault)
            self._match()
            if self._active.is_data_flowing:
                self._data.push_all()
                self._ticks.push_all()
            if loop.time() >= account_due or now >= account_due_utc:
                account_due, account_due_utc = loop.time() + ACCOUNT_PERIOD_S, Utc(now + ACCOUNT_PERIOD_NS)
                if self._active.is_link_up:
                    self._account.report_account()
                    self._profit.report()
                    self._history.report()
            due = max(due + self._period_s, loop.time())
            await asyncio.sleep(due - loop.time())

    def match_soon(self) -> None:
        """Match again when an order that came in just now may fill."""
        self._later(self._latency_s, self._match)

    def _match(self) -> None:
        """Match against the quotes of this very instant."""
        now = self.now_utc()
        self._market.step(max(now, self._market.now_utc))
        self._catalogue.follow()
        self._orders.deliver(self._login.step(now))

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._timers = {t for t in self._timers if not t.cancelled() and t.when() > loop.time()}
        self._timers.add(loop.call_later(delay_s, call))

    # faults

    def inject(self, fault: Fault) -> None:
        """Arm a fault: of the link at its instant, of an order at the next one that it fits."""
        if fault.at_clock is not None:
            at_utc = at_exchange(self._session, time.fromisoformat(fault.at_clock))
            self._by_clock.append((at_utc, msgspec.structs.replace(fault, at_clock=None)))
        elif fault.kind not in LINK_FAULTS:
            self._orders.faults.add(fault)
        elif fault.at_s is None:
            self._begin(fault)
        else:
            self._scheduled.append(fault)
            self._later(max(0.0, fault.at_s - self.elapsed_s()), partial(self._begin_scheduled, fault))

    def faults(self) -> dict[str, list[Fault]]:
        """Return the faults that last, and those that wait for their instant or their request."""
        by_clock = [fault for _, fault in self._by_clock]
        return {"active": self._active.all(), "waiting": [*by_clock, *self._scheduled, *self._orders.faults.waiting()]}

    def end_faults(self) -> None:
        """End every fault that lasts, as if its time were over, and forget those that wait."""
        self._by_clock.clear()
        self._scheduled.clear()
        self._orders.faults.clear()
        for fault in self._active.all():
            self._end(fault)

    def replay(self, callbacks: Sequence[Callback]) -> int:
        """Send recorded callbacks to every client, as if they were of its own orders; return to how many.

        Raises:
            ValueError: one of them cannot be written; nothing was sent.
        """
        clients = self._clients.admitted()
        account = self._login.first.account
        written = [
            frames_of(callbacks, Recipient(client.client_id or 0, account, client.version)) for client in clients
        ]
        for client, frames in zip(clients, written, strict=True):
            client.send(*frames)
        return len(clients)

    def _begin_scheduled(self, fault: Fault) -> None:
        if fault in self._scheduled:  # else it was ended before its instant
            self._scheduled.remove(fault)
            self._begin(fault)

    def _begin(self, fault: Fault) -> None:
        log.info("fault %s begins for %s s", fault.kind, fault.duration_s)
        fault = msgspec.structs.replace(fault)  # one of its own: an equal one may begin before this one's time is over
        self._active.begin(fault)
        match fault.kind:
            case FaultKind.DROP_REFUSE:
                if self._listener is not None:
                    self._listener.close()
                    self._listener = None
                self._reset_all()
            case FaultKind.DROP_RESET:
                self._reset_all()
            case FaultKind.DROP_HALF_OPEN:
                for connection in self._clients.connections():
                    connection.hold()
            case FaultKind.LINK_LOST:
                for _ in range(fault.number("repeat_lost", 1)):
                    self._notify(fault.code(1100), LINK_LOST)
            case FaultKind.FARM_LOST:
                self._farm(fault, is_ok=False)
            case FaultKind.COMPETING_SESSION:
                self._data.refuse_subscriptions()
            case FaultKind.FIELD | FaultKind.EXECUTION_TIME:
                self._garbler.begin(fault)
            case FaultKind.OTHER_ACCOUNT:
                self._report_strangers()
            case FaultKind.HALTED:
                self._data.report_halt(str(fault.args.get("ticker", "")), is_halted=True)
            case FaultKind.ERROR_SENT:
                self._error_to_all(fault)
            case FaultKind.MANUAL_ORDER:
                self._orders.order_by_hand(fault)
        self._later(fault.duration_s, partial(self._end, fault))

    def _end(self, fault: Fault) -> None:
        if not any(fault is active for active in self._active.all()):
            return  # it was ended before its time
        log.info("fault %s ends", fault.kind)
        self._active.end(fault)
        if fault.kind is FaultKind.HALTED:
            self._data.report_halt(str(fault.args.get("ticker", "")), is_halted=False)
        if self._active.has(fault.kind) and fault.kind not in (FaultKind.FIELD, FaultKind.EXECUTION_TIME):
            return  # a longer one of the same kind goes on
        match fault.kind:
            case FaultKind.DROP_REFUSE:
                self._relisten = asyncio.create_task(self._listen())
                self._relisten.add_done_callback(_report)
            case FaultKind.DROP_HALF_OPEN:
                for connection in self._clients.connections():
                    connection.release()
            case FaultKind.FIELD | FaultKind.EXECUTION_TIME:
                self._garbler.end(fault)
            case FaultKind.LINK_LOST:
                self._restore(fault)
            case FaultKind.FARM_LOST:
                self._farm(fault, is_ok=True)

    def _report_strangers(self) -> None:
        for client in self._clients.admitted():
            client.send(*self._strangers.execution_rows(LIVE, client.version))
            if client.wants_positions:
                client.send(*self._strangers.position_rows())

    def _error_to_all(self, fault: Fault) -> None:
        for client in self._clients.admitted():
            client.error(fault.number("id", -1), fault.code(2100), fault.text("A notice of the fault script."))

    def _reset_all(self) -> None:
        for connection in self._clients.connections():
            connection.reset()

    def _restore(self, fault: Fault) -> None:
        """Bring the link to IB back: with the subscriptions gone (1101), or kept (1102, as often as the fault asks)."""
        is_lost = fault.args.get("data") == "lost"
        for client in self._clients.admitted():
            if is_lost:
                client.subscriptions.clear()
            for subscription in client.subscriptions.values():
                subscription.forget()
        farms = fault.args.get("farms_down")
        text = DATA_LOST if is_lost else DATA_KEPT
        if farms:
            text += f" The following farms are not connected: {farms}."
        for _ in range(fault.number("repeat", 1)):
            self._notify(1101 if is_lost else 1102, text)

    def _farm(self, fault: Fault, is_ok: bool) -> None:
        """Notify that a farm is gone or back; with `stays_dead` the ticks do not come back with it."""
        if fault.flag("history"):
            state = "OK" if is_ok else "broken"
            self._notify(2106 if is_ok else 2105, f"HMDS data farm connection is {state}:ushmds")
            return
        if is_ok and fault.flag("stays_dead"):
            for client in self._clients.admitted():
                for subscription in client.subscriptions.values():
                    subscription.is_dead = True
        state = "OK" if is_ok else "broken"
        self._notify(2104 if is_ok else 2103, f"Market data farm connection is {state}:usopt")

    def _notify(self, code: int, text: str) -> None:
        for client in self._clients.admitted():
            client.error(-1, code, text)


def _report(listening: asyncio.Task[None]) -> None:
    if not listening.cancelled() and listening.exception() is not None:
        log.error("the gateway cannot listen again: %s", listening.exception())
