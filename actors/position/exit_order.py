"""The one exit order of a position: made harder by modification, replaced only when it is over.

`request_exit` notes what is wanted; after every message `steer_exit` brings the order to it. What is to be sent or
changed is recorded first (`_record_intent`) and then goes to the broker session (`_send`, `_modify`). A clock runs for
the tier at which it stands. What it asks for: `exit_ticket.py`. Stages: `domain/orders/live_order.py`.

Where the settings say so, a stop rests at the broker from the fill on: it is this one order, and an exit modifies it.
"""

from __future__ import annotations

from actors.position import reports
from actors.position.exit_ticket import desired_tier, is_market_barred, stop_ticket, ticket_of
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
    parse_tier_subject,
    tier_subject,
)
from domain.alarm import Severity
from domain.instants import MS
from domain.instruments import OrderType, Side
from domain.orders.live_order import (
    LegStage,
    LiveOrder,
    doubted,
    dropped,
    is_resting_stop,
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
from domain.orders.tiers import Ticket, Tier, next_tier, tier_wait_ms
from domain.position import exits
from domain.position.cycle import ExitKind, ExitReason, PositionEvent, PositionState
from domain.position.exits import WantedExit
from domain.risk.kill import KillLevel
from domain.session.phases import Phase
from domain.starved import busy_text, excused_ms
from domain.units import Qty, Ticks, Utc
from messages import lifecycle, orders, positions

_REFUSALS_MAX = 3  # refusals of the broker's in a row from which on every one is paged
_BACK_OFF_MAX = 8  # times `ack_wait_ms`: the longest pause after a refusal, or after very many exits


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
    _leave_combination(turn)
    _cancel_excess(turn)
    if not _can_send(state) or _is_pause(turn):
        return
    wanted = state.wanted
    if state.cycle is PositionState.OPEN and wanted is None:
        _plan_stop(rules, turn)
    elif state.cycle is not PositionState.PENDING_EXIT or wanted is None:
        return
    elif state.kill_level >= KillLevel.FLATTEN and state.short_qty > 0:
        is_free = state.orders.exit is None and state.orders.entry is None and not is_market_barred(turn)
        if is_free and state.cover_qty > 0:
            _plan_buy_back(rules, turn, wanted)
    elif state.fills.held <= 0:
        return
    elif state.orders.exit is not None:
        if not state.orders.exit.is_joint:
            _plan_change(rules, turn, state.orders.exit, wanted)
    elif not _is_entry_in_the_way(rules, turn):
        _plan_new(rules, turn, wanted)


def join_exit(rules: PositionRules, turn: PositionTurn, command: positions.JoinExit) -> None:
    """Take part in one order that closes all legs of the structure, if nothing else is under way; tell either way.

    Nothing of it is sent from here: the order for the combination is the structure's, and this is its leg.
    """
    state = turn.state
    if state.ref is None or state.ref.structure_id != command.structure_id:
        return
    quote = exits.tradable_quote(state.watch, turn.now, rules.exits)
    touch_ticks = None if quote is None else quote.bid_ticks if state.ref.side is Side.BUY else quote.ask_ticks
    if not touch_ticks or not _can_join(turn, command):
        reports.leg_changed(turn)
        return
    state.exit_n, state.reason = command.exit_n, command.reason
    order = LiveOrder(
        ref=exit_ref(state.ref.position_id, command.exit_n), qty=command.qty, tier=Tier.NONE,
        order_type=OrderType.LIMIT, limit_ticks=touch_ticks, stage=LegStage.SENT, sent_utc=turn.now,
        deadline_utc=turn.now + rules.connection.abandon_wait_ms * MS, is_joint=True,
    )  # fmt: skip
    keep_order(turn, OrderRole.EXIT, order)
    state.agree_after_utc = turn.now
    state.sent_early |= {tier_subject(order.ref, Tier.NONE)}  # it goes out without waiting for its record
    _record_intent(rules, turn, order, WantedExit(command.reason), Tier.NONE, command.qty, command.combo_ref)
    arm_in(turn, Timer.ACK, rules.exits.ack_wait_ms, order.ref)


def _can_join(turn: PositionTurn, command: positions.JoinExit) -> bool:
    state = turn.state
    is_idle = state.orders.entry is None and state.orders.exit is None and state.wanted is None
    is_sound = state.disputed_utc is None and state.short_since_utc is None and not state.is_halted
    return (
        state.cycle is PositionState.OPEN
        and is_idle
        and is_sound
        and _can_send(state)
        and not _is_pause(turn)
        and state.phase not in (Phase.PANIC, Phase.FLATTEN)
        and 0 < command.qty == state.fills.held
        and command.exit_n > state.exit_n
    )


def _leave_combination(turn: PositionTurn) -> None:
    """Have the combination's order cancelled where this leg leaves by itself, or the day's last minutes have come."""
    state = turn.state
    order = state.orders.exit
    if order is None or not order.is_joint or order.cancel_wanted:
        return
    if state.wanted is not None or state.phase in (Phase.PANIC, Phase.FLATTEN):
        keep_order(turn, OrderRole.EXIT, unwanted(order))


def _can_send(state: PositionData) -> bool:
    """Return whether link and hours let an exit go; where the link is unknown, the broker session decides."""
    return state.is_link_up is not False and state.phase not in AFTER_HOURS


def _is_pause(turn: PositionTurn) -> bool:
    return turn.now < max(turn.state.retry_utc, turn.state.refused_until_utc)


def _cancel_excess(turn: PositionTurn) -> None:
    """Cancel an exit order that could close more than is held.

    What the broker holds counts here only once the difference lasts: until then the ledger may have the fill of this
    very order still to come.
    """
    state = turn.state
    order, most = state.orders.exit, state.fills.held
    if order is None or order.cancel_wanted or order.is_buy_back:
        return
    if state.disputed_utc is not None or state.short_qty or (state.is_held_back and not order.is_joint):
        most = state.closable_qty
    if order.stage is LegStage.RECORDING:
        if most <= 0:
            keep_order(turn, OrderRole.EXIT, dropped(order))
    elif order.qty - state.fills.filled(order.ref) > max(most, 0):
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


def _part_of(held: Qty, wanted: WantedExit) -> Qty:
    """Return how much of what is held the exit closes: all of it, or half (rounded up) where a part is taken."""
    return Qty((held + 1) // 2) if wanted.kind is ExitKind.TAKE_PART else held


def _plan_new(rules: PositionRules, turn: PositionTurn, wanted: WantedExit) -> None:
    """Have a new exit order recorded, for what ledger and broker both hold."""
    closable = turn.state.closable_qty
    ticket = ticket_of(rules, turn, wanted) if closable > 0 else None
    if ticket is not None:
        _record_new(rules, turn, wanted, ticket, _part_of(closable, wanted))


def _plan_stop(rules: PositionRules, turn: PositionTurn) -> None:
    """Have the stop recorded that rests at the broker, where the settings say so."""
    state = turn.state
    if not rules.exits.disaster_stop or state.is_disaster_refused or is_market_barred(turn):
        return
    if state.opened_ref().is_leg or (state.twap is not None and state.twap.is_on):
        return  # one stop for all of an entry in slices, once none follows
    average, closable = state.fills.average_ticks, state.closable_qty
    if state.orders.exit is None and state.orders.entry is None and closable > 0 and average:
        ticket, trigger = stop_ticket(rules, turn, average)
        _record_new(rules, turn, WantedExit(ExitReason.DISASTER), ticket, closable, stop_ticks=trigger)


def _plan_buy_back(rules: PositionRules, turn: PositionTurn, wanted: WantedExit) -> None:
    """Have the purchase recorded that covers what the broker holds short: the only one that ever closes anything."""
    ticket = Ticket(Tier.MARKET, OrderType.MARKET, None)
    _record_new(rules, turn, wanted, ticket, turn.state.cover_qty, is_buy_back=True)


def _record_new(
    rules: PositionRules,
    turn: PositionTurn,
    wanted: WantedExit,
    ticket: Ticket,
    qty: Qty,
    *,
    stop_ticks: Ticks | None = None,
    is_buy_back: bool = False,
) -> None:
    state = turn.state
    state.exit_n += 1
    order = LiveOrder(
        ref=exit_ref(state.opened_ref().position_id, state.exit_n), qty=qty, tier=ticket.tier,
        order_type=ticket.order_type, limit_ticks=ticket.limit_ticks, stage=LegStage.RECORDING, sent_utc=turn.now,
        deadline_utc=turn.now + rules.connection.abandon_wait_ms * MS, reason=wanted.reason, stop_ticks=stop_ticks,
        is_buy_back=is_buy_back,
    )  # fmt: skip
    keep_order(turn, OrderRole.EXIT, order)
    _record_intent(rules, turn, order, wanted, ticket.tier, qty)


def _plan_change(rules: PositionRules, turn: PositionTurn, order: LiveOrder, wanted: WantedExit) -> None:
    """Have a change recorded where more is wanted than the order asks for; `qty` is its total, filled part included.

    During a halt an order at the market is taken back to a limit.
    """
    fills = turn.state.fills
    qty = Qty(fills.filled(order.ref) + turn.state.closable_qty)
    if is_resting_stop(order):
        qty = Qty(fills.filled(order.ref) + _part_of(turn.state.closable_qty, wanted))
    elif wanted.kind is ExitKind.TAKE_PART or qty < order.qty:
        qty = order.qty
    is_barred = order.order_type is OrderType.MARKET and is_market_barred(turn) and not order.is_buy_back
    if not needs_change(order, wanted, desired_tier(turn, wanted), qty, is_barred=is_barred):
        return
    ticket = ticket_of(rules, turn, wanted)
    if ticket is None:
        return
    ticket = ticket if is_barred else not_less(order, ticket, turn.state.opened_ref().side.opposite)
    if (ticket.order_type, ticket.limit_ticks, qty) == (order.order_type, order.limit_ticks, order.qty):
        keep_order(turn, OrderRole.EXIT, raised_in_place(order, ticket.tier, wanted.reason))
        arm_tier(rules, turn)
        return
    order = with_change(order, ticket, qty)
    keep_order(turn, OrderRole.EXIT, order)
    _record_intent(rules, turn, order, wanted, ticket.tier, qty)


def _record_intent(
    rules: PositionRules, turn: PositionTurn, order: LiveOrder, wanted: WantedExit, tier: Tier, qty: Qty,
    combo_ref: str = "",
) -> None:  # fmt: skip
    ref = turn.state.opened_ref()
    intent = orders.RecordExitIntent(
        position_id=ref.position_id, reply_to=turn.name, con_id=rules.con_id, order_ref=order.ref,
        exit_n=turn.state.exit_n, side=ref.side if order.is_buy_back else ref.side.opposite, reason=wanted.reason,
        kind=wanted.kind, qty=qty, tier=tier, at_utc=turn.now, combo_ref=combo_ref,
    )  # fmt: skip
    turn.tell("desk_ledger", intent)
    arm_in(turn, Timer.RECORD, rules.exits.record_wait_ms, tier_subject(order.ref, tier))


# -- sending -------------------------------------------------------------------------------------


def on_exit_intent_recorded(rules: PositionRules, turn: PositionTurn, report: orders.ExitIntentRecorded) -> None:
    """Send what the ledger has recorded."""
    order = _awaiting_record(turn.state, report.order_ref, report.tier)
    if order is not None:
        _proceed(rules, turn, order, report.tier)
    elif (subject := tier_subject(report.order_ref, report.tier)) in turn.state.sent_early:
        turn.state.sent_early -= {subject}
        turn.disarm(Timer.RECORD, subject)


def on_record_overdue(rules: PositionRules, turn: PositionTurn, fired: lifecycle.TimerFired) -> None:
    """Send it anyway: an exit never waits for a disk, but entries halt when it does not answer.

    On a busy machine it has more time before they do.
    """
    state, subject, waited_ms = turn.state, fired.subject, rules.exits.record_wait_ms
    order_ref, tier = parse_tier_subject(subject)
    order = _awaiting_record(state, order_ref, tier)
    if order is None and subject not in state.sent_early:
        return
    state.sent_early -= {subject}
    more_ms = excused_ms(fired.starved_ms, waited_ms, fired.excused_ms)
    if not more_ms:
        why = f"{turn.name}: the ledger did not record exit {order_ref} in time; it goes on anyway"
        reports.raise_kill(turn, why)
    if order is not None:
        _proceed(rules, turn, order, tier)
    if more_ms:
        state.sent_early |= {subject}
        turn.arm(Timer.RECORD, turn.now + more_ms * MS, subject, fired.excused_ms + more_ms)
        text = (
            f"The ledger did not record exit {order_ref} in time, but {busy_text(fired.starved_ms, waited_ms)};"
            " the exit goes on anyway."
        )
        reports.alarm(turn, "machine_busy", Severity.WARNING, text)


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
    else:  # a doubt or a cancel has given the change up already: the second lock on never changing what is in doubt
        keep_order(turn, OrderRole.EXIT, without_change(order))


def _send(rules: PositionRules, turn: PositionTurn, order: LiveOrder) -> None:
    """Hand it to the broker session, for no more than may be closed by now; there may be nothing left to close."""
    state, ref = turn.state, turn.state.opened_ref()
    most = state.cover_qty if order.is_buy_back else state.closable_qty
    if most <= 0:
        keep_order(turn, OrderRole.EXIT, dropped(order))
        return
    order = submitted(order, min(order.qty, most), turn.now)
    assert order.order_type is not None  # `_record_new` has set it
    keep_order(turn, OrderRole.EXIT, order)
    state.agree_after_utc = turn.now
    request = OrderRequest(
        order_ref=order.ref, contract=ref.contract, side=ref.side if order.is_buy_back else ref.side.opposite,
        qty=order.qty, order_type=order.order_type, limit_ticks=order.limit_ticks, stop_ticks=order.stop_ticks,
        is_exit=True, deadline_utc=order.deadline_utc,
    )  # fmt: skip
    held = most if order.is_buy_back else state.fills.held
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
    if order is not None and wanted is not None and not is_resting_stop(order):
        wait_ms = tier_wait_ms(wanted.reason, order.tier, rules.exits)
        arm_in(turn, Timer.TIER, wait_ms, tier_subject(order.ref, order.tier))


def on_tier_due(rules: PositionRules, turn: PositionTurn, order_ref: str, tier: Tier) -> bool:
    """Want the next tier; return whether the order is at the market already, so that the broker must be asked."""
    state, order, wanted = turn.state, turn.state.orders.exit, turn.state.wanted
    if order is None or wanted is None or order.ref != order_ref or order.tier != tier:
        return False
    if order.tier is Tier.MARKET:
        arm_tier(rules, turn)
        return True  # a limit in its place is priced anew when it is found
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
    if not report.allows_exits:
        state.is_link_up = False
    state.trouble = f"the broker session holds it back in mode {report.mode.value}"
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
    """Send no exit before a while has passed (the last one did not leave); a longer one after very many."""
    times = _BACK_OFF_MAX if turn.state.has_tried_often else 1
    turn.state.retry_utc = turn.now + times * rules.exits.ack_wait_ms * MS
    _arm_retry(turn)


def _arm_retry(turn: PositionTurn) -> None:
    due_utc = max(turn.state.retry_utc, turn.state.refused_until_utc)
    if due_utc > turn.now:
        turn.arm(Timer.RETRY, due_utc)


def on_retry_due(turn: PositionTurn) -> None:
    """Wait on where a longer pause runs; steering does the rest."""
    _arm_retry(turn)


# -- refusals of the broker ----------------------------------------------------------------------


def count_refusal(rules: PositionRules, turn: PositionTurn, order: LiveOrder, words: str, *, is_change: bool) -> None:
    """Count what the broker refused: wait longer each time, change tier and type, and say it from the third on.

    A first refused change is replaced at once, since the order itself stood in no doubt.
    """
    state = turn.state
    if is_resting_stop(order) and not is_change:
        state.is_disaster_refused = True
        text = f"{reports.open_text(turn)}: no stop rests at the broker, it refused it: {words}"
        reports.alarm(turn, f"no_stop:{rules.con_id}", Severity.HIGH, text)
        return
    state.refusals += 1
    state.trouble = f"the broker refused it: {words}"
    if not is_change:  # a new order of the type that a change was refused is another thing
        state.refused_type = order.order_type
        if state.wanted is not None and order.order_type is not OrderType.MARKET:
            state.wanted = exits.at_least(state.wanted, next_tier(order.tier))
    if not is_change or state.refusals > 1:
        times = min(2 ** (state.refusals - 1), _BACK_OFF_MAX)
        state.refused_until_utc = turn.now + times * rules.exits.ack_wait_ms * MS
        _arm_retry(turn)
    if state.refusals < _REFUSALS_MAX:
        return
    text = (
        f"{reports.open_text(turn)}: the broker refused its exit {state.refusals} times, last in these words: {words};"
        " see what it wants, or close it by hand"
    )
    reports.alarm(turn, f"refused:{rules.con_id}", Severity.CRITICAL, text)
    if state.refusals == _REFUSALS_MAX:
        reports.raise_kill(turn, text)


def forget_refusals(turn: PositionTurn) -> None:
    """Forget what was refused: an exit has filled."""
    state = turn.state
    state.refusals, state.refused_type, state.refused_until_utc, state.trouble = 0, None, Utc(0), ""
    if state.stuck_since_utc is not None:
        state.stuck_since_utc = None
        turn.disarm(Timer.STUCK)
