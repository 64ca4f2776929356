"""What one position knows, the rules it is given, and its timers."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from domain.instants import MS
from domain.instruments import OrderType, Side
from domain.keyed import Keyed
from domain.limits import ConnectionRules, DayRules, ExitRules, OverlayRules, TickerRules
from domain.orders.intent import DecisionPrices, Permit, PositionRef
from domain.orders.live_order import LiveOrder
from domain.orders.order_pair import OrderPair, OrderRole
from domain.orders.references import is_slice_ref, position_of
from domain.orders.tiers import Tier
from domain.orders.twap import Twap
from domain.position.adaptive import Scales
from domain.position.cycle import CYCLE, EndReason, ExitReason, PositionEvent, PositionState
from domain.position.day import PositionDay
from domain.position.exits import HeldPosition, MarketWatch, WantedExit
from domain.position.fills import Fills
from domain.position.shadow import Shadow
from domain.risk.kill import KillLevel
from domain.risk.overlay import Minutes
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.units import Qty, Ticks, Utc
from messages.positions import PositionClosed
from messages.session import PhaseChanged
from supervision.turn import Turn

_MANY_EXITS = 50  # of one position; each uses up a number, and behind a long desk name there is room for some thousands
AFTER_HOURS = frozenset({Phase.CLOSED_DAY, Phase.PRE, Phase.CLOSED})


class Timer(StrEnum):
    """The timers of a position."""

    ACK = "ack"  # of an order (its reference is the subject): no acknowledgement came
    QUERY = "query"  # of an order: the broker has not said what became of it
    CANCEL = "cancel"  # of an order: its cancel is not confirmed
    RECORD = "record"  # of an order at a tier: the ledger has not confirmed the intent
    TIER = "tier"  # of an order at a tier: it is time for the next one
    ENTRY_STEP = "entry_step"
    ENTRY_CANCEL = "entry_cancel"
    ENTRY_DEADLINE = "entry_deadline"
    SLICE = "slice"  # the next slice of an entry is due; or the word on it is overdue
    SLOW = "slow"  # time for the slow exit rules
    AGREE = "agree"  # broker and ledger had their time to agree
    FEES = "fees"  # commission reports had their time
    RETRY = "retry"  # an exit may be sent again
    DAY = "day"  # of a mark of the position's own day
    STUCK = "stuck"  # something is held and could not be closed for so long


OF_AN_ORDER = (Timer.ACK, Timer.QUERY, Timer.CANCEL)


class PositionRules(msgspec.Struct, frozen=True, kw_only=True):
    """The contract and the rules of one position."""

    con_id: int
    exits: ExitRules
    connection: ConnectionRules
    overlay: OverlayRules
    day: DayRules
    tickers: dict[str, TickerRules]

    def ticker(self, ref: PositionRef) -> TickerRules:
        """Return the rules of the position's underlying."""
        return self.tickers[ref.contract.ticker]


