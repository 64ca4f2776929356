"""The one exit order of a position: made harder by modification, replaced only when it is over.

`request_exit` notes what is wanted; after every message `steer_exit` brings the order to it. What is to be sent or
changed is recorded first (`_record_intent`) and then goes to the broker session (`_send`, `_modify`). A clock runs for
the tier at which it stands. Tiers and prices: `domain/orders/tiers.py`. Stages: `domain/orders/live_order.py`.
"""

from __future__ import annotations

from actors.position import reports
from actors.position.state import (
    AFTER_HOURS,
    OF_AN_ORDER,
    PositionData,
    PositionRules,
    PositionTurn,
    Timer,
    arm_in,
    keep_order,
    move,
    tier_subject,
)
from domain.instants import MS
from domain.options.tick_rules import rule_of
from domain.orders.live_order import (
    LegStage,
    LiveOrder,
    doubted,
    dropped,
    modified,
    needs_change,
    not_less,
    raised_in_place,
    settled,
    submitted,
    unwanted,
    with_change,
    without_change,
)
from domain.orders.order_pair import OrderRole
from domain.orders.references import exit_ref
from domain.orders.request import OrderChange, OrderRequest
from domain.orders.tiers import Ticket, Tier, exit_ticket, first_tier, next_tier, tier_wait_ms
from domain.position import exits
from domain.position.cycle import ExitKind, PositionEvent, PositionState
from domain.position.exits import WantedExit
from domain.session.modes import ALLOWS_EXITS
from domain.session.phases import Phase
from domain.units import Qty
from messages import orders


def request_exit(turn: PositionTurn, wanted: WantedExit) -> None:
    """Want an exit, if it outranks what is wanted; before a fill it is remembered, when flat there is nothing to do."""
    state = turn.state
    if state.cycle in (PositionState.FLAT, PositionState.SETTLING) or not exits.is_more(wanted, state.wanted):
        return
    state.wanted = exits.raised(wanted, state.wanted)
    state.reason = wanted.reason


# -- steering ------------------------------------------------------------------------------------


def steer_exit(rules: PositionRules, turn: PositionTurn) -> None:
    """Bring the one exit order to what is wanted."""
    state = turn.state
    if state.cycle is PositionState.OPEN and state.wanted is not None and state.fills.held > 0:
        move(turn, PositionEvent.EXIT_WANTED)
    _cancel_excess(turn)
    wanted = state.wanted
    if state.cycle is not PositionState.PENDING_EXIT or wanted is None or state.fills.held <= 0:
        return
    if not _can_send(state) or turn.now < state.retry_utc:
        return
    if state.orders.exit is not None:
        _plan_change(rules, turn, state.orders.exit, wanted)
    elif not _is_entry_in_the_way(rules, turn):
        _plan_new(rules, turn, wanted)


def _can_send(state: PositionData) -> bool:
    """Return whether link and hours let an exit go; where the link is unknown, the broker session decides."""
    return state.is_link_up is not False and state.phase not in AFTER_HOURS


def _cancel_excess(turn: PositionTurn) -> None:
    """Cancel an exit order that could close more than is held."""
    order, held = turn.state.orders.exit, turn.state.fills.held
    if order is None or order.cancel_wanted:
        return
    if order.stage is LegStage.RECORDING:
        if held <= 0:
            keep_order(turn, OrderRole.EXIT, dropped(order))
    elif order.qty - turn.state.fills.filled(order.ref) > max(held, 0):
        keep_order(turn, OrderRole.EXIT, unwanted(order))


def _is_entry_in_the_way(rules: PositionRules, turn: PositionTurn) -> bool:
    """Return whether the entry's cancel is still waited for; after the wait the exit goes: it closes what is held."""
    entry = turn.state.orders.entry
    if entry is None or entry.cancel_utc is None:
        return entry is not None
    due_utc = entry.cancel_utc + rules.exits.cancel_confirm_ms * MS
    if turn.now < due_utc:
        turn.arm(Timer.RETRY, due_utc)
        return True
    return False


def _plan_new(rules: PositionRules, turn: PositionTurn, wanted: WantedExit) -> None:
    """Have a new exit order recorded: for all that is held, or for half of it (rounded up) where a part is taken."""
    state = turn.state
    ticket = _ticket(rules, turn, wanted)
    if ticket is None:
        return
    held = state.fills.held
    qty = (held + 1) // 2 if wanted.kind is ExitKind.TAKE_PART else held
    state.exit_n += 1
    order = LiveOrder(
        ref=exit_ref(state.opened_ref().position_id, state.exit_n), qty=qty, tier=ticket.tier,
        order_type=ticket.order_type, limit_ticks=ticket.limit_ticks, stage=LegStage.RECORDING, sent_utc=turn.now,
        deadline_utc=turn.now + rules.connection.abandon_wait_ms * MS, reason=wanted.reason,
    )  # fmt: skip
    keep_order(turn, OrderRole.EXIT, order)
    _record_intent(rules, turn, order, wanted, ticket.tier, qty)


