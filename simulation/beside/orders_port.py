"""The order port of a `sim` desk: the in-process exchange, on a thread of its own and the market's clock.

Its book outlives the process, as a broker's does.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final, cast

from domain.instants import MS
from domain.ports import Clock
from domain.session.modes import AccountClass
from domain.units import Cents, Utc
from gateways.port_thread import Tell
from messages import broker
from messages.base import Message
from simulation.beside.heard_market import HeardMarket
from simulation.broker.kept import KeptExchange
from simulation.inprocess.broker import ACCOUNT_EVERY_NS, CLOCK_EVERY_NS, InProcessBroker
from simulation.inprocess.port import Login
from simulation.market.market import Market
from supervision.stepped import SteppedRuntime

POLL_S: Final = 0.02  # real: how often it is looked at what is due
STEP_NS: Final = 100 * MS  # market time between two looks of the exchange at its orders


class LoopRuntime:
    """What an in-process port needs of a runtime, live: a clock, a way to tell, and calls at instants to come.

    `latched` says why no entry may leave; `None`: they may. `latched_groups` are desks of which that is so: none here,
    where each desk's port has a loop of its own. A call that fails is told and ends nothing.
    """

    def __init__(self, name: str, clock: Clock, tell: Tell) -> None:
        self.clock = clock
        self.latched: str | None = None
        self.latched_groups: dict[str, str] = {}
        self._name = name
        self._tell = tell
        self._due: list[tuple[Utc, int, Callable[[], None]]] = []
        self._n = count()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread; what is still to come is dropped."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def post(self, to: str, message: Message, _sender: str) -> None:
        """Tell somebody something."""
        self._tell(to, message)

    def call_at(self, at_utc: Utc, act: Callable[[], None]) -> None:
        """Have something done at an instant, or at once where it is over; any thread may call."""
        with self._lock:
            heapq.heappush(self._due, (at_utc, next(self._n), act))

    def _run(self) -> None:
        while not self._over.wait(POLL_S):
            now = self.clock.now_utc()
            while (act := self._next(now)) is not None:
                try:
                    act()
                except Exception as error:
                    self._fault(f"{type(error).__name__}: {error}")

    def _next(self, now: Utc) -> Callable[[], None] | None:
        with self._lock:
            return heapq.heappop(self._due)[2] if self._due and self._due[0][0] <= now else None

    def _fault(self, why: str) -> None:
        fault = broker.PortFaulted(session_epoch=0, what="the simulated exchange", why=why, is_order_path=True)
        self._tell(self._name.removeprefix("port:"), fault)


class SimOrdersPort(InProcessBroker):
    """`port:ibkr:<desk>` of a `sim` desk.

    Args:
        name: the address.
        clock: the market's clock.
        tell: takes an address and a message.
        market: what the desk's quote session has told.
        book: the file of the exchange's book.
        cash_cents: what a new account starts with.
        latency_ms: how long an order is on its way.
        port: what it calls itself; the desk trades on no other.

    Raises:
        BookRefusedError: another process keeps the book, or it is damaged.
    """

    step_ns = STEP_NS

    def __init__(
        self, name: str, clock: Clock, tell: Tell, market: HeardMarket, book: Path, *, cash_cents: Cents,
        latency_ms: int, port: int,
    ) -> None:  # fmt: skip
        self._loop = LoopRuntime(name, clock, tell)
        self._kept = KeptExchange(market, book, cash_cents=cash_cents, latency_ms=latency_ms)
        self._kept.begin_newer()
        login = Login(port=port, account_class=AccountClass.PAPER)
        # Both have what a port asks of them, and nothing else of a stepped day.
        runtime, quoted = cast("SteppedRuntime", self._loop), cast("Market", market)
        super().__init__(name.removeprefix("port:"), runtime, quoted, self._kept, login)
        # At a quick market's pace its own steps skip the instants at which it would tell of these.
        self._every(ACCOUNT_EVERY_NS, self._report_account)
        self._every(CLOCK_EVERY_NS, self._report_clock)

    def start(self) -> None:
        """Start the thread."""
        self._loop.start()

    def close(self) -> None:
        """End the thread, and give the book back."""
        self._loop.close()
        self._kept.close()

    def refuse_entries(self, why: str) -> None:
        """Refuse every entry until the process ends."""
        self._loop.latched = why
