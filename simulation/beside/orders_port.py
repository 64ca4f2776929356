"""The order port of a `sim` desk: the in-process exchange, on a thread of its own and the market's clock.

Its book outlives the process, as a broker's does.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Final, cast

from domain.instants import MS
from domain.instruments import DataType
from domain.ports import Clock
from domain.risk.reject import RejectCode
from domain.session.modes import AccountClass
from domain.units import Cents, Utc
from gateways.closed import answer_of_closed
from gateways.ib.codes import meaning_of
from gateways.port_thread import Tell
from messages import broker
from messages.base import Message
from simulation.beside.heard_market import HeardMarket
from simulation.broker.kept import KeptExchange
from simulation.inprocess.broker import ACCOUNT_EVERY_NS, CLIENT_ID, CLOCK_EVERY_NS, InProcessBroker
from simulation.inprocess.port import Login
from simulation.market.market import Market
from supervision.stepped import SteppedRuntime

POLL_S: Final = 0.02  # real: how often it is looked at what is due
STEP_NS: Final = 100 * MS  # market time between two looks of the exchange at its orders
ORDER_NOTICE: Final = 399  # IB's own code of a notice about an order that goes on

Act = Callable[[], None]


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
        self._due: list[tuple[Utc, int, Act, Act]] = []
        self._n = count()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread; what is still to come is dropped, and what would be done instead is done."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        with self._lock:
            left, self._due = sorted(self._due), []
        for _, _, _, otherwise in left:
            otherwise()

    def post(self, to: str, message: Message, _sender: str) -> None:
        """Tell somebody something."""
        self._tell(to, message)

    def call_at(self, at_utc: Utc, act: Act, otherwise: Act = lambda: None) -> None:
        """Have something done at an instant, or at once where it is over; any thread may call.

        `otherwise` is done in its place where the thread ends before that, or has ended.
        """
        with self._lock:
            if not self._over.is_set():
                heapq.heappush(self._due, (at_utc, next(self._n), act, otherwise))
                return
        otherwise()

    def _run(self) -> None:
        while not self._over.wait(POLL_S):
            now = self.clock.now_utc()
            while (act := self._next(now)) is not None:
                try:
                    act()
                except Exception as error:
                    self._fault(f"{type(error).__name__}: {error}")

    def _next(self, now: Utc) -> Act | None:
        with self._lock:
            return heapq.heappop(self._due)[2] if self._due and self._due[0][0] <= now else None

    def _fault(self, why: str) -> None:
        fault = broker.PortFaulted(session_epoch=0, what="the simulated exchange", why=why, is_order_path=True)
        self._tell(self._name.removeprefix("port:"), fault)


class SimOrdersPort(InProcessBroker):
    """`port:ibkr:<desk>` of a `sim` desk.

    Only live quotes fill: while they are delayed or frozen an entry is denied, and of an exit, which waits for live
    ones, it is told why it does not fill. Both carry the code `delayed_data`.

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
        self._heard = market
        self._told_late: frozenset[str] = frozenset()  # the orders that were told to wait for live data
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

    def post(self, command: broker.BrokerCommand) -> None:
        """Take a command; one that the port closes before is refused, as other brokers' ports do."""
        self._loop.call_at(self._now(), lambda: self._take(command), lambda: self._refuse(command))

    def close(self) -> None:
        """End the thread, and give the book back."""
        self._loop.close()
        self._kept.close()

    def refuse_entries(self, why: str) -> None:
        """Refuse every entry until the process ends."""
        self._loop.latched = why

    def _refuse(self, command: broker.BrokerCommand) -> None:
        answer = answer_of_closed(command)
        if answer is not None:
            self._tell(answer)

    def _place(self, command: broker.PlaceOrder) -> None:
        order = command.order
        kind = self._heard.late_data((order.contract.con_id, *(leg.contract.con_id for leg in command.legs)))
        if kind is None or order.is_exit:
            super()._place(command)
            return
        denied = broker.OrderDenied(order_ref=order.order_ref, code=RejectCode.DELAYED_DATA, why=_late_text(kind))
        self._tell(denied)

    def _step(self) -> None:
        super()._step()
        late = dict(self._late_orders()) if self._is_up else {}
        for order_ref, kind in late.items():
            if order_ref not in self._told_late:
                self._tell(
                    broker.ErrorReported(
                        session_epoch=self._epoch, order_ref=order_ref, vendor_code=ORDER_NOTICE,
                        text=f"{RejectCode.DELAYED_DATA}: {_late_text(kind)}", meaning=meaning_of(ORDER_NOTICE),
                    )
                )  # fmt: skip
        self._told_late = frozenset(late)

    def _late_orders(self) -> Iterator[tuple[str, DataType]]:
        """Give the own orders that work and whose quotes are not live, and what they are."""
        for state in self._kept.open_orders():
            order = state.order
            kind = self._heard.late_data((order.con_id, *(leg.con_id for leg in order.legs)))
            if kind is not None and order.client_id == CLIENT_ID:
                yield order.order_ref, kind


def _late_text(kind: DataType) -> str:
    """Return why nothing fills on data of a kind that is not live."""
    words = kind.name.lower().replace("_", " ")
    return f"the quote is {words} (market data type {kind.value}), and orders of a sim desk fill on live quotes alone"
