"""The entry order of a position: one step up, then a cancel; never market, never sent twice."""

from __future__ import annotations

from msgspec.structs import replace

from actors.position import adaptive, reports
from actors.position.day import begin_day
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
)
from domain.instants import MS, full_second
from domain.instruments import OrderType
from domain.options.tick_rules import rule_of
from domain.orders.intent import Permit
from domain.orders.live_order import LegStage, LiveOrder, settled, unwanted, with_limit
from domain.orders.order_pair import OrderPair, OrderRole
from domain.orders.request import OrderChange, OrderRequest
from domain.orders.tiers import Tier, raised_entry_ticks
from domain.orders.twap import Twap, begun
from domain.position.cycle import NO_FILL, EndReason, PositionEvent, PositionState, can_enter
from domain.position.day import day_of, phase_of
from domain.position.exits import MarketWatch, tradable_quote
from domain.position.fills import new_life
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.phases import Phase
from domain.units import Qty, Ticks, Utc
from messages import entries, orders

NO_ENTRIES = AFTER_HOURS | {Phase.LATE, Phase.PANIC, Phase.FLATTEN}


def on_open_position(rules: PositionRules, turn: PositionTurn, command: entries.OpenPosition) -> None:
    """Start a life: send the reserved entry, or give the reservation back."""
    state = turn.state
    is_known = state.ref is not None and state.ref.intent_id == command.ref.intent_id
    if is_known and not _is_only_restored(state):
        return  # an entry is never sent again
    refusal = None if is_known else _refusal(rules, turn, command)
    if refusal is not None:
        code, why = refusal
        reports.entry_abandoned(turn, command.ref, command.order_ref, why)
        reports.entry_amended(turn, command.ref, code, why)
        reports.leg_refused(turn, command.ref)
        return
    entry = _entry_of(turn, command.order_ref, command.qty, command.limit_ticks, command.deadline_utc)
    entry = replace(entry, is_joint=command.is_joint)
    _begin_life(rules, turn, command, entry)
    if not entry.is_joint:
        _submit(turn, entry, command.limit_ticks, command.permit)
    reports.watch_contract(turn)  # after the order, which waits for nothing
    _arm_entry(rules, turn, entry, is_leg=command.ref.is_leg)
    arm_in(turn, Timer.SLOW, rules.exits.slow_check_ms)


def send_slice(rules: PositionRules, turn: PositionTurn, order_ref: str, twap: Twap, permit: Permit) -> None:
    """Send the next order of an entry in slices, with the life of any entry's."""
    deadline_utc = Utc(turn.now + rules.exits.entry_total_ms * MS)
    entry = _entry_of(turn, order_ref, twap.qty, twap.limit_ticks, deadline_utc)
    keep_order(turn, OrderRole.ENTRY, entry)
    _submit(turn, entry, twap.limit_ticks, permit)
    _arm_entry(rules, turn, entry, is_leg=False)


def _entry_of(turn: PositionTurn, order_ref: str, qty: Qty, limit_ticks: Ticks, deadline_utc: Utc) -> LiveOrder:
    return LiveOrder(
        ref=order_ref, qty=qty, tier=Tier.MID, order_type=OrderType.LIMIT, limit_ticks=limit_ticks,
        stage=LegStage.SENT, sent_utc=turn.now, deadline_utc=deadline_utc, reached=True,
    )  # fmt: skip


def _submit(turn: PositionTurn, entry: LiveOrder, limit_ticks: Ticks, permit: Permit) -> None:
    ref = turn.state.opened_ref()
    request = OrderRequest(
        order_ref=entry.ref, contract=ref.contract, side=ref.side, qty=entry.qty, order_type=OrderType.LIMIT,
        limit_ticks=limit_ticks, is_exit=False, deadline_utc=entry.deadline_utc,
        good_till_utc=full_second(entry.deadline_utc),
    )  # fmt: skip
    turn.tell("ibkr", orders.SubmitOrder(order=request, reply_to=turn.name, permit=permit, held_qty=Qty(0)))


def _arm_entry(rules: PositionRules, turn: PositionTurn, entry: LiveOrder, *, is_leg: bool) -> None:
    exits = rules.exits
    arm_in(turn, Timer.ACK, exits.ack_wait_ms, entry.ref)
    if is_leg:  # at the touch from the start: no step up, and the structure says how long it may work
        turn.arm(Timer.ENTRY_DEADLINE, entry.deadline_utc)
    else:
        arm_in(turn, Timer.ENTRY_STEP, exits.entry_mid_ms)
        arm_in(turn, Timer.ENTRY_CANCEL, exits.entry_mid_ms + exits.entry_step_ms)
        turn.arm(Timer.ENTRY_DEADLINE, min(entry.deadline_utc, Utc(turn.now + exits.entry_total_ms * MS)))


def _begin_life(rules: PositionRules, turn: PositionTurn, command: entries.OpenPosition, entry: LiveOrder) -> None:
    state = turn.state
    state.ref = command.ref
    state.is_free = False
    state.entry_ref = command.order_ref
    state.decision = command.decision
    state.permit = command.permit
    state.twap = None if command.twap is None else begun(command.twap, command.limit_ticks, turn.now)
    state.fills = new_life(state.fills, command.ref.side)
    state.orders = OrderPair(entry=entry)
    state.exit_n = 0
    state.wanted = None
    state.reason = None
    state.end = None
    state.is_estimated = False
    state.watch = MarketWatch(turn.now, last_bid_ticks=command.decision.bid_ticks)
    state.opened_utc = None
    state.entry_spot_ticks = None
    state.entry_iv = None
    state.took_part = False
    state.settlement_ticks = None
    state.broker_qty = None
    state.is_broker_newer = False
    state.gap_qty = Qty(0)
    state.disputed_utc = None
    state.retry_utc = Utc(0)
    state.refused_until_utc, state.refusals, state.refused_type = Utc(0), 0, None
    state.is_disaster_refused = False
    state.trouble = ""
    state.agree_after_utc = turn.now
    begin_day(rules, turn)
    adaptive.begin(rules, turn, command)
    move(turn, PositionEvent.OPEN_REQUESTED)


