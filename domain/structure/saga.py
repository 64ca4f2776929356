"""The life of a covered structure: what covers is bought first and sold last, whatever happens between.

The table says which state follows; `Saga` holds what is known of its legs, and `advance` brings state and wishes to
those facts. It is level-triggered: what should be done follows from where things stand, so that a report told twice, a
leg that was started again, or a restart of the whole changes nothing but what is missing.

Where the broker takes all legs as one order (`is_combo`), that is how they are opened, and closed while nothing is
urgent: all legs first say that they take part, then the order is sent. What it leaves undone, and whatever is urgent
(kill, end of day, a person's word), goes leg by leg as ever; a leg's own exit waits until the order for all is over.

A structure of several pairs (the calls and the puts of an iron condor) is opened as one order or not at all, and leaves
side by side: all shorts, then all covers.

What holds after every step: Σ short contracts, held or on sale, ≤ what the held cover of their own pair covers, and a
cover is free to be sold only when no short is left nor can come to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from domain.fsm import Machine
from domain.position.cycle import ExitReason
from domain.position.exits import SEVERITY
from domain.units import Qty


class SagaState(StrEnum):
    """Where a structure stands."""

    RESERVED = "RESERVED"  # all legs are reserved, nothing was sent
    BUYING_COVER = "BUYING_COVER"
    SELLING = "SELLING"  # the cover is held; the shorts are being sold
    ENTERING = "ENTERING"  # one order opens all legs
    HELD = "HELD"
    LEAVING = "LEAVING"  # one order closes all legs
    BUYING_BACK = "BUYING_BACK"  # out: the shorts first
    RELEASING = "RELEASING"  # no short is left: the cover is sold
    SETTLING = "SETTLING"  # the session is over and something was still held
    CLOSED = "CLOSED"
    ABANDONED = "ABANDONED"  # nothing ever filled


class SagaEvent(StrEnum):
    """What moves a structure."""

    COVER_SENT = "cover_sent"
    COVER_BOUGHT = "cover_bought"  # its entry is over and something is held
    COVER_FAILED = "cover_failed"  # its entry is over and nothing is held
    SHORT_SOLD = "short_sold"  # in full
    COMBO_SENT = "combo_sent"  # all legs were asked to take part in one order
    BOTH_OPENED = "both_opened"  # it has opened all, in full
    EXIT_WANTED = "exit_wanted"
    EXIT_AS_ONE = "exit_as_one"  # an exit is wanted that one order may try first
    COVER_LOST = "cover_lost"  # it ended by itself: closed at the broker by somebody else
    SHORT_FOUND = "short_found"  # a short is held where none should be: a fill that was reported late
    COVER_FOUND = "cover_found"
    SHORTS_GONE = "shorts_gone"
    ALL_GONE = "all_gone"
    SESSION_CLOSED = "session_closed"


_S = SagaState
_E = SagaEvent
OVER = frozenset({_S.CLOSED, _S.ABANDONED})

_TRANSITIONS: dict[tuple[SagaState, SagaEvent], SagaState] = {
    (_S.RESERVED, _E.COVER_SENT): _S.BUYING_COVER,
    (_S.RESERVED, _E.COMBO_SENT): _S.ENTERING,
    (_S.RESERVED, _E.COVER_FAILED): _S.ABANDONED,  # its order was refused before it left
    (_S.RESERVED, _E.EXIT_WANTED): _S.ABANDONED,
    (_S.RESERVED, _E.COVER_FOUND): _S.RELEASING,
    (_S.RESERVED, _E.SHORT_FOUND): _S.BUYING_BACK,
    (_S.RESERVED, _E.SESSION_CLOSED): _S.ABANDONED,
    (_S.BUYING_COVER, _E.COVER_BOUGHT): _S.SELLING,
    (_S.BUYING_COVER, _E.COVER_FAILED): _S.ABANDONED,
    (_S.BUYING_COVER, _E.EXIT_WANTED): _S.RELEASING,
    (_S.BUYING_COVER, _E.SHORT_FOUND): _S.BUYING_BACK,
    (_S.BUYING_COVER, _E.SESSION_CLOSED): _S.SETTLING,
    (_S.SELLING, _E.SHORT_SOLD): _S.HELD,
    (_S.SELLING, _E.EXIT_WANTED): _S.BUYING_BACK,
    (_S.SELLING, _E.COVER_LOST): _S.BUYING_BACK,
    (_S.SELLING, _E.SESSION_CLOSED): _S.SETTLING,
    (_S.ENTERING, _E.BOTH_OPENED): _S.HELD,
    (_S.ENTERING, _E.EXIT_WANTED): _S.BUYING_BACK,  # what has not filled is given up, what has is closed leg by leg
    (_S.ENTERING, _E.COVER_FAILED): _S.ABANDONED,
    (_S.ENTERING, _E.SESSION_CLOSED): _S.SETTLING,
    (_S.HELD, _E.EXIT_AS_ONE): _S.LEAVING,
    (_S.LEAVING, _E.EXIT_WANTED): _S.BUYING_BACK,  # leg by leg from here on
    (_S.LEAVING, _E.ALL_GONE): _S.CLOSED,
    (_S.LEAVING, _E.SESSION_CLOSED): _S.SETTLING,
    (_S.HELD, _E.EXIT_WANTED): _S.BUYING_BACK,
    (_S.HELD, _E.COVER_LOST): _S.BUYING_BACK,
    (_S.HELD, _E.SESSION_CLOSED): _S.SETTLING,
    (_S.BUYING_BACK, _E.SHORTS_GONE): _S.RELEASING,
    (_S.BUYING_BACK, _E.ALL_GONE): _S.CLOSED,
    (_S.BUYING_BACK, _E.COVER_FAILED): _S.ABANDONED,  # given up before anything filled
    (_S.BUYING_BACK, _E.SESSION_CLOSED): _S.SETTLING,
    (_S.RELEASING, _E.SHORT_FOUND): _S.BUYING_BACK,
    (_S.RELEASING, _E.COVER_FAILED): _S.ABANDONED,  # the cover's entry was given up before it filled
    (_S.RELEASING, _E.ALL_GONE): _S.CLOSED,
    (_S.RELEASING, _E.SESSION_CLOSED): _S.SETTLING,
    (_S.SETTLING, _E.COVER_FAILED): _S.ABANDONED,
    (_S.SETTLING, _E.ALL_GONE): _S.CLOSED,
    (_S.CLOSED, _E.SHORT_FOUND): _S.BUYING_BACK,
    (_S.CLOSED, _E.COVER_FOUND): _S.RELEASING,
    (_S.ABANDONED, _E.SHORT_FOUND): _S.BUYING_BACK,
    (_S.ABANDONED, _E.COVER_FOUND): _S.RELEASING,
}

_NO_SHORT_YET = "no short is sold before the cover is held"
_SENT_ONCE = "an entry is sent once"
_OUT_ALREADY = "it is on its way out already"
_ENTRY_OVER = "the cover's entry is over: what filled is held"
_OVER = "nothing is held any more"
_AT_SETTLEMENT = "the session is over: nothing can be traded any more"
_AS_ONE = "one order for all legs: its end decides"
_NOT_AS_ONE = "only a whole structure that is held leaves as one"

_IGNORED: dict[tuple[SagaState, SagaEvent], str] = {
    (_S.RESERVED, _E.COVER_BOUGHT): "told as COVER_FOUND: nothing of ours was sent yet",
    (_S.RESERVED, _E.SHORT_SOLD): _NO_SHORT_YET,
    (_S.RESERVED, _E.COVER_LOST): "nothing is held yet",
    (_S.RESERVED, _E.SHORTS_GONE): _NO_SHORT_YET,
    (_S.RESERVED, _E.ALL_GONE): "nothing is held yet",
    (_S.BUYING_COVER, _E.COVER_SENT): _SENT_ONCE,
    (_S.BUYING_COVER, _E.SHORT_SOLD): _NO_SHORT_YET,
    (_S.BUYING_COVER, _E.COVER_LOST): "its entry's end decides",
    (_S.BUYING_COVER, _E.COVER_FOUND): "its entry's end decides",
    (_S.BUYING_COVER, _E.SHORTS_GONE): _NO_SHORT_YET,
    (_S.BUYING_COVER, _E.ALL_GONE): "its entry's end decides",
    (_S.SELLING, _E.COVER_SENT): _SENT_ONCE,
    (_S.SELLING, _E.COVER_BOUGHT): _ENTRY_OVER,
    (_S.SELLING, _E.COVER_FAILED): "told as COVER_LOST: it was held",
    (_S.SELLING, _E.SHORT_FOUND): "shorts are being sold",
    (_S.SELLING, _E.COVER_FOUND): "held already",
    (_S.SELLING, _E.SHORTS_GONE): "shorts are being sold: their entry's end decides",
    (_S.SELLING, _E.ALL_GONE): "told as COVER_LOST",
    (_S.HELD, _E.COVER_SENT): _SENT_ONCE,
    (_S.HELD, _E.COVER_BOUGHT): _ENTRY_OVER,
    (_S.HELD, _E.COVER_FAILED): "told as COVER_LOST: it was held",
    (_S.HELD, _E.SHORT_SOLD): "sold already",
    (_S.HELD, _E.SHORT_FOUND): "shorts are held as they should be",
    (_S.HELD, _E.COVER_FOUND): "held already",
    (_S.HELD, _E.SHORTS_GONE): "told as EXIT_WANTED: the cover alone is no spread",
    (_S.HELD, _E.ALL_GONE): "told as COVER_LOST",
    (_S.BUYING_BACK, _E.COVER_SENT): _SENT_ONCE,
    (_S.BUYING_BACK, _E.COVER_BOUGHT): _ENTRY_OVER,
    (_S.BUYING_BACK, _E.SHORT_SOLD): "its entry filled while its cancel was on the way: bought back with the rest",
    (_S.BUYING_BACK, _E.EXIT_WANTED): _OUT_ALREADY,
    (_S.BUYING_BACK, _E.COVER_LOST): "the shorts are bought back already",
    (_S.BUYING_BACK, _E.SHORT_FOUND): _OUT_ALREADY,
    (_S.BUYING_BACK, _E.COVER_FOUND): "held back until the shorts are gone",
    (_S.RELEASING, _E.COVER_SENT): _SENT_ONCE,
    (_S.RELEASING, _E.COVER_BOUGHT): "it is sold as far as it filled",
    (_S.RELEASING, _E.SHORT_SOLD): "told as SHORT_FOUND",
    (_S.RELEASING, _E.EXIT_WANTED): _OUT_ALREADY,
    (_S.RELEASING, _E.COVER_LOST): "told as ALL_GONE",
    (_S.RELEASING, _E.COVER_FOUND): "it is sold already",
    (_S.RELEASING, _E.SHORTS_GONE): "gone already",
    (_S.SETTLING, _E.COVER_SENT): _AT_SETTLEMENT,
    (_S.SETTLING, _E.COVER_BOUGHT): _AT_SETTLEMENT,
    (_S.SETTLING, _E.SHORT_SOLD): _AT_SETTLEMENT,
    (_S.SETTLING, _E.EXIT_WANTED): _AT_SETTLEMENT,
    (_S.SETTLING, _E.COVER_LOST): _AT_SETTLEMENT,
    (_S.SETTLING, _E.SHORT_FOUND): _AT_SETTLEMENT,
    (_S.SETTLING, _E.COVER_FOUND): _AT_SETTLEMENT,
    (_S.SETTLING, _E.SHORTS_GONE): "all legs settle, each by itself",
    (_S.SETTLING, _E.SESSION_CLOSED): "settling already",
    **{
        (state, event): _AS_ONE
        for state in (_S.ENTERING, _S.LEAVING)
        for event in _E
        if (state, event) not in _TRANSITIONS
    },
    **{
        (state, _E.COMBO_SENT): _SENT_ONCE
        for state in _S
        if state not in (_S.RESERVED, _S.ENTERING, _S.LEAVING, _S.SETTLING, *OVER)
    },
    **{(state, _E.BOTH_OPENED): _AS_ONE for state in _S if state not in (_S.ENTERING, _S.LEAVING, _S.SETTLING, *OVER)},
    **{
        (state, _E.EXIT_AS_ONE): _NOT_AS_ONE
        for state in _S
        if state not in (_S.HELD, _S.ENTERING, _S.LEAVING, _S.SETTLING, *OVER)
    },
    **{(_S.SETTLING, event): _AT_SETTLEMENT for event in (_E.COMBO_SENT, _E.BOTH_OPENED, _E.EXIT_AS_ONE)},
    **{
        (state, event): _OVER
        for state in (_S.CLOSED, _S.ABANDONED)
        for event in _E
        if event not in (_E.SHORT_FOUND, _E.COVER_FOUND)
    },
}

SAGA = Machine("structure", _TRANSITIONS, _IGNORED)


class EntryPart(StrEnum):
    """How far a leg's entry has come."""

    UNSENT = "unsent"
    WORKING = "working"  # it may fill
    OVER = "over"


