"""One order of a position on its way through the broker: what is known of it, and when it is over.

Statuses are hints. An order is over when its recorded fills say so: all of its quantity, or exactly the total that
the broker named when it ended it. Anything else is unknown, and unknown means: ask.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec.structs import replace

from domain.instants import MS
from domain.instruments import OrderType
from domain.orders.tiers import Ticket, Tier
from domain.position.cycle import ExitReason
from domain.position.exits import SEVERITY, Wanted


class Stage(StrEnum):
    """Where an order is."""

    RECORDING = "recording"  # its intent is on the way to the ledger; the broker knows nothing of it
    SENT = "sent"
    WORKING = "working"
    CANCELLING = "cancelling"
    UNKNOWN = "unknown"


class LiveOrder(msgspec.Struct, frozen=True):
    """An order that may work at the broker.

    `qty` is the order's total, filled part included. `reached` says that it may have reached the broker. `ended_qty`
    is the broker's total when it said that the order ended, `is_ended_sure` when executions were read back for it.
    `change` is a modification whose intent is being recorded, with its `change_qty`. `reason` is the exit it was
    last priced for (`None` for an entry and after a read-back).
    """

    ref: str
    qty: int
    tier: Tier
    order_type: OrderType | None
    limit_ticks: int | None
    stage: Stage
    sent_utc: int
    deadline_utc: int
    reason: ExitReason | None = None
    reached: bool = False
    cancel_wanted: bool = False
    cancel_utc: int | None = None
    ended_qty: int | None = None
    is_ended_sure: bool = False
    change: Ticket | None = None
    change_qty: int = 0


def is_over(order: LiveOrder, filled_qty: int) -> bool:
    """Tell whether the order can neither fill nor be changed any more, all its fills being booked."""
    if filled_qty >= order.qty:
        return True
    if order.ended_qty is None:
        return False
    return filled_qty >= order.ended_qty if order.is_ended_sure else filled_qty == order.ended_qty


def acknowledged(order: LiveOrder) -> LiveOrder:
    """Note that the broker has it; an order that is being cancelled or asked for stays so."""
    return replace(order, reached=True, stage=Stage.WORKING if order.stage is Stage.SENT else order.stage)


def ended(order: LiveOrder, filled_qty_total: int, *, is_sure: bool = False) -> LiveOrder:
    """Note the broker's word that the order ended with this many contracts filled."""
    return replace(order, reached=True, ended_qty=filled_qty_total, is_ended_sure=is_sure)


def found_working(order: LiveOrder, qty: int, order_type: OrderType | None, limit_ticks: int | None) -> LiveOrder:
    """Take over what the broker reads back; a type or price that is not ours drops the tier, so that it is set anew."""
    is_priced_as_asked = order.limit_ticks in (None, limit_ticks) or order_type is not OrderType.LIMIT
    is_at_tier = order.tier is not Tier.MARKET or order_type is OrderType.MARKET
    is_ours = order.order_type in (None, order_type) and is_priced_as_asked and is_at_tier
    return replace(
        order,
        qty=qty,
        tier=order.tier if is_ours else Tier.NONE,
        order_type=order_type,
        limit_ticks=limit_ticks,
        stage=Stage.WORKING,
        reached=True,
        ended_qty=None,
        is_ended_sure=False,
        change=None,
    )


def is_gone(order: LiveOrder, read_back_utc: int, wait_ms: int) -> bool:
    """Tell whether "not found" settles it: it never reached the broker, or was looked for long after its deadline.

    A connection that was dead may deliver late, so an order that may be under way is looked for until nobody can
    write or deliver it any more.
    """
    return not order.reached or read_back_utc >= gone_after_utc(order, wait_ms)


def gone_after_utc(order: LiveOrder, wait_ms: int) -> int:
    """Give the instant from which a read-back without the order means that there is none."""
    return max(order.sent_utc, order.deadline_utc) + wait_ms * MS


def needs_change(order: LiveOrder, wanted: Wanted, desired: Tier, qty: int) -> bool:
    """Tell whether a working exit must be modified upward: higher tier, more contracts, or a more severe reason."""
    if order.stage is not Stage.WORKING or order.change is not None or order.cancel_wanted:
        return False
    is_graver = order.reason is not None and SEVERITY[wanted.reason] > SEVERITY[order.reason]
    return desired > order.tier or qty > order.qty or is_graver


def not_less(order: LiveOrder, ticket: Ticket) -> Ticket:
    """Give the ticket that is at least as hard as what works: no limit is raised, no market order undone."""
    if order.order_type is OrderType.MARKET:
        return Ticket(Tier.MARKET, OrderType.MARKET, None)
    if ticket.limit_ticks is None or order.limit_ticks is None:
        return ticket
    return replace(ticket, limit_ticks=min(ticket.limit_ticks, order.limit_ticks))
