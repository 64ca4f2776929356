# Types of the part of ib_insync 0.9.86 that is used here: the wire in `gateways/ib`, whole clients in benchmarks and
# tests.
from typing import Any

from ib_insync.contract import ComboLeg as ComboLeg
from ib_insync.contract import Contract as Contract
from ib_insync.contract import ContractDetails as ContractDetails
from ib_insync.contract import Index as Index
from ib_insync.contract import Option as Option
from ib_insync.contract import Stock as Stock
from ib_insync.contract import TagValue as TagValue
from ib_insync.order import LimitOrder as LimitOrder
from ib_insync.order import MarketOrder as MarketOrder
from ib_insync.order import Order as Order
from ib_insync.order import OrderState as OrderState
from ib_insync.order import StopLimitOrder as StopLimitOrder
from ib_insync.order import StopOrder as StopOrder

class IB:
    """The whole client, which benchmarks talk to as a stranger would: untyped, as that library is."""

    def __getattr__(self, name: str) -> Any: ...