class Leg(msgspec.Struct, frozen=True):
    """What is known of one leg.

    `qty` is what was reserved, `ordered` what its entry was sent for, `held` what executions say is held of it (without
    a sign), `was_held` whether anything ever was. `is_flat`: its life is over and the broker agrees. `is_leaving`: it
    wants an exit. `is_free`: it may be sold, for all that was told to it (of the cover). `is_clear`: the broker holds
    nothing of it on its side and no order works, though it may not be flat: somebody else holds the contract, too.
    `is_joint`: it takes part in an order for all legs. `missing` is how much of what is held the broker says is gone.
    """

    qty: Qty
    ordered: Qty = Qty(0)
    held: Qty = Qty(0)
    was_held: bool = False
    entry: EntryPart = EntryPart.UNSENT
    is_flat: bool = False
    is_leaving: bool = False
    is_free: bool = False
    is_clear: bool = False
    is_joint: bool = False
    missing: Qty = Qty(0)

    @property
    def may_be_held(self) -> bool:
        """Whether anything is held or may still come to be: an entry works, or the end is not agreed upon."""
        return self.held > 0 or self.entry is EntryPart.WORKING or (self.ordered > 0 and not self.is_flat)

    @property
    def at_most(self) -> Qty:
        """What is held once all that works of its entry has filled."""
        return max(self.held, self.ordered) if self.entry is EntryPart.WORKING else self.held


