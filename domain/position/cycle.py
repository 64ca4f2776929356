"""The life cycle of one position: its states, what moves it, and how it can end."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from domain.fsm import Machine


class PositionState(StrEnum):
    """States of one desk's position in one contract; `can_enter` holds in `FLAT` only."""

    FLAT = "FLAT"
    PENDING_ENTRY = "PENDING_ENTRY"
    OPEN = "OPEN"
    PENDING_EXIT = "PENDING_EXIT"
    SETTLING = "SETTLING"


NO_FILL: Final = "the entry ended without a fill"  # why an entry was given up that simply got none


class EndReason(StrEnum):
    """How a position ended."""

    CLOSED = "closed"
    EXPIRED = "expired"  # worthless
    EXPIRED_UNPRICED = "expired_unpriced"  # nobody knows the settlement price: booked at its worst, with an alarm
    SETTLED = "settled"  # in cash
    ASSIGNED = "assigned"  # exercised into shares
    BROKER_LIQUIDATION = "broker_liquidation"  # closed at the broker by somebody else, or by the broker
    ABANDONED = "abandoned"


class ExitKind(StrEnum):
    """How much of the position the running exit wants to close."""

    TAKE_PART = "take_part"
    FULL = "full"


class ExitReason(StrEnum):
    """Why an exit is wanted, most severe first (`exits.SEVERITY` says which are equals)."""

    KILL = "kill"
    EOD = "eod"
    OPERATOR = "operator"
    PREMIUM_STOP = "premium_stop"
    UNDERLYING_STOP = "underlying_stop"
    BLIND = "blind"
    DISASTER = "disaster_stop"  # the stop that rests at the broker
    ASSIGNMENT_RISK = "assignment_risk"  # of a structure: its short leg is far in the money
    POSITION_LOSS = "position_loss"  # of a structure: both legs together
    UNWIND = "unwind"  # of a structure: a leg is missing
    IV_CRUSH = "iv_crush"
    MAX_HOLD = "max_hold"
    REVERSAL = "reversal"
    NO_PROGRESS = "no_progress"
    TAKE_PROFIT = "take_profit"


class PositionEvent(StrEnum):
    """What moves a position. Fills are events of their own: no order status ever stands for one."""

    OPEN_REQUESTED = "open_requested"
    OPENING_FILL = "opening_fill"  # of the side that opens: a buy of a long position
    CLOSING_FILL = "closing_fill"
    ENTRY_ENDED = "entry_ended"
    EXIT_WANTED = "exit_wanted"
    PART_TAKEN = "part_taken"
    SHORT_FOUND = "short_found"  # the broker holds less than nothing of what may only be held long
    HELD_AFTER_ALL = "held_after_all"  # the broker holds again what was booked as closed without an execution
    BROKER_AGREED = "broker_agreed"
    SESSION_CLOSED = "session_closed"


_S = PositionState
_E = PositionEvent

_TRANSITIONS: dict[tuple[PositionState, PositionEvent], PositionState] = {
    (_S.FLAT, _E.OPEN_REQUESTED): _S.PENDING_ENTRY,
    (_S.FLAT, _E.OPENING_FILL): _S.OPEN,  # an entry given up filled after all (late report after a reconnect)
    (_S.FLAT, _E.CLOSING_FILL): _S.PENDING_EXIT,  # more was closed than held: not flat until the broker agrees
    (_S.FLAT, _E.SHORT_FOUND): _S.PENDING_EXIT,  # bought back at kill level 2
    (_S.FLAT, _E.HELD_AFTER_ALL): _S.OPEN,
    (_S.PENDING_ENTRY, _E.OPENING_FILL): _S.OPEN,
    (_S.PENDING_ENTRY, _E.CLOSING_FILL): _S.PENDING_EXIT,  # a late close of the life before: as above
    (_S.PENDING_ENTRY, _E.ENTRY_ENDED): _S.FLAT,
    (_S.OPEN, _E.OPENING_FILL): _S.OPEN,
    (_S.OPEN, _E.CLOSING_FILL): _S.OPEN,  # a fill reported after its cancel was confirmed
    (_S.OPEN, _E.EXIT_WANTED): _S.PENDING_EXIT,
    (_S.OPEN, _E.SHORT_FOUND): _S.PENDING_EXIT,
    (_S.OPEN, _E.BROKER_AGREED): _S.FLAT,  # such a late fill may have closed the last contract
    (_S.OPEN, _E.SESSION_CLOSED): _S.SETTLING,
    (_S.PENDING_EXIT, _E.OPENING_FILL): _S.PENDING_EXIT,  # the entry's rest filled while its cancel was on the way
    (_S.PENDING_EXIT, _E.CLOSING_FILL): _S.PENDING_EXIT,
    (_S.PENDING_EXIT, _E.EXIT_WANTED): _S.PENDING_EXIT,
    (_S.PENDING_EXIT, _E.SHORT_FOUND): _S.PENDING_EXIT,
    (_S.PENDING_EXIT, _E.PART_TAKEN): _S.OPEN,
    (_S.PENDING_EXIT, _E.BROKER_AGREED): _S.FLAT,
    (_S.PENDING_EXIT, _E.SESSION_CLOSED): _S.SETTLING,
    (_S.SETTLING, _E.OPENING_FILL): _S.SETTLING,
    (_S.SETTLING, _E.CLOSING_FILL): _S.SETTLING,  # a fill of the last minute, reported after the close
    (_S.SETTLING, _E.BROKER_AGREED): _S.FLAT,
}

