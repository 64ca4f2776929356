"""What a desk's market side heard on a recorded day, tick by tick: its traces have it, the series only samples.

A backtest that is to do what was done then hears the same at the same instants. Rows of buckets come from the
warehouse, as a trace names them only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, assert_never

import msgspec

from domain.units import Utc
from messages import broker, market
from messages.envelope import Envelope, decode
from simulation.backtest.market import RecordedMarket
from simulation.backtest.ports import HubCommand, RecordedHub, as_market
from simulation.inprocess.market import QuotesCommand
from simulation.inprocess.port import LinkedPort
from supervision.stepped import SteppedRuntime
from supervision.trace import lines_of

OfQuotes = market.ChainListed | market.HaltHeard | market.LinesRefused | market.QuotesArrived
Heard = tuple[Utc, str, OfQuotes | market.BucketSealed]  # when it was taken, by whom, and what
_HEARD: Final = (
    market.BucketSealed, market.ChainListed, market.HaltHeard, market.LinesRefused, market.QuotesArrived,
)  # fmt: skip
_TAGS: Final = tuple(f'"type":"{heard.__struct_config__.tag}"'.encode() for heard in _HEARD)
_HEAD: Final = 400  # bytes of a line in which its message's type stands
_ENVELOPE: Final = msgspec.json.Decoder(Envelope)


def heard_in(traces: Iterable[Path]) -> Iterator[Heard]:
    """Return what was heard of markets, in its order; `traces` are those of a session, oldest first.

    A record that is torn or damaged is passed over.

    Raises:
        TraceError: a trace cannot be read, or was cut since it was sealed.
    """
    for path in traces:
        for line in lines_of(path):
            head = line[:_HEAD]
            if not any(tag in head for tag in _TAGS):
                continue
            try:
                envelope = _ENVELOPE.decode(line)
                message = decode(envelope.message)
            except msgspec.DecodeError:
                continue
            if isinstance(message, _HEARD):
                yield envelope.at_utc, envelope.to, message


class Hearing:
    """Tells what was heard to the ports that listen, at the same instants; one record is in memory at a time."""

    def __init__(self, runtime: SteppedRuntime, heard: Iterable[Heard]) -> None:
        self._runtime = runtime
        self._heard = iter(heard)
        self._ports: dict[str, Callable[[Any], None]] = {}
        self._await_next()

    def listen(self, owner: str, hear: Callable[[Any], None]) -> None:
        """Tell a port what its owner heard."""
        self._ports[owner] = hear

    def _await_next(self) -> None:
        found = next(self._heard, None)
        if found is not None:
            at_utc, to, message = found
            self._runtime.call_at(at_utc, partial(self._pass_on, to, message))

    def _pass_on(self, to: str, message: OfQuotes | market.BucketSealed) -> None:
        hear = self._ports.get(to)
        if hear is not None:
            hear(message)
        self._await_next()


class HeardQuotes(LinkedPort[QuotesCommand]):
    """The market data session of a recorded day: tells what was heard then, and nothing else.

    Chains are told when they are asked for, or once they were heard; of quotes and prices those are told that are
    subscribed to.
    """

    def __init__(self, owner: str, runtime: SteppedRuntime, recorded: RecordedMarket, hearing: Hearing) -> None:
        super().__init__(owner, runtime, as_market(recorded))
        self._chains: dict[str, market.ChainListed] = {}
        self._asked: set[str] = set()
        self._contracts: set[int] = set()
        self._tickers: set[str] = set()
        hearing.listen(owner, self._hear)

    def _take(self, command: QuotesCommand) -> None:
        match command:
            case broker.Dial():
                self._contracts.clear()
                self._tickers.clear()
                self._dial(command)
            case broker.CloseLink():
                self._is_up = False
            case market.ListChain():
                self._asked.add(command.ticker)
                self._tell_chain(command.ticker)
            case market.Subscribe():
                self._contracts.update(c.con_id for c in command.contracts)
                self._tickers.update(command.tickers)
            case market.Unsubscribe():
                self._contracts.difference_update(command.con_ids)
            case market.WatchClosely():
                pass  # how often it was told is on record
            case _:
                assert_never(command)

    def _hear(self, heard: OfQuotes) -> None:
        match heard:
            case market.ChainListed():
                self._chains[heard.ticker] = heard
                self._tell_chain(heard.ticker)
            case market.QuotesArrived():
                quotes = tuple(quote for quote in heard.quotes if quote.con_id in self._contracts)
                spots = tuple(spot for spot in heard.spots if spot.ticker in self._tickers)
                if quotes or spots:
                    self._tell_now(msgspec.structs.replace(heard, quotes=quotes, spots=spots))
            case market.HaltHeard() | market.LinesRefused():
                self._tell_now(heard)
            case _:
                assert_never(heard)

    def _tell_chain(self, ticker: str) -> None:
        chain = self._chains.get(ticker)
        if chain is not None and ticker in self._asked:
            self._asked.discard(ticker)
            self._tell_now(chain)

    def _tell_now(self, heard: OfQuotes) -> None:
        """Tell what was heard in a session of then as heard in the present one."""
        if self._is_up:
            self._market_now()
            self._tell(msgspec.structs.replace(heard, session_epoch=self._epoch))


class HeardHub(RecordedHub):
    """One hub of a recorded day: each bucket is sealed when it was sealed then, with the rows that it had then."""

    def listen(self, hearing: Hearing) -> HeardHub:
        """Seal what was sealed as it is heard."""
        hearing.listen(self._owner, self._hear)
        return self

    def _take(self, command: HubCommand) -> None:
        if not isinstance(command, market.SealBucket):
            super()._take(command)

    def _hear(self, sealed: market.BucketSealed) -> None:
        rows = self.stored.of(sealed.bucket_utc, sealed.absent)
        self._tell(msgspec.structs.replace(sealed, rows=rows, late=()))
