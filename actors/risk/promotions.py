"""What may trade, where the shared ledger could not say it at the start: asked again until it can, with pauses."""

from __future__ import annotations

from typing import Final, assert_never

from msgspec.structs import replace

from actors.risk.state import RiskState, Timer
from domain.alarm import Severity
from domain.instants import SECOND, session_of
from domain.risk.desk_view import Promotion, with_promotion
from domain.units import Utc
from messages import lifecycle, operator, signals
from messages.restored import RiskRestored
from supervision.turn import Turn

KEY: Final = "promotions"
FIRST_PAUSE_NS: Final = SECOND
LONGEST_PAUSE_NS: Final = 30 * SECOND


def note_unknown(turn: Turn[RiskState]) -> None:
    """Say that nothing may trade, and ask again soon."""
    text = (
        "What may trade is not known: the shared ledger (ledger.db) cannot be read now. No entries until it can; it is"
        " tried again and again. Look for a program that holds it, and at the disk."
    )
    turn.publish(operator.Alarm(key=KEY, severity=Severity.HIGH, text=text, at_utc=turn.now))
    _arm(turn)


def ask(turn: Turn[RiskState]) -> None:
    """Have the desk's ledger look once more, and again where it does not answer."""
    state = turn.state
    state.promotions_asked_n += 1
    turn.tell(
        "desk_ledger",
        lifecycle.RequestState(
            name=turn.name, reply_to=turn.name, session=state.view.session or session_of(turn.now),
            read_n=state.promotions_asked_n,
        ),
    )  # fmt: skip
    _arm(turn)


def hear(turn: Turn[RiskState], message: signals.PromotionChanged | lifecycle.StateRead) -> None:
    """Take over a word on one kind of alert, or what the ledger knows of all."""
    match message:
        case signals.PromotionChanged():
            on_promotion(turn, message)
        case lifecycle.StateRead():
            on_state_read(turn, message)
        case _:
            assert_never(message)


def on_state_read(turn: Turn[RiskState], message: lifecycle.StateRead) -> None:
    """Take over what may trade; what was withdrawn meanwhile stays so."""
    state, known = turn.state, message.restored
    if state.view.is_promoted_known or not isinstance(known, RiskRestored) or known.promoted is None:
        return
    turn.disarm(Timer.PROMOTIONS)
    promoted = (frozenset(known.promoted) | state.view.promoted) - state.withdrawn
    state.view = replace(state.view, promoted=promoted, is_promoted_known=True)
    state.withdrawn = frozenset()
    text = f"The shared ledger is read again: {len(promoted)} kinds of alerts may trade, so far as the gates let them."
    turn.publish(operator.Alarm(key=KEY, severity=Severity.INFO, text=text, at_utc=turn.now))


def on_promotion(turn: Turn[RiskState], message: signals.PromotionChanged) -> None:
    """Let a kind of alert trade from now on, or no longer: what is under way is asked again at its last look."""
    state = turn.state
    promotion: Promotion = (message.source, message.kind, message.version)
    state.view = with_promotion(state.view, promotion, message.is_promoted)
    if not state.view.is_promoted_known:
        others = state.withdrawn - {promotion}
        state.withdrawn = others if message.is_promoted else others | {promotion}


def _arm(turn: Turn[RiskState]) -> None:
    pause_ns = min(LONGEST_PAUSE_NS, FIRST_PAUSE_NS << min(turn.state.promotions_asked_n, 8))
    turn.arm(Timer.PROMOTIONS, Utc(turn.now + pause_ns))
