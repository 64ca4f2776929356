"""A position driven by a history of messages: the tests play broker session, ledger, quotes, clock and timers."""

from __future__ import annotations

from datetime import date, time
from functools import cache

from actors.position import PositionActor
from actors.position.state import PositionData
from config.settings import Settings, load_settings
from domain.instants import MS, SECOND, at_exchange
from domain.instruments import Contract, Greeks, OrderType, Quote, Right, Side, Spot
from domain.orders.intent import DecisionPrices, Permit, PositionRef
from domain.orders.request import OrderChange, OrderRequest
from domain.orders.tiers import Tier
from domain.position.cycle import ExitKind, ExitReason, PositionState
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.signals.alert import AlertKey
from domain.units import Cents, Qty, Ticks, Utc
from messages import broker, entries, market, orders, positions, restored, session
from messages.base import Message
from tests.testkit.probe import Outbox, Probe, T

SESSION = date(2026, 11, 20)
T0 = at_exchange(SESSION, time(10, 30))
CLOSE = at_exchange(SESSION, time(16, 0))
SPXW = Contract(812, "SPX", "SPXW", SESSION, Ticks(600_000), Right.CALL)
NAME = "position:paper:812"
STEM = "ZH-paper-ABCDEFGHIJKL"
ENTRY = f"{STEM}-e"
EXIT_1 = f"{STEM}-x1"
EXIT_2 = f"{STEM}-x2"
REF = PositionRef(
    position_id=STEM, intent_id="intent-1", key=AlertKey("gexwatch", "SPX", "GAMMA_FLIP", 1, T0), strategy="gexwatch",
    direction=1, contract=SPXW,
)  # fmt: skip


@cache
def settings() -> Settings:
    return load_settings(profile="real")


settings()  # at import, so that the children of a mutation run need not load it each


