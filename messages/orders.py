"""Orders conversation: an order between its position, the broker session's actor and the ledger."""

from __future__ import annotations

from typing import ClassVar

from domain.instruments import OrderType, Side
from domain.orders.combo import ComboLeg
from domain.orders.intent import Permit
from domain.orders.request import OrderChange, OrderPart, OrderRequest
from domain.orders.tiers import Tier
from domain.position.cycle import ExitKind, ExitReason
from domain.session.modes import Mode
from domain.units import Cents, Qty, Ticks, Utc
from messages.base import Command, Event, Report
from messages.broker import Execution


def _tag(name: str) -> str:
    return f"orders.{name}"


class SubmitOrder(Command, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """Send this order; an entry carries a permit, an exit needs none.

    `held_qty` of an exit is what the ledger says is held: min(ledger, broker) bounds what is sent (`exit_oversell`).
    `parts` are the legs of one for a combination, bounded each by itself: news of it go to each part's owner, under the
    part's reference.
    """

    order: OrderRequest
    reply_to: str
    permit: Permit | None
    held_qty: Qty
    parts: tuple[OrderPart, ...] = ()


class RequestWhatIf(Command, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """Ask the broker what this order would need of the account; nothing is sent to the market.

    `legs` are those of one for a combination.
    """

    request_id: str
    reply_to: str
    order: OrderRequest
    legs: tuple[ComboLeg, ...] = ()


class WhatIfRead(Report, frozen=True, kw_only=True, tag=_tag):
    """What the broker says an order needs more of initial margin; `None` where it does not, for the reason `why`."""

    request_id: str
    init_margin_change_cents: Cents | None
    why: str = ""


class ModifyOrder(Command, frozen=True, kw_only=True, tag=_tag):
    """Change price, type or quantity of a working order; raising an entry needs a new permit."""

    change: OrderChange
    reply_to: str
    permit: Permit | None


class CancelOrder(Command, frozen=True, kw_only=True, tag=_tag):
    """Cancel; only `OrderClosed` says that it is over."""

    order_ref: str
    reply_to: str


class WithdrawEntries(Command, frozen=True, kw_only=True, tag=_tag):
    """The process is about to end: take no new entry, cancel those that work; the answer is `EntriesWithdrawn`."""

    reply_to: str


class EntriesWithdrawn(Report, frozen=True, kw_only=True, tag=_tag):
    """No entry is under way any more: each is terminal at the broker, or never left."""


class RequestOrderState(Command, frozen=True, kw_only=True, tag=_tag):
    """Report what the broker knows of this order (answered after a full read-back), and what it holds of `con_id`."""

    order_ref: str
    reply_to: str
    con_id: int | None = None


class OrderFound(Report, frozen=True, kw_only=True, tag=_tag):
    """What the broker knows: working or terminal; `filled_qty` from executions."""

    order_ref: str
    perm_id: int
    is_working: bool
    filled_qty: Qty
    qty: Qty
    order_type: OrderType | None
    limit_ticks: Ticks | None
    status: str
    read_back_utc: Utc


class OrderNotFound(Report, frozen=True, kw_only=True, tag=_tag):
    """In neither open orders nor executions nor completed orders."""

    order_ref: str
    read_back_utc: Utc


class OrderAcknowledged(Report, frozen=True, kw_only=True, tag=_tag):
    """The broker has it; type and price are the broker's."""

    order_ref: str
    perm_id: int
    order_type: OrderType | None = None
    limit_ticks: Ticks | None = None


class OrderRejected(Report, frozen=True, kw_only=True, tag=_tag):
    """The broker refused a new order (terminal, nothing filled)."""

    order_ref: str
    vendor_code: int
    text: str


class BrokerRefused(Event, frozen=True, kw_only=True, tag=_tag):
    """The broker refused an order or a change of one, in its own words (three 201s in a while raise the kill level)."""

    order_ref: str
    is_exit: bool
    vendor_code: int
    text: str
    at_utc: Utc


class ModifyRefused(Report, frozen=True, kw_only=True, tag=_tag):
    """The change was refused and the order still works as it was (after a read-back)."""

    order_ref: str
    vendor_code: int
    text: str


class OrderClosed(Report, frozen=True, kw_only=True, tag=_tag):
    """Terminal at the broker; counts only when recorded fills equal `filled_qty_total`."""

    IS_VITAL: ClassVar[bool] = True
    order_ref: str
    cause: str
    filled_qty_total: Qty


class ExitHeld(Report, frozen=True, kw_only=True, tag=_tag):
    """Not sent now; what is wanted stands.

    `allows_exits`: exits may leave, and only this one waits (another order of the contract is in doubt, or too many
    were replaced lately); without it `ReconcileFinished` says when exits go again.
    """

    order_ref: str
    mode: Mode
    allows_exits: bool = False


# -- the ledger's part --------------------------------------------------------------------------


class RecordOrderIds(Command, frozen=True, kw_only=True, tag=_tag):
    """Keep the broker's identifiers, status and limit of an order (`None`: a market order's, or not told).

    `by` tells who said so: `broker`, or `read-back` where we asked.
    """

    order_ref: str
    perm_id: int
    status: str
    limit_ticks: Ticks | None = None
    by: str = "broker"


class RecordExecution(Command, frozen=True, kw_only=True, tag=_tag):
    """Keep this execution (the highest revision of each base wins)."""

    IS_VITAL: ClassVar[bool] = True
    execution: Execution


class ExecutionRecorded(Report, frozen=True, kw_only=True, tag=_tag):
    """The ledger has taken this execution (new, repeated, not ours or refused): nobody else need tell its fill.

    `is_durable` is False while the ledger's file cannot be written: its fill was told all the same.
    """

    exec_id: str
    revision: int
    is_durable: bool = True


class FillRecorded(Report, frozen=True, kw_only=True, tag=_tag):
    """A fill; totals are over all executions of the order (corrections included).

    `is_durable` is False where the ledger failed or did not answer in time: the broker session's actor tells it then,
    so that no position misses its fill (the ledger records it later, once, by `exec_id`). `is_price_known` is False for
    a fill adopted from the broker's position.
    """

    IS_VITAL: ClassVar[bool] = True
    order_ref: str
    con_id: int
    side: Side
    exec_id: str
    revision: int
    qty: Qty
    price_ticks: Ticks
    at_utc: Utc
    filled_qty_total: Qty
    filled_cost_ticks_total: int
    is_durable: bool = True
    is_price_known: bool = True


class RecordCommission(Command, frozen=True, kw_only=True, tag=_tag):
    """Keep the fee of one execution."""

    exec_id: str
    revision: int
    commission_cents: Cents


class CommissionRecorded(Report, frozen=True, kw_only=True, tag=_tag):
    """Fees so far of the order, and how many of its contracts they are for."""

    order_ref: str
    con_id: int
    commission_cents_total: Cents
    charged_qty_total: Qty


class RecordSlice(Command, frozen=True, kw_only=True, tag=_tag):
    """The next order of an entry in slices is about to be sent: slice `n` (from 2) of `slices`."""

    intent_id: str
    reply_to: str
    con_id: int
    order_ref: str
    side: Side
    qty: Qty
    limit_ticks: Ticks
    n: int
    slices: int
    at_utc: Utc


class SliceRecorded(Report, frozen=True, kw_only=True, tag=_tag):
    """The slice's order is durable."""

    order_ref: str


class SliceNoted(Event, frozen=True, kw_only=True, tag=_tag):
    """What became of an entry in slices besides its orders: `event` is `passed over` or `slices ended`; `why` says it.

    `order_ref` is the order that the entry began with.
    """

    order_ref: str
    event: str
    why: str
    at_utc: Utc


class RecordExitIntent(Command, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """An exit order is about to be sent or changed; `combo_ref`: as a leg of the combination of this reference."""

    GOES_FIRST: ClassVar[bool] = True
    position_id: str
    reply_to: str
    con_id: int
    order_ref: str
    exit_n: int
    side: Side
    reason: ExitReason
    kind: ExitKind
    qty: Qty
    tier: Tier
    at_utc: Utc
    combo_ref: str = ""


class ExitIntentRecorded(Report, frozen=True, kw_only=True, tag=_tag):
    """The exit intent is durable."""

    order_ref: str
    tier: Tier
