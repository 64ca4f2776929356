"""Combinations (BAG): all legs at once or none, as an unmodified client sees them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ib_insync import ComboLeg, Contract, MarketOrder

from domain.instruments import Contract as Listed
from domain.instruments import Right
from domain.orders.combo import worst_loss_cents
from domain.units import Qty
from simulation.gateway.faults import Fault, FaultKind
from tests.testkit.gateway_world import NEXT_SESSION, SESSION, World, limit, until, world


def codes_of(ib: Any) -> list[int]:
    """Collect the error codes from now on."""
    codes: list[int] = []
    ib.errorEvent += lambda request_id, code, text, contract: codes.append(code)
    return codes


def option(it: World, label: str, bid: int, ask: int, size: int = 10) -> int:
    """Quote an SPXW option of today, as `6010C`, and return its contract id."""
    listed = it.market.contracts("SPX")
    con_id = next(c.con_id for c in listed if c.label == f"SPXW 20261120 {label}")
    it.market.set(con_id, bid, ask, size)
    return con_id


def bag(*legs: tuple[int, str]) -> Contract:
    """Describe a combination of one each."""
    rows = [ComboLeg(conId=con_id, ratio=1, action=action, exchange="SMART") for con_id, action in legs]
    return Contract(symbol="SPX", secType="BAG", exchange="SMART", currency="USD", comboLegs=rows)


def condor(it: World, size: int = 10) -> Contract:
    """Quote and describe an iron condor that is bought for a credit: the wings bought, the body sold."""
    wings = (option(it, "5995P", 200, 210, size), "BUY"), (option(it, "6005C", 250, 260, size), "BUY")
    body = (option(it, "6000P", 450, 460, size), "SELL"), (option(it, "6000C", 500, 510, size), "SELL")
    return bag(wings[0], body[0], body[1], wings[1])


def test_a_vertical_fills_as_one_with_an_execution_of_the_whole_and_one_for_each_leg() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            higher = option(it, "6005C", 250, 260)
            spread = bag((it.market.call, "BUY"), (higher, "SELL"))
            trade = ib.placeOrder(spread, limit("BUY", 2, 2.60))
            await until(ib, lambda: trade.isDone() and len(trade.fills) == 3 and len(ib.positions()) == 2)
            assert (trade.orderStatus.status, trade.filled(), trade.orderStatus.avgFillPrice) == ("Filled", 2, 2.6)
            told = [(f.contract.secType, f.execution.side, f.execution.shares, f.execution.price) for f in trade.fills]
            assert told == [("BAG", "BOT", 2, 2.6), ("OPT", "BOT", 2, 5.1), ("OPT", "SLD", 2, 2.5)]
            ids = [f.execution.execId for f in trade.fills]
            assert [i[-6:] for i in ids] == [".01.01", ".02.01", ".03.01"]
            assert {p.contract.conId: p.position for p in ib.positions()} == {it.market.call: 2, higher: -2}

    asyncio.run(scenario())


def test_an_iron_condor_takes_a_credit_and_blocks_its_width_and_no_naked_margin() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            spread = condor(it)
            asked = await ib.whatIfOrderAsync(spread, limit("BUY", 2, -4.8))
            assert float(asked.initMarginChange) == 2 * (500 - 480)
            trade = ib.placeOrder(spread, limit("BUY", 2, -4.8))
            await until(ib, lambda: trade.isDone() and len(trade.fills) == 5)
            assert (trade.filled(), trade.orderStatus.avgFillPrice) == (2, -4.8)
            values = it.exchange.account_values()
            assert values["InitMarginReq"] == 2 * 500 * 100
            (done,) = await ib.reqCompletedOrdersAsync(False)
            assert [(leg.ratio, leg.action) for leg in done.contract.comboLegs] == [
                (1, "BUY"), (1, "SELL"), (1, "SELL"), (1, "BUY"),
            ]  # fmt: skip

    asyncio.run(scenario())


def test_no_leg_fills_while_one_has_nobody_to_trade_with() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            higher = option(it, "6005C", 0, 10)
            trade = ib.placeOrder(bag((it.market.call, "BUY"), (higher, "SELL")), MarketOrder("BUY", 1, tif="DAY"))
            await until(ib, lambda: trade.orderStatus.status == "Submitted")
            (told,) = await ib.reqAllOpenOrdersAsync()
            assert [leg.conId for leg in told.contract.comboLegs] == [it.market.call, higher]
            assert it.exchange.positions() == []
            it.market.set(higher, 250, 260)
            await until(ib, lambda: trade.isDone() and len(trade.fills) == 3)

    asyncio.run(scenario())


def test_a_combination_that_is_sold_closes_what_the_same_one_opened() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            spread = condor(it)
            opened = ib.placeOrder(spread, limit("BUY", 1, -4.8))
            await until(ib, opened.isDone)
            closed = ib.placeOrder(spread, limit("SELL", 1, -5.2))
            await until(ib, lambda: closed.isDone() and len(closed.fills) == 5)
            assert closed.orderStatus.avgFillPrice == -5.2
            assert it.exchange.positions() == []
            assert it.exchange.account_values()["InitMarginReq"] == 0

    asyncio.run(scenario())


def test_a_combination_fills_in_the_scripted_pieces_with_ids_of_their_own() -> None:
    async def scenario() -> None:
        async with world(Fault(FaultKind.PARTIAL_FILLS, args={"pieces": [1, 2]})) as it:
            ib = await it.connect()
            trade = ib.placeOrder(condor(it), limit("BUY", 3, -4.8))
            await until(ib, lambda: trade.isDone() and len(trade.fills) == 10)
            wholes = [f.execution for f in trade.fills if f.contract.secType == "BAG"]
            assert [(e.shares, e.cumQty) for e in wholes] == [(1, 1), (2, 3)]
            assert len({f.execution.execId for f in trade.fills}) == 10
            last_leg = trade.fills[-1].execution
            assert (last_leg.cumQty, last_leg.avgPrice) == (3, 2.6)

    asyncio.run(scenario())


def test_an_uncovered_short_leg_needs_the_margin_of_a_naked_one() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            codes = codes_of(ib)
            higher = option(it, "6005C", 250, 260)
            both_sold = bag((it.market.call, "SELL"), (higher, "SELL"))
            trade = ib.placeOrder(both_sold, limit("BUY", 1, -7.5))
            await until(ib, lambda: trade.orderStatus.status == "Inactive" and 201 in codes)
            assert it.exchange.positions() == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("spread", "order", "code"),
    [
        (bag((1_001, "BUY"), (999_999, "SELL")), limit("BUY", 1, 1.0), 200),
        (bag((1_001, "BUY")), limit("BUY", 1, 1.0), 201),
        (bag((1_001, "BUY"), (1_001, "SELL")), limit("BUY", 1, 1.0), 201),
        (bag((1_001, "BUY"), (1_002, "SELL")), limit("BUY", 1, 1.01), 110),
    ],
)
def test_a_combination_that_cannot_be_has_a_code(spread: Contract, order: Any, code: int) -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            codes = codes_of(ib)
            ib.placeOrder(spread, order)
            await until(ib, lambda: codes)
            assert codes == [code]

    asyncio.run(scenario())


def listed(strike: int, right: Right, *, is_later: bool = False) -> Listed:
    return Listed(strike, "SPX", "SPXW", NEXT_SESSION if is_later else SESSION, strike * 100, right)


CALL, PUT = Right.CALL, Right.PUT


@pytest.mark.parametrize(
    ("holdings", "worst_usd"),
    [
        ([(listed(100, CALL), 1)], 0),
        ([(listed(100, CALL), -1)], None),
        ([(listed(100, PUT), -1)], 10_000),
        ([(listed(100, CALL), -1), (listed(105, CALL), 1)], 500),
        ([(listed(100, CALL), 1), (listed(105, CALL), -1)], 0),
        ([(listed(95, PUT), 1), (listed(100, PUT), -1), (listed(105, CALL), -1), (listed(110, CALL), 1)], 500),
        ([(listed(100, CALL), 1), (listed(105, CALL), -2), (listed(110, CALL), 1)], 0),
        ([(listed(100, CALL), -1), (listed(100, CALL, is_later=True), 1)], 0),
        ([(listed(100, CALL, is_later=True), -1), (listed(100, CALL), 1)], None),
    ],
)
def test_what_a_spread_can_lose(holdings: list[tuple[Listed, Qty]], worst_usd: int | None) -> None:
    assert worst_loss_cents(holdings) == (None if worst_usd is None else worst_usd * 100)


@given(
    legs=st.lists(
        st.tuples(st.integers(90, 110), st.sampled_from(list(Right)), st.integers(-3, 3)), min_size=1, max_size=5
    ),
    price=st.integers(0, 300),
)
def test_no_price_at_expiry_loses_more_than_the_worst(legs: list[tuple[int, Right, int]], price: int) -> None:
    worst = worst_loss_cents([(listed(strike, right), Qty(qty)) for strike, right, qty in legs])
    value = sum(q * max(0, price - k if right is CALL else k - price) for k, right, q in legs) * 10_000
    calls = sum(q for _, right, q in legs if right is CALL)
    assert (worst is None) == (calls < 0 and any(q < 0 for *_, q in legs))
    assert worst is None or -value <= worst