class History(Probe[PositionData]):
    """One incarnation after another of a position; where `records_exits`, the ledger answers each exit intent."""

    def __init__(self, ref: PositionRef = REF) -> None:
        super().__init__(PositionActor(NAME, settings()), T0)
        self.ref = ref
        self.records_exits = True
        self.executions = 0
        self.start()

    def feed(self, message: Message, at: Utc | None = None) -> Outbox:
        outbox = super().feed(message, at)
        effects = list(outbox.effects)
        if self.records_exits:
            for intent in outbox.told(orders.RecordExitIntent):
                effects += self.feed(orders.ExitIntentRecorded(order_ref=intent.order_ref, tier=intent.tier)).effects
        return Outbox(effects)

    def restart(self, known: restored.PositionRestored | None) -> Outbox:
        """Crash: only what the ledger knows comes back; timers are lost."""
        self.state, self.timers = self.actor.initial(), {}
        return self.start(known, incarnation=2)

    def wait(self, ms: float) -> Outbox:
        """Let time pass; timers fire in order."""
        return self.advance(Utc(self.now + round(ms * MS)))

    def all(self, kind: type[T], to: str | None = None) -> list[T]:
        """Return what was sent of a class so far: everything told or published, or what was told to one role."""
        if to is not None:
            return self.sent.told(kind, to)
        return [message for message in self.sent.messages if isinstance(message, kind)]

    def last(self, kind: type[T]) -> T:
        return self.all(kind)[-1]

    @property
    def last_order(self) -> OrderRequest:
        return self.last(orders.SubmitOrder).order

    @property
    def last_change(self) -> OrderChange:
        return self.last(orders.ModifyOrder).change

    def cycle(self) -> PositionState:
        """Return the state of the position now (no property: mypy would hold it to be what an earlier assert saw)."""
        return self.state.cycle

    @property
    def wanted_reason(self) -> ExitReason | None:
        return None if self.state.wanted is None else self.state.wanted.reason

    # -- what others say -----------------------------------------------------------------------

    def open(self, qty: int = 2, limit: int = 500, ask: int = 505, permit_ms: int = 2000) -> Outbox:
        return self.feed(
            entries.OpenPosition(
                ref=self.ref, order_ref=ENTRY, qty=Qty(qty), limit_ticks=Ticks(limit),
                decision=DecisionPrices(Ticks(490), Ticks(ask), Ticks(600_000)), permit=self.permit(permit_ms),
                deadline_utc=self.now + 10 * SECOND,
            )
        )  # fmt: skip

    def permit(self, for_ms: int) -> Permit:
        return Permit(kill_epoch=0, session_epoch=1, expires_utc=self.now + for_ms * MS)

    def order_sent(self, ref: str = ENTRY) -> Outbox:
        return self.feed(broker.OrderSent(order_ref=ref, session_epoch=1, order_id=7, sent_utc=self.now))

    def ack(self, ref: str = ENTRY) -> Outbox:
        return self.feed(orders.OrderAcknowledged(order_ref=ref, perm_id=99))

    def fill(
        self, qty: int, price: int, ref: str = ENTRY, total: int | None = None, *, is_durable: bool = True,
        is_price_known: bool = True,
    ) -> Outbox:  # fmt: skip
        """A recorded fill; totals follow from what the position knows, unless given."""
        self.executions += 1
        row = self.state.fills.row(ref)
        before, cost = (0, 0) if row is None else (row.qty, row.cost_ticks)
        return self.feed(
            orders.FillRecorded(
                order_ref=ref, con_id=812, side=self.ref.side if ref.endswith("-e") else self.ref.side.opposite,
                exec_id=f"0001.{self.executions}", revision=1, qty=Qty(qty), price_ticks=Ticks(price), at_utc=self.now,
                filled_qty_total=Qty(before + qty if total is None else total),
                filled_cost_ticks_total=cost + qty * price, is_durable=is_durable, is_price_known=is_price_known,
            )
        )  # fmt: skip

    def fee(self, cents: int, ref: str = ENTRY) -> Outbox:
        return self.feed(
            orders.CommissionRecorded(
                order_ref=ref, con_id=812, commission_cents_total=Cents(cents),
                charged_qty_total=self.state.fills.filled(ref),
            )
        )  # fmt: skip

    def ended(self, ref: str, total: int, cause: str = "Filled") -> Outbox:
        return self.feed(orders.OrderClosed(order_ref=ref, cause=cause, filled_qty_total=Qty(total)))

    def found(
        self, ref: str, *, working: bool, filled: int, qty: int = 2, order_type: OrderType | None = None,
        limit: int | None = None,
    ) -> Outbox:  # fmt: skip
        return self.feed(
            orders.OrderFound(
                order_ref=ref, perm_id=99, is_working=working, filled_qty=Qty(filled), qty=Qty(qty),
                order_type=order_type, limit_ticks=None if limit is None else Ticks(limit),
                status="Submitted" if working else "Filled", read_back_utc=self.now,
            )
        )  # fmt: skip

    def missing(self, ref: str) -> Outbox:
        return self.feed(orders.OrderNotFound(order_ref=ref, read_back_utc=self.now))

    def broker(self, qty: int) -> Outbox:
        return self.feed(positions.BrokerPositionRead(con_id=812, qty=Qty(qty), read_utc=self.now))

    def taken_back(self, qty: int) -> Outbox:
        """Say what the broker holds, and that the ledger has taken it back as ours."""
        told = positions.BrokerPositionRead(con_id=812, qty=Qty(qty), read_utc=self.now, is_taken_back=True)
        return self.feed(told)

    def quote(self, bid: int | None, ask: int | None, spot: int = 600_000, iv: float | None = None) -> Outbox:
        greeks = None if iv is None else Greeks(iv, 0.5, 0.01, -1.0, 0.1, Ticks(spot), self.now)
        quote = Quote(
            812, None if bid is None else Ticks(bid), None if ask is None else Ticks(ask), Qty(10), Qty(10), self.now,
            greeks=greeks,
        )  # fmt: skip
        return self.feed(market.QuoteChanged(con_id=812, quote=quote, spot=Spot("SPX", Ticks(spot), self.now)))

    def phase(self, phase: Phase) -> Outbox:
        return self.feed(
            session.PhaseChanged(
                phase=phase, session=SESSION, open_utc=T0 - 3600 * SECOND, close_utc=CLOSE, at_utc=self.now
            )
        )

    def mode(self, mode: Mode, *, exits_go_on: bool = False) -> Outbox:
        return self.feed(
            session.ModeChanged(
                mode=mode, mode_n=1, session_epoch=1, cause="test", at_utc=self.now, exits_go_on=exits_go_on
            )
        )

    def reconciled(self, qty: int) -> Outbox:
        held = ((812, Qty(qty)),) if qty else ()
        return self.feed(session.ReconcileFinished(session_epoch=2, positions=held, read_utc=self.now))

    # -- stretches of a life -------------------------------------------------------------------

    def hold(self, qty: int = 2, price: int = 500) -> None:
        """Open, acknowledged and filled at once, with a fresh quote at the fill."""
        self.open(qty, limit=price)
        self.order_sent()
        self.ack()
        self.quote(price - 5, price + 5)
        self.fill(qty, price)
        self.ended(ENTRY, qty)
        self.broker(qty if self.ref.side is Side.BUY else -qty)
        self.wait(1)

    def run_to_exit(self, ref: str = EXIT_1) -> None:
        """The exit order that was just sent is acknowledged."""
        self.order_sent(ref)
        self.ack(ref)


