"""How a position learns what it does not know: its state from the ledger, an order's fate from a read-back."""

from __future__ import annotations

from actors.position import adaptive, reports
from actors.position.day import begin_day
from actors.position.exit_order import arm_tier
from actors.position.state import PositionRules, PositionTurn, Timer, arm_in, keep_order
from domain.instants import MS
from domain.orders.live_order import (
    LegStage,
    LiveOrder,
    doubted,
    ended,
    found_working,
    gone_after_utc,
    is_gone,
    is_over,
)
from domain.orders.order_pair import OrderPair, OrderRole
from domain.orders.references import position_of
from domain.orders.tiers import Tier
from domain.position.cycle import ExitKind, PositionState
from domain.position.exits import MarketWatch, WantedExit
from domain.position.fills import Fills, FillTotals, with_fees, with_fill
from domain.units import Utc
from messages import lifecycle, orders, restored, risk, session

# -- the state -----------------------------------------------------------------------------------


def on_started(rules: PositionRules, turn: PositionTurn, message: lifecycle.Started) -> None:
    """Take back what the ledger knows, and ask for the phase, the kill level and the mode."""
    if isinstance(message.restored, restored.PositionRestored) and message.restored.reservation is not None:
        _restore(rules, turn, message.restored, message.restored.reservation)
    turn.tell("session", session.RequestPhase(reply_to=turn.name))
    turn.tell("kill", risk.RequestKillLevel(reply_to=turn.name))
    turn.tell("ibkr", session.RequestMode(reply_to=turn.name))


def _restore(
    rules: PositionRules, turn: PositionTurn, known: restored.PositionRestored, reservation: restored.Reservation
) -> None:
    """Rebuild the state and ask the broker for every order that may live.

    An entry is never sent again: it is looked for, and cancelled where it still works.
    """
    state = turn.state
    state.ref = reservation.ref
    state.entry_ref = reservation.order_ref
    state.is_free = known.is_free
    state.fills = _fills(reservation, known.fills)
    state.exit_n = known.exit_n
    state.reason = known.exit_reason
    state.opened_utc = known.opened_utc
    state.entry_spot_ticks = known.entry_spot_ticks
    state.entry_iv = known.entry_iv
    state.took_part = known.took_part
    state.settlement_ticks = known.settlement_ticks
    state.is_estimated = known.is_estimated is True
    adaptive.take_back(rules, turn, known.tightened)
    state.watch = MarketWatch(turn.now)
    state.last_fill_utc = turn.now
    state.agree_after_utc = turn.now
    state.asks_first = True
    state.cycle = _cycle(known.state, state.fills)
    begin_day(rules, turn)
    if state.cycle is PositionState.SETTLING and state.day is not None:
        state.settling_utc = min(turn.now, state.day.close_utc)
    if state.cycle is PositionState.PENDING_EXIT and known.exit_reason is not None:
        state.wanted = WantedExit(known.exit_reason, known.exit_kind or ExitKind.FULL, known.tier)
    state.orders = _orders_looked_for(rules, known, reservation, state.fills, turn.now)
    reports.watch_contract(turn)
    if state.fills.opened_qty and known.opened_utc is None:
        state.opened_utc = turn.now
        reports.opened(turn)
    if state.orders.exit is not None:
        request_order_state(rules, turn, state.orders.exit.ref)
    if state.orders.entry is not None:  # not at once: the mail that made this actor may be the entry's own
        arm_in(turn, Timer.QUERY, rules.exits.ack_wait_ms, state.orders.entry.ref)
    arm_in(turn, Timer.SLOW, rules.exits.slow_check_ms)


def _fills(reservation: restored.Reservation, totals: tuple[restored.OrderFill, ...]) -> Fills:
    fills = Fills(side=reservation.ref.side)
    for total in totals:  # of the highest revisions already
        fills = with_fill(fills, FillTotals(total.order_ref, total.side, total.qty, total.cost_ticks))
        fills = with_fees(fills, total.order_ref, total.side, total.fees_cents, total.charged_qty)
    return fills


def _cycle(recorded: PositionState, fills: Fills) -> PositionState:
    if not fills.opened_qty:
        return PositionState.PENDING_ENTRY
    if recorded is PositionState.SETTLING:
        return PositionState.SETTLING
    is_exiting = recorded is PositionState.PENDING_EXIT or fills.held <= 0
    return PositionState.PENDING_EXIT if is_exiting else PositionState.OPEN


