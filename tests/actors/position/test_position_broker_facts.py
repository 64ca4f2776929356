"""Whatever order and repetition of the broker's facts: never two exit orders, never oversold, flat means flat.

The world holds the truth: broker, broker session and ledger. What it says is queued per sender and delivered at
random, some of it twice; orders are refused, lost, late, cancelled in a race with fills; the link fails; the ledger is
slow and the session tells the fill past it; trading halts; somebody else sells what we hold; the actor crashes and
comes back from the ledger. The promises are checked against the truth, not against the actor's own view.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from domain.instants import SECOND
from domain.instruments import OrderType, Side
from domain.orders.order_pair import OrderRole
from domain.orders.tiers import Tier
from domain.position.cycle import EndReason, ExitReason, PositionState
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from messages import broker, market, orders, positions, restored, session
from messages.base import Message
from tests.testkit.position_history import ENTRY, History, order_fill, reservation
from tests.testkit.probe import Outbox

TRANSIT_MAX = 9 * SECOND  # an order cannot be on its way for longer: the port does not write after the deadline


@dataclass
class AtBroker:
    ref: str
    qty: int
    order_type: OrderType
    sent_utc: int
    limit_ticks: int | None = None
    filled: int = 0
    cost: int = 0
    stage: str = "transit"  # transit, working, done
    cancel_asked: bool = False

    @property
    def is_alive(self) -> bool:
        return self.stage != "done"

    @property
    def is_exit(self) -> bool:
        return self.ref != ENTRY


class World(RuleBasedStateMachine):
    """Broker, session and ledger around one position."""

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self.history.records_exits = False
        self.heard_n = 0
        self.orders: dict[str, AtBroker] = {}
        self.commands: list[Message] = []
        self.session: list[Message] = []
        self.ledger: list[Message] = []
        self.position = 0
        self.is_up = True
        self.unanswered: list[str] = []
        self.intents: list[orders.RecordExitIntent] = []
        self.row: positions.RecordPosition | None = None
        self.is_reserved = True
        self.execution_n = 0
        self.is_ledger_slow = False
        self.is_halted = False

    # -- plumbing ------------------------------------------------------------------------------

    def collect(self) -> None:
        """Take what the position said since last time to where it goes."""
        effects = self.history.sent.effects
        fresh, self.heard_n = Outbox(effects[self.heard_n :]), len(effects)
        self.commands += fresh.told(Message, "ibkr")
        for message in fresh.messages:
            match message:
                case orders.RecordExitIntent():
                    self.intents.append(message)
                    recorded = orders.ExitIntentRecorded(order_ref=message.order_ref, tier=message.tier)
                    self.ledger.append(recorded)
                case positions.RecordPosition():
                    self.row = message
                case positions.PositionClosed() | positions.EntryAbandoned():
                    self.is_reserved = False

    def feed(self, message: Message) -> None:
        self.history.feed(message)
        self.collect()

    def read_position(self) -> Message:
        return positions.BrokerPositionRead(con_id=812, qty=self.position, read_utc=self.history.now)

    def closed(self, order: AtBroker, cause: str) -> Message:
        return orders.OrderClosed(order_ref=order.ref, cause=cause, filled_qty_total=order.filled)

    # -- the broker ----------------------------------------------------------------------------

    def trade(self, order: AtBroker, qty: int, price: int) -> None:
        order.filled += qty
        order.cost += qty * price
        self.position += -qty if order.is_exit else qty
        self.execution_n += 1
        fill = orders.FillRecorded(
            order_ref=order.ref, con_id=812, side=Side.SELL if order.is_exit else Side.BUY,
            exec_id=f"e{self.execution_n}", revision=1, qty=qty, price_ticks=price, at_utc=self.history.now,
            filled_qty_total=order.filled, filled_cost_ticks_total=order.cost,
        )  # fmt: skip
        self.ledger.append(fill)
        if self.is_ledger_slow and self.is_up:
            self.session.append(replace(fill, is_durable=False))
        if order.filled >= order.qty:
            order.stage = "done"
        if self.is_up:
            self.session.append(self.read_position())
            if order.stage == "done":
                self.session += [self.closed(order, "Filled")] * 2

    def cancel(self, order: AtBroker) -> None:
        order.stage = "done"
        if self.is_up:
            self.session.append(self.closed(order, "Cancelled"))

    def answer(self, ref: str) -> Message:
        order, now = self.orders.get(ref), self.history.now
        if order is None or order.stage == "transit":
            return orders.OrderNotFound(order_ref=ref, read_back_utc=now)
        return orders.OrderFound(
            order_ref=ref, perm_id=1, is_working=order.stage == "working", filled_qty=order.filled, qty=order.qty,
            order_type=order.order_type, limit_ticks=order.limit_ticks, status="Submitted", read_back_utc=now,
        )  # fmt: skip

    # -- the session takes commands ------------------------------------------------------------

    def submit(self, command: orders.SubmitOrder) -> None:
        order, now = command.order, self.history.now
        if order.order_ref in self.orders:
            self.deny(order.order_ref, RejectCode.DUPLICATE_REF)
        elif now > order.deadline_utc:
            self.deny(order.order_ref, RejectCode.DEADLINE_PASSED)
        elif not self.is_up and order.is_exit:
            self.session.append(orders.ExitHeld(order_ref=order.order_ref, mode=Mode.DEGRADED))
        elif not self.is_up:
            self.deny(order.order_ref, RejectCode.MODE_DEGRADED)
        elif order.is_exit and self.on_sale() + order.qty > min(command.held_qty, self.position):
            self.deny(order.order_ref, RejectCode.EXIT_OVERSELL, self.position)
        elif order.is_exit and self.is_halted and order.order_type is OrderType.MARKET:
            self.deny(order.order_ref, RejectCode.EXIT_HALTED)
        else:
            sent = AtBroker(order.order_ref, order.qty, order.order_type, now, order.limit_ticks)
            self.orders[order.order_ref] = sent
            self.session.append(broker.OrderSent(order_ref=order.order_ref, session_epoch=1, order_id=1, sent_utc=now))

    def deny(self, order_ref: str, code: RejectCode, broker_qty: int | None = None) -> None:
        self.session.append(broker.OrderDenied(order_ref=order_ref, code=code, why="test", broker_qty=broker_qty))

    def on_sale(self) -> int:
        return sum(o.qty - o.filled for o in self.orders.values() if o.is_exit and o.is_alive)

    def modify(self, command: orders.ModifyOrder, *, is_refused: bool) -> None:
        change = command.change
        order = self.orders.get(change.order_ref)
        if not self.is_up:
            self.session.append(orders.ExitHeld(order_ref=change.order_ref, mode=Mode.DEGRADED))
        elif order is None:
            self.session.append(self.answer(change.order_ref))
        elif not order.is_alive:
            self.session.append(self.closed(order, "Filled"))
        elif is_refused or order.stage == "transit":
            refused = orders.ModifyRefused(order_ref=change.order_ref, vendor_code=201, text="no")
            self.session.append(refused)
        else:
            order.qty, order.order_type, order.limit_ticks = change.qty, change.order_type, change.limit_ticks

    @precondition(lambda self: self.commands)
    @rule(is_refused=st.booleans(), race=st.integers(0, 3))
    def session_takes_a_command(self, is_refused: bool, race: int) -> None:
        command = self.commands.pop(0)
        match command:
            case orders.SubmitOrder():
                self.submit(command)
            case orders.ModifyOrder():
                self.modify(command, is_refused=is_refused)
            case orders.CancelOrder():
                order = self.orders.get(command.order_ref)
                if order is None or (order.is_alive and not self.is_up):
                    self.unanswered.append(command.order_ref)
                elif not order.is_alive:
                    self.session.append(self.closed(order, "ended before the cancel"))
                elif order.stage == "transit":
                    order.cancel_asked = True
                else:
                    if race and order.qty - order.filled >= race:
                        self.trade(order, race, 300)
                    if order.is_alive:
                        self.cancel(order)
            case orders.RequestOrderState() if self.is_up:
                self.session.append(self.answer(command.order_ref))
            case orders.RequestOrderState():
                self.unanswered.append(command.order_ref)

    # -- what happens --------------------------------------------------------------------------

    @initialize(qty=st.integers(1, 4))
    def risk_opens(self, qty: int) -> None:
        self.history.open(qty=qty, permit_ms=9000)
        self.collect()

    @precondition(lambda self: self.session)
    @rule(repeat=st.booleans())
    def session_says(self, repeat: bool) -> None:
        message = self.session.pop(0)
        self.feed(message)
        if repeat and not isinstance(message, orders.OrderNotFound | orders.OrderFound | orders.ExitHeld):
            self.feed(message)

    @precondition(lambda self: self.ledger)
    @rule(repeat=st.booleans())
    def ledger_says(self, repeat: bool) -> None:
        message = self.ledger.pop(0)
        self.feed(message)
        if repeat:
            self.feed(message)

    def of_stage(self, stage: str) -> list[AtBroker]:
        return [order for order in self.orders.values() if order.stage == stage]

    @precondition(lambda self: self.is_up and self.of_stage("transit"))
    @rule(fate=st.sampled_from(["works", "works", "works", "refused", "lost"]))
    def order_arrives(self, fate: str) -> None:
        self.arrive(self.of_stage("transit")[0], fate)

    def arrive(self, order: AtBroker, fate: str) -> None:
        if fate == "lost":
            del self.orders[order.ref]
            self.orders[order.ref] = order  # its reference stays seen
            order.stage = "done"
        elif fate == "refused":
            order.stage = "done"
            if self.is_up:
                rejected = orders.OrderRejected(order_ref=order.ref, vendor_code=201, text="no")
                self.session.append(rejected)
        elif order.cancel_asked:
            self.cancel(order)
        else:
            order.stage = "working"
            if self.is_up:
                self.session.append(orders.OrderAcknowledged(order_ref=order.ref, perm_id=1))

    @precondition(lambda self: self.of_stage("working"))
    @rule(pick=st.integers(0, 3), qty=st.integers(1, 4), price=st.integers(100, 900))
    def order_fills(self, pick: int, qty: int, price: int) -> None:
        working = self.of_stage("working")
        order = working[pick % len(working)]
        self.trade(order, min(qty, order.qty - order.filled), price)

    @precondition(lambda self: self.of_stage("working"))
    @rule(pick=st.integers(0, 3))
    def broker_cancels_by_itself(self, pick: int) -> None:
        working = self.of_stage("working")
        self.cancel(working[pick % len(working)])

    @precondition(lambda self: any(map(self.history.state.orders.of, OrderRole)))
    @rule()
    def library_calls_an_order_cancelled_that_is_not(self) -> None:
        """104 and kin: only orders that nobody asked to cancel, since those are in doubt at the session."""
        for live in map(self.history.state.orders.of, OrderRole):
            if live is not None and not live.cancel_wanted:
                self.feed(orders.OrderClosed(order_ref=live.ref, cause="Cancelled", filled_qty_total=0))

    @rule(bid=st.sampled_from([0, 5, 200, 320, 495, 760, 1010]))
    def quote_comes(self, bid: int) -> None:
        self.history.quote(bid, bid + 10)
        self.collect()

    @rule(seconds=st.sampled_from([0.25, 1, 2, 5, 12]))
    def time_passes(self, seconds: float) -> None:
        for _ in range(max(round(seconds), 1)):
            for order in self.of_stage("transit"):
                if self.history.now - order.sent_utc >= TRANSIT_MAX - SECOND:
                    self.arrive(order, "works" if self.is_up else "lost")
            self.history.wait(1000 * min(seconds, 1))
            self.collect()

    @rule(reason=st.sampled_from([ExitReason.KILL, ExitReason.EOD]))
    def everything_must_go(self, reason: ExitReason) -> None:
        self.feed(positions.FlattenPosition(reason=reason))

    @precondition(lambda self: self.is_up)
    @rule()
    def link_fails(self) -> None:
        self.is_up = False
        self.session.append(self.mode(Mode.DEGRADED))

    @precondition(lambda self: not self.is_up)
    @rule()
    def link_comes_back(self) -> None:
        self.is_up = True
        refs, self.unanswered = self.unanswered, []
        self.session += [self.answer(ref) for ref in refs]
        self.session.append(self.mode(Mode.WARMUP))
        held = ((812, self.position),) if self.position else ()
        finished = session.ReconcileFinished(session_epoch=2, positions=held, read_utc=self.history.now)
        self.session.append(finished)

    def mode(self, mode: Mode) -> Message:
        return session.ModeChanged(mode=mode, mode_n=1, session_epoch=1, cause="test", at_utc=self.history.now)

    @rule(is_slow=st.booleans())
    def ledger_slows_down_or_catches_up(self, is_slow: bool) -> None:
        self.is_ledger_slow = is_slow

    @rule()
    def trading_halts_or_goes_on(self) -> None:
        self.is_halted = not self.is_halted
        halt = market.HaltChanged(ticker="SPX", is_halted=self.is_halted, at_utc=self.history.now)
        self.feed(halt)

    @precondition(lambda self: self.is_up and self.position > 0 and not self.on_sale())
    @rule()
    def somebody_else_sells_one(self) -> None:
        self.position -= 1
        self.session.append(self.read_position())

    @rule()
    def actor_crashes(self) -> None:
        self.history.restart(self.restored())
        self.collect()

    def restored(self) -> restored.PositionRestored | None:
        if not self.is_reserved:
            return None
        entry = self.orders.get(ENTRY)
        fills = tuple(
            order_fill(o.ref, Side.SELL if o.is_exit else Side.BUY, o.filled, o.cost, fees_cents=0)
            for o in self.orders.values()
            if o.filled
        )
        row, last = self.row, self.intents[-1] if self.intents else None
        state = row.state if row is not None else PositionState.PENDING_ENTRY
        is_newer = last is not None and (row is None or last.exit_n > row.exit_n)
        return restored.PositionRestored(
            reservation=reservation(entry.qty if entry is not None else 4), fills=fills,
            state=PositionState.PENDING_EXIT if is_newer else state,
            exit_reason=last.reason if last is not None else row and row.exit_reason,
            exit_kind=last.kind if last is not None else row and row.exit_kind,
            exit_n=last.exit_n if last is not None else 0, exit_order_ref=last.order_ref if last is not None else None,
            tier=last.tier if last is not None else Tier.NONE, entry_spot_ticks=600_000, entry_iv=None,
            opened_utc=row.opened_utc if row is not None else None, took_part=bool(row is not None and row.took_part),
        )  # fmt: skip

    # -- the promises --------------------------------------------------------------------------

    @invariant()
    def never_two_exit_orders(self) -> None:
        assert sum(order.is_alive for order in self.orders.values() if order.is_exit) <= 1

    @invariant()
    def never_more_on_sale_than_held(self) -> None:
        assert self.on_sale() <= self.position

    @invariant()
    def entry_is_sent_once(self) -> None:
        sent = [m for m in self.history.all(orders.SubmitOrder) if not m.order.is_exit]
        assert len(sent) <= 1

    @invariant()
    def flat_means_flat(self) -> None:
        if self.history.cycle() is PositionState.FLAT and not self.commands:
            is_gone = self.history.state.end is EndReason.BROKER_LIQUIDATION
            assert self.history.state.fills.held == 0 or is_gone
            assert self.position == 0
            assert not any(order.is_alive for order in self.orders.values())

    def teardown(self) -> None:
        """With an honest broker and time, everything that must go does go."""
        if self.history.cycle() is PositionState.FLAT:
            return
        if not self.is_up:
            self.link_comes_back()
        if self.is_halted:
            self.trading_halts_or_goes_on()
        self.everything_must_go(ExitReason.KILL)
        for _ in range(60):
            while self.commands or self.session or self.ledger:
                if self.commands:
                    self.session_takes_a_command(False, 0)
                elif self.session:
                    self.session_says(False)
                else:
                    self.ledger_says(False)
            for order in self.of_stage("transit"):
                self.arrive(order, "works")
            for order in self.of_stage("working"):
                self.trade(order, order.qty - order.filled, 300)
            self.session.append(self.read_position())
            self.time_passes(2)
            self.never_more_on_sale_than_held()
            self.never_two_exit_orders()
            self.flat_means_flat()
            if self.history.cycle() is PositionState.FLAT:
                return
        raise AssertionError(f"not flat after two minutes of an honest broker: {self.history.state}")


TestWorld = World.TestCase
TestWorld.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
