"""StructureActor: the saga of one structure, `structure:<desk>:<key>`; its legs are positions and act on its word.

What covers is bought first and free to be sold last. Each report of a leg changes facts; then the saga is brought to
them (`domain/structure/saga.py`) and what it wishes is told. What a leg does by itself (kill, end of day, a person's
word) takes the others along. On a crash the ledger gives back what its legs hold; they report the rest within seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from math import gcd
from typing import Final, assert_never

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from config.settings import Settings
from domain.alarm import Severity
from domain.instants import MS, SECOND, full_second
from domain.instruments import Contract, OrderType, Side, Spot
from domain.limits import DayRules, ExitRules
from domain.orders.combo import ComboLeg, combo_contract, increment_ticks
from domain.orders.intent import DecisionPrices, OrderLeg, Permit
from domain.orders.references import exit_ref
from domain.orders.request import OrderPart, OrderRequest
from domain.orders.tiers import Tier, tier_wait_ms
from domain.position.cycle import ExitReason
from domain.position.day import DayMark, day_of
from domain.risk.kill import KillLevel
from domain.session.phases import REGULAR, Phase
from domain.structure.credit import Terms
from domain.structure.exits import Marked, early_exit_of, exit_of, is_assignment_near
from domain.structure.rules import COVER, SHORT, SpreadRules
from domain.structure.saga import (
    EntryPart,
    Leg,
    Pair,
    Saga,
    SagaEvent,
    SagaState,
    Wish,
    advance,
    cover_sent,
    entry_asked,
    is_to_free,
    is_to_leave,
    leaving,
    leaving_as_one,
    moved,
    short_sent,
    wishes,
    with_legs,
)
from domain.structure.settlement import LegResult, result_of
from domain.units import Cents, Qty, Ticks, Utc
from messages import entries, lifecycle, market, operator, orders, positions, restored, risk, session, structures
from messages.structures import ReservedLeg
from supervision.actor import Actor
from supervision.turn import Turn

Inbox = (
    lifecycle.Started
    | lifecycle.TimerFired
    | structures.OpenStructure
    | entries.PermitRenewed
    | entries.PermitRefused
    | positions.LegChanged
    | market.SpotsChanged
    | session.PhaseChanged
)


JOINT_EXIT_N: Final = 1  # all legs leave as one before any has left by itself, or not at all
JOIN_NS: Final = 2 * SECOND  # all legs have said by then that they take part in one order, or they leave one by one
_LEG_BY_LEG: Final = frozenset({Phase.PANIC, Phase.FLATTEN})
CHECK_NS: Final = 10 * SECOND
WAIT_NS: Final = 5 * SECOND


class Timer(StrEnum):
    """What a structure waits for."""

    LEG = "leg"  # the shorts should be sold by now, or one order have opened all legs
    JOINT = "joint"  # one order should have closed all legs by now
    CHECK = "check"  # a leg under way is asked where it stands
    RESTORED = "restored"  # the mail that made this actor was not the entry's own
    LAST_CALL = "last_call"  # a short should be bought back by now


class Told(msgspec.Struct, frozen=True):
    """What a leg told of its money; `average_ticks` is `None` before a fill.

    `marked_utc` is the instant of the price behind `unrealised_cents`; where there never was one, since when it is
    missed. `joint_ref` and `joint_ticks` are those of an order for all legs that it takes part in.
    """

    average_ticks: float | None = None
    realised_cents: Cents = Cents(0)
    fees_cents: Cents = Cents(0)
    unrealised_cents: Cents | None = Cents(0)
    marked_utc: Utc = Utc(0)
    joint_ref: str = ""
    joint_ticks: Ticks | None = None


class StructureData(msgspec.Struct):
    """State of one structure; nothing before `OpenStructure` or what the ledger gives back.

    `legs` are what was reserved, each cover before its short, as in the saga, and `told` what each told of its money.
    `is_waiting`: restored, nothing ever filled, and the mail that made this actor may be `OpenStructure` itself.
    `is_new_run`: the process was started anew, so that each leg looks for its entry at the broker, and cancels it.
    `permit` is for the cover's entry. `has_asked` is whether a permit for the shorts was asked for, `uncovered` since
    when more is short than is covered, by contract. `given_back` are the positions whose entry was never sent and whose
    reservation was told to be free. `spot` is the fund's price, `index_spot` the index's.
    """

    structure_id: str = ""
    saga: Saga | None = None
    legs: tuple[ReservedLeg, ...] = ()
    told: tuple[Told, ...] = ()
    terms: Terms | None = None
    permit: Permit | None = None
    deadline_utc: Utc = Utc(0)
    spot: Spot | None = None
    index_spot: Spot | None = None
    is_waiting: bool = False
    is_new_run: bool = False
    has_asked: bool = False
    uncovered: Mapping[int, Utc] = {}
    given_back: tuple[str, ...] = ()
    phase: Phase | None = None
    close_utc: Utc | None = None


StructureTurn = Turn[StructureData]


class Rules(msgspec.Struct, frozen=True):
    """What does not change."""

    spread: SpreadRules
    day: DayRules
    mark_age_max_ns: int
    exits: ExitRules
    order_wait_ns: int  # an order that the broker has not heard of by then is none


class StructureActor(Actor[StructureData, Inbox]):
    """One structure of a desk."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._rules = Rules(
            settings.spread, settings.day, settings.kill.unknown_input_ms * MS, settings.exits,
            settings.connection.abandon_wait_ms * MS,
        )  # fmt: skip

    def initial(self) -> StructureData:
        """Return the state before anything is known."""
        return StructureData()

    def decide(self, turn: StructureTurn, message: Inbox) -> None:
        """Take note of one fact, then bring the saga to it and tell what it wishes."""
        rules, before = self._rules, _shown(turn.state)
        match message:
            case market.SpotsChanged():
                _on_spots(turn, message)
            case positions.LegChanged():
                _on_leg(turn, message)
            case structures.OpenStructure():
                _open(rules, turn, message)
            case entries.PermitRenewed():
                _on_permit(turn, message)
            case entries.PermitRefused():
                _want_out(turn, ExitReason.UNWIND)
            case session.PhaseChanged():
                turn.state.phase, turn.state.close_utc = message.phase, message.close_utc
            case lifecycle.Started():
                _start(rules, turn, message)
            case lifecycle.TimerFired():
                _on_timer(turn, Timer(message.kind))
            case _:
                assert_never(message)
        _steer(rules, turn)
        _tell_changes(turn, before)
        saga = turn.state.saga
        if saga is not None and saga.is_over and turn.state.phase is Phase.CLOSED:
            turn.retire()


