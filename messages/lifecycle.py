"""Lifecycle conversation: starts, crashes, restarts, timers.

runtime    -> actor        Started (first envelope of an incarnation), TimerFired
runtime    -> supervisor   ActorCrashed, MessageSetAside, ActorStuck, ActorNeeded
supervisor -> *ledger      ReadState     *ledger -> supervisor  StateRead
runtime    -> edge         CommandFailed
"""

from __future__ import annotations

from datetime import date

from domain.instruments import Contract, Side
from domain.position_cycle import ExitKind, ExitReason, PositionState
from messages.base import Message


class _Lifecycle(Message, frozen=True, kw_only=True, tag=lambda name: f"lifecycle.{name}"):
    """Base of this conversation."""


# -- what comes back from the ledger at a start -------------------------------------------------


class Reservation(Message, frozen=True, kw_only=True, tag="restored.Reservation"):
    """A non-terminal reservation."""

    intent_id: str
    signal_id: str
    source: str
    strategy: str
    ticker: str
    direction: int
    contract: Contract
    order_ref: str
    qty: int
    limit_ticks: int
    deadline_utc: int
    state: str


class OrderFill(Message, frozen=True, kw_only=True, tag="restored.OrderFill"):
    """Recorded totals of one order (highest revision of each execution)."""

    order_ref: str
    is_exit: bool
    side: Side
    qty: int
    cost_ticks: int
    fees_cents: int
    charged_qty: int
    first_utc: int


class KillRestored(Message, frozen=True, kw_only=True, tag="restored.Kill"):
    """The durable kill level; `level` 1 with `reason` when the ledger could not say."""

    level: int
    kill_epoch: int
    reason: str
    by: str


class GateDecision(Message, frozen=True, kw_only=True, tag="restored.GateDecision"):
    """One row of today's gate log, as the fold needs it; `code` is `None` for an accepted attempt."""

    source: str
    strategy: str
    ticker: str
    kind: str
    version: int
    bucket_utc: int
    alert_id: str
    code: str | None
    decided_utc: int


class ClosedTrade(Message, frozen=True, kw_only=True, tag="restored.ClosedTrade"):
    """A closed position of today, net of fees."""

    position_id: str
    strategy: str
    realised_cents: int
    fees_cents: int
    closed_utc: int


class RiskRestored(Message, frozen=True, kw_only=True, tag="restored.Risk"):
    """What the desk's ledger knows of the session."""

    session: date
    day_locked: str | None
    start_nav_cents: int | None
    decisions: tuple[GateDecision, ...]
    reservations: tuple[Reservation, ...]
    closed: tuple[ClosedTrade, ...]
    pending_alerts: tuple[tuple[str, int], ...]


class PositionRestored(Message, frozen=True, kw_only=True, tag="restored.Position"):
    """What the desk's ledger knows of one contract today: the live reservation, its orders' fills, the position row."""

    reservation: Reservation | None
    fills: tuple[OrderFill, ...]
    position_id: str | None
    state: PositionState
    exit_reason: ExitReason | None
    exit_kind: ExitKind | None
    exit_n: int
    exit_order_ref: str | None
    tier: int
    entry_spot_ticks: int | None
    entry_iv: float | None
    opened_utc: int | None
    took_part: bool


class UnraisedAlert(Message, frozen=True, kw_only=True, tag="restored.UnraisedAlert"):
    """A recorded alert without a gate row."""

    alert_id: str
    kind: str
    version: int
    ticker: str
    direction: int
    bucket_utc: int
    is_shadow: bool
    raised_utc: int


class LaneRestored(Message, frozen=True, kw_only=True, tag="restored.Lane"):
    """What the ledger knows of one lane's session: its last alerts and those that were never decided on."""

    last_alert_utc: int | None
    last_direction: int | None
    unraised: tuple[UnraisedAlert, ...]
    promoted: tuple[str, ...]


class IbkrRestored(Message, frozen=True, kw_only=True, tag="restored.Ibkr"):
    """Order refs that are non-terminal in the ledger, as (order_ref, con_id of its position, is_exit, qty)."""

    orders: tuple[tuple[str, int, bool, int], ...]
    run_n: int


class DaySoFar(Message, frozen=True, kw_only=True, tag="restored.Day"):
    """Contracts with a live reservation or position, so that their actors can be started: con_ids ascending."""

    con_ids: tuple[int, ...]


Restored = KillRestored | RiskRestored | PositionRestored | LaneRestored | IbkrRestored | DaySoFar


# -- the messages -------------------------------------------------------------------------------


class Started(_Lifecycle, frozen=True, kw_only=True):
    """runtime -> actor: the first envelope of an incarnation, with what the ledger gave back (`None`: nothing)."""

    name: str
    incarnation: int
    run_n: int
    restored: Restored | None = None


class TimerFired(_Lifecycle, frozen=True, kw_only=True):
    """runtime -> actor: the timer that it armed under `key` is due."""

    key: str
    due_utc: int


class ActorCrashed(_Lifecycle, frozen=True, kw_only=True):
    """runtime -> supervisor: this incarnation is over; neither state nor effects of the failing message happened."""

    name: str
    incarnation: int
    seq: int
    message_id: str
    error: str


class MessageSetAside(_Lifecycle, frozen=True, kw_only=True):
    """runtime -> supervisor, notifier: a dead letter; `is_vital` when it was a fill, an order's end or a kill."""

    name: str
    message_id: str
    tag: str
    why: str
    is_vital: bool


class ActorStuck(_Lifecycle, frozen=True, kw_only=True):
    """watchdog -> supervisor: a message has been in hand too long."""

    name: str
    incarnation: int
    message_id: str
    tag: str
    for_ms: int
    stack: str


class ActorNeeded(_Lifecycle, frozen=True, kw_only=True):
    """runtime -> supervisor: mail arrived for a name that a template can make (`position:<desk>:<conId>`)."""

    name: str


class ReadState(_Lifecycle, frozen=True, kw_only=True):
    """supervisor -> *ledger: what do you know of this actor? (behind everything the dead one told it)"""

    name: str
    reply_to: str
    session: date
    read_n: int = 0


class StateRead(_Lifecycle, frozen=True, kw_only=True):
    """*ledger -> supervisor: the state that comes back; `read_n` is the question's (an older answer is too old)."""

    name: str
    restored: Restored | None
    read_n: int = 0


class CommandFailed(_Lifecycle, frozen=True, kw_only=True):
    """runtime -> edge: the asked actor crashed on this command."""

    name: str
    error: str