class Pair(msgspec.Struct, frozen=True):
    """A cover and the short that it covers."""

    cover: Leg
    short: Leg

    def uncovered_qty(self, ratio: int) -> Qty:
        """Return how many shorts are held that no cover stands behind, where one covers `ratio` of them."""
        return Qty(max(0, self.short.held - self.cover.held * ratio))

    def bare_qty(self, ratio: int) -> Qty:
        """Return how many shorts are held that no cover stands behind by the broker's word, whatever executions say."""
        short, cover = (max(0, leg.held - leg.missing) for leg in (self.short, self.cover))
        return Qty(max(0, short - cover * ratio))


class Wish(StrEnum):
    """What the structure wants done: with each leg of that side that it is not done with yet."""

    OPEN_COVER = "open_cover"
    JOIN_ENTRY = "join_entry"  # all legs are asked to take part in one order
    SEND_ENTRY = "send_entry"  # they do
    JOIN_EXIT = "join_exit"
    SEND_EXIT = "send_exit"
    OPEN_SHORT = "open_short"
    CLOSE_SHORT = "close_short"
    HOLD_COVER = "hold_cover"
    FREE_COVER = "free_cover"
    CLOSE_COVER = "close_cover"


class Saga(msgspec.Struct, frozen=True):
    """One structure: its state, its legs, how many shorts a cover covers, and why it leaves (`None`: it does not).

    `is_combo`: the broker takes all legs as one order. `has_asked` is whether they were asked to leave in one,
    `is_sent` whether the order of this state was sent. `further` are pairs beside the first.
    """

    cover: Leg
    short: Leg
    ratio: int
    state: SagaState = SagaState.RESERVED
    reason: ExitReason | None = None
    is_combo: bool = False
    has_asked: bool = False
    is_sent: bool = False
    further: tuple[Pair, ...] = ()

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs."""
        return (Pair(self.cover, self.short), *self.further)

    @property
    def covers(self) -> tuple[Leg, ...]:
        """The cover of each pair."""
        return tuple(pair.cover for pair in self.pairs)

    @property
    def shorts(self) -> tuple[Leg, ...]:
        """The short of each pair."""
        return tuple(pair.short for pair in self.pairs)

    @property
    def legs(self) -> tuple[Leg, ...]:
        """All legs, each cover before its short."""
        return tuple(leg for pair in self.pairs for leg in (pair.cover, pair.short))

    @property
    def is_over(self) -> bool:
        """Whether nothing is held or under way any more."""
        return self.state in OVER

    @property
    def is_whole(self) -> bool:
        """Whether all that was reserved is held."""
        return all(leg.held == leg.qty for leg in self.legs)

    @property
    def covered_qty(self) -> Qty:
        """How many shorts the cover covers that is held and may not be sold."""
        return Qty(0) if self.cover.is_free else Qty(self.cover.held * self.ratio)

    @property
    def sellable_qty(self) -> Qty:
        """How many shorts belong to what is held of the cover: its share of the plan, never more than is covered."""
        share = self.short.qty * self.cover.held // self.cover.qty
        return Qty(min(share, self.covered_qty))

    @property
    def uncovered_qty(self) -> Qty:
        """How many shorts are held that no cover of their own pair stands behind."""
        return Qty(sum(pair.uncovered_qty(self.ratio) for pair in self.pairs))


# One order may try these exits first; the others are urgent, or nothing is known of the prices.
AS_ONE = frozenset(
    {ExitReason.POSITION_LOSS, ExitReason.ASSIGNMENT_RISK, ExitReason.MAX_HOLD, ExitReason.TAKE_PROFIT}
)  # fmt: skip


def with_legs(saga: Saga, legs: Sequence[Leg]) -> Saga:
    """Return the structure with these facts of its legs, each cover before its short."""
    first, *further = (Pair(cover, short) for cover, short in zip(legs[::2], legs[1::2], strict=True))
    return replace(saga, cover=first.cover, short=first.short, further=tuple(further))


def moved(saga: Saga, event: SagaEvent) -> Saga:
    """Return the structure after an event."""
    return replace(saga, state=SAGA.next(saga.state, event))


def leaving_as_one(saga: Saga, reason: ExitReason) -> Saga:
    """Return the structure with an exit wanted that one order for all legs may try first, where it can be one."""
    if not saga.is_combo or saga.state is not SagaState.HELD or reason not in AS_ONE or not saga.is_whole:
        return leaving(saga, reason)
    return moved(replace(saga, reason=reason, has_asked=False, is_sent=False), SagaEvent.EXIT_AS_ONE)


def leaving(saga: Saga, reason: ExitReason) -> Saga:
    """Return the structure with an exit wanted; a graver reason takes the place of a lesser one."""
    if saga.is_over or saga.state is SagaState.SETTLING:
        return saga
    if saga.reason is None or SEVERITY[reason] > SEVERITY[saga.reason]:
        saga = replace(saga, reason=reason)
    return moved(saga, SagaEvent.EXIT_WANTED)


def cover_sent(saga: Saga) -> Saga:
    """Return the structure once the cover's entry was handed to its position."""
    cover = replace(saga.cover, ordered=saga.cover.qty, entry=EntryPart.WORKING)
    return moved(replace(saga, cover=cover), SagaEvent.COVER_SENT)


