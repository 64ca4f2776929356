"""One order of a position on its way through the broker: what is known of it, and when it is over.

Statuses are hints. An order is over when its recorded fills say so: all of its quantity, or exactly the total that
the broker named when it ended it. Anything else is unknown, and unknown means: ask.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec.structs import replace

from domain.fsm import Machine
from domain.instants import MS
from domain.instruments import OrderType, Side
from domain.orders.tiers import Ticket, Tier
from domain.position.cycle import ExitReason
from domain.position.exits import SEVERITY, WantedExit
from domain.units import Qty, Ticks, Utc


class LegStage(StrEnum):
    """Where a position's own order is."""

    RECORDING = "recording"  # its intent is on the way to the ledger; the broker knows nothing of it
    SENT = "sent"
    WORKING = "working"
    CANCELLING = "cancelling"
    UNKNOWN = "unknown"
    ENDED = "ended"  # the position lets go of it


class LegEvent(StrEnum):
    """What can happen to it. An order that the broker has ended stays where it is until its fills are recorded."""

    SUBMITTED = "submitted"
    WRITTEN = "written"
    ACKNOWLEDGED = "acknowledged"
    CANCEL_SENT = "cancel_sent"
    DOUBTED = "doubted"  # an answer is overdue, the link was lost, or the broker's answer is not believed
    FOUND_WORKING = "found_working"  # by a read-back
    BROKER_ENDED = "broker_ended"
    SETTLED = "settled"  # over, and all its fills recorded
    DROPPED = "dropped"  # it never left


_S = LegStage
_E = LegEvent
_UNSETTLED = "over only when its fills are recorded"

LEG_STAGES = Machine(
    "own order",
    {
        (_S.RECORDING, _E.SUBMITTED): _S.SENT,
        (_S.RECORDING, _E.DOUBTED): _S.UNKNOWN,  # an order of this reference was sent before a restart
        (_S.RECORDING, _E.SETTLED): _S.ENDED,  # and one such was filled
        (_S.RECORDING, _E.DROPPED): _S.ENDED,
        (_S.SENT, _E.ACKNOWLEDGED): _S.WORKING,
        (_S.SENT, _E.CANCEL_SENT): _S.CANCELLING,
        (_S.SENT, _E.DOUBTED): _S.UNKNOWN,
        (_S.SENT, _E.FOUND_WORKING): _S.WORKING,
        (_S.SENT, _E.SETTLED): _S.ENDED,
        (_S.SENT, _E.DROPPED): _S.ENDED,  # the broker session held it back
        (_S.WORKING, _E.CANCEL_SENT): _S.CANCELLING,
        (_S.WORKING, _E.DOUBTED): _S.UNKNOWN,
        (_S.WORKING, _E.FOUND_WORKING): _S.WORKING,
        (_S.WORKING, _E.SETTLED): _S.ENDED,
        (_S.CANCELLING, _E.DOUBTED): _S.UNKNOWN,
        (_S.CANCELLING, _E.FOUND_WORKING): _S.WORKING,  # where it is still not wanted, it is cancelled again
        (_S.CANCELLING, _E.SETTLED): _S.ENDED,
        (_S.UNKNOWN, _E.FOUND_WORKING): _S.WORKING,
        (_S.UNKNOWN, _E.SETTLED): _S.ENDED,
    },
    {
        (_S.RECORDING, _E.CANCEL_SENT): "nothing is at the broker: it is dropped instead",
        (_S.SENT, _E.WRITTEN): "bytes on the way are no answer of the broker",
        (_S.SENT, _E.BROKER_ENDED): _UNSETTLED,
        (_S.WORKING, _E.WRITTEN): "bytes of a change, or news that was overtaken",
        (_S.WORKING, _E.ACKNOWLEDGED): "works already",
        (_S.WORKING, _E.BROKER_ENDED): _UNSETTLED,
        (_S.CANCELLING, _E.WRITTEN): "news that was overtaken by the cancel",
        (_S.CANCELLING, _E.ACKNOWLEDGED): "news that was overtaken by the cancel",
        (_S.CANCELLING, _E.CANCEL_SENT): "one cancel is under way",
        (_S.CANCELLING, _E.BROKER_ENDED): _UNSETTLED,
        (_S.UNKNOWN, _E.WRITTEN): "only a read-back clears a doubt",
        (_S.UNKNOWN, _E.ACKNOWLEDGED): "only a read-back clears a doubt",
        (_S.UNKNOWN, _E.CANCEL_SENT): "it is found first",
        (_S.UNKNOWN, _E.DOUBTED): "in doubt already",
        (_S.UNKNOWN, _E.BROKER_ENDED): _UNSETTLED,
    },
)