# -- facts ----------------------------------------------------------------------------------------


def _open(rules: Rules, turn: StructureTurn, command: structures.OpenStructure) -> None:
    """Take the reserved legs over; a command that comes again changes nothing: an entry is sent once."""
    state = turn.state
    if state.saga is not None and not state.is_waiting:
        return
    turn.disarm(Timer.RESTORED)
    state.is_waiting = False
    state.structure_id, state.legs = command.structure_id, (command.cover, command.short, *command.further)
    state.told = (Told(marked_utc=turn.now),) * len(state.legs)
    state.terms, state.permit, state.deadline_utc = command.terms, command.permit, command.deadline_utc
    state.saga = _saga_of([Leg(leg.order.qty) for leg in state.legs], command.ratio, is_combo=command.is_combo)
    _arm_last_call(rules, turn, command.short.ref.contract)
    turn.arm(Timer.CHECK, turn.now + CHECK_NS)


def _saga_of(legs: Sequence[Leg], ratio: int, *, is_combo: bool = False) -> Saga:
    pairs = [Pair(cover, short) for cover, short in zip(legs[::2], legs[1::2], strict=True)]
    return Saga(
        cover=pairs[0].cover, short=pairs[0].short, ratio=ratio, is_combo=is_combo, further=tuple(pairs[1:])
    )  # fmt: skip


def _arm_last_call(rules: Rules, turn: StructureTurn, short: Contract) -> None:
    marks = day_of(short.expiry, turn.now, rules.day).marks
    due_utc = next(at_utc for at_utc, mark in marks if mark is DayMark.VERIFY_AGAIN)
    turn.arm(Timer.LAST_CALL, due_utc)


