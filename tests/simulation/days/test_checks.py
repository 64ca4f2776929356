"""What must hold on a faulty day, at the edges of its book: how much an exit may be for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from domain.instants import SECOND
from domain.instruments import Contract, OrderType, Side
from domain.orders.request import OrderRequest
from domain.session.modes import Mode
from domain.units import Qty, Ticks, Utc
from messages import broker, session
from simulation.days.checks import by_hand
from simulation.days.desk import DayDesk
from simulation.days.one_day import Days, day_settings
from simulation.days.plan import plan_day
from simulation.days.world import World

SETTINGS: Final = day_settings()
LONG_S: Final = 150  # more than the minute after which the desk must have been told


class HeldForLong:
    """A desk, reachable and live, at whose broker two of a contract have been held for some minutes."""

    def __init__(self, folder: Path) -> None:
        plan = replace(plan_day(0, SETTINGS), faults=(), order_faults=0.0, spreads=None)
        self.world = World(Days(SETTINGS, folder / "days", parity_every=0).settings_of(plan), plan, folder)
        self.desk: DayDesk = self.world.desks[0]
        self._orders_n = 0
        market, checks = self.desk.scene.market, self.desk.checks
        self.now = Utc(market.open_utc + 1_800 * SECOND)
        market.step(self.now)
        expiring = [c for c in market.contracts("SPY") if c.expiry == plan.day.session]
        self.contract: Contract = next(c for c in expiring if market.quote(c.con_id).bid_ticks)
        checks.is_reachable = lambda: True
        told = session.ModeChanged(mode=Mode.FULLY_LIVE, mode_n=1, session_epoch=1, cause="", at_utc=self.now)
        checks.watched[session.ModeChanged]("", told, self.now)
        self.trade(Side.BUY, 2)
        for _ in range(LONG_S):
            self.pass_a_second()
            checks.after_step(self.now)

    def pass_a_second(self) -> None:
        """Let the market and the exchange go on; nobody looks at the book."""
        self.now = Utc(self.now + SECOND)
        self.desk.scene.market.step(self.now)
        self.desk.scene.exchange.step(self.now)

    def trade(self, side: Side, qty: int) -> None:
        """Have an order filled at market within the next seconds."""
        exchange = self.desk.scene.exchange
        self._orders_n += 1
        exchange.place(by_hand(self.contract.con_id, side, Qty(qty), self._orders_n), self.now)
        while exchange.open_orders():
            self.pass_a_second()

    def close(self, side: Side, qty: int) -> list[str]:
        """Have the port take up an exit; return what is broken."""
        order = OrderRequest(
            order_ref="ZH-paper-AAAAAAAAAAAA-x1", contract=self.contract, side=side, qty=Qty(qty),
            order_type=OrderType.STOP, limit_ticks=None, stop_ticks=Ticks(5), is_exit=True,
            deadline_utc=Utc(self.now + SECOND),
        )  # fmt: skip
        self.desk.checks.on_taken(
            broker.PlaceOrder(order=order, session_epoch=1, kill_epoch=0), self.now, is_late=False
        )
        return self.desk.scene.broken


@pytest.fixture
def held(tmp_path: Path) -> HeldForLong:
    return HeldForLong(tmp_path)


def test_an_exit_for_what_is_held_breaks_nothing_and_one_for_more_does(held: HeldForLong) -> None:
    assert not held.close(Side.SELL, 2)
    assert held.close(Side.SELL, 3) == ["exit ZH-paper-AAAAAAAAAAAA-x1 is for 3, the broker has long held 2"]


def test_an_exit_in_the_instant_of_a_fill_may_be_for_what_has_just_been_bought_but_no_more(held: HeldForLong) -> None:
    held.trade(Side.BUY, 3)
    assert not held.close(Side.SELL, 5)
    assert held.close(Side.SELL, 6) == ["exit ZH-paper-AAAAAAAAAAAA-x1 is for 6, the broker has long held 2"]


def test_what_is_held_cannot_be_bought_back(held: HeldForLong) -> None:
    assert held.close(Side.BUY, 1) == ["exit ZH-paper-AAAAAAAAAAAA-x1 buys 1, the broker has long held 2"]


def test_a_short_of_this_instant_can_be_bought_back_but_no_more(held: HeldForLong) -> None:
    held.trade(Side.SELL, 3)
    assert not held.close(Side.BUY, 1)
    assert held.close(Side.BUY, 2) == ["exit ZH-paper-AAAAAAAAAAAA-x1 buys 2, the broker has long held 2"]