def _plan_change(rules: PositionRules, turn: PositionTurn, order: LiveOrder, wanted: WantedExit) -> None:
    """Have a change recorded where more is wanted than the order asks for; `qty` is its total, filled part included."""
    fills = turn.state.fills
    qty = order.qty if wanted.kind is ExitKind.TAKE_PART else fills.filled(order.ref) + fills.held
    if not needs_change(order, wanted, _desired_tier(turn, wanted), qty):
        return
    ticket = _ticket(rules, turn, wanted)
    if ticket is None:
        return
    ticket = not_less(order, ticket)
    if (ticket.order_type, ticket.limit_ticks, qty) == (order.order_type, order.limit_ticks, order.qty):
        keep_order(turn, OrderRole.EXIT, raised_in_place(order, ticket.tier, wanted.reason))
        arm_tier(rules, turn)
        return
    order = with_change(order, ticket, qty)
    keep_order(turn, OrderRole.EXIT, order)
    _record_intent(rules, turn, order, wanted, ticket.tier, qty)


def _desired_tier(turn: PositionTurn, wanted: WantedExit) -> Tier:
    if turn.state.phase in (Phase.PANIC, Phase.FLATTEN):
        return Tier.MARKET
    return max(first_tier(wanted.reason), wanted.floor)


def _ticket(rules: PositionRules, turn: PositionTurn, wanted: WantedExit) -> Ticket | None:
    """Return type and price of the wanted exit; without any bid known the average fill stands in for the last one."""
    watch, fills = turn.state.watch, turn.state.fills
    quote = watch.quote if exits.is_fresh(watch, turn.now, rules.exits) else None
    last_bid = watch.last_bid_ticks if watch.last_bid_ticks is not None else fills.average_ticks
    rule = rule_of(turn.state.opened_ref().contract.trading_class)
    return exit_ticket(wanted.reason, _desired_tier(turn, wanted), quote, last_bid, rule, rules.exits)


def _record_intent(
    rules: PositionRules, turn: PositionTurn, order: LiveOrder, wanted: WantedExit, tier: Tier, qty: Qty
) -> None:
    ref = turn.state.opened_ref()
    intent = orders.RecordExitIntent(
        position_id=ref.position_id, reply_to=turn.name, con_id=rules.con_id, order_ref=order.ref,
        exit_n=turn.state.exit_n, side=ref.side.opposite, reason=wanted.reason, kind=wanted.kind, qty=qty, tier=tier,
        at_utc=turn.now,
    )  # fmt: skip
    turn.tell("desk_ledger", intent)
    arm_in(turn, Timer.RECORD, rules.exits.record_wait_ms, tier_subject(order.ref, tier))


# -- sending -------------------------------------------------------------------------------------


def on_exit_intent_recorded(rules: PositionRules, turn: PositionTurn, report: orders.ExitIntentRecorded) -> None:
    """Send what the ledger has recorded."""
    order = _awaiting_record(turn.state, report.order_ref, report.tier)
    if order is not None:
        _proceed(rules, turn, order, report.tier)


def on_record_overdue(rules: PositionRules, turn: PositionTurn, order_ref: str, tier: Tier) -> None:
    """Send it anyway: an exit never waits for a disk, but entries halt when it does not answer."""
    order = _awaiting_record(turn.state, order_ref, tier)
    if order is not None:
        why = f"{turn.name}: the ledger did not record exit {order_ref} in time; it goes on anyway"
        reports.raise_kill(turn, why)
        _proceed(rules, turn, order, tier)


def _awaiting_record(state: PositionData, order_ref: str, tier: Tier) -> LiveOrder | None:
    """Return the exit order whose intent at this tier, new or a change, is being recorded; `None`: it is no longer."""
    order = state.orders.exit
    if order is None or order.ref != order_ref:
        return None
    if order.stage is LegStage.RECORDING:
        return order if order.tier == tier else None
    return order if order.change is not None and order.change.tier == tier else None


def _proceed(rules: PositionRules, turn: PositionTurn, order: LiveOrder, tier: Tier) -> None:
    """Send or change as recorded, or give it up where that cannot be any more: steering plans anew."""
    turn.disarm(Timer.RECORD, tier_subject(order.ref, tier))
    is_new = order.stage is LegStage.RECORDING
    if not _can_send(turn.state):
        keep_order(turn, OrderRole.EXIT, dropped(order) if is_new else without_change(order))
    elif is_new:
        _send(rules, turn, order)
    elif order.change is not None and order.stage is LegStage.WORKING and not order.cancel_wanted:
        _modify(rules, turn, order, order.change)
    else:
        keep_order(turn, OrderRole.EXIT, without_change(order))


