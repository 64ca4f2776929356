"""The one exit order of a position: wanted by level, made harder by modification, replaced only when it is over."""

from __future__ import annotations

from msgspec.structs import replace

from actors.position import reports as says
from actors.position.state import AFTER_HOURS, Turn
from domain.instants import MS
from domain.instruments import OrderType, Side
from domain.options.tick_rules import rule_of
from domain.orders.live_order import LiveOrder, Stage, needs_change, not_less
from domain.orders.tiers import Ticket, Tier, exit_ticket, first_tier, next_tier, tier_wait_ms
from domain.position import exits
from domain.position.cycle import ExitKind, PositionEvent, PositionState
from domain.position.exits import Wanted
from domain.session.phases import Phase
from messages import operator, orders

_HELD = frozenset({PositionState.OPEN, PositionState.PENDING_EXIT})


# -- what is wanted ------------------------------------------------------------------------------


def want(turn: Turn, wanted: Wanted) -> None:
    """Want an exit, if it outranks what is wanted; before a fill it is remembered, when flat there is nothing to do."""
    state = turn.s
    if state.cycle in (PositionState.FLAT, PositionState.SETTLING) or not exits.is_more(wanted, state.wanted):
        return
    turn.put(wanted=exits.raised(wanted, state.wanted), reason=wanted.reason)


def look(turn: Turn, *, slow: bool) -> None:
    """Let the rules look at the position: the hard ones always, the slow ones at the slow check."""
    state, holding = turn.s, turn.s.holding
    if state.cycle not in _HELD or holding is None:
        return
    rules, ticker = turn.w.exits, turn.ticker_rules
    watch = exits.observe(state.watch, holding, turn.now, rules, ticker)
    turn.put(watch=watch)
    hard = exits.pick_hard(watch, holding, turn.now, rules, ticker)
    if hard is not None:
        want(turn, hard)
    if not slow:
        return
    found = exits.pick_slow(watch, holding, turn.now, rules, ticker)
    if found is not None:
        want(turn, found)
    if exits.is_resubscribe_due(watch, turn.now, rules):
        says.quote_wanted(turn)
    if found is not None and found.floor is Tier.MARKET and turn.s.is_link_up is False:
        text = f"{turn.intent.contract.label}: no quote and no order path, {holding.qty} held"
        alarm = operator.Alarm(key=f"blind:{turn.w.con_id}", severity="critical", text=text, at_utc=turn.now)
        turn.tell(alarm, "notifier", "web")


def slow_check(turn: Turn) -> None:
    """Look at the slow dimensions, tell the mark, and come again; sooner where the quote is about to be too old."""
    if turn.s.cycle in (PositionState.FLAT, PositionState.SETTLING):
        return
    look(turn, slow=True)
    says.changed(turn)
    rules = turn.w.exits
    seen = turn.s.watch.seen_utc
    blind = (seen + ms * MS + 1 for ms in (rules.blind_resubscribe_ms, rules.blind_exit_ms, rules.blind_market_ms))
    turn.arm_at("slow", min([turn.now + rules.slow_check_ms * MS, *(at for at in blind if at > turn.now)]))


# -- carrying it out -----------------------------------------------------------------------------


def steer(turn: Turn) -> None:
    """Bring the one exit order to what is wanted."""
    if turn.s.cycle is PositionState.OPEN and turn.s.wanted is not None and turn.s.book.held > 0:
        turn.move(PositionEvent.EXIT_WANTED)
    _cancel_what_is_too_much(turn)
    state, wanted = turn.s, turn.s.wanted
    if state.cycle is not PositionState.PENDING_EXIT or wanted is None or state.book.held <= 0:
        return
    if state.is_link_up is False or state.phase in AFTER_HOURS or turn.now < state.retry_utc:
        return
    if state.exit is None:
        if not _is_entry_in_the_way(turn):
            _plan_new(turn, wanted)
        return
    _plan_change(turn, state.exit, wanted)


def _cancel_what_is_too_much(turn: Turn) -> None:
    order, held = turn.s.exit, turn.s.book.held
    if order is None or order.cancel_wanted:
        return
    if order.stage is Stage.RECORDING:
        if held <= 0:
            turn.put(exit=None)
    elif order.qty - turn.s.book.filled(order.ref) > max(held, 0):
        turn.put(exit=replace(order, cancel_wanted=True))


