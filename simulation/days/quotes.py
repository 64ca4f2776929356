"""The quote session's port of a faulty day: what somebody looks at is told, at the seconds at which it is looked at.

Quotes come when they are asked for, when the window around the money moves, when they leave what a held position would
wake on, and before each clock of staleness.

It acts at the very seconds at which the plain stepped port does, and leaves out those at which nobody would look.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from actors.position.state import Timer
from actors.quotes.lines import AROUND
from actors.quotes.state import Timer as QuotesTimer
from domain.indices import INDICES
from domain.instants import SECOND
from domain.instruments import Contract, DataType, Quote, Spot
from domain.options import contract_choice
from domain.position.exits import Wakes
from domain.risk.kill import SPX, VIX
from domain.units import Qty, Ticks, Utc
from messages import broker, market
from messages.base import Message
from simulation.days.faults import Fault
from simulation.days.plan import PlannedFault
from simulation.days.runtime import QUOTES_NEXT, DayRuntime, every
from simulation.days.scene import Scene
from simulation.days.spreads import AFTER_NS, BEFORE_NS, LOOKED_AT
from simulation.days.tape import TapeMarket, first_true
from simulation.inprocess.market import WIDE_EVERY, InProcessQuotes, QuotesCommand
from simulation.inprocess.port import STEPS_AFTER_CLOSE_NS
from simulation.market.tickers import ticker_of

IDLE_S: Final = 20  # seconds between two words of the underlyings while nothing is held
HELD_S: Final = 5  # seconds between two words of what is held
BEFORE_SIGNAL_S: Final = 2 * WIDE_EVERY + 1
AFTER_SIGNAL_S: Final = 8
TENSE_SHARE: Final = 0.7  # of the automatic kill level's move: from there on every second is told
TENSE_BEFORE_S: Final = 300
NEAR_S: Final = 45  # seconds between two words of the contracts whose spreads are read
NEAR_TICKERS: Final = 2  # of which they are told at any time; what is held is always among them
CHAIN_FAILED_NS: Final = 1_200 * SECOND  # from the start on, where a chain is not listed at first
# A window of fewer strikes each side is always centred on the nearest one, so where it was does not matter: it need not
# be followed between the seconds at which somebody looks.
NARROW: Final = 6
LEAVES_SOON_S: Final = 600  # looked at first: bounds often change before the rest of the day counts
_NEVER: Final = 1 << 40
_LOOK: Final = QuotesTimer.LOOK.value, ""
_SLOW: Final = Timer.SLOW.value, ""

Bools = NDArray[np.bool_]


class DayQuotes(InProcessQuotes):
    """The in-process quotes, event-driven, and with what goes wrong with market data."""

    def __init__(self, owner: str, runtime: DayRuntime, scene: Scene, around: Callable[[str], int]) -> None:
        self._day_runtime = runtime
        self._scene = scene
        self._around = around
        self._started_utc = runtime.clock.now_utc()
        self._is_cut = False
        self._new: set[int] = set()
        self._signals_utc = [signal.at_utc for signal in scene.plan.signals]  # in time
        self._faults_n = 0
        self._of_data: list[tuple[Utc, Utc]] = []
        self._begin_session()
        super().__init__(owner, runtime, scene.market)

    def _begin_session(self) -> None:
        """Know nothing yet of the scene's market."""
        scene = self._scene
        self._tape = scene.market
        self._grid_utc = scene.market.path.start_utc
        self._started_s = (self._started_utc - self._grid_utc) // SECOND
        self._end_s = scene.market.path.end_s
        self._planned_utc: Utc | None = None
        self._last_told_utc = Utc(0)
        self._is_look_only = False
        self._dense = dense_seconds(scene) if not scene.is_dense else np.zeros(0, np.bool_)
        self._dense_s = self._moves_s = -1
        self._near_s = -NEAR_S
        self._centres: dict[str, Ticks] = {}
        self._windows: dict[str, tuple[int, int]] = {}
        self._chains: dict[str, contract_choice.Chain] = {}
        self._near_of: dict[str, tuple[Ticks, frozenset[int]]] = {}
        self._moves: dict[str, tuple[tuple[int, int], int]] = {}
        self._interests: dict[int, tuple[Wakes, int]] = {}
        self._looked_at_of: tuple[Utc, frozenset[str]] = Utc(-1), frozenset()

    def turn(self) -> None:
        """Begin another session."""
        self._market = self._scene.market
        self._contracts.clear()
        self._last.clear()
        self._begin_session()
        self._plan_step()

    # -- when it acts -----------------------------------------------------------------------------

    def _every(self, period_ns: int, act: Callable[[], None]) -> None:
        if self._scene.is_dense:
            every(self._day_runtime, period_ns, QUOTES_NEXT, act, self._tape)
        else:
            self._plan_step()

    def _plan_step(self) -> None:
        if self._scene.is_dense:
            return
        now = self._now()
        after_s = (now - self._started_utc) // SECOND + 1
        first_utc = self._started_utc + after_s * SECOND
        at_utc = max(first_utc, self._next_utc(first_utc))
        if self._planned_utc == at_utc:
            return
        if at_utc > self._market.close_utc + STEPS_AFTER_CLOSE_NS:
            return
        self._planned_utc = at_utc
        self._day_runtime.call_first_at(at_utc, QUOTES_NEXT, lambda: self._due(at_utc))

    def _due(self, at_utc: Utc) -> None:
        if self._planned_utc != at_utc:
            return
        self._planned_utc = None
        if not self._is_look_only:
            self._steps = (at_utc - self._started_utc) // SECOND - 1
            self._step()
            self._last_told_utc = at_utc
        self._plan_step()

    def _next_utc(self, first_utc: Utc) -> Utc:
        """Return the next instant at which somebody would look, or at which it is known when somebody will."""
        start_utc = self._grid_utc
        second = min(max((first_utc - start_utc) // SECOND, 0), self._end_s)
        last_s = (max(self._last_told_utc, self._started_utc) - start_utc) // SECOND
        # What was found before holds while it lies ahead; asked for at every step, a call each would cost as much.
        dense_s = self._dense_s if self._dense_s >= second else self._next_dense(second)
        moves_s = self._moves_s if self._moves_s >= second else self._next_move(second)
        at = max(second, min(self._wide_before(last_s + IDLE_S), dense_s, moves_s))
        look = at + 1
        looks_utc = self._looks_utc()
        if looks_utc is not None:
            looks_s = (looks_utc - start_utc) // SECOND
            wide_s = self._wide_before(looks_s)
            if self._close and looks_s > last_s:
                wide_s = looks_s  # the plain port tells the underlyings each second then
            if wide_s > last_s:
                at = min(at, wide_s)
            else:
                look = min(look, looks_s + 1)
        for con_id in self._close:
            if con_id in self._contracts:
                told, looked_at = self._next_of_interest(con_id, second, last_s)
                at, look = min(at, told), min(look, looked_at)
        at = max(at, second)
        self._is_look_only = look < at
        return Utc(start_utc + max(second, min(at, look)) * SECOND)

    def _next_dense(self, second: int) -> int:
        """Return the next second at which all is told as the plain port tells it."""
        if self._dense_s < second:
            found = first_true(self._dense[second:], second)
            self._dense_s = _NEVER if found is None else found
        return self._dense_s

    def _wide_before(self, second: int) -> int:
        """Return the last second up to this one at which the plain port tells everything."""
        return second - (second - self._started_s) % WIDE_EVERY

    def _looks_utc(self) -> Utc | None:
        """Return when the quotes' actor looks at spreads and at silent lines next."""
        cell = self._scene.cell(self._owner)
        timer = None if cell is None else cell.timers.get(_LOOK)
        return None if timer is None else timer.at_utc

    def _next_move(self, second: int) -> int:
        """Return the next second at which the window of a ticker moves."""
        if self._moves_s < second:
            self._moves_s = min((self._move_of(ticker, second) for ticker in self._tickers), default=_NEVER)
        return self._moves_s

    def _move_of(self, ticker: str, second: int) -> int:
        window = self._windows.get(ticker)
        if window is None or self._around(ticker) < NARROW:
            return _NEVER
        known = self._moves.get(ticker)
        if known is None or known[0] is not window or known[1] < second:
            doubled = 2 * self._tape.spot_column(ticker)[second:]
            at = first_true((doubled <= window[0]) | (doubled > window[1]), second)
            known = self._moves[ticker] = window, _NEVER if at is None else at
        return known[1]

    def _next_of_interest(self, con_id: int, second: int, last_s: int) -> tuple[int, int]:
        """Return the next second at which a contract watched closely must be told, and when to look again.

        A slow check sees the quote of its second, and what left the bounds is told until it is back.
        """
        wakes, slow_utc = self._wakes_of(con_id)
        if wakes is None:
            return second, _NEVER  # an order is under way, or somebody waits for a fresh quote
        known = self._interests.get(con_id)
        if known is None or known[0] != wakes or known[1] < last_s:
            known = self._interests[con_id] = wakes, self._leaving(con_id, wakes, last_s)
        told, look = last_s + HELD_S, _NEVER
        if known[1] == last_s:
            told = second
            self._interests.pop(con_id)
        else:
            told = min(told, known[1])
        if slow_utc is not None:
            before = (slow_utc - self._grid_utc) // SECOND
            if before > last_s:
                told = min(told, before)
            else:
                look = before + 1
        if wakes.at_utc is not None:
            told = min(told, max(second, (wakes.at_utc - self._grid_utc) // SECOND))
        return told, look

    def _leaving(self, con_id: int, wakes: Wakes, second: int) -> int:
        """Return the first second from this one on at which a quote or the underlying leaves the bounds."""
        near = self._leaving_within(con_id, wakes, second, second + LEAVES_SOON_S)
        return self._leaving_within(con_id, wakes, second + LEAVES_SOON_S, None) if near == _NEVER else near

    def _leaving_within(self, con_id: int, wakes: Wakes, second: int, end_s: int | None) -> int:
        tape = self._tape
        column = tape.column(con_id)
        bid, ask = column.bid[second:end_s], column.ask[second:end_s]
        mid = (bid + ask) / 2
        hits = bid == 0
        if wakes.mid_at_most is not None:
            hits |= mid <= wakes.mid_at_most
        if wakes.mid_at_least is not None:
            hits |= mid >= wakes.mid_at_least
        if wakes.bid_at_most is not None:
            hits |= bid <= wakes.bid_at_most
        contract = self._market.contract(con_id)
        if contract is not None:
            spots = tape.spot_column(contract.ticker)[second : second + len(bid)]
            if wakes.spot_at_most is not None:
                hits |= spots <= wakes.spot_at_most
            if wakes.spot_at_least is not None:
                hits |= spots >= wakes.spot_at_least
        at = first_true(hits, second)
        return _NEVER if at is None else at

    def _wakes_of(self, con_id: int) -> tuple[Wakes | None, Utc | None]:
        """Return what a position would wake on, and its next slow check."""
        cell = self._scene.cell(f"position:{self._owner.partition(':')[2]}:{con_id}")
        if cell is None or not cell.is_up or cell.actor is None:
            return None, None
        actor: Any = cell.actor
        wakes: Wakes | None = actor.wakes_on(cell.state)
        slow = cell.timers.get(_SLOW)
        return wakes, None if slow is None else slow.at_utc

    # -- what it tells ----------------------------------------------------------------------------

    def _tell_quotes(self, con_ids: set[int]) -> None:
        """Tell what has changed; of contracts that nobody holds only those that a signal near by may look at."""
        if self._now() < self._grid_utc:
            return  # the session's prices have not begun
        if not self._scene.is_dense and len(con_ids) > len(self._close):
            looked_at = self._looked_at()
            told = (self._close | self._new | self._near()) & con_ids
            con_ids = told | {c for c in con_ids if self._ticker_of(c) in looked_at} if looked_at else told
        super()._tell_quotes(con_ids)

    def _near(self) -> set[int]:
        """Return the contracts whose spreads are read, as often as a reading needs them."""
        second = self._tape.second_of(self._now())
        if second - self._near_s < NEAR_S:
            return set()
        self._near_s = second
        held = {self._ticker_of(con_id) for con_id in self._close}
        found: set[int] = set()
        told = 0
        for ticker in self._tape.tickers:
            near = self._near_in(ticker)
            is_streamed = bool(near) and near <= self._contracts
            if ticker in held or (is_streamed and told < NEAR_TICKERS):
                told += is_streamed
                found |= near
        return found

    def _near_in(self, ticker: str) -> frozenset[int]:
        """Return the contracts of a ticker whose spreads are read; none before its first price."""
        centre = self._centres.get(ticker)
        if centre is None:
            return frozenset()
        known = self._near_of.get(ticker)
        if known is None or known[0] != centre:
            near = contract_choice.near(self._chain_of(ticker), centre, AROUND)
            known = self._near_of[ticker] = centre, frozenset(contract.con_id for contract in near)
        return known[1]

    def _looked_at(self) -> frozenset[str]:
        """Return the tickers that a signal is near of."""
        now = self._now()
        if self._looked_at_of[0] != now:
            first = bisect_left(self._signals_utc, now - AFTER_SIGNAL_S * SECOND)
            end = bisect_right(self._signals_utc, now + BEFORE_SIGNAL_S * SECOND)
            looked_at = frozenset([signal.ticker for signal in self._scene.plan.signals[first:end]])
            spreads = self._scene.plan.spreads
            if spreads is not None and spreads.is_near(now):
                looked_at |= LOOKED_AT
            self._looked_at_of = now, looked_at
        return self._looked_at_of[1]

    def _ticker_of(self, con_id: int) -> str:
        return ticker_of(con_id) or ""

    def _take(self, command: QuotesCommand) -> None:
        now = self._now()
        match command:
            case broker.Dial():
                self._windows.clear()
                self._moves_s = -1
                self._centres.clear()
            case market.Subscribe() if self._scene.active(Fault.LINES_REFUSED, now) is not None and command.contracts:
                refused = command.contracts[0].con_id
                self._tell(market.LinesRefused(session_epoch=self._epoch, con_ids=(refused,), vendor_code=101))
            case _:
                pass
        self._new = {c.con_id for c in command.contracts} if isinstance(command, market.Subscribe) else set()
        super()._take(command)
        self._new = set()
        self._plan_step()

    def _list_chain(self, command: market.ListChain) -> None:
        odd = self._scene.plan.odd_chain
        if odd is None or odd[0] != command.ticker:
            super()._list_chain(command)
            return
        if odd[1] is Fault.CHAIN_FAILED and self._now() > self._scene.plan.starts_utc + CHAIN_FAILED_NS:
            super()._list_chain(command)
            return
        self._scene.coverage.fault(odd[1])
        if odd[1] is Fault.CHAIN_FAILED:
            self._tell(market.ChainFailed(session_epoch=self._epoch, ticker=command.ticker, why="no answer"))
            return
        contracts: tuple[Contract, ...] = ()
        if odd[1] is Fault.CHAIN_ODD:
            chain = (c for c in self._market.contracts(command.ticker) if c.expiry == command.expiry)
            contracts = tuple(replace(c, multiplier=10) for c in chain)
        self._tell(
            market.ChainListed(
                session_epoch=self._epoch, ticker=command.ticker, contracts=contracts,
                underlying_con_id=self._market.underlying_con_id(command.ticker),
                hours=((self._market.open_utc, self._market.close_utc),),
            )
        )  # fmt: skip

    def strike(self, fault: PlannedFault) -> None:
        """Let a fault of the link happen now."""
        self._scene.coverage.fault(fault.kind)
        if fault.kind is Fault.QUOTES_RESET:
            self.drop(fault.lasting_ns)
        elif self._is_up and not self._is_cut:
            self._is_cut = True
            self._tell(broker.LinkLost(session_epoch=self._epoch, cause="1100", is_socket_up=True))
            self._later(fault.lasting_ns, self._restore)

    def _restore(self) -> None:
        was_cut, self._is_cut = self._is_cut, False
        if was_cut and self._is_up:
            self._contracts.clear()
            self._tickers.clear()
            self._last.clear()
            self._tell(broker.LinkRestored(session_epoch=self._epoch, data_lost=True))

    def _connect(self, command: broker.Dial) -> None:
        self._is_cut = False
        super()._connect(command)

    def _on_link(self) -> None:
        """Tell what is halted, as a subscription does."""
        for ticker, until_utc in self._scene.exchange.halts.items():
            if self._now() < until_utc:
                self.halt(ticker, True)

    def _tell(self, message: Message) -> None:
        if isinstance(message, market.QuotesArrived):
            if self._is_cut:
                return
            if not self._scene.is_dense:
                self._follow(message.spots)
            faulty = self._distorted(message)
            if faulty is None:
                return
            message = faulty
        super()._tell(message)

    def _follow(self, spots: tuple[Spot, ...]) -> None:
        """Keep where the windows stand that the quotes' actor keeps around these prices."""
        windows = self._windows
        for spot in spots:
            window = windows.get(spot.ticker)
            is_inside = window is not None and window[0] < 2 * spot.price_ticks <= window[1]
            if not is_inside and spot.ticker != VIX:
                self._place_window(spot)

    def _place_window(self, spot: Spot) -> None:
        chain = self._chain_of(spot.ticker)
        around = self._around(spot.ticker)
        centre = contract_choice.centre(chain.strikes, spot.price_ticks, self._centres.get(spot.ticker), around)
        self._centres[spot.ticker] = centre
        self._windows[spot.ticker] = contract_choice.calm_range(chain.strikes, centre, around)
        self._moves_s = -1

    def _chain_of(self, ticker: str) -> contract_choice.Chain:
        found = self._chains.get(ticker)
        if found is None:
            contracts = (c for c in self._market.contracts(ticker) if c.expiry == self._tape.session)
            found = self._chains[ticker] = contract_choice.chain_of(contracts)
        return found

    def _distorted(self, told: market.QuotesArrived) -> market.QuotesArrived | None:
        """Return what is told after the day's faults; `None` where nothing is left."""
        scene, now = self._scene, self._now()
        if len(scene.faults) != self._faults_n:  # they are added to, never taken away
            self._faults_n = len(scene.faults)
            self._of_data = [(f.at_utc, f.until_utc) for f in scene.faults if f.kind in _OF_DATA]
        if not any(at_utc <= now < until_utc for at_utc, until_utc in self._of_data):
            return told
        quotes: Iterable[Quote] = told.quotes
        if scene.active(Fault.QUOTES_SILENT, now) is not None:
            quotes = ()
        if scene.active(Fault.QUOTES_CROSSED, now) is not None:
            quotes = [replace(q, bid_ticks=(q.ask_ticks or 0) + 5) for q in quotes]
        if scene.active(Fault.QUOTES_ONE_SIDED, now) is not None:
            quotes = [replace(q, bid_ticks=None, bid_size=Qty(0)) for q in quotes]
        if scene.active(Fault.QUOTES_DELAYED, now) is not None:
            quotes = [replace(q, data_type=DataType.DELAYED) for q in quotes]
        jump = scene.active(Fault.QUOTES_JUMP, now)
        if jump is not None:
            quotes = [_moved(q, 1 + jump.n / 10_000, 1 + jump.n / 10_000) for q in quotes]
        wide = scene.active(Fault.QUOTES_WIDE, now)
        if wide is not None:
            quotes = [_moved(q, 1 - wide.n / 10_000, 1 + wide.n / 10_000) for q in quotes]
        if scene.active(Fault.QUOTES_NO_SIZE, now) is not None:
            quotes = [replace(q, bid_size=Qty(0), ask_size=Qty(0)) for q in quotes]
        spots = [s for s in told.spots if scene.active(Fault.SPOT_SILENT, now, s.ticker) is None]
        index = scene.active(Fault.SPOT_JUMP, now)
        if index is not None:
            factor = 1 + index.n / 10_000
            spots = [
                replace(s, price_ticks=Ticks(round(s.price_ticks * factor))) if s.ticker == index.subject else s
                for s in spots
            ]
        quotes = tuple(quotes)
        return replace(told, quotes=quotes, spots=tuple(spots)) if quotes or spots else None


_OF_DATA = frozenset({
    Fault.QUOTES_SILENT, Fault.QUOTES_CROSSED, Fault.QUOTES_ONE_SIDED, Fault.QUOTES_DELAYED, Fault.QUOTES_NO_SIZE,
    Fault.SPOT_SILENT, Fault.SPOT_JUMP, Fault.QUOTES_JUMP, Fault.QUOTES_WIDE,
})  # fmt: skip
# While one of these lasts, what leaves the bounds of a position cannot be foreseen on the tape.
_OF_PRICES = frozenset({Fault.SPOT_JUMP, Fault.QUOTES_JUMP, Fault.QUOTES_WIDE})


def _moved(quote: Quote, bid_factor: float, ask_factor: float) -> Quote:
    """Return a quote whose sides have moved, on increments that every contract has."""
    bid = None if quote.bid_ticks is None else Ticks(round(quote.bid_ticks * bid_factor / 10) * 10)
    ask = None if quote.ask_ticks is None else Ticks(max(10, round(quote.ask_ticks * ask_factor / 10) * 10))
    return replace(quote, bid_ticks=bid, ask_ticks=ask)


def dense_seconds(scene: Scene) -> Bools:
    """Return for each second of the grid whether all is told then as the plain port tells it.

    Around signals, around the beginning and end of what goes wrong with data, while prices are told that the tape does
    not have, and while an index moves so fast that the automatic kill level may come near.
    """
    tape, plan = scene.market, scene.plan
    found = tense_seconds(tape).copy()

    def mark(from_utc: Utc, until_utc: Utc) -> None:
        found[tape.second_of(from_utc) : tape.second_of(until_utc) + 1] = True

    for signal in plan.signals:
        if tape.path.start_utc <= signal.at_utc < tape.instant_of(tape.path.end_s):
            mark(signal.at_utc - BEFORE_SIGNAL_S * SECOND, signal.at_utc + AFTER_SIGNAL_S * SECOND)
    if plan.spreads is not None:
        mark(plan.spreads.first_utc - BEFORE_NS, plan.spreads.until_utc + AFTER_NS)
    for fault in plan.faults:
        if fault.kind in _OF_PRICES:
            mark(fault.at_utc - 2 * SECOND, fault.until_utc + 6 * SECOND)
        elif fault.kind in _OF_DATA:
            mark(fault.at_utc - 2 * SECOND, fault.at_utc + 2 * SECOND)
            mark(fault.until_utc - 2 * SECOND, fault.until_utc + 6 * SECOND)
    return found


_TENSE: dict[int, Bools] = {}


def tense_seconds(tape: TapeMarket) -> Bools:
    """Return for each second whether an automatic kill level by index moves may come near (kept by market)."""
    found = _TENSE.get(id(tape))
    if found is None:
        _TENSE.clear()
        found = _TENSE[id(tape)] = np.zeros(tape.path.end_s + 1, np.bool_)
        for ticker, window_s, limit in ((SPX, 60, 0.005), (VIX, 300, 0.10)):
            prices = tape.path.spots[ticker]
            views = np.lib.stride_tricks.sliding_window_view(prices, window_s + 1)
            moved = views.max(axis=1) / views.min(axis=1) - 1.0
            for at in np.flatnonzero(moved > TENSE_SHARE * limit):
                found[max(0, at + window_s - TENSE_BEFORE_S) : at + window_s + 2] = True
    return found


def strikes_around(rules: Any) -> Callable[[str], int]:
    """Return how many strikes each side of the money are streamed, by ticker (`ConnectionRules`)."""
    return lambda ticker: rules.strikes_around_index if ticker in INDICES else rules.strikes_around
