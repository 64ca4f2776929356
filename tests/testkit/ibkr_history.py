"""Messages for the broker session's actor, and a history that feeds them and remembers what came out."""

from __future__ import annotations

from datetime import date
from typing import Any, TypeVar

from actors.ibkr import IBKRActor
from actors.ibkr.state import IBKRState
from config.settings import Settings
from domain.instants import MS, SECOND
from domain.instruments import Contract, OrderType, Right, Side
from domain.orders.intent import Permit
from domain.orders.request import OrderChange, OrderRequest
from domain.orders.table import CodeMeaning, Order, OrderStatus, find
from domain.risk.kill import KillLevel
from domain.session.modes import AccountClass, Mode
from messages import broker, orders, risk, session
from messages.base import Event, Message
from messages.restored import IbkrRestored
from tests.testkit.ibkr_world import SETTINGS
from tests.testkit.probe import Outbox, Probe

T = TypeVar("T", bound=Message)
E = TypeVar("E", bound=Event)
CALL = Contract(7, "SPX", "SPXW", date(2026, 11, 20), 600_000, Right.CALL)
ENTRY, EXIT, EXIT_2 = "ZH-paper-aaaaaaaaaaaa-e", "ZH-paper-aaaaaaaaaaaa-x1", "ZH-paper-aaaaaaaaaaaa-x2"
OWNER = "position:paper:7"
PORT = "port:ibkr:paper"
NOON = 1_795_194_000 * SECOND