def held(qty: int = 2) -> History:
    """Return a position that holds so many."""
    history = History()
    history.hold(qty)
    return history


def held_live(qty: int = 2) -> History:
    """Return a position that holds so many, in a session that is fully live."""
    history = held(qty)
    history.mode(Mode.FULLY_LIVE)
    return history


def closed() -> History:
    """Return a position that was closed, and agreed on."""
    history = held_live()
    flatten(history)
    history.run_to_exit()
    history.fill(2, 490, EXIT_1)
    history.broker(0)
    history.wait(settings().exits.record_wait_ms)
    assert history.cycle() is PositionState.FLAT
    return history


def quoted_for(history: History, seconds: int, bid: int = 495) -> None:
    """Let time pass with a market that stands still."""
    for _ in range(seconds):
        history.wait(1000)
        history.quote(bid, bid + 10)


def flatten(history: History, reason: ExitReason = ExitReason.OPERATOR) -> None:
    """Have the position closed."""
    history.feed(positions.FlattenPosition(reason=reason))


def tape(history: History, quotes: list[tuple[int, int]], gap_ms: int = 300) -> None:
    """Let quotes come, one every `gap_ms`."""
    for bid, ask in quotes:
        history.wait(gap_ms)
        history.quote(bid, ask)


# -- what the ledger gives back --------------------------------------------------------------------


def reservation(qty: int = 2, *, is_open: bool = True) -> restored.Reservation:
    return restored.Reservation(
        ref=REF, order_ref=ENTRY, qty=Qty(qty), limit_ticks=Ticks(500), deadline_utc=T0 + 10 * SECOND, is_open=is_open
    )


def order_fill(ref: str, side: Side, qty: int, cost_ticks: int, fees_cents: int = 130) -> restored.OrderFill:
    """All of the order's contracts are charged."""
    return restored.OrderFill(
        order_ref=ref, is_exit=ref != ENTRY, side=side, qty=Qty(qty), cost_ticks=cost_ticks,
        fees_cents=Cents(fees_cents), charged_qty=Qty(qty), first_utc=T0,
    )  # fmt: skip


def pending_position() -> restored.PositionRestored:
    """A reserved entry of which nothing more is known."""
    return restored.PositionRestored(
        reservation=reservation(is_open=False), fills=(), state=PositionState.PENDING_ENTRY, exit_reason=None,
        exit_kind=None, exit_n=0, exit_order_ref=None, tier=Tier.NONE, entry_spot_ticks=None, entry_iv=None,
        opened_utc=None, took_part=False,
    )  # fmt: skip


def held_position(
    *fills: restored.OrderFill, exit_reason: ExitReason | None = None, tier: Tier = Tier.NONE
) -> restored.PositionRestored:
    """Two contracts bought at 5.00, and other fills; with a reason their first exit order was recorded at the tier."""
    is_exiting = exit_reason is not None
    return restored.PositionRestored(
        reservation=reservation(), fills=(order_fill(ENTRY, Side.BUY, 2, 1000), *fills),
        state=PositionState.PENDING_EXIT if is_exiting else PositionState.OPEN, exit_reason=exit_reason,
        exit_kind=ExitKind.FULL if is_exiting else None, exit_n=1 if is_exiting else 0,
        exit_order_ref=EXIT_1 if is_exiting else None, tier=tier, entry_spot_ticks=Ticks(600_000), entry_iv=None,
        opened_utc=T0, took_part=False,
    )  # fmt: skip
