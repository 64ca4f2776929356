"""What one position knows, the rules it is given, and its timers."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from domain.instants import MS
from domain.limits import ConnectionRules, ExitRules, TickerRules
from domain.orders.intent import DecisionPrices, Permit, PositionRef
from domain.orders.live_order import LiveOrder
from domain.orders.order_pair import OrderPair, OrderRole
from domain.orders.tiers import Tier
from domain.position.cycle import CYCLE, EndReason, ExitReason, PositionEvent, PositionState
from domain.position.exits import HeldPosition, MarketWatch, WantedExit
from domain.position.fills import Fills
from domain.risk.kill import KillLevel
from domain.session.phases import Phase
from domain.units import Qty, Ticks, Utc
from supervision.turn import Turn

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
    SLOW = "slow"  # time for the slow exit rules
    AGREE = "agree"  # broker and ledger had their time to agree
    FEES = "fees"  # commission reports had their time
    RETRY = "retry"  # an exit may be sent again


OF_AN_ORDER = (Timer.ACK, Timer.QUERY, Timer.CANCEL)


class PositionRules(msgspec.Struct, frozen=True, kw_only=True):
    """The contract and the rules of one position."""

    con_id: int
    exits: ExitRules
    connection: ConnectionRules
    tickers: dict[str, TickerRules]

    def ticker(self, ref: PositionRef) -> TickerRules:
        """Return the rules of the position's underlying."""
        return self.tickers[ref.contract.ticker]


class PositionData(msgspec.Struct, kw_only=True):
    """State of one position.

    `ref`, `entry_ref`, `decision` and `permit` are those of the entry that opened this life; the last two are `None`
    after a restart. `is_link_up` is `None` while nothing is known of the broker session (it refuses by itself what it
    cannot send). `agree_after_utc` is the instant before which a broker quantity says nothing about flat;
    `agree_due_utc` and `fees_due_utc` are running waits. `reason` is the exit last wanted and `end` how the last life
    ended. `broker_qty` is signed.
    """

    cycle: PositionState = PositionState.FLAT
    ref: PositionRef | None = None
    entry_ref: str = ""
    decision: DecisionPrices | None = None
    permit: Permit | None = None
    fills: Fills = Fills()
    orders: OrderPair = OrderPair()
    exit_n: int = 0
    wanted: WantedExit | None = None
    reason: ExitReason | None = None
    end: EndReason | None = None
    watch: MarketWatch = MarketWatch(Utc(0))
    opened_utc: Utc | None = None
    entry_spot_ticks: Ticks | None = None
    entry_iv: float | None = None
    took_part: bool = False
    phase: Phase | None = None
    kill_level: KillLevel = KillLevel.RUNNING
    is_link_up: bool | None = None
    broker_qty: Qty | None = None
    broker_read_utc: Utc = Utc(0)
    last_fill_utc: Utc = Utc(0)
    agree_after_utc: Utc = Utc(0)
    agree_due_utc: Utc | None = None
    fees_due_utc: Utc | None = None
    retry_utc: Utc = Utc(0)
    is_disputed: bool = False

    def opened_ref(self) -> PositionRef:
        """Return the reference of this life.

        Raises:
            ValueError: something happened to a position that was never opened.
        """
        if self.ref is None:
            raise ValueError("this position was never opened; the ledger must give it back")
        return self.ref

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
