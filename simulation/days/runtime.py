"""The stepped runtime of faulty days: a look at everything after each instant, and an order for what shares one.

At a whole second the exchange matches first, then quotes are told, then everything else happens in the order in which
it was asked for. Both ways of stepping a day keep to that, so that ties decide no fill.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from domain.units import Utc
from messages.base import Message
from simulation.inprocess.port import STEPS_AFTER_CLOSE_NS
from simulation.market.market import Market
from supervision.cell import Cell
from supervision.mailbox import Mail
from supervision.stepped import SteppedRuntime

EXCHANGE_FIRST: Final = 0
QUOTES_NEXT: Final = 1


class DayRuntime(SteppedRuntime):
    """The stepped runtime with a look at everything after each instant."""

    after_step: Callable[[Utc], None] = staticmethod(lambda _now: None)

    def lose(self, is_lost: Callable[[Message], bool]) -> None:
        """Let messages to actors be lost of which this says so; nobody hears of them."""
        put = self._put

        def put_or_lose(cell: Cell, mail: Mail) -> None:
            if not is_lost(mail.message):
                put(cell, mail)

        self._put = put_or_lose  # type: ignore[method-assign]

    def _drain(self) -> None:
        if self._ready:
            super()._drain()
        self.after_step(self._virtual.at_utc)

    def stall(self, cell: Cell, until_utc: Utc) -> None:
        """Let an actor take no mail until an instant, like a thread that does not get its turn; its mail waits."""
        cell.is_up = False
        incarnation = cell.incarnation

        def go_on() -> None:
            if cell.incarnation == incarnation and not cell.is_up and not cell.is_asleep:
                cell.is_up = True
                self._ready.extend([cell] * cell.mailbox.depth())

        self.call_at(until_utc, go_on)


def every(runtime: DayRuntime, period_ns: int, rank: int, act: Callable[[], None], market: Market) -> None:
    """Call `act` every period until some time after the market's close."""

    def again() -> None:
        act()
        now = runtime.clock.now_utc()
        if now <= market.close_utc + STEPS_AFTER_CLOSE_NS:
            runtime.call_first_at(now + period_ns, rank, again)

    runtime.call_first_at(runtime.clock.now_utc() + period_ns, rank, again)
