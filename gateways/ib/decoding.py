# ruff: noqa: N802, N803 - the names of messages are the library's
"""From the fields of a message to the call of a session: value or unknown for each field, and no message lost unseen.

The library's own decoder drops a message in which any field offends it. Here a side field that cannot be read is
unknown (`None`, NaN in the library's objects), and a message whose main facts cannot be read is handed on as
unreadable.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from gateways.ib.library import WIRE_VERSION_MAX, Client, Decoder, Order, OrderState
from gateways.ib.library import Contract as IbContract
from gateways.ib.wire import flag_of, number_of, whole_of

# Messages that somebody here listens to, by IB's number; the others are not for us.
MESSAGES: Final = {
    1: "price", 2: "size", 3: "order status", 4: "error", 5: "open order", 6: "account value", 9: "next order id",
    10: "contract details", 11: "execution", 21: "greeks", 45: "generic tick", 49: "time", 52: "end of contracts",
    53: "end of open orders", 54: "end of account values", 55: "end of executions", 58: "market data type",
    59: "commission", 61: "position", 62: "end of positions", 101: "completed order", 102: "end of completed orders",
}  # fmt: skip
OPEN_ORDER, COMPLETED_ORDER, EXECUTION, POSITION, CONTRACT_DETAILS = 5, 101, 11, 61, 10
ORDER_PATH: Final = frozenset({3, 4, OPEN_ORDER, EXECUTION, 53, 55, POSITION, 62, COMPLETED_ORDER, 102})
_CONTRACT11: Final = (
    "conId", "symbol", "secType", "lastTradeDateOrContractMonth", "strike", "right", "multiplier", "exchange",
    "currency", "localSymbol", "tradingClass",
)  # fmt: skip
_EXECUTION_FIELDS: Final = 31
_EXECUTION_FIELDS_MIN: Final = 21


class UnreadableError(ValueError):
    """A message whose main facts cannot be read; the text says which."""


class WireFill(NamedTuple):
    """An execution as it came; numbers that cannot be read are `None`, `time_text` is the vendor's."""

    exec_id: str
    account: str
    exchange: str
    side: str
    shares: float | None
    price: float | None
    perm_id: int
    client_id: int | None
    order_id: int | None
    liquidation: int | None
    cum_qty: float | None
    average_price: float | None
    order_ref: str
    time_text: str