def _start(rules: Rules, turn: StructureTurn, message: lifecycle.Started) -> None:
    """Take back what the ledger says the legs hold; what is not whole is unwound: no entry is ever sent again.

    Where it knows of no fill, the legs may still find some at the broker: that is waited for.
    """
    turn.tell("session", session.RequestPhase(reply_to=turn.name))
    known = message.restored
    if not isinstance(known, restored.StructureRestored):
        return
    state = turn.state
    state.structure_id, state.terms = known.structure_id, known.terms
    of_legs = (known.cover, known.short, *known.further)
    state.legs = tuple(ReservedLeg(leg.reservation.ref, _order_of(leg.reservation)) for leg in of_legs)
    legs = [_leg_of(leg) for leg in of_legs]
    saga = replace(_saga_of(legs, known.ratio), state=SagaState.HELD)
    state.is_waiting = not any(leg.was_held for leg in legs)
    state.is_new_run = message.incarnation == 1
    state.saga = saga if saga.is_whole or state.is_waiting else leaving(saga, ExitReason.UNWIND)
    state.told = (Told(unrealised_cents=None, marked_utc=turn.now),) * len(state.legs)
    if known.are_terms_damaged is True:
        _say_damaged(turn, known.structure_id)
    _arm_last_call(rules, turn, known.short.reservation.ref.contract)
    turn.arm(Timer.CHECK, turn.now + CHECK_NS)
    if state.is_waiting:
        turn.arm(Timer.RESTORED, turn.now + WAIT_NS)


def _say_damaged(turn: StructureTurn, structure_id: str) -> None:
    """Halt entries for terms that cannot be read: the ledger is damaged, and who knows what else of it is."""
    text = (
        f"Spread {structure_id}: the terms on which it was opened cannot be read in the ledger, which is damaged; its"
        " legs are watched and closed as ever. Restore the ledger from a backup after the close."
    )
    alarm = operator.Alarm(key=f"terms:{structure_id}", severity=Severity.CRITICAL, text=text, at_utc=turn.now)
    turn.publish(alarm)
    turn.tell("kill", risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=text, by=turn.name))


def _order_of(reservation: restored.Reservation) -> OrderLeg:
    return OrderLeg(
        contract=reservation.ref.contract, side=reservation.ref.side, qty=reservation.qty,
        limit_ticks=reservation.limit_ticks, order_ref=reservation.order_ref,
    )  # fmt: skip


def _leg_of(known: restored.StructureLeg) -> Leg:
    held, opened = known.held_qty, known.opened_qty
    is_entry_over = not known.is_live or opened == known.reservation.qty
    return Leg(
        qty=known.reservation.qty, ordered=known.reservation.qty, held=held, was_held=opened > 0,
        entry=EntryPart.OVER if is_entry_over else EntryPart.WORKING, is_flat=not known.is_live,
    )  # fmt: skip


def _on_leg(turn: StructureTurn, report: positions.LegChanged) -> None:
    """Take what a leg says of itself; one of another structure is none of ours."""
    state, saga = turn.state, turn.state.saga
    if saga is None or report.ref.structure_id != state.structure_id:
        return
    ids = [leg.ref.position_id for leg in state.legs]
    if report.ref.position_id not in ids:
        return
    n = ids.index(report.ref.position_id)
    leg, was = saga.legs[n], state.told[n]
    if report.exit_reason is not None and not leg.is_leaving and leg.entry is not EntryPart.UNSENT:
        saga = leaving(saga, report.exit_reason)  # by itself: the end of the day, a kill, a person's word
    marked_utc = was.marked_utc if report.mark_utc is None else report.mark_utc
    told = Told(
        report.average_ticks, report.realised_cents, report.fees_cents, report.unrealised_cents, marked_utc,
        report.joint_ref or "", report.joint_ticks if report.joint_ticks is not UNSET else None,
    )  # fmt: skip
    state.saga = _with_leg(saga, n, _told(saga.legs[n], report))
    state.told = (*state.told[:n], told, *state.told[n + 1 :])
    if state.is_waiting and _are_legs_sure(state.saga):
        _end_wait(turn, state.saga)


