"""Market data of one subscription: only what changed since the last push is written."""

from __future__ import annotations

import struct
from enum import IntEnum

from domain.instants import SECOND
from domain.instruments import Contract, Greeks, Quote, Right, Spot
from domain.units import Qty, Ticks, Utc
from simulation.gateway.contracts import Instrument, Underlying

_LENGTH = struct.Struct(">I")
# Tick types of bid, ask, last, their sizes, volume and the model computation; live, then delayed.
LIVE_TYPES = (1, 2, 4, 0, 3, 8, 13)
DELAYED_TYPES = (66, 67, 68, 69, 70, 74, 83)
OPEN_INTEREST = "101"  # the generic tick that asks for it
OPEN_INTEREST_TYPES = (27, 28)  # of calls, of puts
NO_BID = "-1"
STOCK_SIZE = Qty(100)
PRINT_EVERY_NS = SECOND  # an index is calculated, a large stock trades this often, also where the price stays the same


class TickKind(IntEnum):
    """IB's kinds of tick-by-tick data, by their number in the answer; what a request calls them is `KINDS`."""

    LAST = 1
    ALL_LAST = 2
    BID_ASK = 3
    MIDPOINT = 4


class TickStream:
    """One tick-by-tick request, and what it was told last."""

    def __init__(self, instrument: Instrument, kind: TickKind) -> None:
        self.instrument = instrument
        self.kind = kind
        self.told: tuple[object, ...] = ()


class Subscription:
    """What one reqMktData has been sent so far."""

    def __init__(
        self, request_id: int, instrument: Instrument, is_delayed: bool = False, first_print: Ticks | None = None,
        generic_ticks: str = "",
    ) -> None:  # fmt: skip
        self.request_id = request_id
        self.instrument = instrument
        self.con_id = instrument.con_id
        self.is_index = isinstance(instrument, Underlying) and instrument.sec_type == "IND"
        self.is_option = not isinstance(instrument, Underlying)
        self.types = DELAYED_TYPES if is_delayed else LIVE_TYPES
        self.wants_open_interest = OPEN_INTEREST in generic_ticks.split(",")
        self.is_dead = False  # sent nothing any more, although the client believes that it subscribes
        self._first_print = first_print  # of an underlying: a last that is not the market's
        self._quote: Quote | None = None
        self._spot_ticks: Ticks | None = None
        self._printed_utc = Utc(0)

    @property
    def is_new(self) -> bool:
        """Whether no quote was sent yet."""
        return self._quote is None

    def halt(self, is_halted: bool) -> bytes:
        """Return tickGeneric (45) that says whether trading is halted."""
        return _pack(f"45\x006\0{self.request_id}\x0049\0{int(is_halted)}\0")

    def forget(self) -> None:
        """Make the next push a full one."""
        self._quote = None
        self._spot_ticks = None

    def changes(self, quote: Quote | None, spot: Spot | None) -> list[bytes]:
        """Return the frames for what is new in the quote of an option, or in the price of an underlying."""
        if self.is_dead:
            return []
        if self.is_option:
            return self._quote_changes(quote) if quote is not None else []
        return self._spot_changes(spot) if spot is not None else []

    def _quote_changes(self, new: Quote) -> list[bytes]:
        old = self._quote
        if new is old:
            return []
        self._quote = new
        rid, types, out = self.request_id, self.types, []
        if new.bid_ticks is not None and (
            old is None or new.bid_ticks != old.bid_ticks or new.bid_size != old.bid_size
        ):
            out.append(_price(rid, types[0], new.bid_ticks, new.bid_size))
        if new.ask_ticks is not None and (
            old is None or new.ask_ticks != old.ask_ticks or new.ask_size != old.ask_size
        ):
            out.append(_price(rid, types[1], new.ask_ticks, new.ask_size))
        if new.volume is not None and (old is None or new.volume != old.volume):
            out.append(_pack(f"2\x006\0{rid}\0{types[5]}\0{new.volume}\0"))
        if self.wants_open_interest and new.open_interest is not None and old is None:
            out += self._open_interest(new.open_interest)
        if new.greeks is not None and (old is None or _is_new(old.greeks, new.greeks)):
            out.append(_computation(rid, types[6], new.greeks, new.mid_x2))
        return out

    def _open_interest(self, contracts: int) -> list[bytes]:
        """Return both ticks: that of the other right is 0, as IB has it."""
        is_call = isinstance(self.instrument, Contract) and self.instrument.right is Right.CALL
        told = (contracts, 0) if is_call else (0, contracts)
        rows = zip(OPEN_INTEREST_TYPES, told, strict=True)
        return [_pack(f"2\x006\0{self.request_id}\0{kind}\0{count}\0") for kind, count in rows]

    def _spot_changes(self, spot: Spot) -> list[bytes]:
        if self._first_print is not None:
            first, self._first_print = self._first_print, None
            return [_price(self.request_id, self.types[2], first, Qty(0))]
        price = spot.price_ticks
        is_due = spot.at_utc >= self._printed_utc + PRINT_EVERY_NS
        if price == self._spot_ticks and not is_due:
            return []
        self._spot_ticks, self._printed_utc = price, spot.at_utc
        rid, types = self.request_id, self.types
        if self.is_index:
            return [_price(rid, types[2], price, Qty(0))]
        return [
            _price(rid, types[0], price - 1, STOCK_SIZE),
            _price(rid, types[1], price + 1, STOCK_SIZE),
            _price(rid, types[2], price, STOCK_SIZE),
        ]


def _is_new(old: Greeks | None, new: Greeks) -> bool:
    return old is None or new.delta != old.delta or new.iv != old.iv or new.underlying_ticks != old.underlying_ticks


def _pack(text: str) -> bytes:
    payload = text.encode()
    return _LENGTH.pack(len(payload)) + payload


def _price(request_id: int, tick_type: int, ticks: Ticks, size: Qty) -> bytes:
    """Write tickPrice (1); a price of nothing is -1 with size 0, as IB says that there is no bid."""
    price = repr(ticks / 100) if ticks > 0 else NO_BID
    return _pack(f"1\x006\0{request_id}\0{tick_type}\0{price}\0{size if ticks > 0 else 0}\x000\0")


def _computation(request_id: int, tick_type: int, greeks: Greeks, mid_x2: int | None) -> bytes:
    """Write tickOptionComputation (21) of the model; -1 and -2 say that a figure is not computed."""
    price = mid_x2 / 200 if mid_x2 is not None else -1
    return _pack(
        f"21\0{request_id}\0{tick_type}\x000\0{greeks.iv:.6g}\0{greeks.delta:.6g}\0{price}\0-1\0"
        f"{greeks.gamma:.6g}\0{greeks.vega:.6g}\0{greeks.theta:.6g}\0{greeks.underlying_ticks / 100}\0"
    )
