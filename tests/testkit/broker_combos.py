"""What a broker port must do with combinations: one walk for ports that take them, one for those that do not."""

from __future__ import annotations

from typing import Any

from domain.instants import SECOND
from domain.instruments import Contract, OrderType, Right, Side
from domain.orders.combo import COMBO_CON_ID, ComboLeg, combo_contract
from domain.orders.request import OrderRequest
from domain.orders.table import OrderStatus
from domain.risk.reject import RejectCode
from domain.units import Qty, Ticks
from messages import broker
from tests.testkit.broker_contract import Bench, Walk
from tests.testkit.gateway_world import SESSION, FakeMarket

ENTRY, RESTING, EXIT = "ZH-paper-i-e", "ZH-paper-k-e", "ZH-paper-i-x1"
CONDOR_TICKS = Ticks(110 - 200 + 410 - 700)  # what buying the condor below costs at the touches: 3.80 are paid for it
BACK_TICKS = Ticks(100 - 210 + 400 - 710)  # what selling it again brings


def condor(market: FakeMarket) -> tuple[ComboLeg, ...]:
    """Quote the legs of an iron condor whose middle is sold, and return them."""
    wanted = (
        (Right.PUT, 599_000, Side.BUY, 100), (Right.PUT, 599_500, Side.SELL, 200),
        (Right.CALL, 600_500, Side.SELL, 700), (Right.CALL, 601_000, Side.BUY, 400),
    )  # fmt: skip
    listed = {(c.right, c.strike_ticks): c for c in market.contracts("SPX") if c.expiry == SESSION}
    for right, strike, _, bid in wanted:
        market.set(listed[right, Ticks(strike)].con_id, bid, bid + 10)
    return tuple(ComboLeg(listed[right, Ticks(strike)], side) for right, strike, side, _ in wanted)


def naked(contract: Contract) -> tuple[ComboLeg, ...]:
    """Return legs that are no combination."""
    return (ComboLeg(contract, Side.BUY),)


class ComboWalk(Walk):
    """Orders of several legs, and what has to come of them."""

    def place_legs(self, ref: str, limit_ticks: Ticks, legs: tuple[ComboLeg, ...], **more: Any) -> None:
        fields: dict[str, Any] = {"side": Side.BUY, "is_exit": False} | more
        order = OrderRequest(
            order_ref=ref, contract=combo_contract(legs), qty=Qty(2), order_type=OrderType.LIMIT,
            limit_ticks=limit_ticks, deadline_utc=self._bench.now_utc() + 10 * SECOND, **fields,
        )  # fmt: skip
        self.post(broker.PlaceOrder(order=order, session_epoch=self.epoch, kill_epoch=1, legs=legs))

    def trade(self, ref: str, limit_ticks: Ticks, legs: tuple[ComboLeg, ...], held: dict[int, int], side: Side) -> None:
        """Have two combinations filled, and compare whole, legs and order, told live and read back."""
        self.place_legs(ref, limit_ticks, legs, side=side, is_exit=side is Side.SELL)
        done = self.status(ref, OrderStatus.FILLED)
        assert (done.filled_qty, done.qty) == (2, 2)
        read = self.read_back()
        (order,) = [order for order in read.orders if order.order_ref == ref]
        assert (order.con_id, order.qty, order.filled_qty, order.is_working) == (COMBO_CON_ID, 2, 2, False)
        told = {e.exec_id: e for e in read.executions if e.order_ref == ref}
        (whole,) = [e for e in told.values() if e.con_id == COMBO_CON_ID]
        assert (whole.side, whole.qty, whole.price_ticks) == (side, 2, limit_ticks)
        parts = [e for e in told.values() if e.con_id != COMBO_CON_ID]
        assert {e.con_id: e.qty * e.side.sign for e in parts} == {
            con_id: qty * side.sign for con_id, qty in held.items()
        }
        assert sum(e.qty * e.price_ticks * e.side.sign for e in parts) == 2 * limit_ticks * side.sign
        live = {fact.execution.exec_id: fact.execution.con_id for fact in self.of(broker.ExecutionReported)}
        assert {exec_id: e.con_id for exec_id, e in told.items()}.items() <= live.items()


def walk_combos(bench: Bench, legs: tuple[ComboLeg, ...]) -> None:
    """Drive a port through combinations: resting, changed, cancelled, bought and sold again as one.

    Raises:
        AssertionError: the port does otherwise.
    """
    walk = ComboWalk(bench, epoch=1 << 20)
    walk.dial()
    assert walk.read_back().is_complete
    walk.place_legs("ZH-paper-j-e", bench.far_ticks, naked(bench.contract))
    assert walk.denied("ZH-paper-j-e") is RejectCode.UNKNOWN_CONTRACT
    walk.place_legs(RESTING, Ticks(CONDOR_TICKS - 100), legs)
    walk.status(RESTING, OrderStatus.WORKING, Ticks(CONDOR_TICKS - 100))
    (row,) = [order for order in walk.read_back().orders if order.order_ref == RESTING]
    assert (row.con_id, row.qty, row.filled_qty, row.is_working) == (COMBO_CON_ID, 2, 0, True)
    walk.amend(RESTING, Ticks(CONDOR_TICKS - 50))
    walk.status(RESTING, OrderStatus.WORKING, Ticks(CONDOR_TICKS - 50))
    walk.post(broker.WithdrawOrder(order_ref=RESTING, session_epoch=walk.epoch))
    assert walk.status(RESTING, OrderStatus.CANCELLED).filled_qty == 0
    held = {leg.contract.con_id: 2 * leg.ratio * leg.side.sign for leg in legs}
    walk.trade(ENTRY, CONDOR_TICKS, legs, held, Side.BUY)
    assert {p.contract.con_id: p.qty for p in walk.read_back().positions} == held
    walk.trade(EXIT, BACK_TICKS, legs, held, Side.SELL)
    assert walk.read_back().positions == ()
    asked = OrderRequest(
        order_ref="ZH-paper-w-e", contract=combo_contract(legs), side=Side.BUY, qty=Qty(2), order_type=OrderType.LIMIT,
        limit_ticks=CONDOR_TICKS, is_exit=False, deadline_utc=bench.now_utc() + 10 * SECOND,
    )  # fmt: skip
    walk.post(broker.AskMargin(session_epoch=walk.epoch, request_id="m", reply_to="risk:paper", order=asked, legs=legs))
    margin = walk.wait(broker.MarginTold, lambda told: told.request_id == "m")
    # the worst of both wings, 5.00 apart, less the 3.80 that are paid: for two of them
    assert margin.init_margin_change_cents == 2 * 100 * (500 + CONDOR_TICKS)


def walk_refused(bench: Bench, legs: tuple[ComboLeg, ...]) -> None:
    """Ask a port without the capability for a combination: one clear denial, and nothing is sent.

    Raises:
        AssertionError: it does otherwise.
    """
    walk = ComboWalk(bench, epoch=1 << 20)
    walk.dial()
    assert walk.read_back().is_complete
    walk.place_legs(ENTRY, CONDOR_TICKS, legs)
    denied = walk.wait(broker.OrderDenied, lambda told: told.order_ref == ENTRY)
    assert denied.code is RejectCode.UNKNOWN_CONTRACT
    assert denied.why == "this broker takes no combination as one order, and its legs are not sent one by one"
    assert not walk.of(broker.OrderSent)