def _are_legs_sure(saga: Saga) -> bool:
    """Return whether nothing more can be found of any leg's entry, or one has begun to leave."""
    return all(leg.entry is EntryPart.OVER for leg in saga.legs) or any(leg.is_leaving for leg in saga.legs)


def _look_at_restored(turn: StructureTurn, saga: Saga) -> None:
    """Decide on one that the ledger gave back without a fill; in a new run its legs may not have found theirs yet.

    A short without its cover waits for nobody.
    """
    state = turn.state
    if not state.is_waiting:
        return
    is_over = state.phase is Phase.CLOSED or saga.uncovered_qty > 0 or _are_legs_sure(saga)
    if is_over or not state.is_new_run:
        _end_wait(turn, saga)
        return
    turn.arm(Timer.RESTORED, turn.now + WAIT_NS)
    for leg in state.legs:
        turn.tell(_position(turn, leg), positions.RequestLeg(ref=leg.ref))


def _end_wait(turn: StructureTurn, saga: Saga) -> None:
    """Hold on what is whole, and unwind what is not."""
    turn.disarm(Timer.RESTORED)
    turn.state.is_waiting = False
    if not saga.is_whole:
        _want_out(turn, ExitReason.UNWIND)


def _with_leg(saga: Saga, n: int, leg: Leg) -> Saga:
    """Return the structure with these facts of one leg."""
    legs = saga.legs
    return with_legs(saga, (*legs[:n], leg, *legs[n + 1 :]))


def _told(leg: Leg, report: positions.LegChanged) -> Leg:
    if leg.entry is EntryPart.UNSENT:
        return leg
    return replace(
        leg, held=report.qty, was_held=leg.was_held or report.qty > 0,
        entry=EntryPart.OVER if report.is_entry_over else EntryPart.WORKING, is_flat=report.is_flat,
        is_leaving=report.exit_reason is not None, is_free=report.is_free, is_clear=report.is_clear,
        is_joint=report.joint_ref is not UNSET, missing=Qty(0) if report.missing_qty is UNSET else report.missing_qty,
    )  # fmt: skip


def _on_spots(turn: StructureTurn, event: market.SpotsChanged) -> None:
    for spot in event.spots:
        if spot.ticker == SHORT:
            turn.state.spot = spot
        elif spot.ticker == COVER:
            turn.state.index_spot = spot


def _on_permit(turn: StructureTurn, report: entries.PermitRenewed) -> None:
    """Sell what the cover covers, if that is still what is waited for."""
    state, saga = turn.state, turn.state.saga
    if saga is None or not _awaits_permit(saga) or report.order_ref != state.legs[1].order.order_ref:
        return
    short = state.legs[1]
    saga = short_sent(saga)
    state.saga = saga
    turn.tell(
        _position(turn, short),
        entries.OpenPosition(
            ref=short.ref, order_ref=short.order.order_ref, qty=saga.short.ordered, limit_ticks=short.order.limit_ticks,
            decision=_decision(short), permit=report.permit, deadline_utc=state.deadline_utc,
        ),
    )  # fmt: skip


def _awaits_permit(saga: Saga) -> bool:
    return Wish.OPEN_SHORT in wishes(saga)


def _on_timer(turn: StructureTurn, timer: Timer) -> None:
    state, saga = turn.state, turn.state.saga
    if saga is None:
        return
    match timer:
        case Timer.RESTORED:
            _look_at_restored(turn, saga)
        case Timer.CHECK:
            _check_legs(turn, saga)
        case Timer.LEG:
            if saga.state in (SagaState.SELLING, SagaState.ENTERING):
                _want_out(turn, ExitReason.UNWIND)
        case Timer.JOINT:
            if saga.state is SagaState.LEAVING:
                state.saga = moved(saga, SagaEvent.EXIT_WANTED)
        case Timer.LAST_CALL:
            for short, facts in zip(state.legs[1::2], saga.shorts, strict=True):
                if facts.may_be_held:
                    _page_short_left(turn, facts, short)
        case _:
            assert_never(timer)


