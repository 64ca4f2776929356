"""Every code with which Zerohour refuses an order, in the order of the gates, and the table that explains each.

Values are permanent: they stand in gate logs and reports and are never renamed or reused.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from domain.session.modes import Mode


class RejectCode(StrEnum):
    """Why an entry was refused; the order is the gates' precedence, values never change and are never reused."""

    KILL_SWITCH_L1 = "kill_switch_l1"
    KILL_SWITCH_L2 = "kill_switch_l2"
    LIVE_NOT_ENABLED = "live_not_enabled"
    NOT_PAPER_PORT = "not_paper_port"
    NOT_PAPER_ACCOUNT = "not_paper_account"
    NOT_LIVE_PORT = "not_live_port"
    ACCOUNT_MISMATCH = "account_mismatch"
    SHADOW_SIGNAL = "shadow_signal"
    MODE_DATA_ONLY = "mode_data_only"
    MODE_DEGRADED = "mode_degraded"
    MODE_WARMUP = "mode_warmup"
    SESSION_CLOSED = "session_closed"
    ENTRY_WINDOW = "entry_window"
    HALTED = "halted"
    DAY_LOCKED = "day_locked"
    STALE_SIGNAL = "stale_signal"
    COOLDOWN = "cooldown"
    DUPLICATE_ALERT = "duplicate_alert"
    DAILY_LOSS = "daily_loss"
    LOSS_STREAK = "loss_streak"
    MAX_TRADES = "max_trades"
    DAY_TRADES = "day_trades"
    ADD_TO_LOSER = "add_to_loser"
    REVERSE_WITHOUT_FLAT = "reverse_without_flat"
    ONE_POSITION_ONLY = "one_position_only"
    LONG_ONLY = "long_only"
    NAKED_SHORT = "naked_short"
    MAX_POSITIONS = "max_positions"
    TICKER_LIMIT = "ticker_limit"
    NOT_0DTE = "not_0dte"
    WRONG_TRADING_CLASS = "wrong_trading_class"
    WRONG_RIGHT = "wrong_right"
    WRONG_MULTIPLIER = "wrong_multiplier"
    UNKNOWN_CONTRACT = "unknown_contract"
    MISSING_INPUT = "missing_input"
    DELAYED_DATA = "delayed_data"
    STALE_QUOTE = "stale_quote"
    EMPTY_MARKET = "empty_market"
    SPREAD_TOO_WIDE = "spread_too_wide"
    CROSSED_MARKET = "crossed_market"
    ILLIQUID = "illiquid"
    RISK_OVERLAY = "risk_overlay"
    BAD_SIZE = "bad_size"
    PREMIUM_BOUNDS = "premium_bounds"
    CONCENTRATION = "concentration"
    BUYING_POWER = "buying_power"
    STRUCTURE_TERMS = "structure_terms"
    QUOTE_DRIFT = "quote_drift"
    DUPLICATE_POSITION = "duplicate_position"
    NO_CONTRACT = "no_contract"
    ATTEMPT_INTERRUPTED = "attempt_interrupted"
    EXIT_OVERSELL = "exit_oversell"
    EXIT_UNRECONCILED = "exit_unreconciled"
    EXIT_HALTED = "exit_halted"
    PERMIT_EXPIRED = "permit_expired"
    PERMIT_KILLED = "permit_killed"
    PERMIT_SESSION = "permit_session"
    DEADLINE_PASSED = "deadline_passed"
    DUPLICATE_REF = "duplicate_ref"
    NOT_CONNECTED = "not_connected"
    BROKER_REJECTED = "broker_rejected"


class Explained(msgspec.Struct, frozen=True):
    """What a code means for people; which gates give it stands in their rows (`gates.sequence.gates_of`).

    `is_transient` says that the same signal a little later could pass; `action` is what an operator does about it.
    """

    meaning: str
    is_transient: bool
    action: str


_NONE = "Nothing; meant."
_LOWER = "Find out why it was raised, then lower it with a reason."
_FEED = "Look at the feed and at the quote session; check market data subscriptions."

