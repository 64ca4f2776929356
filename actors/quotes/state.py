"""What the market-data session's actor knows, which timers it arms, and what stays the same for a whole run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from enum import StrEnum

import msgspec

from actors.gateway_link import LINK_TIMER
from domain.alarm import Severity
from domain.indices import INDICES
from domain.instruments import Contract, Quote, Right, Spot
from domain.limits import ConnectionRules, DayRules, EntryLimits
from domain.options.contract_choice import Chain
from domain.session.dialling import Link
from domain.session.phases import Phase
from domain.units import Ticks, Utc
from messages import market, operator
from supervision.turn import Turn


class Timer(StrEnum):
    """What the actor waits for; the subject is a ticker of the chain and demand timers, a request of the last three."""

    LINK = LINK_TIMER
    LOOK = "look"  # the next look at spreads and at lines that have fallen silent
    PREOPEN = "preopen"  # what is missing before the open
    LIST_CHAIN = "list_chain"  # a chain that could not be listed, or was not answered
    DEMAND_OVER = "demand_over"  # contracts that were quoted for a signal need no line any more
    OFFER = "offer"  # the time in which contracts that had no line can be quoted
    ASK_AGAIN = "ask_again"  # half of the time that a request has
    EXPIRE = "expire"  # all of it


class Demand(msgspec.Struct, frozen=True):
    """Contracts that are streamed for a signal on a ticker without a window, and since when."""

    contracts: tuple[Contract, ...]
    since_utc: Utc

    def is_quoted(self, quotes: Mapping[int, Quote], right: Right) -> bool:
        """Return whether each contract of this right has a quote by now."""
        return all(contract.con_id in quotes for contract in self.contracts if contract.right is right)


class QuotesState(msgspec.Struct, kw_only=True):
    """Everything the actor knows; mappings are replaced, never changed.

    `lines` are the contracts streamed now, the same object as the last `plan` of them unless some were refused or lost
    since; `centres` (ticker to strike) what the windows stand on, `calm` the doubled prices between which they stay
    there, `windows` the contracts around them, `middles` those whose spreads are read; `without` are tickers whose
    window has no
    room, which people know once it `is_said`; of the session `said_errors` are what they were told that the broker
    said, `never_quoted` the underlyings without any price of which they know. `watched` are published until somebody
    unwatches them; `requests` wait for a fresh tick, `offers` for quotes of a ticker `demands`; `close_con_ids` are
    those that the port was told to watch closely. `asked_utc` is when an underlying's line was asked for last; `halted`
    are (ticker, con_id), `untold` the underlyings of which others may know a halt from before a crash that nobody has
    spoken of since. `sampled_utc` is when quotes were last told for keeping, `sampled_quotes` and `sampled_spots` what
    they were then; `chain_read_utc` is the same instant of each ticker's chain.
    """

    link: Link = Link()
    session: date | None = None
    phase: Phase | None = None
    close_utc: Utc | None = None
    chains: Mapping[str, Chain] = {}
    hours: Mapping[str, market.HoursRead] = {}
    centres: Mapping[str, Ticks] = {}
    calm: Mapping[str, tuple[int, int]] = {}
    windows: Mapping[str, tuple[Contract, ...]] = {}
    middles: Mapping[str, tuple[Contract, ...]] = {}
    without: tuple[str, ...] = ()
    is_said: bool = False
    said_errors: frozenset[str] = frozenset()
    never_quoted: frozenset[str] = frozenset()
    lines: Mapping[int, Contract] = {}
    plan: Mapping[int, Contract] = {}
    quotes: Mapping[int, Quote] = {}
    spots: Mapping[str, Spot] = {}
    asked_utc: Mapping[str, Utc] = {}
    halted: frozenset[tuple[str, int]] = frozenset()
    untold: frozenset[str] = frozenset()
    looks: int = 0
    watched: tuple[Contract, ...] = ()
    requests: tuple[market.RequestQuote, ...] = ()
    demands: Mapping[str, Demand] = {}
    offers: tuple[market.RequestContracts, ...] = ()
    close_con_ids: tuple[int, ...] = ()
    sampled_utc: Utc = Utc(0)
    sampled_quotes: Mapping[int, Quote] = {}
    sampled_spots: Mapping[str, Spot] = {}
    chain_read_utc: Mapping[str, Utc] = {}

    @property
    def session_epoch(self) -> int:
        """The epoch of the present dial or link."""
        return self.link.session_epoch

    @property
    def quoted(self) -> Collection[str]:
        """All tickers of which a contract has a quote, and few that have none."""
        if self.quotes.keys() <= self.lines.keys():  # a line that was refused is gone before its quote
            return {contract.ticker for contract in self.lines.values()}
        return self.chains.keys()

    def contract(self, con_id: int) -> Contract | None:
        """Return a contract that is streamed, watched or listed; `None` for any other."""
        if con_id in self.lines:
            return self.lines[con_id]
        watched = next((contract for contract in self.watched if contract.con_id == con_id), None)
        if watched is not None:
            return watched
        return next((chain.by_con_id[con_id] for chain in self.chains.values() if con_id in chain.by_con_id), None)


class Wiring(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses and rules of one desk; `classes` are the trading classes of the lanes' tickers, in order.

    `silent_ms` is how long an underlying's line may be silent; `quotes_every_ms` and `chain_every_ms` are how often
    quotes and chains are told for keeping.
    """

    port: str
    rules: ConnectionRules
    limits: EntryLimits
    day: DayRules
    silent_ms: int
    quotes_every_ms: int
    chain_every_ms: int
    gateways: int
    classes: Mapping[str, str]
    underlyings: tuple[str, ...]

    def strikes_around(self, ticker: str) -> int:
        """Return how many strikes each side of the money are streamed."""
        return self.rules.strikes_around_index if ticker in INDICES else self.rules.strikes_around

    @property
    def option_lines(self) -> int:
        """How many lines are left for options."""
        return self.rules.lines_max - len(self.underlyings)


def alarm(turn: Turn[QuotesState], key: str, text: str, severity: Severity = Severity.WARNING) -> None:
    """Tell people of a fault of the market data."""
    turn.publish(operator.Alarm(key=key, severity=severity, text=text, at_utc=turn.now))
