"""What the parts of a faulty day share: its plan, its market and exchange, the faults in force, what is watched."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from domain.instants import exchange_clock
from domain.units import Utc
from messages.base import Message
from messages.broker import PlaceOrder
from simulation.days.coverage import Coverage
from simulation.days.exchange import DayExchange
from simulation.days.faults import Fault
from simulation.days.plan import DayPlan, PlannedFault
from simulation.days.tape import TapeMarket

if TYPE_CHECKING:
    from simulation.days.runtime import DayRuntime
    from supervision.cell import Cell

RING: Final = 400


class Scene:
    """One faulty day in hand; it outlives the process that trades it.

    `is_dense` steps every port each second, as the plain stepped ports do; else they act when something can change.
    Of several desks each has a scene; findings, the last messages and injected crashes are those of the `first` one.
    """

    def __init__(
        self, plan: DayPlan, market: TapeMarket, exchange: DayExchange, coverage: Coverage, is_dense: bool,
        first: Scene | None = None,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.market = market
        self.exchange = exchange
        self.coverage = coverage
        self.is_dense = is_dense
        self.runtime: DayRuntime | None = None
        self.faults = list(plan.faults)
        self.broken: list[str] = [] if first is None else first.broken
        self.ring: deque[tuple[int, Utc, str, Message]] = deque(maxlen=RING) if first is None else first.ring
        self.disturbed_utc = Utc(0)
        self.touched_by_hand: dict[int, Utc] = {}
        self.came_back: dict[str, Utc] = {}
        self.under_way: dict[str, tuple[PlaceOrder, Utc]] = {}  # exits that were lost, and when they come back
        self.injected_crashes: set[str] = set() if first is None else first.injected_crashes
        self.read_faults: list[PlannedFault] = []
        self._seen: set[PlannedFault] = set()

    def turn(self, market: TapeMarket, exchange: DayExchange) -> None:
        """Begin another session at the broker."""
        self.market, self.exchange = market, exchange
        self.touched_by_hand, self.came_back, self.under_way = {}, {}, {}

    def active(self, kind: Fault, now: Utc, subject: str = "") -> PlannedFault | None:
        """Return a planned fault of this kind that is in force; `None` where there is none."""
        for fault in self.faults:
            is_meant = fault.kind is kind and (not subject or fault.subject == subject)
            if is_meant and fault.at_utc <= now < fault.until_utc:
                if fault not in self._seen:
                    self._seen.add(fault)
                    self.coverage.fault(kind)
                return fault
        return None

    def has(self, kind: Fault) -> bool:
        """Return whether such a fault is planned at all."""
        return any(fault.kind is kind for fault in self.faults)

    def disturb(self, now: Utc, until_utc: Utc | None = None) -> None:
        """Take note that nothing need agree for a while."""
        self.disturbed_utc = max(self.disturbed_utc, now, until_utc or now)

    def breaks(self, what: str) -> None:
        """Take note of a broken invariant, with New York's clock; the day ends with this instant."""
        if self.runtime is not None:
            what = f"{exchange_clock(self.runtime.clock.now_utc())} {what}"
        if what not in self.broken:
            self.broken.append(what)
        if self.runtime is not None:
            self.runtime.end("an invariant is broken")

    def cell(self, name: str) -> Cell | None:
        """Return an actor's cell in the process that runs now."""
        return None if self.runtime is None else self.runtime.cells.get(name)