def _orders_looked_for(
    rules: PositionRules, known: restored.PositionRestored, reservation: restored.Reservation, fills: Fills, now: Utc
) -> OrderPair:
    entry = exit_ = None
    ref, qty, deadline_utc = reservation.order_ref, reservation.qty, reservation.deadline_utc
    if known.entry is not None:  # of an entry in slices the newest alone may work, and it may have left just now
        ref, qty = known.entry.order_ref, known.entry.qty
        deadline_utc = max(deadline_utc, Utc(now + rules.exits.entry_total_ms * MS))
    if fills.filled(ref) < qty:
        entry = LiveOrder(
            ref=ref, qty=qty, tier=Tier.MID, order_type=None, limit_ticks=None,
            stage=LegStage.UNKNOWN, sent_utc=Utc(0), deadline_utc=deadline_utc, reached=True,
            cancel_wanted=True, cancel_utc=now,
        )  # fmt: skip
    if known.exit_order_ref is not None and fills.held > 0:
        exit_ = LiveOrder(
            ref=known.exit_order_ref, qty=fills.filled(known.exit_order_ref) + fills.held, tier=known.tier,
            order_type=None, limit_ticks=None, stage=LegStage.UNKNOWN, sent_utc=now, deadline_utc=now, reached=True,
        )  # fmt: skip
    return OrderPair(entry, exit_)


# -- an order's fate -----------------------------------------------------------------------------


def request_order_state(rules: PositionRules, turn: PositionTurn, order_ref: str) -> None:
    """Ask the broker what became of an order; until the answer it is unknown, and nothing is sent in its place."""
    live = turn.state.orders.find(order_ref)
    if live is not None:
        role, order = live
        keep_order(turn, role, doubted(order))
        turn.disarm(Timer.ACK, order_ref)
        arm_in(turn, Timer.QUERY, rules.connection.query_wait_ms, order_ref)
    turn.tell("ibkr", orders.RequestOrderState(order_ref=order_ref, reply_to=turn.name, con_id=rules.con_id))


def on_news_overdue(rules: PositionRules, turn: PositionTurn, order_ref: str, stage: LegStage) -> None:
    """Ask when a wait for an order's news is over and it still is at this stage; a lost link asks by itself."""
    live = turn.state.orders.find(order_ref)
    if live is None or turn.state.is_link_up is False:
        return
    _, order = live
    is_end_doubtful = stage is LegStage.UNKNOWN and order.ended_qty is not None
    if order.stage is stage or is_end_doubtful:
        request_order_state(rules, turn, order_ref)


def on_order_found(rules: PositionRules, turn: PositionTurn, report: orders.OrderFound) -> None:
    """Believe a read-back: the order works as the broker says, or it ended with what its executions say."""
    state, live = turn.state, turn.state.orders.find(report.order_ref)
    if live is None:
        is_of_this_life = state.ref is not None and position_of(report.order_ref) == state.ref.position_id
        if report.is_working and is_of_this_life:
            turn.tell("ibkr", orders.CancelOrder(order_ref=report.order_ref, reply_to=turn.name))
        return
    role, order = live
    if report.read_back_utc < order.sent_utc:  # read before it was sent: it says nothing of it
        arm_in(turn, Timer.QUERY, rules.connection.query_wait_ms, order.ref)
        return
    turn.disarm(Timer.QUERY, order.ref)
    if report.is_working:
        keep_order(turn, role, found_working(order, report.qty, report.order_type, report.limit_ticks))
        if role is OrderRole.EXIT:
            arm_tier(rules, turn)
        return
    order = ended(order, report.filled_qty, is_sure=True)
    keep_order(turn, role, order)
    if not is_over(order, state.fills.filled(order.ref)):
        arm_in(turn, Timer.QUERY, rules.connection.query_wait_ms, order.ref)


def on_order_not_found(rules: PositionRules, turn: PositionTurn, report: orders.OrderNotFound) -> None:
    """Believe that there is no such order, but only when none can be under way any more."""
    live = turn.state.orders.find(report.order_ref)
    if live is None:
        return
    role, order = live
    wait_ms = rules.connection.abandon_wait_ms
    if is_gone(order, report.read_back_utc, wait_ms):
        keep_order(turn, role, ended(order, turn.state.fills.filled(order.ref), is_sure=True))
    else:
        turn.arm(Timer.QUERY, max(gone_after_utc(order, wait_ms), turn.now + MS), order.ref)
