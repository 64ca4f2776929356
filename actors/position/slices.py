"""An entry in slices: when the next one is asked for, recorded and sent, and what ends it; exits are never sliced.

A slice goes out as any entry order does, after `risk` has let it through its gates and the ledger has it on record. The
plan lives in this actor alone: after a restart what filled is the position, and nothing more is sent.
"""

from __future__ import annotations

from actors.position.entry_order import NO_ENTRIES, send_slice
from actors.position.state import PositionData, PositionRules, PositionTurn, Timer, arm_in
from domain.instants import MS
from domain.orders.references import slice_ref
from domain.orders.twap import Twap, TwapEvent, TwapStage
from domain.position.cycle import PositionState
from domain.risk.kill import KillLevel
from domain.units import Utc
from messages import entries, orders

PASSED_OVER, ENDED = "passed over", "slices ended"  # of the order's history


def steer_slices(turn: PositionTurn) -> None:
    """Bring the plan to the facts: nothing more where the position must not grow, else the next slice's instant."""
    state, twap = turn.state, turn.state.twap
    if twap is None or not twap.is_on:
        return
    why = _obstacle(state, twap)
    if why:
        stop_slices(turn, why)
    elif twap.stage is TwapStage.WORKING and state.orders.entry is None:
        _await_next(turn, twap.after(TwapEvent.SLICE_ENDED))


def _obstacle(state: PositionData, twap: Twap) -> str:
    """Return why nothing of the entry may follow; empty where something may."""
    if state.fills.opened_qty >= twap.plan.total_qty:
        return "all of it is filled"
    if state.wanted is not None or state.cycle is PositionState.PENDING_EXIT:
        return f"the position is leaving ({'' if state.exit_reason is None else state.exit_reason.value})"
    if state.kill_level >= KillLevel.NO_ENTRIES:
        return f"kill level {state.kill_level.value}"
    if state.phase in NO_ENTRIES:
        return f"the day's phase is {state.phase}"
    if state.is_halted:
        return "trading is halted"
    if state.is_link_up is False:
        return "the broker session was lost"
    if state.disputed_utc is not None or state.short_qty:
        return "the broker holds something else"
    if state.orders.entry is None and state.cycle is not PositionState.OPEN:
        return "nothing is held"
    return ""


def stop_slices(turn: PositionTurn, why: str) -> None:
    """Let no slice follow; one that works is not touched by this."""
    twap = turn.state.twap
    if twap is None or not twap.is_on:
        return
    turn.state.twap = twap.after(TwapEvent.STOPPED)
    turn.disarm(Timer.SLICE)
    filled, total = turn.state.fills.opened_qty, twap.plan.total_qty
    _note(turn, ENDED, f"{filled} of {total} filled, slice {twap.n} of {twap.plan.slices}: {why}")


def on_slice_due(rules: PositionRules, turn: PositionTurn) -> None:
    """Ask for the next slice; where one is asked for already, the answer is overdue and nothing follows."""
    state, twap = turn.state, turn.state.twap
    if twap is None or not twap.is_on or state.decision is None:
        return
    if twap.stage is not TwapStage.WAITING:
        silent = "risk" if twap.stage is TwapStage.ASKED else "the ledger"
        stop_slices(turn, f"{silent} did not answer in time")
        return
    if _obstacle(state, twap):
        return  # steering ends it with the reason
    twap = state.twap = twap.asking(state.fills.opened_qty)
    if twap.qty < 1:  # more is held than was ordered so far
        stop_slices(turn, "nothing is missing")
        return
    request = entries.RequestSlice(
        ref=state.opened_ref(), order_ref=_ref_of(turn, twap), qty=twap.qty, decision=state.decision,
        reply_to=turn.name,
    )  # fmt: skip
    turn.tell("risk", request)
    arm_in(turn, Timer.SLICE, rules.exits.ack_wait_ms)


def on_slice_allowed(rules: PositionRules, turn: PositionTurn, report: entries.SliceAllowed) -> None:
    """Have the slice's order recorded, if that is what is waited for."""
    twap = _awaiting(turn, report.order_ref, TwapStage.ASKED)
    if twap is None:
        return
    state = turn.state
    twap = state.twap = twap.allowed(report.limit_ticks)
    state.permit = report.permit
    ref = state.opened_ref()
    record = orders.RecordSlice(
        intent_id=ref.intent_id, reply_to=turn.name, con_id=rules.con_id, order_ref=report.order_ref, side=ref.side,
        qty=twap.qty, limit_ticks=twap.limit_ticks, n=twap.n, slices=twap.plan.slices, at_utc=turn.now,
    )  # fmt: skip
    turn.tell("desk_ledger", record)
    arm_in(turn, Timer.SLICE, rules.exits.ack_wait_ms)


def on_slice_refused(turn: PositionTurn, report: entries.SliceRefused) -> None:
    """Pass the slice over, its contracts going into the next one; or end here, where no other could pass either."""
    twap = _awaiting(turn, report.order_ref, TwapStage.ASKED)
    if twap is None:
        return
    code = report.verdict.finding.code
    why = f"{report.verdict.gate} refused it: {'' if code is None else code.value}"
    if report.is_final or twap.is_last:
        stop_slices(turn, why)
        return
    _note(turn, PASSED_OVER, f"slice {twap.n} of {twap.plan.slices}: {why}")
    _await_next(turn, twap.after(TwapEvent.PASSED_OVER))


def on_slice_recorded(rules: PositionRules, turn: PositionTurn, report: orders.SliceRecorded) -> None:
    """Send what the ledger has recorded, unless the position must not grow any more."""
    twap, permit = _awaiting(turn, report.order_ref, TwapStage.RECORDING), turn.state.permit
    if twap is None or permit is None or _obstacle(turn.state, twap):
        return
    turn.disarm(Timer.SLICE)
    twap = turn.state.twap = twap.after(TwapEvent.RECORDED)
    send_slice(rules, turn, report.order_ref, twap, permit)


def _await_next(turn: PositionTurn, twap: Twap) -> None:
    turn.state.twap = twap
    if twap.is_last:
        stop_slices(turn, "all slices are sent")
    else:
        turn.arm(Timer.SLICE, max(twap.due_utc, Utc(turn.now + MS)))


def _awaiting(turn: PositionTurn, order_ref: str, stage: TwapStage) -> Twap | None:
    twap = turn.state.twap
    return twap if twap is not None and twap.stage is stage and order_ref == _ref_of(turn, twap) else None


def _ref_of(turn: PositionTurn, twap: Twap) -> str:
    return slice_ref(turn.state.opened_ref().position_id, twap.n)


def _note(turn: PositionTurn, event: str, why: str) -> None:
    turn.publish(orders.SliceNoted(order_ref=turn.state.entry_ref, event=event, why=why, at_utc=turn.now))
