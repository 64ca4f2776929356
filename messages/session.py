"""Session conversation: the day's phases, and the link to the broker.

session -> all                PhaseChanged
ibkr    -> port:ibkr:<desk>   Dial, CloseLink, ReadBack    (quotes -> port:quotes:<desk> likewise)
port    => ibkr, quotes       LinkUp, LinkFailed, LinkLost, LinkRestored, BrokerRead, BrokerReadFailed,
                              AccountRead, FarmNotice
ibkr    -> ledger             Reconcile                    ledger -> ibkr  Reconciled
ibkr    -> risk, positions, quotes, notifier, web   ModeChanged, ReconcileFinished
"""

from __future__ import annotations

from datetime import date

from domain.instruments import Contract, OrderType, Side
from domain.modes import Mode
from domain.phases import Phase
from messages.base import Message


class _Session(Message, frozen=True, kw_only=True, tag=lambda name: f"session.{name}"):
    """Base of this conversation."""


class PhaseChanged(_Session, frozen=True, kw_only=True):
    """session -> all: the day's phase, with the day's instants (both the midnight before, on a day without trading)."""

    phase: Phase
    session: date
    open_utc: int
    close_utc: int
    at_utc: int


class PhaseWanted(_Session, frozen=True, kw_only=True):
    """anybody -> session: tell me the phase in force (on `Started`); the answer is `PhaseChanged`."""

    reply_to: str


class Dial(_Session, frozen=True, kw_only=True):
    """ibkr, quotes -> port: connect to this gateway; everything of older epochs is void."""

    session_epoch: int
    gateway_n: int


class CloseLink(_Session, frozen=True, kw_only=True):
    """ibkr, quotes -> port: end the link of this epoch."""

    session_epoch: int


class ReadBack(_Session, frozen=True, kw_only=True):
    """ibkr -> port: read open orders, executions, completed orders, positions, all or nothing."""

    session_epoch: int
    read_n: int


class LinkUp(_Session, frozen=True, kw_only=True):
    """port => ibkr, quotes: connected and synchronised. The account number stays in the port.

    `account_class` is `paper`, `live` or `unknown` by the account's form; `account_matches` compares it with the
    configured one (True where none is configured for paper).
    """

    session_epoch: int
    gateway_n: int
    port: int
    account_class: str
    account_matches: bool
    next_order_id: int


class LinkFailed(_Session, frozen=True, kw_only=True):
    """port => ibkr, quotes: the dial ended without a link; `is_id_in_use` (IB's 326) has its own pause."""

    session_epoch: int
    why: str
    vendor_code: int | None = None
    is_id_in_use: bool = False


class LinkLost(_Session, frozen=True, kw_only=True):
    """port => ibkr, quotes: a link that was up is lost (closed, heartbeat overdue, 1100, 2110).

    `is_socket_up`: the gateway still answers and will say when its own link to the broker is back.
    """

    session_epoch: int
    cause: str
    is_socket_up: bool = False


class LinkRestored(_Session, frozen=True, kw_only=True):
    """port => ibkr, quotes: 1101 (`data_lost`: resubscribe) or 1102 on a socket that stayed up."""

    session_epoch: int
    data_lost: bool


class FarmNotice(_Session, frozen=True, kw_only=True):
    """port => quotes, ibkr: a data farm notice; never an order fault."""

    session_epoch: int
    vendor_code: int
    text: str


class BrokerOrder(Message, frozen=True, kw_only=True, tag="session.BrokerOrder"):
    """An order in a read-back."""

    order_ref: str
    perm_id: int
    con_id: int
    side: Side
    qty: int
    filled_qty: int
    order_type: OrderType | None
    limit_ticks: int | None
    status: str
    is_working: bool


class BrokerExecution(Message, frozen=True, kw_only=True, tag="session.BrokerExecution"):
    """An execution in a read-back."""

    exec_id: str
    revision: int
    order_ref: str
    perm_id: int
    con_id: int
    side: Side
    qty: int
    price_ticks: int
    at_utc: int
    raw: str


class BrokerPosition(Message, frozen=True, kw_only=True, tag="session.BrokerPosition"):
    """A position in a read-back; `qty` is signed."""

    contract: Contract
    qty: int
    avg_cost_cents: int


class BrokerRead(_Session, frozen=True, kw_only=True):
    """port => ibkr: the broker's truth, complete or not at all (a stalled group is `BrokerReadFailed`)."""

    session_epoch: int
    read_n: int
    orders: tuple[BrokerOrder, ...]
    executions: tuple[BrokerExecution, ...]
    positions: tuple[BrokerPosition, ...]
    read_utc: int


class BrokerReadFailed(_Session, frozen=True, kw_only=True):
    """port => ibkr: the read-back stalled or broke."""

    session_epoch: int
    read_n: int
    why: str


class AccountRead(_Session, frozen=True, kw_only=True):
    """port => ibkr -> risk, web: account facts in cents; `day_trades_remaining` `None`: unlimited or unknown."""

    session_epoch: int
    nav_cents: int
    available_cents: int
    buying_power_cents: int
    day_trades_remaining: int | None
    read_utc: int


class AccountChecked(_Session, frozen=True, kw_only=True):
    """ibkr -> risk: what gate 3 looks at."""

    port: int
    account_class: str
    account_matches: bool


class ReconcileWanted(_Session, frozen=True, kw_only=True):
    """supervisor, position -> ibkr: something vital was lost or disputed; read the broker back and reconcile."""

    why: str


class Reconcile(_Session, frozen=True, kw_only=True):
    """ibkr -> ledger: compare the broker's truth with ours, adopt fills, name what is foreign."""

    session_epoch: int
    read: BrokerRead


class Unverified(Message, frozen=True, kw_only=True, tag="session.Unverified"):
    """A reserved entry that the broker knows nothing of (yet)."""

    intent_id: str
    order_ref: str
    contract: Contract
    deadline_utc: int


class Reconciled(_Session, frozen=True, kw_only=True):
    """ledger -> ibkr: the comparison. `cancel_refs` are own orders no longer wanted, `foreign_*` is not ours."""

    session_epoch: int
    adopted_fills: int
    cancel_refs: tuple[str, ...]
    foreign_positions: tuple[BrokerPosition, ...]
    foreign_orders: tuple[str, ...]
    unverified: tuple[Unverified, ...]
    mismatches: tuple[str, ...]


class ReconcileFinished(_Session, frozen=True, kw_only=True):
    """ibkr -> positions, risk: broker truth is in; held exits go now. `positions` are (con_id, signed qty)."""

    session_epoch: int
    positions: tuple[tuple[int, int], ...]
    read_utc: int


class ModeChanged(_Session, frozen=True, kw_only=True):
    """ibkr -> risk, positions, quotes, notifier, web: the mode in force."""

    mode: Mode
    mode_n: int
    session_epoch: int
    cause: str
    at_utc: int


class ModeWanted(_Session, frozen=True, kw_only=True):
    """risk, position -> ibkr: just started; tell me the mode, and what you know of the account and of broker truth."""

    reply_to: str


class Calendar(Message, frozen=True, kw_only=True, tag="session.Calendar"):
    """One exchange day: `None` instants mean closed all day."""

    session: date
    open_utc: int | None
    close_utc: int | None
