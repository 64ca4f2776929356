"""Every fault of the gateway as an unmodified ib_insync sees it, and what the broker's truth is behind it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulation.gateway.faults import Fault, FaultKind, FaultScriptError, load_faults
from tests.testkit.gateway_world import World, limit, new_client, until, world
from tests.testkit.hub_fakes import until as eventually

K = FaultKind


def codes_of(ib: Any) -> list[int]:
    """Collect the error codes from now on."""
    codes: list[int] = []
    ib.errorEvent += lambda rid, code, text, contract: codes.append(code)
    return codes


def statuses_of(trade: Any) -> list[str]:
    """Collect the statuses from now on."""
    told: list[str] = []
    trade.statusEvent += lambda t: told.append(t.orderStatus.status)
    return told


async def working(it: World, ib: Any, price: float = 4.5) -> Any:
    """Place a limit order that rests."""
    trade = ib.placeOrder(await it.qualified(ib), limit("BUY", 1, price))
    await until(ib, lambda: trade.orderStatus.status == "Submitted")
    return trade


async def placed(it: World, ib: Any, price: float = 5.1, qty: float = 1) -> Any:
    """Place a limit order."""
    return ib.placeOrder(await it.qualified(ib), limit("BUY", qty, price))


async def back(it: World) -> Any:
    """Reconnect as soon as the gateway lets in."""
    while True:
        try:
            return await it.connect(timeout=2)
        except (TimeoutError, OSError):
            continue


@pytest.mark.parametrize("kind", [K.DROP_REFUSE, K.DROP_RESET])
def test_drop_cuts_the_connection_and_the_port_answers_again_afterwards(kind: FaultKind) -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            trade = await working(it, ib)
            lost = asyncio.Event()
            ib.disconnectedEvent += lost.set
            it.server.inject(Fault(kind, duration_s=3_600))
            await asyncio.wait_for(lost.wait(), 60)
            with pytest.raises(ConnectionRefusedError if kind is K.DROP_REFUSE else OSError):
                await it.connect(timeout=60 if kind is K.DROP_REFUSE else 0.2)
            it.server.end_faults()
            again = await asyncio.wait_for(back(it), 60)
            assert [t.order.permId for t in again.openTrades()] == [trade.order.permId]

    asyncio.run(scenario())


def test_two_drops_that_overlap_end_with_the_longer_one() -> None:
    async def scenario() -> None:
        async with world() as it:
            await it.connect()
            began = time.perf_counter()
            it.server.inject(Fault(K.DROP_REFUSE, duration_s=0.1))
            it.server.inject(Fault(K.DROP_REFUSE, duration_s=0.3))
            await asyncio.wait_for(back(it), 60)
            assert time.perf_counter() - began >= 0.3

    asyncio.run(scenario())


def test_who_connects_to_a_half_open_gateway_hears_nothing_until_it_heals() -> None:
    async def scenario() -> None:
        async with world(Fault(K.DROP_HALF_OPEN, duration_s=3_600)) as it:
            with pytest.raises(TimeoutError):
                await it.connect(client_id=1, timeout=0.1)
            it.server.end_faults()
            ib = await it.connect(client_id=2)
            assert ib.isConnected()

    asyncio.run(scenario())


def test_half_open_connection_is_silent_and_the_order_executes_when_it_heals() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            contract = await it.qualified(ib)
            it.server.inject(Fault(K.DROP_HALF_OPEN, duration_s=3_600))
            trade = ib.placeOrder(contract, limit("BUY", 1, 5.1))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ib.reqCurrentTimeAsync(), 0.2)
            assert ib.isConnected()
            assert trade.orderStatus.status == "PendingSubmit"
            assert it.exchange.open_orders() == []
            it.server.end_faults()
            await until(ib, trade.isDone)
            assert trade.orderStatus.status == "Filled"

    asyncio.run(scenario())


def test_fill_during_1100_is_never_told_and_1102_keeps_the_ticks() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            codes = codes_of(ib)
            contract = await it.qualified(ib)
            ticker = ib.reqMktData(contract, "", False, False)
            trade = await working(it, ib)
            it.server.inject(Fault(K.LINK_LOST, duration_s=3_600, args={"repeat": 3}))
            await until(ib, lambda: 1100 in codes)
            assert ib.isConnected()
            it.market.set(it.market.call, 430, 440)
            await eventually(lambda: it.exchange.open_orders() == [])
            it.server.end_faults()
            await until(ib, lambda: codes.count(1102) == 3)
            await until(ib, lambda: ticker.ask == 4.4)
            assert trade.orderStatus.status == "Submitted"
            assert it.exchange.open_orders() == []
            assert len(await ib.reqExecutionsAsync()) == 1

    asyncio.run(scenario())


def test_1101_means_that_subscriptions_are_gone() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            codes = codes_of(ib)
            contract = await it.qualified(ib)
            ticker = ib.reqMktData(contract, "", False, False)
            await until(ib, lambda: ticker.bid == 5.0)
            it.server.inject(Fault(K.LINK_LOST, duration_s=0.05, args={"data": "lost"}))
            await until(ib, lambda: codes[-2:] == [1100, 1101])
            assert it.server.lines_used() == 0
            it.market.set(it.market.call, 600, 610)
            await ib.reqCurrentTimeAsync()
            assert ticker.bid == 5.0
            ib.reqMktData(contract, "", False, False)
            await until(ib, lambda: ticker.bid == 6.0)

    asyncio.run(scenario())


@pytest.mark.parametrize(("args", "expected"), [({}, [2103, 2104]), ({"history": True}, [2105, 2106])])
def test_farm_goes_and_comes_back(args: dict[str, bool], expected: list[int]) -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            codes = codes_of(ib)
            it.server.inject(Fault(K.FARM_LOST, duration_s=0.05, args=args))
            await until(ib, lambda: codes[-2:] == expected)

    asyncio.run(scenario())


def test_ticks_stay_dead_after_a_flap_until_the_client_subscribes_again() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            codes = codes_of(ib)
            contract = await it.qualified(ib)
            ticker = ib.reqMktData(contract, "", False, False)
            await until(ib, lambda: ticker.bid == 5.0)
            it.server.inject(Fault(K.FARM_LOST, duration_s=0.05, args={"stays_dead": True}))
            await until(ib, lambda: codes[-2:] == [2103, 2104])
            it.market.set(it.market.call, 600, 610)
            it.market.set(it.market.put, 700, 710)
            other = ib.reqMktData(await it.qualified(ib, "P"), "", False, False)
            await until(ib, lambda: other.bid == 7.0)
            assert ticker.bid == 5.0
            ib.cancelMktData(contract)
            ticker = ib.reqMktData(contract, "", False, False)
            await until(ib, lambda: ticker.bid == 6.0)

    asyncio.run(scenario())


def test_who_connects_while_the_link_is_lost_is_told_1100() -> None:
    async def scenario() -> None:
        async with world(Fault(K.LINK_LOST, duration_s=3_600)) as it:
            ib = new_client()
            codes = codes_of(ib)
            it.clients.append(ib)
            await ib.connectAsync("127.0.0.1", it.port, clientId=0, timeout=30)
            assert codes == [1100]

    asyncio.run(scenario())


def test_fault_waits_for_the_markets_clock() -> None:
    async def scenario() -> None:
        later, past = (Fault(K.FARM_LOST, at_clock=at) for at in ("15:00:00", "11:59:00"))
        async with world(later) as it:
            ib = await it.connect()
            codes = codes_of(ib)
            await ib.reqCurrentTimeAsync()
            assert 2103 not in codes
            it.server.inject(past)
            await until(ib, lambda: codes.count(2103) == 1)

    asyncio.run(scenario())


def test_rejected_order_is_inactive_then_201_then_inactive() -> None:
    async def scenario() -> None:
        async with world(Fault(K.ORDER_REJECTED, args={"text": "margin"})) as it:
            ib = await it.connect()
            codes = codes_of(ib)
            trade = await placed(it, ib)
            told = statuses_of(trade)
            await until(ib, lambda: len(told) == 3)
            assert told == ["Inactive", "Cancelled", "Inactive"]  # the library makes 201 a cancel
            assert codes == [201]
            assert it.exchange.executions() == []

    asyncio.run(scenario())


def test_notice_on_a_live_order_does_not_touch_it() -> None:
    async def scenario() -> None:
        async with world(Fault(K.ORDER_NOTICE)) as it:
            ib = await it.connect()
            codes = codes_of(ib)
            trade = await placed(it, ib, 4.5)
            await until(ib, lambda: codes == [10349])
            assert trade.orderStatus.status == "Cancelled"  # so the library says
            assert len(it.exchange.open_orders()) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("reaches", [False, True])
def test_silence_leaves_the_order_pending(reaches: bool) -> None:
    async def scenario() -> None:
        async with world(Fault(K.ORDER_SILENCE, args={"reaches": reaches})) as it:
            ib = await it.connect()
            silent = await placed(it, ib, 4.5)
            spoken = await placed(it, ib, 4.4)
            await until(ib, lambda: spoken.orderStatus.status == "Submitted")
            assert silent.orderStatus.status == "PendingSubmit"
            assert len(it.exchange.open_orders()) == 1 + reaches

    asyncio.run(scenario())


def test_partial_fills_come_in_the_scripted_sizes() -> None:
    async def scenario() -> None:
        async with world(Fault(K.PARTIAL_FILLS, args={"pieces": [1, 2, 2]})) as it:
            ib = await it.connect()
            trade = await placed(it, ib, qty=5)
            seen: list[tuple[str, float]] = []
            trade.statusEvent += lambda t: seen.append((t.orderStatus.status, t.orderStatus.filled))
            await until(ib, trade.isDone)
            assert [f.execution.shares for f in trade.fills] == [1.0, 2.0, 2.0]
            assert seen == [("Submitted", 0), ("Submitted", 1), ("Submitted", 3), ("Filled", 5)]
            await until(ib, lambda: all(f.commissionReport.execId for f in trade.fills))
            total = sum(f.commissionReport.commission for f in trade.fills)
            assert total == pytest.approx(5 * (0.65 + 0.45))

    asyncio.run(scenario())


def test_delayed_acknowledgement_comes_late_and_in_order() -> None:
    async def scenario() -> None:
        async with world(Fault(K.ORDER_DELAYED, duration_s=0.2)) as it:
            ib = await it.connect()
            trade = await placed(it, ib)
            began = time.perf_counter()
            told = statuses_of(trade)
            await until(ib, trade.isDone)
            assert time.perf_counter() - began >= 0.19
            assert told == ["Submitted", "Filled"]

    asyncio.run(scenario())


def test_delayed_fill_comes_late_while_the_order_is_acknowledged_at_once() -> None:
    async def scenario() -> None:
        async with world(Fault(K.ORDER_DELAYED, duration_s=0.5, args={"of": "fills"})) as it:
            ib = await it.connect()
            trade = await placed(it, ib)
            await until(ib, lambda: trade.orderStatus.status == "Submitted")
            while not it.exchange.executions():
                await asyncio.sleep(0)
            assert not trade.fills
            await until(ib, trade.isDone)
            assert len(trade.fills) == 1

    asyncio.run(scenario())


def test_a_delay_of_something_else_than_fills_is_refused() -> None:
    with pytest.raises(ValueError, match="of: fills"):
        Fault(K.ORDER_DELAYED, args={"of": "cancels"})


def test_duplicated_callbacks_carry_the_same_execution() -> None:
    async def scenario() -> None:
        async with world(Fault(K.CALLBACKS_DUPLICATED)) as it:
            ib = await it.connect()
            heard: list[str] = []
            details = ib.wrapper.execDetails

            def on_details(request: int, contract: object, execution: Any) -> None:
                heard.append(execution.execId)
                details(request, contract, execution)

            ib.wrapper.execDetails = on_details
            trade = await placed(it, ib)
            await until(ib, lambda: trade.isDone() and ib.positions())
            assert len(heard) == 2
            assert len(set(heard)) == len(trade.fills) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("status", ["status", "execution", "commission"]),
        ("commission", ["commission", "execution", "status"]),
    ],
)
def test_callbacks_of_a_fill_come_in_another_order(first: str, expected: list[str]) -> None:
    async def scenario() -> None:
        async with world(Fault(K.CALLBACKS_REORDERED, args={"first": first})) as it:
            ib = await it.connect()
            heard: list[str] = []
            wrapper = ib.wrapper

            def listen(name: str, method: str, is_told: Callable[..., bool]) -> None:
                handle = getattr(wrapper, method)

                def on(*args: Any) -> None:
                    if is_told(*args) and name not in heard:
                        heard.append(name)
                    handle(*args)

                setattr(wrapper, method, on)

            listen("status", "orderStatus", lambda *args: args[1] == "Filled")
            listen("execution", "execDetails", lambda *args: True)
            listen("commission", "commissionReport", lambda *args: True)
            trade = await placed(it, ib)
            await until(ib, lambda: trade.isDone() and len(heard) == 3)
            assert heard == expected

    asyncio.run(scenario())


def test_104_then_the_fill_shows_cancelled_before_filled() -> None:
    async def scenario() -> None:
        async with world(Fault(K.MODIFY_104_THEN_FILL)) as it:
            ib = await it.connect()
            codes = codes_of(ib)
            trade = await working(it, ib)
            told = statuses_of(trade)
            trade.order.lmtPrice = 4.6
            ib.placeOrder(trade.contract, trade.order)
            await until(ib, lambda: "Filled" in told)
            assert told == ["Cancelled", "Filled"]
            assert codes == [104]
            assert trade.fills[0].execution.price == 4.5

    asyncio.run(scenario())


def test_104_with_the_execution_alone_leaves_the_library_wrong() -> None:
    async def scenario() -> None:
        async with world(Fault(K.MODIFY_104_EXECUTION_ONLY)) as it:
            ib = await it.connect()
            trade = await working(it, ib)
            ib.placeOrder(trade.contract, trade.order)
            await until(ib, lambda: trade.fills and ib.positions())
            assert trade.orderStatus.status == "Cancelled"
            assert [s.status for s in it.exchange.completed()] == ["Filled"]

    asyncio.run(scenario())


def test_fill_then_104_stays_filled() -> None:
    async def scenario() -> None:
        async with world(Fault(K.MODIFY_FILL_THEN_104)) as it:
            ib = await it.connect()
            codes = codes_of(ib)
            trade = await working(it, ib)
            ib.placeOrder(trade.contract, trade.order)
            await until(ib, lambda: 104 in codes)
            assert trade.orderStatus.status == "Filled"

    asyncio.run(scenario())


@pytest.mark.parametrize("code", [105, 161, 201, 321])
def test_error_on_a_modification_leaves_the_order_working(code: int) -> None:
    async def scenario() -> None:
        async with world(Fault(K.MODIFY_ERROR, args={"code": code, "text": "no"})) as it:
            ib = await it.connect()
            codes = codes_of(ib)
            trade = await working(it, ib)
            trade.order.lmtPrice = 4.6
            ib.placeOrder(trade.contract, trade.order)
            await until(ib, lambda: code in codes)
            assert trade.orderStatus.status == "Cancelled"
            (state,) = it.exchange.open_orders()
            assert state.order.limit_ticks == 450

    asyncio.run(scenario())


@pytest.mark.parametrize("code", [10147, 10148, 161])
def test_error_on_a_cancellation_leaves_the_order_working(code: int) -> None:
    async def scenario() -> None:
        async with world(Fault(K.CANCEL_ERROR, args={"code": code, "text": "no"})) as it:
            ib = await it.connect()
            codes = codes_of(ib)
            trade = await working(it, ib)
            ib.cancelOrder(trade.order)
            await until(ib, lambda: code in codes)
            assert len(it.exchange.open_orders()) == 1

    asyncio.run(scenario())


def test_cancel_that_comes_after_the_fill_gets_10148() -> None:
    async def scenario() -> None:
        async with world(Fault(K.CANCEL_FILL_FIRST)) as it:
            ib = await it.connect()
            codes = codes_of(ib)
            trade = await working(it, ib)
            ib.cancelOrder(trade.order)
            await until(ib, lambda: 10148 in codes)
            assert trade.orderStatus.status == "Filled"
            assert len(trade.fills) == 1

    asyncio.run(scenario())


def test_pacing_fault_tells_100_and_cuts() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            codes = codes_of(ib)
            lost = asyncio.Event()
            ib.disconnectedEvent += lost.set
            ib.client.MaxRequests = 0
            it.server.inject(Fault(K.PACING, duration_s=3_600))
            for _ in range(60):
                ib.client.reqIds(1)
            await asyncio.wait_for(lost.wait(), 60)
            assert codes == [100]

    asyncio.run(scenario())


def test_competing_session_and_delayed_data_reach_the_subscriber() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            codes = codes_of(ib)
            ib.reqMktData(await it.qualified(ib), "", False, False)
            it.server.inject(Fault(K.DELAYED_DATA, duration_s=3_600))
            ticker = ib.reqMktData(await it.qualified(ib, "P"), "", False, False)
            await until(ib, lambda: ticker.bid == 4.5)
            assert ticker.marketDataType == 3
            it.server.inject(Fault(K.COMPETING_SESSION, duration_s=3_600))
            await until(ib, lambda: codes == [10197, 10197])

    asyncio.run(scenario())


def test_lines_are_as_few_as_the_fault_says_and_a_snapshot_needs_none() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            codes = codes_of(ib)
            first = ib.reqMktData(await it.qualified(ib), "", False, False)
            await until(ib, lambda: first.bid == 5.0)
            it.server.inject(Fault(K.LINE_LIMIT, duration_s=3_600, args={"lines": 1}))
            ib.reqMktData(await it.qualified(ib, "P"), "", False, False)
            await until(ib, lambda: codes == [101])
            (shown,) = await ib.reqTickersAsync(await it.qualified(ib, "P"))
            assert shown.bid == 4.5
            it.server.end_faults()
            second = ib.reqMktData(await it.qualified(ib, "P"), "", False, False)
            await until(ib, lambda: second.bid == 4.5)
            assert codes == [101]

    asyncio.run(scenario())


def test_client_id_stays_in_use_for_the_time_of_the_fault() -> None:
    async def scenario() -> None:
        async with world(Fault(K.CLIENT_ID_IN_USE, duration_s=3_600)) as it:
            with pytest.raises((TimeoutError, ConnectionError)):
                await it.connect(timeout=0.2)
            it.server.end_faults()
            assert (await asyncio.wait_for(back(it), 60)).isConnected()

    asyncio.run(scenario())


def test_fault_waits_for_its_instant_and_spares_the_first_orders() -> None:
    async def scenario() -> None:
        faults = (Fault(K.ORDER_ERROR, after_n=1), Fault(K.ORDER_ERROR, at_s=3_600))
        async with world(*faults) as it:
            ib = await it.connect()
            codes = codes_of(ib)
            await working(it, ib)
            hit = await placed(it, ib)
            await until(ib, lambda: hit.orderStatus.status == "Cancelled")
            await working(it, ib)
            assert codes == [103]

    asyncio.run(scenario())


def test_script_is_read_from_yaml_and_a_bad_one_is_explained(tmp_path: Path) -> None:
    script = tmp_path / "faults.yaml"
    script.write_text("- kind: drop_refuse\n  at_s: 20\n  duration_s: 6\n- kind: order_silence\n")
    assert load_faults(script) == [
        Fault(K.DROP_REFUSE, at_s=20, duration_s=6),
        Fault(K.ORDER_SILENCE),
    ]
    for wrong in ("kind: partial_fills", "kind: link_lost\n  at_clock: noon", "kind: order_silence\n  when: 3"):
        script.write_text(f"- {wrong}\n")
        with pytest.raises(FaultScriptError, match=r"faults\.yaml"):
            load_faults(script)
    script.write_text("- kind: drop_everything\n")
    with pytest.raises(FaultScriptError, match=r"faults\.yaml.*drop_everything.*correct"):
        load_faults(script)
    with pytest.raises(FaultScriptError, match="missing"):
        load_faults(tmp_path / "missing.yaml")
