"""Orders conversation: an intent is reserved, an order is sent, acknowledged, filled, closed.

risk     -> ledger     ReserveEntry            ledger -> risk   EntryReserved | EntryRefused
risk     -> ledger     ReleaseReservation, RecordDenial
risk     -> position   OpenPosition
position -> risk       RenewPermit             risk -> position  PermitRenewed | PermitRefused
position -> ibkr       SubmitOrder, ModifyOrder, CancelOrder, QueryOrder
ibkr     -> port       PlaceOrder, AmendOrder, WithdrawOrder, session.ReadBack
port     => ibkr       OrderSent, OrderDenied, StatusHeard, ExecutionHeard, CommissionHeard, ErrorHeard
ibkr     -> position   OrderSent, OrderDenied, OrderAcknowledged, OrderRejected, OrderClosed, OrderFound, OrderNotFound
ibkr     -> ledger     RecordExecution, RecordCommission, RecordOrderIds
ledger   -> position   FillRecorded            (the only way in which a fill reaches a position)
position -> ledger     RecordExitIntent        ledger -> position  ExitIntentRecorded
"""

from __future__ import annotations

from datetime import date

from domain.instruments import Contract, OrderType, Side
from domain.orders_table import CodeMeaning
from domain.reject import RejectCode
from messages.base import Message


class _Orders(Message, frozen=True, kw_only=True, tag=lambda name: f"orders.{name}"):
    """Base of this conversation."""


class Permit(Message, frozen=True, kw_only=True, tag="orders.Permit"):
    """Leave to send or raise one entry: dies with a newer kill epoch, another session epoch, or at `expires_utc`."""

    kill_epoch: int
    session_epoch: int
    expires_utc: int


class Verdict(Message, frozen=True, kw_only=True, tag="orders.Verdict"):
    """One gate's answer: `outcome` is `pass`, `not_fed` or `reject`; `looked_at` names the inputs."""

    gate: int
    name: str
    outcome: str
    code: RejectCode | None = None
    measured: float | None = None
    limit: float | None = None
    unit: str = ""
    looked_at: str = ""


# -- what-if (short legs only) ------------------------------------------------------------------


class RequestWhatIf(_Orders, frozen=True, kw_only=True):
    """risk -> ibkr -> port: what would this order do to margin?"""

    request_id: str
    reply_to: str
    contract: Contract
    side: Side
    qty: int
    limit_ticks: int
    expires_utc: int


class WhatIfRead(_Orders, frozen=True, kw_only=True):
    """ibkr -> risk: initial margin change in cents."""

    request_id: str
    init_margin_change_cents: int


class WhatIfFailed(_Orders, frozen=True, kw_only=True):
    """ibkr -> risk: no answer, and why."""

    request_id: str
    why: str


# -- reservation --------------------------------------------------------------------------------


class Leg(Message, frozen=True, kw_only=True, tag="orders.Leg"):
    """One leg of an intent; `decision_*` are the quote that the gates saw (slippage is measured against its mid)."""

    contract: Contract
    side: Side
    qty: int
    limit_ticks: int
    order_ref: str
    decision_bid_ticks: int | None = None
    decision_ask_ticks: int | None = None


class ReserveEntry(_Orders, frozen=True, kw_only=True):
    """risk -> ledger: in one transaction reserve the legs, write the gate row and the watermark, re-check the counts.

    The re-check limits ride along so that the store needs no settings: `max_positions`, `per_ticker`,
    `max_trades` (this strategy, this session), `one_position_only`, `direction`.
    """

    intent_id: str
    signal_id: str
    alert_id: str
    source: str
    strategy: str
    ticker: str
    kind: str
    version: int
    direction: int
    bucket_utc: int
    session: date
    legs: tuple[Leg, ...]
    verdicts: tuple[Verdict, ...]
    max_positions: int
    per_ticker: int
    max_trades: int
    one_position_only: bool
    deadline_utc: int
    decided_utc: int
    expires_utc: int


class EntryReserved(_Orders, frozen=True, kw_only=True):
    """ledger -> risk: COMMIT returned; the intent holds its contracts."""

    intent_id: str


class EntryRefused(_Orders, frozen=True, kw_only=True):
    """ledger -> risk: nothing was reserved; the refusal's gate row is written."""

    intent_id: str
    code: RejectCode
    measured: float | None = None
    limit: float | None = None
    looked_at: str = ""


class ReleaseReservation(_Orders, frozen=True, kw_only=True):
    """risk, position -> ledger: give the intent up; before its reserve it is a tombstone."""

    intent_id: str
    reason: str


