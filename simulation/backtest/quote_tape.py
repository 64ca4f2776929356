"""A day of quotes as columns, and a driver that delivers only those that can change a decision.

A quote that no lane is interested in is never made a message. Wake-ups of all contracts come in the quotes' own order.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import accumulate, islice
from typing import Any, Final, assert_never, cast

import numpy as np
from numpy.typing import NDArray

from domain.instants import SECOND
from domain.instruments import Contract, Greeks, Quote, Spot
from domain.risk.kill import SPX, VIX
from domain.units import Qty, Ticks, Utc
from messages import broker, market
from simulation.backtest.quote_lane import SOURCE, Interest, LaneRules, QuoteSeen, interest_of
from simulation.inprocess.broker import InProcessBroker
from simulation.inprocess.market import QuotesCommand
from simulation.inprocess.port import LinkedPort
from simulation.market.market import Market
from supervision.stepped import SteppedRuntime

ACCOUNT_EVERY_NS: Final = 600 * SECOND
MEAN_SHARE: Final = 0.01  # of the newest mid in the slow mean
FIRST_WINDOW: Final = 128  # quotes that are looked at first; the window doubles

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]


class Tape:
    """One contract's day: instants, places among all quotes, USD and sizes; entries are where a lane might enter."""

    def __init__(
        self, contract: Contract, ts: Longs, place: Longs, bid: Floats, ask: Floats, sizes: tuple[Longs, Longs],
        rules: LaneRules,
    ) -> None:  # fmt: skip
        self.contract = contract
        self.ts, self.place, self.bid, self.ask, self.sizes = ts, place, bid, ask, sizes
        self.mean = slow_mean((bid + ask) * 0.5)
        hits = ((bid + ask) * 0.5 > rules.entry * self.mean) & (bid >= rules.bid_min_usd)
        self._entries = np.flatnonzero(hits)

    def next_of(self, wanted: Interest, at: int) -> int | None:
        """Return the first quote from a place on that can change what a lane wants; `None`: there is none."""
        first_later = max(at, int(self.ts.searchsorted(wanted.after_utc, "right")))
        if wanted.bid_at_least is None:
            n = int(self._entries.searchsorted(first_later))
            return int(self._entries[n]) if n < len(self._entries) else None
        end, size = min(first_later, len(self.ts)), FIRST_WINDOW
        while at < end:
            bid = self.bid[at : min(at + size, end)]
            hits = (bid >= wanted.bid_at_least) | (bid <= cast(float, wanted.bid_at_most))
            n = int(hits.argmax())
            if hits[n]:
                return at + n
            at, size = at + size, 2 * size
        return first_later if first_later < len(self.ts) else None


def slow_mean(mids: Floats) -> Floats:
    """Return the exponential mean after each mid, from the first one on; the recurrence itself, to the last bit."""
    all_mids: list[float] = mids.tolist()
    first = all_mids[0] if all_mids else 0.0
    after = accumulate(all_mids, lambda mean, mid: mean + MEAN_SHARE * (mid - mean), initial=first)
    return np.fromiter(islice(after, 1, None), np.float64, len(all_mids))


class TapeOfQuotes:
    """The market of a day of quotes; each contract stands at its own newest quote."""

    over_utc: Utc | None = None

    def __init__(self, tapes: list[Tape], open_utc: Utc, close_utc: Utc) -> None:
        self.open_utc, self.close_utc, self.now_utc = open_utc, close_utc, Utc(0)
        self.tapes = {tape.contract.con_id: tape for tape in tapes}
        self._at: dict[int, int] = {}
        self._shown: dict[int, Quote] = {}

    def stand(self, con_id: int, at: int) -> None:
        """Let a contract stand at one of its quotes."""
        self._at[con_id] = at
        self._shown.pop(con_id, None)

    def step(self, to_utc: Utc) -> None:
        """Move the clock; never back."""
        self.now_utc = max(self.now_utc, to_utc)

    def contract(self, con_id: int) -> Contract | None:
        """Return a contract by its id."""
        tape = self.tapes.get(con_id)
        return None if tape is None else tape.contract

    def quote(self, con_id: int) -> Quote | None:
        """Return the quote at which a contract stands; `None` before the first."""
        shown = self._shown.get(con_id)
        at = self._at.get(con_id) if shown is None else None
        if at is None:
            return shown
        tape = self.tapes[con_id]
        bid_sizes, ask_sizes = tape.sizes
        self._shown[con_id] = quote = Quote(
            con_id, ticks(tape.bid.item(at)), ticks(tape.ask.item(at)), Qty(int(bid_sizes.item(at))),
            Qty(int(ask_sizes.item(at))), Utc(tape.ts.item(at)),
        )  # fmt: skip
        return quote

    def spot(self, ticker: str) -> Spot:
        """Return a price that never moves: the rule looks at none."""
        return Spot(ticker, Ticks(600_000), self.now_utc)

    def settlement_ticks(self, ticker: str) -> Ticks:
        """Return the same."""
        return self.spot(ticker).price_ticks