def _page_short_left(turn: StructureTurn, facts: Leg, short: ReservedLeg) -> None:
    contract, held = short.ref.contract, facts.held
    what = f"{held} are still short" if held else "nobody has confirmed that none is short"
    text = (
        f"{contract.label}: {what} 5 min before the close; look at the account, and buy back what is short by hand, or"
        " with `main.py flatten --direct --force`"
    )
    turn.publish(
        operator.Alarm(
            key=f"short_left:{contract.con_id}", severity=Severity.CRITICAL, text=text, at_utc=turn.now
        )
    )  # fmt: skip
    turn.tell("kill", risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=text, by=turn.name))


def _check_legs(turn: StructureTurn, saga: Saga) -> None:
    """Ask legs that are under way where they stand: their news may have been lost with one of us."""
    state = turn.state
    if saga.is_over:
        return
    turn.arm(Timer.CHECK, turn.now + CHECK_NS)
    if saga.state is SagaState.HELD:
        return
    for leg, facts in zip(state.legs, saga.legs, strict=True):
        if facts.may_be_held:
            turn.tell(_position(turn, leg), positions.RequestLeg(ref=leg.ref))


def _want_out(turn: StructureTurn, reason: ExitReason) -> None:
    if turn.state.saga is not None:
        turn.state.saga = leaving(turn.state.saga, reason)


# -- steering -------------------------------------------------------------------------------------


def _steer(rules: Rules, turn: StructureTurn) -> None:
    """Bring the saga to the facts, and tell what it wishes."""
    state = turn.state
    if state.saga is None or state.is_waiting:
        return
    if state.phase is Phase.CLOSED and not state.saga.is_over:
        state.saga = moved(state.saga, SagaEvent.SESSION_CLOSED)
    state.saga = advance(state.saga)
    if state.saga.state is SagaState.HELD:
        marks = [_marked(rules, turn, leg, told) for leg, told in zip(state.legs, state.told, strict=True)]
        reason = _reason_to_leave(rules, turn, marks)
        if reason is ExitReason.BLIND:
            _page_blind(rules, turn, marks)
        if reason is not None:
            is_late = state.phase is None or state.phase in _LEG_BY_LEG
            state.saga = advance((leaving if is_late else leaving_as_one)(state.saga, reason))
    for wish in wishes(state.saga):
        _carry_out(rules, turn, wish)
    _steer_uncovered(turn)


def _reason_to_leave(rules: Rules, turn: StructureTurn, marks: Sequence[Marked]) -> ExitReason | None:
    state, short = turn.state, turn.state.legs[1].ref.contract
    reason = exit_of(marks, rules.spread)
    if short.ticker == SHORT:  # of an index nothing is assigned
        is_near = is_assignment_near(state.spot, short.strike_ticks, rules.spread)
        return ExitReason.ASSIGNMENT_RISK if is_near else reason
    sold = [leg.ref.contract for leg in state.legs[1::2]]
    left_ns = None if state.close_utc is None else state.close_utc - turn.now
    return reason or early_exit_of(left_ns, state.index_spot, sold, marks, state.terms, rules.spread)


def _marked(rules: Rules, turn: StructureTurn, leg: ReservedLeg, told: Told) -> Marked:
    """Return the result of a leg; in regular hours a mark grows old. A long one is worth nothing at worst."""
    state, contract = turn.state, leg.ref.contract
    cents = None if told.unrealised_cents is None else Cents(told.realised_cents + told.unrealised_cents)
    does_age = state.phase is None or state.phase in REGULAR
    is_blind = does_age and turn.now - told.marked_utc > rules.mark_age_max_ns
    worst = None
    if leg.ref.side is Side.BUY and told.average_ticks is not None:
        worst = Cents(told.realised_cents - round(told.average_ticks * leg.order.qty * contract.multiplier))
    return Marked(cents, worst, is_blind)


def _page_blind(rules: Rules, turn: StructureTurn, marks: Sequence[Marked]) -> None:
    legs = zip(turn.state.legs, marks, strict=True)
    labels = ", ".join(leg.ref.contract.label for leg, mark in legs if mark.is_blind)
    whole = "both legs are closed, the sold calls first" if len(marks) == 2 else "all legs are closed, the sold first"
    text = (
        f"{labels}: no price for {rules.mark_age_max_ns // SECOND} s, so that the loss of the spread is not known: it"
        f" counts at its worst case, and {whole}. Look at the market data."
    )
    turn.publish(
        operator.Alarm(key="spread_blind", severity=Severity.CRITICAL, text=text, at_utc=turn.now)
    )  # fmt: skip