class RecordDenial(_Orders, frozen=True, kw_only=True):
    """risk -> ledger: the gate row and the watermark of a refused attempt."""

    signal_id: str
    alert_id: str
    source: str
    strategy: str
    ticker: str
    kind: str
    version: int
    bucket_utc: int
    session: date
    verdicts: tuple[Verdict, ...]
    code: RejectCode
    decided_utc: int


class EntryDenied(_Orders, frozen=True, kw_only=True):
    """risk -> lane, web, notifier: this signal was refused by us, with the deciding measure."""

    signal_id: str
    alert_id: str
    ticker: str
    code: RejectCode
    gate: int
    measured: float | None
    limit: float | None
    unit: str
    looked_at: str


class EntryHandedOver(_Orders, frozen=True, kw_only=True):
    """risk -> lane, web: this signal became an order."""

    signal_id: str
    alert_id: str
    intent_id: str
    order_ref: str
    con_id: int


class OpenPosition(_Orders, frozen=True, kw_only=True):
    """risk -> position: open with this reserved intent; `decision_*` are what the gates saw."""

    intent_id: str
    signal_id: str
    source: str
    strategy: str
    direction: int
    contract: Contract
    order_ref: str
    qty: int
    limit_ticks: int
    decision_bid_ticks: int
    decision_ask_ticks: int
    decision_spot_ticks: int
    permit: Permit
    deadline_utc: int


class RenewPermit(_Orders, frozen=True, kw_only=True):
    """position -> risk: my entry works and may pay more; the permit that opened it has expired."""

    intent_id: str
    order_ref: str
    reply_to: str


class PermitRenewed(_Orders, frozen=True, kw_only=True):
    """risk -> position: what stood at the hand-over still stands."""

    order_ref: str
    permit: Permit


class PermitRefused(_Orders, frozen=True, kw_only=True):
    """risk -> position: it no longer stands (`why` is a reject code where there is one); the entry stays as it is."""

    order_ref: str
    why: str


# -- orders between position and broker session -------------------------------------------------


class SubmitOrder(_Orders, frozen=True, kw_only=True):
    """position -> ibkr: send this order (tif DAY); an entry carries a permit, an exit needs none.

    `held_qty` of an exit is what the ledger says is held: min(ledger, broker) bounds what is sent (`exit_oversell`).
    """

    order_ref: str
    reply_to: str
    contract: Contract
    side: Side
    qty: int
    order_type: OrderType
    limit_ticks: int | None
    aux_ticks: int | None = None
    is_exit: bool
    permit: Permit | None
    held_qty: int = 0
    deadline_utc: int


class ModifyOrder(_Orders, frozen=True, kw_only=True):
    """position -> ibkr: change price, type or quantity of a working order; raising an entry needs a new permit.

    `qty` is the order's new total, what is filled already included.
    """

    order_ref: str
    reply_to: str
    qty: int
    order_type: OrderType
    limit_ticks: int | None
    is_exit: bool
    permit: Permit | None
    deadline_utc: int


class CancelOrder(_Orders, frozen=True, kw_only=True):
    """position -> ibkr: cancel; only `OrderClosed` says that it is over."""

    order_ref: str
    reply_to: str


class QueryOrder(_Orders, frozen=True, kw_only=True):
    """position -> ibkr: what does the broker know of this order? (answered after a full read-back)"""

    order_ref: str
    reply_to: str


class OrderFound(_Orders, frozen=True, kw_only=True):
    """ibkr -> position: the broker's word. `is_working` or terminal; `filled_qty` from executions."""

    order_ref: str
    perm_id: int
    is_working: bool
    filled_qty: int
    qty: int
    order_type: OrderType | None
    limit_ticks: int | None
    status: str
    read_back_utc: int


class OrderNotFound(_Orders, frozen=True, kw_only=True):
    """ibkr -> position: in neither open orders nor executions nor completed orders."""

    order_ref: str
    read_back_utc: int


class OrderSent(_Orders, frozen=True, kw_only=True):
    """port => ibkr -> position: the bytes were handed to the socket; `order_id` is the session's."""

    order_ref: str
    session_epoch: int
    order_id: int
    sent_utc: int


class OrderDenied(_Orders, frozen=True, kw_only=True):
    """ibkr or port => ...-> position: it never reached the socket."""

    order_ref: str
    code: RejectCode
    why: str


class OrderAcknowledged(_Orders, frozen=True, kw_only=True):
    """ibkr -> position: the broker has it; `working_qty`, type and price are the broker's."""

    order_ref: str
    perm_id: int
    order_type: OrderType | None = None
    limit_ticks: int | None = None


class OrderRejected(_Orders, frozen=True, kw_only=True):
    """ibkr -> position: the broker refused a new order (terminal, nothing filled)."""

    order_ref: str
    vendor_code: int
    text: str