class PositionData(msgspec.Struct, kw_only=True):
    """State of one position.

    `ref`, `entry_ref`, `decision` and `permit` are those of the entry that opened this life; the last two are `None`
    after a restart. `day` is the position's own, `told_phase` what `session` said last, `phase` what counts of both.
    `is_link_up` is `None` while nothing is known of the broker session (it refuses by itself what it cannot send).
    `reason` is the exit last wanted and `end` how the last life ended; `past` are the ends that were published,
    by position.
    `is_estimated`: the end of this life was booked without the executions of its close.
    Of the exit profile beside the fixed one: `is_other_in_force`, whether this life leaves by it, and its `shadow`. Of
    the adaptive one: its `scales`, the `minutes` that its volatility is taken of; `is_scale_fixed`: they are of a
    version that is no longer the settings', and stay as they are. `has_told_scales`: its beginning was told.

    `twap` is the entry in slices, if it is one of this incarnation's; `entry_ref` is its first order.

    `is_free`: a leg that covers others may be sold; its structure says so, and again after a restart, or the ledger,
    where every other leg is over: it gives it back so, and is asked with each page that it cannot be sold.

    Of the broker: `broker_qty` is signed, `is_broker_newer` says that it was reported after the last fill, `gap_qty`
    what the ledger held more than the broker when both were last compared, `has_executions` that the read-back behind
    it showed the day's executions too; `agree_after_utc` is the instant before
    which it says nothing about flat, `close_qty` what it was at the close, which was at `settling_utc`.
    `agree_due_utc` and `fees_due_utc` are running waits, `disputed_utc` is when the difference was published;
    `asks_first`: restored, and the broker's last word may be older than this actor, so that it is asked for another
    before a difference is published.

    Of exits that do not go: `retry_utc` ends a pause of ours, `refused_until_utc` one after a refusal of the broker's;
    `trouble` is why the last one did not leave; `refusals` counts the broker's since a fill, `refused_type` is the type
    of the last new order that it refused. `no_market_until_utc` is a halt that only the broker session has told,
    `resumed_utc` a resume of which no quote was seen yet. `sent_early` are exits at a tier that went before their
    record, for which the ledger has more time because the machine was busy. `stuck_since_utc` is since when something
    is held and cannot be closed, `is_stuck_told` whether the kill level was raised for it.
    """

    cycle: PositionState = PositionState.FLAT
    is_free: bool = False
    ref: PositionRef | None = None
    entry_ref: str = ""
    decision: DecisionPrices | None = None
    permit: Permit | None = None
    twap: Twap | None = None
    fills: Fills = Fills()
    orders: OrderPair = OrderPair()
    exit_n: int = 0
    wanted: WantedExit | None = None
    reason: ExitReason | None = None
    end: EndReason | None = None
    is_estimated: bool = False
    is_other_in_force: bool = False
    scales: Scales = Scales()
    has_told_scales: bool = False
    is_scale_fixed: bool = False
    minutes: Minutes = Minutes()
    shadow: Shadow | None = None
    past: Keyed[PositionClosed] = Keyed()
    watch: MarketWatch = MarketWatch(Utc(0))
    opened_utc: Utc | None = None
    entry_spot_ticks: Ticks | None = None
    entry_iv: float | None = None
    took_part: bool = False
    day: PositionDay | None = None
    told_phase: PhaseChanged | None = None
    phase: Phase | None = None
    settlement_ticks: Ticks | None = None
    kill_level: KillLevel = KillLevel.RUNNING
    mode: Mode | None = None
    is_link_up: bool | None = None
    is_halted: bool = False
    no_market_until_utc: Utc = Utc(0)
    resumed_utc: Utc | None = None
    broker_qty: Qty | None = None
    broker_read_utc: Utc = Utc(0)
    is_broker_newer: bool = False
    has_executions: bool = True
    gap_qty: Qty = Qty(0)
    close_qty: Qty | None = None
    settling_utc: Utc | None = None
    short_since_utc: Utc | None = None
    last_fill_utc: Utc = Utc(0)
    agree_after_utc: Utc = Utc(0)
    agree_due_utc: Utc | None = None
    disputed_utc: Utc | None = None
    asks_first: bool = False
    fees_due_utc: Utc | None = None
    retry_utc: Utc = Utc(0)
    refused_until_utc: Utc = Utc(0)
    refusals: int = 0
    refused_type: OrderType | None = None
    is_disaster_refused: bool = False
    trouble: str = ""
    sent_early: frozenset[str] = frozenset()
    stuck_since_utc: Utc | None = None
    is_stuck_told: bool = False

    def opened_ref(self) -> PositionRef:
        """Return the reference of this life.

        Raises:
            ValueError: something happened to a position that was never opened.
        """
        if self.ref is None:
            raise ValueError("this position was never opened; the ledger must give it back")
        return self.ref

    def is_entry(self, order_ref: str) -> bool:
        """Return whether an order is the entry's of this life, or one of its slices."""
        is_own_slice = is_slice_ref(order_ref) and position_of(order_ref) == position_of(self.entry_ref)
        return order_ref == self.entry_ref or is_own_slice

    def held(self) -> HeldPosition | None:
        """Return what the exits look at; `None` while nothing is held."""
        average = self.fills.average_ticks
        if self.ref is None or self.opened_utc is None or average is None or self.fills.held <= 0:
            return None
        return HeldPosition(
            qty=self.fills.held, average_ticks=average, direction=self.ref.direction,
            entry_spot_ticks=self.entry_spot_ticks, entry_iv=self.entry_iv, opened_utc=self.opened_utc,
            took_part=self.took_part,
        )  # fmt: skip

    @property
    def is_held_back(self) -> bool:
        """Whether it covers others and must not be sold."""
        return self.ref is not None and self.ref.is_leg and self.ref.side is Side.BUY and not self.is_free

    @property
    def closable_qty(self) -> Qty:
        """What an exit may close: min(ledger, broker); nothing of what covers others.

        Between a fill and the broker's next word the ledger alone says it, less what was long missing at the broker.
        """
        if self.is_held_back:
            return Qty(0)
        held = self.fills.held
        if self.broker_qty is not None and self.is_broker_newer:
            held = min(held, Qty(self.fills.sign * self.broker_qty))
        elif self.disputed_utc is not None or self.short_since_utc is not None:
            held -= self.gap_qty
        return max(held, Qty(0))

    @property
    def short_qty(self) -> Qty:
        """How many contracts the broker holds short of what was bought to open."""
        if self.broker_qty is None or self.broker_qty >= 0 or self.ref is None or self.ref.side is not Side.BUY:
            return Qty(0)
        return Qty(-self.broker_qty)

    @property
    def cover_qty(self) -> Qty:
        """How many contracts may be bought back: the short, where it was reported after the last fill."""
        return self.short_qty if self.is_broker_newer else Qty(0)

    @property
    def has_tried_often(self) -> bool:
        """Whether so many exits were made that the next ones take their time, unless the broker's holding changes."""
        return self.exit_n >= _MANY_EXITS

    @property
    def exit_reason(self) -> ExitReason | None:
        """The exit that is wanted, or was last."""
        return self.reason if self.wanted is None else self.wanted.reason

    @property
    def exit_tier(self) -> Tier:
        """The tier of the exit order."""
        return Tier.NONE if self.orders.exit is None else self.orders.exit.tier


PositionTurn = Turn[PositionData]


def move(turn: PositionTurn, event: PositionEvent) -> None:
    """Let an event move the life cycle."""
    turn.state.cycle = CYCLE.next(turn.state.cycle, event)


def keep_order(turn: PositionTurn, role: OrderRole, order: LiveOrder | None) -> None:
    """Keep an order as it is now; one that has ended, or `None`, leaves its place empty."""
    turn.state.orders = turn.state.orders.with_order(role, order)


def arm_in(turn: PositionTurn, timer: Timer, wait_ms: int, subject: str = "") -> None:
    """Arm a timer from now."""
    turn.arm(timer, turn.now + wait_ms * MS, subject)


def tier_subject(order_ref: str, tier: Tier) -> str:
    """Return the subject of a timer of an order at a tier."""
    return f"{order_ref}:{int(tier)}"


def parse_tier_subject(subject: str) -> tuple[str, Tier]:
    """Return the order's reference and the tier of such a timer."""
    order_ref, _, tier = subject.rpartition(":")
    return order_ref, Tier(int(tier))