def _is_entry_in_the_way(turn: Turn) -> bool:
    """Tell whether the entry's cancel is still waited for; after the wait the exit goes: it sells what is held."""
    entry = turn.s.entry
    if entry is None or entry.cancel_utc is None:
        return entry is not None
    due_utc = entry.cancel_utc + turn.w.exits.cancel_confirm_ms * MS
    if turn.now < due_utc:
        turn.arm_at("retry", due_utc)
        return True
    return False


def _plan_new(turn: Turn, wanted: Wanted) -> None:
    ticket = _ticket(turn, wanted)
    if ticket is None:
        return
    held = turn.s.book.held
    qty = (held + 1) // 2 if wanted.kind is ExitKind.TAKE_PART else held
    exit_n = turn.s.exit_n + 1
    order = LiveOrder(
        ref=turn.intent.exit_ref(exit_n), qty=qty, tier=ticket.tier, order_type=ticket.order_type,
        limit_ticks=ticket.limit_ticks, stage=Stage.RECORDING, sent_utc=turn.now,
        deadline_utc=turn.now + turn.w.connection.abandon_wait_ms * MS, reason=wanted.reason,
    )  # fmt: skip
    turn.put(exit=order, exit_n=exit_n)
    _record(turn, order, ticket.tier, qty)


def _plan_change(turn: Turn, order: LiveOrder, wanted: Wanted) -> None:
    filled = turn.s.book.filled(order.ref)
    qty = order.qty if wanted.kind is ExitKind.TAKE_PART else filled + turn.s.book.held
    if not needs_change(order, wanted, _desired(turn, wanted), qty):
        return
    ticket = _ticket(turn, wanted)
    if ticket is None:
        return
    ticket = not_less(order, ticket)
    if (ticket.order_type, ticket.limit_ticks, qty) == (order.order_type, order.limit_ticks, order.qty):
        turn.put(exit=replace(order, tier=ticket.tier, reason=wanted.reason))
        _arm_tier(turn)
        return
    order = replace(order, change=ticket, change_qty=qty)
    turn.put(exit=order)
    _record(turn, order, ticket.tier, qty)


def _desired(turn: Turn, wanted: Wanted) -> Tier:
    if turn.s.phase in (Phase.PANIC, Phase.FLATTEN):
        return Tier.MARKET
    return max(first_tier(wanted.reason), wanted.floor)


def _ticket(turn: Turn, wanted: Wanted) -> Ticket | None:
    watch, rules = turn.s.watch, turn.w.exits
    quote = watch.quote if exits.is_fresh(watch, turn.now, rules) else None
    last_bid = watch.last_bid_ticks if watch.last_bid_ticks is not None else turn.s.book.average_ticks
    rule = rule_of(turn.intent.contract.trading_class)
    return exit_ticket(wanted.reason, _desired(turn, wanted), quote, last_bid, rule, rules)


def _record(turn: Turn, order: LiveOrder, tier: Tier, qty: int) -> None:
    assert turn.s.wanted is not None
    message = orders.RecordExitIntent(
        position_id=turn.intent.position_id, reply_to=turn.w.name, con_id=turn.w.con_id, order_ref=order.ref,
        exit_n=turn.s.exit_n, reason=turn.s.wanted.reason.value, kind=turn.s.wanted.kind.value, qty=qty,
        tier=int(tier), at_utc=turn.now,
    )  # fmt: skip
    turn.tell(message, "desk_ledger")
    turn.arm(f"record:{order.ref}:{int(tier)}", turn.w.exits.record_wait_ms)


def recorded(turn: Turn, order_ref: str, tier: int, *, in_time: bool) -> None:
    """Send what was being recorded; an exit never waits for a disk, but entries halt when it does not answer."""
    order = turn.s.exit
    if order is None or order.ref != order_ref:
        return
    pending = order.tier if order.stage is Stage.RECORDING else order.change.tier if order.change else None
    if pending is None or int(pending) != tier:
        return
    if not in_time:
        says.halted(turn, f"{turn.w.name}: the ledger did not record exit {order_ref} in time; it goes on anyway")
    turn.disarm(f"record:{order_ref}:{tier}")
    if turn.s.is_link_up is False or turn.s.phase in AFTER_HOURS:
        turn.put(exit=None if order.stage is Stage.RECORDING else replace(order, change=None))
    elif order.stage is Stage.RECORDING:
        _send(turn, order)
    elif order.change is not None and order.stage is Stage.WORKING and not order.cancel_wanted:
        _modify(turn, order, order.change)
    else:
        turn.put(exit=replace(order, change=None))