class ModifyRefused(_Orders, frozen=True, kw_only=True):
    """ibkr -> position: the change was refused and the order still works as it was (after a read-back)."""

    order_ref: str
    vendor_code: int
    text: str


class OrderClosed(_Orders, frozen=True, kw_only=True):
    """ibkr -> position: terminal at the broker; counts only when recorded fills equal `filled_qty_total`."""

    order_ref: str
    cause: str
    filled_qty_total: int


class PlaceOrder(_Orders, frozen=True, kw_only=True):
    """ibkr -> port: write this order, unless the deadline, the session epoch or the kill latch says no."""

    order_ref: str
    session_epoch: int
    kill_epoch: int
    contract: Contract
    side: Side
    qty: int
    order_type: OrderType
    limit_ticks: int | None
    aux_ticks: int | None
    is_exit: bool
    deadline_utc: int


class AmendOrder(_Orders, frozen=True, kw_only=True):
    """ibkr -> port: write this change of a working order."""

    order_ref: str
    session_epoch: int
    kill_epoch: int
    qty: int
    order_type: OrderType
    limit_ticks: int | None
    is_exit: bool
    deadline_utc: int


class WithdrawOrder(_Orders, frozen=True, kw_only=True):
    """ibkr -> port: write the cancel of an order (by our ref)."""

    order_ref: str
    session_epoch: int


# -- what the broker says -----------------------------------------------------------------------


class StatusHeard(_Orders, frozen=True, kw_only=True):
    """port => ibkr: an orderStatus or openOrder; a hint, never a fill.

    `status` is a word of `domain.orders_table.OrderStatus` (in every message of ours); `raw` is the vendor's text.
    """

    session_epoch: int
    order_ref: str
    perm_id: int
    status: str
    filled_qty: int
    remaining_qty: int
    qty: int
    order_type: OrderType | None
    limit_ticks: int | None
    raw: str


class ExecutionHeard(_Orders, frozen=True, kw_only=True):
    """port => ibkr: an execution, live or read back; `exec_id` is its base, `revision` the last part."""

    session_epoch: int
    exec_id: str
    revision: int
    order_ref: str
    perm_id: int
    contract: Contract
    side: Side
    qty: int
    price_ticks: int
    at_utc: int
    raw: str


class CommissionHeard(_Orders, frozen=True, kw_only=True):
    """port => ibkr: the fee of one execution, in cents."""

    session_epoch: int
    exec_id: str
    revision: int
    commission_cents: int
    raw: str


class ErrorHeard(_Orders, frozen=True, kw_only=True):
    """port => ibkr: a vendor error or notice; `order_ref` is `None` where it concerns no order of ours."""

    session_epoch: int
    order_ref: str | None
    vendor_code: int
    text: str
    meaning: CodeMeaning = CodeMeaning.ORDER_UNKNOWN


# -- the ledger's part --------------------------------------------------------------------------


class RecordOrderIds(_Orders, frozen=True, kw_only=True):
    """ibkr -> ledger: the broker's identifiers of an order."""

    order_ref: str
    perm_id: int
    status: str


class RecordExecution(_Orders, frozen=True, kw_only=True):
    """ibkr -> ledger: keep this execution (highest revision of each base wins)."""

    exec_id: str
    revision: int
    order_ref: str
    con_id: int
    side: Side
    qty: int
    price_ticks: int
    at_utc: int
    raw: str


class FillRecorded(_Orders, frozen=True, kw_only=True):
    """ledger -> position: a recorded fill; totals are over all executions of the order (corrections included)."""

    order_ref: str
    con_id: int
    side: Side
    exec_id: str
    revision: int
    qty: int
    price_ticks: int
    at_utc: int
    filled_qty_total: int
    filled_cost_ticks_total: int


class RecordCommission(_Orders, frozen=True, kw_only=True):
    """ibkr -> ledger: the fee of one execution."""

    exec_id: str
    revision: int
    commission_cents: int


class CommissionRecorded(_Orders, frozen=True, kw_only=True):
    """ledger -> position: fees so far of the order, in cents, and how many of its contracts they are for."""

    order_ref: str
    con_id: int
    commission_cents_total: int
    charged_qty_total: int


class RecordExitIntent(_Orders, frozen=True, kw_only=True):
    """position -> ledger: an exit order is about to be sent or changed."""

    position_id: str
    reply_to: str
    con_id: int
    order_ref: str
    exit_n: int
    reason: str
    kind: str
    qty: int
    tier: int
    at_utc: int


class ExitIntentRecorded(_Orders, frozen=True, kw_only=True):
    """ledger -> position: the exit intent is durable."""

    order_ref: str
    tier: int
