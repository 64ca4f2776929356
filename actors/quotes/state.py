"""What the market-data session's actor knows, which timers it arms, and what stays the same for a whole run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import StrEnum

import msgspec

from actors.gateway_link import LINK_TIMER
from domain.alarm import Severity
from domain.indices import INDICES
from domain.instruments import Contract, Quote, Spot
from domain.limits import ConnectionRules, EntryLimits
from domain.session.dialling import Link
from domain.units import Ticks, Utc
from messages import market, operator
from supervision.turn import Turn


class Timer(StrEnum):
    """What the actor waits for; the subject is a ticker of `LIST_CHAIN`, a request of the last two."""

    LINK = LINK_TIMER
    LIST_CHAIN = "list_chain"  # the pause after a chain that could not be listed
    ASK_AGAIN = "ask_again"  # half of the time that a request has
    EXPIRE = "expire"  # all of it


class QuotesState(msgspec.Struct, kw_only=True):
    """Everything the actor knows; mappings are replaced, never changed.

    `lines` are the contracts streamed now; `centres` (ticker to strike) what the windows stand on; `watched` are
    published until somebody unwatches them; `requests` wait for a fresh tick; `close_con_ids` are those that the port
    was told to watch closely.
    """

    link: Link = Link()
    session: date | None = None
    close_utc: Utc | None = None
    chains: Mapping[str, tuple[Contract, ...]] = {}
    centres: Mapping[str, Ticks] = {}
    lines: Mapping[int, Contract] = {}
    quotes: Mapping[int, Quote] = {}
    spots: Mapping[str, Spot] = {}
    watched: tuple[Contract, ...] = ()
    requests: tuple[market.RequestQuote, ...] = ()
    close_con_ids: tuple[int, ...] = ()

    @property
    def session_epoch(self) -> int:
        """The epoch of the present dial or link."""
        return self.link.session_epoch

    def contract(self, con_id: int) -> Contract | None:
        """Return a contract that is streamed, watched or listed; `None` for any other."""
        if con_id in self.lines:
            return self.lines[con_id]
        listed = (contract for chain in self.chains.values() for contract in chain)
        return next((c for group in (self.watched, listed) for c in group if c.con_id == con_id), None)


class Wiring(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses and rules of one desk; `classes` are the trading classes of the lanes' tickers, in order."""

    port: str
    rules: ConnectionRules
    limits: EntryLimits
    gateways: int
    classes: Mapping[str, str]
    underlyings: tuple[str, ...]

    def strikes_around(self, ticker: str) -> int:
        """Return how many strikes each side of the money are streamed."""
        return self.rules.strikes_around_index if ticker in INDICES else self.rules.strikes_around


def alarm(turn: Turn[QuotesState], key: str, text: str) -> None:
    """Tell people of a fault of the market data."""
    turn.publish(operator.Alarm(key=key, severity=Severity.WARNING, text=text, at_utc=turn.now))
