# ruff: noqa: N803, N815 - the names are ib_insync's
from typing import NamedTuple

class ComboLeg:
    def __init__(self, *, conId: int = ..., ratio: int = ..., action: str = ..., exchange: str = ...) -> None: ...

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
        comboLegs: list[ComboLeg] = ...,
    ) -> None: ...

class Stock(Contract):
    def __init__(self, symbol: str = ..., exchange: str = ..., currency: str = ..., *, conId: int = ...) -> None: ...

class Index(Contract):
    def __init__(self, symbol: str = ..., exchange: str = ..., currency: str = ...) -> None: ...

class Option(Contract):
    def __init__(
        self,
        symbol: str = ...,
        lastTradeDateOrContractMonth: str = ...,
        strike: float = ...,
        right: str = ...,
        exchange: str = ...,
        multiplier: str = ...,
        currency: str = ...,
        *,
        tradingClass: str = ...,
    ) -> None: ...

class TagValue(NamedTuple):
    tag: str
    value: str

class ContractDetails:
    contract: Contract | None
    underConId: int
    timeZoneId: str
    liquidHours: str
    realExpirationDate: str
