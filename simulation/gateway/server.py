"""The simulated IB Gateway: a TWS server over one market, one exchange and a script of faults."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from datetime import time
from typing import Protocol

import msgspec

from domain.instants import at_exchange, session_of
from domain.ports import Clock
from simulation.broker.exchange import Exchange
from simulation.gateway.contracts import Catalogue, TickerMarket
from simulation.gateway.desk import OrderDesk
from simulation.gateway.faults import LINK_FAULTS, Fault, FaultKind
from simulation.gateway.session import COMPETING, LINK_LOST, Session

log = logging.getLogger(__name__)

PERIOD_S = 0.1
LINES_MAX = 100  # IB's minimum of concurrent market data lines an account
PACE_MAX = 50  # messages a second, IB's limit
ACCOUNT_PERIOD_S = 3.0
DATA_LOST = "Connectivity between IB and Trader Workstation has been restored - data lost."
DATA_KEPT = "Connectivity between IB and Trader Workstation has been restored - data maintained."


class SteppedMarket(TickerMarket, Protocol):
    """The market that the server drives."""

    def step(self, to_utc: int) -> None:
        """Move the market to an instant."""
        ...


class GatewayServer:
    """Listens for TWS clients; broker truth lives in the exchange and survives every connection."""

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
    ) -> None:
        self.market = market
        self.exchange = exchange
        self.account = exchange.account
        self.catalogue = Catalogue(market)
        self.lines_max = lines_max
        self.desk = OrderDesk(self)
        self._clock = clock
        self._latency_s = latency_s
        self._period_s = period_s
        self._script = list(faults)
        self._sessions: set[Session] = set()
        self._clients: dict[int, Session] = {}
        self._paces: dict[Session, deque[float]] = {}
        self._active: list[Fault] = []
        self._listener: asyncio.Server | None = None
        self._address = ("127.0.0.1", 0)
        self._stepping: asyncio.Task[None] | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._relisten: asyncio.Task[None] | None = None
        self._started_s = 0.0
        self._session = session_of(market.open_utc)
        self._by_clock: list[tuple[int, Fault]] = []  # faults that wait for an instant of the market

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen and give the port; 0 takes a free one.

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
        for session in list(self._sessions):
            session.close()

    async def wait(self) -> None:
        """Wait for the end of stepping: forever, unless the market fails, which raises here."""
        assert self._stepping is not None, "start first"
        await self._stepping

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        host, port = self._address
        self._listener = await loop.create_server(lambda: Session(self), host, port)
        self._address = (host, self._listener.sockets[0].getsockname()[1])

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def now_utc(self) -> int:
        """Give the market's instant."""
        return self._clock.now_utc()

    def elapsed_s(self) -> float:
        """Give the real seconds since the start."""
        return asyncio.get_running_loop().time() - self._started_s

    # sessions

    def connected(self, session: Session) -> None:
        """Take a new connection in, or treat it as the faults of the moment say."""
        self._sessions.add(session)
        if self._is_active(FaultKind.DROP_RESET):
            session.reset()
        elif self._is_active(FaultKind.DROP_HALF_OPEN):
            session.hold()

    def disconnected(self, session: Session) -> None:
        """Forget a connection."""
        self._sessions.discard(session)
        self._paces.pop(session, None)
        if session.client_id is not None and self._clients.get(session.client_id) is session:
            del self._clients[session.client_id]

    def admit(self, session: Session, client_id: int) -> bool:
        """Give a session its client id unless another one has it."""
        if client_id in self._clients or self._is_active(FaultKind.CLIENT_ID_IN_USE):
            return False
        self._clients[client_id] = session
        session.client_id = client_id
        return True

    def session_of_client(self, client_id: int) -> Session | None:
        """Give the connection of a client; `None` if it has none."""
        return self._clients.get(client_id)

    def sessions(self) -> list[Session]:
        """Give the connections that have said their client id."""
        return list(self._clients.values())

    def lines_used(self) -> int:
        """Count the market data lines of the account, over all sessions."""
        return sum(len(session.subscriptions) for session in self._sessions)

    def is_paced(self, session: Session) -> bool:
        """Count a request; False, with error 100 and a cut, beyond the limit while the pacing fault is on."""
        if not self._is_active(FaultKind.PACING):
            return True
        now = asyncio.get_running_loop().time()
        times = self._paces.setdefault(session, deque())
        times.append(now)
        while now - times[0] > 1.0:
            times.popleft()
        if len(times) <= PACE_MAX:
            return True
        session.error(-1, 100, "Max rate of messages per second has been exceeded")
        session.close()
        return False

    # the market

    async def _step_on(self) -> None:
        loop = asyncio.get_running_loop()
        due, account_due = loop.time(), loop.time() + ACCOUNT_PERIOD_S
        while True:
            now = self.now_utc()
            due_faults = [f for at_utc, f in self._by_clock if at_utc <= now]
            self._by_clock = [(at_utc, f) for at_utc, f in self._by_clock if at_utc > now]
            for fault in due_faults:
                self.inject(fault)
            self.market.step(max(now, self.market.now_utc))
            self.desk.deliver(self.exchange.step(now))
            if self._is_data_flowing():
                for session in self.sessions():
                    session.push(*session.subscriptions.values())
            if loop.time() >= account_due:
                account_due = loop.time() + ACCOUNT_PERIOD_S
                for session in self.sessions():
                    if session.wants_account and self.is_telling:
                        session.send(*self.desk.account_rows())
            due = max(due + self._period_s, loop.time())
            await asyncio.sleep(due - loop.time())

    def match_soon(self) -> None:
        """Match again when an order that came in just now may fill."""
        self._later(self._latency_s, self._match)

    def _match(self) -> None:
        self.desk.deliver(self.exchange.step(self.now_utc()))

    def _later(self, delay_s: float, call: object, *args: object) -> None:
        loop = asyncio.get_running_loop()
        self._timers = {t for t in self._timers if not t.cancelled() and t.when() > loop.time()}
        self._timers.add(loop.call_later(delay_s, call, *args))  # type: ignore[arg-type]

    # faults

    def inject(self, fault: Fault) -> None:
        """Arm a fault: of the link at its instant, of an order at the next one that it fits."""
        if fault.at_clock is not None:
            at_utc = at_exchange(self._session, time.fromisoformat(fault.at_clock))
            self._by_clock.append((at_utc, msgspec.structs.replace(fault, at_clock=None)))
        elif fault.kind not in LINK_FAULTS:
            self.desk.faults.add(fault)
        elif fault.at_s is None:
            self._begin(fault)
        else:
            self._later(max(0.0, fault.at_s - self.elapsed_s()), self._begin, fault)

    def _is_active(self, kind: FaultKind) -> bool:
        return any(fault.kind is kind for fault in self._active)

    @property
    def is_telling(self) -> bool:
        """Tell whether order events reach clients; what happens while the link to IB is lost is never told."""
        return not self._is_active(FaultKind.LINK_LOST)

    @property
    def is_competing(self) -> bool:
        """Tell whether another session of the user has the market data."""
        return self._is_active(FaultKind.COMPETING_SESSION)

    @property
    def is_data_delayed(self) -> bool:
        """Tell whether new subscriptions get delayed data."""
        return self._is_active(FaultKind.DELAYED_DATA)

    def _is_data_flowing(self) -> bool:
        is_farm_lost = any(f.kind is FaultKind.FARM_LOST and not f.args.get("history") for f in self._active)
        return self.is_telling and not self.is_competing and not is_farm_lost

    def _begin(self, fault: Fault) -> None:
        log.info("fault %s begins for %s s", fault.kind, fault.duration_s)
        self._active.append(fault)
        match fault.kind:
            case FaultKind.DROP_REFUSE:
                if self._listener is not None:
                    self._listener.close()
                    self._listener = None
                self._reset_all()
            case FaultKind.DROP_RESET:
                self._reset_all()
            case FaultKind.DROP_HALF_OPEN:
                for session in self._sessions:
                    session.hold()
            case FaultKind.LINK_LOST:
                for _ in range(int(fault.args.get("repeat_lost", 1))):
                    self._notify(fault.code(1100), LINK_LOST)
            case FaultKind.FARM_LOST:
                self._farm(fault, is_ok=False)
            case FaultKind.COMPETING_SESSION:
                for session in self.sessions():
                    for request in session.subscriptions:
                        session.error(request, 10197, COMPETING)
        self._later(fault.duration_s, self._end, fault)

    def _end(self, fault: Fault) -> None:
        log.info("fault %s ends", fault.kind)
        self._active.remove(fault)
        if self._is_active(fault.kind):
            return  # a longer one of the same kind goes on
        match fault.kind:
            case FaultKind.DROP_REFUSE:
                self._relisten = asyncio.create_task(self._listen())
                self._relisten.add_done_callback(_report)
            case FaultKind.DROP_HALF_OPEN:
                for session in list(self._sessions):
                    session.release()
            case FaultKind.LINK_LOST:
                self._restore(fault)
            case FaultKind.FARM_LOST:
                self._farm(fault, is_ok=True)

    def _reset_all(self) -> None:
        for session in list(self._sessions):
            session.reset()

    def _restore(self, fault: Fault) -> None:
        """Bring the link to IB back: with the subscriptions gone (1101), or kept (1102, as often as told)."""
        is_lost = fault.args.get("data") == "lost"
        for session in self.sessions():
            if is_lost:
                session.subscriptions.clear()
            for subscription in session.subscriptions.values():
                subscription.forget()
        farms = fault.args.get("farms_down")
        text = DATA_LOST if is_lost else DATA_KEPT
        if farms:
            text += f" The following farms are not connected: {farms}."
        for _ in range(int(fault.args.get("repeat", 1))):
            self._notify(1101 if is_lost else 1102, text)

    def _farm(self, fault: Fault, is_ok: bool) -> None:
        """Say that a farm is gone or back; with `stays_dead` the ticks do not come back with it."""
        if fault.args.get("history"):
            state = "OK" if is_ok else "broken"
            self._notify(2106 if is_ok else 2105, f"HMDS data farm connection is {state}:ushmds")
            return
        if is_ok and fault.args.get("stays_dead"):
            for session in self.sessions():
                for subscription in session.subscriptions.values():
                    subscription.is_dead = True
        state = "OK" if is_ok else "broken"
        self._notify(2104 if is_ok else 2103, f"Market data farm connection is {state}:usopt")

    def _notify(self, code: int, text: str) -> None:
        for session in self.sessions():
            session.error(-1, code, text)


def _report(listening: asyncio.Task[None]) -> None:
    if not listening.cancelled() and listening.exception() is not None:
        log.error("the gateway cannot listen again: %s", listening.exception())


async def run_gateway(
    market: SteppedMarket,
    clock: Clock,
    host: str,
    port: int,
    faults: Iterable[Fault] = (),
    *,
    cash_cents: int = 10_000_000,
    ready: asyncio.Future[int] | None = None,
) -> None:
    """Serve a market as an IB Gateway until cancelled; `ready` is given the port.

    Raises:
        OSError: the port is in use.
    """
    exchange = Exchange(market, cash_cents=cash_cents)
    server = GatewayServer(market, exchange, clock, faults)
    bound = await server.start(host, port)
    if ready is not None:
        ready.set_result(bound)
    try:
        await server.wait()
    finally:
        await server.stop()
