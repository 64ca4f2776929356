"""`doctor` against gateways that are set up badly: each fault is named with its remedy, and a good one has none.

The gateway is the simulated one over real sockets; what is bad about it comes from its script of faults.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, ParamSpec

import pytest

from commands.doctor_gateway import gateway_findings, masked
from commands.findings import Finding
from config.settings import Settings, load_settings
from domain.instants import SECOND
from domain.units import Qty
from gateways.ib import checkup
from gateways.ib.checkup import Asked, look
from simulation.gateway.faults import Fault, FaultKind
from tests.testkit.gateway_world import NOON, World, world

P = ParamSpec("P")
K = FaultKind


def in_a_loop(scenario: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test that awaits in a loop of its own."""

    @wraps(scenario)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(scenario(*args, **kwargs))

    return run


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "LINE_S", 20.0)
    monkeypatch.setattr(checkup, "STEP_S", 20.0)


def fault(kind: FaultKind, **args: Any) -> Fault:
    return Fault(kind, duration_s=600.0, args=args)


def settings(**changes: Any) -> Settings:
    return load_settings(profile="real", overrides={"lanes": {"gexwatch": ["SPX"]}, "alerts": ONLY} | changes)


ONLY = {"gexwatch": ["GAMMA_FLIP"]}


async def found(it: World, *, account: str | None = None, tries_order: bool = False, **changes: Any) -> list[Finding]:
    rules = settings(**changes)
    asked = Asked(client_ids=(11, 12), classes={"SPX": "SPXW"}, account=account, tries_order=tries_order)
    seen = await look("127.0.0.1", it.port, asked, lambda: it.server.now_utc() / SECOND)
    return list(gateway_findings(seen, rules, account))


async def faults_of(*faults: Fault, **how: Any) -> list[tuple[str, str, str]]:
    async with world(*faults) as it:
        return [(row.check, row.seen, row.remedy) for row in await found(it, **how) if not row.is_ok]


@in_a_loop
async def test_a_good_gateway_has_no_fault_and_tells_masked_account_balance_and_data() -> None:
    async with world() as it:
        rows = await found(it, tries_order=True)
        number = it.exchange.account
        assert [row for row in rows if not row.is_ok] == []
        assert {row.check for row in rows} == {
            "IB Gateway", "balance", "market data of SPX", "market data, options of SPXW", "orders of SPXW",
        }  # fmt: skip
        assert number not in " ".join(row.seen for row in rows)
        assert it.exchange.open_orders() == []


@in_a_loop
async def test_an_order_that_is_only_asked_about_is_never_sent() -> None:
    async with world() as it:
        await found(it, tries_order=True)
        assert it.exchange.positions() == []
        assert it.exchange.open_orders() == []