def _carry_out(rules: Rules, turn: StructureTurn, wish: Wish) -> None:
    state, saga = turn.state, turn.state.saga
    assert saga is not None  # wishes are those of a saga
    reason = saga.reason or ExitReason.UNWIND
    match wish:
        case Wish.OPEN_COVER:
            _open_cover(turn, saga, state.legs[0])
        case Wish.JOIN_ENTRY:
            _ask_for_entry(turn, saga)
        case Wish.SEND_ENTRY:
            _send_entry(turn, saga)
        case Wish.JOIN_EXIT:
            _ask_for_exit(turn, saga, reason)
        case Wish.SEND_EXIT:
            _send_exit(rules, turn, saga, reason)
        case Wish.OPEN_SHORT:
            if not state.has_asked:
                state.has_asked = True
                _ask_permit(rules, turn, state.legs[1])
        case Wish.CLOSE_SHORT | Wish.CLOSE_COVER:
            _close(turn, saga, 1 if wish is Wish.CLOSE_SHORT else 0, reason)
        case Wish.HOLD_COVER | Wish.FREE_COVER:
            _set_covers(turn, saga, is_free=wish is Wish.FREE_COVER)
        case _:
            assert_never(wish)


def _close(turn: StructureTurn, saga: Saga, first: int, reason: ExitReason) -> None:
    """Have what is left of one side leave: from 0 on the covers, from 1 on the shorts."""
    legs = list(saga.legs)
    for n in range(first, len(legs), 2):
        if is_to_leave(legs[n]):
            turn.tell(_position(turn, turn.state.legs[n]), positions.FlattenPosition(reason=reason))
            legs[n] = replace(legs[n], is_leaving=True)
    turn.state.saga = with_legs(saga, legs)


def _set_covers(turn: StructureTurn, saga: Saga, *, is_free: bool) -> None:
    legs = list(saga.legs)
    for n in range(0, len(legs), 2):
        if is_to_free(legs[n]) if is_free else legs[n].is_free:
            command = positions.SetCover(structure_id=turn.state.structure_id, is_free=is_free)
            turn.tell(_position(turn, turn.state.legs[n]), command)
            legs[n] = replace(legs[n], is_free=is_free)
    turn.state.saga = with_legs(saga, legs)


def _open_cover(turn: StructureTurn, saga: Saga, cover: ReservedLeg) -> None:
    turn.state.saga = cover_sent(saga)
    _open_leg(turn, cover, is_joint=False)


def _open_leg(turn: StructureTurn, leg: ReservedLeg, *, is_joint: bool) -> None:
    """Have a leg's position begin its life under the permit of the entry."""
    state = turn.state
    assert state.permit is not None  # only `OpenStructure` leads here
    turn.tell(
        _position(turn, leg),
        entries.OpenPosition(
            ref=leg.ref, order_ref=leg.order.order_ref, qty=leg.order.qty, limit_ticks=leg.order.limit_ticks,
            decision=_decision(leg), permit=state.permit, deadline_utc=state.deadline_utc, is_joint=is_joint,
        ),
    )  # fmt: skip


# -- one order for all legs -----------------------------------------------------------------------


def _ask_for_entry(turn: StructureTurn, saga: Saga) -> None:
    """Have all legs begin their lives; the order that opens them goes out once all say that they take part."""
    turn.state.saga = entry_asked(saga)
    turn.arm(Timer.LEG, turn.state.deadline_utc)
    for leg in turn.state.legs:
        _open_leg(turn, leg, is_joint=True)


def _send_entry(turn: StructureTurn, saga: Saga) -> None:
    state = turn.state
    state.saga = replace(saga, is_sent=True)
    orders_of_legs = [leg.order for leg in state.legs]
    parts = _parts(turn, [order.order_ref for order in orders_of_legs], [Qty(0)] * len(orders_of_legs))
    request = OrderRequest(
        order_ref=orders_of_legs[0].order_ref, contract=_combo(parts), side=Side.BUY, qty=_units(state.legs),
        order_type=OrderType.LIMIT, limit_ticks=_net_ticks(parts, [order.limit_ticks for order in orders_of_legs]),
        is_exit=False, deadline_utc=state.deadline_utc, good_till_utc=full_second(state.deadline_utc),
    )  # fmt: skip
    turn.tell(
        "ibkr",
        orders.SubmitOrder(order=request, reply_to=turn.name, permit=state.permit, held_qty=Qty(0), parts=parts),
    )


