"""A lane that acts on quotes: it buys what runs away from its slow mean, and leaves on gain, loss or time.

The rule of the common benchmark day (NautilusTrader and others run it too): flat, mid above a multiple of its
exponential mean, somebody bids enough, and long enough since the last exit: buy one. Held: leave when the bid has
gained or lost enough, or after a while. Everything else is the desk's: gates, ledger, order session, position.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from config.settings import Settings
from domain.instants import BUCKET_NS, SECOND, bucket_of
from domain.instruments import Contract, Right, Side
from domain.position.cycle import ExitReason
from domain.signals.alert import DOWN, UP, Alert, AlertKey
from domain.signals.strategies import intent_of
from domain.units import Ticks, Utc
from messages import entries, lifecycle, positions, signals
from messages.base import Report
from supervision.actor import Actor
from supervision.turn import Turn

SOURCE = "quotes"
KIND, VERSION = "RUNAWAY", 1


class QuoteSeen(Report, frozen=True, kw_only=True, tag="backtest.QuoteSeen"):
    """A quote that may change what the lane wants, with the slow mean (USD) of its contract's mids so far."""

    bid_ticks: Ticks
    ask_ticks: Ticks
    mean_usd: float


@dataclass(frozen=True, slots=True)
class LaneRules:
    """The numbers of the rule: `entry` of the mean; `gain` and `loss` of the entry price; durations in ns."""

    entry: float
    bid_min_usd: float = 0.50
    gain: float = 1.2
    loss: float = 0.88
    hold_ns: int = 600 * SECOND
    pause_ns: int = 30 * SECOND


class LaneState(msgspec.Struct):
    """`entry_usd` is 0 while flat; from an order on until its fill nothing else is looked at (`is_working`)."""

    entry_usd: float = 0.0
    entered_utc: Utc = Utc(0)
    quiet_until_utc: Utc = Utc(0)
    is_working: bool = False
    pending: Alert | None = None
    denied: tuple[str, ...] = ()


class Interest(msgspec.Struct, frozen=True):
    """Which quotes can change what a lane wants, prices in USD: those of an entry after `after_utc`, or, while
    something is held, a bid outside of the bounds, or any quote after `after_utc`. `None` bounds: flat."""

    after_utc: Utc
    bid_at_least: float | None = None
    bid_at_most: float | None = None


def is_entry(rules: LaneRules, bid_usd: float, ask_usd: float, mean_usd: float) -> bool:
    """Return whether a quote is one to enter on, whatever the lane's own state; the one definition of it."""
    return (bid_usd + ask_usd) * 0.5 > rules.entry * mean_usd and bid_usd >= rules.bid_min_usd


def interest_of(rules: LaneRules, state: LaneState) -> Interest:
    """Return what the lane would act on now."""
    if not state.entry_usd:
        return Interest(state.quiet_until_utc)
    entry = state.entry_usd
    return Interest(Utc(state.entered_utc + rules.hold_ns), rules.gain * entry, rules.loss * entry)


class QuoteLane(
    Actor[
        LaneState,
        lifecycle.Started | QuoteSeen | signals.AlertRecorded | positions.FillBooked | entries.EntryDenied
        | entries.EntryHandedOver,
    ]
):  # fmt: skip
    """The lane `lane:quotes:<ticker>`, of one contract."""

    def __init__(self, name: str, settings: Settings, rules: LaneRules, contract: Contract) -> None:
        super().__init__(name)
        self._rules = rules
        self._contract = contract
        self._position = f"position:{settings.desk}:{contract.con_id}"
        self._strategy = settings.strategies[SOURCE]

    def initial(self) -> LaneState:
        """Be flat."""
        return LaneState()

    def decide(
        self, turn: Turn[LaneState],
        message: lifecycle.Started | QuoteSeen | signals.AlertRecorded | positions.FillBooked | entries.EntryDenied
        | entries.EntryHandedOver,
    ) -> None:  # fmt: skip
        """Look at a quote, or take note of what became of an order."""
        state = turn.state
        match message:
            case QuoteSeen():
                self._look(turn, message)
            case signals.AlertRecorded():
                if state.pending is not None:
                    turn.publish(signals.SignalRaised(intent=intent_of(state.pending, SOURCE, self._strategy)))
                    state.pending = None
            case positions.FillBooked():
                state.is_working = False
                state.entry_usd = (message.price_ticks or 0) / 100 if message.side is Side.BUY else 0.0
                state.entered_utc = message.at_utc
                state.quiet_until_utc = Utc(message.at_utc + self._rules.pause_ns)
            case entries.EntryDenied():
                state.is_working = False
                state.denied = (*state.denied, message.code.value)
            case lifecycle.Started() | entries.EntryHandedOver():
                pass

    def _look(self, turn: Turn[LaneState], seen: QuoteSeen) -> None:
        state, rules = turn.state, self._rules
        if state.is_working:
            return
        bid_usd, ask_usd = seen.bid_ticks / 100, seen.ask_ticks / 100
        if not state.entry_usd:
            if turn.now > state.quiet_until_utc and is_entry(rules, bid_usd, ask_usd, seen.mean_usd):
                state.is_working = True
                self._record(turn, seen)
            return
        wanted = interest_of(rules, state)
        assert wanted.bid_at_least is not None  # something is held
        assert wanted.bid_at_most is not None
        if bid_usd >= wanted.bid_at_least or bid_usd <= wanted.bid_at_most or turn.now > wanted.after_utc:
            state.is_working = True
            turn.tell(self._position, positions.FlattenPosition(reason=ExitReason.OPERATOR))

    def _record(self, turn: Turn[LaneState], seen: QuoteSeen) -> None:
        """Have the alert recorded, of the last bucket that is over: no two of one contract share one."""
        ticker, ask = self._contract.ticker, seen.ask_ticks
        alert = Alert(
            key=AlertKey(SOURCE, ticker, KIND, VERSION, Utc(bucket_of(turn.now) - BUCKET_NS)),
            direction=UP if self._contract.right is Right.CALL else DOWN, entry_ticks=ask, target_ticks=ask,
            stop_ticks=ask, horizon_ms=600_000, is_shadow=False, raised_utc=turn.now,
        )  # fmt: skip
        state = turn.state
        state.pending = alert
        turn.tell(
            "ledger",
            signals.RecordAlert(
                reply_to=turn.name, alert=alert, features=(), forces=(), alignment=None,
                thresholds=(("mean_usd", seen.mean_usd),),
            ),
        )  # fmt: skip
