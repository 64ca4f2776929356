# ruff: noqa: N803, N815 - the names are ib_insync's
class Contract:
    secType: str
    conId: int
    symbol: str
    lastTradeDateOrContractMonth: str
    strike: float
    right: str
    multiplier: str
    exchange: str
    currency: str
    tradingClass: str
    def __init__(
        self,
        *,
        secType: str = ...,
        conId: int = ...,
        symbol: str = ...,
        lastTradeDateOrContractMonth: str = ...,
        strike: float = ...,
        right: str = ...,
        multiplier: str = ...,
        exchange: str = ...,
        currency: str = ...,
        tradingClass: str = ...,
    ) -> None: ...

class ContractDetails:
    contract: Contract | None
    underConId: int
    timeZoneId: str
    liquidHours: str
    realExpirationDate: str