def _send(rules: PositionRules, turn: PositionTurn, order: LiveOrder) -> None:
    state, ref, held = turn.state, turn.state.opened_ref(), turn.state.fills.held
    order = submitted(order, min(order.qty, held), turn.now)
    assert order.order_type is not None  # `_plan_new` has set it
    keep_order(turn, OrderRole.EXIT, order)
    state.agree_after_utc = turn.now
    request = OrderRequest(
        order_ref=order.ref, contract=ref.contract, side=ref.side.opposite, qty=order.qty, order_type=order.order_type,
        limit_ticks=order.limit_ticks, is_exit=True, deadline_utc=order.deadline_utc,
    )  # fmt: skip
    turn.tell("ibkr", orders.SubmitOrder(order=request, reply_to=turn.name, permit=None, held_qty=held))
    arm_in(turn, Timer.ACK, rules.exits.ack_wait_ms, order.ref)
    arm_tier(rules, turn)


def _modify(rules: PositionRules, turn: PositionTurn, order: LiveOrder, ticket: Ticket) -> None:
    state = turn.state
    reason = order.reason if state.wanted is None else state.wanted.reason
    order = modified(order, ticket, reason, turn.now + rules.connection.abandon_wait_ms * MS)
    keep_order(turn, OrderRole.EXIT, order)
    state.agree_after_utc = turn.now
    change = OrderChange(
        order_ref=order.ref, qty=order.qty, order_type=ticket.order_type, limit_ticks=ticket.limit_ticks, is_exit=True,
        deadline_utc=order.deadline_utc,
    )  # fmt: skip
    turn.tell("ibkr", orders.ModifyOrder(change=change, reply_to=turn.name, permit=None))
    arm_tier(rules, turn)


# -- the clock of a tier -------------------------------------------------------------------------


def arm_tier(rules: PositionRules, turn: PositionTurn) -> None:
    """Start the clock of the tier at which the exit order stands."""
    order, wanted = turn.state.orders.exit, turn.state.wanted
    if order is not None and wanted is not None:
        wait_ms = tier_wait_ms(wanted.reason, order.tier, rules.exits)
        arm_in(turn, Timer.TIER, wait_ms, tier_subject(order.ref, order.tier))


def on_tier_due(rules: PositionRules, turn: PositionTurn, order_ref: str, tier: Tier) -> bool:
    """Want the next tier; return whether the order is at the market already, so that the broker must be asked."""
    state, order, wanted = turn.state, turn.state.orders.exit, turn.state.wanted
    if order is None or wanted is None or order.ref != order_ref or order.tier != tier:
        return False
    if order.tier is Tier.MARKET:
        arm_tier(rules, turn)
        return True
    state.wanted = exits.at_least(wanted, next_tier(order.tier))
    return False


# -- what became of it ---------------------------------------------------------------------------


def replace_exit(turn: PositionTurn, order: LiveOrder) -> None:
    """Modify no longer: cancel, wait for the end, then a new order at the tier that was reached."""
    state = turn.state
    if state.wanted is not None:
        state.wanted = exits.at_least(state.wanted, order.tier)
    keep_order(turn, OrderRole.EXIT, without_change(unwanted(order)))


def on_exit_held(rules: PositionRules, turn: PositionTurn, report: orders.ExitHeld) -> None:
    """Let the exit stand as wanted: the broker session could not send it now."""
    state, order = turn.state, turn.state.orders.exit
    if report.mode not in ALLOWS_EXITS:
        state.is_link_up = False
    if order is None or order.ref != report.order_ref:
        return
    if order.reached or order.stage is not LegStage.SENT:  # a change was held: the order itself may be at the broker
        keep_order(turn, OrderRole.EXIT, doubted(order))
        arm_in(turn, Timer.QUERY, rules.connection.query_wait_ms, order.ref)
    else:
        turn.disarm(Timer.ACK, order.ref)
        keep_order(turn, OrderRole.EXIT, dropped(order))
    _try_later(rules, turn)


def finish_exit(rules: PositionRules, turn: PositionTurn, order: LiveOrder) -> None:
    """Let go of the exit order that is over: a part taken goes back to open, a rest gets a new order."""
    state = turn.state
    for timer in OF_AN_ORDER:
        turn.disarm(timer, order.ref)
    turn.disarm(Timer.TIER, tier_subject(order.ref, order.tier))
    keep_order(turn, OrderRole.EXIT, settled(order))
    filled = state.fills.filled(order.ref)
    is_part = state.wanted is not None and state.wanted.kind is ExitKind.TAKE_PART
    if is_part and filled and state.fills.held > 0 and state.cycle is PositionState.PENDING_EXIT:
        state.wanted = None
        state.took_part = True
        state.watch = exits.without_breaches(state.watch)
        move(turn, PositionEvent.PART_TAKEN)
    elif not filled and not order.cancel_wanted:
        _try_later(rules, turn)


def _try_later(rules: PositionRules, turn: PositionTurn) -> None:
    """Send no exit before a while has passed (the last one was refused or held)."""
    turn.state.retry_utc = turn.now + rules.exits.ack_wait_ms * MS
    arm_in(turn, Timer.RETRY, rules.exits.ack_wait_ms)