def entry_asked(saga: Saga) -> Saga:
    """Return the structure once all legs were asked to take part in one order that opens them."""
    asked = [replace(leg, ordered=leg.qty, entry=EntryPart.WORKING) for leg in saga.legs]
    return moved(with_legs(saga, asked), SagaEvent.COMBO_SENT)


def short_sent(saga: Saga) -> Saga:
    """Return the structure once the shorts' entry was handed to their position, for what is covered."""
    return replace(saga, short=replace(saga.short, ordered=saga.sellable_qty, entry=EntryPart.WORKING))


def advance(saga: Saga) -> Saga:
    """Return the structure in the state that its legs' facts lead to.

    Raises:
        RuntimeError: the facts lead in a circle, which no facts do.
    """
    for _ in SagaState:
        event = _due(saga)
        after = saga if event is None else moved(saga, event)
        if after.state is saga.state:
            return saga
        saga = after
        if saga.state in (SagaState.BUYING_BACK, SagaState.RELEASING) and saga.reason is None:
            saga = replace(saga, reason=ExitReason.UNWIND)
    raise RuntimeError(f"the structure does not come to rest: {saga}")


def _due(saga: Saga) -> SagaEvent | None:
    """Return the event that the facts tell in this state; `None` where they tell nothing new."""
    cover, short, state = saga.cover, saga.short, saga.state
    if state is SagaState.SETTLING:
        return _end_of(saga)
    if state in OVER or state is SagaState.RESERVED or state is SagaState.RELEASING:
        if any(leg.at_most > 0 for leg in saga.shorts):
            return SagaEvent.SHORT_FOUND
        if state is SagaState.RELEASING:
            return _end_of(saga)
        if any(leg.held > 0 for leg in saga.covers):
            return SagaEvent.COVER_FOUND
        is_no_order = state is SagaState.RESERVED and saga.further and not saga.is_combo
        return SagaEvent.EXIT_WANTED if is_no_order else None
    if state is SagaState.ENTERING:
        return _due_of_entry(saga)
    if state is SagaState.LEAVING:
        return _due_of_exit(saga)
    if state is SagaState.BUYING_COVER:
        if short.held > 0:
            return SagaEvent.SHORT_FOUND
        if cover.entry is not EntryPart.OVER:
            return None
        return SagaEvent.COVER_BOUGHT if cover.held > 0 else SagaEvent.COVER_FAILED
    if state is SagaState.BUYING_BACK:
        # Less than nothing is held of a short that somebody else has bought back, too.
        if any(leg.may_be_held and not (leg.is_clear and leg.at_most <= 0) for leg in saga.shorts):
            return None
        is_all_gone = all(leg.held == 0 and leg.is_flat for leg in saga.covers)
        is_all_gone = is_all_gone and not any(leg.may_be_held for leg in saga.shorts)
        if is_all_gone and not any(leg.was_held for leg in saga.legs):
            return SagaEvent.COVER_FAILED
        return SagaEvent.ALL_GONE if is_all_gone else SagaEvent.SHORTS_GONE
    if any(leg.held == 0 for leg in saga.covers):
        return SagaEvent.COVER_LOST
    is_short_wrong = any(leg.is_leaving for leg in saga.legs) or saga.uncovered_qty > 0
    if state is SagaState.SELLING:
        is_nothing_to_sell = short.entry is EntryPart.UNSENT and saga.sellable_qty == 0
        if is_nothing_to_sell or (short.entry is EntryPart.OVER and short.held < short.ordered):
            return SagaEvent.EXIT_WANTED  # too little of the cover filled, or of the shorts, in time
        is_sold = short.entry is EntryPart.OVER
        return SagaEvent.EXIT_WANTED if is_short_wrong else SagaEvent.SHORT_SOLD if is_sold else None
    is_short_wrong = is_short_wrong or any(leg.held < leg.ordered for leg in saga.shorts)
    return SagaEvent.EXIT_WANTED if is_short_wrong else None