EXPLAINED: Final[dict[RejectCode, Explained]] = {
    RejectCode.KILL_SWITCH_L1: Explained("The kill level is 1: no entries.", True, _LOWER),
    RejectCode.KILL_SWITCH_L2: Explained("The kill level is 2: everything is being closed.", True, _LOWER),
    RejectCode.LIVE_NOT_ENABLED: Explained(
        "The account is live and live was not armed for this run.", False, "Arm live and start again, if meant."
    ),
    RejectCode.NOT_PAPER_PORT: Explained(
        "A paper desk is connected to a port that is not the paper port.", False, "Correct the gateway's port."
    ),
    RejectCode.NOT_PAPER_ACCOUNT: Explained(
        "A paper desk sees an account that is not a paper account.", False, "Log the gateway in to paper."
    ),
    RejectCode.NOT_LIVE_PORT: Explained(
        "A live desk is connected to a port that is not the live port.", False, "Correct the gateway's port."
    ),
    RejectCode.ACCOUNT_MISMATCH: Explained(
        "The account is not the configured one.", False, "Correct the account id or the gateway's login."
    ),
    RejectCode.SHADOW_SIGNAL: Explained(
        "The alert kind is not promoted (now); it is only recorded.", False, "Promote it, if its record deserves it."
    ),
    RejectCode.MODE_DATA_ONLY: Explained("No reconciled broker session yet.", True, "Check the gateway."),
    RejectCode.MODE_DEGRADED: Explained("The broker session was lost.", True, "Wait; check the gateway."),
    RejectCode.MODE_WARMUP: Explained("The session is back; its stability is being watched.", True, "Wait."),
    RejectCode.SESSION_CLOSED: Explained("Outside regular hours, or a closed date.", True, _NONE),
    RejectCode.ENTRY_WINDOW: Explained("Before or after the day's entry window.", True, _NONE),
    RejectCode.HALTED: Explained("Trading is halted, or resumed a moment ago.", True, "Wait."),
    RejectCode.DAY_LOCKED: Explained("The day is locked; it cannot reopen.", False, "Read the lock's reason."),
    RejectCode.STALE_SIGNAL: Explained(
        "The signal was too old when decided.", False, "If it repeats, look at lateness in `status`."
    ),
    RejectCode.COOLDOWN: Explained("This source sent an order on this ticker recently.", True, _NONE),
    RejectCode.DUPLICATE_ALERT: Explained(
        "This alert, or a later one of its kind, was already decided on.", False, _NONE
    ),
    RejectCode.DAILY_LOSS: Explained(
        "The day's loss is at its limit.", False, "Review the day; entries return with the next session."
    ),
    RejectCode.LOSS_STREAK: Explained("Too many losing structures in a row today.", False, "Review them."),
    RejectCode.MAX_TRADES: Explained("The strategy has had its trades for today.", False, _NONE),
    RejectCode.DAY_TRADES: Explained(
        "The broker allows no more day trades.", False, "Check the account's equity and day-trade status."
    ),
    RejectCode.ADD_TO_LOSER: Explained("The same direction is open at a loss.", True, _NONE),
    RejectCode.REVERSE_WITHOUT_FLAT: Explained("The opposite direction is open or pending.", True, _NONE),
    RejectCode.ONE_POSITION_ONLY: Explained("The strategy holds or awaits its one position.", True, _NONE),
    RejectCode.LONG_ONLY: Explained("A long-only strategy would sell to open.", False, "Correct the strategy."),
    RejectCode.NAKED_SHORT: Explained(
        "A short leg would not be covered by its structure.", False, "Correct the strategy."
    ),
    RejectCode.MAX_POSITIONS: Explained("As many positions as allowed are open or pending.", True, _NONE),
    RejectCode.TICKER_LIMIT: Explained("This ticker has its position already.", True, _NONE),
    RejectCode.NOT_0DTE: Explained("No contract of this ticker expires today.", False, _NONE),
    RejectCode.WRONG_TRADING_CLASS: Explained(
        "The contract is of another trading class.", False, "Check the chain and the ticker's rules."
    ),
    RejectCode.WRONG_RIGHT: Explained("The right does not fit the direction.", False, "Report it; a bug."),
    RejectCode.WRONG_MULTIPLIER: Explained(
        "The contract's multiplier is not 100.", False, "Look in the chain for an adjusted contract."
    ),
    RejectCode.UNKNOWN_CONTRACT: Explained(
        "The contract has no broker id or is of another ticker.", False, "Check the chain."
    ),
    RejectCode.MISSING_INPUT: Explained(
        "Something that the gate must look at is not known, or is too old.",
        True,
        "The row names the input; see which actor should have told it.",
    ),
    RejectCode.DELAYED_DATA: Explained("The quote is not live market data.", True, _FEED),
    RejectCode.STALE_QUOTE: Explained("The quote's last tick is too old.", True, _FEED),
    RejectCode.EMPTY_MARKET: Explained("Nobody bids.", True, _NONE),
    RejectCode.SPREAD_TOO_WIDE: Explained("The spread is too wide.", True, _NONE),
    RejectCode.CROSSED_MARKET: Explained("The bid is above the ask.", True, _NONE),
    RejectCode.ILLIQUID: Explained(
        "The size is too large for what is quoted, or hardly anybody trades the contract.", True, _NONE
    ),
    RejectCode.RISK_OVERLAY: Explained(
        "Volatility (or the alert's own confidence) allows no size at all; see `entry.overlay`.", True, _NONE
    ),
    RejectCode.BAD_SIZE: Explained("The size comes out below one contract or above the cap.", True, _NONE),
    RejectCode.PREMIUM_BOUNDS: Explained("The premium is outside the ticker's bounds.", True, _NONE),
    RejectCode.CONCENTRATION: Explained("Too much premium in one underlying or in all.", True, _NONE),
    RejectCode.BUYING_POWER: Explained(
        "The account's available funds do not carry it.", True, "Check funds and margin."
    ),
    RejectCode.STRUCTURE_TERMS: Explained(
        "A condition of the structure does not hold: window, ratio, credit or worst case.", True, _NONE
    ),
    RejectCode.QUOTE_DRIFT: Explained("The market ran away between decision and submit.", True, _NONE),
    RejectCode.DUPLICATE_POSITION: Explained("The contract is held or reserved already.", True, _NONE),
    RejectCode.NO_CONTRACT: Explained("No candidate contract passed its gates.", True, _FEED),
    RejectCode.ATTEMPT_INTERRUPTED: Explained(
        "A restart ended the attempt before it was decided.", False, "See why the actor restarted."
    ),
    RejectCode.EXIT_OVERSELL: Explained(
        "An exit would have sold more than is held.", True, "Compare ledger and broker."
    ),
    RejectCode.EXIT_UNRECONCILED: Explained("An exit waits until broker truth is read.", True, "Check the gateway."),
    RejectCode.EXIT_HALTED: Explained("No market order during a halt or outside regular hours.", True, "Wait."),
    RejectCode.PERMIT_EXPIRED: Explained("The entry's permit was too old when it was to be sent.", False, _NONE),
    RejectCode.PERMIT_KILLED: Explained("The kill level rose after the entry was approved.", False, _LOWER),
    RejectCode.PERMIT_SESSION: Explained("The broker session changed after the approval.", False, _NONE),
    RejectCode.DEADLINE_PASSED: Explained("The order's deadline had passed before it was sent.", False, _NONE),
    RejectCode.DUPLICATE_REF: Explained("An order of this reference was sent before.", False, "Report it; a bug."),
    RejectCode.NOT_CONNECTED: Explained("There is no broker session to send on.", True, "Check the gateway."),
    RejectCode.BROKER_REJECTED: Explained(
        "The broker rejected the order; its own words stand beside it.", False, "Read the broker's words."
    ),
}

# What refuses an entry in a connection mode; in `FULLY_LIVE` nothing does.
REFUSED_IN_MODE: Final[dict[Mode, RejectCode]] = {
    Mode.DATA_ONLY: RejectCode.MODE_DATA_ONLY,
    Mode.DEGRADED: RejectCode.MODE_DEGRADED,
    Mode.WARMUP: RejectCode.MODE_WARMUP,
}
