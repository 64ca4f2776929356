"""What a position publishes of itself and has recorded: one message each, made from its state."""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import replace

from actors.position.state import PositionData, PositionRules, PositionTurn
from domain.alarm import Severity
from domain.instants import MS
from domain.orders.intent import PositionRef
from domain.orders.live_order import LiveOrder
from domain.position.cycle import EndReason, ExitReason, PositionState
from domain.position.mark import mark_of
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.units import Cents, Qty
from messages import entries, market, operator, orders, positions, risk

Reported = tuple[tuple[object, ...], tuple[object, ...], tuple[object, ...]]


def realised_cents(state: PositionData, settled_ticks: int | None = None) -> Cents:
    """Return what this life has realised so far, net of its fees."""
    return _gained_cents(state, settled_ticks) - fees_cents(state)


def _gained_cents(state: PositionData, settled_ticks: int | None = None) -> Cents:
    """Return what this life has realised so far, before its fees."""
    return state.fills.realised_cents(state.opened_ref().contract.multiplier, settled_ticks)


def fees_cents(state: PositionData) -> Cents:
    """Return the fees of this life's orders so far."""
    return state.fills.fees_cents(state.opened_ref().position_id)


def open_text(turn: PositionTurn) -> str:
    """Return what is open, for people: by the ledger, and by the broker where it says something else."""
    state = turn.state
    broker_qty = state.broker_qty
    other = "" if broker_qty in (None, state.fills.signed_held) else f" (the broker holds {broker_qty})"
    return f"{state.opened_ref().contract.label} {state.fills.signed_held:+d}{other}"


def remedy(turn: PositionTurn) -> str:
    """Return what a person should do about what is open: what covers sold contracts must be the last to go."""
    if turn.state.is_held_back:
        return (
            "while the broker shows any of the contracts short that it covers, do NOT sell it: they are bought back"
            " first (`main.py flatten --direct --force` does both in order); where none is short, sell it by hand"
        )
    return "close it by hand, or with `main.py flatten --direct --force`"


# -- events --------------------------------------------------------------------------------------


def opened(turn: PositionTurn) -> None:
    """Publish that the first fill of a life is recorded."""
    state = turn.state
    ref = state.opened_ref()
    turn.publish(
        positions.PositionOpened(
            ref=ref, qty=state.fills.held, cost_cents=state.fills.cost_cents(ref.contract.multiplier),
            opened_utc=state.opened_utc or turn.now,
        )
    )  # fmt: skip


def changed(turn: PositionTurn) -> None:
    """Publish where the position stands now."""
    state = turn.state
    ref = state.opened_ref()
    mark = mark_of(state.fills, state.watch, ref.contract.multiplier, turn.now)
    paid_cents = fees_cents(state)
    turn.publish(
        positions.PositionChanged(
            ref=ref, state=state.cycle, qty=state.fills.held,
            cost_cents=state.fills.cost_cents(ref.contract.multiplier),
            realised_cents=_gained_cents(state) - paid_cents, fees_cents=paid_cents,
            unrealised_cents=mark.unrealised_cents, mark_utc=mark.at_utc, exit_reason=state.exit_reason,
            at_utc=turn.now,
        )
    )  # fmt: skip


def leg_changed(turn: PositionTurn) -> None:
    """Publish where a leg of a structure stands; nothing of what is none.

    Nothing is held of one whose life is over, and it came to what its end said, though no execution may say so: it was
    closed by somebody else, or it expired.
    """
    state = turn.state
    if state.ref is None or not state.ref.is_leg:
        return
    is_flat, joint = state.cycle is PositionState.FLAT, _joint(state)
    end = state.past.get(state.ref.position_id) if is_flat else None
    mark = mark_of(state.fills, state.watch, state.ref.contract.multiplier, turn.now)
    turn.publish(
        positions.LegChanged(
            ref=state.ref, qty=Qty(0) if is_flat else state.fills.held, average_ticks=state.fills.average_ticks,
            is_entry_over=state.orders.entry is None, is_flat=is_flat, exit_reason=_leaves_for(state),
            is_free=state.is_free, realised_cents=realised_cents(state) if end is None else end.realised_cents,
            fees_cents=fees_cents(state),
            unrealised_cents=Cents(0) if is_flat else mark.unrealised_cents, at_utc=turn.now, mark_utc=mark.at_utc,
            is_clear=_is_clear(state), joint_ref=UNSET if joint is None else joint.ref,
            joint_ticks=UNSET if joint is None or joint.limit_ticks is None else joint.limit_ticks,
            missing_qty=_missing_qty(state) or UNSET,
        )
    )  # fmt: skip


