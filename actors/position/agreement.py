"""When a position is flat: ledger and broker must agree; a difference that lasts is a dispute.

What is closed by somebody else is found here too: the broker holds nothing any more, and no order of ours says why.
"""

from __future__ import annotations

from actors.position import adaptive, reports
from actors.position.day import is_over
from actors.position.recovery import request_order_state
from actors.position.settlement import end_expired, is_settlement_due
from actors.position.state import AFTER_HOURS, PositionRules, PositionTurn, Timer, arm_in, move
from domain.alarm import Severity
from domain.instants import MS
from domain.instruments import Side
from domain.orders.references import position_of
from domain.position.cycle import EndReason, PositionEvent, PositionState
from domain.position.exits import MarketWatch
from domain.position.mark import last_closing_ticks
from domain.risk.kill import KillLevel
from domain.session.phases import Phase
from domain.starved import busy_text, excused_ms
from domain.units import Qty, Utc
from messages import lifecycle, positions

_ALIVE = frozenset({PositionState.OPEN, PositionState.PENDING_EXIT, PositionState.SETTLING})
_COMPARED = frozenset({PositionState.FLAT, PositionState.OPEN, PositionState.PENDING_EXIT})


def on_broker_position(rules: PositionRules, turn: PositionTurn, read: positions.BrokerPositionRead) -> None:
    """Take what the broker holds, and hold again what the ledger has taken back."""
    on_broker_quantity(rules, turn, read.qty, read.read_utc, read.has_executions, is_taken_back=read.is_taken_back)


def on_broker_quantity(
    rules: PositionRules, turn: PositionTurn, qty: Qty, read_utc: Utc, has_executions: bool,
    *, is_taken_back: bool = False,
) -> None:  # fmt: skip
    """Take the signed quantity that the broker holds; a difference that lasts becomes a dispute.

    `has_executions`: whether the read-back behind it could read the day's executions. `is_taken_back`: the ledger says
    that it is ours; by its quantity alone it may as well be somebody else's.
    """
    state = turn.state
    if state.ref is None or read_utc < state.broker_read_utc <= turn.now:
        return  # overtaken by a later word (one that stands in the future was read before a clock stepped back)
    if qty != state.broker_qty:
        state.retry_utc = Utc(0)  # what denied the last exit may have been this
    state.broker_qty = qty
    state.broker_read_utc = read_utc
    state.has_executions = has_executions
    state.is_broker_newer = read_utc >= state.last_fill_utc
    if state.is_broker_newer:
        state.asks_first = False
        state.gap_qty = max(Qty(state.fills.held - state.fills.sign * qty), Qty(0))
    if is_taken_back and _is_held_after_all(turn):
        _take_back(rules, turn)
    if qty == _ledger_qty(turn):
        if not state.has_tried_often:  # else one exit after another that something at the broker holds back
            state.retry_utc = Utc(0)
        if state.fills.held >= 0:  # more closed than held stays in dispute: else each word of the broker opens another
            state.disputed_utc = None
    elif state.cycle in _COMPARED and state.phase is not Phase.CLOSED:
        _await_agreement(turn, turn.now + rules.exits.agreement_ms * MS)


def _is_held_after_all(turn: PositionTurn) -> bool:
    """Return whether the broker holds just what was booked as closed without an execution of its close."""
    state = turn.state
    is_over = state.cycle is PositionState.FLAT and state.is_estimated and state.phase not in AFTER_HOURS
    return is_over and state.fills.held > 0 and state.broker_qty == state.fills.signed_held


def _take_back(rules: PositionRules, turn: PositionTurn) -> None:
    """Hold it again: its exits watch it from now on, and its end will be booked anew."""
    state = turn.state
    move(turn, PositionEvent.HELD_AFTER_ALL)
    state.end = None
    state.watch = MarketWatch(turn.now)
    state.agree_after_utc = turn.now
    text = (
        f"{state.opened_ref().contract.label}: the broker holds {state.broker_qty}, which was booked as closed at an"
        " estimate: it is held and watched again"
    )
    reports.alarm(turn, f"held_again:{rules.con_id}", Severity.CRITICAL, text)
    reports.raise_kill(turn, text)
    reports.opened(turn)
    reports.watch_contract(turn)
    arm_in(turn, Timer.SLOW, rules.exits.slow_check_ms)


