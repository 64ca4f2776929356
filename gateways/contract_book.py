"""Which of our contracts a broker's symbol names, where the broker has no contract ids of its own.

The OCC symbol (the class padded to six places, the expiry, the right, the strike in thousandths of a USD) says all that
identifies an option. The ids are the quote session's: whoever hears of contracts notes them here, from any thread.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable
from datetime import date
from typing import Final

from domain.instruments import Contract, Right
from domain.units import Ticks
from messages import market
from messages.base import Message

ID_FLOOR: Final = 2**31  # the ids of quote sessions lie below
_OCC: Final = re.compile(r"(?P<root>[A-Z0-9./]{1,6}) *(?P<day>\d{6})(?P<right>[CP])(?P<strike>\d{8})")
_CLASSES: Final = {"SPXW": "SPX", "NDXP": "NDX", "RUTW": "RUT", "VIXW": "VIX"}


def occ_of(contract: Contract) -> str:
    """Return the OCC symbol of an option, as `SPXW  261120C06000000`."""
    strike = contract.strike_ticks * 10
    return f"{contract.trading_class:<6}{contract.expiry:%y%m%d}{contract.right.value}{strike:08d}"


def stranger_of(symbol: str, underlying: str = "") -> Contract:
    """Return the contract of a symbol that no quote session has named, under an id made from the symbol.

    What is no option stands as one that never expires, which no rule of ours can match.
    """
    con_id = ID_FLOOR + int.from_bytes(hashlib.blake2b(symbol.encode(), digest_size=4).digest(), "big")
    parsed = _OCC.fullmatch(symbol.strip())
    if parsed is None or int(parsed["strike"]) % 10:
        return Contract(con_id, underlying or symbol.strip(), "STK", date.max, Ticks(0), Right.CALL, 1)
    root, day = parsed["root"], parsed["day"]
    try:
        expiry = date(2000 + int(day[:2]), int(day[2:4]), int(day[4:]))
    except ValueError:
        expiry = date.max
    ticker = underlying or _CLASSES.get(root, root)
    return Contract(con_id, ticker, root, expiry, Ticks(int(parsed["strike"]) // 10), Right(parsed["right"]))


class ContractBook:
    """Contracts by their symbols; any thread may note and ask."""

    def __init__(self, contracts: Iterable[Contract] = ()) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Contract] = {}
        self.note(contracts)

    def all(self) -> tuple[Contract, ...]:
        """Return the contracts that are known."""
        with self._lock:
            return tuple(self._known.values())

    def note(self, contracts: Iterable[Contract]) -> None:
        """Keep contracts; the newest of a symbol stands."""
        found = {occ_of(contract): contract for contract in contracts if contract.con_id < ID_FLOOR}
        with self._lock:
            self._known |= found

    def hear(self, message: Message) -> None:
        """Keep the contracts of a chain that a quote session tells of; every other message says nothing here."""
        if isinstance(message, market.ChainListed):
            self.note(message.contracts)

    def of(self, symbol: str, underlying: str = "") -> Contract:
        """Return the contract of an OCC symbol; one that nobody noted has an id made from its symbol."""
        with self._lock:
            known = self._known.get(symbol)
        return stranger_of(symbol, underlying) if known is None else known