class WireDecoder(Decoder):
    """Decodes what a session listens to and calls it by the library's names."""

    def __init__(self, session: Any) -> None:
        super().__init__(session, 0)
        self._session = session
        self.handlers[59] = self.commissionReport
        self.handlers[101] = self.completedOrder

    def interpret(self, fields: list[str]) -> None:
        """Decode a message and call the session; what cannot be read is told, never dropped in silence."""
        number = whole_of(fields[0]) if fields else None
        if number is None:
            self._session.unreadable(0, "a message without a number")
            return
        if number not in MESSAGES:
            return
        try:
            self.handlers[number](fields)
        except Exception as error:  # whatever a message makes of us, the next ones are heard
            self._session.unreadable(number, f"{type(error).__name__}: {error}")

    def wrap(self, methodName: str, types: list[type], skip: int = 2) -> Callable[[list[str]], None]:
        """Return the handler of a message whose fields are told in their order; numbers may be unknown (`None`)."""
        converts = [_CONVERT[kind] for kind in types]

        def handler(fields: list[str]) -> None:
            method = getattr(self.wrapper, methodName, None)
            if method is not None:
                method(*[convert(field) for convert, field in zip(converts, fields[skip:], strict=False)])

        return handler

    def parse(self, obj: Any) -> None:
        """Give an object's fields their types: an unreadable number becomes NaN, an unreadable integer its default."""
        for field in dataclasses.fields(obj):
            kind: type = type(field.default)
            text = getattr(obj, field.name)
            if kind is str or not isinstance(text, str):
                continue
            if not text:
                value: Any = field.default
            elif kind is float:
                number = number_of(text)
                value = math.nan if number is None else number
            elif kind is bool:
                value = flag_of(text)
            elif kind is int:
                whole = whole_of(text)
                value = field.default if whole is None else whole
            else:
                continue
            setattr(obj, field.name, value)

    # -- messages with more to them than a row of fields ---------------------------------------

    def priceSizeTick(self, fields: list[str]) -> None:
        """A price with its size: each of them may be unknown."""
        self._session.priceSizeTick(needed(fields, 2), needed(fields, 3), number_of(fields[4]), number_of(fields[5]))

    def tickOptionComputation(self, fields: list[str]) -> None:
        """Greeks."""
        request_id, kind = needed(fields, 1), needed(fields, 2)
        self._session.tickOptionComputation(request_id, kind, 0, *[number_of(text) for text in fields[4:12]])

    def errorMsg(self, fields: list[str]) -> None:
        """A code and its text; without a readable request id it concerns the connection."""
        request_id = whole_of(fields[2])
        text = fields[4] if len(fields) > 4 else ""
        self._session.error(-1 if request_id is None else request_id, needed(fields, 3), text)

    def execDetails(self, fields: list[str]) -> None:
        """An execution: every field that is not its id, side or quantity may be unreadable."""
        if len(fields) < _EXECUTION_FIELDS_MIN:
            raise UnreadableError(f"an execution of {len(fields)} fields")
        rest = (*fields[14:], *("",) * (_EXECUTION_FIELDS - len(fields)))
        (exec_id, time_text, account, exchange, side, shares, price, perm_id, client_id, liquidation, cum, average, ref,
         *_) = rest  # fmt: skip
        fill = WireFill(
            exec_id, account, exchange, side, number_of(shares), number_of(price), whole_of(perm_id) or 0,
            whole_of(client_id), whole_of(fields[2]), whole_of(liquidation), number_of(cum), number_of(average), ref,
            time_text,
        )  # fmt: skip
        request_id = whole_of(fields[1])
        self._session.execDetails(-1 if request_id is None else request_id, self._contract(fields[3:14]), fill)

    def commissionReport(self, fields: list[str]) -> None:
        """The fee of an execution; unknown while the gateway has none yet."""
        _, _, exec_id, commission, currency, *_ = fields
        self._session.commissionReport(exec_id, number_of(commission), currency)

    def position(self, fields: list[str]) -> None:
        """A position; average cost and quantity may be unknown."""
        average = number_of(fields[15]) if len(fields) > 15 else None
        self._session.position(fields[2], self._contract(fields[3:14]), number_of(fields[14]), average)

    def openOrder(self, fields: list[str]) -> None:
        """An open order; where the tail cannot be read, what stands before it is enough to know of the order."""
        try:
            super().openOrder(list(fields))
        except UnreadableError:
            raise
        except (ValueError, TypeError, IndexError, KeyError):
            self._session.openOrder(*self._head_of_open_order(fields))

    def contractDetails(self, fields: list[str]) -> None:
        """Contract details; a name or a count of identifiers that cannot be read costs nothing."""
        fields = list(fields)
        name_at, count_at = (19, 30) if self.serverVersion >= 164 else (21, 32)
        if len(fields) > count_at:
            fields[name_at] = fields[name_at].replace("\\", "/")  # the library takes it for escaped text
            fields[count_at] = fields[count_at] if whole_of(fields[count_at]) else "0"
        super().contractDetails(fields)

    def _head_of_open_order(self, fields: list[str]) -> tuple[int, IbContract, Order, OrderState | None]:
        order = Order()
        (order.action, quantity, order.orderType, limit, stop, order.tif, _, order.account, _, _, order.orderRef,
         client_id, perm_id) = fields[13:26]  # fmt: skip
        order.totalQuantity, order.lmtPrice, order.auxPrice = (
            math.nan if (value := number_of(text)) is None else value for text in (quantity, limit, stop)
        )
        order.clientId, order.permId = whole_of(client_id) or 0, whole_of(perm_id) or 0
        return needed(fields, 1), self._contract(fields[2:13]), order, None

    def _contract(self, fields: list[str]) -> IbContract:
        contract = IbContract()
        for name, text in zip(_CONTRACT11, fields, strict=True):
            setattr(contract, name, text)
        self.parse(contract)
        return contract


class WireClient(Client):
    """The library's connection with our decoder; bytes that break its own reading are told too."""

    MaxClientVersion = WIRE_VERSION_MAX

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self.decoder = WireDecoder(session)
        self._session = session

    def _onSocketHasData(self, data: bytes) -> None:
        while True:
            try:
                super()._onSocketHasData(data)
            except Exception as error:  # the broken message is out of the buffer; the rest is read
                self._session.unreadable(0, f"{type(error).__name__}: {error}")
                data = b""
            else:
                return


def needed(fields: list[str], at: int) -> int:
    """Return a whole number without which a message means nothing.

    Raises:
        UnreadableError: there is none.
    """
    value = whole_of(fields[at]) if len(fields) > at else None
    if value is None:
        raise UnreadableError(f"no number in field {at}")
    return value


def _text(field: str) -> str:
    return field


_CONVERT: Final[dict[type, Callable[[str], Any]]] = {str: _text, int: whole_of, float: number_of, bool: flag_of}
