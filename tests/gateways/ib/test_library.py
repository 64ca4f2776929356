"""The library of IB: chosen in one place, and on the wire the same whichever it is."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from domain.instruments import Contract, OrderType, Right, Side
from gateways.ib import library
from gateways.ib import translate as tr
from gateways.ib.decoding import WireClient
from tests.house.test_import_direction import imports, modules
from tests.testkit.paths import ROOT

CALL = Contract(7, "SPX", "SPXW", date(2026, 11, 20), 600_050, Right.CALL)
CALL_TEXT = "7|SPX|OPT|20261120|6000.5|C|100|SMART||USD||SPXW|"
OTHER = next(name for name in library.KNOWN if name != library.NAME)
# An order from its open/close flag on; what we never set is empty or nought, as the gateway counts its fields.
UNSET = "|||||0||-1|0|||0|||0|0||0||||||0|||||0|||||||||||0|||0|0|||0||0|0|0|0|||||||0|||||||||0|0|0|0|||0|||"
ORDER = "|DU1|O|0|ZH-r|1|0|0|0|0|0|0|0||0.0||"
Send = Callable[[WireClient], None]


def placing(*order: Any) -> Send:
    """Place an order of `ib_order_of`'s arguments after the reference."""
    return lambda client: client.placeOrder(5, tr.ib_option(CALL), tr.ib_order_of("ZH-r", *order))


CHAIN = tr.ib_chain("SPX", "SPXW", CALL.expiry, Right.CALL)
REQUESTS: dict[str, tuple[Send, str]] = {
    "limit order": (
        placing(Side.BUY, 3, OrderType.LIMIT, 1_205, None, "DU1"),
        f"3|5|{CALL_TEXT}||BUY|3|LMT|12.05||DAY|{ORDER}|{UNSET}",
    ),
    "stop order": (
        placing(Side.SELL, 3, OrderType.STOP, None, 200, "DU1"),
        f"3|5|{CALL_TEXT}||SELL|3|STP||2.0|DAY|{ORDER}|{UNSET}",
    ),
    "market order with an end": (
        placing(Side.SELL, 3, OrderType.MARKET, None, None, "DU1", "20261120-17:00:00"),
        f"3|5|{CALL_TEXT}||SELL|3|MKT|||GTD|{ORDER}20261120-17:00:00|{UNSET}",
    ),
    "cancel": (lambda client: client.cancelOrder(5), "4|1|5||"),
    "global cancel": (lambda client: client.reqGlobalCancel(), "58|1|"),
    "account values": (lambda client: client.reqAccountUpdates(True, "DU1"), "6|2|1|DU1|"),
    "open orders": (lambda client: client.reqAllOpenOrders(), "16|1|"),
    "completed orders": (lambda client: client.reqCompletedOrders(False), "99|0|"),
    "positions": (lambda client: client.reqPositions(), "61|1|"),
    "executions": (lambda client: client.reqExecutions(9, library.ExecutionFilter()), "7|3|9|0|||||||"),
    "time": (lambda client: client.reqCurrentTime(), "49|1|"),
    "market data": (
        lambda client: client.reqMktData(4, tr.ib_option(CALL), "101", False, False, []),
        f"1|11|4|{CALL_TEXT}0|101|0|0||",
    ),
    "end of market data": (lambda client: client.cancelMktData(4), "2|2|4|"),
    "kind of market data": (lambda client: client.reqMarketDataType(1), "59|1|1|"),
    "chain": (
        lambda client: client.reqContractDetails(3, CHAIN),
        "9|8|3|0|SPX|OPT|20261120|0.0|C|100|SMART||USD||SPXW|0||||",
    ),
}


class Deaf:
    """A session that wants to hear nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


@pytest.mark.parametrize("request_name", REQUESTS)
def test_a_request_leaves_as_the_same_text_from_either_library(request_name: str) -> None:
    send, text = REQUESTS[request_name]
    client: Any = WireClient(Deaf())
    sent: list[str] = []
    client.connState, client._serverVersion, client.sendMsg = client.CONNECTED, library.WIRE_VERSION_MAX, sent.append
    send(client)
    assert [message.replace("\0", "|") for message in sent] == [text]


def test_the_gateway_is_offered_the_wire_that_our_decoder_was_written_for() -> None:
    async def offered() -> bytes:
        hello: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            hello.set_result(await reader.readuntil(b"v157..176"))
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            dial = asyncio.ensure_future(WireClient(Deaf()).connectAsync("127.0.0.1", port, 11, 5.0))
            try:
                return await asyncio.wait_for(hello, 60)
            finally:
                dial.cancel()
                await asyncio.gather(dial, return_exceptions=True)

    assert asyncio.run(offered()).startswith(b"API\0")


def test_only_one_module_names_the_library() -> None:
    named = {
        path.relative_to(ROOT).as_posix()
        for path in modules("gateways")
        for _, name in imports(path)
        if name in library.KNOWN
    }
    assert named == {"gateways/ib/library.py"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ibapi", "ZEROHOUR_IB_LIBRARY is 'ibapi': known are ib_insync and ib_async; take it out of the environment"),
        (OTHER, f"{OTHER} is not installed in this environment: set ZEROHOUR_IB_LIBRARY to the one that is"),
    ],
    ids=["unknown", "not installed"],
)
def test_a_library_that_cannot_be_had_ends_the_start_with_one_sentence(name: str, words: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import gateways.ib.orders_port"], cwd=ROOT, text=True, capture_output=True,
        env=os.environ | {library.VARIABLE: name}, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.startswith(words)
    assert ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_choice_in_the_env_file_is_refused_since_it_is_read_too_late(tmp_path: Path) -> None:
    (tmp_path / "env").write_text(f"{library.VARIABLE}={library.NAME}\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != library.VARIABLE}
    ended = subprocess.run(
        [sys.executable, "main.py", "--data", str(tmp_path), "status"], cwd=ROOT, text=True, capture_output=True,
        env=environment | {"ZEROHOUR_ENV_FILE": str(tmp_path / "env")}, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "ZEROHOUR_IB_LIBRARY is read before this file; set it where the program is started" in ended.stderr
