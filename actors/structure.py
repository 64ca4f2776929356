"""StructureActor: the saga of one structure, `structure:<desk>:<key>`; its legs are positions and act on its word.

The cover is bought first and free to be sold last. Each report of a leg changes facts; then the saga is brought to them
(`domain/structure/saga.py`) and what it wishes is told. What a leg does by itself (kill, end of day, a person's word)
takes the other along. On a crash the ledger gives back what both legs hold; the legs report the rest within seconds.
"""

from __future__ import annotations

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
from domain.structure.exits import Marked, exit_of
from domain.structure.rules import SHORT, SpreadRules
from domain.structure.saga import (
    EntryPart,
    Leg,
    Saga,
    SagaEvent,
    SagaState,
    Wish,
    advance,
    cover_sent,
    entry_asked,
    leaving,
    leaving_as_one,
    moved,
    short_sent,
    wishes,
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


JOINT_EXIT_N: Final = 1  # both legs leave as one before either has left by itself, or not at all
JOIN_NS: Final = 2 * SECOND  # both legs have said by then that they take part in one order, or they leave one by one
_LEG_BY_LEG: Final = frozenset({Phase.PANIC, Phase.FLATTEN, Phase.CLOSED})
CHECK_NS: Final = 10 * SECOND
WAIT_NS: Final = 5 * SECOND


class Timer(StrEnum):
    """What a structure waits for."""

    LEG = "leg"  # the shorts should be sold by now, or one order have opened both legs
    JOINT = "joint"  # one order should have closed both legs by now
    CHECK = "check"  # a leg under way is asked where it stands
    RESTORED = "restored"  # the mail that made this actor was not the entry's own
    LAST_CALL = "last_call"  # a short should be bought back by now


class Told(msgspec.Struct, frozen=True):
    """What a leg told of its money; `average_ticks` is `None` before a fill.

    `marked_utc` is the instant of the price behind `unrealised_cents`; where there never was one, since when it is
    missed. `joint_ref` and `joint_ticks` are those of an order for both legs that it takes part in.
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

    `is_waiting`: restored, nothing ever filled, and the mail that made this actor may be `OpenStructure` itself.
    `permit` is for the cover's entry. `has_asked` is whether a permit for the shorts was asked for, `uncovered_utc`
    since when more is short than is covered, `has_ended` whether its end was published. `given_back` are the positions
    whose entry was never sent and whose reservation was told to be free.
    """

    structure_id: str = ""
    saga: Saga | None = None
    cover: ReservedLeg | None = None
    short: ReservedLeg | None = None
    terms: Terms | None = None
    permit: Permit | None = None
    deadline_utc: Utc = Utc(0)
    told_cover: Told = Told()
    told_short: Told = Told()
    spot: Spot | None = None
    is_waiting: bool = False
    has_asked: bool = False
    uncovered_utc: Utc | None = None
    has_ended: bool = False
    given_back: tuple[str, ...] = ()
    phase: Phase | None = None


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
                turn.state.phase = message.phase
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
    state.told_cover = state.told_short = Told(marked_utc=turn.now)
    state.structure_id, state.cover, state.short = command.structure_id, command.cover, command.short
    state.terms, state.permit, state.deadline_utc = command.terms, command.permit, command.deadline_utc
    legs = Leg(command.cover.order.qty), Leg(command.short.order.qty)
    state.saga = Saga(cover=legs[0], short=legs[1], ratio=command.ratio, is_combo=command.is_combo)
    _arm_last_call(rules, turn, command.short)
    turn.arm(Timer.CHECK, turn.now + CHECK_NS)


def _arm_last_call(rules: Rules, turn: StructureTurn, short: ReservedLeg) -> None:
    marks = day_of(short.ref.contract.expiry, turn.now, rules.day).marks
    due_utc = next(at_utc for at_utc, mark in marks if mark is DayMark.VERIFY_AGAIN)
    turn.arm(Timer.LAST_CALL, due_utc)


def _start(rules: Rules, turn: StructureTurn, message: lifecycle.Started) -> None:
    """Take back what the ledger says both legs hold; what is not whole is unwound: no entry is ever sent again."""
    turn.tell("session", session.RequestPhase(reply_to=turn.name))
    known = message.restored
    if not isinstance(known, restored.StructureRestored):
        return
    state = turn.state
    state.structure_id, state.terms = known.structure_id, known.terms
    state.cover, state.short = (
        ReservedLeg(leg.reservation.ref, _order_of(leg.reservation)) for leg in (known.cover, known.short)
    )
    cover, short = (_leg_of(leg) for leg in (known.cover, known.short))
    saga = Saga(cover=cover, short=short, ratio=known.ratio, state=SagaState.HELD)
    is_whole = cover.held == cover.qty and short.held == short.qty
    state.is_waiting = not cover.was_held and not short.was_held
    state.saga = saga if is_whole or state.is_waiting else leaving(saga, ExitReason.UNWIND)
    state.told_cover = state.told_short = Told(unrealised_cents=None, marked_utc=turn.now)
    if known.are_terms_damaged is True:
        _say_damaged(turn, known.structure_id)
    _arm_last_call(rules, turn, state.short)
    turn.arm(Timer.CHECK, turn.now + CHECK_NS)
    if state.is_waiting:
        turn.arm(Timer.RESTORED, turn.now + WAIT_NS)


def _say_damaged(turn: StructureTurn, structure_id: str) -> None:
    """Halt entries for terms that cannot be read: the ledger is damaged, and who knows what else of it is."""
    text = (
        f"Spread {structure_id}: the terms on which it was opened cannot be read in the ledger, which is damaged; both"
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
    if saga is None or report.ref.structure_id != state.structure_id or state.cover is None:
        return
    is_cover = report.ref.position_id == state.cover.ref.position_id
    leg = saga.cover if is_cover else saga.short
    if report.exit_reason is not None and not leg.is_leaving and leg.entry is not EntryPart.UNSENT:
        saga = leaving(saga, report.exit_reason)  # by itself: the end of the day, a kill, a person's word
    was = state.told_cover if is_cover else state.told_short
    marked_utc = was.marked_utc if report.mark_utc is None else report.mark_utc
    told = Told(
        report.average_ticks, report.realised_cents, report.fees_cents, report.unrealised_cents, marked_utc,
        report.joint_ref or "", report.joint_ticks if report.joint_ticks is not UNSET else None,
    )  # fmt: skip
    if is_cover:
        state.saga, state.told_cover = replace(saga, cover=_told(saga.cover, report)), told
    else:
        state.saga, state.told_short = replace(saga, short=_told(saga.short, report)), told


def _told(leg: Leg, report: positions.LegChanged) -> Leg:
    if leg.entry is EntryPart.UNSENT:
        return leg
    return replace(
        leg, held=report.qty, was_held=leg.was_held or report.qty > 0,
        entry=EntryPart.OVER if report.is_entry_over else EntryPart.WORKING, is_flat=report.is_flat,
        is_leaving=report.exit_reason is not None, is_free=report.is_free, is_clear=report.is_clear,
        is_joint=report.joint_ref is not UNSET,
    )  # fmt: skip


def _on_spots(turn: StructureTurn, event: market.SpotsChanged) -> None:
    for spot in event.spots:
        if spot.ticker == SHORT:
            turn.state.spot = spot


def _on_permit(turn: StructureTurn, report: entries.PermitRenewed) -> None:
    """Sell what the cover covers, if that is still what is waited for."""
    state, saga, short = turn.state, turn.state.saga, turn.state.short
    if saga is None or short is None or report.order_ref != short.order.order_ref or not _awaits_permit(saga):
        return
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
            if state.is_waiting:
                state.is_waiting = False
                _want_out(turn, ExitReason.UNWIND)
        case Timer.CHECK:
            _check_legs(turn, saga)
        case Timer.LEG:
            if saga.state in (SagaState.SELLING, SagaState.ENTERING):
                _want_out(turn, ExitReason.UNWIND)
        case Timer.JOINT:
            if saga.state is SagaState.LEAVING:
                _want_out(turn, saga.reason or ExitReason.UNWIND)
        case Timer.LAST_CALL:
            if saga.short.may_be_held and state.short is not None:
                _page_short_left(turn, saga, state.short)
        case _:
            assert_never(timer)


def _page_short_left(turn: StructureTurn, saga: Saga, short: ReservedLeg) -> None:
    contract, held = short.ref.contract, saga.short.held
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
    for leg, facts in ((state.cover, saga.cover), (state.short, saga.short)):
        if leg is not None and facts.may_be_held:
            turn.tell(_position(turn, leg), positions.RequestLeg(ref=leg.ref))


def _want_out(turn: StructureTurn, reason: ExitReason) -> None:
    if turn.state.saga is not None:
        turn.state.saga = leaving(turn.state.saga, reason)


# -- steering -------------------------------------------------------------------------------------


def _steer(rules: Rules, turn: StructureTurn) -> None:
    """Bring the saga to the facts, and tell what it wishes."""
    state = turn.state
    if state.saga is None or state.cover is None or state.short is None or state.is_waiting:
        return
    if state.phase is Phase.CLOSED and not state.saga.is_over and state.saga.state is not SagaState.SETTLING:
        state.saga = moved(state.saga, SagaEvent.SESSION_CLOSED)
    state.saga = advance(state.saga)
    if state.saga.state is SagaState.HELD:
        strike = state.short.ref.contract.strike_ticks
        cover_mark, short_mark = (_marked(rules, turn, leg, told) for leg, told in _legs(state))
        spot = state.spot if state.short.ref.contract.ticker == SHORT else None  # who owns an index is assigned none
        reason = exit_of(spot, strike, cover_mark, short_mark, rules.spread)
        if reason is ExitReason.BLIND:
            _page_blind(rules, turn, cover_mark, short_mark)
        if reason is not None:
            is_late = state.phase is None or state.phase in _LEG_BY_LEG
            state.saga = advance((leaving if is_late else leaving_as_one)(state.saga, reason))
    for wish in wishes(state.saga):
        _carry_out(rules, turn, wish, state.cover, state.short)
    _steer_uncovered(turn)


def _legs(state: StructureData) -> tuple[tuple[ReservedLeg, Told], ...]:
    assert state.cover is not None
    assert state.short is not None
    return (state.cover, state.told_cover), (state.short, state.told_short)


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


def _page_blind(rules: Rules, turn: StructureTurn, cover: Marked, short: Marked) -> None:
    legs = ((leg, mark) for (leg, _), mark in zip(_legs(turn.state), (cover, short), strict=True))
    labels = ", ".join(leg.ref.contract.label for leg, mark in legs if mark.is_blind)
    text = (
        f"{labels}: no price for {rules.mark_age_max_ns // SECOND} s, so that the loss of the spread is not known: it"
        " counts at its worst case, and both legs are closed, the sold calls first. Look at the market data."
    )
    turn.publish(
        operator.Alarm(key="spread_blind", severity=Severity.CRITICAL, text=text, at_utc=turn.now)
    )  # fmt: skip


def _carry_out(rules: Rules, turn: StructureTurn, wish: Wish, cover: ReservedLeg, short: ReservedLeg) -> None:
    state, saga = turn.state, turn.state.saga
    assert saga is not None  # wishes are those of a saga
    reason = saga.reason or ExitReason.UNWIND
    match wish:
        case Wish.OPEN_COVER:
            _open_cover(turn, saga, cover)
        case Wish.JOIN_ENTRY:
            _ask_for_entry(turn, saga, cover, short)
        case Wish.SEND_ENTRY:
            _send_entry(turn, saga, cover, short)
        case Wish.JOIN_EXIT:
            _ask_for_exit(turn, saga, cover, short, reason)
        case Wish.SEND_EXIT:
            _send_exit(rules, turn, saga, cover, short)
        case Wish.OPEN_SHORT:
            if not state.has_asked:
                state.has_asked = True
                _ask_permit(rules, turn, short)
        case Wish.CLOSE_SHORT:
            turn.tell(_position(turn, short), positions.FlattenPosition(reason=reason))
            state.saga = replace(saga, short=replace(saga.short, is_leaving=True))
        case Wish.HOLD_COVER | Wish.FREE_COVER:
            is_free = wish is Wish.FREE_COVER
            turn.tell(_position(turn, cover), positions.SetCover(structure_id=state.structure_id, is_free=is_free))
            state.saga = replace(saga, cover=replace(saga.cover, is_free=is_free))
        case Wish.CLOSE_COVER:
            turn.tell(_position(turn, cover), positions.FlattenPosition(reason=reason))
            state.saga = replace(saga, cover=replace(saga.cover, is_leaving=True))
        case _:
            assert_never(wish)


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


# -- one order for both legs ----------------------------------------------------------------------


def _ask_for_entry(turn: StructureTurn, saga: Saga, cover: ReservedLeg, short: ReservedLeg) -> None:
    """Have both legs begin their lives; the order that opens them goes out once both say that they take part."""
    turn.state.saga = entry_asked(saga)
    turn.arm(Timer.LEG, turn.state.deadline_utc)
    for leg in (cover, short):
        _open_leg(turn, leg, is_joint=True)


def _send_entry(turn: StructureTurn, saga: Saga, cover: ReservedLeg, short: ReservedLeg) -> None:
    state = turn.state
    state.saga = replace(saga, is_sent=True)
    parts = _parts(turn, (cover, cover.order.order_ref, Qty(0)), (short, short.order.order_ref, Qty(0)))
    request = OrderRequest(
        order_ref=cover.order.order_ref, contract=_combo(parts), side=Side.BUY, qty=_units(cover, short),
        order_type=OrderType.LIMIT, limit_ticks=_net_ticks(parts, cover.order.limit_ticks, short.order.limit_ticks),
        is_exit=False, deadline_utc=state.deadline_utc, good_till_utc=full_second(state.deadline_utc),
    )  # fmt: skip
    turn.tell(
        "ibkr",
        orders.SubmitOrder(order=request, reply_to=turn.name, permit=state.permit, held_qty=Qty(0), parts=parts),
    )


def _ask_for_exit(
    turn: StructureTurn, saga: Saga, cover: ReservedLeg, short: ReservedLeg, reason: ExitReason
) -> None:  # fmt: skip
    """Ask both legs to take part in one order that closes them; one that does not leaves them to go one by one."""
    turn.state.saga = replace(saga, has_asked=True)
    turn.arm(Timer.JOINT, turn.now + JOIN_NS)
    combo_ref = exit_ref(cover.ref.position_id, JOINT_EXIT_N)
    for leg, held in ((cover, saga.cover.held), (short, saga.short.held)):
        turn.tell(
            _position(turn, leg),
            positions.JoinExit(
                structure_id=turn.state.structure_id, exit_n=JOINT_EXIT_N, qty=held, combo_ref=combo_ref, reason=reason
            ),
        )  # fmt: skip


def _send_exit(rules: Rules, turn: StructureTurn, saga: Saga, cover: ReservedLeg, short: ReservedLeg) -> None:
    """Sell the combination at its touch; what that leaves after a stop's wait goes leg by leg, to the market."""
    state = turn.state
    told_cover, told_short = state.told_cover, state.told_short
    if told_cover.joint_ticks is None or told_short.joint_ticks is None:
        return  # the wait for both ends it
    state.saga = replace(saga, is_sent=True)
    parts = _parts(
        turn, (cover, told_cover.joint_ref, saga.cover.held), (short, told_short.joint_ref, saga.short.held)
    )  # fmt: skip
    step = increment_ticks(cover.order.contract.ticker)
    net = _net_ticks(parts, told_cover.joint_ticks, told_short.joint_ticks)
    request = OrderRequest(
        order_ref=told_cover.joint_ref, contract=_combo(parts), side=Side.SELL, qty=_units(cover, short),
        order_type=OrderType.LIMIT, limit_ticks=Ticks(net // step * step), is_exit=True,
        deadline_utc=turn.now + rules.order_wait_ns,
    )  # fmt: skip
    wait_ms = tier_wait_ms(saga.reason or ExitReason.UNWIND, Tier.BID, rules.exits)
    turn.arm(Timer.JOINT, turn.now + wait_ms * MS)
    turn.tell(
        "ibkr", orders.SubmitOrder(order=request, reply_to=turn.name, permit=None, held_qty=Qty(0), parts=parts)
    )  # fmt: skip


def _parts(turn: StructureTurn, *legs: tuple[ReservedLeg, str, Qty]) -> tuple[OrderPart, ...]:
    """Return the legs of an order for both, from what was reserved, its reference and what is held of it."""
    unit = gcd(*(leg.order.qty for leg, _, _ in legs))
    return tuple(
        OrderPart(
            order_ref=order_ref, owner=_position(turn, leg), held_qty=held,
            leg=ComboLeg(leg.order.contract, leg.order.side, leg.order.qty // unit),
        )
        for leg, order_ref, held in legs
    )  # fmt: skip


def _combo(parts: tuple[OrderPart, ...]) -> Contract:
    return combo_contract([part.leg for part in parts])


def _units(*legs: ReservedLeg) -> Qty:
    """Return how many combinations the legs make."""
    return Qty(gcd(*(leg.order.qty for leg in legs)))


def _net_ticks(parts: tuple[OrderPart, ...], *prices: Ticks) -> Ticks:
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
    """Tell the kill switch of shorts that no cover stands behind, and when they are gone."""
    state = turn.state
    assert state.saga is not None
    assert state.short is not None
    qty, con_id = state.saga.uncovered_qty, state.short.ref.contract.con_id
    if qty and state.uncovered_utc is None:
        state.uncovered_utc = turn.now
        turn.publish(positions.ShortFound(con_id=con_id, qty=Qty(-qty), since_utc=turn.now))
    elif not qty and state.uncovered_utc is not None:
        turn.publish(positions.ShortFound(con_id=con_id, qty=Qty(0), since_utc=state.uncovered_utc))
        state.uncovered_utc = None


# -- what is told ---------------------------------------------------------------------------------


def pnl_of(state: StructureData) -> Cents | None:
    """Return the result of both legs by their marks, net of fees; `None` while a mark is not known."""
    total = 0
    for told in (state.told_cover, state.told_short):
        if told.unrealised_cents is None:
            return None
        total += told.realised_cents + told.unrealised_cents
    return Cents(total)


def _shown(state: StructureData) -> tuple[object, ...]:
    saga = state.saga
    return () if saga is None or state.is_waiting else (saga.state, saga.reason, saga.cover.held, saga.short.held)


def _tell_changes(turn: StructureTurn, before: tuple[object, ...]) -> None:
    state, saga = turn.state, turn.state.saga
    if saga is None or state.is_waiting or _shown(state) == before:
        return
    turn.publish(
        structures.StructureChanged(
            structure_id=state.structure_id, state=saga.state, reason=saga.reason, cover_qty=saga.cover.held,
            short_qty=saga.short.held, pnl_cents=pnl_of(state), at_utc=turn.now,
        )
    )  # fmt: skip
    if saga.is_over:
        _give_back_unsent(turn, saga)
    if saga.state is not SagaState.CLOSED:
        state.has_ended = False
    elif not state.has_ended:
        state.has_ended = True
        _publish_closed(turn, saga)


def _give_back_unsent(turn: StructureTurn, saga: Saga) -> None:
    """Give back what was reserved for a leg whose entry was never sent: nobody else knows that it never will be."""
    state = turn.state
    for part, reserved in ((saga.cover, state.cover), (saga.short, state.short)):
        if reserved is not None and part.entry is EntryPart.UNSENT and reserved.ref.position_id not in state.given_back:
            state.given_back = (*state.given_back, reserved.ref.position_id)
            turn.publish(
                positions.EntryAbandoned(
                    ref=reserved.ref, order_ref=reserved.order.order_ref, why="the spread ended before it was sent"
                )
            )  # fmt: skip


def _publish_closed(turn: StructureTurn, saga: Saga) -> None:
    state = turn.state
    legs = (LegResult(told.realised_cents, told.fees_cents) for told in (state.told_cover, state.told_short))
    result = result_of(state.structure_id, legs, saga.reason, turn.now)
    turn.publish(
        structures.StructureClosed(
            structure_id=state.structure_id, reason=saga.reason, terms=state.terms,
            cover_ticks=state.told_cover.average_ticks, short_ticks=state.told_short.average_ticks,
            realised_cents=result.realised_cents, fees_cents=result.fees_cents, closed_utc=turn.now,
        )
    )  # fmt: skip
