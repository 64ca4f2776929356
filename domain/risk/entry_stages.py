"""The stages of one entry attempt: what each waits for, what ends it, and what its silence means.

Every stage but the first and the last two waits for the reply to one request and has a timer. A reply that is not the
one waited for is late; it is ignored before it becomes an event of this machine.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from domain.fsm import Machine
from domain.risk.gates.sequence import CONTRACT, FRESH_QUOTE, QUOTE_FRESH, RESERVATION
from domain.risk.reject import RejectCode


class EntryStage(StrEnum):
    """Where an attempt stands."""

    RAISED = "RAISED"  # and not judged yet
    AWAITS_CONTRACTS = "AWAITS_CONTRACTS"
    AWAITS_QUOTE = "AWAITS_QUOTE"  # of a candidate whose offered quote was too old
    AWAITS_FRESH_QUOTE = "AWAITS_FRESH_QUOTE"
    AWAITS_RESERVATION = "AWAITS_RESERVATION"
    HANDED_OVER = "HANDED_OVER"
    DENIED = "DENIED"


class EntryEvent(StrEnum):
    """What moves an attempt."""

    ADMITTED = "admitted"  # the standing gates passed
    QUOTE_NEEDED = "quote_needed"
    CONTRACT_CHOSEN = "contract_chosen"  # and sized
    QUOTE_PASSED = "quote_passed"  # the fresh quote and the last look
    RESERVED = "reserved"
    DENIED = "denied"  # by a gate, or by the ledger
    TIMED_OUT = "timed_out"


ENTRY: Final = Machine(
    "entry attempt",
    transitions={
        (EntryStage.RAISED, EntryEvent.ADMITTED): EntryStage.AWAITS_CONTRACTS,
        (EntryStage.RAISED, EntryEvent.DENIED): EntryStage.DENIED,
        (EntryStage.AWAITS_CONTRACTS, EntryEvent.QUOTE_NEEDED): EntryStage.AWAITS_QUOTE,
        (EntryStage.AWAITS_CONTRACTS, EntryEvent.CONTRACT_CHOSEN): EntryStage.AWAITS_FRESH_QUOTE,
        (EntryStage.AWAITS_CONTRACTS, EntryEvent.DENIED): EntryStage.DENIED,
        (EntryStage.AWAITS_CONTRACTS, EntryEvent.TIMED_OUT): EntryStage.DENIED,
        (EntryStage.AWAITS_QUOTE, EntryEvent.QUOTE_NEEDED): EntryStage.AWAITS_QUOTE,  # of the next candidate
        (EntryStage.AWAITS_QUOTE, EntryEvent.CONTRACT_CHOSEN): EntryStage.AWAITS_FRESH_QUOTE,
        (EntryStage.AWAITS_QUOTE, EntryEvent.DENIED): EntryStage.DENIED,
        (EntryStage.AWAITS_QUOTE, EntryEvent.TIMED_OUT): EntryStage.DENIED,
        (EntryStage.AWAITS_FRESH_QUOTE, EntryEvent.QUOTE_PASSED): EntryStage.AWAITS_RESERVATION,
        (EntryStage.AWAITS_FRESH_QUOTE, EntryEvent.DENIED): EntryStage.DENIED,
        (EntryStage.AWAITS_FRESH_QUOTE, EntryEvent.TIMED_OUT): EntryStage.DENIED,
        (EntryStage.AWAITS_RESERVATION, EntryEvent.RESERVED): EntryStage.HANDED_OVER,
        (EntryStage.AWAITS_RESERVATION, EntryEvent.DENIED): EntryStage.DENIED,
        (EntryStage.AWAITS_RESERVATION, EntryEvent.TIMED_OUT): EntryStage.DENIED,
    },
    ignored={},  # an attempt that ended is forgotten, and a late reply is no event
)
TERMINAL: Final = frozenset({EntryStage.HANDED_OVER, EntryStage.DENIED})

# What silence means in a stage: the gate that could not be answered, and its code.
SILENCE: Final[dict[EntryStage, tuple[str, RejectCode]]] = {
    EntryStage.AWAITS_CONTRACTS: (CONTRACT, RejectCode.MISSING_INPUT),
    EntryStage.AWAITS_QUOTE: (QUOTE_FRESH, RejectCode.STALE_QUOTE),
    EntryStage.AWAITS_FRESH_QUOTE: (FRESH_QUOTE, RejectCode.STALE_QUOTE),
    EntryStage.AWAITS_RESERVATION: (RESERVATION, RejectCode.MISSING_INPUT),
}