def _is_only_restored(state: PositionData) -> bool:
    """Return whether the intent is known from the ledger only: this very message made the actor, nothing was sent.

    A message is decided once (one that crashes its actor becomes a dead letter), so no earlier incarnation sent it.
    """
    if state.permit is not None or state.cycle is not PositionState.PENDING_ENTRY:
        return False
    return state.orders.entry is not None and state.orders.entry.stage is LegStage.UNKNOWN


def _refusal(rules: PositionRules, turn: PositionTurn, command: entries.OpenPosition) -> tuple[RejectCode, str] | None:
    """Return why the position itself refuses to open, whatever the gates have said; `None` where it does not."""
    state = turn.state
    if not can_enter(state.cycle) or state.short_qty:
        what = f"the position is {state.cycle.value}" if not state.short_qty else "the broker holds it short"
        return RejectCode.DUPLICATE_POSITION, what
    if state.kill_level >= KillLevel.NO_ENTRIES:
        is_two = state.kill_level >= KillLevel.FLATTEN
        code = RejectCode.KILL_SWITCH_L2 if is_two else RejectCode.KILL_SWITCH_L1
        return code, f"kill level {state.kill_level.value}"
    if state.is_halted:
        return RejectCode.HALTED, "trading is halted"
    own = phase_of(day_of(command.ref.contract.expiry, turn.now, rules.day), turn.now)
    for phase in (own, state.phase):
        if phase in NO_ENTRIES:
            is_closed = phase in AFTER_HOURS
            code = RejectCode.SESSION_CLOSED if is_closed else RejectCode.ENTRY_WINDOW
            return code, f"the day's phase is {phase}"
    return None


def raise_limit(rules: PositionRules, turn: PositionTurn) -> None:
    """Raise the limit once, where permit, link and quote allow it; otherwise it stays at the mid it had."""
    state, entry = turn.state, turn.state.orders.entry
    if entry is None or entry.stage is not LegStage.WORKING or entry.cancel_wanted or state.is_link_up is False:
        return
    ref, permit, decision = state.opened_ref(), state.permit, state.decision
    quote = tradable_quote(state.watch, turn.now, rules.exits)
    if quote is None or permit is None or decision is None:
        return
    if turn.now >= permit.expires_utc:
        request = entries.RequestPermit(intent_id=ref.intent_id, order_ref=entry.ref, reply_to=turn.name)
        turn.tell("risk", request)
        return
    limit = raised_entry_ticks(
        quote, entry.limit_ticks or Ticks(0), decision.ask_ticks, rules.exits.entry_step_share,
        rule_of(ref.contract.trading_class),
    )  # fmt: skip
    if limit is None:
        return
    change = OrderChange(
        order_ref=entry.ref, qty=entry.qty, order_type=OrderType.LIMIT, limit_ticks=limit, is_exit=False,
        deadline_utc=entry.deadline_utc,
    )  # fmt: skip
    turn.tell("ibkr", orders.ModifyOrder(change=change, reply_to=turn.name, permit=permit))
    keep_order(turn, OrderRole.ENTRY, with_limit(entry, limit))


def on_permit_renewed(rules: PositionRules, turn: PositionTurn, report: entries.PermitRenewed) -> None:
    """Raise with the new permit, if it is still this entry that works."""
    entry = turn.state.orders.entry
    if entry is not None and entry.ref == report.order_ref:
        turn.state.permit = report.permit
        raise_limit(rules, turn)


def cancel_entry(turn: PositionTurn) -> None:
    """Want the entry cancelled; what filled is kept."""
    entry = turn.state.orders.entry
    if entry is not None and not entry.cancel_wanted:
        keep_order(turn, OrderRole.ENTRY, unwanted(entry, turn.now))


def steer_entry(turn: PositionTurn) -> None:
    """Cancel an entry that is past its window or in the way of an exit."""
    state = turn.state
    is_halted = state.kill_level >= KillLevel.NO_ENTRIES
    if state.orders.entry is not None and (state.wanted is not None or is_halted or state.phase in NO_ENTRIES):
        cancel_entry(turn)


def finish_entry(rules: PositionRules, turn: PositionTurn, order: LiveOrder) -> None:
    """Let go of the entry that is over; without a fill the life ends here."""
    state = turn.state
    keep_order(turn, OrderRole.ENTRY, settled(order))
    for timer in (Timer.ENTRY_STEP, Timer.ENTRY_CANCEL, Timer.ENTRY_DEADLINE):
        turn.disarm(timer)
    for timer in OF_AN_ORDER:
        turn.disarm(timer, order.ref)
    is_without_fill = state.cycle is PositionState.PENDING_ENTRY
    move(turn, PositionEvent.ENTRY_ENDED)
    if not is_without_fill:
        return
    state.wanted = None
    state.end = EndReason.ABANDONED
    reports.entry_abandoned(turn, state.opened_ref(), state.entry_ref, NO_FILL)
    reports.unwatch_contract(rules, turn)
    turn.disarm(Timer.SLOW)
