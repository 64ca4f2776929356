"""Everything that goes wrong on a simulated day, by name; what happens when is drawn in `plan.py`."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from domain.orders.capabilities import IB, TASTYTRADE


class Fault(StrEnum):
    """A kind of fault; the value is what coverage prints."""

    # the order session's link
    LINK_RESET = "link: reset, dials refused for a while"
    LINK_BLACK_HOLE = "link: black hole until the heartbeat is missed, dials unanswered"
    LINK_CUT = "link: 1100, then 1102"
    LINK_CUT_DATA_LOST = "link: 1100, then 1101"
    LINK_RESTORED_UNASKED = "link: 1102 without a loss"
    LINK_ID_IN_USE = "link: reset, then 326"
    LINK_WRONG_PORT = "link: reset, then another port"
    LINK_WRONG_ACCOUNT = "link: reset, then another account"
    LINK_SHORT_OF_BROKER = "link: reset, then a gateway without its broker"
    LINK_DIES_DIALLING = "link: reset, then closed while it is dialled"
    LINK_OUT_AT_CLOSE = "link: out from before the flatten until after the close"
    PORT_SLOW = "link: the port takes its commands late"
    FARM_BROKEN = "link: farm broken, then OK"
    # the quote session
    QUOTES_RESET = "quotes: link reset, dials refused for a while"
    QUOTES_CUT = "quotes: 1100, then 1101"
    QUOTES_SILENT = "quotes: options silent"
    QUOTES_CROSSED = "quotes: crossed"
    QUOTES_ONE_SIDED = "quotes: no bid"
    QUOTES_DELAYED = "quotes: delayed data"
    QUOTES_JUMP = "quotes: options jump"
    QUOTES_WIDE = "quotes: wide"
    QUOTES_NO_SIZE = "quotes: sizes not a number"
    SPOT_SILENT = "quotes: an underlying silent"
    SPOT_JUMP = "quotes: an index jumps"
    HALT = "market: an underlying halted"
    LINES_REFUSED = "quotes: lines refused"
    CHAIN_EMPTY = "quotes: a ticker without an expiry today"
    CHAIN_ODD = "quotes: a chain of adjusted contracts"
    CHAIN_FAILED = "quotes: a chain not listed"
    # process and actors
    PROCESS_KILLED = "process: kill -9"
    PROCESS_KILLED_AGAIN = "process: kill -9 during recovery"
    ACTOR_CRASHED = "actor: crash"
    ACTOR_STALLED = "actor: takes no mail for a while"
    SESSION_GIVEN_UP = "actor: session given up"
    SHUFFLED = "actor: mail between recipients shuffled"
    NIGHT = "process: on through the night into a second session"
    LEDGER_FAILED = "ledger: the desk's fails for a while"
    SHARED_LEDGER_FAILED = "ledger: the shared one fails for a while"
    PERMIT_LOST = "risk: its answer on a permit or a slice lost"
    # people
    STOPPED = "people: kill level 1"
    FLATTENED = "people: kill level 2"
    RESUMED = "people: resume"
    DEMOTED = "people: demote, later promote"
    # the broker's book and facts
    SIGNAL_TWICE = "signals: one told twice"
    FOREIGN_POSITION = "book: a position that is not ours"
    FOREIGN_ORDER = "book: an order that is not ours"
    VANISHED = "book: an order of ours vanishes"
    MANUAL_CLOSE = "book: part of a position closed by hand"
    LIQUIDATED = "book: a position liquidated"
    READ_GROUP_FAILED = "read-back: a group fails"
    READ_FAILED = "read-back: fails"
    READ_SILENT = "read-back: no answer"
    READ_SLOW = "read-back: slow, and reports in any order, positions before executions"
    ACCOUNT_BAD = "account: values that cannot be used"
    CLOCK_OFF = "account: the broker's clock is off"
    # a new order
    NEW_REJECTED = "new: 201"
    NEW_NO_SECURITY = "new: 200"
    NEW_DUPLICATE_ID = "new: 103"
    NEW_OFF_TICK = "new: 110"
    NEW_NOTICE = "new: 399 and 10349"
    NEW_LOST = "new: lost on the way"
    NEW_SILENT = "new: works, no word of it"
    NEW_OUT_OF_ORDER = "new: an entry that reaches the broker after a read-back"
    NEW_COMES_BACK = "new: an exit that works at the broker after it was given up"
    NEW_UNKNOWN_CODE = "new: a code that nobody knows"
    SENT_LATE = "new: word of its bytes late"
    SENT_SILENT = "new: no word of its bytes"
    NEW_LATE = "new: reaches the broker late"
    # its reports
    PARTIAL_FILLS = "reports: partial fills"
    ACK_LATE = "reports: acknowledged late"
    FILL_LATE = "reports: executions late"
    STATUS_FIRST = "reports: status before execution"
    REPORTS_TWICE = "reports: everything twice"
    COMMISSION_FIRST = "reports: commission before execution"
    CORRECTED = "reports: an execution corrected (.02)"
    TIME_UNREADABLE = "reports: an execution whose time cannot be read"
    POSITION_LATE = "reports: position late"
    POSITION_SILENT = "reports: position never"
    # a change
    CHANGE_FILLED_104 = "change: 104, then the fill"
    CHANGE_FILLED_SILENT_104 = "change: 104 with the execution only"
    CHANGE_FILLED_105 = "change: fill, then 105"
    CHANGE_FILLED_161 = "change: fill, then 161"
    CHANGE_FILLED_201 = "change: fill, then 201"
    CHANGE_FILLED_321 = "change: fill, then 321"
    CHANGE_REFUSED_105 = "change: 105, the order stands"
    CHANGE_REFUSED_161 = "change: 161, the order stands"
    CHANGE_REFUSED_201 = "change: 201, the order stands"
    CHANGE_REFUSED_321 = "change: 321, the order stands"
    CHANGE_LOST = "change: lost on the way"
    CHANGE_PHANTOM = "change: filled, told as cancelled, executions later"
    # a cancel
    CANCEL_10147 = "cancel: 10147, the order works"
    CANCEL_FILLED_10148 = "cancel: fill, then 10148"
    CANCEL_161 = "cancel: 161"
    CANCEL_LOST = "cancel: lost on the way"
    CANCEL_FILLED_SILENT = "cancel: fill first, reported late"
    # a request about an order to the REST broker
    REST_REFUSED = "rest order: 422"
    REST_BUSY = "rest order: 429"
    REST_TOKEN_OLD = "rest order: 401"
    REST_FAILED = "rest order: 503, nothing done"
    REST_TAKEN = "rest order: 502, and done"
    REST_CUT = "rest order: cut, nothing done"
    REST_CUT_TAKEN = "rest order: cut, and done"
    REST_LATE = "rest order: done, answered late"
    REST_HIDDEN = "rest order: 502, taken, in no list for a while"
    REST_CHANGE_WAITS = "rest change: the replacement waits"
    REST_CHANGE_CROSSED = "rest change: a fill crosses it"
    REST_CANCEL_CROSSED = "rest cancel: a fill crosses it"
    # the REST broker for a while
    REST_DOWN = "rest: nobody answers"
    REST_UNANSWERED = "rest: requests go unanswered, the stream is mute"
    REST_LISTS_FAIL = "rest: orders and positions cannot be read"
    REST_POSITIONS_FAIL = "rest: positions cannot be read"
    REST_TOKENS_EXPIRED = "rest: every token expired"
    REST_LOGIN_REFUSED = "rest: tokens expired, logins fail"
    REST_ROWS_SPOILED = "rest: rows that cannot be read"
    STREAM_DROPPED = "stream: ended, what happens meanwhile is missed"
    STREAM_SILENT = "stream: tells nothing"
    STREAM_MUTE = "stream: heartbeats go unanswered"
    STREAM_TWICE = "stream: everything twice"
    STREAM_SHUFFLED = "stream: late and in any order"


NEW_FAULTS: Final = (
    Fault.NEW_REJECTED, Fault.NEW_NO_SECURITY, Fault.NEW_DUPLICATE_ID, Fault.NEW_OFF_TICK, Fault.NEW_NOTICE,
    Fault.NEW_LOST, Fault.NEW_SILENT, Fault.NEW_LATE, Fault.PARTIAL_FILLS, Fault.PARTIAL_FILLS, Fault.ACK_LATE,
    Fault.FILL_LATE, Fault.STATUS_FIRST, Fault.REPORTS_TWICE, Fault.COMMISSION_FIRST, Fault.CORRECTED,
    Fault.TIME_UNREADABLE, Fault.POSITION_LATE, Fault.POSITION_SILENT, Fault.NEW_OUT_OF_ORDER, Fault.NEW_UNKNOWN_CODE,
    Fault.SENT_LATE, Fault.SENT_SILENT, Fault.NEW_COMES_BACK,
)  # fmt: skip
CHANGE_FAULTS: Final = (
    Fault.CHANGE_FILLED_104, Fault.CHANGE_FILLED_SILENT_104, Fault.CHANGE_FILLED_105, Fault.CHANGE_FILLED_161,
    Fault.CHANGE_FILLED_201, Fault.CHANGE_FILLED_321, Fault.CHANGE_REFUSED_105, Fault.CHANGE_REFUSED_161,
    Fault.CHANGE_REFUSED_201, Fault.CHANGE_REFUSED_321, Fault.CHANGE_LOST, Fault.CHANGE_PHANTOM,
)  # fmt: skip
CANCEL_FAULTS: Final = (
    Fault.CANCEL_10147, Fault.CANCEL_FILLED_10148, Fault.CANCEL_161, Fault.CANCEL_LOST, Fault.CANCEL_FILLED_SILENT,
)  # fmt: skip
ERROR_OF_CHANGE: Final = {
    Fault.CHANGE_FILLED_104: 104, Fault.CHANGE_FILLED_SILENT_104: 104, Fault.CHANGE_FILLED_105: 105,
    Fault.CHANGE_FILLED_161: 161, Fault.CHANGE_FILLED_201: 201, Fault.CHANGE_FILLED_321: 321,
    Fault.CHANGE_REFUSED_105: 105, Fault.CHANGE_REFUSED_161: 161, Fault.CHANGE_REFUSED_201: 201,
    Fault.CHANGE_REFUSED_321: 321, Fault.CHANGE_PHANTOM: 104,
}  # fmt: skip
_REST_FAULTS: Final = (
    Fault.REST_REFUSED, Fault.REST_BUSY, Fault.REST_TOKEN_OLD, Fault.REST_FAILED, Fault.REST_TAKEN, Fault.REST_CUT,
    Fault.REST_CUT_TAKEN, Fault.REST_LATE,
)  # fmt: skip
ORDER_FAULTS: Final[dict[str, dict[str, tuple[Fault, ...]]]] = {
    IB: {"new": NEW_FAULTS, "change": CHANGE_FAULTS, "cancel": CANCEL_FAULTS},
    TASTYTRADE: {
        "new": (
            *_REST_FAULTS, Fault.REST_HIDDEN, Fault.NEW_REJECTED, Fault.PARTIAL_FILLS, Fault.PARTIAL_FILLS,
            Fault.CORRECTED,
        ),
        "change": (*_REST_FAULTS, Fault.REST_CHANGE_WAITS, Fault.REST_CHANGE_WAITS, Fault.REST_CHANGE_CROSSED),
        "cancel": (*_REST_FAULTS, Fault.REST_CANCEL_CROSSED, Fault.REST_CANCEL_CROSSED),
    },
}  # fmt: skip
# What a fault of the order session's link is at the REST broker.
AT_REST: Final[dict[Fault, Fault]] = {
    Fault.LINK_RESET: Fault.REST_DOWN, Fault.LINK_OUT_AT_CLOSE: Fault.REST_DOWN,
    Fault.LINK_BLACK_HOLE: Fault.REST_UNANSWERED, Fault.LINK_CUT: Fault.STREAM_DROPPED,
    Fault.LINK_CUT_DATA_LOST: Fault.STREAM_SILENT, Fault.LINK_RESTORED_UNASKED: Fault.STREAM_TWICE,
    Fault.LINK_ID_IN_USE: Fault.REST_TOKENS_EXPIRED, Fault.LINK_WRONG_ACCOUNT: Fault.REST_LOGIN_REFUSED,
    Fault.LINK_WRONG_PORT: Fault.REST_LOGIN_REFUSED, Fault.LINK_SHORT_OF_BROKER: Fault.REST_LISTS_FAIL,
    Fault.LINK_DIES_DIALLING: Fault.STREAM_MUTE, Fault.FARM_BROKEN: Fault.STREAM_SHUFFLED,
    Fault.READ_GROUP_FAILED: Fault.REST_POSITIONS_FAIL, Fault.READ_FAILED: Fault.REST_LISTS_FAIL,
    Fault.READ_SILENT: Fault.REST_ROWS_SPOILED,
}  # fmt: skip
OF_SLOW_READS: Final = frozenset({Fault.READ_SLOW})  # of days that have slow read-backs
OF_LOST_PERMITS: Final = frozenset({Fault.PERMIT_LOST})  # of days on which answers of risk are lost
OF_REST: Final = frozenset({
    *AT_REST.values(), *(fault for faults in ORDER_FAULTS[TASTYTRADE].values() for fault in faults)
} - {Fault.NEW_REJECTED, Fault.PARTIAL_FILLS, Fault.CORRECTED})  # fmt: skip
# What a fault at an instant may be, with its weight. The others come with a day, or with an order.
TIMED_FAULTS: Final[dict[Fault, float]] = {
    Fault.LINK_RESET: 3, Fault.LINK_BLACK_HOLE: 2, Fault.LINK_CUT: 2, Fault.LINK_CUT_DATA_LOST: 1,
    Fault.LINK_RESTORED_UNASKED: 1, Fault.LINK_ID_IN_USE: 1, Fault.LINK_WRONG_ACCOUNT: 0.5,
    Fault.LINK_DIES_DIALLING: 0.7, Fault.LINK_OUT_AT_CLOSE: 0.5, Fault.VANISHED: 0.7, Fault.LINK_WRONG_PORT: 0.3,
    Fault.QUOTES_JUMP: 1.5, Fault.QUOTES_WIDE: 1,
    Fault.LINK_SHORT_OF_BROKER: 1, Fault.FARM_BROKEN: 1, Fault.QUOTES_RESET: 2, Fault.QUOTES_CUT: 1,
    Fault.QUOTES_SILENT: 2, Fault.QUOTES_CROSSED: 1, Fault.QUOTES_ONE_SIDED: 1, Fault.QUOTES_DELAYED: 1,
    Fault.QUOTES_NO_SIZE: 1, Fault.SPOT_SILENT: 1.5, Fault.SPOT_JUMP: 0.5, Fault.HALT: 1, Fault.LINES_REFUSED: 0.5,
    Fault.PROCESS_KILLED: 4, Fault.PROCESS_KILLED_AGAIN: 2, Fault.ACTOR_CRASHED: 4, Fault.ACTOR_STALLED: 4,
    Fault.PORT_SLOW: 2,
    Fault.SESSION_GIVEN_UP: 0.5, Fault.LEDGER_FAILED: 2, Fault.SHARED_LEDGER_FAILED: 1, Fault.STOPPED: 1.5,
    Fault.FLATTENED: 1.5, Fault.DEMOTED: 0.5, Fault.FOREIGN_POSITION: 0.7, Fault.FOREIGN_ORDER: 0.7,
    Fault.MANUAL_CLOSE: 1.5, Fault.LIQUIDATED: 0.7, Fault.READ_GROUP_FAILED: 1.5, Fault.READ_FAILED: 1,
    Fault.READ_SILENT: 1, Fault.ACCOUNT_BAD: 0.7, Fault.CLOCK_OFF: 0.5,
}  # fmt: skip
# These stop entries for good or for long; a day has a resume some time after one.
STOPPING: Final = frozenset({
    Fault.STOPPED, Fault.FLATTENED, Fault.FOREIGN_POSITION, Fault.FOREIGN_ORDER, Fault.MANUAL_CLOSE, Fault.LIQUIDATED,
    Fault.LEDGER_FAILED, Fault.SHARED_LEDGER_FAILED, Fault.LINK_WRONG_ACCOUNT, Fault.LINK_WRONG_PORT,
    Fault.ACTOR_CRASHED,
    Fault.SESSION_GIVEN_UP, Fault.SPOT_JUMP, Fault.CLOCK_OFF, Fault.ACCOUNT_BAD, Fault.SPOT_SILENT,
    Fault.QUOTES_SILENT,
})  # fmt: skip
# One of these may follow a loss of the link, while the warm-up runs or before it has begun.
AFTER_LOSS: Final = (
    Fault.LINK_RESTORED_UNASKED, Fault.FARM_BROKEN, Fault.LINK_RESET, Fault.LINK_CUT, Fault.LINK_BLACK_HOLE,
)  # fmt: skip
# One of these may happen while an actor takes no mail: what it then does was decided before.
IN_A_STALL: Final = (
    Fault.LINK_RESET, Fault.LINK_CUT, Fault.STOPPED, Fault.FLATTENED, Fault.HALT, Fault.LINK_BLACK_HOLE,
)  # fmt: skip
LOSSES: Final = frozenset({
    Fault.LINK_RESET, Fault.LINK_BLACK_HOLE, Fault.LINK_CUT, Fault.LINK_CUT_DATA_LOST, Fault.LINK_WRONG_ACCOUNT,
})  # fmt: skip
# Signals are drawn into these, so that their gates meet them.
WITH_SIGNALS: Final = frozenset({
    Fault.QUOTES_SILENT, Fault.QUOTES_CROSSED, Fault.QUOTES_ONE_SIDED, Fault.QUOTES_DELAYED, Fault.QUOTES_NO_SIZE,
    Fault.QUOTES_JUMP, Fault.QUOTES_WIDE, Fault.SPOT_SILENT, Fault.HALT, Fault.LINES_REFUSED, Fault.ACCOUNT_BAD,
    Fault.LINK_RESET, Fault.LINK_BLACK_HOLE, Fault.LINK_CUT, Fault.PROCESS_KILLED, Fault.QUOTES_RESET,
    Fault.LINK_WRONG_ACCOUNT, Fault.LINK_WRONG_PORT, Fault.READ_SILENT, Fault.LEDGER_FAILED,
})  # fmt: skip
# Where they strike depends on how many messages there were, so that two ways of stepping a day cannot agree on them.
BY_MESSAGE: Final = frozenset({
    Fault.PROCESS_KILLED, Fault.PROCESS_KILLED_AGAIN, Fault.ACTOR_CRASHED, Fault.SESSION_GIVEN_UP, Fault.LEDGER_FAILED,
    Fault.SHARED_LEDGER_FAILED,
})  # fmt: skip
