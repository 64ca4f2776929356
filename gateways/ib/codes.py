"""IB's codes in our words. A code that is not in the table and concerns an order means: unknown, ask the broker.

Sources: IB's list of API message codes, and what gateways and clients were seen to do with them
(`ib-gateway.md` sections 3, 5 and 8 of the project's specification).
"""

from __future__ import annotations

from typing import Final

from domain.instruments import DataType
from domain.orders.table import CodeMeaning, OrderStatus

CLIENT_ID_IN_USE: Final = 326
NO_SECURITY: Final = 200
NO_LINE_LEFT: Final = 101
LINK_LOST: Final = frozenset({1100, 2110})
RESTORED_DATA_LOST: Final = 1101
RESTORED: Final = 1102
FARM: Final = frozenset({2103, 2104, 2105, 2106, 2107, 2108, 2119, 2157, 2158})
FARM_BROKEN: Final = frozenset({2103, 2105, 2157})
POSITIONS_NOT_READY: Final = 2151
_NOT_SUBSCRIBED: Final = frozenset({354, 10089, 10186})
_COMPETING: Final = 10197
LINES_REFUSED: Final = frozenset({NO_LINE_LEFT, 10190, _COMPETING}) | _NOT_SUBSCRIBED

_MEANINGS: Final[dict[CodeMeaning, frozenset[int]]] = {
    CodeMeaning.LINK: LINK_LOST | {RESTORED_DATA_LOST, RESTORED, CLIENT_ID_IN_USE, 1300, 502, 504, 507},
    CodeMeaning.DATA: FARM | LINES_REFUSED | {300, 10090, 10091, 10167, 10168, 10225},
    # 399 order notice, 404 shares being located, 10349 time in force set by a preset (the order lives)
    CodeMeaning.INFORMATIONAL: frozenset({165, 399, 404, 434, 492, 2100, 2102, 2109, 2137, 2150, 2151, 2168, 10349}),
    # 103 id used before, 110 price not on the tick
    CodeMeaning.ORDER_REFUSED: frozenset({103, 109, 110, NO_SECURITY, 203, 321, 322}),
    CodeMeaning.ORDER_REJECTED: frozenset({201}),
    CodeMeaning.ORDER_CANCELLED: frozenset({202}),
    CodeMeaning.ORDER_UNKNOWN: frozenset({104, 105, 161, 10147, 10148}),
}
MEANINGS: Final[dict[int, CodeMeaning]] = {code: meaning for meaning, codes in _MEANINGS.items() for code in codes}

_NOTICES: Final = frozenset({CodeMeaning.LINK, CodeMeaning.DATA, CodeMeaning.INFORMATIONAL})

STATUSES: Final[dict[str, OrderStatus]] = {
    "ApiPending": OrderStatus.PENDING,
    "PendingSubmit": OrderStatus.PENDING,
    "PreSubmitted": OrderStatus.WORKING,
    "Submitted": OrderStatus.WORKING,
    "PendingCancel": OrderStatus.CANCELLING,
    "ApiCancelled": OrderStatus.CANCELLED,
    "Cancelled": OrderStatus.CANCELLED,
    "Filled": OrderStatus.FILLED,
    "Inactive": OrderStatus.INACTIVE,
}
WORKING: Final = frozenset({OrderStatus.PENDING, OrderStatus.WORKING, OrderStatus.CANCELLING})

_DATA_TYPES: Final = {member.value: member for member in DataType}


def remedy_of(code: int) -> str:
    """Return what to do about a line that was refused, a sentence; empty where it is a matter of how many there are."""
    if code == _COMPETING:
        return "Another session of this login has the market data: log it out (TWS, phone, web)."
    if code in _NOT_SUBSCRIBED:
        return "The account has no live data for it: subscribe in the broker's client portal, and share it with paper."
    return ""


def meaning_of(code: int) -> CodeMeaning:
    """Return what a code means for an order; unknown codes mean that the broker has to be asked."""
    return MEANINGS.get(code, CodeMeaning.ORDER_UNKNOWN)


def ends_request(code: int) -> bool:
    """Return whether an error without a request id can be the answer to a request that has none.

    IB's errors of requests lie below 1000 and from 10000 on; what lies between are notices of the system. One notice
    is an answer: the positions that were asked for are not available yet.
    """
    if code == POSITIONS_NOT_READY:
        return True
    return meaning_of(code) not in _NOTICES and not 1_000 <= code < 10_000


def status_of(text: str) -> OrderStatus:
    """Return an order status in our words."""
    return STATUSES.get(text, OrderStatus.UNKNOWN)


def data_type_of(code: int) -> DataType:
    """Return what a market data type stands for; a code that nobody knows is not live data."""
    return _DATA_TYPES.get(code, DataType.UNKNOWN)
