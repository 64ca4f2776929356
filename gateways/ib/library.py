"""The client library of IB, chosen once: everybody here takes its names from this module.

`ZEROHOUR_IB_LIBRARY` in the environment of the process says which one, before anything is read: `ib_insync` (unless
said) or its successor `ib_async`. What the two do differently is evened out here or named in decision 9.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

VARIABLE: Final = "ZEROHOUR_IB_LIBRARY"
DEFAULT: Final = "ib_insync"
KNOWN: Final = (DEFAULT, "ib_async")
# The wire that our decoder was written for and every test speaks; ib_async alone would ask the gateway for 178.
WIRE_VERSION_MAX: Final = 176


def chosen(name: str) -> str:
    """Return the library of a name; an empty one is the default.

    Raises:
        SystemExit: there is no such library, or it is not installed; nothing has been started yet.
    """
    name = name or DEFAULT
    if name not in KNOWN:
        raise SystemExit(
            f"{VARIABLE} is {name!r}: known are {' and '.join(KNOWN)}; take it out of the environment for {DEFAULT}."
        )
    if find_spec(name) is None:
        raise SystemExit(
            f"{name} is not installed in this environment: set {VARIABLE} to the one that is, or build its environment"
            " (make test-ib-async builds the one of ib_async)."
        )
    return name


NAME: Final = chosen(os.environ.get(VARIABLE, ""))  # also the name of the library's logger

if TYPE_CHECKING or NAME == DEFAULT:
    from ib_insync import IB, ComboLeg, Contract, ContractDetails, LimitOrder, Option, Order, OrderState, Stock
    from ib_insync.client import Client
    from ib_insync.decoder import Decoder
    from ib_insync.objects import ExecutionFilter
    from ib_insync.util import UNSET_DOUBLE
else:
    from ib_async import IB, ComboLeg, Contract, ContractDetails, LimitOrder, Option, Order, OrderState, Stock
    from ib_async.client import Client
    from ib_async.decoder import Decoder as _Decoder
    from ib_async.objects import ExecutionFilter
    from ib_async.util import UNSET_DOUBLE

    class Decoder(_Decoder):
        """ib_async's decoder, but the zone of the trading hours stays the one that the gateway gave them."""

        def contractDetails(self, fields: list[str]) -> None:  # noqa: N802 - the library's name
            """Decode contract details without the zone of the last trade, which would overwrite that of the hours."""
            fields = list(fields)
            last_at = 4 if self.serverVersion >= 164 else 5
            if len(fields) > last_at:
                parting = "-" if "-" in fields[last_at] else " "
                fields[last_at] = parting.join(fields[last_at].split(parting)[:2])
            super().contractDetails(fields)


__all__ = (
    "IB", "UNSET_DOUBLE", "Client", "ComboLeg", "Contract", "ContractDetails", "Decoder", "ExecutionFilter",
    "LimitOrder", "Option", "Order", "OrderState", "Stock",
)  # fmt: skip
