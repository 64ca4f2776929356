"""The table of brokers: which port a desk's orders go to, and what a start is told where it cannot be made."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from config.settings import Settings, load_settings
from domain.orders.capabilities import CAPABILITIES
from gateways.brokers import DIRECT_WAYS, MAKERS, BrokerSetupError, OrderPortSetup, order_port
from gateways.contract_book import ContractBook
from gateways.ib.orders_port import OrdersPort
from gateways.tastytrade.orders_port import TastytradeOrdersPort
from tests.testkit.ibkr_world import Mailbox, RealClock

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


def test_whoever_takes_orders_can_be_closed_without_an_actor() -> None:
    assert set(DIRECT_WAYS) == set(MAKERS) == set(CAPABILITIES)


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
