"""What brokers can do, by their names in the settings: whoever needs more than an order to trade asks here first."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class BrokerCapability(StrEnum):
    """What a broker's order port can do beyond single orders: placed, changed in price, cancelled, read back."""

    WHAT_IF = "what_if"  # it tells what an order would need of the margin, without placing it
    COMBOS = "combos"  # several legs as one order
    STOP = "stop"  # an order that rests until a trigger
    GOOD_TILL = "good_till"  # the broker itself ends an order at an instant
    CHANGE_OF_SIZE = "change_of_size"  # a working order's total quantity may change
    REVISIONS = "revisions"  # a corrected execution comes with a number of its own
    CANCEL_ALL = "cancel_all"  # one request cancels whatever the account has working
    SEES_CLIENTS = "sees_clients"  # it says which session placed an order, and lets no other change it


IB: Final = "ib"
TASTYTRADE: Final = "tastytrade"
_C = BrokerCapability
CAPABILITIES: Final[Mapping[str, frozenset[BrokerCapability]]] = MappingProxyType({
    IB: frozenset(_C),
    # Cancels go order by order, a correction overwrites its fill, a session is nobody's, a change keeps the size. It
    # takes several legs as one order, but an order of ours says nothing of legs yet at this port.
    TASTYTRADE: frozenset((_C.WHAT_IF, _C.STOP, _C.GOOD_TILL)),
})  # fmt: skip


def can(broker: str, capability: BrokerCapability) -> bool:
    """Return whether a broker can do something; one that nobody knows can do nothing."""
    return capability in CAPABILITIES.get(broker, frozenset())
