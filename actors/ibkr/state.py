"""What the broker session's actor knows, which timers it arms, and what stays the same for a whole run."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from actors.gateway_link import LINK_TIMER
from domain.alarm import Severity
from domain.limits import ConnectionRules
from domain.orders.table import Order, Table, put
from domain.risk.kill import KillLevel
from domain.session.dialling import Link
from domain.session.modes import AccountClass, Mode
from domain.units import Qty, Utc
from messages import operator, risk
from messages.broker import AccountRead, BrokerRead
from messages.session import AccountChecked
from supervision.turn import Turn


class Timer(StrEnum):
    """What the actor waits for; the last two have an order, or a contract, as their subject."""

    LINK = LINK_TIMER
    READ_BACK = "read_back"  # the port's answer
    RECONCILE = "reconcile"  # the ledger's
    STABLE = "stable"  # the whole warm-up
    READ_AGAIN = "read_again"  # an order that was nowhere can be given up by then
    INACTIVE = "inactive"  # the reason of an order's being inactive
    AGREE = "agree"  # the broker's position after a fill


class Query(msgspec.Struct, frozen=True):
    """A question about an order, and the first read-back that may answer it."""

    order_ref: str
    reply_to: str
    read_n: int


class IBKRState(msgspec.Struct, kw_only=True):
    """Everything the actor knows.

    `reading` is the read-back under way, `read` the one at the ledger; `used_refs` are never sent again; `positions`
    are (con_id, signed qty) as the broker last reported them, `con_ids` those whose position is told.
    """

    link: Link = Link()
    mode: Mode = Mode.DATA_ONLY
    mode_n: int = 0
    is_reconciled: bool = False
    kill_level: KillLevel = KillLevel.RUNNING
    kill_epoch: int = 0
    read_n: int = 0
    reading: int | None = None
    read: BrokerRead | None = None
    is_read_wanted: bool = False
    table: Table = ()
    used_refs: frozenset[str] = frozenset()
    queries: tuple[Query, ...] = ()
    positions: tuple[tuple[int, Qty], ...] = ()
    con_ids: tuple[int, ...] = ()
    foreign: tuple[str, ...] = ()
    checked: AccountChecked | None = None
    account: AccountRead | None = None
    read_utc: Utc = Utc(0)

    @property
    def session_epoch(self) -> int:
        """The epoch of the present dial or link."""
        return self.link.session_epoch

    def position(self, con_id: int) -> Qty:
        """Return what the broker holds of a contract, signed, as far as reported."""
        return next((qty for held, qty in self.positions if held == con_id), Qty(0))

    def keep(self, order: Order) -> None:
        """Put an order into the table, in place of what was known of it."""
        self.table = put(self.table, order)

    def keep_position(self, con_id: int, qty: Qty) -> None:
        """Keep the broker's quantity of a contract; flat ones are left out."""
        rest = tuple(row for row in self.positions if row[0] != con_id)
        self.positions = tuple(sorted((*rest, (con_id, qty)))) if qty else rest

    def follow_contract(self, con_id: int) -> None:
        """Tell the position of this contract from now on what the broker holds."""
        self.con_ids = tuple(sorted({*self.con_ids, con_id}))


class Wiring(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses and rules of one desk."""

    desk: str
    port: str
    rules: ConnectionRules
    account_class: AccountClass
    wanted_port: int
    gateways: int

    def position(self, con_id: int) -> str:
        """Return the address of a contract's position."""
        return f"position:{self.desk}:{con_id}"


def halt(turn: Turn[IBKRState], key: str, text: str) -> None:
    """Raise the kill level to 1 and page a person."""
    turn.tell("kill", risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=text, by=turn.name))
    turn.publish(operator.Alarm(key=key, severity=Severity.CRITICAL, text=text, at_utc=turn.now))
