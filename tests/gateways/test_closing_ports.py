"""What a port's owner hears of a command that comes while the port closes, or after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from config.tree import SimDesk
from domain.instants import SECOND
from domain.instruments import Contract, OrderType, Right, Side
from domain.orders.request import OrderChange, OrderRequest
from domain.orders.table import CodeMeaning
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.units import Cents, Qty, Ticks
from gateways.ib.orders_port import OrdersPort
from gateways.ib.quotes_port import QuotesPort
from messages import broker, market
from simulation.beside.heard_market import HeardMarket
from simulation.beside.orders_port import SimOrdersPort
from supervision.clock import MarketClock
from tests.testkit.ibkr_world import EPOCH, Mailbox, gateway, make_port
from tests.testkit.tastytrade_world import make_port as make_rest_port
from tests.testkit.tastytrade_world import rest_broker

ENTRY = "ZH-paper-a-e"


@dataclass(frozen=True)
class Closing:
    """A port with a link, and what its owner has heard."""

    port: Any
    heard: Mailbox
    contract: Contract
    now: int

    def link(self) -> None:
        self.port.post(broker.Dial(session_epoch=EPOCH, gateway_n=0))
        self.heard.wait(broker.LinkUp)

    def commands(self) -> tuple[Any, ...]:
        """Return one of each kind that a port is told by the order session."""
        order = OrderRequest(
            order_ref=ENTRY, contract=self.contract, side=Side.BUY, qty=Qty(1), order_type=OrderType.LIMIT,
            limit_ticks=Ticks(450), is_exit=False, deadline_utc=self.now + 600 * SECOND,
        )  # fmt: skip
        change = OrderChange(
            order_ref=f"{ENTRY}2", qty=Qty(1), order_type=OrderType.LIMIT, limit_ticks=Ticks(450), is_exit=False,
            deadline_utc=self.now + 600 * SECOND,
        )  # fmt: skip
        return (
            broker.PlaceOrder(order=order, session_epoch=EPOCH, kill_epoch=0),
            broker.AmendOrder(change=change, session_epoch=EPOCH, kill_epoch=0),
            broker.WithdrawOrder(order_ref=ENTRY, session_epoch=EPOCH),
            broker.CancelEverything(session_epoch=EPOCH),
            broker.AskMargin(order=order, session_epoch=EPOCH, request_id="m1", reply_to="risk:paper"),
            broker.ReadBack(session_epoch=EPOCH, read_n=7),
            broker.Dial(session_epoch=EPOCH + 1, gateway_n=0),
            broker.LatchKill(level=KillLevel.NO_ENTRIES, kill_epoch=1),
            broker.CloseLink(session_epoch=EPOCH),
        )

    def told(self) -> None:
        """Look whether each command has one answer, and that is a refusal."""
        heard = self.heard
        denied = [(one.order_ref, one.code) for one in heard.of(broker.OrderDenied)]
        assert denied == [(ENTRY, RejectCode.NOT_CONNECTED), (f"{ENTRY}2", RejectCode.NOT_CONNECTED)]
        errors = [(one.order_ref, one.meaning) for one in heard.of(broker.ErrorReported) if "cannot cancel" in one.text]
        assert errors == [(ENTRY, CodeMeaning.ORDER_UNKNOWN), (None, CodeMeaning.LINK)]
        assert [(one.request_id, one.init_margin_change_cents) for one in heard.of(broker.MarginTold)] == [("m1", None)]
        assert [one.read_n for one in heard.of(broker.BrokerReadFailed)] == [7]
        assert [one.session_epoch for one in heard.of(broker.LinkFailed)] == [EPOCH + 1]
        assert not heard.of(broker.OrderSent)
        assert len(heard.of(broker.LinkUp)) == 1


@contextmanager
def ib() -> Iterator[Closing]:
    with gateway() as world:
        heard = Mailbox()
        yield Closing(make_port(OrdersPort, world, heard.tell), heard, world.call, world.clock.now_utc())


@contextmanager
def tastytrade() -> Iterator[Closing]:
    with rest_broker() as world:
        heard = Mailbox()
        yield Closing(make_rest_port(world, heard), heard, world.call, world.clock.now_utc())


@contextmanager
def sim() -> Iterator[Closing]:
    heard, clock = Mailbox(), MarketClock.real()
    call = Contract(7, "SPX", "SPXW", date(2026, 11, 20), Ticks(600_000), Right.CALL)
    with TemporaryDirectory() as folder:
        port = SimOrdersPort(
            "port:ibkr:model", clock, heard.tell, HeardMarket(clock.now_utc(), (), (call,), SimDesk()),
            Path(folder) / "book", cash_cents=Cents(10_000_000), latency_ms=20, port=4002,
        )  # fmt: skip
        port.start()
        yield Closing(port, heard, call, clock.now_utc())


PORTS = pytest.mark.parametrize("opened", [ib, tastytrade], ids=lambda opened: opened.__name__)


@pytest.mark.parametrize("opened", [ib, tastytrade, sim], ids=lambda opened: opened.__name__)
def test_command_after_the_close_is_refused(opened: Callable[[], AbstractContextManager[Closing]]) -> None:
    with opened() as closing:
        closing.link()
        closing.port.close()
        for command in closing.commands():
            closing.port.post(command)
        closing.told()


@PORTS
def test_command_that_comes_while_the_port_closes_is_refused_and_opens_no_link(
    opened: Callable[[], AbstractContextManager[Closing]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened() as closing:
        closing.link()
        end = closing.port.on_end

        def end_and_be_told() -> None:
            for command in closing.commands():
                closing.port.post(command)
            end()

        monkeypatch.setattr(closing.port, "on_end", end_and_be_told)
        closing.port.close()
        closing.told()


def test_quotes_that_are_asked_for_after_the_close_are_refused() -> None:
    with gateway() as world:
        heard = Mailbox()
        port = make_port(QuotesPort, world, heard.tell)
        port.close()
        port.post(broker.Dial(session_epoch=EPOCH, gateway_n=0))
        port.post(
            market.ListChain(
                session_epoch=EPOCH, ticker="SPX", trading_class="SPXW", expiry=world.call.expiry
            )
        )  # fmt: skip
        port.post(market.WatchClosely(session_epoch=EPOCH, con_ids=()))
        assert [one.session_epoch for one in heard.of(broker.LinkFailed)] == [EPOCH]
        assert [one.ticker for one in heard.of(market.ChainFailed)] == ["SPX"]