def _due_of_entry(saga: Saga) -> SagaEvent | None:
    """Return the event of one order that opens all legs: what it left, once they all say that it is over."""
    legs = saga.legs
    if any(leg.is_leaving for leg in legs):
        return SagaEvent.EXIT_WANTED
    are_over = [leg.entry is EntryPart.OVER for leg in legs]
    if not all(are_over):  # where one leg does not take part, the others are given up, too
        return SagaEvent.EXIT_WANTED if any(are_over) and not saga.is_sent else None
    if saga.is_whole:
        return SagaEvent.BOTH_OPENED
    return SagaEvent.EXIT_WANTED if any(leg.held > 0 for leg in legs) else SagaEvent.COVER_FAILED


def _due_of_exit(saga: Saga) -> SagaEvent | None:
    """Return the event of one order that closes all legs: where it left something, that goes leg by leg."""
    legs = saga.legs
    if any(leg.is_leaving for leg in legs):
        return SagaEvent.EXIT_WANTED
    if not saga.is_sent or any(leg.is_joint for leg in legs):
        return None
    if any(leg.held > 0 for leg in legs):
        return SagaEvent.EXIT_WANTED
    return SagaEvent.ALL_GONE if all(leg.is_flat for leg in legs) else None


def _end_of(saga: Saga) -> SagaEvent | None:
    """Return the event of an end: nothing is held nor can be any more."""
    if any(leg.may_be_held for leg in saga.legs):
        return None
    return SagaEvent.ALL_GONE if any(leg.was_held for leg in saga.legs) else SagaEvent.COVER_FAILED


