"""What clients send: the fields of a contract and of placeOrder, for server versions 157 to 178."""

from __future__ import annotations

import msgspec

from domain.instruments import OrderType, Side
from domain.units import Qty, Ticks, Utc
from simulation.broker.orders import Leg, OcaType, Order, TimeInForce
from simulation.gateway.wire.frames import WireError, float_of, instant_of, int_of, ticks_of

PLACE_ORDER = 3
STOP_LIMIT = "STP LMT"


class ContractQuery(msgspec.Struct, frozen=True):
    """A contract as a request describes it (contract12); 0 and empty mean any."""

    con_id: int
    symbol: str
    sec_type: str
    expiry: str
    strike_ticks: Ticks | None
    right: str
    multiplier: str
    exchange: str
    primary_exchange: str
    currency: str
    local_symbol: str
    trading_class: str


class PlaceRequest(msgspec.Struct, frozen=True):
    """A placeOrder: `order` lacks client and contract id where only the server knows them."""

    order_id: int
    contract: ContractQuery
    side: Side
    qty: Qty
    type: OrderType
    limit_ticks: Ticks | None
    stop_ticks: Ticks | None
    tif: TimeInForce
    account: str
    order_ref: str
    good_till_utc: Utc | None
    is_transmitted: bool
    is_what_if: bool
    is_stop_limit: bool = False
    parent_id: int = 0
    oca_group: str = ""
    oca_type: OcaType = OcaType.REDUCE
    legs: tuple[Leg, ...] = ()

    def order(self, client_id: int, con_id: int) -> Order:
        """Return the exchange's order."""
        return Order(
            con_id=con_id,
            side=self.side,
            qty=self.qty,
            type=self.type,
            client_id=client_id,
            order_id=self.order_id,
            limit_ticks=self.limit_ticks,
            stop_ticks=self.stop_ticks,
            tif=self.tif,
            account=self.account,
            order_ref=self.order_ref,
            good_till_utc=self.good_till_utc,
            parent_id=self.parent_id,
            oca_group=self.oca_group,
            oca_type=self.oca_type,
            is_stop_limit=self.is_stop_limit,
            legs=self.legs,
        )


class BadOrderError(WireError):
    """An order that is well framed but asks for what cannot be: `code` is the vendor's."""

    def __init__(self, order_id: int, code: int, text: str) -> None:
        super().__init__(text)
        self.order_id = order_id
        self.code = code
        self.text = text


class FieldReader:
    """Takes fields one after the other."""

    def __init__(self, fields: list[str], at: int = 1) -> None:
        self._fields = fields
        self._at = at

    def text(self) -> str:
        """Take a field as it is.

        Raises:
            WireError: there are no more fields.
        """
        if self._at >= len(self._fields):
            raise WireError(f"message {self._fields[0]} ends after {len(self._fields)} fields")
        self._at += 1
        return self._fields[self._at - 1]

    def number(self) -> int:
        """Take an integer; empty is 0."""
        return int_of(self.text())

    def flag(self) -> bool:
        """Take a boolean; empty is false."""
        return self.text() in ("1", "true", "True")

    def skip(self, n: int) -> None:
        """Leave fields out."""
        self._at += n

    def contract(self) -> ContractQuery:
        """Take a contract12."""
        con_id, symbol, sec_type = self.number(), self.text(), self.text()
        expiry = self.text()
        strike = float_of(self.text())
        rest = [self.text() for _ in range(7)]
        right = {"CALL": "C", "PUT": "P", "0": "", "?": ""}.get(rest[0], rest[0])
        strike_ticks = Ticks(round(strike * 100)) if strike else None
        return ContractQuery(con_id, symbol, sec_type, expiry, strike_ticks, right, *rest[1:])


