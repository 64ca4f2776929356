"""Several desks in the settings: what each of them sees, and what is refused because two of them could meet."""

from __future__ import annotations

import os
from typing import Any

import pytest

from config.desks import allowed_at, desk_names, of_desk, traded_at
from config.layers import merged
from config.settings import SettingsError, from_json, load_settings

REAL: dict[str, Any] = {
    "kind": "live", "gateways": [{"host": "127.0.0.1", "port": 4001}], "account_env": "REAL_ACCOUNT",
    "armed_env": "REAL_ARMED", "client_ids": {"orders": 21, "quotes": 22, "chains": 23, "direct": 29},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ZEROHOUR_")]:
        monkeypatch.delenv(name)


def loaded(desks: dict[str, Any], profile: str = "real", **more: Any) -> Any:
    return load_settings(profile=profile, overrides={"desks": desks} | more)


def test_a_desk_sees_settings_as_if_it_were_alone() -> None:
    settings = loaded({"real": REAL, "model": {"kind": "sim"}})
    assert desk_names(settings) == ("paper", "real", "model")
    assert of_desk(settings, "paper") is settings
    real = of_desk(settings, "real")
    assert (real.desk, real.trading_mode, real.live_armed_env) == ("real", "live", "REAL_ARMED")
    assert (real.broker.live_port, real.broker.account_env, real.broker.client_ids.orders) == (4001, "REAL_ACCOUNT", 21)
    assert (real.exits.disaster_stop, settings.exits.disaster_stop) == (True, False), "live money has its stop"
    model = of_desk(settings, "model")
    assert (model.trading_mode, model.broker.gateways, model.broker.client_ids.quotes) == (
        "paper", settings.broker.gateways, 41,
    )  # fmt: skip
    assert from_json(settings.to_json()).to_json() == settings.to_json()


def test_a_strategy_names_where_it_trades_and_where_it_may() -> None:
    settings = loaded(
        {"real": REAL, "model": {"kind": "sim"}},
        strategies={"gexwatch": {"desks": ["paper", "model"], "switch_to": ["real"]}},
    )
    assert traded_at(settings)["gexwatch"] == ("paper", "model")
    assert traded_at(settings)["advisor"] == ("paper",), "one that names none trades at the first desk"
    assert allowed_at(settings, "gexwatch") == ("paper", "model", "real")


@pytest.mark.parametrize(
    ("desks", "said"),
    [
        ({"paper": REAL}, "desks.paper: is the desk of `desk` already"),
        ({"real": REAL | {"armed_env": None}}, "desks.real.armed_env: must name the variable that arms this live desk"),
        ({"real": REAL | {"armed_env": "ZEROHOUR_LIVE_ARMED"}}, "desks.real.armed_env: must arm this desk alone"),
        ({"real": REAL | {"account_env": None}}, "desks.real.account_env: must be set"),
        ({"real": REAL | {"gateways": []}}, "desks.real.gateways: must be set"),
        ({"a": REAL, "b": REAL | {"armed_env": "B_ARMED"}}, "desks.b.client_ids: must not be those of desk a"),
        (
            {"real": REAL | {"gateways": [{"host": "127.0.0.1", "port": 4002}]}},
            "desks.real.gateways: must not be those of desk paper: an emergency cancels all orders of a gateway's login"
            " (given: 127.0.0.1:4002)",
        ),
        (
            {"real": REAL | {"gateways": [{"host": "LocalHost", "port": 4002}]}},
            "desks.real.gateways: must not be those of desk paper",
        ),
        (
            {"real": REAL | {"gateways": [{"host": "127.0.1.1", "port": 4002}]}},
            "desks.real.gateways: must not be those of desk paper",
        ),
        (
            {"real": REAL | {"account_env": "ZEROHOUR_IB_ACCOUNT"}},
            "desks.real.account_env: must not be that of desk paper: an account has one desk",
        ),
        ({"m": {"kind": "sim", "port": 4002}}, "desks.m.port: is nothing of a sim desk"),
        ({"m": {"kind": "sim", "quotes_of": "m"}}, "desks.m.quotes_of: must name a desk with a gateway (given: 'm')"),
        (
            {"m": {"kind": "sim", "sim": {"quotes_client_id": 12}}},
            "desks.m.sim.quotes_client_id: must not be those of desk paper at 127.0.0.1:4002",
        ),
        ({"real": REAL | {"kind": "other"}}, "desks.real.kind"),
        ({"shared": REAL}, "desks.shared"),
    ],
)  # fmt: skip
def test_desks_that_could_meet_or_lack_something_are_refused_in_a_sentence(desks: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(desks)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_demo_day_has_one_gateway_and_sim_desks_alone_beside_it() -> None:
    assert desk_names(loaded({"model": {"kind": "sim"}}, "demo")) == ("paper", "model")
    with pytest.raises(SettingsError, match="must be sim in profile demo"):
        loaded({"real": REAL}, "demo")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"desks": ["nobody"]}, "strategies.gexwatch.desks: names 'nobody'; there are: paper, real"),
        ({"switch_to": ["nobody"]}, "strategies.gexwatch.switch_to: names 'nobody'"),
        ({"switch_to": ["paper"]}, "strategies.gexwatch.switch_to: names paper, which trades it from the start"),
        ({"desks": ["real", "real"]}, "strategies.gexwatch.desks: names real twice"),
    ],
)
def test_a_strategy_names_desks_that_are_there(rules: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded({"real": REAL}, strategies=merged({"gexwatch": {}}, {"gexwatch": rules}))
    assert said in str(refused.value)


SPREAD: dict[str, Any] = {"is_on": True}


def test_the_credit_spread_is_on_at_the_desk_that_it_names_and_at_no_other() -> None:
    settings = loaded({"model": {"kind": "sim"}}, spread=SPREAD | {"desk": "model"})
    assert [of_desk(settings, name).spread.is_on for name in desk_names(settings)] == [False, True]
    assert traded_at(settings)["spread"] == allowed_at(settings, "spread") == ("model",)
    settings = loaded({"model": {"kind": "sim"}}, spread=SPREAD)
    assert [of_desk(settings, name).spread.is_on for name in desk_names(settings)] == [True, False]
    assert traded_at(settings)["spread"] == ("paper",), "without a name it is the first one's"


TASTY: dict[str, Any] = {
    "kind": "paper", "broker": "tastytrade", "account_env": "TASTY_ACCOUNT",
    "gateways": [{"host": "127.0.0.1", "port": 4002}],
    "client_ids": {"orders": 31, "quotes": 32, "chains": 33, "direct": 39},
}  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"desk": "nobody"}, "spread.desk: names 'nobody'; there are: paper, real, rest"),
        ({"desk": "real"}, "spread.is_on: sells calls that another underlying covers; set spread.is_live_allowed"),
        (
            {"desk": "rest", "combination": "iron condor"},
            "spread.combination: is one order, which this broker does not take; set desks.rest.broker to one that does",
        ),
    ],
)
def test_a_desk_that_cannot_trade_the_credit_spread_is_refused(rules: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded({"real": REAL, "rest": TASTY}, spread=SPREAD | rules)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
