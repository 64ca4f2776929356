"""What doctor says of orders that go to a broker beside IB."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from commands.doctor import _other_brokers
from config.settings import Settings, load_settings
from config.tree import DeskBeside

NAMES = ("ZEROHOUR_TASTYTRADE_SECRET", "ZEROHOUR_TASTYTRADE_TOKEN")


def settings_of(orders: str, **tastytrade: Any) -> Settings:
    settings: Settings = load_settings(profile="real")
    own = dataclasses.replace(settings.broker.tastytrade, **tastytrade)
    return settings.model_copy(update={"broker": dataclasses.replace(settings.broker, orders=orders, tastytrade=own)})


def test_orders_to_ib_need_nothing_more() -> None:
    assert list(_other_brokers(settings_of("ib"))) == []


@pytest.mark.parametrize("missing", NAMES)
def test_a_missing_secret_is_a_finding_that_names_it(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        if name != missing:
            monkeypatch.setenv(name, "a secret")
    wrong = [finding for finding in _other_brokers(settings_of("tastytrade")) if not finding.is_ok]
    assert [missing in finding.remedy for finding in wrong] == [True]
    assert "a secret" not in repr(wrong)


@pytest.mark.parametrize(
    ("host", "is_ok"),
    [
        ("api.cert.tastyworks.com", True),
        ("127.0.0.1", True),
        ("api.tastyworks.com", False),
        ("elsewhere.example", False),
    ],
)
def test_a_host_of_the_other_kind_is_a_finding(monkeypatch: pytest.MonkeyPatch, host: str, is_ok: bool) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "a secret")
    *_, orders = _other_brokers(settings_of("tastytrade", rest_url=f"https://{host}"))
    assert orders.is_ok is is_ok


def test_a_desk_beside_is_asked_for_its_own_brokers_login(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    settings = settings_of("ib")
    settings = settings.model_copy(
        update={"desks": {"rest": DeskBeside("paper", "tastytrade"), "model": DeskBeside("sim")}}
    )
    wrong = [finding for finding in _other_brokers(settings) if not finding.is_ok]
    assert [name in finding.remedy for name, finding in zip(NAMES, wrong, strict=True)] == [True, True]