def _ledger_qty(turn: PositionTurn) -> Qty:
    """Return what the broker should hold: nothing where the life is over, whatever it was closed by."""
    state = turn.state
    return Qty(0) if state.cycle is PositionState.FLAT else state.fills.signed_held


def _await_agreement(turn: PositionTurn, due_utc: Utc, excused_before_ms: int = 0) -> None:
    if turn.state.agree_due_utc is None:
        turn.state.agree_due_utc = due_utc
        turn.arm(Timer.AGREE, due_utc, excused_ms=excused_before_ms)


def on_agreement_due(rules: PositionRules, turn: PositionTurn, fired: lifecycle.TimerFired) -> None:
    """Dispute when broker and ledger had their time and still differ; ask again for as long as they do.

    Where nothing was read since a restart the broker is asked first: its word may be older than this actor. On a busy
    machine the broker is asked, too, and both have more time before the first dispute.
    """
    state = turn.state
    state.agree_due_utc = None
    if state.cycle not in _COMPARED or state.is_link_up is False:
        return
    is_read_since = state.broker_qty is not None and state.broker_read_utc >= state.last_fill_utc
    is_idle = state.orders.entry is None and state.orders.exit is None
    is_closed = state.cycle is not PositionState.FLAT and state.fills.held == 0 and is_idle
    is_unconfirmed = is_closed and not _is_broker_flat(turn)
    is_different = state.broker_qty is not None and state.broker_qty != _ledger_qty(turn)
    waited_ms = rules.exits.agreement_ms
    more_ms = excused_ms(fired.starved_ms, waited_ms, fired.excused_ms) if state.disputed_utc is None else 0
    if more_ms and (is_different or is_unconfirmed):
        state.asks_first = False
        request_order_state(rules, turn, state.entry_ref)
        text = f"Broker and ledger do not agree in time, but {busy_text(fired.starved_ms, waited_ms)}."
        reports.alarm(turn, "machine_busy", Severity.WARNING, text)
        _await_agreement(turn, turn.now + more_ms * MS, fired.excused_ms + more_ms)
    elif is_read_since and is_different:
        if state.disputed_utc is not None or state.opened_ref().is_leg:  # a leg that is gone leaves another uncovered
            request_order_state(rules, turn, state.entry_ref)  # the answer comes after a read-back
        if state.disputed_utc is not None:
            _say_what_is_not_booked(rules, turn)
        reports.disputed(rules, turn, f"the broker holds {state.broker_qty}, the ledger {_ledger_qty(turn)}")
        _await_agreement(turn, turn.now + rules.exits.stuck_page_ms * MS)
    elif (state.asks_first or state.is_link_up is None) and (is_different or is_unconfirmed):
        state.asks_first = False
        request_order_state(rules, turn, state.entry_ref)
    elif is_unconfirmed:
        reports.disputed(rules, turn, "everything is closed and the broker does not confirm it")


def _is_broker_flat(turn: PositionTurn) -> bool:
    return turn.state.broker_qty == 0 and turn.state.broker_read_utc >= turn.state.agree_after_utc


def _is_gone(rules: PositionRules, turn: PositionTurn) -> bool:
    """Return whether what the ledger holds is no longer at the broker, long after both were asked again."""
    state = turn.state
    if state.disputed_utc is None or state.broker_qty != 0 or state.is_link_up is False:
        return False
    is_old = turn.now >= state.disputed_utc + rules.exits.stuck_page_ms * MS
    return is_old and state.broker_read_utc > state.disputed_utc


def _is_bookable(turn: PositionTurn) -> bool:
    """Return whether a close by somebody else may be estimated: its execution, were there one, would be in the books.

    Once the day is over nothing later can show it.
    """
    return turn.state.has_executions or is_settlement_due(turn) or is_over(turn)


def _say_what_is_not_booked(rules: PositionRules, turn: PositionTurn) -> None:
    """Page, as often as the broker is asked, for a close that waits for executions which cannot be read."""
    if _is_gone(rules, turn) and not _is_bookable(turn):
        text = (
            f"{turn.state.opened_ref().contract.label}: the broker no longer holds the {turn.state.fills.held} of the"
            " ledger, and its executions cannot be read: nothing is booked until they are; look at the gateway"
        )
        reports.alarm(turn, f"unread:{rules.con_id}", Severity.CRITICAL, text)