def wishes(saga: Saga) -> tuple[Wish, ...]:
    """Return what is to be done now, in this order; nothing that was done already as far as the legs' facts say."""
    short, are_joint = saga.short, all(leg.is_joint for leg in saga.legs)
    match saga.state:
        case SagaState.RESERVED:
            return (Wish.JOIN_ENTRY,) if saga.is_combo else (Wish.OPEN_COVER,)
        case SagaState.ENTERING:
            return (Wish.SEND_ENTRY,) if not saga.is_sent and are_joint else ()
        case SagaState.LEAVING:
            if not saga.has_asked:
                return (Wish.JOIN_EXIT,)
            return (Wish.SEND_EXIT,) if not saga.is_sent and are_joint else ()
        case SagaState.SELLING:
            is_due = short.entry is EntryPart.UNSENT and saga.sellable_qty > 0
            return (Wish.OPEN_SHORT,) if is_due else ()
        case SagaState.BUYING_BACK:
            held_back = (Wish.HOLD_COVER,) if any(leg.is_free for leg in saga.covers) else ()
            return (*held_back, Wish.CLOSE_SHORT) if any(map(is_to_leave, saga.shorts)) else held_back
        case SagaState.RELEASING:
            freed = (Wish.FREE_COVER,) if any(map(is_to_free, saga.covers)) else ()
            return (*freed, Wish.CLOSE_COVER) if any(map(is_to_leave, saga.covers)) else freed
        case _:
            return ()


def is_to_leave(leg: Leg) -> bool:
    """Return whether a leg that is to be closed has not been told so yet."""
    return leg.may_be_held and not leg.is_leaving


def is_to_free(leg: Leg) -> bool:
    """Return whether a cover that may be sold has not been told so yet."""
    return leg.may_be_held and not leg.is_free
