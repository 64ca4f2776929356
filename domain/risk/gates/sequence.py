"""The entry gates in their one order. The first reject decides the code; all verdicts up to it are kept.

A gate is a row of `GATES`; its number, for display only, is its place there. What the pipeline asks together is derived
from the rows: a phase, the last look, the hand-over.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from domain.orders.intent import EntryPlan, Intent
from domain.risk.gates import quote, standing
from domain.risk.gates.types import Gate, GatePhase, Snapshot, Verdict, missing, refused
from domain.risk.reject import RejectCode as R

# Gates in whose name the pipeline itself refuses.
SIGNAL_AGE: Final = "signal_age"
CONTRACT: Final = "contract"
QUOTE_FRESH: Final = "quote_fresh"
FRESH_QUOTE: Final = "fresh_quote"
RESERVATION: Final = "reservation"

_STANDING, _CANDIDATE = GatePhase.STANDING, GatePhase.CANDIDATE

GATES: Final[tuple[Gate, ...]] = (
    Gate(
        "kill_level", standing.kill_level, _STANDING, (R.KILL_SWITCH_L1, R.KILL_SWITCH_L2, R.MISSING_INPUT),
        is_last_look=True, is_hand_over=True,
    ),
    Gate("live_flag", standing.live_flag, _STANDING, (R.LIVE_NOT_ENABLED,), is_last_look=True),
    Gate(
        "port_and_account", standing.port_and_account, _STANDING,
        (R.NOT_PAPER_PORT, R.NOT_PAPER_ACCOUNT, R.NOT_LIVE_PORT, R.ACCOUNT_MISMATCH, R.MISSING_INPUT),
        is_last_look=True,
    ),
    Gate(
        "shadow_check", standing.shadow_check, _STANDING, (R.SHADOW_SIGNAL, R.MISSING_INPUT), is_last_look=True,
    ),
    Gate(
        "broker_mode", standing.broker_mode, _STANDING,
        (R.MODE_DATA_ONLY, R.MODE_DEGRADED, R.MODE_WARMUP, R.MISSING_INPUT), is_last_look=True, is_hand_over=True,
    ),
    Gate(
        "session", standing.session, _STANDING,
        (R.SESSION_CLOSED, R.ENTRY_WINDOW, R.HALTED, R.DAY_LOCKED, R.MISSING_INPUT),
        is_last_look=True, is_hand_over=True,
    ),
    Gate(SIGNAL_AGE, standing.signal_age, _STANDING, (R.STALE_SIGNAL, R.MISSING_INPUT), is_last_look=True),
    Gate("cooldown", standing.cooldown, _STANDING, (R.COOLDOWN,), is_last_look=True),
    Gate("watermark", standing.watermark, _STANDING, (R.DUPLICATE_ALERT,), is_last_look=True),
    Gate("daily_loss", standing.daily_loss, _STANDING, (R.DAILY_LOSS, R.MISSING_INPUT), is_last_look=True),
    Gate("loss_streak", standing.losses_in_a_row, _STANDING, (R.LOSS_STREAK,), is_last_look=True),
    Gate(
        "trades_per_day", standing.trades_per_day, _STANDING, (R.MAX_TRADES, R.DAY_TRADES, R.MISSING_INPUT),
        is_last_look=True,
    ),
    Gate(
        "no_adding_to_a_loser", standing.no_adding_to_a_loser, _STANDING, (R.ADD_TO_LOSER, R.MISSING_INPUT),
        is_last_look=True,
    ),
    Gate("no_reverse", standing.no_reverse, _STANDING, (R.REVERSE_WITHOUT_FLAT,), is_last_look=True),
    Gate("one_position", standing.one_position, _STANDING, (R.ONE_POSITION_ONLY,), is_last_look=True),
    Gate("long_only", standing.long_only, _STANDING, (R.LONG_ONLY, R.NAKED_SHORT), is_last_look=True),
    Gate("positions_global", standing.positions_global, _STANDING, (R.MAX_POSITIONS,), is_last_look=True),
    Gate("positions_of_ticker", standing.positions_of_ticker, _STANDING, (R.TICKER_LIMIT,), is_last_look=True),
    Gate(
        CONTRACT, quote.contract, _CANDIDATE,
        (
            R.NOT_0DTE, R.WRONG_TRADING_CLASS, R.WRONG_RIGHT, R.WRONG_MULTIPLIER, R.UNKNOWN_CONTRACT,
            R.MISSING_INPUT,
        ),
        other_codes=(R.NO_CONTRACT,), is_last_look=True,
    ),
    Gate(QUOTE_FRESH, quote.quote_fresh, _CANDIDATE, (R.DELAYED_DATA, R.STALE_QUOTE, R.MISSING_INPUT)),
    Gate("bid_present", quote.bid_present, _CANDIDATE, (R.EMPTY_MARKET,)),
    Gate(
        "spread", quote.spread, _CANDIDATE,
        (R.SPREAD_TOO_WIDE, R.CROSSED_MARKET, R.ILLIQUID, R.MISSING_INPUT),
    ),
    Gate(
        "size_and_money", quote.size_and_money, GatePhase.SIZE,
        (R.RISK_OVERLAY, R.BAD_SIZE, R.PREMIUM_BOUNDS, R.CONCENTRATION, R.BUYING_POWER, R.MISSING_INPUT),
        other_codes=(R.STRUCTURE_TERMS, R.DAILY_LOSS),  # of a structure, whose own conditions stand here
    ),
    Gate(
        FRESH_QUOTE, quote.fresh_quote, GatePhase.SUBMIT,
        (
            R.STALE_QUOTE, R.QUOTE_DRIFT, R.DELAYED_DATA, R.EMPTY_MARKET, R.SPREAD_TOO_WIDE, R.CROSSED_MARKET,
            R.ILLIQUID, R.MISSING_INPUT,
        ),
    ),
    Gate(
        RESERVATION, quote.reservation, GatePhase.RESERVATION, (R.PERMIT_KILLED, R.PERMIT_SESSION, R.MISSING_INPUT),
        other_codes=(  # in the order in which the ledger checks (`storage/reservations.py`)
            R.ATTEMPT_INTERRUPTED, R.DEADLINE_PASSED, R.DAY_LOCKED, R.DUPLICATE_ALERT, R.MAX_TRADES,
            R.REVERSE_WITHOUT_FLAT, R.ONE_POSITION_ONLY, R.MAX_POSITIONS, R.TICKER_LIMIT, R.DUPLICATE_POSITION,
        ),
    ),
)  # fmt: skip

LAST_LOOK: Final = tuple(gate for gate in GATES if gate.is_last_look)
# What a kill, a lost session or a locked day could have changed since the last look.
HAND_OVER: Final = tuple(gate for gate in GATES if gate.is_hand_over)
# What is asked of each further slice of an entry: may the desk enter at all (before its quote and after), then these.
SLICE: Final = GATES[: next(n for n, gate in enumerate(GATES, start=1) if gate.name == "session")]
SLICE_QUOTE: Final = (QUOTE_FRESH, "bid_present", "spread", FRESH_QUOTE)
_IN_PHASE: Final = {phase: tuple(gate for gate in GATES if gate.phase is phase) for phase in GatePhase}
_NUMBERS: Final = {gate.name: n for n, gate in enumerate(GATES, start=1)}


def in_phase(phase: GatePhase) -> tuple[Gate, ...]:
    """Return the gates of a phase, in their order."""
    return _IN_PHASE[phase]


def number_of(name: str) -> int:
    """Return the place of a gate in the order, from 1, for display.

    Raises:
        KeyError: no gate bears this name.
    """
    return _NUMBERS[name]


def gates_of(code: R) -> tuple[str, ...]:
    """Return the names of the gates that refuse with a code, in their order; none for a code that is not of a gate."""
    return tuple(gate.name for gate in GATES if code in gate.codes or code in gate.other_codes)


def run(gates: tuple[Gate, ...], intent: Intent, snapshot: Snapshot, note: str = "") -> tuple[Verdict, ...]:
    """Return the verdicts up to and including the first reject; `note` is why these gates are asked (again)."""
    verdicts: list[Verdict] = []
    for gate in gates:
        finding = gate.check(intent, snapshot)
        if finding.code is None:
            verdicts.append(Verdict(gate.name, finding, note))
            continue
        if note:
            finding = replace(finding, looked_at=f"{note}: {finding.looked_at}")
        verdicts.append(Verdict(gate.name, finding, note))
        break
    return tuple(verdicts)


def first_reject(verdicts: tuple[Verdict, ...]) -> Verdict | None:
    """Return the verdict that decides; it is the last one, or there is none."""
    return verdicts[-1] if verdicts and verdicts[-1].is_reject else None


def no_contract(tried: int, why: str, is_none_today: bool = False) -> Verdict:
    """Return the verdict on an offer of which no contract passed its gates, or of a ticker without one today."""
    code = R.NOT_0DTE if is_none_today else R.NO_CONTRACT
    return Verdict(CONTRACT, refused(code, tried, 1, "contracts tried", why))


def no_combo_orders(plan: EntryPlan) -> Verdict | None:
    """Return the refusal of a plan of several legs that cannot be one order; `None` for a single leg."""
    if len(plan.legs) == 1:
        return None
    return Verdict(CONTRACT, missing("a plan of several legs needs a combo order", len(plan.legs), 1, "legs"))
