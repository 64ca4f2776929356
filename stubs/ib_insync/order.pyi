# ruff: noqa: N803, N815 - the names are ib_insync's
from typing import Any

class Order:
    orderId: int
    clientId: int
    permId: int
    action: str
    totalQuantity: float
    filledQuantity: float
    orderType: str
    lmtPrice: float
    auxPrice: float
    tif: str
    goodTillDate: str
    account: str
    orderRef: str
    outsideRth: bool
    transmit: bool
    whatIf: bool
    def __init__(
        self,
        *,
        action: str = ...,
        totalQuantity: float = ...,
        orderType: str = ...,
        lmtPrice: float = ...,
        auxPrice: float = ...,
        tif: str = ...,
        goodTillDate: str = ...,
        account: str = ...,
        orderRef: str = ...,
        outsideRth: bool = ...,
        transmit: bool = ...,
    ) -> None: ...

class LimitOrder(Order):
    def __init__(
        self,
        action: str,
        totalQuantity: float,
        lmtPrice: float,
        *,
        orderRef: str = ...,
        tif: str = ...,
        account: str = ...,
        goodTillDate: str = ...,
    ) -> None: ...

class MarketOrder(Order):
    def __init__(self, action: str, totalQuantity: float, *, tif: str = ...) -> None: ...

class StopOrder(Order):
    def __init__(self, action: str, totalQuantity: float, stopPrice: float, **fields: Any) -> None: ...

class StopLimitOrder(Order):
    def __init__(
        self, action: str, totalQuantity: float, lmtPrice: float, stopPrice: float, *, tif: str = ...
    ) -> None: ...

class OrderState:
    status: str
    initMarginChange: str
    warningText: str
