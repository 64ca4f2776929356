"""The answer to a working entry that wants to pay more: a new permit, if what stood at the hand-over still stands."""

from __future__ import annotations

from actors.risk.state import RiskState
from domain.instants import MS
from domain.orders.intent import Permit
from domain.orders.references import is_slice_ref, position_of
from domain.risk.attempt import intent_behind, snapshot_of
from domain.risk.gates import sequence as gates
from domain.risk.gates.types import DeskRules, Epochs
from domain.risk.reject import RejectCode
from domain.units import Utc
from messages import entries
from supervision.turn import Turn


def permit_of(rules: DeskRules, epochs: Epochs, now: Utc) -> Permit:
    """Return leave to send or raise an entry, from now on and for a moment."""
    return Permit(epochs.kill_epoch, epochs.session_epoch, now + rules.limits.permit_ms * MS)


def on_permit_requested(rules: DeskRules, turn: Turn[RiskState], message: entries.RequestPermit) -> None:
    """Check the gates of the hand-over again; the intent must still be one that this desk awaits."""
    view = turn.state.view
    position_id = position_of(message.order_ref)
    is_slice = is_slice_ref(message.order_ref)  # of an entry that has filled in part
    of_intent = (h for h in view.holdings if h.ref.intent_id == message.intent_id and (h.is_pending or is_slice))
    holding = next((h for h in of_intent if not h.ref.is_leg or h.ref.position_id == position_id), None)
    if holding is None:
        refuse(turn, message, "no such entry is pending")
        return
    intent = intent_behind(holding.ref, turn.now)
    reject = gates.first_reject(gates.run(gates.HAND_OVER, intent, snapshot_of(rules, view, intent, turn.now)))
    if reject is not None:
        refuse(turn, message, reject.finding.code or RejectCode.MISSING_INPUT)
        return
    permit = permit_of(rules, Epochs(view.kill_epoch, view.session_epoch), turn.now)
    turn.report(message.reply_to, entries.PermitRenewed(order_ref=message.order_ref, permit=permit))


def refuse(turn: Turn[RiskState], message: entries.RequestPermit, why: str) -> None:
    """Leave the entry as it is."""
    turn.report(message.reply_to, entries.PermitRefused(order_ref=message.order_ref, why=why))
