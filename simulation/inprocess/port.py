"""What the ports of the stepped runtime have in common: the same commands and facts as the real ones, in virtual time.

All of them share one `Market` and move it to the virtual instant in hand before they look at it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from domain.instants import MS, SECOND
from domain.session.modes import AccountClass
from domain.units import Utc
from messages import broker
from messages.base import Message
from simulation.market.market import Market
from supervision.stepped import SteppedRuntime

LINK_NS = 5 * MS
STEP_NS = SECOND
STEPS_AFTER_CLOSE_NS = 600 * SECOND
NIGHT_STEP_NS = 60 * SECOND  # while nothing trades


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway is logged in to: its port, and the class of the account."""

    port: int = 4002
    account_class: AccountClass = AccountClass.PAPER
    account_matches: bool = True


PAPER: Final = Login()
C = TypeVar("C", bound=Message)


class InProcessPort(ABC, Generic[C]):
    """A port without a thread: a name, an owner, and the runtime's virtual time; `C` are its commands."""

    def __init__(self, owner: str, runtime: SteppedRuntime, market: Market) -> None:
        self._owner = owner
        self._name = f"port:{owner}"
        self._runtime = runtime
        self._market = market
        self._now: Callable[[], Utc] = runtime.clock.now_utc

    @property
    def name(self) -> str:
        """The address, `port:<owner>`."""
        return self._name

    def post(self, command: C) -> None:
        """Take a command; what it brings about comes later, never on the caller's stack."""
        self._runtime.call_at(self._now(), lambda: self._take(command))

    def start(self) -> None:
        """Nothing to start: the port lives on the runtime's virtual time."""

    def close(self) -> None:
        """Nothing to end: what is still to come ends with the runtime."""

    @abstractmethod
    def _take(self, command: C) -> None:
        """Carry out a command."""

    def _tell(self, message: Message) -> None:
        self._runtime.post(self._owner, message, self._name)

    def _market_now(self) -> Utc:
        """Return the virtual instant, with the market moved there."""
        now = self._now()
        self._market.step(max(now, self._market.now_utc))
        return now

    def _later(self, wait_ns: int, act: Callable[[], None]) -> None:
        self._runtime.call_at(self._now() + wait_ns, act)

    def _every(self, period_ns: int, act: Callable[[], None]) -> None:
        call_at, now_utc = self._runtime.call_at, self._now

        def again() -> None:
            wait_ns = max(period_ns, STEP_NS)  # one that failed is done again, and not as fast as it can fail
            try:
                act()
                wait_ns = period_ns
            finally:
                now, market = now_utc(), self._market
                is_over = now > market.close_utc + STEPS_AFTER_CLOSE_NS
                if market.over_utc is not None and (is_over or now < market.path.start_utc):
                    call_at(now + max(wait_ns, NIGHT_STEP_NS), again)
                elif not is_over:
                    call_at(now + wait_ns, again)

        self._later(period_ns, again)


class LinkedPort(InProcessPort[C]):
    """A port with a link that is dialled and can be lost."""

    def __init__(self, owner: str, runtime: SteppedRuntime, market: Market, login: Login = PAPER) -> None:
        super().__init__(owner, runtime, market)
        self._login = login
        self._epoch = 0
        self._is_up = False
        self._down_until_utc = Utc(0)

    def drop(self, duration_ns: int) -> None:
        """Lose the link now and refuse dials for `duration_ns`."""
        self._down_until_utc = self._now() + duration_ns
        if self._is_up:
            self._is_up = False
            self._tell(broker.LinkLost(session_epoch=self._epoch, cause="connection closed"))

    def _dial(self, command: broker.Dial) -> None:
        self._epoch = command.session_epoch
        self._later(LINK_NS, lambda: self._connect(command))

    def _connect(self, command: broker.Dial) -> None:
        if command.session_epoch != self._epoch:
            return
        if self._now() < self._down_until_utc:
            why = "connection refused; is the gateway running?"
            self._tell(broker.LinkFailed(session_epoch=self._epoch, why=why))
            return
        self._is_up = True
        self._tell(
            broker.LinkUp(
                session_epoch=self._epoch, gateway_n=command.gateway_n, port=self._login.port,
                account_class=self._login.account_class, account_matches=self._login.account_matches, next_order_id=1,
            )
        )  # fmt: skip
        self._on_link()

    def _on_link(self) -> None:
        """Do what follows a link."""