def read_place_order(fields: list[str], version: int) -> PlaceRequest:
    """Return what a placeOrder asks for.

    Raises:
        BadOrderError: it asks for a type, an instrument or a price that this gateway refuses.
        WireError: fields are missing or are no numbers.
    """
    reader = FieldReader(fields)
    order_id = reader.number()
    contract = reader.contract()
    reader.skip(2)  # secIdType, secId
    side, qty_text, type_text = reader.text(), reader.text(), reader.text()
    limit_text, stop_text, tif_text = reader.text(), reader.text(), reader.text() or "DAY"
    oca_group, account = reader.text(), reader.text()
    reader.skip(2)  # openClose, origin
    order_ref, is_transmitted = reader.text(), reader.flag()
    parent_id = reader.number()
    reader.skip(6)  # block, sweep, displaySize, triggerMethod, outsideRth, hidden
    legs = _legs(reader, order_id) if contract.sec_type == "BAG" else ()
    reader.skip(3)  # shares allocation, discretionaryAmt, goodAfterTime
    good_till = reader.text()
    oca_type = _read_to_what_if(reader, version)
    is_what_if = reader.flag()
    is_stop_limit = type_text == STOP_LIMIT
    if legs and type_text not in ("LMT", "MKT"):
        raise BadOrderError(order_id, 201, f"Order rejected - reason:{type_text} of a combination is not simulated")
    try:
        return PlaceRequest(
            order_id,
            contract,
            Side(side),
            _qty(order_id, qty_text),
            OrderType.STOP if is_stop_limit else OrderType(type_text),
            _price(order_id, limit_text, is_combo=bool(legs)) if type_text in ("LMT", STOP_LIMIT) else None,
            _price(order_id, stop_text) if type_text in ("STP", STOP_LIMIT) else None,
            _tif(order_id, tif_text),
            account,
            order_ref,
            _good_till(order_id, tif_text, good_till),
            is_transmitted,
            is_what_if,
            is_stop_limit,
            parent_id,
            oca_group,
            OcaType(oca_type or OcaType.REDUCE),
            legs,
        )
    except BadOrderError:
        raise
    except ValueError:
        text = f"Order rejected - reason:{side} {type_text} is not simulated"
        raise BadOrderError(order_id, 201, text) from None


def _qty(order_id: int, text: str) -> Qty:
    try:
        return Qty(int_of(text))
    except WireError:
        raise BadOrderError(order_id, 201, "Order rejected - reason:fractional quantity") from None


def _legs(reader: FieldReader, order_id: int) -> tuple[Leg, ...]:
    """Take the legs of a combination and leave out its prices by leg and its routing parameters."""
    legs: list[Leg] = []
    for _ in range(reader.number()):
        con_id, ratio, action = reader.number(), reader.number(), reader.text()
        reader.skip(5)  # exchange, openClose, shortSaleSlot, designatedLocation, exemptCode
        if ratio < 1 or action not in (Side.BUY, Side.SELL):
            raise BadOrderError(order_id, 201, "Order rejected - reason:a leg needs BUY or SELL and a ratio above 0")
        legs.append(Leg(con_id, ratio, Side(action)))
    reader.skip(reader.number())  # prices by leg
    reader.skip(2 * reader.number())  # smart routing parameters
    if len({leg.con_id for leg in legs}) < max(2, len(legs)):
        raise BadOrderError(order_id, 201, "Order rejected - reason:a combination needs two legs or more, each once")
    return tuple(legs)


def _price(order_id: int, text: str, *, is_combo: bool = False) -> Ticks | None:
    """Read a price; only that of a combination may be zero."""
    try:
        return Ticks(0) if is_combo and float_of(text) == 0 else ticks_of(text)
    except WireError:
        reason = "The price does not conform to the minimum price variation for this contract."
        raise BadOrderError(order_id, 110, reason) from None


def _tif(order_id: int, text: str) -> TimeInForce:
    try:
        return TimeInForce(text)
    except ValueError:
        raise BadOrderError(order_id, 201, f"Order rejected - reason:{text} is not simulated") from None


def _good_till(order_id: int, tif: str, text: str) -> Utc | None:
    try:
        return instant_of(text) if tif == TimeInForce.GTD else None
    except WireError:
        raise BadOrderError(order_id, 391, "The time or time-zone entered is invalid.") from None


def _read_to_what_if(reader: FieldReader, version: int) -> int:
    """Walk from faGroup to whatIf over the groups that are there only on a condition (section 2c); return ocaType."""
    reader.skip(3 + (version < 177) + 1)  # faGroup, faMethod, faPercentage, [faProfile], modelCode
    reader.skip(3)  # shortSaleSlot, designatedLocation, exemptCode
    oca_type = reader.number()
    reader.skip(17)  # rule80A .. overridePercentageConstraints, volatility, volatilityType
    delta_neutral_type = reader.text()
    reader.skip(1)
    reader.skip(8 if delta_neutral_type else 0)
    reader.skip(6)  # continuousUpdate, refPriceType, trail price and percent, scale levels
    increment = float_of(reader.text())
    reader.skip(7 if increment and increment > 0 else 0)
    reader.skip(3)  # scaleTable, active start and stop
    if reader.text():  # hedgeType
        reader.skip(1)
    reader.skip(4)  # optOutSmart, clearing account and intent, notHeld
    reader.skip(3 if reader.flag() else 0)  # delta neutral contract
    if reader.text():  # algoStrategy
        reader.skip(2 * reader.number())
    reader.skip(1)  # algoId
    return oca_type