class History:
    """Feeds the actor, one message a millisecond; timers that are due fire in between."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.probe: Probe[IBKRState] = Probe(IBKRActor("ibkr:paper", settings), NOON)

    def feed(self, *messages: Message) -> Outbox:
        """Feed messages; returns what this made the actor send out."""
        at = len(self.probe.sent.effects)
        for message in messages:
            self.probe.feed(message, self.probe.now + MS)
        return Outbox(self.probe.sent.effects[at:])

    def sleep(self, seconds: float) -> Outbox:
        """Let time pass; what is due fires in its order."""
        return self.probe.advance(self.probe.now + int(seconds * SECOND))

    def told(self, kind: type[T], to: str | None = None) -> list[T]:
        return self.probe.sent.told(kind, to)

    def published(self, kind: type[E]) -> list[E]:
        return self.probe.sent.published(kind)

    @property
    def state(self) -> IBKRState:
        return self.probe.state

    @property
    def now(self) -> int:
        return self.probe.now

    @property
    def epoch(self) -> int:
        return self.state.session_epoch

    def order(self, ref: str) -> Order:
        found = find(self.state.table, ref)
        assert found is not None
        return found

    # -- the broker's side ----------------------------------------------------------------------

    def start(self, restored: IbkrRestored | None = None, run_n: int = 1) -> History:
        self.probe.now += MS
        self.probe.start(restored, run_n=run_n)
        return self

    def up(self, **more: Any) -> Outbox:
        fields: dict[str, Any] = {
            "session_epoch": self.epoch, "gateway_n": 0, "port": 4002, "account_class": AccountClass.PAPER,
            "account_matches": True, "next_order_id": 1,
        }  # fmt: skip
        return self.feed(broker.LinkUp(**(fields | more)))

    def lost(self, cause: str = "closed", *, is_socket_up: bool = False) -> Outbox:
        return self.feed(broker.LinkLost(session_epoch=self.epoch, cause=cause, is_socket_up=is_socket_up))

    def failed(self, why: str = "refused") -> Outbox:
        return self.feed(broker.LinkFailed(session_epoch=self.epoch, why=why))

    def back(self) -> Outbox:
        """Come back after a loss: the pause, the dial, the link."""
        self.sleep(0.6)
        return self.up()

    def read(self, *rows: broker.BrokerOrder, executions: Any = (), held: dict[int, int] | None = None) -> Outbox:
        """Answer the read-back under way and let the ledger find nothing wrong."""
        read = self.broker_read(*rows, executions=executions, held=held)
        return Outbox(read.effects + self.reconciled().effects)

    def broker_read(
        self, *rows: broker.BrokerOrder, executions: Any = (), held: dict[int, int] | None = None,
        failed: tuple[broker.GroupFailure, ...] = (),
    ) -> Outbox:  # fmt: skip
        assert self.state.reading is not None
        positions = tuple(
            broker.BrokerPosition(
                contract=Contract(con_id, CALL.ticker, CALL.trading_class, CALL.expiry, CALL.strike_ticks, CALL.right),
                qty=qty,
                avg_cost_cents=0,
            )
            for con_id, qty in (held or {}).items()
        )
        return self.feed(
            broker.BrokerRead(
                session_epoch=self.epoch, read_n=self.state.reading, orders=rows, executions=tuple(executions),
                positions=positions, read_utc=self.now, failed=failed,
            )
        )  # fmt: skip

    def read_but(
        self, *groups: broker.ReadGroup, why: str = "stalled", rows: Any = (), executions: Any = (),
        held: dict[int, int] | None = None,
    ) -> Outbox:  # fmt: skip
        """Answer the read-back under way without these groups, and let the ledger find nothing wrong."""
        failed = tuple(broker.GroupFailure(group, why) for group in groups)
        read = self.broker_read(*rows, executions=executions, held=held, failed=failed)
        return Outbox(read.effects + self.reconciled().effects)

    def reconciled(self, **more: Any) -> Outbox:
        """Answer for the ledger, about the read-back that came last, that there is nothing to say."""
        read = self.state.read
        fields: dict[str, Any] = {
            "session_epoch": self.epoch, "read_n": 0 if read is None else read.read_n, "adopted_fills": 0,
            "cancel_refs": (), "foreign_positions": (), "foreign_orders": (), "unverified": (), "mismatches": (),
        }  # fmt: skip
        return self.feed(session.Reconciled(**(fields | more)))

    def mode(self) -> Mode:
        """Return the mode now (no property: mypy would hold it to be what an earlier assert saw)."""
        return self.state.mode

    def live(self, held: dict[int, int] | None = None) -> History:
        """Take the session to FULLY_LIVE, and forget what it took."""
        self.start()
        self.up()
        self.read(held=held)
        self.sleep(60)
        assert self.state.mode is Mode.FULLY_LIVE
        self.probe.sent = Outbox([])
        return self

    def status(self, ref: str, status: OrderStatus, **more: Any) -> Outbox:
        fields: dict[str, Any] = {
            "session_epoch": self.epoch, "order_ref": ref, "perm_id": 900, "status": status, "filled_qty": 0,
            "remaining_qty": 2, "qty": 2, "order_type": OrderType.LIMIT, "limit_ticks": 500, "raw": "",
        }  # fmt: skip
        return self.feed(broker.OrderStatusReported(**(fields | more)))

    def fill(self, ref: str, qty: int, exec_id: str = "e1", side: Side = Side.BUY, revision: int = 1) -> Outbox:
        execution = broker_fill(ref, qty, exec_id, revision, side)
        return self.feed(broker.ExecutionReported(session_epoch=self.epoch, execution=execution))

    def error(self, ref: str | None, code: int, meaning: CodeMeaning, text: str = "text") -> Outbox:
        return self.feed(
            broker.ErrorReported(
                session_epoch=self.epoch, order_ref=ref, vendor_code=code, text=text, meaning=meaning
            )
        )  # fmt: skip

    def holds(self, qty: int) -> Outbox:
        return self.feed(
            broker.PositionReported(session_epoch=self.epoch, contract=CALL, qty=qty, avg_cost_cents=0)
        )  # fmt: skip

    # -- the position's side --------------------------------------------------------------------

    def submit(self, ref: str = ENTRY, *, held: int = 0, permit: Permit | str | None = "valid", **more: Any) -> Outbox:
        fields: dict[str, Any] = {
            "order_ref": ref, "contract": CALL, "side": Side.BUY, "qty": 2, "order_type": OrderType.LIMIT,
            "limit_ticks": 500, "is_exit": False, "deadline_utc": self.now + 10 * SECOND,
            "good_till_utc": None if permit is None and more.get("is_exit") else self.now + 15 * SECOND,
        }  # fmt: skip
        valid = Permit(self.state.kill_epoch, self.epoch, self.now + 2 * SECOND)
        return self.feed(
            orders.SubmitOrder(
                order=OrderRequest(**(fields | more)), reply_to=OWNER, held_qty=held,
                permit=valid if isinstance(permit, str) else permit,
            )
        )  # fmt: skip

    def submit_exit(self, ref: str = EXIT, qty: int = 2, held: int = 2, **more: Any) -> Outbox:
        return self.submit(ref, held=held, permit=None, **({"side": Side.SELL, "qty": qty, "is_exit": True} | more))

    def modify(self, ref: str = ENTRY, *, permit: Permit | None = None, **more: Any) -> Outbox:
        fields: dict[str, Any] = {
            "order_ref": ref, "qty": 2, "order_type": OrderType.LIMIT, "limit_ticks": 520, "is_exit": ref == EXIT,
            "deadline_utc": self.now + 10 * SECOND,
        }  # fmt: skip
        return self.feed(orders.ModifyOrder(change=OrderChange(**(fields | more)), reply_to=OWNER, permit=permit))

    def cancel(self, ref: str = ENTRY) -> Outbox:
        return self.feed(orders.CancelOrder(order_ref=ref, reply_to=OWNER))

    def query(self, ref: str = ENTRY) -> Outbox:
        return self.feed(orders.RequestOrderState(order_ref=ref, reply_to=OWNER))

    def sent(self, ref: str = ENTRY) -> Outbox:
        return self.feed(broker.OrderSent(order_ref=ref, session_epoch=self.epoch, order_id=1, sent_utc=self.now))

    def working(self, ref: str = ENTRY) -> History:
        """Send an order and have it acknowledged."""
        if ref == EXIT:
            self.submit_exit(ref)
        else:
            self.submit(ref)
        self.sent(ref)
        self.status(ref, OrderStatus.WORKING)
        self.probe.sent = Outbox([])
        return self

    def raise_kill(self, level: KillLevel, epoch: int = 1) -> Outbox:
        return self.feed(risk.KillRaised(level=level, kill_epoch=epoch, reason="test", by="test"))


def broker_order(ref: str, **more: Any) -> broker.BrokerOrder:
    """A working order of a read-back unless said."""
    fields: dict[str, Any] = {
        "order_ref": ref, "perm_id": 900, "con_id": 7, "side": Side.BUY, "qty": 2, "filled_qty": 0,
        "order_type": OrderType.LIMIT, "limit_ticks": 500, "status": OrderStatus.WORKING, "is_working": True,
    }  # fmt: skip
    return broker.BrokerOrder(**(fields | more))


def ended_order(ref: str, status: OrderStatus, filled_qty: int, **more: Any) -> broker.BrokerOrder:
    """An order of a read-back that is over."""
    return broker_order(ref, is_working=False, status=status, filled_qty=filled_qty, **more)


def broker_fill(ref: str, qty: int, exec_id: str = "e1", revision: int = 1, side: Side = Side.BUY) -> broker.Execution:
    """An execution, live or of a read-back."""
    return broker.Execution(
        exec_id=exec_id, revision=revision, order_ref=ref, perm_id=900, con_id=7, side=side, qty=qty,
        price_ticks=500, at_utc=NOON, raw="",
    )  # fmt: skip