def _joint(state: PositionData) -> LiveOrder | None:
    """Return the order for all legs that this one takes part in."""
    live = (state.orders.entry, state.orders.exit)
    return next((order for order in live if order is not None and order.is_joint), None)


def _is_clear(state: PositionData) -> bool:
    """Return whether nothing is held nor can be, by the broker's newest word too; the other side is not ours."""
    if state.fills.held > 0 or state.orders.entry is not None or state.orders.exit is not None:
        return False
    return state.broker_qty is not None and state.is_broker_newer and state.fills.sign * state.broker_qty <= 0


def _missing_qty(state: PositionData) -> Qty:
    """Return how much of what the ledger holds the broker no longer does, once both had their time to agree."""
    is_held = state.cycle is not PositionState.FLAT and state.disputed_utc is not None and state.is_broker_newer
    return Qty(min(state.gap_qty, max(state.fills.held, 0))) if is_held else Qty(0)


def _leaves_for(state: PositionData) -> ExitReason | None:
    return None if state.cycle is PositionState.FLAT or state.wanted is None else state.wanted.reason


def leg_refused(turn: PositionTurn, ref: PositionRef) -> None:
    """Publish that nothing is held of a leg nor can come to be; nothing of what is none."""
    if not ref.is_leg:
        return
    turn.publish(
        positions.LegChanged(
            ref=ref, qty=Qty(0), average_ticks=None, is_entry_over=True, is_flat=True, exit_reason=None, is_free=False,
            realised_cents=Cents(0), fees_cents=Cents(0), unrealised_cents=Cents(0), at_utc=turn.now,
        )
    )  # fmt: skip


def closed(turn: PositionTurn, end: EndReason, settled_ticks: int | None) -> None:
    """Publish that the position is flat and the broker agrees; what expired did so at the close of its own session."""
    state = turn.state
    day, ref = state.day, state.opened_ref()
    is_at_close = day is not None and turn.now >= day.close_utc
    event = positions.PositionClosed(
        ref=ref, reason=state.exit_reason, end=end, opened_qty=state.fills.opened_qty,
        realised_cents=realised_cents(state, settled_ticks), fees_cents=fees_cents(state),
        opened_utc=state.opened_utc or turn.now,
        closed_utc=day.close_utc if day is not None and is_at_close else turn.now,
        is_correction=state.is_estimated or ref.position_id in state.past,
        took_part=state.took_part,
    )  # fmt: skip
    _publish_closed(turn, event)


def corrected(turn: PositionTurn, past: positions.PositionClosed, more_fees_cents: Cents) -> None:
    """Publish again how a life ended, with a fee that came after it."""
    event = replace(
        past, fees_cents=past.fees_cents + more_fees_cents, realised_cents=past.realised_cents - more_fees_cents,
        is_correction=True,
    )  # fmt: skip
    _publish_closed(turn, event)


def _publish_closed(turn: PositionTurn, event: positions.PositionClosed) -> None:
    turn.state.past = turn.state.past.put(event.ref.position_id, event)
    turn.publish(event)


def fill_booked(turn: PositionTurn, fill: orders.FillRecorded, qty: Qty) -> None:
    """Publish a fill that changed what is held."""
    state = turn.state
    turn.publish(
        positions.FillBooked(
            ref=state.opened_ref(), side=fill.side, qty=qty,
            price_ticks=fill.price_ticks if fill.is_price_known else None,
            is_entry=state.is_entry(fill.order_ref), held_qty=state.fills.held, at_utc=fill.at_utc,
        )
    )  # fmt: skip


def entry_amended(turn: PositionTurn, ref: PositionRef, code: RejectCode, words: str) -> None:
    """Publish that an accepted attempt came to nothing after all, and why."""
    amended = entries.EntryAmended(key=ref.key, intent_id=ref.intent_id, code=code, words=words, at_utc=turn.now)
    turn.publish(amended)


