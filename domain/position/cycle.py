"""The life cycle of one position: its states, what moves it, and how it can end."""

from __future__ import annotations

from enum import StrEnum


class PositionState(StrEnum):
    """States of one desk's position in one contract; `can_enter` holds in `FLAT` only."""

    FLAT = "FLAT"
    PENDING_ENTRY = "PENDING_ENTRY"
    OPEN = "OPEN"
    PENDING_EXIT = "PENDING_EXIT"
    SETTLING = "SETTLING"


class EndReason(StrEnum):
    """How a position ended."""

    CLOSED = "closed"
    EXPIRED = "expired"
    SETTLED = "settled"
    ASSIGNED = "assigned"
    BROKER_LIQUIDATION = "broker_liquidation"
    ABANDONED = "abandoned"


class ExitKind(StrEnum):
    """How much of the position the running exit wants to sell."""

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
    IV_CRUSH = "iv_crush"
    MAX_HOLD = "max_hold"
    REVERSAL = "reversal"
    NO_PROGRESS = "no_progress"
    TAKE_PROFIT = "take_profit"


class PositionEvent(StrEnum):
    """What moves a position. Fills are events of their own: no order status ever stands for one."""

    OPEN_ASKED = "open_asked"
    BOUGHT = "bought"
    SOLD = "sold"
    ENTRY_ENDED = "entry_ended"
    EXIT_WANTED = "exit_wanted"
    PART_TAKEN = "part_taken"
    BROKER_AGREED = "broker_agreed"
    SESSION_CLOSED = "session_closed"


_S = PositionState
_E = PositionEvent

TRANSITIONS: dict[tuple[PositionState, PositionEvent], PositionState] = {
    (_S.FLAT, _E.OPEN_ASKED): _S.PENDING_ENTRY,
    (_S.FLAT, _E.BOUGHT): _S.OPEN,  # an entry given up filled after all (late report after a reconnect)
    (_S.FLAT, _E.SOLD): _S.PENDING_EXIT,  # sold more than was held: not flat until the broker agrees
    (_S.PENDING_ENTRY, _E.BOUGHT): _S.OPEN,
    (_S.PENDING_ENTRY, _E.SOLD): _S.PENDING_EXIT,  # a late sale of the life before: as above
    (_S.PENDING_ENTRY, _E.ENTRY_ENDED): _S.FLAT,
    (_S.OPEN, _E.BOUGHT): _S.OPEN,
    (_S.OPEN, _E.SOLD): _S.OPEN,  # a fill reported after its cancel was confirmed
    (_S.OPEN, _E.EXIT_WANTED): _S.PENDING_EXIT,
    (_S.OPEN, _E.BROKER_AGREED): _S.FLAT,  # such a late fill may have sold the last contract
    (_S.OPEN, _E.SESSION_CLOSED): _S.SETTLING,
    (_S.PENDING_EXIT, _E.BOUGHT): _S.PENDING_EXIT,  # the entry's rest filled while its cancel was on the way
    (_S.PENDING_EXIT, _E.SOLD): _S.PENDING_EXIT,
    (_S.PENDING_EXIT, _E.EXIT_WANTED): _S.PENDING_EXIT,
    (_S.PENDING_EXIT, _E.PART_TAKEN): _S.OPEN,
    (_S.PENDING_EXIT, _E.BROKER_AGREED): _S.FLAT,
    (_S.PENDING_EXIT, _E.SESSION_CLOSED): _S.SETTLING,
    (_S.SETTLING, _E.BOUGHT): _S.SETTLING,
    (_S.SETTLING, _E.SOLD): _S.SETTLING,  # a fill of the last minute, reported after the close
    (_S.SETTLING, _E.BROKER_AGREED): _S.FLAT,
}

_NOT_FLAT = "only a flat position can be opened: the intent is given back to the ledger"
_FILLS_STAY = "the entry's end changes nothing: what filled is held"
_NO_EXIT = "no exit is running, so none can have taken a part"

IGNORED: dict[tuple[PositionState, PositionEvent], str] = {
    (_S.FLAT, _E.ENTRY_ENDED): "the entry had been given up before its end was heard",
    (_S.FLAT, _E.EXIT_WANTED): "nothing is held",
    (_S.FLAT, _E.PART_TAKEN): _NO_EXIT,
    (_S.FLAT, _E.BROKER_AGREED): "both sides are flat already",
    (_S.FLAT, _E.SESSION_CLOSED): "nothing is held: the actor retires",
    (_S.PENDING_ENTRY, _E.OPEN_ASKED): _NOT_FLAT,
    (_S.PENDING_ENTRY, _E.EXIT_WANTED): "nothing is held yet: the entry is cancelled, a fill starts the exit",
    (_S.PENDING_ENTRY, _E.PART_TAKEN): _NO_EXIT,
    (_S.PENDING_ENTRY, _E.BROKER_AGREED): "the broker holds nothing yet: the entry's end decides",
    (_S.PENDING_ENTRY, _E.SESSION_CLOSED): "nothing is held: the entry ends on broker evidence",
    (_S.OPEN, _E.OPEN_ASKED): _NOT_FLAT,
    (_S.OPEN, _E.ENTRY_ENDED): _FILLS_STAY,
    (_S.OPEN, _E.PART_TAKEN): _NO_EXIT,
    (_S.PENDING_EXIT, _E.OPEN_ASKED): _NOT_FLAT,
    (_S.PENDING_EXIT, _E.ENTRY_ENDED): _FILLS_STAY,
    (_S.SETTLING, _E.OPEN_ASKED): _NOT_FLAT,
    (_S.SETTLING, _E.ENTRY_ENDED): _FILLS_STAY,
    (_S.SETTLING, _E.EXIT_WANTED): "the session is over: nothing can be sold any more",
    (_S.SETTLING, _E.PART_TAKEN): _NO_EXIT,
    (_S.SETTLING, _E.SESSION_CLOSED): "already settling",
}


def next_state(state: PositionState, event: PositionEvent) -> PositionState:
    """Give the state after an event; an ignored pair stays where it is.

    Raises:
        ValueError: the pair stands in neither table.
    """
    if (state, event) in TRANSITIONS:
        return TRANSITIONS[state, event]
    if (state, event) in IGNORED:
        return state
    raise ValueError(f"no rule for {event.value} in {state.value}; add the pair to TRANSITIONS or IGNORED")


def can_enter(state: PositionState) -> bool:
    """Tell whether a new entry may start."""
    return state is PositionState.FLAT