def ticks(usd: float) -> Ticks:
    """Return a price in ticks."""
    return Ticks(round(usd * 100.0))


class TapeQuotes(LinkedPort[QuotesCommand]):
    """The market data session over a day of quotes: lists one contract a ticker, and tells what the driver shows."""

    def __init__(self, owner: str, runtime: SteppedRuntime, tape: TapeOfQuotes) -> None:
        super().__init__(owner, runtime, cast(Market, tape))
        self._tape = tape
        self._of_ticker = {t.contract.ticker: t.contract for t in tape.tapes.values()}

    def _take(self, command: QuotesCommand) -> None:
        match command:
            case broker.Dial():
                self._dial(command)
            case broker.CloseLink():
                self._is_up = False
            case market.ListChain():
                self._list_chain(command)
            case market.Subscribe():
                if command.tickers:
                    self.tell((), command.tickers)
            case market.Unsubscribe() | market.WatchClosely():
                pass
            case _:
                assert_never(command)

    def _list_chain(self, command: market.ListChain) -> None:
        self._tell(
            market.ChainListed(
                session_epoch=self._epoch, ticker=command.ticker, contracts=(self._of_ticker[command.ticker],),
                underlying_con_id=1, hours=((self._tape.open_utc, self._tape.close_utc),),
            )
        )  # fmt: skip

    def tell(self, quotes: tuple[Quote, ...], tickers: tuple[str, ...]) -> None:
        """Tell quotes, and prices of underlyings as of now."""
        self._market_now()
        spots = tuple(self._tape.spot(ticker) for ticker in tickers)
        self._tell(market.QuotesArrived(session_epoch=self._epoch, quotes=quotes, spots=spots))


class TapeBroker(InProcessBroker):
    """The order session over the exchange, which matches when an order comes: it steps for the account alone."""

    def _every(self, period_ns: int, act: Callable[[], None]) -> None:
        super()._every(ACCOUNT_EVERY_NS, self._beat)

    def _beat(self) -> None:
        self._market_now()
        self._report_account()
        self._report_clock()


class Driver:
    """Wakes lanes by their interest, in the quotes' order; `woken` counts how often."""

    def __init__(self, runtime: SteppedRuntime, tape: TapeOfQuotes, port: TapeQuotes, rules: LaneRules) -> None:
        self._runtime, self._tape, self._port, self._rules = runtime, tape, port, rules
        self._heap: list[tuple[int, int, int]] = []  # place among all quotes, contract, place among its own
        self.woken = 0

    def run(self) -> None:
        """Deliver what can change a decision, to the end of the tapes."""
        for con_id in self._tape.tapes:
            self._arm(con_id, 0)
        while self._heap:
            _, con_id, at = heapq.heappop(self._heap)
            self._wake(con_id, at)
            self._arm(con_id, at + 1)

    def _lane(self, con_id: int) -> str:
        return f"lane:{SOURCE}:{self._tape.tapes[con_id].contract.ticker}"

    def _arm(self, con_id: int, at: int) -> None:
        tape = self._tape.tapes[con_id]
        state: Any = self._runtime.cells[self._lane(con_id)].state
        found = tape.next_of(interest_of(self._rules, state), at)
        if found is not None:
            heapq.heappush(self._heap, (int(tape.place[found]), con_id, found))

    def _wake(self, con_id: int, at: int) -> None:
        tape, runtime = self._tape.tapes[con_id], self._runtime
        now = Utc(int(tape.ts[at]))
        runtime.run_until(now)
        self.woken += 1
        self._tape.stand(con_id, at)
        self._port.tell((self._shown(con_id),), (tape.contract.ticker, SPX, VIX))
        seen = QuoteSeen(
            bid_ticks=ticks(tape.bid.item(at)), ask_ticks=ticks(tape.ask.item(at)), mean_usd=tape.mean.item(at)
        )
        runtime.post(self._lane(con_id), seen, self._port.name)
        runtime.run_until(now)

    def _shown(self, con_id: int) -> Quote:
        """Return what the desk is shown: the side that the rule trades on, as both sides.

        The desk prices an entry at the mid and the rule at the ask; shown the ask alone, its mid is the ask. The
        exchange matches against the quote itself.
        """
        quote = self._tape.quote(con_id)
        assert quote is not None  # it stands at one
        state: Any = self._runtime.cells[self._lane(con_id)].state
        side = quote.bid_ticks if state.entry_usd else quote.ask_ticks
        greeks = Greeks(0.2, 0.5, 0.0, 0.0, 0.0, Ticks(600_000), quote.at_utc)
        return Quote(con_id, side, side, quote.bid_size, quote.ask_size, quote.at_utc, greeks=greeks)
