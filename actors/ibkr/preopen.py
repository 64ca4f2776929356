"""Before the open: the desk looks at its gateway and reads the broker back, and says in time what is missing."""

from __future__ import annotations

from actors.ibkr.read_back import start_read
from actors.ibkr.state import IBKRState, Timer, Wiring, alarm
from domain.alarm import Severity
from domain.instants import MS
from domain.session.dialling import LinkState
from domain.session.gateway_health import is_weekly_login_due
from domain.session.phases import Phase
from messages import session
from supervision.turn import Turn

WEEKLY_LOGIN = (
    "IB ends every login on Saturday night and wants the two factors again: log in at the gateway before Monday's open."
)


def on_phase(wiring: Wiring, turn: Turn[IBKRState], message: session.PhaseChanged) -> None:
    """Take over the phase; a session that is still to open is checked before it does."""
    state = turn.state
    state.phase = message.phase
    if message.session == state.session:
        return
    if state.session is not None:
        state.forget_contracts()
    state.session = message.session
    report_utc = message.open_utc - wiring.day.preopen_report_ms * MS
    if message.phase is Phase.PRE and turn.now < report_utc:
        turn.arm(Timer.PREOPEN_CHECK, max(turn.now, message.open_utc - wiring.day.preopen_check_ms * MS))
        turn.arm(Timer.PREOPEN_REPORT, report_utc)


def on_check_due(wiring: Wiring, turn: Turn[IBKRState]) -> None:
    """Reconcile again, also on a link that was never interrupted: what the night did to the account is not reported."""
    turn.state.is_morning = True
    start_read(wiring, turn)


def on_report_due(turn: Turn[IBKRState]) -> None:
    """Say what is missing for the session that is about to open; nothing is said where nothing is."""
    missing = _missing(turn)
    if missing:
        rows = "; ".join(row.words(turn.now) for row in turn.state.health) or "no gateway was dialled"
        text = f"Not ready for the open: {'; '.join(missing)}. ({rows}.)"
        alarm(turn, "preopen", Severity.HIGH, text)


def _missing(turn: Turn[IBKRState]) -> list[str]:
    state = turn.state
    if state.link.state is LinkState.REFUSED:
        return ["the gateway is logged in to another account or port; log in to the configured one"]
    if not state.link.is_up:
        login = f" {WEEKLY_LOGIN}" if is_weekly_login_due(turn.now) else " Start the gateway and log in."
        return [f"no session with the IB Gateway.{login}"]
    found = [f"the broker's {f.group.value} cannot be read ({f.why})" for f in state.failed]
    if not state.is_reconciled and not found:
        found.append("the read-back of the broker is not finished")
    if state.is_reconciled and state.is_morning:
        found.append("the morning's read-back is not finished")
    if state.account is None or state.account.session_epoch != state.session_epoch:
        found.append(state.account_fault or "the broker has not told the account's values")
    return found
