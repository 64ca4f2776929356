"""Messages for the broker session's actor, and a history that feeds them and remembers what came out."""

from __future__ import annotations

from datetime import date
from typing import Any, TypeVar

from actors.ibkr.actor import IbkrActor
from actors.ibkr.state import IbkrState
from domain.instants import MS, SECOND
from domain.instruments import Contract, OrderType, Right, Side
from domain.orders.table import CodeMeaning, Order, find
from domain.session.modes import Mode
from messages import orders as m
from messages import positions, risk
from messages import session as s
from messages.base import Message
from messages.lifecycle import Started, TimerFired
from supervision.effects import SetTimer, Tell
from tests.testkit.ibkr_world import SETTINGS

T = TypeVar("T", bound=Message)
CALL = Contract(7, "SPX", "SPXW", date(2026, 11, 20), 600_000, Right.CALL)
ENTRY, EXIT = "ZH-paper-aaaaaaaaaaaa-e", "ZH-paper-aaaaaaaaaaaa-x1"
OWNER = "position:paper:7"
NOON = 1_795_194_000 * SECOND


class History:
    """Feeds the actor, one message a millisecond; timers that are due fire in between."""

    def __init__(self, settings: Any = SETTINGS) -> None:
        self.actor = IbkrActor("ibkr:paper", settings)
        self.state: IbkrState = self.actor.initial()
        self.now = NOON
        self.said: list[Tell] = []
        self.timers: dict[str, int] = {}

    def feed(self, *messages: Message) -> list[Tell]:
        """Give messages; returns what this made the actor say."""
        at = len(self.said)
        for message in messages:
            self.now += MS
            self.state, effects = self.actor.decide(self.state, message, self.now)
            for effect in effects:
                match effect:
                    case Tell():
                        self.said.append(effect)
                    case SetTimer(key=key, at_utc=at_utc):
                        self.timers[key] = at_utc
                    case _:
                        self.timers.pop(effect.key, None)
        return self.said[at:]

    def sleep(self, seconds: float) -> list[Tell]:
        """Let time pass; what is due fires in its order."""
        at, until = len(self.said), self.now + int(seconds * SECOND)
        while self.timers and min(self.timers.values()) <= until:
            key = min(self.timers, key=lambda k: (self.timers[k], k))
            self.now = max(self.now, self.timers.pop(key))
            self.feed(TimerFired(key=key, due_utc=self.now))
        self.now = until
        return self.said[at:]

    def told(self, kind: type[T], to: str | None = None) -> list[T]:
        return [t.message for t in self.said if isinstance(t.message, kind) and to in (None, t.to)]

    @property
    def epoch(self) -> int:
        return self.state.session_epoch

    def order(self, ref: str) -> Order:
        found = find(self.state.table, ref)
        assert found is not None
        return found

    # -- the broker's side ----------------------------------------------------------------------

    def start(self, restored: Any = None, run_n: int = 1) -> History:
        self.feed(Started(name="ibkr:paper", incarnation=1, run_n=run_n, restored=restored))
        return self

    def up(self, **more: Any) -> list[Tell]:
        fields: dict[str, Any] = {
            "session_epoch": self.epoch, "gateway_n": 0, "port": 4002, "account_class": "paper",
            "account_matches": True, "next_order_id": 1,
        }  # fmt: skip
        return self.feed(s.LinkUp(**(fields | more)))

    def read(self, *orders: s.BrokerOrder, executions: Any = (), held: dict[int, int] | None = None) -> list[Tell]:
        """Answer the read-back under way and let the ledger find nothing wrong."""
        return self.broker_read(*orders, executions=executions, held=held) + self.reconciled()

    def broker_read(
        self, *orders: s.BrokerOrder, executions: Any = (), held: dict[int, int] | None = None
    ) -> list[Tell]:
        assert self.state.reading is not None
        rows = tuple(
            s.BrokerPosition(contract=Contract(con_id, *_rest()), qty=qty, avg_cost_cents=0)
            for con_id, qty in (held or {}).items()
        )
        return self.feed(
            s.BrokerRead(
                session_epoch=self.epoch, read_n=self.state.reading, orders=orders, executions=tuple(executions),
                positions=rows, read_utc=self.now,
            )
        )  # fmt: skip

    def reconciled(self, **more: Any) -> list[Tell]:
        fields: dict[str, Any] = {
            "session_epoch": self.epoch, "adopted_fills": 0, "cancel_refs": (), "foreign_positions": (),
            "foreign_orders": (), "unverified": (), "mismatches": (),
        }  # fmt: skip
        return self.feed(s.Reconciled(**(fields | more)))

    def live(self, held: dict[int, int] | None = None) -> History:
        """Take the session to FULLY_LIVE."""
        self.start()
        self.up()
        self.read(held=held)
        self.sleep(60)
        assert self.state.mode is Mode.FULLY_LIVE
        self.said.clear()
        return self

    def status(self, ref: str, status: str, **more: Any) -> list[Tell]:
        fields: dict[str, Any] = {
            "session_epoch": self.epoch, "order_ref": ref, "perm_id": 900, "status": status, "filled_qty": 0,
            "remaining_qty": 2, "qty": 2, "order_type": OrderType.LIMIT, "limit_ticks": 500, "raw": "",
        }  # fmt: skip
        return self.feed(m.StatusHeard(**(fields | more)))

    def fill(self, ref: str, qty: int, exec_id: str = "e1", side: Side = Side.BUY, revision: int = 1) -> list[Tell]:
        return self.feed(
            m.ExecutionHeard(
                session_epoch=self.epoch, exec_id=exec_id, revision=revision, order_ref=ref, perm_id=900,
                contract=CALL, side=side, qty=qty, price_ticks=500, at_utc=self.now, raw="",
            )
        )  # fmt: skip

    def error(self, ref: str | None, code: int, meaning: CodeMeaning, text: str = "text") -> list[Tell]:
        return self.feed(
            m.ErrorHeard(session_epoch=self.epoch, order_ref=ref, vendor_code=code, text=text, meaning=meaning)
        )

    def holds(self, qty: int) -> list[Tell]:
        return self.feed(
            positions.BrokerPositionHeard(session_epoch=self.epoch, contract=CALL, qty=qty, avg_cost_cents=0)
        )

    # -- the position's side --------------------------------------------------------------------

    def submit(self, ref: str = ENTRY, **more: Any) -> list[Tell]:
        permit = m.Permit(kill_epoch=self.state.kill_epoch, session_epoch=self.epoch, expires_utc=self.now + 2 * SECOND)
        fields: dict[str, Any] = {
            "order_ref": ref, "reply_to": OWNER, "contract": CALL, "side": Side.BUY, "qty": 2,
            "order_type": OrderType.LIMIT, "limit_ticks": 500, "is_exit": False, "permit": permit,
            "deadline_utc": self.now + 10 * SECOND,
        }  # fmt: skip
        return self.feed(m.SubmitOrder(**(fields | more)))

    def submit_exit(self, ref: str = EXIT, qty: int = 2, held: int = 2, **more: Any) -> list[Tell]:
        return self.submit(
            ref, **({"side": Side.SELL, "qty": qty, "held_qty": held, "is_exit": True, "permit": None} | more)
        )

    def modify(self, ref: str = ENTRY, **more: Any) -> list[Tell]:
        fields: dict[str, Any] = {
            "order_ref": ref, "reply_to": OWNER, "qty": 2, "order_type": OrderType.LIMIT, "limit_ticks": 520,
            "is_exit": ref == EXIT, "permit": None, "deadline_utc": self.now + 10 * SECOND,
        }  # fmt: skip
        return self.feed(m.ModifyOrder(**(fields | more)))

    def cancel(self, ref: str = ENTRY) -> list[Tell]:
        return self.feed(m.CancelOrder(order_ref=ref, reply_to=OWNER))

    def query(self, ref: str = ENTRY) -> list[Tell]:
        return self.feed(m.QueryOrder(order_ref=ref, reply_to=OWNER))

    def sent(self, ref: str = ENTRY) -> list[Tell]:
        return self.feed(m.OrderSent(order_ref=ref, session_epoch=self.epoch, order_id=1, sent_utc=self.now))

    def working(self, ref: str = ENTRY) -> History:
        """Send an order and have it acknowledged."""
        if ref == EXIT:
            self.submit_exit(ref)
        else:
            self.submit(ref)
        self.sent(ref)
        self.status(ref, "working")
        self.said.clear()
        return self

    def raise_kill(self, level: int, epoch: int = 1) -> list[Tell]:
        return self.feed(risk.KillRaised(level=level, kill_epoch=epoch, reason="test", by="test"))


def _rest() -> tuple[Any, ...]:
    return (CALL.ticker, CALL.trading_class, CALL.expiry, CALL.strike_ticks, CALL.right)


def broker_order(ref: str, **more: Any) -> s.BrokerOrder:
    """A working order of a read-back unless said."""
    fields: dict[str, Any] = {
        "order_ref": ref, "perm_id": 900, "con_id": 7, "side": Side.BUY, "qty": 2, "filled_qty": 0,
        "order_type": OrderType.LIMIT, "limit_ticks": 500, "status": "working", "is_working": True,
    }  # fmt: skip
    return s.BrokerOrder(**(fields | more))


def broker_fill(ref: str, qty: int, exec_id: str = "e1", revision: int = 1, side: Side = Side.BUY) -> s.BrokerExecution:
    """An execution of a read-back."""
    return s.BrokerExecution(
        exec_id=exec_id, revision=revision, order_ref=ref, perm_id=900, con_id=7, side=side, qty=qty,
        price_ticks=500, at_utc=NOON, raw="",
    )  # fmt: skip
