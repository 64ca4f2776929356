"""The in-process order port: the last check, an order's facts in their order, the read-back, a lost link."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from domain.instants import SECOND
from domain.instruments import OrderType, Side
from domain.orders.request import OrderChange, OrderRequest
from domain.orders.table import CodeMeaning, OrderStatus
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import AccountClass
from domain.units import Cents, Utc
from messages import broker
from messages.base import Message
from simulation.broker.exchange import CASH_CENTS, Exchange
from simulation.broker.orders import Order
from simulation.inprocess.broker import READ_NS, InProcessBroker
from simulation.inprocess.port import LINK_NS, PAPER, Login
from tests.testkit.gateway_world import NOON, FakeMarket
from tests.testkit.narrow import of_class

EPOCH = 5


class FakeRuntime:
    """Virtual time, and a mailbox that keeps what is told."""

    def __init__(self) -> None:
        self.clock = self
        self.now = NOON
        self.latched: str | None = None
        self.latched_groups: dict[str, str] = {}
        self.told: list[Message] = []
        self._later: list[tuple[Utc, int, Callable[[], None]]] = []
        self._n = 0

    def now_utc(self) -> Utc:
        return self.now

    def call_at(self, at_utc: Utc, act: Callable[[], None]) -> None:
        self._n += 1
        heapq.heappush(self._later, (at_utc, self._n, act))

    def post(self, to: str, message: Message, sender: str) -> None:
        assert (to, sender) == ("ibkr:paper", "port:ibkr:paper")
        self.told.append(message)

    def run(self, duration_ns: int = 0) -> list[Message]:
        """Run on and return what was told meanwhile."""
        until, before = self.now + duration_ns, len(self.told)
        while self._later and self._later[0][0] <= until:
            self.now, _, act = heapq.heappop(self._later)
            act()
        self.now = until
        return self.told[before:]


class Bench:
    """A port whose link is up, and short ways to use it."""

    def __init__(self, login: Login = PAPER, cash_cents: Cents = CASH_CENTS) -> None:
        self.runtime = FakeRuntime()
        self.market: Any = FakeMarket()
        self.exchange = Exchange(self.market, latency_ms=20, series=1, cash_cents=cash_cents)
        self.port = InProcessBroker("ibkr:paper", self.runtime, self.market, self.exchange, login)
        self.dialled = self.send(broker.Dial(session_epoch=EPOCH, gateway_n=0), LINK_NS)

    def send(self, command: broker.BrokerCommand, duration_ns: int = 0) -> list[Message]:
        """Post a command and return what was told within a duration."""
        self.port.post(command)
        return self.runtime.run(duration_ns)

    def request(self, ref: str = "ZH-paper-A-e", limit_ticks: int = 510, **more: object) -> OrderRequest:
        """Return a request to buy one call."""
        request = OrderRequest(
            order_ref=ref, contract=self.market.contract(self.market.call), side=Side.BUY, qty=1,
            order_type=OrderType.LIMIT, limit_ticks=limit_ticks, is_exit=False, deadline_utc=self.runtime.now + SECOND,
        )  # fmt: skip
        return msgspec.structs.replace(request, **more)

    def place(self, duration_ns: int = 0, epoch: int = EPOCH, kill_epoch: int = 0, **more: Any) -> list[Message]:
        """Place an order."""
        order = self.request(**more)
        return self.send(broker.PlaceOrder(order=order, session_epoch=epoch, kill_epoch=kill_epoch), duration_ns)


def test_a_dial_brings_the_link_and_the_account() -> None:
    up, account, clock = Bench().dialled
    assert isinstance(up, broker.LinkUp)
    assert (up.session_epoch, up.account_class.value, up.account_matches) == (EPOCH, "paper", True)
    assert isinstance(account, broker.AccountRead)
    assert (account.nav_cents, account.day_trades_remaining) == (10_000_000, -1)
    assert isinstance(clock, broker.ClockRead)
    assert clock.least_ms <= 0 <= clock.most_ms


def test_a_question_of_margin_is_answered_by_the_exchange_and_places_nothing() -> None:
    bench = Bench()
    asked = broker.AskMargin(
        session_epoch=EPOCH, request_id="q1", reply_to="risk:paper", order=bench.request(side=Side.SELL, qty=2)
    )
    told = of_class(broker.MarginTold, bench.send(asked)[0])
    assert (told.request_id, told.reply_to, told.why) == ("q1", "risk:paper", "")
    assert (told.init_margin_change_cents or 0) > 0
    assert not bench.exchange.open_orders()
    late = of_class(broker.MarginTold, bench.send(msgspec.structs.replace(asked, session_epoch=EPOCH - 1))[0])
    assert (late.init_margin_change_cents, late.why) == (None, "not connected")


@pytest.mark.parametrize("account_class", AccountClass)
def test_port_and_account_are_those_that_the_gateway_is_logged_in_to(account_class: AccountClass) -> None:
    bench = Bench(Login(port=4001, account_class=account_class, account_matches=False))
    up = of_class(broker.LinkUp, bench.dialled[0])
    assert (up.port, up.account_class, up.account_matches) == (4001, account_class, False)


def test_small_account_has_few_day_trades_and_each_round_trip_takes_one() -> None:
    bench = Bench(cash_cents=Cents(1_000_000))
    assert of_class(broker.AccountRead, bench.dialled[1]).day_trades_remaining == 3
    bench.place(SECOND)
    bench.place(SECOND, ref="ZH-paper-A-x1", limit_ticks=490, side=Side.SELL, is_exit=True)
    bench.runtime.told.clear()
    bench.runtime.run(61 * SECOND)
    counts = [told.day_trades_remaining for told in bench.runtime.told if isinstance(told, broker.AccountRead)]
    assert counts == [2]


def test_entry_ends_at_its_good_till_when_nobody_is_there_to_cancel_it() -> None:
    bench = Bench()
    bench.place(limit_ticks=480, good_till_utc=NOON + 12 * SECOND)
    bench.port.drop(60 * SECOND)
    bench.runtime.run(11 * SECOND)
    assert len(bench.exchange.open_orders()) == 1
    bench.runtime.run(2 * SECOND)
    bench.market.set(bench.market.call, 470, 480)
    bench.runtime.run(10 * SECOND)
    assert bench.exchange.open_orders() == []
    assert bench.exchange.executions() == []


def test_change_of_an_order_keeps_its_good_till() -> None:
    bench = Bench()
    bench.place(limit_ticks=480, good_till_utc=NOON + 12 * SECOND)
    change = OrderChange(
        order_ref="ZH-paper-A-e", qty=1, order_type=OrderType.LIMIT, limit_ticks=490, is_exit=False,
        deadline_utc=NOON + SECOND,
    )  # fmt: skip
    bench.send(broker.AmendOrder(change=change, session_epoch=EPOCH, kill_epoch=0))
    assert [state.order.good_till_utc for state in bench.exchange.open_orders()] == [NOON + 12 * SECOND]


def test_order_whose_good_till_has_passed_and_a_ref_that_was_used_are_refused() -> None:
    bench = Bench()
    (denied,) = bench.place(good_till_utc=NOON)
    assert of_class(broker.OrderDenied, denied).code is RejectCode.DEADLINE_PASSED
    bench.place(limit_ticks=480)
    (denied,) = bench.place(limit_ticks=480)
    assert of_class(broker.OrderDenied, denied).code is RejectCode.DUPLICATE_REF
    assert len(bench.exchange.open_orders()) == 1


def test_latch_of_an_older_epoch_loosens_nothing() -> None:
    bench = Bench()
    bench.send(broker.LatchKill(level=KillLevel.NO_ENTRIES, kill_epoch=2))
    bench.send(broker.LatchKill(level=KillLevel.RUNNING, kill_epoch=1))
    assert of_class(broker.OrderDenied, bench.place(kill_epoch=2)[0]).code is RejectCode.PERMIT_KILLED


def test_cancel_while_the_link_is_down_is_answered_and_the_order_works_on() -> None:
    bench = Bench()
    bench.place(limit_ticks=480)
    bench.port.drop(10 * SECOND)
    told = bench.send(broker.WithdrawOrder(order_ref="ZH-paper-A-e", session_epoch=EPOCH))
    error = of_class(broker.ErrorReported, told[-1])
    assert (error.order_ref, error.meaning) == ("ZH-paper-A-e", CodeMeaning.ORDER_UNKNOWN)
    assert len(bench.exchange.open_orders()) == 1


def test_another_clients_order_is_read_back_as_such_and_only_the_global_cancel_reaches_it() -> None:
    bench = Bench()
    other = Order(bench.market.call, Side.BUY, 1, OrderType.LIMIT, 99, 1, limit_ticks=480, order_ref="ZH-paper-A-x1")
    bench.exchange.place(other, bench.runtime.now)
    read = of_class(broker.BrokerRead, bench.send(broker.ReadBack(session_epoch=EPOCH, read_n=1), READ_NS)[0])
    assert [(o.order_ref, o.is_of_other_client) for o in read.orders] == [("ZH-paper-A-x1", True)]
    bench.send(broker.WithdrawOrder(order_ref="ZH-paper-A-x1", session_epoch=EPOCH))
    assert len(bench.exchange.open_orders()) == 1
    bench.send(broker.CancelEverything(session_epoch=EPOCH))
    assert bench.exchange.open_orders() == []


def test_positions_are_read_back_with_what_a_contract_cost() -> None:
    bench = Bench()
    bench.place(SECOND)
    read = of_class(broker.BrokerRead, bench.send(broker.ReadBack(session_epoch=EPOCH, read_n=1), READ_NS)[0])
    assert [p.avg_cost_cents > 51_000 for p in read.positions] == [True]


def test_nothing_trades_during_a_halt_and_orders_fill_after_it() -> None:
    bench = Bench()
    bench.exchange.halt("SPX", is_halted=True)
    bench.place(5 * SECOND)
    assert bench.exchange.executions() == []
    bench.exchange.halt("SPX", is_halted=False)
    bench.runtime.run(2 * SECOND)
    assert len(bench.exchange.executions()) == 1


def test_an_order_is_sent_works_and_fills_with_its_fee() -> None:
    bench = Bench()
    sent, status = bench.place()
    assert isinstance(sent, broker.OrderSent)
    assert (sent.order_ref, sent.order_id) == ("ZH-paper-A-e", 1)
    assert isinstance(status, broker.OrderStatusReported)
    assert (status.status, status.qty, status.limit_ticks) == (OrderStatus.WORKING, 1, 510)
    executed, filled, fee, position = bench.runtime.run(SECOND)
    assert isinstance(executed, broker.ExecutionReported)
    assert isinstance(filled, broker.OrderStatusReported)
    assert isinstance(fee, broker.CommissionReported)
    assert isinstance(position, broker.PositionReported)
    execution = executed.execution
    assert (execution.con_id, execution.side, execution.qty, execution.price_ticks) == (
        bench.market.call,
        "BUY",
        1,
        510,
    )
    assert (execution.exec_id, execution.revision) == (fee.exec_id, fee.revision)
    assert filled.status is OrderStatus.FILLED


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"epoch": EPOCH - 1}, RejectCode.PERMIT_SESSION),
        ({"deadline_utc": NOON}, RejectCode.DEADLINE_PASSED),
        ({"kill_epoch": -1}, RejectCode.PERMIT_KILLED),
    ],
)
def test_the_last_check_refuses_an_entry_with_its_code(given: dict[str, Any], code: RejectCode) -> None:
    bench = Bench()
    (denied,) = bench.place(**given)
    assert isinstance(denied, broker.OrderDenied)
    assert denied.code is code
    assert bench.exchange.open_orders() == []


def test_kill_latch_and_process_latch_refuse_entries_and_let_exits_pass() -> None:
    bench = Bench()
    bench.send(broker.LatchKill(level=KillLevel.NO_ENTRIES, kill_epoch=1))
    assert of_class(broker.OrderDenied, bench.place(kill_epoch=1)[0]).code is RejectCode.PERMIT_KILLED
    bench.send(broker.LatchKill(level=KillLevel.RUNNING, kill_epoch=1))
    bench.runtime.latched = "the kill actor crashed"
    assert of_class(broker.OrderDenied, bench.place(kill_epoch=1)[0]).code is RejectCode.PERMIT_KILLED
    assert isinstance(bench.place(kill_epoch=1, is_exit=True)[0], broker.OrderSent)


def test_a_change_replaces_price_and_an_unknown_order_is_denied() -> None:
    bench = Bench()
    bench.place(limit_ticks=480)
    change = OrderChange(
        order_ref="ZH-paper-A-e", qty=1, order_type=OrderType.LIMIT, limit_ticks=490, is_exit=False,
        deadline_utc=NOON + SECOND,
    )  # fmt: skip
    amend = broker.AmendOrder(change=change, session_epoch=EPOCH, kill_epoch=0)
    (told,) = bench.send(amend)
    status = of_class(broker.OrderStatusReported, told)
    assert (status.limit_ticks, status.status) == (490, OrderStatus.WORKING)
    unknown = msgspec.structs.replace(amend, change=msgspec.structs.replace(change, order_ref="ZH-paper-B-e"))
    (denied,) = bench.send(unknown)
    assert of_class(broker.OrderDenied, denied).code is RejectCode.NOT_CONNECTED


def test_a_withdrawn_order_ends_cancelled_and_an_unknown_one_is_answered() -> None:
    bench = Bench()
    bench.place(limit_ticks=480)
    told = bench.send(broker.WithdrawOrder(order_ref="ZH-paper-A-e", session_epoch=EPOCH))
    status, error = of_class(broker.OrderStatusReported, told[0]), of_class(broker.ErrorReported, told[1])
    assert len(told) == 2
    assert (status.status, error.vendor_code, error.order_ref) == (OrderStatus.CANCELLED, 202, "ZH-paper-A-e")
    (unknown,) = bench.send(broker.WithdrawOrder(order_ref="ZH-paper-B-e", session_epoch=EPOCH))
    error = of_class(broker.ErrorReported, unknown)
    assert (error.vendor_code, error.order_ref, error.meaning) == (0, "ZH-paper-B-e", CodeMeaning.ORDER_UNKNOWN)


def test_a_read_back_is_complete_and_brings_the_fees_again() -> None:
    bench = Bench()
    bench.place(SECOND)
    bench.place(ref="ZH-paper-B-e", limit_ticks=480)
    read, *fees = bench.send(broker.ReadBack(session_epoch=EPOCH, read_n=3), READ_NS)
    assert isinstance(read, broker.BrokerRead)
    assert read.read_n == 3
    assert [(o.order_ref, o.is_working) for o in read.orders] == [("ZH-paper-B-e", True), ("ZH-paper-A-e", False)]
    assert [(e.order_ref, e.qty) for e in read.executions] == [("ZH-paper-A-e", 1)]
    assert [(p.contract.con_id, p.qty) for p in read.positions] == [(bench.market.call, 1)]
    assert [type(m) for m in fees] == [broker.CommissionReported]


def test_a_dropped_link_tells_nothing_more_and_dials_fail_until_the_outage_is_over() -> None:
    bench = Bench()
    bench.place(limit_ticks=480)
    bench.port.drop(10 * SECOND)
    bench.market.set(bench.market.call, 470, 480)
    told = bench.runtime.run(5 * SECOND)
    assert [type(m) for m in told] == []
    assert isinstance(bench.runtime.told[-1], broker.LinkLost)
    (failed,) = bench.send(broker.ReadBack(session_epoch=EPOCH, read_n=1), READ_NS)
    assert isinstance(failed, broker.BrokerReadFailed)
    (failed,) = bench.send(broker.Dial(session_epoch=EPOCH + 1, gateway_n=0), LINK_NS)
    assert isinstance(failed, broker.LinkFailed)
    bench.runtime.run(5 * SECOND)
    assert isinstance(bench.send(broker.Dial(session_epoch=EPOCH + 2, gateway_n=0), LINK_NS)[0], broker.LinkUp)
    read = of_class(broker.BrokerRead, bench.send(broker.ReadBack(session_epoch=EPOCH + 2, read_n=2), READ_NS)[0])
    assert [o.status for o in read.orders] == [OrderStatus.FILLED]


def test_a_port_of_the_next_process_knows_the_orders_that_are_open() -> None:
    bench = Bench()
    bench.place(limit_ticks=480)
    bench.port = InProcessBroker("ibkr:paper", bench.runtime, bench.market, bench.exchange)
    bench.send(broker.Dial(session_epoch=EPOCH + 1, gateway_n=0), LINK_NS)
    told = bench.send(broker.WithdrawOrder(order_ref="ZH-paper-A-e", session_epoch=EPOCH + 1))
    status, error = of_class(broker.OrderStatusReported, told[0]), of_class(broker.ErrorReported, told[1])
    assert len(told) == 2
    assert (status.status, error.order_ref) == (OrderStatus.CANCELLED, "ZH-paper-A-e")


def test_an_exchange_whose_step_failed_goes_on_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.place(limit_ticks=480)
    with monkeypatch.context() as broken, pytest.raises(OSError, match="disk full"):
        broken.setattr(bench.exchange, "step", fails)
        bench.runtime.run(2 * SECOND)
    bench.market.set(bench.market.call, 470, 480)
    assert of_class(broker.ExecutionReported, bench.runtime.run(2 * SECOND)[0]).execution.qty == 1


def fails(_now: Utc) -> None:
    raise OSError("disk full")
