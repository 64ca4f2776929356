"""What the broker session's actor knows, which timers it arms, and what stays the same for a whole run."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

import msgspec

from actors.gateway_link import LINK_TIMER
from domain.alarm import Severity
from domain.keyed import Keyed
from domain.limits import ConnectionRules, DayRules
from domain.orders.table import Order, Table, put
from domain.risk.kill import KillLevel
from domain.session.dialling import Link
from domain.session.gateway_health import GatewayHealth
from domain.session.modes import ALLOWS_EXITS, AccountClass, Mode
from domain.session.phases import Phase
from domain.units import Qty, Utc
from messages import operator, risk
from messages.broker import AccountRead, BrokerRead, Execution, GroupFailure
from messages.session import AccountChecked
from supervision.turn import Turn


class Timer(StrEnum):
    """What the actor waits for; the last seven have a subject: an instant of the day, an order, a contract, a fill.

    `READ_AGAIN` has one where an order in doubt is asked about later.
    """

    LINK = LINK_TIMER
    READ_BACK = "read_back"  # the port's answer
    RECONCILE = "reconcile"  # the ledger's
    STABLE = "stable"  # the whole warm-up
    READ_AGAIN = "read_again"  # an order that was nowhere can be given up by then
    READ_REST = "read_rest"  # groups that could not be read are asked for again
    PREOPEN_CHECK = "preopen_check"  # the desk looks at its gateway
    PREOPEN_REPORT = "preopen_report"  # and says what is missing
    HOLDINGS_READ = "holdings_read"  # the broker's book is read before it is looked at
    HOLDINGS = "holdings"  # everything should be closed by now
    INACTIVE = "inactive"  # the reason of an order's being inactive
    CANCEL = "cancel"  # the end of an order whose cancel was sent
    AGREE = "agree"  # the broker's position after a fill
    RECORD = "record"  # the ledger's word that it has an execution
    LEGS = "legs"  # of a combination's order: its legs should have filled alike by now


class Query(msgspec.Struct, frozen=True):
    """A question about an order, and the first read-back that may answer it; of a position in `con_id`, if told."""

    order_ref: str
    reply_to: str
    read_n: int
    con_id: int | None = None


class Stray(msgspec.Struct, frozen=True):
    """An order of somebody else that works to sell a contract of ours (`qty` is what it may still sell)."""

    name: str
    con_id: int
    qty: Qty


class ExitSent(msgspec.Struct, frozen=True):
    """When a new exit order of a contract was sent, as long as nothing of it has filled."""

    order_ref: str
    con_id: int
    at_utc: Utc


class IBKRState(msgspec.Struct, kw_only=True):
    """Everything the actor knows.

    `exits_go_on`: it stands down for a switch, and its link has not been lost since. `is_known`: open orders and
    positions were read on this link, so exits may leave; `is_reconciled`: all was read and the ledger has compared it.
    `reading` is the read-back under way, `read` the one at the ledger; `failed` are the groups that the last one could
    not read. `used_refs` are never sent again; `positions` are (con_id, signed qty) as the broker last reported them,
    `touched` those reported since the read-back under way began, `con_ids` those whose position is told. `unrecorded`
    are executions of which the ledger has not spoken; of those `told_early` (id and revision) it gets more time,
    because the machine was busy; for so many ms that has excused it from comparing since it last did:
    `reconcile_excused_ms`. `is_morning`: the next whole read-back opens the session. `is_ending`: the process ends, so
    no entry leaves; `withdrawn_for` waits for the word that none is under way.
    """

    link: Link = Link()
    health: tuple[GatewayHealth, ...] = ()
    mode: Mode = Mode.DATA_ONLY
    mode_n: int = 0
    exits_go_on: bool = False
    is_known: bool = False
    is_reconciled: bool = False
    kill_level: KillLevel = KillLevel.RUNNING
    kill_epoch: int = 0
    phase: Phase | None = None
    session: date | None = None
    is_morning: bool = False
    is_ending: bool = False
    withdrawn_for: str = ""
    read_n: int = 0
    reading: int | None = None
    read: BrokerRead | None = None
    failed: tuple[GroupFailure, ...] = ()
    is_read_wanted: bool = False
    table: Table = Table()
    used_refs: Keyed[str] = Keyed()
    queries: tuple[Query, ...] = ()
    exits_sent: tuple[ExitSent, ...] = ()
    strays: tuple[Stray, ...] = ()
    last_resort_utc: Utc | None = None
    positions: tuple[tuple[int, Qty], ...] = ()
    touched: frozenset[int] = frozenset()
    con_ids: tuple[int, ...] = ()
    unrecorded: tuple[Execution, ...] = ()
    told_early: frozenset[str] = frozenset()
    reconcile_excused_ms: int = 0
    foreign: tuple[str, ...] = ()
    checked: AccountChecked | None = None
    account: AccountRead | None = None
    account_fault: str = ""
    account_key: str = ""
    read_utc: Utc = Utc(0)

    @property
    def session_epoch(self) -> int:
        """The epoch of the present dial or link."""
        return self.link.session_epoch

    @property
    def next_read_n(self) -> int:
        """The first read-back that begins after now."""
        return self.read_n + 1

    @property
    def allows_exits(self) -> bool:
        """Whether an exit may leave: the mode says so, or what an exit needs was read on this link."""
        return self.mode in ALLOWS_EXITS or (self.is_known and self.link.is_up)

    @property
    def refs(self) -> dict[int, str]:
        """Our references by the broker's own number, for what it tells without one."""
        return {order.perm_id: order.order_ref for order in self.table if order.perm_id}

    def position(self, con_id: int) -> Qty:
        """Return what the broker holds of a contract, signed, as far as reported."""
        return next((qty for held, qty in self.positions if held == con_id), Qty(0))

    def keep(self, order: Order) -> None:
        """Put an order into the table, in place of what was known of it."""
        self.table = put(self.table, order)

    def use_ref(self, order_ref: str) -> None:
        """Take note of a reference that is never sent again."""
        if order_ref not in self.used_refs:
            self.used_refs = self.used_refs.put(order_ref, order_ref)

    def keep_position(self, con_id: int, qty: Qty) -> None:
        """Keep the broker's quantity of a contract as of now; flat ones are left out."""
        rest = [row for row in self.positions if row[0] != con_id]
        self.positions = tuple(sorted([*rest, (con_id, qty)]) if qty else rest)
        self.touched |= {con_id}

    def follow_contract(self, con_id: int) -> None:
        """Tell the position of this contract from now on what the broker holds."""
        if con_id not in self.con_ids:
            self.con_ids = tuple(sorted((*self.con_ids, con_id)))

    def forget_contracts(self) -> None:
        """Follow only what a session that is over leaves: what the broker holds, and what an order may still change."""
        alive = {con_id for order in self.table.under_way for con_id in order.con_ids}
        self.con_ids = tuple(con_id for con_id in self.con_ids if con_id in alive or self.position(con_id))


class Wiring(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses and rules of one desk; `record_wait_ms` is what the ledger has for an execution."""

    desk: str
    port: str
    rules: ConnectionRules
    day: DayRules
    record_wait_ms: int
    account_class: AccountClass
    wanted_port: int
    gateways: int

    def position(self, con_id: int) -> str:
        """Return the address of a contract's position."""
        return f"position:{self.desk}:{con_id}"


def alarm(turn: Turn[IBKRState], key: str, severity: Severity, text: str) -> None:
    """Tell people what is wrong, and what to do about it."""
    turn.publish(operator.Alarm(key=key, severity=severity, text=text, at_utc=turn.now))


def halt(turn: Turn[IBKRState], key: str, text: str) -> None:
    """Raise the kill level to 1 and page a person."""
    turn.tell("kill", risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=text, by=turn.name))
    alarm(turn, key, Severity.CRITICAL, text)
