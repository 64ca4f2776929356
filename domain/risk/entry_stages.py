"""The stages of one entry attempt: what each waits for, and what its silence means.

Every stage waits for the reply to one request and has a timer; a reply that fits no stage is late, and ignored.
"""

from __future__ import annotations

from enum import StrEnum

from domain.risk.reject import RejectCode


class Stage(StrEnum):
    """Where an attempt stands; `AWAITS_WHAT_IF` is reached by short legs only."""

    AWAITS_CONTRACTS = "AWAITS_CONTRACTS"
    AWAITS_QUOTE = "AWAITS_QUOTE"
    AWAITS_WHAT_IF = "AWAITS_WHAT_IF"
    AWAITS_FRESH_QUOTE = "AWAITS_FRESH_QUOTE"
    AWAITS_RESERVATION = "AWAITS_RESERVATION"
    HANDED_OVER = "HANDED_OVER"
    DENIED = "DENIED"


class Event(StrEnum):
    """What can reach an attempt."""

    OFFERED = "offered"
    QUOTE_READ = "quote_read"
    QUOTE_UNAVAILABLE = "quote_unavailable"
    WHAT_IF_READ = "what_if_read"
    WHAT_IF_FAILED = "what_if_failed"
    RESERVED = "reserved"
    REFUSED = "refused"
    TIMER = "timer"


_AFTER_QUOTE = (Stage.AWAITS_QUOTE, Stage.AWAITS_WHAT_IF, Stage.AWAITS_FRESH_QUOTE, Stage.DENIED)

# (stage, event) -> the stages it can lead to; the gates choose among them.
TRANSITIONS: dict[tuple[Stage, Event], tuple[Stage, ...]] = {
    (Stage.AWAITS_CONTRACTS, Event.OFFERED): _AFTER_QUOTE,
    (Stage.AWAITS_CONTRACTS, Event.TIMER): (Stage.DENIED,),
    (Stage.AWAITS_QUOTE, Event.QUOTE_READ): _AFTER_QUOTE,
    (Stage.AWAITS_QUOTE, Event.QUOTE_UNAVAILABLE): _AFTER_QUOTE,
    (Stage.AWAITS_QUOTE, Event.TIMER): (Stage.DENIED,),
    (Stage.AWAITS_WHAT_IF, Event.WHAT_IF_READ): (Stage.AWAITS_FRESH_QUOTE, Stage.DENIED),
    (Stage.AWAITS_WHAT_IF, Event.WHAT_IF_FAILED): (Stage.DENIED,),
    (Stage.AWAITS_WHAT_IF, Event.TIMER): (Stage.DENIED,),
    (Stage.AWAITS_FRESH_QUOTE, Event.QUOTE_READ): (Stage.AWAITS_RESERVATION, Stage.DENIED),
    (Stage.AWAITS_FRESH_QUOTE, Event.QUOTE_UNAVAILABLE): (Stage.DENIED,),
    (Stage.AWAITS_FRESH_QUOTE, Event.TIMER): (Stage.DENIED,),
    (Stage.AWAITS_RESERVATION, Event.RESERVED): (Stage.HANDED_OVER, Stage.DENIED),
    (Stage.AWAITS_RESERVATION, Event.REFUSED): (Stage.DENIED,),
    (Stage.AWAITS_RESERVATION, Event.TIMER): (Stage.DENIED,),
}
TERMINAL = (Stage.HANDED_OVER, Stage.DENIED)

_LATE = "late: the stage that asked is over"
# Every pair that is not a transition, with the reason why nothing happens.
IGNORED: dict[tuple[Stage, Event], str] = {
    (stage, event): "a timer dies with its stage" if event is Event.TIMER else _LATE
    for stage in Stage
    for event in Event
    if (stage, event) not in TRANSITIONS
}

# What silence means: the gate that could not be answered, and its code.
SILENCE: dict[Stage, tuple[int, RejectCode]] = {
    Stage.AWAITS_CONTRACTS: (19, RejectCode.MISSING_INPUT),
    Stage.AWAITS_QUOTE: (20, RejectCode.STALE_QUOTE),
    Stage.AWAITS_WHAT_IF: (23, RejectCode.MISSING_INPUT),
    Stage.AWAITS_FRESH_QUOTE: (24, RejectCode.STALE_QUOTE),
    Stage.AWAITS_RESERVATION: (25, RejectCode.MISSING_INPUT),
}