def _ask_for_exit(turn: StructureTurn, saga: Saga, reason: ExitReason) -> None:
    """Ask all legs to take part in one order that closes them; one that does not leaves them to go one by one."""
    state = turn.state
    state.saga = replace(saga, has_asked=True)
    turn.arm(Timer.JOINT, turn.now + JOIN_NS)
    combo_ref = exit_ref(state.legs[0].ref.position_id, JOINT_EXIT_N)
    for leg, facts in zip(state.legs, saga.legs, strict=True):
        turn.tell(
            _position(turn, leg),
            positions.JoinExit(
                structure_id=state.structure_id, exit_n=JOINT_EXIT_N, qty=facts.held, combo_ref=combo_ref, reason=reason
            ),
        )  # fmt: skip


def _send_exit(rules: Rules, turn: StructureTurn, saga: Saga, reason: ExitReason) -> None:
    """Sell the combination at its touch; what that leaves after its wait goes leg by leg, to the market."""
    state = turn.state
    touches = [told.joint_ticks for told in state.told if told.joint_ticks is not None]
    if len(touches) < len(state.legs):
        return  # the wait for all of them ends it
    state.saga = replace(saga, is_sent=True)
    parts = _parts(turn, [told.joint_ref for told in state.told], [leg.held for leg in saga.legs])
    combo, net = _combo(parts), _net_ticks(parts, touches)
    step = increment_ticks(combo.ticker)
    request = OrderRequest(
        order_ref=state.told[0].joint_ref, contract=combo, side=Side.SELL, qty=_units(state.legs),
        order_type=OrderType.LIMIT, limit_ticks=Ticks(net // step * step), is_exit=True,
        deadline_utc=turn.now + rules.order_wait_ns,
    )  # fmt: skip
    wait_ms = tier_wait_ms(reason, Tier.BID, rules.exits)
    turn.arm(Timer.JOINT, turn.now + wait_ms * MS)
    turn.tell(
        "ibkr", orders.SubmitOrder(order=request, reply_to=turn.name, permit=None, held_qty=Qty(0), parts=parts)
    )  # fmt: skip


def _parts(turn: StructureTurn, order_refs: Sequence[str], held: Sequence[Qty]) -> tuple[OrderPart, ...]:
    """Return the legs of an order for all, each with its reference and what is held of it."""
    legs = turn.state.legs
    unit = _units(legs)
    return tuple(
        OrderPart(
            order_ref=order_ref, owner=_position(turn, leg), held_qty=qty,
            leg=ComboLeg(leg.order.contract, leg.order.side, leg.order.qty // unit),
        )
        for leg, order_ref, qty in zip(legs, order_refs, held, strict=True)
    )  # fmt: skip


def _combo(parts: tuple[OrderPart, ...]) -> Contract:
    return combo_contract([part.leg for part in parts])


def _units(legs: Sequence[ReservedLeg]) -> Qty:
    """Return how many combinations the legs make."""
    return Qty(gcd(*(leg.order.qty for leg in legs)))


def _net_ticks(parts: tuple[OrderPart, ...], prices: Sequence[Ticks]) -> Ticks:
    """Return the price of one combination at prices of its legs."""
    return Ticks(
        sum(part.leg.side.sign * part.leg.ratio * price for part, price in zip(parts, prices, strict=True))
    )  # fmt: skip


def _ask_permit(rules: Rules, turn: StructureTurn, short: ReservedLeg) -> None:
    """Ask for leave to sell the shorts; their entry has its whole time from now on."""
    wait_ns = rules.spread.leg_timeout_ms * MS
    turn.state.deadline_utc = turn.now + wait_ns
    turn.arm(Timer.LEG, turn.now + wait_ns)
    turn.tell(
        "risk",
        entries.RequestPermit(
            intent_id=short.ref.intent_id, order_ref=short.order.order_ref, reply_to=turn.name
        ),
    )  # fmt: skip


def _decision(leg: ReservedLeg) -> DecisionPrices:
    decision = leg.order.decision
    assert decision is not None  # the gates saw a quote of each leg
    return decision


def _position(turn: StructureTurn, leg: ReservedLeg) -> str:
    desk = turn.name.split(":")[1]
    return f"position:{desk}:{leg.ref.contract.con_id}"


def _steer_uncovered(turn: StructureTurn) -> None:
    """Tell the kill switch of shorts that no cover stands behind, by the broker's word too, and when they are gone."""
    state = turn.state
    assert state.saga is not None
    for short, pair in zip(state.legs[1::2], state.saga.pairs, strict=True):
        con_id, qty = short.ref.contract.con_id, pair.bare_qty(state.saga.ratio)
        since = state.uncovered.get(con_id)
        if qty and since is None:
            state.uncovered = {**state.uncovered, con_id: turn.now}
            turn.publish(positions.ShortFound(con_id=con_id, qty=Qty(-qty), since_utc=turn.now))
        elif not qty and since is not None:
            turn.publish(positions.ShortFound(con_id=con_id, qty=Qty(0), since_utc=since))
            state.uncovered = {known: at for known, at in state.uncovered.items() if known != con_id}


# -- what is told ---------------------------------------------------------------------------------


def pnl_of(state: StructureData) -> Cents | None:
    """Return the result of all legs by their marks, net of fees; `None` while a mark is not known."""
    total = 0
    for told in state.told:
        if told.unrealised_cents is None:
            return None
        total += told.realised_cents + told.unrealised_cents
    return Cents(total)


def _shown(state: StructureData) -> tuple[object, ...]:
    saga = state.saga
    if saga is None or state.is_waiting:
        return ()
    return saga.state, saga.reason, *(leg.held for leg in saga.legs)


def _tell_changes(turn: StructureTurn, before: tuple[object, ...]) -> None:
    state, saga = turn.state, turn.state.saga
    if saga is None or state.is_waiting or _shown(state) == before:
        return
    turn.publish(
        structures.StructureChanged(
            structure_id=state.structure_id, state=saga.state, reason=saga.reason,
            cover_qty=Qty(sum(leg.held for leg in saga.covers)), short_qty=Qty(sum(leg.held for leg in saga.shorts)),
            pnl_cents=pnl_of(state), at_utc=turn.now,
        )
    )  # fmt: skip
    if saga.is_over:
        _give_back_unsent(turn, saga)
    if saga.state is SagaState.CLOSED:
        _publish_closed(turn, saga)


def _give_back_unsent(turn: StructureTurn, saga: Saga) -> None:
    """Give back what was reserved for a leg whose entry was never sent: nobody else knows that it never will be."""
    state = turn.state
    for part, reserved in zip(saga.legs, state.legs, strict=True):
        if part.entry is EntryPart.UNSENT and reserved.ref.position_id not in state.given_back:
            state.given_back = (*state.given_back, reserved.ref.position_id)
            turn.publish(
                positions.EntryAbandoned(
                    ref=reserved.ref, order_ref=reserved.order.order_ref, why="the spread ended before it was sent"
                )
            )  # fmt: skip


def _publish_closed(turn: StructureTurn, saga: Saga) -> None:
    state = turn.state
    legs = (LegResult(told.realised_cents, told.fees_cents) for told in state.told)
    result = result_of(state.structure_id, legs, saga.reason, turn.now)
    turn.publish(
        structures.StructureClosed(
            structure_id=state.structure_id, reason=saga.reason, terms=state.terms,
            cover_ticks=_together(state.told[::2]), short_ticks=_together(state.told[1::2]),
            realised_cents=result.realised_cents, fees_cents=result.fees_cents, closed_utc=turn.now,
        )
    )  # fmt: skip


def _together(told: Sequence[Told]) -> float | None:
    """Return what one of each of these legs filled at; `None` where one never filled."""
    filled = [leg.average_ticks for leg in told if leg.average_ticks is not None]
    return sum(filled) if len(filled) == len(told) else None
