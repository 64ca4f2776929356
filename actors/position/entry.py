"""The entry order of a position: one step up, then a cancel; never market, never sent twice."""

from __future__ import annotations

from msgspec.structs import replace

from actors.position import reports as says
from actors.position.state import AFTER_HOURS, Intent, Turn
from domain.instants import MS
from domain.instruments import OrderType, Side
from domain.options.tick_rules import rule_of
from domain.orders.live_order import LiveOrder, Stage
from domain.orders.tiers import Tier, raised_entry_ticks
from domain.position.book import new_life
from domain.position.cycle import EndReason, PositionEvent, PositionState, can_enter
from domain.position.exits import Watch, is_fresh
from domain.session.phases import Phase
from messages import market, orders

TIMERS = ("entry_step", "entry_cancel", "entry_deadline")
_NO_ENTRIES = AFTER_HOURS | {Phase.PANIC, Phase.FLATTEN}


def opened(turn: Turn, ask: orders.OpenPosition) -> None:
    """Start a life: send the reserved entry, or give the reservation back."""
    state = turn.s
    intent = Intent(
        intent_id=ask.intent_id, source=ask.source, strategy=ask.strategy, direction=ask.direction,
        contract=ask.contract, order_ref=ask.order_ref, qty=ask.qty, deadline_utc=ask.deadline_utc,
        decision_ask_ticks=ask.decision_ask_ticks, decision_spot_ticks=ask.decision_spot_ticks, permit=ask.permit,
    )  # fmt: skip
    is_told_again = state.intent is not None and state.intent.intent_id == intent.intent_id
    is_first_hearing = not is_told_again or _is_only_restored(turn)
    if not is_first_hearing:
        return  # an entry is never sent again
    why = None if is_told_again else _refusal(turn)
    if why is not None:
        says.abandoned(turn, intent, why)
        return
    rules = turn.w.exits
    entry = LiveOrder(
        ref=ask.order_ref, qty=ask.qty, tier=Tier.MID, order_type=OrderType.LIMIT, limit_ticks=ask.limit_ticks,
        stage=Stage.SENT, sent_utc=turn.now, deadline_utc=ask.deadline_utc, reached=True,
    )  # fmt: skip
    turn.put(
        intent=intent, book=new_life(state.book), entry=entry, exit=None, exit_n=0, wanted=None, reason=None, end=None,
        watch=Watch(turn.now, last_bid_ticks=ask.decision_bid_ticks), opened_utc=None, entry_spot_ticks=None,
        entry_iv=None, took_part=False, broker_qty=None, is_disputed=False, retry_utc=0, agree_after_utc=turn.now,
    )  # fmt: skip
    turn.move(PositionEvent.OPEN_ASKED)
    says.watched(turn)
    submit = orders.SubmitOrder(
        order_ref=ask.order_ref, reply_to=turn.w.name, contract=ask.contract, side=Side.BUY, qty=ask.qty,
        order_type=OrderType.LIMIT, limit_ticks=ask.limit_ticks, is_exit=False, permit=ask.permit,
        deadline_utc=ask.deadline_utc,
    )  # fmt: skip
    turn.tell(submit, "ibkr")
    turn.arm(f"ack:{ask.order_ref}", rules.ack_wait_ms)
    turn.arm("entry_step", rules.entry_mid_ms)
    turn.arm("entry_cancel", rules.entry_mid_ms + rules.entry_step_ms)
    turn.arm_at("entry_deadline", min(ask.deadline_utc, turn.now + rules.entry_total_ms * MS))
    turn.arm("slow", rules.slow_check_ms)


def _is_only_restored(turn: Turn) -> bool:
    """Tell whether the intent is known from the ledger only: this very message made the actor, and nothing was sent.

    A message is decided once (one that crashes its actor is set aside), so no earlier incarnation has sent it either.
    """
    state = turn.s
    if state.intent is None or state.intent.permit is not None or state.cycle is not PositionState.PENDING_ENTRY:
        return False
    return state.entry is not None and state.entry.stage is Stage.UNKNOWN


def _refusal(turn: Turn) -> str | None:
    state = turn.s
    if not can_enter(state.cycle):
        return f"the position is {state.cycle.value}"
    if state.kill_level >= 1:
        return f"kill level {state.kill_level}"
    if state.phase in _NO_ENTRIES:
        return f"the day's phase is {state.phase}"
    return None


def step_due(turn: Turn) -> None:
    """Raise the limit once, where permit, link and quote allow it; otherwise it stays at the mid it had."""
    state, entry = turn.s, turn.s.entry
    if entry is None or entry.stage is not Stage.WORKING or entry.cancel_wanted or state.is_link_up is False:
        return
    permit, ask_max = turn.intent.permit, turn.intent.decision_ask_ticks
    quote = state.watch.quote if is_fresh(state.watch, turn.now, turn.w.exits) else None
    if quote is None or permit is None or ask_max is None:
        return
    if turn.now >= permit.expires_utc:
        wish = orders.RenewPermit(intent_id=turn.intent.intent_id, order_ref=entry.ref, reply_to=turn.w.name)
        turn.tell(wish, "risk")
        return
    rule = rule_of(turn.intent.contract.trading_class)
    limit = raised_entry_ticks(quote, entry.limit_ticks or 0, ask_max, turn.w.exits.entry_step_share, rule)
    if limit is None:
        return
    modify = orders.ModifyOrder(
        order_ref=entry.ref, reply_to=turn.w.name, qty=entry.qty, order_type=OrderType.LIMIT, limit_ticks=limit,
        is_exit=False, permit=permit, deadline_utc=entry.deadline_utc,
    )  # fmt: skip
    turn.tell(modify, "ibkr")
    turn.put(entry=replace(entry, limit_ticks=limit))


def permitted(turn: Turn, message: orders.PermitRenewed) -> None:
    """Raise with the new permit, if it is still this entry that works."""
    if turn.s.intent is not None and turn.s.entry is not None and turn.s.entry.ref == message.order_ref:
        turn.put(intent=replace(turn.intent, permit=message.permit))
        step_due(turn)


def give_up(turn: Turn) -> None:
    """Want the entry cancelled; what filled is kept."""
    entry = turn.s.entry
    if entry is not None and not entry.cancel_wanted:
        turn.put(entry=replace(entry, cancel_wanted=True, cancel_utc=turn.now))


def steer(turn: Turn) -> None:
    """Cancel an entry that is past its window or in the way of an exit."""
    state = turn.s
    if state.entry is not None and (state.wanted is not None or state.kill_level >= 1 or state.phase in _NO_ENTRIES):
        give_up(turn)


def over(turn: Turn) -> None:
    """Take note that the entry is over; without a fill the life ends here."""
    entry = turn.s.entry
    if entry is None:
        return
    turn.put(entry=None)
    turn.disarm(*TIMERS, *(f"{kind}:{entry.ref}" for kind in ("ack", "query", "cancel")))
    if turn.s.cycle is not PositionState.PENDING_ENTRY:
        turn.move(PositionEvent.ENTRY_ENDED)
        return
    turn.put(wanted=None, end=EndReason.ABANDONED)
    turn.move(PositionEvent.ENTRY_ENDED)
    says.abandoned(turn, turn.intent, "the entry ended without a fill")
    turn.tell(market.UnwatchContract(con_id=turn.w.con_id, reply_to=turn.w.name), "quotes")
    turn.disarm("slow")