_NOT_FLAT = "only a flat position can be opened: the intent is given back to the ledger"
_FILLS_STAY = "the entry's end changes nothing: what filled is held"
_NO_EXIT = "no exit is running, so none can have taken a part"
_NOT_OVER = "its life is not over, so that nothing was booked as closed"

_IGNORED: dict[tuple[PositionState, PositionEvent], str] = {
    (_S.FLAT, _E.ENTRY_ENDED): "the entry had been given up before its end was reported",
    (_S.FLAT, _E.EXIT_WANTED): "nothing is held",
    (_S.FLAT, _E.PART_TAKEN): _NO_EXIT,
    (_S.FLAT, _E.BROKER_AGREED): "both sides are flat already",
    (_S.FLAT, _E.SESSION_CLOSED): "nothing is held: the actor retires",
    (_S.PENDING_ENTRY, _E.OPEN_REQUESTED): _NOT_FLAT,
    (_S.PENDING_ENTRY, _E.HELD_AFTER_ALL): _NOT_OVER,
    (_S.PENDING_ENTRY, _E.EXIT_WANTED): "nothing is held yet: the entry is cancelled, a fill starts the exit",
    (_S.PENDING_ENTRY, _E.PART_TAKEN): _NO_EXIT,
    (_S.PENDING_ENTRY, _E.BROKER_AGREED): "the broker holds nothing yet: the entry's end decides",
    (_S.PENDING_ENTRY, _E.SESSION_CLOSED): "nothing is held: the entry ends on broker evidence",
    (_S.PENDING_ENTRY, _E.SHORT_FOUND): "the entry is cancelled first: looked at again when it has ended",
    (_S.OPEN, _E.OPEN_REQUESTED): _NOT_FLAT,
    (_S.OPEN, _E.HELD_AFTER_ALL): _NOT_OVER,
    (_S.OPEN, _E.ENTRY_ENDED): _FILLS_STAY,
    (_S.OPEN, _E.PART_TAKEN): _NO_EXIT,
    (_S.PENDING_EXIT, _E.OPEN_REQUESTED): _NOT_FLAT,
    (_S.PENDING_EXIT, _E.HELD_AFTER_ALL): _NOT_OVER,
    (_S.PENDING_EXIT, _E.ENTRY_ENDED): _FILLS_STAY,
    (_S.SETTLING, _E.OPEN_REQUESTED): _NOT_FLAT,
    (_S.SETTLING, _E.HELD_AFTER_ALL): _NOT_OVER,
    (_S.SETTLING, _E.ENTRY_ENDED): _FILLS_STAY,
    (_S.SETTLING, _E.EXIT_WANTED): "the session is over: nothing can be closed any more",
    (_S.SETTLING, _E.SHORT_FOUND): "the session is over: nothing can be bought back any more",
    (_S.SETTLING, _E.PART_TAKEN): _NO_EXIT,
    (_S.SETTLING, _E.SESSION_CLOSED): "already settling",
}


CYCLE = Machine("position", _TRANSITIONS, _IGNORED)


def can_enter(state: PositionState) -> bool:
    """Return whether a new entry may start."""
    return state is PositionState.FLAT
