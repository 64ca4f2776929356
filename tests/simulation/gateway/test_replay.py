"""Recorded callbacks reach a client in the order in which they came, from Python and over the control port."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from simulation.gateway.replay import Callback
from tests.simulation.gateway.raw_client import RawClient
from tests.simulation.gateway.test_control import controlled
from tests.testkit.gateway_world import until, world
from tests.testkit.paths import CALLBACKS, needs_recorded_callbacks

NUMBERS = {"openOrder": "5", "orderStatus": "3", "execDetails": "11", "error": "4"}


def told(row: list[str]) -> tuple[str, ...]:
    """What the recorder would have kept of a frame."""
    match row[0]:
        case "3":
            return ("3", row[1], row[2], str(float(row[3])), str(float(row[5])))
        case "4":
            return ("4", row[2], row[3], row[4])
        case "11":
            return ("11", row[2], row[18], str(float(row[19])), str(float(row[20])))
        case _:
            return (row[0],)


def kept(row: dict[str, Any]) -> tuple[str, ...]:
    """The same of a row of the record."""
    match row["kind"]:
        case "orderStatus":
            return ("3", str(row["orderId"]), row["status"], str(row["filled"]), str(row["avg"]))
        case "error":
            return ("4", str(row["reqId"]), str(row["code"]), row["msg"])
        case "execDetails":
            return ("11", str(row["orderId"]), row["side"], str(row["qty"]), str(row["px"]))
        case kind:
            return (NUMBERS[kind],)


@needs_recorded_callbacks
def test_a_recorded_session_comes_over_the_socket_as_it_came() -> None:
    async def scenario() -> None:
        record = json.loads(CALLBACKS.read_text(encoding="utf-8"))
        async with controlled() as (it, ask):
            client = await RawClient.connect(it.port)
            assert await ask("POST", CALLBACKS.read_bytes(), "/callbacks") == (200, {"clients": 1})
            heard = await client.ask()
            assert len(heard) == 555
            assert [told(row) for row in heard] == [kept(row) for row in record]
            assert it.exchange.open_orders() == []
            client.close()

    asyncio.run(scenario())


def callbacks(*rows: dict[str, Any]) -> list[Callback]:
    return msgspec.convert(list(rows), list[Callback])


def execution(exec_id: str, price: float) -> dict[str, Any]:
    return {
        "kind": "execDetails", "orderId": 5, "contract": "SPX_6765_C_20251022", "side": "BOT", "qty": 1, "px": price,
        "execId": exec_id,
    }  # fmt: skip


def status(name: str, filled: int = 0) -> dict[str, Any]:
    return {"kind": "orderStatus", "orderId": 5, "status": name, "filled": filled, "avg": 0.3 if filled else 0.0}


def opened(name: str) -> dict[str, Any]:
    return {"kind": "openOrder", "state": name}


FILL = [
    opened("Submitted"), status("Submitted"), execution("a.1.01.01", 0.3), opened("Filled"), status("Filled", 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "executions", "end"),
    [
        (FILL, ["a.1.01.01"], "Filled"),
        ([*FILL, *FILL[-2:]], ["a.1.01.01"], "Filled"),  # Filled twice, as 29 of 29 real orders had it
        ([*FILL, FILL[2]], ["a.1.01.01"], "Filled"),  # the same execution once more
        ([*FILL, execution("a.1.01.02", 0.35)], ["a.1.01.01", "a.1.01.02"], "Filled"),  # corrected
        ([*FILL[:2], *FILL[3:], FILL[2]], ["a.1.01.01"], "Filled"),  # the execution late
        ([opened("Inactive"), status("Inactive"), {"kind": "error", "reqId": 5, "code": 201}], [], "Cancelled"),
    ],
)
def test_callbacks_duplicated_permuted_late_or_corrected_are_what_a_client_library_makes_of_them(
    rows: list[dict[str, Any]], executions: list[str], end: str
) -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            codes: list[int] = []
            ib.errorEvent += lambda request_id, code, text, contract: codes.append(code)
            assert it.server.replay(callbacks(*rows, {"kind": "error", "reqId": -1, "code": 2100})) == 1
            await until(ib, lambda: 2100 in codes)
            (trade,) = ib.trades()
            assert [fill.execution.execId for fill in trade.fills] == executions
            assert trade.orderStatus.status == end

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "wrong", [{"contract": "SPX"}, {"side": "BUY"}, {"ts": "yesterday"}], ids=["contract", "side", "time"]
)
def test_a_row_that_cannot_be_written_sends_nothing(wrong: dict[str, str]) -> None:
    async def scenario() -> None:
        async with world() as it:
            client = await RawClient.connect(it.port)
            with pytest.raises(ValueError, match="expected"):
                it.server.replay(callbacks(status("Submitted"), execution("a.1.01.01", 0.3) | wrong))
            assert await client.ask() == []
            client.close()

    asyncio.run(scenario())