def steer_flat(rules: PositionRules, turn: PositionTurn) -> None:
    """End the life when nothing is held, no order lives and the broker agrees."""
    state = turn.state
    if state.fills.held < 0 and state.cycle is not PositionState.FLAT:
        reports.disputed(rules, turn, f"more was closed than held: {state.fills.held}", KillLevel.FLATTEN)
    if state.cycle not in _ALIVE or state.orders.entry is not None or state.orders.exit is not None:
        return
    if state.cycle is PositionState.SETTLING:
        if state.close_qty == 0:
            if _is_bookable(turn):
                _end_gone(rules, turn)
        elif _is_broker_flat_since_close(turn) or is_settlement_due(turn):
            end, worth_ticks = end_expired(turn)
            _end_life(rules, turn, end, worth_ticks)
    elif state.fills.held == 0:
        if _is_broker_flat(turn) or is_over(turn):
            if not _is_fee_awaited(rules, turn):
                is_by_others = state.fills.is_closed_by_others
                _end_life(rules, turn, EndReason.BROKER_LIQUIDATION if is_by_others else EndReason.CLOSED, None)
                _say_replaced(rules, turn)
        else:
            _await_agreement(turn, turn.now + rules.exits.agreement_ms * MS)
    elif _is_gone(rules, turn) and _is_bookable(turn):
        _end_gone(rules, turn)


def _is_broker_flat_since_close(turn: PositionTurn) -> bool:
    state = turn.state
    return _is_broker_flat(turn) and (state.settling_utc is None or state.broker_read_utc >= state.settling_utc)


def _is_fee_awaited(rules: PositionRules, turn: PositionTurn) -> bool:
    """Return whether commission reports are still waited for (once), so that the result is net of what they say."""
    state, position_id = turn.state, turn.state.opened_ref().position_id
    short = [row for row in state.fills.rows if row.charged_qty < row.qty]
    if not any(position_of(row.order_ref) == position_id for row in short):
        return False
    if state.fees_due_utc is None:
        due_utc = turn.now + rules.exits.record_wait_ms * MS
        state.fees_due_utc = due_utc
        turn.arm(Timer.FEES, due_utc)
    return turn.now < state.fees_due_utc


def _end_gone(rules: PositionRules, turn: PositionTurn) -> None:
    """End a life whose contracts somebody else has closed; the last price known to close it stands in for theirs."""
    state = turn.state
    price_ticks = last_closing_ticks(state.fills, state.watch)
    side = "bid" if state.fills.side is Side.BUY else "ask"
    text = (
        f"{state.opened_ref().contract.label}: {state.fills.held} that the ledger holds were closed at the broker by"
        f" somebody else; booked at the last {side} {price_ticks / 100:.2f}: compare the broker's statement"
    )
    reports.alarm(turn, f"gone:{rules.con_id}", Severity.CRITICAL, text)
    _end_life(rules, turn, EndReason.BROKER_LIQUIDATION, round(price_ticks * state.fills.held))
    state.is_estimated = True


def _say_replaced(rules: PositionRules, turn: PositionTurn) -> None:
    """Say that an estimated result was replaced, once its close is on record."""
    state = turn.state
    if not state.is_estimated:
        return
    state.is_estimated = False
    text = (
        f"{state.opened_ref().contract.label}: the executions of its close have been read; the result that was booked"
        f" at an estimate is now {reports.realised_cents(state) / 100:+.2f} USD net"
    )
    reports.alarm(turn, f"replaced:{rules.con_id}", Severity.WARNING, text)


def _end_life(rules: PositionRules, turn: PositionTurn, end: EndReason, settled_ticks: int | None) -> None:
    state = turn.state
    reports.closed(turn, end, settled_ticks)
    adaptive.end(rules, turn, end, settled_ticks)
    move(turn, PositionEvent.BROKER_AGREED)
    state.wanted = None
    state.end = end
    state.agree_due_utc = None
    state.disputed_utc = None
    state.fees_due_utc = None
    state.retry_utc = Utc(0)
    reports.unwatch_contract(rules, turn)
    for timer in (Timer.SLOW, Timer.AGREE, Timer.FEES, Timer.RETRY):
        turn.disarm(timer)
