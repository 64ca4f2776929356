"""Broker conversation: all commands and reports of a broker's order port: what a new broker must speak, and no more.

A port never blocks and never raises out of `post`. What it hears it tells its owner. Everything that belongs to a link
carries its session epoch; what is told of an older epoch is void. `BrokerCommand` and `BrokerFact` are the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar, Final, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from domain.instruments import Contract, OrderType, Side
from domain.orders.capabilities import BrokerCapability
from domain.orders.combo import ComboLeg
from domain.orders.request import OrderChange, OrderRequest
from domain.orders.table import CodeMeaning, OrderStatus
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import AccountClass
from domain.units import Cents, Qty, Ticks, Utc
from messages.base import Command, Event, Report


def _tag(name: str) -> str:
    return f"broker.{name}"


# -- the link -----------------------------------------------------------------------------------


class Dial(Command, frozen=True, kw_only=True, tag=_tag):
    """Connect to this gateway; everything of older epochs is void."""

    session_epoch: int
    gateway_n: int


class CloseLink(Command, frozen=True, kw_only=True, tag=_tag):
    """End the link of this epoch."""

    session_epoch: int


class LinkUp(Report, frozen=True, kw_only=True, tag=_tag):
    """Connected and synchronised. The account number stays in the port.

    `account_class` is by the account's form; `account_matches` compares it with the configured one (True where none is
    configured for paper). `account_key` tells it apart from others without its number; empty where a port tells none.
    """

    session_epoch: int
    gateway_n: int
    port: int
    account_class: AccountClass
    account_matches: bool
    next_order_id: int
    account_key: str = ""


class LinkFailed(Report, frozen=True, kw_only=True, tag=_tag):
    """The dial ended without a link; `is_id_in_use` (IB's 326) has its own pause."""

    session_epoch: int
    why: str
    vendor_code: int | None = None
    is_id_in_use: bool = False


class LinkLost(Report, frozen=True, kw_only=True, tag=_tag):
    """A link that was up is lost (closed, heartbeat overdue, 1100, 2110).

    `is_socket_up`: the gateway still answers and will say when its own link to the broker is back.
    """

    session_epoch: int
    cause: str
    is_socket_up: bool = False


class LinkRestored(Report, frozen=True, kw_only=True, tag=_tag):
    """1101 (`data_lost`: resubscribe) or 1102 on a socket that stayed up."""

    session_epoch: int
    data_lost: bool


class FarmNotice(Report, frozen=True, kw_only=True, tag=_tag):
    """A data farm notice; never an order fault. `is_broken`: the farm is lost (2103, 2105, 2157), not back or idle."""

    session_epoch: int
    vendor_code: int
    text: str
    is_broken: bool = False


class AccountRead(Event, frozen=True, kw_only=True, tag=_tag):
    """Account facts; `day_trades_remaining` `None`: the broker does not say; negative: unlimited.

    `cash_cents` is for people alone (`None`: the broker does not say).
    """

    session_epoch: int
    nav_cents: Cents
    available_cents: Cents
    buying_power_cents: Cents
    day_trades_remaining: int | None
    read_utc: Utc
    cash_cents: Cents | None = None


class AccountUnreadable(Event, frozen=True, kw_only=True, tag=_tag):
    """Account values came that cannot be used (another currency, none at all); `why` names what came and is wanted."""

    session_epoch: int
    why: str
    read_utc: Utc


class ClockRead(Event, frozen=True, kw_only=True, tag=_tag):
    """The broker's clock against ours: the offset (broker less ours) lies between `least_ms` and `most_ms`.

    The broker tells whole seconds, so one answer bounds the offset within a second and several narrow it.
    """

    session_epoch: int
    least_ms: int
    most_ms: int
    round_trip_ms: int
    read_utc: Utc


class PortFaulted(Report, frozen=True, kw_only=True, tag=_tag):
    """A task of the port died (`what` it did), or a message could not be read; nothing of a port dies unseen.

    `is_order_path`: orders or executions may be affected, so the broker must be read back.
    """

    session_epoch: int
    what: str
    why: str
    is_order_path: bool


# -- orders -------------------------------------------------------------------------------------


class LatchKill(Command, frozen=True, kw_only=True, tag=_tag):
    """Entries of an older epoch, or at this level, must not be written."""

    level: KillLevel
    kill_epoch: int


class PlaceOrder(Command, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """Write this order, unless the deadline, the session epoch or the kill latch says no.

    With `legs` it is one order for all of them at their net price, and its contract their `combo_contract`.
    """

    IS_VITAL: ClassVar[bool] = True
    GOES_FIRST: ClassVar[bool] = True
    order: OrderRequest
    session_epoch: int
    kill_epoch: int
    legs: tuple[ComboLeg, ...] = ()

    def is_synced_first(self) -> bool:
        """Return whether it is an entry: an exit never waits for a disk."""
        return not self.order.is_exit


class AskMargin(Command, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """Ask what this order would need of the account's margin; it is not placed. The answer is `MarginTold`.

    `legs` as of `PlaceOrder`.
    """

    session_epoch: int
    request_id: str
    reply_to: str
    order: OrderRequest
    legs: tuple[ComboLeg, ...] = ()


class MarginTold(Report, frozen=True, kw_only=True, tag=_tag):
    """The answer to `AskMargin`, with its id and who asked; `None` where the broker gave none, for the reason `why`."""

    session_epoch: int
    request_id: str
    reply_to: str
    init_margin_change_cents: Cents | None
    why: str = ""


class AmendOrder(Command, frozen=True, kw_only=True, tag=_tag):
    """Write this change of a working order."""

    IS_VITAL: ClassVar[bool] = True
    GOES_FIRST: ClassVar[bool] = True
    change: OrderChange
    session_epoch: int
    kill_epoch: int

    def is_synced_first(self) -> bool:
        """Return whether it changes an entry: an exit never waits for a disk."""
        return not self.change.is_exit


class WithdrawOrder(Command, frozen=True, kw_only=True, tag=_tag):
    """Write the cancel of an order (by our reference)."""

    order_ref: str
    session_epoch: int


class CancelEverything(Command, frozen=True, kw_only=True, tag=_tag):
    """Cancel every order of the account, whoever placed it (the broker's global cancel): the last resort."""

    session_epoch: int


class OrderSent(Report, frozen=True, kw_only=True, tag=_tag):
    """The bytes were handed to the socket; `order_id` is the session's."""

    order_ref: str
    session_epoch: int
    order_id: int
    sent_utc: Utc


class OrderDenied(Report, frozen=True, kw_only=True, tag=_tag):
    """It never reached the socket; `broker_qty` is what the broker holds (signed), where that was the reason."""

    order_ref: str
    code: RejectCode
    why: str
    broker_qty: Qty | None = None


class OrderStatusReported(Report, frozen=True, kw_only=True, tag=_tag):
    """An orderStatus or openOrder: a hint, never a fill; `raw` is the vendor's text."""

    session_epoch: int
    order_ref: str
    perm_id: int
    status: OrderStatus
    filled_qty: Qty
    remaining_qty: Qty
    qty: Qty
    order_type: OrderType | None
    limit_ticks: Ticks | None
    raw: str


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One execution: `exec_id` is its base, `revision` the last part of the vendor's id; `raw` is the vendor's text.

    A combination has one of the whole, under `COMBO_CON_ID` and at the net price, which holds nothing by itself, and
    one of each leg.

    `is_time_uncertain`: the vendor's instant could not be read, `at_utc` is when it was heard. `is_adopted`: the broker
    holds what no execution explains, so this one was made from its position; the price is the broker's average cost.
    """

    exec_id: str
    revision: int
    order_ref: str
    perm_id: int
    con_id: int
    side: Side
    qty: Qty
    price_ticks: Ticks
    at_utc: Utc
    raw: str
    is_time_uncertain: bool = False
    is_adopted: bool = False


class ExecutionReported(Report, frozen=True, kw_only=True, tag=_tag):
    """An execution, live or read back."""

    IS_VITAL: ClassVar[bool] = True
    session_epoch: int
    execution: Execution


class CommissionReported(Report, frozen=True, kw_only=True, tag=_tag):
    """The fee of one execution; `None`: told in another currency than USD, so that it is not known (`raw` has it)."""

    session_epoch: int
    exec_id: str
    revision: int
    commission_cents: Cents | None
    raw: str


class ErrorReported(Report, frozen=True, kw_only=True, tag=_tag):
    """A vendor error or notice; `order_ref` is `None` where it concerns no order of ours."""

    session_epoch: int
    order_ref: str | None
    vendor_code: int
    text: str
    meaning: CodeMeaning = CodeMeaning.ORDER_UNKNOWN


class PositionReported(Report, frozen=True, kw_only=True, tag=_tag):
    """A live position message; `qty` is signed."""

    session_epoch: int
    contract: Contract
    qty: Qty
    avg_cost_cents: Cents


# -- the read-back ------------------------------------------------------------------------------


class ReadGroup(StrEnum):
    """What a read-back asks for; each succeeds or fails by itself."""

    ORDERS = "open orders"
    EXECUTIONS = "executions"
    COMPLETED = "completed orders"
    POSITIONS = "positions"


class GroupFailure(msgspec.Struct, frozen=True):
    """A group that could not be read; `why` is in the broker's words where there are any."""

    group: ReadGroup
    why: str


class ReadBack(Command, frozen=True, kw_only=True, tag=_tag):
    """Read open orders, executions, completed orders and positions."""

    session_epoch: int
    read_n: int


QTY_UNKNOWN: Final = Qty(2**31 - 1)  # of an order: as much as there is, to whoever must not sell the same again


class BrokerOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order in a read-back; `is_of_other_client`: only that client can change or cancel it.

    Of an order that is not ours `con_id` may be 0 (no contract of its own, or none that can be read) and `qty`
    `QTY_UNKNOWN`.
    """

    order_ref: str
    perm_id: int
    con_id: int
    side: Side
    qty: Qty
    filled_qty: Qty
    order_type: OrderType | None
    limit_ticks: Ticks | None
    status: OrderStatus
    is_working: bool
    is_of_other_client: bool = False


Referenced = TypeVar("Referenced", BrokerOrder, Execution)


def with_ref(row: Referenced, refs: Mapping[int, str]) -> Referenced:
    """Return a row that bears no reference with that of its perm id; any other, or one that is not known, as it is."""
    return row if row.order_ref else replace(row, order_ref=refs.get(row.perm_id, ""))


class BrokerPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A position in a read-back; `qty` is signed, of what is no option `QTY_UNKNOWN` where it cannot be read."""

    contract: Contract
    qty: Qty
    avg_cost_cents: Cents


class BrokerRead(Report, frozen=True, kw_only=True, tag=_tag):
    """The broker's truth, group by group: a group that failed (or lost a row) stands in `failed`, never as empty."""

    session_epoch: int
    read_n: int
    orders: tuple[BrokerOrder, ...]
    executions: tuple[Execution, ...]
    positions: tuple[BrokerPosition, ...]
    read_utc: Utc
    failed: tuple[GroupFailure, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every group was read whole; entries need that."""
        return not self.failed

    @property
    def allows_exits(self) -> bool:
        """Whether open orders and positions were read: with the ledger they are enough for an exit."""
        return not any(failure.group in (ReadGroup.ORDERS, ReadGroup.POSITIONS) for failure in self.failed)

    @property
    def nameless(self) -> frozenset[int]:
        """The perm ids of orders and executions that bear no reference; 0 is none."""
        orders = (order.perm_id for order in self.orders if order.perm_id and not order.order_ref)
        executions = (fill.perm_id for fill in self.executions if fill.perm_id and not fill.order_ref)
        return frozenset((*orders, *executions))

    def with_refs(self, refs: Mapping[int, str]) -> BrokerRead:
        """Return it with the references that rows lack, by perm id; itself where no row lacks one that is known."""
        if self.nameless.isdisjoint(refs):
            return self
        return replace(
            self,
            orders=tuple(with_ref(order, refs) for order in self.orders),
            executions=tuple(with_ref(execution, refs) for execution in self.executions),
        )


class BrokerReadFailed(Report, frozen=True, kw_only=True, tag=_tag):
    """The read-back as a whole stalled or broke (the link is no good)."""

    session_epoch: int
    read_n: int
    why: str


LinkCommand = Dial | CloseLink
LinkFact = LinkUp | LinkFailed | LinkLost | LinkRestored | FarmNotice
BrokerCommand = (
    LinkCommand | ReadBack | LatchKill | PlaceOrder | AmendOrder | WithdrawOrder | CancelEverything | AskMargin
)  # fmt: skip
BrokerFact = (
    LinkFact | AccountRead | AccountUnreadable | ClockRead | PortFaulted
    | OrderSent | OrderDenied | OrderStatusReported | ExecutionReported | CommissionReported
    | ErrorReported | PositionReported | BrokerRead | BrokerReadFailed | MarginTold
)  # fmt: skip


class BrokerPort(Protocol):
    """What stands between the broker session's actor and a broker: commands go in here, facts are told to the owner."""

    @property
    def name(self) -> str:
        """The address, `port:ibkr:<desk>`; the owner's is the same without `port:`."""

    @property
    def capabilities(self) -> frozenset[BrokerCapability]:
        """What this broker can do beyond single orders, as `domain/orders/capabilities.py` has it by name."""

    def post(self, command: BrokerCommand) -> None:
        """Take a command; neither block nor raise."""

    def start(self) -> None:
        """Start the port's own thread or loop."""

    def close(self) -> None:
        """End the link and the thread."""
