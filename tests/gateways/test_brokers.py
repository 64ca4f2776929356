"""The table of brokers: which port a desk's orders go to, and what a start is told where it cannot be made."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from typing import Any

import pytest

from commands.doctor import _other_brokers
from config.settings import Settings, load_settings
from domain.orders.capabilities import CAPABILITIES
from domain.orders.references import DIRECT
from gateways import brokers
from gateways.brokers import (
    BROKERS,
    BrokerRow,
    BrokerSetupError,
    DirectSetup,
    OrderPort,
    OrderPortSetup,
    direct_way,
    order_port,
)
from gateways.contract_book import ContractBook
from gateways.direct import flatten
from gateways.ib.orders_port import OrdersPort
from gateways.tastytrade.orders_port import TastytradeOrdersPort
from tests.testkit import acme_port
from tests.testkit.ibkr_world import Mailbox, RealClock
from tests.testkit.paths import ROOT

SECRETS = {"ZEROHOUR_TASTYTRADE_SECRET": "a-client-secret", "ZEROHOUR_TASTYTRADE_TOKEN": "a-refresh-token"}


def setup_of(orders: str = "ib", **tastytrade: Any) -> OrderPortSetup:
    settings: Settings = load_settings(profile="real")
    own = dataclasses.replace(settings.broker.tastytrade, **tastytrade)
    broker = dataclasses.replace(settings.broker, orders=orders, tastytrade=own)
    settings = settings.model_copy(update={"broker": broker})
    return OrderPortSetup(
        "port:ibkr:paper", settings, settings.broker.gateways, RealClock(), Mailbox().tell, None, ContractBook()
    )


def test_orders_go_to_ib_unless_the_settings_say_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(order_port(setup_of()), OrdersPort)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    assert isinstance(order_port(setup_of("tastytrade")), TastytradeOrdersPort)


def direct_setup_of(setup: OrderPortSetup) -> DirectSetup:
    return DirectSetup(setup.settings, setup.gateways, setup.clock, None, setup.contracts)


@pytest.mark.parametrize("name", sorted(CAPABILITIES))
def test_whoever_takes_orders_can_be_closed_without_an_actor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = setup_of(name)
    for variable in BROKERS[name].login(setup.settings):
        monkeypatch.setenv(variable, "a secret")
    assert isinstance(order_port(setup), OrderPort)
    port = direct_way(direct_setup_of(setup)).make(Mailbox().tell)
    assert port.name == f"port:{DIRECT}"
    assert port.capabilities == CAPABILITIES[name]


def test_a_row_without_a_way_out_is_none() -> None:
    row: Any = BrokerRow
    with pytest.raises(TypeError, match="directly"):
        row(BROKERS["ib"].port)


@pytest.mark.parametrize("make", [order_port, lambda setup: direct_way(direct_setup_of(setup))], ids=["port", "direct"])
def test_a_broker_of_the_settings_without_a_row_is_refused_in_a_sentence(make: Any) -> None:
    with pytest.raises(BrokerSetupError, match=r"broker\.orders is acme, .*: give it a row in BROKERS of .*"):
        make(setup_of("acme"))
    (finding,) = _other_brokers(setup_of("acme").settings)
    assert finding.is_fault
    assert finding.seen == "broker.orders is acme, which takes no orders yet"


def test_the_row_of_the_guide_trades_and_gets_out_and_asks_for_nobodys_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)
    page = (ROOT / "docs" / "guides" / "add-a-broker.md").read_text(encoding="utf-8")
    step = page.partition("5. **The row that makes it**")[2].partition("\n6. ")[0]
    functions, row = (textwrap.dedent(code) for code in re.findall(r"```python\n(.*?)```", step, re.DOTALL))
    space: dict[str, Any] = {**vars(brokers), "AcmeOrdersPort": acme_port.AcmeOrdersPort, "ACME": "acme"}
    exec(compile(f"{functions}\nROWS = {{{row}}}\n", "the guide", "exec"), space)
    monkeypatch.setattr(brokers, "BROKERS", {**BROKERS, **space["ROWS"]})

    setup = setup_of("acme")
    port = order_port(setup)
    try:
        assert isinstance(port, acme_port.AcmeOrdersPort)
    finally:
        port.close()
    outcome = flatten(direct_way(direct_setup_of(setup)), {}, clock=setup.clock, say=lambda _: None)
    assert outcome.is_flat
    assert [(finding.check, finding.is_ok) for finding in _other_brokers(setup.settings)] == [("orders", True)]


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_a_missing_secret_is_named_and_no_port_is_made(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name, value in SECRETS.items():
        if name == missing:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(BrokerSetupError, match=f"set {missing} \\(or name a file"):
        order_port(setup_of("tastytrade"))


@pytest.mark.parametrize(
    "address",
    [{"rest_url": "http://api.example.com"}, {"stream_url": "ws://streamer.example.com"}],
    ids=["REST", "the stream"],
)
def test_an_address_without_tls_beyond_this_machine_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: dict[str, str]
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BrokerSetupError, match="no address with TLS"):
        order_port(setup_of("tastytrade", **address))