BAD = {
    "client id in use": ((fault(K.CLIENT_ID_IN_USE),), {}, "client id", "11, 12 in use", "broker.client_ids"),
    "delayed data": ((fault(K.DELAYED_DATA, type=3),), {}, "market data of SPX", "delayed, not live", "Subscribe"),
    "frozen data": ((fault(K.DELAYED_DATA, type=2),), {}, "market data of SPX", "frozen, not live", "Subscribe"),
    "no index data": ((fault(K.NOT_SUBSCRIBED, of="SPX"),), {}, "market data of SPX", "354", "Subscribe"),
    "no option data": (
        (fault(K.NOT_SUBSCRIBED, of="SPXW", code=10089),), {}, "market data, options of SPXW", "10089", "OPRA",
    ),
    "competing session": ((fault(K.COMPETING_SESSION),), {}, "market data of SPX", "10197", "Log out of the other"),
    "read-only API": ((fault(K.READ_ONLY),), {}, "API rights", "read-only", "Untick `Read-Only API`"),
    "no SPXW permission": (
        (fault(K.NOT_PERMITTED, of="SPXW"),), {}, "contracts", "lists no SPXW options of SPX", "Trading Permissions",
    ),
    "option level": (
        (Fault(K.ORDER_REJECTED, args={"text": "Order rejected - reason:no trading permissions"}),),
        {"tries_order": True}, "orders of SPXW", "refuse one with 201: Order rejected", "option level",
    ),
    "order precautions": (
        (fault(K.FIELD, field="open.warning", value="exceeds the Size Limit"),), {"tries_order": True},
        "orders of SPXW", "would ask first: exceeds the Size Limit", "Bypass Order Precautions",
    ),
    "base currency": (
        (fault(K.FIELD, field="account.currency", value="EUR"),), {}, "base currency", "in EUR", "base currency to USD",
    ),
    "clock": (
        (fault(K.FIELD, field="time.seconds", value=int(NOON / SECOND) + 90),), {}, "broker's clock",
        "behind the broker", "NTP",
    ),
    "a paper account on a live desk": (
        (), {"trading_mode": "live"}, "account type", "a paper account, though trading_mode is live",
        "Log in to the live account",
    ),
    "another account": ((), {"account": "DU7654399"}, "account", "does not have account DU…99", "ZEROHOUR_IB_ACCOUNT"),
    "least NAV": (
        (fault(K.FIELD, field="account.value", value="9000"),), {}, "least NAV", "not even one SPX contract of 2.00",
        "Fund the account",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
@in_a_loop
async def test_a_bad_set_up_is_named_with_its_remedy(name: str) -> None:
    script, how, check, seen, remedy = BAD[name]
    rows = await faults_of(*script, **how)
    told = next((row for row in rows if row[0] == check), None)
    assert told is not None, rows
    assert seen in told[1]
    assert remedy in told[2]


@in_a_loop
async def test_a_live_account_on_a_paper_desk_is_a_fault() -> None:
    async with world() as it:
        it.exchange.account = "U1234567"
        rows = [row.seen for row in await found(it) if not row.is_ok]
    assert rows == ["U1…67 is a LIVE account, though trading_mode is paper"]


@in_a_loop
async def test_a_client_of_another_program_with_our_number_is_told() -> None:
    async with world() as it:
        await it.connect(client_id=12)
        rows = [row.seen for row in await found(it) if not row.is_ok]
    assert rows == [f"12 in use at 127.0.0.1:{it.port}"]


@in_a_loop
async def test_what_is_reached_but_is_no_gateway_is_told() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        asked = Asked(client_ids=(11,), classes={"SPX": "SPXW"})
        (row,) = gateway_findings(await look("127.0.0.1", port, asked), settings(), None)
    assert (row.is_fault, "does not speak the API" in row.seen) == (True, True)
    assert "Enable ActiveX and Socket Clients" in row.remedy


@asynccontextmanager
async def _a_free_port() -> AsyncIterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@in_a_loop
async def test_a_wrong_port_is_told_with_the_one_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as it, _a_free_port() as port:
        monkeypatch.setattr(checkup, "OTHER_PORTS", (it.port,))
        monkeypatch.setattr("commands.doctor_gateway._PORTS", {it.port: "IB Gateway, paper"})
        asked = Asked(client_ids=(11,), classes={"SPX": "SPXW"})
        (row,) = gateway_findings(await look("127.0.0.1", port, asked), settings(), None)
    assert row.is_fault
    assert f"Something answers on {it.port} (IB Gateway, paper)" in row.remedy


@in_a_loop
async def test_a_gateway_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "OTHER_PORTS", ())
    async with _a_free_port() as port:
        (row,) = gateway_findings(await look("127.0.0.1", port, Asked(client_ids=(1,), classes={})), settings(), None)
    assert row.seen == f"127.0.0.1:{port} cannot be reached (nothing listens there)"
    assert "Start IB Gateway and log in" in row.remedy


@pytest.mark.parametrize(("account", "shown"), [("DU1234567", "DU…67"), ("U12", "…")])
def test_an_account_is_masked(account: str, shown: str) -> None:
    assert masked(account) == shown


# -- the spread's sold calls ----------------------------------------------------------------------------


async def sold(it: World, *, tries_order: bool = True) -> Finding:
    """Return what is found of ten SPY calls sold uncovered."""
    asked = Asked(
        client_ids=(11,), classes={"SPX": "SPXW", "SPY": "SPY"}, tries_order=tries_order, sold=("SPY", Qty(10))
    )
    seen = await look("127.0.0.1", it.port, asked, lambda: it.server.now_utc() / SECOND)
    rows = gateway_findings(seen, settings(spread={"is_on": True}, promoted=["CREDIT_SPREAD-1"]), None)
    (row,) = [row for row in rows if row.check == "sold calls of the spread"]
    return row


@in_a_loop
async def test_the_margin_of_the_spreads_sold_calls_is_asked_and_told_and_nothing_is_sent() -> None:
    async with world(fault(K.FIELD, field="account.value", value="400000")) as it:
        row = await sold(it)
        assert row.is_ok, row
        assert "10 SPY calls sold uncovered would block" in row.seen
        assert it.exchange.open_orders() == []
        assert it.exchange.positions() == []


@in_a_loop
async def test_an_account_that_does_not_carry_the_sold_calls_is_told_before_the_first_spread() -> None:
    async with world() as it:
        row = await sold(it)
    assert not row.is_ok
    assert row.seen.endswith("would block 120,000 USD; 90,000 USD may be used for it")
    assert "spread.is_on to false" in row.remedy


@in_a_loop
async def test_a_broker_that_lets_nobody_sell_uncovered_calls_is_told_with_its_remedy() -> None:
    text = "Order rejected - reason:uncovered option trading"
    async with world(Fault(K.ORDER_REJECTED, after_n=1, args={"text": text})) as it:
        row = await sold(it)
    assert "would refuse 10 SPY calls sold uncovered with 201" in row.seen
    assert "option level that sells uncovered calls" in row.remedy


@in_a_loop
async def test_without_asking_it_is_said_what_the_sold_calls_need() -> None:
    async with world() as it:
        row = await sold(it, tries_order=False)
    assert row.is_warning
    assert "Reg T" in row.seen
    assert "--try-order" in row.remedy