class LiveOrder(msgspec.Struct, frozen=True):
    """An order that may work at the broker.

    `qty` is the order's total, filled part included. `reached` says that it may have reached the broker. `ended_qty`
    is the broker's total when it said that the order ended, `is_ended_sure` when executions were read back for it.
    `stop_ticks` is the trigger of a stop that rests at the broker, and `is_buy_back` marks the purchase that covers a
    short.
    `is_joint`: it is a leg of an order for a combination, which its structure sends and prices; a position only ever
    cancels it, and with it all of the combination; `limit_ticks` is then what its leg could trade at by itself.
    `change` is a modification whose intent is being recorded, with its `change_qty`. `reason` is the exit it was
    last priced for (`None` for an entry and after a read-back).
    """

    ref: str
    qty: Qty
    tier: Tier
    order_type: OrderType | None
    limit_ticks: Ticks | None
    stage: LegStage
    sent_utc: Utc
    deadline_utc: Utc
    reason: ExitReason | None = None
    reached: bool = False
    cancel_wanted: bool = False
    cancel_utc: Utc | None = None
    ended_qty: Qty | None = None
    is_ended_sure: bool = False
    change: Ticket | None = None
    change_qty: Qty = Qty(0)
    stop_ticks: Ticks | None = None
    is_buy_back: bool = False
    is_joint: bool = False


# -- on its way ----------------------------------------------------------------------------------


def submitted(order: LiveOrder, qty: Qty, now: Utc) -> LiveOrder:
    """Return the recorded order as it is handed to the broker session, with the quantity that is sent."""
    return replace(order, stage=LEG_STAGES.next(order.stage, LegEvent.SUBMITTED), qty=qty, sent_utc=now)


def written(order: LiveOrder) -> LiveOrder:
    """Return the order after its bytes left."""
    return replace(order, stage=LEG_STAGES.next(order.stage, LegEvent.WRITTEN), reached=True)


def acknowledged(order: LiveOrder) -> LiveOrder:
    """Return the order after the broker reported that it has it; one that is cancelled or asked for stays so."""
    return replace(order, stage=LEG_STAGES.next(order.stage, LegEvent.ACKNOWLEDGED), reached=True)


def doubted(order: LiveOrder) -> LiveOrder:
    """Return the order of which nobody knows what became; a change under way is given up."""
    return replace(order, stage=LEG_STAGES.next(order.stage, LegEvent.DOUBTED), change=None)


def ended(order: LiveOrder, filled_qty_total: Qty, *, is_sure: bool = False) -> LiveOrder:
    """Return the order after the broker reported that it ended with this many contracts filled."""
    stage = LEG_STAGES.next(order.stage, LegEvent.BROKER_ENDED)
    return replace(order, stage=stage, reached=True, ended_qty=filled_qty_total, is_ended_sure=is_sure)


def settled(order: LiveOrder) -> LiveOrder:
    """Return the order as over for good."""
    return replace(order, stage=LEG_STAGES.next(order.stage, LegEvent.SETTLED))


def dropped(order: LiveOrder) -> LiveOrder:
    """Return the order as over without ever having left."""
    return replace(order, stage=LEG_STAGES.next(order.stage, LegEvent.DROPPED))


def found_working(order: LiveOrder, qty: Qty, order_type: OrderType | None, limit_ticks: Ticks | None) -> LiveOrder:
    """Return the order as the broker reads it back; a type or price that is not ours drops the tier, to be set anew."""
    is_priced_as_sent = order.limit_ticks in (None, limit_ticks) or order_type is not OrderType.LIMIT
    is_at_tier = order.tier is not Tier.MARKET or order_type is OrderType.MARKET
    is_ours = order.order_type in (None, order_type) and is_priced_as_sent and is_at_tier
    return replace(
        order,
        qty=qty,
        tier=order.tier if is_ours else Tier.NONE,
        order_type=order_type,
        limit_ticks=limit_ticks,
        stage=LEG_STAGES.next(order.stage, LegEvent.FOUND_WORKING),
        reached=True,
        ended_qty=None,
        is_ended_sure=False,
        change=None,
    )


def unsent(order: LiveOrder) -> LiveOrder:
    """Return the order that the broker refused: it is not there, unless a read-back finds it."""
    return replace(order, reached=False)


# -- cancelling and changing ---------------------------------------------------------------------


