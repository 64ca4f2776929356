"""Tastytrade's words in ours. A status or an answer that is in no table means: ask the broker.

Source: the vendor's pages on order flow, errors, and idempotency and retries.
"""

from __future__ import annotations

from typing import Final

from domain.orders.table import CodeMeaning, OrderStatus

RECEIVED, ROUTED, IN_FLIGHT, CONTINGENT = "Received", "Routed", "In Flight", "Contingent"
LIVE, CANCEL_REQUESTED, REPLACE_REQUESTED = "Live", "Cancel Requested", "Replace Requested"
FILLED, CANCELLED, EXPIRED, REJECTED = "Filled", "Cancelled", "Expired", "Rejected"
REMOVED, PARTIALLY_REMOVED = "Removed", "Partially Removed"

# How far an order has come: of two reports of one instant, the later phase is the newer.
PHASES: Final[dict[str, int]] = {
    RECEIVED: 0, CONTINGENT: 0, ROUTED: 1, IN_FLIGHT: 2, LIVE: 3, REPLACE_REQUESTED: 4, CANCEL_REQUESTED: 4,
    REJECTED: 5, REMOVED: 5, PARTIALLY_REMOVED: 5, EXPIRED: 5, CANCELLED: 5, FILLED: 6,
}  # fmt: skip
OVER: Final = frozenset({FILLED, CANCELLED, EXPIRED, REJECTED, REMOVED, PARTIALLY_REMOVED})

STATUSES: Final[dict[str, OrderStatus]] = {
    RECEIVED: OrderStatus.PENDING,
    ROUTED: OrderStatus.PENDING,
    IN_FLIGHT: OrderStatus.PENDING,
    CONTINGENT: OrderStatus.PENDING,
    LIVE: OrderStatus.WORKING,
    REPLACE_REQUESTED: OrderStatus.WORKING,
    CANCEL_REQUESTED: OrderStatus.CANCELLING,
    FILLED: OrderStatus.FILLED,
    CANCELLED: OrderStatus.CANCELLED,
    EXPIRED: OrderStatus.CANCELLED,
    REMOVED: OrderStatus.CANCELLED,
    PARTIALLY_REMOVED: OrderStatus.CANCELLED,
    REJECTED: OrderStatus.INACTIVE,
}

# Answers that say that nothing was done: bad request, token, scope, no such thing, too old, checks failed, too many.
REFUSALS: Final = frozenset({400, 401, 403, 404, 409, 422, 429})
UNAUTHORIZED, TOO_MANY = 401, 429


def status_of(text: str) -> OrderStatus:
    """Return an order status in our words."""
    return STATUSES.get(text, OrderStatus.UNKNOWN)


def meaning_of(http_status: int) -> CodeMeaning:
    """Return what the answer to a new order or a change means for it; what is no refusal for sure is unknown."""
    return CodeMeaning.ORDER_REFUSED if http_status in REFUSALS else CodeMeaning.ORDER_UNKNOWN