def _send(turn: Turn, order: LiveOrder) -> None:
    held = turn.s.book.held
    order = replace(order, stage=Stage.SENT, qty=min(order.qty, held), sent_utc=turn.now)
    turn.put(exit=order, agree_after_utc=turn.now)
    submit = orders.SubmitOrder(
        order_ref=order.ref, reply_to=turn.w.name, contract=turn.intent.contract, side=Side.SELL, qty=order.qty,
        order_type=order.order_type or OrderType.MARKET, limit_ticks=order.limit_ticks, is_exit=True, permit=None,
        held_qty=held, deadline_utc=order.deadline_utc,
    )  # fmt: skip
    turn.tell(submit, "ibkr")
    turn.arm(f"ack:{order.ref}", turn.w.exits.ack_wait_ms)
    _arm_tier(turn)


def _modify(turn: Turn, order: LiveOrder, ticket: Ticket) -> None:
    deadline_utc = turn.now + turn.w.connection.abandon_wait_ms * MS
    order = replace(
        order, qty=max(order.change_qty, order.qty), tier=ticket.tier, order_type=ticket.order_type, change=None,
        limit_ticks=ticket.limit_ticks, reason=turn.s.wanted.reason if turn.s.wanted else order.reason,
        deadline_utc=deadline_utc,
    )  # fmt: skip
    turn.put(exit=order, agree_after_utc=turn.now)
    modify = orders.ModifyOrder(
        order_ref=order.ref, reply_to=turn.w.name, qty=order.qty, order_type=ticket.order_type,
        limit_ticks=ticket.limit_ticks, is_exit=True, permit=None, deadline_utc=deadline_utc,
    )  # fmt: skip
    turn.tell(modify, "ibkr")
    _arm_tier(turn)


def _arm_tier(turn: Turn) -> None:
    order, wanted = turn.s.exit, turn.s.wanted
    if order is not None and wanted is not None:
        turn.arm(f"tier:{order.ref}:{int(order.tier)}", tier_wait_ms(wanted.reason, order.tier, turn.w.exits))


def resumed(turn: Turn) -> None:
    """Take up the clock of an exit that was read back working at its tier."""
    _arm_tier(turn)


def tier_due(turn: Turn, order_ref: str, tier: int) -> bool:
    """Ask for the next tier; True says that the order is at the market already and the broker must be asked."""
    order, wanted = turn.s.exit, turn.s.wanted
    if order is None or wanted is None or order.ref != order_ref or int(order.tier) != tier:
        return False
    if order.tier is Tier.MARKET:
        _arm_tier(turn)
        return True
    turn.put(wanted=replace(wanted, floor=max(wanted.floor, next_tier(order.tier))))
    return False


def change_refused(turn: Turn, order: LiveOrder) -> None:
    """Give up modifying: cancel, wait for the end, then a new order at the tier that was asked for."""
    floor = order.tier
    if turn.s.wanted is not None:
        turn.put(wanted=replace(turn.s.wanted, floor=max(turn.s.wanted.floor, floor)))
    turn.put(exit=replace(order, cancel_wanted=True, change=None))


def over(turn: Turn) -> None:
    """Take note that the exit order is over: a part taken goes back to open, a rest gets a new order."""
    order = turn.s.exit
    if order is None:
        return
    turn.disarm(*(f"{kind}:{order.ref}" for kind in ("ack", "query", "cancel")), f"tier:{order.ref}:{int(order.tier)}")
    turn.put(exit=None)
    state, filled = turn.s, turn.s.book.filled(order.ref)
    is_part = state.wanted is not None and state.wanted.kind is ExitKind.TAKE_PART
    if is_part and filled and state.book.held > 0 and state.cycle is PositionState.PENDING_EXIT:
        turn.put(wanted=None, took_part=True, watch=exits.without_breaches(state.watch))
        turn.move(PositionEvent.PART_TAKEN)
    elif not filled and not order.cancel_wanted:
        try_later(turn, turn.w.exits.ack_wait_ms)


def try_later(turn: Turn, wait_ms: int) -> None:
    """Send no exit before a while has passed (the last one was refused)."""
    turn.put(retry_utc=turn.now + wait_ms * MS)
    turn.arm("retry", wait_ms)