def unwanted(order: LiveOrder, cancel_utc: Utc | None = None) -> LiveOrder:
    """Return the order with its cancel wanted; `cancel_utc` is when the wait for it begins, `None`: when it is sent."""
    return replace(order, cancel_wanted=True, cancel_utc=order.cancel_utc if cancel_utc is None else cancel_utc)


def is_cancel_due(order: LiveOrder) -> bool:
    """Return whether a wanted cancel can be sent now."""
    return order.cancel_wanted and LEG_STAGES.changes(order.stage, LegEvent.CANCEL_SENT)


def cancelling(order: LiveOrder, now: Utc) -> LiveOrder:
    """Return the order whose cancel is sent; a change under way is given up."""
    cancel_utc = now if order.cancel_utc is None else order.cancel_utc
    stage = LEG_STAGES.next(order.stage, LegEvent.CANCEL_SENT)
    return replace(order, stage=stage, cancel_utc=cancel_utc, change=None)


def with_change(order: LiveOrder, change: Ticket, qty: Qty) -> LiveOrder:
    """Return the order with a modification whose intent is being recorded."""
    return replace(order, change=change, change_qty=qty)


def without_change(order: LiveOrder) -> LiveOrder:
    """Return the order with its modification given up."""
    return replace(order, change=None)


def modified(order: LiveOrder, ticket: Ticket, reason: ExitReason | None, deadline_utc: Utc) -> LiveOrder:
    """Return the exit order as its recorded modification makes it; only a resting stop's quantity is ever lowered."""
    return replace(
        order,
        qty=order.change_qty if is_resting_stop(order) else max(order.change_qty, order.qty),
        tier=ticket.tier,
        order_type=ticket.order_type,
        limit_ticks=ticket.limit_ticks,
        reason=reason,
        deadline_utc=deadline_utc,
        change=None,
    )


def raised_in_place(order: LiveOrder, tier: Tier, reason: ExitReason) -> LiveOrder:
    """Return the exit order at a higher tier that asks for the type and price it has."""
    return replace(order, tier=tier, reason=reason)


def with_limit(order: LiveOrder, limit_ticks: Ticks) -> LiveOrder:
    """Return the entry order with its limit raised."""
    return replace(order, limit_ticks=limit_ticks)


# -- judging -------------------------------------------------------------------------------------


def is_resting_stop(order: LiveOrder) -> bool:
    """Return whether the order is a stop at the broker that has not begun to fill."""
    return order.order_type is OrderType.STOP and order.tier is Tier.NONE


def is_over(order: LiveOrder, filled_qty: Qty) -> bool:
    """Return whether the order can neither fill nor be changed any more, all its fills being recorded."""
    if filled_qty >= order.qty:
        return True
    if order.ended_qty is None:
        return False
    return filled_qty >= order.ended_qty if order.is_ended_sure else filled_qty == order.ended_qty


def is_gone(order: LiveOrder, read_back_utc: Utc, wait_ms: int) -> bool:
    """Return whether "not found" settles it: it never reached the broker, or is looked for long after its deadline.

    A connection that was dead may deliver late, so an order that may be under way is looked for until nobody can
    write or deliver it any more.
    """
    return not order.reached or read_back_utc >= gone_after_utc(order, wait_ms)


def gone_after_utc(order: LiveOrder, wait_ms: int) -> Utc:
    """Return the instant from which a read-back without the order means that there is none."""
    return max(order.sent_utc, order.deadline_utc) + wait_ms * MS


def needs_change(order: LiveOrder, wanted: WantedExit, desired: Tier, qty: Qty, *, is_barred: bool = False) -> bool:
    """Return whether a working exit must be modified upward: higher tier, more contracts, or a more severe reason.

    `is_barred`: it must not stand at the market now. A resting stop has no tier, so any exit takes it over.
    """
    if order.stage is not LegStage.WORKING or order.change is not None or order.cancel_wanted:
        return False
    if is_barred:
        return True
    is_graver = order.reason is not None and SEVERITY[wanted.reason] > SEVERITY[order.reason]
    return desired > order.tier or qty > order.qty or is_graver


def not_less(order: LiveOrder, ticket: Ticket, side: Side = Side.SELL) -> Ticket:
    """Return the ticket that is at least as hard as what works: no market order undone, no limit of a sale raised.

    (Nor one of a purchase lowered.)
    """
    if order.order_type is OrderType.MARKET:
        return Ticket(Tier.MARKET, OrderType.MARKET, None)
    if ticket.limit_ticks is None or order.limit_ticks is None:
        return ticket
    harder = min if side is Side.SELL else max
    return replace(ticket, limit_ticks=harder(ticket.limit_ticks, order.limit_ticks))
