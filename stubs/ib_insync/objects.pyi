# ruff: noqa: N803, N815 - the names are ib_insync's
from datetime import datetime

class Execution:
    execId: str
    time: datetime
    acctNumber: str
    exchange: str
    side: str
    shares: float
    price: float
    permId: int
    clientId: int
    orderId: int
    liquidation: int
    cumQty: float
    avgPrice: float
    orderRef: str
    def __init__(
        self,
        *,
        execId: str = ...,
        time: datetime = ...,
        acctNumber: str = ...,
        side: str = ...,
        shares: float = ...,
        price: float = ...,
        permId: int = ...,
        orderRef: str = ...,
    ) -> None: ...

class CommissionReport:
    execId: str
    commission: float
    currency: str

class ExecutionFilter:
    def __init__(self) -> None: ...