def entry_abandoned(turn: PositionTurn, ref: PositionRef, order_ref: str, why: str) -> None:
    """Publish that an entry ended without a fill, and give its reservation back."""
    turn.publish(positions.EntryAbandoned(ref=ref, order_ref=order_ref, why=why))
    turn.tell("desk_ledger", entries.ReleaseReservation(intent_id=ref.intent_id, reason=why))


def disputed(rules: PositionRules, turn: PositionTurn, why: str, level: KillLevel = KillLevel.NO_ENTRIES) -> None:
    """Publish, once, that ledger and broker do not agree, and halt entries (or more)."""
    state = turn.state
    if state.disputed_utc is not None:
        return
    state.disputed_utc = turn.now
    turn.publish(
        positions.PositionDisputed(
            position_id=state.opened_ref().position_id, con_id=rules.con_id, ledger_qty=state.fills.signed_held,
            broker_qty=state.broker_qty, why=why,
        )
    )  # fmt: skip
    raise_kill(turn, why, level)


def alarm(turn: PositionTurn, key: str, severity: Severity, text: str) -> None:
    """Publish what a person should look at."""
    turn.publish(operator.Alarm(key=key, severity=severity, text=text, at_utc=turn.now))


# -- commands ------------------------------------------------------------------------------------


def raise_kill(turn: PositionTurn, reason: str, level: KillLevel = KillLevel.NO_ENTRIES) -> None:
    """Raise the kill level."""
    turn.tell("kill", risk.RaiseKill(level=level, reason=reason, by=turn.name))


def watch_contract(turn: PositionTurn) -> None:
    """Ask for the contract's quotes until flat."""
    turn.tell("quotes", market.WatchContract(contract=turn.state.opened_ref().contract))


def unwatch_contract(rules: PositionRules, turn: PositionTurn) -> None:
    """Ask for the contract's quotes no longer."""
    turn.tell("quotes", market.UnwatchContract(con_id=rules.con_id))


def request_quote(rules: PositionRules, turn: PositionTurn) -> None:
    """Ask for a new tick (the quote is stale); the quotes' actor may have been started again and watch nothing."""
    watch_contract(turn)
    request = market.RequestQuote(
        request_id=f"{turn.name}:{turn.now}", reply_to=turn.name, con_id=rules.con_id, newer_than_utc=turn.now,
        expires_utc=turn.now + rules.exits.blind_resubscribe_ms * MS,
    )  # fmt: skip
    turn.tell("quotes", request)


# -- what a turn changed -------------------------------------------------------------------------


def reported(state: PositionData) -> Reported:
    """Return what others are shown of a state, and what the ledger keeps of it."""
    shown = (state.cycle, state.fills, None if state.wanted is None else state.wanted.reason)
    kept = (
        state.cycle, state.wanted, state.reason, state.exit_n, state.exit_tier, state.entry_spot_ticks, state.entry_iv,
        state.opened_utc, state.took_part, state.end, state.fills, state.settlement_ticks,
    )  # fmt: skip
    if state.ref is None or not state.ref.is_leg:
        return shown, kept, ()
    of_leg = (
        state.cycle, state.fills, state.orders.entry is None, _leaves_for(state), state.is_free, _is_clear(state),
        _joint(state) is None, _missing_qty(state),
    )  # fmt: skip
    return shown, kept, of_leg


def report_changes(turn: PositionTurn, before: Reported) -> None:
    """Publish and record what this turn changed."""
    if turn.state.ref is None:
        return
    shown, kept, of_leg = reported(turn.state)
    if shown != before[0]:
        changed(turn)
    if kept != before[1]:
        _record(turn)
    if of_leg != before[2]:
        leg_changed(turn)


def _record(turn: PositionTurn) -> None:
    state = turn.state
    record = positions.RecordPosition(
        ref=state.opened_ref(), state=state.cycle, exit_reason=state.exit_reason,
        exit_kind=None if state.wanted is None else state.wanted.kind, exit_n=state.exit_n, tier=state.exit_tier,
        entry_spot_ticks=state.entry_spot_ticks, entry_iv=state.entry_iv, opened_utc=state.opened_utc,
        took_part=state.took_part, end=state.end, realised_cents=realised_cents(state), at_utc=turn.now,
        settlement_ticks=state.settlement_ticks,
    )  # fmt: skip
    turn.tell("desk_ledger", record)
