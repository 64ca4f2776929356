"""Every code with which Zerohour refuses an order, in the order of the gates, and the table that explains each.

Values are permanent: they stand in gate logs and reports and are never renamed or reused.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


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
    MAX_POSITIONS = "max_positions"
    TICKER_LIMIT = "ticker_limit"
    ONE_POSITION_ONLY = "one_position_only"
    LONG_ONLY = "long_only"
    NAKED_SHORT = "naked_short"
    ADD_TO_LOSER = "add_to_loser"
    REVERSE_WITHOUT_FLAT = "reverse_without_flat"
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
    BAD_SIZE = "bad_size"
    PREMIUM_BOUNDS = "premium_bounds"
    CONCENTRATION = "concentration"
    BUYING_POWER = "buying_power"
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


class Explained(msgspec.Struct, frozen=True):
    """What a code means for people.

    `gates` are the numbers of the entry gates that give it (empty: not an entry gate's code); `is_transient` says that
    the same signal a little later could pass; `action` is what an operator does about it.
    """

    gates: tuple[int, ...]
    meaning: str
    is_transient: bool
    action: str


_NONE = "Nothing; meant."
_LOWER = "Find out why it was raised, then lower it with a reason."
_FEED = "Look at the feed and at the quote session; check market data subscriptions."

EXPLAINED: dict[RejectCode, Explained] = {
    RejectCode.KILL_SWITCH_L1: Explained((1,), "The kill level is 1: no entries.", True, _LOWER),
    RejectCode.KILL_SWITCH_L2: Explained((1,), "The kill level is 2: everything is being closed.", True, _LOWER),
    RejectCode.LIVE_NOT_ENABLED: Explained(
        (2,), "The account is live and live was not armed for this run.", False, "Arm live and start again, if meant."
    ),
    RejectCode.NOT_PAPER_PORT: Explained(
        (3,), "A paper desk is connected to a port that is not the paper port.", False, "Correct the gateway's port."
    ),
    RejectCode.NOT_PAPER_ACCOUNT: Explained(
        (3,), "A paper desk sees an account that is not a paper account.", False, "Log the gateway in to paper."
    ),
    RejectCode.NOT_LIVE_PORT: Explained(
        (3,), "A live desk is connected to a port that is not the live port.", False, "Correct the gateway's port."
    ),
    RejectCode.ACCOUNT_MISMATCH: Explained(
        (3,), "The account is not the configured one.", False, "Correct the account id or the gateway's login."
    ),
    RejectCode.SHADOW_SIGNAL: Explained(
        (4,), "The alert kind is not promoted; it is only followed.", False, "Promote it, if its record deserves it."
    ),
    RejectCode.MODE_DATA_ONLY: Explained((5,), "No reconciled broker session yet.", True, "Check the gateway."),
    RejectCode.MODE_DEGRADED: Explained((5,), "The broker session was lost.", True, "Wait; check the gateway."),
    RejectCode.MODE_WARMUP: Explained((5,), "The session is back; its stability is being watched.", True, "Wait."),
    RejectCode.SESSION_CLOSED: Explained((6,), "Outside regular hours, or a closed date.", True, _NONE),
    RejectCode.ENTRY_WINDOW: Explained((6,), "Before or after the day's entry window.", True, _NONE),
    RejectCode.HALTED: Explained((6,), "Trading is halted, or resumed a moment ago.", True, "Wait."),
    RejectCode.DAY_LOCKED: Explained((6,), "The day is locked; it cannot reopen.", False, "Read the lock's reason."),
    RejectCode.STALE_SIGNAL: Explained(
        (7,), "The signal was too old when decided.", False, "If it repeats, look at lateness in `status`."
    ),
    RejectCode.COOLDOWN: Explained((8,), "This source sent an order on this ticker recently.", True, _NONE),
    RejectCode.DUPLICATE_ALERT: Explained(
        (9, 25), "This alert, or a later one of its kind, was already decided on.", False, _NONE
    ),
    RejectCode.DAILY_LOSS: Explained(
        (10,), "The day's loss is at its limit.", False, "Review the day; entries return with the next session."
    ),
    RejectCode.LOSS_STREAK: Explained((11,), "Too many losing structures in a row today.", False, "Review them."),
    RejectCode.MAX_TRADES: Explained((12, 25), "The strategy has had its trades for today.", False, _NONE),
    RejectCode.DAY_TRADES: Explained(
        (12,), "The broker allows no more day trades.", False, "Check the account's equity and day-trade status."
    ),
    RejectCode.MAX_POSITIONS: Explained((13, 25), "As many positions as allowed are open or pending.", True, _NONE),
    RejectCode.TICKER_LIMIT: Explained((14, 25), "This ticker has its position already.", True, _NONE),
    RejectCode.ONE_POSITION_ONLY: Explained((15, 25), "The strategy holds or awaits its one position.", True, _NONE),
    RejectCode.LONG_ONLY: Explained((16,), "A long-only strategy would sell to open.", False, "Correct the strategy."),
    RejectCode.NAKED_SHORT: Explained(
        (16,), "A short leg would not be covered by its structure.", False, "Correct the strategy."
    ),
    RejectCode.ADD_TO_LOSER: Explained((17,), "The same direction is open at a loss.", True, _NONE),
    RejectCode.REVERSE_WITHOUT_FLAT: Explained((18, 25), "The opposite direction is open or pending.", True, _NONE),
    RejectCode.NOT_0DTE: Explained((19,), "No contract of this ticker expires today.", False, _NONE),
    RejectCode.WRONG_TRADING_CLASS: Explained(
        (19,), "The contract is of another trading class.", False, "Check the chain and the ticker's rules."
    ),
    RejectCode.WRONG_RIGHT: Explained((19,), "The right does not fit the direction.", False, "Report it; a bug."),
    RejectCode.WRONG_MULTIPLIER: Explained(
        (19,), "The contract's multiplier is not 100.", False, "Look in the chain for an adjusted contract."
    ),
    RejectCode.UNKNOWN_CONTRACT: Explained(
        (19,), "The contract has no broker id or is of another ticker.", False, "Check the chain."
    ),
    RejectCode.MISSING_INPUT: Explained(
        (1, 3, 5, 6, 7, 10, 12, 17, 19, 20, 22, 23, 24, 25),
        "Something that the gate must look at is not known, or is too old.",
        True,
        "The row names the input; see which actor should have told it.",
    ),
    RejectCode.DELAYED_DATA: Explained((20, 24), "The quote is not live market data.", True, _FEED),
    RejectCode.STALE_QUOTE: Explained((20, 24), "The quote's last tick is too old.", True, _FEED),
    RejectCode.EMPTY_MARKET: Explained((21, 24), "Nobody bids.", True, _NONE),
    RejectCode.SPREAD_TOO_WIDE: Explained((22, 24), "The spread is too wide.", True, _NONE),
    RejectCode.CROSSED_MARKET: Explained((22, 24), "The bid is above the ask.", True, _NONE),
    RejectCode.BAD_SIZE: Explained((23,), "The size comes out below one contract or above the cap.", True, _NONE),
    RejectCode.PREMIUM_BOUNDS: Explained((23,), "The premium is outside the ticker's bounds.", True, _NONE),
    RejectCode.CONCENTRATION: Explained((23,), "Too much premium in one underlying or in all.", True, _NONE),
    RejectCode.BUYING_POWER: Explained(
        (23,), "The account's available funds do not carry it.", True, "Check funds and margin."
    ),
    RejectCode.QUOTE_DRIFT: Explained((24,), "The market ran away between decision and submit.", True, _NONE),
    RejectCode.DUPLICATE_POSITION: Explained((25,), "The contract is held or reserved already.", True, _NONE),
    RejectCode.NO_CONTRACT: Explained((19,), "No candidate contract passed gates 19 to 22.", True, _FEED),
    RejectCode.ATTEMPT_INTERRUPTED: Explained(
        (), "A restart ended the attempt before it was decided.", False, "See why the actor restarted."
    ),
    RejectCode.EXIT_OVERSELL: Explained(
        (), "An exit would have sold more than is held.", True, "Compare ledger and broker."
    ),
    RejectCode.EXIT_UNRECONCILED: Explained(
        (), "An exit waits until broker truth is read.", True, "Check the gateway."
    ),
    RejectCode.EXIT_HALTED: Explained((), "No market order during a halt or outside regular hours.", True, "Wait."),
    RejectCode.PERMIT_EXPIRED: Explained((), "The entry's permit was too old when it was to be sent.", False, _NONE),
    RejectCode.PERMIT_KILLED: Explained((), "The kill level rose after the entry was approved.", False, _LOWER),
    RejectCode.PERMIT_SESSION: Explained((), "The broker session changed after the approval.", False, _NONE),
    RejectCode.DEADLINE_PASSED: Explained((), "The order's deadline had passed before it was sent.", False, _NONE),
    RejectCode.DUPLICATE_REF: Explained((), "An order of this reference was sent before.", False, "Report it; a bug."),
    RejectCode.NOT_CONNECTED: Explained((), "There is no broker session to send on.", True, "Check the gateway."),
}
