"""What a position knows, and one decision under way: the state as it will be, and the effects so far."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from domain.instants import MS
from domain.instruments import Contract
from domain.limits import ConnectionRules, ExitRules, TickerRules
from domain.orders.live_order import LiveOrder
from domain.position.book import Book
from domain.position.cycle import EndReason, ExitReason, PositionEvent, PositionState, next_state
from domain.position.exits import Holding, Wanted, Watch
from domain.session.phases import Phase
from messages import orders
from messages.base import Message
from supervision.effects import CancelTimer, Effect, SetTimer, Tell

AFTER_HOURS = frozenset({Phase.CLOSED_DAY, Phase.PRE, Phase.CLOSED})


class Wiring(msgspec.Struct, frozen=True, kw_only=True):
    """Address and rules of one position."""

    name: str
    desk: str
    con_id: int
    exits: ExitRules
    connection: ConnectionRules
    tickers: dict[str, TickerRules]


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """The reserved entry that opened this life; `decision_*` and `permit` are `None` after a restart."""

    intent_id: str
    source: str
    strategy: str
    direction: int
    contract: Contract
    order_ref: str
    qty: int
    deadline_utc: int
    decision_ask_ticks: int | None = None
    decision_spot_ticks: int | None = None
    permit: orders.Permit | None = None

    @property
    def position_id(self) -> str:
        """The stem of all order references of this life."""
        return self.order_ref.removesuffix("-e")

    def exit_ref(self, exit_n: int) -> str:
        """Give the reference of the n-th exit order."""
        return f"{self.position_id}-x{exit_n}"


class PositionRun(msgspec.Struct, frozen=True, kw_only=True):
    """State of one position.

    `is_link_up` is `None` while nothing was heard of the broker session (it refuses by itself what it cannot send).
    `agree_after_utc` is the instant before which a broker quantity says nothing about flat; `agree_due_utc` and
    `fees_due_utc` are running waits. `reason` is the exit last wanted and `end` how the last life ended.
    """

    cycle: PositionState = PositionState.FLAT
    intent: Intent | None = None
    book: Book = Book()
    entry: LiveOrder | None = None
    exit: LiveOrder | None = None
    exit_n: int = 0
    wanted: Wanted | None = None
    reason: ExitReason | None = None
    end: EndReason | None = None
    watch: Watch = Watch(0)
    opened_utc: int | None = None
    entry_spot_ticks: int | None = None
    entry_iv: float | None = None
    took_part: bool = False
    phase: Phase | None = None
    kill_level: int = 0
    is_link_up: bool | None = None
    broker_qty: int | None = None
    broker_read_utc: int = 0
    booked_utc: int = 0
    agree_after_utc: int = 0
    agree_due_utc: int | None = None
    fees_due_utc: int | None = None
    retry_utc: int = 0
    is_disputed: bool = False

    @property
    def holding(self) -> Holding | None:
        """What the exits look at; `None` while nothing is held."""
        average = self.book.average_ticks
        if self.intent is None or self.opened_utc is None or average is None or self.book.held <= 0:
            return None
        return Holding(
            qty=self.book.held, bought_qty=self.book.bought_qty, average_ticks=average,
            direction=self.intent.direction, entry_spot_ticks=self.entry_spot_ticks, entry_iv=self.entry_iv,
            opened_utc=self.opened_utc, took_part=self.took_part,
        )  # fmt: skip


class Turn:
    """One decision under way; it lives no longer than the handling of one message."""

    def __init__(self, wiring: Wiring, state: PositionRun, now: int) -> None:
        self.w = wiring
        self.s = state
        self.now = now
        self.effects: list[Effect] = []

    @property
    def intent(self) -> Intent:
        """The intent of this life.

        Raises:
            ValueError: something happened to a position that was never opened.
        """
        if self.s.intent is None:
            raise ValueError(f"{self.w.name} has no intent; the ledger must give it back")
        return self.s.intent

    @property
    def ticker_rules(self) -> TickerRules:
        """The rules of the underlying."""
        return self.w.tickers[self.intent.contract.ticker]

    def put(self, **changes: object) -> None:
        """Change fields of the state."""
        self.s = replace(self.s, **changes)

    def move(self, event: PositionEvent) -> None:
        """Let an event move the life cycle."""
        self.put(cycle=next_state(self.s.cycle, event))

    def tell(self, message: Message, *to: str) -> None:
        """Tell each recipient in turn."""
        self.effects += [Tell(name, message) for name in to]

    def arm(self, key: str, wait_ms: int) -> None:
        """Arm a timer from now."""
        self.arm_at(key, self.now + wait_ms * MS)

    def arm_at(self, key: str, at_utc: int) -> None:
        """Arm a timer at an instant."""
        self.effects.append(SetTimer(key, at_utc))

    def disarm(self, *keys: str) -> None:
        """Disarm timers."""
        self.effects += [CancelTimer(key) for key in keys]
