"""A position driven by a history of messages: the tests play broker session, ledger, quotes, clock and timers."""

from __future__ import annotations

from datetime import date, time
from functools import cache
from typing import TypeVar

from actors.position.actor import PositionActor
from config.settings import Settings, load_settings
from domain.instants import MS, SECOND, at_exchange
from domain.instruments import Contract, Greeks, Quote, Right, Side, Spot
from domain.position.cycle import PositionState
from domain.session.modes import Mode
from domain.session.phases import Phase
from messages import lifecycle, market, orders, positions, session
from messages.base import Message
from supervision.effects import CancelTimer, Retire, SetTimer, Tell

M = TypeVar("M", bound=Message)
SESSION = date(2026, 11, 20)
T0 = at_exchange(SESSION, time(10, 30))
CLOSE = at_exchange(SESSION, time(16, 0))
SPXW = Contract(812, "SPX", "SPXW", SESSION, 600_000, Right.CALL)
NAME = "position:paper:812"
STEM = "ZH-paper-ABCDEFGHIJKL"
ENTRY = f"{STEM}-e"
EXIT_1 = f"{STEM}-x1"
EXIT_2 = f"{STEM}-x2"


@cache
def settings() -> Settings:
    return load_settings(profile="real")


class History:
    """One incarnation after another of a position, with its timers and everything that it said."""

    def __init__(self) -> None:
        self.actor = PositionActor(NAME, settings())
        self.now = T0
        self.state = self.actor.initial()
        self.timers: dict[str, int] = {}
        self.told: list[tuple[str, Message]] = []
        self.is_retired = False
        self.records_exits = True
        self.executions = 0
        self.hear(lifecycle.Started(name=NAME, incarnation=1, run_n=1))

    def hear(self, message: Message) -> list[Message]:
        """Let it decide on one message; give what it said."""
        self.state, effects = self.actor.decide(self.state, message, self.now)
        said: list[Message] = []
        for effect in effects:
            match effect:
                case Tell():
                    self.told.append((effect.to, effect.message))
                    said.append(effect.message)
                case SetTimer():
                    self.timers[effect.key] = effect.at_utc
                case CancelTimer():
                    self.timers.pop(effect.key, None)
                case Retire():
                    self.is_retired = True
        if self.records_exits:
            for intent in said:
                if isinstance(intent, orders.RecordExitIntent):
                    said += self.hear(orders.ExitIntentRecorded(order_ref=intent.order_ref, tier=intent.tier))
        return said

    def restart(self, known: lifecycle.PositionRestored | None) -> list[Message]:
        """Crash: only what the ledger knows comes back; timers are lost."""
        self.state, self.timers = self.actor.initial(), {}
        return self.hear(lifecycle.Started(name=NAME, incarnation=2, run_n=1, restored=known))

    def wait(self, ms: float) -> list[Message]:
        """Let time pass; timers fire in order."""
        until, said = self.now + round(ms * MS), []
        while self.timers and min(self.timers.values()) <= until:
            key = min(self.timers, key=lambda k: (self.timers[k], k))
            due = self.timers.pop(key)
            self.now = max(self.now, due)
            said += self.hear(lifecycle.TimerFired(key=key, due_utc=due))
        self.now = until
        return said

    def all(self, kind: type[M], to: str | None = None) -> list[M]:
        return [m for name, m in self.told if isinstance(m, kind) and to in (None, name)]

    def last(self, kind: type[M]) -> M:
        return self.all(kind)[-1]

    @property
    def cycle(self) -> PositionState:
        return self.state.cycle

    # -- what others say -----------------------------------------------------------------------

    def open(self, qty: int = 2, limit: int = 500, ask: int = 505, permit_ms: int = 2000) -> list[Message]:
        permit = orders.Permit(kill_epoch=0, session_epoch=1, expires_utc=self.now + permit_ms * MS)
        return self.hear(
            orders.OpenPosition(
                intent_id="intent-1", signal_id="signal-1", source="gexwatch", strategy="gexwatch", direction=1,
                contract=SPXW, order_ref=ENTRY, qty=qty, limit_ticks=limit, decision_bid_ticks=490,
                decision_ask_ticks=ask, decision_spot_ticks=600_000, permit=permit,
                deadline_utc=self.now + 10 * SECOND,
            )
        )  # fmt: skip

    def sent(self, ref: str = ENTRY) -> list[Message]:
        return self.hear(orders.OrderSent(order_ref=ref, session_epoch=1, order_id=7, sent_utc=self.now))

    def ack(self, ref: str = ENTRY) -> list[Message]:
        return self.hear(orders.OrderAcknowledged(order_ref=ref, perm_id=99))

    def fill(self, qty: int, price: int, ref: str = ENTRY, total: int | None = None) -> list[Message]:
        """A recorded fill; totals follow from what the position has booked, unless said."""
        self.executions += 1
        row = next((r for r in self.state.book.rows if r.order_ref == ref), None)
        before, cost = (row.qty, row.cost_ticks) if row is not None else (0, 0)
        return self.hear(
            orders.FillRecorded(
                order_ref=ref, con_id=812, side=Side.BUY if ref.endswith("-e") else Side.SELL,
                exec_id=f"0001.{self.executions}", revision=1, qty=qty, price_ticks=price, at_utc=self.now,
                filled_qty_total=before + qty if total is None else total, filled_cost_ticks_total=cost + qty * price,
            )
        )  # fmt: skip

    def fee(self, cents: int, ref: str = ENTRY) -> list[Message]:
        row = next((r for r in self.state.book.rows if r.order_ref == ref), None)
        return self.hear(
            orders.CommissionRecorded(
                order_ref=ref, con_id=812, commission_cents_total=cents, charged_qty_total=row.qty if row else 0
            )
        )

    def ended(self, ref: str, total: int, cause: str = "Filled") -> list[Message]:
        return self.hear(orders.OrderClosed(order_ref=ref, cause=cause, filled_qty_total=total))

    def found(self, ref: str, *, working: bool, filled: int, qty: int = 2, **changes: object) -> list[Message]:
        facts = {"order_type": None, "limit_ticks": None, "status": "Submitted" if working else "Filled"}
        return self.hear(
            orders.OrderFound(
                order_ref=ref, perm_id=99, is_working=working, filled_qty=filled, qty=qty, read_back_utc=self.now,
                **(facts | changes),
            )
        )  # fmt: skip

    def missing(self, ref: str) -> list[Message]:
        return self.hear(orders.OrderNotFound(order_ref=ref, read_back_utc=self.now))

    def broker(self, qty: int) -> list[Message]:
        return self.hear(positions.BrokerPositionRead(con_id=812, qty=qty, read_utc=self.now))

    def quote(self, bid: int | None, ask: int | None, spot: int = 600_000, iv: float | None = None) -> list[Message]:
        greeks = None if iv is None else Greeks(iv, 0.5, 0.01, -1.0, 0.1, spot, self.now)
        quote = Quote(812, bid, ask, 10, 10, self.now, greeks=greeks)
        return self.hear(market.QuoteChanged(con_id=812, quote=quote, spot=Spot("SPX", spot, self.now)))

    def phase(self, phase: Phase) -> list[Message]:
        return self.hear(
            session.PhaseChanged(phase=phase, session=SESSION, open_utc=T0 - 3600 * SECOND, close_utc=CLOSE,
                                 at_utc=self.now)
        )  # fmt: skip

    def mode(self, mode: Mode) -> list[Message]:
        return self.hear(
            session.ModeChanged(mode=mode, mode_n=1, session_epoch=1, cause="test", at_utc=self.now)
        )  # fmt: skip

    def reconciled(self, qty: int) -> list[Message]:
        held = ((812, qty),) if qty else ()
        return self.hear(session.ReconcileFinished(session_epoch=2, positions=held, read_utc=self.now))

    # -- stretches of a life -------------------------------------------------------------------

    def hold(self, qty: int = 2, price: int = 500) -> None:
        """Open, acknowledged and filled at once, with a fresh quote at the fill."""
        self.open(qty, limit=price)
        self.sent()
        self.ack()
        self.quote(price - 5, price + 5)
        self.fill(qty, price)
        self.ended(ENTRY, qty)
        self.broker(qty)
        self.wait(1)

    def run_to_exit(self, ref: str = EXIT_1) -> None:
        """The exit order that was just sent is acknowledged."""
        self.sent(ref)
        self.ack(ref)


def tape(history: History, quotes: list[tuple[int, int]], gap_ms: int = 300) -> None:
    """Let quotes come, one every `gap_ms`."""
    for bid, ask in quotes:
        history.wait(gap_ms)
        history.quote(bid, ask)
